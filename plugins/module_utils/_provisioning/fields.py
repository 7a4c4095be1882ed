# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What differs between a record as it is wanted, as it was written, and as it is there. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from .._destination.contract import Record, State
from .._named_tuple import NamedTuple
from .._names import name_key
from .model import Link

_NAME, _EXTERNAL_ID, _STATE = "name", "external_id", "state"
_ATTRIBUTE = "attributes."


class Compared(NamedTuple):
    """What is there and what it becomes; both are equal where nothing is to be changed."""

    before: Record
    after: Record
    drift: list[tuple[str, str, str]]  # what, as it was written, as it is there


def compared(wanted: Record, link: Link, there: Record | None, restores: bool) -> Compared:
    """Compare the three. ``there`` is None if it cannot be read: then it is as it was written."""
    want, wrote = _fields(wanted), _fields(link.written)
    found = wrote if there is None else _understood(_fields(there), wrote, link)
    before, after, drift = {}, {}, []
    for field in sorted(want.keys() | wrote.keys()):
        target, written, current = (each.get(field, "") for each in (want, wrote, found))
        if current not in (written, target) and written != State.UNTOLD.value:
            drift.append((field, written, current))
        if current != written and target == written and not restores:
            target = current
        before[field], after[field] = current, target
    return Compared(_record(before), _record(after), drift)


def _understood(found: dict[str, str], wrote: Mapping[str, str], link: Link) -> dict[str, str]:
    """Return what is there as it is compared: what is not said, or said in the destination's own way, is as written."""
    for field in wrote:
        current = found.get(field, "")
        if field.startswith(_ATTRIBUTE):
            own_way = link.shown.get(field[len(_ATTRIBUTE) :]) == current
        elif field == _NAME:
            own_way = name_key(current) == name_key(wrote[field])
        else:
            own_way = current in ("", State.UNTOLD.value)
        if own_way:
            found[field] = wrote[field]
    return found


def _fields(record: Record) -> dict[str, str]:
    return {
        _NAME: record.name,
        _EXTERNAL_ID: record.external_id,
        _STATE: record.state.value,
        **{_ATTRIBUTE + name: text for name, text in record.attributes.items()},
    }


def _record(fields: Mapping[str, str]) -> Record:
    attributes = {
        name[len(_ATTRIBUTE) :]: text for name, text in fields.items() if name.startswith(_ATTRIBUTE) and text
    }
    return Record(fields[_NAME], fields[_EXTERNAL_ID], State(fields[_STATE]), attributes)
