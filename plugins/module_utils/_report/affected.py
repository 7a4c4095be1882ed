# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""User groups that did not change themselves, but whose effective members did, or the enabled ones among them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from .. import _graph
from .._changes import Effect, Fate, Plan, UserChange
from .._model import StoredState
from .changes import UserGroups, groups_after


def _nestings_after(plan: Plan, state: StoredState) -> dict[str, set[str]]:
    """Return which user groups each one lists, as it is afterwards."""
    nestings = {key: set(children) for key, children in state.nestings.items()}
    for change in plan.memberships:
        children = nestings.setdefault(change.key, set())
        children.difference_update(change.user_groups_removed)
        children.update(change.user_groups_added)
    return nestings


def _is_shown_or_hidden(change: UserChange) -> bool:
    return Effect.SHOWN in change.effects or Effect.HIDDEN in change.effects


def _passing(plan: Plan, state: StoredState) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return which user groups pass their members on to which, before and after: see `_graph.passing`."""
    extinct_before = {key for key, record in state.user_groups.items() if record.extinct}
    extinct_after = {key for key, record in groups_after(plan, state).items() if record.extinct}
    return (
        _graph.passing(state.nestings, extinct_before),
        _graph.passing(_nestings_after(plan, state), extinct_after),
    )


def members_to_load(plan: Plan, state: StoredState) -> set[str]:
    """Return the stored groups whose members come to be, or cease to be, members of another group by nesting."""
    if not any(change.user_groups_added or change.user_groups_removed for change in plan.memberships) and not any(
        change.fate in (Fate.EXTINCT, Fate.BACK) for change in plan.user_groups
    ):
        return set()
    before, after = _passing(plan, state)
    moving = {
        child for key in before.keys() | after.keys() for child in set(before.get(key, ())) ^ set(after.get(key, ()))
    }
    return (_graph.reach(moving, before) | _graph.reach(moving, after)) & set(state.user_groups)


def users_to_load(plan: Plan, state: StoredState, nested: Iterable[str]) -> set[str]:
    """Return the users whose stored direct groups are needed; ``nested``: the members of `members_to_load`."""
    if not state.user_groups:
        return set()
    users = set(nested)
    for change in plan.memberships:
        users.update(change.users_added, change.users_removed)
    users.update(change.reference for change in plan.users_there if _is_shown_or_hidden(change))
    return users


_GROUPS_AT_ONCE = 4096  # so that what is gathered of each group stays small, however many there are


def affected_groups(
    plan: Plan, state: StoredState, groups: UserGroups, direct_before: Mapping[str, list[str]]
) -> set[str]:
    """Return the keys of stored groups whose effective members, or the enabled ones among them, differ."""
    if not direct_before:
        return set()
    direct_after = {user: set(keys) for user, keys in direct_before.items()}
    for change in plan.memberships:
        for user in change.users_removed:
            direct_after[user].discard(change.key)
        for user in change.users_added:
            direct_after[user].add(change.key)
    switched = {change.reference for change in plan.users if _is_shown_or_hidden(change)}
    before, after = _passing(plan, state)
    around_before, around_after = _graph.turned(before), _graph.turned(after)
    affected = {
        *_graph.reach({key for user in switched for key in direct_before.get(user, ())}, around_before),
        *_graph.reach({key for user in switched for key in direct_after.get(user, ())}, around_after),
    }
    direct = {
        (frozenset(keys), frozenset(direct_after[user])) for user, keys in direct_before.items() if user not in switched
    }
    around = {key for passed in (before, after) for key, nested in passed.items() if nested}
    for keys_before, keys_after in direct:
        affected |= (keys_before ^ keys_after) - around
    several = sorted(around) if direct else []
    for at in range(0, len(several), _GROUPS_AT_ONCE):
        affected |= _differing(direct, around_before, around_after, several[at : at + _GROUPS_AT_ONCE])
    return {key for key in affected if key in state.user_groups and key in groups}


def _differing(
    direct: Collection[tuple[frozenset[str], frozenset[str]]],
    around_before: Mapping[str, list[str]],
    around_after: Mapping[str, list[str]],
    groups: Sequence[str],
) -> set[str]:
    """Return those of the groups in which somebody is, by nesting too, before and not after, or the other way round.

    ``direct``: pairs of the groups that list somebody themselves, before and after. It costs as much as there are
    edges and pairs, and not their product.
    """
    bits = {key: 1 << number for number, key in enumerate(groups)}
    reached_before = _graph.reach_of_each({key for keys, _after in direct for key in keys}, around_before, bits)
    reached_after = _graph.reach_of_each({key for _before, keys in direct for key in keys}, around_after, bits)
    differing = 0
    for keys_before, keys_after in direct:
        mask_before = mask_after = 0
        for key in keys_before:
            mask_before |= reached_before[key]
        for key in keys_after:
            mask_after |= reached_after[key]
        differing |= mask_before ^ mask_after
    return {groups[number] for number in _graph.bits_in(differing)}
