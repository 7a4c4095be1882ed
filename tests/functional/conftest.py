# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers and a real ansible-playbook. A server that is missing is an error, never a skip."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _synchronize
from support import playbooks as support_playbooks
from support import provisioned
from support.company import Company
from support.dirsrv import DirectoryServer
from support.forks import Forks
from support.modules import Modules
from support.samba import SambaDC
from support.scim_service import ScimService
from support.slapd import Slapd
from support.tls import CertificateAuthority, usual_authority
from support.two_stores import Clock

CHECKOUT = Path(__file__).resolve().parents[2]

SUFFIX_ENTRY = """\
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example
"""


class PlaybookRun(NamedTuple):
    """What one ansible-playbook did."""

    rc: int
    results: list[dict[str, Any]]
    """The result of each task, in order, as a registered variable would hold it."""
    output: str
    """Everything that was printed."""


@pytest.fixture(scope="session")
def ca() -> CertificateAuthority:
    """The authority of all servers that a test gives no other."""
    return usual_authority()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], list[Any]]:
    """What happens when a directory was read, by each read, and what was read."""
    happening: list[Any] = []
    read = _synchronize.read_from

    def counted(*arguments: Any) -> Any:
        found = read(*arguments)
        if happening:
            happening.pop(0)()
        seen.append(found)
        return found

    seen: list[Any] = []
    monkeypatch.setattr(_synchronize, "read_from", counted)
    return happening, seen


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of runs: it stands still until a test moves it."""
    clock = Clock()
    monkeypatch.setattr(_synchronize, "time", clock)
    return clock


@pytest.fixture(scope="session")
def slapd() -> Iterator[Slapd]:
    """An OpenLDAP server that holds only its suffix; each test works below an entry of its own."""
    with Slapd(ldif=SUFFIX_ENTRY) as server:
        yield server


@pytest.fixture(scope="session")
def samba() -> Iterator[SambaDC]:
    """A fresh Active Directory domain; each test works in an organizational unit of its own."""
    with SambaDC() as server:
        yield server


@pytest.fixture(scope="session")
def ordinary_account(samba: SambaDC) -> tuple[str, str]:
    """Login and password of an account that may read what anybody may: not who was deleted."""
    password = "Anvil-2-meadow-Kf67"
    samba.create_user("ORDINARY", password)
    return "CORP\\ORDINARY", password


@pytest.fixture(scope="session")
def dirsrv() -> Iterator[DirectoryServer]:
    """A 389 Directory Server that holds only its suffix; each test works below an entry of its own."""
    with DirectoryServer() as server:
        yield server


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy the environment names, services on this host are asked without it."""
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(scope="session")
def run_module() -> Iterator[Modules]:
    """``run_module("user", options, check_mode=True)`` runs a module in a process of its own; its result."""
    with Modules() as modules:
        yield modules


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """A store to provision from: ann and bob are in Staff, and bob is in Night."""
    company = Company(tmp_path / "store" / "users.db")
    company.becomes({"Staff": ["ann", "bob"], "Night": ["bob"]})
    return company


@pytest.fixture
def service() -> Iterator[ScimService]:
    """A SCIM service that does what it is told, until a test has it do otherwise."""
    with provisioned.served() as service:
        yield service


@pytest.fixture
def run(run_module: Modules, company: Company, service: ScimService) -> Callable[..., dict[str, Any]]:
    """Provisions the company to the service, with no limits; its result."""
    return provisioned.asking(run_module, company, service, removal_limits="100%", timeout=60)


@pytest.fixture(scope="session")
def collections_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for ANSIBLE_COLLECTIONS_PATH in which the checkout is the collection."""
    path = tmp_path_factory.mktemp("collections")
    (path / "ansible_collections" / "usersync").mkdir(parents=True)
    (path / "ansible_collections" / "usersync" / "directory").symlink_to(CHECKOUT)
    return path


@pytest.fixture(scope="session")
def ansible_settings(tmp_path_factory: pytest.TempPathFactory, collections_path: Path) -> dict[str, str]:
    """Environment variables that decide how Ansible works in all tests."""
    settings = tmp_path_factory.mktemp("settings") / "ansible.cfg"
    # Ansible asks this often, in seconds, whether a task has ended: at its default, a thousand times a second.
    settings.write_text("[defaults]\ninternal_poll_interval = 0.01\n", encoding="ascii")
    return {
        "ANSIBLE_CONFIG": str(settings),
        "ANSIBLE_COLLECTIONS_PATH": str(collections_path),
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callback"),
        "ANSIBLE_CALLBACKS_ENABLED": "record",
        "ANSIBLE_INJECT_FACT_VARS": "false",
        "ANSIBLE_NOCOLOR": "true",
        "LC_ALL": "C.UTF-8",
    }


@pytest.fixture(scope="session")
def playbooks(ansible_settings: dict[str, str]) -> Iterator[Forks]:
    """An ansible-playbook that forks for each run."""
    with support_playbooks.playbooks({**os.environ, **ansible_settings}) as process:
        yield process


@pytest.fixture
def run_playbook(tmp_path: Path, ansible_settings: dict[str, str], playbooks: Forks) -> Callable[..., PlaybookRun]:
    """A function that runs tasks on localhost with the ansible-core of this test's environment.

    ``run_playbook(tasks, "--check", "--diff", env={...}, module_defaults={...})``: the tasks as data, or the path or
    full name of a playbook; arguments of ansible-playbook, additional environment variables, and keywords of the play.
    With ``as_program`` it is a program that nothing has loaded before.
    """

    def run(
        tasks: list[dict[str, Any]] | str,
        *arguments: str,
        env: dict[str, str] | None = None,
        as_program: bool = False,
        **play: Any,
    ) -> PlaybookRun:
        playbook, record, printed = tasks, tmp_path / "results.jsonl", tmp_path / "printed"
        if not isinstance(tasks, str):
            playbook = str(tmp_path / "playbook.json")
            Path(playbook).write_text(
                json.dumps([{"hosts": "localhost", "gather_facts": False, **play, "tasks": tasks}])
            )
        for file in (record, printed):
            file.unlink(missing_ok=True)
        environment = {**os.environ, **ansible_settings, **_places(tmp_path, record), **(env or {})}
        command = _arguments(playbook, arguments)
        if as_program:
            rc = _run_program(command, environment, printed)
        else:
            rc = playbooks.run(arguments=command, env=environment, directory=os.getcwd(), output=str(printed))
        lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
        return PlaybookRun(rc, [json.loads(line) for line in lines], printed.read_text(encoding="utf-8"))

    return run


def _run_program(arguments: list[str], env: dict[str, str], printed: Path) -> int:
    program = Path(sys.executable).with_name("ansible-playbook")
    with open(printed, "wb") as output:
        return subprocess.run(
            [program, *arguments],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=600,
            check=False,
        ).returncode


def _arguments(playbook: str, more: Sequence[str]) -> list[str]:
    interpreter = json.dumps({"ansible_python_interpreter": sys.executable})
    return ["-i", "localhost,", "-c", "local", "-e", interpreter, *more, playbook]


def _places(directory: Path, record: Path) -> dict[str, str]:
    """Environment variables that have Ansible leave all in the test's directory, where a test can look for secrets."""
    return {
        "RECORD_RESULTS_TO": str(record),
        "ANSIBLE_LOCAL_TEMP": str(directory / "local"),
        "ANSIBLE_REMOTE_TMP": str(directory / "remote"),
    }


# --- the fault matrix ------------------------------------------------------------------------------------------------

CELL = "cell of the fault matrix"


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> Callable[[str, str], Any]:
    """A context for one cell of the fault matrix, with a list for what happened: ``cell(fault, stage)``."""

    @contextmanager
    def begin(fault: str, stage: str) -> Iterator[list[str]]:
        came_to = [request.session.items.index(request.node), fault, stage, "FAILED"]
        request.node.user_properties.append((CELL, came_to))
        happened: list[str] = []
        yield happened
        came_to[-1] = " ".join(happened)

    return begin


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what every fault did at every stage. Reports tell it: tests run in other processes, in any order."""
    matrix: dict[str, dict[str, str]] = {}
    calls = [each for each in chain(*terminalreporter.stats.values()) if getattr(each, "when", None) == "call"]
    cells = [value for each in calls for name, value in each.user_properties if name == CELL]
    for _number, fault, stage, came_to in sorted(cells):
        matrix.setdefault(fault, {})[stage] = came_to
    if not matrix:
        return
    stages = list(dict.fromkeys(stage for row in matrix.values() for stage in row))
    stages.sort(key=lambda stage: stage != "TLS")  # which comes before all else
    widths = [max(len(stage), *(len(row.get(stage, "")) for row in matrix.values())) for stage in stages]
    first = max(map(len, matrix))
    terminalreporter.section("faults of a directory, by the stage of the read")
    for name, row in [("", {stage: stage for stage in stages}), *matrix.items()]:
        texts = (row.get(stage, "-").ljust(width) for stage, width in zip(stages, widths))
        terminalreporter.line("  ".join([name.ljust(first), *texts]).rstrip())
    terminalreporter.line("")
    terminalreporter.line("right: the run came out right. Another word: the run failed, with one sentence that begins")
    terminalreporter.line("with this option; the store stayed as it was, in a dry run and in a real one; and the next")
    terminalreporter.line("run came out right. A dash: there is no such request, or it is left to --thorough.")
