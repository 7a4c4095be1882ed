# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What columns hold as JSON. Each form is in one place: how it is written, how it is read, and what is no such form."""

from __future__ import annotations

import json
from typing import Any

from .. import _attributes, _mark, _model
from .._mark import Mark, Unmarked

_decode = json.JSONDecoder().raw_decode
to_json = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_attributes.fields_of
).encode


def from_json(text: str) -> Any:
    """Return what the text says. Raises ValueError if it is no JSON."""
    return _decode(text)[0]  # json.loads() looks for blanks around it, which takes as long again


def is_object(text: str, *keys: str) -> bool:
    """Tell whether it is the JSON of an object that has these keys."""
    value = json.loads(text)
    return isinstance(value, dict) and value.keys() >= set(keys)


# --- synchronizations.scope: the settings that decided who was in scope ----------------------------------------------


def is_scope(text: str) -> bool:
    return text == "null" or is_object(text, "whole_tree")


# --- synchronizations.held: what a run held, why, and how far its server was -----------------------------------------


def held_to_text(leaves: _model.Leaves) -> str:
    return to_json(
        {
            "for_one_run": sorted(leaves.held),
            "reasons": [[*conclusion, why] for conclusion, why in sorted(leaves.reasons.items())],
            "standing": leaves.standing,
            "believed": leaves.believed,
        }
    )


def held_from_text(text: str) -> tuple[frozenset[_model.Conclusion], _model.Standing, int | None]:
    """Return LastRun.held, .standing and .believed."""
    held = from_json(text)
    if isinstance(held, list):  # as earlier versions left it
        return frozenset(map(tuple, held)), _model.Standing(), None
    return frozenset(map(tuple, held["for_one_run"])), _model.Standing(*held["standing"]), held.get("believed")


def is_held(text: str) -> bool:
    value = json.loads(text)
    if isinstance(value, list):
        return all(isinstance(one, list) for one in value)
    return is_object(text, "for_one_run", "reasons", "standing")


# --- marks.mark: up to where a run has read the directory ------------------------------------------------------------


def mark_to_row(mark: Mark | Unmarked) -> tuple[str, bytes]:
    """Return the text of what it says; the versions, which are large, have a column of their own."""
    return to_json(_mark.as_data(mark)), b"" if isinstance(mark, Unmarked) else mark.reached.versions


def mark_from_row(text: str, versions: bytes) -> Mark | Unmarked:
    return _mark.from_data(from_json(text), versions)


def is_mark(text: str) -> bool:
    return _mark.is_mark(json.loads(text))
