# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change is made, and what tells so does not come: who is disabled or wanted by then is so in the end."""

from __future__ import annotations

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._destination import http_client
from support import provisioned, scim_service
from support.scim_service import Answer, at, hangs_up, says

pytestmark = pytest.mark.usefixtures("no_proxy")

UNLISTED = {"service_parameters": {"lists": []}}
NEVER_SHOWN = {"service_parameters": {"members": "never"}}
BOTH = {"Staff": ["ann", "bob"], "Night": ["bob"]}
DISABLED = {"bob": {"enabled": False}}
STATES = pytest.mark.parametrize(("first", "then"), [(DISABLED, {}), ({}, DISABLED)], ids=["enabled", "disabled"])


@pytest.fixture
def run(company, service, monkeypatch):
    monkeypatch.setattr(http_client, "_FIRST_WAIT", 0.0)
    return provisioned.directly(company, service, removal_limits="100%", timeout=60)


def is_active(service):
    return provisioned.user(service, "bob")["active"]


def in_turn(*faults):
    """The first request meets the first fault, and so on."""
    left = iter(faults)

    def next_one(request, answer):
        return next(left)(request, answer)

    return next_one


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
    run(**NEVER_SHOWN)
    service.requests.clear()
    run(**NEVER_SHOWN)
    limit = {"request_limit": len(service.requests) + 5} if is_limited else {}
    company.becomes({**groups, "Night": then})
    service.fault = fault
    run(**limit, **NEVER_SHOWN)
    assert provisioned.members(service, "Night") == set(then)
    service.fault = scim_service.behave
    company.becomes({**groups, "Night": first})
    for _time in range(2):
        run(**NEVER_SHOWN)
    assert provisioned.members(service, "Night") == set(first)
