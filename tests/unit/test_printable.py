# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes to a terminal or a log, and what a crash leaves of a process that holds a password."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from ansible_collections.usersync.directory.plugins.filter.printable import FilterModule
from ansible_collections.usersync.directory.plugins.module_utils import _core_dumps, _errors, _printable
from ansible_collections.usersync.directory.plugins.module_utils._printable import printable
from ansible_collections.usersync.directory.plugins.module_utils._report import diff

pytestmark = pytest.mark.versions

CHECKOUT = Path(__file__).resolve().parents[2]

OBEYED = [
    *map(chr, range(0x20)),  # C0: ESC, line feed, backspace ...
    *map(chr, range(0x7F, 0xA0)),  # DEL and C1: U+009B begins a control sequence, as ESC [ does
    *map(chr, range(0x202A, 0x202F)),  # embedding and override of the direction of text
    *map(chr, range(0x2066, 0x206A)),  # isolation
    "\u200e\u200f\u061c",  # marks of direction
    "\u2028\u2029",  # separators of lines and paragraphs
    "\ud800\udfff",  # surrogates, which cannot be written as UTF-8
    "\ufeff\u200b",
]


@pytest.mark.parametrize("text", OBEYED, ids=lambda text: "-".join("%04X" % ord(each) for each in text))
def test_what_a_terminal_could_obey_is_written_as_an_escape_sequence(text):
    shown = printable("ann" + text + "bob")
    assert shown.isascii()
    assert shown.isprintable()
    assert shown.startswith("ann\\")
    assert shown.encode().decode("unicode_escape") == "ann" + text + "bob"


def test_names_of_people_stay_as_they_are():
    for name in ("Zoë Ångström", "Дарья", "山田 太郎", "نورا", "O'Neil \\ 50%", "e\u0301"):
        assert printable(name) == name


def test_there_is_no_control_or_format_character_that_gets_through():
    through = [each for each in map(chr, range(sys.maxunicode + 1)) if printable(each) == each]
    assert {unicodedata.category(each) for each in through} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} == set()


def test_all_texts_in_data_are_printable_names_of_fields_included():
    data = {"a\x1b": ["\u202e", {"\x9b": "\u2028"}], "n": [1, 2.5, None, True]}
    assert _printable.printable_data(data) == {
        "a\\x1b": ["\\u202e", {"\\x9b": "\\u2028"}],
        "n": [1, 2.5, None, True],
    }
    assert FilterModule().filters()["printable"]("ann\x1b[2J") == "ann\\x1b[2J"


def test_there_is_one_function_for_it():
    assert diff.printable is _errors.printable is printable
    assert str(_errors.SynchronizationError("ann\x9b\u202e\n")) == "ann\\x9b\\u202e\\n"


# --- Core dumps

CHILD = """
import os, sys
sys.path.insert(0, {directory!r})
import _core_dumps
if {forbid}:
    _core_dumps.forbid_core_dumps()
print(flush=True)
sys.stdin.read()
"""


def crash(directory, forbid):
    """Let a process crash whose memory may be written to a file; return its exit status as wait(2) tells it."""
    code = CHILD.format(directory=str(Path(_core_dumps.__file__).parent), forbid=forbid)
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", code],
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=allow_core_dumps,
    )
    child.stdout.readline()
    child.send_signal(signal.SIGSEGV)
    dummy, status = os.waitpid(child.pid, 0)
    child.returncode = 0  # it is waited for
    child.stdin.close()
    child.stdout.close()
    return status


def allow_core_dumps():
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def test_a_process_that_holds_a_password_leaves_no_core_dump(tmp_path):
    if not os.WCOREDUMP(crash(tmp_path, forbid=False)):
        pytest.skip("this system makes no core dumps")
    for core in tmp_path.iterdir():
        core.unlink()
    assert not os.WCOREDUMP(crash(tmp_path, forbid=True))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_neither_the_limit_nor_another_process_gets_at_its_memory():
    """The limit alone would not do where core dumps go to a program, as with systemd-coredump: core(5)."""
    code = CHILD.format(directory=str(Path(_core_dumps.__file__).parent), forbid=True).replace(
        "print(flush=True)",
        "import ctypes, json, resource\n"
        "print(json.dumps([ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)]))",
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, input="")
    assert json.loads(done.stdout) == [0, [0, 0]]  # PR_GET_DUMPABLE is 3


@pytest.mark.parametrize("module", ["user_synchronization", "directory_info"])
def test_every_module_that_takes_a_password_begins_with_it(module):
    text = (CHECKOUT / "plugins" / "modules" / (module + ".py")).read_text(encoding="utf-8")
    assert "def main() -> None:\n    forbid_core_dumps()\n" in text


def test_every_module_takes_a_password_and_leaves_no_core_dump():
    for path in (CHECKOUT / "plugins" / "modules").glob("*.py"):
        assert "def main() -> None:\n    forbid_core_dumps()\n" in path.read_text(encoding="utf-8"), path.name
