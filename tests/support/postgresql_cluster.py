# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two PostgreSQL servers on this host, of which one follows the other and takes its place: pg_auto_failover sees to it.

Needs root, because the servers run as postgres.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg

from .process import ClosedAtExit, MissingProgram, Server, find_program, free_port, run

PACKAGES = "postgresql pg-auto-failover-cli postgresql-15-auto-failover"

_NODES = ("one", "two")
_WITHIN = 120  # seconds for each state that is waited for
# Milliseconds: how soon the monitor takes a server for gone. By itself it waits for a minute.
_HASTE = {
    "health_check_period": 1000,
    "health_check_timeout": 2000,
    "health_check_retry_delay": 500,
    "node_considered_unhealthy_timeout": 4000,
    "primary_demote_timeout": 2000,
    "startup_grace_period": 1000,
}


class Cluster(ClosedAtExit):
    """A server that is written to, one that follows it synchronously, and a monitor, as a context manager."""

    def __init__(self) -> None:
        self._pg_autoctl = find_program("pg_autoctl", PACKAGES)
        found = sorted(Path("/usr/lib/postgresql").glob("*/lib/pgautofailover.so"))
        if not found:
            raise MissingProgram(f"pg_auto_failover is not installed. Install it, as root: apt-get install {PACKAGES}")
        self._pg_ctl = found[-1].parents[1] / "bin" / "pg_ctl"
        self._folder = Path(tempfile.mkdtemp(prefix="cluster-"))
        self._as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=TERM"]
        self._ports = {name: free_port() for name in ("monitor", *_NODES)}
        self._keepers: dict[str, Server] = {}  # each starts its server, and starts it again where it ended
        places = {f"XDG_{kind}": str(self._folder) for kind in ("RUNTIME_DIR", "DATA_HOME", "CONFIG_HOME")}
        self._env = {**os.environ, **places, "PG_REGRESS_SOCK_DIR": str(self._folder)}

    @property
    def uri(self) -> str:
        """The URI of a store in whichever server can be written to; ``&schema=`` can follow."""
        hosts = ",".join(f"127.0.0.1:{self._ports[name]}" for name in _NODES)
        return f"postgresql://postgres@{hosts}/postgres?sslmode=disable"

    def start(self) -> None:
        shutil.chown(self._folder, "postgres", "postgres")
        self._create("monitor", "monitor")
        run(self._command("config", "set", "postgresql.listen_addresses", "127.0.0.1", node="monitor"), env=self._env)
        self._keep("monitor")
        self._wait_until(lambda: self.states() == {})
        for name, value in _HASTE.items():
            self._ask("monitor", f"ALTER SYSTEM SET pgautofailover.{name} = {value}")
        self._ask("monitor", "SELECT pg_reload_conf()")
        for name in _NODES:
            monitor = f"postgres://autoctl_node@127.0.0.1:{self._ports['monitor']}/pg_auto_failover"
            more = ["--pghost", str(self._folder), "--listen", "127.0.0.1", "--name", name, "--monitor", monitor]
            self._create(name, "postgres", *more)
            self._keep(name)
            self._wait_until(lambda: set(self.states().values()) <= {"single", "primary", "secondary"})
        self.wait_until_whole()

    def close(self) -> None:
        for keeper in self._keepers.values():
            keeper.process.terminate()
        for name in reversed(list(self._keepers)):
            self._keepers[name].stop()
            self._kill_server(name)
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- what is asked of it ---

    def primary(self) -> str:
        """The name of the server that is written to; empty as long as there is none."""
        writable = ("single", "wait_primary", "primary")
        return next((name for name, state in self.states().items() if state in writable), "")

    def states(self) -> dict[str, str]:
        """{name of a server: the state that it is in}; of one that is to come into another, both."""
        rows = self._ask("monitor", "SELECT nodename, reportedstate::text, goalstate::text FROM pgautofailover.node")
        return {name: now if now == then else f"{now} to {then}" for name, now, then in rows}

    def wait_until_whole(self) -> None:
        """Wait until each COMMIT is confirmed by both servers, and either can take the other one's place."""
        self._wait_until(lambda: sorted(self.states().values()) == ["primary", "secondary"])

    def crash(self, unanswered: bool = False) -> None:
        """Have the host of the server that is written to vanish, and wait until the other one has its place.

        Then it comes back, to follow the other one, and the cluster is whole. With ``unanswered`` it vanishes when
        the COMMIT of a run has come to it, and waits for the other server, which is told of it then or never.
        """
        lost = self.primary()
        with self._stopped_receiver() if unanswered else contextlib.nullcontext():
            waiting = (
                "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name LIKE 'usersync%'"
            )
            self._wait_until(lambda: not unanswered or bool(self._ask(lost, waiting)))
            self._kill(lost)
        self._wait_until(lambda: self.primary() not in ("", lost))
        self._keep(lost)
        self.wait_until_whole()

    @contextlib.contextmanager
    def _stopped_receiver(self) -> Iterator[None]:
        """Meanwhile the server that follows reads nothing of what the other one sends."""
        (follows,) = (name for name, state in self.states().items() if state == "secondary")
        [(receiver,)] = self._ask(follows, "SELECT pid FROM pg_stat_wal_receiver")
        os.kill(receiver, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(receiver, signal.SIGCONT)

    def _kill(self, lost: str) -> None:
        keeper = self._keepers.pop(lost)
        os.killpg(keeper.process.pid, signal.SIGKILL)
        keeper.process.wait()
        self._kill_server(lost)

    def hand_over(self) -> None:
        """Have the other server written to, as an administrator does before maintenance; wait until all is done."""
        before = self.primary()
        run(self._command("perform", "failover", node="monitor"), env=self._env)
        self._wait_until(lambda: self.primary() not in ("", before))
        self.wait_until_whole()

    # --- how ---

    def _command(self, *words: str, node: str) -> list[str]:
        return [*self._as_postgres, self._pg_autoctl, *words, "--pgdata", str(self._folder / node)]

    def _create(self, node: str, kind: str, *more: str) -> None:
        words = ["--pgctl", str(self._pg_ctl), "--pgport", str(self._ports[node]), "--hostname", "127.0.0.1"]
        run(self._command("create", kind, *words, "--auth", "trust", "--no-ssl", *more, node=node), env=self._env)

    def _keep(self, node: str) -> None:
        self._keepers[node] = Server(self._command("run", node=node), self._folder / f"{node}.log", self._env)

    def _ask(self, node: str, statement: str) -> list[tuple[Any, ...]]:
        database = "pg_auto_failover" if node == "monitor" else "postgres"
        where = {"host": str(self._folder), "port": self._ports[node], "user": "postgres", "dbname": database}
        with psycopg.connect(autocommit=True, **where) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _wait_until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _WITHIN
        while True:
            with contextlib.suppress(psycopg.OperationalError):  # the monitor does not listen yet
                if holds():
                    return
            ended = [name for name, keeper in self._keepers.items() if keeper.process.poll() is not None]
            if ended or time.monotonic() > deadline:
                logs = (path.read_text(encoding="utf-8", errors="replace") for path in self._folder.glob("*.log"))
                end = "\n\n".join("\n".join(log.splitlines()[-20:]) for log in logs)
                raise RuntimeError(f"The cluster is not as it should be within {_WITHIN} s (ended: {ended}):\n{end}")
            time.sleep(0.1)

    def _kill_server(self, node: str) -> None:
        """Have it end at once, without a word to anybody (pg_ctl(1), immediate)."""
        pid = self._folder / node / "postmaster.pid"
        with contextlib.suppress(OSError):
            server = int(pid.read_text(encoding="utf-8").split()[0])
            os.kill(server, signal.SIGQUIT)
            while pid.exists():
                os.kill(server, 0)
                time.sleep(0.02)
