# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of an SQLite store, and what a run finds that looks through the store.

Files are looked at with plain SQL, never through the store itself.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._store import sqlite as sqlite_store
from ansible_collections.usersync.directory.plugins.module_utils._store import sqlite_backups, sqlite_file
from ansible_collections.usersync.directory.plugins.module_utils._store.apply import apply as apply_plan
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
from support.stored import dump


@pytest.fixture
def path(tmp_path):
    return tmp_path / "users.db"


ANN = user_record("ann")


def first_run(path):
    people = {"u1": ANN, "u2": user_record("bea")}
    nurses = group_changes({}, {"g1": group_record("Nurses")})
    apply(path, make_plan(nurses, user_changes({}, people), [membership_change("g1", people)]))


def back_up(path, keep=5):
    with open_store(str(path)) as store, store.backing_up(keep):
        pass


def run(path, keep=5, checks=False):
    """Run as a synchronization does, so that the store is another one then; return the new copy."""
    before = copies(path)
    with open_store(str(path)) as store:
        if checks:
            store.checks.begin(whole=False)
        with store.backing_up(keep) as be_ready:
            apply_plan(store, make_plan(), run_record())
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
            apply_plan(store, make_plan(users=user_changes({"u1": ANN}, {})), run_record())
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

    def slow(connection, path, whole):
        if threading.current_thread() is not threading.main_thread():
            until = time.monotonic() + 60
            while time.monotonic() < until and all(each.suffix == ".unfinished" for each in copies(Path(path))):
                time.sleep(0.01)
            time.sleep(0.1)  # for one that would be given its name too early
            meanwhile.extend(each.suffix for each in copies(Path(path)))
        really_check(connection, path, whole)

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
    def cannot(*_given, **_options):
        raise sqlite3.OperationalError("unable to open database file")

    first_run(path)
    with open_store(str(path)) as store, monkeypatch.context() as patch:
        patch.setattr(sqlite_file.sqlite3, "connect", cannot)
        store.checks.begin(whole=False)
        with pytest.raises(StoreError, match=r"^store: .* cannot be read \(unable to open database file\): "):
            store.checks.end()
    with pytest.raises(RuntimeError, match="another"), open_store(str(path)) as store, monkeypatch.context() as patch:
        patch.setattr(sqlite_file.sqlite3, "connect", cannot)
        store.checks.begin(whole=False)
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
            store.checks.begin(whole=False)
        with store.backing_up(keep) as be_ready:
            apply_plan(store, make_plan(), run_record())
            store.run("PRAGMA defer_foreign_keys = ON")
            store.run("INSERT INTO memberships (user_group_id, user_id) VALUES (99, 1)")
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
    before, really_commit = path.read_bytes(), sqlite_store.SqliteStore.commit
    monkeypatch.setattr(sqlite_store.SqliteStore, "commit", commit)
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
        apply_plan(store, make_plan(), run_record())
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
    assert all(sqlite_backups._NAME.fullmatch(each.name, len(path.name)) for each in made)


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
    monkeypatch.setattr(sqlite_backups, "_check", lambda *_given: os.stat("/nowhere"))
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
    really_copy = sqlite_backups._copy

    def damage(store, copy):
        really_copy(store, copy)
        with open(copy, "r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 4096)

    monkeypatch.setattr(sqlite_backups, "_copy", damage)
    with pytest.raises(StoreError, match="^store_backups: .*cannot be copied .*damaged.*: make room, or set store_b"):
        back_up(path)
    assert copies(path) == []


def test_a_copy_that_fails_keeps_the_run_from_being_committed(path, monkeypatch):
    def fails(_store, _copy):
        raise OSError("damaged")

    first_run(path)
    before = dump(path)
    monkeypatch.setattr(sqlite_backups, "_check", fails)
    with pytest.raises(StoreError, match="^store_backups: "), open_store(str(path)) as store:
        with store.backing_up(5):
            apply_plan(store, make_plan(users=user_changes({"u1": ANN}, {})), run_record())
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
        apply_plan(store, make_plan(users=user_changes({"u1": ANN}, {})), run_record())
    (copy,) = copies(path)
    assert dump(copy) == dump(path)
    assert "Anna" in "".join(dump(copy))


READ_BY_ANOTHER = r"^store_backups: .* \(another program reads it\): end that program, or set store_backups: 0$"


@pytest.fixture
def few_tries(monkeypatch):
    """A program that holds the store up is not waited for as long as usually."""
    monkeypatch.setattr(sqlite_backups, "_TRIES", 2)


def test_a_store_that_another_program_reads_as_it_was(path, few_tries):
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


def test_a_store_that_another_program_checks_in(path, few_tries):
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
        apply_plan(store, make_plan(users=user_changes({}, people)), run_record())
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
    said = r"^store: '.*' is no database or a damaged one \(.*\): put the last copy of it that is good in its place "
    for opened in (look, open_store):
        with pytest.raises(StoreError, match=said), opened(str(path)) as store:
            store.checks.begin(whole=False)
            store.checks.end()
    with pytest.raises(StoreError, match=said), open_store(str(path)) as store:
        store.checks.begin(whole=False)
        with store.backing_up(5):
            pass
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["users.db"]


def test_a_check_that_nobody_waits_for_leaves_no_trace(path, monkeypatch):
    """The store is left while the check has the WAL open: its end is waited for."""

    def slow(connection, path, whole):
        connection.execute("SELECT count(*) FROM users").fetchone()
        has_it_open.set()
        assert is_left.wait(60)
        time.sleep(0.1)  # for one that would not be waited for
        really_check(connection, path, whole)

    really_check = sqlite_file.check
    monkeypatch.setattr(sqlite_file, "check", slow)
    first_run(path)
    for opened in (look, open_store):
        has_it_open, is_left = threading.Event(), threading.Event()
        with opened(str(path)) as store:
            store.checks.begin(whole=False)
            if opened is open_store:
                assert has_it_open.wait(60)
            is_left.set()
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
