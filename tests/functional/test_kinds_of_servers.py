# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that are no Active Directory, OpenLDAP or 389 Directory Server as these are set up usually."""

from __future__ import annotations

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from support import tree
from support.lab import (
    PEOPLE,
    ROOT,
    Lab,
    deleted,
    dn_of,
    group,
    modified,
    person,
    synchronize,
    unit,
)
from support.misbehaving import PASSWORD, MisbehavingDirectory
from support.slapd import Slapd

ADMIN = "cn=admin,dc=example"
NAMES = ("ann", "bob", "cyd", "dan", "eve")
COMPANY = ROOT + unit("people") + "".join(map(person, NAMES)) + group("staff", *map(dn_of, NAMES))


class OtherLDAP(Lab):
    """A directory in memory, and one store."""

    def __init__(self, server, store):
        server.modify = None
        super().__init__(server, store)

    def once(self, check_mode=False, **more):
        options = {
            "name": "other",
            "user_group": "All/Other",
            "server": [self.server.ldap_url],
            "encryption": "none",
            "login": ADMIN,
            "password": PASSWORD,
            "use_ldap": True,
            "page_size": 2,
            "store": str(self.store),
            **more,
        }
        self.warnings = []
        return synchronize(check_mode, self.warnings, **options)


def served(directory, **more):
    return MisbehavingDirectory(directory, logins={ADMIN: PASSWORD}, **more)


# --- paged results ---------------------------------------------------------------------------------------------------


def with_limits(limits):
    return lambda text: "\n".join(
        "limits * " + limits if line.startswith("limits ") else line for line in text.split("\n")
    )


def test_openldap_that_refuses_pages(tmp_path):
    """size.prtotal=disabled is answered with adminLimitExceeded (slapd.conf(5), limits)."""
    settings = "limits * size.prtotal=disabled size=unlimited"
    with Slapd(ldif=COMPANY, settings=settings, overlays=("syncprov",)) as server:
        lab = Lab(server, tmp_path / "users.db")
        lab.run()
        assert lab.members() == [("staff", name) for name in NAMES]
        server.modify(modified("cn=staff," + PEOPLE, "delete", "member", dn_of("bob")) + deleted(dn_of("cyd")))
        few = {"users": "1", "memberships": "2"}
        result = lab.run(removal_limits=few)
        assert result["read"]["mode"] == "incremental"
        assert lab.members() == [("staff", name) for name in ("ann", "dan", "eve")]
        server.configure(with_limits("size.prtotal=disabled size=3"))
        before = lab.contents()
        with pytest.raises(SynchronizationError) as error:
            lab.once(read_mode="full")
        assert "pagedResults control not allowed" in str(error.value)
        assert str(error.value).endswith("; without pages it ended after 3 entries (sizeLimitExceeded (4))")
        assert lab.contents() == before


def company():
    ldap = tree.OpenLDAP()
    people = ldap.unit("people")
    ldap.group("staff", people, *(ldap.user(name, people) for name in NAMES))
    return ldap, people


@pytest.mark.parametrize("listed", [None, [], [b"1.2.840.113556.1.4.319"]], ids=["hidden", "not listed", "listed"])
@pytest.mark.parametrize("paging", ["ignored", 2, 12, 53])
def test_a_server_without_pages_is_read_in_one_piece(tmp_path, paging, listed):
    ldap, people = company()
    ldap.root_dse.pop("supportedcontrol")
    if listed is not None:
        ldap.root_dse["supportedcontrol"] = listed
    with served(ldap, paging=paging) as server:
        lab = OtherLDAP(server, tmp_path / "users.db")
        lab.run()
        assert lab.members() == [("staff", name) for name in NAMES]
        ldap.remove("uid=bob," + people)
        ldap.set("cn=staff," + people, "member", *("uid=%s,%s" % (name, people) for name in ("ann", "cyd", "dan")))
        lab.run(removal_limits={"users": "1", "memberships": "2"})
        assert lab.members() == [("staff", name) for name in ("ann", "cyd", "dan")]
        paged = {request.page_size for request in server.of_kind("search")}
        assert (paged == {None}) == (listed == [])
        server.size_limit = 2
        before = lab.contents()
        with pytest.raises(SynchronizationError, match="ended after 2 entries .sizeLimitExceeded .4.."):
            lab.once(removal_limits={"users": "100%"})
        assert lab.contents() == before
