# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Takes nameless entries into scope, once it is known who all the others are: see owners.py."""

from __future__ import annotations

from .._errors import SynchronizationError
from .accounts import Accounts
from .distinguished_names import dn_text, normal_dn
from .filters import all_of
from .groups import Groups
from .outcomes import A_GROUP, NAMELESS, OUT_OF_SCOPE, Found, Outcome
from .owners import ANOTHERS_KEY, BOTH, NO_KEY, TAKEN_FOR, Owners
from .presets import Entry
from .scope import Outside, Scope
from .search import search
from .stable_keys import any_of, key_reader, keys_of


class Naming:
    def __init__(self, scope: Scope, owners: Owners, outside: Outside, accounts: Accounts, groups: Groups) -> None:
        self.source, self.scope, self.owners, self.outside = scope.source, scope, owners, outside
        self.accounts, self.groups, self.notes, self.stored = accounts, groups, owners.notes, owners.stored
        self.read_user_key = key_reader(self.source.preset.user_key)
        self.read_group_key = key_reader(self.source.preset.group_key)

    # --- users

    def name_users(self) -> dict[bytes, Outcome]:
        """Take into scope whose own keys did not tell who they are; return the outcome by DN."""
        nameless, self.accounts.nameless = self.accounts.nameless, []
        return self._noted({found[0]: self._name_user(*found) for found in nameless})

    def add_user(self, found: Found) -> Outcome:
        """Take a user into scope when most others were read."""
        outcome = self.accounts.add(*found)
        return self.name_users().get(found[0], outcome) if outcome is NAMELESS else outcome

    def _name_user(self, dn: bytes, entry: Entry, raw: bytes) -> Outcome:
        attribute = self.source.preset.user_key
        if self._is_excluded(dn, entry, attribute):
            return OUT_OF_SCOPE
        own = self.read_user_key(entry[attribute.lower()])
        if own and own not in self.owners.shared:  # which a user group had in the last run
            groups = self._groups_with_key(own)
            if dn in groups:
                self.notes.not_stored.append((dn_text(dn), BOTH % ("user group", "user")))
                self.notes.look_again.add(own)
                return A_GROUP
            if not groups:
                return self.accounts.add(dn, entry, raw, own)
        why = (ANOTHERS_KEY if own else NO_KEY) % attribute
        key = self.owners.stored_at(dn, self.stored.users)
        if not key or key in self.accounts.users:
            return self.owners.note(dn, entry, "", why, attribute)
        self.owners.named[dn] = key
        return self.accounts.add(dn, entry, raw, key, why + TAKEN_FOR)

    def _groups_with_key(self, key: str) -> set[bytes]:
        preset = self.source.preset
        tests = all_of(preset.group_filter, any_of(preset.group_key, [key]))
        found = search(self.source.session, self.source.context, "sub", tests, (preset.group_key,))
        return {dn for dn, _entry, _raw in found}

    # --- groups

    def name_groups(self) -> dict[bytes, Outcome]:
        """Take into scope whose own keys did not tell who they are; return the outcome by DN."""
        nameless, self.groups.nameless = self.groups.nameless, []
        return self._noted({found[0]: self._name_group(*found) for found in nameless})

    def add_group(self, found: Found) -> Outcome:
        """Take a group into scope when most others were read."""
        outcome = self.groups.add(*found)
        return self.name_groups().get(found[0], outcome) if outcome is NAMELESS else outcome

    def _name_group(self, dn: bytes, entry: Entry, raw: bytes) -> Outcome:
        attribute = self.source.preset.group_key
        if self._is_excluded(dn, entry, attribute):
            return OUT_OF_SCOPE
        own = self.read_group_key(entry[attribute.lower()])
        if own in self.accounts.users and own not in self.owners.shared:
            if self._is_user_at(own, dn):
                self.notes.not_stored.append((dn_text(dn), BOTH % ("user", "user group")))
                self.notes.look_again.add(own)
                return own
            if self.owners.is_first_run():
                raise SynchronizationError(
                    "ldap_parameters.user_key, ldap_parameters.group_key: '%s' is the key of a user "
                    "and of a group: name attributes that tell them apart" % own
                )
        why = (ANOTHERS_KEY if own else NO_KEY) % attribute
        key = self.owners.stored_at(dn, self.stored.user_groups)
        if not key or key in self.groups.found:
            return self.owners.note(dn, entry, "", why, attribute)
        self.owners.named[dn] = key
        return self.groups.add(dn, entry, raw, key, why + TAKEN_FOR)

    def _is_user_at(self, key: str, dn: bytes) -> bool:
        body = self.accounts.users[key]
        its_dn = body.dn if body is not None else self.stored.dns([key]).get(key, "")
        return normal_dn(its_dn) == normal_dn(dn_text(dn))

    # --- both

    def _is_excluded(self, dn: bytes, entry: Entry, attribute: str) -> bool:
        keys = keys_of(entry, attribute)
        return self.scope.is_left_out(normal_dn(dn_text(dn))) or not self.scope.excluded_keys.isdisjoint(keys)

    def _noted(self, outcomes: dict[bytes, Outcome]) -> dict[bytes, Outcome]:
        for dn, outcome in outcomes.items():
            self.outside.note(outcome, normal_dn(dn_text(dn)))
        return outcomes
