# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small company in a real directory, and synchronizations of it into one store, in this process."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from ansible_collections.usersync.directory.plugins.module_utils import _options, _settings, _synchronize
from ansible_collections.usersync.directory.plugins.module_utils._errors import Refused

BASE = "dc=example,dc=org"
PEOPLE = "ou=people,%s" % BASE
ROOT = "dn: %s\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n\n" % BASE


def unit(name, below=BASE):
    return "dn: ou=%s,%s\nobjectClass: organizationalUnit\nou: %s\n\n" % (name, below, name)


def dn_of(name, below=PEOPLE):
    return "uid=%s,%s" % (name, below)


def person(name, *lines, below=PEOPLE):
    return "\n".join(
        [
            "dn: " + dn_of(name, below),
            "objectClass: inetOrgPerson",
            "uid: " + name,
            "cn: " + name,
            "sn: " + name,
            *lines,
            "",
            "",
        ]
    )


def group(name, *members, kind="groupOfNames", attribute="member"):
    return "\n".join(
        [
            "dn: cn=%s,%s" % (name, PEOPLE),
            "objectClass: " + kind,
            "cn: " + name,
            *("%s: %s" % (attribute, member) for member in members),
            "",
            "",
        ]
    )


def posix(name, number, below=PEOPLE, *lines):
    return "\n".join(
        [
            "dn: " + dn_of(name, below),
            "objectClass: inetOrgPerson",
            "objectClass: posixAccount",
            "uid: " + name,
            "cn: " + name,
            "sn: " + name,
            "uidNumber: %d" % number,
            "gidNumber: 1",
            "homeDirectory: /",
            *lines,
            "",
            "",
        ]
    )


def renamed(dn, rdn):
    return "dn: %s\nchangetype: modrdn\nnewrdn: %s\ndeleteoldrdn: 1\n\n" % (dn, rdn)


def synchronize(check_mode, warnings, timeout=None, **given):
    """One run in this process with these options, and all others left out; the result.

    :param warnings: a list that they are added to.
    :param timeout: the option in seconds, here also a part of one.
    """
    specification = _options.module_arguments(_options.CONNECTION, _options.STORE, _options.SYNCHRONIZATION)
    options = {option: described.get("default") for option, described in specification["argument_spec"].items()}
    options.update(given)
    settings = _settings.settings_from(options, warnings.append)
    if timeout is not None:
        settings = settings._replace(timeout=timeout)
    return _synchronize.synchronize(settings, check_mode, True, warnings.append)


class Lab:
    """One directory and one store."""

    def __init__(self, server, store):
        self.server, self.store = server, store
        self.modify = server.modify
        self.warnings: list[str] = []

    def once(self, check_mode=False, **more):
        """One run with these options beside the usual ones; the result. Warnings are in `warnings`."""
        options = {
            "name": "staff",
            "user_group": "All/Staff",
            "server": [self.server.ldapi_url],
            "encryption": "none",
            "use_ldap": True,
            "authentication": "external",
            "store": str(self.store),
            **more,
        }
        self.warnings = []
        return synchronize(check_mode, self.warnings, **options)

    def run(self, **more):
        """A dry run, a real run and another dry run: the first two say the same, the third nothing. The result."""
        dry, real = self.once(True, **more), self.once(**more)
        for key in set(dry) - {"read"}:
            assert dry[key] == real[key], key
        again = self.once(True, **more)
        assert not again["changed"], again["diff"]
        return real

    def refused(self, **more):
        """A dry run and a real one that are refused, say the same and change nothing; the message and the result."""
        before, results, messages = self.contents(), [], []
        for check_mode in (True, False):
            try:
                changed = self.once(check_mode, **more)
            except Refused as refusal:
                results.append(refusal.result)
                messages.append(str(refusal))
            else:
                raise AssertionError(f"not refused: {changed}")
        for key in set(results[0]) - {"read"}:
            assert results[0][key] == results[1][key], key
        assert messages[0] == messages[1]
        assert results[0]["refused"] and not results[0]["changed"]
        assert self.contents() == before
        return messages[0], results[0]

    def members(self):
        return self.rows(
            "SELECT g.name, u.name FROM memberships m JOIN user_groups g ON g.id = m.user_group_id"
            " JOIN users u ON u.id = m.user_id"
        )

    def rows(self, statement):
        with closing(sqlite3.connect("file:%s?mode=ro" % self.store, uri=True)) as connection:
            return sorted(connection.execute(statement).fetchall())

    def contents(self):
        """Everything in the store as SQL, for comparing; nothing where there is none."""
        return dump(self.store) if self.store.exists() else []


def dump(path):
    """Everything in an SQLite file as SQL."""
    with closing(sqlite3.connect("file:%s?mode=ro" % path, uri=True)) as connection:
        return list(connection.iterdump())
