# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Synchronizations and their runs: what a run leaves for the next one, and the record that is kept of it."""

from __future__ import annotations

from .. import _changes, _model
from .._mark import NONE_LEFT, Mark, Unmarked
from .._names import split_path
from .contract import Row, Store, StoreError
from .forms import from_json, held_from_text, held_to_text, mark_from_row, mark_to_row, to_json
from .references import tree_now
from .statements import UNKNOWN, directory_id, first, one, synchronization_id
from .work import Work

_IDLE_RUNS_KEPT = 1000


# --- what the last run left ------------------------------------------------------------------------------------------

_LAST = (
    "SELECT s.id, (SELECT r.server FROM runs r WHERE r.synchronization_id = s.id ORDER BY r.id DESC LIMIT 1),"
    " s.scope, s.held FROM synchronizations s WHERE "
)


def last_run(store: Store, synchronization: str) -> _model.LastRun:
    """Return what the last applied run leaves for the next one to judge by."""
    row = first(store, _LAST + "s.name = ?", (synchronization,))
    return _left(row) if row else _model.LastRun("", None, frozenset())


def last_runs(store: Store, identity: str) -> dict[int, _model.LastRun]:
    """Return by their ids what the last runs of all synchronizations of a directory left."""
    rows = store.rows(_LAST + "s.directory_id = ?", (directory_id(store, identity),))
    return {row[0]: _left(row) for row in rows}


def _left(row: Row) -> _model.LastRun:
    _number, server, scope, held = row
    return _model.LastRun(server or "", from_json(scope), *held_from_text(held))


def mark(store: Store, synchronization: str) -> Mark | Unmarked:
    """Return up to where the last applied run has read the directory."""
    row = first(
        store,
        "SELECT m.mark, m.versions FROM synchronizations s JOIN marks m ON m.synchronization_id = s.id"
        " WHERE s.name = ?",
        (synchronization,),
    )
    return mark_from_row(*row) if row else NONE_LEFT


def last_times(store: Store, synchronization: str) -> list[int]:
    """Return when the last applied runs began, the newest first: a dozen at most, in seconds since 1970."""
    rows = store.rows(
        "SELECT r.time FROM synchronizations s JOIN runs r ON r.synchronization_id = s.id WHERE s.name = ?"
        " ORDER BY r.id DESC LIMIT 12",
        (synchronization,),
    )
    return [time for (time,) in rows]


def of_same_directory(store: Store, synchronization: str, identity: str | None) -> tuple[int | None, int]:
    """Return the id of the last run of any synchronization of the same directory, and how many of these there are: what
    a reader is told of who is stored changes with them only.

    :param identity: of the directory, which the store knows of a synchronization from its first run on; None: before
        the first read nobody knows.
    """
    last, count = one(
        store,
        "SELECT max((SELECT max(r.id) FROM runs r WHERE r.synchronization_id = s.id)), count(*) FROM synchronizations s"
        " WHERE s.directory_id = coalesce((SELECT m.directory_id FROM synchronizations m WHERE m.name = ?),"
        " (SELECT d.id FROM directories d WHERE d.identity = ?))",
        (synchronization, identity),
    )
    return last, count


def last_whole_check(store: Store) -> int | None:
    """Return when a run last looked through the whole store, its indexes included; None if none did."""
    row = first(store, "SELECT time FROM runs WHERE checked = 1 ORDER BY id DESC LIMIT 1")
    return row[0] if row else None


# --- what a synchronization is bound to ------------------------------------------------------------------------------


def directory_of(store: Store, synchronization: str) -> str | None:
    """Return the identity of the directory that the synchronization is bound to; None before its first run."""
    row = first(
        store,
        "SELECT d.identity FROM synchronizations s JOIN directories d ON d.id = s.directory_id WHERE s.name = ?",
        (synchronization,),
    )
    return row[0] if row else None


def directories(store: Store) -> list[str]:
    """Return the identities of all directories that records of the store come from."""
    return [identity for (identity,) in store.rows("SELECT identity FROM directories ORDER BY id")]


def target_of(store: Store, synchronization: str) -> list[str] | None:
    """Return the names in the path of the synchronization's user group; None before its first run."""
    row = first(store, "SELECT target_id FROM synchronizations WHERE name = ?", (synchronization,))
    return split_path(tree_now(store).path(row[0])) if row else None


# --- what a run leaves -----------------------------------------------------------------------------------------------


def bind(store: Store, plan: _changes.Plan, run: _model.RunRecord, target: int) -> tuple[int, int, int]:
    """Write the row of the synchronization, and what its next run goes by. Return its id, that of its directory, and
    that of its user group before; the same as now in its first run.

    Raises StoreError if it is bound to another directory.
    """
    name, leaves = plan.synchronization, run.leaves
    directory = directory_id(store, plan.directory.identity)
    if directory == UNKNOWN:
        directory = store.add("INSERT INTO directories (identity) VALUES (?)", (plan.directory.identity,))
    row = first(store, "SELECT id, directory_id, target_id, salt FROM synchronizations WHERE name = ?", (name,))
    kept = (
        leaves.salt,
        to_json(leaves.selected),
        to_json(run.settings),
        to_json(leaves.scope),
        held_to_text(leaves),
    )
    if row is None:
        store.run(
            "INSERT INTO synchronizations (name, directory_id, target_id, salt, selected, settings, scope, held)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (name, directory, target, *kept),
        )
        me = synchronization_id(store, name)
        _write_mark(store, me, leaves.mark)
        return me, directory, target
    me, bound_to, target_before, salt = row
    if bound_to != directory:
        raise StoreError("name: the synchronization '%s' belongs to another directory: write another name" % name)
    if target != target_before:
        store.run("UPDATE synchronizations SET target_id = ? WHERE id = ?", (target, me))
    store.run(
        "UPDATE synchronizations SET salt = ?, selected = ?, settings = ?, scope = ?, held = ? WHERE id = ?",
        (*kept, me),
    )
    _write_mark(store, me, leaves.mark)
    if salt != leaves.salt:  # no digest may outlive the settings that it was made under
        store.run("UPDATE users SET digest = x'' WHERE synchronization_id = ?", (me,))
        store.run("UPDATE user_groups SET digest = x'' WHERE synchronization_id = ?", (me,))
    return me, directory, target_before


def _write_mark(store: Store, me: int, left: Mark | Unmarked) -> None:
    if left == NONE_LEFT:
        store.run("DELETE FROM marks WHERE synchronization_id = ?", (me,))
        return
    said, versions = mark_to_row(left)
    if not store.run(
        "UPDATE marks SET mark = ? WHERE synchronization_id = ? AND versions = ?", (said, me, versions)
    ):  # which are large, and mostly the same
        store.run(
            "INSERT INTO marks (synchronization_id, mark, versions) VALUES (?, ?, ?)"
            " ON CONFLICT (synchronization_id) DO UPDATE SET mark = excluded.mark, versions = excluded.versions",
            (me, said, versions),
        )


def note(store: Store, me: int, plan: _changes.Plan, run: _model.RunRecord) -> int:
    """Write the record of the run. Return its id."""
    return store.add(
        "INSERT INTO runs (synchronization_id, synchronization, time, seconds, server, mode, changed, counts,"
        " plan_digest, settings_digest, reason, checked) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            me,
            plan.synchronization,
            run.time,
            run.seconds,
            run.server,
            run.mode,
            int(run.changed),
            to_json(run.counts),
            run.plan_digest,
            run.settings_digest,
            run.reason,
            int(store.checks.whole),
        ),
    )


def forget_old(work: Work, days: int) -> None:
    """Remove the runs that are older, and with them what they changed; and of those that changed nothing, all but the
    last thousands: a run every ten minutes makes 50,000 a year.
    """
    work.store.run(
        "DELETE FROM runs WHERE time < :before AND id <> :run AND coalesce(synchronization_id, :me) = :me",
        {"before": work.time - days * 86400, "run": work.run, "me": work.me},
    )
    work.store.run(
        "DELETE FROM runs WHERE synchronization_id = :me AND changed = 0 AND checked = 0 AND id < (SELECT id"
        " FROM runs WHERE synchronization_id = :me ORDER BY id DESC LIMIT 1 OFFSET :kept)",
        {"me": work.me, "kept": _IDLE_RUNS_KEPT},
    )
