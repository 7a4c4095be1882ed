# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever happens while a directory is read: once it is quiet, the store has what a first read of it has.

Only a membership may be left over: if its list has a value that leads to no one, it may have meant that member.
"""

from __future__ import annotations

import uuid
from contextlib import suppress

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory import wire
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from support import stored, tree
from support.lab import synchronize
from support.misbehaving import MisbehavingDirectory

NAMES = ("ann", "bob", "cyd", "dan", "eve", "fay", "gus")
GROUPS = ("nurses", "doctors", "all", "night")
LIMITS = dict.fromkeys(("users", "user_groups", "memberships", "attributes", "renames", "states"), "100%")
MEMBERS = (
    "SELECT g.key, u.key FROM memberships m JOIN user_groups g ON g.id = m.user_group_id"
    " JOIN users u ON u.id = m.user_id WHERE g.extinct IS NULL AND u.extinct IS NULL"
)
USERS = "SELECT key, enabled FROM users WHERE extinct IS NULL"


class Company(tree.OpenLDAP):
    """An entry has another entryCSN after each change, and no place has two."""

    def __init__(self, chance):
        self.chance, self.changes = chance, 0
        super().__init__()
        self.units = [self.unit("staff"), self.unit("others")]
        for name in NAMES[:5]:
            self.user(name, chance.choice(self.units))
        for name in GROUPS[:3]:
            self.group(name, chance.choice(self.units), *self.listed())

    def _changed(self, dn):
        self.changes += 1
        self[dn]["entrycsn"] = [b"20260101%06d.000000Z#000000#000#000000" % self.changes]
        return dn

    def add(self, dn, attributes):
        if tree.rdns(dn) in self._entries:
            raise KeyError(dn)
        self.changes += 1
        key = uuid.uuid5(uuid.NAMESPACE_OID, "%s %d" % (dn, self.changes))
        return self._changed(super().add(dn, {**attributes, "entryUUID": str(key)}))

    def move(self, dn, new_dn):
        if tree.rdns(new_dn) in self._entries:
            raise KeyError(new_dn)
        super().move(dn, new_dn)
        kind, _equals, value = new_dn.partition(",")[0].partition("=")
        self.set(new_dn, kind, value)

    def set(self, dn, attribute, *values):
        super().set(dn, attribute, *values)
        self._changed(dn)

    def of(self, rdn):
        return [dn for dn, _entry in self._entries.values() if dn.startswith(rdn)]

    def listed(self):
        everybody = [*self.of("uid="), *self.of("cn="), "uid=%s,%s" % (self.chance.choice(NAMES), self.units[0])]
        return list(dict.fromkeys(self.chance.choice(everybody) for _each in range(self.chance.choice((1, 2, 4)))))

    def happen(self):
        """Let something happen, if it can."""
        with suppress(KeyError, IndexError):
            self.chance.choice(HAPPENS)(self, self.chance)


HAPPENS = (
    lambda it, chance: it.user(chance.choice(NAMES), chance.choice(it.units)),
    lambda it, chance: it.group(chance.choice(GROUPS), chance.choice(it.units), *it.listed()),
    lambda it, chance: it.move(
        chance.choice(it.of("uid=")), "uid=%s,%s" % (chance.choice(NAMES), chance.choice(it.units))
    ),
    lambda it, chance: it.move(
        chance.choice(it.of("uid=")), "uid=%s,%s" % (chance.choice(NAMES), chance.choice(it.units))
    ),
    lambda it, chance: it.move(
        chance.choice(it.of("cn=")), "cn=%s,%s" % (chance.choice(GROUPS), chance.choice(it.units))
    ),
    lambda it, chance: it.set(chance.choice(it.of("cn=")), "member", *it.listed()),
    lambda it, chance: it.set(chance.choice(it.of("cn=")), "member", *it.listed()),
    lambda it, chance: it.remove(chance.choice(it.of("uid="))),
    lambda it, chance: it.set(
        chance.choice(it.of("uid=")), "pwdAccountLockedTime", *chance.choice(([], ["000001010000Z"]))
    ),
)


@pytest.fixture
def meanwhile(monkeypatch):
    """A list: what is in it is called before each request."""
    real, hooks = wire.Channel.ask, []

    def ask(channel, *request):
        for hook in hooks:
            hook()
        return real(channel, *request)

    monkeypatch.setattr(wire.Channel, "ask", ask)
    return hooks


@pytest.mark.parametrize("history", range(12))
@pytest.mark.parametrize("scope", ["everything", "a container"])
def test_once_it_is_quiet_the_store_has_what_a_first_read_has(chance, meanwhile, tmp_path, scope, history):
    company = Company(chance)
    with MisbehavingDirectory(company, logins={"cn=reader," + tree.SUFFIX: "Garnet-7-willow-Ce31"}) as server:
        options = {
            **server.in_clear(),
            "name": "staff",
            "user_group": "All/Staff",
            "use_ldap": True,
            "ldap_parameters": {"preset": "openldap"},
            "distinguished_name": [] if scope == "everything" else company.units[:1],
            "removal_limits": LIMITS,
            "allow_empty": True,
            "name_reuse_days": 0,
            "page_size": chance.choice((2, 1000)),
            "store_backups": 0,
        }

        def run(name, mode, check_mode=False):
            return synchronize(check_mode, [], **options, store=str(tmp_path / name), read_mode=mode)

        for _run in range(4):
            meanwhile[:] = [lambda: chance.random() < 0.15 and company.happen()]
            with suppress(SynchronizationError):  # it may say that somebody moved: then it has written nothing
                run("users.db", chance.choice(("incremental", "incremental", "full")))
            meanwhile.clear()
            company.happen()
        run("users.db", "incremental")
        assert not run("users.db", "full", check_mode=True)["changed"], "both ways of reading come to the same"
        first = run("first.db", "full")
        ours, theirs = (
            (set(stored.rows(tmp_path / each, MEMBERS)), dict(stored.rows(tmp_path / each, USERS)))
            for each in ("users.db", "first.db")
        )
        both = ours[1].keys() & theirs[1].keys()  # of two who want one name, each store has the one that it had
        assert {key: ours[1][key] for key in both} == {key: theirs[1][key] for key in both}
        assert {pair for pair in theirs[0] - ours[0] if pair[1] in both} == set(), "nobody is missing"
        if not first["unresolved_members"]:
            assert {pair for pair in ours[0] - theirs[0] if pair[1] in both} == set(), "nobody is left over"
