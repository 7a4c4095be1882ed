# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role does, as root, in directories which the user of the runs writes: roles/.../files/places.py.

Each attack is tried twice: as it is found, and while the names are exchanged all the time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import shutil
import signal
import stat
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.examples import times
from support.exchange import exchanging
from support.role_programs import load

places = load("places")

USER = "nobody"
THIRD = 12345  # somebody else
ROUNDS = times(20)


@pytest.fixture
def host():
    """The directories of a host, below one that nobody but root can write, which /tmp is not."""
    if os.geteuid() != 0:
        pytest.skip("is run as root")
    with tempfile.TemporaryDirectory(dir="/run") as directory:
        os.chmod(directory, 0o755)
        below = Path(directory)
        (below / "etc").mkdir()  # what is root's
        (below / "etc" / "shadow").write_text("secret", encoding="ascii")
        (below / "etc" / "shadow").chmod(0o600)
        (below / "etc" / "staff.json").write_text("root's", encoding="ascii")
        (below / "collector").mkdir()
        yield SimpleNamespace(
            base=below,
            etc=below / "etc",
            state=below / "lib" / "state",
            log=below / "log",
            collector=below / "collector",
            uid=pwd.getpwnam(USER).pw_uid,
            gid=pwd.getpwnam(USER).pw_gid,
        )


def call(host, command, *, check=False, store=None, metrics=True, job="staff"):
    """What the program does when the role calls it; whether it changed anything."""
    arguments = {
        "make": ["--log", str(host.log)],
        "make-for-job": ["--job", job, "--store", str(store or host.state)],
        "remove": ["--job", job, "--log", str(host.log)],
    }[command]
    if metrics and command != "make":
        arguments += ["--metrics", str(host.collector)]
    if check:
        arguments.append("--check")
    options = places._parser().parse_args([command, "--user", USER, "--state", str(host.state), *arguments])
    return options.do(options)


def seen(directory):
    """Who owns what, with which mode and content."""
    found = {}
    for path in sorted([directory, *directory.rglob("*")]):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        if path.is_symlink():
            content = os.readlink(path)
        found[str(path)] = (status.st_uid, status.st_gid, oct(status.st_mode), content)
    return found


def own(path, host):
    """Give a path to the user of the runs, as if it had made it."""
    os.chown(path, host.uid, host.gid, follow_symlinks=False)
    return path


@pytest.fixture
def made(host):
    """The same after the role made its directories."""
    call(host, "make")
    host.before = seen(host.etc)
    return host


@contextlib.contextmanager
def refused(host, *words):
    with pytest.raises(places.Refusal) as refusal:
        yield
    assert all(word in str(refusal.value) for word in words), str(refusal.value)
    assert seen(host.etc) == host.before


# --- What is made and removed when nobody attacks


def test_the_directories_are_made_and_belong_to_the_user(host):
    assert call(host, "make", check=True) is True
    assert not host.state.exists()
    assert call(host, "make") is True
    found = seen(host.state)
    assert {path: each[2:3] for path, each in found.items()} == {
        str(host.state): ("0o40755",),
        str(host.state / "metrics"): ("0o40755",),
        str(host.state / "status"): ("0o40755",),
    }
    assert {each[:2] for each in found.values()} == {(host.uid, host.gid)}
    assert (host.log.stat().st_uid, oct(host.log.stat().st_mode)) == (host.uid, "0o40750")
    # What lies above is root's, so that nobody can exchange the directory of the state.
    assert (host.state.parent.stat().st_uid, oct(host.state.parent.stat().st_mode)) == (0, "0o40755")
    assert call(host, "make", check=True) is False
    assert call(host, "make") is False


def test_modes_and_owners_are_put_right(made):
    made.log.chmod(0o777)
    (made.state / "status").chmod(0o700)
    os.chown(made.state, made.uid, 0)
    assert call(made, "make", check=True) is True
    assert call(made, "make") is True
    assert call(made, "make") is False
    assert oct(made.log.stat().st_mode) == "0o40750"
    assert oct((made.state / "status").stat().st_mode) == "0o40755"
    assert made.state.stat().st_gid == made.gid


def test_a_user_that_is_not_there_yet_is_no_reason_to_fail_in_check_mode(host, monkeypatch):
    monkeypatch.setitem(globals(), "USER", "nobody_yet")
    assert call(host, "make", check=True) is True
    assert call(host, "make-for-job", check=True) is True
    call(host, "remove", check=True)
    assert sorted(each.name for each in host.base.iterdir()) == ["collector", "etc"]


def test_a_store_that_root_made_is_given_to_the_user(host):
    host.state.mkdir(parents=True)
    for name in ("users.db", "users.db-wal", "users.db.backup-2026", "notes.txt"):
        (host.state / name).write_text(name, encoding="ascii")
    assert call(host, "make") is True
    owners = {each.name: each.stat().st_uid for each in host.state.iterdir() if each.is_file()}
    assert owners == {"users.db": host.uid, "users.db-wal": host.uid, "users.db.backup-2026": host.uid, "notes.txt": 0}
    (host.state / "later.db").touch()
    assert call(host, "make", check=True) is True
    assert (host.state / "later.db").stat().st_uid == 0
    assert call(host, "make") is True
    assert (host.state / "later.db").stat().st_uid == host.uid
    assert call(host, "make") is False


def test_the_metrics_of_a_job_are_shown_and_removed(made):
    name = "user_synchronization_staff.prom"
    for check in (True, False):
        assert call(made, "make-for-job", check=check) is True
    assert call(made, "make-for-job") is False
    assert os.readlink(made.collector / name) == str(made.state / "metrics" / name)
    status = (made.state / "metrics" / name).stat()
    assert (status.st_uid, oct(status.st_mode), status.st_size) == (made.uid, "0o100644", 0)
    for path in (made.state / "status/staff.json", *(made.log / f"staff.log{end}" for end in ("", ".1", ".5"))):
        path.touch()
        own(path, made)
    (made.log / "other.log").touch()
    for check in (True, False):
        assert call(made, "remove", check=check) is True
    assert call(made, "remove") is False
    left = [each.name for directory in (made.state, made.log, made.collector) for each in directory.rglob("*")]
    assert sorted(left) == ["metrics", "other.log", "status"]


def test_another_link_of_that_name_is_put_right_and_a_file_is_not_removed(made):
    name = "user_synchronization_staff.prom"
    (made.collector / name).symlink_to("/elsewhere")
    assert call(made, "make-for-job") is True
    assert os.readlink(made.collector / name) == str(made.state / "metrics" / name)
    (made.collector / name).unlink()
    (made.collector / name).touch()
    with refused(made, "is no link, so it is not of this role"):
        call(made, "make-for-job")
    call(made, "remove")
    assert (made.collector / name).exists()


def test_a_collector_that_is_not_there_is_told(made):
    shutil.rmtree(made.collector)
    with refused(made, "user_synchronization_metrics_directory: there is no"):
        call(made, "make-for-job")


@pytest.mark.parametrize("above", [0, "user"])
def test_the_directory_of_a_store_is_made_by_whom_the_one_above_belongs_to(made, above):
    directory = made.base / "srv"
    directory.mkdir()
    if above:
        own(directory, made)
    assert call(made, "make-for-job", store=directory / "a/b", check=True) is True
    assert list(directory.iterdir()) == []
    assert call(made, "make-for-job", store=directory / "a/b") is True
    assert (directory / "a/b").stat().st_uid == made.uid
    assert oct((directory / "a/b").stat().st_mode) == "0o40750"
    assert (directory / "a").stat().st_uid == (made.uid if above else 0)
    assert call(made, "make-for-job", store=directory / "a/b") is False


def test_a_directory_of_a_store_that_is_there_stays_as_it_is(made):
    directory = made.base / "srv"
    directory.mkdir(mode=0o700)
    call(made, "make-for-job", store=directory)
    assert (directory.stat().st_uid, oct(directory.stat().st_mode)) == (0, "0o40700")


def test_nothing_is_made_in_a_directory_of_a_third(made):
    directory = made.base / "home"
    directory.mkdir()
    os.chown(directory, THIRD, THIRD)
    with refused(made, "cannot be made in a directory of another user"):
        call(made, "make-for-job", store=directory / "stores")
    made.state = directory
    with refused(made, "belongs to another user"):
        call(made, "make")


# --- Links that others made


@pytest.mark.parametrize("name", ["metrics", "status"])
def test_a_directory_of_the_state_that_is_a_link_is_refused(made, name):
    """V1: the play gave away whatever directory it led to."""
    (made.state / name).rmdir()
    (made.state / name).symlink_to(made.etc)
    own(made.state / name, made)
    with refused(made, f"'{made.state / name}' is a link", "look who made it"):
        call(made, "make")


def test_stores_that_are_links_or_have_another_name_are_not_given(made):
    """V3."""
    own(made.state, made)
    (made.state / "a.db").symlink_to(made.etc / "shadow")
    os.link(made.etc / "shadow", made.state / "b.db")
    os.mkfifo(made.state / "c.db")
    (made.state / "d.db").mkdir()
    made.before = seen(made.etc)
    assert call(made, "make") is False
    assert seen(made.etc) == made.before
    assert {each.lstat().st_uid for each in made.state.glob("?.db")} == {0}


def test_stores_are_not_given_where_everybody_may_link_files_of_root(made, monkeypatch):
    """A file of root's that was linked to here, and then lost its first name, has one name."""
    (made.state / "users.db").touch()
    real_open = open

    def pretend(path, *arguments, **more):
        if path == "/proc/sys/fs/protected_hardlinks":
            path = made.base / "zero"
            path.write_text("0\n", encoding="ascii")
        return real_open(path, *arguments, **more)

    monkeypatch.setattr(places, "open", pretend, raising=False)
    assert call(made, "make") is False
    assert (made.state / "users.db").stat().st_uid == 0


@pytest.mark.parametrize("name", ["metrics", "status"])
def test_nothing_is_removed_behind_a_link(made, name):
    made.etc.joinpath("user_synchronization_staff.prom").touch()
    made.before = seen(made.etc)
    (made.state / name).rmdir()
    (made.state / name).symlink_to(made.etc)
    with refused(made, "is a link, and others than root can write"):
        call(made, "remove")


def test_nothing_is_made_behind_a_link(made):
    (made.state / "metrics").rmdir()
    (made.state / "metrics").symlink_to(made.etc)
    with refused(made, "is a link, and others than root can write"):
        call(made, "make-for-job")
    (made.state / "stores").symlink_to(made.etc)
    with refused(made, "is a link, and others than root can write"):
        call(made, "make-for-job", store=made.state / "stores/new", metrics=False)


def test_nothing_is_linked_behind_a_link(made):
    """The directory of the collector lies in one of another user: Debian's is below one of prometheus."""
    above = made.base / "prometheus"
    above.mkdir()
    os.chown(above, THIRD, THIRD)
    (above / "node-exporter").symlink_to(made.etc)
    made.collector = above / "node-exporter"
    with refused(made, "is a link, and others than root can write"):
        call(made, "make-for-job")
    (made.etc / "user_synchronization_staff.prom").symlink_to("/elsewhere")
    made.before = seen(made.etc)
    with refused(made, "is a link, and others than root can write"):
        call(made, "remove")


def test_a_tree_in_the_place_of_a_log_is_removed_with_the_rights_of_the_user(made):
    (made.log / "staff.log/a").mkdir(parents=True)
    for path in (made.log / "staff.log", made.log / "staff.log/a"):
        own(path, made)
    (made.log / "staff.log/a/link").symlink_to(made.etc)
    call(made, "remove")
    assert list(made.log.iterdir()) == []
    assert seen(made.etc) == made.before
    (made.log / "staff.log/of-root").mkdir(parents=True)
    (made.log / "staff.log/of-root/file").touch()
    own(made.log / "staff.log", made)
    with refused(made, "done as the user nobody"):
        call(made, "remove")
    assert (made.log / "staff.log/of-root/file").exists()


def test_links_of_root_are_followed(made):
    """/var/lib/user_synchronization may be a link to a larger disk."""
    (made.base / "disk").mkdir()
    (made.base / "link").symlink_to("disk")
    made.state = made.base / "link" / "state"
    assert call(made, "make") is True
    assert (made.base / "disk/state/status").stat().st_uid == made.uid
    (made.base / "round").symlink_to("round")
    made.state = made.base / "round" / "state"
    with refused(made, "is a link"):
        call(made, "make")


def test_what_is_no_directory_is_told(made):
    made.state = made.etc / "shadow" / "state"
    with refused(made, "is no directory"):
        call(made, "make")


# --- Races


def try_all(host, command, **options):
    for dummy in range(ROUNDS):
        with contextlib.suppress(places.Refusal, OSError):
            call(host, command, **options)
    assert seen(host.etc) == host.before


@pytest.mark.on_one_python
@pytest.mark.parametrize("command", ["make", "make-for-job", "remove"])
@pytest.mark.parametrize("name", ["metrics", "status"])
def test_a_directory_that_is_exchanged_for_a_link_all_the_time(made, command, name):
    (made.state / "link").symlink_to(made.etc)
    own(made.state / "link", made)
    made.etc.joinpath("user_synchronization_staff.prom").touch()
    made.before = seen(made.etc)
    with exchanging(made.state / name, made.state / "link"):
        try_all(made, command)


@pytest.mark.on_one_python
def test_a_store_that_is_exchanged_for_a_link_all_the_time(made):
    (made.state / "x.db").touch()
    (made.state / "link").symlink_to(made.etc / "shadow")
    with exchanging(made.state / "x.db", made.state / "link"):
        for dummy in range(ROUNDS):
            call(made, "make")
            os.chown(made.state / "x.db", 0, 0, follow_symlinks=False)
            os.chown(made.state / "link", 0, 0, follow_symlinks=False)
    assert seen(made.etc) == made.before


@pytest.mark.on_one_python
@pytest.mark.parametrize("command", ["make-for-job", "remove"])
def test_a_collector_that_is_exchanged_for_a_link_all_the_time(made, command):
    above = made.base / "prometheus"
    (above / "node-exporter").mkdir(parents=True)
    (above / "link").symlink_to(made.etc)
    os.chown(above, THIRD, THIRD)
    made.collector = above / "node-exporter"
    made.etc.joinpath("user_synchronization_staff.prom").symlink_to("/elsewhere")
    made.before = seen(made.etc)
    with exchanging(above / "node-exporter", above / "link"):
        try_all(made, command)


@pytest.mark.on_one_python
def test_a_directory_of_a_store_that_is_exchanged_for_a_link_all_the_time(made):
    (made.state / "a").mkdir()
    own(made.state / "a", made)
    (made.state / "link").symlink_to(made.etc)
    with exchanging(made.state / "a", made.state / "link"):
        try_all(made, "make-for-job", store=made.state / "a/b", metrics=False)


@pytest.mark.parametrize("content", [True, False])
def test_in_a_directory_that_a_group_writes_no_directory_of_root_is_given_but_an_empty_one(host, content):
    """As /var/log is on Ubuntu: who is of the group can put another directory of root's in the place."""
    shared = host.base / "shared"
    shared.mkdir()
    shared.chmod(0o775)
    os.chown(shared, 0, THIRD)
    host.log = shared / "log"
    assert call(host, "make") is True
    assert host.log.stat().st_uid == host.uid
    host.log.rmdir()
    host.log.mkdir()
    if not content:
        assert call(host, "make") is True
        return
    (host.log / "apt.log").touch()
    host.before = seen(host.etc)
    with refused(host, "belongs to root, and others than root can write"):
        call(host, "make")
    assert host.log.stat().st_uid == 0


def test_a_directory_that_is_made_where_a_group_writes_is_the_one_that_is_given(host, monkeypatch):
    shared = host.base / "shared"
    (shared / "of-root").mkdir(parents=True)
    (shared / "of-root" / "file").touch()
    shared.chmod(0o775)
    os.chown(shared, 0, THIRD)
    host.log = shared / "log"
    mkdir = os.mkdir

    def exchange(name, *arguments, **more):
        mkdir(name, *arguments, **more)
        if name == "log":
            os.rmdir(shared / "log")
            os.rename(shared / "of-root", shared / "log")

    monkeypatch.setattr(os, "mkdir", exchange)
    host.before = seen(host.etc)
    with refused(host, "was changed by somebody else while it was made"):
        call(host, "make")
    assert host.log.stat().st_uid == 0


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_the_user_can_stop_what_is_done_with_its_rights_and_gains_nothing(made, monkeypatch, number):
    monkeypatch.setattr(places, "PATIENCE", 1)

    def stop(*dummy):
        os.kill(os.getpid(), number)
        return True

    with refused(made, "was stopped or killed"):
        places.with_rights_of(USER, stop)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_the_rights_are_those_of_the_user_and_no_others(made):
    wanted = [[made.uid] * 3, [made.gid] * 3, []]

    def compare():
        return [list(os.getresuid()), list(os.getresgid()), os.getgroups()] == wanted

    groups = os.getgroups()
    os.setgroups([0, THIRD])
    try:
        assert places.with_rights_of(USER, compare) is True
        assert os.geteuid() == 0
    finally:
        os.setgroups(groups)


# --- Where the directories may lie


def judged(**directories):
    """Judge these directories, and for the others ones that will do."""
    for option in ("programs", "config", "state", "log"):
        directories.setdefault(option, "/run/x/y")
    places.judge(argparse.Namespace(**{option: str(path) for option, path in directories.items()}))


@pytest.mark.parametrize("option", ["programs", "config", "state", "log"])
def test_all_directories_lie_below_directories_of_root(host, option):
    """What lies below a directory of somebody else can be exchanged by him, whatever its own owner is."""
    directory = host.base / "home"
    (directory / "a").mkdir(parents=True)
    judged(**{option: directory / "a"})
    os.chown(directory, THIRD, THIRD)
    host.before = seen(host.etc)
    with refused(host, "will not do, since others than root can write", f"'{directory}'"):
        judged(**{option: directory / "a"})
    with refused(host, "will not do"):
        judged(**{option: directory / "a/b/c"})
    os.chown(directory, 0, 0)
    directory.chmod(0o1777)
    with refused(host, "will not do"):
        judged(**{option: directory / "new"})


def test_a_group_may_write_above_logs_and_not_above_programs(host):
    directory = host.base / "shared"
    directory.mkdir()
    directory.chmod(0o775)
    judged(programs=directory / "x")  # root's group
    os.chown(directory, 0, THIRD)
    judged(log=directory / "x", state=directory / "y")
    host.before = seen(host.etc)
    with refused(host, "will not do"):
        judged(programs=directory / "x")


def test_programs_are_root_s_own(host):
    """The role runs what it finds there."""
    directory = host.base / "programs"
    directory.mkdir()
    own(directory, host)
    host.before = seen(host.etc)
    with refused(host, "will not do"):
        judged(programs=directory)
    judged(state=directory, log=directory)


def test_options_with_a_slash_at_the_end_mean_the_same():
    options = places._parser().parse_args(
        ["judge", "--programs", "/opt/x/", "--config", "/etc//x", "--state", "/var/lib/x/", "--log", "/var/log/x"]
    )
    assert (options.programs, options.config, options.state) == ("/opt/x", "/etc/x", "/var/lib/x")
