# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What a read of what changed knows of those whom it does not read: they are as stored.

Whoever was *looked at* was asked for by key. Nothing of such a one is as stored until it is read.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from .._model import Digests

OF_ANOTHER = ""  # the DN of a user whom another synchronization writes: see `Known` in `_store`


class AsStored:
    """A `members.Unread`. ``known`` answers who is stored: see `Known` in `_store/for_reader.py`."""

    def __init__(self, known: Any) -> None:
        self.known = known
        groups = known.user_groups()
        self.groups: dict[str, str] = {key: dn for key, (_digest, dn) in groups.items()}  # key -> DN
        self.users: dict[str, str] = {}  # key -> DN, or OF_ANOTHER, of those that were looked at
        self.looked_at: set[str] = set()  # keys
        self.moved: set[str] = set()  # keys of those who are not where the store has them
        self.lists_read: Container[str] = ()  # keys of groups
        self.digests = Digests(
            {},
            {key: digest for key, (digest, _dn) in groups.items()},
            known.foreign_users(),
            known.selected,
            others={},
            dns=known.dns,
            group_dns=self.groups,
        )

    def learn(self, keys: Iterable[str]) -> None:
        """Learn what the store has of these users."""
        for key, (digest, dn, other) in self.known.users(keys).items():
            self.digests.users[key] = digest
            self.users[key] = dn
            if digest is None:
                self.digests.others[key] = other

    def is_user_group(self, key: str) -> bool:
        return key in self.groups and key not in self.looked_at

    def is_in_scope(self, key: str) -> bool:
        return key not in self.looked_at and (key in self.groups or key in self.known.users([key]))

    def is_listed(self, key: str) -> bool:
        return any(self.is_unread_list(group) for _user, group in self.known.listing([key]))

    def is_unread_list(self, group: str) -> bool:
        return group not in self.lists_read and group not in self.looked_at
