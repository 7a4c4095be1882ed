# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The digest of a plan, and that of what it takes away."""

from __future__ import annotations

import hashlib
import itertools
import json
import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from .. import _attributes, _changes
from .._changes import Effect, Fate, Plan, UserChange, UserGroupChange
from .._model import UserGroupRecord, UserRecord

Change = TypeVar("Change", UserChange, UserGroupChange, _changes.MembershipChange)
Said = list[object]  # what a digest covers of one change: plain data, as JSON has it


def plan_digest(plan: Plan) -> str:
    """Return the digest of a plan: what changes and what was there before, and nothing of time, host or order.

    Counts stand before it, so that a plan that is another than the approved one can be told by how it differs.
    """
    return _digest(
        plan,
        _written(plan),
        [
            "users+%d-%d~%d" % _counts(plan.users),
            "user_groups+%d-%d~%d" % _counts(plan.user_groups),
            "memberships+%d-%d"
            % (
                sum(len(change.users_added) + len(change.user_groups_added) for change in plan.memberships),
                _memberships_removed(plan),
            ),
        ],
    )


def removals_digest(plan: Plan) -> str:
    """Return the digest of what a plan takes away: users, user groups, memberships, and values of those who stay."""
    return _digest(
        plan,
        _removals(plan),
        [
            "users-%d" % sum(user.removes for user in plan.users_there),
            "user_groups-%d" % sum(map(_ends, plan.user_groups)),
            "memberships-%d" % _memberships_removed(plan),
            "attributes-%d" % (len(_changes.losses(plan)) + len(_sids_lost(plan))),
        ],
    )


def _counts(changes: Sequence[UserChange] | Sequence[UserGroupChange]) -> tuple[int, int, int]:
    """Return how many records are created, removed (or become extinct) and changed."""
    fates = Counter(change.fate for change in changes)
    created, removed = fates[Fate.CREATED], fates[Fate.DELETED] + fates[Fate.EXTINCT]
    return created, removed, len(changes) - created - removed


def _memberships_removed(plan: Plan) -> int:
    return sum(len(change.users_removed) + len(change.user_groups_removed) for change in plan.memberships)


def _ends(change: UserGroupChange) -> bool:
    return change.fate in (Fate.DELETED, Fate.EXTINCT)


_AT_ONCE = 100  # changes: one by one, the calls would take as long as the work


def _digest(plan: Plan, changes: Iterable[Said], counts: list[str]) -> str:
    digest = hashlib.sha256()
    encode = json.JSONEncoder(sort_keys=True, default=_attributes.fields_of).encode
    head: Said = [plan.synchronization, plan.directory.identity, plan.target]
    items = itertools.chain([head], changes)
    for several in iter(lambda: list(itertools.islice(items, _AT_ONCE)), []):
        digest.update(encode(several).encode("ascii") + b"\n")
    return "%s:%s" % (",".join(counts), digest.hexdigest())


def _in_order(changes: Iterable[Change]) -> list[Change]:
    return sorted(changes, key=operator.itemgetter(0))  # by reference, and they nearly always are


_POLICIES = {Fate.MERGED: "merge", Fate.OVERWRITTEN: "overwrite"}  # user_collision of who takes over a record


def _written(plan: Plan) -> Iterator[Said]:
    if plan.target_missing:
        yield ["target", plan.target]
    if plan.leaving:
        yield ["state", plan.leaving]
    for group in _in_order(plan.user_groups):
        yield ["user_group", group.key, _visible(group.before), _visible(group.after)]
    for user in _in_order(plan.users):
        if user.before is None and user.after is not None:  # a first run is of nothing else
            yield ["user", user.reference, None, _of_user(user.after), user.adopts, None, False]
            continue
        before, after = _visible(user.before), _visible(user.after)
        is_released = user.fate is Fate.RELEASED
        yield ["user", user.reference, before, after, user.adopts, _POLICIES.get(user.fate), is_released]
    for listed in _in_order(plan.memberships):
        yield ["members", *listed]


def _removals(plan: Plan) -> Iterator[Said]:
    if plan.leaving:
        yield ["state", plan.leaving]
    for group in _in_order(plan.user_groups):
        if _ends(group):
            yield ["user_group", group.key, _visible(group.before), _visible(group.after)]
    for user in _in_order(plan.users_there):
        if user.removes:
            yield ["user", user.reference, _visible(user.before), _visible(user.after), user.adopts]
    for listed in _in_order(plan.memberships):
        if listed.users_removed or listed.user_groups_removed:
            yield ["members", listed.key, listed.users_removed, listed.user_groups_removed]
    for loss in sorted(_changes.losses(plan)):
        yield ["value", *loss]
    for reference in _sids_lost(plan):
        yield ["sid", reference]


def _sids_lost(plan: Plan) -> list[str]:
    """Return the users who stay and have no SID any more."""
    return sorted(user.reference for user in plan.users_there if Effect.SID_LOST in user.effects)


def _visible(record: UserRecord | UserGroupRecord | None) -> tuple[object, ...] | None:
    """Return the fields of a record that users see."""
    if record is None:
        return None
    seen: tuple[object, ...] = (_of_user if isinstance(record, UserRecord) else _of_user_group)(record)
    return seen


def _fields_seen(fields: tuple[str, ...]) -> operator.itemgetter[tuple[object, ...]]:
    unseen = ("dn", "known_as", "unit", "own_name")
    return operator.itemgetter(*(number for number, field in enumerate(fields) if field not in unseen))


_of_user, _of_user_group = _fields_seen(UserRecord._fields), _fields_seen(UserGroupRecord._fields)
