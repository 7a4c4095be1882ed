# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that loads once what is slow to load, and forks for each run.

Starting Python and loading the libraries of a module takes ten times as long as most runs of it, and most of a short
playbook's time is the start of Ansible. A fork has all of it, and ends with its run.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .process import ClosedAtExit

_TESTS = Path(__file__).resolve().parents[1]


class Forks(ClosedAtExit):
    """The process, as a context manager.

    :param code: what it executes, in the directory of the tests: it loads, and calls `serve`.
    :param env: its environment, if not that of the tests.
    :param at_most: seconds that a run may take.
    """

    def __init__(self, code: str, *, env: Mapping[str, str] | None = None, at_most: int) -> None:
        self._code, self._env, self._at_most = code, env, at_most

    def start(self) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", sys.executable, "-c", self._code],
            cwd=_TESTS,
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def close(self) -> None:
        """Let it end."""
        if hasattr(self, "_process"):
            self._process.communicate()

    def run(self, **request: Any) -> int:
        """Have it fork for a request, and wait for the exit status."""
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answered, *_others = select.select([self._process.stdout], [], [], self._at_most)
        if not answered:
            self._process.kill()
            raise AssertionError(f"It did not end within {self._at_most} s: {request}")
        return int(self._process.stdout.readline())


# --- in the process that forks


def serve(run: Callable[..., int]) -> None:
    """Fork for each request on standard input, and answer with the exit status, until there are no more.

    :param run: is called in the fork with what was given to `Forks.run`. It returns the exit status, or exits.
    """
    atexit._clear()  # a fork is to tidy up after itself only
    for line in sys.stdin.buffer:
        child = os.fork()
        if not child:
            _end(_status(run, json.loads(line)))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _status(run: Callable[..., int], request: dict[str, Any]) -> int:
    try:
        return run(**request)
    except SystemExit as end:
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1


def _end(code: int) -> None:
    """End this process without freeing its memory one object after the other, which takes longer than most runs."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
