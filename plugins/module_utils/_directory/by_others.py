# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Scope that depends on others, in a read of what changed.

Who lies outside the selected containers is in scope only as long as a group in scope has it. Example: eve lies outside
and is a nurse. She leaves the nurses. If the doctors have her, she stays in scope, though neither she nor they changed.
"""

from __future__ import annotations

from collections.abc import Mapping

from .._model import UserGroup
from .changes.common import ReadFully
from .distinguished_names import dn_text, normal_dn
from .outcomes import Found
from .primary_groups import PrimaryGroups


def check_nesting(primary_groups: PrimaryGroups, user_groups: Mapping[str, UserGroup], came_into_scope: str) -> None:
    """Raise ReadFully if groups outside the selected containers may have come into scope, or left it.

    They are in scope by being nested: that may end far from where it began. ``user_groups`` are those that were read;
    ``came_into_scope`` is the DN of a group that was found.
    """
    if came_into_scope:
        raise ReadFully("a user group outside the selected containers came into scope ('%s')" % came_into_scope)
    scope, as_stored = primary_groups.reading.scope, primary_groups.as_stored
    selected = set(map(normal_dn, scope.selected_groups))
    outside = {
        key
        for key, dn in as_stored.groups.items()
        if not scope.is_whole and not scope.has(normal_dn(dn)) and normal_dn(dn) not in selected
    }
    if not outside:
        return
    if as_stored.moved & outside:
        raise ReadFully("a user group outside the selected containers moved")
    gone = [key for key in as_stored.looked_at if key in as_stored.groups and key not in user_groups]
    before: dict[str, set[str]] = {}
    for key, nested in as_stored.known.nested([*user_groups, *gone]):
        if nested in outside:
            before.setdefault(key, set()).add(nested)
    for key in [*user_groups, *gone]:
        now = outside.intersection(user_groups[key].user_groups) if key in user_groups else set()
        if now != before.get(key, set()):
            raise ReadFully("a user group outside the selected containers came into scope or left it")


class ByOthers:
    """Users outside the selected containers.

    ``waiting`` are those who were told to have changed; ``members`` are the stored members of the lists that were read,
    and of those that are gone: key of a group -> key of a user -> DN.
    """

    def __init__(
        self, primary_groups: PrimaryGroups, waiting: Mapping[str, Found], members: Mapping[str, Mapping[str, str]]
    ) -> None:
        self.primary_groups, self.waiting, self.members = primary_groups, waiting, members
        self.reading, self.as_stored = primary_groups.reading, primary_groups.as_stored
        self.scope, self.accounts = self.reading.scope, self.reading.accounts

    def settle(self, user_groups: Mapping[str, UserGroup], left: Mapping[str, list[str]]) -> None:
        """Bring in the users whom any list, or their primary group, has; the others are out of scope.

        ``user_groups`` are those that were read; ``left`` tells who left those of which only that was told.
        """
        if self.scope.is_whole or not self.scope.source.adds_outside:
            return
        listed = self._listed(user_groups, left)
        leaving = self._leaving(listed)
        self.as_stored.learn(leaving)
        waiting = {key: found for key, found in self.waiting.items() if key not in self.accounts.users}
        elsewhere = self._listed_elsewhere(leaving, waiting)
        waiting.update(self.primary_groups.by_key.users([key for key in leaving if key not in elsewhere]))
        primary = self.primary_groups.groups_of({value for each in waiting.values() for value in self._primary(each)})
        for key in leaving:
            if key in elsewhere:
                self.accounts.take_as_stored(key)
        for key, found in waiting.items():
            normal = normal_dn(dn_text(found[0]))
            in_scope = (
                key in elsewhere
                or key in listed
                or self.scope.has(normal)
                or any(self.reading.is_user_group(primary.get(value, "")) for value in self._primary(found))
            )
            if in_scope and not self.scope.is_left_out(normal):
                self.reading.outside.note(self.accounts.add(*found), normal)

    def _listed(self, user_groups: Mapping[str, UserGroup], left: Mapping[str, list[str]]) -> set[str]:
        """Return whom the lists have that were read."""
        listed: set[str] = set()
        for key, record in user_groups.items():
            if record.members is None:
                listed.update(self.members.get(key, {}).keys() - set(left.get(key, ())))
            else:
                listed.update(record.members)
        return listed

    def _leaving(self, listed: set[str]) -> dict[str, str]:
        """Return who lies outside, did not change, and was in a list that does not have it any more: key -> DN."""
        return {
            user: dn
            for stored in self.members.values()
            for user, dn in stored.items()
            if user not in listed
            and user not in self.as_stored.looked_at
            and user not in self.accounts.users
            and not self.scope.has(normal_dn(dn))
        }

    def _listed_elsewhere(self, leaving: Mapping[str, str], waiting: Mapping[str, Found]) -> set[str]:
        """Return whom the lists have that were not read: these are as stored, and who moved has none such.

        An extinct user may be in them, but is not in scope by that.
        """
        asked = [*leaving, *self.as_stored.users.keys() & waiting.keys()]
        return {
            user
            for user, group in self.as_stored.known.listing(asked)
            if user not in self.as_stored.moved and self.as_stored.is_unread_list(group)
        }

    def _primary(self, found: Found) -> list[bytes]:
        """Return the values by which a user names its primary group."""
        return [found[1][name][0] for _rule, name in self.accounts.known_by.primary_of_user if name in found[1]]
