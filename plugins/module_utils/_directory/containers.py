# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Containers as user groups, in which the users whose home they are sit."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from .._model import AS_STORED, OUT_OF_SCOPE, Digests, UserGroup
from .digests import members_hash
from .distinguished_names import dn_is_within, dn_text, normal_dn, normal_parent
from .filters import ANYTHING, container_attributes
from .owners import NO_KEY, Owners
from .presets import Entry
from .records import Records
from .scope import Scope
from .search import MISSING_OK, ReadError, search


class Containers:
    def __init__(self, scope: Scope, stored: Digests, owners: Owners, records: Records) -> None:
        self.source, self.scope, self.stored, self.owners, self.records = scope.source, scope, stored, owners, records
        self.found: dict[str, UserGroup] = {}

    def read(self) -> None:
        """Read them: they are nodes of the scope from now on."""
        found: list[tuple[bytes, Entry, bytes]] = []
        session, attributes = self.source.session, container_attributes(self.source.preset)
        for dn in self.scope.selected_containers.values():
            found += search(session, dn, "base", ANYTHING, attributes, MISSING_OK)
        for dn in self.scope.roots.values():
            found += search(session, dn, "sub", self.source.preset.is_container, attributes)
        entries: dict[str, tuple[str, Entry]] = {}
        dns: dict[str, str] = {}  # key -> normal DN
        for raw_dn, entry, _raw in found:
            dn = dn_text(raw_dn)
            normal = normal_dn(dn)
            key = self._key(raw_dn, entry)
            if not key:
                continue
            if dns.setdefault(key, normal) != normal:  # so that none can come to lie in itself
                raise ReadError(
                    "server: the read is not complete, since '%s' and '%s' came with one %s: run again, "
                    "since a container may have moved meanwhile" % (dns[key], normal, self.source.preset.container_key)
                )
            if not self.scope.is_excluded(normal) and key not in self.scope.excluded_keys:
                self.scope.nodes[normal] = key
                entries[normal] = dn, entry
        for normal, (dn, entry) in sorted(entries.items()):
            key = self.scope.nodes[normal]
            self.found[key] = self.records.container(key, dn, entry, self.scope.home(normal_parent(normal)))

    def _key(self, dn: bytes, entry: Entry) -> str:
        """Return its key, or that of the container that was there in the last run; empty if it has none."""
        attribute = self.source.preset.container_key
        key = self.source.key_in("", attribute, entry, dn_text(dn))
        if not key:
            key = self.owners.stored_at(dn, self.stored.user_groups)
            self.owners.note(dn, entry, key, NO_KEY % attribute, attribute)
        return key

    def finished(self, at_home: Mapping[str, Sequence[str]]) -> dict[str, UserGroup]:
        """Return their records. ``at_home``: key of a container -> keys of users."""
        finished = {}
        for key, record in self.found.items():
            members = sorted(at_home.get(key, ()))
            digest = members_hash(members, (), ())
            same = digest == self.stored.user_groups.get(key)
            finished[key] = record._replace(members=AS_STORED if same else members, members_digest=digest)
        return finished


def refuse_hidden(scope: Scope, stored: Digests, lost: Mapping[str, str]) -> None:
    """Raise ReadError if anybody lies below a container that is not found: it is there, and cannot be read.

    ``lost`` are the lost user groups.
    """
    if not lost:
        return
    parents = {normal_parent(normal) for normal in scope.nodes}
    for parent in scope.places:
        with contextlib.suppress(ValueError, ReadError):  # a DN that is none is that of no stored container
            parents.add(normal_dn(dn_text(parent)))
    for key, dn in sorted(stored.dns(lost).items()):
        normal = normal_dn(dn) if dn else ""
        if not normal or lost[key] == OUT_OF_SCOPE or normal in scope.nodes:
            continue
        if any(dn_is_within(parent, normal) for parent in parents):
            raise ReadError(
                "%s: '%s' cannot be read, and there are entries below it: give the account the right to read it"
                % (scope.source.session.account_option, dn)
            )
