# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""usersync.directory.user_synchronization as a user meets it: ansible-playbook against a real OpenLDAP server.

What the store holds is looked at with plain SQL, what the directory holds with ldapsearch.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from support.slapd import Slapd
from support.stored import homes, members, nestings, rows, values

COMPANY = """\
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=Staff,dc=example,dc=org
objectClass: organizationalUnit
ou: Staff

dn: ou=Guests,dc=example,dc=org
objectClass: organizationalUnit
ou: Guests

dn: uid=agnes,ou=Staff,dc=example,dc=org
objectClass: inetOrgPerson
uid: agnes
cn: Agnès Müller
sn: Müller
displayName: Agnès Müller
mail: agnes@example.org
title: Head nurse

dn: uid=bert,ou=Staff,dc=example,dc=org
objectClass: inetOrgPerson
uid: bert
cn: Bert
sn: Bert

dn: uid=carla,ou=Staff,dc=example,dc=org
objectClass: inetOrgPerson
uid: carla
cn: Carla
sn: Carla

dn: uid=gast,ou=Guests,dc=example,dc=org
objectClass: inetOrgPerson
uid: gast
cn: Gast
sn: Gast

dn: cn=Nurses,ou=Staff,dc=example,dc=org
objectClass: groupOfNames
cn: Nurses
description: On the wards
member: uid=agnes,ou=Staff,dc=example,dc=org
member: uid=gast,ou=Guests,dc=example,dc=org
member: uid=nobody,ou=Staff,dc=example,dc=org

dn: cn=Night,ou=Staff,dc=example,dc=org
objectClass: groupOfNames
cn: Night
member: uid=bert,ou=Staff,dc=example,dc=org

dn: cn=All staff,ou=Staff,dc=example,dc=org
objectClass: groupOfNames
cn: All staff
member: cn=Nurses,ou=Staff,dc=example,dc=org
member: cn=Night,ou=Staff,dc=example,dc=org
"""

STAFF = "ou=Staff,dc=example,dc=org"


@pytest.fixture
def company():
    with Slapd(ldif=COMPANY) as server:
        yield server


@pytest.fixture(scope="module")
def lasting_company():
    """For tests that change nothing in the directory."""
    with Slapd(ldif=COMPANY) as server:
        yield server


def synchronize(directory, store_path, register="r", /, **more):
    options = {
        "name": "staff",
        "user_group": "All/Staff",
        "server": directory.ldaps_url,
        "ca_path": str(directory.ca.cert),
        "use_ldap": True,
        "login": directory.admin_dn,
        "password": directory.password,
        "distinguished_name": STAFF,
        "store": str(store_path),
    }
    options = {option: value for option, value in dict(options, **more).items() if value is not None}
    return {"name": "Synchronize", "usersync.directory.user_synchronization": options, "register": register}


def everything(directory):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(directory.rglob("*"))}


RESULT_KEYS = {
    "changed",
    "changed_groups",
    "affected_groups",
    "unchanged_groups",
    "users",
    "summary",
    "collisions",
    "unresolved_members",
    "not_stored",
    "refused",
    "plan_digest",
    "removals_digest",
    "read",
    "settings",
    "report_truncated",
}


@pytest.mark.versions
def test_check_look_apply_look_repeat(company, run_playbook, tmp_path):
    store = tmp_path / "state" / "users.db"

    dry = run_playbook([synchronize(company, store)], "--check", "--diff")
    assert dry.rc == 0, dry.output
    dry_result = dry.results[0]
    assert set(dry_result).issuperset(RESULT_KEYS)
    assert not store.parent.exists(), "a dry run leaves no file and no directory"
    assert "+user group All/Staff/Nurses" in dry.output and "+    member agnes" in dry.output

    real = run_playbook([synchronize(company, store)])
    assert real.rc == 0, real.output
    result = real.results[0]
    assert set(result).issuperset(RESULT_KEYS) and "diff" not in result
    assert result["plan_digest"] == dry_result["plan_digest"]
    for key in RESULT_KEYS - {"read"}:
        assert result[key] == dry_result[key], key
    assert result["changed"] is True
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.parent.stat().st_mode) == 0o700
    assert os.listdir(store.parent) == ["users.db"]
    assert members(store) == [("Night", "bert"), ("Nurses", "agnes"), ("Nurses", "gast")]
    assert nestings(store) == [("All staff", "Night"), ("All staff", "Nurses")]
    assert values(store, "SELECT name FROM users") == ["agnes", "bert", "carla", "gast"]
    assert [
        (entry["path"], entry["members_added"], entry["user_groups_added"]) for entry in result["changed_groups"]
    ] == [
        ("All/Staff/All staff", [], ["All/Staff/Night", "All/Staff/Nurses"]),
        ("All/Staff/Night", ["bert"], []),
        ("All/Staff/Nurses", ["agnes", "gast"], []),
    ]
    assert result["unresolved_members"] == [
        {
            "user_group": "All/Staff/Nurses",
            "value": "uid=nobody,ou=Staff,dc=example,dc=org",
            "reason": "does not exist or cannot be read",
        }
    ]
    assert company.password not in real.output + dry.output + repr(result)

    before = everything(store.parent)
    again = run_playbook([synchronize(company, store), synchronize(company, store)], "--check")
    assert again.rc == 0, again.output
    assert everything(store.parent) == before, "looking leaves no trace"
    again = run_playbook([synchronize(company, store)])
    result = again.results[0]
    assert result["changed"] is False and result["changed_groups"] == []
    assert result["unchanged_groups"] == ["All/Staff/All staff", "All/Staff/Night", "All/Staff/Nurses"]


def test_exactly_what_changed_is_reported(company, run_playbook, tmp_path):
    store = tmp_path / "users.db"
    assert run_playbook([synchronize(company, store)]).rc == 0
    company.modify("""\
dn: cn=Night,ou=Staff,dc=example,dc=org
changetype: modify
add: member
member: uid=carla,ou=Staff,dc=example,dc=org

dn: uid=bert,ou=Staff,dc=example,dc=org
changetype: modrdn
newrdn: uid=albert
deleteoldrdn: 1

dn: cn=Night,ou=Staff,dc=example,dc=org
changetype: modify
delete: member
member: uid=bert,ou=Staff,dc=example,dc=org
-
add: member
member: uid=albert,ou=Staff,dc=example,dc=org
""")
    run = run_playbook([synchronize(company, store, "dry"), synchronize(company, store)], "--diff", "--check")
    assert run.rc == 0, run.output
    result = run_playbook([synchronize(company, store)]).results[0]
    assert result["plan_digest"] == run.results[0]["plan_digest"]
    assert [
        (entry["path"], entry["changes"], entry["members_added"], entry["members_removed"])
        for entry in result["changed_groups"]
    ] == [("All/Staff/Night", ["members"], ["carla"], [])]
    assert result["affected_groups"] == ["All/Staff/All staff"], "carla is among its effective members now"
    assert result["unchanged_groups"] == ["All/Staff/Nurses"]
    assert result["users"]["renamed"] == [{"name": "albert", "previous_name": "bert"}]
    assert members(store) == [("Night", "albert"), ("Night", "carla"), ("Nurses", "agnes"), ("Nurses", "gast")]
    assert "+    member carla" in run.output and "agnes" not in run.output.split("after")[-1].split("user ")[0]


def test_who_leaves_is_disabled_and_leaves_the_groups(company, run_playbook, tmp_path):
    store = tmp_path / "users.db"
    assert run_playbook([synchronize(company, store)]).rc == 0
    company.modify("dn: uid=agnes,ou=Staff,dc=example,dc=org\nchangetype: delete\n")
    result = run_playbook([synchronize(company, store)]).results[0]
    assert result["users"]["extinct"] == result["users"]["disabled"] == ["agnes"]
    assert result["changed_groups"][0]["members_removed"] == ["agnes"]
    assert rows(store, "SELECT name, enabled, extinct FROM users WHERE NOT enabled") == [("agnes", 0, "gone")]

    company.modify(
        "dn: uid=carla,ou=Staff,dc=example,dc=org\nchangetype: modrdn\nnewrdn: uid=carla\n"
        "deleteoldrdn: 1\nnewsuperior: ou=Guests,dc=example,dc=org\n"
    )
    result = run_playbook([synchronize(company, store, user_extinction="delete")]).results[0]
    assert result["users"]["deleted"] == ["agnes", "carla"], "whom the earlier policy left, the new one removes"
    assert values(store, "SELECT name FROM users") == ["bert", "gast"]


def test_names_swapped_in_one_run(company, run_playbook, tmp_path):
    store = tmp_path / "users.db"
    assert run_playbook([synchronize(company, store)]).rc == 0
    keys = dict(rows(store, "SELECT name, key FROM users"))
    for old, new in (("agnes", "x"), ("bert", "agnes"), ("x", "bert")):
        company.modify(
            "dn: uid=%s,ou=Staff,dc=example,dc=org\nchangetype: modrdn\nnewrdn: uid=%s\ndeleteoldrdn: 1\n" % (old, new)
        )
    result = run_playbook([synchronize(company, store)]).results[0]
    assert [entry["name"] for entry in result["users"]["renamed"]] == ["agnes", "bert"]
    swapped = dict(rows(store, "SELECT name, key FROM users"))
    assert (swapped["agnes"], swapped["bert"]) == (keys["bert"], keys["agnes"])


def test_containers_become_user_groups(lasting_company, run_playbook, tmp_path):
    tasks = [
        synchronize(lasting_company, tmp_path / structure, group_structure=structure)
        for structure in ("organizational_units", "both")
    ]
    units, both = run_playbook(tasks).results
    assert [entry["path"] for entry in units["changed_groups"]] == ["All/Staff/Staff"]
    assert units["changed_groups"][0]["members_added"] == ["agnes", "bert", "carla"]
    assert [entry["path"] for entry in both["changed_groups"]] == [
        "All/Staff/Staff",
        "All/Staff/Staff/All staff",
        "All/Staff/Staff/Night",
        "All/Staff/Staff/Nurses",
    ]
    assert homes(tmp_path / "both") == [(name, "Staff") for name in ("agnes", "bert", "carla", "gast")]


def test_changing_the_target_moves_the_tree(lasting_company, run_playbook, tmp_path):
    store = tmp_path / "users.db"
    first, second = run_playbook(
        [synchronize(lasting_company, store), synchronize(lasting_company, store, user_group="All/People/Here")]
    ).results
    assert {tuple(entry["changes"]) for entry in second["changed_groups"]} == {("moved",)}
    assert second["changed_groups"][0]["previous_path"] == "All/Staff/All staff"
    assert len(second["users"]["moved"]) == 4
    assert second["summary"]["memberships"]["added"] == second["summary"]["memberships"]["removed"] == 0
    assert values(store, "SELECT name FROM user_groups") == [
        "All",
        "All staff",
        "Here",
        "Night",
        "Nurses",
        "People",
    ], "the empty old target is gone"


def test_two_synchronizations_share_a_user(company, run_playbook, tmp_path):
    store = tmp_path / "users.db"
    guests = {"name": "guests", "user_group": "All/Guests", "distinguished_name": "ou=Guests,dc=example,dc=org"}
    first, second, third = run_playbook(
        [synchronize(company, store), synchronize(company, store, **guests), synchronize(company, store)]
    ).results
    assert second["users"]["created"] == [] and second["summary"]["users"]["claimed"] == 1
    assert third["changed"] is False
    company.modify(
        "dn: cn=Nurses,ou=Staff,dc=example,dc=org\nchangetype: modify\ndelete: member\n"
        "member: uid=gast,ou=Guests,dc=example,dc=org\n"
    )
    result = run_playbook([synchronize(company, store)]).results[0]
    assert result["users"]["extinct"] == [], "the other synchronization still has him"
    assert result["changed_groups"][0]["members_removed"] == ["gast"]
    assert rows(store, "SELECT name, enabled, extinct FROM users WHERE name = 'gast'") == [("gast", 1, None)]
    result = run_playbook([synchronize(company, store, **guests)]).results[0]
    assert result["users"]["moved"] == [{"name": "gast", "home": "All/Guests", "previous_home": "All/Staff"}]


# --- bad input -------------------------------------------------------------------------------------------------------

BAD_INPUT = [
    ({"distinguished_name": "ou=Staff,dc=example,dc=org,"}, "distinguished_name"),
    ({"distinguished_name": ["ou=Staf,dc=example,dc=org"]}, "distinguished_name"),
    ({"exclude_distinguished_name": "ou=None,dc=example,dc=org"}, "exclude_distinguished_name"),
    ({"distinguished_name": ""}, "distinguished_name"),
    ({"distinguished_name": ["ou=Staff,dc=example,dc=org", ""]}, "distinguished_name"),
    ({"distinguished_name": "dc=other,dc=org"}, "distinguished_name"),
    ({"user_filter": "(mail=*"}, "user_filter"),
    ({"user_filter": "(mail=\\zz)"}, "user_filter"),
    ({"ldap_parameters": {"preset": "novell"}}, "ldap_parameters"),
    ({"user_group": "All//Staff"}, "user_group"),
    ({"user_group": "Staff"}, "user_group"),
    ({"encryption": "start_tls"}, "encryption"),
    ({"server": "ldaps://127.0.0.1:1"}, "server"),
    ({"ca_path": None}, "ca_path"),
    ({"login": "EXAMPLE\\ADMIN"}, "login"),
    ({"password": None}, "password"),
    ({"password": ""}, "password"),
    ({"password": "Wrong-Moss-4-kettle"}, "password"),
    ({"authentication": "anonymous"}, "login"),
    ({"use_ldap": False, "login": "EXAMPLE\\ADMIN"}, "use_ldap"),
    ({"store": "/nowhere"}, "store"),
    ({"create_user_group": False, "user_group": "All/Absent"}, "create_user_group"),
]


def test_bad_input_fails_with_a_sentence_and_leaves_the_store(lasting_company, run_playbook, tmp_path):
    store = tmp_path / "users.db"
    (tmp_path / "folder").mkdir()
    assert run_playbook([synchronize(lasting_company, store)]).rc == 0
    before = store.read_bytes()
    tasks = []
    for wrong, _option in BAD_INPUT:
        wrong = dict(wrong, store=str(tmp_path / "folder")) if wrong.get("store") else wrong
        tasks.append(dict(synchronize(lasting_company, store, **wrong), ignore_errors=True))
    run = run_playbook(tasks)
    assert len(run.results) == len(BAD_INPUT), run.output
    for (wrong, option), result in zip(BAD_INPUT, run.results):
        message = result["msg"]
        print("%s: %s" % (wrong, message))
        assert option in message, (wrong, message)
        assert "Traceback" not in repr(result), (wrong, result)
        assert "\n" not in message and lasting_company.password not in message
    assert "ignored=%d " % len(BAD_INPUT) in run.output, "each has failed"
    assert store.read_bytes() == before
    assert "Traceback" not in run.output


def test_another_directory_under_the_same_name_is_refused(lasting_company, run_playbook, tmp_path):
    store = tmp_path / "users.db"
    with Slapd(ldif=COMPANY) as twin:
        first, second = run_playbook(
            [synchronize(lasting_company, store), dict(synchronize(twin, store), ignore_errors=True)]
        ).results
    assert second["msg"].startswith("name: the synchronization 'staff' belongs to")
    assert len(rows(store, "SELECT * FROM runs")) == 1


def test_no_encryption_goes_only_when_written_out_and_warns(lasting_company, run_playbook, tmp_path):
    plain = synchronize(lasting_company, tmp_path / "users.db", server=lasting_company.ldap_url, ca_path=None)
    refused = run_playbook([plain])
    assert refused.rc != 0 and "encryption" in refused.results[0]["msg"]
    plain["usersync.directory.user_synchronization"]["encryption"] = "none"
    run = run_playbook([plain])
    assert run.rc == 0, run.output
    assert "encryption: none" in " ".join(str(warning) for warning in run.results[0]["warnings"])


@pytest.mark.versions
@pytest.mark.parametrize("encryption", ("start_tls", "ldaps"))
def test_start_tls_and_ldaps_verify_an_address(lasting_company, run_playbook, tmp_path, encryption):
    url = lasting_company.ldap_url if encryption == "start_tls" else lasting_company.ldaps_url
    run = run_playbook([synchronize(lasting_company, tmp_path / "users.db", server=url, encryption=encryption)])
    assert run.rc == 0, run.output


def test_external_over_ldapi(lasting_company, run_playbook, tmp_path):
    run = run_playbook(
        [
            synchronize(
                lasting_company,
                tmp_path / "users.db",
                server=lasting_company.ldapi_url,
                encryption="none",
                authentication="external",
                login=None,
                password=None,
                ca_path=None,
            )
        ]
    )
    assert run.rc == 0, run.output
    assert run.results[0]["summary"]["users"]["total"] == 4


def test_the_report_is_cut_and_the_counts_are_not(lasting_company, run_playbook, tmp_path):
    result = run_playbook([synchronize(lasting_company, tmp_path / "users.db", report_limit=1)]).results[0]
    assert result["report_truncated"] is True
    assert len(result["changed_groups"]) == len(result["users"]["created"]) == 1
    assert result["summary"]["users"]["created"] == 4 and result["summary"]["user_groups"]["created"] == 3


def test_the_secret_is_nowhere(lasting_company, run_playbook, tmp_path):
    run = run_playbook([synchronize(lasting_company, tmp_path / "users.db")], "-vvvv", "--diff")
    assert run.rc == 0, run.output
    assert lasting_company.password not in run.output
    for path in Path(tmp_path).rglob("*"):
        if path.is_file() and path.name != "playbook.json":
            assert lasting_company.password.encode() not in path.read_bytes(), path
