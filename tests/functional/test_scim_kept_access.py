# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody keeps an access since others are in the way, and nobody loses one to whom it is not ours to end."""

from __future__ import annotations

import json

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._destination import client
from ansible_collections.usersync.directory.plugins.module_utils._errors import Failed, SynchronizationError
from ansible_collections.usersync.directory.plugins.module_utils._options import (
    PROVISIONING,
    SCIM,
    STORE,
    module_arguments,
)
from ansible_collections.usersync.directory.plugins.module_utils._provisioning_settings import provisioning_settings
from ansible_collections.usersync.directory.plugins.module_utils._scim_provisioning import provision_to_scim
from support import provisioned, scim_service, stores
from support.company import Company
from support.scim_service import at, hangs_up, says

pytestmark = pytest.mark.usefixtures("no_proxy")

DEFAULTS = {
    option: described.get("default")
    for option, described in module_arguments(PROVISIONING, SCIM, STORE)["argument_spec"].items()
}


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
def run(company, service, monkeypatch):
    """Runs it in this process, without the waiting for a service that has nobody to wait for."""
    monkeypatch.setattr(client, "_FIRST_WAIT", 0.0)

    def run(check_mode=False, **options):
        given = {
            "name": "wiki",
            "user_groups": ["All/Company/Staff", "All/Company/Night"],
            "url": service.url,
            "token": scim_service.TOKEN,
            "store": stores.of(company.store),
            "removal_limits": "100%",
            "timeout": 60,
            **options,
        }
        try:
            return provision_to_scim(
                provisioning_settings({**DEFAULTS, **given}), check_mode, False, lambda _text: None
            )
        except Failed as failure:
            return {**failure.result, "failed": True}
        except SynchronizationError as error:
            return {"failed": True, "msg": str(error)}

    return run


def user(service, name):
    return next(each for each in service.users.values() if each["userName"] == name)


def group(service, name):
    number = next(number for number, each in service.groups.items() if each["displayName"] == name)
    return {service.users[each]["userName"] for each in service.members(number) if each in service.users}


def leaves(company):
    company.becomes({"Staff": ["ann"], "Night": ["ann"]}, {"bob": {}})


def is_reported(result, name):
    return bool(result.get("failed")) or name in [each["name"] for each in result["not_provisioned"]]


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
    leaves(company)
    service.fault = at("members", fault)
    for _number in range(2):
        done = run()
    assert not user(service, "bob")["active"], done["msg"]


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
    assert not user(service, "bob")["active"], done["msg"]


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
    assert not user(service, "bob")["active"], done["msg"]


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
    assert not user(service, "bob")["active"], done["msg"]


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
    assert not user(service, "bob")["active"], done["msg"]


def test_names_that_are_swapped_by_taking_over_and_refused(run, company, service):
    service.user("bob", externalId="key-ann")
    service.user("ann", externalId="key-bob")
    service.fault = at("change of a user", says(403))
    done = run(collision="link_by_external_id")
    assert done["msg"].startswith("url: "), done["msg"]
