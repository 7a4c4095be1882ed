# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that the role installs on a host, as modules."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

CHECKOUT = Path(__file__).resolve().parents[2]
FILES = CHECKOUT / "roles" / "user_synchronization" / "files"
SHARED = CHECKOUT / "plugins" / "module_utils"  # of this, the role installs two files beside the programs


def load(name: str) -> ModuleType:
    """Return a new copy of the program."""
    for shared in ("_core_dumps", "_printable"):
        module = importlib.import_module("ansible_collections.usersync.directory.plugins.module_utils." + shared)
        sys.modules[shared] = module
    spec = importlib.util.spec_from_file_location("role_" + name, FILES / (name + ".py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
