# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Who of the users gets which SID and which place, where several want it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Set

from .. import _model
from .._model import Directory, StoredState, User, UserRecord
from .._named_tuple import NamedTuple
from .._names import name_key
from .places import (
    NEWCOMER,
    NOWHERE,
    STORED,
    Claimant,
    KeptNames,
    Place,
    Seat,
    assign_places,
    extinct_claimant,
    place_at,
    place_of,
)


class Wanting(NamedTuple):
    """The users as they want to be, beside those who are as they are whatever others want."""

    state: StoredState
    bodies: dict[str, User]
    records: dict[str, UserRecord]  # by stable key: as each is to be, if nobody else has what it wants
    after: dict[str, UserRecord | None]  # of those others that are not as stored: None if they end

    def of_others(self) -> Iterable[tuple[str, UserRecord]]:
        """Yield who does not want to be other than it is."""
        for reference, stored in self.state.users.items():
            record = self.after.get(reference, stored.record)
            if record is not None and reference not in self.records:
                yield reference, record

    def rank(self, key: str) -> tuple[int, int, str]:
        return STORED if key in self.state.users else NEWCOMER, self.bodies[key].created, key


# --- SIDs ------------------------------------------------------------------------------------------------------------


class Sids(NamedTuple):
    """The users with the SIDs that they get."""

    records: dict[str, UserRecord]  # as in Wanting, without newcomers who do not get theirs
    adopts: dict[str, str]  # key -> reference of the record made by hand that has its SID, and that it takes over
    reserved: set[str]  # references of records whose SID somebody wants: nobody else may take them over
    losers: dict[str, str]  # key -> what was not done and why


def settle_sids(wanting: Wanting, directory: Directory, can_adopt: Set[str], kept: KeptNames) -> Sids:
    """See that no two users get one SID: who is stored keeps it, then the older.

    A SID is a place: `assign_places` gives it. Example: ann and bob, who is new, have one SID. She keeps it if it was
    hers, and he is not stored. If it is the SID of a record made by hand, he may take over the record.
    """
    holders = _holders_of_sids(wanting, directory)

    def may_take(claimant: Claimant, place: Place) -> bool:
        holder = holders.get(place)
        if holder is None:
            return True
        return (
            claimant.rank[0] == NEWCOMER
            and holder in can_adopt
            and kept.may_take(claimant, place_of(wanting.state.users[holder].record))
        )

    reserved = {holders.get(_sid_place(record.sid), "") for record in wanting.records.values() if record.sid}
    sids = Sids(dict(wanting.records), {}, reserved, {})
    for key, (_sid, sid) in assign_places(_claimants_of_sids(wanting), may_take).items():
        if sid == wanting.records[key].sid:
            holder = holders.get(_sid_place(sid))
            if holder is not None:
                sids.adopts[key] = holder
        elif key in wanting.state.users:
            kept_sid = "it keeps the one it had" if sid else "so it has none"
            sids.losers[key] = "another user has its SID, " + kept_sid
            sids.records[key] = sids.records[key]._replace(sid=sid or None)
        else:
            sids.losers[key] = "another user has its SID"
            del sids.records[key]
    return sids


def _holders_of_sids(wanting: Wanting, directory: Directory) -> dict[Place, str]:
    """Return who has which SID whatever others want.

    An extinct record holds none: somebody else may have got it since. Nor does a user of another directory hold a SID
    that begins with the one of this domain: see `Known.foreign_users` in `_store/for_reader.py`.
    """
    return {
        _sid_place(record.sid): reference
        for reference, record in wanting.of_others()
        if record.sid
        and not record.extinct
        and (reference[:1] != "@" or _model.domain_of(record.sid) != directory.identity)
    }


def _claimants_of_sids(wanting: Wanting) -> list[Claimant]:
    claimants = []
    for key, record in wanting.records.items():
        if record.sid:
            stored = wanting.state.users.get(key)
            before = stored.record.sid if stored is not None and not stored.record.extinct else None
            seats = [("sid", sid) for sid in (record.sid, before) if sid]
            current = _sid_place(before) if before else NOWHERE
            claimants.append(Claimant(key, seats, current, wanting.rank(key), record.unit))
    return claimants


def _sid_place(sid: str) -> Place:
    return "sid", name_key(sid)


# --- places ----------------------------------------------------------------------------------------------------------


class Places(NamedTuple):
    given: dict[str, Seat]  # reference -> its seat, of those who want one that others want: NOWHERE if they lose
    sitting: dict[Place, str]  # who sits where whatever others want

    def taken(self, records: dict[str, UserRecord]) -> set[Place]:
        """Return the places that users of this directory get, and those where others sit."""
        got = {place_at(seat) for key, seat in self.given.items() if seat != NOWHERE and key in records}
        return got.union(self.sitting)


def settle_places(wanting: Wanting, adopts: dict[str, str], can_adopt: Set[str], kept: KeptNames) -> Places:
    """Return the place of each user that wants one that others want.

    A newcomer may take the place of a record made by hand, if the policy lets it take over the record.
    ``adopts``: key -> reference of a record that it takes over in any case.
    """
    adopted = set(adopts.values())
    sitting: dict[Place, str] = {}
    claimants = []
    for reference, record in wanting.of_others():
        if reference in adopted:
            continue
        if record.extinct and reference[:1] not in "@#":
            claimants.append(extinct_claimant(reference, record))
        else:
            sitting[place_of(record)] = reference
    claimants += _other_claimants(wanting, {*sitting, *kept.names}, claimants)

    def may_take(claimant: Claimant, place: Place) -> bool:
        sitter = sitting.get(place)
        if not kept.may_take(claimant, place):
            return False
        if sitter is None:
            return True
        return claimant.rank[0] == NEWCOMER and claimant.reference not in adopts and sitter in can_adopt

    return Places(assign_places(claimants, may_take), sitting)


def _other_claimants(wanting: Wanting, held: set[Place], extinct: Iterable[Claimant]) -> list[Claimant]:
    """Return who is stored and was read, and the newcomers who are not alone in wanting their place. ``held``: places
    that somebody has, or that are kept.

    In a first run everybody is a newcomer, and hardly two want one place: who is alone there has it.
    """
    claimants, newcomers = [], []
    for key, record in wanting.records.items():
        stored = wanting.state.users.get(key)
        if stored is None:
            newcomers.append(key)
        else:
            seats = [(record.home, record.name), (stored.record.home, stored.record.name)]
            claimants.append(Claimant(key, seats, place_of(stored.record), wanting.rank(key), record.unit))
    contested = held.union(_wanted_by_several(wanting, newcomers))
    several = itertools.chain(extinct, claimants)
    contested.update((home, name_key(name)) for claimant in several for home, name in claimant.wanted)
    for key in newcomers if contested else ():
        record = wanting.records[key]
        if place_of(record) in contested:
            claimants.append(Claimant(key, [(record.home, record.name)], NOWHERE, wanting.rank(key), record.unit))
    return claimants


def _wanted_by_several(wanting: Wanting, newcomers: Iterable[str]) -> set[Place]:
    several: set[Place] = set()
    wanted_in: dict[str, set[str]] = {}
    for key in newcomers:
        home, name = place_of(wanting.records[key])
        names = wanted_in.setdefault(home, set())
        if name in names:
            several.add((home, name))
        names.add(name)
    return several
