# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE: for this collection only; may change in any release.
"""BER with definite lengths (X.690), as LDAP has it (RFC 4511, 5.1); and what is raised for bytes that are none."""

from __future__ import annotations

from .._errors import SynchronizationError

MOST_PARTS = 100_000  # of a message, or of a part of it, that is no entry
INTEGER, OCTETS, ENUMERATED, SEQUENCE, SET = 0x02, 0x04, 0x0A, 0x30, 0x31
TRUE, FALSE = b"\x01\x01\xff", b"\x01\x01\x00"


class ReadError(SynchronizationError):
    """What was read is not complete, whatever has come so far."""


class ServerLost(ReadError):
    """The server went away while it was read, or cannot go on now: reading may begin anew with another one."""


class ProtocolError(ReadError):
    """The server sent bytes that are not LDAP, or not an answer to what was asked."""


def element(tag: int, *parts: bytes) -> bytes:
    """A BER element with this content."""
    content = b"".join(parts)
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 128 + len(length))) + length + content


def encoded_integer(value: int, tag: int = INTEGER) -> bytes:
    """An INTEGER, or another number with this tag."""
    return element(tag, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def encoded_string(value: str | bytes, tag: int = OCTETS) -> bytes:
    """An OCTET STRING, or another string with this tag."""
    return element(tag, value.encode("utf-8") if isinstance(value, str) else value)


TRY_AGAIN = "run again, or name another server"
NOT_BER = "server: it sent an LDAP message that cannot be read: " + TRY_AGAIN


def long_length(data: bytes, at: int, first: int) -> tuple[int, int]:
    """The length whose first byte is above 127, and where the content begins."""
    if first == 128:
        raise ProtocolError("server: it sent an LDAP message of indefinite length, which RFC 4511, 5.1 forbids")
    content = at + first - 128
    return int.from_bytes(data[at:content], "big"), content


def elements(data: bytes, at: int, end: int) -> list[tuple[int, int, int]]:
    """(tag, start, end) of the contents of the BER elements that fill data[at:end]."""
    found = []
    while at < end:
        if at + 2 > end:
            raise ProtocolError(NOT_BER)
        tag, size = data[at], data[at + 1]
        at += 2
        if size > 127:
            size, at = long_length(data, at, size)
        if at + size > end:
            raise ProtocolError(NOT_BER)
        found.append((tag, at, at + size))
        if len(found) > MOST_PARTS:
            raise ProtocolError("server: it sent an LDAP message of more than %d parts: %s" % (MOST_PARTS, TRY_AGAIN))
        at += size
    return found


def only_element(data: bytes) -> tuple[int, int, int]:
    """(tag, start, end) of the content of the one BER element that the data is."""
    found = elements(data, 0, len(data))
    if len(found) != 1:
        raise ProtocolError(NOT_BER)
    return found[0]


_COMMON_NAME = b"\x55\x04\x03"  # 2.5.4.3


def issuer_name(der: bytes) -> str:
    """The common name of who issued a certificate in DER (RFC 5280, 4.1), or else all that its name has; '' if nothing.

    It is for a message: what is no certificate has none.
    """
    try:
        ((_tag, at, end),) = elements(der, 0, len(der))
        _tag, at, end = elements(der, at, end)[0]
        _serial, _algorithm, issuer = [each for each in elements(der, at, end) if each[0] != 0xA0][:3]
        found = []
        for _set, at, end in elements(der, *issuer[1:]):
            for _pair, first, last in elements(der, at, end):
                (_kind, *kind), (_type, *value) = elements(der, first, last)
                found.append((der[slice(*kind)], der[slice(*value)].decode("utf-8", "replace")))
    except (ProtocolError, ValueError, IndexError):
        return ""
    return ", ".join([text for kind, text in found if kind == _COMMON_NAME] or [text for _kind, text in found])
