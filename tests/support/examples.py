# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many examples a property is tried on."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import settings

USUAL = settings.get_profile("default").max_examples


def examples(number: int) -> Callable:
    """A decorator for a property: try this many examples, or what the profile of the run makes of them.

    A number in ``settings`` itself would hold whatever the profile says.
    """
    return settings(max_examples=times(number))


def times(number: int) -> int:
    """How often to try what is usually tried this many times: the profile of the run decides."""
    return max(1, number * settings.default.max_examples // USUAL)
