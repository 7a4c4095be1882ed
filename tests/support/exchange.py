# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exchange two names again and again, as whoever races a privileged process does. Needs Linux and nothing else."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # renameat2(2)


def exchange(one: str, other: str) -> bool:
    """Exchange the two names at once; return whether that was possible."""
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0


@contextlib.contextmanager
def exchanging(one: str | os.PathLike, other: str | os.PathLike) -> Iterator[None]:
    """Exchange the two names all the time, in a thread."""
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            exchange(os.fspath(one), os.fspath(other))

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
