# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Options -> what the store says: for the module user_group_info and the lookup user_group_members."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from ._errors import SynchronizationError
from ._names import ROOT, split_path
from ._options import LOOKING_UP, STORE, with_defaults
from ._store import events, lookups, opening
from ._store.address import Address, address_of
from ._store.contract import NoStore, Store, StoreChanged
from ._store.references import has_user_group

_TRIES = 10  # a run that ends while the store is looked at takes an instant; another one right behind it is rare

T = TypeVar("T")


def look_up(params: dict[str, Any], warn: Callable[[str], None]) -> dict[str, list[dict[str, Any]]]:
    """Return what the options of LOOKING_UP ask for; options that are missing have their defaults.

    ``warn`` is called with a sentence where an answer without users may not be what was meant.

    Raises SynchronizationError, with a sentence for the reader.
    """
    options = with_defaults(params, STORE, LOOKING_UP)
    wanted = lookups.Wanted(
        user_group=_path(options["user_group"]),
        synchronization=options["synchronization"],
        user=options["user"],
        effective=options["effective"],
        include_disabled=options["include_disabled"],
        include_extinct=options["include_extinct"],
    )
    for option in ("runs", "history"):
        if options[option] < 0:
            raise SynchronizationError("%s: %d is out of range: write a number from 0" % (option, options[option]))
    if options["history"] and wanted.user_group is None and wanted.user is None:
        raise SynchronizationError("history: it is that of a user or a user group: name one in user or user_group")
    store_at = address_of(options["store"], options["store_password"])
    found, at_home = looking(store_at, lambda store: _read(store, wanted, options["runs"], options["history"]))
    if at_home:
        warn(
            "user_group: '%s' has no members. It is the home of users (%d), and a home is no membership: name a user "
            "group below it, or leave user_group out and choose the users by their home" % (wanted.user_group, at_home)
        )
    return found


def _read(store: Store, wanted: lookups.Wanted, runs: int, most: int) -> tuple[dict[str, list[dict[str, Any]]], int]:
    """Return the answer, and how many users have their home where it has nobody since a home is no membership."""
    happened = events.events(store, wanted, most) if most else []
    if wanted.include_extinct and happened and not has_user_group(store, split_path(wanted.user_group or ROOT)):
        found: dict[str, list[dict[str, Any]]] = {"user_groups": [], "users": []}  # it is removed, and has a history
    else:
        found = lookups.look_up(store, wanted)
    at_home = 0
    if wanted.user_group is not None and wanted.user is None and not found["users"]:
        at_home = lookups.only_at_home(store, wanted.user_group)
    return dict(found, runs=lookups.runs(store, wanted.synchronization, runs), history=happened), at_home


def _path(path: str | None) -> str | None:
    try:
        if path is not None:
            split_path(path)
    except ValueError as error:
        raise SynchronizationError("user_group: %s" % error) from None
    return path


def looking(store_at: Address, read: Callable[[Store], T]) -> T:
    """Return what ``read`` reads of the store, from one moment: again, where a run changed it meanwhile."""
    for tried in range(_TRIES):
        try:
            with opening.look(store_at, must_exist=True) as store:  # to a run it is an empty one
                return read(store)
        except NoStore:
            raise SynchronizationError(
                "store: there is no %s on the node where this is looked up: correct the "
                "path, or run a synchronization first" % store_at.noun
            ) from None
        except StoreChanged:
            if tried == _TRIES - 1:
                raise
            time.sleep(0.1)
    raise AssertionError
