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
    parser.addoption("--changes", type=int,
                     help="how many times things change in each random history; without it, a few times in a few")
    parser.addoption("--every-fault", action="store_true",
                     help="try every fault at every stage of an incremental read, not a third of them")
