# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""authentication: kerberos."""

from __future__ import annotations

import hashlib
import ssl
import uuid
from typing import Any

from .attempt import Attempt, ConnectError, NextServer, missing_library
from .login import check_bind
from .opening import ask


def _import_gssapi() -> Any:
    try:
        import gssapi
        import gssapi.raw
    except (ImportError, OSError):  # OSError: without the system's Kerberos libraries
        raise missing_library("authentication", "kerberos", "gssapi") from None
    return gssapi


def credentials(settings: Any) -> Any:
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
        raise _failure(settings, error) from None


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


def _failure(settings: Any, error: Any) -> ConnectError:
    said = "; ".join(error.get_all_statuses(error.min_code, False)) if error.min_code else str(error)
    secret = "keytab" if settings.keytab else "password"
    why, remedy = next(
        ((", since " + meaning, remedy) for text, meaning, remedy in _KERBEROS_MEANINGS if text in said),
        ("", "correct login or %s, or set up Kerberos on the node where this task runs" % secret),
    )
    return ConnectError("login: Kerberos gives no ticket to '%s'%s (%s): %s" % (settings.login, why, said, remedy))


def bind(connection: Any, attempt: Attempt, credentials: Any) -> None:
    """The SASL mechanism GSSAPI (RFC 4752) without a security layer, which TLS makes needless. Raises ConnectError.

    Not ldap3's own, which fails where a server offers nothing but "no layer", as they do over TLS: it compares the
    bytes of the maximum size with a text.
    """
    gssapi = _import_gssapi()
    connection.sasl_mechanism = "GSSAPI"
    try:
        security = gssapi.SecurityContext(
            name=_service(gssapi, attempt.settings.tls_server_name or attempt.address.host),
            creds=credentials,
            mech=gssapi.MechType.kerberos,
            usage="initiate",
            channel_bindings=_channel_bindings(gssapi, connection),
        )
        offer = security.unwrap(_last_token(connection, attempt, security)).message
        if len(offer) != 4 or not offer[0] & 1:
            raise ConnectError(
                "encryption: %s wants Kerberos to sign or seal, which is not supported: choose ldaps or "
                "start_tls" % attempt.address
            )
        check_bind(_negotiate(connection, attempt, security.wrap(b"\x01\0\0\0", False).message), attempt)
    except gssapi.exceptions.GSSError as error:
        raise _failure(attempt.settings, error) from None


def _last_token(connection: Any, attempt: Attempt, security: Any) -> bytes:
    """Exchange tokens until both sides know each other; return what the server sent last, its offer of layers."""
    token = security.step()
    while True:
        result = _negotiate(connection, attempt, token or b"")
        if not result or result["result"] != 14:  # saslBindInProgress
            check_bind(result, attempt)
            raise NextServer("server: %s ended the Kerberos login too early: name another server" % attempt.address)
        token = result["saslCreds"] or b""
        if security.complete:
            return token
        token = security.step(token)


def _negotiate(connection: Any, attempt: Attempt, token: bytes) -> Any:
    from ldap3.protocol.sasl.sasl import send_sasl_negotiation

    return ask(connection, attempt, lambda: send_sasl_negotiation(connection, None, token))


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
    if certificate is None:
        return None
    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except exceptions.UnsupportedAlgorithm:
        return None
    if algorithm is None:
        return None
    name = "sha256" if algorithm.name in ("md5", "sha1") else algorithm.name
    digest = hashlib.new(name, certificate).digest()
    return gssapi.raw.ChannelBindings(application_data=b"tls-server-end-point:" + digest)
