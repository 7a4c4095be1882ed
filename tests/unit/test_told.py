# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened since the last acknowledgement: nothing is lost and nothing skipped, wherever a loop ends."""

from __future__ import annotations

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._destination.contract import Kind, Record, State
from ansible_collections.usersync.directory.plugins.module_utils._provisioning import changes as core
from ansible_collections.usersync.directory.plugins.module_utils._provisioning.model import Link, Ref, Wanted
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples

USERS = [Ref(Kind.ACCOUNT, "u%d" % number) for number in range(4)]
GROUPS = [Ref(Kind.GROUP, "g%d" % number) for number in range(2)]
ANN, BOB, CY, _DEE = USERS
STAFF, NIGHT = GROUPS


# --- a service, and who works on it ----------------------------------------------------------------------------------


class Service:
    """Accounts by key, and members by path: what loops over the lists make of it, in the order that is documented."""

    def __init__(self):
        self.accounts = {}
        self.groups = {}

    def work(self, lists, at_most=1_000_000):
        """Do so many single things of the lists."""
        for does, entry in list(self._deeds(lists))[:at_most]:
            does(entry)

    def _deeds(self, lists):
        for each in lists["changed_groups"]:
            yield self._group, each
        for each in lists["renamed"]:
            yield self._rename, each
        for each in lists["left"]:
            yield self._leave, each
        for name in ("updated", "disabled", "enabled"):
            for each in lists[name]:
                yield self._set, each
        for each in lists["joined"]:
            yield self._join, each
        for each in lists["changed_groups"]:
            if "deleted" in each["changes"]:
                yield self._end, each

    def _group(self, entry):
        if "deleted" in entry["changes"]:
            return
        for path in entry["previous_paths"]:
            if path in self.groups:
                self.groups.setdefault(entry["path"], set()).update(self.groups.pop(path))
        self.groups.setdefault(entry["path"], set())

    def _end(self, entry):
        for path in (entry["path"], *entry["previous_paths"]):
            self.groups.pop(path, None)

    def _rename(self, entry):
        if entry["key"] in self.accounts:
            _name, *rest = self.accounts[entry["key"]]
            self.accounts[entry["key"]] = (entry["name"], *rest)

    def _leave(self, entry):
        self.groups.get(entry["user_group"], set()).discard(entry["key"])
        if entry["is_last"]:
            self.accounts.pop(entry["key"], None)

    def _set(self, entry):
        if entry["key"] in self.accounts:
            name = self.accounts[entry["key"]][0]
            self.accounts[entry["key"]] = (name, entry["enabled"], entry["attributes"])

    def _join(self, entry):
        self.accounts[entry["key"]] = (entry["name"], entry["enabled"], entry["attributes"])
        self.groups.setdefault(entry["user_group"], set()).add(entry["key"])


class Play:
    """One who asks, works and acknowledges."""

    def __init__(self):
        self.links, self.told, self.service = {}, core.Told(), Service()

    def look(self, wanted):
        changes = core.changes_since(wanted, self.links, self.told)
        digest = core.digest_of(core.plan_of(changes), "p", self.told)
        if changes:
            self.told = core.told_in(core.told_to_text(core.told_of(changes, digest, self.told)))
        return digest, core.lists_of(changes, wanted)

    def acknowledge(self):
        for ref, link in core.acknowledged(self.links, self.told).items():
            if link is None:
                self.links.pop(ref, None)
            else:
                self.links[ref] = link
        self.told = core.Told(acknowledged=self.told.digest or self.told.acknowledged)


def as_it_is_wanted(wanted):
    accounts = {
        ref.key: (each.name, each.state is State.ENABLED, each.attributes)
        for ref, each in wanted.records.items()
        if ref.kind is Kind.ACCOUNT
    }
    groups = {wanted.records[ref].name: {each.key for each in members} for ref, members in wanted.members.items()}
    return accounts, groups


@st.composite
def wants(draw):
    groups = draw(st.lists(st.sampled_from(GROUPS), unique=True, min_size=1))
    members = {ref: frozenset(draw(st.sets(st.sampled_from(USERS)))) for ref in groups}
    records = {
        ref: Record(
            draw(st.sampled_from(["", "other "])) + ref.key,
            ref.key,
            draw(st.sampled_from([State.ENABLED, State.ENABLED, State.DISABLED])),
            draw(st.sampled_from([{}, {"title": "Nurse"}, {"title": "Boss", "mail": "m"}])),
        )
        for ref in sorted(set().union(*members.values()))
    }
    records.update((ref, Record(draw(st.sampled_from(["All/", "All/Other/"])) + ref.key, ref.key)) for ref in groups)
    return Wanted(records, members)


NOTHING = {each: [] for each in (*core.LISTS, "changed_groups")}


@examples(400)
@given(st.lists(st.tuples(wants(), st.integers(0, 15), st.booleans()), max_size=5), wants())
def test_wherever_loops_end_the_service_is_in_the_end_as_the_store(history, last):
    play, seen = Play(), set()
    for wanted, at_most, acknowledges in history:
        digest, lists = play.look(wanted)
        again, same = play.look(wanted)
        assert (again, same) == (digest, lists), "what is not acknowledged comes again"
        if acknowledges:
            play.service.work(lists)
            play.acknowledge()
            assert play.look(wanted)[1] == NOTHING
            assert (play.service.accounts, play.service.groups) == as_it_is_wanted(wanted)
            assert lists == NOTHING or digest not in seen, "no two that are returned are alike"
            seen.add(digest)
        else:
            play.service.work(lists, at_most)
    digest, lists = play.look(last)
    play.service.work(lists)
    assert (play.service.accounts, play.service.groups) == as_it_is_wanted(last)
    play.acknowledge()
    assert play.look(last)[1] == NOTHING


@examples(200)
@given(st.lists(wants(), min_size=1, max_size=4))
def test_what_is_acknowledged_is_what_was_returned_last(history):
    play = Play()
    for wanted in history:
        play.look(wanted)
    play.acknowledge()
    assert {ref: link.written for ref, link in play.links.items()} == dict(history[-1].records)
    assert {ref: link.members for ref, link in play.links.items() if ref.kind is Kind.GROUP} == history[-1].members


# --- one rule each ---------------------------------------------------------------------------------------------------


def want(staff=(), names=None, **more):
    records = {ref: Record((names or {}).get(ref, ref.key), ref.key, **more) for ref in staff}
    return Wanted({**records, STAFF: Record("All/Staff", "g0")}, {STAFF: frozenset(staff)})


def told(lists):
    return {
        name: [each.get("name", each.get("path")) for each in entries] for name, entries in lists.items() if entries
    }


def test_who_joined_and_left_before_it_was_acknowledged_left():
    play = Play()
    play.look(want([BOB]))
    play.acknowledge()
    assert told(play.look(want([ANN, BOB]))[1]) == {"joined": ["u0"], "changed_groups": ["All/Staff"]}
    (left,) = play.look(want([BOB]))[1]["left"]
    assert (left["name"], left["user_group"], left["is_last"]) == ("u0", "All/Staff", True)


def test_a_name_that_the_service_may_have_is_told():
    play = Play()
    play.look(want([ANN]))
    play.acknowledge()
    play.look(want([ANN], {ANN: "eve"}))
    (renamed,) = play.look(want([ANN], {ANN: "eva"}))[1]["renamed"]
    assert (renamed["name"], renamed["previous_name"], renamed["previous_names"]) == ("eva", "u0", ["u0", "eve"])
    (renamed,) = play.look(want([ANN]))[1]["renamed"]
    assert (renamed["name"], renamed["previous_names"]) == ("u0", ["eve", "eva"])


def test_a_name_is_free_before_it_is_given():
    play = Play()
    play.look(want([ANN, BOB, CY]))
    play.acknowledge()
    _digest, lists = play.look(want([ANN, BOB, CY], {ANN: "u1", BOB: "u2", CY: "free"}))
    assert [each["name"] for each in lists["renamed"]] == ["free", "u2", "u1"]
    _digest, lists = play.look(want([ANN, BOB], {ANN: "u1", BOB: "u0"}))
    assert len(lists["renamed"]) == 2, "in a ring somebody begins"


@pytest.mark.parametrize("state, what", [(State.DISABLED, "disabled"), (State.ENABLED, "enabled")])
def test_states_and_attributes(state, what):
    play = Play()
    other = State.ENABLED if state is State.DISABLED else State.DISABLED
    play.look(want([ANN], state=other, attributes={"title": "Nurse", "mail": "m"}))
    play.acknowledge()
    _digest, lists = play.look(want([ANN], state=state, attributes={"title": "Boss"}))
    assert told(lists) == {what: ["u0"], "updated": ["u0"]}
    assert lists["updated"][0]["changed_attributes"] == ["mail", "title"]
    assert lists[what][0]["enabled"] is (state is State.ENABLED)


def test_a_user_group_that_is_not_chosen_any_more_loses_its_members():
    play = Play()
    play.look(want([ANN]))
    play.acknowledge()
    moved = Wanted({NIGHT: Record("All/Night", "g1"), ANN: Record("u0", "u0")}, {NIGHT: frozenset([ANN])})
    _digest, lists = play.look(moved)
    assert told(lists) == {"joined": ["u0"], "left": ["u0"], "changed_groups": ["All/Staff", "All/Night"]}
    assert not lists["left"][0]["is_last"] and not lists["joined"][0]["is_new"]
    assert [each["changes"] for each in lists["changed_groups"]] == [["deleted", "members"], ["created", "members"]]


def test_limits_count_what_the_service_may_have():
    play = Play()
    play.look(want([ANN, BOB]))
    changes = core.changes_since(want([ANN]), play.links, play.told)
    there = core.may_be_there(play.links, play.told, core.plan_of(changes))
    assert there == {BOB: Link("", Record("u1", "u1"))}, "ann and the group come, and are not taken away"
