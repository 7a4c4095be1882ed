# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback that keeps, in a file beside the machine, which tasks of the role changed something when it ran last."""

from __future__ import annotations

import os
from pathlib import Path

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "changed"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.file = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "machine", "changed")

    def v2_playbook_on_task_start(self, task, is_conditional):
        # The first task of each run of a role.
        if task.action == "ansible.builtin.validate_argument_spec":
            self.file.write_text("", encoding="utf-8")

    def v2_playbook_on_handler_task_start(self, task):
        self.v2_playbook_on_task_start(task, False)

    def v2_runner_on_ok(self, result):
        is_new = hasattr(result, "task")  # before ansible-core 2.19 there are only the private names
        task, values = (result.task, result.result) if is_new else (result._task, result._result)
        if task._role and values.get("changed"):
            with open(self.file, "a", encoding="utf-8") as file:
                file.write(task.name + "\n")
