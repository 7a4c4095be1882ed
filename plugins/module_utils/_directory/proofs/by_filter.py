# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""How OpenLDAP and 389 Directory Server prove absence, and how all others are asked: see `absence.py`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..._model import Snapshot
from ..fields import NOT_READ, only_with_options
from ..filter_text import escape_filter, negated
from ..presets import Entry
from ..search import attribute_types, batches
from .common import GROUP, HIDDEN, NOT_FOUND, TOO_MANY, USER, ByKey, Pair
from .questions import Questions

_TESTS = 200  # in one filter

_Items = Sequence["tuple[Pair, list[str]]"]  # membership, and the values by which an entry would say it
_Said = tuple[str, _Items]  # key of the entry, and what it would say


class ByFilter:
    """A filter's contrary is True for what is False, and not for what cannot be told."""

    def __init__(self, questions: Questions) -> None:
        self.ask, self.preset = questions, questions.preset
        self.known: set[str] | None = None  # attributes in the schema; None: it was not asked for

    def stateless(self, users: Sequence[str], snapshot: Snapshot) -> dict[str, str]:
        return self.lacking(USER, users, self.preset.state)

    def lacking(self, kind: str, keys: Sequence[str], attributes: Sequence[str]) -> dict[str, str]:
        if not attributes:
            return {}
        left: Collection[str] = keys
        asked_for = tuple(attributes)
        few = len(keys) <= self.ask.many  # then it is likely that the schema need not be read
        if few:
            left = self.ask.keys_not_among(kind, keys, _none_of(asked_for))
        attributes = self.in_schema(asked_for) if left else ()
        if not attributes:
            return {}
        if not few or attributes != asked_for:
            left = self.ask.keys_not_among(kind, left, _none_of(attributes))
        entries = self.ask.found(kind, left, "", attributes)
        reasons = dict.fromkeys(set(left) - entries.keys(), NOT_FOUND)
        alike: dict[tuple[str, ...], list[str]] = {}
        for key, (_dn, entry) in entries.items():
            lacked = tuple(each for each in attributes if each.lower() not in entry)
            alike.setdefault(lacked, []).append(key)
            with_options = {each: only_with_options(entry, each) for each in lacked}
            reasons.update((key, NOT_READ % each) for each in with_options.items() if each[1])
        hidden: dict[str, list[str]] = {}
        for missing, those in alike.items():
            for attribute in missing:
                proven = self.ask.found(kind, those, _none_of((attribute,)))
                for key in set(those) - proven.keys():
                    hidden.setdefault(key, []).append(attribute)
        return {**{key: HIDDEN % " and ".join(names) for key, names in hidden.items()}, **reasons}

    def in_schema(self, attributes: Sequence[str]) -> tuple[str, ...]:
        """Return those that the server knows. Others are in no entry, and every test for one is Undefined."""
        if self.known is None:
            self.known = set().union(*attribute_types(self.ask.session))
        return tuple(each for each in attributes if not self.known or each.lower().partition(";")[0] in self.known)

    def listed(self, pairs: set[Pair], dns: dict[str, str]) -> dict[Pair, str]:
        if not pairs:
            return {}
        preset = self.preset
        members = {
            kind: self.ask.found(kind, {pair[2] for pair in pairs if pair[0] == of}, "", self._attributes_of(kind))
            for kind, of in ((USER, "member"), (GROUP, "nested"))
        }
        reasons: dict[Pair, str] = {}
        tests: dict[str, list[tuple[Pair, list[str]]]] = {}  # who says it -> memberships that it may not say
        for pair in sorted(pairs):
            kind, group, member = pair
            entry = members[USER if kind == "member" else GROUP].get(member)
            if entry is None:
                reasons[pair] = NOT_FOUND
            elif preset.member_value == "name" and not self._values_of(member, *entry):
                reasons[pair] = HIDDEN % preset.listed_name
            elif preset.user_groups:
                value = group[len("name:") :] if group.startswith("name:") else dns[group]
                tests.setdefault(member, []).append((pair, [value]))
            else:
                tests.setdefault(group, []).append((pair, self._values_of(member, *entry)))
        side = USER if preset.user_groups else GROUP
        lists = (preset.user_groups,) if preset.user_groups else preset.group_members
        reasons.update(self._not_said(side, lists, tests, dns))
        if not preset.user_groups:
            by_primary = {pair for pair in pairs if pair[0] == "member" and pair not in reasons}
            reasons.update(self._by_primary_group(by_primary, members[USER], dns))
        return reasons

    def _attributes_of(self, kind: str) -> tuple[str, ...]:
        primary = tuple(of_user if kind == USER else of_group for of_user, of_group in self.preset.primary_group)
        return (self.preset.listed_name, *primary) if kind == USER else primary

    def _values_of(self, key: str, dn: str, entry: Entry) -> list[str]:
        """Return the values by which a list may know the member."""
        if self.preset.member_value == "dn":
            return [dn]
        if self.preset.member_value == "key":
            return [key]
        name = self.preset.listed_name
        return [value.decode("utf-8", "surrogateescape") for value in entry.get(name.lower(), ())]

    def _not_said(
        self, kind: str, lists: Sequence[str], said: dict[str, list[tuple[Pair, list[str]]]], dns: dict[str, str]
    ) -> dict[Pair, str]:
        """Return the memberships that an entry may say still. ``said``: its key -> membership and how it would say it.

        All of one entry are asked for at once. Only if the server does not say that all of them are absent, each half
        is asked for, and so on.
        """
        if not said or not lists:
            return {}
        work = [(key, part) for key, items in said.items() for part in batches(items)]
        failed = self._ask_not_said(kind, lists, work)
        if failed:
            lists = self.in_schema(lists)
            failed = self._ask_not_said(kind, lists, failed) if lists else []
        reasons: dict[Pair, str] = {}
        hidden = self._hidden(kind, {key for key, _items in failed}, lists)
        while failed:
            work = []
            for key, items in failed:
                why = hidden.get(key) or ("it is there still, or cannot be told" if len(items) == 1 else "")
                if not why and not self.ask.may_ask():
                    why = TOO_MANY
                if why:
                    whose = "the %s of '%s' cannot be read" % (hidden.get(key), dns.get(key, key))
                    reasons.update((pair, whose if key in hidden else why) for pair, _values in items)
                else:
                    middle = len(items) // 2
                    work += [(key, items[:middle]), (key, items[middle:])]
            failed = self._ask_not_said(kind, lists, work)
        return reasons

    def _ask_not_said(self, kind: str, lists: Sequence[str], work: list[_Said]) -> list[_Said]:
        """Return the part of the work (key, [(membership, values)]) that the server does not prove."""
        failed = []
        while work:
            now: dict[str, _Items] = {}  # each entry once: it is found or not
            later = []
            for key, items in work:
                if key in now:
                    later.append((key, items))
                else:
                    now[key] = items
            proven = self._all_false(
                kind,
                {
                    key: "".join(
                        "(!(%s=%s))" % (attribute, _escaped(value))
                        for _pair, values in items
                        for value in values
                        for attribute in lists
                    )
                    for key, items in now.items()
                },
            )
            failed += [(key, items) for key, items in now.items() if key not in proven]
            work = later
        return failed

    def _all_false(self, kind: str, tests: dict[str, str]) -> set[str]:
        """Return the keys of the entries of which all tests are True. ``tests``: key -> its tests."""
        by_dn = tests.keys() & self.ask.at.keys()
        proven = {key for key in by_dn if self.ask.found(kind, [key], "(&%s)" % tests[key])}
        several: list[str] = []
        size = 0
        for key, text in [*((key, text) for key, text in tests.items() if key not in by_dn), ("", "")]:
            if several and (not key or size + text.count("(!") > _TESTS):
                proven.update(self.ask.all_keys(kind, "(|%s)" % "".join(several)))
                several, size = [], 0
            if key:
                several.append("(&%s%s)" % (self.ask.by_key(kind, [key]), text))
                size += text.count("(!")
        return proven

    def _hidden(self, kind: str, keys: set[str], attributes: Sequence[str]) -> dict[str, str]:
        """Return the entries that may have attributes that the account may not search: key -> their names."""
        hidden: dict[str, list[str]] = {}
        for attribute in attributes if keys else ():
            told = self.ask.found(kind, keys, told_of(attribute))
            for key in keys - told.keys():
                hidden.setdefault(key, []).append(attribute)
        return {key: " and ".join(names) for key, names in hidden.items()}

    def _by_primary_group(self, pairs: set[Pair], users: ByKey, dns: dict[str, str]) -> dict[Pair, str]:
        """Return who may be in a user group still since it is his primary one."""
        reasons: dict[Pair, str] = {}
        if not pairs or not self.preset.primary_group:
            return reasons
        groups = self.ask.found(GROUP, {pair[1] for pair in pairs}, "", self._attributes_of(GROUP))
        for of_user, of_group in self.preset.primary_group:
            doubtful: dict[Pair, tuple[bool, bool]] = {}  # whether the attribute of the user is missing, of the group
            for pair in pairs:
                mine = users[pair[2]][1].get(of_user.lower()) if pair[2] in users else None
                its = groups[pair[1]][1].get(of_group.lower()) if pair[1] in groups else None
                if mine and its and mine[0] == its[0]:
                    reasons[pair] = "it is there again"
                elif not (mine and its):
                    doubtful[pair] = not mine, not its
            hidden_of_users = self.lacking(
                USER, [pair[2] for pair, (user, _group) in doubtful.items() if user], (of_user,)
            )
            hidden_of_groups = self.lacking(
                GROUP, [pair[1] for pair, (_user, group) in doubtful.items() if group], (of_group,)
            )
            for pair, (of_the_user, of_the_group) in doubtful.items():
                hidden = pair[2] in hidden_of_users if of_the_user else True
                hidden = hidden and (pair[1] in hidden_of_groups if of_the_group else True)
                if hidden:
                    whose = "its %s" % of_user if of_the_user else "the %s of '%s'" % (of_group, dns.get(pair[1]))
                    reasons.setdefault(pair, "%s cannot be read" % whose)
            # The first attribute that a user has counts, and no other one.
            pairs = {pair for pair in pairs if doubtful.get(pair, (False, False))[0]}
        return reasons

    def not_matching(self, kind: str, keys: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
        if not keys:
            return {}, {}
        filter = self.ask.filters[kind]
        left = set(keys) - self.ask.found(kind, keys, negated(filter)).keys()
        matching = {key: dn for key, (dn, _entry) in self.ask.found(kind, left, filter).items()}
        left -= matching.keys()
        there = self.ask.found(kind, left, "")
        why = "nothing tells whether it matches the filter by which it was selected (%s)" % filter
        return matching, {key: why if key in there else NOT_FOUND for key in left}

    def still_named(self, gone: dict[str, str]) -> dict[str, str]:
        """Lists may dangle: that they name somebody says nothing."""
        return {}


def told_of(attribute: str) -> str:
    """Return the filter that is True where the server tells whether the entry has the attribute."""
    return "(|(%s=*)(!(%s=*)))" % (attribute, attribute)


def _none_of(attributes: Sequence[str]) -> str:
    return "".join("(!(%s=*))" % attribute for attribute in attributes)


def _escaped(value: str) -> str:
    return escape_filter(value.encode("utf-8", "surrogateescape") if not value.isprintable() else value)
