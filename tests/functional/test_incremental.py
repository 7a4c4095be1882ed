# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading only what changed comes to what reading everything comes to.

Random histories of a real directory. After each step one store takes an incremental run and another a full one; what
the two hold, and what the two runs say, must be equal each time.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
from contextlib import closing

import pytest
from support.lab import BASE, PEOPLE, ROOT, Lab, dn_of, group, person, renamed, unit
from support.slapd import Slapd

LIMITS = {kind: "999999" for kind in ("users", "user_groups", "memberships", "attributes", "renames")}
SEED = int(os.environ.get("SEED", "0"))  # that of a history that failed
SYNCPROV = "syncprov"
SESSIONLOG = "syncprov\nsyncprov-sessionlog 1000"
STAFF, OTHERS = "ou=staff,%s" % BASE, "ou=others,%s" % BASE


# --- what is compared ------------------------------------------------------------------------------------------------


def held_by(path):
    """What a store holds, by names that do not depend on row ids; read with nothing of the collection."""
    with closing(sqlite3.connect("file:%s?mode=ro" % path, uri=True)) as connection:
        def rows(statement):
            return sorted(map(repr, connection.execute(statement).fetchall()))

        return {
            "users": rows("SELECT u.key, u.name, u.name_key, g.key, u.enabled, u.sid, u.extinct, u.dn, u.known_as,"
                          " u.attributes, u.adopted, u.expires FROM users u JOIN user_groups g ON g.id = u.home_id"),
            "claims": rows("SELECT u.key FROM claims c JOIN users u ON u.id = c.user_id"),
            "user_groups": rows("SELECT g.key, g.name, g.name_key, p.key, p.name, g.extinct, g.attributes, g.dn"
                                " FROM user_groups g LEFT JOIN user_groups p ON p.id = g.parent_id"),
            "memberships": rows("SELECT g.key, u.key, u.name, m.listed_as FROM memberships m"
                                " JOIN user_groups g ON g.id = m.user_group_id JOIN users u ON u.id = m.user_id"),
            "nestings": rows("SELECT g.key, n.key, m.listed_as FROM nestings m JOIN user_groups g"
                             " ON g.id = m.user_group_id JOIN user_groups n ON n.id = m.nested_id"),
        }


# What the store has nothing of, an incremental run counts among what it read.
COUNTS_OF_WHAT_WAS_READ = {"memberships": ("computers", "contacts", "out_of_scope", "well_known_identities"),
                           "users": ("ignored",)}


def said_by(result):
    said = json.loads(json.dumps({key: value for key, value in result.items() if key not in ("read", "settings")}))
    for part, counts in COUNTS_OF_WHAT_WAS_READ.items():
        for count in counts:
            said["summary"][part].pop(count)
    said["not_stored"].sort(key=repr)
    said["unresolved_members"].sort(key=repr)
    return said


def must_be_equal(one, other):
    """Fail with what is in only one of two results, or of two stores."""
    found = differences(one, other)
    if found:
        pytest.fail("\n".join(found))


def differences(one, other):
    if isinstance(one, dict) and isinstance(other, dict):
        return ["%s: %s" % (key, text) for key in sorted(one.keys() | other.keys())
                for text in differences(one.get(key), other.get(key))]
    if isinstance(one, list) and isinstance(other, list):
        return ["%s has %s" % (who, item) for who, mine, theirs in (("incremental", one, other), ("full", other, one))
                for item in mine if item not in theirs]
    return [] if one == other else ["incremental says %r, full %r" % (one, other)]


class Pair:
    """Two stores of one directory: one is kept by incremental runs, the other by full ones."""

    def __init__(self, server, folder, options, **more):
        self.options = {"removal_limits": LIMITS, "allow_empty": True, "scope_change": True, "store_backups": 0,
                        **options, **more}
        self.incremental = Lab(server, folder / "incremental.db")
        self.full = Lab(server, folder / "full.db")
        self.modes: list[str] = []
        self.reasons: list[str] = []

    def step(self, **more):
        """A run of each, and a dry one before: what they say and what they leave is equal."""
        options = {**self.options, **more}
        before = self.incremental.store.read_bytes() if self.incremental.store.exists() else b""
        dry = self.incremental.once(True, read_mode="incremental", **options)
        after = self.incremental.store.read_bytes() if self.incremental.store.exists() else b""
        assert before == after, "a dry run left a trace"
        incremental = self.incremental.once(read_mode="incremental", **options)
        full = self.full.once(read_mode="full", **options)
        self.modes.append(incremental["read"]["mode"])
        self.reasons.append(incremental["read"]["reason"])
        assert full["read"]["mode"] == "full"
        must_be_equal(held_by(self.incremental.store), held_by(self.full.store))
        must_be_equal(said_by(incremental), said_by(full))
        must_be_equal(said_by(dry), said_by(full))
        return incremental


# --- random histories of OpenLDAP ------------------------------------------------------------------------------------


class Company:
    """A directory that random things happen to, by ldapmodify. Names are few, so that they meet."""

    NAMES = ("ann", "bob", "cyd", "dan", "eve", "fay", "gus", "hal")
    GROUPS = ("nurses", "doctors", "all", "night", "day")

    def __init__(self, server, dice):
        self.server, self.dice = server, dice

    def look(self, filter):
        return sorted(self.server.search(filter, "1.1"))

    def users(self):
        return self.look("(objectClass=inetOrgPerson)")

    def groups(self):
        return self.look("(objectClass=groupOfNames)")

    def folders(self):
        return [dn for dn in self.look("(objectClass=organizationalUnit)") if dn != PEOPLE]

    def happen(self):
        """One thing happens; what, for the message of a test that fails."""
        what = self.dice.choice(THINGS)
        try:
            ldif = what(self)
            if ldif:
                self.server.modify(ldif)
        except RuntimeError as refused:  # a name that is taken, a list that must not be empty: nothing happened
            return "%s: refused (%s)" % (what.__name__, str(refused)[-120:])
        return "%s: %s" % (what.__name__, ldif)


def create_user(company):
    dice = company.dice
    return person(dice.choice(company.NAMES), "mail: %d@x.org" % dice.randrange(9), below=dice.choice(company.folders()))


def create_group(company):
    dice = company.dice
    name, below = dice.choice(company.GROUPS), dice.choice(company.folders())
    return "dn: cn=%s,%s\nobjectClass: groupOfNames\ncn: %s\nmember: %s\n\n" % (name, below, name, somebody(company))


def somebody(company):
    """A DN: of somebody, or of nobody (yet)."""
    dice = company.dice
    if dice.random() < 0.25:
        return dn_of(dice.choice(company.NAMES), dice.choice(company.folders()))
    return dice.choice(company.users() + company.groups() or [BASE])


def change_attribute(company):
    if company.users():
        return "dn: %s\nchangetype: modify\nreplace: title\ntitle: %d\n\n" % (
            company.dice.choice(company.users()), company.dice.randrange(5))


def describe_group(company):
    if company.groups():
        return "dn: %s\nchangetype: modify\nreplace: description\ndescription: %d\n\n" % (
            company.dice.choice(company.groups()), company.dice.randrange(5))


def rename_user(company):
    if company.users():
        return renamed(company.dice.choice(company.users()), "uid=" + company.dice.choice(company.NAMES))


def rename_group(company):
    if company.groups():
        return renamed(company.dice.choice(company.groups()), "cn=" + company.dice.choice(company.GROUPS))


def move(company):
    entries = company.users() + company.groups()
    if entries:
        dn = company.dice.choice(entries)
        return "dn: %s\nchangetype: modrdn\nnewrdn: %s\ndeleteoldrdn: 0\nnewsuperior: %s\n\n" % (
            dn, dn.partition(",")[0], company.dice.choice(company.folders()))


def move_folder(company):
    folders = [dn for dn in company.folders() if dn not in (STAFF, OTHERS)]
    if folders:
        dn = company.dice.choice(folders)
        return "dn: %s\nchangetype: modrdn\nnewrdn: ou=%s\ndeleteoldrdn: 1\nnewsuperior: %s\n\n" % (
            dn, company.dice.choice(("ward", "annex")), company.dice.choice((STAFF, OTHERS)))


def join(company):
    if company.groups():
        return "dn: %s\nchangetype: modify\nadd: member\nmember: %s\n\n" % (
            company.dice.choice(company.groups()), somebody(company))


def leave(company):
    groups = company.server.search("(objectClass=groupOfNames)", "member")
    if groups:
        dn = company.dice.choice(sorted(groups))
        return "dn: %s\nchangetype: modify\ndelete: member\nmember: %s\n\n" % (
            dn, company.dice.choice(sorted(groups[dn]["member"])))


def disable(company):
    if company.users():
        return ("dn: %s\nchangetype: modify\nreplace: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n\n"
                % company.dice.choice(company.users()))


def enable(company):
    if company.users():
        return ("dn: %s\nchangetype: modify\ndelete: pwdAccountLockedTime\n\n" % company.dice.choice(company.users()))


def delete(company):
    entries = company.users() + company.groups()
    if entries:
        return "dn: %s\nchangetype: delete\n\n" % company.dice.choice(entries)


def recreate(company):
    users = company.users()
    if users:
        dn = company.dice.choice(users)
        name, below = dn.partition(",")[0][4:], dn.partition(",")[2]
        return "dn: %s\nchangetype: delete\n\n" % dn + person(name, below=below)


def stop_matching(company):
    if company.users():
        return "dn: %s\nchangetype: modify\nreplace: employeeType\nemployeeType: %s\n\n" % (
            company.dice.choice(company.users()), company.dice.choice(("robot", "person")))


def nothing(company):
    return ""


THINGS = (create_user, create_user, create_user, create_group, change_attribute, describe_group, rename_user,
          rename_group, move, move, move_folder, join, join, join, leave, leave, disable, enable, delete, recreate,
          stop_matching, nothing)

SCOPES = {
    "the whole tree": {},
    "one container": {"distinguished_name": [STAFF]},
    "one container, nobody else": {"distinguished_name": [STAFF], "outside_members": "skip"},
    "all but one container": {"exclude_distinguished_name": [OTHERS]},
    "keeping": {"user_extinction": "skip", "user_group_extinction": "skip", "distinguished_name": [STAFF]},
    "deleting": {"user_extinction": "delete", "user_group_extinction": "delete", "distinguished_name": [STAFF]},
    "a filter": {"user_filter": "(!(employeeType=robot))", "ignore_disabled_users": True},
}


@pytest.fixture
def steps(request):
    return request.config.getoption("--changes")


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("overlays", [(), (SYNCPROV,), (SESSIONLOG,)], ids=["sweep", "syncrepl", "sessionlog"])
def test_random_changes_of_openldap(tmp_path, overlays, scope, steps):
    seed = SEED or random.randrange(1 << 32)
    dice = random.Random(seed)
    people = (unit("staff") + unit("others") + unit("ward", below=STAFF) + unit("people")
              + "".join(person(name, below=STAFF) for name in Company.NAMES[:4])
              + "dn: cn=nurses,%s\nobjectClass: groupOfNames\ncn: nurses\nmember: %s\n\n" % (STAFF, dn_of("ann", STAFF)))
    with Slapd(ldif=ROOT + people, overlays=("ppolicy", *overlays)) as server:
        company, pair = Company(server, dice), Pair(server, tmp_path, SCOPES[scope])
        pair.step()
        history = []
        for number in range(steps):
            history.append([company.happen() for _one in range(dice.choice((0, 1, 1, 1, 2, 5)))])
            try:
                pair.step()
            except (Exception, pytest.fail.Exception) as error:
                pytest.fail("seed %d, step %d, mode %s (%s): %s\n\n%s" % (
                    seed, number, pair.modes[-1:], pair.reasons[-1:], error, "\n".join(history[-1])))
        incremental = pair.modes.count("incremental")
        assert incremental > steps // 3, (seed, pair.reasons)
