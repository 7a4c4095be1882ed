# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A canary password is searched for in everything that a run can leave behind, and in what others see while it runs.

It reaches the module as passwords do, through Ansible; what Ansible does with it counts, too.
"""

from __future__ import annotations

import base64
import contextlib
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
from support.tls import CertificateAuthority

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
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exc):
        self._stopped.set()
        self._thread.join()

    def _watch(self):
        while not self._stopped.wait(0.02):
            self.looks += 1
            for process in Path("/proc").iterdir():
                if process.name.isdigit() and int(process.name) != os.getpid():
                    self._look_at(process)
            for path in self.store.parent.glob(self.store.name + "*"):
                with contextlib.suppress(OSError):
                    self.store_files.add(path.name)
                    if has_canary(path.read_bytes()):
                        self.found.add(str(path))

    def _look_at(self, process):
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                data = (process / name).read_bytes()
                self.modules += name == "cmdline" and b"AnsiballZ_user_synchronization" in data
                if has_canary(data):
                    self.found.add("%s of %r" % (name, (process / "cmdline").read_bytes()))


@pytest.fixture(scope="module")
def system_log():
    """What is sent to the system's log: by a socket of our own where there is none, else as the journal has it."""
    messages = []
    if os.path.exists("/dev/log"):
        began = time.strftime("%Y-%m-%d %H:%M:%S")
        yield (
            lambda: (
                subprocess.run(
                    ["journalctl", "--since", began, "-o", "cat", "--no-pager"], capture_output=True, check=False
                ).stdout
                + b"".join(map(Path.read_bytes, Path("/var/log").glob("*log")))
            )
        )
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind("/dev/log")
        log.settimeout(0.1)
        stopped = threading.Event()

        def collect():
            while not stopped.is_set():
                with contextlib.suppress(socket.timeout):
                    messages.append(log.recv(65536))

        thread = threading.Thread(target=collect)
        thread.start()
        try:
            yield lambda: b"\n".join(messages)
        finally:
            stopped.set()
            thread.join()
            os.unlink("/dev/log")


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return CertificateAuthority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server(ca):
    domain = tree.ActiveDirectory()
    users = [domain.user(name, domain.unit("Staff")) for name in ("anna", "bert", "carl", "dora")]
    domain.group("Nurses", STAFF, *users)
    with MisbehavingDirectory(domain, ca=ca, logins={LOGIN: CANARY}, max_page=2) as running:
        yield running


@pytest.fixture
def play(run_playbook, tmp_path, tmp_path_factory, ca):
    """A function that runs the task, and others after it, with the password from a file of variables elsewhere."""
    variables = tmp_path_factory.mktemp("vault") / "vars.json"

    def run(server, *arguments, password=CANARY, then=(), **more):
        variables.write_text(json.dumps({"bind_password": password}))
        options = {
            "name": "staff",
            "user_group": "All/Staff",
            "server": [server.ldaps_url],
            "ca_path": str(ca.cert),
            "login": LOGIN,
            "password": "{{ bind_password }}",
            "distinguished_name": STAFF,
            "timeout": 2,
            "store": str(tmp_path / "store" / "users.db"),
            **more,
        }
        return run_playbook(
            [{"usersync.directory.user_synchronization": options, "register": "outcome"}, *then],
            "-e",
            "@%s" % variables,
            *arguments,
        )

    return run


def is_bind(request):
    return request.kind == "bind"


def is_page_of_users(request):
    return request.page_size is not None and "objectCategory=person" in request.filter


def pause(line, request, answer):
    """So that there is time to look at the module while it runs, and while it holds the store."""
    line.wait(0.7)
    line.send(b"".join(answer))


FAULTS = {
    "none": (is_page_of_users, pause),
    "refused login": (is_bind, misbehaving.ends_with(49, "data 52e, " + CANARY)),
    "stalled login": (is_bind, misbehaving.stalls),
    "login referred": (is_bind, misbehaving.ends_with(10, referrals=["ldap://x.test/"])),
    "no LDAP": (is_bind, misbehaving.sends_instead(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
    "broken BER": (is_page_of_users, misbehaving.breaks_the_encoding),
    "hangs up": (is_page_of_users, misbehaving.hangs_up_within_a_message),
    "stalls": (is_page_of_users, misbehaving.stalls),
    "busy": (is_page_of_users, misbehaving.ends_with(51)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_password_is_left_nowhere(play, server, tmp_path, system_log, name):
    server.fail(*FAULTS[name])
    with Watch(tmp_path / "store" / "users.db") as watch:
        done = play(server, "--diff", "-vvvv")
    assert (done.rc == 0) == (name == "none"), done.output
    assert server.of_kind("bind")[0].password == CANARY  # it was given, and it was this one
    assert watch.modules and watch.looks > 10 and not watch.found
    assert not has_canary(done.output.encode()) and not has_canary(repr(done.results).encode())
    assert "Invoked with" in system_log().decode(errors="replace") and not has_canary(system_log())
    # What AnsiballZ keeps on the disk while the module runs is gone, and so is everything else.
    assert files_with_canary(tmp_path) == []
    assert not list((tmp_path / "remote").rglob("AnsiballZ*"))
    if name == "none":
        assert any(file.endswith("-wal") for file in watch.store_files)  # it was looked at, too
        assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["users.db"]
    else:
        assert not (tmp_path / "store").exists()


def test_the_watch_would_find_it(tmp_path):
    """The test of the test: a password in an argument, in the environment and in a file is found in each."""
    command = ["sh", "-c", "sleep 0.3", "AnsiballZ_user_synchronization", "--password=" + CANARY]
    with Watch(tmp_path / "users.db") as watch:
        (tmp_path / "users.db-wal").write_bytes(b"x" + base64.b64encode(CANARY.encode()))
        subprocess.run(command, env={**os.environ, "PASSWORD": CANARY}, check=True)
    assert {text.split(" ")[0] for text in watch.found} >= {"cmdline", "environ", str(tmp_path / "users.db-wal")}
    assert watch.modules and files_with_canary(tmp_path) == [str(tmp_path / "users.db-wal")]


def test_a_password_that_is_the_name_of_a_user(play, server, tmp_path):
    """Ansible masks the name in the result. The store, the counts and the digests are right all the same."""
    server.logins = {LOGIN: "anna", "CORP\\OTHER": "Brass-8-thimble-Lm43"}
    other = play(server, "--check", "--diff", login="CORP\\OTHER", password="Brass-8-thimble-Lm43").results[0]
    masked = play(server, "--diff", password="anna").results[0]
    assert other["users"]["created"] == ["anna", "bert", "carl", "dora"]
    assert "anna" not in repr(masked) and len(masked["users"]["created"]) == 4
    for key in ("plan_digest", "removals_digest", "summary"):
        assert masked[key] == other[key]
    store = tmp_path / "store" / "users.db"
    assert stored.values(store, "SELECT name FROM users") == ["anna", "bert", "carl", "dora"]
    assert "anna@corp.example" in stored.values(store, "SELECT attributes FROM users WHERE name = 'anna'")[0]
    again = play(server, password="anna").results[0]
    assert not again["changed"] and again["unchanged_groups"] == ["All/Staff/Nurses"]
