# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What a read has to tell beside its records: to whoever reads the result, and to the next read."""

from __future__ import annotations

from collections.abc import Iterable

EVERYTHING = "all"  # of a record, in `Snapshot.unclear`


def field(name: str) -> str:
    """Return what `Snapshot.unclear` calls a field."""
    return "attributes." + name


class Notes:
    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.not_stored: list[tuple[str, str]] = []  # see Snapshot
        self.unclear: dict[str, frozenset[str]] = {}  # see Snapshot
        self.look_again: set[str] = set()  # keys of what the next read must look at, whatever changes

    def leave(self, key: str, *names: str) -> None:
        """Note what of a record stays as it is stored, since the directory's value is malformed."""
        if names:
            self.unclear[key] = self.unclear.get(key, frozenset()).union(names)

    def leave_all_of(self, keys: Iterable[str]) -> None:
        """Note that these records stay as they are stored."""
        self.unclear.update(dict.fromkeys(keys, frozenset([EVERYTHING])))

    def not_stored_since(self, dn: str, reasons: Iterable[str]) -> None:
        """Note why an entry, or parts of it, cannot be stored."""
        self.not_stored += [(dn, reason) for reason in reasons]
