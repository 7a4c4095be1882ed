# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What the store holds, for people and for other plays: user groups, users, and who is in what.

What happened to them is in `history.py`.
"""

from __future__ import annotations

import datetime
import functools
import json
from typing import Any

from .. import _graph, _names
from .._named_tuple import NamedTuple
from .._names import name_key
from .contract import Parameters, Row, Store, StoreError
from .references import Tree, tree_now
from .statements import one, scalar, synchronization_id


class Wanted(NamedTuple):
    """What to look up. Each of the first three narrows the answer; None leaves it open."""

    user_group: str | None  # its path
    synchronization: str | None
    user: str | None  # a name
    effective: bool  # members of nested groups are members, too
    include_disabled: bool
    include_extinct: bool


EVERYTHING = Wanted(None, None, None, effective=False, include_disabled=True, include_extinct=True)


def time_text(seconds: int | None) -> str | None:
    """Return a clock time as ISO 8601 in UTC."""
    if seconds is None:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def texts(store: Store, statement: str, parameters: Parameters = ()) -> list[Row]:
    """Return the rows for an answer, in which nothing is binary. Raises TypeError where damage has made it so."""
    rows = store.rows(statement, parameters)
    if any(bytes in map(type, row) for row in rows):
        raise TypeError("a text is none")
    return rows


# --- user groups and users -------------------------------------------------------------------------------------------


def look_up(store: Store, wanted: Wanted) -> dict[str, list[dict[str, Any]]]:
    """Return ``user_groups`` and ``users``: see the documentation of the module user_group_info.

    Raises StoreError if the store has no such user group or synchronization, or the user group is extinct and extinct
    ones are not asked for: nobody is to take a wrong name, or a group that is gone, for a group without members.
    """
    tree = tree_now(store)
    nested = _nested(store)
    extinct = {number for number, reason in store.rows("SELECT id, extinct FROM user_groups") if reason is not None}
    passing = _graph.passing(nested, extinct) if wanted.effective else {}
    me = _synchronization(store, wanted.synchronization)
    group = None if wanted.user_group is None else _user_group(store, tree, wanted.user_group, wanted.include_extinct)
    visible = tree.groups.keys() if wanted.include_extinct else tree.groups.keys() - extinct
    paths = {number: tree.path(number) for number in visible}
    in_order = sorted(visible, key=lambda number: by_path(paths[number]))

    _want_users(store, wanted, me, None if group is None else _graph.reach([group], passing))
    users = user_records(store)
    groups_of = _groups_of_wanted_users(store, passing, in_order)
    if group is not None:
        chosen = {group}
    else:
        chosen = {number for number in visible if me is None or tree.groups[number].synchronization == me}
        if wanted.user is not None:
            chosen &= set().union(*groups_of.values())
    for number, record in users.items():
        record["user_groups"] = [paths[each] for each in groups_of.pop(number, ())]
    names = _names_in(store, wanted, chosen, passing)
    records = _group_records(store, tree, chosen)
    for number, record in records.items():
        record["members"] = names[number]
        record["user_groups"] = sorted((paths[each] for each in nested.get(number, ()) if each in paths), key=by_path)
    return {
        "user_groups": sorted(records.values(), key=lambda record: by_path(record["path"])),
        "users": sorted(users.values(), key=lambda record: (name_key(record["name"]), by_path(record["home"]))),
    }


def only_at_home(store: Store, path: str) -> int:
    """Return how many users have their home in the user group, if it has no members, neither users nor user groups."""
    number = tree_now(store).at(_names.split_path(path))
    return scalar(
        store,
        "SELECT count(*) FROM users WHERE home_id = ? AND NOT EXISTS"
        " (SELECT 1 FROM memberships WHERE user_group_id = ?) AND NOT EXISTS"
        " (SELECT 1 FROM nestings WHERE user_group_id = ?)",
        (number, number, number),
    )


@functools.lru_cache(maxsize=65536)  # a path is compared once for each of its members
def by_path(path: str) -> tuple[str, ...]:
    """Return what to sort paths by, so that a user group stands before those below it."""
    return tuple(name_key(name) for name in _names.split_path(path))


def _synchronization(store: Store, name: str | None) -> int | None:
    if name is None:
        return None
    number = synchronization_id(store, name)
    if not number:
        known = ["'%s'" % known for (known,) in store.rows("SELECT name FROM synchronizations ORDER BY name")]
        raise StoreError(
            "synchronization: the store has none named '%s': %s"
            % (name, "it has %s" % ", ".join(known) if known else "run it first")
        )
    return number


def _user_group(store: Store, tree: Tree, path: str, include_extinct: bool) -> int:
    number = tree.at(_names.split_path(path))
    if number is None:
        raise StoreError(
            "user_group: the store has no user group '%s': correct the path, or run the synchronization "
            "that makes it" % path
        )
    (extinct,) = one(store, "SELECT extinct FROM user_groups WHERE id = ?", (number,))
    if extinct and not include_extinct:
        raise StoreError(
            "user_group: '%s' is extinct (%s), what the store has of it is as it was last seen: name "
            "another one, or set include_extinct: true" % (path, extinct)
        )
    return number


def _nested(store: Store) -> dict[int, set[int]]:
    nested: dict[int, set[int]] = {}
    for group, inner in store.rows("SELECT user_group_id, nested_id FROM nestings"):
        nested.setdefault(group, set()).add(inner)
    return nested


def _visible(wanted: Wanted) -> list[str]:
    """Return the conditions for a user ``u`` to be shown."""
    conditions = [] if wanted.include_disabled else ["u.enabled = 1"]
    return conditions if wanted.include_extinct else [*conditions, "u.extinct IS NULL"]


def _want_users(store: Store, wanted: Wanted, me: int | None, groups: set[int] | None) -> None:
    """Put into wanted_ids the users that are asked for; ``groups``: members of one of these, None for everybody."""
    conditions = _visible(wanted)
    if wanted.user is not None:
        conditions.append("u.name_key = :name")
    if me is not None:
        conditions.append(
            "(u.synchronization_id = :me OR EXISTS ("
            "     SELECT 1 FROM claims c WHERE c.user_id = u.id AND c.synchronization_id = :me))"
        )
    if groups is not None:
        store.want("wanted_groups", ((number,) for number in groups))
        conditions.append(
            "u.id IN (SELECT m.user_id FROM wanted_groups w CROSS JOIN memberships m WHERE m.user_group_id = w.id)"
        )
    which = " WHERE " + " AND ".join(conditions) if conditions else ""
    store.run("DELETE FROM wanted_ids")
    store.run(
        "INSERT INTO wanted_ids SELECT u.id FROM users u" + which, {"name": name_key(wanted.user or ""), "me": me}
    )


def _groups_of_wanted_users(store: Store, passing: dict[int, list[int]], in_order: list[int]) -> dict[int, list[int]]:
    """Return {user in wanted_ids: the groups that list it, and those that such a group passes it on to}.

    Of the groups ``in_order``, and in this order. It costs as much as what it returns, and one look at each nesting.
    """
    place = {number: at for at, number in enumerate(in_order)}
    around = [number for number in in_order if passing.get(number)]
    direct: dict[int, list[int]] = {}
    for user, group in store.rows(
        "SELECT m.user_id, m.user_group_id FROM wanted_ids w CROSS JOIN memberships m WHERE m.user_id = w.id"
    ):
        direct.setdefault(user, []).append(group)
    reached = _graph.reach_of_each(
        set().union(*direct.values()), _graph.turned(passing), {number: 1 << at for at, number in enumerate(around)}
    )
    groups_of: dict[int, list[int]] = {}
    for user, groups in direct.items():
        mask = 0
        for group in groups:
            mask |= reached[group]
        places = {place[group] for group in groups if group in place}
        places.update(place[around[at]] for at in _graph.bits_in(mask))
        groups_of[user] = [in_order[at] for at in sorted(places)]
    return groups_of


def user_records(store: Store) -> dict[int, dict[str, Any]]:
    """Return the users in wanted_ids, without their user groups: by id."""
    tree = tree_now(store)
    claims: dict[int, list[str]] = {}
    for user, name in store.rows(
        "SELECT c.user_id, s.name FROM wanted_ids w CROSS JOIN claims c"
        " JOIN synchronizations s ON s.id = c.synchronization_id WHERE c.user_id = w.id"
        " ORDER BY s.name"
    ):
        claims.setdefault(user, []).append(name)
    return {
        number: {
            "name": name,
            "home": tree.path(home),
            "user_groups": [],
            "enabled": bool(enabled),
            "extinct": extinct,
            "extinct_since": time_text(since),
            "attributes": json.loads(attributes),
            "local_attributes": json.loads(local_attributes),
            "sid": sid,
            "key": key,
            "dn": dn or None,
            "synchronizations": claims.get(number, []),
        }
        for number, name, home, enabled, extinct, since, attributes, local_attributes, sid, key, dn in texts(
            store,
            "SELECT u.id, u.name, u.home_id, u.enabled, u.extinct, u.extinct_since, u.attributes, u.local_attributes,"
            " u.sid, u.key, u.dn FROM wanted_ids w CROSS JOIN users u WHERE u.id = w.id",
        )
    }


def _names_in(store: Store, wanted: Wanted, groups: set[int], passing: dict[int, list[int]]) -> dict[int, list[str]]:
    """Return the names of the members of each group, sorted. It costs as much as what it returns."""
    store.want("wanted_groups", ((number,) for number in _graph.reach(groups, passing)))
    listed: dict[int, list[int]] = {}
    name_of: dict[int, str] = {}
    for group, user, name in store.rows(
        "SELECT m.user_group_id, u.id, u.name FROM wanted_groups w CROSS JOIN memberships m CROSS JOIN users u"
        " WHERE " + " AND ".join(["m.user_group_id = w.id", "u.id = m.user_id", *_visible(wanted)])
    ):
        listed.setdefault(group, []).append(user)
        name_of[user] = name
    in_order = sorted(name_of, key=lambda user: (name_key(name_of[user]), name_of[user]))
    place = {user: at for at, user in enumerate(in_order)}
    places = {group: [place[user] for user in users] for group, users in listed.items()}
    sources = list(places)
    reached = _graph.reach_of_each(
        [group for group in groups if passing.get(group)],
        passing,
        {group: 1 << at for at, group in enumerate(sources)},
    )
    names = {}
    for group in groups:
        if group in reached:
            members = set().union(*(places[sources[at]] for at in _graph.bits_in(reached[group])))
        else:
            members = set(places.get(group, ()))
        names[group] = [name_of[in_order[at]] for at in sorted(members)]
    return names


def _group_records(store: Store, tree: Tree, groups: set[int]) -> dict[int, dict[str, Any]]:
    store.want("wanted_groups", ((number,) for number in groups))
    return {
        number: {
            "path": tree.path(number),
            "name": tree.groups[number].name,
            "dn": dn or None,
            "key": key,
            "synchronization": synchronization,
            "attributes": json.loads(attributes),
            "members": [],
            "user_groups": [],
            "extinct": extinct,
            "extinct_since": time_text(since),
        }
        for number, dn, key, synchronization, attributes, extinct, since in texts(
            store,
            "SELECT g.id, g.dn, g.key, s.name, g.attributes, g.extinct, g.extinct_since"
            " FROM wanted_groups w CROSS JOIN user_groups g"
            " LEFT JOIN synchronizations s ON s.id = g.synchronization_id WHERE g.id = w.id",
        )
    }


# --- runs ------------------------------------------------------------------------------------------------------------


def runs(store: Store, synchronization: str | None, most: int) -> list[dict[str, Any]]:
    """Return the last runs, the newest first.

    Raises StoreError if the store does not know the synchronization.
    """
    me = _synchronization(store, synchronization)
    return [
        {
            "synchronization": name,
            "time": time_text(time),
            "seconds": seconds,
            "server": server,
            "mode": mode,
            "reason": reason,
            "changed": bool(changed),
            "summary": json.loads(counts),
            "plan_digest": digest,
        }
        for name, time, seconds, server, mode, reason, changed, counts, digest in texts(
            store,
            "SELECT synchronization, time, seconds, server, mode, reason, changed, counts, plan_digest FROM runs"
            + ("" if me is None else " WHERE synchronization_id = :me")
            + " ORDER BY id DESC LIMIT :most",
            {"me": me, "most": most},
        )
    ]
