# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the store keeps of earlier runs: the history, copies of itself, and stores of earlier versions.

Files are looked at with plain sqlite3, never through the store itself.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import sqlite3
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _model
from ansible_collections.usersync.directory.plugins.module_utils._store import backups, schema, sqlite_file
from ansible_collections.usersync.directory.plugins.module_utils._store import sqlite as sqlite_store
from ansible_collections.usersync.directory.plugins.module_utils._store.sqlite import look, open_store
from ansible_collections.usersync.directory.plugins.module_utils._store.sqlite_file import StoreError
from support.plans import (
    apply,
    group_changes,
    group_record,
    look_up,
    make_plan,
    membership_change,
    run_record,
    user_changes,
    user_record,
)
from support.snapshots import OTHER_DIRECTORY
from support.sqlite_files import dump, memberships, rows

DAY = 86400
VERSIONS = sorted((Path(__file__).parent / "stores").glob("version_*.sql"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "users.db"


ANN, BEA, NURSES, NIGHT = user_record("ann"), user_record("bea"), group_record("Nurses"), group_record("Night")


def first_run(path):
    apply(
        path,
        make_plan(
            group_changes({}, {"g1": NURSES, "g2": NIGHT}),
            user_changes({}, {"u1": ANN, "u2": BEA}),
            [membership_change("g1", ["u1", "u2"], groups_added=["g2"])],
        ),
        time=1000,
    )


def left(path):
    return rows(
        path,
        "SELECT r.time, p.user_group, p.user_group_key, p.kind, p.member, p.member_key,"
        " (SELECT j.time FROM runs j WHERE j.id = p.joined_by)"
        " FROM past_memberships p JOIN runs r ON r.id = p.run_id",
    )


def records(path):
    return [
        (*row[:3], json.loads(row[3]), json.loads(row[4] or "null"))
        for row in rows(path, "SELECT p.kind, p.key, p.path, p.before, p.after FROM past_records p")
    ]


def test_what_exists_says_by_which_run_it_came(path):
    first_run(path)
    apply(path, make_plan(memberships=[membership_change("g2", ["u1"])]), time=2000)
    assert rows(
        path,
        "SELECT g.name, u.name, r.time, r.settings_digest FROM memberships m JOIN runs r"
        " ON r.id = m.run_id JOIN users u ON u.id = m.user_id JOIN user_groups g"
        " ON g.id = m.user_group_id",
    ) == [("Night", "ann", 2000, "s1"), ("Nurses", "ann", 1000, "s1"), ("Nurses", "bea", 1000, "s1")]
    for table in ("users", "nestings"):
        assert set(rows(path, "SELECT r.time FROM %s x JOIN runs r ON r.id = x.run_id" % table)) == {(1000,)}
    assert left(path) == [] and records(path) == [], "a first run writes nothing twice"


def test_who_left_which_group_when_and_since_when(path):
    first_run(path)
    apply(path, make_plan(memberships=[membership_change("g1", removed=["u2"], groups_removed=["g2"])]), time=2000)
    assert left(path) == [
        (2000, "All/Company/Nurses", "g1", "user", "bea", "u2", 1000),
        (2000, "All/Company/Nurses", "g1", "user_group", "All/Company/Night", "g2", 1000),
    ]


def test_who_ends_leaves_all_groups_of_all_synchronizations(path):
    first_run(path)
    apply(
        path,
        make_plan(
            group_changes({}, {"g9": group_record("Others", "path:All/There")}),
            memberships=[membership_change("g9", ["@S-1-5-21-1-2-3/u1"])],
            synchronization="there",
            target="All/There",
            directory=OTHER_DIRECTORY,
        ),
        time=1500,
    )
    apply(
        path,
        make_plan(
            group_changes({"g1": NURSES}, {}),
            user_changes({"u1": ANN}, {}),
            [membership_change("g1", removed=["u1", "u2"], groups_removed=["g2"])],
        ),
        time=2000,
    )
    assert left(path) == [
        (2000, "All/Company/Nurses", "g1", "user", "ann", "u1", 1000),
        (2000, "All/Company/Nurses", "g1", "user", "bea", "u2", 1000),
        (2000, "All/Company/Nurses", "g1", "user_group", "All/Company/Night", "g2", 1000),
        (2000, "All/There/Others", "g9", "user", "ann", "u1", 1500),
    ]
    assert records(path) == [
        (
            "user",
            "u1",
            "All/Company/ann",
            {"path": "All/Company/ann", "enabled": True, "sid": None, "extinct": None, "attributes": {}},
            None,
        ),
        (
            "user_group",
            "g1",
            "All/Company/Nurses",
            {"path": "All/Company/Nurses", "extinct": None, "attributes": {}},
            None,
        ),
    ]


def test_what_a_record_was_and_is(path):
    first_run(path)
    after = ANN._replace(name="ann2", home="g1", enabled=False, attributes={"email": "a@x"})
    apply(
        path,
        make_plan(
            group_changes({"g1": NURSES}, {"g1": NURSES._replace(name="Carers")}),
            user_changes({"u1": ANN}, {"u1": after}),
        ),
        time=2000,
    )
    (_kind, _key, path_now, before, now), (*group, group_before, group_now) = sorted(records(path), key=str)
    assert path_now == "All/Company/Carers/ann2"
    assert (before["path"], before["enabled"], before["attributes"]) == ("All/Company/ann", True, {})
    assert (now["path"], now["enabled"], now["attributes"]) == ("All/Company/Carers/ann2", False, {"email": "a@x"})
    assert group == ["user_group", "g1", "All/Company/Carers"]
    assert (group_before["path"], group_now["path"]) == ("All/Company/Nurses", "All/Company/Carers")


def test_what_nobody_sees_is_no_history(path):
    first_run(path)
    apply(path, make_plan(users=user_changes({"u1": ANN}, {"u1": ANN._replace(claimed=False)})))
    assert records(path) == []


def test_old_runs_go_and_what_they_changed_with_them(path):
    first_run(path)
    apply(path, make_plan(memberships=[membership_change("g1", removed=["u2"])]), time=2000)
    apply(path, make_plan(users=user_changes({"u1": ANN}, {"u1": user_record("ann2")})), time=10 * DAY)
    assert len(left(path)) == len(records(path)) == 1
    apply(path, make_plan(), time=11 * DAY, history_days=10)
    assert left(path) == [] and len(records(path)) == 1
    assert rows(path, "SELECT time FROM runs") == [(10 * DAY,), (11 * DAY,)]
    assert memberships(path), "and what exists stays"
    apply(path, make_plan(), time=11 * DAY + 1, history_days=0)
    assert rows(path, "SELECT time FROM runs") == [(11 * DAY + 1,)] and records(path) == []


def test_runs_that_change_nothing_do_not_pile_up(path, monkeypatch):
    monkeypatch.setattr(sqlite_store, "_IDLE_RUNS_KEPT", 3)
    first_run(path)
    for when in range(2000, 2010):
        apply(path, make_plan(), time=when, changed=False)
    assert rows(path, "SELECT time FROM runs") == [(1000,), (2006,), (2007,), (2008,), (2009,)]


def test_what_the_last_run_leaves_for_the_next(path):
    with look(str(path)) as store:
        assert store.left_by_last_run("staff") == ("", None, frozenset())
    apply(path, make_plan(held=frozenset({("user", "u1"), ("member", "g1", "u2")})), scope={"user_filter": "x"})
    with look(str(path)) as store:
        assert store.left_by_last_run("staff") == _model.LastRun(
            "dc1", {"user_filter": "x"}, frozenset({("user", "u1"), ("member", "g1", "u2")})
        )
    apply(path, make_plan(), server="dc2")
    with look(str(path)) as store:
        assert store.left_by_last_run("staff") == _model.LastRun("dc2", {}, frozenset())


# --- copies ----------------------------------------------------------------------------------------------------------


def back_up(path, keep=5):
    with open_store(str(path)) as store, store.backing_up(keep):
        pass


def run(path, keep=5, checks=False):
    """Run as a synchronization does, so that the store is another one then; return the new copy."""
    before = copies(path)
    with open_store(str(path)) as store:
        if checks:
            store.begin_check()
        with store.backing_up(keep) as be_ready:
            store.apply(make_plan(), run_record())
            be_ready()
            store.commit()
    return max({*copies(path)}.difference(before), default=None)


def copies(path):
    return sorted(each for each in path.parent.iterdir() if ".backup-" in each.name)


def test_a_copy_is_a_whole_store_with_the_mode_of_the_store(path):
    first_run(path)
    path.chmod(0o640)
    before = dump(path)
    with open_store(str(path)) as store:
        with store.backing_up(5):
            store.apply(make_plan(users=user_changes({"u1": ANN}, {})), run_record())
        assert copies(path), "made before anything is committed"
        store.commit()
    (copy,) = copies(path)
    assert sorted(each.name for each in path.parent.iterdir()) == ["users.db", copy.name], "and nothing else"
    assert dump(copy) == before != dump(path)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o640
    with look(str(copy)) as store:
        assert look_up(store, user_group="All/Company/Nurses")["user_groups"][0]["members"] == ["ann", "bea"]


def test_the_newest_copies_are_kept(path):
    first_run(path)
    (path.parent / "users.db.backup-20200101T000000.000000Z.unfinished").write_text("left by a killed run")
    made = []
    for _number in range(4):
        made = [*made, run(path, 3)][-3:]
        assert copies(path) == made, "what is left of one is none, and goes"
    assert copies(path) == made
    run(path, 0)
    assert copies(path) == made, "0 makes none, and takes none away"


def test_the_last_copy_of_a_store_that_was_looked_through_outlives_others(path):
    first_run(path)

    checked = run(path, 2, checks=True)
    for _number in range(4):
        run(path, 2)
        new = [each for each in copies(path) if each != checked]
        assert len(copies(path)) == len(new) + 1 and {each.suffix for each in new} == {".unchecked"}
    assert len(new) == 2
    assert copies(path) == [checked, *new]
    assert [new[-1], run(path, 2, checks=True)] == copies(path), "another one takes its place"


def test_a_copy_does_not_say_that_its_store_was_looked_through_while_it_is(path, monkeypatch):
    """The run may be killed any time."""

    def slow(connection, path):
        if threading.current_thread() is not threading.main_thread():
            until = time.monotonic() + 60
            while time.monotonic() < until and not list(Path(path).parent.glob("*Z.unchecked")):
                time.sleep(0.01)
            time.sleep(0.1)
            meanwhile.extend(each.suffix for each in copies(Path(path)))
        really_check(connection, path)

    meanwhile, really_check = [], sqlite_file.check
    first_run(path)
    monkeypatch.setattr(sqlite_file, "check", slow)
    assert [run(path, checks=True)] == copies(path)
    assert meanwhile == [".unchecked"]


def test_a_copy_that_cannot_be_given_its_name(path, monkeypatch):
    def cannot(old, new):
        if not new.endswith(".unchecked"):
            raise OSError(errno.EIO, "Input/output error")
        really_rename(old, new)

    first_run(path)
    really_rename = os.rename
    monkeypatch.setattr(os, "rename", cannot)
    with pytest.raises(StoreError, match=r"^store_backups: .* \(Input/output error\): make room, or set store_b"):
        run(path, checks=True)
    assert copies(path) == []


@pytest.mark.parametrize(
    "name",
    (
        "users.db.backup-2025-before-merger",
        "users.db.backup-20250101T000000.000000Z.gz",
        "users.db.backup-20250101T000000.000000Z-wal",
        "users.db.backup-29990101T000000.000000Z.unchecked-shm",
    ),
)
def test_what_somebody_has_beside_the_store_is_no_copy(path, name):
    first_run(path)
    (path.parent / name).write_text("made by hand")
    run(path, 2, checks=True)
    for _number in range(3):
        run(path, 2)
    others = [each for each in copies(path) if each.name != name]
    assert len(others) == len(copies(path)) - 1 == 2 + 1, "two and the one of a store that was looked through"


def test_a_copy_that_somebody_looks_at(path):
    first_run(path)
    first = run(path, 2)
    with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % first, uri=True)) as reader:
        reader.execute("SELECT count(*) FROM users").fetchall()
        beside = [first.with_name(first.name + suffix) for suffix in ("-shm", "-wal")]
        run(path, 2)
        assert copies(path)[:3] == [first, *beside] and len(copies(path)) == 4, "all three count as one copy"
        run(path, 2)
        assert len(copies(path)) == 2 and not {first, *beside}.intersection(copies(path)), "and go together"


def test_a_check_that_cannot_open_the_store_is_said_and_hides_nothing_else(path, monkeypatch):
    def cannot(*_given):
        raise sqlite3.OperationalError("unable to open database file")

    first_run(path)
    with open_store(str(path)) as store, monkeypatch.context() as patch:
        patch.setattr(sqlite_file, "connect", cannot)
        store.begin_check()
        with pytest.raises(StoreError, match=r"^store: .* cannot be read \(unable to open database file\): "):
            store.end_check()
    with pytest.raises(RuntimeError, match="another"), open_store(str(path)) as store, monkeypatch.context() as patch:
        patch.setattr(sqlite_file, "connect", cannot)
        store.begin_check()
        raise RuntimeError("another")
    assert [each.name for each in path.parent.iterdir()] == ["users.db"]


def test_a_run_that_fails_leaves_no_copy_and_takes_none_that_counts(path):
    first_run(path)
    there = [run(path) for _number in range(2)]
    for _again in range(3):
        with pytest.raises(RuntimeError, match="no room"), open_store(str(path)) as store, store.backing_up(2):
            raise RuntimeError("no room")
        assert copies(path) == there


def run_whose_commit_fails(path, keep, checks=False):
    """As on a full disk: SQLite itself says it."""
    with pytest.raises(StoreError, match="^store: .* cannot be written "), open_store(str(path)) as store:
        if checks:
            store.begin_check()
        with store.backing_up(keep) as be_ready:
            store.apply(make_plan(), run_record())
            store._run("PRAGMA defer_foreign_keys = ON")
            store._run("INSERT INTO memberships (user_group_id, user_id) VALUES (99, 1)")
            be_ready()
            store.commit()


def test_runs_whose_commit_fails_take_no_copy_away_and_leave_one_altogether(path):
    first_run(path)
    there = [run(path, 2) for _number in range(2)]
    before = path.read_bytes()
    for checks in (False, True, True, False):
        run_whose_commit_fails(path, 2, checks)
        assert path.read_bytes() == before
        assert copies(path)[:2] == there and len(copies(path)) == 3
        new = copies(path)[2]
        assert new.read_bytes() == before
    assert new.name.endswith("Z"), "one of these runs did look through the store"
    run(path, 2)
    assert copies(path) == [there[1], new], "which has a copy by then"


def test_runs_whose_commit_fails_leave_few_copies_though_others_change_the_store(path):
    first_run(path)
    checked = run(path, 2, checks=True)
    for _number in range(6):
        run_whose_commit_fails(path, 2)
        run(path, 0)
        assert checked in copies(path) and len(copies(path)) <= 1 + 2 + 2
    run(path, 2)
    assert len(copies(path)) == 1 + 2


def test_the_copy_stays_where_a_commit_that_fails_is_on_the_disk_nevertheless(path, monkeypatch):
    def commit(store):
        really_commit(store)
        raise StoreError("an error of the disk")

    first_run(path)
    before, really_commit = path.read_bytes(), sqlite_store.Store.commit
    monkeypatch.setattr(sqlite_store.Store, "commit", commit)
    with pytest.raises(StoreError, match="of the disk"):
        run(path, 1)
    (copy,) = copies(path)
    assert copy.read_bytes() == before != path.read_bytes()
    monkeypatch.undo()
    new = run(path, 1)
    assert copies(path) == [new] and new != copy, "the store was another one"


def test_earlier_copies_are_there_until_the_commit(path):
    first_run(path)
    there = [run(path, 2) for _number in range(2)]
    with open_store(str(path)) as store, store.backing_up(2) as be_ready:
        store.apply(make_plan(), run_record())
        be_ready()
        assert copies(path)[:-1] == there
        store.commit()
    assert copies(path)[0] == there[1] and len(copies(path)) == 2


def test_copies_are_told_apart_by_when_they_were_made_though_a_clock_was_set_back(path):
    """As by their names, so that a person knows it, too."""
    first_run(path)
    later = path.parent / "users.db.backup-29991231T235958.999999Z.unchecked"
    later.write_text("a copy")
    made = [run(path, 2) for _number in range(3)]
    assert copies(path) == made[1:] and made == sorted(made)
    assert all(backups._NAME.fullmatch(each.name, len(path.name)) for each in made)


def test_a_copy_where_the_system_cannot_send_from_file_to_file(path, monkeypatch):
    def cannot(*_given):
        raise OSError(errno.EINVAL, "Invalid argument")

    first_run(path)
    monkeypatch.setattr(os, "sendfile", cannot)
    back_up(path)
    (copy,) = copies(path)
    assert copy.read_bytes() == path.read_bytes()


def test_a_copy_and_a_check_where_the_system_allows_no_further_thread(path, monkeypatch):
    def cannot(_thread):
        raise RuntimeError("can't start new thread")

    first_run(path)
    monkeypatch.setattr(threading.Thread, "start", cannot)
    before = path.read_bytes()
    copy = run(path, checks=True)
    assert copy.read_bytes() == before
    monkeypatch.setattr(backups, "_check", lambda *_given: os.stat("/nowhere"))
    with pytest.raises(StoreError, match="^store_backups: "):
        back_up(path)
    assert copies(path) == [copy], "what fails at once is told at the end, too"


def test_a_copy_is_brought_to_the_disk_by_a_descriptor_that_may_write(path, monkeypatch):
    def note(descriptor):
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            names.append(os.readlink("/proc/self/fd/%d" % descriptor))
            assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
        really_sync(descriptor)

    names, really_sync = [], os.fsync
    first_run(path)
    monkeypatch.setattr(os, "fsync", note)
    back_up(path)
    assert [os.path.basename(each) for each in names] == [copies(path)[0].name + ".unfinished"]


def test_a_copy_that_is_damaged_is_no_copy(path, monkeypatch):
    first_run(path)
    really_copy = backups._copy

    def damage(store, copy):
        really_copy(store, copy)
        with open(copy, "r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 4096)

    monkeypatch.setattr(backups, "_copy", damage)
    with pytest.raises(StoreError, match="^store_backups: .*cannot be copied .*damaged.*: make room, or set store_b"):
        back_up(path)
    assert copies(path) == []


def test_a_copy_that_fails_keeps_the_run_from_being_committed(path, monkeypatch):
    def fails(_store, _copy):
        raise OSError("damaged")

    first_run(path)
    before = dump(path)
    monkeypatch.setattr(backups, "_check", fails)
    with pytest.raises(StoreError, match="^store_backups: "), open_store(str(path)) as store:
        with store.backing_up(5):
            store.apply(make_plan(users=user_changes({"u1": ANN}, {})), run_record())
        store.commit()
    assert dump(path) == before and copies(path) == []


def test_a_copy_has_what_a_killed_run_left_in_the_wal(path):
    first_run(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute('UPDATE users SET attributes = \'{"text": "Anna"}\'')
        connection.commit()
        left = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    for name, content in left.items():
        (path.parent / name).write_bytes(content)
    assert (path.parent / "users.db-wal").stat().st_size
    with open_store(str(path)) as store, store.backing_up(5):
        store.apply(make_plan(users=user_changes({"u1": ANN}, {})), run_record())
    (copy,) = copies(path)
    assert dump(copy) == dump(path)
    assert "Anna" in "".join(dump(copy))


READ_BY_ANOTHER = r"^store_backups: .* \(another program reads it\): end that program, or set store_backups: 0$"


def test_a_store_that_another_program_reads_as_it_was(path):
    """What was committed since cannot be brought into the file, which is what is copied."""
    first_run(path)
    with (
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader,
        contextlib.closing(sqlite3.connect(path)) as writer,
    ):
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM users").fetchone()
        writer.execute('UPDATE users SET attributes = \'{"text": "Anna"}\'')
        writer.commit()
        with pytest.raises(StoreError, match=READ_BY_ANOTHER):
            back_up(path)
        assert copies(path) == []
        reader.execute("COMMIT")
        back_up(path)
    (copy,) = copies(path)
    assert dump(copy) == dump(path)


def test_a_store_that_another_program_checks_in(path):
    """It has the lock for that, and waits for the one of the run; nothing tells then what is in the WAL."""
    first_run(path)

    def check_in():
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as another:
            while another.execute("PRAGMA wal_checkpoint(FULL)").fetchone()[0]:
                pass

    with contextlib.closing(sqlite3.connect(path)) as writer:
        writer.execute('UPDATE users SET attributes = \'{"text": "Anna"}\'')
        writer.commit()
        with pytest.raises(StoreError, match=READ_BY_ANOTHER), open_store(str(path)) as store:
            waiting = threading.Thread(target=check_in)
            waiting.start()
            while writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone() != (1, -1, -1):
                time.sleep(0.05)
            with store.backing_up(5):
                pass
        waiting.join()
        back_up(path)
    (copy,) = copies(path)
    assert dump(copy) == dump(path)


@pytest.mark.parametrize("parameters", ("", "&vfs=unix-none"), ids=("WAL", "a file system that has no WAL"))
def test_what_is_not_committed_is_in_no_copy(path, monkeypatch, parameters):
    """Not even where a large run has no room for it in memory: the cache of SQLite is made tiny."""
    really_connect = sqlite_file.connect
    monkeypatch.setattr(sqlite_file, "connect", lambda path, how, *wait: really_connect(path, how + parameters, *wait))
    monkeypatch.setattr(sqlite_store, "_CACHE", 20)
    first_run(path)
    before = dump(path)
    people = {
        "new%d" % number: user_record("name%d" % number, attributes={"text": "x" * 1000}) for number in range(500)
    }
    with open_store(str(path)) as store:
        store.apply(make_plan(users=user_changes({}, people)), run_record())
        grown = sum(each.stat().st_size for each in path.parent.iterdir())
        with store.backing_up(5):
            pass
        (copy,) = copies(path)
        assert dump(copy) == before
        assert (grown > 500_000) == (not parameters), "so it is tested"
        store.commit()
    assert dump(path) != before


def test_a_damaged_store_is_told_and_nothing_is_committed_to_it(path):
    """Damage where a run does not look, such as in an index."""
    first_run(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'nestings_nested'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    before = path.read_bytes()
    said = r"^store: '.*' is no database or a damaged one \(.*\): name another file, or restore this one$"
    for opened in (look, open_store):
        with pytest.raises(StoreError, match=said), opened(str(path)) as store:
            store.begin_check()
            store.end_check()
    with pytest.raises(StoreError, match=said), open_store(str(path)) as store:
        store.begin_check()
        with store.backing_up(5):
            pass
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["users.db"]


def test_a_check_that_nobody_waits_for_leaves_no_trace(path, monkeypatch):
    def slow(connection, path):
        connection.execute("SELECT count(*) FROM users").fetchone()  # it has the WAL open from here on
        time.sleep(0.3)
        really_check(connection, path)

    really_check = sqlite_file.check
    monkeypatch.setattr(sqlite_file, "check", slow)
    first_run(path)
    for opened in (look, open_store):
        with opened(str(path)) as store:
            store.begin_check()
            time.sleep(0.1)
        assert [each.name for each in path.parent.iterdir()] == ["users.db"]


def test_a_copy_that_does_not_fit(path, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small], check=False).returncode
    ):
        pytest.skip("a small file system takes root")
    try:
        path = small / "users.db"
        people = {
            "u%d" % number: user_record("name%d" % number, attributes={"text": "x" * 1000}) for number in range(300)
        }
        apply(path, make_plan(users=user_changes({}, people)))
        before = dump(path)
        with open(small / "filler", "wb") as filler, contextlib.suppress(OSError):
            filler.write(bytes(os.statvfs(small).f_bavail * os.statvfs(small).f_frsize - 200_000))
        with pytest.raises(StoreError, match="^store_backups: .*: make room, or set store_backups: 0$"):
            back_up(path)
        assert dump(path) == before and copies(path) == []
    finally:
        subprocess.run(["umount", small], check=True)


# --- earlier versions ------------------------------------------------------------------------------------------------


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
    assert rows(old, "PRAGMA foreign_key_check") == [] and rows(old, "PRAGMA integrity_check") == [("ok",)]
    assert left(old) == [(2000, "All/Staff/Nurses", "g1", "user", "ann", "u1", None)]
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
