# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store of dictionaries, to try plans on without a database.

It is written as simply as can be, on purpose: it knows nothing of how plans are made, it only does what they say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ansible_collections.usersync.directory.plugins.module_utils import _changes, _model, _names
from ansible_collections.usersync.directory.plugins.module_utils._plan.make import make_plan

from . import snapshots

TARGET = "path:All"


class ModelStore:
    """Users, user groups and memberships of one synchronization, whose user group is ``All``.

    Records made by hand have the reference ``#`` and their path.
    """

    def __init__(self) -> None:
        self.users: dict[str, _model.UserRecord] = {}
        self.groups: dict[str, _model.UserGroupRecord] = {}
        self.members: dict[str, set[str]] = {}
        self.nestings: dict[str, set[str]] = {}
        self.user_digests: dict[str, bytes] = {}
        self.group_digests: dict[str, bytes] = {}
        self.listed_as: dict[tuple[str, str], str] = {}
        self.adopted: set[str] = set()
        self.extinct_since: dict[str, int] = {}
        self.groups_extinct_since: dict[str, int] = {}
        self.kept_names: dict[tuple[str, str, str], _model.KeptName] = {}
        self.now = 1000  # seconds since 1970

    def add_by_hand(self, name: str, home: str = TARGET, sid: str | None = None) -> None:
        record = _model.UserRecord(name, home, True, sid, None, {}, "", False)
        self.users["#%s/%s" % (home[len("path:") :], name)] = record

    # --- what is planned

    def run(self, *entries: Any, **more: Any) -> _changes.Plan:
        """Plan as `plan` does, and apply it."""
        plan = self.plan(*entries, **more)
        self.apply(plan)
        return plan

    @property
    def times(self) -> _model.Times:
        """Now, by a clock that nobody doubts."""
        return _model.Times(self.now, self.now)

    def plan(
        self,
        users: Sequence[_model.User],
        groups: Sequence[_model.UserGroup] = (),
        reason: str = _model.GONE,
        leave_out: bool = False,
        **policies: Any,
    ) -> _changes.Plan:
        """The plan that makes this store equal to these entries. Arguments are those of `snapshot` and `policies`."""
        return make_plan(
            snapshots.policies(**policies),
            self.snapshot(users, groups, reason, leave_out),
            self.state(),
            str.casefold,
            self.times,
        )

    def snapshot(
        self,
        users: Iterable[_model.User],
        groups: Iterable[_model.UserGroup],
        reason: str = _model.GONE,
        leave_out: bool = False,
    ) -> _model.Snapshot:
        """What the reader would make of these entries, given what this store has.

        :param reason: why those are lost that are stored and not among the entries.
        :param leave_out: leave out what the store has the digest of.
        """
        found = snapshots.snapshot(users, groups)
        claimed = {key for key, record in self.users.items() if record.claimed}
        active = {key for key, record in self.groups.items() if not record.extinct}
        if leave_out:
            for key, body in found.users.items():
                if key in claimed and self.user_digests.get(key) == body.digest:
                    found.users[key] = None
            for key, listed in found.user_groups.items():
                if key in active and self.group_digests.get(key) == listed.members_digest:
                    found.user_groups[key] = listed._replace(members=None)
        return found._replace(
            lost_users={key: reason for key in self.users if key in claimed and key not in found.users},
            lost_user_groups={key: reason for key in self.groups if key in active and key not in found.user_groups},
        )

    def state(self) -> _model.StoredState:
        """What the planner needs to know of this store: here all of it."""
        return _model.StoredState(
            target=TARGET[len("path:") :],
            target_missing=False,
            user_groups=dict(self.groups),
            nestings={key: self._known_by(key, children, self.groups) for key, children in self.nestings.items()},
            neighbours={},
            occupied={},
            users={reference: self._stored(reference, record) for reference, record in self.users.items()},
            members={key: self._known_by(key, members, self.users) for key, members in self.members.items()},
            memberships={
                reference: [key for key, members in self.members.items() if reference in members]
                for reference in self.users
            },
            membership_count=0,
            groups_extinct_since=dict(self.groups_extinct_since),
            kept_names=dict(self.kept_names),
        )

    def _stored(self, reference: str, record: _model.UserRecord) -> _model.StoredUser:
        is_given = not reference.startswith("#")
        since = self.extinct_since.get(reference)
        return _model.StoredUser(reference, record, is_given, 0, reference in self.adopted, since)

    def _known_by(self, key: str, members: Iterable[str], records: dict[str, Any]) -> _model.Members:
        """The values by which the list of a group may know each of these members."""
        known: _model.Members = {}
        for member in members:
            record = records.get(member)
            listed = self.listed_as.get((key, member)) or ""
            known[member] = (listed, record.dn, record.name, member) if record else ()
        return known

    # --- what is applied

    def apply(self, plan: _changes.Plan) -> None:
        """Do what the plan says, and check that it speaks of what is there."""
        self._end_adopted(plan.users)
        for change in plan.users:
            self._apply_user(change)
        for group in plan.user_groups:
            self._apply_user_group(group)
        self._name_by_path_what_was_made_by_hand()
        for listed in plan.memberships:
            self._apply_membership(listed)
        for key in self.groups:
            self.members.setdefault(key, set())
        for key in [key for key in self.members if key not in self.groups]:
            assert not self.members.pop(key), "a deleted group leaves no membership behind"
            assert not self.nestings.pop(key, None)
        self._note(plan.notes)

    def _end_adopted(self, changes: Iterable[_changes.UserChange]) -> None:
        """Take away the records that others adopt, before any of these is written."""
        for change in changes:
            if change.adopts:
                assert self.users.pop(change.adopts) == change.before
                self.adopted.discard(change.adopts)
                if change.fate is _changes.Fate.MERGED:
                    self.adopted.add(change.reference)
            elif change.before is None:
                assert change.reference not in self.users
            else:
                assert self.users[change.reference] == change.before

    def _apply_user(self, change: _changes.UserChange) -> None:
        if change.after is None or change.fate is _changes.Fate.RELEASED:
            self.adopted.discard(change.reference)
        if change.after is None:
            del self.users[change.reference]
        elif change.fate is _changes.Fate.RELEASED:
            del self.users[change.reference]
            self.users["#" + change.reference] = change.after
        else:
            self.users[change.reference] = change.after
        if change.after is None or not change.after.extinct:
            self.extinct_since.pop(change.reference, None)
        elif change.before.enabled > change.after.enabled or change.reference not in self.extinct_since:
            self.extinct_since[change.reference] = self.now

    def _apply_user_group(self, change: _changes.UserGroupChange) -> None:
        assert self.groups.get(change.key) == change.before
        if change.after is None:
            del self.groups[change.key]
        else:
            self.groups[change.key] = change.after
        if change.after is None or not change.after.extinct:
            self.groups_extinct_since.pop(change.key, None)
        else:
            self.groups_extinct_since.setdefault(change.key, self.now)

    def _name_by_path_what_was_made_by_hand(self) -> None:
        """A record made by hand is known by its path, which changes with the user groups above it."""

        def reference_of(reference: str, record: _model.UserRecord) -> str:
            if not reference.startswith("#"):
                return reference
            return "#" + _names.join_path(_model.path_of(record.home, self.groups), record.name)

        self.users = {reference_of(reference, record): record for reference, record in self.users.items()}

    def _apply_membership(self, change: _changes.MembershipChange) -> None:
        members = self.members.setdefault(change.key, set())
        children = self.nestings.setdefault(change.key, set())
        assert members.issuperset(change.users_removed) and members.isdisjoint(change.users_added)
        assert children.issuperset(change.user_groups_removed) and children.isdisjoint(change.user_groups_added)
        assert all(len(set(several)) == len(several) for several in change[1:]), "nobody twice"
        members -= set(change.users_removed)
        members |= set(change.users_added)
        children -= set(change.user_groups_removed)
        children |= set(change.user_groups_added)

    def _note(self, notes: _changes.Notes) -> None:
        self.user_digests.update(notes.user_digests)
        self.group_digests.update(notes.group_digests)
        self.listed_as.update(notes.listed_as)
        for reference, (dn, known_as, unit) in notes.user_dns.items():
            self.users[reference] = self.users[reference]._replace(dn=dn, known_as=known_as, unit=unit)
        for key, (dn, unit, own_name) in notes.group_dns.items():
            self.groups[key] = self.groups[key]._replace(dn=dn, unit=unit, own_name=own_name)
        self.kept_names.update(notes.kept_names)
        self.kept_names = {  # they go with the user group that they are in
            place: who
            for place, who in self.kept_names.items()
            if who is not None and (place[1] == TARGET or place[1] in self.groups)
        }
