# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real PostgreSQL server on a local socket, gone when it is closed. Needs root, since it runs as postgres."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from .process import ClosedAtExit, MissingProgram, Server, free_port, run

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
        self._server.wait_until(self._answers, 30)

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

    def _answers(self) -> bool:
        return (
            subprocess.run(["pg_isready", "-q", "-h", str(self.socket), "-p", str(self.port)], check=False).returncode
            == 0
        )
