# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What a store must do.

A store is a database with the tables that `transfer.py` names, whose columns are in `sqlite_schema.py`. What goes with
a record that ends is in `ends.py`. It is opened for a run, which has it for itself until it commits or ends, or it is
only looked at. What is asked of it, and how a plan is applied to it, is SQL that all stores share: functions of an open
store, each file one subject. So another store is one class that does what :class:`Store` says, the statements that make
its tables, and two functions for `opening.py`. ``open_store(address, wait)`` gives a store for a run, and makes one
that is missing. ``look(address)`` gives one to look at, or None if there is none, and leaves no trace.

**Statements** are written in what SQLite 3.34 and PostgreSQL understand alike, but for these words, which a store of
another database puts into its own:

- ``?`` is a parameter of a sequence, ``:name`` one of a mapping;
- ``x''`` is a BLOB without bytes, and ``char(31)`` the character of that number;
- ``instr(text, part)`` is where a part begins in a text, from 1 on; 0 if it does not occur;
- ``group_concat(number)`` joins numbers by commas.

They use ``||``, ``coalesce``, ``ON CONFLICT``, ``UNION ALL`` and ``WITH RECURSIVE``, which both have. A
store of a database that lacks one of these has to rewrite it, too.

A flag is 0 or 1, and compared with that. Texts are compared and sorted by their bytes. Tables are joined from left to
right where CROSS JOIN stands: first what is few. tests/unit/test_house.py finds what only SQLite would understand.

**What a query is about**, if that is too long for its text, is in a table that this store alone sees, and that begins
empty. They are filled by :meth:`Store.want` or by a statement::

    wanted_keys (reference, directory_id, key)        leaving (user_group_id, member_id)
    wanted_places (reference, home_id, name_key)      wanted_ids (id), wanted_groups (id)
    wanted_sids (sid)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Union

from .._errors import SynchronizationError

if TYPE_CHECKING:
    from .references import Tree

Row = tuple[Any, ...]
Parameters = Union[Sequence[Any], Mapping[str, Any]]


class StoreError(SynchronizationError):
    """The store cannot be opened, read or written."""


class NoStore(StoreError):
    """There is no store, and none was to be made."""


class StoreChanged(StoreError):
    """The store changed while it was looked at: what was read may not fit together."""


class WrittenMeanwhile(StoreChanged):
    """Another run wrote while this one looked up what it goes by: nothing was written, and it can begin again."""


class Checks(Protocol):
    """Looking through the store for damage. A database that does that itself has nothing to do here."""

    @property
    def whole(self) -> bool:
        """Whether a look through everything has begun, indexes included."""

    def begin(self, whole: bool) -> None:
        """Begin to look through the store, with ``whole`` through its indexes, too; unless that has begun."""

    def end(self) -> None:
        """Wait for the end of all that has begun. Raises StoreError if the store is damaged."""


class Store(Protocol):
    """An open store. Leave it by ``with``, or by ``close()``.

    Every method raises StoreError, with a sentence for the reader, if the store cannot be read or written.
    """

    trees: dict[int, Tree]  # what `references.tree_before` has looked up: a store begins without

    @property
    def checks(self) -> Checks:
        """Its checks."""

    # --- statements ---

    def rows(self, statement: str, parameters: Parameters = ()) -> list[Row]:
        """Return what a query finds."""

    def run(self, statement: str, parameters: Parameters = ()) -> int:
        """Run a statement that writes; return how many rows it found to write."""

    def add(self, statement: str, parameters: Parameters = ()) -> int:
        """Run an INSERT of one row whose id is given to it; return the id: more than any in the table."""

    def many(self, statement: str, rows: Iterable[Parameters]) -> None:
        """Run a statement once for each row of parameters."""

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """Insert many rows."""

    def want(self, table: str, rows: Iterable[Row]) -> None:
        """Fill one of the tables that say what the next queries are about, and nothing else."""

    def count(self, table: str) -> int:
        """Return how many rows ``claims``, ``memberships`` or ``nestings`` has."""

    # --- a run that writes ---

    def begin_writing(self) -> None:
        """Say that all that is to be looked up before the plan is known, and that it is applied now.

        Raises WrittenMeanwhile if another run wrote since the first look-up.
        """

    def filling(self, table: str) -> AbstractContextManager[None]:
        """Meanwhile, ``claims`` or ``memberships`` get more rows than they have, and nobody looks them up by user."""

    def backing_up(self, keep: int) -> AbstractContextManager[Callable[[], None]]:
        """Meanwhile, make a copy of the store as it was last committed, and keep ``keep`` copies; with 0 make none.

        Yield what waits for the copy and for the end of the checks: it comes before a commit, and both are inside.
        """

    def commit(self) -> None:
        """End the transaction, and keep what it wrote.

        Where other runs go on meanwhile, none has to begin again for what one leaves that changed nothing: its record,
        its mark, and what its next run goes by.
        """

    # --- what no synchronization looks at ---

    def aside(self) -> AbstractContextManager[None]:
        """Write meanwhile what no synchronization looks at, and keep it at the end: none has to begin again for it."""

    def close(self) -> None:
        """Leave the store, without what was not committed.

        Raises StoreChanged if it was looked at, by a run that did not write, too, and a run changed it meanwhile.
        """

    def __enter__(self) -> Store:
        """Return the store itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
