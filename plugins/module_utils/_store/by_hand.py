# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Records made by hand in the store, and what is kept by hand of users that come from a directory.

These are functions of a :class:`Store`: reading of one that is open or looked at, writing of an open one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .._model import join_path, name_key
from . import lookups

if TYPE_CHECKING:
    from .sqlite import Store


def find_user(store: Store, home: list[str], name: str) -> tuple[int, dict[str, Any]] | None:
    """Return (id, record) of the user with this name in this home; None if there is none. See `lookups`."""
    store._run("DELETE FROM wanted_ids")
    store._run(
        "INSERT INTO wanted_ids SELECT id FROM users WHERE home_id = ? AND name_key = ?",
        (store._tree().at(home), name_key(name)),
    )
    return next(iter(lookups.user_records(store).items()), None)


def user_with_sid(store: Store, sid: str, but: int | None) -> str | None:
    """Return the path of a user, other than ``but``, who has the SID and is not extinct."""
    row = store._row(
        "SELECT home_id, name FROM users WHERE sid = ? COLLATE NOCASE AND extinct IS NULL AND id IS NOT ?", (sid, but)
    )
    return join_path(store._tree().path(row[0]), row[1]) if row else None


def make_user(store: Store, home: list[str], name: str, record: dict[str, Any]) -> None:
    """Make a user that belongs to no directory; and its home, where that does not exist."""
    home_id = store.make_user_groups(home)
    store._run("INSERT INTO users (home_id, name, name_key) VALUES (?, ?, ?)", (home_id, name, name_key(name)))
    change_user(store, find_user(store, home, name)[0], record)


def change_user(store: Store, number: int, record: dict[str, Any]) -> None:
    """Write what can be said by hand: attributes, local_attributes and sid."""
    store._run(
        "UPDATE users SET attributes = ?, local_attributes = ?, sid = ? WHERE id = ?",
        (_to_json(record["attributes"]), _to_json(record["local_attributes"]), record["sid"], number),
    )


def remove_user(store: Store, number: int) -> None:
    """Remove a user that belongs to no directory, and all its memberships."""
    store._run("DELETE FROM users WHERE id = ?", (number,))


def _to_json(attributes: dict[str, Any]) -> str:
    return json.dumps(attributes, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
