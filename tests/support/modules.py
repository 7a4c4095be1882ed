# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules of the collection as Ansible runs them on a host, without Ansible.

To a host, a module is a program: it reads its arguments as JSON from standard input and prints its result as JSON. Here
each run is the module's file in a process of its own, too: see `support.forks`.
"""

from __future__ import annotations

import difflib
import importlib
import json
import os
import runpy
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .forks import Forks, serve
from .process import ClosedAtExit

_TESTS = Path(__file__).resolve().parents[1]
_PACKAGE = "ansible_collections.usersync.directory.plugins.modules."
_AT_MOST = 300  # seconds that a run may take


class ModuleRun(NamedTuple):
    """What one run of a module did."""

    rc: int
    result: dict[str, Any]
    output: str
    """Everything that it printed, the result included."""


class Modules(ClosedAtExit):
    """Runs modules, as a context manager."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="modules-"))
        self._forks = Forks("import conftest; from support import modules; modules.load()", at_most=_AT_MOST)

    def start(self) -> None:
        """Start the process that forks."""
        self._forks.start()

    def close(self) -> None:
        """Let it end, and remove what it left."""
        self._forks.close()
        shutil.rmtree(self._folder)

    def run(
        self,
        name: str,
        options: Mapping[str, Any],
        *,
        check_mode: bool = False,
        diff: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> ModuleRun:
        """Run a module once.

        :param name: of the module, without the collection's.
        :param options: what a task gives it, with nothing left to resolve.
        :param env: environment variables beside those of the tests.
        :raises AssertionError: when it prints anything but a result, or its exit status does not fit the result.
        """
        arguments = {**options, "_ansible_check_mode": check_mode, "_ansible_diff": diff}
        (self._folder / "arguments").write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}), encoding="utf-8")
        rc = self._forks.run(module=name, folder=str(self._folder), env=dict(env or {}))
        output, errors = ((self._folder / part).read_text(encoding="utf-8") for part in ("output", "errors"))
        assert not errors, errors
        result = json.loads(output)
        assert rc == (1 if result.get("failed") else 0), output
        return ModuleRun(rc, result, output)

    def __call__(self, name: str, options: Mapping[str, Any], **how: Any) -> dict[str, Any]:
        """As `run`; the result of a run that must not fail."""
        result = self.run(name, options, **how).result
        assert not result.get("failed"), result["msg"]
        return result

    def fails(self, name: str, options: Mapping[str, Any], **how: Any) -> dict[str, Any]:
        """As `run`; the result of a run that must fail."""
        result = self.run(name, options, **how).result
        assert result.get("failed"), result
        return result


def shown(result: Mapping[str, Any]) -> str:
    """The diff of a result, as ansible-playbook --diff shows it."""
    before, after = (result["diff"][side].splitlines() for side in ("before", "after"))
    return "\n".join(difflib.unified_diff(before, after, "before", "after", lineterm=""))


# --- in the process that forks


def load() -> None:
    """Load what the modules load, and serve."""
    names = [path.stem for path in (_TESTS.parent / "plugins" / "modules").glob("*.py")]
    for name in (*(_PACKAGE + name for name in names), "ldap3"):
        importlib.import_module(name)
    serve(_run_as_program)


def _run_as_program(module: str, folder: str, env: dict[str, str]) -> int:
    """Run a module; the exit status."""
    to_write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, (name, how) in enumerate((("arguments", os.O_RDONLY), ("output", to_write), ("errors", to_write))):
        os.dup2(os.open(os.path.join(folder, name), how, 0o600), number)
    os.environ.update(env)
    sys.argv = [module]
    del sys.modules[_PACKAGE + module]  # else it were there twice
    runpy.run_module(_PACKAGE + module, run_name="__main__", alter_sys=True)
    return 0
