# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody keeps an access since others are in the way, and nobody loses one to whom it is not ours to end."""

from __future__ import annotations

import json
import threading

import pytest
from support import provisioned, scim_service, stored
from support.scim_service import Answer, at, hangs_up, says

pytestmark = pytest.mark.usefixtures("no_proxy")


@pytest.fixture
def run(company, service, monkeypatch):
    return provisioned.without_waiting(company, service, monkeypatch)


@pytest.mark.parametrize(
    "fault",
    [
        says(429, None, Retry_After="3600"),
        says(503, None, Retry_After="3600"),
        says(500),
        says(403),
        says(404),
        says(409),
        says(504),
        says(502),
    ],
    ids=["429", "503 later", "500", "403", "404", "409", "504", "502"],
)
def test_leaver_where_members_are_answered_so(run, company, service, fault):
    run()
    provisioned.bob_leaves(company)
    service.fault = at("members", fault)
    for _number in range(2):
        done = run()
    assert not provisioned.user(service, "bob")["active"], done["msg"]


@pytest.mark.parametrize(
    "fault",
    [says(429, None, Retry_After="3600"), says(504), says(500), says(403)],
    ids=["429", "504", "500", "403"],
)
def test_leaver_where_changes_of_others_are_answered_so(run, company, service, fault):
    """Ann's new address comes before bob's departure."""
    run()
    company.becomes(
        {"Staff": ["ann"], "Night": ["ann"]}, {"bob": {}, "ann": {"attributes": {"email": "new@x.example"}}}
    )

    def of_ann(request, answer):
        return (
            fault(request, answer)
            if request.stage == "change of a user" and request.path.endswith("u000001")
            else answer
        )

    service.fault = of_ann
    for _number in range(2):
        done = run()
    assert not provisioned.user(service, "bob")["active"], done["msg"]


@pytest.mark.parametrize("fault", [says(429, None, Retry_After="3600"), says(504)], ids=["429", "504"])
def test_disabled_user_where_the_change_of_another_is_answered_so(run, company, service, fault):
    run()
    more = {"bob": {"enabled": False}, "ann": {"attributes": {"email": "new@x.example"}}}
    company.becomes({"Staff": ["ann", "bob"], "Night": ["bob"]}, more)
    service.fault = lambda request, answer: (
        fault(request, answer) if request.stage == "change of a user" and request.path.endswith("u000001") else answer
    )
    for _number in range(2):
        done = run()
    assert not provisioned.user(service, "bob")["active"], done["msg"]


@pytest.mark.parametrize("what", ["429", "504"])
def test_absent_where_one_group_is_answered_so(run, company, service, what):
    run()
    fault = says(429, None, Retry_After="3600") if what == "429" else says(504)
    night = next(number for number, each in service.groups.items() if each["displayName"] == "Night")
    service.fault = lambda request, answer: (
        fault(request, answer) if request.stage == "members" and request.path.endswith(night) else answer
    )
    for _number in range(2):
        run(state="absent")
    assert not any(each["active"] for each in service.users.values())


def test_disabled_user_who_is_third_of_those_whose_change_has_no_answer(run, company, service):
    """500 to each change of mail addresses; bob is disabled in the store, and has a new address as well."""
    staff = {"Staff": ["aa", "ab", "bob"], "Night": ["bob"]}
    company.becomes(staff)
    run()
    new = {each: {"attributes": {"email": each + "@new.example"}} for each in ("aa", "ab")}
    company.becomes(staff, {**new, "bob": {"enabled": False, "attributes": {"email": "bob@new.example"}}})
    fails = says(500)
    service.fault = lambda request, answer: (
        fails(request, answer)
        if request.stage == "change of a user" and "new.example" in json.dumps(request.body)
        else answer
    )
    for _number in range(2):
        done = run()
    assert not provisioned.user(service, "bob")["active"], done["msg"]


def test_disabled_in_the_store_while_the_creation_is_open_and_another_change_is_refused(run, company, service):
    service.fault = at("creation of a user", hangs_up)
    run()
    bob = {"bob": {"enabled": False, "attributes": {"email": "bad"}}}
    company.becomes({"Staff": ["ann", "bob"], "Night": ["bob"]}, bob)
    refuses = says(400, {"detail": "emails"})
    service.fault = lambda request, answer: (
        refuses(request, answer)
        if request.stage == "change of a user" and "bad" in json.dumps(request.body)
        else answer
    )
    for _number in range(2):
        done = run()
    assert not provisioned.user(service, "bob")["active"], done["msg"]


def test_names_that_are_swapped_by_taking_over_and_refused(run, company, service):
    service.user("bob", externalId="key-ann")
    service.user("ann", externalId="key-bob")
    service.fault = at("change of a user", says(403))
    done = run(collision="link_by_external_id")
    assert done["msg"].startswith("url: "), done["msg"]


def test_absent_where_the_result_is_cut(run, company, service):
    """The service says that it has no accounts: nobody is to be forgotten, however little the result may list."""
    run()

    def groups_only(request, answer):
        return Answer(200, {"Resources": [{"name": "Group"}]}) if request.path == "/ResourceTypes" else answer

    service.fault = groups_only
    run(state="absent", report_bytes=20)
    service.fault = scim_service.behave
    run(state="absent")
    assert not any(each["active"] for each in service.users.values())


def test_the_rest_of_an_approved_plan_after_a_refusal_of_the_service(run, company, service):
    people = ["p%02d" % number for number in range(6)]
    company.becomes({"Staff": [*people, "ann"], "Night": ["ann"]})
    none = {"removal_limits": "0"}
    run(**none)
    company.becomes({"Staff": ["ann"], "Night": ["ann"]}, {each: {} for each in people})
    digest = run(True, **none)["plan_digest"]
    service.fault = at("change of a user", says(403), first=6)
    done = run(approved_plan=digest, **none)
    assert len(done["accounts"]["disabled"]) == 5 and done["failed"]
    service.fault = scim_service.behave
    done = run(approved_plan=digest, **none)
    assert not done.get("failed"), done["msg"]
    assert not provisioned.user(service, "p05")["active"]


def test_what_was_allowed_and_returned_counts_when_it_leaves_again(run, company, service):
    people = [chr(97 + number) + "x" for number in range(8)]
    everybody = {"Staff": people, "Night": ["gx", "hx"]}
    company.becomes(everybody)
    limits = {"removal_limits": {"users": "2", "memberships": "100%"}}
    run(**limits)
    reading = len(service.requests)
    service.requests.clear()
    run(**limits)
    reading = len(service.requests)
    for gone in (["ax", "bx"], ["cx", "dx"], ["ex", "fx"]):
        company.becomes(
            {"Staff": [each for each in people if each not in gone], "Night": ["gx", "hx"]}, {each: {} for each in gone}
        )
        assert run(request_limit=reading, **limits)["left"] > 0
        company.becomes(everybody)
    company.becomes({"Staff": people[6:], "Night": ["gx", "hx"]}, {each: {} for each in people[:6]})
    refused = run(**limits)["refused"]
    assert [(each["limit"], each["would_remove"]) for each in refused] == [("users", 4)], "two are of the plan before"


def test_memberships_that_end_with_a_group_are_counted(run, company, service):
    people = ["p%02d" % number for number in range(12)]
    company.becomes({"Staff": people, "Night": people})
    run()
    limits = {"removal_limits": {"users": "0", "memberships": "0", "user_groups": "1"}}
    kept = run(True, user_groups=["All/Company/Staff"], departure="disable", **limits)
    assert [each["limit"] for each in kept["refused"]] == ["memberships"]
    done = run(True, user_groups=["All/Company/Staff"], departure="delete", **limits)
    assert [each["limit"] for each in done["refused"]] == ["memberships"], done["msg"]


def test_a_run_that_stood_still_does_nothing_after_another_one(run, company, service):
    """A run that reads slowly, of a plan that was allowed before: another run comes between."""
    run()
    service.requests.clear()
    run()
    reading = len(service.requests)
    provisioned.bob_leaves(company)
    assert run(request_limit=reading)["left"] > 0
    begun, goes_on = threading.Event(), threading.Event()

    def slow(request, answer):
        if request.stage != "list of groups" or begun.is_set():
            return answer
        begun.set()

        def does(connection):
            goes_on.wait(60)
            data = json.dumps(answer.body).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(data) + data)

        return scim_service.Wire(does)

    service.fault = slow
    errors = []

    def stands_still():
        done = run()
        if done.get("failed"):
            errors.append(done["msg"])

    thread = threading.Thread(target=stands_still)
    thread.start()
    assert begun.wait(60)
    company.becomes({"Staff": ["ann", "bob"], "Night": ["bob"]})
    run()
    assert provisioned.members(service, "Night") == {"bob"}
    goes_on.set()
    thread.join()
    assert provisioned.user(service, "bob")["active"] and provisioned.members(service, "Staff") == {"ann", "bob"}, (
        errors
    )
    assert provisioned.members(service, "Night") == {"bob"}, errors


@pytest.mark.parametrize("departure", ["disable", "delete"])
def test_recreated_with_the_same_name_while_the_creation_is_open(
    run_module, run, company, service, tmp_path, departure
):
    service.fault = at("creation of a user", hangs_up)
    run()
    service.fault = scim_service.behave
    company.becomes({"Staff": ["ann", "bob2"], "Night": ["bob2"]}, {"bob2": {"name": "bob"}})
    results = [run(collision="link_by_name", departure=departure) for _number in range(4)]
    assert not results[-1]["changed"], [each["msg"] for each in results]
    links = stored.rows(
        company.store,
        "SELECT destination_id, count(*) FROM links WHERE kind = 'account' GROUP BY 1 HAVING count(*) > 1",
    )
    assert links == []


@pytest.mark.parametrize("departure", ["disable", "delete"])
def test_somebody_elses_account_where_our_creation_was_never_made(run, company, service, departure):
    """The creation of bob failed; another bob came by other means; ours left before he was ever linked."""
    service.fault = at("creation of a user", says(500), first=2)
    run()
    service.fault = scim_service.behave
    service.user("bob", externalId="of-another-directory", displayName="Another Bob")
    provisioned.bob_leaves(company)
    done = run(collision="link_by_name", departure=departure)
    there = [each for each in service.users.values() if each["userName"] == "bob"]
    assert [each["active"] for each in there] == [True], done["msg"]


@pytest.mark.parametrize("departure", ["disable", "delete"])
def test_absent_where_the_service_shows_nothing_at_all(run, company, service, departure):
    """A token of another tenant: its lists are empty, and it answers 404 for each."""
    run()
    there = service.users, service.groups
    service.users, service.groups = {}, {}
    done = run(state="absent", departure=departure)
    service.users, service.groups = there
    run(state="absent", departure=departure)
    assert not any(each["active"] for each in service.users.values()), done["msg"]


@pytest.mark.parametrize("drift", ["restore", "report"])
def test_leaver_where_the_service_shows_nothing_at_all(run, company, service, drift):
    limits = {"removal_limits": {}, "drift": drift}
    run(**limits)
    company.becomes({"Staff": ["ann"], "Night": ["ann"]}, {"bob": {}})
    there = service.users, service.groups
    service.users, service.groups = {}, {}
    done = run(**limits)
    service.users, service.groups = there
    run(drift=drift)
    assert not provisioned.user(service, "bob")["active"], done["msg"]


def test_leaver_who_was_disabled_in_the_store_and_enabled_there_under_report(run, company, service):
    company.becomes({"Staff": ["ann", "bob"], "Night": ["bob"]}, {"bob": {"enabled": False}})
    run(drift="report")
    assert not provisioned.user(service, "bob")["active"]
    provisioned.user(service, "bob")["active"] = True
    provisioned.bob_leaves(company)
    done = run(drift="report")
    assert not provisioned.user(service, "bob")["active"], done["drift"]


def test_one_member_who_fails_by_500_keeps_nobody_else_in_a_group(run, company, service):
    people = ["p%02d" % number for number in range(4)]
    company.becomes({"Staff": [*people, "ann"], "Night": ["ann"]})
    run()
    broken = provisioned.user(service, "p01")["id"]
    fails = says(500)
    service.fault = lambda request, answer: (
        fails(request, answer) if request.stage == "members" and broken in json.dumps(request.body) else answer
    )
    company.becomes({"Staff": ["ann"], "Night": ["ann"]}, {each: {} for each in people})
    for _number in range(2):
        run(departure="keep")
    assert provisioned.members(service, "Staff") == {"ann", "p01"}


def test_seven_protected_members_keep_no_eighth(run, company, service):
    people = ["p%02d" % number for number in range(8)]
    company.becomes({"Staff": [*people, "ann"], "Night": ["ann"]})
    run()
    owned = [provisioned.user(service, each)["id"] for each in people[:7]]
    refuses = says(403)
    service.fault = lambda request, answer: (
        refuses(request, answer)
        if request.stage == "members" and any(each in json.dumps(request.body) for each in owned)
        else answer
    )
    company.becomes({"Staff": ["ann"], "Night": ["ann"]}, {each: {} for each in people})
    for _number in range(2):
        run(departure="keep")
    assert "p07" not in provisioned.members(service, "Staff")


def test_three_groups_that_fail_keep_nobody_in_a_fourth(run, company, service):
    groups = {"A": ["bob"], "B": ["bob"], "C": ["bob"], "D": ["ann", "bob"]}
    company.becomes(groups)
    paths = ["All/Company/" + each for each in groups]
    run(user_groups=paths, allow_empty=True)
    company.becomes({**{each: [] for each in "ABC"}, "D": ["ann"]}, {"bob": {}})
    fourth = next(number for number, each in service.groups.items() if each["displayName"] == "D")
    fails = says(500)
    service.fault = lambda request, answer: (
        fails(request, answer) if request.stage == "members" and not request.path.endswith(fourth) else answer
    )
    for _number in range(2):
        done = run(user_groups=paths, allow_empty=True, departure="keep")
    assert provisioned.members(service, "D") == {"ann"}, done["msg"]


@pytest.mark.parametrize("status", [403, 501, 204])
def test_a_group_that_is_no_longer_chosen_and_cannot_be_deleted_keeps_no_members(run, company, service, status):
    run()
    service.fault = at("deletion", says(status))
    for _number in range(2):
        done = run(user_groups=["All/Company/Staff"], departure="delete")
    assert provisioned.members(service, "Night") == set(), done["msg"]


def test_leaver_where_the_limit_of_requests_goes_to_refused_members(run, company, service):
    people = ["p%02d" % number for number in range(30)]
    company.becomes({"Staff": [*people, "ann"], "Night": ["ann"]})
    run()
    company.becomes({"Staff": ["ann"], "Night": ["ann"]}, {each: {} for each in people})
    service.fault = at("members", says(403))
    for _number in range(6):
        done = run(request_limit=18)
    assert not any(provisioned.user(service, each)["active"] for each in people), done["msg"]
