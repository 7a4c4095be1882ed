# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What the store holds, for people and for other plays: user groups, users, and who is in what.

These are functions of a :class:`Store`, which may be open for a run or only looked at.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Set

from .. import _model
from .._model import name_key
from .sqlite_file import StoreError

if TYPE_CHECKING:
    from .sqlite import Store


class Wanted(NamedTuple):
    """What to look up. Each of the first three narrows the answer; None leaves it open."""

    user_group: Optional[str]  # its path
    synchronization: Optional[str]
    user: Optional[str]  # a name
    effective: bool  # members of nested groups are members, too
    include_disabled: bool
    include_extinct: bool


def time_text(seconds: Optional[int]) -> Optional[str]:
    """Return a clock time as ISO 8601 in UTC."""
    if seconds is None:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- user groups and users -------------------------------------------------------------------------------------------


def look_up(store: Store, wanted: Wanted) -> Dict[str, List[Dict[str, Any]]]:
    """Return ``user_groups`` and ``users``: see the documentation of the module user_group_info.

    Raises StoreError if the store has no such user group or synchronization, or the user group is extinct and extinct
    ones are not asked for: nobody is to take a wrong name, or a group that is gone, for a group without members.
    """
    tree = store._tree()
    nested = _nested(store)
    me = _synchronization(store, wanted.synchronization)
    group = None if wanted.user_group is None else _user_group(store, tree, wanted)
    visible = {number for number, extinct in store._rows("SELECT id, extinct FROM user_groups")
               if wanted.include_extinct or extinct is None}

    _want_users(store, wanted, me, None if group is None else _reach(group, nested if wanted.effective else {}))
    users = user_records(store)
    groups_of = _groups_of_wanted_users(store, nested if wanted.effective else {})
    for number, record in users.items():
        record["user_groups"] = _paths(tree, groups_of.get(number, set()) & visible)

    if group is not None:
        chosen = {group}
    else:
        chosen = {number for number in visible if me is None or tree.groups[number].synchronization == me}
        if wanted.user is not None:
            chosen &= set().union(*groups_of.values())
    names = _names_in(store, wanted, chosen, nested if wanted.effective else {})
    records = _group_records(store, tree, chosen)
    for number, record in records.items():
        record["members"] = names[number]
        record["user_groups"] = _paths(tree, nested.get(number, set()) & visible)
    return {
        "user_groups": sorted(records.values(), key=lambda record: by_path(record["path"])),
        "users": sorted(users.values(), key=lambda record: (name_key(record["name"]), by_path(record["home"]))),
    }


def by_path(path: str) -> List[str]:
    """Return what to sort paths by, so that a user group stands before those below it."""
    return [name_key(name) for name in _model.split_path(path)]


def _paths(tree: Any, numbers: Iterable[int]) -> List[str]:
    return sorted(map(tree.path, numbers), key=by_path)


def _synchronization(store: Store, name: Optional[str]) -> Optional[int]:
    if name is None:
        return None
    number = store._synchronization(name)
    if not number:
        known = ["'%s'" % known for known, in store._rows("SELECT name FROM synchronizations ORDER BY name")]
        raise StoreError("synchronization: the store has none named '%s': %s"
                         % (name, "it has %s" % ", ".join(known) if known else "run it first"))
    return number


def _user_group(store: Store, tree: Any, wanted: Wanted) -> int:
    number = tree.at(_model.split_path(wanted.user_group))
    if number is None:
        raise StoreError("user_group: the store has no user group '%s': correct the path, or run the synchronization "
                         "that makes it" % wanted.user_group)
    extinct, = store._row("SELECT extinct FROM user_groups WHERE id = ?", (number,))
    if extinct and not wanted.include_extinct:
        raise StoreError("user_group: '%s' is extinct (%s), what the store has of it is as it was last seen: name "
                         "another one, or set include_extinct: true" % (wanted.user_group, extinct))
    return number


def _nested(store: Store) -> Dict[int, Set[int]]:
    nested: Dict[int, Set[int]] = {}
    for group, inner in store._rows("SELECT user_group_id, nested_id FROM nestings"):
        nested.setdefault(group, set()).add(inner)
    return nested


def _reach(group: int, edges: Dict[int, Set[int]]) -> Set[int]:
    """Return the group and all that can be reached from it; cycles are fine."""
    found: Set[int] = set()
    todo = [group]
    while todo:
        number = todo.pop()
        if number not in found:
            found.add(number)
            todo += edges.get(number, ())
    return found


def _visible_users(wanted: Wanted) -> str:
    return (("" if wanted.include_disabled else " AND u.enabled <> 0")
            + ("" if wanted.include_extinct else " AND u.extinct IS NULL"))


def _want_users(store: Store, wanted: Wanted, me: Optional[int], groups: Optional[Set[int]]) -> None:
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
        {"name": None if wanted.user is None else name_key(wanted.user), "me": me, "anywhere": groups is None})


def _groups_of_wanted_users(store: Store, nested: Dict[int, Set[int]]) -> Dict[int, Set[int]]:
    """Return the groups that list each user in wanted_ids, and those that have such a group nested in them."""
    around: Dict[int, Set[int]] = {}
    for group, inner in nested.items():
        for number in inner:
            around.setdefault(number, set()).add(group)
    reached: Dict[int, Set[int]] = {}
    groups_of: Dict[int, Set[int]] = {}
    for user, group in store._rows("SELECT m.user_id, m.user_group_id FROM wanted_ids w CROSS JOIN memberships m"
                                   " WHERE m.user_id = w.id"):
        if group not in reached:
            reached[group] = _reach(group, around)
        groups_of.setdefault(user, set()).update(reached[group])
    return groups_of


def user_records(store: Store) -> Dict[int, Dict[str, Any]]:
    """Return the users in wanted_ids, without their user groups: by id."""
    tree = store._tree()
    claims: Dict[int, List[str]] = {}
    for user, name in store._rows("SELECT c.user_id, s.name FROM wanted_ids w CROSS JOIN claims c"
                                  " JOIN synchronizations s ON s.id = c.synchronization_id WHERE c.user_id = w.id"
                                  " ORDER BY s.name"):
        claims.setdefault(user, []).append(name)
    return {
        number: {
            "name": name, "home": tree.path(home), "user_groups": [], "enabled": bool(enabled), "extinct": extinct,
            "extinct_since": time_text(since), "attributes": json.loads(attributes),
            "local_attributes": json.loads(local_attributes), "sid": sid, "key": key, "dn": dn or None,
            "synchronizations": claims.get(number, []),
        }
        for number, name, home, enabled, extinct, since, attributes, local_attributes, sid, key, dn in store._rows(
            "SELECT u.id, u.name, u.home_id, u.enabled, u.extinct, u.extinct_since, u.attributes, u.local_attributes,"
            " u.sid, u.key, u.dn FROM wanted_ids w CROSS JOIN users u WHERE u.id = w.id")
    }


def _names_in(store: Store, wanted: Wanted, groups: Set[int], nested: Dict[int, Set[int]]) -> Dict[int, List[str]]:
    """Return the names of the members of each group."""
    reached = {group: _reach(group, nested) for group in groups}
    store._want("wanted_groups", ((number,) for number in set().union(*reached.values())))
    listed: Dict[int, Dict[int, str]] = {}
    for group, user, name in store._rows(
            "SELECT m.user_group_id, u.id, u.name FROM wanted_groups w CROSS JOIN memberships m CROSS JOIN users u"
            " WHERE m.user_group_id = w.id AND u.id = m.user_id" + _visible_users(wanted)):
        listed.setdefault(group, {})[user] = name
    names = {}
    for group, inner in reached.items():
        members: Dict[int, str] = {}
        for number in inner:
            members.update(listed.get(number, {}))
        names[group] = sorted(members.values(), key=lambda name: (name_key(name), name))
    return names


def _group_records(store: Store, tree: Any, groups: Set[int]) -> Dict[int, Dict[str, Any]]:
    store._want("wanted_groups", ((number,) for number in groups))
    return {
        number: {
            "path": tree.path(number), "dn": dn or None, "key": key, "synchronization": synchronization,
            "attributes": json.loads(attributes), "members": [], "user_groups": [], "extinct": extinct,
            "extinct_since": time_text(since),
        }
        for number, dn, key, synchronization, attributes, extinct, since in store._rows(
            "SELECT g.id, g.dn, g.key, s.name, g.attributes, g.extinct, g.extinct_since"
            " FROM wanted_groups w CROSS JOIN user_groups g"
            " LEFT JOIN synchronizations s ON s.id = g.synchronization_id WHERE g.id = w.id")
    }


# --- runs ------------------------------------------------------------------------------------------------------------


def runs(store: Store, synchronization: Optional[str], most: int) -> List[Dict[str, Any]]:
    """Return the last runs, the newest first.

    Raises StoreError if the store does not know the synchronization.
    """
    me = _synchronization(store, synchronization)
    return [
        {"synchronization": name, "time": time_text(time), "seconds": seconds, "server": server, "mode": mode,
         "changed": bool(changed), "summary": json.loads(counts), "plan_digest": digest}
        for name, time, seconds, server, mode, changed, counts, digest in store._rows(
            "SELECT s.name, r.time, r.seconds, r.server, r.mode, r.changed, r.counts, r.plan_digest"
            " FROM runs r JOIN synchronizations s ON s.id = r.synchronization_id"
            " WHERE (? IS NULL OR r.synchronization_id = ?) ORDER BY r.id DESC LIMIT ?", (me, me, most))
    ]
