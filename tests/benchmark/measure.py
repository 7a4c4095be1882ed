# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure who reads a directory how fast, in turns, against one server; the results go into a JSON file.

Called by `run`, with the Python of the virtual environment whose clients are measured. Every row is a process of its
own, from its start to its end. Keep what is imported here small: the peak memory that the kernel tells of a child is
at least that of its parent when it forked.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))

from support.process import find_program  # noqa: E402
from support.slapd import Slapd  # noqa: E402

NAME = "benchmark"
SLOW_ABOVE = 100_000  # users: what takes minutes there is left out of larger directories


class Server(NamedTuple):
    """Where everybody reads, and as whom."""

    url: str
    ca: str | None
    login: str
    password: str
    options: dict[str, Any]  # of user_synchronization


class Row(NamedTuple):
    """One line of the table: a command, and what to do before it that does not count."""

    name: str
    command: list[str]
    prepare: Callable[[int], None]  # takes the round, from 1
    environment: dict[str, str]
    slow: bool
    expected: Callable[[dict], bool] | None  # of the result that it prints


# It keeps what it compiled, as usual, whatever the one does that measures.
_PYTHON = {"PYTHONDONTWRITEBYTECODE": ""}


# --- one measurement -------------------------------------------------------------------------------------------------


def measure(command: list[str], environment: dict[str, str], folder: Path) -> dict[str, float]:
    """Run the command; seconds from start to end, and the peak memory in MB of its largest process."""
    with open(folder / "output", "wb") as output, open(folder / "errors", "wb") as errors:
        started = time.perf_counter()
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env={**os.environ, **_PYTHON, **environment},
            cwd=folder,
        )
        _pid, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        said = "".join(
            (folder / name).read_text(encoding="utf-8", errors="replace")[-3000:] for name in ("output", "errors")
        )
        raise SystemExit(f"{' '.join(command[:4])} ... ended with {child.returncode}:\n{said}")
    return {
        "seconds": round(seconds, 4),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 4),
        "peak_mb": round(usage.ru_maxrss * 1024 / 1e6, 1),
    }


# --- the rows --------------------------------------------------------------------------------------------------------


def rows(
    server: Server, users: int, folder: Path, change: Callable[[str, int], None] | None, swept: Server | None
) -> Iterator[Row]:
    """The rows in the order in which they are measured in each round.

    :param change: changes the directory.
    :param swept: has the same entries, and does not tell what changed: so their versions are compared.
    """
    python, programs = sys.executable, Path(sys.executable).parent
    for file, store, mode, asked in (
        ("options", "users", "full", server),
        ("first", "first", "full", server),
        ("incremental", "incremental", "incremental", server),
        *([("swept", "swept", "incremental", swept)] if swept else []),
    ):
        (folder / f"{file}.json").write_text(
            json.dumps({**asked.options, "store": str(folder / f"{store}.db"), "read_mode": mode})
        )
    (folder / "password").touch(0o600)
    (folder / "password").write_text(server.password)
    requests = json.loads(_output([python, str(HERE / "collection.py"), "requests", str(folder / "options.json")]))
    job = {"url": server.url, "ca": server.ca, "login": server.login, "password": server.password, "requests": requests}
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "ldapsearch.sh").write_text("".join(_ldapsearch(server, folder, request) for request in requests))
    _write_playbooks(server, folder, requests)

    def nothing(_round: int) -> None:
        pass

    def forget(_round: int) -> None:
        for path in folder.glob("first.db*"):
            path.unlink()

    def forget_mark(_round: int) -> None:
        statement = "sqlite3.connect(sys.argv[1], isolation_level=None).execute('DELETE FROM marks')"
        _output([python, "-c", "import sqlite3, sys; " + statement, str(folder / "incremental.db")])

    def row(name, command, prepare=nothing, environment=None, slow=False, expected=None):
        return Row(name, command, prepare, environment or {}, slow, expected)

    def reader(name, slow=False):
        return row(name, [python, str(HERE / "readers.py"), name, str(folder / "job.json")], slow=slow)

    def collection(name, what, options="options.json", prepare=nothing, expected=None):
        command = [python, str(HERE / "collection.py"), what, str(folder / options)]
        return row(name, command, prepare, expected=expected)

    def playbook(name, slow=False):
        command = [str(programs / "ansible-playbook"), "-i", "localhost,", "-c", "local", str(folder / f"{name}.json")]
        return row(name, command, nothing, _ansible_environment(folder), slow)

    for file in ("options", "incremental", *(["swept"] if swept else [])):  # later rounds leave them so
        _output([python, str(HERE / "collection.py"), "run", str(folder / f"{file}.json")])
    tls = {"LDAPTLS_CACERT": server.ca} if server.ca else {}
    yield row("ldapsearch", ["sh", str(folder / "ldapsearch.sh")], environment=tls)
    yield reader("python_ldap")
    yield reader("ldap3", slow=True)
    yield playbook("ldap_search", slow=True)
    yield collection("decode", "decode")
    yield collection("read", "read")
    yield collection(
        "first_run", "run", "first.json", forget, lambda result: result["summary"]["users"]["created"] >= users
    )
    yield collection("nothing_to_do", "run", expected=lambda result: not result["changed"])
    yield collection(
        "marking",
        "run",
        "incremental.json",
        forget_mark,
        lambda result: not result["changed"] and result["read"]["mode"] == "full",
    )
    yield collection(
        "incremental_nothing",
        "run",
        "incremental.json",
        expected=lambda result: not result["changed"] and result["read"]["mode"] == "incremental",
    )
    if swept:
        yield collection(
            "swept_nothing",
            "run",
            "swept.json",
            expected=lambda result: (
                not result["changed"] and result["read"]["mode"] == "incremental" and result["read"]["entries"] > users
            ),
        )
    if change:
        yield collection(
            "incremental_few",
            "run",
            "incremental.json",
            lambda turn: change("few", turn),
            lambda result: result["read"]["mode"] == "incremental" and result["summary"]["users"]["updated"],
        )
        yield collection("changed", "run", prepare=lambda turn: change("changes", turn), expected=_is_small_change)
        yield collection(
            "incremental_changed",
            "run",
            "incremental.json",
            expected=lambda result: _is_small_change(result) and result["read"]["mode"] == "incremental",
        )
    yield playbook("playbook")


def _is_small_change(result: dict) -> bool:
    """Whether some users came, went, and have another name or attribute, and some memberships began and ended."""
    users, memberships = result["summary"]["users"], result["summary"]["memberships"]
    some = [users[verb] for verb in ("created", "extinct", "renamed", "updated")]
    return all(some + [memberships["added"], memberships["removed"]])


def _output(command: list[str]) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout


def _ldapsearch(server: Server, folder: Path, request: dict) -> str:
    words = [
        "ldapsearch",
        "-LLL",
        "-o",
        "ldif-wrap=no",
        "-x",
        "-H",
        server.url,
        "-D",
        server.login,
        "-y",
        str(folder / "password"),
        "-b",
        request["base"],
        "-s",
        "sub",
        "-E",
        f"pr={request['page_size']}/noprompt",
        request["filter"],
        *request["attributes"],
    ]
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    return f"{quoted} > '{folder}/entries.ldif' || exit\n"


def _write_playbooks(server: Server, folder: Path, requests: list[dict]) -> None:
    play = {"hosts": "localhost", "gather_facts": False, "vars": {"ansible_python_interpreter": sys.executable}}
    reading = [
        {
            "name": "Read",
            "community.general.ldap_search": {
                "server_uri": server.url,
                "bind_dn": server.login,
                "bind_pw": server.password,
                "scope": "children",  # what others call the subtree
                "dn": request["base"],
                "filter": request["filter"],
                "attrs": request["attributes"],
                "page_size": request["page_size"],
                **({"ca_path": server.ca} if server.ca else {}),
            },
        }
        for request in requests
    ]
    options = json.loads((folder / "options.json").read_text())
    synchronizing = [{"name": "Synchronize", "usersync.directory.user_synchronization": options}]
    for name, tasks in (("ldap_search", reading), ("playbook", synchronizing)):
        (folder / f"{name}.json").write_text(json.dumps([{**play, "tasks": tasks}]))
    namespace = folder / "collections" / "ansible_collections" / "usersync"
    namespace.mkdir(parents=True)
    (namespace / "directory").symlink_to(CHECKOUT)
    (folder / "ansible.cfg").touch()


def _ansible_environment(folder: Path) -> dict[str, str]:
    return {
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
        "ANSIBLE_REMOTE_TMP": str(folder / "remote"),
        "ANSIBLE_NOCOLOR": "true",
        "LC_ALL": "C.UTF-8",
    }


# --- rounds ----------------------------------------------------------------------------------------------------------


def measure_rows(
    server: Server,
    counts: dict,
    rounds: int,
    folder: Path,
    change: Callable[[str, int], None] | None,
    swept: Server | None = None,
) -> dict[str, Any]:
    """Measure every row once a round, one after the other, so that what disturbs the machine disturbs them all."""
    chosen = [
        row
        for row in rows(server, counts["users"], folder, change, swept)
        if not row.slow or counts["users"] <= SLOW_ABOVE
    ]
    taken: dict[str, list[dict[str, float]]] = {row.name: [] for row in chosen}
    for turn in range(1, rounds + 1):
        for row in chosen:
            row.prepare(turn)
            taken[row.name].append(measure(row.command, row.environment, folder))
            if row.expected:
                result = json.loads((folder / "output").read_text(encoding="utf-8"))
                if not row.expected(result):
                    raise SystemExit(f"{row.name} did not do what it is measured for")
                taken[row.name][-1]["engine_seconds"] = round(result["engine_seconds"], 4)
            print(f"  round {turn}  {row.name:14} {taken[row.name][-1]['seconds']:8.2f} s", file=sys.stderr, flush=True)
    reference = statistics.median(each["seconds"] for each in taken["ldapsearch"])
    return {
        **counts,
        "rounds": rounds,
        "rows": {
            name: {
                "seconds": statistics.median(each["seconds"] for each in several),
                "spread": [min(each["seconds"] for each in several), max(each["seconds"] for each in several)],
                "cpu_seconds": statistics.median(each["cpu_seconds"] for each in several),
                "peak_mb": max(each["peak_mb"] for each in several),
                **(
                    {"engine_seconds": statistics.median(each["engine_seconds"] for each in several)}
                    if "engine_seconds" in several[0]
                    else {}
                ),
                "ratio": round(statistics.median(each["seconds"] for each in several) / reference, 2),
                "measured": several,
            }
            for name, several in taken.items()
        },
    }


@contextmanager
def _folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="benchmark-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _generate(kind: str, users: int, rounds: int, folder: Path) -> dict[str, int]:
    _output([sys.executable, str(HERE / "directory.py"), kind, str(users), str(rounds), str(folder)])
    return json.loads((folder / "counts.json").read_text())


def openldap(users: int, rounds: int) -> dict[str, Any]:
    with _folder() as folder:
        counts = _generate("openldap", users, rounds, folder)
        # It keeps a log of its changes, so that it can say quickly what changed; and another one without.
        with (
            Slapd(ldif=folder / "load.ldif", overlays=("syncprov\nsyncprov-sessionlog 10000",)) as slapd,
            Slapd(ldif=folder / "load.ldif") if users <= SLOW_ABOVE else nullcontext() as without_log,
        ):
            (folder / "load.ldif").unlink()

            def change(what: str, turn: int) -> None:
                slapd.modify((folder / f"{what}-{turn}.ldif").read_text(encoding="utf-8"))

            return measure_rows(_server(slapd), counts, rounds, folder, change, without_log and _server(without_log))


def _server(slapd: Slapd) -> Server:
    return Server(
        slapd.ldap_url,
        None,
        slapd.admin_dn,
        slapd.password,
        {
            "name": NAME,
            "user_group": "All/Benchmark",
            "server": [slapd.ldap_url],
            "use_ldap": True,
            "encryption": "none",
            "login": slapd.admin_dn,
            "password": slapd.password,
        },
    )


def active_directory(users: int, rounds: int) -> dict[str, Any]:
    from support.samba import SambaDC

    with _folder() as folder:
        counts = _generate("active_directory", users, rounds, folder)
        with SambaDC() as samba:
            samba.add(folder / "load.ldif")
            # Not by name: OpenLDAP's library compares the certificate with the machine's name instead of "localhost".
            server = Server(
                "ldaps://127.0.0.1",
                str(samba.ca.cert),
                samba.login,
                samba.password,
                {
                    "name": NAME,
                    "user_group": "All/Benchmark",
                    "server": ["localhost"],
                    "login": samba.login,
                    "password": samba.password,
                    "ca_path": str(samba.ca.cert),
                },
            )
            return measure_rows(server, counts, rounds, folder, None)


# --- what was measured on what ---------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n")
    memory = Path("/proc/meminfo").read_text(encoding="ascii").split()[1]
    release = platform.freedesktop_os_release()
    versions = _output(
        [
            sys.executable,
            "-c",
            """if True:
        import importlib.metadata as metadata, json, sqlite3, sys
        names = ("ansible-core", "ldap3", "python-ldap", "psycopg")
        versions = {name: metadata.version(name) for name in names}
        print(json.dumps({**versions, "sqlite": sqlite3.sqlite_version}))""",
        ]
    )
    slapd = subprocess.run([find_program("slapd", "slapd"), "-VV"], capture_output=True, text=True, check=False).stderr
    return {
        "cpu": next((line.partition(":")[2].strip() for line in cpus if line.startswith("model name")), "unknown"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory) * 1024 / 1e9),
        "system": release.get("PRETTY_NAME", "unknown"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "python_build": sys.base_prefix,
        "openldap": slapd.split("slapd ")[1].split()[0],
        **json.loads(versions),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure who reads a directory how fast.")
    parser.add_argument("--users", type=int, nargs="*", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=5, help="for up to 100,000 users; one, for more")
    parser.add_argument("--samba", type=int, default=10_000, metavar="USERS", help="0: leave Active Directory out")
    parser.add_argument("--output", type=Path, required=True, help="where the JSON file goes")
    arguments = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), "openldap": [], "active_directory": None}
    for users in arguments.users:
        print(f"OpenLDAP, {users} users", file=sys.stderr, flush=True)
        result["openldap"].append(openldap(users, arguments.rounds if users <= SLOW_ABOVE else 1))
    if arguments.samba:
        print(f"Active Directory (Samba), {arguments.samba} users", file=sys.stderr, flush=True)
        result["active_directory"] = active_directory(arguments.samba, arguments.rounds)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
