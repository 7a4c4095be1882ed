# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is held, until when, and who decides it."""

from __future__ import annotations

from types import SimpleNamespace

from ansible_collections.usersync.directory.plugins.module_utils import _hold
from ansible_collections.usersync.directory.plugins.module_utils._model import Doubt, LastRun, Standing

LOST, LEFT, ENABLED, NEW = ("user", "u1"), ("member", "g1", "u2"), ("enabled", "u3"), ("enabled", "new")
ALL = (LOST, LEFT, ENABLED, NEW)
LAGS, BEHIND = Doubt("it may lag", True), Doubt("it lags", False)
DIGESTS = ("the plan", "its removals")


def decide(unproven=(), doubt=None, seen=(), given=True, is_empty=False, by_each=None, seen_out_by=None, **approved):
    settings = SimpleNamespace(**{"approved_plan": None, "approved_removals": None, **approved})
    state = SimpleNamespace(
        users=dict.fromkeys(("u1", "u2", "u3"), SimpleNamespace(is_written_here=given, seen_out_by=()))
    )
    last = LastRun("ldap1", None, frozenset(seen))
    unproven = dict.fromkeys(unproven, "nothing proves it")
    unheld = _hold.Unheld(ALL, unproven, *DIGESTS, is_empty)
    return _hold.decide(settings, unheld, _hold.Doubts(doubt, by_each or {}, seen_out_by or {}), last, state)


def test_nothing_is_held_that_is_proven_by_a_server_that_is_believed():
    assert decide() == _hold.NONE._replace(standing=Standing())


def test_what_nothing_proves_is_held_however_often_it_is_seen():
    for seen in ((), (LEFT, ENABLED)):
        holds = decide([LEFT, ENABLED], seen=seen)
        assert holds.reasons == {LEFT: "nothing proves it", ENABLED: "nothing proves it"}
        assert not holds.for_one_run and not holds.doubted and holds.plan_digest == "the plan"


def test_what_another_server_shows_is_held_for_one_run():
    holds = decide(doubt=LAGS)
    assert set(holds.reasons) == {LOST, LEFT, ENABLED}, "a newcomer was not locked before"
    assert holds.for_one_run == holds.doubted == set(holds.reasons)
    again = decide(doubt=LAGS, seen=[LOST, LEFT])
    assert set(again.reasons) == {ENABLED}


def test_all_of_what_a_server_that_is_behind_says_is_held_as_long_as_it_is():
    for approved in ({}, {"approved_plan": "another"}, {"approved_removals": "its removals"}):
        holds = decide(doubt=BEHIND, seen=[LOST, LEFT, ENABLED], **approved)
        assert holds.everything == "it lags" and holds.plan_digest == "the plan"
        assert set(holds.reasons) == set(ALL) == holds.doubted and not holds.for_one_run
    assert not decide(doubt=LAGS).everything


def test_a_server_that_is_behind_and_has_nothing_else_to_say_is_no_matter():
    assert not decide(doubt=BEHIND, is_empty=True).everything


def test_a_second_server_that_agrees_is_no_proof_of_what_nothing_proves():
    holds = decide([LOST], LAGS, seen=[LOST, LEFT, ENABLED])
    assert holds.reasons == {LOST: "nothing proves it"}


def test_somebody_decides():
    assert not decide([LEFT, ENABLED], BEHIND, approved_plan="the plan").reasons
    assert decide([LEFT, ENABLED], BEHIND, approved_plan="another").reasons
    by_removals = decide([LEFT, ENABLED], LAGS, approved_removals="its removals")
    assert set(by_removals.reasons) == {ENABLED}, "to enable somebody is no removal"


def test_no_digest_covers_what_is_only_taken_back():
    """Another synchronization writes the user: this one has said that he is disabled, and would not say so any more."""
    assert set(decide([LEFT, ENABLED], given=False, approved_plan="the plan").reasons) == {ENABLED}


def test_whom_another_synchronization_saw_gone_waits_for_a_server_that_has_what_it_read():
    out, theirs = {"new": {7}, "u3": {8}}, {7: BEHIND, 8: None}
    assert decide(seen_out_by=out, by_each=theirs).reasons == {NEW: "it lags"}
    assert decide(seen_out_by=out, by_each=theirs, seen=[NEW]).reasons == {NEW: "it lags"}, "however often it is seen"
    assert set(decide(seen_out_by=out, by_each={7: LAGS, 8: LAGS}).reasons) == {NEW, ENABLED}
    assert not decide(seen_out_by=out, by_each={7: LAGS, 8: LAGS}, seen=[NEW, ENABLED]).reasons


def test_the_warning_counts():
    assert _hold.warning(_hold.NONE) == []
    assert _hold.warning(decide(doubt=BEHIND)) == [
        "held: nothing is done, since it lags: run again when it has them, or look at a dry run, and approve its "
        "held.plan_digest if what it says is meant"
    ]
    (warning,) = _hold.warning(decide([LEFT, ENABLED], LAGS))
    assert warning == (
        "held: 3 changes are not made (2, since nothing proves it; 1, since it may lag): see held in the result, and "
        "approve its plan_digest if they are meant"
    )


def test_a_first_run_that_can_tell_of_nobody_is_refused():
    def refused(unproven, server=""):
        last = LastRun(server, None, frozenset())
        settings = SimpleNamespace(approved_plan=None)
        return _hold.refusals(settings, decide(unproven), ALL, last, "login", "another plan")

    (refusal,) = refused([ENABLED, NEW])
    assert refusal.why.startswith("login: nothing proves of any of 2 users that he is enabled (of the first, nothing")
    assert refused([NEW]) == [] and refused([ENABLED, NEW], "ldap1") == []
    by_a_server = decide(seen_out_by={"new": {7}, "u3": {7}}, by_each={7: LAGS})
    settings = SimpleNamespace(approved_plan=None)
    assert _hold.refusals(settings, by_a_server, ALL, LastRun("", None, frozenset()), "login", "") == []
