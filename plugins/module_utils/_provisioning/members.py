# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Who is to be put into groups, and who is taken out. Pure.

Who is there and is one of us is compared with who is wanted. Who is there and foreign stays, unless the policy removes
foreign members. What cannot be read is as it was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set

from .._destination.contract import CannotBeRead, Kind, Read, Record
from .._named_tuple import NamedTuple
from .model import Drift, Foreign, Link, Links, MembersStep, Policies, Ref


class Compared(NamedTuple):
    """What is compared to find who is to be put in and taken out."""

    wanted: Mapping[Ref, frozenset[Ref]]
    links: Links
    actual: Mapping[str, Read[frozenset[str]]]
    nested: Mapping[str, frozenset[str]]  # id of a group -> those of its members that it says are groups
    available: Set[Ref]  # who is there afterwards: accounts, and the groups that are looked at
    fresh: Set[Ref]  # who is created by this plan, in place of one that is gone or not
    taken_over: Mapping[tuple[Kind, str], Ref]
    names: Mapping[tuple[Kind, str], str]  # of those who are seen
    staying: Set[Ref]  # who is wanted at all, in whatever group
    collided: Mapping[Ref, frozenset[str]]  # who is wanted -> ids of those who are there and may not be linked


class Members(NamedTuple):
    """What becomes of members."""

    removals: tuple[MembersStep, ...]
    additions: tuple[MembersStep, ...]
    drift: tuple[Drift, ...]
    foreign: tuple[Foreign, ...]


class _Group(NamedTuple):
    """One group: who is in it as far as we know."""

    written: frozenset[Ref]  # who we put into it and may still be in it
    ours: frozenset[Ref]  # who of us is in it, without doubt
    foreign: tuple[str, ...]
    dangling: tuple[str, ...]  # ids of accounts of ours that are gone, and are still in its list
    is_seen: bool
    in_doubt: frozenset[Ref] = frozenset()  # who is in it or not, as far as nobody sees who is


def changes_of_members(compared: Compared, policies: Policies) -> Members:
    """Return what is to be done to make members as they are wanted."""
    refs = {(ref.kind, link.id): ref for ref, link in compared.links.items()}
    by_id: dict[str, list[Ref]] = {}
    for (_kind, number), ref in sorted({**refs, **compared.taken_over}.items()):
        by_id.setdefault(number, []).append(ref)
    removals, additions = [], []
    drift: list[Drift] = []
    foreign: list[Foreign] = []
    for ref in sorted(each for each in compared.available if each.kind is Kind.GROUP):
        group = _group(ref, compared, by_id)
        wanted = compared.wanted.get(ref, frozenset()) & compared.available
        added, removed = wanted - group.ours, (group.ours | group.in_doubt) - wanted
        changed = list(_drift(ref, group, wanted, compared)) if group.is_seen else []
        drift += [each for each, _member in changed]
        if not policies.restores_drift:
            # Who leaves altogether leaves each group, whoever put him into it.
            elsewhere = {member for _drift, member in changed} & compared.staying
            added, removed = added - elsewhere, removed - elsewhere
        name = compared.links[ref].written.name if ref in compared.links else ""
        foreign += [_foreign(each, ref, name, compared) for each in group.foreign]
        ended = group.dangling
        if policies.removes_foreign_members:
            # Whoever is there in place of somebody who is to be in it may be him.
            kept = {each for member in compared.wanted.get(ref, ()) for each in compared.collided.get(member, ())}
            ended += tuple(each for each in group.foreign if each not in kept)
        # Who is taken over by this plan is not linked yet when members are removed.
        unlinked = {member: number for (_kind, number), member in compared.taken_over.items() if member in removed}
        ended += tuple(sorted(unlinked.values()))
        # Who is neither there nor wanted has left: that is kept before his account may end.
        stay = group.written & (group.ours | group.in_doubt | wanted) - removed
        doubt = group.in_doubt - removed
        removed -= unlinked.keys()
        before = compared.links[ref] if ref in compared.links and ref not in compared.fresh else _NOBODY
        if removed or ended or (stay, doubt) != (before.members, before.in_doubt - {ref}):
            removals.append(MembersStep(ref, (), tuple(sorted(removed)), ended, stay, doubt))
        former = _by_another_id(ref, compared) - wanted
        if added or wanted != stay or former:
            additions.append(MembersStep(ref, tuple(sorted(added)), (), (), wanted, former))
    return Members(tuple(removals), tuple(additions), tuple(drift), tuple(foreign))


_NOBODY = Link("", Record(""))


def _by_another_id(ref: Ref, compared: Compared) -> frozenset[Ref]:
    """Return who was put into a group under the id that it had before, and may be in it by the one that it has now."""
    if ref not in compared.links or ref not in compared.taken_over.values():
        return frozenset()
    link = compared.links[ref]
    return (link.members | link.in_doubt) & compared.links.keys() - {ref}


def _foreign(number: str, ref: Ref, name: str, compared: Compared) -> Foreign:
    nested = compared.nested.get(compared.links[ref].id, frozenset())
    kind = Kind.GROUP if number in nested else Kind.ACCOUNT
    return Foreign(kind, number, compared.names.get((kind, number), ""), name)


def _group(ref: Ref, compared: Compared, by_id: Mapping[str, list[Ref]]) -> _Group:
    link = compared.links.get(ref)
    if link is None or ref in compared.fresh:
        return _Group(frozenset(), frozenset(), (), (), False)
    written = link.members - compared.fresh
    there = compared.actual.get(link.id, CannotBeRead("it was not read"))
    if isinstance(there, CannotBeRead):
        return _Group(written, written - link.in_doubt, (), (), False, link.in_doubt - compared.fresh - {ref})
    likely = written | link.in_doubt | compared.wanted.get(ref, frozenset())
    nested = compared.nested.get(link.id, frozenset())
    found = {}
    for number in there:
        one_of_us = _one_of_us(by_id.get(number, ()), likely, number in nested)
        if one_of_us is not None:
            found[number] = one_of_us
    # Somebody who has another id now is in it by that one; what else has led to somebody who is fresh leads to nothing.
    ids = {number for number, each in found.items() if _leads_to(number, each, compared)}
    ours = frozenset(found[number] for number in ids)
    foreign, dangling = sorted(there - found.keys()), sorted(found.keys() - ids)
    return _Group(written | link.members & ours, ours, tuple(foreign), tuple(dangling), True)


def _leads_to(number: str, ref: Ref, compared: Compared) -> bool:
    return ref not in compared.fresh or compared.taken_over.get((ref.kind, number)) == ref


def _one_of_us(refs: Sequence[Ref], likely: Set[Ref], is_group: bool) -> Ref | None:
    """Return who of those with its id a member is; None if it is none of us.

    Some services count accounts and groups each from one. So what is not said to be a group is an account, but for a
    group who is or was to be in it.
    """
    if is_group:
        return next((each for each in refs if each.kind is Kind.GROUP), None)
    accounts = (each for each in refs if each.kind is Kind.ACCOUNT)
    return next((each for each in refs if each in likely), next(accounts, None))


def _drift(ref: Ref, group: _Group, wanted: frozenset[Ref], compared: Compared) -> Iterator[tuple[Drift, Ref]]:
    """Yield what somebody changed, and whom it is about: who left though we want him, who came though we do not."""
    name, in_doubt = compared.links[ref].written.name, compared.links[ref].in_doubt
    for member in sorted((group.written - group.ours - in_doubt) & wanted):
        yield Drift(ref, name, "members", member.key, ""), member
    for member in sorted(group.ours - group.written - wanted - in_doubt):
        yield Drift(ref, name, "members", "", member.key), member
