# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Wanted, links, and what is there -> what is to be done. Pure.

- What cannot be read is as it was written: nothing is created again, and nothing removed, because it was not seen.
- Who is wanted is who is linked; else who was being created when a run ended; else who is there by the same external id
  or name, if the policy allows to take over (`matching.py`); else it is created.
- What differs from what was written was changed by somebody else: drift. Example: the title was written as Nurse, is
  wanted as Nurse, and is Boss there. It is restored, or only reported (`fields.py`).
- What is foreign stays: accounts, groups, and members unless the policy removes them (`members.py`).

The order: accounts are disabled; members are removed; accounts are deleted, then renamed, changed and enabled, then
created; the same for groups; members are added. A name is free before it is given (`names.py`). Accounts are deleted
after members are removed, since some services keep a deleted account, and would keep it in its groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set

from .._destination.contract import Actual, CannotBeRead, Capabilities, Kind, Linked, Record, Sought, State
from .._names import name_key
from . import fields
from .in_doubt import may_be_deleted
from .matching import Match, Matching, Taken, Undecided
from .members import Compared, changes_of_members
from .model import (
    CreateStep,
    DeleteStep,
    Departure,
    Drift,
    Foreign,
    ForgetStep,
    Intents,
    LeftOut,
    Link,
    Links,
    Plan,
    Policies,
    Ref,
    Step,
    TakeOverStep,
    UpdateStep,
    Wanted,
    by_ref,
)
from .names import Renaming, in_order, settled


def to_read(wanted: Wanted, links: Links, intents: Intents) -> Linked:
    """Return what a destination is to be asked for."""
    there = {ref: link for ref, link in links.items() if not link.gone}
    doubted = {ref: link for ref, link in links.items() if link.gone or may_be_deleted(ref, link)}
    sought = {
        Sought(ref.kind, record.external_id, record.name): None
        for records in (wanted.records, intents, {ref: link.written for ref, link in doubted.items()})
        for ref, record in by_ref(records)
        if ref not in there or ref in doubted
    }
    return Linked(
        frozenset(link.id for ref, link in there.items() if ref.kind is Kind.ACCOUNT),
        {
            link.id: frozenset(there[each].id for each in (link.members | link.in_doubt) - {ref} if each in there)
            for ref, link in there.items()
            if ref.kind is Kind.GROUP
        },
        list(sought),
        frozenset((ref.kind, link.id) for ref, link in doubted.items()),
    )


def make_plan(
    wanted: Wanted, links: Links, intents: Intents, actual: Actual, policies: Policies, can: Capabilities
) -> Plan:
    """Return what is to be done."""
    return _Planning(wanted, links, intents, actual, policies, can).plan()


class _Planning:
    """One plan in the making."""

    def __init__(
        self, wanted: Wanted, links: Links, intents: Intents, actual: Actual, policies: Policies, can: Capabilities
    ) -> None:
        self.wanted, self.links, self.intents, self.actual = wanted, links, intents, actual
        self.policies, self.can = policies, can
        self.matching = Matching(actual, wanted, links, intents, policies.collision)
        self.collisions: list[LeftOut] = []
        self.collided: dict[Ref, frozenset[str]] = {}  # who is a collision -> ids of those who are there
        self.left_out: list[LeftOut] = list(wanted.left_out)
        self.drift: list[Drift] = []

    def plan(self) -> Plan:
        of_kind = {kind: self._steps(kind) if kind in self.can.kinds else self._none(kind) for kind in Kind}
        steps = [step for each in of_kind.values() for step in each]
        fresh = frozenset(
            step.ref
            for step in steps
            if isinstance(step, CreateStep) or isinstance(step, TakeOverStep) and step.ref in self.links
        )
        taken_over = {(step.ref.kind, step.id): step.ref for step in steps if isinstance(step, TakeOverStep)}
        ended = {step.ref for step in steps if isinstance(step, (DeleteStep, ForgetStep))}
        there = {ref for ref, link in self.links.items() if not self._is_gone(ref, link) and ref.kind in self.can.kinds}
        compared = Compared(
            self.wanted.members,
            self.links,
            self.actual.members,
            self.actual.nested,
            there.union(fresh, taken_over.values()) - ended,
            fresh,
            taken_over,
            {(kind, number): each.name for kind in Kind for number, each in self.matching.unlinked(kind).items()},
            self.wanted.records.keys(),
            self.collided,
        )
        members = changes_of_members(compared, self.policies)
        departing = [step for step in steps if _only_disables(step)]
        others = [step for step in steps if not _only_disables(step)]
        return Plan(
            (*departing, *members.removals, *others, *members.additions),
            tuple(self.collisions),
            tuple(self.left_out),
            (*self.drift, *members.drift),
            (*self._foreign(taken_over), *members.foreign),
        )

    def _foreign(self, taken_over: Mapping[tuple[Kind, str], Ref]) -> Iterator[Foreign]:
        for kind in Kind:
            for number, record in sorted(self.matching.unlinked(kind).items()):
                if (kind, number) not in taken_over:
                    yield Foreign(kind, number, record.name)

    # --- accounts, or groups ---

    def _none(self, kind: Kind) -> list[Step]:
        """Return no steps, and note of whom: the destination has nothing of this kind."""
        for ref, record in by_ref(self.wanted.records):
            if ref.kind is kind:
                self.left_out.append(LeftOut(ref, record.name, "the destination has no %ss" % kind.value))
        leaving = {**self.intents, **{ref: link.written for ref, link in self.links.items() if not link.departed}}
        for ref, record in by_ref(leaving):
            if ref.kind is kind and ref not in self.wanted.records:
                why = "it is no longer wanted, and stays as it is: the destination says that it has no %ss"
                self.left_out.append(LeftOut(ref, record.name, why % kind.value))
        return []

    def _steps(self, kind: Kind) -> list[Step]:
        ends: list[Step] = []
        updates: list[Renaming] = []
        for step in self._departing(kind):
            if isinstance(step, (UpdateStep, TakeOverStep)):
                updates.append(step)
            else:
                ends.append(step)
        creations: list[Step] = []
        ending = {step.id for step in (*ends, *updates) if isinstance(step, (DeleteStep, TakeOverStep))}
        matches = self._matches(kind, ending)
        for ref, record in self._named(kind, matches, updates, {step.ref for step in ends}).items():
            if ref in matches:
                there = matches[ref].there
                after = record._replace(attributes={**there.attributes, **record.attributes})
                updates.append(TakeOverStep(ref, matches[ref].id, there, after, record))
                continue
            link = self.links.get(ref)
            if link is None or self._is_gone(ref, link):
                creations.append(CreateStep(ref, record, self.matching.can_find(ref.kind, record)))
                continue
            update = self._update(ref, link, record)
            updates += [] if update is None else [update]
        return [*ends, *in_order(updates, self.links), *creations]

    def _matches(self, kind: Kind, ending: Set[str]) -> dict[Ref, Match]:
        """Return who is taken over, and none of those who end."""
        of_kind = [(ref, record) for ref, record in by_ref(self.wanted.records) if ref.kind is kind]
        found = self._still_enabled(of_kind, ending)
        unlinked = [(ref, record) for ref, record in of_kind if ref not in found and self._is_unlinked(ref)]
        ending = ending | {match.id for match in found.values()}
        for ref, record in unlinked:  # whoever has its key comes before who has its name
            match = self.matching.match(ref, record, ending)
            if isinstance(match, Match) and not match.by_name:
                found[ref] = match
        taken_over = ending | {match.id for match in found.values()}
        for ref, record in unlinked:
            match = found.get(ref) or self.matching.match(ref, record, taken_over)
            if isinstance(match, Match):
                found[ref] = match
                taken_over |= {match.id}
            elif isinstance(match, Taken):
                self.collisions.append(LeftOut(ref, record.name, match.why))
                self.collided[ref] = match.ids
            elif isinstance(match, Undecided):
                self.left_out.append(LeftOut(ref, record.name, _MAY_BE_THERE % match.why))
        return found

    def _still_enabled(self, those: Sequence[tuple[Ref, Record]], ending: Set[str]) -> dict[Ref, Match]:
        """Return the accounts of those who may not use them, and whose ids lead to nothing: by their keys.

        They are disabled whatever the policies say of collisions and drift, as those of people who left are.
        """
        found: dict[Ref, Match] = {}
        for ref, record in those:
            link = self.links.get(ref)
            if record.state is not State.DISABLED or link is None or not self._is_gone(ref, link):
                continue
            moved = self.matching.same_key(ref.kind, link.written)
            if isinstance(moved, Match) and moved.id not in ending and moved.there.state is not State.DISABLED:
                found[ref] = moved
        return found

    def _is_unlinked(self, ref: Ref) -> bool:
        """Tell whether it is to be linked with somebody who is there, or created."""
        link = self.links.get(ref)
        if link is None or not self._is_gone(ref, link):
            return link is None
        return self.policies.restores_drift or may_be_deleted(ref, link)

    def _named(
        self, kind: Kind, matches: Mapping[Ref, Match], departing: Sequence[Renaming], ended: set[Ref]
    ) -> dict[Ref, Record]:
        """Return those who are to be there as they are wanted, with the names that they can have."""
        left_out = {each.ref for each in (*self.collisions, *self.left_out)}
        wanted: dict[Ref, Record] = {}
        for ref, record in by_ref(self.wanted.records):
            if ref.kind is kind and ref not in left_out and (self._is_to_be_there(ref, record) or ref in matches):
                wanted[ref] = record
        linked = {ref: link for ref, link in self.links.items() if ref.kind is kind and ref not in ended}
        current = {
            **{ref: self._name(ref, link) for ref, link in linked.items() if not self._is_gone(ref, link)},
            **{ref: match.there.name for ref, match in matches.items()},
            **{step.ref: step.before.name for step in departing},
        }
        ours = {match.id for match in matches.values()}.union(step.id for step in departing)
        foreign = {
            name_key(record.name) for number, record in self.matching.unlinked(kind).items() if number not in ours
        }
        desired = {**current, **{ref: record.name for ref, record in wanted.items()}}
        names = settled(current, desired, foreign)
        self.collisions += [
            LeftOut(ref, wanted[ref].name, why) for ref, why in sorted(names.losers.items()) if ref in wanted
        ]
        return {ref: record._replace(name=names.names[ref]) for ref, record in wanted.items() if ref in names.names}

    def _is_to_be_there(self, ref: Ref, record: Record) -> bool:
        """Tell whether it is to be there; note it if it is gone."""
        link = self.links.get(ref)
        if link is None or not self._is_gone(ref, link) or may_be_deleted(ref, link):
            return True
        self.drift.append(Drift(ref, record.name, "gone", link.id, ""))
        return self.policies.restores_drift

    def _update(self, ref: Ref, link: Link, record: Record) -> UpdateStep | None:
        """Return what makes a linked one as it is wanted; None if it is."""
        there = self._there(ref, link)
        is_doubted = link.gone or may_be_deleted(ref, link)
        if record == link.written and there in (None, record) and not link.departed and not is_doubted:
            return None  # so it is with nearly all of them, and this is known sooner
        if may_be_deleted(ref, link) and ref.kind is Kind.ACCOUNT:  # some services disable whom they delete
            link = link._replace(written=link.written._replace(state=State.UNTOLD))
        found = fields.compared(record, link, there, self.policies.restores_drift)
        self.drift += [Drift(ref, link.written.name, *each) for each in found.drift]
        if found.before == found.after:
            is_seen = there is not None or (ref.kind, link.id) in self.actual.there
            is_known = link.written == record and not link.departed
            if is_doubted and not is_seen or is_known and not is_doubted:
                return None
        return UpdateStep(ref, link.id, found.before, found.after, record)

    # --- who is no longer wanted ---

    def _departing(self, kind: Kind) -> Iterator[DeleteStep | ForgetStep | Renaming]:
        for ref, link in by_ref(self.links):
            if ref.kind is not kind or ref in self.wanted.records:
                continue
            if self._is_gone(ref, link):
                if ref not in self.intents:  # else it was being created again
                    if not may_be_deleted(ref, link):
                        self.drift.append(Drift(ref, link.written.name, "gone", link.id, ""))
                    moved = self.matching.same_key(kind, link.written)
                    yield self._ended(ref, moved) if isinstance(moved, Match) else ForgetStep(ref, link.written)
            elif self.policies.departure is Departure.DELETE and self.can.deletes:
                yield DeleteStep(ref, link.id, link.written)
            else:
                after = self._departed(ref, link.written)
                # What ends altogether departs as it is to: nobody looks at its drift afterwards.
                restores = self.policies.restores_drift or not self.wanted.records or not link.departed
                found = fields.compared(after, link, self._there(ref, link), restores)
                state = found.before.state, found.after.state
                if after.state is State.UNTOLD:  # it stays as it is
                    state = found.before.state, found.before.state
                    after = after._replace(state=found.before.state)
                self.drift += [Drift(ref, link.written.name, *each) for each in found.drift if each[0] == "state"]
                before = link.written._replace(state=state[0])
                if state[0] is not state[1] or link.written != after or not link.departed:
                    yield UpdateStep(ref, link.id, before, before._replace(state=state[1]), after, departed=True)
        yield from self._half_created(kind)

    def _half_created(self, kind: Kind) -> Iterator[DeleteStep | ForgetStep | TakeOverStep]:
        """Yield what becomes of those who were being created when a run ended, and are no longer wanted."""
        for ref, intent in by_ref(self.intents):
            link = self.links.get(ref)
            if ref.kind is not kind or ref in self.wanted.records or link is not None and not self._is_gone(ref, link):
                continue
            match = self.matching.match(ref, intent)
            if isinstance(match, Undecided):
                self.left_out.append(LeftOut(ref, intent.name, _MAY_BE_THERE % match.why))
            elif isinstance(match, Taken) and match.may_be_ours:
                self.left_out.append(LeftOut(ref, intent.name, _MAY_BE_OURS % match.why))
            elif not isinstance(match, Match) or match.by_name and self.matching.is_of_others(intent, match.there, ref):
                yield ForgetStep(ref, intent)
            else:
                yield self._ended(ref, match)

    def _ended(self, ref: Ref, match: Match) -> DeleteStep | TakeOverStep:
        """Return what becomes of somebody who is there, ours and not linked, and no longer wanted."""
        if self.policies.departure is Departure.DELETE and self.can.deletes:
            return DeleteStep(ref, match.id, match.there)
        after = self._departed(ref, match.there)
        return TakeOverStep(ref, match.id, match.there, after, after, departed=True)

    def _departed(self, ref: Ref, record: Record) -> Record:
        """Return what becomes of somebody who is no longer wanted and stays."""
        if ref.kind is Kind.GROUP or self.policies.departure is Departure.KEEP:
            return record
        if not self.can.disables:
            self.left_out.append(LeftOut(ref, record.name, "the destination cannot disable it"))
            return record
        return record._replace(state=State.DISABLED)

    # --- who is there ---

    def _is_gone(self, ref: Ref, link: Link) -> bool:
        """Tell whether nothing is behind a link: as the destination says now, or said when it was to be changed."""
        place = ref.kind, link.id
        if place in self.actual.gone or place in self.actual.there:
            return place in self.actual.gone
        return link.gone and self._there(ref, link) is None

    def _there(self, ref: Ref, link: Link) -> Record | None:
        records = self.matching.records(ref.kind)
        return None if isinstance(records, CannotBeRead) else records.get(link.id)

    def _name(self, ref: Ref, link: Link) -> str:
        there = self._there(ref, link)
        return link.written.name if there is None else there.name


def _only_disables(step: Step) -> bool:
    """Tell whether it disables somebody, and gives nobody a name: it waits for nothing."""
    if not isinstance(step, UpdateStep) or step.ref.kind is not Kind.ACCOUNT:
        return False
    disables = step.after.state is State.DISABLED is not step.before.state
    return (step.departed or disables) and step.before.name == step.after.name


_MAY_BE_OURS = "it was being created when a run ended, is no longer wanted, and may be who is there: %s"
_MAY_BE_THERE = "it was being created when a run ended, and whether it is there cannot be read: %s"
