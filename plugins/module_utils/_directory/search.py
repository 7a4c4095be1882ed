# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE: for this collection only; may change in any release.
"""Paged searches with proof of completeness. Values that come in ranges are in `ranges.py`.

A search is complete when its last SearchResultDone has code 0 and, if paged, an empty cookie. Everything else raises
ReadError, and no entry that has come until then may be used to conclude that something is not there.

Not every server has pages. One that does not list the control in its root DSE (supportedControl) is asked without. Any
other is asked for pages (RFC 2696; the control is critical), and then:

- It refuses the control, before any entry: RFC 4511, 4.1.11 lets it, and so do limits of OpenLDAP (size.prtotal). The
  same is asked without pages.
- It answers with success and without the control. RFC 2696, 3 lets a server ignore a control that is not critical, and
  then it gives everything at once; with a critical one, and where the root DSE lists it, that is a fault, and the rest
  may be missing. So what came proves nothing, is let go of, and the same is asked without pages.
- It gave a page of this search before, or so much of it that a part was handed on: then the read ends with an error.

Without pages code 0 proves that all came, since whoever meets a limit must say so with another code (RFC 4511, 4.5.1.4
and 4.5.2; code 4, sizeLimitExceeded, in A.2). Any other code ends the read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Sized
from typing import Protocol, TypeVar

from .._errors import quoted
from .._named_tuple import NamedTuple
from .ber import ProtocolError, ReadError, ServerLost
from .distinguished_names import dn_is_within, is_dn, normal_dn
from .requests import PAGED_RESULTS, paged_control, paged_cookie, search_operation
from .wire import Channel, Entry, Result, decode_entry

_PART = 8 * 1024 * 1024  # bytes of a page before it is handed on in parts: a hundred groups may be a gigabyte
# After these an answer is taken for one without end.
_TOO_MANY = 10000  # entries in a page beyond those asked for, or references to other servers
_MOST_ENTRIES = 10_000_000  # in all pages of a search
_MOST_EMPTY_PAGES = 1000  # in a row: a server may send some, where it looks through many entries and finds few
_NO_STOP = "server: it was asked for %d entries and does not stop sending: name another server"
_NO_END = "server: the read does not come to an end, after %d %s: run again, or name another server"

MANAGE_DSA_IT = "2.16.840.1.113730.3.4.2"  # RFC 3296, 3: show the entries that stand for other servers

# Tests in one OR filter, and the bytes of their values before they are escaped, which may make three of one: small
# beside the 256,000 bytes that Samba takes for a request.
_BATCH = 200
LONGEST_ASKED_FOR = 50_000


Item = TypeVar("Item", bound=Sized)


def batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Items, bytes or texts, in lists of as many as one filter may ask for."""
    at = 0
    while at < len(items):
        end, room = at, LONGEST_ASKED_FOR
        while end < len(items) and end - at < _BATCH and (end == at or len(items[end]) <= room):
            room -= len(items[end])
            end += 1
        yield items[at:end]
        at = end


class NoSuchEntry(ReadError):
    """The base of a search does not exist (or is hidden from this login)."""


class Session(Protocol):
    """What a search needs of a connection: see `connection.Session`."""

    channel: Channel
    page_size: int
    account_option: str
    entries: int
    pages: int
    not_read: list[str]  # URLs of other servers, each once
    referred: dict[str, str]  # DN that another server has -> that server's URLs
    unusable: str
    paged: bool  # whether the server has given a page
    unpaged: str  # why it is asked for no pages; empty: it is asked for them
    names: dict[bytes, str]  # as the server writes them -> in lower case
    asked: set[str]  # in lower case
    root_dse: dict[str, list[bytes]]
    types: list[set[str]] | None  # see `attribute_types`; None: not asked for yet
    glued: dict[str, list[bytes]] | None  # see `changes/syncrepl.py`; None: not asked for yet
    nameless: dict[bytes, dict[str, list[bytes]]]  # DN that is none, as sent -> the entry that came with it


class How(NamedTuple):
    """How a search is asked, other than usual."""

    missing_ok: bool = False  # a base that does not exist on this server, or is no DN to it, gives nothing: no error
    page_size: int = 0  # entries a page, fewer for entries with many values; 0: as many as the session's
    controls: tuple[bytes, ...] = ()  # further ones of the request, encoded


AS_USUAL = How()
MISSING_OK = How(missing_ok=True)


def search(
    session: Session, base: str, scope: str, filter: str, attributes: Sequence[str], how: How = AS_USUAL
) -> Iterator[Entry]:
    """The entries of a search: (DN, values by lower-case attribute name, encoded entry).

    :param scope: 'base', 'one' or 'sub'. A search with scope 'base' is not paged.
    An entry whose DN is none is left out: see `session.nameless`.

    :raises ReadError: unless the read is complete. References to other servers are never followed; they are
        collected in `session.not_read`. Where the base itself lies on another server, it is noted in
        `session.referred` as well.

    Read it to its end before the next search: OpenLDAP keeps the state of one paged search per connection
    (ITS#7698), and the next page is already on its way. Starting another one raises RuntimeError.
    """
    return _with_names(session, encoded_entries(session, base, scope, filter, attributes, how))


def _with_names(session: Session, parts: Iterator[list[bytes]]) -> Iterator[Entry]:
    names = session.names
    for part in parts:
        for raw in part:
            found = decode_entry(raw, names)
            if is_dn(found[0]):
                yield found
            else:
                session.nameless[found[0]] = found[1]


def encoded_entries(
    session: Session, base: str, scope: str, filter: str, attributes: Sequence[str], how: How = AS_USUAL
) -> Iterator[list[bytes]]:
    """The same as `search`, in lists of entries that are not decoded: for who knows many of them by their bytes."""
    _check_free(session)
    session.asked.update(name.lower().partition(";")[0] for name in attributes)
    operation = search_operation(base, scope, filter, attributes)
    return _pages(session, _Request(base, operation, scope == "base", how))


def finds_any(session: Session, base: str, scope: str, filter: str, controls: tuple[bytes, ...] = ()) -> bool:
    """Whether the server shows any entry of a search; it is asked for one only, so nothing follows for the others.

    :raises ReadError: when it cannot say.
    """
    _check_free(session)
    operation = search_operation(base, scope, filter, ("1.1",), at_most=1)
    page = session.channel.page(session.channel.ask(operation, *controls))
    session.entries += len(page.entries)
    session.pages += 1
    result = page.result
    if result is None:
        raise ProtocolError(_NO_STOP % 1)
    ends = (0, 4, 10, 32) if page.entries else (0, 10, 32)  # 4: there are more; 10, 32: it lies elsewhere, or is gone
    if result.code not in ends:
        raise _failure(session.account_option, base, len(page.entries), result)
    return bool(page.entries)


def _check_free(session: Session) -> None:
    if session.unusable:
        raise RuntimeError("this connection cannot search: %s" % session.unusable)


# It lies on another server; there is no such entry; it is no DN to this server, so nothing can be there.
_NOT_THERE = (10, 32, 34)


class _NotPaged(Exception):
    """The server does not do pages, and nothing of its answer was handed on: the text says what it does."""

    def __init__(self, why: str, failure: ReadError | None = None) -> None:
        super().__init__(why)
        self.failure = failure  # what is wrong, if it is not that


# Result codes by which a server refuses pages: protocolError, adminLimitExceeded (OpenLDAP, size.prtotal=disabled),
# unavailableCriticalExtension, unwillingToPerform.
_REFUSALS = (2, 11, 12, 53)


class _Request(NamedTuple):
    base: str
    operation: bytes  # the search, encoded
    is_of_one: bool  # it is about the base alone
    how: How


_ALL_AT_ONCE = 0  # for a page size


def _pages(session: Session, request: _Request) -> Iterator[list[bytes]]:
    _check_free(session)
    failure = None
    if not request.is_of_one:
        listed = session.root_dse.get("supportedcontrol")
        if not session.paged and listed is not None and PAGED_RESULTS.encode("ascii") not in listed:
            session.unpaged = "its root DSE does not list them"
        if not session.unpaged:
            try:
                yield from _Answer(session, request, request.how.page_size or session.page_size).parts()
                return
            except _NotPaged as found:
                session.unusable, failure = "", found.failure
                if not session.paged:
                    session.unpaged = str(found)
    yield from _Answer(session, request, _ALL_AT_ONCE, failure).parts()


class _Answer:
    """The answer to one search, as it comes: in pages of a size, or all at once.

    ``failure`` is how the same search ended in pages.
    """

    def __init__(self, session: Session, request: _Request, size: int, failure: ReadError | None = None) -> None:
        self.session, self.request, self.size, self.failure = session, request, size, failure
        self.most = size or (1 if request.is_of_one else _MOST_ENTRIES)  # entries in a page
        self.cookie = b""
        self.came = self.before = 0  # entries in all, and in the pages before this one
        self.empty = 0  # pages in a row
        self.ends: tuple[bytes, ...] = ()  # the first entry of this page and the last one
        self.pages: set[int | None] = set()
        self.held: list[bytes] = []  # the first part, until it is known that this is a page
        self.handed_on = False

    def parts(self) -> Iterator[list[bytes]]:
        """Yield the entries in lists. Raises _NotPaged if the server turns out not to do pages."""
        self.session.unusable = "another search is not read to its end"
        message_id = self._ask(b"")
        while True:
            entries, references, result = self.session.channel.page(message_id, _PART)
            self._count(entries, references, result is None)
            if result is None:
                yield from self._part(entries)
                continue
            entries, self.held = self.held + entries if self.held else entries, []
            result = self._end_of_page(result)
            cookie = _next_cookie(result, self.cookie, self.ends, self.pages) if self.size and not result.code else b""
            if cookie:
                # Before this page is decoded, so that the server works while we do.
                message_id = self._ask(cookie)
            elif self._is_nothing(result):
                return
            yield entries
            if not cookie:
                _refuse_other_names(self.session)
                return
            self.cookie, self.before, self.ends = cookie, self.came, ()

    def _ask(self, cookie: bytes) -> int:
        page = (paged_control(self.size, cookie),) if self.size else ()
        return self.session.channel.ask(self.request.operation, *page, *self.request.how.controls)

    def _count(self, entries: list[bytes], references: Sequence[str], goes_on: bool) -> None:
        self.came += len(entries)
        self.session.entries += len(entries)
        _note_references(self.session, references)
        if entries:
            self.ends = (*self.ends[:1], entries[0])[:1] + (entries[-1],)
        if self.came - self.before > self.most + _TOO_MANY or goes_on and not entries:
            raise ProtocolError(_NO_STOP % self.most)

    def _part(self, entries: list[bytes]) -> Iterator[list[bytes]]:
        """Hand a part of a page on, or hold the first one back."""
        if self.size and not (self.session.paged or self.held or self.handed_on):
            self.held = entries
            return
        self.handed_on = True
        if self.held:
            yield self.held
            self.held = []
        yield entries

    def _end_of_page(self, result: Result) -> Result:
        self.session.pages += 1
        self.empty = self.empty + 1 if self.came == self.before else 0
        if self.came > _MOST_ENTRIES or self.empty > _MOST_EMPTY_PAGES:
            what = (self.empty, "empty pages in a row") if self.empty else (self.came, "entries")
            raise ProtocolError(_NO_END % what)
        if self.size and not self.cookie and not self.handed_on:
            return _first_page(self.session, self.request.base, self.came, result)
        return result

    def _is_nothing(self, result: Result) -> bool:
        """Return whether the search ended since there is no such base, which may be. Raises ReadError if it failed."""
        self.session.unusable = ""
        base, has_come = self.request.base, self.came or self.cookie
        if result.code in _NOT_THERE and self.request.how.missing_ok and not has_come:
            _note_elsewhere(self.session, base, result)
            return True
        if result.code:
            raise self._failure(result)
        return False

    def _failure(self, result: Result) -> ReadError:
        """Return how the search failed; one that was asked without pages may have, since the server gives none."""
        session, base, came = self.session, self.request.base, self.came
        if self.failure is not None and result.code not in (*_NOT_THERE, 51, 52):
            return ReadError("%s; without pages it ended after %d entries (%s)" % (self.failure, came, result))
        if result.code == 4 and not self.size and not self.request.is_of_one:
            return ReadError(
                "%s: the read of '%s' is not complete, it ended after %d entries (%s), and the server gives no pages, "
                "since %s: ask the administrator of the directory for no limit on the number of entries for this "
                "account, or for paged results (RFC 2696)"
                % (session.account_option, base, came, result, session.unpaged or "it did not give one of this search")
            )
        return _failure(session.account_option, base, came, result)


def _first_page(session: Session, base: str, came: int, result: Result) -> Result:
    """The result of the first page. Raises _NotPaged if it is none, or is refused."""
    if result.code == 0 and PAGED_RESULTS not in result.controls:
        result = (_if_missing(session.channel, base) if not came else None) or result
        if result.code == 0:
            session.entries -= came
            raise _NotPaged("it left the paged results control out of its answer")
    elif result.code == 0:
        session.paged = True
    elif result.code in _REFUSALS and not came:
        raise _NotPaged("it refused them (%s)" % result, _failure(session.account_option, base, came, result))
    return result


def _note_elsewhere(session: Session, base: str, result: Result) -> None:
    _note_references(session, result.referrals)
    if result.code == 10:  # matchedDN is the entry that stands for that server (RFC 4511, 4.1.9)
        session.referred[_above(result.matched_dn, base)] = _shown(result.referrals) or "no URL"


def _note_references(session: Session, urls: Sequence[str]) -> None:
    if urls:
        known = set(session.not_read)
        session.not_read += [url for url in dict.fromkeys(map(quoted, urls)) if url not in known]
        if len(session.not_read) > _TOO_MANY:
            raise ProtocolError("server: it refers to more than %d other servers: name another server" % _TOO_MANY)


def _shown(urls: Sequence[str]) -> str:
    return quoted(" ".join(urls))


def _above(matched: str, base: str) -> str:
    """The matched DN, if it is what it must be; else the base, of which at least that is known."""
    try:
        return matched if matched and dn_is_within(normal_dn(base), normal_dn(matched)) else base
    except ValueError:
        return base


def _if_missing(channel: Channel, base: str) -> Result | None:
    """What the server says of a base that does not exist; None where it exists.

    389 Directory Server (2.3.1) answers a paged search there with success, and without the control.
    """
    asked = channel.ask(search_operation(base, "base", "(objectClass=*)", ("1.1",)))
    result = channel.page(asked).result
    return result if result and result.code else None


def _refuse_other_names(session: Session) -> None:
    """Refuse what came by another of its names than that it was asked for by: it would count as missing.

    What was not asked for at all is ignored: subtypes (RFC 4511, 4.5.1.8), and what some servers send to everybody.
    """
    if session.asked.intersection("*+"):
        return
    others = {name.partition(";")[0] for name in session.names.values()} - session.asked
    for name in sorted(others):
        for known_as in attribute_types(session):
            if name in known_as and not known_as.isdisjoint(session.asked):
                raise ReadError(
                    "user_attributes, group_attributes, ldap_parameters: the server calls one of the "
                    "attributes '%s', and it was asked for by another name: write this one" % name
                )


_NAMES = re.compile(rb"\bNAME\s+(?:'([^']*)'|\(([^)]*)\))")


def attribute_types(session: Session) -> list[set[str]]:
    """The names of each attribute type in the server's schema, in lower case (RFC 4512, 4.1.2 and 4.2).

    It is empty where the server does not show its schema. No other search may be under way.
    """
    if session.types is None:
        session.types = []
        for where in session.root_dse.get("subschemasubentry", ())[:1]:
            base = where.decode("utf-8", "replace")
            for _dn, entry, _raw in search(session, base, "base", "(objectClass=*)", ("attributeTypes",), MISSING_OK):
                for described in entry.get("attributetypes", ()):
                    found = _NAMES.search(described)
                    text = (found[1] or found[2]).decode("utf-8", "replace") if found else ""
                    session.types.append({name.strip("'").lower() for name in text.split()})
    return session.types


def _next_cookie(result: Result, cookie: bytes, ends: tuple[bytes, ...], pages: set[int | None]) -> bytes:
    """The cookie for the next page, empty after the last one; `pages` remembers those that came, by their `ends`."""
    value = result.controls.get(PAGED_RESULTS)
    if value is None:
        raise ProtocolError(
            "server: nothing proves that the read is complete, since the server left the paged results "
            "control out of its answer: name another server"
        )
    next_cookie = paged_cookie(value)
    # Some servers give all pages of a search one cookie: that alone is no repetition.
    page = hash(ends) if ends else None
    repeated = page in pages if ends else next_cookie == cookie
    if next_cookie and repeated:
        raise ProtocolError(
            "server: the read is not complete, since the server repeats a page without end: run again, "
            "or name another server"
        )
    pages.add(page)
    return next_cookie


_HIGHER_LIMIT = (
    "ask the administrator of the directory for a higher limit for this account "
    "(in OpenLDAP size.pr and size.prtotal count, in 389 Directory Server %s)"
)
# Result code -> the option that can change it ("" for the one that says who reads), and what to do.
_ADVICE = {
    1: ("authentication", "choose one with a login, if the server wants one first"),
    3: ("", _HIGHER_LIMIT % "nsTimeLimit"),
    # 389 Directory Server counts the entries of a page only. What it looks through counts for all pages together.
    4: ("", _HIGHER_LIMIT % "nsPagedSizeLimit, or a lower page_size"),
    11: ("page_size", "lower it, or " + _HIGHER_LIMIT % "nsPagedLookThroughLimit"),
    12: ("server", "run again, since it lost its place in paged results, or name one that supports them"),
    34: ("distinguished_name", "correct it"),
    48: ("authentication", "choose one with a login"),
    50: ("", "give the account the right to read there"),
    51: ("server", "run again later, or name another server"),
    52: ("server", "run again later, or name another server"),
}
_OTHERWISE = ("server", "run again, and look into the server's log if it happens again")


def _failure(account_option: str, base: str, came: int, result: Result) -> ReadError:
    where = "'%s'" % base if base else "the root DSE"
    if result.code == 32:
        return NoSuchEntry(
            "%s: the read is not complete, since %s does not exist in the directory, or the account "
            "cannot read it: give the account the right to read it" % (account_option, where)
        )
    if result.code == 10:
        return ReadError(
            "server: the read of %s is not complete, since the server refers to another one, which is not "
            "followed (%s): name that server" % (where, _shown(result.referrals) or "it does not say which")
        )
    option, advice = _ADVICE.get(result.code, _OTHERWISE)
    kind = ServerLost if result.code in (51, 52) else ReadError
    return kind(
        "%s: the read of %s is not complete, it ended after %d entries (%s): %s"
        % (option or account_option, where, came, result, advice)
    )
