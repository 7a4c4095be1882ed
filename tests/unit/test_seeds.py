# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A random test that fails prints the command that makes it fail in the same way."""

from __future__ import annotations

import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.on_one_python

TESTS = Path(__file__).resolve().parents[1]

RANDOM = """
import hashlib
import pytest
from hypothesis import Phase, given, settings, strategies as st

seen = []


@pytest.mark.parametrize("scope", ["the 'whole' tree", "one container"])
def test_history(chance, scope):
    assert False, "drew %s" % [chance.random(), scope]


@settings(phases=[Phase.generate])
@given(st.integers(), st.text())
def test_law(number, text):
    seen.append((number, text))
    assert len(seen) < 60, "drew %s" % hashlib.sha256(repr(seen[:60]).encode()).hexdigest()


@pytest.fixture
def spoilt(chance):
    raise LookupError("drew %s" % [chance.random()])


def test_fixture(spoilt):
    pass


def test_determined():
    assert False, "drew nothing"
"""

# Of modules that are no tests, Hypothesis takes constants for examples.
MODULE = "CONSTANTS = 31337, 271828, 'constants', 'of another module'"
MORE = """
import sys

sys.path.insert(0, ".")
import more_constants
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """With random tests of two files, and a plugin as in this one."""
    folder = tmp_path / "tests" / "unit"
    folder.mkdir(parents=True)
    (folder / "test_random.py").write_text(RANDOM)
    (folder / "test_more.py").write_text(MORE)
    (tmp_path / "more_constants.py").write_text(MODULE)
    (tmp_path / "pytest.ini").touch()
    return tmp_path


def run(checkout: Path, *arguments: str, **environment: str) -> str:
    here = {name: value for name, value in os.environ.items() if name != "CI"}
    here.update({"PYTHONPATH": str(TESTS), "NOX_CURRENT_SESSION": "unit-3.9", **environment})
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "seeds", "-p", "no:cacheprovider", *arguments],
        cwd=checkout,
        env=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    ).stdout


def replays(said: str) -> list[list[str]]:
    return [shlex.split(each) for each in re.findall("^replay: (.*)$", said, re.MULTILINE)]


def drawn(said: str) -> list[str]:
    return re.findall(r"^E +\w+: (drew .*)$", said, re.MULTILINE)


def test_a_random_test_that_fails_says_how_to_repeat_it(checkout: Path) -> None:
    said = run(checkout, "tests/unit")
    found = replays(said)
    assert [command[2].partition("::")[2] for command in found] == [
        "test_history[the 'whole' tree]",
        "test_history[one container]",
        "test_law",
        "test_fixture",
    ], said
    for program, session, *arguments in found[1:3]:
        assert (program, session) == ("tests/run", "unit-3.9")
        alone = run(checkout, *arguments)
        assert replays(alone) == [[program, session, *arguments]]
        (again,) = drawn(alone)
        assert again in drawn(said), arguments


def test_what_else_decides_is_in_the_command(checkout: Path) -> None:
    options = ["--seed", "7", "--hypothesis-profile", "default"]
    (command,) = replays(run(checkout, "tests/unit", "-k", "law", *options, NOX_CURRENT_SESSION=""))
    assert command == [sys.executable, "-m", "pytest", "tests/unit/test_random.py::test_law", *options]


def test_ci_tries_the_same_in_every_run(checkout: Path) -> None:
    said = run(checkout, "tests/unit", "-k", "test_fixture", CI="true")
    assert [command[-2:] for command in replays(said)] == [["--seed", "0"]]
    assert drawn(said) == ["drew [%s]" % random.Random("0 test_fixture").random()]
