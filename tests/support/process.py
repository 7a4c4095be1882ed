# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that the test servers are made of: finding, running, starting and stopping them."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import functools
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

# Locks are for all of the machine, so all checkouts look here: nox gives each session a TMPDIR of its own.
LOCKS = Path("/tmp")

Entry = dict[str, list["str | bytes"]]
T = TypeVar("T")


class MissingProgram(RuntimeError):
    """A server's program is not installed; the message says which packages bring it."""


def find_program(name: str, packages: str) -> str:
    """Path of program `name`, also looked for in sbin. :raises MissingProgram: names the Debian packages to install."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")
    if path is None:
        raise MissingProgram(f"{name} is not installed. Install it, as root: apt-get install {packages}")
    return path


def run(command: list[str], *, text: str | None = None, env: dict[str, str] | None = None, seconds: int = 600) -> str:
    """Run `command` for at most so many seconds, with `text` on its standard input; return its standard output.

    :raises RuntimeError: with the program's own words when it fails.
    """
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, encoding="utf-8", env=env, check=False, timeout=seconds
    )
    if done.returncode:
        said = f"{done.stderr.strip()} {done.stdout.strip()}".strip()
        raise RuntimeError(f"{Path(command[0]).name} ended with {done.returncode}: {said}")
    return done.stdout


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on, and that nobody else in these tests is given.

    It lies below those that Linux gives to outgoing connections (ip_local_port_range, 32768 and up): one of them could
    take it until the server listens.
    """
    while True:
        port = random.SystemRandom().randrange(20000, 32768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            fcntl.lockf(_port_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port


_given: set[int] = set()


@functools.cache
def _port_locks() -> IO[bytes]:
    """A file with a byte for each port: this process locks those of its ports, as long as it lives."""
    return open(LOCKS / f"usersync-ports-{os.getuid()}", "ab")


class ClosedAtExit:
    """What has `start()` and `close()`, as a context manager: closed also when it cannot be started."""

    def __enter__(self: T) -> T:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class Server:
    """A program in the foreground, as a child of this process, with its output in a file."""

    def __init__(
        self, command: list[str], log: Path, env: dict[str, str] | None = None, keeps: IO[str] | None = None
    ) -> None:
        """Start it. With `keeps`, the program has this file open until it ends: a lock on it lasts as long."""
        self.name, self.log = Path(command[0]).name, log
        with open(log, "ab") as output:
            # A group of its own, so that a terminal's Ctrl-C stops the test first and the test stops the server;
            # and a signal when the test dies without stopping it.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                start_new_session=True,
                pass_fds=[keeps.fileno()] if keeps else (),
            )

    def wait_until(self, answers: Callable[[], bool], seconds: float) -> None:
        """Wait for `answers` to be true. :raises RuntimeError: with the end of the log when it never is."""
        deadline, pause = time.monotonic() + seconds, 0.01
        while not answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                state = "ended" if self.process.poll() is not None else f"did not answer within {seconds:.0f} s"
                self.stop()
                end = "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
                raise RuntimeError(f"{self.name} {state}:\n{end}")
            time.sleep(pause)
            pause = min(0.2, 1.5 * pause)

    def stop(self) -> None:
        """Ask the program to end, and see to it that it does."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


def parse_ldif(text: str) -> dict[str, Entry]:
    """Entries by DN from unwrapped LDIF (RFC 2849); values are text, or bytes where they are not UTF-8."""
    entries: dict[str, Entry] = {}
    entry: Entry = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        name, value = line.split(":", 1)
        decoded = _decode(base64.b64decode(value[1:])) if value.startswith(":") else value.strip()
        if name == "dn":
            entry = entries[str(decoded)] = {}
        else:
            entry.setdefault(name, []).append(decoded)
    return entries


def _decode(value: bytes) -> str | bytes:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value
