# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A SCIM service is read completely or not at all, and each change has one exact outcome, however the service lies."""

from __future__ import annotations

import contextlib

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._destination import http_client as http
from ansible_collections.usersync.directory.plugins.module_utils._destination.contract import (
    CannotBeRead,
    ChangeMembers,
    Conflict,
    Create,
    Delete,
    DestinationError,
    Done,
    Gone,
    Kind,
    Later,
    Linked,
    Record,
    Rejected,
    Sought,
    State,
    Unknown,
    Update,
)
from ansible_collections.usersync.directory.plugins.module_utils._destination.scim import listing, resources
from ansible_collections.usersync.directory.plugins.module_utils._destination.scim.destination import ScimDestination
from ansible_collections.usersync.directory.plugins.module_utils._destination.scim.services import (
    Members,
    Paging,
    service,
)
from support import scim_service
from support.scim_service import TOKEN, Answer, ScimService, at, body_is, says, serving

pytestmark = pytest.mark.usefixtures("no_proxy")

NAMES = ("ann", "bob", "carl", "dora", "emil", "finn", "gina", "hans")
ATTRIBUTES = ("title", "emails[work]")


@contextlib.contextmanager
def destination(served, name="rfc", *, timeout=60.0, **options):
    with serving(served) as url:
        times = http.Time(sleep=lambda seconds: None)
        client = http.Client(http.Settings(url, token=TOKEN, timeout=timeout), times)
        with contextlib.closing(client):
            yield ScimDestination(client, service(name, **options), ATTRIBUTES)


def company(**options):
    served = ScimService(**{"page_size": 3, **options})
    numbers = [served.user(name, externalId="key-" + name) for name in NAMES]
    return served, numbers


def read(served, linked=None, **options):
    with destination(served, **options) as made:
        return made.read(linked or Linked())


# --- lists -----------------------------------------------------------------------------------------------------------


def test_all_pages_are_read_by_index_and_by_cursor():
    served, numbers = company()
    accounts = read(served).accounts
    assert [accounts[number].name for number in numbers] == list(NAMES)
    assert accounts[numbers[0]] == Record("ann", "key-ann")
    assert [request.query for request in served.asked("list of users")][-1] == {"startIndex": "9", "count": "1"}
    served, numbers = company(cursors=True)
    assert read(served).accounts.keys() == set(numbers)
    assert [request.query.get("cursor") for request in served.asked("list of users")] == ["", "3", "6"]


def test_a_service_that_gives_all_at_once_is_believed_where_that_is_known():
    served, numbers = company(page_size=100)

    def ignores_pages(request, answer):
        return answer.with_body(Resources=list(served.users.values()), startIndex=1)

    served.fault = at("list of users", ignores_pages)
    assert isinstance(read(served).accounts, CannotBeRead), "it could be the first page for ever"
    assert read(served, paging=Paging.WHOLE).accounts.keys() == set(numbers)


def overlaps(_request, answer):
    """The second page begins with the last one of the first."""
    start = answer.body["startIndex"]
    return answer if start == 1 else answer.with_body(Resources=[{"id": "u000003", "userName": "carl"}])


def loses_the_last(_request, answer):
    """Somebody who is there is in no page, and no total tells."""
    kept = [each for each in answer.body["Resources"] if each["userName"] != "hans"]
    return answer.with_body(Resources=kept, totalResults=7)


def shrinks(_request, answer):
    return answer.with_body(totalResults=8 if answer.body["startIndex"] == 1 else 7)


LIES = {
    "the total is that of a page": body_is(totalResults=3),
    "the total is too small": body_is(totalResults=7),
    "the total is too large": body_is(totalResults=9),
    "there is no total": body_is(totalResults=None),
    "the total is a text": body_is(totalResults="8"),
    "the total changes": shrinks,
    "it begins again and again": body_is(startIndex=1, Resources=[{"id": "u000001", "userName": "ann"}]),
    "pages overlap": overlaps,
    "it ends early": lambda request, answer: (
        answer if answer.body["startIndex"] == 1 else answer.with_body(Resources=[])
    ),
    "nobody is there, of 8": body_is(Resources=[]),
    "nobody is there": body_is(Resources=[], totalResults=0),
    "one is left out": loses_the_last,
    "no id": body_is(Resources=[{"userName": "ann"}], totalResults=1),
    "an id that is a number": body_is(Resources=[{"id": 7, "userName": "ann"}], totalResults=1),
    "no name": body_is(Resources=[{"id": "u000001"}], totalResults=1),
    "texts in place of resources": body_is(Resources=["ann"], totalResults=1),
    "no list": lambda _request, _answer: Answer(200, []),
    "no JSON object": lambda _request, _answer: Answer(200, "ann"),
    "an empty answer": lambda _request, _answer: Answer(200),
    "it does not list": says(501, {"detail": "no"}),
    "it does not list so": says(405, {"detail": "no"}),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_list_that_is_not_complete_cannot_be_read(lie):
    served, numbers = company()
    served.fault = at("list of users", lie)
    actual = read(served, Linked(frozenset(numbers)))
    assert isinstance(actual.accounts, CannotBeRead) and actual.gone == frozenset()


@pytest.mark.parametrize("of_users", [8, 6, 1])
def test_a_service_that_pages_and_begins_again_behind_its_end_is_believed(of_users):
    """scimmy-routers does so."""
    served, numbers = company()
    for number in numbers[of_users:]:
        del served.users[number]

    def begins_again(request, answer):
        if int(request.query["startIndex"]) > of_users:
            return answer.with_body(Resources=[served.users[numbers[0]]])
        return answer

    served.fault = at("list of users", begins_again)
    assert read(served).accounts.keys() == set(numbers[:of_users])


@pytest.mark.parametrize("stage", ["list of users", "list of groups"])
def test_a_token_that_may_not_list_is_an_error(stage):
    served, _numbers = company()
    served.fault = at(stage, says(403, {"detail": "no"}))
    with pytest.raises(DestinationError, match="token: it may not read"):
        read(served, Linked())


# Of these nothing tells but that somebody who is linked is not in the list.
ONLY_BY_LINKS = ("nobody is there", "one is left out")


@pytest.mark.parametrize("lie", [lie for name, lie in LIES.items() if name not in ONLY_BY_LINKS])
def test_a_list_that_does_not_fit_together_cannot_be_read_by_anybody(lie):
    served, _numbers = company()
    served.fault = at("list of users", lie)
    assert isinstance(read(served).accounts, CannotBeRead)


def test_an_id_that_comes_twice_is_not_believed():
    served = ScimService()
    number, _other = served.user("ann"), served.user("bob")
    twice = body_is(Resources=[{"id": number, "userName": "ann"}] * 2)
    served.fault = at("list of users", twice, times=1)
    assert isinstance(read(served).accounts, CannotBeRead)


FAILS = {
    "404": says(404),
    "500": says(500, {"detail": "no"}),
    "503": says(503),
    "429": says(429),
    "HTML": says(200, b"<html>"),
    "hangs up": scim_service.hangs_up,
    "hangs up within": scim_service.hangs_up_within,
    "resets": scim_service.resets,
    "stalls": scim_service.stalls,
    "trickles": scim_service.trickles,
    "a redirect": says(302, Location="http://127.0.0.1:9/"),
    "401": says(401),
}


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("fault", FAILS.values(), ids=FAILS)
def test_a_service_that_fails_ends_the_run(fault, first):
    served, numbers = company()
    served.fault = at("list of users", fault, first=first)
    with pytest.raises(DestinationError) as error:
        read(served, Linked(frozenset(numbers)), timeout=scim_service.patience(fault))
    assert TOKEN not in str(error.value)


@pytest.mark.parametrize(
    "body",
    [
        {"nextCursor": "3"},
        {"nextCursor": ["3"]},
        {"totalResults": 5},
        {"nextCursor": None},
    ],
)
def test_a_cursor_that_leads_nowhere_is_not_believed(body):
    served, numbers = company(cursors=True)
    served.fault = at("list of users", body_is(**body))
    assert isinstance(read(served, Linked(frozenset(numbers))).accounts, CannotBeRead)


def test_empty_pages_without_end_end():
    served, _numbers = company(cursors=True)
    served.fault = at(
        "list of users",
        lambda request, answer: Answer(200, {"Resources": [], "nextCursor": request.query["cursor"] + "1"}),
    )
    assert isinstance(read(served).accounts, CannotBeRead)
    assert len(served.asked("list of users")) < 5


def test_who_is_not_in_a_complete_list_is_asked_for_before_he_is_gone():
    served, numbers = company()
    del served.users[numbers[2]]
    actual = read(served, Linked(frozenset(numbers)))
    assert actual.gone == {(Kind.ACCOUNT, numbers[2])} and len(actual.accounts) == 7


def test_who_moves_while_pages_are_read_is_noticed():
    """Somebody is deleted between two pages: whoever follows is one place further to the front."""
    served, numbers = company()

    def deletes(request, answer):
        if request.query["startIndex"] == "1":
            del served.users[numbers[0]]
        return answer

    served.fault = at("list of users", deletes)
    assert isinstance(read(served).accounts, CannotBeRead)


def test_a_state_may_be_a_text():
    served = ScimService()
    number = served.user("ann", active="False")
    assert read(served).accounts[number].state is State.DISABLED


# --- members ---------------------------------------------------------------------------------------------------------


def with_group(count, **options):
    served = ScimService(**options)
    numbers = [served.user("user%d" % number) for number in range(count)]
    return served, served.group("staff", *numbers), frozenset(numbers)


def without_members(_request, answer):
    kept = [{name: value for name, value in each.items() if name != "members"} for each in answer.body["Resources"]]
    return answer.with_body(Resources=kept)


def no_members_alone(_request, answer):
    return answer.with_body(members=None)


def at_both(in_lists, alone):
    return lambda request, answer: at("one", alone)(request, at("list of groups", in_lists)(request, answer))


def members_are(values):
    def fault(_request, answer):
        if "Resources" in answer.body:
            return answer.with_body(Resources=[{**each, "members": values} for each in answer.body["Resources"]])
        return answer.with_body(members=values)

    return fault


def test_members_are_read_from_the_list():
    served, staff, numbers = with_group(3)
    assert read(served, Linked(numbers, {staff: numbers})).members == {staff: numbers}
    assert served.asked("one") == []


@pytest.mark.parametrize("lie", [without_members, members_are([{"value": "u000001"}])])
def test_a_list_that_leaves_members_out_is_compared_with_the_group_itself(lie):
    served, staff, numbers = with_group(3)
    served.fault = at("list of groups", lie)
    assert read(served, Linked(numbers, {staff: numbers})).members == {staff: numbers}
    assert [request.path for request in served.asked("one")] == ["/Groups/" + staff]


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        "u000001",
        ["u000001"],
        [{"display": "ann"}],
        [{"value": 1}],
        [{"value": "u000001"}, {"value": "u000001"}],
        [{"value": "u%06d" % number} for number in range(1, 101)],
    ],
    ids=["none", "empty", "a text", "texts", "no ids", "numbers", "one twice", "cut at a hundred"],
)
def test_members_that_are_left_out_cannot_be_read(values):
    served, staff, numbers = with_group(150)
    served.fault = at_both(members_are(values), members_are(values))
    assert isinstance(read(served, Linked(numbers, {staff: numbers})).members[staff], CannotBeRead)


def test_a_service_known_to_hide_members_is_not_asked_for_them():
    served, staff, numbers = with_group(3)
    actual = read(served, Linked(numbers, {staff: numbers}), members=Members.NEVER)
    assert isinstance(actual.members[staff], CannotBeRead) and served.asked("one") == []


# --- look-ups --------------------------------------------------------------------------------------------------------

ANN, NOBODY = Sought(Kind.ACCOUNT, "key-ann", "Ann"), Sought(Kind.ACCOUNT, "key-zoe", "zoe")


def looked_up(served, sought, numbers, **options):
    linked = Linked(frozenset(numbers), {}, [sought])
    return read(served, linked, lists=frozenset(), **options).found[sought]


def test_who_is_sought_is_found_by_key_and_by_name():
    served, numbers = company()
    assert looked_up(served, ANN, numbers).keys() == {numbers[0]}
    assert looked_up(served, Sought(Kind.ACCOUNT, "other", "ANN"), numbers).keys() == {numbers[0]}
    assert looked_up(served, Sought(Kind.ACCOUNT, "key-ann", "other"), numbers).keys() == {numbers[0]}
    assert looked_up(served, NOBODY, numbers) == {}


def compares_with_case(request, answer):
    wanted = request.query["filter"]
    kept = [each for each in answer.body["Resources"] if each["userName"] in wanted or each["externalId"] in wanted]
    return answer.with_body(Resources=kept)


FILTERS = {
    "everybody is found": body_is(Resources=[{"id": "u000002", "userName": "bob", "externalId": "key-bob"}]),
    "nobody is found": body_is(Resources=[]),
    "a made-up one is found": body_is(Resources=[{"id": "sample", "userName": "sample"}]),
    "it compares with case": compares_with_case,
    "it does not filter": says(400, {"scimType": "invalidFilter"}),
    "it has no list": says(501),
    "no list": lambda _request, _answer: Answer(200, {"Resources": "ann"}),
}


@pytest.mark.parametrize("lie", FILTERS.values(), ids=FILTERS)
def test_a_filter_that_does_not_work_finds_nobody_missing(lie):
    served, numbers = company()
    served.fault = at("look-up", lie)
    assert isinstance(looked_up(served, NOBODY, numbers), CannotBeRead)


def test_nothing_is_believed_that_nobody_proves():
    served, _numbers = company()
    assert isinstance(looked_up(served, NOBODY, ()), CannotBeRead)
    served, numbers = company()
    assert isinstance(looked_up(served, NOBODY, numbers, filters=frozenset()), CannotBeRead)
    assert served.asked("look-up") == []


# --- changes ---------------------------------------------------------------------------------------------------------

EVE = Record("eve", "key-eve", attributes={"title": "Nurse", "emails[work]": "eve@corp.example"})


def changes(served, numbers):
    served.users[numbers[0]]["nickName"] = "foreign"
    staff = served.group("staff", numbers[0], numbers[1])
    before, after = Record("ann", "key-ann"), Record("anna", "key-ann", State.DISABLED, {"title": "Boss"})
    return {
        "creation of a user": Create(Kind.ACCOUNT, EVE),
        "change of a user": Update(Kind.ACCOUNT, numbers[0], before, after),
        "deletion": Delete(Kind.ACCOUNT, numbers[1]),
        "members": ChangeMembers(staff, (numbers[2],), (numbers[0],)),
    }


def test_changes_are_made_and_leave_alone_what_they_are_not_about():
    served, numbers = company()
    todo = changes(served, numbers)
    with destination(served) as made:
        created = made.apply(todo["creation of a user"])
        assert isinstance(created, Done)
        assert served.users[created.id]["emails"] == [{"value": "eve@corp.example", "type": "work"}]
        assert made.apply(todo["change of a user"]) == Done(numbers[0])
        ann = served.users[numbers[0]]
        assert (ann["userName"], ann["active"], ann["title"]) == ("anna", False, "Boss")
        assert (ann["externalId"], ann["nickName"]) == ("key-ann", "foreign")
        assert isinstance(made.apply(todo["members"]), Done)
        (staff,) = served.groups
        assert served.members(staff) == {numbers[1], numbers[2]}
        assert made.apply(todo["deletion"]) == Done(numbers[1])
        assert made.apply(todo["deletion"]) == Gone(), "somebody else has done it, or it has another id"


def undone(_request, answer):
    """All as it was, and success."""
    old = {"id": "u000001", "userName": "ann", "externalId": "key-ann", "active": True}
    return Answer(
        200, old if answer.status == 200 else {"id": "g000009", "members": [{"value": "u000001"}]}, {"X-Undone": "1"}
    )


EVERY = ("creation of a user", "change of a user", "deletion", "members")
OUTCOMES = [
    ("409", says(409, {"detail": "taken"}), EVERY, Conflict),
    ("400, not unique", says(400, {"scimType": "uniqueness"}), EVERY, Conflict),
    ("400", says(400, {"detail": "no"}), EVERY, Rejected),
    ("412", says(412), EVERY, Rejected),
    ("413", says(413), EVERY, Rejected),
    ("501", says(501), EVERY, Rejected),
    ("404, and it is there", says(404), ("change of a user", "members"), Rejected),
    ("404, and it is there as before", says(404), ("deletion",), Rejected),
    ("204, and it is there as before", says(204), ("deletion",), Rejected),
    ("404, and it is deleted", says(404, done=True), ("deletion",), Gone),
    ("no answer, and then 404", scim_service.at("deletion", scim_service.hangs_up, times=1), ("deletion",), Done),
    ("404", says(404), ("creation of a user",), Rejected),
    ("403", says(403), EVERY, Rejected),
    ("401", says(401), EVERY, DestinationError),
    ("a redirect", says(307, Location="http://127.0.0.1:9/"), EVERY, Unknown),
    ("429", says(429), EVERY, Later),
    ("503, later", says(503, Retry_After="9999"), EVERY, Later),
    ("500", says(500), EVERY, Unknown),
    ("502, and it was done", says(502, done=True), ("creation of a user",), Unknown),
    ("hangs up, and it was done", scim_service.hangs_up, EVERY, Unknown),
    ("hangs up within", scim_service.hangs_up_within, EVERY, Unknown),
    ("resets", scim_service.resets, EVERY, Unknown),
    ("stalls", scim_service.stalls, EVERY, Unknown),
    ("trickles", scim_service.trickles, EVERY, Unknown),
    ("200 and no id", says(200, {"userName": "eve"}), ("creation of a user",), Unknown),
    ("201 of another one", says(201, {"id": "x", "userName": "bob"}), ("creation of a user",), Unknown),
    ("200 and nothing done", undone, ("change of a user", "members"), Rejected),
    ("204 and nothing done", says(204), ("change of a user",), Rejected),
    ("200 and HTML", says(200, b"<html>", done=True), EVERY, Unknown),
]


@pytest.mark.parametrize(
    "stage, fault, expected",
    [
        pytest.param(stage, fault, expected, id=f"{name} at {stage}")
        for name, fault, stages, expected in OUTCOMES
        for stage in stages
    ],
)
def test_every_fault_at_every_change_has_one_outcome(stage, fault, expected):
    served, numbers = company()
    change = changes(served, numbers)[stage]
    with destination(served, timeout=scim_service.patience(fault)) as made:
        served.fault = at(stage, fault)
        if expected is DestinationError:
            with pytest.raises(DestinationError):
                made.apply(change)
        else:
            assert isinstance(made.apply(change), expected)
    assert len(served.users) <= 9
    if stage == "creation of a user" and expected is Unknown:
        assert len(served.asked(stage)) == 1


def test_who_is_not_there_is_gone():
    served, numbers = company()
    todo = changes(served, numbers)
    served.users.clear()
    served.groups.clear()
    with destination(served) as made:
        assert made.apply(todo["change of a user"]) == Gone() and made.apply(todo["members"]) == Gone()


def test_an_answer_that_shows_no_members_at_all_tells_nothing_of_them():
    """saml-jackson answers so, whoever is in the group."""
    served, numbers = company()
    served.fault = at("members", lambda request, answer: Answer(200, {"displayName": "staff", "members": []}))
    with destination(served) as made:
        assert isinstance(made.apply(changes(served, numbers)["members"]), Done)


def test_a_value_that_is_as_before_was_not_written():
    served, numbers = company()
    served.users[numbers[0]]["title"] = "Nurse"
    served.fault = at("change of a user", lambda request, answer: answer.with_body(title="Nurse"))
    before, after = (Record("ann", "key-ann", attributes={"title": title}) for title in ("Nurse", "Boss"))
    with destination(served) as made:
        outcome = made.apply(Update(Kind.ACCOUNT, numbers[0], before, after))
    assert outcome == Rejected("the service answers 200, and title is as before")


def test_what_a_service_makes_of_a_value_is_told():
    served, _numbers = company()

    def lowers(request, answer):
        return answer.with_body(title="nurse")

    served.fault = at("creation of a user", lowers)
    with destination(served) as made:
        assert made.apply(Create(Kind.ACCOUNT, EVE)).shown == {"title": "nurse"}


def test_an_account_that_is_created_enabled_although_it_is_not_is_disabled():
    served, _numbers = company()

    def enables(request, answer):
        served.users[answer.body["id"]]["active"] = True
        return answer.with_body(active=True)

    served.fault = at("creation of a user", enables)
    with destination(served) as made:
        made_one = made.apply(Create(Kind.ACCOUNT, EVE._replace(state=State.DISABLED)))
    assert served.users[made_one.id]["active"] is False


def test_a_service_without_patch_gets_puts_with_all_that_was_there():
    served, numbers = company(config={"patch": {"supported": False}})
    todo = changes(served, numbers)
    with destination(served) as made:
        assert made.apply(todo["change of a user"]) == Done(numbers[0])
        assert served.users[numbers[0]]["nickName"] == "foreign" and not served.users[numbers[0]]["active"]
        assert isinstance(made.apply(todo["members"]), Done)
        (staff,) = served.groups
        assert served.members(staff) == {numbers[1], numbers[2]}
        served.fault = at("one", no_members_alone)
        hidden = todo["members"]._replace(known=frozenset(numbers[:2]))
        assert isinstance(made.apply(hidden), Rejected), "a PUT would end those that are not shown"
    assert {request.method for request in served.requests} == {"GET", "PUT"}


def test_ids_cannot_lead_elsewhere():
    served, _numbers = company()
    with destination(served) as made:
        made.apply(Delete(Kind.ACCOUNT, "../Groups/x?y"))
    assert served.requests[-1].path == "/Users/../Groups/x?y" and served.requests[-1].query == {}


@pytest.mark.parametrize("number", [".", ".."])
def test_an_id_of_dots_stays_in_its_place(number):
    assert resources.path_of(Kind.ACCOUNT, number) == "/Users/" + "%2E" * len(number)


def test_a_list_without_end_is_not_believed(monkeypatch):
    monkeypatch.setattr(listing, "LARGEST_LIST", 50)
    served, _numbers = company(cursors=True)

    def goes_on(request, _answer):
        at_number = int(request.query["cursor"] or 0)
        page = [{"id": "x%d" % (at_number + each), "userName": "x"} for each in range(10)]
        return Answer(200, {"Resources": page, "nextCursor": str(at_number + 10)})

    served.fault = at("list of users", goes_on)
    actual = read(served, Linked())
    assert isinstance(actual.accounts, CannotBeRead) and "more than 50" in actual.accounts.why
    assert len(served.asked("list of users")) == 6


def test_a_group_that_somebody_emptied_is_told_from_a_service_that_hides_members():
    served, staff, numbers = with_group(3)
    night = served.group("night")
    linked = Linked(numbers, {staff: numbers, night: frozenset({"u000001"})})
    assert read(served, linked).members == {staff: numbers, night: frozenset()}
    served.groups[staff]["members"] = []
    assert all(isinstance(each, CannotBeRead) for each in read(served, linked).members.values())
