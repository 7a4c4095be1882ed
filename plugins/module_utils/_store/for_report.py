# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What a report says of what a plan does not: names of users, and who is in what."""

from __future__ import annotations

from collections.abc import Iterable

from .contract import Store
from .references import of_wanted_ids, tree_before, user_ids
from .statements import ids


def names(store: Store, references: Iterable[str], synchronization: str) -> dict[str, str]:
    """Return the names of those of the users that are stored."""
    references = list(references)
    if not references:
        return {}
    me, directory = ids(store, synchronization)
    stored = user_ids(store, references, directory, tree_before(store, me))
    store.want("wanted_ids", ((number,) for number in set(stored.values())))
    found: dict[int, str] = dict(
        store.rows("SELECT u.id, u.name FROM wanted_ids w CROSS JOIN users u WHERE u.id = w.id")
    )
    return {reference: found[number] for reference, number in stored.items()}


def direct_groups(store: Store, references: Iterable[str], synchronization: str) -> dict[str, list[str]]:
    """Return, for each of the users, the keys of the groups owned by the synchronization that list it directly."""
    references = list(references)
    if not references:
        return {}
    me, directory = ids(store, synchronization)
    stored = user_ids(store, references, directory, tree_before(store, me))
    store.want("wanted_ids", ((number,) for number in set(stored.values())))
    listing = groups_of_wanted_ids(store, me)
    return {reference: listing[stored[reference]] if reference in stored else [] for reference in references}


def direct_members(store: Store, keys: Iterable[str], synchronization: str) -> set[str]:
    """Return the users that at least one of the groups owned by the synchronization lists directly."""
    keys = list(keys)
    if not keys:
        return set()
    me, directory = ids(store, synchronization)
    tree = tree_before(store, me)
    store.want("wanted_groups", ((tree.owned[key],) for key in keys if key in tree.owned))
    store.run("DELETE FROM wanted_ids")
    store.run(
        "INSERT INTO wanted_ids SELECT DISTINCT m.user_id FROM wanted_groups w CROSS JOIN memberships m"
        " WHERE m.user_group_id = w.id"
    )
    return set(of_wanted_ids(store, directory, tree).values())


def groups_of_wanted_ids(store: Store, me: int) -> dict[int, list[str]]:
    """Return {user in wanted_ids: the stable keys of the owned groups that list it, sorted}."""
    listing: dict[int, list[str]] = {number: [] for (number,) in store.rows("SELECT id FROM wanted_ids")}
    for number, key in store.rows(
        "SELECT m.user_id, g.key FROM wanted_ids w CROSS JOIN memberships m CROSS JOIN user_groups g"
        " WHERE m.user_id = w.id AND g.id = m.user_group_id AND g.synchronization_id = ? ORDER BY g.key",
        (me,),
    ):
        listing[number].append(key)
    return listing
