# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small company in a real directory, and synchronizations of it into one store, in this process."""

from __future__ import annotations

from ansible_collections.usersync.directory.plugins.module_utils import _options, _settings, _synchronize
from ansible_collections.usersync.directory.plugins.module_utils._errors import Refused

from . import stored, stores
from .clock import one_second

BASE = "dc=example,dc=org"
PEOPLE = "ou=people,%s" % BASE
ROOT = "dn: %s\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n\n" % BASE


# --- entries as LDIF


def unit(name, below=BASE):
    return entry("ou=%s,%s" % (name, below), "objectClass: organizationalUnit", "ou: " + name)


def dn_of(name, below=PEOPLE):
    return "uid=%s,%s" % (name, below)


def person(name, *lines, below=PEOPLE):
    return entry(dn_of(name, below), "objectClass: inetOrgPerson", *_names(name), *lines)


def group(name, *members, below=PEOPLE, kind="groupOfNames", attribute="member"):
    listed = ("%s: %s" % (attribute, member) for member in members)
    return entry("cn=%s,%s" % (name, below), "objectClass: " + kind, "cn: " + name, *listed)


def posix(name, number, below=PEOPLE, *lines):
    account = ("uidNumber: %d" % number, "gidNumber: 1", "homeDirectory: /")
    classes = ("objectClass: inetOrgPerson", "objectClass: posixAccount")
    return entry(dn_of(name, below), *classes, *_names(name), *account, *lines)


def posix_group(name, number, *members, below=PEOPLE):
    """Its members are names (RFC 2307)."""
    listed = ("memberUid: " + member for member in members)
    return entry(
        "cn=%s,%s" % (name, below), "objectClass: posixGroup", "cn: " + name, "gidNumber: %d" % number, *listed
    )


def entry(dn, *lines):
    """An entry; each line is ``attribute: value``. An attribute's values come together, as slapadd(8) wants them."""
    attributes = list(dict.fromkeys(line.partition(":")[0] for line in lines))
    together = sorted(lines, key=lambda line: attributes.index(line.partition(":")[0]))
    return "\n".join(["dn: " + dn, *together, "", ""])


def _names(name):
    return "uid: " + name, "cn: " + name, "sn: " + name


# --- changes


def modified(dn, how, attribute, *values):
    """A change of one attribute; `how` is ``add``, ``delete`` or ``replace`` (RFC 2849)."""
    listed = "".join("%s: %s\n" % (attribute, value) for value in values)
    return "dn: %s\nchangetype: modify\n%s: %s\n%s\n" % (dn, how, attribute, listed)


def deleted(dn):
    return "dn: %s\nchangetype: delete\n\n" % dn


def moved(dn, rdn, below):
    return "dn: %s\nchangetype: modrdn\nnewrdn: %s\ndeleteoldrdn: 1\nnewsuperior: %s\n\n" % (dn, rdn, below)


def renamed(dn, rdn):
    return "dn: %s\nchangetype: modrdn\nnewrdn: %s\ndeleteoldrdn: 1\n\n" % (dn, rdn)


# --- runs


def synchronize(check_mode, warnings, timeout=None, **given):
    """One run in this process with these options, and all others left out; the result.

    :param warnings: a list that they are added to.
    :param timeout: the option in seconds, here also a part of one.
    """
    specification = _options.module_arguments(_options.CONNECTION, _options.STORE, _options.SYNCHRONIZATION)
    options = {option: described.get("default") for option, described in specification["argument_spec"].items()}
    options.update(given, store=stores.of(given["store"]))
    settings = _settings.settings_from(options, warnings.append)
    if timeout is not None:
        settings = settings._replace(timeout=timeout)
    return _synchronize.synchronize(settings, check_mode, True, warnings.append)


def over_tls(server, store, /, **more):
    """Options of a task that reads `server` as its administrator, over LDAPS with a certificate that verifies."""
    return {
        "name": "staff",
        "user_group": "All/Staff",
        "server": server.ldaps_url,
        "ca_path": str(server.ca.cert),
        "use_ldap": True,
        "login": server.admin_dn,
        "password": server.password,
        "store": str(store),
        **more,
    }


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
        with one_second(_synchronize):
            dry, real = self.once(True, **more), self.once(**more)
        for key in set(dry) - {"read", "dry_run", "began"}:
            assert dry[key] == real[key], key
        again = self.once(True, **more)
        assert not again["changed"], again["diff"]
        return real

    def refused(self, **more):
        """A dry run and a real one that are refused, say the same and change nothing; the message and the result."""
        before, results, messages = self.contents(), [], []
        with one_second(_synchronize):
            for check_mode in (True, False):
                try:
                    changed = self.once(check_mode, **more)
                except Refused as refusal:
                    results.append(refusal.result)
                    messages.append(str(refusal))
                else:
                    raise AssertionError(f"not refused: {changed}")
        for key in set(results[0]) - {"read", "dry_run", "began"}:
            assert results[0][key] == results[1][key], key
        assert messages[0] == messages[1]
        assert results[0]["refused"] and not results[0]["changed"]
        assert self.contents() == before
        return messages[0], results[0]

    def rows(self, statement, *values):
        return stored.rows(self.store, statement, *values)

    def members(self):
        return stored.members(self.store)

    def nestings(self):
        return stored.nestings(self.store)

    def change(self, statement, *values):
        """Change the store behind the collection's back."""
        stored.change(self.store, statement, *values)

    def contents(self):
        """Everything in the store as SQL, for comparing; nothing where there is none."""
        return stored.dump(self.store) if stores.exists(self.store) else []
