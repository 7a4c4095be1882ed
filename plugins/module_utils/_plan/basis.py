# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What the planner goes by: what is stored, and the snapshot, but for what is malformed, and for what is held.

What is malformed or held is as stored. Example: ann has a `shadowExpire` of 5,000 digits. She stays enabled, if she
was. That bob is gone is held, since nothing proves it: he is as stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import TypeVar, Union

from .. import _attributes, _model, _names
from .._model import NO_DIGEST, NO_UNIT, Conclusion, Snapshot, StoredState, User, UserGroup, UserGroupRecord, UserRecord
from .._named_tuple import NamedTuple
from .places import Wait

Entry = Union[User, UserGroup]
Body = TypeVar("Body", User, UserGroup)


class Staying(NamedTuple):
    """What does not end, whatever is not there."""

    users: frozenset[str]
    user_groups: frozenset[str]
    members: dict[str, set[str]]  # user group -> users
    nested: dict[str, set[str]]  # user group -> user groups in it


class Basis(NamedTuple):
    """What the planner goes by. Nobody writes into it."""

    snapshot: Snapshot
    state: StoredState
    target: str  # reference of the synchronization's user group
    wait: Wait
    bodies: dict[str, User]  # users that were read: who is in the snapshot and not here is as stored
    lists: dict[str, list[str]]  # user group -> its member list, if that was read: all others are as stored
    staying: Staying

    def node(self, container: str | None) -> str:
        """Return the reference of the user group that a container is, or lies in. None: the target."""
        if container is None:
            return self.target
        return _model.node_of(container, self.snapshot, self.state.user_groups) or self.target

    def unit(self, entry: Entry, stored: UserRecord | UserGroupRecord | None) -> str:
        """Return the key of the container in which an entry lies. ``stored``: its record, if any."""
        unit = self.snapshot.units.get(entry.unit_dn)
        if unit:
            return unit
        return stored.unit if stored is not None and not entry.unit_dn else NO_UNIT


def basis_of(snapshot: Snapshot, state: StoredState, wait: Wait, held: frozenset[Conclusion]) -> Basis:
    """Return what to go by. ``held``: conclusions to leave out."""
    snapshot = _with_what_is_held(_with_what_is_clear(snapshot, state), state, held)
    bodies = {key: user for key, user in snapshot.users.items() if user is not None}
    lists = {key: group.members for key, group in snapshot.user_groups.items() if group.members is not None}
    staying = _staying(held.union(_unclear_conclusions(snapshot, state)))
    return Basis(snapshot, state, _names.path_reference(state.target), wait, bodies, lists, staying)


# --- what is malformed -----------------------------------------------------------------------------------------------


def _with_what_is_clear(snapshot: Snapshot, state: StoredState) -> Snapshot:
    """Return the snapshot with what the store has wherever the directory has a malformed value.

    A newcomer of whom nothing says that it is enabled is not. Example: ann has a `shadowExpire` of 5,000 digits, and so
    has bob, who is new. She stays enabled, as she was, and he comes disabled.
    """
    if not snapshot.unclear:
        return snapshot
    users, groups = dict(snapshot.users), dict(snapshot.user_groups)
    for key, names in snapshot.unclear.items():
        user, stored = users.get(key), state.users.get(key)
        if user is not None:
            users[key] = _user_as_clear(user, names, stored.record if stored is not None else None)
        elif key in groups:
            groups[key] = _fields_as_clear(groups[key], names, state.user_groups.get(key))
    return snapshot._replace(users=users, user_groups=groups)


def _user_as_clear(user: User, names: Set[str], record: UserRecord | None) -> User:
    """Return a user with what its record has by these names."""
    if "enabled" in names:
        user = user._replace(enabled=record is not None and record.enabled)
    if "sid" in names:
        user = user._replace(sid=record.sid if record is not None else None)
    return _fields_as_clear(user, names, record)


def _fields_as_clear(body: Body, names: Set[str], record: UserRecord | UserGroupRecord | None) -> Body:
    """Return an entry with those fields of its record that are named 'attributes.' and the field."""
    fields = {name.partition(".")[2] for name in names if name.startswith("attributes.")}
    if record is None or not fields:
        return body
    kept = {field: value for field, value in record.attributes.items() if field in fields}
    attributes = _attributes.EncodedAttributes.of({**_attributes.fields_of(body.attributes), **kept})
    return body._replace(attributes=attributes)


def _unclear_conclusions(snapshot: Snapshot, state: StoredState) -> Iterable[Conclusion]:
    """Yield what does not end, since the directory has a malformed value: see Snapshot.unclear."""
    for key, names in snapshot.unclear.items():
        if "all" in names:
            yield ("user" if key in snapshot.users else "user_group", key)
        if "members" in names:
            yield from (("member", key, member) for member in state.members.get(key, ()))
            yield from (("nested", key, member) for member in state.nestings.get(key, ()))


# --- what is held ----------------------------------------------------------------------------------------------------


def _with_what_is_held(snapshot: Snapshot, state: StoredState, held: frozenset[Conclusion]) -> Snapshot:
    """Return the snapshot with what is held of users as if it had been read: who is lost is as stored, who would be
    enabled is disabled, and who would lose a SID has the stored one.
    """
    if not held:
        return snapshot
    users = dict(snapshot.users)
    for kind, key, *_member in held:
        stored, user = state.users.get(key), users.get(key)
        # What this synchronization last said of a user whom another one writes stays said.
        if kind == "user" or kind == "enabled" and stored is not None and not stored.is_written_here:
            users[key] = None
        elif kind == "enabled" and user is not None:
            users[key] = user._replace(enabled=False, digest=NO_DIGEST)
        elif kind == "sid" and user is not None and stored is not None:
            users[key] = user._replace(sid=stored.record.sid, digest=NO_DIGEST)
    lost = {key: reason for key, reason in snapshot.lost_users.items() if key not in users}
    return snapshot._replace(users=users, lost_users=lost)


def _staying(conclusions: Iterable[Conclusion]) -> Staying:
    lost: dict[str, set[str]] = {"user": set(), "user_group": set()}
    lists: dict[str, dict[str, set[str]]] = {"member": {}, "nested": {}}
    for kind, key, *member in conclusions:
        if kind in lost:
            lost[kind].add(key)
        elif kind in lists:
            lists[kind].setdefault(key, set()).update(member)
    return Staying(frozenset(lost["user"]), frozenset(lost["user_group"]), lists["member"], lists["nested"])
