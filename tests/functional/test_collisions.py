# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of the directory that meet records made by hand, under each user_collision, through Ansible.

usersync.directory.user makes the records; what came of them is looked at with plain SQL.
"""

from __future__ import annotations

import json

import pytest
from support.slapd import Slapd
from support.stored import rows

DOMAIN = "S-1-5-21-11-22-33"
PEOPLE = "ou=People,dc=example,dc=org"

COMPANY = f"""\
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: {PEOPLE}
objectClass: organizationalUnit
ou: People

dn: uid=ann,{PEOPLE}
objectClass: inetOrgPerson
objectClass: sambaSamAccount
uid: ann
cn: Ann
sn: Ann
mail: ann@example.org
sambaSID: {DOMAIN}-1001

dn: uid=bob,{PEOPLE}
objectClass: inetOrgPerson
objectClass: sambaSamAccount
uid: bob
cn: Bob
sn: Bob
sambaSID: {DOMAIN}-1002
"""


@pytest.fixture(scope="module")
def company():
    with Slapd(ldif=COMPANY) as server:
        yield server


def synchronize(directory, store, /, **more):
    options = {
        "name": "staff",
        "user_group": "All/Staff",
        "server": directory.ldaps_url,
        "ca_path": str(directory.ca.cert),
        "use_ldap": True,
        "login": directory.admin_dn,
        "password": directory.password,
        "distinguished_name": PEOPLE,
        "ldap_parameters": {"preset": "openldap_samba"},
        "store": str(store),
        "removal_limits": {"users": "1"},
        **more,  # a record that is overwritten is one that is removed
    }
    return {"name": "Synchronize", "usersync.directory.user_synchronization": options}


def by_hand(store, name, user_group, /, **more):
    return {
        "name": "By hand",
        "usersync.directory.user": {
            "store": str(store),
            "name": name,
            "user_group": user_group,
            "attributes": {"email": "hand@example.org"},
            "local_attributes": {"badge": "7"},
            **more,
        },
    }


def people(store):
    """(home, name, email, local attributes, whether it is of the directory) of each user."""
    found = rows(
        store,
        "SELECT u.name, g.name, u.attributes, u.local_attributes, u.key IS NOT NULL FROM users u"
        " JOIN user_groups g ON g.id = u.home_id",
    )
    return [
        (home, name, json.loads(attributes).get("email"), json.loads(local), bool(of_directory))
        for name, home, attributes, local, of_directory in found
    ]


BOB = ("Staff", "bob", None, {}, True)
ANN = ("Staff", "ann", "ann@example.org", {}, True)
MERGED = ("Staff", "ann", "ann@example.org", {"badge": "7"}, True)
KEPT = ("Staff", "Ann", "hand@example.org", {"badge": "7"}, False)
ELSEWHERE = ("Guests", "annette", "hand@example.org", {"badge": "7"}, False)


# The policy; who was made by hand, where and with what SID; who is there afterwards; why a user was left out.
CASES = [
    ("skip", "Ann", "All/Staff", None, [KEPT, BOB], "the name is taken"),
    ("overwrite", "Ann", "All/Staff", None, [ANN, BOB], None),
    ("merge", "Ann", "All/Staff", None, [MERGED, BOB], None),
    ("skip", "annette", "All/Guests", DOMAIN + "-1001", [ELSEWHERE, BOB], "another user has its SID"),
    ("overwrite", "annette", "All/Guests", DOMAIN + "-1001", [ANN, BOB], None),
    ("merge", "annette", "All/Guests", DOMAIN + "-1001", [MERGED, BOB], None),
]


def test_a_record_made_by_hand(company, run_playbook, tmp_path):
    tasks = []
    for number, (policy, name, user_group, sid, _outcome, _reason) in enumerate(CASES):
        store = tmp_path / str(number)
        synchronization = synchronize(company, store, user_collision=policy)
        tasks += [
            by_hand(store, name, user_group, sid=sid),
            dict(synchronization, check_mode=True),
            synchronization,
            synchronization,
        ]
    run = run_playbook(tasks)
    assert run.rc == 0, run.output
    for number, (policy, name, _user_group, _sid, outcome, reason) in enumerate(CASES):
        dry, first, second = run.results[4 * number + 1 : 4 * number + 4]
        assert dry["plan_digest"] == first["plan_digest"] and dry["collisions"] == first["collisions"]
        assert second["changed"] is False, (policy, name)
        expected = (
            []
            if reason is None
            else [{"kind": "user", "name": "ann", "path": "All/Staff", "dn": "uid=ann,%s" % PEOPLE, "reason": reason}]
        )
        assert first["collisions"] == second["collisions"] == expected, "reported, and again in the next run"
        if reason is None:
            assert first["users"]["updated"] == ["ann"] and first["users"]["created"] == ["bob"]
        assert people(tmp_path / str(number)) == outcome, (policy, name)


def test_who_was_adopted_is_released_and_who_was_overwritten_is_deleted(run_playbook, tmp_path):
    merged, overwritten = tmp_path / "merged.db", tmp_path / "overwritten.db"
    with Slapd(ldif=COMPANY) as directory:
        assert (
            run_playbook(
                [
                    by_hand(merged, "ann", "All/Staff"),
                    synchronize(directory, merged, user_collision="merge"),
                    by_hand(overwritten, "ann", "All/Staff"),
                    synchronize(directory, overwritten, user_collision="overwrite"),
                ]
            ).rc
            == 0
        )
        directory.modify("dn: uid=ann,%s\nchangetype: delete\n" % PEOPLE)
        run = run_playbook([synchronize(directory, store, user_extinction="delete") for store in (merged, overwritten)])
        assert run.rc == 0, run.output
    assert people(merged) == [(*MERGED[:4], False), BOB]
    assert people(overwritten) == [BOB]


def test_a_record_of_another_directory_is_always_left(company, run_playbook, tmp_path):
    policies = ("skip", "overwrite", "merge")
    with Slapd(ldif=COMPANY.replace("ann@example.org", "first@example.org").replace("-1001", "-2001")) as other:
        run = run_playbook(
            [
                task
                for policy in policies
                for task in (
                    synchronize(other, tmp_path / policy, name="first"),
                    synchronize(company, tmp_path / policy, user_collision=policy),
                )
            ]
        )
    assert run.rc == 0, run.output
    for policy, result in zip(policies, run.results[1::2]):
        assert [(each["name"], each["reason"]) for each in result["collisions"]] == [
            ("ann", "the name is taken"),
            ("bob", "another user has its SID"),
        ]
        assert result["users"]["created"] == []
        assert people(tmp_path / policy) == [("Staff", "ann", "first@example.org", {}, True), BOB]
