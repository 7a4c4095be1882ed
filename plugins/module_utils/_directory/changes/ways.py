# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What changed in a directory since a mark: the stable keys of entries that changed, and of those that are gone.

Three ways, of which the directory decides:

syncrepl  OpenLDAP with the syncprov overlay: RFC 4533, refreshOnly, with a cookie made of contextCSN. It tells of
          entryUUIDs, so that they must be the keys.
usn       Active Directory whose deleted objects the account may read: uSNChanged of one domain controller.
sweep     Else: the key, the DN and the version (entryCSN, uSNChanged, modifyTimestamp) of every entry in scope,
          compared with those of the last time. No order of numbers or times is trusted, and an entry below a container
          that was moved has another DN. It costs the server a look at every entry, but sends little of each.

389 Directory Server has syncrepl, too, if its plugins Retro Changelog and Content Synchronization are on. It is not
used: what the changelog has lost, by trimming or since it was off for a while, is left out, so is every 51st deletion,
and the result code is 0 (sync_cookie_isvalid and sync_send_deleted_entries in its sources; seen with version 2.3.1).

Nothing here decides what becomes of anybody: the entries themselves are read after this, and who is said to be gone is
looked up once more. So what is said twice, or too much, does no harm. What cannot be told raises ReadFully.
"""

from __future__ import annotations

import itertools
from typing import Any

from ..._mark import Numbered, Point, Reached, Swept, Synchronized
from ..distinguished_names import dn_text
from ..filter_text import escape_filter, filter_attributes
from ..presets import Preset
from ..search import search
from . import sweep, syncrepl
from .common import Changes, ReadFully, Where, attempt

# The stable keys, by type of directory, that are sixteen bytes as text.
_KEYS = {"active_directory": "objectguid", "openldap": "entryuuid", "389ds": "nsuniqueid", "freeipa": "ipauniqueid"}

# Back links, what servers compute, and DNs that follow whom they name: Active Directory changes these without another
# uSNChanged, and OpenLDAP's overlays memberof and refint change them without another entryCSN.
_FOLLOW_OTHERS = {
    "*",
    "assistant",
    "directreports",
    "hassubordinates",
    "ismemberof",
    "managedby",
    "managedobjects",
    "manager",
    "member",
    "memberof",
    "nsrole",
    "numsubordinates",
    "owner",
    "roleoccupant",
    "secretary",
    "seealso",
    "tokengroups",
    "uniquemember",
}
# A class of the schema; where the entry lies, which is looked at; and what a controller notes when the entry changes.
_FOLLOW_NOBODY = {
    "distinguishedname",
    "name",
    "objectcategory",
    "objectguid",
    "usnchanged",
    "usncreated",
    "whenchanged",
}
# In the schema of Active Directory: links, references by DN, what is constructed, and what is not replicated, such as
# lastLogon, which changes without another uSNChanged (MS-ADTS 2.2.9, 3.1.1.2.2.2, 3.1.1.2.4).
_FOLLOWING = (
    "(|(linkID=*)(attributeSyntax=2.5.5.1)(attributeSyntax=2.5.5.7)(attributeSyntax=2.5.5.14)"
    "(systemFlags:1.2.840.113556.1.4.804:=5))"
)


def why_never(session: Any, preset: Preset, settings: Any) -> str:
    """Return why changes in such a directory, read so, cannot be told; empty where they can."""
    if settings.group_structure != "groups":
        return "group_structure: %s is always read in full" % settings.group_structure
    if preset.user_groups:
        return "members by what users list (ldap_parameters.user_groups) are always read in full"
    if preset.member_value != "dn":
        return "members by %s (ldap_parameters.member_value) are always read in full" % preset.member_value
    wanted = _KEYS.get(preset.directory_type)
    if wanted is None:
        return "a directory of the type %s is always read in full" % preset.directory_type
    if preset.user_key.lower() != wanted or preset.group_key.lower() != wanted:
        return "ldap_parameters.user_key, ldap_parameters.group_key: with other keys everything is always read"
    try:
        follow = sorted(attempt(session, lambda: _follow_others(session, preset)))
    except ReadFully as why:
        return str(why)
    if follow:
        return "%s (in a filter or mapped) changes with other entries: everything is always read" % follow[0]
    return ""


def _follow_others(session: Any, preset: Preset) -> set[str]:
    """Return the attributes in filters and mappings whose values change without the entry that has them."""
    fields = itertools.chain(*preset.user_fields.values(), *preset.group_fields.values())
    names = {name.lower() for name in (*fields, *preset.user_lists.values(), *preset.group_lists.values())}
    names |= filter_attributes(preset.user_filter) | filter_attributes(preset.group_filter)
    names -= _FOLLOW_NOBODY
    found = names & _FOLLOW_OTHERS | {name for name in names if name[0].isdigit()}  # an OID may be of any
    schema = session.root_dse.get("schemanamingcontext")
    if schema:
        tests = "".join("(lDAPDisplayName=%s)" % escape_filter(name) for name in sorted(names))
        for _dn, entry, _raw in search(
            session, dn_text(schema[0]), "one", "(&(|%s)%s)" % (tests, _FOLLOWING), ("lDAPDisplayName",)
        ):
            found.update(value.decode("utf-8", "replace").lower() for value in entry.get("ldapdisplayname", ()))
    return found


def position(session: Any, place: Where, before: Point | None = None) -> Point:
    """Return the position of the server, which also says how changes from here on are told. To be called before
    anything else is read.

    ``before`` is its position when a read began that this one goes on from; None before a read of everything.
    """
    if place.preset.directory_type == "active_directory":
        from . import usn

        return usn.position_of(session, place)
    if sweep.version_attributes(session, place)[0] == sweep.TIME:
        if not sweep.shows_times(session, place):
            raise ReadFully("the account sees of nobody when it was changed (%s)" % sweep.TIME)
        return Swept()
    csn, has_version = syncrepl.context_csn(session, place)
    if csn and place.preset.user_key.lower() == syncrepl.KEY:
        if _is_glued(session, place, before):
            return Swept(is_glued=True)
        told = syncrepl.told_from(session, place, csn)
        if told is not None:
            return told
    if has_version:
        return Swept()
    raise ReadFully("the contextCSN and the entryCSN of '%s' cannot be read" % place.context)


def _is_glued(session: Any, place: Where, before: Point | None) -> bool:
    """Return whether databases lie below that have a contextCSN of their own: it is asked once, by the full read."""
    if before is None:
        return bool(syncrepl.glued_below(session, place.context))
    return isinstance(before, Swept) and before.is_glued


def since(session: Any, place: Where, before: Reached, now: Point, versions: bytes, known: Any) -> Changes:
    """Return what changed since the last read. Raises ReadFully where that cannot be told.

    ``versions`` are those of now; ``known.keys()`` are the stable keys of all that are stored and in scope.
    """
    then = before.point
    if then.way != now.way:
        raise ReadFully("the server tells changes in another way than at the last run")
    if isinstance(now, Synchronized) and isinstance(then, Synchronized):
        return syncrepl.changed_since(session, place, then.csn, now.csn, known)
    if isinstance(now, Numbered):
        from . import usn

        usn.check_same(then, now)
        if now.shows_deleted and isinstance(then, Numbered):
            return usn.changed_since(session, place, then.usn, now.usn)
    return sweep.compared(before.versions, versions, place)
