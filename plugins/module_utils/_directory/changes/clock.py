# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What time it is there."""

from __future__ import annotations

import contextlib
from typing import Any

from ..search import MISSING_OK, search
from ..values import generalized_time_seconds
from .common import ReadFully, attempt


def time_of(session: Any) -> int | None:
    """Return what time the server says that it is, in seconds since 1970; None if it does not (MS-ADTS 3.1.1.3.2.2)."""
    try:
        return generalized_time_seconds(session.root_dse["currenttime"][0])
    except (KeyError, IndexError, ValueError):
        return None


def last_change(session: Any, context: str) -> int | None:
    """Return when anything last changed there, by its own clock (contextCSN of OpenLDAP); None if that is not known."""
    try:
        found = attempt(
            session, lambda: list(search(session, context, "base", "(objectClass=*)", ("contextCSN",), MISSING_OK))
        )
    except ReadFully:
        return None
    times = []
    for _dn, entry, _raw in found:
        for value in entry.get("contextcsn", ()):
            with contextlib.suppress(ValueError):
                times.append(generalized_time_seconds(value.partition(b"#")[0]))
    return max(times, default=None)
