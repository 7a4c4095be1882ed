# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback that leaves the results of a run in a file, for the program that started the run.

They are that of the synchronization and those of the provisionings, a line of JSON each: the number of the task among
these, from 0, and its result. So a line that could not be written is missed, and none is taken for another's.
"""

from __future__ import annotations

import json
import os

from ansible.plugins.callback import CallbackBase

ACTIONS = ("usersync.directory.user_synchronization", "usersync.directory.scim_provisioning")


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record"
    CALLBACK_NEEDS_ENABLED = True

    _number = -1

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._number += task.action in ACTIONS

    def v2_runner_on_ok(self, result):
        self._leave(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._leave(result, failed=True)

    def v2_runner_on_unreachable(self, result):
        self._leave(result, failed=True)

    def _leave(self, result, failed=False):
        path = os.environ.get("USER_SYNCHRONIZATION_RESULT")
        is_new = hasattr(result, "result")  # before ansible-core 2.19 there are only the private names
        task, values = (result.task, result.result) if is_new else (result._task, result._result)
        if path and task.action in ACTIONS:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps([self._number, {**values, "failed": failed}], default=str) + "\n")
