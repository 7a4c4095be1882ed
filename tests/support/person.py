# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody at a terminal of a `support.machine`, who types commands as a page shows them, and answers questions."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).resolve().parents[1]
_AT_MOST = 600.0  # seconds that a command may take


class Person:
    """One user of a machine.

    :param facts: of the machine: see `support.machine`.
    :param user: the name of the account.
    :param directory: where commands are typed.
    :param answers: what to type when a line that asks begins so, such as ``Vault password``.
    """

    def __init__(self, facts: Mapping[str, Any], user: str, directory: str, answers: Mapping[str, str]) -> None:
        self.facts, self._user, self._directory, self._answers = facts, user, directory, answers

    def types(self, command: str, at: str = "") -> str:
        """Have the user's shell run a command, there or in `directory`, and give what it printed.

        :raises AssertionError: when it fails.
        """
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        # A login shell, as at a terminal: it reads ~/.profile. -tt is that terminal.
        shell = "cd %s && %s" % (at or self._directory, command)
        process = subprocess.Popen(
            ["ssh", "-tt", "-i", self.facts["key"], "-p", str(self.facts["port"])]
            + [word for option in options for word in ("-o", option)]
            + [f"{self._user}@127.0.0.1", "exec bash -lc " + _quoted(shell)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdin and process.stdout
        printed, answered, end = "", 0, time.monotonic() + _AT_MOST
        while read := self._read(process, end):
            printed += read.decode("utf-8", "replace").replace("\r\n", "\n")
            question = re.search(r"([^\n]*)(?:\([^\n]*\))?: ?\Z", printed[answered:])
            for begin, answer in self._answers.items():
                if question and question.group(1).startswith(begin):
                    answered = len(printed)
                    process.stdin.write(answer.encode() + b"\n")
                    process.stdin.flush()
        with process.stdin, process.stdout:
            status = process.wait()
        assert status == 0, f"{command}\n{printed}"
        return printed

    def _read(self, process: subprocess.Popen[bytes], end: float) -> bytes:
        assert process.stdout
        if not select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
            process.kill()
            raise AssertionError("it did not end")
        return os.read(process.stdout.fileno(), 65536)


def _quoted(text: str) -> str:
    return "'%s'" % text.replace("'", "'\\''")


@contextlib.contextmanager
def booted(directory: Path) -> Iterator[dict[str, Any]]:
    """A machine of its own, in this directory; the facts about it."""

    def have(what: str) -> None:
        subprocess.run([sys.executable, "-m", "support.machine", what, str(directory)], cwd=_TESTS, check=True)

    have("start")
    try:
        yield json.loads((directory / "facts.json").read_text(encoding="utf-8"))
    finally:
        have("stop")


@contextlib.contextmanager
def answering_at(address: str, port: int, at: int) -> Iterator[None]:
    """Have a port of 127.0.0.1 answer at another address of the loopback interface, at the port that pages speak of."""
    with socket.create_server((address, at)) as listener:
        threading.Thread(target=_listen, args=(listener, port), daemon=True).start()
        yield
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _listen(listener: socket.socket, port: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            here = listener.accept()[0]
            there = socket.create_connection(("127.0.0.1", port))
            for pair in ((here, there), (there, here)):
                threading.Thread(target=_pass_on, args=pair, daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
