# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""OpenLDAP with the overlay syncprov: RFC 4533, refreshOnly, with a cookie made of contextCSN.

It tells of entryUUIDs, so that they must be the keys.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from ..._mark import Synchronized
from ..distinguished_names import dn_text, is_dn, normal_dn
from ..requests import SYNC_DONE, SYNC_STATE, search_operation, sync_control, sync_done, sync_info, sync_state
from ..search import MISSING_OK, search
from ..wire import DONE, ENTRY, INTERMEDIATE, decode_done, decode_entry
from .common import MANY, Changes, ReadFully, Where, answers, look_below
from .keys import UUID, uuid_bytes, uuid_text

KEY = "entryuuid"  # RFC 4533, 2.1: by which it tells of entries, whatever their preset has for a key
_PRESENT, _DELETED = 0, 3  # states in a sync state control, RFC 4533, 2.3
_STALE = 4096  # e-syncRefreshRequired, RFC 4533, 2.6

_PATIENCE = (0, 0.05, 0.1, 0.2, 0.4)  # seconds before each try

# RFC 4519, 3, and the classes by which a container or a domain is told: what the suffix of a database may be.
_SUFFIXES = "(|%s)" % "".join(
    "(objectClass=%s)" % name
    for name in ("organizationalUnit", "organization", "domain", "dcObject", "country", "locality", "container")
)


def context_csn(session: Any, place: Where) -> tuple[list[str], bool]:
    """Return the contextCSN of the naming context, and whether its entryCSN can be read."""
    for _dn, entry, _raw in list(
        search(session, place.context, "base", "(objectClass=*)", ("contextCSN", "entryCSN"), MISSING_OK)
    ):
        csn = sorted(value.decode("ascii", "replace") for value in entry.get("contextcsn", ()))
        return csn, bool(entry.get("entrycsn"))
    return [], False


def told_from(session: Any, place: Where, csn: list[str]) -> Synchronized | None:
    """Return from which contextCSN on the server tells what changes; None if it does not do so.

    Nothing may stay newer than the contextCSN, but what somebody is just writing. What does so has a contextCSN of its
    own: see `glued_below`.
    """
    for seconds in _PATIENCE:
        time.sleep(seconds)
        if seconds:
            csn, _has_version = context_csn(session, place)
        answer = _ask(session, place, csn)
        if answer.problem:
            return None
        if not (answer.named or answer.gone):
            return Synchronized(tuple(csn))
    raise ReadFully(
        "the server tells of changes that are newer than its contextCSN: its databases may be glued together"
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


class _Answer:
    """What a server says in a refresh."""

    def __init__(self) -> None:
        self.changed: dict[str, str] = {}
        self.above: list[str] = []  # DNs of changed entries that have others below them
        self.named: set[bytes] = set()  # entryUUIDs of those that are there
        self.gone: set[bytes] = set()
        self.present = False  # whether who is not named is gone
        self.problem = ""  # raised at the end: an answer must be read to its end before anything else is asked


def changed_since(session: Any, place: Where, before: Sequence[str], now: Sequence[str], known: Any) -> Changes:
    """Return what changed between two contextCSN. ``known.keys()`` are those of all that are stored and in scope."""
    if before == now:
        return Changes({}, set())
    _refuse_going_back(before, now)
    answer = _ask(session, place, before)
    if not answer.problem and len(answer.changed) > MANY:
        answer.problem = "more than %d entries changed, or the server does not know the mark" % MANY
    if answer.problem:
        raise ReadFully(answer.problem)
    if answer.present:
        answer.gone.update(map(uuid_bytes, known.keys()))
    for dn in answer.above:
        look_below(session, place, dn, answer.changed)
    return Changes(answer.changed, set(map(uuid_text, answer.gone - answer.named)))


def _ask(session: Any, place: Where, csn: Sequence[str]) -> _Answer:
    """Return what the server says to a cookie made of these contextCSN: nothing new, where they are the present."""
    answer = _Answer()
    session.asked.add("hassubordinates")
    cookie = ("rid=000,csn=%s" % ";".join(csn)).encode("ascii", "replace")
    operation = search_operation(place.context, "sub", "(objectClass=*)", ("hasSubordinates",))
    for tag, encoded, controls in answers(session, operation, sync_control(cookie)):
        if tag == ENTRY:
            _take_entry(session, answer, encoded, controls)
        elif tag == INTERMEDIATE:
            kind, flag, identities = sync_info(encoded)
            (answer.gone if flag else answer.named).update(identities if kind == "ids" else ())
            answer.present = answer.present or kind == "present"
        elif tag == DONE:
            _take_end(answer, encoded, controls)
    return answer


def _take_entry(session: Any, answer: _Answer, operation: bytes, controls: dict[str, bytes]) -> None:
    if SYNC_STATE not in controls:
        answer.problem = "the server answered without saying what happened to an entry (RFC 4533, 2.3)"
        return
    state, identity = sync_state(controls[SYNC_STATE])
    if len(identity) != UUID:
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
            answer.changed[uuid_text(identity)] = dn_text(dn)
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


def _refuse_going_back(before: Sequence[str], now: Sequence[str]) -> None:
    """A CSN is a time, a count, the number of the server that wrote it, and another count, with '#' between them."""
    then, later = _by_server(before), _by_server(now)
    for server, csn in then.items():
        if later.get(server, "") < csn:
            raise ReadFully(
                "what the server has (contextCSN) is older than at the last run: it was restored, or it is another one"
            )


def _by_server(csns: Iterable[str]) -> dict[str, str]:
    return {(csn.split("#") + ["", "", ""])[2]: csn for csn in csns}
