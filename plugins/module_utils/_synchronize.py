# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The way of the data: options -> directory -> snapshot, store -> stored state, both -> plan -> apply -> report."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from . import _report
from ._directory import connection, presets, reader, values
from ._errors import SynchronizationError
from ._plan import make_plan, plan_digest, removals_digest
from ._settings import Settings, public_settings
from ._store import sqlite

# Digests of another generation are not comparable: count up when what they cover changes.
_DIGEST_GENERATION = 1


def synchronize(settings: Settings, check_mode: bool, diff_mode: bool, warn: Callable[[str], None]) -> dict[str, Any]:
    """Make the store equal to the directory, or in check mode say what that would change; return the result.

    In check mode the store is only looked at, and all else is the same: that is why the result is the same, too.

    Raises SynchronizationError, with a sentence for the reader and the store as it was.
    """
    now, started = int(time.time()), time.monotonic()
    if check_mode:
        sqlite.check_writable(settings.store)
    with (sqlite.look if check_mode else sqlite.open_store)(settings.store) as store:
        if not settings.create_user_group and not store.has_user_group(settings.target):
            raise SynchronizationError(
                "user_group: there is no user group '%s' in the store: create it, or set create_user_group: true"
                % public_settings(settings)["user_group"])
        preset, salt, snapshot, read = connection.read_from_first(
            settings, warn, lambda session: _read_all(settings, store, session, now, started))
        for warning in snapshot.warnings + _doubts(settings, snapshot):
            warn(warning)

        state = store.load_state(settings.name, settings.target, snapshot)
        plan = _make_plan(settings, snapshot, state)
        report = _report.make_report(
            plan, snapshot, state, _look_up(settings, store, plan, snapshot, state), settings.report_limit, diff_mode)
        result = dict(
            report, changed=not plan.is_empty, refused=[], read=read, settings=public_settings(settings, preset),
            plan_digest=plan_digest(plan), removals_digest=removals_digest(plan))
        if not check_mode:
            store.apply(plan, {
                "time": now, "salt": salt, "selected": snapshot.selected, "settings": result["settings"],
                "server": read["server"], "mode": read["mode"], "counts": result["summary"],
                "plan_digest": result["plan_digest"], "changed": result["changed"],
                "seconds": round(time.monotonic() - started, 3),
            })
            store.commit()
    return result


def _read_all(settings, store, session, now, started):
    """Return what one server says: (preset, salt, snapshot, `read` of the result)."""
    preset = presets.resolve(settings, presets.directory_type(settings, session.root_dse))
    directory = _bound_directory(settings, store, reader.identify(settings, session, preset))
    salt = _salt(settings, preset)
    digests = store.digests(settings.name, salt)
    snapshot = reader.read(settings, session, preset, directory, digests, now)
    return preset, salt, snapshot, _read(session, directory, time.monotonic() - started)


def _bound_directory(settings, store, directory):
    """Return the directory under the identity the store knows it by; a synchronization stays with its first one."""
    bound = store.directory_of(settings.name)
    if bound is not None and not reader.same_directory(bound, directory.identity):
        raise SynchronizationError(
            "name: the synchronization '%s' belongs to the directory %s, and server leads to %s: "
            "correct server, or give this synchronization a name of its own"
            % (settings.name, bound, directory.identity))
    known = [bound] if bound else store.directories()
    same = [identity for identity in known if reader.same_directory(identity, directory.identity)]
    return directory._replace(identity=same[0]) if same else directory


def _salt(settings, preset):
    """Return the fingerprint of everything but the entries that decides what a stored record looks like."""
    decisive = [_DIGEST_GENERATION, preset, settings.target, settings.group_structure]
    return hashlib.sha256(json.dumps(decisive, default=str, sort_keys=True).encode("utf-8")).digest()


def _doubts(settings, snapshot):
    """Return warnings of what is no error and seldom meant."""
    doubts = []
    if snapshot.not_stored:
        doubts.append("not_stored: %d times an entry, or a part of it, could not be stored: see there which and why"
                      % len(snapshot.not_stored))
    bodies = [user for user in snapshot.users.values() if user is not None]
    if bodies and len(bodies) == len(snapshot.users):  # so it is in the first run with another mapping
        doubts += [
            "user_attributes: no user that was read has a value for '%s' (%s)" % (field, attribute)
            for field, attribute in settings.user_attributes.items()
            if field != "name" and not any(field in user.attributes for user in bodies)
        ]
    return doubts


def _make_plan(settings, snapshot, state):
    try:
        return make_plan(settings, snapshot, state, _same_value)
    except ValueError as error:
        raise SynchronizationError(str(error)) from None


def _same_value(value: str) -> str:
    """Return the form in which two values of a member list are compared: DNs have many spellings (RFC 4514)."""
    try:
        return values.normal_dn(value)
    except ValueError:
        return value.casefold()


def _look_up(settings, store, plan, snapshot, state):
    nested = store.direct_members(_report.members_to_load(plan, state), settings.name)
    users = _report.users_to_load(plan, state, nested)
    names = store.names(_report.names_to_load(plan, state), settings.name)
    return _report.Looked(store.direct_groups(users, settings.name), names)


def _read(session, directory, seconds):
    return {
        "server": session.server,
        "directory_type": directory.directory_type,
        "mode": "full",
        "entries": session.entries,
        "pages": session.pages,
        "seconds": round(seconds, 3),
        "not_read": sorted(session.not_read),
    }
