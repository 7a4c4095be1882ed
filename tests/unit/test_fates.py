# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a change does to a record: decided once, and gone by everywhere."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _limits
from ansible_collections.usersync.directory.plugins.module_utils._changes import Effect, Fate
from ansible_collections.usersync.directory.plugins.module_utils._model import GONE
from ansible_collections.usersync.directory.plugins.module_utils._plan.fates import user_change, user_group_change
from support.plans import group_record, user_record

ANN = user_record("ann", sid="S-1")
OFF = ANN._replace(enabled=False)
LOST = ANN._replace(extinct=GONE, claimed=False)  # and as it was, by the policy of `skip`
LOST_AND_OFF = LOST._replace(enabled=False)
HAND = user_record("Ann", "path:All", claimed=False)
STAFF = group_record("Staff")
LOST_STAFF = STAFF._replace(extinct=GONE)


@pytest.mark.parametrize(
    ("before", "after", "more", "fate", "effects"),
    [
        (None, ANN, {}, "created", {"shown"}),
        (None, OFF, {}, "created", set()),
        (ANN, None, {}, "deleted", {"hidden"}),
        (LOST_AND_OFF, None, {}, "deleted", set()),
        (ANN, ANN._replace(name="anna", home="g1"), {}, "stays", {"renamed", "moved"}),
        (ANN, ANN._replace(attributes={"title": "Head"}), {}, "stays", {"updated"}),
        (ANN, ANN._replace(sid=None), {}, "stays", {"updated", "sid_lost"}),
        (ANN, ANN._replace(sid="S-2"), {}, "stays", {"updated"}),
        (ANN, OFF, {}, "stays", {"disabled", "hidden"}),
        (OFF, ANN, {}, "stays", {"enabled", "shown"}),
        (ANN, ANN._replace(claimed=False), {}, "stays", {"unclaimed"}),
        (ANN, LOST, {}, "extinct", {"hidden", "unclaimed"}),
        (ANN, LOST_AND_OFF, {}, "extinct", {"hidden", "unclaimed", "disabled"}),
        (LOST, LOST_AND_OFF, {}, "stays_extinct", {"disabled"}),
        (LOST, LOST._replace(name="ann (extinct)"), {}, "stays_extinct", {"renamed"}),
        (LOST, ANN, {}, "back", {"shown", "claimed", "updated"}),
        (LOST_AND_OFF, ANN, {}, "back", {"shown", "claimed", "enabled"}),
        (LOST_AND_OFF, OFF, {}, "back", {"claimed", "updated"}),
        (ANN, ANN._replace(claimed=False), {"is_released": True}, "released", {"unclaimed"}),
        (LOST, LOST._replace(extinct=None), {"is_released": True}, "released", {"shown", "updated"}),
        (HAND, ANN, {"adopts": "#All/Ann", "policy": "merge"}, "merged", {"renamed", "moved", "updated", "claimed"}),
        (
            HAND._replace(sid="S-1"),
            OFF._replace(sid=None),
            {"adopts": "#All/Ann", "policy": "overwrite"},
            "overwritten",
            {"renamed", "moved", "updated", "claimed", "disabled", "hidden"},
        ),
    ],
)
def test_what_becomes_of_a_user(before: Any, after: Any, more: Any, fate: str, effects: set[str]) -> None:
    change = user_change("u1", before, after, **more)
    assert (change.fate, change.effects) == (Fate(fate), {Effect(effect) for effect in effects})
    removing = {"deleted", "extinct", "released", "overwritten"}
    assert change.removes == (fate in removing or fate == "stays_extinct" and "disabled" in effects)


@pytest.mark.parametrize(
    ("before", "after", "fate", "effects"),
    [
        (None, STAFF, "created", set()),
        (STAFF, None, "deleted", set()),
        (STAFF, STAFF._replace(name="Crew", parent="g1"), "stays", {"renamed", "moved"}),
        (STAFF, STAFF._replace(attributes={"email": "x"}), "stays", {"updated"}),
        (STAFF, LOST_STAFF, "extinct", set()),
        (LOST_STAFF, LOST_STAFF._replace(name="Staff (extinct)"), "stays_extinct", {"renamed"}),
        (LOST_STAFF, STAFF, "back", {"updated"}),
    ],
)
def test_what_becomes_of_a_user_group(before: Any, after: Any, fate: str, effects: set[str]) -> None:
    change = user_group_change("g1", before, after)
    assert (change.fate, change.effects) == (Fate(fate), {Effect(effect) for effect in effects})


def test_who_is_renamed_by_the_directory() -> None:
    """Neither who takes over a record is, nor who gives its name up as extinct."""
    renamed = [
        _limits._is_renamed(user_change("u1", before, before._replace(name="anna", extinct=extinct), **more))
        for before, extinct, more in (
            (ANN, None, {}),
            (LOST, None, {}),
            (LOST, GONE, {}),
            (ANN, GONE, {}),
            (HAND, None, {"adopts": "#All/Ann", "policy": "merge"}),
        )
    ]
    assert renamed == [True, True, False, False, False]
