# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: schedule_for
short_description: Say a schedule in the words of systemd or cron
version_added: 0.2.0
author:
  - usersync.directory contributors (@usersync)
description:
  - Translates a schedule for a scheduler, or fails with the reason why that scheduler cannot express it.
  - The role P(usersync.directory.user_synchronization#role) uses it, so that changing the scheduler of a host changes
    none of its schedules.
positional: scheduler
options:
  _input:
    description:
      - V(hourly), V(daily), V(weekly) or V(monthly), a calendar expression of systemd, or five fields of cron.
      - V(weekly) is Monday at midnight with both schedulers.
    type: str
    required: true
  scheduler:
    description:
      - For whom.
    type: str
    choices: [systemd, cron]
    required: true
seealso:
  - plugin: usersync.directory.user_synchronization
    plugin_type: role
"""

EXAMPLES = r"""
# ['*-*-* *:00..59/15:00']
- name: Say five fields of cron to systemd
  ansible.builtin.debug:
    msg: "{{ '*/15 * * * *' | usersync.directory.schedule_for('systemd') }}"

# ['30 4 * * 1,2,3,4,5']
- name: Say a calendar expression of systemd to cron
  ansible.builtin.debug:
    msg: "{{ 'Mon..Fri 04:30' | usersync.directory.schedule_for('cron') }}"
"""

RETURN = r"""
_value:
  description:
    - The expressions, each of which starts a run. It is one, except for a cron expression that restricts both the day
      of the month and the day of the week, for systemd.
  type: list
  elements: str
  sample: ["Mon..Fri *-*-* 04:30:00"]
"""

from ansible.errors import AnsibleFilterError

from ..plugin_utils._schedule import ScheduleError, schedule_for


def _schedule_for(schedule, scheduler):
    if scheduler not in ("systemd", "cron"):
        raise AnsibleFilterError("scheduler: %r is none: write systemd or cron." % scheduler)
    try:
        return schedule_for(schedule, scheduler)
    except ScheduleError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self):
        return {"schedule_for": _schedule_for}
