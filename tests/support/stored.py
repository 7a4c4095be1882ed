# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a store holds, read and changed with plain SQL and nothing of the collection.

This is the one place where tests open a store: `_reading` opens it for looking, `change_many` for writing. Tests that
spoil or measure an SQLite file as a file open it themselves. A store in PostgreSQL is named by its URI, or by the path
that it stands for: see `stores.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible_collections.usersync.directory.plugins.module_utils._store import address

from . import stores

Row = tuple[Any, ...]


def rows(store: Path | str, statement: str, *values: Any) -> list[Row]:
    """What a statement finds, sorted: the order of rows is no part of what a store holds.

    Text that is not UTF-8 comes with lone surrogates (PEP 383).
    """
    with _reading(store) as connection:
        found = connection.execute(statement, values).fetchall()
    return sorted(found, key=lambda row: [(type(value).__name__, value) for value in row])


def values(store: Path | str, statement: str, *given: Any) -> list[Any]:
    """As `rows`, for a statement with one column: its values."""
    return [value for (value,) in rows(store, statement, *given)]


def change(store: Path | str, statement: str, *values: Any) -> None:
    """Run one statement and commit."""
    change_many(store, statement, [values])


def change_many(store: Path | str, statement: str, many: Iterable[Row]) -> None:
    """Run one statement for each row of values, and commit."""
    if address.is_database(stores.of(store)):
        with _in_postgresql(store) as connection:
            for values in many:
                connection.execute(statement, values)
        return
    with closing(sqlite3.connect(store)) as connection:
        connection.executemany(statement, many)
        connection.commit()


def dump(store: Path | str) -> list[str]:
    """Everything in the store as SQL, for comparing."""
    with _reading(store) as connection:
        return list(connection.iterdump())


TABLES = [
    *("claims", "directories", "kept_names", "marks", "memberships", "nestings", "past_memberships", "past_records"),
    *("runs", "synchronizations", "user_groups", "users"),
]


class _Postgresql:
    """What of sqlite3's connection is used here, for a store in PostgreSQL."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Row = ()) -> Any:
        return self._connection.execute(statement.replace("%", "%%").replace("?", "%s"), values)

    def iterdump(self) -> Iterator[str]:
        for table in TABLES:
            yield from sorted(f"{table} {row}" for row in self.execute(f"SELECT * FROM {table}"))


@contextmanager
def _in_postgresql(store: Path | str) -> Iterator[Any]:
    database = address.address_of(stores.of(store))
    assert isinstance(database, address.Database)
    with stores.connected(database.uri) as connection:
        # A schema may have the tables of a store that is gone: a store is one if it has this row.
        where = "SELECT set_config('search_path', %s, false) FROM {}.store".format(database.schema)
        assert connection.execute(where, [database.schema]).fetchall(), f"{store}: nobody has made this store"
        yield _Postgresql(connection)


def members(store: Path | str) -> list[tuple[str, str]]:
    """(user group, user) of each membership, by name."""
    return rows(
        store,
        "SELECT g.name, u.name FROM memberships m JOIN user_groups g ON g.id = m.user_group_id"
        " JOIN users u ON u.id = m.user_id",
    )


def nestings(store: Path | str) -> list[tuple[str, str]]:
    """(user group, the one nested in it) of each nesting, by name."""
    return rows(
        store,
        "SELECT g.name, n.name FROM nestings m JOIN user_groups g ON g.id = m.user_group_id"
        " JOIN user_groups n ON n.id = m.nested_id",
    )


def homes(store: Path | str) -> list[tuple[str, str]]:
    """(user, the user group that is its home) of each user, by name."""
    return rows(store, "SELECT u.name, g.name FROM users u JOIN user_groups g ON g.id = u.home_id")


def users_by_path(store: Path | str) -> dict[str, str | None]:
    """{path of a user: its stable key, or None if it was made by hand}. Names with a slash are not escaped."""
    return {
        f"{home}/{name}": key
        for home, name, key in rows(
            store,
            """
            WITH RECURSIVE paths (id, path) AS (
                SELECT id, name FROM user_groups WHERE parent_id IS NULL
                UNION ALL SELECT g.id, p.path || '/' || g.name FROM user_groups g JOIN paths p ON g.parent_id = p.id)
            SELECT p.path, u.name, u.key FROM users u JOIN paths p ON p.id = u.home_id""",
        )
    }


def user_groups_by_path(store: Path | str) -> dict[str, str | None]:
    """{path of a user group: its stable key, or None if no synchronization owns it}."""
    return dict(
        rows(
            store,
            """
            WITH RECURSIVE paths (id, path, key) AS (
                SELECT id, name, key FROM user_groups WHERE parent_id IS NULL
                UNION ALL SELECT g.id, p.path || '/' || g.name, g.key
                FROM user_groups g JOIN paths p ON g.parent_id = p.id)
            SELECT path, key FROM paths""",
        )
    )


def members_by_key(store: Path | str) -> set[tuple[str | None, str | None]]:
    """(user group, user) of each membership, by stable key."""
    return set(
        rows(
            store,
            "SELECT g.key, u.key FROM memberships m JOIN user_groups g ON g.id = m.user_group_id"
            " JOIN users u ON u.id = m.user_id",
        )
    )


def problems(store: Path | str) -> list[Row]:
    """What is wrong with the store itself, whatever was synchronized: nothing, after each run."""
    own = _MISCOUNTED if address.is_database(stores.of(store)) else _OF_SQLITE
    references = [
        f"SELECT '{table}.{column}', {column} FROM {table} WHERE {column} IS NOT NULL"
        f" AND {column} NOT IN (SELECT id FROM {to})"
        for table, column, to in _REFERENCES
    ]
    with _reading(store) as connection:
        return [
            row
            for statement in (
                *own,
                *references,
                "SELECT 'user without name_key', id, name FROM users WHERE name_key IS NULL",
                "SELECT 'user group without name_key', id, name FROM user_groups WHERE name_key IS NULL",
            )
            for row in connection.execute(statement)
            if row != ("ok",)
        ]


_OF_SQLITE = ("PRAGMA integrity_check", "PRAGMA foreign_key_check")
_MISCOUNTED = tuple(
    f"SELECT '{table}', {table} FROM store WHERE {table} <> (SELECT count(*) FROM {table})"
    for table in ("claims", "memberships", "nestings")
)
# Where no foreign key says that what is referred to exists, in one of the stores.
_REFERENCES = [
    *((table, "user_id", "users") for table in ("memberships", "claims")),
    *((table, "user_group_id", "user_groups") for table in ("memberships", "nestings")),
    *((table, "synchronization_id", "synchronizations") for table in ("claims", "users", "user_groups")),
    ("nestings", "nested_id", "user_groups"),
    ("users", "home_id", "user_groups"),
    ("users", "directory_id", "directories"),
]


@contextmanager
def _reading(store: Path | str) -> Iterator[Any]:
    """Nothing is left beside the file: without a WAL there, it is read as one that nobody changes."""
    if address.is_database(stores.of(store)):
        with _in_postgresql(store) as connection:
            yield connection
        return
    how = "mode=ro" if Path(f"{store}-wal").exists() else "immutable=1"
    with closing(sqlite3.connect(f"file:{quote(str(store))}?{how}", uri=True)) as connection:
        connection.text_factory = lambda octets: octets.decode("utf-8", "surrogateescape")
        yield connection
