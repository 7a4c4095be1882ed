# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Copies of the store beside it, made before what a run removes is gone: 'users.db.backup-20261125T093000.000000Z'.

Each is a whole database, so that restoring one means putting it in the store's place (docs/reliability.md).
"""

from __future__ import annotations

import contextlib
import glob
import os
import sqlite3
import threading
from collections.abc import Iterator
from datetime import datetime, timezone

from . import sqlite_file
from .sqlite_file import StoreError

_UNFINISHED = ".unfinished"


def back_up(path: str, keep: int) -> None:
    """Copy the database as it was last committed, check the copy, and remove old copies beyond ``keep``.

    Raises StoreError; there is no new copy then.
    """
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
    copy = "%s.backup-%s" % (path, stamp)
    unfinished = copy + _UNFINISHED
    try:
        _copy(path, unfinished)
        _check(unfinished)
        os.rename(unfinished, copy)
        _sync(os.path.dirname(path))
    except (OSError, sqlite3.Error) as error:
        raise StoreError("store_backups: the store cannot be copied to '%s' before something is removed (%s): make "
                         "room, or set store_backups: 0" % (copy, getattr(error, "strerror", None) or error)) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
    copies = sorted(_copies(path))
    finished = [each for each in copies if not each.endswith(_UNFINISHED)]
    for old in {*copies}.difference(finished[-keep:]):
        with contextlib.suppress(OSError):  # one too many does no harm
            os.unlink(old)


@contextlib.contextmanager
def backing_up(path: str, keep: int) -> Iterator[None]:
    """Do `back_up` while something else is done that commits nothing: mostly the copy waits for the disk.

    Raises StoreError at the end, where nothing else was raised: there is no new copy then.
    """
    failures: list[BaseException] = []

    def copy() -> None:
        try:
            back_up(path, keep)
        except BaseException as error:  # pylint: disable=broad-exception-caught
            failures.append(error)

    thread = threading.Thread(target=copy)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    for failure in failures:
        raise failure


def _copies(path: str) -> list[str]:
    """Return the copies beside the store, and what a killed run left of one."""
    return glob.glob(glob.escape(path) + ".backup-*")


def _copy(path: str, copy: str) -> None:
    """Write the copy with the mode and owner of the store, for it holds the same."""
    of_store = os.stat(path)
    descriptor = os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if os.geteuid() == 0:
            os.fchown(descriptor, of_store.st_uid, of_store.st_gid)
        os.fchmod(descriptor, of_store.st_mode & 0o777)
        # By a connection of its own: the one of the run holds the lock to write, and copies nothing then.
        with contextlib.closing(sqlite_file.connect(path, "mode=ro")) as source, \
                contextlib.closing(sqlite_file.connect(copy, "mode=rw")) as target:
            target.execute("PRAGMA synchronous = OFF")  # it is written to disk below
            source.backup(target)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(copy: str) -> None:
    """Read the copy back. Raises sqlite3.DatabaseError if it is damaged."""
    with contextlib.closing(sqlite_file.connect(copy, "immutable=1")) as connection:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError("the copy is damaged")


def _sync(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
