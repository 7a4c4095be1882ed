# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store: what it writes for a plan, and what it gives back.

It is looked at with plain SQL, never through the store itself.
"""

from __future__ import annotations

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _model, _names
from ansible_collections.usersync.directory.plugins.module_utils._plan import make
from ansible_collections.usersync.directory.plugins.module_utils._plan.digests import plan_digest
from ansible_collections.usersync.directory.plugins.module_utils._plan.fates import user_change
from ansible_collections.usersync.directory.plugins.module_utils._store import (
    by_hand,
    events,
    for_report,
    references,
    runs,
    write_user_groups,
)
from ansible_collections.usersync.directory.plugins.module_utils._store.apply import apply as apply_plan
from ansible_collections.usersync.directory.plugins.module_utils._store.contract import StoreError
from ansible_collections.usersync.directory.plugins.module_utils._store.load import load_state
from hypothesis import given
from hypothesis import strategies as st
from support import snapshots, stored
from support.examples import examples
from support.folders import scratch_folder
from support.histories import histories
from support.plans import (
    TARGET,
    apply,
    digests,
    everybody,
    group_changes,
    group_record,
    load,
    look_up,
    make_plan,
    make_user,
    membership_change,
    notes,
    run_record,
    user_changes,
    user_record,
    wanted,
)
from support.snapshots import DIRECTORY, OTHER_DIRECTORY, snapshot
from support.stored import members_by_key, problems, rows, user_groups_by_path, users_by_path
from support.stores import exists, look, open_store

pytestmark = pytest.mark.any_store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store" / "users.db"


# --- names and places ------------------------------------------------------------------------------------------------


def test_names_swapped_and_rotated_between_users(path):
    before = {
        "u1": user_record("ann"),
        "u2": user_record("bea"),
        "u3": user_record("cleo"),
        "u4": user_record("dora"),
        "u5": user_record("emma"),
    }
    after = {
        "u1": user_record("bea"),
        "u2": user_record("ann"),
        "u3": user_record("dora"),
        "u4": user_record("emma"),
        "u5": user_record("CLEO"),
    }
    apply(path, make_plan(users=user_changes({}, before)))
    apply(path, make_plan(users=user_changes(before, after)))
    assert users_by_path(path) == {
        "All/Company/bea": "u1",
        "All/Company/ann": "u2",
        "All/Company/dora": "u3",
        "All/Company/emma": "u4",
        "All/Company/CLEO": "u5",
    }


def test_a_name_that_changes_only_its_case(path):
    apply(
        path, make_plan(group_changes({}, {"g1": group_record("staff")}), user_changes({}, {"u1": user_record("ann")}))
    )
    apply(
        path,
        make_plan(
            group_changes({"g1": group_record("staff")}, {"g1": group_record("Staff")}),
            user_changes({"u1": user_record("ann")}, {"u1": user_record("Ann")}),
        ),
    )
    assert "All/Company/Staff" in user_groups_by_path(path) and "All/Company/Ann" in users_by_path(path)


def test_a_place_that_is_freed_and_taken_in_one_plan(path):
    before = {"u1": user_record("ann"), "u2": user_record("bea")}
    apply(
        path,
        make_plan(
            group_changes({}, {"g1": group_record("staff")}),
            user_changes({}, before),
            [membership_change("g1", ["u1", "u2"])],
        ),
    )
    after = {"u2": user_record("ann"), "u3": user_record("bea")}
    apply(
        path,
        make_plan(
            group_changes({"g1": group_record("staff")}, {"g2": group_record("staff")}),
            user_changes(before, after),
            [membership_change("g1", [], ["u1", "u2"]), membership_change("g2", ["u3"])],
        ),
    )
    assert users_by_path(path) == {"All/Company/ann": "u2", "All/Company/bea": "u3"}
    assert user_groups_by_path(path)["All/Company/staff"] == "g2"
    assert members_by_key(path) == {("g2", "u3")}


def test_user_groups_that_swap_names_and_change_places_with_their_parents(path):
    before = {"g1": group_record("a"), "g2": group_record("b", "g1"), "g3": group_record("c"), "g4": group_record("d")}
    after = {
        "g1": group_record("b", "g2"),
        "g2": group_record("a"),
        "g3": group_record("d"),
        "g4": group_record("c", "g5"),
        "g5": group_record("e", "g3"),
    }
    apply(path, make_plan(group_changes({}, before)))
    apply(path, make_plan(group_changes(before, after)))
    assert user_groups_by_path(path) == {
        "All": None,
        "All/Company": None,
        "All/Company/a": "g2",
        "All/Company/a/b": "g1",
        "All/Company/d": "g3",
        "All/Company/d/e": "g5",
        "All/Company/d/e/c": "g4",
    }


def test_a_tree_is_deleted_with_the_users_in_it_and_others_move_out(path):
    tree = {"g1": group_record("a"), "g2": group_record("b", "g1"), "g3": group_record("c", "g2")}
    people = {"u1": user_record("ann", "g3"), "u2": user_record("bea", "g3")}
    apply(
        path,
        make_plan(
            group_changes({}, tree), user_changes({}, people), [membership_change("g3", ["u1", "u2"], [], ["g1"])]
        ),
    )
    apply(path, make_plan(group_changes(tree, {}), user_changes(people, {"u2": user_record("bea")})))
    assert user_groups_by_path(path) == {"All": None, "All/Company": None}
    assert users_by_path(path) == {"All/Company/bea": "u2"}
    assert members_by_key(path) == set() and rows(path, "SELECT * FROM nestings") == []


NAMES = st.sampled_from(["ann", "Ann", "bea", "BEA", "cleo", "dörte", "DÖRTE", "a/b", "a\\b"])
KEYS = st.sampled_from(["u1", "u2", "u3", "u4", "u5", "u6"])
HOMES = st.sampled_from([TARGET, "g1", "g2"])


@st.composite
def random_users(draw):
    """Users of whom no two sit in one place."""
    found, taken = {}, set()
    for key, name, home in draw(st.lists(st.tuples(KEYS, NAMES, HOMES), unique_by=lambda row: row[0])):
        if (home, _names.name_key(name)) not in taken:
            taken.add((home, _names.name_key(name)))
            found[key] = user_record(name, home)
    return found


@st.composite
def random_trees(draw):
    """User groups of whom no two sit in one place, in any order of the keys."""
    found, taken = {}, set()
    for key in draw(st.permutations(["g1", "g2", "g3", "g4", "g5"]))[: draw(st.integers(0, 5))]:
        name, parent = draw(NAMES), draw(st.sampled_from([TARGET, *found]))
        if (parent, _names.name_key(name)) not in taken:
            taken.add((parent, _names.name_key(name)))
            found[key] = group_record(name, parent)
    return found


@examples(60)
@given(random_users(), random_users())
def test_any_users_become_any_others(before, after):
    with scratch_folder() as folder:
        path = folder / "users.db"
        homes = group_changes({}, {"g1": group_record("one"), "g2": group_record("two")})
        apply(path, make_plan(homes, user_changes({}, before)))
        apply(path, make_plan(users=user_changes(before, after)))
        found = load(path, everybody("u1", "u2", "u3", "u4", "u5", "u6")).users
        assert {key: stored.record for key, stored in found.items()} == after
        assert problems(path) == []


@examples(60)
@given(random_trees(), random_trees())
def test_any_tree_becomes_any_other(before, after):
    with scratch_folder() as folder:
        path = folder / "users.db"
        apply(path, make_plan(group_changes({}, before)))
        apply(path, make_plan(group_changes(before, after)))
        assert load(path).user_groups == after
        assert problems(path) == []


# --- the target ------------------------------------------------------------------------------------------------------


def test_the_target_is_made_and_spelled_as_stored(path):
    apply(path)
    assert user_groups_by_path(path) == {"All": None, "All/Company": None}
    state = load(path, target="All/COMPANY/New")
    assert (state.target, state.target_missing) == ("All/Company/New", True)
    assert load(path, target="All/COMPANY").target == "All/Company"
    with look(str(path)) as store:
        assert references.has_user_group(store, ["All", "COMPANY"]) and not references.has_user_group(
            store, ["All", "Company", "New"]
        )
    apply(path, make_plan(target="All/COMPANY"))
    assert user_groups_by_path(path) == {"All": None, "All/Company": None}


def test_what_was_made_meanwhile_is_there(path):
    apply(path)
    with open_store(str(path)) as store:
        names = ["All", "Company", "Late"]
        assert load_state(store, "staff", names, snapshot()).target_missing
        write_user_groups.make(store, names)
        assert not load_state(store, "staff", names, snapshot()).target_missing


def moved(target, **more):
    before, after = {"g1": group_record("staff")}, {"g1": group_record("staff", "path:" + target)}
    return make_plan(group_changes(before, after), target=target, **more)


def test_the_old_target_goes_when_it_was_made_for_this_and_is_empty(path):
    apply(path, make_plan(group_changes({}, {"g1": group_record("staff", "path:All/A/B")}), target="All/A/B"))
    apply(path, moved("All/New"))
    assert user_groups_by_path(path) == {"All": None, "All/New": None, "All/New/staff": "g1"}


def test_the_old_target_goes_no_further_than_the_new_one(path):
    apply(path, make_plan(group_changes({}, {"g1": group_record("staff", "path:All/A/B")}), target="All/A/B"))
    apply(path, moved("All/A"))
    assert user_groups_by_path(path) == {"All": None, "All/A": None, "All/A/staff": "g1"}


def a_group_by_hand(store):
    write_user_groups.make(store, ["All", "Company"])


def with_a_group(store):
    apply_plan(store, make_plan(), run_record())
    write_user_groups.make(store, ["All", "Company", "By hand"])


def with_a_user(store):
    apply_plan(store, make_plan(), run_record())
    make_user(store, ["All", "Company"], "zoe")


def with_another_synchronization(store):
    apply_plan(store, make_plan(synchronization="other"), run_record())


def test_kept_names_go_with_the_tree_in_place_of_those_that_are_kept_there(path):
    def keeping(name, key, target):
        place = "user", "path:" + target, name
        return notes()._replace(kept_names={place: _model.KeptName(key, "unit", 1000)})

    apply(path, make_plan(target="All/Old", notes=keeping("bob", "u1", "All/Old")))
    other = {"synchronization": "other", "target": "All/New"}
    apply(path, make_plan(notes=keeping("bob", "u2", "All/New"), **other))
    apply(path, make_plan(notes=keeping("eve", "u3", "All/New"), **other))
    apply(path, make_plan(target="All/New"))
    assert rows(
        path,
        "SELECT g.name, k.name_key, k.key FROM kept_names k JOIN user_groups g ON g.id = k.user_group_id",
    ) == [("New", "bob", "u1"), ("New", "eve", "u3")]


@pytest.mark.parametrize("prepare", [a_group_by_hand, with_a_group, with_a_user, with_another_synchronization])
def test_the_old_target_stays_when_it_serves_others(path, prepare):
    with open_store(str(path)) as store:
        prepare(store)
        store.commit()
    apply(path, make_plan(group_changes({}, {"g1": group_record("staff")})))
    apply(path, moved("All/New"))
    assert {"All/Company", "All/New/staff"} <= set(user_groups_by_path(path))


# --- who owns, writes and claims -------------------------------------------------------------------------------------


def test_another_synchronization_claims_a_user_and_takes_it_over_when_the_giver_lets_go(path):
    ann = user_record("ann")
    apply(path, make_plan(users=user_changes({}, {"u1": ann}), notes=notes({"u1": b"one"})))

    stored = load(path, everybody("u1"), "other", "All/Other").users["u1"]
    assert (stored.record.claimed, stored.is_written_here, stored.other_claims) == (False, False, 1)
    claim = make_plan(
        users=[user_change("u1", ann._replace(claimed=False), ann)], synchronization="other", target="All/Other"
    )
    apply(path, claim)
    with look(str(path)) as store:
        assert digests(store, "staff").users == {"u1": b"one"}
        assert digests(store, "other").users == {"u1": None}
        assert digests(store, "other", b"pepper").users == {"u1": None}
        assert digests(store, "staff", b"pepper").users == {"u1": b""}
    stored = load(path, everybody("u1")).users["u1"]
    assert (stored.record.claimed, stored.is_written_here, stored.other_claims) == (True, True, 1)

    apply(path, make_plan(users=[user_change("u1", ann, ann._replace(claimed=False))]))
    with look(str(path)) as store:
        assert digests(store, "staff").users == {}
        assert digests(store, "other").users == {"u1": b""}, "no digest of another's settings is compared"
    stored = load(path, snapshot(lost_users={"u1": _model.GONE}), "other", "All/Other").users["u1"]
    assert (stored.record.claimed, stored.is_written_here, stored.other_claims) == (True, True, 0)

    apply(path, make_plan(synchronization="other", target="All/Other", notes=notes({"u1": b"two"})))
    with look(str(path)) as store:
        assert digests(store, "other").users == {"u1": b"two"}
    assert load(path, everybody("u1")).users["u1"].is_written_here is False


def test_an_extinct_user_belongs_to_its_giver_until_somebody_claims_it(path):
    ann = user_record("ann")
    gone = ann._replace(claimed=False, extinct=_model.GONE)
    apply(path, make_plan(users=user_changes({}, {"u1": ann})))
    apply(path, make_plan(users=user_changes({"u1": ann}, {"u1": gone})), time=2000)
    assert rows(path, "SELECT extinct, extinct_since FROM users") == [("gone", 2000)]
    assert load(path).users["u1"] == _model.StoredUser("u1", gone, True, 0, False, 2000)
    assert load(path, synchronization="other").users == {}
    sits_there = load(path, snapshot([snapshots.user("u9", "ANN")]), "other").users["u1"]
    assert sits_there.is_written_here is False
    assert load(path, everybody("u1"), "other").users["u1"].is_written_here is True

    apply(
        path, make_plan(users=user_changes({"u1": gone}, {"u1": gone._replace(extinct=_model.OUT_OF_SCOPE)})), time=3000
    )
    assert rows(path, "SELECT extinct, extinct_since FROM users") == [("out_of_scope", 2000)]
    apply(path, make_plan(users=user_changes({"u1": gone}, {"u1": ann}), synchronization="other"), time=4000)
    assert rows(path, "SELECT extinct, extinct_since FROM users") == [(None, None)]
    assert load(path, everybody("u1")).users["u1"].is_written_here is False


def test_a_user_record_made_by_hand_is_adopted_and_released(path):
    with open_store(str(path)) as store:
        write_user_groups.make(store, ["All", "Hand/made"])
        make_user(store, ["All", "Hand/made"], "Ann", {"email": "hand"}, {"badge": "7"}, "S-1")
        make_user(store, ["All"], "Bob", {}, {"badge": "8"})
        store.commit()
    found = snapshot([snapshots.user("u1", "x", sid="S-1"), snapshots.user("u2", "BOB")])
    found = load(path, found, target="All").users
    assert set(found) == {"#All/Hand\\/made/Ann", "#All/Bob"}
    ann, bob = found["#All/Hand\\/made/Ann"].record, found["#All/Bob"].record
    assert ann == _model.UserRecord("Ann", "path:All/Hand\\/made", True, "S-1", None, {"email": "hand"}, "", False)

    home = "path:All"
    apply(
        path,
        make_plan(
            target="All",
            users=[
                user_change("u1", ann, user_record("ann", home, sid="S-1"), "#All/Hand\\/made/Ann", "merge"),
                user_change("u2", bob, user_record("bob", home), "#All/Bob", "overwrite"),
            ],
            notes=notes({"u1": b"1", "u2": b"2"}),
        ),
    )
    assert rows(path, "SELECT name, local_attributes, attributes, adopted, key FROM users ORDER BY name") == [
        ("ann", '{"badge":"7"}', "{}", 1, "u1"),
        ("bob", "{}", "{}", 0, "u2"),
    ]
    found = load(path, everybody("u1", "u2"), target="All").users
    assert found["u1"] == _model.StoredUser("u1", user_record("ann", home, sid="S-1"), True, 0, True)
    assert found["u2"] == _model.StoredUser("u2", user_record("bob", home), True, 0, False)
    with look(str(path)) as store:
        assert digests(store, "staff").users == {"u1": b"1", "u2": b"2"}

    apply(
        path,
        make_plan(
            target="All",
            users=[user_change("u1", found["u1"].record, found["u1"].record._replace(claimed=False), is_released=True)],
        ),
    )
    assert rows(
        path,
        "SELECT key, directory_id, synchronization_id, adopted, extinct, digest, local_attributes "
        "FROM users WHERE name = 'ann'",
    ) == [(None, None, None, 0, None, b"", '{"badge":"7"}')]
    with look(str(path)) as store:
        assert digests(store, "staff").users == {"u2": b"2"}
    assert "#All/ann" in load(path, snapshot([snapshots.user("u1", "ann")]), target="All").users


def test_who_adopts_a_record_writes_it_though_nothing_in_it_differs(path):
    with open_store(str(path)) as store:
        apply_plan(store, make_plan(), run_record())
        make_user(store, ["All", "Company"], "ann")
        store.commit()
    hand = user_record("ann", dn="", claimed=False)
    apply(path, make_plan(users=[user_change("u1", hand, user_record("ann", dn=""), "#All/Company/ann", "merge")]))
    writers = "SELECT s.name FROM users u JOIN synchronizations s ON s.id = u.synchronization_id"
    assert rows(path, writers) == [("staff",)]


def test_a_list_follows_the_record_that_its_member_adopts(path):
    with open_store(str(path)) as store:
        make_user(store, ["All"], "ann")
        apply_plan(
            store,
            make_plan(
                group_changes({}, {"g1": group_record("staff")}), memberships=[membership_change("g1", ["#All/ann"])]
            ),
            run_record(),
        )
        hand = _model.UserRecord("ann", "path:All", True, None, None, {}, "", False)
        apply_plan(
            store,
            make_plan(
                users=[user_change("u1", hand, user_record("ann"), "#All/ann", "merge")],
                memberships=[membership_change("g1", ["u1"], ["#All/ann"])],
            ),
            run_record(),
        )
        store.commit()
    assert members_by_key(path) == {("g1", "u1")}


def test_users_of_another_directory_are_known_by_sid_and_listed(path):
    identity = "o=a/b \\ 17"
    other = _model.Directory(identity, "openldap")
    apply(
        path,
        make_plan(
            users=user_changes({}, {"k/1": user_record("zoe", "path:All/Far", sid="S-1-9")}),
            synchronization="far",
            target="All/Far",
            directory=other,
        ),
    )
    apply(path)
    with look(str(path)) as store:
        foreign = digests(store, "staff").foreign_users
        assert digests(store, "far").foreign_users == {}
    reference = foreign["S-1-9"]
    assert reference.startswith("@")
    apply(
        path,
        make_plan(group_changes({}, {"g1": group_record("staff")}), memberships=[membership_change("g1", [reference])]),
    )
    assert members_by_key(path) == {("g1", "k/1")}
    state = load(path, snapshot([snapshots.user("u1", "x", sid="S-1-9")], [snapshots.group("g1", "staff")]))
    assert state.members == {"g1": {reference: ()}}
    assert state.users[reference].is_written_here is False
    assert state.users[reference].record.home == "path:All/Far"


def test_a_synchronization_keeps_to_its_directory(path):
    apply(path)
    with look(str(path)) as store:
        assert runs.directory_of(store, "staff") == DIRECTORY.identity
        assert runs.directories(store) == [DIRECTORY.identity]
    content = stored.dump(path)
    with pytest.raises(StoreError, match="^name: .*another directory"):
        apply(path, make_plan(directory=OTHER_DIRECTORY))
    assert stored.dump(path) == content


def test_the_record_of_the_last_run(path):
    apply(path, selected={"OU=x": "k"})
    apply(path, changed=False, time=2000, selected={"OU=y": "k"})
    assert rows(path, "SELECT time, seconds, server, mode, changed, counts, plan_digest FROM runs") == [
        (1000, 0.5, "dc1", "full", 1, '{"users":1}', "d1"),
        (2000, 0.5, "dc1", "full", 0, '{"users":1}', "d1"),
    ]
    assert rows(path, "SELECT settings FROM synchronizations") == [('{"name":"staff"}',)]
    with look(str(path)) as store:
        assert digests(store, "staff").selected == {"OU=y": "k"}
    assert rows(path, "SELECT count(*) FROM runs") == [(2,)]


# --- the stored state ------------------------------------------------------------------------------------------------


def test_only_users_that_may_be_concerned_are_loaded(path):
    stored = {"u%d" % number: user_record("name%d" % number, sid="S-%d" % number) for number in range(20)}
    stored["u15"] = user_record("name15", "g1", sid="S-15")
    apply(path, make_plan(group_changes({}, {"g1": group_record("staff")}), user_changes({}, stored)))
    found = snapshot(
        [
            snapshots.user("u1", "new name"),
            snapshots.user("n1", "NAME3"),
            snapshots.user("n2", "x", sid="S-4"),
            snapshots.user("n3", "name15", home="g1"),
            snapshots.user("n4", "name15"),
        ],
        [snapshots.group("g1", "staff", members=None)],
        lost_users={"u5": _model.GONE},
    )
    found.users["u2"] = None  # it is as stored
    assert set(load(path, found).users) == {"u1", "u3", "u4", "u15", "u5"}


def test_neighbours_and_what_occupies_a_group(path):
    owned = {"g%d" % number: group_record("group%d" % number) for number in range(1, 7)}
    apply(path, make_plan(group_changes({}, owned), user_changes({}, {"u1": user_record("ann", "g5")})))
    with open_store(str(path)) as store:
        write_user_groups.make(store, ["All", "Company", "By Hand"])
        write_user_groups.make(store, ["All", "Company", "group1", "Child", "Grandchild"])
        make_user(store, ["All", "Company", "group2"], "zoe")
        apply_plan(
            store,
            make_plan(
                group_changes({}, {"o1": group_record("theirs", "path:All/Company/group3")}),
                user_changes({}, {"u2": user_record("bea", "path:All/Company/group4")}),
                synchronization="other",
                target="All/Company/group6",
            ),
            run_record(),
        )
        store.commit()
    state = load(path)
    assert state.occupied == {"g1": {""}, "g2": {"#All/Company/group2/zoe"}, "g3": {""}, "g4": {"u2"}, "g6": {""}}
    assert state.neighbours == {
        (TARGET, "by hand"): "All/Company/By Hand",
        ("g1", "child"): "All/Company/group1/Child",
        ("g3", "theirs"): "All/Company/group3/theirs",
    }
    assert set(state.user_groups) == set(owned)


def test_values_that_members_are_known_by(path):
    apply(
        path,
        make_plan(
            group_changes({}, {"g1": group_record("staff"), "g2": group_record("nurses"), "g3": group_record("lost")}),
            user_changes({}, {"u1": user_record("ann"), "u2": user_record("bea")}),
            [
                membership_change("g1", ["u1", "u2"], [], ["g2"]),
                membership_change("g2", ["u1"]),
                membership_change("g3", ["u2"]),
            ],
        ),
    )
    apply(
        path,
        make_plan(
            notes=notes(
                listed_as={
                    ("g1", "u1"): "CN=old",
                    ("g1", "g2"): "CN=before",
                    ("g1", "nobody"): "x",
                    ("nothing", "u1"): "x",
                }
            )
        ),
    )
    lists = [snapshots.group("g1", "staff", kept_values=["CN=old"]), snapshots.group("g2", "nurses")]
    state = load(path, snapshot([], lists))
    assert state.members == {
        "g1": {"u1": ("CN=old", "CN=ann", "ann", "u1"), "u2": ("", "CN=bea", "bea", "u2")},
        "g2": {"u1": ()},
        "g3": {"u2": ()},
    }
    assert state.nestings == {"g1": {"g2": ("CN=before", "CN=nurses", "nurses", "g2")}, "g2": {}, "g3": {}}
    assert state.membership_count == 5
    unread = load(path, snapshot([], [snapshots.group(key, members=None) for key in ("g1", "g2", "g3")]))
    assert unread.members == {} and unread.nestings["g1"] == {"g2": ()}


def test_memberships_of_lost_and_extinct_users(path):
    ann = user_record("ann")
    apply(
        path,
        make_plan(
            group_changes({}, {"g1": group_record("staff"), "g2": group_record("nurses")}),
            user_changes({}, {"u1": ann, "u2": user_record("bea")}),
            [membership_change("g1", ["u1", "u2"]), membership_change("g2", ["u1"])],
        ),
    )
    apply(
        path,
        make_plan(
            group_changes({}, {"o1": group_record("other")}),
            memberships=[membership_change("o1", ["u1"])],
            synchronization="o",
        ),
    )
    assert load(path, snapshot(lost_users={"u1": _model.GONE})).memberships == {"u1": ["g1", "g2"]}
    apply(path, make_plan(users=user_changes({"u1": ann}, {"u1": ann._replace(extinct=_model.GONE, claimed=False)})))
    assert load(path).memberships == {"u1": ["g1", "g2"]}
    with look(str(path)) as store:
        assert for_report.direct_groups(store, ["u1", "u2", "u9"], "staff") == {
            "u1": ["g1", "g2"],
            "u2": ["g1"],
            "u9": [],
        }
        assert for_report.direct_groups(store, {"u1"}, "o") == {"u1": ["o1"]}
        assert for_report.direct_members(store, ["g2"], "staff") == {"u1"}
        assert for_report.direct_members(store, ["g1", "g2", "g9"], "staff") == {"u1", "u2"}
        assert for_report.direct_members(store, ["o1"], "staff") == set()
        assert for_report.names(store, ["u1", "u2", "u9"], "staff") == {"u1": "ann", "u2": "bea"}


def test_attributes_come_back_as_they_were(path):
    attributes = {"display_name": 'Dörte "Ü"\n\x00', "phones": ["+1", "+2"]}
    apply(
        path,
        make_plan(
            group_changes({}, {"g1": group_record("staff", attributes=attributes)}),
            user_changes({}, {"u1": user_record("ann", attributes=attributes, enabled=False, sid="S-1")}),
        ),
    )
    state = load(path, everybody("u1"))
    assert state.users["u1"].record == user_record("ann", attributes=attributes, enabled=False, sid="S-1")
    assert state.user_groups["g1"] == group_record("staff", attributes=attributes)


@examples(80)
@given(histories())
def test_planning_on_this_store_is_planning_on_the_dictionaries_of_the_plan_tests(history):
    dictionaries, steps = history
    with scratch_folder() as folder:
        path = folder / "users.db"
        with open_store(str(path)) as store:
            for record in dictionaries.users.values():
                make_user(store, ["All"], record.name, record.attributes, {}, record.sid)
            store.commit()
        for (people, tree), chosen, reason, leave_out in steps:
            arguments = (people, tree, reason, leave_out)
            found = dictionaries.snapshot(*arguments)
            with open_store(str(path)) as store:
                known = digests(store, "staff")
                assert known.users == {
                    key: dictionaries.user_digests[key]
                    for key, record in dictionaries.users.items()
                    if record.claimed and not record.extinct
                }
                state = load_state(store, "staff", ["All"], found)
                plan = make.make_plan(snapshots.policies(**chosen), found, state, str.casefold, dictionaries.times)
                assert plan_digest(plan) == plan_digest(dictionaries.plan(*arguments, **chosen))
                apply_plan(store, plan, run_record())
                store.commit()
            dictionaries.apply(plan)
            with look(str(path)) as store:
                state = load_state(store, "staff", ["All"], dictionaries.snapshot(people, tree, reason))
                assert state.user_groups == dictionaries.groups
                expected = dictionaries.state()
                assert state.users == {reference: expected.users[reference] for reference in state.users}
                assert state.kept_names.items() <= expected.kept_names.items()
                assert all(place in state.kept_names for place in expected.kept_names if place[0] == "user_group")
                assert state.groups_extinct_since == expected.groups_extinct_since
                assert {key: set(found) for key, found in state.members.items()} == {
                    key: dictionaries.members.get(key, set()) for key in dictionaries.groups
                }
                assert {key: set(found) for key, found in state.nestings.items()} == {
                    key: dictionaries.nestings.get(key, set()) for key in dictionaries.groups
                }


# --- digests ---------------------------------------------------------------------------------------------------------


def test_digests_hold_for_the_settings_they_were_made_under(path):
    apply(
        path,
        make_plan(
            group_changes({}, {"g1": group_record("staff"), "g2": group_record("nurses")}),
            user_changes({}, {"u1": user_record("ann"), "u2": user_record("bea")}),
            notes=notes({"u1": b"1", "u2": b"2"}, {}, {"g1": b"m1"}),
        ),
    )
    with look(str(path)) as store:
        assert digests(store, "staff")[:2] == ({"u1": b"1", "u2": b"2"}, {"g1": b"m1", "g2": b""})
        assert digests(store, "staff", b"pepper")[:2] == ({"u1": b"", "u2": b""}, {"g1": b"", "g2": b""})
    apply(path, make_plan(notes=notes({"u1": b"new", "not stored": b"x"}, {}, {"g2": b"m2"})), salt=b"pepper")
    with look(str(path)) as store:
        assert digests(store, "staff", b"pepper")[:2] == ({"u1": b"new", "u2": b""}, {"g1": b"", "g2": b"m2"})


def test_extinct_records_have_no_digest(path):
    ann, staff = user_record("ann"), group_record("staff")
    apply(
        path,
        make_plan(
            group_changes({}, {"g1": staff}),
            user_changes({}, {"u1": ann}),
            notes=notes({"u1": b"1"}, {}, {"g1": b"m"}),
        ),
    )
    apply(
        path,
        make_plan(
            group_changes({"g1": staff}, {"g1": staff._replace(extinct=_model.GONE)}),
            user_changes({"u1": ann}, {"u1": ann._replace(extinct=_model.GONE)}),
        ),
    )
    with look(str(path)) as store:
        assert digests(store, "staff")[:2] == ({}, {})
    assert load(path).user_groups["g1"].extinct == _model.GONE
    assert rows(path, "SELECT extinct_since FROM user_groups WHERE key = 'g1'") == [(1000,)]


def test_dns_are_noted_without_a_change(path):
    apply(
        path, make_plan(group_changes({}, {"g1": group_record("staff")}), user_changes({}, {"u1": user_record("ann")}))
    )
    apply(
        path,
        make_plan(notes=notes({}, {"u1": ("CN=new", "anna", "k1")}, {}, {"g1": ("CN=newer", "k2", "Staff")})),
    )
    state = load(path, everybody("u1"))
    assert (state.users["u1"].record.dn, state.user_groups["g1"].dn) == ("CN=new", "CN=newer")
    assert (state.users["u1"].record.known_as, state.users["u1"].record.unit) == ("anna", "k1")
    assert (state.user_groups["g1"].unit, state.user_groups["g1"].own_name) == ("k2", "Staff")


# --- looking things up -----------------------------------------------------------------------------------------------


def test_effective_members_through_cycles_and_diamonds(path):
    people = {
        "u%d" % number: user_record(name) for number, name in enumerate(["ann", "bea", "cleo", "dora", "emma"], 1)
    }
    people["u4"] = people["u4"]._replace(enabled=False)
    people["u5"] = people["u5"]._replace(extinct=_model.GONE, claimed=False)
    apply(
        path,
        make_plan(
            group_changes({}, {key: group_record(key) for key in ("top", "left", "right", "bottom", "alone")}),
            user_changes({}, people),
            [
                membership_change("top", ["u1"], [], ["left", "right"]),
                membership_change("left", [], [], ["bottom"]),
                membership_change("right", ["u2", "u4"], [], ["bottom", "right"]),
                membership_change("bottom", ["u1", "u3", "u5"], [], ["top"]),
                membership_change("alone", ["u1"]),
            ],
        ),
    )

    def effective(store, name, **more):
        found = look_up(store, user_group="All/company/%s" % name.upper(), effective=True, **more)
        (record,) = found["user_groups"]
        assert [each["name"] for each in found["users"]] == record["members"]
        return record["members"]

    with look(str(path)) as store:
        for name in ("top", "left", "right", "bottom"):
            assert effective(store, name) == ["ann", "bea", "cleo"]
        assert effective(store, "alone") == ["ann"]
        assert effective(store, "top", include_disabled=True) == ["ann", "bea", "cleo", "dora"]
        assert effective(store, "top", include_extinct=True) == ["ann", "bea", "cleo", "emma"]
        (own,) = look_up(store, user_group="All/Company/top")["user_groups"]
        assert (own["members"], own["user_groups"]) == (["ann"], ["All/Company/left", "All/Company/right"])
        (cleo,) = look_up(store, user="CLEO", effective=True)["users"]
        assert cleo["user_groups"] == ["All/Company/" + name for name in ("bottom", "left", "right", "top")]
        for wrong in ({"user_group": "All/Company/nothing"}, {"synchronization": "nothing"}):
            with pytest.raises(StoreError, match="the store has no"):
                look_up(store, **wrong)


def test_the_tree(path):
    apply(
        path,
        make_plan(group_changes({}, {"g1": group_record("b"), "g2": group_record("a/b", "g1", extinct=_model.GONE)})),
    )
    with look(str(path)) as store:
        found = look_up(store, include_extinct=True)["user_groups"]
        assert [group["path"] for group in look_up(store)["user_groups"]] == ["All", "All/Company", "All/Company/b"]
        with pytest.raises(StoreError, match=r"is extinct \(gone\)"):
            look_up(store, user_group="All/Company/b/a\\/b")
        assert look_up(store, user_group="All/Company/b/a\\/b", include_extinct=True)["user_groups"] == found[3:]
    assert [(row["path"], row["key"], row["synchronization"], row["extinct"]) for row in found] == [
        ("All", None, None, None),
        ("All/Company", None, None, None),
        ("All/Company/b", "g1", "staff", None),
        ("All/Company/b/a\\/b", "g2", "staff", "gone"),
    ]


def test_the_history_names_who_is_gone_and_forgets_with_the_runs(path):
    ann, gone = user_record("ann"), user_record("Zoë")
    staff = group_changes({}, {"g1": group_record("staff")})
    apply(
        path,
        make_plan(staff, user_changes({}, {"u1": ann, "u2": gone}), [membership_change("g1", ["u1", "u2"])]),
        time=1000,
    )
    apply(
        path,
        make_plan(
            users=user_changes({"u1": ann, "u2": gone}, {"u1": user_record("anna"), "u2": None}),
            memberships=[membership_change("g1", [], ["u2"])],
        ),
        time=2000,
    )
    with look(str(path)) as store:
        zoe = events.events(store, wanted(user="ZO\u00cb"), 9)
        assert [(each["event"], each["time"]) for each in zoe] == [
            ("deleted", "1970-01-01T00:33:20Z"),
            ("member_removed", "1970-01-01T00:33:20Z"),
            ("member_added", "1970-01-01T00:16:40Z"),
        ]
        anna = events.events(store, wanted(user="anna"), 9)
        assert [(each["event"], each["path"], each["before"], each["after"]) for each in anna] == [
            ("changed", "All/Company/anna", {"path": "All/Company/ann"}, {"path": "All/Company/anna"}),
            ("member_added", "All/Company/staff", None, None),
            ("created", "All/Company/anna", None, None),
        ]
        assert events.events(store, wanted(user="ann"), 9) == anna, "by the name before, too"
        group_history = events.events(store, wanted(user_group="All/Company/STAFF"), 9)
        assert [(each["event"], each["member"]) for each in group_history] == [
            ("member_removed", "Zoë"),
            ("member_added", "anna"),
            ("member_added", "Zoë"),
            ("created", None),
        ]
        assert events.events(store, wanted(user_group="All/Company/staff"), 1) == group_history[:1]
    apply(path, time=2000 + 400 * 86400)
    with look(str(path)) as store:
        assert events.events(store, wanted(user="zoë"), 9) == []
        assert look_up(store, user="anna")["users"][0]["user_groups"] == ["All/Company/staff"]


@pytest.mark.parametrize("count", [1, 49, 50, 51, 100, 120])
def test_as_many_members_are_stored_as_are_listed(tmp_path, count):
    path = tmp_path / "users.db"
    people = {"u%03d" % number: user_record("user %d" % number) for number in range(count)}
    apply(
        path,
        make_plan(
            group_changes({}, {"g": group_record("all"), "h": group_record("more")}),
            user_changes({}, people),
            [membership_change("g", added=people), membership_change("h", added=list(people)[:1])],
        ),
    )
    listed = (
        "SELECT u.key FROM memberships m JOIN user_groups g ON g.id = m.user_group_id"
        " JOIN users u ON u.id = m.user_id WHERE g.key = '%s' AND m.run_id = 1 ORDER BY u.key"
    )
    assert [key for (key,) in rows(path, listed % "g")] == sorted(people)
    assert [key for (key,) in rows(path, listed % "h")] == ["u000"]


def test_a_store_has_nothing_of_one_that_is_gone():
    """A server's tables may be those of another test: see `support.stores`."""
    contents = []
    for name in ("ann", "bob", "ann"):
        with scratch_folder() as folder:
            path = folder / "users.db"
            assert not exists(path)
            apply(path, make_plan({}, user_changes({}, {name: user_record(name)})))
            contents.append(stored.dump(path))
    assert contents[0] == contents[2] != contents[1]
    with scratch_folder() as folder, pytest.raises(Exception, match="nobody has made|unable to open|no such"):
        stored.members(folder / "users.db")


@pytest.mark.only_sqlite
def test_memberships_end_with_their_user_whoever_deletes_it(tmp_path):
    path = tmp_path / "users.db"
    people = {"a": user_record("ann"), "b": user_record("bob")}
    apply(
        path,
        make_plan(
            group_changes({}, {"g": group_record("all")}),
            user_changes({}, people),
            [membership_change("g", added=people)],
        ),
    )
    stored.change(path, "DELETE FROM users WHERE key = 'a'")  # without foreign keys, as SQLite is by itself
    assert rows(path, "SELECT u.key FROM memberships m LEFT JOIN users u ON u.id = m.user_id") == [("b",)]


def test_records_made_by_hand(path):
    with open_store(str(path)) as store:
        make_user(store, ["All", "New"], "Ann", {"email": "x"}, {"badge": "7"}, "S-1")
        number, record = by_hand.find_user(store, ["all", "NEW"], "ANN")
        assert by_hand.find_user(store, ["All"], "Ann") is None
        assert by_hand.find_user(store, ["All", "None"], "Ann") is None
        assert (record["home"], record["key"], record["sid"]) == ("All/New", None, "S-1")
        assert by_hand.user_with_sid(store, "s-1", None) == "All/New/Ann"
        assert by_hand.user_with_sid(store, "S-1", number) is None
        by_hand.change_user(store, number, dict(record, attributes={}))
        assert by_hand.find_user(store, ["All", "New"], "Ann")[1] == dict(record, attributes={})
        by_hand.remove_user(store, number)
        assert look_up(store)["users"] == []
