# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The store for many hosts: a database in PostgreSQL.

No transaction is open while a run reads a directory. Until it writes, each look-up is a transaction of its own, and the
first remembers which run wrote last: the store's generation, and the token of the transaction that came to it. Who
writes locks the row with the generation, and compares both: where they are others, another run wrote meanwhile, and all
that was concluded is worth nothing (`WrittenMeanwhile`). So all look-ups of a run are of one moment, or the run begins
again. A generation alone would not tell: a server that takes another one's place may have lost some, and count them
anew.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

from . import postgresql_schema, postgresql_server, postgresql_words
from .address import Database
from .contract import Parameters, Row, StoreError, WrittenMeanwhile
from .postgresql_server import Connection
from .references import Tree

_UNREAD = (-1, "")  # in place of the last write: nothing was looked up
# A lock that was waited for comes with the new generation and without its token: it is another one all the same.
_LAST_WRITE = (
    "SELECT s.generation, (SELECT w.token FROM {0}.writes w WHERE w.generation = s.generation) FROM {0}.store s"
)
_WRITES_KEPT = 1000
_LARGE = 1000  # rows that come into a table at once: what is known of it is another then


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
            _make_ready(connection, address, version)
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
        if not connection.execute(
            "SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = %s AND tablename = 'store'",
            (address.schema,),
        ).fetchone():
            return _NO_TABLES
        row = connection.execute("SELECT version FROM %s.store" % _schema(address)).fetchone()
    except postgresql_server.driver().Error as error:
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


def _make_ready(connection: Connection, address: Database, version: int) -> None:
    """Make the tables, or bring those of an older version to the present one."""
    psycopg = postgresql_server.driver()
    try:
        if version == _NO_TABLES:
            _make(connection, address)
        elif version < postgresql_schema.VERSION:
            with connection.transaction():
                (version,) = _row(connection, "SELECT version FROM %s.store FOR UPDATE" % _schema(address))
                for statement in postgresql_schema.upgrade(address.schema, version):
                    connection.execute(statement)
        else:
            _check_version(version, address)
    except psycopg.Error as error:
        if error.sqlstate == postgresql_server.NO_RIGHT:
            raise _may_not_make(connection, address) from error
        raise postgresql_server.failed(address, error, False) from error


def _make(connection: Connection, address: Database) -> None:
    psycopg = postgresql_server.driver()
    for tries_left in range(9, -1, -1):
        try:
            if not connection.execute(
                "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", (address.schema,)
            ).fetchone():
                connection.execute("CREATE SCHEMA IF NOT EXISTS %s" % _schema(address))
            with connection.transaction():
                for statement, parameters in postgresql_schema.creation(address.schema):
                    connection.execute(statement, parameters)
            return
        except psycopg.Error as error:
            if error.sqlstate not in postgresql_server.MADE_BY_ANOTHER or not tries_left:
                raise
        time.sleep(0.1)


def _may_not_make(connection: Connection, address: Database) -> StoreError:
    (role,) = _row(connection, "SELECT current_user")
    return StoreError(
        "store: the role may not make the tables in %s: have an administrator run CREATE SCHEMA IF NOT EXISTS %s;"
        " GRANT USAGE, CREATE ON SCHEMA %s TO %s; there"
        % (address.shown, _schema(address), _schema(address), postgresql_words.quoted(role))
    )


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
        self._last_write: Row = _UNREAD
        self._is_writing = False
        self._is_open = True
        self._errors = postgresql_server.driver().Error
        self._wanted: dict[str, list[Row]] = {table: [] for table in postgresql_words.WANTED}
        self._filled: dict[str, int] = {}  # table -> how many rows came into it
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
            if not self._is_writing and self._last_write != _UNREAD:
                self._compare(_LAST_WRITE)
        finally:
            self._connection.close()  # rolls back

    # --- statements ---

    def rows(self, statement: str, parameters: Parameters = ()) -> list[Row]:
        if self._last_write == _UNREAD:
            self._last_write = self._ask(_LAST_WRITE)
        found: list[Row] = self._execute(statement, parameters).fetchall()
        return found

    def run(self, statement: str, parameters: Parameters = ()) -> int:
        into = postgresql_words.into_wanted(statement)
        if into is None:
            self.begin_writing()
            return int(self._execute(statement, parameters).rowcount)
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
                self._connection.execute(*at_once)
                return
            said = postgresql_words.words(statement, self._address.schema)
            with self._connection.cursor() as cursor:
                cursor.executemany(said.text, [postgresql_words.arguments(said, row, self._wanted) for row in rows])
        except self._errors as error:
            raise postgresql_server.failed(self._address, error, True) from error

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        self.begin_writing()
        copy = "COPY %s.%s (%s) FROM STDIN" % (_schema(self._address), table, ", ".join(columns))
        try:
            with self._connection.cursor() as cursor:
                with cursor.copy(copy) as lines:
                    for block in postgresql_words.lines(rows):
                        lines.write(block)
                self._filled[table] = self._filled.get(table, 0) + cursor.rowcount
        except self._errors as error:
            raise postgresql_server.failed(self._address, error, True) from error

    def want(self, table: str, rows: Iterable[Row]) -> None:
        self._wanted[table] = list(rows)

    def _execute(self, statement: str, parameters: Parameters) -> Any:
        said = postgresql_words.words(statement, self._address.schema)
        try:
            return self._connection.cursor(binary=True).execute(
                said.text, postgresql_words.arguments(said, parameters, self._wanted)
            )
        except self._errors as error:
            raise postgresql_server.failed(self._address, error, self._is_writing) from error

    def _ask(self, statement: str, parameters: Sequence[Any] = ()) -> Row:
        """Return the first row of a statement about the store itself; empty if there is none."""
        try:
            cursor = self._connection.execute(statement.format(_schema(self._address)), parameters)
            return (cursor.fetchone() if cursor.description else None) or ()
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
            self._ask("COMMIT")
        except BaseException:
            if not postgresql_server.is_lost(self._connection):
                self._ask("ROLLBACK")
            raise
        finally:
            self._is_writing, self._last_write = False, _UNREAD

    def _lock(self) -> None:
        """Begin the transaction, and wait until no other one writes."""
        try:
            self._ask("BEGIN")
            self._ask("SET LOCAL lock_timeout = %d" % max(1, 1000 * self._wait))
            self._compare(_LAST_WRITE + " FOR UPDATE")
            self._ask("SET LOCAL lock_timeout = 0")
        except StoreError as error:
            if not postgresql_server.is_lost(self._connection):
                self._ask("ROLLBACK")
            if getattr(error.__cause__, "sqlstate", None) != postgresql_server.LOCKED:
                raise
            who = postgresql_server.holder(self._connection, self._address)
            raise postgresql_server.held(self._address, who) from None

    def _compare(self, statement: str) -> None:
        """Raise WrittenMeanwhile if another run wrote last than was remembered."""
        now = self._ask(statement)
        if self._last_write not in (_UNREAD, now):
            raise WrittenMeanwhile("store: %s changed, by another run: run it again" % self._address.shown)
        self._last_write = now

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
        token, now = uuid.uuid4().hex, self._last_write[0] + 1
        self._ask("UPDATE {0}.store SET generation = %s", (now,))
        self._ask("INSERT INTO {0}.writes (generation, token) VALUES (%s, %s)", (now, token))
        self._ask("DELETE FROM {0}.writes WHERE generation <= %s", (now - _WRITES_KEPT,))
        try:
            self._connection.execute("COMMIT")
        except self._errors as error:
            if not postgresql_server.is_lost(self._connection):
                raise postgresql_server.failed(self._address, error, True) from error
            self._find_out(token, error)
        self._is_writing, self._last_write = False, _UNREAD
        self._learn()

    def _learn(self) -> None:
        """Have the server look at tables that are others now. It does so by itself, but a minute later."""
        if max(self._filled.values(), default=0) >= _LARGE:
            tables = ", ".join("%s.%s" % (_schema(self._address), table) for table in self._filled)
            with contextlib.suppress(self._errors):
                self._connection.execute("ANALYZE " + tables)

    def _find_out(self, token: str, lost: Exception) -> None:
        """Return if the transaction with this token was committed, and raise StoreError if it was not.

        Whoever has the lock of the row knows: the old connection's transaction has ended by then. Its own COMMIT waits
        until standbys have what it has seen, where replication is synchronous.
        """
        deadline = time.monotonic() + max(self._wait, 60)
        while True:
            try:
                with contextlib.closing(postgresql_server.connect(self._address, False, within=10)) as connection:
                    connection.execute("BEGIN")
                    connection.execute("SET LOCAL lock_timeout = '10s'")
                    connection.execute("SELECT 1 FROM %s.store FOR UPDATE" % _schema(self._address))
                    found = connection.execute(
                        "SELECT 1 FROM %s.writes WHERE token = %%s" % _schema(self._address), (token,)
                    ).fetchone()
                    connection.execute("COMMIT")
                if found:
                    return
                raise postgresql_server.failed(self._address, lost, True) from lost
            except (StoreError, self._errors) as error:
                if isinstance(error, StoreError) and error.__cause__ is lost:
                    raise
                if time.monotonic() >= deadline:
                    raise StoreError(
                        "store: the connection to %s was lost while the run was committed, and the server cannot be"
                        " asked since: all that it wrote is there, or nothing; run it again" % self._address.shown
                    ) from lost
            time.sleep(0.5)
