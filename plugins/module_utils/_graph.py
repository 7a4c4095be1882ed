# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Who is in what by nesting: a walk through user groups in which there are others.

Example: ann is in Nurses, and Nurses is nested in Staff. So ann is an effective member of Staff.
"""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def passing(nestings: Mapping[Node, Iterable[Node]], extinct: Container[Node]) -> dict[Node, list[Node]]:
    """Return {user group: the user groups nested in it that pass their members on to it}.

    An extinct user group keeps its members, and passes them on to nobody: nobody can leave it any more.
    """
    return {group: [each for each in nested if each not in extinct] for group, nested in nestings.items()}


def turned(edges: Mapping[Node, Iterable[Node]]) -> dict[Node, list[Node]]:
    """Return the edges the other way round."""
    back: dict[Node, list[Node]] = {}
    for source, targets in edges.items():
        for target in targets:
            back.setdefault(target, []).append(source)
    return back


def reach(start: Iterable[Node], edges: Mapping[Node, Iterable[Node]]) -> set[Node]:
    """Return ``start`` and all that can be reached from it; cycles and diamonds are fine."""
    found: set[Node] = set()
    todo = list(start)
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo.extend(edges.get(node, ()))
    return found


def reach_of_each(
    start: Iterable[Node], edges: Mapping[Node, Iterable[Node]], bits: Mapping[Node, int]
) -> dict[Node, int]:
    """Return {node: the bits of all that can be reached from it, itself included}, for ``start`` and all it leads to.

    Each edge is looked at once, whatever rings there are (Tarjan, "Depth-first search and linear graph algorithms",
    1972). ``bits`` has a number with one bit for each node that is asked for.
    """
    seen: dict[Node, int] = {}  # node -> when it was seen
    first: dict[Node, int] = {}  # node -> the first seen that it leads to, of those whose ring is not closed
    ring: list[Node] = []  # seen, and it is not known yet which are one ring
    masks: dict[Node, int] = {}
    gathered: dict[Node, int] = {}

    def see(node: Node) -> tuple[Node, Iterator[Node]]:
        seen[node] = first[node] = len(seen)
        gathered[node] = bits.get(node, 0)
        ring.append(node)
        return node, iter(edges.get(node, ()))

    for begin in start:
        walk = [] if begin in seen else [see(begin)]
        while walk:
            node, targets = walk[-1]
            for target in targets:
                if target not in seen:
                    walk.append(see(target))
                    break
                if target in masks:
                    gathered[node] |= masks[target]
                else:
                    first[node] = min(first[node], seen[target])
            else:
                walk.pop()
                if first[node] == seen[node]:
                    _close_ring(node, ring, gathered, masks)
                if walk:
                    above = walk[-1][0]
                    gathered[above] |= masks.get(node, 0)
                    first[above] = first[above] if node in masks else min(first[above], first[node])
    return masks


def _close_ring(node: Node, ring: list[Node], gathered: dict[Node, int], masks: dict[Node, int]) -> None:
    """Give all that were seen from ``node`` on what they have gathered together."""
    members: list[Node] = []
    mask = 0
    while not members or members[-1] != node:
        members.append(ring.pop())
        mask |= gathered.pop(members[-1])
    masks.update(dict.fromkeys(members, mask))


def bits_in(mask: int) -> list[int]:
    """Return the places of the bits that are set, the lowest first."""
    digits = bin(mask)
    if digits.count("1") * 16 > len(digits):
        return [place for place, digit in enumerate(reversed(digits)) if digit == "1"]
    places = []
    while mask:  # a large number with few of them takes no look at each place
        lowest = mask & -mask
        places.append(lowest.bit_length() - 1)
        mask ^= lowest
    return places
