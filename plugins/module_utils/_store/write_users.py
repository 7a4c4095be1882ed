# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Writing users, and who claims them."""

from __future__ import annotations

import itertools

from .. import _attributes, _changes, _model
from .._named_tuple import NamedTuple
from .._names import name_key
from .contract import Row
from .ends import end_claims, end_users
from .statements import next_id
from .work import Work, filling, moves

_NEW = (
    "id",
    "directory_id",
    "key",
    "synchronization_id",
    "digest",
    "run_id",
    "name",
    "name_key",
    "home_id",
    "enabled",
    "sid",
    "extinct",
    "extinct_since",
    "attributes",
    "dn",
    "known_as",
    "unit",
)

_NEVER = -1  # where two times are compared of which one may be missing


def put_aside(work: Work) -> None:
    """Free the places of all that leave them, so that swapped names never meet."""
    work.store.many(
        "UPDATE users SET name_key = NULL WHERE id = ?",
        (
            (work.users[change.adopts or change.reference],)
            for change in work.plan.users
            if change.adopts or change.before and moves(change.before, change.after)
        ),
    )


def write(work: Work) -> None:
    """Write those that are new and those that change; their ids are in ``Work.users`` from then on."""
    changes = _sort(work, next_id(work.store, "users"))
    end_users(work.store, changes.ended)
    _write_records(work, changes)
    _write_claims(work, changes)
    work.store.many(
        "UPDATE users SET synchronization_id = ?, digest = ? WHERE id = ?",
        ((work.me, digest, number) for number, digest in changes.written.items()),
    )
    _write_states(work)
    _write_expiries(work, changes)


# --- what is to be written -------------------------------------------------------------------------------------------


class _Changes(NamedTuple):
    """The changes of users, by what is to be done in the store."""

    first_id: int  # of those that are created
    created: list[_changes.UserChange]  # not what they say: a first run may have a million
    changed: list[Row]  # see `_write_records`
    adopted: list[Row]
    released: list[Row]  # ids
    ended: list[Row]  # ids
    claims: list[Row]  # synchronization, user
    unclaimed: list[int]  # ids
    written: dict[int, bytes]  # id -> digest: stored records that this synchronization writes from now on


def _sort(work: Work, first_id: int) -> _Changes:
    found = _Changes(first_id, [], [], [], [], [], [], [], {})
    users, created = work.users, found.created
    for change in work.plan.users:
        if change.after is None:
            found.ended.append((users[change.reference],))
        elif change.before is None:
            users[change.reference] = first_id + len(created)
            created.append(change)
        else:
            _sort_one(work, change, change.before, change.after, found)
    for reference, digest in work.plan.notes.user_digests.items():
        number = users.get(reference, first_id)
        if number < first_id:
            found.written[number] = digest
    return found


def _sort_one(
    work: Work, change: _changes.UserChange, before: _model.UserRecord, after: _model.UserRecord, found: _Changes
) -> None:
    """Sort in the change of a stored user that stays stored."""
    number = work.users[change.adopts or change.reference]
    row = _row(work, after)
    found.changed.append((*row[:6], row[3], row[6], row[6], *row[7:], number))
    if change.adopts:
        work.users[change.reference] = number
        is_merged = int(change.fate is _changes.Fate.MERGED)
        found.adopted.append((work.directory, change.reference, is_merged, is_merged, number))
    if change.fate is _changes.Fate.RELEASED:
        found.released.append((number,))
    elif change.reference in work.plan.notes.said_disabled:
        pass  # another one writes it
    elif change.adopts or after.claimed and before._replace(claimed=True) != after:
        found.written[number] = _model.NO_DIGEST
    elif before.claimed and after.extinct:
        found.written[number] = _model.NO_DIGEST  # whose claim was the last, its policy goes on to act
    if after.claimed and not before.claimed:
        found.claims.append((work.me, number))
    elif before.claimed and not after.claimed:
        found.unclaimed.append(number)


def _row(work: Work, record: _model.UserRecord) -> Row:
    """Return the columns from ``name`` on of `_NEW`."""
    return (
        record.name,
        name_key(record.name),
        work.groups[record.home],
        int(record.enabled),
        record.sid,
        record.extinct,
        work.time if record.extinct else None,
        _attributes.text_of(record.attributes),
        record.dn,
        record.known_as,
        record.unit,
    )


# --- writing it ------------------------------------------------------------------------------------------------------


def _write_records(work: Work, changes: _Changes) -> None:
    _add(work, changes)
    # The grace of an extinct user begins when the record is disabled (on the right, enabled is the value before).
    work.store.many(
        "UPDATE users SET name = ?, name_key = ?, home_id = ?, enabled = ?, sid = ?, extinct = ?,"
        " extinct_since = CASE WHEN enabled > ? THEN ? ELSE coalesce(extinct_since, ?) END,"
        " attributes = ?, dn = ?, known_as = ?, unit = ? WHERE id = ?",
        changes.changed,
    )
    work.store.many(
        "UPDATE users SET extinct_since = NULL WHERE id = ?",
        (
            (work.users[change.reference],)
            for change in work.plan.users
            if change.before and change.before.extinct and change.after and not change.after.extinct
        ),
    )
    work.store.many(
        "UPDATE users SET directory_id = ?, key = ?, adopted = ?,"
        " local_attributes = CASE WHEN ? = 1 THEN local_attributes ELSE '{}' END WHERE id = ?",
        changes.adopted,
    )
    work.store.many(
        "UPDATE users SET directory_id = NULL, key = NULL, synchronization_id = NULL, digest = x'',"
        " adopted = 0, extinct = NULL, extinct_since = NULL WHERE id = ?",
        changes.released,
    )


def _add(work: Work, changes: _Changes) -> None:
    digests = work.plan.notes.user_digests
    work.store.insert(
        "users",
        _NEW,
        (
            (
                number,
                work.directory,
                change.reference,
                work.me,
                digests.get(change.reference, _model.NO_DIGEST),
                work.run,
                *_row(work, change.after),
            )
            for number, change in enumerate(changes.created, changes.first_id)
            if change.after
        ),
    )


def _write_claims(work: Work, changes: _Changes) -> None:
    work.store.many("DELETE FROM claims WHERE user_id = ?", changes.released)
    new = (
        (work.me, number)
        for number, change in enumerate(changes.created, changes.first_id)
        if change.after and change.after.claimed
    )
    with filling(work.store, "claims", len(changes.claims) + len(changes.created)):
        work.store.insert("claims", ("synchronization_id", "user_id"), itertools.chain(changes.claims, new))
    end_claims(work.store, work.me, changes.unclaimed)


def _write_states(work: Work) -> None:
    """Note of whom others write whether this synchronization sees them disabled. Who writes such a user compares it in
    its next run, for it alone may enable it.
    """
    notes = work.plan.notes
    said = {
        work.users[reference]: notes.state_by if disabled else None
        for reference, disabled in notes.said_disabled.items()
        if reference in work.users
    }
    work.store.many("UPDATE users SET digest = x'' WHERE id = ?", ((number,) for number in said))
    work.store.many(
        "UPDATE claims SET disabled = ? WHERE synchronization_id = ? AND user_id = ?",
        ((text, work.me, number) for number, text in said.items()),
    )


def _write_expiries(work: Work, changes: _Changes) -> None:
    """Note when time alone disables users; only where that differs, for it is noted of many in each run."""
    expires: dict[int, int | None] = {number: None for (number,) in changes.released}
    expires.update(
        (work.users[reference], when)
        for reference, when in work.plan.notes.user_expires.items()
        if reference in work.users
    )
    work.store.many(
        "UPDATE users SET expires = ? WHERE id = ? AND coalesce(expires, %d) <> ?" % _NEVER,
        ((when, number, _NEVER if when is None else when) for number, when in expires.items()),
    )


def note_names(work: Work) -> None:
    """Note under what DN and other names the directory has them."""
    work.store.many(
        "UPDATE users SET dn = ?, known_as = ?, unit = ? WHERE id = ?",
        ((*noted, work.users.get(reference)) for reference, noted in work.plan.notes.user_dns.items()),
    )
