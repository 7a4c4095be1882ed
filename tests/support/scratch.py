# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders for stores of which a law makes hundreds: in memory, since none of them is to outlive anything.

A store is brought to the disk several times in each run (fdatasync(2)), which takes a few milliseconds. Tests about the
file itself have it on the disk.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IN_MEMORY = "/dev/shm"  # a tmpfs, made for shared memory: shm_overview(7)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder that is gone at the end; on the disk if the system has no such file system."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None) as folder:
        yield Path(folder)
