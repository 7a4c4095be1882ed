# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Which server it is, and how far it is: a server is who it says it is, and not the name that leads to it.

One name may lead to several servers: an address that is shared, several A records, a server that was replaced or
restored from a backup. Replicas lag, and a restored server has lost what came after its backup. Neither may remove or
enable anybody (see `_plan/conclusions.py`).

Active Directory      who: dsServiceName. How far: highestCommittedUSN, by invocationId: a restore gives another one
OpenLDAP, replicated  who and how far: contextCSN of the suffix, for each server that writes the last change; and that
                      of each database that is glued below it and has one
389 Directory Server  who: netscapeMDSuffix of the root DSE. It does not say how far
others                they do not say: then the name counts

Example: the last run read `20261129100000.000000Z#000000#001#000000`. A server that says `20261129090000...#001...` has
not got what happened since nine o'clock: it lags, or it was restored. A server that says a later time has all that the
last one had, whatever its name is: nothing that it lacks has to be doubted. One that says nothing any more may be a
replica that is being made: OpenLDAP gives it a contextCSN when it has all.
"""

from __future__ import annotations

from typing import Any

from .._mark import NONE_LEFT, Mark, Synchronized, Unmarked
from .._model import Doubt, LastRun, Standing
from .changes.syncrepl import glued_below
from .distinguished_names import dn_text
from .search import MISSING_OK, ReadError, search

_MOST_WRITERS = 100  # that are remembered: a domain has a new invocationId after each restore

# What the writers of a contextCSN are called by here; those of Active Directory by their invocationId. If it is that of
# a database below, a blank and its suffix follow.
_CSN = "csn "


# --- what a server says ----------------------------------------------------------------------------------------------


def standing(session: Any, context: str, mark: Mark | Unmarked = NONE_LEFT) -> Standing:
    """Return which server this is and how far it is. To be called before anything else is read.

    ``context`` is the DN of the naming context; ``mark`` that of the last run. What cannot be read is left out.
    """
    root = session.root_dse
    if "dsservicename" in root:
        return _of_controller(session, dn_text(root["dsservicename"][0]))
    if "netscapemdsuffix" in root:
        return Standing(root["netscapemdsuffix"][0].decode("utf-8", "replace"))
    csns = _values(session, context, "contextCSN")
    reached = _by_writer(csns)
    # It is a look at each container, for which a run that goes on by content synchronization need not wait: the read of
    # everything that it goes on from has found that there is one contextCSN.
    if csns and not (isinstance(mark, Mark) and isinstance(mark.reached.point, Synchronized)):
        try:
            for suffix, lower in sorted(glued_below(session, context).items()):
                reached.update(_by_writer(lower, " " + suffix))
        except ReadError:
            if session.unusable:
                raise
    return Standing("", reached)


def _by_writer(csns: list[bytes], database: str = "") -> dict[str, str]:
    texts = [value.decode("ascii", "replace") for value in csns]
    return {_CSN + _writer(csn) + database: csn for csn in texts}


def _of_controller(session: Any, service: str) -> Standing:
    """MS-ADTS 3.1.1.3.2: a USN counts for one controller, and for one life of its database, the invocationId."""
    lives = _values(session, service, "invocationId")
    numbers = session.root_dse.get("highestcommittedusn", ())
    if not lives or not numbers or not numbers[0].isdigit():
        return Standing(service)
    return Standing(service, {lives[0].hex(): numbers[0].decode("ascii")})


def _writer(csn: str) -> str:
    """A CSN is a time, a count, the number of the server that wrote it, and another count, with '#' between them."""
    return (csn.split("#") + ["", "", ""])[2]


def _values(session: Any, dn: str, attribute: str) -> list[bytes]:
    try:
        found = list(search(session, dn, "base", "(objectClass=*)", (attribute,), MISSING_OK))
    except ReadError:
        if session.unusable:
            raise
        return []
    return found[0][1].get(attribute.lower(), []) if found else []


# --- what that means -------------------------------------------------------------------------------------------------


def doubt(last: LastRun, now: Standing, server: str) -> Doubt | None:
    """Return why this server is not to be believed; None if it has all that the server of the last run had, or is it.

    ``server`` is how it was addressed.
    """
    if not last.server:  # there was no last run
        return None
    before, tells_all = last.standing, _tells_all(now)
    told = [each for each in before.reached.items() if each[0] in now.reached or not _is_of_one_below(each[0])]
    if any(_is_earlier(now.reached.get(writer), number, tells_all) for writer, number in told):
        return Doubt("%s lags, or was restored: the last run read changes that it does not have" % server, False)
    if tells_all and _tells_all(before):
        return None
    if _tells_all(before) and not (now.server or now.reached) and last.server == server:
        return Doubt("%s does not say any more how far it is, and may lag" % server, True)
    if before.server and now.server:
        if before.server != now.server:
            return _another(last, server)
        if now.reached and before.reached and not now.reached.keys() & before.reached.keys():
            return Doubt("%s was restored since the last run" % server, True)
        return None
    return None if last.server == server else _another(last, server)


def _another(last: LastRun, server: str) -> Doubt:
    if last.server == server:
        return Doubt("%s leads to another server than at the last run, and that one may lag" % server, True)
    return Doubt("the last run read %s and this one read %s, which may lag" % (last.server, server), True)


def _tells_all(standing: Standing) -> bool:
    """Return whether it says how far it is for all servers that write, and not for itself alone."""
    return any(writer.startswith(_CSN) for writer in standing.reached)


def _is_of_one_below(writer: str) -> bool:
    """Return whether it is of a database that is glued below the suffix: they come and go, and are not always asked."""
    return writer.startswith(_CSN) and " " in writer[len(_CSN) :]


def _is_earlier(number: str | None, before: str, tells_all: bool = True) -> bool:
    if before.isdigit():  # a USN: nothing can be said of another controller's
        return number is not None and int(number) < int(before)
    return tells_all and (number or "") < before


def remembered(before: Standing, now: Standing, believed: bool) -> Standing:
    """Return what the next run compares with: how far any server was that was read, so that one that lags cannot come
    to be the measure. ``believed``: somebody has approved what this server says.
    """
    reached = dict(now.reached)
    if not believed:
        reached = {**before.reached, **reached}
        reached.update((each, number) for each, number in before.reached.items() if _is_earlier(reached[each], number))
    return Standing(now.server, dict(list(reached.items())[-_MOST_WRITERS:]))
