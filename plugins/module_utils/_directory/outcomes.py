# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What comes of an entry or of a listed value: the key of who is in scope, or why it leads to no one."""

from __future__ import annotations

from typing import Union

from .._named_tuple import NamedTuple
from .presets import Entry

UNKNOWN_WHO = "unknown"  # the kind of a miss that is reported, since nobody knows who it is


class Miss(NamedTuple):
    """Why a value leads to no one in scope. ``kind`` counts it, or is UNKNOWN_WHO, and then ``reason`` is reported."""

    kind: str
    reason: str


Outcome = Union[str, Miss]  # a reference, or why there is none
Found = tuple[bytes, Entry, bytes]  # DN, values, and the entry as it came


UNKNOWN = Miss(UNKNOWN_WHO, "does not exist or cannot be read")
AMBIGUOUS = Miss(UNKNOWN_WHO, "is ambiguous: several users have this name")
SEVERAL = Miss(UNKNOWN_WHO, "is ambiguous: several entries have DNs that differ in letters which are taken for one")
OTHER_DOMAIN = Miss(UNKNOWN_WHO, "lies in another domain")
FOREIGN = Miss(UNKNOWN_WHO, "is a user of another domain that is not in the store")
EMPTY = Miss(UNKNOWN_WHO, "is empty")
TOO_LONG = Miss(UNKNOWN_WHO, "is too long to be looked for")
A_GROUP = Miss(UNKNOWN_WHO, "is a user group")
NAMELESS = Miss(UNKNOWN_WHO, "has no stable key of its own")
OUT_OF_SCOPE = Miss("out_of_scope", "")
COMPUTER = Miss("computers", "")
WELL_KNOWN = Miss("well_known_identities", "")
KIND_OF_CLASS = {b"computer": COMPUTER, b"contact": Miss("contacts", "")}


def malformed(what: str) -> Miss:
    """Return that a value is none of what lists have."""
    return Miss(UNKNOWN_WHO, "is no %s" % what)
