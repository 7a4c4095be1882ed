# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Records made by hand in the store, and what is kept by hand of users that come from a directory.

A store that is only looked at can be asked; who writes to an open one commits.
"""

from __future__ import annotations

from typing import Any

from .._names import join_path, name_key
from . import lookups, write_user_groups
from .contract import Store
from .ends import end_users
from .forms import to_json
from .references import tree_now
from .statements import UNKNOWN, first


def find_user(store: Store, home: list[str], name: str) -> tuple[int, dict[str, Any]] | None:
    """Return (id, record) of the user with this name in this home; None if there is none. See `lookups`."""
    store.run("DELETE FROM wanted_ids")
    store.run(
        "INSERT INTO wanted_ids SELECT id FROM users WHERE home_id = ? AND name_key = ?",
        (tree_now(store).at(home), name_key(name)),
    )
    return next(iter(lookups.user_records(store).items()), None)


def user_with_sid(store: Store, sid: str, but: int | None) -> str | None:
    """Return the path of a user, other than ``but``, who has the SID and is not extinct."""
    row = first(
        store,
        "SELECT home_id, name FROM users WHERE lower(sid) = lower(?) AND extinct IS NULL AND id <> ?",
        (sid, UNKNOWN if but is None else but),
    )
    return join_path(tree_now(store).path(row[0]), row[1]) if row else None


def make_user(store: Store, home: list[str], name: str, record: dict[str, Any]) -> None:
    """Make a user that belongs to no directory; and its home, where that does not exist."""
    home_id = write_user_groups.make(store, home)
    number = store.add("INSERT INTO users (home_id, name, name_key) VALUES (?, ?, ?)", (home_id, name, name_key(name)))
    change_user(store, number, record)


def change_user(store: Store, number: int, record: dict[str, Any]) -> None:
    """Write what can be said by hand: attributes, local_attributes and sid."""
    store.run(
        "UPDATE users SET attributes = ?, local_attributes = ?, sid = ? WHERE id = ?",
        (to_json(record["attributes"]), to_json(record["local_attributes"]), record["sid"], number),
    )


def remove_user(store: Store, number: int) -> None:
    """Remove a user that belongs to no directory, and all its memberships."""
    end_users(store, [(number,)])
