# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE: for this collection only; may change in any release.
"""What is asked of a server, as bytes: searches (RFC 4511, 4.5.1) and controls. What controls say in an answer."""

from __future__ import annotations

from collections.abc import Sequence

from .ber import (
    ENUMERATED,
    FALSE,
    INTEGER,
    OCTETS,
    SEQUENCE,
    SET,
    TRUE,
    ProtocolError,
    element,
    elements,
    encoded_integer,
    encoded_string,
    only_element,
)
from .filter_text import Tree, parse_filter

SCOPES = {"base": 0, "one": 1, "sub": 2}
PAGED_RESULTS = "1.2.840.113556.1.4.319"  # RFC 2696
_AT_MOST = 1024 * 1024  # bytes in an answer to DirSync


_ASSERTIONS = {"=": 0xA3, ">=": 0xA5, "<=": 0xA6, "~=": 0xA8}


def encode_filter(tree: Tree) -> bytes:
    """The Filter of RFC 4511, 4.5.1.7 from what `parse_filter` gives."""
    kind = tree[0]
    if kind in ("&", "|"):
        return element(0xA0 if kind == "&" else 0xA1, *[encode_filter(each) for each in tree[1]])
    if kind == "!":
        return element(0xA2, encode_filter(tree[1]))
    if kind == "=*":
        return encoded_string(tree[1], 0x87)
    if kind == "*":
        _kind, attribute, initial, anywhere, final = tree
        parts = [encoded_string(initial, 0x80)] if initial else []
        parts += [encoded_string(part, 0x81) for part in anywhere]
        parts += [encoded_string(final, 0x82)] if final else []
        return element(0xA4, encoded_string(attribute), element(SEQUENCE, *parts))
    if kind == ":=":
        _kind, rule, attribute, value, dn_attributes = tree
        return element(
            0xA9,
            encoded_string(rule, 0x81) if rule else b"",
            encoded_string(attribute, 0x82) if attribute else b"",
            encoded_string(value, 0x83),
            element(0x84, b"\xff") if dn_attributes else b"",
        )
    return element(_ASSERTIONS[kind], encoded_string(tree[1]), encoded_string(tree[2]))


def search_operation(base: str, scope: str, filter_text: str, attributes: Sequence[str], at_most: int = 0) -> bytes:
    """A SearchRequest (RFC 4511, 4.5.1): aliases never dereferenced, values wanted.

    :param at_most: how many entries to ask for; 0 asks for no limit.
    """
    return element(
        0x63,
        encoded_string(base),
        encoded_integer(SCOPES[scope], ENUMERATED),
        encoded_integer(0, ENUMERATED),
        encoded_integer(at_most),
        encoded_integer(0),
        FALSE,
        encode_filter(parse_filter(filter_text)),
        element(SEQUENCE, *[encoded_string(name) for name in attributes]),
    )


def paged_control(size: int, cookie: bytes) -> bytes:
    """A critical paged results control (RFC 2696, 2)."""
    value = element(SEQUENCE, encoded_integer(size), encoded_string(cookie))
    return element(SEQUENCE, encoded_string(PAGED_RESULTS), TRUE, encoded_string(value))


def paged_cookie(value: bytes) -> bytes:
    """The cookie in a server's paged results control."""
    try:
        ((tag, start, end),) = elements(value, 0, len(value))
        (_tag, _start, _end), (cookie_tag, cookie_start, cookie_end) = elements(value, start, end)
    except ValueError:
        raise ProtocolError("server: it sent a paged results control that cannot be read") from None
    if tag != SEQUENCE or cookie_tag != OCTETS:
        raise ProtocolError("server: it sent a paged results control that cannot be read")
    return value[cookie_start:cookie_end]


# RFC 4533, 2: the controls and the message of content synchronization.
SYNC_REQUEST, SYNC_STATE, SYNC_DONE, SYNC_INFO = ("1.3.6.1.4.1.4203.1.9.1.%d" % number for number in (1, 2, 3, 4))
SHOW_DELETED = "1.2.840.113556.1.4.417"  # MS-ADTS 3.1.1.3.4.1.14
SHOW_RECYCLED = "1.2.840.113556.1.4.2064"  # also what is recycled, MS-ADTS 3.1.1.3.4.1.26
DIR_SYNC = "1.2.840.113556.1.4.841"  # MS-ADTS 3.1.1.3.4.1.3
_REFRESH_ONLY = 1
# LDAP_DIRSYNC_OBJECT_SECURITY: what the account may read, and no special right. LDAP_DIRSYNC_INCREMENTAL_VALUES: of a
# list only what came to it and left. Together they fit into four bytes, as Active Directory wants them.
_DIR_SYNC_FLAGS = 0x1 - 0x80000000
_BOOLEAN = 0x01


def control(oid: str, value: bytes | None = None) -> bytes:
    """A critical control (RFC 4511, 4.1.11)."""
    return element(SEQUENCE, encoded_string(oid), TRUE, b"" if value is None else encoded_string(value))


def sync_control(cookie: bytes) -> bytes:
    """A critical sync request control (RFC 4533, 2.2) for what changed since the cookie, and no more."""
    return control(SYNC_REQUEST, element(SEQUENCE, encoded_integer(_REFRESH_ONLY, ENUMERATED), encoded_string(cookie)))


def dir_sync_control(cookie: bytes) -> bytes:
    """A critical DirSync control for what changed since the cookie; an empty one is the beginning of time."""
    return control(
        DIR_SYNC, element(SEQUENCE, encoded_integer(_DIR_SYNC_FLAGS), encoded_integer(_AT_MOST), encoded_string(cookie))
    )


def dir_sync_answer(value: bytes) -> tuple[bool, bytes]:
    """(whether there is more, cookie) in a server's DirSync control."""
    tag, start, end = only_element(value)
    parts = elements(value, start, end)
    if tag != SEQUENCE or [part[0] for part in parts] != [INTEGER, INTEGER, OCTETS]:
        raise ProtocolError("server: it sent a DirSync control that cannot be read")
    return any(value[parts[0][1] : parts[0][2]]), value[parts[2][1] : parts[2][2]]


def sync_state(value: bytes) -> tuple[int, bytes]:
    """(state, entryUUID) of a sync state control (RFC 4533, 2.3); state 3 is "delete"."""
    tag, start, end = only_element(value)
    parts = elements(value, start, end)
    if tag != SEQUENCE or [part[0] for part in parts[:2]] != [ENUMERATED, OCTETS]:
        raise ProtocolError("server: it sent a sync state control that cannot be read")
    return int.from_bytes(value[parts[0][1] : parts[0][2]], "big"), value[parts[1][1] : parts[1][2]]


def sync_done(value: bytes) -> tuple[bytes, bool]:
    """(cookie, refreshDeletes) of a sync done control (RFC 4533, 2.4): both may be left out, so told by their tags."""
    tag, start, end = only_element(value)
    if tag != SEQUENCE:
        raise ProtocolError("server: it sent a sync done control that cannot be read")
    return _cookie_and_flag(value, start, end, False)


def sync_info(operation: bytes) -> tuple[str, bool, list[bytes]]:
    """What an intermediate response says of a synchronization (RFC 4533, 2.5): (kind, its flag, UUIDs).

    The kind is 'cookie', 'delete' or 'present' (the end of a phase; the flag tells whether the refresh is done), or
    'ids' (the flag tells that they are deleted ones); '' for a message about something else.
    """
    _tag, start, end = only_element(operation)
    name = value = b""
    for tag, first, last in elements(operation, start, end):
        if tag == 0x80:
            name = operation[first:last]
        elif tag == 0x81:
            value = operation[first:last]
    if name != SYNC_INFO.encode("ascii"):
        return "", False, []
    tag, start, end = only_element(value)
    kind = {0x80: "cookie", 0xA1: "delete", 0xA2: "present", 0xA3: "ids"}.get(tag)
    if kind is None:
        raise ProtocolError("server: it sent a sync info message that cannot be read")
    if kind == "cookie":
        return kind, False, []
    _cookie, flag = _cookie_and_flag(value, start, end, kind != "ids")
    sets = [part for part in elements(value, start, end) if part[0] == SET]
    return (
        kind,
        flag,
        [value[first:last] for _set, at, stop in sets for _tag, first, last in elements(value, at, stop)],
    )


def _cookie_and_flag(data: bytes, at: int, end: int, flag: bool) -> tuple[bytes, bool]:
    cookie = b""
    for tag, first, last in elements(data, at, end):
        if tag == OCTETS:
            cookie = data[first:last]
        elif tag == _BOOLEAN:
            flag = any(data[first:last])
    return cookie, flag
