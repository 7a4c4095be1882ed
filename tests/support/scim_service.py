# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A SCIM service in this process, on loopback, that can be told to misbehave.

It follows RFC 7643 and RFC 7644 as far as it goes. A fault is a function that gets each request and the right answer,
and returns what is sent in its place: another :class:`Answer`, or a :class:`Wire`, which gets the socket.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Union
from urllib.parse import parse_qsl, unquote, urlsplit

TOKEN = "Tr0ub4dor-scim-token"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"

Resource = dict[str, Any]


class Request(NamedTuple):
    method: str
    path: str  # below the service's address
    query: dict[str, str]
    body: Any
    headers: dict[str, str]

    @property
    def stage(self) -> str:
        """What it is about."""
        kind, _slash, number = self.path.strip("/").partition("/")
        if kind not in ("Users", "Groups"):
            return "discovery"
        what = "user" if kind == "Users" else "group"
        if self.method == "GET":
            return "one" if number else "look-up" if "filter" in self.query else f"list of {what}s"
        if self.method == "POST":
            return f"creation of a {what}"
        if self.method == "DELETE":
            return "deletion"
        operations = self.body.get("Operations", ()) if isinstance(self.body, dict) else ()
        is_about_members = any(each.get("path", "").startswith("members") for each in operations)
        return "members" if is_about_members else f"change of a {what}"


class Answer(NamedTuple):
    status: int
    body: Any = None
    headers: dict[str, str] = {}

    def with_body(self, **changes: Any) -> Answer:
        return self._replace(body={**self.body, **changes})


class Wire(NamedTuple):
    """What is done with the connection in place of an answer."""

    does: Callable[[socket.socket], None]


Fault = Callable[[Request, Answer], Union[Answer, Wire]]


def behave(_request: Request, answer: Answer) -> Answer:
    return answer


class ScimService:
    """What it has, what it was asked, and how it behaves."""

    def __init__(self, *, page_size: int = 100, config: Resource | None = None, cursors: bool = False) -> None:
        self.users: dict[str, Resource] = {}
        self.groups: dict[str, Resource] = {}
        self.requests: list[Request] = []
        self.fault: Fault = behave
        self.page_size, self.cursors = page_size, cursors
        self.config = config or {"patch": {"supported": True}, "filter": {"supported": True, "maxResults": 200}}
        if cursors:
            self.config["pagination"] = {"cursor": True, "index": False}
        self.given = 0  # ids, of users and groups
        self.url = ""  # where it answers
        self.token = TOKEN
        self._lock = threading.Lock()

    # --- for tests ---

    def user(self, name: str, **more: Any) -> str:
        return self._add(self.users, {"userName": name, "active": True, **more})

    def group(self, name: str, *members: str, **more: Any) -> str:
        return self._add(self.groups, {"displayName": name, "members": [{"value": each} for each in members], **more})

    def members(self, number: str) -> set[str]:
        return {each["value"] for each in self.groups[number].get("members", ())}

    def asked(self, *stages: str) -> list[Request]:
        return [request for request in self.requests if request.stage in stages]

    # --- the service ---

    def _add(self, kind: dict[str, Resource], resource: Resource) -> str:
        self.given += 1
        number = f"{'u' if kind is self.users else 'g'}{self.given:06d}"
        kind[number] = {**resource, "id": number}
        return number

    def answer(self, request: Request) -> Answer | Wire:
        with self._lock:
            self.requests.append(request)
            if request.headers.get("authorization") != "Bearer " + self.token:
                return _error(401, "no such token")
            before = copy.deepcopy((self.users, self.groups))
            answered = self.fault(request, self._right(request))
            if isinstance(answered, Answer) and answered.headers.get("X-Undone"):
                self.users, self.groups = before
            return answered

    def _right(self, request: Request) -> Answer:
        kind, _slash, number = request.path.strip("/").partition("/")
        if kind == "ServiceProviderConfig":
            return Answer(200, self.config)
        there = {"Users": self.users, "Groups": self.groups}.get(kind)
        if there is None:
            return _error(404, "nothing is here")
        if request.method == "POST" and not number:
            return self._created(there, request.body)
        if not number:
            return self._listed(there, request.query)
        if number not in there:
            return _error(404, "nothing is here")
        if request.method == "GET":
            return Answer(200, copy.deepcopy(there[number]))
        if request.method == "DELETE":
            del there[number]
            for group in self.groups.values():
                group["members"] = [each for each in group.get("members", ()) if each["value"] != number]
            return Answer(204)
        if request.method == "PUT":
            there[number] = {**request.body, "id": number}
            return Answer(200, copy.deepcopy(there[number]))
        changed = copy.deepcopy(there[number])
        for operation in request.body["Operations"]:
            _patch(changed, operation)
        taken = self._holder(there, changed)
        if taken not in (None, number):
            return _error(409, "the name is taken", "uniqueness")
        there[number] = changed
        return Answer(200, copy.deepcopy(changed)) if there is self.users else Answer(204)

    def _created(self, there: dict[str, Resource], body: Resource) -> Answer:
        if self._holder(there, body) is not None:
            return _error(409, "the name is taken", "uniqueness")
        number = self._add(there, body)
        return Answer(201, copy.deepcopy(there[number]), {"Location": f"/{number}"})

    def _holder(self, there: dict[str, Resource], resource: Resource) -> str | None:
        attribute = "userName" if there is self.users else "displayName"
        name = resource[attribute].lower()
        return next((number for number, each in there.items() if each[attribute].lower() == name), None)

    def _listed(self, there: dict[str, Resource], query: dict[str, str]) -> Answer:
        found = [copy.deepcopy(each) for _number, each in sorted(there.items())]
        if "filter" in query:
            attribute, _eq, value = query["filter"].split(" ", 2)
            wanted = json.loads(value)
            exact = attribute == "externalId"
            found = [
                each
                for each in found
                if each.get(attribute) == wanted or not exact and each.get(attribute, "").lower() == wanted.lower()
            ]
        count = min(int(query.get("count", self.page_size)), self.page_size)
        start = int(query.get("cursor") or 0) + 1 if self.cursors else int(query.get("startIndex", 1))
        page = found[start - 1 : start - 1 + count]
        body = {"schemas": [LIST], "Resources": page, "itemsPerPage": len(page)}
        if self.cursors:
            return Answer(
                200, {**body, "nextCursor": str(start - 1 + count)} if start - 1 + count < len(found) else body
            )
        return Answer(200, {**body, "totalResults": len(found), "startIndex": start})


def _error(status: int, detail: str, kind: str = "") -> Answer:
    body = {"schemas": [ERROR], "status": str(status), "detail": detail}
    return Answer(status, {**body, "scimType": kind} if kind else body)


def _patch(resource: Resource, operation: Resource) -> None:
    op, path, value = operation["op"], operation["path"], operation.get("value")
    chosen = re.fullmatch(r'(\w+)\[(\w+) eq (".*")\](?:\.(\w+))?', path)
    if chosen:
        name, key, wanted, inner = chosen[1], chosen[2], json.loads(chosen[3]), chosen[4]
        entries = resource.setdefault(name, [])
        if op == "remove":
            resource[name] = [each for each in entries if each.get(key) != wanted]
            return
        for each in entries:
            if each.get(key) == wanted:
                each[inner] = value
        return
    if op == "add" and isinstance(value, list):
        entries = resource.setdefault(path, [])
        entries.extend(each for each in value if each not in entries)
        return
    *above, last = path.split(".")
    for name in above:
        resource = resource.setdefault(name, {})
    if op == "remove":
        resource.pop(last, None)
    else:
        resource[last] = value


# --- over HTTP -------------------------------------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 20

    def _serve(self) -> None:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length", 0))
        text = self.rfile.read(length)
        request = Request(
            self.command,
            unquote(url.path),
            dict(parse_qsl(url.query, keep_blank_values=True)),
            json.loads(text) if text else None,
            {name.lower(): value for name, value in self.headers.items()},
        )
        answered = self.server.service.answer(request)  # type: ignore[attr-defined]
        if isinstance(answered, Wire):
            self.close_connection = True
            with contextlib.suppress(OSError):
                answered.does(self.connection)
            return
        body = answered.body
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(answered.status)
        for name, value in answered.headers.items():
            if not name.startswith("X-"):
                self.send_header(name, value)
        if answered.status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def log_message(self, *_arguments: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    service: ScimService

    def handle_error(self, *_arguments: object) -> None:
        """A client that went away is no error here."""


@contextlib.contextmanager
def serving(service: ScimService, pair: Any = None) -> Iterator[str]:
    """Yield the address; with a certificate and its key (`support.tls`) it is one of TLS."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.service = service
    if pair is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"{'http' if pair is None else 'https'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# --- faults ----------------------------------------------------------------------------------------------------------


def at(stage: str, fault: Fault, first: int = 1, times: int = 1_000_000) -> Fault:
    """A fault at one stage only: from the first request of it on, so many times."""
    seen = 0

    def choose(request: Request, answer: Answer) -> Answer | Wire:
        nonlocal seen
        if request.stage != stage:
            return answer
        seen += 1
        return fault(request, answer) if first <= seen < first + times else answer

    return choose


def in_turn(*faults: Fault) -> Fault:
    """The first request meets the first fault, and so on."""
    left = iter(faults)

    def choose(request: Request, answer: Answer) -> Answer | Wire:
        return next(left)(request, answer)

    return choose


def says(status: int, body: Any = None, done: bool = False, **headers: str) -> Fault:
    """It answers so. What was asked for is done only if `done`."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}

    def fault(_request: Request, answer: Answer) -> Answer:
        return Answer(status, body, given if done else {**given, "X-Undone": "1"})

    return fault


def body_is(**changes: Any) -> Fault:
    """It answers with these in place of what is right."""
    return lambda _request, answer: answer.with_body(**changes)


def hangs_up(_request: Request, _answer: Answer) -> Wire:
    """What was asked for is done, and no answer comes."""
    return Wire(lambda connection: connection.shutdown(socket.SHUT_RDWR))


def hangs_up_within(_request: Request, _answer: Answer) -> Wire:
    def does(connection: socket.socket) -> None:
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"Resources": [')
        connection.shutdown(socket.SHUT_RDWR)

    return Wire(does)


def resets(_request: Request, _answer: Answer) -> Wire:
    def does(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    return Wire(does)


def stalls(_request: Request, _answer: Answer) -> Wire:
    return Wire(lambda connection: time.sleep(1))


def trickles(_request: Request, _answer: Answer) -> Wire:
    """A byte now and then, without end: no single wait takes long."""

    def does(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        for _number in range(100):
            connection.sendall(b"x")
            time.sleep(0.02)

    return Wire(does)


# What has no end of its own takes as long as `timeout`.
SLOW = (stalls, trickles)


def patience(fault: Fault) -> float:
    """The `timeout` for a test with this fault: long, for a machine with much to do, but where it is waited for."""
    return 0.3 if fault in SLOW else 60.0


def sends(text: bytes) -> Fault:
    return lambda _request, _answer: Wire(lambda connection: connection.sendall(text))
