# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a directory said, as the planner and the store are given it, and the policies to plan with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from ansible_collections.usersync.directory.plugins.module_utils import _model

DIRECTORY = _model.Directory("S-1-5-21-1-2-3", "active_directory")
UNIT = "CN=Users,DC=x"  # where entries lie, unless a test says otherwise
OTHER_DIRECTORY = _model.Directory("S-1-5-21-7-8-9", "active_directory")


def user(key: str, name: str | None = None, **more: Any) -> _model.User:
    """A user as read. It is enabled, is named like its key, and its home is the synchronization's user group.

    The digest differs as soon as any field does.
    """
    body = _model.User(
        key=key,
        dn="CN=%s" % key,
        name=name or key,
        home=None,
        enabled=True,
        created=1,
        sid=None,
        attributes={},
        digest=b"",
        unit_dn=UNIT,
    )._replace(**more)
    return body._replace(digest=_digest(body))


def group(key: str, name: str | None = None, members: Iterable[str] | None = (), **more: Any) -> _model.UserGroup:
    """A group as read, directly below the synchronization's user group.

    :param members: references of users; None if they are as stored.
    """
    body = _model.UserGroup(
        key=key,
        dn="CN=%s" % key,
        name=name or key,
        parent=None,
        created=1,
        type="security",
        container="Users",
        attributes={},
        members=None if members is None else list(members),
        user_groups=[],
        kept_values=[],
        members_digest=b"",
        unit_dn=UNIT,
    )._replace(**more)
    return body._replace(members_digest=_digest((body.members, body.kept_values)))


def snapshot(
    users: Iterable[_model.User] = (), user_groups: Iterable[_model.UserGroup] = (), **more: Any
) -> _model.Snapshot:
    """What the directory said in one complete read; nobody is lost.

    :param more: other fields of the snapshot.
    """
    people, groups = {body.key: body for body in users}, {body.key: body for body in user_groups}
    return _model.Snapshot(
        directory=DIRECTORY,
        users=people,
        user_groups=groups,
        lost_users={},
        lost_user_groups={},
        unresolved=[],
        not_stored=[],
        other_members={},
        selected={},
        warnings=[],
        units=units_of(*people.values(), *groups.values()),
    )._replace(**more)


def units_of(*entries: _model.User | _model.UserGroup | None) -> dict[str, str]:
    """The stable keys of the containers in which these lie: see Snapshot."""
    return {entry.unit_dn: "key of " + entry.unit_dn for entry in entries if entry is not None and entry.unit_dn}


def policies(**more: Any) -> SimpleNamespace:
    """What a synchronization named 'staff' says of collisions and extinction: the defaults, unless given otherwise."""
    defaults = {
        "name": "staff",
        "user_collision": "skip",
        "user_extinction": "disable",
        "user_extinction_grace_days": 0,
        "user_group_extinction": "skip",
        "ignore_disabled_users": False,
        "name_reuse_days": 30,
    }
    return SimpleNamespace(**{**defaults, **more})


def _digest(what: object) -> bytes:
    return hashlib.sha256(repr(what).encode()).digest()[:16]
