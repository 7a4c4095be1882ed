# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""How much a plan changes. Counts are never cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from itertools import chain

from .._changes import Effect, Plan
from .._model import Snapshot, StoredState
from .changes import ChangedGroup, UserVerbs

# What members of groups can be besides users, user groups and values that lead nowhere: counted.
OTHER_MEMBERS = ("computers", "contacts", "out_of_scope", "well_known_identities")

OF_USERS = ("created", "updated", "renamed", "moved", "disabled", "enabled", "extinct", "deleted")
_OF_USER_GROUPS = ("created", "renamed", "moved", "updated", "members", "extinct", "deleted")


def count_user_groups(changed: Collection[ChangedGroup], affected: int, unchanged: int) -> dict[str, int]:
    verbs = Counter(chain.from_iterable(each.verbs for each in changed))
    return {
        **{verb: verbs[verb] for verb in _OF_USER_GROUPS},
        "changed": len(changed),
        "affected": affected,
        "unchanged": unchanged,
        "total": affected + unchanged + len(changed) - verbs["deleted"],
    }


def count_users(plan: Plan, snapshot: Snapshot, state: StoredState, verbs: UserVerbs) -> dict[str, int]:
    counts = Counter(chain.from_iterable(changes for _change, changes in verbs))
    effects = Counter(chain.from_iterable(change.effects for change in plan.users_there))
    held = sum(1 for conclusion in plan.held if conclusion[0] == "user")
    total = _users_in_scope(snapshot, state, {change.reference for change in plan.users}) + held
    touched = sum(1 for change in plan.users if change.reference in snapshot.users)
    return {
        **{verb: counts[verb] for verb in OF_USERS},
        "claimed": effects[Effect.CLAIMED],
        "released": effects[Effect.UNCLAIMED],
        "ignored": plan.ignored,
        "unchanged": total - touched,
        "total": total,
    }


def count_memberships(plan: Plan, snapshot: Snapshot, state: StoredState) -> dict[str, int]:
    added = sum(len(change.users_added) + len(change.user_groups_added) for change in plan.memberships)
    removed = sum(len(change.users_removed) + len(change.user_groups_removed) for change in plan.memberships)
    return {
        **{kind: snapshot.other_members.get(kind, 0) for kind in OTHER_MEMBERS},
        "added": added,
        "removed": removed,
        "unresolved": len(plan.unresolved),
        "unchanged": state.membership_count - removed,
        "total": state.membership_count - removed + added,
    }


def _users_in_scope(snapshot: Snapshot, state: StoredState, created: Collection[str]) -> int:
    """Return how many users there are in scope now, by what was read."""
    if snapshot.is_full:
        return sum(1 for key, user in snapshot.users.items() if user is None or key in state.users or key in created)
    new = [
        key
        for key, user in snapshot.users.items()
        if user is not None
        and (key in state.users or key in created)
        and not (key in state.users and state.users[key].record.claimed and not state.users[key].record.extinct)
    ]
    return state.user_count + len(new) - len(snapshot.lost_users)


_TOLD = {
    "users": ("created", "updated", "renamed", "moved", "enabled", "disabled", "extinct", "deleted"),
    "user_groups": ("created", "updated", "renamed", "moved", "extinct", "deleted"),
    "memberships": ("added", "removed"),
}


def in_one_line(plan: Plan, summary: Mapping[str, Mapping[str, int]], why_nothing: str) -> str:
    """Return one line that says what changed, and how much is held or could not be done. It has no names.

    ``why_nothing``: why nothing of the plan is done; empty if it is done.
    """
    parts = []
    for kind, verbs in _TOLD.items():
        told = ", ".join("%d %s" % (summary[kind][verb], verb) for verb in verbs if summary[kind][verb])
        if told:
            parts.append("%s: %s" % (kind.replace("_", " "), told))
    if not parts:
        parts.append("nothing is done, since %s" % why_nothing if why_nothing else "nothing to do")
    left_out = {"collisions": len(plan.collisions), "held": len(plan.held)}
    return "; ".join([*parts, *("%s: %d" % each for each in left_out.items() if each[1])])
