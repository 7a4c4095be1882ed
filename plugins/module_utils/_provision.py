# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The way of the data from the store to a destination.

::

    store ──> wanted ─┐
    links ────────────┼──> plan ──> limits ──> carry out ──> what came of it
    destination ──────┘   (pure)    (pure)   (kept step by step)
"""

from __future__ import annotations

from typing import Any

from ._destination.contract import Destination, DestinationError
from ._limits import Refusal
from ._named_tuple import NamedTuple
from ._provisioning import digests, limits
from ._provisioning.carry_out import CarriedOut, carry_out
from ._provisioning.ledger import Ledger
from ._provisioning.model import Plan, Policies, Wanted
from ._provisioning.plan import make_plan, to_read

_SHOWS_NOBODY = (
    "url: the service shows nothing of all that is linked: check url and token, or end the provisioning by state: "
    "released if all of it was removed there"
)


class Task(NamedTuple):
    """What is asked of a provisioning."""

    name: str
    destination: str  # which it is, for the digests
    wanted: Wanted
    policies: Policies
    limits: Any  # settings as `limits.refusals` takes them
    may_be_elsewhere: bool = False  # a destination that shows nothing of ours may be another one


class Provisioned(NamedTuple):
    """What a run found, and what it did."""

    plan: Plan
    plan_digest: str
    removals_digest: str
    refused: list[Refusal]
    carried_out: CarriedOut | None  # None in check mode, and if the run is refused


def provision(task: Task, destination: Destination, ledger: Ledger, check_mode: bool = False) -> Provisioned:
    """Make a destination equal to what is wanted of it.

    Raises DestinationError if the destination cannot be used: what was done by then is kept.
    """
    links, intents = ledger.links(), ledger.intents()
    actual = destination.read(to_read(task.wanted, links, intents))
    plan = make_plan(task.wanted, links, intents, actual, task.policies, destination.capabilities())
    both = (
        digests.plan_digest(plan, task.name, task.destination),
        digests.removals_digest(plan, task.name, task.destination),
    )
    if task.may_be_elsewhere and limits.is_of_nobody(plan, links, task.wanted, task.policies):
        raise DestinationError(_SHOWS_NOBODY)
    refused = limits.refusals(plan, links, task.limits, both, ledger.allowed())
    if refused or check_mode:
        return Provisioned(plan, *both, refused, None)
    if plan.steps:
        ledger.allow(limits.still_allowed(ledger.allowed(), plan, links, both))
    done = carry_out(plan, destination, ledger)
    if not done.left and not done.failed and ledger.allowed():
        ledger.allow(frozenset())
    return Provisioned(plan, *both, refused, done)
