# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the result of each task to a file of JSON lines, for the tests to read."""

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
        _record(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        _record(result)


def _record(result):
    values = result.result if hasattr(result, "result") else result._result  # before ansible-core 2.19
    with open(os.environ["RECORD_RESULTS_TO"], "a", encoding="utf-8") as file:
        file.write(json.dumps(values, default=str) + "\n")
