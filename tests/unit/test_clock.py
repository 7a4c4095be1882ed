# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A clock that is wrong for a run deletes nobody, and gives nobody time that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _clock, _model
from ansible_collections.usersync.directory.plugins.module_utils._plan import make
from hypothesis import given
from hypothesis import strategies as st
from support.model_store import ModelStore
from support.plans import apply, group_changes, group_record, make_plan, membership_change, user_changes, user_record
from support.snapshots import policies, user
from support.stored import rows, values

DAY = 86400
NOW = 1_800_000_000
HOURLY = [NOW - 3600 * number for number in range(1, 12)]
MONTHLY = [NOW - 30 * DAY * number for number in range(1, 12)]


def doubt(now: int, runs: list[int], there: int | None = None, changed: int | None = None) -> str:
    return _clock.judged(now, runs, there, changed).doubt


def test_an_ordinary_run() -> None:
    assert not doubt(NOW, HOURLY) and not doubt(NOW, []) and not doubt(NOW, MONTHLY)
    assert not doubt(NOW, HOURLY, there=NOW + 5 * 3600), "an hour more or less is no jump"
    clock = _clock.judged(NOW, HOURLY, None, None)
    assert clock.earlier == clock.later == NOW


@pytest.mark.parametrize("days", [-400, 400])
def test_a_clock_that_jumped(days: int) -> None:
    wrong = NOW + days * DAY
    clock = _clock.judged(wrong, HOURLY, None, None)
    assert clock.doubt
    assert clock.earlier == min(wrong, HOURLY[0]) and clock.later == max(wrong, HOURLY[0])


def test_what_the_directory_says_counts_more() -> None:
    assert doubt(NOW + 400 * DAY, HOURLY, there=NOW) == (
        "it says 2028-02-19 08:00 UTC, and the directory says 2027-01-15 08:00 UTC"
    )
    assert not doubt(NOW, [NOW - 60 * DAY], there=NOW), "this computer was off for long"
    assert not doubt(NOW, [NOW - 60 * DAY], changed=NOW - DAY), "and the directory went on"
    assert doubt(NOW, [NOW - 60 * DAY]) and doubt(NOW, [NOW - 60 * DAY], changed=NOW - 60 * DAY)
    assert doubt(NOW - 400 * DAY, [], changed=NOW) == (
        "it says 2025-12-11 08:00 UTC, and the directory last changed on 2027-01-15 08:00 UTC"
    )


def test_long_is_what_is_longer_than_usual() -> None:
    assert not _clock.is_long(NOW + 59 * DAY, MONTHLY) and _clock.is_long(NOW + 62 * DAY, MONTHLY)
    assert not _clock.is_long(HOURLY[0] + 7 * DAY, HOURLY) and _clock.is_long(HOURLY[0] + 7 * DAY + 1, HOURLY)
    jumped = [NOW, NOW + 400 * DAY, *HOURLY]
    assert _clock.is_long(NOW + 8 * DAY, jumped), "one jump does not make long pauses usual"


@given(st.integers(-(10**12), 10**12), st.lists(st.integers(-(10**12), 10**12), max_size=3))
def test_any_clock_is_told_in_a_sentence(now: int, runs: list[int]) -> None:
    clock = _clock.judged(now, runs, None, None)
    assert clock.earlier <= clock.later and isinstance(clock.doubt, str)


def test_what_ends_in_a_run_that_is_in_doubt_is_gone_since_the_later_time() -> None:
    """Else a grace would be over as soon as it began: in a set back clock, and after a pause that was real."""
    store = ModelStore()
    store.run([user("u1", "ann")])
    chosen = policies(user_extinction="delete")
    plan = make.make_plan(chosen, store.snapshot([], []), store.state(), str.casefold, _model.Times(5 * DAY, 70 * DAY))
    assert [who.since for who in plan.notes.kept_names.values() if who] == [70 * DAY]
    store.apply(plan)
    other = user("u2", "ann", unit_dn="OU=sales,DC=x")
    store.now = 99 * DAY
    store.run([other])
    assert "u2" not in store.users
    store.now = 100 * DAY
    store.run([other])
    assert "u2" in store.users


def test_a_run_in_doubt_forgets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "users.db"
    groups, users = {"g": group_record("Staff")}, {"u1": user_record("ann")}
    apply(
        path, make_plan(group_changes({}, groups), user_changes({}, users), [membership_change("g", ["u1"])]), time=NOW
    )
    apply(path, make_plan(memberships=[membership_change("g", removed=["u1"])]), time=NOW + 1)
    apply(path, time=NOW + 400 * DAY, forgets=False)
    assert values(path, "SELECT member FROM past_memberships") == ["ann"]
    assert len(rows(path, "SELECT id FROM runs")) == 3
    apply(path, time=NOW + 400 * DAY)
    assert values(path, "SELECT member FROM past_memberships") == []


def test_what_a_clock_that_was_ahead_wrote_down_is_set_right(tmp_path: Path) -> None:
    path = tmp_path / "users.db"
    groups, users = {"g": group_record("Staff")}, {"u1": user_record("ann"), "u2": user_record("bob")}
    apply(path, make_plan(group_changes({}, groups), user_changes({}, users)), time=NOW)
    ahead = NOW + 400 * DAY
    gone = {"extinct": _model.GONE}
    lost = make_plan(
        group_changes(groups, {"g": groups["g"]._replace(**gone)}),
        user_changes(users, {"u1": users["u1"]._replace(**gone), "u2": None}),
    )
    lost.notes.kept_names["user", "path:All/Company", "bob"] = _model.KeptName("u2", "k", ahead)
    apply(path, lost, time=ahead, forgets=False)
    times = "SELECT extinct_since FROM users WHERE extinct IS NOT NULL UNION ALL SELECT extinct_since FROM user_groups"
    times += " WHERE extinct IS NOT NULL UNION ALL SELECT since FROM kept_names"
    assert values(path, times) == [ahead] * 3
    apply(path, time=NOW + 3600, now=ahead, forgets=False)
    assert values(path, times) == [ahead] * 3
    apply(path, time=NOW + 7200)
    assert values(path, times) == [NOW + 7200] * 3
