# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which server is to be believed, by what it says it is and how far it is."""

from __future__ import annotations

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory.standing import doubt, remembered
from ansible_collections.usersync.directory.plugins.module_utils._model import LastRun, Standing


def csn(time, writer="001"):
    return "20261129%s.000000Z#000000#%s#000000" % (time, writer)


def at(*numbers):
    """An OpenLDAP server that has got these changes."""
    return Standing("", {"csn " + number.split("#")[2]: number for number in numbers})


def below(number):
    """One that is there, and whose lower database has got this change."""
    return Standing("", {**at(csn("100000")).reached, "csn 001 ou=sub,dc=x": number})


def controller(name, life, number):
    return Standing("CN=NTDS Settings,CN=%s" % name, {life: str(number)})


def last(server, standing):
    return LastRun(server, None, frozenset(), standing)


@pytest.mark.parametrize(
    ("before", "now", "server", "passes"),
    [
        # It has all that the last one had, whatever it is called.
        (at(csn("100000")), at(csn("100000")), "ldap1", None),
        (at(csn("100000")), at(csn("110000")), "ldap2", None),
        (at(csn("100000")), at(csn("100000"), csn("090000", "002")), "ldap2", None),
        # It lags, or was restored: also if it is called as before, and if one of several writers is behind.
        (at(csn("100000")), at(csn("095959")), "ldap1", False),
        (at(csn("100000"), csn("100000", "002")), at(csn("120000"), csn("090000", "002")), "ldap1", False),
        (at(csn("100000"), csn("100000", "002")), at(csn("120000")), "ldap1", False),
        # It does not say so any more: it may be a replica that is being made.
        (at(csn("100000")), Standing(), "ldap1", True),
        # It does not say how far it is: then the name counts.
        (at(csn("100000")), Standing(), "ldap2", True),
        (Standing(), at(csn("100000")), "ldap2", True),
        (Standing(), Standing(), "ldap1", None),
        (Standing(), Standing(), "ldap2", True),
        # A database that is glued below the suffix is looked at by itself, where it is asked.
        (below(csn("100000")), below(csn("095959")), "ldap1", False),
        (below(csn("100000")), below(csn("110000")), "ldap2", None),
        (below(csn("100000")), at(csn("100000")), "ldap1", None),
        # Controllers are who they say they are.
        (controller("DC1", "aa", 1000), controller("DC1", "aa", 1000), "other.name", None),
        (controller("DC1", "aa", 1000), controller("DC1", "aa", 999), "ldap1", False),
        (controller("DC1", "aa", 1000), controller("DC1", "bb", 2000), "ldap1", True),
        (controller("DC1", "aa", 1000), controller("DC2", "cc", 10), "ldap1", True),
        (Standing("cn=ldap://a:389"), Standing("cn=ldap://b:389"), "ldap1", True),
        (Standing("cn=ldap://a:389"), Standing("cn=ldap://a:389"), "ldap2", None),
    ],
)
def test_who_is_to_be_believed(before, now, server, passes):
    found = doubt(last("ldap1", before), now, server)
    assert (found and found.passes) is passes
    assert found is None or server in found.why


def test_nothing_is_doubted_in_a_first_run():
    assert doubt(LastRun("", None, frozenset()), at(csn("100000")), "ldap1") is None


def test_a_server_that_lags_does_not_come_to_be_the_measure():
    before, behind = at(csn("100000"), csn("100000", "002")), at(csn("090000"), csn("110000", "002"))
    kept = remembered(before, behind, believed=False)
    assert kept == at(csn("100000"), csn("110000", "002"))
    assert doubt(last("ldap1", kept), behind, "ldap1").passes is False
    assert remembered(before, behind, believed=True) == behind


def test_each_controller_is_remembered_for_itself():
    first, second = controller("DC1", "aa", 1000), controller("DC2", "bb", 9)
    kept = remembered(first, second, believed=False)
    assert kept.server == second.server
    assert doubt(last("dc", kept), controller("DC1", "aa", 999), "dc").passes is False, "its numbers went back"
    assert doubt(last("dc", kept), controller("DC1", "aa", 1001), "dc").passes is True, "another one"


def test_many_lives_are_not_remembered_for_ever():
    kept = Standing()
    for number in range(300):
        kept = remembered(kept, controller("DC1", "%x" % number, 5), believed=False)
    assert len(kept.reached) == 100 and "12b" in kept.reached
