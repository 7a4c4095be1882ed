# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A SID counts only if it begins with the SID of the domain that its entry came from."""

from __future__ import annotations

import pytest
from support import stored, tree
from support.lab import BASE, PEOPLE, ROOT, Lab, dn_of, person, synchronize, unit
from support.misbehaving import MisbehavingDirectory
from support.slapd import Slapd

STAFF = "OU=Staff," + tree.DOMAIN
PRINCIPALS = "CN=ForeignSecurityPrincipals," + tree.DOMAIN
OLD = "S-1-5-21-11-22-33"  # the domain that Samba keeps in LDAP
OTHER = (21, 5, 6, 7)  # a domain that the one of Active Directory trusts
HERE = "S-1-5-%s" % "-".join(map(str, tree.DOMAIN_SID))

BY_SID = {"name": "samba", "user_group": "All/Old", "ldap_parameters": {"preset": "openldap_samba"}}


def a_domain(sid=OLD, below=BASE, name="OLD"):
    return "dn: sambaDomainName=%s,%s\nobjectClass: sambaDomain\nsambaDomainName: %s\nsambaSID: %s\n\n" % (
        name,
        below,
        name,
        sid,
    )


def with_sid(name, sid, below=PEOPLE):
    return person(name, "objectClass: sambaSamAccount", "sambaSID: " + sid, below=below)


def writes_herself(name, sid):
    return "dn: %s\nchangetype: modify\nreplace: sambaSID\nsambaSID: %s\n" % (dn_of(name), sid)


@pytest.fixture
def lab(tmp_path):
    """An LDAP directory with ann and mallory."""
    entries = [unit("people"), a_domain(), with_sid("ann", OLD + "-1000"), with_sid("mallory", OLD + "-1001")]
    with Slapd(ldif=ROOT + "".join(entries)) as server:
        yield Lab(server, tmp_path / "users.db")


def of_another_domain(domain, *numbers):
    """A foreign security principal : it stands for somebody of a domain that this one trusts."""
    name = "S-1-5-%s" % "-".join(map(str, numbers))
    return domain.add(
        "CN=%s,%s" % (name, PRINCIPALS),
        {
            "objectClass": ["top", "foreignSecurityPrincipal"],
            "cn": name,
            "objectSid": tree.sid(*numbers),
            "objectGUID": tree.key(name).bytes_le,
        },
    )


@pytest.fixture
def domain():
    """An Active Directory domain with carl, and a group of him and of somebody of a domain that it trusts."""
    domain = tree.ActiveDirectory()
    domain.unit("Staff")
    domain.add(PRINCIPALS, {"objectClass": ["container"], "objectGUID": tree.key("principals").bytes_le})
    domain.group("Admins", STAFF, domain.user("carl", STAFF), of_another_domain(domain, *OTHER, 1000))
    return domain


BOB = "S-1-5-21-5-6-7-1000"


@pytest.fixture
def active_directory(domain, lab):
    with MisbehavingDirectory(domain) as server:

        def once(**more):
            usual = {
                "name": "ad",
                "user_group": "All/AD",
                **server.in_clear(),
                "distinguished_name": STAFF,
                "store": str(lab.store),
            }
            return synchronize(False, [], **{**usual, **more})

        yield once


def sids(lab):
    return dict(lab.rows("SELECT name, sid FROM users"))


@pytest.mark.parametrize("sid", [BOB, BOB.replace("21-5", "21-05"), BOB.lower()])
def test_who_writes_herself_a_sid_joins_no_group_of_another_domain(lab, active_directory, sid):
    """Finding F1."""
    lab.modify(writes_herself("mallory", sid))
    result = lab.once(**BY_SID)
    assert sids(lab) == {"ann": OLD + "-1000", "mallory": None}
    assert result["not_stored"] == [
        {"dn": dn_of("mallory"), "reason": "its sambaSID is not of this domain: it does not count"}
    ]
    result = active_directory()
    assert lab.members() == [("Admins", "carl")]
    assert result["unresolved_members"][0]["reason"] == "is a user of another domain that is not in the store"


def test_she_had_one_that_counted(lab, active_directory):
    lab.run(**BY_SID)
    assert sids(lab)["mallory"] == OLD + "-1001"
    lab.modify(writes_herself("mallory", BOB))
    for _again in range(2):
        result = lab.run(**BY_SID)
        assert sids(lab)["mallory"] is None and len(result["not_stored"]) == 1
    active_directory()
    assert lab.members() == [("Admins", "carl")]


def test_she_takes_the_sid_that_somebody_new_will_have(lab, domain, active_directory):
    """Finding F2: the one who has it by right is not left out."""
    active_directory()
    lab.modify(writes_herself("mallory", "%s-%d" % (HERE, domain._number + 1)))
    lab.once(**BY_SID)
    domain.user("dora", STAFF)
    result = active_directory()
    assert result["users"]["created"] == ["dora"] and not result["collisions"]
    assert sids(lab)["dora"] == "%s-%d" % (HERE, domain._number) and sids(lab)["mallory"] is None


def test_what_an_earlier_version_has_stored_does_not_count_either(lab, domain, active_directory):
    """Though the directory that it came from is not read any more."""
    lab.once(**BY_SID)
    active_directory()
    stored.change(lab.store, "UPDATE users SET sid = '%s-%d' WHERE name = 'mallory'" % (HERE, domain._number + 1))
    domain.user("dora", STAFF)
    assert active_directory()["users"]["created"] == ["dora"]
    other = tree.ActiveDirectory()
    other.set(tree.DOMAIN, "objectSid", tree.sid(*OTHER))
    other.user("bob", other.unit("Staff"), objectSid=tree.sid(*OTHER, 1000))
    stored.change(lab.store, "UPDATE users SET sid = '%s' WHERE name = 'ann'" % BOB)
    with MisbehavingDirectory(other) as server:
        active_directory(server=[server.ldap_url], name="other", user_group="All/Other")
    domain.set("CN=Admins," + STAFF, "description", "looked at again")
    active_directory()
    assert lab.members() == [("Admins", "bob"), ("Admins", "carl")], "bob of the trusted domain, and not ann"


def test_who_has_a_sid_by_right_is_a_member(lab, domain, active_directory):
    lab.once(**BY_SID)
    ann = of_another_domain(domain, 21, 11, 22, 33, 1000)
    domain.set("CN=Admins," + STAFF, "member", ann)
    active_directory()
    assert lab.members() == [("Admins", "ann")]


def test_an_administrator_of_a_unit_makes_a_domain_there(lab, active_directory):
    lab.modify(unit("sales") + a_domain("S-1-5-21-5-6-7", "ou=sales," + BASE, "SALES"))
    lab.modify(with_sid("eve", BOB, "ou=sales," + BASE))
    lab.once(**BY_SID)
    assert sids(lab) == {"ann": OLD + "-1000", "mallory": OLD + "-1001", "eve": None}
    active_directory()
    assert lab.members() == [("Admins", "carl")]


def test_several_domains_beside_each_other(lab):
    lab.modify(a_domain("S-1-5-21-1-1-1", name="SECOND") + with_sid("eve", "S-1-5-21-1-1-1-5"))
    lab.run(**BY_SID)
    assert sids(lab)["eve"] == "S-1-5-21-1-1-1-5" and sids(lab)["ann"] == OLD + "-1000"


def test_another_domain_comes_and_nothing_else_changes(lab):
    lab.modify(with_sid("eve", "S-1-5-21-1-1-1-5"))
    lab.run(**BY_SID)
    assert sids(lab)["eve"] is None
    lab.modify(a_domain("S-1-5-21-1-1-1", name="SECOND"))
    lab.run(**BY_SID)
    assert sids(lab)["eve"] == "S-1-5-21-1-1-1-5"
    lab.modify("dn: sambaDomainName=SECOND,%s\nchangetype: delete\n" % BASE)
    held = lab.run(**BY_SID)["held"]
    assert sids(lab)["eve"] == "S-1-5-21-1-1-1-5" and held["users"][0]["would_be"] == "without_sid", "it may be hidden"
    lab.run(**BY_SID, approved_plan=held["plan_digest"])
    assert sids(lab)["eve"] is None


@pytest.mark.parametrize(
    "sid", ["", "x", "S-1-5-21-11-22-33", "S-1-5-21-11-22-33-", "1000", "S-1-5-21-11-22-33-1000-7"]
)
def test_what_is_no_sid_of_the_domain(lab, sid):
    lab.modify(with_sid("eve", sid or "S-1"))
    result = lab.run(**BY_SID)
    assert sids(lab)["eve"] is None and [each["dn"] for each in result["not_stored"]] == [dn_of("eve")]


def test_in_active_directory_as_well(lab, domain, active_directory):
    """A server that says so is not believed: its domain has one SID."""
    domain.user("eve", STAFF, objectSid=tree.sid(*OTHER, 1000))
    result = active_directory()
    assert sids(lab)["eve"] is None
    assert result["not_stored"][0]["reason"] == "its objectSid is not of this domain: it does not count"
    assert lab.members() == [("Admins", "carl")]
