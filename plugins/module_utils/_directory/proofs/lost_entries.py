# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Entries that are stored and not in scope any more: which of them nothing proves to be lost."""

from __future__ import annotations

from collections.abc import Sequence

from ..._model import OUT_OF_SCOPE, Conclusion, Snapshot, StoredState
from ..distinguished_names import dn_is_within, normal_dn
from .common import GROUP, NOT_FOUND, USER, Pair, Proofs, is_container, is_read, normal_stored


class LostEntries:
    """Entries that are stored and not in scope any more: which of them nothing proves to be lost."""

    def __init__(self, proofs: Proofs, snapshot: Snapshot, state: StoredState) -> None:
        self.proofs, self.snapshot, self.state = proofs, snapshot, state
        self.reasons: dict[Conclusion, str] = {}
        self.members: dict[Conclusion, list[Pair]] = {}  # who is in scope by any of these memberships

    def look(self, kind: str, keys: Sequence[str]) -> None:
        """Look at what is lost of one kind."""
        reasons = self.snapshot.lost_users if kind == USER else self.snapshot.lost_user_groups
        self.members.update(((kind, key), self._members_of(key)) for key in keys if key.startswith("name:"))
        keys = [key for key in keys if not key.startswith("name:")]
        there = [key for key in keys if reasons[key] == OUT_OF_SCOPE]
        matching, unknown = self.proofs.not_matching(kind, there)
        for key, why in unknown.items():
            where = normal_stored(self._stored_dn(kind, key))
            if why != NOT_FOUND or where is None or not self._is_left_out(where):
                self.reasons[kind, key] = why
        for key, dn in matching.items():
            self._judge_by_place(kind, key, normal_dn(dn))
        gone = {key: self._stored_dn(kind, key) for key in keys if reasons[key] != OUT_OF_SCOPE}
        self.reasons.update(((kind, key), why) for key, why in self.proofs.still_named(gone).items())

    def _stored_dn(self, kind: str, key: str) -> str:
        return self.state.users[key].record.dn if kind == USER else self.state.user_groups[key].dn

    def _judge_by_place(self, kind: str, key: str, dn: str) -> None:
        place = self.snapshot.place
        if key in place.excluded_keys or self._is_left_out(dn):
            return
        if any(dn_is_within(dn, root) for root in place.roots):
            self.reasons[kind, key] = "it came back while it was looked for"
        elif kind == GROUP or place.outside_too:
            self.members[kind, key] = self._memberships_of(kind, key)

    def _is_left_out(self, dn: str) -> bool:
        """Return whether nothing of what lies here is in scope."""
        place = self.snapshot.place
        return not dn_is_within(dn, place.subtree) or any(dn_is_within(dn, each) for each in place.excluded)

    def _memberships_of(self, kind: str, key: str) -> list[Pair]:
        if kind == USER:
            groups = self.state.memberships.get(key, [])
            return [("member", group, key) for group in groups if not is_container(group, self.snapshot)]
        return [("nested", group, key) for group, nested in self.state.nestings.items() if key in nested]

    def _members_of(self, group: str) -> list[Pair]:
        """Return the members of a user group without an entry: it is there as long as anybody says that he is in it."""
        members = [key for key in self.state.members.get(group, ()) if key not in self.snapshot.lost_users]
        return [("member", group, key) for key in members if is_read(("member", group, key), self.snapshot, self.state)]

    def pairs(self) -> set[Pair]:
        """Return the memberships of which it must be proven that they are no more."""
        return {pair for pairs in self.members.values() for pair in pairs if not self._ends_with_its_group(pair)}

    def _ends_with_its_group(self, pair: Pair) -> bool:
        return pair[1] in self.snapshot.lost_user_groups and not pair[1].startswith("name:")

    def held(self, unlisted: dict[Pair, str]) -> dict[Conclusion, str]:
        """Return what nothing proves to be lost, and why. ``unlisted`` has the memberships that nothing proves to have
        ended; those in a user group that is held go on, too.
        """
        held, before = dict(self.reasons), -1
        while len(held) > before:
            before = len(held)
            for conclusion, pairs in self.members.items():
                for pair in pairs:
                    why = unlisted.get(pair) or held.get((GROUP, pair[1]))
                    if why:
                        held.setdefault(conclusion, why)
        return held
