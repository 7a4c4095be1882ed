# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file under the SQLite store: what runs and looks do to it, and what is left of a run that was killed.

Files are looked at with os.stat and plain SQL, never through the store itself.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import resource
import shutil
import signal
import sqlite3
import stat
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._store import runs, sqlite, sqlite_file, sqlite_schema
from ansible_collections.usersync.directory.plugins.module_utils._store.apply import apply as apply_plan
from ansible_collections.usersync.directory.plugins.module_utils._store.load import load_state
from ansible_collections.usersync.directory.plugins.module_utils._store.sqlite import look, open_store
from ansible_collections.usersync.directory.plugins.module_utils._store.sqlite_file import (
    StoreChanged,
    StoreError,
    check_writable,
)
from support.clock import Clock, WatchedTime
from support.folders import trace
from support.forked import Forked
from support.plans import apply, digests, everybody, load, look_up, make_plan, run_record, user_changes, user_record
from support.stored import rows, users_by_path

NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")


def as_nobody(function, *arguments):
    """What a function prints that runs in a process of a user without rights."""

    def run():
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        function(*arguments)

    return Forked(run).wait()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store" / "users.db"


@pytest.fixture
def public():
    """A directory that everybody gets at: those of pytest are shut for others whenever another pytest starts."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_new_store_is_private_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "a" / "b" / "users.db"
    old_umask = os.umask(0)
    try:
        apply(path)
    finally:
        os.umask(old_umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["users.db"]
    assert rows(path, "PRAGMA user_version") == [(sqlite_schema.VERSION,)]
    assert rows(path, "PRAGMA application_id") == [(sqlite_schema.APPLICATION_ID,)]
    assert rows(path, "PRAGMA journal_mode") == [("wal",)] or path.read_bytes()[18:20] == b"\x02\x02"


@needs_root
def test_mode_and_owner_of_what_exists_are_kept(path):
    path.parent.mkdir(mode=0o755)
    apply(path)
    path.chmod(0o640)
    os.chown(path, 1, 2)
    apply(path)
    status = path.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o640, 1, 2)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755


def test_a_new_store_that_nothing_was_committed_to_is_gone(tmp_path):
    before = sorted(tmp_path.rglob("*"))
    store = open_store(str(tmp_path / "a" / "b" / "users.db"))
    apply_plan(store, make_plan(users=user_changes({}, {"u1": user_record("ann")})), run_record())
    store.close()
    assert sorted(tmp_path.rglob("*")) == before


def test_an_error_in_mid_run_leaves_an_existing_store_as_it_was(path):
    apply(path, make_plan(users=user_changes({}, {"u1": user_record("ann")})))
    content = path.read_bytes()
    with pytest.raises(KeyError), open_store(str(path)) as store:
        apply_plan(
            store,
            make_plan(users=user_changes({}, {"u2": user_record("bob"), "u3": user_record("cleo", "no such home")})),
            run_record(),
        )
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["users.db"]


def test_a_directory_that_somebody_used_meanwhile_stays(path):
    store = open_store(str(path))
    (path.parent / "other").touch()
    store.close()
    assert os.listdir(path.parent) == ["other"]


def test_an_empty_file_that_was_put_there_becomes_a_store(path):
    path.parent.mkdir()
    path.touch(0o640)
    apply(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert load(path).target == "All/Company"


def test_a_store_behind_a_symbolic_link(tmp_path, path):
    apply(path)
    link = tmp_path / "link.db"
    link.symlink_to(path)
    apply(link, make_plan(users=user_changes({}, {"u1": user_record("ann")})))
    assert sorted(os.listdir(tmp_path)) == ["link.db", "store"]
    assert users_by_path(path) == {"All/Company/ann": "u1"}


@pytest.mark.parametrize("name", ["a b?c#d%41.db", "größe.db", "file:x.db"])
def test_names_that_mean_something_in_a_uri(tmp_path, name):
    apply(tmp_path / name)
    assert os.listdir(tmp_path) == [name]
    assert load(tmp_path / name).target_missing is False


def make_foreign(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE things (x)")
    connection.commit()
    connection.close()


def make_foreign_in_wal_mode(path):
    make_foreign(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()


def make_foreign_with_application_id(path):
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA application_id = 7")
    connection.close()


def make_newer(path):
    apply(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = %d" % (sqlite_schema.VERSION + 1))
    connection.commit()
    connection.close()


def make_truncated(path):
    apply(path)
    os.truncate(path, path.stat().st_size // 2)


def make_truncated_in_its_header(path):
    apply(path)
    os.truncate(path, 50)


BAD_FILES = [
    (make_foreign, "another program"),
    (make_foreign_in_wal_mode, "another program"),
    (make_foreign_with_application_id, "another program"),
    (make_newer, "update the collection"),
    (make_truncated, "damaged"),
    (make_truncated_in_its_header, "no database"),
    (lambda path: path.write_text("x"), "no database"),
    (lambda path: path.write_text("not a database\n" * 1000), "no database"),
    (lambda path: path.mkdir(), "is a directory"),
    (os.mkfifo, "no regular file"),
]


@pytest.mark.parametrize("open_it", [open_store, look])
@pytest.mark.parametrize("make, words", BAD_FILES)
def test_what_is_no_store_is_refused_and_left_alone(path, open_it, make, words):
    path.parent.mkdir()
    make(path)
    before = trace(path.parent)
    with pytest.raises(StoreError) as error:
        open_it(str(path))
    assert words in str(error.value) and str(error.value).startswith("store: ") and "\n" not in str(error.value)
    assert str(path) in str(error.value)
    assert trace(path.parent) == before


def test_a_file_where_a_directory_should_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="^store: .*is not a directory"):
        open_store(str(tmp_path / "file" / "users.db"))
    with pytest.raises(StoreError, match="^store: .*is not a directory"):
        open_store(str(tmp_path / "file" / "below" / "users.db"))
    assert load(tmp_path / "file" / "users.db").users == {}
    assert os.listdir(tmp_path) == ["file"]


def try_to_open(path):
    try:
        open_store(str(path), wait=0).close()
        print("opened")
    except StoreError as error:
        print(error)


@needs_root
@pytest.mark.parametrize(
    "directory_mode, file_mode, words",
    [
        (0o777, 0o644, "Permission denied"),
        (0o755, 0o666, "no permission to make files beside it"),
        (0o755, None, "Permission denied"),
    ],
)
def test_what_this_user_may_not_write(public, directory_mode, file_mode, words):
    path = public / "store" / "users.db"
    path.parent.mkdir()
    if file_mode is not None:
        apply(path)
        path.chmod(file_mode)
    path.parent.chmod(directory_mode)
    before = trace(public)
    output = as_nobody(try_to_open, path)
    assert words in output and output.startswith("store: ") and "Traceback" not in output
    assert trace(public) == before


@needs_root
def test_a_directory_that_this_user_may_not_make(public):
    before = trace(public)
    output = as_nobody(try_to_open, public / "a" / "b" / "users.db")
    assert "Permission denied" in output and output.startswith("store: ") and "Traceback" not in output
    assert trace(public) == before


# --- two at once -----------------------------------------------------------------------------------------------------


def test_a_second_run_fails_when_it_has_waited(path, monkeypatch):
    clock = Clock()
    for module in (sqlite, sqlite_file):
        monkeypatch.setattr(module, "time", clock)
    with open_store(str(path)):
        holder = r"^store_timeout: .*held by another run \(process %d, since 20" % os.getpid()
        with pytest.raises(StoreError, match=holder):
            open_store(str(path), wait=30)
        assert 30 <= clock.now < 31
    assert not path.parent.exists()


@pytest.fixture
def watched_time(monkeypatch):
    watched = WatchedTime()
    monkeypatch.setattr(sqlite_file, "time", watched)
    return watched


def test_a_second_run_waits_and_sees_what_the_first_wrote(path, watched_time):
    first = open_store(str(path))
    apply_plan(first, make_plan(users=user_changes({}, {"u1": user_record("ann")})), run_record())
    found = []

    def second():
        with open_store(str(path), wait=60) as store:
            found.append(digests(store, "staff").users)

    thread = threading.Thread(target=second)
    thread.start()
    assert watched_time.somebody_sleeps() and not found
    first.commit()
    first.close()
    thread.join()
    assert found == [{"u1": b""}]


def test_a_second_run_waits_for_a_first_one_that_takes_its_new_file_away(path, watched_time):
    first = open_store(str(path))
    thread = threading.Thread(target=apply, args=(path, make_plan(users=user_changes({}, {"u1": user_record("ann")}))))
    thread.start()
    assert watched_time.somebody_sleeps()
    first.close()
    thread.join()
    assert users_by_path(path) == {"All/Company/ann": "u1"}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_is_taken_away_while_it_is_locked(path, monkeypatch):
    apply(path)
    flock, calls = fcntl.flock, []

    def flock_too_late(*arguments):
        if not calls:
            path.unlink()
        calls.append(arguments)
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", flock_too_late)
    apply(path, make_plan(users=user_changes({}, {"u1": user_record("ann")})))
    assert len(calls) == 2
    assert users_by_path(path) == {"All/Company/ann": "u1"}


def test_another_program_that_writes_is_waited_for_too(path):
    apply(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="held by another"):
        open_store(str(path), wait=0)
    other.execute("ROLLBACK")
    other.close()
    apply(path)


def test_many_first_runs_at_once_lose_nothing(path):
    all_are_there = multiprocessing.get_context("fork").Barrier(8)

    def run(number):
        key = "u%d" % number
        plan = make_plan(users=user_changes({}, {key: user_record(key)}), synchronization="s%d" % number)
        all_are_there.wait(60)
        with open_store(str(path)) as store:
            apply_plan(store, plan, run_record())
            if number % 2:
                store.commit()

    runs = [Forked(run, number) for number in range(8)]
    assert [run.wait() for run in runs] == [""] * 8
    assert set(users_by_path(path).values()) == {"u1", "u3", "u5", "u7"}
    assert os.listdir(path.parent) == ["users.db"]


# --- looking ---------------------------------------------------------------------------------------------------------


def test_looking_at_nothing_is_looking_at_an_empty_store(tmp_path):
    with look(str(tmp_path / "a" / "users.db")) as store:
        known = digests(store, "staff", b"")
        assert known[:4] == ({}, {}, {}, {}) and known.listing(["u1"]) == set()
        assert runs.directory_of(store, "staff") is None
        assert runs.last_times(store, "staff") == []
        assert [group["path"] for group in look_up(store)["user_groups"]] == ["All"]
        state = load_state(store, "staff", ["All", "New", "Staff"], everybody("u1"))
        assert (state.target, state.target_missing, state.users) == ("All/New/Staff", True, {})
    assert os.listdir(tmp_path) == []


def test_looking_leaves_no_trace(path):
    apply(path, make_plan(users=user_changes({}, {"u1": user_record("ann")})))
    before = trace(path.parent)
    with look(str(path)) as store:
        digests(store, "staff")
        load_state(store, "staff", ["All", "Company"], everybody("u1"))
        look_up(store)
        assert trace(path.parent) == before
    assert trace(path.parent) == before


def look_for(key, path):
    print(load(path, everybody(key)).users[key].record.name)


@needs_root
def test_looking_leaves_no_trace_for_a_user_who_may_not_write(public):
    path = public / "store" / "users.db"
    path.parent.mkdir(0o755)
    apply(path, make_plan(users=user_changes({}, {"u1": user_record("ann")})))
    path.chmod(0o644)
    before = trace(path.parent)
    assert as_nobody(look_for, "u1", path) == "ann\n"
    assert trace(path.parent) == before
    path.chmod(0o600)
    assert "cannot be read (Permission denied): name a file" in as_nobody(look_for, "u1", path)


def test_looking_while_a_run_is_at_work(path):
    apply(path, make_plan(users=user_changes({}, {"u1": user_record("ann")})))
    with open_store(str(path)) as run:
        apply_plan(
            run, make_plan(users=user_changes({"u1": user_record("ann")}, {"u1": user_record("bea")})), run_record()
        )
        before = trace(path.parent)
        assert load(path, everybody("u1")).users["u1"].record.name == "ann"
        assert trace(path.parent) == before
        run.commit()
        assert load(path, everybody("u1")).users["u1"].record.name == "bea"
    assert os.listdir(path.parent) == ["users.db"]


def test_a_store_that_changed_while_it_was_looked_at(path):
    apply(path)
    with pytest.raises(StoreChanged, match="run it again"), look(str(path)) as store:
        look_up(store)
        apply(path)
    with pytest.raises(StoreChanged), look(str(path)):
        path.unlink()


# Runs that are killed. They rename all users, and write more than SQLite keeps in memory.
NAMED = {"u%d" % number: user_record("name%d" % number) for number in range(1000)}
RENAMED = {"u%d" % number: user_record("name%d" % (number + 1)) for number in range(1000)}


@pytest.fixture(scope="module")
def small_cache():
    """SQLite writes long before the commit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "_CACHE", 8)  # KiB
        yield


def write_without_end(path, before, after, then_commit):
    store = open_store(str(path))
    apply_plan(store, make_plan(users=user_changes(before, after)), run_record())
    if then_commit:
        store.commit()
    print("ready")
    signal.pause()


def kill(path, before, after, then_commit):
    """Kill a run when it has written everything, or committed it, and has not closed the store."""
    run = Forked(write_without_end, path, before, after, then_commit)
    assert run.read_line() == "ready"
    run.kill()
    assert os.path.getsize(str(path) + "-wal") > 100_000


@needs_root
@pytest.mark.parametrize("then_commit, name", [(False, "name0"), (True, "name1")])
def test_a_killed_run_leaves_the_store_as_before_or_as_after(public, small_cache, then_commit, name, monkeypatch):
    path = public / "store" / "users.db"
    path.parent.mkdir(0o755)
    apply(path, make_plan(users=user_changes({}, NAMED)))
    path.chmod(0o644)
    kill(path, NAMED, RENAMED, then_commit)
    before = trace(path.parent)
    for_copies = public / "tmp"
    for_copies.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(for_copies))
        assert load(path, everybody("u0")).users["u0"].record.name == name
    assert os.listdir(for_copies) == []
    assert as_nobody(look_for, "u0", path) == name + "\n"
    assert trace(path.parent) == before
    apply(path)
    assert load(path, everybody("u0")).users["u0"].record.name == name
    assert os.listdir(path.parent) == ["users.db"]


def test_a_killed_first_run_leaves_an_empty_store(path, small_cache):
    kill(path, {}, NAMED, then_commit=False)
    before = trace(path.parent)
    with look(str(path)) as store:
        assert digests(store, "staff").users == {}
    assert trace(path.parent) == before
    apply(path, make_plan(users=user_changes({}, {"u1": user_record("ann")})))
    assert users_by_path(path) == {"All/Company/ann": "u1"}
    assert os.listdir(path.parent) == ["users.db"]


def end_at(size):
    """Have the system end this process at the first write that would make any file longer than that: setrlimit(2)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it


def rename_all(path, limit, limit_at_commit):
    """Rename all users; print how long the WAL has become, and the file. Ends at a write if there are limits."""
    if limit:
        end_at(limit)
    with open_store(str(path)) as store:
        apply_plan(store, make_plan(users=user_changes(NAMED, RENAMED)), run_record())
        store.commit()
        print(os.path.getsize(str(path) + "-wal"))
        if limit_at_commit:
            end_at(limit_at_commit)
    print(os.path.getsize(path))


class Whole(NamedTuple):
    """A store whose users are to be renamed, and how long its files become by that, in bytes."""

    content: bytes
    wal: int
    size: int


@pytest.fixture(scope="module")
def whole(tmp_path_factory, small_cache):
    path = tmp_path_factory.mktemp("whole") / "users.db"
    apply(path, make_plan(users=user_changes({}, NAMED)))
    content = path.read_bytes()
    return Whole(content, *map(int, Forked(rename_all, path, 0, 0).wait().split()))


def names_in(path):
    return {key: stored.record.name for key, stored in load(path, everybody(*NAMED)).users.items()}


@pytest.mark.parametrize("part", [0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.99])
def test_a_run_that_ends_at_any_write_leaves_the_store_as_before(path, whole, part):
    """From the first frame of the WAL to the one that commits."""
    path.parent.mkdir()
    path.write_bytes(whole.content)
    run = Forked(rename_all, path, int(part * whole.wal) + 1, 0)
    assert (run.wait(), run.ended_by) == ("", signal.SIGXFSZ)
    assert path.read_bytes() == whole.content
    check_what_a_run_left(path, NAMED)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_run_that_ends_while_it_checks_in_leaves_the_store_as_after(path, whole, part):
    """Its commit is in the WAL, and not all of that has come into the file (https://www.sqlite.org/wal.html, 2.1)."""
    path.parent.mkdir()
    path.write_bytes(whole.content)
    run = Forked(rename_all, path, 0, int(part * whole.size))
    assert (run.wait(), run.ended_by) == ("%d\n" % whole.wal, signal.SIGXFSZ)
    assert path.read_bytes() != whole.content
    check_what_a_run_left(path, RENAMED)


def check_what_a_run_left(path, users):
    """Looking finds these users and leaves no trace. So does the next run, which leaves nothing beside the file."""
    left = trace(path.parent)
    assert names_in(path) == {key: record.name for key, record in users.items()}
    assert trace(path.parent) == left
    disabled = users["u0"]._replace(enabled=False)
    apply(path, make_plan(users=user_changes({"u0": users["u0"]}, {"u0": disabled})))
    assert names_in(path) == {key: record.name for key, record in users.items()}
    assert os.listdir(path.parent) == ["users.db"]


@needs_root
def test_a_dry_run_says_when_the_run_could_not_write(public):
    path = public / "store" / "users.db"
    apply(path)

    def try_to_check(place):
        try:
            check_writable(str(place))
        except StoreError as error:
            print(error)

    for place in (public / "not" / "there" / "users.db", path):
        check_writable(str(place))
        before = trace(public)
        assert "users.db' cannot be written (" in as_nobody(try_to_check, place)
        assert trace(public) == before
