# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""usersync.directory.directory_info as a user meets it: against a real OpenLDAP server and a real Samba domain."""

from __future__ import annotations

import time

import pytest
from support.slapd import Slapd

MANY = 100_000

TREE = """\
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=Wards,dc=example,dc=org
objectClass: organizationalUnit
ou: Wards

dn: ou=Empty,dc=example,dc=org
objectClass: organizationalUnit
ou: Empty

dn: ou=Crowd,dc=example,dc=org
objectClass: organizationalUnit
ou: Crowd

dn: cn=Devices,dc=example,dc=org
objectClass: applicationProcess
cn: Devices

dn: cn=pump 1,cn=Devices,dc=example,dc=org
objectClass: device
cn: pump 1

dn: ou=Elsewhere,dc=example,dc=org
objectClass: referral
objectClass: extensibleObject
ou: Elsewhere
ref: ldap://other.example/ou=Elsewhere,dc=example,dc=org

dn: cn=Nurses \\2B night\\, east,ou=Wards,dc=example,dc=org
objectClass: groupOfNames
cn: Nurses + night, east
member: uid=zoe,ou=Wards,dc=example,dc=org

dn: uid=zoe,ou=Wards,dc=example,dc=org
objectClass: inetOrgPerson
uid: zoe
cn: Zoë
sn: Zoë

dn: uid=Anna,ou=Wards,dc=example,dc=org
objectClass: inetOrgPerson
uid: Anna
cn: Anna
sn: Anna

dn: ou=Nursing homes,ou=Wards,dc=example,dc=org
objectClass: organizationalUnit
ou: Nursing homes

dn: cn=doctors,ou=Nursing homes,ou=Wards,dc=example,dc=org
objectClass: groupOfNames
cn: doctors
member: uid=zoe,ou=Wards,dc=example,dc=org

dn: cn=aardvarks,ou=Crowd,dc=example,dc=org
objectClass: groupOfNames
cn: aardvarks
member: uid=zoe,ou=Wards,dc=example,dc=org
"""

CROWD = "".join(
    f"\ndn: uid=u{number},ou=Crowd,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: u{number}\ncn: u\nsn: u\n"
    for number in range(MANY)
)


@pytest.fixture(scope="module")
def company():
    """Its limit on what one search returns holds for the reader, but not page by page: as in many installations."""
    settings = "limits users size.soft=500 size.hard=500 size.prtotal=unlimited"
    with Slapd(ldif=TREE + CROWD, settings=settings) as server:
        server.modify(
            "dn: cn=reader,dc=example,dc=org\nobjectClass: organizationalRole\n"
            "objectClass: simpleSecurityObject\ncn: reader\nuserPassword: Heron-8-lattice-Mp27\n"
        )
        yield server


def look(directory, register="r", /, **more):
    options = {
        "server": directory.ldaps_url,
        "ca_path": str(directory.ca.cert),
        "use_ldap": True,
        "login": "cn=reader,dc=example,dc=org",
        "password": "Heron-8-lattice-Mp27",
    }
    options = {option: value for option, value in dict(options, **more).items() if value is not None}
    return {"name": "Look", "usersync.directory.directory_info": options, "register": register}


def brief(result):
    return [
        (entry["dn"].partition(",dc=")[0], entry["name"], entry["type"], entry["has_children"])
        for entry in result["entries"]
    ]


@pytest.mark.versions
def test_what_the_server_is_and_what_lies_in_it(company, run_playbook):
    run = run_playbook(
        [
            look(company),
            look(company, distinguished_name="ou=wards, DC=example,dc=org"),
            look(company, distinguished_name=["dc=example,dc=org"], depth=3, limit=9),
            look(company, search="NURS*"),
            look(company, search="nurs*", distinguished_name="ou=Nursing homes,ou=Wards,dc=example,dc=org"),
        ],
        "--check",
        "--diff",
    )
    assert run.rc == 0, run.output
    server, wards, tree, found, elsewhere = run.results
    assert all(result["changed"] is False and "diff" not in result for result in run.results)

    assert server["directory_type"] == "openldap" and server["naming_contexts"] == ["dc=example,dc=org"]
    assert server["default_naming_context"] == "dc=example,dc=org"
    assert server["supports"]["paged_results"] is server["supports"]["start_tls"] is True
    assert server["supports"]["syncrepl"] is server["supports"]["dirsync"] is False
    assert server["not_read"] == ["ldap://other.example/ou=Elsewhere,dc=example,dc=org??sub"]
    assert server["entries"] == [] and server["truncated"] is False

    assert brief(wards) == [
        ("ou=Nursing homes,ou=Wards", "Nursing homes", "organizational_unit", True),
        ("cn=Nurses \\2B night\\2C east,ou=Wards", "Nurses + night, east", "group", False),
        ("uid=Anna,ou=Wards", "Anna", "user", False),
        ("uid=zoe,ou=Wards", "zoe", "user", False),
    ]
    assert brief(tree) == [
        ("ou=Crowd", "Crowd", "organizational_unit", True),
        ("cn=aardvarks,ou=Crowd", "aardvarks", "group", False),
        ("uid=u0,ou=Crowd", "u0", "user", False),
        ("uid=u1,ou=Crowd", "u1", "user", False),
        ("uid=u10,ou=Crowd", "u10", "user", False),
        ("uid=u100,ou=Crowd", "u100", "user", False),
        ("cn=Devices", "Devices", "container", False),
        ("ou=Empty", "Empty", "organizational_unit", False),
        ("ou=Wards", "Wards", "organizational_unit", True),
    ], "upper levels first, each entry behind its parent"
    assert tree["truncated"] is True
    assert brief(found) == [
        ("ou=Nursing homes,ou=Wards", "Nursing homes", "organizational_unit", True),
        ("cn=Nurses \\2B night\\2C east,ou=Wards", "Nurses + night, east", "group", False),
    ]
    assert elsewhere["entries"] == [found["entries"][0]]
    assert "Heron-8-lattice-Mp27" not in run.output


def test_all_levels_where_the_limit_is_not_met(company, run_playbook):
    (result,) = run_playbook([look(company, distinguished_name="ou=Wards,dc=example,dc=org", depth=9)]).results
    assert result["truncated"] is False
    assert [entry["name"] for entry in result["entries"]] == [
        "Nursing homes",
        "doctors",
        "Nurses + night, east",
        "Anna",
        "zoe",
    ]


def test_the_dn_that_is_shown_is_one_that_a_synchronization_takes(company, run_playbook, tmp_path):
    group = next(
        entry
        for entry in run_playbook([look(company, search="nurs*")]).results[0]["entries"]
        if entry["type"] == "group"
    )
    task = {
        "usersync.directory.user_synchronization": dict(
            look(company)["usersync.directory.directory_info"],
            name="n",
            distinguished_name=group["dn"],
            store=str(tmp_path / "users.db"),
        )
    }
    assert run_playbook([task]).results[0]["users"]["created"] == ["zoe"]


def test_a_hundred_thousand_entries(company, run_playbook):
    crowd = "ou=Crowd,dc=example,dc=org"
    started = time.monotonic()
    first, all_of_them = run_playbook(
        [look(company, distinguished_name=crowd), look(company, distinguished_name=crowd, limit=MANY + 1)]
    ).results
    print("two playbook tasks on %d entries: %.1f s" % (MANY, time.monotonic() - started))
    assert first["truncated"] is True and len(first["entries"]) == 1000
    assert [entry["name"] for entry in first["entries"][:3]] == ["aardvarks", "u0", "u1"]
    assert all_of_them["truncated"] is False and len(all_of_them["entries"]) == MANY + 1
    assert first["entries"] == all_of_them["entries"][:1000]


WRONG = [
    ({"distinguished_name": "ou=None,dc=example,dc=org"}, "distinguished_name: 'ou=None,dc=example,dc=org' does not"),
    ({"distinguished_name": "dc=other"}, "distinguished_name: 'dc=other' does not exist"),
    (
        {"distinguished_name": "ou=Elsewhere,dc=example,dc=org"},
        "distinguished_name: 'ou=Elsewhere,dc=example,dc=org' lies on another server (ldap://other.example/",
    ),
    ({"distinguished_name": "Wards"}, "distinguished_name: 'Wards' is not a distinguished name"),
    ({"distinguished_name": ["ou=Wards", "dc=example", "dc=org"]}, "distinguished_name: it is a list of 3"),
    ({"distinguished_name": ""}, "distinguished_name: an empty string is no DN"),
    ({"search": "**"}, "search: '**' matches every name"),
    ({"depth": 0}, "depth: 0 is out of range"),
    ({"limit": 0}, "limit: 0 is out of range"),
    ({"server": None}, "server: the list is empty"),
    ({"server": "ldaps://127.0.0.1:1"}, "server: 127.0.0.1:1 cannot be used"),
    ({"ca_path": None}, "ca_path: "),
    ({"password": "Wrong-Moss-4-kettle"}, "login: "),
    ({"use_ldap": False, "login": "EXAMPLE\\READER"}, "use_ldap: "),
    ({"encryption": "start_tls"}, "server: "),
]


def test_errors_name_the_option(company, run_playbook):
    run = run_playbook([dict(look(company, **wrong), ignore_errors=True) for wrong, _message in WRONG])
    assert len(run.results) == len(WRONG), run.output
    for (wrong, beginning), result in zip(WRONG, run.results):
        assert result.get("msg", "").startswith(beginning), (wrong, result)
        assert "Traceback" not in repr(result) and "\n" not in result["msg"]


@pytest.mark.versions
def test_active_directory(samba, run_playbook):
    unit = "OU=Browse,%s" % samba.base_dn
    samba.modify("dn: %s\nobjectClass: organizationalUnit\n" % unit)
    samba.create_users(["browser"], unit)
    samba.modify(
        f"dn: CN=Readers,{unit}\nobjectClass: group\nsAMAccountName: Readers\ndisplayName: Those who read\n\n"
        f"dn: CN=PC1,{unit}\nobjectClass: computer\nsAMAccountName: PC1$\n\n"
        f"dn: OU=Inner,{unit}\nobjectClass: organizationalUnit\n"
    )
    connection = {
        "server": "localhost",
        "ca_path": str(samba.ca.cert),
        "use_ldap": None,
        "login": samba.login,
        "password": samba.password,
    }
    server = look(samba, **connection)
    below = look(samba, **connection, distinguished_name="{{ r.default_naming_context }}")
    run = run_playbook(
        [
            server,
            below,
            look(samba, "unit", **connection, distinguished_name=unit),
            look(samba, "found", **connection, search="*who re*"),
        ]
    )
    assert run.rc == 0, run.output
    server, domain, unit, found = run.results
    assert server["directory_type"] == "active_directory"
    assert server["naming_contexts"][0] == server["default_naming_context"] == samba.base_dn
    assert server["supports"]["dirsync"] is True and "GSSAPI" in server["supports"]["sasl_mechanisms"]
    assert any("CN=Configuration" in referral for referral in server["not_read"])
    names = {entry["name"]: (entry["type"], entry["has_children"]) for entry in domain["entries"]}
    assert names["Users"] == ("container", True) and names["Browse"] == ("organizational_unit", True)
    assert names["Domain Controllers"][0] == "organizational_unit"
    assert "System" not in names and "Program Data" not in names, "as the administrative tools hide it"
    assert [entry["name"] for entry in unit["entries"]] == ["Inner", "Readers", "browser"], "and no computer"
    assert [entry["has_children"] for entry in unit["entries"]] == [False, False, False]
    assert [entry["name"] for entry in found["entries"]] == ["Readers"]
