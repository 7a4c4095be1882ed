# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders that tests work in, and what can be seen of them."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

IN_MEMORY = "/dev/shm"  # a tmpfs, made for shared memory: shm_overview(7)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder in memory, gone at the end; on the disk if the system has no such file system.

    For laws, which make hundreds of stores. Each run brings its store to the disk several times (fdatasync(2)), which
    takes milliseconds. Tests about the file itself have it on the disk.
    """
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None) as folder:
        yield Path(folder)


def trace(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Everything that the file system shows of a folder and of what is in it, the time of the last access apart."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        found[str(path)] = (
            status.st_mode,
            status.st_uid,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            content,
        )
    return found


@contextmanager
def out_of_reach(path: Path) -> Iterator[None]:
    """Meanwhile, this process may neither read the file nor go into the directory. It is not root meanwhile.

    It must not lie in pytest's tmp_path: nobody else gets in there.
    """
    user, mode = os.geteuid(), stat.S_IMODE(path.stat().st_mode)
    path.chmod(0)
    if user == 0:
        os.seteuid(65534)  # root can read everything
    try:
        yield
    finally:
        os.seteuid(user)
        path.chmod(mode)
