# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""A store, as it is, in another place: ids, history and marks included. So the next run goes on from there."""

from __future__ import annotations

from .contract import Row, Store, StoreError
from .statements import one

# Table -> its columns, in an order in which what is referred to is there first. A test compares them with what stores
# have.
TABLES: dict[str, tuple[str, ...]] = {
    "directories": ("id", "identity"),
    "user_groups": (
        *("id", "parent_id", "name", "name_key", "synchronization_id", "key", "made_as_target", "extinct"),
        *("extinct_since", "attributes", "dn", "digest", "run_id", "unit", "own_name"),
    ),
    "synchronizations": (
        *("id", "name", "directory_id", "target_id", "salt", "selected", "settings", "scope", "held"),
    ),
    "users": (
        *("id", "home_id", "name", "name_key", "directory_id", "key", "synchronization_id", "adopted", "enabled"),
        *("sid", "extinct", "extinct_since", "dn", "known_as", "digest", "attributes", "local_attributes", "run_id"),
        *("expires", "unit"),
    ),
    "claims": ("synchronization_id", "user_id", "disabled"),
    "memberships": ("user_group_id", "user_id", "listed_as", "run_id"),
    "nestings": ("user_group_id", "nested_id", "listed_as", "run_id"),
    "runs": (
        *("id", "synchronization_id", "synchronization", "time", "seconds", "server", "mode", "changed", "counts"),
        *("plan_digest", "settings_digest", "reason", "checked"),
    ),
    "past_memberships": ("run_id", "user_group", "user_group_key", "kind", "member", "member_key", "joined_by"),
    "past_records": ("run_id", "kind", "key", "path", "before", "after"),
    "marks": ("synchronization_id", "mark", "versions"),
    "kept_names": (
        *("kind", "user_group_id", "name_key", "directory_id", "key", "unit", "since", "synchronization_id"),
    ),
    "provisionings": ("id", "name", "destination", "run", "holder", "seen", "told"),
    "links": (*("id", "provisioning_id", "kind", "key", "destination_id", "written", "shown", "departed", "gone"),),
    "link_members": ("link_id", "kind", "key", "in_doubt"),
    "intents": ("provisioning_id", "kind", "key", "record"),
    "allowed": ("provisioning_id", "removal"),
    "past_links": ("provisioning", "time", "event", "kind", "key", "name", "destination_id", "group_name"),
}


def is_equal(source: Store, target: Store) -> bool:
    """Tell whether both have the same."""
    return all(
        count(source, table) == count(target, table) and set(_rows(source, table)) == set(_rows(target, table))
        for table in TABLES
    )


def is_empty(store: Store) -> bool:
    """Tell whether there is nothing in it but the root of the tree."""
    return all(count(store, table) == (1 if table == "user_groups" else 0) for table in TABLES)


def count(store: Store, table: str) -> int:
    """Return how many rows the table has."""
    (found,) = one(store, "SELECT count(*) FROM %s" % table)
    return int(found)


def copy(source: Store, target: Store) -> None:
    """Write into an empty store what the other one has; whoever calls it commits.

    Raises StoreError if the store is not empty.
    """
    target.begin_writing()
    if not is_empty(target):
        raise StoreError("to: there is something in it, and nothing is copied over that: name one that does not exist")
    target.run("DELETE FROM user_groups")
    owned: list[Row] = []
    for table, columns in TABLES.items():
        rows = _rows(source, table)
        if table == "user_groups":  # which refer to synchronizations, as these refer to them
            at, number = columns.index("synchronization_id"), columns.index("id")
            owned = [(row[at], row[number]) for row in rows if row[at] is not None]
            rows = [(*row[:at], None, *row[at + 1 :]) for row in rows]
        target.insert(table, columns, rows)
        if table == "synchronizations":
            target.many("UPDATE user_groups SET synchronization_id = ? WHERE id = ?", owned)


def _rows(store: Store, table: str) -> list[Row]:
    return store.rows("SELECT %s FROM %s" % (", ".join(TABLES[table]), table))
