# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Everything -> snapshot: who is in scope, where, and who is a member of what.

Users are read first, then groups, so that a member list turns into stable keys by dictionary look-up while it is read.
What a list has beyond that is fetched in batches, round by round, until nothing new comes into scope. Any search that
is not complete raises ReadError, and then there is no snapshot.
"""

from __future__ import annotations

import functools
from collections.abc import Set

from .._mark import Reached, Unmarked
from .._model import OUT_OF_SCOPE, Digests, Snapshot, UserGroup
from .by_users import ByUsers
from .checks import check_required, check_unique, hint_at_parameters
from .containers import Containers, refuse_hidden
from .distinguished_names import normal_dn
from .groups import A_PAGE, lists_that_lead_to_the_same
from .naming import Naming
from .outsiders import OutsideSelected
from .owners import NO_DN, SharedKeys
from .reading import Reading, complete_or_error
from .search import How, encoded_entries, search
from .source import Source
from .tokens import Tokens
from .wire import decode_entry


def read(source: Source, stored: Digests, marking: bool = False) -> Snapshot:
    """Read everything in scope and return it, or raise: ReadError for an incomplete read, SynchronizationError else.

    ``marking`` asks for a mark to which the next read may refer.
    """
    shared: Set[str] = frozenset()
    while True:
        try:
            return complete_or_error(functools.partial(_read_once, source, stored, marking, shared))
        except SharedKeys as found:  # each time others, so this ends
            shared |= found.keys


def _read_once(source: Source, stored: Digests, marking: bool, shared: Set[str]) -> Snapshot:
    return _Everything(source, stored, shared).read(marking)


class _Nobody:
    """Who is not read: see `members.Unread`."""

    def is_user_group(self, _key: str) -> bool:
        return False

    def is_in_scope(self, _key: str) -> bool:
        return False

    def is_listed(self, _key: str) -> bool:
        return False


def _means_that_one(tokens: Tokens, _dn: bytes, token: str) -> None:
    """A value leads to somebody who was read elsewhere, or by another name, and moved since: it means that one."""
    tokens.unrecorded.add(token)


class _Everything:
    def __init__(self, source: Source, stored: Digests, shared: Set[str]) -> None:
        self.source, self.stored = source, stored
        self.reading = reading = Reading(source, stored, _Nobody(), _means_that_one, shared=shared)
        self.accounts, self.groups, self.scope = reading.accounts, reading.groups, reading.scope
        self.naming = Naming(self.scope, reading.owners, reading.outside, self.accounts, self.groups)
        self.containers = Containers(self.scope, stored, reading.owners, self.groups.records)
        self.by_users = ByUsers(reading.notes, reading.outside, reading.seen, self.naming)

    def read(self, marking: bool) -> Snapshot:
        if marking:
            self.reading.position.try_to_ask()
        if self.source.containers_are_groups:
            self.containers.read()
        self.read_users()
        if self.groups_matter():
            self.read_groups()
            self.follow_members()
        self.check()
        user_groups = {**self.reading.lists.finished(), **self.containers.finished(self.accounts.known_by.at_home)}
        lost_users, lost_user_groups = self.look_up_missing(user_groups)
        return self.reading.snapshot(
            user_groups,
            lost_users,
            lost_user_groups,
            self.reached(marking),
            dangling=self.by_users.dangling,
            named=self.reading.owners.named,
        )

    def read_users(self) -> None:
        session = self.source.session
        for base in self.scope.roots.values():
            for part in encoded_entries(
                session, base, "sub", self.source.preset.user_filter, self.source.user_attributes
            ):
                for raw in self.accounts.that_changed(part):
                    self.accounts.add(*decode_entry(raw, session.names))
        self.accounts.settle(self.reading.tokens)
        self.naming.name_users()
        self.groups.same = lists_that_lead_to_the_same(self.source, self.stored, self.accounts)
        self.accounts.known_by.forget_ambiguous_names()

    def groups_matter(self) -> bool:
        """Groups that become no user groups still bring their members, if there is anyone left to bring."""
        return self.source.groups_are_groups or (self.source.adds_outside and not self.scope.is_whole)

    def read_groups(self) -> None:
        source, session = self.source, self.source.session
        if source.names_are_groups:
            return
        size = min(A_PAGE, session.page_size)
        filter, attributes = source.preset.group_filter, source.group_attributes
        for base in self.scope.roots.values():
            for part in encoded_entries(session, base, "sub", filter, attributes, How(page_size=size)):
                for raw in part:
                    self.groups.add(*decode_entry(raw, session.names, self.groups.list_headers))
        for dn in self.scope.selected_groups:
            for found in list(search(session, dn, "base", filter, attributes)):
                self.reading.outside.note(self.groups.add(*found), normal_dn(dn))
        self.naming.name_groups()
        self.groups.read_ranges()

    def follow_members(self) -> None:
        reading = self.reading
        finder = OutsideSelected(self.scope, reading.outside, reading.lookups, reading.seen, self.naming)
        reading.values.follow(finder)
        self.by_users.make_lists()
        self.by_users.bring_in_by_primary_group()

    def check(self) -> None:
        preset, owners = self.source.preset, self.reading.owners
        check_unique(owners, "user_key", preset.user_key, preset.user_filter, self.accounts.came_twice)
        check_unique(owners, "group_key", preset.group_key, preset.group_filter, self.groups.came_twice)
        check_required(self.scope, self.reading.is_in_scope)
        hint_at_parameters(self.scope, owners, self.reading.notes, self.groups)
        self.reading.position.prove(self.reading.outside.keys)

    def look_up_missing(self, user_groups: dict[str, UserGroup]) -> tuple[dict[str, str], dict[str, str]]:
        """Return the lost users and the lost user groups.

        Whose entry it may be whose key does not tell is not lost: all of the record stays as it is stored. If that is a
        group, others may be in scope by it alone.
        """
        preset, owners = self.source.preset, self.reading.owners
        for dn, entry in self.source.session.nameless.items():
            owners.note(dn, entry, "", NO_DN, preset.user_key, preset.group_key, preset.container_key)
        users = {key for key in self.stored.users if key in owners.as_they_are and key not in self.accounts.users}
        groups = {key for key in self.stored.user_groups if key in owners.as_they_are and key not in user_groups}
        self.stay_as_stored(users, users | groups)
        lost_users = self.reading.missing.users(self.stored.users)
        lost_groups = self.reading.missing.user_groups(self.stored.user_groups.keys() - groups, user_groups)
        if groups:
            by_them = {key for key, reason in {**lost_users, **lost_groups}.items() if reason == OUT_OF_SCOPE}
            self.stay_as_stored(by_them & lost_users.keys(), by_them)
            lost_users = {key: reason for key, reason in lost_users.items() if key not in by_them}
            lost_groups = {key: reason for key, reason in lost_groups.items() if key not in by_them}
        if self.source.containers_are_groups:
            refuse_hidden(self.scope, self.stored, lost_groups)
        return lost_users, lost_groups

    def stay_as_stored(self, users: Set[str], records: Set[str]) -> None:
        for key in users:
            self.accounts.take_as_stored(key)
        self.reading.notes.leave_all_of(records)

    def reached(self, marking: bool) -> Reached | Unmarked:
        why_not = self.reading.owners.why_no_mark() if marking else ""
        return Unmarked(why_not) if why_not else self.reading.reached()
