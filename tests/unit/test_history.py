# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a store keeps of earlier runs."""

from __future__ import annotations

import json

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _model
from ansible_collections.usersync.directory.plugins.module_utils._store import runs
from support.plans import apply, group_changes, group_record, make_plan, membership_change, user_changes, user_record
from support.snapshots import OTHER_DIRECTORY
from support.stored import members_by_key, rows
from support.stores import look

pytestmark = pytest.mark.any_store

DAY = 86400


@pytest.fixture
def path(tmp_path):
    return tmp_path / "users.db"


ANN, BEA, NURSES, NIGHT = user_record("ann"), user_record("bea"), group_record("Nurses"), group_record("Night")


def first_run(path):
    apply(
        path,
        make_plan(
            group_changes({}, {"g1": NURSES, "g2": NIGHT}),
            user_changes({}, {"u1": ANN, "u2": BEA}),
            [membership_change("g1", ["u1", "u2"], groups_added=["g2"])],
        ),
        time=1000,
    )


def left(path):
    return rows(
        path,
        "SELECT r.time, p.user_group, p.user_group_key, p.kind, p.member, p.member_key,"
        " (SELECT j.time FROM runs j WHERE j.id = p.joined_by)"
        " FROM past_memberships p JOIN runs r ON r.id = p.run_id",
    )


def records(path):
    return [
        (*row[:3], json.loads(row[3]), json.loads(row[4] or "null"))
        for row in rows(path, "SELECT p.kind, p.key, p.path, p.before, p.after FROM past_records p")
    ]


def test_what_exists_says_by_which_run_it_came(path):
    first_run(path)
    apply(path, make_plan(memberships=[membership_change("g2", ["u1"])]), time=2000)
    assert rows(
        path,
        "SELECT g.name, u.name, r.time, r.settings_digest FROM memberships m JOIN runs r"
        " ON r.id = m.run_id JOIN users u ON u.id = m.user_id JOIN user_groups g"
        " ON g.id = m.user_group_id",
    ) == [("Night", "ann", 2000, "s1"), ("Nurses", "ann", 1000, "s1"), ("Nurses", "bea", 1000, "s1")]
    for table in ("users", "nestings"):
        assert set(rows(path, "SELECT r.time FROM %s x JOIN runs r ON r.id = x.run_id" % table)) == {(1000,)}
    assert left(path) == [] and records(path) == [], "a first run writes nothing twice"


def test_who_left_which_group_when_and_since_when(path):
    first_run(path)
    apply(path, make_plan(memberships=[membership_change("g1", removed=["u2"], groups_removed=["g2"])]), time=2000)
    assert left(path) == [
        (2000, "All/Company/Nurses", "g1", "user", "bea", "u2", 1000),
        (2000, "All/Company/Nurses", "g1", "user_group", "All/Company/Night", "g2", 1000),
    ]


def test_who_ends_leaves_all_groups_of_all_synchronizations(path):
    first_run(path)
    apply(
        path,
        make_plan(
            group_changes({}, {"g9": group_record("Others", "path:All/There")}),
            memberships=[membership_change("g9", ["@S-1-5-21-1-2-3/u1"])],
            synchronization="there",
            target="All/There",
            directory=OTHER_DIRECTORY,
        ),
        time=1500,
    )
    apply(
        path,
        make_plan(
            group_changes({"g1": NURSES}, {}),
            user_changes({"u1": ANN}, {}),
            [membership_change("g1", removed=["u1", "u2"], groups_removed=["g2"])],
        ),
        time=2000,
    )
    assert left(path) == [
        (2000, "All/Company/Nurses", "g1", "user", "ann", "u1", 1000),
        (2000, "All/Company/Nurses", "g1", "user", "bea", "u2", 1000),
        (2000, "All/Company/Nurses", "g1", "user_group", "All/Company/Night", "g2", 1000),
        (2000, "All/There/Others", "g9", "user", "ann", "u1", 1500),
    ]
    assert records(path) == [
        (
            "user",
            "u1",
            "All/Company/ann",
            {"path": "All/Company/ann", "enabled": True, "sid": None, "extinct": None, "attributes": {}},
            None,
        ),
        (
            "user_group",
            "g1",
            "All/Company/Nurses",
            {"path": "All/Company/Nurses", "extinct": None, "attributes": {}},
            None,
        ),
    ]


def test_what_a_record_was_and_is(path):
    first_run(path)
    after = ANN._replace(name="ann2", home="g1", enabled=False, attributes={"email": "a@x"})
    apply(
        path,
        make_plan(
            group_changes({"g1": NURSES}, {"g1": NURSES._replace(name="Carers")}),
            user_changes({"u1": ANN}, {"u1": after}),
        ),
        time=2000,
    )
    (_kind, _key, path_now, before, now), (*group, group_before, group_now) = sorted(records(path), key=str)
    assert path_now == "All/Company/Carers/ann2"
    assert (before["path"], before["enabled"], before["attributes"]) == ("All/Company/ann", True, {})
    assert (now["path"], now["enabled"], now["attributes"]) == ("All/Company/Carers/ann2", False, {"email": "a@x"})
    assert group == ["user_group", "g1", "All/Company/Carers"]
    assert (group_before["path"], group_now["path"]) == ("All/Company/Nurses", "All/Company/Carers")


def test_what_nobody_sees_is_no_history(path):
    first_run(path)
    apply(path, make_plan(users=user_changes({"u1": ANN}, {"u1": ANN._replace(claimed=False)})))
    assert records(path) == []


def test_old_runs_go_and_what_they_changed_with_them(path):
    first_run(path)
    apply(path, make_plan(memberships=[membership_change("g1", removed=["u2"])]), time=2000)
    apply(path, make_plan(users=user_changes({"u1": ANN}, {"u1": user_record("ann2")})), time=10 * DAY)
    assert len(left(path)) == len(records(path)) == 1
    apply(path, make_plan(), time=11 * DAY, history_days=10)
    assert left(path) == [] and len(records(path)) == 1
    assert rows(path, "SELECT time FROM runs") == [(10 * DAY,), (11 * DAY,)]
    assert members_by_key(path), "and what exists stays"
    apply(path, make_plan(), time=11 * DAY + 1, history_days=0)
    assert rows(path, "SELECT time FROM runs") == [(11 * DAY + 1,)] and records(path) == []


def test_runs_that_change_nothing_do_not_pile_up(path, monkeypatch):
    monkeypatch.setattr(runs, "_IDLE_RUNS_KEPT", 3)
    first_run(path)
    for when in range(2000, 2010):
        apply(path, make_plan(), time=when, changed=False)
    assert rows(path, "SELECT time FROM runs") == [(1000,), (2006,), (2007,), (2008,), (2009,)]


def test_what_the_last_run_leaves_for_the_next(path):
    with look(str(path)) as store:
        assert runs.last_run(store, "staff") == _model.LastRun("", None, frozenset())
    held = frozenset({("user", "u1"), ("member", "g1", "u2")})
    apply(path, scope={"user_filter": "x"}, held=held, standing=_model.Standing("S", {"1": "2"}), believed=900)
    with look(str(path)) as store:
        assert runs.last_run(store, "staff") == _model.LastRun(
            "dc1", {"user_filter": "x"}, held, _model.Standing("S", {"1": "2"}), 900
        )
    apply(path, make_plan(), server="dc2")
    with look(str(path)) as store:
        assert runs.last_run(store, "staff") == _model.LastRun("dc2", None, frozenset())
