# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""How much a plan takes away, for the limits of the first half (`_limits.py`). Pure.

What was allowed when a plan was judged stays allowed for its rest: a run that ended early does not have to be allowed
again by the next one, which counts only what came later.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .. import _limits
from .._destination.contract import Kind
from .._limits import Count, Refusal
from .digests import is_token, removes, token, values_lost
from .in_doubt import may_be_deleted
from .model import (
    CreateStep,
    DeleteStep,
    ForgetStep,
    Links,
    MembersStep,
    Plan,
    Policies,
    Ref,
    Step,
    TakeOverStep,
    UpdateStep,
    Wanted,
)


def refusals(
    plan: Plan, links: Links, settings: Any, digests: tuple[str, str], allowed: Collection[str] = ()
) -> list[Refusal]:
    """Return why the run may not go on; empty where it may.

    ``settings`` has removal_limits, fail_on, approved_plan and approved_removals; ``digests`` are those of the plan and
    of its removals; ``allowed`` is what `allowed_by` gave for the plan of which this is the rest.
    """
    found = []
    if "collisions" in settings.fail_on and plan.collisions:
        number = len(plan.collisions)
        found.append(
            Refusal("collisions", number, number, "fail_on", None, "fail_on: there are %d collisions" % number)
        )
    exceeded = _limits.over(_counts(plan, links, allowed), settings.removal_limits)
    if plan.is_empty and not exceeded:
        return found
    if {settings.approved_plan, settings.approved_removals}.intersection(allowed):
        return found + exceeded  # what was approved is being carried out, and only what came later is counted
    wrong = _limits.not_approved(settings, digests)
    if wrong or settings.approved_plan:
        return found + wrong
    return found + [
        refusal for refusal in exceeded if not settings.approved_removals or refusal.limit in _limits.NO_REMOVALS
    ]


def allowed_by(plan: Plan, links: Links, digests: tuple[str, str]) -> frozenset[str]:
    """Return all that a plan takes away, each as a text, and its digests."""
    return frozenset(digests).union(*_taken(plan, links).values())


def still_allowed(allowed: Collection[str], plan: Plan, links: Links, digests: tuple[str, str]) -> frozenset[str]:
    """Return what is allowed once this plan is, which may be the rest of an earlier one.

    The digests of the earlier ones stay. What they took away and is not in this plan is done, or no longer to be done:
    if it is to be taken away again, that counts.
    """
    return allowed_by(plan, links, digests).union(text for text in allowed if not is_token(text))


def is_of_nobody(plan: Plan, links: Links, wanted: Wanted, policies: Policies) -> bool:
    """Tell whether accounts would be forgotten since nothing is there of all that is linked: so answers a wrong tenant.

    If it is created again, that counts for the limits.
    """
    gone = {each.ref for each in plan.drift if each.what == "gone"}
    deleted = {ref for ref, link in links.items() if may_be_deleted(ref, link)}  # by us, and so no sign of it
    forgets = any(isinstance(step, ForgetStep) and step.ref in links.keys() - deleted for step in plan.steps)
    return forgets and links.keys() <= gone | deleted and not (wanted.records and policies.restores_drift)


def _taken(plan: Plan, links: Links) -> dict[str, list[str]]:
    """Return {kind of limit: what is taken away, each as a text}."""
    found: dict[str, list[str]] = {kind: [] for kind in _limits.KINDS}
    for step in plan.steps:
        if isinstance(step, MembersStep):
            found["memberships"] += [text for _member, text in _members_that_end(step)]
            continue
        if isinstance(step, DeleteStep) and step.ref in links:
            found["memberships"] += [token(step.ref, "member", *each) for each in sorted(links[step.ref].members)]
        if removes(step) or _was_removed_there(step, links):
            kind = "users" if step.ref.kind is Kind.ACCOUNT else "user_groups"
            found[kind].append(token(step.ref, step.__class__.__name__))
        found["attributes"] += [token(step.ref, "value", name) for name in values_lost(step)]
        if isinstance(step, (UpdateStep, TakeOverStep)) and not step.departed and _was_linked(step, links):
            if step.before.name != step.after.name:
                found["renames"].append(token(step.ref, "name", step.written.name))
            if step.before.state is not step.after.state:
                found["states"].append(token(step.ref, "state", step.after.state.value))
    return found


def _was_linked(step: UpdateStep | TakeOverStep, links: Links) -> bool:
    """Tell whether it is about one of us, perhaps under another id than before, and not about who gets linked first."""
    return isinstance(step, UpdateStep) or step.ref in links


def _was_removed_there(step: Step, links: Links) -> bool:
    """Tell whether somebody else ended what is created again or, if it is an account that was in use, forgotten."""
    link = links.get(step.ref)
    if link is None or may_be_deleted(step.ref, link):
        return False
    if isinstance(step, CreateStep):
        return True
    return isinstance(step, ForgetStep) and step.ref.kind is Kind.ACCOUNT and not link.departed


def _members_that_end(step: MembersStep) -> Iterator[tuple[str, str]]:
    for member in step.removed:
        yield member.key, token(step.ref, "member", *member)
    for number in step.foreign:
        yield number, token(step.ref, "foreign", number)


def _counts(plan: Plan, links: Links, allowed: Collection[str]) -> Iterator[Count]:
    there = {ref: link for ref, link in links.items() if not link.departed}
    accounts = sum(ref.kind is Kind.ACCOUNT for ref in there)
    taken = {kind: set(texts).difference(allowed) for kind, texts in _taken(plan, links).items()}
    for kind, of, what in (
        ("users", accounts, "disable, delete, forget or create again %d of %d accounts"),
        ("user_groups", len(there) - accounts, "delete or create again %d of %d groups"),
        ("memberships", sum(len(link.members) for link in there.values()), "end %d of %d memberships"),
        ("attributes", sum(len(link.written.attributes) for link in there.values()), "empty %d of %d values"),
        ("renames", len(there), "rename %d of %d accounts and groups"),
        ("states", accounts, "enable or disable %d of %d accounts, as the store says"),
    ):
        number = len(taken[kind])
        yield Count(kind, number, max(of, number), what)  # so that 100 % lets all through
    yield from _large_groups(plan, links, allowed)


def _large_groups(plan: Plan, links: Mapping[Ref, Any], allowed: Collection[str]) -> Iterator[Count]:
    """Yield the memberships that end in each large group."""
    for step in plan.steps:
        if isinstance(step, MembersStep) and (step.removed or step.foreign):
            number = sum(text not in allowed for _member, text in _members_that_end(step))
            link = links.get(step.ref)
            size = max(len(link.members) if link else 0, number)
            if size >= _limits.ONE_GROUP_FROM:
                name = link.written.name if link else step.ref.key
                what = "end %%d of %%d memberships in '%s'" % name.replace("%", "%%")
                yield Count("memberships", number, size, what, name)
