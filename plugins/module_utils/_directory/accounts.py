# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Users as they are read.

An entry is *as stored* if it has the hash in a user's digest: byte for byte it is one that was decoded and judged when
the digest was made. It is not decoded again, and has no record: `AS_STORED`.

A user may come twice, since it moved while it was read. Only what was noted the last time is kept then. Example: ann is
read in `ou=people`, is moved to `ou=temps`, and is read there. She lies in `ou=temps`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from .._model import AS_STORED, Digests, User
from .digests import DISABLED, DISABLED_NOW, ENABLED, ENABLED_NOW, HASH
from .distinguished_names import dn_text, fast_parent, is_dn
from .known_by import KnownBy
from .notes import Notes
from .outcomes import NAMELESS, OUT_OF_SCOPE, Found, Outcome
from .owners import NO_DN, Owners
from .presets import Entry
from .proofs.common import always_there
from .records import Account, Records
from .scope import AT_TOP, Scope
from .source import Source
from .stable_keys import key_reader
from .state import state_is_lasting, user_state
from .tokens import Tokens
from .wire import entry_dn

_NOT_TOLD = ("", "", True, False)  # of a user whom no other synchronization writes: see Digests.others
_Place = tuple[bytes, Entry, "str | None"]  # DN, what `KnownBy.add` looks at, and home


class Accounts:
    def __init__(
        self, source: Source, scope: Scope, stored: Digests, notes: Notes, owners: Owners, records: Records
    ) -> None:
        preset = source.preset
        self.source, self.scope, self.stored, self.notes = source, scope, stored, notes
        self.owners, self.records = owners, records
        self.known_by = KnownBy(source, owners)
        self.users: dict[str, User | None] = {}
        self.came_twice: set[str] = set()  # keys that came with two DNs
        # Users who came once more, until that is settled -> where they came the last time.
        self.came_again: dict[str, _Place] = {}
        self.written_otherwise: set[str] = set()  # keys of users whom another synchronization writes, and has otherwise
        self.stateless: dict[str, str] = {}  # see Snapshot
        self.nameless: list[Found] = []  # see owners.py
        self.user_key, self.read_key = preset.user_key.lower(), key_reader(preset.user_key)
        self.always_there = [(attribute.lower(), attribute) for attribute in always_there(preset)]
        self.hashed_with = records.sids.as_bytes()  # what decides beside a user's entry what is stored of it
        # The digests themselves, since a million parts of them would take fifty megabytes.
        self.as_stored = {
            digest: key for key, digest in stored.users.items() if digest and digest[HASH:] in (ENABLED, DISABLED)
        }

    # --- one entry after the other

    def that_changed(self, part: list[bytes]) -> list[bytes]:
        """Take the users into scope that are as stored, and return the other entries.

        In most runs nearly all are. What lists need of such an entry is found by its name, which its digest says was
        tried. Runs once per user: keep it lean.
        """
        if not self.as_stored:
            return part
        changed = []
        users, as_stored, by_value = self.users, self.as_stored, self.known_by.by_value
        places, place, excluded_keys = self.scope.places, self.scope.place, self.scope.excluded_keys
        needs_places, hashed_with, sha256 = self.scope.needs_places, self.hashed_with, hashlib.sha256
        plain = self.source.members_by == "dn" and not self.known_by.attributes and not needs_places
        home, excluded = AT_TOP, False
        for raw in part:
            dn = entry_dn(raw)
            if needs_places:
                parent = fast_parent(dn)
                home, excluded = places.get(parent) or place(parent)
            beside = hashed_with + home.encode("utf-8") if home else hashed_with
            hashed = sha256(raw + beside if beside else raw).digest()[:HASH]
            key = as_stored.get(hashed + ENABLED) or as_stored.get(hashed + DISABLED)
            if key is None or excluded or key in excluded_keys:
                changed.append(raw)
                continue
            if key in users:
                self.came_again[key] = (dn, self.known_by.values_in(raw), home)
            users[key] = AS_STORED
            if plain:
                by_value[dn] = key
            else:
                self.known_by.add(key, dn, self.known_by.values_in(raw), home)
        return changed

    def add(self, dn: bytes, entry: Entry, raw: bytes, key: str = "", about_key: str = "") -> Outcome:
        """Take a user into scope and return its key; or return why not. Runs once per user: keep it lean.

        ``key`` says whose entry it is, if its own key does not tell, and ``about_key`` why that is so.
        """
        if not is_dn(dn):
            return self.owners.note(dn, entry, "", NO_DN, self.source.preset.user_key)
        if not key:
            values = entry.get(self.user_key)
            if not values:
                raise self.source.no_key("user_key", self.source.preset.user_key, dn_text(dn))
            key = self.read_key(values)
            stored_groups = self.stored.user_groups
            if not key or key in self.owners.shared or key in stored_groups and key not in self.stored.users:
                self.nameless.append((dn, entry, raw))
                return NAMELESS
        home = AT_TOP
        if self.scope.needs_places:
            parent = fast_parent(dn)
            home, excluded = self.scope.places.get(parent) or self.scope.place(parent)
            if excluded or key in self.scope.excluded_keys:
                return OUT_OF_SCOPE
        enabled, malformed = user_state(self.source.preset, entry, self.source.now)
        beside = self.hashed_with + home.encode("utf-8") if home else self.hashed_with
        digest = hashlib.sha256(raw + beside).digest()[:HASH] + self._state_and_use(entry, raw, enabled)
        if self.always_there:
            self._note_what_is_missing(key, entry)
        if key in self.users:
            self.came_again[key] = (dn, self.known_by.values_of(entry), home)
        stored = self.stored.users.get(key, b"")
        if stored == digest or stored is None and self._is_said_already(key, dn, entry, enabled):
            self.users[key] = AS_STORED
        else:
            about_state = self._about_state(key, malformed) if malformed or key in self.stateless else ()
            is_ours = key not in self.written_otherwise
            account = Account(key, dn_text(dn), entry, home, enabled, digest, about_key, about_state, is_ours)
            self.users[key] = self.records.user(account, self.known_by)
        self.known_by.add(key, dn, entry, home)
        return key

    def _state_and_use(self, entry: Entry, raw: bytes, enabled: bool) -> bytes:
        """Return what follows the hash in a user's digest: the state, and whether `that_changed` may act on it."""
        known_by = self.known_by
        if state_is_lasting(self.source.preset, entry) and (
            not known_by.attributes or known_by.are_found_in(raw, entry)
        ):
            return ENABLED if enabled else DISABLED
        return ENABLED_NOW if enabled else DISABLED_NOW

    def _note_what_is_missing(self, key: str, entry: Entry) -> None:
        for name, attribute in self.always_there:
            if name not in entry:
                self.stateless[key] = attribute

    def _is_said_already(self, key: str, dn: bytes, entry: Entry, enabled: bool) -> bool:
        """Return whether there is nothing to say of a user whom another synchronization writes.

        That one may not yet, or not any more, have how lists know the user. This one may disable the record, and must
        not enable it; but it takes back what it said.
        """
        its_dn, its_names, is_enabled, said_disabled = self.stored.others.get(key, _NOT_TOLD)
        if not self.known_by.is_recorded(dn_text(dn), entry, its_dn, its_names):
            self.written_otherwise.add(key)
        if key in self.written_otherwise:
            return False
        return not said_disabled if enabled else said_disabled and not is_enabled

    def _about_state(self, key: str, malformed: Sequence[str]) -> list[str]:
        """Return why a user's state is not stored as it is."""
        about = ["its %s is malformed: whether it is enabled stays as it is" % each for each in malformed]
        if malformed:
            self.notes.leave(key, "enabled")
        if key in self.stateless:
            about.append("its %s cannot be read, so nothing enables it" % self.stateless[key])
        return about

    # --- when all have come

    def settle(self, tokens: Tokens) -> None:
        """Keep of who came more than once what was noted the last time. All at once: a whole container may have moved.

        What led to where somebody was means it if it leads to nobody else: see `Tokens`.
        """
        if not self.came_again:
            return
        self.came_twice.update(self.came_again)
        forgotten = self.known_by.forget(self.came_again)
        for key, (dn, entry, home) in self.came_again.items():
            self.known_by.add(key, dn, entry, home)
        self.came_again.clear()
        for value, key in forgotten:
            token = tokens.of(value) if value not in self.known_by.by_value else None
            if isinstance(token, str):
                tokens.leave_behind(token, key)

    def take_as_stored(self, key: str) -> None:
        """Take a user into scope of whom nothing was read, unless it was."""
        self.users.setdefault(key, AS_STORED)
