# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What a destination must do.

A destination is a service whose accounts and groups are kept equal to a store. It gives each of them an id, which stays
as long as it lives. What is asked of it is in these ids, and what it says is complete, or it is :class:`CannotBeRead`:
nobody concludes from what was not seen.

A destination is **atomic** if nothing of what was applied is there before :meth:`Destination.commit`. One that is not
has kept each change when `apply` returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Protocol, TypeVar, Union

from .._errors import SynchronizationError
from .._named_tuple import NamedTuple

T = TypeVar("T")


class DestinationError(SynchronizationError):
    """The destination cannot be used: this ends the run. One sentence that begins with the option's name."""


class LimitReached(DestinationError):
    """A limit that the run was given is reached. The destination was not asked any more."""


class Kind(str, Enum):
    """What a destination has."""

    ACCOUNT = "account"
    GROUP = "group"


class State(Enum):
    """Whether one can log in with an account. A group is always enabled."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    UNTOLD = "untold"  # the destination does not say


class Record(NamedTuple):
    """An account or a group, as it is wanted, as it was written, or as the destination has it."""

    name: str
    external_id: str = ""  # our stable key; empty where the destination does not say it
    state: State = State.ENABLED
    attributes: Mapping[str, str] = {}  # what the destination calls it -> text; one without a value is left out


class CannotBeRead(NamedTuple):
    """The destination says nothing about this that can be believed."""

    why: str  # for the reader


Read = Union[T, CannotBeRead]


class Sought(NamedTuple):
    """What nobody is linked to yet, and may be there."""

    kind: Kind
    external_id: str
    name: str


class Linked(NamedTuple):
    """What is to be read: ids that we are linked to, and what is to be found."""

    accounts: frozenset[str] = frozenset()
    groups: Mapping[str, frozenset[str]] = {}  # id -> ids of the members that we wrote, or may have
    sought: Sequence[Sought] = ()
    doubted: frozenset[tuple[Kind, str]] = frozenset()  # ids that may lead to nothing: is it so?


class Actual(NamedTuple):
    """What a destination has."""

    accounts: Read[Mapping[str, Record]]  # id -> account: all that there are
    groups: Read[Mapping[str, Record]]
    members: Mapping[str, Read[frozenset[str]]]  # id of a linked group -> ids of all its members
    gone: frozenset[tuple[Kind, str]]  # linked or doubted ids of which it was asked, and which are not there
    found: Mapping[Sought, Read[Mapping[str, Record]]]  # what was sought, where there is no list: by key or by name
    nested: Mapping[str, frozenset[str]] = {}  # id of a linked group -> those of its members that it says are groups
    there: frozenset[tuple[Kind, str]] = frozenset()  # doubted ids that lead to something, where there is no list


class Capabilities(NamedTuple):
    """What a destination can do; as it says itself, or as options say."""

    lists: frozenset[Kind]  # what it lists completely
    kinds: frozenset[Kind] = frozenset(Kind)  # what it has at all
    shows_members: bool = True
    filters: bool = True
    renames: bool = True
    disables: bool = True
    deletes: bool = True
    nests: bool = False
    atomic: bool = False
    largest_change: int = 100  # members that one change adds and removes


# --- what is asked of it ---------------------------------------------------------------------------------------------


class Create(NamedTuple):
    """Make an account or a group, without members."""

    kind: Kind
    record: Record


class Update(NamedTuple):
    """Change what differs between the two records, and nothing else."""

    kind: Kind
    id: str
    before: Record
    after: Record
    known: frozenset[str] = frozenset()  # of a group: ids that we put into it


class Delete(NamedTuple):
    """Remove an account or a group."""

    kind: Kind
    id: str
    was_disabled: bool = False  # or may have been: then that it is disabled afterwards tells nothing


class ChangeMembers(NamedTuple):
    """Change who is in a group, and leave all others in it. At most `largest_change` ids."""

    group: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    known: frozenset[str] = frozenset()  # ids that we put into it: one that does not show them may hide some


Change = Union[Create, Update, Delete, ChangeMembers]


# --- what comes of it ------------------------------------------------------------------------------------------------


class Done(NamedTuple):
    """The change is made."""

    id: str
    shown: Mapping[str, str] = {}  # attribute -> what the destination made of it, where that is not what was written


class Conflict(NamedTuple):
    """Another one has the name or the key: nothing changed."""

    why: str


class Gone(NamedTuple):
    """The id leads to nothing: nothing changed."""


class Later(NamedTuple):
    """Not now: nothing changed. After it only what ends access is to be tried in this run."""

    seconds: float  # how long the destination asks to wait; 0 if it does not say
    why: str
    is_said: bool = False  # the destination says so; else it is not asked any more, or cannot be reached
    may_be_done: bool = False  # an earlier try of the same change had no answer


class Rejected(NamedTuple):
    """The destination will not do this: nothing changed. What comes after it may succeed."""

    why: str


class Unknown(NamedTuple):
    """No answer came, or none that can be understood: it may be done or not."""

    why: str
    is_lost: bool = False  # no answer came at all


Outcome = Union[Done, Conflict, Gone, Later, Rejected, Unknown]


class Destination(Protocol):
    """An open destination. Every method raises DestinationError if there is no use in going on."""

    def capabilities(self) -> Capabilities:
        """Return what it can do."""

    def read(self, linked: Linked) -> Actual:
        """Return what it has. Nothing is changed."""

    def apply(self, change: Change) -> Outcome:
        """Make a change, and say what came of it. If it raises DestinationError, nothing was created."""

    def commit(self) -> None:
        """Keep what was applied."""
