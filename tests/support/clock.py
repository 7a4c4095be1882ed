# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in for the module `time` in the code under test: a test about time needs none, and no machine is slow."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Clock:
    """A clock that goes on only if somebody sleeps by it. All else is that of `time`.

    :param now: seconds since 1970; `monotonic` says the same.
    """

    def __init__(self, now: float = 0) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    monotonic = time  # the method above

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class WatchedTime:
    """The module `time`, which tells as soon as somebody sleeps: code that looks again and again has begun to wait."""

    def __init__(self) -> None:
        self._slept = threading.Event()

    def sleep(self, seconds: float) -> None:
        self._slept.set()
        time.sleep(seconds)

    def somebody_sleeps(self) -> bool:
        """Wait until somebody sleeps; false if nobody does within a minute."""
        return self._slept.wait(60)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@contextmanager
def one_second(module: Any) -> Iterator[None]:
    """All that `module` does meanwhile happens in one second, so that what it says of times is the same each time."""
    clock = module.time
    module.time = _OneSecond(clock)
    try:
        yield
    finally:
        module.time = clock


class _OneSecond:
    def __init__(self, clock: Any) -> None:
        self._clock, self._now = clock, clock.time()

    def time(self) -> float:
        return self._now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)
