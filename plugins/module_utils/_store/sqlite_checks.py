# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Looking through an SQLite store for damage, while a run does something else.

What SQLite itself finds: pages that are none, and, of the whole store, indexes that lack a row. `sqlite_damage.py`
finds more, and takes longer.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Callable

from . import sqlite_file


class Checks:
    """The checks of one open store: see `contract.py`."""

    def __init__(self, connection: sqlite3.Connection, path: str, is_held: bool) -> None:
        self._connection = connection
        self._path = path
        self._is_held = is_held  # by a run; else it is only looked at, and another connection would leave a trace
        self._waiting: dict[bool, Callable[[], None]] = {}  # whether of the whole store -> what waits for the end
        self.whole = False

    @property
    def begun(self) -> bool:
        """Whether there is anything to wait for."""
        return bool(self._waiting)

    def begin(self, whole: bool) -> None:
        """Begin to look through the store, with ``whole`` through its indexes, too; unless that has begun."""
        if whole in self._waiting:
            return
        self.whole = self.whole or whole
        if self._is_held:
            from . import sqlite_backups  # most runs that read what changed look through nothing

            self._waiting[whole] = sqlite_backups.meanwhile(functools.partial(_check_as_committed, self._path, whole))
        else:
            self._waiting[whole] = functools.partial(sqlite_file.check, self._connection, self._path, whole)

    def end(self) -> None:
        """Wait for the end of all that has begun. Raises StoreError if the store is damaged."""
        while self._waiting:
            self._waiting.popitem()[1]()


def _check_as_committed(path: str, whole: bool) -> None:
    with contextlib.closing(sqlite_file.connect(path, "mode=ro")) as connection:
        sqlite_file.check(connection, path, whole)
