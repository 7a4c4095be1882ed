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
import itertools
import os
import sqlite3
import threading
from collections.abc import Iterator
from datetime import datetime, timezone

from . import sqlite_file
from .sqlite_file import StoreError

_UNFINISHED = ".unfinished"

_PIECE = 256 * 1024  # bytes that are copied at once


class _ReadByAnother(Exception):
    """Another program reads an earlier state of the store, so what was written since cannot be checked in."""


def back_up(store: int, path: str, keep: int) -> None:
    """Copy the database as it was last committed, check the copy, and remove old copies beyond ``keep``.

    ``store`` is an open descriptor of the file at ``path``, which no one else may write.

    Raises StoreError; there is no new copy then.
    """
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
    copy = "%s.backup-%s" % (path, stamp)
    unfinished = copy + _UNFINISHED
    try:
        _check_in(path)
        _copy(store, unfinished)
        _check(store, unfinished)
        os.rename(unfinished, copy)
        _sync(os.path.dirname(path))
    except _ReadByAnother:
        raise _not_copied(copy, "another program reads it", "end that program") from None
    except (OSError, sqlite3.Error) as error:
        raise _not_copied(copy, getattr(error, "strerror", None) or error, "make room") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
    copies = sorted(_copies(path))
    finished = [each for each in copies if not each.endswith(_UNFINISHED)]
    for old in {*copies}.difference(finished[-keep:]):
        with contextlib.suppress(OSError):  # one too many does no harm
            os.unlink(old)


def _not_copied(copy: str, why: object, advice: str) -> StoreError:
    return StoreError("store_backups: the store cannot be copied to '%s' before something is removed (%s): %s, or set "
                      "store_backups: 0" % (copy, why, advice))


@contextlib.contextmanager
def backing_up(store: int, path: str, keep: int) -> Iterator[None]:
    """Do `back_up` while something else is done that commits nothing: mostly the copy waits for the disk.

    Raises StoreError at the end, where nothing else was raised: there is no new copy then.
    """
    failures: list[BaseException] = []

    def copy() -> None:
        try:
            back_up(store, path, keep)
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


def _check_in(path: str) -> None:
    """Bring into the file what is committed and still in the WAL, as a killed run leaves it. Raises _ReadByAnother.

    What a run writes goes into the WAL alone until it is committed (https://www.sqlite.org/wal.html): from here on the
    file stays as it was last committed.
    """
    with contextlib.closing(sqlite_file.connect(path, "mode=rw")) as connection:
        busy, in_wal, checked_in = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if busy or in_wal != checked_in:
        raise _ReadByAnother


def _copy(store: int, copy: str) -> None:
    """Write the bytes of the store, with its mode and owner, for they say the same.

    SQLite's own copying takes three times as long. The store is read by the descriptor that is open: to close another
    one would end SQLite's locks (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    of_store = os.fstat(store)
    descriptor = os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        if os.geteuid() == 0:
            os.fchown(descriptor, of_store.st_uid, of_store.st_gid)
        os.fchmod(descriptor, of_store.st_mode & 0o777)
        for piece in _pieces(store):
            file.write(piece)
        file.flush()
        os.fsync(descriptor)


def _check(store: int, copy: str) -> None:
    """Read the copy back, and compare it. Raises OSError."""
    with open(copy, "rb") as file:
        for piece, read_back in itertools.zip_longest(_pieces(store), _pieces(file.fileno())):
            if piece != read_back:
                raise OSError("the copy is damaged")


def _pieces(descriptor: int) -> Iterator[bytes]:
    at = 0
    while piece := os.pread(descriptor, _PIECE, at):
        yield piece
        at += len(piece)


def _sync(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
