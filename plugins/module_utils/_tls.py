# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What is asked of a server's certificate, whatever is spoken with that server."""

from __future__ import annotations

import os
import re
import ssl
from typing import Any

from ._errors import SynchronizationError

_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.[0-9]+")  # openssl-rehash(1)

# X509_V_ERR_... of OpenSSL's x509_vfy.h
EXPIRED, NOT_YET_VALID = 10, 9
FOR_ANOTHER_NAME = (62, 64)  # a host's, an address's
UNKNOWN_ISSUER = (2, 18, 19, 20, 21, 24)


class UnusableFile(SynchronizationError):
    """What ca_path, client_cert or client_key names cannot be used."""


def make_context(settings: Any) -> ssl.SSLContext:
    """Certificates and names verified, TLS 1.2 or later; equally strict with every Python. Raises UnusableFile.

    ``settings`` has validate_certs, ca_path, client_cert and client_key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not settings.validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif not settings.ca_path:
        context.load_default_certs()
    else:
        _trust(context, settings.ca_path)
    if settings.client_cert:
        _show(context, settings.client_cert, settings.client_key)
    return context


def _trust(context: ssl.SSLContext, ca_path: str) -> None:
    is_directory = os.path.isdir(ca_path)
    try:
        if is_directory and not any(map(_HASHED_NAME.fullmatch, os.listdir(ca_path))):
            raise UnusableFile(
                "ca_path: the directory '%s' has no certificate by a name that OpenSSL looks for, such as "
                "4a6481c9.0: run 'openssl rehash %s', or name a file" % (ca_path, ca_path)
            )
        context.load_verify_locations(**{"capath" if is_directory else "cafile": ca_path})
    except OSError as error:
        raise UnusableFile(
            "ca_path: '%s' cannot be read as certificates in PEM format (%s): correct the path or "
            "the file" % (ca_path, error.strerror or error)
        ) from None


def _show(context: ssl.SSLContext, client_cert: str, client_key: str | None) -> None:
    try:
        # The password is only there so that OpenSSL does not ask for one on the terminal.
        context.load_cert_chain(client_cert, client_key, password="")
    except OSError as error:
        key = " with client_key '%s'" % client_key if client_key else ""
        raise UnusableFile(
            "client_cert: '%s'%s cannot be read as a certificate with its key in PEM format, not "
            "encrypted (%s): correct the path or the file" % (client_cert, key, error.strerror or error)
        ) from None
