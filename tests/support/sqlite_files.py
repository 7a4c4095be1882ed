# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of an SQLite store, looked at without the store: by plain SQL, and as the file system shows it."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    """What plain SQL finds in the file, sorted. It is not touched; what is only in the WAL beside it is not found."""
    with closing(sqlite3.connect("file:%s?immutable=1" % path, uri=True)) as connection:
        return sorted(connection.execute(query).fetchall(), key=repr)


def dump(path: Path) -> list[str]:
    """Everything in the store as SQL, for comparing."""
    with closing(sqlite3.connect("file:%s?mode=ro" % path, uri=True)) as connection:
        return list(connection.iterdump())


def places(path: Path) -> dict[str, str | None]:
    """{path of a user: its stable key, or None if it was made by hand}."""
    return {
        "%s/%s" % (home, name): key
        for home, name, key in rows(
            path,
            """
            WITH RECURSIVE paths (id, path) AS (
                SELECT id, name FROM user_groups WHERE parent_id IS NULL
                UNION ALL SELECT g.id, p.path || '/' || g.name FROM user_groups g JOIN paths p ON g.parent_id = p.id)
            SELECT p.path, u.name, u.key FROM users u JOIN paths p ON p.id = u.home_id""",
        )
    }


def group_paths(path: Path) -> dict[str, str | None]:
    """{path of a user group: its stable key, or None if no synchronization owns it}."""
    return dict(
        rows(
            path,
            """
            WITH RECURSIVE paths (id, path, key) AS (
                SELECT id, name, key FROM user_groups WHERE parent_id IS NULL
                UNION ALL SELECT g.id, p.path || '/' || g.name, g.key
                FROM user_groups g JOIN paths p ON g.parent_id = p.id)
            SELECT path, key FROM paths""",
        )
    )


def memberships(path: Path) -> set[tuple[str | None, str | None]]:
    """{(stable key of a user group, stable key of a user in it)}."""
    return set(
        rows(
            path,
            """
            SELECT g.key, u.key FROM memberships m JOIN user_groups g ON g.id = m.user_group_id
            JOIN users u ON u.id = m.user_id""",
        )
    )


def trace(directory: Path) -> dict[str, tuple[Any, ...]]:
    """Everything that the file system shows of a directory and of what is in it, the time of the last access apart."""
    found = {}
    for path in [directory, *sorted(directory.rglob("*"))]:
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        found[str(path)] = (
            status.st_mode,
            status.st_uid,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            content,
        )
    return found
