# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A destination of dictionaries: atomic or not, one that lists or not, and that says 404 and 409 as a service does."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

from ansible_collections.usersync.directory.plugins.module_utils._destination.contract import (
    Actual,
    CannotBeRead,
    Capabilities,
    Change,
    ChangeMembers,
    Conflict,
    Create,
    Delete,
    Done,
    Gone,
    Kind,
    Linked,
    Outcome,
    Read,
    Record,
    Sought,
    Update,
)
from ansible_collections.usersync.directory.plugins.module_utils._names import name_key

HIDDEN = CannotBeRead("it does not list")


class Content:
    """What is in it."""

    def __init__(self) -> None:
        self.records: dict[Kind, dict[str, Record]] = {Kind.ACCOUNT: {}, Kind.GROUP: {}}
        self.members: dict[str, set[str]] = {}
        self.given = 0  # ids are never given again

    def add(self, kind: Kind, record: Record) -> str:
        self.given += 1
        number = f"{kind.value}-{self.given}"
        self.records[kind][number] = record
        if kind is Kind.GROUP:
            self.members[number] = set()
        return number

    def remove(self, kind: Kind, number: str) -> None:
        del self.records[kind][number]
        self.members.pop(number, None)
        for members in self.members.values():
            members.discard(number)

    def named(self, kind: Kind, name: str) -> str | None:
        return next((id for id, each in self.records[kind].items() if name_key(each.name) == name_key(name)), None)


class DictionaryDestination:
    """What is applied to an atomic one is there after `commit`."""

    def __init__(
        self,
        content: Content,
        *,
        atomic: bool = False,
        lists: frozenset[Kind] = frozenset(Kind),
        filters: bool = True,
        largest_change: int = 100,
        before: Callable[[Change], None] = lambda change: None,
        after: Callable[[Change], None] = lambda change: None,
    ) -> None:
        self.kept = content
        self.content = copy.deepcopy(content) if atomic else content
        self._capabilities = Capabilities(
            lists, filters=filters, nests=True, atomic=atomic, largest_change=largest_change
        )
        self._before, self._after = before, after
        self.applied: list[Change] = []

    def capabilities(self) -> Capabilities:
        return self._capabilities

    def read(self, linked: Linked) -> Actual:
        content, lists = self.content, self._capabilities.lists
        there = content.records[Kind.ACCOUNT].keys() | content.records[Kind.GROUP].keys()
        # Of what it does not list, it is not asked whether it is still there.
        asked = {Kind.ACCOUNT: linked.accounts, Kind.GROUP: linked.groups.keys()}
        gone = frozenset((kind, each) for kind in lists for each in asked[kind] - there)
        gone |= {place for place in linked.doubted if place[0] not in lists and place[1] not in there}
        return Actual(
            self._listed(Kind.ACCOUNT),
            self._listed(Kind.GROUP),
            {
                number: frozenset(content.members[number]) if Kind.GROUP in lists else HIDDEN
                for number in linked.groups
                if number in content.members
            },
            gone,
            {sought: self._found(sought) for sought in linked.sought if sought.kind not in lists},
            there=frozenset(place for place in linked.doubted - gone if place[0] not in lists),
        )

    def _listed(self, kind: Kind) -> Read[Mapping[str, Record]]:
        return dict(self.content.records[kind]) if kind in self._capabilities.lists else HIDDEN

    def _found(self, sought: Sought) -> Read[Mapping[str, Record]]:
        if not self._capabilities.filters:
            return CannotBeRead("it does not filter")
        return {
            number: record
            for number, record in self.content.records[sought.kind].items()
            if record.external_id == sought.external_id or name_key(record.name) == name_key(sought.name)
        }

    def apply(self, change: Change) -> Outcome:
        self._before(change)
        outcome = self._apply(change)
        self.applied.append(change)
        self._after(change)
        return outcome

    def _apply(self, change: Change) -> Outcome:
        content = self.content
        if isinstance(change, Create):
            if content.named(change.kind, change.record.name):
                return Conflict("the name is taken")
            return Done(content.add(change.kind, change.record))
        if isinstance(change, ChangeMembers):
            if change.group not in content.members:
                return Gone()
            content.members[change.group].difference_update(change.removed)
            content.members[change.group].update(change.added)
            return Done(change.group)
        if change.id not in content.records[change.kind]:
            return Gone()
        if isinstance(change, Delete):
            content.remove(change.kind, change.id)
            return Done(change.id)
        assert isinstance(change, Update)
        holder = content.named(change.kind, change.after.name)
        if holder not in (None, change.id):
            return Conflict("the name is taken")
        content.records[change.kind][change.id] = _merged(
            content.records[change.kind][change.id], change.before, change.after
        )
        return Done(change.id)

    def commit(self) -> None:
        self.kept.__dict__.update(copy.deepcopy(self.content.__dict__))


def _merged(there: Record, before: Record, after: Record) -> Record:
    """What differs between the two is changed, and nothing else."""
    attributes = {**there.attributes}
    for name in before.attributes.keys() | after.attributes.keys():
        if before.attributes.get(name) != after.attributes.get(name):
            attributes.pop(name, None)
            if after.attributes.get(name):
                attributes[name] = after.attributes[name]
    return Record(
        after.name if after.name != before.name else there.name,
        after.external_id if after.external_id != before.external_id else there.external_id,
        after.state if after.state is not before.state else there.state,
        attributes,
    )
