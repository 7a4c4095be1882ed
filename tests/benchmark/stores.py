# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure a store in PostgreSQL beside one in a file, in turns; and many directories that share one.

Called by nox with the Python of the virtual environment. The results go into the JSON file of `measure.py`, beside what
is there.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import measure

sys.path.insert(0, str(measure.HERE.parent))
# The checkout becomes importable as a collection by it.
import conftest  # noqa: F401 # pylint: disable=unused-import
from support import stored
from support.postgresql import PostgreSQL
from support.slapd import Slapd

_OVERLAYS = ("syncprov\nsyncprov-sessionlog 10000",)
# As a server of somebody who wants to keep what is written. What is not here is as PostgreSQL has it by itself.
_DURABLE = {"fsync": "on", "shared_buffers": "256MB", "max_wal_size": "4GB"}
_MEMBERS = "view_effective_members"


class Server(PostgreSQL):
    """A PostgreSQL server, and the time of processors that it has taken."""

    def __init__(self) -> None:
        super().__init__(settings=_DURABLE)

    def cpu_seconds(self) -> float:
        """Of all its processes, those that have ended included."""
        server = int((self.socket / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0])
        running = Path(f"/proc/{server}/task/{server}/children").read_text(encoding="ascii").split()
        ticks = _ticks(server, 4) + sum(_ticks(int(child), 2) for child in running)
        return ticks / os.sysconf("SC_CLK_TCK")


def _ticks(process: int, fields: int) -> int:
    """Its utime and stime, and with four fields cutime and cstime (proc(5)); 0 of a process that has ended."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return 0
    return sum(map(int, text.rpartition(")")[2].split()[11 : 11 + fields]))


def _run(options: Path, folder: Path) -> dict[str, Any]:
    """One run of a process of its own: what it took, and what it says of that."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(measure.HERE / "collection.py"), "run", str(options)]
    taken: dict[str, Any] = measure.measure(command, {}, folder)
    result = json.loads((folder / "output").read_text(encoding="utf-8"))
    more = {key: round(result[key], 4) for key in ("engine_seconds", "waited_seconds", "tries")}
    return {**taken, **more, "mode": result["read"]["mode"], "changed": result["changed"]}


def _median(several: list[dict[str, Any]]) -> dict[str, Any]:
    numbers = [name for name, value in several[0].items() if isinstance(value, float)]
    return {name: round(statistics.median(each[name] for each in several), 4) for name in numbers}


# --- one store beside the other --------------------------------------------------------------------------------------


def compare(users: int, rounds: int) -> dict[str, Any]:
    """Each round does the same with a file and with a database, one after the other."""
    with measure._folder() as folder, ExitStack() as stack:
        counts = measure._generate("openldap", users, rounds, folder)
        slapd = stack.enter_context(Slapd(ldif=folder / "load.ldif", overlays=_OVERLAYS))
        (folder / "load.ldif").unlink()
        server = stack.enter_context(Server())
        places = {"sqlite": f"{folder}/{{}}.db", "postgresql": f"{server.uri}&schema={{}}"}
        taken: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for place, where in places.items():
            for mode, store in (("full", "kept"), ("incremental", "marked")):  # a full run leaves no mark
                _run(_options(slapd, where.format(store), mode, folder / f"{place}-{mode}.json"), folder / "run")
        for turn in range(1, rounds + 1):
            for row, place, options in _turn(slapd, server, places, folder, turn):
                before = server.cpu_seconds()
                done = _run(options, folder / "run")
                assert done["mode"] == row.partition("_")[0] or "incremental" not in row, done
                done["server_cpu_seconds"] = round(server.cpu_seconds() - before, 4)
                taken.setdefault(row, {}).setdefault(place, []).append(done)
                print(f"  round {turn}  {row:20} {place:10} {done['seconds']:8.2f} s", file=sys.stderr, flush=True)
            for place, seconds in _effective(server, folder / "kept.db").items():
                taken.setdefault("effective_members", {}).setdefault(place, []).append({"seconds": seconds})
        rows = {
            row: {place: {**_median(several), "measured": several} for place, several in of.items()}
            for row, of in taken.items()
        }
        pairs = int(server.rows(f"SELECT count(*) FROM kept.{_MEMBERS}")[0][0])
        version = server.rows("SHOW server_version")[0][0].split()[0]
        return {**counts, "rounds": rounds, "effective": pairs, "postgresql": version, "rows": rows}


def _options(slapd: Slapd, store: str, mode: str, file: Path, **more: Any) -> Path:
    options = {**measure._server(slapd).options, "store": store, "read_mode": mode, **more}
    file.write_text(json.dumps(options), encoding="utf-8")
    return file


def _turn(
    slapd: Slapd, server: Server, places: dict[str, str], folder: Path, turn: int
) -> Iterator[tuple[str, str, Path]]:
    """What is measured in a round: (row, place, options), each when what goes before it is done."""
    for place, where in places.items():
        for file in folder.glob("first.db*"):
            file.unlink()
        server.run("SET client_min_messages = warning; DROP SCHEMA IF EXISTS first CASCADE")
        yield "first_run", place, _options(slapd, where.format("first"), "full", folder / "first.json")
    for place in places:
        yield "nothing_to_do", place, folder / f"{place}-full.json"
    for place in places:
        yield "incremental_nothing", place, folder / f"{place}-incremental.json"
    slapd.modify((folder / f"few-{turn}.ldif").read_text(encoding="utf-8"))
    for place in places:
        yield "incremental_few", place, folder / f"{place}-incremental.json"


def _effective(server: Server, file: Path) -> dict[str, float]:
    """Seconds in which all effective members are counted, by the view."""
    stores = {"sqlite": str(file), "postgresql": f"{server.uri}&schema=kept"}
    return {place: _counted(store) for place, store in stores.items()}


def _counted(store: str) -> float:
    started = time.perf_counter()
    stored.values(store, f"SELECT count(*) FROM {_MEMBERS}")
    return round(time.perf_counter() - started, 4)


# --- many directories, one store -------------------------------------------------------------------------------------


def fleet(directories: int, users: int, writers: int) -> dict[str, Any]:
    """Directories that so many processes synchronize into one store, each one directory after the other."""
    with measure._folder() as folder, ExitStack() as stack:
        counts = measure._generate("openldap", users, 0, folder)
        servers = [stack.enter_context(_site(number, folder)) for number in range(1, directories + 1)]
        server = stack.enter_context(Server())
        store = f"{server.uri}&schema=fleet"
        phases = {}
        for phase, mode in (("first_run", "full"), ("nothing_to_do", "full"), ("incremental_nothing", "incremental")):
            jobs = [
                _options(
                    slapd,
                    store,
                    mode,
                    folder / f"{phase}-{number}.json",
                    name=f"site{number}",
                    user_group=f"All/Site {number}",
                    store_timeout=600,
                )
                for number, slapd in enumerate(servers, 1)
            ]
            if phase == "incremental_nothing":
                _at_once(jobs, writers, folder)  # leaves a mark for the next one
            before, started = server.cpu_seconds(), time.perf_counter()
            several = _at_once(jobs, writers, folder)
            phases[phase] = {
                "seconds": round(time.perf_counter() - started, 2),
                "server_cpu_seconds": round(server.cpu_seconds() - before, 2),
                "runs": _median(several),
                "slowest": max(each["seconds"] for each in several),
                "peak_mb": max(each["peak_mb"] for each in several),
                "waited_seconds": round(sum(each["waited_seconds"] for each in several), 2),
                "longest_wait": max(each["waited_seconds"] for each in several),
                "tries": max(each["tries"] for each in several),
                "measured": several,
            }
            print(f"  {phase:20} {phases[phase]['seconds']:8.2f} s", file=sys.stderr, flush=True)
        counted = {
            name: int(server.rows(f"SELECT count(*) FROM fleet.{name}")[0][0]) for name in ("users", "memberships")
        }
        megabytes = int(server.rows("SELECT pg_database_size('postgres')")[0][0]) / 1e6
        return {
            "directories": directories,
            "users_each": counts["users"],
            "writers": writers,
            **counted,
            "database_mb": round(megabytes),
            "phases": phases,
        }


@contextmanager
def _site(number: int, folder: Path) -> Iterator[Slapd]:
    """The same company as a directory of its own: with another suffix it is another one."""
    site = f"site{number}"
    loaded = folder / "site.ldif"
    with open(folder / "load.ldif", encoding="utf-8") as source, open(loaded, "w", encoding="utf-8") as target:
        for line in source:
            target.write(line.replace("dc=example,", f"dc={site},") if line != "dc: example\n" else f"dc: {site}\n")
    with Slapd(f"dc={site},dc=org", loaded, overlays=_OVERLAYS) as slapd:
        loaded.unlink()
        print(f"  directory {number}", file=sys.stderr, flush=True)
        yield slapd


def _at_once(jobs: list[Path], writers: int, folder: Path) -> list[dict[str, Any]]:
    """Run all, so many at a time; what each took."""
    waiting: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    done: list[dict[str, Any]] = []
    failed: list[BaseException] = []

    def work(writer: int) -> None:
        try:
            while not waiting.empty():
                done.append(_run(waiting.get_nowait(), folder / f"writer-{writer}"))
        except queue.Empty:
            pass
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a store in PostgreSQL.")
    parser.add_argument("--users", type=int, default=100_000, help="0: leave the comparison out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--fleet", type=int, nargs=3, default=[20, 50_000, 4], metavar=("DIRECTORIES", "USERS", "WRITERS")
    )
    parser.add_argument("--into", type=Path, required=True, help="the JSON file")
    arguments = parser.parse_args()
    result = json.loads(arguments.into.read_text(encoding="utf-8")) if arguments.into.exists() else {}
    result["machine_of_stores"] = measure.machine()
    if arguments.users:
        print(f"A file and PostgreSQL, {arguments.users} users", file=sys.stderr, flush=True)
        result["stores"] = compare(arguments.users, arguments.rounds)
    if arguments.fleet[0]:
        print("{} directories of {} users, {} writers".format(*arguments.fleet), file=sys.stderr, flush=True)
        result["fleet"] = fleet(*arguments.fleet)
    arguments.into.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
