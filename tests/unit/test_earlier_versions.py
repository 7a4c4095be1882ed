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
from ansible_collections.usersync.directory.plugins.module_utils import _model, _names
from ansible_collections.usersync.directory.plugins.module_utils._destination.contract import Kind
from ansible_collections.usersync.directory.plugins.module_utils._provisioning.model import Ref
from ansible_collections.usersync.directory.plugins.module_utils._store import (
    ledger,
    runs,
    sqlite_damage,
    sqlite_schema,
)
from ansible_collections.usersync.directory.plugins.module_utils._store.apply import apply as apply_plan
from ansible_collections.usersync.directory.plugins.module_utils._store.sqlite import look, open_store
from hypothesis import given
from hypothesis import strategies as st
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
        apply_plan(
            store,
            make_plan(
                directory=_model.Directory("dc=example,dc=org#1", "openldap"),
                target="All/Staff",
                memberships=[membership_change("g1", removed=["u1"])],
            ),
            run_record(time=2000),
        )
        store.commit()
    assert tables(old) == tables(tmp_path / "new.db")
    assert rows(old, "PRAGMA user_version") == [(sqlite_schema.VERSION,)]
    assert problems(old) == []
    with contextlib.closing(sqlite3.connect(old)) as connection:
        assert sqlite_damage.find(connection) == ""
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


def test_members_of_a_store_of_version_7_are_in_no_doubt(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSIONS[6].read_text(encoding="ascii"))
    with open_store(str(path)) as store:
        store.commit()
    with look(str(path)) as store:
        links = ledger.kept(store, "wiki").links
    ann, nurses = Ref(Kind.ACCOUNT, "u1"), Ref(Kind.GROUP, "g1")
    assert (links[nurses].members, links[nurses].in_doubt) == ({ann}, frozenset())


def test_looking_at_an_older_store_leaves_it_as_it_is(old):
    before = old.read_bytes()
    with look(str(old)) as store:
        assert look_up(store, user_group="All/Staff/Nurses")["user_groups"][0]["members"] == ["ann"]
        assert runs.last_run(store, "staff") == _model.LastRun("dc1", None, frozenset())
    assert old.read_bytes() == before and os.listdir(old.parent) == [old.name]


def test_a_run_that_is_not_committed_leaves_an_older_store_as_it_is(old):
    before = dump(old)
    with open_store(str(old)) as store:
        apply_plan(
            store,
            make_plan(directory=_model.Directory("dc=example,dc=org#1", "openldap"), target="All/Staff"),
            run_record(),
        )
    assert dump(old) == before


# --- names, which were compared by str.casefold up to version 4 ------------------------------------------------------

WITH_SHARP_S = """
INSERT INTO users (id, home_id, name, name_key, directory_id, key, synchronization_id, known_as)
    VALUES (2, 2, 'wei\u00df', 'weiss', 1, 'u2', 1, 'w2\x1fweiss'), (3, 3, 'STRASSE', 'strasse', NULL, NULL, NULL, '');
INSERT INTO user_groups (id, parent_id, name, name_key, synchronization_id, key, own_name)
    VALUES (4, 2, 'Stra\u00dfe (ex)', 'strasse (ex)', 1, 'name:strasse', 'Stra\u00dfe'),
        (5, 2, 'Strasse', 'strasse', 1, 'g5', ''), (6, 2, 'n ', 'n ', 1, 'name:n ', 'n '),
        (7, 2, 'm ', 'm ', 1, 'name:m ', ''), (8, 2, 'm', 'm', 1, 'name:m', 'm');
INSERT INTO past_memberships VALUES (1, 'All/x', 'name:strasse', 'user', 'ann', 'u1', NULL);
INSERT INTO past_memberships VALUES (1, 'All/x', 'g1', 'user_group', 'All/y', 'name:strasse', NULL);
INSERT INTO past_records VALUES (1, 'user', 'u8', 'All/Staff/gro\u00df', '{"path":"All/Staff/gro\u00df"}', NULL);
INSERT INTO past_records VALUES (1, 'user', 'u9', 'All/Staff/gross', '{"path":"All/Staff/gross"}', NULL);
INSERT INTO kept_names VALUES ('user', 2, 'gross', 1, 'u8', 'unit', 9, 1), ('user', 3, 'gross', 1, 'u9', 'unit', 9, 1);
INSERT INTO kept_names VALUES ('user_group', 2, 'stra\u00dfe', 1, 'name:strasse', 'unit', 9, 1);
INSERT INTO kept_names VALUES ('user', 2, 'x', 1, 'u10', '', 9, 1);
"""


@pytest.fixture
def with_sharp_s(path):
    """A store in which weiß is `weiss`, as what compares names had it, and has taken that name from others."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSIONS[3].read_text(encoding="ascii"))
        connection.executescript(WITH_SHARP_S)
    return path


def test_names_are_compared_anew(with_sharp_s):
    apply(with_sharp_s, make_plan(directory=_model.Directory("dc=example,dc=org#1", "openldap"), target="All/Staff"))
    assert set(rows(with_sharp_s, "SELECT name, name_key, known_as FROM users")) == {
        ("ann", "ann", ""),
        ("wei\u00df", "wei\u00df", "w2"),
        ("STRASSE", "strasse", ""),
    }
    assert set(rows(with_sharp_s, "SELECT name, name_key, key FROM user_groups WHERE id > 3")) == {
        ("Stra\u00dfe (ex)", "stra\u00dfe (ex)", "name:stra\u00dfe"),
        ("Strasse", "strasse", "g5"),
        ("n ", "n ", "name:n"),
        ("m ", "m ", "name:m "),
        ("m", "m", "name:m"),
    }
    past = "SELECT user_group_key, member_key FROM past_memberships WHERE run_id = 1"
    assert set(rows(with_sharp_s, past)) == {("name:stra\u00dfe", "u1"), ("g1", "name:stra\u00dfe")}
    assert set(rows(with_sharp_s, "SELECT kind, user_group_id, name_key, key FROM kept_names")) == {
        ("user", 2, "gro\u00df", "u8"),
        ("user", 2, "x", "u10"),
        ("user", 3, "gross", "u9"),
        ("user_group", 2, "stra\u00dfe", "name:stra\u00dfe"),
    }
    with contextlib.closing(sqlite3.connect(with_sharp_s)) as connection:
        assert sqlite_damage.find(connection) == ""
    assert problems(with_sharp_s) == []


def test_two_names_that_were_two_stay_two():
    """So that no two come to one place: whatever is one now, was one."""
    letters = map(chr, [number for number in range(0x30000) if not 0xD800 <= number < 0xE000])
    difficult = [letter for letter in letters if sqlite_schema._folded_before(letter) != letter or not letter.isalnum()]
    assert [each for each in difficult if not was_one_with_its_key(each)] == []


@given(st.text(max_size=8))
def test_two_texts_that_were_two_stay_two(text):
    assert was_one_with_its_key(text)


def was_one_with_its_key(text):
    return sqlite_schema._folded_before(_names.name_key(text)) == sqlite_schema._folded_before(text)
