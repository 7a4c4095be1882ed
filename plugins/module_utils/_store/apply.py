# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Applying a plan: writing it, its history and the record of the run inside the open transaction.

What the plan changes, and in which order, is in `write_plan.py`.
"""

from __future__ import annotations

from .. import _changes, _model, _names
from . import history, kept_names, runs, write_user_groups
from .contract import Store
from .ends import end_synchronization
from .references import tree_before, user_ids
from .statements import has
from .work import Work, group_ids, user_references


def apply(store: Store, plan: _changes.Plan, run: _model.RunRecord) -> None:
    """Write the plan, its history and the record of the run; whoever calls it commits.

    Raises StoreError if the synchronization belongs to another directory, or the store cannot be written.
    """
    store.begin_writing()
    work = _begin(store, plan, run)
    if not plan.is_blank or work.target != work.target_before:
        from .write_plan import write_plan  # most runs find all as it is

        write_plan(work)
    _end_what_is_over(work)
    if run.keeping.forgets:
        _forget(work, run.keeping)
    store.trees.clear()


def _begin(store: Store, plan: _changes.Plan, run: _model.RunRecord) -> Work:
    target = write_user_groups.make(store, _names.split_path(plan.target), as_target=True)
    me, directory, target_before = runs.bind(store, plan, run, target)
    tree = tree_before(store, me)
    number = runs.note(store, me, plan, run)
    groups, users, references = group_ids(plan, tree), {}, user_references(plan)
    if references and has(store, "SELECT 1 FROM users LIMIT 1"):
        users = user_ids(store, references, directory, tree)
    return Work(store, plan, tree, me, directory, target, target_before, number, run.keeping.now, groups, users)


def _end_what_is_over(work: Work) -> None:
    if work.plan.leaving:
        end_synchronization(work.store, work.me)
        if work.plan.leaving == "absent":
            write_user_groups.remove_target(work.store, work.target, [])
    elif work.target_before != work.target:
        write_user_groups.remove_target(work.store, work.target_before, work.plan.collisions)


def _forget(work: Work, keeping: _model.Keeping) -> None:
    """Remove what is older than it is kept, and set right first what a clock that was ahead has dated."""
    history.correct_times(work)
    runs.forget_old(work, keeping.history_days)
    kept_names.forget(work, max(keeping.history_days, keeping.name_reuse_days))
