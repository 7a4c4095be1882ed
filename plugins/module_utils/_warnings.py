# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What a run warns of: what is no error and seldom meant."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from . import _hold, _selected
from ._mark import Mark, Unmarked
from ._model import LastRun, Snapshot, User, UserGroup
from ._read import FIRST, Read
from ._settings import Settings
from ._store import counts
from ._store.contract import Store

_DAY = 86400  # seconds


def warnings(settings: Settings, store: Store, read: Read, holds: _hold.Holds, last: LastRun, now: int) -> list[str]:
    """Return the warnings of a run that read a directory. ``last`` is what the last run left; ``now`` is the time."""
    snapshot = read.snapshot
    found = []
    if settings.read_mode == "incremental" and snapshot.is_full and read.reason != FIRST:
        found.append("read_mode: everything was read, since %s" % read.reason)
    if read.clock.doubt:
        found.append(
            "clock: the clock of this computer is not believed (%s): in this run nobody's grace ends, no name passes "
            "on, and no history is removed; correct the clock if it is wrong" % read.clock.doubt
        )
    found += snapshot.warnings
    found += _doubts(settings, store, snapshot)
    found += _long_not_read(settings, read.mark, now)
    found += _hold.warning(holds)
    found += [] if last.server else _selected.warnings(snapshot, settings.group_structure)
    return found


def _doubts(settings: Settings, store: Store, snapshot: Snapshot) -> list[str]:
    doubts = []
    if snapshot.not_stored:
        doubts.append(
            "not_stored: %d times an entry, or a part of it, could not be stored: see there which and why"
            % len(snapshot.not_stored)
        )
    for option, mapping, kind, records in (
        ("user_attributes", settings.user_attributes, "user", snapshot.users),
        ("group_attributes", settings.group_attributes, "user_group", snapshot.user_groups),
    ):
        if snapshot.is_full and records:
            doubts += [
                "%s: no %s has a value for '%s' (%s): correct the attribute, or give the account the right to read it"
                % (option, kind.replace("_", " "), field, mapping[field])
                for field in _that_nobody_has(settings, store, kind, mapping.keys() - {"name"}, records)
            ]
    return doubts


def _that_nobody_has(
    settings: Settings, store: Store, kind: str, fields: Collection[str], records: Mapping[str, User | UserGroup | None]
) -> list[str]:
    """Return those of the fields in which no record has a value, by what was read, and by the store of the others."""
    bodies = [record for record in records.values() if record is not None]
    missing = sorted(field for field in fields if not any(field in body.attributes for body in bodies))
    if len(bodies) == len(records):
        return missing
    empty = counts.empty_fields(store, settings.name, kind, missing)
    return [field for field in missing if field in empty]


def _long_not_read(settings: Settings, mark: Mark | Unmarked, now: int) -> list[str]:
    """Return a warning if nothing but changes was read for long, which is what read_mode: incremental asks for."""
    if settings.read_mode != "incremental" or isinstance(mark, Unmarked):
        return []
    days = (now - mark.read_fully) // _DAY
    if days < 7:
        return []
    return [
        "read_mode: everything was last read %d days ago, and some changes only that shows, such as lost rights: set "
        "read_mode: auto, or run once with read_mode: full" % days
    ]
