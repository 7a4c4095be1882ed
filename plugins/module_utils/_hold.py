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
from typing import Any

from . import _limits
from ._model import Conclusion, Doubt, LastRun, Standing, StoredState
from ._named_tuple import NamedTuple


class Unheld(NamedTuple):
    """What a plan would take away or enable, before anything of it is held."""

    conclusions: Collection[Conclusion]
    unproven: Mapping[Conclusion, str]  # those of the conclusions that nothing proves, and why
    plan_digest: str
    removals_digest: str
    is_empty: bool  # the plan does nothing


class Doubts(NamedTuple):
    """Why the server may be behind what was read before. A synchronization is named by its id."""

    by_this: Doubt | None  # what the last run of this synchronization read; None: it is not behind that
    by_each: Mapping[int, Doubt | None]  # what that of each synchronization of the directory read
    seen_out_by: Mapping[str, Collection[int]]  # who saw these users, by their stable keys, leave, as the history says

    @property
    def are_any(self) -> bool:
        return self.by_this is not None or any(doubt is not None for doubt in self.by_each.values())


class Holds(NamedTuple):
    """What a run holds, and what the next one must know of that."""

    reasons: dict[Conclusion, str]
    doubted: frozenset[Conclusion]  # what is held because of the server
    for_one_run: frozenset[Conclusion]  # what the next run believes if it sees it again
    plan_digest: str  # of the plan that does what is held as well; empty if nothing is held
    standing: Standing  # what the next run compares its server with
    believed: int | None = None  # see LastRun
    everything: str = ""  # why nothing of the plan is done; empty if some of it may be


NONE = Holds({}, frozenset(), frozenset(), "", Standing())


def decide(settings: Any, unheld: Unheld, doubts: Doubts, last: LastRun, state: StoredState) -> Holds:
    """Return what is held of the plan. ``settings`` has approved_plan and approved_removals."""
    plan_is_approved = settings.approved_plan == unheld.plan_digest
    doubt = doubts.by_this
    if doubt is not None and not doubt.passes and not unheld.is_empty and not plan_is_approved:
        return _everything(unheld, doubt.why)
    about = (
        {conclusion: _doubts_about(conclusion, doubts, state) for conclusion in unheld.conclusions}
        if doubts.are_any
        else {}
    )
    passing = {conclusion for conclusion, found in about.items() if all(each.passes for each in found)}
    by_server = {
        conclusion: min(found, key=_passes).why
        for conclusion, found in about.items()
        if found and not (conclusion in passing and conclusion in last.held)
    }
    reasons = {**by_server, **unheld.unproven}
    if plan_is_approved:
        reasons = {conclusion: why for conclusion, why in reasons.items() if _is_taken_back(conclusion, state)}
    elif settings.approved_removals == unheld.removals_digest:
        reasons = {conclusion: why for conclusion, why in reasons.items() if conclusion[0] == "enabled"}
    doubted = frozenset(reasons.keys() - unheld.unproven.keys())
    return Holds(reasons, doubted, doubted & passing, unheld.plan_digest if reasons else "", Standing())


def _everything(unheld: Unheld, why: str) -> Holds:
    reasons = {**dict.fromkeys(unheld.conclusions, why), **unheld.unproven}
    return Holds(reasons, frozenset(reasons), frozenset(), unheld.plan_digest, Standing(), everything=why)


def _doubts_about(conclusion: Conclusion, doubts: Doubts, state: StoredState) -> list[Doubt]:
    """Return why the server may not know better.

    What the last run of this synchronization read counts, but not for a newcomer, of whom it has read nothing. Somebody
    who would be enabled is not if another synchronization saw that he is disabled, gone or out of scope, and the server
    may be behind what that one read.
    """
    if conclusion[0] != "enabled":
        return [] if doubts.by_this is None else [doubts.by_this]
    key = conclusion[1]
    stored = state.users.get(key)
    seen_out_by = {*(stored.seen_out_by if stored is not None else ()), *doubts.seen_out_by.get(key, ())}
    by_this = None if stored is None else doubts.by_this
    found = [by_this, *(doubts.by_each.get(each) for each in sorted(seen_out_by))]
    return [each for each in found if each is not None]


def _passes(doubt: Doubt) -> bool:
    return doubt.passes


def _is_taken_back(conclusion: Conclusion, state: StoredState) -> bool:
    """Return whether it is only taken back that a user of another synchronization is disabled: no digest covers that,
    so nobody can have approved it.
    """
    return (
        conclusion[0] == "enabled" and conclusion[1] in state.users and not state.users[conclusion[1]].is_written_here
    )


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
    settings: Any, holds: Holds, conclusions: Iterable[Conclusion], last: LastRun, option: str, plan_digest: str
) -> list[_limits.Refusal]:
    """Return a refusal of a first run in which nothing proves of anybody that he is enabled: there, nothing is stored
    that could stay as it is. ``option``: the one that says who reads.
    """
    enabled = [conclusion for conclusion in conclusions if conclusion[0] == "enabled"]
    if last.server or not enabled or settings.approved_plan == plan_digest:
        return []
    if not all(conclusion in holds.reasons and conclusion not in holds.doubted for conclusion in enabled):
        return []
    why = "%s: nothing proves of any of %d users that he is enabled (of the first, %s)" % (
        option,
        len(enabled),
        holds.reasons[min(enabled)],
    )
    return [_limits.Refusal("held", len(enabled), len(enabled), option, None, why)]
