# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans written by hand, and a store that they are applied to.

Unless a test says otherwise, a plan is one of the synchronization 'staff', whose user group is ``All/Company``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.usersync.directory.plugins.module_utils import _changes, _model, _names
from ansible_collections.usersync.directory.plugins.module_utils._mark import NONE_LEFT
from ansible_collections.usersync.directory.plugins.module_utils._plan.fates import user_change, user_group_change
from ansible_collections.usersync.directory.plugins.module_utils._store import by_hand, for_reader, lookups
from ansible_collections.usersync.directory.plugins.module_utils._store.apply import apply as apply_plan
from ansible_collections.usersync.directory.plugins.module_utils._store.contract import Store
from ansible_collections.usersync.directory.plugins.module_utils._store.load import load_state

from . import snapshots
from .stores import look, open_store

TARGET = "path:All/Company"


# --- records, and what changes them


def user_record(name: str, home: str = TARGET, **more: Any) -> _model.UserRecord:
    """A user as stored: enabled, and claimed by the synchronization."""
    record = _model.UserRecord(
        name, home, enabled=True, sid=None, extinct=None, attributes={}, dn="CN=" + name, claimed=True
    )
    return record._replace(**more)


def group_record(name: str, parent: str = TARGET, **more: Any) -> _model.UserGroupRecord:
    return _model.UserGroupRecord(name, parent, extinct=None, attributes={}, dn="CN=" + name)._replace(**more)


def user_changes(
    before: Mapping[str, _model.UserRecord | None], after: Mapping[str, _model.UserRecord | None]
) -> list[_changes.UserChange]:
    """What makes the users of the second mapping of those of the first; both have references as keys."""
    return [
        user_change(key, before.get(key), after.get(key))
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]


def group_changes(
    before: Mapping[str, _model.UserGroupRecord], after: Mapping[str, _model.UserGroupRecord]
) -> list[_changes.UserGroupChange]:
    """What makes the user groups of the second mapping of those of the first; both have stable keys as keys."""
    return [
        user_group_change(key, before.get(key), after.get(key))
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]


def membership_change(
    key: str,
    added: Iterable[str] = (),
    removed: Iterable[str] = (),
    groups_added: Iterable[str] = (),
    groups_removed: Iterable[str] = (),
) -> _changes.MembershipChange:
    """Users, and user groups nested in it, that come to a user group and leave it."""
    return _changes.MembershipChange(key, list(added), list(removed), list(groups_added), list(groups_removed))


def notes(
    user_digests: dict[str, bytes] | None = None,
    user_dns: dict[str, tuple[str, str, str]] | None = None,
    group_digests: dict[str, bytes] | None = None,
    group_dns: dict[str, tuple[str, str, str]] | None = None,
    listed_as: dict[tuple[str, str], str] | None = None,
) -> _changes.Notes:
    """What a run notes without a change that anybody sees."""
    return _changes.Notes(user_digests or {}, user_dns or {}, group_digests or {}, group_dns or {}, listed_as or {})


_NOTHING_NOTED = notes()


def make_plan(
    user_groups: Iterable[_changes.UserGroupChange] = (),
    users: Iterable[_changes.UserChange] = (),
    memberships: Iterable[_changes.MembershipChange] = (),
    notes: _changes.Notes = _NOTHING_NOTED,
    **more: Any,
) -> _changes.Plan:
    """A plan of these changes; `more` are other fields of it."""
    plan = _changes.Plan(
        directory=snapshots.DIRECTORY,
        synchronization="staff",
        target="All/Company",
        target_missing=False,
        user_groups=list(user_groups),
        users=list(users),
        memberships=list(memberships),
        collisions=[],
        notes=notes,
    )
    return plan._replace(**more)


_RUN = _model.RunRecord(
    time=1000,
    seconds=0.5,
    server="dc1",
    mode="full",
    reason="",
    changed=True,
    counts={"users": 1},
    plan_digest="d1",
    settings={"name": "staff"},
    settings_digest="s1",
    leaves=_model.Leaves(b"salt", {}, None, NONE_LEFT, frozenset(), {}, _model.Standing(), None),
    keeping=_model.Keeping(now=1000, forgets=True, history_days=365, name_reuse_days=0),
)


def run_record(**more: Any) -> _model.RunRecord:
    """What a store is told of the run that applies a plan: nothing is held, and there is no mark.

    `more` are fields of it, of what it leaves, and of how it keeps records; these are dated by its `time`, unless
    `now` is another one.
    """
    if "time" in more:
        more.setdefault("now", more["time"])

    def of(record: Any) -> dict[str, Any]:
        return {field: more.pop(field) for field in record._fields if field in more}

    run = _RUN._replace(
        leaves=_RUN.leaves._replace(**of(_RUN.leaves)), keeping=_RUN.keeping._replace(**of(_RUN.keeping))
    )
    return run._replace(**more)


# --- the store


def apply(path: Path | str, plan: _changes.Plan | None = None, **more: Any) -> None:
    """Apply a plan, or one with nothing to do, to the store at this path, and commit. `more` is told of the run."""
    with open_store(str(path)) as store:
        apply_plan(store, plan or make_plan(), run_record(**more))
        store.commit()


def load(
    path: Path | str,
    snapshot: _model.Snapshot | None = None,
    synchronization: str = "staff",
    target: str = "All/Company",
) -> _model.StoredState:
    """What the planner is told of the store at this path; without a snapshot, as if nothing had been read."""
    with look(str(path)) as store:
        return load_state(store, synchronization, _names.split_path(target), snapshot or snapshots.snapshot())


def digests(store: Store, synchronization: str = "staff", salt: bytes = b"salt") -> _model.Digests:
    """What a reader is told of a store that is open."""
    return for_reader.digests(for_reader.Known(store, synchronization, salt))


def everybody(*keys: str) -> _model.Snapshot:
    """A snapshot with each of these users, under names that nobody has: so that `load` gives their records."""
    return snapshots.snapshot(snapshots.user(key, "nobody is called " + key) for key in keys)


def make_user(
    store: Store,
    home: list[str],
    name: str,
    attributes: dict[str, Any] | None = None,
    local_attributes: dict[str, Any] | None = None,
    sid: str | None = None,
) -> None:
    """Make a user by hand in a store that is open, below the user group with these names on the way to it."""
    record = {"attributes": attributes or {}, "local_attributes": local_attributes or {}, "sid": sid}
    by_hand.make_user(store, home, name, record)


def wanted(**more: Any) -> lookups.Wanted:
    """Whom a person asks a store for: everybody, unless `more` says otherwise."""
    return lookups.Wanted(None, None, None, False, False, False)._replace(**more)


def look_up(store: Store, **more: Any) -> dict[str, Any]:
    """What a person is told who asks a store that is open."""
    return lookups.look_up(store, wanted(**more))
