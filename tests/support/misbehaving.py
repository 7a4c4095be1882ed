# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An LDAP server that misbehaves on purpose, over real TCP and TLS, and remembers what it was sent.

It answers bind, unbind, search and StartTLS, and nothing else: whoever sends it anything else, a write above all, fails
the test. sansldap reads the requests; `tree` is what it serves.

A *fault* is a function that takes the place of sending an answer::

    def fault(line: Line, request: Request, answer: list[bytes]) -> None

`answer` is what a well-behaved server would send, one encoded message after the other, the result last. The functions
at the end of this file are the faults that servers and networks are known for. `MisbehavingDirectory.fail` says at
which request one begins.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import sansldap

from . import messages
from .process import ClosedAtExit
from .tls import CertificateAuthority, KeyPair
from .tree import Tree, select

# Odd on purpose: Ansible masks a password wherever it appears in a result.
LOGIN, PASSWORD = "CORP\\SVC-SYNC", "Quartz-5-lantern-Wd28"

_SHOW_DELETED = ("1.2.840.113556.1.4.417", "1.2.840.113556.1.4.2064")  # MS-ADTS 3.1.1.3.4.1.14 and .26
_AT_MOST = 20.0  # seconds that anything here may wait: a test that hangs must end


class Request(NamedTuple):
    """What a client sent."""

    kind: str  # 'bind', 'unbind', 'search', 'start_tls', or 'other': what must not come
    connection: int  # the number of the connection it came by, from 1 on
    encrypted: bool
    login: str = ""
    password: str = ""
    base: str = ""
    scope: int = 0
    filter: str = ""
    attributes: tuple[str, ...] = ()
    page_size: int | None = None  # None: not paged
    cookie: bytes = b""
    shows_deleted: bool = False  # whether it asks for deleted entries, too
    text: str = ""  # of what must not come
    message_id: int = 0


class Line:
    """One connection, as a fault sees it."""

    def __init__(self, connected: socket.socket, number: int, stopped: threading.Event) -> None:
        self.socket, self.number, self._stopped = connected, number, stopped
        connected.settimeout(_AT_MOST)

    @property
    def encrypted(self) -> bool:
        return isinstance(self.socket, ssl.SSLSocket)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def wait(self, seconds: float = _AT_MOST) -> None:
        """Send nothing for a while. :raises ConnectionError: when the server is closed meanwhile."""
        if self._stopped.wait(min(seconds, _AT_MOST)):
            raise ConnectionError("the server was stopped")

    def end(self) -> None:
        """Let go of the socket."""
        self.socket.close()

    def close(self) -> None:
        """Hang up, without a word."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)
        raise ConnectionError("closed on purpose")


Fault = Callable[[Line, Request, "list[bytes]"], None]


class _Rule(NamedTuple):
    """Which requests a fault takes: of those that fit on one connection, the `first` one and so on, `times` of them."""

    fits: Callable[[Request], bool]
    fault: Fault
    first: int
    times: float
    seen: Counter[int]  # by connection


class MisbehavingDirectory(ClosedAtExit):
    """One server on a plain and on a TLS port of the loopback interface, as a context manager.

    :param tree: what it serves; tests may change it at any time.
    :param logins: password by login; who binds with anything else is refused.
    :param certificate: what TLS presents, one for localhost, 127.0.0.1 and ::1 of `ca` when left out.
    :param max_page: AD's MaxPageSize: a page has no more entries, and a search without pages neither.
    :param max_values: AD's MaxValRange: see `tree.select`.
    :param size_limit: entries that one search may return in all its pages, as OpenLDAP counts them (size.prtotal).
    :param paging: what becomes of a paged results control: it is 'obeyed', or 'ignored' as by a server that knows none,
        or the search is refused with this result code.
    """

    def __init__(
        self,
        tree: Tree,
        *,
        ca: CertificateAuthority | None = None,
        certificate: KeyPair | None = None,
        logins: dict[str, str] | None = None,
        max_page: int | None = None,
        max_values: int | None = None,
        size_limit: int | None = None,
        paging: str | int = "obeyed",
    ) -> None:
        self.paging = paging
        self.tree, self.logins = tree, {LOGIN: PASSWORD} if logins is None else logins
        self.max_page, self.max_values, self.size_limit = max_page, max_values, size_limit
        self.received: list[Request] = []
        self.connections = 0  # also those by which nothing came
        self._context: ssl.SSLContext | None = None
        if ca or certificate:
            self.present(certificate or ca.issue("server"))
        self._rules: list[_Rule] = []
        self._pages: dict[bytes, tuple[tuple, int]] = {}  # cookie -> the last place sent, how many were sent
        self._found: tuple[Any, list] = (None, [])  # the last search and what it found: pages ask for it again
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _port in range(2)]
        self.port, self.tls_port = (listener.getsockname()[1] for listener in self._listeners)
        self.ldap_url, self.ldaps_url = "ldap://127.0.0.1:%d" % self.port, "ldaps://127.0.0.1:%d" % self.tls_port

    def in_clear(self) -> dict[str, Any]:
        """Options of a run that reads it without encryption, as the first who may bind."""
        login, password = next(iter(self.logins.items()))
        return {"server": [self.ldap_url], "encryption": "none", "login": login, "password": password}

    def start(self) -> None:
        for listener, tls in zip(self._listeners, (False, True)):
            self._begin(self._listen, listener, tls)

    def close(self) -> None:
        """Hang up on everybody. :raises AssertionError: when anything came but bind, search, StartTLS and unbind."""
        self._stopped.set()
        with self._lock:
            sockets = self._listeners + self._sockets
        for each in sockets:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(_AT_MOST)
        assert not self.of_kind("other"), "it was asked for more than reading: %s" % self.of_kind("other")

    def present(
        self,
        certificate: KeyPair,
        demands: CertificateAuthority | None = None,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> None:
        """Have TLS present this certificate from now on, and demand one of that authority from whoever connects."""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.maximum_version = version
        self._context.load_cert_chain(certificate.cert, certificate.key)
        if demands:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(demands.cert)

    # --- what a test says and asks

    def fail(self, fits: Callable[[Request], bool], fault: Fault, first: int = 1, times: float = float("inf")) -> None:
        """Answer with `fault` from the `first` request of a connection on that `fits`, `times` times on each."""
        self._rules.append(_Rule(fits, fault, first, times, Counter()))

    def behave(self) -> None:
        """Forget all faults, and what was received."""
        self._rules.clear()
        with self._lock:
            self.received.clear()
            self.connections = 0

    def of_kind(self, kind: str) -> list[Request]:
        """What was received of this kind, in its order."""
        return [request for request in self.received if request.kind == kind]

    # --- connections

    def _begin(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self, listener: socket.socket, tls: bool) -> None:
        while True:
            try:
                connected = listener.accept()[0]
            except OSError:
                return
            with self._lock:
                self._sockets.append(connected)
                self.connections += 1
                number = self.connections
            self._begin(self._serve, Line(connected, number, self._stopped), tls)

    def _serve(self, line: Line, tls: bool) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(line.end)
            if tls:
                self._encrypt(line)
            bound = False
            for message in _messages(line):
                request = self._record(_request(message, line))
                answer = self._answer(request, bound)
                if not answer:
                    return
                (self._fault_for(request) or behave)(line, request, answer)
                if request.kind == "bind":
                    bound = not self._refuses(request)
                elif request.kind == "start_tls":
                    self._encrypt(line)

    def _encrypt(self, line: Line) -> None:
        line.socket = self._context.wrap_socket(line.socket, server_side=True)
        with self._lock:
            self._sockets.append(line.socket)

    def _record(self, request: Request) -> Request:
        with self._lock:
            self.received.append(request)
        return request

    def _fault_for(self, request: Request) -> Fault | None:
        for rule in self._rules:
            if rule.fits(request):
                rule.seen[request.connection] += 1
                if rule.first <= rule.seen[request.connection] < rule.first + rule.times:
                    return rule.fault
        return None

    # --- answers

    def _answer(self, request: Request, bound: bool) -> list[bytes]:
        """What a server that behaves well would send."""
        if request.kind == "bind":
            return [bind_result(request, *(_WRONG_LOGIN if self._refuses(request) else (0, "")))]
        if request.kind == "start_tls":
            return [start_tls_result(request, 0)]
        if request.kind != "search":
            return []
        if not request.base and request.scope == 0:
            return [
                _encoded_entry(request, "", select(self.tree.root_dse, list(request.attributes))),
                search_result(request, 0),
            ]
        if not bound:
            return [search_result(request, 1, "a successful bind must be completed on the connection")]
        if request.page_size is not None and isinstance(self.paging, int):
            return [search_result(request, self.paging, "no pages")]
        try:
            return self._search(request._replace(page_size=None) if self.paging == "ignored" else request)
        except KeyError:
            return [search_result(request, 32)]

    def _refuses(self, request: Request) -> bool:
        return bool(request.login) and self.logins.get(request.login) != request.password

    def _search(self, request: Request) -> list[bytes]:
        start, sent = self._pages.get(request.cookie, ((), 0)) if request.cookie else ((), 0)
        found = self._find(request)
        if start:
            found = [each for each in found if each[0] > start]
        page = found if request.page_size is None else found[: request.page_size]
        if self.max_page is not None:
            page = page[: self.max_page]
        if self.size_limit is not None and sent + len(page) > self.size_limit:
            return [*self._encoded(request, page[: self.size_limit - sent]), search_result(request, 4)]
        more = len(page) < len(found)
        if request.page_size is None:
            return [*self._encoded(request, page), search_result(request, 4 if more else 0)]
        cookie = b""
        if more:
            cookie = b"page %d" % (len(self._pages) + 1)
            self._pages[cookie] = page[-1][0], sent + len(page)
        return [*self._encoded(request, page), search_result(request, 0, cookie=cookie)]

    def _find(self, request: Request) -> list:
        """All that match; kept for the next page, unless the tree has changed."""
        question = (self.tree.version, request.base, request.scope, request.filter, request.shows_deleted)
        if self._found[0] != question:
            test = sansldap.LDAPFilter.from_string(request.filter)
            self._found = question, self.tree.find(request.base, request.scope, test, request.shows_deleted)
        return self._found[1]

    def _encoded(self, request: Request, found: Sequence) -> list[bytes]:
        return [
            _encoded_entry(request, dn, select(entry, list(request.attributes), self.max_values))
            for _place, dn, entry in found
        ]


# --- requests and results --------------------------------------------------------------------------------------------

_WRONG_LOGIN = (49, "80090308: LdapErr: DSID-0C09050F, comment: AcceptSecurityContext error, data 52e, v4563\0")


def _messages(line: Line) -> Iterator[bytes]:
    """The messages that come, each whole."""
    data = b""
    while True:
        if len(data) >= 6:
            octets = data[1] - 128 if data[1] > 127 else 0
            end = 2 + octets + (int.from_bytes(data[2 : 2 + octets], "big") if octets else data[1])
            if len(data) >= end:
                yield data[:end]
                data = data[end:]
                continue
        more = line.socket.recv(65536)
        if not more:
            return
        data += more


def _request(data: bytes, line: Line) -> Request:
    """What a message asks for. A session of its own for each, since the answers do not go through one."""
    common: dict[str, Any] = {"connection": line.number, "encrypted": line.encrypted}
    try:
        message = sansldap.LDAPServer().receive(data)[0]
    except sansldap.ProtocolError as error:
        unbind = isinstance(error.request, sansldap.UnbindRequest)
        return Request("unbind", **common) if unbind else Request("other", text=str(error), **common)
    common["message_id"] = message.message_id
    if isinstance(message, sansldap.BindRequest):
        return Request("bind", login=message.name, password=getattr(message.authentication, "password", ""), **common)
    if isinstance(message, sansldap.ExtendedRequest) and message.name == messages.START_TLS:
        return Request("start_tls", **common)
    if isinstance(message, sansldap.SearchRequest):
        paged = [control for control in message.controls if isinstance(control, sansldap.PagedResultControl)]
        return Request(
            "search",
            base=message.base_object,
            scope=int(message.scope),
            filter=str(message.filter),
            attributes=tuple(message.attributes),
            page_size=paged[0].size if paged else None,
            cookie=paged[0].cookie if paged else b"",
            shows_deleted=any(control.control_type in _SHOW_DELETED for control in message.controls),
            **common,
        )
    return Request("other", text=repr(message), **common)


def _encoded_entry(request: Request, dn: str, attributes: list[tuple[str, list[bytes]]]) -> bytes:
    return messages.message(
        request.message_id,
        messages.entry(dn.encode("utf-8", "surrogateescape"), attributes),  # not all is UTF-8
    )


def bind_result(request: Request, code: int, message: str = "", referrals: Sequence[str] = ()) -> bytes:
    return messages.message(request.message_id, messages.result(messages.BIND, code, message, referrals))


def start_tls_result(request: Request, code: int, message: str = "", referrals: Sequence[str] = ()) -> bytes:
    operation = messages.result(messages.EXTENDED, code, message, referrals, messages.START_TLS)
    return messages.message(request.message_id, operation)


def search_result(
    request: Request, code: int, message: str = "", referrals: Sequence[str] = (), cookie: bytes | None = b""
) -> bytes:
    """A SearchResultDone; for a paged search with a paged results control, unless `cookie` is None."""
    operation = messages.result(messages.SEARCH, code, message, referrals)
    if request.page_size is not None and cookie is not None and code == 0:
        operation = messages.with_cookie(operation, cookie)
    return messages.message(request.message_id, operation)


def _result_for(request: Request, *arguments: Any) -> bytes:
    return {"bind": bind_result, "start_tls": start_tls_result}.get(request.kind, search_result)(request, *arguments)


# --- the faults ------------------------------------------------------------------------------------------------------


def behave(line: Line, request: Request, answer: list[bytes]) -> None:
    """No fault."""
    line.send(b"".join(answer))


def ends_with(code: int, message: str = "", referrals: Sequence[str] = ()) -> Fault:
    """Send half of what was found, and then a result code other than success: a limit, a lost right, a referral."""

    def fault(line: Line, request: Request, answer: list[bytes]) -> None:
        line.send(b"".join(answer[: len(answer) // 2]) + _result_for(request, code, message, referrals))

    return fault


def finds_nothing(line: Line, request: Request, answer: list[bytes]) -> None:
    """Success, as if nothing (more) had been found: no protocol tells this from the truth."""
    line.send(search_result(request, 0))


def hangs_up(line: Line, request: Request, answer: list[bytes]) -> None:
    """Close the connection after half of the messages, where that is between two of them."""
    line.send(b"".join(answer[: len(answer) // 2]))
    line.close()


def hangs_up_within_a_message(line: Line, request: Request, answer: list[bytes]) -> None:
    """Close the connection in the middle of the last message but one."""
    data = b"".join(answer)
    line.send(data[: -len(answer[-1]) - 3] if len(answer) > 1 else data[:-3])
    line.close()


def resets(line: Line, request: Request, answer: list[bytes]) -> None:
    """Break the connection so that the other side sees an error instead of an end."""
    line.send(b"".join(answer[: len(answer) // 2]))
    line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    raw = line.socket.detach()
    socket.close(raw)
    raise ConnectionError("reset on purpose")


def says_goodbye(line: Line, request: Request, answer: list[bytes]) -> None:
    """A Notice of Disconnection (RFC 4511, 4.4.1) among the entries."""
    line.send(b"".join(answer[: len(answer) // 2]) + messages.disconnection(52, "going down"))
    line.close()


def stalls(line: Line, request: Request, answer: list[bytes]) -> None:
    """Send half, and then nothing for ever, with the connection open."""
    line.send(b"".join(answer)[:-9])
    line.wait()


def trickles(seconds: float) -> Fault:
    """Send a byte, wait, and send the next one."""

    def fault(line: Line, request: Request, answer: list[bytes]) -> None:
        until = time.monotonic() + _AT_MOST
        for octet in b"".join(answer):
            line.send(bytes((octet,)))
            line.wait(seconds)
            if time.monotonic() > until:
                line.close()

    return fault


def sends_instead(data: bytes) -> Fault:
    """Send these bytes after half of the messages, and wait for what the other side makes of them."""

    def fault(line: Line, request: Request, answer: list[bytes]) -> None:
        line.send(b"".join(answer[: len(answer) // 2]) + data)
        line.wait()

    return fault


def breaks_the_encoding(line: Line, request: Request, answer: list[bytes]) -> None:
    """A message whose outer length is right, and whose inner ones are not."""
    broken = bytearray(answer[0])
    at = broken.index(b"\x04", 8)  # the first OCTET STRING: a DN, or the text of a result
    broken[at + 1] = 0x7F
    line.send(bytes(broken) + b"".join(answer[1:]))
    line.wait()


def sends_without_end(line: Line, request: Request, answer: list[bytes]) -> None:
    """Send entries for ever, and never a result."""
    until = time.monotonic() + _AT_MOST
    while time.monotonic() < until:
        line.send(_encoded_entry(request, "CN=again", []) * 100)


def repeats_its_cookie(empty: bool) -> Fault:
    """Answer each page with success and one cookie: with the same entries again, or with none."""

    def fault(line: Line, request: Request, answer: list[bytes]) -> None:
        line.send(b"".join([] if empty else answer[:-1]) + search_result(request, 0, cookie=b"again"))

    return fault


def pages_without_end(empty: bool) -> Fault:
    """Answer each page with success and a cookie that is new: with entries that are new, too, or with none."""
    count = itertools.count()

    def fault(line: Line, request: Request, answer: list[bytes]) -> None:
        number = next(count)
        entry = [("objectGUID", [b"%016d" % number]), ("userAccountControl", [b"512"])]
        entries = [] if empty else [_encoded_entry(request, "CN=page %d" % number, entry)]
        line.send(b"".join([*entries, search_result(request, 0, cookie=b"more %d" % number)]))

    return fault


def loses_the_control(line: Line, request: Request, answer: list[bytes]) -> None:
    """Success, and nothing that says whether there are more pages."""
    line.send(b"".join(answer[:-1]) + search_result(request, 0, cookie=None))


def sends_references(*urls: str) -> Fault:
    """Search references before, among and after the entries."""

    def fault(line: Line, request: Request, answer: list[bytes]) -> None:
        reference = messages.message(request.message_id, messages.reference(*urls))
        line.send(reference + b"".join(message + reference for message in answer[:-1]) + answer[-1])

    return fault


def sends_twice(line: Line, request: Request, answer: list[bytes]) -> None:
    """Each entry two times."""
    line.send(b"".join(message * 2 for message in answer[:-1]) + answer[-1])


def answers_another_request(line: Line, request: Request, answer: list[bytes]) -> None:
    """The answer to a request that nobody made."""
    line.send(search_result(request._replace(message_id=request.message_id + 7), 0))
    line.wait()


def changes(change: Callable[[], None]) -> Fault:
    """Answer well, and change the tree right after that."""

    def fault(line: Line, request: Request, answer: list[bytes]) -> None:
        change()
        line.send(b"".join(answer))

    return fault
