# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever left loses the account, or is reported, whatever a service says."""

from __future__ import annotations

import json

import pytest
from support import provisioned, scim_service, stored
from support.scim_service import Answer, at, hangs_up, says

pytestmark = pytest.mark.usefixtures("no_proxy")


def bob(service):
    return provisioned.user(service, "bob")


def is_reported(result, name):
    return bool(result.get("failed")) or name in [each["name"] for each in result["not_provisioned"]]


def test_who_left_while_being_created_again(run, company, service):
    run()
    del service.users[bob(service)["id"]]
    service.fault = at("creation of a user", hangs_up)
    run()
    assert bob(service)["active"]
    service.fault = scim_service.behave
    provisioned.bob_leaves(company)
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
    provisioned.bob_leaves(company)
    done = run()
    assert not bob(service)["active"] or is_reported(done, "bob")


def test_who_left_where_the_service_says_it_has_no_accounts(run, company, service):
    run()
    provisioned.bob_leaves(company)

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
    provisioned.bob_leaves(company)
    service.fault = at("deletion", says(status))
    done = run(departure="delete")
    assert bob(service)["active"] and is_reported(done, "bob")


@pytest.mark.parametrize(
    "look", [says(500), says(403), says(200, b"[]"), says(404)], ids=["500", "403", "no object", "404"]
)
def test_who_left_where_nobody_can_see_whether_it_is_disabled(run, company, service, look):
    run()
    provisioned.bob_leaves(company)

    def lies(request, answer):
        if request.stage == "change of a user":
            return Answer(204, None, {"X-Undone": "1"})
        return look(request, answer) if request.stage == "one" else answer

    service.fault = lies
    done = run()
    assert bob(service)["active"] and is_reported(done, "bob")


def test_who_left_where_the_answer_says_nothing_of_the_state(run, company, service):
    run()
    provisioned.bob_leaves(company)

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
    provisioned.bob_leaves(company)
    run()
    assert not bob(service)["active"]


def test_who_left_and_was_enabled_there_is_disabled_before_all_is_forgotten(run, company, service):
    run(drift="report")
    provisioned.bob_leaves(company)
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


def one(name, fault):
    """Whatever is asked about this account, by its id there, is answered so."""

    def choose(request, answer):
        return fault(request, answer) if request.stage == "change of a user" and request.path.endswith(name) else answer

    return choose


REFUSALS = {
    "403": says(403, {"detail": "the owner"}),
    "400": says(400, {"detail": "protected"}),
    "404": says(404),
    "409": says(409, {"detail": "in use"}),
    "HTML": says(200, b"<html>"),
    "a redirect": says(302, None, Location="/login"),
}


@pytest.mark.parametrize("fault", REFUSALS.values(), ids=REFUSALS)
def test_one_protected_account_keeps_nobody_elses(run, company, service, fault):
    company.becomes({"Staff": ["ann", "bob", "zoe"], "Night": ["zoe"]})
    run()
    company.becomes({"Staff": ["zoe"], "Night": ["zoe"]}, {"ann": {}, "bob": {}})
    service.fault = one("u000001", fault)
    for _number in range(2):
        done = run()
        assert done["failed"] and done["accounts"]["disabled"] == (["bob"] if not _number else [])
        assert "account 'ann'" in done["msg"] and [each["name"] for each in done["not_provisioned"]] == ["ann"]
        assert not bob(service)["active"] and done["left"] == 0 and done["plan_digest"]
    service.fault = scim_service.behave
    assert run()["accounts"]["disabled"] == ["ann"] and not run()["changed"]


def test_many_accounts_that_fail_keep_nobody_elses(run, company, service):
    """A service that answers, though by an error, is asked for each of those who left."""
    people = ["p%02d" % number for number in range(12)]
    company.becomes({"Staff": [*people, "ann"], "Night": ["ann"]})
    run()
    company.becomes({"Staff": ["ann", "zoe"], "Night": ["ann"]}, {each: {} for each in people})
    broken = {number for number, each in service.users.items() if each["userName"] in people[:10]}

    def fails(request, answer):
        about_them = request.stage == "change of a user" and request.path.rpartition("/")[2] in broken
        return Answer(500, None, {"X-Undone": "1"}) if about_them else answer

    service.fault = fails
    done = run()
    assert done["failed"] and done["accounts"]["disabled"] == ["p10", "p11"] and done["left"] > 0, done["msg"]


def test_one_member_who_cannot_be_removed_keeps_nobody_else_in_a_group(run, company, service):
    people = ["p%02d" % number for number in range(20)]
    company.becomes({"Staff": [*people, "ann"], "Night": ["ann"]})
    run()
    staff = next(number for number, each in service.groups.items() if each["displayName"] == "Staff")
    owner = next(number for number, each in service.users.items() if each["userName"] == "p07")

    def owned(request, answer):
        if request.stage == "members" and owner in json.dumps(request.body):
            return Answer(403, {"detail": "the owner"}, {"X-Undone": "1"})
        return answer

    service.fault = owned
    service.requests.clear()
    company.becomes({"Staff": ["ann", "zoe"], "Night": ["ann"]}, {each: {} for each in people})
    done = run(departure="keep")
    assert done["failed"] and "'p07': not removed: 403" in json.dumps(done["not_provisioned"])
    (changed,) = done["changed_groups"]
    assert changed["members_removed"] == [each for each in people if each != "p07"] and changed["members_added"] == [
        "zoe"
    ]
    assert {service.users[each]["userName"] for each in service.members(staff)} == {"ann", "p07", "zoe"}
    assert len(service.asked("members")) < 15
    service.fault = at("list of groups", says(501))  # what is linked tells it, too
    run(departure="keep")
    assert {service.users[each]["userName"] for each in service.members(staff)} == {"ann", "zoe"}


def test_a_group_that_cannot_be_changed_costs_a_bounded_number_of_requests(run, company, service):
    people = ["p%02d" % number for number in range(100)]
    company.becomes({"Staff": [*people, "ann"], "Night": ["ann"]})
    run()
    service.fault = at("members", says(403))
    service.requests.clear()
    company.becomes({"Staff": ["ann"], "Night": ["ann"]}, {each: {} for each in people})
    done = run()
    assert done["failed"] and len(done["accounts"]["disabled"]) == 100
    assert len(service.asked("members")) < 115


def test_who_could_not_be_created_joins_with_the_next_run(run, company, service):
    service.fault = at("creation of a user", says(403), first=2)
    done = run()
    assert done["failed"] and done["accounts"]["created"] == ["ann"]
    service.fault = scim_service.behave
    assert [each["members_added"] for each in run()["changed_groups"]] == [["bob"], ["bob"]]


@pytest.mark.parametrize("departure", ["disable", "delete"])
def test_who_left_and_is_gone_there_is_told(run, company, service, departure):
    run()
    del service.users[bob(service)["id"]]
    provisioned.bob_leaves(company)
    for check_mode in (True, False):
        done = run(check_mode, departure=departure)
        told = [(each["kind"], each["name"], each["what"]) for each in done["drift"]]
        assert told == [("account", "bob", "gone")] and "drift: 1" in done["msg"]
    events = (
        "SELECT event FROM view_provisioning_history WHERE key = 'key-bob' AND event <> 'member_removed' ORDER BY 1"
    )
    assert stored.values(company.store, events) == ["ended", "gone"]
    assert run(departure=departure)["drift"] == []


def test_who_is_gone_and_was_a_member_where_members_are_not_shown(run, company, service):
    """The service refuses to remove somebody who is not there. The next run has no id of him, and sends nothing."""
    known = {"service_parameters": {"members": "never"}}
    run(**known)
    number = bob(service)["id"]
    del service.users[number]
    provisioned.bob_leaves(company)
    refuses = says(400, {"detail": "no such member"})
    service.fault = lambda request, answer: (
        refuses(request, answer) if request.stage == "members" and number in json.dumps(request.body) else answer
    )
    assert run(**known)["failed"]
    done = run(**known)
    assert not done.get("failed") and not run(**known)["changed"]
    assert stored.rows(company.store, "SELECT key FROM link_members WHERE key = 'key-bob'") == []
    assert all(each.body["Operations"] for each in service.requests if each.method == "PATCH")


DISABLED = {"bob": {"enabled": False}}
REPORT, RESTORE = {"drift": "report"}, {"drift": "restore"}
OPTIONS = pytest.mark.parametrize(
    "options",
    [RESTORE, REPORT, {"departure": "delete"}, {"collision": "link_by_name", **REPORT}],
    ids=["restore", "report", "delete", "by name"],
)


def gets_another_id(service, **changes):
    """The account of bob is the same, and has another id."""
    account = service.users.pop(bob(service)["id"])
    number = service.user(**{"name": "bob", **{key: account[key] for key in account if key not in ("id", "userName")}})
    for group in service.groups.values():
        group["members"] = [{"value": number} if each["value"] == account["id"] else each for each in group["members"]]
    service.users[number].update(changes)


@OPTIONS
@pytest.mark.parametrize("name", ["bob", "bobby"])
def test_who_is_disabled_in_the_store_and_is_there_under_another_id(run, company, service, options, name):
    run(**options)
    gets_another_id(service, userName=name)
    company.becomes({"Staff": ["ann", "bob"], "Night": ["bob"]}, DISABLED)
    checked, done = run(True, **options), run(**options)
    assert checked["plan_digest"] == done["plan_digest"] and done["accounts"]["disabled"] == ["bob"], done["msg"]
    assert done["changed_groups"] == [], "he is in them by the other id"
    assert [each["active"] for each in service.users.values()] == [True, False]
    assert [each["what"] for each in done["drift"] if each["kind"] == "account"][:1] == ["gone"]
    again = run(**options)
    assert not again["changed"] and not again["collisions"] and not again["drift"], again["msg"]


@OPTIONS
def test_who_was_disabled_and_is_enabled_there_under_another_id(run, company, service, options):
    company.becomes({"Staff": ["ann", "bob"], "Night": ["bob"]}, DISABLED)
    run(**options)
    gets_another_id(service, active=True)
    run(**options)
    assert not bob(service)["active"] and not run(**options)["changed"]


def test_who_is_disabled_under_another_id_where_nothing_is_listed(run, company, service):
    unlisted = {"service_parameters": {"lists": []}, **REPORT}
    run(**unlisted)
    gets_another_id(service)
    company.becomes({"Staff": ["ann", "bob"], "Night": ["bob"]}, DISABLED)
    assert run(**unlisted)["failed"], "his id leads to nothing: so the run finds out"
    done = run(**unlisted)
    assert not bob(service)["active"] and not run(**unlisted)["changed"], done["msg"]


def test_who_is_enabled_and_is_there_under_another_id_is_a_collision(run, company, service):
    run()
    gets_another_id(service)
    before = dict(bob(service))
    for _number in range(2):
        assert [each["name"] for each in run()["collisions"]] == ["bob"]
    assert bob(service) == before


def test_accounts_that_are_disabled_under_other_ids_count_for_the_limits(run, company, service):
    run()
    gets_another_id(service)
    company.becomes({"Staff": ["ann", "bob"], "Night": ["bob"]}, DISABLED)
    assert [each["limit"] for each in run(removal_limits={"states": "0"})["refused"]] == ["states"]
    assert bob(service)["active"]


def test_who_is_to_be_deleted_under_another_id_where_nothing_is_listed(run, company, service):
    unlisted = {"service_parameters": {"lists": []}, "departure": "delete"}
    run(**unlisted)
    gets_another_id(service)
    provisioned.bob_leaves(company)
    assert run(**unlisted)["failed"], "his id leads to nothing: so the run finds out"
    done = run(**unlisted)
    assert [each["userName"] for each in service.users.values()] == ["ann"], done["msg"]
    assert not done.get("failed") and not run(**unlisted)["changed"]


@pytest.mark.parametrize("options", [{}, {"service_parameters": {"filters": []}}], ids=["filters", "lists only"])
def test_who_is_to_be_deleted_under_another_id_where_the_list_cannot_be_read_once(run, company, service, options):
    """The deletion is answered by 404, and nobody is responsible for the account any more."""
    options = {"departure": "delete", **options}
    run(**options)
    gets_another_id(service)
    provisioned.bob_leaves(company)
    service.fault = at("list of users", says(501))
    run(**options)
    service.fault = scim_service.behave
    done = run(**options)
    assert [each["userName"] for each in service.users.values()] == ["ann"], done["msg"]
    assert not done.get("failed") and [each["what"] for each in done["drift"]] == ["gone"]
    assert not run(**options)["changed"]
