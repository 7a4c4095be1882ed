# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What the planner is told of the store: see StoredState. It costs what the snapshot may change, not what is stored.

Users are in `load_users.py`, members in `load_members.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from .. import _model, _names
from .._named_tuple import NamedTuple
from . import counts, kept_names, load_members, load_users
from .contract import Store
from .for_report import groups_of_wanted_ids
from .references import Tree, of_wanted_ids, tree_before
from .statements import UNKNOWN, directory_id, synchronization_id


class Loading(NamedTuple):
    """For whom the state is loaded, and what for."""

    store: Store
    me: int  # id of the synchronization, or UNKNOWN
    directory: int  # id of the directory that the snapshot is of, or UNKNOWN
    tree: Tree
    target: int  # id of the synchronization's user group, or UNKNOWN
    path: str  # the path of that, spelled as stored where it exists
    snapshot: _model.Snapshot


def load_state(store: Store, synchronization: str, target: list[str], snapshot: _model.Snapshot) -> _model.StoredState:
    """Return what the planner needs to know. ``target`` are the names in the path of the user group."""
    loading = _begin(store, synchronization, target, snapshot)
    me, tree = loading.me, loading.tree
    groups = tree.records()
    ended = [key for key, group in groups.items() if _ends(key, group, snapshot)]
    occupied = _occupied(loading, ended)
    kept = kept_names.of_user_groups(loading)
    kept.update(load_users.want_users(loading))
    users, ids = load_users.wanted_users(loading)
    memberships = _memberships_of_lost(loading, users, ids)
    return _model.StoredState(
        target=loading.path,
        target_missing=loading.target == UNKNOWN,
        user_groups=groups,
        nestings=load_members.nestings(loading),
        neighbours=_neighbours(loading),
        occupied=occupied,
        users=users,
        memberships=memberships,
        members=load_members.members(loading, ended),
        sizes=counts.sizes(store, {*itertools.chain(*memberships.values()), *snapshot.joined, *snapshot.left}, tree),
        membership_count=counts.count_members(store, tree),
        extinct_membership_count=counts.count_extinct_members(store, tree),
        user_count=0 if snapshot.is_full else counts.count_users(store, me),
        groups_extinct_since={
            key: group.extinct_since
            for key, group in tree.owned_groups().items()
            if group.extinct and group.extinct_since is not None
        },
        kept_names=kept,
    )


def _begin(store: Store, synchronization: str, target: list[str], snapshot: _model.Snapshot) -> Loading:
    me = synchronization_id(store, synchronization)
    directory = directory_id(store, snapshot.directory.identity)
    tree = tree_before(store, me)
    found = tree.find(target)
    path = tree.path(found[-1])
    for name in target[len(found) :]:
        path = _names.join_path(path, name)
    target_id = found[-1] if len(found) == len(target) else UNKNOWN
    return Loading(store, me, directory, tree, target_id, path, snapshot)


def _ends(key: str, group: _model.UserGroupRecord, snapshot: _model.Snapshot) -> bool:
    """Tell whether a stored user group is extinct already, or is not in the snapshot and so will be."""
    if key in snapshot.user_groups:
        return False
    return snapshot.is_full or group.extinct is not None or key in snapshot.lost_user_groups


def _memberships_of_lost(
    loading: Loading, users: dict[str, _model.StoredUser], ids: dict[str, int]
) -> dict[str, list[str]]:
    lost = {
        number: reference
        for reference, number in ids.items()
        if reference in loading.snapshot.lost_users or users[reference].record.extinct
    }
    loading.store.want("wanted_ids", ((number,) for number in lost))
    return {lost[number]: keys for number, keys in groups_of_wanted_ids(loading.store, loading.me).items()}


# --- what is in the way ----------------------------------------------------------------------------------------------


def _neighbours(loading: Loading) -> dict[tuple[str, str], str]:
    """Return the user groups of others that lie where ours may lie."""
    tree, me = loading.tree, loading.me
    return {
        (tree.reference(group.parent), group.name_key): tree.path(group.id)
        for group in tree.groups.values()
        if group.synchronization != me
        and group.parent is not None
        and (group.parent == loading.target or tree.groups[group.parent].synchronization == me)
    }


def _occupied(loading: Loading, ended: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return who, not written by this synchronization, sits in the owned groups that are lost or extinct."""
    store, me, tree = loading.store, loading.me, loading.tree
    missing = {tree.owned[key]: key for key in ended}
    store.want("wanted_groups", ((number,) for number in missing))
    # A user whom this synchronization gave, and lost while another still claims him, is not its own any more.
    rows = store.rows(
        "SELECT w.id, u.id FROM wanted_groups w CROSS JOIN users u WHERE u.home_id = w.id"
        " AND (u.synchronization_id IS NULL OR u.synchronization_id <> :me"
        " OR u.extinct IS NULL AND NOT EXISTS ("
        "     SELECT 1 FROM claims c WHERE c.synchronization_id = :me AND c.user_id = u.id))",
        {"me": me},
    )
    store.want("wanted_ids", ((user,) for user in {user for dummy, user in rows}))
    references = of_wanted_ids(store, loading.directory, tree)
    occupied: dict[int | None, set[str]] = {}
    for number, user in rows:
        occupied.setdefault(number, set()).add(references[user])
    for (number,) in store.rows("SELECT target_id FROM synchronizations WHERE id <> ?", (me,)):
        occupied.setdefault(number, set()).add("")
    for group in tree.groups.values():
        if group.synchronization != me:
            occupied.setdefault(group.parent, set()).add("")
    return {missing[number]: frozenset(who) for number, who in occupied.items() if number in missing}
