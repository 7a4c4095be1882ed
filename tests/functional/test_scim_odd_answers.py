# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a service says that nobody can use is one sentence, or nothing: never a traceback, and no secret is in it."""

from __future__ import annotations

import json
import socket

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._destination import http_client as http
from support import scim_service, stored
from support.scim_service import TOKEN, Answer, at, says, sends

pytestmark = pytest.mark.usefixtures("no_proxy")


PUT = {"patch": {"supported": False}}
ATTRIBUTES = {"name.givenName": "given_name", "urn:x:User:department": "department", "emails[work]": "email"}
ODD = {
    "schemas": [None, 1, "x", {}],
    "name": [None, 1, "x", []],
    "urn:x:User": [None, 1, "x", []],
    "emails": [None, 1, "x", {}, [None], [[]]],
}


@pytest.mark.parametrize(
    "field, value", [pytest.param(field, value, id=f"{field} {value}") for field in ODD for value in ODD[field]]
)
def test_an_account_of_odd_types_is_changed_by_put(run, company, service, field, value):
    service.config = PUT
    run(user_attributes=ATTRIBUTES)
    people = {"ann": {"attributes": {"given_name": "Ann", "department": "Surgery", "email": "ann@else.example"}}}
    company.becomes({"Staff": ["ann", "bob"], "Night": ["bob"]}, people)
    service.users["u000001"][field] = value
    assert run(user_attributes=ATTRIBUTES)["accounts"]["updated"] == ["ann"]
    assert service.users["u000001"]["name"]["givenName"] == "Ann"
    assert service.users["u000001"]["urn:x:User"]["department"] == "Surgery"


@pytest.mark.parametrize("config", [None, PUT], ids=["PATCH", "PUT"])
@pytest.mark.parametrize("members", [[[]], [None], [1], [{"value": []}], [{"value": {}}]], ids=str)
def test_members_that_are_none_are_no_traceback(run, company, service, members, config):
    service.config = config or {}
    run()
    company.becomes({"Staff": ["ann", "zoe"], "Night": ["bob"]})

    def odd(request, answer):
        about = request.path.startswith("/Groups/") and request.method != "PUT"
        return answer._replace(status=200, body={"displayName": "Staff", "members": members * 3}) if about else answer

    service.fault = odd
    run()


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: \xb2\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=["a chunk of negative length", "a wait of a superscript"],
)
def test_an_answer_that_is_none_is_no_traceback(run, service, text):
    service.fault = at("list of users", sends(text), times=1)
    run()
    assert len(service.users) == 2


@pytest.mark.parametrize(
    "stage, fault",
    [
        ("creation of a user", says(400, {"detail": "x" * 990 + TOKEN})),
        ("list of users", says(302, None, Location="x" * 990 + TOKEN)),
    ],
    ids=["a reason", "a redirect"],
)
def test_a_token_that_is_cut_is_hidden_as_well(run, service, stage, fault):
    service.fault = at(stage, fault)
    assert TOKEN[:9] not in json.dumps(run())


def test_what_is_on_the_loopback_interface_is_not_asked_by_a_proxy(service, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.setblocking(False)
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:%d" % proxy.getsockname()[1])
        client = http.Client(http.Settings(service.url, token=TOKEN, timeout=1))
        assert client.send("GET", "/Users").status == 200
        client.close()
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_two_are_not_linked_to_one_account(run, company, service):
    """Whoever of the two leaves would take the account from the other one, or keep it."""

    def same(_request, _answer):
        return Answer(201, {"id": "u000001"}, {"X-Undone": "1"} if len(service.users) > 1 else {})

    service.fault = at("creation of a user", same)
    assert [each["name"] for each in run()["not_provisioned"]] == ["bob"]
    assert stored.rows(company.store, "SELECT count(*) FROM links WHERE kind = 'account'") == [(1,)]


@pytest.mark.parametrize("field", ["id", "displayName"])
def test_half_a_surrogate_pair_is_no_traceback(run, service, field):
    service.fault = at("creation of a user", lambda _request, answer: answer.with_body(**{field: "\ud800"}))
    assert run()["msg"].startswith("url: ")


@pytest.mark.parametrize("field", ["id", "userName"])
def test_a_service_that_gives_the_token_as_an_id_or_a_name(run, company, service, tmp_path, field):
    service.fault = at("creation of a user", lambda _request, answer: answer.with_body(**{field: "x-%s-y" % TOKEN}))
    done = run()
    assert done["failed"] and TOKEN not in json.dumps(done)
    service.user("x-" + TOKEN)
    service.fault = scim_service.behave
    done = run()
    assert done["accounts"]["linked"] == ["ann", "bob"] and TOKEN not in json.dumps(done)
    service.users["u000001"]["displayName"] = TOKEN
    done = run()
    assert [each["there"] for each in done["drift"]] == ["(a secret of ours)"] and TOKEN not in json.dumps(done)
    service.users[TOKEN] = {"id": TOKEN, "userName": "dora"}
    done = run()
    assert not done["changed"] and done["foreign"] == [], "the list is not believed"
    assert not any(TOKEN.encode() in each.read_bytes() for each in tmp_path.rglob("*") if each.is_file())


def test_the_token_is_not_replaced_where_a_service_has_it(run, company, service):
    service.config = PUT
    run()
    service.users["u000001"]["nickName"] = TOKEN
    company.becomes({"Staff": ["ann", "bob"], "Night": ["bob"]}, {"ann": {"attributes": {"email": "a@x.example"}}})
    assert "account 'ann'" in run()["msg"] and service.users["u000001"]["nickName"] == TOKEN
