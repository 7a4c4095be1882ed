# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Absence is proven: what it means that a value is missing, and how a server proves that it is.

A server leaves out what the account may not read, and does not say so. A value that is missing is absent, or it is
hidden. If a run would remove or enable somebody because a value is missing, the server must prove that it is absent.
What it does not prove is *held*: the store keeps what it has, and the result says why. All reading goes through this,
of everything and of what changed: the questions come from the plan. A run that removes and enables nobody asks nothing.

Example: `uid=ann` was locked by `pwdAccountLockedTime`, and that does not come any more. Either she was unlocked, or
the account lost the right to read it. OpenLDAP finds her by `(!(pwdAccountLockedTime=*))` in the first case only.

What is missing if the run would do this:

enable a user       each attribute of `Preset.state` that he has not
take away a SID     `Preset.sid` of the user. If it is there: the entry of its domain, by which it counts
end a membership    the member in the group's list (`group_members`), or the group in the user's (`user_groups`); and
                    the attribute of a primary group, the user's or the group's (`primary_group`)
lose who is there   what the filter asks for. Outside the selected containers, where only a membership brings anybody
                    into scope: each membership
lose who is gone    the entry itself

How OpenLDAP and 389 Directory Server prove it (`_ByFilter`). RFC 4511, 4.5.1.7 evaluates a filter with three values:
what the account may not search is Undefined, and so is its contrary, and then the entry is not found. OpenLDAP does
that for each value that is asked for (slapd.access(5), `val=`), 389 Directory Server for each attribute. Other servers
are asked in the same way, and believed.

an attribute        `(!(attribute=*))` finds the entry; or the server's schema does not have the attribute
a member in a list  `(!(member=DN))` finds the group
a primary group     as an attribute if one of the two is missing; else the two differ
a filter            its contrary finds the entry
a SID's domain      nothing proves it
the entry           nothing proves it: `removal_limits` are the brake

How Active Directory and Samba prove it (`_ByPresence`). They take what is hidden for what does not exist, in filters,
too (MS-ADTS 3.1.1.4.3; seen with Samba 4.17). But some attributes every entry has (`_EVERY`): if one is missing, it is
hidden. There are no rights on single values: a list that shows one shows all. What neither tells is held.

an attribute        if every entry has it, it must come; else it counts as absent, and nothing proves that
a member in a list  the list shows others. If it reads empty: no entry names the group in `memberOf`, and the member's
                    `memberOf` shows other groups, or its `tokenGroups` shows that this one is not among them
a primary group     both attributes come and differ; or `tokenGroups`
a filter            the attributes in it that every entry has come
the entry           no list names it: lists forget who is deleted
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from .._model import OUT_OF_SCOPE, Removal, Snapshot, StoredState
from .distinguished_names import dn_is_within, dn_text, normal_dn
from .fields import NOT_READ, only_with_options
from .filter_text import escape_filter, filter_attributes, negated
from .presets import Entry, Preset
from .search import ReadError, attribute_types, batches, finds_any, search
from .stable_keys import any_of, keys_of
from .values import integer

USER, GROUP = "user", "user_group"

# What every user and every group of Active Directory has (MS-SAMR 3.1.1.8, MS-ADSC).
_EVERY = {
    USER: (
        "objectClass",
        "objectCategory",
        "sAMAccountName",
        "userAccountControl",
        "accountExpires",
        "primaryGroupID",
        "objectSid",
    ),
    GROUP: ("objectClass", "objectCategory", "sAMAccountName", "groupType", "objectSid"),
}
_ACTIVE_DIRECTORY = b"1.2.840.113556.1.4.800"  # LDAP_CAP_ACTIVE_DIRECTORY_OID, MS-ADTS 3.1.1.3.4.3.1
_SECURITY_GROUP = 0x80000000  # in groupType, MS-ADTS 2.2.12: only these are in tokenGroups

_TESTS = 200  # in one filter
_MANY = 1000  # entries, of which all are searched at once if they are a large part of the directory
_SINGLY = 1000  # searches for one entry each: who is left then is asked for in the next run

_NOT_FOUND = "nobody is found by its key any more"
_TOO_MANY = "too much had to be asked for one by one: the next run goes on"
_HIDDEN = "its %s cannot be read"

Pair = Removal  # ('member' or 'nested', key of the user group, reference of the member)
Found = dict[str, tuple[str, Entry]]  # stable key -> DN, entry
Dns = Callable[[Iterable[str]], Mapping[str, str]]  # stable keys of users -> DNs


def always_there(preset: Preset) -> tuple[str, ...]:
    """Return the attributes of `Preset.state` that every user of such a directory has."""
    every = _EVERY[USER] if preset.directory_type == "active_directory" else ()
    return tuple(attribute for attribute in preset.state if attribute in every)


# --- the rule --------------------------------------------------------------------------------------------------------


def unproven(
    session: Any,
    settings: Any,
    preset: Preset,
    context: str,
    snapshot: Snapshot,
    state: StoredState,
    removals: Iterable[Removal],
    dns: Dns | None = None,
) -> dict[Removal, str]:
    """Return which of these removals the directory does not prove, and why.

    ``settings`` has group_structure; ``context`` is the DN of the naming context; ``dns`` tells of stable keys of users
    the DNs that this synchronization has stored. Raises ReadError if a search fails.
    """
    asked: dict[str, list[Removal]] = {}
    for removal in sorted(removals):
        asked.setdefault(removal[0], []).append(removal)
    if not asked:
        return {}
    questions = _Questions(session, settings, preset, context, snapshot, dns)
    proofs = _proofs(questions, preset)
    enabled = [key for _kind, key in asked.get("enabled", ())]
    without_sid = [key for _kind, key in asked.get("sid", ())]
    held: dict[Removal, str] = {}
    held.update((("enabled", key), why) for key, why in proofs.stateless(enabled, snapshot).items())
    held.update((("sid", key), why) for key, why in proofs.lacking(USER, without_sid, (preset.sid or "",)).items())
    held.update((("sid", key), why) for key, why in _still_with_sid(questions, preset, without_sid, state).items())
    lost = _Lost(proofs, preset, snapshot, state)
    lost.look(USER, [key for _kind, key in asked.get("user", ())])
    lost.look(GROUP, [key for _kind, key in asked.get("user_group", ())])
    pairs = {pair for kind in ("member", "nested") for pair in asked.get(kind, ()) if _is_read(pair, snapshot, state)}
    unlisted = proofs.listed(pairs | lost.pairs(), _dns_of_groups(snapshot, state))
    held.update((pair, why) for pair, why in unlisted.items() if pair in pairs)
    held.update(lost.held(unlisted))
    return held


def with_unread_lists(
    session: Any, settings: Any, preset: Preset, context: str, snapshot: Snapshot, state: StoredState
) -> Snapshot:
    """Return the snapshot with a note on each group whose list reads empty, has none in the store, and may be hidden:
    nobody is removed by that, but those in it do not come in. It is looked at in each run until the list can be read.
    """
    lists = [
        key
        for key, group in snapshot.user_groups.items()
        if group.members == []
        and not (group.user_groups or group.kept_values or state.members.get(key) or state.nestings.get(key))
        and not (key.startswith("name:") or _is_container(key, snapshot))
    ]
    if not lists or not preset.group_members:
        return snapshot
    proofs = _proofs(_Questions(session, settings, preset, context, snapshot), preset)
    unread = proofs.lacking(GROUP, lists, preset.group_members)
    groups = {key: snapshot.user_groups[key]._replace(members_digest=b"") for key in unread}
    notes = [(groups[key].dn, why + ", so nothing tells who is in it") for key, why in unread.items()]
    return snapshot._replace(
        user_groups={**snapshot.user_groups, **groups}, not_stored=[*snapshot.not_stored, *sorted(notes)]
    )


def with_unread_states(session: Any, settings: Any, preset: Preset, context: str, snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with a warning of each attribute of `Preset.state` that cannot be read of any user.

    Nobody is enabled by that, but nobody is disabled either, and no plan asks for it. A full read asks if there is a
    user of whom the server tells whether it has the attribute. It begins with any one, by its key, and with the schema:
    both are quick, and a search through all users is not.
    """
    questions = _Questions(session, settings, preset, context, snapshot)
    if not snapshot.complete or not snapshot.users or isinstance(_proofs(questions, preset), _ByPresence):
        return snapshot  # in Active Directory each user who lacks what all have is in `not_stored`
    anyone, by_filter = next(iter(snapshot.users)), _ByFilter(questions, preset)

    def is_told_of_one(attribute: str) -> bool:
        return bool(questions.found(USER, [anyone], _told(attribute)))

    def is_in_schema(attribute: str) -> bool:
        return bool(by_filter.in_schema([attribute]))

    def is_told_of_any(attribute: str) -> bool:
        return questions.finds_any("(&%s%s)" % (preset.user_filter, _told(attribute)))

    def holds(ask: Callable[[str], bool], attribute: str) -> bool:
        try:
            return ask(attribute)
        except ReadError:  # a server may refuse a search, such as one without an index, and the question only helps
            if session.unusable:
                raise
            return True

    warnings = [
        "%s: the %s of no user can be read, so who is disabled by it stays enabled: give the account the right to "
        "read it" % (session.account_option, each)
        for each in preset.state
        if not holds(is_told_of_one, each) and holds(is_in_schema, each) and not holds(is_told_of_any, each)
    ]
    return snapshot._replace(warnings=[*snapshot.warnings, *warnings])


def _group_kinds(settings: Any, preset: Preset) -> list[tuple[str, str]]:
    """Return (attribute of the key, filter) of what becomes a user group."""
    kinds = []
    if settings.group_structure in ("groups", "both"):
        kinds.append((preset.group_key, preset.group_filter))
    if settings.group_structure in ("organizational_units", "both"):
        kinds.append((preset.container_key, preset.is_container))
    return kinds


def _still_with_sid(questions: _Questions, preset: Preset, users: Sequence[str], state: StoredState) -> dict[str, str]:
    """Return who has the stored SID in the directory. It counted, and its domain is not seen any more."""
    if preset.sid is None or preset.directory_type == "active_directory":  # which says itself what its SID is
        return {}
    why = "its %s is there, but the entry of its domain cannot be read" % preset.sid
    found: dict[str, str] = {}
    for batch in batches(users):
        sids = [state.users[key].record.sid or "" for key in batch]
        found.update(dict.fromkeys(questions.found(USER, batch, any_of(preset.sid, sids)), why))
    return found


def _is_read(pair: Pair, snapshot: Snapshot, state: StoredState) -> bool:
    """Return whether the membership is one that a list says: not that of a container, of a record made by hand, which
    somebody takes over, or of somebody whom an earlier run has seen to be gone.
    """
    _kind, group, member = pair
    stored = state.users.get(member)
    is_extinct = stored is not None and bool(stored.record.extinct)
    return not _is_container(group, snapshot) and member[:1] != "#" and not is_extinct


def _is_container(key: str, snapshot: Snapshot) -> bool:
    group = snapshot.user_groups.get(key)
    return group is not None and group.type in ("organizational_unit", "container")


def _dns_of_groups(snapshot: Snapshot, state: StoredState) -> dict[str, str]:
    dns = {key: record.dn for key, record in state.user_groups.items()}
    dns.update((key, group.dn) for key, group in snapshot.user_groups.items())
    return dns


class _Lost:
    """Entries that are stored and not in scope any more: which of them nothing proves to be lost."""

    def __init__(self, proofs: _Proofs, preset: Preset, snapshot: Snapshot, state: StoredState) -> None:
        self.proofs, self.preset, self.snapshot, self.state = proofs, preset, snapshot, state
        self.reasons: dict[Removal, str] = {}
        self.members: dict[Removal, list[Pair]] = {}  # who is in scope by any of these memberships

    def look(self, kind: str, keys: Sequence[str]) -> None:
        """Look at what is lost of one kind."""
        reasons = self.snapshot.lost_users if kind == USER else self.snapshot.lost_user_groups
        self.members.update(((kind, key), self._members_of(key)) for key in keys if key.startswith("name:"))
        keys = [key for key in keys if not key.startswith("name:")]
        there = [key for key in keys if reasons[key] == OUT_OF_SCOPE]
        matching, unknown = self.proofs.not_matching(kind, there)
        for key, why in unknown.items():
            where = _normal_stored(self._stored_dn(kind, key))
            if why != _NOT_FOUND or where is None or not self._is_left_out(where):
                self.reasons[kind, key] = why
        for key, dn in matching.items():
            self._judge_by_place(kind, key, normal_dn(dn))
        gone = {key: self._stored_dn(kind, key) for key in keys if reasons[key] != OUT_OF_SCOPE}
        self.reasons.update(((kind, key), why) for key, why in self.proofs.still_named(gone).items())

    def _stored_dn(self, kind: str, key: str) -> str:
        return self.state.users[key].record.dn if kind == USER else self.state.user_groups[key].dn

    def _judge_by_place(self, kind: str, key: str, dn: str) -> None:
        place = self.snapshot.place
        if place is None or key in place.excluded_keys or self._is_left_out(dn):
            return
        if any(dn_is_within(dn, root) for root in place.roots):
            self.reasons[kind, key] = "it came back while it was looked for"
        elif kind == GROUP or place.outside_too:
            self.members[kind, key] = self._memberships_of(kind, key)

    def _is_left_out(self, dn: str) -> bool:
        """Return whether nothing of what lies here is in scope."""
        place = self.snapshot.place
        if place is None:
            return False
        return not dn_is_within(dn, place.subtree) or any(dn_is_within(dn, each) for each in place.excluded)

    def _memberships_of(self, kind: str, key: str) -> list[Pair]:
        if kind == USER:
            groups = self.state.memberships.get(key, [])
            return [("member", group, key) for group in groups if not _is_container(group, self.snapshot)]
        return [("nested", group, key) for group, nested in self.state.nestings.items() if key in nested]

    def _members_of(self, group: str) -> list[Pair]:
        """Return the members of a user group without an entry: it is there as long as anybody says that he is in it."""
        members = [key for key in self.state.members.get(group, ()) if key not in self.snapshot.lost_users]
        return [
            ("member", group, key) for key in members if _is_read(("member", group, key), self.snapshot, self.state)
        ]

    def pairs(self) -> set[Pair]:
        """Return the memberships of which it must be proven that they are no more."""
        return {pair for pairs in self.members.values() for pair in pairs if not self._ends_with_its_group(pair)}

    def _ends_with_its_group(self, pair: Pair) -> bool:
        return pair[1] in self.snapshot.lost_user_groups and not pair[1].startswith("name:")

    def held(self, unlisted: dict[Pair, str]) -> dict[Removal, str]:
        """Return what nothing proves to be lost, and why. ``unlisted`` has the memberships that nothing proves to have
        ended; those in a user group that is held go on, too.
        """
        held, before = dict(self.reasons), -1
        while len(held) > before:
            before = len(held)
            for removal, pairs in self.members.items():
                for pair in pairs:
                    why = unlisted.get(pair) or held.get((GROUP, pair[1]))
                    if why:
                        held.setdefault(removal, why)
        return held


# --- servers ---------------------------------------------------------------------------------------------------------


class _Proofs(Protocol):
    """How a server proves absence."""

    def stateless(self, users: Sequence[str], snapshot: Snapshot) -> dict[str, str]:
        """Return of which of these users, who seem to be enabled, nothing proves it, and why."""

    def lacking(self, kind: str, keys: Sequence[str], attributes: Sequence[str]) -> dict[str, str]:
        """Return which of these entries may have one of these attributes that did not come, and why."""

    def listed(self, pairs: set[Pair], dns: dict[str, str]) -> dict[Pair, str]:
        """Return which of these memberships may be there still, and why. ``dns``: keys of user groups -> DNs."""

    def not_matching(self, kind: str, keys: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Return which of these entries match their filter (key -> DN), and of which nothing tells (key -> why)."""

    def still_named(self, gone: dict[str, str]) -> dict[str, str]:
        """Return which of these, whom nobody finds, are there all the same, and why. ``gone``: key -> DN."""


def _proofs(questions: _Questions, preset: Preset) -> _Proofs:
    """Return how this server proves absence: by what it is, and not by what it is read as."""
    is_ad = _ACTIVE_DIRECTORY in questions.session.root_dse.get("supportedcapabilities", ())
    return (_ByPresence if is_ad else _ByFilter)(questions, preset)


class _Questions:
    """Searches for entries by their keys, and how many of them may be made."""

    def __init__(
        self,
        session: Any,
        settings: Any,
        preset: Preset,
        context: str,
        snapshot: Snapshot,
        dns: Dns | None = None,
    ) -> None:
        groups = _group_kinds(settings, preset)
        self.session, self.context = session, context
        self.named, self.snapshot = snapshot.named, snapshot
        self.dns_of_stored = dns or _no_dns
        # Who is found by the DN, and not by the key.
        self.at = {key: dn_text(dn) for dn, key in snapshot.named.items() if key}
        # From so many keys on it is faster to search everything. How much that is, only a full read knows.
        self.many = max(_MANY, len(snapshot.users) // 4) if snapshot.complete else sys.maxsize
        keys = tuple(dict.fromkeys(attribute for attribute, _filter in groups)) or (preset.group_key,)
        filters = [filter for _attribute, filter in groups]
        self.keys = {USER: (preset.user_key,), GROUP: keys}
        self.filters = {
            USER: preset.user_filter,
            GROUP: filters[0] if len(filters) == 1 else "(|%s)" % "".join(filters),
        }
        self.left = _SINGLY

    def found(self, kind: str, keys: Iterable[str], tests: str, attributes: Sequence[str] = ()) -> Found:
        """Return the entries with these keys for which the tests are True, wherever they lie."""
        asked = {key for key in keys if key[:1] not in "@#"}
        wanted = (*self.keys[kind], *attributes)
        found: Found = {}
        for batch in batches(sorted(asked - self.at.keys())):
            filter = "(&%s%s)" % (self.by_key(kind, batch), tests)
            came = search(self.session, self.context, "sub", filter, wanted)
            found.update((key, (dn, entry)) for key, dn, entry in self._theirs(kind, came) if key in asked)
        for key in asked & self.at.keys():
            filter = "(&(objectClass=*)%s)" % tests
            for dn, entry, _raw in search(self.session, self.at[key], "base", filter, wanted, missing_ok=True):
                found[key] = dn_text(dn), entry
        return found

    def _theirs(self, kind: str, came: Iterable[tuple[bytes, Entry, bytes]]) -> Iterator[tuple[str, str, Entry]]:
        """Yield (stable key, DN, entry) of what came: not of whom the read has told by the DN, nor of an entry with the
        key of somebody whom the read has seen elsewhere. Who lies where nothing is read may write any key into his.
        """
        entries = [
            (key, dn_text(dn), entry)
            for dn, entry, _raw in came
            if dn not in self.named
            for key in keys_of(entry, *self.keys[kind])
        ]
        bodies: Mapping[str, Any] = self.snapshot.users if kind == USER else self.snapshot.user_groups
        as_stored = {key for key, _dn, _entry in entries if key in bodies and bodies[key] is None}
        dns = self.dns_of_stored(as_stored) if as_stored else {}
        for key, dn, entry in entries:
            body = bodies.get(key)
            its_dn = body.dn if body is not None else dns.get(key, "")
            if its_dn in ("", dn) or _normal_stored(its_dn) == normal_dn(dn):
                yield key, dn, entry

    def keys_among(self, kind: str, keys: Collection[str], tests: str) -> set[str]:
        """Return the keys of those of these entries for which the tests are True. If many are asked for, all that the
        preset reads are searched at once; who is not among those is asked for by its key.
        """
        found: set[str] = set()
        if len(keys) > self.many:
            found = self.all_keys(kind, "(&%s%s)" % (self.filters[kind], tests)).intersection(keys)
        if len(found) < len(keys):
            found.update(self.found(kind, set(keys) - found, tests))
        return found

    def by_key(self, kind: str, keys: Iterable[str]) -> str:
        """Return the filter that matches the entries with these keys."""
        tests = [any_of(name, keys) for name in self.keys[kind]]
        return tests[0] if len(tests) == 1 else "(|%s)" % "".join(tests)

    def all_keys(self, kind: str, filter: str) -> set[str]:
        """Return the keys of all entries that match."""
        found = search(self.session, self.context, "sub", filter, self.keys[kind])
        return {key for key, _dn, _entry in self._theirs(kind, found)}

    def finds_any(self, filter: str) -> bool:
        """Return whether there is an entry that matches."""
        return finds_any(self.session, self.context, "sub", filter)

    def may_ask(self) -> bool:
        """Return whether one more search for a single entry may be made, and count it."""
        self.left -= 1
        return self.left >= 0


class _ByFilter:
    """A filter's contrary is True for what is False, and not for what cannot be told."""

    def __init__(self, questions: _Questions, preset: Preset) -> None:
        self.ask, self.preset = questions, preset
        self.known: set[str] | None = None  # attributes in the schema; None: it was not asked for

    def stateless(self, users: Sequence[str], snapshot: Snapshot) -> dict[str, str]:
        return self.lacking(USER, users, self.preset.state)

    def lacking(self, kind: str, keys: Sequence[str], attributes: Sequence[str]) -> dict[str, str]:
        if not attributes:
            return {}
        left, asked_for = set(keys), tuple(attributes)
        few = len(keys) <= self.ask.many  # then it is likely that the schema need not be read
        if few:
            left -= self.ask.keys_among(kind, keys, _none_of(asked_for))
        attributes = self.in_schema(asked_for) if left else ()
        if not attributes:
            return {}
        if not few or attributes != asked_for:
            left -= self.ask.keys_among(kind, left, _none_of(attributes))
        entries = self.ask.found(kind, left, "", attributes)
        reasons = dict.fromkeys(left - entries.keys(), _NOT_FOUND)
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
        return {**{key: _HIDDEN % " and ".join(names) for key, names in hidden.items()}, **reasons}

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
                reasons[pair] = _NOT_FOUND
            elif preset.member_value == "name" and not self._values_of(member, *entry):
                reasons[pair] = _HIDDEN % preset.listed_name
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
                    why = _TOO_MANY
                if why:
                    whose = "the %s of '%s' cannot be read" % (hidden.get(key), dns.get(key, key))
                    reasons.update((pair, whose if key in hidden else why) for pair, _values in items)
                else:
                    middle = len(items) // 2
                    work += [(key, items[:middle]), (key, items[middle:])]
            failed = self._ask_not_said(kind, lists, work)
        return reasons

    def _ask_not_said(self, kind: str, lists: Sequence[str], work: list) -> list:
        """Return the part of the work (key, [(membership, values)]) that the server does not prove."""
        failed = []
        while work:
            now: dict[str, list] = {}  # each entry once: it is found or not
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
            told = self.ask.found(kind, keys, _told(attribute))
            for key in keys - told.keys():
                hidden.setdefault(key, []).append(attribute)
        return {key: " and ".join(names) for key, names in hidden.items()}

    def _by_primary_group(self, pairs: set[Pair], users: Found, dns: dict[str, str]) -> dict[Pair, str]:
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
        return matching, {key: why if key in there else _NOT_FOUND for key in left}

    def still_named(self, gone: dict[str, str]) -> dict[str, str]:
        """Lists may dangle: that they name somebody says nothing."""
        return {}


class _ByPresence:
    """Active Directory and Samba, whose filters take what is hidden for what does not exist."""

    def __init__(self, questions: _Questions, preset: Preset) -> None:
        self.ask, self.preset = questions, preset

    def stateless(self, users: Sequence[str], snapshot: Snapshot) -> dict[str, str]:
        """What came says it: there is nobody who has not all of these."""
        if always_there(self.preset):
            return {key: _HIDDEN % snapshot.stateless[key] for key in users if key in snapshot.stateless}
        return self.lacking(USER, users, self.preset.state)

    def lacking(self, kind: str, keys: Sequence[str], attributes: Sequence[str]) -> dict[str, str]:
        every = [attribute for attribute in attributes if attribute in _EVERY[kind]]
        if not every or not keys:
            return {}
        entries = self.ask.found(kind, keys, "", every)
        reasons = dict.fromkeys(set(keys) - entries.keys(), _NOT_FOUND)
        for key, (_dn, entry) in entries.items():
            reasons.update((key, _HIDDEN % attribute) for attribute in every if attribute.lower() not in entry)
        return reasons

    def listed(self, pairs: set[Pair], dns: dict[str, str]) -> dict[Pair, str]:
        if self.preset.user_groups:
            shows = self.ask.found(USER, {pair[2] for pair in pairs}, "(%s=*)" % self.preset.user_groups)
            why = _HIDDEN % self.preset.user_groups
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
        found = list(search(self.ask.session, dn, "base", "(objectClass=*)", ("tokenGroups",), missing_ok=True))
        return found[0][1].get("tokengroups", []) if found else []

    def not_matching(self, kind: str, keys: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
        if not keys:
            return {}, {}
        filter = self.ask.filters[kind]
        matching = {key: dn for key, (dn, _entry) in self.ask.found(kind, keys, filter).items()}
        asked_for = filter_attributes(filter)
        every = [attribute for attribute in _EVERY[kind] if attribute.lower() in asked_for]
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


# --- small things ----------------------------------------------------------------------------------------------------


def _no_dns(_keys: Iterable[str]) -> dict[str, str]:
    return {}


def _normal_stored(dn: str) -> str | None:
    """Return the normal form of a stored DN; None if it is none, as in a store that is damaged: it is nobody's."""
    try:
        return normal_dn(dn)
    except ValueError:
        return None


def _told(attribute: str) -> str:
    """Return the filter that is True where the server tells whether the entry has the attribute."""
    return "(|(%s=*)(!(%s=*)))" % (attribute, attribute)


def _none_of(attributes: Sequence[str]) -> str:
    return "".join("(!(%s=*))" % attribute for attribute in attributes)


def _escaped(value: str) -> str:
    return escape_filter(value.encode("utf-8", "surrogateescape") if not value.isprintable() else value)


def _is_security_group(entry: Entry) -> bool:
    try:
        return "objectsid" in entry and bool(integer(entry["grouptype"][0]) & _SECURITY_GROUP)
    except (KeyError, ValueError):  # then nothing tells that it is one
        return False
