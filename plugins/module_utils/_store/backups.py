# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Copies of the store beside it, made before a run that removes anything: 'users.db.backup-20261125T093000.000000Z'.

Each is a whole database, so that restoring one means putting it in the store's place (docs/reliability.md).
"""

from __future__ import annotations

import contextlib
import glob
import os
import sqlite3
from datetime import datetime, timezone

from . import sqlite_file
from .sqlite_file import StoreError

_UNFINISHED = ".unfinished"


def back_up(source: sqlite3.Connection, path: str, keep: int) -> None:
    """Copy the database, check the copy, and remove old copies beyond ``keep``.

    ``source`` may hold a transaction that has written nothing yet.

    Raises StoreError; there is no new copy then.
    """
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
    copy = "%s.backup-%s" % (path, stamp)
    unfinished = copy + _UNFINISHED
    try:
        _copy(source, path, unfinished)
        _check(unfinished)
        os.rename(unfinished, copy)
        _sync(os.path.dirname(path))
    except (OSError, sqlite3.Error) as error:
        raise StoreError("store_backups: the store cannot be copied to '%s' before something is removed (%s): make "
                         "room, or set store_backups: 0" % (copy, getattr(error, "strerror", None) or error)) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
    for old in sorted(_copies(path))[:-keep]:
        with contextlib.suppress(OSError):  # one too many does no harm
            os.unlink(old)


def _copies(path: str) -> list[str]:
    """Return the copies beside the store, and what a killed run left of one."""
    return glob.glob(glob.escape(path) + ".backup-*")


def _copy(source: sqlite3.Connection, path: str, copy: str) -> None:
    """Write the copy with the mode and owner of the store, for it holds the same."""
    of_store = os.stat(path)
    descriptor = os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if os.geteuid() == 0:
            os.fchown(descriptor, of_store.st_uid, of_store.st_gid)
        os.fchmod(descriptor, of_store.st_mode & 0o777)
        target = sqlite_file.connect(copy, "mode=rw")
        try:
            target.execute("PRAGMA synchronous = OFF")  # it is written to disk below
            source.backup(target)
        finally:
            target.close()
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(copy: str) -> None:
    """Read the copy back. Raises sqlite3.DatabaseError if it is damaged."""
    connection = sqlite_file.connect(copy, "immutable=1")
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    finally:
        connection.close()
    if found != "ok":
        raise sqlite3.DatabaseError(found)


def _sync(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
