# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What happened since the last acknowledgement, for destinations that other modules change. Pure.

A loop over what was returned may have failed in the middle: the destination may have any part of it. So all that was
returned and is not acknowledged is returned again, as it is wanted now. Example: it was returned that ann joined, the
loop failed, and ann left. Nothing differs from what was acknowledged, and still it is returned that ann left, since the
loop may have put her in.

The links of the ledger are what was acknowledged; `Told` is what came after it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Optional

from .._destination.contract import Kind, Record, State
from .._named_tuple import NamedTuple
from .digests import plan_digest
from .model import CreateStep, DeleteStep, Link, Links, MembersStep, Plan, Ref, Step, UpdateStep, Wanted, by_ref

Maybe = Optional[Record]  # None where it is not there


class Told(NamedTuple):
    """What was returned since the last acknowledgement."""

    acknowledged: str = ""  # the digest of what was acknowledged last; empty if nothing was
    digest: str = ""  # of what was returned last; empty if all of it is acknowledged
    follows: str = ""  # the digest before it, which it covers: no two that are returned are alike
    records: Mapping[Ref, tuple[Maybe, ...]] = {}  # as the destination may have it, in the order of returning
    members: Mapping[Ref, Mapping[Ref, bool]] = {}  # user group -> who was said to be in it, or not


class Change(NamedTuple):
    """What happened to a user or a user group."""

    ref: Ref
    before: tuple[Maybe, ...]  # as the destination may have it; what was acknowledged comes first
    after: Maybe
    joined: frozenset[Ref] = frozenset()
    left: frozenset[Ref] = frozenset()
    members: frozenset[Ref] = frozenset()  # all that are in it now

    @property
    def is_of_record(self) -> bool:
        """Whether it is about more than members."""
        return self.before != (self.after,)

    @property
    def others(self) -> list[Record]:
        """The records that the destination may have in place of the one that is wanted."""
        return [each for each in self.before if each is not None and each != self.after]


def changes_since(wanted: Wanted, links: Links, told: Told) -> list[Change]:
    """Return what happened, and what may have to be undone of what was returned."""
    found = []
    for ref in sorted({*wanted.records, *links, *told.records, *told.members}):
        link = links.get(ref)
        before = _distinct((link.written if link else None, *told.records.get(ref, ())))
        known, unsure = link.members if link else frozenset(), told.members.get(ref, {}).keys()
        members = wanted.members.get(ref, frozenset())
        joined, left = members - (known - unsure), (known | unsure) - members
        change = Change(ref, before, wanted.records.get(ref), joined, left, members)
        if change.is_of_record or joined or left:
            found.append(change)
    return found


def _distinct(records: Iterable[Maybe]) -> tuple[Maybe, ...]:
    found: list[Maybe] = []
    for each in records:
        if each not in found:
            found.append(each)
    return tuple(found)


def plan_of(changes: Iterable[Change]) -> Plan:
    """Return the changes as a plan: limits, digests and summaries are those of a provisioning."""
    return Plan(tuple(step for change in changes for step in _steps(change)))


def _steps(change: Change) -> Iterable[Step]:
    if change.joined or change.left:
        yield MembersStep(change.ref, tuple(sorted(change.joined)), tuple(sorted(change.left)), (), change.members)
    if not change.is_of_record:
        return
    if change.after is None:
        yield DeleteStep(change.ref, "", change.others[-1])
    elif None in change.before:
        yield CreateStep(change.ref, change.after)
    else:
        yield UpdateStep(change.ref, "", change.others[0], change.after, change.after)


def may_be_there(links: Links, told: Told, plan: Plan) -> dict[Ref, Link]:
    """Return what the destination may have, for limits: of it the plan takes away. Who comes is not among it."""
    found = dict(links)
    for ref, records in told.records.items():
        for record in records:
            if record is not None:
                found.setdefault(ref, Link("", record))
    for ref, said in told.members.items():
        found[ref] = found[ref]._replace(members=found[ref].members | said.keys())
    for step in plan.steps:
        if isinstance(step, CreateStep):
            found.pop(step.ref, None)
    return found


# --- acknowledging ---------------------------------------------------------------------------------------------------


def digest_of(plan: Plan, name: str, told: Told) -> str:
    """Return the digest of what is returned: that of what was returned last, if it is the same again."""
    again = plan_digest(plan, name, told.follows)
    return again if again == told.digest else plan_digest(plan, name, told.digest or told.acknowledged)


def told_of(changes: Iterable[Change], digest: str, told: Told) -> Told:
    """Return what is told once these changes are returned."""
    if digest == told.digest:
        return told
    records, members = dict(told.records), {ref: dict(each) for ref, each in told.members.items()}
    for change in changes:
        if change.is_of_record:
            earlier = [each for each in records.get(change.ref, ()) if each != change.after]
            records[change.ref] = (*earlier, change.after)
        if change.joined or change.left:
            said = members.setdefault(change.ref, {})
            said.update({**dict.fromkeys(change.joined, True), **dict.fromkeys(change.left, False)})
    return Told(told.acknowledged, digest, told.digest or told.acknowledged, records, members)


def acknowledged(links: Links, told: Told) -> dict[Ref, Link | None]:
    """Return the links that become others once the destination has all that was told; None for one that ends."""
    found: dict[Ref, Link | None] = {}
    for ref in sorted({*told.records, *told.members}):
        link = links.get(ref)
        record = told.records[ref][-1] if ref in told.records else link.written if link else None
        if record is None:
            found[ref] = None
            continue
        said = told.members.get(ref, {})
        members = (link.members if link else frozenset()) - said.keys()
        found[ref] = Link("", record, members=members.union(each for each, is_in in said.items() if is_in))
    return found


# --- as text ---------------------------------------------------------------------------------------------------------


def told_to_text(told: Told) -> str:
    """Return it as JSON."""
    return json.dumps(
        {
            "acknowledged": told.acknowledged,
            "digest": told.digest,
            "follows": told.follows,
            "records": [[*ref, [_to_json(each) for each in told.records[ref]]] for ref in sorted(told.records)],
            "members": [
                [*ref, [[*each, is_in] for each, is_in in sorted(said.items())]] for ref, said in by_ref(told.members)
            ],
        },
        sort_keys=True,
    )


def told_in(text: str) -> Told:
    """Return what a text of `told_to_text` says. An empty one says that nothing was returned.

    Raises ValueError, LookupError, TypeError or AttributeError if it is no such text.
    """
    if not text:
        return Told()
    said = json.loads(text)
    return Told(
        said["acknowledged"],
        said["digest"],
        said["follows"],
        {Ref(Kind(kind), key): tuple(map(_from_json, each)) for kind, key, each in said["records"]},
        {
            Ref(Kind(kind), key): {Ref(Kind(one), member): is_in for one, member, is_in in each}
            for kind, key, each in said["members"]
        },
    )


def _to_json(record: Maybe) -> Any:
    if record is None:
        return None
    return [record.name, record.external_id, record.state.value, dict(record.attributes)]


def _from_json(said: Any) -> Maybe:
    return None if said is None else Record(said[0], said[1], State(said[2]), said[3])


# --- as lists for loops ----------------------------------------------------------------------------------------------


LISTS = ("joined", "left", "renamed", "enabled", "disabled", "updated")


def lists_of(changes: Iterable[Change], wanted: Wanted) -> dict[str, list[dict[str, Any]]]:
    """Return what happened by what it is: a list for each of `LISTS`, and ``changed_groups``."""
    found: dict[str, list[dict[str, Any]]] = {each: [] for each in (*LISTS, "changed_groups")}
    about = {change.ref: change for change in changes}
    for change in about.values():
        if change.ref.kind is Kind.GROUP:
            _tell_of_group(change, about, wanted, found)
        elif change.after is not None:
            _tell_of_user(change, change.after, found)
    found["renamed"] = _free_before_given(found["renamed"])
    return found


def _tell_of_user(change: Change, now: Record, found: Mapping[str, list[dict[str, Any]]]) -> None:
    entry = _entry(change.ref, now, change.others)
    if entry["previous_names"]:
        found["renamed"].append({**entry, "previous_name": entry["previous_names"][0]})
    if any(each.state is not now.state for each in change.others):
        found["disabled" if now.state is State.DISABLED else "enabled"].append(entry)
    differ = sorted(
        {
            name
            for each in change.others
            for name in {*each.attributes, *now.attributes}
            if each.attributes.get(name) != now.attributes.get(name)
        }
    )
    if differ:
        found["updated"].append({**entry, "changed_attributes": differ})


def _tell_of_group(
    change: Change, about: Mapping[Ref, Change], wanted: Wanted, found: Mapping[str, list[dict[str, Any]]]
) -> None:
    others = [each.name for each in change.others]
    path = change.after.name if change.after else others[-1]
    previous = [name for name in dict.fromkeys(others) if name != path]
    found["changed_groups"].append(
        {
            "key": change.ref.key,
            "path": path,
            "previous_paths": previous,
            "changes": [
                what
                for what, is_so in (
                    ("created", change.after is not None and None in change.before),
                    ("renamed", change.after is not None and bool(previous)),
                    ("deleted", change.after is None),
                    ("members", bool(change.joined or change.left)),
                )
                if is_so
            ],
        }
    )
    for what, refs in (("joined", change.joined), ("left", change.left)):
        for ref in sorted(refs):
            user = about.get(ref) or Change(ref, (wanted.records[ref],), wanted.records[ref])
            entry = {**_entry(ref, user.after or user.others[-1], user.others), "user_group": path}
            is_so = {"is_new": None in user.before} if what == "joined" else {"is_last": user.after is None}
            found[what].append({**entry, **is_so})


def _entry(ref: Ref, record: Record, others: Iterable[Record]) -> dict[str, Any]:
    return {
        "key": ref.key,
        "name": record.name,
        "previous_names": [name for name in dict.fromkeys(each.name for each in others) if name != record.name],
        "enabled": record.state is not State.DISABLED,
        "attributes": dict(record.attributes),
    }


def _free_before_given(renamed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return them so that a name is free before it is given. In a ring somebody has to begin."""
    found: list[dict[str, Any]] = []
    waiting = list(renamed)
    while waiting:
        taken = {name for each in waiting for name in each["previous_names"]}
        free = [each for each in waiting if each["name"] not in taken]
        if free:
            waiting = [each for each in waiting if each["name"] in taken]
        else:
            free = [waiting.pop(0)]
        found += free
    return found
