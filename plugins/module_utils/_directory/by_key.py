# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Entries by their stable keys."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .changes.common import ReadFully
from .distinguished_names import dn_text
from .filters import all_of
from .groups import A_PAGE
from .outcomes import Found
from .owners import NO_KEY, NOBODY, Owners
from .search import How, batches, search
from .stable_keys import any_of


class ByKey:
    def __init__(self, owners: Owners) -> None:
        self.owners, self.source = owners, owners.source

    def key_of(self, attribute: str, found: Found) -> str:
        """Return the stable key of an entry; NOBODY if it has none that can be one, which a read of everything
        tells.
        """
        key = self.source.key_in("user_key", attribute, found[1], dn_text(found[0]))
        if not key:
            self.owners.note(found[0], found[1], NOBODY, NO_KEY % attribute, attribute)
        return key

    def users(self, keys: Collection[str]) -> dict[str, Found]:
        """Return the users with these keys that match the filter, wherever they are: key -> entry."""
        preset = self.source.preset
        size = self.source.session.page_size
        return self._fetch(keys, preset.user_key, preset.user_filter, self.source.user_attributes, size)

    def groups(self, keys: Collection[str], with_lists: bool = True) -> dict[str, Found]:
        """Return the groups with these keys that match the filter, wherever they are: key -> entry."""
        preset, attributes = self.source.preset, self.source.group_attributes
        if not with_lists:
            lists = {name.lower() for name in preset.group_members}
            attributes = tuple(name for name in attributes if name.lower() not in lists)
        size = min(A_PAGE, self.source.session.page_size)
        return self._fetch(keys, preset.group_key, preset.group_filter, attributes, size)

    def _fetch(
        self, keys: Collection[str], attribute: str, filter: str, attributes: Sequence[str], size: int
    ) -> dict[str, Found]:
        found: dict[str, Found] = {}
        twice = ""
        source = self.source
        for batch in batches(sorted(keys)):
            tests = all_of(filter, any_of(attribute, batch))
            for each in search(source.session, source.subtree, "sub", tests, attributes, How(page_size=size)):
                key = self.key_of(attribute, each)
                if not key:
                    continue
                twice = twice or (key if key in found and found[key][0] != each[0] else "")
                found[key] = each
        if twice:
            raise ReadFully("the stable key '%s' came with two DNs" % twice)
        return found
