# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""How Active Directory and Samba prove absence: see `absence.py`."""

from __future__ import annotations

from collections.abc import Sequence

from ..._model import Snapshot
from ..filter_text import escape_filter, filter_attributes
from ..presets import Entry
from ..search import MISSING_OK, batches, search
from ..values import integer
from .common import EVERY, GROUP, HIDDEN, NOT_FOUND, USER, Pair, always_there
from .questions import Questions

_SECURITY_GROUP = 0x80000000  # in groupType, MS-ADTS 2.2.12: only these are in tokenGroups


class ByPresence:
    """Active Directory and Samba, whose filters take what is hidden for what does not exist."""

    def __init__(self, questions: Questions) -> None:
        self.ask, self.preset = questions, questions.preset

    def stateless(self, users: Sequence[str], snapshot: Snapshot) -> dict[str, str]:
        """What came says it: there is nobody who has not all of these."""
        if always_there(self.preset):
            return {key: HIDDEN % snapshot.stateless[key] for key in users if key in snapshot.stateless}
        return self.lacking(USER, users, self.preset.state)

    def lacking(self, kind: str, keys: Sequence[str], attributes: Sequence[str]) -> dict[str, str]:
        every = [attribute for attribute in attributes if attribute in EVERY[kind]]
        if not every or not keys:
            return {}
        entries = self.ask.found(kind, keys, "", every)
        reasons = dict.fromkeys(set(keys) - entries.keys(), NOT_FOUND)
        for key, (_dn, entry) in entries.items():
            reasons.update((key, HIDDEN % attribute) for attribute in every if attribute.lower() not in entry)
        return reasons

    def listed(self, pairs: set[Pair], dns: dict[str, str]) -> dict[Pair, str]:
        if self.preset.user_groups:
            shows = self.ask.found(USER, {pair[2] for pair in pairs}, "(%s=*)" % self.preset.user_groups)
            why = HIDDEN % self.preset.user_groups
            return self._without_those_in_tokens({pair: why for pair in pairs if pair[2] not in shows})
        by_list: dict[str, set[Pair]] = {}
        for pair in pairs:
            by_list.setdefault(pair[1], set()).add(pair)
        shown = "(|%s)" % "".join("(%s=*)" % attribute for attribute in self.preset.group_members)
        empty = by_list.keys() - self.ask.found(GROUP, by_list, shown).keys()
        reasons: dict[Pair, str] = {}
        for group in sorted(empty):
            reasons.update(self._of_empty_list(group, dns[group], by_list[group]))
        reasons.update(self._of_primary_group({pair for pair in pairs if pair[0] == "member"} - reasons.keys(), dns))
        return self._without_those_in_tokens(reasons)

    def _of_empty_list(self, group: str, dn: str, pairs: set[Pair]) -> dict[Pair, str]:
        """Return who may be in a user group whose list reads empty. It is hidden if any back link names the group."""
        names_it = "(memberOf=%s)" % escape_filter(dn)
        what = "/".join(self.preset.group_members)
        if self.ask.finds_any(names_it):
            why = "the %s of '%s' cannot be read: others say in memberOf that they are in it" % (what, dn)
            return dict.fromkeys(pairs, why)
        shown: set[str] = set()
        for kind, of in ((USER, "member"), (GROUP, "nested")):
            members = {pair[2] for pair in pairs if pair[0] == of}
            shown.update(self.ask.found(kind, members, "(memberOf=*)(!%s)" % names_it))
        why = "the %s of '%s' reads empty, and nothing tells whether it is" % (what, dn)
        return {pair: why for pair in pairs if pair[2] not in shown}

    def _of_primary_group(self, pairs: set[Pair], dns: dict[str, str]) -> dict[Pair, str]:
        """Return who may be in a user group by his primaryGroupID: that, or the group's objectSid, did not come."""
        if not pairs or not self.preset.primary_group:
            return {}
        of_users, of_groups = zip(*self.preset.primary_group)
        hidden_of_users = self.lacking(USER, sorted({pair[2] for pair in pairs if pair[2][:1] != "@"}), of_users)
        hidden_of_groups = self.lacking(GROUP, sorted({pair[1] for pair in pairs}), of_groups)
        reasons = {pair: hidden_of_users[pair[2]] for pair in pairs if pair[2] in hidden_of_users}
        reasons.update(
            (pair, "of '%s': %s" % (dns[pair[1]], hidden_of_groups[pair[1]]))
            for pair in pairs
            if pair[1] in hidden_of_groups
        )
        return reasons

    def _without_those_in_tokens(self, reasons: dict[Pair, str]) -> dict[Pair, str]:
        """Return the memberships that are not refuted by the user's tokenGroups: all security groups that he is in, by
        list or by primary group, directly or nested (MS-ADTS 3.1.1.4.5.19). A user has one at least, so it is visible
        or it does not come.
        """
        groups = self.ask.found(GROUP, {pair[1] for pair in reasons}, "", ("objectSid", "groupType"))
        sids = {key: entry["objectsid"][0] for key, (_dn, entry) in groups.items() if _is_security_group(entry)}
        asked = sorted({pair[2] for pair in reasons if pair[0] == "member" and pair[1] in sids and pair[2][:1] != "@"})
        users = self.ask.found(USER, asked, "")
        tokens = {key: self._tokens(dn) for key, (dn, _entry) in users.items()}
        return {
            pair: why
            for pair, why in reasons.items()
            if not tokens.get(pair[2]) or pair[1] not in sids or sids[pair[1]] in tokens[pair[2]]
        }

    def _tokens(self, dn: str) -> list[bytes]:
        if not self.ask.may_ask():
            return []
        found = list(search(self.ask.session, dn, "base", "(objectClass=*)", ("tokenGroups",), MISSING_OK))
        return found[0][1].get("tokengroups", []) if found else []

    def not_matching(self, kind: str, keys: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
        if not keys:
            return {}, {}
        filter = self.ask.filters[kind]
        matching = {key: dn for key, (dn, _entry) in self.ask.found(kind, keys, filter).items()}
        asked_for = filter_attributes(filter)
        every = [attribute for attribute in EVERY[kind] if attribute.lower() in asked_for]
        return matching, self.lacking(kind, [key for key in keys if key not in matching], every)

    def still_named(self, gone: dict[str, str]) -> dict[str, str]:
        """A list forgets who is deleted, so who is named in one is there. By the key, since he may have moved."""
        why = "it cannot be read, and is not deleted: a member list names it"
        named: dict[str, str] = {}
        for batch in batches(sorted(gone)):
            tests = {key: self._names_it(key, gone[key]) for key in batch}
            if self.ask.finds_any("(|%s)" % "".join(tests.values())):
                for key, test in tests.items():
                    if not self.ask.may_ask() or self.ask.finds_any(test):
                        named[key] = why
        return named

    def _names_it(self, key: str, dn: str) -> str:
        """MS-ADTS 3.1.1.3.1.2.4: a DN may be written as the GUID of its entry."""
        forms = [escape_filter("<GUID=%s>" % key)] if self.preset.user_key.lower() == "objectguid" else []
        forms += [escape_filter(dn)] if dn else []
        return "(|%s)" % "".join("(%s=%s)" % (name, form) for name in self.preset.group_members for form in forms)


def _is_security_group(entry: Entry) -> bool:
    try:
        return "objectsid" in entry and bool(integer(entry["grouptype"][0]) & _SECURITY_GROUP)
    except (KeyError, ValueError):  # then nothing tells that it is one
        return False
