# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Whom to look at, since it may be other than stored.

These are all that changed or are gone; who waits for a name, or is changed by time alone; who may be seen again; and
the lists with a value that leads to somebody else than before.
"""

from __future__ import annotations

from .._mark import DeadEnd, Mark
from .._model import Unresolved
from .as_stored import AsStored
from .by_key import ByKey
from .changes.common import MANY, ReadFully
from .distinguished_names import dn_text, normal_dn
from .filters import all_of, below_parents, one_of
from .members import Lists
from .outcomes import UNKNOWN, Found
from .owners import BOTH, NOBODY
from .position import Position
from .scope import Scope
from .search import MISSING_OK, search
from .stable_keys import keys_of
from .told import ToldLists

NOT_BY_KEY = "the server does not find '%s' by its key"

_NEVER = None  # when the grace of users ends who are kept


class Candidates:
    """``last`` is the mark that the read goes on from."""

    def __init__(self, scope: Scope, as_stored: AsStored, by_key: ByKey, told: ToldLists, last: Mark) -> None:
        self.source, self.scope, self.as_stored, self.by_key, self.told = scope.source, scope, as_stored, by_key, told
        self.notes = by_key.owners.notes
        self.last = last.reached
        self.changed: dict[str, str] = {}  # key -> DN now: see Changes
        self.read_as_users: set[str] = set()  # keys of users who are user groups as well

    def look_at(self, position: Position) -> tuple[dict[str, Found], dict[str, Found]]:
        """Read all that may be other than stored; return the users and the groups among it that match the filters."""
        found = position.since_last(self.last, self.as_stored.known)
        self.changed = found.changed
        looked_at = self.as_stored.looked_at
        looked_at.update(found.changed, found.gone, self.last.again)
        looked_at.update(self._that_wait())
        looked_at.update(self.told.changes.keys() & self.as_stored.groups.keys())  # which is not told again
        looked_at.update(key for key, digest in self.as_stored.digests.user_groups.items() if not digest)
        looked_at.update(self._lists_that_lead_elsewhere())
        if len(looked_at) > 2 * MANY:
            raise ReadFully("more than %d entries changed, or wait for somebody else's name" % MANY)
        self.as_stored.learn(looked_at)
        users = self.by_key.users(looked_at)
        groups = self.told.fetch_groups(looked_at, {*self.last.again, *self._with_dead_ends()})
        self._settle_what_is_both(users, groups)
        self._check_not_found({key: dn for key, dn in found.changed.items() if key not in users and key not in groups})
        return users, groups

    def _that_wait(self) -> set[str]:
        """Return who must be looked at whatever changed.

        Who could not be seen may be seen again, and nothing says so: who is to be deleted is looked at once more.
        """
        settings, now = self.source.settings, self.source.now
        deletes_users, deletes_groups = settings.user_extinction == "delete", settings.user_group_extinction == "delete"
        ends = now - settings.user_extinction_grace_days * 86400 if deletes_users else _NEVER
        known = self.as_stored.known
        return {*known.to_look_at(now), *known.extinct(ends, deletes_groups)}

    def _settle_what_is_both(self, users: dict[str, Found], groups: dict[str, Found]) -> None:
        """See owners.py: an entry that is a user and a user group is what it was, and a new one is a user."""
        for key in users.keys() & groups.keys():
            dn = users[key][0]
            if groups[key][0] != dn:
                raise ReadFully("two entries have one stable key")
            is_group = key in self.as_stored.groups and key not in self.as_stored.users
            if is_group:
                del users[key]
            else:
                del groups[key]
                self.read_as_users.add(key)
            if not self.scope.is_left_out(normal_dn(dn_text(dn))):
                kinds = ("user group", "user") if is_group else ("user", "user group")
                self.notes.not_stored.append((dn_text(dn), BOTH % kinds))
                self.notes.look_again.add(key)

    # An equality index that was added, and not built, answers with nothing for what was there before (OpenLDAP,
    # slapindex(8); 389 Directory Server, db2index): so what is not found by key is looked for by DN as well.

    def _check_not_found(self, changed: dict[str, str]) -> None:
        """Refuse to believe that of what changed somebody is no user and no group, if it is found to be one by DN.

        ``changed``: stable key -> DN, empty if what changed was asked for by the filters.
        """
        if "" in changed.values():
            raise ReadFully(NOT_BY_KEY % min(key for key, dn in changed.items() if not dn))
        session, preset = self.source.session, self.source.preset
        either = one_of(preset.user_filter, preset.group_filter)
        dns = {normal_dn(dn): dn for dn in changed.values()}
        dns.pop(self.source.context_normal, None)
        for base, tests in below_parents(dns):
            for dn, entry, _raw in search(session, base, "one", all_of(either, tests), (preset.user_key,), MISSING_OK):
                is_one = changed.keys() & set(keys_of(entry, preset.user_key))
                if is_one and not self.scope.is_left_out(normal_dn(dn_text(dn))):
                    raise ReadFully(NOT_BY_KEY % dn_text(dn))

    # --- values that led to no one

    def _lists_that_lead_elsewhere(self) -> set[str]:
        """Return the lists with a value that leads to somebody else than before.

        If that one's entry changed so that it is a user or a group now, it has come: see `concerned.py`.
        """
        before = self.last.dead_ends
        there = keys_at(self.scope, {token: next(iter(end.lists.values())).value for token, end in before.items()})
        return {group for token, end in before.items() if there.get(token, NOBODY) != end.who for group in end.lists}

    def _with_dead_ends(self) -> set[str]:
        return {group for end in self.last.dead_ends.values() for group in end.lists}

    def keep_dead_ends(self, lists: Lists) -> None:
        """Keep the dead ends of lists that were not read."""
        for token, end in self.last.dead_ends.items():
            for group, listed in end.lists.items():
                if group in self.as_stored.groups and self.as_stored.is_unread_list(group):
                    lists.dead_ends.setdefault(token, DeadEnd(end.who, {})).lists[group] = listed
                    if listed.is_reported:
                        lists.unresolved.append((group, Unresolved(listed.value, UNKNOWN.reason)))


def keys_at(scope: Scope, dns: dict[str, str]) -> dict[str, str]:
    """Return the stable keys of who is there now: normal DN -> key. ``dns``: normal DN -> DN as written."""
    session, attribute = scope.source.session, scope.source.preset.user_key
    keys: dict[str, str] = {}
    for base, tests in below_parents(dns):
        for dn, entry, _raw in search(session, base, "one", tests, (attribute,), MISSING_OK):
            keys.update((normal_dn(dn_text(dn)), key) for key in keys_of(entry, attribute))
    return keys
