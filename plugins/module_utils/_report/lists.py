# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What a result lists of a plan."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import filterfalse
from typing import Any

from .._changes import Plan
from .._model import Conclusion, Snapshot, StoredState, path_of
from .._named_tuple import NamedTuple
from .changes import ChangedGroup, UserGroups, UserVerbs, record_of
from .cut import Cut

Entry = dict[str, Any]  # of a list in the result


def names_to_load(plan: Plan, state: StoredState) -> set[str]:
    """Return the members whose names must be looked up to write the report."""
    known = {change.reference for change in plan.users}
    members: set[str] = set()
    for change in plan.memberships:  # of hundreds of thousands, few are not known
        members.update(filterfalse(known.__contains__, change.users_added))
        members.update(filterfalse(known.__contains__, change.users_removed))
    members.update(user for kind, *names in plan.held if kind == "member" for user in names[1:])
    return {user for user in members if user not in known and user not in state.users}


def names_after(plan: Plan, state: StoredState, looked_up: Mapping[str, str]) -> dict[str, str]:
    """Return the names of all users that are known to the report, by reference."""
    return {
        **looked_up,
        **{reference: stored.record.name for reference, stored in state.users.items()},
        **{change.reference: record_of(change).name for change in plan.users},
    }


# --- user groups -----------------------------------------------------------------------------------------------------


class ListedGroup(NamedTuple):
    """A user group that changed, and its entry in the result."""

    group: ChangedGroup
    entry: Entry


def list_changed_groups(changed: Sequence[ChangedGroup], cut: Cut) -> list[ListedGroup]:
    """Return the user groups that there is room for, without their members: those that end or lose members first."""
    ordered = sorted(changed, key=lambda each: not each.is_removal)
    entries = cut.entries("changed_groups", ordered, _entry)
    return sorted(map(ListedGroup, ordered, entries), key=lambda each: (each.group.path, each.group.key))


def _entry(group: ChangedGroup) -> Entry:
    lists: Entry = {kind: [] for kind in _REMOVED + _ADDED}
    return {
        "path": group.path,
        "previous_path": group.previous_path,
        "dn": group.dn,
        "changes": group.verbs,
        **lists,
        "left_out": {},
    }


_REMOVED = ("members_removed", "user_groups_removed")
_ADDED = ("members_added", "user_groups_added")
_FIELDS = {  # list of an entry -> field of a MembershipChange
    "members_removed": "users_removed",
    "user_groups_removed": "user_groups_removed",
    "members_added": "users_added",
    "user_groups_added": "user_groups_added",
}


def list_members_removed(listed: Sequence[ListedGroup], names: Mapping[str, str], before: UserGroups, cut: Cut) -> None:
    """Write into the entries who is removed from the groups. Those with few members are told of first."""
    _list_members(listed, _REMOVED, (lambda user: names.get(user, user), lambda key: path_of(key, before)), cut)


def list_members_added(listed: Sequence[ListedGroup], names: Mapping[str, str], after: UserGroups, cut: Cut) -> None:
    """Write into the entries who is added to the groups. Those with few members are told of first."""
    _list_members(listed, _ADDED, (lambda user: names.get(user, user), lambda key: path_of(key, after)), cut)


def _list_members(
    listed: Sequence[ListedGroup], kinds: Sequence[str], names: Sequence[Callable[[str], str]], cut: Cut
) -> None:
    for group, entry in sorted(listed, key=lambda each: each.group.member_count):
        for kind, name in zip(kinds, names):
            keys = getattr(group.members, _FIELDS[kind])
            entry[kind] = sorted(cut.names(keys, name))
            if len(entry[kind]) < len(keys):
                entry["left_out"][kind] = len(keys) - len(entry[kind])
                cut.note("changed_groups." + kind, entry["left_out"][kind])


def list_paths(what: str, keys: Collection[str], groups: UserGroups, cut: Cut) -> list[str]:
    return cut.items(what, sorted(path_of(key, groups) for key in keys))


# --- users -----------------------------------------------------------------------------------------------------------

USERS_REMOVED = ("deleted", "extinct", "disabled")
USERS_ELSE = ("renamed", "moved", "enabled", "updated", "created")


def users_by_verb(verbs: UserVerbs, groups: UserGroups, state: StoredState) -> dict[str, list[Any]]:
    """Return the entries of all users that a plan changes, by what happens to them."""
    lists: dict[str, list[Any]] = {verb: [] for verb in USERS_REMOVED + USERS_ELSE}
    for change, changes in verbs:
        before, after, name = change.before, change.after, record_of(change).name
        for verb in changes:
            if verb == "renamed" and before is not None:
                lists[verb].append({"name": name, "previous_name": before.name})
            elif verb == "moved" and before is not None and after is not None:
                homes = path_of(after.home, groups), path_of(before.home, state.user_groups)
                lists[verb].append({"name": name, "home": homes[0], "previous_home": homes[1]})
            else:
                lists[verb].append(name)
    for entries in lists.values():
        entries.sort(key=lambda entry: entry["name"] if isinstance(entry, dict) else entry)
    return lists


def list_users(by_verb: Mapping[str, list[Any]], verbs: Sequence[str], cut: Cut) -> dict[str, list[Any]]:
    return {verb: cut.items("users." + verb, by_verb[verb]) for verb in verbs}


# --- what is not done ------------------------------------------------------------------------------------------------

_WOULD_BE = {"user": "extinct", "enabled": "enabled", "sid": "without_sid"}


def list_held(
    plan: Plan, groups: UserGroups, names: Mapping[str, str], reasons: Mapping[Conclusion, str], cut: Cut
) -> dict[str, list[Entry]]:
    """Return what is held, and why."""
    held: dict[str, list[Entry]] = {"users": [], "user_groups": [], "memberships": []}
    for conclusion in plan.held:
        kind, key, *member = conclusion
        why = reasons.get(conclusion, "")
        if kind == "user_group":
            held["user_groups"].append({"path": path_of(key, groups), "reason": why})
        elif member:
            name = path_of(member[0], groups) if kind == "nested" else names.get(member[0], member[0])
            held["memberships"].append({"user_group": path_of(key, groups), "member": name, "reason": why})
        else:
            held["users"].append({"name": names.get(key, key), "would_be": _WOULD_BE[kind], "reason": why})
    return {
        what: cut.items("held." + what, sorted(entries, key=lambda entry: list(map(str, entry.values()))))
        for what, entries in held.items()
    }


def list_unresolved(plan: Plan, groups: UserGroups, cut: Cut) -> list[Entry]:
    found = [
        {"user_group": path_of(key, groups), "value": member.value, "reason": member.reason}
        for key, member in sorted(plan.unresolved)
        if key in groups
    ]
    return cut.items("unresolved_members", found)


def list_not_stored(snapshot: Snapshot, cut: Cut) -> list[Entry]:
    return cut.items("not_stored", [{"dn": dn, "reason": reason} for dn, reason in sorted(snapshot.not_stored)])
