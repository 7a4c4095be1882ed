# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root and the user of the runs: what root reads of this user, and what it runs with the rights of this user.

What the role does in the directories of this user is in test_role_places.py, all of it on a booted system in
extensions/molecule.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import pwd
import select
import shutil
import signal
import subprocess
import sys
import syslog
import tempfile
import termios
import time
from pathlib import Path

import pytest
from support.exchange import exchanging
from support.role_programs import FILES, SHARED, load

USER = "nobody"
PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin")  # for USER: the one of these tests may lie at home

program = load("user_synchronization")

RESULT = {"msg": "users: 1 created", "summary": {"users": {"created": 1, "total": 1}}, "plan_digest": "aa"}
GOOD = program.make_record("staff", program.Ended(0, "", 1e9, 1e9 + 2, 60), RESULT, {})


@pytest.fixture
def settings(tmp_path):
    for directory in ("config/jobs/staff", "state/status", "state/metrics", "log"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "config/jobs/staff/job.json").write_text("{}", encoding="ascii")
    return program.Settings(USER, *(str(tmp_path / each) for each in ("config", "state", "log", "venv")))


def status(settings, capsys, job="staff"):
    """What `user_synchronization status` prints, and ends with."""
    rc = program.show_status(settings, job)
    return rc, capsys.readouterr().out


# --- The status, which is a file of the user of the runs


def test_the_status_is_shown(settings, capsys):
    settings.status_file("staff").write_text(json.dumps(GOOD), encoding="utf-8")
    assert status(settings, capsys) == (0, json.dumps(GOOD, indent=2) + "\n")
    assert status(settings, capsys, None) == (0, "2001-09-09T01:46:42Z staff: succeeded in 2.0 s: users: 1 created\n")


def test_a_job_that_has_not_run_has_no_status(settings, capsys):
    assert status(settings, capsys) == (1, "staff: has not run yet\n")


def put_link(path, tmp_path):
    (tmp_path / "secret.json").write_text(json.dumps({**GOOD, "message": "a secret"}), encoding="utf-8")
    path.symlink_to(tmp_path / "secret.json")


def put_link_to_directory(path, tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/staff.json").write_text(json.dumps({**GOOD, "message": "a secret"}), encoding="utf-8")
    path.parent.rmdir()
    path.parent.symlink_to(tmp_path / "secrets")


def put_file_of_another_user(path, dummy):
    if os.geteuid() != 0:
        pytest.skip("gives a file to another user")
    path.write_text(json.dumps({**GOOD, "message": "a secret"}), encoding="utf-8")
    os.chown(path, 65534, 65534)


@pytest.mark.parametrize(
    "put",
    [
        put_link,
        put_link_to_directory,
        put_file_of_another_user,
        lambda path, dummy: os.mkfifo(path),
        lambda path, dummy: path.mkdir(),
        lambda path, dummy: path.symlink_to("/dev/zero"),
        lambda path, dummy: path.write_text(json.dumps(GOOD) + " " * program.STATUS_SIZE, encoding="utf-8"),
        lambda path, dummy: path.write_bytes(b"\xff\xfe"),
    ],
    ids=["link", "link to a directory", "of another", "fifo", "directory", "device", "long", "no text"],
)
def test_what_is_no_file_of_a_run_is_not_read(settings, capsys, tmp_path, put):
    put(settings.status_file("staff"), tmp_path)
    for job in ("staff", None):
        rc, said = status(settings, capsys, job)
        assert rc == 1
        assert said == f"staff: '{settings.status_file('staff')}' is no status file: remove it, and run the job\n"
    # A run goes on, and starts to count again.
    assert program.last_record(settings, "staff") == {}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "null",
        "1e999",
        "[" * 100000,
        "1" * 10000,
        "{}",
        *(
            json.dumps({**GOOD, field: value})
            for field, value in [
                ("finished", "\x1b[2J"),
                ("finished", "2027-01-01T00:00:00Z\n"),
                ("finished", None),
                ("started", "0001-01-01T00:00:00Z"),
                ("started", "2027-13-01T00:00:00Z"),
                ("started", []),
                ("outcome", "fine"),
                ("outcome", ["succeeded"]),
                ("seconds", "1"),
                ("seconds", 10**400),
                ("seconds", float("nan")),
                ("runs", []),
                ("runs", {"succeeded": "1"}),
                ("summary", []),
                ("summary", {"users": {"created": "\x1b[2J"}}),
                ("summary", {"users": ["created"]}),
                ("last_success", "today"),
                ("provisioning", 1),
                ("provisioning", [[]]),
                ("provisioning", [{"name": "wiki"}]),
                ("provisioning", [{"name": ["wiki"], "last_success": None}]),
                ("provisioning", [{"name": "wiki", "last_success": "today"}]),
            ]
        ),
    ],
    ids=lambda text: text[:30],
)
def test_a_status_of_another_form_is_none(settings, capsys, text):
    settings.status_file("staff").write_text(text, encoding="utf-8")
    for job in ("staff", None):
        rc, said = status(settings, capsys, job)
        assert rc == 1
        assert said.endswith(" is no status file: remove it, and run the job\n")
        assert said.rstrip("\n").isprintable()
    assert program.last_record(settings, "staff") == {}
    program.last_start(settings, "staff")


HOSTILE = "ann\x1b]0;x\x07\x9b2J\u202e\u2066\u2028\ud800"
SHOWN = "ann\\x1b]0;x\\x07\\x9b2J\\u202e\\u2066\\u2028\\ud800"


def test_a_status_is_shown_in_printable_form(settings, capsys):
    """As a run writes it, and as whoever has the rights of the runs writes it."""
    refused = [{"limit": "users", "about": HOSTILE, "would_remove": 1, "of": 1, "option": "x"}]
    result = {"failed": True, "msg": HOSTILE, "refused": refused, "warnings": [HOSTILE], "read": {"server": HOSTILE}}
    record = program.make_record("staff", program.Ended(2, "", 1e9, 1e9 + 2, 60), result, {})
    assert json.dumps(record, ensure_ascii=False).isprintable()
    assert program.sentence(record).isprintable()
    assert record["refused"][0]["about"] == SHOWN
    hostile = {**GOOD, "outcome": "failed", "message": HOSTILE, "job": HOSTILE, HOSTILE: [HOSTILE]}
    settings.status_file("staff").write_text(json.dumps(hostile), encoding="utf-8")
    for job in ("staff", None):
        rc, said = status(settings, capsys, job)
        assert rc == 1
        assert all(line.isprintable() for line in said.split("\n"))
        assert SHOWN in said.replace("\\\\", "\\")


def test_what_is_told_is_printable(monkeypatch, capsys):
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    program.tell(HOSTILE, HOSTILE, priority=syslog.LOG_ERR)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2
    assert all(line.startswith("<3>ann\\x1b") and line.isprintable() for line in said)


@pytest.mark.parametrize(
    "name", ["staff\n", "../staff", "staff/..", "", "Staff", "-staff", "st\x1baff", "s" * 65, "staff.x"]
)
@pytest.mark.parametrize("command", ["run", "check", "status"])
def test_a_name_of_a_job_is_one(capsys, command, name):
    """It becomes a part of paths, and whoever may call the program by sudo(8) chooses it."""
    with pytest.raises(SystemExit):
        program._parser().parse_args([command, "--", name])
    capsys.readouterr()
    assert program._parser().parse_args([command, "clinic_2-a"]).job == "clinic_2-a"


# --- With the rights of the user of the runs


def call(place, code, *, text="", limit=60, terminal=None, wait=True):
    """Have a process of root call `as_user` with Python code that may write into a directory; return that process."""
    runtime = place / "runtime"
    runtime.mkdir(exist_ok=True)
    os.chown(runtime, pwd.getpwnam(USER).pw_uid, -1)
    caller = f"""
import sys
sys.path[:0] = [{str(FILES)!r}, {str(SHARED)!r}]
import user_synchronization as program
from pathlib import Path
program.GRACE = 2
command = [{PYTHON!r}, "-I", "-c", {code!r}, {str(runtime)!r}]
try:
    sys.exit(program.as_user({USER!r}, command, Path({str(runtime)!r}), {text!r}, {limit}))
except program.Failure as failure:
    sys.exit(str(failure))
"""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    if terminal is not None:
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
    process = subprocess.Popen(
        [sys.executable, "-B", "-c", caller],
        start_new_session=True,
        preexec_fn=None if terminal is None else lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        **streams,
    )
    if not wait:
        return process
    said = process.communicate(timeout=120)[0]
    return process.returncode, said.decode() if said is not None else ""


@pytest.fixture
def place():
    """A directory that USER can reach, which pytest's own are not."""
    if os.geteuid() != 0:
        pytest.skip("drops the rights of root")
    if PYTHON is None:
        pytest.skip("the user has no Python")
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


def test_a_command_gets_the_rights_of_the_user_and_its_input(place):
    code = "import os, sys; print(os.getresuid(), os.getresgid(), sys.stdin.read(), sorted(os.environ)); sys.exit(3)"
    rc, said = call(place, code, text="the key")
    account = pwd.getpwnam(USER)
    assert (rc, said) == (
        3,
        f"{(account.pw_uid,) * 3} {(account.pw_gid,) * 3} the key "
        "['HOME', 'LANG', 'LC_CTYPE', 'PATH', 'RUNTIME_DIRECTORY', 'TMPDIR']\n".replace("'LC_CTYPE', ", ""),
    )


def test_what_a_command_prints_is_shown_as_it_comes_and_harmless(place):
    code = (
        "import os, sys, time\n"
        "os.write(1, b'one \\x1b[2J \\xc2\\x9b \\xe2\\x80\\xae \\xff\\n')\n"
        "os.write(2, b'two\\n')\n"
        "sys.stdin.read()\n"
        "while not os.path.exists(sys.argv[1] + '/go'): time.sleep(0.05)\n"
        "os.write(1, b'three')\n"
    )
    process = call(place, code, wait=False)
    lines = [process.stdout.readline() for dummy in range(2)]
    (place / "runtime" / "go").touch()
    assert lines + [process.stdout.read()] == [b"one \\x1b[2J \\x9b \\u202e \\xff\n", b"two\n", b"three\n"]
    assert process.wait(60) == 0


TYPING = """
import fcntl, os, sys, termios
got = []
for name in ("/dev/tty", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "/proc/%d/fd/0" % os.getppid()):
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        continue
    try:
        for letter in b"X":
            fcntl.ioctl(descriptor, termios.TIOCSTI, bytes([letter]))
        got.append(name)
    except OSError:
        pass
for descriptor in range(64):
    if os.isatty(descriptor):
        got.append(descriptor)
        try:
            fcntl.ioctl(descriptor, termios.TIOCSTI, b"X")
        except OSError:
            pass
print("typed:", got, os.getsid(0) == os.getpid())
"""


def typed(terminal):
    """What was typed on the terminal, by whomever."""
    return os.read(terminal, 100) if select.select([terminal], [], [], 0.5)[0] else b""


def test_a_command_cannot_type_on_the_terminal_of_root(place):
    """TIOCSTI puts a character into the input of a terminal: the shell of root would read it."""
    controller, terminal = pty.openpty()
    settings = termios.tcgetattr(terminal)
    settings[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(terminal, termios.TCSANOW, settings)
    process = call(place, TYPING, terminal=terminal, wait=False)
    said = b""
    while b"typed:" not in said or b"\n" not in said:
        assert select.select([controller], [], [], 60)[0], said
        said += os.read(controller, 1000)
    assert process.wait(60) == 0
    assert said.strip() == b"typed: [] True"
    assert typed(terminal) == b""
    os.close(controller)
    os.close(terminal)


def test_on_a_terminal_of_its_own_the_same_code_does_type(place):
    """The control: else the test above would pass because of a kernel that does not allow it."""
    controller, terminal = pty.openpty()
    settings = termios.tcgetattr(terminal)
    settings[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(terminal, termios.TCSANOW, settings)
    account = pwd.getpwnam(USER)
    with subprocess.Popen(
        [PYTHON, "-I", "-c", TYPING],
        stdin=terminal,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: (fcntl.ioctl(0, termios.TIOCSCTTY, 0), os.setgid(account.pw_gid), os.setuid(account.pw_uid)),
    ) as process:
        assert process.wait(60) == 0
    got = typed(terminal)
    os.close(controller)
    os.close(terminal)
    legacy = Path("/proc/sys/dev/tty/legacy_tiocsti")
    if legacy.exists() and legacy.read_text(encoding="ascii").strip() == "0":
        pytest.skip("this kernel lets nobody type on a terminal")
    assert b"X" in got


# It waits for the signal itself: one that comes just before a sleep would run no handler until the sleep is over.
WAITING = r"""
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.write(1, b"%d\n" % os.getpid())
signal.sigwait([signal.SIGTERM])
os.write(1, b"ending\n")
os._exit(7)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_ends_the_program_ends_the_run(place, number):
    process = call(place, WAITING, wait=False)
    pid = int(process.stdout.readline())
    process.send_signal(number)
    assert process.stdout.read() == b"ending\n"
    assert process.wait(60) == 7
    assert not Path(f"/proc/{pid}").exists()


def test_told_to_end_at_any_instant_it_can_still_wait_for_the_process(monkeypatch):
    """An exception in Popen.poll() can leave the lock of Popen held: then wait() has no end."""
    monkeypatch.setattr(program, "_pass_on", lambda *dummy: True)  # no pause between two looks
    process = program.start(["sleep", "600"])
    for microseconds in range(500, 1500):
        with contextlib.suppress(program.ToldToEnd), program.told_by(signal.SIGALRM):
            signal.setitimer(signal.ITIMER_REAL, microseconds / 1e6)
            program.attend(process, program.Lines(io.StringIO()), 60)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    process.kill()
    assert process.wait(10) == -signal.SIGKILL
    process.stdout.close()


def test_ctrl_c_on_the_terminal_ends_the_run(place):
    controller, terminal = pty.openpty()
    process = call(place, WAITING, terminal=terminal, wait=False)
    said = b""
    while b"\n" not in said:
        said += os.read(controller, 100)
    os.write(controller, b"\x03")
    while b"ending" not in said:
        said += os.read(controller, 100)
    assert process.wait(60) == 7
    os.close(controller)
    os.close(terminal)


def test_a_command_that_does_not_end_is_ended(place):
    start = time.monotonic()
    rc, said = call(place, WAITING.replace("os._exit(7)", "signal.pause()"), limit=1)
    assert rc == 1
    assert not Path(f"/proc/{said.splitlines()[0]}").exists()
    assert said.splitlines()[-1] == "time_limit: it was ended, since it had not ended by itself after 1 seconds"
    assert time.monotonic() - start < 60


def test_a_process_that_a_command_leaves_behind_is_not_waited_for(place):
    """It has the pipe open, and prints as long as it likes."""
    code = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    end = time.monotonic() + 100\n"
        "    try:\n"
        "        while time.monotonic() < end: os.write(1, b'x\\n')\n"
        "    except OSError: pass\n"
        "    os._exit(0)\n"
        "print('done', flush=True)\n"
    )
    start = time.monotonic()
    rc, said = call(place, code)
    assert rc == 0
    assert "done" in said.splitlines()
    assert time.monotonic() - start < 60


@pytest.fixture
def runtime(place, monkeypatch):
    """`runtime_directory` with its directories in another place than /run."""
    (place / "run").mkdir()
    make = program.tempfile.mkdtemp
    monkeypatch.setattr(program.tempfile, "mkdtemp", lambda prefix, dir: make(prefix=prefix, dir=place / "run"))
    return place


def test_a_directory_of_a_run_is_removed_with_all_that_is_in_it(runtime):
    account = pwd.getpwnam(USER)
    with program.runtime_directory(USER) as directory:
        assert (directory.stat().st_uid, directory.stat().st_mode & 0o777) == (account.pw_uid, 0o700)
        for name in ("a/b", "a/.c"):
            (directory / name).mkdir(parents=True)
        (directory / "a/b/link").symlink_to(runtime)
        for path in (directory / "a", directory / "a/b"):
            os.chown(path, account.pw_uid, account.pw_gid)
    assert list((runtime / "run").iterdir()) == []


def test_root_removes_nothing_in_the_directory_of_a_run(runtime):
    """What it finds there may lie elsewhere by then, and what is not the user's own stays."""
    target = runtime / "target"
    (target / "d").mkdir(parents=True)
    (target / "d/file").touch()
    with program.runtime_directory(USER) as directory:
        (directory / "d").mkdir()
        os.chown(directory / "d", pwd.getpwnam(USER).pw_uid, -1)
        (directory / "link").symlink_to(target / "d")
        with exchanging(directory / "d", directory / "link"):
            pass
        os.rename(target / "d", directory / "of-root")
    assert [each.name for each in (runtime / "run").rglob("*")][1:] == ["of-root", "file"]


# --- What ansible-playbook prints


def test_lines_are_passed_on_as_soon_as_they_are_complete():
    target = io.StringIO()
    lines = program.Lines(target)
    lines.write(b"a\nb\xc3")
    assert target.getvalue() == "a\n"
    lines.write(b"\xa4\x1b\nc")
    assert target.getvalue() == "a\nbä\\x1b\n"
    lines.write(b"")
    assert target.getvalue() == "a\nbä\\x1b\nc\n"


def test_a_line_without_end_fills_no_memory():
    target = io.StringIO()
    lines = program.Lines(target)
    for dummy in range(100):
        lines.write(b"x" * 10000)
    assert len(target.getvalue()) > 900000


def test_a_log_tells_of_the_lines_that_say_how_far_the_run_is():
    log, told = io.StringIO(), []
    lines = program.Lines(program.Progress(log, told.append))
    lines.write(b"PLAY [x]\nuser_synchronization: ... 41,000 entries")
    assert told == []
    lines.write(b" read\nuser_synchronization: staff: nothing to do\n x user_synchronization: ... no\n")
    lines.write(b"user_synchronization: ... \x1b[2J\n")
    assert told == ["41,000 entries read", "\\x1b[2J"]
    assert log.getvalue().count("\n") == 5


class Gone(io.StringIO):
    def flush(self):
        raise BrokenPipeError


def test_a_reader_that_is_gone_does_not_matter():
    lines = program.Lines(Gone())
    lines.write(b"a\n")
    lines.write(b"")
