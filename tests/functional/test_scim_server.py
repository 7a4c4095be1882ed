# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A SCIM service that nobody here wrote: scim2-server, which is strict about RFC 7643 and RFC 7644."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _limits
from ansible_collections.usersync.directory.plugins.module_utils._destination import client as http
from ansible_collections.usersync.directory.plugins.module_utils._destination.contract import Kind, Record, State
from ansible_collections.usersync.directory.plugins.module_utils._destination.scim.destination import ScimDestination
from ansible_collections.usersync.directory.plugins.module_utils._destination.scim.services import Paging, service
from ansible_collections.usersync.directory.plugins.module_utils._provision import Task, provision
from ansible_collections.usersync.directory.plugins.module_utils._provisioning.model import (
    Collision,
    Departure,
    Policies,
    Ref,
    Wanted,
)
from support.memory_ledger import MemoryLedger
from support.scim2_server import TOKEN, ask, scim2_server

pytestmark = pytest.mark.usefixtures("no_proxy")

ATTRIBUTES = (
    "displayName",
    "emails[work]",
    "name.familyName",
    "name.givenName",
    "title",
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
)
EVERYTHING = SimpleNamespace(
    removal_limits=dict.fromkeys(_limits.KINDS, "100%"), fail_on=(), approved_plan=None, approved_removals=None
)
STAFF, NIGHT = Ref(Kind.GROUP, "g-staff"), Ref(Kind.GROUP, "g-night")


def seen(url):
    """All that is there: accounts by name, and groups with the names of their members."""
    users = ask(url, "/Users?count=1000")["Resources"]
    groups = ask(url, "/Groups?count=1000")["Resources"]
    names = {each["id"]: each["userName"] for each in users}
    return (
        {each["userName"]: each for each in users},
        {each["displayName"]: sorted(names[one["value"]] for one in each.get("members", ())) for each in groups},
    )


def person(name, state=State.ENABLED, **more):
    ref = Ref(Kind.ACCOUNT, "key-" + name)
    department = {ATTRIBUTES[-1]: "Surgery"}
    attributes = {"displayName": name.title(), "emails[work]": name + "@corp.example", **department, **more}
    return ref, Record(name, ref.key, state, attributes)


def run(url, ledger, wanted, policies=None, **options):
    with contextlib.closing(http.Client(http.Settings(url, token=TOKEN))) as client:
        destination = ScimDestination(client, service("rfc", **options), ATTRIBUTES)
        done = provision(Task("p", url, wanted, policies or Policies(), EVERYTHING), destination, ledger)
        assert not done.carried_out.failed and not done.carried_out.left
        return done


OPTIONS = {
    "index": ((), {"page_size": 2}),
    "cursor": ((), {"page_size": 2, "paging": Paging.CURSOR}),
    "no lists": ((), {"lists": frozenset()}),
    "PUT": ((), {"patches": False}),
}


@pytest.mark.parametrize("arguments, options", OPTIONS.values(), ids=OPTIONS)
def test_people_join_change_and_leave(arguments, options, tmp_path):
    ledger = MemoryLedger()
    with scim2_server(tmp_path, *arguments) as url:
        ask(url, "/Users", "POST", {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "foreign"})
        people = [person(name, title="Nurse") for name in ("ann", "bob", "carl", "dora")]
        (ann, bob, carl, dora), records = (ref for ref, _record in people), dict(people)
        records[STAFF] = Record("staff", STAFF.key)
        run(url, ledger, Wanted(records, {STAFF: frozenset({ann, bob, carl})}), **options)
        users, groups = seen(url)
        assert groups == {"staff": ["ann", "bob", "carl"]} and users.keys() == {"ann", "bob", "carl", "dora", "foreign"}
        assert users["ann"]["emails"][0]["value"] == "ann@corp.example" and users["ann"]["externalId"] == "key-ann"
        assert users["ann"][ATTRIBUTES[-1].rpartition(":")[0]] == {"department": "Surgery"}
        assert run(url, ledger, Wanted(records, {STAFF: frozenset({ann, bob, carl})}), **options).plan.is_empty

        # ann and bob swap names, carl leaves, dora loses her title and is disabled; night joins.
        records[ann], records[bob] = (
            records[ann]._replace(name="bob"),
            records[bob]._replace(name="ann", attributes={"emails[work]": "new@corp.example"}),
        )
        del records[carl]
        records[dora] = person("dora", State.DISABLED)[1]
        records[STAFF], records[NIGHT] = Record("everybody", STAFF.key), Record("night", NIGHT.key)
        wanted = Wanted(records, {STAFF: frozenset({ann, dora}), NIGHT: frozenset({bob})})
        run(url, ledger, wanted, **options)
        users, groups = seen(url)
        assert groups == {"everybody": ["bob", "dora"], "night": ["ann"]}
        assert (users["bob"]["externalId"], users["ann"]["externalId"]) == ("key-ann", "key-bob")
        assert [each["value"] for each in users["ann"]["emails"]] == ["new@corp.example"]
        assert "title" not in users["ann"] and "displayName" not in users["ann"] and "title" not in users["dora"]
        assert sorted(name for name, each in users.items() if each.get("active") is False) == ["carl", "dora"]
        again = run(url, ledger, wanted, **options)
        assert again.plan.is_empty and not again.plan.drift

        run(url, ledger, Wanted({}, {}), Policies(departure=Departure.DELETE), **options)
        assert seen(url) == ({"foreign": users["foreign"]}, {}) and ledger.links() == {}


def test_drift_and_who_is_there_already(tmp_path):
    ledger = MemoryLedger()
    with scim2_server(tmp_path) as url:
        ask(url, "/Users", "POST", {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "ANN"})
        records = dict([person("ann"), person("bob")])
        records[STAFF] = Record("staff", STAFF.key)
        (ann, bob) = (ref for ref in records if ref.kind is Kind.ACCOUNT)
        wanted = Wanted(records, {STAFF: frozenset({ann, bob})})
        done = run(url, ledger, wanted)
        assert [each.ref for each in done.plan.collisions] == [ann]
        assert seen(url)[1] == {"staff": ["bob"]}
        run(url, ledger, wanted, Policies(collision=Collision.LINK_BY_NAME))
        assert seen(url)[1] == {"staff": ["ann", "bob"]} and len(seen(url)[0]) == 2

        ask(url, "/Users/" + ledger.links()[bob].id, "DELETE")
        patch = {"op": "replace", "path": "active", "value": False}
        body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [patch]}
        ask(url, "/Users/" + ledger.links()[ann].id, "PATCH", body)
        done = run(url, ledger, wanted)
        assert sorted(each.what for each in done.plan.drift if each.what != "members") == ["gone", "state"]
        users, groups = seen(url)
        assert groups == {"staff": ["ann", "bob"]} and all(each["active"] for each in users.values())
        assert run(url, ledger, wanted).plan.is_empty
