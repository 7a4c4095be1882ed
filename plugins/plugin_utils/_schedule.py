# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""One way to write a schedule, for two schedulers: systemd.time(7) and crontab(5).

A schedule is a word (``hourly``), a systemd calendar expression or a five-field cron expression. What one scheduler
cannot say in the words of the other is refused with the reason, never approximated.
"""

from __future__ import annotations

import re

# What systemd.time(7) says the words mean. cron's @weekly is another day: the words mean the same with both.
_WORDS = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00",
    "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00",
}

# No word of systemd.time(7) but a year, or a date of stars, is a field of crontab(5): times have a colon.
_FIELD_OF_CRON = r"[0-9*,/]+(-[0-9,/]+)*"
_MAY_BE_OF_CRON = re.compile(r"(%s|[a-zA-Z]{3}([,-][a-zA-Z]{3})*)" % _FIELD_OF_CRON)

_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_DAY_NAMES = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]

# Of the fields of a cron expression: name, lowest and highest value, and names from the lowest on.
_FIELDS = [
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day of the month", 1, 31, []),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
]
_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY = _FIELDS


class ScheduleError(ValueError):
    """A schedule that cannot be had; the message is one sentence for the person who wrote it."""


def schedule_for(schedule: str, scheduler: str) -> list[str]:
    """Return the lines that say ``schedule`` to ``scheduler``: OnCalendar= of systemd, or five fields of cron.

    An expression in the words of systemd is for systemd to judge (``systemd-analyze calendar``), and is passed on.
    More than one line means that each of them starts a run.

    Raises ScheduleError.
    """
    if not isinstance(schedule, str) or not schedule.strip():
        raise _error(schedule, "is no schedule", "write hourly, daily, weekly, monthly, or a calendar expression")
    if "\n" in schedule or "\r" in schedule:
        raise _error(schedule, "has more than one line", "write one expression")
    if not re.fullmatch("[ -~]*", schedule):
        raise _error(schedule, "has a character that no scheduler knows", "write letters, digits, spaces and signs")
    if schedule.startswith("@"):
        raise _error(schedule, "is a word of cron alone", "write hourly, daily, weekly or monthly, without the @")
    words = schedule.split()
    if _looks_like_cron(words):
        fields = [_parse_field(schedule, text, field) for text, field in zip(words, _FIELDS)]
        return _calendars(fields) if scheduler == "systemd" else [" ".join(words)]
    if len(words) > 2 and re.fullmatch(_FIELD_OF_CRON, words[0]) and all(map(_MAY_BE_OF_CRON.fullmatch, words)):
        raise _error(
            schedule,
            "has %d fields" % len(words),
            "write the five of crontab(5): minute, hour, day of the month, month, day of the week",
        )
    if scheduler == "systemd":
        return [" ".join(words)]
    return [_cron(schedule)]


def _error(schedule: object, wrong: str, remedy: str) -> ScheduleError:
    return ScheduleError("schedule: %r %s: %s." % (schedule, wrong, remedy))


def _looks_like_cron(words: list[str]) -> bool:
    # A calendar expression has at most four words: weekday, date, time, time zone.
    return len(words) == 5


# --- cron to systemd


def _parse_field(schedule: str, text: str, field: tuple) -> tuple[str, list[tuple[int, int, int]]]:
    """Return a field as written, and the ranges (first, last, step) that it is made of."""
    name, low, high, names = field
    ranges = []
    for item in text.lower().split(","):
        match = re.fullmatch(r"(\*|[a-z0-9]+(?:-[a-z0-9]+)?)(?:/([0-9]+))?", item)
        if not match:
            raise _error(schedule, "has the %s %r" % (name, text), "see crontab(5)")
        span, step = match.group(1), int(match.group(2) or 1)
        if span == "*":
            first, last = low, 6 if field is _WEEKDAY else high
        else:
            ends = [_value(schedule, each, field) for each in span.split("-")]
            if match.group(2) and len(ends) == 1:
                raise _error(schedule, "has the step %r after a single %s" % (item, name), "write a range before the /")
            first, last = ends[0], ends[-1]
        if not low <= first <= last <= high or not 1 <= step <= high:
            raise _error(schedule, "has the %s %r" % (name, item), "write %d to %d, the lower first" % (low, high))
        ranges.append((first, last, step))
    return text, ranges


def _value(schedule: str, text: str, field: tuple) -> int:
    name, low, dummy, names = field
    if text.isdigit():
        return int(text)
    if text in names:
        return low + names.index(text)
    raise _error(schedule, "has the %s %r" % (name, text), "see crontab(5)")


def _calendars(fields: list) -> list[str]:
    minute, hour, day, month = (_component(*each) for each in fields[:4])
    days = {each % 7 for first, last, step in fields[4][1] for each in range(first, last + 1, step)}
    # systemd counts the week from Monday.
    weekday = ",".join(_DAYS[each].capitalize() for each in [1, 2, 3, 4, 5, 6, 0] if each in days) + " "
    if len(days) == 7:
        weekday = ""
    time = "%s:%s:00" % (hour, minute)
    # crontab(5): a day matches when either field does, unless one of them begins with a star.
    if fields[2][0].startswith("*") or fields[4][0].startswith("*"):
        return ["%s*-%s-%s %s" % (weekday, month, day, time)]
    return ["*-%s-%s %s" % (month, day, time), "%s*-%s-* %s" % (weekday, month, time)]


def _component(text: str, ranges: list[tuple[int, int, int]]) -> str:
    if text == "*":
        return "*"
    parts = []
    for first, last, step in ranges:
        part = "%02d" % first if first == last else "%02d..%02d" % (first, last)
        parts.append(part if step == 1 else part + "/%d" % step)
    return ",".join(parts)


# --- systemd to cron


def _cron(schedule: str) -> str:
    words = _WORDS.get(schedule.strip().lower(), schedule).split()
    weekday = "*"
    if words[0][0].isalpha():
        weekday = _weekday(schedule, words.pop(0))
    date = words.pop(0) if words and "-" in words[0] else "*-*-*"
    time = words.pop(0) if words and ":" in words[0] else "00:00:00"
    if words:
        raise _error(schedule, "cannot be said to cron because of %r" % " ".join(words), "leave the time zone out")
    month, day = _date(schedule, date)
    hour, minute = _time(schedule, time)
    if weekday != "*" and day != "*":
        raise _error(
            schedule,
            "cannot be said to cron, which runs when either the day of the month or the day of the week fits",
            "use one of the two, or systemd",
        )
    return " ".join([minute, hour, day, month, weekday])


def _weekday(schedule: str, text: str) -> str:
    numbers = []
    for item in text.lower().split(","):
        # systemd counts the week from Monday, cron from Sunday.
        ends = [(_day_number(schedule, each) - 1) % 7 for each in re.split(r"\.\.|-", item, maxsplit=1)]
        if ends[0] > ends[-1]:
            raise _error(schedule, "has the days %r" % item, "write the earlier first, the week begins on Monday")
        numbers += [(each + 1) % 7 for each in range(ends[0], ends[-1] + 1)]
    return ",".join(str(each) for each in sorted(set(numbers)))


def _day_number(schedule: str, text: str) -> int:
    for names in (_DAYS, _DAY_NAMES):
        if text in names:
            return names.index(text)
    raise _error(
        schedule,
        "has %r where a word for a schedule or a day of the week is expected" % text,
        "see systemd.time(7), or write five fields as in crontab(5)",
    )


def _date(schedule: str, text: str) -> tuple[str, str]:
    if "~" in text:
        raise _error(schedule, "counts from the end of the month, which cron cannot", "use systemd")
    parts = text.split("-")
    if len(parts) == 2:
        parts.insert(0, "*")
    if len(parts) != 3:
        raise _error(schedule, "has the date %r" % text, "write it as in *-*-01")
    if parts[0] != "*":
        raise _error(schedule, "names a year, which cron cannot", "write * for the year, or use systemd")
    return _field(schedule, parts[1], _MONTH), _field(schedule, parts[2], _DAY)


def _time(schedule: str, text: str) -> tuple[str, str]:
    parts = text.split(":")
    if len(parts) not in (2, 3):
        raise _error(schedule, "has the time %r" % text, "write it as in 04:30")
    if len(parts) == 3 and (not parts[2].isdigit() or int(parts[2])):
        raise _error(schedule, "names seconds, which cron cannot", "end it with :00, or use systemd")
    return _field(schedule, parts[0], _HOUR), _field(schedule, parts[1], _MINUTE)


def _field(schedule: str, text: str, field: tuple) -> str:
    """Translate one component: ``a..b/c`` to ``a-b/c``, and ``a/c``, which goes on to the end, to ``a-END/c``."""
    name, low, high, dummy = field
    parts = []
    for item in text.split(","):
        match = re.fullmatch(r"(\*|[0-9]+)(?:\.\.([0-9]+))?(?:/([0-9]+))?", item)
        if not match or (match.group(1) == "*" and match.group(2)):
            raise _error(schedule, "has the %s %r" % (name, text), "see systemd.time(7)")
        first = low if match.group(1) == "*" else int(match.group(1))
        step = int(match.group(3) or 1)
        last = int(match.group(2) or (high if match.group(3) or match.group(1) == "*" else first))
        if not low <= first <= last <= high or step < 1:
            raise _error(schedule, "has the %s %r" % (name, text), "write %d to %d, the lower first" % (low, high))
        whole = (first, last) == (low, high)
        part = "*" if whole else str(first) if first == last else "%d-%d" % (first, last)
        parts.append(part if step == 1 or first == last else part + "/%d" % step)
    return "*" if "*" in parts else ",".join(parts)
