# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What becomes of the users."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .. import _model
from .._model import name_key
from .places import (
    _DAY,
    NEWCOMER,
    STORED,
    Claimant,
    Place,
    _extinct_claimant,
    _sid_place,
    _unit_of,
    assign_places,
    place_of,
)


class _Users(NamedTuple):
    """What becomes of the users that are not as stored."""

    after: dict[str, _model.UserRecord | None]  # reference -> record; None: ended, or not created
    adopts: dict[str, str]  # key -> reference of the record made by hand that it takes over
    released: set  # adopted records that go back to being made by hand
    ended: set  # references whose memberships end, whatever the member lists say
    losers: dict[str, str]  # key -> what was not done and why: must be compared in the next run too
    ignored: int  # disabled newcomers that ignore_disabled_users keeps out


def _plan_users(settings, snapshot, state, target, now, kept):
    bodies = {key: user for key, user in snapshot.users.items() if user is not None}
    after: dict[str, _model.UserRecord | None] = {}
    released: set = set()
    ended: set = set()
    _end_lost_users(settings, snapshot, state, target, now, after, released, ended)

    wanted, ignored = {}, 0
    for key, user in bodies.items():
        stored = state.users.get(key)
        if stored is not None and not stored.given:  # whoever sees it may disable, and only who writes may enable
            after[key] = stored.record._replace(claimed=True, enabled=stored.record.enabled and user.enabled)
        elif stored is None and settings.ignore_disabled_users and not user.enabled:
            ignored += 1
        elif user.name or stored is not None:
            wanted[key] = _model.UserRecord(
                user.name or stored.record.name,
                _model.node_of(user.home, snapshot, state.user_groups) or target,
                user.enabled and not (stored is not None and stored.disabled_by_others),
                user.sid,
                None,
                user.attributes,
                user.dn,
                True,
                user.known_as,
                _unit_of(user, snapshot, stored.record if stored is not None else None),
            )
    _keep_names_of_users(state, target, wanted, after, released, kept)

    losers: dict[str, str] = {}
    can_adopt = set()  # records made by hand, and those that become so again in this run
    if settings.user_collision != "skip":
        can_adopt = released.union(reference for reference in state.users if reference[:1] == "#")
    adopts, reserved = _settle_sids(snapshot.directory, state, wanted, bodies, after, losers, can_adopt, kept)
    while True:
        given, sitting = _settle_places(state, wanted, bodies, after, adopts, can_adopt - reserved, kept)
        lost_adopters = [key for key in adopts if key in given and given[key] is None]
        if not lost_adopters:
            break
        for key in lost_adopters:  # its record made by hand stays where it is after all: settle again without it
            losers[key] = "the name is taken"
            del adopts[key], wanted[key]

    taken = {(place[0], name_key(place[1])) for key, place in given.items() if place and key in wanted}.union(sitting)
    for key, record in wanted.items():
        if key in given:
            place = given[key]
            why = kept.why(place_of(record), key, record.unit, place_of(record) in taken)
            if place is None:
                losers[key] = why
                continue
            if place != (record.home, record.name):
                record = record._replace(home=place[0], name=place[1])
                if key in state.users:
                    losers[key] = why + ", it keeps its place"
            sitter = sitting.get(place_of(record))
            if sitter:
                adopts[key] = sitter
        after[key] = record
    for reference in released.intersection(adopts.values()):  # handed over to a newcomer on its way out
        released.discard(reference)
        del after[reference]
    for reference, place in given.items():
        if reference not in wanted:  # an extinct record that gave its name up
            record = after.get(reference) or state.users[reference].record
            home, name = place or (record.home, "%s (extinct)" % reference)
            after[reference] = record._replace(home=home, name=name)
    return _Users(after, adopts, released, ended, losers, ignored)


def _keep_names_of_users(state, target, wanted, after, released, kept):
    """Keep the names of users who are extinct, who end, and who leave a place though they were given no other name."""
    for reference, stored in state.users.items():
        before, now = stored.record, after.get(reference, stored.record)
        if reference[:1] in "@#":
            continue
        if before.home not in state.user_groups and not stored.taken_over:  # the target may be another now
            before = before._replace(home=target)
        if reference in wanted:
            name = wanted[reference].name
            # Another synchronization gives him another home, and maybe calls him by another attribute.
            if stored.taken_over or before.name in _model.extinct_names(name, reference)[1:]:
                kept.keep(place_of(before), reference, before.unit)
        elif now is None or now.extinct or reference in released:
            kept.keep(place_of(before), reference, before.unit, stored.extinct_since if before.extinct else None)


def _end_lost_users(settings, snapshot, state, target, now, after, released, ended):
    """Write down what becomes of users that the snapshot lacks: by the policy, when the last claim ends."""
    policy = settings.user_extinction
    for key, stored in state.users.items():
        record = stored.record
        reason = snapshot.lost_users.get(key) or (key not in snapshot.users and record.extinct)
        if not reason or key[:1] in "@#":
            continue
        last = stored.given and not stored.other_claims
        if last and record.home not in state.user_groups:  # the target may be another now
            record = record._replace(home=target)
        if not last:
            if record.claimed:
                after[key] = record._replace(claimed=False)
                ended.add(key)
        elif policy == "delete" and stored.adopted:
            after[key] = record._replace(claimed=False, extinct=None)
            released.add(key)
            ended.add(key)
        elif policy == "delete" and _grace_is_over(settings, stored, now):
            after[key] = None
            ended.add(key)
        elif policy in ("disable", "delete"):
            after[key] = record._replace(claimed=False, extinct=record.extinct or reason, enabled=False)
            ended.add(key)
        else:
            after[key] = record._replace(claimed=False, extinct=record.extinct or reason)


def _grace_is_over(settings, stored, now):
    """Tell whether an extinct user may be deleted: a grace begins when extinction disables the record."""
    days = settings.user_extinction_grace_days
    if not days:
        return True
    disabled = stored.record.extinct and not stored.record.enabled
    return bool(disabled) and now - stored.extinct_since >= days * _DAY


def _settle_sids(directory, state, wanted, bodies, after, losers, can_adopt, kept):
    """See that no two users get one SID: who is stored keeps it, then the older.

    A user of another directory does not hold a SID that begins with the one of this domain: see `_foreign_users` in
    `_store/sqlite.py`. Return who adopts which record made by hand, and the records made by hand whose SID someone has:
    only he may take them over.
    """
    holders: dict[Place, str] = {}
    for reference, stored in state.users.items():
        record = after.get(reference, stored.record)
        if record is None or not record.sid or record.extinct or reference in wanted:
            continue
        if reference[:1] != "@" or _model.domain_of(record.sid) != directory.identity:
            holders[_sid_place(record.sid)] = reference
    claimants = []
    for key, record in wanted.items():
        if record.sid:
            stored = state.users.get(key)
            # An extinct record holds no SID: somebody else may have got it since.
            before = stored.record.sid if stored is not None and not stored.record.extinct else None
            claimants.append(
                Claimant(
                    key,
                    [("sid", sid) for sid in (record.sid, before) if sid],
                    before and _sid_place(before),
                    _rank(state, bodies[key]),
                    record.unit,
                )
            )

    def may_take(claimant, place):
        holder = holders.get(place)
        if holder is None:
            return True
        return (
            claimant.rank[0] == NEWCOMER
            and holder in can_adopt
            and kept.may_take(claimant, place_of(state.users[holder].record))
        )

    adopts: dict[str, str] = {}
    reserved = {holders.get(_sid_place(record.sid), "") for record in wanted.values() if record.sid}
    for key, place in assign_places(claimants, may_take).items():
        sid = place and place[1]
        if sid == wanted[key].sid:
            holder = holders.get(_sid_place(sid))
            if holder is not None:
                adopts[key] = holder
        elif key in state.users:
            kept_sid = "it keeps the one it had" if sid else "so it has none"
            losers[key] = "another user has its SID, " + kept_sid
            wanted[key] = wanted[key]._replace(sid=sid)
        else:
            losers[key] = "another user has its SID"
            del wanted[key]
    return adopts, reserved


def _rank(state, user):
    return STORED if user.key in state.users else NEWCOMER, user.created, user.key


def _settle_places(state, wanted, bodies, after, adopts, can_adopt, kept):
    """Return the place of each user that wants one that others want, and who sits where whatever others want.

    A newcomer may take the place of a record made by hand, if the policy lets it take over the record.
    """
    sitting: dict[Place, str] = {}
    claimants = []
    adopted = set(adopts.values())
    for reference, stored in state.users.items():
        record = after.get(reference, stored.record)
        if record is None or reference in wanted or reference in adopted:
            continue
        if record.extinct and reference[:1] not in "@#":
            claimants.append(_extinct_claimant(reference, record))
        else:
            sitting[place_of(record)] = reference
    newcomers = []
    for key, record in wanted.items():
        stored = state.users.get(key)
        if stored is None:
            newcomers.append(key)
        else:
            places = [(record.home, record.name), (stored.record.home, stored.record.name)]
            claimants.append(Claimant(key, places, place_of(stored.record), _rank(state, bodies[key]), record.unit))
    # In a first run everybody is a newcomer, and hardly two want one place: who is alone there has it.
    contested = {*sitting, *kept.names}
    contested.update((home, name_key(name)) for claimant in claimants for home, name in claimant.wanted)
    wanted_in: dict[str, set] = {}
    for key in newcomers:
        home, name = place_of(wanted[key])
        names = wanted_in.setdefault(home, set())
        if name in names:
            contested.add((home, name))
        names.add(name)
    for key in newcomers if contested else ():
        record = wanted[key]
        if place_of(record) in contested:
            claimants.append(Claimant(key, [(record.home, record.name)], None, _rank(state, bodies[key]), record.unit))

    def may_take(claimant, place):
        sitter = sitting.get(place)
        if not kept.may_take(claimant, place):
            return False
        if sitter is None:
            return True
        return claimant.rank[0] == NEWCOMER and claimant.reference not in adopts and sitter in can_adopt

    return assign_places(claimants, may_take), sitting


def _user_changes(settings, snapshot, state, users, bookkeeping) -> Iterator[_model.UserChange]:
    for reference in sorted(users.after):
        stored, after = state.users.get(reference), users.after[reference]
        adopts = users.adopts.get(reference)
        held = state.users[adopts] if adopts else stored
        before = held.record if held else None
        if adopts or before is None or after is None or before.differs(after):
            yield _model.UserChange(
                reference,
                before,
                after,
                adopts,
                settings.user_collision if adopts else None,
                reference in users.released,
            )
        elif before != after:
            bookkeeping.user_dns[reference] = (after.dn, after.known_as, after.unit)
        body = snapshot.users.get(reference)
        if body is not None and (stored is None or stored.given):
            bookkeeping.user_digests[reference] = b"" if reference in users.losers else body.digest
            if stored is not None or body.expires is not None:
                bookkeeping.user_expires[reference] = body.expires
