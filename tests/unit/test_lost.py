# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""References to other servers: which of them a person is told of."""

from __future__ import annotations

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory.lost import not_followed
from ansible_collections.usersync.directory.plugins.module_utils._model import Place

BASE = "dc=corp,dc=example"
STAFF = "ou=staff," + BASE


@pytest.mark.parametrize(
    ("roots", "urls", "shown"),
    [
        # One server and one DN, whatever else is asked of it there (RFC 4511, 4.5.3).
        (
            [BASE],
            ["ldap://a/ou=x,%s??sub" % BASE, "LDAP://A/OU=x,%s??base" % BASE, "ldap://a/ou=x,%s" % BASE],
            ["LDAP://A/OU=x,%s" % BASE],
        ),
        # Two servers have it, and one server has two parts.
        (
            [BASE],
            ["ldap://b/ou=x," + BASE, "ldap://a/ou=x," + BASE],
            ["ldap://a/ou=x," + BASE, "ldap://b/ou=x," + BASE],
        ),
        (
            [BASE],
            ["ldap://a/ou=y," + BASE, "ldap://a/ou=x," + BASE],
            ["ldap://a/ou=x," + BASE, "ldap://a/ou=y," + BASE],
        ),
        # Beside what is selected, above it, below it, and where it is selected in part.
        ([STAFF], ["ldap://a/ou=other," + BASE], []),
        ([STAFF, "ou=other," + BASE], ["ldap://a/ou=other," + BASE], ["ldap://a/ou=other," + BASE]),
        ([STAFF], ["ldap://a/%s??sub" % BASE], ["ldap://a/" + BASE]),
        ([STAFF], ["ldap://a/ou=x," + STAFF], ["ldap://a/ou=x," + STAFF]),
        ([], ["ldap://a/ou=x," + BASE], []),
        # What is excluded.
        ([BASE], ["ldap://a/ou=x,ou=out," + BASE], []),
        # In every domain of Active Directory, and a child domain.
        (
            [BASE],
            [
                "ldap://ForestDnsZones.corp.example/DC=ForestDnsZones,DC=corp,DC=example",
                "ldap://DomainDnsZones.corp.example/DC=DomainDnsZones,DC=corp,DC=example",
                "ldap://corp.example/CN=Configuration,DC=corp,DC=example",
                "ldap://sub.corp.example/DC=sub,DC=corp,DC=example",
            ],
            ["ldap://sub.corp.example/DC=sub,DC=corp,DC=example"],
        ),
        # Nothing tells for which part these stand.
        ([STAFF], ["ldap://a", "ldap://a/o=elsewhere", "nonsense"], ["ldap://a", "ldap://a/o=elsewhere", "nonsense"]),
    ],
)
def test_references_that_may_have_a_part_of_what_is_selected(roots, urls, shown):
    place = Place(tuple(roots), ("ou=out," + BASE,), frozenset(), BASE, True)
    assert not_followed(urls, place, BASE) == shown
