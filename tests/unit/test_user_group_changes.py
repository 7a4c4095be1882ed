# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module user_group_changes returns of a store, and what it keeps there."""

from __future__ import annotations

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _user_group_changes as changes
from ansible_collections.usersync.directory.plugins.module_utils._destination.contract import Kind, Record
from ansible_collections.usersync.directory.plugins.module_utils._errors import Refused, SynchronizationError
from ansible_collections.usersync.directory.plugins.module_utils._provisioning.model import Link, Ref
from ansible_collections.usersync.directory.plugins.module_utils._store import address, ledger
from support import stores
from support.company import Company
from support.stored import rows

pytestmark = pytest.mark.any_store

TABLES = ("provisionings", "links", "link_members", "intents", "allowed", "past_links")


@pytest.fixture
def company(tmp_path):
    company = Company(tmp_path / "users.db")
    company.becomes({"Staff": ["ann", "bob"], "Night": ["bob"]})
    return company


@pytest.fixture
def ask(company):
    def ask(check_mode=False, diff_mode=False, **options):
        given = {"name": "wiki", "store": stores.of(company.store), "removal_limits": "100%", **options}
        if not {"acknowledge", "state"}.intersection(given):
            given.setdefault("user_groups", ["All/Company/Staff", "All/Company/Night"])
        return changes.user_group_changes(changes.changes_settings(given), check_mode, diff_mode)

    return ask


def kept(company):
    return {table: rows(company.store, f"SELECT * FROM {table}") for table in TABLES}


def names(result):
    return {
        name: sorted((each["name"], each.get("user_group", "").rpartition("/")[2]) for each in result[name])
        for name in changes.LISTS
        if result[name]
    }


def said(result):
    return {key: value for key, value in result.items() if key not in ("began", "dry_run")}


def test_from_the_first_call_to_the_last(ask, company):
    first = ask(diff_mode=True)
    assert first["changed"] and first["msg"] == "joined: 3, changed groups: 2"
    assert names(first) == {"joined": [("ann", "Staff"), ("bob", "Night"), ("bob", "Staff")]}
    assert first["joined"][0]["attributes"]["email"] == "bob@corp.example" and "account ann" in first["diff"]["after"]
    assert said(ask(diff_mode=True)) == said(first), "it comes again"
    done = ask(acknowledge=first["plan_digest"])
    assert done["changed"] and done.keys() == first.keys() - {"diff"}
    assert not ask(acknowledge=first["plan_digest"])["changed"], "twice is once"
    nothing = ask()
    assert not nothing["changed"] and nothing["msg"] == "nothing happened" and names(nothing) == {}
    assert not ask(acknowledge=nothing["plan_digest"])["changed"]

    people = {"bob": {"enabled": False}, "ann": {"name": "eve", "attributes": {"email": "eve@corp.example"}}}
    company.becomes({"Staff": ["ann", "bob", "zoe"], "Night": ["zoe"]}, people)
    then = ask()
    assert names(then) == {
        "disabled": [("bob", "")],
        "joined": [("zoe", "Night"), ("zoe", "Staff")],
        "left": [("bob", "Night")],
        "renamed": [("eve", "")],
        "updated": [("eve", "")],
    }
    assert then["renamed"][0]["previous_name"] == "ann" and not then["left"][0]["is_last"]
    assert ask(acknowledge=then["plan_digest"])["changed"] and not ask()["changed"]
    ended = rows(company.store, "SELECT event, name, group_name FROM past_links")
    assert ended == [("member_removed", "bob", "All/Company/Night")]


def test_only_what_was_returned_is_acknowledged(ask, company):
    first = ask()
    company.becomes({"Staff": ["ann", "bob"], "Night": ["ann", "bob"]})
    ask(acknowledge=first["plan_digest"])
    second = ask()
    assert names(second) == {"joined": [("ann", "Night")]}
    company.becomes({"Staff": ["ann", "bob"], "Night": ["bob"]})
    third = ask()
    assert names(third) == {"left": [("ann", "Night")]}, "a loop may have let her in"
    before = kept(company)
    for wrong in (second["plan_digest"], "users+0-0~0:00", first["plan_digest"] + "0"):
        with pytest.raises(SynchronizationError, match="^acknowledge: .* call it again without acknowledge"):
            ask(acknowledge=wrong)
    assert not ask(acknowledge=first["plan_digest"])["changed"], "the last one is acknowledged, and stays so"
    assert kept(company) == before
    ask(acknowledge=third["plan_digest"])
    company.becomes({"Staff": ["ann", "bob"], "Night": ["ann", "bob"]})
    fourth = ask()
    assert names(fourth) == names(second) and fourth["plan_digest"] != second["plan_digest"]
    with pytest.raises(SynchronizationError, match="^acknowledge: "):
        ask(acknowledge=second["plan_digest"])


def test_check_mode_leaves_no_trace(ask, company):
    nothing = kept(company)
    dry = ask(check_mode=True)
    assert ask(check_mode=True, acknowledge=dry["plan_digest"])["changed"]
    assert kept(company) == nothing
    real = ask()
    assert said(real) == said(dry), "check mode says what a run says"
    before = kept(company)
    ask(check_mode=True, acknowledge=real["plan_digest"])
    assert ask(check_mode=True, state="released")["changed"]
    assert kept(company) == before


def test_limits_and_approval(ask, company):
    ask(acknowledge=ask()["plan_digest"])
    before = kept(company)
    company.becomes({"Staff": ["ann"], "Night": ["zoe"]}, {"bob": {}})
    with pytest.raises(Refused) as refusal:
        ask(removal_limits={"memberships": "1"})
    result = refusal.value.result
    assert [(each["limit"], each["would_remove"], each["of"]) for each in result["refused"]] == [("memberships", 2, 3)]
    assert not result["changed"] and "removal_limits.memberships" in result["msg"] and kept(company) == before
    with pytest.raises(SynchronizationError, match="^acknowledge: "):
        ask(acknowledge=result["plan_digest"])
    for approval in ("plan_digest", "removals_digest"):
        option = "approved_" + {"plan_digest": "plan", "removals_digest": "removals"}[approval]
        approved = ask(check_mode=True, removal_limits="0", **{option: result[approval]})
        assert said(approved)["left"] == result["left"]
    ask(removal_limits="0", approved_plan=result["plan_digest"])
    assert names(ask(removal_limits="0"))["left"] == [("bob", "Night"), ("bob", "Staff")], "and stays allowed"


def test_what_was_allowed_and_came_back_counts_when_it_leaves_again(ask, company):
    people = ["%sx" % each for each in "abcdefgh"]
    everybody = {"Staff": people, "Night": people[6:]}
    company.becomes(everybody)
    ask(acknowledge=ask()["plan_digest"])
    limits = {"users": "2", "memberships": "100%"}
    for gone in (people[:2], people[2:4]):
        company.becomes(
            {**everybody, "Staff": [each for each in people if each not in gone]}, {each: {} for each in gone}
        )
        ask(removal_limits=limits)
        company.becomes(everybody)
        ask(removal_limits=limits)
    company.becomes({**everybody, "Staff": people[4:]}, {each: {} for each in people[:4]})
    with pytest.raises(Refused):
        ask(removal_limits=limits)


def test_a_group_that_is_missing_is_an_error_and_one_that_is_taken_out_loses_its_members(ask, company):
    ask(acknowledge=ask()["plan_digest"])
    with pytest.raises(SynchronizationError, match="^user_groups: the store has no user group"):
        ask(user_groups=["All/Company/Staf"])
    result = ask(user_groups=["All/Company/Staff"])
    assert names(result) == {"left": [("bob", "Night")]}
    assert [each["changes"] for each in result["changed_groups"]] == [["deleted", "members"]]


def test_it_can_be_forgotten(ask, company):
    first = ask()
    ask(acknowledge=first["plan_digest"])
    assert ask(state="released")["changed"] and not ask(state="released")["changed"]
    assert names(ask()) == names(first)


def test_a_name_is_that_of_one_thing(ask, company):
    scim = ledger.StoreLedger(
        address.address_of(stores.of(company.store)), 10, "wiki", "https://scim.example", ledger.NOTHING
    )
    scim.link(Ref(Kind.ACCOUNT, "u1"), Link("1", Record("ann")))
    scim.close()
    with pytest.raises(SynchronizationError, match="^name: .* is the name of a provisioning"):
        ask()


def test_an_acknowledgement_that_is_killed_acknowledges_nothing(ask, company, monkeypatch):
    first = ask()
    before = {table: found for table, found in kept(company).items() if table != "provisionings"}

    def killed(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ledger.StoreLedger, "allow", killed)
        with pytest.raises(KeyboardInterrupt):
            ask(acknowledge=first["plan_digest"])
    assert {table: found for table, found in kept(company).items() if table != "provisionings"} == before
    assert names(ask()) == names(first)


@pytest.mark.parametrize(
    "options, why",
    [
        ({"name": " "}, "^name: "),
        ({"user_groups": []}, "^user_groups: "),
        ({"acknowledge": ""}, "^acknowledge: "),
        ({"user_groups": ["Staff"]}, "^user_groups: "),
        ({"user_attributes": {"mail": ""}}, "^user_attributes: "),
        ({"removal_limits": "many"}, "^removal_limits"),
        ({"store_timeout": -1}, "^store_timeout: "),
    ],
)
def test_wrong_options_are_told(ask, options, why):
    with pytest.raises(SynchronizationError, match=why):
        ask(**options)


def test_attributes_are_called_as_one_wants(ask):
    assert ask(user_attributes={"mail": "email"})["joined"][0]["attributes"] == {"mail": "bob@corp.example"}
