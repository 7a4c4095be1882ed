# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Primary groups, in a read of what changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .as_stored import AsStored
from .by_key import ByKey
from .distinguished_names import dn_text, normal_dn
from .filters import all_of, one_of, tests_of
from .outcomes import Found
from .outsiders import add_users_with, anybody
from .reading import Reading
from .search import batches, search

_LONGEST = 10  # digits of a primaryGroupID


class PrimaryGroups:
    """``waiting``: see `Anywhere`."""

    def __init__(self, reading: Reading, as_stored: AsStored, by_key: ByKey, waiting: Mapping[str, Found]) -> None:
        self.source, self.reading, self.as_stored, self.by_key = reading.source, reading, as_stored, by_key
        self.accounts, self.groups, self.waiting = reading.accounts, reading.groups, waiting
        self.primary = self.accounts.known_by.primary

    def add_members(self) -> None:
        """Complete the lists that were read by those whose primary group they are of; users who changed are there."""
        for rule, (attribute, _of_group) in enumerate(self.source.preset.primary_group):
            new = [group.primary[rule] for key, group in self.groups.found.items() if key not in self.as_stored.groups]
            values = sorted(value for value in new if value is not None)
            add_users_with(self.reading.seen, self.reading.outside, attribute, values, anybody)
            for group in list(self.groups.found.values()):
                value = group.primary[rule]
                if value is not None:
                    self.primary[rule].setdefault(value, []).extend(self._who_did_not_change(attribute, value))

    def _who_did_not_change(self, attribute: str, value: bytes) -> list[str]:
        """Return the keys of the users with this value who are as stored; who changed, and is in scope by it, is
        brought in.
        """
        source, preset, users = self.source, self.source.preset, self.accounts.users
        tests = all_of(preset.user_filter, tests_of(attribute, [value]))
        found = list(search(source.session, source.subtree, "sub", tests, (preset.user_key,)))
        keys = [key for key in (self.by_key.key_of(preset.user_key, one) for one in found) if key]
        for key in keys if source.adds_outside else ():
            if key in self.waiting and key not in users:
                dn = normal_dn(dn_text(self.waiting[key][0]))
                self.reading.outside.note(self.accounts.add(*self.waiting[key]), dn)
        others = [key for key in keys if key not in users and key not in self.as_stored.looked_at]
        stored = self.as_stored.known.users(others)
        return [key for key in others if key in stored]

    def groups_of(self, values: Iterable[bytes]) -> dict[bytes, str]:
        """Return {primaryGroupID: stable key of the group}."""
        source, key_attribute = self.source, self.source.preset.group_key
        found: dict[bytes, str] = {}
        for batch in batches(sorted(value for value in values if value.isdigit() and len(value) <= _LONGEST)):
            tests = one_of(
                *("(objectSid=%s-%s)" % (source.directory.identity, value.decode("ascii")) for value in batch)
            )
            for one in search(source.session, source.context, "sub", tests, (key_attribute, "objectSid")):
                value, key = self.groups.primary_value("objectSid", one[1]), self.by_key.key_of(key_attribute, one)
                if value is not None and key:
                    found[value] = key
        return found

    def joined(self) -> dict[str, list[str]]:
        """Return those who changed, by their primary groups that were not read: they may be new there."""
        if not self.source.preset.primary_group:
            return {}
        changed = {
            value: [key for key in keys if self.accounts.users.get(key) is not None]
            for value, keys in self.primary[0].items()
        }
        changed = {value: keys for value, keys in changed.items() if keys}
        groups = self.groups_of(changed)
        return {
            groups[value]: sorted(keys)
            for value, keys in changed.items()
            if value in groups
            and groups[value] in self.as_stored.groups
            and self.as_stored.is_unread_list(groups[value])
        }
