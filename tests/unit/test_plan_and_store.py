# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Planning and a store together: two synchronizations of one directory and one of another share a store."""

from __future__ import annotations

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import (
    _limits,
    _model,
    _options,
    _settings,
    _synchronize,
)
from ansible_collections.usersync.directory.plugins.module_utils._directory import presets
from ansible_collections.usersync.directory.plugins.module_utils._plan.conclusions import conclusions
from ansible_collections.usersync.directory.plugins.module_utils._plan.digests import plan_digest
from ansible_collections.usersync.directory.plugins.module_utils._plan.make import make_plan
from ansible_collections.usersync.directory.plugins.module_utils._report.affected import members_to_load, users_to_load
from ansible_collections.usersync.directory.plugins.module_utils._report.cut import Bounds
from ansible_collections.usersync.directory.plugins.module_utils._report.lists import names_to_load
from ansible_collections.usersync.directory.plugins.module_utils._report.make import Looked, make_report
from ansible_collections.usersync.directory.plugins.module_utils._store import for_report
from ansible_collections.usersync.directory.plugins.module_utils._store.apply import apply as apply_plan
from ansible_collections.usersync.directory.plugins.module_utils._store.by_hand import make_user
from ansible_collections.usersync.directory.plugins.module_utils._store.load import load_state
from hypothesis import example, given
from hypothesis import strategies as st
from support import histories, stored
from support.examples import examples
from support.folders import scratch_folder
from support.histories import directories
from support.plans import digests, run_record
from support.snapshots import DIRECTORY, group, policies, units_of, user
from support.stores import exists, look, open_store

pytestmark = pytest.mark.any_store

OTHER_DIRECTORY = _model.Directory("dc=other#1", "openldap")

# Synchronization -> directory, target.
SYNCHRONIZATIONS = {
    "one": (DIRECTORY, ["All", "One"]),
    "two": (DIRECTORY, ["All", "Two"]),
    "there": (OTHER_DIRECTORY, ["All", "One"]),
}
SALT = b"salt"


def snapshot_of(name, directory, users, groups, digests, leave_out):
    """What the reader makes of the entries, given the digests."""
    users = {body.key: body for body in users}
    groups = {body.key: body for body in groups}
    lost = {key: _model.GONE for key in digests.users if key not in users}
    lost_groups = {key: _model.GONE for key in digests.user_groups if key not in groups}
    units = units_of(*users.values(), *groups.values())
    for key, body in users.items():
        stored = digests.users.get(key, b"")
        if stored is None or leave_out and stored == body.digest:
            users[key] = None
    for key, body in groups.items():
        if leave_out and digests.user_groups.get(key) == body.members_digest:
            groups[key] = body._replace(members=None)
    return _model.Snapshot(directory, users, groups, lost, lost_groups, [], [], {}, {}, [], units=units)


def plan_in(store, name, users, groups, leave_out, chosen):
    directory, target = SYNCHRONIZATIONS[name]
    snapshot = snapshot_of(name, directory, users, groups, digests(store, name, SALT), leave_out)
    state = load_state(store, name, target, snapshot)
    plan = make_plan(policies(name=name, **chosen), snapshot, state, str.casefold)
    return snapshot, state, plan


def report_in(store, name, snapshot, state, plan):
    nested = for_report.direct_members(store, members_to_load(plan, state), name)
    direct = for_report.direct_groups(store, users_to_load(plan, state, nested), name)
    looked = Looked(direct, for_report.names(store, names_to_load(plan, state), name))
    return make_report(plan, snapshot, state, looked, Bounds(1000, 10**6, with_diff=True))


def apply(store, plan):
    apply_plan(store, plan, run_record(salt=SALT, changed=not plan.is_empty))
    store.commit()


def effective_members(path):
    """{path of a user group: (all effective members, those whom look-ups show)}, found by other means; users are ids.

    The store itself has no problem, whatever came before.
    """
    assert stored.problems(path) == []
    names = {
        number: (parent, name)
        for number, parent, name in stored.rows(path, "SELECT id, parent_id, name FROM user_groups")
    }
    members, nested = {}, {}
    for number, member in stored.rows(path, "SELECT user_group_id, user_id FROM memberships"):
        members.setdefault(number, set()).add(member)
    for number, child in stored.rows(path, "SELECT user_group_id, nested_id FROM nestings"):
        nested.setdefault(number, set()).add(child)
    visible = set(stored.values(path, "SELECT id FROM users WHERE enabled = 1 AND extinct IS NULL"))
    extinct = set(stored.values(path, "SELECT id FROM user_groups WHERE extinct IS NOT NULL"))
    found, expected = {}, set()
    for number in names:
        reached, todo = set(), [number]
        while todo:
            node = todo.pop()
            if node not in reached:
                reached.add(node)
                todo.extend(nested.get(node, set()) - extinct)
        everybody = set().union(*(members.get(node, set()) for node in reached))
        where, node = [], number
        while node is not None:
            node, name = names[node]
            where.append(name)
        path_of_group = "/".join(reversed(where))
        found[path_of_group] = (everybody, everybody & visible)
        if number not in extinct:
            expected.update((path_of_group, user) for user in everybody & visible)
    view = "SELECT g.path, m.user_id FROM view_effective_members m JOIN view_user_groups g USING (user_group_id)"
    assert sorted(stored.rows(path, view)) == sorted(expected)
    return found


@examples(60)
@given(
    st.booleans(),
    st.lists(
        st.tuples(
            st.sampled_from(sorted(SYNCHRONIZATIONS)),
            directories(),
            st.booleans(),
            histories.policies(),
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_histories(by_hand, steps):
    with scratch_folder() as folder:
        path = str(folder / "users.db")
        if by_hand:
            with open_store(path) as store:
                make_user(
                    store, ["All", "One"], "Bob", {"attributes": {}, "local_attributes": {"shell": "zsh"}, "sid": "S-1"}
                )
                store.commit()
        before = effective_members(path) if by_hand else {}
        for name, (users, groups), leave_out, chosen in steps:
            claimed = claims(path, name)
            with look(path) as store:
                snapshot, state, dry = plan_in(store, name, users, groups, leave_out, chosen)
                report = report_in(store, name, snapshot, state, dry)
            with open_store(path) as store:
                plan = plan_in(store, name, users, groups, leave_out, chosen)[2]
                apply(store, plan)
            assert plan_digest(plan) == plan_digest(dry), "the dry run told the truth"
            after = effective_members(path)
            check_report(report, before, after)
            before = after
            assert claimed <= claims(path, name) | (set(claimed) - {body.key for body in users}), "who is listed stays"
            with look(path) as store:
                for again in (False, True):
                    nothing = plan_in(store, name, users, groups, again, chosen)[2]
                    assert nothing.is_empty, "the second run changes nothing"


POLICIES = {
    "user_collision": "skip",
    "user_extinction": "skip",
    "user_group_extinction": "skip",
    "user_extinction_grace_days": 0,
}
ANN = user("u0", "ann", attributes={"email": "x@example.com"})


# one takes over what two wrote and claims no more: its value counts, too
@examples(150)
@example(
    steps=[
        ("two", ([ANN], []), False, POLICIES),
        ("one", ([ANN], []), False, POLICIES),
        ("two", ([], []), False, POLICIES),
        ("one", ([user("u0", "ann")], []), False, POLICIES),
    ]
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(SYNCHRONIZATIONS)),
            directories(),
            st.booleans(),
            histories.policies(user_extinction_grace_days=st.sampled_from((0, 0, 30))),
        ),
        min_size=2,
        max_size=6,
    )
)
def test_what_is_counted_is_of_what_it_is_compared_with(steps):
    """So that 100 % lets everything through, whatever is extinct, claimed by others, or made by hand."""
    with scratch_folder() as folder:
        path = str(folder / "users.db")
        with open_store(path) as store:
            make_user(store, ["All", "One"], "Bob", {"attributes": {}, "local_attributes": {}, "sid": None})
            store.commit()
        for name, (users, groups), leave_out, chosen in steps:
            with open_store(path) as store:
                snapshot, state, plan = plan_in(store, name, users, groups, leave_out, chosen)
                owned = _synchronize._owned(
                    policies(name=name), store, presets.PRESETS["openldap"], snapshot, state, plan
                )
                assert _limits._exceeded(plan, state, owned, dict.fromkeys(_limits.KINDS, "100%")) == []
                apply(store, plan)


def memberships(path):
    """{(synchronization of the group, its id, user id)}."""
    return set(
        stored.rows(
            path,
            "SELECT s.name, g.id, m.user_id FROM memberships m JOIN user_groups g ON g.id = m.user_group_id"
            " LEFT JOIN synchronizations s ON s.id = g.synchronization_id",
        )
    )


def users_in(path):
    return set(stored.values(path, "SELECT id FROM users"))


def leaving(path, name, state):
    """End a synchronization, as a run does that is asked to."""
    specification = _options.module_arguments(_options.CONNECTION, _options.STORE, _options.SYNCHRONIZATION)
    options = {option: described.get("default") for option, described in specification["argument_spec"].items()}
    settings = _settings.settings_from({**options, "name": name, "state": state, "store": path}, None)
    with open_store(path) as store:
        planned = _synchronize._plan_leaving(
            _synchronize._Run(settings, store, print, 0, 0.0, _synchronize._LastRead(), None, (None, 0))
        )
        if not planned.is_nothing:
            apply(store, planned.plan)


@examples(100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(SYNCHRONIZATIONS)),
            directories(),
            st.sampled_from(("run", "run", "hold", "released", "absent")),
            histories.policies(user_collision=("skip", "merge")),
        ),
        min_size=2,
        max_size=7,
    )
)
def test_what_is_held_and_what_others_have_survives(steps):
    with scratch_folder() as folder:
        path = str(folder / "users.db")
        for name, (users, groups), how, chosen in steps:
            if how in ("released", "absent"):
                if exists(path):
                    check_leaving(path, name, how)
                continue
            with open_store(path) as store:
                snapshot, state, plan = plan_in(store, name, users, groups, False, chosen)
                if how == "hold":
                    held = conclusions(plan, snapshot)
                    plan = make_plan(policies(name=name, **chosen), snapshot, state, str.casefold, held=held)
                    extinct = {key for key, stored in state.users.items() if stored.record.extinct}
                    # An applied run has seen that they are gone: the policy of today may delete them, members included.
                    gone = {key for key, stored in state.user_groups.items() if stored.extinct}
                    for change in plan.users:
                        assert not change.removes or change.before.extinct, change
                    for change in plan.memberships:
                        assert (
                            change.key in gone
                            or set(change.users_removed) <= extinct | {"#"}
                            and not (set(change.user_groups_removed) & set(snapshot.user_groups))
                        ), change
                apply(store, plan)
            effective_members(path)  # which looks whether the file is sound


def check_leaving(path, name, how):
    members, people = memberships(path), users_in(path)
    others = {row[1:] for row in members if row[0] != name}
    kept = {key: claims(path, key) for key in SYNCHRONIZATIONS if key != name}
    leaving(path, name, how)
    effective_members(path)
    assert claims(path, name) == set()
    assert {key: claims(path, key) for key in kept} == kept, "what others claim stays theirs"
    now = memberships(path)
    if how == "released":
        assert users_in(path) == people
        assert {row[1:] for row in now} == {row[1:] for row in members}
    else:
        assert {row for row in others if row[1] in users_in(path)} <= {row[1:] for row in now}
        assert not any(row[0] == name for row in now)


def test_a_group_stays_as_long_as_somebody_elses_user_sits_in_it(tmp_path):
    path = str(tmp_path / "users.db")
    ward, ann = group("g0", "Ward"), user("u0", "ann", home="g0")

    def run(name, users, groups):
        with open_store(path) as store:
            plan = plan_in(store, name, users, groups, False, {"user_group_extinction": "delete"})[2]
            apply(store, plan)
        return plan

    run("one", [ann], [ward])
    run("two", [user("u0", "ann")], [])
    run("one", [], [])
    assert claims(path, "two") == {"u0"}
    assert run("one", [], []).is_empty
    run("two", [user("u0", "ann")], [])  # takes her over, home included
    assert [change.after for change in run("one", [], []).user_groups] == [None]


def test_whose_claim_was_the_last_goes_on_to_keep_the_extinct_user(tmp_path):
    path = str(tmp_path / "users.db")
    skip = {"user_extinction": "skip"}

    def run(name, users, groups):
        with open_store(path) as store:
            plan = plan_in(store, name, users, groups, False, skip)[2]
            apply(store, plan)
        return plan

    run("two", [user("u0", "ann")], [])
    run("one", [user("u0", "ann")], [group("g1", members=["u0"])])
    run("two", [], [])
    run("one", [], [group("g1")])
    for _run in range(2):
        assert run("one", [], [group("g1")]).is_empty
    assert effective_members(path)["All/One/g1"][0], "a policy of skip keeps the record as it is"


def claims(path, name):
    """Stable keys of the users that a synchronization claims, those who are extinct apart."""
    if not exists(path):
        return set()
    return set(
        stored.values(
            path,
            "SELECT u.key FROM claims c JOIN users u ON u.id = c.user_id"
            " JOIN synchronizations s ON s.id = c.synchronization_id WHERE s.name = ? AND u.extinct IS NULL",
            name,
        )
    )


def check_report(report, before, after):
    """Affected groups are exactly those whose effective or visible members differ and that did not change."""
    changed = {entry["path"] for entry in report["changed_groups"]}
    verbs = {verb for entry in report["changed_groups"] for verb in entry["changes"]}
    affected, unchanged = set(report["affected_groups"]), set(report["unchanged_groups"])
    assert not (changed & affected or changed & unchanged or affected & unchanged)
    if verbs & {"renamed", "moved", "created", "deleted"} or report["users"]["deleted"] or report["users"]["created"]:
        return  # paths or ids are others now: not to be compared this simply
    for path in affected:
        assert before[path] != after[path], path
    for path in unchanged:
        assert before[path] == after[path], path
