# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is missing may be hidden: nobody is enabled or removed by that in OpenLDAP, until the server proves it.

Each case takes a right away while slapd runs, sees that nothing comes of it, however often it is looked at, gives the
right back, and sees that what really went is gone then.
"""

from __future__ import annotations

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory.proofs import questions
from support.lab import BASE, PEOPLE, ROOT, Lab, dn_of, modified, unit
from support.rights import Rights, entries, settings
from support.slapd import Slapd

# Whatever a run would do: no limit is what keeps anybody.
ANYTHING = {"removal_limits": "100%"}
FULL, INCREMENTAL = {"read_mode": "full"}, {"read_mode": "incremental"}

ATTRIBUTES = (
    "pwdAccountLockedTime",
    "shadowExpire",
    "nsAccountLock",
    "sambaAcctFlags",
    "authAuthority",
    "member",
    "uniqueMember",
    "memberUid",
    "apple-group-memberguid",
    "apple-group-nestedgroup",
    "gidNumber",
    "sambaPrimaryGroupSID",
    "sambaSID",
    "employeeType",
    "description",
    "uid",
)
RULES = {
    **{name: "attrs=" + name for name in ATTRIBUTES},
    "lock-of-ann": 'dn.exact="%s" attrs=pwdAccountLockedTime' % dn_of("ann"),
    "lock-in-it": 'dn.subtree="ou=it,%s" attrs=pwdAccountLockedTime' % PEOPLE,
    "list-of-staff": 'dn.exact="cn=staff,%s" attrs=member,uniqueMember,memberUid,apple-group-memberguid' % PEOPLE,
    "ann-in-lists": 'attrs=member val/distinguishedNameMatch.exact="%s"' % dn_of("ann"),
    "reading-locks": "attrs=pwdAccountLockedTime",
    "gid-of-staff": 'dn.exact="cn=staff,%s" attrs=gidNumber' % PEOPLE,
    "schema": 'dn.exact="cn=Subschema"',
    "domains": "filter=(objectClass=sambaDomain)",
}


@pytest.fixture(scope="module")
def slapd():
    there = ROOT + unit("people") + unit("it", PEOPLE) + unit("far") + entries(RULES)
    with Slapd(ldif=there, overlays=("ppolicy", "syncprov"), settings=settings(RULES)) as server:
        yield server


class Place(Lab):
    """The server with what a test made in it, which is gone after the test, and the rights that it took away."""

    def __init__(self, server, store):
        super().__init__(server, store)
        self.rights = Rights(server)
        self.hidden = set()

    def hide(self, name):
        self.hidden.add(name)
        self.rights.hide(name)

    def show(self, name):
        self.hidden.discard(name)
        self.rights.show(name)

    def run(self, **more):
        return super().run(**{"distinguished_name": [PEOPLE], **ANYTHING, **more})

    def once(self, check_mode=False, **more):
        return super().once(check_mode, **{"distinguished_name": [PEOPLE], **ANYTHING, **more})

    def held(self, **more):
        """Two runs that hold the same, change nothing, and say what they would do; what is held."""
        before = self.state()
        first, second = self.run(**more), self.run(**more)
        for what in ("users", "user_groups", "memberships"):
            assert first["held"][what] == second["held"][what]
        assert self.state() == before and not second["changed"]
        assert second["held"]["plan_digest"] not in ("", second["plan_digest"])
        assert any(warning.startswith("held: ") for warning in self.warnings)
        return second["held"]

    def state(self):
        return self.users(), self.members(), self.nested()

    def users(self):
        return self.rows("SELECT name, enabled FROM users WHERE extinct IS NULL")

    def nested(self):
        return self.rows(
            "SELECT g.name, n.name FROM nestings m JOIN user_groups g ON g.id = m.user_group_id"
            " JOIN user_groups n ON n.id = m.nested_id WHERE n.extinct IS NULL"
        )


@pytest.fixture
def place(slapd, tmp_path):
    lab = Place(slapd, tmp_path / "store.db")
    yield lab
    for name in list(lab.hidden):
        lab.show(name)
    made = [dn for dn in slapd.search(base=BASE) if "ou=rights" not in dn and dn not in (BASE, PEOPLE)]
    for dn in sorted(made, key=lambda dn: -dn.count(",")):
        if not dn.startswith(("ou=it,", "ou=far,")):
            slapd.modify("dn: %s\nchangetype: delete\n\n" % dn)


# --- who is disabled -------------------------------------------------------------------------------------------------

KEY = "6F9619FF-8B86-D011-B42D-00C04FC9%04d"
CLASSES = {
    "openldap": ("shadowAccount",),
    "rfc2307": ("posixAccount", "shadowAccount", "nsOperational"),
    "openldap_samba": ("posixAccount", "shadowAccount", "sambaSamAccount"),
    "open_directory": ("posixAccount", "apple-user"),
}
LOCKS = [
    ("openldap", "pwdAccountLockedTime", "000001010000Z"),
    ("openldap", "shadowExpire", "1"),
    ("rfc2307", "pwdAccountLockedTime", "000001010000Z"),
    ("rfc2307", "nsAccountLock", "TRUE"),
    ("rfc2307", "shadowExpire", "1"),
    ("openldap_samba", "sambaAcctFlags", "[DU         ]"),
    ("openldap_samba", "pwdAccountLockedTime", "000001010000Z"),
    ("openldap_samba", "shadowExpire", "1"),
    ("open_directory", "authAuthority", ";DisabledUser;;ShadowHash;"),
]
MODES = [
    (*lock, mode) for lock in LOCKS for mode in (FULL, INCREMENTAL) if mode is FULL or lock[0] == "openldap"
]  # the other presets are always read in full


# A SID counts only if it is of the domain that the directory names.
DOMAIN = (
    "dn: sambaDomainName=OLD,%s\nobjectClass: sambaDomain\nsambaDomainName: OLD\nsambaSID: S-1-5-21-1-2-3\n\n" % BASE
)


def someone(name, preset, *lines, below=PEOPLE, number=1):
    """A user as the preset has them."""
    classes = ["inetOrgPerson", *CLASSES[preset]]
    more = list(lines)
    if "posixAccount" in classes:
        more += ["uidNumber: %d" % number, "homeDirectory: /"]
        more += [] if any(line.startswith("gidNumber:") for line in lines) else ["gidNumber: 1"]
    if preset == "openldap_samba":
        more.append("sambaSID: S-1-5-21-1-2-3-%d" % number)
    if preset == "open_directory":
        more.append("apple-generateduid: " + KEY % number)
    return "\n".join(
        [
            "dn: " + dn_of(name, below),
            *("objectClass: " + each for each in classes),
            "uid: " + name,
            "cn: " + name,
            "sn: " + name,
            *more,
            "",
            "",
        ]
    )


def looked_at(place, name, mode):
    """Have an incremental read look at somebody of whom nothing changed but a right."""
    if mode is INCREMENTAL:
        place.modify(modified(dn_of(name), "replace", "description", "looked at"))


@pytest.mark.parametrize(("preset", "attribute", "value", "mode"), MODES)
def test_a_lock_that_is_hidden_enables_nobody(place, preset, attribute, value, mode):
    options = {"ldap_parameters": {"preset": preset}}
    place.modify(someone("ann", preset, "%s: %s" % (attribute, value)) + someone("bob", preset, number=2))
    place.run(**options, read_mode="auto")
    assert place.users() == [("ann", 0), ("bob", 1)]

    place.hide(attribute)
    looked_at(place, "ann", mode)
    held = place.held(**options, **mode)
    assert [(each["name"], each["would_be"]) for each in held["users"]] == [("ann", "enabled")]
    assert attribute in held["users"][0]["reason"]

    place.show(attribute)
    result = place.run(**options, **mode)
    assert result["held"]["users"] == [] and place.users() == [("ann", 0), ("bob", 1)]

    place.hide(attribute)
    place.modify(modified(dn_of("ann"), "delete", attribute))
    place.held(**options, **mode)
    place.show(attribute)
    result = place.run(**options, **mode)
    assert result["users"]["enabled"] == ["ann"] and place.users() == [("ann", 1), ("bob", 1)]
    assert result["read"]["mode"] == mode["read_mode"]


@pytest.mark.parametrize(("preset", "attribute", "value"), LOCKS)
def test_who_is_really_unlocked_is_enabled_at_once(place, preset, attribute, value):
    options = {"ldap_parameters": {"preset": preset}}
    place.modify(someone("ann", preset, "%s: %s" % (attribute, value)))
    place.run(**options)
    place.modify(modified(dn_of("ann"), "delete", attribute))
    result = place.run(**options)
    assert result["users"]["enabled"] == ["ann"] and result["held"]["users"] == []


@pytest.mark.parametrize("mode", [FULL, INCREMENTAL], ids=["full", "incremental"])
@pytest.mark.parametrize(
    ("rule", "below"), [("lock-of-ann", PEOPLE), ("lock-in-it", "ou=it," + PEOPLE)], ids=["one entry", "a subtree"]
)
def test_a_lock_that_is_hidden_of_some(place, rule, below, mode):
    locked = "pwdAccountLockedTime: 000001010000Z"
    place.modify(someone("ann", "openldap", locked, below=below) + someone("bob", "openldap", locked))
    place.run()
    place.hide(rule)
    for who in (dn_of("ann", below), dn_of("bob")):
        place.modify(modified(who, "replace", "description", "looked at"))
    assert [each["name"] for each in place.held(**mode)["users"]] == ["ann"]
    place.modify(modified(dn_of("bob"), "delete", "pwdAccountLockedTime"))
    result = place.run(**mode)
    assert result["users"]["enabled"] == ["bob"], "whose lock is not hidden"
    assert place.users() == [("ann", 0), ("bob", 1)]


@pytest.mark.parametrize(("preset", "attribute", "value"), LOCKS)
def test_who_is_locked_after_the_right_was_lost(place, preset, attribute, value):
    """Nothing shows the lock: a full read warns that nobody can be disabled by it."""
    options = {"ldap_parameters": {"preset": preset}, **FULL}
    place.modify(DOMAIN + someone("ann", preset) + someone("bob", preset, number=2))
    place.run(**options)
    assert not place.warnings, "attributes that the schema does not have are not missed"
    place.hide(attribute)
    place.modify(modified(dn_of("ann"), "add", attribute, value))
    place.run(**options)
    assert place.users() == [("ann", 1), ("bob", 1)]
    assert place.warnings == [
        "authentication: the %s of no user can be read, so who is disabled by it stays enabled: give the account the "
        "right to read it" % attribute
    ]
    place.show(attribute)
    assert place.run(**options)["users"]["disabled"] == ["ann"] and not place.warnings


@pytest.mark.parametrize("mode", [FULL, INCREMENTAL])
def test_what_one_synchronization_said_is_not_taken_back_because_it_is_hidden(place, mode):
    """Who writes her may read less.

    staff    writes ann
    other    sees that she is locked, and then cannot read that any more: it goes on saying that she is disabled
    """
    other = {"name": "other", "user_group": "All/Other"}
    place.modify(someone("ann", "openldap"))
    place.run()
    place.run(**other)
    place.modify(modified(dn_of("ann"), "replace", "pwdAccountLockedTime", "000001010000Z"))
    place.run(**other)
    assert place.users() == [("ann", 0)]
    place.hide("pwdAccountLockedTime")
    looked_at(place, "ann", mode)
    for _again in range(2):
        result = place.run(**other, **mode)
        assert [(each["name"], each["would_be"]) for each in result["held"]["users"]] == [("ann", "enabled")]
        assert place.rows("SELECT count(*) FROM claims WHERE disabled IS NOT NULL") == [(1,)]


def test_a_schema_that_cannot_be_read(place):
    """Then nothing tells that the server does not know an attribute, and everybody has a state attribute like that."""
    place.modify(someone("ann", "rfc2307", "pwdAccountLockedTime: 000001010000Z"))
    options = {"ldap_parameters": {"preset": "rfc2307"}}
    place.run(**options)
    place.hide("schema")
    place.hide("pwdAccountLockedTime")
    assert [each["name"] for each in place.held(**options)["users"]] == ["ann"]


@pytest.mark.parametrize("mode", [FULL, INCREMENTAL], ids=["full", "incremental"])
def test_a_newcomer_of_whom_nothing_proves_that_he_is_enabled(place, mode):
    place.modify(someone("ann", "openldap"))
    place.run()
    place.hide("shadowExpire")
    place.modify(someone("zoe", "openldap", number=3))
    result = place.run(**mode)
    assert result["users"]["created"] == ["zoe"] and place.users() == [("ann", 1), ("zoe", 0)]
    assert result["held"]["users"] == [
        {"name": "zoe", "would_be": "enabled", "reason": "its shadowExpire cannot be read"}
    ]
    assert [each["name"] for each in place.held(**mode)["users"]] == ["zoe"]
    place.show("shadowExpire")
    assert place.run(**mode)["users"]["enabled"] == ["zoe"]


def test_a_newcomer_who_may_be_disabled_and_is_not_wanted_then(place):
    place.modify(someone("ann", "openldap"))
    place.run(ignore_disabled_users=True)
    place.hide("shadowExpire")
    place.modify(someone("zoe", "openldap", number=3))
    result = place.run(ignore_disabled_users=True)
    assert [each["name"] for each in result["held"]["users"]] != [] and place.users() == [("ann", 1)]
    place.show("shadowExpire")
    assert place.run(ignore_disabled_users=True)["users"]["created"] == ["zoe"]


def test_a_first_run_that_can_tell_of_nobody(place):
    place.modify(someone("ann", "openldap") + someone("bob", "openldap", "shadowExpire: 1", number=2))
    place.hide("shadowExpire")
    message, result = place.refused()
    assert message.startswith("authentication: nothing proves of any of 2 users that he is enabled")
    assert "its shadowExpire cannot be read" in message and "approve" in message
    assert result["refused"][0]["limit"] == "held" and len(result["held"]["users"]) == 2
    place.once(approved_plan=result["held"]["plan_digest"])
    assert place.users() == [("ann", 1), ("bob", 1)], "somebody has decided that"


@pytest.mark.parametrize("many", [1000, 0], ids=["by key", "at once"])
@pytest.mark.parametrize("preset", ["openldap", "rfc2307"])
def test_a_first_run_that_can_tell_of_some(place, preset, many, monkeypatch):
    """Somebody lies outside what is selected, and is a member of a group there."""
    monkeypatch.setattr(questions, "_MANY", many)
    it, options = "ou=it," + PEOPLE, {"ldap_parameters": {"preset": preset}}
    place.modify(
        someone("ann", preset, below=it)
        + someone("bob", preset, number=2)
        + someone("uma", preset, below="ou=far," + BASE, number=3)
        + (names("staff", dn_of("uma", "ou=far," + BASE)) if preset == "openldap" else posix_group("staff", "uma"))
    )
    place.hide("lock-in-it")
    assert [each["name"] for each in place.run(**options)["held"]["users"]] == ["ann"]
    assert place.users() == [("ann", 0), ("bob", 1), ("uma", 1)]


def test_what_is_held_can_be_approved(place):
    place.modify(someone("ann", "openldap", "shadowExpire: 1") + someone("bob", "openldap", number=2))
    place.run()
    place.hide("shadowExpire")
    held = place.held(**FULL)
    place.modify(someone("new", "openldap", number=4))
    digest = place.once(True, **FULL)["held"]["plan_digest"]
    assert digest != held["plan_digest"], "another plan"
    message, _result = place.refused(approved_plan=held["plan_digest"], **FULL)
    assert "something else than what was approved" in message
    result = place.once(approved_plan=digest, **FULL)
    assert result["users"]["enabled"] == ["ann"] and result["plan_digest"] == digest
    assert place.users() == [("ann", 1), ("bob", 1), ("new", 1)]
    assert not place.run(**FULL)["changed"]


# --- member lists ----------------------------------------------------------------------------------------------------


def names(name, *members, attribute="member", kind="groupOfNames"):
    lines = ["dn: cn=%s,%s" % (name, PEOPLE), "objectClass: " + kind, "cn: " + name]
    return "\n".join([*lines, *("%s: %s" % (attribute, member) for member in members), "", ""])


def posix_group(name, *members, number=9, kinds=(), lines=()):
    more = [*("objectClass: " + kind for kind in kinds), "gidNumber: %d" % number, *lines]
    more += ["memberUid: " + member for member in members]
    return "\n".join(["dn: cn=%s,%s" % (name, PEOPLE), "objectClass: posixGroup", "cn: " + name, *more, "", ""])


def apple_group(name, number, *members, attribute="apple-group-memberguid"):
    lines = ["apple-generateduid: " + KEY % number, *("%s: %s" % (attribute, KEY % member) for member in members)]
    return posix_group(name, number=number, kinds=("apple-group",), lines=lines)


def people_of(preset):
    return someone("ann", preset, number=1) + someone("bob", preset, number=2) + someone("cia", preset, number=3)


NOBODY = "cn=nobody," + BASE
LISTS = [
    ("openldap", "member", names("staff", dn_of("ann"), dn_of("bob")), [dn_of("ann"), dn_of("bob")], NOBODY),
    (
        "openldap",
        "uniqueMember",
        names("staff", dn_of("ann"), dn_of("bob"), attribute="uniqueMember", kind="groupOfUniqueNames"),
        [dn_of("ann"), dn_of("bob")],
        NOBODY,
    ),
    ("rfc2307", "memberUid", posix_group("staff", "ann", "bob"), ["ann", "bob"], None),
    (
        "openldap_samba",
        "memberUid",
        posix_group(
            "staff",
            "ann",
            "bob",
            kinds=("sambaGroupMapping",),
            lines=("sambaSID: S-1-5-21-1-2-3-900", "sambaGroupType: 2"),
        ),
        ["ann", "bob"],
        None,
    ),
    ("open_directory", "apple-group-memberguid", apple_group("staff", 9, 1, 2), [KEY % 1, KEY % 2], None),
]
LIST_MODES = [(*each, mode) for each in LISTS for mode in (FULL, INCREMENTAL) if mode is FULL or each[0] == "openldap"]
LIST_NAMES = ["%s %s %s" % (each[0], each[1], each[-1]["read_mode"]) for each in LIST_MODES]
STAFF = "cn=staff," + PEOPLE


@pytest.mark.a_third
@pytest.mark.parametrize(("preset", "attribute", "group", "values", "nobody", "mode"), LIST_MODES, ids=LIST_NAMES)
@pytest.mark.parametrize("rule", ["", "list-of-staff"], ids=["everywhere", "of one entry"])
def test_a_list_that_is_hidden_ends_no_membership(place, preset, attribute, group, values, nobody, mode, rule):
    options = {"ldap_parameters": {"preset": preset}}
    place.modify(people_of(preset) + group)
    place.run(**options, read_mode="auto")
    assert place.members() == [("staff", "ann"), ("staff", "bob")]

    place.hide(rule or attribute)
    if mode is INCREMENTAL:
        place.modify(modified(STAFF, "replace", "description", "looked at"))
    held = place.held(**options, **mode)
    assert [(each["user_group"], each["member"]) for each in held["memberships"]] == [
        ("All/Staff/staff", "ann"),
        ("All/Staff/staff", "bob"),
    ]
    assert attribute in held["memberships"][0]["reason"]

    place.show(rule or attribute)
    assert place.run(**options, **mode)["held"]["memberships"] == []
    assert place.members() == [("staff", "ann"), ("staff", "bob")]

    place.modify(modified(STAFF, "delete", attribute, values[0]))
    place.run(**options, **mode)
    assert place.members() == [("staff", "bob")], "who really left"
    place.hide(rule or attribute)
    if nobody:
        place.modify(modified(STAFF, "replace", attribute, nobody))
    else:
        place.modify(modified(STAFF, "delete", attribute))
    assert [each["member"] for each in place.held(**options, **mode)["memberships"]] == ["bob"]
    place.show(rule or attribute)
    result = place.run(**options, **mode)
    assert place.members() == [] and result["held"]["memberships"] == [], "the list is empty, and the server proves it"
    assert result["read"]["mode"] == mode["read_mode"]


@pytest.mark.parametrize("mode", [FULL, INCREMENTAL], ids=["full", "incremental"])
def test_one_value_of_a_list_that_is_hidden(place, mode):
    """OpenLDAP has rights for single values."""
    place.modify(people_of("openldap") + names("staff", dn_of("ann"), dn_of("bob"), dn_of("cia")))
    place.run()
    place.hide("ann-in-lists")
    place.modify(modified(STAFF, "delete", "member", dn_of("bob")))
    result = place.run(**mode)
    assert place.members() == [("staff", "ann"), ("staff", "cia")]
    assert [each["member"] for each in result["held"]["memberships"]] == ["ann"]
    assert [each["member"] for each in place.held(**mode)["memberships"]] == ["ann"]
    place.show("ann-in-lists")
    place.modify(modified(STAFF, "delete", "member", dn_of("ann")))
    place.run(**mode)
    assert place.members() == [("staff", "cia")]


def test_many_who_leave_a_list_of_which_one_is_hidden(place):
    """All of them are asked for at once: one who cannot be told keeps no other one."""
    crowd = ["n%03d" % number for number in range(60)]
    place.modify("".join(someone(name, "openldap", number=10) for name in ["ann", "cia", *crowd]))
    place.modify(names("staff", *map(dn_of, ["ann", "cia", *crowd])))
    place.run()
    place.hide("ann-in-lists")
    place.modify(modified(STAFF, "replace", "member", dn_of("cia"), dn_of("ann")))
    result = place.run(**FULL)
    assert [each["member"] for each in result["held"]["memberships"]] == ["ann"]
    assert place.members() == [("staff", "ann"), ("staff", "cia")]


def test_lists_of_some_groups_that_are_hidden(place):
    """R5: of thirty user groups, six were hidden."""
    place.modify(people_of("rfc2307"))
    for number in range(30):
        place.modify(posix_group("g%02d" % number, "ann", "bob", number=100 + number))
    place.modify(posix_group("staff", "ann", "bob"))
    options = {"ldap_parameters": {"preset": "rfc2307"}}
    place.run(**options)
    place.hide("list-of-staff")
    for number in range(30):
        place.modify(modified("cn=g%02d,%s" % (number, PEOPLE), "delete", "memberUid", "ann"))
    result = place.run(**options)
    assert len(result["held"]["memberships"]) == 2 and len(place.members()) == 32


def test_a_list_of_a_group_that_has_two_keys(place):
    """Its key is malformed, so it is known by its DN, and by that the server is asked, too."""
    options = {"ldap_parameters": {"preset": "openldap", "group_key": "description"}}
    place.modify(someone("ann", "openldap") + someone("bob", "openldap"))
    place.modify(names("staff", dn_of("ann"), dn_of("bob")) + modified(STAFF, "add", "description", "key-1"))
    place.run(**options)
    place.modify(modified(STAFF, "add", "description", "key-2"))
    assert not place.run(**options)["changed"]

    place.hide("list-of-staff")
    assert [each["member"] for each in place.held(**options)["memberships"]] == ["ann", "bob"]
    place.modify(modified(STAFF, "delete", "member", dn_of("bob")))
    assert [each["member"] for each in place.held(**options)["memberships"]] == ["ann", "bob"]
    place.show("list-of-staff")
    assert place.run(**options)["changed_groups"][0]["members_removed"] == ["bob"]


def test_a_list_of_a_group_whose_key_somebody_copied(place):
    """What lies where nothing is read proves nothing of the group that has the key."""
    options = {"ldap_parameters": {"preset": "openldap", "group_key": "description"}}
    place.modify(someone("ann", "openldap") + someone("bob", "openldap"))
    place.modify(names("staff", dn_of("ann"), dn_of("bob")) + modified(STAFF, "add", "description", "key-1"))
    place.run(**options)
    copy = "cn=copy,ou=far," + BASE
    place.modify("dn: %s\nobjectClass: groupOfNames\ncn: copy\ndescription: key-1\nmember: %s\n\n" % (copy, BASE))
    place.hide("list-of-staff")
    assert [each["member"] for each in place.held(**options)["memberships"]] == ["ann", "bob"]


def test_a_nested_group_whose_parent_is_hidden(place):
    place.modify(people_of("openldap") + names("inner", dn_of("ann")) + names("staff", "cn=inner," + PEOPLE))
    place.run()
    assert place.nested() == [("staff", "inner")]
    place.hide("list-of-staff")
    held = place.held(**FULL)
    assert [each["member"] for each in held["memberships"]] == ["All/Staff/inner"]
    place.show("list-of-staff")
    place.modify(modified(STAFF, "replace", "member", NOBODY))
    place.run(**FULL)
    assert place.nested() == []


def test_a_nested_group_of_open_directory_whose_parent_is_hidden(place):
    options = {"ldap_parameters": {"preset": "open_directory"}}
    place.modify(people_of("open_directory") + apple_group("inner", 8, 1))
    place.modify(apple_group("staff", 9, 8, attribute="apple-group-nestedgroup"))
    place.run(**options)
    place.hide("apple-group-nestedgroup")
    assert [each["member"] for each in place.held(**options)["memberships"]] == ["All/Staff/inner"]
    place.show("apple-group-nestedgroup")
    place.modify(modified(STAFF, "delete", "apple-group-nestedgroup"))
    place.run(**options)
    assert place.nested() == []


def test_a_new_group_whose_members_are_hidden_is_said(place):
    place.modify(people_of("openldap") + names("other", dn_of("ann")))
    place.run()
    place.hide("member")
    place.modify(names("staff", dn_of("ann")))
    result = place.run(**FULL)
    assert {"dn": STAFF, "reason": "its member cannot be read, so nothing tells who is in it"} in result["not_stored"]
    place.show("member")
    place.run(**FULL)
    assert ("staff", "ann") in place.members()


# --- what users say --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["dn", "name"])
def test_groups_that_users_list(place, form):
    """With names there are no entries of groups: all of them seem to be gone at once."""
    value = STAFF if form == "dn" else "staff"
    options = {"ldap_parameters": {"user_groups": "description", "user_groups_value": form}}
    place.modify(someone("ann", "openldap", "description: " + value) + someone("bob", "openldap", number=2))
    place.modify(names("staff", NOBODY) if form == "dn" else "")
    place.run(**options)
    assert place.members() == [("staff", "ann")]
    place.hide("description")
    held = place.held(**options)
    what = "memberships" if form == "dn" else "user_groups"
    assert len(held[what]) == 1 and "description" in held[what][0]["reason"]
    place.show("description")
    place.modify(modified(dn_of("ann"), "delete", "description"))
    place.run(**options)
    assert [row for row in place.members() if row[0] == "staff"] == ([] if form == "dn" else [("staff", "ann")])
    extinct = place.rows("SELECT extinct FROM user_groups WHERE name = 'staff'")
    assert extinct == ([(None,)] if form == "dn" else [("gone",)])


# --- primary groups --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["gidNumber", "gid-of-staff"], ids=["everywhere", "of the group"])
def test_a_primary_group_that_is_hidden(place, rule):
    options = {"ldap_parameters": {"preset": "rfc2307"}}
    place.modify(someone("ann", "rfc2307", "gidNumber: 9") + someone("bob", "rfc2307", number=2))
    place.modify(posix_group("staff"))
    place.run(**options)
    assert place.members() == [("staff", "ann")]
    place.hide(rule)
    held = place.held(**options)
    assert [each["member"] for each in held["memberships"]] == ["ann"]
    assert "gidNumber" in held["memberships"][0]["reason"]
    place.show(rule)
    assert not place.run(**options)["changed"]
    place.modify(modified(dn_of("ann"), "replace", "gidNumber", "77"))
    place.run(**options)
    assert place.members() == []


def test_a_primary_group_by_sid_that_is_hidden(place):
    """Then the next attribute counts, and says another group: that one is added, and this one is not left."""
    sid = "S-1-5-21-1-2-3-%d"
    options = {"ldap_parameters": {"preset": "openldap_samba"}}
    place.modify(someone("ann", "openldap_samba", "sambaPrimaryGroupSID: " + sid % 900, "gidNumber: 9"))
    for name, number in (("staff", 900), ("by-gid", 901)):
        lines = ("sambaSID: " + sid % number, "sambaGroupType: 2")
        place.modify(posix_group(name, number=number - 892, kinds=("sambaGroupMapping",), lines=lines))
    place.run(**options)
    assert place.members() == [("staff", "ann")]
    place.hide("sambaPrimaryGroupSID")
    place.run(**options)
    held = place.held(**options)
    assert [(each["user_group"], each["member"]) for each in held["memberships"]] == [("All/Staff/staff", "ann")]
    place.show("sambaPrimaryGroupSID")
    place.run(**options)
    assert place.members() == [("staff", "ann")]
    place.modify(modified(dn_of("ann"), "delete", "sambaPrimaryGroupSID"))
    place.run(**options)
    assert place.members() == [("by-gid", "ann")]


# --- SIDs ------------------------------------------------------------------------------------------------------------


def test_a_sid_that_is_hidden(place):
    """By it, a group of another directory knows the user: see test_several_domains."""
    options = {"ldap_parameters": {"preset": "openldap_samba"}}
    place.modify(DOMAIN + someone("ann", "openldap_samba"))
    place.run(**options)
    before = place.rows("SELECT name, sid FROM users")
    assert before == [("ann", "S-1-5-21-1-2-3-1")]
    place.hide("sambaSID")
    held = place.held(**options)
    assert held["users"] == [{"name": "ann", "would_be": "without_sid", "reason": "its sambaSID cannot be read"}]
    assert place.rows("SELECT name, sid FROM users") == before
    place.show("sambaSID")
    assert not place.run(**options)["changed"]


@pytest.mark.parametrize("right", ["domains", "sambaSID"])
def test_the_domain_of_a_sid_that_is_hidden(place, right):
    """Only the entry of the domain says that its SIDs count. Who writes himself another SID loses his all the same."""
    options = {"ldap_parameters": {"preset": "openldap_samba"}}
    place.modify(DOMAIN + someone("ann", "openldap_samba") + someone("bob", "openldap_samba", number=2))
    place.run(**options)
    before = place.rows("SELECT name, sid FROM users")
    place.hide(right)
    held = place.held(**options)
    assert [(user["name"], user["would_be"]) for user in held["users"]] == [
        ("ann", "without_sid"),
        ("bob", "without_sid"),
    ]
    assert place.rows("SELECT name, sid FROM users") == before
    place.modify(modified(dn_of("bob"), "replace", "sambaSID", "S-1-5-21-9-9-9-1"))
    if right == "domains":
        place.run(**options)
        assert place.rows("SELECT name, sid FROM users") == [before[0], ("bob", None)]
        approved = place.once(True, **options)["held"]["plan_digest"]
        place.run(approved_plan=approved, **options)
        assert place.rows("SELECT name, sid FROM users") == [("ann", None), ("bob", None)]
    place.show(right)
    place.run(**options)
    assert place.rows("SELECT name, sid FROM users") == [before[0], ("bob", None)]


# --- who is in scope -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [FULL, INCREMENTAL], ids=["full", "incremental"])
def test_a_filter_whose_attribute_is_hidden(place, mode):
    options = {"user_filter": "(&(employeeType=staff)(!(description=left)))"}
    place.modify(someone("ann", "openldap", "employeeType: staff") + someone("bob", "openldap", "employeeType: staff"))
    place.run(**options)
    assert len(place.users()) == 2
    for attribute in ("employeeType", "description"):
        place.hide(attribute)
        for name in ("ann", "bob"):
            place.modify(modified(dn_of(name), "replace", "title", attribute))
        held = place.held(**options, **mode, allow_empty=True)
        assert [(each["name"], each["would_be"]) for each in held["users"]] == [("ann", "extinct"), ("bob", "extinct")]
        assert "employeeType=staff" in held["users"][0]["reason"]
        place.show(attribute)
        assert not place.run(**options, **mode)["users"]["extinct"]
    place.modify(modified(dn_of("ann"), "replace", "description", "left"))
    place.modify(modified(dn_of("bob"), "delete", "employeeType"))
    result = place.run(**options, **mode, allow_empty=True)
    assert result["users"]["extinct"] == ["ann", "bob"] and place.users() == []


@pytest.mark.parametrize("mode", [FULL, INCREMENTAL], ids=["full", "incremental"])
def test_who_is_in_scope_by_a_list_that_is_hidden(place, mode):
    """He lies outside of what is selected: only the list, or one that is nested in it, brings him in."""
    far = "ou=far," + BASE
    place.modify(someone("ann", "openldap") + someone("zoe", "openldap", below=far))
    place.modify(someone("yan", "openldap", below=far, number=7))
    place.modify(names("inner", dn_of("yan", far)).replace(PEOPLE, far))
    place.modify(names("staff", dn_of("ann"), dn_of("zoe", far), "cn=inner," + far))
    place.run()
    assert place.users() == [("ann", 1), ("yan", 1), ("zoe", 1)]
    place.hide("list-of-staff")
    if mode is INCREMENTAL:
        place.modify(modified(STAFF, "replace", "description", "looked at"))
    held = place.held(**mode)
    assert [each["name"] for each in held["users"]] == ["yan", "zoe"]
    assert [each["path"] for each in held["user_groups"]] == ["All/Staff/inner"]
    place.show("list-of-staff")
    assert not place.run(**mode)["changed"]
    place.modify(modified(STAFF, "delete", "member", "cn=inner," + far, dn_of("zoe", far)))
    result = place.run(**mode)
    assert result["users"]["extinct"] == ["yan", "zoe"] and result["held"]["users"] == []


def test_who_is_deleted_or_moved_away_is_no_question_of_rights(place):
    far = "ou=far," + BASE
    place.modify(people_of("openldap") + names("staff", dn_of("ann"), dn_of("cia")))
    place.run()
    place.hide("list-of-staff")
    place.modify("dn: %s\nchangetype: delete\n\n" % dn_of("ann"))
    place.modify(
        "dn: %s\nchangetype: modrdn\nnewrdn: uid=bob\ndeleteoldrdn: 1\nnewsuperior: %s\n\n" % (dn_of("bob"), far)
    )
    result = place.run(**FULL)
    assert result["users"]["extinct"] == ["ann", "bob"]
    assert [each["member"] for each in result["held"]["memberships"]] == ["cia"]
