# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody loses what is theirs, and nobody keeps access, since a service shows less than it has or says odd things."""

from __future__ import annotations

import pytest
from support import provisioned
from support.company import Company
from support.scim_service import Answer

pytestmark = pytest.mark.usefixtures("no_proxy")

UNDONE = {"X-Undone": "1"}
NO_PATCH = {"patch": {"supported": False}, "filter": {"supported": True, "maxResults": 200}}
BOB_IS_DISABLED = {"bob": {"enabled": False}}


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
    return provisioned.asking(run_module, company, service, removal_limits="100%", timeout=60)


def user(service, name):
    return next(each for each in service.users.values() if each["userName"] == name)


def leaves(company):
    company.becomes({"Staff": ["ann"], "Night": ["ann"]}, {"bob": {}})


def is_reported(result, name):
    return bool(result.get("failed")) and name in [each["name"] for each in result["not_provisioned"]]


# --- whether somebody is disabled ------------------------------------------------------------------------------------


def test_who_left_is_not_believed_disabled_if_nobody_says_so(run, company, service):
    """It answers 204, does nothing, and shows no `active` where one account is asked for, though it does in lists."""
    run()
    leaves(company)

    def lies(request, answer):
        if request.stage == "change of a user":
            return Answer(204, None, UNDONE)
        if request.stage == "one" and answer.status == 200:
            return answer._replace(body={key: each for key, each in answer.body.items() if key != "active"})
        return answer

    service.fault = lies
    done = run()
    assert user(service, "bob")["active"] and is_reported(done, "bob"), done["msg"]


@pytest.mark.parametrize("active", [1, "yes", None, "1", {"value": True}], ids=str)
def test_who_left_is_not_believed_disabled_if_the_state_is_said_in_an_odd_way(run, company, service, active):
    run()
    leaves(company)

    def lies(request, answer):
        if request.stage == "change of a user":
            return Answer(200, {"userName": "bob", "id": "u000002", "active": active}, UNDONE)
        if request.stage == "one" and answer.status == 200:
            return answer.with_body(active=active)
        return answer

    service.fault = lies
    done = run()
    assert user(service, "bob")["active"] and is_reported(done, "bob"), done["msg"]


def without_active(_request, answer):
    users = answer.body.get("Resources", [answer.body]) if isinstance(answer.body, dict) else []
    for each in users:
        each.pop("active", None)
    return answer


def test_who_left_is_disabled_where_no_state_is_ever_shown(run, company, service):
    service.fault = without_active
    run()
    leaves(company)
    assert not run().get("failed")
    assert user(service, "bob")["active"] is False


def test_a_disabled_account_stays_disabled_where_put_has_a_default(run, company, service):
    """It has no PATCH, does not show `active`, and takes whom it is not told of for active."""
    run()
    groups = {"Staff": ["ann", "bob"], "Night": ["bob"]}
    company.becomes(groups, BOB_IS_DISABLED)
    run()
    service.config = NO_PATCH

    def has_a_default(request, answer):
        if request.method == "PUT":
            service.users[request.path.rpartition("/")[2]].setdefault("active", True)
        return without_active(request, answer)

    service.fault = has_a_default
    company.becomes(groups, {"bob": {"enabled": False, "attributes": {"email": "new@x.example"}}})
    assert run()["accounts"]["updated"] == ["bob"]
    assert user(service, "bob")["active"] is False
