# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""By what member lists may know the users that were read, and what groups the users themselves name."""

from __future__ import annotations

import itertools
from collections.abc import Container, Mapping
from typing import Any

from .._model import KNOWN_AS
from .._names import name_key
from .filters import attributes_that_list
from .outcomes import AMBIGUOUS, Miss
from .owners import Owners
from .presets import Entry
from .source import Source
from .stable_keys import key_reader, key_value
from .tokens import folded, folded_text
from .wire import attribute_header, find_values


class KnownBy:
    def __init__(self, source: Source, owners: Owners) -> None:
        preset = source.preset
        self.source, self.owners = source, owners
        self.by_value: dict[bytes, str] = {}  # what a member list may have, as read -> key of the user
        self.by_name: dict[str, str | Miss] = {}  # folded name -> key of the user
        self.with_name: dict[str, set[str]] = {}  # folded name that is ambiguous -> keys of the users
        # By rule: value of the attribute that says somebody's primary group -> keys of users.
        self.primary: list[dict[bytes, list[str]]] = [{} for _rule in preset.primary_group]
        self.user_side: dict[bytes, list[str]] = {}  # value of user_groups -> keys of users
        self.at_home: dict[str, list[str]] = {}  # key of a container -> keys of users
        self.primary_of_user = [(rule, pair[0].lower()) for rule, pair in enumerate(preset.primary_group)]
        self.user_groups = (preset.user_groups or "").lower()
        self.has_names = source.members_by == "name"
        self.user_key, self.name = preset.user_key.lower(), preset.listed_name.lower()
        self.read_key = key_reader(preset.user_key)
        # What `add` looks at: name in an entry, and header in its encoding.
        self.attributes = [(name.lower(), attribute_header(name)) for name in attributes_that_list(preset)]

    def values_in(self, raw: bytes) -> Entry:
        """Return what `add` looks at, of an entry that is not decoded."""
        return {name: find_values(raw, header) or [] for name, header in self.attributes}

    def values_of(self, entry: Entry) -> Entry:
        """Return what `add` looks at, of an entry that is decoded."""
        return {name: entry.get(name, []) for name, _header in self.attributes}

    def are_found_in(self, raw: bytes, entry: Entry) -> bool:
        """Return whether a plain search in the entry as it came finds what decoding it finds."""
        return all(find_values(raw, header) == entry.get(name) for name, header in self.attributes)

    def names_of(self, entry: Entry) -> str:
        """Return the names by which lists may know a user, as the store has them."""
        return KNOWN_AS.join(sorted(map(folded_text, entry.get(self.name, ()))))

    def is_recorded(self, dn: str, entry: Entry, its_dn: str, its_names: str) -> bool:
        """Return whether a record with this DN and these names tells how lists know the user."""
        if self.source.members_by == "dn":
            return its_dn == dn
        return self.source.members_by != "name" or set(map(folded_text, entry.get(self.name, ()))).issubset(
            map(name_key, its_names.split(KNOWN_AS))
        )

    def add(self, key: str, dn: bytes, entry: Entry, home: str | None) -> None:
        """Note by what the member lists may know a user. Runs once per user in a first run: keep it lean."""
        members_by = self.source.members_by
        if members_by == "dn":
            self.by_value[dn] = key
        elif members_by == "key":
            self.by_value[self._key_as_listed(key, entry)] = key
        elif members_by:
            self._add_names(key, entry)
        for rule, attribute in self.primary_of_user:
            primary = entry.get(attribute)
            if primary:
                self.primary[rule].setdefault(primary[0], []).append(key)
                break
        if self.user_groups:
            for value in entry.get(self.user_groups) or ():
                self.user_side.setdefault(value, []).append(key)
        if home:
            self.at_home.setdefault(home, []).append(key)

    def _key_as_listed(self, key: str, entry: Entry) -> bytes:
        """Return a user's stable key as lists have it; as it came, unless the entry has another one than the user."""
        values = entry[self.user_key]
        if self.owners.named and self.read_key(values) != key or key in self.owners.shared:
            value = key_value(self.source.preset.user_key, key)
            return value if isinstance(value, bytes) else value.encode("utf-8")
        return values[0]

    def _add_names(self, key: str, entry: Entry) -> None:
        for value in entry.get(self.name) or ():
            name = folded(value)
            holder = self.by_name.setdefault(name, key)
            if holder == key:
                self.by_value[value] = key
            else:
                if isinstance(holder, str):
                    self.with_name[name] = {holder}
                self.with_name[name].add(key)
                self.by_name[name] = AMBIGUOUS

    def forget(self, users: Mapping[str, Any]) -> list[tuple[bytes, str]]:
        """Forget all that was noted of these users; return by what values they were known: value, key."""
        forgotten = [(value, key) for value, key in self.by_value.items() if key in users]
        _drop(self.by_value, users)
        _drop(self.by_name, users)
        for name, keys in list(self.with_name.items()):
            keys.difference_update([key for key in keys if key in users])
            if len(keys) < 2:
                del self.with_name[name], self.by_name[name]
                for key in keys:
                    self.by_name[name] = key
        for noted in itertools.chain(
            self.at_home.values(), self.user_side.values(), *(users_of.values() for users_of in self.primary)
        ):
            if not users.keys().isdisjoint(noted):
                noted[:] = [key for key in noted if key not in users]
        return forgotten

    def forget_ambiguous_names(self) -> None:
        """Let no value lead to one of several users who have the name."""
        if AMBIGUOUS in self.by_name.values():
            self.by_value = {
                value: key for value, key in self.by_value.items() if self.by_name[folded(value)] is not AMBIGUOUS
            }

    def primary_values_of(self, users: set[str]) -> list[set[bytes]]:
        """Return, by rule, the values by which any of these users names its primary group."""
        return [{value for value, keys in users_of.items() if not users.isdisjoint(keys)} for users_of in self.primary]


def _drop(known: dict[Any, Any], meanings: Container[Any]) -> None:
    """Forget, in place, all that means one of these."""
    for each in [each for each, means in known.items() if means in meanings]:
        del known[each]
