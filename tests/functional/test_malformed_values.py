# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each attribute that is read, and values that it should never have: no value of one entry ends a run.

The value is reported, the rest goes on, and what the value would have decided stays as it is stored. Each case is a
first run with a good value; then ann (or the group) has a bad one, somebody else leaves, and a newcomer has the same
bad value; then they are mended.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from support import tree
from support.lab import synchronize
from support.misbehaving import LOGIN, PASSWORD, MisbehavingDirectory
from support.stored import rows

NO_LIMITS = dict.fromkeys(("users", "user_groups", "memberships", "attributes", "renames", "states"), "100%")
HUGE = b"9" * 5000
BYTES = b"\xff\xfe"  # no UTF-8
NUL = b"a\0b"

NO_NUMBERS = (b"", b"x", b"0x200", b"1.5", HUGE, b"-" + HUGE, BYTES, NUL, "٣".encode(), b" 512")
NO_TIMES = (b"", b"x", b"2024-01-01T00:00:00+00:00", b"20241399000000Z", HUGE, BYTES, NUL)
NO_TEXTS = (BYTES, b"\xed\xa0\x80")
NO_SIDS = (b"", b"x", b"\x01\x05", b"\xff" * 28, HUGE)


class Kind(NamedTuple):
    """A type of directory, as the misbehaving one serves it."""

    options: dict[str, Any]
    make: Any
    unit: str
    user: dict[str, Any]  # attributes of users beside the usual ones
    members: Any  # what a list says of a user


AD = Kind(
    {"login": LOGIN},
    tree.Controller,
    "OU=Staff," + tree.DOMAIN,
    {},
    lambda name: "CN=%s,OU=Staff,%s" % (name, tree.DOMAIN),
)


def of_openldap(preset, user, members=lambda name: "uid=%s,ou=people,%s" % (name, tree.SUFFIX)):
    options = {"use_ldap": True, "login": "cn=sync", "ldap_parameters": {"preset": preset}}
    return Kind(options, tree.OpenLDAP, "ou=people," + tree.SUFFIX, user, members)


OPENLDAP = of_openldap("openldap", {})
POSIX = of_openldap("rfc2307", {"objectClass": ["posixAccount"], "gidNumber": "5"}, lambda name: name)
SAMBA = of_openldap(
    "openldap_samba",
    {"objectClass": ["sambaSamAccount"], "gidNumber": "5", "sambaSID": "S-1-5-21-1-2-3-%(number)d"},
    lambda name: name,
)
APPLE = of_openldap(
    "open_directory",
    {"objectClass": ["apple-user"], "apple-generateduid": "KEY-%(name)s"},
    lambda name: "KEY-" + name,
)
IPA_LIKE = of_openldap("389ds", {"nsUniqueId": "%(name)s-1-2-3"})


class Directory:
    """One directory of a kind, with ann, bob and leaver, who are of the crew."""

    def __init__(self, kind: Kind) -> None:
        self.kind, self.tree, self.count = kind, kind.make(), 1000
        self.tree.unit(kind.unit.partition(",")[0].partition("=")[2])
        if kind is SAMBA:
            domain = {"objectClass": ["sambaDomain"], "sambaSID": "S-1-5-21-1-2-3"}
            self.tree.add("sambaDomainName=OLD," + tree.SUFFIX, domain)
        for name in ("ann", "bob", "leaver"):
            self.user(name)
        self.crew = self.group("crew", "ann", "bob", "leaver")

    def user(self, name: str) -> str:
        self.count += 1
        more = {
            attribute: value % {"name": name, "number": self.count} if isinstance(value, str) else value
            for attribute, value in self.kind.user.items()
        }
        return self.tree.user(name, self.kind.unit, **more)

    def group(self, name: str, *members: str) -> str:
        group = self.tree.group(name, self.kind.unit, *map(self.kind.members, members))
        if listing(self.kind) == "member":
            if self.kind is IPA_LIKE:
                self.tree.set(group, "nsUniqueId", "group-" + name)
            return group
        classes = {"rfc2307": "posixGroup", "openldap_samba": "sambaGroupMapping", "open_directory": "apple-group"}
        self.tree.set(group, "objectClass", classes[name_of(self.kind)])
        self.tree.set(group, listing(self.kind), *map(self.kind.members, members))
        self.tree.set(group, "member")
        self.tree.set(group, "gidNumber", "7")
        self.tree.set(group, "sambaSID", "S-1-5-21-1-2-3-7")
        self.tree.set(group, "apple-generateduid", "KEY-group " + name)
        return group

    def dn(self, name: str) -> str:
        return self.crew if name == "crew" else tree_dn(self.kind, name)


def name_of(kind: Kind) -> str:
    return kind.options.get("ldap_parameters", {"preset": "ad"})["preset"]


def listing(kind: Kind) -> str:
    """The attribute of a group that lists its members."""
    if name_of(kind) in ("rfc2307", "openldap_samba"):
        return "memberUid"
    return "apple-group-memberguid" if name_of(kind) == "open_directory" else "member"


def tree_dn(kind: Kind, name: str) -> str:
    return "%s=%s,%s" % ("CN" if kind is AD else "uid", name, kind.unit)


@pytest.fixture
def company(tmp_path):
    @contextmanager
    def begin(kind: Kind):
        directory = Directory(kind)
        with MisbehavingDirectory(directory.tree) as server:
            server.logins["cn=sync"] = PASSWORD
            directory.store = tmp_path / "users.db"

            def run(**more):
                usual = {
                    "name": "staff",
                    "user_group": "All/Staff",
                    "server": [server.ldap_url],
                    "encryption": "none",
                    "password": PASSWORD,
                    "store": str(directory.store),
                    "removal_limits": NO_LIMITS,
                    "user_extinction": "delete",
                    **kind.options,
                }
                return synchronize(False, [], **{**usual, **more})

            directory.run = run
            yield directory

    return begin


def record(store, name):
    """What users see of somebody."""
    found = rows(
        store,
        "SELECT u.name, u.enabled, u.extinct, u.sid, u.attributes, group_concat(g.name) FROM users u"
        " LEFT JOIN memberships m ON m.user_id = u.id LEFT JOIN user_groups g ON g.id = m.user_group_id"
        " WHERE u.name = ? GROUP BY u.id",
        name,
    )
    return [(*row[:4], json.loads(row[4]), row[5]) for row in found]


# kind, attribute, values, what is reported ('' where nothing is, since it only helps), whether a newcomer is enabled
STATE = [
    (AD, "userAccountControl", NO_NUMBERS),
    (AD, "accountExpires", NO_NUMBERS),
    (OPENLDAP, "shadowExpire", NO_NUMBERS),
    (POSIX, "shadowExpire", NO_NUMBERS),
    (SAMBA, "shadowExpire", NO_NUMBERS),
]
# Whatever stands in these, something is said by it: no value is malformed.
ANYTHING_GOES = [
    (OPENLDAP, "pwdAccountLockedTime", (b"", b"x", HUGE, BYTES, NUL)),
    (POSIX, "nsAccountLock", (b"", b"x", HUGE, BYTES, NUL)),
    (IPA_LIKE, "nsAccountLock", (b"", b"x", HUGE, BYTES, NUL)),
    (SAMBA, "sambaAcctFlags", (b"", b"x", HUGE, BYTES, NUL)),
    (APPLE, "authAuthority", (b"", b"x", HUGE, BYTES, NUL)),
]


def each(table):
    return [
        pytest.param(kind, attribute, value, id="%s-%s-%.12r" % (name_of(kind), attribute, value))
        for kind, attribute, values in table
        for value in values
    ]


def changes(directory, attribute, value):
    """Ann and a newcomer have the value, and somebody leaves."""
    directory.tree.set(directory.dn("ann"), attribute, value)
    directory.tree.set(directory.user("newt"), attribute, value)
    members = map(directory.kind.members, ("ann", "bob", "newt"))
    directory.tree.set(directory.crew, listing(directory.kind), *members)
    directory.tree.remove(directory.dn("leaver"))


def reported(result, dn):
    return [each["reason"] for each in result["not_stored"] if each["dn"] == dn]


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize(("kind", "attribute", "value"), each(STATE))
def test_a_state_that_nothing_can_be_told_by(company, kind, attribute, value, enabled):
    """Finding D2: she stays as she was, whichever that is, and a newcomer is not enabled by that."""
    good = {"userAccountControl": (b"512", b"514"), "accountExpires": (b"0", b"116444736000000001")}
    with company(kind) as directory:
        was = good.get(attribute, (b"-1", b"1"))[not enabled]
        directory.tree.set(directory.dn("ann"), attribute, was)
        directory.run()
        before = record(directory.store, "ann")
        assert before[0][1] == enabled
        changes(directory, attribute, value)
        for _again in range(2):
            result = directory.run()
            assert record(directory.store, "ann") == before
            assert record(directory.store, "leaver") == []
            assert record(directory.store, "newt")[0][1] == 0
            said = ["its %s is malformed: whether it is enabled stays as it is" % attribute]
            assert reported(result, directory.dn("ann")) == reported(result, directory.dn("newt")) == said
        if kind is AD:
            assert result["read"]["mode"] == "incremental"
            assert not directory.run(read_mode="full")["changed"]
        for name in ("ann", "newt"):
            directory.tree.set(directory.dn(name), attribute, good.get(attribute, (b"-1", b"1"))[0])
        result = directory.run()
        assert result["not_stored"] == []
        assert record(directory.store, "ann")[0][1] == record(directory.store, "newt")[0][1] == 1


@pytest.mark.parametrize(("kind", "attribute", "value"), each(ANYTHING_GOES))
def test_a_state_of_which_every_value_says_something(company, kind, attribute, value):
    with company(kind) as directory:
        directory.run()
        before = record(directory.store, "ann")
        changes(directory, attribute, value)
        result = directory.run()
        assert record(directory.store, "ann") == before and record(directory.store, "leaver") == []
        assert not result["not_stored"]


def test_one_attribute_that_disables_is_enough(company):
    """Who writes himself nonsense into one attribute is not kept enabled by it."""
    with company(SAMBA) as directory:
        directory.run()
        directory.tree.set(directory.dn("ann"), "shadowExpire", HUGE)
        directory.tree.set(directory.dn("ann"), "sambaAcctFlags", "[DU ]")
        result = directory.run()
        assert record(directory.store, "ann")[0][1] == 0 and not result["not_stored"]


@pytest.mark.parametrize("kind", [AD, OPENLDAP, POSIX, SAMBA, APPLE, IPA_LIKE], ids=name_of)
@pytest.mark.parametrize("value", NO_TIMES, ids=lambda value: "%.12r" % value)
def test_a_time_that_only_orders_collisions(company, kind, value):
    attribute = "whenCreated" if kind is AD else "createTimestamp"
    with company(kind) as directory:
        directory.run()
        before = record(directory.store, "ann")
        changes(directory, attribute, value)
        directory.tree.set(directory.crew, attribute, value)
        result = directory.run()
        assert record(directory.store, "ann") == before and record(directory.store, "leaver") == []
        assert record(directory.store, "newt") and not result["not_stored"]


@pytest.mark.parametrize(
    ("kind", "attribute", "value"),
    each([(SAMBA, "sambaSID", NO_SIDS), (AD, "objectSid", (b"", b"x", b"\x01\x05", b"\xff" * 28, HUGE))]),
)
def test_a_sid_that_is_none(company, kind, attribute, value):
    with company(kind) as directory:
        directory.run()
        before = record(directory.store, "ann")
        assert before[0][3].startswith("S-1-5-21-")
        changes(directory, attribute, value)
        for _again in range(2):
            result = directory.run()
            assert record(directory.store, "ann") == before
            assert record(directory.store, "leaver") == [] and record(directory.store, "newt")[0][3] is None
            said = ["its %s is malformed: its SID stays as it is" % attribute]
            assert reported(result, directory.dn("ann")) == reported(result, directory.dn("newt")) == said


@pytest.mark.parametrize("kind", [AD, OPENLDAP], ids=name_of)
@pytest.mark.parametrize("value", NO_TEXTS)
@pytest.mark.parametrize(
    ("attribute", "field", "more"),
    [("mail", "email", {}), ("l", "town", {"user_attributes": {"town": "l"}})],
)
def test_a_field_that_is_no_text(company, kind, value, attribute, field, more):
    with company(kind) as directory:
        directory.tree.set(directory.dn("ann"), attribute, "good")
        directory.run(**more)
        before = record(directory.store, "ann")
        assert before[0][4][field] in ("good", ["good"])
        changes(directory, attribute, value)
        directory.tree.set(directory.dn("ann"), "displayName", "Ann is new")
        result = directory.run(**more)
        ((*_others, attributes, _groups),) = record(directory.store, "ann")
        assert attributes == {**before[0][4], "display_name": "Ann is new"}
        assert field not in record(directory.store, "newt")[0][4] and record(directory.store, "leaver") == []
        said = ["its %s is not UTF-8: the field '%s' stays as it is" % (attribute, field)]
        assert reported(result, directory.dn("ann")) == said
        assert not directory.run(**more)["changed"]


@pytest.mark.parametrize("kind", [AD, OPENLDAP], ids=name_of)
@pytest.mark.parametrize("value", [*NO_TEXTS, NUL, b" ", b""])
def test_a_name_that_is_none(company, kind, value):
    attribute = "sAMAccountName" if kind is AD else "uid"
    with company(kind) as directory:
        directory.run()
        before = record(directory.store, "ann")
        changes(directory, attribute, value)
        result = directory.run()
        assert record(directory.store, "ann") == before
        assert record(directory.store, "leaver") == [] and record(directory.store, "newt") == []
        assert reported(result, directory.dn("ann")) and reported(result, directory.dn("newt"))


@pytest.mark.parametrize("kind", [AD, OPENLDAP, POSIX], ids=name_of)
@pytest.mark.parametrize("value", NO_TEXTS)
def test_a_group_whose_fields_or_name_are_no_text(company, kind, value):
    with company(kind) as directory:
        directory.tree.set(directory.crew, "description", "the crew")
        directory.run()
        groups = rows(directory.store, "SELECT name, attributes FROM user_groups WHERE name = 'crew'")
        assert "the crew" in groups[0][1]
        for attribute in ("description", "sAMAccountName" if kind is AD else "cn"):
            directory.tree.set(directory.crew, attribute, value)
        directory.tree.remove(directory.dn("leaver"))
        result = directory.run()
        assert rows(directory.store, "SELECT name, attributes FROM user_groups WHERE name = 'crew'") == groups
        assert len(reported(result, directory.crew)) == 2
        assert record(directory.store, "leaver") == []


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_a_group_type_that_is_none(company, value):
    with company(AD) as directory:
        directory.run()
        directory.tree.set(directory.crew, "groupType", value)
        directory.tree.remove(directory.dn("leaver"))
        assert not directory.run()["not_stored"]
        assert record(directory.store, "leaver") == [] and record(directory.store, "ann")[0][5] == "crew"


@pytest.mark.parametrize("value", NO_SIDS)
def test_a_group_whose_sid_is_none(company, value):
    """Whose primary group it was stays a member; who leaves the list does not come to an end by that either."""
    with company(AD) as directory:
        group = directory.group("primary")
        number = int.from_bytes(directory.tree[group]["objectsid"][0][-4:], "little")
        directory.tree.set(directory.dn("bob"), "primaryGroupID", str(number))
        directory.run()
        assert sorted(record(directory.store, "bob")[0][5].split(",")) == ["crew", "primary"]
        directory.tree.set(group, "objectSid", value)
        directory.tree.remove(directory.dn("leaver"))
        for mode in ("auto", "full"):
            result = directory.run(read_mode=mode)
            assert sorted(record(directory.store, "bob")[0][5].split(",")) == ["crew", "primary"]
            assert reported(result, group) == [
                "its objectSid is malformed: nobody who has it as primary group is removed"
            ]
        assert record(directory.store, "leaver") == []


@pytest.mark.parametrize("kind", [AD, POSIX, SAMBA], ids=name_of)
@pytest.mark.parametrize("value", [*NO_NUMBERS, b"513)(cn=*"])
def test_a_primary_group_that_is_none(company, kind, value):
    """It leads to no group, and takes from nobody but who has it: no membership of a list ends."""
    attribute = "primaryGroupID" if kind is AD else "gidNumber"
    with company(kind) as directory:
        directory.run()
        before = record(directory.store, "ann")
        changes(directory, attribute, value)
        for mode in ("auto", "full"):
            directory.run(read_mode=mode)
            assert record(directory.store, "ann") == before and record(directory.store, "leaver") == []
            assert record(directory.store, "newt")[0][5] == "crew"
