# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Steps -> result and diff. Pure, and the same for a dry run, a real run and a refusal.

A dry run tells of the steps of the plan, and a run of those that it did: they are the same if it did all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .._destination.contract import Kind, Record, State
from .._named_tuple import NamedTuple
from .._names import name_key
from .._printable import printable
from .._report.cut import Bounds, Cut, and_more, size_of
from .model import (
    CreateStep,
    DeleteStep,
    ForgetStep,
    LeftOut,
    Links,
    MembersStep,
    Plan,
    Ref,
    Step,
    TakeOverStep,
    Wanted,
)

OF_ACCOUNTS = ("created", "linked", "updated", "renamed", "disabled", "enabled", "deleted")
OF_GROUPS = ("created", "linked", "updated", "renamed", "members", "deleted")
_TOLD = 3  # names in a sentence
_REMOVALS_FIRST = ("deleted", "disabled", "renamed", "updated", "enabled", "linked", "created")

Entry = dict[str, Any]


class Looked(NamedTuple):
    """What a report needs beside the steps: what was looked up."""

    wanted: Wanted
    links: Links  # before the run


class Changed(NamedTuple):
    """What became of an account or a group by all steps about it."""

    ref: Ref
    verbs: tuple[str, ...]
    before: Record | None
    after: Record | None

    @property
    def name(self) -> str:
        """How it is called now, or was called last."""
        record = self.after or self.before
        return record.name if record else self.ref.key


class ChangedGroup(NamedTuple):
    """A group that changed, or whose members did."""

    ref: Ref
    change: Changed | None
    added: tuple[Ref, ...]
    removed: tuple[Ref, ...]
    foreign: tuple[str, ...]  # ids of members that we are not linked to, and that were removed

    @property
    def verbs(self) -> tuple[str, ...]:
        """What happened to it."""
        changes = self.change.verbs if self.change else ()
        return (*changes, "members") if self.added or self.removed or self.foreign else changes


def make_report(
    plan: Plan, steps: Sequence[Step], failed: Sequence[LeftOut], looked: Looked, bounds: Bounds, refused: list[Entry]
) -> Entry:
    """Return the part of the result that speaks of the plan, with ``diff`` if the bounds have room for it.

    ``steps``: those that are told of. Lists are cut at the bounds, counts never are.
    """
    changes = _changes(steps)
    accounts = [each for each in changes if each.ref.kind is Kind.ACCOUNT]
    groups = _changed_groups(changes, steps)
    names = _Names(plan, looked)
    cut = Cut(bounds)  # who asks first is told of first
    report: Entry = {"summary": _summary(accounts, groups, looked), "refused": cut.items("refused", refused)}
    listed = {verb: _accounts(verb, accounts, cut) for verb in _REMOVALS_FIRST}
    report["accounts"] = {verb: listed[verb] for verb in OF_ACCOUNTS}
    entries = [(each, _group(each, names, looked)) for each in sorted(groups, key=_removals_first)]
    report["changed_groups"] = cut.entries("changed_groups", entries, lambda pair: _with_members(*pair, names, cut))
    report["collisions"] = cut.items("collisions", [_left_out(each) for each in plan.collisions])
    report["drift"] = cut.items(
        "drift",
        [
            {
                "kind": each.ref.kind.value,
                "name": each.name,
                "what": each.what,
                "written": each.written,
                "there": each.there,
            }
            for each in plan.drift
        ],
    )
    report["not_provisioned"] = cut.items("not_provisioned", [_left_out(each) for each in (*plan.left_out, *failed)])
    report["foreign"] = cut.items(
        "foreign",
        [
            {"kind": each.kind.value, "id": each.id, "name": each.name, "member_of": each.member_of or None}
            for each in plan.foreign
        ],
    )
    touched = {each.ref for each in groups}
    unchanged = [ref for ref in _linked_after(looked, changes) if ref.kind is Kind.GROUP and ref not in touched]
    report["unchanged_groups"] = cut.items("unchanged_groups", sorted(map(names.of, unchanged), key=name_key))
    report["report_left_out"] = cut.left_out
    report["report_truncated"] = bool(cut.left_out)
    if bounds.with_diff:
        report["diff"] = _diff(changes, groups, names, bounds.entries, cut.bytes_for_diff)
    return report


def in_one_line(plan: Plan, summary: Entry, failed: int, left: int, why: str) -> str:
    """Return one line that says what changed, and how much could not be done. It has no names.

    ``failed``: changes that the destination did not make; ``left``: steps that were not tried, and why.
    """
    noted = {"collisions": len(plan.collisions), "drift": len(plan.drift), "not done": failed}
    parts = []
    for kind, verbs in (("accounts", OF_ACCOUNTS), ("groups", OF_GROUPS), ("memberships", ("added", "removed"))):
        told = ["%d %s" % (summary[kind][verb], verb) for verb in verbs if summary[kind][verb] and verb != "members"]
        if told:
            parts.append("%s: %s" % (kind, ", ".join(told)))
    if not parts:
        parts.append("nothing is done" if left or failed else "nothing to do")
    parts += ["%s: %d" % each for each in noted.items() if each[1]]
    if left:
        parts.append("left: %d, since %s" % (left, why))
    return "; ".join(parts)


def not_made(failed: Sequence[LeftOut], line: str) -> str:
    """Return one sentence that says what the destination did not do, and what to do. ``line``: what was done."""
    those = sorted(failed, key=_accounts_first)
    who = list(dict.fromkeys("%s '%s'" % (each.ref.kind.value, each.name) for each in those))
    named = ", ".join(who[:_TOLD]) + (" and %d more" % (len(who) - _TOLD) if len(who) > _TOLD else "")
    return (
        "url: the service did not change %s as asked (%s), see not_provisioned: give the token the right to it, or "
        "correct what is in the way, there or in the directory, and run it again; what was done: %s"
        % (named, those[0].why, line)
    )


def _accounts_first(each: LeftOut) -> bool:
    return each.ref.kind is not Kind.ACCOUNT


# --- what became of whom ---------------------------------------------------------------------------------------------


def _changes(steps: Sequence[Step]) -> list[Changed]:
    """Return what became of each by all steps about it: who gets out of the way of another has two."""
    of: dict[Ref, list[Step]] = {}
    for step in steps:
        if not isinstance(step, (MembersStep, ForgetStep)):
            of.setdefault(step.ref, []).append(step)
    return [_changed(ref, of[ref]) for ref in sorted(of)]


def _changed(ref: Ref, steps: Sequence[Step]) -> Changed:
    first, last = steps[0], steps[-1]
    before = None if isinstance(first, CreateStep) else first.before  # type: ignore[union-attr]
    if isinstance(last, DeleteStep):
        return Changed(ref, ("deleted",), before, None)
    after = last.record if isinstance(last, CreateStep) else last.after  # type: ignore[union-attr]
    if before is None:
        return Changed(ref, ("created",), None, after)
    verbs = ["linked"] if isinstance(first, TakeOverStep) else []
    if before.attributes != after.attributes or before.external_id != after.external_id:
        verbs.append("updated")
    if before.name != after.name:
        verbs.append("renamed")
    if before.state is not after.state:
        verbs.append("disabled" if after.state is State.DISABLED else "enabled")
    return Changed(ref, tuple(verbs), before, after)


def _changed_groups(changes: Sequence[Changed], steps: Sequence[Step]) -> list[ChangedGroup]:
    of = {each.ref: each for each in changes if each.ref.kind is Kind.GROUP}
    members: dict[Ref, list[MembersStep]] = {}
    for step in steps:
        if isinstance(step, MembersStep):
            members.setdefault(step.ref, []).append(step)
    return [
        ChangedGroup(
            ref,
            of.get(ref),
            tuple(each for step in members.get(ref, ()) for each in step.added),
            tuple(each for step in members.get(ref, ()) for each in step.removed),
            tuple(each for step in members.get(ref, ()) for each in step.foreign),
        )
        for ref in sorted({*of, *members})
    ]


def _linked_after(looked: Looked, changes: Sequence[Changed]) -> set[Ref]:
    """Return who is there and wanted after the run."""
    linked = {ref for ref, link in looked.links.items() if not link.gone and ref in looked.wanted.records}
    linked.update(each.ref for each in changes if each.after is not None and each.ref in looked.wanted.records)
    return linked


def _summary(accounts: Sequence[Changed], groups: Sequence[ChangedGroup], looked: Looked) -> Entry:
    added, removed = (
        sum(len(each.added) for each in groups),
        sum(len(each.removed) + len(each.foreign) for each in groups),
    )
    changes = [*accounts, *(each.change for each in groups if each.change)]
    linked = _linked_after(looked, changes)
    memberships = sum(len(link.members) for link in looked.links.values())
    total = sum(ref.kind is Kind.ACCOUNT for ref in linked)
    touched = {*(each.ref for each in accounts), *(each.ref for each in groups)} & linked
    touched_accounts = sum(ref.kind is Kind.ACCOUNT for ref in touched)
    return {
        "accounts": {
            **{verb: sum(verb in each.verbs for each in accounts) for verb in OF_ACCOUNTS},
            "unchanged": total - touched_accounts,
            "total": total,
        },
        "groups": {
            **{verb: sum(verb in each.verbs for each in groups) for verb in OF_GROUPS},
            "changed": len(groups),
            "unchanged": len(linked) - total - (len(touched) - touched_accounts),
            "total": len(linked) - total,
        },
        "memberships": {"added": added, "removed": removed, "total": max(memberships - removed + added, 0)},
    }


class _Names:
    """How somebody is called, for people."""

    def __init__(self, plan: Plan, looked: Looked) -> None:
        self._looked = looked
        self._foreign = {each.id: each.name for each in plan.foreign if each.name}

    def of(self, ref: Ref) -> str:
        """Return the name of somebody who is wanted or linked."""
        record = self._looked.wanted.records.get(ref)
        if record is None and ref in self._looked.links:
            record = self._looked.links[ref].written
        return ref.key if record is None else record.name

    def of_foreign(self, number: str) -> str:
        """Return the name of somebody who is neither; the id if it is not looked."""
        return self._foreign.get(number, number)


# --- lists -----------------------------------------------------------------------------------------------------------


def _accounts(verb: str, accounts: Sequence[Changed], cut: Cut) -> list[Any]:
    those = sorted((each for each in accounts if verb in each.verbs), key=lambda each: name_key(each.name))
    return cut.entries("accounts.%s" % verb, those, _renamed if verb == "renamed" else lambda each: each.name)


def _renamed(change: Changed) -> Any:
    return {"name": change.name, "previous_name": change.before.name if change.before else None}


def _left_out(each: LeftOut) -> Entry:
    return {"kind": each.ref.kind.value, "name": each.name, "reason": each.why}


def _group(group: ChangedGroup, names: _Names, looked: Looked) -> Entry:
    change = group.change
    is_renamed = change is not None and "renamed" in change.verbs
    return {
        "name": change.name if change else names.of(group.ref),
        "previous_name": change.before.name if change and change.before and is_renamed else None,
        "path": looked.wanted.paths.get(group.ref),
        "changes": list(group.verbs),
    }


def _with_members(group: ChangedGroup, entry: Entry, names: _Names, cut: Cut) -> Entry:
    left_out = {}
    for what, refs in (("removed", group.removed), ("added", group.added)):
        for kind, key in ((Kind.ACCOUNT, "members_"), (Kind.GROUP, "user_groups_")):
            those = sorted((names.of(ref) for ref in refs if ref.kind is kind), key=name_key)
            if kind is Kind.ACCOUNT and what == "removed":
                those += sorted(map(names.of_foreign, group.foreign))
            listed = cut.names(those, str)
            entry[key + what] = listed
            if len(listed) < len(those):
                left_out[key + what] = len(those) - len(listed)
                cut.note("changed_groups.%s%s" % (key, what), len(those) - len(listed))
    return {**entry, "left_out": left_out}


def _removals_first(group: ChangedGroup) -> tuple[bool, Ref]:
    return not (group.removed or group.foreign or "deleted" in group.verbs), group.ref


# --- diff ------------------------------------------------------------------------------------------------------------


def _diff(
    changes: Sequence[Changed], groups: Sequence[ChangedGroup], names: _Names, entries: int, size: int
) -> dict[str, str]:
    """Return before and after as text: only what changes. ``size``: of how many bytes it may be."""
    parts = [_part(each) for each in changes if each.ref.kind is Kind.ACCOUNT]
    parts += [_group_part(each, names) for each in groups]
    shown = []
    for part in parts[:entries]:
        size -= sum(map(size_of, part[0] + part[1]))
        if size < 0:
            break
        shown.append(part)
    missing = [and_more(len(parts) - len(shown))] if len(shown) < len(parts) else []
    return {
        "before": _text([*(line for part in shown for line in part[0]), *missing]),
        "after": _text([*(line for part in shown for line in part[1]), *missing]),
    }


def _part(change: Changed) -> tuple[list[str], list[str]]:
    old, new = (list(_lines(record, change.ref.kind)) if record else [] for record in (change.before, change.after))
    heading = "%s %%s" % change.ref.kind.value
    before = [heading % change.before.name, *(each for each in old if each not in new)] if change.before else []
    after = [heading % change.after.name, *(each for each in new if each not in old)] if change.after else []
    return before, after


def _lines(record: Record, kind: Kind) -> Iterator[str]:
    for attribute, text in sorted(record.attributes.items()):
        yield "    %s: %s" % (attribute, text)
    if record.external_id:
        yield "    externalId: %s" % record.external_id
    if kind is Kind.ACCOUNT and record.state is not State.UNTOLD:
        yield "    enabled: %s" % str(record.state is State.ENABLED).lower()


def _group_part(group: ChangedGroup, names: _Names) -> tuple[list[str], list[str]]:
    before, after = _part(group.change) if group.change else ([], [])
    if group.change is None:
        before, after = ["group %s" % names.of(group.ref)], ["group %s" % names.of(group.ref)]
    removed = [*map(names.of, group.removed), *map(names.of_foreign, group.foreign)]
    before += ["    member %s" % name for name in sorted(removed, key=name_key)]
    after += ["    member %s" % name for name in sorted(map(names.of, group.added), key=name_key)]
    return before, after


def _text(lines: Sequence[str]) -> str:
    return "".join(printable(line) + "\n" for line in lines)
