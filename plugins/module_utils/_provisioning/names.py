# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Which name each of us has afterwards, and in which order names are given. Pure.

Two do not have one name, without case. Who has a name keeps it. Of several who want one that is free, the first by its
key gets it, and the others stay as they are called, or are not created.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping
from typing import Union

from .._named_tuple import NamedTuple
from .._names import name_key
from .model import Links, Ref, TakeOverStep, UpdateStep, ours_of

Renaming = Union[UpdateStep, TakeOverStep]


class Settled(NamedTuple):
    """Who is called what."""

    names: dict[Ref, str]
    losers: dict[Ref, str]  # who does not get the name that it wants -> why


def settled(current: Mapping[Ref, str], desired: Mapping[Ref, str], foreign: Container[str]) -> Settled:
    """Return who is called what afterwards.

    ``current`` has those that are there, ``desired`` all that are to be there. ``foreign`` are the names, without case,
    that others have, who stay.
    """
    names = dict(desired)
    losers: dict[Ref, str] = {}
    while True:
        wanting: dict[str, list[Ref]] = {}
        for ref, name in sorted(names.items()):
            wanting.setdefault(name_key(name), []).append(ref)
        lost = {ref: why for key, refs in wanting.items() for ref, why in _lose(key, refs, current, foreign, names)}
        if not lost:
            return Settled(names, losers)
        losers.update(lost)
        for ref in lost:
            if ref in current:
                names[ref] = current[ref]
            else:
                del names[ref]


def _lose(
    key: str, refs: list[Ref], current: Mapping[Ref, str], foreign: Container[str], names: Mapping[Ref, str]
) -> list[tuple[Ref, str]]:
    """Return who of those who want a name do not get it."""
    staying = [ref for ref in refs if ref in current and name_key(current[ref]) == key]
    coming = [ref for ref in refs if ref not in staying]
    if key in foreign:
        return [(ref, "somebody who is not linked has the name '%s'" % names[ref]) for ref in coming]
    first = staying or coming[:1]
    return [(ref, "'%s' is the name of %s" % (names[ref], first[0].key)) for ref in coming if ref not in first]


def in_order(steps: list[Renaming], links: Links) -> list[Renaming]:
    """Return the steps so that each name is free before it is given. In a ring one of them gets another name first."""
    holders = {name_key(step.before.name): step for step in steps}
    done: list[Renaming] = []
    finished: set[Ref] = set()
    for step in steps:
        chain: list[Renaming] = []
        inside: set[Ref] = set()
        each: Renaming | None = step
        while each is not None and each.ref not in finished:
            if each.ref in inside:  # a ring: whoever closes it goes out of the way
                aside, rest = _aside(each, links)
                done.append(aside)
                chain[chain.index(each)] = rest
                break
            chain.append(each)
            inside.add(each.ref)
            each = _holder(each, holders)
        done += reversed(chain)
        finished |= inside
    return done


def _holder(step: Renaming, holders: Mapping[str, Renaming]) -> Renaming | None:
    """Return who has the name that this one gets; None if nobody has it, or it has that name itself."""
    holder = holders.get(name_key(step.after.name))
    return None if holder is None or holder.ref == step.ref else holder


def name_aside(key: str, name: str) -> str:
    """Return the name that somebody has while he is out of the way of another one."""
    return _mark(key) + name


def name_before(key: str, name: str) -> str:
    """Return the name that he had before he went out of the way; the same name if he did not."""
    return name[len(_mark(key)) :] if name.startswith(_mark(key)) else name


def _mark(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8")).hexdigest()[:8] + "-"


def _aside(step: Renaming, links: Links) -> tuple[Renaming, UpdateStep]:
    """Return two steps in place of one: out of the way, and then to the name that is wanted.

    A run may end between the two: the link says of all else what was written before.
    """
    name = name_aside(step.ref.key, name_before(step.ref.key, step.before.name))
    before = step.before._replace(name=name)
    if isinstance(step, UpdateStep):
        written = links[step.ref].written._replace(name=name)
    else:
        written = ours_of(before, step.written)
    aside = step._replace(after=before, written=written)
    return aside, UpdateStep(step.ref, step.id, before, step.after, step.written, step.departed)
