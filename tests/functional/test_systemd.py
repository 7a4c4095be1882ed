# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd itself makes of what the role gives it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.usersync.directory.plugins.plugin_utils._schedule import schedule_for
from support.process import find_program, run
from support.role_programs import load
from support.schedules import TO_CRON, TO_SYSTEMD


@pytest.mark.parametrize("schedule", [each for each in TO_CRON if each not in ("01-15",)])
def test_there_and_back_again_is_the_same_moments(schedule):
    """Systemd itself says when the translation to cron and back would elapse."""
    back = schedule_for(schedule_for(schedule, "cron")[0], "systemd")
    assert len(back) == 1
    assert elapses(back[0]) == elapses(schedule)


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
    said = run(
        [find_program("systemd-analyze", "systemd"), "calendar", "--iterations=8", "--base-time=" + base, calendar],
        env={"TZ": "UTC", "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    )
    lines = [line for line in said.splitlines() if re.match(r" *(Next elapse|Iter\S* *#\d+):", line)]
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


# --- The key of the vault


@pytest.mark.versions
def test_the_key_moves_when_systemd_learns_to_encrypt(monkeypatch, tmp_path):
    """Until then the key is in a file for root alone."""
    vault = load("vault")
    find_program("systemd-creds", "systemd")
    monkeypatch.setattr(vault, "encrypting", lambda: False)
    vault.keep_key(tmp_path, "Fen-2-wicket", renew=False, check=False)
    monkeypatch.setattr(vault, "encrypting", lambda: True)
    assert vault.keep_key(tmp_path, "", renew=False, check=False) is True
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["vault-key.cred"]
    assert b"Fen-2" not in (tmp_path / "vault-key.cred").read_bytes()
    assert vault.read_key(tmp_path) == "Fen-2-wicket"
    assert vault.keep_key(tmp_path, "", renew=False, check=False) is False
