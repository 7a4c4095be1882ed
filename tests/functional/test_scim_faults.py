# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault at every stage of a provisioning to a SCIM service: the next runs make what one undisturbed run makes.

Each cell of the matrix begins with the same service and the same links. People and a group join, change and leave, a
fault comes over the run, and two runs without it follow. Nobody is there twice, nobody is removed who is wanted, and
who is foreign stays as he is.
"""

from __future__ import annotations

import contextlib
import copy
from types import SimpleNamespace

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _limits
from ansible_collections.usersync.directory.plugins.module_utils._destination import http_client as http
from ansible_collections.usersync.directory.plugins.module_utils._destination.contract import (
    DestinationError,
    Kind,
    Record,
    State,
)
from ansible_collections.usersync.directory.plugins.module_utils._destination.scim.destination import ScimDestination
from ansible_collections.usersync.directory.plugins.module_utils._destination.scim.services import Members, service
from ansible_collections.usersync.directory.plugins.module_utils._provision import Task, provision
from ansible_collections.usersync.directory.plugins.module_utils._provisioning.model import Policies, Ref, Wanted
from support import scim_service
from support.memory_ledger import MemoryLedger
from support.scim_service import TOKEN, Answer, ScimService, at, says, serving

pytestmark = pytest.mark.usefixtures("no_proxy")

EVERYTHING = SimpleNamespace(
    removal_limits=dict.fromkeys(_limits.KINDS, "100%"), fail_on=(), approved_plan=None, approved_removals=None
)
STAFF, NIGHT = Ref(Kind.GROUP, "g-staff"), Ref(Kind.GROUP, "g-night")


def person(name, **attributes):
    ref = Ref(Kind.ACCOUNT, "key-" + name)
    return ref, Record(name, ref.key, State.ENABLED, attributes)


def before():
    people = [person(name, title="Nurse") for name in ("ann", "bob", "carl", "dora", "emil")]
    refs = [ref for ref, _record in people]
    records = dict(people)
    records[STAFF], records[NIGHT] = Record("staff", STAFF.key), Record("night", NIGHT.key)
    return Wanted(records, {STAFF: frozenset(refs), NIGHT: frozenset(refs[:2])})


def after():
    """Ann and bob swap names, carl leaves, dora is promoted, finn, gina and the group day join, night is renamed."""
    records = dict(before().records)
    (ann, bob, carl, dora, _emil) = [ref for ref in records if ref.kind is Kind.ACCOUNT]
    records[ann], records[bob] = records[ann]._replace(name="bob"), records[bob]._replace(name="ann")
    del records[carl]
    records[dora] = records[dora]._replace(attributes={"title": "Boss"})
    newcomers = [person("finn"), person("gina", title="Nurse")]
    records.update(newcomers)
    day = Ref(Kind.GROUP, "g-day")
    records[NIGHT], records[day] = Record("late", NIGHT.key), Record("day", day.key)
    finn, gina = (ref for ref, _record in newcomers)
    return Wanted(
        records,
        {STAFF: frozenset({ann, bob, dora, finn, gina}), NIGHT: frozenset({bob, finn}), day: frozenset({gina})},
    )


def run(url, ledger, wanted, known, policies=None, timeout=60.0, **more):
    times = http.Time(sleep=lambda seconds: None)
    client = http.Client(http.Settings(url, token=TOKEN, timeout=timeout, **more), times)
    with contextlib.closing(client):
        destination = ScimDestination(client, known, ("title",))
        return provision(
            Task("p", url, wanted, policies or Policies(), EVERYTHING), destination, ledger
        ), client.requests


def seen(served):
    """All that is there, without ids; a group is a set of names."""
    names = {number: each["userName"] for number, each in served.users.items()}
    users = [{name: value for name, value in each.items() if name != "id"} for each in served.users.values()]
    return (
        sorted(users, key=lambda each: each["userName"]),
        {
            each["displayName"]: sorted(names[member["value"]] for member in each.get("members", ()))
            for each in served.groups.values()
        },
    )


def started(known):
    """A service with foreign accounts that was made equal to what is wanted at first, and its ledger."""
    served, ledger = ScimService(page_size=3), MemoryLedger()
    foreign = served.user("foreign", nickName="stays")
    with serving(served) as url:
        run(url, ledger, before(), known)
    staff = next(number for number, each in served.groups.items() if each["displayName"] == "staff")
    served.groups[staff]["members"].append({"value": foreign})
    served.requests.clear()
    return served, ledger


KINDS_OF_SERVICES = {
    "all is read": service("rfc"),
    "members are not shown": service("rfc", members=Members.NEVER),
    "it does not list": service("rfc", lists=frozenset(), members=Members.NEVER),
}
STAGES = (
    "discovery",
    "list of users",
    "list of groups",
    "one",
    "creation of a user",
    "creation of a group",
    "change of a user",
    "change of a group",
    "members",
)
READING = STAGES[1:4]
WRITING = STAGES[4:]


def half(_request, answer):
    """The first half of a list, and a total that says so."""
    resources = answer.body["Resources"]
    return answer.with_body(Resources=resources[: len(resources) // 2], totalResults=len(resources) // 2)


def nothing(_request, answer):
    return answer.with_body(Resources=[], totalResults=0)


def nothing_done(_request, _answer):
    return Answer(200, {}, {"X-Undone": "1"})


def no_object(_request, _answer):
    return Answer(200, [], {"X-Undone": "1"})


# A change of members that is answered and not made is noticed only where they are shown.
LYING = (nothing_done, no_object)

FAULTS = {
    "hangs up, and it is done": (scim_service.hangs_up, STAGES),
    "hangs up within, and it is done": (scim_service.hangs_up_within, STAGES),
    "resets, and it is done": (scim_service.resets, STAGES),
    "stalls, and it is done": (scim_service.stalls, STAGES),
    "trickles": (scim_service.trickles, STAGES),
    "500, and nothing is done": (says(500), STAGES),
    "500, and it is done": (says(500, done=True), STAGES),
    "502, and it is done": (says(502, done=True), STAGES),
    "503": (says(503), STAGES),
    "429": (says(429, Retry_After="1"), STAGES),
    "404": (says(404), ("discovery", *READING, *WRITING)),
    "400": (says(400), STAGES),
    "401": (says(401), STAGES),
    "403": (says(403), STAGES),
    "409": (says(409), WRITING),
    "501": (says(501), STAGES),
    "a redirect": (says(302, Location="http://127.0.0.1:9/"), STAGES),
    "HTML": (says(200, b"<html>"), STAGES),
    "200, and nothing is done": (nothing_done, WRITING),
    "no object": (no_object, STAGES),
    "half a list": (half, READING[:2]),
    "an empty list": (nothing, READING[:2]),
}
CELLS = [
    pytest.param(fault, stage, first, known, id=f"{name} at {stage} {first}, {kind}")
    for name, (fault, stages) in FAULTS.items()
    for stage in stages
    for first in ((1,) if stage not in WRITING else (1, 2))
    for kind, known in KINDS_OF_SERVICES.items()
    if (kind == "all is read" or stage not in READING)
    and not (kind == "members are not shown" and first == 2)
    and not (fault in scim_service.SLOW and (first, kind) != (1, "all is read"))
    and not (fault in LYING and stage == "members" and kind != "all is read")
]


@pytest.fixture(scope="module")
def undisturbed():
    made = {}
    for known in KINDS_OF_SERVICES.values():
        served, ledger = started(known)
        with serving(served) as url:
            run(url, ledger, after(), known)
        made[known] = seen(served)
    return made


@pytest.fixture(scope="module")
def beginnings():
    return {known: started(known) for known in KINDS_OF_SERVICES.values()}


def test_an_undisturbed_run_makes_what_is_wanted(undisturbed):
    for users, groups in undisturbed.values():
        assert [(each["userName"], each["active"]) for each in users] == [
            ("ann", True),
            ("bob", True),
            ("carl", False),
            ("dora", True),
            ("emil", True),
            ("finn", True),
            ("foreign", True),
            ("gina", True),
        ]
        assert groups == {
            "staff": ["ann", "bob", "dora", "finn", "foreign", "gina"],
            "late": ["ann", "finn"],
            "day": ["gina"],
        }


@pytest.mark.a_third
@pytest.mark.parametrize("fault, stage, first, known", CELLS)
def test_every_fault_at_every_stage(fault, stage, first, known, undisturbed, beginnings):
    served, ledger = copied(*beginnings[known])
    with serving(served) as url:
        served.fault = at(stage, fault, first=first)
        told = ""
        try:
            run(url, ledger, after(), known, timeout=scim_service.patience(fault))
        except DestinationError as error:
            told = str(error)
        assert TOKEN not in told
        names = [each["userName"].lower() for each in served.users.values()]
        assert len(names) == len(set(names)), "nobody is there twice"
        wanted = {record.external_id for record in after().records.values()}
        assert all(each["active"] for each in served.users.values() if each.get("externalId") in wanted)
        served.fault = scim_service.behave
        run(url, ledger, after(), known)
        done, _requests = run(url, ledger, after(), known)
        assert seen(served) == undisturbed[known]
        assert done.plan.is_empty and ledger.intents() == {}


def copied(served, ledger):
    """The same service and the same links, for one more cell."""
    other = ScimService(page_size=served.page_size)
    other.users, other.groups, other.given = copy.deepcopy((served.users, served.groups, served.given))
    return other, copy.deepcopy(ledger)


@pytest.mark.parametrize("limit", range(14, 40))
def test_a_run_that_ends_at_a_limit_is_continued(limit, undisturbed, beginnings):
    """With `request_limit`: the result says how much is left, and run after run less is. Reading takes up to 12."""
    known = KINDS_OF_SERVICES["it does not list"]
    served, ledger = copied(*beginnings[known])
    with serving(served) as url:
        left = []
        for _number in range(60):
            done, _requests = run(url, ledger, after(), known, request_limit=limit)
            left.append(done.carried_out.left)
            if not left[-1]:
                break
        assert left == sorted(left, reverse=True) and left[-1] == 0
        assert seen(served) == undisturbed[known]


def test_a_run_with_nothing_to_do_costs_the_listing_or_nothing(beginnings):
    asked = {}
    for kind, known in KINDS_OF_SERVICES.items():
        served, ledger = copied(*beginnings[known])
        with serving(served) as url:
            run(url, ledger, before(), known)
        asked[kind] = [request.stage for request in served.requests if request.stage != "discovery"]
    assert set(asked["all is read"]) == {"list of users", "list of groups"}
    assert asked["it does not list"] == []


def test_a_large_group_costs_its_changes_and_not_its_size():
    people = [person("p%03d" % number) for number in range(250)]
    refs = [ref for ref, _record in people]
    known = service("rfc")
    served, ledger = ScimService(), MemoryLedger()

    def wanted(members):
        return Wanted({**dict(people), STAFF: Record("staff", STAFF.key)}, {STAFF: frozenset(members)})

    with serving(served) as url:
        run(url, ledger, wanted(refs), known)
        assert [len(each.body["Operations"][0]["value"]) for each in served.asked("members")] == [100, 100, 50]
        served.requests.clear()
        run(url, ledger, wanted(refs[1:]), known)
        (request,) = served.asked("members")
        assert len(request.body["Operations"]) == 1
    assert len(served.members(next(iter(served.groups)))) == 249
