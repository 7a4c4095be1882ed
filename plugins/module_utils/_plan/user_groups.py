# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What becomes of the user groups."""

from __future__ import annotations

from collections.abc import Iterator

from .. import _model
from .._model import name_key
from .places import NEWCOMER, STORED, Claimant, _extinct_claimant, _unit_of, assign_places, place_of


def _plan_user_groups(snapshot, state, target, held, kept):
    """Return {key: record after} of all owned groups that stay if nothing is deleted, and the collisions.

    Groups that the snapshot lacks are extinct here, unless that is held; which of them are deleted is decided when it
    is known who stays inside.
    """
    claimants, wanted = [], {}
    for key, group in snapshot.user_groups.items():
        stored = state.user_groups.get(key)
        name = group.name or (stored and (stored.own_name or stored.name))
        if not name:
            continue  # in snapshot.not_stored already
        parent = _model.node_of(group.parent, snapshot, state.user_groups) or target
        unit = _unit_of(group, snapshot, stored)
        if stored is not None and _displaced(key, stored, name):
            kept.keep(place_of(stored), key, stored.unit)  # which it leaves, and not by a name of its own
        wanted[key] = _model.UserGroupRecord(name, parent, None, group.attributes, group.dn, unit, name)
        claimants.append(
            Claimant(
                key,
                [(parent, each) for each in _group_names(key, group, name, stored)],
                place_of(stored) if stored else None,
                (STORED if stored else NEWCOMER, group.created, key),
                unit,
            )
        )
    sitting = set()
    for key, stored in state.user_groups.items():
        if key not in snapshot.user_groups:
            as_stored = not (snapshot.complete or stored.extinct or key in snapshot.lost_user_groups)
            if as_stored and (stored.parent in state.user_groups or stored.parent == target):
                wanted[key] = stored  # where it sits nobody else can, so it need not claim its place
                sitting.add(place_of(stored))
                continue
            if stored.parent not in state.user_groups:  # the target may be another now
                stored = stored._replace(parent=target)
            if as_stored or ("user_group", key) in held:
                wanted[key] = stored
                claimants.append(
                    Claimant(key, [(stored.parent, stored.name)], place_of(state.user_groups[key]), (STORED, 0, key))
                )
                continue
            wanted[key] = stored._replace(extinct=stored.extinct or snapshot.lost_user_groups[key])
            claimants.append(_extinct_claimant(key, stored))
            kept.keep(place_of(stored), key, stored.unit, state.groups_extinct_since.get(key))

    given = assign_places(
        claimants,
        lambda claimant, place: (
            place not in state.neighbours and place not in sitting and kept.may_take(claimant, place)
        ),
    )
    taken = {(place[0], name_key(place[1])) for key, place in given.items() if place and not wanted[key].extinct}
    taken.update(state.neighbours, sitting)
    collisions = []
    for key, place in given.items():
        record = wanted[key]
        if place is None:  # all suffixes are taken by groups made by hand: nothing sensible is left to try
            place = (record.parent, "%s (%s)" % (key, record.name))
        if place[1] != record.name and not record.extinct:
            why = kept.why(place_of(record), key, record.unit, place_of(record) in taken)
            collisions.append((key, record, "%s, it is called '%s'" % (why, place[1])))
        wanted[key] = record._replace(parent=place[0], name=place[1])
    return wanted, collisions


def _group_names(key, group, name, stored) -> list[str]:
    """Return the names that a group may have, the best first: its own, or that with a suffix.

    A suffix stays until the group's own name changes in the directory: that somebody else has gone does not give it the
    name. Example: the group 'Admins' of ou=it is deleted, and that of ou=sales is called 'Admins (sales)' as before.
    """
    names = [name] + ["%s (%s)" % (name, suffix) for suffix in (group.container, group.type, key) if suffix]
    if stored is None or stored.name == name or _displaced(key, stored, name):
        return names
    unchanged = stored.own_name == name if stored.own_name else stored.name in names
    return [stored.name, *names] if unchanged else names


def _displaced(key, stored, own_name) -> bool:
    """Tell whether an extinct record has given its name up: see `_model.extinct_names`."""
    if not stored.extinct:
        return False
    return stored.name != own_name and stored.name.endswith((" (extinct)", " (extinct %s)" % key))


def _deletable(state, records, users):
    """Return the extinct groups in which nothing stays that is not deleted with them."""
    staying = {reference: stored.record for reference, stored in state.users.items()}
    staying.update(users.after)
    for reference in users.adopts.values():
        del staying[reference]
    homes = {record.home for record in staying.values() if record is not None}
    decided = set(users.after).union(users.adopts.values())
    homes.update(key for key, who in state.occupied.items() if not who <= decided)
    stays: set = set()
    for key, record in records.items():
        if not record.extinct or key in homes:
            while key in records and key not in stays:  # who stays keeps all groups above it
                stays.add(key)
                key = records[key].parent
    return {key for key in records if key not in stays}


def _group_changes(state, groups, bookkeeping) -> Iterator[_model.UserGroupChange]:
    for key in sorted(set(groups) | set(state.user_groups)):
        before, after = state.user_groups.get(key), groups.get(key)
        if before is after:
            continue
        if before is None or after is None or before.differs(after):
            yield _model.UserGroupChange(key, before, after)
        elif before != after:
            bookkeeping.group_dns[key] = (after.dn, after.unit, after.own_name)
