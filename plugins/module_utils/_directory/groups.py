# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Groups as they are read, and their member lists as far as these lead to users that were read before.

Users are read first. So a list turns into stable keys by dictionary look-up while it is read, and is let go of: what it
has beyond that is followed later (`members.py`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable
from typing import Any

from .._model import Digests, UserGroup
from .._names import name_key
from .accounts import Accounts
from .digests import HASH, NO_HASH, ranged_hash
from .distinguished_names import dn_text, fast_parent, is_dn, normal_dn
from .outcomes import NAMELESS, OUT_OF_SCOPE, Found, Outcome
from .owners import NO_DN
from .presets import Entry
from .ranges import ListChanged, ranged, read_ranges, settled_ranges
from .scope import AT_TOP
from .sids import sid_of_bytes
from .source import Source
from .tokens import Tokens
from .wire import attribute_header, decode_entry

A_PAGE = 100  # of groups: their member lists make them long
_MANY_CONCERNED = 5000  # users who are gone or others, beyond which it is faster to go through all lists

# What may name a group as somebody's primary one: a number, or a SID. Who has its malformed value is no member.
_BY_NAME = "name:"  # begins the key of a group that is a name and has no entry
_PRIMARY_GROUP = re.compile(rb"-?[0-9]+|S-[0-9-]+")
_NOBODYS = None  # the value by which users name a group as their primary one, if it has none

_Range = tuple[str, str, "list[bytes]", str]  # key of the group, attribute, first values, their range


def key_of_name(name: str) -> str:
    """Return the key of a group that is nothing but a name."""
    return _BY_NAME + name_key(name)


class Group:
    """A group in scope while its members are gathered.

    ``primary`` is what a user's attribute has who has the group as primary one, by rule; ``hashed`` is the hash of the
    entry as it came, or NO_HASH if that does not decide who is a member.
    """

    __slots__ = ("as_stored", "hashed", "listed", "plain", "primary", "ranged", "record")

    def __init__(self, record: UserGroup, primary: list[bytes | None], hashed: bytes = NO_HASH) -> None:
        self.record = record
        self.hashed = hashed
        self.ranged = NO_HASH  # of the values, if they came in ranges
        self.as_stored = False  # so nothing is listed here
        # str: the key of a user; bytes: a value that was not known when it was read.
        self.listed: list[Any] = []
        self.plain = True  # all of one attribute, and all known: there is nothing to resolve and no one twice
        self.primary = primary

    def add_users(self, users: Iterable[str]) -> None:
        """Add members that no list of its own has."""
        self.listed += users
        self.plain = False
        self.hashed = NO_HASH


# --- lists that are the same -----------------------------------------------------------------------------------------


class SameLists:
    """Which lists lead to whom they led when their digest was made, if they are the same byte by byte.

    Such a list led to nobody but users, by their DNs, and all of them are stored as its members. So it leads to
    somebody else only if one of these is gone or another one now: who is new cannot have the DN of one who is not.

    ``concerned`` are the keys of the groups whose lists have somebody who is gone or another one; ``primary`` by rule
    the values by which those who changed name their primary group.
    """

    def __init__(self, concerned: Container[str], primary: list[set[bytes]]) -> None:
        self.concerned, self.primary = concerned, primary

    def has(self, key: str, primary: list[bytes | None]) -> bool:
        return key not in self.concerned and not any(value in new for value, new in zip(primary, self.primary))


class NoList:
    """Any list may lead to others."""

    def has(self, _key: str, _primary: list[bytes | None]) -> bool:
        return False


def lists_that_lead_to_the_same(source: Source, stored: Digests, accounts: Accounts) -> SameLists | NoList:
    """Return which lists do so, now that all users were read."""
    users = accounts.users
    changed = {key for key, user in users.items() if user is not None or stored.users.get(key) is None}
    others = [key for key in stored.users if key in changed or key not in users]
    if not (changed or others or accounts.came_twice):
        return SameLists((), [])
    countable = source.members_by == "dn" and not accounts.came_twice and len(others) <= _MANY_CONCERNED
    if not countable or stored.listing is None:
        return NoList()
    return SameLists(stored.listing(others), accounts.known_by.primary_values_of(changed))


# --- groups ----------------------------------------------------------------------------------------------------------


class Groups:
    """``same`` tells which lists need not be gone through; of the groups in ``unread`` the list is not read at all."""

    def __init__(self, accounts: Accounts, tokens: Tokens) -> None:
        self.accounts, self.tokens = accounts, tokens
        self.source, self.scope, self.stored = accounts.source, accounts.scope, accounts.stored
        self.owners, self.records = accounts.owners, accounts.records
        self.same: SameLists | NoList = NoList()
        self.unread: Container[str] = ()
        self.found: dict[str, Group] = {}
        self.came_twice: set[str] = set()
        self.nameless: list[Found] = []  # see owners.py
        self._ranges: list[_Range] = []
        # Most lists are as stored, and are not looked at then: so they are decoded apart from the rest of an entry.
        self.list_headers = frozenset(map(attribute_header, self.source.preset.group_members))

    def add(self, raw_dn: bytes, entry: Entry, raw: bytes, key: str = "", about_key: str = "") -> Outcome:
        """Take a group into scope and return its key; or return why not. ``entry`` may be without its members.

        ``key`` says whose entry it is, if its own key does not tell, and ``about_key`` why that is so.
        """
        preset = self.source.preset
        if not is_dn(raw_dn):
            return self.owners.note(raw_dn, entry, "", NO_DN, preset.group_key)
        dn = dn_text(raw_dn)
        if not key:
            key = self.source.key_in("group_key", preset.group_key, entry, dn)
            if not key or key in self.owners.shared or key in self.accounts.users:
                self.nameless.append((raw_dn, entry, raw))
                return NAMELESS
        home = AT_TOP
        if self.scope.needs_places:
            parent = fast_parent(raw_dn)
            home, excluded = self.scope.places.get(parent) or self.scope.place(parent)
            if excluded or key in self.scope.excluded_keys:
                return OUT_OF_SCOPE
        known = self.found.get(key)
        if known and known.record.dn == dn:
            return key
        if known:
            self._leave_behind(known)
        parent_group = home if self.source.containers_are_groups else AT_TOP
        record = self.records.group(key, dn, entry, parent_group, about_key)
        primary = [self.primary_value(attribute, entry) for _of_user, attribute in preset.primary_group]
        self._note_malformed_sid(key, dn, entry)
        group = self.found[key] = Group(record, primary, hashlib.sha256(raw).digest()[:HASH])
        self._list_members(group, raw)
        if self.source.members_by != "name":
            self.tokens.outcomes[key if self.source.members_by == "key" else normal_dn(dn)] = key
        return key

    def _leave_behind(self, known: Group) -> None:
        """Note that a group comes again from elsewhere: it moved while it was read."""
        key = known.record.key
        self.came_twice.add(key)
        token = normal_dn(known.record.dn)
        self.tokens.leave_behind(token, key)
        if self.tokens.outcomes.get(token) == key:
            del self.tokens.outcomes[token]
        self._ranges = [part for part in self._ranges if part[0] != key]

    def _note_malformed_sid(self, key: str, dn: str, entry: Entry) -> None:
        if not self.source.is_active_directory or not entry.get("objectsid"):
            return
        if sid_of_bytes(entry["objectsid"][0]) is None:
            notes = self.records.notes
            why = "its objectSid is malformed: nobody who has it as primary group is removed"
            notes.not_stored.append((dn, why))
            notes.look_again.add(key)
            notes.leave(key, "members")

    def primary_value(self, attribute: str, entry: Entry) -> bytes | None:
        """Return what the users have whose primary group this is; _NOBODYS if it is nobody's."""
        values = entry.get(attribute.lower())
        if not values:
            return _NOBODYS
        if attribute == "objectSid":
            domain, dummy, number = (sid_of_bytes(values[0]) or "").rpartition("-")
            return number.encode("ascii") if domain == self.source.directory.identity else _NOBODYS
        return values[0] if _PRIMARY_GROUP.fullmatch(values[0]) else _NOBODYS

    # --- their lists

    def _list_members(self, group: Group, raw: bytes) -> None:
        """Turn the values that the group lists into keys, as far as they are known, and let go of them.

        Most groups, in most runs, have the same list and the same users. But users outside the selected containers,
        whose primary group it is, come into scope only later.
        """
        key = group.record.key
        group.as_stored = key in self.unread or (
            self.same.has(key, group.primary)
            and self.stored.user_groups.get(key, b"")[HASH:] == group.hashed
            and (self.scope.is_whole or not any(group.primary))
        )
        if group.as_stored:
            return
        _dn, entry, _raw = decode_entry(raw, self.source.session.names)
        get = self.accounts.known_by.by_value.get
        for attribute in self.source.preset.group_members:
            part = ranged(entry, attribute) if self.source.is_active_directory else None
            if part:
                self._ranges.append((key, attribute, *part))
                group.hashed = NO_HASH
            else:
                values = entry.get(attribute.lower(), ())
                # A user may have several names.
                if self.source.members_by == "name" or (values and group.listed):
                    group.plain = False
                group.listed += map(get, values, values)

    def read_ranges(self) -> None:
        """Fetch the member lists that AD cut, each in full or not at all. By GUID: a group may be renamed meanwhile.

        A list that says something else than the stored one may lack somebody whom a range has skipped, so it is read
        until it says one thing twice. A list that is new takes nobody away.
        """
        ranges, self._ranges = self._ranges, []
        session, get = self.source.session, self.accounts.known_by.by_value.get
        for key, attribute, first_values, written in ranges:
            group, base, stored = self.found[key], "<GUID=%s>" % key, self.stored.user_groups.get(key)
            try:
                values = read_ranges(session, base, attribute, first_values, written)
            except ListChanged:
                values = settled_ranges(session, base, attribute, None)
            else:
                if stored is not None and stored[HASH:] != ranged_hash(values):
                    values = settled_ranges(session, base, attribute, values)
            group.ranged = ranged_hash(values)
            group.listed += map(get, values, values)

    def primary_values(self, rule: int) -> set[bytes]:
        """Return what users have whose primary group is in scope, by a rule."""
        return {value for value in (group.primary[rule] for group in self.found.values()) if value is not None}

    def leave_out(self, keys: Iterable[str]) -> None:
        """Let go of groups, to add them again."""
        for key in keys:
            self.found.pop(key, None)
