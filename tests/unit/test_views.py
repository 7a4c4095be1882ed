# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What other programs see of a store. Effective members are also tried in test_plan_and_store.py."""

from __future__ import annotations

import pytest
from support.plans import (
    apply,
    group_changes,
    group_record,
    make_plan,
    make_user,
    membership_change,
    user_changes,
    user_record,
)
from support.stored import rows
from support.stores import open_store

pytestmark = pytest.mark.any_store

USERS = {
    "u1": user_record("ann", attributes={"email": "ann@x"}),
    "u2": user_record("bob", enabled=False),
    "u3": user_record("cleo", extinct="gone"),
}
GROUPS = {
    "g1": group_record("a/b\\c"),
    "g2": group_record("old", "g1", extinct="gone"),
    "g3": group_record("outer"),
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "store" / "users.db"
    before = {**USERS, "u4": user_record("dora")}
    apply(
        path,
        make_plan(
            group_changes({}, GROUPS),
            user_changes({}, before),
            [
                membership_change("g1", added=before, groups_added=["g2"]),
                membership_change("g2", added=["u1"]),
                membership_change("g3", groups_added=["g1", "g2"]),
            ],
        ),
    )
    after = {key: record for key, record in before.items() if key != "u4"}
    apply(
        path,
        make_plan(users=user_changes(before, after), memberships=[membership_change("g1", removed=["u4"])]),
        time=2000,
    )
    with open_store(path) as store:
        make_user(store, ["All", "Company"], "zoe", local_attributes={"desk": "4"})
        store.commit()
    return path


def test_user_groups(path):
    assert rows(path, "SELECT path, name, key, synchronization, extinct FROM view_user_groups") == [
        ("All", "All", None, None, None),
        ("All/Company", "Company", None, None, None),
        ("All/Company/a\\/b\\\\c", "a/b\\c", "g1", "staff", None),
        ("All/Company/a\\/b\\\\c/old", "old", "g2", "staff", "gone"),
        ("All/Company/outer", "outer", "g3", "staff", None),
    ]


def test_users(path):
    found = rows(path, "SELECT name, home, enabled, key, directory, synchronization, extinct FROM view_users")
    assert [(name, enabled, extinct) for name, _home, enabled, *_rest, extinct in found] == [
        ("ann", 1, None),
        ("bob", 0, None),
        ("cleo", 1, "gone"),
        ("zoe", 1, None),
    ]
    assert {home for _name, home, *_rest in found} == {"All/Company"}
    attributes = dict(rows(path, "SELECT name, attributes || local_attributes FROM view_users"))
    assert (attributes["ann"], attributes["zoe"]) == ('{"email":"ann@x"}{}', '{}{"desk":"4"}')


MEMBERS = (
    "SELECT g.name, u.name FROM {} m JOIN view_user_groups g ON g.user_group_id = m.user_group_id"
    " JOIN view_users u ON u.user_id = m.user_id"
)


def test_members_are_enabled_and_not_extinct(path):
    assert rows(path, MEMBERS.format("view_direct_members")) == [("a/b\\c", "ann")]
    assert rows(path, MEMBERS.format("view_effective_members")) == [("a/b\\c", "ann"), ("outer", "ann")]


def test_the_history_of_memberships(path):
    columns = "SELECT user_group, kind, member, joined, ended FROM view_membership_history WHERE user_group LIKE '%c'"
    assert rows(path, columns) == [
        ("All/Company/a\\/b\\\\c", "user", "ann", 1000, None),
        ("All/Company/a\\/b\\\\c", "user", "bob", 1000, None),
        ("All/Company/a\\/b\\\\c", "user", "cleo", 1000, None),
        ("All/Company/a\\/b\\\\c", "user", "dora", 1000, 2000),
        ("All/Company/a\\/b\\\\c", "user_group", "All/Company/a\\/b\\\\c/old", 1000, None),
    ]


def test_runs(path):
    assert rows(path, "SELECT synchronization, time, mode, changed FROM view_runs") == [
        ("staff", 1000, "full", 1),
        ("staff", 2000, "full", 1),
    ]
