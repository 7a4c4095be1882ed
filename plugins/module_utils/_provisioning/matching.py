# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Who is there for somebody who is wanted and not linked: by the external id, then by the name without case. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from typing import Union

from .._destination.contract import Actual, CannotBeRead, Kind, Read, Record, Sought, State
from .._named_tuple import NamedTuple
from .._names import name_key
from .model import Collision, Intents, Links, Ref, Wanted


class Match(NamedTuple):
    """This one is there, and may be linked."""

    id: str
    there: Record
    by_name: bool  # and not by its key, or since we were creating it


class Nobody(NamedTuple):
    """Nobody is there, or the destination itself has to say so."""


class Taken(NamedTuple):
    """Somebody is there who may not be linked."""

    why: str
    may_be_ours: bool = False  # nothing that is there tells that somebody else made it
    ids: frozenset[str] = frozenset()  # of those who are there


class Undecided(NamedTuple):
    """It was being created when a run ended, and nobody can tell whether it is there."""

    why: str


Matched = Union[Match, Nobody, Taken, Undecided]
NOBODY = Nobody()


class Matching:
    """What is there and not linked."""

    def __init__(self, actual: Actual, wanted: Wanted, links: Links, intents: Intents, collision: Collision) -> None:
        self._actual, self._intents, self._collision = actual, intents, collision
        self._keys = {each.external_id for each in wanted.records.values() if each.external_id}
        self._linked = {(ref.kind, link.id) for ref, link in links.items()}
        self._keeps_keys = {kind for kind in Kind if self._shows_key(kind, links)}
        self._by_key: dict[tuple[Kind, str], set[str]] = {}
        self._by_name: dict[tuple[Kind, str], set[str]] = {}
        for kind in Kind:
            for number, record in self.unlinked(kind).items():
                self._by_name.setdefault((kind, name_key(record.name)), set()).add(number)
                if record.external_id:
                    self._by_key.setdefault((kind, record.external_id), set()).add(number)

    def records(self, kind: Kind) -> Read[Mapping[str, Record]]:
        """Return all that there are of a kind."""
        return self._actual.accounts if kind is Kind.ACCOUNT else self._actual.groups

    def unlinked(self, kind: Kind) -> dict[str, Record]:
        """Return who is seen and not linked."""
        records = self.records(kind)
        if isinstance(records, CannotBeRead):
            return {}
        return {number: each for number, each in records.items() if (kind, number) not in self._linked}

    def can_find(self, kind: Kind, record: Record) -> bool:
        """Tell whether it would be seen if it were there."""
        return not isinstance(self._found(kind, record), CannotBeRead)

    def same_key(self, kind: Kind, record: Record) -> Match | Nobody:
        """Return the one who is there with the external id of somebody whose own id leads to nothing."""
        found = self._found(kind, record)
        found = {} if isinstance(found, CannotBeRead) or not record.external_id else found
        those = [Match(number, each, False) for number, each in found.items() if each.external_id == record.external_id]
        return those[0] if len(those) == 1 else NOBODY

    def match(self, ref: Ref, record: Record, taken_over: Set[str] = frozenset()) -> Matched:
        """Return who is there, but for those who are taken over by others."""
        intent = self._intents.get(ref)
        there: dict[str, Record] = {}
        for each in (record,) if intent is None else (record, intent):
            found = self._found(ref.kind, each)
            if isinstance(found, CannotBeRead):
                # The destination itself refuses a name that is taken; of what may be ours, it would make a second one.
                return NOBODY if intent is None else Undecided(found.why)
            there.update((number, each) for number, each in found.items() if number not in taken_over)
        if intent is not None:
            ours = [Match(number, each, False) for number, each in there.items() if self._is_made_of(intent, each, ref)]
            if len(ours) == 1:
                return ours[0]
        if not there:
            return NOBODY
        judged = self._judged(record, there)
        if not isinstance(judged, Taken):
            return judged
        may_be_ours = intent is not None and not all(self.is_of_others(intent, each, ref) for each in there.values())
        return judged._replace(may_be_ours=may_be_ours, ids=frozenset(there))

    def is_of_others(self, intent: Record, there: Record, ref: Ref) -> bool:
        """Tell whether somebody who is there cannot be what we were creating.

        It has the key of another one; or none, though what we create has it, or our creation was refused as it was.
        """
        if there.external_id and intent.external_id:
            return there.external_id != intent.external_id
        return intent.state is State.UNTOLD or bool(intent.external_id) and ref.kind in self._keeps_keys

    def _is_made_of(self, intent: Record, there: Record, ref: Ref) -> bool:
        """Tell whether it is what we were creating. A destination that does not say the external id says all else."""
        if self.is_of_others(intent, there, ref):
            return False
        if there.external_id and intent.external_id:
            return True
        return name_key(there.name) == name_key(intent.name) and there.attributes == intent.attributes

    def _shows_key(self, kind: Kind, links: Links) -> bool:
        """Tell whether the destination keeps external ids: it shows one that was written."""
        records = self.records(kind)
        if isinstance(records, CannotBeRead):
            looked_up = {each: found for each, found in self._actual.found.items() if each.kind is kind}
            shown = {(each.external_id, one.external_id) for each in looked_up for one in _records(looked_up[each])}
        else:
            ours = ((records.get(link.id), link.written) for ref, link in links.items() if ref.kind is kind)
            shown = {(there.external_id, written.external_id) for there, written in ours if there is not None}
        return any(key and key == written for key, written in shown)

    def _found(self, kind: Kind, record: Record) -> Read[dict[str, Record]]:
        records = self.records(kind)
        if isinstance(records, CannotBeRead):
            unseen = CannotBeRead("nobody was looked up")
            found = self._actual.found.get(Sought(kind, record.external_id, record.name), unseen)
            if isinstance(found, CannotBeRead):
                return found
            return {number: each for number, each in found.items() if (kind, number) not in self._linked}
        numbers = self._by_name.get((kind, name_key(record.name)), set())
        if record.external_id:
            numbers = numbers | self._by_key.get((kind, record.external_id), set())
        return {number: records[number] for number in sorted(numbers)}

    def _judged(self, record: Record, there: Mapping[str, Record]) -> Matched:
        key = record.external_id
        by_key = {number for number, each in there.items() if key and each.external_id == key}
        numbers = by_key or there.keys()
        what = "external id" if by_key else "name"
        if len(numbers) > 1:
            return Taken("%d are there with its %s" % (len(numbers), what))
        (number,) = numbers
        if not by_key and there[number].external_id in self._keys:
            return Taken("'%s' has its name, and the external id of another one" % there[number].name)
        allowed = (Collision.LINK_BY_NAME, *([Collision.LINK_BY_EXTERNAL_ID] if by_key else []))
        if self._collision in allowed:
            return Match(number, there[number], not by_key)
        return Taken("'%s' has its %s, and is not linked" % (there[number].name, what))


def _records(found: Read[Mapping[str, Record]]) -> Collection[Record]:
    return () if isinstance(found, CannotBeRead) else found.values()
