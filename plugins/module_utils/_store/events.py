# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What happened to users and user groups, told to people. What a run writes down of it is in `history.py`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from .. import _names
from .._named_tuple import NamedTuple
from .._names import name_key
from .contract import Store
from .lookups import Wanted, by_path, texts, time_text
from .references import Tree, tree_now
from .statements import one
from .work import USER_GROUPS, USERS

_ORDER = ("created", "changed", "member_added", "member_removed", "deleted")  # what one run does, in this order


class _Event(NamedTuple):
    run: int
    event: str
    path: str  # of the user group, or of the user
    member: str | None = None  # of the user group: name of a user, or path of a user group
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


def events(store: Store, wanted: Wanted, most: int) -> list[dict[str, Any]]:
    """Return what happened to the user group, or to the users of that name, the newest first.

    With both, it is about the memberships of the users in the user group.
    """
    tree = tree_now(store)
    if wanted.user is not None:
        found = _of_users(store, tree, wanted.user)
        if wanted.user_group is not None:
            found = [each for each in found if each.member and by_path(each.path) == by_path(wanted.user_group)]
    else:
        found = _of_user_group(store, tree, wanted.user_group or _names.ROOT)
    runs_by_id = {
        number: (time, name) for number, time, name in store.rows("SELECT id, time, synchronization FROM runs")
    }
    known = [each for each in found if each.run in runs_by_id]  # older runs are forgotten
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


def _of_users(store: Store, tree: Tree, name: str) -> list[_Event]:
    wanted = name_key(name)
    stored = store.rows("SELECT id, key FROM users WHERE name_key = ?", (wanted,))
    keys = {key for dummy, key in stored if key is not None}
    keys |= _past_keys(store, "user", lambda path: by_path(path)[-1] == wanted)
    ids: set[int] = set()
    for key in keys:
        ids.update(number for (number,) in store.rows("SELECT id FROM users WHERE key = ?", (key,)))
    store.want("wanted_ids", ((number,) for number in ids.union(row[0] for row in stored)))
    events = [
        _Event(run, "created", _names.join_path(tree.path(home), now))
        for run, home, now in store.rows(
            "SELECT u.run_id, u.home_id, u.name FROM wanted_ids w CROSS JOIN users u WHERE u.id = w.id"
            " AND u.run_id IS NOT NULL"
        )
    ]
    events += _events_of(store, "user", keys)
    events += [
        _Event(run, "member_added", tree.path(group), name)
        for group, name, run in store.rows(
            "SELECT m.user_group_id, u.name, m.run_id FROM wanted_ids w CROSS JOIN memberships m CROSS JOIN users u"
            " WHERE m.user_id = w.id AND u.id = w.id AND m.run_id IS NOT NULL"
        )
    ]
    for key in keys:
        events += _past(store, "kind = 'user' AND member_key = ?", key)
    return events


def _of_user_group(store: Store, tree: Tree, path: str) -> list[_Event]:
    wanted, number = by_path(path), tree.at(_names.split_path(path))
    events: list[_Event] = []
    if number is None:
        keys = _past_keys(store, "user_group", lambda past: by_path(past) == wanted)
    else:  # and not of another that had the path before
        key = tree.groups[number].key
        keys = set() if key is None else {key}
        events += _of_what_it_has(store, tree, number)
    events += _events_of(store, "user_group", keys)
    for key in keys:
        events += _past(store, "user_group_key = ?", key)
    return events


def _of_what_it_has(store: Store, tree: Tree, number: int) -> list[_Event]:
    """Return when the user group came, and when its members did."""
    path = tree.path(number)
    (run,) = one(store, "SELECT run_id FROM user_groups WHERE id = ?", (number,))
    events = [_Event(run, "created", path)] if run else []
    for kind in (USERS, USER_GROUPS):
        events += [
            _Event(run, "member_added", path, name if kind is USERS else tree.path(member))
            for member, name, run in store.rows(
                "SELECT n.id, n.name, m.run_id FROM {0} m JOIN {2}s n ON n.id = m.{1}"
                " WHERE m.user_group_id = ? AND m.run_id IS NOT NULL".format(kind.table, kind.column, kind.name),
                (number,),
            )
        ]
    return events


def _past_keys(store: Store, kind: str, is_meant: Callable[[str], bool]) -> set[str]:
    """Return the keys of those that had such a path once."""
    return {
        key
        for key, path, before in store.rows(
            "SELECT key, path, before FROM past_records WHERE kind = ? AND key IS NOT NULL", (kind,)
        )
        if is_meant(path) or is_meant(json.loads(before)["path"])
    }


def _events_of(store: Store, kind: str, keys: Iterable[str]) -> list[_Event]:
    events = []
    for key in keys:
        for run, path, before, after in texts(
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
    for run, joined, group, member in texts(
        store, "SELECT run_id, joined_by, user_group, member FROM past_memberships WHERE %s" % which, (key,)
    ):
        events.append(_Event(run, "member_removed", group, member))
        if joined:
            events.append(_Event(joined, "member_added", group, member))
    return events
