# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback that leaves the result of the run's only task in a file, for the program that started the run."""

from __future__ import annotations

import json
import os

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_ok(self, result):
        if not os.path.exists(os.environ.get("USER_SYNCHRONIZATION_RESULT", "")):  # else it is that of the page
            self._leave(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._leave(result, failed=True)

    def v2_runner_on_unreachable(self, result):
        self._leave(result, failed=True)

    def _leave(self, result, failed=False):
        path = os.environ.get("USER_SYNCHRONIZATION_RESULT")
        if path:
            values = result.result if hasattr(result, "result") else result._result  # before ansible-core 2.19
            with open(path, "w", encoding="utf-8") as file:
                json.dump({**values, "failed": failed}, file, default=str)
