# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Any other directory: the key, the DN and the version of every entry in scope, compared with those of the last time.

A version is entryCSN, uSNChanged or modifyTimestamp. No order of numbers or times is trusted, and an entry below a
container that was moved has another DN. It costs the server a look at every entry, but sends little of each.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from typing import Any

from ..distinguished_names import dn_text
from ..presets import Entry
from ..search import batches, finds_any, search
from ..stable_keys import any_of, keys_of
from ..values import generalized_time_seconds
from .common import MANY, Changes, ReadFully, Where
from .keys import UUID, identity_of, uuid_bytes, uuid_text

_HASH = 8  # bytes, over DN and version. A version is the bytes of the key, and this hash
_VERSION = UUID + _HASH
_MANY_VERSIONS = 256 * _VERSION  # compared at once: nearly all are equal

# Seconds in which a modifyTimestamp may come to stand for another change, too: it counts whole seconds, by a clock that
# is not ours. Until it is older, the entry is looked at in every read.
FRESH = 3600

TIME = "modifyTimestamp"
# What may change without it, beside what disables a user, which may be in no entry, but made of roles while it is read.
# Where the plugin USN of 389 Directory Server is on, this number is another one after each write, also after one that
# another server took earlier and that comes late.
BESIDE_TIME = ("entryUSN",)


def versions(session: Any, place: Where) -> bytes:
    """Return the versions of all entries in scope, in a fixed order: see `ways.py`."""
    version, *beside = version_attributes(session, place)
    names = [name.lower() for name in (version, *beside)]
    found = []
    for identity, dn, entry in _swept(session, place):
        if version == TIME and _is_fresh(entry[names[0]][0]):
            found.append(identity + os.urandom(_HASH))  # a version that it will not have the next time
        else:
            said = b"\0".join([value for name in names for value in sorted(entry.get(name, ()))])
            found.append(identity + hashlib.sha256(dn + b"\0" + said).digest()[:_HASH])
    return b"".join(sorted(found))


def prove(session: Any, place: Where) -> None:
    """Raise ReadFully unless the account sees the versions of all in scope, and of containers: who hides his is never
    told to have changed, where a filter asks for it (as OpenLDAP's syncprov does, in the name of the account).
    """
    for _entry in _swept(session, place, place.preset.is_container):
        pass


def compared(before: bytes, now: bytes, place: Where) -> Changes:
    key = place.preset.user_key
    only_before, only_now = _differences(before, now)
    if len(only_now) > MANY:
        raise ReadFully("more than %d entries changed" % MANY)
    # Who lies outside of what is selected is known by the last run, but its versions may not be.
    missing = {each[:UUID] for each in only_before}.union(uuid_bytes(each, key) for each in place.outside)
    gone = {identity for identity in missing if not _is_among(now, identity)}
    return Changes({uuid_text(each[:UUID], key): "" for each in only_now}, {uuid_text(each, key) for each in gone})


def _differences(one: bytes, other: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the versions that are only in the one, and only in the other; both are in order."""
    only_one, only_other = [], []
    at_one = at_other = 0
    while at_one < len(one) or at_other < len(other):
        if one[at_one : at_one + _MANY_VERSIONS] == other[at_other : at_other + _MANY_VERSIONS]:
            at_one += _MANY_VERSIONS
            at_other += _MANY_VERSIONS
            continue
        mine, theirs = one[at_one : at_one + _VERSION], other[at_other : at_other + _VERSION]
        if not theirs or mine and mine < theirs:
            only_one.append(mine)
            at_one += _VERSION
        elif not mine or theirs < mine:
            only_other.append(theirs)
            at_other += _VERSION
        else:
            at_one += _VERSION
            at_other += _VERSION
    return only_one, only_other


def _is_among(versions_in_order: bytes, identity: bytes) -> bool:
    low, high = 0, len(versions_in_order) // _VERSION
    while low < high:
        middle = (low + high) // 2
        if versions_in_order[middle * _VERSION : middle * _VERSION + UUID] < identity:
            low = middle + 1
        else:
            high = middle
    return versions_in_order[low * _VERSION : low * _VERSION + UUID] == identity


def _swept(session: Any, place: Where, also: str = "") -> Iterator[tuple[bytes, bytes, Entry]]:
    """Yield (key, DN, entry) of all in scope, with what makes their versions. Raises ReadFully at the end, unless each
    has one that can be read.
    """
    preset = place.preset
    attributes = version_attributes(session, place)
    tests = "(|%s%s%s)" % (preset.user_filter, preset.group_filter, also)
    key_name, version_name = preset.user_key.lower(), attributes[0].lower()
    unreadable = ""
    for base, filter in _searches(place, tests):
        for dn, entry, _raw in search(session, base, "sub", filter, (preset.user_key, *attributes)):
            keys = keys_of(entry, key_name)
            identity = identity_of(keys[0], key_name) if len(keys) == len(entry.get(key_name, ())) == 1 else None
            if identity is None or version_name not in entry:
                unreadable = unreadable or dn_text(dn)
            else:
                yield identity, dn, entry
    if unreadable:
        raise ReadFully("the %s or the %s of '%s' cannot be read" % (preset.user_key, attributes[0], unreadable))


def version_attributes(session: Any, place: Where) -> tuple[str, ...]:
    """Return the attribute that is another one after each change of an entry, a rename included, and what else may say
    so.
    """
    if place.preset.directory_type == "active_directory":
        return ("uSNChanged",)
    kinds = {value.lower() for value in session.root_dse.get("objectclass", ())}
    return ("entryCSN",) if b"openldaprootdse" in kinds else (TIME, *BESIDE_TIME, *place.preset.state)


def shows_times(session: Any, place: Where) -> bool:
    """Return whether the account sees when anybody was changed, which many may not in 389 Directory Server."""
    tests = "(&(|%s%s)(%s=*))" % (place.preset.user_filter, place.preset.group_filter, TIME)
    return any(finds_any(session, base, "sub", tests) for base in place.roots.values())


def _is_fresh(value: bytes) -> bool:
    try:
        return generalized_time_seconds(value) > time.time() - FRESH
    except ValueError:
        return True


def _searches(place: Where, tests: str) -> Iterator[tuple[str, str]]:
    for base in place.roots.values():
        yield base, tests
    for batch in batches(sorted(place.outside)):
        yield place.context, "(&%s%s)" % (tests, any_of(place.preset.user_key, batch))
