# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Digests of users and of member lists: what they cover is in docs/architecture.md.

A user's digest is a hash over the entry as it came and its home, and one mark: the state of the user, and whether more
may be concluded from the hash. "Now" is for a state that time alone may change, and for entries that must be decoded to
tell what lists need of them.

A list's digest is a hash over the references that it leads to. Behind it there may be another one, by which a list is
known that is the same: of its entry as it came, or of its values if they came in ranges.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

HASH = 16  # bytes
ENABLED, DISABLED, ENABLED_NOW, DISABLED_NOW = b"1", b"0", b"+", b"-"
NO_HASH = b""  # of a list that is not known by its bytes


def ranged_hash(values: Iterable[bytes]) -> bytes:
    """Return the hash of a list that came in ranges. It has another length than that of an entry."""
    hashed = hashlib.sha256(b"".join(b"%d:%s" % (len(value), value) for value in sorted(values)))
    return hashed.digest()[:HASH] + b"r"


def members_hash(members: Iterable[str], user_groups: Iterable[str], kept_values: Iterable[str]) -> bytes:
    """Return the hash of what a list leads to."""
    text = "\1".join("\0".join(part) for part in (members, user_groups, kept_values))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:HASH]
