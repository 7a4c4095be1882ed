# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that are no Active Directory, OpenLDAP or 389 Directory Server as these are set up usually."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from support import tree
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
    posix_group,
    renamed,
    synchronize,
    unit,
)
from support.misbehaving import PASSWORD, MisbehavingDirectory, ends_with
from support.slapd import Slapd

ADMIN = "cn=admin,dc=example"
NAMES = ("ann", "bob", "cyd", "dan", "eve")
COMPANY = ROOT + unit("people") + "".join(map(person, NAMES)) + group("staff", *map(dn_of, NAMES))


class OtherLDAP(Lab):
    """A directory in memory, and one store."""

    def __init__(self, server, store):
        server.modify = None
        super().__init__(server, store)

    def once(self, check_mode=False, **more):
        options = {
            "name": "other",
            "user_group": "All/Other",
            **self.server.in_clear(),
            "use_ldap": True,
            "page_size": 2,
            "store": str(self.store),
            **more,
        }
        self.warnings = []
        return synchronize(check_mode, self.warnings, **options)


def served(directory, **more):
    return MisbehavingDirectory(directory, logins={ADMIN: PASSWORD}, **more)


# --- paged results ---------------------------------------------------------------------------------------------------


def with_limits(limits):
    return lambda text: "\n".join(
        "limits * " + limits if line.startswith("limits ") else line for line in text.split("\n")
    )


def test_openldap_that_refuses_pages(tmp_path):
    """size.prtotal=disabled is answered with adminLimitExceeded (slapd.conf(5), limits)."""
    settings = "limits * size.prtotal=disabled size=unlimited"
    with Slapd(ldif=COMPANY, settings=settings, overlays=("syncprov",)) as server:
        lab = Lab(server, tmp_path / "users.db")
        lab.run()
        assert lab.members() == [("staff", name) for name in NAMES]
        server.modify(modified("cn=staff," + PEOPLE, "delete", "member", dn_of("bob")) + deleted(dn_of("cyd")))
        few = {"users": "1", "memberships": "2"}
        result = lab.run(removal_limits=few)
        assert result["read"]["mode"] == "incremental"
        assert lab.members() == [("staff", name) for name in ("ann", "dan", "eve")]
        server.configure(with_limits("size.prtotal=disabled size=3"))
        before = lab.contents()
        with pytest.raises(SynchronizationError) as error:
            lab.once(read_mode="full")
        assert "pagedResults control not allowed" in str(error.value)
        assert str(error.value).endswith("; without pages it ended after 3 entries (sizeLimitExceeded (4))")
        assert lab.contents() == before


def company():
    ldap = tree.OpenLDAP()
    people = ldap.unit("people")
    ldap.group("staff", people, *(ldap.user(name, people) for name in NAMES))
    return ldap, people


@pytest.mark.parametrize("listed", [None, [], [b"1.2.840.113556.1.4.319"]], ids=["hidden", "not listed", "listed"])
@pytest.mark.parametrize("paging", ["ignored", 2, 12, 53])
def test_a_server_without_pages_is_read_in_one_piece(tmp_path, paging, listed):
    ldap, people = company()
    ldap.root_dse.pop("supportedcontrol")
    if listed is not None:
        ldap.root_dse["supportedcontrol"] = listed
    with served(ldap, paging=paging) as server:
        lab = OtherLDAP(server, tmp_path / "users.db")
        lab.run()
        assert lab.members() == [("staff", name) for name in NAMES]
        ldap.remove("uid=bob," + people)
        ldap.set("cn=staff," + people, "member", *("uid=%s,%s" % (name, people) for name in ("ann", "cyd", "dan")))
        lab.run(removal_limits={"users": "1", "memberships": "2"})
        assert lab.members() == [("staff", name) for name in ("ann", "cyd", "dan")]
        paged = {request.page_size for request in server.of_kind("search")}
        assert (paged == {None}) == (listed == [])
        server.size_limit = 2
        before = lab.contents()
        with pytest.raises(SynchronizationError, match="ended after 2 entries .sizeLimitExceeded .4.."):
            lab.once(removal_limits={"users": "100%"})
        assert lab.contents() == before


# --- the root DSE ----------------------------------------------------------------------------------------------------


def hide_root_dse(text):
    rule = 'access to dn.base="" by dn.exact="cn=admin,%s" read by * none' % BASE
    schema = 'access to dn.base="cn=Subschema" by * read'
    return text.replace("database mdb", "%s\n%s\ndatabase mdb" % (rule, schema))


def test_a_root_dse_that_cannot_be_read(tmp_path):
    people = unit("people") + unit("more") + "".join(map(person, NAMES[:3])) + person("zoe", below="ou=more," + BASE)
    ldif = ROOT + people + group("staff", dn_of("ann"), dn_of("bob"), dn_of("zoe", "ou=more," + BASE))
    with Slapd(ldif=ldif) as server:
        lab = Lab(server, tmp_path / "users.db")
        told = {"distinguished_name": PEOPLE, "ldap_parameters": {"preset": "openldap"}}
        lab.run(**told)
        before = lab.members()
        assert before == [("staff", "ann"), ("staff", "bob"), ("staff", "zoe")]
        server.configure(hide_root_dse)
        assert not lab.run(**told)["changed"]
        # A first run, of a server whose schema has no pwdAccountLockedTime: the entries say where the schema is.
        first = Lab(server, tmp_path / "first.db")
        first.run(**told)
        assert first.members() == before and first.rows("SELECT DISTINCT enabled FROM users") == [(1,)]
        lab.modify(renamed(PEOPLE, "ou=persons") + deleted("uid=bob,ou=persons," + BASE))
        lab.run(removal_limits={"users": "1", "memberships": "1"}, **told)
        assert lab.members() == [("staff", "ann"), ("staff", "zoe")]
        for missing, said in (
            ("ldap_parameters", "^ldap_parameters.preset: the server does not tell what it is: set it to one of"),
            ("distinguished_name", "^distinguished_name: the server has no naming context that this login can see"),
        ):
            with pytest.raises(SynchronizationError, match=said):
                lab.once(**{option: value for option, value in told.items() if option != missing})
        with pytest.raises(SynchronizationError, match="^distinguished_name: 'ou=x,dc=other' does not exist"):
            lab.once(**{**told, "distinguished_name": "ou=x,dc=other"})


def test_a_root_dse_that_is_refused(tmp_path):
    """And a server that refers to another one for all that it has not itself."""
    ldap, people = company()
    with served(ldap) as server:
        lab = OtherLDAP(server, tmp_path / "users.db")
        told = {"distinguished_name": people, "ldap_parameters": {"preset": "openldap"}}
        server.fail(lambda request: request.kind == "search" and not request.base, ends_with(50))
        server.fail(lambda request: request.base == "dc=org", ends_with(10, referrals=["ldap://192.0.2.1/dc=org"]))
        result = lab.run(**told)
        assert lab.members() == [("staff", name) for name in NAMES] and result["read"]["not_read"] == []
        with pytest.raises(SynchronizationError, match="^exclude_distinguished_name: 'ou=x,.*' does not exist in the"):
            lab.once(exclude_distinguished_name="ou=x," + tree.SUFFIX, **told)
        with pytest.raises(SynchronizationError, match="^server: .* does not say what it is .*insufficientAccess"):
            lab.once(distinguished_name=people)


# --- classes, keys and values ----------------------------------------------------------------------------------------


def test_several_classes(tmp_path):
    """An organizationalRole lists its occupants (RFC 4519, 3.10)."""
    desk = entry(
        "cn=desk," + PEOPLE,
        "objectClass: organizationalRole",
        "cn: desk",
        "roleOccupant: " + dn_of("cyd"),
        "roleOccupant: cn=staff," + PEOPLE,
    )
    robot = entry("uid=robot," + PEOPLE, "objectClass: account", "uid: robot")
    # An alias is followed by nobody (RFC 4511, 4.5.1.3): it is neither of the classes.
    nick = "cn=nick," + PEOPLE
    alias = entry(
        nick, "objectClass: alias", "objectClass: extensibleObject", "cn: nick", "aliasedObjectName: " + dn_of("bob")
    )
    ldif = ROOT + unit("people") + "".join(map(person, NAMES[:3])) + robot + desk + alias
    with Slapd(ldif=ldif + group("staff", dn_of("ann"), "uid=robot," + PEOPLE, nick)) as server:
        lab = Lab(server, tmp_path / "users.db")
        classes = {
            "user_class": ["inetOrgPerson", "account"],
            "group_class": ["groupOfNames", "organizationalRole"],
            "group_members": ["member", "roleOccupant"],
        }
        result = lab.run(ldap_parameters=classes)
        assert lab.members() == [("desk", "cyd"), ("staff", "ann"), ("staff", "robot")]
        assert lab.rows("SELECT count(*) FROM nestings") == [(1,)]
        assert result["summary"]["memberships"]["out_of_scope"] == 1 and result["unresolved_members"] == []
        assert result["settings"]["preset"]["group_classes"] == ["groupOfNames", "organizationalRole"]


def test_binary_values_are_fields_in_base64(tmp_path):
    photo = b"\xff\xd8\xff\xe0\0picture"
    picture = "jpegPhoto:: " + base64.b64encode(photo).decode()
    with Slapd(ldif=ROOT + unit("people") + person("ann", picture) + group("staff", dn_of("ann"))) as server:
        lab = Lab(server, tmp_path / "users.db")
        result = lab.run(user_attributes={"photos": "jpegPhoto", "department": "jpegPhoto"})
        text = base64.b64encode(photo).decode()
        assert lab.rows("SELECT attributes ->> 'photos', attributes ->> 'department' FROM users") == [
            ('["%s"]' % text, text)
        ]
        assert result["not_stored"] == []


def test_a_key_of_bytes_that_nobody_knows_is_refused_by_name(tmp_path):
    ldap, people = company()
    for number, name in enumerate(NAMES):
        ldap.set("uid=%s,%s" % (name, people), "badge", b"\xff%d" % number)
    with served(ldap) as server:
        lab = OtherLDAP(server, tmp_path / "users.db")
        result = lab.once(ldap_parameters={"user_key": "badge"}, allow_empty=True)
        assert {each["reason"] for each in result["not_stored"]} == {
            "its badge is no stable key: it is left out, and whom it may mean stays as stored"
        }
        assert [
            warning for warning in lab.warnings if warning.startswith("ldap_parameters.user_key: nobody has a badge")
        ]


# --- containers ------------------------------------------------------------------------------------------------------


def test_localities_organizations_and_countries_are_containers(tmp_path):
    acme = "o=Acme," + BASE
    places = entry(acme, "objectClass: organization", "o: Acme")
    places += entry("c=CZ," + acme, "objectClass: country", "c: CZ")
    places += entry("l=Brno,c=CZ," + acme, "objectClass: locality", "l: Brno", "description: south")
    people = (
        person("ann", below=acme) + person("bob", below="c=CZ," + acme) + person("cyd", below="l=Brno,c=CZ," + acme)
    )
    nurses = group("nurses", dn_of("ann", acme), dn_of("cyd", "l=Brno,c=CZ," + acme), below="l=Brno,c=CZ," + acme)
    with Slapd(ldif=ROOT + places + people + nurses) as server:
        lab = Lab(server, tmp_path / "users.db")
        lab.run(distinguished_name=acme, group_structure="both")
        assert lab.members() == [("Acme", "ann"), ("Brno", "cyd"), ("CZ", "bob"), ("nurses", "ann"), ("nurses", "cyd")]
        assert lab.rows("SELECT name FROM user_groups WHERE attributes ->> 'description' = 'south'") == [("Brno",)]
        lab.modify(renamed("l=Brno,c=CZ," + acme, "l=Praha"))
        result = lab.run(distinguished_name=acme, group_structure="both")
        assert ("Praha", "cyd") in lab.members() and result["summary"]["memberships"]["removed"] == 0
        lab = Lab(server, tmp_path / "selected.db")
        lab.run(distinguished_name="l=Praha,c=CZ," + acme, group_structure="organizational_units")
        assert lab.members() == [("Praha", "cyd")]


# --- POSIX entries, where the preset is found by itself --------------------------------------------------------------


def test_a_tree_of_posix_groups_is_told(tmp_path):
    people = "".join(posix(name, number) for number, name in enumerate(NAMES, 100))
    with Slapd(ldif=ROOT + unit("people") + people + posix_group("nurses", 7, "ann", "bob")) as server:
        hint = (
            "ldap_parameters.preset: it was found to be openldap, by which nothing was read where entries of "
            "posixGroup lie: name one that reads these, such as rfc2307, or openldap to leave them"
        )
        lab = Lab(server, tmp_path / "users.db")
        for check_mode in (True, False):
            lab.once(check_mode)
            assert [each for each in lab.warnings if "no user group" not in each] == [hint]
        assert lab.members() == []
        lab = Lab(server, tmp_path / "named.db")
        for parameters in ({"preset": "openldap"}, {"group_class": "groupOfNames"}, {"preset": "rfc2307"}):
            lab.once(True, ldap_parameters=parameters)
            assert hint not in lab.warnings
        lab = Lab(server, tmp_path / "users.db")
        lab.modify(group("staff", dn_of("ann")))
        lab.once(read_mode="full")
        assert lab.warnings == [] and lab.members() == [("staff", "ann")]


def test_a_tree_of_posix_accounts_is_told(tmp_path):
    accounts = "".join(
        entry(
            dn_of(name),
            "objectClass: account",
            "objectClass: posixAccount",
            "uid: " + name,
            "cn: " + name,
            "uidNumber: %d" % number,
            "gidNumber: 7",
            "homeDirectory: /",
        )
        for number, name in enumerate(NAMES, 100)
    )
    with Slapd(ldif=ROOT + unit("people") + accounts + posix_group("nurses", 7, "ann")) as server:
        lab = Lab(server, tmp_path / "users.db")
        lab.refused()
        assert "entries of posixAccount and posixGroup lie: name one" in lab.warnings[-1]


# --- presets, on entries that are made as their servers are said to have them ----------------------------------------


class Made(tree.Tree):
    """A directory of one kind: its root DSE, and what its entries have."""

    def __init__(self, root_dse, user, group, disabled, key="entryUUID", rdn="uid", controls=()):
        super().__init__(tree.SUFFIX, {"namingContexts": tree.SUFFIX, "supportedControl": list(controls), **root_dse})
        self.classes, self.disabled, self.key, self.rdn = (user, group), disabled, key, rdn
        self.add(tree.SUFFIX, {"objectClass": ["domain"], "dc": "example", **self.about("suffix")})
        self.people = self.add(
            "ou=people," + tree.SUFFIX, {"objectClass": ["organizationalUnit"], "ou": "people", **self.about("people")}
        )

    def about(self, name):
        key = tree.key(name)
        return {self.key: key.bytes if self.key == "GUID" else str(key), "createTimestamp": "20240101000000Z"}

    def dn(self, name):
        return "%s=%s,%s" % (self.rdn, name, self.people)

    def user(self, name):
        return self.add(
            self.dn(name),
            {self.rdn: name, "cn": name, "sn": name, "mail": name + "@x.org", **self.classes[0], **self.about(name)},
        )

    def group(self, name, *members):
        listed = {attribute: list(members) for attribute in self.classes[1].get("lists", ["member"])}
        about = {attribute: values for attribute, values in self.classes[1].items() if attribute != "lists"}
        return self.add("cn=%s,%s" % (name, self.people), {"cn": name, **about, **listed, **self.about("g " + name)})


PAGED = ("1.2.840.113556.1.4.319",)
PERSON = {"objectClass": ["top", "person", "organizationalPerson", "inetOrgPerson"]}
KINDS = {
    "opendj": lambda: Made(
        {"objectClass": ["top", "ds-root-dse"], "vendorName": "Open Identity Platform Community"},
        PERSON,
        {"objectClass": ["top", "groupOfUniqueNames"], "lists": ["uniqueMember"]},
        ("ds-pwp-account-disabled", "true"),
        controls=PAGED,
    ),
    "lldap": lambda: Made(
        {"objectClass": ["top"], "vendorName": "LLDAP", "vendorVersion": "lldap_0.6.1"},
        {"objectClass": ["inetOrgPerson", "posixAccount", "mailAccount", "person"]},
        {"objectClass": ["groupOfUniqueNames", "groupOfNames"], "lists": ["member", "uniqueMember"]},
        None,
    ),
    "edirectory": lambda: Made(
        {"vendorName": "NetIQ Corporation", "vendorVersion": "LDAP Agent for NetIQ eDirectory 9.2.4 (40204.31)"},
        {"objectClass": [*PERSON["objectClass"], "ndsLoginProperties"]},
        {"objectClass": ["groupOfNames", "top"]},
        ("loginDisabled", "TRUE"),
        key="GUID",
        rdn="cn",
        controls=PAGED,
    ),
    "univention": lambda: Made(
        {"objectClass": ["top", "OpenLDAProotDSE"]},
        {
            "objectClass": [*PERSON["objectClass"], "posixAccount", "sambaSamAccount", "univentionObject"],
            "univentionObjectType": "users/user",
        },
        {"objectClass": ["top", "posixGroup", "univentionGroup"], "lists": ["uniqueMember"]},
        ("krb5KDCFlags", "254"),
        controls=PAGED,
    ),
    "apacheds": lambda: Made(
        {"vendorName": "Apache Software Foundation", "vendorVersion": "2.0.0.AM27"},
        PERSON,
        {"objectClass": ["top", "groupOfNames"]},
        ("pwdAccountLockedTime", "000001010000Z"),
        controls=PAGED,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_presets_on_generated_entries(tmp_path, kind):
    """It is found by itself, and a user who is renamed, disabled or removed is just that."""
    made = KINDS[kind]()
    ann, bob, cyd, dan = (made.user(name) for name in NAMES[:4])
    inner = made.group("inner", cyd)
    made.group("staff", ann, bob, inner)
    host = {"objectClass": ["person", "posixAccount", "univentionHost"], "uid": "pc$", "cn": "pc", **made.about("pc")}
    made.add("cn=pc," + made.people, host)
    with served(made) as server:
        lab = OtherLDAP(server, tmp_path / "users.db")
        named = {"ldap_parameters": {"preset": kind}} if kind == "univention" else {}
        result = lab.run(**named)
        assert result["read"]["directory_type"] == kind and lab.warnings[1:] == []
        assert result["unresolved_members"] == result["not_stored"] == []
        assert lab.members() == [("inner", "cyd"), ("staff", "ann"), ("staff", "bob")]
        assert lab.rows("SELECT count(*) FROM nestings") == [(1,)]
        assert lab.rows("SELECT name FROM users WHERE enabled ORDER BY name") == [(name,) for name in NAMES[:4]]
        made.move(bob, made.dn("bert"))
        for attribute in (made.rdn, "cn"):
            made.set(made.dn("bert"), attribute, "bert")
        for attribute in KINDS[kind]().classes[1].get("lists", ["member"]):
            made.set("cn=staff," + made.people, attribute, made.dn("bert"), inner)
        if made.disabled:
            made.set(dan, *made.disabled)
        made.remove(ann)
        result = lab.run(removal_limits={"users": "1", "memberships": "1"}, **named)
        assert lab.members() == [("inner", "cyd"), ("staff", "bert")]
        assert result["users"]["renamed"] == [{"name": "bert", "previous_name": "bob"}]
        assert result["users"]["extinct"] == ["ann"]
        assert result["users"]["disabled"] == ["ann", *(["dan"] if made.disabled else [])]
        if kind == "edirectory":
            assert lab.rows("SELECT key FROM users WHERE name = 'cyd'") == [("0x" + tree.key("cyd").bytes.hex(),)]


# --- login and password from the environment -------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["user_synchronization", "directory_info"])
def test_login_and_password_of_the_environment(tmp_path, run_module, module):
    """What AWX and CI hand on. It is masked as the option is."""
    ldap, _people = company()
    environment = {"USERSYNC_LOGIN": ADMIN, "USERSYNC_PASSWORD": PASSWORD}
    ldap.user(PASSWORD, "ou=people," + tree.SUFFIX)
    with served(ldap) as server:
        options = {"server": server.ldap_url, "encryption": "none", "use_ldap": True}
        if module == "user_synchronization":
            options.update(name="other", store=str(tmp_path / "users.db"))
        else:
            options.update(distinguished_name="ou=people," + tree.SUFFIX)
        run = run_module.run(module, options, env=environment)
        assert not run.result.get("failed") and PASSWORD not in run.output
        assert "ann" in run.output and ("VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in run.output or "********" in run.output)
        assert [(each.login, each.password) for each in server.of_kind("bind")] == [(ADMIN, PASSWORD)]
        # The task comes first, and what needs none takes none.
        server.behave()
        assert "login: " in run_module.fails(module, {**options, "password": "wrong"}, env=environment)["msg"]
        assert [each.password for each in server.of_kind("bind")] == ["wrong"]
        assert run_module.fails(module, options)["msg"].startswith("login: it is missing with authentication: simple")
        server.behave()
        run_module(module, {**options, "authentication": "anonymous"}, env=environment)
        assert [(each.login, each.password) for each in server.of_kind("bind")] == [("", "")]
        given = {**options, "authentication": "anonymous", "login": "cn=other,dc=example"}
        assert "it is given, but authentication: anonymous" in run_module.fails(module, given, env=environment)["msg"]
