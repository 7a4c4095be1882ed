# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Writing what a plan changes, and the history of that.

The order matters. Places are freed before any is taken, members leave before others come, and what ends is written down
before it does: so no order of changes meets a name twice, and history costs what changes.
"""

from __future__ import annotations

from . import history, kept_names, write_memberships, write_user_groups, write_users
from .work import Work


def write_plan(work: Work) -> None:
    """Write the plan and its history."""
    before = history.records(work.plan, work.tree, "before")
    history.keep_memberships(work)
    write_memberships.tell_others(work)
    write_user_groups.put_aside(work)
    write_users.put_aside(work)
    kept_names.write(work)
    write_user_groups.write(work)
    write_users.write(work)
    write_user_groups.delete(work)
    write_memberships.write(work)
    write_users.note_names(work)
    write_user_groups.note_names(work)
    history.keep_records(work, before)
