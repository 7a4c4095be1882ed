# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have Python do less for the programs of tests. Python imports this when it starts, if this is in its path.

It is for the machines of `support.machine`, and for sessions.

- What is compiled of zip files is kept. Each task comes with the same source of Ansible in a zip file, and compiling it
  takes more than a quarter of the time that the task needs on its host.
- Garbage is collected seldom, and in a fork only its own. Ansible forks for each task, and a fork that looks through
  all that Ansible has loaded copies it: that is a sixth of the time of a playbook, and a tenth of that of unit tests.
- Ansible keeps more for its forks and for the next playbook, if it is to: `ansible_once` says what.
"""

from __future__ import annotations

import gc
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


def before_fork() -> None:
    """Leave to a fork what it need not do itself."""
    if "USERSYNC_TESTS_KEEP_FOR_ANSIBLE" in os.environ and "ansible.executor.process.worker" in sys.modules:
        import ansible_once

        ansible_once.prepare(os.environ["USERSYNC_TESTS_KEEP_FOR_ANSIBLE"])
    gc.freeze()


gc.set_threshold(50_000, 20, 20)
os.register_at_fork(before=before_fork)
