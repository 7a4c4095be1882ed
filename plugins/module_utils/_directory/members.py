# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Member lists: what their values lead to, and what becomes of them.

*Collect.* Users are read before groups. So most values are known when a list is read (`groups.py`): `uid=ann,ou=people`
is the DN of a user as it was read, byte for byte. What is not known then stays as a value.

*Resolve.* Values are resolved together, round by round, since a group that comes into scope by being nested brings
values of its own. Each value has a token (`tokens.py`), and for each token the first of these that knows an answer
gives it:

1. Who was read, or found for another value. Example: `UID=ANN, ou=people` is ann.
2. Users who are found by it: outside the selected containers they come into scope by that, with `outside_members: add`.
3. Groups who are found by it: they come into scope with all that they list.
4. Whatever else is found: a computer, a contact, somebody who is left out by a filter, a user of another domain.
5. The one who was there before, if somebody came again elsewhere while it was read.

A value that leads to no one is reported if nobody knows who it is. It is kept all the same: a membership that is stored
ends only if its value has left the list.

*Who is not where it was read.* A value may lead to somebody who was read elsewhere, since it moved meanwhile. The list
means that one, and the record tells where it was read. So nothing would tell the next read that the value meant it, and
the membership carries the value along (`listed_as`). Example: ann is read as `ann`, then she is renamed to `ann2`, and
the nurses are read, who list `ann2`. She is a nurse, and that membership says `ann2`. Then she is renamed to `ann3`,
and the list does not follow. She stays a nurse, since `ann2` is still listed. A read of what changed does not go that
far: everything is read instead.

*Finish.* A list becomes references of users and user groups, each once, and the values that are kept. If its digest is
the stored one, it leads to whom it led.

Example: the nurses list ann, `cn=inner` in another container, and `uid=gone`. Ann is known when the list is read. The
group `inner` is found, comes into scope and brings bob. `uid=gone` is found nowhere: it is kept, and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Protocol

from .._mark import DeadEnd, Listed
from .._model import AS_STORED, Digests, Unresolved, UserGroup
from .accounts import Accounts
from .digests import NO_HASH, members_hash
from .distinguished_names import dn_text, normal_dn, rdn_value
from .filters import ANYTHING, each_once
from .groups import Group, Groups
from .lookups import LookUps, Pending
from .notes import Notes
from .outcomes import (
    AMBIGUOUS,
    COMPUTER,
    FOREIGN,
    KIND_OF_CLASS,
    NAMELESS,
    OUT_OF_SCOPE,
    UNKNOWN,
    UNKNOWN_WHO,
    WELL_KNOWN,
    Found,
    Miss,
    Outcome,
)
from .owners import NOBODY, Owners
from .presets import Entry
from .scope import Scope
from .search import search
from .sids import sid_of_bytes
from .stable_keys import any_of, key_reader, keys_of
from .state import is_trust_account
from .tokens import BIT_STRING, Tokens

_ASKED_FOR_EACH = 1000  # DNs that are asked for one by one, each time that values are resolved

# What it means that somebody, by DN and by token of a listed value, is not where it was read.
Surprise = Callable[[Tokens, bytes, str], None]


class Unread(Protocol):
    """What is known of who is not read."""

    def is_user_group(self, key: str) -> bool:
        """Return whether this is the key of a user group in scope."""

    def is_in_scope(self, key: str) -> bool:
        """Return whether this is the key of a user or of a user group in scope."""

    def is_listed(self, key: str) -> bool:
        """Return whether a list that was not read has this user."""


class Finder(Protocol):
    """Finds who is listed and was not read. Each returns what is found: token -> what it leads to."""

    def spelled_otherwise(self, tokens: set[str]) -> dict[str, Outcome]:
        """Find users who were read, by DNs that lists spell in their own way."""

    def users(self, pending: Pending) -> dict[str, Outcome]:
        """Find users."""

    def groups(self, pending: Pending) -> dict[str, Outcome]:
        """Find groups."""


# --- who was read before ---------------------------------------------------------------------------------------------


class Seen:
    """Tells of an entry that is found by a listed value whether it was read before."""

    def __init__(
        self, owners: Owners, accounts: Accounts, groups: Groups, tokens: Tokens, on_surprise: Surprise
    ) -> None:
        self.source, self.owners = owners.source, owners
        self.accounts, self.groups, self.tokens = accounts, groups, tokens
        self.on_surprise = on_surprise

    def by_key(self, attribute: str, among: Container[str], entry: Entry) -> str:
        """Return the entry's key if it is among these and only this entry has it; else NOBODY."""
        key = key_reader(attribute)(entry.get(attribute.lower(), []))
        return key if key in among and key not in self.owners.shared else NOBODY

    def whom(self, attribute: str, among: Container[str], found: Found, token: str) -> str:
        """Return the key of whom a value leads to, if that is one of these; else NOBODY."""
        key = self.by_key(attribute, among, found[1])
        known_by = self.accounts.known_by
        read: Outcome | None
        if self.source.members_by == "dn":
            read = known_by.by_value.get(found[0]) or self.tokens.outcomes.get(normal_dn(dn_text(found[0])))
        else:
            read = key if self.source.members_by == "key" else known_by.by_name.get(token)
        if key and read != key:
            self.on_surprise(self.tokens, found[0], token)
        return key

    def who_else(self, found: Found, token: str) -> Outcome:
        """Return what a value leads to that is no user and no group in scope, unless it was read elsewhere."""
        dn, entry, _raw = found
        if dn in self.owners.named:
            return NAMELESS
        preset = self.source.preset
        for attribute, seen in ((preset.user_key, self.accounts.users), (preset.group_key, self.groups.found)):
            key = self.by_key(attribute, seen, entry)
            if key and not self._is_anothers(attribute, key, dn):
                return self.whom(attribute, seen, found, token)
        classes = {value.lower() for value in entry.get("objectclass", ())}
        if b"foreignsecurityprincipal" in classes:
            return self._foreign_principal(dn, entry)
        if self.source.is_active_directory and is_trust_account(entry):
            return COMPUTER
        return next((miss for name, miss in KIND_OF_CLASS.items() if name in classes), OUT_OF_SCOPE)

    def _is_anothers(self, attribute: str, key: str, dn: bytes) -> bool:
        """Return whether another entry has the key, too. Who only moved while it was read has it alone."""
        found = search(self.source.session, self.source.context, "sub", any_of(attribute, [key]), (attribute,))
        return any(its_dn != dn and key in keys_of(entry, attribute) for its_dn, entry, _raw in list(found))

    def _foreign_principal(self, dn: bytes, entry: Entry) -> Outcome:
        sids = entry.get("objectsid")
        sid = (sid_of_bytes(sids[0]) if sids else rdn_value(dn_text(dn))) or ""
        if sid and not sid.startswith("S-1-5-21-"):  # Authenticated Users and the like
            return WELL_KNOWN
        return self.owners.stored.foreign_users.get(sid, FOREIGN)


# --- what values lead to ---------------------------------------------------------------------------------------------


class Values:
    """What the values of member lists lead to."""

    def __init__(
        self, scope: Scope, accounts: Accounts, groups: Groups, tokens: Tokens, lookups: LookUps, seen: Seen
    ) -> None:
        self.source, self.scope, self.accounts, self.groups = scope.source, scope, accounts, groups
        self.tokens, self.lookups, self.seen = tokens, lookups, seen
        self.outcomes: dict[bytes, Outcome] = {}  # value as listed -> what it leads to
        self.who_is_there: dict[str, str] = {}  # token that leads to no one in scope -> key of who is there, or NOBODY

    def follow(self, finder: Finder) -> None:
        """Resolve what the groups list, and the groups that come into scope thereby, breadth first."""
        done = 0
        while done < len(self.groups.found):
            new = list(self.groups.found.values())[done:]
            done = len(self.groups.found)
            values: set[bytes] = set()
            for group in new:
                if bytes in set(map(type, group.listed)):
                    group.plain = False
                    group.hashed = NO_HASH
                    values.update(value for value in group.listed if value.__class__ is bytes)
            self.resolve(values.difference(self.outcomes), finder)
            self.groups.read_ranges()

    def resolve(self, values: Iterable[bytes], finder: Finder) -> None:
        """Find out what values of member lists lead to; fills `outcomes`."""
        pending: dict[str, list[bytes]] = {}
        for value in sorted(values):
            token = self.tokens.of(value)
            if isinstance(token, Miss):
                self.outcomes[value] = token
            else:
                pending.setdefault(token, []).append(value)
        known = self._known(pending, finder) if pending else {}
        self._settle(pending, known)
        for step in (finder.users, finder.groups, self._others):
            if not pending:
                break
            self._settle(pending, step(pending))
        self._ask_for_each(pending, finder)
        for token, several in pending.items():
            if token in self.tokens.left_behind:
                self.tokens.unrecorded.add(token)
            for value in several:
                self.outcomes[value] = self.tokens.left_behind.get(token, UNKNOWN)

    def _settle(self, pending: dict[str, list[bytes]], found: dict[str, Outcome]) -> None:
        for token, outcome in found.items():
            for value in pending.pop(token):
                self.outcomes[value] = outcome
            self.tokens.outcomes[token] = outcome

    def _known(self, pending: Pending, finder: Finder) -> dict[str, Outcome]:
        found: dict[str, Outcome] = {}
        by_dn = self.source.members_by == "dn"
        by_name = self.accounts.known_by.by_name if self.source.members_by == "name" else {}
        for token in pending:
            if token in self.tokens.outcomes:
                found[token] = self.tokens.outcomes[token]
            elif token in by_name:
                found[token] = by_name[token]
            elif by_dn and (token == self.source.context_normal or self.scope.is_left_out(token)):
                found[token] = OUT_OF_SCOPE
        if by_dn:
            found.update(finder.spelled_otherwise({token for token in pending if token not in found}))
        return found

    def _others(self, pending: Pending) -> dict[str, Outcome]:
        """Tell what the remaining values lead to."""
        found: dict[str, Outcome] = {}
        preset = self.source.preset
        keys = each_once(preset.user_key, preset.group_key)
        of_domain = ("objectSid", "userAccountControl") if self.source.is_active_directory else ()
        attributes = each_once("objectClass", preset.listed_name, *of_domain, *keys)
        filter = preset.is_user if self.source.members_by == "name" else ANYTHING
        for matches in self.lookups.look_up(pending, filter, attributes, keys):
            for token, entries in matches.items():
                found[token] = self.seen.who_else(entries[0], token)
                self.who_is_there[token] = next(iter(keys_of(entries[0][1], preset.user_key)), NOBODY)
        return found

    def _ask_for_each(self, pending: dict[str, list[bytes]], finder: Finder) -> None:
        """Ask for each value by itself if a search for several has found another one: nothing tells for which."""
        asked = sorted(pending)[:_ASKED_FOR_EACH] if self.lookups.found_others else []
        self.lookups.found_others = False
        by_value = self.accounts.known_by.by_value
        for token in asked:
            outcomes: set[Outcome] = set()
            for value in self.lookups.found_by(pending[token][0], token):
                if value not in by_value:
                    self.resolve({value}.difference(self.outcomes), finder)
                outcomes.add(by_value.get(value) or self.outcomes[value])
            if outcomes:
                outcome = outcomes.pop() if len(outcomes) == 1 else AMBIGUOUS
                self.outcomes.update(dict.fromkeys(pending.pop(token), outcome))
                self.tokens.outcomes[token] = outcome

    def missed_tokens(self) -> set[str]:
        """Return what member lists have that led to no one."""
        tokens = {self.tokens.of(value) for value, outcome in self.outcomes.items() if isinstance(outcome, Miss)}
        return {token for token in tokens if isinstance(token, str)}


# --- what becomes of lists -------------------------------------------------------------------------------------------


class Lists:
    """Member lists as they are to be stored."""

    def __init__(self, stored: Digests, notes: Notes, values: Values, unread: Unread) -> None:
        self.source, self.scope, self.stored, self.notes = values.source, values.scope, stored, notes
        self.accounts, self.groups, self.tokens = values.accounts, values.groups, values.tokens
        self.values, self.unread = values, unread
        self.unresolved: list[tuple[str, Unresolved]] = []  # see Snapshot
        self.other_members: dict[str, int] = {}
        self.listed_as: dict[tuple[str, str], list[str]] = {}
        self.dead_ends: dict[str, DeadEnd] = {}  # by tokens that lead to no one in scope

    def finished(self) -> dict[str, UserGroup]:
        """Return the records of all groups that become user groups, with their members."""
        if not self.source.groups_are_groups:
            return {}
        return {key: self._finished(group) for key, group in self.groups.found.items()}

    def _finished(self, group: Group) -> UserGroup:
        record, members, group.listed = group.record, group.listed, []
        stored = self.stored.user_groups.get(record.key, b"")
        if group.as_stored:
            return record._replace(members_digest=stored)
        primary = self._primary_members(group)
        user_groups: dict[str, None] = {}
        kept_values: list[str] = []
        if primary or not group.plain:
            once: dict[str, None] = {}
            for item in dict.fromkeys(members + sorted(primary)):
                if isinstance(item, str):
                    once[item] = None
                else:
                    self._take(record.key, item, once, user_groups, kept_values)
            members = list(once)
        elif len(set(members)) < len(members):  # a set of values (RFC 4511, 4.1.7), of which one came twice
            members = list(dict.fromkeys(members))
        digest = members_hash(members, user_groups, kept_values) + (group.ranged or group.hashed)
        is_as_stored = digest == stored and self.accounts.written_otherwise.isdisjoint(members)
        return record._replace(
            members=AS_STORED if is_as_stored else members,
            user_groups=list(user_groups),
            kept_values=kept_values,
            members_digest=digest,
        )

    def _primary_members(self, group: Group) -> list[str]:
        users_of = self.accounts.known_by.primary
        return [
            key
            for rule, value in enumerate(group.primary)
            if value is not None
            for key in users_of[rule].get(value, ())
        ]

    def _take(
        self,
        key: str,
        value: bytes,
        members: dict[str, None],
        user_groups: dict[str, None],
        kept_values: list[str],
    ) -> None:
        """Put a value that was not known when it was read where it belongs."""
        outcome = self.values.outcomes[value]
        text = self.tokens.text(value)
        if isinstance(outcome, Miss):
            kept_values.append(text)
            self._note_miss(key, value, text, outcome)
            return
        if outcome[:1] == "@":  # whom another synchronization gives, and may take
            self.notes.look_again.add(key)
        if outcome != key:  # a group that may not be empty lists itself
            is_group = outcome in self.groups.found or self.unread.is_user_group(outcome)
            (user_groups if is_group else members)[outcome] = None
            if self.tokens.unrecorded and self.tokens.of(value) in self.tokens.unrecorded:
                self.listed_as.setdefault((key, outcome), []).append(text)

    def _note_miss(self, key: str, value: bytes, text: str, miss: Miss) -> None:
        # Nothing says when such a value leads to someone: outside of what is selected, or where no search finds it.
        # Nor when it leads to no one any more who was never in scope, but in Active Directory, whose lists follow.
        is_told = self.scope.is_whole and self.source.is_active_directory and not BIT_STRING.search(value)
        if miss.kind is UNKNOWN_WHO or not is_told:
            self._leave_open(key, value, text, miss)
        if miss.kind is UNKNOWN_WHO:
            self.unresolved.append((key, Unresolved(text, miss.reason)))
        else:
            self.other_members[miss.kind] = self.other_members.get(miss.kind, 0) + 1

    def _leave_open(self, key: str, value: bytes, text: str, miss: Miss) -> None:
        """Have the next read look what the value leads to then; at the whole list, if that would not do."""
        token = self.tokens.of(value)
        if (
            self.source.members_by != "dn"
            or not isinstance(token, str)
            or BIT_STRING.search(value)
            or (miss.kind is UNKNOWN_WHO and miss is not UNKNOWN)
        ):
            self.notes.look_again.add(key)
        elif token != self.source.context_normal and not self.scope.is_left_out(token):  # which no entry there changes
            end = self.dead_ends.setdefault(token, DeadEnd(self.values.who_is_there.get(token, NOBODY), {}))
            end.lists[key] = Listed(text, miss.kind is UNKNOWN_WHO)
