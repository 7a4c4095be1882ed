# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Opening a store, wherever it is.

What is about PostgreSQL is imported only for a store that is there: most runs have a file, and each import counts in a
run with nothing to do.
"""

from __future__ import annotations

from . import sqlite
from .address import Address, File
from .contract import NoStore, Store


def open_store(address: Address, wait: int = 60, must_exist: bool = False) -> Store:
    """Open the store for a run; one that is missing is made. Another run is waited for, for ``wait`` seconds.

    Raises StoreError, with a sentence for the reader; NoStore if it is missing and ``must_exist``.
    """
    if isinstance(address, File):
        if must_exist and sqlite.is_missing(address.path):
            raise _missing(address)
        return sqlite.open_store(address.path, wait)
    from . import postgresql

    store = postgresql.open_store(address, wait, not must_exist)
    if store is None:
        raise _missing(address)
    return store


def look(address: Address, for_dry_run: bool = False, must_exist: bool = False) -> Store:
    """Open the store to look at it, without a trace. One that does not exist is an empty one.

    Leaving it raises StoreChanged if a run changed it meanwhile. ``for_dry_run``: what keeps a run from writing to it
    is an error here, too.

    Raises StoreError, with a sentence for the reader; NoStore if it does not exist and ``must_exist``.
    """
    if isinstance(address, File):
        if must_exist and sqlite.is_missing(address.path):
            raise _missing(address)
        if for_dry_run:
            sqlite.check_writable(address.path)
        return sqlite.look(address.path, for_dry_run)
    from . import postgresql

    store = postgresql.look(address)
    if store is None and must_exist:
        raise _missing(address)
    return store or sqlite.nothing()


def _missing(address: Address) -> NoStore:
    return NoStore("store: there is no %s on the node where this runs: correct it" % address.noun)


def is_missing(address: Address) -> bool:
    """Tell whether there is no store. What this user may not see is not missing: `look` says so."""
    if isinstance(address, File):
        return sqlite.is_missing(address.path)
    from . import postgresql

    store = postgresql.look(address)
    if store is not None:
        store.close()
    return store is None
