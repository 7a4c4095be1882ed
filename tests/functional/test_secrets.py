# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A canary password is searched for in everything that a run can leave behind, and in what others see while it runs.

It reaches the module as passwords do. Where Ansible brings it, what Ansible does with it counts, too.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import json
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from support import misbehaving, stored, tree
from support.misbehaving import LOGIN, MisbehavingDirectory
from support.process import LOCKS

CORE = "zq81-wimple-vd52"
CANARY = 'Kanari"7\\ä%%-%s-Ω' % CORE  # quotes, escapes and letters beyond ASCII, as in a password that people have
STAFF = "OU=Staff," + tree.DOMAIN


def disguises(text):
    """The text as bytes, and what it looks like in base64 wherever it begins, in hexadecimal and in UTF-16."""
    raw = text.encode()
    encoded = [raw, raw.hex().encode(), text.encode("utf-16-le")]
    for shift in range(3):
        # Without the characters that depend on what comes before and after.
        encoded.append(base64.b64encode(b"\0" * shift + raw)[4 if shift else 0 : -4])
    return encoded


NEEDLES = disguises(CORE)


def has_canary(data):
    return any(needle in data for needle in NEEDLES)


def files_with_canary(*directories):
    return [
        str(path)
        for directory in directories
        for path in Path(directory).rglob("*")
        if path.is_file() and has_canary(path.read_bytes())
    ]


class Watch:
    """Looks, again and again, at what others may see of a run: command lines, environments, the store's files."""

    def __init__(self, store):
        self.store = store
        self.found = set()
        self.modules = self.looks = 0
        self.store_files = set()
        self._there_before = set(os.listdir("/proc"))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exc):
        self._stopped.set()
        self._thread.join()

    def has_looked(self):
        """Wait until it has looked at all that is there now."""
        begun_by_now, deadline = self.looks + 1, time.monotonic() + 60
        while self.looks <= begun_by_now:
            assert time.monotonic() < deadline, "the watch sleeps"
            time.sleep(0.01)

    def _watch(self):
        while not self._stopped.wait(0.02):
            for name in set(os.listdir("/proc")) - self._there_before:
                if name.isdigit():
                    self._look_at(Path("/proc", name))
            for path in self.store.parent.glob(self.store.name + "*"):
                with contextlib.suppress(OSError):
                    self.store_files.add(path.name)
                    if has_canary(path.read_bytes()):
                        self.found.add(str(path))
            self.looks += 1

    def _look_at(self, process):
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                data = (process / name).read_bytes()
                self.modules += name == "cmdline" and b"AnsiballZ_user_synchronization" in data
                if has_canary(data):
                    self.found.add("%s of %r" % (name, (process / "cmdline").read_bytes()))


@pytest.fixture
def watch(tmp_path):
    with Watch(tmp_path / "store" / "users.db") as watch:
        yield watch


@pytest.fixture(autouse=True)
def one_at_a_time():
    """On the whole machine. A test looks at all processes, and may be the system's log: another one would see that."""
    with open(LOCKS / "usersync-secrets.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


LOG = "/dev/log"


@pytest.fixture
def system_log(one_at_a_time):
    """What was sent to the system's log: by a socket of our own where there is none, else as the journal has it."""
    if _is_left_over():
        os.unlink(LOG)
    if os.path.exists(LOG):
        yield _journal_since(time.strftime("%Y-%m-%d %H:%M:%S"))
    else:
        with _collected() as messages:
            yield messages


def _is_left_over():
    """Whether a test that was killed has left its socket: nobody listens to it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex(LOG) == errno.ECONNREFUSED and not os.path.islink(LOG)


@contextlib.contextmanager
def _collected():
    """A function that gives what has been sent so far."""
    messages, end = [], b"the end"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(LOG)

        def collect():
            while True:
                message, sender = log.recvfrom(65536)
                if message.startswith(end):
                    log.sendto(message, sender)
                    if message == end:
                        return
                messages.append(message)

        thread = threading.Thread(target=collect)
        thread.start()
        try:
            yield lambda: _asked(end + b" so far") and b"\n".join(messages)
        finally:
            _asked(end)
            thread.join()
            os.unlink(LOG)


def _asked(message):
    """Send a message to the log and wait until it comes back: what was sent before has been received by then."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        asking.bind("")  # a name that nobody else has, unix(7)
        asking.settimeout(60)
        asking.sendto(message, LOG)
        return asking.recv(65536)


def _journal_since(began):
    def read():
        subprocess.run(["journalctl", "--sync"], check=False)
        command = ["journalctl", "--since", began, "-o", "cat", "--no-pager"]
        journal = subprocess.run(command, capture_output=True, check=False).stdout
        return journal + b"".join(map(Path.read_bytes, Path("/var/log").glob("*log")))

    return read


@pytest.fixture
def server(ca):
    domain = tree.ActiveDirectory()
    users = [domain.user(name, domain.unit("Staff")) for name in ("anna", "bert", "carl", "dora")]
    domain.group("Nurses", STAFF, *users)
    with MisbehavingDirectory(domain, ca=ca, logins={LOGIN: CANARY}, max_page=2) as running:
        yield running


@pytest.fixture
def options(server, ca, tmp_path):
    """Of the module, but for the password."""
    return {
        "name": "staff",
        "user_group": "All/Staff",
        "server": [server.ldaps_url],
        "ca_path": str(ca.cert),
        "login": LOGIN,
        "distinguished_name": STAFF,
        "store": str(tmp_path / "store" / "users.db"),
    }


def is_bind(request):
    return request.kind == "bind"


def is_page_of_users(request):
    return request.page_size is not None and "objectCategory=person" in request.filter


FAULTS = {
    "none": (is_page_of_users, misbehaving.behave),
    "refused login": (is_bind, misbehaving.ends_with(49, "data 52e, " + CANARY)),
    "stalled login": (is_bind, misbehaving.stalls),
    "login referred": (is_bind, misbehaving.ends_with(10, referrals=["ldap://x.test/"])),
    "no LDAP": (is_bind, misbehaving.sends_instead(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
    "broken BER": (is_page_of_users, misbehaving.breaks_the_encoding),
    "hangs up": (is_page_of_users, misbehaving.hangs_up_within_a_message),
    "stalls": (is_page_of_users, misbehaving.stalls),
    "busy": (is_page_of_users, misbehaving.ends_with(51)),
}
SILENT = ("stalled login", "no LDAP", "stalls")  # the run waits for more, until its time is over


@pytest.fixture
def meets(server, watch):
    """Have the run meet a fault, once it was looked at as it waits for the answer; an option for it."""

    def begin(name):
        fits, fault = FAULTS[name]

        def held(line, request, answer):
            watch.has_looked()
            fault(line, request, answer)

        server.fail(fits, held)
        return {"timeout": 1 if name in SILENT else 30}

    return begin


def is_left_nowhere(server, system_log, tmp_path, watch, failed):
    """The password was given and is gone, and so is all that a run that failed began."""
    assert server.of_kind("bind")[0].password == CANARY
    assert watch.looks and not watch.found
    assert "Invoked with" in system_log().decode(errors="replace") and not has_canary(system_log())
    assert files_with_canary(tmp_path) == []
    if failed:
        assert not (tmp_path / "store").exists()
    else:
        assert any(file.endswith("-wal") for file in watch.store_files)  # it was looked at, too
        assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["users.db"]


@pytest.mark.parametrize("name", FAULTS)
def test_a_run_leaves_the_password_nowhere(run_module, options, server, meets, watch, system_log, tmp_path, name):
    options = {**options, **meets(name), "password": CANARY}
    ran = run_module.run("user_synchronization", options, diff=True)
    assert bool(ran.result.get("failed")) == (name != "none"), ran.output
    assert not has_canary(ran.output.encode()) and not has_canary(repr(ran.result).encode())
    is_left_nowhere(server, system_log, tmp_path, watch, failed=name != "none")


@pytest.mark.parametrize("name", ["none", "refused login", "hangs up"])
def test_ansible_leaves_the_password_nowhere(
    run_playbook, options, server, meets, watch, system_log, tmp_path, tmp_path_factory, name
):
    """All that Ansible says, and what it keeps on the disk while the module runs."""
    options = {**options, **meets(name), "password": "{{ bind_password }}"}
    variables = tmp_path_factory.mktemp("vault") / "vars.json"
    variables.write_text(json.dumps({"bind_password": CANARY}))
    task = {"usersync.directory.user_synchronization": options, "register": "outcome"}
    done = run_playbook([task], "-e", "@%s" % variables, "--diff", "-vvvv", as_program=True)
    assert (done.rc == 0) == (name == "none"), done.output
    assert watch.modules
    assert not has_canary(done.output.encode()) and not has_canary(repr(done.results).encode())
    assert not list((tmp_path / "remote").rglob("AnsiballZ*"))
    is_left_nowhere(server, system_log, tmp_path, watch, failed=name != "none")


def test_the_watch_would_find_it(tmp_path):
    """The test of the test: a password in an argument, in the environment and in a file is found in each."""
    command = ["sh", "-c", "read line", "AnsiballZ_user_synchronization", "--password=" + CANARY]
    with Watch(tmp_path / "users.db") as watch:
        (tmp_path / "users.db-wal").write_bytes(b"x" + base64.b64encode(CANARY.encode()))
        with subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, "PASSWORD": CANARY}):
            watch.has_looked()
    assert {text.split(" ")[0] for text in watch.found} >= {"cmdline", "environ", str(tmp_path / "users.db-wal")}
    assert watch.modules and files_with_canary(tmp_path) == [str(tmp_path / "users.db-wal")]


def test_a_password_that_is_the_name_of_a_user(run_module, options, server):
    """Ansible masks the name in the result. The store, the counts and the digests are right all the same."""
    login, password = "CORP\\OTHER", "Brass-8-thimble-Lm43"
    server.logins = {LOGIN: "anna", login: password}
    unmasked = {**options, "login": login, "password": password}
    other = run_module("user_synchronization", unmasked, check_mode=True, diff=True)
    masked = run_module("user_synchronization", {**options, "password": "anna"}, diff=True)
    assert other["users"]["created"] == ["anna", "bert", "carl", "dora"]
    assert "anna" not in repr(masked) and len(masked["users"]["created"]) == 4
    for key in ("plan_digest", "removals_digest", "summary"):
        assert masked[key] == other[key]
    assert stored.values(options["store"], "SELECT name FROM users") == ["anna", "bert", "carl", "dora"]
    (attributes,) = stored.values(options["store"], "SELECT attributes FROM users WHERE name = 'anna'")
    assert "anna@corp.example" in attributes
    again = run_module("user_synchronization", {**options, "password": "anna"})
    assert not again["changed"] and again["unchanged_groups"] == ["All/Staff/Nurses"]
