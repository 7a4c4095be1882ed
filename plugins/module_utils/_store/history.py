# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What changed or ended: written down before it does, with the run that did it, and told to runs.

Whatever exists carries the run that it came by. So a first run writes nothing twice.
What people are told of it is in `events.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _changes
from .contract import Store
from .forms import from_json, to_json
from .references import Tree, tree_now
from .statements import directory_id
from .work import USER_GROUPS, USERS, Kind, Work

# --- written down by a run -------------------------------------------------------------------------------------------

Subject = tuple[str, str]  # 'user' or 'user_group', and its reference
Records = dict[Subject, dict[str, Any]]  # what people see of records


def records(plan: _changes.Plan, tree: Tree, which: str) -> Records:
    """Return the stored records that the plan changes, as people see them: 'before' it, or 'after'."""
    found: Records = {}
    for group in plan.user_groups:
        record = getattr(group, which)
        if record is not None and group.before is not None:
            found["user_group", group.key] = {
                "path": tree.path_in(record.parent, record.name),
                "extinct": record.extinct,
                "attributes": record.attributes,
            }
    for user in plan.users:
        record = getattr(user, which)
        if record is not None and user.before is not None:
            found["user", user.reference] = {
                "path": tree.path_in(record.home, record.name),
                "enabled": record.enabled,
                "sid": record.sid,
                "extinct": record.extinct,
                "attributes": record.attributes,
            }
    return found


def keep_records(work: Work, before: Records) -> None:
    """Write down what the records that changed or ended were before, and what they are now."""
    if not before:
        return
    # Where no user group changes, none is elsewhere than before.
    tree = tree_now(work.store, work.me) if work.plan.user_groups else work.tree
    after = records(work.plan, tree, "after")
    work.store.many(
        "INSERT INTO past_records (run_id, kind, key, path, before, after) VALUES (?, ?, ?, ?, ?, ?)",
        (
            (
                work.run,
                *subject,
                after.get(subject, record)["path"],
                to_json(record),
                to_json(after[subject]) if subject in after else None,
            )
            for subject, record in before.items()
            if record != after.get(subject)
        ),
    )


def keep_memberships(work: Work) -> None:
    """Write down who is about to leave which user group: by the plan, or with a record that ends anywhere."""
    _keep_members(work, USERS, {work.users[each.reference] for each in work.plan.users if each.after is None})
    _keep_members(work, USER_GROUPS, {work.groups[each.key] for each in work.plan.user_groups if each.after is None})


def _keep_members(work: Work, kind: Kind, ended: set[int]) -> None:
    store, tree, ids = work.store, work.tree, kind.ids(work)
    leaving = {
        (work.groups[change.key], ids[reference])
        for change in work.plan.memberships
        for reference in getattr(change, kind.removed)
    }
    store.want("leaving", leaving)
    store.want("wanted_ids", ((number,) for number in ended))
    names = {"table": kind.table, "column": kind.column, "records": kind.name + "s"}
    store.run(
        "INSERT INTO leaving SELECT m.user_group_id, m.{column} FROM wanted_ids w CROSS JOIN {table} m"
        " WHERE m.{column} = w.id ON CONFLICT DO NOTHING".format(**names)
    )
    rows = store.rows(
        "SELECT l.user_group_id, n.id, n.name, n.key, m.run_id"
        " FROM leaving l CROSS JOIN {table} m CROSS JOIN {records} n"
        " WHERE m.user_group_id = l.user_group_id AND m.{column} = l.member_id AND n.id = l.member_id".format(**names)
    )
    store.many(
        "INSERT INTO past_memberships (run_id, user_group, user_group_key, kind, member, member_key, joined_by)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (
                work.run,
                tree.path(group),
                tree.groups[group].key,
                kind.name,
                name if kind is USERS else tree.path(member),
                key,
                joined,
            )
            for group, member, name, key, joined in rows
        ),
    )


def correct_times(work: Work) -> None:
    """Set right what a clock that was ahead has written down: else a grace would last for years."""
    for table, column in (("users", "extinct_since"), ("user_groups", "extinct_since"), ("kept_names", "since")):
        extinct = " AND extinct IS NOT NULL" if column == "extinct_since" else ""
        work.store.run(
            "UPDATE {0} SET {1} = :time WHERE synchronization_id = :me AND {1} > :time{2}".format(
                table, column, extinct
            ),
            {"time": work.time, "me": work.me},
        )


# --- told to a run ---------------------------------------------------------------------------------------------------


def seen_out_by(store: Store, identity: str, keys: Iterable[str]) -> dict[str, set[int]]:
    """Return by which synchronizations (ids) users of the directory, by these stable keys, were last seen to be gone or
    out of scope, as far as the history goes back: also if there is no record any more, or another synchronization has
    brought it back, as long as it was not enabled since. And by which they were disabled that claim them no more: those
    that do say themselves what they last saw.
    """
    directory = directory_id(store, identity)
    store.want("wanted_keys", ((key, directory, key) for key in keys))
    found: dict[str, set[int]] = {}
    for key, number, claims, before, after in store.rows(
        "SELECT p.key, s.id, EXISTS (SELECT 1 FROM users u JOIN claims c ON c.user_id = u.id"
        " WHERE u.directory_id = w.directory_id AND u.key = w.key AND c.synchronization_id = s.id),"
        " p.before, p.after FROM wanted_keys w CROSS JOIN past_records p CROSS JOIN runs r"
        " CROSS JOIN synchronizations s WHERE p.key = w.key AND p.kind = 'user' AND r.id = p.run_id"
        " AND s.id = r.synchronization_id AND s.directory_id = w.directory_id ORDER BY p.run_id"
    ):
        if _is_in(from_json(before)):
            found.pop(key, None)
        record = from_json(after) if after else None
        if record is not None and _is_in(record):
            found.pop(key, None)
        elif record is None or record.get("extinct") or not claims:
            found.setdefault(key, set()).add(number)
    return found


def _is_in(record: dict[str, Any]) -> bool:
    """Return whether a user's record is one that is enabled and not extinct."""
    return bool(record.get("enabled")) and not record.get("extinct")
