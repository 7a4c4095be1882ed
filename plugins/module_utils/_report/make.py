# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Plan -> result and diff. Pure, and the same for a dry run, a real run and a refusal.

What the report needs of the store beyond the plan is asked for in advance: `members_to_load`, `users_to_load` and
`names_to_load` say what, `Looked` holds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from .._changes import Plan
from .._model import Conclusion, Snapshot, StoredState
from .._named_tuple import NamedTuple
from . import lists
from .affected import affected_groups
from .changes import changed_groups, groups_after, verbs_of
from .counts import OF_USERS, count_memberships, count_user_groups, count_users
from .cut import Bounds, Cut


class Looked(NamedTuple):
    """What was looked up in the store for the report."""

    direct_groups: dict[str, list[str]]  # user reference -> keys of the groups that list it, before the run
    names: dict[str, str]  # user reference -> name, of members that the plan does not touch


class Objections(NamedTuple):
    """What speaks against the plan."""

    reasons: Mapping[Conclusion, str] = MappingProxyType({})  # why what it holds is held
    refused: Sequence[lists.Entry] = ()  # the limits that it exceeds


NO_OBJECTIONS = Objections()


def make_report(
    plan: Plan,
    snapshot: Snapshot,
    state: StoredState,
    looked: Looked,
    bounds: Bounds,
    objections: Objections = NO_OBJECTIONS,
) -> dict[str, Any]:
    """Return the part of the result that speaks of the plan, with ``diff`` if the bounds have room for it.

    Lists are cut at the bounds, counts never are.
    """
    groups = groups_after(plan, state)
    changed = changed_groups(plan, state, groups)
    changed_keys = {each.key for each in changed}
    affected = affected_groups(plan, state, groups, looked.direct_groups) - changed_keys
    unchanged = groups.keys() - changed_keys - affected
    verbs = [(change, verbs_of(change)) for change in plan.users]
    names, by_verb = lists.names_after(plan, state, looked.names), lists.users_by_verb(verbs, groups, state)

    cut = Cut(bounds)  # who asks first is told of first
    report: dict[str, Any] = {
        "summary": {
            "user_groups": count_user_groups(changed, len(affected), len(unchanged)),
            "users": count_users(plan, snapshot, state, verbs),
            "memberships": count_memberships(plan, snapshot, state),
        },
        "refused": cut.items("refused", objections.refused),
        "held": lists.list_held(plan, groups, names, objections.reasons, cut),
    }
    users = lists.list_users(by_verb, lists.USERS_REMOVED, cut)
    listed = lists.list_changed_groups(changed, cut)
    lists.list_members_removed(listed, names, state.user_groups, cut)
    report["collisions"] = cut.items("collisions", [collision._asdict() for collision in plan.collisions])
    users.update(lists.list_users(by_verb, lists.USERS_ELSE, cut))
    lists.list_members_added(listed, names, groups, cut)
    report.update(
        changed_groups=[entry for _group, entry in listed],
        users={verb: users[verb] for verb in OF_USERS},
        unresolved_members=lists.list_unresolved(plan, groups, cut),
        not_stored=lists.list_not_stored(snapshot, cut),
        affected_groups=lists.list_paths("affected_groups", affected, groups, cut),
        unchanged_groups=lists.list_paths("unchanged_groups", unchanged, groups, cut),
        report_left_out=cut.left_out,
        report_truncated=bool(cut.left_out),
    )
    if bounds.with_diff:
        from .diff import diff  # nobody else needs it

        report["diff"] = diff(plan, listed, state, groups, bounds.entries, cut.bytes_for_diff)
    return report
