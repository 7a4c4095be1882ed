# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A function in a process of its own: to be killed, to be another user, or to be at work beside others."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any


class Forked:
    """A fork of this process that runs one function and ends.

    What the function prints can be read here, line by line as it comes; a traceback, too. Files that are open here are
    closed there, so that it holds no lock of this process (flock(2) is shared by forks).
    """

    def __init__(self, function: Callable[..., object], *arguments: Any) -> None:
        reading, writing = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _run(writing, function, arguments)
        os.close(writing)
        self._output = os.fdopen(reading, encoding="utf-8")

    def read_line(self) -> str:
        """Wait for the next line that it prints, and give it without its end; empty if it ended before."""
        return self._output.readline().rstrip("\n")

    def wait(self) -> str:
        """Wait for its end, and give what it printed that was not read yet."""
        with self._output:
            printed = self._output.read()
        status = os.waitpid(self.pid, 0)[1]
        self.ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        """The signal that ended it, if one did."""
        return printed

    def kill(self) -> None:
        """End it where it is, and wait until it has ended."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()


def _run(output: int, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    """What the fork does. It never comes back: what pytest would do at its end is left to the original."""
    status = 1
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        _close_files()
        sys.stdout = sys.stderr = os.fdopen(1, "w", encoding="utf-8", buffering=1)
        function(*arguments)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def _close_files() -> None:
    """Close all but the three that every process has."""
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2:
            with contextlib.suppress(OSError):  # the listing itself had one open
                os.close(descriptor)
