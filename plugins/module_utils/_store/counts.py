# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""How many there are: what limits compare with, and what a report says of what did not change."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .contract import Store
from .references import Tree
from .statements import has, one, scalar, synchronization_id

# --- what a synchronization has --------------------------------------------------------------------------------------


def count_owned(store: Store, synchronization: str) -> tuple[int, int, int]:
    """Return how many users the synchronization writes, how many it claims, and how many user groups it has: those
    that are not extinct.
    """
    me, of_others = synchronization_id(store, synchronization), 0
    if _has_others(store, me):
        of_others = scalar(
            store,
            "SELECT count(*) FROM synchronizations s CROSS JOIN claims o CROSS JOIN users u CROSS JOIN claims c"
            " WHERE s.id <> :me AND o.synchronization_id = s.id AND u.id = o.user_id AND u.synchronization_id = s.id"
            " AND u.extinct IS NULL AND c.synchronization_id = :me AND c.user_id = u.id",
            {"me": me},
        )
    users = count_users(store, me)
    groups = scalar(store, "SELECT count(*) FROM user_groups WHERE synchronization_id = ? AND extinct IS NULL", (me,))
    return users - of_others, users, groups


def count_users(store: Store, me: int) -> int:
    """Return how many users the synchronization claims that are not extinct."""
    if _has_others(store, me):
        claimed = scalar(store, "SELECT count(*) FROM claims WHERE synchronization_id = ?", (me,))
    else:
        claimed = store.count("claims")
    return claimed - scalar(
        store,
        "SELECT count(*) FROM users u CROSS JOIN claims c WHERE u.extinct IS NOT NULL AND c.user_id = u.id"
        " AND c.synchronization_id = ?",
        (me,),
    )


def _has_others(store: Store, me: int) -> bool:
    """Tell whether there are other synchronizations."""
    return has(store, "SELECT 1 FROM synchronizations WHERE id <> ?", (me,))


def count_values(store: Store, synchronization: str, kind: str, fields: Iterable[str]) -> dict[tuple[str, str], int]:
    """Return how many records that the synchronization writes, and that are not extinct, have a value in each of the
    fields: (kind of record, field) -> count. ``kind`` is 'user' or 'user_group'.

    It writes a user, too, whom another one wrote that claims him no more: see `_model.StoredUser.is_written_here`.
    """
    fields, me = sorted(fields), synchronization_id(store, synchronization)
    counts = "".join(", sum(CASE WHEN instr(r.attributes, ?) > 0 THEN 1 ELSE 0 END)" for _field in fields)
    row = one(
        store,
        "SELECT 0%s FROM %s AND r.extinct IS NULL" % (counts, _WRITTEN[kind]),
        (*map(_in_json, fields), *[me] * _WRITTEN[kind].count("?")),
    )
    return {(kind, field): count or 0 for field, count in zip(fields, row[1:])}


_WRITTEN = {
    "user": (
        "claims c CROSS JOIN users r WHERE c.synchronization_id = ? AND r.id = c.user_id AND NOT EXISTS (SELECT 1"
        " FROM claims o WHERE o.user_id = r.id AND o.synchronization_id = r.synchronization_id"
        " AND o.synchronization_id <> ?)"
    ),
    "user_group": "user_groups r WHERE r.synchronization_id = ?",
}


def empty_fields(store: Store, synchronization: str, kind: str, fields: Iterable[str]) -> set[str]:
    """Return those of the fields that none of these records has a value in; none where there are no records. It ends
    with the first record that has one.
    """
    records = "FROM %ss WHERE synchronization_id = ? AND extinct IS NULL" % kind
    me = synchronization_id(store, synchronization)
    if not has(store, "SELECT 1 %s LIMIT 1" % records, (me,)):
        return set()
    filled = "SELECT 1 %s AND instr(attributes, ?) > 0 LIMIT 1" % records
    return {field for field in fields if not has(store, filled, (me, _in_json(field)))}


def _in_json(field: str) -> str:
    """Return how a field begins in JSON, and nothing else does: there only a key stands between a quotation mark that
    is not escaped and another one with a colon.
    """
    return '"%s":' % field


# --- members ---------------------------------------------------------------------------------------------------------


def count_members(store: Store, tree: Tree) -> int:
    """Return how many own members the owned user groups have. Where most are owned: all, which a store knows without a
    look at each, less those of others.
    """
    owned = set(tree.owned.values())
    others = tree.groups.keys() - owned
    if len(others) > len(owned):
        return _count_members(store, owned)
    return store.count("memberships") + store.count("nestings") - _count_members(store, others)


def count_extinct_members(store: Store, tree: Tree) -> int:
    """Return how many of these are members of extinct user groups."""
    return _count_members(store, {group.id for group in tree.owned_groups().values() if group.extinct is not None})


def _count_members(store: Store, groups: Collection[int]) -> int:
    """Return how many own members these user groups have, users and user groups."""
    if not groups:
        return 0
    store.want("wanted_groups", ((number,) for number in groups))
    return scalar(
        store,
        "SELECT (SELECT count(*) FROM wanted_groups w CROSS JOIN memberships m WHERE m.user_group_id = w.id)"
        " + (SELECT count(*) FROM wanted_groups w CROSS JOIN nestings n WHERE n.user_group_id = w.id)",
    )


def sizes(store: Store, keys: Iterable[str], tree: Tree) -> dict[str, int]:
    """Return how many users these owned groups have, for those that have any."""
    key_of = {tree.owned[key]: key for key in keys if key in tree.owned}
    store.want("wanted_groups", ((group,) for group in key_of))
    return {
        key_of[group]: size
        for group, size in store.rows(
            "SELECT w.id, count(*) FROM wanted_groups w CROSS JOIN memberships m WHERE m.user_group_id = w.id"
            " GROUP BY w.id"
        )
    }
