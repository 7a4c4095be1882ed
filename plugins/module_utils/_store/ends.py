# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The end of records: what refers to them goes first, since not every store has foreign keys for it."""

from __future__ import annotations

from collections.abc import Iterable

from .contract import Row, Store


def end_users(store: Store, ids: Iterable[Row]) -> None:
    """Remove users (rows of their ids), their claims and their memberships."""
    ids = list(ids)
    for statement in (
        "DELETE FROM memberships WHERE user_id = ?",
        "DELETE FROM claims WHERE user_id = ?",
        "DELETE FROM users WHERE id = ?",
    ):
        store.many(statement, ids)


def end_user_groups(store: Store, ids: Iterable[Row]) -> None:
    """Remove user groups (rows of their ids), and who and what is in them, or has them in it."""
    ids = list(ids)
    for statement in (
        "DELETE FROM memberships WHERE user_group_id = ?",
        "DELETE FROM nestings WHERE user_group_id = ?",
        "DELETE FROM nestings WHERE nested_id = ?",
        "DELETE FROM user_groups WHERE id = ?",
    ):
        store.many(statement, ids)


_SEEN_DISABLED = "UPDATE users SET digest = x'' WHERE id IN (SELECT c.user_id FROM %s AND c.disabled IS NOT NULL)"


def end_claims(store: Store, synchronization: int, users: Iterable[int]) -> None:
    """End the claims of a synchronization (id) on users (ids). Who writes a user that one of them saw disabled looks
    again.
    """
    ended = {(user,) for user in users}
    if not ended:
        return
    store.want("wanted_ids", ended)
    store.run(
        _SEEN_DISABLED % "wanted_ids w CROSS JOIN claims c WHERE c.user_id = w.id AND c.synchronization_id = ?",
        (synchronization,),
    )
    store.run(
        "DELETE FROM claims WHERE synchronization_id = ? AND user_id IN (SELECT id FROM wanted_ids)",
        (synchronization,),
    )


def end_synchronization(store: Store, number: int) -> None:
    """Remove a synchronization (id), its claims, its mark and the names that it keeps. What is left of its records
    belongs to none.
    """
    store.run(_SEEN_DISABLED % "claims c WHERE c.synchronization_id = ?", (number,))
    for statement in (
        "DELETE FROM claims WHERE synchronization_id = ?",
        "UPDATE user_groups SET synchronization_id = NULL, key = NULL, digest = x'', extinct = NULL,"
        " extinct_since = NULL WHERE synchronization_id = ?",
        "UPDATE users SET synchronization_id = NULL, digest = x'' WHERE synchronization_id = ?",
        "DELETE FROM synchronizations WHERE id = ?",
    ):
        store.run(statement, (number,))
