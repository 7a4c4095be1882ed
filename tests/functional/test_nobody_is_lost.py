# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways in which a directory makes a synchronizer take a membership, a name or a record from somebody.

Each run here is a dry run, a real run and another dry run: the first two must say the same, the third nothing.
"""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from support.lab import BASE, PEOPLE, ROOT, Lab, dn_of, group, person, posix, renamed, unit
from support.slapd import Slapd
from support.stored import homes


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
        company.modify(
            "dn: cn=Nurses,%s\nchangetype: modify\ndelete: member\nmember: %s\n-\nadd: member\nmember: %s\n"
            % (PEOPLE, dn_of("ann"), dn_of("ann2"))
        )
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
    with lab(
        person("ann"),
        person("bob"),
        group("Nurses", ann, dn_of("bob"), kind="groupOfUniqueNames", attribute="uniqueMember"),
    ) as company:
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
        company.modify(
            "dn: %s\nchangetype: modify\ndelete: uid\nuid: amue\n\n" % dn_of("ann") + renamed(dn_of("bob"), "uid=bob2")
        )
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
    with lab(
        person("ann"), person("bob"), group("Masse", dn_of("ann")), group("Maße", dn_of("bob")), group("Top", masse)
    ) as company:
        company.run()
        company.modify("dn: cn=Top,%s\nchangetype: modify\nreplace: member\nmember: %s\n" % (PEOPLE, with_eszett))
        entry = company.run()["changed_groups"][0]
        assert len(entry["user_groups_added"]) == len(entry["user_groups_removed"]) == 1


@pytest.mark.parametrize(
    "options, words",
    [
        ({"ldap_parameters": {"group_members": ["2.5.4.31"]}}, "ldap_parameters.group_members"),
        ({"user_attributes": {"email": "rfc822Mailbox"}}, "the server calls one of the attributes 'mail'"),
        (
            {"ldap_parameters": {"preset": "rfc2307", "user_key": "uidNumber", "group_key": "gidNumber"}},
            "is the key of a user",
        ),
    ],
)
def test_options_that_would_empty_groups_or_fields(lab, options, words):
    group_of_ann = "dn: cn=g,%s\nobjectClass: posixGroup\ncn: g\ngidNumber: 7\nmemberUid: ann\n\n" % PEOPLE
    with lab(posix("ann", 7, PEOPLE, "mail: a@x.org"), group("Nurses", dn_of("ann")), group_of_ann) as company:
        with pytest.raises(SynchronizationError, match=words):
            company.run(**options)
        assert not company.store.exists()


def test_the_right_to_read_members_is_lost(lab):
    """Then a group comes without members, and the search ends well."""
    with lab(person("ann"), group("Nurses", dn_of("ann")), settings="access to attrs=member by * search") as company:
        server = company.server
        company.run(server=[server.ldap_url], authentication="simple", login=server.admin_dn, password=server.password)
        held = company.run()["held"]["memberships"]
        assert company.members() == [("Nurses", "ann")]
        assert [each["reason"] for each in held] == ["it is there still, or cannot be told"]


def test_an_extinct_record_whose_next_name_is_taken(lab):
    with lab(person("ann"), person("ann (extinct)")) as company:
        company.run()
        company.modify("dn: %s\nchangetype: delete\n" % dn_of("ann"))
        company.run()
        company.modify(person("ann"))
        company.run()
        names = {name for (name,) in company.rows("SELECT name FROM users WHERE extinct IS NULL")}
        assert names == {"ann", "ann (extinct)"}


def test_a_container_without_a_name(lab):
    nameless = "ou=\\20,%s" % BASE
    with lab(unit("\\20"), unit("kids", nameless), person("ann", below="ou=kids," + nameless)) as company:
        result = company.run(group_structure="organizational_units")
        assert "All/Staff/example/kids" in [entry["path"] for entry in result["changed_groups"]]
        assert company.members() == [("kids", "ann")]


def test_a_member_on_another_server(lab):
    elsewhere = (
        "dn: ou=sub,%s\nobjectClass: referral\nobjectClass: extensibleObject\nou: sub\n"
        "ref: ldap://192.0.2.1/ou=sub,%s\n\n" % (BASE, BASE)
    )
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
    """Bob would be called ann, and loses: he joins the group as bob."""
    with lab(person("ann"), person("bob"), group("Nurses", dn_of("ann"))) as company:
        company.run()
        company.modify(
            "dn: %s\nchangetype: modify\nreplace: uid\nuid: ann\nuid: bob\n\n" % dn_of("bob")
            + renamed(dn_of("bob"), "cn=bob")
            + "dn: cn=Nurses,%s\nchangetype: modify\nadd: member\nmember: cn=bob,%s\n" % (PEOPLE, PEOPLE)
        )
        result = company.run()
        assert result["changed_groups"][0]["members_added"] == ["bob"]


def test_a_group_created_again_under_its_name_shows_in_the_diff(lab):
    with lab(person("ann"), group("Nurses", dn_of("ann"))) as company:
        company.run()
        company.modify("dn: cn=Nurses,%s\nchangetype: delete\n" % PEOPLE)
        company.modify(group("Nurses", dn_of("ann")).replace("cn: Nurses", "cn: Nurses\ndescription: new"))
        result = company.run(user_group_extinction="delete", removal_limits={"user_groups": "1", "memberships": "1"})
        assert [entry["changes"][0] for entry in result["changed_groups"]] == ["deleted", "created"] or [
            entry["changes"][0] for entry in result["changed_groups"]
        ] == ["created", "deleted"]
        assert "description: new" in result["diff"]["after"] and "description" not in result["diff"]["before"]


def test_changing_the_target_moves_who_is_extinct_too(lab):
    with lab(person("ann"), person("bob"), group("Nurses", dn_of("bob"))) as company:
        company.run()
        company.modify("dn: %s\nchangetype: delete\n\ndn: cn=Nurses,%s\nchangetype: delete\n" % (dn_of("ann"), PEOPLE))
        company.run(removal_limits={"user_groups": "1"})
        company.run(user_group="All/People")
        assert homes(company.store) == [("ann", "People"), ("bob", "People")]
        assert [name for (name,) in company.rows("SELECT name FROM user_groups")] == ["All", "Nurses", "People"]


def test_a_group_that_wants_the_name_of_the_target_it_leaves(lab):
    with lab(person("ann"), group("Staff", dn_of("ann"))) as company:
        company.run()
        result = company.run(user_group="All")
        assert result["changed_groups"][0]["path"] == "All/Staff (people)" and len(result["collisions"]) == 1
        assert company.members() == [("Staff (people)", "ann")]
