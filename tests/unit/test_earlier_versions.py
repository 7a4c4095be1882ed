# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores of earlier versions of the collection: SQLite files that it wrote."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _model
from ansible_collections.usersync.directory.plugins.module_utils._store import damage, schema
from ansible_collections.usersync.directory.plugins.module_utils._store.sqlite import look, open_store
from support.plans import apply, look_up, make_plan, membership_change, run_record
from support.stored import dump, problems, rows

VERSIONS = sorted((Path(__file__).parent / "stores").glob("version_*.sql"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "users.db"


def tables(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite%'")]
        return {name: connection.execute("PRAGMA table_info(%s)" % name).fetchall() for name in names}


@pytest.fixture(params=VERSIONS, ids=lambda version: version.stem)
def old(path, request):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(request.param.read_text(encoding="ascii"))
    return path


def test_an_older_store_is_brought_up_to_date_by_the_next_run(old, tmp_path):
    apply(tmp_path / "new.db")
    with open_store(str(old)) as store:
        store.apply(
            make_plan(
                directory=_model.Directory("dc=example,dc=org#1", "openldap"),
                target="All/Staff",
                memberships=[membership_change("g1", removed=["u1"])],
            ),
            run_record(time=2000),
        )
        store.commit()
    assert tables(old) == tables(tmp_path / "new.db")
    assert rows(old, "PRAGMA user_version") == [(schema.VERSION,)]
    assert problems(old) == []
    with contextlib.closing(sqlite3.connect(old)) as connection:
        assert damage.find(connection) == ""
    past = "SELECT user_group, user_group_key, kind, member, member_key, joined_by FROM past_memberships"
    assert rows(old, past) == [("All/Staff/Nurses", "g1", "user", "ann", "u1", None)]
    assert rows(old, "SELECT synchronization, time, counts FROM runs")[0] == (
        "staff",
        1000,
        '{"users":{"created":1}}',
    )
    assert rows(old, "SELECT name, attributes, local_attributes FROM users") == [
        ("ann", '{"email":"a@x"}', '{"desk":"4"}')
    ]


def test_looking_at_an_older_store_leaves_it_as_it_is(old):
    before = old.read_bytes()
    with look(str(old)) as store:
        assert look_up(store, user_group="All/Staff/Nurses")["user_groups"][0]["members"] == ["ann"]
        assert store.left_by_last_run("staff") == _model.LastRun("dc1", None, frozenset())
    assert old.read_bytes() == before and os.listdir(old.parent) == [old.name]


def test_a_run_that_is_not_committed_leaves_an_older_store_as_it_is(old):
    before = dump(old)
    with open_store(str(old)) as store:
        store.apply(
            make_plan(directory=_model.Directory("dc=example,dc=org#1", "openldap"), target="All/Staff"),
            run_record(),
        )
    assert dump(old) == before
