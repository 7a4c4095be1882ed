# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Finds entries by what member lists have: by DN, by name, or by stable key; many at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .distinguished_names import dn_text, normal_dn
from .filters import ANYTHING, NO_ATTRIBUTES, all_of, below_parents, one_of, tests_of
from .outcomes import Found
from .search import MISSING_OK, batches, search
from .source import Source
from .stable_keys import any_of, keys_of
from .tokens import Tokens, folded

Pending = Mapping[str, "list[bytes]"]  # token -> values as listed, of which nothing is known yet
Matches = dict[str, "list[Found]"]  # token -> entries


class LookUps:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.name = source.preset.listed_name
        self.found_others = False  # a search found an entry for which none of its tokens was asked: see `found_by`

    def look_up(
        self, pending: Pending, filter: str, attributes: Sequence[str], keys: Sequence[str]
    ) -> Iterator[Matches]:
        """Yield what matches, batch by batch. All that match one token are in one batch.

        ``keys`` are the attributes of the stable key.
        """
        session = self.source.session
        for base, scope, tests in self._searches(pending, keys):
            matches: Matches = {}
            for found in search(session, base, scope, all_of(filter, tests), attributes, MISSING_OK):
                asked_for = [token for token in self._tokens_of(found, keys) if token in pending]
                for token in asked_for:
                    matches.setdefault(token, []).append(found)
                if not asked_for and self.source.members_by != "key":
                    self.found_others = True
            yield matches

    def _tokens_of(self, found: Found, keys: Sequence[str]) -> list[str]:
        if self.source.members_by == "dn":
            return [normal_dn(dn_text(found[0]))]
        if self.source.members_by == "name":
            return [folded(value) for value in found[1].get(self.name.lower(), ())]
        return keys_of(found[1], *keys)

    def _searches(self, pending: Pending, keys: Sequence[str]) -> Iterator[tuple[str, str, str]]:
        """Yield (base, scope, filter) of few searches that find all that is pending."""
        if self.source.members_by == "dn":
            for base, tests in below_parents({token: Tokens.dn(values[0]) for token, values in pending.items()}):
                yield base, "one", tests
        elif self.source.members_by == "name":
            for batch in batches([value for values in pending.values() for value in values]):
                yield self.source.subtree, "sub", one_of(tests_of(self.name, batch))
        else:
            for keys_asked_for in batches(list(pending)):
                yield self.source.subtree, "sub", one_of(*(any_of(attribute, keys_asked_for) for attribute in keys))

    def found_by(self, value: bytes, token: str) -> list[bytes]:
        r"""Return what lists have who mean the entries that the server finds by a value, but of which it is no token.

        Examples: the server finds `cn=fi` if it is asked for `cn=\ufb01`, and the name `fi` if it is asked for that
        name with the ligature. They are one to it and two to us.
        """
        source = self.source
        if source.members_by == "dn":
            found = search(source.session, Tokens.dn(value), "base", ANYTHING, NO_ATTRIBUTES, MISSING_OK)
            return [dn for dn, _entry, _raw in list(found) if normal_dn(dn_text(dn)) != token]
        tests = all_of(source.preset.is_user, tests_of(self.name, [value]))
        found = search(source.session, source.subtree, "sub", tests, (self.name,))
        names = [entry.get(self.name.lower(), []) for _dn, entry, _raw in found]
        return [min(each) for each in names if each and token not in map(folded, each)]
