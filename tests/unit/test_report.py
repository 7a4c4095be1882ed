# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much a result lists: what is removed first, within its bytes, and every count whole."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _changes, _model
from ansible_collections.usersync.directory.plugins.module_utils._report.cut import Bounds, size_of
from ansible_collections.usersync.directory.plugins.module_utils._report.make import Looked, Objections, make_report
from hypothesis import given
from hypothesis import strategies as st
from support import plans
from support.examples import examples
from support.snapshots import DIRECTORY

AWX_DROPS = 700_000  # characters of str() of a result: MAX_EVENT_RES, ansible-runner's awx_display.py


def report(plan: _changes.Plan, state: _model.StoredState, *bounds: Any, **more: Any) -> dict[str, Any]:
    snapshot = _model.Snapshot(DIRECTORY, {}, {}, {}, {}, [], [], {}, {}, [])
    return make_report(plan, snapshot, state, Looked({}, {}), Bounds(*bounds), Objections(**more))


def stored(users: dict[str, _model.UserRecord], groups: dict[str, _model.UserGroupRecord]) -> _model.StoredState:
    return _model.StoredState(
        target="All/Company",
        target_missing=False,
        user_groups=groups,
        nestings={},
        neighbours={},
        occupied={},
        users={
            key: _model.StoredUser(key, record, is_written_here=True, other_claims=0, adopted=False)
            for key, record in users.items()
        },
        members={},
        memberships={},
    )


def of_many(joining: int, leaving: int) -> tuple[_changes.Plan, _model.StoredState]:
    """One group that so many join and so many leave, all of whom come and go, and a group for each hundred of them."""
    new = {f"new-{number:06}": plans.user_record(f"NEW.{number:06}") for number in range(joining)}
    old = {f"old-{number:06}": plans.user_record(f"OLD.{number:06}") for number in range(leaving)}
    groups = {f"g{number}": plans.group_record(f"Group {number:05}") for number in range((joining + leaving) // 100)}
    everybody = plans.group_record("Whole staff")
    plan = plans.make_plan(
        plans.group_changes({}, groups),
        plans.user_changes(old, new),
        [plans.membership_change("everybody", new, old)],
    )
    return plan, stored(old, {"everybody": everybody})


@pytest.mark.on_one_python
@pytest.mark.parametrize(("joining", "leaving", "with_diff"), [(100_000, 0, True), (50_000, 50_000, False)])
def test_a_result_of_a_hundred_thousand_users_is_less_than_awx_drops(joining, leaving, with_diff):
    plan, state = of_many(joining, leaving)
    for entries in (1000, 20_000):
        said = report(plan, state, entries, 300_000, with_diff)
        assert len(json.dumps(said)) < 302_000 and len(str(said)) < AWX_DROPS
        assert said["report_truncated"]
        assert said["summary"]["users"]["created"] == joining and said["summary"]["users"]["deleted"] == leaving
        assert len(said["users"]["created"]) + said["report_left_out"].get("users.created", 0) == joining


@pytest.mark.on_one_python
def test_bytes_are_counted_in_less_time_than_they_take_to_write():
    plan, state = of_many(10_000, 0)

    def seconds(size: int) -> float:
        began = time.process_time()
        json.dumps(report(plan, state, 1_000_000, size, True))
        return time.process_time() - began

    assert min(seconds(300_000) for _time in range(3)) < min(seconds(1_000_000_000) for _time in range(3))


def test_what_is_removed_is_listed_before_what_is_added():
    plan, state = of_many(1000, 1000)
    said = report(plan, state, 1_000_000, 36_000)
    assert len(said["users"]["deleted"]) == 1000 and 0 < len(said["users"]["created"]) < 500
    everybody = said["changed_groups"][-1]
    assert everybody["path"] == "All/Company/Whole staff", "it loses members, and the others are new"
    removed, added = len(everybody["members_removed"]), len(everybody["members_added"])
    assert removed > 4 * added > 0
    assert everybody["left_out"] == {"members_removed": 1000 - removed, "members_added": 1000 - added}
    left_out = dict(said["report_left_out"])
    left_out.pop("changed_groups", 0)
    assert left_out == {
        "changed_groups.members_removed": 1000 - removed,
        "changed_groups.members_added": 1000 - added,
        "users.created": 1000 - len(said["users"]["created"]),
    }


def test_a_user_group_that_loses_members_is_listed_before_new_ones():
    plan, state = of_many(500, 5)
    said = report(plan, state, 1, 300_000)
    assert [group["path"] for group in said["changed_groups"]] == ["All/Company/Whole staff"]


@pytest.mark.on_one_python
def test_no_list_takes_all_bytes():
    plan, state = of_many(0, 30_000)
    said = report(plan, state, 1_000_000, 300_000)
    assert len(said["users"]["deleted"]) > 5000 and len(said["changed_groups"][-1]["members_removed"]) > 1000


def test_a_diff_says_at_its_cut_how_much_more_there_is():
    plan, state = of_many(5000, 10)
    diff = report(plan, state, 2, 300_000, True)["diff"]
    for text in (diff["before"], diff["after"]):
        assert text.splitlines()[-1] == "… and 5,057 more"
    assert "user OLD.000000" in diff["before"] and "user NEW." not in diff["after"]
    assert re.search(r"    … and 4,\d\d\d more\n", diff["after"]), "of the members of a group"


def test_a_diff_of_no_bytes_says_that_all_is_missing():
    plan, state = of_many(3, 0)
    diff = report(plan, state, 1000, 1, True)["diff"]
    assert diff["before"] == diff["after"] == "… and 4 more\n"


def test_all_is_listed_where_there_is_room_and_nothing_is_left_out():
    plan, state = of_many(200, 100)
    said = report(plan, state, 1000, 300_000, True)
    assert said["report_left_out"] == {} and said["report_truncated"] is False
    assert "…" not in said["diff"]["before"] + said["diff"]["after"]
    assert [group["path"] for group in said["changed_groups"]] == [
        *(f"All/Company/Group {number:05}" for number in range(3)),
        "All/Company/Whole staff",
    ], "in the order of their paths"


def test_limits_that_are_exceeded_are_said_first():
    plan, state = of_many(10, 10)
    refused = [
        {"limit": "users", "option": "removal_limits.users", "of": 3, "would_remove": number} for number in range(9)
    ]
    said = report(plan, state, 5, 1000, refused=refused)
    assert said["refused"] == refused[:5] and said["report_left_out"]["refused"] == 4


@examples(50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    )
)
def test_bytes_are_never_counted_for_less_than_json_has(value):
    assert len(json.dumps(value).encode()) <= size_of(value) + 2
