# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""389 Directory Server, read by an ordinary account over TLS."""

from __future__ import annotations

import re
from typing import NamedTuple

import ldap3
import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory import requests, wire
from ansible_collections.usersync.directory.plugins.module_utils._directory.changes import sweep
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from support.dirsrv import DirectoryServer
from support.lab import BASE, Lab, dn_of, group, modified, person, posix, renamed, unit

READER, PASSWORD = dn_of("reader", "ou=accounts," + BASE), "Quill-5-harbour-Zt38"
LIMIT = 2000  # nsslapd-sizelimit, unless it was changed
CROWD = {"distinguished_name": ["ou=crowd," + BASE], "page_size": 500}


def rule(name, target, account=READER):
    """An aci that keeps an account from something."""
    return '(targetattr="%s")(version 3.0; acl "%s"; deny (read, search, compare) userdn="ldap:///%s";)' % (
        target,
        name,
        account,
    )


def role_that_disables(below):
    """What disables who has the role `leavers`, once switched on: as the server's tools do it for many at once."""
    role = "dn: cn=%s,%s\nobjectClass: nsRoleDefinition\nobjectClass: %s\nobjectClass: %s\n"
    return (
        role % ("leavers", below, "nsSimpleRoleDefinition", "nsManagedRoleDefinition")
        + "\n"
        + role % ("disabled", below, "nsComplexRoleDefinition", "nsNestedRoleDefinition")
        + "nsRoleDN: cn=leavers,%s\n\n" % below
        + "dn: cn=templates,%s\nobjectClass: nsContainer\n\n" % below
        + 'dn: cn="cn=disabled,%s",cn=templates,%s\nobjectClass: extensibleObject\nobjectClass: cosTemplate\n'
        "cosPriority: 1\nnsAccountLock: true\n\n" % (below, below)
    )


def switched_on(below):
    return (
        "dn: cn=lock,%s\nobjectClass: cosSuperDefinition\nobjectClass: cosClassicDefinition\n"
        "cosTemplateDn: cn=templates,%s\ncosSpecifier: nsRole\ncosAttribute: nsAccountLock operational\n\n"
        % (below, below)
    )


@pytest.fixture(scope="module")
def server():
    accounts = unit("accounts") + person("reader", "userPassword: " + PASSWORD, below="ou=accounts," + BASE)
    crowd = unit("crowd") + "".join(person("c%04d" % number, below="ou=crowd," + BASE) for number in range(LIMIT + 1))
    with DirectoryServer(ldif=accounts + crowd) as server:
        yield server


class Place(NamedTuple):
    """A part of the directory that is a test's own, and synchronizations of it."""

    base: str
    lab: Lab
    options: dict

    def run(self, **more):
        return self.lab.run(**{**self.options, **more})

    def once(self, check_mode=False, **more):
        return self.lab.once(check_mode, **{**self.options, **more})

    def fails(self, **more):
        """A run that fails, dry and real, and leaves the store as it was; what it says."""
        before, said = self.lab.contents(), set()
        for check_mode in (True, False):
            with pytest.raises(SynchronizationError) as failure:
                self.once(check_mode, **more)
            said.add(str(failure.value))
        assert self.lab.contents() == before
        return said.pop()

    def users(self):
        return self.lab.rows("SELECT name, enabled, key FROM users WHERE extinct IS NULL")


@pytest.fixture
def place(server, tmp_path, request):
    name = re.sub("[^a-z0-9]", "-", request.node.name.lower())
    base = "ou=%s,%s" % (name, BASE)
    server.modify(unit(name) + unit("people", base) + unit("former", base))
    options = {
        "server": ["localhost:%d" % server.tls_port],
        "encryption": "ldaps",
        "ca_path": str(server.ca.cert),
        "authentication": "simple",
        "login": READER,
        "password": PASSWORD,
        "distinguished_name": [base],
    }
    return Place(base, Lab(server, tmp_path / "store.db"), options)


def test_users_and_groups_of_both_kinds_are_read(server, place):
    people = "ou=people," + place.base
    ann, bob, cyd = (dn_of(name, people) for name in ("ann", "bob", "cyd"))
    server.modify(
        person("ann", "mail: ann@example.org", below=people)
        + person("bob", "nsAccountLock: true", below=people)
        + person("cyd", below=people)
        + group("nurses", ann, bob, below=people)
        + group("empty", below=people)
        + group("ward", cyd, "cn=nurses,%s" % people, kind="groupOfUniqueNames", attribute="uniqueMember", below=people)
    )
    place.run()
    keys = {dn: entry["nsUniqueId"][0] for dn, entry in server.search("(uid=*)", "nsUniqueId", base=people).items()}
    assert place.users() == [("ann", 1, keys[ann]), ("bob", 0, keys[bob]), ("cyd", 1, keys[cyd])]
    assert place.lab.members() == [("nurses", "ann"), ("nurses", "bob"), ("ward", "cyd")]
    assert place.lab.nestings() == [("ward", "nurses")]


def test_a_renamed_and_a_moved_user_is_the_same_one(server, place):
    people, former = "ou=people," + place.base, "ou=former," + place.base
    ann, bob = dn_of("ann", people), dn_of("bob", people)
    server.modify(person("ann", below=people) + person("bob", below=people) + group("nurses", ann, bob, below=people))
    place.run(distinguished_name=[people])
    keys = {name: key for name, _enabled, key in place.users()}
    server.modify(
        renamed(ann, "uid=anna") + "dn: %s\nchangetype: modrdn\nnewrdn: uid=bob\ndeleteoldrdn: 1\n"
        "newsuperior: %s\n\n" % (bob, former)
    )
    nurses = "cn=nurses," + people  # the server does not follow, unless its plugin for that is on
    server.modify(modified(nurses, "replace", "member", dn_of("anna", people), dn_of("bob", former)))
    result = place.run(distinguished_name=[people])
    assert place.users() == [("anna", 1, keys["ann"]), ("bob", 1, keys["bob"])]
    assert place.lab.members() == [("nurses", "anna"), ("nurses", "bob")]
    assert result["summary"]["users"]["extinct"] == 0


def test_who_is_deleted_is_gone_and_the_next_of_that_name_is_another(server, place):
    people = "ou=people," + place.base
    server.modify(
        person("ann", below=people)
        + person("bob", below=people)
        + group("nurses", dn_of("ann", people), dn_of("bob", people), below=people)
    )
    place.run()
    before = place.users()
    server.modify("dn: %s\nchangetype: delete\n\n" % dn_of("ann", people))
    server.modify(modified("cn=nurses," + people, "delete", "member", dn_of("ann", people)))
    place.run()
    assert place.users() == before[1:] and place.lab.members() == [("nurses", "bob")]
    server.modify(person("ann", below=people))
    place.run()
    assert len(place.users()) == 2 and place.users() != before


def test_disabled_by_a_role(server, place):
    """The server adds nsAccountLock to who has it."""
    people, base = "ou=people," + place.base, place.base
    server.modify(
        role_that_disables(base)
        + person("ann", below=people)
        + person("bob", "nsRoleDN: cn=leavers,%s" % base, below=people)
    )
    place.run()
    assert [user[:2] for user in place.users()] == [("ann", 1), ("bob", 1)]
    server.modify(switched_on(base))
    place.run()
    assert [user[:2] for user in place.users()] == [("ann", 1), ("bob", 0)]


@pytest.fixture
def limited(server):
    """A function that gives the account limits of its own, until the test ends: limited(nsPagedSizeLimit=100)."""
    given = {}

    def limit(**limits):
        given.update(limits)
        for attribute, value in limits.items():
            server.modify(modified(READER, "replace", attribute, value))

    yield limit
    for attribute in given:
        server.modify(modified(READER, "replace", attribute))


def test_an_account_reads_more_than_its_size_limit(server, place):
    """nsslapd-sizelimit counts for each page."""
    assert place.once(**CROWD)["summary"]["users"]["created"] == LIMIT + 1


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"nsPagedSizeLimit": 100}, ["login: ", "sizeLimitExceeded", "nsPagedSizeLimit", "page_size"]),
        ({"nsPagedLookThroughLimit": LIMIT}, ["page_size: ", "adminLimitExceeded", "nsPagedLookThroughLimit"]),
    ],
)
def test_a_read_that_ends_at_a_limit_is_none(server, place, limited, limits, said):
    place.once(**CROWD)
    limited(**limits)
    message = place.fails(**CROWD)
    assert not [part for part in said if part not in message], message
    assert len(place.users()) == LIMIT + 1


def test_members_below_a_container_that_is_gone(server, place):
    """The server says of a paged search there that it succeeded."""
    people, former = "ou=people," + place.base, "ou=former," + place.base
    ann, bob = dn_of("ann", people), dn_of("bob", former)
    server.modify(person("ann", below=people) + person("bob", below=former) + group("nurses", ann, bob, below=people))
    place.run(distinguished_name=[people])
    assert place.lab.members() == [("nurses", "ann"), ("nurses", "bob")]
    server.modify("dn: %s\nchangetype: delete\n\ndn: %s\nchangetype: delete\n\n" % (bob, former))
    result = place.run(distinguished_name=[people], removal_limits={"users": "100%", "memberships": "100%"})
    assert place.lab.members() == [("nurses", "ann")]
    assert len(result["users"]["extinct"]) == 1
    assert "does not exist" in place.fails(distinguished_name=[people, former])


@pytest.mark.parametrize(
    ("attribute", "said"),
    [
        ("nsUniqueId", "has no single nsUniqueId that the account can read"),
        ("*", "does not exist in the directory, or the account cannot read it"),
    ],
)
def test_what_the_account_may_not_read_ends_no_membership(server, place, attribute, said):
    people = "ou=people," + place.base
    server.modify(
        person("ann", below=people) + group("nurses", dn_of("ann", people), below=people) + group("empty", below=people)
    )
    place.run()
    server.modify(modified(place.base, "add", "aci", rule("hidden", attribute)))
    anything_goes = {"allow_empty": True, "removal_limits": {"users": "100%", "memberships": "100%"}}
    assert re.search(said, place.fails(**anything_goes))


def deny(server, place, target, rights="read, search, compare"):
    """Keep the account from an attribute; what gives it back."""
    written = rule("hidden", target).replace("read, search, compare", rights)
    server.modify(modified(place.base, "add", "aci", written))
    return lambda: server.modify(modified(place.base, "delete", "aci", written))


ANYTHING = {"allow_empty": True, "removal_limits": dict.fromkeys(("users", "memberships", "states"), "100%")}
MODES = [{"read_mode": "full"}, {"read_mode": "incremental"}]


@pytest.mark.parametrize("mode", MODES, ids=["full", "incremental"])
@pytest.mark.parametrize("rights", ["read, search, compare", "read"])
def test_members_that_are_hidden_stay(server, place, rights, mode):
    """Also who may be found by a filter, and not seen."""
    people = "ou=people," + place.base
    ann, bob, nurses = dn_of("ann", people), dn_of("bob", people), "cn=nurses," + people
    server.modify(person("ann", below=people) + person("bob", below=people))
    server.modify(group("nurses", ann, bob, below=people) + group("empty", below=people))
    place.run()
    allow = deny(server, place, "member", rights)
    server.modify(modified(nurses, "replace", "description", "looked at"))
    for _again in range(2):
        held = place.run(**mode, **ANYTHING)["held"]["memberships"]
        assert [each["member"] for each in held] == ["ann", "bob"]
        assert place.lab.members() == [("nurses", "ann"), ("nurses", "bob")]
    allow()
    assert not place.run(**mode, **ANYTHING)["held"]["memberships"]
    server.modify(modified(nurses, "delete", "member", ann))
    place.run(**mode, **ANYTHING)
    assert place.lab.members() == [("nurses", "bob")]
    server.modify(modified(nurses, "delete", "member"))
    result = place.run(**mode, **ANYTHING)
    assert place.lab.members() == [] and result["read"]["mode"] == mode["read_mode"], "the server proves it"


def test_hidden_members_of_a_group_that_was_empty(server, place):
    """Its entry comes as it is stored, byte for byte. Nobody is removed by that, and who is in it comes in later."""
    people = "ou=people," + place.base
    server.modify(person("ann", below=people) + group("nurses", below=people))
    place.run(read_mode="full")
    allow = deny(server, place, "member")
    server.modify(modified("cn=nurses," + people, "add", "member", dn_of("ann", people)))
    place.run(read_mode="full")
    assert place.lab.members() == []
    allow()
    place.run(read_mode="full")
    assert place.lab.members() == [("nurses", "ann")]


@pytest.mark.parametrize("mode", MODES, ids=["full", "incremental"])
def test_a_lock_that_is_hidden_enables_nobody(server, place, mode):
    people = "ou=people," + place.base
    ann = dn_of("ann", people)
    server.modify(person("ann", "nsAccountLock: true", below=people) + person("bob", below=people))
    place.run()
    allow = deny(server, place, "nsAccountLock")
    server.modify(modified(ann, "replace", "description", "looked at") + person("cyd", below=people))
    for _again in range(2):
        held = place.run(**mode, **ANYTHING)["held"]["users"]
        assert [(each["name"], each["reason"]) for each in held] == [
            ("ann", "its nsAccountLock cannot be read"),
            ("cyd", "its nsAccountLock cannot be read"),
        ]
        assert [user[:2] for user in place.users()] == [("ann", 0), ("bob", 1), ("cyd", 0)]
    allow()
    assert place.run(**mode, **ANYTHING)["users"]["enabled"] == ["cyd"]
    server.modify(modified(ann, "delete", "nsAccountLock"))
    assert place.run(**mode, **ANYTHING)["users"]["enabled"] == ["ann"]


def test_an_attribute_of_a_filter_that_is_hidden(server, place):
    """The server judges access within "not or" wrongly (its issue 6307): what is asked has none."""
    people = "ou=people," + place.base
    options = {"user_filter": "(|(employeeType=staff)(employeeType=guest))", **ANYTHING}
    server.modify(person("ann", "employeeType: staff", below=people))
    place.run(**options)
    allow = deny(server, place, "employeeType")
    held = place.run(**options)["held"]["users"]
    assert [each["name"] for each in held] == ["ann"] and len(place.users()) == 1
    allow()
    server.modify(modified(dn_of("ann", people), "delete", "employeeType"))
    assert place.run(**options)["users"]["extinct"] == ["ann"]


def test_the_changelog_is_no_place_for_people(tmp_path):
    """It is a database, too, and the default one, where it was there first."""
    with DirectoryServer(ldif=person("ann", below=BASE), plugins=("Retro Changelog Plugin",)) as server:
        assert server.search("(objectClass=*)", "defaultNamingContext", base="", scope="base")[""] == {
            "defaultNamingContext": ["cn=changelog"]
        }
        lab = Lab(server, tmp_path / "store.db")
        lab.run()
        assert lab.rows("SELECT name FROM users") == [("ann",)]


# --- only what changed


@pytest.fixture
def nothing_is_fresh(monkeypatch):
    """So that what the test does counts as old, and is looked at only if it changes."""
    monkeypatch.setattr(sweep, "FRESH", -10)


def test_disabled_by_a_role_and_only_what_changed_is_read(server, place, nothing_is_fresh):
    """Nobody's entry changes, and yet somebody is disabled."""
    people, base = "ou=people," + place.base, place.base
    server.modify(
        role_that_disables(base)
        + person("ann", below=people)
        + person("bob", "nsRoleDN: cn=leavers,%s" % base, below=people)
    )
    place.run()
    before = server.search("(uid=*)", "modifyTimestamp", base=people)
    server.modify(switched_on(base))
    assert server.search("(uid=*)", "modifyTimestamp", base=people) == before
    result = place.run(read_mode="incremental")
    assert result["read"]["mode"] == "incremental" and place.lab.warnings == []
    assert [user[:2] for user in place.users()] == [("ann", 1), ("bob", 0)]


def test_a_change_that_leaves_the_time_as_it_is(tmp_path, nothing_is_fresh):
    """As one does that another server took, and that comes late: the plugin USN tells."""
    with DirectoryServer(ldif=unit("people") + person("ann"), plugins=("USN",)) as server:
        lab = Lab(server, tmp_path / "store.db")
        lab.run()
        before = server.search("(uid=ann)", "modifyTimestamp")
        server.modify(modified("cn=config", "replace", "nsslapd-lastmod", "off"))
        server.modify(modified(dn_of("ann"), "replace", "title", "late"))
        assert server.search("(uid=ann)", "modifyTimestamp") == before
        result = lab.run(read_mode="incremental")
    assert result["read"]["mode"] == "incremental"
    assert result["users"]["updated"] == ["ann"]


def test_an_account_that_cannot_see_when_anybody_changed_reads_everything(server, place):
    people = "ou=people," + place.base
    server.modify(person("ann", below=people) + modified(place.base, "add", "aci", rule("hidden", "modifyTimestamp")))
    place.run()
    server.modify(person("bob", below=people))
    result = place.run()
    assert (result["read"]["mode"], result["read"]["reason"]) == (
        "full",
        "the account sees of nobody when it was changed (modifyTimestamp)",
    )
    assert [user[0] for user in place.users()] == ["ann", "bob"]


FREEIPA = """\
attributeTypes: ( 2.16.840.1.113730.3.8.3.1 NAME 'ipaUniqueID' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
objectClasses: ( 2.16.840.1.113730.3.8.4.3 NAME 'nestedGroup' SUP groupOfNames STRUCTURAL )
objectClasses: ( 2.16.840.1.113730.3.8.4.4 NAME 'ipaUserGroup' SUP nestedGroup STRUCTURAL )
objectClasses: ( 2.16.840.1.113730.3.8.4.12 NAME 'ipaObject' SUP top AUXILIARY MUST ( ipaUniqueID ) )
"""


def test_freeipa_is_read_by_what_changed(tmp_path, nothing_is_fresh):
    """What it is made of, with entries as it has them."""
    users, groups = "cn=users,cn=accounts," + BASE, "cn=groups,cn=accounts," + BASE

    def ipa(number):
        return "objectClass: ipaObject", "ipaUniqueID: 6b3d7a1c-0f5e-11ef-9c1d-%012d" % number

    def user(name, number):
        return posix(name, number, users, *ipa(number))

    def container(dn):
        return "dn: %s\nobjectClass: nsContainer\n\n" % dn

    staff = group("staff", dn_of("ann", users), dn_of("bob", users), below=groups, kind="ipaUserGroup")
    ldif = (
        container("cn=accounts," + BASE)
        + container(users)
        + container(groups)
        + user("ann", 1)
        + user("bob", 2)
        + staff.replace("\ncn: ", "\n%s\n%s\ncn: " % ipa(3))
    )
    with DirectoryServer(ldif=ldif, schema=FREEIPA) as server:
        lab = Lab(server, tmp_path / "store.db")
        preset = {"ldap_parameters": {"preset": "freeipa"}, "removal_limits": {"users": "1", "memberships": "1"}}
        lab.run(**preset)
        server.modify(
            "dn: %s\nchangetype: delete\n\n" % dn_of("bob", users)
            + user("cyd", 4)
            + modified("cn=staff," + groups, "add", "member", dn_of("cyd", users))
            + renamed(dn_of("ann", users), "uid=anna")
        )
        server.modify(modified("cn=staff," + groups, "replace", "member", dn_of("anna", users), dn_of("cyd", users)))
        result = lab.run(read_mode="incremental", **preset)
        assert result["read"]["mode"] == "incremental" and lab.warnings == []
    assert lab.members() == [("staff", "anna"), ("staff", "cyd")]
    assert lab.rows("SELECT name, key FROM users WHERE extinct IS NULL") == [
        ("anna", "6b3d7a1c-0f5e-11ef-9c1d-000000000001"),
        ("cyd", "6b3d7a1c-0f5e-11ef-9c1d-000000000004"),
    ]


def refreshed(server, cookie):
    """What the server says in a refresh: names of changed entries, how many deleted ones, the next cookie."""
    connection = ldap3.Connection(
        ldap3.Server("127.0.0.1", server.port, get_info=ldap3.NONE), server.admin_dn, server.password, auto_bind=True
    )
    channel = wire.Channel(connection.socket, 30)
    names, gone, end = [], set(), b""
    operation = requests.search_operation(BASE, "sub", "(objectClass=*)", ("uid",))
    asked = channel.ask(operation, requests.sync_control(cookie))
    for tag, operation, controls in channel.answers(asked):
        if tag == wire.ENTRY:
            names.append(wire.decode_entry(operation, {})[1].get("uid", [b""])[0].decode())
        elif tag == wire.INTERMEDIATE:
            gone.update(requests.sync_info(operation)[2])
        elif tag == wire.DONE:
            assert wire.decode_done(operation, controls).code == 0
            end = requests.sync_done(controls[requests.SYNC_DONE])[0]
    connection.unbind()
    return names, len(gone), end


@pytest.mark.thorough
def test_why_its_content_synchronization_is_not_used():
    """It leaves changes out and says that it succeeded. Where this fails, the server has learned to tell."""
    changelog = "cn=Retro Changelog Plugin,cn=plugins,cn=config"
    people = [person("p%02d" % number) for number in range(60)]
    with DirectoryServer(
        ldif=unit("people") + "".join(people), plugins=("Retro Changelog Plugin", "Content Synchronization")
    ) as server:
        server.modify(modified(changelog, "add", "nsslapd-attribute", "nsuniqueid:targetUniqueId"))
        server.stop()
        server.start()
        everybody, _gone, cookie = refreshed(server, b"")
        assert len(everybody) == 62
        server.modify("".join("dn: %s\nchangetype: delete\n\n" % dn_of("p%02d" % number) for number in range(55)))
        changed, gone, cookie = refreshed(server, cookie)
        assert (changed, gone) == ([], 54)  # not 55
        server.modify("".join(modified(dn_of("p%02d" % number), "replace", "title", "x") for number in (57, 58, 59)))
        entries = server.search("(changeNumber=*)", "1.1", base="cn=changelog", scope="one")
        old = sorted(entries, key=lambda dn: int(dn.partition("=")[2].partition(",")[0]))[:-1]
        server.modify("".join("dn: %s\nchangetype: delete\n\n" % dn for dn in old))  # as trimming does
        assert refreshed(server, cookie)[:2] == (["p59"], 0)
