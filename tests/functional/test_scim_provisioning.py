# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module scim_provisioning: what it takes, returns and leaves, against services that are right and that lie."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest
from support import provisioned, scim2_server, scim_service, stored, stores
from support.scim_service import TOKEN, ScimService, at, hangs_up, says, serving

pytestmark = pytest.mark.usefixtures("no_proxy")

KEYS = {
    "accounts",
    "began",
    "changed",
    "changed_groups",
    "collisions",
    "drift",
    "dry_run",
    "foreign",
    "left",
    "msg",
    "not_provisioned",
    "plan_digest",
    "refused",
    "removals_digest",
    "report_left_out",
    "report_truncated",
    "requests",
    "settings",
    "summary",
    "unchanged_groups",
}


@pytest.fixture
def run(run_module, company, service):
    ask = provisioned.asking(run_module, company, service)

    def run(check_mode=False, diff=False, fails=False, **options):
        result = ask(check_mode, diff, **options)
        assert bool(result.pop("failed", False)) is fails, result["msg"]
        return result

    return run


def accounts(service):
    return {each["userName"]: each["active"] for each in service.users.values()}


def groups(service):
    names = {number: each["userName"] for number, each in service.users.items()}
    return {
        each["displayName"]: sorted(names[one] for one in service.members(number))
        for number, each in service.groups.items()
    }


def said(result):
    """What a dry run says, too."""
    return {key: value for key, value in result.items() if key not in ("requests", "began", "dry_run")}


# --- one way there, and back -----------------------------------------------------------------------------------------


def test_from_the_first_run_to_the_last(run, company, service):
    dry = run(check_mode=True, diff=True)
    assert not service.users and stored.rows(company.store, "SELECT * FROM provisionings") == []
    first = run(diff=True)
    assert first.keys() == dry.keys() == KEYS | {"diff"}
    assert said(first) == said(dry), "check mode says what the run does"
    assert first["msg"] == "accounts: 2 created; groups: 2 created; memberships: 3 added"
    assert accounts(service) == {"ann": True, "bob": True} and groups(service) == {
        "Staff": ["ann", "bob"],
        "Night": ["bob"],
    }
    assert service.users["u000001"]["externalId"] == "key-ann"
    assert service.users["u000001"]["emails"] == [{"value": "ann@corp.example", "type": "work"}]
    assert (
        "account ann\n    displayName: Ann\n" in first["diff"]["after"] and "    member bob\n" in first["diff"]["after"]
    )

    again = run()
    assert not again["changed"] and again["msg"] == "nothing to do" and again["unchanged_groups"] == ["Night", "Staff"]
    assert again["summary"]["accounts"]["unchanged"] == again["summary"]["accounts"]["total"] == 2

    # ann is renamed, bob leaves Staff and is disabled, zoe joins.
    company.becomes({"Staff": ["ann", "zoe"], "Night": ["bob"]}, {"ann": {"name": "anna"}, "bob": {"enabled": False}})
    limits = {"removal_limits": "100%"}
    dry, done = run(check_mode=True, **limits), run(**limits)
    assert said(done) == said(dry)
    assert done["accounts"] == {
        "created": ["zoe"],
        "deleted": [],
        "disabled": ["bob"],
        "enabled": [],
        "linked": [],
        "renamed": [{"name": "anna", "previous_name": "ann"}],
        "updated": [],
    }
    assert done["changed_groups"] == [
        {
            "name": "Staff",
            "previous_name": None,
            "path": "All/Company/Staff",
            "changes": ["members"],
            "members_added": ["zoe"],
            "members_removed": ["bob"],
            "user_groups_added": [],
            "user_groups_removed": [],
            "left_out": {},
        }
    ]
    assert accounts(service) == {"anna": True, "bob": False, "zoe": True}
    assert groups(service) == {"Staff": ["anna", "zoe"], "Night": ["bob"]}

    # All leave: zoe stays in the store, but in no group.
    company.becomes({"Staff": ["ann"], "Night": ["bob"]}, {"ann": {"name": "anna"}, "bob": {"enabled": False}})
    refused = run(fails=True, removal_limits="0")
    assert refused.keys() == KEYS and [each["limit"] for each in refused["refused"]] == ["users", "memberships"]
    assert refused["accounts"]["disabled"] == ["zoe"] and not refused["changed"] and accounts(service)["zoe"]
    run(removal_limits="0", approved_plan=refused["plan_digest"])
    assert not accounts(service)["zoe"]

    ended = run(state="absent")
    assert ended["changed"] and accounts(service) == {"anna": False, "bob": False, "zoe": False}
    assert groups(service) == {"Staff": [], "Night": []}
    assert stored.rows(company.store, "SELECT * FROM links") == []
    assert not run(state="absent")["changed"]


def test_who_is_released_stays_and_the_service_is_not_asked(run, company, service):
    run()
    service.requests.clear()
    assert run(check_mode=True, state="released", url=None, token=None)["changed"]
    released = run(state="released", url=None, token=None)
    assert released["changed"] and released.keys() == KEYS and not service.requests
    assert accounts(service) == {"ann": True, "bob": True} and stored.rows(company.store, "SELECT * FROM links") == []
    assert not run(state="released", url=None, token=None)["changed"]
    taken = run(collision="link_by_external_id")
    assert not taken["collisions"] and len(service.users) == 2


# --- a service that is not as it should be ---------------------------------------------------------------------------


def test_rounds_until_nothing_is_left(run, service):
    rounds = [run(request_limit=10)]
    while rounds[-1]["left"]:
        rounds.append(run(request_limit=10))
        assert len(rounds) < 10
    assert len(rounds) > 1 and "left: " in rounds[0]["msg"] and "request_limit" in rounds[0]["msg"]
    assert groups(service) == {"Staff": ["ann", "bob"], "Night": ["bob"]}
    assert not run()["changed"]


def test_a_run_that_cannot_read_all_changes_nothing(run, service):
    assert run(fails=True, request_limit=2)["msg"].startswith("request_limit: ") and not service.users


def test_whose_creation_had_no_answer_is_found_again_and_not_created_twice(run, service):
    service.fault = at("creation of a user", hangs_up, times=1)
    first = run()
    assert [each["name"] for each in first["not_provisioned"]] == ["ann"] and "not done: 1" in first["msg"]
    second = run()
    assert second["accounts"]["linked"] == ["ann"] and len(service.users) == 2
    assert groups(service) == {"Staff": ["ann", "bob"], "Night": ["bob"]}


def test_a_list_that_lies_removes_nobody_and_creates_nobody_again(run, service):
    run()
    service.fault = at("list of users", scim_service.body_is(Resources=[], totalResults=0))
    again = run()
    assert not again["changed"] and len(service.users) == 2


def test_drift_is_told_and_restored(run, service):
    run()
    service.users["u000001"].update(active=False, displayName="Else")
    done = run()
    assert [(each["name"], each["what"], each["there"]) for each in done["drift"]] == [
        ("ann", "attributes.displayName", "Else"),
        ("ann", "state", "disabled"),
    ]
    assert accounts(service)["ann"] and service.users["u000001"]["displayName"] == "Ann"


def test_a_token_that_is_refused_and_a_service_that_is_none(run, service):
    wrong = run(fails=True, token="another-t0ken")
    assert wrong["msg"].startswith("token: ") and "another-t0ken" not in json.dumps(wrong)
    service.fault = at("list of users", says(302, None, Location="http://127.0.0.1:1/"))
    assert "redirect" in run(fails=True)["msg"]


@pytest.mark.parametrize(
    "options, option",
    [
        ({"user_groups": ["All/Nobody"]}, "user_groups"),
        ({"user_groups": []}, "user_groups"),
        ({"token": None}, "token"),
        ({"url": "http://scim.example.com"}, "url"),
        ({"nested_groups": "nest", "service": "github"}, "nested_groups"),
        ({"user_attributes": {"password": "email"}}, "user_attributes"),
        ({"removal_limits": {"people": 1}}, "removal_limits"),
        ({"approved_plan": "x"}, "approved_plan"),
        ({"request_limit": 0}, "request_limit"),
        ({"store": "users.db"}, "store"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_said_before_anything_is_asked(run, service, options, option):
    assert run(fails=True, **options)["msg"].startswith(option)
    assert not service.requests


def test_a_provisioning_stays_with_its_service(run, service):
    run()
    with serving(ScimService()) as other:
        assert "belongs to" in run(fails=True, url=other)["msg"]


def test_an_attribute_that_is_no_longer_written_is_removed(run, service):
    run()
    done = run(user_attributes={"displayName": "display_name"}, removal_limits="100%")
    assert done["accounts"]["updated"] == ["ann", "bob"] and not service.users["u000001"].get("emails")


# --- by Ansible ------------------------------------------------------------------------------------------------------


def test_a_playbook_goes_on_until_nothing_is_left(run_playbook, company, tmp_path):
    with scim2_server.scim2_server(tmp_path) as url:
        task = {
            "usersync.directory.scim_provisioning": {
                "name": "wiki",
                "user_groups": ["All/Company/Staff"],
                "url": url,
                "token": scim2_server.TOKEN,
                "store": stores.of(company.store),
                "request_limit": 8,
            },
            "register": "result",
            "until": "result.left == 0",
            "retries": 10,
            "delay": 0,
        }
        played = run_playbook([task], "--diff")
        assert played.rc == 0, played.output
        assert played.results[-1]["attempts"] > 1 and not played.results[-1]["left"]
        people = scim2_server.ask(url, "/Users")["Resources"]
        assert sorted(each["userName"] for each in people) == ["ann", "bob"]
        task["usersync.directory.scim_provisioning"].pop("request_limit")
        assert not run_playbook([task], "--check").results[-1]["changed"]


def test_the_token_is_nowhere(run_playbook, company, service, tmp_path):
    """Not in what is printed or returned, not in the store, not in what others see of processes while it runs."""
    there_before, found = set(os.listdir("/proc")), set()

    def look(_request, answer):
        for process in set(os.listdir("/proc")) - there_before:
            for part in ("cmdline", "environ"):
                with contextlib.suppress(OSError):
                    if TOKEN.encode() in Path("/proc", process, part).read_bytes():
                        found.add(part)
        return answer._replace(body={**answer.body, "title": TOKEN}) if isinstance(answer.body, dict) else answer

    service.fault = look
    options = {
        "name": "wiki",
        "user_groups": ["All/Company/Staff"],
        "url": service.url,
        "token": "{{ lookup('file', '%s') }}" % (tmp_path / "secret"),
        "store": stores.of(company.store),
    }
    (tmp_path / "secret").write_text(TOKEN)
    task = {"usersync.directory.scim_provisioning": options, "ignore_errors": True}
    played = run_playbook([task, task], "--diff", "-vvvv", as_program=True)
    assert played.rc == 0 and len(service.users) == 2, played.output
    assert TOKEN not in played.output and TOKEN not in json.dumps(played.results) and not found
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "secret"]
    assert [path for path in left if TOKEN.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    "path, option",
    [("All/Company/Else", "user_groups"), ("All/Company/Nobody", "allow_empty")],
    ids=["missing", "empty"],
)
def test_a_user_group_that_is_missing_or_empty_is_refused_with_all_keys(
    run, company, service, path, option, check_mode
):
    company.becomes({"Staff": ["ann"], "Night": ["ann"], "Nobody": []})
    known = run(check_mode=True)
    asked = len(service.requests)
    done = run(fails=True, user_groups=["All/Company/Staff", path], check_mode=check_mode)
    assert done["msg"].startswith("user_groups: ") and path in done["msg"] and len(service.requests) == asked
    refused = {"limit": "user_groups", "would_remove": 0, "of": 0, "option": option, "about": path}
    assert done["refused"] == [refused] and not done["changed"] and done["plan_digest"] == ""
    assert known.keys() <= done.keys() and done["dry_run"] is check_mode
