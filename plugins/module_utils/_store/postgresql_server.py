# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The server under a store in PostgreSQL: connections to it, and sentences about what went wrong. Knows nothing of what
is stored.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from .address import Database
from .contract import StoreError, WrittenMeanwhile

Connection = Any  # psycopg.Connection: the driver is optional

_CONNECT_WITHIN = 30  # seconds for each host, unless the URI says another number
_IDLE = 300  # seconds in which a run says nothing in its transaction: its host is gone, and the server ends it

# SQLSTATEs: https://www.postgresql.org/docs/current/errcodes-appendix.html
DEADLOCK = "40P01"
_AGAIN = ("40001", DEADLOCK)  # serialization failure, deadlock
LOCKED = "55P03"
NO_RIGHT = "42501"
NOT_THERE = ("3F000", "42P01")  # a schema, a table
# Somebody else makes the same tables: "IF NOT EXISTS" does not wait for him.
MADE_BY_ANOTHER = ("23505", "42P06", "42P07", "42710", "XX000")

_SETTINGS = {
    "search_path": "",
    "default_transaction_isolation": "read committed",  # a role may have another default
    "join_collapse_limit": "1",  # tables are joined as they are written: see `contract.py`
    "idle_in_transaction_session_timeout": "%ds" % _IDLE,
    "bytea_output": "hex",
    "default_statistics_target": "10",  # of ANALYZE after a large run: it takes a tenth of the time, and will do
    "jit": "off",  # compiling takes longer than what is asked
}


def driver() -> Any:
    """Return the module psycopg. Raises StoreError where it is missing."""
    try:
        import psycopg
    except ImportError as error:
        raise StoreError(
            "store: a database in PostgreSQL needs psycopg on the node where this runs (%s): install it with"
            " python3 -m pip install 'psycopg[binary]>=3.1', or as python3-psycopg of Debian" % error
        ) from None
    return psycopg


def connect(address: Database, reads_only: bool, within: int = _CONNECT_WITHIN) -> Connection:
    """Return a connection that begins no transaction by itself.

    Where nothing says how the server is to be known, its certificate is verified, and of several hosts one that can be
    written to is taken: what libpq falls back to after the URI, the service file and the environment.

    Raises StoreError.
    """
    psycopg = driver()
    # The last is libpq's own default: psycopg warns of counting on that where there is a Kerberos ticket.
    wanted = {"PGSSLMODE": "verify-full", "PGCONNECT_TIMEOUT": str(within), "PGGSSENCMODE": "prefer"}
    if not reads_only:
        wanted["PGTARGETSESSIONATTRS"] = "read-write"
    missing = {name: value for name, value in wanted.items() if not os.environ.get(name)}
    os.environ.update(missing)
    secret = {} if address.password is None else {"password": address.password}
    try:
        connection: Connection = psycopg.connect(
            address.uri,
            autocommit=True,
            prepare_threshold=None,
            application_name=_who(address),
            client_encoding="UTF8",
            **secret,
        )
    except psycopg.Error as error:
        raise _not_connected(address, error) from None
    finally:
        for name in missing:
            del os.environ[name]
    try:
        connection.execute(
            "SELECT set_config(s.name, w.value, false) FROM pg_catalog.pg_settings s,"
            " unnest(%s::text[], %s::text[]) AS w (name, value) WHERE s.name = w.name",
            _settings(reads_only),
        )
        if connection.info.parameter_status("server_encoding") not in ("UTF8", None):
            raise StoreError("store: the database of %s is not in UTF-8: make one that is" % address.shown)
    except psycopg.Error as error:
        connection.close()
        raise _not_connected(address, error) from None
    except StoreError:
        connection.close()
        raise
    return connection


def _settings(reads_only: bool) -> tuple[list[str], list[str]]:
    settings = dict(_SETTINGS, default_transaction_read_only="on" if reads_only else "off")
    return list(settings), list(settings.values())


_PROGRAM = "usersync.directory "


def _who(address: Database) -> str:
    """Return the name of this process for others: PostgreSQL keeps 63 bytes of it."""
    return "%s%s %d@%s" % (_PROGRAM, address.schema, os.getpid(), socket.gethostname())


def _not_connected(address: Database, error: Exception) -> StoreError:
    return StoreError("store: %s cannot be reached (%s): %s" % (address.shown, _said(error), _remedy(error)))


# What libpq and OpenSSL say in all languages.
_NO_AUTHORITY = ("/root.crt", "certificate verify failed")


def _remedy(error: Exception) -> str:
    """Return what to do. What was not connected has no SQLSTATE, but it knows whether a password was asked for."""
    attempt = getattr(error, "pgconn", None)
    if attempt is not None and attempt.needs_password:
        return "give store_password"
    if attempt is not None and attempt.used_password:
        return "correct store_password, or the URI"
    if any(text in str(error) for text in _NO_AUTHORITY):
        return "name the authority of its certificate in the URI, such as ?sslrootcert=/etc/ssl/certs/corp-ca.pem"
    return "correct the URI, or start it"


def _said(error: Exception) -> str:
    """Return what the error says, in one line. Of several hosts, psycopg says what each has said."""
    of_all = str(error).rpartition("All failures were:")[2]
    return "; ".join(filter(None, (line.strip("- \t") for line in of_all.splitlines()))) or type(error).__name__


def failed(address: Database, error: Exception, writing: bool) -> StoreError:
    """Return what to raise where a statement failed."""
    state = getattr(error, "sqlstate", None)
    if state in _AGAIN:
        return WrittenMeanwhile("store: %s has two that write the same (%s): run it again" % (address.shown, state))
    left = "; nothing was written" if writing else ""
    if state == NO_RIGHT:
        return StoreError(
            "store: the role may not do this in %s (%s)%s: grant it the rights that the page on PostgreSQL says"
            % (address.shown, _said(error), left)
        )
    return StoreError(
        "store: %s failed (%s)%s: see to the server, and run it again" % (address.shown, _said(error), left)
    )


def is_lost(connection: Connection) -> bool:
    """Tell whether the server, or the way to it, is gone."""
    return bool(connection.closed or connection.broken)


def _holder(connection: Connection, address: Database) -> str:
    """Return who has written for the longest time without an end, and since when; empty where nothing tells."""
    try:
        row = connection.execute(
            "SELECT application_name, to_char(xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"
            " FROM pg_catalog.pg_stat_activity WHERE datname = current_database() AND application_name LIKE %s"
            " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL AND backend_xid IS NOT NULL"
            " ORDER BY xact_start LIMIT 1",
            ("%s%s %%" % (_PROGRAM, address.schema.replace("_", r"\_")),),
        ).fetchone()
    except driver().Error:
        return ""
    return "process %s, since %s UTC" % (row[0].rpartition(" ")[2], row[1]) if row else ""


def held(connection: Connection, address: Database) -> StoreError:
    """Return what to raise where another run has the store, and kept it for longer than it is waited for."""
    who = _holder(connection, address)
    return StoreError(
        "store_timeout: the store %s is held by another run%s: wait for its end, or raise store_timeout"
        % (address.shown, " (%s)" % who if who else "")
    )
