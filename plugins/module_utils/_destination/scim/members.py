# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Who is in a group, or that this cannot be read.

Services leave members out of lists, or show the first hundred only. So a group that shows fewer than we wrote is asked
for by itself. If there it shows a round number, it is not believed: whoever took some out is not told from a service
that hides them. That it shows none is believed if another group shows some.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Optional

from ..contract import CannotBeRead, Kind, Read
from .resources import PATHS, Resource
from .services import Members

_ROUND = (20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10000)  # at which services cut

One = Callable[[str], Optional[Resource]]  # a group by its id, asked for by itself


def members_of(
    groups: Mapping[str, Resource],
    written: Mapping[str, frozenset[str]],
    where: Members,
    one: One,
    nested: dict[str, frozenset[str]],
) -> dict[str, Read[frozenset[str]]]:
    """Return the members of each of the groups.

    ``written`` are those that we wrote. ``nested`` gets those that are said to be groups.
    """
    if where is Members.NEVER:
        return dict.fromkeys(groups, CannotBeRead("the service does not show who is in a group"))
    found: dict[str, frozenset[str] | None] = {}
    for number, resource in groups.items():
        shown = _shown(resource) if where is Members.IN_LISTS else None
        if shown is None or not shown >= written[number]:
            alone = one(number)
            shown = None if alone is None else _shown(alone)
            resource = alone or {}
        found[number] = shown
        if shown:
            nested[number] = _said_to_be_groups(resource)
    shows_some = any(found.values())
    return {number: _believed(shown, written[number], shows_some) for number, shown in found.items()}


def _shown(resource: Resource) -> frozenset[str] | None:
    """Return the ids that a group shows; None if that cannot be understood. What has no value may be left out."""
    members = resource.get("members")
    if members is None:
        return frozenset()
    if not isinstance(members, list):
        return None
    numbers = [each.get("value") if isinstance(each, dict) else None for each in members]
    texts = frozenset(number for number in numbers if isinstance(number, str) and number)
    return texts if len(texts) == len(numbers) else None


def _said_to_be_groups(resource: Resource) -> frozenset[str]:
    """Return the ids of members that are groups, and not accounts as well (RFC 7643, 4.2)."""
    kinds: dict[bool, set[str]] = {True: set(), False: set()}
    for each in resource["members"]:
        where = each.get("$ref")
        is_one = each.get("type") == "Group" or isinstance(where, str) and PATHS[Kind.GROUP] + "/" in where
        kinds[is_one].add(each["value"])
    return frozenset(kinds[True] - kinds[False])


def _believed(shown: frozenset[str] | None, written: frozenset[str], shows_some: bool) -> Read[frozenset[str]]:
    if shown is None:
        return CannotBeRead("the members that the group shows cannot be understood")
    if written and not shown and not shows_some:
        return CannotBeRead("the group shows no members")
    if not shown >= written and len(shown) in _ROUND:
        return CannotBeRead("the group shows %d members, which may be where the service cuts" % len(shown))
    return shown
