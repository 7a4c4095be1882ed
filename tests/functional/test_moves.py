# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who moves while it is read comes twice, or is listed where it was not read. A value that led to somebody has not left
its list: nothing ends by it, neither now nor in a later run.

Each test begins with its timeline; `before` is what a first run finds. Names stand for entries in people, `temps/ann2`
for one in temps; `ann -> ann2` is a rename or a move; `nurses [ann bob]` is what the list of nurses has. In a run,
people are read before temps, and users before groups. Under each run is what must come of it; `twice` means that a
second run must say the same.
"""

from __future__ import annotations

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory import concerned, full, told
from support.lab import (
    BASE,
    PEOPLE,
    ROOT,
    Lab,
    dn_of,
    group,
    modified,
    moved,
    person,
    posix,
    posix_group,
    renamed,
    unit,
)
from support.slapd import Slapd

TEMPS = "ou=temps,%s" % BASE
FULL = {"distinguished_name": [PEOPLE, TEMPS], "read_mode": "full"}
INCREMENTAL = {**FULL, "read_mode": "incremental"}
POSIX = {**FULL, "ldap_parameters": {"preset": "rfc2307"}}


ANN_MOVES = moved(dn_of("ann"), "uid=ann2", TEMPS)
NURSES = "cn=nurses," + PEOPLE
INNER = "cn=inner," + PEOPLE


def just_before(monkeypatch, where, name, change):
    """Have the change made once, before this is called."""
    real, made = getattr(where, name), []

    def called(*arguments, **options):
        if not made:
            made.append(change())
        return real(*arguments, **options)

    monkeypatch.setattr(where, name, called)


@pytest.fixture
def meanwhile(monkeypatch):
    """A function: change the directory before the second container is searched for users, or for groups."""

    def change(server, ldif, of_groups=False):
        searched, real = [], full.encoded_entries

        def watched(session, base, *rest, **options):
            if base == TEMPS:
                searched.append(base)
                if len(searched) == 1 + of_groups:
                    server.modify(ldif)
            yield from real(session, base, *rest, **options)

        monkeypatch.setattr(full, "encoded_entries", watched)

    return change


@pytest.fixture
def server():
    with Slapd(ldif=ROOT + unit("people") + unit("temps")) as server:
        yield server


LISTS = {
    "by DN": (FULL, person, group("nurses", dn_of("ann"), dn_of("bob")), ("member", dn_of("cyd"))),
    "by name": (
        POSIX,
        lambda name: posix(name, 10),
        posix_group("nurses", 7, "ann", "bob"),
        ("memberUid", "cyd"),
    ),
}
LATER = {
    "somebody else changes": lambda joins: modified(dn_of("bob"), "add", "title", "x"),
    "he changes": lambda joins: modified(dn_of("ann2", TEMPS), "add", "title", "x"),
    "his list changes": lambda joins: modified("cn=nurses," + PEOPLE, "add", *joins),
}


@pytest.mark.parametrize("later", LATER)
@pytest.mark.parametrize("lists", LISTS)
def test_a_user_who_moves_while_he_is_read_stays_a_member(server, meanwhile, tmp_path, lists, later):
    """Timeline:

    before  ann bob cyd              nurses [ann bob]
    run     ann -> temps/ann2, between people and temps: it is found in both
            ann is renamed to ann2 and stays a nurse; nothing is unresolved
    then    bob's title changes, or ann2's, or cyd joins nurses
    twice   no membership ends; ann2 is a nurse
    """
    options, person, nurses, joins = LISTS[lists]
    lab = Lab(server, tmp_path / "users.db")
    server.modify("".join(map(person, ("ann", "bob", "cyd"))) + nurses)
    lab.run(**options)
    meanwhile(server, ANN_MOVES)
    result = lab.once(**options)
    assert result["summary"]["users"]["renamed"] == 1 and ("nurses", "ann2") in lab.members()
    assert result["unresolved_members"] == [], "what led to where he was still leads to him"
    server.modify(LATER[later](joins))
    for _again in range(2):
        assert not lab.once(**options)["summary"]["memberships"]["removed"]
        assert ("nurses", "ann2") in lab.members()


@pytest.mark.parametrize("lists", LISTS)
def test_who_has_the_name_of_one_who_moved_is_the_member_then(server, meanwhile, tmp_path, lists):
    """Timeline:

    before  ann bob                  nurses [ann bob]
    run     ann -> temps/ann2, between people and temps
    then    another ann comes        nurses [ann bob], as before
    run     the nurses are the new ann and bob
    """
    options, person, nurses, _joins = LISTS[lists]
    lab = Lab(server, tmp_path / "users.db")
    server.modify("".join(map(person, ("ann", "bob"))) + nurses)
    lab.run(**options)
    meanwhile(server, ANN_MOVES)
    lab.once(**options)
    server.modify(person("ann"))
    lab.once(**options)
    assert lab.members() == [("nurses", "ann"), ("nurses", "bob")]


def test_a_user_whose_primary_group_becomes_another_while_he_is_read_leaves_the_first(server, meanwhile, tmp_path):
    """Timeline:

    before  ann                      primary group of ann: crew
    run     ann -> temps/ann2 with the primary group staff, between people and temps
            ann2 is in staff, and no longer in crew
    """
    lab = Lab(server, tmp_path / "users.db")
    server.modify(posix("ann", 10) + posix_group("crew", 1) + posix_group("staff", 2))
    lab.run(**POSIX)
    assert lab.members() == [("crew", "ann")]
    meanwhile(server, ANN_MOVES + modified(dn_of("ann2", TEMPS), "replace", "gidNumber", 2))
    lab.once(**POSIX, removal_limits={"memberships": "100%"})
    assert lab.members() == [("staff", "ann2")]


def test_a_group_that_moves_while_it_is_read_stays_nested(server, meanwhile, tmp_path):
    """Timeline:

    before  ann                      inner [ann]  outer [inner]
    run     inner -> temps/inner2, between the groups of people and those of temps
    twice   inner2 is nested in outer
    """
    lab = Lab(server, tmp_path / "users.db")
    server.modify(person("ann") + group("inner", dn_of("ann")) + group("outer", "cn=inner," + PEOPLE))
    lab.run(**FULL)
    meanwhile(server, moved("cn=inner," + PEOPLE, "cn=inner2", TEMPS), of_groups=True)
    for _again in range(3):
        lab.once(**FULL)
        assert lab.nestings() == [("outer", "inner2")]


# Who moves after he was read, and is listed where he is now: the list leads to him, and his record tells where he was.
FOLLOWS = {
    "inside": (FULL, ("member", dn_of("ann2", TEMPS), dn_of("bob")), renamed(dn_of("ann2", TEMPS), "uid=ann3")),
    "outside": (
        {**FULL, "distinguished_name": PEOPLE},
        ("member", dn_of("ann2", TEMPS), dn_of("bob")),
        moved(dn_of("ann2", TEMPS), "uid=ann3", PEOPLE),
    ),
    "by name": (POSIX, ("memberUid", "ann2", "bob"), renamed(dn_of("ann2", TEMPS), "uid=ann3")),
}


@pytest.mark.parametrize("case", FOLLOWS)
def test_a_list_that_follows_a_move_once_and_not_twice_keeps_the_member(server, monkeypatch, tmp_path, case):
    """Timeline:

    before  ann bob                  nurses [ann bob]
    run     ann -> temps/ann2, nurses [ann2 bob], between users and groups
            the nurses are ann, as it was read, and bob
    then    ann2 -> ann3             nurses [ann2 bob]: the list does not follow
    twice   no membership ends; the nurses are ann3 and bob
    then                             nurses [bob]
    run     the nurses are bob
    """
    options, list_now, moves_again = FOLLOWS[case]
    lists = LISTS["by name" if case == "by name" else "by DN"]
    lab = Lab(server, tmp_path / "users.db")
    server.modify("".join(map(lists[1], ("ann", "bob"))) + lists[2])
    lab.run(**options)
    just_before(
        monkeypatch,
        full._Everything,
        "read_groups",
        lambda: server.modify(ANN_MOVES + modified(NURSES, "replace", *list_now)),
    )
    lab.once(**options)
    assert lab.members() == [("nurses", "ann"), ("nurses", "bob")]  # as she was read
    server.modify(moves_again)
    for _again in range(2):
        assert not lab.once(**options)["summary"]["memberships"]["removed"]
        assert lab.members() == [("nurses", "ann3"), ("nurses", "bob")]
    server.modify(modified(NURSES, "replace", *list_now[::2]))  # and without the value it ends
    lab.once(**options, removal_limits={"memberships": "100%"})
    assert lab.members() == [("nurses", "bob")]


def test_a_list_that_follows_the_move_of_a_nested_group_once_and_not_twice_keeps_it(server, meanwhile, tmp_path):
    """Timeline:

    before  ann                      inner [ann]  temps/outer [inner]
    run     inner -> away/inner2, outer [inner2], between the groups of people and those of temps
            inner is nested in outer, as it was read
    then    inner2 -> inner3         outer [inner2]: the list does not follow
    twice   inner3 is nested in outer
    """
    lab = Lab(server, tmp_path / "users.db")
    away = "ou=away," + BASE
    server.modify(
        person("ann")
        + unit("away")
        + group("inner", dn_of("ann"))
        + group("outer", INNER)
        + moved("cn=outer," + PEOPLE, "cn=outer", TEMPS)
    )
    lab.run(**FULL)
    meanwhile(
        server,
        moved(INNER, "cn=inner2", away) + modified("cn=outer," + TEMPS, "replace", "member", "cn=inner2," + away),
        of_groups=True,
    )
    lab.once(**FULL)
    assert lab.nestings() == [("outer", "inner")]  # as it was read
    server.modify(moved("cn=inner2," + away, "cn=inner3", PEOPLE))
    for _again in range(2):
        lab.once(**FULL)
        assert lab.nestings() == [("outer", "inner3")]


@pytest.mark.parametrize("lists", LISTS)
def test_a_list_that_followed_to_where_he_was_read_first_keeps_the_member(server, meanwhile, tmp_path, lists):
    """Timeline:

    before  ann bob cyd              nurses [ann bob]
    then    ann -> ann1              nurses [ann1 bob]
    run     ann1 -> temps/ann2, between people and temps: it is found in both
    thrice  no membership ends; the nurses are ann2 and bob
    """
    options, person, nurses, joins = LISTS[lists]
    lab = Lab(server, tmp_path / "users.db")
    server.modify("".join(map(person, ("ann", "bob", "cyd"))) + nurses)
    lab.run(**options)
    now = {"by DN": [dn_of("ann1"), dn_of("bob")], "by name": ["ann1", "bob"]}[lists]
    server.modify(renamed(dn_of("ann"), "uid=ann1") + modified(NURSES, "replace", joins[0], *now))
    meanwhile(server, moved(dn_of("ann1"), "uid=ann2", TEMPS))
    for _again in range(3):
        assert not lab.once(**options)["summary"]["memberships"]["removed"]
        assert lab.members() == [("nurses", "ann2"), ("nurses", "bob")]


def test_a_list_that_followed_to_where_a_group_was_read_first_keeps_it_nested(server, meanwhile, tmp_path):
    """Timeline:

    before  ann                      inner [ann]  outer [inner]
    then    inner -> inner1          outer [inner1]
    run     inner1 -> temps/inner2, between the groups of people and those of temps
    thrice  inner2 is nested in outer
    """
    lab = Lab(server, tmp_path / "users.db")
    server.modify(person("ann") + group("inner", dn_of("ann")) + group("outer", INNER))
    lab.run(**FULL)
    server.modify(
        renamed(INNER, "cn=inner1") + modified("cn=outer," + PEOPLE, "replace", "member", "cn=inner1," + PEOPLE)
    )
    meanwhile(server, moved("cn=inner1," + PEOPLE, "cn=inner2", TEMPS), of_groups=True)
    for _again in range(3):
        lab.once(**FULL)
        assert lab.nestings() == [("outer", "inner2")]


def test_a_name_that_somebody_had_before_he_came_again_is_its_new_owners(server, meanwhile, tmp_path):
    """Timeline:

    before  ann bob temps/carl       nurses [carl bob], by name
    run     ann -> temps/ann2, temps/carl -> temps/ann, nurses [ann bob], between people and temps
    twice   no membership ends; the nurses are ann, who was carl, and bob
    """
    lab = Lab(server, tmp_path / "users.db")
    server.modify(
        posix("ann", 10) + posix("bob", 11) + posix("carl", 12, TEMPS) + posix_group("nurses", 7, "carl", "bob")
    )
    lab.run(**POSIX)
    meanwhile(
        server,
        ANN_MOVES + renamed(dn_of("carl", TEMPS), "uid=ann") + modified(NURSES, "replace", "memberUid", "ann", "bob"),
    )
    for _again in range(2):
        assert not lab.once(**POSIX)["summary"]["memberships"]["removed"]
    assert [name for _group, name in lab.members()] == ["ann", "bob"]
    assert lab.rows("SELECT name FROM users WHERE dn = '%s'" % dn_of("ann", TEMPS)) == [("ann",)]


@pytest.mark.parametrize("lists", LISTS)
def test_who_is_where_somebody_was_before_he_came_again_is_the_one_who_is_listed(server, meanwhile, tmp_path, lists):
    """Timeline:

    before  ann bob cyd              nurses [cyd bob]
    run     ann -> temps/ann2, cyd -> ann, nurses [ann bob], between people and temps:
            ann was read where it was, and nobody is read where cyd is now
            no membership begins or ends: the nurses are cyd, as it was read, and bob
    """
    options, person, nurses, joins = LISTS[lists]
    lab = Lab(server, tmp_path / "users.db")
    listed = {"by DN": [dn_of("ann"), dn_of("bob")], "by name": ["ann", "bob"]}[lists]
    server.modify("".join(map(person, ("ann", "bob", "cyd"))) + nurses.replace("ann", "cyd"))
    lab.run(**options)
    # He was read where he was, and nobody is read where he is now.
    meanwhile(server, ANN_MOVES + renamed(dn_of("cyd"), "uid=ann") + modified(NURSES, "replace", joins[0], *listed))
    memberships = lab.once(**options)["summary"]["memberships"]
    assert (memberships["added"], memberships["removed"]) == (0, 0)
    assert lab.members() == [("nurses", "bob"), ("nurses", "cyd")]


def test_a_newcomer_where_somebody_was_before_he_came_again_is_the_one_who_is_listed(server, meanwhile, tmp_path):
    """Timeline:

    before  ann bob                  nurses [bob]
    run     ann -> temps/ann2, another ann comes, nurses [ann bob], between people and temps
            ann2 is no nurse
    """
    lab = Lab(server, tmp_path / "users.db")
    server.modify("".join(map(person, ("ann", "bob"))) + group("nurses", dn_of("bob")))
    lab.run(**FULL)
    meanwhile(server, ANN_MOVES + person("ann") + modified(NURSES, "add", "member", dn_of("ann")))
    lab.once(**FULL)
    assert ("nurses", "ann2") not in lab.members()


def test_a_group_where_another_was_before_it_came_again_is_the_one_that_is_listed(server, meanwhile, tmp_path):
    """Timeline:

    before  ann                      inner [ann]  other [ann]  temps/outer [other]
    run     inner -> temps/inner2, other -> inner, outer [inner], between the groups of people and those of temps
            other, as it was read, is nested in outer
    """
    lab = Lab(server, tmp_path / "users.db")
    server.modify(
        person("ann")
        + group("inner", dn_of("ann"))
        + group("other", dn_of("ann"))
        + group("outer", "cn=other," + PEOPLE)
        + moved("cn=outer," + PEOPLE, "cn=outer", TEMPS)
    )
    lab.run(**FULL)
    meanwhile(
        server,
        moved(INNER, "cn=inner2", TEMPS)
        + renamed("cn=other," + PEOPLE, "cn=inner")
        + modified("cn=outer," + TEMPS, "replace", "member", INNER),
        of_groups=True,
    )
    lab.once(**FULL)
    assert lab.nestings() == [("outer", "other")]


def test_each_value_that_meant_somebody_keeps_him(server, tmp_path):
    """Timeline:

    before  bob ann eve              nurses [ann eve bob]
    run     ann -> ann2, eve -> eve2: the list does not follow
    run     nurses [ann eve bob ann2 eve2]: it has where they were at first, and where they are
    run     ann2 -> ann3, eve2 -> eve3: the list does not follow
    then                             nurses [eve bob ann2]: of each, one of the two values is left
    twice   no membership ends; the nurses are ann3, bob and eve3
    run     nurses [bob]
            the nurses are bob
    """
    lab = Lab(server, tmp_path / "users.db")
    server.modify(
        person("bob") + "".join(map(person, ("ann", "eve"))) + group("nurses", dn_of("ann"), dn_of("eve"), dn_of("bob"))
    )
    lab.run(**FULL)
    for name in "ann", "eve":
        server.modify(renamed(dn_of(name), "uid=%s2" % name))
    lab.once(**FULL, removal_limits={"renames": "100%"})
    server.modify(modified(NURSES, "add", "member", dn_of("ann2"), dn_of("eve2")))
    lab.once(**FULL)
    for name in "ann", "eve":
        server.modify(renamed(dn_of(name + "2"), "uid=%s3" % name))
    lab.once(**FULL, removal_limits={"renames": "100%"})
    server.modify(modified(NURSES, "delete", "member", dn_of("ann"), dn_of("eve2")))
    for _again in range(2):
        assert not lab.once(**FULL)["summary"]["memberships"]["removed"]
        assert [name for _group, name in lab.members()] == ["ann3", "bob", "eve3"]
    server.modify(modified(NURSES, "delete", "member", dn_of("ann2"), dn_of("eve")))
    lab.once(**FULL, removal_limits={"memberships": "100%"})
    assert lab.members() == [("nurses", "bob")]


def test_each_name_that_meant_somebody_keeps_him(server, tmp_path):
    """Timeline:

    before  ann, also anna; eve, also eva; bob     nurses [ann anna bob eve eva], by name
    run     ann -> new1 and eve -> new2, without their other names
    then                                           nurses [anna bob eve]: of each, one of the two names is left
    twice   no membership ends; the nurses are bob, new1 and new2
    """
    lab = Lab(server, tmp_path / "users.db")
    server.modify(
        posix("ann", 10, PEOPLE, "uid: anna")
        + posix("eve", 11, PEOPLE, "uid: eva")
        + posix("bob", 12)
        + posix_group("nurses", 7, "ann", "anna", "bob", "eve", "eva")
    )
    lab.run(**POSIX)
    server.modify(
        modified(dn_of("ann"), "delete", "uid", "anna")
        + renamed(dn_of("ann"), "uid=new1")
        + modified(dn_of("eve"), "delete", "uid", "eva")
        + renamed(dn_of("eve"), "uid=new2")
    )
    lab.once(**POSIX, removal_limits={"renames": "100%"})
    server.modify(modified(NURSES, "delete", "memberUid", "ann", "eva"))
    for _again in range(2):
        assert not lab.once(**POSIX)["summary"]["memberships"]["removed"]
        assert [name for _group, name in lab.members()] == ["bob", "new1", "new2"]


def test_what_a_list_had_before_it_followed_is_still_remembered(server, monkeypatch, tmp_path):
    """Timeline:

    before  ann bob                  nurses [ann bob]
    run     ann -> ann1: the list does not follow
    run     ann1 -> temps/ann2, nurses [ann bob ann2], between users and groups
    run     ann2 -> ann3: the list does not follow
    then                             nurses [ann bob]: the value that led to ann at first is left
    twice   no membership ends; the nurses are ann3 and bob
    """
    lab = Lab(server, tmp_path / "users.db")
    server.modify(person("ann") + person("bob") + group("nurses", dn_of("ann"), dn_of("bob")))
    lab.run(**FULL)
    server.modify(renamed(dn_of("ann"), "uid=ann1"))
    lab.once(**FULL)
    just_before(
        monkeypatch,
        full._Everything,
        "read_groups",
        lambda: server.modify(
            moved(dn_of("ann1"), "uid=ann2", TEMPS) + modified(NURSES, "add", "member", dn_of("ann2", TEMPS))
        ),
    )
    lab.once(**FULL)
    server.modify(moved(dn_of("ann2", TEMPS), "uid=ann3", PEOPLE))
    lab.once(**FULL)
    server.modify(modified(NURSES, "delete", "member", dn_of("ann2", TEMPS)))
    for _again in range(2):
        assert not lab.once(**FULL)["summary"]["memberships"]["removed"]
        assert lab.members() == [("nurses", "ann3"), ("nurses", "bob")]


# --- two synchronizations: the one that writes a record was not there when a list followed, and is not told of it

ANY = {"removal_limits": {"memberships": "100%", "renames": "100%"}}
SECOND = {"name": "second", "user_group": "All/Second"}


@pytest.mark.parametrize("has_run", [True, False], ids=["known", "new"])
@pytest.mark.parametrize("options", [FULL, INCREMENTAL, POSIX], ids=["full", "incremental", "by name"])
def test_where_a_list_had_somebody_when_the_other_was_not_there_yet(server, tmp_path, options, has_run):
    """Timeline:

    before  ann bob                  nurses [ann bob]
    first   runs; so does the second, or it has not run yet
    then    ann -> ann1              nurses [ann1 bob]
    second  runs, and the first, which writes the users, does not
    then    ann1 -> ann2             nurses [ann1 bob]: the list does not follow
    first   runs: it never saw where the list had ann1
    second  twice: no membership ends; ann2 is a nurse
    """
    lists = LISTS["by name" if options is POSIX else "by DN"]
    lab = Lab(server, tmp_path / "users.db")
    first, second = {**options, **ANY}, {**options, **ANY, **SECOND}
    server.modify("".join(map(lists[1], ("ann", "bob"))) + lists[2])
    lab.once(**first)
    if has_run:
        lab.once(**second)
    listed = ["ann1", "bob"] if options is POSIX else [dn_of("ann1"), dn_of("bob")]
    server.modify(renamed(dn_of("ann"), "uid=ann1") + modified(NURSES, "replace", lists[3][0], *listed))
    lab.once(**second)
    server.modify(renamed(dn_of("ann1"), "uid=ann2"))
    lab.once(**first)  # which never saw that
    for _again in range(2):
        assert not lab.once(**second)["summary"]["memberships"]["removed"]
        assert ("nurses", "ann2") in lab.members()


def test_the_same_of_a_user_outside_whom_a_nested_group_outside_has(server, tmp_path):
    """Timeline:

    the first reads everything, the second only people: it has ann through the lists alone
    before  bob temps/ann            away/inner [ann]   extra [ann]   outer [bob ann inner]
    first   runs
    second  runs
    then    temps/ann -> temps/ann1  away/inner [ann1]  extra [ann1]  outer [ann1 bob inner]
    second  runs
    then    ann1 -> temps/ann2       extra [ann2]: the other lists do not follow
    first   runs
    second  twice: no membership ends
    """
    lab = Lab(server, tmp_path / "users.db")
    away = "ou=away," + BASE
    inner, extra, outer = "cn=inner," + away, "cn=extra," + PEOPLE, "cn=outer," + PEOPLE
    everything, second = {**FULL, **ANY}, {**FULL, **ANY, **SECOND, "distinguished_name": PEOPLE}
    was, then, now = (dn_of(name, TEMPS) for name in ("ann", "ann1", "ann2"))
    server.modify(
        unit("away")
        + person("bob")
        + person("ann", below=TEMPS)
        + group("inner", was)
        + moved(INNER, "cn=inner", away)
        + group("extra", was)
        + group("outer", dn_of("bob"), was, inner)
    )
    lab.once(**everything)
    lab.once(**second)
    server.modify(
        renamed(was, "uid=ann1")
        + modified(outer, "replace", "member", then, dn_of("bob"), inner)
        + modified(inner, "replace", "member", then)
        + modified(extra, "replace", "member", then)
    )
    lab.once(**second)
    server.modify(renamed(then, "uid=ann2") + modified(extra, "replace", "member", now))
    lab.once(**everything)
    for _again in range(2):
        assert not lab.once(**second)["summary"]["memberships"]["removed"]


def test_lists_of_names_and_of_dns_of_the_same_users_write_nothing_where_nothing_changes(server, tmp_path):
    """Timeline:

    before  ann; bob, also bobby     nurses [ann], by name; crew [ann bob], by DN
    first   runs, reading lists of DNs
    second  runs twice, reading lists of names
    then    each of them runs again, the second also without a name for users: nothing is written
    """
    lab = Lab(server, tmp_path / "users.db")
    server.modify(
        posix("ann", 10)
        + posix("bob", 11, PEOPLE, "uid: bobby")
        + posix_group("nurses", 7, "ann")
        + group("crew", dn_of("ann"), dn_of("bob"))
    )
    by_name = {**POSIX, **SECOND}
    lab.once(**FULL)
    lab.once(**by_name)
    lab.once(**by_name)
    before = lab.rows("SELECT * FROM memberships ORDER BY 1, 2")
    nameless = {**by_name, "user_attributes": {"name": "street"}}
    for options in (FULL, by_name, nameless):
        assert lab.run(**options)["changed"] is False
    assert not lab.once(**nameless)["not_stored"], "that is for the one who writes the users to say"
    assert lab.rows("SELECT * FROM memberships ORDER BY 1, 2") == before


# --- who moves while what changed is read


@pytest.fixture(params=["plain", "syncprov"])
def any_server(request):
    overlays = ("syncprov",) if request.param == "syncprov" else ()
    with Slapd(ldif=ROOT + unit("people") + unit("temps"), overlays=overlays) as server:
        yield server


def test_a_group_that_moves_after_it_was_asked_what_changed_stays_nested(any_server, monkeypatch, tmp_path):
    """Timeline:

    before  ann bob cyd dan          inner [ann]  outer [ann inner]
    then    ann -> ann2, so that the lists with ann are read
    run     what changed is asked for; inner -> temps/inner2; the lists are read
            everything is read instead
    twice   inner2 is nested in outer
    """
    lab = Lab(any_server, tmp_path / "users.db")
    any_server.modify(
        "".join(map(person, ("ann", "bob", "cyd", "dan")))
        + group("inner", dn_of("ann"))
        + group("outer", dn_of("ann"), INNER)
    )
    lab.once(**INCREMENTAL)
    any_server.modify(renamed(dn_of("ann"), "uid=ann2"))  # so that the lists with her are read
    just_before(
        monkeypatch,
        concerned.ConcernedLists,
        "find",
        lambda: any_server.modify(moved(INNER, "cn=inner2", TEMPS)),
    )
    result = lab.once(**INCREMENTAL)
    assert result["read"]["mode"] == "full" and "moved while what changed was read" in result["read"]["reason"]
    for _again in range(2):
        assert lab.nestings() == [("outer", "inner2")]
        lab.once(**INCREMENTAL)


def test_a_user_who_moves_after_he_was_read_with_what_changed_stays_a_member(any_server, monkeypatch, tmp_path):
    """Timeline:

    before  ann bob                  nurses [ann bob]
    then    ann's title and the description of nurses change
    run     what changed is read, ann in people; ann -> temps/ann2, nurses [ann2 bob]; the lists are read
            everything is read instead
    then    ann2 -> ann3             nurses [ann2 bob]: the list does not follow
    twice   the nurses are ann3 and bob
    """
    lab = Lab(any_server, tmp_path / "users.db")
    any_server.modify(person("ann") + person("bob") + group("nurses", dn_of("ann"), dn_of("bob")))
    lab.once(**INCREMENTAL)
    any_server.modify(modified(dn_of("ann"), "add", "title", "x") + modified(NURSES, "add", "description", "x"))
    just_before(
        monkeypatch,
        told.ToldLists,
        "fetch_groups",
        lambda: any_server.modify(
            ANN_MOVES + modified(NURSES, "replace", "member", dn_of("ann2", TEMPS), dn_of("bob"))
        ),
    )
    result = lab.once(**INCREMENTAL)
    assert result["read"]["mode"] == "full" and "moved while what changed was read" in result["read"]["reason"]
    any_server.modify(renamed(dn_of("ann2", TEMPS), "uid=ann3"))
    for _again in range(2):
        lab.once(**INCREMENTAL)
        assert lab.members() == [("nurses", "ann3"), ("nurses", "bob")]


# --- the example of docs/architecture.md -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_the_example_of_the_house(tmp_path, mode):
    """Timeline:

    before  ann bob cyd              nurses [ann bob]   doctors [ann cyd]
    then    ann -> eve               nurses [eve]       doctors [ann cyd]
    twice   eve is a nurse and a doctor, and bob is no nurse any more
    """
    with Slapd(ldif=ROOT + unit("people"), overlays=("syncprov\nsyncprov-sessionlog 100",)) as server:
        lab = Lab(server, tmp_path / "users.db")
        people = "".join(map(person, ("ann", "bob", "cyd")))
        server.modify(
            people + group("nurses", dn_of("ann"), dn_of("bob")) + group("doctors", dn_of("ann"), dn_of("cyd"))
        )
        lab.run(read_mode="incremental")
        server.modify(renamed(dn_of("ann"), "uid=eve"))
        server.modify(modified(NURSES, "replace", "member", dn_of("eve")))
        dry_runs = [lab.once(True, read_mode=each) for each in ("full", "incremental")]
        result = lab.once(read_mode=mode)
        assert [each["read"]["mode"] for each in (*dry_runs, result)] == ["full", "incremental", mode]
        assert {each["plan_digest"] for each in dry_runs} == {result["plan_digest"]}
        assert result["users"]["renamed"] == [{"name": "eve", "previous_name": "ann"}]
        (nurses,) = result["changed_groups"]
        assert (nurses["members_removed"], nurses["members_added"]) == (["bob"], [])
        assert [each["value"] for each in result["unresolved_members"]] == [dn_of("ann")]
        noted = lab.rows("SELECT listed_as FROM memberships WHERE coalesce(listed_as, '') <> ''")
        assert noted == [(dn_of("ann"),)]
        for again in range(2):
            assert lab.members() == [("doctors", "cyd"), ("doctors", "eve"), ("nurses", "eve")]
            assert not again or not lab.once(read_mode=mode)["changed"]
