# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: laws that hold for every directory, every store and every policy, and the cases people lost accounts over.

The plans are applied to a store of dictionaries (tests/support/model_store.py).
"""

from __future__ import annotations

import json

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _attributes, _changes, _model
from ansible_collections.usersync.directory.plugins.module_utils._plan.conclusions import conclusions
from ansible_collections.usersync.directory.plugins.module_utils._plan.digests import plan_digest, removals_digest
from ansible_collections.usersync.directory.plugins.module_utils._plan.make import make_plan
from ansible_collections.usersync.directory.plugins.module_utils._plan.places import (
    NOWHERE,
    Claimant,
    KeptNames,
    Wait,
    assign_places,
    place_of,
)
from ansible_collections.usersync.directory.plugins.module_utils._plan.rivals import Wanting, settle_places
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples
from support.histories import histories
from support.model_store import TARGET, ModelStore
from support.snapshots import group, policies, user

# --- laws ------------------------------------------------------------------------------------------------------------


def places(records):
    return [place_of(record) for record in records.values()]


@examples(400)
@given(histories(), st.randoms(use_true_random=False))
def test_laws(history, shuffler):
    store, steps = history
    for (users, groups), chosen, reason, leave_out in steps:
        before = dict(store.users)
        shuffled = shuffler.sample(users, len(users)), shuffler.sample(groups, len(groups))
        plan = store.plan(users, groups, reason, leave_out, **chosen)
        again = store.plan(*shuffled, reason, False, **chosen)
        assert plan_digest(plan) == plan_digest(again), "the order of the entries does not matter"
        store.apply(plan)

        assert len(set(places(store.users))) == len(store.users), "no two users sit in one place"
        assert len(set(places(store.groups))) == len(store.groups), "no two user groups sit in one place"
        losers = {(collision.dn) for collision in plan.collisions if collision.kind == "user"}
        for body in users:
            record = store.users.get(body.key)
            if body.key in before:
                assert record is not None and record.extinct is None, "who is in the directory stays"
                assert record.enabled == body.enabled and record.attributes == body.attributes
            if body.dn in losers:
                assert body.key in before or record is None
                continue
            if record is None:
                assert chosen["ignore_disabled_users"] and not body.enabled
                continue
            assert (record.name, record.home, record.sid) == (body.name, body.home or TARGET, body.sid)
            assert (record.enabled, record.extinct, record.attributes) == (body.enabled, None, body.attributes)
        for body in groups:
            record = store.groups[body.key]
            assert record.name.startswith(body.name) and record.extinct is None
            assert store.members[body.key] - kept_extinct(store) == {key for key in body.members if key in store.users}
            assert store.nestings.get(body.key, set()) == set(body.user_groups)
        listed = {body.key for body in users}
        for reference, record in before.items():
            if reference.startswith("#"):
                continue
            if reference not in listed:
                assert_extinct(store, reference, record, chosen["user_extinction"])
        for leave_out in (False, True):
            nothing = store.plan(users, groups, reason, leave_out, **chosen)
            assert nothing.is_empty, "the second run changes nothing"


def kept_extinct(store):
    return {reference for reference, record in store.users.items() if record.extinct}


def assert_extinct(store, reference, before, policy):
    record = store.users.get(reference)
    if policy == "delete":
        assert record is None
    else:
        assert record.extinct and not record.claimed
        assert record.enabled == (before.enabled and policy == "skip")
    if policy != "skip":
        assert all(reference not in members for members in store.members.values())


@examples(200)
@given(st.permutations(range(5)), st.randoms(use_true_random=False))
def test_names_rotate_in_one_run(order, shuffler):
    """Whoever takes whose name: a permutation of names is a set of renames, whatever cycles it has."""
    store = ModelStore()
    store.run(
        [user("u%d" % number, "n%d" % number) for number in range(5)],
        [group("g%d" % number, "n%d" % number) for number in range(5)],
    )
    renamed = [user("u%d" % number, "n%d" % new) for number, new in enumerate(order)]
    groups = [group("g%d" % number, "n%d" % new) for number, new in enumerate(order)]
    shuffler.shuffle(renamed)
    plan = store.run(renamed, groups)
    assert not plan.collisions
    assert {key: record.name for key, record in store.users.items()} == {body.key: body.name for body in renamed}
    assert {key: record.name for key, record in store.groups.items()} == {body.key: body.name for body in groups}
    assert len(plan.users) == sum(number != new for number, new in enumerate(order))


# --- cases -----------------------------------------------------------------------------------------------------------


def test_a_losing_newcomer_costs_the_stored_one_nothing():
    store = ModelStore()
    store.run([user("old", "ann", created=9)], [group("g", members=["old"])])
    before = dict(store.users), {key: set(members) for key, members in store.members.items()}
    plan = store.run(
        [user("old", "ann", created=9), user("new", "ANN", created=1)], [group("g", members=["old", "new"])]
    )
    assert (store.users, store.members) == before
    assert [(collision.name, collision.path) for collision in plan.collisions] == [("ANN", "All")]


def test_a_loser_joins_its_groups_as_soon_as_the_name_is_free():
    store = ModelStore()
    entries = [user("old", "ann"), user("new", "ann")]
    store.run(entries[:1])
    store.run(entries, [group("g", members=["old", "new"])])
    assert store.members["g"] == {"old"}
    store.run([user("old", "anne"), entries[1]], [group("g", members=["old", "new"])], leave_out=True)
    assert store.members["g"] == {"old", "new"}
    assert store.users["new"].name == "ann"


def test_a_rename_to_a_name_that_is_taken_keeps_the_old_name():
    store = ModelStore()
    store.run([user("u1", "ann"), user("u2", "bob")])
    plan = store.run([user("u1", "ann"), user("u2", "ann", attributes={"email": "b@example.com"})])
    assert store.users["u2"].name == "bob"
    assert store.users["u2"].attributes == {"email": "b@example.com"}, "a collision never stops other updates"
    assert "keeps its place" in plan.collisions[0].reason


def test_among_newcomers_the_older_wins_then_the_key():
    store = ModelStore()
    store.run([user("u3", "ann", created=5), user("u2", "ann", created=7), user("u1", "ann", created=5)])
    assert list(store.users) == ["u1"]


def test_an_extinct_record_gives_its_name_up_and_the_newcomer_inherits_nothing():
    store = ModelStore()
    store.run([user("u1", "ann", attributes={"title": "Head"})], [group("g", members=["u1"])])
    store.run([], [group("g")])
    plan = store.run([user("u2", "ann")], [group("g")])
    assert store.users["u1"].name == "ann (extinct)"
    assert store.users["u2"].name == "ann" and store.users["u2"].attributes == {}
    assert store.members["g"] == set()
    assert not plan.collisions


@pytest.mark.parametrize("policy", ("skip", "disable", "delete"))
def test_a_user_who_returns_is_the_same_user(policy):
    store = ModelStore()
    store.run([user("u1", "ann")], [group("g", members=["u1"])])
    store.run([], [group("g")], user_extinction=policy)
    assert store.members["g"] == ({"u1"} if policy == "skip" else set())
    store.run([user("u1", "ann")], [group("g")], user_extinction=policy, leave_out=True)
    assert store.users["u1"].extinct is None and store.users["u1"].enabled
    assert store.members["g"] == set(), "who returns is a member of what lists him, and of nothing else"


def test_a_value_that_is_still_listed_keeps_its_membership():
    """A group still lists the old DN of a user who was renamed: referential integrity is not every server's."""
    store = ModelStore()
    store.run([user("u1", "ann")], [group("g", members=["u1"])])
    moved = user("u1", "ann", dn="CN=elsewhere")
    dangling = group("g", members=[], kept_values=["cn=U1"])
    for _run in range(3):
        plan = store.run([moved], [dangling], leave_out=True)
        assert plan.is_empty and store.members["g"] == {"u1"}
    store.run([moved], [group("g", members=[])], leave_out=True)
    assert store.members["g"] == set(), "the value has left the list"


def test_a_group_that_users_list_by_its_old_name_keeps_them():
    """Memberships listed by the user alone: the group was renamed, and nobody told the users."""
    store = ModelStore()
    store.run([user("u1"), user("u2")], [group("g", members=["u1", "u2"], dn="CN=Nurses")])
    renamed = [group("g", members=[], dn="CN=Carers")]
    for _run in range(3):
        snapshot = store.snapshot([user("u1"), user("u2")], renamed)._replace(dangling={"cn=nurses": ["u1"]})
        store.apply(make_plan(policies(), snapshot, store.state(), str.casefold))
        assert store.members["g"] == {"u1"}, "u2 does not list it any more"
    store.run([user("u1"), user("u2")], renamed)
    assert store.members["g"] == set()


def test_who_ends_leaves_the_lists_that_are_as_stored_too():
    store = ModelStore()
    staff = group("g", members=["u1", "u2"])
    store.run([user("u1"), user("u2")], [staff])
    plan = store.run([user("u2")], [staff], leave_out=True)
    assert [change.users_removed for change in plan.memberships] == [["u1"]] and store.members["g"] == {"u2"}


def test_an_extinct_group_that_is_kept_keeps_its_members():
    store = ModelStore()
    store.run([user("u1"), user("u2")], [group("g", members=["u1", "u2"])])
    store.run([user("u1")], [])
    assert store.groups["g"].extinct == _model.GONE
    assert store.members["g"] == {"u1"}, "but who is disabled by extinction leaves all groups"


def test_a_group_is_deleted_only_with_all_that_is_in_it():
    store = ModelStore()
    ward, inner = group("ward", type="organizational_unit"), group("inner", parent="ward")
    store.run([user("u1", home="ward")], [ward, inner], user_group_extinction="delete")
    store.run([], [], user_group_extinction="delete")
    assert store.groups["ward"].extinct, "the disabled user still has its home in there"
    assert "inner" not in store.groups
    store.run([], [], user_group_extinction="delete", user_extinction="delete")
    assert store.groups == {} and store.users == {}


def test_losing_groups_get_a_suffix_container_then_type_then_key():
    store = ModelStore()
    same = [group("g%d" % number, "Nurses", created=number, container="Ward") for number in range(4)]
    plan = store.run([], same)
    assert {key: record.name for key, record in store.groups.items()} == {
        "g0": "Nurses",
        "g1": "Nurses (Ward)",
        "g2": "Nurses (security)",
        "g3": "Nurses (g3)",
    }
    assert len(plan.collisions) == 3


@pytest.mark.parametrize("policy", ("skip", "overwrite", "merge"))
def test_a_record_made_by_hand(policy):
    store = ModelStore()
    store.add_by_hand("ann")
    plan = store.run([user("u1", "Ann")], user_collision=policy)
    if policy == "skip":
        assert list(store.users) == ["#All/ann"] and plan.collisions
    else:
        assert list(store.users) == ["u1"] and not plan.collisions
        assert (
            plan.users[0].adopts == "#All/ann"
            and plan.users[0].fate == {"overwrite": "overwritten", "merge": "merged"}[policy]
        )
    store.run([], user_extinction="delete", user_collision=policy)
    assert list(store.users) == {"skip": ["#All/ann"], "overwrite": [], "merge": ["#All/Ann"]}[policy]


def test_a_merged_record_goes_on_to_who_was_created_again_under_its_name():
    store = ModelStore()
    store.add_by_hand("ann")
    more = {"user_collision": "merge", "user_extinction": "delete"}
    store.run([user("u1", "ann")], [group("g", members=["u1"])], **more)
    plan = store.run([user("u2", "ann")], [group("g")], **more)
    assert [(change.reference, change.adopts) for change in plan.users] == [("u2", "u1")]
    assert list(store.users) == ["u2"] and store.adopted == {"u2"}
    assert store.members["g"] == set(), "he has the name and the local attributes, and no membership"


@pytest.mark.parametrize("policy", ("skip", "overwrite", "merge"))
def test_the_same_sid_in_another_place(policy):
    store = ModelStore()
    store.add_by_hand("annette", home="path:All/Guests", sid="S-1")
    plan = store.run([user("u1", "ann", sid="S-1")], user_collision=policy)
    assert list(store.users) == (["#All/Guests/annette"] if policy == "skip" else ["u1"])
    assert bool(plan.collisions) == (policy == "skip")
    if policy != "skip":
        assert store.users["u1"].home == TARGET and store.users["u1"].name == "ann"


def test_an_extinct_user_holds_no_sid():
    """The directory may have given it to somebody else since, who keeps it if the first one returns."""
    store = ModelStore()
    store.run([user("u1", "ann", sid="S-1")], user_extinction="skip")
    store.run([user("u2", "bob", sid="S-1")], user_extinction="skip")
    assert store.users["u1"].extinct and store.users["u2"].sid == "S-1"
    plan = store.run([user("u1", "ann", sid="S-1"), user("u2", "bob", sid="S-1")], user_extinction="skip")
    assert [(each.name, each.reason) for each in plan.collisions] == [
        ("ann", "another user has its SID, so it has none")
    ]
    assert (store.users["u1"].sid, store.users["u2"].sid) == (None, "S-1") and not store.users["u1"].extinct


@pytest.mark.parametrize("policy", ("skip", "overwrite", "merge"))
def test_a_record_of_another_directory_is_always_left(policy):
    store = ModelStore()
    store.users["@other/1"] = _model.UserRecord("ann", TARGET, True, "S-9", None, {}, "", False)
    plan = store.run([user("u1", "ann"), user("u2", "bob", sid="S-9")], user_collision=policy)
    assert list(store.users) == ["@other/1"]
    assert len(plan.collisions) == 2


def test_disabled_newcomers_can_be_kept_out_but_who_is_stored_is_disabled():
    store = ModelStore()
    store.run([user("u1")], ignore_disabled_users=True)
    plan = store.run([user("u1", enabled=False), user("u2", enabled=False)], ignore_disabled_users=True)
    assert list(store.users) == ["u1"] and not store.users["u1"].enabled
    assert plan.ignored == 1


def test_an_extinct_user_who_returns_disabled_is_disabled():
    store = ModelStore()
    store.run([user("u1")])
    store.run([], user_extinction="skip")
    assert store.users["u1"].enabled
    store.run([user("u1", enabled=False)], ignore_disabled_users=True)
    assert not store.users["u1"].enabled and store.users["u1"].extinct is None


def test_a_disabled_newcomer_joins_its_groups_once_enabled():
    store = ModelStore()
    groups = [group("g", members=["u1"])]
    store.run([user("u1", enabled=False)], groups, ignore_disabled_users=True)
    assert store.members["g"] == set()
    store.run([user("u1")], groups, ignore_disabled_users=True, leave_out=True)
    assert store.members["g"] == {"u1"}


def test_who_has_the_sid_of_a_record_made_by_hand_keeps_it_from_others():
    """Bob has it and may not take the record over, since his name is taken: nor may ann, who has its name."""
    store = ModelStore()
    store.add_by_hand("ann", sid="S-1")
    store.add_by_hand("bob")
    plan = store.run([user("u1", "ann"), user("u2", "bob", sid="S-1")], user_collision="merge")
    assert list(store.users) == ["#All/ann", "#All/bob"] and len(plan.collisions) == 2


def test_who_takes_over_a_record_is_enabled_by_that():
    store = ModelStore()
    store.add_by_hand("ann")
    snapshot = store.snapshot([user("u1", "ann"), user("u2", "bob", enabled=False)], [])
    plan = make_plan(policies(user_collision="merge"), snapshot, store.state(), str.casefold)
    assert conclusions(plan, snapshot) == {("enabled", "u1")}


def test_what_is_taken_back_of_anothers_user_is_held():
    store = ModelStore()
    store.run([user("u1")])
    state, snapshot = store.state(), store.snapshot([user("u1")], [])
    state.users["u1"] = state.users["u1"]._replace(is_written_here=False, said_disabled=True)
    for held, said in ((frozenset(), {"u1": False}), (frozenset({("enabled", "u1")}), {})):
        plan = make_plan(policies(), snapshot, state, str.casefold, held=held)
        assert plan.notes.said_disabled == said


def test_a_malformed_list_ends_no_membership():
    store = ModelStore()
    store.run([user("u1")], [group("g", members=["u1"])])
    snapshot = store.snapshot([user("u1")], [group("g")])._replace(unclear={"g": frozenset({"members"})})
    plan = make_plan(policies(), snapshot, store.state(), str.casefold)
    assert plan.is_empty and plan.notes.group_digests == {"g": _model.NO_DIGEST}


def of_changes(store, users=(), groups=(), **more):
    """The plan of a read of what changed: whoever is not in it is as stored."""
    snapshot = store.snapshot(users, groups)._replace(is_full=False, lost_users={}, lost_user_groups={}, **more)
    return make_plan(policies(), snapshot, store.state(), str.casefold)


def test_a_list_that_was_not_read_changes_by_who_came_and_who_left():
    store = ModelStore()
    store.run([user("u1"), user("u2")], [group("g", members=["u1"])])
    plan = of_changes(store, joined={"g": ["u2"]}, left={"g": ["u1"]})
    assert [change[1:3] for change in plan.memberships] == [(["u2"], ["u1"])]
    digest = plan.notes.group_digests["g"]
    assert digest not in (_model.NO_DIGEST, store.group_digests["g"]), "it is compared when it is read next"
    loser = user("u3", "u1")
    plan = of_changes(store, [loser], [group("g", members=None)], joined={"g": ["u3"]})
    assert plan.is_empty and plan.notes.group_digests == {"g": _model.NO_DIGEST}, "it says more than is stored"


def test_a_user_group_that_was_not_read_keeps_its_place():
    store = ModelStore()
    store.run([], [group("g1", "Staff")])
    plan = of_changes(store, groups=[group("g2", "Staff", container="sales", created=0)])
    assert [(change.key, change.after.name) for change in plan.user_groups] == [("g2", "Staff (sales)")]


def test_a_target_inside_an_own_group_is_refused():
    store = ModelStore()
    store.run([], [group("g", "Staff")])
    state = store.state()._replace(target="All/Staff/Inner")
    with pytest.raises(ValueError, match="user_group: 'All/Staff/Inner'"):
        make_plan(policies(), store.snapshot([], []), state, str.casefold)


def test_the_digests():
    store = ModelStore()
    plan = store.plan([user("u1")], [group("g", members=["u1"])])
    other = store.plan([user("u1", dn="CN=elsewhere")], [group("g", members=["u1"])])
    assert plan_digest(plan) == plan_digest(other), "a DN is no change"
    assert plan_digest(plan) != plan_digest(store.plan([user("u1")], [group("g")]))
    assert removals_digest(plan) == removals_digest(store.plan([], []))
    store.apply(plan)
    assert removals_digest(store.plan([], [])) != removals_digest(store.plan([user("u1")], []))


def test_encoded_attributes_make_the_same_plan_and_the_same_digest():
    """An approved plan is approved whatever its attributes are kept as: by a reader, a store, or a test."""
    fields = {"mail": 'é"\\\n\u2028@x', "phone": "1", "towns": ["Ä", "b"]}
    encoded = _attributes.EncodedAttributes.of(fields)
    spelled_otherwise = _attributes.EncodedAttributes(json.dumps(dict(reversed(fields.items())), indent=1))
    assert encoded == fields == encoded == spelled_otherwise
    assert encoded != _attributes.EncodedAttributes.of({**fields, "phone": "2"}) and encoded != {} and encoded != "x"
    assert (
        dict(encoded) == fields == _attributes.fields_of(encoded) and len(encoded) == 3 and encoded.get("phone") == "1"
    )
    digests = set()
    for attributes in (fields, encoded, spelled_otherwise):
        store = ModelStore()
        digests.add(plan_digest(store.run([user("u1", attributes=attributes)], [group("g", members=["u1"])])))
        assert store.run([user("u1", attributes=fields)], [group("g", members=["u1"])]).is_empty
        change = store.run(
            [user("u1", attributes=_attributes.EncodedAttributes.of({"phone": "1"}))], [group("g", members=["u1"])]
        )
        digests.add(plan_digest(change))
        digests.add(removals_digest(change))
        assert [loss.field for loss in _changes.losses(change)] == ["mail", "towns"]
    assert digests == {
        "users+1-0~0,user_groups+1-0~0,memberships+1-0:b2c0527e02dd2e3d86c1fc400c9914afc45cd44a890f19223a218a3f7d6912c7",
        "users+0-0~1,user_groups+0-0~0,memberships+0-0:a38b4ecb6074794c36148e94158f45cd969126f4e252913ff7f96a4095ebdd13",
        "users-0,user_groups-0,memberships-0,attributes-2:754220122c70efa21421cce187f8cb335460752c10b0996925fcf37c4770be49",
    }, "the digests of a plan are the same in every version of this collection"


@given(
    st.lists(st.tuples(st.sampled_from("abcA"), st.sampled_from("xy"), st.integers(0, 2)), max_size=12),
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), max_size=3),
    st.randoms(),
)
def test_who_is_alone_in_wanting_a_place_has_it_and_the_others_settle_it(newcomers, by_hand, shuffler):
    """The short way gives the places that deferred acceptance among all of them gives."""
    wanted = {
        "u%d" % number: _model.UserRecord(name, home, True, None, None, {}, "", True)
        for number, (name, home, _created) in enumerate(newcomers)
    }
    bodies = {key: user(key, created=newcomers[number][2]) for number, key in enumerate(wanted)}
    store = ModelStore()
    for name, home in by_hand:
        store.add_by_hand(name, "path:" + home)
    store.users = {reference: record._replace(home=record.home[5:]) for reference, record in store.users.items()}
    state = store.state()
    order = list(wanted)
    shuffler.shuffle(order)
    given_places = {key: (record.home, record.name) for key, record in wanted.items()}
    wanting = Wanting(state, bodies, {key: wanted[key] for key in order}, {})
    given_places.update(settle_places(wanting, {}, set(), KeptNames("user", state, Wait(_model.NO_TIME, 30))).given)
    taken = {place_of(record) for record in store.users.values()}
    expected = assign_places(
        [Claimant(key, [(record.home, record.name)], NOWHERE, wanting.rank(key)) for key, record in wanted.items()],
        lambda _claimant, place: place not in taken,
    )
    assert given_places == expected
