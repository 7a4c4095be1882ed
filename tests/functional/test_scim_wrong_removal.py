# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody loses what is theirs, and nobody keeps access, since a service shows less than it has or says odd things."""

from __future__ import annotations

import json
from urllib.parse import quote, quote_plus

import pytest
from support import plans, provisioned, scim_service
from support.scim_service import Answer, at, hangs_up, says

pytestmark = pytest.mark.usefixtures("no_proxy")

UNDONE = {"X-Undone": "1"}
NO_PATCH = {"patch": {"supported": False}, "filter": {"supported": True, "maxResults": 200}}
BOB_IS_DISABLED = {"bob": {"enabled": False}}


def is_reported(result, name):
    return bool(result.get("failed")) and name in [each["name"] for each in result["not_provisioned"]]


# --- whether somebody is disabled ------------------------------------------------------------------------------------


def test_who_left_is_not_believed_disabled_if_nobody_says_so(run, company, service):
    """It answers 204, does nothing, and shows no `active` where one account is asked for, though it does in lists."""
    run()
    provisioned.bob_leaves(company)

    def lies(request, answer):
        if request.stage == "change of a user":
            return Answer(204, None, UNDONE)
        if request.stage == "one" and answer.status == 200:
            return answer._replace(body={key: each for key, each in answer.body.items() if key != "active"})
        return answer

    service.fault = lies
    done = run()
    assert provisioned.user(service, "bob")["active"] and is_reported(done, "bob"), done["msg"]


@pytest.mark.parametrize("active", [1, "yes", None, "1", {"value": True}], ids=str)
def test_who_left_is_not_believed_disabled_if_the_state_is_said_in_an_odd_way(run, company, service, active):
    run()
    provisioned.bob_leaves(company)

    def lies(request, answer):
        if request.stage == "change of a user":
            return Answer(200, {"userName": "bob", "id": "u000002", "active": active}, UNDONE)
        if request.stage == "one" and answer.status == 200:
            return answer.with_body(active=active)
        return answer

    service.fault = lies
    done = run()
    assert provisioned.user(service, "bob")["active"] and is_reported(done, "bob"), done["msg"]


def without_active(_request, answer):
    users = answer.body.get("Resources", [answer.body]) if isinstance(answer.body, dict) else []
    for each in users:
        each.pop("active", None)
    return answer


def test_who_left_is_disabled_where_no_state_is_ever_shown(run, company, service):
    service.fault = without_active
    run()
    provisioned.bob_leaves(company)
    assert not run().get("failed")
    assert provisioned.user(service, "bob")["active"] is False


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
    assert provisioned.user(service, "bob")["active"] is False


# --- what a PUT of a group would end ---------------------------------------------------------------------------------


def group(service, name):
    number = group_id(service, name)
    return {service.users[each]["userName"] for each in service.members(number) if each in service.users}


def group_id(service, name):
    return next(number for number, each in service.groups.items() if each["displayName"] == name)


def renamed(company):
    groups = {"key-Staff": plans.group_record("Nurses"), "key-Night": plans.group_record("Night")}
    before = {**groups, "key-Staff": plans.group_record("Staff")}
    plans.apply(company.store, plans.make_plan(plans.group_changes(before, groups)))


def shows_at_most(count):
    """A group shows so many members."""

    def cuts(request, answer):
        if request.method == "GET" and request.path.startswith("/Groups") and answer.status == 200:
            for each in answer.body.get("Resources", [answer.body]):
                each["members"] = each.get("members", [])[:count]
        return answer

    return cuts


RENAMED = {"user_groups": ["All/Company/Nurses", "All/Company/Night"]}


@pytest.mark.parametrize("shows", [0, 1])
@pytest.mark.parametrize("parameters", [{}, {"members": "never"}], ids=["unknown", "never"])
def test_a_group_that_is_renamed_by_put_keeps_members_that_are_not_shown(run, company, service, shows, parameters):
    run()
    service.config = NO_PATCH
    service.fault = shows_at_most(shows)
    renamed(company)
    for _number in range(2):
        done = run(service_parameters=parameters, drift="report", **RENAMED)
        assert is_reported(done, "Nurses"), done["msg"]
    assert group(service, "Staff") == {"ann", "bob"}


def test_a_group_that_is_renamed_by_put_keeps_all_its_members(run, company, service):
    run()
    service.config = NO_PATCH
    service.groups[group_id(service, "Staff")]["members"].append({"value": service.user("guest")})
    renamed(company)
    assert run(**RENAMED)["summary"]["groups"]["renamed"] == 1
    assert group(service, "Nurses") == {"ann", "bob", "guest"}


def test_a_group_of_which_a_part_is_shown_loses_nobody_by_put(run, company, service):
    """It shows the first 100 members of 122, and ours are the last ones."""
    run()
    service.config = NO_PATCH
    guests = {f"guest{number:03d}" for number in range(120)}
    staff = service.groups[group_id(service, "Staff")]
    staff["members"] = [*({"value": service.user(each)} for each in sorted(guests)), *staff["members"]]
    service.fault = shows_at_most(100)
    company.becomes({"Staff": ["ann", "bob", "cyd"], "Night": ["bob"]})
    done = run()
    assert done["failed"] and group(service, "Staff") == {"ann", "bob", *guests}, done["msg"]


@pytest.mark.parametrize("drift", ["restore", "report"])
@pytest.mark.parametrize("by", ["membership", "account"])
def test_who_leaves_a_group_that_lost_somebody_else_there_by_put(run, company, service, by, drift):
    """Somebody took cyd out of the group there, or deleted him; bob leaves the group."""
    company.becomes({"Staff": ["ann", "bob", "cyd"], "Night": ["bob", "ann"]})
    service.config = NO_PATCH
    run()
    number = provisioned.user(service, "cyd")["id"]
    for each in service.groups.values():
        each["members"] = [one for one in each["members"] if one["value"] != number]
    if by == "account":
        del service.users[number]
    company.becomes({"Staff": ["ann", "cyd"], "Night": ["bob", "ann"]})
    done = run(drift=drift)
    assert not done.get("failed") and group(service, "Staff") - {"cyd"} == {"ann"}, done["msg"]
    assert drift == "report" or "cyd" in group(service, "Staff")


def test_who_leaves_a_group_by_put_where_lists_are_not_read(run, company, service):
    """A run that was killed has taken bob out already, and has not kept it."""
    service.config = NO_PATCH
    unlisted = {"service_parameters": {"lists": []}}
    company.becomes({"Staff": ["ann", "bob"], "Night": ["ann", "bob"]})
    run(**unlisted)
    company.becomes({"Staff": ["ann"], "Night": ["ann", "bob"]})
    staff = service.groups[group_id(service, "Staff")]
    staff["members"] = [each for each in staff["members"] if each["value"] != provisioned.user(service, "bob")["id"]]
    done = run(**unlisted)
    assert not done.get("failed") and group(service, "Staff") == {"ann"}, done["msg"]


# --- members whom somebody else put in or took out -------------------------------------------------------------------


def joins(service, name, who):
    service.groups[group_id(service, name)]["members"].append({"value": provisioned.user(service, who)["id"]})


@pytest.mark.parametrize("what", ["added", "removed"])
def test_members_that_somebody_changed_there_stay_under_report(run, company, service, what):
    run(drift="report")
    if what == "added":
        joins(service, "Night", "ann")
    else:
        service.groups[group_id(service, "Night")]["members"] = []
    is_there = group(service, "Night")
    for _number in range(2):
        done = run(drift="report")
        assert [each["what"] for each in done["drift"]] == ["members"]
        assert group(service, "Night") == is_there, done["msg"]
    assert run()["drift"] and group(service, "Night") == {"bob"}


@pytest.mark.parametrize("state", ["present", "absent"])
def test_who_leaves_is_in_no_group_whoever_put_him_there(run, company, service, state):
    run(drift="report")
    joins(service, "Night", "ann")
    company.becomes({"Staff": ["bob"], "Night": ["bob"]}, {"ann": {}})
    done = run(drift="report", departure="keep", state=state)
    assert not {"ann"} & (group(service, "Night") | group(service, "Staff")), done["msg"]


def test_foreign_members_remove_takes_out_nobody_who_is_wanted(run, company, service):
    """Bob is there by the same name, and not linked: whoever he is, he is wanted in Staff."""
    company.becomes({"Staff": ["ann", "bob"], "Night": ["ann"]})
    service.user("bob", displayName="Bob")
    assert [each["name"] for each in run()["collisions"]] == ["bob"]
    service.user("guest")
    for name in ("Staff", "Night"):
        joins(service, name, "bob")
        joins(service, name, "guest")
    run(foreign_members="remove")
    assert group(service, "Staff") == {"ann", "bob"} and group(service, "Night") == {"ann"}


def counts_each_kind(service):
    """Let it give ids that are told apart by the kind only: user 1 and group 1."""

    def add(there, resource):
        number = str(len(there) + 1)
        there[number] = {**resource, "id": number}
        return number

    service._add = add


GUEST_IS_SAID_TO_BE = {
    "nothing": {},
    "a user": {"type": "User"},
    "by its address": {"$ref": "https://wiki.example/scim/Users/3"},
}


@pytest.mark.parametrize("said", GUEST_IS_SAID_TO_BE.values(), ids=GUEST_IS_SAID_TO_BE)
def test_a_foreign_member_whose_id_is_that_of_a_group_stays(run, company, service, said):
    counts_each_kind(service)
    groups = {"Staff": ["ann", "bob"], "Night": ["bob"], "Day": ["ann"]}
    company.becomes(groups)
    chosen = {"user_groups": ["All/Company/" + each for each in groups]}
    run(**chosen)
    assert service.user("guest") == "3" and "3" in service.groups
    service.groups[group_id(service, "Staff")]["members"].append({"value": "3", **said})
    done = run(**chosen)
    assert group(service, "Staff") == {"ann", "bob", "guest"}, done["msg"]
    told = {"kind": "account", "id": "3", "name": "guest", "member_of": "Staff"}
    assert not done["changed"] and told in done["foreign"]


@pytest.mark.parametrize("said", [{"type": "Group"}, {"$ref": "../Groups/3"}], ids=str)
def test_a_foreign_group_whose_id_is_that_of_an_account_stays(run, company, service, said):
    counts_each_kind(service)
    company.becomes({"Staff": ["ann"], "Night": ["bob", "cyd"]})
    run()
    guests, cyd = service.group("guests"), provisioned.user(service, "cyd")["id"]
    assert guests == cyd == "3"
    service.groups[group_id(service, "Staff")]["members"].append({"value": guests, **said})
    done = run()
    assert service.members(group_id(service, "Staff")) == {"1", guests}, done["msg"]
    assert (
        not done["changed"]
        and {"kind": "group", "id": guests, "name": "guests", "member_of": "Staff"} in done["foreign"]
    )


# --- whether somebody is deleted -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 410, 204])
@pytest.mark.parametrize("enabled", [False, True])
def test_who_was_not_deleted_and_comes_back_has_the_account_again(run, company, service, status, enabled):
    """It deletes nobody, and answers so. That a disabled account is disabled afterwards tells nothing."""
    there = {"Staff": ["ann", "bob"], "Night": ["bob"]}
    company.becomes(there, {"bob": {"enabled": enabled}})
    run(departure="delete")
    provisioned.bob_leaves(company)
    service.fault = at("deletion", says(status))
    assert is_reported(run(departure="delete"), "bob")
    company.becomes(there)
    done = run(departure="delete")
    assert provisioned.user(service, "bob")["active"] and "bob" in group(service, "Staff"), done["collisions"]


def test_an_account_that_is_kept_disabled_when_it_is_deleted_is_deleted(run, company, service):
    run()
    provisioned.bob_leaves(company)

    def keeps(request, answer):
        if request.stage == "deletion":
            service.users["u000002"] = {"userName": "bob", "active": False, "id": "u000002"}
        return answer

    service.fault = keeps
    done = run(departure="delete")
    assert not done.get("failed") and done["accounts"]["deleted"] == ["bob"], done["msg"]


@pytest.mark.parametrize("status", [404, 410])
def test_who_was_deleted_there_is_created_again(run, service, status):
    run()
    del service.users[provisioned.user(service, "bob")["id"]]
    service.fault = lambda request, answer: answer._replace(status=status) if answer.status == 404 else answer
    run()
    assert provisioned.user(service, "bob")["active"] and group(service, "Staff") == {"ann", "bob"}


def test_who_is_gone_where_he_is_to_be_changed_is_told(run, company, service):
    """Between the list and the change somebody deleted him, which the service says as 410."""
    unlisted = {"service_parameters": {"lists": []}}
    run(**unlisted)
    service.fault = lambda request, answer: answer._replace(status=410) if answer.status == 404 else answer
    del service.users[provisioned.user(service, "bob")["id"]]
    company.becomes({"Staff": ["ann", "bob"], "Night": ["bob"]}, {"bob": {"attributes": {"email": "new@x.example"}}})
    run(**unlisted)
    run(**unlisted)
    assert provisioned.user(service, "bob")["active"]


# --- what is given, and what is told ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://%s.example/scim" % ("a" * 64),
        "https://a..b/scim",
        "https://.example/scim",
        "https://exa mple/scim",
        "https://wiki.example/a b",
        "https://127.0.0.1:1/\u00fc",
    ],
)
def test_an_address_that_is_none_is_one_sentence(run, url):
    done = run(url=url)
    assert done["failed"] and done["msg"].startswith("url: ") and " is none: write" in done["msg"], done["msg"]


@pytest.mark.parametrize("url", ["https://[::1]:1/scim/v2/", "https://127.0.0.1:1/a%20b/~x;y=1"])
def test_an_address_that_leads_nowhere_may_be_one(run, url):
    done = run(url=url)
    assert done["failed"] and "cannot be reached" in done["msg"], done["msg"]


@pytest.mark.parametrize("written", [lambda text: quote(text, safe=""), quote, quote_plus], ids=["all", "path", "form"])
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("end", ["redirect", "detail"])
def test_a_token_that_is_written_for_an_address_is_hidden(run, service, end, lower, written):
    service.token = "a+secret/of=ours&for-this test"
    text = written(service.token)
    text = text.replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d") if lower else text
    where = "/login?token=" + text
    service.fault = says(302, None, Location=where) if end == "redirect" else says(400, {"detail": where})
    if end == "detail":
        service.fault = at("creation of a user", service.fault)
    done = run(token=service.token)
    assert done["failed"] and "/login?token=" in done["msg"] + str(done.get("not_provisioned"))
    assert text not in json.dumps(done), done["msg"]


@pytest.mark.parametrize(
    "attribute",
    ["Active", "ACTIVE", "ExternalId", "Password", "urn:ietf:params:scim:schemas:core:2.0:User:active", "username"],
)
def test_what_is_ours_cannot_be_given_in_another_case(run, attribute):
    done = run(True, user_attributes={attribute: "title"})
    assert done["failed"] and done["msg"].startswith("user_attributes: "), done["msg"]


# --- somebody else makes an account as ours would be ------------------------------------------------------------------

LISTS = pytest.mark.parametrize("options", [{}, {"service_parameters": {"lists": []}}], ids=["listed", "unlisted"])
ENDS = pytest.mark.parametrize("departure", ["disable", "delete"])


def others_bob(service, options, run, company):
    """It stays as it is, whoever is wanted: it is a collision, and of nobody once bob has left."""
    before = dict(provisioned.user(service, "bob"))
    done = [run(**options) for _time in range(2)]
    assert [[each["name"] for each in one["collisions"]] for one in done] == [["bob"], ["bob"]], done[0]["msg"]
    provisioned.bob_leaves(company)
    done = run(**options)
    assert provisioned.user(service, "bob") == before and not done.get("failed"), done["msg"]
    assert not done["not_provisioned"] and not run(**options)["changed"]


@LISTS
@ENDS
@pytest.mark.parametrize("collision", ["refuse", "link_by_external_id"])
def test_an_account_that_came_before_ours_is_not_ours(run, company, service, options, departure, collision):
    def comes_first(_request, answer):
        service.users[answer.body["id"]].pop("externalId")
        return Answer(409, {"scimType": "uniqueness"})

    service.fault = at("creation of a user", comes_first, first=2)
    options = {"departure": departure, "collision": collision, **options}
    assert run(**options)["failed"]
    service.fault = scim_service.behave
    others_bob(service, options, run, company)


@ENDS
def test_an_account_without_our_key_is_not_ours_where_keys_are_kept(run, company, service, departure):
    """The creation of bob is never made, and nobody knows. Somebody else makes the same."""
    asked = []

    def lost(request, answer):
        asked.append(request.body)
        return says(502)(request, answer)

    service.fault = at("creation of a user", lost, first=2)
    run(departure=departure)
    service.fault = scim_service.behave
    body = {key: value for key, value in asked[0].items() if key not in ("externalId", "userName")}
    service.user("bob", **body)
    others_bob(service, {"departure": departure}, run, company)


def test_an_account_that_is_made_and_refused_is_ours_by_its_key(run, company, service):
    service.fault = at("creation of a user", says(409, {"scimType": "uniqueness"}, done=True), first=2)
    assert run()["failed"]
    service.fault = scim_service.behave
    done = run()
    assert not done["collisions"] and provisioned.members(service, "Night") == {"bob"} and not run()["changed"]


@LISTS
def test_whoever_is_refused_is_created_once_the_name_is_free(run, company, service, options):
    service.fault = at("creation of a user", says(409, {"scimType": "uniqueness"}), first=2)
    assert run(**options)["failed"]
    service.fault = scim_service.behave
    done = run(**options)
    assert done["accounts"]["created"] == ["bob"] and provisioned.members(service, "Night") == {"bob"}


def test_whoever_may_be_there_since_an_earlier_run_is_ours_though_he_is_refused(run, company, service):
    """His creation had no answer, and the next run does not see him. The service keeps no external ids."""

    def keeps_none(fault):
        def choose(request, answer):
            for each in service.users.values():
                each.pop("externalId", None)
            return fault(request, answer)

        return choose

    def hides(request, answer):
        if request.stage != "list of users":
            return answer
        shown = [each for each in answer.body["Resources"] if each["userName"] != "bob"]
        return answer.with_body(Resources=shown, totalResults=answer.body["totalResults"] - 1)

    for fault in (at("creation of a user", hangs_up, first=2), hides, scim_service.behave):
        service.fault = keeps_none(fault)
        done = run()
    assert not done["collisions"] and provisioned.members(service, "Night") == {"bob"}, done["msg"]
    assert len(service.users) == 2 and not run()["changed"]
