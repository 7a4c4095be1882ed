# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names do not pass to another unit, in a real directory: two organizational units with an administrator each."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.administrators import DAY, Entry, Watch, World
from support.escaping import escape_dn_value
from support.lab import BASE, ROOT, Lab, unit
from support.slapd import Slapd

UNITS = ("it1", "it2", "sales1", "sales2")
ANYTHING = {
    "removal_limits": "100%",
    "allow_empty": True,
    "scope_change": True,
}


def place(name: str) -> str:
    return "ou=%s,%s" % (name, BASE)


def person(name: str, where: str) -> str:
    return "dn: uid=%s,%s\nobjectClass: inetOrgPerson\nuid: %s\ncn: x\nsn: x\n\n" % (name, place(where), name)


def group(name: str, where: str, member: str = "cn=nobody") -> str:
    return "dn: cn=%s,%s\nobjectClass: groupOfNames\ncn: %s\nmember: %s\n\n" % (name, place(where), name, member)


def gone(rdn: str, where: str) -> str:
    return "dn: %s,%s\nchangetype: delete\n\n" % (rdn, place(where))


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Lab]:
    with Slapd(ldif=ROOT + "".join(map(unit, UNITS)), overlays=("syncprov",)) as server:
        yield Lab(server, tmp_path / "users.db")


def groups(company: Lab) -> dict[str, str]:
    return dict(company.rows("SELECT name, dn FROM user_groups WHERE key IS NOT NULL AND extinct IS NULL"))


def users(company: Lab) -> dict[str, str]:
    return dict(company.rows("SELECT name, dn FROM users WHERE extinct IS NULL"))


@pytest.mark.parametrize(
    "policy", [{}, {"user_group_extinction": "delete", "user_extinction": "delete"}], ids=["kept", "deleted"]
)
@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_who_made_one_of_that_name_does_not_come_to_the_path(company: Lab, policy: dict[str, Any], mode: str) -> None:
    more = {**ANYTHING, **policy, "read_mode": mode}
    company.modify(person("ann", "it1") + person("mallory", "sales1"))
    company.modify(group("Admins", "it1", "uid=ann,%s" % place("it1")))
    company.run(**more)
    company.modify(group("Admins", "sales1", "uid=mallory,%s" % place("sales1")))
    company.run(**more)
    assert groups(company) == {
        "Admins": "cn=Admins,%s" % place("it1"),
        "Admins (sales1)": "cn=Admins,%s" % place("sales1"),
    }
    company.modify(gone("cn=Admins", "it1") + gone("uid=ann", "it1") + person("ann", "sales1"))
    result = company.run(**more)
    assert groups(company) == {"Admins (sales1)": "cn=Admins,%s" % place("sales1")}
    assert users(company) == {"mallory": "uid=mallory,%s" % place("sales1")}
    reasons = [each["reason"] for each in result["collisions"]]
    assert len(reasons) == 2 and all("the name is kept until 20" in reason for reason in reasons)
    company.modify(person("ann", "it1") + group("Admins", "it1", "uid=ann,%s" % place("it1")))
    company.run(**more)
    assert groups(company)["Admins"] == "cn=Admins,%s" % place("it1"), "made again in its unit, it is there"
    assert users(company)["ann"] == "uid=ann,%s" % place("it1")
    assert company.members() == [("Admins", "ann"), ("Admins (sales1)", "mallory")]


def test_a_container_is_known_by_its_key(company: Lab) -> None:
    """ou=it1 is renamed, and another one gets its name: whoever comes there is of another unit."""
    more = {**ANYTHING, "user_extinction": "delete"}
    company.modify(person("ann", "it1"))
    company.run(**more)
    company.modify(gone("uid=ann", "it1"))
    company.run(**more)
    company.modify("dn: %s\nchangetype: modrdn\nnewrdn: ou=office\ndeleteoldrdn: 1\n\n" % place("it1"))
    company.modify(unit("it1") + person("ann", "it1"))
    assert company.run(**more)["collisions"] and users(company) == {}
    company.modify(person("ann", "office"))
    company.run(**more)
    assert users(company) == {"ann": "uid=ann,%s" % place("office")}


def test_an_account_that_may_not_see_the_containers_keeps_names_by_their_dns(tmp_path: Path) -> None:
    hidden = 'access to dn.regex="^ou=[^,]+,%s$" attrs=entryUUID by * none' % BASE
    with Slapd(ldif=ROOT + "".join(map(unit, UNITS)), settings=hidden) as server:
        company = Lab(server, tmp_path / "users.db")
        company.modify(person("ann", "it1") + person("bob", "it1"))
        login = {**ANYTHING, "user_extinction": "delete"}
        company.run(**login)
        company.modify(gone("uid=ann", "it1") + person("ann", "sales1"))
        company.run(**login)
        assert users(company) == {"bob": "uid=bob,%s" % place("it1")}
        company.modify(person("ann", "it1"))
        company.run(**login)
        assert users(company)["ann"] == "uid=ann,%s" % place("it1")
        assert {key for (key,) in company.rows("SELECT unit FROM users")} == {"dn:" + place("it1")}


# --- whatever they do ------------------------------------------------------------------------------------------------


def do(company: Lab, world: World, action: Callable[[], Any]) -> None:
    """Do in the directory what was done in the world."""
    before = dict(world.entries)
    action()
    for key in before.keys() - world.entries.keys():
        company.modify(gone(*_at(before[key])))
    for key in world.entries.keys() - before.keys():
        entry = world.entries[key]
        make = person if entry.kind == "user" else group
        company.modify(make(escape_dn_value(entry.name), entry.container))
    changed = [key for key in before.keys() & world.entries.keys() if _at(before[key]) != _at(world.entries[key])]
    for number, key in enumerate(changed):  # by a name between, so that two may swap
        _rename(company, _at(before[key]), "between%d" % number, before[key].container)
    for number, key in enumerate(changed):
        rdn = _at(before[key])[0].partition("=")[0]
        _rename(
            company,
            ("%s=between%d" % (rdn, number), before[key].container),
            world.entries[key].name,
            world.entries[key].container,
        )


def _rename(company: Lab, at: tuple[str, str], name: str, container: str) -> None:
    rdn = at[0].partition("=")[0]
    company.modify(
        "dn: %s,%s\nchangetype: modrdn\nnewrdn: %s=%s\ndeleteoldrdn: 1\nnewsuperior: %s\n\n"
        % (at[0], place(at[1]), rdn, name, place(container))
    )


def _at(entry: Entry) -> tuple[str, str]:
    return "%s=%s" % ("uid" if entry.kind == "user" else "cn", entry.name), entry.container


@pytest.mark.parametrize("_history", range(3))
def test_whatever_two_administrators_do(company: Lab, chance: random.Random, _history: int) -> None:
    world, watch = World(), Watch(30)
    names = ("Admins", "Ops", "Admins (sales1)")
    ever: dict[str, Entry] = {}
    now = 0
    for _run in range(12):
        for _action in range(3):
            action = random_action(chance, world, names)
            if action is not None:
                do(company, world, action)
        selected = chance.choice(([], [place(name) for name in chance.sample(UNITS, 3)]))
        company.once(
            **ANYTHING,
            read_mode=chance.choice(("full", "incremental")),
            distinguished_name=selected,
            user_extinction=chance.choice(("skip", "disable", "delete")),
            user_group_extinction=chance.choice(("skip", "delete")),
        )
        seen = {
            entry.key: entry for entry in world.entries.values() if not selected or place(entry.container) in selected
        }
        now += DAY // 100
        ever.update(world.entries)
        watch.look(now, holders(company, world, ever), seen, ever)


def random_action(chance: random.Random, world: World, names: tuple[str, ...]) -> Callable[[], Any] | None:
    what = chance.choice(("create", "create", "delete", "make_again", "rename", "move"))
    number, name = chance.randrange(20), chance.choice(names)
    if what == "create":
        entry = (chance.choice(("it", "sales")), chance.choice(("user", "user_group")), name, chance.choice((1, 2)))
        taken = {(each.kind, each.container, each.name) for each in world.entries.values()}
        if (entry[1], "%s%d" % (entry[0], entry[3]), name) in taken:
            return None
        return lambda: world.create(*entry)
    entry_meant = world._any(number)
    if entry_meant is None:
        return None
    where = {(each.kind, each.container, each.name) for each in world.entries.values()}
    other = entry_meant.container[:-1] + ("1" if entry_meant.container[-1] == "2" else "2")
    if what == "rename":
        if (entry_meant.kind, entry_meant.container, name) in where:
            return None
        return lambda: world.rename(number, name)
    if what == "move":
        return None if (entry_meant.kind, other, entry_meant.name) in where else lambda: world.move(number)
    return lambda: getattr(world, what)(number)


def holders(company: Lab, world: World, ever: dict[str, Entry]) -> dict[tuple[str, str], tuple[str, bool]]:
    """Who has which path, by the keys of the world: an entryUUID is one of those that it was met with."""
    found = {}
    for kind, statement in (
        ("user", "SELECT key, name_key, extinct, dn FROM users"),
        ("user_group", "SELECT key, name_key, extinct, dn FROM user_groups WHERE key IS NOT NULL"),
    ):
        for key, name, extinct, dn in company.rows(statement):
            if extinct is None:
                at = {
                    ("%s,%s" % (_at(entry)[0], place(entry.container))).lower(): entry.key
                    for entry in world.entries.values()
                    if entry.kind == kind
                }
                KEYS[company.store, key] = at[dn.lower()]
            found[kind, name] = KEYS[company.store, key], extinct is not None
    return found


KEYS: dict[tuple[Path, str], str] = {}  # (store, entryUUID) -> key in the world
