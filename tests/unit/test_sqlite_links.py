# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store in a directory which others can write: no link of theirs is followed, whatever they do meanwhile."""

from __future__ import annotations

import os
import sqlite3
import time

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from ansible_collections.usersync.directory.plugins.module_utils._store import sqlite, sqlite_file
from ansible_collections.usersync.directory.plugins.module_utils._user import set_user
from support.exchange import exchanging

OTHER = 65534  # nobody


@pytest.fixture
def ours(tmp_path):
    """A directory that nobody else can write."""
    directory = tmp_path / "ours"
    directory.mkdir(mode=0o755)
    return directory


@pytest.fixture
def theirs(tmp_path):
    """A directory of another user."""
    if os.geteuid() != 0:
        pytest.skip("gives a directory to another user")
    directory = tmp_path / "theirs"
    directory.mkdir(mode=0o755)
    os.chown(directory, OTHER, OTHER)
    return directory


def keep_a_user(path, check_mode=False):
    """What the module `user` does."""
    params = {"name": "ann", "user_group": "All/Staff", "state": "present", "create_user_group": True, "sid": None}
    return set_user({**params, "store": str(path), "attributes": None, "local_attributes": None}, check_mode)


def make_link(directory, name, target):
    os.symlink(target, directory / name)
    os.chown(directory / name, OTHER, OTHER, follow_symlinks=False)
    return directory / name


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_dangling_link_makes_no_file(ours, theirs, check_mode):
    link = make_link(theirs, "users.db", ours / "made.db")
    with pytest.raises(SynchronizationError, match=r"^store: '.*users\.db' is a link, and others than this user can"):
        keep_a_user(link, check_mode)
    assert list(ours.iterdir()) == []


@pytest.mark.parametrize("opening", [sqlite.open_store, sqlite.look, sqlite.check_writable])
def test_every_way_to_open_a_store_refuses_it(ours, theirs, opening):
    keep_a_user(ours / "users.db")
    with pytest.raises(SynchronizationError, match="is a link"):
        opening(str(make_link(theirs, "users.db", ours / "users.db")))


def test_a_link_to_the_directory_is_one_too(ours, theirs):
    make_link(theirs, "stores", ours)
    with pytest.raises(SynchronizationError, match=r"'.*/theirs/stores' is a link"):
        keep_a_user(theirs / "stores" / "users.db")
    assert list(ours.iterdir()) == []


def test_own_links_are_followed(ours, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    os.symlink(os.path.join("..", "elsewhere"), ours / "stores")
    os.symlink("real.db", tmp_path / "elsewhere" / "users.db")
    keep_a_user(ours / "stores" / "users.db")
    assert (tmp_path / "elsewhere" / "real.db").stat().st_size
    assert sqlite_file.without_links(str(ours / "stores" / ".." / "x")) == str(tmp_path / "x")


def test_a_store_in_the_directory_of_another_user_is_no_link_and_will_do(theirs):
    keep_a_user(theirs / "users.db")
    assert keep_a_user(theirs / "users.db")["changed"] is False


@pytest.mark.parametrize("mode, owner, is_followed", [(0o1777, 0, True), (0o1777, OTHER, False), (0o777, 0, False)])
def test_in_a_sticky_directory_a_link_is_its_owners(ours, theirs, mode, owner, is_followed):
    os.chown(theirs, 0, 0)
    theirs.chmod(mode)
    link = make_link(theirs, "users.db", ours / "users.db")
    os.chown(link, owner, owner, follow_symlinks=False)
    if is_followed:
        keep_a_user(link)
    else:
        with pytest.raises(SynchronizationError, match="is a link"):
            keep_a_user(link)
    assert (ours / "users.db").exists() is is_followed


def test_links_that_lead_round_in_a_circle(ours):
    os.symlink("b", ours / "a")
    os.symlink("a", ours / "b")
    with pytest.raises(SynchronizationError, match="in a circle"):
        keep_a_user(ours / "a")


def test_a_second_name_of_a_file_is_a_link_too(ours, theirs):
    keep_a_user(ours / "users.db")
    os.link(ours / "users.db", theirs / "users.db")
    with pytest.raises(SynchronizationError, match="has another name, too"):
        keep_a_user(theirs / "users.db")


@pytest.mark.parametrize("name", ["users.db", "users.db-wal"])
def test_a_fifo_is_not_waited_for(theirs, name):
    keep_a_user(theirs / "users.db")
    (theirs / name).unlink(missing_ok=True)
    os.mkfifo(theirs / name)
    with pytest.raises(SynchronizationError, match="no regular file"):
        sqlite.look(str(theirs / "users.db"))


def test_a_wal_that_is_a_link_is_not_read(ours, theirs):
    keep_a_user(theirs / "users.db")
    make_link(theirs, "users.db-wal", "/dev/zero")
    with pytest.raises(SynchronizationError, match="cannot be read"):
        sqlite.look(str(theirs / "users.db"))


def test_a_file_that_is_exchanged_while_it_is_opened_is_noticed(ours, theirs, monkeypatch):
    """SQLite opens by the path, so it may open another file than the run holds. It must not write to that."""
    keep_a_user(theirs / "users.db")
    (ours / "empty").touch()
    connect = sqlite_file.connect

    def exchange(path, parameters, *more):
        if parameters == "mode=rw":
            os.replace(make_link(theirs, "link", ours / "empty"), path)
        return connect(path, parameters, *more)

    monkeypatch.setattr(sqlite_file, "connect", exchange)
    with pytest.raises(SynchronizationError, match="was exchanged for another file just now"):
        keep_a_user(theirs / "users.db")
    assert (ours / "empty").stat().st_size == 0
    assert [each.name for each in ours.iterdir()] == ["empty"]


def test_whoever_exchanges_the_store_again_and_again_gets_nothing(ours, theirs):
    """A link to an empty file is the worst: to SQLite that is an empty database, and it would write one into it."""
    (ours / "empty").touch()
    keep_a_user(theirs / "users.db")
    make_link(theirs, "link", ours / "empty")
    outcomes, deadline = [], time.monotonic() + 60
    with exchanging(theirs / "users.db", theirs / "link"):
        while (len(outcomes) < 150 or len(set(outcomes)) < 2) and time.monotonic() < deadline:
            try:
                keep_a_user(theirs / "users.db")
                outcomes.append("done")
            except SynchronizationError:
                outcomes.append("refused")
    assert set(outcomes) == {"done", "refused"}
    assert (ours / "empty").stat().st_size == 0
    assert [each.name for each in ours.iterdir()] == ["empty"]


def test_the_version_of_sqlite_follows_no_link_to_a_wal(ours, theirs):
    """What `sqlite_file` relies on: SQLite opens a WAL with O_NOFOLLOW (since version 3.31)."""
    keep_a_user(theirs / "users.db")
    (ours / "file").touch()
    make_link(theirs, "users.db-wal", ours / "file")
    connection = sqlite3.connect(theirs / "users.db", isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE mark (number)")
        connection.execute("COMMIT")
    except sqlite3.OperationalError:
        pass
    finally:
        connection.close()
    assert (ours / "file").stat().st_size == 0
