# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Active Directory's lists, value by value (DirSync, MS-ADTS 3.1.1.3.4.1.3)."""

from __future__ import annotations

from typing import Any

from ..ber import ProtocolError
from ..presets import Entry, Preset
from ..requests import DIR_SYNC, dir_sync_answer, dir_sync_control, search_operation
from ..stable_keys import keys_of
from ..wire import DONE, ENTRY, decode_done, decode_entry
from .common import ENDLESS, NO_END, ListChange, Where, answers

_NOBODY = "(!(objectClass=*))"


def lists_since(session: Any, place: Where, cookie: bytes) -> tuple[bytes, dict[str, ListChange]]:
    """Return a cookie for the next time, and what came to lists and left them since this one: stable key -> change.

    An empty cookie asks for another only. An empty one is returned where the server tells nothing of that sort: then
    lists are read whole. Who is not told of may have changed nevertheless.
    """
    lists: dict[str, ListChange] = {}
    if DIR_SYNC.encode("ascii") not in session.root_dse.get("supportedcontrol", ()):
        return b"", lists
    operation = search_operation(place.context, "sub", place.preset.is_group if cookie else _NOBODY, ())
    names: dict[bytes, str] = {}  # apart: it sends more than it is asked for
    for _part in range(ENDLESS):
        told: dict[str, bytes] = {}
        for tag, encoded, controls in answers(session, operation, dir_sync_control(cookie)):
            if tag == ENTRY:
                _take_list(place.preset, decode_entry(encoded, names)[1], lists)
            elif tag == DONE and decode_done(encoded, controls).code == 0:
                told = controls
        if DIR_SYNC not in told:
            return b"", {}
        more, cookie = dir_sync_answer(told[DIR_SYNC])
        if not more:
            return cookie, {key: change for key, change in lists.items() if not change.whole}
    raise ProtocolError(NO_END)


def _take_list(preset: Preset, entry: Entry, lists: dict[str, ListChange]) -> None:
    """Values that are there come as those of the range 1-1, values that are gone as those of the range 0-0."""
    for key in keys_of(entry, preset.group_key):
        change = lists.setdefault(key, ListChange(set(), set(), set()))
        for attribute in preset.group_members:
            change.whole.update(entry.get(attribute.lower(), ()))
            came = entry.get("%s;range=1-1" % attribute.lower(), ())
            gone = entry.get("%s;range=0-0" % attribute.lower(), ())
            change.added.difference_update(gone)
            change.removed.difference_update(came)
            change.added.update(came)
            change.removed.update(gone)
