# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever left loses the account, or is reported, whatever a service says."""

from __future__ import annotations

import json

import pytest
from support import provisioned, scim_service
from support.company import Company
from support.scim_service import Answer, at, hangs_up, says

pytestmark = pytest.mark.usefixtures("no_proxy")


@pytest.fixture
def company(tmp_path):
    company = Company(tmp_path / "store" / "users.db")
    company.becomes({"Staff": ["ann", "bob"], "Night": ["bob"]})
    return company


@pytest.fixture
def service():
    with provisioned.served() as service:
        yield service


@pytest.fixture
def run(run_module, company, service):
    return provisioned.asking(run_module, company, service, removal_limits="100%", timeout=2)


def bob(service):
    return next(each for each in service.users.values() if each["userName"] == "bob")


def is_reported(result, name):
    return bool(result.get("failed")) or name in [each["name"] for each in result["not_provisioned"]]


def leaves(company):
    company.becomes({"Staff": ["ann"], "Night": ["ann"]}, {"bob": {}})


def test_who_left_while_being_created_again(run, company, service):
    run()
    del service.users[bob(service)["id"]]
    service.fault = at("creation of a user", hangs_up)
    run()
    assert bob(service)["active"]
    service.fault = scim_service.behave
    leaves(company)
    done = run()
    assert not bob(service)["active"] or is_reported(done, "bob")


def test_who_left_while_being_created_where_the_service_writes_in_its_own_way(run, company, service):
    def own_way(request, answer):
        for each in service.users.values():
            each.pop("externalId", None)
            each["displayName"] = each["displayName"].upper()
        return hangs_up(request, answer) if request.stage == "creation of a user" else answer

    service.fault = own_way
    run()
    service.fault = scim_service.behave
    leaves(company)
    done = run()
    assert not bob(service)["active"] or is_reported(done, "bob")


def test_who_left_where_the_service_says_it_has_no_accounts(run, company, service):
    run()
    leaves(company)

    def groups_only(request, answer):
        return Answer(200, {"Resources": [{"name": "Group"}]}) if request.path == "/ResourceTypes" else answer

    service.fault = groups_only
    done = run()
    assert not bob(service)["active"] or is_reported(done, "bob")
    done = run(state="absent")
    assert not bob(service)["active"] or is_reported(done, "bob")
    service.fault = scim_service.behave
    run(state="absent")
    assert not bob(service)["active"]


@pytest.mark.parametrize("status", [204, 404])
def test_who_left_where_the_service_deletes_nobody(run, company, service, status):
    run()
    leaves(company)
    service.fault = at("deletion", says(status))
    done = run(departure="delete")
    assert bob(service)["active"] and is_reported(done, "bob")


@pytest.mark.parametrize(
    "look", [says(500), says(403), says(200, b"[]"), says(404)], ids=["500", "403", "no object", "404"]
)
def test_who_left_where_nobody_can_see_whether_it_is_disabled(run, company, service, look):
    run()
    leaves(company)

    def lies(request, answer):
        if request.stage == "change of a user":
            return Answer(204, None, {"X-Undone": "1"})
        return look(request, answer) if request.stage == "one" else answer

    service.fault = lies
    done = run()
    assert bob(service)["active"] and is_reported(done, "bob")


def test_who_left_where_the_answer_says_nothing_of_the_state(run, company, service):
    run()
    leaves(company)

    def lies(request, answer):
        if request.stage == "change of a user":
            return Answer(200, {"userName": "bob", "id": "u000002"}, {"X-Undone": "1"})
        return answer

    service.fault = lies
    done = run()
    assert bob(service)["active"] and is_reported(done, "bob")


def counts_each_kind(service):
    """Let it give ids that are told apart by the kind only: user 1 and group 1."""

    def add(there, resource):
        number = str(len(there) + 1)
        there[number] = {**resource, "id": number}
        return number

    service._add = add


def test_who_left_where_accounts_and_groups_have_the_same_ids(run, company, service):
    counts_each_kind(service)
    run()
    assert set(service.users) == set(service.groups) == {"1", "2"}
    assert not run()["changed"]
    del service.groups["2"]
    leaves(company)
    run()
    assert not bob(service)["active"]


def test_who_left_and_was_enabled_there_is_disabled_before_all_is_forgotten(run, company, service):
    run(drift="report")
    leaves(company)
    run(drift="report")
    bob(service)["active"] = True
    assert not run(drift="report")["changed"], "it is reported, and stays"
    run(state="absent", drift="report")
    assert not bob(service)["active"]


def test_who_is_disabled_and_has_a_mail_address_that_is_refused(run, company, service):
    run()
    company.becomes(
        {"Staff": ["ann", "bob"], "Night": ["bob"]}, {"bob": {"enabled": False, "attributes": {"email": "bad"}}}
    )

    def strict(request, answer):
        if request.stage == "change of a user" and "bad" in json.dumps(request.body):
            return Answer(400, {"detail": "emails"}, {"X-Undone": "1"})
        return answer

    service.fault = strict
    done = run()
    assert not bob(service)["active"] and is_reported(done, "bob"), done["not_provisioned"]
    assert done["accounts"]["disabled"] == ["bob"] and done["accounts"]["updated"] == []
    service.fault = scim_service.behave
    done = run()
    assert done["accounts"]["updated"] == ["bob"] and done["not_provisioned"] == [] and not run()["changed"]


def test_who_left_where_groups_cannot_be_changed(run, company, service):
    groups = {"A": ["bob"], "B": ["bob"], "C": ["bob"], "D": ["ann", "bob"]}
    company.becomes(groups)
    paths = ["All/Company/" + each for each in groups]
    run(user_groups=paths, allow_empty=True)
    company.becomes({**{each: [] for each in "ABC"}, "D": ["ann"]}, {"bob": {}})
    service.fault = at("members", says(500))
    done = run(user_groups=paths, allow_empty=True)
    assert not bob(service)["active"] and done["accounts"]["disabled"] == ["bob"] and done["left"] > 0, done["msg"]
    service.fault = scim_service.behave
    done = run(user_groups=paths, allow_empty=True)
    of = {group["displayName"]: group.get("members", []) for group in service.groups.values()}
    assert done["left"] == 0 and [name for name, there in of.items() if there] == ["D"], done["msg"]
