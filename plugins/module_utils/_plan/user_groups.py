# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What becomes of the user groups."""

from __future__ import annotations

import itertools

from .. import _changes, _model
from .._model import KeptName, UserGroup, UserGroupRecord
from .._named_tuple import NamedTuple
from .basis import Basis
from .fates import user_group_change
from .places import (
    NEWCOMER,
    NOWHERE,
    STORED,
    Claimant,
    KeptNames,
    Place,
    assign_places,
    extinct_claimant,
    place_at,
    place_of,
)


class GroupCollision(NamedTuple):
    """A user group that is not called as it is in the directory."""

    key: str
    wanted: UserGroupRecord
    reason: str  # for the reader


class UserGroups(NamedTuple):
    """What becomes of the user groups if none is deleted. Who is missing is extinct, unless that is held."""

    records: dict[str, UserGroupRecord]  # by stable key
    collisions: list[GroupCollision]
    kept: KeptNames


class _Claims(NamedTuple):
    """What the user groups want to be, and where."""

    records: dict[str, UserGroupRecord]
    claimants: list[Claimant]
    sitting: set[Place]  # places of those that are as stored: nobody else can have them
    left: list[tuple[Place, KeptName]]  # names that are kept from this run on


def plan_user_groups(basis: Basis) -> UserGroups:
    """Return what becomes of the user groups; which extinct ones are deleted is for `deletable` to say."""
    state, read, missing = basis.state, _claims_of_read(basis), _claims_of_missing(basis)
    records = {**read.records, **missing.records}
    kept = KeptNames("user_group", state, basis.wait, read.left + missing.left)
    given = assign_places(
        read.claimants + missing.claimants,
        lambda claimant, place: (
            place not in state.neighbours and place not in missing.sitting and kept.may_take(claimant, place)
        ),
    )
    taken = {place_at(seat) for key, seat in given.items() if seat != NOWHERE and not records[key].extinct}
    taken.update(state.neighbours, missing.sitting)
    collisions = []
    for key, seat in given.items():
        record = records[key]
        if seat == NOWHERE:  # all suffixes are taken by groups made by hand, as those that were released
            seat = (record.parent, _name_that_is_left(key, record, taken))
        if seat[1] != record.name and not record.extinct:
            why = kept.why(record, key, taken)
            collisions.append(GroupCollision(key, record, "%s, it is called '%s'" % (why, seat[1])))
        records[key] = record._replace(parent=seat[0], name=seat[1])
    return UserGroups(records, collisions, kept)


def _claims_of_read(basis: Basis) -> _Claims:
    claims, state = _Claims({}, [], set(), []), basis.state
    for key, group in basis.snapshot.user_groups.items():
        stored = state.user_groups.get(key)
        name = group.name or (stored.own_name or stored.name if stored is not None else None)
        if not name:
            continue  # in snapshot.not_stored already
        parent, unit = basis.node(group.parent), basis.unit(group, stored)
        if stored is not None and _displaced(key, stored, name):  # it leaves a name that is not its own
            claims.left.append((place_of(stored), KeptName(key, stored.unit, basis.wait.times.later)))
        claims.records[key] = UserGroupRecord(name, parent, None, group.attributes, group.dn, unit, name)
        claims.claimants.append(
            Claimant(
                key,
                [(parent, each) for each in _names_of(key, group, name, stored)],
                place_of(stored) if stored is not None else NOWHERE,
                (STORED if stored is not None else NEWCOMER, group.created, key),
                unit,
            )
        )
    return claims


def _claims_of_missing(basis: Basis) -> _Claims:
    claims, snapshot, state, target = _Claims({}, [], set(), []), basis.snapshot, basis.state, basis.target
    for key, stored in state.user_groups.items():
        if key in snapshot.user_groups:
            continue
        as_stored = not (snapshot.is_full or stored.extinct or key in snapshot.lost_user_groups)
        if as_stored and (stored.parent in state.user_groups or stored.parent == target):
            claims.records[key] = stored
            claims.sitting.add(place_of(stored))
            continue
        if stored.parent not in state.user_groups:  # the target may be another now
            stored = stored._replace(parent=target)
        if as_stored or key in basis.staying.user_groups:
            claims.records[key] = stored
            seats = [(stored.parent, stored.name)]
            claims.claimants.append(Claimant(key, seats, place_of(state.user_groups[key]), (STORED, 0, key)))
        else:
            claims.records[key] = stored._replace(extinct=stored.extinct or snapshot.lost_user_groups[key])
            claims.claimants.append(extinct_claimant(key, stored))
            since = basis.wait.since(state.groups_extinct_since.get(key))
            claims.left.append((place_of(stored), KeptName(key, stored.unit, since)))
    return claims


def _names_of(key: str, group: UserGroup, name: str, stored: UserGroupRecord | None) -> list[str]:
    """Return the names that a group may have, the best first: its own, or that with a suffix.

    A suffix stays until the group's own name changes in the directory: that somebody else has gone does not give it the
    name. Example: the group 'Admins' of ou=it is deleted, and that of ou=sales is called 'Admins (sales)' as before.
    """
    names = [name] + ["%s (%s)" % (name, suffix) for suffix in (group.container, group.type, key) if suffix]
    if stored is None or stored.name == name or _displaced(key, stored, name):
        return names
    unchanged = stored.own_name == name if stored.own_name else stored.name in names
    return [stored.name, *names] if unchanged else names


def _name_that_is_left(key: str, record: UserGroupRecord, taken: set[Place]) -> str:
    """Return a name that nobody has, of the group's key and its own name, with a number if need be."""
    names = ("%s (%s%s)" % (key, record.name, " %d" % number if number > 1 else "") for number in itertools.count(1))
    return next(name for name in names if place_at((record.parent, name)) not in taken)


def _displaced(key: str, stored: UserGroupRecord, own_name: str) -> bool:
    """Tell whether an extinct record has given its name up: see `_names.extinct_names`."""
    if not stored.extinct:
        return False
    return stored.name != own_name and stored.name.endswith((" (extinct)", " (extinct %s)" % key))


# --- which are deleted, and what changes ------------------------------------------------------------------------------


def deletable(
    basis: Basis,
    records: dict[str, UserGroupRecord],
    users: dict[str, _model.UserRecord | None],
    adopted: set[str],
) -> set[str]:
    """Return the extinct groups in which nothing stays that is not deleted with them.

    ``users``: the records of those that are not as stored, None if they end; ``adopted``: records made by hand that are
    others' from now on. A group with something in it stays, and all groups above it.
    """
    state = basis.state
    staying = {**{reference: stored.record for reference, stored in state.users.items()}, **users}
    homes = {record.home for reference, record in staying.items() if record is not None and reference not in adopted}
    homes.update(
        key for key, who in state.occupied.items() if not all(each in users or each in adopted for each in who)
    )
    stays: set[str] = set()
    for key, record in records.items():
        if not record.extinct or key in homes:
            while key in records and key not in stays:  # who stays keeps all groups above it
                stays.add(key)
                key = records[key].parent
    return {key for key in records if key not in stays}


def user_group_changes(
    basis: Basis, records: dict[str, UserGroupRecord]
) -> tuple[list[_changes.UserGroupChange], dict[str, tuple[str, str, str]]]:
    """Return what changes, and what is only to be noted: stable key -> DN, unit, own_name.

    ``records``: the user groups that stay.
    """
    changes, notes, state = [], {}, basis.state
    for key in sorted(records.keys() | state.user_groups.keys()):
        before, after = state.user_groups.get(key), records.get(key)
        if before is after:
            continue
        if before is None or after is None or before.differs(after):
            changes.append(user_group_change(key, before, after))
        elif before != after:
            notes[key] = (after.dn, after.unit, after.own_name)
    return changes, notes
