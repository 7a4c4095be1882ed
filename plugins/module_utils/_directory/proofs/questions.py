# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Searches for entries by their keys, and how many of them may be made."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..._model import Snapshot
from ..distinguished_names import dn_text, normal_dn
from ..filters import one_of
from ..presets import Entry
from ..search import MISSING_OK, batches, finds_any, search
from ..source import Source
from ..stable_keys import any_of, keys_of
from .common import GROUP, USER, ByKey, Dns, no_dns, normal_stored

_MANY = 1000  # entries, of which all are searched at once if they are a large part of the directory
_AT_ONCE = 1000  # entries that came, in memory: all of them may be a million
_SINGLY = 1000  # searches for one entry each: who is left then is asked for in the next run


class Questions:
    """Searches for entries by their keys, and how many of them may be made."""

    def __init__(self, source: Source, snapshot: Snapshot, dns: Dns = no_dns) -> None:
        self.session, self.preset, self.context = source.session, source.preset, source.context
        self.named, self.snapshot = snapshot.named, snapshot
        self.dns_of_stored = dns
        # Who is found by the DN, and not by the key.
        self.at = {key: dn_text(dn) for dn, key in snapshot.named.items() if key}
        # From so many keys on it is faster to search everything. How much that is, only a full read knows.
        self.many = max(_MANY, len(snapshot.users) // 4) if snapshot.is_full else sys.maxsize
        kinds = _group_kinds(source)
        keys = tuple(dict.fromkeys(attribute for attribute, _filter in kinds)) or (self.preset.group_key,)
        filters = [filter for _attribute, filter in kinds]
        self.keys = {USER: (self.preset.user_key,), GROUP: keys}
        self.filters = {USER: self.preset.user_filter, GROUP: filters[0] if len(filters) == 1 else one_of(*filters)}
        self.left = _SINGLY

    def found(self, kind: str, keys: Iterable[str], tests: str, attributes: Sequence[str] = ()) -> ByKey:
        """Return the entries with these keys for which the tests are True, wherever they lie."""
        asked = {key for key in keys if key[:1] not in "@#"}
        wanted = (*self.keys[kind], *attributes)
        found: ByKey = {}
        for batch in batches(sorted(asked - self.at.keys())):
            filter = "(&%s%s)" % (self.by_key(kind, batch), tests)
            came = search(self.session, self.context, "sub", filter, wanted)
            found.update((key, (dn, entry)) for key, dn, entry in self._theirs(kind, came) if key in asked)
        for key in asked & self.at.keys():
            filter = "(&(objectClass=*)%s)" % tests
            for dn, entry, _raw in search(self.session, self.at[key], "base", filter, wanted, MISSING_OK):
                found[key] = dn_text(dn), entry
        return found

    def _theirs(self, kind: str, came: Iterable[tuple[bytes, Entry, bytes]]) -> Iterator[tuple[str, str, Entry]]:
        """Yield (stable key, DN, entry) of what came: not of whom the read has told by the DN, nor of an entry with the
        key of somebody whom the read has seen elsewhere. Who lies where nothing is read may write any key into his.
        """
        bodies: Mapping[str, Any] = self.snapshot.users if kind == USER else self.snapshot.user_groups
        entries = (
            (key, dn_text(dn), entry)
            for dn, entry, _raw in came
            if dn not in self.named
            for key in keys_of(entry, *self.keys[kind])
        )
        for several in iter(lambda: list(itertools.islice(entries, _AT_ONCE)), []):
            as_stored = {key for key, _dn, _entry in several if key in bodies and bodies[key] is None}
            dns = self.dns_of_stored(as_stored) if as_stored else {}
            for key, dn, entry in several:
                body = bodies.get(key)
                its_dn = body.dn if body is not None else dns.get(key, "")
                if its_dn in ("", dn) or normal_stored(its_dn) == normal_dn(dn):
                    yield key, dn, entry

    def keys_not_among(self, kind: str, keys: Collection[str], tests: str) -> set[str]:
        """Return the keys of those of these entries for which the tests are not True. If many are asked for, all that
        the preset reads are searched at once; who is not among those is asked for by its key.
        """
        left = set(keys)
        if len(left) > self.many:
            for key in self.all_keys(kind, "(&%s%s)" % (self.filters[kind], tests)):
                left.discard(key)
        if left:
            left.difference_update(self.found(kind, left, tests))
        return left

    def by_key(self, kind: str, keys: Iterable[str]) -> str:
        """Return the filter that matches the entries with these keys."""
        tests = [any_of(name, keys) for name in self.keys[kind]]
        return tests[0] if len(tests) == 1 else "(|%s)" % "".join(tests)

    def all_keys(self, kind: str, filter: str) -> Iterator[str]:
        """Yield the keys of all entries that match: they may be a million."""
        found = search(self.session, self.context, "sub", filter, self.keys[kind])
        return (key for key, _dn, _entry in self._theirs(kind, found))

    def finds_any(self, filter: str) -> bool:
        """Return whether there is an entry that matches."""
        return finds_any(self.session, self.context, "sub", filter)

    def may_ask(self) -> bool:
        """Return whether one more search for a single entry may be made, and count it."""
        self.left -= 1
        return self.left >= 0


def _group_kinds(source: Source) -> list[tuple[str, str]]:
    """Return (attribute of the key, filter) of what becomes a user group."""
    kinds = []
    if source.groups_are_groups:
        kinds.append((source.preset.group_key, source.preset.group_filter))
    if source.containers_are_groups:
        kinds.append((source.preset.container_key, source.preset.is_container))
    return kinds
