# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What a run leaves out, although the directory says it: removals, and users who would be enabled. Pure.

What nothing proves (`_directory/absence.py`) is held until a later run proves it.
If a server says that it is older than what the last run read (`_directory/standing.py`), everything is held until one
is read that does not say so: it does not know yet who was revoked, and what it adds may be what was taken away since.
What another server shows than that of the last run, which may lag, is held until the next run sees it again, on this
server or on another one.

Or until somebody approves it: `approved_plan` takes the digest of the plan that does what is held as well, and
`approved_removals` that of its removals, which enables nobody. What is held is decided anew in each run: only what a
second run is to confirm is remembered from one to the next. So a second look at the same gap proves nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from . import _limits
from ._model import Doubt, LastRun, Removal, Standing, StoredState


class Holds(NamedTuple):
    """What a run holds, and what the next one must know of that."""

    reasons: dict[Removal, str]
    doubted: frozenset[Removal]  # what is held because of the server
    for_one_run: frozenset[Removal]  # what the next run believes if it sees it again
    plan_digest: str  # of the plan that does what is held as well; empty if nothing is held
    standing: Standing  # what the next run compares its server with
    believed: int | None = None  # see LastRun
    everything: str = ""  # why nothing of the plan is done; empty if some of it may be


NONE = Holds({}, frozenset(), frozenset(), "", Standing())


def decide(
    settings: Any,
    removals: Iterable[Removal],
    unproven: dict[Removal, str],
    doubt: Doubt | None,
    last: LastRun,
    state: StoredState,
    digests: tuple[str, str],
    by_all: Mapping[int, Doubt | None] | None = None,
    out: Mapping[str, Collection[int]] | None = None,
    is_empty: bool = False,
) -> Holds:
    """Return what is held of the removals. ``unproven``: those that nothing proves, and why. ``is_empty``: the plan
    does nothing.

    ``by_all`` says the same as ``doubt`` by what each synchronization last read, by their ids: where one of them saw a
    user disabled, gone or out of scope, nobody enables him who may have read what was before that. ``out`` are those of
    whom the history says so, by their stable keys.
    ``settings`` has approved_plan and approved_removals; ``digests`` are those of the plan without what is held, and of
    its removals.
    """
    if doubt is not None and not doubt.passes and not is_empty and settings.approved_plan != digests[0]:
        reasons = {**dict.fromkeys(removals, doubt.why), **unproven}
        return Holds(reasons, frozenset(reasons), frozenset(), digests[0], Standing(), everything=doubt.why)
    doubted, passing = {}, set()
    for removal in removals:
        stored = state.users.get(removal[1]) if removal[0] == "enabled" else None
        is_new = removal[0] == "enabled" and stored is None
        seen_out_by = set(stored.seen_out_by if stored is not None else ())
        seen_out_by.update((out or {}).get(removal[1], ()) if removal[0] == "enabled" else ())
        doubts = [None if is_new else doubt, *((by_all or {}).get(each) for each in sorted(seen_out_by))]
        there = [each for each in doubts if each is not None]
        if all(each.passes for each in there):
            passing.add(removal)
        if there and not (removal in passing and removal in last.held):
            doubted[removal] = next((each.why for each in there if not each.passes), there[0].why)
    reasons = {**doubted, **unproven}
    if settings.approved_plan == digests[0]:
        reasons = {removal: why for removal, why in reasons.items() if _is_taken_back(removal, state)}
    elif settings.approved_removals == digests[1]:
        reasons = {removal: why for removal, why in reasons.items() if removal[0] == "enabled"}
    by_server = frozenset(removal for removal in reasons if removal not in unproven)
    return Holds(
        reasons,
        by_server,
        by_server & passing,
        digests[0] if reasons else "",
        Standing(),
    )


def _is_taken_back(removal: Removal, state: StoredState) -> bool:
    """Return whether it is only taken back that a user of another synchronization is disabled: no digest covers that,
    so nobody can have approved it.
    """
    return removal[0] == "enabled" and removal[1] in state.users and not state.users[removal[1]].given


def warning(holds: Holds) -> list[str]:
    """Return the warning that something is held."""
    if holds.everything:
        return [
            "held: nothing is done, since %s: run again when it has them, or look at a dry run, and approve its "
            "held.plan_digest if what it says is meant" % holds.everything
        ]
    if not holds.reasons:
        return []
    counts: dict[str, int] = {}
    for why in holds.reasons.values():
        counts[why] = counts.get(why, 0) + 1
    most = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    told = "; ".join("%d, since %s" % (count, why) for why, count in most[:_TOLD])
    more = "; and for %d more reasons" % (len(most) - _TOLD) if len(most) > _TOLD else ""
    return [
        "held: %d changes are not made (%s%s): see held in the result, and approve its plan_digest if they are meant"
        % (len(holds.reasons), told, more)
    ]


_TOLD = 3  # reasons in the warning: the result has all


def refusals(
    settings: Any, holds: Holds, removals: Iterable[Removal], last: LastRun, option: str, plan_digest: str
) -> list[_limits.Refusal]:
    """Return a refusal of a first run in which nothing proves of anybody that he is enabled: there, nothing is stored
    that could stay as it is. ``option``: the one that says who reads.
    """
    enabled = [removal for removal in removals if removal[0] == "enabled"]
    if last.server or not enabled or settings.approved_plan == plan_digest:
        return []
    if not all(removal in holds.reasons and removal not in holds.doubted for removal in enabled):
        return []
    why = "%s: nothing proves of any of %d users that he is enabled (of the first, %s)" % (
        option,
        len(enabled),
        holds.reasons[min(enabled)],
    )
    return [_limits.Refusal("held", len(enabled), len(enabled), option, None, why)]
