# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""A connection by ldap3 with none of its defaults, and what it means if there is none."""

from __future__ import annotations

import contextlib
import math
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote

from ..._errors import quoted
from . import tls
from .attempt import Attempt, ConnectError, Deadline, NextServer, TimedOut, import_ldap3, timed_out

T = TypeVar("T")


def open_connection(attempt: Attempt) -> Any:
    """Return a connection of ldap3 that is not bound yet, encrypted if it is to be. Raises ConnectError."""
    ldap3 = import_ldap3()
    wrapping = tls.wrapping(ldap3, attempt)
    connection = _connection(ldap3, attempt, wrapping)
    expired = threading.Event()
    try:
        _open(connection, attempt, expired)
    except Exception as error:  # ldap3 makes classes of its own for what it raises, and lets others through
        close(connection)
        if expired.is_set():
            raise timed_out(attempt) from None
        if wrapping.failure is not None:
            raise tls.failure(attempt, wrapping.failure, _certificate) from None
        raise _why_not_open(ldap3, attempt, error) from None
    return connection


def _connection(ldap3: Any, attempt: Attempt, wrapping: Any) -> Any:
    address = attempt.address
    common = {"get_info": ldap3.NONE, "allowed_referral_hosts": []}
    if address.scheme == "ldapi":
        server = ldap3.Server("ldapi://" + quote(address.host), **common)
    else:
        encrypted = address.scheme == "ldaps"
        server = ldap3.Server(address.host, port=address.port, use_ssl=encrypted, tls=wrapping, **common)
    return ldap3.Connection(
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
        receive_timeout=math.ceil(attempt.deadline.left()),
        **_bind_arguments(ldap3, attempt.settings),
    )


def _bind_arguments(ldap3: Any, settings: Any) -> dict[str, Any]:
    if settings.authentication == "simple":
        # As bytes, since ldap3 puts a text through SASLprep, which changes some passwords.
        return {"authentication": ldap3.SIMPLE, "user": settings.login, "password": settings.password.encode("utf-8")}
    if settings.authentication == "external":
        return {"authentication": ldap3.SASL, "sasl_mechanism": ldap3.EXTERNAL, "sasl_credentials": ""}
    return {"authentication": ldap3.ANONYMOUS}


def _open(connection: Any, attempt: Attempt, expired: threading.Event) -> None:
    # A host may have several addresses, and ldap3 tries one after the other.
    server = connection.server
    server.connect_timeout = attempt.deadline.left() / max(len(server.candidate_addresses()), 1)
    with _cut_off(connection, attempt.deadline, expired):
        connection.open(read_server_info=False)
    if attempt.settings.encryption == "start_tls" and attempt.address.scheme == "ldap":
        ask(connection, attempt, lambda: connection.start_tls(read_server_info=False))


def close(connection: Any) -> None:
    """Say goodbye and close the socket; whatever goes wrong there does not matter any more."""
    try:
        connection.unbind()
    except Exception:
        pass
    if connection.socket is not None:  # ldap3 leaves it open when connecting failed
        connection.socket.close()


def _certificate(attempt: Attempt) -> tuple[dict[str, Any], bytes]:
    """The server's certificate as `getpeercert` has it, empty if it is not verified, and in DER. It is asked for once
    more without what ended the handshake; nothing is sent there.
    """
    try:
        connection = open_connection(attempt)
    except ConnectError:
        return {}, b""
    try:
        return connection.socket.getpeercert() or {}, connection.socket.getpeercert(True) or b""
    finally:
        close(connection)


# --- until the deadline ----------------------------------------------------------------------------------------------


def ask(connection: Any, attempt: Attempt, call: Callable[[], T]) -> T:
    """Return what a call of ldap3 returns that waits for an answer, within the deadline. Raises ConnectError."""
    expired = threading.Event()
    try:
        with _cut_off(connection, attempt.deadline, expired):
            return call()
    except Exception as error:
        if expired.is_set():
            raise timed_out(attempt) from None
        if type(error).__name__ == "LDAPStartTLSError":
            raise
        failure = None
        if attempt.settings.encryption != "none" and attempt.address.scheme != "ldapi":
            said = _last_words(connection, error)
            failure = tls.alert(attempt, said) or _ended(attempt, said)
        raise failure or _open_failure(attempt, error) from None


@contextlib.contextmanager
def _cut_off(connection: Any, deadline: Deadline, expired: threading.Event) -> Iterator[None]:
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


# --- what ldap3 raises -----------------------------------------------------------------------------------------------

_NOISE = re.compile(r"^.*?: (?=\[|timed)|\[Errno -?\d+\] | ?\(_ssl\.c:\d+\)")  # of ldap3 and Python


def _why_not_open(ldap3: Any, attempt: Attempt, error: Exception) -> NextServer:
    address = attempt.address
    if isinstance(error, ldap3.core.exceptions.LDAPStartTLSError):
        return NextServer(
            "encryption: %s refuses StartTLS (%s): choose encryption: ldaps or another server"
            % (address, quoted(str(error)))
        )
    if isinstance(error, TimedOut):
        return error
    if isinstance(error, NextServer):
        return NextServer(
            "encryption: %s does not answer StartTLS: a port with TLS from the first byte needs "
            "encryption: ldaps" % address
        )
    return _open_failure(attempt, error)


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


def _ended(attempt: Attempt, said: str) -> NextServer | None:
    """What it means that the server closed the connection when TLS was up; None if it did not. By TLS 1.3 it looks at
    the client certificate after that, and some servers say nothing then, such as OpenLDAP with GnuTLS.
    """
    if not _CLOSED.search(said):
        return None
    if attempt.settings.client_cert:
        return NextServer(
            "client_cert: %s closed the connection when it had the client certificate: give one that it trusts, or run "
            "again" % attempt.address
        )
    return NextServer(
        "server: %s closed the connection before it answered the login: give client_cert if it demands a client "
        "certificate, else run again, or name another server" % attempt.address
    )


def _open_failure(attempt: Attempt, error: Exception) -> NextServer:
    address = attempt.address
    if not isinstance(error, OSError) and not type(error).__name__.startswith("LDAP"):
        return NextServer("server: %s sent something that is not LDAP: check host and port" % address)
    texts = [str(error)]
    for argument in error.args[1:2]:
        if isinstance(argument, list):  # one exception for each address of the host
            texts = [str(each[0]) for each in argument]
    text = "; ".join(dict.fromkeys(_NOISE.sub("", quoted(each)) for each in texts))
    if "timed out" in text or "temporarily unavailable" in text:
        return timed_out(attempt)
    if "invalid server address" in text:
        return NextServer(
            "server: the host name '%s' is not known on the node where this task runs: correct it, or have the node "
            "ask a name server that knows it" % address.host
        )
    return NextServer(
        "server: %s cannot be used (%s): check host and port, or that the server runs"
        % (address, text or type(error).__name__)
    )
