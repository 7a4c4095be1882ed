# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provisioning: laws that hold for every destination, whatever is wanted, there already, and changed by others.

What is foreign is never touched, nothing is created twice, nothing is removed because it was not seen, a second run has
nothing to do, and a run that is killed anywhere is continued by the next one.
"""

from __future__ import annotations

import contextlib
import copy
from types import SimpleNamespace

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _limits
from ansible_collections.usersync.directory.plugins.module_utils._destination.contract import (
    DestinationError,
    Kind,
    Later,
    Record,
    Rejected,
    State,
    Unknown,
)
from ansible_collections.usersync.directory.plugins.module_utils._names import name_key
from ansible_collections.usersync.directory.plugins.module_utils._provision import Task, provision
from ansible_collections.usersync.directory.plugins.module_utils._provisioning.model import (
    Collision,
    DeleteStep,
    Departure,
    Policies,
    Ref,
    UpdateStep,
    Wanted,
)
from hypothesis import given
from hypothesis import strategies as st
from support.dictionary_destination import Content, DictionaryDestination
from support.examples import examples
from support.memory_ledger import MemoryLedger

NAMES = ("ann", "Ann", "bob", "cy", "dee")
USERS = [Ref(Kind.ACCOUNT, "u%d" % number) for number in range(5)]
GROUPS = [Ref(Kind.GROUP, "g%d" % number) for number in range(3)]
ALL_LISTED, NOTHING_LISTED = frozenset(Kind), frozenset()

EVERYTHING = SimpleNamespace(
    removal_limits=dict.fromkeys(_limits.KINDS, "100%"), fail_on=(), approved_plan=None, approved_removals=None
)


class Killed(BaseException):
    """The process ends here."""


# --- what is wanted, and what others do -------------------------------------------------------------------------------


def attributes():
    return st.sampled_from([{}, {"title": "Nurse"}, {"title": "Boss", "mail": "m"}])


@st.composite
def wants(draw):
    users = draw(st.lists(st.sampled_from(USERS), unique=True))
    groups = draw(st.lists(st.sampled_from(GROUPS), unique=True))
    records = {
        ref: Record(
            draw(st.sampled_from(NAMES)),
            ref.key,
            draw(st.sampled_from([State.ENABLED, State.ENABLED, State.DISABLED])),
            draw(attributes()),
        )
        for ref in users
    }
    records.update((ref, Record(draw(st.sampled_from(["staff", "Staff", "night"])), ref.key)) for ref in groups)
    members = {
        ref: frozenset(draw(st.sets(st.sampled_from(users + [each for each in groups if each < ref]))))
        if users
        else frozenset()
        for ref in groups
    }
    return Wanted(records, members)


class Others:
    """Somebody else changes what is there: by numbers, so that the same is done to two copies."""

    def __init__(self, deeds):
        self.deeds = deeds

    def act(self, content):
        for what, one, other in self.deeds:
            ids = sorted(content.records[Kind.ACCOUNT])
            groups = sorted(content.records[Kind.GROUP])
            if what == "add":
                name = NAMES[one % len(NAMES)] if other % 2 else "other%d" % one
                if content.named(Kind.ACCOUNT, name) is None:
                    content.add(
                        Kind.ACCOUNT, Record(name, "u%d" % (other % 5) if other % 3 == 0 else "", State.ENABLED, {})
                    )
            elif what == "join" and ids and groups:
                content.members[groups[other % len(groups)]].add(ids[one % len(ids)])
            elif what == "leave" and groups:
                group = content.members[groups[other % len(groups)]]
                group.difference_update(sorted(group)[:1])
            elif what == "edit" and ids:
                number = ids[one % len(ids)]
                record = content.records[Kind.ACCOUNT][number]
                state = State.DISABLED if other % 2 else State.ENABLED
                content.records[Kind.ACCOUNT][number] = record._replace(state=state, attributes={"title": "Else"})
            elif what == "remove" and ids:
                content.remove(Kind.ACCOUNT, ids[one % len(ids)])
            elif what == "remove group" and groups:
                content.remove(Kind.GROUP, groups[one % len(groups)])


def deeds(*what):
    numbers = st.integers(0, 9)
    return st.lists(st.tuples(st.sampled_from(what), numbers, numbers), max_size=4).map(Others)


DEEDS = ("add", "join", "leave", "edit", "remove", "remove group")
all_policies = st.builds(Policies, st.sampled_from(Collision), st.sampled_from(Departure), st.booleans(), st.just(True))


def destination(content, lists=ALL_LISTED, **more):
    return DictionaryDestination(content, lists=lists, largest_change=2, **more)


def run(wanted, made, ledger, policies=None, settings=EVERYTHING, check_mode=False):
    return provision(Task("p", "d", wanted, policies or Policies(), settings), made, ledger, check_mode)


def seen(content):
    """All that is there, without ids."""
    names = {number: (kind, each.name) for kind in Kind for number, each in content.records[kind].items()}
    records = [(kind, each) for kind in Kind for each in content.records[kind].values()]
    return (
        sorted((kind, *each[:2], each.state.value, sorted(each.attributes.items())) for kind, each in records),
        sorted((names[group], sorted(names[each] for each in members)) for group, members in content.members.items()),
    )


def of_foreign(content, ledger):
    ours = {(ref.kind, link.id) for ref, link in ledger.links().items()}
    return {
        (kind, number): (record, content.members.get(number) and set(content.members[number]))
        for kind in Kind
        for number, record in content.records[kind].items()
        if (kind, number) not in ours
    }


# --- laws ------------------------------------------------------------------------------------------------------------


@examples(300)
@given(st.lists(st.tuples(deeds(*DEEDS), wants(), all_policies), min_size=1, max_size=4), st.booleans())
def test_laws_where_all_can_be_read(history, atomic):
    content, ledger = Content(), MemoryLedger()
    for others, wanted, policies in history:
        others.act(content)
        foreign = of_foreign(content, ledger)
        before = copy.deepcopy(content)
        links = ledger.links()
        # An account of somebody whose id leads to nothing, and who may have got another one: it ends if he has left.
        of_ours = {ref.key for ref, link in links.items() if link.id not in content.records[ref.kind]}
        checked = run(wanted, destination(content, atomic=atomic), ledger, policies, check_mode=True)
        assert seen(content) == seen(before) and ledger.links() == links, "check mode changes nothing"
        done = run(wanted, destination(content, atomic=atomic), ledger, policies)
        assert checked[:4] == done[:4], "check mode says what the run does"
        assert not done.carried_out.failed and not done.carried_out.left, "the plan can be carried out"

        left_out = {each.ref for each in (*done.plan.collisions, *done.plan.left_out)}
        links = ledger.links()
        for place, was in foreign.items():
            record, members = was
            if place not in {(ref.kind, link.id) for ref, link in links.items()} and record.external_id not in of_ours:
                assert content.records[place[0]][place[1]] == record, "what is foreign stays as it is"
        for ref, record in wanted.records.items():
            of_key = [each for each in content.records[ref.kind].values() if each.external_id == ref.key]
            if ref.key in of_ours and record.state is State.DISABLED and len(of_key) == 1:
                assert of_key[0].state is State.DISABLED, "whatever is said of collisions"
            if ref in left_out:
                continue
            there = content.records[ref.kind][links[ref].id]
            assert (there.name, there.state) == (record.name, record.state)
            assert all(there.attributes.get(name) == text for name, text in record.attributes.items())
        for ref, members in wanted.members.items():
            if ref in links and ref not in left_out:
                ours = {number: each for each, link in links.items() for number in [link.id]}
                # One that somebody removed there, and whose name is taken since, is linked and not there.
                there = {ref for ref, link in links.items() if link.id in content.records[ref.kind]}
                assert {ours[each] for each in content.members[links[ref].id] if each in ours} == members & there
        for ref, link in links.items():
            if ref not in wanted.records and ref.kind is Kind.ACCOUNT and policies.departure is Departure.DISABLE:
                assert content.records[Kind.ACCOUNT][link.id].state is State.DISABLED
        names = [name_key(each.name) for each in content.records[Kind.ACCOUNT].values()]
        assert len(names) == len(set(names))
        again = run(wanted, destination(content, atomic=atomic), ledger, policies)
        collisions = {each.ref for each in again.plan.collisions}
        assert again.plan.is_empty, "the second run has nothing to do"
        assert {each.ref for each in again.plan.drift} <= collisions, "what drifted is as it was, if it has its name"
        assert collisions == {each.ref for each in done.plan.collisions}


@examples(200)
@given(
    st.lists(wants(), min_size=1, max_size=3),
    deeds("add"),
    all_policies,
    st.sampled_from([ALL_LISTED, NOTHING_LISTED, frozenset({Kind.ACCOUNT}), frozenset({Kind.GROUP})]),
    st.booleans(),
    st.lists(st.integers(0, 12), min_size=1, max_size=4),
    st.booleans(),
)
def test_a_run_that_is_killed_anywhere_is_continued(wanted, others, policies, lists, atomic, kills, before):
    ours, theirs = (Content(), MemoryLedger()), (Content(), MemoryLedger())
    for content, _ledger in (ours, theirs):
        others.act(content)
    for each in wanted:
        run(each, destination(ours[0], lists, atomic=atomic), ours[1], policies)
        for at in kills:
            with contextlib.suppress(Killed):
                run(each, destination(theirs[0], lists, atomic=atomic, **killing(at, before)), theirs[1], policies)
        done = run(each, destination(theirs[0], lists, atomic=atomic), theirs[1], policies)
        assert seen(theirs[0]) == seen(ours[0])
        assert theirs[1].intents() == ours[1].intents()
        refused = {each.ref for each in (*done.carried_out.failed, *done.plan.collisions, *done.plan.left_out)}
        assert ours[1].intents().keys() <= refused, "the next run looks for these"
        one, other = (
            {ref: link._replace(id="") for ref, link in ledger.links().items()} for _content, ledger in (ours, theirs)
        )
        assert one.keys() == other.keys()
        assert all(one[ref] == other[ref] for ref in one.keys() - refused), "but for what is still in doubt"


@st.composite
def comings_and_goings(draw):
    """Users and groups of other names each: who is in which, and enabled."""
    users = draw(st.lists(st.sampled_from(USERS), unique=True))
    records = {ref: Record(ref.key, ref.key, draw(st.sampled_from([State.ENABLED, State.DISABLED]))) for ref in users}
    groups = {ref: Record(ref.key, ref.key) for ref in GROUPS}
    members = {ref: frozenset(draw(st.sets(st.sampled_from(users)))) if users else frozenset() for ref in groups}
    return Wanted({**records, **groups}, members)


@examples(300)
@given(
    st.lists(st.tuples(comings_and_goings(), st.integers(0, 8), st.sampled_from(["lost", "killed"])), max_size=4),
    comings_and_goings(),
    st.sampled_from([ALL_LISTED, NOTHING_LISTED]),
    st.builds(Policies, departure=st.sampled_from([Departure.DISABLE, Departure.DELETE]), restores_drift=st.booleans()),
    st.booleans(),
)
def test_what_nobody_knows_of_is_set_right(history, last, lists, policies, atomic):
    """Runs are killed, or have no answers, and the store wants something else by then: nobody stays in or out by it."""
    content, ledger = Content(), MemoryLedger()
    for wanted, at, how in history:
        made = destination(content, lists, atomic=atomic, **(killing(at, before=False) if how == "killed" else {}))
        if how == "lost":
            losing(made, at)
        with contextlib.suppress(Killed):
            run(wanted, made, ledger, policies)
    done = run(last, destination(content, lists, atomic=atomic), ledger, policies)
    assert not done.carried_out.failed and not done.plan.left_out and not done.plan.drift
    assert {each.key for each in last.records} <= {
        each.name for kind in Kind for each in content.records[kind].values()
    }
    for number, record in content.records[Kind.ACCOUNT].items():
        wanted = last.records.get(Ref(Kind.ACCOUNT, record.name))
        assert record.state is (wanted.state if wanted else State.DISABLED), (number, record.name)
    names = {number: each.name for number, each in content.records[Kind.ACCOUNT].items()}
    inside = {content.records[Kind.GROUP][group].name: each for group, each in content.members.items()}
    for ref, members in last.members.items():
        assert {names[each] for each in inside[ref.key]} == {each.key for each in members}
    assert len(created(content)) == len(set(created(content)))
    assert not any(link.in_doubt or link.written.state is State.UNTOLD for link in ledger.links().values())


def losing(made, at):
    """From a change on, a destination makes each, and its answer is lost."""
    apply = made.apply

    def lost(change):
        outcome = apply(change)
        return Unknown("lost", True) if len(made.applied) > at else outcome

    made.apply = lost


def killing(at, before):
    """Arguments of a destination that ends the process at a change: before it is made, or after."""
    left = [at]

    def kill(_change):
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    return {"before" if before else "after": kill}


def created(content):
    return [each.external_id for kind in Kind for each in content.records[kind].values() if each.external_id]


@examples(200)
@given(st.lists(wants(), min_size=1, max_size=4), all_policies, st.lists(st.integers(0, 12), max_size=3))
def test_where_nothing_can_be_read_nothing_is_created_twice_or_removed_unseen(wanted, policies, kills):
    """It neither lists nor filters. What was being created when a run was killed is never created again."""
    content, ledger = Content(), MemoryLedger()
    for each in wanted:
        for at in [*kills, 1000]:
            made = destination(content, NOTHING_LISTED, filters=False, **killing(at, before=False))
            try:
                done = run(each, made, ledger, policies)
            except Killed:
                continue
            for step in done.plan.steps:
                if isinstance(step, DeleteStep) or isinstance(step, UpdateStep) and step.departed:
                    assert step.ref not in each.records
        assert len(created(content)) == len(set(created(content)))
        made = destination(content, NOTHING_LISTED, filters=False)
        assert not run(each, made, ledger, policies).carried_out.done, "and nothing is done again"


# --- one rule each ---------------------------------------------------------------------------------------------------

ANN, BOB, STAFF = USERS[0], USERS[1], GROUPS[0]


def of(*records, **members):
    return Wanted(
        dict(records),
        {Ref(Kind.GROUP, key): frozenset(refs) for key, refs in members.items()},
    )


def ann(name="ann", state=State.ENABLED, **attributes):
    return ANN, Record(name, ANN.key, state, attributes)


def bob(name="bob"):
    return BOB, Record(name, BOB.key)


def staff(name="staff"):
    return STAFF, Record(name, STAFF.key)


def started(*records, **members):
    """A destination that was made equal to this."""
    content, ledger = Content(), MemoryLedger()
    run(of(*records, **members), destination(content), ledger)
    return content, ledger


def record_of(content, ledger, ref):
    return content.records[ref.kind][ledger.links()[ref].id]


def test_two_who_swap_names_do_so_in_one_run():
    content, ledger = started(ann(), bob())
    done = run(of(ann("bob"), bob("ann")), destination(content), ledger)
    assert (record_of(content, ledger, ANN).name, record_of(content, ledger, BOB).name) == ("bob", "ann")
    assert not done.carried_out.failed


def test_a_name_is_free_before_it_is_given_to_somebody_new():
    content, ledger = started(ann())
    policies = Policies(departure=Departure.DELETE)
    done = run(of(bob("ann")), destination(content), ledger, policies)
    assert [each.name for each in content.records[Kind.ACCOUNT].values()] == ["ann"] and not done.carried_out.failed


def test_the_name_of_somebody_who_departed_is_not_given():
    content, ledger = started(ann())
    done = run(of(bob("ANN")), destination(content), ledger)
    assert [(each.ref, each.why) for each in done.plan.collisions] == [(BOB, "'ANN' is the name of u0")]
    assert record_of(content, ledger, ANN).state is State.DISABLED


def test_who_left_is_disabled_before_members_are_removed_and_others_added_at_the_end():
    content, ledger = started(ann(), staff(), g0=[ANN])
    made = destination(content)
    run(of(bob(), staff(), g0=[BOB]), made, ledger)
    assert [change.__class__.__name__ for change in made.applied] == [
        "Update",
        "ChangeMembers",
        "Create",
        "ChangeMembers",
    ]


def test_who_is_disabled_is_so_before_members_are_removed_and_before_anything_else():
    content, ledger = started(ann(), bob(), staff(), g0=[BOB])
    made = destination(content)
    run(of(ann(state=State.DISABLED, title="Nurse"), bob("bobby"), staff(), g0=[]), made, ledger)
    assert [getattr(change, "id", "members") for change in made.applied] == [
        ledger.links()[ANN].id,
        "members",
        ledger.links()[BOB].id,
    ]


@pytest.mark.parametrize(
    "lists, departure",
    [
        (lists, departure)
        for lists in (ALL_LISTED, NOTHING_LISTED)
        for departure in (Departure.DISABLE, Departure.DELETE)
    ],
)
def test_who_left_and_is_there_under_another_id_loses_the_account(lists, departure):
    content, ledger = started(ann(), bob(), staff(), g0=[ANN, BOB])
    for ref in (ANN, BOB):
        number = ledger.links()[ref].id
        record, inside = content.records[Kind.ACCOUNT][number], ledger.links()[STAFF].id
        content.remove(Kind.ACCOUNT, number)
        content.members[inside].add(content.add(Kind.ACCOUNT, record))
    policies = Policies(Collision.LINK_BY_EXTERNAL_ID, departure)
    for _again in range(2):  # where nothing is listed, the first change finds out
        run(of(bob(), staff(), g0=[BOB]), destination(content, lists), ledger, policies)
    states = {each.name: each.state for each in content.records[Kind.ACCOUNT].values()}
    assert states.pop("bob") is State.ENABLED
    assert states == ({"ann": State.DISABLED} if departure is Departure.DISABLE else {})


def refusing(made, number):
    """A destination that changes nothing of one account."""
    apply = made.apply
    made.apply = lambda change: Rejected("the owner") if getattr(change, "id", "") == number else apply(change)
    return made


@pytest.mark.parametrize("protected", [ANN, BOB])
def test_a_swap_of_names_of_which_one_is_refused_leaves_no_name_that_was_made_up(protected):
    content, ledger = started(ann(), bob())
    number = ledger.links()[protected].id
    swapped = of(ann("bob"), bob("ann"))
    for _again in range(2):
        run(swapped, refusing(destination(content), number), ledger)
        assert sorted(each.name for each in content.records[Kind.ACCOUNT].values()) == ["ann", "bob"]
    run(swapped, destination(content), ledger)
    assert (record_of(content, ledger, ANN).name, record_of(content, ledger, BOB).name) == ("bob", "ann")


@pytest.mark.parametrize("at", [1, 2])
def test_a_name_that_was_made_up_by_a_run_that_was_killed_is_put_right(at):
    content, ledger = started(ann(), bob())
    swapped = of(ann("bob"), bob("ann"))
    with contextlib.suppress(Killed):
        run(swapped, destination(content, **killing(at, before=True)), ledger)
    protected = next(
        link.id for link in ledger.links().values() if content.records[Kind.ACCOUNT][link.id].name in ("ann", "bob")
    )
    run(swapped, refusing(destination(content), protected), ledger)
    names = sorted(each.name for each in content.records[Kind.ACCOUNT].values())
    assert names == ["ann", "bob"] or at == 2, names


def test_who_returns_is_the_same_account_enabled_again():
    content, ledger = started(ann(), bob())
    number = ledger.links()[ANN].id
    run(of(bob()), destination(content), ledger)
    assert content.records[Kind.ACCOUNT][number].state is State.DISABLED
    run(of(ann(), bob()), destination(content), ledger)
    assert ledger.links()[ANN].id == number and record_of(content, ledger, ANN).state is State.ENABLED


def test_drift_is_restored_or_reported_and_told_either_way():
    content, ledger = started(ann(title="Nurse"))
    number = ledger.links()[ANN].id
    changed = Record("ann", ANN.key, State.DISABLED, {"title": "Boss", "foreign": "stays"})
    for restores in (False, True):
        content.records[Kind.ACCOUNT][number] = changed
        done = run(of(ann(title="Nurse")), destination(content), ledger, Policies(restores_drift=restores))
        assert [each[2:] for each in done.plan.drift] == [
            ("attributes.title", "Nurse", "Boss"),
            ("state", "enabled", "disabled"),
        ]
        expected = Record("ann", ANN.key, State.ENABLED, {"title": "Nurse", "foreign": "stays"})
        assert content.records[Kind.ACCOUNT][number] == (expected if restores else changed)


def test_what_we_change_ourselves_is_no_drift():
    content, ledger = started(ann(title="Nurse"))
    done = run(of(ann("anna", title="Boss")), destination(content), ledger)
    assert done.plan.drift == () and record_of(content, ledger, ANN).attributes == {"title": "Boss"}


def test_what_somebody_else_made_as_we_want_it_is_no_drift_and_costs_nothing():
    content, ledger = started(ann(title="Nurse"))
    number = ledger.links()[ANN].id
    content.records[Kind.ACCOUNT][number] = ann(title="Boss")[1]
    done = run(of(ann(title="Boss")), destination(content), ledger)
    assert done.plan.drift == () and done.plan.is_empty and ledger.links()[ANN].written == ann(title="Boss")[1]


def test_whoever_has_the_key_is_taken_over_before_who_has_the_name():
    content, ledger = Content(), MemoryLedger()
    by_name, by_key = content.add(Kind.ACCOUNT, Record("bob", "u0")), content.add(Kind.ACCOUNT, Record("cy", "u1"))
    run(of(bob("ann"), ann("bob")), destination(content), ledger, Policies(collision=Collision.LINK_BY_NAME))
    assert {ref: link.id for ref, link in ledger.links().items()} == {ANN: by_name, BOB: by_key}
    content, ledger = Content(), MemoryLedger()
    number = content.add(Kind.ACCOUNT, Record("ann", "u1"))
    run(of(ann(), bob()), destination(content), ledger, Policies(collision=Collision.LINK_BY_NAME))
    assert ledger.links()[BOB].id == number and ledger.links()[ANN].id != number
    assert sorted(each.name for each in content.records[Kind.ACCOUNT].values()) == ["ann", "bob"]


def test_a_group_is_deleted_without_its_members_being_removed_first():
    content, ledger = started(ann(), staff(), g0=[ANN])
    made = destination(content)
    run(of(ann()), made, ledger, Policies(departure=Departure.DELETE))
    assert [change.__class__.__name__ for change in made.applied] == ["Delete"]


def test_who_is_gone_has_no_name_any_more():
    """His name was given to somebody else there, and the one that he wants now is taken: he is not created."""
    content, ledger = started(ann())
    content.remove(Kind.ACCOUNT, ledger.links()[ANN].id)
    content.add(Kind.ACCOUNT, Record("ann"))
    run(of(ann(), bob("dee")), destination(content), ledger)
    done = run(of(ann("dee")), destination(content), ledger)
    assert [each.ref for each in done.plan.collisions] == [ANN] and not done.carried_out.failed


def test_a_swap_of_names_that_is_killed_leaves_nothing_of_what_was_written():
    """The one who goes out of the way has a title that ends, too."""
    content, ledger = started(ann(), (BOB, Record("bob", BOB.key, State.ENABLED, {"title": "Nurse"})))
    swapped = of(ann("bob"), bob("ann"))
    with contextlib.suppress(Killed):
        run(swapped, destination(content, **killing(1, before=False)), ledger)
    run(swapped, destination(content), ledger)
    assert record_of(content, ledger, BOB) == Record("ann", BOB.key)


def test_who_has_the_key_of_another_one_is_not_taken_over_by_name():
    content, ledger = Content(), MemoryLedger()
    content.add(Kind.ACCOUNT, Record("ann", BOB.key))
    content.add(Kind.ACCOUNT, Record("else", BOB.key))
    done = run(of(ann(), bob()), destination(content), ledger, Policies(collision=Collision.LINK_BY_NAME))
    assert [each.ref for each in done.plan.collisions] == [ANN, BOB] and done.plan.is_empty


def test_a_removal_that_was_not_kept_is_known_before_the_account_is_deleted():
    """So the history has both."""
    content, ledger = started(ann(), bob(), staff(), g0=[ANN, BOB])
    gone = of(bob(), staff(), g0=[BOB])
    deleting = Policies(departure=Departure.DELETE)
    with contextlib.suppress(Killed):
        run(gone, destination(content, **killing(0, before=False)), ledger, deleting)
    assert len(content.members[ledger.links()[STAFF].id]) == 1 and ANN in ledger.links()[STAFF].members
    with contextlib.suppress(Killed):
        run(gone, destination(content, **killing(0, before=True)), ledger, deleting)
    assert ledger.links()[STAFF].members == {BOB} and ANN in ledger.links()


def test_a_foreign_member_who_is_taken_over_and_not_wanted_there_is_removed_at_once():
    content, ledger = started(staff(), g0=[])
    content.members[ledger.links()[STAFF].id].add(content.add(Kind.ACCOUNT, Record("ann")))
    policies = Policies(collision=Collision.LINK_BY_NAME)
    run(of(ann(), staff(), g0=[]), destination(content), ledger, policies)
    assert content.members[ledger.links()[STAFF].id] == set()


@pytest.mark.parametrize("filters", [True, False])
def test_who_was_to_be_deleted_and_is_not_there_is_forgotten(filters):
    """Where somebody may be found by a filter, he is looked for by the next run: he may have another id."""
    content, ledger = started(ann(), bob())
    content.remove(Kind.ACCOUNT, ledger.links()[ANN].id)
    for again in (False, True):
        made = destination(content, NOTHING_LISTED, filters=filters)
        done = run(of(bob()), made, ledger, Policies(departure=Departure.DELETE))
        assert bool(done.carried_out.failed) is (filters and not again)
    assert ledger.links().keys() == {BOB} and [each.what for each in done.plan.drift] == ["gone"] * filters


def test_who_is_created_again_is_put_into_groups_again_even_where_nothing_is_shown():
    content, ledger = started(ann(), staff(), g0=[ANN])
    content.remove(Kind.ACCOUNT, ledger.links()[ANN].id)
    for title in ("Nurse", "Boss"):  # the first change finds out that he is gone, the second run creates him again
        wanted = of(ann(title=title), staff(), g0=[ANN])
        done = run(wanted, destination(content, NOTHING_LISTED, filters=False), ledger)
        assert not done.carried_out.failed or title == "Nurse"
    assert content.members[ledger.links()[STAFF].id] == {ledger.links()[ANN].id}


@pytest.mark.parametrize("removes", [False, True])
def test_foreign_members_stay_unless_the_policy_removes_them(removes):
    content, ledger = started(ann(), staff(), g0=[ANN])
    foreign = content.add(Kind.ACCOUNT, Record("zoe"))
    group = ledger.links()[STAFF].id
    content.members[group].add(foreign)
    done = run(of(ann(), staff(), g0=[ANN]), destination(content), ledger, Policies(removes_foreign_members=removes))
    assert (foreign in content.members[group]) is not removes
    assert ("zoe", "staff") in [(each.name, each.member_of) for each in done.plan.foreign]


@pytest.mark.parametrize("restores", [False, True])
def test_who_was_removed_there_is_told_and_not_created_again_unless_drift_is_restored(restores):
    content, ledger = started(ann(), staff(), g0=[ANN])
    content.remove(Kind.ACCOUNT, ledger.links()[ANN].id)
    done = run(of(ann(), staff(), g0=[ANN]), destination(content), ledger, Policies(restores_drift=restores))
    assert [each.what for each in done.plan.drift][:1] == ["gone"]
    assert bool(content.records[Kind.ACCOUNT]) is restores
    assert bool(content.members[ledger.links()[STAFF].id]) is restores


COLLISIONS = [
    (Collision.REFUSE, "u0", "other", False),
    (Collision.REFUSE, "", "ANN", False),
    (Collision.LINK_BY_EXTERNAL_ID, "u0", "other", True),
    (Collision.LINK_BY_EXTERNAL_ID, "", "ANN", False),
    (Collision.LINK_BY_EXTERNAL_ID, "x", "ANN", False),
    (Collision.LINK_BY_NAME, "u0", "other", True),
    (Collision.LINK_BY_NAME, "", "ANN", True),
]


@pytest.mark.parametrize("lists", [ALL_LISTED, NOTHING_LISTED], ids=["listed", "looked up"])
@pytest.mark.parametrize("policy, key, name, taken", COLLISIONS)
def test_somebody_who_is_there_is_taken_over_only_if_that_is_allowed(policy, key, name, taken, lists):
    content, ledger = Content(), MemoryLedger()
    number = content.add(Kind.ACCOUNT, Record(name, key, attributes={"nick": "stays"}))
    done = run(of(ann()), destination(content, lists), ledger, Policies(collision=policy))
    assert len(content.records[Kind.ACCOUNT]) == 1
    assert [each.ref for each in done.plan.collisions] == ([] if taken else [ANN])
    expected = Record(*("ann", "u0") if taken else (name, key), attributes={"nick": "stays"})
    assert content.records[Kind.ACCOUNT][number] == expected


def test_a_value_that_the_destination_writes_in_its_own_way_is_no_drift():
    content, ledger = started(ann(mail="Ann@Corp"))
    link = ledger.links()[ANN]
    ledger.link(ANN, link._replace(shown={"mail": "ann@corp"}))
    content.records[Kind.ACCOUNT][link.id] = Record("ANN", ANN.key, State.UNTOLD, {"mail": "ann@corp"})
    done = run(of(ann(mail="Ann@Corp")), destination(content), ledger)
    assert done.plan.is_empty and done.plan.drift == ()


# --- limits and approval


def settings(limit="50%", **more):
    given = {"fail_on": (), "approved_plan": None, "approved_removals": None, **more}
    return SimpleNamespace(removal_limits=dict.fromkeys(_limits.KINDS, limit), **given)


def people(number):
    return [(Ref(Kind.ACCOUNT, "p%02d" % each), Record("p%02d" % each, "p%02d" % each)) for each in range(number)]


def test_a_run_that_takes_too_much_is_refused_and_writes_nothing():
    content, ledger = started(*people(10), staff(), g0=[ref for ref, _record in people(10)])
    before, links = copy.deepcopy(content), ledger.links()
    wanted = of(*people(4), staff(), g0=[ref for ref, _record in people(4)])
    done = run(wanted, destination(content), ledger, settings=settings())
    assert [(each.limit, each.would_remove, each.of) for each in done.refused] == [
        ("users", 6, 10),
        ("memberships", 6, 10),
    ]
    assert done.carried_out is None and seen(content) == seen(before) and ledger.links() == links
    for option, digest in (("approved_plan", done.plan_digest), ("approved_removals", done.removals_digest)):
        assert _limits.check_digest(option, digest)
        approved = settings(**{option: digest})
        assert run(wanted, destination(content), ledger, settings=approved, check_mode=True).refused == []
        wrong = settings(**{option: digest[:-1] + ("0" if digest[-1] != "0" else "1")})
        assert [each.limit for each in run(wanted, destination(content), ledger, settings=wrong).refused] == [option]


@pytest.mark.parametrize("approved", [False, True])
def test_the_rest_of_a_plan_that_was_allowed_needs_no_second_permission(approved):
    content, ledger = started(*people(10))
    wanted = of(*people(4))
    allowing = settings("60%")
    if approved:
        allowing = settings(approved_plan=run(wanted, destination(content), ledger, settings=settings()).plan_digest)
    with contextlib.suppress(Killed):
        run(wanted, destination(content, **killing(2, before=False)), ledger, settings=allowing)
    strict = settings("0", approved_plan=allowing.approved_plan)
    fewer = run(of(*people(3)), destination(content), ledger, settings=strict)
    assert [(each.limit, each.would_remove) for each in fewer.refused] == [("users", 1)], (
        "only what came later is counted"
    )
    done = run(wanted, destination(content), ledger, settings=strict)
    assert done.refused == [] and not done.carried_out.left
    assert ledger.allowed() == frozenset()


def test_digests_say_whose_account_is_taken_over():
    digests = set()
    for numbers in range(2):
        content = Content()
        content.given = numbers
        content.add(Kind.ACCOUNT, Record("ann"))
        by_name = Policies(collision=Collision.LINK_BY_NAME)
        digests.add(run(of(ann()), destination(content), MemoryLedger(), by_name, check_mode=True).plan_digest)
    assert len(digests) == 2


def test_digests_say_what_and_not_in_which_order():
    wanted = of(*people(3), staff())
    turned = Wanted(dict(reversed(wanted.records.items())), wanted.members)
    one, other = (run(each, destination(Content()), MemoryLedger(), check_mode=True) for each in (wanted, turned))
    assert one[1:3] == other[1:3]
    assert one.plan_digest.startswith("users+3-0~0,user_groups+1-0~0,memberships+0-0:")


# --- several creations at once ---------------------------------------------------------------------------------------


class Counting(MemoryLedger):
    """It counts what is kept, and the most that was being created at a time."""

    def __init__(self):
        super().__init__()
        self.kept, self.most, self._inside = 0, 0, False

    @contextlib.contextmanager
    def at_once(self):
        self.kept, self._inside = self.kept + 1, True
        with super().at_once():
            yield
        self._inside = False

    def intend(self, ref, record):
        super().intend(ref, record)
        self.most = max(self.most, len(self._intents))

    def link(self, ref, link):
        super().link(ref, link)
        self.kept += not self._inside


def test_several_creations_are_kept_at_once():
    content, ledger = Content(), Counting()
    run(of(*people(50)), destination(content), ledger)
    assert len(ledger.links()) == 50 and (ledger.kept, ledger.most) == (6, 20)


def test_where_nothing_can_be_read_each_creation_is_kept_by_itself():
    """If the run is killed, nobody can tell of more than one whether it is there."""
    content, ledger = Content(), Counting()
    run(of(*people(50)), destination(content, NOTHING_LISTED, filters=False), ledger)
    assert len(ledger.links()) == 50 and (ledger.kept, ledger.most) == (100, 1)


@pytest.mark.parametrize(
    "outcome", [Later(0, "later"), DestinationError("token: no"), Unknown("lost", True), Rejected("no")]
)
def test_a_run_that_ends_among_several_creations_has_those_that_were_made(outcome):
    content, ledger = Content(), Counting()
    made = destination(content)
    apply = made.apply

    def ends(change):
        if len(made.applied) < 3:
            return apply(change)
        if isinstance(outcome, DestinationError):
            raise outcome
        return outcome

    made.apply = ends
    with contextlib.suppress(DestinationError):
        run(of(*people(10)), made, ledger)
    assert len(ledger.links()) == 3
    may_be_there = {Unknown: 3, Rejected: 7}  # three without an answer in a row end a run; a refusal is not believed
    assert len(ledger.intents()) == may_be_there.get(type(outcome), 0)
    run(of(*people(10)), destination(content), ledger)
    assert len(created(content)) == len(set(created(content))) == 10 and ledger.intents() == {}


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("at", range(0, 25, 3))
def test_a_run_that_is_killed_among_several_creations_is_continued(at, before):
    content, ledger = Content(), Counting()
    with contextlib.suppress(Killed):
        run(of(*people(25)), destination(content, **killing(at, before)), ledger)
    assert len(ledger.links()) in (0, 20), "what came of them is kept at once"
    run(of(*people(25)), destination(content), ledger)
    assert len(created(content)) == len(set(created(content))) == 25 and ledger.intents() == {}
