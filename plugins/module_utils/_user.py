# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""One user in the store as a person wants it: what is kept by hand, compared with what is there, and written."""

from __future__ import annotations

import re
from typing import Any

from ._errors import SynchronizationError
from ._named_tuple import NamedTuple
from ._names import join_path, split_path
from ._store import by_hand, opening
from ._store.address import Address, address_of
from ._store.contract import Store
from ._store.references import has_user_group

_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")  # as in the option user_attributes


class _Wanted(NamedTuple):
    store: Address
    state: str
    home: list[str]  # the names in its path
    home_path: str
    name: str
    path: str
    create_user_group: bool
    attributes: dict[str, Any]  # field -> text, list of texts, or None to remove it; those that were given
    local_attributes: dict[str, Any]
    sid: str | None


def set_user(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Make one user in the store as the options of USER ask; return changed, user (None: there is none) and diff.

    In check mode the store is only looked at.

    Raises SynchronizationError, with a sentence for the reader and the store as it was.
    """
    wanted = _wanted(params)
    with opening.look(wanted.store, True) if check_mode else opening.open_store(wanted.store) as store:
        if not check_mode:
            store.begin_writing()
        number, before = by_hand.find_user(store, wanted.home, wanted.name) or (None, None)
        if wanted.state == "absent":
            _check_removable(wanted, before)
            after = None
        else:
            after = _with(wanted, before)
            _check_place(store, wanted, number)
        changed = before != after
        if changed and not check_mode:
            _write(store, wanted, number, after)
            store.commit()
    return {
        "changed": changed,
        "user": after,
        "diff": {
            "before_header": wanted.path,
            "after_header": wanted.path,
            "before": _shown(before),
            "after": _shown(after),
        },
    }


# --- options ---------------------------------------------------------------------------------------------------------


def _wanted(params: dict[str, Any]) -> _Wanted:
    try:
        home = split_path(params["user_group"])
    except ValueError as error:
        raise SynchronizationError("user_group: %s" % error) from None
    if not params["name"].strip():
        raise SynchronizationError("name: the user has no name: give it one")
    path = home[0]
    for name in home[1:]:
        path = join_path(path, name)
    return _Wanted(
        store=address_of(params["store"], params.get("store_password")),
        state=params["state"],
        home=home,
        home_path=path,
        name=params["name"],
        path=join_path(path, params["name"]),
        create_user_group=params["create_user_group"],
        attributes=_fields("attributes", params["attributes"]),
        local_attributes=_fields("local_attributes", params["local_attributes"]),
        sid=params["sid"],
    )


def _fields(option: str, fields: dict[str, Any] | None) -> dict[str, Any]:
    for field in fields or {}:
        if not isinstance(field, str) or not _FIELD.fullmatch(field):
            raise SynchronizationError(
                "%s: %r is no name of a field: use letters, digits and underscores, a letter first" % (option, field)
            )
    return {field: _value(option, field, value) for field, value in (fields or {}).items()}


def _value(option: str, field: str, value: Any) -> Any:
    if isinstance(value, list):
        return sorted({_text(option, field, text) for text in value})
    return None if value is None else _text(option, field, value)


def _text(option: str, field: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise SynchronizationError(
            "%s: the field '%s' is given %r: write a text in quotes, a list of texts, or null "
            "to remove the field" % (option, field, value)
        )
    return value


# --- what is to be ---------------------------------------------------------------------------------------------------


def _with(wanted: _Wanted, before: dict[str, Any] | None) -> dict[str, Any]:
    record = before or {
        "name": wanted.name,
        "home": wanted.home_path,
        "user_groups": [],
        "enabled": True,
        "extinct": None,
        "extinct_since": None,
        "attributes": {},
        "local_attributes": {},
        "sid": None,
        "key": None,
        "dn": None,
        "synchronizations": [],
    }
    if record["key"] is not None:
        for option in ("attributes", "sid"):
            if getattr(wanted, option):
                raise SynchronizationError(
                    "%s: '%s' comes from a directory, which says what they are: use "
                    "local_attributes, or change them there" % (option, wanted.path)
                )
    return dict(
        record,
        attributes=_updated(record["attributes"], wanted.attributes),
        local_attributes=_updated(record["local_attributes"], wanted.local_attributes),
        sid=record["sid"] if wanted.sid is None else wanted.sid or None,
    )


def _check_removable(wanted: _Wanted, before: dict[str, Any] | None) -> None:
    if before is not None and before["key"] is not None:
        raise SynchronizationError(
            "name: '%s' comes from a directory: remove it there, or end its synchronization" % wanted.path
        )


def _updated(fields: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in {**fields, **wanted}.items() if value is not None}


def _write(store: Store, wanted: _Wanted, number: int | None, after: dict[str, Any] | None) -> None:
    """Write what is to be in the store. ``number`` is the id of the user that is there; None if there is none."""
    if number is None:
        if after is not None:
            by_hand.make_user(store, wanted.home, wanted.name, after)
    elif after is None:
        by_hand.remove_user(store, number)
    else:
        by_hand.change_user(store, number, after)


def _check_place(store: Store, wanted: _Wanted, number: int | None) -> None:
    if not wanted.create_user_group and not has_user_group(store, wanted.home):
        raise SynchronizationError(
            "user_group: there is no user group '%s' in the store: create it, or set "
            "create_user_group: true" % wanted.home_path
        )
    other = by_hand.user_with_sid(store, wanted.sid, number) if wanted.sid else None
    if other is not None:
        raise SynchronizationError("sid: '%s' has it: no two users have one SID" % other)


def _shown(record: dict[str, Any] | None) -> dict[str, Any]:
    """Return what of a record is kept by hand, for the diff."""
    if record is None:
        return {}
    shown = {"local_attributes": record["local_attributes"]}
    if record["key"] is None:
        shown.update(attributes=record["attributes"], sid=record["sid"])
    return shown
