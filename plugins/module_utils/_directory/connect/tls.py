# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""TLS: what is asked of a server's certificate, and what it means if there is no TLS."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable
from typing import Any

from ... import _tls
from ..._errors import quoted
from ..ber import issuer_name
from .attempt import Attempt, ConnectError, NextServer, timed_out

Certificate = tuple[dict[str, Any], bytes]  # as `getpeercert` has it, empty if it is not verified; and in DER


def make_context(settings: Any) -> ssl.SSLContext:
    """Return what `_tls.make_context` does. Raises ConnectError."""
    try:
        return _tls.make_context(settings)
    except _tls.UnusableFile as error:
        raise ConnectError(str(error)) from None


def _context(attempt: Attempt) -> ssl.SSLContext:
    if attempt.context is None:
        raise RuntimeError("this attempt is without TLS")
    return attempt.context


def wrapping(ldap3: Any, attempt: Attempt) -> Any:
    """Return an ldap3.Tls with our context: its own sends no server name and knows no IP addresses in certificates."""
    name = _expected_name(attempt).rstrip(".")

    class Tls(ldap3.Tls):
        failure: Exception | None = None

        def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
            try:
                connection.socket = _context(attempt).wrap_socket(
                    connection.socket, server_hostname=name, do_handshake_on_connect=False
                )
                connection.socket.do_handshake()  # now, when the socket can be found and cut off
            except Exception as error:  # kept, since ldap3 passes on its text only
                self.failure = error
                raise

    return Tls()


def _expected_name(attempt: Attempt) -> str:
    return attempt.settings.tls_server_name or attempt.address.host


# --- what it means if there is no TLS --------------------------------------------------------------------------------


def failure(attempt: Attempt, error: Any, ask_for_certificate: Callable[[Attempt], Certificate]) -> NextServer:
    """Return why there is no TLS. ``ask_for_certificate`` is what fetches the certificate, if it has to be named."""
    if getattr(error, "verify_code", 0):
        return _certificate_failure(attempt, error, ask_for_certificate)
    if isinstance(error, socket.timeout):
        return timed_out(attempt)
    closed = isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError))
    if closed or getattr(error, "reason", None) in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return NextServer(
            "encryption: %s does not answer with TLS: a port without TLS needs encryption: start_tls" % attempt.address
        )
    return alert(attempt, str(error)) or NextServer(
        "server: no TLS connection with %s comes about (%s): check how TLS is set up there"
        % (attempt.address, getattr(error, "reason", None) or error)
    )


def _certificate_failure(
    attempt: Attempt, error: ssl.SSLCertVerificationError, ask_for_certificate: Callable[[Attempt], Certificate]
) -> NextServer:
    address, code, said = attempt.address, error.verify_code, error.verify_message
    if code in _tls.FOR_ANOTHER_NAME:
        names = _names_in(ask_for_certificate(_with_another_context(attempt, verified=True)))
        return NextServer(
            "tls_server_name: the certificate of %s is not for '%s'%s: connect by a name in it, or give "
            "that name in tls_server_name" % (address, _expected_name(attempt), names)
        )
    if code in _tls.UNKNOWN_ISSUER:
        whose = _whose_to_give(ask_for_certificate(_with_another_context(attempt, verified=False)))
        return NextServer(
            "ca_path: the certificate of %s is not signed by a trusted authority (%s)%s" % (address, said, whose)
        )
    if code in (_tls.EXPIRED, _tls.NOT_YET_VALID):
        return NextServer(
            "server: the certificate of %s %s: have it renewed there, or correct the clock here"
            % (address, "has expired" if code == _tls.EXPIRED else "is not valid yet")
        )
    return NextServer("server: the certificate of %s is not accepted (%s): have it replaced there" % (address, said))


_ALERT = re.compile(r"\balert ([a-z ]*[a-z])", re.IGNORECASE)  # as OpenSSL words those of RFC 8446, 6.2


def alert(attempt: Attempt, said: str) -> NextServer | None:
    """What it means that the server ended TLS with an alert; None if it did not. TLS 1.3 has them come with a read."""
    found = _ALERT.search(said)
    if not found:
        return None
    if attempt.settings.client_cert:
        text = "client_cert: %s refused the client certificate (%s): give one that it trusts"
    elif found[1] == "certificate required":
        text = "client_cert: %s demands a client certificate (%s): give one that it trusts"
    else:
        text = (
            "client_cert: %s ended TLS (%s): give a client certificate if it demands one, or check how TLS is set up "
            "there"
        )
    return NextServer(text % (attempt.address, found[1]))


def _with_another_context(attempt: Attempt, verified: bool) -> Attempt:
    """The same without what ended the handshake."""
    context = make_context(attempt.settings)
    context.check_hostname = False
    if not verified:
        context.verify_mode = ssl.CERT_NONE
    return attempt._replace(context=context)


def _names_in(certificate: Certificate) -> str:
    """', but for NAME, ...'."""
    read = certificate[0]
    names = [value for kind, value in read.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    if not names:  # what it is called by alone, which counts where it has no other names (RFC 6125, 6.4.4)
        names = [value for rdn in read.get("subject", ()) for kind, value in rdn if kind == "commonName"]
    return ", but for %s" % ", ".join(names) if names else ""


def _whose_to_give(certificate: Certificate) -> str:
    """': give ...', with the name of the authority if that can be told."""
    issuer = issuer_name(certificate[1])
    if not issuer:
        return ": give the certificate of the directory's authority in ca_path"
    return (
        ": give the certificate of '%s', which issued it, in ca_path, and if that is an intermediate one, those of the "
        "authorities above it, too" % quoted(issuer)
    )
