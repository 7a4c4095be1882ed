# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Writing user groups."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from .. import _attributes, _changes, _model
from .._names import name_key
from .contract import Row, Store
from .ends import end_user_groups
from .references import tree_now
from .statements import first, has, next_id, scalar
from .work import Work, moves


def put_aside(work: Work) -> None:
    """Free the places of all that leave them, so that swapped names never meet."""
    work.store.many(
        "UPDATE user_groups SET name_key = NULL WHERE id = ?",
        (
            (work.groups[change.key],)
            for change in work.plan.user_groups
            if change.before and moves(change.before, change.after)
        ),
    )


def write(work: Work) -> None:
    """Write those that are new and those that change; their ids are in ``Work.groups`` from then on."""
    digests = work.plan.notes.group_digests
    created = [change.key for change in work.plan.user_groups if change.before is None]
    if created:
        work.groups.update(zip(created, count(next_id(work.store, "user_groups"))))
    new, changed = [], []
    for change in work.plan.user_groups:
        if change.after is None:
            continue
        row, number = _row(work, change.after), work.groups[change.key]
        if change.before is None:
            new.append((number, work.me, change.key, digests.get(change.key, _model.NO_DIGEST), work.run, *row))
        else:
            changed.append((*row, number))
    work.store.many(
        "INSERT INTO user_groups (id, synchronization_id, key, digest, run_id, name, name_key, parent_id,"
        " extinct, extinct_since, attributes, dn, unit, own_name)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        new,
    )
    work.store.many(
        "UPDATE user_groups SET name = ?, name_key = ?, parent_id = ?, extinct = ?,"
        " extinct_since = coalesce(extinct_since, ?), attributes = ?, dn = ?, unit = ?, own_name = ? WHERE id = ?",
        changed,
    )
    work.store.many(
        "UPDATE user_groups SET extinct_since = NULL WHERE id = ?",
        (
            (work.groups[change.key],)
            for change in work.plan.user_groups
            if change.before and change.before.extinct and change.after and not change.after.extinct
        ),
    )


def _row(work: Work, record: _model.UserGroupRecord) -> Row:
    return (
        record.name,
        name_key(record.name),
        work.groups[record.parent],
        record.extinct,
        work.time if record.extinct else None,
        _attributes.text_of(record.attributes),
        record.dn,
        record.unit,
        record.own_name,
    )


def delete(work: Work) -> None:
    """Delete those that end. Nobody is in them any more by then."""
    end_user_groups(
        work.store, ((work.groups[change.key],) for change in work.plan.user_groups if change.after is None)
    )


def note_names(work: Work) -> None:
    """Note under what DN the directory has them, and of which list what is stored was read."""
    notes = work.plan.notes
    new = {change.key for change in work.plan.user_groups if change.before is None}
    work.store.many(
        "UPDATE user_groups SET dn = ?, unit = ?, own_name = ? WHERE id = ?",
        ((*noted, work.groups.get(key)) for key, noted in notes.group_dns.items()),
    )
    work.store.many(
        "UPDATE user_groups SET digest = ? WHERE id = ?",
        ((digest, work.groups.get(key)) for key, digest in notes.group_digests.items() if key not in new),
    )


# --- user groups that belong to no synchronization -------------------------------------------------------------------


def make(store: Store, names: list[str], as_target: bool = False) -> int:
    """Make the user groups along the path that do not exist. Return the id of the last."""
    here = scalar(store, "SELECT id FROM user_groups WHERE parent_id IS NULL")
    for name in names[1:]:
        place = here, name_key(name)
        row = first(store, "SELECT id FROM user_groups WHERE parent_id = ? AND name_key = ?", place)
        if row:
            here = row[0]
        else:
            store.trees.clear()
            here = store.add(
                "INSERT INTO user_groups (parent_id, name_key, name, made_as_target) VALUES (?, ?, ?, ?)",
                (*place, name, int(as_target)),
            )
    return here


_UNUSED = (
    "SELECT 1 FROM user_groups g WHERE id = ? AND made_as_target = 1"
    " AND NOT EXISTS (SELECT 1 FROM user_groups c WHERE c.parent_id = g.id)"
    " AND NOT EXISTS (SELECT 1 FROM users u WHERE u.home_id = g.id)"
    " AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.user_group_id = g.id)"
    " AND NOT EXISTS (SELECT 1 FROM nestings n WHERE n.user_group_id = g.id OR n.nested_id = g.id)"
    " AND NOT EXISTS (SELECT 1 FROM synchronizations s WHERE s.target_id = g.id)"
)


def remove_target(store: Store, target: int, collisions: Iterable[_changes.Collision]) -> None:
    """Remove the user groups that were made as a target and serve nobody any more, from the lowest upwards.

    One whose name a group wanted stays: the group is called otherwise now, and is not to be renamed in every run.
    """
    wanted = {(collision.path, name_key(collision.name)) for collision in collisions if collision.kind == "user_group"}
    tree = tree_now(store)
    group = tree.groups[target]
    while group.parent is not None and (tree.path(group.parent), group.name_key) not in wanted:
        if not has(store, _UNUSED, (group.id,)):
            return
        end_user_groups(store, [(group.id,)])
        group = tree.groups[group.parent]
