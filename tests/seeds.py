# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plugin of pytest: one seed for all that tests leave to chance. A test that fails says how it does so again.

CI tries the same in every run, and everybody else something new. What a test draws depends on the seed and on its own
name, and on no other test: so it is the same when it runs alone.
"""

from __future__ import annotations

import contextlib
import os
import random
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("support")  # an assertion in there that fails says what differs, too

_OF_CI, _HOW_MANY = 0, 10**6
# What else decides how much is drawn, and what it usually is.
_OPTIONS = {"--hypothesis-profile": None, "--changes": None, "--kills": 25}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seed", type=int, help="what all that is left to chance comes of (default: one by chance, in CI 0)"
    )


@pytest.hookimpl(tryfirst=True)  # Hypothesis looks at its own option then
def pytest_configure(config: pytest.Config) -> None:
    if config.option.seed is None:
        config.option.seed = _OF_CI if os.environ.get("CI") else random.SystemRandom().randrange(_HOW_MANY)
    config.option.hypothesis_seed = str(config.option.seed)
    with contextlib.suppress(ImportError, AttributeError):
        from hypothesis.internal.conjecture import providers

        # It would also draw constants of modules that are imported by then, which other tests bring, too.
        constants = providers._local_constants
        providers._get_local_constants = lambda: constants


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Where a test takes from what it leaves to chance."""
    return random.Random("%d %s" % (request.config.option.seed, request.node.name))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = (yield).get_result()
    if report.failed and ("chance" in item.fixturenames or hasattr(item.obj, "hypothesis")):
        report.replay = _replay(item)


def _replay(item: pytest.Item) -> str:
    """Return the command that runs the test again, for a shell."""
    session = os.environ.get("NOX_CURRENT_SESSION")
    command = ["tests/run", session] if session else [_python(item.config.rootpath), "-m", "pytest"]
    command += [item.nodeid, "--seed", str(item.config.option.seed)]
    for option, usual in _OPTIONS.items():
        value = item.config.getoption(option, usual)
        if value != usual:
            command += [option, str(value)]
    return shlex.join(command)


def _python(checkout: Path) -> str:
    """Return how this Python is called from the checkout. A link to it is not followed: it is an environment's."""
    python = Path(sys.executable)
    return str(python.relative_to(checkout) if python.is_relative_to(checkout) else python)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = terminalreporter.stats.get("failed", []) + terminalreporter.stats.get("error", [])
    for replay in dict.fromkeys(report.replay for report in reports if hasattr(report, "replay")):
        terminalreporter.line("replay: " + replay)
