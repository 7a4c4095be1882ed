# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Histories of a real Active Directory that random ones seldom come to, by an account that sees who was deleted, and by
one that does not: incremental runs come to what full ones come to.

Each test begins with its timeline. ann and bob lie in staff, which is selected, and are in the list of crew there:
`crew [ann bob]`; `others/out` lies outside. At each `step` an incremental run and a full one, of a store of its own,
must agree; what else must come of it stands behind.
"""

from __future__ import annotations

import base64
import uuid

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory.changes import lists
from support.changing import AD_OTHERS, AD_STAFF, COMPANY, ActiveDirectory, ForLab, remove_company
from support.lab import deleted, modified, moved
from support.process import run
from support.two_stores import Pair

DOMAIN_USERS = "CN=Domain Users,CN=Users,DC=corp,DC=example"


@pytest.fixture(params=["usn", "sweep"])
def account(samba, ordinary_account, request):
    account = ForLab(samba, *((samba.login, samba.password) if request.param == "usn" else ordinary_account))
    remove_company(samba)
    for dn in (COMPANY, AD_STAFF, AD_OTHERS):
        samba.modify("dn: %s\nobjectClass: organizationalUnit\n\n" % dn)
    return account


@pytest.fixture
def company(samba, account, chance):
    """With ann and bob, who are of a crew, and with one who was deleted."""
    company = ActiveDirectory(samba, chance, None)
    ann, bob, gone = (company.dn_of(name, AD_STAFF) for name in ("ann", "bob", "gone"))
    samba.modify(
        "".join(company.new_user(name, AD_STAFF) for name in ("ann", "bob", "gone"))
        + company.new_group("crew", AD_STAFF, ann)
        + modified(CREW, "add", "member", bob)
        + deleted(gone)
    )
    return company


ANN, BOB, CREW = ("CN=%s,%s" % (name, AD_STAFF) for name in ("ann", "bob", "crew"))
OUT = "CN=out,%s" % AD_OTHERS


@pytest.fixture
def pair(account, company, tmp_path):
    """A function: two stores, one kept by incremental runs and one by full ones, after their first runs."""

    def begin(*jobs, **options):
        pair = Pair(
            account,
            tmp_path,
            *({**account.options, "distinguished_name": [AD_STAFF], **job} for job in jobs or [options]),
        )
        pair.step()
        return pair

    return begin


def restored(samba, guid, dn):
    """Bring back who was deleted, as Active Directory's administrators do (MS-ADTS 3.1.1.5.3.7)."""
    deleted = "CN=%s\\0ADEL:%s,CN=Deleted Objects,DC=corp,DC=example" % (dn.partition(",")[0][3:], guid)
    run(
        [
            "ldapmodify",
            "-x",
            "-H",
            samba.ldaps_url,
            "-D",
            samba.login,
            "-w",
            samba.password,
            "-e",
            "!1.2.840.113556.1.4.417",
            "-o",
            "TLS_REQCERT=never",
        ],
        text="dn:: %s\nchangetype: modify\ndelete: isDeleted\n-\nreplace: distinguishedName\n"
        "distinguishedName: %s\n-\n\n" % (base64.b64encode(deleted.encode()).decode(), dn),
    )
    samba.modify(modified(dn, "replace", "userAccountControl", 544))


def test_who_lies_outside_changes_while_somebody_joins_his_list(samba, company, pair):
    """Timeline:

    before  others/out                 crew [ann out]
    then    out gets a title           crew [ann out bob]
    step    incremental; out is in crew
    """
    samba.modify(
        company.new_user("out", AD_OTHERS)
        + modified(CREW, "delete", "member", BOB)
        + modified(CREW, "add", "member", OUT)
    )
    both = pair()
    samba.modify(modified(OUT, "replace", "title", "x") + modified(CREW, "add", "member", BOB))
    both.step()
    assert ("crew", "out") in both.incremental.members() and both.modes[-1] == "incremental"


def test_who_is_deleted_and_restored_is_a_member_again(samba, company, pair):
    """Timeline:

    before                             crew [ann bob]
    then    bob is deleted
    step    crew has ann
    then    bob is restored            crew [ann bob]
    step    bob is in crew
    """
    both = pair(user_extinction="delete")
    guid = samba.search("(cn=bob)", "objectGUID", base=AD_STAFF)[BOB]["objectGUID"][0]
    samba.modify(deleted(BOB))
    both.step()
    assert both.incremental.members() == [("crew", "ann")]
    restored(samba, uuid.UUID(bytes_le=guid if isinstance(guid, bytes) else guid.encode("latin-1")), BOB)
    samba.modify(modified(CREW, "add", "member", BOB))
    both.step()
    assert ("crew", "bob") in both.incremental.members()


def test_a_list_is_what_it_was_before_somebody_joined_it_by_his_primary_group(samba, company, pair):
    """Timeline:

    before  primary group of all: Domain Users        rowers [ann]
    then    new comes
    step
    then    new gets the primary group rowers, which takes it out of the list of rowers
    step    new is in rowers, and no longer in Domain Users
    """
    rowers = company.dn_of("rowers", AD_STAFF)
    samba.modify(company.new_group("rowers", AD_STAFF, ANN))
    both = pair(distinguished_name=[])
    new = company.dn_of("new", AD_STAFF)
    samba.modify(company.new_user("new", AD_STAFF))
    both.step()
    samba.modify(modified(rowers, "add", "member", new))
    samba.modify(company.with_primary_group(new, rowers))
    samba.modify(modified(DOMAIN_USERS, "delete", "member", new))
    both.step()
    assert ("rowers", "new") in both.incremental.members() and ("Domain Users", "new") not in both.incremental.members()


def test_who_is_kept_and_comes_back_is_no_member_any_more(samba, company, pair):
    """Timeline:

    before                             crew [ann bob]    who leaves is kept
    then    bob -> others/bob          crew [ann]
    step
    then    others/bob -> bob          crew [ann]
    step    crew has ann
    """
    both = pair(user_extinction="skip", outside_members="skip")
    there = company.dn_of("bob", AD_OTHERS)
    samba.modify(moved(BOB, "CN=bob", AD_OTHERS) + modified(CREW, "delete", "member", there))
    both.step()
    samba.modify(moved(there, "CN=bob", AD_STAFF))
    both.step()
    assert both.incremental.members() == [("crew", "ann")]


@pytest.fixture
def rowing_bob(samba, company):
    """bob, whose primary group is rowers, in which ann is, too: its DN."""
    rowers = company.dn_of("rowers", AD_STAFF)
    samba.modify(company.new_group("rowers", AD_STAFF, ANN) + modified(rowers, "add", "member", BOB))
    samba.modify(company.with_primary_group(BOB, rowers))
    return rowers


@pytest.mark.parametrize("then", ["full", "incremental"])
def test_who_is_kept_and_made_again_is_a_member(samba, company, pair, then):
    """Timeline:

    before                             crew [bob]    who leaves is kept
    then    bob is deleted
    step
    then    another bob comes          crew [bob]: the same bytes, and another user
    step    the new bob is in crew
    """
    samba.modify(modified(CREW, "delete", "member", ANN))
    both = pair(user_extinction="skip", distinguished_name=[])
    samba.modify(deleted(BOB))
    both.step()
    samba.modify(company.new_user("bob", AD_STAFF) + modified(CREW, "add", "member", BOB))
    both.step(without_mark=then == "full")
    (bob,) = both.full.rows("SELECT key FROM users WHERE name = 'bob' AND extinct IS NULL")
    assert bob in both.incremental.rows(
        "SELECT u.key FROM memberships m JOIN users u ON u.id = m.user_id JOIN user_groups g ON g.id = m.user_group_id"
        " WHERE g.name = 'crew'"
    )


@pytest.mark.parametrize("then", ["full", "incremental"])
def test_who_is_kept_in_his_primary_group_and_comes_back_with_another(samba, company, pair, rowing_bob, then):
    """Timeline:

    before  primary group of bob: rowers              who leaves is kept
    then    bob stops matching the filter
    step
    then    bob gets the primary group Domain Users, leaves rowers, and matches again
    step    bob is not in rowers
    """
    both = pair(user_extinction="skip", distinguished_name=[], user_filter="(!(title=robot))")
    samba.modify(modified(BOB, "replace", "title", "robot"))
    both.step()
    samba.modify(company.with_primary_group(BOB, DOMAIN_USERS))
    samba.modify(modified(rowing_bob, "delete", "member", BOB) + modified(BOB, "replace", "title", "person"))
    both.step(without_mark=then == "full")
    assert ("rowers", "bob") not in both.incremental.members()


@pytest.mark.parametrize("then", ["full", "incremental"])
def test_who_is_kept_and_belongs_to_another_synchronization_from_then_on(samba, company, pair, rowing_bob, then):
    """Timeline:

    before  primary group of bob: rowers              the first keeps who leaves, the second has others
    then    bob -> others/bob
    step
    step
    """
    both = pair(
        {"user_extinction": "skip", "distinguished_name": [], "exclude_distinguished_name": [AD_OTHERS]},
        {"name": "second", "user_group": "All/Second", "distinguished_name": [AD_OTHERS]},
    )
    samba.modify(moved(BOB, "CN=bob", AD_OTHERS))
    both.step()
    both.step(without_mark=then == "full")


def test_a_list_that_changes_just_before_its_cookie_is_taken(samba, company, pair, monkeypatch):
    """Timeline:

    before  cyd                        crew [ann bob]
    run     crew [ann], between its version and its cookie: it will not be told again
    then                               crew [ann cyd]
    run     crew has ann and cyd, in both stores
    """
    samba.modify(company.new_user("cyd", AD_STAFF))
    both = pair()
    really = lists.lists_since

    def lists_since(session, place, cookie):
        if ("crew", "bob") in both.full.members() and not happened:
            samba.modify(modified(CREW, "delete", "member", BOB))
            happened.append(True)
        return really(session, place, cookie)

    happened: list[bool] = []
    monkeypatch.setattr(lists, "lists_since", lists_since)
    both.incremental.once(**{**both.jobs[0], "read_mode": "incremental"})
    both.full.once(**{**both.jobs[0], "read_mode": "full"})
    samba.modify(modified(CREW, "add", "member", company.dn_of("cyd", AD_STAFF)))
    both.incremental.once(**{**both.jobs[0], "read_mode": "incremental"})
    both.full.once(**{**both.jobs[0], "read_mode": "full"})
    assert both.incremental.members() == both.full.members() == [("crew", "ann"), ("crew", "cyd")]


@pytest.mark.parametrize("select", ["Domain Users", "staff"])
def test_who_lies_outside_comes_by_his_primary_group(samba, company, pair, select):
    """Timeline:

    staff is selected, or Domain Users
    before  others/out, or not yet     crew [ann bob]
    then    out joins crew by its primary group, or comes and is in Domain Users by its own
    step    out is a member
    """
    if select == "staff":
        samba.modify(company.new_user("out", AD_OTHERS))
        both = pair()
        samba.modify(modified(CREW, "add", "member", OUT))
        samba.modify(company.with_primary_group(OUT, CREW))
    else:
        both = pair(distinguished_name=[DOMAIN_USERS])
        samba.modify(company.new_user("out", AD_OTHERS))
    both.step()
    assert "out" in {user for _group, user in both.incremental.members()}


def test_who_belongs_to_another_synchronization_stops_matching_and_matches_again(samba, company, pair):
    """Timeline:

    before                             crew [ann bob]    two synchronizations, the second with a filter
    then    bob stops matching the filter of the second
    step
    then    bob matches again
    step    bob is in crew of both
    """
    both = pair({}, {"name": "second", "user_group": "All/Second", "user_filter": "(!(title=robot))"})
    for title in ("robot", "person"):
        samba.modify(modified(BOB, "replace", "title", title))
        both.step()
    assert both.incremental.members().count(("crew", "bob")) == 2


def test_an_attribute_that_changes_with_nothing_else_is_read_in_full(samba, pair):
    """Timeline:

    before  a field is mapped to logonCount
    then    ann's logonCount changes, and uSNChanged does not: it is not replicated
    step    everything is read
    """
    both = pair(user_attributes={"seen": "logonCount"})
    samba.modify(modified(ANN, "replace", "logonCount", 5))
    both.step()
    assert both.modes[-1] == "full" and both.reasons[-1].startswith("logoncount ")


def test_a_full_run_sees_who_is_new_in_a_list_by_his_primary_group(samba, company, pair):
    """Timeline:

    before  primary group of all: Domain Users
    then    new comes: the list of Domain Users is the same
    step    full; new is in Domain Users
    then                               rowers [bob]
    step    full
    then    bob gets the primary group rowers
    step    full; bob is in rowers
    """
    both = pair(distinguished_name=[])
    samba.modify(company.new_user("new", AD_STAFF))
    both.step(without_mark=True)
    assert ("Domain Users", "new") in both.incremental.members()
    rowers = company.dn_of("rowers", AD_STAFF)
    samba.modify(company.new_group("rowers", AD_STAFF, BOB))
    both.step(without_mark=True)
    samba.modify(company.with_primary_group(BOB, rowers))
    both.step(without_mark=True)
    assert ("rowers", "bob") in both.incremental.members() and both.modes == ["full"] * 4
