# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading only what changed comes to what reading everything comes to.

Random histories of real directories. After each step one store takes an incremental run, or at times a full one that
leaves out what it knows, and another one a full run that goes through everything; what the two hold, and what the two
runs say, must be equal each time.
"""

from __future__ import annotations

import re

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory.changes import sweep
from support.changing import (
    AD_OTHERS,
    AD_STAFF,
    COMPANY,
    OTHERS,
    STAFF,
    ActiveDirectory,
    Company,
    DirectoryServer389,
    ForLab,
    OpenLDAP,
    expirable,
    remove_company,
    small_company,
)
from support.dirsrv import DirectoryServer
from support.lab import ROOT, deleted, modified, person
from support.slapd import Slapd
from support.two_stores import Pair


def go_through(company, pair, steps):
    """Let things happen, and compare after each few; every fourth time without the mark of the run before."""
    pair.step()
    without_mark = company.dice.randrange(4)
    for number in range(steps):
        history = [company.happen() for _one in range(company.any((0, 1, 1, 1, 2, 5)))]
        try:
            pair.step(number % 4 == without_mark)
        except (Exception, pytest.fail.Exception) as error:
            pytest.fail(
                "step %d, mode %s (%s): %s\n\n%s"
                % (number, pair.modes[-1:], pair.reasons[-1:], error, "\n".join(history))
            )
    # Not only full runs were compared. These reasons come of the history; others do, too, but seldom.
    expected = "first run|left no mark|days ago|sees of nobody when"
    others = [reason for reason in pair.reasons if not re.search(expected, reason)]
    assert not others or pair.modes.count("incremental") > len(others) // 3, pair.reasons


def scopes(staff, others):
    """What may be selected, and what may be the policy: name -> options of each synchronization."""
    return {
        "the whole tree": [{}],
        "one container": [{"distinguished_name": [staff]}],
        "one container, nobody else": [{"distinguished_name": [staff], "outside_members": "skip"}],
        "all but one container": [{"exclude_distinguished_name": [others]}],
        "keeping": [{"user_extinction": "skip", "user_group_extinction": "skip", "distinguished_name": [staff]}],
        "deleting": [{"user_extinction": "delete", "user_group_extinction": "delete", "distinguished_name": [staff]}],
        "grace": [{"user_extinction": "delete", "user_extinction_grace_days": 2, "distinguished_name": [staff]}],
        "a filter": [{"user_filter": "(!(employeeType=robot))", "ignore_disabled_users": True}],
        "the same twice": [
            {"user_extinction": "delete"},
            {"name": "second", "user_group": "All/Second", "user_extinction": "delete"},
        ],
        "sharing": [{"distinguished_name": [staff]}, {"name": "second", "user_group": "All/Second"}],
        "two synchronizations": [
            {"distinguished_name": [staff]},
            {"name": "second", "user_group": "All/Second", "distinguished_name": [others]},
        ],
    }


@pytest.fixture
def steps(request):
    return request.config.getoption("--changes") or 5


def pytest_generate_tests(metafunc):
    """Each scope in each way; without --changes, each scope in one of them."""
    for name, ways, scopes_of in (
        ("overlays", OVERLAYS, OPENLDAP),
        ("plugins", PLUGINS, OPENLDAP),
        ("way", WAYS, ACTIVE_DIRECTORY),
    ):
        if {name, "scope"} <= set(metafunc.fixturenames):
            every = metafunc.config.getoption("--changes")
            chosen = [
                (way, scope)
                for row, way in enumerate(ways)
                for column, scope in enumerate(scopes_of)
                if every or (row + column) % len(ways) == 0
            ]
            metafunc.parametrize(
                (name, "scope"), [(ways[way], scope) for way, scope in chosen], ids=["%s-%s" % both for both in chosen]
            )


# --- OpenLDAP --------------------------------------------------------------------------------------------------------

OPENLDAP = scopes(STAFF, OTHERS)
OVERLAYS = {"sweep": (), "syncrepl": ("syncprov",), "sessionlog": ("syncprov\nsyncprov-sessionlog 1000",)}


@pytest.mark.a_third
def test_random_changes_of_openldap(tmp_path, clock, overlays, scope, steps, chance):
    with Slapd(ldif=ROOT + small_company(expirable), overlays=("ppolicy", *overlays)) as server:
        go_through(OpenLDAP(server, chance, clock), Pair(server, tmp_path, *OPENLDAP[scope]), steps)


@pytest.fixture
def little_is_fresh(monkeypatch):
    """All that a test does is done within an hour, and would be looked at in every read; so, it is two seconds here."""
    monkeypatch.setattr(sweep, "FRESH", 2)


@pytest.mark.parametrize("scope", ["the whole tree", "one container", "a filter"])
def test_random_changes_of_a_server_that_tells_only_times(
    tmp_path, clock, monkeypatch, little_is_fresh, scope, steps, chance
):
    """As others do that are read as OpenLDAP, which says of itself what it is."""
    monkeypatch.setattr(
        sweep,
        "version_attributes",
        lambda _session, place: (sweep.TIME, *sweep.BESIDE_TIME, *place.preset.state),
    )
    with Slapd(ldif=ROOT + small_company(expirable), overlays=("ppolicy",)) as server:
        go_through(OpenLDAP(server, chance, clock), Pair(server, tmp_path, *OPENLDAP[scope]), steps)


# --- 389 Directory Server --------------------------------------------------------------------------------------------


# With its plugin MemberOf it crashes much more often.
PLUGINS = {"plain": (), "referint": ("referential integrity postoperation",)}


@pytest.mark.a_third
def test_random_changes_of_389_directory_server(tmp_path, clock, little_is_fresh, plugins, scope, steps, chance):
    with DirectoryServer(ldif=small_company(person), plugins=plugins) as server:
        company = DirectoryServer389(server, chance, clock)
        go_through(company, Pair(server, tmp_path, *OPENLDAP[scope]), steps)


# --- Active Directory ------------------------------------------------------------------------------------------------

ACTIVE_DIRECTORY = scopes(AD_STAFF, AD_OTHERS)
WAYS = {"usn": "usn", "sweep": "sweep"}


@pytest.mark.a_third
def test_random_changes_of_active_directory(tmp_path, clock, samba, ordinary_account, way, scope, steps, chance):
    account = ForLab(samba, *((samba.login, samba.password) if way == "usn" else ordinary_account))
    remove_company(samba)
    for dn in (COMPANY, AD_STAFF, AD_OTHERS, "OU=ward," + AD_STAFF):
        samba.modify("dn: %s\nobjectClass: organizationalUnit\n\n" % dn)
    company = ActiveDirectory(samba, chance, clock)
    for name in Company.NAMES[:4]:
        samba.modify(company.new_user(name, AD_STAFF))
    jobs = [{**account.options, **job} for job in ACTIVE_DIRECTORY[scope]]
    go_through(company, Pair(account, tmp_path, *jobs), steps)


@pytest.mark.parametrize("way", ["usn", "sweep"])
def test_a_long_list_that_changed_is_not_read(tmp_path, samba, ordinary_account, chance, way):
    """Active Directory tells what came to a list and what left it: only that is asked for, and confirmed."""
    account = ForLab(samba, *((samba.login, samba.password) if way == "usn" else ordinary_account))
    remove_company(samba)
    company = ActiveDirectory(samba, chance, None)
    samba.modify("".join("dn: %s\nobjectClass: organizationalUnit\n\n" % dn for dn in (COMPANY, AD_STAFF, AD_OTHERS)))
    people = [company.dn_of("u%02d" % number, AD_STAFF) for number in range(40)]
    group = company.dn_of("all", AD_STAFF)
    samba.modify(
        "".join(company.new_user("u%02d" % number, AD_STAFF) for number in range(40))
        + company.new_group("all", AD_STAFF, people[0])
    )
    samba.modify(modified(group, "add", "member", *people[1:30]))
    samba.modify(deleted(people[39]))  # one who shows whether it sees the deleted
    pair = Pair(account, tmp_path, {**account.options, "distinguished_name": [AD_STAFF]})
    pair.step()

    for step, (how, which) in enumerate(
        (("add", people[30:33]), ("delete", people[:2]), ("add", people[:1]), ("delete", people[5:6]))
    ):
        samba.modify(modified(group, how, "member", *which))
        if step == 2:  # and something else changes with it
            samba.modify(modified(group, "replace", "description", "x"))
            samba.modify(deleted(people[20]))
        pair.step()
        assert pair.modes[-1] == "incremental", pair.reasons
        assert pair.incremental.rows("SELECT digest FROM user_groups WHERE name = 'all'") == [(bytes(32),)]
    nested = company.dn_of("nested", AD_OTHERS)
    samba.modify(company.new_group("nested", AD_OTHERS, people[7]) + modified(group, "add", "member", nested))
    pair.step()
    full = pair.incremental.once(read_mode="full", **pair.jobs[0])
    assert not full["changed"]
    assert pair.incremental.rows("SELECT digest FROM user_groups WHERE name = 'all'") != [(bytes(32),)]
