# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exchange two names again and again, as whoever races a process of root does. Needs Linux and nothing else."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # renameat2(2)


def exchange_for_ever(one: str, other: str) -> None:
    """Exchange the two names until this process is ended; print a line when that has begun."""
    renameat2, names = ctypes.CDLL(None).renameat2, (os.fsencode(one), os.fsencode(other))
    renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)
    print(flush=True)
    while True:
        renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)


@contextlib.contextmanager
def exchanging(one: str | os.PathLike, other: str | os.PathLike) -> Iterator[None]:
    """Have a process of its own exchange the two names all the time."""
    command = [sys.executable, "-I", __file__, os.fspath(one), os.fspath(other)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            process.stdout.readline()
            yield
        finally:
            process.kill()


if __name__ == "__main__":
    exchange_for_ever(*sys.argv[1:])
