# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Requests to one service: JSON over one connection that is kept, and nothing to any other host.

A request that may be repeated is repeated if its answer is lost. Any other one is not: whether it was carried out is
unknown then (:class:`AnswerLost`). What a service refuses for now, by 429, or by 503 with Retry-After (RFC 9110,
10.2.3), it has not carried out: that is tried again, whatever it is. A redirect is never followed.
"""

from __future__ import annotations

import base64
import http.client
import io
import ipaddress
import json
import random
import re
import select
import socket
import ssl
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, quote, quote_plus, unquote, urlencode, urlsplit

from .. import _tls
from .._errors import quoted
from .._named_tuple import NamedTuple
from . import chunks
from .contract import DestinationError, LimitReached

LARGEST_ANSWER = 64 * 1024 * 1024  # bytes
_TRIES = 4  # of a request that may be repeated, and of one that the service puts off
_LONGEST_WAIT = 300.0  # seconds: who is put off for longer ends
_FIRST_WAIT = 1.0  # seconds, where the service does not say how long; twice as long each time
OURS = "(a secret of ours)"  # in place of what a service has from us
_MINUTE = 60.0  # seconds
_HIDDEN = "********"
_ESCAPED = re.compile("%[0-9A-F]{2}")
_SHORTEST_TOLD = 8  # characters: a secret that is shorter is found in anything

Json = Any  # what json.loads makes of an answer


class AnswerLost(DestinationError):
    """The request was sent, or a part of it, and no answer came: it may have been carried out or not."""


class NoAnswer(DestinationError):
    """What came is none that can be used: no JSON, too much, a redirect. The request may have been carried out."""


class NotSent(DestinationError):
    """The service cannot be reached: the request was not sent."""


class PutOff(DestinationError):
    """The service does not want to be asked now, and has not carried out the request."""

    def __init__(self, text: str, seconds: float) -> None:
        super().__init__(text)
        self.seconds = seconds  # how long it asks to wait


class Settings(NamedTuple):
    """How a service is reached: the options of these names."""

    url: str
    token: str | None = None
    username: str | None = None
    password: str | None = None
    validate_certs: bool = True
    ca_path: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    timeout: float = 30.0  # seconds for one request
    request_limit: int | None = None
    time_limit: float | None = None  # seconds
    user_agent: str = "usersync.directory"  # GitHub demands one
    writes_per_minute: int | None = None  # None: as many as come
    # What a service says in an answer of 500 if it wants to be asked later; empty: it does not.
    later_in_500: str = ""


class Answer(NamedTuple):
    """What a service answered."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    data: Json  # None if there is no body


class Requests(NamedTuple):
    """What was asked of the service."""

    sent: int
    retried: int
    waited: float  # seconds


class Time(NamedTuple):
    """What the client needs of time and chance; tests have their own."""

    now: Callable[[], float] = time.monotonic
    clock: Callable[[], float] = time.time  # for a date in Retry-After
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random  # 0 to 1


class Client:
    """One service. Leave it by `close`."""

    def __init__(self, settings: Settings, times: Time | None = None) -> None:
        self._settings, self._time = settings, times or Time()
        self._url = _checked(settings)
        self._proxy = _proxy_for(self._url)
        try:
            self._context = _tls.make_context(settings) if self._url.scheme == "https" else None
        except _tls.UnusableFile as error:
            raise DestinationError(str(error)) from None
        self._secrets = _secrets(settings, self._proxy)
        self._told = [secret for secret in self._secrets if len(secret) >= _SHORTEST_TOLD]
        self._connection: http.client.HTTPConnection | None = None
        self._deadline = _Deadline(self._time.now)
        self._began = self._time.now()
        self._was_connected = False
        self._count = self._retried = 0
        self.writes_unanswered = 0  # tries that may have been carried out
        self._writes: deque[float] = deque(maxlen=settings.writes_per_minute)  # when the last ones were sent
        self._waited = 0.0

    @property
    def requests(self) -> Requests:
        """What was asked so far."""
        return Requests(self._count, self._retried, self._waited)

    def close(self) -> None:
        """Leave the service."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Json = None,
        *,
        repeatable: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request, again if need be, and return the answer, whatever its status: but for 401, 407, redirects.

        ``path`` is below `url` and encoded. Raises AnswerLost, NoAnswer, NotSent, PutOff, LimitReached, or another
        DestinationError if the service cannot be used at all.
        """
        for attempt in range(1, _TRIES + 1):
            last = attempt == _TRIES
            try:
                answer = self._send(method, path, query, body, headers or {}, repeatable)
                seconds = self._put_off(answer, repeatable)
                self.writes_unanswered += method != "GET" and answer.status in (502, 504)
            except (AnswerLost, NotSent) as error:
                self.writes_unanswered += method != "GET" and isinstance(error, AnswerLost)
                once = not repeatable if isinstance(error, AnswerLost) else not self._was_connected
                if last or once:
                    raise
                seconds = 0.0
            else:
                if seconds is None:
                    return self._usable(answer)
                if last or seconds > _LONGEST_WAIT or not self._has_time_for(seconds):
                    raise self._gives_up(answer, seconds)
            self._retried += 1
            self._wait(seconds or _FIRST_WAIT * 2 ** (attempt - 1))
        raise AssertionError("the last try returns or raises")

    # --- one request ---

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Json,
        headers: Mapping[str, str],
        repeatable: bool,
    ) -> Answer:
        if method != "GET":
            self._keep_pace()
        self._spend()
        self._deadline.begin(self._settings.timeout)
        target = self._url.path.rstrip("/") + path + ("?" + urlencode(query) if query else "")
        data = None if body is None else json.dumps(body, ensure_ascii=True).encode("ascii")
        connection = self._connected()
        try:
            if connection.sock is not None:
                connection.sock.settimeout(self._settings.timeout)
            connection.request(method, target, data, {**self._headers(data is not None), **headers})
            with connection.getresponse() as response:
                said = {name.lower(): self._without_secrets(text) for name, text in response.headers.items()}
                answer = Answer(response.status, said, self._read(response))
                if response.will_close:
                    self.close()
            return answer
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise AnswerLost(
                "url: %s gave no answer to %s (%s): check the way to the service, or raise timeout"
                % (self._host, method, self._hidden(_why(error, self._settings.timeout)))
            ) from None
        except BaseException:
            self.close()
            raise

    def _headers(self, has_body: bool) -> dict[str, str]:
        settings = self._settings
        headers = {
            "Accept": "application/scim+json, application/json",
            "Accept-Encoding": "identity",
            "User-Agent": settings.user_agent,
        }
        if has_body:
            headers["Content-Type"] = "application/scim+json"
        if settings.token:
            headers["Authorization"] = "Bearer " + settings.token
        elif settings.username:
            headers["Authorization"] = _basic(settings.username, settings.password or "")
        return headers

    def _read(self, response: http.client.HTTPResponse) -> Json:
        is_chunked = response.chunked and response.length != 0
        text = chunks.read(response.fp, LARGEST_ANSWER) if is_chunked else response.read(LARGEST_ANSWER + 1)
        if len(text) > LARGEST_ANSWER:
            raise NoAnswer(
                "url: an answer of %s has more than %d MiB: that is no service that can be used"
                % (self._host, LARGEST_ANSWER // 2**20)
            )
        if response.length:  # it announced more than came
            raise http.client.IncompleteRead(text, response.length)
        if not text.strip():
            return None
        try:
            data = json.loads(text)
            # Half of a surrogate pair is no character: no store keeps it, and no path can have it.
            plain = json.dumps(data, ensure_ascii=False)
            plain.encode("utf-8")
            # Ids and names are kept and shown. Of what is no success, only what `said` returns is told.
            if 200 <= response.status < 300 and any(_in_json(secret) in plain for secret in self._told):
                return self._without_secrets(data)
            return data
        except (ValueError, RecursionError):
            if 200 <= response.status < 300:
                raise NoAnswer(
                    "url: %s answers with something else than JSON: check that url is that of its SCIM service"
                    % self._host
                ) from None
            return None

    def _without_secrets(self, said: Json) -> Json:
        """Return what a service says without what it has from us."""
        if isinstance(said, str):
            for secret in self._told:
                said = said.replace(secret, OURS)
            return said
        if isinstance(said, dict):
            return {self._without_secrets(name): self._without_secrets(value) for name, value in said.items()}
        return [self._without_secrets(each) for each in said] if isinstance(said, list) else said

    def _usable(self, answer: Answer) -> Answer:
        """Return the answer, unless it says that there is no use in going on."""
        if 300 <= answer.status < 400:
            where = quoted(self._hidden(answer.headers.get("location", "another address")))
            raise NoAnswer(
                "url: %s answers with a redirect, to %s, which is not followed: give the address itself if that is the "
                "right one" % (self._host, where)
            )
        if answer.status in (401, 407):
            option = "token" if self._settings.token or not self._settings.username else "password"
            if answer.status == 407:
                option = "url: the proxy before"
            raise DestinationError(
                "%s: %s refuses it (%s): give one that is valid" % (option, self._host, self.said(answer))
            )
        return answer

    # --- the connection ---

    @property
    def _host(self) -> str:
        return "'%s'" % self._url.netloc

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is not None and not _was_closed(self._connection):
            return self._connection
        self.close()
        connection = self._new_connection()
        try:
            connection.connect()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._unreachable(error) from None
        if connection.sock is not None:
            # Each request is one packet more than Nagle's algorithm would wait for.
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection, self._was_connected = connection, True
        return connection

    def _new_connection(self) -> http.client.HTTPConnection:
        at = self._proxy or self._url
        host, timeout = at.hostname or "", self._settings.timeout
        port = at.port or (443 if at.scheme == "https" else 80)
        if self._context is None:
            connection = http.client.HTTPConnection(host, port, timeout=timeout)
        else:
            connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=self._context)
        if self._proxy is not None and self._context is not None:
            connection.set_tunnel(self._url.hostname or "", self._url.port or 443, _proxy_login(self._proxy))
        deadline = self._deadline

        class Response(http.client.HTTPResponse):
            def __init__(self, sock: Any, *args: Any, **named: Any) -> None:
                super().__init__(_InTime(sock, deadline), *args, **named)  # type: ignore[arg-type]

        connection.response_class = Response
        return connection

    def _unreachable(self, error: Exception) -> DestinationError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return DestinationError(_why_not_trusted(self._host, error))
        return NotSent(
            "url: %s cannot be reached (%s): correct url, or check the way to the service"
            % (self._host, self._hidden(_why(error, self._settings.timeout)))
        )

    # --- waiting, and limits ---

    def _spend(self) -> None:
        limit = self._settings.request_limit
        if limit is not None and self._count >= limit:
            raise LimitReached("request_limit: %d requests were sent: run again to go on" % limit)
        if not self._has_time_for(0):
            raise LimitReached("time_limit: %g seconds are over: run again to go on" % (self._settings.time_limit or 0))
        self._count += 1

    def _keep_pace(self) -> None:
        """Wait until fewer writes than the service lets through were sent within the last minute."""
        if self._settings.writes_per_minute is None:
            return
        if len(self._writes) == self._writes.maxlen:
            seconds = self._writes[0] + _MINUTE - self._time.now()
            if seconds > 0:
                self._wait(seconds)
        self._writes.append(self._time.now())

    def _has_time_for(self, seconds: float) -> bool:
        limit = self._settings.time_limit
        return limit is None or self._time.now() - self._began + seconds < limit

    def _put_off(self, answer: Answer, repeatable: bool) -> float | None:
        """Return for how many seconds a request is put off, 0 if that is not said; None if it is answered."""
        said = answer.headers.get("retry-after", "")
        later = self._settings.later_in_500
        if answer.status == 429 or answer.status == 503 and (said or repeatable):
            return self._seconds(said)
        if answer.status == 500 and later and later in json.dumps(answer.data):
            return self._seconds(said)
        if answer.status in (500, 502, 503, 504):
            if repeatable and answer.status != 500:
                return 0.0
            if answer.status != 500:  # a proxy lost the answer, or never sent the request
                raise AnswerLost("url: %s gave no answer (%s)" % (self._host, self.said(answer)))
        return None

    def _gives_up(self, answer: Answer, seconds: float) -> DestinationError:
        if answer.status in (502, 504):  # a proxy waited for this answer; others may come
            return AnswerLost("url: %s gave no answer (%s)" % (self._host, self.said(answer)))
        return PutOff(
            "url: %s wants to be asked later (%s): run again in %d seconds"
            % (self._host, self.said(answer), seconds + 1),
            seconds,
        )

    def _seconds(self, said: str) -> float:
        """Return what Retry-After says: seconds, or a date. 0 if it is neither."""
        if said.isascii() and said.strip().isdigit():
            return float(said.strip()[:9])
        try:
            return max(parsedate_to_datetime(said).timestamp() - self._time.clock(), 0.0)
        except (TypeError, ValueError, IndexError, OverflowError):
            return 0.0

    def _wait(self, seconds: float) -> None:
        # Longer than asked, never shorter: others were told the same.
        seconds *= 1 + 0.25 * self._time.chance()
        if not self._has_time_for(seconds):
            raise LimitReached("time_limit: %g seconds are over: run again to go on" % (self._settings.time_limit or 0))
        self._time.sleep(seconds)
        self._waited += seconds

    # --- what is told ---

    def said(self, answer: Answer) -> str:
        """Return what the service said of what it did not do, without our secrets: '409 Conflict: taken'."""
        text = "%d %s" % (answer.status, http.client.responses.get(answer.status, ""))
        detail = answer.data.get("detail") if isinstance(answer.data, dict) else None
        if isinstance(detail, str) and detail:
            text = "%s: %s" % (text.strip(), quoted(self._hidden(detail)))  # what is cut cannot be hidden any more
        return self._hidden(text.strip())

    def _hidden(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text


# --- time for one request --------------------------------------------------------------------------------------------


class _Deadline:
    """Until when the answer to one request is to be there, however slowly it trickles."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._at = now, 0.0

    def begin(self, seconds: float) -> None:
        self._at = self._now() + seconds

    def left(self) -> float:
        """Return the seconds that are left. Raises TimeoutError if there are none."""
        left = self._at - self._now()
        if left <= 0:
            raise socket.timeout("timed out")
        return left


class _InTime:
    """A socket as HTTPResponse takes it, with a time by which all is to be read."""

    def __init__(self, sock: Any, deadline: _Deadline) -> None:
        self._sock, self._deadline = sock, deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reading(self._sock, self._deadline))


class _Reading(io.RawIOBase):
    def __init__(self, sock: Any, deadline: _Deadline) -> None:
        super().__init__()
        # A file of the socket: http.client closes the socket itself before it reads an answer that ends with it.
        self._sock, self._file, self._deadline = sock, sock.makefile("rb", buffering=0), deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._deadline.left())
        return int(self._file.readinto(buffer))

    def close(self) -> None:
        self._file.close()
        super().close()


def _was_closed(connection: http.client.HTTPConnection) -> bool:
    """Tell whether the service closed the connection meanwhile: then nothing is sent into it that could get lost."""
    if connection.sock is None:
        return True
    waiting = select.poll()
    waiting.register(connection.sock, select.POLLIN)
    return bool(waiting.poll(0))


# --- settings --------------------------------------------------------------------------------------------------------

_SENDABLE = re.compile(r"[^\s\x00-\x20\x7f/]*(/[!-~]*)?")  # a host in letters of its own, a path in those of an address


def _checked(settings: Settings) -> SplitResult:
    """Return the parts of `url`. Raises DestinationError."""
    try:
        url = urlsplit(settings.url)
        _port = url.port
        (url.hostname or "").encode("idna")  # as a connection does it: no label is empty, or has more than 63 letters
        if not _SENDABLE.fullmatch(url.netloc + url.path):
            raise ValueError(url)
    except ValueError:
        raise DestinationError("url: '%s' is none: write https://HOST/PATH" % _without_login(settings.url)) from None
    if url.scheme not in ("https", "http") or not url.hostname or url.query or url.fragment:
        raise DestinationError(
            "url: '%s' is not the address of a service: write https://HOST/PATH" % _without_login(settings.url)
        )
    if url.username is not None or url.password is not None:
        raise DestinationError("url: no login may stand in it: give token, or username and password")
    if url.scheme == "http" and not _is_loopback(url.hostname):
        raise DestinationError(
            "url: with http:// everybody on the way can read the secrets: write https://%s" % url.netloc
        )
    for option, value in (("token", settings.token), ("username", settings.username), ("password", settings.password)):
        if value and not (value.isprintable() and (option != "token" or value.isascii())):
            raise DestinationError("%s: it has a character that cannot be sent, such as the end of a line" % option)
    return url


def _is_loopback(host: str) -> bool:
    """Whether this is this computer itself: localhost (RFC 6761, 6.3), or an address such as 127.0.0.1 or ::1."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def _without_login(url: str) -> str:
    scheme, separator, rest = url.rpartition("@")
    return url if not separator else "%s@%s" % (scheme.partition("//")[0] + "//" + _HIDDEN, rest)


def _proxy_for(url: SplitResult) -> SplitResult | None:
    """Return the proxy that the environment names for this host (https_proxy, no_proxy)."""
    named = urllib.request.getproxies().get(url.scheme)
    # http:// is for the loopback interface: over a proxy the secrets would go to another host, and could be read.
    if not named or url.scheme == "http" or urllib.request.proxy_bypass(url.netloc):
        return None
    try:
        proxy = urlsplit(named if "://" in named else "http://" + named)
        _port = proxy.port
        (proxy.hostname or "").encode("idna")
        if proxy.scheme == "http" and proxy.hostname:
            return proxy
    except ValueError:  # whose text has a part of what is written, perhaps of a password
        pass
    raise DestinationError(
        "url: the proxy that %s_proxy names in the environment cannot be used: write http://HOST:PORT" % url.scheme
    )


def _proxy_login(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    return {"Proxy-Authorization": _basic(unquote(proxy.username), unquote(proxy.password or ""))}


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(("%s:%s" % (username, password)).encode("utf-8")).decode("ascii")


def _in_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _secrets(settings: Settings, proxy: SplitResult | None) -> list[str]:
    """Return what may never be told, the longest first."""
    found = {each for each in (settings.token, settings.password) if each}
    if proxy is not None and proxy.password:
        found |= {proxy.password, unquote(proxy.password)}
        found |= {login.partition(" ")[2] for login in _proxy_login(proxy).values()}
    if settings.username and settings.password:
        found.add(_basic(settings.username, settings.password).partition(" ")[2])
    return sorted(found.union(*map(_in_addresses, found)), key=len, reverse=True)


def _in_addresses(secret: str) -> set[str]:
    """Return how a secret is written in an address, such as that of a redirect (RFC 3986, 2.1)."""
    escaped = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    return escaped | {_ESCAPED.sub(lambda found: found[0].lower(), each) for each in escaped}


# --- errors ----------------------------------------------------------------------------------------------------------


def _why(error: Exception, timeout: float) -> str:
    if isinstance(error, socket.timeout):
        return "nothing came within %g seconds" % timeout
    if isinstance(error, http.client.IncompleteRead):
        return "the answer was cut off"
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or error.__class__.__name__
    return quoted(text)


def _why_not_trusted(host: str, error: ssl.SSLCertVerificationError) -> str:
    code = error.verify_code
    if code in _tls.FOR_ANOTHER_NAME:
        return "url: the certificate of %s is for another name: write the name that is in it" % host
    if code in _tls.UNKNOWN_ISSUER:
        return (
            "ca_path: the certificate of %s is not signed by a trusted authority (%s): give the certificate of its "
            "authority in ca_path" % (host, error.verify_message)
        )
    if code in (_tls.EXPIRED, _tls.NOT_YET_VALID):
        return "url: the certificate of %s %s: have it renewed there, or correct the clock here" % (
            host,
            "has expired" if code == _tls.EXPIRED else "is not valid yet",
        )
    return "url: the certificate of %s is not accepted (%s): have it replaced there" % (host, error.verify_message)
