# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that are killed, find no room, or meet each other: the store is as before or as after, and the next run is good.

``--kills 200`` kills that many runs instead of a few.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from ansible_collections.usersync.directory.plugins.module_utils._store import runs, sqlite
from support.lab import PEOPLE, ROOT, Lab, dn_of, group, person, renamed, unit
from support.slapd import Slapd

COUNT = 1500


def company_before():
    people = "".join(person("user%d" % number, "mail: %d@example.org" % number) for number in range(COUNT))
    groups = "".join(
        group("group%d" % number, *(dn_of("user%d" % each) for each in range(number, COUNT, 40)))
        for number in range(40)
    )
    return ROOT + unit("people") + people + groups


def changes():
    """Thousands of them: new users, new names, new addresses, leavers, and members that come and go."""
    lines = [person("new%d" % number) for number in range(COUNT // 3)]
    for number in range(0, COUNT, 3):
        lines.append(
            "dn: %s\nchangetype: modify\nreplace: mail\nmail: new%d@example.org\n\n"
            % (dn_of("user%d" % number), number)
        )
    lines += [renamed(dn_of("user%d" % number), "uid=renamed%d" % number) for number in range(1, COUNT, 30)]
    lines += ["dn: %s\nchangetype: delete\n\n" % dn_of("user%d" % number) for number in range(2, COUNT, 10)]
    lines += [
        "dn: cn=group%d,%s\nchangetype: modify\nreplace: member\n%s\n"
        % (number, PEOPLE, "".join("member: %s\n" % dn_of("new%d" % each) for each in range(number, COUNT // 3, 3)))
        for number in range(40)
    ]
    return "".join(lines)


PERMITTED = {
    "removal_limits": "100%",
    "user_extinction": "delete",
    "distinguished_name": PEOPLE,
}


VARYING = ("time", "seconds", "since", "extinct_since", "settings", "settings_digest", "mark")  # a mark has times in it


def essence(path):
    """Everything in the store but times, and the settings, which name the store. Looked at in a copy, which needs no
    room beside the store.
    """
    with tempfile.TemporaryDirectory() as directory:
        for suffix in ("", "-wal"):
            if os.path.exists(f"{path}{suffix}"):
                shutil.copy(f"{path}{suffix}", f"{directory}/copy{suffix}")
        with contextlib.closing(sqlite3.connect(f"{directory}/copy")) as connection:
            return read_essence(connection)


def read_essence(connection):
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    tables = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if not name.startswith("sqlite_")
    ]
    found = {}
    for table in sorted(tables):
        columns = [row[1] for row in connection.execute("PRAGMA table_info(%s)" % table) if row[1] not in VARYING]
        found[table] = sorted(connection.execute("SELECT %s FROM %s" % (", ".join(columns), table)), key=repr)
    return found


@pytest.fixture(scope="module")
def changed_company(tmp_path_factory):
    """A company, its store before thousands of changes, and what the store is before and after them."""
    directory = tmp_path_factory.mktemp("crashes")
    with Slapd(ldif=company_before()) as server:
        company = Lab(server, directory / "before" / "users.db")
        company.once(**PERMITTED)
        server.modify(changes())
        other = Lab(server, directory / "after" / "users.db")
        shutil.copytree(company.store.parent, other.store.parent)
        started = time.monotonic()
        result = other.once(**PERMITTED)
        seconds = time.monotonic() - started
        assert result["summary"]["memberships"]["added"] > 5000
        yield server, company.store, essence(company.store), essence(other.store), seconds


def run_in_a_child(lab):
    """Start a run in a process of its own; its id."""
    child = os.fork()
    if child == 0:  # nothing of the test may run here: the child ends, one way or another
        code = 1
        with contextlib.suppress(BaseException):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            lab.once(**PERMITTED)
            code = 0
        os._exit(code)
    return child


def test_runs_that_are_killed(changed_company, tmp_path, pytestconfig, chance):
    """By SIGKILL, and as by an operator (SIGTERM) or a connection that Ansible closes (SIGHUP), at random instants."""
    server, store, before, after, seconds = changed_company
    rounds = pytestconfig.getoption("kills")
    outcomes = {"as before": 0, "as after": 0}
    for number in range(rounds):
        lab = Lab(server, tmp_path / str(number) / "users.db")
        shutil.copytree(store.parent, lab.store.parent)
        with_signal = chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP))
        delay = chance.uniform(0, 1.2 * seconds)
        child = run_in_a_child(lab)
        time.sleep(delay)
        os.kill(child, with_signal)
        os.waitpid(child, 0)
        found = essence(lab.store)
        assert found in (before, after), f"neither as before nor as after; round {number}"
        outcomes["as after" if found == after else "as before"] += 1
        if number % 10 == 0 or found == after:
            lab.once(**PERMITTED)
            assert {**essence(lab.store), "runs": None} == {**after, "runs": None}, "the next run completes it"
            assert not lab.once(True, **PERMITTED)["changed"]
            assert not list(lab.store.parent.glob("*.unfinished"))
        shutil.rmtree(lab.store.parent)
    print(f"\n{rounds} runs killed: {outcomes}")
    assert outcomes["as before"], "no run was killed before its end"


def test_a_first_run_that_is_killed(changed_company, tmp_path):
    server, *dummy, seconds = changed_company
    for part in (0.3, 0.6, 0.9):
        lab = Lab(server, tmp_path / str(part) / "users.db")
        child = run_in_a_child(lab)
        time.sleep(part * seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        lab.once(**PERMITTED)
        assert not lab.once(True, **PERMITTED)["changed"]


# --- no room ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    """A file system of 4 MiB."""
    directory = tmp_path / "small"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", directory], check=True)
    yield directory
    subprocess.run(["umount", directory], check=True)


def fill(directory, left):
    """Leave ``left`` bytes free."""
    free = os.statvfs(directory).f_bavail * os.statvfs(directory).f_frsize
    with open(directory / "filler", "wb") as file:
        file.write(bytes(max(0, free - left)))


@pytest.mark.parametrize("left", [0, 40_000, 200_000, 900_000])
@pytest.mark.parametrize("backups", [0, 5])
def test_a_full_disk(changed_company, small, left, backups):
    server, store, before, after, dummy = changed_company
    lab = Lab(server, small / "users.db")
    shutil.copy(store, lab.store)
    fill(small, left)
    with pytest.raises(SynchronizationError, match="^(store|store_backups): .*: make room") as failure:
        lab.once(**PERMITTED, store_backups=backups)
    assert "\n" not in str(failure.value)
    assert essence(lab.store) == before
    os.unlink(small / "filler")
    lab.once(**PERMITTED, store_backups=0)
    assert essence(lab.store) == after


def test_a_commit_that_fails_takes_no_copy_away(changed_company, tmp_path, monkeypatch):
    def fail(_store):
        raise sqlite.StoreError("store: make room")

    server, store, before, *dummy = changed_company
    lab = Lab(server, tmp_path / "users.db")
    shutil.copy(store, lab.store)
    earlier = tmp_path / "users.db.backup-20260101T000000.000000Z"
    earlier.write_text("a good one")
    monkeypatch.setattr(sqlite.SqliteStore, "commit", fail)
    for _again in range(3):
        with pytest.raises(SynchronizationError, match="make room"):
            lab.once(**PERMITTED, store_backups=1)
        first, new = sorted(tmp_path.glob("*.backup-*"))
        assert first == earlier and essence(new) == essence(lab.store) == before


def test_a_first_run_on_a_full_disk(changed_company, small):
    server, *dummy = changed_company
    lab = Lab(server, small / "users.db")
    fill(small, 100_000)
    with pytest.raises(SynchronizationError, match="^store: .*: make room"):
        lab.once(**PERMITTED)
    assert os.listdir(small) == ["filler"], "what was made for nothing is gone again"


# --- files that are no store -----------------------------------------------------------------------------------------


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def make_foreign(path):
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE users (name TEXT)")


@pytest.mark.parametrize(
    "spoil, words",
    [
        (truncate, "damaged"),
        (lambda path: path.write_bytes(b"no database\n" * 1000), "no database"),
        (make_foreign, "a database of another program"),
    ],
    ids=["truncated", "text", "foreign"],
)
def test_a_file_that_is_no_store_is_left_as_it_is(changed_company, tmp_path, spoil, words):
    server, store, *dummy = changed_company
    lab = Lab(server, tmp_path / "users.db")
    shutil.copy(store, lab.store)
    spoil(lab.store)
    before = lab.store.read_bytes()
    for check_mode in (True, False):
        with pytest.raises(SynchronizationError, match="^store: .*" + words):
            lab.once(check_mode, **PERMITTED)
    assert lab.store.read_bytes() == before and os.listdir(tmp_path) == ["users.db"]


@pytest.mark.parametrize("options", [{}, {"store_backups": 0}, {"state": "released"}, {"state": "absent"}])
@pytest.mark.parametrize("check_mode", [True, False])
def test_damage_that_the_run_itself_would_not_meet(changed_company, tmp_path, check_mode, options):
    """In an index that it does not use: a full run tells, and no copy of it takes the place of a good one."""
    server, store, *dummy = changed_company
    lab = Lab(server, tmp_path / "users.db")
    shutil.copy(store, lab.store)
    with contextlib.closing(sqlite3.connect(lab.store)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'users_sid'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with lab.store.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    before = lab.store.read_bytes()
    (tmp_path / "users.db.backup-20260101T000000.000000Z").write_text("a good one")
    there = sorted(tmp_path.iterdir())
    with pytest.raises(SynchronizationError, match="^store: .* is no database or a damaged one "):
        lab.once(check_mode, **{"store_backups": 1, "read_mode": "full", **options}, **PERMITTED)
    assert lab.store.read_bytes() == before and sorted(tmp_path.iterdir()) == there


def test_a_store_that_may_only_be_read(changed_company, tmp_path):
    server, store, *dummy = changed_company
    directory = tmp_path / "read-only"
    shutil.copytree(store.parent, directory)
    subprocess.run(["mount", "--bind", "-o", "ro", directory, directory], check=True)
    try:
        lab = Lab(server, directory / "users.db")
        for check_mode in (True, False):
            with pytest.raises(SynchronizationError, match="^store: .* cannot be written"):
                lab.once(check_mode, **PERMITTED)
    finally:
        subprocess.run(["umount", directory], check=True)


# --- two at once -----------------------------------------------------------------------------------------------------


def test_a_second_run_waits_and_works_on_the_new_state(changed_company, tmp_path):
    server, store, dummy, after, *dummy = changed_company
    lab = Lab(server, tmp_path / "users.db")
    shutil.copy(store, lab.store)
    children = [run_in_a_child(lab) for _number in range(3)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert {**essence(lab.store), "runs": None} == {**after, "runs": None}
    assert sorted(lab.rows("SELECT changed FROM runs")) == [(0,), (0,), (1,), (1,)]


def test_a_second_run_that_cannot_wait_says_who_holds_the_store(changed_company, tmp_path):
    server, store, before, *dummy = changed_company
    lab = Lab(server, tmp_path / "users.db")
    shutil.copy(store, lab.store)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent("""
            import sys
            sys.path.insert(0, %r)
            import conftest
            from ansible_collections.usersync.directory.plugins.module_utils._store import sqlite
            with sqlite.open_store(%r):
                print("held", flush=True)
                sys.stdin.read()
        """)
            % (os.path.dirname(os.path.dirname(__file__)), str(lab.store)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        holder.stdout.readline()
        for timeout in (0, 1):
            started = time.monotonic()
            with pytest.raises(SynchronizationError, match=r"^store_timeout: .* \(process %d, since 20" % holder.pid):
                lab.once(**PERMITTED, store_timeout=timeout)
            assert timeout <= time.monotonic() - started
        assert lab.once(True, **PERMITTED)["changed"], "a dry run looks, and waits for nobody"
    finally:
        holder.communicate()
    assert essence(lab.store) == before
    with sqlite.look(str(lab.store)) as looked:
        assert runs.directory_of(looked, "staff")
