# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules, as somebody writes them, and what the scheduler is given that does not know them."""

from __future__ import annotations

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
