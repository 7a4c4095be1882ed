# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store whose users, user groups and memberships a test says at once: what differs is applied as a run does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from . import plans


class Company:
    """User groups below All/Company with who is in them; the stable key of ``ann`` is ``key-ann``."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self._users: dict[str, Any] = {}
        self._groups: dict[str, Any] = {}
        self._members: dict[str, set[str]] = {}

    def becomes(
        self, groups: Mapping[str, Iterable[str]], people: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Make it so: {user group: names of its members}, and what of a person is not as by default, by name.

        ``name`` among it is the name now, of who was called otherwise when he came.
        """
        members = {group: set(names) for group, names in groups.items()}
        users = {}
        for name in sorted({*(people or {}), *(name for names in members.values() for name in names)}):
            more = dict((people or {}).get(name, {}))
            attributes = {"display_name": name.title(), "email": name + "@corp.example", **more.pop("attributes", {})}
            users["key-" + name] = plans.user_record(more.pop("name", name), attributes=attributes, **more)
        records = {"key-" + group: plans.group_record(group) for group in members}
        changes = [
            plans.membership_change(
                "key-" + group,
                ["key-" + each for each in sorted(names - self._members.get(group, set()))],
                ["key-" + each for each in sorted(self._members.get(group, set()) - names) if "key-" + each in users],
            )
            for group, names in members.items()
        ]
        plan = plans.make_plan(
            plans.group_changes(self._groups, records),
            plans.user_changes(self._users, users),
            [each for each in changes if each.users_added or each.users_removed],
        )
        plans.apply(self.store, plan)
        self._users, self._groups, self._members = users, records, members
