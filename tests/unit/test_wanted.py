# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is wanted in a destination: effective members of the chosen user groups, and nobody by mistake."""

from __future__ import annotations

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._destination.contract import Kind, Record, State
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from ansible_collections.usersync.directory.plugins.module_utils._provisioning.model import Ref
from ansible_collections.usersync.directory.plugins.module_utils._provisioning.wanted import (
    USER_ATTRIBUTES,
    Choice,
    wanted,
)


def group(path, *nested, **more):
    name = path.rpartition("/")[2]
    return {"path": path, "name": name, "key": "key-" + name, "user_groups": list(nested), "extinct": None, **more}


def user(name, *groups, **more):
    given = {"home": "All", "key": "key-" + name, "enabled": True, "extinct": None, "attributes": {}}
    return {"name": name, "user_groups": list(groups), "local_attributes": {}, **given, **more}


FOUND = {
    "user_groups": [
        group("All/Staff", "All/Night", "All/Old"),
        group("All/Night", "All/Staff"),
        group("All/Old", extinct="gone"),
        group("All/Empty"),
    ],
    "users": [
        user("ann", "All/Staff", attributes={"email": "ann@corp", "title": ["Nurse", "Boss"]}),
        user("bob", "All/Night", enabled=False, local_attributes={"email": "b@home"}, attributes={"email": "b@corp"}),
        user("cy", "All/Old"),
        user("dee", "All/Staff", extinct="gone"),
        user("emil", "All/Other"),
        user("hand", "All/Night", key=None),
    ],
}
STAFF, NIGHT = Ref(Kind.GROUP, "key-Staff"), Ref(Kind.GROUP, "key-Night")
ANN, BOB, HAND = (Ref(Kind.ACCOUNT, key) for key in ("key-ann", "key-bob", "path:All/hand"))


def want(*paths, **more):
    return wanted(FOUND, Choice(paths, USER_ATTRIBUTES, **more))


def test_members_of_nested_groups_are_members_and_those_of_extinct_ones_are_not():
    found = want("All/Staff")
    assert found.members == {STAFF: {ANN, BOB, HAND}} and found.records.keys() == {STAFF, ANN, BOB, HAND}
    assert found.records[ANN] == Record("ann", "key-ann", State.ENABLED, {"emails[work]": "ann@corp", "title": "Nurse"})
    assert found.records[BOB] == Record("bob", "key-bob", State.DISABLED, {"emails[work]": "b@home"})


def test_a_destination_that_nests_has_the_groups_themselves():
    found = want("All/Staff", nests=True)
    assert found.members == {STAFF: {ANN, NIGHT}, NIGHT: {BOB, HAND, STAFF}}


def test_a_group_may_be_called_by_its_path():
    assert want("All/Staff").records[STAFF].name == "Staff"
    assert want("All/Staff", group_name="path").records[STAFF].name == "All/Staff"


@pytest.mark.parametrize(
    "path, why", [("All/None", "no user group"), ("All/Old", "is extinct"), ("All/Empty", "no members")]
)
def test_nobody_loses_an_account_since_a_group_is_missing_extinct_or_empty(path, why):
    with pytest.raises(SynchronizationError, match="^user_groups: .*" + why):
        want("All/Staff", path)


def test_an_empty_group_may_be_allowed():
    assert want("All/Empty", allow_empty=True).members == {Ref(Kind.GROUP, "key-Empty"): frozenset()}


def test_who_has_no_name_is_left_out_and_said():
    found = want("All/Staff", name_attribute="email")
    assert [(each.ref, each.name) for each in found.left_out] == [(HAND, "hand")]
    assert found.members == {STAFF: {ANN, BOB}} and found.records[ANN].name == "ann@corp"


def test_two_who_have_one_key_in_two_directories_are_not_one_account():
    twice = {**FOUND, "users": [user("ann", "All/Staff"), user("anna", "All/Staff", key="key-ann")]}
    with pytest.raises(SynchronizationError, match="^user_groups: 'All/ann' and 'All/anna' have one stable key"):
        wanted(twice, Choice(["All/Staff"], USER_ATTRIBUTES))


def test_two_user_groups_that_have_one_key_are_not_one_group():
    found = {
        "user_groups": [group("All/Here/Staff"), group("All/There/Staff")],
        "users": [user("ann", "All/Here/Staff"), user("bob", "All/There/Staff")],
    }
    with pytest.raises(SynchronizationError, match="^user_groups: 'All/Here/Staff' and 'All/There/Staff' have one"):
        wanted(found, Choice(["All/Here/Staff", "All/There/Staff"], USER_ATTRIBUTES))
