# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Snapshot + stored state + policies -> plan. Pure: no clock, no network, no store.

The planner writes down what each record is to be, compares it with what is stored, and keeps the differences. Who may
sit where is decided for all at once (`assign_places`); that is what makes swaps, rotations and collisions come out the
same whatever the order of the entries.
"""

from __future__ import annotations

from collections.abc import Iterator

from .. import _model, _names
from .._changes import Collision, Fate, Notes, Plan, UserChange
from .._model import NO_TIME, Conclusion, Directory, Snapshot, StoredState, Times, path_of
from .basis import Basis, basis_of
from .fates import user_change
from .memberships import MembershipNotes, SameValue, plan_memberships
from .places import KeptNames, NamesToNote, Wait
from .policies import Policies, PoliciesOfAnEnd
from .user_groups import UserGroups, deletable, plan_user_groups, user_group_changes
from .users import UserNotes, Users, plan_users, user_changes

Records = dict[str, _model.UserGroupRecord]


class WrongTarget(ValueError):
    """The user group that everything is to land in will not do; with a sentence for the reader."""


def make_plan(
    policies: Policies,
    snapshot: Snapshot,
    state: StoredState,
    same_value: SameValue,
    times: Times = NO_TIME,
    held: frozenset[Conclusion] = frozenset(),
) -> Plan:
    """Return the plan that makes the store equal to the snapshot, under the policies.

    ``same_value`` returns the form in which two values of a member list are compared (a DN has many spellings).
    ``held`` are conclusions to leave out, whatever the snapshot says.

    Raises WrongTarget, with a sentence for the reader, if the target lies in a group that is to land in it.
    """
    _check_target(state)
    wait = Wait(times, policies.name_reuse_days)
    basis = basis_of(snapshot, state, wait, held)
    user_groups = plan_user_groups(basis)
    users = plan_users(policies, basis)
    groups = _that_stay(policies, basis, user_groups, users)
    memberships = plan_memberships(basis, groups, users, same_value)
    group_changes, group_dns = user_group_changes(basis, groups)
    changes, user_notes = user_changes(policies, basis, users)
    kept_names = _kept_names(basis, user_groups.kept, groups, users)
    return Plan(
        directory=snapshot.directory,
        synchronization=policies.name,
        target=state.target,
        target_missing=state.target_missing,
        user_groups=group_changes,
        users=changes,
        memberships=memberships.changes,
        collisions=sorted(_collisions(basis, user_groups, groups, users)),
        notes=_notes(user_notes, group_dns, memberships.notes, kept_names, snapshot.state_by),
        ignored=users.ignored,
        held=held,
        again=frozenset(users.losers).union(collision.key for collision in user_groups.collisions),
        unresolved=[*snapshot.unresolved, *memberships.left_out],
    )


def _check_target(state: StoredState) -> None:
    names = set(_names.split_path(state.target))
    for key, record in state.user_groups.items():
        if record.name in names and (state.target + "/").startswith(path_of(key, state.user_groups) + "/"):
            raise WrongTarget(
                "user_group: '%s' lies in a user group that this synchronization keeps itself: "
                "name another" % state.target
            )


def _that_stay(policies: Policies, basis: Basis, user_groups: UserGroups, users: Users) -> Records:
    if policies.user_group_extinction != "delete":
        return user_groups.records
    ending = deletable(basis, user_groups.records, users.after, set(users.adopts.values()))
    return {key: record for key, record in user_groups.records.items() if key not in ending}


def _collisions(basis: Basis, user_groups: UserGroups, groups: Records, users: Users) -> Iterator[Collision]:
    """Yield what was not done and why, by paths as they are after the run. ``groups``: those that stay."""
    for key, reason in users.losers.items():
        user = basis.bodies[key]
        name = user.name or basis.state.users[key].record.name
        yield Collision("user", name, path_of(basis.node(user.home), user_groups.records), user.dn, reason)
    for collision in user_groups.collisions:
        if collision.key in groups:
            record = collision.wanted
            path = path_of(record.parent, groups)
            yield Collision("user_group", record.name, path, record.dn, collision.reason)


def _notes(
    users: UserNotes,
    group_dns: dict[str, tuple[str, str, str]],
    memberships: MembershipNotes,
    kept_names: NamesToNote,
    state_by: str,
) -> Notes:
    return Notes(
        user_digests=users.user_digests,
        user_dns=users.user_dns,
        group_digests=memberships.group_digests,
        group_dns=group_dns,
        listed_as=memberships.listed_as,
        user_expires=users.user_expires,
        also_listed_as=memberships.also_listed_as,
        said_disabled=users.said_disabled,
        state_by=state_by,
        kept_names=kept_names,
    )


def _kept_names(basis: Basis, kept_groups: KeptNames, groups: Records, users: Users) -> NamesToNote:
    """Return what the store is to note of names that are kept: see `KeptNames.to_note`."""
    stored_users = basis.state.users
    people = {reference: stored.record for reference, stored in stored_users.items() if reference[:1] not in "@#"}
    there = {**people, **users.after}
    there = {reference: record for reference, record in there.items() if reference not in users.released}
    return {**kept_groups.to_note(groups), **users.kept.to_note(there)}


# --- plans that are not made of what was read ------------------------------------------------------------------------


_NO_NOTES = Notes({}, {}, {}, {}, {}, {})


def _plan_of(directory: Directory, name: str, target: str, users: list[UserChange]) -> Plan:
    """Return a plan that changes nothing but these users."""
    return Plan(directory, name, target, False, [], users, [], [], _NO_NOTES)


def without_notes(plan: Plan) -> Plan:
    """Return the plan by which the store notes nothing beside its changes: what is read may be older than its notes."""
    return plan._replace(notes=_NO_NOTES)


def without_changes(plan: Plan, held: frozenset[Conclusion]) -> Plan:
    """Return the plan that does nothing of it, since everything is held."""
    return _plan_of(plan.directory, plan.synchronization, plan.target, [])._replace(held=held)


def plan_release(name: str, directory: Directory, state: StoredState) -> Plan:
    """Return the plan after which the synchronization is no more, and its records are as if made by hand.

    A user whom another synchronization claims stays that one's.
    """
    changes = []
    for key, stored in sorted(state.users.items()):
        last = stored.is_written_here and not stored.other_claims
        if key[:1] not in "@#" and (last or stored.record.claimed):
            after = stored.record._replace(claimed=False, extinct=None if last else stored.record.extinct)
            changes.append(user_change(key, stored.record, after, is_released=last))
    return _plan_of(directory, name, state.target, changes)._replace(leaving="released")


def plan_absence(policies: Policies, snapshot: Snapshot, state: StoredState, same_value: SameValue) -> Plan:
    """Return the plan after which the synchronization is no more, nor any record that was its alone.

    ``snapshot`` has everything of it as lost. A user group in which something of others lies stays as it is.
    """
    at_the_end = PoliciesOfAnEnd(
        policies.name, policies.user_collision, policies.ignore_disabled_users, policies.name_reuse_days
    )
    plan = make_plan(at_the_end, snapshot, state, same_value)
    return plan._replace(
        user_groups=[change for change in plan.user_groups if change.fate is Fate.DELETED], leaving="absent"
    )
