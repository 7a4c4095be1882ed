# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories that random things happen to: OpenLDAP, 389 Directory Server and Active Directory."""

from __future__ import annotations

from .lab import BASE, deleted, dn_of, group, modified, moved, person, unit

DAY = 86400


# --- what happens ----------------------------------------------------------------------------------------------------


class NobodyThere(Exception):
    """There is nobody (yet) whom it could happen to."""


class Company:
    """A directory that random things happen to. Names are few, so that they meet."""

    NAMES = ("ann", "bob", "cyd", "dan", "eve", "fay", "gus", "hal")
    GROUPS = ("nurses", "doctors", "all", "night", "day")

    def __init__(self, server, dice, clock):
        self.server, self.dice, self.clock = server, dice, clock

    def happen(self):
        """One thing happens; what, for the message of a test that fails."""
        what = self.dice.choice(self.things)
        try:
            ldif = what(self)
            if ldif:
                self.server.modify(ldif)
        except (NobodyThere, RuntimeError) as refused:  # a name that is taken, a list that must not be empty
            return "%s: refused (%s)" % (what.__name__, str(refused)[-120:])
        return "%s: %s" % (what.__name__, ldif)

    def users(self):
        return sorted(self.server.search(self.user, "1.1", base=self.base))

    def groups(self):
        return sorted(self.server.search(self.group, "1.1", base=self.base))

    def members(self):
        """Pairs of a group and a value of its list."""
        return sorted(
            (dn, value)
            for dn, entry in self.server.search(self.group, "member", base=self.base).items()
            for value in entry.get("member", ())
        )

    def folders(self):
        found = self.server.search("(objectClass=organizationalUnit)", "1.1", base=self.base)
        return sorted(dn for dn in found if dn != self.base)

    def somebody(self):
        """A DN of somebody, or of nobody (yet)."""
        if self.dice.random() < 0.25:
            return self.dn_of(self.dice.choice(self.NAMES), self.dice.choice(self.folders()))
        return self.any(self.users() + self.groups() or [self.base])

    def any(self, choices):
        """One of them, by chance. :raises NobodyThere: when there are none."""
        if not choices:
            raise NobodyThere
        return self.dice.choice(choices)


def parent(dn):
    return dn.partition(",")[2]


def create_user(company):
    return company.new_user(company.any(company.NAMES), company.any(company.folders()))


def create_group(company):
    return company.new_group(company.any(company.GROUPS), company.any(company.folders()), company.somebody())


def change_attribute(company):
    return modified(company.any(company.users()), "replace", "title", company.dice.randrange(5))


def describe_group(company):
    return modified(company.any(company.groups()), "replace", "description", company.dice.randrange(5))


def rename_user(company):
    dn = company.any(company.users())
    return company.renamed(dn, company.any(company.NAMES))


def rename_group(company):
    dn = company.any(company.groups())
    return company.renamed(dn, company.any(company.GROUPS))


def move(company):
    dn = company.any(company.users() + company.groups())
    return moved(dn, dn.partition(",")[0], company.any(company.folders()))


def move_folder(company):
    dn = company.any([dn for dn in company.folders() if dn not in company.fixed])
    return moved(dn, "ou=" + company.any(("ward", "annex")), company.any(company.fixed))


def join(company):
    return modified(company.any(company.groups()), "add", "member", company.somebody())


def nest(company):
    return modified(company.any(company.groups()), "add", "member", company.any(company.groups()))


def leave(company):
    dn, value = company.any(company.members())
    return modified(dn, "delete", "member", value)


def delete(company):
    dn = company.any(company.users() + company.groups())
    return deleted(dn)


def recreate(company):
    dn = company.any(company.users())
    return deleted(dn) + company.new_user(dn.partition(",")[0].partition("=")[2], parent(dn))


def stop_matching(company):
    return modified(company.any(company.users()), "replace", "employeeType", company.any(("robot", "person")))


def wait(company):
    company.clock.now += company.any((60, 3600, DAY, 3 * DAY))
    return ""


def expire(company):
    dn = company.any(company.users())
    return company.expiring(dn, company.clock.now + company.any((-DAY, 1800, DAY, 2 * DAY)))


def disable(company):
    dn = company.any(company.users())
    return company.disabled(dn, True)


def enable(company):
    dn = company.any(company.users())
    return company.disabled(dn, False)


def change_primary_group(company):
    dn, value = company.any(company.members())
    return company.with_primary_group(value, dn)


def nothing(_company):
    return ""


THINGS = (
    create_user,
    create_user,
    create_user,
    create_group,
    change_attribute,
    describe_group,
    rename_user,
    rename_group,
    move,
    move,
    move_folder,
    join,
    join,
    join,
    nest,
    leave,
    leave,
    disable,
    enable,
    expire,
    delete,
    recreate,
    stop_matching,
    wait,
    nothing,
)


# --- OpenLDAP --------------------------------------------------------------------------------------------------------

STAFF, OTHERS = "ou=staff,%s" % BASE, "ou=others,%s" % BASE


def expirable(name, *lines, below):
    kind = "objectClass: inetOrgPerson\n"
    return person(name, *lines, below=below).replace(kind, kind + "objectClass: shadowAccount\n")


def small_company(person):
    return (
        unit("staff")
        + unit("others")
        + unit("ward", below=STAFF)
        + "".join(person(name, below=STAFF) for name in Company.NAMES[:4])
        + group("nurses", dn_of("ann", STAFF), below=STAFF)
    )


class OpenLDAP(Company):
    user, group, base, fixed, things = (
        "(objectClass=inetOrgPerson)",
        "(objectClass=groupOfNames)",
        BASE,
        (STAFF, OTHERS),
        THINGS,
    )
    dn_of = staticmethod(dn_of)

    def new_user(self, name, below):
        return expirable(name, "mail: %d@x.org" % self.dice.randrange(9), below=below)

    def new_group(self, name, below, member):
        return group(name, member, below=below)

    def renamed(self, dn, name):
        return moved(dn, "%s=%s" % (dn.partition("=")[0], name), parent(dn))

    def disabled(self, dn, yes):
        if yes:
            return modified(dn, "replace", "pwdAccountLockedTime", "000001010000Z")
        return modified(dn, "delete", "pwdAccountLockedTime")

    def expiring(self, dn, when):
        return modified(dn, "replace", "shadowExpire", when // DAY)


# --- 389 Directory Server --------------------------------------------------------------------------------------------


class DirectoryServer389(OpenLDAP):
    things = tuple(thing for thing in THINGS if thing is not expire)  # it has nothing of that kind

    def happen(self):
        what = super().happen()
        if self.server.answers():
            return what
        # 2.3.1 crashes, once in some hundred changes, while it takes back what a plugin was a part of (revert_cache).
        self.server.stop()
        self.server.start()
        return what + "\n(the server crashed, and was started again)"

    def new_user(self, name, below):
        return person(name, "mail: %d@x.org" % self.dice.randrange(9), below=below)

    def disabled(self, dn, yes):
        if yes:
            return modified(dn, "replace", "nsAccountLock", "TRUE")
        return modified(dn, "delete", "nsAccountLock")


# --- Active Directory ------------------------------------------------------------------------------------------------

COMPANY = "OU=company,DC=corp,DC=example"
AD_STAFF, AD_OTHERS = "OU=staff,%s" % COMPANY, "OU=others,%s" % COMPANY


class ActiveDirectory(Company):
    user, group, base, fixed = (
        "(&(objectCategory=person)(objectClass=user))",
        "(objectClass=group)",
        COMPANY,
        (AD_STAFF, AD_OTHERS),
    )
    things = (*THINGS, change_primary_group, change_primary_group)

    @staticmethod
    def dn_of(name, below):
        return "CN=%s,%s" % (name, below)

    def new_user(self, name, below):
        return "dn: %s\nobjectClass: user\nsAMAccountName: %s\nmail: %d@x.org\nuserAccountControl: 544\n\n" % (
            self.dn_of(name, below),
            name,
            self.dice.randrange(9),
        )

    def new_group(self, name, below, member):
        # A universal one, which any other may be in (MS-ADTS 2.2.12).
        return "dn: %s\nobjectClass: group\nsAMAccountName: %s\ngroupType: -2147483640\nmember: %s\n\n" % (
            self.dn_of(name, below),
            name,
            member,
        )

    def renamed(self, dn, name):
        return moved(dn, "CN=" + name, parent(dn)) + modified(
            self.dn_of(name, parent(dn)), "replace", "sAMAccountName", name
        )

    def disabled(self, dn, yes):
        return modified(dn, "replace", "userAccountControl", 546 if yes else 544)

    def expiring(self, dn, when):
        return modified(dn, "replace", "accountExpires", (when + 11644473600) * 10_000_000)  # MS-DTYP 2.3.3

    def with_primary_group(self, user, group):
        found = self.server.search("(objectClass=group)", "primaryGroupToken", base=group, scope="base")
        return modified(user, "replace", "primaryGroupID", found[group]["primaryGroupToken"][0])


class ForLab:
    """The domain as `Lab` wants it, for an account."""

    def __init__(self, samba, login, password):
        self.modify, self.ldapi_url = samba.modify, ""
        self.options = {
            "server": ["localhost"],
            "encryption": "ldaps",
            "use_ldap": False,
            "authentication": "simple",
            "ca_path": str(samba.ca.cert),
            "login": login,
            "password": password,
        }


def remove_company(samba):
    """Remove what another test left: users first, since a primary group cannot be removed."""
    if samba.search("(ou=company)", "1.1"):
        found = samba.search("(objectClass=*)", "objectClass", base=COMPANY)
        for dn in sorted(found, key=lambda dn: ("user" not in found[dn]["objectClass"], -len(dn))):
            samba.modify(deleted(dn))
