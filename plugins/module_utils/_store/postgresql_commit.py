# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What a transaction wrote, and what came of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping

from . import postgresql_server
from .address import Database
from .contract import StoreError
from .postgresql_server import Connection
from .postgresql_words import is_for_others, quoted, written_by

_WRITES_KEPT = 1000
_LARGE = 1000  # rows that come into a table at once: what is known of it is another then
COUNTED = ("claims", "memberships", "nestings")  # tables whose rows are counted as they come and go


class Written:
    """What a transaction wrote, as far as it is told."""

    def __init__(self) -> None:
        self.added = dict.fromkeys(COUNTED, 0)  # table -> how many rows there are more than before
        self._filled: dict[str, int] = {}  # table -> how many rows came into it
        self._is_for_others = False

    def note(self, statement: str, rows: int) -> int:
        """Note how many rows a statement wrote; return that."""
        verb, table = written_by(statement)
        if rows > 0:
            self._is_for_others = self._is_for_others or is_for_others(statement)
            if verb == "INSERT":
                self._filled[table] = self._filled.get(table, 0) + rows
            if table in COUNTED and verb != "UPDATE":
                self.added[table] += rows if verb == "INSERT" else -rows
        return rows

    def commit(self, schema: str, token: str, counts: Mapping[str, int | None]) -> str:
        """Return the statements that end the transaction, which is known by the token from then on.

        :param schema: as it stands in statements.
        :param counts: how many rows each of COUNTED had; None: nobody knows.
        """
        changes = ["generation = generation + 1"]
        changes += [
            "%s = %d" % (table, before + self.added[table]) for table, before in counts.items() if before is not None
        ]
        if self._is_for_others:
            changes.append("last_change = '%s'" % token)
        return "; ".join(
            (
                "UPDATE {0}.store SET " + ", ".join(changes),
                "INSERT INTO {0}.writes (generation, token) SELECT generation, '%s' FROM {0}.store" % token,
                "DELETE FROM {0}.writes WHERE generation <= (SELECT generation FROM {0}.store) - %d" % _WRITES_KEPT,
                "COMMIT",
            )
        ).format(schema)

    def learn(self, connection: Connection, schema: str) -> None:
        """Have the server look at tables that are others now. It does so by itself, but a minute later."""
        if max(self._filled.values(), default=0) >= _LARGE:
            connection.execute("ANALYZE " + ", ".join("%s.%s" % (schema, table) for table in self._filled))


def find_out(address: Database, token: str, lost: Exception, seconds: float) -> None:
    """Return if the transaction with this token was committed, and raise StoreError if it was not, or if nobody can say
    so for so long. ``lost``: what was raised in place of the answer.

    Whoever has the lock of the row knows: the old connection's transaction has ended by then. Its own COMMIT waits
    until standbys have what it has seen, where replication is synchronous.
    """
    deadline, schema = time.monotonic() + seconds, quoted(address.schema)
    while True:
        try:
            with contextlib.closing(postgresql_server.connect(address, False, within=10)) as connection:
                connection.execute("BEGIN")
                connection.execute("SET LOCAL lock_timeout = '10s'")
                connection.execute("SELECT 1 FROM %s.store FOR UPDATE" % schema)
                found = connection.execute("SELECT 1 FROM %s.writes WHERE token = %%s" % schema, (token,)).fetchone()
                connection.execute("COMMIT")
            if found:
                return
            raise postgresql_server.failed(address, lost, True) from lost
        except (StoreError, postgresql_server.driver().Error) as error:
            if isinstance(error, StoreError) and error.__cause__ is lost:
                raise
            if time.monotonic() >= deadline:
                raise _nobody_knows(address) from lost
        time.sleep(0.5)


def failed(address: Database, connection: Connection, error: Exception) -> StoreError:
    """Return what to raise where a COMMIT failed that nobody asks the server about."""
    if postgresql_server.is_lost(connection):
        return _nobody_knows(address)
    return postgresql_server.failed(address, error, True)


def _nobody_knows(address: Database) -> StoreError:
    return StoreError(
        "store: the connection to %s was lost while the run was committed, and the server cannot be asked since: all"
        " that it wrote is there, or nothing; run it again" % address.shown
    )
