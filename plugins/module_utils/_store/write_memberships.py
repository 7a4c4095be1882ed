# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Writing memberships, and by what the lists of groups may know their members."""

from __future__ import annotations

import itertools

from .. import _model
from .statements import has
from .work import USER_GROUPS, USERS, Kind, Work, filling


def tell_others(work: Work) -> None:
    """Keep what the lists of other synchronizations may know a user by, whose DN or names are about to change.

    They compare with what is stored here, and it is not stored any more when it is their turn.
    """
    renamed = [work.users.get(reference) for reference in work.plan.notes.user_dns]
    renamed += [
        work.users[change.reference]
        for change in work.plan.users
        if change.before
        and change.after
        and not change.adopts
        and (change.before.dn, change.before.name, change.before.known_as)
        != (change.after.dn, change.after.name, change.after.known_as)
    ]
    if renamed and has(work.store, "SELECT 1 FROM synchronizations WHERE id <> ?", (work.me,)):
        work.store.many(
            "UPDATE memberships SET listed_as = coalesce(listed_as, '') || :mark || (SELECT u.dn || :mark || u.name"
            " || :mark || u.known_as FROM users u WHERE u.id = user_id) WHERE user_id = :user AND user_group_id IN"
            " (SELECT id FROM user_groups WHERE synchronization_id <> :me)",
            ({"mark": _model.KNOWN_AS, "user": number, "me": work.me} for number in renamed),
        )


def write(work: Work) -> None:
    """Write who leaves which user group, and who comes to it."""
    new = sum(len(change.users_added) for change in work.plan.memberships)
    with filling(work.store, "memberships", new):
        for kind in (USERS, USER_GROUPS):
            # Removals first: a record made by hand that leaves a list, and comes back to it as the user who adopts it,
            # is one record.
            _remove(work, kind)
            _add(work, kind)
            _note_values(work, kind)


def _remove(work: Work, kind: Kind) -> None:
    ids = kind.ids(work)
    work.store.many(
        "DELETE FROM %s WHERE user_group_id = ? AND %s = ?" % (kind.table, kind.column),
        (
            (work.groups[change.key], ids[reference])
            for change in work.plan.memberships
            for reference in getattr(change, kind.removed)
        ),
    )


def _add(work: Work, kind: Kind) -> None:
    ids = kind.ids(work)
    work.store.insert(
        kind.table,
        ("user_group_id", kind.column, "run_id"),
        itertools.chain.from_iterable(
            zip(
                itertools.repeat(work.groups[change.key]),
                dict.fromkeys(sorted(map(ids.__getitem__, getattr(change, kind.added)))),
                itertools.repeat(work.run),
            )
            for change in work.plan.memberships
        ),
    )


def _note_values(work: Work, kind: Kind) -> None:
    """Note by what values the lists know members besides, in place of those that are stored or beside them."""
    ids, notes = kind.ids(work), work.plan.notes
    work.store.many(
        "UPDATE %s SET listed_as = ? WHERE user_group_id = ? AND %s = ?" % (kind.table, kind.column),
        (
            (value or None, work.groups.get(key), ids[reference])
            for (key, reference), value in notes.listed_as.items()
            if reference in ids
        ),
    )
    work.store.many(
        "UPDATE %s SET listed_as = :value || coalesce(:mark || listed_as, '') WHERE user_group_id = :group"
        " AND %s = :member AND instr(:mark || coalesce(listed_as, '') || :mark, :mark || :value || :mark) = 0"
        % (kind.table, kind.column),
        (
            {"value": value, "mark": _model.KNOWN_AS, "group": work.groups.get(key), "member": ids[reference]}
            for (key, reference), values in notes.also_listed_as.items()
            if reference in ids
            for value in values
        ),
    )
