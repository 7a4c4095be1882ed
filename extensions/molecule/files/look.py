# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print as JSON what is known on a machine: the results of its jobs, what is in the store, what runs told the journal.

look.py STATE-DIRECTORY STORE [JOB OUTCOME COUNT]    first wait until so many runs of the job have ended in this way
"""

from __future__ import annotations

import collections
import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

DEADLINE = 300  # seconds


def main(state: Path, store: Path, job: str = "", outcome: str = "", count: str = "0") -> None:
    if job:
        wait_until(lambda: runs(state, job).get(outcome, 0) >= int(count), f"{count} runs of {job}: {outcome}", state)
    ended = {each: sum(runs(state, each).values()) for each in results(state)}
    # A run leaves its result before it tells of it, and the journal is written by a process of its own.
    wait_until(lambda: not collections.Counter(ended) - told(), f"the journal of {ended} runs")
    print(json.dumps({"results": results(state), "journal": told_by_runs(), **stored(store)}))


def wait_until(is_so: Callable[[], bool], what: str, state: Path | None = None) -> None:
    end = time.monotonic() + DEADLINE
    while not is_so():
        if time.monotonic() > end:
            seen = json.dumps(results(state), indent=1) if state else ""
            sys.exit(f"Not seen within {DEADLINE} seconds: {what}\n{seen}\n" + "\n".join(journal("--lines=300")))
        time.sleep(0.2)


def results(state: Path) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in state.glob("status/[!.]*.json")}


def runs(state: Path, job: str) -> dict[str, int]:
    return results(state).get(job, {}).get("runs", {})


def journal(*which: str) -> list[str]:
    command = ["journalctl", "--no-pager", *which]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


def told_by_runs() -> list[str]:
    return journal("--output=cat", "--identifier=user_synchronization")


def told() -> collections.Counter[str]:
    """How many runs of each job have told the journal how they ended."""
    return collections.Counter(json.loads(line)["job"] for line in told_by_runs() if line.startswith("{"))


def stored(path: Path) -> dict[str, list[str]]:
    """Names in the store, and memberships as PARENT/GROUP/USER. A copy is read: sqlite3 would write beside a store."""
    found: list[dict[str, list[str]]] = []

    def read_whole() -> bool:
        before = files_of(path)
        try:
            found[:] = [read(path, before)]
        except (OSError, sqlite3.DatabaseError):  # a run has just removed one, or copies do not fit together
            return False
        return files_of(path) == before

    wait_until(read_whole, "the store between two runs")
    return found[0]


def files_of(path: Path) -> dict[Path, tuple[int, int]]:
    """The files of the store, each with what a write changes."""
    found = {}
    for each in path.parent.glob(path.name + "*"):
        with contextlib.suppress(FileNotFoundError):
            found[each] = (each.stat().st_mtime_ns, each.stat().st_size)
    return found


def read(path: Path, files: Iterable[Path]) -> dict[str, list[str]]:
    with tempfile.TemporaryDirectory() as copy:
        for each in files:
            shutil.copy(each, copy)
        store = sqlite3.connect(Path(copy, path.name))
        if not store.execute("SELECT 1 FROM sqlite_master WHERE name = 'users'").fetchone():
            return {"users": [], "members": []}
        members = store.execute(
            "SELECT p.name, g.name, u.name FROM memberships m JOIN user_groups g ON g.id = m.user_group_id"
            " JOIN user_groups p ON p.id = g.parent_id JOIN users u ON u.id = m.user_id"
        )
        return {
            "members": sorted("/".join(row) for row in members),
            "users": sorted(name for (name,) in store.execute("SELECT name FROM users")),
        }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
