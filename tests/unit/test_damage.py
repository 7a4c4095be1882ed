# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store that is damaged is said to be so: in a sentence, whatever bit of it has turned."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _attributes, _look_up, _mark, _model, _user
from ansible_collections.usersync.directory.plugins.module_utils._destination.contract import Kind, Record
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from ansible_collections.usersync.directory.plugins.module_utils._plan import make
from ansible_collections.usersync.directory.plugins.module_utils._provisioning.changes import (
    Told,
    told_in,
    told_to_text,
)
from ansible_collections.usersync.directory.plugins.module_utils._provisioning.model import Link, Ref
from ansible_collections.usersync.directory.plugins.module_utils._report.affected import members_to_load, users_to_load
from ansible_collections.usersync.directory.plugins.module_utils._report.cut import Bounds
from ansible_collections.usersync.directory.plugins.module_utils._report.lists import names_to_load
from ansible_collections.usersync.directory.plugins.module_utils._report.make import Looked, make_report
from ansible_collections.usersync.directory.plugins.module_utils._store import (
    for_report,
    ledger,
    runs,
    sqlite_damage,
    sqlite_file,
    sqlite_schema,
)
from ansible_collections.usersync.directory.plugins.module_utils._store.address import address_of
from ansible_collections.usersync.directory.plugins.module_utils._store.apply import apply as apply_plan
from ansible_collections.usersync.directory.plugins.module_utils._store.load import load_state
from ansible_collections.usersync.directory.plugins.module_utils._store.sqlite import look, open_store
from ansible_collections.usersync.directory.plugins.module_utils._store.sqlite_file import StoreChanged, StoreError
from support import snapshots, stored
from support.examples import times
from support.folders import scratch_folder
from support.plans import digests, make_plan, make_user, run_record
from support.snapshots import group, policies, user
from support.spoilt import with_turned_bits

MARK = _mark.Mark(
    _mark.Reached(
        point=_mark.Synchronized(("20260101000000.000000Z#000000#000#000000",)),
        lists=b"",
        selection=_mark.Selection([], [], {}, [], []),
        again=["u1"],
        dead_ends={"cn=x": _mark.DeadEnd("", {"g1": _mark.Listed("cn=x", True)})},
        outside=["u2"],
    ),
    _mark.Circumstances("d", "ldap://localhost", "", "", ""),
    read_fully=1000,
    time=1000,
)


def entries(number: int) -> tuple[list[_model.User], list[_model.UserGroup]]:
    """A company that changes a little from one run to the next."""
    people = [
        user(
            "u%02d" % each,
            "name%d" % (each + number),
            enabled=each % 7 != number,
            sid="S-1-5-21-%d" % each,
            attributes=_attributes.EncodedAttributes.of({"email": "name%d@example.org" % each, "towns": ["Ä", "b"]}),
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
            attributes=_attributes.EncodedAttributes.of({"description": "x"}),
        )
        for each in range(number, 6)
    ]
    return people, groups


def run(path: Path, number: int, name: str = "staff", whole: bool = False) -> None:
    """One run as a synchronization does it, and its report."""
    with open_store(str(path)) as store:
        people, groups = entries(number)
        known = digests(store, name)
        found = snapshots.snapshot(
            people,
            [
                each._replace(key=name + each.key, user_groups=[name + nested for nested in each.user_groups])
                for each in groups
            ],
        )
        found = found._replace(
            users={key: None if known.users.get(key, b"") is None else body for key, body in found.users.items()},
            lost_users={key: _model.GONE for key in known.users if key not in found.users},
            lost_user_groups={key: _model.GONE for key in known.user_groups if key not in found.user_groups},
        )
        store.checks.begin(whole)
        state = load_state(store, name, ["All", "Company", name], found)
        chosen = policies(name=name, user_extinction="delete" if number else "disable", user_group_extinction="delete")
        plan = make.make_plan(chosen, found, state, str.casefold, _model.Times(1000 + number, 1000 + number))
        nested = for_report.direct_members(store, members_to_load(plan, state), name)
        direct = for_report.direct_groups(store, users_to_load(plan, state, nested), name)
        names = for_report.names(store, names_to_load(plan, state), name)
        report = make_report(plan, found, state, Looked(direct, names), Bounds(100, 10**6, True))
        json.dumps(report)
        runs.last_run(store, name)
        runs.mark(store, name)
        with store.backing_up(0) as be_ready:
            apply_plan(store, plan, run_record(time=1000 + number, mark=MARK, scope={"whole_tree": False}))
            be_ready()
            store.commit()


def ask(path: Path) -> None:
    everything = {"store": str(path), "effective": True, "include_extinct": True, "include_disabled": True}
    for more in ({}, {"user": "name3", "history": 50}, {"user_group": "All/Company/staff/Gruppe 3", "history": 50}):
        json.dumps(_look_up.look_up({**everything, **more}, pytest.fail))


def set_by_hand(path: Path) -> None:
    wanted = dict.fromkeys(("attributes", "sid"))
    wanted.update(store=str(path), state="present", user_group="All/Hand", name="zoe", create_user_group=True)
    _user.set_user({**wanted, "local_attributes": {"shell": "fish"}}, check_mode=False)


def provision(path: Path) -> None:
    """Some of everything that a store keeps of a provisioning."""
    ann, bob, staff = Ref(Kind.ACCOUNT, "u1"), Ref(Kind.ACCOUNT, "u2"), Ref(Kind.GROUP, "g1")
    kept = ledger.StoreLedger(address_of(str(path)), 10, "p", "https://scim.example", ledger.NOTHING)
    kept.link(ann, Link("1", Record("ann", "u1"), {"title": "Nurse"}))
    kept.link(staff, Link("2", Record("staff", "g1"), members=frozenset({ann})))
    kept.link(ann, Link("1", Record("ann", "u1"), departed=True))
    kept.intend(bob, Record("bob", "u2"))
    kept.tell(told_to_text(Told("a", "b", "c", {ann: (None, Record("ann", "u1"))}, {staff: {ann: True}})))
    kept.allow(frozenset({"something"}))
    kept.close()


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
    provision(path)
    for table in stored.values(path, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"):
        assert stored.rows(path, "SELECT 1 FROM %s LIMIT 1" % table), "there is something in each table: %s" % table
    return path.read_bytes()


@pytest.fixture
def path(content: bytes, tmp_path: Path) -> Path:
    """A copy of that store."""
    path = tmp_path / "users.db"
    path.write_bytes(content)
    return path


def goes_well(work: Callable[[Path], None], content: bytes, members: set[Any] | None = None) -> bool:
    """Tell whether it does, and leaves these members. If not, it says so in a sentence with the option and what to do,
    and leaves no trace.
    """
    with scratch_folder() as folder:
        path = folder / "users.db"
        path.write_bytes(content)
        try:
            work(path)
        except SynchronizationError as error:
            assert str(error).startswith(TOLD) and ": " in str(error).partition(": ")[2], error
            assert path.read_bytes() == content and [each.name for each in folder.iterdir()] == ["users.db"]
            return False
        assert members is None or stored.members_by_key(path) == members
        return True


# A name or a path that is another one now is not found; a directory that is another one now is another one.
TOLD = ("store: ", "user_group: ", "name: ", "synchronization: ", "sid: ")


@pytest.mark.on_one_python
@pytest.mark.parametrize("_part", range(times(8)))
def test_bits_that_turned(content: bytes, chance: random.Random, _part: int) -> None:
    """In many stores: what looks at them, and what writes them, goes well, or says what is wrong. A run that has looked
    through the whole store leaves everybody in all groups.
    """
    with scratch_folder() as folder:
        path = Path(folder) / "users.db"
        path.write_bytes(content)
        run(path, 3, whole=True)
        expected = stored.members_by_key(path)
    outcomes = []
    for _store in range(50):
        spoilt = with_turned_bits(content, chance)
        for work in (ask, set_by_hand, lambda path: run(path, 1)):
            outcomes.append(goes_well(work, spoilt))
        outcomes.append(goes_well(lambda path: run(path, 3, whole=True), spoilt, expected))
    assert set(outcomes) == {True, False}


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


def test_an_index_that_lacks_a_row_is_found_by_the_whole_check(path: Path) -> None:
    lacks_a_row(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        sqlite_file.check(connection, str(path), whole=False)
        with pytest.raises(StoreError, match="missing from index memberships_user"):
            sqlite_file.check(connection, str(path), whole=True)
    with pytest.raises(StoreError, match="missing from index memberships_user"):
        run(path, 3, whole=True)


def test_both_checks_are_waited_for(path: Path) -> None:
    lacks_a_row(path)
    for opened in (look, open_store):
        for kinds in ((False, True), (True, False)):
            with opened(str(path)) as store:
                for whole in kinds:
                    store.checks.begin(whole)
                with pytest.raises(StoreError, match="missing from index"):
                    store.checks.end()


def test_a_trigger_that_says_something_else(path: Path) -> None:
    """It would end the memberships of everybody but the one who is deleted, in a store that is whole otherwise."""
    content = path.read_bytes()
    assert content.count(b"WHERE user_id = old.id") == 1
    path.write_bytes(content.replace(b"WHERE user_id = old.id", b"WHERE user_id!= old.id"))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for opened in (open_store, lambda path: look(path, for_dry_run=True)):
        with pytest.raises(StoreError, match="its tables are not those of a store"):
            opened(str(path))


def test_a_check_waits_while_sqlite_itself_has_the_file(tmp_path: Path) -> None:
    """It came upon the file in the moment in which the run began to write, and ended the run: "database is locked"."""
    path = str(tmp_path / "any.db")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as writer:
        writer.execute("CREATE TABLE anything (a)")
        writer.execute("BEGIN EXCLUSIVE")
        later = threading.Timer(0.3, writer.execute, ["COMMIT"])
        later.start()
        with contextlib.closing(sqlite_file.connect(path, "mode=ro")) as reader:
            assert reader.execute("PRAGMA quick_check").fetchone() == ("ok",)
        later.join()


def test_when_the_whole_check_was(path: Path) -> None:
    with look(str(path)) as store:
        assert runs.last_whole_check(store) is None
    run(path, 2, whole=True)
    run(path, 3)
    with look(str(path)) as store:
        assert runs.last_whole_check(store) == 1002


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("ALTER TABLE kept_names RENAME COLUMN unit TO unix", "its tables are not those of a store"),
        ("DROP INDEX memberships_user", "its tables are not those of a store"),
        ("UPDATE users SET attributes = '{' WHERE key = 'u09'", "users.attributes has a value that it cannot have"),
        ("UPDATE users SET attributes = '[]' WHERE key = 'u09'", "users.attributes has a value that it cannot have"),
        ("UPDATE users SET dn = CAST(x'ff' AS TEXT) WHERE key = 'u09'", "users.dn has a value that it cannot have"),
        ("UPDATE users SET sid = x'41' WHERE key = 'u09'", "users.sid has a value that it cannot have"),
        ("UPDATE users SET name = 'other' WHERE key = 'u09'", "users.name is not what it is found by"),
        ("UPDATE users SET key = NULL WHERE key = 'u09'", "users.key is missing"),
        ("UPDATE users SET home_id = 9999 WHERE key = 'u09'", "a row of users refers to one that is not there"),
        ("UPDATE runs SET time = 1 << 60", "runs.time has a value that it cannot have"),
        ("UPDATE past_records SET path = 'Al/x'", "past_records.path has a value that it cannot have"),
        ("UPDATE marks SET mark = '{}'", "marks.mark has a value that it cannot have"),
        ("UPDATE synchronizations SET scope = '{\"x\":1}'", "synchronizations.scope has a value that it cannot have"),
        ("INSERT INTO memberships SELECT 1, 9999, NULL, NULL", "a membership refers to a user who is not there"),
        ("UPDATE user_groups SET parent_id = id WHERE key = 'staffg3'", "a user group lies in itself"),
    ],
)
def test_what_is_found(path: Path, statement: str, found: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert sqlite_damage.find(connection) == ""
        connection.execute(statement)
        connection.commit()
        factory = connection.text_factory
        assert sqlite_damage.find(connection) == found
        assert connection.text_factory is factory
    with pytest.raises(StoreError, match="is no database or a damaged one"), look(str(path)):
        raise KeyError("whatever fails then")
    with pytest.raises(StoreError, match="store_timeout"), look(str(path)):
        raise sqlite_file.held_by_another(str(path))


@pytest.mark.parametrize("column", ["links.shown", "links.written", "intents.record", "provisionings.told"])
@pytest.mark.parametrize("value", ["[]", "{}", "1", "null", "x", '{"a":1}', "[[1]]", '"x"'])
def test_a_provisioning_of_which_a_column_is_damaged(path: Path, column: str, value: str) -> None:
    if (column, value) == ("links.shown", "{}"):
        value = '{"a":{}}'
    table, name = column.split(".")
    stored.change(path, "UPDATE %s SET %s = ?" % (table, name), value)
    with pytest.raises(StoreError, match="%s has a value that it cannot have" % column):
        _look_up.looking(address_of(str(path)), lambda store: told_in(ledger.kept(store, "p").told))


@pytest.mark.parametrize("value", ["[]", "{}", "1", "null", '{"where":"HERE","process":"a","since":"1"}', "x"])
def test_a_holder_of_a_provisioning_that_is_none(path: Path, value: str) -> None:
    stored.change(path, "UPDATE provisionings SET holder = ?", value.replace("HERE", ledger._where()))
    kept = _look_up.looking(address_of(str(path)), lambda store: ledger.kept(store, "p"))
    journal = ledger.StoreLedger(address_of(str(path)), 10, "p", "https://scim.example", kept)
    with pytest.raises(StoreError, match=r"provisionings\.holder has a value that it cannot have"):
        journal.forget(Ref(Kind.ACCOUNT, "u1"))


def test_a_ring_of_user_groups_ends_nobody_s_patience(path: Path) -> None:
    """It would be gone round for ever."""
    stored.change(path, "UPDATE user_groups SET parent_id = id WHERE key = 'staffg3'")
    for work in (ask, lambda path: run(path, 3)):
        with pytest.raises(StoreError, match="a user group lies in itself"):
            work(path)


def test_the_run_that_looked_through_the_store_is_not_forgotten_for_idle_ones(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_IDLE_RUNS_KEPT", 1)
    for whole in (True, False, False, False):
        with open_store(str(path)) as store:
            store.checks.begin(whole)
            apply_plan(store, make_plan(), run_record(time=1003 + whole, changed=False))
            store.commit()
    with look(str(path)) as store:
        assert runs.last_whole_check(store) == 1004


def test_what_fails_in_a_sound_store_is_what_it_is(path: Path) -> None:
    with pytest.raises(KeyError, match="a fault of ours"), open_store(str(path)) as store:
        make_user(store, ["All"], "new")
        raise KeyError("a fault of ours")
    assert "new" not in stored.values(path, "SELECT name FROM users")


def test_what_fails_in_a_first_run_is_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_store(str(tmp_path / "new.db")):
        raise ZeroDivisionError
    assert not (tmp_path / "new.db").exists()


def test_what_was_written_so_far_is_not_what_is_looked_at(path: Path) -> None:
    with pytest.raises(KeyError, match="a fault of ours"), open_store(str(path)) as store:
        store.run("UPDATE users SET attributes = '{'")
        raise KeyError("a fault of ours")


def test_a_store_that_cannot_be_opened_is_let_go(path: Path) -> None:
    """The next run would wait for it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = 'CREATE TABLE users (' WHERE name = 'users'")
        connection.commit()
    for _again in range(2):
        with pytest.raises(StoreError, match="^store: .*malformed"):
            open_store(str(path), wait=0)


def test_a_store_without_a_version_is_damaged(path: Path) -> None:
    stored.change(path, "PRAGMA user_version = 0")
    with pytest.raises(StoreError, match="it has no schema version"):
        look(str(path))


def test_a_store_that_changed_is_looked_at_again_whatever_failed(path: Path) -> None:
    with pytest.raises(StoreChanged), look(str(path)) as store:
        stored.change(path, "UPDATE users SET attributes = '{'")
        assert store
        raise KeyError("since it did not fit together")


@pytest.mark.parametrize("writes", ["run", "many"])
def test_words_of_sqlite_that_are_no_text(tmp_path, writes):
    """A bit has turned in the name of a column that a trigger names: SQLite quotes it, and Python cannot read that."""
    with open_store(str(tmp_path / "x.db")) as store:
        store.run("PRAGMA writable_schema = ON")
        store.run(
            "UPDATE sqlite_master SET sql = CAST(replace(CAST(sql AS BLOB), CAST('digest' AS BLOB), x'646967F27374')"
            " AS TEXT) WHERE name = 'claims_end'"
        )
        store.run("PRAGMA writable_schema = RESET")
        with pytest.raises(StoreError):
            getattr(store, writes)("DELETE FROM claims WHERE user_id = ?", (1,) if writes == "run" else [(1,)])


def test_indexes_triggers_and_views_are_kept_as_the_statements_that_made_them(tmp_path):
    """So that a run need not make a sound store to compare with."""
    run(tmp_path / "users.db", 0)
    kept = stored.values(
        tmp_path / "users.db", "SELECT sql FROM sqlite_master WHERE type <> 'table' AND sql IS NOT NULL"
    )
    assert set(kept) == sqlite_schema.BESIDE_TABLES
