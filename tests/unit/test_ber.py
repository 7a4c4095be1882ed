# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The encoder that tests make LDAP messages with, against bytes that standards print."""

from __future__ import annotations

import pytest
from support import ber, prepared


@pytest.mark.parametrize(
    ("size", "octets"),
    [
        (38, "26"),  # X.690, 8.1.3.4
        (201, "81 c9"),  # X.690, 8.1.3.5
        (0, "00"),
        (127, "7f"),
        (128, "81 80"),
        (255, "81 ff"),
        (256, "82 01 00"),
        (65536, "83 01 00 00"),
    ],
)
def test_a_length(size, octets):
    assert ber.length(size) == bytes.fromhex(octets)


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        # A Layman's Guide to a Subset of ASN.1, BER, and DER (RSA Laboratories, 1993), 5.7
        (0, "02 01 00"),
        (127, "02 01 7f"),
        (128, "02 02 00 80"),
        (256, "02 02 01 00"),
        (-128, "02 01 80"),
        (-129, "02 02 ff 7f"),
        # The largest number of LDAP, and what else is at a limit
        (2**31 - 1, "02 04 7f ff ff ff"),
        (-(2**31), "02 04 80 00 00 00"),
        (-1, "02 01 ff"),
    ],
)
def test_an_integer(value, octets):
    assert ber.integer(value) == bytes.fromhex(octets)


def test_other_primitive_types():
    assert ber.boolean(True) == bytes.fromhex("01 01 ff")  # RFC 4511, 5.1
    assert ber.boolean(False) == bytes.fromhex("01 01 00")
    assert ber.enumerated(2) == bytes.fromhex("0a 01 02")
    eight = "01 23 45 67 89 ab cd ef"  # Layman's Guide, 5.10
    assert ber.string(bytes.fromhex(eight)) == bytes.fromhex("04 08" + eight)
    assert ber.string("ö", 0x80) == bytes.fromhex("80 02 c3 b6")


def test_constructed_types():
    smith = ber.element(0x16, b"Smith"), ber.boolean(True)  # X.690, 8.9.3
    assert ber.sequence(*smith) == bytes.fromhex("30 0a 16 05 53 6d 69 74 68 01 01 ff")
    assert ber.set_of() == bytes.fromhex("31 00")


def test_an_entry_and_the_end_of_a_search():
    """As in the LDAPv3 Wire Protocol Reference (ldap.com), "The LDAP Search Operation"."""
    entry = prepared.entry("dc=example,dc=com", objectClass=["top", "domain"], dc=["example"])
    assert prepared.message(2, entry) == bytes.fromhex(
        "30 49 02 01 02"
        "64 44 04 11 64 63 3d 65 78 61 6d 70 6c 65 2c 64 63 3d 63 6f 6d"
        "30 2f"
        "30 1c 04 0b 6f 62 6a 65 63 74 43 6c 61 73 73 31 0d 04 03 74 6f 70 04 06 64 6f 6d 61 69 6e"
        "30 0f 04 02 64 63 31 09 04 07 65 78 61 6d 70 6c 65"
    )
    assert prepared.message(2, prepared.done()) == bytes.fromhex("30 0c 02 01 02 65 07 0a 01 00 04 00 04 00")


def test_a_control_and_a_notice_of_disconnection():
    """Written by hand from RFC 2696, 2 and RFC 4511, 4.4.1."""
    oid = b"1.2.840.113556.1.4.319".hex()
    assert prepared.message(5, prepared.done(4, cookie="c")) == bytes.fromhex(
        "30 32 02 01 05 65 07 0a 01 04 04 00 04 00a0 24 30 22 04 16" + oid + "04 08 30 06 02 01 00 04 01 63"
    )
    name = b"1.3.6.1.4.1.1466.20036".hex()
    assert prepared.disconnection(52) == bytes.fromhex("30 24 02 01 00 78 1f 0a 01 34 04 00 04 00 8a 16" + name)


def test_what_stands_for_a_range_in_the_name_of_an_attribute():
    assert b"\x04\x10member;range=0-1" in prepared.entry("cn=a", member__0_1=["b"])
    assert b"\x04\x10member;range=2-*" in prepared.entry("cn=a", member__2_all=["b"])
