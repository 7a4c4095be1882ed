# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Up to where a run has read a directory, so that the next one may read only what changed.

A `Mark` is taken before anything is read. It says what the position of the server was (`Point`), what the next read
must know beside (`Reached`), and under what it is worth anything (`Circumstances`). Where there is none, `Unmarked`
says why. Its JSON is made and understood here, and nowhere else: ``as_data`` and ``from_data``.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any, Union

from ._named_tuple import NamedTuple

# The ways of telling changes: `_directory/changes/` has a file for each.
SYNCREPL, USN, SWEEP = "syncrepl", "usn", "sweep"


# --- the position of a server ----------------------------------------------------------------------------------------


class Synchronized(NamedTuple):
    """OpenLDAP, which tells what changed since it had this contextCSN."""

    csn: tuple[str, ...]

    @property
    def way(self) -> str:
        return SYNCREPL


class Numbered(NamedTuple):
    """A domain controller, which numbers its changes."""

    usn: int  # highestCommittedUSN
    invocation: str  # its invocationId, hexadecimal: a restored controller has another one
    shows_deleted: bool  # whether the account sees who was deleted

    @property
    def way(self) -> str:
        return USN if self.shows_deleted else SWEEP


class Swept(NamedTuple):
    """Any other server: the versions of all entries are compared."""

    is_glued: bool = False  # OpenLDAP, with databases below that have a contextCSN of their own

    @property
    def way(self) -> str:
        return SWEEP


Point = Union[Synchronized, Numbered, Swept]


# --- what the next read must know ------------------------------------------------------------------------------------


class Selection(NamedTuple):
    """What was selected and excluded, as it lay then. DNs are in normal form, and in order."""

    containers: list[str]
    groups: list[str]
    keys: dict[str, str]  # DN as written in the options -> stable key
    excluded: list[str]
    excluded_keys: list[str]


class Listed(NamedTuple):
    value: str  # as listed
    is_reported: bool  # among the unresolved members


class DeadEnd(NamedTuple):
    """A listed value that led to no one in scope."""

    who: str  # stable key of who is there all the same; empty: nobody
    lists: dict[str, Listed]  # stable key of the group -> how it lists that


class Reached(NamedTuple):
    """What a read says for the next one. ``versions`` has a fixed number of bytes for each entry where the server is
    `Swept`, or does not show who was deleted: see `_directory/changes/sweep.py`.
    """

    point: Point
    lists: bytes  # cookie for what came to lists and left them; empty: the server does not tell
    selection: Selection
    again: list[str]  # stable keys that the next read must look at whatever changed
    dead_ends: dict[str, DeadEnd]  # by the form in which values are looked up
    outside: list[str]  # stable keys of who is in scope and lies outside the selected containers
    versions: bytes = b""


class Circumstances(NamedTuple):
    """Under what a mark is worth anything. The names are for the reader."""

    directory: str  # its identity
    server: str  # as it was addressed
    mapping: str  # fingerprints, hexadecimal
    scope: str
    account: str

    def differing(self, now: Circumstances) -> list[str]:
        """Return the names of what is otherwise now."""
        return [name for name, before, after in zip(self._fields, self, now) if before != after]


class Mark(NamedTuple):
    reached: Reached
    under: Circumstances
    read_fully: int  # when everything was last read, seconds since 1970
    time: int  # of the run

    def with_again(self, keys: Set[str]) -> Mark:
        """Return the mark of a run that has found more to look at again."""
        return self._replace(reached=self.reached._replace(again=sorted({*keys, *self.reached.again})))


class Unmarked(NamedTuple):
    """There is nothing that a read could go on from."""

    why: str  # completes "everything is read, since ..."


NONE_LEFT = Unmarked("the last run left no mark")


# --- JSON ------------------------------------------------------------------------------------------------------------


def as_data(mark: Mark | Unmarked) -> dict[str, Any]:
    """Return plain data for JSON, without the versions, which are no text."""
    if isinstance(mark, Unmarked):
        return {"none": mark.why}
    reached = mark.reached
    return {
        **_point_as_data(reached.point),
        "lists": reached.lists.hex(),
        "selection": reached.selection._asdict(),
        "again": reached.again,
        "open": reached.dead_ends,
        "outside": reached.outside,
        "circumstances": mark.under._asdict(),
        "read_fully": mark.read_fully,
        "time": mark.time,
    }


def _point_as_data(point: Point) -> dict[str, Any]:
    if isinstance(point, Synchronized):
        return {"way": SYNCREPL, "csn": point.csn}
    if isinstance(point, Numbered):
        return {"way": point.way, "usn": point.usn, "invocation": point.invocation}
    return {"way": SWEEP, "glued": True} if point.is_glued else {"way": SWEEP}


def from_data(data: Any, versions: bytes = b"") -> Mark | Unmarked:
    """Return the mark that `as_data` has made plain data of, in this version of the collection or an earlier one.

    Raises ValueError, KeyError, TypeError or AttributeError if it is no mark.
    """
    if "none" in data:
        return Unmarked(data["none"])
    reached = Reached(
        point=_point_from_data(data),
        lists=bytes.fromhex(data.get("lists", "")),
        selection=Selection(**{field: data["selection"].get(field) for field in Selection._fields}),
        again=data["again"],
        dead_ends={
            token: DeadEnd(who, {key: Listed(*listed) for key, listed in lists.items()})
            for token, (who, lists) in data["open"].items()
        },
        outside=data["outside"],
        versions=versions,
    )
    under = Circumstances(*(data["circumstances"].get(name, "") for name in Circumstances._fields))
    return Mark(reached, under, int(data["read_fully"]), int(data["time"]))


def _point_from_data(data: Any) -> Point:
    if data["way"] == SYNCREPL:
        return Synchronized(tuple(data["csn"]))
    if "usn" in data:
        return Numbered(data["usn"], data["invocation"], data["way"] == USN)
    return Swept(data.get("glued", False))


def is_mark(data: Any) -> bool:
    """Tell whether plain data is that of a mark."""
    try:
        from_data(data)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return True
