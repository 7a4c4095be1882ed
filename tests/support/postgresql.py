# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real PostgreSQL server on a local socket, gone when it is closed. Needs root, because it runs as postgres."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from .process import ClosedAtExit, MissingProgram, Server, free_port, run
from .tls import KeyPair

PACKAGES = "postgresql"


# Who is who, on the socket and over TLS; without TLS nobody comes in by the network.
_HOST_BASED_AUTHENTICATION = """\
local all all trust
hostssl all all 127.0.0.1/32 scram-sha-256
hostnossl all all 127.0.0.1/32 reject
"""


class PostgreSQL(ClosedAtExit):
    """An empty server, as a context manager: ``socket`` and ``port`` are for PGHOST and PGPORT, the user postgres may
    do everything. With a ``certificate`` it listens on 127.0.0.1, too, and asks for TLS and a password there.
    ``settings`` go before those of tests.
    """

    def __init__(self, certificate: KeyPair | None = None, settings: dict[str, str] | None = None) -> None:
        place = os.environ.get("TEST_POSTGRESQL", "/usr/lib/postgresql")  # another version's, such as that of a wheel
        found = sorted(Path(place).glob("**/bin/postgres"))
        if not found:
            raise MissingProgram(f"postgres is not installed. Install it, as root: apt-get install {PACKAGES}")
        self._programs = found[-1].parent
        self.socket = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self.port = free_port()
        self._as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        self._server: Server | None = None
        self._certificate, self._settings = certificate, settings or {}

    def start(self) -> None:
        shutil.chown(self.socket, "postgres", "postgres")
        data = str(self.socket / "data")
        run(
            [
                *self._as_postgres,
                str(self._programs / "initdb"),
                "--no-sync",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                data,
            ]
        )
        settings = {
            "listen_addresses": "127.0.0.1" if self._certificate else "",
            "unix_socket_directories": self.socket,
            "fsync": "off",
            "shared_buffers": "64MB",
            "autovacuum_naptime": "5s",
            **self._settings,
        }
        if self._certificate:
            for name, path in (("ssl_cert_file", self._certificate.cert), ("ssl_key_file", self._certificate.key)):
                settings[name] = shutil.copy(path, self.socket)
                shutil.chown(settings[name], "postgres", "postgres")
            settings["ssl"] = "on"
        Path(data, "postgresql.auto.conf").write_text(
            "".join(f"{name} = '{value}'\n" for name, value in settings.items()), encoding="utf-8"
        )
        Path(data, "pg_hba.conf").write_text(_HOST_BASED_AUTHENTICATION, encoding="utf-8")
        self.start_again()

    def start_again(self) -> None:
        """Start it, as it was left."""
        self._server = Server(
            [
                *self._as_postgres,
                str(self._programs / "postgres"),
                "-D",
                str(self.socket / "data"),
                "-p",
                str(self.port),
            ],
            self.socket.with_suffix(".log"),
            # Kerberos would keep a list of what it has seen in TMPDIR, where it may not write.
            {**os.environ, "KRB5RCACHENAME": "none:"},
        )
        self._server.wait_until(self._answers, 30)

    def crash(self) -> None:
        """Have it end at once, without a word to anybody (pg_ctl(1), immediate)."""
        assert self._server
        self._server.process.send_signal(signal.SIGQUIT)
        self._server.process.wait()

    def close(self) -> None:
        if self._server:
            self._server.process.send_signal(signal.SIGINT)  # which waits for no client
            self._server.stop()
        shutil.rmtree(self.socket, ignore_errors=True)
        self.socket.with_suffix(".log").unlink(missing_ok=True)

    def admit(self, line: str, setting: str, file: Path) -> None:
        """Let people in as a line of pg_hba.conf says, before all others; the setting is a file that tells of them."""
        copy = shutil.copy(file, self.socket)
        shutil.chown(copy, "postgres", "postgres")
        rules = self.socket / "data" / "pg_hba.conf"
        rules.write_text(f"{line}\n{rules.read_text(encoding='utf-8')}", encoding="utf-8")
        before = self.rows("SELECT pg_conf_load_time()")
        self.run(f"ALTER SYSTEM SET {setting} = '{copy}'", "SELECT pg_reload_conf()")
        assert self._server
        self._server.wait_until(lambda: self.rows("SELECT pg_conf_load_time()") != before, 60)

    @property
    def uri(self) -> str:
        """The URI of a store in it, for its superuser; ``&schema=`` can follow."""
        return f"postgresql://postgres@/postgres?host={self.socket}&port={self.port}"

    def run(self, *statements: str) -> None:
        """Run statements of the superuser, each by itself."""
        commands = [word for statement in statements for word in ("-c", statement)]
        run(["psql", "-X", "-q", "-h", str(self.socket), "-p", str(self.port), "-U", "postgres", *commands, "postgres"])

    def rows(self, statement: str) -> list[list[str]]:
        """What a statement returns, as text."""
        text = run(
            [
                "psql",
                "-X",
                "-A",
                "-t",
                "-h",
                str(self.socket),
                "-p",
                str(self.port),
                "-U",
                "postgres",
                "-c",
                statement,
                "postgres",
            ]
        )
        return [line.split("|") for line in text.splitlines()]

    def session(self, user: str) -> Session:
        """A session of somebody, for as long as it is not closed."""
        return Session(
            ["psql", "-X", "-A", "-t", "-q", "-h", str(self.socket), "-p", str(self.port), "-U", user, "postgres"]
        )

    def _answers(self) -> bool:
        return (
            subprocess.run(["pg_isready", "-q", "-h", str(self.socket), "-p", str(self.port)], check=False).returncode
            == 0
        )


class Session(ClosedAtExit):
    """A psql that stays connected, as a context manager."""

    _END = "-- the end of an answer --"

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._psql: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._psql = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )

    def close(self) -> None:
        if self._psql:
            self._psql.kill()
            self._psql.communicate()

    def ask(self, statement: str) -> str:
        """What is printed when a statement is done, errors included; of a session that has ended, its last words."""
        assert self._psql and self._psql.stdin and self._psql.stdout
        with contextlib.suppress(BrokenPipeError):
            print(statement, ";\n\\echo", self._END, file=self._psql.stdin, flush=True)
        lines = []
        for line in self._psql.stdout:
            if line.strip() == self._END:
                break
            lines.append(line)
        return "".join(lines)
