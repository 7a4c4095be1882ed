# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE: for this collection only; may change in any release.
"""LDAP filters as text: taken apart, checked, negated, and values escaped in them (RFC 4515)."""

from __future__ import annotations

import re
from typing import Any

from .values import OID, PAIR, SHORT_NAME, always, refuse_surrogates

# RFC 4515, 3. Its valueencoding leaves out NUL, parentheses, '*' and a backslash without two hexadecimal digits.
_FILTER_VALUE = re.compile(r"(?:[^\0()*\\]|\\[0-9A-Fa-f]{2})*")
_DESCRIPTION = r"(?:%s|%s)(?:;[A-Za-z0-9-]+)*" % (SHORT_NAME, OID)
_FILTER_TEST = re.compile(r"(%s)([~<>]?=)" % _DESCRIPTION)
_FILTER_EXTENSIBLE = re.compile(r"(%s)?(:[dD][nN])?(?::(%s|%s))?:=" % (_DESCRIPTION, SHORT_NAME, OID))
# A test: what it tests, and of what. See `parse_filter`.
Tree = tuple[Any, ...]

_WHITE_SPACE = re.compile(r"\s*")
_DEEPEST_FILTER = 100


def parse_filter(text: str) -> Tree:
    """The tree of an RFC 4515 filter, in the order of RFC 4511, 4.5.1.7; values are bytes.

    ('&', filters), ('|', filters), ('!', filter), ('=' | '>=' | '<=' | '~=', attribute, value), ('=*', attribute),
    ('*', attribute, initial, [any, ...], final), (':=', rule, attribute, value, dn_attributes).

    White space around parentheses is accepted: folding a YAML text over several lines leaves it there.
    """
    refuse_surrogates(text)
    at = always(_WHITE_SPACE.match(text)).end()
    if at == len(text):
        raise ValueError("the filter is empty; write one such as (objectClass=*)")
    tree, at = _filter(text, at, 1)
    at = always(_WHITE_SPACE.match(text, at)).end()
    if at < len(text):
        raise _filter_error(text, at, "there is more after the filter's last ')'")
    return tree


def filter_attributes(text: str) -> set[str]:
    """The attributes that an RFC 4515 filter asks about, in lower case and without options.

    Of an extensible match without one nothing can be told: it stands for '*'.
    """
    found, trees = set(), [parse_filter(text)]
    while trees:
        kind, *rest = trees.pop()
        if kind in ("&", "|"):
            trees += rest[0]
        elif kind == "!":
            trees += rest
        else:
            found.add((rest[1] if kind == ":=" else rest[0]) or "*")
    return {name.lower().partition(";")[0] for name in found}


def check_filter(text: str) -> None:
    """Refuse what is not an RFC 4515 filter."""
    parse_filter(text)


def negated(text: str) -> str:
    """The RFC 4515 filter that matches where this one is False, which is not everywhere where it does not match.

    '!' stands before single tests only, by De Morgan's laws: 389 Directory Server judges access within "not or" wrongly
    (its issue 6307).
    """
    return _normal_filter(parse_filter(text), True)


def _normal_filter(tree: Tree, negate: bool) -> str:
    """The text of a filter, or of its contrary, with '!' before single tests only."""
    kind = tree[0]
    if kind == "!":
        return _normal_filter(tree[1], not negate)
    if kind in ("&", "|"):
        other = {"&": "|", "|": "&"}[kind]
        return "(%s%s)" % (other if negate else kind, "".join(_normal_filter(each, negate) for each in tree[1]))
    return "(!%s)" % _test_text(tree) if negate else _test_text(tree)


def _test_text(tree: Tree) -> str:
    """The text of a single test as `parse_filter` gives it."""
    kind = tree[0]
    if kind == "=*":
        return "(%s=*)" % tree[1]
    if kind == "*":
        return "(%s=%s)" % (tree[1], "*".join(map(escape_filter, [tree[2], *tree[3], tree[4]])))
    if kind == ":=":
        _kind, rule, attribute, value, dn_attributes = tree
        parts = (attribute or "", ":dn" if dn_attributes else "", ":" + rule if rule else "", escape_filter(value))
        return "(%s%s%s:=%s)" % parts
    return "(%s%s%s)" % (tree[1], kind, escape_filter(tree[2]))


def _filter(text: str, at: int, depth: int) -> tuple[Tree, int]:
    if not text.startswith("(", at):
        raise _filter_error(text, at, "a '(' is missing")
    if depth > _DEEPEST_FILTER:
        raise _filter_error(text, at, "it is nested more than %d levels deep" % _DEEPEST_FILTER)
    opened = at
    at = always(_WHITE_SPACE.match(text, at + 1)).end()
    kind = text[at : at + 1]
    if kind and kind in "&|!":
        filters = []
        at = always(_WHITE_SPACE.match(text, at + 1)).end()
        while text.startswith("(", at):
            tree, at = _filter(text, at, depth + 1)
            filters.append(tree)
            at = always(_WHITE_SPACE.match(text, at)).end()
        if kind == "!" and len(filters) != 1:
            raise _filter_error(text, opened, "'!' takes exactly one filter in parentheses")
        if not filters:
            raise _filter_error(text, opened, "'%s' needs at least one filter in parentheses" % kind)
        tree = (kind, filters[0] if kind == "!" else filters)
    else:
        tree, at = _filter_item(text, at)
    if at == len(text):
        raise _filter_error(text, opened, "this '(' is never closed")
    if text[at] != ")":
        raise _filter_error(text, at, _why_not_in_filter(text, at))
    return tree, at + 1


def _filter_item(text: str, at: int) -> tuple[Tree, int]:
    match = _FILTER_TEST.match(text, at)
    if match:
        attribute, test = match.groups()
        parts, at = _filter_values(text, match.end(), test == "=")
        if len(parts) == 1:
            return (test, attribute, parts[0]), at
        if not any(parts):
            return ("=*", attribute), at
        return ("*", attribute, parts[0], [part for part in parts[1:-1] if part], parts[-1]), at
    match = _FILTER_EXTENSIBLE.match(text, at)
    if match and (match.group(1) or match.group(3)):
        attribute, dn_attributes, rule = match.groups()
        parts, at = _filter_values(text, match.end(), False)
        return (":=", rule, attribute, parts[0], bool(dn_attributes)), at
    raise _filter_error(text, at, "here an attribute and one of = >= <= ~= := are expected")


def _filter_values(text: str, at: int, stars: bool) -> tuple[list[bytes], int]:
    """The values between '*' (only one unless `stars`), and where they end."""
    values = []
    while True:
        match = always(_FILTER_VALUE.match(text, at))
        values.append(PAIR.sub(lambda pair: bytes.fromhex(pair.group(1).decode()), match.group().encode("utf-8")))
        at = match.end()
        if not stars or not text.startswith("*", at):
            return values, at
        at += 1


def _filter_error(text: str, at: int, why: str) -> ValueError:
    return ValueError("'%s' is not an LDAP filter: %s, at character %d" % (text, why, at + 1))


def _why_not_in_filter(text: str, at: int) -> str:
    if text[at] == "\\":
        return "a backslash needs two hexadecimal digits after it ('\\5c' is a backslash)"
    if text[at] in "(*\0":
        return "'%s' in a value is written '\\%02x'" % (text[at].replace("\0", "NUL"), ord(text[at]))
    return "a ')' is missing"


_ESCAPED_IN_FILTER = {ord(char): "\\%02x" % ord(char) for char in "\0()*\\"}


def escape_filter(value: str | bytes) -> str:
    """A value as RFC 4515 writes it in a filter; of bytes every one is escaped."""
    if isinstance(value, bytes):
        return "".join("\\%02x" % octet for octet in value)
    return value.translate(_ESCAPED_IN_FILTER)
