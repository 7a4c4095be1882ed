# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the first run of a synchronization warns of, by what was read."""

from __future__ import annotations

from ansible_collections.usersync.directory.plugins.module_utils._selected import warnings
from support.snapshots import group, snapshot, user

DOMAIN = "S-1-5-21-1-2-3-"
PEOPLE = [
    user("u1", "ann", sid=DOMAIN + "1104"),
    user("u2", "krbtgt", sid=DOMAIN + "502"),
    user("u3", "Guest", sid=DOMAIN + "501"),
    user("u4", "bob"),
]
NURSES = [group("g1", "Nurses")]
GROUPS = "groups"


def test_users_without_a_user_group():
    (warning,) = warnings(snapshot(PEOPLE), GROUPS)
    assert warning == (
        "distinguished_name: users were read (4), and no user group, so that nobody is a member of any: name the "
        "container of the groups, too, and see group_filter and group_structure"
    )


def test_what_is_selected_on_purpose_is_no_matter():
    assert warnings(snapshot(PEOPLE, NURSES), GROUPS) == warnings(snapshot(), GROUPS) == []
    assert warnings(snapshot(PEOPLE), "organizational_units") == []
    assert warnings(snapshot(PEOPLE, is_full=False, whole_tree=True), GROUPS) == []


def test_a_whole_domain_with_its_built_in_accounts():
    (warning,) = warnings(snapshot(PEOPLE, NURSES, whole_tree=True), GROUPS)
    assert warning == (
        "distinguished_name: the whole domain is selected (users: 4, user groups: 1; built in: Guest, krbtgt): name "
        "the containers that are meant, or leave some out with exclude_distinguished_name"
    )
    (warning,) = warnings(snapshot(PEOPLE[:1], NURSES, whole_tree=True), GROUPS)
    assert "(users: 1, user groups: 1): name" in warning
