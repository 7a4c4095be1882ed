# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What a change does to a record: decided here once, for the report, the limits, the digests and the store.

Example: ann is renamed and disabled in the directory: her fate is that she STAYS, RENAMED, DISABLED and HIDDEN. Bob is
gone from it: he becomes EXTINCT, and by the policy of `disable` he is DISABLED and HIDDEN, too.
"""

from __future__ import annotations

from .._changes import Effect, Fate, UserChange, UserGroupChange
from .._model import UserGroupRecord, UserRecord

_NOTHING: frozenset[Effect] = frozenset()
_SHOWN, _HIDDEN = frozenset({Effect.SHOWN}), frozenset({Effect.HIDDEN})
_CREATED = Fate.CREATED  # a first run is of nothing else


def user_change(
    reference: str,
    before: UserRecord | None,
    after: UserRecord | None,
    adopts: str | None = None,
    policy: str | None = None,
    is_released: bool = False,
) -> UserChange:
    """Return what makes a user record of another one.

    ``before`` is None if it is created, ``after`` if it ends. ``adopts``: the record made by hand that it takes over,
    which is then ``before``; ``policy``: user_collision. ``is_released``: it belongs to none from now on.
    """
    if before is None:
        effects = _SHOWN if after is not None and _is_shown(after) else _NOTHING
        return UserChange(reference, before, after, adopts, _CREATED, effects)
    if after is None:
        return UserChange(reference, before, after, adopts, Fate.DELETED, _HIDDEN if _is_shown(before) else _NOTHING)
    if adopts is not None:
        fate = Fate.MERGED if policy == "merge" else Fate.OVERWRITTEN
    elif is_released:
        fate = Fate.RELEASED
    else:
        fate = _fate_of_who_stays(before.extinct, after.extinct)
    return UserChange(reference, before, after, adopts, fate, _effects_on_user(before, after, adopts is not None))


def user_group_change(key: str, before: UserGroupRecord | None, after: UserGroupRecord | None) -> UserGroupChange:
    """Return what makes a record of a user group of another one: as in `user_change`."""
    if before is None:
        return UserGroupChange(key, before, after, _CREATED, _NOTHING)
    if after is None:
        return UserGroupChange(key, before, after, Fate.DELETED, _NOTHING)
    fate = _fate_of_who_stays(before.extinct, after.extinct)
    effects = []
    if before.name != after.name:
        effects.append(Effect.RENAMED)
    if before.parent != after.parent:
        effects.append(Effect.MOVED)
    if before.attributes != after.attributes or fate is Fate.BACK:
        effects.append(Effect.UPDATED)
    return UserGroupChange(key, before, after, fate, frozenset(effects))


def _fate_of_who_stays(before: str | None, after: str | None) -> Fate:
    """Return what becomes of a record that is there before and after: why it is extinct, None if it is not."""
    if after is not None:
        return Fate.EXTINCT if before is None else Fate.STAYS_EXTINCT
    return Fate.STAYS if before is None else Fate.BACK


def _effects_on_user(before: UserRecord, after: UserRecord, is_adopted: bool) -> frozenset[Effect]:
    effects = []
    if before.name != after.name:
        effects.append(Effect.RENAMED)
    if before.home != after.home:
        effects.append(Effect.MOVED)
    if is_adopted or before.sid != after.sid or before.attributes != after.attributes or _is_just_back(before, after):
        effects.append(Effect.UPDATED)
    if before.sid and not after.sid and not is_adopted:
        effects.append(Effect.SID_LOST)
    if before.enabled != after.enabled:
        effects.append(Effect.ENABLED if after.enabled else Effect.DISABLED)
    was_shown, is_shown = _is_shown(before), _is_shown(after)
    if was_shown != is_shown:
        effects.append(Effect.SHOWN if is_shown else Effect.HIDDEN)
    if before.claimed != after.claimed:
        effects.append(Effect.CLAIMED if after.claimed else Effect.UNCLAIMED)
    return frozenset(effects)


def _is_just_back(before: UserRecord, after: UserRecord) -> bool:
    """Tell whether the user is back in the state that it had: nothing but that it is updated would say so."""
    return before.extinct is not None and after.extinct is None and before.enabled == after.enabled


def _is_shown(record: UserRecord) -> bool:
    return record.enabled and record.extinct is None
