# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""A store is copied to another place, as the options of COPYING ask for."""

from __future__ import annotations

from typing import Any

from ._errors import SynchronizationError
from ._store import opening, transfer
from ._store.address import address_of

_COUNTED = ("user_groups", "users", "memberships", "runs")


def copy_store(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Copy the store to where ``to`` says; return changed, and counts of what it has.

    Raises SynchronizationError, with a sentence for the reader; the target is then as it was.
    """
    here = address_of(params["store"], params["store_password"])
    there = address_of(params["to"], params["to_password"])
    with opening.look(here, must_exist=True) as source:
        counts = {table: transfer.count(source, table) for table in _COUNTED}
        with opening.look(there, for_dry_run=True) as target:
            if not opening.is_missing(there) and transfer.is_equal(source, target):
                return {"changed": False, "counts": counts}
            if not transfer.is_empty(target):
                raise SynchronizationError(
                    "to: there is something else in %s, and nothing is copied over that: name a place where there is "
                    "nothing" % there.shown
                )
        if not check_mode:
            with opening.open_store(there, params["store_timeout"]) as target:
                transfer.copy(source, target)
                target.commit()
    return {"changed": True, "counts": counts}
