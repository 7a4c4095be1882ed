# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What a plan concludes from something that is not there: whom it removes by that, or enables."""

from __future__ import annotations

from .. import _changes, _model
from .._changes import Effect


def conclusions(
    plan: _changes.Plan, snapshot: _model.Snapshot, state: _model.StoredState | None = None
) -> frozenset[_model.Conclusion]:
    """Return what a plan concludes from something that is not there: who is lost, memberships that end though
    nobody is lost, who is enabled, newcomers too, and who has no SID any more. With ``state`` also of whom this
    synchronization takes back that it is disabled, so that the one that writes it may enable it.
    """
    found: list[_model.Conclusion] = [("user", key) for key in snapshot.lost_users]
    found.extend(("user_group", key) for key in snapshot.lost_user_groups)
    for user in plan.users:
        if user.after is not None and snapshot.users.get(user.reference) is not None:
            # Who was shown as another one's record is enabled by this directory from now on.
            if Effect.SHOWN in user.effects or user.adopts and user.after.enabled:
                found.append(("enabled", user.reference))
            if Effect.SID_LOST in user.effects:
                found.append(("sid", user.reference))
    if state is not None:
        said = plan.notes.said_disabled.items()
        found.extend(("enabled", key) for key, disabled in said if not disabled and state.users[key].said_disabled)
    for change in plan.memberships:
        if change.key in snapshot.user_groups:
            found.extend(
                ("member", change.key, user) for user in change.users_removed if user not in snapshot.lost_users
            )
            found.extend(
                ("nested", change.key, group)
                for group in change.user_groups_removed
                if group not in snapshot.lost_user_groups
            )
    return frozenset(found)
