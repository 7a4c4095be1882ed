# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""How much a result lists: entries of each list, names of members in all, and bytes of everything.

Who comes first is listed first, so removals come before additions, and takes at most half of the bytes that are left,
so that no list takes them all. What is left out is counted, by its list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from json.encoder import encode_basestring_ascii
from typing import Any, TypeVar

from .._named_tuple import NamedTuple

T = TypeVar("T")
Made = TypeVar("Made")

_NAMES_PER_ENTRY = 10  # member names of all groups together: this times the entries of one list


class Bounds(NamedTuple):
    """How much a result may list."""

    entries: int  # of each list
    size: int  # bytes of all lists and the diff together, as `size_of` counts them
    with_diff: bool = False


class Cut:
    """Takes of each list what there is room for, and counts what it leaves out."""

    def __init__(self, bounds: Bounds) -> None:
        self._entries = bounds.entries
        self._names_left = bounds.entries * _NAMES_PER_ENTRY
        self._bytes_left = bounds.size // 2 if bounds.with_diff else bounds.size
        self._bytes_of_diff = bounds.size - self._bytes_left
        self.left_out: dict[str, int] = {}  # name of a list -> how many of its entries are not listed

    @property
    def bytes_for_diff(self) -> int:
        """What the lists have left, to be asked for at the end."""
        return max(self._bytes_left, 0) + self._bytes_of_diff

    def entries(self, what: str, items: Sequence[T], make: Callable[[T], Made]) -> list[Made]:
        """Return what ``make`` makes of the first ones, as many as there is room for."""
        listed = self._that_fit(map(make, items[: self._entries]))
        self.note(what, len(items) - len(listed))
        return listed

    def items(self, what: str, items: Sequence[T]) -> list[T]:
        """Return the first ones, as many as there is room for."""
        return self.entries(what, items, lambda item: item)

    def names(self, items: Sequence[T], name: Callable[[T], str]) -> list[str]:
        """Return the names of the first ones of one group: all groups share what there is room for."""
        listed = self._that_fit(map(name, items[: self._names_left]))
        self._names_left -= len(listed)
        return listed

    def note(self, what: str, count: int) -> None:
        """Note that so many more of a list are left out."""
        if count:
            self.left_out[what] = self.left_out.get(what, 0) + count

    def _that_fit(self, items: Iterable[T]) -> list[T]:
        listed = []
        room = self._bytes_left // 2
        for item in items:
            size = size_of(item)
            if size > room:
                break
            room -= size
            self._bytes_left -= size
            listed.append(item)
        return listed


def size_of(value: Any) -> int:
    """Return how many bytes a value of a list takes in JSON that is all ASCII, with what parts it from the next one.

    No form that Ansible or AWX gives a result is much longer, and most are shorter.
    """
    if isinstance(value, str):
        return len(encode_basestring_ascii(value)) + 2
    if isinstance(value, dict):
        return 4 + sum(size_of(key) + size_of(each) for key, each in value.items())
    if isinstance(value, list):
        return 4 + sum(map(size_of, value))
    return len(str(value)) + 2


def and_more(count: int) -> str:
    """Return what stands at a cut, such as ``… and 4,000 more``."""
    return "\N{HORIZONTAL ELLIPSIS} and {:,} more".format(count)
