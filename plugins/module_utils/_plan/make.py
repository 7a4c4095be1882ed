# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Snapshot + stored state + policies -> plan. Pure: no clock, no network, no store.

The planner writes down what each record is to be, compares it with what is stored, and keeps the differences. Who may
sit where is decided for all at once by `assign_places`; that is what makes swaps, rotations and collisions come out
the same whatever the order of the entries.
"""

from __future__ import annotations

from .. import _model
from .._model import path_of, path_reference
from .memberships import _left_out, _plan_memberships
from .places import _Kept, place_of
from .reading import _what_stays, _with_held_users, _with_what_is_clear
from .user_groups import _deletable, _group_changes, _plan_user_groups
from .users import _plan_users, _user_changes


def make_plan(settings, snapshot, state, same_value, now=0, held=frozenset(), begins=None) -> _model.Plan:
    """Return the plan that makes the store equal to the snapshot, under the policies.

    ``settings`` has name, user_collision, user_extinction, user_extinction_grace_days, user_group_extinction,
    name_reuse_days and ignore_disabled_users; ``same_value`` returns the form in which two values of a member list are
    compared (a DN has many spellings); ``now`` is in seconds since 1970. ``held`` are removals to leave out, whatever
    the snapshot says. ``begins`` is since when what ends now is gone, if the clock is in doubt: see `_clock`.

    Raises ValueError, with a sentence for the reader, if the target lies in a group that is to land in it.
    """
    target = path_reference(state.target)
    names = set(_model.split_path(state.target))
    for key, record in state.user_groups.items():
        if record.name in names and (state.target + "/").startswith(path_of(key, state.user_groups) + "/"):
            raise ValueError(
                "user_group: '%s' lies in a user group that this synchronization keeps itself: "
                "name another" % state.target
            )
    snapshot = _with_held_users(_with_what_is_clear(snapshot, state), state, held)
    staying = held.union(_what_stays(snapshot, state))
    begins = now if begins is None else begins
    kept_groups = _Kept("user_group", state, now, begins, settings.name_reuse_days)
    kept_users = _Kept("user", state, now, begins, settings.name_reuse_days)
    groups, group_collisions = _plan_user_groups(snapshot, state, target, staying, kept_groups)
    users = _plan_users(settings, snapshot, state, target, now, kept_users)
    collisions = []
    for key, reason in users.losers.items():
        user = snapshot.users[key]
        home = path_of(_model.node_of(user.home, snapshot, state.user_groups) or target, groups)
        name = user.name or state.users[key].record.name
        collisions.append(_model.Collision("user", name, home, user.dn, reason))

    if settings.user_group_extinction == "delete":
        for key in _deletable(state, groups, users):
            del groups[key]
    for key, record, reason in group_collisions:
        if key in groups:
            collisions.append(
                _model.Collision("user_group", record.name, path_of(record.parent, groups), record.dn, reason)
            )

    said_disabled = {
        key: not user.enabled
        for key, user in snapshot.users.items()
        if user is not None
        and key in state.users
        and not state.users[key].given
        and "enabled" not in snapshot.unclear.get(key, ())
    }
    bookkeeping = _model.Bookkeeping(
        *({}, {}, {}, {}, {}, {}, {}),
        said_disabled=said_disabled,
        state_by=snapshot.state_by,
        kept_names=_kept_names(state, groups, users, kept_groups, kept_users),
    )
    absent = {key for key, user in snapshot.users.items() if user is not None and users.after.get(key) is None}
    memberships = _plan_memberships(snapshot, state, groups, users, absent, same_value, staying, bookkeeping)
    return _model.Plan(
        directory=snapshot.directory,
        synchronization=settings.name,
        target=state.target,
        target_missing=state.target_missing,
        user_groups=list(_group_changes(state, groups, bookkeeping)),
        users=list(_user_changes(settings, snapshot, state, users, bookkeeping)),
        memberships=memberships,
        collisions=sorted(collisions),
        bookkeeping=bookkeeping,
        ignored=users.ignored,
        held=held,
        again=frozenset(users.losers).union(key for key, _record, _reason in group_collisions),
        unresolved=[*snapshot.unresolved, *_left_out(snapshot, groups, users, absent)],
    )


def _kept_names(state, groups, users, kept_groups, kept_users):
    """Return what the store is to note of names that are kept: see `_Kept.to_note`."""
    people = {reference: stored.record for reference, stored in state.users.items() if reference[:1] not in "@#"}
    people.update(users.after)
    people = {reference: record for reference, record in people.items() if reference not in users.released}
    noted: dict = {}
    for kept, records in ((kept_groups, groups), (kept_users, people)):
        there = [record for record in records.values() if record is not None]
        noted.update(
            kept.to_note(
                {place_of(record) for record in there if not record.extinct},
                {place_of(record) for record in there if record.extinct},
            )
        )
    return noted


_NO_NOTES = _model.Bookkeeping({}, {}, {}, {}, {}, {})


def without_notes(plan: _model.Plan) -> _model.Plan:
    """Return the plan by which the store notes nothing beside its changes: what is read may be older than its notes."""
    return plan._replace(bookkeeping=_NO_NOTES)


def without_changes(plan: _model.Plan, held: frozenset[_model.Removal]) -> _model.Plan:
    """Return the plan that does nothing of it, since everything is held."""
    return _model.Plan(
        plan.directory,
        plan.synchronization,
        plan.target,
        False,
        [],
        [],
        [],
        [],
        _NO_NOTES,
        held=held,
    )


def plan_release(name: str, directory: _model.Directory, state: _model.StoredState) -> _model.Plan:
    """Return the plan after which the synchronization is no more, and its records are as if made by hand.

    A user whom another synchronization claims stays that one's.
    """
    changes = []
    for key, stored in sorted(state.users.items()):
        last = stored.given and not stored.other_claims
        if key[:1] not in "@#" and (last or stored.record.claimed):
            after = stored.record._replace(claimed=False, extinct=None if last else stored.record.extinct)
            changes.append(_model.UserChange(key, stored.record, after, released=last))
    return _model.Plan(
        directory,
        name,
        state.target,
        False,
        [],
        changes,
        [],
        [],
        _NO_NOTES,
        leaving="released",
    )


def plan_absence(settings, snapshot, state, same_value) -> _model.Plan:
    """Return the plan after which the synchronization is no more, nor any record that was its alone.

    ``snapshot`` has everything of it as lost. A user group in which something of others lies stays as it is.
    """
    plan = make_plan(
        settings._replace(user_extinction="delete", user_extinction_grace_days=0, user_group_extinction="delete"),
        snapshot,
        state,
        same_value,
    )
    return plan._replace(user_groups=[change for change in plan.user_groups if change.after is None], leaving="absent")
