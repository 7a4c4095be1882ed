# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The embedded store: one SQLite file.

:func:`open_store` is for a run that will write, :func:`look` for whoever only looks and must leave no trace.

Its tables are in `schema`, the file under it is the matter of `sqlite_file`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

from .._errors import SynchronizationError
from .._named_tuple import NamedTuple
from . import sqlite_file, sqlite_schema
from .contract import Parameters, Row, StoreError
from .references import Tree
from .sqlite_checks import Checks
from .sqlite_file import check_writable
from .statements import UNKNOWN

__all__ = ["SqliteStore", "StoreError", "check_writable", "is_missing", "look", "open_store"]

_CACHE = 65536  # KiB; a first run of a million users takes no longer with it than with four times as much

_ROWS_AT_ONCE = 50  # in one INSERT; with seventeen columns still below the 999 values that older SQLites take


_NOT_HELD = -1  # in place of a descriptor: the store is only looked at


class _File(NamedTuple):
    """The file under an open store."""

    path: str
    leave: Callable[[bool], None]  # to be called when the connection is closed: was anything committed?
    descriptor: int  # while a run holds it; else _NOT_HELD

    @property
    def is_held(self) -> bool:
        return self.descriptor != _NOT_HELD


# --- opening ---------------------------------------------------------------------------------------------------------


def open_store(path: str, wait: int = 60) -> SqliteStore:
    """Open the store at ``path`` for a run, and hold it until ``commit()`` or ``close()``.

    A missing file is made with mode 0600, a missing directory with 0700; if nothing is committed, both are gone again
    after ``close()``. Another run is waited for, for ``wait`` seconds (`store_timeout`).

    Raises StoreError, with a sentence for the reader; the file is then as it was.
    """
    path = sqlite_file.without_links(path)
    deadline = time.monotonic() + wait
    held = sqlite_file.lock(path, deadline)
    leave, connection = functools.partial(sqlite_file.unlock, held, path), None
    try:
        connection = _begin(path, max(0.0, deadline - time.monotonic()), held)
        return SqliteStore(connection, _File(path, leave, held.descriptor))
    except BaseException:
        if connection is not None:
            connection.close()
        leave(False)
        raise


def is_missing(path: str) -> bool:
    """Return whether there is nothing at ``path``. What this user may not see is not missing: opening it says so."""
    try:
        os.stat(path)
    except OSError as error:
        return isinstance(error, (FileNotFoundError, NotADirectoryError))
    return False


def look(path: str, for_dry_run: bool = False) -> SqliteStore:
    """Open the store at ``path`` to look at it, as it is now, without a trace: no file is made, none is touched.

    A store that does not exist is an empty one. Leaving the store raises StoreChanged if a run changed it meanwhile.
    ``for_dry_run``: what keeps a run from writing to it is an error here, too.

    Raises StoreError, with a sentence for the reader.
    """
    path = sqlite_file.without_links(path)
    connection, leave = sqlite_file.look_at(path)
    try:
        if connection is None or _is_empty(connection, path):
            if connection is not None:
                connection.close()
            connection = sqlite_file.connect(":memory:", "mode=memory")
            sqlite_schema.create(connection)
        elif sqlite_schema.is_old(connection):
            connection = sqlite_file.into_memory(connection)
            sqlite_schema.upgrade(connection)
        if for_dry_run:
            _check_schema(connection, path)
        return SqliteStore(connection, _File(path, leave, _NOT_HELD))
    except BaseException as error:
        if connection is not None:
            connection.close()
        leave(False)  # where a run changed it meanwhile, that is why
        if isinstance(error, sqlite_file.SIGNS_OF_DAMAGE):
            raise sqlite_file.not_read(path, error) from error
        raise


def nothing() -> SqliteStore:
    """Return a store with nothing in it, to look at."""
    connection = sqlite_file.connect(":memory:", "mode=memory")
    sqlite_schema.create(connection)
    return SqliteStore(connection, _File("", lambda dummy_committed: None, _NOT_HELD))


def _check_schema(connection: sqlite3.Connection, path: str) -> None:
    if sqlite_schema.is_damaged(connection):
        raise sqlite_file.damaged(path, sqlite_schema.NOT_ITS_TABLES)


def _begin(path: str, wait: float, held: sqlite_file.Lock) -> sqlite3.Connection:
    # Looking first tells a file that is no store without SQLite touching it: an ordinary open would already roll back
    # or check in what another program left in its journal.
    look(path).close()
    connection = sqlite_file.connect(path, "mode=rw", wait)
    try:
        sqlite_file.check_that_sqlite_opened(held, path)
        if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":  # a file system may not allow it
            connection.execute("PRAGMA cache_spill = OFF")  # so the file changes at the commit only: see `backups`
        connection.execute("BEGIN IMMEDIATE")
        if _is_empty(connection, path):
            sqlite_schema.create(connection)
        sqlite_schema.upgrade(connection)
        _check_schema(connection, path)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            raise sqlite_file.held_by_another(path) from error
        if isinstance(error, sqlite_file.SIGNS_OF_DAMAGE):
            raise _not_written(path, error) from error
        raise
    return connection


def _may_be_damage(error: BaseException | None) -> bool:
    return isinstance(error, sqlite_file.SIGNS_OF_DAMAGE) and not isinstance(
        error, sqlite3.OperationalError
    )  # of the system


def _not_written(path: str, error: Exception) -> StoreError:
    return StoreError(
        "store: '%s' cannot be written (%s): make room or repair it, or name another file" % (path, error)
    )


def _is_empty(connection: sqlite3.Connection, path: str) -> bool:
    """Tell whether the database has nothing in it, as a killed first run leaves it.

    Raises StoreError if it is no store, or one of a newer version.
    """
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise sqlite_file.damaged(path, error) from error
    if application == 0 and version == 0 and tables == 0:
        return True
    if application != sqlite_schema.APPLICATION_ID:
        raise StoreError("store: '%s' is a database of another program: name another file" % path)
    if version < 1:
        raise sqlite_file.damaged(path, "it has no schema version")
    if version > sqlite_schema.VERSION:
        raise StoreError(
            "store: '%s' has schema version %d and this collection knows versions up to %d: update the "
            "collection, or name another file" % (path, version, sqlite_schema.VERSION)
        )
    return False


# --- the store -------------------------------------------------------------------------------------------------------


class SqliteStore:
    """A store in an SQLite file: see `Store` in `contract.py`. Get one from :func:`open_store` or :func:`look`."""

    def __init__(self, connection: sqlite3.Connection, file: _File) -> None:
        self._connection = connection
        self._file = file
        self._is_open = True
        self._committed = False
        self.checks = Checks(connection, file.path, file.is_held)
        self.trees: dict[int, Tree] = {}
        for statement in sqlite_schema.WANTED:
            self.run(statement)

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, Exception):
                self._refuse_damage(error)
        finally:
            self.close()

    def _refuse_damage(self, error: Exception) -> None:
        """Raise StoreError if the store is damaged, where that may be why something failed."""
        if isinstance(error, SynchronizationError) and not _may_be_damage(error.__cause__):
            return  # it was foreseen
        if not self._is_open:
            return
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.rollback()  # what was written so far is not what is looked at
        if _is_empty(self._connection, self._file.path):
            return  # a first run, of which nothing is left
        from . import sqlite_damage  # which few runs need

        found = sqlite_damage.find(self._connection)
        if found:
            raise sqlite_file.damaged(self._file.path, found) from error

    def commit(self) -> None:
        self.run("COMMIT")
        self._committed = True

    def close(self) -> None:
        if self._is_open:
            if self._file.is_held:
                with contextlib.suppress(Exception):
                    self.checks.end()  # or the last connection would be one that may not remove the WAL
            self._is_open = False
            self._connection.close()  # rolls back; checks the WAL in and removes it
            self._file.leave(self._committed)

    # --- statements ---

    def rows(self, statement: str, parameters: Parameters = ()) -> list[Row]:
        try:
            return self._connection.execute(statement, parameters).fetchall()
        except sqlite_file.SIGNS_OF_DAMAGE as error:
            raise sqlite_file.not_read(self._file.path, error) from error

    def count(self, table: str) -> int:
        ((found,),) = self.rows("SELECT count(*) FROM " + table)
        return int(found)

    def run(self, statement: str, parameters: Parameters = ()) -> int:
        return self._execute(statement, parameters).rowcount

    def add(self, statement: str, parameters: Parameters = ()) -> int:
        number = self._execute(statement, parameters).lastrowid
        return UNKNOWN if number is None else number

    def _execute(self, statement: str, parameters: Parameters) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, parameters)
        except sqlite_file.SIGNS_OF_DAMAGE as error:
            raise _not_written(self._file.path, error) from error

    def many(self, statement: str, rows: Iterable[Parameters]) -> None:
        try:
            self._connection.executemany(statement, rows)
        except sqlite_file.SIGNS_OF_DAMAGE as error:
            raise _not_written(self._file.path, error) from error

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """Insert many short rows, many with each statement: a statement takes longer than such a row."""
        marks = "(%s)" % ", ".join("?" * len(columns))
        insert = "INSERT INTO %s (%s) VALUES %%s" % (table, ", ".join(columns))
        values = itertools.chain.from_iterable(rows)
        rest: list[Any] = []

        def whole_batches() -> Iterator[Row]:
            size = _ROWS_AT_ONCE * len(columns)
            for batch in iter(lambda: tuple(itertools.islice(values, size)), ()):
                if len(batch) == size:
                    yield batch
                else:
                    rest.extend(batch)

        self.many(insert % ", ".join([marks] * _ROWS_AT_ONCE), whole_batches())
        if rest:
            self.run(insert % ", ".join([marks] * (len(rest) // len(columns))), rest)

    def want(self, table: str, rows: Iterable[Row]) -> None:
        rows = list(rows)
        self.run("DELETE FROM %s" % table)
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self.many("INSERT INTO %s VALUES (%s)" % (table, marks), rows)

    # --- a run that writes ---

    def begin_writing(self) -> None:
        """Take room for what is written. Loading goes through all users, and would keep them all in memory."""
        self.run("PRAGMA cache_size = -%d" % _CACHE)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        if not self._connection.in_transaction:
            self.run("BEGIN IMMEDIATE")
        yield
        self.commit()

    @contextlib.contextmanager
    def filling(self, table: str) -> Iterator[None]:
        """Fill the index at once at the end, which takes half the time of filling it row by row."""
        self.run("DROP INDEX %s_user" % table)
        yield
        self.run(sqlite_schema.BY_USER[table])

    def backing_up(self, keep: int) -> contextlib.AbstractContextManager[Callable[[], None]]:
        if not keep:
            return contextlib.nullcontext(self.checks.end)
        from . import sqlite_backups  # most runs remove nothing, and make none

        return sqlite_backups.backing_up(
            self._file.descriptor, self._file.path, keep, self.checks.end if self.checks.begun else None
        )
