# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Who is stored and did not come, and whether it should have come. What that means is in `lost.py`.

An entry is selected if it lies in a selected container, if a list that was read has it, or if its own values put it
into a group in scope.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Iterable, Sequence

from .._names import significant
from .distinguished_names import dn_text, normal_dn
from .filters import NOT_READ
from .forms import value_text
from .groups import key_of_name
from .members import Seen, Values
from .presets import Entry
from .scope import Scope
from .tokens import folded


class Missing:
    """``is_listed`` tells of a key whether a list that was not read has it as a member."""

    def __init__(self, scope: Scope, seen: Seen, values: Values, is_listed: Callable[[str], bool]) -> None:
        self.source, self.scope, self.owners = scope.source, scope, seen.owners
        self.accounts, self.groups, self.tokens = seen.accounts, seen.groups, seen.tokens
        self.is_listed = is_listed
        # To be asked when all lists were followed.
        self.missed_tokens = functools.cache(values.missed_tokens)

    def users(self, stored: Iterable[str]) -> dict[str, str]:
        """Return the lost users of these: stable key -> GONE or OUT_OF_SCOPE."""
        preset = self.source.preset
        kinds = [(preset.user_key, preset.user_filter)]
        return self._look_up(stored, self.accounts.users, kinds, self._user_is_selected)

    def user_groups(self, stored: Iterable[str], seen: Container[str]) -> dict[str, str]:
        """Return the lost user groups of these: stable key -> GONE or OUT_OF_SCOPE."""
        source, preset = self.source, self.source.preset
        kinds = [
            (preset.group_key, preset.group_filter if source.groups_are_groups else NOT_READ),
            (preset.container_key, preset.is_container if source.containers_are_groups else NOT_READ),
        ]
        return self._look_up(stored, seen, kinds, self._user_group_is_selected)

    def _look_up(
        self,
        stored: Iterable[str],
        seen: Container[str],
        kinds: Sequence[tuple[str, str]],
        is_selected: Callable[[str, bytes, Entry], bool],
    ) -> dict[str, str]:
        """See `lost.look_up`."""
        lost = [key for key in stored if key not in seen]
        if not lost:
            return {}
        from .lost import look_up  # in most runs nobody is missing

        return look_up(self.scope, self.owners, lost, kinds, is_selected)

    def _user_is_selected(self, key: str, dn: bytes, entry: Entry) -> bool:
        """Return whether a user who did not come was asked for: by where it lies, by a list, or by its own values."""
        normal = normal_dn(dn_text(dn))
        if key in self.scope.excluded_keys or self.scope.is_left_out(normal):
            return False
        return self.scope.has(normal) or self.source.adds_outside and self._is_named(key, normal, entry)

    def _user_group_is_selected(self, key: str, dn: bytes, entry: Entry) -> bool:
        normal = normal_dn(dn_text(dn))
        if key in self.scope.excluded_keys or self.scope.is_left_out(normal):
            return False
        return self.scope.has(normal) or {"dn": normal, "key": key}.get(self.source.members_by) in self.missed_tokens()

    def _is_named(self, key: str, normal: str, entry: Entry) -> bool:
        """Return whether a group in scope has the user as a member."""
        return self._is_named_by_what_was_read(key, normal, entry) or self.is_listed(key)

    def _is_named_by_what_was_read(self, key: str, normal: str, entry: Entry) -> bool:
        if self.source.members_by == "name":
            tokens = set(map(folded, entry.get(self.accounts.known_by.name, ())))
        else:
            tokens = {normal if self.source.members_by == "dn" else key}
        if not tokens.isdisjoint(self.missed_tokens()):
            return True
        for rule, attribute in self.accounts.known_by.primary_of_user:
            if entry.get(attribute):
                return any(group.primary[rule] == entry[attribute][0] for group in self.groups.found.values())
        groups = self.accounts.known_by.user_groups
        return any(map(self._names_a_group, entry.get(groups, ()) if groups else ()))

    def _names_a_group(self, value: bytes) -> bool:
        """Return whether a value of a user's own list of groups is a group in scope."""
        try:
            if self.source.names_are_groups:
                name = significant(value_text(self.source.preset.user_groups or "", value))
                return key_of_name(name) in self.groups.found
            return self.tokens.outcomes.get(normal_dn(dn_text(value))) in self.groups.found
        except ValueError:
            return False
