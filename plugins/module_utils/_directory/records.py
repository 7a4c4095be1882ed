# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Entries as records. What of a record is malformed is noted, and stays as it is stored."""

from __future__ import annotations

from collections.abc import Sequence

from .._attributes import EncodedAttributes
from .._model import AS_STORED, User, UserGroup
from .._named_tuple import NamedTuple
from .digests import ENABLED_NOW, HASH
from .distinguished_names import dn_parent, rdn_value
from .fields import field_reader, name_problem, name_reader
from .known_by import KnownBy
from .notes import Notes, field
from .presets import Entry
from .sids import Sids
from .source import Source
from .state import state_expires
from .units import Units
from .values import generalized_time_seconds, integer

_REPORTED_IN_EVERY_RUN = b""  # the digest of a user of whom something is not stored


class Account(NamedTuple):
    """A user's entry, and what was found out about it."""

    key: str
    dn: str
    entry: Entry
    home: str | None  # see User
    enabled: bool
    digest: bytes
    about_key: str  # why its own key does not tell whose it is; empty: it does
    about_state: Sequence[str]  # why its state is not stored as it is
    is_ours: bool  # whether no other synchronization writes the record, and says what is not stored of it


class Records:
    def __init__(self, source: Source, notes: Notes, sids: Sids, units: Units) -> None:
        preset = source.preset
        self.source, self.notes, self.sids, self.units = source, notes, sids, units
        self.read_user_name, self.read_group_name = name_reader(preset.user_name), name_reader(preset.group_name)
        self.read_user_fields = field_reader(preset.user_fields, preset.user_lists)
        self.read_group_fields = field_reader(preset.group_fields, preset.group_lists)
        self.attribute_of_created = preset.created.lower()

    def user(self, account: Account, known_by: KnownBy) -> User:
        """Return a user's record. Runs once per user in a first run: keep it lean."""
        key, dn, entry, home, enabled, digest, about_key, about_state, is_ours = account
        name, problem = self.read_user_name(entry, dn)
        fields, problems = self.read_user_fields(entry, dn)
        sid, about_sid = self.sids.of(key, entry)
        expires = state_expires(self.source.preset, entry, self.source.now) if digest[HASH:] == ENABLED_NOW else None
        if problems:
            self.notes.leave(key, *map(field, problems))
        if problem or problems or about_key or about_sid or about_state:
            said = [*filter(None, (about_key, problem)), *problems.values(), *about_sid, *about_state]
            if is_ours:
                self.notes.not_stored_since(dn, said)
                self.notes.look_again.add(key)
                digest = _REPORTED_IN_EVERY_RUN
        return User(
            key,
            dn,
            name,
            home,
            enabled,
            self.created(entry),
            sid,
            EncodedAttributes.of(fields),
            digest,
            known_by.names_of(entry) if known_by.has_names else "",
            expires,
            self.units.dn_above(dn),
        )

    def group(self, key: str, dn: str, entry: Entry, parent: str | None, about_key: str) -> UserGroup:
        """Return a group's record, without its members."""
        name, problem = self.read_group_name(entry, dn)
        fields, problems = self.read_group_fields(entry, dn)
        if self.source.groups_are_groups:
            said = [*filter(None, (about_key, problem)), *problems.values()]
            self.notes.not_stored_since(dn, said)
            self.notes.look_again.update([key] if said else ())
            self.notes.leave(key, *map(field, problems))
        group = self._user_group(key, dn, entry, parent)
        return group._replace(name=name, type=self._type_of_group(entry), attributes=EncodedAttributes.of(fields))

    def container(self, key: str, dn: str, entry: Entry, parent: str | None) -> UserGroup:
        """Return a container's record, without its members."""
        fields, problems = self.read_group_fields(entry, dn)
        self.notes.not_stored_since(dn, problems.values())
        self.notes.leave(key, *map(field, problems))
        name: str | None = rdn_value(dn)
        problem = name_problem(name or "", "name")
        if problem:
            name = None
            self.notes.not_stored_since(dn, [problem])
        unit = b"organizationalunit" in {value.lower() for value in entry.get("objectclass", ())}
        type = "organizational_unit" if unit else "container"
        group = self._user_group(key, dn, entry, parent)
        return group._replace(name=name, type=type, attributes=EncodedAttributes.of(fields))

    def _user_group(self, key: str, dn: str, entry: Entry, parent: str | None) -> UserGroup:
        """Return what records of groups and of containers have in common."""
        return UserGroup(
            key=key,
            dn=dn,
            name=None,
            parent=parent,
            created=self.created(entry),
            type="",
            container=rdn_value(dn_parent(dn)),
            attributes={},
            members=AS_STORED,
            user_groups=[],
            kept_values=[],
            members_digest=b"",
            unit_dn=self.units.dn_above_group(key, dn),
        )

    def created(self, entry: Entry) -> int:
        """Return when the entry was made, 0 if nothing tells: it only orders who came with one name."""
        values = entry.get(self.attribute_of_created)
        try:
            return generalized_time_seconds(values[0]) if values else 0
        except ValueError:
            return 0

    def _type_of_group(self, entry: Entry) -> str:
        if self.source.is_active_directory:
            try:
                kind = integer((entry.get("grouptype") or [b"-1"])[0])
            except ValueError:
                return "group"  # it is only for the suffix of one that loses its name
            return "security" if kind & 0x80000000 else "distribution"
        classes = {value.lower() for value in entry.get("objectclass", ())}
        names = self.source.preset.group_classes
        return next((name for name in names if name.lower().encode("ascii") in classes), "group")
