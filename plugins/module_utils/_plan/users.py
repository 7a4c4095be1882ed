# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What becomes of the users."""

from __future__ import annotations

from collections.abc import Iterator

from .. import _changes, _names
from .._model import NO_DIGEST, KeptName, StoredState, StoredUser, User, UserRecord
from .._named_tuple import NamedTuple
from .basis import Basis
from .fates import user_change
from .places import DAY, NOWHERE, KeptNames, Place, place_of
from .policies import Policies
from .rivals import Places, Sids, Wanting, settle_places, settle_sids


class Users(NamedTuple):
    """What becomes of the users that are not as stored."""

    after: dict[str, UserRecord | None]  # reference -> record; None: ended
    adopts: dict[str, str]  # key -> reference of the record made by hand that it takes over
    released: set[str]  # adopted records that go back to being made by hand
    ended: set[str]  # references whose memberships end, whatever the member lists say
    losers: dict[str, str]  # key -> what was not done and why: must be compared in the next run too
    ignored: int  # disabled newcomers that ignore_disabled_users keeps out
    kept: KeptNames


def plan_users(policies: Policies, basis: Basis) -> Users:
    state, lost, read = basis.state, _lost(policies, basis), _read(policies, basis)
    wanting = Wanting(state, basis.bodies, read.records, {**lost.after, **read.of_others})
    kept = KeptNames("user", state, basis.wait, _names_left(basis, wanting, lost.released))
    can_adopt = _can_adopt(policies, state, lost.released)
    sids = settle_sids(wanting, basis.snapshot.directory, can_adopt, kept)
    wanting, places, adopts, losers = _settle(wanting, sids, can_adopt, kept)
    seated = _seated(wanting, places, adopts, kept)
    handed_over = lost.released.intersection(seated.adopts.values())  # to a newcomer, on its way out
    after = {reference: record for reference, record in wanting.after.items() if reference not in handed_over}
    after.update(seated.records)
    after.update(_displaced(wanting, places))
    return Users(
        after, seated.adopts, lost.released - handed_over, lost.ended, {**losers, **seated.losers}, read.ignored, kept
    )


# --- who is lost, and who was read -----------------------------------------------------------------------------------


class _Lost(NamedTuple):
    """What becomes of users that the snapshot lacks."""

    after: dict[str, UserRecord | None]  # see Users
    released: set[str]
    ended: set[str]


def _lost(policies: Policies, basis: Basis) -> _Lost:
    """Return what becomes of users that the snapshot lacks: by the policy, when the last claim ends."""
    snapshot, state, target = basis.snapshot, basis.state, basis.target
    policy, lost = policies.user_extinction, _Lost({}, set(), set())
    for key, stored in state.users.items():
        record = stored.record
        reason = snapshot.lost_users.get(key) or (record.extinct if key not in snapshot.users else None)
        if not reason or key[:1] in "@#":
            continue
        last = stored.is_written_here and not stored.other_claims
        if last and record.home not in state.user_groups:  # the target may be another now
            record = record._replace(home=target)
        if not last:
            if record.claimed:
                lost.after[key] = record._replace(claimed=False)
                lost.ended.add(key)
        elif policy == "delete" and stored.adopted:
            lost.after[key] = record._replace(claimed=False, extinct=None)
            lost.released.add(key)
            lost.ended.add(key)
        elif policy == "delete" and _grace_is_over(
            policies.user_extinction_grace_days, stored, basis.wait.times.earlier
        ):
            lost.after[key] = None
            lost.ended.add(key)
        elif policy in ("disable", "delete"):
            lost.after[key] = record._replace(claimed=False, extinct=record.extinct or reason, enabled=False)
            lost.ended.add(key)
        else:
            lost.after[key] = record._replace(claimed=False, extinct=record.extinct or reason)
    return lost


def _grace_is_over(days: int, stored: StoredUser, now: int) -> bool:
    """Tell whether an extinct user may be deleted: a grace begins when extinction disables the record."""
    if not days:
        return True
    if not stored.record.extinct or stored.record.enabled or stored.extinct_since is None:
        return False
    return now - stored.extinct_since >= days * DAY


class _Read(NamedTuple):
    """What users want to be that were read."""

    records: dict[str, UserRecord]  # of those that this synchronization writes
    of_others: dict[str, UserRecord]  # of those that another one writes
    ignored: int  # see Users


def _read(policies: Policies, basis: Basis) -> _Read:
    records: dict[str, UserRecord] = {}
    of_others: dict[str, UserRecord] = {}
    ignored = 0
    for key, user in basis.bodies.items():
        stored = basis.state.users.get(key)
        # Whoever sees it may disable, and only who writes may enable.
        if stored is not None and not stored.is_written_here:
            of_others[key] = stored.record._replace(claimed=True, enabled=stored.record.enabled and user.enabled)
        elif stored is None and policies.ignore_disabled_users and not user.enabled:
            ignored += 1
        elif user.name or stored is not None:
            records[key] = _as_read(user, stored, basis)
    return _Read(records, of_others, ignored)


def _as_read(user: User, stored: StoredUser | None, basis: Basis) -> UserRecord:
    """Return the record that a user wants. ``stored``: the one that it has, if any."""
    before = stored.record if stored is not None else None
    return UserRecord(
        user.name or (before.name if before is not None else ""),
        basis.node(user.home),
        user.enabled and not (stored is not None and stored.disabled_by_others),
        user.sid,
        None,
        user.attributes,
        user.dn,
        True,
        user.known_as,
        basis.unit(user, before),
    )


# --- names, and records made by hand ---------------------------------------------------------------------------------


def _names_left(basis: Basis, wanting: Wanting, released: set[str]) -> Iterator[tuple[Place, KeptName]]:
    """Yield the names of users who are extinct, who end, and who leave a place though they were given no other name."""
    state, target, wait = basis.state, basis.target, basis.wait
    for reference, stored in state.users.items():
        before, now = stored.record, wanting.after.get(reference, stored.record)
        if reference[:1] in "@#":
            continue
        if before.home not in state.user_groups and not stored.taken_over:  # the target may be another now
            before = before._replace(home=target)
        if reference in wanting.records:
            name = wanting.records[reference].name
            # Another synchronization gives it another home, and maybe calls it by another attribute.
            if stored.taken_over or before.name in _names.extinct_names(name, reference)[1:]:
                yield place_of(before), KeptName(reference, before.unit, wait.times.later)
        elif now is None or now.extinct or reference in released:
            since = wait.since(stored.extinct_since if before.extinct else None)
            yield place_of(before), KeptName(reference, before.unit, since)


def _can_adopt(policies: Policies, state: StoredState, released: set[str]) -> set[str]:
    """Return the records that newcomers may take over: made by hand, or becoming so again in this run."""
    if policies.user_collision == "skip":
        return set()
    return released.union(reference for reference in state.users if reference[:1] == "#")


# --- who gets what it wants ------------------------------------------------------------------------------------------


def _settle(
    wanting: Wanting, sids: Sids, can_adopt: set[str], kept: KeptNames
) -> tuple[Wanting, Places, dict[str, str], dict[str, str]]:
    """Return who still wants something once SIDs are given out, the places, who adopts which record by its SID, and
    what was not done and why.

    Whoever wants to take over a record by its SID and gets no place does not get the record either. The record stays
    where it is, so all is settled again. Example: bob has the SID of 'Robert', made by hand, and 'bob' is taken. He is
    not stored, and 'Robert' keeps its place from others.
    """
    records, adopts, losers = dict(sids.records), dict(sids.adopts), dict(sids.losers)
    while True:
        wanting = wanting._replace(records=records)
        places = settle_places(wanting, adopts, can_adopt - sids.reserved, kept)
        lost_adopters = [key for key in adopts if places.given.get(key) == NOWHERE]
        if not lost_adopters:
            return wanting, places, adopts, losers
        for key in lost_adopters:
            losers[key] = "the name is taken"
            del adopts[key], records[key]


class _Seated(NamedTuple):
    """The users who get a place, with it."""

    records: dict[str, UserRecord]
    adopts: dict[str, str]  # see Users
    losers: dict[str, str]


def _seated(wanting: Wanting, places: Places, adopts: dict[str, str], kept: KeptNames) -> _Seated:
    seated = _Seated({}, dict(adopts), {})
    taken = places.taken(wanting.records)
    for key, record in wanting.records.items():
        seat = places.given.get(key)
        if seat is not None:
            if seat == NOWHERE:
                seated.losers[key] = kept.why(record, key, taken)
                continue
            if seat != (record.home, record.name):
                if key in wanting.state.users:
                    seated.losers[key] = kept.why(record, key, taken) + ", it keeps its place"
                record = record._replace(home=seat[0], name=seat[1])
            sitter = places.sitting.get(place_of(record))
            if sitter:
                seated.adopts[key] = sitter
        seated.records[key] = record
    return seated


def _displaced(wanting: Wanting, places: Places) -> Iterator[tuple[str, UserRecord]]:
    """Yield the extinct records that give their names up."""
    for reference, seat in places.given.items():
        if reference not in wanting.records:
            record = wanting.after.get(reference) or wanting.state.users[reference].record
            home, name = seat if seat != NOWHERE else (record.home, "%s (extinct)" % reference)
            yield reference, record._replace(home=home, name=name)


# --- what changes ----------------------------------------------------------------------------------------------------


class UserNotes(NamedTuple):
    """See Notes."""

    user_digests: dict[str, bytes]
    user_dns: dict[str, tuple[str, str, str]]
    user_expires: dict[str, int | None]
    said_disabled: dict[str, bool]


def user_changes(policies: Policies, basis: Basis, users: Users) -> tuple[list[_changes.UserChange], UserNotes]:
    changes, notes, state = [], UserNotes({}, {}, {}, _said_disabled(basis)), basis.state
    policy = policies.user_collision
    for reference in sorted(users.after):
        stored, after = state.users.get(reference), users.after[reference]
        adopts = users.adopts.get(reference)
        held = state.users[adopts] if adopts else stored
        before = held.record if held is not None else None
        if adopts or before is None or after is None or before.differs(after):
            is_released = reference in users.released
            changes.append(user_change(reference, before, after, adopts, policy, is_released))
        elif before != after:
            notes.user_dns[reference] = (after.dn, after.known_as, after.unit)
        body = basis.bodies.get(reference)
        if body is not None and (stored is None or stored.is_written_here):
            notes.user_digests[reference] = NO_DIGEST if reference in users.losers else body.digest
            if stored is not None or body.expires is not None:
                notes.user_expires[reference] = body.expires
    return changes, notes


def _said_disabled(basis: Basis) -> dict[str, bool]:
    """Return the users whom another synchronization writes, and whether this one sees that each is disabled."""
    return {
        key: not basis.bodies[key].enabled
        for key, stored in basis.state.users.items()
        if not stored.is_written_here and key in basis.bodies and "enabled" not in basis.snapshot.unclear.get(key, ())
    }
