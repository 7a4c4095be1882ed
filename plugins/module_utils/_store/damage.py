# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What is wrong with a store: looked for where something failed that nobody foresaw.

SQLite tells a page that is no page, and an index that lacks a row. It does not tell a text that is no JSON, a letter
where a number should be, or a user group that lies in itself: a flipped bit makes all of these.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from .._model import name_key

# What a column of a declared type may hold: SQLite takes anything (https://www.sqlite.org/datatype3.html).
_TYPES = {"INTEGER": ("integer",), "REAL": ("real", "integer"), "TEXT": ("text",), "BLOB": ("blob",)}

_LATEST = 253402300799  # the last second of the year 9999
_TIMES = {
    "runs": ("time",),
    "users": ("extinct_since",),
    "user_groups": ("extinct_since",),
    "kept_names": ("since",),
}


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _is_scope(value: Any) -> bool:
    return value is None or _is_dict(value) and "whole_tree" in value


def _is_record(value: Any) -> bool:
    return value is None or _is_dict(value) and isinstance(value.get("path"), str)


def _is_mark(value: Any) -> bool:
    """See Mark, and what a run adds to it."""
    needed = {"circumstances", "read_fully", "time"}
    if _is_dict(value) and "none" not in value:
        needed |= {"way", "again", "open", "outside", "selection"}
    return _is_dict(value) and needed <= value.keys()


_JSON: dict[tuple[str, str], Callable[[Any], bool]] = {
    ("synchronizations", "selected"): _is_dict,
    ("synchronizations", "settings"): _is_dict,
    ("synchronizations", "scope"): _is_scope,
    ("synchronizations", "held"): lambda value: isinstance(value, list) and all(isinstance(one, list) for one in value),
    ("users", "attributes"): _is_dict,
    ("users", "local_attributes"): _is_dict,
    ("user_groups", "attributes"): _is_dict,
    ("runs", "counts"): _is_dict,
    ("past_records", "before"): _is_record,
    ("past_records", "after"): _is_record,
    ("marks", "mark"): _is_mark,
}


def find(connection: sqlite3.Connection) -> str:
    """Return what is wrong with the store, as a part of a sentence; empty if nothing is found."""
    factory = connection.text_factory
    connection.text_factory = bytes  # so that what is no UTF-8 can be told from what is
    try:
        return next(_all_that_is_found(connection), "")
    except (sqlite3.Error, OverflowError) as error:
        return str(error)
    finally:
        connection.text_factory = factory


def _all_that_is_found(connection: sqlite3.Connection) -> Iterator[str]:
    for (found,) in connection.execute("PRAGMA integrity_check(1)"):
        if found != b"ok":
            yield _text(found)
    for table, *_rest in connection.execute("PRAGMA foreign_key_check"):
        yield "a row of %s refers to one that is not there" % _text(table)
    if connection.execute("SELECT 1 FROM memberships WHERE user_id NOT IN (SELECT id FROM users)").fetchone():
        yield "a membership refers to a user who is not there"
    tables = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if not name.startswith(b"sqlite_")
    ]
    for name in tables:
        yield from _in_table(connection, _text(name))
    yield from _in_names(connection)
    yield from _in_tree(connection)


def _in_table(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    columns = [
        (_text(name), _text(kind), required)
        for _number, name, kind, required, _default, _key in connection.execute("PRAGMA table_info(%s)" % table)
    ]
    names = ", ".join("%s, typeof(%s)" % (name, name) for name, _kind, _required in columns)
    for row in connection.execute("SELECT %s FROM %s" % (names, table)):
        for (name, kind, required), value, stored_as in zip(columns, row[::2], row[1::2]):
            why = _why_wrong(table, name, kind, required, value, _text(stored_as))
            if why:
                yield "%s.%s %s" % (table, name, why)


def _why_wrong(table: str, name: str, kind: str, required: int, value: Any, stored_as: str) -> str:
    if stored_as == "null":
        return "is missing" if required else ""
    if kind in _TYPES and stored_as not in _TYPES[kind]:
        return "holds %s where %s belongs" % (stored_as, kind)
    if name in _TIMES.get(table, ()) and abs(value) > _LATEST:
        return "is no time"
    if stored_as == "text":
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            return "is no UTF-8"
        if (table, name) in _JSON:
            with contextlib.suppress(ValueError, RecursionError):
                return "" if _JSON[table, name](json.loads(text)) else "is not what it should be"
            return "is no JSON"
    return ""


def _in_names(connection: sqlite3.Connection) -> Iterator[str]:
    for table in ("users", "user_groups"):
        for name, key in connection.execute("SELECT name, name_key FROM %s" % table):
            if key is None or not name.strip() or name_key(_text(name)) != _text(key):
                yield "%s has a name that is not the one it is found by" % table
    for (_number,) in connection.execute(
        "SELECT 1 FROM users WHERE directory_id IS NOT NULL AND key IS NULL"
        " UNION ALL SELECT 1 FROM user_groups WHERE synchronization_id IS NOT NULL AND key IS NULL"
    ):
        yield "a record has no key"


def _in_tree(connection: sqlite3.Connection) -> Iterator[str]:
    parents = dict(connection.execute("SELECT id, parent_id FROM user_groups"))
    if list(parents.values()).count(None) != 1:
        yield "the user groups have not one root"
    whole: set[Any] = {None}
    for number in parents:
        way = []
        while number not in whole:
            if number in way or number not in parents:
                yield "a user group lies in itself, or nowhere"
                break
            way.append(number)
            number = parents[number]
        whole.update(way)


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")
