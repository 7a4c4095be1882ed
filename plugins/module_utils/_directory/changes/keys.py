# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Stable keys that are sixteen bytes as text, and their bytes."""

from __future__ import annotations

import re

from .common import ReadFully

UUID = 16  # bytes

# How many hexadecimal digits stand between hyphens: in a UUID (RFC 4122, 3), and as 389 Directory Server has it.
_SPELLING, _SPELLINGS = (8, 4, 4, 4, 12), {"nsuniqueid": (8, 8, 8, 8)}
_SPELT = {
    attribute: re.compile("-".join("[0-9a-f]{%d}" % size for size in sizes))
    for attribute, sizes in {"": _SPELLING, **_SPELLINGS}.items()
}


def uuid_text(identity: bytes, attribute: str = "") -> str:
    digits, parts = identity.hex(), []
    for size in _SPELLINGS.get(attribute.lower(), _SPELLING):
        parts.append(digits[:size])
        digits = digits[size:]
    return "-".join(parts)


def identity_of(key: str, attribute: str = "") -> bytes | None:
    """Return the bytes of a UUID in the usual spelling of such keys; None of any other text."""
    spelt = _SPELT.get(attribute.lower(), _SPELT[""])
    return bytes.fromhex(key.replace("-", "")) if spelt.fullmatch(key) else None


def uuid_bytes(key: str, attribute: str = "") -> bytes:
    identity = identity_of(key, attribute)
    if identity is None:
        raise ReadFully("the stable key '%s' is no UUID" % key)
    return identity
