# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Who is in a group, or that this cannot be read.

Services leave members out of lists, or show the first hundred only. So a group that shows fewer than we wrote is asked
for by itself. If there it shows none at all, or a round number, it is not believed: whoever emptied it, or took some
out, is not told from a service that hides them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Optional

from ..contract import CannotBeRead, Read
from .resources import Resource
from .services import Members

_ROUND = (20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10000)  # at which services cut

One = Callable[[str], Optional[Resource]]  # a group by its id, asked for by itself


def members_of(
    groups: Mapping[str, Resource], written: Mapping[str, frozenset[str]], where: Members, one: One
) -> dict[str, Read[frozenset[str]]]:
    """Return the members of each of the groups. ``written`` are those that we wrote."""
    if where is Members.NEVER:
        return dict.fromkeys(groups, CannotBeRead("the service does not show who is in a group"))
    found: dict[str, Read[frozenset[str]]] = {}
    for number, resource in groups.items():
        shown = _shown(resource) if where is Members.IN_LISTS else None
        if shown is None or not shown >= written[number]:
            alone = one(number)
            shown = None if alone is None else _shown(alone)
        found[number] = _believed(shown, written[number])
    return found


def _shown(resource: Resource) -> frozenset[str] | None:
    """Return the ids that a group shows; None if it shows no members, or none that can be understood."""
    members = resource.get("members")
    if not isinstance(members, list):
        return None
    numbers = [each.get("value") if isinstance(each, dict) else None for each in members]
    texts = frozenset(number for number in numbers if isinstance(number, str) and number)
    return texts if len(texts) == len(numbers) else None


def _believed(shown: frozenset[str] | None, written: frozenset[str]) -> Read[frozenset[str]]:
    if shown is None and not written:  # RFC 7643, 2.5: what has no value may be left out
        return frozenset()
    if shown is None or written and not shown:
        return CannotBeRead("the group shows no members")
    if not shown >= written and len(shown) in _ROUND:
        return CannotBeRead("the group shows %d members, which may be where the service cuts" % len(shown))
    return shown
