# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What becomes of the memberships."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from .. import _model
from .._model import name_key

# The digest of a list whose stored members changed though it was not read: what it says when it is read next is
# compared, whatever it is. It is not empty, for what is stored is what it says.
_NOT_READ = bytes(32)


class _Comparison(NamedTuple):
    added: list[str]
    removed: list[str]
    kept: dict[str, tuple[str, ...]]  # reference -> the values that it is still listed as


def _compare_members(listed, stored, kept_values, same_value, ended, kept, still):
    """Compare a member list with the stored one.

    A stored member that is not listed stays if ``kept`` says so, or if a value that leads to no one is a value that it
    was known by: the value has not left the list, so nothing says that the membership ended. ``still`` has those who,
    themselves, still list the group by a value that leads to no group.
    """
    if not stored:
        return _Comparison(sorted(listed), [], {})
    listed = set(listed)
    values = {same_value(value): value for value in kept_values}
    values.pop("", None)  # an empty value means nobody, and not everybody of whom nothing is known
    removed, still_listed = list(stored.keys() & ended), {}
    for reference in itertools.filterfalse(listed.__contains__, stored):  # of tens of thousands, few are not listed
        if reference not in ended and reference not in kept:
            known = dict.fromkeys(values[form] for form in map(same_value, stored[reference]) if form in values)
            if known or reference in still:
                still_listed[reference] = tuple(known) or (still[reference],)
            else:
                removed.append(reference)
    return _Comparison(sorted(listed.difference(stored)), sorted(removed), still_listed)


def _compare_changes(snapshot, state, key, absent, ended_in, kept, held_in):
    """Compare a list that was not read, or is as stored, by what is known to have come to it and to have left it."""
    stored = state.members.get(key, {})
    joined = set(snapshot.joined.get(key, ())).difference(absent, stored)
    left = set(snapshot.left.get(key, ())).intersection(stored).difference(kept, held_in.get(("member", key), ()))
    return _Comparison(sorted(joined), sorted(left.union(ended_in.get(key, ()))), {})


def _says_all(people, snapshot, state, key):
    """Return whether after these changes the store has who came to a list that was not read, and nobody who left."""
    stored = state.members.get(key, {})
    return set(people.added).issuperset(set(snapshot.joined.get(key, ())).difference(stored)) and set(
        people.removed
    ).issuperset(set(snapshot.left.get(key, ())).intersection(stored))


def _still_listing(snapshot, group, stored, same_value):
    """Return {user: value} of those who list a group that does not exist, and mean this one by it."""
    still: dict[str, str] = {}
    for value, users in snapshot.dangling.items():
        meant = same_value(value)
        its_name = group is not None and meant == same_value(group.dn)
        still.update(
            (user, value) for user in users if its_name or user in stored and meant in map(same_value, stored[user][:1])
        )
    return still


def _unrecorded_values(snapshot, state) -> Iterator[tuple[str, list]]:
    """Yield the users whom another synchronization writes, with what lists may know them by that their records lack."""
    for reference, user in snapshot.users.items():
        stored = state.users.get(reference) if user is not None else None
        if stored is not None and not stored.given:
            record = stored.record
            known = {"", record.dn, name_key(record.name), *record.known_as.split(_model.KNOWN_AS)}
            values = [value for value in (user.dn, *user.known_as.split(_model.KNOWN_AS)) if value not in known]
            if values:
                yield reference, values


def _left_out(snapshot, groups, users, absent) -> list[tuple[str, _model.Unresolved]]:
    """Return the members who are left out though lists lead to them: by a collision, or without a name. ``absent`` are
    the users who are not stored. Whom ignore_disabled_users leaves out is not among them: that is a policy.
    """
    why = {key: "is left out: " + users.losers[key] for key in absent & users.losers.keys()}
    why.update((key, _NAMELESS) for key in absent if not snapshot.users[key].name)
    nameless = {key for key, group in snapshot.user_groups.items() if key not in groups and not group.name}
    if not (why or nameless):
        return []
    found = {
        (key, snapshot.users[member].dn, why[member])
        for key, members in [
            *((key, group.members or ()) for key, group in snapshot.user_groups.items()),
            *snapshot.joined.items(),
        ]
        for member in members
        if key in groups and member in why
    }
    found.update(
        (key, snapshot.user_groups[child].dn, _NAMELESS)
        for key, group in snapshot.user_groups.items()
        for child in group.user_groups
        if key in groups and child in nameless
    )
    return [(key, _model.Unresolved(dn, reason)) for key, dn, reason in sorted(found)]


_NAMELESS = "is left out: it has no name that can be stored"


def _plan_memberships(snapshot, state, groups, users, absent, same_value, held, bookkeeping):
    """Return the membership changes of all owned groups that stay or end, in the order of their keys."""
    held_in: dict[tuple[str, str], set] = {}
    for kind, key, *member in held:
        held_in.setdefault((kind, key), set()).update(member)
    kept = {
        reference
        for reference, stored in state.users.items()
        if (users.after.get(reference, stored.record) or stored.record).extinct
    } - users.ended
    kept |= {key for kind, key, *member in held if kind == "user"}
    ended_in: dict[str, set] = {}
    for reference in users.ended:
        for key in state.memberships.get(reference, ()):
            ended_in.setdefault(key, set()).add(reference)

    values_of = dict(_unrecorded_values(snapshot, state))
    changes = []
    for key in sorted(set(groups) | set(state.user_groups)):
        group = snapshot.user_groups.get(key)
        stored_groups = state.nestings.get(key, {})
        as_stored = key in groups and (group is None or group.members is None and not group.user_groups)
        if as_stored and not (stored_groups or key in ended_in or key in snapshot.joined or key in snapshot.left):
            continue  # nearly all, in nearly all runs
        if key not in groups:  # deleted, and all its memberships with it
            people = _Comparison([], sorted(state.members.get(key, {})), {})
            nested = _Comparison([], sorted(stored_groups), {})
        elif group is None:  # extinct and kept, or not read: it keeps its members, but those that end
            people = _compare_changes(snapshot, state, key, absent, ended_in, kept, held_in)
            nested = _Comparison([], sorted(child for child in stored_groups if child not in groups), {})
        else:
            if group.members is None:
                people = _compare_changes(snapshot, state, key, absent, ended_in, kept, held_in)
                if not _says_all(people, snapshot, state, key):
                    bookkeeping.group_digests[key] = b""
            else:
                listed = group.members
                if absent:
                    listed = [member for member in listed if member not in absent]
                stored = state.members.get(key, {})
                still = _still_listing(snapshot, state.user_groups.get(key), stored, same_value)
                staying = kept.union(held_in.get(("member", key), ()))
                people = _compare_members(listed, stored, group.kept_values, same_value, users.ended, staying, still)
                for reference in filter(values_of.__contains__, listed if values_of else ()):
                    bookkeeping.also_listed_as[key, reference] = [*values_of[reference]]
                # Only a list that is stored as it was read may be left out of the next comparison.
                exact = len(group.members) == len(listed) == len(stored) + len(people.added) - len(people.removed)
                bookkeeping.group_digests[key] = group.members_digest if exact else b""
            nested = _compare_members(
                [child for child in group.user_groups if child in groups and not groups[child].extinct],
                stored_groups,
                group.kept_values,
                same_value,
                {child for child in stored_groups if child not in groups},
                {child for child in stored_groups if ("user_group", child) in held}.union(
                    held_in.get(("nested", key), ())
                ),
                {},
            )
        for comparison, stored in ((people, state.members.get(key, {})), (nested, stored_groups)):
            for reference, values in comparison.kept.items():
                if stored[reference][:1] != values:  # of several, some may be known by the record only, as it was
                    bookkeeping.listed_as[key, reference] = _model.KNOWN_AS.join(values)
        change = _model.MembershipChange(key, people.added, people.removed, nested.added, nested.removed)
        if any(change[1:]):
            changes.append(change)
            if key in groups:
                bookkeeping.group_digests.setdefault(key, _NOT_READ)
    for member, values in snapshot.listed_as.items():
        bookkeeping.also_listed_as.setdefault(member, []).extend(values)
    # Who is lost stays a member, by the policy, of lists that were not read: they say less than the store has of them.
    for reference in kept.intersection(snapshot.lost_users, state.memberships):
        for key in state.memberships[reference]:
            if key in groups:
                bookkeeping.group_digests.setdefault(key, b"")
    return changes
