# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What the planner goes by: the snapshot, but for what is malformed, and for what is held."""

from __future__ import annotations

from .. import _model


def _with_what_is_clear(snapshot, state):
    """Return the snapshot with what the store has wherever the directory has a malformed value.

    A newcomer of whom nothing says that it is enabled is not. Example: ann has a `shadowExpire` of 5,000 digits, and so
    has bob, who is new. She stays enabled, as she was, and he comes disabled.
    """
    if not snapshot.unclear:
        return snapshot
    users, groups = dict(snapshot.users), dict(snapshot.user_groups)
    for key, names in snapshot.unclear.items():
        if users.get(key) is not None:
            stored = state.users.get(key)
            users[key] = _as_clear(users[key], names, stored and stored.record)
        elif key in groups:
            groups[key] = _as_clear(groups[key], names, state.user_groups.get(key))
    return snapshot._replace(users=users, user_groups=groups)


def _as_clear(body, names, record):
    """Return an entry with what its record has by these names; ``record`` is None where none is stored."""
    if "enabled" in names:
        body = body._replace(enabled=record is not None and record.enabled)
    if "sid" in names:
        body = body._replace(sid=record and record.sid)
    fields = {name.partition(".")[2] for name in names if name.startswith("attributes.")}
    if record is None or not fields:
        return body
    kept = {field: value for field, value in record.attributes.items() if field in fields}
    return body._replace(attributes=_model.EncodedAttributes.of({**_model.fields_of(body.attributes), **kept}))


def _what_stays(snapshot, state):
    """Return what does not end, since the directory has a malformed value: see Snapshot.unclear. As `held` has it."""
    staying: set = set()
    for key, names in snapshot.unclear.items():
        if "all" in names:
            staying.add(("user" if key in snapshot.users else "user_group", key))
        if "members" in names:
            staying.update(("member", key, member) for member in state.members.get(key, ()))
            staying.update(("nested", key, member) for member in state.nestings.get(key, ()))
    return staying


def _with_held_users(snapshot, state, held):
    """Return the snapshot with what is held of users as if it had been read: who is lost is as stored, who would be
    enabled is disabled, and who would lose a SID has the stored one.
    """
    users = dict(snapshot.users)
    for kind, key, *dummy in held:
        if kind == "user":
            users[key] = None
        elif kind == "enabled" and key in state.users and not state.users[key].given:
            users[key] = None  # what this synchronization last said of the user stays said
        elif kind == "enabled":
            users[key] = users[key]._replace(enabled=False, digest=b"")
        elif kind == "sid":
            users[key] = users[key]._replace(sid=state.users[key].record.sid, digest=b"")
    lost = {key: reason for key, reason in snapshot.lost_users.items() if key not in users}
    return snapshot._replace(users=users, lost_users=lost) if held else snapshot
