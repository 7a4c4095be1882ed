# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Snapshot + stored state + policies -> plan. Pure: no clock, no network, no store.

The planner writes down what each record is to be, compares it with what is stored, and keeps the differences. Who may
sit where is decided for all at once by `assign_places`; that is what makes swaps, rotations and collisions come out
the same whatever the order of the entries.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import json
import operator
from collections.abc import Callable, Container, Iterable, Iterator
from typing import NamedTuple

from . import _model
from ._model import name_key, path_of, path_reference

Place = tuple[str, str]  # reference of the user group, name_key: where no two may sit

# Among those who want a place that none of them holds: the stored, then the newcomers, then the extinct, who give
# their name up.
STORED, NEWCOMER, EXTINCT = 0, 1, 2

_DAY = 86400  # seconds

# The digest of a list whose stored members changed though it was not read: what it says when it is read next is
# compared, whatever it is. It is not empty, for what is stored is what it says.
_NOT_READ = bytes(32)


class Claimant(NamedTuple):
    """Somebody who needs a place: takes the first of ``wanted`` that is not given to a better one."""

    reference: str
    wanted: list[tuple[str, str]]  # (reference of the user group, name), best first
    current: Place | None
    rank: tuple[int, int, str]  # STORED .. EXTINCT, created, key
    unit: str = ""  # see UserRecord


def place_of(record: _model.UserRecord | _model.UserGroupRecord) -> Place:
    home = record.home if isinstance(record, _model.UserRecord) else record.parent
    return home, name_key(record.name)


def assign_places(
    claimants: Iterable[Claimant],
    may_take: Callable[[Claimant, Place], bool],
) -> dict[str, tuple[str, str] | None]:
    """Give every claimant a place of its own, or None.

    Deferred acceptance (Gale and Shapley, 1962): everyone asks for its best place, a place keeps the best who asked so
    far, and who is sent away asks for its next. A place prefers who sits there, then the lower rank. The outcome does
    not depend on the order of the claimants, a swap of names comes out as a swap, and whoever can fall back on the
    place where it sits is never left without one.
    """
    holders: dict[Place, tuple[Claimant, int]] = {}
    given: dict[str, tuple[str, str] | None] = {}
    asking = [(claimant, 0) for claimant in claimants]
    while asking:
        claimant, choice = asking.pop()
        given[claimant.reference] = None
        for number in range(choice, len(claimant.wanted)):
            home, name = claimant.wanted[number]
            place = (home, name_key(name))
            if not may_take(claimant, place):
                continue
            holder = holders.get(place)
            if holder is not None:
                if _claim(holder[0], place) < _claim(claimant, place):
                    continue
                asking.append((holder[0], holder[1] + 1))
            holders[place] = (claimant, number)
            given[claimant.reference] = claimant.wanted[number]
            break
    return given


def _claim(claimant: Claimant, place: Place) -> tuple[bool, tuple[int, int, str]]:
    return claimant.current != place, claimant.rank


# --- names that are kept from other units ----------------------------------------------------------------------------

# Rights in a directory are given by container: who may make entries in one unit may not do so in another. So a name
# whose record is no more, or is extinct, does not pass to an entry of another unit until some time has passed. It is no
# matter of names that somebody gave up: a rename takes effect at once.


class _Kept:
    """Whose the names are that nobody has now: by place, of users or of user groups."""

    def __init__(self, kind: str, state: _model.StoredState, now: int, begins: int, days: int) -> None:
        self.kind, self.now, self.begins, self.wait = kind, now, begins, days * _DAY
        self.stored = {(home, name): who for (of_kind, home, name), who in state.kept_names.items() if of_kind == kind}
        self.names: dict[Place, _model.KeptName] = dict(self.stored)

    def keep(self, place: Place, reference: str, unit: str, since: int | None = None) -> None:
        """Keep the name for whoever has the reference, and for the others of its unit; from now on, or since then."""
        self.names[place] = _model.KeptName(reference, unit, self.begins if since is None else since)

    def may_take(self, claimant: Claimant, place: Place) -> bool:
        return claimant.current == place or not self.until(place, claimant.reference, claimant.unit)

    def until(self, place: Place, reference: str, unit: str) -> int:
        """Return until when the name is kept from this one, in seconds since 1970; 0 if it is not."""
        who = self.names.get(place)
        if who is None or who.reference == reference or (unit and who.unit == unit):
            return 0
        until = who.since + self.wait
        return until if until > self.now else 0

    def why(self, place: Place, reference: str, unit: str, is_taken: bool) -> str:
        """Return why the place was not given to this one, for the reader."""
        until = self.until(place, reference, unit)
        if is_taken:
            return "the name is taken"
        if not until:
            return "the name was taken, and it gets it when its own name changes in the directory"
        return "the name is kept until %s for an entry of another container that had it" % (
            datetime.datetime.fromtimestamp(until, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        )

    def to_note(self, given: Container[Place], held: Container[Place]) -> dict:
        """Return what the store is to note: whose names they are where there is no record to tell, and which are
        somebody's again.

        ``given`` are the places of records that are not extinct, ``held`` those of extinct ones, which tell it
        themselves.
        """
        noted: dict[tuple[str, str, str], _model.KeptName | None] = {}
        for place, who in self.names.items():
            if place in given or place in held:
                if place in self.stored:
                    noted[(self.kind, *place)] = None
            elif self.stored.get(place) != who:
                noted[(self.kind, *place)] = who
        return noted


def _unit_of(body, snapshot, stored) -> str:
    """Return the key of the container in which an entry lies."""
    return snapshot.units.get(body.unit_dn) or (stored.unit if stored is not None and not body.unit_dn else "")


# --- user groups -----------------------------------------------------------------------------------------------------


def _plan_user_groups(snapshot, state, target, held, kept):
    """Return {key: record after} of all owned groups that stay if nothing is deleted, and the collisions.

    Groups that the snapshot lacks are extinct here, unless that is held; which of them are deleted is decided when it
    is known who stays inside.
    """
    claimants, wanted = [], {}
    for key, group in snapshot.user_groups.items():
        stored = state.user_groups.get(key)
        name = group.name or (stored and (stored.own_name or stored.name))
        if not name:
            continue  # in snapshot.not_stored already
        parent = _model.node_of(group.parent, snapshot, state.user_groups) or target
        unit = _unit_of(group, snapshot, stored)
        if stored is not None and _displaced(key, stored, name):
            kept.keep(place_of(stored), key, stored.unit)  # which it leaves, and not by a name of its own
        wanted[key] = _model.UserGroupRecord(name, parent, None, group.attributes, group.dn, unit, name)
        claimants.append(
            Claimant(
                key,
                [(parent, each) for each in _group_names(key, group, name, stored)],
                place_of(stored) if stored else None,
                (STORED if stored else NEWCOMER, group.created, key),
                unit,
            )
        )
    sitting = set()
    for key, stored in state.user_groups.items():
        if key not in snapshot.user_groups:
            as_stored = not (snapshot.complete or stored.extinct or key in snapshot.lost_user_groups)
            if as_stored and (stored.parent in state.user_groups or stored.parent == target):
                wanted[key] = stored  # where it sits nobody else can, so it need not claim its place
                sitting.add(place_of(stored))
                continue
            if stored.parent not in state.user_groups:  # the target may be another now
                stored = stored._replace(parent=target)
            if as_stored or ("user_group", key) in held:
                wanted[key] = stored
                claimants.append(
                    Claimant(key, [(stored.parent, stored.name)], place_of(state.user_groups[key]), (STORED, 0, key))
                )
                continue
            wanted[key] = stored._replace(extinct=stored.extinct or snapshot.lost_user_groups[key])
            claimants.append(_extinct_claimant(key, stored))
            kept.keep(place_of(stored), key, stored.unit, state.groups_extinct_since.get(key))

    given = assign_places(
        claimants,
        lambda claimant, place: (
            place not in state.neighbours and place not in sitting and kept.may_take(claimant, place)
        ),
    )
    taken = {(place[0], name_key(place[1])) for key, place in given.items() if place and not wanted[key].extinct}
    taken.update(state.neighbours, sitting)
    collisions = []
    for key, place in given.items():
        record = wanted[key]
        if place is None:  # all suffixes are taken by groups made by hand, as those that were released
            place = (record.parent, _name_that_is_left(key, record, taken))
        if place[1] != record.name and not record.extinct:
            why = kept.why(place_of(record), key, record.unit, place_of(record) in taken)
            collisions.append((key, record, "%s, it is called '%s'" % (why, place[1])))
        wanted[key] = record._replace(parent=place[0], name=place[1])
    return wanted, collisions


def _group_names(key, group, name, stored) -> list[str]:
    """Return the names that a group may have, the best first: its own, or that with a suffix.

    A suffix stays until the group's own name changes in the directory: that somebody else has gone does not give it the
    name. Example: the group 'Admins' of ou=it is deleted, and that of ou=sales is called 'Admins (sales)' as before.
    """
    names = [name] + ["%s (%s)" % (name, suffix) for suffix in (group.container, group.type, key) if suffix]
    if stored is None or stored.name == name or _displaced(key, stored, name):
        return names
    unchanged = stored.own_name == name if stored.own_name else stored.name in names
    return [stored.name, *names] if unchanged else names


def _name_that_is_left(key, record, taken) -> str:
    """Return a name that nobody has, of the group's key and its own name, with a number if need be."""
    names = ("%s (%s%s)" % (key, record.name, " %d" % number if number > 1 else "") for number in itertools.count(1))
    return next(name for name in names if (record.parent, name_key(name)) not in taken)


def _displaced(key, stored, own_name) -> bool:
    """Tell whether an extinct record has given its name up: see `_model.extinct_names`."""
    if not stored.extinct:
        return False
    return stored.name != own_name and stored.name.endswith((" (extinct)", " (extinct %s)" % key))


def _extinct_claimant(reference, record):
    """An extinct record stays where it is, but holds no place: it gives its name up to a newcomer."""
    home = place_of(record)[0]
    names = _model.extinct_names(record.name, reference)
    return Claimant(reference, [(home, name) for name in names], None, (EXTINCT, 0, reference), record.unit)


def _deletable(state, records, users):
    """Return the extinct groups in which nothing stays that is not deleted with them."""
    staying = {reference: stored.record for reference, stored in state.users.items()}
    staying.update(users.after)
    for reference in users.adopts.values():
        del staying[reference]
    homes = {record.home for record in staying.values() if record is not None}
    decided = set(users.after).union(users.adopts.values())
    homes.update(key for key, who in state.occupied.items() if not who <= decided)
    stays: set = set()
    for key, record in records.items():
        if not record.extinct or key in homes:
            while key in records and key not in stays:  # who stays keeps all groups above it
                stays.add(key)
                key = records[key].parent
    return {key for key in records if key not in stays}


# --- users -----------------------------------------------------------------------------------------------------------


class _Users(NamedTuple):
    """What becomes of the users that are not as stored."""

    after: dict[str, _model.UserRecord | None]  # reference -> record; None: ended, or not created
    adopts: dict[str, str]  # key -> reference of the record made by hand that it takes over
    released: set  # adopted records that go back to being made by hand
    ended: set  # references whose memberships end, whatever the member lists say
    losers: dict[str, str]  # key -> what was not done and why: must be compared in the next run too
    ignored: int  # disabled newcomers that ignore_disabled_users keeps out


def _plan_users(settings, snapshot, state, target, now, kept):
    bodies = {key: user for key, user in snapshot.users.items() if user is not None}
    after: dict[str, _model.UserRecord | None] = {}
    released: set = set()
    ended: set = set()
    _end_lost_users(settings, snapshot, state, target, now, after, released, ended)

    wanted, ignored = {}, 0
    for key, user in bodies.items():
        stored = state.users.get(key)
        if stored is not None and not stored.given:  # whoever sees it may disable, and only who writes may enable
            after[key] = stored.record._replace(claimed=True, enabled=stored.record.enabled and user.enabled)
        elif stored is None and settings.ignore_disabled_users and not user.enabled:
            ignored += 1
        elif user.name or stored is not None:
            wanted[key] = _model.UserRecord(
                user.name or stored.record.name,
                _model.node_of(user.home, snapshot, state.user_groups) or target,
                user.enabled and not (stored is not None and stored.disabled_by_others),
                user.sid,
                None,
                user.attributes,
                user.dn,
                True,
                user.known_as,
                _unit_of(user, snapshot, stored.record if stored is not None else None),
            )
    _keep_names_of_users(state, target, wanted, after, released, kept)

    losers: dict[str, str] = {}
    can_adopt = set()  # records made by hand, and those that become so again in this run
    if settings.user_collision != "skip":
        can_adopt = released.union(reference for reference in state.users if reference[:1] == "#")
    adopts, reserved = _settle_sids(snapshot.directory, state, wanted, bodies, after, losers, can_adopt, kept)
    while True:
        given, sitting = _settle_places(state, wanted, bodies, after, adopts, can_adopt - reserved, kept)
        lost_adopters = [key for key in adopts if key in given and given[key] is None]
        if not lost_adopters:
            break
        for key in lost_adopters:  # its record made by hand stays where it is after all: settle again without it
            losers[key] = "the name is taken"
            del adopts[key], wanted[key]

    taken = {(place[0], name_key(place[1])) for key, place in given.items() if place and key in wanted}.union(sitting)
    for key, record in wanted.items():
        if key in given:
            place = given[key]
            why = kept.why(place_of(record), key, record.unit, place_of(record) in taken)
            if place is None:
                losers[key] = why
                continue
            if place != (record.home, record.name):
                record = record._replace(home=place[0], name=place[1])
                if key in state.users:
                    losers[key] = why + ", it keeps its place"
            sitter = sitting.get(place_of(record))
            if sitter:
                adopts[key] = sitter
        after[key] = record
    for reference in released.intersection(adopts.values()):  # handed over to a newcomer on its way out
        released.discard(reference)
        del after[reference]
    for reference, place in given.items():
        if reference not in wanted:  # an extinct record that gave its name up
            record = after.get(reference) or state.users[reference].record
            home, name = place or (record.home, "%s (extinct)" % reference)
            after[reference] = record._replace(home=home, name=name)
    return _Users(after, adopts, released, ended, losers, ignored)


def _keep_names_of_users(state, target, wanted, after, released, kept):
    """Keep the names of users who are extinct, who end, and who leave a place though they were given no other name."""
    for reference, stored in state.users.items():
        before, now = stored.record, after.get(reference, stored.record)
        if reference[:1] in "@#":
            continue
        if before.home not in state.user_groups and not stored.taken_over:  # the target may be another now
            before = before._replace(home=target)
        if reference in wanted:
            name = wanted[reference].name
            # Another synchronization gives him another home, and maybe calls him by another attribute.
            if stored.taken_over or before.name in _model.extinct_names(name, reference)[1:]:
                kept.keep(place_of(before), reference, before.unit)
        elif now is None or now.extinct or reference in released:
            kept.keep(place_of(before), reference, before.unit, stored.extinct_since if before.extinct else None)


def _end_lost_users(settings, snapshot, state, target, now, after, released, ended):
    """Write down what becomes of users that the snapshot lacks: by the policy, when the last claim ends."""
    policy = settings.user_extinction
    for key, stored in state.users.items():
        record = stored.record
        reason = snapshot.lost_users.get(key) or (key not in snapshot.users and record.extinct)
        if not reason or key[:1] in "@#":
            continue
        last = stored.given and not stored.other_claims
        if last and record.home not in state.user_groups:  # the target may be another now
            record = record._replace(home=target)
        if not last:
            if record.claimed:
                after[key] = record._replace(claimed=False)
                ended.add(key)
        elif policy == "delete" and stored.adopted:
            after[key] = record._replace(claimed=False, extinct=None)
            released.add(key)
            ended.add(key)
        elif policy == "delete" and _grace_is_over(settings, stored, now):
            after[key] = None
            ended.add(key)
        elif policy in ("disable", "delete"):
            after[key] = record._replace(claimed=False, extinct=record.extinct or reason, enabled=False)
            ended.add(key)
        else:
            after[key] = record._replace(claimed=False, extinct=record.extinct or reason)


def _grace_is_over(settings, stored, now):
    """Tell whether an extinct user may be deleted: a grace begins when extinction disables the record."""
    days = settings.user_extinction_grace_days
    if not days:
        return True
    disabled = stored.record.extinct and not stored.record.enabled
    return bool(disabled) and now - stored.extinct_since >= days * _DAY


def _settle_sids(directory, state, wanted, bodies, after, losers, can_adopt, kept):
    """See that no two users get one SID: who is stored keeps it, then the older.

    A user of another directory does not hold a SID that begins with the one of this domain: see `_foreign_users` in
    `_store/sqlite.py`. Return who adopts which record made by hand, and the records made by hand whose SID someone has:
    only he may take them over.
    """
    holders: dict[Place, str] = {}
    for reference, stored in state.users.items():
        record = after.get(reference, stored.record)
        if record is None or not record.sid or record.extinct or reference in wanted:
            continue
        if reference[:1] != "@" or _model.domain_of(record.sid) != directory.identity:
            holders[_sid_place(record.sid)] = reference
    claimants = []
    for key, record in wanted.items():
        if record.sid:
            stored = state.users.get(key)
            # An extinct record holds no SID: somebody else may have got it since.
            before = stored.record.sid if stored is not None and not stored.record.extinct else None
            claimants.append(
                Claimant(
                    key,
                    [("sid", sid) for sid in (record.sid, before) if sid],
                    before and _sid_place(before),
                    _rank(state, bodies[key]),
                    record.unit,
                )
            )

    def may_take(claimant, place):
        holder = holders.get(place)
        if holder is None:
            return True
        return (
            claimant.rank[0] == NEWCOMER
            and holder in can_adopt
            and kept.may_take(claimant, place_of(state.users[holder].record))
        )

    adopts: dict[str, str] = {}
    reserved = {holders.get(_sid_place(record.sid), "") for record in wanted.values() if record.sid}
    for key, place in assign_places(claimants, may_take).items():
        sid = place and place[1]
        if sid == wanted[key].sid:
            holder = holders.get(_sid_place(sid))
            if holder is not None:
                adopts[key] = holder
        elif key in state.users:
            kept_sid = "it keeps the one it had" if sid else "so it has none"
            losers[key] = "another user has its SID, " + kept_sid
            wanted[key] = wanted[key]._replace(sid=sid)
        else:
            losers[key] = "another user has its SID"
            del wanted[key]
    return adopts, reserved


def _rank(state, user):
    return STORED if user.key in state.users else NEWCOMER, user.created, user.key


def _sid_place(sid: str) -> Place:
    return "sid", name_key(sid)


def _settle_places(state, wanted, bodies, after, adopts, can_adopt, kept):
    """Return the place of each user that wants one that others want, and who sits where whatever others want.

    A newcomer may take the place of a record made by hand, if the policy lets it take over the record.
    """
    sitting: dict[Place, str] = {}
    claimants = []
    adopted = set(adopts.values())
    for reference, stored in state.users.items():
        record = after.get(reference, stored.record)
        if record is None or reference in wanted or reference in adopted:
            continue
        if record.extinct and reference[:1] not in "@#":
            claimants.append(_extinct_claimant(reference, record))
        else:
            sitting[place_of(record)] = reference
    newcomers = []
    for key, record in wanted.items():
        stored = state.users.get(key)
        if stored is None:
            newcomers.append(key)
        else:
            places = [(record.home, record.name), (stored.record.home, stored.record.name)]
            claimants.append(Claimant(key, places, place_of(stored.record), _rank(state, bodies[key]), record.unit))
    # In a first run everybody is a newcomer, and hardly two want one place: who is alone there has it.
    contested = {*sitting, *kept.names}
    contested.update((home, name_key(name)) for claimant in claimants for home, name in claimant.wanted)
    wanted_in: dict[str, set] = {}
    for key in newcomers:
        home, name = place_of(wanted[key])
        names = wanted_in.setdefault(home, set())
        if name in names:
            contested.add((home, name))
        names.add(name)
    for key in newcomers if contested else ():
        record = wanted[key]
        if place_of(record) in contested:
            claimants.append(Claimant(key, [(record.home, record.name)], None, _rank(state, bodies[key]), record.unit))

    def may_take(claimant, place):
        sitter = sitting.get(place)
        if not kept.may_take(claimant, place):
            return False
        if sitter is None:
            return True
        return claimant.rank[0] == NEWCOMER and claimant.reference not in adopts and sitter in can_adopt

    return assign_places(claimants, may_take), sitting


# --- memberships -----------------------------------------------------------------------------------------------------


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


# --- the plan --------------------------------------------------------------------------------------------------------


def make_plan(settings, snapshot, state, same_value, now=0, held=frozenset(), begins=None) -> _model.Plan:
    """Return the plan that makes the store equal to the snapshot, under the policies.

    ``settings`` has name, user_collision, user_extinction, user_extinction_grace_days, user_group_extinction,
    name_reuse_days and ignore_disabled_users; ``same_value`` returns the form in which two values of a member list are
    compared (a DN has many spellings); ``now`` is in seconds since 1970. ``held`` are removals to leave out, whatever
    the snapshot says. ``begins`` is since when what ends now is gone, if the clock is in doubt: see `_clock`.

    Raises ValueError, with a sentence for the reader, if the target lies in a group that is to land in it.
    """
    target = path_reference(state.target)
    names = set(_model.split_path(state.target))
    for key, record in state.user_groups.items():
        if record.name in names and (state.target + "/").startswith(path_of(key, state.user_groups) + "/"):
            raise ValueError(
                "user_group: '%s' lies in a user group that this synchronization keeps itself: "
                "name another" % state.target
            )
    snapshot = _with_held_users(_with_what_is_clear(snapshot, state), state, held)
    staying = held.union(_what_stays(snapshot, state))
    begins = now if begins is None else begins
    kept_groups = _Kept("user_group", state, now, begins, settings.name_reuse_days)
    kept_users = _Kept("user", state, now, begins, settings.name_reuse_days)
    groups, group_collisions = _plan_user_groups(snapshot, state, target, staying, kept_groups)
    users = _plan_users(settings, snapshot, state, target, now, kept_users)
    collisions = []
    for key, reason in users.losers.items():
        user = snapshot.users[key]
        home = path_of(_model.node_of(user.home, snapshot, state.user_groups) or target, groups)
        name = user.name or state.users[key].record.name
        collisions.append(_model.Collision("user", name, home, user.dn, reason))

    if settings.user_group_extinction == "delete":
        for key in _deletable(state, groups, users):
            del groups[key]
    for key, record, reason in group_collisions:
        if key in groups:
            collisions.append(
                _model.Collision("user_group", record.name, path_of(record.parent, groups), record.dn, reason)
            )

    said_disabled = {
        key: not user.enabled
        for key, user in snapshot.users.items()
        if user is not None
        and key in state.users
        and not state.users[key].given
        and "enabled" not in snapshot.unclear.get(key, ())
    }
    bookkeeping = _model.Bookkeeping(
        *({}, {}, {}, {}, {}, {}, {}),
        said_disabled=said_disabled,
        state_by=snapshot.state_by,
        kept_names=_kept_names(state, groups, users, kept_groups, kept_users),
    )
    absent = {key for key, user in snapshot.users.items() if user is not None and users.after.get(key) is None}
    memberships = _plan_memberships(snapshot, state, groups, users, absent, same_value, staying, bookkeeping)
    return _model.Plan(
        directory=snapshot.directory,
        synchronization=settings.name,
        target=state.target,
        target_missing=state.target_missing,
        user_groups=list(_group_changes(state, groups, bookkeeping)),
        users=list(_user_changes(settings, snapshot, state, users, bookkeeping)),
        memberships=memberships,
        collisions=sorted(collisions),
        bookkeeping=bookkeeping,
        ignored=users.ignored,
        held=held,
        again=frozenset(users.losers).union(key for key, _record, _reason in group_collisions),
        unresolved=[*snapshot.unresolved, *_left_out(snapshot, groups, users, absent)],
    )


def _kept_names(state, groups, users, kept_groups, kept_users):
    """Return what the store is to note of names that are kept: see `_Kept.to_note`."""
    people = {reference: stored.record for reference, stored in state.users.items() if reference[:1] not in "@#"}
    people.update(users.after)
    people = {reference: record for reference, record in people.items() if reference not in users.released}
    noted: dict = {}
    for kept, records in ((kept_groups, groups), (kept_users, people)):
        there = [record for record in records.values() if record is not None]
        noted.update(
            kept.to_note(
                {place_of(record) for record in there if not record.extinct},
                {place_of(record) for record in there if record.extinct},
            )
        )
    return noted


def _with_what_is_clear(snapshot, state):
    """Return the snapshot with what the store has wherever the directory has a malformed value.

    A newcomer of whom nothing says that it is enabled is not. Example: ann has a `shadowExpire` of 5,000 digits, and so
    has bob, who is new. She stays enabled, as she was, and he comes disabled.
    """
    if not snapshot.unclear:
        return snapshot
    users, groups = dict(snapshot.users), dict(snapshot.user_groups)
    for key, names in snapshot.unclear.items():
        if users.get(key) is not None:
            stored = state.users.get(key)
            users[key] = _as_clear(users[key], names, stored and stored.record)
        elif key in groups:
            groups[key] = _as_clear(groups[key], names, state.user_groups.get(key))
    return snapshot._replace(users=users, user_groups=groups)


def _as_clear(body, names, record):
    """Return an entry with what its record has by these names; ``record`` is None where none is stored."""
    if "enabled" in names:
        body = body._replace(enabled=record is not None and record.enabled)
    if "sid" in names:
        body = body._replace(sid=record and record.sid)
    fields = {name.partition(".")[2] for name in names if name.startswith("attributes.")}
    if record is None or not fields:
        return body
    kept = {field: value for field, value in record.attributes.items() if field in fields}
    return body._replace(attributes=_model.EncodedAttributes.of({**_model.fields_of(body.attributes), **kept}))


def _what_stays(snapshot, state):
    """Return what does not end, since the directory has a malformed value: see Snapshot.unclear. As `held` has it."""
    staying: set = set()
    for key, names in snapshot.unclear.items():
        if "all" in names:
            staying.add(("user" if key in snapshot.users else "user_group", key))
        if "members" in names:
            staying.update(("member", key, member) for member in state.members.get(key, ()))
            staying.update(("nested", key, member) for member in state.nestings.get(key, ()))
    return staying


def _with_held_users(snapshot, state, held):
    """Return the snapshot with what is held of users as if it had been read: who is lost is as stored, who would be
    enabled is disabled, and who would lose a SID has the stored one.
    """
    users = dict(snapshot.users)
    for kind, key, *dummy in held:
        if kind == "user":
            users[key] = None
        elif kind == "enabled" and key in state.users and not state.users[key].given:
            users[key] = None  # what this synchronization last said of the user stays said
        elif kind == "enabled":
            users[key] = users[key]._replace(enabled=False, digest=b"")
        elif kind == "sid":
            users[key] = users[key]._replace(sid=state.users[key].record.sid, digest=b"")
    lost = {key: reason for key, reason in snapshot.lost_users.items() if key not in users}
    return snapshot._replace(users=users, lost_users=lost) if held else snapshot


def _group_changes(state, groups, bookkeeping) -> Iterator[_model.UserGroupChange]:
    for key in sorted(set(groups) | set(state.user_groups)):
        before, after = state.user_groups.get(key), groups.get(key)
        if before is after:
            continue
        if before is None or after is None or before.differs(after):
            yield _model.UserGroupChange(key, before, after)
        elif before != after:
            bookkeeping.group_dns[key] = (after.dn, after.unit, after.own_name)


def _user_changes(settings, snapshot, state, users, bookkeeping) -> Iterator[_model.UserChange]:
    for reference in sorted(users.after):
        stored, after = state.users.get(reference), users.after[reference]
        adopts = users.adopts.get(reference)
        held = state.users[adopts] if adopts else stored
        before = held.record if held else None
        if adopts or before is None or after is None or before.differs(after):
            yield _model.UserChange(
                reference,
                before,
                after,
                adopts,
                settings.user_collision if adopts else None,
                reference in users.released,
            )
        elif before != after:
            bookkeeping.user_dns[reference] = (after.dn, after.known_as, after.unit)
        body = snapshot.users.get(reference)
        if body is not None and (stored is None or stored.given):
            bookkeeping.user_digests[reference] = b"" if reference in users.losers else body.digest
            if stored is not None or body.expires is not None:
                bookkeeping.user_expires[reference] = body.expires


# --- digests ---------------------------------------------------------------------------------------------------------


def plan_digest(plan: _model.Plan) -> str:
    """Return the digest of a plan: what changes and what was there before, and nothing of time, host or order.

    Counts stand before it, so that a plan that is another than the approved one can be told by how it differs.
    """
    return _digest(
        plan,
        _changes(plan),
        [
            "users+%d-%d~%d" % _counts(plan.users),
            "user_groups+%d-%d~%d" % _counts(plan.user_groups),
            "memberships+%d-%d"
            % (
                sum(len(change.users_added) + len(change.user_groups_added) for change in plan.memberships),
                _memberships_removed(plan),
            ),
        ],
    )


def removals_digest(plan: _model.Plan) -> str:
    """Return the digest of what a plan takes away: users, user groups, memberships, and values of those who stay."""
    return _digest(
        plan,
        _removals(plan),
        [
            "users-%d" % sum(change.removes for change in plan.users if change.before is not None),
            "user_groups-%d" % sum(map(_group_ends, plan.user_groups)),
            "memberships-%d" % _memberships_removed(plan),
            "attributes-%d" % (len(_model.losses(plan)) + len(_sids_lost(plan))),
        ],
    )


def _counts(changes):
    """Return how many records are created, removed (or become extinct) and changed."""
    there = [change for change in changes if change.before is not None]
    removed = sum(change.after is None or bool(change.after.extinct) and not change.before.extinct for change in there)
    return len(changes) - len(there), removed, len(there) - removed


def _memberships_removed(plan):
    return sum(len(change.users_removed) + len(change.user_groups_removed) for change in plan.memberships)


def _group_ends(change):
    return change.after is None or bool(change.after.extinct) and not (change.before and change.before.extinct)


_AT_ONCE = 100  # changes: one by one, the calls would take as long as the work


def _digest(plan, changes, counts):
    digest = hashlib.sha256()
    encode = json.JSONEncoder(sort_keys=True, default=_model.fields_of).encode
    items = itertools.chain([[plan.synchronization, plan.directory.identity, plan.target]], changes)
    for several in iter(lambda: list(itertools.islice(items, _AT_ONCE)), []):
        digest.update(encode(several).encode("ascii") + b"\n")
    return "%s:%s" % (",".join(counts), digest.hexdigest())


def _in_order(changes):
    return sorted(changes, key=operator.itemgetter(0))  # by reference, and they nearly always are


def _changes(plan):
    if plan.target_missing:
        yield ["target", plan.target]
    if plan.leaving:
        yield ["state", plan.leaving]
    for change in _in_order(plan.user_groups):
        yield ["user_group", change.key, _visible(change.before), _visible(change.after)]
    for reference, before, after, adopts, policy, released in _in_order(plan.users):
        yield ["user", reference, _visible(before), _visible(after), adopts, policy, released]
    for change in _in_order(plan.memberships):
        yield ["members", *change]


def _removals(plan):
    if plan.leaving:
        yield ["state", plan.leaving]
    for change in _in_order(plan.user_groups):
        if _group_ends(change):
            yield ["user_group", change.key, _visible(change.before), _visible(change.after)]
    for change in _in_order(plan.users):
        if change.before is not None and change.removes:
            yield ["user", change.reference, _visible(change.before), _visible(change.after), change.adopts]
    for change in _in_order(plan.memberships):
        if change.users_removed or change.user_groups_removed:
            yield ["members", change.key, change.users_removed, change.user_groups_removed]
    for loss in sorted(_model.losses(plan)):
        yield ["value", *loss]
    for reference in _sids_lost(plan):
        yield ["sid", reference]


def _sids_lost(plan):
    """Return the users who stay and have no SID any more."""
    changes = [change for change in plan.users if change.before and change.after and not change.adopts]
    return sorted(change.reference for change in changes if change.before.sid and not change.after.sid)


def _visible(record):
    """Return the fields of a record that users see."""
    if record is None:
        return None
    return (_of_user if record.__class__ is _model.UserRecord else _of_user_group)(record)


_of_user, _of_user_group = (
    operator.itemgetter(
        *(number for number, field in enumerate(kind._fields) if field not in ("dn", "known_as", "unit", "own_name"))
    )
    for kind in (_model.UserRecord, _model.UserGroupRecord)
)


# --- what is held, and how a synchronization ends --------------------------------------------------------------------


def removals(
    plan: _model.Plan, snapshot: _model.Snapshot, state: _model.StoredState | None = None
) -> frozenset[_model.Removal]:
    """Return what a plan removes or enables because something is not there: who is lost, memberships that end though
    nobody is lost, who is enabled, newcomers too, and who has no SID any more. With ``state`` also of whom this
    synchronization takes back that he is disabled, so that the one that writes him may enable him.
    """
    found: set[_model.Removal] = {("user", key) for key in snapshot.lost_users}
    found.update(("user_group", key) for key in snapshot.lost_user_groups)
    for user in plan.users:
        before, after = user.before, user.after
        if after is not None and snapshot.users.get(user.reference) is not None:
            # A record that was kept as enabled (`skip`) was given to nobody while it was extinct.
            is_back = before is not None and before.extinct and not after.extinct
            if after.enabled and (before is None or user.adopts or not before.enabled or is_back):
                found.add(("enabled", user.reference))
            if before is not None and not user.adopts and before.sid and not after.sid:
                found.add(("sid", user.reference))
    for key, said in plan.bookkeeping.said_disabled.items() if state is not None else ():
        if not said and state.users[key].said_disabled:
            found.add(("enabled", key))
    for change in plan.memberships:
        if change.key in snapshot.user_groups:
            found.update(
                ("member", change.key, user) for user in change.users_removed if user not in snapshot.lost_users
            )
            found.update(
                ("nested", change.key, group)
                for group in change.user_groups_removed
                if group not in snapshot.lost_user_groups
            )
    return frozenset(found)


_NO_NOTES = _model.Bookkeeping({}, {}, {}, {}, {}, {})


def without_notes(plan: _model.Plan) -> _model.Plan:
    """Return the plan by which the store notes nothing beside its changes: what is read may be older than its notes."""
    return plan._replace(bookkeeping=_NO_NOTES)


def without_changes(plan: _model.Plan, held: frozenset[_model.Removal]) -> _model.Plan:
    """Return the plan that does nothing of it, since everything is held."""
    return _model.Plan(
        plan.directory,
        plan.synchronization,
        plan.target,
        False,
        [],
        [],
        [],
        [],
        _NO_NOTES,
        held=held,
    )


def plan_release(name: str, directory: _model.Directory, state: _model.StoredState) -> _model.Plan:
    """Return the plan after which the synchronization is no more, and its records are as if made by hand.

    A user whom another synchronization claims stays that one's.
    """
    changes = []
    for key, stored in sorted(state.users.items()):
        last = stored.given and not stored.other_claims
        if key[:1] not in "@#" and (last or stored.record.claimed):
            after = stored.record._replace(claimed=False, extinct=None if last else stored.record.extinct)
            changes.append(_model.UserChange(key, stored.record, after, released=last))
    return _model.Plan(
        directory,
        name,
        state.target,
        False,
        [],
        changes,
        [],
        [],
        _NO_NOTES,
        leaving="released",
    )


def plan_absence(settings, snapshot, state, same_value) -> _model.Plan:
    """Return the plan after which the synchronization is no more, nor any record that was its alone.

    ``snapshot`` has everything of it as lost. A user group in which something of others lies stays as it is.
    """
    plan = make_plan(
        settings._replace(user_extinction="delete", user_extinction_grace_days=0, user_group_extinction="delete"),
        snapshot,
        state,
        same_value,
    )
    return plan._replace(user_groups=[change for change in plan.user_groups if change.after is None], leaving="absent")
