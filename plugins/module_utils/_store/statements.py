# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Small look-ups that all others begin with."""

from __future__ import annotations

from .contract import Parameters, Row, Store

UNKNOWN = 0  # id of what the store does not know: no row has it


def first(store: Store, statement: str, parameters: Parameters = ()) -> Row | None:
    """Return the first row that a query finds; None if it finds none."""
    return next(iter(store.rows(statement, parameters)), None)


def one(store: Store, statement: str, parameters: Parameters = ()) -> Row:
    """Return the row of a query that always has one."""
    return store.rows(statement, parameters)[0]


def scalar(store: Store, statement: str, parameters: Parameters = ()) -> int:
    """Return the number of a query that always finds one."""
    (found,) = one(store, statement, parameters)
    return int(found)


def has(store: Store, statement: str, parameters: Parameters = ()) -> bool:
    """Tell whether a query finds anything."""
    return bool(store.rows(statement, parameters))


def next_id(store: Store, table: str) -> int:
    """Return the id from which on rows can be added."""
    return scalar(store, "SELECT coalesce(max(id), 0) + 1 FROM %s" % table)


def synchronization_id(store: Store, name: str) -> int:
    """Return the id of the synchronization, or UNKNOWN."""
    return ids(store, name)[0]


def ids(store: Store, synchronization: str) -> tuple[int, int]:
    """Return the id of the synchronization and that of its directory, or UNKNOWN for both."""
    for me, directory in store.rows("SELECT id, directory_id FROM synchronizations WHERE name = ?", (synchronization,)):
        return me, directory
    return UNKNOWN, UNKNOWN


def directory_id(store: Store, identity: str) -> int:
    """Return the id of the directory, or UNKNOWN."""
    row = first(store, "SELECT id FROM directories WHERE identity = ?", (identity,))
    return row[0] if row else UNKNOWN
