# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store that is damaged is said to be so: in a sentence, whatever bit of it has turned."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _look_up, _model, _plan, _report
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from ansible_collections.usersync.directory.plugins.module_utils._store import damage, sqlite_file
from ansible_collections.usersync.directory.plugins.module_utils._store.sqlite import Store, look, open_store
from ansible_collections.usersync.directory.plugins.module_utils._store.sqlite_file import StoreError
from support import snapshots, stored
from support.folders import scratch_folder
from support.plans import make_user, run_record
from support.snapshots import group, policies, user

MARK = _model.Mark(
    {
        "way": "syncrepl",
        "csn": ["20260101000000.000000Z#000000#000#000000"],
        "again": ["u1"],
        "open": {"cn=x": ["", {"g1": ["cn=x", True]}]},
        "outside": ["u2"],
        "selection": {"containers": []},
        "circumstances": {"directory": "d"},
        "read_fully": 1000,
        "time": 1000,
        "lists": "",
    }
)


def entries(number: int) -> tuple[list[_model.User], list[_model.UserGroup]]:
    """A company that changes a little from one run to the next."""
    people = [
        user(
            "u%02d" % each,
            "name%d" % (each + number),
            enabled=each % 7 != number,
            sid="S-1-5-21-%d" % each,
            attributes=_model.EncodedAttributes.of({"email": "name%d@example.org" % each, "towns": ["Ä", "b"]}),
        )
        for each in range(number, 25)
    ]
    keys = [person.key for person in people]
    groups = [
        group(
            "g%d" % each,
            "Gruppe %d" % each,
            keys[each : each + 8 - number],
            user_groups=["g%d" % (each + 1)] * (each < 4),
            attributes=_model.EncodedAttributes.of({"description": "x"}),
        )
        for each in range(number, 6)
    ]
    return people, groups


def run(path: Path, number: int, name: str = "staff", check: bool = False) -> None:
    """One run as a synchronization does it, and its report."""
    with open_store(str(path)) as store:
        people, groups = entries(number)
        digests = store.digests(name, b"salt")
        found = snapshots.snapshot(
            people,
            [
                each._replace(key=name + each.key, user_groups=[name + nested for nested in each.user_groups])
                for each in groups
            ],
        )
        found = found._replace(
            users={key: None if digests.users.get(key, b"") is None else body for key, body in found.users.items()},
            lost_users={key: _model.GONE for key in digests.users if key not in found.users},
            lost_user_groups={key: _model.GONE for key in digests.user_groups if key not in found.user_groups},
        )
        if check:
            store.begin_check(whole=True)
        state = store.load_state(name, ["All", "Company", name], found)
        chosen = policies(name=name, user_extinction="delete" if number else "disable", user_group_extinction="delete")
        plan = _plan.make_plan(chosen, found, state, str.casefold, 1000 + number)
        nested = store.direct_members(_report.members_to_load(plan, state), name)
        direct = store.direct_groups(_report.users_to_load(plan, state, nested), name)
        names = store.names(_report.names_to_load(plan, state), name)
        _report.make_report(plan, found, state, _report.Looked(direct, names), 100, True)
        store.left_by_last_run(name)
        store.last_times(name)
        store.mark(name)
        with store.backing_up(0) as be_ready:
            store.apply(plan, run_record(time=1000 + number, mark=MARK))
            be_ready()
            store.commit()


def ask(path: Path) -> None:
    everything = {"store": str(path), "effective": True, "include_extinct": True, "include_disabled": True}
    _look_up.look_up(everything)
    _look_up.look_up({**everything, "user": "name3", "history": 50})
    _look_up.look_up({**everything, "user_group": "All/Company/staff/Gruppe 3", "history": 50})


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a store with some of everything in it."""
    path = tmp_path_factory.mktemp("damage") / "users.db"
    with open_store(str(path)) as store:
        make_user(store, ["All", "Hand"], "zoe", {"email": "z@x"}, {"shell": "zsh"}, "S-9")
        store.commit()
    for number in range(3):
        run(path, number)
        run(path, number, "other")
    for table in stored.values(path, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"):
        assert stored.rows(path, "SELECT 1 FROM %s LIMIT 1" % table), "there is something in each table: %s" % table
    return path.read_bytes()


@pytest.mark.parametrize("seed", range(8))
def test_bits_that_turned_never_end_in_a_traceback(content: bytes, seed: int) -> None:
    """Fifty stores with one to three bits turned, in each a look-up and two runs: all go well or say why not."""
    chance = random.Random(seed)
    told = 0
    for _store in range(50):
        spoilt = bytearray(content)
        places = [chance.randrange(len(content) * 8) for _bit in range(chance.randint(1, 3))]
        for place in places:
            spoilt[place // 8] ^= 1 << place % 8
        with scratch_folder() as folder:
            path = Path(folder) / "users.db"
            path.write_bytes(spoilt)
            for work in (ask, lambda path: run(path, 1), lambda path: run(path, 3, check=True)):
                try:
                    work(path)
                except SynchronizationError as error:
                    told += 1
                    assert str(error).startswith(("store: ", "user_group: ", "name: ")), (places, error)
                except Exception as error:
                    pytest.fail("seed %d, bits %s: %r" % (seed, places, error))
    assert told


def lacks_a_row(path: Path) -> None:
    """Have the index of memberships lack one of them: look-ups that go by it do not find what the others do."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        row = connection.execute("SELECT * FROM sqlite_master WHERE name = 'memberships_user'").fetchone()
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = 'memberships_user'")
        connection.commit()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        number = connection.execute("SELECT id FROM user_groups WHERE key = 'staffg5'").fetchone()[0]
        connection.execute("INSERT INTO memberships (user_group_id, user_id) SELECT ?, max(id) FROM users", (number,))
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)
        connection.commit()


def test_an_index_that_lacks_a_row_is_found_by_the_whole_check(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "users.db"
    path.write_bytes(content)
    lacks_a_row(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        sqlite_file.check(connection, str(path))
        with pytest.raises(StoreError, match="missing from index memberships_user"):
            sqlite_file.check(connection, str(path), whole=True)
    with pytest.raises(StoreError, match="missing from index memberships_user"):
        run(path, 3, check=True)


def test_a_check_without_the_indexes_gives_way_to_one_with_them(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "users.db"
    path.write_bytes(content)
    lacks_a_row(path)
    for opened in (look, open_store):
        with opened(str(path)) as store:
            store.begin_check()
            store.begin_check(whole=True)
            store.begin_check()
            with pytest.raises(StoreError, match="missing from index"):
                store.end_check()


def test_when_the_whole_check_was(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "users.db"
    path.write_bytes(content)
    with look(str(path)) as store:
        assert store.last_whole_check() is None
    run(path, 2, check=True)
    with look(str(path)) as store:
        assert store.last_whole_check() == 1002


def spoil(statement: str, *values: Any) -> Callable[[sqlite3.Connection], None]:
    return lambda connection: connection.execute(statement, values)


@pytest.mark.parametrize(
    ("how", "found"),
    [
        (spoil("UPDATE users SET attributes = '{' WHERE id = 2"), "users.attributes is no JSON"),
        (spoil("UPDATE users SET attributes = '[]' WHERE id = 2"), "users.attributes is not what it should be"),
        (spoil("UPDATE users SET dn = CAST(x'ff' AS TEXT) WHERE id = 2"), "users.dn is no UTF-8"),
        (spoil("UPDATE users SET enabled = 'x' WHERE id = 2"), "users.enabled holds text where INTEGER belongs"),
        (spoil("UPDATE users SET name = 'other' WHERE id = 2"), "users has a name that is not the one it is found by"),
        (spoil("UPDATE users SET key = NULL WHERE id = 2"), "a record has no key"),
        (spoil("UPDATE users SET home_id = 9999 WHERE id = 2"), "a row of users refers to one that is not there"),
        (spoil("UPDATE runs SET time = 1 << 60"), "runs.time is no time"),
        (spoil("UPDATE marks SET mark = '{}'"), "marks.mark is not what it should be"),
        (spoil("UPDATE synchronizations SET scope = '{\"x\":1}'"), "synchronizations.scope is not what it should be"),
        (
            spoil("UPDATE memberships SET user_id = 9999 WHERE user_id = 2"),
            "a membership refers to a user who is not there",
        ),
        (
            spoil("UPDATE user_groups SET parent_id = id WHERE key = 'staffg3'"),
            "a user group lies in itself, or nowhere",
        ),
        (spoil("UPDATE user_groups SET parent_id = NULL WHERE key = 'staffg3'"), "the user groups have not one root"),
    ],
)
def test_what_is_found(content: bytes, tmp_path: Path, how: Callable[[sqlite3.Connection], None], found: str) -> None:
    path = tmp_path / "users.db"
    path.write_bytes(content)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert damage.find(connection) == ""
        how(connection)
        connection.commit()
        assert damage.find(connection) == found
    with pytest.raises(StoreError, match="is no database or a damaged one"), look(str(path)):
        raise KeyError("whatever fails then")


def test_what_fails_in_a_sound_store_is_what_it_is(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "users.db"
    path.write_bytes(content)
    with pytest.raises(KeyError, match="a fault of ours"), open_store(str(path)) as store:
        make_user(store, ["All"], "new")
        raise KeyError("a fault of ours")
    assert "new" not in stored.values(path, "SELECT name FROM users")


def test_a_store_without_a_version_is_damaged(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "users.db"
    path.write_bytes(content)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 0")
    with pytest.raises(StoreError, match="it has no schema version"):
        look(str(path))


def test_a_mark_has_what_damage_looks_for() -> None:
    assert damage._is_mark(json.loads(json.dumps(MARK.said)))
    assert isinstance(Store, type)
