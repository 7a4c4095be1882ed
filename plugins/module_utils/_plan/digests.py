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

from .. import _model


def plan_digest(plan: _model.Plan) -> str:
    """Return the digest of a plan: what changes and what was there before, and nothing of time, host or order.

    Counts stand before it, so that a plan that is another than the approved one can be told by how it differs.
    """
    return _digest(
        plan,
        _changes(plan),
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


def removals_digest(plan: _model.Plan) -> str:
    """Return the digest of what a plan takes away: users, user groups, memberships, and values of those who stay."""
    return _digest(
        plan,
        _removals(plan),
        [
            "users-%d" % sum(change.removes for change in plan.users if change.before is not None),
            "user_groups-%d" % sum(map(_group_ends, plan.user_groups)),
            "memberships-%d" % _memberships_removed(plan),
            "attributes-%d" % (len(_model.losses(plan)) + len(_sids_lost(plan))),
        ],
    )


def _counts(changes):
    """Return how many records are created, removed (or become extinct) and changed."""
    there = [change for change in changes if change.before is not None]
    removed = sum(change.after is None or bool(change.after.extinct) and not change.before.extinct for change in there)
    return len(changes) - len(there), removed, len(there) - removed


def _memberships_removed(plan):
    return sum(len(change.users_removed) + len(change.user_groups_removed) for change in plan.memberships)


def _group_ends(change):
    return change.after is None or bool(change.after.extinct) and not (change.before and change.before.extinct)


_AT_ONCE = 100  # changes: one by one, the calls would take as long as the work


def _digest(plan, changes, counts):
    digest = hashlib.sha256()
    encode = json.JSONEncoder(sort_keys=True, default=_model.fields_of).encode
    items = itertools.chain([[plan.synchronization, plan.directory.identity, plan.target]], changes)
    for several in iter(lambda: list(itertools.islice(items, _AT_ONCE)), []):
        digest.update(encode(several).encode("ascii") + b"\n")
    return "%s:%s" % (",".join(counts), digest.hexdigest())


def _in_order(changes):
    return sorted(changes, key=operator.itemgetter(0))  # by reference, and they nearly always are


def _changes(plan):
    if plan.target_missing:
        yield ["target", plan.target]
    if plan.leaving:
        yield ["state", plan.leaving]
    for change in _in_order(plan.user_groups):
        yield ["user_group", change.key, _visible(change.before), _visible(change.after)]
    for reference, before, after, adopts, policy, released in _in_order(plan.users):
        yield ["user", reference, _visible(before), _visible(after), adopts, policy, released]
    for change in _in_order(plan.memberships):
        yield ["members", *change]


def _removals(plan):
    if plan.leaving:
        yield ["state", plan.leaving]
    for change in _in_order(plan.user_groups):
        if _group_ends(change):
            yield ["user_group", change.key, _visible(change.before), _visible(change.after)]
    for change in _in_order(plan.users):
        if change.before is not None and change.removes:
            yield ["user", change.reference, _visible(change.before), _visible(change.after), change.adopts]
    for change in _in_order(plan.memberships):
        if change.users_removed or change.user_groups_removed:
            yield ["members", change.key, change.users_removed, change.user_groups_removed]
    for loss in sorted(_model.losses(plan)):
        yield ["value", *loss]
    for reference in _sids_lost(plan):
        yield ["sid", reference]


def _sids_lost(plan):
    """Return the users who stay and have no SID any more."""
    changes = [change for change in plan.users if change.before and change.after and not change.adopts]
    return sorted(change.reference for change in changes if change.before.sid and not change.after.sid)


def _visible(record):
    """Return the fields of a record that users see."""
    if record is None:
        return None
    return (_of_user if record.__class__ is _model.UserRecord else _of_user_group)(record)


_of_user, _of_user_group = (
    operator.itemgetter(
        *(number for number, field in enumerate(kind._fields) if field not in ("dn", "known_as", "unit", "own_name"))
    )
    for kind in (_model.UserRecord, _model.UserGroupRecord)
)
