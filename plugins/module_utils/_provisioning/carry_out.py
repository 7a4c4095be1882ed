# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""A plan, step by step: what is about to change is kept before, and what came of each step after it.

A run may end anywhere. What it did is linked, and what it was creating is an intent. Of an account that was being
enabled or disabled, and of a member who was coming or leaving, the link says that nobody knows (`in_doubt.py`). Of all
this the next plan is made, whatever is wanted by then.

To keep something takes a disk longer than a change takes a service. So several are kept at once, before and after: of
creations those that the next run would see.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Set
from typing import Union

from .._destination import contract
from .._destination.contract import Conflict, Destination, Done, Gone, Later, Outcome, Rejected
from .._named_tuple import NamedTuple
from .in_doubt import as_seen, changes_access, link_before, may_be_deleted, while_sent
from .ledger import Ledger
from .model import (
    CreateStep,
    DeleteStep,
    ForgetStep,
    LeftOut,
    Link,
    MembersStep,
    Plan,
    Ref,
    Step,
    TakeOverStep,
    UpdateStep,
    does_something,
    ours_of,
)
from .names import name_before

_KEPT_AT_ONCE = 20  # steps
_UNKNOWN_AT_MOST = 3  # one after the other: then the destination is left alone
_REFUSED_AT_MOST = 5  # members of one change, one after the other: then it is not about single ones
_STAYING_AT_MOST = 50  # members of one group that are tried alone and not removed
_NAMED_AT_MOST = 3

NotDone = Union[Conflict, Gone, Rejected, contract.Unknown]


class CarriedOut(NamedTuple):
    """What came of a plan."""

    done: tuple[Step, ...]
    failed: tuple[LeftOut, ...]  # what the destination did not do, and why
    left: int  # steps that were not tried
    why: str  # they were not; empty if all were
    unanswered: tuple[LeftOut, ...] = ()  # creations whose answers were lost: the next run looks for them


class _Part(NamedTuple):
    """One change of members; one of the three has some."""

    removed: tuple[Ref, ...] = ()
    foreign: tuple[str, ...] = ()
    added: tuple[Ref, ...] = ()

    @property
    def size(self) -> int:
        """How many members it is about."""
        return sum(map(len, self))

    @property
    def ours(self) -> tuple[Ref, ...]:
        """Whom it is about, but for foreign ones."""
        return (*self.removed, *self.added)

    def halves(self) -> list[_Part]:
        """Return two changes that make the same, the later one first."""
        middle = self.size // 2
        return [self._between(middle, self.size), self._between(0, middle)]

    def _between(self, first: int, last: int) -> _Part:
        return _Part(self.removed[first:last], self.foreign[first:last], self.added[first:last])


class _Ends(Exception):
    """The run ends before its plan does. Its text says why."""

    def __init__(self, why: str, may_be_done: bool = False) -> None:
        super().__init__(why)
        self.may_be_done = may_be_done  # the change that was tried last


class _Troubled(_Ends):
    """Several changes in a row have no answer, or one is put off. Others may be made: access is ended first of all."""


def carry_out(plan: Plan, destination: Destination, ledger: Ledger) -> CarriedOut:
    """Do what the plan says. Raises DestinationError if the destination cannot be used any more."""
    work = _Work(destination, ledger)
    done = 0
    for steps in _together(plan.steps, destination.capabilities().largest_change):
        waiting = deque(steps)
        try:
            work.do_all(waiting)
        except _Ends as end:
            left = [*waiting, *plan.steps[done + len(steps) :]]
            if isinstance(end, _Troubled):
                left = work.end_access(left)
            return work.carried_out(left, str(end))
        done += len(steps)
    return work.carried_out((), "")


def _together(steps: Sequence[Step], at_once: int) -> Iterator[list[Step]]:
    """Yield the steps: those of one change each, that can be made twice or are found again, several at a time.

    No two of them are about the same one: who leaves a group is apart from who joins it.
    """

    def is_one_of_several(step: Step) -> bool:
        if isinstance(step, MembersStep):
            return 0 < len(step.added) + len(step.removed) <= at_once and not step.foreign
        if isinstance(step, DeleteStep):  # of a group that is not deleted, the members are removed
            return step.ref.kind is contract.Kind.ACCOUNT
        return step.is_found_again if isinstance(step, CreateStep) else changes_access(step)

    def alike(step: Step) -> tuple[object, ...]:
        return is_one_of_several(step), step.__class__, isinstance(step, MembersStep) and bool(step.added)

    for (several, *_kind), those in itertools.groupby(steps, alike):
        while part := list(itertools.islice(those, _KEPT_AT_ONCE if several else 1)):
            yield part


class _Work:
    """A plan that is being carried out."""

    def __init__(self, destination: Destination, ledger: Ledger) -> None:
        can = destination.capabilities()
        self._destination, self._kept, self._at_once = destination, ledger, can.largest_change
        self._lists, self._filters = can.lists, can.filters
        self._ledger: Ledger | _Later = _Later(ledger) if can.atomic else ledger
        self._links = ledger.links()
        self._tried_before = {ref for ref, each in ledger.intents().items() if each.state is not contract.State.UNTOLD}
        self._holders = {(ref.kind, link.id): ref for ref, link in self._links.items()}
        # Id of a group -> who is in it or not, as nobody knew before this run.
        groups = (link for ref, link in self._links.items() if ref.kind is contract.Kind.GROUP)
        self._in_doubt = {link.id: link.in_doubt for link in groups}
        self._done: list[Step] = []
        self._failed: list[LeftOut] = []
        self._unanswered: list[LeftOut] = []
        self._not_removed: dict[Ref, set[Ref]] = {}  # of a group: who is still in it, against the plan
        self._before: dict[Ref, Link] = {}  # of those that are in doubt while a change is sent
        self._gone: set[Ref] = set()  # whose links lead to nothing: this run found out, or is to create them again
        self._unknown, self._only_ends_access = 0, False

    def carried_out(self, left: Sequence[Step], why: str) -> CarriedOut:
        """Keep what was done, and return it."""
        self._destination.commit()
        if isinstance(self._ledger, _Later):
            self._ledger.keep()
        left_over = sum(map(does_something, left))
        return CarriedOut(tuple(self._done), tuple(self._failed), left_over, why, tuple(self._unanswered))

    def do_all(self, steps: deque[Step]) -> None:
        """Do these steps, and take out those that were done. Raises _Ends if nothing more can be done now."""
        # Before a write of an atomic destination, too: between its commit and ours a run may be killed.
        with self._kept.at_once() if any(map(changes_access, steps)) else contextlib.nullcontext():
            for step in filter(changes_access, steps):
                self._intend(step)
        later = _Later(self._kept) if len(steps) > 1 and self._ledger is self._kept else None
        try:
            with self._keeping(later):
                while steps:
                    self.do(steps[0])
                    steps.popleft()
        except (_Ends, contract.DestinationError) as end:
            # A change that ended it may have been made by an earlier try. What cannot be sent again creates nobody.
            was_sent = isinstance(end, _Ends) or not isinstance(steps[0], CreateStep)
            unsent = list(steps)[was_sent:]
            with self._kept.at_once() if unsent else contextlib.nullcontext():
                for step in unsent:
                    self._not_sent(step)
            raise

    def _intend(self, step: Step) -> None:
        """Keep that a change may be made from now on."""
        if isinstance(step, CreateStep):
            self._kept.intend(step.ref, step.record)
            return
        if isinstance(step, MembersStep):
            step = step._replace(added=tuple(filter(self._is_there, step.added)))
        before = None if step.ref in self._gone else link_before(step, self._links)
        if before is not None:
            self._before[step.ref] = before
            self._known(step.ref, while_sent(step, before, self._links))
            is_new = isinstance(self._ledger, _Later) and self._ledger.has(step.ref)  # what is not committed is no link
            (self._ledger if is_new else self._kept).link(step.ref, self._links[step.ref])

    def _is_there(self, ref: Ref) -> bool:
        return ref in self._links and ref not in self._gone

    def _not_sent(self, step: Step) -> None:
        """Keep that it was not tried."""
        if isinstance(step, CreateStep):
            self._kept.not_created(step.ref)
        else:
            self._not_done(step.ref)

    def _not_done(self, ref: Ref) -> None:
        """Keep that nothing came of a change of somebody who is linked."""
        if ref in self._before:
            self._link(ref, self._before.pop(ref))

    @contextlib.contextmanager
    def _keeping(self, later: _Later | None) -> Iterator[None]:
        """Keep what came of the steps inside at once, if ``later`` is given."""
        if later is None:
            yield
            return
        self._ledger = later
        try:
            yield
        except (_Ends, contract.DestinationError):
            later.keep()
            raise
        else:
            later.keep()
        finally:
            self._ledger = self._kept

    def do(self, step: Step) -> None:
        """Do one step, which is intended if it is a creation. Raises _Ends if nothing more can be done now."""
        if isinstance(step, CreateStep):
            self._create(step)
        elif isinstance(step, MembersStep):
            self._change_members(step)
        elif isinstance(step, DeleteStep):
            was_disabled = step.before.state is not contract.State.ENABLED  # perhaps
            if self._tried(step, contract.Delete(step.ref.kind, step.id, was_disabled), step.before.name):
                self._forget(step.ref)
            else:
                self._empty(step.ref)
        elif isinstance(step, ForgetStep):
            link = self._links.get(step.ref)
            if link and not may_be_deleted(step.ref, link):  # the history is to have that it did not end by us
                self._link(step.ref, link._replace(gone=True))
            self._forget(step.ref)
        else:
            self._update(step)

    def end_access(self, steps: Sequence[Step]) -> list[Step]:
        """Do only what disables or deletes accounts, and then what removes members; return what is left.

        Whoever left is not to keep an account because other changes have no answer. Example: bob left, and the service
        fails where his group is changed. His account is disabled all the same.

        A service that answers, though by an error, is asked of each of them. The first of ``steps`` is the one that
        was tried last: of it only that is tried which it has not failed with.
        """
        self._unknown, self._only_ends_access = 0, True
        tried = steps[0]
        left = [tried, *(step for step in steps[1:] if not _ends_access(step))]
        ending = sorted(filter(_ends_access, steps[1:]), key=lambda step: isinstance(step, MembersStep))
        tries = [(tried, self._only_disable), *((step, self._do_alone) for step in ending)]
        for at, (step, do) in enumerate(tries):
            try:
                do(step)
            except _Ends as end:
                left += [step] if at else []
                if not isinstance(end, _Troubled) or self._unknown >= _UNKNOWN_AT_MOST:
                    return [*left, *ending[at:]]
        return left

    def _empty(self, ref: Ref) -> None:
        """Take out all whom we put into a group that is not deleted."""
        link = self._links.get(ref)
        members = () if link is None else tuple(sorted((link.members | link.in_doubt) - {ref}))
        if members:
            self._do_alone(MembersStep(ref, (), members, (), frozenset()))

    def _do_alone(self, step: Step) -> None:
        self.do_all(deque([step]))

    # --- steps ---

    def _create(self, step: CreateStep) -> None:
        self._gone.add(step.ref)
        done = self._tried(step, contract.Create(step.ref.kind, step.record), step.record.name)
        if done and self._holders.get((step.ref.kind, done.id), step.ref) != step.ref:
            self._done.remove(step)
            why = "the destination answers with the id '%s', which is that of another one" % done.id
            self._failed.append(LeftOut(step.ref, step.record.name, why))
        elif done:
            self._gone.discard(step.ref)
            self._link(step.ref, Link(done.id, step.record, done.shown))

    def _update(self, step: UpdateStep | TakeOverStep) -> None:
        written, before = step.written, Link(step.id, step.written)
        if isinstance(step, UpdateStep):
            if step.ref not in self._links:
                return  # it could not be taken over
            before = self._links[step.ref]
        if step.before == step.after:
            self._link(step.ref, as_seen(step.ref, before)._replace(written=written, departed=step.departed))
            if isinstance(step, TakeOverStep):
                self._done.append(step)
            return
        known = self._known_in(before)
        done = self._tried(step, contract.Update(step.ref.kind, step.id, step.before, step.after, known), written.name)
        if done:
            changed = {
                name
                for name in {**step.before.attributes, **step.after.attributes}
                if step.before.attributes.get(name) != step.after.attributes.get(name)
            }
            kept = {name: text for name, text in before.shown.items() if name not in changed}
            shown = {**kept, **{name: text for name, text in done.shown.items() if name in written.attributes}}
            after = as_seen(step.ref, before)._replace(written=written, shown=shown, departed=step.departed)
            self._link(step.ref, after)
            self._before.pop(step.ref, None)
        else:
            self._only_disable(step)
            self._back(step)

    def _back(self, step: UpdateStep | TakeOverStep) -> None:
        """Give somebody who is out of the way of another one, and does not get his name, the one that he had."""
        link = self._links.get(step.ref)
        if link is None or step.ref in self._gone or step.after.name == link.written.name:
            return
        name = name_before(step.ref.key, link.written.name)
        if name == link.written.name:
            return
        here, written = step.before._replace(name=link.written.name), link.written._replace(name=name)
        part = UpdateStep(step.ref, step.id, here, here._replace(name=name), written, link.departed)
        if self._tried(part, contract.Update(step.ref.kind, step.id, here, part.after, self._known_in(link)), name):
            self._link(step.ref, self._links[step.ref]._replace(written=written))

    def _only_disable(self, step: Step) -> None:
        """Disable an account of which not all could be changed. Example: bob's new mail address is refused."""
        if not isinstance(step, (UpdateStep, TakeOverStep)) or not _ends_access(step):
            return
        disabled = step.before._replace(state=step.after.state)
        before = self._links.get(step.ref)
        if isinstance(step, TakeOverStep):
            before = Link(step.id, ours_of(step.before, step.written))
        if disabled == step.after or before is None or step.ref in self._gone:
            return
        written = before.written._replace(state=step.after.state)
        part = step._replace(after=disabled, written=written, departed=before.departed)
        self._intend(part)
        if self._tried(part, contract.Update(step.ref.kind, step.id, step.before, disabled), written.name):
            self._link(step.ref, before._replace(written=written))
            self._before.pop(step.ref, None)

    def _change_members(self, step: MembersStep) -> None:
        """Change members so many at a time. What was done of it is kept after each change, and told."""
        if not self._is_there(step.ref):
            return  # it could not be created, or is not there any more: that is told
        failed, done, open_ = len(self._failed), list[_Part](), set[Ref]()
        before = self._before.pop(step.ref, self._links[step.ref])
        try:
            for part in self._parts(step):
                self._change_part(step, part, done, open_)
        except (_Ends, contract.DestinationError):
            self._keep_in_doubt(step.ref, before.in_doubt | open_)
            raise
        finally:
            if done:
                removed, foreign, added = (tuple(itertools.chain(*each)) for each in zip(*done))
                self._done.append(step._replace(removed=removed, foreign=foreign, added=added))
        if len(self._failed) > failed:
            self._keep_in_doubt(step.ref, before.in_doubt | open_)
            return
        link, missing = self._links[step.ref], [each for each in step.added if not self._is_there(each)]
        staying = self._not_removed.get(step.ref, set())  # or nobody knows
        members = step.members.difference(missing) | staying
        in_doubt = step.in_doubt | link.in_doubt & {step.ref, *staying}
        if (link.members, link.in_doubt) != (members, in_doubt):
            self._link(step.ref, link._replace(members=members, in_doubt=in_doubt))

    def _keep_in_doubt(self, ref: Ref, these: Set[Ref]) -> None:
        """Keep that of all others what the link says is so."""
        link = self._links[ref]
        if link.in_doubt - these:
            self._link(ref, link._replace(in_doubt=link.in_doubt & these))

    def _parts(self, step: MembersStep) -> Iterator[_Part]:
        added = tuple(filter(self._is_there, step.added))
        for at in range(0, len(step.removed), self._at_once):
            yield _Part(removed=step.removed[at : at + self._at_once])
        for at in range(0, len(step.foreign), self._at_once):
            yield _Part(foreign=step.foreign[at : at + self._at_once])
        for at in range(0, len(added), self._at_once):
            yield _Part(added=added[at : at + self._at_once])

    def _change_part(self, step: MembersStep, part: _Part, done: list[_Part], open_: set[Ref]) -> None:
        """Make one change of members. If it is refused, make each half of it: one member may be in the way of all.

        ``done`` gets what was done, and ``open_`` whom it was about if there was no answer.
        """
        waiting, refused = [part], 0
        while waiting and step.ref not in self._gone:
            part = waiting.pop()
            link = self._links[step.ref]
            change = self._change_of(part, link)
            # Who is no longer linked has no id: the group only forgets that he was a member.
            try:
                outcome = self._asked(step, change) if change.added or change.removed else Done(link.id)
            except (_Ends, contract.DestinationError) as end:
                open_.update(part.ours if not isinstance(end, _Ends) or end.may_be_done else ())
                raise
            if isinstance(outcome, Done):
                refused = 0
                done.append(part)
                self._keep_members(step.ref, part)
            elif self._may_be_of_one(step, part, outcome, refused):
                open_.update(part.ours if isinstance(outcome, contract.Unknown) else ())
                waiting += part.halves()
            else:
                refused += 1
                open_.update(part.ours if isinstance(outcome, contract.Unknown) else ())
                self._not_removed.setdefault(step.ref, set()).update(part.removed)
                # That all of one group is answered by errors is one error: other groups may not be.
                self._note(step, link.written.name, outcome, self._about(part), refused == 1)

    def _keep_members(self, ref: Ref, part: _Part) -> None:
        """Keep that a change of members is made."""
        link = self._links[ref]
        members = link.members.difference(part.removed).union(part.added)
        self._link(ref, link._replace(members=members, in_doubt=link.in_doubt.difference(part.ours)))

    def _may_be_of_one(self, step: MembersStep, part: _Part, outcome: NotDone, refused: int) -> bool:
        """Tell whether a change of members is to be tried in halves. Whoever is to be removed is tried for longer."""
        is_answered = not isinstance(outcome, contract.Unknown) or not outcome.is_lost and not self._only_ends_access
        staying = len(self._not_removed.get(step.ref, ()))
        goes_on = refused < _REFUSED_AT_MOST or bool(part.removed) and staying < _STAYING_AT_MOST
        return part.size > 1 and not isinstance(outcome, Gone) and is_answered and goes_on

    def _change_of(self, part: _Part, link: Link) -> contract.ChangeMembers:
        going = [self._links[each].id for each in part.removed if each in self._links]
        coming = [self._links[each].id for each in part.added]
        return contract.ChangeMembers(link.id, tuple(coming), (*going, *part.foreign), self._known_in(link))

    def _known_in(self, link: Link) -> frozenset[str]:
        """Return the ids of those whom we put into a group."""
        sure = link.members - (link.in_doubt & self._in_doubt.get(link.id, frozenset()))
        there = (self._links[each] for each in sure or link.members if each in self._links)
        return frozenset(each.id for each in there if not each.gone)

    def _about(self, part: _Part) -> str:
        """Return what a refused change of members was to do, as a beginning of a sentence."""
        names = [self._links[each].written.name for each in (*part.removed, *part.added) if each in self._links]
        who = ", ".join("'%s'" % each for each in [*names, *part.foreign][:_NAMED_AT_MOST])
        if part.size > _NAMED_AT_MOST:
            who += " and %d more" % (part.size - _NAMED_AT_MOST)
        return "%s: not %s: " % (who, "added" if part.added else "removed")

    # --- one change ---

    def _tried(self, step: Step, change: contract.Change, name: str) -> Done | None:
        """Make a change. Return what came of it if it is made; else note why not. Raises _Ends."""
        outcome = self._asked(step, change)
        if isinstance(outcome, Done):
            self._done.append(step)
            return outcome
        self._note(step, name, outcome)
        return None

    def _asked(self, step: Step, change: contract.Change) -> Done | NotDone:
        """Make a change, and return what came of it. Raises _Ends if it is not the time for it."""
        outcome: Outcome = self._destination.apply(change)
        if isinstance(outcome, Gone) and isinstance(step, DeleteStep) and not self._may_have_another_id(step):
            outcome = Done(step.id)
        if isinstance(outcome, Later):
            if not outcome.may_be_done:
                self._refused(step, outcome.is_said)
            self._unknown += self._only_ends_access
            raise (_Troubled if outcome.is_said else _Ends)(outcome.why, outcome.may_be_done)
        if not isinstance(outcome, contract.Unknown):
            self._unknown = 0
        is_taken = isinstance(outcome, Conflict) and step.ref not in self._tried_before
        if is_taken and isinstance(step, CreateStep):  # so whoever has the name is not the one whom we tried to create
            self._kept.intend(step.ref, step.record._replace(state=contract.State.UNTOLD))
        if isinstance(outcome, (Conflict, Gone, Rejected)):
            self._refused(step)
        return outcome

    def _may_have_another_id(self, step: DeleteStep) -> bool:
        """Tell whether the next run is to look for somebody whose id leads to nothing, though nobody deleted him."""
        before = self._before.get(step.ref)
        is_looked_for = step.ref.kind in self._lists or self._filters
        return is_looked_for and before is not None and not may_be_deleted(step.ref, before)

    def _refused(self, step: Step, is_said: bool = True) -> None:
        """Keep that a change is not made. A creation may be, whatever is said: it is looked for, if it can be found."""
        if isinstance(step, CreateStep) and not (is_said and step.is_found_again):
            self._kept.not_created(step.ref)
        elif isinstance(step, (UpdateStep, TakeOverStep, DeleteStep)):
            self._not_done(step.ref)

    def _note(self, step: Step, name: str, outcome: NotDone, about: str = "", counts: bool = True) -> None:
        """Keep that a change was not made, and why. Raises _Troubled if nobody knows it of several."""
        is_lost = isinstance(step, CreateStep) and isinstance(outcome, contract.Unknown) and outcome.is_lost
        (self._unanswered if is_lost else self._failed).append(LeftOut(step.ref, name, about + _why(outcome)))
        if isinstance(outcome, contract.Unknown):
            self._unknown += outcome.is_lost or counts and not self._only_ends_access
            if self._unknown >= _UNKNOWN_AT_MOST:
                raise _Troubled(outcome.why)
        elif isinstance(outcome, Gone) and step.ref in self._links:
            self._gone.add(step.ref)
            self._link(step.ref, self._links[step.ref]._replace(gone=True))

    def _link(self, ref: Ref, link: Link) -> None:
        self._known(ref, link)
        self._ledger.link(ref, link)

    def _known(self, ref: Ref, link: Link) -> None:
        self._links[ref] = link
        self._holders[ref.kind, link.id] = ref

    def _forget(self, ref: Ref) -> None:
        link = self._links.pop(ref, None)
        if link is not None:
            self._holders.pop((ref.kind, link.id), None)
        self._ledger.forget(ref)


def _ends_access(step: Step) -> bool:
    """Tell whether somebody cannot use an account any more after this step, or is in a group no longer."""
    if isinstance(step, MembersStep):
        return bool(step.removed)
    if isinstance(step, DeleteStep):
        return step.ref.kind is contract.Kind.ACCOUNT
    if not isinstance(step, (UpdateStep, TakeOverStep)):
        return False
    return step.after.state is contract.State.DISABLED is not step.before.state


def _why(outcome: NotDone) -> str:
    if isinstance(outcome, Gone):
        return "it is not there any more"
    return outcome.why


class _Later:
    """What is to be kept at once: what came of several creations, and what an atomic destination has done by then."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._calls: list[Callable[[], None]] = []
        self._about: set[Ref] = set()

    def has(self, ref: Ref) -> bool:
        """Tell whether something of it is to be kept."""
        return ref in self._about

    def link(self, ref: Ref, link: Link) -> None:
        self._about.add(ref)
        self._calls.append(lambda: self._ledger.link(ref, link))

    def forget(self, ref: Ref) -> None:
        self._calls.append(lambda: self._ledger.forget(ref))

    def keep(self) -> None:
        with self._ledger.at_once() if self._calls else contextlib.nullcontext():
            for call in self._calls:
                call()
