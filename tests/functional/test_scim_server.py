# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SCIM services that nobody here wrote.

PyPI's scim2-server is strict about RFC 7643 and RFC 7644, and its models judge what we send. npm's scimmy-routers pages
with Express 4 and does not with Express 5, and @boxyhq/saml-jackson shows no members.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _limits
from ansible_collections.usersync.directory.plugins.module_utils._destination import http_client as http
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
from support import scim_service
from support.memory_ledger import MemoryLedger
from support.node_services import NodeService, saml_jackson, scimmy
from support.scim2_server import TOKEN, ask, scim2_server
from support.scim_service import ScimService, serving

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
    users = ask(url, "/Users?count=200")["Resources"]
    groups = ask(url, "/Groups?count=200")["Resources"]
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


def run(url, ledger, wanted, policies=None, *, token=TOKEN, **options):
    with contextlib.closing(http.Client(http.Settings(url, token=token))) as client:
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


@pytest.mark.parametrize("config", [{}, {"patch": {"supported": False}}], ids=["PATCH", "PUT"])
def test_what_is_sent_is_valid_by_the_models_of_scim2(config):
    """Names are hostile, since they come from a directory."""
    scim = pytest.importorskip("scim2_models", reason="comes with scim2-server")
    user, judges = scim.User[scim.EnterpriseUser], {}
    for kind, model in (("Users", user), ("Groups", scim.Group)):
        judges["POST", kind] = model, scim.Context.RESOURCE_CREATION_REQUEST
        judges["PUT", kind] = model, scim.Context.RESOURCE_REPLACEMENT_REQUEST
        judges["PATCH", kind] = scim.PatchOp[model], scim.Context.RESOURCE_PATCH_REQUEST
    hostile, ledger, served = 'a"]\\ eq "b', MemoryLedger(), ScimService(config=config)
    more = {"name.givenName": hostile, "emails[work]": "someone@corp.example"}
    people = [person(name, title=hostile, **more) for name in ("ann", hostile, "carl")]
    (ann, bob, carl), records = (ref for ref, _record in people), dict(people)
    records[STAFF] = Record(hostile, STAFF.key)
    with serving(served) as url:
        run(url, ledger, Wanted(records, {STAFF: frozenset({ann, bob})}), token=scim_service.TOKEN)
        records[ann], records[bob] = Record("ann", ann.key, State.DISABLED), records[bob]._replace(name="bob")
        records[STAFF] = Record("staff", STAFF.key)
        wanted = Wanted(records, {STAFF: frozenset({bob, carl})})
        run(url, ledger, wanted, token=scim_service.TOKEN)
        records[Ref(Kind.ACCOUNT, "d")] = Record(hostile + "d", hostile)
        run(url, ledger, wanted, token=scim_service.TOKEN, lists=frozenset())
    judged, searched = set(), set()
    for request in served.requests:
        what = request.method, request.path.split("/")[1]
        if request.body is not None:
            model, context = judges[what]
            model.model_validate(request.body, scim_ctx=context)
            judged.add(what)
        if "filter" in request.query:
            searched.add(what[1])
            scim.SearchRequest[judges["POST", what[1]][0]](filter=request.query["filter"])
    changes = "PUT" if config else "PATCH"
    assert judged == {(method, kind) for method in ("POST", changes) for kind in ("Users", "Groups")}
    assert searched == {"Users"}


# --- one scenario for all of them ------------------------------------------------------------------------------------


class Service(NamedTuple):
    """A service, and what is to be known of it: how it is spoken to, and whether it has groups in groups."""

    opened: Callable[[Path], contextlib.AbstractContextManager[NodeService]]
    options: dict[str, Any]
    nests: bool = True
    shows_members: bool = True
    is_read: bool = True  # its lists are believed: what others do is noticed


@contextlib.contextmanager
def strict(directory):
    with scim2_server(directory) as url:
        yield NodeService(url, TOKEN)


SERVICES = {
    "scim2-server": Service(strict, {}),
    "scimmy, Express 4": Service(lambda _directory: scimmy(4), {"page_size": 2}),
    "scimmy, Express 5, which does not page": Service(lambda _directory: scimmy(5), {"page_size": 2}, is_read=False),
    "scimmy, Express 5, in one piece": Service(lambda _directory: scimmy(5), {"paging": Paging.WHOLE}),
    "saml-jackson": Service(lambda _directory: saml_jackson(), {"page_size": 2}, nests=False, shows_members=False),
}


class There:
    """What a service has, looked at and changed without our client."""

    def __init__(self, served, shows_members):
        self._served, self._shows_members = served, shows_members

    def ask(self, path, method="GET", body=None):
        return ask(self._served.url, path, method, body, self._served.token)

    def patch(self, what, **operation):
        schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]
        self.ask(what, "PATCH", {"schemas": schemas, "Operations": [operation]})

    def accounts(self):
        return {each["userName"]: each for each in self.ask("/Users?count=50")["Resources"]}

    def names(self, number):
        """The names of the members of a group."""
        if self._shows_members:
            numbers = [each["value"] for each in self.ask("/Groups/" + number).get("members", ())]
        else:
            numbers = self.ask("/members/" + number)
        known = {each["id"]: each["userName"] for each in self.accounts().values()}
        known.update((each["id"], each["displayName"]) for each in self.ask("/Groups")["Resources"])
        return sorted(known[each] for each in numbers)

    def groups(self):
        return {each["displayName"]: self.names(each["id"]) for each in self.ask("/Groups")["Resources"]}


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_who_joins_changes_and_leaves_and_what_others_do(service, tmp_path):
    ledger, people = MemoryLedger(), [person(name) for name in ("ann", "bob", "carl", "dora")]
    (ann, bob, carl, dora), records = (ref for ref, _record in people), dict(people)
    records[STAFF], records[NIGHT] = Record("staff", STAFF.key), Record("night", NIGHT.key)
    nested = {NIGHT} if service.nests else set()
    with service.opened(tmp_path) as served:
        there = There(served, service.shows_members)

        def provisioned(wanted):
            done = run(served.url, ledger, wanted, token=served.token, **service.options)
            again = run(served.url, ledger, wanted, token=served.token, **service.options)
            assert again.plan.is_empty and not again.plan.drift
            return done

        user = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "foreign", "active": True}
        foreign = there.ask("/Users", "POST", {**user, "emails": [{"value": "foreign@corp.example"}]})["id"]
        provisioned(Wanted(records, {STAFF: frozenset({ann, bob, carl, *nested}), NIGHT: frozenset({bob})}))
        assert there.groups() == {
            "staff": sorted(["ann", "bob", "carl", *(["night"] if nested else [])]),
            "night": ["bob"],
        }
        assert there.accounts()["ann"]["externalId"] == "key-ann" and there.accounts()["dora"]["active"]
        there.patch("/Groups/" + ledger.links()[STAFF].id, op="add", path="members", value=[{"value": foreign}])

        # Ann is renamed, carl leaves, dora is disabled and joins, night has another name.
        del records[carl]
        records[ann], records[dora] = records[ann]._replace(name="anna"), person("dora", State.DISABLED)[1]
        records[NIGHT] = Record("late", NIGHT.key)
        wanted = Wanted(records, {STAFF: frozenset({ann, bob, *nested}), NIGHT: frozenset({bob, dora})})
        provisioned(wanted)
        staff = sorted(["anna", "bob", "foreign", *(["late"] if nested else [])])
        assert there.groups() == {"staff": staff, "late": ["bob", "dora"]}
        active = {name: each["active"] for name, each in there.accounts().items()}
        assert active == {"anna": True, "bob": True, "carl": False, "dora": False, "foreign": True}

        # Somebody else disables anna, deletes bob, and puts carl into the group again.
        links = ledger.links()
        there.patch("/Users/" + links[ann].id, op="replace", path="active", value=False)
        there.ask("/Users/" + links[bob].id, "DELETE")
        there.patch("/Groups/" + links[STAFF].id, op="add", path="members", value=[{"value": links[carl].id}])
        told = {(each.name, each.what) for each in provisioned(wanted).plan.drift}
        expected = {("anna", "state"), ("bob", "gone"), *([("staff", "members")] if service.shows_members else [])}
        if not service.is_read:  # it says that what it has is not all, so it is taken to be as it was written
            assert told == set() and not there.accounts()["anna"]["active"]
            return
        assert expected <= told
        assert all(there.accounts()[name]["active"] for name in ("anna", "bob", "foreign"))
        if service.shows_members:
            assert there.groups() == {"staff": staff, "late": ["bob", "dora"]}
