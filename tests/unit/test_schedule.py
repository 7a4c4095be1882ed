# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One schedule, said to systemd and to cron. What systemd makes of it is in tests/functional/test_systemd.py."""

from __future__ import annotations

import pytest
from ansible_collections.usersync.directory.plugins.plugin_utils._schedule import ScheduleError, schedule_for
from support.schedules import TO_CRON, TO_SYSTEMD

# What one scheduler cannot say, and a word of the reason.
REFUSED = {
    ("*:*:0/5", "cron"): "seconds",
    ("2030-01-01", "cron"): "year",
    ("*-*~01", "cron"): "end of the month",
    ("Mon *-*-01 00:00", "cron"): "either the day of the month",
    ("04:00 UTC", "cron"): "time zone",
    ("sometimes", "cron"): "'sometimes'",
    ("*-*-40", "cron"): "1 to 31",
    ("Fri..Mon 10:00", "cron"): "earlier first",
    ("25:00", "cron"): "0 to 23",
    ("@daily", "cron"): "without the @",
    ("@daily", "systemd"): "without the @",
    ("", "systemd"): "is no schedule",
    ("60 * * * *", "systemd"): "0 to 59",
    ("60 * * * *", "cron"): "0 to 59",
    ("0 4 * * mon-", "systemd"): "day of the week",
    ("0 4 * *", "systemd"): "has 4 fields: write the five of crontab(5): minute, hour,",
    ("0 4 * *", "cron"): "has 4 fields",
    ("*/5 4 1,15 jan-mar", "systemd"): "has 4 fields",
    ("0 0 4 * * mon", "systemd"): "has 6 fields",
    ("5/10 * * * *", "cron"): "range before the /",
    ("* * * * *; reboot", "cron"): "'* * * * *; reboot'",
    ("0 4 * * *\n* * * * * root reboot", "cron"): "more than one line",
    # Only ASCII is the language of a scheduler. (To Python these are digits and white space, too.)
    ("hourly\n", "systemd"): "more than one line",
    ("0 4 * * *\x0b", "cron"): "no scheduler knows",
    ("\u0663 4 * * *", "cron"): "no scheduler knows",
    ("04:30:\xb2", "cron"): "no scheduler knows",
    ("*-*-* 04:\u0663\u0660", "systemd"): "no scheduler knows",
    ("hourly\x1b[2J", "systemd"): "no scheduler knows",
    ("hourly\u2028daily", "systemd"): "no scheduler knows",
}


@pytest.mark.parametrize("schedule", TO_CRON)
def test_what_cron_can_say(schedule):
    assert schedule_for(schedule, "cron") == [TO_CRON[schedule]]


@pytest.mark.parametrize("schedule", TO_SYSTEMD)
def test_what_systemd_is_told(schedule):
    assert schedule_for(schedule, "systemd") == TO_SYSTEMD[schedule]


@pytest.mark.parametrize("schedule, scheduler", REFUSED)
def test_what_is_refused_with_a_reason(schedule, scheduler):
    with pytest.raises(ScheduleError, match="^schedule: ") as refusal:
        schedule_for(schedule, scheduler)
    assert REFUSED[schedule, scheduler] in str(refusal.value)


def test_five_fields_are_given_to_cron_as_they_are():
    assert schedule_for("  0 4 1,15 *  fri", "cron") == ["0 4 1,15 * fri"]
