# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LDAP messages as a server sends them (RFC 4511), made of bytes: nothing of the collection's code takes part."""

from __future__ import annotations

from collections.abc import Iterable

from .ber import element, enumerated, integer, sequence, set_of, string

PAGED_RESULTS = "1.2.840.113556.1.4.319"  # RFC 2696
START_TLS = "1.3.6.1.4.1.1466.20037"
BIND, SEARCH, EXTENDED = 0x61, 0x65, 0x78  # the results of these requests

_ENTRY, _REFERENCE, _CONTROLS, _REFERRAL, _RESPONSE_NAME = 0x64, 0x73, 0xA0, 0xA3, 0x8A


def message(message_id: int, operation: bytes) -> bytes:
    """An LDAPMessage (4.1.1). What `with_control` gives is an operation, too."""
    return sequence(integer(message_id), operation)


def entry(dn: str | bytes, attributes: Iterable[tuple[str, Iterable[str | bytes]]]) -> bytes:
    """A SearchResultEntry (4.5.2)."""
    listed = (sequence(string(name), set_of(*map(string, values))) for name, values in attributes)
    return element(_ENTRY, string(dn), sequence(*listed))


def result(kind: int, code: int, text: str = "", referrals: Iterable[str] = (), name: str | None = None) -> bytes:
    """What ends a request (4.1.9).

    :param kind: `BIND`, `SEARCH` or `EXTENDED`.
    :param text: the diagnostic message.
    :param referrals: URLs.
    :param name: of an extended operation (4.12).
    """
    urls = [string(url) for url in referrals]
    parts = [enumerated(code), string(""), string(text)]
    if urls:
        parts.append(element(_REFERRAL, *urls))
    if name is not None:
        parts.append(string(name, _RESPONSE_NAME))
    return element(kind, *parts)


def reference(*urls: str) -> bytes:
    """A SearchResultReference (4.5.3)."""
    return element(_REFERENCE, *map(string, urls))


def disconnection(code: int, text: str = "") -> bytes:
    """A Notice of Disconnection (4.4.1), as a whole message."""
    return message(0, result(EXTENDED, code, text, name="1.3.6.1.4.1.1466.20036"))


def with_control(operation: bytes, oid: str, value: bytes) -> bytes:
    """The operation, followed by one control (4.1.11) that is not critical."""
    return operation + element(_CONTROLS, sequence(string(oid), string(value)))


def with_cookie(operation: bytes, cookie: str | bytes) -> bytes:
    """The operation, followed by a control of paged results (RFC 2696)."""
    return with_control(operation, PAGED_RESULTS, sequence(integer(0), string(cookie)))
