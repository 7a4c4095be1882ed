# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody is let in or out, nobody hears of it, and the store wants it no longer: the next run takes it back."""

from __future__ import annotations

import os
import signal

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._provisioning import carry_out
from support import provisioned, scim_service, stored
from support.scim_service import Answer, at, hangs_up, in_turn, says

pytestmark = pytest.mark.usefixtures("no_proxy")

UNLISTED = {"service_parameters": {"lists": []}}
UNSEEN = {"service_parameters": {"members": "never"}}
LOST = {"lost": hangs_up, "500": says(500, done=True), "HTML": says(200, b"<html>", done=True)}
BOTH = {"Staff": ["ann", "bob"], "Night": ["bob"]}
DISABLED = {"bob": {"enabled": False}}
STATES = pytest.mark.parametrize(("first", "then"), [(DISABLED, {}), ({}, DISABLED)], ids=["enabled", "disabled"])


@pytest.fixture
def run(company, service, monkeypatch):
    return provisioned.without_waiting(company, service, monkeypatch)


@pytest.mark.parametrize("options", [UNLISTED, {"drift": "report"}, {}], ids=["unlisted", "report", "listed"])
@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
@pytest.mark.parametrize("then", ["disabled", "left"])
def test_who_was_enabled_without_an_answer(run, company, service, options, fault, then):
    company.becomes(BOTH, {"bob": {"enabled": False}})
    run(**options)
    company.becomes(BOTH)
    service.fault = at("change of a user", fault)
    run(**options)
    assert provisioned.user(service, "bob")["active"]
    service.fault = scim_service.behave
    if then == "left":
        provisioned.bob_leaves(company)
    else:
        company.becomes(BOTH, {"bob": {"enabled": False}})
    done = run(**options)
    assert not provisioned.user(service, "bob")["active"] and done["drift"] == [], done["msg"]
    assert not run(**options)["changed"]


@pytest.mark.parametrize("end", [says(403), says(409), says(429, None, Retry_After="3600")], ids=["403", "409", "429"])
def test_who_was_enabled_by_a_try_of_which_only_the_last_has_an_answer(run, company, service, end):
    company.becomes(BOTH, {"bob": {"enabled": False}})
    run(**UNLISTED)
    company.becomes(BOTH)
    service.fault = at("change of a user", in_turn(hangs_up, end))
    run(**UNLISTED)
    assert provisioned.user(service, "bob")["active"]
    service.fault = scim_service.behave
    company.becomes(BOTH, {"bob": {"enabled": False}})
    run(**UNLISTED)
    assert not provisioned.user(service, "bob")["active"]


@pytest.mark.parametrize("options", [UNSEEN, UNLISTED, {}], ids=["never", "unlisted", "shown"])
@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_who_joined_a_group_without_an_answer(run, company, service, options, fault):
    run(**options)
    company.becomes({**BOTH, "Night": ["bob", "ann"]})
    service.fault = at("members", fault)
    run(**options)
    assert provisioned.members(service, "Night") == {"ann", "bob"}
    service.fault = scim_service.behave
    company.becomes(BOTH)
    done = run(**options)
    assert provisioned.members(service, "Night") == {"bob"} and done["drift"] == [], done["msg"]
    assert not run(**options)["changed"]


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_who_was_disabled_and_taken_out_without_an_answer(run, company, service, fault):
    run(**UNLISTED)
    provisioned.bob_leaves(company)
    service.fault = lambda request, answer: (
        fault(request, answer) if request.stage in ("change of a user", "members") else answer
    )
    run(**UNLISTED)
    assert not provisioned.user(service, "bob")["active"]
    service.fault = scim_service.behave
    company.becomes(BOTH)
    done = run(**UNLISTED)
    assert provisioned.user(service, "bob")["active"], done["msg"]
    assert provisioned.members(service, "Night") == {"bob"} and not run(**UNLISTED)["changed"]


def test_who_did_not_join_a_group_and_still_is_to_joins_with_the_next_run(run, company, service):
    run(**UNSEEN)
    company.becomes({**BOTH, "Night": ["bob", "ann"]})
    service.fault = at("members", says(500))
    run(**UNSEEN)
    assert provisioned.members(service, "Night") == {"bob"}
    service.fault = scim_service.behave
    run(**UNSEEN)
    assert provisioned.members(service, "Night") == {"ann", "bob"}


def test_whose_joining_was_refused_needs_no_removal(run, company, service):
    """What the service said it did not do is not taken back: it might refuse that as well, in each run."""
    run(**UNSEEN)
    company.becomes({**BOTH, "Night": ["bob", "ann"]})
    service.fault = at("members", says(403))
    assert run(**UNSEEN)["failed"]
    company.becomes(BOTH)
    service.requests.clear()
    assert not run(**UNSEEN).get("failed") and not service.asked("members")


def test_who_joined_a_group_as_the_run_was_killed(run, company, service):
    """After the change, and before what came of it is kept."""
    run(**UNSEEN)
    company.becomes({**BOTH, "Night": ["bob", "ann"]})
    child = os.fork()
    if not child:
        carry_out._Work._link = lambda *_arguments: os.kill(os.getpid(), signal.SIGKILL)
        try:
            run(**UNSEEN)
        finally:
            os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert provisioned.members(service, "Night") == {"ann", "bob"}
    company.becomes(BOTH)
    run(**UNSEEN)
    assert provisioned.members(service, "Night") == {"bob"}


@pytest.mark.parametrize("options", [UNLISTED, {}], ids=["unlisted", "listed"])
@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_whose_account_was_taken_over_and_enabled_without_an_answer(run, company, service, options, fault):
    service.user("bob", active=False)
    service.fault = at("change of a user", fault)
    run(collision="link_by_name", **options)
    assert provisioned.user(service, "bob")["active"]
    service.fault = scim_service.behave
    provisioned.bob_leaves(company)
    run(**options)
    assert not provisioned.user(service, "bob")["active"]


@pytest.mark.parametrize("options", [UNLISTED, {}], ids=["unlisted", "listed"])
@pytest.mark.parametrize("status", [400, 403, 409, 429])
def test_whose_creation_was_refused_and_made(run, company, service, options, status):
    def odd(request, answer):
        return Answer(status, {"detail": "no license"}, {"Retry-After": "3600"}) if answer.status == 201 else answer

    run(**options)
    company.becomes({**BOTH, "Staff": ["ann", "bob", "cyd"]})
    service.fault = at("creation of a user", odd)
    run(**options)
    service.fault = scim_service.behave
    company.becomes(BOTH, {"cyd": {}})
    done = run(**options)
    assert not provisioned.user(service, "cyd")["active"], done["msg"]


@pytest.mark.parametrize("status", [400, 401, 403, 429])
def test_whose_creation_was_refused_is_created_once_it_is_not(run, company, service, status):
    """Nobody can tell whether it is there, so that it was refused has to do."""
    blind = {"service_parameters": {"lists": [], "filters": []}}
    service.fault = at("creation of a user", says(status, None, Retry_After="3600"))
    run(**blind)
    service.fault = scim_service.behave
    done = run(**blind)
    assert {each["userName"] for each in service.users.values()} == {"ann", "bob"}, done["not_provisioned"]


def is_active(service):
    return provisioned.user(service, "bob")["active"]


def says_nothing(request, answer):
    """A change is answered with 204, as RFC 7644 (3.5.2) allows: then the account is looked at."""
    return Answer(204) if request.method == "PATCH" and answer.status == 200 else answer


def looked_at(fault):
    """As `says_nothing`; and the look after the change meets a fault."""
    changed = []

    def choose(request, answer):
        if request.stage == "change of a user" and answer.status == 200:
            changed.append(request)
            return Answer(204)
        return fault(request, answer) if changed and request.stage == "one" else answer

    return choose


LATER = {"Retry_After": "3600"}


@STATES
@pytest.mark.parametrize(
    "fault",
    [None, says(401), says(429, None, **LATER), says(503, None, **LATER), hangs_up],
    ids=["limit", "401", "429", "503", "lost"],
)
def test_a_change_that_could_not_be_looked_at(run, company, service, first, then, fault):
    """Without a fault it is the limit of requests that falls between both."""
    company.becomes(BOTH, first)
    service.fault = says_nothing
    run(**UNLISTED)
    service.requests.clear()
    run(**UNLISTED)
    limit = {} if fault else {"request_limit": len(service.requests) + 1}
    company.becomes(BOTH, then)
    if fault:
        service.fault = looked_at(fault)
    run(**limit, **UNLISTED)
    assert is_active(service) == (then != DISABLED)
    service.fault = says_nothing
    company.becomes(BOTH, first)
    for _time in range(2):
        run(**UNLISTED)
    assert is_active(service) == (first != DISABLED)


@STATES
def test_a_try_that_is_lost_and_another_by_a_token_that_has_ended(run, company, service, first, then):
    company.becomes(BOTH, first)
    run(**UNLISTED)
    company.becomes(BOTH, then)
    service.fault = at("change of a user", in_turn(hangs_up, says(401)))
    run(**UNLISTED)
    assert is_active(service) == (then != DISABLED)
    service.fault = scim_service.behave
    company.becomes(BOTH, first)
    for _time in range(2):
        run(**UNLISTED)
    assert is_active(service) == (first != DISABLED)


def test_who_is_taken_over_so_and_leaves(run, company, service):
    service.user("bob", active=False)
    service.fault = at("change of a user", in_turn(hangs_up, says(401)))
    run(collision="link_by_name", **UNLISTED)
    assert is_active(service)
    service.fault = scim_service.behave
    provisioned.bob_leaves(company)
    for _time in range(2):
        run(**UNLISTED)
    assert not is_active(service)


@pytest.mark.parametrize("options", [{}, {"drift": "report"}, UNLISTED], ids=["listed", "report", "unlisted"])
@pytest.mark.parametrize("fault", [hangs_up, says(500, done=True), says(500)], ids=["lost", "done", "not done"])
@STATES
def test_who_leaves_in_doubt_and_is_kept_stays_as_he_is(run, company, service, options, fault, first, then):
    company.becomes(BOTH, first)
    run(departure="keep", **options)
    company.becomes(BOTH, then)
    service.fault = at("change of a user", fault)
    run(departure="keep", **options)
    before = is_active(service)
    service.fault = scim_service.behave
    company.becomes({"Staff": ["ann"], "Night": ["ann"]}, first)
    done = [run(departure="keep", **options) for _time in range(3)]
    assert is_active(service) == before
    assert not done[-1]["changed"] and not done[-1].get("failed"), [each["msg"] for each in done]


def test_absent_with_somebody_in_doubt_who_is_kept_ends(run, company, service):
    run(departure="keep")
    company.becomes(BOTH, DISABLED)
    service.fault = at("change of a user", hangs_up)
    run(departure="keep")
    service.fault = scim_service.behave
    done = [run(departure="keep", state="absent") for _time in range(3)]
    assert not done[-1].get("failed") and not done[-1]["changed"], [each["msg"] for each in done]


@pytest.mark.parametrize("is_limited", [False, True], ids=["refused", "not tried"])
@pytest.mark.parametrize(
    ("first", "then"), [(["bob"], ["bob", "cyd", "dee"]), (["bob", "cyd", "dee"], ["bob"])], ids=["joined", "left"]
)
def test_a_change_of_two_members_without_an_answer_and_then_each_alone(run, company, service, first, then, is_limited):
    """Both are done, though 500 says that they are not. Then each alone is refused, or not tried any more."""

    def fault(request, answer):
        if request.stage != "members":
            return answer
        [operation, *others] = request.body["Operations"]
        is_one = not others and len(operation.get("value") or [""]) == 1
        return says(403)(request, answer) if is_one else says(500, done=True)(request, answer)

    groups = {"Staff": ["ann", "bob", "cyd", "dee"]}
    company.becomes({**groups, "Night": first})
    run(**UNSEEN)
    service.requests.clear()
    run(**UNSEEN)
    limit = {"request_limit": len(service.requests) + 5} if is_limited else {}
    company.becomes({**groups, "Night": then})
    service.fault = fault
    run(**limit, **UNSEEN)
    assert provisioned.members(service, "Night") == set(then)
    service.fault = scim_service.behave
    company.becomes({**groups, "Night": first})
    for _time in range(2):
        run(**UNSEEN)
    assert provisioned.members(service, "Night") == set(first)


DELETES = {"departure": "delete", **UNLISTED}
KEEPS = {"keeps": True, "forgets": False}


def deletion(fault, keeps):
    """A service whose deletion meets a fault. Some only disable the account."""

    def choose(request, answer):
        return fault(request, answer) if request.stage == "deletion" else answer

    def kept(service):
        right = service._right

        def disables(request):
            there = service.users.get(request.path.rpartition("/")[2])
            if request.method != "DELETE" or there is None:
                return right(request)
            there["active"] = False
            return Answer(204)

        service._right = disables

    return choose, kept if keeps else lambda _service: None


@pytest.mark.parametrize(
    "options",
    [DELETES, {"drift": "report", **DELETES}, {"drift": "report", "departure": "delete"}],
    ids=["unlisted", "unlisted, report", "listed, report"],
)
@pytest.mark.parametrize("keeps", KEEPS.values(), ids=KEEPS)
@pytest.mark.parametrize("fault", [*LOST.values(), says(500)], ids=[*LOST, "not done"])
def test_who_was_deleted_without_an_answer_and_comes_back(run, company, service, fault, keeps, options):
    run(**options)
    number = provisioned.user(service, "bob")["id"]
    provisioned.bob_leaves(company)
    service.fault, become = deletion(fault, keeps)
    become(service)
    run(**options)
    is_left = keeps or number in service.users
    service.fault = scim_service.behave
    company.becomes(BOTH)
    done = run(**{**options, "removal_limits": {"users": "0", "memberships": "100%"}})
    assert not done.get("failed") and done["drift"] == [], done["msg"]
    assert is_active(service) and (provisioned.user(service, "bob")["id"] == number) == is_left
    assert provisioned.members(service, "Staff") == {"ann", "bob"} and provisioned.members(service, "Night") == {"bob"}
    assert len(service.users) == 2 and not run(**options)["changed"]


def test_who_was_deleted_without_an_answer_and_stays_away(run, company, service):
    run(**DELETES)
    provisioned.bob_leaves(company)
    service.fault = at("deletion", hangs_up)
    run(**DELETES)
    service.fault = scim_service.behave
    done = run(**DELETES)
    assert not done.get("failed") and done["drift"] == [] and not run(**DELETES)["changed"]
    events = "SELECT event FROM view_provisioning_history WHERE key = 'key-bob' AND event <> 'member_removed'"
    assert stored.values(company.store, events) == ["ended"]


def test_who_comes_back_while_nobody_can_look(run, company, service):
    run(**DELETES)
    provisioned.bob_leaves(company)
    service.fault = at("deletion", hangs_up)
    run(**DELETES)
    company.becomes(BOTH)
    service.fault = lambda request, answer: says(500)(request, answer) if request.path.endswith("u000002") else answer
    done = run(**DELETES)
    assert len(service.users) == 1 and provisioned.is_reported(done, "bob")
    service.fault = scim_service.behave
    run(**DELETES)
    assert is_active(service) and not run(**DELETES)["changed"]


@pytest.mark.parametrize("fault", [says(429, None, **LATER), says(401)], ids=["429", "401"])
def test_who_was_deleted_and_could_not_be_looked_at_comes_back(run, company, service, fault):
    run(**DELETES)
    provisioned.bob_leaves(company)
    service.fault = lambda request, answer: (
        fault(request, answer) if request.path.endswith("u000002") and request.method == "GET" else answer
    )
    run(**DELETES)
    assert len(service.users) == 1
    service.fault = scim_service.behave
    company.becomes(BOTH)
    done = run(**DELETES)
    assert is_active(service) and done["drift"] == []


@pytest.mark.parametrize("fault", [*LOST.values(), says(500)], ids=[*LOST, "not done"])
def test_a_group_that_was_deleted_without_an_answer_and_is_chosen_again(run, company, service, fault):
    run(**DELETES)
    service.fault = at("deletion", fault)
    run(user_groups=["All/Company/Staff"], **DELETES)
    service.fault = scim_service.behave
    done = run(**DELETES)
    assert not done.get("failed") and done["drift"] == [], done["msg"]
    assert provisioned.members(service, "Night") == {"bob"} and len(service.groups) == 2
    assert not run(**DELETES)["changed"]


def test_a_tenant_that_shows_nothing_while_somebody_may_be_deleted(run, company, service):
    """A deletion has no answer; then the service shows nothing of all that is linked. That is no deletion of ours."""
    listed = {"departure": "delete", "removal_limits": {}}
    run(**listed)
    provisioned.bob_leaves(company)
    service.fault = at("deletion", hangs_up)
    run(**{**listed, "removal_limits": "100%"})
    service.fault = scim_service.behave
    there = service.users, service.groups
    service.users, service.groups = {}, {}
    done = run(state="absent", departure="delete")
    assert done["failed"] and done["msg"].startswith("url: the service shows nothing"), done["msg"]
    service.users, service.groups = there
    run(state="absent", departure="delete")
    assert service.users == {} and service.groups == {}


@pytest.mark.parametrize("options", [UNLISTED, UNSEEN], ids=["unlisted", "unseen"])
def test_who_was_taken_out_without_an_answer_as_another_one_joined_and_comes_back(run, company, service, options):
    """The addition of ann to Night says of bob, too, that he is in it without doubt."""
    run(**options)
    company.becomes({"Staff": ["ann", "bob"], "Night": ["ann"]})
    service.fault = at("members", says(500, done=True), times=1)
    assert run(**options)["failed"]
    assert provisioned.members(service, "Night") == {"ann"}
    service.fault = scim_service.behave
    company.becomes({"Staff": ["ann", "bob"], "Night": ["ann", "bob"]})
    run(**options)
    assert provisioned.members(service, "Night") == {"ann", "bob"}


def puts(service):
    service.config = {"patch": {"supported": False}, "filter": {"supported": True}}


@pytest.mark.parametrize("leaver", [(), ("ann",)], ids=["", "another leaves"])
def test_who_was_taken_out_by_put_without_an_answer_comes_back(run, company, service, leaver):
    """The group shows all that are in it, and no run changes it again."""
    puts(service)
    company.becomes({"Staff": ["ann", "bob", "zoe"], "Night": ["ann"]})
    run(**UNLISTED)
    company.becomes({"Staff": ["ann", "zoe"], "Night": ["ann", "bob"]})
    service.fault = lambda request, answer: (
        hangs_up(request, answer) if request.method == "PUT" and request.stage != "one" else answer
    )
    run(**UNLISTED)
    assert provisioned.members(service, "Staff") == {"ann", "zoe"}
    service.fault = scim_service.behave
    staff = {"ann", "bob", "zoe"} - set(leaver)
    company.becomes({"Staff": staff, "Night": ["ann", "bob"]})
    run(**UNLISTED)
    done = run(**UNLISTED)
    assert provisioned.members(service, "Staff") == staff and not done.get("failed"), done["msg"]
