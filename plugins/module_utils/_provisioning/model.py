# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The words of a provisioning as plain data: what is wanted, what we are linked to, what is to be done.

Nothing here knows a store, a destination's protocol, or Ansible.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from enum import Enum
from typing import TypeVar, Union

from .._destination.contract import Kind, Record
from .._named_tuple import NamedTuple

T = TypeVar("T")


class Ref(NamedTuple):
    """A user or a user group of the store."""

    kind: Kind
    key: str  # its stable key


class Link(NamedTuple):
    """What a user or a user group is in the destination, and what we last wrote there."""

    id: str
    written: Record
    shown: Mapping[str, str] = {}  # attribute -> what the destination made of it, where that is not what was written
    members: frozenset[Ref] = frozenset()  # of a group: who we put into it
    departed: bool = False  # it is no longer wanted
    gone: bool = False  # the destination said that the id leads to nothing
    # Of a group: who is in it or not, as nobody knows. Of anybody: itself, if it may be deleted.
    in_doubt: frozenset[Ref] = frozenset()


def by_ref(of: Mapping[Ref, T]) -> list[tuple[Ref, T]]:
    """Return the items in the order of the references: records themselves have none."""
    return sorted(of.items(), key=operator.itemgetter(0))


Links = Mapping[Ref, Link]
# What was to be created, and may be there. Its state is UNTOLD if it was refused since the
# name is taken: only who has its key can be it.
Intents = Mapping[Ref, Record]


class LeftOut(NamedTuple):
    """Who is not provisioned, or not as wanted."""

    ref: Ref
    name: str
    why: str  # for the reader


class Wanted(NamedTuple):
    """The accounts, groups and members that the chosen user groups result in."""

    records: Mapping[Ref, Record]
    members: Mapping[Ref, frozenset[Ref]]  # of each group among the records
    left_out: tuple[LeftOut, ...] = ()
    paths: Mapping[Ref, str] = {}  # of each group among the records, in the store


# --- policies --------------------------------------------------------------------------------------------------------


class Collision(Enum):
    """What becomes of somebody who is there and whom we are not linked to."""

    REFUSE = "refuse"
    LINK_BY_EXTERNAL_ID = "link_by_external_id"
    LINK_BY_NAME = "link_by_name"  # or by the external id


class Departure(Enum):
    """What becomes of an account that is no longer wanted."""

    DISABLE = "disable"
    DELETE = "delete"
    KEEP = "keep"


class Policies(NamedTuple):
    """The options of these names."""

    collision: Collision = Collision.REFUSE
    departure: Departure = Departure.DISABLE
    removes_foreign_members: bool = False
    restores_drift: bool = True


# --- what is to be done ----------------------------------------------------------------------------------------------


class CreateStep(NamedTuple):
    """Make it, and link it."""

    ref: Ref
    record: Record
    is_found_again: bool = False  # if it is there, the next run will see it


class TakeOverStep(NamedTuple):
    """Link what is there, and change it into what is wanted. Attributes that it has and that are not wanted stay."""

    ref: Ref
    id: str
    before: Record
    after: Record
    written: Record  # what the link says afterwards
    departed: bool = False  # it was being created when a run ended, and is no longer wanted


def ours_of(there: Record, written: Record) -> Record:
    """Return what a link says of somebody who is there and is taken over, before all of ``written`` is written."""
    return there._replace(
        attributes={name: text for name, text in there.attributes.items() if name in written.attributes}
    )


class UpdateStep(NamedTuple):
    """Change what differs between `before` and `after`. If nothing does, only remember what is written."""

    ref: Ref
    id: str
    before: Record
    after: Record
    written: Record  # what the link says afterwards
    departed: bool = False


class DeleteStep(NamedTuple):
    """Remove it, and forget the link."""

    ref: Ref
    id: str
    before: Record


class ForgetStep(NamedTuple):
    """Forget the link, or that it was being created: there is nothing behind it."""

    ref: Ref
    before: Record


class MembersStep(NamedTuple):
    """Change who is in a group. It stands twice in a plan: removals come early, additions late."""

    ref: Ref
    added: tuple[Ref, ...]
    removed: tuple[Ref, ...]
    foreign: tuple[str, ...]  # ids that are removed although we are not linked to them
    members: frozenset[Ref]  # what the link says afterwards
    in_doubt: frozenset[Ref] = frozenset()  # so it does


Step = Union[CreateStep, TakeOverStep, UpdateStep, DeleteStep, ForgetStep, MembersStep]


class Drift(NamedTuple):
    """What somebody changed there."""

    ref: Ref
    name: str
    what: str  # 'name', 'state', 'members', ..., 'gone'
    written: str
    there: str


class Foreign(NamedTuple):
    """What we did not create and are not linked to."""

    kind: Kind
    id: str
    name: str
    member_of: str = ""  # the name of the group in which it is a foreign member


class Plan(NamedTuple):
    """What makes the destination equal to what is wanted, in the order in which it is done."""

    steps: tuple[Step, ...]
    collisions: tuple[LeftOut, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    drift: tuple[Drift, ...] = ()
    foreign: tuple[Foreign, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be done in the destination."""
        return not any(map(does_something, self.steps))


def does_something(step: Step) -> bool:
    """Tell whether a step changes something in the destination, or only what we remember of it."""
    if isinstance(step, UpdateStep):
        return step.before != step.after
    if isinstance(step, MembersStep):
        return bool(step.added or step.removed or step.foreign)
    return not isinstance(step, ForgetStep)
