# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Plan -> result and diff. Pure, and the same for a dry run, a real run and a refusal.

What the report needs of the store beyond the plan is asked for in advance: `members_to_load`, `users_to_load` and
`names_to_load` say what, `Looked` holds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, filterfalse
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from . import _model
from ._model import (
    Effect,
    Fate,
    MembershipChange,
    Plan,
    Removal,
    Snapshot,
    StoredState,
    UserChange,
    UserGroupRecord,
    UserRecord,
    path_of,
)
from ._printable import printable

T = TypeVar("T")
UserGroups = dict[str, UserGroupRecord]  # by reference
Entry = dict[str, Any]  # of a list in the result

# What members of groups can be besides users, user groups and values that lead nowhere: counted.
OTHER_MEMBERS = ("computers", "contacts", "out_of_scope", "well_known_identities")

MEMBER_NAMES_PER_LIMIT = 10  # member names of all groups together: this times report_limit


class Looked(NamedTuple):
    """What was looked up in the store for the report."""

    direct_groups: dict[str, list[str]]  # user reference -> keys of the groups that list it, before the run
    names: dict[str, str]  # user reference -> name, of members that the plan does not touch


def _groups_after(plan: Plan, state: StoredState) -> UserGroups:
    """Return the records of all user groups, as they are afterwards."""
    groups = dict(state.user_groups)
    for change in plan.user_groups:
        if change.after is None:
            del groups[change.key]
        else:
            groups[change.key] = change.after
    return groups


# --- what happened to a record ----------------------------------------------------------------------------------------

_LISTED = (Effect.RENAMED, Effect.MOVED, Effect.UPDATED, Effect.ENABLED, Effect.DISABLED)
_CREATED = [Fate.CREATED.value]  # most that is reported at once is that, a hundred thousand times


def _verbs(change: UserChange | _model.UserGroupChange) -> list[str]:
    """Return what happened to the record, in the words of the result."""
    if change.fate is Fate.CREATED:
        return _CREATED
    if change.fate is Fate.DELETED:
        return [Fate.DELETED.value]
    verbs = [effect.value for effect in _LISTED if effect in change.effects]
    if change.fate is Fate.EXTINCT:
        verbs.append(Fate.EXTINCT.value)
    return verbs


# --- groups that did not change, but whose effective members did -----------------------------------------------------


def _nestings_after(plan: Plan, state: StoredState) -> dict[str, set[str]]:
    """Return which user groups each one lists, as it is afterwards."""
    nestings = {key: set(children) for key, children in state.nestings.items()}
    for change in plan.memberships:
        children = nestings.setdefault(change.key, set())
        children.difference_update(change.user_groups_removed)
        children.update(change.user_groups_added)
    return nestings


def _is_shown_or_hidden(change: UserChange) -> bool:
    return Effect.SHOWN in change.effects or Effect.HIDDEN in change.effects


def _passing(plan: Plan, state: StoredState) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return which user groups pass their members on to which, before and after: see `_model.passing`."""
    extinct_before = {key for key, record in state.user_groups.items() if record.extinct}
    extinct_after = {key for key, record in _groups_after(plan, state).items() if record.extinct}
    return (
        _model.passing(state.nestings, extinct_before),
        _model.passing(_nestings_after(plan, state), extinct_after),
    )


def members_to_load(plan: Plan, state: StoredState) -> set[str]:
    """Return the stored groups whose members come to be, or cease to be, members of another group by nesting."""
    if not any(change.user_groups_added or change.user_groups_removed for change in plan.memberships) and not any(
        change.fate in (Fate.EXTINCT, Fate.BACK) for change in plan.user_groups
    ):
        return set()
    before, after = _passing(plan, state)
    moving = {
        child for key in before.keys() | after.keys() for child in set(before.get(key, ())) ^ set(after.get(key, ()))
    }
    return (_model.reach(moving, before) | _model.reach(moving, after)) & set(state.user_groups)


def users_to_load(plan: Plan, state: StoredState, nested: Iterable[str]) -> set[str]:
    """Return the users whose stored direct groups are needed; ``nested``: the members of `members_to_load`."""
    if not state.user_groups:
        return set()
    users = set(nested)
    for change in plan.memberships:
        users.update(change.users_added, change.users_removed)
    users.update(change.reference for change in plan.users_there if _is_shown_or_hidden(change))
    return users


_GROUPS_AT_ONCE = 4096  # so that what is gathered of each group stays small, however many there are


def _affected(plan: Plan, state: StoredState, groups: UserGroups, direct_before: Mapping[str, list[str]]) -> set[str]:
    """Return the keys of stored groups whose effective members, or the enabled ones among them, differ."""
    if not direct_before:
        return set()
    direct_after = {user: set(keys) for user, keys in direct_before.items()}
    for change in plan.memberships:
        for user in change.users_removed:
            direct_after[user].discard(change.key)
        for user in change.users_added:
            direct_after[user].add(change.key)
    switched = {change.reference for change in plan.users if _is_shown_or_hidden(change)}
    before, after = _passing(plan, state)
    around_before, around_after = _model.turned(before), _model.turned(after)
    affected = {
        *_model.reach({key for user in switched for key in direct_before.get(user, ())}, around_before),
        *_model.reach({key for user in switched for key in direct_after.get(user, ())}, around_after),
    }
    direct = {
        (frozenset(keys), frozenset(direct_after[user])) for user, keys in direct_before.items() if user not in switched
    }
    around = {key for passed in (before, after) for key, nested in passed.items() if nested}
    for keys_before, keys_after in direct:
        affected |= (keys_before ^ keys_after) - around
    several = sorted(around) if direct else []
    for at in range(0, len(several), _GROUPS_AT_ONCE):
        affected |= _differing(direct, around_before, around_after, several[at : at + _GROUPS_AT_ONCE])
    return {key for key in affected if key in state.user_groups and key in groups}


def _differing(
    direct: Collection[tuple[frozenset[str], frozenset[str]]],
    around_before: Mapping[str, list[str]],
    around_after: Mapping[str, list[str]],
    groups: Sequence[str],
) -> set[str]:
    """Return those of the groups in which somebody is, by nesting too, before and not after, or the other way round.

    ``direct``: pairs of the groups that list somebody themselves, before and after. It costs as much as there are
    edges and pairs, and not their product.
    """
    bits = {key: 1 << number for number, key in enumerate(groups)}
    reached_before = _model.reach_of_each({key for keys, _after in direct for key in keys}, around_before, bits)
    reached_after = _model.reach_of_each({key for _before, keys in direct for key in keys}, around_after, bits)
    differing = 0
    for keys_before, keys_after in direct:
        mask_before = mask_after = 0
        for key in keys_before:
            mask_before |= reached_before[key]
        for key in keys_after:
            mask_after |= reached_after[key]
        differing |= mask_before ^ mask_after
    return {groups[number] for number in _model.bits_in(differing)}


# --- names -----------------------------------------------------------------------------------------------------------


def names_to_load(plan: Plan, state: StoredState) -> set[str]:
    """Return the members whose names must be looked up to write the report."""
    known = {change.reference for change in plan.users}
    members: set[str] = set()
    for change in plan.memberships:  # of hundreds of thousands, few are not known
        members.update(filterfalse(known.__contains__, change.users_added))
        members.update(filterfalse(known.__contains__, change.users_removed))
    members.update(user for kind, *names in plan.held if kind == "member" for user in names[1:])
    return {user for user in members if user not in known and user not in state.users}


class _Cut:
    """Cuts lists at the report limit and remembers that it did."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.names_left = limit * MEMBER_NAMES_PER_LIMIT
        self.truncated = False

    def items(self, items: list[T]) -> list[T]:
        self.truncated = self.truncated or len(items) > self.limit
        return items[: self.limit]

    def names(self, items: list[T]) -> list[T]:
        kept = items[: self.names_left]
        self.truncated = self.truncated or len(kept) < len(items)
        self.names_left -= len(kept)
        return kept


# --- the report ------------------------------------------------------------------------------------------------------


class _ChangedGroup(NamedTuple):
    """A user group that changed, as the result lists it."""

    key: str
    verbs: list[str]
    path: str
    previous_path: str | None  # None if it is the same, or was none
    dn: str
    members: MembershipChange  # its own; of nobody if none changed


def make_report(
    plan: Plan,
    snapshot: Snapshot,
    state: StoredState,
    looked: Looked,
    limit: int,
    with_diff: bool,
    reasons: Mapping[Removal, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the part of the result that speaks of the plan, with ``diff`` if asked for. ``reasons``: why what the plan
    holds is held.

    Lists are cut at ``limit``, member names of all groups together at ten times that; counts never are.
    """
    groups = _groups_after(plan, state)
    cut = _Cut(limit)
    names = {
        **looked.names,
        **{reference: stored.record.name for reference, stored in state.users.items()},
        **{change.reference: _record_of(change).name for change in plan.users},
    }
    changed = _changed_groups(plan, state, groups)
    changed_keys = {each.key for each in changed}
    affected = _affected(plan, state, groups, looked.direct_groups) - changed_keys
    unchanged = groups.keys() - changed_keys - affected
    verbs = [(change, _verbs(change)) for change in plan.users]
    listed = _list_changed_groups(cut.items(changed), groups, state, names, cut)
    result = {
        "changed_groups": listed,
        "affected_groups": cut.items(sorted(path_of(key, groups) for key in affected)),
        "unchanged_groups": cut.items(sorted(path_of(key, groups) for key in unchanged)),
        "users": _list_users(verbs, groups, state, cut),
        "summary": {
            "user_groups": _count_user_groups(changed, len(affected), len(unchanged)),
            "users": _count_users(plan, snapshot, state, verbs),
            "memberships": _count_memberships(plan, snapshot, state),
        },
        "collisions": cut.items([collision._asdict() for collision in plan.collisions]),
        "unresolved_members": cut.items(
            [
                {"user_group": path_of(key, groups), "value": member.value, "reason": member.reason}
                for key, member in sorted(plan.unresolved)
                if key in groups
            ]
        ),
        "not_stored": cut.items([{"dn": dn, "reason": reason} for dn, reason in sorted(snapshot.not_stored)]),
        "held": _list_held(plan, groups, names, cut, reasons),
    }
    result["report_truncated"] = cut.truncated
    if with_diff:
        result["diff"] = _diff(plan, changed, listed, state, groups, limit)
    return result


_TOLD = {
    "users": ("created", "updated", "renamed", "moved", "enabled", "disabled", "extinct", "deleted"),
    "user_groups": ("created", "updated", "renamed", "moved", "extinct", "deleted"),
    "memberships": ("added", "removed"),
}


def in_one_line(plan: Plan, summary: Mapping[str, Mapping[str, int]], why_nothing: str) -> str:
    """Return one line that says what changed, and how much is held or could not be done. It has no names.

    ``why_nothing``: why nothing of the plan is done; empty if it is done.
    """
    parts = []
    for kind, verbs in _TOLD.items():
        told = ", ".join("%d %s" % (summary[kind][verb], verb) for verb in verbs if summary[kind][verb])
        if told:
            parts.append("%s: %s" % (kind.replace("_", " "), told))
    if not parts:
        parts.append("nothing is done, since %s" % why_nothing if why_nothing else "nothing to do")
    left_out = {"collisions": len(plan.collisions), "held": len(plan.held)}
    return "; ".join([*parts, *("%s: %d" % each for each in left_out.items() if each[1])])


def _record_of(change: UserChange) -> UserRecord:
    """Return the record afterwards, or before if it ends."""
    record = change.after or change.before
    if record is None:
        raise AssertionError(change.reference)
    return record


def _changed_groups(plan: Plan, state: StoredState, groups: UserGroups) -> list[_ChangedGroup]:
    """Return the user groups that changed, by their paths."""
    verbs = {change.key: _verbs(change) for change in plan.user_groups}
    members = {change.key: change for change in plan.memberships}
    nobody = MembershipChange("", [], [], [], [])
    found = []
    for key in [*(key for key in verbs if verbs[key]), *(key for key in members if not verbs.get(key))]:
        there = groups if key in groups else state.user_groups
        path, before = path_of(key, there), path_of(key, state.user_groups) if key in state.user_groups else None
        found.append(
            _ChangedGroup(
                key,
                [*verbs.get(key, ()), *(["members"] if key in members else [])],
                path,
                before if before != path else None,
                there[key].dn,
                members.get(key, nobody),
            )
        )
    return sorted(found, key=lambda each: (each.path, each.key))


def _list_changed_groups(
    changed: Sequence[_ChangedGroup], groups: UserGroups, state: StoredState, names: Mapping[str, str], cut: _Cut
) -> list[Entry]:
    """Return the entries of these user groups. Those with few members are told of first."""
    entries: dict[str, Entry] = {
        each.key: {"path": each.path, "previous_path": each.previous_path, "dn": each.dn, "changes": each.verbs}
        for each in changed
    }
    for each in sorted(changed, key=lambda each: sum(map(len, each.members[1:]))):
        members = each.members
        entries[each.key].update(
            members_added=sorted(names.get(user, user) for user in cut.names(members.users_added)),
            members_removed=sorted(names.get(user, user) for user in cut.names(members.users_removed)),
            user_groups_added=sorted(path_of(key, groups) for key in cut.names(members.user_groups_added)),
            user_groups_removed=sorted(
                path_of(key, state.user_groups) for key in cut.names(members.user_groups_removed)
            ),
        )
    return list(entries.values())


_WOULD_BE = {"user": "extinct", "enabled": "enabled", "sid": "without_sid"}


def _list_held(
    plan: Plan, groups: UserGroups, names: Mapping[str, str], cut: _Cut, reasons: Mapping[Removal, str]
) -> dict[str, list[Entry]]:
    """Return what is held, and why."""
    held: dict[str, list[Entry]] = {"users": [], "user_groups": [], "memberships": []}
    for removal in plan.held:
        kind, key, *member = removal
        why = reasons.get(removal, "")
        if kind == "user_group":
            held["user_groups"].append({"path": path_of(key, groups), "reason": why})
        elif member:
            name = path_of(member[0], groups) if kind == "nested" else names.get(member[0], member[0])
            held["memberships"].append({"user_group": path_of(key, groups), "member": name, "reason": why})
        else:
            held["users"].append({"name": names.get(key, key), "would_be": _WOULD_BE[kind], "reason": why})
    return {
        what: cut.items(sorted(entries, key=lambda entry: list(map(str, entry.values()))))
        for what, entries in held.items()
    }


_OF_USERS = ("created", "updated", "renamed", "moved", "disabled", "enabled", "extinct", "deleted")
_OF_USER_GROUPS = ("created", "renamed", "moved", "updated", "members", "extinct", "deleted")

UserVerbs = Sequence[tuple[UserChange, list[str]]]  # the changes of users, and what happened to each


def _list_users(verbs: UserVerbs, groups: UserGroups, state: StoredState, cut: _Cut) -> dict[str, list[Any]]:
    names: dict[str, list[str]] = {verb: [] for verb in _OF_USERS}
    renamed: list[Entry] = []
    moved: list[Entry] = []
    for change, changes in verbs:
        before, after, name = change.before, change.after, _record_of(change).name
        for verb in changes:
            if verb == "renamed" and before is not None:
                renamed.append({"name": name, "previous_name": before.name})
            elif verb == "moved" and before is not None and after is not None:
                homes = path_of(after.home, groups), path_of(before.home, state.user_groups)
                moved.append({"name": name, "home": homes[0], "previous_home": homes[1]})
            else:
                names[verb].append(name)
    lists: dict[str, list[Any]] = {verb: sorted(listed) for verb, listed in names.items()}
    lists["renamed"] = sorted(renamed, key=lambda entry: entry["name"])
    lists["moved"] = sorted(moved, key=lambda entry: entry["name"])
    return {verb: cut.items(entries) for verb, entries in lists.items()}


def _count_user_groups(changed: Collection[_ChangedGroup], affected: int, unchanged: int) -> dict[str, int]:
    verbs = Counter(chain.from_iterable(each.verbs for each in changed))
    return {
        **{verb: verbs[verb] for verb in _OF_USER_GROUPS},
        "changed": len(changed),
        "affected": affected,
        "unchanged": unchanged,
        "total": affected + unchanged + len(changed) - verbs["deleted"],
    }


def _count_users(plan: Plan, snapshot: Snapshot, state: StoredState, verbs: UserVerbs) -> dict[str, int]:
    counts = Counter(chain.from_iterable(changes for _change, changes in verbs))
    effects = Counter(chain.from_iterable(change.effects for change in plan.users_there))
    held = sum(1 for removal in plan.held if removal[0] == "user")
    total = _users_in_scope(snapshot, state, {change.reference for change in plan.users}) + held
    touched = sum(1 for change in plan.users if change.reference in snapshot.users)
    return {
        **{verb: counts[verb] for verb in _OF_USERS},
        "claimed": effects[Effect.CLAIMED],
        "released": effects[Effect.UNCLAIMED],
        "ignored": plan.ignored,
        "unchanged": total - touched,
        "total": total,
    }


def _count_memberships(plan: Plan, snapshot: Snapshot, state: StoredState) -> dict[str, int]:
    added = sum(len(change.users_added) + len(change.user_groups_added) for change in plan.memberships)
    removed = sum(len(change.users_removed) + len(change.user_groups_removed) for change in plan.memberships)
    return {
        **{kind: snapshot.other_members.get(kind, 0) for kind in OTHER_MEMBERS},
        "added": added,
        "removed": removed,
        "unresolved": len(plan.unresolved),
        "unchanged": state.membership_count - removed,
        "total": state.membership_count - removed + added,
    }


def _users_in_scope(snapshot: Snapshot, state: StoredState, created: Collection[str]) -> int:
    """Return how many users there are in scope now, by what was read."""
    if snapshot.complete:
        return sum(1 for key, user in snapshot.users.items() if user is None or key in state.users or key in created)
    new = [
        key
        for key, user in snapshot.users.items()
        if user is not None
        and (key in state.users or key in created)
        and not (key in state.users and state.users[key].record.claimed and not state.users[key].record.extinct)
    ]
    return state.user_count + len(new) - len(snapshot.lost_users)


# --- the diff --------------------------------------------------------------------------------------------------------


def _diff(
    plan: Plan,
    changed: Sequence[_ChangedGroup],
    entries: Sequence[Entry],
    state: StoredState,
    groups: UserGroups,
    limit: int,
) -> dict[str, str]:
    """Return before and after as text: only the parts of the tree that change, each under the same heading.

    ``entries`` are those of the first ones of ``changed``. The text is written from the plan: comparing two whole trees
    as text takes minutes where they are large.
    """
    before: list[str] = []
    after: list[str] = []
    records = {change.key: change for change in plan.user_groups}
    for each, entry in zip(changed, entries):
        headings = "user group %s" % (each.previous_path or each.path), "user group %s" % each.path
        if each.key in records:
            _write(before, after, headings, records[each.key].before, records[each.key].after)
        else:
            before.append(headings[0])
            after.append(headings[1])
        before += _members(entry["members_removed"], entry["user_groups_removed"])
        after += _members(entry["members_added"], entry["user_groups_added"])
    for change in sorted(plan.users, key=lambda change: _record_of(change).name)[:limit]:
        headings = _heading(change.before, state.user_groups), _heading(change.after, groups)
        _write(before, after, headings, change.before, change.after)
    return {"before": _text(before), "after": _text(after), "before_header": plan.target, "after_header": plan.target}


def _heading(record: UserRecord | None, groups: UserGroups) -> str:
    return "" if record is None else "user %s in %s" % (record.name, path_of(record.home, groups))


def _members(names: Iterable[str], paths: Iterable[str]) -> list[str]:
    return [*("    member %s" % name for name in names), *("    member user group %s" % path for path in paths)]


Record = TypeVar("Record", UserRecord, UserGroupRecord)


def _write(
    before: list[str], after: list[str], headings: tuple[str, str], old: Record | None, new: Record | None
) -> None:
    """Write what differs below the headings. A record that is not there has none."""
    old_fields = [] if old is None else _fields(old)
    new_fields = [] if new is None else _fields(new)
    if old is not None:
        before.append(headings[0])
        before.extend("    " + line for line in old_fields if line not in new_fields)
    if new is not None:
        after.append(headings[1])
        after.extend("    " + line for line in new_fields if line not in old_fields)


def _fields(record: UserRecord | UserGroupRecord) -> list[str]:
    lines = ["%s: %s" % (field, value) for field, value in sorted(_model.fields_of(record.attributes).items())]
    if record.extinct:
        lines.append("extinct: %s" % record.extinct)
    if isinstance(record, UserRecord):
        lines.append("enabled: %s" % str(record.enabled).lower())
        if record.sid:
            lines.append("sid: %s" % record.sid)
    return lines


def _text(lines: Iterable[str]) -> str:
    return "".join(printable(line) + "\n" for line in lines)
