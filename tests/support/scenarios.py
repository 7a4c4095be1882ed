# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the scenarios of the role, which are in extensions/molecule, side by side. Needs root.

    python -m support.scenarios [NAME...]    these scenarios, or all

The collection must lie where Ansible finds it. A scenario has passed if Molecule says so, and if what it printed shows
that it reached its end on a machine, that no secret was printed, and that no secret came near a file transfer.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from . import machine

COLLECTION = Path(__file__).resolve().parents[2]
MOLECULE = COLLECTION / "extensions" / "molecule"
LOGS = COLLECTION / "tests" / "output" / "role"
# The end of every secret in the scenarios: `secret_end` in inventory.yml.
SECRET_END = "lantern-Wy58"
# Tasks of the role that hand a secret to a module.
WITH_SECRET = ("Keep the vault key, sealed", "Encrypt with the key of the host")
# Scenarios in which these tasks are run without pipelining, so that it is seen what they do then.
WITHOUT_PIPELINING = ("systemd",)


class Outcome(NamedTuple):
    """How a scenario ended: Molecule's exit status, what it printed, and what its last task left as a proof."""

    status: int
    log: str
    proof: str


def run_scenario(name: str, work: Path, directory: Path = COLLECTION, label: str = "") -> Outcome:
    """Run a scenario with Molecule, from this directory; what it prints is kept in LOGS."""
    log, proofs = LOGS / f"{label or name}.log", work / (label or name)
    proofs.mkdir()
    environment = {
        **os.environ,
        # With colours Molecule breaks lines, and with them the words that are looked for.
        "NO_COLOR": "1",
        "PATH": f"{with_version(proofs / 'bin').parent}:{os.environ['PATH']}",
        "MOLECULE_EPHEMERAL_DIRECTORY": str(proofs / "machine"),
        "USERSYNC_PROOFS": str(proofs),
        "USERSYNC_TESTS_KEEP_FOR_ANSIBLE": str(proofs / "once"),
    }
    with open(log, "w", encoding="utf-8") as output:
        status = subprocess.run(
            ["molecule", "test", "--scenario-name", name],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    proof = proofs / name
    return Outcome(
        status,
        log.read_text(encoding="utf-8", errors="replace"),
        proof.read_text(encoding="utf-8").strip() if proof.exists() else "",
    )


def with_version(directory: Path, path: str | None = None) -> Path:
    """Make this directory with an ansible-playbook that says its version at once, and else is the one in the path.

    Molecule asks for it before each playbook, only to see that there is an answer, and Ansible takes a second for it.
    """
    directory.mkdir()
    program, real = directory / "ansible-playbook", shutil.which("ansible-playbook", path=path)
    program.write_text(
        f'#!/bin/sh\n[ "$*" != --version ] || exec echo ansible-playbook\nexec {real} "$@"\n', encoding="utf-8"
    )
    program.chmod(0o755)
    return program


# --- What a scenario has shown


def complaints(name: str, outcome: Outcome) -> list[str]:
    """Return why a scenario has not passed; an empty list if it has."""
    if outcome.status:
        return [f"Molecule ended with {outcome.status}.\n{failed_task(outcome.log)}"]
    if outcome.proof != name or "no hosts matched" in outcome.log:
        return ["Molecule reported success, but the scenario did not reach its end on a machine."]
    found = [f"A secret was printed: {line.strip()[:200]}" for line in outcome.log.split("\n") if SECRET_END in line]
    return found + list(transfers(outcome.log, name in WITHOUT_PIPELINING))


def transfers(log: str, without_pipelining: bool) -> Iterator[str]:
    """Complain of tasks with secrets that copied a file to the machine: the file would hold the module's arguments.

    If such a task was to run without pipelining, complain also if it did not: then nothing was proven.
    """
    with_secret = without = 0
    for task in re.split(r"^(?=TASK \[|PLAY )", log, flags=re.MULTILINE):
        transferred = re.findall(r"^<.*> PUT .*$", task, re.MULTILINE)
        if task.partition("\n")[0].startswith("TASK ") and any(name in task.partition("\n")[0] for name in WITH_SECRET):
            with_secret += 1
            yield from (f"A task with a secret copied a file to the machine: {line[:200]}" for line in transferred)
        else:
            without += bool(transferred)
    if without_pipelining and not (with_secret and without):
        yield "No task with a secret ran without pipelining, so it is not seen what such a task does."


def failed_task(log: str) -> str:
    """Return what is said of the last task that failed, without the connections that Ansible tells of at -vvv."""
    tasks = re.split(r"^(?=TASK \[|RUNNING HANDLER|PLAY |CRITICAL )", log, flags=re.MULTILINE)
    failed = [task for task in tasks if re.search(r"^(fatal|failed):", task, re.MULTILINE)] or tasks[-1:]
    said = [line for line in failed[-1].split("\n") if not re.match(r"<|task path|Using|Read |Pipelining|$", line)]
    return "\n".join(line[:1000] for line in said[:80])


# --- All of them


def main(names: list[str]) -> int:
    """Run the scenarios and say of each how it ended; return 1 if one of them has not passed."""
    known = sorted(path.parent.name for path in MOLECULE.glob("*/molecule.yml"))
    if unknown := set(names) - set(known):
        print(f"No such scenario: {', '.join(sorted(unknown))}. There are: {', '.join(known)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_dummy: sys.exit(1))
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    start, failed = time.monotonic(), False

    def say(what: str, wrong: list[str]) -> None:
        nonlocal failed
        failed = failed or bool(wrong)
        print(f"{'FAILED' if wrong else 'passed'}  {what} ({time.monotonic() - start:.0f} s)", flush=True)
        for each in wrong:
            print(each, flush=True)

    machine.make_root()
    say("a Debian system", [])
    work = Path(tempfile.mkdtemp(prefix="scenarios-"))
    try:
        with ThreadPoolExecutor() as pool:
            running: dict[Future[Outcome], str] = {
                pool.submit(run_scenario, name, work): name for name in names or known
            }
            # From here Molecule finds neither config.yml nor a machine.
            nowhere = pool.submit(run_scenario, known[0], work, MOLECULE.parent, "nowhere")
            for done in as_completed([nowhere, *running]):
                if done is nowhere:
                    refused = complaints(known[0], done.result())
                    say(
                        "a scenario that reaches no machine is no success", [] if refused else ["It was taken for one."]
                    )
                else:
                    name = running[done]
                    wrong = complaints(name, done.result())
                    say(f"scenario {name}", [*wrong, f"All of it: {LOGS / name}.log"] if wrong else [])
    finally:
        for directory in work.glob("*/machine/machine"):
            machine.stop(directory)
        shutil.rmtree(work)
    return int(failed)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except RuntimeError as failure:
        sys.exit(str(failure))
