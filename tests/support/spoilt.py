# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores that are damaged by chance."""

from __future__ import annotations

import random


def with_turned_bits(content: bytes, chance: random.Random) -> bytes:
    """One to three bits are others, in bytes that are not zero: most of those that are belong to nothing."""
    spoilt, used = bytearray(content), [place for place, byte in enumerate(content) if byte]
    for place in chance.sample(used, chance.randint(1, 3)):
        spoilt[place] ^= 1 << chance.randrange(8)
    return bytes(spoilt)
