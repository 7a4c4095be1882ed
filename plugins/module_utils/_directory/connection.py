# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE: for this collection only; may change in any release.
"""Servers in their order, TLS and the bind, by ldap3 with none of its defaults; reading is `search` and `wire`.

ldap3 is imported late, so that what can be judged without it is judged without it.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import math
import os
import random
import re
import socket
import ssl
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, unquote

from .._errors import SynchronizationError, quoted
from .search import search
from .wire import Channel, ProtocolError, ReadError, ServerLost, issuer_name

T = TypeVar("T")


class ConnectError(SynchronizationError):
    """No usable connection; begins with the option that can change that."""


class _NextServer(ConnectError):
    """Another server may do better. A refused login never is one: it counts towards a lock-out on all of them."""


class _TimedOut(_NextServer):
    """No answer in time."""


def _missing_library(option: str, purpose: str, library: str) -> ConnectError:
    return ConnectError(
        "%s: %s needs the Python library %s: install it for %s on the node where this task runs"
        % (option, purpose, library, sys.executable)
    )


# --- servers --------------------------------------------------------------------------------------------------------

_PORTS = {"ldap": 389, "ldaps": 636}
_SRV_PORTS_WITH_TLS = {389: 636, 3268: 3269}  # MS-ADTS 6.3.6.1: the records name the ports without TLS


@dataclass(frozen=True)
class ServerAddress:
    """One server, or with scheme 'srv' a domain whose DNS names servers."""

    scheme: str  # 'ldap', 'ldaps', 'ldapi' or 'srv'
    host: str  # for 'ldapi' the path of the socket, for 'srv' the domain
    port: int  # 0 for 'ldapi' and 'srv'

    def __str__(self) -> str:
        if not self.port:
            return "%s:%s%s" % (self.scheme, "//" if self.scheme == "ldapi" else "", self.host)
        return "%s:%d" % ("[%s]" % self.host if ":" in self.host else self.host, self.port)


def parse_server(text: str, encryption: str, authentication: str = "simple") -> ServerAddress:
    """The address in one item of the option `server`; ValueError when it is none or contradicts the encryption."""
    text = text.strip()
    if not text.lower().startswith("ldapi:"):
        _refuse_several(text)
    if text.lower().startswith("srv:"):
        return ServerAddress("srv", _host(text[4:].strip("."), text), 0)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _host_and_port("ldaps" if encryption == "ldaps" else "ldap", text, text)
    scheme = scheme.lower()
    if scheme == "ldapi":
        return _ldapi(rest, text, encryption, authentication)
    if scheme not in _PORTS:
        raise ValueError(
            "'%s' is not a server: write a host, host:port, or a URL that begins with ldap://, ldaps:// "
            "or ldapi://" % text
        )
    if (scheme == "ldaps") != (encryption == "ldaps"):
        raise ValueError(
            "'%s' contradicts encryption: %s: %s"
            % (
                text,
                encryption,
                (
                    "write ldaps:// or choose encryption: start_tls"
                    if scheme == "ldap"
                    else "write ldap:// or choose encryption: ldaps"
                ),
            )
        )
    return _host_and_port(scheme, rest, text)


def _refuse_several(text: str) -> None:
    servers = [part for part in re.split(r"[\s,;]+", text) if part]
    if len(servers) > 1 and "=" not in text:  # else it is a URL with a DN
        raise ValueError(
            "'%s' names several servers: write a list of them, [%s]"
            % (text, ", ".join('"%s"' % server for server in servers))
        )


def _host_and_port(scheme: str, text: str, whole: str) -> ServerAddress:
    text, dummy, path = text.partition("/")
    if path:
        raise ValueError(
            "'%s' has '/%s' behind the host: remove it (a DN goes into distinguished_name)" % (whole, path)
        )
    match = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::([0-9]{1,5}))?", text)
    if not match:
        raise ValueError("'%s' is not a server: write host:port, and an IPv6 address in brackets, [::1]:636" % whole)
    port = int(match.group(3)) if match.group(3) else _PORTS[scheme]
    if not 0 < port < 65536:
        raise ValueError("'%s' has no valid port: write a number from 1 to 65535" % whole)
    host = _host(match.group(2), whole) if match.group(1) is None else _in_brackets(match.group(1), whole)
    return ServerAddress(scheme, host, port)


def _in_brackets(address: str, whole: str) -> str:
    """An IPv6 address (RFC 3986, 3.2.2). ldap3 knows none with a zone, and no certificate is for one."""
    if "%" in address:
        raise ValueError(
            "'%s' has a zone, '%s', which is not supported: write a host, or an address without a zone"
            % (whole, address[address.index("%") :])
        )
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        raise ValueError(
            "'%s' has '%s' in brackets, which is no IPv6 address: write such as [::1]:636" % (whole, address)
        ) from None
    return address


def _host(host: str, whole: str) -> str:
    if not host:
        raise ValueError("'%s' names no host: write a host, host:port, or a URL" % whole)
    if not re.fullmatch(r"[\w.-]+", host):
        raise ValueError(
            "'%s' has a '%s', which no host has: write a host, host:port, or a URL (a DN goes into "
            "distinguished_name)" % (whole, re.search(r"[^\w.-]", host).group())
        )
    if not all(0 < len(part) < 64 for part in host.removesuffix(".").split(".")):  # RFC 1035, 2.3.4
        raise ValueError("'%s' is no name of a host, whose parts have 1 to 63 characters: correct it" % whole)
    return host


def _ldapi(rest: str, text: str, encryption: str, authentication: str) -> ServerAddress:
    if authentication != "external" and encryption != "none":
        raise ValueError(
            "'%s' contradicts encryption: %s: a local socket needs authentication: external or "
            "encryption: none" % (text, encryption)
        )
    path = unquote(rest)
    if not path.startswith("/") or path == "/":
        raise ValueError("'%s' names no socket: write its path, such as ldapi://%%2Frun%%2Fslapd%%2Fldapi" % text)
    return ServerAddress("ldapi", path, 0)


# MS-ADTS 1.1, glossary: it has all entries of the forest, and of each only the attributes that are marked for it. So
# accountExpires, title and department are missing there, and who has expired would look enabled.
_GLOBAL_CATALOG = {3268: 389, 3269: 636}  # its ports, and those of the whole domain
_WHY_NOT_GLOBAL_CATALOG = "which has only a part of each entry, without when an account expires"


def refuse_global_catalog(address: ServerAddress) -> None:
    """Raise ValueError if a server of an Active Directory is asked for as Global Catalog."""
    if address.port in _GLOBAL_CATALOG:
        raise ValueError(
            "port %d of '%s' is the Global Catalog, %s: write port %d"
            % (address.port, address.host, _WHY_NOT_GLOBAL_CATALOG, _GLOBAL_CATALOG[address.port])
        )


def _look_up(domain: str, settings: Any, deadline: _Deadline, warn: Callable[[str], None]) -> list[ServerAddress]:
    """The servers in a domain's SRV records, by priority, and at random by weight within one (RFC 2782).

    Nobody has signed the answer, so a name in it proves nothing (RFC 7525, 6.1). A target is taken if
    it lies in the domain that was asked for, as dc1.corp.example in corp.example. Another one is taken only if the
    certificate must be for `tls_server_name`, which the answer cannot change.
    """
    try:
        import dns.exception
        import dns.name
        import dns.resolver
    except ImportError:
        raise _missing_library("server", "srv:%s" % domain, "dnspython") from None
    try:
        asked = dns.name.from_text(domain)  # its ASCII form, if it is an internationalized one (RFC 5891)
        records = list(dns.resolver.resolve("_ldap._tcp.%s" % domain, "SRV", lifetime=deadline.left()))
    except dns.exception.DNSException as error:
        raise _NextServer(
            "server: srv:%s is not found in DNS (%s): correct the domain, or name its servers" % (domain, error)
        ) from None
    records = [record for record in records if record.target.to_text() != "."]  # "." means: not offered
    if not records:
        raise _NextServer("server: srv:%s offers no LDAP, as DNS says: name its servers" % domain)
    if not settings.use_ldap:
        records = _without_global_catalog(domain, records)
    certified = settings.tls_server_name and settings.validate_certs and settings.encryption != "none"
    usable = [
        record
        for record in records
        if _SRV_TARGET.fullmatch(_target(record)) and (certified or record.target.is_subdomain(asked))
    ]
    if len(usable) < len(records):
        _refuse_targets(domain, [record for record in records if record not in usable], settings, usable, warn)
    # Drawing by weight without replacement: the largest of random ** (1 / weight) comes first.
    usable.sort(key=lambda record: (record.priority, -(random.random() ** (1 / (record.weight or 0.01)))))
    scheme = "ldaps" if settings.encryption == "ldaps" else "ldap"
    return [
        ServerAddress(
            scheme,
            _target(record),
            _SRV_PORTS_WITH_TLS.get(record.port, record.port) if scheme == "ldaps" else record.port,
        )
        for record in usable
    ]


def _without_global_catalog(domain: str, records: list) -> list:
    whole = [record for record in records if record.port not in _GLOBAL_CATALOG]
    if not whole:
        raise _NextServer(
            "server: srv:%s leads to the Global Catalog alone ('%s:%d'), %s: name a domain controller itself"
            % (domain, _target(records[0]), records[0].port, _WHY_NOT_GLOBAL_CATALOG)
        )
    return whole


_SRV_TARGET = re.compile(r"[A-Za-z0-9_.-]+")  # dnspython writes any other octet with a backslash
_TARGETS_SHOWN = 5


def _target(record: Any) -> str:
    return record.target.to_text(omit_final_dot=True)


def _refuse_targets(domain: str, refused: list, settings: Any, usable: list, warn: Callable[[str], None]) -> None:
    """Say which names in the answer are not used; an error, if there are no others."""
    names = ", ".join("'%s'" % _target(record) for record in refused[:_TARGETS_SHOWN])
    more = ", ..." if len(refused) > _TARGETS_SHOWN else ""
    other_way = "" if settings.encryption == "none" else ", or give in tls_server_name what its certificate is for"
    text = (
        "server: srv:%s leads to %s%s, which does not lie in that domain and is not used, since DNS answers can be "
        "forged: name the server itself%s" % (domain, names, more, other_way)
    )
    if not usable:
        raise _NextServer(text)
    warn(text)


# --- the session ----------------------------------------------------------------------------------------------------


class Session:
    """A bound connection and what was read over it. Use it as a context manager, or close it."""

    def __init__(self, connection: Any, server: str, timeout: int, page_size: int, account_option: str) -> None:
        self.connection = connection
        self.socket = connection.socket
        self.channel = Channel(connection.socket, timeout)
        self.server = server
        self.page_size = page_size
        self.account_option = account_option  # which one says who reads
        self.root_dse: dict[str, list[bytes]] = {}
        self.entries = 0
        self.pages = 0
        self.not_read: list[str] = []
        self.referred: dict[str, str] = {}
        self.unusable = ""  # why no search may begin now
        self.paged, self.unpaged = False, ""  # see `search`
        self.names: dict[bytes, str] = {}
        self.asked: set[str] = set()
        self.types: list[set[str]] | None = None
        self.glued: dict[str, list[bytes]] | None = None
        self.nameless: dict[bytes, dict[str, list[bytes]]] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Say goodbye and close the socket; whatever goes wrong there does not matter any more."""
        _close(self.connection)


class _Deadline(NamedTuple):
    """Until when, by time.monotonic, something may go on, and how many seconds that is from its beginning."""

    at: float
    seconds: float

    def left(self) -> float:
        return max(self.at - time.monotonic(), 0.01)  # never 0, which a socket would take for "do not wait at all"


def _share(until: float, among: int) -> _Deadline:
    """The time that one of so many servers may take, so that one that hangs leaves some for the next."""
    seconds = max((until - time.monotonic()) / among, 0.01)
    return _Deadline(time.monotonic() + seconds, seconds)


def connect(settings: Any, warn: Callable[[str], None]) -> Session:
    """A bound session with the first server that can be used: the settings and errors of `read_from_first`."""
    failures: list[str] = []
    for session in _sessions(settings, warn, failures):
        return session
    raise _none_left(failures)


def read_from_first(settings: Any, warn: Callable[[str], None], read: Callable[[Session], T]) -> T:
    """What `read` returns for a bound session with the first server that can be used, and is not lost while it is read.

    With the next server `read` begins anew: what one server said is never put together with what another one says.

    :param settings: servers, encryption, validate_certs, ca_path, client_cert, client_key, tls_server_name,
        authentication, login (as `check_login` gives it), password, keytab, timeout (seconds until a usable server is
        found, and for each part of an answer) and page_size.
    :param warn: called with a sentence for each setting that is not safe.
    :raises ConnectError: names the option; no further server is tried when a login was refused.
    :raises ServerLost: when the only server was lost. What else `read` raises is not about one server, and ends it.
    """
    failures: list[str] = []
    lost = None
    for session in _sessions(settings, warn, failures):
        try:
            with session:
                return read(session)
        except ServerLost as failure:
            lost = failure
            failures.append("server: %s was lost while it was read (%s)" % (session.server, failure))
    if lost and len(failures) == 1:
        raise lost
    raise _none_left(failures)


def _sessions(settings: Any, warn: Callable[[str], None], failures: list[str]) -> Iterator[Session]:
    """Bound sessions with one usable server after the other; why others cannot be used is added to `failures`."""
    ldap3 = _import_ldap3()
    try:
        addresses = [parse_server(text, settings.encryption, settings.authentication) for text in settings.servers]
    except ValueError as error:
        raise ConnectError("server: %s" % error) from None
    _warn_about(settings, warn)
    context = None if settings.encryption == "none" else _tls_context(settings)
    credentials = _kerberos_credentials(settings) if settings.authentication == "kerberos" else None
    until = time.monotonic() + settings.timeout
    while addresses:
        deadline = _share(until, len(addresses))
        address = addresses.pop(0)
        try:
            if address.scheme == "srv":
                addresses[:0] = _look_up(address.host, settings, deadline, warn)
                continue
            session = _connect_to(ldap3, address, settings, context, credentials, deadline)
        except _NextServer as failure:
            failures.append(str(failure))
            continue
        yield session
        until = time.monotonic() + settings.timeout  # that one was lost: the search for a usable one begins anew


def _none_left(failures: list[str]) -> ConnectError:
    if len(failures) == 1:
        return ConnectError(failures[0])
    return ConnectError("server: none of %d servers can be used: %s" % (len(failures), "; ".join(failures)))


def _import_ldap3() -> Any:
    try:
        import ldap3
        import ldap3.utils.log
    except ImportError:
        raise _missing_library("server", "reading a directory", "ldap3") from None
    ldap3.utils.log.set_library_log_hide_sensitive_data(True)  # else a connection's repr shows its password
    return ldap3


def _warn_about(settings: Any, warn: Callable[[str], None]) -> None:
    remote = [server for server in settings.servers if not server.strip().lower().startswith("ldapi:")]
    if not remote:
        return
    secret = settings.authentication == "simple" and settings.password is not None
    if settings.encryption == "none":
        warn(
            "encryption: none %slets anybody on the way change what is read, such as add himself to a group; "
            "choose ldaps or start_tls." % ("sends the password in clear text, and " if secret else "")
        )
    elif not settings.validate_certs:
        warn(
            "validate_certs: false lets anybody on the way pose as the directory%s."
            % (" and read the password" if secret else "")
        )


def _connect_to(
    ldap3: Any,
    address: ServerAddress,
    settings: Any,
    context: ssl.SSLContext | None,
    credentials: Any,
    deadline: _Deadline,
) -> Session:
    connection = _open(ldap3, address, settings, context, deadline)
    try:
        if credentials is not None:
            _bind_by_kerberos(connection, address, settings, credentials, deadline)
        else:
            _ask(connection, address, settings, deadline, lambda: connection.bind(read_server_info=False))
            _check_bind(connection.result, address, settings)
        _forget_secrets(connection)
        account_option = "login" if settings.login else "authentication"
        session = Session(connection, str(address), settings.timeout, settings.page_size, account_option)
        session.root_dse = _read_root_dse(session, settings, deadline)
    except BaseException:
        _close(connection)
        raise
    return session


def _forget_secrets(connection: Any) -> None:
    """ldap3 keeps the password, and the bind requests with it."""
    connection.password = connection.request = None
    connection.strategy._outstanding.clear()


def _read_root_dse(session: Session, settings: Any, deadline: _Deadline) -> dict[str, list[bytes]]:
    """What the server says of itself; nothing, if it may be hidden, since the options say what it would tell."""
    session.channel.set_deadline(deadline.at)
    try:
        entries = list(search(session, "", "base", "(objectClass=*)", ("*", "+"), missing_ok=True))
    except ReadError as error:
        if isinstance(error, (ProtocolError, ServerLost)) or not _is_told(settings):
            raise _NextServer(
                "server: %s does not say what it is (%s): check host and port, or name another server"
                % (session.server, error)
            ) from None
        entries = []
    session.channel.set_deadline(None)
    session.names.clear()
    session.asked.clear()
    session.entries = session.pages = 0  # these count what was read of the directory
    return entries[0][1] if entries else {}


def _is_told(settings: Any) -> bool:
    """Whether the options say what a root DSE is asked for: what the server is, and which trees it has."""
    return bool(settings.use_ldap and settings.ldap_parameters.get("preset") and settings.distinguished_name)


# --- ldap3, and what it raises --------------------------------------------------------------------------------------


def _open(
    ldap3: Any, address: ServerAddress, settings: Any, context: ssl.SSLContext | None, deadline: _Deadline
) -> Any:
    """A connection that is not bound yet, encrypted where it is to be."""
    tls = _tls(ldap3, context, (settings.tls_server_name or address.host).rstrip("."))
    if address.scheme == "ldapi":
        server = ldap3.Server("ldapi://" + quote(address.host), get_info=ldap3.NONE, allowed_referral_hosts=[])
    else:
        server = ldap3.Server(
            address.host,
            port=address.port,
            use_ssl=address.scheme == "ldaps",
            tls=tls,
            get_info=ldap3.NONE,
            allowed_referral_hosts=[],
        )
    connection = ldap3.Connection(
        server,
        client_strategy=ldap3.SYNC,
        auto_bind=ldap3.AUTO_BIND_NONE,
        auto_referrals=False,
        auto_range=False,
        check_names=False,
        raise_exceptions=False,
        read_only=True,
        return_empty_attributes=False,
        # ldap3's fast decoder knows no bind response with a referral.
        fast_decoder=False,
        receive_timeout=math.ceil(deadline.left()),
        **_bind_arguments(ldap3, settings),
    )
    expired = threading.Event()
    try:
        # A host may have several addresses, and ldap3 tries one after the other.
        server.connect_timeout = deadline.left() / max(len(server.candidate_addresses()), 1)
        with _cut_off(connection, deadline, expired):
            connection.open(read_server_info=False)
        if settings.encryption == "start_tls" and address.scheme == "ldap":
            _ask(connection, address, settings, deadline, lambda: connection.start_tls(read_server_info=False))
    except Exception as error:  # ldap3 makes classes of its own for what it raises, and lets others through
        _close(connection)
        if expired.is_set():
            raise _timed_out(address, deadline) from None
        if tls.failure is not None:
            raise _tls_failure(ldap3, address, settings, deadline, tls.failure) from None
        if isinstance(error, ldap3.core.exceptions.LDAPStartTLSError):
            raise _NextServer(
                "encryption: %s refuses StartTLS (%s): choose encryption: ldaps or another server"
                % (address, quoted(str(error)))
            ) from None
        if isinstance(error, _TimedOut):
            raise
        if isinstance(error, _NextServer):
            raise _NextServer(
                "encryption: %s does not answer StartTLS: a port with TLS from the first byte needs "
                "encryption: ldaps" % address
            ) from None
        raise _open_failure(address, settings, deadline, error) from None
    return connection


def _bind_arguments(ldap3: Any, settings: Any) -> dict[str, Any]:
    if settings.authentication == "simple":
        # As bytes, since ldap3 puts a text through SASLprep, which changes some passwords.
        return {"authentication": ldap3.SIMPLE, "user": settings.login, "password": settings.password.encode("utf-8")}
    if settings.authentication == "external":
        return {"authentication": ldap3.SASL, "sasl_mechanism": ldap3.EXTERNAL, "sasl_credentials": ""}
    return {"authentication": ldap3.ANONYMOUS}


@contextlib.contextmanager
def _cut_off(connection: Any, deadline: _Deadline, expired: threading.Event) -> Iterator[None]:
    """Shut the connection's socket down at the deadline, and set `expired`, if what is done here is not done by then.

    ldap3's own timeout begins anew with each byte, so a server that trickles would hold it for ever.
    """

    def cut() -> None:
        expired.set()
        try:
            socket.socket.shutdown(connection.socket, socket.SHUT_RDWR)
        except (OSError, TypeError):
            pass

    timer = threading.Timer(deadline.left(), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _ask(connection: Any, address: ServerAddress, settings: Any, deadline: _Deadline, call: Callable[[], Any]) -> Any:
    """What a call of ldap3 returns that waits for an answer, within the deadline."""
    expired = threading.Event()
    try:
        with _cut_off(connection, deadline, expired):
            return call()
    except Exception as error:
        if expired.is_set():
            raise _timed_out(address, deadline) from None
        if type(error).__name__ == "LDAPStartTLSError":
            raise
        failure = None
        if settings.encryption != "none" and address.scheme != "ldapi":
            said = _last_words(connection, error)
            failure = _alert(address, settings, said) or _ended(address, settings, said)
        raise failure or _open_failure(address, settings, deadline, error) from None


_NOISE = re.compile(r"^.*?: (?=\[|timed)|\[Errno -?\d+\] | ?\(_ssl\.c:\d+\)")  # of ldap3 and Python


def _last_words(connection: Any, error: Exception) -> str:
    """What is said of an error, and by the server if TLS ended while we were sending: it may have told why before."""
    if "socket sending error" not in str(error) or connection.socket is None:
        return str(error)
    try:
        connection.socket.settimeout(0.1)
        connection.socket.recv(1)
    except (OSError, ValueError) as last:
        return str(last)
    return str(error)


# What ldap3, Python and OpenSSL say of a connection that the server has closed.
_CLOSED = re.compile(r"EOF occurred|terminated by server|reset by peer|Broken pipe|socket sending error", re.IGNORECASE)


def _ended(address: ServerAddress, settings: Any, said: str) -> _NextServer | None:
    """What it means that the server closed the connection when TLS was up; None if it did not. By TLS 1.3 it looks at
    the client certificate after that, and some servers say nothing then, such as OpenLDAP with GnuTLS.
    """
    if not _CLOSED.search(said):
        return None
    if settings.client_cert:
        return _NextServer(
            "client_cert: %s closed the connection when it had the client certificate: give one that it trusts, or run "
            "again" % address
        )
    return _NextServer(
        "server: %s closed the connection before it answered the login: give client_cert if it demands a client "
        "certificate, else run again, or name another server" % address
    )


def _open_failure(address: ServerAddress, settings: Any, deadline: _Deadline, error: Exception) -> _NextServer:
    if not isinstance(error, OSError) and not type(error).__name__.startswith("LDAP"):
        return _NextServer("server: %s sent something that is not LDAP: check host and port" % address)
    texts = [str(error)]
    for argument in error.args[1:2]:
        if isinstance(argument, list):  # one exception for each address of the host
            texts = [str(each[0]) for each in argument]
    text = "; ".join(dict.fromkeys(_NOISE.sub("", quoted(each)) for each in texts))
    if "timed out" in text or "temporarily unavailable" in text:
        return _timed_out(address, deadline)
    if "invalid server address" in text:
        return _NextServer("server: the host name '%s' is not known: correct it" % address.host)
    return _NextServer(
        "server: %s cannot be used (%s): check host and port, or that the server runs"
        % (address, text or type(error).__name__)
    )


def _timed_out(address: ServerAddress, deadline: _Deadline) -> _TimedOut:
    return _TimedOut(
        "timeout: %s did not answer within %g seconds: check the way to the server, or raise timeout"
        % (address, round(deadline.seconds, 1))
    )


def _close(connection: Any) -> None:
    try:
        connection.unbind()
    except Exception:
        pass
    if connection.socket is not None:  # ldap3 leaves it open when connecting failed
        connection.socket.close()


# --- TLS ------------------------------------------------------------------------------------------------------------


_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.[0-9]+")  # openssl-rehash(1)


def _tls_context(settings: Any) -> ssl.SSLContext:
    """Certificates and names verified, TLS 1.2 or later; equally strict with every Python."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not settings.validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif not settings.ca_path:
        context.load_default_certs()
    else:
        is_directory = os.path.isdir(settings.ca_path)
        try:
            if is_directory and not any(map(_HASHED_NAME.fullmatch, os.listdir(settings.ca_path))):
                raise ConnectError(
                    "ca_path: the directory '%s' has no certificate by a name that OpenSSL looks for, such as "
                    "4a6481c9.0: run 'openssl rehash %s', or name a file" % (settings.ca_path, settings.ca_path)
                )
            context.load_verify_locations(**{"capath" if is_directory else "cafile": settings.ca_path})
        except OSError as error:
            raise ConnectError(
                "ca_path: '%s' cannot be read as certificates in PEM format (%s): correct the path or "
                "the file" % (settings.ca_path, error.strerror or error)
            ) from None
    if settings.client_cert:
        try:
            # The password is only there so that OpenSSL does not ask for one on the terminal.
            context.load_cert_chain(settings.client_cert, settings.client_key, password="")
        except OSError as error:
            key = " with client_key '%s'" % settings.client_key if settings.client_key else ""
            raise ConnectError(
                "client_cert: '%s'%s cannot be read as a certificate with its key in PEM format, not "
                "encrypted (%s): correct the path or the file" % (settings.client_cert, key, error.strerror or error)
            ) from None
    return context


def _tls(ldap3: Any, context: ssl.SSLContext | None, name: str) -> Any:
    """ldap3's Tls with our context: its own sends no server name and knows no IP addresses in certificates."""

    class Tls(ldap3.Tls):
        failure: Exception | None = None

        def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
            try:
                connection.socket = context.wrap_socket(
                    connection.socket, server_hostname=name, do_handshake_on_connect=False
                )
                connection.socket.do_handshake()  # now, when the socket can be found and cut off
            except Exception as error:  # kept, since ldap3 passes on its text only
                self.failure = error
                raise

    return Tls()


# X509_V_ERR_... of OpenSSL's x509_vfy.h
_EXPIRED, _NOT_YET_VALID, _HOST_MISMATCH, _ADDRESS_MISMATCH = 10, 9, 62, 64
_UNKNOWN_ISSUER = (2, 18, 19, 20, 21, 24)


def _tls_failure(ldap3: Any, address: ServerAddress, settings: Any, deadline: _Deadline, error: Any) -> _NextServer:
    code = getattr(error, "verify_code", None)
    if code in (_HOST_MISMATCH, _ADDRESS_MISMATCH):
        return _NextServer(
            "tls_server_name: the certificate of %s is not for '%s'%s: connect by a name in it, or give "
            "that name in tls_server_name"
            % (
                address,
                settings.tls_server_name or address.host,
                _names_in_certificate(ldap3, address, settings, deadline),
            )
        )
    if code in _UNKNOWN_ISSUER:
        return _NextServer(
            "ca_path: the certificate of %s is not signed by a trusted authority (%s)%s"
            % (address, error.verify_message, _whose_to_give(ldap3, address, settings, deadline))
        )
    if code in (_EXPIRED, _NOT_YET_VALID):
        return _NextServer(
            "server: the certificate of %s %s: have it renewed there, or correct the clock here"
            % (address, "has expired" if code == _EXPIRED else "is not valid yet")
        )
    if code:
        return _NextServer(
            "server: the certificate of %s is not accepted (%s): have it replaced there"
            % (address, error.verify_message)
        )
    if isinstance(error, socket.timeout):
        return _timed_out(address, deadline)
    closed = isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError))
    if closed or getattr(error, "reason", None) in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return _NextServer(
            "encryption: %s does not answer with TLS: a port without TLS needs encryption: start_tls" % address
        )
    return _alert(address, settings, str(error)) or _NextServer(
        "server: no TLS connection with %s comes about (%s): check how TLS is set up there"
        % (address, getattr(error, "reason", None) or error)
    )


_ALERT = re.compile(r"\balert ([a-z ]*[a-z])", re.IGNORECASE)  # as OpenSSL words those of RFC 8446, 6.2


def _alert(address: ServerAddress, settings: Any, said: str) -> _NextServer | None:
    """What it means that the server ended TLS with an alert; None if it did not. TLS 1.3 has them come with a read."""
    found = _ALERT.search(said)
    if not found:
        return None
    if settings.client_cert:
        text = "client_cert: %s refused the client certificate (%s): give one that it trusts"
    elif found[1] == "certificate required":
        text = "client_cert: %s demands a client certificate (%s): give one that it trusts"
    else:
        text = (
            "client_cert: %s ended TLS (%s): give a client certificate if it demands one, or check how TLS is set up "
            "there"
        )
    return _NextServer(text % (address, found[1]))


def _certificate(
    ldap3: Any, address: ServerAddress, settings: Any, deadline: _Deadline, verified: bool
) -> tuple[dict[str, Any], bytes]:
    """The server's certificate as `getpeercert` has it, empty if it is not to be verified, and in DER. It is asked for
    once more without what ended the handshake; nothing is sent there.
    """
    context = _tls_context(settings)
    context.check_hostname = False
    if not verified:
        context.verify_mode = ssl.CERT_NONE
    try:
        connection = _open(ldap3, address, settings, context, deadline)
    except ConnectError:
        return {}, b""
    try:
        return connection.socket.getpeercert() or {}, connection.socket.getpeercert(True) or b""
    finally:
        _close(connection)


def _names_in_certificate(ldap3: Any, address: ServerAddress, settings: Any, deadline: _Deadline) -> str:
    """', but for NAME, ...'."""
    certificate, _der = _certificate(ldap3, address, settings, deadline, True)
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    if not names:  # what it is called by alone, which counts where it has no other names (RFC 6125, 6.4.4)
        names = [value for rdn in certificate.get("subject", ()) for kind, value in rdn if kind == "commonName"]
    return ", but for %s" % ", ".join(names) if names else ""


def _whose_to_give(ldap3: Any, address: ServerAddress, settings: Any, deadline: _Deadline) -> str:
    """': give ...', with the name of the authority if that can be told."""
    _certificate_read, der = _certificate(ldap3, address, settings, deadline, False)
    issuer = issuer_name(der)
    if not issuer:
        return ": give the certificate of the directory's authority in ca_path"
    return (
        ": give the certificate of '%s', which issued it, in ca_path, and if that is an intermediate one, those of the "
        "authorities above it, too" % quoted(issuer)
    )


# --- what the answer to a bind means --------------------------------------------------------------------------------

# The "data" in AD's message for code 49: what it means, and what to do; "" where login or password is to be corrected.
_CHANGE_THERE = "have that changed in the directory, or use another account"
_SUB_CODES = {
    "525": ("there is no such user", ""),
    "52e": ("the password is wrong, or there is no such user", ""),
    "530": ("the account may not log on at this time", _CHANGE_THERE),
    "531": ("the account may not log on from this computer", _CHANGE_THERE),
    "532": ("the password has expired", _CHANGE_THERE),
    "533": ("the account is disabled", _CHANGE_THERE),
    "701": ("the account has expired", _CHANGE_THERE),
    "773": ("the password must be changed first", _CHANGE_THERE),
    "775": ("the account is locked", _CHANGE_THERE),
    "80090346": (
        "the channel binding of TLS is missing or wrong",
        "install the Python library cryptography, and connect where nothing on the way decrypts",
    ),
}


def _check_bind(result: dict[str, Any] | None, address: ServerAddress, settings: Any) -> None:
    """Raise what a bind's result means, unless it is success."""
    if not result:
        raise _NextServer(
            "server: %s closed the connection instead of answering the bind: run again, or name another "
            "server" % address
        )
    code, said = result["result"], quoted((result.get("message") or "").strip("\0 \r\n"))
    if code == 0:
        return
    answer = "%s (%d)%s" % (result.get("description") or "result", code, ": " + said if said else "")
    secret = "keytab" if settings.keytab else "password"
    if code == 49:
        data = re.search(r"\bdata ([0-9a-fA-F]+)", said)
        code_of_ad = data.group(1) if data else ""
        if settings.authentication in ("external", "anonymous"):
            raise ConnectError(
                "authentication: %s knows nobody by authentication: %s (%s): choose another one"
                % (address, settings.authentication, answer)
            )
        why, remedy = _SUB_CODES.get(code_of_ad.lower(), ("the login or the %s is wrong" % secret, ""))
        raise ConnectError(
            "login: %s refused the login '%s', since %s (%s): %s"
            % (
                address,
                settings.login,
                why,
                code_of_ad if code_of_ad.lower() in _SUB_CODES else answer,
                remedy or "correct login or %s" % secret,
            )
        )
    if code in (8, 13):
        raise ConnectError(
            "encryption: %s wants a stronger protection than encryption: %s with authentication: %s "
            "(%s): choose ldaps or start_tls" % (address, settings.encryption, settings.authentication, answer)
        )
    if code in (7, 48):
        raise ConnectError(
            "authentication: %s does not allow authentication: %s (%s): choose another one"
            % (address, settings.authentication, answer)
        )
    if code == 10:
        raise _NextServer(
            "server: %s refers the login to another server, which is not followed (%s): name that server"
            % (address, quoted(" ".join(result.get("referrals") or ())) or answer)
        )
    if code in (51, 52):
        raise _NextServer(
            "server: %s is not available now (%s): run again later, or name another server" % (address, answer)
        )
    if code == 34 and not settings.use_ldap:  # only Active Directory takes other names than DNs, MS-ADTS 5.1.1.1.1
        raise ConnectError(
            "use_ldap: %s takes only a DN as login, so it is no Active Directory (%s): set "
            "use_ldap: true" % (address, answer)
        )
    if code == 53:
        raise ConnectError("login: %s is not willing to accept this login (%s): use another one" % (address, answer))
    raise ConnectError(
        "login: %s did not accept the login (%s): correct it, or look into the server's log" % (address, answer)
    )


# --- Kerberos -------------------------------------------------------------------------------------------------------


def _import_gssapi() -> Any:
    try:
        import gssapi
        import gssapi.raw
    except (ImportError, OSError):  # OSError: without the system's Kerberos libraries
        raise _missing_library("authentication", "kerberos", "gssapi") from None
    return gssapi


def _kerberos_credentials(settings: Any) -> Any:
    """Credentials in memory; the ticket itself is asked for when a server is there."""
    gssapi = _import_gssapi()
    try:
        name = gssapi.Name(settings.login, gssapi.NameType.kerberos_principal)
        if settings.keytab:
            return gssapi.Credentials(
                name=name,
                usage="initiate",
                store={"client_keytab": settings.keytab, "ccache": "MEMORY:%s" % uuid.uuid4()},
            )
        return gssapi.raw.acquire_cred_with_password(
            name, settings.password.encode("utf-8"), mechs=[gssapi.MechType.kerberos], usage="initiate"
        ).creds
    except gssapi.exceptions.GSSError as error:
        raise _kerberos_failure(settings, error) from None


_UNKNOWN_SERVER = (
    "the realm does not know the server by this name",
    "give its full host name in server or tls_server_name",
)
# What MIT krb5 says, what it means here, and what to do.
_KERBEROS_MEANINGS = (
    ("Decrypt integrity check failed", "the password is wrong", "correct it"),
    ("Preauthentication failed", "the password or the key in the keytab is wrong", "correct it"),
    ("No credentials cache found", "the keytab has no key of it", "write the principal exactly as in the keytab"),
    ("Clock skew too great", "the clocks of this computer and of the directory differ too much", "set them right"),
    ("Server ldap/", *_UNKNOWN_SERVER),
    ("Server not found in Kerberos database", *_UNKNOWN_SERVER),
)


def _kerberos_failure(settings: Any, error: Any) -> ConnectError:
    said = "; ".join(error.get_all_statuses(error.min_code, False)) if error.min_code else str(error)
    secret = "keytab" if settings.keytab else "password"
    why, remedy = next(
        ((", since " + meaning, remedy) for text, meaning, remedy in _KERBEROS_MEANINGS if text in said),
        ("", "correct login or %s, or set up Kerberos on the node where this task runs" % secret),
    )
    return ConnectError("login: Kerberos gives no ticket to '%s'%s (%s): %s" % (settings.login, why, said, remedy))


def _bind_by_kerberos(
    connection: Any, address: ServerAddress, settings: Any, credentials: Any, deadline: _Deadline
) -> None:
    """The SASL mechanism GSSAPI (RFC 4752) without a security layer, which TLS makes needless.

    Not ldap3's own, which fails where a server offers nothing but "no layer", as they do over TLS: it compares the
    bytes of the maximum size with a text.
    """
    from ldap3.protocol.sasl.sasl import send_sasl_negotiation

    gssapi = _import_gssapi()
    connection.sasl_mechanism = "GSSAPI"

    def negotiate(token: bytes) -> dict[str, Any]:
        return _ask(connection, address, settings, deadline, lambda: send_sasl_negotiation(connection, None, token))

    try:
        security = gssapi.SecurityContext(
            name=_service(gssapi, settings.tls_server_name or address.host),
            creds=credentials,
            mech=gssapi.MechType.kerberos,
            usage="initiate",
            channel_bindings=_channel_bindings(gssapi, connection),
        )
        token = security.step()
        while True:
            result = negotiate(token or b"")
            if not result or result["result"] != 14:  # saslBindInProgress
                _check_bind(result, address, settings)
                raise _NextServer("server: %s ended the Kerberos login too early: name another server" % address)
            token = result["saslCreds"] or b""
            if security.complete:
                break
            token = security.step(token)
        offer = security.unwrap(token).message
        if len(offer) != 4 or not offer[0] & 1:
            raise ConnectError(
                "encryption: %s wants Kerberos to sign or seal, which is not supported: choose ldaps or "
                "start_tls" % address
            )
        _check_bind(negotiate(security.wrap(b"\x01\0\0\0", False).message), address, settings)
    except gssapi.exceptions.GSSError as error:
        raise _kerberos_failure(settings, error) from None


def _service(gssapi: Any, host: str) -> Any:
    """The server's principal, made of the name in the options, as it is written there.

    A host-based name would be made of what DNS answers for that name, and then for its address
    (dns_canonicalize_hostname and rdns in krb5.conf(5)): by a forged answer, a server that somebody else holds would
    prove that it is itself. Without a realm the one of the login is asked, which refers to another (RFC 6806, 8).
    """
    return gssapi.Name("ldap/%s@" % host.rstrip(".").lower(), gssapi.NameType.kerberos_principal)


def _channel_bindings(gssapi: Any, connection: Any) -> Any:
    """tls-server-end-point (RFC 5929, 4); None without TLS, and where the certificate's hash cannot be told."""
    if not isinstance(connection.socket, ssl.SSLSocket):
        return None
    try:
        from cryptography import exceptions, x509
    except ImportError:
        return None
    certificate = connection.socket.getpeercert(True)
    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except exceptions.UnsupportedAlgorithm:
        return None
    if algorithm is None:
        return None
    name = "sha256" if algorithm.name in ("md5", "sha1") else algorithm.name
    digest = hashlib.new(name, certificate).digest()
    return gssapi.raw.ChannelBindings(application_data=b"tls-server-end-point:" + digest)
