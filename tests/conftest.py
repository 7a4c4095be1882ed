# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the checkout importable as ``ansible_collections.usersync.directory``, wherever it lies.

ansible-core is not needed for that: tests of module_utils also run on Pythons that it does not support.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

CHECKOUT = Path(__file__).resolve().parent.parent

pytest_plugins = ["seeds", "place_of_stores"]

parent = None
for name, path in (
    ("ansible_collections", []),
    ("ansible_collections.usersync", []),
    ("ansible_collections.usersync.directory", [str(CHECKOUT)]),
):
    package = ModuleType(name)
    package.__path__ = path
    sys.modules[name] = package
    if parent:
        setattr(parent, name.rpartition(".")[2], package)
    parent = package


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=25, help="how many runs test_crashes.py kills (default: %(default)s)")
    parser.addoption(
        "--failovers",
        type=int,
        default=1,
        help="how often test_postgresql_failover.py has a server of a cluster take"
        " the place of the other one (default: %(default)s)",
    )
    parser.addoption(
        "--changes",
        type=int,
        help="how many times things change in each random history; without it, a few times in a few",
    )
    parser.addoption(
        "--samba",
        choices=["all", "only", "none"],
        default="all",
        help="which tests to choose: those that ask for a Samba domain, of which there is one, or "
        "the others, so that both can run side by side (default: %(default)s)",
    )
    parser.addoption(
        "--thorough",
        action="store_true",
        help="try what takes long, too: every fault at every stage of an incremental read, every malformed value, not a"
        " third of them, and what is marked so",
    )
    parser.addoption(
        "--no-skips",
        action="store_true",
        help="a test that is skipped is a failure: what it needs must be installed, and some need root",
    )
    parser.addoption("--may-skip", action="append", default=[], metavar="REASON", help="but for this reason")


def pytest_sessionfinish(session):
    if session.exitstatus == 0 and _skipped(session.config):
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter, config):
    for test, reason in _skipped(config):
        terminalreporter.line(f"FAILED, because it was skipped: {test}: {reason}")


def _skipped(config):
    """Return which tests were skipped that must not be, and why. The process that collects the reports knows."""
    if not config.getoption("--no-skips") or hasattr(config, "workerinput"):
        return []
    reports = config.pluginmanager.get_plugin("terminalreporter").stats.get("skipped", [])
    reasons = [(report.nodeid, report.longrepr[2].removeprefix("Skipped: ")) for report in reports]
    return [(test, reason) for test, reason in reasons if reason not in config.getoption("--may-skip")]


def pytest_collection_modifyitems(config, items):
    part = config.getoption("--samba")
    if part != "all":
        _choose(config, items, [item for item in items if ("samba" in item.fixturenames) == (part == "only")])
    if config.getoption("--store") != "sqlite":
        _choose(config, items, [item for item in items if not item.get_closest_marker("only_sqlite")])
    if not config.getoption("--thorough"):
        _choose(config, items, list(_quick(items, config.args)))


def _choose(config, items, chosen):
    config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
    items[:] = chosen


def _quick(items, asked_for):
    """All that is not marked as thorough; of each test that is marked as a third, the first case and a third of the
    others; and all that were asked for by name.
    """
    named = tuple(each.rpartition("::")[2] for each in asked_for if "::" in each)
    seen: dict[str, int] = {}
    for item in items:
        is_new = item.originalname not in seen
        number = seen.setdefault(item.originalname, len(seen))  # so that tests go on with different cases
        seen[item.originalname] += 1
        if item.get_closest_marker("thorough"):
            wanted = False
        else:
            wanted = is_new or number % 3 == 0 or not item.get_closest_marker("a_third")
        if wanted or item.name.startswith(named or ("[",)):
            yield item
