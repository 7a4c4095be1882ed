# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of the directory that meet records made by hand, under each user_collision.

usersync.directory.user makes the records; what came of them is looked at with plain SQL.
"""

from __future__ import annotations

import json

import pytest
from support.lab import BASE, PEOPLE, ROOT, Lab, deleted, dn_of, group, over_tls, person, unit
from support.slapd import Slapd
from support.stored import rows

DOMAIN = "S-1-5-21-11-22-33"


def with_sid(name, number, *lines):
    return person(name, "objectClass: sambaSamAccount", "sambaSID: %s-%d" % (DOMAIN, number), *lines)


def company_with(email="ann@example.org", first_number=1001):
    """Ann and bob, who have SIDs."""
    ann, bob = with_sid("ann", first_number, "mail: " + email), with_sid("bob", first_number + 1)
    domain = "dn: sambaDomainName=OLD,%s\nobjectClass: sambaDomain\nsambaDomainName: OLD\nsambaSID: %s\n\n"
    return ROOT + domain % (BASE, DOMAIN) + unit("people") + ann + bob


@pytest.fixture(scope="module")
def company():
    with Slapd(ldif=company_with()) as server:
        yield server


@pytest.fixture
def synchronize(run_module):
    """One run of the module, ``synchronize(directory, store, option=...)``; its result."""

    def run(directory, store, /, check_mode=False, **more):
        options = {
            "distinguished_name": PEOPLE,
            "ldap_parameters": {"preset": "openldap_samba"},
            "removal_limits": {"users": "1"},  # a record that is overwritten is one that is removed
            **more,
        }
        return run_module("user_synchronization", over_tls(directory, store, **options), check_mode=check_mode)

    return run


@pytest.fixture
def by_hand(run_module):
    """Make a record by hand."""

    def run(store, name, user_group, /, **more):
        options = {
            "store": str(store),
            "name": name,
            "user_group": user_group,
            "attributes": {"email": "hand@example.org"},
            "local_attributes": {"badge": "7"},
            **more,
        }
        return run_module("user", options)

    return run


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


@pytest.mark.parametrize(("policy", "name", "user_group", "sid", "outcome", "reason"), CASES)
def test_a_record_made_by_hand(company, synchronize, by_hand, tmp_path, policy, name, user_group, sid, outcome, reason):
    store = tmp_path / "users.db"
    by_hand(store, name, user_group, sid=sid)
    dry, first, second = (synchronize(company, store, dry, user_collision=policy) for dry in (True, False, False))
    assert dry["plan_digest"] == first["plan_digest"] and dry["collisions"] == first["collisions"]
    assert second["changed"] is False
    expected = (
        []
        if reason is None
        else [{"kind": "user", "name": "ann", "path": "All/Staff", "dn": dn_of("ann"), "reason": reason}]
    )
    assert first["collisions"] == second["collisions"] == expected, "reported, and again in the next run"
    if reason is None:
        assert first["users"]["updated"] == ["ann"] and first["users"]["created"] == ["bob"]
    assert people(store) == outcome


def test_who_was_adopted_is_released_and_who_was_overwritten_is_deleted(synchronize, by_hand, tmp_path):
    stores = {policy: tmp_path / policy for policy in ("merge", "overwrite")}
    with Slapd(ldif=company_with()) as directory:
        for policy, store in stores.items():
            by_hand(store, "ann", "All/Staff")
            synchronize(directory, store, user_collision=policy)
        directory.modify(deleted(dn_of("ann")))
        for store in stores.values():
            synchronize(directory, store, user_extinction="delete")
    assert people(stores["merge"]) == [(*MERGED[:4], False), BOB]
    assert people(stores["overwrite"]) == [BOB]


@pytest.mark.parametrize("policy", ["skip", "overwrite", "merge"])
def test_a_record_of_another_directory_is_always_left(company, other_company, synchronize, tmp_path, policy):
    store = tmp_path / "users.db"
    synchronize(other_company, store, name="first")
    result = synchronize(company, store, user_collision=policy)
    assert [(each["name"], each["reason"]) for each in result["collisions"]] == [
        ("ann", "the name is taken"),
        ("bob", "another user has its SID"),
    ]
    assert result["users"]["created"] == []
    assert people(store) == [("Staff", "ann", "first@example.org", {}, True), BOB]


@pytest.fixture(scope="module")
def other_company():
    """Ann and bob of another directory: only bob has the SID that he has in the first one."""
    with Slapd(ldif=company_with("first@example.org").replace("-1001", "-2001")) as server:
        yield server


def test_a_group_that_is_released_again_and_again_finds_a_name(tmp_path):
    """Each release leaves a group that is as if made by hand, and takes one more of the names."""
    with Slapd(ldif=ROOT + unit("people") + person("ann") + group("staff", dn_of("ann"))) as server:
        lab = Lab(server, tmp_path / "users.db")
        for number in range(8):
            dry, real = lab.once(True), lab.once()
            assert dry["changed_groups"] == real["changed_groups"] and len(real["changed_groups"]) == 1
            assert not lab.once(True)["changed"], "it keeps the name"
            lab.once(state="released")
            assert len(lab.rows("SELECT 1 FROM user_groups WHERE name LIKE '%(staff%' OR name LIKE 'staff%'")) > number
