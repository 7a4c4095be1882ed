# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The file under the SQLite store: taken for one run alone, or looked at without a trace. Knows nothing of its content.

A run holds the file by ``flock`` on the file itself, besides SQLite's own locks. That lets a run that made a new file
take it away again: SQLite's locks give no way to unlink a database that another process may just have opened
(https://www.sqlite.org/howtocorrupt.html, 2.2 and 4.2).

Whoever can write the directory of a store can exchange the store for a link to another file, at any moment. So a link
is followed only if nobody else can have made it, files are opened without following, and a run sees to it that SQLite
has opened the file that the run holds.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import grp
import os
import pwd
import sqlite3
import stat
import time
from collections.abc import Callable
from typing import BinaryIO
from urllib.parse import quote

from .._named_tuple import NamedTuple
from .contract import StoreChanged, StoreError

# What Python raises if SQLite fails. Its words may quote what is no text, and then Python cannot read them.
SIGNS_OF_DAMAGE = (sqlite3.Error, UnicodeDecodeError)

_MOMENT = 60.0  # seconds in which anything ends that SQLite itself does between two runs
_PIECE = 1024 * 1024  # bytes that are copied at once
MAGIC = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat2.html, 1.3.1


def connect(path: str, parameters: str, wait: float = _MOMENT) -> sqlite3.Connection:
    """Return a connection that begins no transaction by itself. ``parameters`` are those of SQLite's URI.

    It waits for so many seconds while another one has the file. A reader may have to, too: if another thread is just
    writing to the index of the WAL, it looks as if that had to be recovered (https://www.sqlite.org/wal.html, 9).

    Raises StoreError if the file cannot be opened: somebody may have taken it away since it was looked at.
    """
    uri = "file:%s?%s" % (quote(path), parameters)
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=wait, isolation_level=None)
    except sqlite3.Error as error:
        raise cannot_be_read(path, error) from error
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def held_by_another(path: str) -> StoreError:
    holder = _holder(path)
    return StoreError(
        "store_timeout: the store '%s' is held by another run%s: wait for its end, or raise store_timeout"
        % (path, " (%s)" % holder if holder else "")
    )


def _holder(path: str) -> str:
    """Return which process holds the file by ``flock``, and since when it runs; empty where nothing tells."""
    try:
        number = os.stat(path).st_ino
        with open("/proc/locks", encoding="ascii") as locks:  # proc_locks(5)
            fields = [line.split() for line in locks]
        processes = [
            each[4]
            for each in fields
            if each[1] == "FLOCK" and each[5].rpartition(":")[2] == str(number) and int(each[4]) > 0
        ]
        started = os.stat("/proc/" + processes[0]).st_mtime
    except (OSError, IndexError, ValueError):
        return ""
    return "process %s, since %s" % (processes[0], time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started)))


_ADVICE = "put the last copy of it that is good in its place (store_backups), or name another file"


def damaged(path: str, why: object) -> StoreError:
    return StoreError("store: '%s' is no database or a damaged one (%s): %s" % (path, why, _ADVICE))


def cannot_be_read(path: str, why: object) -> StoreError:
    return StoreError("store: '%s' cannot be read (%s): repair it, %s" % (path, why, _ADVICE))


def not_read(path: str, error: Exception) -> StoreError:
    """Return what to raise where SQLite could not read: it tells apart what is of the system, such as a disk that
    fails, and what is of the file.
    """
    return (cannot_be_read if isinstance(error, sqlite3.OperationalError) else damaged)(path, error)


def check(connection: sqlite3.Connection, path: str, whole: bool) -> None:
    """Read everything; if ``whole``, compare the indexes with the tables, too, which takes several times as long.

    Raises StoreError if it is damaged, or cannot be read.
    """
    try:
        (found,) = connection.execute("PRAGMA %s(1)" % ("integrity_check" if whole else "quick_check")).fetchone()
    except sqlite3.Error as error:
        raise not_read(path, error) from error
    if found != "ok":
        raise damaged(path, found)


def without_links(path: str) -> str:
    """Return the absolute path with all links on the way replaced by where they lead.

    Raises StoreError if somebody else can have made one of them. Example: /var/lib/app belongs to ann, and root is
    asked for /var/lib/app/users.db, which is a link. Root would read or write a file of ann's choosing.
    """
    names = os.path.join(os.getcwd(), path).split("/")
    place, links = "/", 0
    while names:
        name = names.pop(0)
        if name == "..":
            place = os.path.dirname(place)
            continue
        here = os.path.join(place, name) if name not in ("", ".") else place
        try:
            target = os.readlink(here)
            is_own = _is_own(os.stat(place), os.lstat(here))
        except OSError:  # no link, or nothing
            place = here
            continue
        links += 1
        if links > 40:  # as many as Linux follows: path_resolution(7)
            raise StoreError("store: '%s' leads round in a circle: name a file" % path)
        if not is_own:
            raise StoreError(
                "store: '%s' is a link, and others than this user can write its directory: name the file that it leads "
                "to, or remove the link if it is not yours" % here
            )
        names = target.split("/") + names
        place = "/" if target.startswith("/") else place
    return place


def _is_own(directory: os.stat_result, entry: os.stat_result | None = None) -> bool:
    """Tell whether nobody but this user and root can exchange what is in the directory; or this entry of it, since in a
    sticky directory each entry is its owner's.
    """
    trusted = (0, os.geteuid())
    if directory.st_uid not in trusted:
        return False
    if entry is not None and directory.st_mode & stat.S_ISVTX:
        return entry.st_uid in trusted
    is_shared = directory.st_mode & stat.S_IWGRP and not _is_own_group(directory.st_gid)
    return not (directory.st_mode & stat.S_IWOTH or is_shared)


def _is_own_group(number: int) -> bool:
    """Tell whether the group is that of this user alone: one of the same name without other members, or root's."""
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(number)
    except KeyError:
        return False
    return number == 0 or (group.gr_name == user.pw_name and not set(group.gr_mem) - {user.pw_name})


def _refuse_what_is_no_file(path: str) -> os.stat_result | None:
    """Return what stat says of the file, or None if there is none."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISDIR(found.st_mode):
        raise StoreError(
            "store: '%s' is a directory: name a file, such as '%s'" % (path, os.path.join(path, "users.db"))
        )
    if not stat.S_ISREG(found.st_mode):
        raise StoreError("store: '%s' is no regular file: name another path" % path)
    if found.st_nlink > 1 and not _is_own(os.stat(os.path.dirname(path))):
        raise StoreError(
            "store: '%s' has another name, too, and others than this user can write its directory: name another path"
            % path
        )
    return found


# --- for a run that writes -------------------------------------------------------------------------------------------


class Lock(NamedTuple):
    descriptor: int
    file_made: bool
    directories_made: list[str]


def lock(path: str, deadline: float) -> Lock:
    """Take the file for this run alone; make it when missing. Waits until ``deadline``, by the monotonic clock.

    Raises StoreError, and leaves nothing behind then.
    """
    try:
        return _lock(path, deadline)
    except OSError as error:
        raise _cannot_write(path, error) from error


def check_writable(path: str) -> None:
    """Raise the StoreError that a run would meet for want of rights, and make nothing: for a dry run."""
    path = without_links(path)
    folder = os.path.dirname(path)
    try:
        wanted = [(path, os.R_OK | os.W_OK)] if _refuse_what_is_no_file(path) else []
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        for place, rights in wanted + [(folder, os.W_OK | os.X_OK)]:
            if not os.access(place, rights):
                raise PermissionError(errno.EACCES, "no permission for '%s'" % place)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: str, error: OSError) -> StoreError:
    return StoreError(
        "store: '%s' cannot be written (%s): name a file that this user may write%s"
        % (path, error.strerror, _or_become(error))
    )


def _or_become(error: OSError) -> str:
    return ", or set become: true" if isinstance(error, PermissionError) else ""


def unlock(held: Lock, path: str, committed: bool) -> None:
    """Let the file go; take away what was made for nothing.

    Every connection must be closed by now: closing a descriptor of the file ends all POSIX locks of this process on it
    (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    if held.file_made and not committed:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        _remove_directories(held.directories_made)
    os.close(held.descriptor)


def _lock(path: str, deadline: float) -> Lock:
    while True:
        directories = _make_directories(os.path.dirname(path))
        try:
            descriptor, made = _open_or_make(path)
        except (FileExistsError, FileNotFoundError):
            continue  # another run made it or took it away just now
        except BaseException:
            _remove_directories(directories)
            raise
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if time.monotonic() >= deadline:
                raise held_by_another(path) from None
            time.sleep(0.05)
            continue
        if _same_file(os.fstat(descriptor), path):
            return Lock(descriptor, made, directories)
        os.close(descriptor)  # the run that held the lock had made the file, and took it away again


def _same_file(found: os.stat_result, path: str) -> bool:
    try:
        return os.path.samestat(found, os.lstat(path))
    except OSError:
        return False


def _open_or_make(path: str) -> tuple[int, bool]:
    """Return a descriptor of the file, and whether it was made for it."""
    if _refuse_what_is_no_file(path) is None:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), True
    if not os.access(os.path.dirname(path), os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "no permission to make files beside it")
    return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), False


def check_that_sqlite_opened(held: Lock, path: str) -> None:
    """Raise StoreError if SQLite, which opens a file by its path, has opened another one than is held.

    Where the system does not tell what this process has open, this is not known and not checked.
    """
    wanted, seen = os.fstat(held.descriptor), 0
    try:
        numbers = os.listdir("/proc/self/fd")  # proc(5)
    except OSError:
        return
    for number in map(int, numbers):
        with contextlib.suppress(OSError):  # closed by now, as the one by which they were listed
            seen += os.path.samestat(wanted, os.fstat(number))
    if seen < 2:
        raise StoreError("store: '%s' was exchanged for another file just now: look who did it" % path)


def _make_directories(directory: str) -> list[str]:
    """Make the directory and those above it that are missing. Return what was made."""
    if os.path.isdir(directory):
        return []
    made = _make_directories(os.path.dirname(directory))
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        if not os.path.isdir(directory):
            raise NotADirectoryError(errno.ENOTDIR, "'%s' is not a directory" % directory) from None
        return made
    except OSError:
        _remove_directories(made)
        raise
    return made + [directory]


def _remove_directories(directories: list[str]) -> None:
    for directory in reversed(directories):
        try:
            os.rmdir(directory)
        except OSError:
            return  # somebody else uses it by now


# --- for those who only look -----------------------------------------------------------------------------------------


def look_at(path: str) -> tuple[sqlite3.Connection | None, Callable[[bool], None]]:
    """Return a connection to the database as it is now, None if there is no file, and what to call when it is closed.

    An ordinary read-only open of a database in WAL mode makes '-wal' and '-shm' and leaves them, and so does one that
    is still open when a run ends. So: without a '-wal' the file is read as immutable, and compared when it is left; a
    '-wal', of a run at work or of one that was killed, is looked at in a copy.

    Raises StoreError.
    """
    try:
        for _dummy in range(20):
            before = _refuse_what_is_no_file(path)
            if before is None:
                return None, _leave_nothing
            with _open_to_read(path) as file:
                if file.read(len(MAGIC)) not in (b"", MAGIC):  # SQLite takes a file of one byte for an empty one
                    raise damaged(path, "it does not begin like one")
            if not os.path.exists(path + "-wal"):
                return connect(path, "immutable=1"), functools.partial(_leave_file, path, before)
            copy = _copy_into_memory(path, before)
            if copy is not None:
                return copy, _leave_nothing
            time.sleep(0.05)
    except OSError as error:
        raise StoreError(
            "store: '%s' cannot be read (%s): name a file that this user may read%s"
            % (path, error.strerror, _or_become(error))
        ) from error
    raise _changed(path)


def _open_to_read(path: str) -> BinaryIO:
    """Open a regular file. Raises OSError if it is none: a link is not followed, a FIFO is not waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file")
    return os.fdopen(descriptor, "rb")


def _leave_nothing(dummy_committed: bool) -> None:
    pass


def _leave_file(path: str, before: os.stat_result, dummy_committed: bool) -> None:
    if os.path.exists(path + "-wal") or not _unchanged(path, before):
        raise _changed(path)


def _changed(path: str) -> StoreChanged:
    return StoreChanged("store: '%s' changed while it was looked at, by another run: run it again" % path)


def _unchanged(path: str, before: os.stat_result) -> bool:
    try:
        now = os.lstat(path)
    except OSError:
        return False
    return os.path.samestat(now, before) and (now.st_size, now.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def _copy_into_memory(path: str, before: os.stat_result) -> sqlite3.Connection | None:
    """Return a copy of the database with its WAL, or None if it changed meanwhile.

    The order matters. Frames that a run appends to the WAL after the copy are not in it, and half a frame fails its
    checksum. Pages that are checked in during the copy are in the WAL too, as long as that is still there.
    """
    import shutil  # with tempfile and what they bring, a twentieth of what a run loads
    import tempfile

    directory = tempfile.mkdtemp()
    try:
        copy = os.path.join(directory, "copy")
        _copy_file(path, copy)
        try:
            wal = os.lstat(path + "-wal")
            _copy_file(path + "-wal", copy + "-wal")
        except FileNotFoundError:
            return None
        if not _same_file(wal, path + "-wal") or not _unchanged(path, before):
            return None
        try:
            return into_memory(sqlite3.connect(copy))
        except sqlite3.DatabaseError as error:
            raise damaged(path, error) from error
    finally:
        shutil.rmtree(directory)


def _copy_file(path: str, copy: str) -> None:
    with _open_to_read(path) as source, open(copy, "xb") as target:
        while piece := source.read(_PIECE):
            target.write(piece)


def into_memory(source: sqlite3.Connection) -> sqlite3.Connection:
    """Return a copy of the database in memory; the connection to the original is closed."""
    memory = connect(":memory:", "mode=memory")
    try:
        source.backup(memory)
    except BaseException:
        memory.close()
        raise
    finally:
        source.close()
    return memory
