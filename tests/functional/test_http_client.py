# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of services: one host only, in time, and nothing that may be done twice."""

from __future__ import annotations

import contextlib
import email.utils
import select
import threading
from http.server import BaseHTTPRequestHandler

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._destination import http_client as http
from ansible_collections.usersync.directory.plugins.module_utils._destination.contract import (
    DestinationError,
    LimitReached,
)
from support import scim_service
from support.scim_service import TOKEN, ScimService, at, says, sends, serving
from support.tls import usual_authority

NOW = 1_800_000_000.0


class Slept(list):
    """Time that passes only where the client sleeps."""

    def time(self) -> http.Time:
        return http.Time(clock=lambda: NOW, sleep=self.append, chance=lambda: 0.0)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "")


@pytest.fixture
def service():
    return ScimService()


@contextlib.contextmanager
def client(service, slept=None, pair=None, **settings):
    slept = Slept() if slept is None else slept
    with serving(service, pair) as url:
        made = http.Client(http.Settings(url, **{"token": TOKEN, "timeout": 5, **settings}), slept.time())
        with contextlib.closing(made):
            yield made


def failing(service, *request, **settings):
    with client(service, **settings) as made, pytest.raises(DestinationError) as error:
        made.send(*request)
    assert TOKEN not in str(error.value)
    return error


def test_one_connection_is_kept_and_says_who_it_is(service):
    opened = []
    with client(service) as made:
        new = made._new_connection
        made._new_connection = lambda: opened.append(1) or new()
        for _number in range(3):
            assert made.send("GET", "/Users").data["totalResults"] == 0
    assert len(opened) == 1 and made.requests == (3, 0, 0.0)
    assert {request.headers["user-agent"] for request in service.requests} == {"usersync.directory"}


@pytest.mark.parametrize(
    "said, seconds",
    [
        ("7", 7.0),
        (email.utils.formatdate(NOW + 30, usegmt=True), 30.0),
        (email.utils.formatdate(NOW - 30, usegmt=True), 1.0),
        ("soon", 1.0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_is_put_off_waits_as_long_as_is_said(service, said, seconds, status, method):
    slept = Slept()
    stage = "list of users" if method == "GET" else "creation of a user"
    service.fault = at(stage, says(status, Retry_After=said), times=1)
    with client(service, slept) as made:
        answer = made.send(method, "/Users", body={"userName": "ann"}, repeatable=method == "GET")
        assert answer.status in (200, 201) and slept == [seconds] and made.requests.retried == 1
    assert len(service.users) == (method == "POST")


def test_who_waits_waits_longer_and_not_shorter(service):
    slept = Slept()
    service.fault = at("list of users", says(429, Retry_After="8"), times=1)
    with serving(service) as url:
        made = http.Client(http.Settings(url, token=TOKEN), slept.time()._replace(chance=lambda: 1.0))
        with contextlib.closing(made):
            made.send("GET", "/Users")
    assert slept == [10.0]


class Clock:
    """Time that passes only where the client sleeps, or by ``now``."""

    def __init__(self):
        self.now, self.slept = 0.0, []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def time(self):
        return http.Time(lambda: self.now, sleep=self.sleep, chance=lambda: 0.0)


def test_no_more_is_written_in_a_minute_than_is_let_through(service):
    clock = Clock()
    with client(service, clock, writes_per_minute=3) as made:
        for number in range(7):
            made.send("POST", "/Users", body={"userName": "p%d" % number}, repeatable=False)
            made.send("GET", "/Users")
            clock.now += 10
    assert clock.slept == [30.0, 30.0] and made.requests.waited == 60.0


def test_who_has_no_time_to_keep_to_the_rate_ends(service):
    with client(service, Clock(), writes_per_minute=1, time_limit=50) as made:
        made.send("POST", "/Users", body={"userName": "ann"})
        with pytest.raises(LimitReached, match="^time_limit: "):
            made.send("POST", "/Users", body={"userName": "bob"})
    assert len(service.users) == 1


@pytest.mark.parametrize("said", ["", "100000"])
def test_who_is_put_off_for_too_long_ends(service, said):
    slept = Slept()
    service.fault = says(429, {"detail": "slow down, %s" % TOKEN}, **({"Retry_After": said} if said else {}))
    with client(service, slept) as made, pytest.raises(http.PutOff) as error:
        made.send("GET", "/Users")
    assert slept == ([] if said else [1.0, 2.0, 4.0])
    assert "slow down, ********" in str(error.value) and error.value.seconds == float(said or 0)


def test_500_means_429_where_that_is_known(service):
    service.fault = at("list of users", says(500, {"detail": "REQUEST_LIMIT_EXCEEDED"}), times=2)
    with client(service, later_in_500="REQUEST_LIMIT_EXCEEDED") as made:
        assert made.send("GET", "/Users").status == 200
        assert made.requests.retried == 2


LOST = {
    "hangs up": scim_service.hangs_up,
    "hangs up within": scim_service.hangs_up_within,
    "resets": scim_service.resets,
    "stalls": scim_service.stalls,
    "trickles": scim_service.trickles,
    "no HTTP": scim_service.sends(b"220 mail.example ESMTP\r\n"),
    "502 of a proxy": says(502, b"<html>", done=True),
    "503 of a proxy": says(503, b"<html>", done=True),
}


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_a_creation_whose_answer_is_lost_is_not_repeated(service, fault):
    service.fault = at("creation of a user", fault)
    with client(service, timeout=scim_service.patience(fault)) as made:
        with pytest.raises(http.AnswerLost):
            made.send("POST", "/Users", body={"userName": "ann"}, repeatable=False)
        assert len(service.requests) == 1
        assert made.send("GET", "/Users").data["totalResults"] == 1, "another connection is opened"


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_what_may_be_done_twice_is(service, fault):
    service.fault = at("list of users", fault, times=1)
    with client(service, timeout=scim_service.patience(fault)) as made:
        assert made.send("GET", "/Users").status == 200


def test_a_connection_that_was_closed_meanwhile_gets_no_request(service):
    """It would be lost, and whether it was carried out unknown."""
    service.fault = at("list of users", sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
    with client(service) as made:
        made.send("GET", "/Users")
        select.select([made._connection.sock], [], [], 5)  # until the service has closed it
        assert made.send("POST", "/Users", body={"userName": "ann"}, repeatable=False).status == 201
    assert len(service.users) == 1 and made.requests.retried == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_redirect_is_followed(service, status, method):
    other = ScimService()
    with serving(other) as elsewhere:
        service.fault = says(status, Location=elsewhere + "/Users")
        error = failing(service, method, "/Users", None, {"userName": "ann"} if method == "POST" else None)
        assert elsewhere in str(error.value) and "url: " in str(error.value)
    assert other.requests == []


@pytest.mark.parametrize("pair", [None, "TLS"])
def test_a_service_that_closes_after_each_answer_is_read_to_the_end(service, pair):
    service.fault = lambda request, answer: answer._replace(headers={"Connection": "close"})
    for number in range(90):
        service.user("user%d" % number, title="x" * 500)
    authority = usual_authority()
    with client(service, pair=pair and authority.issue("scim"), ca_path=str(authority.cert)) as made:
        for _number in range(3):
            assert len(made.send("GET", "/Users").data["Resources"]) == 90
    assert made.requests == (3, 0, 0.0)


def test_a_large_answer_is_not_read_to_its_end(service, monkeypatch):
    monkeypatch.setattr(http, "LARGEST_ANSWER", 2**20)
    service.fault = says(200, b" " * 2**21)
    assert "url: an answer of" in str(failing(service, "GET", "/Users").value)


@pytest.mark.parametrize("text", [b"<html>Log in", b"[" * 100_000, b"\xff\xfe"])
def test_what_is_no_json_is_no_answer(service, text):
    service.fault = says(200, text)
    assert "something else than JSON" in str(failing(service, "GET", "/Users").value)


def test_a_refused_login_names_its_option(service):
    service.fault = says(401, {"detail": "not with %s" % TOKEN})
    assert str(failing(service, "GET", "/Users").value).startswith("token: ")
    assert str(failing(service, "GET", "/Users", token=None, username="ann", password="x-p4ss").value).startswith(
        "password: "
    )


def test_limits_end_a_run(service):
    with client(service, request_limit=2) as made:
        made.send("GET", "/Users")
        made.send("GET", "/Users")
        with pytest.raises(LimitReached, match="^request_limit: 2 requests were sent"):
            made.send("GET", "/Users")
    assert len(service.requests) == 2
    service.fault = says(429, Retry_After="20")
    with client(service, time_limit=10) as made, pytest.raises(DestinationError):
        made.send("GET", "/Users")
    assert len(service.requests) == 3, "no wait is begun that ends after the limit"


# --- TLS, addresses, proxies


def test_certificates_are_verified(service):
    authority = usual_authority()
    pair = authority.issue("scim")
    with client(service, pair=pair, ca_path=str(authority.cert)) as made:
        assert made.send("GET", "/Users").status == 200
    with client(service, pair=pair, validate_certs=False) as made:
        assert made.send("GET", "/Users").status == 200
    asked = len(service.requests)
    assert str(failing(service, "GET", "/Users", pair=pair).value).startswith("ca_path: the certificate of")
    other = authority.issue("other", ("other.example",))
    error = failing(service, "GET", "/Users", pair=other, ca_path=str(authority.cert))
    assert "is for another name" in str(error.value)
    assert len(service.requests) == asked


@pytest.mark.parametrize(
    "url, why",
    [
        ("http://scim.example/v2", "everybody on the way can read"),
        ("http://127.0.0.1.example", "everybody on the way can read"),
        ("http://[::2]", "everybody on the way can read"),
        ("ftp://scim.example", "is not the address of a service"),
        ("scim.example", "is not the address of a service"),
        ("https://scim.example:port", "is none"),
        ("https://ann:s3cr3t-in-url@scim.example", "no login may stand in it"),
        ("https://scim.example?x=1", "is not the address of a service"),
    ],
)
def test_addresses_that_are_refused(url, why):
    with pytest.raises(DestinationError, match="^url: .*" + why) as error:
        http.Client(http.Settings(url, token=TOKEN))
    assert "s3cr3t" not in str(error.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.77", "[::1]"])
def test_no_secret_leaves_this_computer_by_http(host):
    http.Client(http.Settings("http://%s/v2" % host, token=TOKEN)).close()


@pytest.mark.parametrize("name, value", [("token", "a\r\nX-Other: b"), ("token", "ä"), ("password", "a\nb")])
def test_a_secret_that_would_become_a_header_of_its_own_is_refused(name, value):
    with pytest.raises(DestinationError, match="^%s: it has a character" % name) as error:
        http.Client(http.Settings("https://scim.example", **{"username": "ann", name: value}))
    assert value not in str(error.value)


class _Proxy(BaseHTTPRequestHandler):
    seen: list[tuple[str, str, str]] = []

    def do_CONNECT(self):
        login = self.headers.get("Proxy-Authorization")
        self.seen.append((self.path, login, self.headers.get("Authorization")))
        self.send_response(502, "refused %s pr0xy/pass pr0xy%%2Fpass" % login.partition(" ")[2])
        self.end_headers()

    def log_message(self, *_arguments):
        pass


def test_a_proxy_of_the_environment_is_asked_and_gets_no_token(service, monkeypatch):
    server = scim_service._Server(("127.0.0.1", 0), _Proxy)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        monkeypatch.setenv("https_proxy", "http://ann:pr0xy%%2Fpass@127.0.0.1:%d" % server.server_port)
        made = http.Client(http.Settings("https://scim.example/v2", token=TOKEN, timeout=5))
        with pytest.raises(DestinationError, match="^url: 'scim.example' cannot be reached") as error:
            made.send("GET", "/Users")
        assert TOKEN not in str(error.value)
        assert _Proxy.seen == [("scim.example:443", "Basic YW5uOnByMHh5L3Bhc3M=", None)]
        # It says again what it was given.
        assert "refused ******** ******** ********" in str(error.value), error.value
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    "named", ["http://ann:pr0xy/pass@127.0.0.1:1", "http://ann:pr0xy@[pass", "socks5://ann:pr0xy@x"]
)
def test_a_proxy_that_cannot_be_used_is_an_error_without_its_password(monkeypatch, named):
    monkeypatch.setenv("https_proxy", named)
    with pytest.raises(DestinationError, match="^url: the proxy that https_proxy names") as error:
        http.Client(http.Settings("https://scim.example/v2", token=TOKEN))
    assert "pr0xy" not in str(error.value) and "pass" not in str(error.value)


def chunked(*parts):
    return sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(parts))


CHUNKS = {
    "two": (b'5\r\n{"a":\r\n', b"2;x=y\r\n1}\r\n0\r\n\r\n"),
    "a trailer": (b'7\r\n{"a":1}\r\n', b"0\r\nX: y\r\n\r\n"),
    "capital letters": (b"A\r\n" + b'   {"a":1}' + b"\r\n", b"000\r\n\r\n"),
}
NO_CHUNKS = {
    "-1": (b'-1\r\n{"a":1}\r\n0\r\n\r\n',),
    "+7": (b'+7\r\n{"a":1}\r\n0\r\n\r\n',),
    "0x7": (b'0x7\r\n{"a":1}\r\n0\r\n\r\n',),
    "no number": (b'x\r\n{"a":1}\r\n0\r\n\r\n',),
    "blank": (b'\r\n{"a":1}\r\n0\r\n\r\n',),
    "longer than said": (b'3\r\n{"a":1}\r\n0\r\n\r\n',),
    "shorter than said": (b'F\r\n{"a":1}\r\n',),
    "no end": (b'7\r\n{"a":1}\r\n',),
    "trailers without end": (b"0\r\n", b"X: y\r\n" * 200),
}


@pytest.mark.parametrize("parts", CHUNKS.values(), ids=CHUNKS)
def test_chunks_are_put_together(service, parts):
    service.fault = chunked(*parts)
    with client(service) as made:
        assert made.send("GET", "/Users").data == {"a": 1}


@pytest.mark.parametrize("parts", NO_CHUNKS.values(), ids=NO_CHUNKS)
def test_chunks_that_are_none_are_no_answer(service, parts):
    service.fault = chunked(*parts)
    failing(service, "GET", "/Users")
    assert len(service.requests) == 4


@pytest.mark.parametrize(
    "size, sent",
    [(b"FFFFFFFF", b"x" * 200), (b"64", b"x" * 100), (b"-1", b"x" * 200)],
    ids=["huge", "many", "negative"],
)
def test_chunks_are_read_up_to_a_bound(service, monkeypatch, size, sent):
    monkeypatch.setattr(http, "LARGEST_ANSWER", 150)
    service.fault = chunked(*[size + b"\r\n" + sent + b"\r\n"] * 3, b"0\r\n\r\n")
    failing(service, "GET", "/Users")


SECRET = 'p"a\\ss\u00e4-w0rd'
ASIDE = "x(a secret of ours)y"


def test_what_a_service_says_again_of_a_secret_is_hidden(service):
    service.answer = lambda _request: scim_service.Answer(
        200, {"id": "x%sy" % SECRET, "a": [{"b": {SECRET: 1}}]}, {"Location": "/Users/x%sy" % TOKEN}
    )
    with serving(service) as url:
        for secrets in ({"username": "ann", "password": SECRET}, {"token": TOKEN}):
            made = http.Client(http.Settings(url, **secrets))
            with contextlib.closing(made):
                answer = made.send("GET", "/Users")
            if "token" in secrets:
                assert answer.headers["location"] == "/Users/" + ASIDE and answer.data["id"] == "x%sy" % SECRET
            else:
                assert answer.data == {"id": ASIDE, "a": [{"b": {"(a secret of ours)": 1}}]}


def test_a_password_that_is_a_number_as_well_spoils_no_answer(service):
    service.answer = lambda _request: scim_service.Answer(200, {"totalResults": 1234567890, "id": "1234567890"})
    with (
        serving(service) as url,
        contextlib.closing(http.Client(http.Settings(url, username="ann", password="1234567890"))) as made,
    ):
        assert made.send("GET", "/Users").data == {"totalResults": 1234567890, "id": "(a secret of ours)"}
