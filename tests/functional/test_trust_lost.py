# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who did not come is not lost by that: references to other servers, indexes that lie, exclusions that were renamed."""

from __future__ import annotations

import re
from contextlib import contextmanager

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from support import misbehaving, tree
from support.lab import BASE, PEOPLE, ROOT, Lab, dn_of, group, person, posix, renamed, unit
from support.misbehaving import LOGIN, PASSWORD, MisbehavingDirectory
from support.slapd import Slapd

SALES = "ou=sales,%s" % BASE
NAMES = ["user%02d" % number for number in range(30)]
SELLERS = ["seller%d" % number for number in range(5)]
NO_LIMITS = {
    "removal_limits": dict.fromkeys(("users", "user_groups", "memberships", "attributes", "renames"), "100%"),
    "user_extinction": "delete",
    "user_group_extinction": "delete",
}


@pytest.fixture
def lab(tmp_path):
    @contextmanager
    def started(*entries, **more):
        with Slapd(ldif=ROOT + unit("people") + "".join(entries), **more) as server:
            yield Lab(server, tmp_path / "users.db")

    return started


def left(*dns):
    return "".join("dn: %s\nchangetype: delete\n\n" % dn for dn in dns)


def in_sales(name):
    return "cn=%s,%s" % (name, SALES)


def group_of_sales(name, *members):
    return group(name, *members).replace("cn=%s,%s" % (name, PEOPLE), in_sales(name))


def reference(*urls):
    """An entry that stands for another server (RFC 3296, 2)."""
    return "dn: %s\nobjectClass: referral\nobjectClass: extensibleObject\nou: sales\n%s\n" % (
        SALES,
        "".join("ref: %s\n" % url for url in urls),
    )


def fails(company, **more):
    """A dry run and a real one fail with one sentence, and the store stays as it was; the sentence."""
    before, said = company.contents(), set()
    for check_mode in (True, False):
        with pytest.raises(SynchronizationError) as error:
            company.once(check_mode, **{**NO_LIMITS, **more})
        said.add(str(error.value))
    assert company.contents() == before and len(said) == 1
    return said.pop()


# --- a part of the directory moves to another server (finding R10) ----------------------------------------------------


@pytest.fixture
def company(lab):
    """30 people, and five and a group in ou=sales, which becomes a reference."""
    with lab(
        *map(person, NAMES),
        unit("sales"),
        *(person(name, below=SALES) for name in SELLERS),
        group_of_sales("Sellers", *(dn_of(name, SALES) for name in SELLERS[:3])),
        group("Mixed", dn_of(NAMES[0]), dn_of(SELLERS[3], SALES)),
        overlays=("syncprov",),
    ) as company:
        yield company


def move_away(company, *urls):
    company.modify(left(*(dn_of(name, SALES) for name in SELLERS), in_sales("Sellers"), SALES))
    company.modify(reference(*urls))


HERE = "ldap://192.0.2.1/" + SALES
SENTENCE = (
    "server: the read is not complete, since '%s' did not come, and what lies below '%s' is on another server, "
    "which is not read (%s): name a server that has it, or leave it out with exclude_distinguished_name and "
    "scope_change: true"
)


@pytest.mark.parametrize("mode", ["full", "auto"])
@pytest.mark.parametrize(
    "urls",
    [
        [HERE],
        ["ldap://192.0.2.1"],
        ["ldap://192.0.2.1/"],
        ["ldap://192.0.2.1/OU=Sales%2C%20dc=example,dc=ORG"],
        ["ldap://192.0.2.1/dc=other,dc=org"],
        ["ldap://192.0.2.1/ou=other,%s" % BASE],  # the DN there need not be the DN here
        ["ldap://192.0.2.1/ou=people,dc=other", "ldaps://192.0.2.2/ou=people,dc=other"],
    ],
    ids=" ".join,
)
def test_a_subtree_becomes_a_reference(company, mode, urls):
    company.run(read_mode=mode)
    assert company.once(read_mode=mode)["read"]["mode"] == {"full": "full", "auto": "incremental"}[mode]
    move_away(company, *urls)
    said = fails(company, read_mode=mode)
    assert re.match(re.escape(SENTENCE % ("NAME", SALES, "URL")).replace("NAME", ".*").replace("URL", "ldap.*"), said)


def test_what_is_elsewhere_can_be_left_out_on_purpose(company):
    company.run()
    move_away(company, HERE)
    fails(company)
    company.modify(left(dn_of(NAMES[29])))  # meanwhile somebody leaves, and waits
    without = {"exclude_distinguished_name": [SALES]}
    said, result = company.refused(**without, **NO_LIMITS)
    assert said.startswith("scope_change: ") and len(result["users"]["deleted"]) == 6
    result = company.run(**without, scope_change=True, **NO_LIMITS)
    assert sorted(result["users"]["deleted"]) == [*SELLERS, NAMES[29]]
    assert company.members() == [("Mixed", NAMES[0])]
    company.modify(left(dn_of(NAMES[28])))
    assert company.run(**without, **NO_LIMITS)["users"]["deleted"] == [NAMES[28]]


def test_a_reference_that_was_always_there_keeps_nobody(lab):
    away = (
        "dn: ou=away,%s\nobjectClass: referral\nobjectClass: extensibleObject\nou: away\nref: ldap://192.0.2.1/%s\n\n"
    )
    with lab(away % (BASE, "dc=other"), person("ann"), person("bob")) as company:
        company.run()
        company.modify(left(dn_of("bob")))
        assert company.run(**NO_LIMITS)["users"]["deleted"] == ["bob"]


def test_a_member_outside_of_what_is_selected(company):
    """A list still names him; what it says leads to another server."""
    company.run(distinguished_name=[PEOPLE])
    assert ("Mixed", SELLERS[3]) in company.members()
    move_away(company, HERE)
    seller = dn_of(SELLERS[3], SALES)
    said = fails(company, distinguished_name=[PEOPLE])
    assert said == SENTENCE % (seller, SALES, "ldap://192.0.2.1/%s??base" % seller)


@pytest.mark.parametrize("structure", ["organizational_units", "both"])
def test_containers(company, structure):
    company.run(group_structure=structure)
    move_away(company, HERE)
    fails(company, group_structure=structure)


def test_members_by_name(lab):
    sold = posix("seller", 2, SALES)
    names = "dn: cn=Crew,%s\nobjectClass: posixGroup\ncn: Crew\ngidNumber: 5\nmemberUid: ann\nmemberUid: seller\n\n"
    with lab(unit("sales"), posix("ann", 1), sold, names % PEOPLE) as company:
        by_name = {"ldap_parameters": {"preset": "rfc2307"}}
        company.run(**by_name)
        company.modify(left(dn_of("seller", SALES), SALES))
        company.modify(reference(HERE))
        fails(company, **by_name)
        assert company.members() == [("Crew", "ann"), ("Crew", "seller")]


def test_a_selected_container_becomes_a_reference(company):
    selected = {"distinguished_name": [PEOPLE, SALES]}
    company.run(**selected)
    move_away(company, HERE)
    assert fails(company, **selected).startswith("distinguished_name: '%s' lies on another server (ldap://192" % SALES)


@contextmanager
def misbehaving_lab(tmp_path, directory, **options):
    with MisbehavingDirectory(directory, max_page=3) as server:

        class MisbehavingLab(Lab):
            def once(self, check_mode=False, **more):
                usual = {
                    "server": [server.ldap_url],
                    "authentication": "simple",
                    "login": LOGIN,
                    "password": PASSWORD,
                    **options,
                }
                return super().once(check_mode, **{**usual, **more})

        server.ldapi_url, server.modify = "", None
        yield MisbehavingLab(server, tmp_path / "users.db")


def an_openldap():
    directory = tree.OpenLDAP()
    people, sales = directory.unit("people"), directory.unit("sales")
    users = [directory.user("u%d" % number, people) for number in range(8)]
    directory.group("Crew", people, *users, directory.user("seller", sales))
    return directory, "uid=seller," + sales


def an_active_directory():
    domain = tree.ActiveDirectory()
    people, sales = domain.unit("People"), domain.unit("Sales")
    users = [domain.user("u%d" % number, people) for number in range(8)]
    domain.group("Crew", people, *users, domain.user("seller", sales))
    return domain, "CN=seller," + sales


@pytest.mark.parametrize(
    ("make", "url", "is_kept"),
    [
        (an_openldap, "ldap://192.0.2.1/ou=sales,dc=example,dc=org", True),
        (an_openldap, "ldap://192.0.2.1/OU=%73ales,DC=example,DC=org??sub", True),
        (an_openldap, "ldap://192.0.2.1/dc=org", True),  # above us: nothing tells where here
        (an_openldap, "ldap://192.0.2.1", True),
        (an_openldap, "ldap://192.0.2.1/", True),
        (an_openldap, "ldap://192.0.2.1/no%20DN", True),
        (an_openldap, "ldap://192.0.2.1/%ff", True),
        (an_openldap, "no URL", True),
        (an_openldap, "ldap://192.0.2.1/ou=other,dc=example,dc=org", False),
        (an_active_directory, "ldap://sales.corp.example/OU=Sales,DC=corp,DC=example", True),
        (an_active_directory, "ldap://corp.example", True),
        (an_active_directory, "ldap://corp.example/CN=Configuration,DC=corp,DC=example", False),
        (an_active_directory, "ldap://other.example/DC=other,DC=example", False),  # there the DN is that of the entry
    ],
)
def test_a_server_that_only_says_references(tmp_path, make, url, is_kept):
    """It answers with references among the entries, and to a base search below that nobody is there."""
    directory, seller = make()
    kind = {"use_ldap": make is an_openldap, "login": LOGIN if make is an_active_directory else "cn=sync"}
    with misbehaving_lab(tmp_path, directory, **kind) as company:
        company.server.logins["cn=sync"] = PASSWORD
        company.run()
        directory.remove(seller)
        company.server.fail(lambda request: request.page_size is not None, misbehaving.sends_references(url))
        if is_kept:
            assert fails(company).startswith("server: the read is not complete, since '%s' did not come, and" % seller)
        else:
            assert company.run(**NO_LIMITS)["users"]["deleted"] == ["seller"]


# --- an index that was added and not built (finding R29) --------------------------------------------------------------


def without_index(attribute):
    return lambda text: re.sub(r"(?m)^(index \S*?)\b%s,?" % attribute, r"\1", text)


def with_index(attribute):
    return lambda text: text.replace("index ", "index %s," % attribute, 1)


@contextmanager
def half_an_index(lab, attribute, before, after, options, **more):
    """A company of which the index knows only who was there before; the index comes after the first run."""
    with lab(*before, **more) as company:
        company.server.configure(without_index(attribute))
        company.modify("".join(after))
        company.run(**options)
        company.server.configure(with_index(attribute))
        yield company


def test_the_index_of_object_classes(lab):
    late = ["late%d" % number for number in range(15)]
    with half_an_index(lab, "objectClass", map(person, NAMES), map(person, late), {}) as company:
        assert re.match(
            "server: the read is not complete, since 'uid=late[0-9]+,%s' did not come although it is selected: run "
            "again, since it may have moved meanwhile; if that stays so, have the indexes of the server rebuilt$"
            % PEOPLE,
            fails(company),
        )


def test_the_index_of_object_classes_and_groups(lab):
    crews = [group("Crew%d" % number, dn_of(NAMES[0])) for number in range(3)]
    late = [group("Late", dn_of(NAMES[1]))]
    with half_an_index(lab, "objectClass", [*map(person, NAMES[:3]), *crews], late, {}) as company:
        assert "since 'cn=Late,%s' did not come" % PEOPLE in fails(company)


def test_the_index_of_object_classes_and_containers(lab):
    structure = {"group_structure": "organizational_units"}
    late = [unit("late"), person("ann", below="ou=late," + BASE)]
    with half_an_index(lab, "objectClass", [*map(person, NAMES[:3])], late, structure) as company:
        assert "did not come although it is selected" in fails(company, **structure)


def test_the_index_of_object_classes_and_who_lies_outside(lab):
    """A list names her, and no search finds her to be a person."""
    before = [unit("sales"), person("bob"), group("Crew", dn_of("bob"), dn_of("ann", SALES))]
    options = {"distinguished_name": [PEOPLE]}
    with half_an_index(lab, "objectClass", before, [person("ann", below=SALES)], options) as company:
        assert company.members() == [("Crew", "ann"), ("Crew", "bob")]
        assert "since '%s' did not come" % dn_of("ann", SALES) in fails(company, **options)


def test_the_index_of_keys_and_of_object_classes(lab):
    """Neither her key nor her class finds her; her DN does."""
    with lab(*map(person, NAMES[:3])) as company:
        for attribute in ("objectClass", "entryUUID"):
            company.server.configure(without_index(attribute))
        company.modify(person("late"))
        company.run()
        for attribute in ("objectClass", "entryUUID"):
            company.server.configure(with_index(attribute))
        assert "since '%s' did not come" % dn_of("late") in fails(company)


def test_the_index_of_primary_groups(lab):
    """He lies outside, and is in scope since his gidNumber is that of a group."""
    by_name = {"ldap_parameters": {"preset": "rfc2307"}, "distinguished_name": [PEOPLE]}
    crew = "dn: cn=Crew,%s\nobjectClass: posixGroup\ncn: Crew\ngidNumber: 1\n\n" % PEOPLE
    late = [posix("late", 9, SALES)]
    with half_an_index(lab, "gidNumber", [unit("sales"), posix("bob", 2), crew], late, by_name) as company:
        assert company.members() == [("Crew", "bob"), ("Crew", "late")]
        assert "since '%s' did not come" % dn_of("late", SALES) in fails(company, **by_name)


def test_the_index_of_names_in_lists_of_names(lab):
    by_name = {"ldap_parameters": {"preset": "rfc2307"}, "distinguished_name": [PEOPLE]}
    crew = "dn: cn=Crew,%s\nobjectClass: posixGroup\ncn: Crew\ngidNumber: 7\nmemberUid: late\n\n" % PEOPLE
    late = [posix("late", 9, SALES)]
    with half_an_index(lab, "uid", [unit("sales"), posix("bob", 2), crew], late, by_name) as company:
        assert company.members() == [("Crew", "late")]
        assert "since '%s' did not come" % dn_of("late", SALES) in fails(company, **by_name)


def test_the_index_of_what_users_list(lab):
    listing = {
        "ldap_parameters": {"preset": "openldap", "user_groups": "seeAlso"},
        "distinguished_name": [PEOPLE],
    }
    crew = group("Crew", dn_of("nobody"))
    lists = "seeAlso: cn=Crew,%s" % PEOPLE
    with lab(unit("sales"), person("bob", lists), crew) as company:
        company.modify(person("late", lists, below=SALES))
        company.run(**listing)
        assert company.members() == [("Crew", "bob"), ("Crew", "late")]
        company.server.configure(with_index("seeAlso"))
        assert "since '%s' did not come" % dn_of("late", SALES) in fails(company, **listing)


def test_an_incremental_read_with_half_an_index(lab):
    before = [unit("sales"), person("bob"), group("Crew", dn_of("bob"), dn_of("ann", SALES))]
    options = {"distinguished_name": [PEOPLE]}
    late = [person("ann", below=SALES), person("late")]
    with half_an_index(lab, "objectClass", before, late, options, overlays=("syncprov",)) as company:
        company.modify(
            "dn: %s\nchangetype: modify\nreplace: mail\nmail: a@example.org\n\n"
            "dn: %s\nchangetype: modify\nreplace: mail\nmail: b@example.org\n" % (dn_of("ann", SALES), dn_of("late"))
        )
        assert "did not come although it is selected" in fails(company, **options)


def test_who_is_out_of_scope_is_so_by_the_entry_itself(lab):
    with lab(*(person(name, "employeeType: staff") for name in NAMES[:4])) as company:
        company.run()
        filtered = {"user_filter": "(employeeType=staff)", "scope_change": True}
        company.modify("dn: %s\nchangetype: modify\nreplace: employeeType\nemployeeType: x\n" % dn_of(NAMES[0]))
        result = company.run(**filtered, **NO_LIMITS)
        assert result["users"]["deleted"] == [NAMES[0]]


# --- what is excluded is followed by its key (finding X1) -------------------------------------------------------------

SECRET = "ou=secret,%s" % BASE


@pytest.fixture
def secretive(lab):
    with lab(
        person("ann"),
        unit("secret"),
        person("bob", below=SECRET),
        unit("away"),
        group("Crew", dn_of("ann"), dn_of("bob", SECRET)),
        overlays=("syncprov",),
    ) as company:
        yield company


WITHOUT_SECRET = {"exclude_distinguished_name": [SECRET]}


def people(company):
    return [name for (name,) in company.rows("SELECT name FROM users WHERE extinct IS NULL")]


@pytest.mark.parametrize("mode", ["full", "auto"])
def test_an_excluded_unit_is_renamed_and_a_new_one_gets_its_name(secretive, mode):
    options = {**WITHOUT_SECRET, "read_mode": mode}
    secretive.run(**options)
    secretive.modify(renamed(SECRET, "ou=hidden"))
    for _again in range(2):
        secretive.run(**options)
        assert secretive.warnings == [
            "exclude_distinguished_name: '%s' is now 'ou=hidden,%s': correct it in the option" % (SECRET, BASE)
        ]
    secretive.modify(unit("secret") + person("carl", below=SECRET))
    for _again in range(2):
        secretive.run(**options)
        assert secretive.warnings == [
            "exclude_distinguished_name: '%s' is another entry than in the last run, and that one is now "
            "'ou=hidden,%s': both are left out; name what you mean" % (SECRET, BASE)
        ]
        assert people(secretive) == ["ann"]
    secretive.modify(
        "dn: ou=hidden,%s\nchangetype: modrdn\nnewrdn: ou=more hidden\ndeleteoldrdn: 1\nnewsuperior: ou=away,%s\n"
        % (BASE, BASE)
    )
    secretive.run(**options)
    assert people(secretive) == ["ann"] and "is now 'ou=more hidden,ou=away" in secretive.warnings[0]
    assert secretive.once(**options)["read"]["mode"] == {"full": "full", "auto": "incremental"}[mode]


def test_an_excluded_unit_that_is_made_again(secretive):
    secretive.run(**WITHOUT_SECRET)
    secretive.modify(left(dn_of("bob", SECRET), SECRET) + unit("secret") + person("carl", below=SECRET))
    secretive.once(**WITHOUT_SECRET)
    assert people(secretive) == ["ann"]
    assert secretive.warnings == ["exclude_distinguished_name: '%s' is another entry than in the last run" % SECRET]
    secretive.run(**WITHOUT_SECRET)
    assert secretive.warnings == []


def test_an_exclusion_that_never_was_or_is_gone_is_an_error(secretive):
    said = "exclude_distinguished_name: '%s' does not exist in the directory, or the account cannot read it"
    missing = "ou=none,%s" % BASE
    assert fails(secretive, exclude_distinguished_name=[missing]).startswith(said % missing)
    secretive.run(**WITHOUT_SECRET)
    secretive.modify(left(dn_of("bob", SECRET), SECRET))
    assert fails(secretive, **WITHOUT_SECRET).startswith(said % SECRET)


def test_an_excluded_user_and_an_excluded_group(secretive):
    options = {"exclude_distinguished_name": [dn_of("bob", SECRET), "cn=Crew,%s" % PEOPLE]}
    secretive.run(**options)
    secretive.modify(renamed(dn_of("bob", SECRET), "uid=bobby") + renamed("cn=Crew,%s" % PEOPLE, "cn=Team"))
    secretive.run(**options)
    assert people(secretive) == ["ann"] and secretive.members() == []
    assert [warning.partition(" is now ")[2] for warning in secretive.warnings] == [
        "'uid=bobby,%s': correct it in the option" % SECRET,
        "'cn=Team,%s': correct it in the option" % PEOPLE,
    ]


def test_a_selection_and_an_exclusion_are_followed_beside_each_other(secretive):
    options = {"distinguished_name": [PEOPLE, SECRET], "exclude_distinguished_name": [dn_of("bob", SECRET)]}
    secretive.run(**options)
    secretive.modify(renamed(SECRET, "ou=hidden") + person("dora", below="ou=hidden," + BASE))
    secretive.run(**options)
    assert people(secretive) == ["ann", "dora"]
    assert len(secretive.warnings) == 2


def test_an_exclusion_means_the_entry_that_the_server_finds(secretive):
    secretive.run(exclude_distinguished_name=["organizationalUnitName=secret,dc=example,dc=org"])
    assert people(secretive) == ["ann"]


def test_the_same_in_active_directory(tmp_path):
    domain = tree.ActiveDirectory()
    secret, staff = domain.unit("Secret"), domain.unit("Staff")
    domain.user("ann", staff)
    bob = domain.user("bob", secret)
    options = {"use_ldap": False, "exclude_distinguished_name": [secret]}
    with misbehaving_lab(tmp_path, domain, **options) as company:
        company.run()
        hidden = "OU=Hidden," + tree.DOMAIN
        domain.move(secret, hidden)
        domain.move(bob, "CN=bob," + hidden)
        domain.add(secret, {"objectClass": ["organizationalUnit"], "objectGUID": tree.key("new").bytes_le})
        domain.user("carl", secret)
        company.run()
        assert people(company) == ["ann"] and "both are left out" in company.warnings[-1]
