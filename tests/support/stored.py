# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a store holds, read and changed with plain SQL and nothing of the collection.

This is the one place where tests open a store: `_reading` opens it for looking, `change` for writing. Tests that spoil
or measure an SQLite file as a file open it themselves.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

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
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.executemany(statement, many)


def dump(store: Path | str) -> list[str]:
    """Everything in the store as SQL, for comparing."""
    with _reading(store) as connection:
        return list(connection.iterdump())


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


@contextmanager
def _reading(store: Path | str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        connection.text_factory = lambda octets: octets.decode("utf-8", "surrogateescape")
        yield connection
