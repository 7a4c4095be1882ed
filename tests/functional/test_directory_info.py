# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""usersync.directory.directory_info as a user meets it: against a real OpenLDAP server and a real Samba domain."""

from __future__ import annotations

import pytest
from support.lab import BASE, ROOT, dn_of, entry, group, over_tls, person, unit
from support.slapd import Slapd

MANY = 100_000
READER, READER_PASSWORD = "cn=reader," + BASE, "Heron-8-lattice-Mp27"
WARDS, HOMES, CROWD = "ou=Wards," + BASE, "ou=Nursing homes,ou=Wards," + BASE, "ou=Crowd," + BASE
ZOE = dn_of("zoe", WARDS)


def company_with(users):
    """So many users in one container, beside a few of all that there is."""
    return "".join(
        [
            ROOT,
            *(unit(name) for name in ("Wards", "Empty", "Crowd")),
            entry("cn=Devices," + BASE, "objectClass: applicationProcess", "cn: Devices"),
            entry("cn=pump 1,cn=Devices," + BASE, "objectClass: device", "cn: pump 1"),
            entry(
                "ou=Elsewhere," + BASE,
                "objectClass: referral",
                "objectClass: extensibleObject",
                "ou: Elsewhere",
                "ref: ldap://other.example/ou=Elsewhere," + BASE,
            ),
            entry(
                "cn=Nurses \\2B night\\, east," + WARDS,
                "objectClass: groupOfNames",
                "cn: Nurses + night, east",
                "member: " + ZOE,
            ),
            person("zoe", below=WARDS),
            person("Anna", below=WARDS),
            unit("Nursing homes", WARDS),
            group("doctors", ZOE, below=HOMES),
            group("aardvarks", ZOE, below=CROWD),
            entry(
                READER,
                "objectClass: organizationalRole",
                "objectClass: simpleSecurityObject",
                "cn: reader",
                "userPassword: " + READER_PASSWORD,
            ),
            *(person("u%d" % number, below=CROWD) for number in range(users)),
        ]
    )


# It holds for the reader, but not page by page: as in many installations.
LIMIT = "limits users size.soft=500 size.hard=500 size.prtotal=unlimited"


@pytest.fixture(scope="module")
def company():
    with Slapd(ldif=company_with(1200), settings=LIMIT) as server:
        yield server


def look(directory, /, **more):
    """The options of directory_info, and with a name and a store those of a synchronization."""
    options = over_tls(directory, "", login=READER, password=READER_PASSWORD)
    for option in ("name", "user_group", "store"):
        del options[option]
    return {**options, **more}


def brief(result):
    return [
        (entry["dn"].partition(",dc=")[0], entry["name"], entry["type"], entry["has_children"])
        for entry in result["entries"]
    ]


@pytest.mark.versions
def test_what_the_server_is_and_what_lies_in_it(company, run_playbook):
    wanted = [
        {},
        {"distinguished_name": "ou=wards, DC=example,dc=org"},
        {"distinguished_name": [BASE], "depth": 3, "limit": 9},
        {"search": "NURS*"},
        {"search": "nurs*", "distinguished_name": HOMES},
    ]
    tasks = [{"name": "Look", "usersync.directory.directory_info": look(company, **more)} for more in wanted]
    run = run_playbook(tasks, "--check", "--diff")
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
    assert READER_PASSWORD not in run.output


def test_all_levels_where_the_limit_is_not_met(company, run_module):
    result = run_module("directory_info", look(company, distinguished_name=WARDS, depth=9))
    assert result["truncated"] is False
    assert [entry["name"] for entry in result["entries"]] == [
        "Nursing homes",
        "doctors",
        "Nurses + night, east",
        "Anna",
        "zoe",
    ]


def test_the_dn_that_is_shown_is_one_that_a_synchronization_takes(company, run_module, tmp_path):
    found = run_module("directory_info", look(company, search="nurs*"))["entries"]
    (dn,) = (entry["dn"] for entry in found if entry["type"] == "group")
    options = look(company, name="n", distinguished_name=dn, store=str(tmp_path / "users.db"))
    assert run_module("user_synchronization", options)["users"]["created"] == ["zoe"]


def test_a_hundred_thousand_entries(run_module):
    with Slapd(ldif=company_with(MANY), settings=LIMIT) as company:
        first = run_module("directory_info", look(company, distinguished_name=CROWD))
        all_of_them = run_module("directory_info", look(company, distinguished_name=CROWD, limit=MANY + 1))
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


@pytest.mark.parametrize(("wrong", "beginning"), WRONG)
def test_errors_name_the_option(company, run_module, wrong, beginning):
    result = run_module.fails("directory_info", look(company, **wrong))
    assert result["msg"].startswith(beginning)
    assert "Traceback" not in repr(result) and "\n" not in result["msg"]


def test_active_directory(samba, run_module):
    below = "OU=Browse,%s" % samba.base_dn
    samba.modify("dn: %s\nobjectClass: organizationalUnit\n" % below)
    samba.create_users(["browser"], below)
    samba.modify(
        entry(
            "CN=Readers," + below,
            "objectClass: group",
            "sAMAccountName: Readers",
            "displayName: Those who read",
        )
        + entry("CN=PC1," + below, "objectClass: computer", "sAMAccountName: PC1$")
        + entry("OU=Inner," + below, "objectClass: organizationalUnit")
    )
    options = {
        "server": "localhost",
        "ca_path": str(samba.ca.cert),
        "login": samba.login,
        "password": samba.password,
    }
    server = run_module("directory_info", options)
    domain, unit, found = (
        run_module("directory_info", {**options, **more})
        for more in (
            {"distinguished_name": server["default_naming_context"]},
            {"distinguished_name": below},
            {"search": "*who re*"},
        )
    )
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
