# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stores of tests. A test names one by the path of a file; with ``--store postgresql`` it is a schema of a server.

So what is true of a store is tried on each of them by the same tests. Laws make hundreds of stores, and a server takes
long to make tables and to drop them: so a store may begin with the tables of one that is gone, and nothing in them. To
the collection that is no store yet, and it makes one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.usersync.directory.plugins.module_utils._store import address, opening
from ansible_collections.usersync.directory.plugins.module_utils._store.contract import Store

from .folders import IN_MEMORY
from .postgresql import PostgreSQL

_servers: list[PostgreSQL] = []  # the one that is used, if any is
_schemas: dict[Path, str] = {}  # the file that it stands for -> schema
_emptied: list[str] = []  # schemas of those that are gone
_connections: dict[int, Any] = {}  # process -> its connection to the server


def use(server: PostgreSQL) -> None:
    """Have stores in this server from now on."""
    _servers[:] = [server]


def leave() -> None:
    """Have them in files again."""
    for known in (_servers, _schemas, _emptied):
        known.clear()
    kept = _connections.pop(os.getpid(), None)
    if kept:
        kept.close()


def of(path: Path | str) -> str:
    """The option `store` of the store that is called so."""
    if not _servers or address.is_database(str(path)):
        return str(path)
    path = Path(path)
    if path not in _schemas:
        _forget()
        new = "s" + hashlib.sha256(str(path).encode()).hexdigest()[:16]
        _schemas[path] = _emptied.pop() if _emptied else new
    return f"{_servers[0].uri}&schema={_schemas[path]}"


def forget(folder: Path) -> None:
    """The test whose folder this is has ended: its stores can be emptied."""
    for path in [path for path in _schemas if path.is_relative_to(folder)]:
        _empty(_schemas.pop(path))


def _forget() -> None:
    """Empty those of laws, whose folders are gone."""
    memory = Path(IN_MEMORY)
    for path in [path for path in _schemas if path.is_relative_to(memory)]:
        if not (memory / path.relative_to(memory).parts[0]).exists():
            _empty(_schemas.pop(path))


def _empty(schema: str) -> None:
    import psycopg

    with connected(_uri()) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]).fetchall()
        # A replica does not look at what refers to what. All this is one transaction, which sets things for itself.
        settings = ("SET LOCAL session_replication_role = replica", "SET LOCAL lock_timeout = '5s'")
        statements = [*settings, *(f"DELETE FROM {schema}.{name}" for (name,) in tables)]
        with contextlib.suppress(psycopg.errors.LockNotAvailable):  # of a test that failed with it open: left alone
            connection.execute("; ".join(statements))
            _emptied.append(schema)


def _uri() -> str:
    """What libpq is given to connect to the server."""
    database = address.address_of(_servers[0].uri)
    assert isinstance(database, address.Database)
    return database.uri


@contextmanager
def connected(uri: str) -> Iterator[Any]:
    """A connection that commits each statement. To the server that is used, there is one, which is kept."""
    import psycopg

    # None prepares nothing: another schema may come with the next statement.
    how: dict[str, Any] = {"autocommit": True, "prepare_threshold": None}
    if not _servers or uri != _uri():
        with closing(psycopg.connect(uri, **how)) as connection:
            yield connection
        return
    if os.getpid() not in _connections:
        _connections[os.getpid()] = psycopg.connect(uri, **how)
    yield _connections[os.getpid()]


def open_store(path: Path | str, wait: int = 60) -> Store:
    """The store, opened for a run."""
    return opening.open_store(address.address_of(of(path)), wait)


def look(path: Path | str) -> Store:
    """The store, opened to look at it."""
    return opening.look(address.address_of(of(path)))


def exists(path: Path | str) -> bool:
    """Whether there is such a store."""
    return not opening.is_missing(address.address_of(of(path)))
