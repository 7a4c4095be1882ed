# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Active Directory whose deleted objects the account may read: uSNChanged of one domain controller."""

from __future__ import annotations

from typing import Any

from ..._mark import Numbered, Point
from ..distinguished_names import dn_text
from ..requests import SHOW_DELETED, SHOW_RECYCLED, control
from ..search import MISSING_OK, How, finds_any, search
from ..stable_keys import keys_of
from .common import MANY, Changes, ReadFully, Where, look_below

# In Active Directory entries of these classes have nobody below them.
_LEAVES = {b"user", b"group", b"contact", b"foreignsecurityprincipal", b"dnsnode", b"msds-groupmanagedserviceaccount"}


def position_of(session: Any, place: Where) -> Numbered:
    """Return the position of the controller.

    Microsoft, "Polling for Changes Using USNChanged": a number means something on one controller only, and only
    until its database is restored, which gives it another invocationId.
    """
    settings = session.root_dse.get("dsservicename")
    if not settings:
        raise ReadFully("the domain controller does not say which it is (dsServiceName)")
    root = list(search(session, "", "base", "(objectClass=*)", ("highestCommittedUSN",)))
    found = list(search(session, dn_text(settings[0]), "base", "(objectClass=*)", ("invocationId",), MISSING_OK))
    if not root or "highestcommittedusn" not in root[0][1] or not found or "invocationid" not in found[0][1]:
        raise ReadFully("the highestCommittedUSN or the invocationId of the domain controller cannot be read")
    return Numbered(
        usn=int(root[0][1]["highestcommittedusn"][0]),
        invocation=found[0][1]["invocationid"][0].hex(),
        shows_deleted=_shows_deleted(session, place),
    )


def _shows_deleted(session: Any, place: Where) -> bool:
    """Return whether the account sees who was deleted: it may see the container of theirs, and nobody in it."""
    controls = _show_deleted(session)
    return bool(controls) and finds_any(
        session, place.context, "sub", "(&(isDeleted=TRUE)(objectClass=*)(!(objectClass=container)))", controls
    )


def _show_deleted(session: Any) -> tuple[bytes, ...]:
    """Return the control that shows most of what is deleted, of those that the server has."""
    supported = session.root_dse.get("supportedcontrol", ())
    return tuple(control(oid) for oid in (SHOW_RECYCLED, SHOW_DELETED) if oid.encode("ascii") in supported)[:1]


def check_same(before: Point, now: Numbered) -> None:
    """Raise ReadFully unless the numbers of the one go on in the other."""
    if not isinstance(before, Numbered) or before.invocation != now.invocation:
        raise ReadFully("another domain controller answers, or it was restored from a backup (invocationId)")
    if now.usn < before.usn:
        raise ReadFully("the numbers of the domain controller went backwards (highestCommittedUSN): it was restored")


def changed_since(session: Any, place: Where, before: int, now: int) -> Changes:
    """Return what changed between two numbers of one controller."""
    if before == now:
        return Changes({}, set())
    since_then = "(uSNChanged>=%d)" % (before + 1)
    changed: dict[str, str] = {}
    above: list[str] = []
    problem = ""
    key = place.preset.user_key
    for raw_dn, entry, _raw in search(session, place.context, "sub", since_then, (key, "objectClass")):
        dn = dn_text(raw_dn)
        keys = keys_of(entry, key)
        if not keys:
            problem = "the %s of '%s', which changed, cannot be read" % (key, dn)
            continue
        changed[keys[0]] = dn
        if not _LEAVES.intersection(value.lower() for value in entry.get("objectclass", ())):
            above.append(dn)
    if problem or len(changed) > MANY:
        raise ReadFully(problem or "more than %d entries changed" % MANY)
    gone: set[str] = set()
    for _dn, entry, _raw in search(
        session,
        place.context,
        "sub",
        "(&(isDeleted=TRUE)%s)" % since_then,
        (key,),
        How(controls=_show_deleted(session)),
    ):
        keys = keys_of(entry, key)
        if not keys:
            problem = "the %s of somebody who was deleted cannot be read" % key
        gone.update(keys)
    if problem:
        raise ReadFully(problem)
    for dn in above:
        look_below(session, place, dn, changed)
    return Changes(changed, gone)
