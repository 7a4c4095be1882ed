# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run may remove: each limit to the one, what counts and what does not, and what an approval allows."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _limits
from ansible_collections.usersync.directory.plugins.module_utils._model import GONE, OUT_OF_SCOPE
from ansible_collections.usersync.directory.plugins.module_utils._plan.conclusions import conclusions
from ansible_collections.usersync.directory.plugins.module_utils._plan.digests import plan_digest, removals_digest
from ansible_collections.usersync.directory.plugins.module_utils._plan.make import make_plan
from hypothesis import given
from hypothesis import strategies as st
from support.model_store import ModelStore
from support.snapshots import group, policies, user

SCOPE = {**dict.fromkeys(_limits.SCOPE_SETTINGS), "whole_tree": False, "distinguished_name": ["ou=staff,dc=x"]}


def judge(store, people, groups=(), reason=GONE, scopes=None, held=frozenset(), **chosen):
    """Plan against the store of dictionaries; the plan, and why it is refused. Else the scope was and is SCOPE."""
    limits = dict(
        removal_limits={}, allow_empty=False, scope_change=False, fail_on=[], approved_plan=None, approved_removals=None
    )
    options = {**limits, **{option: chosen.pop(option) for option in list(chosen) if option in limits}}
    snapshot = store.snapshot(people, groups, reason)
    chosen = policies(**chosen)
    state = store.state()
    state = state._replace(membership_count=sum(map(len, state.members.values())))
    unheld = make_plan(chosen, snapshot, state, str.casefold, store.times)
    plan = make_plan(chosen, snapshot, state, str.casefold, store.times, held)
    values = {}
    for kind, records in (
        ("user", [stored.record for stored in state.users.values()]),
        ("user_group", state.user_groups.values()),
    ):
        for record in records:
            for field in record.attributes:
                values[kind, field] = values.get((kind, field), 0) + 1
    owned = _limits.Owned(
        sum(1 for each in state.users.values() if not each.record.extinct),
        len(state.user_groups),
        state.membership_count,
        values,
        sum(1 for each in state.users.values() if each.record.claimed and not each.record.extinct),
    )
    digests = plan_digest(plan), removals_digest(plan)
    judged = _limits.Judged(plan, unheld, snapshot, state, owned, *(scopes or (SCOPE, SCOPE)), digests)
    refusals = _limits.refusals(judged, SimpleNamespace(**options))
    return SimpleNamespace(
        plan=plan, refusals=refusals, digests=digests, snapshot=snapshot, limits=[refusal.limit for refusal in refusals]
    )


def people(count, **more):
    return [user("u%03d" % number, **more) for number in range(count)]


def stored(count, groups=(), **more):
    store = ModelStore()
    store.run(people(count, **more), groups)
    return store


@given(st.integers(0, 10**6))
def test_the_limit_that_is_left_out(of):
    allowed = _limits.most(None, of)
    assert allowed <= of / 2
    assert allowed == min(max(of * 20 // 100, 10), of // 2)
    assert _limits.most("0", of) == _limits.most("0%", of) == 0
    assert _limits.most("100%", of) == of


@pytest.mark.parametrize("limit", ["", "-1", "5.5", "101%", "ten", "10 %", "%", "1e3"])
def test_what_is_no_limit(limit):
    with pytest.raises(ValueError, match="is no limit: write a number such as 50, or a percentage such as 10%"):
        _limits.check_limit(limit)


@pytest.mark.parametrize("policy", ["skip", "disable", "delete"])
def test_users_to_the_one(policy):
    store = stored(100)
    assert judge(store, people(80), user_extinction=policy).limits == []
    found = judge(store, people(79), user_extinction=policy)
    assert found.limits == ["users"]
    refusal = found.refusals[0]
    assert (refusal.would_remove, refusal.of, refusal.option) == (21, 100, "removal_limits.users")
    assert judge(store, people(79), user_extinction=policy, removal_limits={"users": "21"}).limits == []
    assert judge(store, people(79), user_extinction=policy, removal_limits={"users": "20%"}).limits == ["users"]


def test_never_more_than_half_and_never_all():
    assert judge(stored(4), people(2)).limits == []
    assert judge(stored(4), people(1)).limits == ["users"]
    assert judge(stored(1), [user("other")]).limits == ["users"]


def test_an_end_that_was_announced_does_not_count_again():
    store = stored(100)
    store.run(people(80), user_extinction="delete", user_extinction_grace_days=30)
    assert sum(not record.enabled for record in store.users.values()) == 20
    store.now += 30 * 86400
    found = judge(
        store, people(80), user_extinction="delete", user_extinction_grace_days=30, removal_limits={"users": "0"}
    )
    assert sum(change.after is None for change in found.plan.users) == 20
    assert found.limits == []


def test_an_end_that_was_not_announced_counts():
    """Who is extinct under 'skip' is enabled still: that a later policy disables or deletes them is news."""
    for policy in ("disable", "delete"):
        store = stored(100)
        store.run(people(79), user_extinction="skip")
        assert judge(store, people(79), user_extinction=policy).limits == ["users"]
        assert judge(store, people(79), user_extinction="skip", removal_limits={"users": "0"}).limits == []


@pytest.mark.parametrize("policy", ["disable", "delete"])
def test_all_of_it_lets_everything_through_whatever_is_extinct_already(policy):
    store = stored(10, [group("g", members=[body.key for body in people(10)])])
    store.run([], allow_empty=True, user_extinction="skip")
    everything = {"removal_limits": dict.fromkeys(_limits.KINDS, "100%"), "allow_empty": True}
    found = judge(store, [], user_extinction=policy, user_group_extinction="delete", **everything)
    assert found.plan.users and found.limits == []


def test_a_record_that_is_overwritten_counts():
    store = ModelStore()
    store.add_by_hand("u000")
    store.run([user("x")])
    assert judge(store, [user("x"), *people(1)], user_collision="overwrite", removal_limits={"users": "0"}).limits == [
        "users"
    ]
    assert judge(store, [user("x"), *people(1)], user_collision="merge", removal_limits={"users": "0"}).limits == []


def test_groups_that_end_and_groups_that_read_empty():
    keys = [body.key for body in people(20)]
    lists = [group("g1", members=keys[:9]), group("g2", members=keys[9:19]), group("g3", members=keys[:2])]
    store = stored(20, lists)
    none = {"user_groups": "0", "memberships": "100%"}

    def limits(groups, **more):
        return judge(store, people(20), groups, removal_limits=none, **more).limits

    assert limits(lists) == []
    assert limits([group("g1"), *lists[1:]]) == [], "nine members are no group of ten"
    assert limits([lists[0], group("g2"), lists[2]]) == ["user_groups"]
    assert limits([lists[0], group("g2", members=keys[9:10]), lists[2]]) == [], "it is not empty"
    assert limits(lists[:2]) == ["user_groups"]
    assert limits(lists[:2], user_group_extinction="delete") == ["user_groups"]


def test_memberships_in_all_and_in_a_large_group():
    keys = [body.key for body in people(500)]
    lists = [group("g%d" % number, members=keys) for number in range(9)] + [group("large", members=keys[:100])]
    store = stored(500, lists)

    def limits(left, **more):
        return judge(store, people(500), [*lists[:9], group("large", members=keys[:left])], **more)

    assert limits(80).limits == []
    found = limits(79)
    assert [(each.limit, each.would_remove, each.of, each.about) for each in found.refusals] == [
        ("memberships", 21, 100, "All/large")
    ]
    small = [*lists[:9], group("large", members=keys[:99])]
    store.run(people(500), small)
    assert judge(store, people(500), lists[:9] + [group("large", members=keys[:1])]).limits == [], "not a large one"
    assert judge(
        store,
        people(500),
        [group("g%d" % number, members=keys[:400]) for number in range(9)] + small[9:],
        removal_limits={"memberships": "899"},
    ).limits == ["memberships"]


def test_a_mistyped_attribute():
    """A fifth of all values is not much where there are ten fields, and all of one field."""
    fields = {"field%d" % number: "x" for number in range(9)}
    store = stored(100, attributes={"email": "a@x", **fields})
    found = judge(store, people(100, attributes=fields))
    assert [(each.limit, each.would_remove, each.of, each.about) for each in found.refusals] == [
        ("attributes", 100, 100, "email")
    ]
    assert judge(store, people(100, attributes={"email": "b@x", **fields})).limits == [], "other values are no loss"


def test_a_few_values_of_many_fields():
    store = stored(5, attributes={"email": "a@x", "title": "x"})
    assert (
        judge(
            store, people(4, attributes={"email": "a@x", "title": "x"}) + [user("u004", attributes={"email": "a@x"})]
        ).limits
        == []
    )
    assert judge(store, people(5)).limits == ["attributes"]
    groups = [group("g%d" % number, attributes={"description": "x"}) for number in range(10)]
    store = stored(1, groups)
    assert judge(store, people(1), [group(body.key) for body in groups]).limits == ["attributes"] * 2


def test_renames():
    store = stored(100, [group("g%d" % number) for number in range(20)])
    groups = [group("g%d" % number, "new%d" % number) for number in range(20)]
    assert judge(store, [user(body.key, "n" + body.name) for body in people(4)] + people(100)[4:], groups).limits == []
    assert judge(store, [user(body.key, "n" + body.name) for body in people(5)] + people(100)[5:], groups).limits == [
        "renames"
    ]


@pytest.mark.parametrize("enabled", [False, True])
def test_states(enabled):
    """All of a small company locked at once, or let in at once: by lost rights, or by a clock."""
    store = stored(20, enabled=not enabled)
    assert judge(store, people(20, enabled=enabled)).limits == ["states"]
    assert judge(store, people(10, enabled=enabled) + people(20, enabled=not enabled)[10:]).limits == []
    found = judge(store, people(11, enabled=enabled) + people(20, enabled=not enabled)[11:])
    assert [(each.would_remove, each.of, each.option) for each in found.refusals] == [(11, 20, "removal_limits.states")]
    assert judge(store, people(20, enabled=enabled), removal_limits={"states": "100%"}).limits == []
    assert (
        judge(
            store, people(20, enabled=enabled), approved_plan=judge(store, people(20, enabled=enabled)).digests[0]
        ).limits
        == []
    )
    removed = judge(store, people(19, enabled=enabled))
    assert judge(store, people(19, enabled=enabled), approved_removals=removed.digests[1]).limits == ["states"]


def test_states_are_compared_with_whom_the_synchronization_has():
    """Users made by hand do not make room for more."""
    store = stored(20)
    for number in range(20):
        store.add_by_hand("by hand %d" % number)
    found = judge(store, people(11, enabled=False) + people(20)[11:])
    assert [(each.would_remove, each.of, each.option) for each in found.refusals] == [(11, 20, "removal_limits.states")]


def test_states_are_not_those_of_the_extinct_and_of_who_returns():
    store = stored(20)
    nobody_may = {"removal_limits": {"users": "100%", "states": "0"}}
    assert judge(store, people(1), **nobody_may).limits == []
    store.run(people(1))
    assert judge(store, people(20), **nobody_may).limits == []
    assert judge(store, [user("new", enabled=False), *people(1)], **nobody_may).limits == []


def test_nobody_at_all():
    assert judge(ModelStore(), []).limits == ["allow_empty"], "in the first run, too"
    assert judge(ModelStore(), [], allow_empty=True).limits == []
    found = judge(stored(4), [])
    assert found.limits == ["allow_empty", "users"]
    approved = judge(stored(4), [], approved_plan=found.digests[0])
    assert approved.limits == ["allow_empty"], "an approval never makes a doubtful read a complete one"


def test_nobody_with_a_name():
    """Who is stored keeps his name, so he is somebody."""
    nameless = [body._replace(name=None) for body in people(3)]
    found = judge(ModelStore(), nameless)
    assert found.limits == ["allow_empty"] and found.refusals[0].why == (
        "allow_empty: none of the 3 users that were read has a name (not_stored says why, user_attributes.name by what "
        "attribute)"
    )
    assert judge(ModelStore(), nameless, allow_empty=True).limits == []
    assert judge(ModelStore(), [*nameless, user("ann")]).limits == []
    assert judge(stored(1), nameless).limits == []
    off = [user("ann", enabled=False)]
    assert judge(ModelStore(), off, ignore_disabled_users=True).limits == [], "it is a policy that keeps her out"


def test_what_must_not_be():
    store = ModelStore()
    store.run([user("a", "ann")])
    collision = [user("a", "ann"), user("b", "ann")]
    assert judge(store, collision).limits == []
    found = judge(store, collision, fail_on=["collisions", "unresolved_members"])
    assert [(each.limit, each.would_remove, each.option) for each in found.refusals] == [("collisions", 1, "fail_on")]


def test_members_who_are_left_out_are_unresolved_in_each_run():
    """fail_on sees them. A policy that leaves out who is disabled is another matter, and so is an extinct group."""
    store = ModelStore()
    store.run([user("a", "ann")])
    read = [user("a", "ann"), user("b", "ann"), user("c")._replace(name=None), user("off", enabled=False)]
    lists = [
        group("g", members=["a", "b", "c", "off"], user_groups=["nameless", "h"]),
        group("h", members=["b"]),
        group("nameless")._replace(name=None),
    ]
    for _run in range(2):
        found = judge(store, read, lists, ignore_disabled_users=True, fail_on=["unresolved_members"])
        assert [(key, *each) for key, each in found.plan.unresolved] == [
            ("g", "CN=b", "is left out: the name is taken"),
            ("g", "CN=c", "is left out: it has no name that can be stored"),
            ("g", "CN=nameless", "is left out: it has no name that can be stored"),
            ("h", "CN=b", "is left out: the name is taken"),
        ]
        assert [(each.limit, each.would_remove) for each in found.refusals] == [("unresolved_members", 4)]
        store.run(read, lists, ignore_disabled_users=True)
    assert judge(store, read[:1], [group("g", members=["a"])]).plan.unresolved == []
    of_some = store.snapshot(read, [])._replace(is_full=False, user_groups={}, joined={"h": ["b", "c"]})
    plan = make_plan(policies(), of_some, store.state(), str.casefold, store.times)
    assert [each.value for _key, each in plan.unresolved] == ["CN=b", "CN=c"]


# --- scope -----------------------------------------------------------------------------------------------------------


def test_a_change_of_scope():
    store = stored(100)
    other = {**SCOPE, "user_filter": "(title=nurse)"}
    found = judge(store, people(99), reason=OUT_OF_SCOPE, scopes=(SCOPE, other))
    assert found.limits == ["scope_change"]
    assert "user_filter was not set and is '(title=nurse)'" in found.refusals[0].why
    assert judge(store, people(99), reason=GONE, scopes=(SCOPE, other)).limits == [], "gone is gone"
    assert judge(store, people(99), reason=OUT_OF_SCOPE).limits == [], "the scope is as it was"
    assert judge(store, people(99), reason=OUT_OF_SCOPE, scopes=(None, other)).limits == [], "nothing to compare with"
    assert judge(store, people(99), reason=OUT_OF_SCOPE, scopes=(SCOPE, other), scope_change=True).limits == []
    assert judge(store, people(9), reason=OUT_OF_SCOPE, scopes=(SCOPE, other), scope_change=True).limits == ["users"]
    assert (
        judge(
            store,
            people(9),
            reason=OUT_OF_SCOPE,
            scopes=(SCOPE, other),
            approved_plan=judge(store, people(9), reason=OUT_OF_SCOPE).digests[0],
        ).limits
        == []
    )


def test_another_attribute_for_members_may_end_them_all():
    keys = [body.key for body in people(20)]
    store = stored(20, [group("g", members=keys)])
    other = {**SCOPE, "ldap_parameters.group_members": ["owner"]}
    assert judge(store, people(20), [group("g", members=keys[1:])], scopes=(SCOPE, other)).limits == ["scope_change"]
    assert judge(store, people(20), [group("g", members=keys[1:])]).limits == []


def test_widening_to_the_whole_tree():
    store = stored(4)
    whole = {**SCOPE, "whole_tree": True, "distinguished_name": []}
    assert judge(store, people(5), scopes=(SCOPE, whole)).limits == ["scope_change"]
    assert judge(store, people(5), scopes=(SCOPE, whole), scope_change=True).limits == []
    assert judge(store, people(5), scopes=(whole, whole)).limits == []
    assert judge(store, people(4), scopes=(SCOPE, whole)).limits == [], "a plan with nothing to do is always approved"
    digests = judge(store, people(5)).digests
    assert judge(store, people(5), scopes=(SCOPE, whole), approved_plan=digests[0]).limits == []
    approved = judge(store, people(3)).digests[1]
    assert judge(store, people(3), scopes=(SCOPE, whole), approved_removals=approved).limits == ["scope_change"]


def test_a_change_of_scope_does_not_slip_through_while_its_removals_are_held():
    store = stored(100)
    snapshot = store.snapshot(people(99), (), OUT_OF_SCOPE)
    held = conclusions(make_plan(policies(), snapshot, store.state(), str.casefold), snapshot)
    other = {**SCOPE, "user_filter": "(title=nurse)"}
    found = judge(store, people(99), reason=OUT_OF_SCOPE, scopes=(SCOPE, other), held=held)
    assert found.plan.is_empty and found.limits == ["scope_change"]


# --- approval --------------------------------------------------------------------------------------------------------


def test_an_approved_plan_goes_through_and_no_other():
    store = stored(100)
    approved = judge(store, people(50)).digests[0]
    assert judge(store, people(50), approved_plan=approved).limits == []
    found = judge(store, people(49) + [user("new")], approved_plan=approved)
    assert found.limits == ["approved_plan"]
    assert "users created: 1 instead of 0, users removed: 51 instead of 50" in found.refusals[0].why
    assert judge(store, people(99), approved_plan=approved).limits == ["approved_plan"], "though within the limits"
    assert judge(store, people(100), approved_plan=approved).limits == [], "nothing to do"
    found = judge(store, people(100)[50:], approved_plan=approved)
    assert "as many changes, but others" in found.refusals[0].why


def test_approved_removals_go_through_with_any_additions():
    store = stored(100)
    approved = judge(store, people(50)).digests[1]
    assert judge(store, people(50) + [user("new")], approved_removals=approved).limits == []
    assert judge(store, people(49), approved_removals=approved).limits == ["approved_removals"]
    assert judge(store, people(100) + [user("new")], approved_removals=approved).limits == [], "it removes nothing"
    renamed = [user(body.key, "n" + body.name) for body in people(50)]
    assert judge(store, renamed, approved_removals=approved).limits == ["renames"], "a new name is no removal"


@pytest.mark.parametrize("option", ["approved_plan", "approved_removals"])
@pytest.mark.parametrize("text", ["", "yes", "0" * 64, "users+1-1~1,user_groups+0-0~0,memberships+0-0:xyz"])
def test_what_is_no_digest(option, text):
    with pytest.raises(ValueError, match="is no such digest: give the (plan|removals)_digest of a dry run as it is"):
        _limits.check_digest(option, text)


def test_digests_are_what_the_options_take():
    plan = judge(stored(3), people(2))
    assert _limits.check_digest("approved_plan", plan.digests[0])
    assert _limits.check_digest("approved_removals", plan.digests[1])
    assert not _limits.removes_nothing(plan.digests[1])
    assert _limits.removes_nothing(judge(stored(2), people(3)).digests[1])


def test_the_message_says_why_and_what_to_do():
    found = judge(stored(100), people(9))
    assert _limits.message(found.refusals) == (
        "removal_limits.users: the run would remove, disable or overwrite 91 of 100 users, and at most 20 may go: "
        "nothing was changed; look at a dry run, then approve its plan_digest with approved_plan, or its "
        "removals_digest with approved_removals, or change removal_limits.users; until then whoever left keeps what "
        "they had"
    )
    renamed = found.refusals[0]._replace(limit="renames")
    assert "approved_removals" not in _limits.message([*found.refusals, renamed]), "which it does not allow"
    many = [found.refusals[0]] * 9
    assert "; and 4 more: nothing was changed; " in _limits.message(many)


# --- what is held ----------------------------------------------------------------------------------------------------


def test_what_is_held_stays_as_it_is():
    keys = [body.key for body in people(3)]
    lists = [group("g1", members=keys, user_groups=["g2"]), group("g2", members=keys[:1])]
    for policy in ("skip", "disable", "delete"):
        store = stored(3, lists)
        before = store.state()
        shrunk = [user("u000")], [group("g1", members=["u000"])]
        chosen = policies(user_extinction=policy, user_group_extinction="delete")
        snapshot = store.snapshot(*shrunk)
        plan = make_plan(chosen, snapshot, store.state(), str.casefold)
        held = conclusions(plan, snapshot)
        assert held >= {("user", "u001"), ("user", "u002"), ("user_group", "g2")}
        assert not plan.is_empty
        plan = make_plan(chosen, snapshot, store.state(), str.casefold, held=held)
        assert plan.is_empty, plan
        store.apply(plan)
        assert store.state() == before
        store.apply(make_plan(chosen, store.snapshot(*shrunk), store.state(), str.casefold))
        expected = {"g1": {"u000", "u001", "u002"} if policy == "skip" else {"u000"}}
        assert store.members == expected, "the next run takes them as they are"


def test_a_newcomer_does_not_take_the_place_of_who_is_held():
    store = ModelStore()
    store.run([user("a", "ann")])
    snapshot = store.snapshot([user("b", "ann")], ())
    held = frozenset({("user", "a")})
    plan = make_plan(policies(), snapshot, store.state(), str.casefold, held=held)
    assert plan.users == [] and [each.name for each in plan.collisions] == ["ann"]
