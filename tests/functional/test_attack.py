# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the newest promises meet: absence, what is held, servers that lag, two synchronizations, malformed values."""

from __future__ import annotations

import time

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _synchronize
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from support import stored, tree
from support.lab import (
    BASE,
    PEOPLE,
    ROOT,
    Lab,
    deleted,
    dn_of,
    entry,
    group,
    modified,
    moved,
    person,
    synchronize,
    unit,
)
from support.misbehaving import PASSWORD, MisbehavingDirectory
from support.process import run
from support.rights import Rights, entries, settings
from support.slapd import Slapd
from support.two_stores import Clock

DAY = 86400
ALL = "100%"
OVERLAYS = ("ppolicy", "syncprov")
LOCK = "pwdAccountLockedTime"
LOCKED = "000001010000Z"
FAR = "ou=far," + BASE
RULES = {
    LOCK: "attrs=" + LOCK,
    "sambaSID": "attrs=sambaSID",
    "ou-it": 'dn.exact="ou=it,%s"' % PEOPLE,
    "ann": 'dn.exact="%s"' % dn_of("ann"),
    "staff": 'dn.exact="%s"' % ("cn=staff," + PEOPLE),
}


@pytest.fixture
def server():
    there = ROOT + unit("people") + unit("far") + unit("it", PEOPLE) + entries(RULES)
    with Slapd(ldif=there, overlays=OVERLAYS, settings=settings(RULES)) as running:
        yield running


class Company(Lab):
    def once(self, check_mode=False, **more):
        return super().once(
            check_mode, **{"removal_limits": ALL, "allow_empty": True, "distinguished_name": [PEOPLE], **more}
        )

    def users(self):
        return self.rows("SELECT name, enabled FROM users WHERE extinct IS NULL")


@pytest.fixture
def company(server, tmp_path):
    lab = Company(server, tmp_path / "store.db")
    lab.rights = Rights(server)
    return lab


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    clock.now = time.time()
    monkeypatch.setattr(_synchronize, "time", clock)
    return clock


def test_a_lagging_server_of_the_writer_enables_nobody(server, company, tmp_path):
    """Who is locked is out: clinic saw it on a server that is ahead of the one that staff reads."""
    server.modify(person("ann") + person("bob"))
    server.stop()
    copied = run([server._program, "-Tcat", "-f", str(server._config)])
    server.start()
    with Slapd(ldif=copied, overlays=OVERLAYS, settings=settings(RULES)) as replica:
        behind = {"server": [replica.ldapi_url]}
        clinic = {"name": "clinic", "user_group": "All/Clinic"}
        company.once(**behind)
        company.once(**clinic)
        server.modify(modified(dn_of("ann"), "replace", LOCK, LOCKED))
        assert company.once(**clinic)["users"]["disabled"] == ["ann"]
        company.once(**behind)
        assert company.users() == [("ann", 0), ("bob", 1)]


def test_who_comes_back_while_his_lock_is_hidden(company):
    """His record was kept as it is. He is locked meanwhile, and nothing shows it."""
    company.modify(person("ann") + person("bob"))
    company.once(user_extinction="skip")
    company.modify(moved(dn_of("ann"), "uid=ann", FAR))
    company.once(user_extinction="skip")
    company.modify(modified(dn_of("ann", FAR), "replace", LOCK, LOCKED))
    company.rights.hide(LOCK)
    company.modify(moved(dn_of("ann", FAR), "uid=ann", PEOPLE))
    held = company.run(user_extinction="skip")["held"]["users"]
    assert [(each["name"], each["would_be"]) for each in held] == [("ann", "enabled")]
    assert company.users() == [("ann", 0), ("bob", 1)]


def test_an_approval_of_no_removal_takes_no_sid(company):
    """Its digest is the same in each run that removes nothing else."""
    sid = "S-1-5-21-1-2-3-4"
    classes = ("inetOrgPerson", "posixAccount", "sambaSamAccount")
    lines = ["uidNumber: 1", "gidNumber: 1", "homeDirectory: /", "uid: ann", "cn: ann", "sn: ann", "sambaSID: " + sid]
    company.modify(
        entry("sambaDomainName=X," + BASE, "objectClass: sambaDomain", "sambaDomainName: X", "sambaSID: S-1-5-21-1-2-3")
        + entry(dn_of("ann"), *("objectClass: " + each for each in classes), *lines)
    )
    options = {"ldap_parameters": {"preset": "openldap_samba"}}
    nothing = company.run(**options)["removals_digest"]
    company.rights.hide("sambaSID")
    result = company.run(**options, approved_removals=nothing)
    assert result["held"]["users"] and company.rows("SELECT sid FROM users") == [(sid,)]


def test_a_clock_that_stays_wrong(company, clock):
    """The directory has changed today, and says so in each run."""
    options = {"user_extinction": "delete", "user_extinction_grace_days": 30}
    company.modify(person("ann") + person("bob"))
    company.once(**options)
    company.modify(deleted(dn_of("ann")))
    company.once(**options)
    clock.now += 400 * DAY
    for _run in range(3):
        clock.now += 3600
        company.once(**options)
        assert any(warning.startswith("clock: ") for warning in company.warnings)
        assert company.rows("SELECT name FROM users WHERE name = 'ann'")
    clock.now -= 400 * DAY
    for told in (True, False):
        clock.now += 3600
        company.once(**options)
        assert any(warning.startswith("clock: ") for warning in company.warnings) == told


def test_who_can_be_seen_again_is_not_deleted(company, clock):
    """The entry was hidden, and has not changed since: no list of changes has it."""
    options = {"user_extinction": "delete", "user_extinction_grace_days": 30}
    company.modify(person("ann") + person("bob"))
    company.once(**options)
    company.rights.hide("ann")
    clock.now += 3600
    assert company.once(**options, full_every="1m")["users"]["extinct"] == ["ann"]
    company.rights.show("ann")
    for _day in range(34):
        clock.now += DAY
        assert company.once(**options, read_mode="incremental")["read"]["mode"] == "incremental"
    assert company.users() == [("ann", 1), ("bob", 1)]


def test_a_user_group_that_can_be_seen_again_is_not_deleted(company, clock):
    """The same, of a group that was kept when it could not be seen, and a policy that has changed since."""
    company.modify(person("ann") + group("staff", dn_of("ann")))
    company.once()
    company.rights.hide("staff")
    clock.now += 3600
    company.once(full_every="1m")
    assert company.rows("SELECT name FROM user_groups WHERE extinct IS NOT NULL") == [("staff",)]
    company.rights.show("staff")
    result = company.once(user_group_extinction="delete", read_mode="incremental")
    assert result["read"]["mode"] == "incremental"
    assert company.rows("SELECT name, extinct FROM user_groups WHERE name = 'staff'") == [("staff", None)]


def test_a_unit_that_is_hidden_with_people_in_it(company):
    """They say that it is there."""
    options = {
        "group_structure": "organizational_units",
        "user_extinction": "delete",
        "user_group_extinction": "delete",
    }
    company.modify(person("ann", below="ou=it," + PEOPLE) + person("bob"))
    company.once(**options)
    before = company.contents()
    company.rights.hide("ou-it")
    with pytest.raises(SynchronizationError, match="^authentication: 'ou=it,.*' cannot be read, and there are entries"):
        company.once(**options)
    assert company.contents() == before
    company.rights.show("ou-it")
    assert not company.once(**options)["changed"]
    company.modify(deleted(dn_of("ann", "ou=it," + PEOPLE)) + deleted("ou=it," + PEOPLE))
    company.once(**options)
    assert company.rows("SELECT name FROM user_groups WHERE name = 'it'") == []


@pytest.mark.parametrize("keys", [["7"], ["7", b"\xff"]], ids=["the key", "the key and no text"])
@pytest.mark.parametrize("place", ["far", "zoo"])
def test_who_copies_a_key_where_nothing_is_read(tmp_path, keys, place):
    """Bob leaves staff, and was never in admins. eve, who lies elsewhere and is in both, takes his key."""
    there = tree.OpenLDAP()
    people, elsewhere = there.unit("people"), there.unit(place)
    ann = there.user("ann", people, employeeNumber="5")
    bob = there.user("bob", people, employeeNumber="7")
    eve = there.user("eve", elsewhere, employeeNumber="8")
    staff = there.group("staff", people, ann, bob, eve)
    there.group("admins", people, ann, eve)
    store = tmp_path / "store.db"
    with MisbehavingDirectory(there) as running:
        running.logins["cn=sync"] = PASSWORD
        options = {
            "name": "staff",
            "user_group": "All/Staff",
            "server": [running.ldap_url],
            "encryption": "none",
            "use_ldap": True,
            "login": "cn=sync",
            "password": PASSWORD,
            "distinguished_name": [people],
            "outside_members": False,
            "ldap_parameters": {"user_key": "employeeNumber"},
            "removal_limits": ALL,
            "store": str(store),
        }
        synchronize(False, [], **options)
        there.set(eve, "employeeNumber", *keys)
        there.set(staff, "member", ann, eve)
        result = synchronize(False, [], **options)
    assert stored.members(store) == [("admins", "ann"), ("staff", "ann")]
    assert result["held"]["memberships"] == []


def test_a_group_with_a_malformed_type(tmp_path):
    """It reads empty, and is asked for its type to prove who is in it."""
    domain = tree.Controller()
    staff = domain.unit("Staff")
    anna = domain.user("anna", staff)
    admins = domain.group("Admins", staff, anna)
    with MisbehavingDirectory(domain) as running:
        options = {
            "name": "staff",
            "user_group": "All/Staff",
            **running.in_clear(),
            "distinguished_name": [staff],
            "removal_limits": ALL,
            "store": str(tmp_path / "store.db"),
        }
        synchronize(False, [], **options)
        domain.set(admins, "groupType", "much")
        domain.set(admins, "member")
        held = synchronize(False, [], **options)["held"]["memberships"]
    assert [each["member"] for each in held] == ["anna"]
