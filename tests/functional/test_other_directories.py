# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What other people's directories have, and others' synchronizers have met: from public bug reports."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _options, _settings
from ansible_collections.usersync.directory.plugins.module_utils._directory import browse
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from support import misbehaving, tree
from support.lab import (
    BASE,
    PEOPLE,
    ROOT,
    Lab,
    deleted,
    dn_of,
    entry,
    group,
    modified,
    person,
    posix,
    renamed,
    synchronize,
    unit,
)
from support.misbehaving import PASSWORD, MisbehavingDirectory
from support.slapd import Slapd

STAFF = "OU=Staff," + tree.DOMAIN


# --- Active Directory ------------------------------------------------------------------------------------------------


class Domain(Lab):
    """An Active Directory domain with one unit, and one store."""

    def once(self, check_mode=False, **more):
        options = {
            "name": "ad",
            "user_group": "All/AD",
            **self.server.in_clear(),
            "distinguished_name": STAFF,
            "store": str(self.store),
            **more,
        }
        self.warnings = []
        return synchronize(check_mode, self.warnings, **options)


@pytest.fixture
def domain():
    domain = tree.ActiveDirectory()
    domain.unit("Staff")
    return domain


@pytest.fixture
def ad(domain, tmp_path):
    with MisbehavingDirectory(domain) as server:
        server.modify = None
        yield Domain(server, tmp_path / "users.db")


# The account by which OTHER trusts this domain: PASSWD_NOTREQD and INTERDOMAIN_TRUST_ACCOUNT (MS-SAMR 2.2.1.13).
TRUST = {"userAccountControl": 2080, "sAMAccountType": 805306370}


@pytest.mark.parametrize("selected", [STAFF, []])
def test_the_account_of_a_trust_is_no_user(domain, ad, selected):
    container = domain.add("CN=Users," + tree.DOMAIN, {"objectClass": ["top", "container"]}) if selected else STAFF
    trust = domain.user("OTHER$", container, **TRUST)
    domain.group("all", STAFF, domain.user("ann", STAFF), trust)
    result = ad.run(distinguished_name=selected)
    assert ad.members() == [("all", "ann")]
    assert result["summary"]["memberships"]["computers"] == 1


# --- limits ----------------------------------------------------------------------------------------------------------


def test_limits_after_a_group_ended(tmp_path):
    """Finding 7: what is counted is of what it is compared with."""
    names = ["u%d" % number for number in range(20)] + ["a", "b", "c", "d"]
    ldif = ROOT + unit("people") + "".join(map(person, names))
    ldif += group("g", *map(dn_of, "abc")) + group("h", dn_of("d"))
    with Slapd(ldif=ldif) as server:
        lab = Lab(server, tmp_path / "users.db")
        all_of_it = dict.fromkeys(("users", "user_groups", "memberships"), "100%")
        lab.once(removal_limits=all_of_it)
        lab.modify(deleted("cn=g," + PEOPLE))
        lab.once(removal_limits=all_of_it)
        lab.modify(deleted(dn_of("a")) + deleted(dn_of("b")))
        for policy in ("skip", "delete"):
            lab.run(user_extinction=policy, removal_limits=all_of_it)
        lab.modify(deleted("cn=h," + PEOPLE))
        lab.run(user_extinction="delete", user_group_extinction="delete", removal_limits=all_of_it)


# --- attributes that nobody asked for --------------------------------------------------------------------------------


def test_a_subtype_comes_with_what_was_asked_for(tmp_path):
    """Who asks for mail gets mailAlias as well (RFC 4511, 4.5.1.8)."""
    people = person("ann", "objectClass: hasAlias", "mailAlias: a@example.org") + person("bob", "mail: bob@example.org")
    ldif = ROOT + unit("people") + people + group("staff", dn_of("ann"), dn_of("bob"))
    with Slapd(ldif=ldif) as server:
        lab = Lab(server, tmp_path / "users.db")
        lab.run()
        assert lab.members() == [("staff", "ann"), ("staff", "bob")]
        assert lab.rows("SELECT name, attributes ->> 'email' FROM users ORDER BY name") == [
            ("ann", None),
            ("bob", "bob@example.org"),
        ]


def test_values_with_an_option_are_told_as_what_they_are(tmp_path):
    """They are subtypes (RFC 4512, 2.5.2): the server finds the group by (member=*), and nothing is hidden."""
    ldif = ROOT + unit("people") + person("ann") + group("odd", dn_of("ann"), attribute="member;lang-de")
    with Slapd(ldif=ldif) as server:
        lab = Lab(server, tmp_path / "users.db")
        reasons = [each["reason"] for each in lab.run()["not_stored"]]
        assert reasons == [
            "its member comes as member;lang-de alone, and values with an option are not read, so nothing tells who is "
            "in it"
        ]
        lab.modify(modified("cn=odd," + PEOPLE, "replace", "member", dn_of("ann")))
        lab.run()
        assert lab.members() == [("odd", "ann")]
        lab.modify(
            modified("cn=odd," + PEOPLE, "replace", "member;lang-de", dn_of("ann"))
            + modified("cn=odd," + PEOPLE, "delete", "member")
        )
        lab.run(removal_limits={"memberships": "100%"})
        assert lab.members() == [("odd", "ann")], "the server says that she is listed"


def test_a_listed_name_that_only_the_server_takes_for_a_user(tmp_path):
    """It is asked for, as a DN is: what does not matter is left out by it (RFC 4518, 2.6)."""
    names = ["ann ", " ann", "ANN", "\uff41nn", "who"]
    encoded = [base64.b64encode(name.encode()).decode() for name in names]
    lists = [
        entry("cn=g%d,%s" % (number, PEOPLE), "objectClass: device", "cn: g%d" % number, "description:: " + value)
        for number, value in enumerate(encoded)
    ]
    ldif = ROOT + unit("people") + unit("out") + person("ann", below="ou=out," + BASE) + person("bob") + "".join(lists)
    listed = {"group_class": "device", "group_members": "description", "member_value": "name"}
    with Slapd(ldif=ldif) as server:
        for selected in ([], [PEOPLE]):
            lab = Lab(server, tmp_path / ("%d.db" % len(selected)))
            result = lab.run(ldap_parameters=listed, distinguished_name=selected)
            assert [each["value"] for each in result["unresolved_members"]] == ["who"]
            assert lab.members() == [("g0", "ann"), ("g1", "ann"), ("g2", "ann"), ("g3", "ann")]


@pytest.mark.parametrize("attribute", ["memberOf", "whatever"])
def test_a_server_that_sends_more_than_it_was_asked_for(domain, ad, monkeypatch, attribute):
    nurses = domain.group("nurses", STAFF, domain.user("ann", STAFF))
    select = misbehaving.select
    monkeypatch.setattr(
        misbehaving,
        "select",
        lambda entry, names, *more: [*select(entry, names, *more), (attribute, [nurses.encode()])],
    )
    ad.run()
    assert ad.members() == [("nurses", "ann")]


# --- DNs -------------------------------------------------------------------------------------------------------------


def test_a_list_that_users_spell_in_several_ways_dangles(tmp_path):
    """Finding 11: nobody's list changed, so nobody goes."""
    old = "ou=old," + BASE
    people = person("ann", "seeAlso: cn=g," + old) + person("bob", "seeAlso: cn=G,ou=OLD," + BASE) + person("cleo")
    ldif = ROOT + unit("people") + unit("old") + people + group("g", dn_of("cleo"), below=old)
    with Slapd(ldif=ldif) as server:
        lab = Lab(server, tmp_path / "users.db")
        listed = {"ldap_parameters": {"user_groups": "seeAlso"}}
        lab.run(**listed)
        assert lab.members() == [("g", "ann"), ("g", "bob")]
        lab.modify(renamed(old, "ou=new"))
        result = lab.run(**listed)
        assert lab.members() == [("g", "ann"), ("g", "bob")]
        assert [each["reason"] for each in result["not_stored"]] == [
            "it does not exist or cannot be read; users that list it as a group: 2"
        ]
        lab.modify(modified(dn_of("bob"), "replace", "seeAlso", "cn=g,ou=Old," + BASE))
        lab.run(**listed)
        assert lab.members() == [("g", "ann"), ("g", "bob")]
        lab.modify(modified(dn_of("bob"), "delete", "seeAlso"))
        lab.run(removal_limits={"memberships": "1"}, **listed)
        assert lab.members() == [("g", "ann")]


# --- a preset that is not the server's -------------------------------------------------------------------------------


def with_key_of_389ds(number):
    return "objectClass: nsOperational", "nsUniqueId: 6f9619ff-8b86d011-b42d00c0-4fc9%04d" % number


def with_key_of_freeipa(number):
    return "objectClass: ipaObject", "ipaUniqueID: 6f9619ff-8b86-d011-b42d-00c04fc9%04d" % number


def a_crew(below, kind, key, members):
    return entry(
        "cn=staff," + below, "objectClass: " + kind, "cn: staff", *key, *("member: " + member for member in members)
    )


def of_389ds():
    """The container of people, what makes a user there, and a group of these."""
    return (
        entry(PEOPLE, "objectClass: organizationalUnit", "ou: people", *with_key_of_389ds(8)),
        lambda name, number: person(name, *with_key_of_389ds(number)),
        lambda *members: a_crew(PEOPLE, "groupOfNames", with_key_of_389ds(9), members),
        PEOPLE,
    )


def of_freeipa():
    below = "cn=accounts," + BASE
    return (
        entry(below, "objectClass: device", *with_key_of_389ds(8)),
        lambda name, number: posix(name, number, below, *with_key_of_freeipa(number)),
        lambda *members: a_crew(below, "ipaUserGroup", with_key_of_freeipa(9), members),
        below,
    )


@pytest.mark.parametrize(("preset", "entries"), [("389ds", of_389ds()), ("freeipa", of_freeipa())])
def test_what_changed_where_the_preset_is_not_of_the_server(tmp_path, preset, entries):
    """Finding 12: OpenLDAP tells what changed by entryUUID, and the preset's key is another."""
    container, a_user, a_group, below = entries
    ann, bob, cleo = (dn_of(name, below) for name in ("ann", "bob", "cleo"))
    people = "".join(a_user(name, number) for number, name in enumerate(("ann", "bob", "cleo")))
    with Slapd(ldif=ROOT + container + people + a_group(ann, bob), overlays=("syncprov",)) as server:
        lab = Lab(server, tmp_path / "users.db")
        read = {"ldap_parameters": {"preset": preset}, "distinguished_name": below}
        lab.run(**read)
        lab.modify(
            modified(ann, "replace", "title", "Nurse")
            + deleted(bob)
            + modified("cn=staff," + below, "replace", "member", ann, cleo)
            + a_user("dora", 7)
        )
        result = lab.run(removal_limits={"users": "1"}, **read)
        assert result["read"]["mode"] == "incremental"
        assert lab.members() == [("staff", "ann"), ("staff", "cleo")]
        assert lab.rows("SELECT name, attributes ->> 'title' FROM users WHERE extinct IS NULL ORDER BY name") == [
            ("ann", "Nurse"),
            ("cleo", None),
            ("dora", None),
        ]


# --- DNs in options that the server takes, and that we spell otherwise -----------------------------------------------

# What OpenLDAP takes for one DN: names of attributes and their numbers (RFC 4519), and what is one text once it is
# prepared for comparison (RFC 4518).
OTHER_SPELLINGS = {
    "another name of the attribute": "organizationalUnitName=%s," + BASE,
    "its number": "2.5.4.11=%s," + BASE,
    "another name in the suffix": "ou=%s,domainComponent=example,domainComponent=org",
    "a number in the suffix": "OU=%s,0.9.2342.19200300.100.1.25=EXAMPLE,dc=org",
    "full width": "ou=\uff43\uff4f\uff4e\uff54\uff52\uff41\uff43\uff54\uff4f\uff52\uff53," + BASE,
}


@pytest.fixture(scope="module")
def contractors():
    """ann, and bob who is a contractor, with groups of them."""
    below = "ou=contractors," + BASE
    people = person("ann") + person("bob", below=below)
    groups = group("all", dn_of("ann"), dn_of("bob", below)) + group("externals", dn_of("bob", below), below=below)
    with Slapd(ldif=ROOT + unit("people") + unit("contractors") + people + groups) as server:
        yield server


def spelled(spelling):
    return spelling % "contractors" if "%s" in spelling else spelling


@pytest.mark.parametrize("spelling", OTHER_SPELLINGS.values(), ids=OTHER_SPELLINGS)
def test_a_dn_in_an_option_is_the_entry_that_the_server_finds_by_it(contractors, tmp_path, spelling):
    lab, written = Lab(contractors, tmp_path / "users.db"), spelled(spelling)
    lab.run(exclude_distinguished_name=written)
    assert lab.members() == [("all", "ann")]
    lab = Lab(contractors, tmp_path / "selected.db")
    lab.run(distinguished_name=written, outside_members="skip")
    assert lab.members() == [("externals", "bob")]
    lab.run(distinguished_name=written, outside_members="skip")
    lab = Lab(contractors, tmp_path / "required.db")
    lab.run(required_entries=written)
    with pytest.raises(SynchronizationError, match="^required_entries: "):
        lab.once(required_entries=written.replace("ors", "or5").replace("\uff52\uff53", "\uff52\uff15"))
    with pytest.raises(SynchronizationError, match="^distinguished_name and exclude_distinguished_name both have"):
        lab.once(distinguished_name="ou=contractors," + BASE, exclude_distinguished_name=written)
    assert browsed(contractors, written) == browsed(contractors, "ou=contractors," + BASE)


def test_two_dns_in_one_string_are_a_list(contractors, tmp_path):
    lab, below = Lab(contractors, tmp_path / "users.db"), "ou=contractors,"
    hint = "; if these are several DNs, write each as an item of a list"
    for dn in (below + BASE + "," + PEOPLE, PEOPLE + " " + below + BASE):
        for option in ("distinguished_name", "exclude_distinguished_name", "required_entries"):
            with pytest.raises(SynchronizationError, match=f"^{option}: .*{hint}$"):
                lab.once(**{option: dn})
    with pytest.raises(SynchronizationError, match="^distinguished_name: .*" + hint):
        browsed(contractors, PEOPLE + "," + below + BASE)
    with pytest.raises(SynchronizationError, match="^distinguished_name: .*" + hint):
        lab.once(distinguished_name=BASE + ",dc=com")
    with pytest.raises(SynchronizationError, match="correct or remove it$"):
        lab.once(distinguished_name="ou=nowhere," + BASE)


def browsed(server, dn):
    specification = _options.module_arguments(_options.CONNECTION, _options.BROWSING)["argument_spec"]
    options = {option: described.get("default") for option, described in specification.items()}
    options.update(server=[server.ldapi_url], encryption="none", use_ldap=True, authentication="external")
    found = browse.browse(
        _settings.browse_settings_from({**options, "distinguished_name": dn}, pytest.fail), pytest.fail
    )
    return [(each["dn"], each["type"]) for each in found["entries"]]


# --- values that no one can have -------------------------------------------------------------------------------------


class AnotherLDAP(Domain):
    """A directory that is no Active Directory, with ann and bob in cn=staff."""

    def once(self, check_mode=False, **more):
        given = {"login": "cn=admin,dc=example", "use_ldap": True, "ldap_parameters": {"preset": "openldap"}}
        return super().once(check_mode, **{"distinguished_name": [], **given, **more})


@pytest.fixture
def another(tmp_path):
    ldap = tree.OpenLDAP()
    people = ldap.unit("people")
    staff = ldap.group("staff", people, ldap.user("ann", people), ldap.user("bob", people))
    with MisbehavingDirectory(ldap, logins={"cn=admin,dc=example": PASSWORD}) as server:
        server.modify = None
        lab = AnotherLDAP(server, tmp_path / "users.db")
        lab.ldap, lab.people, lab.staff = ldap, people, staff
        yield lab


def test_a_dn_in_a_list_that_its_own_server_takes_for_none(another):
    """Finding 10: OpenLDAP's overlay refint has written a DN without a name, and answers invalidDNSyntax to it."""
    another.run()
    bad = "uid=ann,ou=,ou=new," + tree.SUFFIX
    another.ldap.set(another.staff, "member", bad, "uid=bob," + another.people)
    another.server.fail(lambda request: "ou=,ou=new" in request.base, misbehaving.ends_with(34))
    result = another.run()
    assert [each["value"] for each in result["unresolved_members"]] == [bad]
    assert ("staff", "bob") in another.members()


def test_a_value_that_comes_twice_counts_once(another):
    ann, ghost = "uid=ann," + another.people, "uid=ghost," + another.people
    another.ldap.set(another.staff, "member", ann, ann)
    result = another.run()
    (changed,) = result["changed_groups"]
    assert (changed["members_added"], result["summary"]["memberships"]["added"]) == (["ann"], 1)
    another.ldap.set(another.staff, "member", ann, ghost, ann, ghost)
    result = another.run()
    assert [each["value"] for each in result["unresolved_members"]] == [ghost]
    assert (result["summary"]["memberships"]["unresolved"], result["summary"]["memberships"]["total"]) == (1, 1)


def test_a_mapped_field_that_nobody_has_is_told_in_each_full_read(another):
    mapped = {
        "read_mode": "full",
        "user_attributes": {"badge": "employeeBadge", "email": "otherMail", "name": "uid"},
        "group_attributes": {"manager": "owner", "name": "cn"},
    }
    ann, why = "uid=ann," + another.people, "correct the attribute, or give the account the right to read it"

    def told():
        another.once(**mapped)
        return [text for text in another.warnings if "has a value" in text]

    another.once()
    of_users = "user_attributes: no user has a value for '%s' (%s): " + why
    of_groups = "group_attributes: no user group has a value for 'manager' (owner): " + why
    badge, email = of_users % ("badge", "employeeBadge"), of_users % ("email", "otherMail")
    assert told() == [badge, email, of_groups], "with another mapping"
    assert told() == [badge, email, of_groups], "where all is as stored"
    another.ldap.set(ann, "otherMail", "ann@example.org")
    assert told() == [badge, of_groups], "where somebody has changed"
    assert told() == [badge, of_groups]
    another.ldap.set(ann, "employeeBadge", "7")
    another.ldap.set(another.staff, "owner", ann)
    assert told() == []
    another.once(**{**mapped, "user_attributes": {}}, name="second")
    assert not [text for text in another.warnings if "user_attributes" in text]


@pytest.mark.parametrize("value", [b"2024-01-01T00:00:00+00:00", b"", b"yesterday"])
def test_a_time_that_only_helps_ends_no_read(another, value):
    """Finding 9: LLDAP's createTimestamp is no GeneralizedTime (RFC 4517, 3.3.13). It only orders collisions."""
    another.ldap.set("uid=ann," + another.people, "createTimestamp", value)
    result = another.run()
    assert another.members() == [("staff", "ann"), ("staff", "bob")] and result["not_stored"] == []


# --- two entries that we took for one --------------------------------------------------------------------------------


def test_entries_whose_capitals_are_the_same(tmp_path):
    """Finding 2: '\u0131' and 'i' have one capital. To OpenLDAP, and to us, they are two letters."""
    dotless, dotted = "\u0131s\u0131", "isi"
    outer = group("outer1", "cn=%s,%s" % (dotless, PEOPLE)) + group("outer2", "cn=%s,%s" % (dotted, PEOPLE))
    inner = group(dotless, dn_of("ann")) + group(dotted, dn_of("bob"))
    lists = group("ghosts", "uid=\u0131sik," + PEOPLE, dn_of("ann"))
    units = unit("\u0131l\u0131") + unit("ili")
    people = "".join(map(person, ("ann", "bob", "isik")))
    people += person("cleo", below="ou=\u0131l\u0131," + BASE) + person("dan", below="ou=ili," + BASE)
    with Slapd(ldif=ROOT + unit("people") + units + people + inner + outer + lists) as server:
        lab = Lab(server, tmp_path / "users.db")
        result = lab.run()
        assert lab.members() == [("ghosts", "ann"), (dotted, "bob"), (dotless, "ann")]
        nested = lab.rows(
            "SELECT o.name, i.name FROM nestings n JOIN user_groups o ON o.id = n.user_group_id"
            " JOIN user_groups i ON i.id = n.nested_id ORDER BY 1"
        )
        assert nested == [("outer1", dotless), ("outer2", dotted)]
        assert [each["value"] for each in result["unresolved_members"]] == ["uid=\u0131sik," + PEOPLE]
        lab = Lab(server, tmp_path / "units.db")
        lab.run(group_structure="organizational_units", exclude_distinguished_name="ou=ili," + BASE)
        assert ("\u0131l\u0131", "cleo") in lab.members() and "dan" not in dict(map(reversed, lab.members()))


def in_base64(line):
    attribute, _colon, value = line.partition(": ")
    return "%s:: %s" % (attribute, base64.b64encode(value.encode()).decode())


def test_names_that_are_two_to_the_server(tmp_path):
    """Finding 2 for names: 'wei\u00df' and 'weiss' are two to OpenLDAP. Nobody is in a group by the other's name."""

    def user(name, number):
        lines = ("objectClass: inetOrgPerson", "cn: u%d" % number, "sn: x", in_base64("uid: " + name))
        return entry("cn=u%d,%s" % (number, PEOPLE), *lines)

    def a_list(name, *listed):
        lines = (
            "objectClass: device",
            in_base64("cn: " + name),
            *(in_base64("description: " + each) for each in listed),
        )
        return entry(
            "ou=l%d,%s" % (len(listed), PEOPLE), *lines, "objectClass: extensibleObject", "ou: l%d" % len(listed)
        )

    people = "".join(
        user(name, number) for number, name in enumerate(("wei\u00df", "weiss", "gro\u00df", "ann", "bob", "bob "))
    )
    lists = (
        a_list("Stra\u00dfe", "wei\u00df")
        + a_list("Strasse", "weiss", "gross")
        + a_list("ANN", "GRO\u00df", "ann ", "bob")
    )
    listed = {"group_class": "device", "group_members": "description", "member_value": "name"}
    with Slapd(ldif=ROOT + unit("people") + people + lists) as server:
        lab = Lab(server, tmp_path / "users.db")
        result = lab.run(ldap_parameters=listed)
        assert sorted(lab.members()) == [
            ("ANN", "ann"),
            ("ANN", "gro\u00df"),
            ("Strasse", "weiss"),
            ("Stra\u00dfe", "wei\u00df"),
        ]
        told = {(each["value"], each["reason"]) for each in result["unresolved_members"]}
        assert told == {
            ("bob", "is ambiguous: several users have this name"),
            ("gross", "does not exist or cannot be read"),
        }
        assert [(each["name"], each["reason"]) for each in result["collisions"]] == [("bob", "the name is taken")]
        lab.modify(modified("ou=l3," + PEOPLE, "replace", "description", "gross"))
        lab.run(ldap_parameters=listed, removal_limits={"memberships": "2"})
        assert sorted(lab.members()) == [("Strasse", "weiss"), ("Stra\u00dfe", "wei\u00df")]


def test_two_users_whose_dns_are_one_to_us(another, tmp_path):
    """To this server an accent of its own makes another name. A list that has neither's bytes means nobody we could
    tell; who was meant before the second one came stays.
    """
    one, two = "jos\u00e9", "jose\u0301"
    another.ldap.user(one, another.people)
    another.ldap.set(another.staff, "member", "UID=%s,%s" % (one, another.people), "uid=bob," + another.people)
    assert another.run()["unresolved_members"] == []
    assert another.members() == [("staff", "bob"), ("staff", one)]
    another.ldap.user(two, another.people, uid="pepe")
    (unresolved,) = another.run()["unresolved_members"]
    assert unresolved["reason"].startswith("is ambiguous: several entries have DNs")
    assert another.members() == [("staff", "bob"), ("staff", one)]
    fresh = AnotherLDAP(another.server, tmp_path / "fresh.db")
    assert fresh.run()["unresolved_members"] == [unresolved]
    assert fresh.members() == [("staff", "bob")]
    another.ldap.set(another.staff, "member", *("uid=%s,%s" % (name, another.people) for name in (one, two)))
    assert fresh.run(removal_limits={"memberships": "1"})["unresolved_members"] == []
    assert sorted(fresh.members()) == [("staff", one), ("staff", "pepe")]


@pytest.mark.parametrize("mode", ["full", "auto"])
def test_a_listed_dn_that_only_the_server_takes_for_an_entry(tmp_path, mode):
    """It is asked for: compatibility forms (RFC 4518, 2.3), and a final sigma."""
    names = {"fi": "\ufb01", "o\u03b4o\u03c3": "\uff4f\u03b4o\u03c3", "k\u00f6 y": "k\u00f6\u00a0y"}
    people = "".join(map(person, names)) + person("ann")
    lists = group("staff", dn_of("ann"), *map(dn_of, names.values())) + group("\ufb01g", dn_of("ann"))
    lists += group("outer", "cn=fig," + PEOPLE)
    with Slapd(ldif=ROOT + unit("people") + people + lists, overlays=("syncprov",)) as server:
        lab = Lab(server, tmp_path / "users.db")
        result = lab.run(read_mode=mode)
        members = [("staff", name) for name in names]
        assert sorted(lab.members()) == sorted([*members, ("staff", "ann"), ("\ufb01g", "ann")])
        assert result["unresolved_members"] == []
        assert lab.rows("SELECT count(*) FROM nestings") == [(1,)]
        lab.modify(modified(dn_of("fi"), "replace", "title", "x") + deleted(dn_of("ann")))
        lab.run(read_mode=mode, removal_limits={"users": "1", "memberships": "2", "user_groups": "1"})
        assert sorted(lab.members()) == sorted(members)
