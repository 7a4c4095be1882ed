# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Which member lists to read, since they changed or may lead to others than before.

A list has DNs. Whom it leads to is another matter as soon as somebody comes to have that DN, or has it no longer. So
all lists are read that have the old or the new DN of anybody who came, went, was renamed or moved. Example: bob is
deleted, and ann is renamed to bob. The nurses list `uid=bob`, and did not change: they are read, since they have ann's
new DN.
"""

from __future__ import annotations

from collections.abc import Mapping

from .as_stored import AsStored
from .by_key import ByKey
from .changes.common import ReadFully
from .distinguished_names import dn_text, normal_dn
from .filters import all_of, one_of, tests_of
from .groups import A_PAGE
from .outcomes import Found
from .scope import Scope
from .search import How, batches, search
from .told import ToldLists


class ConcernedLists:
    """``lists``: the groups in scope whose lists are read, or told: key -> entry."""

    def __init__(self, scope: Scope, as_stored: AsStored, by_key: ByKey, told: ToldLists) -> None:
        self.source, self.scope, self.as_stored, self.by_key, self.told = scope.source, scope, as_stored, by_key, told
        self.lists: dict[str, Found] = {}

    def find(self, users: Mapping[str, Found], groups: Mapping[str, Found], no_groups: set[str]) -> dict[str, Found]:
        """Find them, and return them. ``users`` and ``groups`` were looked at; ``no_groups`` are keys of users."""
        dns = self._dns_of_who_moved(users, groups)
        self.lists = {key: found for key, found in groups.items() if self._is_in_scope(key, found)}
        self._add_those_with(dns, no_groups)
        self._add_those_that_the_store_has(users)
        return self.lists

    def _dns_of_who_moved(self, users: Mapping[str, Found], groups: Mapping[str, Found]) -> set[str]:
        """Return the old and the new DNs of who came, went or moved."""
        dns: set[str] = set()
        for stored, found in ((self.as_stored.users, users), (self.as_stored.groups, groups)):
            for key in self.as_stored.looked_at:
                before = stored.get(key)
                now = dn_text(found[key][0]) if key in found else None
                if before != now:
                    dns.update(dn for dn in (before, now) if dn)
                    self.as_stored.moved.update([key] if key in stored else ())
        return dns

    def _add_those_with(self, dns: set[str], no_groups: set[str]) -> None:
        """Add the lists that have one of these DNs."""
        source, preset = self.source, self.source.preset
        size = min(A_PAGE, source.session.page_size)
        for batch in batches(sorted(dn.encode("utf-8") for dn in dns)):
            tests = all_of(preset.group_filter, one_of(*(tests_of(each, batch) for each in preset.group_members)))
            found = search(source.session, source.subtree, "sub", tests, source.group_attributes, How(page_size=size))
            for one in list(found):
                key = self.by_key.key_of(preset.group_key, one)
                if not key or key in no_groups:
                    continue
                if (key not in self.lists or key in self.told.unread) and self._is_in_scope(key, one):
                    self.lists[key] = one
                    self.told.unread.discard(key)

    def _add_those_that_the_store_has(self, users: Mapping[str, Found]) -> None:
        """Add the lists in which the store has who moved, or comes back."""
        known, moved, looked_at = self.as_stored.known, self.as_stored.moved, self.as_stored.looked_at
        listing = {key for _member, key in known.nesting(moved)}
        # Who comes back, whose memberships may have been kept (user_extinction: skip) though lists let go of it.
        coming = [key for key in users if key not in self.as_stored.users]
        listing.update(key for _member, key in known.listing(coming))
        if not self.source.is_active_directory:  # whose lists follow who moves, and let go of who is deleted
            listing.update(key for _member, key in known.listing(moved))
        unread = self.told.unread
        wanted = {key for key in listing if key in unread or key not in self.lists and key not in looked_at}
        more = self.by_key.groups(wanted)
        self.lists.update((key, found) for key, found in more.items() if self._is_in_scope(key, found))
        unread.difference_update(more)
        for key in listing.difference(self.lists, looked_at):  # stored, and there no longer, though nothing said so
            raise ReadFully("the user group with the stable key '%s' is not there any more" % key)

    def _is_in_scope(self, key: str, found: Found) -> bool:
        """Return whether the group is in scope: by where it lies, or since it was and neither moved."""
        dn = dn_text(found[0])
        return self.scope.has(normal_dn(dn)) or self.as_stored.groups.get(key) == dn
