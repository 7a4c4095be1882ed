# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put what a run needs of this collection into a tar file, on the controller; print a digest of its content.

pack.py COLLECTION [FILE]      without FILE: only print the digest
"""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
from pathlib import Path

PREFIX = "ansible_collections/usersync/directory/"


def wanted(collection: Path) -> list[Path]:
    """The plugins, what says how they belong together, and the licence."""
    found = [path for path in sorted(collection.glob("plugins/**/*.py")) if "__pycache__" not in path.parts]
    return found + [collection / name for name in ("meta/runtime.yml", "LICENSE") if (collection / name).exists()]


def pack(collection: Path) -> tuple[bytes, str]:
    """Return the tar file, equal for equal content, and the digest."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in wanted(collection):
            content = path.read_bytes()
            member = tarfile.TarInfo(PREFIX + path.relative_to(collection).as_posix())
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return target.getvalue(), hashlib.sha256(target.getvalue()).hexdigest()


if __name__ == "__main__":
    packed, digest = pack(Path(sys.argv[1]))
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_bytes(packed)
    print(digest)
