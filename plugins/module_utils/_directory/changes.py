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

import contextlib
import hashlib
import itertools
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from .presets import Entry, Preset, any_of, keys_of
from .search import NoSuchEntry, ReadError, batches, finds_any, search
from .values import dn_text, escape_filter, filter_attributes, generalized_time_seconds, is_dn, normal_dn
from .wire import (
    DIR_SYNC,
    DONE,
    ENTRY,
    INTERMEDIATE,
    SHOW_DELETED,
    SHOW_RECYCLED,
    SYNC_DONE,
    SYNC_STATE,
    ProtocolError,
    ServerLost,
    control,
    decode_done,
    decode_entry,
    dir_sync_answer,
    dir_sync_control,
    search_operation,
    sync_control,
    sync_done,
    sync_info,
    sync_state,
)

SYNCREPL, USN, SWEEP = "syncrepl", "usn", "sweep"

# More changes than this are read faster with everything else, page by page, than looked up key by key.
MANY = 5000

_UUID, _HASH = 16, 8  # bytes of a version: of the key, and of a hash over DN and version
_VERSION = _UUID + _HASH
_MANY_VERSIONS = 256 * _VERSION  # compared at once: nearly all are equal

# Seconds in which a modifyTimestamp may come to stand for another change, too: it counts whole seconds, by a clock that
# is not ours. Until it is older, the entry is looked at in every read.
_FRESH = 3600

# The stable keys, by type of directory, that are sixteen bytes as text.
_KEYS = {"active_directory": "objectguid", "openldap": "entryuuid", "389ds": "nsuniqueid", "freeipa": "ipauniqueid"}

_SYNCREPL_KEY = "entryuuid"  # RFC 4533, 2.1: by which it tells of entries, whatever their preset has for a key
_PRESENT, _DELETED = 0, 3  # states in a sync state control, RFC 4533, 2.3
_ENDLESS = 10_000_000  # messages in an answer, after which it is taken for one without end
_NO_END = "server: it was asked for what changed and does not stop sending: name another server, or set read_mode: full"
_STALE = 4096  # e-syncRefreshRequired, RFC 4533, 2.6

# In Active Directory entries of these classes have nobody below them.
_LEAVES = {b"user", b"group", b"contact", b"foreignsecurityprincipal", b"dnsnode", b"msds-groupmanagedserviceaccount"}


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


class ReadFully(Exception):
    """Why only a read of everything will do; the text completes "everything is read, since ..."."""


def attempt(session: Any, ask: Callable[[], Any]) -> Any:
    """Return what ``ask`` returns. Raise ReadFully if the server refuses it: a full read may not meet that."""
    try:
        return ask()
    except ServerLost:
        raise
    except (ReadError, ValueError) as error:
        if session.unusable:
            raise
        raise ReadFully("what changed cannot be told (%s)" % error) from None


class Changes(NamedTuple):
    """What changed. ``changed``: stable key -> DN now; ``gone``: stable keys. Either may say too much."""

    changed: dict[str, str]
    gone: set[str]


class ListChange(NamedTuple):
    """What came to a member list, and what left it: values as the server sends them."""

    added: set[bytes]
    removed: set[bytes]
    whole: set[bytes]  # values that came as the list itself does: then nothing tells what left it


class Place(NamedTuple):
    """Where changes are looked for."""

    preset: Preset
    context: str  # DN of the naming context
    roots: dict[str, str]  # what is selected: normal DN -> DN
    outside: Sequence[str]  # stable keys of those in scope who lie outside of it


# --- what time it is there -------------------------------------------------------------------------------------------


def time_of(session: Any) -> int | None:
    """Return what time the server says that it is, in seconds since 1970; None if it does not (MS-ADTS 3.1.1.3.2.2)."""
    try:
        return generalized_time_seconds(session.root_dse["currenttime"][0])
    except (KeyError, IndexError, ValueError):
        return None


def last_change(session: Any, context: str) -> int | None:
    """Return when anything last changed there, by its own clock (contextCSN of OpenLDAP); None if that is not known."""
    try:
        found = attempt(
            session, lambda: list(search(session, context, "base", "(objectClass=*)", ("contextCSN",), missing_ok=True))
        )
    except ReadFully:
        return None
    times = []
    for _dn, entry, _raw in found:
        for value in entry.get("contextcsn", ()):
            with contextlib.suppress(ValueError):
                times.append(generalized_time_seconds(value.partition(b"#")[0]))
    return max(times, default=None)


# --- where a server stands -------------------------------------------------------------------------------------------


def why_not(session: Any, preset: Preset, settings: Any) -> str:
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


def position(session: Any, place: Place, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return where the server stands now, as plain data, and by which way changes from here on can be told. To be
    called before anything else is read.

    ``before`` is the position that a read of what changed goes on from; None before a read of everything.
    """
    if place.preset.directory_type == "active_directory":
        return _position_of_controller(session, place)
    if _version_attributes(session, place)[0] == _TIME:
        if not _shows_times(session, place):
            raise ReadFully("the account sees of nobody when he was changed (%s)" % _TIME)
        return {"way": SWEEP}
    csn, has_version = _context_csn(session, place)
    if csn and place.preset.user_key.lower() == _SYNCREPL_KEY:
        glued = bool(glued_below(session, place.context)) if before is None else before.get("glued", False)
        if glued:
            return {"way": SWEEP, "glued": True}
        found = _syncrepl_from(session, place, csn)
        if found:
            return {"way": SYNCREPL, "csn": found}
    if has_version:
        return {"way": SWEEP}
    raise ReadFully("the contextCSN and the entryCSN of '%s' cannot be read" % place.context)


def _context_csn(session: Any, place: Place) -> tuple[list[str], bool]:
    """Return the contextCSN of the naming context, and whether its entryCSN can be read."""
    for _dn, entry, _raw in list(
        search(session, place.context, "base", "(objectClass=*)", ("contextCSN", "entryCSN"), missing_ok=True)
    ):
        csn = sorted(value.decode("ascii", "replace") for value in entry.get("contextcsn", ()))
        return csn, bool(entry.get("entrycsn"))
    return [], False


def _syncrepl_from(session: Any, place: Place, csn: list[str]) -> list[str]:
    """Return the contextCSN from which on the server tells what changes; empty if it does not do so.

    Nothing may stay newer than the contextCSN, but what somebody is just writing. What does so has a contextCSN of its
    own: see `glued_below`.
    """
    for seconds in _PATIENCE:
        time.sleep(seconds)
        if seconds:
            csn, _has_version = _context_csn(session, place)
        answer = _ask(session, place, csn)
        if answer.problem:
            return []
        if not (answer.named or answer.gone):
            return csn
    raise ReadFully(
        "the server tells of changes that are newer than its contextCSN: its databases may be glued together"
    )


_PATIENCE = (0, 0.05, 0.1, 0.2, 0.4)  # seconds before each try

# RFC 4519, 3, and the classes by which a container or a domain is told: what the suffix of a database may be.
_SUFFIXES = "(|%s)" % "".join(
    "(objectClass=%s)" % name
    for name in ("organizationalUnit", "organization", "domain", "dcObject", "country", "locality", "container")
)


def glued_below(session: Any, context: str) -> dict[str, list[bytes]]:
    """Return the databases below the naming context that have a contextCSN of their own: suffix, in normal form, ->
    contextCSN, as it was when that was first asked. Raises ReadError.

    Such are glued together (`subordinate` in slapd.conf(5)). Unless the overlay glue is configured before syncprov, the
    upper contextCSN does not follow what changes in the lower one, and deletions there are not told if only the upper
    one has a syncprov-sessionlog (seen with slapd 2.5). Nothing tells which way they are configured.
    """
    if session.glued is None:
        found = search(session, context, "sub", _SUFFIXES, ("contextCSN",))
        with_csn = {normal_dn(dn_text(dn)): entry["contextcsn"] for dn, entry, _raw in found if entry.get("contextcsn")}
        with_csn.pop(normal_dn(context), None)
        session.glued = with_csn
    glued: dict[str, list[bytes]] = session.glued
    return glued


def _position_of_controller(session: Any, place: Place) -> dict[str, Any]:
    """Microsoft, "Polling for Changes Using USNChanged": a number means something on one controller only, and only
    until its database is restored, which gives it another invocationId.
    """
    settings = session.root_dse.get("dsservicename")
    if not settings:
        raise ReadFully("the domain controller does not say which it is (dsServiceName)")
    root = list(search(session, "", "base", "(objectClass=*)", ("highestCommittedUSN",)))
    found = list(search(session, dn_text(settings[0]), "base", "(objectClass=*)", ("invocationId",), missing_ok=True))
    if not root or "highestcommittedusn" not in root[0][1] or not found or "invocationid" not in found[0][1]:
        raise ReadFully("the highestCommittedUSN or the invocationId of the domain controller cannot be read")
    return {
        "way": USN if _shows_deleted(session, place) else SWEEP,
        "usn": int(root[0][1]["highestcommittedusn"][0]),
        "invocation": found[0][1]["invocationid"][0].hex(),
    }


def _shows_deleted(session: Any, place: Place) -> bool:
    """Return whether the account sees who was deleted: it may see the container of theirs, and nobody in it."""
    controls = _show_deleted(session)
    return bool(controls) and finds_any(
        session, place.context, "sub", "(&(isDeleted=TRUE)(objectClass=*)(!(objectClass=container)))", controls
    )


def _show_deleted(session: Any) -> tuple[bytes, ...]:
    """Return the control that shows most of what is deleted, of those that the server has."""
    supported = session.root_dse.get("supportedcontrol", ())
    return tuple(control(oid) for oid in (SHOW_RECYCLED, SHOW_DELETED) if oid.encode("ascii") in supported)[:1]


# --- what changed ----------------------------------------------------------------------------------------------------


def versions(session: Any, place: Place) -> bytes:
    """Return the versions of all entries in scope, in a fixed order: see `sweep` above."""
    version, *beside = _version_attributes(session, place)
    names = [name.lower() for name in (version, *beside)]
    found = []
    for identity, dn, entry in _swept(session, place):
        if version == _TIME and _is_fresh(entry[names[0]][0]):
            found.append(identity + os.urandom(_HASH))  # a version that it will not have the next time
        else:
            said = b"\0".join([value for name in names for value in sorted(entry.get(name, ()))])
            found.append(identity + hashlib.sha256(dn + b"\0" + said).digest()[:_HASH])
    return b"".join(sorted(found))


def prove(session: Any, place: Place) -> None:
    """Raise ReadFully unless the account sees the versions of all in scope, and of containers: who hides his is never
    told to have changed, where a filter asks for it (as OpenLDAP's syncprov does, in the name of the account).
    """
    for _entry in _swept(session, place, place.preset.is_container):
        pass


def since(
    session: Any,
    place: Place,
    before: dict[str, Any],
    now: dict[str, Any],
    versions_before: bytes,
    versions_now: bytes,
    known: Any,
) -> Changes:
    """Return what changed between two positions. Raises ReadFully where that cannot be told.

    ``known.keys()`` are the stable keys of all that are stored and in scope.
    """
    if before["way"] != now["way"]:
        raise ReadFully("the server tells changes in another way than at the last run")
    if now["way"] == SYNCREPL:
        return _by_syncrepl(session, place, before["csn"], now["csn"], known)
    if "usn" in now:
        if before["invocation"] != now["invocation"]:
            raise ReadFully("another domain controller answers, or it was restored from a backup (invocationId)")
        if now["usn"] < before["usn"]:
            raise ReadFully(
                "the numbers of the domain controller went backwards (highestCommittedUSN): it was restored"
            )
    if now["way"] == USN:
        return _by_usn(session, place, before["usn"], now["usn"])
    return _by_sweep(versions_before, versions_now, place)


# --- RFC 4533 --------------------------------------------------------------------------------------------------------


class _Answer:
    """What a server says in a refresh."""

    def __init__(self) -> None:
        self.changed: dict[str, str] = {}
        self.above: list[str] = []  # DNs of changed entries that have others below them
        self.named: set[bytes] = set()  # entryUUIDs of those that are there
        self.gone: set[bytes] = set()
        self.present = False  # whether who is not named is gone
        self.problem = ""  # raised at the end: an answer must be read to its end before anything else is asked


def _by_syncrepl(session: Any, place: Place, before: list[str], now: list[str], known: Any) -> Changes:
    if before == now:
        return Changes({}, set())
    _refuse_going_back(before, now)
    answer = _ask(session, place, before)
    if not answer.problem and len(answer.changed) > MANY:
        answer.problem = "more than %d entries changed, or the server does not know the mark" % MANY
    if answer.problem:
        raise ReadFully(answer.problem)
    if answer.present:
        answer.gone.update(map(_uuid_bytes, known.keys()))
    for dn in answer.above:
        _look_below(session, place, dn, answer.changed)
    return Changes(answer.changed, set(map(_uuid_text, answer.gone - answer.named)))


def _ask(session: Any, place: Place, csn: list[str]) -> _Answer:
    """Return what the server says to a cookie made of these contextCSN: nothing new, where they are the present."""
    answer = _Answer()
    session.asked.add("hassubordinates")
    cookie = ("rid=000,csn=%s" % ";".join(csn)).encode("ascii", "replace")
    operation = search_operation(place.context, "sub", "(objectClass=*)", ("hasSubordinates",))
    for tag, encoded, controls in _answers(session, operation, sync_control(cookie)):
        if tag == ENTRY:
            _take_entry(session, answer, encoded, controls)
        elif tag == INTERMEDIATE:
            kind, flag, identities = sync_info(encoded)
            (answer.gone if flag else answer.named).update(identities if kind == "ids" else ())
            answer.present = answer.present or kind == "present"
        elif tag == DONE:
            _take_end(answer, encoded, controls)
    return answer


def _answers(session: Any, operation: bytes, asking: bytes) -> Iterator[tuple[int, bytes, dict[str, bytes]]]:
    """Yield all answers to a search with such a control; to be read to the end."""
    session.unusable = "another search is not read to its end"
    for came, answer in enumerate(session.channel.answers(session.channel.ask(operation, asking))):
        if came > _ENDLESS:
            raise ProtocolError(_NO_END)
        session.entries += answer[0] == ENTRY
        yield answer
    session.pages += 1
    session.unusable = ""


def _take_entry(session: Any, answer: _Answer, operation: bytes, controls: dict[str, bytes]) -> None:
    if SYNC_STATE not in controls:
        answer.problem = "the server answered without saying what happened to an entry (RFC 4533, 2.3)"
        return
    state, identity = sync_state(controls[SYNC_STATE])
    if len(identity) != _UUID:
        answer.problem = "the server sent an entryUUID of %d bytes" % len(identity)
    elif state == _DELETED:
        answer.gone.add(identity)
    else:
        answer.named.add(identity)
        if state != _PRESENT and len(answer.changed) <= MANY:
            dn, entry, _raw = decode_entry(operation, session.names)
            if not is_dn(dn):
                answer.problem = "the server sent a DN that is none"
                return
            answer.changed[_uuid_text(identity)] = dn_text(dn)
            if entry.get("hassubordinates", [b""])[0].upper() != b"FALSE":  # it may have, if that cannot be read
                answer.above.append(dn_text(dn))


def _take_end(answer: _Answer, operation: bytes, controls: dict[str, bytes]) -> None:
    result = decode_done(operation, controls)
    if result.code:
        answer.problem = (
            "the server says that the mark of the last run is stale"
            if result.code == _STALE
            else "the server cannot tell what changed since the last run (%s)" % result
        )
    elif SYNC_DONE not in controls:
        answer.problem = "the server did not say how its answer ends (RFC 4533, 2.4)"
    else:  # RFC 4533, 3.3: unless it deletes by name, whoever was not named is gone
        answer.present = answer.present or not sync_done(controls[SYNC_DONE])[1]


def _refuse_going_back(before: list[str], now: list[str]) -> None:
    """A CSN is a time, a count, the number of the server that wrote it, and another count, with '#' between them."""
    then, later = _by_server(before), _by_server(now)
    for server, csn in then.items():
        if later.get(server, "") < csn:
            raise ReadFully(
                "what the server has (contextCSN) is older than at the last run: it was restored, or it is another one"
            )


def _by_server(csns: Iterable[str]) -> dict[str, str]:
    return {(csn.split("#") + ["", "", ""])[2]: csn for csn in csns}


def _look_below(session: Any, place: Place, dn: str, changed: dict[str, str]) -> None:
    """Count as changed who lies below a container that changed: where it was moved, they were, and nothing says so."""
    if normal_dn(dn) == normal_dn(place.context):  # which can move nowhere
        return
    try:
        changed.update(_keys_below(session, place, dn))
    except NoSuchEntry:
        raise ReadFully("a container was moved while it was read") from None
    if len(changed) > MANY:
        raise ReadFully("more than %d entries lie below containers that changed" % MANY)


def _keys_below(session: Any, place: Place, dn: str) -> Iterator[tuple[str, str]]:
    preset = place.preset
    tests = "(|%s%s)" % (preset.is_user, preset.is_group)
    for raw_dn, entry, _raw in search(session, dn, "sub", tests, (preset.user_key,)):
        for key in keys_of(entry, preset.user_key):
            yield key, dn_text(raw_dn)


# --- Active Directory ------------------------------------------------------------------------------------------------


def _by_usn(session: Any, place: Place, before: int, now: int) -> Changes:
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
        session, place.context, "sub", "(&(isDeleted=TRUE)%s)" % since_then, (key,), controls=_show_deleted(session)
    ):
        keys = keys_of(entry, key)
        if not keys:
            problem = "the %s of somebody who was deleted cannot be read" % key
        gone.update(keys)
    if problem:
        raise ReadFully(problem)
    for dn in above:
        _look_below(session, place, dn, changed)
    return Changes(changed, gone)


# --- Active Directory's lists, value by value ------------------------------------------------------------------------

_NOBODY = "(!(objectClass=*))"


def lists_since(session: Any, place: Place, cookie: bytes) -> tuple[bytes, dict[str, ListChange]]:
    """Return a cookie for the next time, and what came to lists and left them since this one: stable key -> change.

    An empty cookie asks for another only. An empty one is returned where the server tells nothing of that sort: then
    lists are read whole. Who is not told of may have changed nevertheless.
    """
    lists: dict[str, ListChange] = {}
    if DIR_SYNC.encode("ascii") not in session.root_dse.get("supportedcontrol", ()):
        return b"", lists
    operation = search_operation(place.context, "sub", place.preset.is_group if cookie else _NOBODY, ())
    names: dict[bytes, str] = {}  # apart: it sends more than it is asked for
    for _part in range(_ENDLESS):
        told: dict[str, bytes] = {}
        for tag, encoded, controls in _answers(session, operation, dir_sync_control(cookie)):
            if tag == ENTRY:
                _take_list(place.preset, decode_entry(encoded, names)[1], lists)
            elif tag == DONE and decode_done(encoded, controls).code == 0:
                told = controls
        if DIR_SYNC not in told:
            return b"", {}
        more, cookie = dir_sync_answer(told[DIR_SYNC])
        if not more:
            return cookie, {key: change for key, change in lists.items() if not change.whole}
    raise ProtocolError(_NO_END)


def _take_list(preset: Preset, entry: Entry, lists: dict[str, ListChange]) -> None:
    """Values that are there come as those of the range 1-1, values that are gone as those of the range 0-0."""
    for key in keys_of(entry, preset.group_key):
        change = lists.setdefault(key, ListChange(set(), set(), set()))
        for attribute in preset.group_members:
            change.whole.update(entry.get(attribute.lower(), ()))
            came = entry.get("%s;range=1-1" % attribute.lower(), ())
            gone = entry.get("%s;range=0-0" % attribute.lower(), ())
            change.added.difference_update(gone)
            change.removed.difference_update(came)
            change.added.update(came)
            change.removed.update(gone)


# --- key, DN and version of everything -------------------------------------------------------------------------------


def _by_sweep(before: bytes, now: bytes, place: Place) -> Changes:
    key = place.preset.user_key
    only_before, only_now = _differences(before, now)
    if len(only_now) > MANY:
        raise ReadFully("more than %d entries changed" % MANY)
    # Who lies outside of what is selected is known by the last run, but its versions may not be.
    missing = {each[:_UUID] for each in only_before}.union(_uuid_bytes(each, key) for each in place.outside)
    gone = {identity for identity in missing if not _is_among(now, identity)}
    return Changes({_uuid_text(each[:_UUID], key): "" for each in only_now}, {_uuid_text(each, key) for each in gone})


def _differences(one: bytes, other: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the versions that are only in the one, and only in the other; both are in order."""
    only_one, only_other = [], []
    at_one = at_other = 0
    while at_one < len(one) or at_other < len(other):
        if one[at_one : at_one + _MANY_VERSIONS] == other[at_other : at_other + _MANY_VERSIONS]:
            at_one += _MANY_VERSIONS
            at_other += _MANY_VERSIONS
            continue
        mine, theirs = one[at_one : at_one + _VERSION], other[at_other : at_other + _VERSION]
        if not theirs or mine and mine < theirs:
            only_one.append(mine)
            at_one += _VERSION
        elif not mine or theirs < mine:
            only_other.append(theirs)
            at_other += _VERSION
        else:
            at_one += _VERSION
            at_other += _VERSION
    return only_one, only_other


def _is_among(versions_in_order: bytes, identity: bytes) -> bool:
    low, high = 0, len(versions_in_order) // _VERSION
    while low < high:
        middle = (low + high) // 2
        if versions_in_order[middle * _VERSION : middle * _VERSION + _UUID] < identity:
            low = middle + 1
        else:
            high = middle
    return versions_in_order[low * _VERSION : low * _VERSION + _UUID] == identity


def _swept(session: Any, place: Place, also: str = "") -> Iterator[tuple[bytes, bytes, Entry]]:
    """Yield (key, DN, entry) of all in scope, with what makes their versions. Raises ReadFully at the end, unless each
    has one that can be read.
    """
    preset = place.preset
    attributes = _version_attributes(session, place)
    tests = "(|%s%s%s)" % (preset.user_filter, preset.group_filter, also)
    key_name, version_name = preset.user_key.lower(), attributes[0].lower()
    unreadable = ""
    for base, filter in _searches(place, tests):
        for dn, entry, _raw in search(session, base, "sub", filter, (preset.user_key, *attributes)):
            keys = keys_of(entry, key_name)
            identity = _identity(keys[0], key_name) if len(keys) == len(entry.get(key_name, ())) == 1 else None
            if identity is None or version_name not in entry:
                unreadable = unreadable or dn_text(dn)
            else:
                yield identity, dn, entry
    if unreadable:
        raise ReadFully("the %s or the %s of '%s' cannot be read" % (preset.user_key, attributes[0], unreadable))


_TIME = "modifyTimestamp"
# What may change without it, beside what disables a user, which may be in no entry, but made of roles while it is read.
# Where the plugin USN of 389 Directory Server is on, this number is another one after each write, also after one that
# another server took earlier and that comes late.
_BESIDE_TIME = ("entryUSN",)


def _version_attributes(session: Any, place: Place) -> tuple[str, ...]:
    """Return the attribute that is another one after each change of an entry, a rename included, and what else may say
    so.
    """
    if place.preset.directory_type == "active_directory":
        return ("uSNChanged",)
    kinds = {value.lower() for value in session.root_dse.get("objectclass", ())}
    return ("entryCSN",) if b"openldaprootdse" in kinds else (_TIME, *_BESIDE_TIME, *place.preset.state)


def _shows_times(session: Any, place: Place) -> bool:
    """Return whether the account sees when anybody was changed, which many may not in 389 Directory Server."""
    tests = "(&(|%s%s)(%s=*))" % (place.preset.user_filter, place.preset.group_filter, _TIME)
    return any(finds_any(session, base, "sub", tests) for base in place.roots.values())


def _is_fresh(value: bytes) -> bool:
    try:
        return generalized_time_seconds(value) > time.time() - _FRESH
    except ValueError:
        return True


def _searches(place: Place, tests: str) -> Iterator[tuple[str, str]]:
    for base in place.roots.values():
        yield base, tests
    for batch in batches(sorted(place.outside)):
        yield place.context, "(&%s%s)" % (tests, any_of(place.preset.user_key, batch))


# How many hexadecimal digits stand between hyphens: in a UUID (RFC 4122, 3), and as 389 Directory Server has it.
_SPELLING, _SPELLINGS = (8, 4, 4, 4, 12), {"nsuniqueid": (8, 8, 8, 8)}
_SPELT = {
    attribute: re.compile("-".join("[0-9a-f]{%d}" % size for size in sizes))
    for attribute, sizes in {"": _SPELLING, **_SPELLINGS}.items()
}


def _uuid_text(identity: bytes, attribute: str = "") -> str:
    digits, parts = identity.hex(), []
    for size in _SPELLINGS.get(attribute.lower(), _SPELLING):
        parts.append(digits[:size])
        digits = digits[size:]
    return "-".join(parts)


def _identity(key: str, attribute: str = "") -> bytes | None:
    """Return the bytes of a UUID in the usual spelling of such keys; None of any other text."""
    spelt = _SPELT.get(attribute.lower(), _SPELT[""])
    return bytes.fromhex(key.replace("-", "")) if spelt.fullmatch(key) else None


def _uuid_bytes(key: str, attribute: str = "") -> bytes:
    identity = _identity(key, attribute)
    if identity is None:
        raise ReadFully("the stable key '%s' is no UUID" % key)
    return identity
