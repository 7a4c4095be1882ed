# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What the store holds, for people and for other plays: user groups, users, and who is in what.

These are functions of a :class:`Store`, which may be open for a run or only looked at.
"""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import _model
from .._model import name_key
from .sqlite_file import StoreError

if TYPE_CHECKING:
    from .sqlite import Store


class Wanted(NamedTuple):
    """What to look up. Each of the first three narrows the answer; None leaves it open."""

    user_group: str | None  # its path
    synchronization: str | None
    user: str | None  # a name
    effective: bool  # members of nested groups are members, too
    include_disabled: bool
    include_extinct: bool


def time_text(seconds: int | None) -> str | None:
    """Return a clock time as ISO 8601 in UTC."""
    if seconds is None:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _texts(store: Store, statement: str, parameters: Any = ()) -> list[Any]:
    """Return the rows for an answer, in which nothing is binary. Raises TypeError where damage has made it so."""
    rows = store._rows(statement, parameters)
    if any(bytes in map(type, row) for row in rows):
        raise TypeError("a text is none")
    return rows


# --- user groups and users -------------------------------------------------------------------------------------------


def look_up(store: Store, wanted: Wanted) -> dict[str, list[dict[str, Any]]]:
    """Return ``user_groups`` and ``users``: see the documentation of the module user_group_info.

    Raises StoreError if the store has no such user group or synchronization, or the user group is extinct and extinct
    ones are not asked for: nobody is to take a wrong name, or a group that is gone, for a group without members.
    """
    tree = store._tree()
    nested = _nested(store)
    extinct = {number for number, reason in store._rows("SELECT id, extinct FROM user_groups") if reason is not None}
    passing = _model.passing(nested, extinct) if wanted.effective else {}
    me = _synchronization(store, wanted.synchronization)
    group = None if wanted.user_group is None else _user_group(store, tree, wanted)
    visible = tree.groups.keys() if wanted.include_extinct else tree.groups.keys() - extinct
    paths = {number: tree.path(number) for number in visible}
    in_order = sorted(visible, key=lambda number: by_path(paths[number]))

    _want_users(store, wanted, me, None if group is None else _model.reach([group], passing))
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


@functools.lru_cache(maxsize=65536)  # a path is compared once for each of its members
def by_path(path: str) -> tuple[str, ...]:
    """Return what to sort paths by, so that a user group stands before those below it."""
    return tuple(name_key(name) for name in _model.split_path(path))


def _synchronization(store: Store, name: str | None) -> int | None:
    if name is None:
        return None
    number = store._synchronization(name)
    if not number:
        known = ["'%s'" % known for (known,) in store._rows("SELECT name FROM synchronizations ORDER BY name")]
        raise StoreError(
            "synchronization: the store has none named '%s': %s"
            % (name, "it has %s" % ", ".join(known) if known else "run it first")
        )
    return number


def _user_group(store: Store, tree: Any, wanted: Wanted) -> int:
    number = tree.at(_model.split_path(wanted.user_group))
    if number is None:
        raise StoreError(
            "user_group: the store has no user group '%s': correct the path, or run the synchronization "
            "that makes it" % wanted.user_group
        )
    (extinct,) = store._row("SELECT extinct FROM user_groups WHERE id = ?", (number,))
    if extinct and not wanted.include_extinct:
        raise StoreError(
            "user_group: '%s' is extinct (%s), what the store has of it is as it was last seen: name "
            "another one, or set include_extinct: true" % (wanted.user_group, extinct)
        )
    return number


def _nested(store: Store) -> dict[int, set[int]]:
    nested: dict[int, set[int]] = {}
    for group, inner in store._rows("SELECT user_group_id, nested_id FROM nestings"):
        nested.setdefault(group, set()).add(inner)
    return nested


def _visible_users(wanted: Wanted) -> str:
    return ("" if wanted.include_disabled else " AND u.enabled <> 0") + (
        "" if wanted.include_extinct else " AND u.extinct IS NULL"
    )


def _want_users(store: Store, wanted: Wanted, me: int | None, groups: set[int] | None) -> None:
    """Put into wanted_ids the users that are asked for; ``groups``: members of one of these, None for everybody."""
    store._want("wanted_groups", ((number,) for number in groups or ()))
    store._run("DELETE FROM wanted_ids")
    store._run(
        "INSERT INTO wanted_ids SELECT u.id FROM users u WHERE (:name IS NULL OR u.name_key = :name)"
        " AND (:me IS NULL OR u.synchronization_id = :me OR EXISTS ("
        "     SELECT 1 FROM claims c WHERE c.user_id = u.id AND c.synchronization_id = :me))"
        " AND (:anywhere OR u.id IN ("
        "     SELECT m.user_id FROM wanted_groups w CROSS JOIN memberships m WHERE m.user_group_id = w.id))"
        + _visible_users(wanted),
        {"name": None if wanted.user is None else name_key(wanted.user), "me": me, "anywhere": groups is None},
    )


def _groups_of_wanted_users(store: Store, passing: dict[int, list[int]], in_order: list[int]) -> dict[int, list[int]]:
    """Return {user in wanted_ids: the groups that list it, and those that such a group passes it on to}.

    Of the groups ``in_order``, and in this order. It costs as much as what it returns, and one look at each nesting.
    """
    place = {number: at for at, number in enumerate(in_order)}
    around = [number for number in in_order if passing.get(number)]
    direct: dict[int, list[int]] = {}
    for user, group in store._rows(
        "SELECT m.user_id, m.user_group_id FROM wanted_ids w CROSS JOIN memberships m WHERE m.user_id = w.id"
    ):
        direct.setdefault(user, []).append(group)
    reached = _model.reach_of_each(
        set().union(*direct.values()), _model.turned(passing), {number: 1 << at for at, number in enumerate(around)}
    )
    groups_of: dict[int, list[int]] = {}
    for user, groups in direct.items():
        mask = 0
        for group in groups:
            mask |= reached[group]
        places = {place[group] for group in groups if group in place}
        places.update(place[around[at]] for at in _model.bits_in(mask))
        groups_of[user] = [in_order[at] for at in sorted(places)]
    return groups_of


def user_records(store: Store) -> dict[int, dict[str, Any]]:
    """Return the users in wanted_ids, without their user groups: by id."""
    tree = store._tree()
    claims: dict[int, list[str]] = {}
    for user, name in store._rows(
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
        for number, name, home, enabled, extinct, since, attributes, local_attributes, sid, key, dn in _texts(
            store,
            "SELECT u.id, u.name, u.home_id, u.enabled, u.extinct, u.extinct_since, u.attributes, u.local_attributes,"
            " u.sid, u.key, u.dn FROM wanted_ids w CROSS JOIN users u WHERE u.id = w.id",
        )
    }


def _names_in(store: Store, wanted: Wanted, groups: set[int], passing: dict[int, list[int]]) -> dict[int, list[str]]:
    """Return the names of the members of each group, sorted. It costs as much as what it returns."""
    store._want("wanted_groups", ((number,) for number in _model.reach(groups, passing)))
    listed: dict[int, list[int]] = {}
    name_of: dict[int, str] = {}
    for group, user, name in store._rows(
        "SELECT m.user_group_id, u.id, u.name FROM wanted_groups w CROSS JOIN memberships m CROSS JOIN users u"
        " WHERE m.user_group_id = w.id AND u.id = m.user_id" + _visible_users(wanted)
    ):
        listed.setdefault(group, []).append(user)
        name_of[user] = name
    in_order = sorted(name_of, key=lambda user: (name_key(name_of[user]), name_of[user]))
    place = {user: at for at, user in enumerate(in_order)}
    places = {group: [place[user] for user in users] for group, users in listed.items()}
    sources = list(places)
    reached = _model.reach_of_each(
        [group for group in groups if passing.get(group)],
        passing,
        {group: 1 << at for at, group in enumerate(sources)},
    )
    names = {}
    for group in groups:
        if group in reached:
            members = set().union(*(places[sources[at]] for at in _model.bits_in(reached[group])))
        else:
            members = set(places.get(group, ()))
        names[group] = [name_of[in_order[at]] for at in sorted(members)]
    return names


def _group_records(store: Store, tree: Any, groups: set[int]) -> dict[int, dict[str, Any]]:
    store._want("wanted_groups", ((number,) for number in groups))
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
        for number, dn, key, synchronization, attributes, extinct, since in _texts(
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
        for name, time, seconds, server, mode, reason, changed, counts, digest in _texts(
            store,
            "SELECT synchronization, time, seconds, server, mode, reason, changed, counts, plan_digest FROM runs"
            " WHERE (? IS NULL OR synchronization_id = ?) ORDER BY id DESC LIMIT ?",
            (me, me, most),
        )
    ]


# --- history ---------------------------------------------------------------------------------------------------------

_ORDER = ("created", "changed", "member_added", "member_removed", "deleted")  # what one run does, in this order


class _Event(NamedTuple):
    run: int
    event: str
    path: str  # of the user group, or of the user
    member: str | None = None  # of the user group: name of a user, or path of a user group
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


def history(store: Store, wanted: Wanted, most: int) -> list[dict[str, Any]]:
    """Return what happened to the user group, or to the users of that name, the newest first.

    With both, it is about the memberships of the users in the user group.
    """
    tree = store._tree()
    if wanted.user is not None:
        events = _of_users(store, tree, wanted.user)
        if wanted.user_group is not None:
            events = [each for each in events if each.member and by_path(each.path) == by_path(wanted.user_group)]
    else:
        events = _of_user_group(store, tree, wanted.user_group)
    runs_by_id = {
        number: (time, name) for number, time, name in store._rows("SELECT id, time, synchronization FROM runs")
    }
    known = [each for each in events if each.run in runs_by_id]  # older runs are forgotten
    known.sort(key=lambda each: (-each.run, -_ORDER.index(each.event), by_path(each.path), name_key(each.member or "")))
    return [
        {
            "time": time_text(runs_by_id[each.run][0]),
            "synchronization": runs_by_id[each.run][1],
            "event": each.event,
            "path": each.path,
            "member": each.member,
            "before": each.before,
            "after": each.after,
        }
        for each in known[:most]
    ]


def _of_users(store: Store, tree: Any, name: str) -> list[_Event]:
    wanted = name_key(name)
    stored = store._rows("SELECT id, key FROM users WHERE name_key = ?", (wanted,))
    keys = {key for dummy, key in stored if key is not None}
    keys |= _past_keys(store, "user", lambda path: by_path(path)[-1] == wanted)
    ids: set[int] = set()
    for key in keys:
        ids.update(number for (number,) in store._rows("SELECT id FROM users WHERE key = ?", (key,)))
    store._want("wanted_ids", ((number,) for number in ids.union(row[0] for row in stored)))
    events = [
        _Event(run, "created", _model.join_path(tree.path(home), now))
        for run, home, now in store._rows(
            "SELECT u.run_id, u.home_id, u.name FROM wanted_ids w CROSS JOIN users u WHERE u.id = w.id"
            " AND u.run_id IS NOT NULL"
        )
    ]
    events += _changes(store, "user", keys)
    events += [
        _Event(run, "member_added", tree.path(group), name)
        for group, name, run in store._rows(
            "SELECT m.user_group_id, u.name, m.run_id FROM wanted_ids w CROSS JOIN memberships m CROSS JOIN users u"
            " WHERE m.user_id = w.id AND u.id = w.id AND m.run_id IS NOT NULL"
        )
    ]
    for key in keys:
        events += _past(store, "kind = 'user' AND member_key = ?", key)
    return events


def _of_user_group(store: Store, tree: Any, path: str) -> list[_Event]:
    wanted, number = by_path(path), tree.at(_model.split_path(path))
    events: list[_Event] = []
    if number is None:
        keys = _past_keys(store, "user_group", lambda past: by_path(past) == wanted)
    else:  # and not of another that had the path before
        key, run = store._row("SELECT key, run_id FROM user_groups WHERE id = ?", (number,))
        keys = set() if key is None else {key}
        if run:
            events.append(_Event(run, "created", tree.path(number)))
    events += _changes(store, "user_group", keys)
    for table, column, kind in (("memberships", "user_id", "user"), ("nestings", "nested_id", "user_group")):
        events += [
            _Event(run, "member_added", tree.path(number), name if kind == "user" else tree.path(member))
            for member, name, run in store._rows(
                "SELECT n.id, n.name, m.run_id FROM {0} m JOIN {2}s n ON n.id = m.{1}"
                " WHERE m.user_group_id = ? AND m.run_id IS NOT NULL".format(table, column, kind),
                (number,),
            )
        ]
    for key in keys:
        events += _past(store, "user_group_key = ?", key)
    return events


def _past_keys(store: Store, kind: str, is_meant: Callable[[str], bool]) -> set[str]:
    """Return the keys of those that had such a path once."""
    return {
        key
        for key, path, before in store._rows(
            "SELECT key, path, before FROM past_records WHERE kind = ? AND key IS NOT NULL", (kind,)
        )
        if is_meant(path) or is_meant(json.loads(before)["path"])
    }


def _changes(store: Store, kind: str, keys: Iterable[str]) -> list[_Event]:
    events = []
    for key in keys:
        for run, path, before, after in _texts(
            store, "SELECT run_id, path, before, after FROM past_records WHERE kind = ? AND key = ?", (kind, key)
        ):
            if after is None:
                events.append(_Event(run, "deleted", path, None, json.loads(before), None))
            else:
                events.append(_Event(run, "changed", path, None, *_differences(json.loads(before), json.loads(after))))
    return events


def _differences(before: dict[str, Any], after: dict[str, Any]) -> Any:
    """Return of both only what differs."""
    one: dict[str, Any] = {}
    other: dict[str, Any] = {}
    for field in sorted(set(before) | set(after)):
        old, new = before.get(field), after.get(field)
        if isinstance(old, dict) and isinstance(new, dict):
            old, new = _differences(old, new)
        if old != new:
            one[field], other[field] = old, new
    return one, other


def _past(store: Store, which: str, key: str) -> list[_Event]:
    events = []
    for run, joined, group, member in _texts(
        store, "SELECT run_id, joined_by, user_group, member FROM past_memberships WHERE %s" % which, (key,)
    ):
        events.append(_Event(run, "member_removed", group, member))
        if joined:
            events.append(_Event(joined, "member_added", group, member))
    return events
