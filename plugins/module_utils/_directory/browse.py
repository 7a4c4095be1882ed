# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What a person sees of a directory who looks for what to synchronize: contexts, containers, groups and users.

It shows entries by the filters that a synchronization reads by, so that what is called a user here is one there.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Any

from .._errors import SynchronizationError
from .._named_tuple import NamedTuple
from .._names import name_key
from .connection import Session, read_from_first
from .detect import directory_type
from .distinguished_names import dn_text, normal_dn, rdn_value
from .fields import name_reader
from .filter_text import escape_filter
from .identity import NO_PEOPLE, if_several, naming_context
from .overrides import resolve
from .presets import Preset
from .search import MISSING_OK, ReadError, finds_any, search

# What holds entries besides organizational units, in directories that are no Active Directory: the classes of RFC 4519,
# 3 and RFC 4524, 3, and the containers of 389 Directory Server. hasSubordinates (X.501) is for all others.
_HOLDERS = "".join(
    "(objectClass=%s)" % name
    for name in ("organization", "domain", "dcObject", "country", "locality", "nsContainer", "container")
)
_LDAP_CONTAINERS = "(|%s" + _HOLDERS + "(hasSubordinates=TRUE))"
_LDAP_CONTAINER_NAMES = ("ou", "cn", "o", "dc", "l", "c")

# supportedControl, supportedExtension and supportedCapabilities that matter for reading.
_PAGED_RESULTS = "1.2.840.113556.1.4.319"  # RFC 2696
_DIRSYNC = "1.2.840.113556.1.4.841"  # MS-ADTS 3.1.1.3.4.1.3
_SYNCREPL = "1.3.6.1.4.1.4203.1.9.1.1"  # RFC 4533
_START_TLS = "1.3.6.1.4.1.1466.20037"  # RFC 4511, 4.14


class _Kind(NamedTuple):
    """One type of entry: containers come first, then groups, then users, each sorted by name."""

    type: str  # as the result says it; a container may turn out to be an organizational unit
    filter: str  # no entry matches the filters of two kinds
    name: str  # attribute with the name that is shown; empty: what stands in the DN
    names: tuple[str, ...]  # attributes that a search by name compares


def browse(settings: Any, warn: Callable[[str], None]) -> dict[str, Any]:
    """Return what the directory says to the login that is given; nothing is changed.

    :param settings: those of `read_from_first`, use_ldap and ldap_parameters, distinguished_name (a list of one DN or
        none), depth, search and limit.
    :raises SynchronizationError: with a sentence for the reader.
    """
    try:
        return read_from_first(settings, warn, lambda session: _browse(settings, session))
    except ValueError as error:
        raise ReadError("server: it sent something that cannot be read (%s): correct it there" % error) from None


def _browse(settings: Any, session: Session) -> dict[str, Any]:
    preset = resolve(settings, directory_type(settings, session.root_dse))
    default = _default_context(settings, session, preset)
    contexts = _texts(session, "namingcontexts")
    kinds = _kinds(preset)
    for dn in settings.distinguished_name:
        _check_exists(session, dn, contexts)
    bases = settings.distinguished_name or ([default] if default else _with_people(contexts))
    entries: list[dict[str, Any]] = []
    truncated = False
    if settings.search:
        entries, truncated = _named(session, kinds[:2], bases, settings.search, settings.limit)
    elif settings.distinguished_name:
        entries, truncated = _below(session, kinds, bases[0], settings.depth, settings.limit)
    else:
        for base in bases:  # finds no entry, and brings the references to other servers
            list(search(session, base, "sub", "(objectClass=referral)", ("1.1",), MISSING_OK))
    return {
        "server": session.server,
        "directory_type": preset.directory_type,
        "naming_contexts": sorted(contexts, key=lambda context: context != default),
        "default_naming_context": default,
        "supports": _supports(session),
        "not_read": sorted(set(session.not_read)),
        "entries": entries,
        "truncated": truncated,
    }


def _texts(session: Session, attribute: str) -> list[str]:
    return [value.decode("utf-8", "backslashreplace") for value in session.root_dse.get(attribute, ())]


def _default_context(settings: Any, session: Session, preset: Preset) -> str | None:
    """Return what a synchronization reads that names no DN; None if it must name one."""
    try:
        return naming_context(settings._replace(distinguished_name=[]), session, preset)
    except SynchronizationError:
        return None


def _with_people(contexts: list[str]) -> list[str]:
    return [context for context in contexts if context and not normal_dn(context).startswith(NO_PEOPLE)]


def _check_exists(session: Session, dn: str, contexts: list[str]) -> None:
    referred = len(session.not_read)
    if list(search(session, dn, "base", "(objectClass=*)", ("1.1",), MISSING_OK)):
        return
    if session.not_read[referred:]:
        raise SynchronizationError(
            "distinguished_name: '%s' lies on another server (%s): name that in server"
            % (dn, " ".join(session.not_read[referred:]))
        )
    raise SynchronizationError(
        "distinguished_name: '%s' does not exist in the directory, or the account cannot read it: correct it (the "
        "naming contexts are %s)%s"
        % (dn, ", ".join("'%s'" % context for context in contexts), if_several(dn, map(normal_dn, contexts)))
    )


def _supports(session: Session) -> dict[str, Any]:
    controls, extensions = _texts(session, "supportedcontrol"), _texts(session, "supportedextension")
    return {
        "paged_results": _PAGED_RESULTS in controls,
        "start_tls": _START_TLS in extensions,
        "sasl_mechanisms": sorted(_texts(session, "supportedsaslmechanisms")),
        "dirsync": _DIRSYNC in controls,
        "syncrepl": _SYNCREPL in controls,
    }


# --- entries ---------------------------------------------------------------------------------------------------------


def _kinds(preset: Preset) -> list[_Kind]:
    active_directory = preset.directory_type == "active_directory"
    containers = preset.is_container if active_directory else _LDAP_CONTAINERS % preset.is_container
    # A group is one whatever else it is, then a user: as in a synchronization's distinguished_name.
    return [
        _Kind(
            "container",
            "(&%s(!%s)(!%s))" % (containers, _one(preset.is_group), _one(preset.is_user)),
            "",
            ("name",) if active_directory else _LDAP_CONTAINER_NAMES,
        ),
        _Kind(
            "group",
            _one(preset.is_group),
            preset.group_name,
            ("cn", preset.group_name) + preset.group_fields.get("display_name", ()),
        ),
        _Kind("user", "(&%s(!%s))" % (_one(preset.is_user), _one(preset.is_group)), preset.user_name, ()),
    ]


def _one(tests: str) -> str:
    """Return one filter, where a preset may have several tests side by side."""
    return "(|%s)" % tests


class _Found(NamedTuple):
    """An entry, in the order in which entries are shown."""

    rank: int
    name_key: str
    dn: str
    name: str
    type: str
    may_hold: bool  # whether it may have entries below it


def _find(session: Session, kinds: list[_Kind], base: str, scope: str, most: int, names: str = "") -> list[_Found]:
    """Return the first entries in the order of `_Found`, at most so many.

    All of a kind are read, so that the first are really the first, and no more kept than are wanted.
    """
    found: list[_Found] = []
    for rank, kind in enumerate(kinds):
        if len(found) >= most:
            break
        filter = kind.filter
        if names:
            filter = "(&%s(|%s))" % (filter, "".join("(%s=%s)" % (name, names) for name in dict.fromkeys(kind.names)))
        found += heapq.nsmallest(most - len(found), _entries(session, kind, rank, base, scope, filter))
    return found


def _entries(session: Session, kind: _Kind, rank: int, base: str, scope: str, filter: str) -> Iterator[_Found]:
    attributes = ("objectClass", "hasSubordinates", kind.name)[: 3 if kind.name else 2]
    for raw_dn, entry, _raw in search(session, base, scope, filter, attributes):
        dn = dn_text(raw_dn)
        name, type_ = None, kind.type
        subordinates = entry.get("hassubordinates", [b""])[0].upper()
        may_hold = subordinates == b"TRUE"
        if not kind.name:
            may_hold = subordinates != b"FALSE"
            if b"organizationalunit" in {value.lower() for value in entry.get("objectclass", ())}:
                type_ = "organizational_unit"
        else:
            name, dummy = name_reader(kind.name)(entry, dn)
        name = name or rdn_value(dn)
        yield _Found(rank, name_key(name), dn, name, type_, may_hold)


def _shown(
    session: Session, kinds: list[_Kind], found: _Found, level: int, read: dict[str, list[_Found]]
) -> dict[str, Any]:
    below = found.may_hold
    if found.dn in read:
        below = bool(read[found.dn])
    elif below:
        below = finds_any(session, found.dn, "one", "(|%s)" % "".join(kind.filter for kind in kinds))
    return {"dn": found.dn, "name": found.name, "type": found.type, "has_children": below, "level": level}


# --- the tree, and a search by name ----------------------------------------------------------------------------------


_Shown = tuple[list[dict[str, Any]], bool]  # entries, and whether some are missing, since they are more than the limit


def _below(session: Session, kinds: list[_Kind], base: str, depth: int, limit: int) -> _Shown:
    """Return the entries below a DN, each behind its parent. Upper levels come first into the limit."""
    read: dict[str, list[_Found]] = {}
    level, left, truncated = [base], limit, False
    for _dummy in range(depth):
        parents, level = level, []
        for parent in parents:
            if truncated:
                break
            children = _find(session, kinds, parent, "one", left + 1)
            truncated = len(children) > left
            read[parent] = children = children[:left]
            left -= len(children)
            level += [child.dn for child in children if child.may_hold]
    entries: list[dict[str, Any]] = []
    todo = [(found, 1) for found in reversed(read[base])]
    while todo:
        found, depth = todo.pop()
        entries.append(_shown(session, kinds, found, depth, {} if truncated else read))
        todo += [(child, depth + 1) for child in reversed(read.get(found.dn, []))]
    return entries, truncated


def _named(session: Session, kinds: list[_Kind], bases: list[str], pattern: str, limit: int) -> _Shown:
    """Return the entries anywhere below the bases whose name is like the pattern."""
    names = "*".join(escape_filter(part) for part in pattern.split("*"))
    found: list[_Found] = []
    for base in bases:
        found = sorted(found + _find(session, kinds, base, "sub", limit + 1, names))[: limit + 1]
    return [_shown(session, kinds, entry, 1, {}) for entry in found[:limit]], len(found) > limit
