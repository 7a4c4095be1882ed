# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is missing may be hidden, and no filter of Active Directory tells: by Samba, with the rights of an ordinary
account, which are taken away and given back while entries stay as they are.
"""

from __future__ import annotations

import functools
import re
import time

import pytest
from support.changing import ForLab
from support.lab import Lab, deleted, modified

FULL, INCREMENTAL = {"read_mode": "full"}, {"read_mode": "incremental"}
MODES = pytest.mark.parametrize("mode", [FULL, INCREMENTAL], ids=["full", "incremental"])
ANYTHING = {
    "removal_limits": "100%",
    "allow_empty": True,
}

# schemaIDGUID of what is hidden, as rights name it (MS-ADA1 to MS-ADA3).
SCHEMA = {
    "accountExpires": "bf967915-0de6-11d0-a285-00aa003049e2",
    "member": "bf9679c0-0de6-11d0-a285-00aa003049e2",
    "memberOf": "bf967991-0de6-11d0-a285-00aa003049e2",
    "objectSid": "bf9679e8-0de6-11d0-a285-00aa003049e2",
    "primaryGroupID": "bf967a00-0de6-11d0-a285-00aa003049e2",
    "tokenGroups": "b7c69e6d-2cc7-11d2-854e-00a0c983f608",
    "userAccountControl": "bf967a68-0de6-11d0-a285-00aa003049e2",
}


@functools.cache
def sid_of(user, samba):
    return re.search(r"S-1-5-21-\S+", samba.samba_tool("user", "show", user, "--attributes=objectSid")).group()


class Domain(Lab):
    """An organizational unit of a test's own, read by an ordinary account whose rights the test takes away."""

    def __init__(self, samba, account, unit, store):
        super().__init__(ForLab(samba, *account), store)
        self.samba, self.unit = samba, unit
        self.reader = sid_of("ORDINARY", samba)
        self.before = {}

    def dn(self, name, below=None):
        return "CN=%s,%s" % (name, below or self.unit)

    def users(self, *names, below=None):
        self.samba.create_users(list(names), below or self.unit)

    def group(self, name, *members, kind=-2147483646):
        lines = ["dn: " + self.dn(name), "objectClass: group", "sAMAccountName: " + name, "groupType: %d" % kind]
        self.samba.modify("\n".join([*lines, *("member: " + self.dn(each) for each in members), "", ""]))

    def hide(self, name, *attributes):
        """Take the right to read these away from the account; of an organizational unit, to see it at all."""
        dn = name if "=" in name else self.dn(name)
        before = self.samba.rights(dn)
        self.before.setdefault(dn, before)
        rules = ["(OD;;RP;%s;;%s)" % (SCHEMA[attribute], self.reader) for attribute in attributes]
        # What forbids comes first.
        flags, bracket, others = before.partition("(")
        rights = [flags, *(rules or ["(D;CI;LCRPLO;;;%s)" % self.reader]), bracket, others]
        self.samba.modify(modified(dn, "replace", "nTSecurityDescriptor", "".join(rights)))

    def show(self):
        """Give all rights back."""
        for dn, rights in self.before.items():
            self.samba.modify(modified(dn, "replace", "nTSecurityDescriptor", rights))
        self.before.clear()

    def once(self, check_mode=False, **more):
        options = {"use_ldap": False, "authentication": "simple", "distinguished_name": [self.unit], **ANYTHING}
        return super().once(check_mode, **{**options, **self.server.options, **more})

    def touch(self, name):
        """Have an incremental read look at somebody."""
        self.samba.modify(modified(self.dn(name), "replace", "description", "looked at %s" % time.time()))

    def held(self, **more):
        """What two runs hold, which change nothing."""
        before = self.state()
        first, second = self.run(**more), self.run(**more)
        for what in ("users", "user_groups", "memberships"):
            assert first["held"][what] == second["held"][what]
        assert self.state() == before
        return second["held"]

    def state(self):
        return self.rows("SELECT name, enabled, extinct, sid FROM users"), self.members(), self.nestings()

    def enabled(self):
        return dict(self.rows("SELECT name, enabled FROM users WHERE extinct IS NULL"))


@pytest.fixture
def domain(samba, ordinary_account, tmp_path):
    unit = "OU=Absence,%s" % samba.base_dn
    samba.modify("dn: %s\nobjectClass: organizationalUnit\n\n" % unit)
    lab = Domain(samba, ordinary_account, unit, tmp_path / "store.db")
    yield lab
    lab.show()
    there = samba.search("(objectClass=*)", "objectClass", base=unit)
    # Users first: a group that is somebody's primary one cannot be removed.
    dns = sorted(there, key=lambda dn: ("user" not in there[dn]["objectClass"], -len(dn)))
    samba.modify("".join(map(deleted, dns)))


def names_of(held):
    return [each["member"] for each in held["memberships"]]


# --- member lists ----------------------------------------------------------------------------------------------------


@MODES
def test_a_list_that_is_hidden_ends_no_membership(domain, mode):
    """B3. Back links say that the list is not empty."""
    domain.users("anke", "bodo", "cleo")
    domain.group("Vault", "anke", "bodo")
    domain.group("Hall", "anke", "cleo")
    domain.run()
    domain.hide("Vault", "member")
    domain.touch("Vault")
    held = domain.held(**mode)
    if mode is FULL:  # else it is told, value by value, what left the list: nothing
        assert names_of(held) == ["anke", "bodo"]
        assert "others say in memberOf" in held["memberships"][0]["reason"]
    assert domain.members() == [("Hall", "anke"), ("Hall", "cleo"), ("Vault", "anke"), ("Vault", "bodo")]
    domain.show()
    assert domain.run(**mode)["held"]["memberships"] == []
    domain.samba.modify(modified(domain.dn("Vault"), "delete", "member", domain.dn("anke")))
    domain.run(**mode)
    assert domain.members() == [("Hall", "anke"), ("Hall", "cleo"), ("Vault", "bodo")]


@MODES
def test_a_list_that_is_emptied_is_emptied(domain, mode):
    """The one is in no other group: his memberOf shows nothing, and his tokenGroups show that he is not in this one."""
    domain.users("anke", "bodo", "cleo")
    domain.group("Vault", "anke", "bodo")
    domain.group("Hall", "anke")
    domain.run()
    domain.samba.modify(modified(domain.dn("Vault"), "replace", "member"))
    result = domain.run(**mode)
    assert result["held"]["memberships"] == [] and domain.members() == [("Hall", "anke")]
    assert result["read"]["mode"] == mode["read_mode"]


def test_a_list_that_is_hidden_and_so_are_back_links(domain):
    domain.users("anke", "bodo")
    domain.group("Vault", "anke", "bodo")
    domain.run()
    domain.hide("Vault", "member")
    domain.hide("anke", "memberOf")
    domain.hide("bodo", "memberOf")
    held = domain.held(**FULL)
    assert names_of(held) == ["anke", "bodo"], "they have the group among their tokenGroups"
    assert "nothing tells whether it is" in held["memberships"][0]["reason"]
    domain.samba.modify(modified(domain.dn("Vault"), "delete", "member", domain.dn("anke")))
    domain.run(**FULL)
    assert domain.members() == [("Vault", "bodo")], "and she has not any more"
    domain.hide("bodo", "tokenGroups")
    domain.samba.modify(modified(domain.dn("Vault"), "delete", "member", domain.dn("bodo")))
    assert names_of(domain.held(**FULL)) == ["bodo"], "nothing tells of him"
    digest = domain.once(True, **FULL)["held"]["plan_digest"]
    domain.once(**FULL, approved_plan=digest)
    assert domain.members() == []


def test_an_empty_distribution_group(domain):
    """These are in nobody's tokenGroups."""
    domain.users("anke", "bodo")
    domain.group("Postal", "anke", "bodo", kind=2)
    domain.group("Hall", "anke")
    domain.run()
    domain.samba.modify(modified(domain.dn("Postal"), "replace", "member"))
    domain.run(**FULL)
    assert names_of(domain.held(**FULL)) == ["bodo"], "anke's memberOf shows another group, so it can be read"


def test_a_nested_group_whose_parent_is_hidden(domain):
    domain.users("anke")
    domain.group("Core", "anke")
    domain.group("Shell", "Core")
    domain.group("Rim", "Core")
    domain.run()
    domain.hide("Shell", "member")
    assert names_of(domain.held(**FULL)) == ["All/Staff/Core"]
    domain.show()
    domain.samba.modify(modified(domain.dn("Shell"), "replace", "member"))
    domain.run(**FULL)
    assert domain.nestings() == [("Rim", "Core")]


def test_who_is_in_scope_by_a_list_that_is_hidden(domain):
    below = "CN=Users,%s" % domain.samba.base_dn
    domain.users("anke")
    domain.users("oleg", below=below)
    try:
        domain.group("Vault", "anke")
        domain.samba.modify(modified(domain.dn("Vault"), "add", "member", domain.dn("oleg", below)))
        domain.run()
        domain.hide("Vault", "member")
        held = domain.held(**FULL)
        assert [each["name"] for each in held["users"]] == ["oleg"] and domain.enabled() == {"anke": 1, "oleg": 1}
        domain.show()
        domain.samba.modify(modified(domain.dn("Vault"), "delete", "member", domain.dn("oleg", below)))
        assert domain.run(**FULL)["users"]["extinct"] == ["oleg"]
    finally:
        domain.samba.modify(deleted(domain.dn("oleg", below)))


# --- primary groups --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hidden_of", "attribute"), [("dina", "primaryGroupID"), ("Pupils", "objectSid")])
def test_a_primary_group_that_is_hidden(domain, hidden_of, attribute):
    domain.users("dina", "anke")
    domain.group("Pupils", "dina")
    pupils = domain.dn("Pupils")
    (rid,) = domain.samba.search("(cn=Pupils)", "primaryGroupToken", base=pupils)[pupils]["primaryGroupToken"]
    domain.samba.modify(modified(domain.dn("dina"), "replace", "primaryGroupID", rid))
    domain.run()
    assert domain.members() == [("Pupils", "dina")]
    domain.hide(hidden_of, attribute)
    assert names_of(domain.held(**FULL)) == ["dina"]
    domain.show()
    assert not domain.run(**FULL)["changed"]
    domain.samba.modify(modified(domain.dn("dina"), "replace", "primaryGroupID", "513"))
    domain.samba.modify(modified(domain.dn("Pupils"), "replace", "member"))
    domain.run(**FULL)
    assert domain.members() == []


# --- states and SIDs -------------------------------------------------------------------------------------------------

YESTERDAY = int((time.time() - 86400 + 11644473600) * 10_000_000)  # FILETIME, MS-DTYP 2.3.3


@MODES
@pytest.mark.parametrize(
    ("attribute", "value", "before"),
    [("accountExpires", YESTERDAY, "0"), ("userAccountControl", 546, "544")],
)
def test_a_state_that_is_hidden_enables_nobody(domain, attribute, value, before, mode):
    """A1. Everybody has both, so that who shows none has a hidden one."""
    domain.users("anke", "bodo")
    domain.samba.modify(modified(domain.dn("anke"), "replace", attribute, value))
    domain.run()
    assert domain.enabled() == {"anke": 0, "bodo": 1}
    for name in ("anke", "bodo"):
        domain.hide(name, attribute)
        domain.touch(name)
    held = domain.held(**mode)
    why = "its %s cannot be read" % attribute
    assert held["users"] == [{"name": "anke", "would_be": "enabled", "reason": why}]
    assert len(domain.once(True, **mode)["not_stored"]) == 2, "also that bodo may have been disabled is said"
    domain.show()
    assert domain.run(**mode)["held"]["users"] == [] and domain.enabled() == {"anke": 0, "bodo": 1}
    domain.samba.modify(modified(domain.dn("anke"), "replace", attribute, before))
    assert domain.run(**mode)["users"]["enabled"] == ["anke"]


@MODES
def test_a_newcomer_whose_state_is_hidden(domain, mode):
    domain.users("anke")
    domain.run()
    domain.users("zora")
    domain.hide("zora", "userAccountControl")
    domain.run(**mode)
    assert domain.enabled() == {"anke": 1, "zora": 0}
    assert [each["name"] for each in domain.held(**mode)["users"]] == ["zora"]
    domain.show()
    domain.touch("zora")
    assert domain.run(**mode)["users"]["enabled"] == ["zora"]


def test_a_sid_that_is_hidden(domain):
    domain.users("anke")
    domain.run()
    domain.hide("anke", "objectSid")
    assert [(each["name"], each["would_be"]) for each in domain.held(**FULL)["users"]] == [("anke", "without_sid")]


# --- who is in scope -------------------------------------------------------------------------------------------------


@MODES
def test_who_is_hidden_and_still_named_in_a_list(domain, mode):
    """R4. A list forgets who is deleted."""
    dark = "OU=Dark,%s" % domain.unit
    domain.samba.modify("dn: %s\nobjectClass: organizationalUnit\n\n" % dark)
    domain.users("anke", "cleo")
    domain.users("dirk", "elke", below=dark)
    domain.group("Vault", "anke", "cleo")
    domain.samba.modify(modified(domain.dn("Vault"), "add", "member", domain.dn("dirk", dark)))
    domain.run()
    assert domain.enabled() == {"anke": 1, "cleo": 1, "dirk": 1, "elke": 1}
    domain.hide(dark)
    domain.samba.modify(deleted(domain.dn("cleo")))
    domain.touch("Vault")
    result = domain.run(**FULL)
    assert result["users"]["extinct"] == ["cleo", "elke"], "cleo is deleted; nobody names elke, which no one can tell"
    assert [each["name"] for each in result["held"]["users"]] == ["dirk"]
    domain.touch("Vault")
    assert [each["name"] for each in domain.held(**mode)["users"]] == ["dirk"]
    assert domain.members() == [("Vault", "anke"), ("Vault", "dirk")]
    domain.samba.modify(deleted(domain.dn("dirk", dark)))
    result = domain.run(**mode)
    assert result["users"]["extinct"] == ["dirk"] and domain.members() == [("Vault", "anke")]


def test_a_filter_whose_attribute_is_hidden(domain):
    options = {"user_filter": "(userAccountControl=544)", **FULL}
    domain.users("anke", "bodo")
    domain.run(**options)
    domain.hide("anke", "userAccountControl")
    held = domain.held(**options)
    assert [(each["name"], each["would_be"]) for each in held["users"]] == [("anke", "extinct")]
