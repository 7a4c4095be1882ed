#!/usr/bin/env python
# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventory: what is known of the machine that create.yml boots. Each playbook reads it once, and not each task."""

from __future__ import annotations

import json
import os
from pathlib import Path

directory = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "machine")
facts = directory / "facts.json"
known = {"machine_directory": str(directory)}
if facts.exists():
    known["machine"] = json.loads(facts.read_text(encoding="utf-8"))
print(json.dumps({"all": {"hosts": ["sync"]}, "_meta": {"hostvars": {"sync": known}}}))
