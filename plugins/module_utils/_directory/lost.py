# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Who is stored and did not come: is he gone, is he out of scope, or does nothing prove either?

That a search did not find somebody proves nothing by itself. So who seems lost is looked for in these ways:

1. By his key, in the whole directory.
2. By the DN that he had, if the key found nobody. A base search looks at the entry itself. Any other search asks an
   index, and one that was added and not built answers with nothing (OpenLDAP, slapindex(8); 389 Directory Server,
   db2index). Whom neither finds is *gone*.
3. Who is found is *out of scope* only if the filter does not match him, or if nothing selects him: a base search with
   the filter tells. Example: the index of objectClass lacks ann. A search for (objectClass=inetOrgPerson) does not find
   her, a base search at her DN does: the read is not complete.
4. Who is gone, and lay below an entry that stands for another server (a referral, RFC 3296), is not lost: he is on that
   server. Example: ou=sales becomes a referral, and bob lay there. The read is not complete.

What is not proven raises ReadError, and then there is no snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from .._model import GONE, OUT_OF_SCOPE, Place
from .._named_tuple import NamedTuple
from .distinguished_names import dn_is_within, dn_text, normal_dn, url_dn, url_server
from .filters import attributes_that_select
from .owners import Owners
from .presets import Entry
from .requests import control
from .scope import Scope
from .search import AS_USUAL, MANAGE_DSA_IT, MISSING_OK, How, NoSuchEntry, ReadError, batches, search
from .source import Source
from .stable_keys import any_of, keys_of

There = tuple[bytes, Entry]  # DN, values


def look_up(
    scope: Scope,
    owners: Owners,
    missing: Sequence[str],
    kinds: Sequence[tuple[str, str]],
    is_selected: Callable[[str, bytes, Entry], bool],
) -> dict[str, str]:
    """Return {stable key: GONE or OUT_OF_SCOPE} of who is stored and did not come.

    ``kinds`` are the attribute of the key, and the filter by which entries of that kind were read, or NOT_READ;
    ``is_selected`` tells of a key, a DN and an entry whether it should have come, if the filter matches it. Raises
    ReadError if nothing proves the answer.
    """
    reasons = {key: GONE for key in missing if key.startswith("name:")}
    lost = sorted(key for key in missing if key not in reasons)
    if not lost:
        return reasons
    search_for = _Search(scope.source, owners, list(dict.fromkeys(attribute for attribute, _filter in kinds)))
    found = search_for.by_key(lost)
    gone = [key for key in lost if key not in found]
    dns = owners.stored.dns(gone) if gone else {}
    found.update(search_for.by_dn({key: dns[key] for key in gone if dns.get(key)}))
    selected = {key: each for key, each in found.items() if is_selected(key, *each)}
    _refuse_unseen(search_for, selected, [filter for _attribute, filter in kinds if filter], is_selected)
    reasons.update(dict.fromkeys(found, OUT_OF_SCOPE))
    reasons.update(_reasons_of_gone(scope, [key for key in gone if key not in found], dns))
    return {key: reasons[key] for key in sorted(reasons)}


class _Search(NamedTuple):
    """Looks for entries that have one of the attributes as their stable key."""

    source: Source
    owners: Owners
    keys: list[str]

    def by_key(self, lost: Sequence[str]) -> dict[str, There]:
        found: dict[str, There] = {}
        for batch in batches(lost):
            tests = "(|%s)" % "".join(any_of(attribute, batch) for attribute in self.keys)
            for dn, entry, _raw in search(
                self.source.session,
                self.source.context,
                "sub",
                tests,
                attributes_that_select(self.source.preset, self.keys),
            ):
                for key in set(batch).intersection(keys_of(entry, *self.keys)):
                    if self.owners.named.get(dn, key) == key:  # else it is somebody else's, whatever key it has
                        found[key] = dn, entry
        return found

    def by_dn(self, dns: dict[str, str]) -> dict[str, There]:
        return {
            key: (dn, entry)
            for key, its_dn in dns.items()
            for dn, entry in self.at(its_dn, "(objectClass=*)", MISSING_OK)
            if key in keys_of(entry, *self.keys)
        }

    def at(self, dn: str, filter: str, how: How = AS_USUAL) -> list[There]:
        attributes = attributes_that_select(self.source.preset, self.keys)
        found = search(self.source.session, dn, "base", filter, attributes, how)
        return [(dn, entry) for dn, entry, _raw in found]


# --- who is there, and did not come ----------------------------------------------------------------------------------


def _refuse_unseen(
    search_for: _Search,
    selected: dict[str, There],
    filters: Sequence[str],
    is_selected: Callable[[str, bytes, Entry], bool],
) -> None:
    """Raise ReadError if one of the filters matches anybody who is selected: the server kept him back, or he moved."""
    source = search_for.source
    if not filters:
        return
    either = filters[0] if len(filters) == 1 else "(|%s)" % "".join(filters)
    # First where he is now, which is few searches and sees who moves about; then each entry itself.
    for batch in batches(sorted(selected)):
        tests = "(|%s)" % "".join(any_of(attribute, batch) for attribute in search_for.keys)
        for dn, entry, _raw in search(
            source.session,
            source.context,
            "sub",
            "(&%s%s)" % (either, tests),
            attributes_that_select(source.preset, search_for.keys),
        ):
            for key in keys_of(entry, *search_for.keys):
                if key in batch and search_for.owners.named.get(dn, key) == key and is_selected(key, dn, entry):
                    raise _not_seen(dn)
    for key, (dn, _entry) in sorted(selected.items()):
        try:
            matches = search_for.at(dn_text(dn), either)
        except NoSuchEntry:
            raise _not_seen(dn) from None
        if any(key in keys_of(entry, *search_for.keys) for _dn, entry in matches):
            raise _not_seen(dn)


def _not_seen(dn: bytes) -> ReadError:
    return ReadError(
        "server: the read is not complete, since '%s' did not come although it is selected: run again, since it may "
        "have moved meanwhile; if that stays so, have the indexes of the server rebuilt" % dn_text(dn)
    )


# --- who may be on another server ------------------------------------------------------------------------------------


class _Elsewhere(NamedTuple):
    """What this server says of others."""

    places: dict[str, str]  # normal DN of an entry that stands for another server -> what the server said of it
    unknown: str  # a reference of which nothing tells where it lies; empty if there is none


# Parts of every forest of Active Directory that hold no people: its domain controllers refer to them in every search of
# a whole domain (MS-ADTS 6.1.1.1).
_NO_PEOPLE_THERE = ("cn=configuration,", "dc=domaindnszones,", "dc=forestdnszones,")


def not_followed(urls: Iterable[str], place: Place, context: str) -> list[str]:
    """Return the references to other servers that have, or may have, a part of what is selected: each server with each
    DN once.

    ``context`` is the naming context in normal form. A DN outside of it tells nothing of where the part lies here.
    """
    shown: dict[tuple[str, str], str] = {}
    for url in sorted(urls):
        dn = url_dn(url)
        if dn is not None and dn_is_within(dn, context):
            selected = any(dn_is_within(dn, root) or dn_is_within(root, dn) for root in place.roots)
            excluded = any(dn_is_within(dn, each) for each in place.excluded)
            if excluded or not selected or dn.startswith(_NO_PEOPLE_THERE):
                continue
        shown.setdefault((url_server(url), url if dn is None else dn), url.partition("?")[0])
    return sorted(shown.values())


def _reasons_of_gone(scope: Scope, gone: Sequence[str], dns: dict[str, str]) -> dict[str, str]:
    if not gone or not (scope.source.session.not_read or scope.source.session.referred):
        return dict.fromkeys(gone, GONE)
    elsewhere = _elsewhere(scope.source)
    reasons = {}
    for key in gone:
        dn = dns.get(key, "")
        normal = normal_dn(dn)
        place = next((place for place in elsewhere.places if dn and dn_is_within(normal, place)), None)
        said = elsewhere.unknown if place is None else elsewhere.places[place]
        excluded = bool(dn) and scope.is_excluded(normal)
        if said and not excluded:
            raise _not_here(dn or key, "" if place is None else place, said)
        reasons[key] = OUT_OF_SCOPE if said else GONE
    return reasons


def _elsewhere(source: Source) -> _Elsewhere:
    """Return where the entries lie that stand for other servers.

    A reference has the DN to go on with there, which need not be the DN of the entry here (RFC 4511, 4.5.3). In Active
    Directory it is. Other servers are asked for these entries themselves (RFC 3296, 3).
    """
    session = source.session
    places = {normal_dn(dn): said for dn, said in session.referred.items()}
    unknown = {}
    for url in session.not_read:
        below = url_dn(url)
        if below is None or not (source.is_active_directory or dn_is_within(below, source.context_normal)):
            unknown[url_server(url)] = url
        else:
            places.setdefault(below, url)
    if not source.is_active_directory and MANAGE_DSA_IT.encode("ascii") in session.root_dse.get("supportedcontrol", ()):
        for dn, entry, _raw in search(
            session,
            source.context,
            "sub",
            "(objectClass=referral)",
            ("ref",),
            How(missing_ok=True, controls=(control(MANAGE_DSA_IT),)),
        ):
            for value in entry.get("ref", ()):
                url = value.decode("utf-8", "replace")
                places.setdefault(normal_dn(dn_text(dn)), url)
                unknown.pop(url_server(url), None)
    return _Elsewhere(places, min(unknown.values(), default=""))


def _not_here(who: str, place: str, said: str) -> ReadError:
    if not place:
        return ReadError(
            "server: the read is not complete, since '%s' did not come, and the server refers to another one without "
            "saying for which part of the directory (%s): name a server that has all of it" % (who, said)
        )
    return ReadError(
        "server: the read is not complete, since '%s' did not come, and what lies below '%s' is on another server, "
        "which is not read (%s): name a server that has it, or leave it out with exclude_distinguished_name and "
        "scope_change: true" % (who, place, said)
    )
