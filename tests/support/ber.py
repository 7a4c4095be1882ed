# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Basic Encoding Rules (ITU-T X.690), as far as LDAP uses them (RFC 4511, 5.1). Takes nothing of the collection."""

from __future__ import annotations

BOOLEAN, INTEGER, OCTET_STRING, ENUMERATED, SEQUENCE, SET = 0x01, 0x02, 0x04, 0x0A, 0x30, 0x31


def element(tag: int, *contents: bytes) -> bytes:
    """One element with these contents, one after the other.

    :param tag: its identifier octet (X.690, 8.1.2); tags above 30 do not occur in LDAP.
    """
    content = b"".join(contents)
    return bytes([tag]) + length(len(content)) + content


def length(size: int) -> bytes:
    """The length octets of a content of so many bytes, as few as can be (X.690, 8.1.3.4 and 8.1.3.5)."""
    if size < 0x80:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def integer(value: int, tag: int = INTEGER) -> bytes:
    """A whole number, in as few bytes as two's complement allows (X.690, 8.3)."""
    magnitude = value if value >= 0 else ~value
    return element(tag, value.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True))


def enumerated(value: int) -> bytes:
    """One of several named values, encoded as an integer (X.690, 8.4)."""
    return integer(value, ENUMERATED)


def boolean(value: bool, tag: int = BOOLEAN) -> bytes:
    """True or false (X.690, 8.2); true is FF (RFC 4511, 5.1)."""
    return element(tag, b"\xff" if value else b"\x00")


def string(value: str | bytes, tag: int = OCTET_STRING) -> bytes:
    """An OCTET STRING (X.690, 8.7). Text is encoded as UTF-8, as LDAPString is (RFC 4511, 4.1.2)."""
    return element(tag, value.encode("utf-8") if isinstance(value, str) else value)


def sequence(*contents: bytes) -> bytes:
    return element(SEQUENCE, *contents)


def set_of(*contents: bytes) -> bytes:
    return element(SET, *contents)
