# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Lists of which it is told, value by value, what came to them and what left them: they are not read.

Active Directory tells that (`changes/lists.py`). It is believed if the list is stored as it was read, the group is
where it was, and the server finds the group by a filter that asks for all that came and for nothing that left. It must
find the group, so one that finds nothing confirms nothing.

Example: it is told that bob came to the nurses and ann left them. `(&(objectGUID=...)(member=bob)(!(member=ann)))`
finds the group, so bob is added, ann is removed, and the other ten thousand members are as stored.
"""

from __future__ import annotations

from collections.abc import Mapping

from .._model import UserGroup
from .as_stored import AsStored
from .by_key import ByKey
from .changes.common import ListChange, ReadFully
from .distinguished_names import dn_text, normal_dn
from .filters import all_of, below_parents, tests_of
from .groups import Groups
from .members import Finder, Values
from .outcomes import Found
from .position import Position
from .search import MISSING_OK, finds_any, search
from .stable_keys import any_of, keys_of

_MANY_VALUES = 200  # more than these are not told one by one


class ToldLists:
    def __init__(
        self,
        as_stored: AsStored,
        by_key: ByKey,
        groups: Groups,
        values: Values,
        position: Position,
    ) -> None:
        self.source, self.as_stored, self.by_key = by_key.source, as_stored, by_key
        self.groups, self.values, self.position = groups, values, position
        # Keys of groups of which that will do. It stays this very set, which the groups go by.
        self.unread: set[str] = set()
        self.joined: dict[str, list[str]] = {}  # key of such a group -> keys of users who are new in it
        self.left: dict[str, list[str]] = {}
        groups.unread = self.unread

    @property
    def changes(self) -> Mapping[str, ListChange]:
        """Key of a group -> what is told of its list."""
        return self.position.list_changes

    def fetch_groups(self, keys: set[str], not_told: set[str]) -> dict[str, Found]:
        """Return the groups with these keys: without their lists those whose lists need not be read.

        ``not_told`` are lists that must be read whatever is told of them.
        """
        told = {
            key
            for key in keys.intersection(self.changes)
            if self.as_stored.digests.user_groups.get(key)
            and key not in not_told
            and len(self.source.preset.group_members) == 1
        }
        without = self.by_key.groups(told, with_lists=False)
        self.unread.update(key for key, found in without.items() if dn_text(found[0]) == self.as_stored.groups[key])
        groups = self.by_key.groups(keys - self.unread)
        return {**groups, **{key: without[key] for key in self.unread}}

    def follow(self, lists: dict[str, Found], finder: Finder) -> None:
        """Turn what came to lists, and what left them, into users; if that cannot be told, read the list."""
        self.unread.intersection_update(lists)
        confirmed = [key for key in self.unread if self._confirms(key, lists[key], self.changes[key])]
        added = {value for key in confirmed for value in self.changes[key].added}
        self.values.resolve(added.difference(self.values.outcomes), finder)
        keys_at = self._keys_at({value for key in confirmed for value in self.changes[key].removed})
        for key in confirmed:
            self._note_users(key, self.changes[key], keys_at)
        told_nothing = self.unread - self.joined.keys()
        self.unread.difference_update(told_nothing)
        self.groups.leave_out(told_nothing)
        for key in told_nothing:
            del lists[key]
        lists.update(self.by_key.groups(told_nothing))
        if not told_nothing <= lists.keys():
            raise ReadFully("a user group vanished while it was read")

    def _note_users(self, key: str, change: ListChange, keys_at: Mapping[bytes, str]) -> None:
        """Note who joined and who left, if all of these are users who are known."""
        joined = [who for who in map(self.values.outcomes.__getitem__, change.added) if isinstance(who, str)]
        left = [keys_at.get(value, "") for value in change.removed]
        if (
            len(joined) == len(change.added)
            and all(who in self.groups.accounts.users for who in joined)
            and all(left)
            and not self.as_stored.groups.keys() & set(left)
        ):
            self.joined[key], self.left[key] = joined, left

    def _keys_at(self, values: set[bytes]) -> dict[bytes, str]:
        """Return the stable keys of who is there now: DN -> key."""
        tokens = {value: self.groups.tokens.of(value) for value in values}
        dns = {token: dn_text(value) for value, token in tokens.items() if isinstance(token, str)}
        session, attribute = self.source.session, self.source.preset.user_key
        keys: dict[str, str] = {}
        for base, tests in below_parents(dns):
            for dn, entry, _raw in search(session, base, "one", tests, (attribute,), MISSING_OK):
                keys.update((normal_dn(dn_text(dn)), key) for key in keys_of(entry, attribute))
        return {value: keys[token] for value, token in tokens.items() if isinstance(token, str) and token in keys}

    def _confirms(self, key: str, found: Found, change: ListChange) -> bool:
        """Return whether the server finds the group as one whose list has all that came and nothing that left.

        A group that is somebody's primary one has members who are not in its list.
        """
        session, preset = self.source.session, self.source.preset
        for of_user, of_group in preset.primary_group:
            value = self.groups.primary_value(of_group, found[1])
            tests = all_of(preset.user_filter, tests_of(of_user, [value or b""]))
            if value is not None and finds_any(session, self.source.subtree, "sub", tests):
                return False
        if len(change.added) + len(change.removed) > _MANY_VALUES:
            return False
        (attribute,) = preset.group_members
        tests = all_of(
            any_of(preset.group_key, [key]),
            tests_of(attribute, sorted(change.added)),
            *("(!%s)" % tests_of(attribute, [value]) for value in sorted(change.removed)),
        )
        return finds_any(session, self.source.subtree, "sub", tests)

    def with_nested(self, finished: dict[str, UserGroup]) -> dict[str, UserGroup]:
        """Return the finished groups, those that were not read with the groups that the store has in them."""
        nested: dict[str, list[str]] = {key: [] for key in self.unread}
        for key, child in self.as_stored.known.nested(self.unread):
            nested[key].append(child)
        return {**finished, **{key: finished[key]._replace(user_groups=nested[key]) for key in self.unread}}
