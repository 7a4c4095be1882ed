# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real PostgreSQL server on a local socket, gone when it is closed. Needs root, because it runs as postgres."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from .process import START, ClosedAtExit, MissingProgram, Server, free_port, run

PACKAGES = "postgresql"


class PostgreSQL(ClosedAtExit):
    """An empty server, as a context manager: ``socket`` and ``port`` are for PGHOST and PGPORT, the user postgres may
    do everything.
    """

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        if not found:
            raise MissingProgram(f"postgres is not installed. Install it, as root: apt-get install {PACKAGES}")
        self._programs = found[-1].parent
        self.socket = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self.port = free_port()
        self._as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        self._server: Server | None = None

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
        self._server = Server(
            [
                *self._as_postgres,
                str(self._programs / "postgres"),
                "-D",
                data,
                "-c",
                "listen_addresses=",
                "-c",
                f"unix_socket_directories={self.socket}",
                "-c",
                "fsync=off",
                "-p",
                str(self.port),
            ],
            self.socket.with_suffix(".log"),
        )
        self._server.wait_until(self._answers, START)

    def close(self) -> None:
        if self._server:
            self._server.stop()
        shutil.rmtree(self.socket, ignore_errors=True)
        self.socket.with_suffix(".log").unlink(missing_ok=True)

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
