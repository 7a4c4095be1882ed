# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Whose SIDs count: one counts only if it begins with the SID of the domain that its entry comes from.

If Samba keeps its accounts in a directory, a domain has an entry of its own there. Who may make entries in a unit might
make one of another domain, so only the highest ones count, where Samba makes them (`ldap suffix` in smb.conf(5)).

Example: ann writes herself the `sambaSID` that bob has in an Active Directory domain, whose groups list it as that of a
foreign security principal. She is no member of them.
"""

from __future__ import annotations

from .._model import domain_of
from .distinguished_names import dn_text, normal_dn
from .notes import Notes
from .presets import Entry
from .search import search
from .source import Source
from .values import sid_bytes, sid_text

NO_SID = None

_A_DOMAIN = "(objectClass=sambaDomain)"


class Sids:
    def __init__(self, source: Source, notes: Notes) -> None:
        self.source, self.notes = source, notes
        self.attribute = source.preset.sid or ""
        self.name = self.attribute.lower()  # in an entry
        self.domains: set[str] = set()  # of the domains whose users these are
        self.foreign: set[str] = set()  # keys of users who have a SID of another domain
        self.read = sid_of_bytes if source.is_active_directory else sid_of_text

    def find_domains(self) -> None:
        """Find out with what a SID must begin to count."""
        source = self.source
        if not self.attribute:
            return
        if source.is_active_directory:
            self.domains = {source.directory.identity}
            return
        found: dict[int, set[str]] = {}  # by how many RDNs the DN has
        for dn, entry, _raw in search(source.session, source.context, "sub", _A_DOMAIN, (self.attribute,)):
            for sid in filter(None, map(sid_of_text, entry.get(self.name, ()))):
                found.setdefault(normal_dn(dn_text(dn)).count(","), set()).add(sid)
        self.domains = found[min(found)] if found else set()
        if not found:
            self.notes.warnings.append(
                "%s: the account sees no entry of a Samba domain (sambaDomain), so no %s counts that is not stored: "
                "give the account the right to read it" % (source.session.account_option, self.attribute)
            )

    def as_bytes(self) -> bytes:
        """Return what decides beside an entry which SID its user has; nothing if the directory itself decides it."""
        return b"" if self.source.is_active_directory else ",".join(sorted(self.domains)).encode("ascii")

    def of(self, key: str, entry: Entry) -> tuple[str | None, list[str]]:
        """Return a user's SID, NO_SID if it has none that counts, and why that is so."""
        values = entry.get(self.name)
        if not values:
            return NO_SID, []
        sids = set(map(self.read, values))
        sid = sids.pop() if len(sids) == 1 else NO_SID
        if sid is not None and domain_of(sid) in self.domains:
            return sid, []
        if sid is None:
            self.notes.leave(key, "sid")
            return NO_SID, ["its %s is malformed: its SID stays as it is" % self.attribute]
        if not self.domains:
            return NO_SID, []  # of which a warning tells; and nobody loses his by that: see `absence`
        self.foreign.add(key)
        return NO_SID, ["its %s is not of this domain: it does not count" % self.attribute]


def sid_of_bytes(value: bytes) -> str | None:
    """Return a SID as text; NO_SID if it is none."""
    try:
        return sid_text(value)
    except ValueError:
        return NO_SID


def sid_of_text(value: bytes) -> str | None:
    """Return a SID that is written as text, in its usual spelling; NO_SID if it is none."""
    try:
        return sid_text(sid_bytes(value.decode("ascii")))
    except ValueError:
        return NO_SID
