# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The tables of the SQLite store, and how older versions of them become the present one.

SQLite 3.34 is the oldest that this is written for: no STRICT tables, no RETURNING.

The history needs little: whatever exists says by which run it came (``run_id``), and what changed or ended is kept
beside it with the run that did it. So a first run writes nothing twice.
"""

from __future__ import annotations

import json
import sqlite3
import unicodedata
from collections.abc import Callable

from .._model import KNOWN_AS
from .._names import ROOT, name_key, significant, split_path
from .views import VIEWS

APPLICATION_ID = 0x75736772  # 'usgr', in the header of the file: https://www.sqlite.org/fileformat2.html, 1.3.14
VERSION = 8

# What a query is about: see `contract.py`. Joined to from there by CROSS JOIN, which keeps the order.
WANTED = (
    "CREATE TEMP TABLE wanted_keys (reference TEXT, directory_id INTEGER, key TEXT)",
    "CREATE TEMP TABLE wanted_places (reference TEXT, home_id INTEGER, name_key TEXT)",
    "CREATE TEMP TABLE wanted_sids (sid TEXT)",
    "CREATE TEMP TABLE wanted_ids (id INTEGER PRIMARY KEY)",
    "CREATE TEMP TABLE wanted_groups (id INTEGER PRIMARY KEY)",
    "CREATE TEMP TABLE leaving (user_group_id INTEGER, member_id INTEGER, PRIMARY KEY (user_group_id, member_id))",
)

# Table -> its index by user.
BY_USER = {
    "claims": "CREATE INDEX claims_user ON claims (user_id)",
    "memberships": "CREATE INDEX memberships_user ON memberships (user_id)",
}

_END_OF_USERS = """CREATE TRIGGER users_end AFTER DELETE ON users BEGIN
    DELETE FROM memberships WHERE user_id = old.id;
    END"""

# What belongs to a synchronization that ended stays: hence its name as a text.
_RUNS = (
    """CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        synchronization_id INTEGER REFERENCES synchronizations ON DELETE SET NULL,
        synchronization TEXT NOT NULL,
        time INTEGER NOT NULL,
        seconds REAL NOT NULL,
        server TEXT NOT NULL,
        mode TEXT NOT NULL,
        changed INTEGER NOT NULL,
        counts TEXT NOT NULL,
        plan_digest TEXT NOT NULL,
        settings_digest TEXT NOT NULL)""",
    "CREATE INDEX runs_synchronization ON runs (synchronization_id)",
)

# What incremental reads need, in a new store and in an older one: up to where a synchronization has read the directory
# (see Mark), apart from its row, which is written in every run; why a run read as it did; and when time alone disables
# a user. By the indexes a read finds, without looking at all users, whom it must look at whatever changed.
_INCREMENTAL = (
    """CREATE TABLE marks (
        synchronization_id INTEGER PRIMARY KEY REFERENCES synchronizations ON DELETE CASCADE,
        mark TEXT NOT NULL,
        versions BLOB NOT NULL)""",
    "ALTER TABLE runs ADD COLUMN reason TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE users ADD COLUMN expires INTEGER",
    "CREATE INDEX users_expires ON users (expires) WHERE expires IS NOT NULL",
    "CREATE INDEX users_to_compare ON users (synchronization_id) WHERE digest = x''",
)

# By what names are kept from other units: the container (unit) in which an entry lies, the name that the directory has
# for a group, and names whose records are no more. Such a row goes with the user group that it is in.
_KEPT_NAMES = (
    "ALTER TABLE users ADD COLUMN unit TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE user_groups ADD COLUMN unit TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE user_groups ADD COLUMN own_name TEXT NOT NULL DEFAULT ''",
    """CREATE TABLE kept_names (
        kind TEXT NOT NULL,
        user_group_id INTEGER NOT NULL REFERENCES user_groups ON DELETE CASCADE,
        name_key TEXT NOT NULL,
        directory_id INTEGER NOT NULL REFERENCES directories,
        key TEXT NOT NULL,
        unit TEXT NOT NULL,
        since INTEGER NOT NULL,
        synchronization_id INTEGER NOT NULL REFERENCES synchronizations ON DELETE CASCADE,
        PRIMARY KEY (kind, user_group_id, name_key)) WITHOUT ROWID""",
    "CREATE INDEX kept_names_user_group ON kept_names (user_group_id)",
    "CREATE INDEX kept_names_synchronization ON kept_names (synchronization_id)",
)

# By what attributes a synchronization that does not write a user last saw him disabled. Who writes him looks again when
# nobody says so any more. And whether a run looked through the whole store for damage.
_STATES = (
    "ALTER TABLE claims ADD COLUMN disabled TEXT",
    """CREATE TRIGGER claims_end AFTER DELETE ON claims WHEN old.disabled IS NOT NULL BEGIN
    UPDATE users SET digest = x'' WHERE id = old.user_id;
    END""",
    "ALTER TABLE runs ADD COLUMN checked INTEGER NOT NULL DEFAULT 0",
)

# Who left which user group: by the run run_id, having come by the run joined_by (NULL: nobody knows any more). With
# names and paths as they were, since none of them need exist any longer.
_HISTORY = (
    """CREATE TABLE past_memberships (
        run_id INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
        user_group TEXT NOT NULL,
        user_group_key TEXT,
        kind TEXT NOT NULL,
        member TEXT NOT NULL,
        member_key TEXT,
        joined_by INTEGER)""",
    "CREATE INDEX past_memberships_run ON past_memberships (run_id)",
    "CREATE INDEX past_memberships_member ON past_memberships (member_key)",
    "CREATE INDEX past_memberships_user_group ON past_memberships (user_group_key)",
    # A record as it was before a run changed it, and after; after is NULL where the record ended. JSON.
    """CREATE TABLE past_records (
        run_id INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
        kind TEXT NOT NULL,
        key TEXT,
        path TEXT NOT NULL,
        before TEXT NOT NULL,
        after TEXT)""",
    "CREATE INDEX past_records_run ON past_records (run_id)",
    "CREATE INDEX past_records_key ON past_records (key)",
)

# What a provisioning keeps (see ledger.py): what it is linked to, whom it put into which group, what was being created,
# and what of a plan may still be done. ``run`` is who writes now, ``holder`` the process while it does, ``told`` what
# user_group_changes returned and nobody acknowledged. Of a member who is in_doubt nobody knows. past_links has what
# ended, with names and keys as they were. Nothing of it refers to users: a link outlives its user.
_PROVISIONINGS = (
    """CREATE TABLE provisionings (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        destination TEXT NOT NULL,
        run TEXT NOT NULL,
        holder TEXT NOT NULL,
        seen INTEGER NOT NULL,
        told TEXT NOT NULL)""",
    """CREATE TABLE links (
        id INTEGER PRIMARY KEY,
        provisioning_id INTEGER NOT NULL,
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        destination_id TEXT NOT NULL,
        written TEXT NOT NULL,
        shown TEXT NOT NULL,
        departed INTEGER NOT NULL,
        gone INTEGER NOT NULL,
        UNIQUE (provisioning_id, kind, key))""",
    """CREATE TABLE link_members (
        link_id INTEGER NOT NULL,
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        in_doubt INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (link_id, kind, key)) WITHOUT ROWID""",
    """CREATE TABLE intents (
        provisioning_id INTEGER NOT NULL,
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        record TEXT NOT NULL,
        PRIMARY KEY (provisioning_id, kind, key)) WITHOUT ROWID""",
    "CREATE TABLE allowed (provisioning_id INTEGER NOT NULL, removal TEXT NOT NULL)",
    "CREATE INDEX allowed_provisioning ON allowed (provisioning_id)",
    """CREATE TABLE past_links (
        provisioning TEXT NOT NULL,
        time INTEGER NOT NULL,
        event TEXT NOT NULL,
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        name TEXT NOT NULL,
        destination_id TEXT NOT NULL,
        group_name TEXT NOT NULL)""",
    "CREATE INDEX past_links_key ON past_links (key)",
)

# A NULL in name_key tells that the record is on its way from one place to another; no transaction ends with one. UNIQUE
# lets any number of NULLs be. The parent's foreign key waits for the end of the transaction, so that user groups can be
# written in any order.
_VIEWS = tuple("CREATE VIEW %s AS %s" % view for view in VIEWS.items())

_SCHEMA = (
    """CREATE TABLE directories (
        id INTEGER PRIMARY KEY,
        identity TEXT NOT NULL UNIQUE)""",
    """CREATE TABLE synchronizations (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        directory_id INTEGER NOT NULL REFERENCES directories,
        target_id INTEGER NOT NULL REFERENCES user_groups,
        salt BLOB NOT NULL,
        selected TEXT NOT NULL,
        settings TEXT NOT NULL,
        scope TEXT NOT NULL DEFAULT 'null',
        held TEXT NOT NULL DEFAULT '[]')""",
    """CREATE TABLE user_groups (
        id INTEGER PRIMARY KEY,
        parent_id INTEGER REFERENCES user_groups DEFERRABLE INITIALLY DEFERRED,
        name TEXT NOT NULL,
        name_key TEXT,
        synchronization_id INTEGER REFERENCES synchronizations ON DELETE SET NULL,
        key TEXT,
        made_as_target INTEGER NOT NULL DEFAULT 0,
        extinct TEXT,
        extinct_since INTEGER,
        attributes TEXT NOT NULL DEFAULT '{}',
        dn TEXT NOT NULL DEFAULT '',
        digest BLOB NOT NULL DEFAULT x'',
        run_id INTEGER,
        UNIQUE (parent_id, name_key),
        UNIQUE (synchronization_id, key))""",
    """CREATE TABLE users (
        id INTEGER PRIMARY KEY,
        home_id INTEGER NOT NULL REFERENCES user_groups,
        name TEXT NOT NULL,
        name_key TEXT,
        directory_id INTEGER REFERENCES directories,
        key TEXT,
        synchronization_id INTEGER REFERENCES synchronizations ON DELETE SET NULL,
        adopted INTEGER NOT NULL DEFAULT 0,
        enabled INTEGER NOT NULL DEFAULT 1,
        sid TEXT,
        extinct TEXT,
        extinct_since INTEGER,
        dn TEXT NOT NULL DEFAULT '',
        known_as TEXT NOT NULL DEFAULT '',
        digest BLOB NOT NULL DEFAULT x'',
        attributes TEXT NOT NULL DEFAULT '{}',
        local_attributes TEXT NOT NULL DEFAULT '{}',
        run_id INTEGER,
        UNIQUE (home_id, name_key),
        UNIQUE (directory_id, key))""",
    "CREATE INDEX users_sid ON users (sid) WHERE sid IS NOT NULL",
    "CREATE INDEX users_extinct ON users (synchronization_id) WHERE extinct IS NOT NULL",
    """CREATE TABLE claims (
        synchronization_id INTEGER NOT NULL REFERENCES synchronizations ON DELETE CASCADE,
        user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
        PRIMARY KEY (synchronization_id, user_id)) WITHOUT ROWID""",
    BY_USER["claims"],
    # No foreign key to users, which a trigger stands in for: each of hundreds of thousands of rows, in the order of
    # their user groups, would take a look at another corner of the largest table: half of a first run's time in SQLite.
    """CREATE TABLE memberships (
        user_group_id INTEGER NOT NULL REFERENCES user_groups ON DELETE CASCADE,
        user_id INTEGER NOT NULL,
        listed_as TEXT,
        run_id INTEGER,
        PRIMARY KEY (user_group_id, user_id)) WITHOUT ROWID""",
    BY_USER["memberships"],
    _END_OF_USERS,
    """CREATE TABLE nestings (
        user_group_id INTEGER NOT NULL REFERENCES user_groups ON DELETE CASCADE,
        nested_id INTEGER NOT NULL REFERENCES user_groups ON DELETE CASCADE,
        listed_as TEXT,
        run_id INTEGER,
        PRIMARY KEY (user_group_id, nested_id)) WITHOUT ROWID""",
    "CREATE INDEX nestings_nested ON nestings (nested_id)",
    *_RUNS,
    *_HISTORY,
    *_INCREMENTAL,
    *_KEPT_NAMES,
    *_STATES,
    *_PROVISIONINGS,
    *_VIEWS,
    "PRAGMA application_id = %d" % APPLICATION_ID,
    "PRAGMA user_version = %d" % VERSION,
)


# --- names, which were compared by str.casefold up to version 4 ------------------------------------------------------


def _folded_before(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _compare_names_anew(connection: sqlite3.Connection) -> None:
    """Write down how names are compared now. Two that were two stay two, so no place comes to be taken.

    Example: weiß was stored as `weiss`, which is somebody else's name now.
    """
    for table in ("users", "user_groups"):
        rows = connection.execute("SELECT id, name FROM %s WHERE name_key IS NOT NULL" % table).fetchall()
        connection.executemany(
            "UPDATE %s SET name_key = ? WHERE id = ?" % table,
            [(name_key(name), number) for number, name in rows if not name.isascii()],
        )
    _know_users_anew(connection)
    _keep_names_anew(connection)
    _call_groups_without_entries_anew(connection)


def _know_users_anew(connection: sqlite3.Connection) -> None:
    """Leave out by what name of theirs lists do not know users any more. By their other ones they are known until the
    next run, which reads all and writes them down: a value that leads to no one by then may have meant them.
    """
    for number, name, known_as in connection.execute(
        "SELECT id, name, known_as FROM users WHERE known_as <> ''"
    ).fetchall():
        if not name.isascii() and _folded_before(name) != name_key(name):
            others = [each for each in known_as.split(KNOWN_AS) if each != _folded_before(name)]
            connection.execute("UPDATE users SET known_as = ? WHERE id = ?", (KNOWN_AS.join(others), number))


def _keep_names_anew(connection: sqlite3.Connection) -> None:
    """Keep the names whose records are no more: what they were, the history has by the key of who had them."""
    for kind, group, folded, key in connection.execute(
        "SELECT kind, user_group_id, name_key, key FROM kept_names"
    ).fetchall():
        names = {name for (name,) in connection.execute("SELECT name FROM %ss WHERE key = ?" % kind, (key,))}
        for record in connection.execute("SELECT before FROM past_records WHERE kind = ? AND key = ?", (kind, key)):
            names.add(split_path(json.loads(record[0])["path"])[-1])
        forms = sorted({name_key(name) for name in names if _folded_before(name) == folded})
        if forms and folded not in forms:
            connection.execute(
                "UPDATE OR IGNORE kept_names SET name_key = ? WHERE kind = ? AND user_group_id = ? AND name_key = ?",
                (forms[0], kind, group, folded),
            )


def _call_groups_without_entries_anew(connection: sqlite3.Connection) -> None:
    """The stable keys of user groups that exist as values of users only (user_groups_value: name) are their names."""
    rows = connection.execute("SELECT id, key, name, own_name FROM user_groups WHERE key LIKE 'name:%'").fetchall()
    for number, key, name, own_name in rows:
        now = "name:" + name_key(significant(own_name or name))
        if now == key or "name:" + _folded_before(own_name or name) != key:
            continue
        changed = connection.execute("UPDATE OR IGNORE user_groups SET key = ? WHERE id = ?", (now, number)).rowcount
        if changed:
            for table, column in (("past_memberships", "user_group_key"), ("past_memberships", "member_key")):
                connection.execute("UPDATE %s SET %s = ? WHERE %s = ?" % (table, column, column), (now, key))
            for table in ("past_records", "kept_names"):
                connection.execute("UPDATE %s SET key = ? WHERE kind = 'user_group' AND key = ?" % table, (now, key))


def _doubt_members(connection: sqlite3.Connection) -> None:
    """Nobody is in doubt. Where the step before made the table, the column is there."""
    if not connection.execute("SELECT 1 FROM pragma_table_info('link_members') WHERE name = 'in_doubt'").fetchone():
        connection.execute("ALTER TABLE link_members ADD COLUMN in_doubt INTEGER NOT NULL DEFAULT 0")


# From each version to the next.
_UPGRADES: dict[int, tuple[str | Callable[[sqlite3.Connection], None], ...]] = {
    1: (
        "ALTER TABLE synchronizations ADD COLUMN scope TEXT NOT NULL DEFAULT 'null'",
        "ALTER TABLE synchronizations ADD COLUMN held TEXT NOT NULL DEFAULT '[]'",
        *(
            "ALTER TABLE %s ADD COLUMN run_id INTEGER" % table
            for table in ("user_groups", "users", "memberships", "nestings")
        ),
        # Not renamed aside: a rename would take the references of other tables along.
        "CREATE TEMP TABLE runs_of_version_1 AS SELECT * FROM runs",
        "DROP TABLE runs",
        *_RUNS,
        """INSERT INTO runs SELECT r.id, r.synchronization_id, s.name, r.time, r.seconds, r.server, r.mode, r.changed,
            r.counts, r.plan_digest, ''
            FROM runs_of_version_1 r JOIN synchronizations s ON s.id = r.synchronization_id""",
        "DROP TABLE runs_of_version_1",
        *_HISTORY,
        _END_OF_USERS,  # beside the foreign key that version 1 has
        "PRAGMA user_version = 2",
    ),
    2: (
        *_INCREMENTAL,
        "PRAGMA user_version = 3",
    ),
    3: (
        *_KEPT_NAMES,
        *_STATES,
        "PRAGMA user_version = 4",
    ),
    4: (
        _compare_names_anew,
        "PRAGMA user_version = 5",
    ),
    5: (  # its views are made with those of version 7
        "PRAGMA user_version = 6",
    ),
    6: (
        *_PROVISIONINGS,
        # One that says something else is a new view: who opens a store takes it for damaged if it is not as here.
        *("DROP VIEW IF EXISTS %s" % name for name in VIEWS),
        *_VIEWS,
        "PRAGMA user_version = 7",
    ),
    7: (
        _doubt_members,
        "PRAGMA user_version = 8",
    ),
}


NOT_ITS_TABLES = "its tables are not those of a store"  # what is wrong with a store that is damaged so

# What indexes, triggers and views say, as SQLite keeps it: the statements that made them.
BESIDE_TABLES = frozenset(
    statement
    for statement in _SCHEMA
    if statement.startswith(("CREATE INDEX", "CREATE UNIQUE INDEX", "CREATE TRIGGER", "CREATE VIEW"))
)


def is_damaged(connection: sqlite3.Connection) -> bool:
    """Tell whether an index, a trigger or a view is damaged: to be known before anything is written.

    What they say is text in the file. Example: one bit makes `user_id!= old.id` of `user_id = old.id` in the trigger
    that ends the memberships of a user who is deleted. Then everybody else's end.
    """
    # As bytes, since what is damaged may be no text.
    found = connection.execute("SELECT CAST(sql AS BLOB) FROM sqlite_master WHERE type <> 'table' AND sql IS NOT NULL")
    return not BESIDE_TABLES <= {sql.decode("utf-8", "replace") for (sql,) in found}


def create(connection: sqlite3.Connection) -> None:
    """Make the tables and the root of the tree in an empty database."""
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute("INSERT INTO user_groups (name, name_key) VALUES (?, ?)", (ROOT, name_key(ROOT)))


def is_old(connection: sqlite3.Connection) -> bool:
    """Tell whether the tables are of an earlier version than this collection writes."""
    return _version(connection) < VERSION


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring the tables to the present version, inside the open transaction."""
    while is_old(connection):
        for step in _UPGRADES[_version(connection)]:
            if isinstance(step, str):
                connection.execute(step)
            else:
                step(connection)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
