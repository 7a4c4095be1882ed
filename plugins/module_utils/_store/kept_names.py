# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Names that are kept from others, whose records are no more: see `KeptNames` in `_plan/places.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _model, _names
from .contract import Parameters

if TYPE_CHECKING:
    from .load import Loading
    from .work import Work

Kept = dict[tuple[str, str, str], _model.KeptName]  # see StoredState.kept_names


# --- for the planner -------------------------------------------------------------------------------------------------


def of_user_groups(loading: Loading) -> Kept:
    """Return the names of user groups that are kept below the target and in owned groups. If the target is another
    now, the names that were kept below the old one go there, those of users, too.
    """
    here = {"me": loading.me, "target": loading.target}
    kept = _kept(
        loading,
        "user_groups g CROSS JOIN kept_names k WHERE (g.id = :target OR g.synchronization_id = :me)"
        " AND k.kind = 'user_group' AND k.user_group_id = g.id",
        here,
    )
    moved = _kept(
        loading,
        "synchronizations s CROSS JOIN kept_names k WHERE s.id = :me AND s.target_id <> :target"
        " AND k.user_group_id = s.target_id AND k.synchronization_id = s.id",
        here,
    )
    to = _names.path_reference(loading.path)
    kept.update(((kind, to, name), who) for (kind, _home, name), who in moved.items())
    return kept


def of_users_in_wanted_places(loading: Loading) -> Kept:
    """Return the names of users that are kept there."""
    return _kept(
        loading,
        "wanted_places w CROSS JOIN kept_names k WHERE k.kind = 'user' AND k.user_group_id = w.home_id"
        " AND k.name_key = w.name_key",
        (),
    )


def _kept(loading: Loading, which: str, parameters: Parameters) -> Kept:
    """Return the names in the rows ``k`` that the text says."""
    kept: Kept = {}
    for kind, group, name, of_directory, key, unit, since in loading.store.rows(
        "SELECT DISTINCT k.kind, k.user_group_id, k.name_key, k.directory_id, k.key, k.unit, k.since FROM " + which,
        parameters,
    ):
        if of_directory == loading.directory:
            who = _model.KeptName(key, unit, since)
        else:
            who = _model.KeptName("@", "", since)  # nobody here is of that directory
        kept[kind, loading.tree.reference(group), name] = who
    return kept


# --- of a plan -------------------------------------------------------------------------------------------------------


def write(work: Work) -> None:
    """Note which names are kept from others, and which no longer. They go where the tree goes."""
    if work.target != work.target_before:
        _move(work)
    kept = {
        (kind, work.groups[reference], name): who
        for (kind, reference, name), who in work.plan.notes.kept_names.items()
        if reference in work.groups
    }
    work.store.many("DELETE FROM kept_names WHERE kind = ? AND user_group_id = ? AND name_key = ?", kept)
    work.store.many(
        "INSERT INTO kept_names (kind, user_group_id, name_key, directory_id, key, unit, since,"
        " synchronization_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (*place, work.directory, who.reference, who.unit, who.since, work.me)
            for place, who in kept.items()
            if who is not None
        ),
    )


def _move(work: Work) -> None:
    """Take the names that were kept below the old target to the new one, in place of those that are kept there."""
    here = {"me": work.me, "before": work.target_before, "now": work.target}
    work.store.run(
        "DELETE FROM kept_names WHERE user_group_id = :now AND EXISTS (SELECT 1 FROM kept_names k"
        " WHERE k.user_group_id = :before AND k.synchronization_id = :me AND k.kind = kept_names.kind"
        " AND k.name_key = kept_names.name_key)",
        here,
    )
    work.store.run(
        "UPDATE kept_names SET user_group_id = :now WHERE user_group_id = :before AND synchronization_id = :me", here
    )


def forget(work: Work, days: int) -> None:
    """Remove those that are kept from nobody any more; not at once, for the next run may keep names for longer."""
    work.store.run(
        "DELETE FROM kept_names WHERE synchronization_id = ? AND since < ?", (work.me, work.time - days * 86400)
    )
