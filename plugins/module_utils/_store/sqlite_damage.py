# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What is wrong with a store: looked for where something failed that nobody foresaw.

SQLite tells a page that is no page, and an index that lacks a row. It does not tell a text that is no JSON, a letter
where a number should be, or a user group that lies in itself: a bit that turned makes all of these.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from .._names import name_key, split_path
from . import forms, ledger_forms, sqlite_schema
from .references import is_tree
from .sqlite_file import SIGNS_OF_DAMAGE

# What a column of a declared type may hold: SQLite takes anything (https://www.sqlite.org/datatype3.html).
_TYPES: dict[str, Any] = {"INTEGER": int, "REAL": (float, int), "TEXT": str, "BLOB": bytes}

_LATEST = 253402300799  # the last second of the year 9999


def _is_time(seconds: Any) -> bool:
    return bool(abs(seconds) <= _LATEST)


def _is_path(path: Any) -> bool:
    return bool(split_path(path))


def _is_record(text: Any) -> bool:
    return forms.is_object(text, "path") and _is_path(json.loads(text)["path"])


# What a value must be besides, where it is not NULL; an error says that it is not.
_FORMS: dict[tuple[str, str], Callable[[Any], bool]] = {
    ("synchronizations", "selected"): forms.is_object,
    ("synchronizations", "settings"): forms.is_object,
    ("synchronizations", "scope"): forms.is_scope,
    ("synchronizations", "held"): forms.is_held,
    ("users", "attributes"): forms.is_object,
    ("users", "local_attributes"): forms.is_object,
    ("users", "extinct_since"): _is_time,
    ("user_groups", "attributes"): forms.is_object,
    ("user_groups", "extinct_since"): _is_time,
    ("kept_names", "since"): _is_time,
    ("marks", "mark"): forms.is_mark,
    ("runs", "time"): _is_time,
    ("runs", "counts"): forms.is_object,
    ("past_memberships", "user_group"): _is_path,
    ("past_records", "path"): _is_path,
    ("provisionings", "holder"): ledger_forms.is_holder,
    ("provisionings", "told"): ledger_forms.is_told,
    ("links", "kind"): ledger_forms.is_kind,
    ("links", "written"): ledger_forms.is_record,
    ("links", "shown"): ledger_forms.is_shown,
    ("link_members", "kind"): ledger_forms.is_kind,
    ("intents", "kind"): ledger_forms.is_kind,
    ("intents", "record"): ledger_forms.is_record,
    ("past_links", "time"): _is_time,
    ("past_records", "before"): _is_record,
    ("past_records", "after"): _is_record,
}


_COLUMNS = (
    'SELECT m.name, c.name, c.type, c."notnull" FROM sqlite_master m JOIN pragma_table_info(m.name) c'
    " WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%'"
)


def find(connection: sqlite3.Connection) -> str:
    """Return what is wrong with the store, as a part of a sentence; empty if nothing is found, or nobody can tell.

    It looks at every value, and takes longer than a run.
    """
    factory, connection.text_factory = connection.text_factory, _decoded
    try:
        return next(_all_that_is_found(connection), "")
    except sqlite3.OperationalError:  # of the system rather than of the file
        return ""
    except SIGNS_OF_DAMAGE as error:
        return str(error)
    finally:
        connection.text_factory = factory


@functools.cache
def _columns_of_a_sound_store() -> list[tuple[str, str, str, int]]:
    """Return the columns of the tables as this version makes them."""
    with contextlib.closing(sqlite3.connect(":memory:")) as sound:
        sqlite_schema.create(sound)
        return sound.execute(_COLUMNS).fetchall()


def _all_that_is_found(connection: sqlite3.Connection) -> Iterator[str]:
    columns = _columns_of_a_sound_store()
    if not {*columns} <= {*connection.execute(_COLUMNS)} or sqlite_schema.is_damaged(connection):
        yield sqlite_schema.NOT_ITS_TABLES
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        yield found
    for table, *_rest in connection.execute("PRAGMA foreign_key_check"):
        yield "a row of %s refers to one that is not there" % table
    if connection.execute("SELECT 1 FROM memberships WHERE user_id NOT IN (SELECT id FROM users)").fetchone():
        yield "a membership refers to a user who is not there"
    for table, described in itertools.groupby(columns, lambda column: column[0]):
        yield from _in_table(connection, table, [(name, kind, required) for _table, name, kind, required in described])
    if not is_tree(dict(connection.execute("SELECT id, parent_id FROM user_groups"))):
        yield "a user group lies in itself"


def _in_table(connection: sqlite3.Connection, table: str, columns: list[tuple[str, str, int]]) -> Iterator[str]:
    """``columns`` are of each column its name, its declared type, and whether NULL is forbidden."""
    names = [name for name, _kind, _required in columns]
    for row in connection.execute("SELECT %s FROM %s" % (", ".join(names), table)):
        for (name, kind, required), value in zip(columns, row):
            if required if value is None else not _is_right(table, name, kind, value):
                yield "%s.%s has a value that it cannot have" % (table, name)
        record = dict(zip(names, row))
        if {"name", "name_key"} <= record.keys() and name_key(record["name"]) != record["name_key"]:
            yield "%s.name is not what it is found by" % table
        if "key" in record and record["key"] is None and record.get("synchronization_id") is not None:
            yield "%s.key is missing" % table


def _decoded(raw: bytes) -> str | bytes:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def _is_right(table: str, name: str, kind: str, value: Any) -> bool:
    if not isinstance(value, _TYPES[kind]):
        return False
    try:
        return (table, name) not in _FORMS or _FORMS[table, name](value)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False
