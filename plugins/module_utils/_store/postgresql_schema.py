# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The tables of a store in PostgreSQL, and how older versions of them become the present one.

They hold what those of `sqlite_schema.py` hold in its version 8. Beside them, ``store`` has one row, which whoever
writes locks:

- ``version``: of the tables;
- ``generation``: how many transactions have written;
- ``last_change``: by which token the last one can be known that wrote what plans go by: who compares goes by that;
- ``claims``, ``memberships``, ``nestings``: how many rows these tables have. NULL: nobody knows, and they are counted.

``writes`` says by which token each of the last transactions can be known, for who has lost the answer to COMMIT.

Large tables have no foreign keys: each of hundreds of thousands of rows would take a look at another table. What is
written is written by one program, which removes what refers to a record before the record itself.
"""

from __future__ import annotations

from .._names import ROOT, name_key
from .postgresql_words import BEGINNING, quoted, words
from .views import VIEWS

VERSION = 9

# "C" compares texts by their bytes. {0} is the name of the schema.
_TEXT = 'text COLLATE "C"'

# Table -> its index by user.
BY_USER = {
    "claims": "CREATE INDEX IF NOT EXISTS claims_user ON {0}.claims (user_id)",
    "memberships": "CREATE INDEX IF NOT EXISTS memberships_user ON {0}.memberships (user_id)",
}


def _unique(table: str, text: str, *within: str) -> str:
    """Return the index that lets a text be there once. It is looked up by how the text begins, and a checksum tells
    apart what begins alike.
    """
    columns = ", ".join((*within, BEGINNING % text, "md5(%s)" % text))
    return "CREATE UNIQUE INDEX IF NOT EXISTS %s_%s ON {0}.%s (%s)" % (table, text, table, columns)


# What a provisioning keeps: see `sqlite_schema.py`.
_PROVISIONINGS = (
    """CREATE TABLE IF NOT EXISTS {0}.provisionings (
        id bigint PRIMARY KEY,
        name {1} NOT NULL,
        destination {1} NOT NULL,
        run {1} NOT NULL,
        holder {1} NOT NULL,
        seen bigint NOT NULL,
        told {1} NOT NULL)""",
    _unique("provisionings", "name"),
    """CREATE TABLE IF NOT EXISTS {0}.links (
        id bigint PRIMARY KEY,
        provisioning_id bigint NOT NULL,
        kind {1} NOT NULL,
        key {1} NOT NULL,
        destination_id {1} NOT NULL,
        written {1} NOT NULL,
        shown {1} NOT NULL,
        departed bigint NOT NULL,
        gone bigint NOT NULL)""",
    _unique("links", "key", "provisioning_id", "kind"),
    """CREATE TABLE IF NOT EXISTS {0}.link_members (
        link_id bigint NOT NULL,
        kind {1} NOT NULL,
        key {1} NOT NULL,
        in_doubt bigint NOT NULL DEFAULT 0)""",
    _unique("link_members", "key", "link_id", "kind"),
    """CREATE TABLE IF NOT EXISTS {0}.intents (
        provisioning_id bigint NOT NULL,
        kind {1} NOT NULL,
        key {1} NOT NULL,
        record {1} NOT NULL)""",
    _unique("intents", "key", "provisioning_id", "kind"),
    "CREATE TABLE IF NOT EXISTS {0}.allowed (provisioning_id bigint NOT NULL, removal {1} NOT NULL)",
    "CREATE INDEX IF NOT EXISTS allowed_provisioning ON {0}.allowed (provisioning_id)",
    """CREATE TABLE IF NOT EXISTS {0}.past_links (
        provisioning {1} NOT NULL,
        time bigint NOT NULL,
        event {1} NOT NULL,
        kind {1} NOT NULL,
        key {1} NOT NULL,
        name {1} NOT NULL,
        destination_id {1} NOT NULL,
        group_name {1} NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS past_links_key ON {0}.past_links (%s)" % (BEGINNING % "key"),
)

TABLES = (
    """CREATE TABLE IF NOT EXISTS {0}.store (
        one bigint PRIMARY KEY CHECK (one = 1),
        version bigint NOT NULL,
        generation bigint NOT NULL,
        last_change {1} NOT NULL DEFAULT '',
        claims bigint,
        memberships bigint,
        nestings bigint)""",
    """CREATE TABLE IF NOT EXISTS {0}.writes (
        generation bigint PRIMARY KEY,
        token {1} NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS {0}.directories (
        id bigint PRIMARY KEY,
        identity {1} NOT NULL UNIQUE)""",
    """CREATE TABLE IF NOT EXISTS {0}.user_groups (
        id bigint PRIMARY KEY,
        parent_id bigint REFERENCES {0}.user_groups,
        name {1} NOT NULL,
        name_key {1},
        synchronization_id bigint,
        key {1},
        made_as_target bigint NOT NULL DEFAULT 0,
        extinct {1},
        extinct_since bigint,
        attributes {1} NOT NULL DEFAULT '{{}}',
        dn {1} NOT NULL DEFAULT '',
        digest bytea NOT NULL DEFAULT ''::bytea,
        run_id bigint,
        unit {1} NOT NULL DEFAULT '',
        own_name {1} NOT NULL DEFAULT '')""",
    _unique("user_groups", "name_key", "parent_id"),
    _unique("user_groups", "key", "synchronization_id"),
    """CREATE TABLE IF NOT EXISTS {0}.synchronizations (
        id bigint PRIMARY KEY,
        name {1} NOT NULL UNIQUE,
        directory_id bigint NOT NULL REFERENCES {0}.directories,
        target_id bigint NOT NULL REFERENCES {0}.user_groups,
        salt bytea NOT NULL,
        selected {1} NOT NULL,
        settings {1} NOT NULL,
        scope {1} NOT NULL DEFAULT 'null',
        held {1} NOT NULL DEFAULT '[]')""",
    """CREATE TABLE IF NOT EXISTS {0}.users (
        id bigint PRIMARY KEY,
        home_id bigint NOT NULL,
        name {1} NOT NULL,
        name_key {1},
        directory_id bigint,
        key {1},
        synchronization_id bigint,
        adopted bigint NOT NULL DEFAULT 0,
        enabled bigint NOT NULL DEFAULT 1,
        sid {1},
        extinct {1},
        extinct_since bigint,
        dn {1} NOT NULL DEFAULT '',
        known_as {1} NOT NULL DEFAULT '',
        digest bytea NOT NULL DEFAULT ''::bytea,
        attributes {1} NOT NULL DEFAULT '{{}}',
        local_attributes {1} NOT NULL DEFAULT '{{}}',
        run_id bigint,
        expires bigint,
        unit {1} NOT NULL DEFAULT '')""",
    _unique("users", "name_key", "home_id"),
    _unique("users", "key", "directory_id"),
    "CREATE INDEX IF NOT EXISTS users_sid ON {0}.users (%s) WHERE sid IS NOT NULL" % (BEGINNING % "sid"),
    "CREATE INDEX IF NOT EXISTS users_extinct ON {0}.users (synchronization_id) WHERE extinct IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS users_expires ON {0}.users (expires) WHERE expires IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS users_to_compare ON {0}.users (synchronization_id) WHERE digest = ''::bytea",
    """CREATE TABLE IF NOT EXISTS {0}.claims (
        synchronization_id bigint NOT NULL,
        user_id bigint NOT NULL,
        disabled {1},
        PRIMARY KEY (synchronization_id, user_id))""",
    BY_USER["claims"],
    """CREATE TABLE IF NOT EXISTS {0}.memberships (
        user_group_id bigint NOT NULL,
        user_id bigint NOT NULL,
        listed_as {1},
        run_id bigint,
        PRIMARY KEY (user_group_id, user_id))""",
    BY_USER["memberships"],
    """CREATE TABLE IF NOT EXISTS {0}.nestings (
        user_group_id bigint NOT NULL,
        nested_id bigint NOT NULL,
        listed_as {1},
        run_id bigint,
        PRIMARY KEY (user_group_id, nested_id))""",
    "CREATE INDEX IF NOT EXISTS nestings_nested ON {0}.nestings (nested_id)",
    """CREATE TABLE IF NOT EXISTS {0}.runs (
        id bigint PRIMARY KEY,
        synchronization_id bigint REFERENCES {0}.synchronizations ON DELETE SET NULL,
        synchronization {1} NOT NULL,
        time bigint NOT NULL,
        seconds double precision NOT NULL,
        server {1} NOT NULL,
        mode {1} NOT NULL,
        changed bigint NOT NULL,
        counts {1} NOT NULL,
        plan_digest {1} NOT NULL,
        settings_digest {1} NOT NULL,
        reason {1} NOT NULL DEFAULT '',
        checked bigint NOT NULL DEFAULT 0)""",
    "CREATE INDEX IF NOT EXISTS runs_synchronization ON {0}.runs (synchronization_id)",
    """CREATE TABLE IF NOT EXISTS {0}.past_memberships (
        run_id bigint NOT NULL REFERENCES {0}.runs ON DELETE CASCADE,
        user_group {1} NOT NULL,
        user_group_key {1},
        kind {1} NOT NULL,
        member {1} NOT NULL,
        member_key {1},
        joined_by bigint)""",
    "CREATE INDEX IF NOT EXISTS past_memberships_run ON {0}.past_memberships (run_id)",
    "CREATE INDEX IF NOT EXISTS past_memberships_member ON {0}.past_memberships (%s)" % (BEGINNING % "member_key"),
    "CREATE INDEX IF NOT EXISTS past_memberships_user_group ON {0}.past_memberships (%s)"
    % (BEGINNING % "user_group_key"),
    """CREATE TABLE IF NOT EXISTS {0}.past_records (
        run_id bigint NOT NULL REFERENCES {0}.runs ON DELETE CASCADE,
        kind {1} NOT NULL,
        key {1},
        path {1} NOT NULL,
        before {1} NOT NULL,
        after {1})""",
    "CREATE INDEX IF NOT EXISTS past_records_run ON {0}.past_records (run_id)",
    "CREATE INDEX IF NOT EXISTS past_records_key ON {0}.past_records (%s)" % (BEGINNING % "key"),
    """CREATE TABLE IF NOT EXISTS {0}.marks (
        synchronization_id bigint PRIMARY KEY REFERENCES {0}.synchronizations ON DELETE CASCADE,
        mark {1} NOT NULL,
        versions bytea NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS {0}.kept_names (
        kind {1} NOT NULL,
        user_group_id bigint NOT NULL REFERENCES {0}.user_groups ON DELETE CASCADE,
        name_key {1} NOT NULL,
        directory_id bigint NOT NULL REFERENCES {0}.directories,
        key {1} NOT NULL,
        unit {1} NOT NULL,
        since bigint NOT NULL,
        synchronization_id bigint NOT NULL REFERENCES {0}.synchronizations ON DELETE CASCADE)""",
    _unique("kept_names", "name_key", "kind", "user_group_id"),
    "CREATE INDEX IF NOT EXISTS kept_names_user_group ON {0}.kept_names (user_group_id)",
    "CREATE INDEX IF NOT EXISTS kept_names_synchronization ON {0}.kept_names (synchronization_id)",
    *_PROVISIONINGS,
)

# The last of all: where this row is, the tables are.
_READY = (
    "INSERT INTO {0}.store (one, version, generation, claims, memberships, nestings) VALUES (1, %d, 0, 0, 0, 0)"
    " ON CONFLICT DO NOTHING" % VERSION
)

# From each version to the next; the version is written with them.
UPGRADES: dict[int, tuple[str, ...]] = {
    6: _PROVISIONINGS,
    7: (
        # An older collection that has begun compares this, and begins again: it knows nothing of the rest.
        "UPDATE {0}.store SET generation = generation + 1",
        "ALTER TABLE {0}.store ADD COLUMN IF NOT EXISTS last_change {1} NOT NULL DEFAULT ''",
        *(
            "ALTER TABLE {0}.store ADD COLUMN IF NOT EXISTS %s bigint" % table
            for table in ("claims", "memberships", "nestings")
        ),
    ),
    8: ("ALTER TABLE {0}.link_members ADD COLUMN IF NOT EXISTS in_doubt bigint NOT NULL DEFAULT 0",),
}


def creation(schema: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return the statements that make a store, and their parameters: each can be run again."""
    root = "INSERT INTO {0}.user_groups (id, name, name_key) VALUES (1, %s, %s) ON CONFLICT DO NOTHING"
    statements: list[tuple[str, tuple[str, ...]]] = [(_of(schema, each), ()) for each in TABLES]
    statements += [(each, ()) for each in _views(schema)]
    return [*statements, (_of(schema, root), (ROOT, name_key(ROOT))), (_of(schema, _READY), ())]


def upgrade(schema: str, version: int) -> list[str]:
    """Return the statements that bring a store of an older version to the present one."""
    statements = [
        _of(schema, statement)
        for number in range(version, VERSION)
        for statement in (*UPGRADES[number], "UPDATE {0}.store SET version = %d" % (number + 1))
    ]
    return [*statements, *_views(schema)]


def _views(schema: str) -> list[str]:
    return [
        "CREATE OR REPLACE VIEW %s.%s AS %s" % (quoted(schema), name, words(select, schema).text)
        for name, select in VIEWS.items()
    ]


def _of(schema: str, statement: str) -> str:
    return statement.format(quoted(schema), _TEXT)
