# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One name that leads to several servers: a server is who it says it is. One that lags removes and enables nobody."""

from __future__ import annotations

import shutil
from urllib.parse import quote

import pytest
from support import tree
from support.lab import BASE, PEOPLE, ROOT, Lab, deleted, dn_of, group, modified, moved, person, synchronize, unit
from support.misbehaving import MisbehavingDirectory
from support.process import run
from support.slapd import Slapd

ANYTHING = {
    "removal_limits": "100%",
    "allow_empty": True,
}
LATE = ["p1", "p2", "p3", "p4"]
OVERLAYS = ("ppolicy", "syncprov")
LOCK = "pwdAccountLockedTime"
OTHER = {"name": "other", "user_group": "All/Other"}


class Name:
    """A name for servers, as an address that they share is one: it leads to the one that it was given last."""

    def __init__(self, path):
        self._path = path
        self.ldapi_url = "ldapi://" + quote(str(path), safe="")

    def lead_to(self, server):
        self._path.unlink(missing_ok=True)
        self._path.symlink_to(server.directory / "ldapi")
        self.modify = server.modify


class Company(Lab):
    def once(self, check_mode=False, **more):
        return super().once(check_mode, **{**ANYTHING, "distinguished_name": [PEOPLE], **more})

    def users(self):
        return self.rows("SELECT name, enabled FROM users WHERE extinct IS NULL")


@pytest.fixture
def servers(tmp_path):
    """A server; and a replica of it that has not got what happened in the last hour."""
    there = ROOT + unit("people") + person("ann", LOCK + ": 000001010000Z") + person("bob") + person("eve")
    with Slapd(ldif=there + group("staff", dn_of("bob")), overlays=OVERLAYS) as server:
        server.modify(modified(dn_of("bob"), "replace", "title", "the first change"))
        with Slapd(ldif=copied(server), overlays=OVERLAYS) as replica:
            yield server, replica


def copied(server):
    """All entries, with their keys and with how far they are, as a replica has them."""
    server.stop()
    entries = run([server._program, "-Tcat", "-f", str(server._config)])
    server.start()
    return entries


@pytest.fixture
def company(servers, tmp_path):
    """With a run of the first server, after things happened that the other one does not have."""
    server, replica = servers
    name = Name(tmp_path / "ldap")
    name.lead_to(server)
    company = Company(name, tmp_path / "store.db")
    company.run()
    server.modify("".join(map(person, LATE)) + modified("cn=staff," + PEOPLE, "add", "member", *map(dn_of, LATE)))
    server.modify(modified(dn_of("bob"), "replace", LOCK, "000001010000Z"))
    company.run()
    name.lead_to(replica)
    return company


@pytest.mark.parametrize("read_mode", ["full", "auto"])
def test_a_replica_that_lags_behind_one_name(company, servers, read_mode):
    """R28. It removes nobody, however often it is looked at, and enables nobody who was locked since."""
    before = company.users(), company.members()
    for _again in range(3):
        result = company.run(read_mode=read_mode)
        assert [(each["name"], each["would_be"]) for each in result["held"]["users"]] == [
            ("bob", "enabled"),
            *((name, "extinct") for name in LATE),
        ]
        (why,) = {each["reason"] for each in result["held"]["users"]}
        assert why == result["held"]["everything"]
        assert why.endswith(" lags, or was restored: the last run read changes that it does not have")
        assert (company.users(), company.members()) == before and not result["changed"]
        assert result["summary"]["users"]["total"] == result["summary"]["users"]["unchanged"] == len(before[0])
    company.server.lead_to(servers[0])
    assert not company.run(read_mode=read_mode)["changed"]


@pytest.mark.parametrize("read_mode", ["full", "auto"])
def test_a_replica_that_lags_gives_nothing_back(company, servers, read_mode):
    """Who was revoked stays out.

    server     bob is revoked: he leaves staff
    replica    has not got that
    now        the replica is read
    """
    server, replica = servers
    company.server.lead_to(server)
    server.modify(modified("cn=staff," + PEOPLE, "delete", "member", dn_of("bob")))
    assert company.run()["changed_groups"][0]["members_removed"] == ["bob"]
    before = company.contents()
    company.server.lead_to(replica)
    result = company.run(read_mode=read_mode)
    assert result["held"]["everything"] and result["held"]["plan_digest"] and not result["changed"]
    assert company.contents() == before, "not even the run is noted"
    assert ["nothing is done" in warning for warning in company.warnings] == [True]
    company.server.lead_to(server)
    assert not company.run(read_mode=read_mode)["changed"]


def test_a_replica_that_lags_takes_no_note_back(servers, tmp_path):
    """Nobody sees in the store where an entry lies: names are kept by it, and members known.

    server     bob moves
    replica    has him where he was, and is read: there is nothing to do
    """
    server, replica = servers
    company = Company(server, tmp_path / "store.db")
    company.once()
    server.modify(unit("night", PEOPLE) + moved(dn_of("bob"), "uid=bob", "ou=night," + PEOPLE))
    assert not company.once()["changed"]
    noted = "SELECT dn, unit, known_as, digest FROM users ORDER BY name"
    before = company.rows(noted)
    assert before[1][0] == dn_of("bob", "ou=night," + PEOPLE)
    company.server = replica
    for read_mode in ("auto", "full"):
        assert not company.once(read_mode=read_mode)["changed"] and company.warnings == []
        assert company.rows(noted) == before


def test_a_replica_that_lags_brings_nobody_back_for_another_synchronization(servers, tmp_path):
    """Who is gone is let in again only by a server that has what `staff` read when it saw that.

    server     ann is deleted, and staff sees it
    replica    has not got that, and is read by other, in its first run or not
    """
    server, replica = servers
    name = Name(tmp_path / "ldap")
    name.lead_to(server)
    companies = []
    for extinction in ("disable", "skip", "delete"):
        for is_first in (True, False):
            company = Company(name, tmp_path / ("%s-%s.db" % (extinction, is_first)))
            company.once(user_extinction=extinction)
            if not is_first:
                company.once(**OTHER, user_filter="(!(uid=eve))")
            companies.append((company, extinction))
    server.modify(deleted(dn_of("eve")))
    for company, extinction in companies:
        company.once(user_extinction=extinction)
        name.lead_to(replica)
        for _again in range(3):
            result = company.run(**OTHER, scope_change=True)
            assert [(each["name"], each["would_be"]) for each in result["held"]["users"]] == [("eve", "enabled")]
            assert " lags, or was restored: " in result["held"]["users"][0]["reason"]
            assert company.rows("SELECT enabled FROM users WHERE name = 'eve'") == [(0,)]
        name.lead_to(server)
        assert company.run(**OTHER)["users"]["extinct"] == ["eve"]


def test_nobody_is_brought_back_though_the_history_is_gone(servers, tmp_path):
    server, replica = servers
    company = Company(server, tmp_path / "store.db")
    company.once()
    server.modify(deleted(dn_of("eve")))
    company.once()
    company.change("DELETE FROM past_records")
    company.server = replica
    assert [each["name"] for each in company.once(**OTHER)["held"]["users"]] == ["eve"]


def test_who_left_one_synchronization_for_another_is_enabled_at_once_by_a_server_that_has_it(servers, tmp_path):
    server, _replica = servers
    company = Company(server, tmp_path / "store.db")
    company.once(user_filter="(!(uid=bob))")
    company.once(user_filter="(uid=ann)", scope_change=True)
    assert ("eve", 0) in company.rows("SELECT name, enabled FROM users")
    result = company.run(**OTHER)
    assert result["held"]["users"] == [] and ("eve", 1) in company.users()
    # By that it is settled, also for servers of which nothing tells whether they have what the first run read.
    server.modify(modified(dn_of("eve"), "replace", LOCK, "000001010000Z"))
    company.once(**OTHER)
    company.change("UPDATE synchronizations SET held = replace(held, 'csn ', 'csn x') WHERE name = 'staff'")
    server.modify(modified(dn_of("eve"), "delete", LOCK))
    assert company.once(**OTHER)["users"]["enabled"] == ["eve"]


def test_an_approved_plan_that_does_nothing_makes_no_replica_the_measure(servers, tmp_path):
    """It lags still.

    server     something changes that no run reads
    replica    has not got it, and is read with an approved plan, which does nothing
    now        it says something else
    """
    server, replica = servers
    name = Name(tmp_path / "ldap")
    name.lead_to(server)
    company = Company(name, tmp_path / "store.db")
    company.run()
    server.modify(modified(dn_of("ann"), "replace", "employeeType", "of no matter"))
    company.run()
    name.lead_to(replica)
    digest = company.once(True)["plan_digest"]
    assert not company.once(approved_plan=digest)["held"]["everything"]
    company.change("UPDATE users SET name = 'robert', name_key = 'robert', digest = x'' WHERE name = 'bob'")
    assert company.once(True)["held"]["everything"], "it would be renamed by a server that lags"


def test_a_replica_that_is_being_made_is_not_believed_at_once(servers, tmp_path):
    """It has a part of the entries, and no contextCSN until it has all."""
    server, _replica = servers
    entries = [entry for entry in copied(server).split("\n\n") if "uid=eve," not in entry]
    part = "\n".join(line for line in "\n\n".join(entries).split("\n") if not line.startswith("contextCSN"))
    name = Name(tmp_path / "ldap")
    name.lead_to(server)
    company = Company(name, tmp_path / "store.db")
    company.run()
    with Slapd(ldif=part, overlays=("ppolicy",)) as half:
        name.lead_to(half)
        result = company.once()
        assert [(each["name"], each["would_be"]) for each in result["held"]["users"]] == [("eve", "extinct")]
        assert result["held"]["users"][0]["reason"].endswith(" does not say any more how far it is, and may lag")
    name.lead_to(server)
    assert not company.run()["changed"]


def test_somebody_decides_what_a_restored_server_says(company):
    digest = company.once(True)["held"]["plan_digest"]
    company.once(approved_plan=digest)
    assert company.users() == [("ann", 0), ("bob", 1), ("eve", 1)]
    assert not company.run()["held"]["users"], "what it says is the measure now"


def test_another_plan_than_the_approved_one_is_told_by_what_the_server_says(company):
    """And not by the plan that does nothing, which nobody can mean."""
    another = "users+9-0~0,user_groups+0-0~0,memberships+0-0:" + 64 * "0"
    message, result = company.refused(approved_plan=another)
    assert "users created: 0 instead of 9, users removed: 4 instead of 0, users changed: 1 instead of 0" in message
    assert message.endswith("approve its plan_digest, or held.plan_digest if nothing is to be held")
    assert result["held"]["everything"]


def test_an_approved_plan_makes_a_server_the_measure_though_something_is_taken_back(servers, tmp_path):
    """No digest covers that, so it is held then; but not for ever, and the next change waits for nobody.

    staff      writes bob, and does not read his lock
    other      has seen the lock
    now        the server was restored: it has no lock, and there is something else to do
    """
    server, replica = servers
    company = Company(server, tmp_path / "store.db")
    company.once(ldap_parameters={"preset": "389ds", "user_key": "entryUUID", "group_key": "entryUUID"})
    server.modify(modified(dn_of("bob"), "replace", LOCK, "000001010000Z"))
    company.once(**OTHER)
    assert ("bob", 0) in company.users()
    company.server = replica
    there = {**OTHER, "group_attributes": {"description": "cn"}}
    digest = company.once(True, **there)["held"]["plan_digest"]
    held = company.once(approved_plan=digest, **there)["held"]
    assert [each["name"] for each in held["users"]] == ["bob"] and not held["everything"]
    said = (
        "SELECT count(*) FROM claims c JOIN users u ON u.id = c.user_id WHERE c.disabled IS NOT NULL AND name = 'bob'"
    )
    assert company.rows(said) == [(1,)]
    assert company.once(**there)["held"]["users"] == []
    assert company.rows(said) == [(0,)]


def test_a_server_that_has_all_changes_is_believed_under_any_name(company, servers):
    """No second run is waited for."""
    server, _replica = servers
    company.server.lead_to(server)
    server.modify("".join(deleted(dn_of(name)) for name in LATE))
    there = {"server": [server.ldapi_url]}
    result = company.run(**there)
    assert result["users"]["extinct"] == LATE and result["held"]["users"] == []


def test_a_server_that_was_restored(tmp_path):
    """What came after its backup is kept until it has other changes: then it is what the directory says."""
    with Slapd(ldif=ROOT + unit("people") + person("ann"), overlays=OVERLAYS) as server:
        company = Company(server, tmp_path / "store.db")
        company.run()
        server.stop()
        run(["cp", "-r", "--sparse=always", str(server.directory / "db"), str(tmp_path / "db")])
        server.start()
        server.modify(person("eve"))
        company.run()
        server.stop()
        shutil.rmtree(server.directory / "db")
        (tmp_path / "db").rename(server.directory / "db")
        server.start()
        for _again in range(2):
            assert [each["name"] for each in company.run()["held"]["users"]] == ["eve"]
        server.modify(modified(dn_of("ann"), "replace", "title", "the first change after"))
        assert company.run()["users"]["extinct"] == ["eve"]


def test_389_directory_server_says_who_it_is(dirsrv, tmp_path):
    """It says nothing of how far it is. Two of its addresses are no two servers."""
    below = "ou=standing,%s" % BASE
    dirsrv.modify(unit("standing") + person("ann", below=below) + person("bob", below=below))
    company = Company(dirsrv, tmp_path / "store.db")
    company.run(distinguished_name=[below])
    dirsrv.modify(deleted(dn_of("bob", below)))
    there = {
        "server": ["localhost:%d" % dirsrv.tls_port],
        "encryption": "ldaps",
        "ca_path": str(dirsrv.ca.cert),
        "authentication": "simple",
        "login": dirsrv.admin_dn,
        "password": dirsrv.password,
    }
    result = company.run(distinguished_name=[below], **there)
    assert result["users"]["extinct"] == ["bob"] and result["held"]["users"] == []


# --- Active Directory ------------------------------------------------------------------------------------------------

STAFF = "OU=Staff," + tree.DOMAIN


class Controlled:
    """A controller that says what it is told to say, and runs of it."""

    def __init__(self, server, domain, store):
        self.server, self.domain, self.store = server, domain, store

    def once(self):
        return synchronize(
            False,
            [],
            name="staff",
            user_group="All/Staff",
            **self.server.in_clear(),
            distinguished_name=STAFF,
            store=str(self.store),
            **ANYTHING,
        )

    def held(self):
        return [each["name"] for each in self.once()["held"]["users"]]


@pytest.fixture
def controlled(tmp_path):
    domain = tree.Controller()
    domain.unit("Staff")
    for name in ("anna", "bert"):
        domain.user(name, STAFF)
    with MisbehavingDirectory(domain) as server:
        lab = Controlled(server, domain, tmp_path / "store.db")
        lab.once()
        domain.remove("CN=bert," + STAFF)
        yield lab


def test_the_same_controller_is_believed(controlled):
    assert controlled.once()["users"]["extinct"] == ["bert"]


def test_another_controller_by_the_same_name_is_believed_the_second_time(controlled):
    controlled.domain.root_dse["dsservicename"] = [b"CN=NTDS Settings,CN=DC2,CN=Configuration," + tree.DOMAIN.encode()]
    assert controlled.held() == ["bert"]
    assert controlled.once()["users"]["extinct"] == ["bert"]


def test_a_controller_that_was_restored_is_believed_the_second_time(controlled):
    controlled.domain.be_restored(90000)
    assert controlled.held() == ["bert"]
    assert controlled.once()["users"]["extinct"] == ["bert"]


def test_a_controller_whose_numbers_went_back_is_not_believed(controlled):
    """A copy of a virtual machine that was put back, and does not know it."""
    controlled.domain.count_from(500)
    assert controlled.held() == controlled.held() == ["bert"]
    controlled.domain.count_from(90000)
    assert controlled.once()["users"]["extinct"] == ["bert"]


def test_a_replica_that_lags_in_a_glued_database(tmp_path):
    """Each database has a contextCSN of its own.

    server     ann, who lies in the lower database, is deleted there
    replica    has not got that
    """
    below = "ou=sub," + BASE
    there = ROOT + unit("people") + person("bob") + unit("sub") + person("ann", below=below)
    glued = {"overlays": ("syncprov",), "subordinate": (below, ("syncprov",))}
    with Slapd(ldif=there, **glued) as server:
        server.modify(modified(dn_of("bob"), "replace", "title", "x") + modified(below, "replace", "description", "x"))
        with Slapd(ldif=copied(server), **glued) as replica:
            company = Company(server, tmp_path / "store.db")
            company.once(distinguished_name=[BASE])
            server.modify(deleted(dn_of("ann", below)))
            assert company.once(distinguished_name=[BASE])["users"]["extinct"] == ["ann"]
            name = Name(tmp_path / "ldap")
            name.lead_to(server)
            company.server = name
            company.once(distinguished_name=[BASE])
            name.lead_to(replica)
            result = company.once(distinguished_name=[BASE])
            assert result["users"]["enabled"] == [] and result["held"]["everything"]


def test_a_replica_that_lags_enables_nobody_whose_writer_let_go_of_him(servers, tmp_path):
    """As long as `staff` claims eve, other enables her only by a server that has what staff read.

    server     eve is locked, and staff sees it; then she leaves the scope of staff
    replica    has not got that, and is read by other, which writes her now
    """
    server, replica = servers
    company = Company(server, tmp_path / "store.db")
    staff = {"user_filter": "(!(title=gone))"}
    company.once(**staff)
    company.once(**OTHER)
    server.modify(modified(dn_of("eve"), "replace", LOCK, "000001010000Z"))
    company.once(**staff)
    server.modify(modified(dn_of("eve"), "replace", "title", "gone"))
    company.once(**staff)
    assert ("eve", 0) in company.users()
    company.server = replica
    company.once(**OTHER)
    assert ("eve", 0) in company.users()
