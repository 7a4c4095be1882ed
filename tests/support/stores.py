# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stores of tests. A test names one by the path of a file; with ``--store postgresql`` it is a schema of a server.

So what is true of a store is tried on each of them by the same tests.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ansible_collections.usersync.directory.plugins.module_utils._store import address, opening
from ansible_collections.usersync.directory.plugins.module_utils._store.contract import Store

from .folders import IN_MEMORY
from .postgresql import PostgreSQL

_servers: list[PostgreSQL] = []  # the one that is used, if any is
_made: dict[str, Path] = {}  # schema -> the file that it stands for


def use(server: PostgreSQL) -> None:
    """Have stores in this server from now on."""
    _servers[:] = [server]


def leave() -> None:
    """Have them in files again."""
    _servers.clear()
    _made.clear()


def of(path: Path | str) -> str:
    """The option `store` of the store that is called so."""
    if not _servers or address.is_database(str(path)):
        return str(path)
    schema = "s" + hashlib.sha256(str(path).encode()).hexdigest()[:16]
    if schema not in _made:
        _made[schema] = Path(path)
        _forget()
    return f"{_servers[0].uri}&schema={schema}"


def _forget() -> None:
    """Drop those of laws, whose folders are gone."""
    gone = [schema for schema, path in _made.items() if str(path).startswith(IN_MEMORY) and not path.parent.exists()]
    if len(gone) > 20:
        for schema in gone:
            del _made[schema]
        _servers[0].run(*(f"DROP SCHEMA IF EXISTS {schema} CASCADE" for schema in gone))


def open_store(path: Path | str, wait: int = 60) -> Store:
    """The store, opened for a run."""
    return opening.open_store(address.address_of(of(path)), wait)


def look(path: Path | str) -> Store:
    """The store, opened to look at it."""
    return opening.look(address.address_of(of(path)))


def exists(path: Path | str) -> bool:
    """Whether there is such a store."""
    return not opening.is_missing(address.address_of(of(path)))
