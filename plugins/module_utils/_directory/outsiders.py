# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Who is listed and lies outside the selected containers: found when everything in them was read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .distinguished_names import dn_text, fast_parent, normal_dn, normal_parent
from .filters import all_of, one_of, tests_of
from .lookups import LookUps, Pending
from .members import Seen
from .naming import Naming
from .outcomes import A_GROUP, AMBIGUOUS, OUT_OF_SCOPE, SEVERAL, Outcome
from .presets import Entry
from .scope import Outside, Scope
from .search import LONGEST_ASKED_FOR, batches, search


class OutsideSelected:
    """A `members.Finder`."""

    def __init__(self, scope: Scope, outside: Outside, lookups: LookUps, seen: Seen, naming: Naming) -> None:
        self.source, self.scope, self.outside = scope.source, scope, outside
        self.lookups, self.seen, self.naming = lookups, seen, naming
        self.accounts, self.read_groups = seen.accounts, seen.groups

    def spelled_otherwise(self, tokens: set[str]) -> dict[str, Outcome]:
        """Find users whose DN a member list spells in its own way: rarely needed, hence not prepared while reading."""
        tokens = {token for token in tokens if self._was_read(token)}
        found: dict[str, Outcome] = {}
        parents = {normal_parent(token) for token in tokens}
        wanted: dict[bytes, bool] = {}  # parent as read -> a user below it may be meant
        for dn, key in self.accounts.known_by.by_value.items() if tokens else ():
            parent = fast_parent(dn)
            if parent not in wanted:
                wanted[parent] = normal_dn(dn_text(parent)) in parents
            if wanted[parent]:
                normal = normal_dn(dn_text(dn))
                if normal in tokens:
                    found[normal] = key if found.get(normal, key) == key else SEVERAL
        return found

    def users(self, pending: Pending) -> dict[str, Outcome]:
        """Bring in the users outside the selected containers who are listed."""
        found: dict[str, Outcome] = {}
        preset = self.source.preset
        wanted = self._not_read(pending) if self.source.adds_outside else {}
        for matches in self.lookups.look_up(wanted, preset.user_filter, self.source.user_attributes, [preset.user_key]):
            for token, entries in matches.items():
                entries = [each for each in entries if not self.scope.is_left_out(normal_dn(dn_text(each[0])))]
                if len({each[0] for each in entries}) > 1:
                    found[token] = AMBIGUOUS
                elif entries:
                    known = self.seen.whom(preset.user_key, self.accounts.users, entries[0], token)
                    self.accounts.came_twice.update([known] if known else ())
                    outcome = known or self.naming.add_user(entries[0])
                    if outcome is not A_GROUP:
                        found[token] = outcome if known else self.outside.note(outcome, token)
                else:
                    found[token] = OUT_OF_SCOPE
        return found

    def groups(self, pending: Pending) -> dict[str, Outcome]:
        """Bring in the groups outside the selected containers that are nested in one in scope."""
        found: dict[str, Outcome] = {}
        preset = self.source.preset
        wanted = {} if self.source.members_by == "name" else self._not_read(pending)
        for matches in self.lookups.look_up(
            wanted, preset.group_filter, self.source.group_attributes, [preset.group_key]
        ):
            for token, entries in matches.items():
                known = self.seen.whom(preset.group_key, self.read_groups.found, entries[0], token)
                self.read_groups.came_twice.update([known] if known else ())
                found[token] = known or self.outside.note(self.naming.add_group(entries[0]), token)
        return found

    def _not_read(self, pending: Pending) -> Pending:
        return {token: values for token, values in pending.items() if not self._was_read(token)}

    def _was_read(self, token: str) -> bool:
        """Return whether whatever this leads to would have been seen when the selected containers were read."""
        return self.scope.is_whole or (self.source.members_by == "dn" and self.scope.has(token))


def add_users_with(
    seen: Seen, outside: Outside, attribute: str, values: Sequence[bytes], is_wanted: Callable[[Entry], bool]
) -> None:
    """Bring in the users outside the selected containers whose attribute has one of the values."""
    source, accounts = seen.source, seen.accounts
    values = [value for value in values if value and len(value) <= LONGEST_ASKED_FOR]
    if not source.adds_outside or outside.scope.is_whole:
        return
    for batch in batches(values):
        tests = all_of(source.preset.user_filter, one_of(tests_of(attribute, batch)))
        for found in search(source.session, source.subtree, "sub", tests, source.user_attributes):
            if not seen.by_key(source.preset.user_key, accounts.users, found[1]) and is_wanted(found[1]):
                outside.note(accounts.add(*found), normal_dn(dn_text(found[0])))


def anybody(_entry: Entry) -> bool:
    return True
