# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The embedded store: one SQLite file.

:func:`open_store` is for a run that will write, :func:`look` for whoever only looks and must leave no trace.

Its tables are in `schema`, the file under it is the matter of `sqlite_file`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from .. import _model
from .._errors import SynchronizationError
from .._model import name_key
from . import backups, damage, schema, sqlite_file
from .sqlite_file import StoreError, check_writable

__all__ = ["Store", "StoreError", "check_writable", "look", "open_store"]

# What a query is about, when that is too long for its text. Joined to from here by CROSS JOIN, which keeps the order.
_WANTED = (
    "CREATE TEMP TABLE wanted_keys (reference TEXT, directory_id INTEGER, key TEXT)",
    "CREATE TEMP TABLE wanted_places (reference TEXT, home_id INTEGER, name_key TEXT)",
    "CREATE TEMP TABLE wanted_sids (sid TEXT)",
    "CREATE TEMP TABLE wanted_ids (id INTEGER PRIMARY KEY)",
    "CREATE TEMP TABLE wanted_groups (id INTEGER PRIMARY KEY)",
    "CREATE TEMP TABLE leaving (user_group_id INTEGER, member_id INTEGER, PRIMARY KEY (user_group_id, member_id))",
)

_IDLE_RUNS_KEPT = 1000

_CACHE = 65536  # KiB; a first run of a million users takes no longer with it than with four times as much

_ROWS_AT_ONCE = 50  # in one INSERT; with seventeen columns still below the 999 values that older SQLites take

_NEW_USER = (
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

_decode = json.JSONDecoder().raw_decode
_to_json = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_model.fields_of).encode


# --- opening ---------------------------------------------------------------------------------------------------------


def open_store(path: str, wait: int = 60) -> Store:
    """Open the store at ``path`` for a run, and hold it until ``commit()`` or ``close()``.

    A missing file is made with mode 0600, a missing directory with 0700; if nothing is committed, both are gone again
    after ``close()``. Another run is waited for, for ``wait`` seconds (`store_timeout`).

    Raises StoreError, with a sentence for the reader; the file is then as it was.
    """
    path = sqlite_file.without_links(path)
    deadline = time.monotonic() + wait
    held = sqlite_file.lock(path, deadline)
    leave, connection = functools.partial(sqlite_file.unlock, held, path), None
    try:
        connection = _begin(path, max(0.0, deadline - time.monotonic()), held)
        return Store(connection, path, leave, held.descriptor)
    except BaseException:
        if connection is not None:
            connection.close()
        leave(False)
        raise


def look(path: str, for_dry_run: bool = False) -> Store:
    """Open the store at ``path`` to look at it, as it is now, without a trace: no file is made, none is touched.

    A store that does not exist is an empty one. Leaving the store raises StoreChanged if a run changed it meanwhile.
    ``for_dry_run``: what keeps a run from writing to it is an error here, too.

    Raises StoreError, with a sentence for the reader.
    """
    path = sqlite_file.without_links(path)
    connection, leave = sqlite_file.look_at(path)
    try:
        if connection is None or _is_empty(connection, path):
            if connection is not None:
                connection.close()
            connection = sqlite_file.connect(":memory:", "mode=memory")
            schema.create(connection)
        elif schema.is_old(connection):
            connection = sqlite_file.into_memory(connection)
            schema.upgrade(connection)
        if for_dry_run:
            _check_schema(connection, path)
        return Store(connection, path, leave)
    except BaseException as error:
        if connection is not None:
            connection.close()
        leave(False)  # where a run changed it meanwhile, that is why
        if isinstance(error, (sqlite3.Error, UnicodeDecodeError)):  # what SQLite says may quote what is no text
            raise sqlite_file.not_read(path, error) from error
        raise


def _check_schema(connection: sqlite3.Connection, path: str) -> None:
    wrong = damage.in_schema(connection)
    if wrong:
        raise sqlite_file.damaged(path, wrong)


def _begin(path: str, wait: float, held: sqlite_file.Lock) -> sqlite3.Connection:
    # Looking first tells a file that is no store without SQLite touching it: an ordinary open would already roll back
    # or check in what another program left in its journal.
    look(path).close()
    connection = sqlite_file.connect(path, "mode=rw", wait)
    try:
        sqlite_file.check_that_sqlite_opened(held, path)
        if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":  # a file system may not allow it
            connection.execute("PRAGMA cache_spill = OFF")  # so the file changes at the commit only: see `backups`
        connection.execute("BEGIN IMMEDIATE")
        if _is_empty(connection, path):
            schema.create(connection)
        schema.upgrade(connection)
        _check_schema(connection, path)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            raise sqlite_file.held_by_another(path) from error
        if isinstance(error, sqlite3.Error):
            raise _not_written(path, error) from error
        raise
    return connection


def _check_as_committed(path: str, whole: bool) -> None:
    with contextlib.closing(sqlite_file.connect(path, "mode=ro")) as connection:
        sqlite_file.check(connection, path, whole)


def _may_be_damage(error: BaseException | None) -> bool:
    return isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.OperationalError)  # of the system


def _not_written(path: str, error: Exception) -> StoreError:
    return StoreError(
        "store: '%s' cannot be written (%s): make room or repair it, or name another file" % (path, error)
    )


def _is_empty(connection: sqlite3.Connection, path: str) -> bool:
    """Tell whether the database has nothing in it, as a killed first run leaves it.

    Raises StoreError if it is no store, or one of a newer version.
    """
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise sqlite_file.damaged(path, error) from error
    if application == 0 and version == 0 and tables == 0:
        return True
    if application != schema.APPLICATION_ID:
        raise StoreError("store: '%s' is a database of another program: name another file" % path)
    if version < 1:
        raise sqlite_file.damaged(path, "it has no schema version")
    if version > schema.VERSION:
        raise StoreError(
            "store: '%s' has schema version %d and this collection knows versions up to %d: update the "
            "collection, or name another file" % (path, version, schema.VERSION)
        )
    return False


# --- the tree of user groups -----------------------------------------------------------------------------------------


class _Group(NamedTuple):
    id: int
    parent: int | None
    name: str
    name_key: str
    synchronization: int | None
    key: str | None
    extinct: str | None
    attributes: str
    dn: str
    digest: bytes
    unit: str
    own_name: str
    extinct_since: int | None


class _Tree:
    """Where the user groups are at one moment, and how one synchronization refers to them."""

    def __init__(self, rows, synchronization: int):
        self.groups = {group.id: group for group in map(_Group._make, rows)}
        if not damage.is_tree({group.id: group.parent for group in self.groups.values()}):
            raise ValueError("a user group lies in itself")
        self.places = {(group.parent, group.name_key): group.id for group in self.groups.values()}
        self.owned = {group.key: group.id for group in self.groups.values() if group.synchronization == synchronization}
        self._paths: dict = {}
        self._references = {number: key for key, number in self.owned.items()}

    def path(self, number: int) -> str:
        above = []  # not by recursion: a tree may be deeper than that goes
        while number is not None and number not in self._paths:
            above.append(self.groups[number])
            number = self.groups[number].parent
        path = self._paths.get(number)
        for group in reversed(above):
            path = self._paths[group.id] = group.name if path is None else _model.join_path(path, group.name)
        return path

    def path_in(self, reference: str, name: str) -> str:
        """Return the path of what has this name in the user group that the reference is of."""
        prefix = _model.path_reference("")
        home = self.path(self.owned[reference]) if reference in self.owned else reference[len(prefix) :]
        return _model.join_path(home, name)

    def reference(self, number: int) -> str:
        if number not in self._references:
            self._references[number] = _model.path_reference(self.path(number))
        return self._references[number]

    def records(self) -> dict:
        """Return {stable key: record} of the owned user groups."""
        owned = map(self.groups.__getitem__, self.owned.values())
        return {
            group.key: _model.UserGroupRecord(
                group.name,
                self.reference(group.parent),
                group.extinct,
                _model.EncodedAttributes(group.attributes),
                group.dn,
                group.unit,
                group.own_name,
            )
            for group in owned
        }

    def find(self, names: list) -> tuple:
        """Return the ids of the user groups along the path, as far as they exist."""
        found: list = []
        for name in names:
            number = self.places.get((found[-1] if found else None, name_key(name)))
            if number is None:
                break
            found.append(number)
        return tuple(found)

    def at(self, names: list) -> int | None:
        found = self.find(names)
        return found[-1] if len(found) == len(names) else None

    def referred_to(self, reference: str) -> int | None:
        if reference in self.owned:
            return self.owned[reference]
        prefix = _model.path_reference("")
        if not reference.startswith(prefix):
            return None
        return self.at(_model.split_path(reference[len(prefix) :]))


def _foreign_reference(identity: str, key: str) -> str:
    return "@" + _model.join_path(_model.join_path("", identity)[1:], key)


def _foreign_parts(reference: str) -> tuple:
    """Return the identity of the directory, and the stable key."""
    _root, identity, key = _model.split_path(_model.ROOT + "/" + reference[1:])
    return identity, key


# --- the store -------------------------------------------------------------------------------------------------------


class Store:
    """An open store. Get one from :func:`open_store` or :func:`look`; leave it by ``with`` or by ``close()``.

    Every method raises StoreError when the file cannot be read or written.
    """

    def __init__(self, connection: sqlite3.Connection, path: str, leave, descriptor: int = -1):
        self._connection: sqlite3.Connection | None = connection
        self._path = path
        self._descriptor = descriptor  # of the file, while a run holds it
        self._checks: dict[bool, Callable[[], None]] = {}  # whether of the whole store -> what waits for the end
        self._is_whole = False  # the check that has begun
        self._leave = leave
        self._committed = False
        self._trees: dict = {}
        for statement in _WANTED:
            self._run(statement)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, dummy_kind, error, dummy_trace) -> None:
        try:
            if isinstance(error, Exception):
                self._refuse_damage(error)
        finally:
            self.close()

    def _refuse_damage(self, error: Exception) -> None:
        """Raise StoreError if the store is damaged, where that may be why something failed."""
        if isinstance(error, SynchronizationError) and not _may_be_damage(error.__cause__):
            return  # it was foreseen
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.rollback()  # what was written so far is not what is looked at
        found = damage.find(self._connection)
        if found:
            raise sqlite_file.damaged(self._path, found) from error

    def commit(self) -> None:
        """End the transaction, and keep what it wrote."""
        self._run("COMMIT")
        self._committed = True

    def close(self) -> None:
        """Leave the store, without what was not committed.

        Raises StoreChanged where the store was looked at and a run changed it meanwhile.
        """
        if self._connection is not None:
            if self._descriptor >= 0:
                with contextlib.suppress(Exception):
                    self.end_check()  # or the last connection would be one that may not remove the WAL
            connection, self._connection = self._connection, None
            connection.close()  # rolls back; checks the WAL in and removes it
            self._leave(self._committed)

    # --- statements ---

    def _run(self, statement: str, parameters=()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, parameters)
        except sqlite3.Error as error:
            raise _not_written(self._path, error) from error

    def _many(self, statement: str, rows) -> None:
        try:
            self._connection.executemany(statement, rows)
        except sqlite3.Error as error:
            raise _not_written(self._path, error) from error

    def _insert(self, table: str, columns: tuple, rows) -> None:
        """Insert many short rows, many with each statement: a statement takes longer than such a row."""
        marks = "(%s)" % ", ".join("?" * len(columns))
        insert = "INSERT INTO %s (%s) VALUES %%s" % (table, ", ".join(columns))
        values = itertools.chain.from_iterable(rows)
        rest: list = []

        def whole_batches():
            size = _ROWS_AT_ONCE * len(columns)
            for batch in iter(lambda: tuple(itertools.islice(values, size)), ()):
                if len(batch) == size:
                    yield batch
                else:
                    rest.extend(batch)

        self._many(insert % ", ".join([marks] * _ROWS_AT_ONCE), whole_batches())
        if rest:
            self._run(insert % ", ".join([marks] * (len(rest) // len(columns))), rest)

    def _rows(self, statement: str, parameters=()) -> list:
        try:
            return self._connection.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise sqlite_file.not_read(self._path, error) from error

    def _row(self, statement: str, parameters=()) -> tuple | None:
        return next(iter(self._rows(statement, parameters)), None)

    def _want(self, table: str, rows) -> None:
        """Fill one of the tables that say what the next queries are about."""
        rows = list(rows)
        self._run("DELETE FROM %s" % table)
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self._many("INSERT INTO %s VALUES (%s)" % (table, marks), rows)

    def _next_id(self, table: str) -> int:
        return self._row("SELECT coalesce(max(id), 0) + 1 FROM %s" % table)[0]

    # --- small look-ups ---

    def _synchronization(self, name: str) -> int:
        """Return the id of the synchronization; 0, which no row has, where the store does not know it."""
        row = self._row("SELECT id FROM synchronizations WHERE name = ?", (name,))
        return row[0] if row else 0

    def _ids(self, synchronization: str) -> tuple[int, int]:
        """Return the id of the synchronization and of its directory; 0 for what the store does not know."""
        row = self._row("SELECT id, directory_id FROM synchronizations WHERE name = ?", (synchronization,))
        return row or (0, 0)

    def _directory(self, identity: str) -> int:
        row = self._row("SELECT id FROM directories WHERE identity = ?", (identity,))
        return row[0] if row else 0

    def _tree(self, synchronization: int = 0) -> _Tree:
        """Return the tree as it is now."""
        rows = self._rows(
            "SELECT id, parent_id, name, name_key, synchronization_id, key, extinct, attributes, dn,"
            " digest, unit, own_name, extinct_since FROM user_groups"
        )
        return _Tree(rows, synchronization)

    def _tree_before(self, synchronization: int) -> _Tree:
        """Return the tree as it is while nothing is written, which is asked for several times in a run."""
        if synchronization not in self._trees:
            self._trees[synchronization] = self._tree(synchronization)
        return self._trees[synchronization]

    def _user_ids(self, references, directory: int, tree: _Tree) -> dict:
        """Return {reference: id} of those users that are stored."""
        identities: dict | None = None
        by_key, by_place = [], []
        for reference in references:
            if reference[:1] == "#":
                names = _model.split_path(reference[1:])
                by_place.append((reference, tree.at(names[:-1]), name_key(names[-1])))
            elif reference[:1] == "@":
                if identities is None:
                    identities = dict(self._rows("SELECT identity, id FROM directories"))
                identity, key = _foreign_parts(reference)
                by_key.append((reference, identities.get(identity), key))
            else:
                by_key.append((reference, directory, reference))
        self._want("wanted_keys", by_key)
        self._want("wanted_places", by_place)
        return dict(
            self._rows(
                "SELECT w.reference, u.id FROM wanted_keys w CROSS JOIN users u"
                " WHERE u.directory_id = w.directory_id AND u.key = w.key"
                " UNION ALL SELECT w.reference, u.id FROM wanted_places w CROSS JOIN users u"
                " WHERE u.home_id = w.home_id AND u.name_key = w.name_key AND u.directory_id IS NULL"
            )
        )

    def _references_of_wanted_ids(self, directory: int, tree: _Tree) -> dict:
        """Return {id: reference} of the users in wanted_ids."""
        return {
            number: _reference(directory, tree, *row)
            for number, *row in self._rows(
                "SELECT u.id, u.directory_id, d.identity, u.key, u.home_id, u.name FROM wanted_ids w CROSS JOIN users u"
                " LEFT JOIN directories d ON d.id = u.directory_id WHERE u.id = w.id"
            )
        }

    def _references(self, users: set, directory: int, tree: _Tree, many: bool) -> dict:
        """Return {id: reference} of the users; ``many``: they may be a large part of all."""
        references: dict = {}
        if users and many:  # all of the directory are faster to get, by an index, than to ask for one by one
            references.update(self._rows("SELECT id, key FROM users WHERE directory_id = ?", (directory,)))
        self._want("wanted_ids", ((number,) for number in users.difference(references)))
        references.update(self._references_of_wanted_ids(directory, tree))
        return references

    # --- what a run needs to know ---

    def digests(self, synchronization: str, salt: bytes) -> _model.Digests:
        """Return what the reader may leave out.

        ``salt`` is the fingerprint of the settings under which digests are comparable. Where the stored one differs,
        everything must be compared.
        """
        row = self._row(
            "SELECT id, directory_id, salt, selected FROM synchronizations WHERE name = ?", (synchronization,)
        )
        me, directory, stored_salt, selected = row or (0, 0, b"", "{}")
        same = stored_salt == salt
        users = dict(
            self._rows(
                "SELECT u.key, CASE WHEN u.synchronization_id = :me THEN CASE WHEN :same THEN u.digest ELSE x'' END"
                " WHEN EXISTS (SELECT 1 FROM claims w WHERE w.user_id = u.id"
                "              AND w.synchronization_id = u.synchronization_id) THEN NULL ELSE x'' END"
                " FROM claims c CROSS JOIN users u"
                " WHERE c.synchronization_id = :me AND u.id = c.user_id AND u.extinct IS NULL",
                {"me": me, "same": same},
            )
        )
        groups = self._rows(
            "SELECT key, CASE WHEN :same THEN digest ELSE x'' END, CASE WHEN unit = '' THEN '' ELSE dn END"
            " FROM user_groups WHERE synchronization_id = :me AND extinct IS NULL",
            {"me": me, "same": same},
        )
        return _model.Digests(
            users=users,
            user_groups={key: digest for key, digest, _dn in groups},
            group_dns={key: dn for key, _digest, dn in groups if dn},
            foreign_users=self._foreign_users(directory),
            others=self._written_by_others(me) if None in users.values() else {},
            selected=_from_json(selected),
            listing=lambda keys: {group for dummy, group in self.known(synchronization, salt).listing(keys)},
            dns=lambda keys: self.known(synchronization, salt).dns(keys),
        )

    def _written_by_others(self, me: int) -> dict:
        """Return what `Digests.others` has."""
        return {
            key: (dn, names, bool(enabled), bool(said_disabled))
            for key, dn, names, enabled, said_disabled in self._rows(
                "SELECT u.key, u.dn, " + _NAMES + ", " + _STATES + " FROM claims c CROSS JOIN users u"
                " WHERE c.synchronization_id = ?1 AND u.id = c.user_id AND u.synchronization_id IS NOT ?1",
                (me,),
            )
        }

    def _foreign_users(self, directory: int) -> dict:
        """Return what `Digests.foreign_users` has.

        A SID that begins with the SID of a domain is one of that domain's users, whoever else writes it to himself.
        """
        domains = {identity for (identity,) in self._rows("SELECT identity FROM directories")}
        rows = self._rows(
            "SELECT u.sid, d.identity, u.key FROM directories d CROSS JOIN users u"
            " WHERE d.id <> ? AND u.directory_id = d.id AND u.sid IS NOT NULL ORDER BY u.extinct IS NULL, u.id DESC",
            (directory,),
        )
        return {
            sid: _foreign_reference(identity, key)
            for sid, identity, key in rows
            if identity == _model.domain_of(sid) or _model.domain_of(sid) not in domains
        }

    def count_owned(self, synchronization: str) -> tuple[int, int, int]:
        """Return how many users the synchronization writes, how many it claims, and how many user groups it has: those
        that are not extinct.
        """
        me = self._synchronization(synchronization)
        of_others = self._row(
            "SELECT count(*) FROM synchronizations s CROSS JOIN claims o CROSS JOIN users u CROSS JOIN claims c"
            " WHERE s.id <> ?1 AND o.synchronization_id = s.id AND u.id = o.user_id AND u.synchronization_id = s.id"
            " AND u.extinct IS NULL AND c.synchronization_id = ?1 AND c.user_id = u.id",
            (me,),
        )[0]
        users = self._count_users(me)
        groups = self._row("SELECT count(*) FROM user_groups WHERE synchronization_id = ? AND extinct IS NULL", (me,))
        return users - of_others, users, groups[0]

    def mark(self, synchronization: str) -> _model.Mark | None:
        """Return up to where the last applied run has read the directory; None where nothing tells."""
        row = self._row(
            "SELECT m.mark, m.versions FROM synchronizations s JOIN marks m ON m.synchronization_id = s.id"
            " WHERE s.name = ?",
            (synchronization,),
        )
        return _model.Mark(_from_json(row[0]), row[1]) if row else None

    def known(self, synchronization: str, salt: bytes) -> Known:
        """Return what a reader may ask about who is stored, when it reads only what changed."""
        return Known(self, synchronization, salt)

    def directory_of(self, synchronization: str) -> str | None:
        """Return the identity of the directory that the synchronization is bound to; None before its first run."""
        row = self._row(
            "SELECT d.identity FROM synchronizations s JOIN directories d ON d.id = s.directory_id WHERE s.name = ?",
            (synchronization,),
        )
        return row[0] if row else None

    def directories(self) -> list[str]:
        """Return the identities of all directories that records of the store come from."""
        return [identity for (identity,) in self._rows("SELECT identity FROM directories ORDER BY id")]

    def has_user_group(self, path: list[str]) -> bool:
        """Tell whether there is a user group at the path, given as names."""
        return self._tree().at(path) is not None

    def last_run(self, synchronization: str) -> dict | None:
        """Return the record of the last applied run, with the settings that it had; None before the first one."""
        row = self._row(
            "SELECT r.time, r.seconds, r.server, r.mode, r.changed, r.counts, r.plan_digest, s.settings"
            " FROM synchronizations s JOIN runs r ON r.synchronization_id = s.id WHERE s.name = ?"
            " ORDER BY r.id DESC LIMIT 1",
            (synchronization,),
        )
        if row is None:
            return None
        run = dict(zip(("time", "seconds", "server", "mode", "changed", "counts", "plan_digest", "settings"), row))
        return dict(
            run, changed=bool(run["changed"]), counts=_from_json(run["counts"]), settings=_from_json(run["settings"])
        )

    def last_times(self, synchronization: str) -> list[int]:
        """Return when the last applied runs began, the newest first: a dozen at most, in seconds since 1970."""
        return [
            when
            for (when,) in self._rows(
                "SELECT r.time FROM synchronizations s JOIN runs r ON r.synchronization_id = s.id WHERE s.name = ?"
                " ORDER BY r.id DESC LIMIT 12",
                (synchronization,),
            )
        ]

    def left_by_last_run(self, synchronization: str) -> _model.LastRun:
        """Return what the last applied run leaves for the next one to judge by."""
        row = self._row(
            "SELECT (SELECT r.server FROM runs r WHERE r.synchronization_id = s.id ORDER BY r.id DESC LIMIT 1),"
            " s.scope, s.held FROM synchronizations s WHERE s.name = ?",
            (synchronization,),
        )
        server, scope, held = row or ("", "null", "[]")
        return _model.LastRun(server or "", _from_json(scope), *_holds_from_json(held))

    def left_by_all(self, identity: str) -> dict[int, _model.LastRun]:
        """Return by their ids what the last runs of all synchronizations of a directory left."""
        rows = self._rows(
            "SELECT id, name FROM synchronizations WHERE directory_id = ?",
            (self._directory(identity),),
        )
        return {number: self.left_by_last_run(name) for number, name in rows}

    def seen_out_by(self, identity: str, keys: Iterable[str]) -> dict[str, set[int]]:
        """Return by which synchronizations (ids) users of the directory, by these stable keys, were last seen to be
        gone or out of scope, as far as the history goes back: also if there is no record any more, or another
        synchronization has brought it back, as long as it was not enabled since. And by which they were disabled that
        claim them no more: those that do say themselves what they last saw.
        """
        directory = self._directory(identity)
        self._want("wanted_keys", ((key, directory, key) for key in keys))
        found: dict[str, set[int]] = {}
        for key, number, claims, before, after in self._rows(
            "SELECT p.key, s.id, EXISTS (SELECT 1 FROM users u JOIN claims c ON c.user_id = u.id"
            " WHERE u.directory_id = w.directory_id AND u.key = w.key AND c.synchronization_id = s.id),"
            " p.before, p.after FROM wanted_keys w CROSS JOIN past_records p CROSS JOIN runs r"
            " CROSS JOIN synchronizations s WHERE p.key = w.key AND p.kind = 'user' AND r.id = p.run_id"
            " AND s.id = r.synchronization_id AND s.directory_id = w.directory_id ORDER BY p.run_id"
        ):
            if _is_in(_from_json(before)):
                found.pop(key, None)
            record = _from_json(after) if after else None
            if record is not None and _is_in(record):
                found.pop(key, None)
            elif record is None or record.get("extinct") or not claims:
                found.setdefault(key, set()).add(number)
        return found

    def target_of(self, synchronization: str) -> list[str] | None:
        """Return the names in the path of the synchronization's user group; None before its first run."""
        row = self._row("SELECT target_id FROM synchronizations WHERE name = ?", (synchronization,))
        return _model.split_path(self._tree().path(row[0])) if row else None

    def count_values(self, synchronization: str, kind: str, fields: Iterable[str]) -> dict[tuple[str, str], int]:
        """Return how many records that the synchronization writes, and that are not extinct, have a value in each of
        the fields: (kind of record, field) -> count. ``kind`` is 'user' or 'user_group'.
        """
        fields = sorted(fields)
        # In JSON only a key stands between a quotation mark that is not escaped and another one with a colon.
        counts = "".join(", sum(instr(attributes, ?) > 0)" for _field in fields)
        row = self._row(
            "SELECT 0%s FROM %ss WHERE synchronization_id = ? AND extinct IS NULL" % (counts, kind),
            (*('"%s":' % field for field in fields), self._synchronization(synchronization)),
        )
        return {(kind, field): count or 0 for field, count in zip(fields, row[1:])}

    def empty_fields(self, synchronization: str, kind: str, fields: Iterable[str]) -> set[str]:
        """Return those of the fields that none of these records has a value in; none where there are no records. It
        ends with the first record that has one.
        """
        records = "FROM %ss WHERE synchronization_id = ? AND extinct IS NULL" % kind
        number = self._synchronization(synchronization)
        if self._row("SELECT 1 %s LIMIT 1" % records, (number,)) is None:
            return set()
        filled = "SELECT 1 %s AND instr(attributes, ?) > 0 LIMIT 1" % records
        return {field for field in fields if self._row(filled, (number, '"%s":' % field)) is None}

    def load_state(self, synchronization: str, target: list[str], snapshot: _model.Snapshot) -> _model.StoredState:
        """Return what the planner needs to know: see StoredState. ``target`` are the names in the path."""
        me = self._synchronization(synchronization)
        directory = self._directory(snapshot.directory.identity)
        tree = self._tree_before(me)
        found = tree.find(target)
        target_id = found[-1] if len(found) == len(target) else None
        path = tree.path(found[-1])
        for name in target[len(found) :]:
            path = _model.join_path(path, name)

        groups = tree.records()
        ended = [
            key
            for key, group in groups.items()
            if key not in snapshot.user_groups
            and (snapshot.complete or group.extinct or key in snapshot.lost_user_groups)
        ]
        occupied = self._occupied(me, directory, ended, tree)
        kept_names = self._kept_group_names(me, directory, tree, target_id, path)
        kept_names.update(self._find_users(me, directory, snapshot, tree, target_id))
        users, ids = self._load_users(me, directory, snapshot, tree)
        lost = {
            number: reference
            for reference, number in ids.items()
            if reference in snapshot.lost_users or users[reference].record.extinct
        }
        self._want("wanted_ids", ((number,) for number in lost))
        memberships = {lost[number]: keys for number, keys in self._groups_that_list_wanted_ids(me).items()}
        return _model.StoredState(
            target=path,
            target_missing=target_id is None,
            user_groups=groups,
            nestings=self._load_nestings(me, snapshot, tree),
            neighbours={
                (tree.reference(group.parent), group.name_key): tree.path(group.id)
                for group in tree.groups.values()
                if group.synchronization != me
                and group.parent is not None
                and (group.parent == target_id or tree.groups[group.parent].synchronization == me)
            },
            occupied=occupied,
            users=users,
            memberships=memberships,
            members=self._load_members(directory, snapshot, ended, tree),
            sizes=self._sizes({*itertools.chain(*memberships.values()), *snapshot.joined, *snapshot.left}, tree),
            membership_count=self._count_members(me),
            extinct_membership_count=self._count_members_of(me, "g.synchronization_id = :me AND g.extinct IS NOT NULL"),
            user_count=0 if snapshot.complete else self._count_users(me),
            groups_extinct_since={
                group.key: group.extinct_since
                for group in map(tree.groups.__getitem__, tree.owned.values())
                if group.extinct and group.extinct_since is not None
            },
            kept_names=kept_names,
        )

    def _kept_group_names(self, me: int, directory: int, tree: _Tree, target_id: int | None, path: str) -> dict:
        """Return the names of user groups that are kept below the target and in owned groups: see StoredState. If the
        target is another now, the names that were kept below the old one go there, those of users, too.
        """
        kept = self._kept_names(
            "user_groups g CROSS JOIN kept_names k WHERE (g.id = ?1 OR g.synchronization_id = ?2)"
            " AND k.kind = 'user_group' AND k.user_group_id = g.id",
            (target_id, me),
            directory,
            tree,
        )
        moved = self._kept_names(
            "synchronizations s CROSS JOIN kept_names k WHERE s.id = ?1 AND s.target_id IS NOT ?2"
            " AND k.user_group_id = s.target_id AND k.synchronization_id = s.id",
            (me, target_id),
            directory,
            tree,
        )
        kept.update(((kind, _model.path_reference(path), name), who) for (kind, _home, name), who in moved.items())
        return kept

    def _kept_user_names(self, directory: int, tree: _Tree) -> dict:
        """Return the names of users that are kept in wanted_places: see StoredState."""
        return self._kept_names(
            "wanted_places w CROSS JOIN kept_names k WHERE k.kind = 'user' AND k.user_group_id = w.home_id"
            " AND k.name_key = w.name_key",
            (),
            directory,
            tree,
        )

    def _kept_names(self, which: str, parameters: tuple, directory: int, tree: _Tree) -> dict:
        kept = {}
        for kind, group, name, of_directory, key, unit, since in self._rows(
            "SELECT DISTINCT k.kind, k.user_group_id, k.name_key, k.directory_id, k.key, k.unit, k.since FROM " + which,
            parameters,
        ):
            if of_directory == directory:
                who = _model.KeptName(key, unit, since)
            else:
                who = _model.KeptName("@", "", since)  # nobody here is of that directory
            kept[kind, tree.reference(group), name] = who
        return kept

    def _count_users(self, me: int) -> int:
        """Return how many users the synchronization claims that are not extinct."""
        return self._row(
            "SELECT (SELECT count(*) FROM claims WHERE synchronization_id = ?1)"
            " - (SELECT count(*) FROM users u CROSS JOIN claims c WHERE u.extinct IS NOT NULL AND c.user_id = u.id"
            "    AND c.synchronization_id = ?1)",
            (me,),
        )[0]

    def _count_members(self, me: int) -> int:
        """Return how many own members the owned user groups have: all, which SQLite counts without a look at each, less
        those of others, which are few in most stores.
        """
        everybody = self._row("SELECT (SELECT count(*) FROM memberships) + (SELECT count(*) FROM nestings)")[0]
        return everybody - self._count_members_of(me, "g.synchronization_id IS NOT :me")

    def _count_members_of(self, me: int, which: str) -> int:
        """Return how many own members these user groups ``g`` have, users and user groups."""
        return self._row(
            "SELECT (SELECT count(*) FROM user_groups g CROSS JOIN memberships m"
            "        WHERE {0} AND m.user_group_id = g.id)"
            " + (SELECT count(*) FROM user_groups g CROSS JOIN nestings n"
            "    WHERE {0} AND n.user_group_id = g.id)".format(which),
            {"me": me},
        )[0]

    def _sizes(self, keys: Iterable[str], tree: _Tree) -> dict[str, int]:
        """Return how many users these owned groups have."""
        self._want("wanted_groups", ((tree.owned[key],) for key in keys if key in tree.owned))
        return {
            tree.groups[number].key: size
            for number, size in self._rows(
                "SELECT w.id, count(*) FROM wanted_groups w CROSS JOIN memberships m WHERE m.user_group_id = w.id"
                " GROUP BY w.id"
            )
        }

    def _occupied(self, me: int, directory: int, ended: Iterable[str], tree: _Tree) -> dict[str, frozenset]:
        """Return who, not written by this synchronization, sits in the owned groups that are lost or extinct."""
        missing = {tree.owned[key]: key for key in ended}
        self._want("wanted_groups", ((number,) for number in missing))
        # A user whom this synchronization gave, and lost while another still claims him, is not its own any more.
        rows = self._rows(
            "SELECT w.id, u.id FROM wanted_groups w CROSS JOIN users u WHERE u.home_id = w.id"
            " AND NOT (u.synchronization_id IS :me AND (u.extinct IS NOT NULL OR EXISTS ("
            "     SELECT 1 FROM claims c WHERE c.synchronization_id = :me AND c.user_id = u.id)))",
            {"me": me},
        )
        self._want("wanted_ids", ((user,) for user in {user for dummy, user in rows}))
        references = self._references_of_wanted_ids(directory, tree)
        occupied: dict = {}
        for number, user in rows:
            occupied.setdefault(number, set()).add(references[user])
        for (number,) in self._rows("SELECT target_id FROM synchronizations WHERE id <> ?", (me,)):
            occupied.setdefault(number, set()).add("")
        for group in tree.groups.values():
            if group.synchronization != me:
                occupied.setdefault(group.parent, set()).add("")
        return {missing[number]: frozenset(who) for number, who in occupied.items() if number in missing}

    def _find_users(self, me, directory, snapshot, tree, target_id) -> dict:
        """Put into wanted_ids who may be concerned: by stable key, by place, by SID; and who is extinct. Return the
        names that are kept where somebody wants them.
        """
        bodies = {key: user for key, user in snapshot.users.items() if user is not None}
        if not self._row("SELECT 1 FROM users LIMIT 1") and not self._row("SELECT 1 FROM kept_names LIMIT 1"):
            bodies = {}
        homes = {
            key: tree.owned.get(_model.node_of(user.home, snapshot, tree.owned), target_id)
            for key, user in bodies.items()
        }
        self._want("wanted_keys", ((key, directory, key) for keys in (bodies, snapshot.lost_users) for key in keys))
        self._want(
            "wanted_places",
            ((key, homes[key], name_key(user.name)) for key, user in bodies.items() if user.name),
        )
        kept = self._kept_user_names(directory, tree)
        self._want("wanted_sids", ((user.sid,) for user in bodies.values() if user.sid))
        self._run("DELETE FROM wanted_ids")
        self._run(
            "INSERT INTO wanted_ids"
            " SELECT u.id FROM wanted_keys w CROSS JOIN users u WHERE u.directory_id = w.directory_id AND u.key = w.key"
            " UNION SELECT u.id FROM wanted_places w CROSS JOIN users u"
            "       WHERE u.home_id = w.home_id AND u.name_key = w.name_key"
            " UNION SELECT u.id FROM wanted_sids w CROSS JOIN users u WHERE u.sid = w.sid"
            " UNION SELECT id FROM users WHERE synchronization_id = ? AND extinct IS NOT NULL",
            (me,),
        )
        self._find_sitters(
            directory,
            snapshot,
            target_id,
            {key: homes[key] for key, user in bodies.items() if not user.name},
        )
        return kept

    def _find_sitters(self, directory, snapshot, target_id, nameless) -> None:
        """Add to wanted_ids who sits where a user without a name may come to sit, or an extinct one who gives his up.

        Who is found may be extinct, too, and have to move on: it goes on until nobody new is found.
        """
        places = []
        if nameless:
            places = [
                (key, nameless[key], name)
                for key, name in self._rows(
                    "SELECT u.key, u.name_key FROM wanted_ids w CROSS JOIN users u WHERE u.id = w.id"
                    " AND u.directory_id = ?",
                    (directory,),
                )
                if key in nameless
            ]
        self._want("wanted_keys", ((key, directory, key) for key in snapshot.lost_users))
        seen: set = set()
        while True:
            extinct = [
                row
                for row in self._rows(
                    "SELECT u.id, u.home_id, u.name, u.key FROM wanted_ids w CROSS JOIN users u WHERE u.id = w.id"
                    " AND u.key IS NOT NULL"
                    " AND (u.extinct IS NOT NULL OR u.key IN (SELECT key FROM wanted_keys))"
                )
                if row[0] not in seen
            ]
            seen.update(row[0] for row in extinct)
            places += [
                (key, place, name_key(value))
                for dummy, home, name, key in extinct
                for place in (home, target_id)
                for value in _model.extinct_names(name, key)
            ]
            if not places:
                return
            self._want("wanted_places", places)
            self._run(
                "INSERT OR IGNORE INTO wanted_ids SELECT u.id FROM wanted_places w CROSS JOIN users u"
                " WHERE u.home_id = w.home_id AND u.name_key = w.name_key"
            )
            places = []

    def _load_users(self, me, directory, snapshot, tree) -> tuple:
        """Return the users in wanted_ids, and {reference: id} of them."""
        claims: dict = {}
        disabled_by_others, said_disabled = set(), set()
        seen_by: dict[int, list[int]] = {}
        for number, synchronization, disabled in self._rows(
            "SELECT c.user_id, c.synchronization_id, c.disabled FROM wanted_ids w CROSS JOIN claims c"
            " WHERE c.user_id = w.id"
        ):
            claims.setdefault(number, set()).add(synchronization)
            if synchronization != me and disabled not in (None, snapshot.state_by):
                disabled_by_others.add(number)
            if synchronization != me and disabled is not None:
                seen_by.setdefault(number, []).append(synchronization)
            if synchronization == me and disabled is not None:
                said_disabled.add(number)
        references = self._references_of_wanted_ids(directory, tree)
        users = {}
        for (
            number,
            writer,
            adopted,
            since,
            name,
            home,
            enabled,
            sid,
            extinct,
            attributes,
            dn,
            known_as,
            unit,
        ) in self._rows(
            "SELECT u.id, u.synchronization_id, u.adopted, u.extinct_since, u.name, u.home_id, u.enabled, u.sid,"
            " u.extinct, u.attributes, u.dn, u.known_as, u.unit FROM wanted_ids w CROSS JOIN users u WHERE u.id = w.id"
        ):
            claimed_by = claims.get(number, set())
            if extinct and writer not in (None, me):
                seen_by.setdefault(number, []).append(writer)
            # A record whose giver has no claim on it belongs to the next who claims it: now, or by this snapshot.
            claims_it = me in claimed_by or references[number] in snapshot.users
            users[references[number]] = _model.StoredUser(
                reference=references[number],
                record=_model.UserRecord(
                    name,
                    tree.reference(home),
                    bool(enabled),
                    sid,
                    extinct,
                    _model.EncodedAttributes(attributes),
                    dn,
                    me in claimed_by,
                    known_as,
                    unit,
                ),
                given=writer == me or claims_it and writer not in claimed_by,
                disabled_by_others=number in disabled_by_others,
                said_disabled=number in said_disabled,
                seen_out_by=tuple(sorted(seen_by.get(number, ()))),
                taken_over=writer != me and references[number][:1] not in "@#",
                other_claims=len(claimed_by - {me}),
                adopted=bool(adopted),
                extinct_since=since,
            )
        return users, {reference: number for number, reference in references.items()}

    def _load_nestings(self, me, snapshot, tree) -> dict:
        nestings: dict = {key: {} for key in tree.owned}
        for number, nested, listed_as, dn in self._rows(
            "SELECT n.user_group_id, n.nested_id, n.listed_as, c.dn FROM user_groups g CROSS JOIN nestings n"
            " JOIN user_groups c ON c.id = n.nested_id"
            " WHERE g.synchronization_id = ? AND n.user_group_id = g.id",
            (me,),
        ):
            key, child = tree.groups[number].key, tree.groups[nested]
            group = snapshot.user_groups.get(key)
            known_by: tuple = ()
            if group is not None and group.kept_values:
                known_by = _known_by(listed_as, dn, child.name, child.key)
            nestings[key][tree.reference(nested)] = known_by
        return nestings

    def _load_members(self, directory, snapshot, ended, tree) -> dict:
        """Return the users in the groups whose member lists the snapshot gives, and in lost or extinct groups."""
        given = [key for key, group in snapshot.user_groups.items() if group.members is not None]
        given += ended
        members: dict = {key: {} for key in given}
        owned = {tree.owned[key]: key for key in given if key in tree.owned}

        self._want("wanted_groups", ((number,) for number in owned))
        # A text for each group: a row for each of hundreds of thousands of memberships takes three times as long.
        lists = {
            number: list(map(int, text.split(",")))
            for number, text in self._rows(
                "SELECT w.id, (SELECT group_concat(m.user_id) FROM memberships m WHERE m.user_group_id = w.id)"
                " FROM wanted_groups w"
            )
            if text
        }
        references = self._references(
            set(itertools.chain.from_iterable(lists.values())), directory, tree, snapshot.complete
        )
        for number, users in lists.items():
            members[owned[number]] = dict.fromkeys(map(references.__getitem__, users), ())

        self._want(
            "wanted_groups",
            (
                (tree.owned[key],)
                for key, group in snapshot.user_groups.items()
                if group.members is not None and (group.kept_values or snapshot.dangling) and key in tree.owned
            ),
        )
        for group, user, listed_as, *known in self._rows(
            "SELECT m.user_group_id, m.user_id, m.listed_as, u.dn, u.name, u.key, u.known_as"
            " FROM wanted_groups w CROSS JOIN memberships m CROSS JOIN users u"
            " WHERE m.user_group_id = w.id AND u.id = m.user_id"
        ):
            members[owned[group]][references[user]] = _known_by(listed_as, *known)
        self._load_joined(directory, snapshot, tree, members)
        return members

    def _load_joined(self, directory, snapshot, tree, members: dict) -> None:
        """Add which of the users who joined or left a group, whose list was not read, are stored in it."""
        for key in snapshot.joined.keys() | snapshot.left.keys():
            if key in tree.owned:
                concerned = {*snapshot.joined.get(key, ()), *snapshot.left.get(key, ())}
                ids = self._user_ids(concerned, directory, tree)
                self._want("wanted_ids", ((number,) for number in ids.values()))
                stored = {
                    user
                    for (user,) in self._rows(
                        "SELECT w.id FROM wanted_ids w CROSS JOIN memberships m WHERE m.user_group_id = ? AND"
                        " m.user_id = w.id",
                        (tree.owned[key],),
                    )
                }
                members[key] = {reference: () for reference, number in ids.items() if number in stored}

    def _groups_that_list_wanted_ids(self, me) -> dict:
        listing: dict = {number: [] for (number,) in self._rows("SELECT id FROM wanted_ids")}
        for number, key in self._rows(
            "SELECT m.user_id, g.key FROM wanted_ids w CROSS JOIN memberships m CROSS JOIN user_groups g"
            " WHERE m.user_id = w.id AND g.id = m.user_group_id AND g.synchronization_id = ? ORDER BY g.key",
            (me,),
        ):
            listing[number].append(key)
        return listing

    def direct_groups(self, references: Iterable[str], synchronization: str) -> dict[str, list[str]]:
        """Return, for each of the users, the keys of the groups owned by the synchronization that list it directly."""
        references = list(references)
        me, directory = self._ids(synchronization)
        ids = self._user_ids(references, directory, self._tree_before(me))
        self._want("wanted_ids", ((number,) for number in set(ids.values())))
        listing = self._groups_that_list_wanted_ids(me)
        return {reference: listing.get(ids.get(reference), []) for reference in references}

    def direct_members(self, keys: Iterable[str], synchronization: str) -> set[str]:
        """Return the users that at least one of the groups owned by the synchronization lists directly."""
        me, directory = self._ids(synchronization)
        tree = self._tree_before(me)
        self._want("wanted_groups", ((tree.owned[key],) for key in keys if key in tree.owned))
        self._run("DELETE FROM wanted_ids")
        self._run(
            "INSERT INTO wanted_ids SELECT DISTINCT m.user_id FROM wanted_groups w CROSS JOIN memberships m"
            " WHERE m.user_group_id = w.id"
        )
        return set(self._references_of_wanted_ids(directory, tree).values())

    def names(self, references: Iterable[str], synchronization: str) -> dict[str, str]:
        """Return the names of those of the users that are stored."""
        me, directory = self._ids(synchronization)
        ids = self._user_ids(references, directory, self._tree_before(me))
        self._want("wanted_ids", ((number,) for number in set(ids.values())))
        names = dict(self._rows("SELECT u.id, u.name FROM wanted_ids w CROSS JOIN users u WHERE u.id = w.id"))
        return {reference: names[number] for reference, number in ids.items()}

    # --- applying a plan ---

    def last_whole_check(self) -> int | None:
        """Return when a run last looked through the whole store, its indexes included; None if none did."""
        row = self._row("SELECT time FROM runs WHERE checked ORDER BY id DESC LIMIT 1")
        return row[0] if row else None

    def begin_check(self, whole: bool) -> None:
        """Begin to look through the store for damage, with ``whole`` through its indexes, too; unless that has begun.

        See `end_check`.
        """
        if whole in self._checks:
            return
        self._is_whole = self._is_whole or whole
        if self._descriptor < 0:  # only looked at: another connection would leave a trace
            self._checks[whole] = functools.partial(sqlite_file.check, self._connection, self._path, whole)
        else:
            self._checks[whole] = backups.meanwhile(functools.partial(_check_as_committed, self._path, whole))

    def end_check(self) -> None:
        """Wait for the end of all checks that have begun. Raises StoreError if the store is damaged."""
        while self._checks:
            self._checks.popitem()[1]()

    def backing_up(self, keep: int) -> contextlib.AbstractContextManager[Callable[[], None]]:
        """Meanwhile, make a copy of the store as it was last committed, and keep ``keep`` - 1 earlier ones; none at all
        with 0. Yield what waits for it and for the end of the check, and comes before a commit, which is made inside:
        earlier copies go when that is done. Both may raise StoreError.
        """
        if not keep:
            return contextlib.nullcontext(self.end_check)
        return backups.backing_up(self._descriptor, self._path, keep, self.end_check if self._checks else None)

    def apply(self, plan: _model.Plan, run: dict) -> None:
        """Write the plan, its history and the record of the run, inside the open transaction.

        ``run`` has time (seconds since 1970), seconds, server, mode, counts, changed, plan_digest, history_days, and
        what is kept of the synchronization: salt, selected, scope, settings (without secrets).
        """
        # Not earlier: loading the digests goes through all users, and would keep them all in memory.
        self._run("PRAGMA cache_size = -%d" % _CACHE)
        target = self.make_user_groups(_model.split_path(plan.target), as_target=True)
        me, directory, old_target = self._bind(plan, run, target)
        tree = self._tree_before(me)
        work = _Work(plan, run.get("since", run["time"]), self._note_run(me, plan, run), me, directory, {}, {})
        work.groups.update(_group_ids(plan, tree))
        if self._row("SELECT 1 FROM users LIMIT 1"):
            work.users.update(self._user_ids(_user_references(plan), directory, tree))
        before = _records(plan, tree, "before")
        self._keep_memberships(work, tree)
        self._tell_others(work)
        self._put_aside(work)
        self._write_kept_names(work, old_target, target)
        self._write_user_groups(work)
        self._write_users(work)
        self._many(
            "DELETE FROM user_groups WHERE id = ?",
            ((work.groups[change.key],) for change in plan.user_groups if change.after is None),
        )
        self._write_memberships(work)
        self._write_notes(work)
        self._keep_records(work, before)
        if plan.leaving:
            self._forget(work, target)
        elif old_target not in (None, target):
            self._remove_old_target(old_target, plan.collisions)
        if not run.get("is_doubted"):
            self._correct_times(work)
            self._forget_old_runs(work, run["history_days"])
            self._forget_kept_names(work, max(run["history_days"], run.get("name_reuse_days", 0)))
        self._trees.clear()

    def _bind(self, plan, run, target: int) -> tuple:
        """Write the row of the synchronization. Return its id, that of its directory, and its target before."""
        self._run("INSERT INTO directories (identity) VALUES (?) ON CONFLICT DO NOTHING", (plan.directory.identity,))
        directory = self._directory(plan.directory.identity)
        row = self._row(
            "SELECT id, directory_id, target_id, salt FROM synchronizations WHERE name = ?", (plan.synchronization,)
        )
        mark = run.get("mark")
        kept = (
            target,
            run["salt"],
            _to_json(run["selected"]),
            _to_json(run["settings"]),
            _to_json(run["scope"]),
            _holds_to_json(plan, run.get("holds")),
        )
        if row is None:
            self._run(
                "INSERT INTO synchronizations (name, directory_id, target_id, salt, selected, settings, scope,"
                " held) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (plan.synchronization, directory) + kept,
            )
            me = self._synchronization(plan.synchronization)
            self._write_mark(me, mark)
            return me, directory, None
        me, bound_to, old_target, salt = row
        if bound_to != directory:
            raise StoreError(
                "name: the synchronization '%s' belongs to another directory: write another name" % plan.synchronization
            )
        self._run(
            "UPDATE synchronizations SET target_id = ?, salt = ?, selected = ?, settings = ?, scope = ?, held = ?"
            " WHERE id = ?",
            kept + (me,),
        )
        self._write_mark(me, mark)
        if salt != run["salt"]:  # no digest may outlive the settings that it was made under
            self._run("UPDATE users SET digest = x'' WHERE synchronization_id = ?", (me,))
            self._run("UPDATE user_groups SET digest = x'' WHERE synchronization_id = ?", (me,))
        return me, directory, old_target

    def _write_mark(self, me: int, mark: _model.Mark | None) -> None:
        if mark is None:
            self._run("DELETE FROM marks WHERE synchronization_id = ?", (me,))
            return
        said = _to_json(mark.said)
        if not self._run(
            "UPDATE marks SET mark = ?1 WHERE synchronization_id = ?2 AND versions = ?3", (said, me, mark.versions)
        ).rowcount:  # which are large, and mostly the same
            self._run(
                "INSERT OR REPLACE INTO marks (synchronization_id, mark, versions) VALUES (?, ?, ?)",
                (me, said, mark.versions),
            )

    def _tell_others(self, work: _Work) -> None:
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
        if renamed and self._row("SELECT 1 FROM synchronizations WHERE id <> ?", (work.me,)):
            self._many(
                "UPDATE memberships SET listed_as = coalesce(listed_as, '') || :mark || (SELECT u.dn || :mark || u.name"
                " || :mark || u.known_as FROM users u WHERE u.id = user_id) WHERE user_id = :user AND user_group_id IN"
                " (SELECT id FROM user_groups WHERE synchronization_id <> :me)",
                ({"mark": _model.KNOWN_AS, "user": number, "me": work.me} for number in renamed),
            )

    def _put_aside(self, work: _Work) -> None:
        """Free the places of all that leave them, so that swapped names never meet."""
        self._many(
            "UPDATE user_groups SET name_key = NULL WHERE id = ?",
            (
                (work.groups[change.key],)
                for change in work.plan.user_groups
                if change.before and _moves(change.before, change.after)
            ),
        )
        self._many(
            "UPDATE users SET name_key = NULL WHERE id = ?",
            (
                (work.users[change.adopts or change.reference],)
                for change in work.plan.users
                if change.adopts or change.before and _moves(change.before, change.after)
            ),
        )

    def _write_kept_names(self, work: _Work, old_target: int | None, target: int) -> None:
        """Note which names are kept from others, and which no longer. They go where the tree goes."""
        if old_target not in (None, target):
            self._run(
                "UPDATE OR REPLACE kept_names SET user_group_id = ? WHERE user_group_id = ? AND synchronization_id = ?",
                (target, old_target, work.me),
            )
        kept = {
            (kind, work.groups[reference], name): who
            for (kind, reference, name), who in work.plan.notes.kept_names.items()
            if reference in work.groups
        }
        self._many("DELETE FROM kept_names WHERE kind = ? AND user_group_id = ? AND name_key = ?", kept)
        self._many(
            "INSERT INTO kept_names (kind, user_group_id, name_key, directory_id, key, unit, since,"
            " synchronization_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (*place, work.directory, who.reference, who.unit, who.since, work.me)
                for place, who in kept.items()
                if who is not None
            ),
        )

    def _write_user_groups(self, work: _Work) -> None:
        digests = work.plan.notes.group_digests
        new_id = self._next_id("user_groups")
        created = [change for change in work.plan.user_groups if change.before is None]
        work.groups.update((change.key, number) for number, change in enumerate(created, new_id))
        rows = ((_group_row(work, change), change) for change in work.plan.user_groups if change.after)
        new, changed = [], []
        for row, change in rows:
            if change.before is None:
                new.append((work.groups[change.key], work.me, change.key, digests.get(change.key, b""), work.run) + row)
            else:
                changed.append(row + (work.groups[change.key],))
        self._many(
            "INSERT INTO user_groups (id, synchronization_id, key, digest, run_id, name, name_key, parent_id,"
            " extinct, extinct_since, attributes, dn, unit, own_name)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            new,
        )
        self._many(
            "UPDATE user_groups SET name = ?, name_key = ?, parent_id = ?, extinct = ?,"
            " extinct_since = coalesce(extinct_since, ?), attributes = ?, dn = ?, unit = ?, own_name = ? WHERE id = ?",
            changed,
        )
        self._many(
            "UPDATE user_groups SET extinct_since = NULL WHERE id = ?",
            (
                (work.groups[change.key],)
                for change in work.plan.user_groups
                if change.before and change.before.extinct and change.after and not change.after.extinct
            ),
        )

    def _write_users(self, work: _Work) -> None:
        digests = work.plan.notes.user_digests
        new_id = self._next_id("users")
        created: list[_model.UserChange] = []
        changed, adopted, released, ended, claims, unclaimed = [], [], [], [], [], []
        written = {}  # id -> digest: the records that this synchronization writes from now on
        for change in work.plan.users:
            if change.after is None:
                ended.append((work.users[change.reference],))
                continue
            if change.before is None and not change.adopts:
                work.users[change.reference] = new_id + len(created)
                created.append(change)
                continue
            number = work.users[change.adopts or change.reference]
            changed.append(_user_row(work, change.after) + (number,))
            if change.adopts:
                work.users[change.reference] = number
                is_merged = change.fate is _model.Fate.MERGED
                adopted.append((work.directory, change.reference, is_merged, is_merged, number))
            if change.fate is _model.Fate.RELEASED:
                released.append((number,))
            elif change.reference in work.plan.notes.said_disabled:
                pass  # another one writes it
            elif change.adopts or change.after.claimed and change.before._replace(claimed=True) != change.after:
                written[number] = b""
            elif change.before.claimed and change.after.extinct:
                written[number] = b""  # whose claim was the last, its policy goes on to act
            if change.after.claimed and not (change.before and change.before.claimed):
                claims.append((work.me, number))
            elif change.before and change.before.claimed and not change.after.claimed:
                unclaimed.append((work.me, number))
        for reference, digest in digests.items():
            number = work.users.get(reference, new_id)
            if number < new_id:
                written[number] = digest

        self._many("DELETE FROM users WHERE id = ?", ended)
        self._insert(
            "users",
            _NEW_USER,
            (
                (
                    number,
                    work.directory,
                    change.reference,
                    work.me,
                    digests.get(change.reference, b""),
                    work.run,
                    *_user_row(work, change.after),
                )
                for number, change in enumerate(created, new_id)
            ),
        )
        # The grace of an extinct user begins when the record is disabled (on the right, enabled is the value before).
        self._many(
            "UPDATE users SET name = ?1, name_key = ?2, home_id = ?3, enabled = ?4, sid = ?5, extinct = ?6,"
            " extinct_since = CASE WHEN enabled > ?4 THEN ?7 ELSE coalesce(extinct_since, ?7) END,"
            " attributes = ?8, dn = ?9, known_as = ?10, unit = ?11 WHERE id = ?12",
            changed,
        )
        self._many(
            "UPDATE users SET extinct_since = NULL WHERE id = ?",
            (
                (work.users[change.reference],)
                for change in work.plan.users
                if change.before and change.before.extinct and change.after and not change.after.extinct
            ),
        )
        self._many(
            "UPDATE users SET directory_id = ?, key = ?, adopted = ?,"
            " local_attributes = CASE WHEN ? THEN local_attributes ELSE '{}' END WHERE id = ?",
            adopted,
        )
        self._many(
            "UPDATE users SET directory_id = NULL, key = NULL, synchronization_id = NULL, digest = x'',"
            " adopted = 0, extinct = NULL, extinct_since = NULL WHERE id = ?",
            released,
        )
        self._many("DELETE FROM claims WHERE user_id = ?", released)
        new = len(claims) + len(created)
        many = new and new > self._row("SELECT count(*) FROM claims")[0]
        if many:  # filling an index at once takes half the time of filling it row by row
            self._run("DROP INDEX claims_user")
        self._insert(
            "claims",
            ("synchronization_id", "user_id"),
            itertools.chain(
                claims, ((work.me, number) for number, change in enumerate(created, new_id) if change.after.claimed)
            ),
        )
        if many:
            self._run(schema.INDEX_OF_CLAIMS)
        self._many("DELETE FROM claims WHERE synchronization_id = ? AND user_id = ?", unclaimed)
        self._many(
            "UPDATE users SET synchronization_id = ?, digest = ? WHERE id = ?",
            ((work.me, digest, number) for number, digest in written.items()),
        )
        self._write_states(work)
        expires: dict[int, int | None] = {number: None for (number,) in released}
        expires.update(
            (work.users[reference], when)
            for reference, when in work.plan.notes.user_expires.items()
            if reference in work.users
        )
        self._many(
            "UPDATE users SET expires = ?1 WHERE id = ?2 AND expires IS NOT ?1",
            ((when, number) for number, when in expires.items()),
        )

    def _write_states(self, work: _Work) -> None:
        """Note of whom others write whether this synchronization sees them disabled. Who writes such a user compares it
        in its next run, for it alone may enable it.
        """
        notes = work.plan.notes
        said = {
            work.users[reference]: notes.state_by if disabled else None
            for reference, disabled in notes.said_disabled.items()
            if reference in work.users
        }
        self._many("UPDATE users SET digest = x'' WHERE id = ?", ((number,) for number in said))
        self._many(
            "UPDATE claims SET disabled = ?1 WHERE synchronization_id = ?2 AND user_id = ?3",
            ((text, work.me, number) for number, text in said.items()),
        )

    def _write_memberships(self, work: _Work) -> None:
        # Removals first: a record made by hand that leaves a list, and comes back to it as the user who adopts it, is
        # one record.
        kinds = (
            ("memberships", "user_id", work.users, "users_added", "users_removed"),
            ("nestings", "nested_id", work.groups, "user_groups_added", "user_groups_removed"),
        )
        listed_as = work.plan.notes.listed_as
        new = sum(len(change.users_added) for change in work.plan.memberships)
        many = new and new > self._row("SELECT count(*) FROM memberships")[0]
        if many:  # as with claims
            self._run("DROP INDEX memberships_user")
        for table, column, ids, added, removed in kinds:
            self._many(
                "DELETE FROM %s WHERE user_group_id = ? AND %s = ?" % (table, column),
                (
                    (work.groups[change.key], ids[reference])
                    for change in work.plan.memberships
                    for reference in getattr(change, removed)
                ),
            )
            self._insert(
                table,
                ("user_group_id", column, "run_id"),
                itertools.chain.from_iterable(
                    zip(
                        itertools.repeat(work.groups[change.key]),
                        dict.fromkeys(sorted(map(ids.__getitem__, getattr(change, added)))),
                        itertools.repeat(work.run),
                    )
                    for change in work.plan.memberships
                ),
            )
            self._many(
                "UPDATE %s SET listed_as = ? WHERE user_group_id = ? AND %s = ?" % (table, column),
                (
                    (value or None, work.groups.get(key), ids[reference])
                    for (key, reference), value in listed_as.items()
                    if reference in ids
                ),
            )
            self._many(
                "UPDATE %s SET listed_as = :value || coalesce(:mark || listed_as, '') WHERE user_group_id = :group"
                " AND %s = :member AND instr(:mark || coalesce(listed_as, '') || :mark, :mark || :value || :mark) = 0"
                % (table, column),
                (
                    {"value": value, "mark": _model.KNOWN_AS, "group": work.groups.get(key), "member": ids[reference]}
                    for (key, reference), values in work.plan.notes.also_listed_as.items()
                    if reference in ids
                    for value in values
                ),
            )
        if many:
            self._run(schema.INDEX_OF_MEMBERSHIPS)

    def _write_notes(self, work: _Work) -> None:
        notes = work.plan.notes
        new = {change.key for change in work.plan.user_groups if change.before is None}
        self._many(
            "UPDATE users SET dn = ?, known_as = ?, unit = ? WHERE id = ?",
            ((*noted, work.users.get(reference)) for reference, noted in notes.user_dns.items()),
        )
        self._many(
            "UPDATE user_groups SET dn = ?, unit = ?, own_name = ? WHERE id = ?",
            ((*noted, work.groups.get(key)) for key, noted in notes.group_dns.items()),
        )
        self._many(
            "UPDATE user_groups SET digest = ? WHERE id = ?",
            ((digest, work.groups.get(key)) for key, digest in notes.group_digests.items() if key not in new),
        )

    # --- history ---

    def _note_run(self, me: int, plan: _model.Plan, run: dict) -> int:
        """Write the record of the run. Return its id."""
        return self._run(
            "INSERT INTO runs (synchronization_id, synchronization, time, seconds, server, mode, changed, counts,"
            " plan_digest, settings_digest, reason, checked) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                me,
                plan.synchronization,
                run["time"],
                run["seconds"],
                run["server"],
                run["mode"],
                int(run["changed"]),
                _to_json(run["counts"]),
                run["plan_digest"],
                run["settings_digest"],
                run.get("reason", ""),
                int(self._is_whole),
            ),
        ).lastrowid

    def _keep_memberships(self, work: _Work, tree: _Tree) -> None:
        """Write down who is about to leave which user group: by the plan, or with a record that ends anywhere."""
        kinds = (
            (
                "user",
                "memberships",
                "user_id",
                work.users,
                "users_removed",
                {work.users[change.reference] for change in work.plan.users if change.after is None},
            ),
            (
                "user_group",
                "nestings",
                "nested_id",
                work.groups,
                "user_groups_removed",
                {work.groups[change.key] for change in work.plan.user_groups if change.after is None},
            ),
        )
        for kind, table, column, ids, removed, ended in kinds:
            self._want(
                "leaving",
                {
                    (work.groups[change.key], ids[reference])
                    for change in work.plan.memberships
                    for reference in getattr(change, removed)
                },
            )
            self._want("wanted_ids", ((number,) for number in ended))
            self._run(
                "INSERT OR IGNORE INTO leaving SELECT m.user_group_id, m.{1} FROM wanted_ids w CROSS JOIN {0} m"
                " WHERE m.{1} = w.id".format(table, column)
            )
            rows = self._rows(
                "SELECT l.user_group_id, n.id, n.name, n.key, m.run_id"
                " FROM leaving l CROSS JOIN {0} m CROSS JOIN {2}s n"
                " WHERE m.user_group_id = l.user_group_id AND m.{1} = l.member_id AND n.id = l.member_id".format(
                    table, column, kind
                )
            )
            self._many(
                "INSERT INTO past_memberships (run_id, user_group, user_group_key, kind, member, member_key, joined_by)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    (
                        work.run,
                        tree.path(group),
                        tree.groups[group].key,
                        kind,
                        name if kind == "user" else tree.path(member),
                        key,
                        joined,
                    )
                    for group, member, name, key, joined in rows
                ),
            )

    def _keep_records(self, work: _Work, before: dict) -> None:
        """Write down what the records that changed or ended were before, and what they are now."""
        if not before:
            return
        # Where no user group changes, none is elsewhere than before.
        tree = self._tree(work.me) if work.plan.user_groups else self._tree_before(work.me)
        after = _records(work.plan, tree, "after")
        self._many(
            "INSERT INTO past_records (run_id, kind, key, path, before, after) VALUES (?, ?, ?, ?, ?, ?)",
            (
                (
                    work.run,
                    *subject,
                    (after.get(subject) or record)["path"],
                    _to_json(record),
                    _to_json(after[subject]) if subject in after else None,
                )
                for subject, record in before.items()
                if record != after.get(subject)
            ),
        )

    def _correct_times(self, work: _Work) -> None:
        """Set right what a clock that was ahead has written down: else a grace would last for years."""
        for table, column in (("users", "extinct_since"), ("user_groups", "extinct_since"), ("kept_names", "since")):
            extinct = " AND extinct IS NOT NULL" if column == "extinct_since" else ""
            self._run(
                "UPDATE {0} SET {1} = ?1 WHERE synchronization_id = ?2 AND {1} > ?1{2}".format(table, column, extinct),
                (work.time, work.me),
            )

    def _forget_old_runs(self, work: _Work, days: int) -> None:
        """Remove the runs that are older, and with them what they changed; and of those that changed nothing, all but
        the last thousands: a run every ten minutes makes 50,000 a year.
        """
        self._run(
            "DELETE FROM runs WHERE time < ?1 AND id <> ?2 AND coalesce(synchronization_id, ?3) = ?3",
            (work.time - days * 86400, work.run, work.me),
        )
        self._run(
            "DELETE FROM runs WHERE synchronization_id = ?1 AND NOT changed AND NOT checked AND id < (SELECT id"
            " FROM runs WHERE synchronization_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            (work.me, _IDLE_RUNS_KEPT),
        )

    def _forget_kept_names(self, work: _Work, days: int) -> None:
        """Remove those that are kept from nobody any more; not at once, for the next run may keep names for longer."""
        self._run(
            "DELETE FROM kept_names WHERE synchronization_id = ? AND since < ?", (work.me, work.time - days * 86400)
        )

    def _forget(self, work: _Work, target: int) -> None:
        """End the synchronization. What is left of its records belongs to none, and its user group goes if it was made
        for it alone.
        """
        self._run(
            "UPDATE user_groups SET key = NULL, digest = x'', extinct = NULL, extinct_since = NULL"
            " WHERE synchronization_id = ?",
            (work.me,),
        )
        self._run("UPDATE users SET digest = x'' WHERE synchronization_id = ?", (work.me,))
        self._run("DELETE FROM synchronizations WHERE id = ?", (work.me,))
        if work.plan.leaving == "absent":
            self._remove_old_target(target, [])

    def _remove_old_target(self, number: int, collisions: list) -> None:
        """Remove the user groups that were made as a target and serve nobody any more, from the lowest upwards.

        One whose name a group wanted stays: the group is called otherwise now, and is not to be renamed in every run.
        """
        wanted = {
            (collision.path, name_key(collision.name)) for collision in collisions if collision.kind == "user_group"
        }
        tree = self._tree()
        while number is not None:
            group = tree.groups[number]
            if group.parent is None or (tree.path(group.parent), group.name_key) in wanted:
                return
            row = self._row(
                "SELECT parent_id FROM user_groups g WHERE id = ? AND made_as_target"
                " AND NOT EXISTS (SELECT 1 FROM user_groups c WHERE c.parent_id = g.id)"
                " AND NOT EXISTS (SELECT 1 FROM users u WHERE u.home_id = g.id)"
                " AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.user_group_id = g.id)"
                " AND NOT EXISTS (SELECT 1 FROM nestings n WHERE n.user_group_id = g.id OR n.nested_id = g.id)"
                " AND NOT EXISTS (SELECT 1 FROM synchronizations s WHERE s.target_id = g.id)",
                (number,),
            )
            if row is None:
                return
            self._run("DELETE FROM user_groups WHERE id = ?", (number,))
            number = row[0]

    def make_user_groups(self, names: list, as_target: bool = False) -> int:
        """Make the user groups along the path that do not exist. Return the id of the last."""
        number = None
        for name in names:
            row = self._row(
                "SELECT id FROM user_groups WHERE parent_id IS ? AND name_key = ?", (number, name_key(name))
            )
            if row:
                number = row[0]
            else:
                self._trees.clear()
                number = self._run(
                    "INSERT INTO user_groups (parent_id, name, name_key, made_as_target) VALUES (?, ?, ?, ?)",
                    (number, name, name_key(name), int(as_target)),
                ).lastrowid
        return number


_NAMES = "u.name || char(31) || u.known_as"  # KNOWN_AS
_STATES = "u.enabled, c.disabled IS NOT NULL"  # of a record, and as a claim on it says
_OWN_DN = "CASE WHEN u.synchronization_id = :me THEN u.dn ELSE '' END"


class Known:
    """Who is stored, for a reader that reads only what changed: answers by key, and nothing that takes a look at all.

    Users are those that the synchronization claims, user groups those that it owns, and none of them is extinct. A DN
    is that of the last run, and is empty where another synchronization writes the user: it may have followed him
    since, or not yet.
    """

    def __init__(self, store: Store, synchronization: str, salt: bytes):
        self._store = store
        row = store._row(
            "SELECT id, directory_id, salt, selected FROM synchronizations WHERE name = ?", (synchronization,)
        )
        self._me, self._directory, stored_salt, selected = row or (0, 0, b"", "{}")
        self._same = stored_salt == salt
        self.selected: dict[str, str] = _from_json(selected)

    def users(self, keys: Iterable[str]) -> dict[str, tuple]:
        """Return {stable key: (digest as in Digests, DN, and what Digests.others has)}."""
        self._store._want("wanted_keys", ((key, self._directory, key) for key in keys))
        return {
            key: (digest, own_dn, (dn, names, bool(enabled), bool(said_disabled)))
            for key, digest, dn, names, own_dn, enabled, said_disabled in self._store._rows(
                "SELECT u.key, CASE WHEN u.synchronization_id = :me THEN CASE WHEN :same THEN u.digest ELSE x'' END"
                " WHEN EXISTS (SELECT 1 FROM claims o WHERE o.user_id = u.id"
                "              AND o.synchronization_id = u.synchronization_id) THEN NULL ELSE x'' END,"
                " u.dn, "
                + _NAMES
                + ", "
                + _OWN_DN
                + ", "
                + _STATES
                + " FROM wanted_keys w CROSS JOIN users u CROSS JOIN claims c"
                " WHERE u.directory_id = w.directory_id AND u.key = w.key AND u.extinct IS NULL"
                " AND c.synchronization_id = :me AND c.user_id = u.id",
                {"me": self._me, "same": self._same},
            )
        }

    def dns(self, keys: Iterable[str]) -> dict[str, str]:
        """Return {stable key: DN as stored} of users, whoever writes them, and of user groups."""
        keys = list(keys)
        self._store._want("wanted_keys", ((key, self._directory, key) for key in keys))
        users = self._store._rows(
            "SELECT u.key, u.dn FROM wanted_keys w CROSS JOIN users u CROSS JOIN claims c"
            " WHERE u.directory_id = w.directory_id AND u.key = w.key"
            " AND c.synchronization_id = ? AND c.user_id = u.id",
            (self._me,),
        )
        self._want_groups(keys)
        return dict(
            users
            + self._store._rows(
                "SELECT g.key, g.dn FROM wanted_groups w CROSS JOIN user_groups g WHERE g.id = w.id",
            )
        )

    def extinct(self, before: int | None, user_groups: bool) -> set[str]:
        """Return who is extinct and this synchronization's to delete: users since that time or longer, if it is given,
        and user groups.
        """
        rows = self._store._rows(
            "SELECT key FROM users WHERE synchronization_id = ? AND extinct IS NOT NULL AND extinct_since <= ?",
            (self._me, before),
        )
        if user_groups:
            rows += self._store._rows(
                "SELECT key FROM user_groups WHERE synchronization_id = ? AND extinct IS NOT NULL", (self._me,)
            )
        return {key for (key,) in rows}

    def own_dns(self, keys: Iterable[str]) -> dict[str, str]:
        """Return {stable key: DN as stored} of users; empty where another synchronization writes the user."""
        return {key: dn for key, (_digest, dn, _other) in self.users(keys).items()}

    def to_look_at(self, now: int) -> set[str]:
        """Return the users that must be compared whatever changed: since nothing says what they are compared with,
        since their time has come (``now``, in seconds since 1970), or since the claim of who wrote them has ended.
        """
        rows = self._store._rows(
            "SELECT key FROM users WHERE synchronization_id = ? AND digest = x''"
            " AND extinct IS NULL AND key IS NOT NULL",
            (self._me,),
        )
        rows += self._store._rows(
            "SELECT key FROM users WHERE expires <= ? AND synchronization_id = ?"
            " AND extinct IS NULL AND key IS NOT NULL",
            (now, self._me),
        )
        rows += self._store._rows(  # whom another one writes, and has not disabled yet
            "SELECT u.key FROM users u CROSS JOIN claims c WHERE u.expires <= ?1 AND u.synchronization_id IS NOT ?2"
            " AND u.enabled AND u.extinct IS NULL AND c.synchronization_id = ?2 AND c.user_id = u.id",
            (now, self._me),
        )
        if self._store._row(
            "SELECT 1 FROM synchronizations WHERE id <> ? AND directory_id = ?", (self._me, self._directory)
        ) or self._store._row(
            "SELECT 1 FROM users WHERE synchronization_id IS NULL AND digest = x'' AND +directory_id = ?",
            (self._directory,),
        ):  # one that has ended leaves them so
            rows += self._store._rows(
                "SELECT u.key FROM claims c CROSS JOIN users u WHERE c.synchronization_id = ?1 AND u.id = c.user_id"
                " AND u.synchronization_id IS NOT ?1 AND u.extinct IS NULL AND NOT EXISTS ("
                "     SELECT 1 FROM claims o WHERE o.user_id = u.id"
                "     AND o.synchronization_id = u.synchronization_id)",
                (self._me,),
            )
        return {key for (key,) in rows}

    def user_groups(self) -> dict[str, tuple[bytes, str]]:
        """Return {stable key: (digest, DN)} of all user groups."""
        tree = self._store._tree_before(self._me)
        owned = map(tree.groups.__getitem__, tree.owned.values())
        return {group.key: (group.digest if self._same else b"", group.dn) for group in owned if group.extinct is None}

    def people(self, keys: Iterable[str]) -> list[tuple[str, str]]:
        """Return (key, DN) of all users who are members of these user groups: each once, however many have him."""
        self._want_groups(keys)
        self._store._run("DELETE FROM wanted_ids")
        self._store._run(
            "INSERT INTO wanted_ids SELECT DISTINCT m.user_id"
            " FROM wanted_groups w CROSS JOIN memberships m WHERE m.user_group_id = w.id"
        )
        return self._store._rows(
            "SELECT u.key, " + _OWN_DN + " FROM wanted_ids w CROSS JOIN users u CROSS JOIN claims c WHERE u.id = w.id"
            " AND u.directory_id = :directory AND u.extinct IS NULL"
            " AND c.synchronization_id = :me AND c.user_id = u.id",
            {"me": self._me, "directory": self._directory},
        )

    def members(self, keys: Iterable[str]) -> list[tuple[str, str, str]]:
        """Return (key of the user group, key of the user, DN of the user) of all members of these user groups."""
        self._want_groups(keys)
        return self._store._rows(
            "SELECT g.key, u.key, "
            + _OWN_DN
            + " FROM wanted_groups w CROSS JOIN user_groups g CROSS JOIN memberships m CROSS JOIN users u"
            " CROSS JOIN claims c"
            " WHERE g.id = w.id AND m.user_group_id = w.id AND u.id = m.user_id AND u.directory_id = :directory"
            " AND u.extinct IS NULL AND c.synchronization_id = :me AND c.user_id = u.id",
            {"me": self._me, "directory": self._directory},
        )

    def nested(self, keys: Iterable[str]) -> list[tuple[str, str]]:
        """Return (key of the user group, key of a user group in it) for these user groups."""
        self._want_groups(keys)
        return self._store._rows(
            "SELECT g.key, n.key FROM wanted_groups w CROSS JOIN user_groups g CROSS JOIN nestings c"
            " CROSS JOIN user_groups n WHERE g.id = w.id AND c.user_group_id = w.id AND n.id = c.nested_id"
            " AND n.synchronization_id = ?",
            (self._me,),
        )

    def listing(self, keys: Iterable[str]) -> list[tuple[str, str]]:
        """Return (key of the user, key of a user group that has it as a member) for these users."""
        self._store._want("wanted_keys", ((key, self._directory, key) for key in keys))
        return self._store._rows(
            "SELECT u.key, g.key FROM wanted_keys w CROSS JOIN users u CROSS JOIN memberships m"
            " CROSS JOIN user_groups g WHERE u.directory_id = w.directory_id AND u.key = w.key AND m.user_id = u.id"
            " AND g.id = m.user_group_id AND g.synchronization_id = ? AND g.extinct IS NULL",
            (self._me,),
        )

    def nesting(self, keys: Iterable[str]) -> list[tuple[str, str]]:
        """Return (key of the user group, key of a user group that it is nested in) for these user groups."""
        self._want_groups(keys)
        return self._store._rows(
            "SELECT n.key, g.key FROM wanted_groups w CROSS JOIN nestings c CROSS JOIN user_groups g"
            " CROSS JOIN user_groups n WHERE c.nested_id = w.id AND n.id = w.id AND g.id = c.user_group_id"
            " AND g.synchronization_id = ? AND g.extinct IS NULL",
            (self._me,),
        )

    def keys(self) -> set[str]:
        """Return the stable keys of all users and user groups."""
        rows = self._store._rows(
            "SELECT u.key FROM claims c CROSS JOIN users u WHERE c.synchronization_id = ?"
            " AND u.id = c.user_id AND u.extinct IS NULL",
            (self._me,),
        )
        rows += self._store._rows(
            "SELECT key FROM user_groups WHERE synchronization_id = ? AND extinct IS NULL", (self._me,)
        )
        return {key for (key,) in rows}

    def count_users(self) -> int:
        """Return how many users there are."""
        return self._store._count_users(self._me)

    def foreign_users(self) -> dict[str, str]:
        """Return {SID: reference} of stored users of other directories: see Digests."""
        return self._store._foreign_users(self._directory)

    def _want_groups(self, keys: Iterable[str]) -> None:
        self._store._want("wanted_keys", ((key, self._me, key) for key in keys))
        self._store._run("DELETE FROM wanted_groups")
        self._store._run(
            "INSERT INTO wanted_groups SELECT g.id FROM wanted_keys w CROSS JOIN user_groups g"
            " WHERE g.synchronization_id = w.directory_id AND g.key = w.key"
        )


class _Work(NamedTuple):
    """A plan on its way into the store."""

    plan: _model.Plan
    time: int
    run: int  # its id
    me: int
    directory: int
    groups: dict  # reference -> id
    users: dict  # reference -> id


def _holds_to_json(plan, holds) -> str:
    """Return the text of what a run held, why, and of how far its server was. Without that, all is held for one run."""
    if holds is None:
        return _to_json(sorted(plan.held))
    return _to_json(
        {
            "for_one_run": sorted(holds.for_one_run),
            "reasons": [[*removal, why] for removal, why in sorted(holds.reasons.items())],
            "standing": holds.standing,
            "believed": holds.believed,
        }
    )


def _holds_from_json(text: str) -> tuple[frozenset[_model.Removal], _model.Standing, int | None]:
    held = _from_json(text)
    if isinstance(held, list):  # as earlier versions left it
        return frozenset(map(tuple, held)), _model.Standing(), None
    return frozenset(map(tuple, held["for_one_run"])), _model.Standing(*held["standing"]), held.get("believed")


def _from_json(text: str):
    return _decode(text)[0]  # json.loads() looks for blanks around it, which takes as long again


def _is_in(record: dict) -> bool:
    """Return whether a user's record, as the history has it, is one that is enabled and not extinct."""
    return bool(record.get("enabled")) and not record.get("extinct")


def _reference(directory, tree, of_directory, identity, key, home, name) -> str:
    if of_directory is None:
        return "#" + _model.join_path(tree.path(home), name)
    if of_directory != directory:
        return _foreign_reference(identity, key)
    return key


def _known_by(listed_as, *values) -> tuple:
    """Return the values that a member list may know a member by, first the one it was last listed as: see Members."""
    last, *earlier = (listed_as or "").split(_model.KNOWN_AS)
    return (last, *earlier, *(one for value in values if value for one in value.split(_model.KNOWN_AS)))


def _group_ids(plan, tree) -> dict:
    """Return {reference: id} of the stored user groups that the plan refers to; all owned ones are among them."""
    references = {record.parent for change in plan.user_groups for record in (change.before, change.after) if record}
    references.update(change.after.home for change in plan.users if change.after)
    references.update(reference for _kind, reference, _name in plan.notes.kept_names)
    references.update(
        reference for change in plan.memberships for reference in change.user_groups_added + change.user_groups_removed
    )
    ids = dict(tree.owned)
    for reference in references:
        number = tree.referred_to(reference)
        if number is not None:
            ids[reference] = number
    return ids


def _user_references(plan) -> set:
    references = {change.reference for change in plan.users}
    references.update(change.adopts for change in plan.users if change.adopts)
    for change in plan.memberships:
        references.update(change.users_added, change.users_removed)
    references.update(plan.notes.user_digests, plan.notes.user_dns, plan.notes.said_disabled)
    references.update(member for dummy, member in (*plan.notes.listed_as, *plan.notes.also_listed_as))
    return references


def _moves(before, after) -> bool:
    return after is None or before.name != after.name or before[1] != after[1]  # home or parent


def _records(plan, tree, which) -> dict:
    """Return {(kind, key): what people see of the record} of the stored records that the plan changes: before, or
    after.
    """
    records = {}
    for change in plan.user_groups:
        record = getattr(change, which)
        if record is not None and change.before is not None:
            records["user_group", change.key] = {
                "path": tree.path_in(record.parent, record.name),
                "extinct": record.extinct,
                "attributes": record.attributes,
            }
    for change in plan.users:
        record = getattr(change, which)
        if record is not None and change.before is not None:
            records["user", change.reference] = {
                "path": tree.path_in(record.home, record.name),
                "enabled": record.enabled,
                "sid": record.sid,
                "extinct": record.extinct,
                "attributes": record.attributes,
            }
    return records


def _group_row(work, change) -> tuple:
    after = change.after
    return (
        after.name,
        name_key(after.name),
        work.groups[after.parent],
        after.extinct,
        work.time if after.extinct else None,
        _model.text_of(after.attributes),
        after.dn,
        after.unit,
        after.own_name,
    )


def _user_row(work, after) -> tuple:
    return (
        after.name,
        name_key(after.name),
        work.groups[after.home],
        int(after.enabled),
        after.sid,
        after.extinct,
        work.time if after.extinct else None,
        _model.text_of(after.attributes),
        after.dn,
        after.known_as,
        after.unit,
    )
