# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What a plan changes, in the words of the result."""

from __future__ import annotations

from collections.abc import Sequence

from .. import _changes
from .._changes import Effect, Fate, MembershipChange, Plan, UserChange
from .._model import StoredState, UserGroupRecord, UserRecord, path_of
from .._named_tuple import NamedTuple

UserGroups = dict[str, UserGroupRecord]  # by reference


def groups_after(plan: Plan, state: StoredState) -> UserGroups:
    """Return the records of all user groups, as they are afterwards."""
    groups = dict(state.user_groups)
    for change in plan.user_groups:
        if change.after is None:
            del groups[change.key]
        else:
            groups[change.key] = change.after
    return groups


_LISTED = (Effect.RENAMED, Effect.MOVED, Effect.UPDATED, Effect.ENABLED, Effect.DISABLED)
_CREATED = [Fate.CREATED.value]  # most that is reported at once is that, a hundred thousand times


def verbs_of(change: UserChange | _changes.UserGroupChange) -> list[str]:
    """Return what happened to the record, in the words of the result."""
    if change.fate is Fate.CREATED:
        return _CREATED
    if change.fate is Fate.DELETED:
        return [Fate.DELETED.value]
    verbs = [effect.value for effect in _LISTED if effect in change.effects]
    if change.fate is Fate.EXTINCT:
        verbs.append(Fate.EXTINCT.value)
    return verbs


UserVerbs = Sequence[tuple[UserChange, list[str]]]  # the changes of users, and what happened to each


def record_of(change: UserChange) -> UserRecord:
    """Return the record afterwards, or before if it ends."""
    record = change.after or change.before
    if record is None:
        raise AssertionError(change.reference)
    return record


def is_removal(change: UserChange) -> bool:
    """Tell whether the user loses something that a person should see first."""
    return change.fate in (Fate.DELETED, Fate.EXTINCT) or Effect.DISABLED in change.effects


class ChangedGroup(NamedTuple):
    """A user group that changed, as the result lists it."""

    key: str
    verbs: list[str]
    path: str
    previous_path: str | None  # None if it is the same, or was none
    dn: str
    members: MembershipChange  # its own; of nobody if none changed

    @property
    def is_removal(self) -> bool:
        """Whether it ends, or loses members."""
        removed = self.members.users_removed or self.members.user_groups_removed
        return bool(removed) or not {Fate.DELETED.value, Fate.EXTINCT.value}.isdisjoint(self.verbs)

    @property
    def member_count(self) -> int:
        return sum(map(len, self.members[1:]))


def changed_groups(plan: Plan, state: StoredState, groups: UserGroups) -> list[ChangedGroup]:
    """Return the user groups that changed, by their paths."""
    verbs = {change.key: verbs_of(change) for change in plan.user_groups}
    members = {change.key: change for change in plan.memberships}
    nobody = MembershipChange("", [], [], [], [])
    found = []
    for key in [*(key for key in verbs if verbs[key]), *(key for key in members if not verbs.get(key))]:
        there = groups if key in groups else state.user_groups
        path, before = path_of(key, there), path_of(key, state.user_groups) if key in state.user_groups else None
        found.append(
            ChangedGroup(
                key,
                [*verbs.get(key, ()), *(["members"] if key in members else [])],
                path,
                before if before != path else None,
                there[key].dn,
                members.get(key, nobody),
            )
        )
    return sorted(found, key=lambda each: (each.path, each.key))
