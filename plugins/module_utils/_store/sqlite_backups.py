# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Copies of the store beside it, made before what a run removes is gone: 'users.db.backup-20261125T093000.000000Z'.

Each is a whole database, so that restoring one means putting it in the store's place (docs/reliability.md).
"""

from __future__ import annotations

import contextlib
import errno
import glob
import itertools
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import TypeVar

from . import sqlite_file
from .contract import StoreError

_T = TypeVar("_T")

_UNFINISHED = ".unfinished"
_UNCHECKED = ".unchecked"  # of a store that nobody looked through for damage
_NAME = re.compile(r"\.backup-[0-9]{8}T[0-9]{6}\.[0-9]{6}Z(\.unchecked)?(\.unfinished)?")

_PIECE = 1024 * 1024  # bytes that are read at once
_AT_MOST = 1024**3  # bytes that the system copies in one call

_TRIES = 20  # a twentieth of a second each, to see that no other program holds the store up


class _ReadByAnother(Exception):
    """Another program reads an earlier state of the store, so what was written since cannot be checked in."""


def _back_up(store: int, path: str, new: str) -> str:
    """Make the ``new`` copy of the database as it was last committed, unless the last one is of that very state: return
    which of them is. Raises StoreError; there is no new copy then.
    """
    unfinished = new + _UNFINISHED
    try:
        _check_in(path)
        found = [last for last in _finished(path)[-1:] if _is_same(store, last)]
        if not found:
            _copy_and_compare(store, unfinished)
            os.rename(unfinished, new)
        _sync(os.path.dirname(path), os.O_RDONLY)
        return found[0] if found else new
    except _ReadByAnother:
        raise _not_copied(new, "another program reads it", "end that program") from None
    except (OSError, sqlite3.Error) as error:
        raise _not_copied(new, getattr(error, "strerror", None) or error, "make room") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)


def _copy_and_compare(store: int, copy: str) -> None:
    _copy(store, copy)
    on_disk = meanwhile(lambda: _sync(copy, os.O_RDWR))
    try:
        _check(store, copy)
    finally:
        on_disk()


def _not_copied(copy: str, why: object, advice: str) -> StoreError:
    return StoreError(
        "store_backups: the store cannot be copied to '%s' before something is removed (%s): %s, or set "
        "store_backups: 0" % (copy, why, advice)
    )


def meanwhile(work: Callable[[], _T]) -> Callable[[], _T]:
    """Begin the work in a thread of its own; return what waits for its end, and returns or raises what it did.

    Where the system allows no further thread, do the work at once.
    """
    results: list[_T] = []
    failures: list[BaseException] = []

    def do() -> None:
        try:
            results.append(work())
        except BaseException as error:  # pylint: disable=broad-exception-caught
            failures.append(error)

    thread = threading.Thread(target=do)
    try:
        thread.start()
    except RuntimeError:
        do()

    def end() -> _T:
        if thread.is_alive():
            thread.join()
        for failure in failures:
            raise failure
        return results[0]

    return end


@contextlib.contextmanager
def backing_up(store: int, path: str, keep: int, end_check: Callable[[], None] | None) -> Iterator[Callable[[], None]]:
    """Copy the database as it was last committed, while something else is done. Yield what waits for the copy and for
    the end of the check; only then, and before this ends, something may be committed. At the end remove old copies
    beyond ``keep``.

    Where something is raised before the copy is ready, there is no new one. Later it stays, for a COMMIT that fails may
    be on the disk nevertheless. However often such a run is repeated, it fills no disk, and takes no copy of an earlier
    state away: no state is copied twice, and one copy more than ``keep`` may be there to begin with.

    ``store`` is an open descriptor of the file at ``path``, which no one else may write. ``end_check`` raises
    StoreError where the store is damaged; None where nothing looks for that.

    What is yielded raises StoreError where there could be no copy, and so does the end where nothing waited for it.
    """
    _forget_old(path, keep + 1)
    new = _new_name(path)
    copied = meanwhile(lambda: _back_up(store, path, new + _UNCHECKED))
    is_ready = False

    def be_ready() -> None:
        nonlocal is_ready
        copy = copied()
        if end_check is not None and not is_ready:
            end_check()
            _note_checked(copy)
        is_ready = True

    try:
        yield be_ready
        be_ready()
    except BaseException:
        if not is_ready:
            with contextlib.suppress(BaseException):
                copied()
            _remove(new + _UNCHECKED)
            _remove(new)
        raise
    _forget_old(path, keep)


def _new_name(path: str) -> str:
    """Return the name of a copy by the time; after those that are there, though a clock was set back: their names say
    in which order they came.
    """
    now = int(datetime.now(timezone.utc).strftime("%Y%m%d%H%M%S%f"))
    there = [int(re.sub("[^0-9]", "", copy[len(path) :])) for copy in _copies(path)]
    digits = "%020d" % max([now, *(each + 1 for each in there)])
    return "%s.backup-%sT%s.%sZ" % (path, digits[:8], digits[8:14], digits[14:])


def _note_checked(copy: str) -> None:
    """Say in the copy's name that its store was looked through: not earlier, since a run can be killed."""
    if not copy.endswith(_UNCHECKED):
        return
    try:
        os.rename(copy, copy[: -len(_UNCHECKED)])
        _sync(os.path.dirname(copy), os.O_RDONLY)
    except OSError as error:
        raise _not_copied(copy, error.strerror, "make room") from error


def _forget_old(path: str, keep: int) -> None:
    """Remove all copies but the last ``keep``, and the last of a store that was looked through: damage may have come
    since, and be in all others.
    """
    finished = _finished(path)
    checked = [each for each in finished if not each.endswith(_UNCHECKED)]
    for old in {*_copies(path)}.difference(finished[-keep:], checked[-1:]):
        _remove(old)


def _remove(copy: str) -> None:
    """Remove the copy, and what SQLite leaves beside it where somebody opened it."""
    for each in (copy + "-wal", copy + "-shm", copy):
        with contextlib.suppress(OSError):  # one too many does no harm
            os.unlink(each)


def _finished(path: str) -> list[str]:
    """Return the copies beside the store, in the order in which they came."""
    return sorted(each for each in _copies(path) if not each.endswith(_UNFINISHED))


def _copies(path: str) -> list[str]:
    """Return the copies beside the store, and what a killed run left of one; no copies that somebody made by hand."""
    return [each for each in glob.glob(glob.escape(path) + ".backup-*") if _NAME.fullmatch(each, len(path))]


def _check_in(path: str) -> None:
    """Bring into the file what is committed and still in the WAL, as a killed run leaves it. Raises _ReadByAnother.

    What a run writes goes into the WAL alone until it is committed (https://www.sqlite.org/wal.html): from here on the
    file stays as it was last committed.
    """
    with contextlib.closing(sqlite_file.connect(path, "mode=rw")) as connection:
        for dummy in range(_TRIES):
            # (1, -1, -1) while another program does the same
            busy, in_wal, checked_in = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if not busy and in_wal == checked_in:
                return
            time.sleep(0.05)
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
        if not _is_sent(store, descriptor):
            file.writelines(_pieces(store))


def _is_sent(store: int, descriptor: int) -> bool:
    """Have the system copy all bytes, since each of many calls has to wait for its turn while the run works; return
    whether it can: some file systems cannot, and systems other than Linux send to sockets only.
    """
    at = 0
    try:
        while sent := os.sendfile(descriptor, store, at, _AT_MOST):
            at += sent
    except OSError as error:
        if at or error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSOCK, errno.EOPNOTSUPP):
            raise
        return False
    return True


def _check(store: int, copy: str) -> None:
    """Read the copy back, and compare it. Raises OSError."""
    with open(copy, "rb") as file:
        for piece, read_back in itertools.zip_longest(_pieces(store), _pieces(file.fileno())):
            if piece != read_back:
                raise OSError("the copy is damaged")


def _is_same(store: int, copy: str) -> bool:
    """Tell whether the copy is of what the store is now. Where not, that mostly shows in the first piece: the tables
    that each run writes begin there.
    """
    try:
        _check(store, copy)
    except OSError:  # nor is one that cannot be read
        return False
    return True


def _pieces(descriptor: int) -> Iterator[bytes]:
    at = 0
    while piece := os.pread(descriptor, _PIECE, at):
        yield piece
        at += len(piece)


def _sync(path: str, access: int) -> None:
    """Have it on the disk. A file is to be open for writing: SMB does nothing for one that is not."""
    descriptor = os.open(path, access | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
