# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is in a user group by nesting: what extinct user groups give, what a run reports, and what asking costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _changes, _graph, _model
from ansible_collections.usersync.directory.plugins.module_utils._report.affected import members_to_load, users_to_load
from ansible_collections.usersync.directory.plugins.module_utils._report.cut import Bounds
from ansible_collections.usersync.directory.plugins.module_utils._report.make import Looked, make_report
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples
from support.model_store import ModelStore
from support.plans import (
    apply,
    group_changes,
    group_record,
    look_up,
    make_plan,
    membership_change,
    user_changes,
    user_record,
)
from support.snapshots import group, snapshot, user
from support.stores import look

pytestmark = pytest.mark.any_store

# --- what an extinct user group gives --------------------------------------------------------------------------------


def affected(store: ModelStore, plan: _changes.Plan, state: _model.StoredState) -> list[str]:
    """The affected groups that the report of the plan has; ``store`` is as it was before."""
    users = users_to_load(plan, state, set().union(*(store.members[key] for key in members_to_load(plan, state))))
    direct = {each: sorted(key for key, members in store.members.items() if each in members) for each in users}
    report = make_report(plan, snapshot(), state, Looked(direct, {}), Bounds(1000, 10**6))
    return report["affected_groups"]


@pytest.mark.parametrize("reason", [_model.GONE, _model.OUT_OF_SCOPE])
def test_the_run_that_makes_a_group_extinct_says_whose_members_differ(reason: str) -> None:
    """The parent's list still has the child, as DNs dangle in OpenLDAP, and as a child that a filter leaves out."""
    store = ModelStore()
    people = [user("u1"), user("u2")]
    parent = group("parent", user_groups=["child"])
    top = group("top", user_groups=["parent"])
    other = group("other", members=["u2"])
    store.run(people, [top, parent, group("child", members=["u1"]), other])
    dangling = parent._replace(user_groups=[], kept_values=["CN=child"])
    state = store.state()
    plan = store.plan(people, [top, dangling, other], reason)
    assert affected(store, plan, state) == ["All/parent", "All/top"]
    store.apply(plan)
    assert store.groups["child"].extinct == reason and store.members["child"] == {"u1"}, "it keeps its members"
    assert store.nestings["parent"] == {"child"}
    state = store.state()
    back = store.plan(people, [top, parent, group("child", members=["u1"]), other])
    assert affected(store, back, state) == ["All/parent", "All/top"], "it gives them again"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with All/Company/Top > Extinct > Below, where Extinct was lost, and one user in each."""
    path = tmp_path / "users.db"
    groups = {
        "t": group_record("Top"),
        "e": group_record("Extinct"),
        "b": group_record("Below"),
    }
    users = {key: user_record(name) for key, name in (("u1", "ann"), ("u2", "bob"), ("u3", "cleo"))}
    lists = [
        membership_change("t", ["u1"], groups_added=["e"]),
        membership_change("e", ["u2"], groups_added=["b"]),
        membership_change("b", ["u3"]),
    ]
    apply(path, make_plan(group_changes({}, groups), user_changes({}, users), lists))
    assert members_of(path, "Top") == ["ann", "bob", "cleo"]
    apply(path, make_plan(group_changes(groups, dict(groups, e=groups["e"]._replace(extinct=_model.GONE)))))
    return path


def members_of(path: Path, name: str, **more: Any) -> list[str]:
    with look(str(path)) as store:
        found = look_up(store, user_group="All/Company/" + name, effective=True, **more)
    assert [each["name"] for each in found["users"]] == found["user_groups"][0]["members"]
    return found["user_groups"][0]["members"]


def test_an_extinct_group_gives_its_members_to_nobody(path: Path) -> None:
    assert members_of(path, "Top") == ["ann"]
    assert members_of(path, "Top", include_extinct=True) == ["ann"], "nobody can leave it any more"
    assert members_of(path, "Below") == ["cleo"]
    with look(str(path)) as store:
        everything = look_up(store, effective=True)
    assert {each["path"]: each["members"] for each in everything["user_groups"]} == {
        "All": [],
        "All/Company": [],
        "All/Company/Below": ["cleo"],
        "All/Company/Top": ["ann"],
    }
    assert {each["name"]: each["user_groups"] for each in everything["users"]} == {
        "ann": ["All/Company/Top"],
        "bob": [],
        "cleo": ["All/Company/Below"],
    }


def test_an_extinct_group_that_is_asked_for_shows_its_own(path: Path) -> None:
    assert members_of(path, "Extinct", include_extinct=True) == ["bob", "cleo"]
    with look(str(path)) as store:
        users = look_up(store, effective=True, include_extinct=True)["users"]
    assert {each["name"]: each["user_groups"] for each in users} == {
        "ann": ["All/Company/Top"],
        "bob": ["All/Company/Extinct"],
        "cleo": ["All/Company/Below", "All/Company/Extinct"],
    }


# --- the same as asking for each by itself ---------------------------------------------------------------------------

edges_of_few = st.dictionaries(st.integers(0, 7), st.lists(st.integers(0, 7), max_size=4))


@examples(300)
@given(edges_of_few, st.sets(st.integers(0, 7)))
def test_what_each_reaches(edges: dict[int, list[int]], start: set[int]) -> None:
    found = _graph.reach_of_each(start, edges, {node: 1 << node for node in range(8)})
    assert found.keys() == _graph.reach(start, edges)
    for node, mask in found.items():
        assert set(_graph.bits_in(mask)) == _graph.reach([node], edges), node


@given(st.sets(st.integers(0, 3000)))
def test_the_bits_in_a_number(places: set[int]) -> None:
    assert _graph.bits_in(sum(1 << place for place in places)) == sorted(places)


lists_of_few = st.lists(st.sets(st.integers(0, 3)), min_size=6, max_size=6)
nestings_of_few = st.lists(st.sets(st.integers(0, 5)), min_size=6, max_size=6)


@examples(200)
@given(
    lists_of_few, nestings_of_few, lists_of_few, nestings_of_few, st.sets(st.integers(0, 5)), st.sets(st.integers(0, 3))
)
def test_affected_is_whoever_has_other_members(
    lists: list[set[int]],
    nested: list[set[int]],
    lists_after: list[set[int]],
    nested_after: list[set[int]],
    leaving: set[int],
    disabled: set[int],
) -> None:
    def entries(lists: list[set[int]], nested: list[set[int]]) -> list[_model.UserGroup]:
        return [
            group(
                "g%d" % number,
                sorted("u%d" % each for each in lists[number]),
                user_groups=sorted("g%d" % each for each in nested[number]),
            )._replace(name="g%d" % number, members=sorted("u%d" % each for each in lists[number]))
            for number in range(6)
        ]

    people = [user("u%d" % number) for number in range(4)]
    store = ModelStore()
    store.run(people, entries(lists, nested))
    before, state = effective(store), store.state()
    kept_values = ["CN=g%d" % number for number in leaving]
    now = [
        body._replace(
            user_groups=[each for each in body.user_groups if int(each[1:]) not in leaving], kept_values=kept_values
        )
        for number, body in enumerate(entries(lists_after, nested_after))
        if number not in leaving
    ]
    plan = store.plan([user("u%d" % number, enabled=number not in disabled) for number in range(4)], now)
    found = affected(store, plan, state)
    store.apply(plan)
    after = effective(store)
    changed = {change.key for change in plan.memberships} | {change.key for change in plan.user_groups}
    assert found == sorted("All/" + key for key in store.groups if before[key] != after[key] and key not in changed)


def effective(store: ModelStore) -> dict[str, set[tuple[str, bool]]]:
    """Who is in each group by nesting, and whether they are enabled: found group by group."""
    edges = {key: [each for each in nested if not store.groups[each].extinct] for key, nested in store.nestings.items()}
    return {
        key: {
            (each, store.users[each].enabled)
            for reached in _graph.reach([key], edges)
            for each in store.members.get(reached, ())
        }
        for key in store.groups
    }


# --- what it costs ---------------------------------------------------------------------------------------------------


def steps(do: Callable[[], Any]) -> int:
    """How many lines of the collection are run: the same on every machine."""
    count = 0

    def count_lines(frame: Any, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return count_lines if "module_utils" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(count_lines)
    try:
        do()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("ring", [False, True], ids=["all in those before", "all in all"])
def test_a_report_costs_users_plus_edges(ring: bool) -> None:
    """A mesh of 150 user groups, and 3,000 users who are disabled: not a look at each edge for each user."""
    keys = ["g%03d" % number for number in range(150)]
    nestings = {
        key: {child: () for at, child in enumerate(keys) if at > number or ring and at != number}
        for number, key in enumerate(keys)
    }
    edges = sum(map(len, nestings.values()))
    state = _model.StoredState(
        "All", False, {key: group_record(key, "path:All") for key in keys}, nestings, {}, {}, {}, {}, {}
    )
    people = {"u%04d" % number: user_record("u%04d" % number, "path:All") for number in range(3000)}
    direct = {reference: [keys[number % 150], "g149"] for number, reference in enumerate(people)}
    looked = Looked({reference: sorted(set(where)) for reference, where in direct.items()}, {})
    after = {reference: record._replace(enabled=False) for reference, record in people.items()}
    disabled = make_plan(users=user_changes(people, after))
    leaving = make_plan(memberships=[membership_change("g149", removed=sorted(people))])
    for plan in (disabled, leaving):
        count = steps(lambda plan=plan: make_report(plan, snapshot(), state, looked, Bounds(1000, 10**6)))
        assert count < 40 * (len(people) + edges), "users and edges are %d" % (len(people) * edges)


def test_a_look_up_costs_what_it_returns(tmp_path: Path) -> None:
    """A mesh of 100 user groups, each nested in all before it, and 1,000 users in the last one."""
    path = tmp_path / "users.db"
    keys = ["g%03d" % number for number in range(100)]
    people = {"u%03d" % number: user_record("u%03d" % number) for number in range(1000)}
    lists = [
        membership_change(key, sorted(people) if key == keys[-1] else (), groups_added=keys[number + 1 :])
        for number, key in enumerate(keys)
    ]
    apply(path, make_plan(group_changes({}, {key: group_record(key) for key in keys}), user_changes({}, people), lists))
    found: dict[str, Any] = {}

    def ask() -> None:
        with look(str(path)) as store:
            found.update(look_up(store, effective=True))

    count = steps(ask)
    returned = sum(len(each["members"]) for each in found["user_groups"])
    returned += sum(len(each["user_groups"]) for each in found["users"])
    assert returned == 2 * 100 * 1000
    assert count < 5 * (returned + 100 * 100 // 2)
