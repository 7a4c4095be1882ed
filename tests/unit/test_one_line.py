# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line that says what a run did: the module's msg, which the role puts into the journal."""

from __future__ import annotations

from types import SimpleNamespace

from ansible_collections.usersync.directory.plugins.module_utils._report.counts import in_one_line

SUMMARY = {
    "users": dict.fromkeys(
        ("created", "updated", "renamed", "moved", "enabled", "disabled", "extinct", "deleted", "unchanged"), 0
    ),
    "user_groups": dict.fromkeys(("created", "updated", "renamed", "moved", "extinct", "deleted", "unchanged"), 0),
    "memberships": dict.fromkeys(("added", "removed", "unchanged"), 0),
}


def told(collisions=0, held=0, why_nothing="", **changes):
    summary = {kind: {**counts, **changes.get(kind, {})} for kind, counts in SUMMARY.items()}
    plan = SimpleNamespace(collisions=[()] * collisions, held=[()] * held)
    return in_one_line(plan, summary, why_nothing)


def test_what_changed_by_kind():
    line = told(
        users={"created": 2, "extinct": 1, "unchanged": 9},
        user_groups={"renamed": 1},
        memberships={"added": 12, "removed": 3},
    )
    assert line == "users: 2 created, 1 extinct; user groups: 1 renamed; memberships: 12 added, 3 removed"


def test_nothing_to_do():
    assert told(users={"unchanged": 9}) == "nothing to do"


def test_what_was_left_out_is_counted():
    assert told(memberships={"removed": 1}, collisions=2, held=3) == "memberships: 1 removed; collisions: 2; held: 3"
    assert told(held=1) == "nothing to do; held: 1"


def test_nothing_is_done_by_a_server_that_is_behind():
    assert told(held=4, why_nothing="dc2 lags") == "nothing is done, since dc2 lags; held: 4"
