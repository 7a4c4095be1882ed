# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody does who got the rights of the role's service user, and whether root loses anything by it.

The scenarios copy this file to the machine, and run it there as root. It needs Python and nothing else. USER is the
service user, STATE and LOG are the directories that it writes, and JOB is a job.

    attack.py record FILE                        write down who owns what, with which mode and content
    attack.py compare FILE                       fail if anything that was written down is another by now
    attack.py put USER STATE                     as USER: put links in the place of a directory and a store
    attack.py take-back USER STATE               as USER: undo that
    attack.py statuses USER STATE JOB            put other things in the place of a status, and have root look at it
    attack.py race USER STATE LOG                as USER: exchange everything for links and FIFOs, until it is ended
    attack.py during USER STATE LOG JOB PLACES   meanwhile do what root does; PLACES is the program of the role for that
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import pty
import pwd
import random
import re
import select
import signal
import stat
import subprocess
import sys
import termios
import time
from typing import Callable

PROGRAM = "/usr/local/sbin/user_synchronization"
OF_ROOT = ("/boot", "/etc", "/opt", "/root", "/srv", "/usr", "/var/lib/dpkg", "/var/lib/systemd", "/var/spool")
# Root changes these all the time, or the tests do.
LEFT_OUT = (
    "/root/.ansible",
    "/root/.cache",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/timers",
    "/var/spool/cron",
)

LINK = ".link-"
# Where a link leads that root would follow: directories to give away or to write to, a file to give away or to read.
TARGETS = ("/etc/cron.d", "/etc/shadow", "/root/.ssh")
ROUNDS = 10


# --- What root has


def record(file: str) -> None:
    with open(file, "w", encoding="utf-8") as target:
        json.dump(_seen(), target)


def compare(file: str) -> None:
    with open(file, encoding="utf-8") as source:
        before = json.load(source)
    after = _seen()
    wrong = [
        f"{path}: was {before.get(path)}, is {after.get(path)}"
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    ]
    if wrong:
        sys.exit("\n".join(wrong[:50]))
    print(f"{len(before)} files and directories are as they were")


def _seen() -> dict[str, list]:
    """Owner, group, mode and content of all that is root's, by path. What is another user's is left out."""
    found = {}
    for top in OF_ROOT:
        for directory, directories, files in os.walk(top):
            directories[:] = [
                each for each in directories if each != "__pycache__" and os.path.join(directory, each) not in LEFT_OUT
            ]
            for name in directories + files:
                path = os.path.join(directory, name)
                status = os.lstat(path)
                content = ""
                if stat.S_ISLNK(status.st_mode):
                    content = os.readlink(path)
                elif stat.S_ISREG(status.st_mode):
                    with open(path, "rb") as file:
                        content = hashlib.sha256(file.read()).hexdigest()
                found[path] = [status.st_uid, status.st_gid, oct(status.st_mode), content]
            # What is in a directory of the service user is its own.
            directories[:] = [each for each in directories if found[os.path.join(directory, each)][0] == 0]
    return found


# --- What the service user does


def _become(user: str) -> None:
    account = pwd.getpwnam(user)
    os.setgroups([account.pw_gid])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def put(user: str, state: str) -> None:
    _become(user)
    os.rename(f"{state}/metrics", f"{state}/.metrics")
    os.symlink("/etc/cron.d", f"{state}/metrics")
    os.symlink("/etc/shadow", f"{state}/x.db")


def take_back(user: str, state: str) -> None:
    _become(user)
    os.unlink(f"{state}/metrics")
    os.rename(f"{state}/.metrics", f"{state}/metrics")
    os.unlink(f"{state}/x.db")


def statuses(user: str, state: str, job: str) -> None:
    path = f"{state}/status/{job}.json"
    with open(path, encoding="utf-8") as file:
        good = file.read()
    with open(PROGRAM, encoding="utf-8") as file:
        programs = re.search(r"(/\S+)/user_synchronization\.py", file.read()).group(1)
    for what, content in (
        ("link", "/etc/shadow"),
        ("link", programs + "/settings.json"),
        ("fifo", ""),
        ("directory", ""),
        ("file", good.replace("succeeded", "suc\x1bceeded")),
        ("file", json.dumps({**json.loads(good), "message": "\x1b[2J\x9b\u202e"}, ensure_ascii=False)),
        ("file", good),
    ):
        _as_user(user, _put, path, what, content)
        for arguments in (["status"], ["status", job]):
            _check_printable(_say([PROGRAM, *arguments]))


def _put(path: str, what: str, content: str) -> None:
    _remove(path)
    if what == "link":
        os.symlink(content, path)
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "directory":
        os.mkdir(path)
    else:
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


def _as_user(user: str, do: Callable[..., None], *arguments: str) -> None:
    child = os.fork()
    if child == 0:
        try:
            _become(user)
            do(*arguments)
            os._exit(0)
        finally:
            os._exit(1)
    if os.waitpid(child, 0)[1]:
        sys.exit("the attack failed")


def race(user: str, *directories: str) -> None:
    """Exchange one name after the other at once for a link or a FIFO, and back after a moment.

    So root meets it before, after, and between two looks.
    """
    _become(user)
    for name in ("x.db", "x.db-wal", "x.db.backup-x"):  # what root may take for stores
        os.close(os.open(os.path.join(directories[0], name), os.O_CREAT | os.O_WRONLY, 0o600))
    pairs = []
    for directory in (*directories, f"{directories[0]}/metrics", f"{directories[0]}/status"):
        for name in sorted(os.listdir(directory)):
            for number, target in enumerate((*TARGETS, None) if not name.startswith(LINK) else ()):
                other = os.path.join(directory, f"{LINK}{number}-{name}")
                os.symlink(target, other) if target else os.mkfifo(other)
                pairs.append((os.path.join(directory, name).encode(), other.encode()))
    ended: list = []
    signal.signal(signal.SIGTERM, lambda *dummy: ended.append(True))
    print(len(pairs), "names", flush=True)
    exchange = ctypes.CDLL(None).renameat2
    here, at_once = -100, 2  # AT_FDCWD, RENAME_EXCHANGE: renameat2(2)
    while not ended:
        one, other = random.choice(pairs)
        if exchange(here, one, here, other, at_once) == 0:
            time.sleep(random.uniform(0, 0.003))
            exchange(here, one, here, other, at_once)
    for dummy, other in pairs:
        _remove(other.decode())
    for name in ("x.db", "x.db-wal", "x.db.backup-x"):
        _remove(os.path.join(directories[0], name))


# --- What root does meanwhile


def during(user: str, state: str, log: str, job: str, places: str) -> None:
    of_all = ["--user", user, "--state", state]
    refused = 0
    for dummy in range(ROUNDS):
        for arguments in (
            ["make", *of_all, "--log", log],
            ["make-for-job", *of_all, "--job", "x", "--store", f"{state}/stores", "--metrics", f"{state}/metrics"],
            ["remove", *of_all, "--log", log, "--job", "x", "--metrics", f"{state}/metrics"],
        ):
            refused += bool(json.loads(_say([sys.executable, "-I", places, *arguments]))["refusal"])
        _check_printable(_say([PROGRAM, "status"]))
        _check_printable(_say([PROGRAM, "status", job]))
    if not refused:
        sys.exit("the attack was not noticed once, so it was none")
    _watch(user, [PROGRAM, "run", job])
    _watch(user, [PROGRAM, "check", job])


def _say(command: list[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    if "Traceback" in done.stdout:
        sys.exit(done.stdout)
    return done.stdout


def _check_printable(text: str) -> None:
    strange = [line for line in text.split("\n") if not line.isprintable()]
    if strange:
        sys.exit(f"it printed {strange}")


def _watch(user: str, command: list[str]) -> None:
    """Run the command as root on a terminal; fail if a process of the user can get at this terminal meanwhile.

    A process that has it as its controlling terminal, or has it open, could type on it (TIOCSTI) or write to it.
    """
    number = pwd.getpwnam(user).pw_uid
    before = set(_processes_of(number))
    terminal, other_end = pty.openpty()
    device, said, looked_at, wrong = os.ttyname(other_end), b"", set(), set()
    process = subprocess.Popen(
        command,
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(other_end)
    while True:
        if select.select([terminal], [], [], 0.02)[0]:
            try:
                said += os.read(terminal, 65536)
            except OSError:  # EIO: nobody has it open any more
                break
        for each in set(_processes_of(number)) - before:
            looked_at.add(each)
            wrong |= {f"{each} {what}" for what in _of_terminal(each, device)}
    process.wait()
    _check_printable(said.decode("utf-8", "surrogateescape").replace("\r\n", "\n"))
    if wrong or not looked_at:
        sys.exit(f"{command}: {sorted(wrong)} of {len(looked_at)} processes")


def _processes_of(number: int) -> list[str]:
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{process}/status", encoding="utf-8") as file:
            if f"\nUid:\t{number}\t" in file.read():
                found.append(process)
    return found


def _of_terminal(process: str, device: str) -> list[str]:
    found = []
    with contextlib.suppress(OSError):
        with open(f"/proc/{process}/stat", encoding="utf-8") as file:
            if re.sub(r".*\)", "", file.read()).split()[4] != "0":  # proc_pid_stat(5): tty_nr
                found.append("has a controlling terminal")
        for descriptor in os.listdir(f"/proc/{process}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{process}/fd/{descriptor}") == device:
                    found.append("has the terminal open")
    return found


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
