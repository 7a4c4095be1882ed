# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a run is: told to who asks, without a file or a name, and never at the cost of the run."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _progress

pytestmark = pytest.mark.versions

NAME = "0123456789abcdef" * 2


def ask(name=NAME):
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(5)
        asking.connect("\0" + name)
        return asking.recv(100)


def test_who_asks_is_told_the_step_and_how_much_of_it_is_done(monkeypatch):
    monkeypatch.setattr(_progress, "PROGRESS", _progress.Progress())
    with _progress.answering(NAME):
        assert ask() == b"connect 0"
        entries = [0]
        _progress.PROGRESS.step("read", lambda: entries[0])
        entries[0] = 41000
        assert [ask(), ask()] == [b"read 41000"] * 2
    with pytest.raises(ConnectionRefusedError):
        ask()


@pytest.mark.parametrize("name", [None, "", "../../etc/passwd", "\0" + NAME, NAME + "\n", NAME.upper(), 7 * NAME])
def test_nobody_is_answered_without_a_fitting_name(name):
    before = threading.active_count()
    with _progress.answering(name):
        assert threading.active_count() == before


def test_a_name_that_is_taken_and_a_count_that_fails_are_no_matter(monkeypatch):
    monkeypatch.setattr(_progress, "PROGRESS", _progress.Progress())
    with _progress.answering(NAME), _progress.answering(NAME):
        _progress.PROGRESS.step("read", lambda: 1 // 0)
        assert ask() == b""
        _progress.PROGRESS.step("read", lambda: 7)
        assert ask() == b"read 7"


def test_a_system_without_such_sockets_is_no_matter(monkeypatch):
    def fail(*_arguments):
        raise OSError

    monkeypatch.setattr(socket, "socket", fail)
    with _progress.answering(NAME):
        pass


def test_nothing_is_left_of_a_run_that_is_killed(tmp_path):
    code = (
        "import runpy, sys; runpy.run_path('tests/conftest.py')\n"
        "from ansible_collections.usersync.directory.plugins.module_utils._progress import answering\n"
        f"with answering('{NAME}'): print('here', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as run:
        assert run.stdout is not None and run.stdout.readline() == b"here\n" and ask() == b"connect 0"
        run.kill()
    with pytest.raises(ConnectionRefusedError):
        ask()


def test_who_asks_all_the_time_costs_the_run_little(monkeypatch):
    monkeypatch.setattr(_progress, "PROGRESS", _progress.Progress())
    with _progress.answering(NAME):
        end, answers = time.monotonic() + 1, 0
        while time.monotonic() < end:
            ask()
            answers += 1
    assert answers <= 14


# --- the action plugin -----------------------------------------------------------------------------------------------


@pytest.fixture
def action():
    pytest.importorskip("ansible", reason="comes with ansible-core")
    from ansible_collections.usersync.directory.plugins.action import user_synchronization

    return user_synchronization


def plugin(**task):
    default = {"check_mode": False, "async_val": 0, "no_log": False, "loop": None}
    connection = SimpleNamespace(_load_name=task.pop("transport", "ssh"))
    return SimpleNamespace(_task=SimpleNamespace(**{**default, **task}), _connection=connection)


@pytest.mark.parametrize(
    ("task", "variables", "can"),
    [
        ({}, {}, True),
        ({"transport": "local"}, {}, True),
        ({"transport": "docker"}, {}, False),
        ({"check_mode": True}, {}, False),
        ({"async_val": 60}, {}, False),
        ({"no_log": True}, {}, False),
        ({"loop": [1]}, {}, False),
        ({}, {"ansible_loop_var": "item"}, False),
        ({}, {"user_synchronization_progress": "false"}, False),
        ({}, {"user_synchronization_progress": True}, True),
    ],
)
def test_when_it_steps_aside(action, task, variables, can):
    assert action._can_be_asked(plugin(**task), variables) is can


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (b"read 41000\n", "41,000 entries read"),
        (b"motd of a host\r\nread 7\r\n", "7 entries read"),
        (b"write 12\n", "writes 12 changes"),
        (b"", ""),
        (b"\n", ""),
        (b"read\n", ""),
        (b"read -1\n", ""),
        (b"read 1234567890\n", ""),
        (b"erase 7\n", ""),
        (b"read 7 \x1b[2J\n", ""),
        (b"read {{ 7 * 7 }}\n", ""),
        ("read \u0663\n".encode(), ""),
    ],
)
def test_only_a_known_word_and_a_count_are_shown(action, output, said):
    ask = action._Ask.__new__(action._Ask)
    ask._command, ask._connection = "", SimpleNamespace(exec_command=lambda command, sudoable: (0, output, b""))
    assert ask() == said


def test_whatever_fails_the_module_runs_and_its_environment_is_as_before(action):
    """There is no connection here that could be made once more."""
    used = plugin(environment=None)
    with action._shown(used, {}):
        pass
    assert used._task.environment is None
    with pytest.raises(KeyError), action._shown(used, {}):
        raise KeyError
