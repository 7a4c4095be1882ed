# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What columns of a provisioning hold as JSON: written, read, and told from damage."""

from __future__ import annotations

import sys
from typing import Any

from .._destination.contract import Kind, Record, State
from .._provisioning.changes import Told, told_in
from .forms import from_json, is_object, to_json

# --- links.written, intents.record: an account or a group of a destination --------------------------------------------


def record_to_text(record: Record) -> str:
    return to_json({**record._asdict(), "state": record.state.value, "attributes": dict(record.attributes)})


def record_from_text(text: str) -> Record:
    """Return the record. Raises ValueError if it is none."""
    said = from_json(text)
    texts = said["name"], said["external_id"]
    if not all(isinstance(each, str) for each in texts):
        raise ValueError("a name is no text")
    return Record(*texts, State(said["state"]), _texts(said["attributes"]))


def is_record(text: str) -> bool:
    return is_object(text, "name", "external_id", "state", "attributes") and bool(record_from_text(text))


# --- links.shown: what a destination made of attributes --------------------------------------------------------------


def shown_from_text(text: str) -> dict[str, str]:
    """Return it. Raises ValueError if it is no such."""
    return _texts(from_json(text))


def is_shown(text: str) -> bool:
    return shown_from_text(text) is not None


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ValueError("it is no object of texts")
    return {sys.intern(name): text for name, text in value.items()}  # of all records the same few


def is_kind(text: str) -> bool:
    return text in {kind.value for kind in Kind}


# --- provisionings.holder: the process that writes; empty if none does -----------------------------------------------


def is_holder(text: str) -> bool:
    if not text:
        return True
    said = from_json(text)
    return isinstance(said["process"], int) and all(isinstance(said[each], str) for each in ("where", "since"))


# --- provisionings.told: what user_group_changes returned, and nobody acknowledged; empty if nothing ------------------


def is_told(text: str) -> bool:
    return isinstance(told_in(text), Told)
