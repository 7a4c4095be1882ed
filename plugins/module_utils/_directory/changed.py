# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What changed -> a snapshot of all that may be other than stored, which makes the plan that a full read would make.

An entry that did not change can still come to mean something else, and only by a way that is followed here:

- A member list has DNs. Whom it leads to is another matter as soon as somebody comes to have that DN, or has it no
  longer: `concerned.py`.
- The store knows who was in a list. Who leaves one and lies outside the selected containers is in scope only as long as
  another list, or a primary group, has it: `by_others.py`.
- Who has to wait for a name is looked at again in every read, and so is what a listed value led to that led to no one
  (`again` and `dead_ends` in the mark): `candidates.py`.

Nobody is lost because a list of changes says so: who is missing is looked up by key, in the whole directory, as after a
full read. If a change reaches further, ReadFully says so.
"""

from __future__ import annotations

from typing import Any

from .._mark import Mark
from .._model import GONE, Snapshot, UserGroup
from .anywhere import Anywhere, who_moved
from .as_stored import AsStored
from .by_key import ByKey
from .by_others import ByOthers, check_nesting
from .candidates import NOT_BY_KEY, Candidates
from .changes.common import ReadFully, attempt
from .checks import check_required
from .concerned import ConcernedLists
from .distinguished_names import dn_text, normal_dn
from .outcomes import Found
from .primary_groups import PrimaryGroups
from .reading import Reading, complete_or_error
from .source import Source
from .tokens import Tokens
from .told import ToldLists

# Who left is looked up once more, by key, and yet: what would hurt is done by a read that has seen everything.
MANY_LOST = 200


def read(source: Source, known: Any, mark: Mark) -> Snapshot:
    """Read what changed since the mark, and what that concerns.

    ``known`` answers who is stored: see `Known` in `_store/for_reader.py`.

    Raises ReadFully if only a read of everything can tell the outcome, or what is wrong.
    """
    as_stored = AsStored(known)

    def take() -> Snapshot:
        return _WhatChanged(source, as_stored, mark).read()

    snapshot: Snapshot = attempt(source.session, lambda: complete_or_error(take))
    return snapshot


def _refuse(_tokens: Tokens, dn: bytes, _token: str) -> None:
    raise who_moved(dn)


class _WhatChanged:
    def __init__(self, source: Source, as_stored: AsStored, mark: Mark) -> None:
        self.source, self.as_stored, self.last = source, as_stored, mark.reached
        self.reading = reading = Reading(source, as_stored.digests, as_stored, _refuse, last=mark.reached)
        self.scope, self.accounts, self.groups = reading.scope, reading.accounts, reading.groups
        as_stored.lists_read = self.groups.found
        self.by_key = ByKey(reading.owners)
        self.waiting: dict[str, Found] = {}  # users outside the selected containers: in scope if anybody lists them
        # Key of a group -> stored members, key -> DN: if it matters who leaves a list.
        self.members: dict[str, dict[str, str]] = {}
        self.finder = Anywhere(reading.outside, as_stored, self.by_key, reading.lookups, reading.seen, self.waiting)
        self.primary_groups = PrimaryGroups(reading, as_stored, self.by_key, self.waiting)
        self.told = ToldLists(as_stored, self.by_key, self.groups, reading.values, reading.position)
        self.candidates = Candidates(self.scope, as_stored, self.by_key, self.told, mark)
        self.concerned = ConcernedLists(self.scope, as_stored, self.by_key, self.told)

    def read(self) -> Snapshot:
        self.ask_for_the_position()
        users, groups = self.candidates.look_at(self.reading.position)
        lists = self.concerned.find(users, groups, self.candidates.read_as_users)
        self.take_users(users)
        self.take_lists(lists)
        user_groups = self.follow_members()
        joined = self.settle_scope(user_groups)
        self.check()
        lost_users, lost_user_groups = self.look_up_missing(user_groups)
        return self.reading.snapshot(
            user_groups,
            lost_users,
            lost_user_groups,
            self.reading.reached(),
            is_full=False,
            joined=joined,
            left=self.told.left,
        )

    def ask_for_the_position(self) -> None:
        self.reading.position.ask()
        if self.scope.as_selection() != self.last.selection:
            raise ReadFully("what is selected or excluded lies elsewhere than at the last run")
        if not self.as_stored.groups.keys() >= set(self.scope.selected_groups.values()):
            raise ReadFully("a selected group is none in the store")

    def take_users(self, users: dict[str, Found]) -> None:
        for key, found in users.items():
            normal = normal_dn(dn_text(found[0]))
            if self.scope.has(normal):
                self.accounts.add(*found)
            elif self.source.adds_outside and not self.scope.is_left_out(normal):
                self.waiting[key] = found

    def take_lists(self, lists: dict[str, Found]) -> None:
        as_stored, looked_at = self.as_stored, self.as_stored.looked_at
        self.told.follow(lists, self.finder)
        gone = [key for key in looked_at if key in as_stored.groups and key not in lists]
        for user, dn in as_stored.known.people(lists):
            if dn and user not in looked_at:
                self.accounts.known_by.by_value.setdefault(dn.encode("utf-8"), user)
        if self.source.adds_outside and not self.scope.is_whole:
            for group, user, dn in as_stored.known.members([*lists, *gone]):
                self.members.setdefault(group, {})[user] = dn
        if lists:
            stored = as_stored.groups.items()
            self.reading.tokens.outcomes.update((normal_dn(dn), key) for key, dn in stored if key not in looked_at)
        for key, found in lists.items():
            if key not in looked_at and as_stored.groups.get(key, dn_text(found[0])) != dn_text(found[0]):
                raise who_moved(found[0])
            self.groups.add(*found)
        self.groups.read_ranges()

    def follow_members(self) -> dict[str, UserGroup]:
        self.reading.values.follow(self.finder)
        self.primary_groups.add_members()
        return self.told.with_nested(self.reading.lists.finished())

    def settle_scope(self, user_groups: dict[str, UserGroup]) -> dict[str, list[str]]:
        """Settle who is in scope through others alone; return who joined lists that were not read."""
        check_nesting(self.primary_groups, user_groups, self.finder.came_into_scope)
        ByOthers(self.primary_groups, self.waiting, self.members).settle(user_groups, self.told.left)
        joined = {**self.primary_groups.joined(), **self.told.joined}
        for member in set().union(*(record.members or () for record in user_groups.values())):
            if member[:1] not in "@#":
                self.accounts.take_as_stored(member)
        self.candidates.keep_dead_ends(self.reading.lists)
        return joined

    def check(self) -> None:
        self.reading.position.prove(self.reading.outside.keys.difference(self.last.outside))
        check_required(self.scope, self.reading.is_in_scope)
        owners, nameless = self.reading.owners, self.source.session.nameless
        if owners.named or self.accounts.nameless or self.groups.nameless or nameless:
            raise ReadFully("an entry has no stable key of its own")

    def look_up_missing(self, user_groups: dict[str, UserGroup]) -> tuple[dict[str, str], dict[str, str]]:
        """Return the lost users and the lost user groups."""
        users, groups = self.as_stored.users, self.as_stored.looked_at.intersection(self.as_stored.groups)
        lost_users = self.reading.missing.users(users)
        lost_user_groups = self.reading.missing.user_groups(groups, user_groups)
        if len(lost_users) + len(lost_user_groups) > MANY_LOST:
            raise ReadFully(
                "more than %d users and user groups left: only a read of everything removes so many" % MANY_LOST
            )
        if lost_users and not self.accounts.users and len(lost_users) >= self.as_stored.known.count_users():
            raise ReadFully("nobody seems to be left")
        lost = {**lost_users, **lost_user_groups}
        for key, reason in lost.items():
            if reason == GONE and key in self.candidates.changed:  # which was told to be there
                raise ReadFully(NOT_BY_KEY % key)
        self.reading.outside.keys.update(key for key in self.last.outside if key not in lost)
        return lost_users, lost_user_groups
