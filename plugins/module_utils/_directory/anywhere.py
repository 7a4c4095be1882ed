# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Who is listed, and was not among those that changed: as stored, unless it came or moved since that was asked."""

from __future__ import annotations

from collections.abc import Mapping

from .as_stored import OF_ANOTHER, AsStored
from .by_key import ByKey
from .changes.common import ReadFully
from .distinguished_names import dn_text, normal_dn
from .lookups import LookUps, Pending
from .members import Seen
from .outcomes import AMBIGUOUS, NAMELESS, OUT_OF_SCOPE, Found, Outcome
from .scope import Outside
from .stable_keys import keys_of


def who_moved(dn: bytes) -> ReadFully:
    """Return why everything is read if somebody is not where it was: nothing said that it moved. So it did after that
    was asked, and what was read of lists may be older, or newer.
    """
    return ReadFully("'%s' moved while what changed was read" % dn_text(dn))


class Anywhere:
    """A `members.Finder`.

    ``waiting`` are users outside the selected containers who were told to have changed: the lists that concern them
    were read after they were.
    """

    def __init__(
        self,
        outside: Outside,
        as_stored: AsStored,
        by_key: ByKey,
        lookups: LookUps,
        seen: Seen,
        waiting: Mapping[str, Found],
    ) -> None:
        self.source, self.scope, self.outside = outside.scope.source, outside.scope, outside
        self.as_stored, self.by_key, self.lookups, self.seen = as_stored, by_key, lookups, seen
        self.waiting = waiting
        self.came_into_scope = ""  # DN of a group outside the selected containers

    def spelled_otherwise(self, _tokens: set[str]) -> dict[str, Outcome]:
        """Leave it to the server: few values are not known here, and many users are."""
        return {}

    # --- users

    def users(self, pending: Pending) -> dict[str, Outcome]:
        """Find the users who are listed and are not among the changed ones, nor stored as members of what was read."""
        found: dict[str, Outcome] = {}
        source, attribute = self.source, self.source.preset.user_key
        wanted = {token: values for token, values in pending.items() if source.adds_outside or self.scope.has(token)}
        for matches in self.lookups.look_up(wanted, source.preset.user_filter, source.user_attributes, [attribute]):
            self.as_stored.learn(
                [key for entries in matches.values() for each in entries for key in keys_of(each[1], attribute)]
            )
            for token, entries in matches.items():
                entries = [each for each in entries if not self.scope.is_left_out(normal_dn(dn_text(each[0])))]
                if len({each[0] for each in entries}) > 1:
                    found[token] = AMBIGUOUS
                elif entries:
                    known = self.seen.whom(attribute, self.seen.accounts.users, entries[0], token)
                    found[token] = known or self.outside.note(self._add(entries[0], token), token)
                else:
                    found[token] = OUT_OF_SCOPE
        return found

    def _add(self, found: Found, normal: str) -> Outcome:
        """Take a user into scope who is listed, and of whom nothing says that it changed.

        So it has been there before: where the store has it, or outside of what is selected, or left out as a disabled
        newcomer. Else it came or moved after the read began, and what other lists say of it was read before that.
        """
        key = self.seen.accounts.add(*found)
        if isinstance(key, str) and self._came_or_moved(key, found, normal):
            raise ReadFully("'%s' came or moved while what changed was read" % dn_text(found[0]))
        return key

    def _came_or_moved(self, key: str, found: Found, normal: str) -> bool:
        if key in self.as_stored.users:
            is_where_it_was_read = key in self.waiting and self.waiting[key][0] == found[0]
            return self.as_stored.users[key] not in (OF_ANOTHER, dn_text(found[0])) and not is_where_it_was_read
        user = self.seen.accounts.users[key]
        return (
            key not in self.as_stored.looked_at
            and self.scope.has(normal)
            and user is not None
            and (user.enabled or not self.source.settings.ignore_disabled_users)
        )

    # --- groups

    def groups(self, pending: Pending) -> dict[str, Outcome]:
        """Find the groups that are listed: as stored, or among those that changed."""
        found: dict[str, Outcome] = {}
        source, attribute = self.source, self.source.preset.group_key
        for matches in self.lookups.look_up(pending, source.preset.group_filter, source.group_attributes, [attribute]):
            for token, entries in matches.items():
                found[token] = self._group(entries[0], token)
        return found

    def _group(self, found: Found, token: str) -> Outcome:
        key = self.by_key.key_of(self.source.preset.group_key, found)
        read = self.seen.groups.found
        if not key:
            return NAMELESS
        if key in read or self.as_stored.is_user_group(key):
            dn = read[key].record.dn if key in read else self.as_stored.groups[key]
            if self.source.members_by == "dn" and normal_dn(dn) != token:
                raise who_moved(found[0])
            return key
        if self.scope.has(token):
            return self.seen.groups.add(*found)
        self.came_into_scope = token
        return OUT_OF_SCOPE
