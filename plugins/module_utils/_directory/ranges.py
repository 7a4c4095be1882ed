# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE: for this collection only; may change in any release.
"""Values of an attribute that a server gives range by range, as Active Directory does with long lists."""

from __future__ import annotations

import re

from .ber import ReadError
from .search import Session, search


def ranged(attributes: dict[str, list[bytes]], attribute: str) -> tuple[list[bytes], str] | None:
    """(first values, range such as '0-1499') when the server gave only a range of an attribute; else None.

    AD cuts a long attribute (MaxValRange, 1500 values): it sends `member` without values and `member;range=0-1499`
    beside it, so `member` alone reads like an empty group (MS-ADTS 3.1.1.3.1.3.3).
    """
    prefix = attribute.lower() + ";range="
    for name, values in attributes.items():
        if name.startswith(prefix):
            return values, name[len(prefix) :]
    return None


class ListChanged(ReadError):
    """The values of an attribute changed while they were read, range by range."""


def read_ranges(
    session: Session, base: str, attribute: str, first_values: list[bytes], first_range: str
) -> list[bytes]:
    """All values of an attribute of which the server gave only a range.

    A value that leaves an earlier range meanwhile has those behind it move up: the next range skips one that is still
    there, and nothing says so. See `settled_ranges`.

    :param base: DN of the entry or `<GUID=...>`, which survives a rename meanwhile.
    :param first_values: the values that came, with `first_range`, such as '0-1499': see `ranged`.
    :raises ListChanged: when it is seen that they changed.
    :raises ReadError: on any gap, overlap or error; a part of the values is worth nothing.
    """
    values: list[bytes] = []
    part, written = first_values, first_range
    while True:
        high = _check_range(base, attribute, written, len(values), len(part))
        values += part
        if len(values) > _MOST_VALUES:
            raise _range_error(base, attribute, "it does not stop sending, after %d of them" % len(values))
        if high is None:
            if len(set(values)) != len(values):
                raise _range_error(base, attribute, "a value came twice, so it changed while it was read", ListChanged)
            return values
        part, written = _range_from(session, base, attribute, high + 1)


def settled_ranges(session: Session, base: str, attribute: str, before: list[bytes] | None) -> list[bytes]:
    """The same, read again as often as it takes until two reads in a row say the same: then nothing was skipped.

    Whatever left during the first of these two had been read by it, and is missing in the second.
    Example: of a, b, c, d the range a, b is read, then a leaves, and the range behind it is d. The next read says b, c,
    d, and so does the one after that.

    :param before: what `read_ranges` gave; None if the values changed meanwhile.
    :raises ReadError: as `read_ranges`, and when they change in each of a few reads.
    """
    for _read in range(_MOST_READS):
        try:
            values = read_ranges(session, base, attribute, *_range_from(session, base, attribute, 0))
        except ListChanged:
            before = None
            continue
        if before is not None and set(values) == set(before):
            return values
        before = values
    raise _range_error(base, attribute, "they changed in each of %d reads" % (_MOST_READS + 1), ListChanged)


_MOST_READS = 5
_MOST_VALUES = 10_000_000  # of one attribute, after which it is taken for one without end


def _range_from(session: Session, base: str, attribute: str, low: int) -> tuple[list[bytes], str]:
    """The values from this one on, as many as the server gives, and their range: see `ranged`."""
    name = "%s;range=%d-*" % (attribute, low)
    entries = list(search(session, base, "base", "(objectClass=*)", (name,)))
    found = ranged(entries[0][1], attribute) if len(entries) == 1 else None
    if found:
        return found
    if low == 0 and len(entries) == 1 and not entries[0][1].get(attribute.lower()):
        return [], "0-*"  # they are all gone
    raise _range_error(base, attribute, "the server did not send the values from %d on" % low, ListChanged)


def _check_range(base: str, attribute: str, written: str, low: int, count: int) -> int | None:
    """The last index of a range; None when it is the last range."""
    match = re.fullmatch(r"([0-9]{1,18})-([0-9]{1,18}|\*)", written)
    if not match or int(match.group(1)) != low:
        raise _range_error(
            base, attribute, "the server sent the range '%s' where one from %d on was due" % (written, low)
        )
    if match.group(2) == "*":
        return None
    high = int(match.group(2))
    if count != high - low + 1 or not count:
        raise _range_error(base, attribute, "the server sent %d values in the range '%s'" % (count, written))
    return high


def _range_error(base: str, attribute: str, why: str, kind: type[ReadError] = ReadError) -> ReadError:
    return kind(
        "server: the values of %s of '%s' are not complete, since %s: run again, or name another server"
        % (attribute, base, why)
    )
