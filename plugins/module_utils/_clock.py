# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Whether the clock of this computer is to be believed, and what time to go by if not. Pure.

A clock that is wrong for one run must delete nobody: not those whose grace ends in a year, and not the history. So time
is compared with that of the last runs, and with that of the directory, if it says one. All times are in seconds since
1970.

What deletes goes by the earlier time, what takes access and what a grace begins with by the later one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

from ._model import Times
from ._named_tuple import NamedTuple

_DAY = 86400
_LONG = 7 * _DAY  # between two runs: longer ones are doubted, unless they are usual


class Clock(NamedTuple):
    """The time of a run."""

    now: int
    last: int  # when the last run was; now, if there was none
    doubt: str = ""  # why the clock is not believed, for the reader; empty if it is

    @property
    def times(self) -> Times:
        """By which a plan is made."""
        return Times(self.earlier, self.later)

    @property
    def earlier(self) -> int:
        """By this it is judged whether something has lasted long enough to be deleted, or to be given to others."""
        return min(self.now, self.last) if self.doubt else self.now

    @property
    def later(self) -> int:
        """By this it is judged who has expired, and with this it is written down since when somebody is extinct."""
        return max(self.now, self.last)


def judged(now: int, runs: Sequence[int], directory_time: int | None, directory_changed: int | None) -> Clock:
    """Return the time of this run.

    ``runs`` are the times of the last runs, the newest first; ``directory_time`` is what time the directory says that
    it is, ``directory_changed`` when it last changed by its own clock: None if it does not say so.
    """
    last = runs[0] if runs else now
    return Clock(now, last, _doubt(now, runs, directory_time, directory_changed))


def is_long(now: int, runs: Sequence[int]) -> bool:
    """Tell whether the time since the last run is longer than it usually is: only then the directory need be asked."""
    if not runs:
        return False
    pauses = [newer - older for newer, older in zip(runs, runs[1:])]
    return now - runs[0] > max(_LONG, 3 * _median(pauses) if pauses else 0)


def _median(numbers: Sequence[int]) -> float:
    """Return the middle one. The module `statistics` takes longer to load than the rest of a run's arithmetic."""
    in_order, middle = sorted(numbers), len(numbers) // 2
    return in_order[middle] if len(numbers) % 2 else (in_order[middle - 1] + in_order[middle]) / 2


def _doubt(now: int, runs: Sequence[int], directory_time: int | None, directory_changed: int | None) -> str:
    if directory_time is not None:
        if abs(now - directory_time) > _DAY:
            return "it says %s, and the directory says %s" % (_text(now), _text(directory_time))
        return ""
    newest = max([time for time in (directory_changed, *runs[:1]) if time is not None], default=now)
    if newest - now > _DAY:
        whose = "the last run was" if runs and newest == runs[0] else "the directory last changed"
        return "it says %s, and %s on %s" % (_text(now), whose, _text(newest))
    if is_long(now, runs) and (directory_changed is None or now - directory_changed > _LONG):
        return "it says %s, and the last run was on %s, which is longer ago than usual" % (_text(now), _text(runs[0]))
    return ""


def in_utc(seconds: int) -> str:
    """Return a time as in ``2026-11-30T04:00:01Z`` (RFC 3339). ``seconds``: since 1970."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return "%d seconds since 1970" % seconds
