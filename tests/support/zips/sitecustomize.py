# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have Python keep what it compiles of zip files. Python imports this when it starts, where this is in its path.

Each task comes with the same source of Ansible in a zip file, and compiling it takes more than a quarter of the time
that the task needs on its host. It is for the machines of `support.machine`, and for the sessions that run playbooks.
"""

from __future__ import annotations

import marshal
import os
import sys
import zipimport
from _imp import source_hash
from types import CodeType

# Only root can write there. A session's is a directory of its own.
KEPT = os.environ.get("USERSYNC_TESTS_KEEP_COMPILED", "/run/compiled")
_compile = zipimport._compile_source  # type: ignore[attr-defined]


def compiled(path: str, source: bytes) -> CodeType:
    """Return the code of a module, compiled at any time since the machine was booted."""
    within = path.partition(".zip/")[2].encode("utf-8")
    kept = f"{KEPT}/{source_hash(0, within + source).hex()}.{sys.implementation.cache_tag}"
    try:
        with open(kept, "rb") as file:
            return marshal.load(file)
    except OSError:
        code = _compile(path, source)
        if not os.getuid():
            _keep(kept, code)
        return code


def _keep(kept: str, code: CodeType) -> None:
    os.makedirs(KEPT, exist_ok=True)
    new = f"{kept}.{os.getpid()}"
    with open(new, "wb") as file:
        marshal.dump(code, file)
    os.rename(new, kept)


zipimport._compile_source = compiled  # type: ignore[attr-defined]
