# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The digest of a plan, and that of what it takes away. They have the form of those of a synchronization. Pure.

They cover the provisioning, the destination, and the changes with what was there before: no time, host or order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator

from .._destination.contract import Kind, Record, State
from .model import (
    CreateStep,
    DeleteStep,
    ForgetStep,
    MembersStep,
    Plan,
    Ref,
    Step,
    TakeOverStep,
    UpdateStep,
    does_something,
)

Said = list[object]


def plan_digest(plan: Plan, provisioning: str, destination: str) -> str:
    """Return the digest of all that a plan does, with counts before it."""
    steps = [step for step in plan.steps if does_something(step)]
    lists = [step for step in steps if isinstance(step, MembersStep)]
    return _digest(
        [provisioning, destination],
        map(_said, steps),
        [
            "users+%d-%d~%d" % _counts(Kind.ACCOUNT, steps),
            "user_groups+%d-%d~%d" % _counts(Kind.GROUP, steps),
            "memberships+%d-%d" % (sum(len(each.added) for each in lists), sum(map(_removed, lists))),
        ],
    )


def removals_digest(plan: Plan, provisioning: str, destination: str) -> str:
    """Return the digest of what a plan takes away: accounts, groups, memberships, and values of those who stay."""
    removing = [step for step in plan.steps if removes(step) or isinstance(step, ForgetStep)]
    lists = [step for step in plan.steps if isinstance(step, MembersStep) and _removed(step)]
    lost = [(step.ref, name) for step in plan.steps for name in values_lost(step)]
    said: list[Said] = [_said(step) for step in removing]
    said += [["members", *step.ref, step.removed, step.foreign] for step in lists]
    said += [["value", *ref, name] for ref, name in lost]
    return _digest(
        [provisioning, destination],
        said,
        [
            "users-%d" % sum(step.ref.kind is Kind.ACCOUNT for step in removing),
            "user_groups-%d" % sum(step.ref.kind is Kind.GROUP for step in removing),
            "memberships-%d" % sum(map(_removed, lists)),
            "attributes-%d" % len(lost),
        ],
    )


def removes(step: Step) -> bool:
    """Tell whether somebody loses an account, or all lose a group, by this step."""
    if isinstance(step, UpdateStep):
        return step.departed and step.before.state is not State.DISABLED and step.after.state is State.DISABLED
    if isinstance(step, TakeOverStep):
        return step.departed
    return isinstance(step, DeleteStep)


def values_lost(step: Step) -> list[str]:
    """Return the attributes of which somebody who stays has no value any more."""
    if not isinstance(step, (UpdateStep, TakeOverStep)) or step.departed:
        return []
    return sorted(name for name in step.before.attributes if not step.after.attributes.get(name))


def _removed(step: MembersStep) -> int:
    return len(step.removed) + len(step.foreign)


def _counts(kind: Kind, steps: Iterable[Step]) -> tuple[int, int, int]:
    """Return how many are created, removed and changed."""
    of_kind = [step for step in steps if step.ref.kind is kind and not isinstance(step, MembersStep)]
    created = sum(isinstance(step, CreateStep) for step in of_kind)
    removed = sum(map(removes, of_kind))
    return created, removed, len(of_kind) - created - removed


def _digest(head: Said, changes: Iterable[Said], counts: list[str]) -> str:
    digest = hashlib.sha256()
    lines = sorted(json.dumps(each, sort_keys=True) for each in changes)
    for line in (json.dumps(head), *lines):
        digest.update(line.encode("ascii") + b"\n")
    return "%s:%s" % (",".join(counts), digest.hexdigest())


def _said(step: Step) -> Said:
    """Return what a digest covers of a step, as JSON has it."""
    if isinstance(step, MembersStep):
        return ["members", *step.ref, sorted(step.added), sorted(step.removed), sorted(step.foreign)]
    taken_over = [step.id] if isinstance(step, TakeOverStep) else []
    return [step.__class__.__name__, *step.ref, *taken_over, *map(_record, _before_and_after(step))]


def _before_and_after(step: Step) -> Iterator[Record | None]:
    yield getattr(step, "before", None)
    yield step.record if isinstance(step, CreateStep) else getattr(step, "after", None)


def _record(record: Record | None) -> object:
    if record is None:
        return None
    return [record.name, record.external_id, record.state.value, dict(record.attributes)]


def token(ref: Ref, *more: str) -> str:
    """Return a removal as a text: by it the rest of a plan that was allowed is told from what came later."""
    return json.dumps([*ref, *more])


def is_token(text: str) -> bool:
    """Tell a removal from a digest."""
    return text.startswith("[")
