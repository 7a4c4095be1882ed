# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that the role does on the host in directories which another user writes. It is run as root, by the role alone.

Who writes a directory can put a link in the place of any name in it, at any moment: before this program looks at the
name, or after. So:

- A path is walked from the root, one directory at a time, by descriptors. A link on the way is followed only if it lies
  in a directory that nobody but root can write, and so do all directories before it.
- What belongs to the user of the runs is made and removed by a process that has the rights of this user.
- What root gives away, it gives by a descriptor of the very thing: an empty directory that it made itself, a directory
  of root's that nobody else can have put there, or a file of root's that has no other name.
- In a directory of others root makes and removes links, by their name and the descriptor of the directory. That follows
  nothing.

It prints JSON: ``changed``, and ``refusal``, which is a sentence or empty. With --check it changes nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fnmatch
import json
import os
import pwd
import select
import shutil
import signal
import stat
import sys
from collections.abc import Iterator
from typing import Callable, NamedTuple

STORES = ("*.db", "*.db-*", "*.db.*")  # a store, what SQLite keeps beside it, and copies of it
LOGS_KEPT = 5
PATIENCE = 60  # seconds for what is done with the rights of the user of the runs, who can stop it

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Refusal(Exception):
    """What is there is not as it must be; the message is one sentence."""


def main() -> int:
    options = _parser().parse_args()
    try:
        answer = {"changed": options.do(options), "refusal": ""}
    except (Refusal, OSError) as error:
        answer = {"changed": False, "refusal": str(error)}
    print(json.dumps(answer))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    for name, do, needed, possible in (
        ("judge", judge, ["programs", "config", "state", "log"], []),
        ("make", make, ["user", "state", "log"], []),
        ("make-for-job", make_for_job, ["user", "state", "job"], ["store", "metrics"]),
        ("remove", remove, ["user", "state", "log", "job"], ["metrics"]),
    ):
        command = commands.add_parser(name)
        command.set_defaults(do=do)
        command.add_argument("--check", action="store_true")
        for option in needed + possible:
            is_name = option in ("user", "job")
            command.add_argument("--" + option, required=option in needed, type=str if is_name else os.path.normpath)
    return parser


# --- The four commands


def judge(options: argparse.Namespace) -> bool:
    """Refuse directories that do not lie below directories of root.

    What root executes must be root's alone, with all directories above it. What lies above the directories of the runs
    must be root's too, but a group may write it: /var/log is such a directory on Ubuntu.
    """
    for path in (options.programs, options.config, os.path.dirname(options.state), os.path.dirname(options.log)):
        with walk(path) as place:
            is_executed = path == options.programs
            if place.owner != 0 or place.is_open or (place.is_shared and is_executed):
                raise Refusal(
                    f"'{path}' will not do, since others than root can write '{place.weak}': name a directory that "
                    f"lies below directories of root, or give '{place.weak}' to root alone"
                )
    return False


def make(options: argparse.Namespace) -> bool:
    """Make the directories that runs write to, and give to their user the stores that root made there."""
    changed = [
        give_directory(options.state, options.user, 0o755, options.check),
        give_directory(options.log, options.user, 0o750, options.check),
    ]
    with walk(options.state) as state:
        if not state.missing:
            changed += [
                give_stores(state, options.user, options.check),
                with_rights_of(options.user, make_directory, state, "metrics", 0o755, options.check),
                with_rights_of(options.user, make_directory, state, "status", 0o755, options.check),
            ]
    return any(changed)


def make_for_job(options: argparse.Namespace) -> bool:
    """Make the directory of the job's store, if that is a file, and show the job's metrics to Prometheus."""
    changed = False
    if options.store:
        with walk(options.store) as store:
            changed = bool(store.missing)
    if changed:
        give_directory(options.store, options.user, 0o750, options.check)
    if not options.metrics:
        return changed
    directory, name = os.path.join(options.state, "metrics"), metrics_name(options.job)
    with walk(directory) as metrics, walk(options.metrics) as collector:
        if collector.missing:
            raise Refusal(f"user_synchronization_metrics_directory: there is no '{options.metrics}': make it first")
        if metrics.missing:  # on a bare host, in check mode
            return True
        # An empty file keeps the collector from complaining until the first run.
        made = with_rights_of(options.user, make_file, metrics, name, 0o644, options.check)
        linked = make_link(collector, name, os.path.join(directory, name), options.check)
    return changed or made or linked


def remove(options: argparse.Namespace) -> bool:
    """Remove what the runs of a job wrote, except what the store holds."""
    logs = [options.job + ".log", *(f"{options.job}.log.{number}" for number in range(1, LOGS_KEPT + 1))]
    changed = []
    for path, names in (
        (os.path.join(options.state, "status"), [options.job + ".json", options.job + ".html"]),
        (os.path.join(options.state, "metrics"), [metrics_name(options.job)]),
        (options.log, logs),
    ):
        with walk(path) as place:
            if not place.missing:
                changed.append(with_rights_of(options.user, remove_names, place, names, options.check))
    if options.metrics:
        with walk(options.metrics) as place:
            if not place.missing:
                changed.append(remove_link(place, metrics_name(options.job), options.check))
    return any(changed)


def metrics_name(job: str) -> str:
    return f"user_synchronization_{job}.prom"


# --- Where a path leads


class Place(NamedTuple):
    """A directory, and who can write it or one above it."""

    path: str  # without links
    descriptor: int  # of it, or of the last one above it that exists
    missing: list[str]  # the names on the way from that one
    owner: int  # of the first one that is not root's; else 0
    is_open: bool  # everybody can write one
    is_shared: bool  # a group other than root's can write one
    weak: str  # the first one that others than root can write

    @property
    def is_of_root_alone(self) -> bool:
        return not self.weak


@contextlib.contextmanager
def walk(path: str) -> Iterator[Place]:
    """Give the directory at the path, or as much of the way to it as there is.

    Raises Refusal if something on the way is no directory, or a link that others than root can have made.
    """
    place = _walk(path, 0)
    try:
        yield place
    finally:
        os.close(place.descriptor)


def _walk(path: str, links: int) -> Place:
    names = [name for name in path.split("/") if name]
    place = _entered(Place("/", -1, [], 0, False, False, ""), "/")
    while names:
        try:
            place = _entered(place, names[0])
        except FileNotFoundError:
            return place._replace(path=os.path.join(place.path, *names), missing=names)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            here = os.path.join(place.path, names[0])
            target = _link(place, names[0])
            if target is None:
                raise Refusal(f"'{here}' is no directory: remove it, or name another one") from None
            if not place.is_of_root_alone or links == 40:
                raise Refusal(
                    f"'{here}' is a link, and others than root can write '{place.weak or place.path}': remove it and "
                    "look who made it, or name the directory that it leads to"
                ) from None
            os.close(place.descriptor)
            return _walk(os.path.normpath(os.path.join(place.path, target, *names[1:])), links + 1)
        names = names[1:]
    return place


def _entered(place: Place, name: str) -> Place:
    """Return the directory of that name in the place, whose descriptor is closed. Raises OSError if it is none."""
    descriptor = os.open(name, _DIRECTORY, dir_fd=place.descriptor if place.descriptor >= 0 else None)
    if place.descriptor >= 0:
        os.close(place.descriptor)
    found = os.fstat(descriptor)
    path = os.path.join(place.path, name)
    is_open = bool(found.st_mode & stat.S_IWOTH)
    is_shared = bool(found.st_mode & stat.S_IWGRP) and found.st_gid != 0
    return Place(
        path,
        descriptor,
        [],
        place.owner or found.st_uid,
        place.is_open or is_open,
        place.is_shared or is_shared,
        place.weak or (path if found.st_uid or is_open or is_shared else ""),
    )


def _link(place: Place, name: str) -> str | None:
    """Return where the link of that name in the place leads; None if it is no link."""
    try:
        return os.readlink(name, dir_fd=place.descriptor)
    except OSError:
        return None


def _exists(place: Place, name: str) -> bool:
    try:
        os.stat(name, dir_fd=place.descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


# --- With the rights of the user of the runs


def with_rights_of(user: str, do: Callable[..., bool], *arguments: object) -> bool:
    """Call a function in a process that has the rights of the user and no others; return whether it changed anything.

    Raises Refusal if it failed.
    """
    account = account_of(user)
    if account is None:
        return True
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answer: dict[str, object] = {"refusal": "an error in the role"}
        try:
            os.setgroups([])
            os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
            os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
            os.umask(0)
            answer = {"changed": do(*arguments)}
        except (Refusal, OSError) as error:
            answer = {"refusal": f"{error} (done as the user {user})"}
        finally:
            os.write(writing, json.dumps(answer).encode())
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        in_time = select.select([pipe], [], [], PATIENCE)[0]
        said = pipe.read() if in_time else b""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if not said:
        raise Refusal(f"A process of the user {user} was stopped or killed: look who did it, and run the play again")
    answer = json.loads(said)
    if "refusal" in answer:
        raise Refusal(answer["refusal"])
    return bool(answer["changed"])


def account_of(user: str) -> pwd.struct_passwd | None:
    """Return the account, or None if there is none: on a bare host, in check mode."""
    try:
        return pwd.getpwnam(user)
    except KeyError:
        return None


def make_directory(place: Place, name: str, mode: int, check: bool) -> bool:
    """Make a directory, or give it its mode."""
    if not _exists(place, name):
        if not check:
            os.mkdir(name, mode, dir_fd=place.descriptor)
        return True
    if _link(place, name) is not None:
        raise Refusal(f"'{os.path.join(place.path, name)}' is a link: remove it, and look who made it")
    descriptor = os.open(name, _DIRECTORY, dir_fd=place.descriptor)
    changes = stat.S_IMODE(os.fstat(descriptor).st_mode) != mode
    if changes and not check:
        os.fchmod(descriptor, mode)
    os.close(descriptor)
    return changes


def make_file(place: Place, name: str, mode: int, check: bool) -> bool:
    """Make an empty file unless the name is taken."""
    if _exists(place, name):
        return False
    if not check:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode, dir_fd=place.descriptor))
    return True


def remove_names(place: Place, names: list[str], check: bool) -> bool:
    """Remove whatever has one of the names."""
    there = [name for name in names if _exists(place, name)]
    for name in [] if check else there:
        try:
            os.unlink(name, dir_fd=place.descriptor)
        except IsADirectoryError:
            shutil.rmtree(os.path.join(place.path, name))
    return bool(there)


# --- What root gives away


def give_directory(path: str, user: str, mode: int, check: bool) -> bool:
    """See to it that there is the directory, that it belongs to the user and has the mode. Make those above it."""
    account = account_of(user)
    with walk(path) as place:
        if not check and place.missing:
            _make_missing(place, user, mode)
        if place.missing or account is None:
            return True
        found = os.fstat(place.descriptor)
        if found.st_uid not in (0, account.pw_uid):
            raise Refusal(f"'{path}' belongs to another user: give it to {user}, or name another directory")
        is_given = (found.st_uid, found.st_gid) == (account.pw_uid, account.pw_gid)
        if found.st_uid == 0 and os.listdir(place.descriptor):
            with walk(os.path.dirname(place.path)) as above:
                if not above.is_of_root_alone:
                    raise Refusal(
                        f"'{path}' belongs to root, and others than root can write '{above.weak}', so they may have "
                        f"put it there: give it to {user}, or name another directory"
                    )
        changes = not is_given or stat.S_IMODE(found.st_mode) != mode
        if changes and not check:
            os.fchmod(place.descriptor, mode)
            os.fchown(place.descriptor, account.pw_uid, account.pw_gid)
        return changes


def _make_missing(place: Place, user: str, mode: int) -> None:
    """Make the directories that are missing, as root or as the user, depending on whose directory they are made in.

    What root makes is root's, but for the last one.
    """
    account = pwd.getpwnam(user)
    owner = os.fstat(place.descriptor).st_uid
    if owner == account.pw_uid:
        with_rights_of(user, _make_in_own, place, mode)
        return
    if owner != 0:
        raise Refusal(f"'{place.path}' cannot be made in a directory of another user: make it, and give it to {user}")
    descriptor = os.dup(place.descriptor)
    for number, name in enumerate(place.missing, 1):
        os.mkdir(name, 0o700, dir_fd=descriptor)
        made = os.open(name, _DIRECTORY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = made
        # A group that can write, too, may have put another one in its place just now.
        if os.fstat(made).st_uid != 0 or os.listdir(made):
            raise Refusal(f"'{place.path}' was changed by somebody else while it was made: look who did it")
        if number < len(place.missing):
            os.fchmod(made, 0o755)
        else:
            os.fchmod(made, mode)
            os.fchown(made, account.pw_uid, account.pw_gid)
    os.close(descriptor)


def _make_in_own(place: Place, mode: int) -> bool:
    descriptor = place.descriptor
    for name in place.missing:
        os.mkdir(name, mode, dir_fd=descriptor)
        descriptor = os.open(name, _DIRECTORY, dir_fd=descriptor)
    return True


def give_stores(state: Place, user: str, check: bool) -> bool:
    """Give to the user the stores that root made in the state directory, by a run by hand for example.

    Such a file is root's, and has one name. Nobody but root can move a file of root's here, and nobody but root can
    link one to here as long as the kernel protects hard links (fs.protected_hardlinks, proc(5)). If it does not, none
    is given.
    """
    account = account_of(user)
    with open("/proc/sys/fs/protected_hardlinks", encoding="ascii") as file:
        is_protected = file.read().strip() != "0"
    if account is None or not is_protected:
        return False
    changed = False
    for name in sorted(os.listdir(state.descriptor)):
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in STORES):
            continue
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=state.descriptor)
        except OSError:  # a link, or gone again
            continue
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_uid == 0 and found.st_nlink == 1:
            changed = True
            if not check:
                os.fchown(descriptor, account.pw_uid, account.pw_gid)
        os.close(descriptor)
    return changed


# --- Links in a directory of others


def make_link(place: Place, name: str, target: str, check: bool) -> bool:
    """See to it that the name is a link to the target."""
    found = _link(place, name)
    if found == target:
        return False
    if found is None and _exists(place, name):
        raise Refusal(f"'{os.path.join(place.path, name)}' is no link, so it is not of this role: remove it")
    if not check:
        if found is not None:
            os.unlink(name, dir_fd=place.descriptor)
        os.symlink(target, name, dir_fd=place.descriptor)
    return True


def remove_link(place: Place, name: str, check: bool) -> bool:
    """Remove the name if it is a link."""
    if _link(place, name) is None:
        return False
    if not check:
        os.unlink(name, dir_fd=place.descriptor)
    return True


if __name__ == "__main__":
    sys.exit(main())
