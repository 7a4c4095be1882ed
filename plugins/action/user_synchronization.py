# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows how far a long run is, and in one line what a run did: else ansible-playbook says 'changed' and nothing more.

The module runs as any other does. Beside it a thread asks it on the managed node, over a connection of its own and
without become, how many entries it has read (see _progress). Whatever fails there ends the asking, and nothing else: no
message, no other result. Nobody asks in the first seconds, so a short run costs nothing.
"""

from __future__ import annotations

import contextlib
import copy
import re
import secrets
import shlex
import threading
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action.normal import ActionModule as Normal
from ansible.plugins.loader import connection_loader
from ansible.utils.display import Display

from ..module_utils._printable import printable
from ..module_utils._progress import ENVIRONMENT, STEPS

_FIRST = 4.0  # seconds before it is asked for the first time
_LONGEST = 30.0  # seconds between two questions, at the end: a run of an hour is no hundred lines in a journal
_ANSWER = 10.0  # seconds to wait for an answer at the end of the run
_TRANSPORTS = ("local", "ssh", "ansible.builtin.local", "ansible.builtin.ssh")  # can do two things at a time

# Run on the managed node, with whatever Python there is.
_ASK = (
    "import socket,sys;s=socket.socket(socket.AF_UNIX);s.settimeout(3);"
    "s.connect(chr(0)+sys.argv[1]);print(s.recv(100).decode())"
)


class ActionModule(Normal):
    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        with _shown(self, task_vars or {}):
            result: dict[str, Any] = super().run(tmp, task_vars)
        with contextlib.suppress(Exception):
            if _is_wanted(self._task, task_vars or {}) and not result.get("failed") and "summary" in result:
                Display().display("user_synchronization: " + _sentence(result))
        return result


def _sentence(result: dict[str, Any]) -> str:
    said = ": dry run: " if result["dry_run"] else ": "
    return printable(result["settings"]["name"] + said + result["msg"])


@contextlib.contextmanager
def _shown(action: ActionModule, task_vars: dict[str, Any]) -> Iterator[None]:
    """Show how far the module is, as long as this is entered."""
    ended = threading.Event()
    asking: threading.Thread | None = None
    environment = action._task.environment
    with contextlib.suppress(Exception):
        if _can_be_asked(action, task_vars):
            name = secrets.token_hex(16)
            ask = _Ask(action, task_vars, name)
            asking = threading.Thread(target=_ask_and_show, args=(ask, ended), daemon=True)
            given = environment if isinstance(environment, list) else [environment] if environment else []
            action._task.environment = [*given, {ENVIRONMENT: name}]
            asking.start()
    try:
        yield
    finally:
        ended.set()
        action._task.environment = environment
        if asking is not None:
            with contextlib.suppress(Exception):  # it may not have started
                asking.join(_ANSWER)


def _is_wanted(task: Any, task_vars: dict[str, Any]) -> bool:
    """Tell whether anything is to be shown: the variable user_synchronization_progress turns it off."""
    wanted = boolean(task_vars.get("user_synchronization_progress", True), strict=False)
    return wanted and not (task.async_val or task.no_log)


def _can_be_asked(action: ActionModule, task_vars: dict[str, Any]) -> bool:
    task = action._task
    return _is_wanted(task, task_vars) and not (
        task.check_mode
        or task.loop is not None
        or "ansible_loop_var" in task_vars
        or action._connection._load_name not in _TRANSPORTS
    )


class _Ask:
    """One question after the other, over a connection that nobody else uses."""

    def __init__(self, action: ActionModule, task_vars: dict[str, Any], name: str) -> None:
        used = action._connection
        context = copy.copy(action._play_context)
        context.become = False
        self._connection = connection_loader.get(used._load_name, context, None)
        self._connection._options = dict(used._options)
        self._connection._shell = used._shell
        wanted = str(task_vars.get("ansible_python_interpreter") or "")
        pythons = [wanted] if re.fullmatch(r"/[\w./+-]+", wanted) else []
        tries = " || ".join(
            "%s -c %s %s 2>/dev/null" % (shlex.quote(python), shlex.quote(_ASK), name)
            for python in [*pythons, "python3", "/usr/libexec/platform-python"]
        )
        self._command = "/bin/sh -c %s" % shlex.quote(tries)

    def __call__(self) -> str:
        """Return what the run is doing, in words; empty if it does not say. Raises anything if it cannot be asked."""
        _status, output, _errors = self._connection.exec_command(self._command, sudoable=False)
        # What answers may be anything: only what has this form is shown, and in words of our own.
        answer = re.search(rb"^(%s) ([0-9]{1,9})\s*$" % b"|".join(map(str.encode, STEPS)), output, re.MULTILINE)
        return STEPS[answer.group(1).decode()].format(int(answer.group(2))) if answer else ""


def _ask_and_show(ask: _Ask, ended: threading.Event) -> None:
    with contextlib.suppress(Exception):
        shown, pause = "", _FIRST
        while not ended.wait(pause):
            said = ask()
            if said and said != shown and not ended.is_set():
                Display().display("user_synchronization: ... " + said)
                shown = said
            pause = min(1.3 * pause, _LONGEST)
