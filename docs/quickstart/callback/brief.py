# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows of a run what the quickstart is about: some of the diff, the summary, and whatever goes wrong."""

from __future__ import annotations

from ansible.plugins.callback.default import CallbackModule as Default

DOCUMENTATION = r"""
name: brief
type: stdout
short_description: some of the diff, messages, and whatever goes wrong
description:
  - The default callback without its headings, and with long diffs cut in the middle.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
"""

FIRST_LINES, LAST_LINES = 16, 5


class CallbackModule(Default):
    CALLBACK_NAME = "brief"

    def v2_playbook_on_play_start(self, play):
        self._play = play

    def _print_task_banner(self, task):
        self._last_task_banner = task._uuid

    def v2_playbook_on_stats(self, stats):
        pass

    def v2_on_file_diff(self, result):
        lines = self._get_diff(_values(result).get("diff") or []).splitlines()
        left_out = lines[FIRST_LINES:-LAST_LINES]
        if left_out:
            lines[FIRST_LINES:-LAST_LINES] = [f"... {len(left_out)} lines ..."]
        self._show(lines)

    def v2_runner_on_ok(self, result):
        if hasattr(self, "_handle_warnings_and_exception"):
            self._handle_warnings_and_exception(result)
        else:
            self._handle_warnings(_values(result))
        if "debug" in (result.task if hasattr(result, "task") else result._task).action:
            self._show(_values(result).get("msg", "").splitlines())

    def _show(self, lines):
        for line in lines:
            self._display.display(f"   {line}".rstrip())


def _values(result):
    return result.result if hasattr(result, "result") else result._result  # before ansible-core 2.19
