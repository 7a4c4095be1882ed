# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways in which a directory makes a synchronizer take a membership, a name or a record from somebody.

Each run here is a dry run, a real run and another dry run: the first two must say the same, the third nothing.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _options, _settings, _synchronize
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from support.slapd import Slapd

BASE = "dc=example,dc=org"
PEOPLE = "ou=people,%s" % BASE
ROOT = "dn: %s\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n\n" % BASE


def unit(name, below=BASE):
    return "dn: ou=%s,%s\nobjectClass: organizationalUnit\nou: %s\n\n" % (name, below, name)


def dn_of(name, below=PEOPLE):
    return "uid=%s,%s" % (name, below)


def person(name, *lines, below=PEOPLE):
    return "\n".join(["dn: " + dn_of(name, below), "objectClass: inetOrgPerson", "uid: " + name, "cn: " + name,
                      "sn: " + name, *lines, "", ""])


def group(name, *members, kind="groupOfNames", attribute="member"):
    return "\n".join(["dn: cn=%s,%s" % (name, PEOPLE), "objectClass: " + kind, "cn: " + name,
                      *("%s: %s" % (attribute, member) for member in members), "", ""])


def posix(name, number, below=PEOPLE, *lines):
    return "\n".join(["dn: " + dn_of(name, below), "objectClass: inetOrgPerson", "objectClass: posixAccount",
                      "uid: " + name, "cn: " + name, "sn: " + name, "uidNumber: %d" % number, "gidNumber: 1",
                      "homeDirectory: /", *lines, "", ""])


def renamed(dn, rdn):
    return "dn: %s\nchangetype: modrdn\nnewrdn: %s\ndeleteoldrdn: 1\n\n" % (dn, rdn)


class Lab:
    """One directory and one store."""

    def __init__(self, server, store):
        self.server, self.store = server, store
        self.modify = server.modify

    def run(self, **more):
        specification = _options.module_arguments(_options.CONNECTION, _options.STORE, _options.SYNCHRONIZATION)
        options = {option: described.get("default") for option, described in specification["argument_spec"].items()}
        options.update(name="staff", user_group="All/Staff", server=[self.server.ldapi_url], encryption="none",
                       use_ldap=True, authentication="external", store=str(self.store))
        options.update(more)

        def run(check_mode):
            settings = _settings.settings_from(options, lambda warning: None)
            return _synchronize.synchronize(settings, check_mode, True, lambda warning: None)

        dry, real, again = run(True), run(False), run(True)
        for key in set(dry) - {"read"}:
            assert dry[key] == real[key], key
        assert not again["changed"], again["diff"]
        return real

    def members(self):
        return self.rows("SELECT g.name, u.name FROM memberships m JOIN user_groups g ON g.id = m.user_group_id"
                         " JOIN users u ON u.id = m.user_id")

    def rows(self, statement):
        connection = sqlite3.connect("file:%s?mode=ro" % self.store, uri=True)
        found = sorted(connection.execute(statement).fetchall())
        connection.close()
        return found


@pytest.fixture
def lab(tmp_path):
    @contextmanager
    def started(*entries, **more):
        with Slapd(ldif=ROOT + unit("people") + "".join(entries), **more) as server:
            yield Lab(server, tmp_path / "users.db")

    return started


def test_a_list_that_dangles_twice(lab):
    with lab(person("ann"), person("bob"), group("Nurses", dn_of("ann"), dn_of("bob"))) as company:
        company.run()
        company.modify(renamed(dn_of("ann"), "uid=ann2"))
        assert company.run()["unresolved_members"]
        company.modify("dn: cn=Nurses,%s\nchangetype: modify\ndelete: member\nmember: %s\n-\nadd: member\nmember: %s\n"
                       % (PEOPLE, dn_of("ann"), dn_of("ann2")))
        company.run()
        company.modify(renamed(dn_of("ann2"), "uid=ann3"))
        company.run()
        assert company.members() == [("Nurses", "ann3"), ("Nurses", "bob")]


def test_a_list_that_dangles_for_two_synchronizations(lab):
    with lab(person("ann"), person("bob"), group("Nurses", dn_of("ann"), dn_of("bob"))) as company:
        second = {"name": "second", "user_group": "All/Second"}
        company.run()
        company.run(**second)
        company.modify(renamed(dn_of("ann"), "uid=ann2"))
        company.run()
        company.run(**second)
        assert company.members() == [("Nurses", "ann2")] * 2 + [("Nurses", "bob")] * 2


def test_a_list_with_bit_strings_that_dangles(lab):
    ann = dn_of("ann") + "#'01'B"
    with lab(person("ann"), person("bob"),
             group("Nurses", ann, dn_of("bob"), kind="groupOfUniqueNames", attribute="uniqueMember")) as company:
        company.run()
        company.modify(renamed(dn_of("ann"), "uid=ann2"))
        company.run()
        assert company.members() == [("Nurses", "ann2"), ("Nurses", "bob")]


@pytest.mark.parametrize("more", [{}, {"user_attributes": {"name": "mail"}}], ids=["by uid", "by mail"])
def test_a_list_of_names_that_dangles(lab, more):
    entry = posix("ann", 1, PEOPLE, "mail: ann@x.org").replace("uid: ann\n", "uid: ann\nuid: amue\n", 1)
    names = "dn: cn=g,%s\nobjectClass: posixGroup\ncn: g\ngidNumber: 9\nmemberUid: amue\nmemberUid: bob\n\n" % PEOPLE
    with lab(entry, posix("bob", 2, PEOPLE, "mail: bob@x.org"), names) as company:
        more = dict(more, ldap_parameters={"preset": "rfc2307"})
        company.run(**more)
        company.modify("dn: %s\nchangetype: modify\ndelete: uid\nuid: amue\n\n" % dn_of("ann")
                       + renamed(dn_of("bob"), "uid=bob2"))
        for _run in range(2):
            assert len(company.run(**more)["unresolved_members"]) == 2
        assert len(company.members()) == 2


def test_a_group_that_is_listed_by_users_and_renamed(lab):
    more = {"ldap_parameters": {"preset": "openldap", "user_groups": "seeAlso"}}
    nurses = "cn=Nurses,%s" % PEOPLE
    with lab(person("ann", "seeAlso: " + nurses), group("Nurses", dn_of("ann"))) as company:
        company.run(**more)
        company.modify(renamed(nurses, "cn=Carers"))
        for _run in range(2):
            result = company.run(**more)
            assert result["not_stored"][0]["dn"] == nurses
        assert company.members() == [("Carers", "ann")]


def test_names_that_only_a_program_takes_for_one(lab):
    """To a directory 'Masse' and 'Maße' are two names."""
    masse, with_eszett = "cn=Masse,%s" % PEOPLE, "cn=Maße,%s" % PEOPLE
    with lab(person("ann"), person("bob"), group("Masse", dn_of("ann")), group("Maße", dn_of("bob")),
             group("Top", masse)) as company:
        company.run()
        company.modify("dn: cn=Top,%s\nchangetype: modify\nreplace: member\nmember: %s\n" % (PEOPLE, with_eszett))
        entry = company.run()["changed_groups"][0]
        assert len(entry["user_groups_added"]) == len(entry["user_groups_removed"]) == 1


@pytest.mark.parametrize("options, words", [
    ({"ldap_parameters": {"group_members": ["2.5.4.31"]}}, "ldap_parameters.group_members"),
    ({"user_attributes": {"email": "rfc822Mailbox"}}, "the server calls one of the attributes 'mail'"),
    ({"ldap_parameters": {"preset": "rfc2307", "user_key": "uidNumber", "group_key": "gidNumber"}},
     "is the key of a user"),
])
def test_options_that_would_empty_groups_or_fields(lab, options, words):
    group_of_ann = "dn: cn=g,%s\nobjectClass: posixGroup\ncn: g\ngidNumber: 7\nmemberUid: ann\n\n" % PEOPLE
    with lab(posix("ann", 7, PEOPLE, "mail: a@x.org"), group("Nurses", dn_of("ann")), group_of_ann) as company:
        with pytest.raises(SynchronizationError, match=words):
            company.run(**options)
        assert not company.store.exists()


def test_the_right_to_read_members_is_lost(lab):
    """Then a group comes without members, and the search ends well. But a groupOfNames has one (RFC 4519, 3.5)."""
    with lab(person("ann"), group("Nurses", dn_of("ann")), settings="access to attrs=member by * search") as company:
        server = company.server
        company.run(server=[server.ldap_url], authentication="simple", login=server.admin_dn, password=server.password)
        with pytest.raises(SynchronizationError, match="members of 'cn=Nurses"):
            company.run()
        assert company.members() == [("Nurses", "ann")]


def test_an_extinct_record_whose_next_name_is_taken(lab):
    with lab(person("ann"), person("ann (extinct)")) as company:
        company.run()
        company.modify("dn: %s\nchangetype: delete\n" % dn_of("ann"))
        company.run()
        company.modify(person("ann"))
        company.run()
        names = {name for name, in company.rows("SELECT name FROM users WHERE extinct IS NULL")}
        assert names == {"ann", "ann (extinct)"}


def test_a_container_without_a_name(lab):
    nameless = "ou=\\20,%s" % BASE
    with lab(unit("\\20"), unit("kids", nameless), person("ann", below="ou=kids," + nameless)) as company:
        result = company.run(group_structure="organizational_units")
        assert "All/Staff/example/kids" in [entry["path"] for entry in result["changed_groups"]]
        assert company.members() == [("kids", "ann")]


def test_a_member_on_another_server(lab):
    elsewhere = ("dn: ou=sub,%s\nobjectClass: referral\nobjectClass: extensibleObject\nou: sub\n"
                 "ref: ldap://192.0.2.1/ou=sub,%s\n\n" % (BASE, BASE))
    with lab(elsewhere, person("ann"), group("Nurses", dn_of("ann"), "uid=eve,ou=sub,%s" % BASE)) as company:
        result = company.run()
        assert len(result["unresolved_members"]) == 1 and company.members() == [("Nurses", "ann")]
        assert "ldap://192.0.2.1" in " ".join(result["read"]["not_read"])


def test_another_container_under_the_name_of_the_selected_one(lab):
    with lab(person("ann")) as company:
        company.run(distinguished_name=[PEOPLE])
        company.modify(renamed(PEOPLE, "ou=staff") + unit("people"))
        with pytest.raises(SynchronizationError, match="is now 'ou=staff,dc=example,dc=org'"):
            company.run(distinguished_name=[PEOPLE])
        assert company.rows("SELECT extinct FROM users") == [(None,)]


def test_the_report_names_who_is_meant(lab):
    """bob would be called ann, and loses: he joins the group as bob."""
    with lab(person("ann"), person("bob"), group("Nurses", dn_of("ann"))) as company:
        company.run()
        company.modify("dn: %s\nchangetype: modify\nreplace: uid\nuid: ann\nuid: bob\n\n" % dn_of("bob")
                       + renamed(dn_of("bob"), "cn=bob")
                       + "dn: cn=Nurses,%s\nchangetype: modify\nadd: member\nmember: cn=bob,%s\n" % (PEOPLE, PEOPLE))
        result = company.run()
        assert result["changed_groups"][0]["members_added"] == ["bob"]


def test_a_group_created_again_under_its_name_shows_in_the_diff(lab):
    with lab(person("ann"), group("Nurses", dn_of("ann"))) as company:
        company.run()
        company.modify("dn: cn=Nurses,%s\nchangetype: delete\n" % PEOPLE)
        company.modify(group("Nurses", dn_of("ann")).replace("cn: Nurses", "cn: Nurses\ndescription: new"))
        result = company.run(user_group_extinction="delete")
        assert [entry["changes"][0] for entry in result["changed_groups"]] == ["deleted", "created"] or \
            [entry["changes"][0] for entry in result["changed_groups"]] == ["created", "deleted"]
        assert "description: new" in result["diff"]["after"] and "description" not in result["diff"]["before"]


def test_changing_the_target_moves_who_is_extinct_too(lab):
    with lab(person("ann"), person("bob"), group("Nurses", dn_of("bob"))) as company:
        company.run()
        company.modify("dn: %s\nchangetype: delete\n\ndn: cn=Nurses,%s\nchangetype: delete\n" % (dn_of("ann"), PEOPLE))
        company.run()
        company.run(user_group="All/People")
        homes = company.rows("SELECT u.name, g.name FROM users u JOIN user_groups g ON g.id = u.home_id")
        assert homes == [("ann", "People"), ("bob", "People")]
        assert [name for name, in company.rows("SELECT name FROM user_groups")] == ["All", "Nurses", "People"]


def test_a_group_that_wants_the_name_of_the_target_it_leaves(lab):
    with lab(person("ann"), group("Staff", dn_of("ann"))) as company:
        company.run()
        result = company.run(user_group="All")
        assert result["changed_groups"][0]["path"] == "All/Staff (people)" and len(result["collisions"]) == 1
        assert company.members() == [("Staff (people)", "ann")]
