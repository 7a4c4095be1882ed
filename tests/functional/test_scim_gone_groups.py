# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A group that was removed in a service that does not list itself is told, and made again once if that is wanted."""

from __future__ import annotations

import pytest
from support import provisioned, scim_service
from support.scim_service import at, hangs_up, says

pytestmark = pytest.mark.usefixtures("no_proxy")

UNLISTED = {"service_parameters": {"lists": []}}
BLIND = {"service_parameters": {"lists": [], "filters": []}}
BOTH = {"Staff": ["ann", "bob"], "Night": ["bob"]}
MORE = {"Staff": ["ann", "bob"], "Night": ["ann", "bob"]}
LESS = {"Staff": ["ann", "bob"], "Night": []}


@pytest.fixture
def run(company, service, monkeypatch):
    return provisioned.without_waiting(company, service, monkeypatch)


def night(service):
    """Return the ids of the groups of this name."""
    return [number for number, each in service.groups.items() if each["displayName"] == "Night"]


def told(result):
    return [(each["kind"], each["name"], each["what"]) for each in result["drift"]]


@pytest.mark.parametrize("options", [UNLISTED, BLIND], ids=["filters", "blind"])
def test_it_is_made_again_with_all_its_members(run, company, service, options):
    run(**options)
    del service.groups[night(service)[0]]
    company.becomes(MORE)
    done = run(**options)
    assert done["failed"] and "group 'Night'" in done["msg"], "it is not there any more: so the run finds out"
    done = run(**options)
    assert not done.get("failed") and told(done) == [("group", "Night", "gone")], done["msg"]
    assert len(night(service)) == 1 and provisioned.members(service, "Night") == {"ann", "bob"}
    done = run(**options)
    assert not done["changed"] and not done["drift"]


def test_it_is_told_and_not_made_again_if_drift_is_reported(run, company, service):
    options = {"drift": "report", **UNLISTED}
    run(**options)
    del service.groups[night(service)[0]]
    company.becomes(MORE)
    run(**options)
    for _time in range(2):
        done = run(**options)
        assert told(done) == [("group", "Night", "gone")] and not done["changed"] and not done.get("failed")
    assert night(service) == []


def test_who_leaves_it_is_not_asked_of_it_again(run, company, service):
    run(**UNLISTED)
    number = night(service)[0]
    del service.groups[number]
    company.becomes(LESS)
    assert run(allow_empty=True, **UNLISTED)["failed"]
    done = run(allow_empty=True, **UNLISTED)
    assert not done.get("failed") and provisioned.members(service, "Night") == set() and night(service) != [number]
    assert not run(allow_empty=True, **UNLISTED)["changed"]


def test_one_change_of_it_is_asked_for_and_no_others(run, company, service):
    """Bob leaves it, ann joins it, and another hundred would."""
    run(**UNLISTED)
    (number,) = night(service)
    del service.groups[number]
    people = ["p%03d" % number for number in range(130)]
    company.becomes({"Staff": ["ann", "bob", *people], "Night": ["ann", *people]})
    service.requests.clear()
    done = run(**UNLISTED)
    assert [each["name"] for each in done["not_provisioned"]] == ["Night"]
    assert len([each for each in service.asked("members") if each.path.endswith(number)]) == 1
    run(**UNLISTED)
    assert provisioned.members(service, "Night") == {"ann", *people}


@pytest.mark.parametrize("status", [404, 410])
def test_a_group_that_is_there_is_not_gone(run, company, service, status):
    """A change of members is answered so, and the group is there: somebody else is meant."""
    run(**UNLISTED)
    before = night(service)
    company.becomes(MORE)
    service.fault = at("members", says(status))
    for _time in range(2):
        assert run(**UNLISTED)["failed"]
    service.fault = scim_service.behave
    done = run(**UNLISTED)
    assert night(service) == before and provisioned.members(service, "Night") == {"ann", "bob"} and not done["drift"]


@pytest.mark.parametrize("is_found", [False, True], ids=["asked for", "found"])
def test_a_group_that_was_hidden_for_a_while_is_not_made_twice(run, company, service, is_found):
    """Asked for, it leads to nothing. By the next run it is there, or a filter finds it."""
    run(**UNLISTED)
    before = night(service)
    company.becomes(MORE)

    def hides(request, answer):
        return says(404)(request, answer) if request.path.endswith(before[0]) else answer

    service.fault = hides
    run(**UNLISTED)
    service.requests.clear()
    if is_found:
        run(**UNLISTED)
        assert night(service) == before and not service.asked("creation of a group")
    service.fault = scim_service.behave
    done = run(**UNLISTED)
    assert night(service) == before and provisioned.members(service, "Night") == {"ann", "bob"}, done["msg"]
    assert not run(**UNLISTED)["changed"]


@pytest.mark.parametrize("options", [UNLISTED, BLIND], ids=["filters", "blind"])
def test_it_is_made_once_where_its_creation_has_no_answer(run, company, service, options):
    run(**options)
    del service.groups[night(service)[0]]
    company.becomes(MORE)
    run(**options)
    service.fault = at("creation of a group", hangs_up)
    run(**options)
    service.fault = scim_service.behave
    for _time in range(2):
        run(**options)
    assert len(night(service)) == 1
    if options is UNLISTED:
        assert provisioned.members(service, "Night") == {"ann", "bob"}


def test_whoever_left_and_is_not_there_under_his_id_for_a_while_is_disabled(run, company, service):
    run(**UNLISTED)
    number = provisioned.user(service, "bob")["id"]
    provisioned.bob_leaves(company)
    service.fault = lambda request, answer: (
        says(404)(request, answer) if request.path.endswith(number) or request.stage == "look-up" else answer
    )
    run(**UNLISTED)
    service.fault = scim_service.behave
    run(**UNLISTED)
    assert not provisioned.user(service, "bob")["active"]


@pytest.mark.parametrize("what", ["group", "account"])
def test_what_is_created_again_without_an_answer_is_linked_by_the_next_run(run, company, service, what):
    """It is listed. Nothing is sent to its old id meanwhile."""
    run()
    there = service.groups if what == "group" else service.users
    number = night(service)[0] if what == "group" else provisioned.user(service, "bob")["id"]
    del there[number]
    service.fault = at("creation of a group" if what == "group" else "creation of a user", hangs_up)
    service.requests.clear()
    run()
    changes = [each for each in service.requests if each.method == "PATCH"]
    assert not [each for each in changes if number in each.path]
    added = [member for each in changes for one in each.body["Operations"] for member in one.get("value", ())]
    assert {"value": number} not in added
    service.fault = scim_service.behave
    done = run()
    assert not done["collisions"] and not done.get("failed"), done["msg"]
    assert provisioned.members(service, "Night") == {"bob"} and provisioned.members(service, "Staff") == {"ann", "bob"}
    assert not run()["changed"]


@pytest.mark.parametrize("who_is_left", [{"Night": ["ann"]}, {"Night": ["ann"], "Staff": ["ann"]}], ids=["in", "out"])
@pytest.mark.parametrize("changes", [{}, {"patches": False}], ids=["PATCH", "PUT"])
@pytest.mark.parametrize("lists", [{}, {"lists": []}, {"lists": ["accounts"]}], ids=["lists", "unlisted", "accounts"])
def test_under_another_id_it_keeps_nobody_who_left_it(run, company, service, lists, changes, who_is_left):
    """It is gone, and then taken over by its external id. Bob is still in it, and is taken out by the next run."""
    options = {"collision": "link_by_external_id", "service_parameters": {**lists, **changes}}
    company.becomes(MORE)
    run(**options)
    (number,) = night(service)
    group = service.groups.pop(number)
    service._add(service.groups, {key: value for key, value in group.items() if key != "id"})
    company.becomes({**MORE, **who_is_left})
    for _time in range(4):
        done = run(**options)
    assert not done["changed"] and not done.get("failed"), done["msg"]
    assert provisioned.members(service, "Night") == {"ann"}
