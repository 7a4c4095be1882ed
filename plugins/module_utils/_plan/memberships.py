# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What becomes of the memberships.

A membership ends only for a reason that was read: its value has left the list, or its user or user group ends. Example:
a group lists ann and an old DN of bob, that leads to no one. Bob stays a member, since he was known by that DN.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Set

from .. import _model
from .._changes import MembershipChange
from .._model import NO_DIGEST, Members, Unresolved, UserGroup, UserGroupRecord
from .._named_tuple import NamedTuple
from .._names import name_key
from .basis import Basis
from .users import Users

# The digest of a list whose stored members changed though it was not read: what it says when it is read next is
# compared, whatever it is. It is not empty, for what is stored is what it says.
_NOT_READ = bytes(32)

_NAMELESS = "is left out: it has no name that can be stored"

SameValue = Callable[[str], str]  # returns the form in which two values of a member list are compared
_NO_MEMBERS: Members = {}


class MembershipNotes(NamedTuple):
    """See Notes."""

    group_digests: dict[str, bytes]
    listed_as: dict[tuple[str, str], str]
    also_listed_as: dict[tuple[str, str], list[str]]


class Memberships(NamedTuple):
    changes: list[MembershipChange]  # in the order of the user groups' keys
    notes: MembershipNotes
    left_out: list[tuple[str, Unresolved]]  # see Plan.unresolved


class _Known(NamedTuple):
    """What is known of all lists together."""

    basis: Basis
    groups: dict[str, UserGroupRecord]  # that stay
    users: Users
    same_value: SameValue
    ended_in: dict[str, set[str]]  # user group -> these users, as far as it lists them
    absent: set[str]  # users that were read and are not stored
    kept: set[str]  # users who stay in lists that lack them: who is extinct, and who is held
    unrecorded: dict[str, list[str]]  # user whom another synchronization writes -> values that its record lacks

    def members(self, key: str) -> Members:
        return self.basis.state.members.get(key, _NO_MEMBERS)

    def nested(self, key: str) -> Members:
        return self.basis.state.nestings.get(key, _NO_MEMBERS)

    def present(self, key: str) -> list[str]:
        """Return who of a list that was read is stored after the run."""
        listed = self.basis.lists[key]
        return [member for member in listed if member not in self.absent] if self.absent else listed

    def is_as_stored(self, key: str) -> bool:
        """Tell whether nothing can become of the list of a user group: nearly all, in nearly all runs."""
        snapshot = self.basis.snapshot
        group = snapshot.user_groups.get(key)
        if key not in self.groups or key in self.basis.lists or (group is not None and group.user_groups):
            return False
        return not (self.nested(key) or key in self.ended_in or key in snapshot.joined or key in snapshot.left)


class _Comparison(NamedTuple):
    added: list[str]
    removed: list[str]
    still: dict[str, tuple[str, ...]]  # reference -> the values that it is still listed as


def plan_memberships(
    basis: Basis, groups: dict[str, UserGroupRecord], users: Users, same_value: SameValue
) -> Memberships:
    """Return what changes in the lists of all user groups that stay (``groups``) or end."""
    known = _known(basis, groups, users, same_value)
    changes, notes = [], MembershipNotes({}, {}, {})
    for key in sorted(groups.keys() | basis.state.user_groups.keys()):
        if known.is_as_stored(key):
            continue
        group = basis.snapshot.user_groups.get(key)
        people, nested = _users_of(known, key, group), _user_groups_of(known, key, group)
        notes.group_digests.update(_digest_of(known, key, group, people, nested))
        notes.listed_as.update(_listed_as(key, people, known.members(key)))
        notes.listed_as.update(_listed_as(key, nested, known.nested(key)))
        notes.also_listed_as.update(_also_listed_as(known, key))
        change = MembershipChange(key, people.added, people.removed, nested.added, nested.removed)
        if any(change[1:]):
            changes.append(change)
    for member, values in basis.snapshot.listed_as.items():
        notes.also_listed_as.setdefault(member, []).extend(values)
    for key in _lists_that_say_less(known):
        notes.group_digests.setdefault(key, NO_DIGEST)
    return Memberships(changes, notes, _left_out(known))


# --- what is known of all lists together -----------------------------------------------------------------------------


def _known(basis: Basis, groups: dict[str, UserGroupRecord], users: Users, same_value: SameValue) -> _Known:
    state = basis.state
    extinct = {
        reference
        for reference, stored in state.users.items()
        if (users.after.get(reference, stored.record) or stored.record).extinct
    }
    ended_in: dict[str, set[str]] = {}
    for reference in users.ended:
        for key in state.memberships.get(reference, ()):
            ended_in.setdefault(key, set()).add(reference)
    return _Known(
        basis,
        groups,
        users,
        same_value,
        ended_in=ended_in,
        absent={key for key in basis.bodies if users.after.get(key) is None},
        kept=(extinct - users.ended).union(basis.staying.users),
        unrecorded=dict(_unrecorded_values(basis)),
    )


def _unrecorded_values(basis: Basis) -> Iterator[tuple[str, list[str]]]:
    """Yield the users whom another synchronization writes, with what lists may know them by that their records lack."""
    for reference, stored in basis.state.users.items():
        user = basis.bodies.get(reference)
        if user is not None and not stored.is_written_here:
            record = stored.record
            known = {"", record.dn, name_key(record.name), *record.known_as.split(_model.KNOWN_AS)}
            values = [value for value in (user.dn, *user.known_as.split(_model.KNOWN_AS)) if value not in known]
            if values:
                yield reference, values


def _lists_that_say_less(known: _Known) -> Iterator[str]:
    """Yield the user groups that were not read and have somebody lost who stays a member, by the policy."""
    memberships = known.basis.state.memberships
    for reference in known.kept.intersection(known.basis.snapshot.lost_users, memberships):
        yield from (key for key in memberships[reference] if key in known.groups)


# --- one list --------------------------------------------------------------------------------------------------------


def _users_of(known: _Known, key: str, group: UserGroup | None) -> _Comparison:
    """Compare the users in a user group. ``group``: None if it was not read, or is extinct."""
    stored = known.members(key)
    if key not in known.groups:  # deleted, and all its memberships with it
        return _Comparison([], sorted(stored), {})
    if group is None or key not in known.basis.lists:
        return _compare_changes(known, key)
    still = _still_listing(known, known.basis.state.user_groups.get(key), stored)
    staying = known.kept.union(known.basis.staying.members.get(key, ()))
    listed = _Listed(known.present(key), group.kept_values)
    return _compare_lists(listed, stored, known.same_value, known.users.ended, staying, still)


def _user_groups_of(known: _Known, key: str, group: UserGroup | None) -> _Comparison:
    """Compare the user groups that are nested in one."""
    stored, groups = known.nested(key), known.groups
    if key not in groups:
        return _Comparison([], sorted(stored), {})
    ended = {child for child in stored if child not in groups}
    if group is None:
        return _Comparison([], sorted(ended), {})
    staying = known.basis.staying
    children = [child for child in group.user_groups if child in groups and not groups[child].extinct]
    kept = staying.user_groups.union(staying.nested.get(key, ()))
    return _compare_lists(_Listed(children, group.kept_values), stored, known.same_value, ended, kept, {})


class _Listed(NamedTuple):
    """What a member list says that was read."""

    members: Iterable[str]  # references
    kept_values: Iterable[str]  # that lead to no one


def _compare_lists(
    listed: _Listed,
    stored: Members,
    same_value: SameValue,
    ended: Set[str],
    kept: Container[str],
    still: Mapping[str, str],
) -> _Comparison:
    """Compare a member list with the stored one.

    A stored member that is not listed stays if ``kept`` says so, or if a value that leads to no one is a value that it
    was known by: the value has not left the list, so nothing says that the membership ended. ``still`` has those who,
    themselves, still list the group by a value that leads to no group.
    """
    if not stored:
        return _Comparison(sorted(listed.members), [], {})
    members = set(listed.members)
    values = {same_value(value): value for value in listed.kept_values}
    values.pop("", None)  # an empty value means nobody, and not everybody of whom nothing is known
    removed, still_listed = list(stored.keys() & ended), {}
    for reference in itertools.filterfalse(members.__contains__, stored):  # of tens of thousands, few are not listed
        if reference not in ended and reference not in kept:
            known = dict.fromkeys(values[form] for form in map(same_value, stored[reference]) if form in values)
            if known or reference in still:
                still_listed[reference] = tuple(known) or (still[reference],)
            else:
                removed.append(reference)
    return _Comparison(sorted(members.difference(stored)), sorted(removed), still_listed)


def _compare_changes(known: _Known, key: str) -> _Comparison:
    """Compare a list that was not read, or is as stored, by what is known to have come to it and to have left it."""
    stored, snapshot = known.members(key), known.basis.snapshot
    joined = set(snapshot.joined.get(key, ())).difference(known.absent, stored)
    held = known.basis.staying.members.get(key, ())
    left = set(snapshot.left.get(key, ())).intersection(stored).difference(known.kept, held)
    return _Comparison(sorted(joined), sorted(left.union(known.ended_in.get(key, ()))), {})


def _still_listing(known: _Known, group: UserGroupRecord | None, stored: Members) -> dict[str, str]:
    """Return {user: value} of those who list a group that does not exist, and mean this one by it."""
    still: dict[str, str] = {}
    for value, users in known.basis.snapshot.dangling.items():
        meant = known.same_value(value)
        its_name = group is not None and meant == known.same_value(group.dn)
        still.update(
            (user, value)
            for user in users
            if its_name or user in stored and meant in map(known.same_value, stored[user][:1])
        )
    return still


# --- what is noted of one list ---------------------------------------------------------------------------------------


def _digest_of(
    known: _Known, key: str, group: UserGroup | None, people: _Comparison, nested: _Comparison
) -> dict[str, bytes]:
    """Return the digest to note of a list, if another than the stored one.

    Only a list that is stored as it was read may be left out of the next comparison.
    """
    if key not in known.groups:
        return {}
    if group is not None and key in known.basis.lists:
        listed, stored = known.present(key), known.members(key)
        exact = len(known.basis.lists[key]) == len(listed) == len(stored) + len(people.added) - len(people.removed)
        return {key: group.members_digest if exact else NO_DIGEST}
    if group is not None and not _says_all(known, key, people):
        return {key: NO_DIGEST}
    changes = people.added or people.removed or nested.added or nested.removed
    return {key: _NOT_READ} if changes else {}


def _says_all(known: _Known, key: str, people: _Comparison) -> bool:
    """Return whether after these changes the store has who came to a list that was not read, and nobody who left."""
    stored, snapshot = known.members(key), known.basis.snapshot
    return set(people.added).issuperset(set(snapshot.joined.get(key, ())).difference(stored)) and set(
        people.removed
    ).issuperset(set(snapshot.left.get(key, ())).intersection(stored))


def _listed_as(key: str, compared: _Comparison, stored: Members) -> dict[tuple[str, str], str]:
    """Return as what members are still listed, if as something else than the store has."""
    return {
        (key, reference): _model.KNOWN_AS.join(values)
        for reference, values in compared.still.items()
        if stored[reference][:1] != values  # of several, some may be known by the record only, as it was
    }


def _also_listed_as(known: _Known, key: str) -> dict[tuple[str, str], list[str]]:
    """Return what a list may know its members by that their records lack."""
    if not known.unrecorded or key not in known.basis.lists or key not in known.groups:
        return {}
    return {(key, member): [*known.unrecorded[member]] for member in known.present(key) if member in known.unrecorded}


# --- who is left out -------------------------------------------------------------------------------------------------


def _left_out(known: _Known) -> list[tuple[str, Unresolved]]:
    """Return the members who are left out though lists lead to them: by a collision, or without a name. Whom
    ignore_disabled_users leaves out is not among them: that is a policy.
    """
    basis, groups = known.basis, known.groups
    why = {key: "is left out: " + known.users.losers[key] for key in known.absent & known.users.losers.keys()}
    why.update((key, _NAMELESS) for key in known.absent if not basis.bodies[key].name)
    read = basis.snapshot.user_groups
    nameless = {key for key, group in read.items() if key not in groups and not group.name}
    if not (why or nameless):
        return []
    found = {(key, basis.bodies[member].dn, why[member]) for key, member in _listed(basis) if member in why}
    found.update(
        (key, read[child].dn, _NAMELESS) for key in read for child in read[key].user_groups if child in nameless
    )
    return [(key, Unresolved(dn, reason)) for key, dn, reason in sorted(found) if key in groups]


def _listed(basis: Basis) -> Iterator[tuple[str, str]]:
    """Yield each user group with each of the users whom it was read to have."""
    for key, members in (*basis.lists.items(), *basis.snapshot.joined.items()):
        yield from ((key, member) for member in members)
