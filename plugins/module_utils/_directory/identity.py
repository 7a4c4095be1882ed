# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Which directory this is: its naming context, and what it is known by.

Active Directory is known by the SID of its domain, any other directory by its suffix and the stable key of that entry.
One synchronization is bound to one directory, and reads one naming context of it. Example: a server has
`dc=example,dc=org` and `o=lab`. With `distinguished_name: ou=people,dc=example,dc=org` the first one is read. Without
it nothing tells which one is meant.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Sequence
from typing import Any

from .._errors import SynchronizationError
from .._model import Directory
from .changes.common import ReadFully, attempt
from .connection import Session
from .distinguished_names import dn_is_within, dn_parent, dn_text, looks_like_several, normal_dn, parse_dn
from .presets import Preset
from .search import MISSING_OK, ReadError, search
from .stable_keys import keys_of
from .values import sid_text

# Naming contexts that hold no people.
NO_PEOPLE = (
    "cn=config",
    "cn=monitor",
    "cn=accesslog",
    "cn=changelog",
    "cn=deltalog",
    "cn=authdata",
    "cn=schema",
    "cn=subschema",
    "o=ipaca",
    "o=netscaperoot",
)


def naming_context(settings: Any, session: Session, preset: Preset) -> str:
    """Return the DN of the naming context that is read: one, since one synchronization is bound to one.

    `settings` has distinguished_name. Raises SynchronizationError when the options leave open which one it is.
    """
    root = session.root_dse
    default = [value.decode("utf-8") for value in root.get("defaultnamingcontext", ())]
    # 389 Directory Server calls its first database the default one: that may be its changelog.
    default = [text for text in default if not normal_dn(text).startswith(NO_PEOPLE)]
    if preset.directory_type == "active_directory":
        if not default:
            raise ReadError("server: it does not say which domain it serves (defaultNamingContext): name another one")
        return default[0]
    contexts = {normal_dn(text): text for text in (value.decode("utf-8") for value in root.get("namingcontexts", ()))}
    if settings.distinguished_name:
        selected = settings.distinguished_name
        if not contexts:
            contexts = _highest_seen(session, selected)
        chosen = {_context_of(session, dn, contexts, selected) for dn in selected}
        if len(chosen) > 1:
            raise SynchronizationError(
                "distinguished_name: the DNs lie in several naming contexts (%s): make one synchronization for each"
                % ", ".join("'%s'" % contexts[context] for context in sorted(chosen))
            )
        return contexts[chosen.pop()]
    if default:
        return default[0]
    people = sorted(context for context in contexts if context and not context.startswith(NO_PEOPLE))
    if len(people) != 1:
        raise SynchronizationError(
            "distinguished_name: the server has %s: name what is to be read"
            % (
                "several naming contexts (%s)" % ", ".join("'%s'" % contexts[context] for context in people)
                if people
                else "no naming context that this login can see"
            )
        )
    return contexts[people[0]]


def _highest_seen(session: Session, dns: Sequence[str]) -> dict[str, str]:
    """Return, for a server that does not say which trees it has, the highest entries above these DNs that the account
    sees: normal DN -> DN, as the server spells it.

    Example: of `ou=people,dc=example,dc=org` it is `dc=example,dc=org`, if the server has that and nothing above.
    """
    highest: dict[str, str] = {}
    not_read, referred = list(session.not_read), dict(session.referred)
    for dn in dns:
        above = [dn]
        while dn_parent(above[-1]):
            above.append(dn_parent(above[-1]))
        for each in reversed(above):
            with contextlib.suppress(ReadFully):  # the account may not look there
                found = attempt(session, functools.partial(_as_the_server_spells, session, each))
                if found:
                    highest[normal_dn(found)] = found
                    break
        else:
            raise SynchronizationError(
                "distinguished_name: '%s' does not exist in the directory, or the account cannot read it: correct or "
                "remove it%s" % (dn, if_cut(dns))
            )
    session.not_read[:], session.referred = not_read, referred  # who has what lies above does not matter
    return highest


def _as_the_server_spells(session: Session, dn: str) -> str:
    """Return a DN as the server spells it; empty if there is no such entry."""
    found = list(search(session, dn, "base", "(objectClass=*)", ("1.1",), MISSING_OK))
    return dn_text(found[0][0]) if found else ""


def if_cut(dns: Sequence[str]) -> str:
    """Return what to add where a DN is not found: several single RDNs are what one leaves that is cut at its commas."""
    cut = len(dns) > 1 and all(len(parse_dn(dn)) == 1 for dn in dns)
    return "; a DN with commas is one string, not a list" if cut else ""


def if_several(dn: str, contexts: Iterable[str]) -> str:
    """Return what to add where a DN is not found that looks like two; ``contexts`` are in normal form."""
    several = any(looks_like_several(normal_dn(dn), context) for context in contexts)
    return "; if these are several DNs, write each as an item of a list" if several else ""


def _context_of(session: Session, dn: str, contexts: dict[str, str], dns: Sequence[str]) -> str:
    """Return the longest naming context, in normal form, that the DN lies in, as it is written or as the server spells
    it: `domainComponent=org` is `dc=org` to a server.
    """
    within = [context for context in contexts if dn_is_within(normal_dn(dn), context)]
    spelled = "" if within else _as_the_server_spells(session, dn)
    if spelled:
        within = [context for context in contexts if dn_is_within(normal_dn(spelled), context)]
    if not within:
        raise SynchronizationError(
            "distinguished_name: '%s' lies in none of the server's naming contexts (%s): "
            "correct it%s"
            % (dn, ", ".join("'%s'" % text for text in contexts.values()), if_cut(dns) or if_several(dn, contexts))
        )
    return max(within, key=len)


def identify(settings: Any, session: Session, preset: Preset) -> Directory:
    """Return who the directory is: the domain's SID, or the suffix and its stable key where that can be read."""
    context = naming_context(settings, session, preset)
    if preset.directory_type == "active_directory":
        for _dn, entry, _raw in list(search(session, context, "base", "(objectClass=*)", ("objectSid",), MISSING_OK)):
            if "objectsid" in entry:
                return Directory(sid_text(entry["objectsid"][0]), preset.directory_type)
        raise ReadError(
            "%s: the objectSid of the domain '%s' cannot be read: give the account the right to read it"
            % (session.account_option, context)
        )
    identity = normal_dn(context)
    attribute = preset.container_key
    # Where the schema is, each entry says as well (RFC 4512, 4.2), and a root DSE that is hidden does not.
    asked_for = (attribute,) if "subschemasubentry" in session.root_dse else (attribute, "subschemaSubentry")
    for _dn, entry, _raw in list(search(session, context, "base", "(objectClass=*)", asked_for, MISSING_OK)):
        session.root_dse.setdefault("subschemasubentry", entry.get("subschemasubentry", []))
        for key in keys_of(entry, attribute)[:1]:
            identity += "#" + key
    return Directory(identity, preset.directory_type)


def same_directory(one: str, other: str) -> bool:
    """Return whether two identities are of one directory; a suffix whose key could not be read goes by its DN."""
    suffix, dummy, key = one.partition("#")
    other_suffix, dummy, other_key = other.partition("#")
    return suffix == other_suffix and (key == other_key or not key or not other_key)
