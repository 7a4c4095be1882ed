# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One schedule, said to systemd and to cron."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.usersync.directory.plugins.plugin_utils._schedule import ScheduleError, schedule_for

TO_CRON = {
    "minutely": "* * * * *",
    "hourly": "0 * * * *",
    "daily": "0 0 * * *",
    "weekly": "0 0 * * 1",
    "monthly": "0 0 1 * *",
    "quarterly": "0 0 1 1,4,7,10 *",
    "*-*-* 04:30": "30 4 * * *",
    "04:30:00": "30 4 * * *",
    "*:0/15": "*/15 * * * *",
    "*:5/15": "5-59/15 * * * *",
    "Mon..Fri 08..18:00": "0 8-18 * * 1,2,3,4,5",
    "Sat,Sun 10:00": "0 10 * * 0,6",
    "Fri..Sun 10:00": "0 10 * * 0,5,6",
    "*-01,07-01 00:00:00": "0 0 1 1,7 *",
    "01-15": "0 0 15 1 *",
}

TO_SYSTEMD = {
    "* * * * *": ["*-*-* *:*:00"],
    "*/15 * * * *": ["*-*-* *:00..59/15:00"],
    "0 4 * * 1-5": ["Mon,Tue,Wed,Thu,Fri *-*-* 04:00:00"],
    "0 4 * * 0": ["Sun *-*-* 04:00:00"],
    "0 4 * * 7": ["Sun *-*-* 04:00:00"],
    "0 4 * * sat,sun": ["Sat,Sun *-*-* 04:00:00"],
    "0 4 1 jan,jul *": ["*-01,07-01 04:00:00"],
    "0 22,23,0-4 * * *": ["*-*-* 22,23,00..04:00:00"],
    # Either of the two days is enough...
    "0 4 1,15 * 5": ["*-*-01,15 04:00:00", "Fri *-*-* 04:00:00"],
    # ... unless one of them begins with a star.
    "0 4 */2 * 5": ["Fri *-*-01..31/2 04:00:00"],
    "hourly": ["hourly"],
    "Mon *-*-* 04:00:00 Europe/Paris": ["Mon *-*-* 04:00:00 Europe/Paris"],
}

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


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="asks systemd")
@pytest.mark.parametrize("schedule", [each for each in TO_CRON if each not in ("01-15",)])
def test_there_and_back_again_is_the_same_moments(schedule):
    """Systemd itself says when the translation to cron and back would elapse."""
    back = schedule_for(schedule_for(schedule, "cron")[0], "systemd")
    assert len(back) == 1
    assert elapses(back[0]) == elapses(schedule)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="asks systemd")
@pytest.mark.parametrize("schedule", [each for each in TO_SYSTEMD if len(each.split()) == 5])
def test_systemd_and_cron_mean_the_same_moments(schedule):
    """The next moments by systemd are those that crontab(5) describes, told by an independent definition of it."""
    start = datetime(2027, 2, 26, tzinfo=timezone.utc)
    expected, day = [], start
    while len(expected) < 8:
        moments = [day + timedelta(minutes=each) for each in range(24 * 60)] if cron_day(schedule, day) else []
        expected += [each.strftime("%Y-%m-%d %H:%M") for each in moments if each > start and cron_time(schedule, each)]
        day += timedelta(days=1)
    found = sorted({each for calendar in schedule_for(schedule, "systemd") for each in elapses(calendar, start)})
    assert found[:8] == expected[:8]


def elapses(calendar, start=datetime(2027, 2, 26, tzinfo=timezone.utc)):
    base = start.strftime("%Y-%m-%d %H:%M:%S UTC")
    done = subprocess.run(
        ["systemd-analyze", "calendar", "--iterations=8", "--base-time=" + base, calendar],
        env={"TZ": "UTC", "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if re.match(r" *(Next elapse|Iter\S* *#\d+):", line)]
    return [" ".join(line.split(": ", 1)[1].split()[1:3])[:16] for line in lines]


# What crontab(5) says, value by value, with nothing shared with the translation.

NAMES = {"jan": 1, "jul": 7, "sun": 0, "mon": 1, "sat": 6}


def fits(field, value, low, high):
    for item in field.split(","):
        span, dummy, step = item.partition("/")
        first, dummy, last = span.partition("-")
        first, last = (low, high) if span == "*" else (number(first), number(last or first))
        if value in range(first, last + 1, int(step or 1)):
            return True
    return False


def number(text):
    return NAMES.get(text) if text in NAMES else int(text)


def cron_time(expression, moment):
    minute, hour = expression.split()[:2]
    return fits(minute, moment.minute, 0, 59) and fits(hour, moment.hour, 0, 23)


def cron_day(expression, day):
    of_month, month, of_week = expression.split()[2:]
    by_month = fits(of_month, day.day, 1, 31)
    by_week = fits(of_week, day.isoweekday() % 7, 0, 6) or (day.isoweekday() == 7 and fits(of_week, 7, 0, 7))
    both = of_month.startswith("*") or of_week.startswith("*")
    return fits(month, day.month, 1, 12) and ((by_week and by_month) if both else (by_week or by_month))
