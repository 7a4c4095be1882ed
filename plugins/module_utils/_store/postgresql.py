# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The store for many hosts: a database in PostgreSQL.

No transaction is open while a run reads a directory. Until it writes, each look-up is a transaction of its own, and the
first remembers the token of the last change. Who writes locks the row with that token, and compares: where it is
another one, another run changed something meanwhile, and all that was concluded is worth nothing (`WrittenMeanwhile`).
So all look-ups of a run are of one moment, or the run begins again. A number that is counted up would not tell: a
server that takes another one's place may have lost some changes, and count them anew.
"""

from __future__ import annotations

import contextlib
import itertools
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

from . import postgresql_commit, postgresql_schema, postgresql_server, postgresql_words
from .address import Database
from .contract import Parameters, Row, StoreError, WrittenMeanwhile
from .postgresql_server import Connection
from .references import Tree

_UNREAD = "-"  # in place of the token of the last change: nothing was looked up
_LAST_CHANGE = "SELECT last_change, %s FROM {0}.store" % ", ".join(postgresql_commit.COUNTED)
_AT_MOST = "SET LOCAL lock_timeout = %d"
_LOCK = "BEGIN; " + _AT_MOST + "; " + _LAST_CHANGE + " FOR UPDATE; SET LOCAL lock_timeout = 0"


def open_store(address: Database, wait: int = 60, may_make: bool = True) -> PostgresStore | None:
    """Open the store for a run. Its tables are made where they are missing, if the role may, and ``may_make``; else
    there is no store: None.

    Whoever writes is waited for when this one begins to write: for ``wait`` seconds (`store_timeout`).

    Raises StoreError, with a sentence for the reader.
    """
    connection = postgresql_server.connect(address, reads_only=False)
    try:
        version = _version(connection, address)
        if version != _NO_TABLES or may_make:
            _make_ready(connection, address, version, wait)
            return PostgresStore(connection, address, wait)
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


def look(address: Database) -> PostgresStore | None:
    """Open the store to look at it; None if there is none. Leaving it raises WrittenMeanwhile if a run wrote meanwhile.

    Raises StoreError, with a sentence for the reader.
    """
    connection = postgresql_server.connect(address, reads_only=True)
    try:
        version = _version(connection, address)
        if version != _NO_TABLES:
            _check_version(version, address)
            return PostgresStore(connection, address, 0)
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


# --- its tables ------------------------------------------------------------------------------------------------------

_NO_TABLES = 0  # in place of a version


def _version(connection: Connection, address: Database) -> int:
    """Return the version of the store's tables."""
    try:
        row = connection.execute("SELECT version FROM %s.store" % _schema(address)).fetchone()
    except postgresql_server.driver().Error as error:
        if error.sqlstate in postgresql_server.NOT_THERE:
            return _NO_TABLES
        raise postgresql_server.failed(address, error, False) from error
    return int(row[0]) if row else _NO_TABLES


def _check_version(version: int, address: Database) -> None:
    if version > postgresql_schema.VERSION:
        raise StoreError(
            "store: %s has schema version %d and this collection knows versions up to %d: update the collection, or"
            " name another schema" % (address.shown, version, postgresql_schema.VERSION)
        )
    if version < postgresql_schema.VERSION:
        raise StoreError(
            "store: %s has schema version %d, and the next run brings it to %d: let one write to it first"
            % (address.shown, version, postgresql_schema.VERSION)
        )


def _make_ready(connection: Connection, address: Database, version: int, wait: int) -> None:
    """Make the tables, or bring those of an older version to the present one. Who writes is waited for, for so many
    seconds.
    """
    psycopg = postgresql_server.driver()
    try:
        if version == _NO_TABLES:
            _again(lambda: _make(connection, address), postgresql_server.MADE_BY_ANOTHER)
        elif version < postgresql_schema.VERSION:
            # `ALTER TABLE` wants for itself what others who upgrade have locked a row of.
            _again(lambda: _upgrade(connection, address, wait), (postgresql_server.DEADLOCK,))
        else:
            _check_version(version, address)
    except psycopg.Error as error:
        if error.sqlstate == postgresql_server.LOCKED:
            raise postgresql_server.held(connection, address) from None
        if error.sqlstate == postgresql_server.NO_RIGHT:
            raise _may_not_make(connection, address, version) from error
        raise postgresql_server.failed(address, error, False) from error


def _upgrade(connection: Connection, address: Database, wait: int) -> None:
    """Bring the tables of an older version to the present one, unless somebody else has just done so."""
    with connection.transaction():
        connection.execute(_AT_MOST % _milliseconds(wait))
        (version,) = _row(connection, "SELECT version FROM %s.store FOR UPDATE" % _schema(address))
        if version >= postgresql_schema.VERSION:
            _check_version(version, address)
            return
        for statement in postgresql_schema.upgrade(address.schema, version):
            connection.execute(statement)


def _make(connection: Connection, address: Database) -> None:
    there = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s"
    if not connection.execute(there, (address.schema,)).fetchone():
        connection.execute("CREATE SCHEMA IF NOT EXISTS %s" % _schema(address))
    with connection.transaction():
        for statement, parameters in postgresql_schema.creation(address.schema):
            connection.execute(statement, parameters)


def _again(do: Callable[[], None], states: Collection[str]) -> None:
    """Do it, and do it again where another one does the same: where it fails with one of these states of SQL."""
    for tries_left in range(9, -1, -1):
        try:
            do()
            return
        except postgresql_server.driver().Error as error:
            if error.sqlstate not in states or not tries_left:
                raise
        time.sleep(0.1)


def _may_not_make(connection: Connection, address: Database, version: int) -> StoreError:
    (role,) = _row(connection, "SELECT current_user")
    if version != _NO_TABLES:
        return StoreError(
            "store: %s has schema version %d, and only who owns its tables brings it to %d: run once as their owner, or"
            " have an administrator make %s their owner"
            % (address.shown, version, postgresql_schema.VERSION, postgresql_words.quoted(role))
        )
    return StoreError(
        "store: the role may not make the tables in %s: have an administrator run CREATE SCHEMA IF NOT EXISTS %s;"
        " GRANT USAGE, CREATE ON SCHEMA %s TO %s; there"
        % (address.shown, _schema(address), _schema(address), postgresql_words.quoted(role))
    )


def _milliseconds(wait: int) -> int:
    """Return for how long a lock is waited for; 0 would mean for ever."""
    return max(1, 1000 * wait)


def _row(connection: Connection, statement: str) -> Row:
    """Return the one row that a statement finds."""
    row: Row = connection.execute(statement).fetchone()
    return row


def _schema(address: Database) -> str:
    return postgresql_words.quoted(address.schema)


# --- the store -------------------------------------------------------------------------------------------------------


class _NoChecks:
    """A database looks for damage itself: see `Checks` in `contract.py`."""

    whole = False

    def begin(self, whole: bool) -> None:
        pass

    def end(self) -> None:
        pass


class PostgresStore:
    """A store in PostgreSQL: see `Store` in `contract.py`. Get one from :func:`open_store` or :func:`look`."""

    def __init__(self, connection: Connection, address: Database, wait: int) -> None:
        self._connection = connection
        self._address = address
        self._wait = wait
        self._last_change = _UNREAD
        self._counts: dict[str, int | None] = {}  # by that: how many rows a table has; None: nobody knows
        self._is_writing = False
        self._is_open = True
        self._errors = postgresql_server.driver().Error
        self._wanted: dict[str, list[Row]] = {table: [] for table in postgresql_words.WANTED}
        self._written = postgresql_commit.Written()
        self.checks = _NoChecks()
        self.trees: dict[int, Tree] = {}

    def __enter__(self) -> PostgresStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or not isinstance(error, Exception):
            self.close()
            return
        try:
            self.close()
        except WrittenMeanwhile:
            raise  # which may be why it failed
        except StoreError:
            pass

    def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        try:
            if not self._is_writing and self._last_change != _UNREAD:
                self._compare(self._ask(_LAST_CHANGE))
        finally:
            self._connection.close()  # rolls back

    # --- statements ---

    def rows(self, statement: str, parameters: Parameters = ()) -> list[Row]:
        self._remember()
        first = postgresql_words.begins_with(statement)
        if first and not any(self._wanted[table] for table in first):
            return []
        found: list[Row] = self._execute(statement, parameters).fetchall()
        return found

    def run(self, statement: str, parameters: Parameters = ()) -> int:
        into = postgresql_words.into_wanted(statement)
        if into is None:
            self.begin_writing()
            return self._written.note(statement, self._execute(statement, parameters).rowcount)
        rows = self._wanted[into.table]
        if into.query:
            rows = list(dict.fromkeys([*rows, *self.rows(into.query, parameters)]))
        else:
            rows = []
        self._wanted[into.table] = rows
        return len(rows)

    def add(self, statement: str, parameters: Parameters = ()) -> int:
        self.begin_writing()
        (number,) = self._execute(statement + " RETURNING id", parameters).fetchone()
        self._written.note(statement, 1)
        return int(number)

    def many(self, statement: str, rows: Iterable[Parameters]) -> None:
        rows = list(rows)
        if not rows:
            return
        insert = postgresql_words.as_insert(statement)
        if insert is not None:
            self.insert(*insert, rows)  # type: ignore[arg-type]
            return
        self.begin_writing()
        at_once = postgresql_words.for_many(statement, rows, self._address.schema) if len(rows) > 1 else None
        try:
            if at_once is not None:
                self._written.note(statement, self._connection.execute(*at_once).rowcount)
                return
            said = postgresql_words.words(statement, self._address.schema)
            with self._connection.cursor() as cursor:
                cursor.executemany(said.text, [postgresql_words.arguments(said, row, self._wanted) for row in rows])
                self._written.note(statement, cursor.rowcount)
        except self._errors as error:
            raise postgresql_server.failed(self._address, error, True) from error

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        rows = iter(rows)
        first = next(rows, None)
        if first is None:
            return
        self.begin_writing()
        copy = "COPY %s.%s (%s) FROM STDIN" % (_schema(self._address), table, ", ".join(columns))
        try:
            with self._connection.cursor() as cursor:
                with cursor.copy(copy) as lines:
                    for block in postgresql_words.lines(itertools.chain([first], rows)):
                        lines.write(block)
                self._written.note("INSERT INTO " + table, cursor.rowcount)
        except self._errors as error:
            raise postgresql_server.failed(self._address, error, True) from error

    def want(self, table: str, rows: Iterable[Row]) -> None:
        self._wanted[table] = list(rows)

    def count(self, table: str) -> int:
        self._remember()
        before, added = self._counts[table], self._written.added[table]
        if before is None:
            (found,) = self._ask("SELECT count(*) FROM {0}.%s" % table)
            before = self._counts[table] = int(found) - added
        return before + added

    def _execute(self, statement: str, parameters: Parameters) -> Any:
        said = postgresql_words.words(statement, self._address.schema)
        try:
            return self._connection.cursor(binary=True).execute(
                said.text, postgresql_words.arguments(said, parameters, self._wanted)
            )
        except self._errors as error:
            raise postgresql_server.failed(self._address, error, self._is_writing) from error

    def _ask(self, statement: str) -> Row:
        """Return the row of a statement about the store itself, or of several; empty if there is none."""
        try:
            cursor = self._connection.execute(statement.format(_schema(self._address)))
            found: Row = ()
            while True:
                found = (cursor.fetchone() if cursor.description else None) or found
                if not cursor.nextset():
                    return found
        except self._errors as error:
            raise postgresql_server.failed(self._address, error, self._is_writing) from error

    # --- a run that writes ---

    def begin_writing(self) -> None:
        if self._is_writing:
            return
        self._lock()
        self._is_writing = True

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Lock, as all who write: ids are given under that lock. The generation stays as it is."""
        self._lock()
        self._is_writing = True
        try:
            yield
            try:
                self._connection.execute("COMMIT")
            except self._errors as error:
                raise postgresql_commit.failed(self._address, self._connection, error) from error
        except BaseException:
            if not postgresql_server.is_lost(self._connection):
                self._ask("ROLLBACK")
            raise
        finally:
            self._is_writing, self._last_change = False, _UNREAD
            self._written = postgresql_commit.Written()

    def _lock(self) -> None:
        """Begin the transaction, and wait until no other one writes."""
        try:
            self._compare(self._ask(_LOCK % _milliseconds(self._wait)))
        except StoreError as error:
            if not postgresql_server.is_lost(self._connection):
                self._ask("ROLLBACK")
            if getattr(error.__cause__, "sqlstate", None) != postgresql_server.LOCKED:
                raise
            raise postgresql_server.held(self._connection, self._address) from None

    def _remember(self) -> None:
        if self._last_change == _UNREAD:
            self._compare(self._ask(_LAST_CHANGE))

    def _compare(self, now: Row) -> None:
        """Raise WrittenMeanwhile if the last change is another one than was remembered."""
        last_change, *counts = now
        if self._last_change not in (_UNREAD, last_change):
            raise WrittenMeanwhile("store: %s changed, by another run: run it again" % self._address.shown)
        if self._last_change == _UNREAD or None not in counts:  # else they may have been counted meanwhile
            self._counts = dict(zip(postgresql_commit.COUNTED, counts))
        self._last_change = last_change

    @contextlib.contextmanager
    def filling(self, table: str) -> Iterator[None]:
        """Fill the index at once at the end, which takes a fifth of the time; where the database does as PostgreSQL
        does, and the tables belong to the role.
        """
        (is_possible,) = self._ask(
            "SELECT pg_catalog.version() !~ 'Cockroach|-YB-' AND pg_catalog.pg_has_role(c.relowner, 'USAGE')"
            " FROM pg_catalog.pg_class c WHERE c.oid = '{0}.%s'::regclass" % table
        )
        if is_possible:
            self._ask("DROP INDEX {0}.%s_user" % table)
        yield
        if is_possible:
            self._ask(postgresql_schema.BY_USER[table])

    def backing_up(self, keep: int) -> contextlib.AbstractContextManager[Callable[[], None]]:
        return contextlib.nullcontext(self.checks.end)

    def commit(self) -> None:
        """End the transaction. Where the answer is lost, ask the server, until it is known what came of it."""
        self.begin_writing()
        token = uuid.uuid4().hex
        try:
            self._connection.execute(self._written.commit(_schema(self._address), token, self._counts))
        except self._errors as error:
            if not postgresql_server.is_lost(self._connection):
                raise postgresql_server.failed(self._address, error, True) from error
            postgresql_commit.find_out(self._address, token, error, max(self._wait, 60))
        written, self._written = self._written, postgresql_commit.Written()
        self._is_writing, self._last_change = False, _UNREAD
        with contextlib.suppress(self._errors):
            written.learn(self._connection, _schema(self._address))
