# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""A plan on its way into the store: what all its writers know."""

from __future__ import annotations

import contextlib

from .. import _changes, _model
from .._named_tuple import NamedTuple
from .contract import Store
from .references import Tree
from .statements import has


class Work(NamedTuple):
    """A plan on its way into the store. Who adds records notes their ids in ``groups`` and ``users``."""

    store: Store
    plan: _changes.Plan
    tree: Tree  # before
    me: int  # id of the synchronization
    directory: int  # id of its directory
    target: int  # id of its user group
    target_before: int  # the same at the last run; equal in the first one
    run: int  # id of the run
    time: int  # by which records are dated: seconds since 1970
    groups: dict[str, int]  # reference -> id
    users: dict[str, int]  # reference -> id


class Kind(NamedTuple):
    """Users in user groups, or user groups in user groups."""

    name: str  # of a member: 'user' or 'user_group'
    table: str
    column: str  # which has the id of the member
    added: str  # the field of a MembershipChange
    removed: str

    def ids(self, work: Work) -> dict[str, int]:
        """Return {reference: id} of what can be a member."""
        return work.users if self.name == "user" else work.groups


USERS = Kind("user", "memberships", "user_id", "users_added", "users_removed")
USER_GROUPS = Kind("user_group", "nestings", "nested_id", "user_groups_added", "user_groups_removed")


def filling(store: Store, table: str, new: int) -> contextlib.AbstractContextManager[None]:
    """Meanwhile, so many rows come into the table."""
    if new and not has(store, "SELECT 1 FROM %s LIMIT 1 OFFSET ?" % table, (new - 1,)):
        return store.filling(table)
    return contextlib.nullcontext()


def moves(
    before: _model.UserRecord | _model.UserGroupRecord, after: _model.UserRecord | _model.UserGroupRecord | None
) -> bool:
    """Tell whether a record leaves the place that it has."""
    return after is None or before.name != after.name or before[1] != after[1]  # home or parent


def group_ids(plan: _changes.Plan, tree: Tree) -> dict[str, int]:
    """Return {reference: id} of the stored user groups that the plan refers to; all owned ones are among them."""
    references = {record.parent for change in plan.user_groups for record in (change.before, change.after) if record}
    references.update(change.after.home for change in plan.users if change.after)
    references.update(reference for _kind, reference, _name in plan.notes.kept_names)
    references.update(
        reference for change in plan.memberships for reference in change.user_groups_added + change.user_groups_removed
    )
    ids = dict(tree.owned)
    for reference in references:
        group = tree.referred_to(reference)
        if group is not None:
            ids[reference] = group
    return ids


def user_references(plan: _changes.Plan) -> set[str]:
    """Return the users that the plan refers to."""
    references = {change.reference for change in plan.users}
    references.update(change.adopts for change in plan.users if change.adopts)
    for change in plan.memberships:
        references.update(change.users_added, change.users_removed)
    references.update(plan.notes.user_digests, plan.notes.user_dns, plan.notes.said_disabled)
    references.update(member for dummy, member in (*plan.notes.listed_as, *plan.notes.also_listed_as))
    return references
