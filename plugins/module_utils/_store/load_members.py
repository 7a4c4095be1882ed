# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Which members the planner is told of, and by what a member list may know them: see Members in `_model`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .. import _model
from .references import of_users, user_ids

if TYPE_CHECKING:
    from .load import Loading

_NOT_ASKED_FOR: tuple[str, ...] = ()  # the snapshot keeps no values of that list, so nobody compares them


def nestings(loading: Loading) -> dict[str, _model.Members]:
    """Return {owned group: the user groups nested in it}, for all of them."""
    tree, snapshot = loading.tree, loading.snapshot
    found: dict[str, _model.Members] = {key: {} for key in tree.owned}
    key_of = {number: key for key, number in tree.owned.items()}
    for number, nested, listed_as in loading.store.rows("SELECT user_group_id, nested_id, listed_as FROM nestings"):
        if number not in key_of:
            continue
        key, child = key_of[number], tree.groups[nested]
        group = snapshot.user_groups.get(key)
        known_by = _NOT_ASKED_FOR
        if group is not None and group.kept_values:
            known_by = _known_by(listed_as, child.dn, child.name, child.key)
        found[key][tree.reference(nested)] = known_by
    return found


def members(loading: Loading, ended: Iterable[str]) -> dict[str, _model.Members]:
    """Return the users in the groups whose member lists the snapshot gives, and in lost or extinct groups."""
    store, snapshot, tree = loading.store, loading.snapshot, loading.tree
    given = [key for key, group in snapshot.user_groups.items() if group.members is not None]
    given += ended
    found: dict[str, _model.Members] = {key: {} for key in given}
    owned = {tree.owned[key]: key for key in given if key in tree.owned}

    store.want("wanted_groups", ((number,) for number in owned))
    # A text for each group: a row for each of hundreds of thousands of memberships takes three times as long.
    lists = {
        number: list(map(int, text.split(",")))
        for number, text in store.rows(
            "SELECT w.id, (SELECT group_concat(m.user_id) FROM memberships m WHERE m.user_group_id = w.id)"
            " FROM wanted_groups w"
        )
        if text
    }
    references = of_users(
        store, set(itertools.chain.from_iterable(lists.values())), loading.directory, tree, snapshot.is_full
    )
    for number, users in lists.items():
        found[owned[number]] = dict.fromkeys(map(references.__getitem__, users), _NOT_ASKED_FOR)
    _add_values(loading, owned, references, found)
    _add_joined(loading, found)
    return found


def _add_values(
    loading: Loading, owned: dict[int, str], references: dict[int, str], found: dict[str, _model.Members]
) -> None:
    """Add by what the lists may know their members that have values which led to no one in scope."""
    store, snapshot, tree = loading.store, loading.snapshot, loading.tree
    store.want(
        "wanted_groups",
        (
            (tree.owned[key],)
            for key, group in snapshot.user_groups.items()
            if group.members is not None and (group.kept_values or snapshot.dangling) and key in tree.owned
        ),
    )
    for group, user, listed_as, *known in store.rows(
        "SELECT m.user_group_id, m.user_id, m.listed_as, u.dn, u.name, u.key, u.known_as"
        " FROM wanted_groups w CROSS JOIN memberships m CROSS JOIN users u"
        " WHERE m.user_group_id = w.id AND u.id = m.user_id"
    ):
        found[owned[group]][references[user]] = _known_by(listed_as, *known)


def _add_joined(loading: Loading, found: dict[str, _model.Members]) -> None:
    """Add which of the users who joined or left a group, whose list was not read, are stored in it."""
    store, snapshot, tree = loading.store, loading.snapshot, loading.tree
    for key in snapshot.joined.keys() | snapshot.left.keys():
        if key in tree.owned:
            concerned = {*snapshot.joined.get(key, ()), *snapshot.left.get(key, ())}
            ids = user_ids(store, concerned, loading.directory, tree)
            store.want("wanted_ids", ((number,) for number in ids.values()))
            stored = {
                user
                for (user,) in store.rows(
                    "SELECT w.id FROM wanted_ids w CROSS JOIN memberships m WHERE m.user_group_id = ? AND"
                    " m.user_id = w.id",
                    (tree.owned[key],),
                )
            }
            found[key] = {reference: _NOT_ASKED_FOR for reference, number in ids.items() if number in stored}


def _known_by(listed_as: str | None, *values: str | None) -> tuple[str, ...]:
    """Return the values that a member list may know a member by, first the one it was last listed as: see Members."""
    last, *earlier = (listed_as or "").split(_model.KNOWN_AS)
    return (last, *earlier, *(one for value in values if value for one in value.split(_model.KNOWN_AS)))
