# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Searches -> snapshot: who is in scope, where, and who is a member of what.

Users are read first, then groups, so that a member list turns into stable keys by dictionary look-up while it is read.
What a list names beyond that is fetched in batches, round by round, until nothing new comes into scope. Any search that
is not complete raises ReadError, and then there is no snapshot.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence, Set
from typing import Any, NamedTuple, Union

from .._errors import SynchronizationError, sentence
from .._model import (
    KNOWN_AS,
    OUT_OF_SCOPE,
    Digests,
    Directory,
    EncodedAttributes,
    Mark,
    Place,
    Snapshot,
    Unresolved,
    User,
    UserGroup,
    domain_of,
    name_key,
    significant,
)
from . import absence, changes, lost
from .connection import Session
from .filters import all_of, below_parents, each_once, group_attributes, members_by, tests_of, user_attributes
from .identity import if_cut, if_several, naming_context
from .presets import (
    Entry,
    Preset,
    any_of,
    field_reader,
    is_trust_account,
    key_reader,
    key_value,
    keys_of,
    name_problem,
    name_reader,
    state_by,
    state_expires,
    state_is_lasting,
    user_state,
    value_text,
)
from .search import (
    LONGEST_ASKED_FOR,
    ListChanged,
    ReadError,
    batches,
    encoded_entries,
    finds_any,
    ranged,
    read_ranges,
    search,
    settled_ranges,
)
from .values import (
    dn_is_within,
    dn_parent,
    dn_text,
    fast_parent,
    generalized_time_seconds,
    integer,
    is_dn,
    normal_dn,
    normal_parent,
    rdn_value,
    sid_bytes,
    sid_text,
)
from .wire import attribute_header, decode_entry, entry_dn, find_values

_GROUPS_A_PAGE = 100  # their member lists make them long
_MANY_CONCERNED = 5000  # users who are gone or others, beyond which it is faster to go through all lists

# A user's digest: so many bytes of a hash over the entry as it came and its home, and one of these marks. "Now" is for
# a state that time alone may change, and for entries that must be decoded to tell what lists need of them.
_HASH = 16
_ENABLED, _DISABLED, _ENABLED_NOW, _DISABLED_NOW = b"1", b"0", b"+", b"-"

_ASKED_FOR_EACH = 1000  # DNs that are asked for one by one, each time that values are resolved

# What may name a group as somebody's primary one: a number, or a SID. Who has its malformed value is no member.
_PRIMARY_GROUP = re.compile(rb"-?[0-9]+|S-[0-9-]+")

# RFC 4517, 3.3.21: a uniqueMember may end in a bit string that tells reused names apart.
_BIT_STRING = re.compile(rb"#'[01]*'B$")


# --- one read --------------------------------------------------------------------------------------------------------


def read(
    settings: Any,
    session: Session,
    preset: Preset,
    directory: Directory,
    digests: Digests,
    now: int,
    marking: bool = False,
) -> Snapshot:
    """Read everything in scope and return it, or raise: ReadError for an incomplete read, SynchronizationError else.

    `settings` has distinguished_name, exclude_distinguished_name, outside_members and group_structure; `now` is in
    seconds since 1970; `marking` asks for a mark to which the next read may refer.
    """
    shared: frozenset[str] = frozenset()
    while True:
        reading = Reading(settings, session, preset, directory, digests, now, marking, shared)
        try:
            return complete_or_error(reading.snapshot)
        except _SharedKeys as found:  # each time others, so this ends
            shared |= found.keys


def complete_or_error(take_snapshot: Callable[[], Snapshot]) -> Snapshot:
    try:
        return take_snapshot()
    except ValueError as error:
        raise ReadError(
            "server: the read is not complete, since the directory sent something that cannot be read "
            "(%s): correct it there" % error
        ) from None


class _SharedKeys(Exception):
    """Keys that several entries have, where something is stored: what was read is worth nothing, and is read again."""

    def __init__(self, keys: frozenset[str]) -> None:
        super().__init__()
        self.keys = keys


class _Miss(NamedTuple):
    """Why a value leads to no one in scope. ``kind`` counts it; None: nobody knows who it is, so it is reported."""

    kind: str | None
    reason: str


_UNKNOWN = _Miss(None, "does not exist or cannot be read")
_AMBIGUOUS = _Miss(None, "is ambiguous: several users have this name")
_SEVERAL = _Miss(None, "is ambiguous: several entries have DNs that differ in letters which are taken for one")
_OTHER_DOMAIN = _Miss(None, "lies in another domain")
_FOREIGN = _Miss(None, "is a user of another domain that is not in the store")
_OUT_OF_SCOPE = _Miss("out_of_scope", "")
_EMPTY, _TOO_LONG = _Miss(None, "is empty"), _Miss(None, "is too long to be looked for")
_A_GROUP = _Miss(None, "is a user group")
# Why an entry is not stored as it is.
_NO_DN = "its DN is none"
_NO_KEY = "its %s is no stable key"
_ANOTHERS_KEY = "its %s is that of another entry as well"
_TAKEN_FOR = ": it is taken for who was there in the last run"
_LEFT_OUT = ": it is left out, and whom it may mean stays as stored"
_BOTH = "it is a %s, and not a %s as well"
_NAMELESS = _Miss(None, "has no stable key of its own")
_KIND_OF_CLASS = {b"computer": _Miss("computers", ""), b"contact": _Miss("contacts", "")}
_WELL_KNOWN = _Miss("well_known_identities", "")

Outcome = Union[str, _Miss]  # a reference, or why there is none
Found = tuple[bytes, Entry, bytes]


class _Group:
    """A group or container in scope while its members are gathered."""

    __slots__ = ("as_stored", "hashed", "listed", "plain", "primary", "ranged", "record")

    def __init__(self, record: UserGroup, primary: list[bytes | None], hashed: bytes = b"") -> None:
        self.record = record
        self.hashed = hashed  # of the entry as it came; empty where that does not decide who is a member
        self.ranged = b""  # a hash of the values, where they came in ranges
        self.as_stored = False  # so nothing is listed here
        self.listed: list = []  # str: the key of a user; bytes: a value that was not known when it was read
        self.plain = True  # all of one attribute, and all known: there is nothing to resolve and no one twice
        self.primary = primary  # what a user's primary group attribute says who belongs here, by rule


class Reading:
    """One read. The methods stand in the order in which they run."""

    def __init__(
        self,
        settings,
        session,
        preset: Preset,
        directory,
        digests: Digests,
        now: int,
        marking: bool,
        shared: Set[str] = frozenset(),
    ) -> None:
        self.settings, self.session, self.preset, self.directory = settings, session, preset, directory
        self.digests, self.now = digests, now
        self.context = naming_context(settings, session, preset)
        self.context_normal = normal_dn(self.context)
        self.subtree = "%s,%s" % (preset.subtree, self.context) if preset.subtree else self.context
        self.subtree_normal = normal_dn(self.subtree)
        self.ad = preset.directory_type == "active_directory"
        self.marking = marking
        self.warnings: list[str] = []
        self.not_stored: list[tuple[str, str]] = []

        self.containers_are_groups = settings.group_structure in ("organizational_units", "both")
        self.groups_are_groups = settings.group_structure in ("groups", "both")
        self.names_are_groups = preset.user_groups_value == "name"
        self.add_outside = settings.outside_members == "add"

        self.excluded: list[str] = []  # normal DNs of subtrees
        self.excluded_keys: set[str] = set()  # of the excluded entries themselves, which may be users or groups
        self.excluded_as: dict[str, str] = {}  # DN as written in the option -> stable key
        self.selected: dict[str, str] = {}  # DN as written in the option -> stable key
        self.selected_containers: dict[str, str] = {}  # normal DN -> DN, nested ones too
        self.selected_groups: dict[str, str] = {}  # DN -> stable key
        self.roots: dict[str, str] = {}  # bases that are searched, no one inside another: normal DN -> DN
        self.whole = False  # they cover all there is
        self.places: dict[bytes, tuple[str | None, bool]] = {}  # DN as read -> (home, excluded) of what is below it
        self.need_places = self.containers_are_groups or bool(settings.exclude_distinguished_name)

        self.users: dict[str, User | None] = {}
        self.twice: set[str] = set()  # keys that came with two DNs
        # Users who came once more -> what `_list_user` was told the last time.
        self.came_again: dict[str, tuple[bytes, Entry, str | None]] = {}
        # Keys of the stored groups whose lists may lead to others than when they were read. None: any may.
        self.concerned: set[str] | None = set()
        self.new_primary: list[set[bytes]] = [set() for dummy in preset.primary_group]  # by rule: values of who changed
        self.by_value: dict[bytes, str] = {}  # what a member list may say, as read -> key of the user
        self.by_name: dict[str, str | _Miss] = {}  # folded name -> key of the user
        self.several: dict[str, set[str]] = {}  # folded name that is ambiguous -> keys of the users
        self.primary: list[dict[bytes, list[str]]] = [{} for dummy in preset.primary_group]
        self.user_side: dict[bytes, list[str]] = {}  # value of user_groups -> keys of users
        self.unit_dns: dict[str, str] = {}  # DNs of the containers of those who have a body: one text for each
        self.at_home: dict[str, list[str]] = {}  # key of a container -> keys of users

        self.groups: dict[str, _Group] = {}
        self.groups_twice: set[str] = set()
        self.ranges: list[tuple[str, str, list[bytes], str]] = []  # (key, attribute, first values, their range)
        self.containers: dict[str, UserGroup] = {}
        self.nodes: dict[str, str] = {}  # normal DN -> key of the container
        self.by_token: dict[str, Outcome] = {}  # normal DN, folded name or key -> what it leads to
        self.outcomes: dict[bytes, Outcome] = {}  # value as listed -> what it leads to
        self.found_others = False  # see `_ask_for_each`
        self.contexts_below: list[str] | None = None
        self.unresolved: list[tuple[str, Unresolved]] = []
        self.other_members: dict[str, int] = {}
        self.dangling: dict[str, list[str]] = {}

        self.position: dict[str, Any] | None = None  # where the server stood before anything was read
        self.no_position = ""  # why nothing tells where it stood
        self.versions = b""
        self.again: set[str] = set()  # keys of what must be looked at in the next read, whatever changes
        # Normal DN in lists that leads to no one in scope -> key of who is there, and by lists the value as listed, and
        # whether it is reported.
        self.open: dict[str, tuple[str, dict[str, tuple[str, bool]]]] = {}
        self.there: dict[str, str] = {}
        self.missed: set[str] | None = None  # see `_missed_tokens`
        self.former: dict[str, str] = {}  # token of where somebody was who came again elsewhere -> his key
        # Tokens of what leads to somebody whose record will not tell so: in the next read nothing but a note that lists
        # have it tells then that it meant him.
        self.unrecorded: set[str] = set()
        self.otherwise: set[str] = set()  # keys of users whom another synchronization writes, and has otherwise
        self.listed_as: dict[tuple[str, str], list[str]] = {}  # see Snapshot
        self.outside: set[str] = set()  # keys of those in scope who lie outside the selected containers

        self.user_key, self.created = preset.user_key.lower(), preset.created.lower()
        self.sid = (preset.sid or "").lower()
        self.user_groups = (preset.user_groups or "").lower()
        # SIDs of the domains whose users these are: only a SID that begins with one of them counts.
        self.sid_domains: set[str] = set()
        self.foreign_sids: set[str] = set()  # keys of users who have a SID of another domain
        self.unclear: dict[str, frozenset[str]] = {}  # see Snapshot
        # Entries whose own keys do not tell whose they are: see "whose entry it is".
        self.shared = shared  # keys that several entries have
        self.nameless_users: list[Found] = []
        self.nameless_groups: list[Found] = []
        self.named: dict[bytes, str] = {}  # DN of such an entry -> whose it is; empty: nobody's who is stored
        self.stored_at: dict[str, list[str]] | None = None  # normal DN -> keys of who was there in the last run
        self.as_they_are: set[str] = set()  # keys that such an entry of nobody has
        self.hashed_with = b""  # what decides beside a user's entry what is stored of it
        self.listed_name = preset.listed_name.lower()
        self.read_user_key, self.read_group_key = key_reader(preset.user_key), key_reader(preset.group_key)
        self.members_by = members_by(preset)
        self.read_user_name, self.read_group_name = name_reader(preset.user_name), name_reader(preset.group_name)
        self.read_user_fields = field_reader(preset.user_fields, preset.user_lists)
        self.read_group_fields = field_reader(preset.group_fields, preset.group_lists)
        self.always_there = [(attribute.lower(), attribute) for attribute in absence.always_there(preset)]
        self.stateless: dict[str, str] = {}  # see Snapshot
        self.primary_of_user = [(rule, pair[0].lower()) for rule, pair in enumerate(preset.primary_group)]
        # What `_list_user` looks at: name in an entry, and header in its encoding.
        self.listed_by = [
            (name.lower(), attribute_header(name))
            for name in each_once(
                {"name": preset.listed_name, "key": preset.user_key}.get(self.members_by),
                preset.user_groups,
                *(pair[0] for pair in preset.primary_group),
            )
        ]
        # Most lists are as stored, and are not looked at then: so they are decoded apart from the rest of an entry.
        self.list_headers = frozenset(map(attribute_header, preset.group_members))
        # The digests themselves, since a million parts of them would take fifty megabytes.
        self.as_stored = {
            digest: key for key, digest in digests.users.items() if digest and digest[_HASH:] in (_ENABLED, _DISABLED)
        }
        self.user_attributes = user_attributes(preset)
        self.group_attributes = group_attributes(preset)

    def snapshot(self) -> Snapshot:
        self._exclude()
        self._select()
        self._find_domains()
        self._note_position()
        if self.containers_are_groups:
            self._read_containers()
        self._read_users()
        if self._groups_matter():
            self._read_groups()
            self._follow_members()
            self._add_by_user_side()
            self._add_by_primary_group()
        self._check_unique("user_key", self.preset.user_key, self.preset.user_filter, self.twice)
        self._check_unique("group_key", self.preset.group_key, self.preset.group_filter, self.groups_twice)
        self._check_required()
        self._hint_at_parameters()
        self._prove_outside(self.outside)
        user_groups = self._finished_groups()
        user_groups.update(self._finished_containers())
        lost_users, lost_user_groups = self._lost(user_groups)
        return Snapshot(
            directory=self.directory,
            users=self.users,
            user_groups=user_groups,
            lost_users=lost_users,
            lost_user_groups=lost_user_groups,
            unresolved=self.unresolved,
            not_stored=self.not_stored,
            other_members=self.other_members,
            selected={**self.excluded_as, **self.selected},
            warnings=[sentence(warning) for warning in self.warnings],
            dangling=self.dangling,
            listed_as=self.listed_as,
            foreign_sids=self.foreign_sids,
            unclear=self.unclear,
            whole_tree=self.whole,
            mark=self._position_as_mark(),
            units=self._units(),
            state_by=state_by(self.preset),
            place=self._place_of_all(),
            stateless=self.stateless,
            named=self.named,
        )

    def _place_of_all(self) -> Place:
        return Place(
            tuple(self.roots),
            tuple(self.excluded),
            frozenset(self.excluded_keys),
            self.subtree_normal,
            self.add_outside,
        )

    # --- the container in which an entry lies, by whose key names are kept

    def _unit_dn(self, dn: str) -> str:
        above = dn_parent(dn)
        return self.unit_dns.setdefault(above, above)

    def _unit_dn_of_group(self, key: str, dn: str) -> str:
        """Leave it out where the group is where it was: all groups are read, and most are as stored."""
        return "" if self.digests.group_dns.get(key) == dn else self._unit_dn(dn)

    def _units(self) -> dict[str, str]:
        """Return {DN of a container: its stable key}; its DN in normal form where that cannot be read.

        Not knowing a container makes nobody lose anything: it is another one than any that is known.
        """
        normal_forms = {dn: normal_dn(dn) for dn in self.unit_dns}
        keys = {normal: self.nodes[normal] for normal in normal_forms.values() if normal in self.nodes}
        missing = {normal: dn for dn, normal in normal_forms.items() if normal not in keys}
        top = missing.pop(self.context_normal, None)
        places = [(base, "one", tests) for base, tests in below_parents(missing)]
        places += [(top, "base", "(objectClass=*)")] if top else []
        attribute = self.preset.container_key

        def ask(base: str, scope: str, tests: str) -> None:
            for dn, entry, _raw in search(self.session, base, scope, tests, (attribute,), missing_ok=True):
                keys.update((normal_dn(dn_text(dn)), key) for key in keys_of(entry, attribute)[:1])

        for place in places:
            with contextlib.suppress(changes.ReadFully):  # the account may not look there
                changes.attempt(self.session, functools.partial(ask, *place))
        return {dn: keys.get(normal) or "dn:" + normal for dn, normal in normal_forms.items()}

    # --- the mark

    def _note_position(self) -> None:
        """Note where the server stands, before anything else is read: what changes from now on is read twice."""
        if not self.marking:
            return
        try:
            self.position = changes.attempt(self.session, self._asked_position)
        except changes.ReadFully as why:
            self.no_position = str(why)

    def _asked_position(self) -> dict[str, Any]:
        position = changes.position(self.session, self._where(()), self._position_before())
        if position["way"] == changes.SWEEP:
            self.versions = changes.versions(self.session, self._where(self._known_outside()))
        else:
            self._prove_changes()
        return dict(position, lists=self._ask_for_lists().hex())

    def _position_before(self) -> dict[str, Any] | None:
        return None

    def _ask_for_lists(self) -> bytes:
        return changes.lists_since(self.session, self._where(()), b"")[0]

    def _prove_changes(self) -> None:
        changes.prove(self.session, self._where(()))

    def _prove_outside(self, keys: set[str]) -> None:
        """See that changes of these are told as well, who were not known to be in scope when the others were proven."""
        if self.position and self.position["way"] == changes.SYNCREPL and keys:
            place = changes.Place(self.preset, self.context, {}, sorted(keys))
            try:
                changes.attempt(self.session, lambda: changes.prove(self.session, place))
            except changes.ReadFully as why:
                self.position, self.no_position = None, str(why)

    def _known_outside(self) -> Sequence[str]:
        return ()

    def _where(self, outside: Sequence[str]) -> changes.Place:
        if self.ad and self.add_outside:  # whom his primary group brings in, nothing else tells of
            return changes.Place(self.preset, self.context, {self.subtree_normal: self.subtree}, ())
        return changes.Place(self.preset, self.context, self.roots, outside)

    def _selection(self) -> dict[str, Any]:
        """Return what is selected and excluded, as it lies now."""
        return {
            "containers": sorted(self.roots),
            "groups": sorted(map(normal_dn, self.selected_groups)),
            "keys": self.selected,
            "excluded": sorted(self.excluded),
            "excluded_keys": sorted(self.excluded_keys),
        }

    def _position_as_mark(self) -> Mark | None:
        if self.marking and self.named:
            return Mark({"none": "'%s' has no stable key of its own" % _shown_dn(min(self.named))})
        if self.position is None:
            return Mark({"none": self.no_position}) if self.no_position else None
        return Mark(
            dict(
                self.position,
                selection=self._selection(),
                again=sorted(self.again),
                open=self.open,
                outside=sorted(self.outside),
            ),
            self.versions,
        )

    # --- what is selected and what is excluded

    def _base(self, dn: str, filter: str) -> tuple[str, Entry] | None:
        """Return the DN and the keys of the entry if it exists and matches; the DN as the server spells it."""
        attributes = each_once(self.preset.user_key, self.preset.group_key, self.preset.container_key)
        found = list(search(self.session, dn, "base", filter, attributes, missing_ok=True))
        return (dn_text(found[0][0]), found[0][1]) if found else None

    def _keys(self, entry: Entry) -> list[str]:
        """Return the keys of an entry that an option names, the one first that no one can choose himself."""
        return keys_of(entry, *each_once(self.preset.container_key, self.preset.group_key, self.preset.user_key))

    def _check_within(self, option: str, dn: str, dns: Sequence[str]) -> None:
        if dn_is_within(normal_dn(dn), self.context_normal):
            return
        found = self._base(dn, "(objectClass=*)")  # see `_context_of`
        if found is None or not dn_is_within(normal_dn(found[0]), self.context_normal):
            raise SynchronizationError(
                "%s: '%s' does not lie in the naming context '%s': correct it, or make another "
                "synchronization for it%s"
                % (option, dn, self.context, if_cut(dns) or if_several(dn, [self.context_normal]))
            )

    def _exclude(self) -> None:
        """Look up what is left out: whom the option named in the last run, whatever they are called now, and whom it
        names now.
        """
        option, dns = "exclude_distinguished_name", self.settings.exclude_distinguished_name
        for written in dns:
            self._check_within(option, written, dns)
            found, followed, key = self._look_up_named(written)
            if found is None and followed is None and not self._is_elsewhere(written):
                raise self._not_there(option, written)
            if found is not None and followed is not None:
                self.warnings.append(
                    "%s: '%s' is another entry than in the last run, and that one is now '%s': both are left out; name "
                    "what you mean" % (option, written, followed[0])
                )
            elif followed is not None:
                self.warnings.append("%s: '%s' is now '%s': correct it in the option" % (option, written, followed[0]))
            elif found is not None and key and key not in self._keys(found[1]):
                self.warnings.append("%s: '%s' is another entry than in the last run" % (option, written))
            for dn, entry in filter(None, (found, followed)) if found or followed else [(written, {})]:
                self.excluded.append(normal_dn(dn))
                self.excluded_keys.update(self._keys(entry))
            self.excluded_as.update(
                (written, its_key) for its_key in self._keys((followed or found or ("", {}))[1])[:1]
            )

    def _look_up_named(self, written: str) -> tuple[tuple[str, Entry] | None, tuple[str, Entry] | None, str | None]:
        """Return the entry that has the DN now; the one that had it in the last run, if it is another; and its key."""
        found = self._base(written, "(objectClass=*)")
        key = self.digests.selected.get(written)
        if key is None or found is not None and key in self._keys(found[1]):
            return found, None, key
        return found, self._of_key(key), key

    def _of_key(self, key: str) -> tuple[str, Entry] | None:
        attributes = each_once(self.preset.container_key, self.preset.group_key, self.preset.user_key)
        tests = "".join(any_of(attribute, [key]) for attribute in attributes)
        found = list(search(self.session, self.context, "sub", "(|%s)" % tests, attributes))
        return (dn_text(found[0][0]), found[0][1]) if found else None

    def _is_elsewhere(self, dn: str) -> bool:
        """Return whether the server said that another one has what lies at this DN."""
        return any(dn_is_within(normal_dn(dn), normal_dn(place)) for place in self.session.referred)

    def _not_there(self, option: str, dn: str) -> SynchronizationError:
        if self._is_elsewhere(dn):
            return SynchronizationError(
                "%s: '%s' lies on another server (%s): name that in server, or remove it"
                % (option, dn, " ".join(self.session.not_read))
            )
        return SynchronizationError(
            "%s: '%s' does not exist in the directory, or the account cannot read it: correct or remove it%s"
            % (option, dn, if_several(dn, [self.context_normal]))
        )

    def _select(self) -> None:
        """Look up what is selected, and tell containers from groups."""
        for written in self.settings.distinguished_name:
            self._check_within("distinguished_name", written, self.settings.distinguished_name)
            dn = self._existing(written)
            if normal_dn(dn) in self.excluded:
                raise SynchronizationError(
                    "distinguished_name and exclude_distinguished_name both have '%s': remove it from one of them" % dn
                )
            self._check_readable(written, dn)
            group = self._base(dn, self.preset.is_group)
            if group:
                key = self.read_group_key(group[1].get(self.preset.group_key.lower(), []))
                if not key:
                    raise self._no_key("group_key", self.preset.group_key, dn)
                self.selected[written] = self.selected_groups[dn] = key
                if self._base(dn, self.preset.group_filter) is None:
                    self.warnings.append(
                        "distinguished_name: the group '%s' is left out by group_filter or group_types" % written
                    )
            elif self._base(dn, self.preset.is_user) is not None:
                raise SynchronizationError(
                    "distinguished_name: '%s' is a user: select a container, or a group that has the user" % written
                )
            else:
                self.selected_containers[normal_dn(dn)] = dn
                # Without a key a renamed container cannot be followed; nothing else needs it.
                entry = (self._base(dn, "(objectClass=*)") or ("", {}))[1]
                self.selected.update((written, key) for key in keys_of(entry, self.preset.container_key)[:1])
        if not self.settings.distinguished_name:
            self.selected_containers[self.context_normal] = self.context
        self.roots = self._roots()
        self.whole = any(dn_is_within(self.subtree_normal, normal) for normal in self.roots)

    def _existing(self, written: str) -> str:
        """Return the DN that the selected entry has now: a renamed one is followed by its stored key."""
        option = "distinguished_name"
        found, followed, key = self._look_up_named(written)
        if found is None and followed is None:
            raise self._not_there(option, written)
        if found is not None and followed is not None:
            raise SynchronizationError(
                "%s: '%s' is another entry than in the last run, and that one is now '%s': name the one you mean, or "
                "rename it" % (option, written, followed[0])
            )
        if followed is not None:
            self.warnings.append("%s: '%s' is now '%s': correct it in the option" % (option, written, followed[0]))
        elif found is not None and key and key not in self._keys(found[1]):
            self.warnings.append("%s: '%s' is another entry than in the last run" % (option, written))
        return (followed or found or ("", {}))[0]

    def _check_readable(self, written: str, dn: str) -> None:
        normal = normal_dn(dn)
        if not dn_is_within(normal, self.subtree_normal) and not dn_is_within(self.subtree_normal, normal):
            raise SynchronizationError(
                "distinguished_name: '%s' does not lie in '%s', where this type of directory "
                "has its users and groups: correct it" % (written, self.subtree)
            )

    def _roots(self) -> dict[str, str]:
        bases: dict[str, str] = {}
        for normal, dn in self.selected_containers.items():
            above = dn_is_within(self.subtree_normal, normal)
            bases[self.subtree_normal if above else normal] = self.subtree if above else dn
        return {
            normal: dn
            for normal, dn in sorted(bases.items())
            if not any(normal != other and dn_is_within(normal, other) for other in bases)
        }

    # --- whose SIDs count

    def _find_domains(self) -> None:
        """Find out with what a SID must begin to count: with that of the domain its entry came from.

        If Samba keeps its accounts in a directory, a domain has an entry of its own there. Who may make entries in a
        unit might make one of another domain, so only the highest ones count, where Samba makes them (`ldap suffix` in
        smb.conf(5)). Example: ann writes herself the `sambaSID` that bob has in an Active Directory domain, whose
        groups list it as that of a foreign security principal. She is no member of them.
        """
        if not self.sid:
            return
        if self.ad:
            self.sid_domains = {self.directory.identity}
            return
        found: dict[int, set[str]] = {}  # by how many RDNs the DN has
        attributes = (self.preset.sid or "",)
        for dn, entry, _raw in search(self.session, self.context, "sub", "(objectClass=sambaDomain)", attributes):
            for sid in filter(None, map(_sid_of_text, entry.get(self.sid, ()))):
                found.setdefault(normal_dn(dn_text(dn)).count(","), set()).add(sid)
        self.sid_domains = found[min(found)] if found else set()
        self.hashed_with = ",".join(sorted(self.sid_domains)).encode("ascii")
        if not found:
            self.warnings.append(
                "%s: the account sees no entry of a Samba domain (sambaDomain), so no %s counts that is not stored: "
                "give the account the right to read it" % (self.session.account_option, self.preset.sid)
            )

    def _sid(self, key: str, entry: Entry) -> tuple[str | None, list[str]]:
        """Return a user's SID, None if it has none that counts, and why that is so."""
        values = entry.get(self.sid)
        if not values:
            return None, []
        sids = set(map(_sid_of_bytes if self.ad else _sid_of_text, values))
        sid = sids.pop() if len(sids) == 1 else None
        if sid is not None and domain_of(sid) in self.sid_domains:
            return sid, []
        if sid is None:
            self._leave(key, "sid")
            return None, ["its %s is malformed: its SID stays as it is" % self.preset.sid]
        if not self.sid_domains:
            return None, []  # of which a warning tells; and nobody loses his by that: see `absence`
        self.foreign_sids.add(key)
        return None, ["its %s is not of this domain: it does not count" % self.preset.sid]

    # --- whose entry it is
    #
    # An entry is that of whom its stable key names, if it has one key, that can be one, and that no other entry has.
    # Any other entry is that of who was at its DN in the last run, whatever key it has now: so nobody loses or keeps
    # anything by what he writes into his own key. Example: eve writes bob's key into her entry. Hers is still eve's,
    # and his is bob's, since that is where they were.
    #
    # If nobody was there, it is left out, and whose keys it has may have moved there: what is stored of them stays.
    # Example: ann's entry is renamed, and has two keys now. She stays as she is.
    #
    # An entry that is a user and a user group is what it was in the last run; a new one is a user.

    def _name(self, dn: bytes, entry: Entry, key: str, why: str, *attributes: str) -> Outcome:
        """Note whose entry it is, whose own key does not tell; ``key`` is empty if it is nobody's who is stored."""
        if dn not in self.named:
            self.named[dn] = key
            self.not_stored.append((_shown_dn(dn), why + (_TAKEN_FOR if key else _LEFT_OUT)))
            if not key:
                self.as_they_are.update(keys_of(entry, *attributes))
        return key or _NAMELESS

    def _stored_at(self, dn: bytes, among: Container[str]) -> str:
        """Return the key of who was at the DN in the last run; empty if none of these was."""
        if self.stored_at is None:
            self.stored_at = {}
            for key, its_dn in self.digests.dns([*self.digests.users, *self.digests.user_groups]).items():
                with contextlib.suppress(ValueError):
                    self.stored_at.setdefault(normal_dn(its_dn), []).append(key)
        return next((key for key in self.stored_at.get(normal_dn(dn_text(dn)), ()) if key in among), "")

    def _name_users(self) -> dict[bytes, Outcome]:
        """Take into scope whose own keys did not tell who they are; return the outcome by DN."""
        nameless, self.nameless_users = self.nameless_users, []
        outcomes = {found[0]: self._name_user(*found) for found in nameless}
        for dn, outcome in outcomes.items():
            self._note_outside(outcome, normal_dn(dn_text(dn)))
        return outcomes

    def _name_user(self, dn: bytes, entry: Entry, raw: bytes) -> Outcome:
        attribute = self.preset.user_key
        if self._is_excluded_entry(dn, entry, attribute):
            return _OUT_OF_SCOPE
        own = self.read_user_key(entry[self.user_key])
        if own and own not in self.shared:  # which a user group had in the last run
            groups = self._groups_of_key(own)
            if dn in groups:
                self.not_stored.append((dn_text(dn), _BOTH % ("user group", "user")))
                self.again.add(own)
                return _A_GROUP
            if not groups:
                return self._add_user(dn, entry, raw, own)
        why = (_ANOTHERS_KEY if own else _NO_KEY) % attribute
        key = self._stored_at(dn, self.digests.users)
        if not key or key in self.users:
            return self._name(dn, entry, "", why, attribute)
        self.named[dn] = key
        return self._add_user(dn, entry, raw, key, why + _TAKEN_FOR)

    def _groups_of_key(self, key: str) -> set[bytes]:
        tests = all_of(self.preset.group_filter, any_of(self.preset.group_key, [key]))
        return {dn for dn, _entry, _raw in search(self.session, self.context, "sub", tests, (self.preset.group_key,))}

    def _name_groups(self) -> dict[bytes, Outcome]:
        """The same for user groups."""
        nameless, self.nameless_groups = self.nameless_groups, []
        outcomes = {found[0]: self._name_group(*found) for found in nameless}
        for dn, outcome in outcomes.items():
            self._note_outside(outcome, normal_dn(dn_text(dn)))
        return outcomes

    def _name_group(self, dn: bytes, entry: Entry, raw: bytes) -> Outcome:
        attribute = self.preset.group_key
        if self._is_excluded_entry(dn, entry, attribute):
            return _OUT_OF_SCOPE
        own = self.read_group_key(entry[attribute.lower()])
        if own in self.users and own not in self.shared:
            if self._is_user_at(own, dn):
                self.not_stored.append((dn_text(dn), _BOTH % ("user", "user group")))
                self.again.add(own)
                return own
            if self._is_first():
                raise SynchronizationError(
                    "ldap_parameters.user_key, ldap_parameters.group_key: '%s' is the key of a user "
                    "and of a group: name attributes that tell them apart" % own
                )
        why = (_ANOTHERS_KEY if own else _NO_KEY) % attribute
        key = self._stored_at(dn, self.digests.user_groups)
        if not key or key in self.groups:
            return self._name(dn, entry, "", why, attribute)
        self.named[dn] = key
        return self._add_group(dn, entry, raw, key, why + _TAKEN_FOR)

    def _is_user_at(self, key: str, dn: bytes) -> bool:
        body = self.users[key]
        its_dn = body.dn if body is not None else self.digests.dns([key]).get(key, "")
        return normal_dn(its_dn) == normal_dn(dn_text(dn))

    def _is_excluded_entry(self, dn: bytes, entry: Entry, attribute: str) -> bool:
        keys = keys_of(entry, attribute)
        return self._is_left_out(normal_dn(dn_text(dn))) or not self.excluded_keys.isdisjoint(keys)

    def _add_found_user(self, found: Found) -> Outcome:
        """The same as `_add_user`, where another search may begin."""
        outcome = self._add_user(*found)
        return self._name_users().get(found[0], outcome) if outcome is _NAMELESS else outcome

    def _add_found_group(self, found: Found) -> Outcome:
        outcome = self._add_group(*found)
        return self._name_groups().get(found[0], outcome) if outcome is _NAMELESS else outcome

    # --- containers, and where an entry lies

    def _read_containers(self) -> None:
        attributes = each_once(
            "objectClass",
            self.preset.container_key,
            self.preset.created,
            *self.preset.group_lists.values(),
            *(attribute for several in self.preset.group_fields.values() for attribute in several),
        )
        found: list[tuple] = []
        for dn in self.selected_containers.values():
            found += search(self.session, dn, "base", "(objectClass=*)", attributes, missing_ok=True)
        for dn in self.roots.values():
            found += search(self.session, dn, "sub", self.preset.is_container, attributes)
        entries = {}
        dns: dict[str, str] = {}  # key -> normal DN
        for raw_dn, entry, _raw in found:
            dn = dn_text(raw_dn)
            normal = normal_dn(dn)
            key = self._key_of_container(raw_dn, entry)
            if not key:
                continue
            if dns.setdefault(key, normal) != normal:  # so that none can come to lie in itself
                raise ReadError(
                    "server: the read is not complete, since '%s' and '%s' came with one %s: run again, "
                    "since a container may have moved meanwhile" % (dns[key], normal, self.preset.container_key)
                )
            if not self.is_excluded(normal) and key not in self.excluded_keys:
                self.nodes[normal] = key
                entries[normal] = dn, entry
        for normal, (dn, entry) in sorted(entries.items()):
            self._add_container(normal, dn, entry)

    def _key_of_container(self, dn: bytes, entry: Entry) -> str:
        """Return its key, or that of the container that was there in the last run; empty if it has none."""
        attribute = self.preset.container_key
        key = self._key(None, attribute, entry, dn_text(dn))
        if not key:
            key = self._stored_at(dn, self.digests.user_groups)
            self._name(dn, entry, key, _NO_KEY % attribute, attribute)
        return key

    def _add_container(self, normal: str, dn: str, entry: Entry) -> None:
        key = self.nodes[normal]
        fields, problems = self.read_group_fields(entry, dn)
        self.not_stored += [(dn, problem) for problem in problems.values()]
        self._leave(key, *map(_field, problems))
        name: str | None = rdn_value(dn)
        problem = name_problem(name or "", "name")
        if problem:
            name = None
            self.not_stored.append((dn, problem))
        unit = b"organizationalunit" in {value.lower() for value in entry.get("objectclass", ())}
        self.containers[key] = UserGroup(
            key=key,
            dn=dn,
            name=name,
            parent=self._home(normal_parent(normal)),
            created=self._created(entry),
            type="organizational_unit" if unit else "container",
            container=rdn_value(dn_parent(dn)),
            attributes=EncodedAttributes.of(fields),
            members=None,
            user_groups=[],
            kept_values=[],
            members_digest=b"",
            unit_dn=self._unit_dn_of_group(key, dn),
        )

    def _home(self, normal: str) -> str | None:
        """Return the key of the nearest container, from this DN upwards, that is a node."""
        while normal:
            key = self.nodes.get(normal)
            if key:
                return key
            normal = normal_parent(normal)
        return None

    def is_excluded(self, normal: str) -> bool:
        """Return whether an option leaves out what lies at this DN in normal form."""
        return any(dn_is_within(normal, excluded) for excluded in self.excluded)

    def _is_left_out(self, normal: str) -> bool:
        return self.is_excluded(normal) or not dn_is_within(normal, self.subtree_normal)

    def _place(self, parent: bytes) -> tuple[str | None, bool]:
        """Return (home, excluded) of the entries directly below a DN as read."""
        try:
            normal = normal_dn(dn_text(parent))
            place = self._home(normal), self._is_left_out(normal)
        except ValueError:  # then what lies there has no DN either: see `_add_user`
            place = None, False
        self.places[parent] = place
        return place

    # --- users

    def _read_users(self) -> None:
        for base in self.roots.values():
            for part in encoded_entries(self.session, base, "sub", self.preset.user_filter, self.user_attributes):
                for raw in self._changed(part) if self.as_stored else part:
                    self._add_user(*decode_entry(raw, self.session.names))
        self._settle_values()
        self._name_users()
        self._note_concerned()
        if _AMBIGUOUS in self.by_name.values():
            self.by_value = {
                value: key for value, key in self.by_value.items() if self.by_name[_folded(value)] is not _AMBIGUOUS
            }

    def _note_concerned(self) -> None:
        """Note which lists, though they be the same, may lead to others: see `_add_group`.

        Such a list led to nobody but users, by their DNs, and all of them are stored as its members. So it leads to
        somebody else only if one of these is gone or another one now: who is new cannot have the DN of one who is not.
        """
        stored = self.digests.users
        changed = {key for key, user in self.users.items() if user is not None or stored.get(key) is None}
        others = [key for key in stored if key in changed or key not in self.users]
        if changed or others or self.twice:
            self.new_primary = [
                {value for value, keys in users_of.items() if not changed.isdisjoint(keys)} for users_of in self.primary
            ]
            countable = self.members_by == "dn" and not self.twice and len(others) <= _MANY_CONCERNED
            self.concerned = self.digests.listing(others) if countable and self.digests.listing else None

    def _changed(self, part: list[bytes]) -> list[bytes]:
        """Take the users into scope that are as stored, and return the other entries.

        In most runs nearly all are: such an entry is, byte for byte, one that was decoded and judged when its digest
        was made, and whose state no time changes. So it is not decoded again; what lists need of it is found by its
        name, which its mark says was tried. Runs once per user: keep it lean.
        """
        changed = []
        users, as_stored, places, by_value = self.users, self.as_stored, self.places, self.by_value
        hashed_with = self.hashed_with
        sha256, plain = hashlib.sha256, self.members_by == "dn" and not self.listed_by and not self.need_places
        home, excluded = None, False
        for raw in part:
            dn = entry_dn(raw)
            if self.need_places:
                parent = fast_parent(dn)
                home, excluded = places.get(parent) or self._place(parent)
            beside = hashed_with + home.encode("utf-8") if home else hashed_with
            hashed = sha256(raw + beside if beside else raw).digest()[:_HASH]
            key = as_stored.get(hashed + _ENABLED) or as_stored.get(hashed + _DISABLED)
            if key is None or excluded or key in self.excluded_keys:
                changed.append(raw)
                continue
            if key in users:
                self.came_again[key] = (dn, self._listed_values(raw), home)
            users[key] = None
            if plain:
                by_value[dn] = key
            else:
                self._list_user(key, dn, self._listed_values(raw), home)
        return changed

    def _listed_values(self, raw: bytes) -> Entry:
        """Return what `_list_user` looks at, of an entry that is not decoded."""
        return {name: find_values(raw, header) for name, header in self.listed_by}

    def _mark(self, entry: Entry, raw: bytes, enabled: bool) -> bytes:
        """Return what follows the hash in a user's digest: the state, and whether `_changed` may act on it."""
        lasting = state_is_lasting(self.preset, entry) and (
            not self.listed_by or all(find_values(raw, header) == entry.get(name) for name, header in self.listed_by)
        )
        return (_ENABLED if enabled else _DISABLED) if lasting else (_ENABLED_NOW if enabled else _DISABLED_NOW)

    def _settle_values(self) -> None:
        """Keep of who came more than once what was noted the last time: he may have moved meanwhile. All at once: so
        may a whole container. What led to where he was means him where it leads to nobody else: see `_resolve`.
        """
        again = self.came_again
        if not again:
            return
        self.twice.update(again)
        former = [(value, key) for value, key in self.by_value.items() if key in again]
        self._forget_values(again)
        for keys in itertools.chain(
            self.at_home.values(), self.user_side.values(), *(users_of.values() for users_of in self.primary)
        ):
            if not again.keys().isdisjoint(keys):
                keys[:] = [key for key in keys if key not in again]
        for key, (dn, entry, home) in again.items():
            self._list_user(key, dn, entry, home)
        again.clear()
        for value, key in former:
            token = self._token(value) if value not in self.by_value else None
            if isinstance(token, str):
                self.former[token] = key

    def _forget_values(self, users: Container[str]) -> None:
        _drop(self.by_value, users)
        _drop(self.by_name, users)
        for name, keys in list(self.several.items()):
            keys.difference_update([key for key in keys if key in users])
            if len(keys) < 2:
                del self.several[name], self.by_name[name]
                for key in keys:
                    self.by_name[name] = key

    def _add_user(self, dn: bytes, entry: Entry, raw: bytes, key: str = "", about_key: str = "") -> Outcome:
        """Take a user into scope and return its key; or return why not. Runs once per user: keep it lean.

        ``key`` says whose entry it is, where its own key does not tell.
        """
        if not is_dn(dn):
            return self._name(dn, entry, "", _NO_DN, self.preset.user_key)
        if not key:
            values = entry.get(self.user_key)
            if not values:
                raise self._no_key("user_key", self.preset.user_key, dn_text(dn))
            key = self.read_user_key(values)
            if not key or key in self.shared or key in self.digests.user_groups and key not in self.digests.users:
                self.nameless_users.append((dn, entry, raw))
                return _NAMELESS
        home = None
        if self.need_places:
            parent = fast_parent(dn)
            home, excluded = self.places.get(parent) or self._place(parent)
            if excluded or key in self.excluded_keys:
                return _OUT_OF_SCOPE
        for name, attribute in self.always_there:
            if name not in entry:
                self.stateless[key] = attribute
        enabled, malformed = user_state(self.preset, entry, self.now)
        users = self.users
        beside = self.hashed_with + home.encode("utf-8") if home else self.hashed_with
        digest = hashlib.sha256(raw + beside).digest()[:_HASH] + self._mark(entry, raw, enabled)
        stored = self.digests.users.get(key, b"")
        if key in users:
            self.came_again[key] = (dn, {name: entry.get(name, []) for name, _header in self.listed_by}, home)
        if stored is None and self._is_known_otherwise(key, dn, entry):
            self.otherwise.add(key)
        if stored == digest or stored is None and key not in self.otherwise and self._is_said_already(key, enabled):
            users[key] = None
        else:
            users[key] = self._user(key, dn_text(dn), entry, home, enabled, digest, malformed, about_key)
        self._list_user(key, dn, entry, home)
        return key

    def _is_said_already(self, key: str, enabled: bool) -> bool:
        """Return whether there is nothing to say of the state of a user whom another synchronization writes.

        This one may disable the record, and must not enable it; but it takes back what it said.
        """
        _dn, _names, record_is_enabled, said_disabled = self.digests.others.get(key, ("", "", True, False))
        return not said_disabled if enabled else said_disabled and not record_is_enabled

    def _is_known_otherwise(self, key: str, dn: bytes, entry: Entry) -> bool:
        """Return whether another synchronization has not yet written, or not any more, how lists know this user."""
        its_dn, its_names, *_state = self.digests.others.get(key, ("", ""))
        if self.members_by == "dn":
            return its_dn != dn_text(dn)
        return self.members_by == "name" and not set(map(_folded_text, entry.get(self.listed_name, ()))).issubset(
            map(name_key, its_names.split(KNOWN_AS))
        )

    def _list_user(self, key: str, dn: bytes, entry: Entry, home: str | None) -> None:
        """Note by what the member lists may know the user, and what groups the user itself names."""
        if self.members_by == "dn":
            self.by_value[dn] = key
        elif self.members_by == "key":
            self.by_value[self._key_as_listed(key, entry)] = key
        elif self.members_by:
            self._add_names(key, entry)
        for rule, attribute in self.primary_of_user:
            primary = entry.get(attribute)
            if primary:
                self.primary[rule].setdefault(primary[0], []).append(key)
                break
        if self.user_groups:
            for value in entry.get(self.user_groups) or ():
                self.user_side.setdefault(value, []).append(key)
        if home:
            self.at_home.setdefault(home, []).append(key)

    def _key_as_listed(self, key: str, entry: Entry) -> bytes:
        """Return a user's stable key as lists have it; as it came, unless the entry has another one than the user."""
        values = entry[self.user_key]
        if self.named and self.read_user_key(values) != key or key in self.shared:
            value = key_value(self.preset.user_key, key)
            return value if isinstance(value, bytes) else value.encode("utf-8")
        return values[0]

    def _add_names(self, key: str, entry: Entry) -> None:
        for value in entry.get(self.listed_name) or ():
            folded = _folded(value)
            holder = self.by_name.setdefault(folded, key)
            if holder == key:
                self.by_value[value] = key
            else:
                if isinstance(holder, str):
                    self.several[folded] = {holder}
                self.several[folded].add(key)
                self.by_name[folded] = _AMBIGUOUS

    def _known_as(self, entry: Entry) -> str:
        if self.members_by != "name":
            return ""
        return KNOWN_AS.join(sorted(map(_folded_text, entry.get(self.listed_name, ()))))

    def _user(
        self,
        key: str,
        dn: str,
        entry: Entry,
        home: str | None,
        enabled: bool,
        digest: bytes,
        malformed: Sequence[str],
        about_key: str,
    ) -> User:
        """Runs once per user in a first run: keep it lean."""
        name, problem = self.read_user_name(entry, dn)
        fields, problems = self.read_user_fields(entry, dn)
        sid, about_sid = self._sid(key, entry)
        expires = state_expires(self.preset, entry, self.now) if digest[_HASH:] == _ENABLED_NOW else None
        self._leave(key, *map(_field, problems), *(["enabled"] if malformed else []))
        about_state = ["its %s is malformed: whether it is enabled stays as it is" % each for each in malformed]
        if key in self.stateless:
            about_state.append("its %s cannot be read, so nothing enables it" % self.stateless[key])
        said = [*filter(None, (about_key, problem)), *problems.values(), *about_sid, *about_state]
        if said and key not in self.otherwise:  # else it is not this synchronization that stores it
            self.not_stored += [(dn, text) for text in said]
            self.again.add(key)
            digest = b""  # reported in every run
        return User(
            key,
            dn,
            name,
            home,
            enabled,
            self._created(entry),
            sid,
            EncodedAttributes.of(fields),
            digest,
            self._known_as(entry),
            expires,
            self._unit_dn(dn),
        )

    def _leave(self, key: str, *names: str) -> None:
        """Note what of a record stays as it is stored, since the directory's value is malformed."""
        if names:
            self.unclear[key] = self.unclear.get(key, frozenset()).union(names)

    def _created(self, entry: Entry) -> int:
        """Return when the entry was made, 0 where nothing tells: it only orders who came with one name."""
        values = entry.get(self.created)
        try:
            return generalized_time_seconds(values[0]) if values else 0
        except ValueError:
            return 0

    def _key(self, parameter: str | None, attribute: str, entry: Entry, dn: str) -> str:
        """Return the stable key of an entry; empty if it has values of which none can be that.

        One without any may have one that is hidden: then the read is not complete.
        """
        values = entry.get(attribute.lower())
        if not values:
            raise self._no_key(parameter, attribute, dn)
        return key_reader(attribute)(values)

    def _no_key(self, parameter: str | None, attribute: str, dn: str) -> ReadError:
        """`parameter` is the one of ldap_parameters that names the attribute, None where none does."""
        option, other = self.session.account_option, ""
        if parameter and not self.ad:
            option, other = "ldap_parameters.%s" % parameter, ", or name another attribute"
        return ReadError(
            "%s: the read is not complete, since '%s' has no single %s that the account can read and that "
            "can be a key: give the account the right to read it%s" % (option, dn, attribute, other)
        )

    def _check_unique(self, parameter: str, attribute: str, filter: str, keys: set[str]) -> None:
        """An entry that moves while it is read comes twice; two entries with one key are no key at all.

        In a first run the option is wrong. Later, one of them has taken the other one's key.
        """
        read_key, shared = key_reader(attribute), set()
        for batch in batches(sorted(keys)):
            dns: dict[str, bytes] = {}
            found = search(self.session, self.context, "sub", all_of(filter, any_of(attribute, batch)), (attribute,))
            for dn, entry, _raw in list(found):
                key = read_key(entry.get(attribute.lower(), []))
                if key and dns.setdefault(key, dn) != dn:
                    if self._is_first():
                        raise ReadError(
                            "ldap_parameters.%s: '%s' and '%s' have one %s, so it is no stable key: name "
                            "another attribute" % (parameter, dn_text(dns[key]), dn_text(dn), attribute)
                        )
                    shared.add(key)
        if shared - self.shared:
            raise _SharedKeys(frozenset(shared))

    def _is_first(self) -> bool:
        """Return whether nothing is stored, so that there is nobody who might leave."""
        return not self.digests.users and not self.digests.user_groups

    def _check_required(self) -> None:
        """Refuse a read that did not see an entry that must be there. Of a container that is no node, being there will
        do.
        """
        option = "required_entries"
        for dn in self.settings.required_entries:
            self._check_within(option, dn, self.settings.required_entries)
            found = self._base(dn, "(objectClass=*)")
            if found is None:
                raise ReadError(
                    "%s: the read is not complete, since '%s' does not exist in the directory, or the "
                    "account cannot read it: look what happened to it, or remove it from the option%s"
                    % (option, dn, if_several(dn, [self.context_normal]))
                )
            if any(map(self._is_seen, self._keys(found[1]))):
                continue
            if self._base(dn, "(|%s%s)" % (self.preset.is_user, self.preset.is_group)) is not None:
                raise ReadError(
                    "%s: the read is not complete, since it did not come across '%s', which exists: select "
                    "it, or remove it from the option" % (option, dn)
                )

    def _is_seen(self, key: str) -> bool:
        return key in self.users or key in self.groups or key in self.containers or key in self.selected.values()

    def _hint_at_parameters(self) -> None:
        """Warn where nothing was found that is read so, and something is there that is read otherwise.

        No other preset is taken by itself: an entry more or less might then change it, and all groups would be others.
        """
        if self.ad:
            return
        if self.named and not self.users:
            self.warnings.append(
                "ldap_parameters.user_key: nobody has a %s that is a text, so it is no stable key: name another "
                "attribute" % self.preset.user_key
            )
        given = self.settings.ldap_parameters or {}
        if given.get("preset"):
            return
        found = []
        if not self.users and "user_class" not in given:
            found += self._others_of_class("posixAccount", self.preset.is_user)
        if not self.groups and self.groups_are_groups and not {"group_class", "user_groups"}.intersection(given):
            found += self._others_of_class("posixGroup", self.preset.is_group)
        if found:
            self.warnings.append(
                "ldap_parameters.preset: it was found to be %s, by which nothing was read where entries of %s lie: "
                "name one that reads these, such as rfc2307, or %s to leave them"
                % (self.preset.directory_type, " and ".join(found), self.preset.directory_type)
            )

    def _others_of_class(self, name: str, those_read: str) -> list[str]:
        """Return the class if entries of it lie where was read, that the preset is not about."""
        tests = "(&(objectClass=%s)(!%s))" % (name, those_read)
        with contextlib.suppress(changes.ReadFully):  # the account may not look there
            for base in self.roots.values():
                if changes.attempt(self.session, functools.partial(finds_any, self.session, base, "sub", tests)):
                    return [name]
        return []

    # --- groups

    def _groups_matter(self) -> bool:
        """Groups that become no user groups still bring their members, if there is anyone left to bring."""
        return self.groups_are_groups or (self.add_outside and not self.whole)

    def _read_groups(self) -> None:
        if self.names_are_groups:
            return
        for base in self.roots.values():
            for part in encoded_entries(
                self.session,
                base,
                "sub",
                self.preset.group_filter,
                self.group_attributes,
                page_size=min(_GROUPS_A_PAGE, self.session.page_size),
            ):
                for raw in part:
                    self._add_group(*decode_entry(raw, self.session.names, self.list_headers))
        for dn in self.selected_groups:
            for found in list(search(self.session, dn, "base", self.preset.group_filter, self.group_attributes)):
                self._note_outside(self._add_group(*found), normal_dn(dn))
        self._name_groups()
        self._read_ranges()

    def _add_group(self, raw_dn: bytes, entry: Entry, raw: bytes, key: str = "", about_key: str = "") -> Outcome:
        """Take a group into scope and return its key; or return why not. ``entry`` may be without its members.

        ``key`` says whose entry it is, where its own key does not tell.
        """
        if not is_dn(raw_dn):
            return self._name(raw_dn, entry, "", _NO_DN, self.preset.group_key)
        preset, dn = self.preset, dn_text(raw_dn)
        if not key:
            key = self._key("group_key", preset.group_key, entry, dn)
            if not key or key in self.shared or key in self.users:
                self.nameless_groups.append((raw_dn, entry, raw))
                return _NAMELESS
        home = None
        if self.need_places:
            parent = fast_parent(raw_dn)
            home, excluded = self.places.get(parent) or self._place(parent)
            if excluded or key in self.excluded_keys:
                return _OUT_OF_SCOPE
        known = self.groups.get(key)
        if known and known.record.dn == dn:
            return key
        if known:  # from elsewhere: see `_settle_values`
            self.groups_twice.add(key)
            former = normal_dn(known.record.dn)
            self.former[former] = key
            if self.by_token.get(former) == key:
                del self.by_token[former]
            self.ranges = [part for part in self.ranges if part[0] != key]
        name, problem = self.read_group_name(entry, dn)
        fields, problems = self.read_group_fields(entry, dn)
        if self.groups_are_groups:
            said = [*filter(None, (about_key, problem)), *problems.values()]
            self.not_stored += [(dn, text) for text in said]
            self.again.update([key] if said else ())
            self._leave(key, *map(_field, problems))
        record = UserGroup(
            key=key,
            dn=dn,
            name=name,
            parent=home if self.containers_are_groups else None,
            created=self._created(entry),
            type=self._type(entry),
            container=rdn_value(dn_parent(dn)),
            attributes=EncodedAttributes.of(fields),
            members=None,
            user_groups=[],
            kept_values=[],
            members_digest=b"",
            unit_dn=self._unit_dn_of_group(key, dn),
        )
        primary = [self._primary_value(attribute, entry) for _of_user, attribute in preset.primary_group]
        if self.ad and entry.get("objectsid") and _sid_of_bytes(entry["objectsid"][0]) is None:
            self.not_stored.append((dn, "its objectSid is malformed: nobody who has it as primary group is removed"))
            self.again.add(key)
            self._leave(key, "members")
        group = self.groups[key] = _Group(record, primary, hashlib.sha256(raw).digest()[:_HASH])
        # The same list and the same users: it leads to whom it led when the digest was made. Most groups, in most runs.
        # But users outside the selected containers, whose primary group it is, come into scope only later.
        group.as_stored = (
            self.concerned is not None
            and key not in self.concerned
            and self.digests.user_groups.get(key, b"")[_HASH:] == group.hashed
            and not any(value in new for value, new in zip(primary, self.new_primary))
            and (self.whole or not any(primary))
        )
        if not group.as_stored:
            self._list_members(group, raw)
        if self.members_by != "name":
            self.by_token[key if self.members_by == "key" else normal_dn(dn)] = key
        return key

    def _list_members(self, group: _Group, raw: bytes) -> None:
        """Turn the values that the group lists into keys, as far as they are known, and let go of them."""
        _dn, entry, _raw = decode_entry(raw, self.session.names)
        get = self.by_value.get
        for attribute in self.preset.group_members:
            part = ranged(entry, attribute) if self.ad else None
            if part:
                self.ranges.append((group.record.key, attribute, *part))
                group.hashed = b""
            else:
                values = entry.get(attribute.lower(), ())
                if self.members_by == "name" or (values and group.listed):  # a user may have several names
                    group.plain = False
                group.listed += map(get, values, values)

    def _type(self, entry: Entry) -> str:
        if self.ad:
            try:
                kind = integer((entry.get("grouptype") or [b"-1"])[0])
            except ValueError:
                return "group"  # it is only for the suffix of one that loses its name
            return "security" if kind & 0x80000000 else "distribution"
        classes = {value.lower() for value in entry.get("objectclass", ())}
        return next((name for name in self.preset.group_classes if name.lower().encode("ascii") in classes), "group")

    def _primary_value(self, group_attribute: str, entry: Entry) -> bytes | None:
        """Return what the users say whose primary group this is."""
        values = entry.get(group_attribute.lower())
        if not values:
            return None
        if group_attribute == "objectSid":
            domain, dummy, number = (_sid_of_bytes(values[0]) or "").rpartition("-")
            return number.encode("ascii") if domain == self.directory.identity else None
        return values[0] if _PRIMARY_GROUP.fullmatch(values[0]) else None

    def _read_ranges(self) -> None:
        """Fetch the member lists that AD cut, each in full or not at all. By GUID: a group may be renamed meanwhile.

        A list that says something else than the stored one may lack somebody whom a range has skipped, so it is read
        until it says one thing twice. A list that is new takes nobody away.
        """
        ranges, self.ranges = self.ranges, []
        get = self.by_value.get
        for key, attribute, first_values, written in ranges:
            group, base, stored = self.groups[key], "<GUID=%s>" % key, self.digests.user_groups.get(key)
            try:
                values = read_ranges(self.session, base, attribute, first_values, written)
            except ListChanged:
                values = None
            if values is None or stored is not None and stored[_HASH:] != _ranged_hash(values):
                values = settled_ranges(self.session, base, attribute, values)
            group.ranged = _ranged_hash(values)
            group.listed += map(get, values, values)

    # --- members that were not known when their group was read

    def _follow_members(self) -> None:
        """Resolve what the groups list, and the groups that come into scope thereby, breadth first."""
        done = 0
        while done < len(self.groups):
            new = list(self.groups.values())[done:]
            done = len(self.groups)
            values: set[bytes] = set()
            for group in new:
                if bytes in set(map(type, group.listed)):
                    group.plain = False
                    group.hashed = b""
                    values.update(value for value in group.listed if value.__class__ is bytes)
            self._resolve(values.difference(self.outcomes))
            self._read_ranges()

    def _resolve(self, values: Iterable[bytes]) -> None:
        """Find out what values of member lists lead to; fills `outcomes`."""
        pending: dict[str, list[bytes]] = {}
        for value in sorted(values):
            token = self._token(value)
            if isinstance(token, _Miss):
                self.outcomes[value] = token
            else:
                pending.setdefault(token, []).append(value)
        for step in (self._resolve_known, self._find_users, self._find_groups, self._find_others):
            if not pending:
                break
            for token, outcome in step(pending).items():
                for value in pending.pop(token):
                    self.outcomes[value] = outcome
                self.by_token[token] = outcome
        self._ask_for_each(pending)
        for token, several in pending.items():
            if token in self.former:
                self.unrecorded.add(token)
            for value in several:
                self.outcomes[value] = self.former.get(token, _UNKNOWN)

    def _ask_for_each(self, pending: dict[str, list[bytes]]) -> None:
        r"""Ask for each value by itself where a search for several has found another one: nothing tells for which.

        Examples: the server finds `cn=fi` where it is asked for `cn=\ufb01`, and the name `fi` where it is asked for
        that name with the ligature. They are one to it and two to us.
        """
        asked = sorted(pending)[:_ASKED_FOR_EACH] if self.found_others else []
        self.found_others = False
        for token in asked:
            outcomes: set[Outcome] = set()
            for value in self._found_by(pending[token][0], token):
                if value not in self.by_value:
                    self._resolve({value}.difference(self.outcomes))
                outcomes.add(self.by_value.get(value) or self.outcomes[value])
            if outcomes:
                outcome = outcomes.pop() if len(outcomes) == 1 else _AMBIGUOUS
                self.outcomes.update(dict.fromkeys(pending.pop(token), outcome))
                self.by_token[token] = outcome

    def _found_by(self, value: bytes, token: str) -> list[bytes]:
        """Return what lists say who mean the entries that the server finds by a value: of one that is not its token."""
        if self.members_by == "dn":
            base = dn_text(_BIT_STRING.sub(b"", value))
            found = search(self.session, base, "base", "(objectClass=*)", ("1.1",), missing_ok=True)
            return [dn for dn, _entry, _raw in list(found) if normal_dn(dn_text(dn)) != token]
        name = self.preset.listed_name
        tests = all_of(self.preset.is_user, tests_of(name, [value]))
        names = [
            entry.get(name.lower(), [])
            for _dn, entry, _raw in search(self.session, self.subtree, "sub", tests, (name,))
        ]
        return [min(each) for each in names if each and token not in map(_folded, each)]

    def _token(self, value: bytes) -> Outcome:
        """Return the form in which two spellings of a value are equal; or why it can lead to no one."""
        if not value:
            return _EMPTY
        if len(value) > LONGEST_ASKED_FOR:
            return _TOO_LONG
        try:
            if self.members_by == "name":
                return _folded(value)
            if self.members_by == "key":
                return value_text(self.preset.user_key, value)
            normal = normal_dn(dn_text(_BIT_STRING.sub(b"", value)))
        except ValueError:
            return _Miss(None, "is no %s" % {"dn": "DN"}.get(self.members_by, self.members_by))
        if not normal:
            return _EMPTY
        if not dn_is_within(normal, self.context_normal) or any(
            dn_is_within(normal, context) for context in self._contexts_below()
        ):
            return _OTHER_DOMAIN
        return normal

    def _contexts_below(self) -> list[str]:
        """Return the naming contexts whose DNs look as if they lay in this one: AD's child domains."""
        if self.contexts_below is None:
            self.contexts_below = []
            configuration = self.session.root_dse.get("configurationnamingcontext")
            if self.ad and configuration:
                base = "CN=Partitions," + dn_text(configuration[0])
                for _dn, entry, _raw in search(
                    self.session, base, "one", "(objectClass=crossRef)", ("nCName",), missing_ok=True
                ):
                    normal = normal_dn(dn_text(entry.get("ncname", [b""])[0]))
                    if normal != self.context_normal and dn_is_within(normal, self.context_normal):
                        self.contexts_below.append(normal)
        return self.contexts_below

    def _is_read(self, token: str) -> bool:
        """Return whether whatever this leads to would have been seen when the selected containers were read."""
        return self.whole or (self.members_by == "dn" and any(dn_is_within(token, root) for root in self.roots))

    def _resolve_known(self, pending: dict[str, list[bytes]]) -> dict[str, Outcome]:
        found: dict[str, Outcome] = {}
        for token in pending:
            if token in self.by_token:
                found[token] = self.by_token[token]
            elif self.members_by == "name" and token in self.by_name:
                found[token] = self.by_name[token]
            elif self.members_by == "dn" and (token == self.context_normal or self._is_left_out(token)):
                found[token] = _OUT_OF_SCOPE
        if self.members_by == "dn":
            found.update(
                self._spelled_otherwise({token for token in pending if token not in found and self._is_read(token)})
            )
        return found

    def _spelled_otherwise(self, tokens: set[str]) -> dict[str, Outcome]:
        """Find users whose DN a member list spells in its own way: rarely needed, hence not prepared while reading."""
        found: dict[str, Outcome] = {}
        parents = {normal_parent(token) for token in tokens}
        wanted: dict[bytes, bool] = {}  # parent as read -> a user below it may be meant
        for dn, key in self.by_value.items() if tokens else ():
            parent = fast_parent(dn)
            if parent not in wanted:
                wanted[parent] = normal_dn(dn_text(parent)) in parents
            if wanted[parent]:
                normal = normal_dn(dn_text(dn))
                if normal in tokens:
                    found[normal] = key if found.get(normal, key) == key else _SEVERAL
        return found

    def _find_users(self, pending: dict[str, list[bytes]]) -> dict[str, Outcome]:
        """Bring in the users outside the selected containers who are listed."""
        found: dict[str, Outcome] = {}
        keys = [self.preset.user_key]
        for matches in self._look_up(
            self._not_read(pending) if self.add_outside else {}, self.preset.user_filter, self.user_attributes, keys
        ):
            for token, entries in matches.items():
                entries = [each for each in entries if not self._is_left_out(normal_dn(dn_text(each[0])))]
                if len({each[0] for each in entries}) > 1:
                    found[token] = _AMBIGUOUS
                elif entries:
                    known = self._known(keys[0], self.users, entries[0], token)
                    self.twice.update([known] if known else ())
                    outcome = known or self._add_found_user(entries[0])
                    if outcome is not _A_GROUP:
                        found[token] = outcome if known else self._note_outside(outcome, token)
                else:
                    found[token] = _OUT_OF_SCOPE
        return found

    def _find_groups(self, pending: dict[str, list[bytes]]) -> dict[str, Outcome]:
        """Bring in the groups outside the selected containers that are nested in one in scope."""
        found: dict[str, Outcome] = {}
        keys = [self.preset.group_key]
        for matches in self._look_up(
            {} if self.members_by == "name" else self._not_read(pending),
            self.preset.group_filter,
            self.group_attributes,
            keys,
        ):
            for token, entries in matches.items():
                known = self._known(keys[0], self.groups, entries[0], token)
                self.groups_twice.update([known] if known else ())
                found[token] = known or self._note_outside(self._add_found_group(entries[0]), token)
        return found

    def _note_outside(self, outcome: Outcome, normal: str) -> Outcome:
        """Note who is in scope though it lies outside the selected containers."""
        if isinstance(outcome, str) and not self._lies_within(normal):
            self.outside.add(outcome)
        return outcome

    def _lies_within(self, normal: str) -> bool:
        return any(dn_is_within(normal, root) for root in self.roots)

    def _not_read(self, pending: dict[str, list[bytes]]) -> dict[str, list[bytes]]:
        return {token: values for token, values in pending.items() if not self._is_read(token)}

    def _find_others(self, pending: dict[str, list[bytes]]) -> dict[str, Outcome]:
        """Tell what the remaining values lead to."""
        found: dict[str, Outcome] = {}
        keys = each_once(self.preset.user_key, self.preset.group_key)
        of_domain = ("objectSid", "userAccountControl") if self.ad else ()
        attributes = each_once("objectClass", self.preset.listed_name, *of_domain, *keys)
        filter = self.preset.is_user if self.members_by == "name" else "(objectClass=*)"
        for matches in self._look_up(pending, filter, attributes, keys):
            for token, entries in matches.items():
                found[token] = self._other(entries[0], token)
                self.there[token] = next(iter(keys_of(entries[0][1], self.preset.user_key)), "")
        return found

    def _other(self, entry_found: tuple[bytes, Entry, bytes], token: str) -> Outcome:
        dn, entry, _raw = entry_found
        if dn in self.named:
            return _NAMELESS
        for attribute, seen in ((self.preset.user_key, self.users), (self.preset.group_key, self.groups)):
            key = self._known_by_key(attribute, seen, entry)
            if key and not self._is_anothers(attribute, key, dn):
                return self._known(attribute, seen, entry_found, token)
        classes = {value.lower() for value in entry.get("objectclass", ())}
        if b"foreignsecurityprincipal" in classes:
            sids = entry.get("objectsid")
            sid = (_sid_of_bytes(sids[0]) if sids else rdn_value(dn_text(dn))) or ""
            if sid and not sid.startswith("S-1-5-21-"):  # Authenticated Users and the like
                return _WELL_KNOWN
            return self.digests.foreign_users.get(sid, _FOREIGN)
        if self.ad and is_trust_account(entry):
            return _KIND_OF_CLASS[b"computer"]
        return next((miss for name, miss in _KIND_OF_CLASS.items() if name in classes), _OUT_OF_SCOPE)

    def _known(self, attribute: str, seen: dict[str, Any], found: tuple[bytes, Entry, bytes], token: str) -> str:
        """Return the key of whom a value leads to who was read before, or an empty string."""
        key = self._known_by_key(attribute, seen, found[1])
        if self.members_by == "dn":
            read = self.by_value.get(found[0]) or self.by_token.get(normal_dn(dn_text(found[0])))
        else:
            read = key if self.members_by == "key" else self.by_name.get(token)
        if key and read != key:
            self._moved(found[0], token)
        return key

    def _is_anothers(self, attribute: str, key: str, dn: bytes) -> bool:
        """Return whether another entry has the key, too. Who only moved while he was read has it alone."""
        found = search(self.session, self.context, "sub", any_of(attribute, [key]), (attribute,))
        return any(its_dn != dn and key in keys_of(entry, attribute) for its_dn, entry, _raw in list(found))

    def _known_by_key(self, attribute: str, seen: Container[str], entry: Entry) -> str:
        """Return the entry's key if it is among those seen and only this entry has it; else an empty text."""
        key = key_reader(attribute)(entry.get(attribute.lower(), []))
        return key if key in seen and key not in self.shared else ""

    def _moved(self, _dn: bytes, token: str) -> None:
        """Note a value that leads to somebody who was read elsewhere, or by another name, and moved since."""
        self.unrecorded.add(token)

    def _look_up(
        self, pending: dict[str, list[bytes]], filter: str, attributes: Sequence[str], keys: Sequence[str]
    ) -> Iterator[dict[str, list[tuple[bytes, Entry, bytes]]]]:
        """Yield what matches, batch by batch: token -> entries. All that match one token are in one batch."""
        name = self.preset.listed_name.lower()
        for base, scope, tests in self._look_ups(pending, keys):
            matches: dict[str, list[tuple[bytes, Entry, bytes]]] = {}
            for found in search(self.session, base, scope, all_of(filter, tests), attributes, missing_ok=True):
                if self.members_by == "dn":
                    forms = [normal_dn(dn_text(found[0]))]
                elif self.members_by == "name":
                    forms = [_folded(value) for value in found[1].get(name, ())]
                else:
                    forms = keys_of(found[1], *keys)
                asked_for = [form for form in forms if form in pending]
                for form in asked_for:
                    matches.setdefault(form, []).append(found)
                if not asked_for and self.members_by != "key":
                    self.found_others = True
            yield matches

    def _look_ups(self, pending: dict[str, list[bytes]], keys: Sequence[str]) -> Iterator[tuple[str, str, str]]:
        """Yield (base, scope, filter) of few searches that find all that is pending.

        They are made of the values as listed: a normal form is for comparing, and may be none that a server matches.
        """
        if self.members_by == "dn":
            for base, tests in below_parents(
                {token: dn_text(_BIT_STRING.sub(b"", values[0])) for token, values in pending.items()}
            ):
                yield base, "one", tests
        elif self.members_by == "name":
            for batch in batches([value for values in pending.values() for value in values]):
                yield self.subtree, "sub", "(|%s)" % tests_of(self.preset.listed_name, batch)
        else:
            for batch in batches(list(pending)):
                yield self.subtree, "sub", "(|%s)" % "".join(any_of(attribute, batch) for attribute in keys)

    # --- members by what the users say

    def _add_outside(self, attribute: str, values: list[bytes], wanted) -> None:
        """Bring in the users outside the selected containers whose attribute has one of the values."""
        values = [value for value in values if value and len(value) <= LONGEST_ASKED_FOR]
        if not values or not self.add_outside or self.whole:
            return
        for batch in batches(values):
            tests = "(|%s)" % tests_of(attribute, batch)
            for found in search(
                self.session, self.subtree, "sub", all_of(self.preset.user_filter, tests), self.user_attributes
            ):
                if not self._known_by_key(self.preset.user_key, self.users, found[1]) and wanted(found[1]):
                    self._note_outside(self._add_user(*found), normal_dn(dn_text(found[0])))
        self._name_users()

    def _add_by_primary_group(self) -> None:
        for rule, (user_attribute, dummy) in enumerate(self.preset.primary_group):
            values = {group.primary[rule] for group in self.groups.values()} - {None}
            before = [attribute.lower() for attribute, dummy in self.preset.primary_group[:rule]]
            self._add_outside(
                user_attribute,
                sorted(values),
                lambda entry, before=before: not any(attribute in entry for attribute in before),
            )

    def _add_by_user_side(self) -> None:
        """Make the member lists from the users' lists of groups."""
        attribute = self.preset.user_groups
        if not attribute:
            return
        if self.names_are_groups:
            self._make_groups_of_names()
            return
        self._add_outside(
            attribute, [group.record.dn.encode("utf-8") for group in self.groups.values()], lambda entry: True
        )
        missing: dict[str, dict[str, list[str]]] = {}
        for value, keys in self.user_side.items():
            try:
                normal = normal_dn(dn_text(value)) if len(value) <= LONGEST_ASKED_FOR else ""
            except ValueError:
                normal = ""
            key = self.by_token.get(normal)
            if not normal:
                self.not_stored.append(
                    (attribute, "the value %.60r is no DN; users that have it: %d" % (value, len(keys)))
                )
            elif isinstance(key, str):
                self._list_users(key, keys)
            elif dn_is_within(normal, self.context_normal):
                missing.setdefault(normal, {})[dn_text(value)] = keys
        self._note_dangling(missing)

    def _note_dangling(self, missing: dict[str, dict[str, list[str]]]) -> None:
        """Tell groups that do not exist from those that are not in scope.

        ``missing``: normal DN -> DN as it is listed, in each of its spellings -> users.
        """
        for base, tests in below_parents({normal: next(iter(users_of)) for normal, users_of in missing.items()}):
            for raw_dn, _entry, _raw in search(self.session, base, "one", tests, ("objectClass",), missing_ok=True):
                missing.pop(normal_dn(dn_text(raw_dn)), None)
        for users_of in missing.values():
            self.dangling.update(users_of)
            count = len({key for keys in users_of.values() for key in keys})
            self.not_stored.append(
                (min(users_of), "it does not exist or cannot be read; users that list it as a group: %d" % count)
            )

    def _list_users(self, key: str, users: list[str]) -> None:
        self.groups[key].listed += users
        self.groups[key].plain = False
        self.groups[key].hashed = b""

    def _make_groups_of_names(self) -> None:
        for value, keys in sorted(self.user_side.items()):
            try:
                name = value_text(self.preset.user_groups, value)
            except ValueError:
                self.not_stored.append((self.preset.user_groups, "the name %r of a group is not UTF-8" % value))
                continue
            problem = name_problem(name, self.preset.user_groups)
            if problem and name.strip():
                self.not_stored.append((name, problem))
            elif not problem:
                name = significant(name)
                key = "name:" + name_key(name)
                if key not in self.groups:
                    self.groups[key] = _Group(
                        UserGroup(
                            key=key,
                            dn="",
                            name=name,
                            parent=None,
                            created=0,
                            type="group",
                            container="",
                            attributes={},
                            members=None,
                            user_groups=[],
                            kept_values=[],
                            members_digest=b"",
                        ),
                        [None] * len(self.preset.primary_group),
                    )
                self._list_users(key, keys)

    # --- the outcome

    def _finished_groups(self) -> dict[str, UserGroup]:
        if not self.groups_are_groups:
            return {}
        return {key: self._finished(group) for key, group in self.groups.items()}

    def _finished(self, group: _Group) -> UserGroup:
        record, members, group.listed = group.record, group.listed, []
        stored = self.digests.user_groups.get(record.key)
        if group.as_stored:
            return record._replace(members_digest=stored)
        primary = [
            key
            for rule, value in enumerate(group.primary)
            if value is not None
            for key in self.primary[rule].get(value, ())
        ]
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
        digest = _members_digest(members, user_groups, kept_values) + (group.ranged or group.hashed)
        return record._replace(
            members=None if digest == stored and self.otherwise.isdisjoint(members) else members,
            user_groups=list(user_groups),
            kept_values=kept_values,
            members_digest=digest,
        )

    def _take(self, key: str, value: bytes, members: dict, user_groups: dict, kept_values: list) -> None:
        """Put a value that was not known when it was read where it belongs."""
        outcome = self.outcomes[value]
        if isinstance(outcome, str):
            if outcome[:1] == "@":  # whom another synchronization gives, and may take
                self.again.add(key)
            if outcome != key:  # a group that may not be empty lists itself
                (user_groups if self._is_group(outcome) else members)[outcome] = None
                if self.unrecorded and self._token(value) in self.unrecorded:
                    self.listed_as.setdefault((key, outcome), []).append(self._text(value))
            return
        text = self._text(value)
        kept_values.append(text)
        # Nothing says when such a value leads to someone: outside of what is selected, or where no search finds it.
        # Nor when it leads to no one any more who was never in scope, but in Active Directory, whose lists follow.
        if outcome.kind is None or not (self.whole and self.ad) or _BIT_STRING.search(value):
            self._leave_open(key, value, text, outcome)
        if outcome.kind is None:
            self.unresolved.append((key, Unresolved(text, outcome.reason)))
        else:
            self.other_members[outcome.kind] = self.other_members.get(outcome.kind, 0) + 1

    def _text(self, value: bytes) -> str:
        return (_BIT_STRING.sub(b"", value) if self.members_by == "dn" else value).decode("utf-8", "backslashreplace")

    def _leave_open(self, key: str, value: bytes, text: str, outcome: _Miss) -> None:
        """Have the next read look what the value leads to then; at the whole list, where that would not do."""
        token = self._token(value)
        if (
            self.members_by != "dn"
            or not isinstance(token, str)
            or _BIT_STRING.search(value)
            or (outcome.kind is None and outcome is not _UNKNOWN)
        ):
            self.again.add(key)
        elif token != self.context_normal and not self._is_left_out(token):  # which no entry there changes
            there, lists = self.open.setdefault(token, (self.there.get(token, ""), {}))
            lists[key] = (text, outcome.kind is None)

    def _is_group(self, key: str) -> bool:
        return key in self.groups

    def _finished_containers(self) -> dict[str, UserGroup]:
        finished = {}
        for key, record in self.containers.items():
            members = sorted(self.at_home.get(key, ()))
            digest = _members_digest(members, (), ())
            same = digest == self.digests.user_groups.get(key)
            finished[key] = record._replace(members=None if same else members, members_digest=digest)
        return finished

    # --- who did not come: see `lost`

    def _lost(self, user_groups: dict[str, UserGroup]) -> tuple[dict[str, str], dict[str, str]]:
        """Return the lost users and the lost user groups.

        Whose entry it may be whose key does not tell is not lost: all of the record stays as it is stored. If that is a
        group, others may be in scope by it alone.
        """
        for dn, entry in self.session.nameless.items():
            keys = self.preset.user_key, self.preset.group_key, self.preset.container_key
            self._name(dn, entry, "", _NO_DN, *keys)
        users = {key for key in self.digests.users if key in self.as_they_are and key not in self.users}
        groups = {key for key in self.digests.user_groups if key in self.as_they_are and key not in user_groups}
        self.users.update(dict.fromkeys(users))
        self.unclear.update(dict.fromkeys(users | groups, frozenset(["all"])))
        lost_users = self._lost_users(self.digests.users)
        lost_groups = self._lost_user_groups(self.digests.user_groups.keys() - groups, user_groups)
        if groups:
            by_them = {key for key, reason in {**lost_users, **lost_groups}.items() if reason == OUT_OF_SCOPE}
            self.users.update(dict.fromkeys(by_them & lost_users.keys()))
            self.unclear.update(dict.fromkeys(by_them, frozenset(["all"])))
            lost_users = {key: reason for key, reason in lost_users.items() if key not in by_them}
            lost_groups = {key: reason for key, reason in lost_groups.items() if key not in by_them}
        if self.containers_are_groups:
            self._refuse_hidden_containers(lost_groups)
        return lost_users, lost_groups

    def _refuse_hidden_containers(self, lost_groups: dict[str, str]) -> None:
        """Raise ReadError if anybody lies below a container that is not found: it is there, and cannot be read."""
        if not lost_groups:
            return
        dns = self.digests.dns(lost_groups)
        parents = {normal_parent(normal) for normal in self.nodes}
        for parent in self.places:
            with contextlib.suppress(ValueError, ReadError):  # a DN that is none is that of no stored container
                parents.add(normal_dn(dn_text(parent)))
        for key, dn in sorted(dns.items()):
            normal = normal_dn(dn) if dn else ""
            if not normal or lost_groups[key] == OUT_OF_SCOPE or normal in self.nodes:
                continue
            if any(dn_is_within(parent, normal) for parent in parents):
                raise ReadError(
                    "%s: '%s' cannot be read, and there are entries below it: give the account the right to read it"
                    % (self.session.account_option, dn)
                )

    def _lost_users(self, stored: Iterable[str]) -> dict[str, str]:
        kinds = [(self.preset.user_key, self.preset.user_filter)]
        return lost.look_up(self, stored, self.users, kinds, self._user_is_selected)

    def _lost_user_groups(self, stored: Iterable[str], seen: Container[str]) -> dict[str, str]:
        kinds = [
            (self.preset.group_key, self.preset.group_filter if self.groups_are_groups else None),
            (self.preset.container_key, self.preset.is_container if self.containers_are_groups else None),
        ]
        return lost.look_up(self, stored, seen, kinds, self._user_group_is_selected)

    def attributes_that_select(self, keys: Sequence[str]) -> tuple[str, ...]:
        """Return the attributes of an entry by which `lost` tells who it is and whether it is selected."""
        return each_once(
            *keys,
            self.preset.listed_name if self.members_by == "name" else None,
            self.preset.user_groups,
            *(pair[0] for pair in self.preset.primary_group),
        )

    def _user_is_selected(self, key: str, dn: bytes, entry: Entry) -> bool:
        """Return whether a user who did not come was asked for: by where it lies, by a list, or by its own values."""
        normal = normal_dn(dn_text(dn))
        if key in self.excluded_keys or self._is_left_out(normal):
            return False
        return self._lies_within(normal) or self.add_outside and self._is_named(key, normal, entry)

    def _user_group_is_selected(self, key: str, dn: bytes, entry: Entry) -> bool:
        normal = normal_dn(dn_text(dn))
        if key in self.excluded_keys or self._is_left_out(normal):
            return False
        return self._lies_within(normal) or {"dn": normal, "key": key}.get(self.members_by) in self._missed_tokens()

    def _is_named(self, key: str, normal: str, entry: Entry) -> bool:
        """Return whether a group in scope has the user as a member, by what was read."""
        if self.members_by == "name":
            tokens = set(map(_folded, entry.get(self.listed_name, ())))
        else:
            tokens = {normal if self.members_by == "dn" else key}
        if not tokens.isdisjoint(self._missed_tokens()):
            return True
        for rule, attribute in self.primary_of_user:
            if entry.get(attribute):
                return any(group.primary[rule] == entry[attribute][0] for group in self.groups.values())
        return any(map(self._names_a_group, entry.get(self.user_groups, ()) if self.user_groups else ()))

    def _names_a_group(self, value: bytes) -> bool:
        """Return whether a value of a user's own list of groups is a group in scope."""
        try:
            if self.names_are_groups:
                return "name:" + name_key(significant(value_text(self.preset.user_groups or "", value))) in self.groups
            return self.by_token.get(normal_dn(dn_text(value))) in self.groups
        except ValueError:
            return False

    def _missed_tokens(self) -> set[str]:
        """Return what member lists have that led to no one; to be asked when all lists were followed."""
        if self.missed is None:
            tokens = {self._token(value) for value, outcome in self.outcomes.items() if isinstance(outcome, _Miss)}
            self.missed = {token for token in tokens if isinstance(token, str)}
        return self.missed


# --- small things ----------------------------------------------------------------------------------------------------


def _drop(known: dict[Any, Any], meanings: Container[Any]) -> None:
    """Forget, in place, all that means one of these."""
    for each in [each for each, means in known.items() if means in meanings]:
        del known[each]


def _folded(value: bytes) -> str:
    if value.isascii():
        return significant(value.decode("ascii").lower())
    return name_key(significant(value.decode("utf-8", "surrogateescape")))


def _shown_dn(dn: bytes) -> str:
    return dn.decode("utf-8", "backslashreplace")


def _folded_text(value: bytes) -> str:
    """Return the same as a text that can be stored, whatever the value is; as `Reading._text` has those of lists."""
    return _folded(value).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _field(field: str) -> str:
    """Return what `Snapshot.unclear` calls a field."""
    return "attributes." + field


def _sid_of_bytes(value: bytes) -> str | None:
    try:
        return sid_text(value)
    except ValueError:
        return None


def _sid_of_text(value: bytes) -> str | None:
    """Return a SID that is written as text, in its usual spelling; None if it is none."""
    try:
        return sid_text(sid_bytes(value.decode("ascii")))
    except ValueError:
        return None


def _ranged_hash(values: Iterable[bytes]) -> bytes:
    """Return the hash of a list that came in ranges. It has another length than that of an entry: see `_add_group`."""
    hashed = hashlib.sha256(b"".join(b"%d:%s" % (len(value), value) for value in sorted(values)))
    return hashed.digest()[:_HASH] + b"r"


def _members_digest(members: Iterable[str], user_groups: Iterable[str], kept_values: Iterable[str]) -> bytes:
    text = "\1".join("\0".join(part) for part in (members, user_groups, kept_values))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:_HASH]
