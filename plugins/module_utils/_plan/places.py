# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Who sits where: places for all at once, and names that are kept from other units."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Container, Iterable
from typing import NamedTuple

from .. import _model
from .._model import name_key

Place = tuple[str, str]  # reference of the user group, name_key: where no two may sit

# Among those who want a place that none of them holds: the stored, then the newcomers, then the extinct, who give
# their name up.
STORED, NEWCOMER, EXTINCT = 0, 1, 2

_DAY = 86400  # seconds


class Claimant(NamedTuple):
    """Somebody who needs a place: takes the first of ``wanted`` that is not given to a better one."""

    reference: str
    wanted: list[tuple[str, str]]  # (reference of the user group, name), best first
    current: Place | None
    rank: tuple[int, int, str]  # STORED .. EXTINCT, created, key
    unit: str = ""  # see UserRecord


def place_of(record: _model.UserRecord | _model.UserGroupRecord) -> Place:
    home = record.home if isinstance(record, _model.UserRecord) else record.parent
    return home, name_key(record.name)


def assign_places(
    claimants: Iterable[Claimant],
    may_take: Callable[[Claimant, Place], bool],
) -> dict[str, tuple[str, str] | None]:
    """Give every claimant a place of its own, or None.

    Deferred acceptance (Gale and Shapley, 1962): everyone asks for its best place, a place keeps the best who asked so
    far, and who is sent away asks for its next. A place prefers who sits there, then the lower rank. The outcome does
    not depend on the order of the claimants, a swap of names comes out as a swap, and whoever can fall back on the
    place where it sits is never left without one.
    """
    holders: dict[Place, tuple[Claimant, int]] = {}
    given: dict[str, tuple[str, str] | None] = {}
    asking = [(claimant, 0) for claimant in claimants]
    while asking:
        claimant, choice = asking.pop()
        given[claimant.reference] = None
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


class _Kept:
    """Whose the names are that nobody has now: by place, of users or of user groups."""

    def __init__(self, kind: str, state: _model.StoredState, now: int, begins: int, days: int) -> None:
        self.kind, self.now, self.begins, self.wait = kind, now, begins, days * _DAY
        self.stored = {(home, name): who for (of_kind, home, name), who in state.kept_names.items() if of_kind == kind}
        self.names: dict[Place, _model.KeptName] = dict(self.stored)

    def keep(self, place: Place, reference: str, unit: str, since: int | None = None) -> None:
        """Keep the name for whoever has the reference, and for the others of its unit; from now on, or since then."""
        self.names[place] = _model.KeptName(reference, unit, self.begins if since is None else since)

    def may_take(self, claimant: Claimant, place: Place) -> bool:
        return claimant.current == place or not self.until(place, claimant.reference, claimant.unit)

    def until(self, place: Place, reference: str, unit: str) -> int:
        """Return until when the name is kept from this one, in seconds since 1970; 0 if it is not."""
        who = self.names.get(place)
        if who is None or who.reference == reference or (unit and who.unit == unit):
            return 0
        until = who.since + self.wait
        return until if until > self.now else 0

    def why(self, place: Place, reference: str, unit: str, is_taken: bool) -> str:
        """Return why the place was not given to this one, for the reader."""
        until = self.until(place, reference, unit)
        if is_taken:
            return "the name is taken"
        if not until:
            return "the name was taken, and it gets it when its own name changes in the directory"
        return "the name is kept until %s for an entry of another container that had it" % (
            datetime.datetime.fromtimestamp(until, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        )

    def to_note(self, given: Container[Place], held: Container[Place]) -> dict:
        """Return what the store is to note: whose names they are where there is no record to tell, and which are
        somebody's again.

        ``given`` are the places of records that are not extinct, ``held`` those of extinct ones, which tell it
        themselves.
        """
        noted: dict[tuple[str, str, str], _model.KeptName | None] = {}
        for place, who in self.names.items():
            if place in given or place in held:
                if place in self.stored:
                    noted[(self.kind, *place)] = None
            elif self.stored.get(place) != who:
                noted[(self.kind, *place)] = who
        return noted


def _unit_of(body, snapshot, stored) -> str:
    """Return the key of the container in which an entry lies."""
    return snapshot.units.get(body.unit_dn) or (stored.unit if stored is not None and not body.unit_dn else "")


def _extinct_claimant(reference, record):
    """An extinct record stays where it is, but holds no place: it gives its name up to a newcomer."""
    home = place_of(record)[0]
    names = _model.extinct_names(record.name, reference)
    return Claimant(reference, [(home, name) for name in names], None, (EXTINCT, 0, reference), record.unit)


def _sid_place(sid: str) -> Place:
    return "sid", name_key(sid)
