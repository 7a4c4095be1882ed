# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Who sits where: places for all at once, and names that are kept from other units."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Optional, Union

from .. import _model, _names
from .._model import NO_UNIT, KeptName, Times
from .._named_tuple import NamedTuple
from .._names import name_key

Place = tuple[str, str]  # reference of the user group, name_key: where no two may sit
Seat = tuple[str, str]  # reference of the user group, name as it is written
NOWHERE: tuple[str, str] = ("", "")  # the place, or the seat, of who has none

Record = Union[_model.UserRecord, _model.UserGroupRecord]

# Among those who want a place that none of them holds: the stored, then the newcomers, then the extinct, who give
# their name up.
STORED, NEWCOMER, EXTINCT = 0, 1, 2

DAY = 86400  # seconds


class Claimant(NamedTuple):
    """Somebody who needs a place: takes the first of ``wanted`` that is not given to a better one."""

    reference: str
    wanted: list[Seat]  # best first
    current: Place  # NOWHERE if it holds none
    rank: tuple[int, int, str]  # STORED .. EXTINCT, created, key
    unit: str = NO_UNIT  # see UserRecord


def place_of(record: Record) -> Place:
    home = record.home if isinstance(record, _model.UserRecord) else record.parent
    return home, name_key(record.name)


def place_at(seat: Seat) -> Place:
    return seat[0], name_key(seat[1])


def extinct_claimant(reference: str, record: Record) -> Claimant:
    """An extinct record stays where it is, but holds no place: it gives its name up to a newcomer."""
    home = record.home if isinstance(record, _model.UserRecord) else record.parent
    names = _names.extinct_names(record.name, reference)
    return Claimant(reference, [(home, name) for name in names], NOWHERE, (EXTINCT, 0, reference), record.unit)


def assign_places(
    claimants: Iterable[Claimant],
    may_take: Callable[[Claimant, Place], bool],
) -> dict[str, Seat]:
    """Give every claimant a seat at a place of its own, or NOWHERE.

    Deferred acceptance (Gale and Shapley, 1962): everyone asks for its best place, a place keeps the best who asked so
    far, and who is sent away asks for its next. A place prefers who sits there, then the lower rank. The outcome does
    not depend on the order of the claimants, a swap of names comes out as a swap, and whoever can fall back on the
    place where it sits is never left without one.

    Example: ann wants to be called bob, and bob ann. Each asks for the place of the other, nobody else does, and each
    gets it. If ann wants to be called bob and bob stays, she is sent away, and has her own place as before.
    """
    holders: dict[Place, tuple[Claimant, int]] = {}
    given: dict[str, Seat] = {}
    asking = [(claimant, 0) for claimant in claimants]
    while asking:
        claimant, choice = asking.pop()
        given[claimant.reference] = NOWHERE
        for number in range(choice, len(claimant.wanted)):
            home, name = claimant.wanted[number]
            place = (home, name_key(name))
            if not may_take(claimant, place):
                continue
            holder = holders.get(place)
            if holder is not None:
                if _claim(holder[0], place) < _claim(claimant, place):
                    continue
                asking.append((holder[0], holder[1] + 1))
            holders[place] = (claimant, number)
            given[claimant.reference] = claimant.wanted[number]
            break
    return given


def _claim(claimant: Claimant, place: Place) -> tuple[bool, tuple[int, int, str]]:
    return claimant.current != place, claimant.rank


# --- names that are kept from other units ----------------------------------------------------------------------------

# Rights in a directory are given by container: who may make entries in one unit may not do so in another. So a name
# whose record is no more, or is extinct, does not pass to an entry of another unit until some time has passed. It is no
# matter of names that somebody gave up: a rename takes effect at once.
# Example: ann of ou=it is deleted. Another ann of ou=it has the name at once, ann of ou=sales waits. If ann of ou=it is
# renamed anna instead, ann of ou=sales has the name at once.


class Wait(NamedTuple):
    """How long a name is kept, and by what time that is judged."""

    times: Times
    days: int

    def since(self, known: int | None) -> int:
        """Return since when something is gone: ``known``, or None if it ends now."""
        return self.times.later if known is None else known


NamesToNote = dict[tuple[str, str, str], Optional[KeptName]]  # see Notes.kept_names


class KeptNames:
    """Whose the names are that nobody has now: by place, of users or of user groups.

    ``left``: what is kept from this run on, for whoever has the reference, and for the others of its unit.
    """

    def __init__(
        self, kind: str, state: _model.StoredState, wait: Wait, left: Iterable[tuple[Place, KeptName]] = ()
    ) -> None:
        self._kind, self._wait = kind, wait
        self._stored = {(home, name): who for (of_kind, home, name), who in state.kept_names.items() if of_kind == kind}
        self.names: dict[Place, KeptName] = {**self._stored, **dict(left)}

    def may_take(self, claimant: Claimant, place: Place) -> bool:
        return claimant.current == place or not self.until(place, claimant.reference, claimant.unit)

    def until(self, place: Place, reference: str, unit: str) -> int:
        """Return until when the name is kept from this one, in seconds since 1970; 0 if it is not."""
        who = self.names.get(place)
        if who is None or who.reference == reference or (unit != NO_UNIT and who.unit == unit):
            return 0
        until = who.since + self._wait.days * DAY
        return until if until > self._wait.times.earlier else 0

    def why(self, record: Record, reference: str, taken: Container[Place]) -> str:
        """Return why the record did not get the place that it wants, for the reader."""
        place = place_of(record)
        until = self.until(place, reference, record.unit)
        if place in taken:
            return "the name is taken"
        if not until:
            return "the name was taken, and it gets it when its own name changes in the directory"
        return "the name is kept until %s for an entry of another container that had it" % (
            datetime.datetime.fromtimestamp(until, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        )

    def to_note(self, records: Mapping[str, Record | None]) -> NamesToNote:
        """Return what the store is to note: whose names they are where there is no record to tell, and which are
        somebody's again (None). ``records`` are those that are there after the run; extinct ones tell it themselves.
        """
        noted: NamesToNote = {}
        if not self.names:
            return noted
        told = {place_of(record) for record in records.values() if record is not None}
        for place, who in self.names.items():
            if place in told:
                if place in self._stored:
                    noted[(self._kind, *place)] = None
            elif self._stored.get(place) != who:
                noted[(self._kind, *place)] = who
        return noted
