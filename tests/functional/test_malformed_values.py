# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each attribute that is read, and values that it should never have: no value of one entry ends a run.

The value is reported, the rest goes on, and what the value would have decided stays as it is stored. Each case is a
first run with a good value; then ann (or the group) has a bad one, somebody else leaves, and a newcomer has the same
bad value; then they are mended.
"""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory import presets
from ansible_collections.usersync.directory.plugins.module_utils._directory.uses import HELPS, USES, attributes_by_use
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from support import tree
from support.lab import (
    BASE,
    PEOPLE,
    ROOT,
    Lab,
    deleted,
    dn_of,
    group,
    modified,
    person,
    posix,
    posix_group,
    renamed,
    synchronize,
    unit,
)
from support.misbehaving import LOGIN, PASSWORD, MisbehavingDirectory
from support.slapd import Slapd
from support.stored import rows
from support.two_stores import must_be_equal

pytestmark = pytest.mark.a_third

NO_LIMITS = "100%"
HUGE = b"9" * 5000
BYTES = b"\xff\xfe"  # no UTF-8
NUL = b"a\0b"

NO_NUMBERS = (b"", b"x", b"0x200", b"1.5", HUGE, b"9" * 21, b"-" + HUGE, BYTES, NUL, "٣".encode(), b" 512")
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
IPA_UNIT = "cn=accounts," + tree.SUFFIX
IPA = of_openldap(
    "freeipa",
    {"objectClass": ["posixAccount"], "ipaUniqueID": "%(name)s-1-2-3"},
    lambda name: "uid=%s,%s" % (name, IPA_UNIT),
)._replace(unit=IPA_UNIT)
OPENDJ, LLDAP, APACHEDS = (of_openldap(preset, {}) for preset in ("opendj", "lldap", "apacheds"))
EDIRECTORY = of_openldap("edirectory", {"GUID": "%(number)016d"})
UNIVENTION = of_openldap("univention", {"objectClass": ["posixAccount"], "univentionObjectType": "users/user"})


class Directory:
    """One directory of a kind, with ann, bob and leaver, who are of the crew."""

    def __init__(self, kind: Kind) -> None:
        self.kind, self.tree, self.count = kind, kind.make(), 1000
        if kind is IPA:
            self.tree.add(IPA_UNIT, {"objectClass": ["nsContainer"], "nsUniqueId": "accounts-1-2-3"})
        else:
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
            if name_of(self.kind) == "389ds":
                self.tree.set(group, "nsUniqueId", "group-" + name)
            if name_of(self.kind) == "edirectory":
                self.count += 1
                self.tree.set(group, "GUID", "%016d" % self.count)
            if name_of(self.kind) == "freeipa":
                self.tree.set(group, "ipaUniqueID", "group-" + name)
                self.tree.set(group, "objectClass", "ipaUserGroup")
            return group
        classes = {
            "rfc2307": "posixGroup",
            "openldap_samba": "sambaGroupMapping",
            "open_directory": "apple-group",
            "univention": "univentionGroup",
        }
        self.tree.set(group, "objectClass", classes[name_of(self.kind)])
        self.tree.set(group, listing(self.kind), *map(self.kind.members, members))
        self.tree.set(group, "member")
        self.tree.set(group, "gidNumber", "7")
        self.tree.set(group, "sambaSID", "S-1-5-21-1-2-3-7")
        self.tree.set(group, "apple-generateduid", "KEY-group " + name)
        return group

    def outsider(self, *members: str) -> None:
        """Have somebody in the crew who lies outside of what tests select."""
        if not hasattr(self, "other_unit"):
            self.other_unit = self.tree.unit("others")
            inside, outside = self.kind.unit, self.other_unit
            self.kind = self.kind._replace(unit=outside)
            self.out = self.user("out")
            self.kind = self.kind._replace(unit=inside)
        out = self.out if listing(self.kind) == "member" else self.kind.members("out")
        self.tree.set(self.crew, listing(self.kind), out, *map(self.kind.members, members))

    def dn(self, name: str) -> str:
        if name == "new group":
            return "%s=new,%s" % ("CN" if name_of(self.kind) == "ad" else "cn", self.kind.unit)
        return tree_dn(self.kind, name)


def name_of(kind: Kind) -> str:
    return kind.options.get("ldap_parameters", {"preset": "ad"})["preset"]


def listing(kind: Kind) -> str:
    """The attribute of a group that lists its members."""
    if name_of(kind) in ("rfc2307", "openldap_samba"):
        return "memberUid"
    return {"open_directory": "apple-group-memberguid", "univention": "uniqueMember"}.get(name_of(kind), "member")


def tree_dn(kind: Kind, name: str) -> str:
    return "%s=%s,%s" % ("CN" if name_of(kind) == "ad" else "uid", name, kind.unit)


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

            directory.run, directory.server = run, server
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


# What nobody is told of, though it decides: whatever stands there, it says something.
NEVER_MALFORMED = {
    "authauthority",
    "ds-pwp-account-disabled",
    "logindisabled",
    "nsaccountlock",
    "pwdaccountlockedtime",
    "sambaacctflags",
}
OF_EACH_PRESET = [AD, OPENLDAP, POSIX, SAMBA, APPLE, IPA_LIKE, IPA, OPENDJ, LLDAP, APACHEDS, EDIRECTORY, UNIVENTION]


def test_no_preset_is_left_out():
    assert {name_of(kind) for kind in OF_EACH_PRESET} == {"ad", *presets.LDAP_PRESETS}


@pytest.mark.parametrize("kind", OF_EACH_PRESET, ids=name_of)
def test_each_attribute_of_each_preset(company, kind):
    """By the table in `uses`: what helps ends no read, and nobody is told of it. What decides is held."""
    preset = presets.PRESETS["active_directory" if kind is AD else name_of(kind)]
    uses = [(use, name) for use, names in attributes_by_use(preset).items() for name in names]
    with company(kind) as directory:
        users = {use: directory.user("u%d" % number) for number, use in enumerate(uses)}
        groups = {use: directory.group("g%d" % number, "bob") for number, use in enumerate(uses)}
        for use, name in uses:
            for entry in (users[use, name], groups[use, name]) if use == "field" and name != preset.user_name else ():
                directory.tree.set(entry, name, "good")
        list_in_crew(directory, "bob", *("u%d" % number for number in range(len(uses))))

        def stored():
            people = {"%s %s" % use: record(directory.store, "u%d" % number) for number, use in enumerate(uses)}
            groups = "SELECT name, attributes, dn FROM user_groups ORDER BY dn"
            bobs = sorted(record(directory.store, "bob")[0][5].split(","))
            return {**people, "groups": rows(directory.store, groups), "bob": bobs}

        directory.run()
        before = stored()
        assert all(before.values()) and len(before["bob"]) == len(uses) + 1
        for use, name in uses:
            if use != "type" or kind is AD:  # elsewhere it is objectClass, which makes a user of an entry
                directory.tree.set(users[use, name], name, BYTES)
                list_of_bob = [kind.members("bob")] if use == "members" else []
                directory.tree.set(groups[use, name], name, *list_of_bob, BYTES)
        directory.tree.remove(directory.dn("leaver"))
        for mode in ("auto", "full"):
            result = directory.run(read_mode=mode)
            must_be_equal(stored(), before)
            assert record(directory.store, "leaver") == []
            told = {entry["dn"] for entry in result["not_stored"]}
            told |= {groups[use] for use in uses if use[0] == "members" and result["unresolved_members"]}
            helping = {use for use in uses if USES[use[0]].kind == HELPS}
            assert not told & {entries[use] for use in helping for entries in (users, groups)}
            read_of_users = {
                name.lower() for name in (preset.user_key, preset.user_name, *preset.state, preset.sid or "")
            }
            read_of_users.update(name.lower() for names in preset.user_fields.values() for name in names)
            for use, name in uses:
                if use in ("key", "name", "sid", "state", "field") and name.lower() in read_of_users - NEVER_MALFORMED:
                    assert users[use, name] in told, (use, name)


def test_a_state_that_another_synchronization_writes(company):
    """Of whom nothing can be told, the other one says nothing."""
    with company(OPENLDAP) as directory:
        second = {"name": "second", "user_group": "All/Second"}
        directory.run()
        directory.run(**second)
        disable(directory, "ann")
        directory.run()
        directory.tree.set(directory.dn("ann"), "shadowExpire", HUGE)
        directory.tree.move(directory.dn("ann"), directory.dn("anna"))  # so that it looks at her
        directory.run(**second)
        said = "SELECT c.disabled FROM claims c JOIN users u ON u.id = c.user_id WHERE u.name = 'ann' ORDER BY 1"
        assert rows(directory.store, said) == [(None,), (None,)] and record(directory.store, "ann")[0][1] == 0


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
@pytest.mark.parametrize("value", [*NO_NUMBERS, b"513)(cn=*", b"9" * 1000000], ids=lambda value: "%.12r" % value)
def test_a_primary_group_that_is_none(company, kind, value):
    """It leads to no group, and takes from nobody but who has it: no membership of a list ends."""
    attribute = "primaryGroupID" if kind is AD else "gidNumber"
    with company(kind) as directory:
        directory.run()
        before = record(directory.store, "ann")
        changes(directory, attribute, value)
        for mode in ("auto", "full"):
            result = directory.run(read_mode=mode)
            assert kind is not AD or result["read"]["mode"] == {"auto": "incremental"}.get(mode, mode)
            assert longest_request(directory) < MOST_THAT_SERVERS_TAKE
            assert record(directory.store, "ann") == before and record(directory.store, "leaver") == []
            assert record(directory.store, "newt")[0][5] == "crew"


# --- whose entry it is -----------------------------------------------------------------------------------------------

KEYS = [
    (AD, "objectGUID", (b"", b"short", b"x" * 17)),
    (OPENLDAP, "entryUUID", (b"", b" ", BYTES, NUL, b"k" * 2000, b"@key", b"#key", b"path:All", b"name:crew")),
    (APPLE, "apple-generateduid", (b"", BYTES, b"k" * 1000000)),
    (IPA_LIKE, "nsUniqueId", (b"", b"#key")),
]
KINDS = [AD, OPENLDAP, POSIX, APPLE, IPA_LIKE]
key_of_kind = {name_of(kind): attribute for kind, attribute, _values in KEYS} | {"rfc2307": "entryUUID"}
LEFT_OUT = ": it is left out, and whom it may mean stays as stored"
TAKEN_FOR = ": it is taken for who was there in the last run"


def disable(directory, name):
    attribute, value = {
        "ad": ("userAccountControl", "514"),
        "389ds": ("nsAccountLock", "TRUE"),
        "open_directory": ("authAuthority", ";DisabledUser;"),
    }.get(name_of(directory.kind), ("shadowExpire", "1"))
    directory.tree.set(directory.dn(name), attribute, value)


def list_in_crew(directory, *names):
    directory.tree.set(directory.crew, listing(directory.kind), *map(directory.kind.members, names))


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize(("kind", "attribute", "value"), each(KEYS))
def test_a_key_that_is_none(company, kind, attribute, value, mode):
    """Whose entry is where it was is known all the same: what else it says counts. A newcomer is left out."""
    with company(kind) as directory:
        directory.run()
        before = record(directory.store, "ann")
        good = directory.tree[directory.dn("ann")][attribute.lower()]
        changes(directory, attribute, value)
        if kind is APPLE:  # whose lists go by the key
            list_in_crew(directory, "ann", "bob")
        for _again in range(2):
            result = directory.run(read_mode=mode)
            assert record(directory.store, "ann") == before
            assert record(directory.store, "leaver") == record(directory.store, "newt") == []
            said = "its %s is no stable key" % attribute
            assert reported(result, directory.dn("ann")) == [said + TAKEN_FOR]
            assert reported(result, directory.dn("newt")) == [said + LEFT_OUT]
        disable(directory, "ann")
        directory.run(read_mode=mode)
        assert record(directory.store, "ann")[0][1] == 0
        directory.tree.set(directory.dn("ann"), attribute, *good)
        directory.tree.set(directory.dn("newt"), attribute, good[0][:-1] + b"0")
        assert directory.run(read_mode=mode)["not_stored"] == [] and record(directory.store, "ann")[0][1] == 0
        assert record(directory.store, "newt")


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize(("kind", "attribute", "value"), each(KEYS))
def test_who_writes_into_her_own_key_is_taken_out_all_the_same(company, kind, attribute, value, mode):
    """It is proven by her DN that no list names her: nobody stays a member by her own doing."""
    with company(kind) as directory:
        directory.outsider("ann", "bob", "leaver")
        more = {"distinguished_name": [kind.unit], "read_mode": mode}
        directory.run(**more)
        assert record(directory.store, "ann")[0][5] == "crew"
        directory.tree.set(directory.dn("ann"), attribute, value)
        directory.outsider("bob", "leaver")
        for _again in range(2):
            result = directory.run(**more)
            members = {name: record(directory.store, name)[0][5] for name in ("ann", "bob", "leaver", "out")}
            assert members == {"ann": None, "bob": "crew", "leaver": "crew", "out": "crew"}
            assert not result["held"]["memberships"]


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize(("kind", "attribute", "value"), each(KEYS))
def test_a_group_whose_key_is_none(company, kind, attribute, value, mode):
    """Its list is followed, to members outside of what is selected as well."""
    with company(kind) as directory:
        directory.outsider("ann", "leaver")
        more = {"distinguished_name": [kind.unit], "read_mode": mode}
        directory.run(**more)
        before = record(directory.store, "out")
        assert before[0][5] == "crew"
        directory.tree.set(directory.crew, attribute, value)
        directory.group("new", "ann")
        directory.tree.set(directory.dn("new group"), attribute, value)
        directory.outsider("bob")
        for _again in range(2):
            result = directory.run(**more)
            assert record(directory.store, "out") == before
            members = {name: record(directory.store, name)[0][5] for name in ("ann", "bob", "leaver")}
            assert members == {"ann": None, "bob": "crew", "leaver": None}
            said = "its %s is no stable key" % attribute
            assert reported(result, directory.crew) == [said + TAKEN_FOR]
            assert reported(result, directory.dn("new group")) == [said + LEFT_OUT]
            assert not rows(directory.store, "SELECT 1 FROM user_groups WHERE name = 'new'")


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("kind", KINDS, ids=name_of)
@pytest.mark.parametrize("how", ["it is the only one", "it is a second one"])
def test_a_key_that_somebody_else_has(company, kind, how, mode):
    """Bob writes ann's key into his entry: he is bob, and she is ann. When she leaves, he does not keep her."""
    attribute = key_of_kind[name_of(kind)]
    with company(kind) as directory:
        directory.group("admins", "ann")
        directory.run()
        ann, bob = record(directory.store, "ann"), record(directory.store, "bob")
        anns, bobs = (directory.tree[directory.dn(name)][attribute.lower()][0] for name in ("ann", "bob"))
        directory.tree.set(directory.dn("bob"), attribute, *([bobs] if "second" in how else []), anns)
        directory.tree.remove(directory.dn("leaver"))
        for _again in range(2):
            result = directory.run(read_mode=mode)
            assert record(directory.store, "leaver") == []
            assert (record(directory.store, "ann"), record(directory.store, "bob")) == (ann, bob)
            assert reported(result, directory.dn("bob"))
        disable(directory, "ann")
        directory.run(read_mode=mode)
        assert record(directory.store, "ann")[0][1] == 0 and record(directory.store, "bob") == bob
        if "second" in how:
            directory.tree.remove(directory.dn("ann"))
            directory.run(read_mode=mode)
            assert record(directory.store, "ann") == [] and record(directory.store, "bob") == bob


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_a_key_that_two_newcomers_have(company, kind, mode):
    """Neither comes in: nothing tells whose it is. In a first run the option is wrong, and there is nobody to leave."""
    attribute = key_of_kind[name_of(kind)]
    with company(kind) as directory:
        directory.run()
        good = directory.tree[directory.user("newt")][attribute.lower()]
        directory.tree.set(directory.user("noob"), attribute, *good)
        directory.tree.remove(directory.dn("leaver"))
        result = directory.run(read_mode=mode)
        assert [record(directory.store, name) for name in ("newt", "noob", "leaver")] == [[]] * 3
        said = ["its %s is that of another entry as well%s" % (attribute, LEFT_OUT)]
        assert reported(result, directory.dn("newt")) == reported(result, directory.dn("noob")) == said
        directory.tree.remove(directory.dn("noob"))
        assert directory.run(read_mode=mode)["not_stored"] == [] and record(directory.store, "newt")
        directory.tree.set(directory.user("noob"), attribute, *good)
        directory.store.unlink()
        with pytest.raises(SynchronizationError, match="have one %s, so it is no stable key" % attribute):
            directory.run()


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("kind", KINDS, ids=name_of)
@pytest.mark.parametrize("other", [True, False])
def test_who_moved_and_has_two_keys_now(company, kind, other, mode):
    """Nothing tells who it is, so whom it may mean stays, with all memberships; and nobody else."""
    attribute = key_of_kind[name_of(kind)]
    with company(kind) as directory:
        directory.run()
        before = record(directory.store, "ann")
        good = directory.tree[directory.dn("ann")][attribute.lower()]
        directory.tree.move(directory.dn("ann"), directory.dn("anna"))
        if other:
            directory.tree.set(directory.user("newt"), attribute, *good)
        else:
            directory.tree.set(directory.dn("anna"), attribute, *good, b"another-key-1234")
        list_in_crew(directory, "anna", "bob")
        directory.tree.remove(directory.dn("leaver"))
        for _again in range(2):
            result = directory.run(read_mode=mode)
            assert record(directory.store, "ann") == before and record(directory.store, "leaver") == []
            assert reported(result, directory.dn("anna"))
        directory.tree.remove(directory.dn("anna"))
        directory.run(read_mode=mode)
        assert record(directory.store, "ann") == [] and bool(record(directory.store, "newt")) == other


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_who_is_where_somebody_else_was_and_has_no_key(company, kind, mode):
    """Ann moved, and so did the group; who is at their DNs now is not them."""
    attribute = key_of_kind[name_of(kind)]
    with company(kind) as directory:
        directory.group("new", "bob")
        directory.run()
        ann, crew = directory.dn("ann"), directory.dn("new group")
        group = rows(directory.store, "SELECT id, name FROM user_groups WHERE name = 'new'")
        directory.tree.move(ann, directory.dn("anna"))
        directory.tree.move(crew, crew.replace("=new", "=old"))
        key = record_key(directory, "ann")
        directory.tree.set(directory.user("ann"), attribute, b"")
        directory.group("new", "bob")
        directory.tree.set(crew, attribute, b"")
        directory.tree.remove(directory.dn("leaver"))
        for _again in range(2):
            result = directory.run(read_mode=mode)
            assert record(directory.store, "leaver") == [] and record_key(directory, "ann") == key
            assert rows(directory.store, "SELECT dn FROM users WHERE key = ?", key) == [(directory.dn("anna"),)]
            said = ["its %s is no stable key%s" % (attribute, LEFT_OUT)]
            assert reported(result, ann) == reported(result, crew) == said
            assert rows(directory.store, "SELECT id, name FROM user_groups WHERE name = 'new'") == group


def record_key(directory, name):
    return rows(directory.store, "SELECT key FROM users WHERE name = ?", name)[0][0]


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_a_group_that_has_the_key_of_another_one(company, kind, mode):
    attribute = key_of_kind[name_of(kind)]
    with company(kind) as directory:
        directory.group("new", "bob")
        directory.run()
        directory.tree.set(directory.dn("new group"), attribute, *directory.tree[directory.crew][attribute.lower()])
        list_in_crew(directory, "ann")
        directory.tree.remove(directory.dn("leaver"))
        for _again in range(2):
            result = directory.run(read_mode=mode)
            assert [record(directory.store, name)[0][5] for name in ("ann", "bob")] == ["crew", "new"]
            assert record(directory.store, "leaver") == []
            said = ["its %s is that of another entry as well%s" % (attribute, TAKEN_FOR)]
            assert reported(result, directory.crew) == reported(result, directory.dn("new group")) == said


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("kind", KINDS[1:], ids=name_of)  # without Active Directory, where a key has one value
def test_a_key_of_somebody_who_is_out_of_scope_now(company, kind, mode):
    """Bob, who has it as well, does not keep her in."""
    attribute = key_of_kind[name_of(kind)]
    with company(kind) as directory:
        directory.run()
        bob, (anns,) = record(directory.store, "bob"), directory.tree[directory.dn("ann")][attribute.lower()]
        bobs = directory.tree[directory.dn("bob")][attribute.lower()]
        directory.tree.set(directory.dn("bob"), attribute, anns, *bobs)
        directory.tree.set(directory.dn("ann"), "objectClass", "device")
        directory.run(read_mode=mode)
        assert record(directory.store, "ann") == [] and record(directory.store, "bob") == bob


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("kind", [AD, OPENLDAP, POSIX, IPA_LIKE], ids=name_of)
def test_somebody_outside_who_has_a_key_of_one_inside(company, kind, mode):
    """Whoever is listed is a member, and not the one whose key he has."""
    attribute = key_of_kind[name_of(kind)]
    with company(kind) as directory:
        directory.outsider("ann")
        more = {"distinguished_name": [kind.unit], "read_mode": mode}
        directory.run(**more)
        before = [record(directory.store, name) for name in ("ann", "bob", "out")]
        directory.tree.set(directory.out, attribute, *directory.tree[directory.dn("bob")][attribute.lower()])
        directory.tree.remove(directory.dn("leaver"))
        for _again in range(2):
            result = directory.run(**more)
            assert [record(directory.store, name) for name in ("ann", "bob", "out")] == before
            assert reported(result, directory.out) and record(directory.store, "leaver") == []


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_a_newcomer_who_has_the_key_of_a_group(company, kind, mode):
    """A list that has him has not got the group by that. If the group has gone, its key is free."""
    attribute = key_of_kind[name_of(kind)]
    with company(kind) as directory:
        directory.group("new", "bob")
        directory.run()
        key = directory.tree[directory.dn("new group")][attribute.lower()]
        directory.tree.set(directory.user("newt"), attribute, *key)
        list_in_crew(directory, "ann", "newt")
        directory.tree.remove(directory.dn("leaver"))
        result = directory.run(read_mode=mode)
        assert record(directory.store, "leaver") == record(directory.store, "newt") == []
        if kind is not APPLE:  # whose lists say keys: what leads to the group is the group
            assert not rows(directory.store, "SELECT 1 FROM nestings")
        assert reported(result, directory.dn("newt")) == [
            "its %s is that of another entry as well%s" % (attribute, LEFT_OUT)
        ]
        directory.tree.remove(directory.dn("new group"))
        directory.run(read_mode=mode, user_group_extinction="delete")
        assert record(directory.store, "newt")


NO_DNS = ["bad\\zz", "bad\udcff", "a,b", "nul\0"]


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("kind", KINDS, ids=name_of)
@pytest.mark.parametrize("bad", NO_DNS)
def test_a_dn_that_is_none(company, kind, bad, mode):
    with company(kind) as directory:
        bad_dn = "CN=%s,%s" % (bad, kind.unit)
        directory.outsider("ann", "bob")
        more = {"distinguished_name": [kind.unit], "read_mode": mode}
        directory.run(**more)
        before = [record(directory.store, name) for name in ("ann", "out")]
        directory.tree.move(directory.dn("ann"), bad_dn)
        directory.tree.move(directory.crew, bad_dn + "," + kind.unit)
        directory.user("newt")
        directory.tree.move(directory.dn("newt"), "x=%s" % bad_dn)
        directory.tree.remove(directory.dn("leaver"))
        for _again in range(2):
            result = directory.run(**more)
            assert [record(directory.store, name) for name in ("ann", "out")] == before
            assert record(directory.store, "leaver") == record(directory.store, "newt") == []
            assert [entry["reason"] for entry in result["not_stored"]] == ["its DN is none" + LEFT_OUT] * 3
        directory.tree.move(bad_dn, directory.dn("ann"))
        directory.tree.move(bad_dn + "," + kind.unit, directory.crew)
        directory.run(**more)
        assert [record(directory.store, name) for name in ("ann", "out")] == before


@pytest.mark.parametrize("kind", [AD, OPENLDAP], ids=name_of)
def test_a_container_whose_dn_is_none(company, kind):
    """It stays, with whom it has, whose DNs are none either."""
    with company(kind) as directory:
        kids = directory.tree.unit("kids", kind.unit)
        directory.tree.user("kid", kids)
        more = {"group_structure": "both"}
        directory.run(**more)
        before = record(directory.store, "kid"), rows(directory.store, "SELECT name, extinct, dn FROM user_groups")
        assert before[0][0][5] == "kids"
        bad = "ou=bad\\zz," + kind.unit
        directory.tree.move(kids, bad)
        directory.tree.move("CN=kid,%s" % kids if kind is AD else "uid=kid,%s" % kids, "cn=kid," + bad)
        directory.tree.remove(directory.dn("leaver"))
        for _again in range(2):
            result = directory.run(**more)
            assert {entry["dn"] for entry in result["not_stored"]} == {bad, "cn=kid," + bad}
            now = record(directory.store, "kid"), rows(directory.store, "SELECT name, extinct, dn FROM user_groups")
            assert now == before and record(directory.store, "leaver") == []


# --- an entry that is a user and a user group ------------------------------------------------------------------------


@pytest.fixture
def lab(tmp_path):
    @contextmanager
    def started(*entries, **more):
        with Slapd(ldif=ROOT + unit("people") + "".join(entries), overlays=("syncprov",), **more) as server:
            yield Lab(server, tmp_path / "users.db")

    return started


BOTH = "dn: cn=both,%s\nobjectClass: %%s\ncn: both\n%%s\n" % PEOPLE
ACCOUNT = "objectClass: posixAccount\nuid: both\nuidNumber: 7\ngidNumber: 7\nhomeDirectory: /\n"
BOTH_DN = "cn=both," + PEOPLE
MAKES_ACCOUNT = (
    "dn: %s\nchangetype: modify\nadd: objectClass\nobjectClass: posixAccount\n-\nadd: uid\nuid: both\n-\n"
    "add: uidNumber\nuidNumber: 7\n-\nadd: homeDirectory\nhomeDirectory: /\n%%s\n" % BOTH_DN
)
RFC2307 = {"ldap_parameters": {"preset": "rfc2307"}}
LISTS_ALL = 10**8  # bytes, for values of megabytes
BY_DN = {"ldap_parameters": {"preset": "openldap", "user_class": "posixAccount"}}
AS_USER = {"dn": BOTH_DN, "reason": "it is a user, and not a user group as well"}
AS_GROUP = {"dn": BOTH_DN, "reason": "it is a user group, and not a user as well"}


def names(company, table):
    return sorted(name for (name,) in company.rows("SELECT name FROM %s WHERE extinct IS NULL" % table))


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("preset", ["rfc2307", "openldap"])
def test_a_new_entry_that_is_both_is_a_user(lab, preset, mode):
    """Finding D1: every run failed, so that leavers stayed. All three runs of `Lab.run` say the same."""
    more = {**(RFC2307 if preset == "rfc2307" else BY_DN), "read_mode": mode, "removal_limits": NO_LIMITS}
    if preset == "rfc2307":
        both = BOTH % ("posixGroup", ACCOUNT + "memberUid: ann\n")
        crew = posix_group("crew", 9, "ann", "both", "leaver")
    else:
        both = BOTH % ("groupOfNames", ACCOUNT + "member: %s\n" % dn_of("ann"))
        crew = group("crew", dn_of("ann"), BOTH_DN, dn_of("leaver"))
    with lab(posix("ann", 1), posix("leaver", 2), crew) as company:
        company.once(**more)
        company.modify(both + deleted(dn_of("leaver")))
        assert company.run(**more)["not_stored"] == [AS_USER]
        assert names(company, "users") == ["ann", "both"] and "both" not in names(company, "user_groups")
        assert sorted(company.members())[:2] == [("crew", "ann"), ("crew", "both")]
        company.modify(modified(dn_of("ann"), "add", "title", "of all"))
        result = company.run(**more)
        assert result["read"]["mode"] == ("incremental" if (preset, mode) == ("openldap", "incremental") else "full")
        assert result["not_stored"] == [AS_USER]
        company.store.unlink()
        for change in (modified(dn_of("ann"), "add", "title", "of some"), renamed(dn_of("ann"), "uid=ann2")):
            result = company.run(**more)
            assert result["not_stored"] == [AS_USER]
            assert names(company, "users") == ["ann", "both"] and "both" not in names(company, "user_groups")
            company.modify(change)
        result = company.run(**more)  # the list of what is no user group has her, too
        assert result["not_stored"] == [AS_USER]
        assert result["read"]["mode"] == ("incremental" if (preset, mode) == ("openldap", "incremental") else "full")


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("preset", ["rfc2307", "openldap"])
def test_a_user_group_that_becomes_a_user_as_well_stays_one(lab, preset, mode):
    """And a user who becomes a user group as well stays a user; both become what is left of them."""
    more = {**(RFC2307 if preset == "rfc2307" else BY_DN), "read_mode": mode, "removal_limits": NO_LIMITS}
    if preset == "rfc2307":
        both = BOTH % ("posixGroup", "gidNumber: 7\nmemberUid: ann\n")
        number = ""
    else:
        both = BOTH % ("groupOfNames", "member: %s\n" % dn_of("ann"))
        number = "-\nadd: gidNumber\ngidNumber: 7\n"
    with lab(posix("ann", 1), posix("leaver", 2), both) as company:
        company.once(**more)
        company.modify(MAKES_ACCOUNT % number + deleted(dn_of("leaver")))
        for _again in range(2):
            result = company.run(**more)
            assert result["not_stored"] == [AS_GROUP]
            assert names(company, "users") == ["ann"] and company.members() == [("both", "ann")]
            company.modify(modified(dn_of("ann"), "replace", "title", "of all"))
        assert result["read"]["mode"] == ("incremental" if (preset, mode) == ("openldap", "incremental") else "full")
        company.change("DELETE FROM marks")
        company.once(**more)
        result = company.run(**more)
        assert result["not_stored"] == [AS_GROUP]
        assert result["read"]["mode"] == ("incremental" if (preset, mode) == ("openldap", "incremental") else "full")
        company.modify(deleted(BOTH_DN))
        company.modify(BOTH.replace("cn: both", "cn: both\nsn: both") % ("inetOrgPerson", ACCOUNT))
        company.run(**more)
        assert names(company, "users") == ["ann", "both"] and "both" not in names(company, "user_groups")


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_a_nested_group_outside_that_becomes_a_user_as_well(lab, mode):
    """It is in scope by being nested, and that does not end."""
    both = (BOTH % ("groupOfNames", "member: %s\n" % dn_of("ann"))).replace(BOTH_DN, "cn=both," + BASE)
    account = MAKES_ACCOUNT % "-\nadd: gidNumber\ngidNumber: 7\n"
    with lab(posix("ann", 1), posix("leaver", 2), group("crew", dn_of("leaver"), "cn=both," + BASE), both) as company:
        more = {**BY_DN, "read_mode": mode, "removal_limits": NO_LIMITS, "distinguished_name": [PEOPLE]}
        company.once(**more)
        assert company.nestings() == [("crew", "both")]
        company.modify(account.replace(BOTH_DN, "cn=both," + BASE) + deleted(dn_of("leaver")))
        for _again in range(2):
            assert company.run(**more)["not_stored"] == [{**AS_GROUP, "dn": "cn=both," + BASE}]
            assert company.nestings() == [("crew", "both")] and names(company, "users") == ["ann"]


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_what_is_left_out_by_an_option_is_not_told_of(company, kind):
    attribute = key_of_kind[name_of(kind)]
    with company(kind) as directory:
        directory.outsider("ann", "bob")
        directory.tree.set(directory.out, attribute, b"")
        result = directory.run(exclude_distinguished_name=[directory.other_unit])
        assert result["not_stored"] == [] and record(directory.store, "ann")[0][5] == "crew"


# --- what lists say --------------------------------------------------------------------------------------------------

MEGABYTE = b"9" * 1000000
NO_MEMBERS = {
    "member": (b"", b"x", b"CN=bad\\zz,DC=corp,DC=example", BYTES, NUL, b"cn=" + MEGABYTE, b"cn=x,,dc=example"),
    "memberUid": (b"", b"nobody", BYTES, NUL, MEGABYTE, b"*", b"ann)(uid=*", b" "),
    "apple-group-memberguid": (b"", b"nobody", BYTES, NUL, MEGABYTE, b"*"),
}


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize(
    ("kind", "attribute", "value"),
    each([(kind, listing(kind), NO_MEMBERS[listing(kind)]) for kind in (AD, OPENLDAP, POSIX, APPLE, IPA_LIKE)]),
)
def test_a_member_that_is_none(company, kind, attribute, value, mode):
    """It is told of, and everybody else joins and leaves."""
    with company(kind) as directory:
        directory.outsider("ann", "leaver")
        more = {"distinguished_name": [kind.unit], "read_mode": mode, "report_bytes": LISTS_ALL}
        directory.run(**more)
        out = directory.tree[directory.crew][attribute.lower()][0]
        directory.tree.set(directory.crew, attribute, value, out, kind.members("bob"), kind.members("leaver"))
        directory.tree.remove(directory.dn("leaver"))
        for _again in range(2):
            result = directory.run(**more)
            assert [record(directory.store, name)[0][5] for name in ("ann", "bob", "out")] == [None, "crew", "crew"]
            assert record(directory.store, "leaver") == []
            assert len(result["unresolved_members"]) == (1 if kind is AD else 2)  # whose lists forget who was deleted
            if not value:
                assert "is empty" in [entry["reason"] for entry in result["unresolved_members"]]
            assert longest_request(directory) < MOST_THAT_SERVERS_TAKE
            if mode == "incremental" and kind is AD:
                assert result["read"]["mode"] == "incremental"


MOST_THAT_SERVERS_TAKE = 256000  # bytes of a request: Samba


def longest_request(directory):
    return max(len(request.filter) + len(request.base) for request in directory.server.of_kind("search"))


def base64_of(attribute, value):
    return "%s:: %s" % (attribute, base64.b64encode(value).decode("ascii"))


LISTED_BY_USERS = (
    b"x",
    b"foo=bar,ou=people,dc=example,dc=org",
    b"cn=x,foo=bar,dc=example,dc=org",
    MEGABYTE,
    b"cn=\\zz",
)


@pytest.mark.parametrize("value", LISTED_BY_USERS)
def test_a_group_that_a_user_lists_and_that_is_none(lab, value):
    """The server refuses a base that is no DN to it; what a person writes about himself ends no run by that."""
    parameters = {"preset": "openldap", "user_groups": "description"}
    with lab(person("ann", "description: cn=crew," + PEOPLE), person("leaver"), group("crew", dn_of("ann"))) as company:
        more = {"ldap_parameters": parameters, "removal_limits": NO_LIMITS}
        company.once(**more)
        company.modify(
            "dn: %s\nchangetype: modify\nadd: description\n%s\n\n" % (dn_of("ann"), base64_of("description", value))
        )
        company.modify(deleted(dn_of("leaver")))
        result = company.run(**more)
        assert company.members() == [("crew", "ann")] and names(company, "users") == ["ann"]
        assert len(result["not_stored"]) == 1


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_lists_of_a_real_server(lab, mode):
    """What slapd lets in: DNs that nobody can have, with an optional UID, and of nearly 8192 bytes."""
    values = [
        dn_of("ann") + "#'01'B",
        "cn=\\23\\2c\\00,dc=elsewhere",
        "cn=%s,%s" % ("x" * 8000, BASE),
        dn_of("leaver"),
    ]
    crew = group("crew", dn_of("leaver"), kind="groupOfUniqueNames", attribute="uniqueMember")
    with lab(person("ann"), person("leaver"), crew) as company:
        more = {"read_mode": mode, "removal_limits": NO_LIMITS}
        company.once(**more)
        company.modify(modified("cn=crew," + PEOPLE, "replace", "uniqueMember", *values) + deleted(dn_of("leaver")))
        for _again in range(2):
            result = company.run(**more)
            assert company.members() == [("crew", "ann")] and len(result["unresolved_members"]) == 3
    assert result["read"]["mode"] == mode


def test_names_of_a_real_server(lab):
    values = ["ann", "bob", "x" * 1000000, "*", "ann)(uid=*", " ", "leaver"]
    with lab(posix("ann", 1), posix("bob", 2), posix("leaver", 3), posix_group("crew", 7, "ann", "leaver")) as company:
        more = {**RFC2307, "removal_limits": NO_LIMITS, "report_bytes": LISTS_ALL}
        company.once(**more)
        listed = "".join(base64_of("memberUid", value.encode()) + "\n" for value in values)
        company.modify("dn: cn=crew,%s\nchangetype: modify\nreplace: memberUid\n%s\n" % (PEOPLE, listed))
        company.modify(deleted(dn_of("leaver")))
        assert len(company.run(**more)["unresolved_members"]) == 5
        assert company.members() == [("crew", "ann"), ("crew", "bob")]


def test_attributes_by_ten_thousand_names(lab):
    """Options make names of their own (RFC 4512, 2.5), and who writes his own entry may make them up."""
    with lab(person("ann", "mail: ann@example.org"), person("leaver")) as company:
        more = {"removal_limits": NO_LIMITS}
        company.once(**more)
        lines = "".join("add: mail;lang-x%d\nmail;lang-x%d: x\n-\n" % (number, number) for number in range(11000))
        company.modify("dn: %s\nchangetype: modify\n%s\n" % (dn_of("ann"), lines) + deleted(dn_of("leaver")))
        company.run(**more)
        assert names(company, "users") == ["ann"]


def test_names_of_a_user_that_are_none(company):
    """Lists may know him by them; what is stored of that is text."""
    with company(POSIX) as directory:
        directory.run()
        before = record(directory.store, "ann")
        directory.tree.set(directory.dn("ann"), "uid", "ann", BYTES, NUL, MEGABYTE)
        directory.tree.set(directory.crew, "memberUid", BYTES, "bob")
        directory.tree.remove(directory.dn("leaver"))
        directory.run(user_attributes={"name": "cn"})
        assert record(directory.store, "ann") == before and record(directory.store, "leaver") == []
        directory.tree.move(directory.dn("ann"), "uid=gone,ou=elsewhere," + tree.SUFFIX)
        directory.run(user_attributes={"name": "cn"}, user_extinction="skip")
        assert record(directory.store, "ann")[0][5] == "crew"


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize(
    ("kind", "attribute", "values"),
    [
        (IPA_LIKE, "nsAccountLock", (b"FALSE", b"TRUE")),
        (AD, "userAccountControl", (b"512", b"514")),
        (OPENLDAP, "shadowExpire", (b"-1", b"1")),
        (OPENLDAP, "shadowExpire", (b"x", b"1")),
        (OPENLDAP, "pwdAccountLockedTime", (b"20260101000000Z", b"000001010000Z")),
        (SAMBA, "sambaAcctFlags", (b"[U ]", b"[DU ]")),
    ],
)
def test_one_value_that_disables_is_enough(company, kind, attribute, values, mode):
    """Values are a set: their order says nothing (RFC 4512, 2.2)."""
    with company(kind) as directory:
        directory.run()
        for order in (values, values[::-1]):
            directory.tree.set(directory.dn("ann"), attribute, *order)
            directory.run(read_mode=mode)
            assert record(directory.store, "ann")[0][1] == 0


def test_two_sids_are_none(company):
    with company(SAMBA) as directory:
        directory.run()
        before = record(directory.store, "ann")
        for other in ("S-1-5-21-1-2-3-4", "S-1-5-32-544"):
            directory.tree.set(directory.dn("ann"), "sambaSID", other, before[0][3])
            result = directory.run()
            assert record(directory.store, "ann") == before
            assert reported(result, directory.dn("ann")) == ["its sambaSID is malformed: its SID stays as it is"]


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("value", [b"", b"x", HUGE, BYTES, NUL])
def test_a_count_of_changes_that_is_none(company, value, mode):
    with company(AD) as directory:
        directory.run()
        before = record(directory.store, "ann")
        directory.tree.set(directory.dn("ann"), "mail", "new@corp.example")
        directory.tree[directory.dn("ann")]["usnchanged"] = [value]
        directory.tree.remove(directory.dn("leaver"))
        directory.run(read_mode=mode)
        assert record(directory.store, "leaver") == []
        directory.run(read_mode="full")
        assert record(directory.store, "ann") != before


def test_a_number_of_a_group_of_a_megabyte(company):
    """Who has it as primary group would be looked for outside of what is selected."""
    with company(POSIX) as directory:
        directory.outsider("ann", "leaver")
        directory.tree.set(directory.crew, "gidNumber", MEGABYTE)
        directory.run(distinguished_name=[POSIX.unit])
        assert record(directory.store, "ann")[0][5] == "crew" and longest_request(directory) < MOST_THAT_SERVERS_TAKE


@pytest.mark.parametrize(
    ("kind", "attribute", "values"),
    [
        (POSIX, "memberUid", [b"%03d" % number + b"x" * 45000 for number in range(120)]),
        (OPENLDAP, "member", [b"cn=%s,%s" % (b"x" * 1000000, tree.SUFFIX.encode())]),
        (OPENLDAP, "description", [b"cn=%s,%s" % (b"x" * 1000000, tree.SUFFIX.encode())]),
    ],
)
def test_lists_that_no_request_can_have(company, kind, attribute, values):
    with company(kind) as directory:
        listed_by_users = {"preset": name_of(kind), "user_groups": attribute}
        listing_entry = directory.dn("ann") if attribute == "description" else directory.crew
        crew = directory.crew if attribute == "description" else kind.members("ann")
        directory.tree.set(listing_entry, attribute, crew, *values)
        directory.run(ldap_parameters=listed_by_users if attribute == "description" else {"preset": name_of(kind)})
        assert record(directory.store, "ann")[0][5] == "crew" and longest_request(directory) < MOST_THAT_SERVERS_TAKE
