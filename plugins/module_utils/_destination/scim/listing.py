# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Lists that are complete, or cannot be read.

What a service says of a list is compared with itself: no id comes twice, no page is empty before the end, all pages
tell one total, and that many resources come. Behind the end it is asked once more: a service that says that 50 users
are all, and has more, or gives the same 50 whatever it is asked for, is not believed. One that begins again behind its
end, as scimmy-routers does, is believed if it gives the last one alone where it is asked for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ..contract import CannotBeRead, DestinationError, Read
from ..http_client import Answer, Client
from .resources import Resource, id_of
from .services import Paging

T = TypeVar("T")

_NO_LIST = (400, 405, 501)  # how services answer that do not list
_EMPTY_PAGES = 3  # with a cursor, one after the other
LARGEST_LIST = 1000000  # resources: a list that has more is taken to have no end


class _Doubt(Exception):
    """The list is not believed. Its text says why."""


def whole(
    client: Client, path: str, paging: Paging, page_size: int, kept: Callable[[Resource], T]
) -> Read[dict[str, T]]:
    """Return what is ``kept`` of all resources, by their ids. Raises DestinationError if the service fails."""
    found: dict[str, T] = {}
    pages = {Paging.INDEX: _by_index, Paging.CURSOR: _by_cursor, Paging.WHOLE: _at_once}[paging]
    try:
        for resource in pages(client, path, page_size):
            number = id_of(resource)
            if number is None:
                raise _Doubt("a resource in it has no id")
            if len(found) >= LARGEST_LIST:
                raise _Doubt("it has more than %d" % LARGEST_LIST)
            if number in found:
                raise _Doubt("'%s' is in it twice" % number)
            found[number] = kept(resource)
    except _Doubt as doubt:
        return CannotBeRead("the list %s is not believed: %s" % (path, doubt))
    return found


def matching(client: Client, path: str, filter_text: str) -> Read[list[Resource]]:
    """Return what a filter finds: the first page, since it is to find one at most."""
    try:
        resources, _answer = _page(client, path, {"filter": filter_text})
    except _Doubt as doubt:
        return CannotBeRead("nothing can be looked up in %s: %s" % (path, doubt))
    return resources


# --- pages -----------------------------------------------------------------------------------------------------------


def _by_index(client: Client, path: str, page_size: int) -> Iterator[Resource]:
    numbers: list[str | None] = []
    total = -1
    while total < 0 or len(numbers) < total:
        count = len(numbers)
        resources, data = _page(client, path, {"startIndex": str(count + 1), "count": str(page_size)})
        said = _total(data)
        if said is None:
            raise _Doubt("it has no totalResults")
        if total >= 0 and said != total:
            raise _Doubt("totalResults was %d and is %d" % (total, said))
        start = data.get("startIndex", count + 1)
        if resources and start != count + 1:
            raise _Doubt("a page begins with %s instead of %d" % (str(start)[:20], count + 1))
        total = said
        if not resources and count < total:
            raise _Doubt("it ends after %d of %d" % (count, total))
        numbers += map(id_of, resources)
        yield from resources
    if len(numbers) > total:
        raise _Doubt("it has %d, and says %d" % (len(numbers), total))
    _look_behind_the_end(client, path, numbers)


def _look_behind_the_end(client: Client, path: str, numbers: list[str | None]) -> None:
    """Raise _Doubt if there is more than these."""
    count = len(numbers)
    answer = client.send("GET", path, {"startIndex": str(count + 1), "count": "1"})
    if answer.status in (400, 404):  # there is nothing
        return
    resources, data = _parts(client, answer)
    if resources and not (numbers[:1] == [id_of(each) for each in resources] and _gives_one(client, path, numbers)):
        raise _Doubt("more comes behind its end")
    if _total(data) not in (None, count):
        raise _Doubt("totalResults was %d and is %s" % (count, _total(data)))


def _gives_one(client: Client, path: str, numbers: list[str | None]) -> bool:
    """Tell whether a service heeds which page it is asked for: the last one, alone."""
    resources, _data = _page(client, path, {"startIndex": str(len(numbers)), "count": "1"})
    return [id_of(each) for each in resources] == numbers[-1:]


def _by_cursor(client: Client, path: str, page_size: int) -> Iterator[Resource]:
    cursor: Any = ""
    seen, empty, count = {""}, 0, 0
    while True:
        resources, data = _page(client, path, {"cursor": cursor, "count": str(page_size)})
        count += len(resources)
        empty = 0 if resources else empty + 1
        yield from resources
        cursor = data.get("nextCursor")
        if not cursor:
            break
        if not isinstance(cursor, str) or cursor in seen or empty >= _EMPTY_PAGES:
            raise _Doubt("its cursor leads nowhere")
        seen.add(cursor)
    total = _total(data)
    if total is not None and total != count:
        raise _Doubt("it has %d, and says %d" % (count, total))


def _at_once(client: Client, path: str, _page_size: int) -> Iterator[Resource]:
    resources, data = _page(client, path, {})
    total = _total(data)
    if total is not None and total != len(resources):
        raise _Doubt("it has %d, and says %d" % (len(resources), total))
    if data.get("nextCursor"):
        raise _Doubt("it has more pages")
    yield from resources


def _page(client: Client, path: str, query: dict[str, str]) -> tuple[list[Resource], Resource]:
    return _parts(client, client.send("GET", path, query))


def _parts(client: Client, answer: Answer) -> tuple[list[Resource], Resource]:
    """Return the resources of a page, and the page. Raises DestinationError or _Doubt."""
    if answer.status in _NO_LIST:
        raise _Doubt(client.said(answer))
    data: Any = answer.data
    if answer.status == 403:
        raise DestinationError(
            "token: it may not read what the service has (%s): give it the right, or say by lists in "
            "service_parameters that there is no such list" % client.said(answer)
        )
    if answer.status != 200:
        raise DestinationError("url: the service does not list what it has (%s)" % client.said(answer))
    resources = data.get("Resources", []) if isinstance(data, dict) else None
    if not isinstance(resources, list) or not all(isinstance(each, dict) for each in resources):
        raise _Doubt("it is none (RFC 7644, 3.4.2)")
    return resources, data


def _total(data: Resource) -> int | None:
    total = data.get("totalResults")
    return total if isinstance(total, int) and not isinstance(total, bool) else None
