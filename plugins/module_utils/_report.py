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
from collections.abc import Iterable, Mapping
from itertools import chain, filterfalse
from types import MappingProxyType
from typing import Any, NamedTuple

from . import _model
from ._model import Effect, Fate, path_of
from ._printable import printable

# What members of groups can be besides users, user groups and values that lead nowhere: counted.
OTHER_MEMBERS = ("computers", "contacts", "out_of_scope", "well_known_identities")

MEMBER_NAMES_PER_LIMIT = 10  # member names of all groups together: this times report_limit


class Looked(NamedTuple):
    """What was looked up in the store for the report."""

    direct_groups: dict[str, list[str]]  # user reference -> keys of the groups that list it, before the run
    names: dict[str, str]  # user reference -> name, of members that the plan does not touch


def _groups_after(plan, state):
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


def _verbs(change: _model.UserChange | _model.UserGroupChange) -> list[str]:
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


def _nestings_after(plan, state):
    nestings = {key: set(children) for key, children in state.nestings.items()}
    for change in plan.memberships:
        children = nestings.setdefault(change.key, set())
        children.difference_update(change.user_groups_removed)
        children.update(change.user_groups_added)
    return nestings


def _is_shown_or_hidden(change: _model.UserChange) -> bool:
    return Effect.SHOWN in change.effects or Effect.HIDDEN in change.effects


def _passing(plan, state) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return which user groups pass their members on to which, before and after: see `_model.passing`."""
    extinct_before = {key for key, record in state.user_groups.items() if record.extinct}
    extinct_after = {key for key, record in _groups_after(plan, state).items() if record.extinct}
    return (
        _model.passing(state.nestings, extinct_before),
        _model.passing(_nestings_after(plan, state), extinct_after),
    )


def members_to_load(plan: _model.Plan, state: _model.StoredState) -> set[str]:
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


def users_to_load(plan: _model.Plan, state: _model.StoredState, nested: Iterable[str]) -> set[str]:
    """Return the users whose stored direct groups are needed; ``nested``: the members of `members_to_load`."""
    if not state.user_groups:
        return set()
    users = set(nested)
    for change in plan.memberships:
        users.update(change.users_added, change.users_removed)
    users.update(change.reference for change in plan.users_there if _is_shown_or_hidden(change))
    return users


_GROUPS_AT_ONCE = 4096  # so that what is gathered of each group stays small, however many there are


def _affected(plan, state, groups, direct_before) -> set[str]:
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


def _differing(direct, around_before, around_after, groups) -> set[str]:
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


def names_to_load(plan: _model.Plan, state: _model.StoredState) -> set[str]:
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

    def items(self, items: list) -> list:
        self.truncated = self.truncated or len(items) > self.limit
        return items[: self.limit]

    def names(self, items: list) -> list:
        kept = items[: self.names_left]
        self.truncated = self.truncated or len(kept) < len(items)
        self.names_left -= len(kept)
        return kept


# --- the report ------------------------------------------------------------------------------------------------------


def make_report(
    plan: _model.Plan,
    snapshot: _model.Snapshot,
    state: _model.StoredState,
    looked: Looked,
    limit: int,
    with_diff: bool,
    reasons: Mapping[_model.Removal, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the part of the result that speaks of the plan, with ``diff`` if asked for. ``reasons``: why what the plan
    holds is held.

    Lists are cut at ``limit``, member names of all groups together at ten times that; counts never are.
    """
    groups = _groups_after(plan, state)
    cut = _Cut(limit)
    names = dict(looked.names)
    names.update((reference, stored.record.name) for reference, stored in state.users.items())
    names.update((change.reference, (change.after or change.before).name) for change in plan.users)

    changed = _changed_groups(plan, state, groups)
    affected = _affected(plan, state, groups, looked.direct_groups) - set(changed)
    unchanged = set(groups) - set(changed) - affected
    verbs = [(change, _CREATED if change.before is None else _verbs(change)) for change in plan.users]
    listed = _list_changed_groups(changed, groups, state, names, cut)
    result = {
        "changed_groups": [entry for _key, entry in listed],
        "affected_groups": cut.items(sorted(path_of(key, groups) for key in affected)),
        "unchanged_groups": cut.items(sorted(path_of(key, groups) for key in unchanged)),
        "users": _list_users(verbs, groups, state, cut),
        "summary": _summary(plan, snapshot, state, changed, affected, unchanged, verbs),
        "collisions": cut.items([collision._asdict() for collision in plan.collisions]),
        "unresolved_members": cut.items(
            [
                {"user_group": path_of(key, groups), "value": listed.value, "reason": listed.reason}
                for key, listed in sorted(plan.unresolved)
                if key in groups
            ]
        ),
        "not_stored": cut.items([{"dn": dn, "reason": reason} for dn, reason in sorted(snapshot.not_stored)]),
        "held": _list_held(plan, groups, names, cut, reasons),
    }
    result["report_truncated"] = cut.truncated
    if with_diff:
        result["diff"] = _diff(plan, listed, state, groups, limit)
    return result


def _changed_groups(plan, state, groups) -> dict[str, Any]:
    """Return {key: (what changed, membership change or None)} of all groups that changed."""
    changed = {change.key: ([*_verbs(change)], None) for change in plan.user_groups}
    changed = {key: entry for key, entry in changed.items() if entry[0]}
    for change in plan.memberships:
        verbs = changed.get(change.key, ([], None))[0]
        changed[change.key] = (verbs + ["members"], change)
    return changed


def _list_changed_groups(changed, groups, state, names, cut):
    entries = []
    for key, (verbs, members) in changed.items():
        record = groups.get(key) or state.user_groups[key]
        path = path_of(key, groups if key in groups else state.user_groups)
        previous = path_of(key, state.user_groups) if key in state.user_groups else None
        entries.append(
            (
                path,
                key,
                {
                    "path": path,
                    "previous_path": previous if previous != path else None,
                    "dn": record.dn,
                    "changes": verbs,
                },
                members,
            )
        )
    entries.sort(key=lambda entry: entry[:2])
    entries = cut.items(entries)
    empty = _model.MembershipChange("", [], [], [], [])
    for *_dummy, entry, members in sorted(entries, key=lambda entry: sum(map(len, (entry[3] or empty)[1:]))):
        members = members or empty
        for field, users in (("members_added", members.users_added), ("members_removed", members.users_removed)):
            entry[field] = sorted(names.get(user, user) for user in cut.names(users))
        entry["user_groups_added"] = sorted(path_of(key, groups) for key in cut.names(members.user_groups_added))
        entry["user_groups_removed"] = sorted(
            path_of(key, state.user_groups) for key in cut.names(members.user_groups_removed)
        )
    return [entry[1:3] for entry in entries]


_WOULD_BE = {"user": "extinct", "enabled": "enabled", "sid": "without_sid"}


def _list_held(plan, groups, names, cut, reasons):
    """Return what is held, and why."""
    held: dict[str, list] = {"users": [], "user_groups": [], "memberships": []}
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


def _list_users(verbs, groups, state, cut):
    lists: dict[str, list] = {
        verb: [] for verb in ("created", "updated", "renamed", "moved", "disabled", "enabled", "extinct", "deleted")
    }
    for change, changes in verbs:
        name = (change.after or change.before).name
        for verb in changes:
            if verb == "renamed":
                lists[verb].append({"name": name, "previous_name": change.before.name})
            elif verb == "moved":
                lists[verb].append(
                    {
                        "name": name,
                        "home": path_of(change.after.home, groups),
                        "previous_home": path_of(change.before.home, state.user_groups),
                    }
                )
            else:
                lists[verb].append(name)
    for verb, entries in lists.items():
        entries.sort(key=(lambda entry: entry["name"]) if verb in ("renamed", "moved") else None)
    return {verb: cut.items(entries) for verb, entries in lists.items()}


def _summary(plan, snapshot, state, changed, affected, unchanged, verbs):
    group_verbs = Counter(chain.from_iterable(entry[0] for entry in changed.values()))
    user_verbs = Counter(chain.from_iterable(changes for dummy, changes in verbs))
    created = {change.reference for change in plan.users}
    held = sum(1 for removal in plan.held if removal[0] == "user")
    total = _users_in_scope(snapshot, state, created) + held
    touched = sum(1 for change in plan.users if change.reference in snapshot.users)
    added = sum(len(change.users_added) + len(change.user_groups_added) for change in plan.memberships)
    removed = sum(len(change.users_removed) + len(change.user_groups_removed) for change in plan.memberships)
    effects = Counter(chain.from_iterable(change.effects for change in plan.users_there))
    return {
        "user_groups": dict(
            {
                verb: group_verbs[verb]
                for verb in ("created", "renamed", "moved", "updated", "members", "extinct", "deleted")
            },
            changed=len(changed),
            affected=len(affected),
            unchanged=len(unchanged),
            total=len(affected) + len(unchanged) + len(changed) - group_verbs["deleted"],
        ),
        "users": dict(
            {
                verb: user_verbs[verb]
                for verb in ("created", "updated", "renamed", "moved", "disabled", "enabled", "extinct", "deleted")
            },
            claimed=effects[Effect.CLAIMED],
            released=effects[Effect.UNCLAIMED],
            ignored=plan.ignored,
            unchanged=total - touched,
            total=total,
        ),
        "memberships": dict(
            {kind: snapshot.other_members.get(kind, 0) for kind in OTHER_MEMBERS},
            added=added,
            removed=removed,
            unresolved=len(plan.unresolved),
            unchanged=state.membership_count - removed,
            total=state.membership_count - removed + added,
        ),
    }


def _users_in_scope(snapshot, state, created) -> int:
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


def _diff(plan, changed_groups, state, groups, limit):
    """Return before and after as text: only the parts of the tree that change, each under the same heading.

    Written from the plan: comparing two whole trees as text takes minutes where they are large.
    """
    before: list[str] = []
    after: list[str] = []
    records = {change.key: change for change in plan.user_groups}
    for key, entry in changed_groups:
        change = records.get(key)
        heading = ("user group %s", entry["previous_path"] or entry["path"], entry["path"])
        _write(before, after, heading, change and change.before, change and change.after, bool(change))
        before.extend("    member %s" % name for name in entry["members_removed"])
        before.extend("    member user group %s" % path for path in entry["user_groups_removed"])
        after.extend("    member %s" % name for name in entry["members_added"])
        after.extend("    member user group %s" % path for path in entry["user_groups_added"])
    for change in sorted(plan.users, key=lambda change: (change.after or change.before).name)[:limit]:
        heading = (
            "user %s",
            change.before and "%s in %s" % (change.before.name, path_of(change.before.home, state.user_groups)),
            change.after and "%s in %s" % (change.after.name, path_of(change.after.home, groups)),
        )
        _write(before, after, heading, change.before, change.after, True)
    return {"before": _text(before), "after": _text(after), "before_header": plan.target, "after_header": plan.target}


def _write(before, after, heading, old, new, compared):
    old_fields, new_fields = _fields(old), _fields(new)
    if old is not None or not compared:
        before.append(heading[0] % heading[1])
        before.extend("    " + line for line in old_fields if line not in new_fields)
    if new is not None or not compared:
        after.append(heading[0] % heading[2])
        after.extend("    " + line for line in new_fields if line not in old_fields)


def _fields(record):
    if record is None:
        return []
    lines = ["%s: %s" % (field, value) for field, value in sorted(_model.fields_of(record.attributes).items())]
    if record.extinct:
        lines.append("extinct: %s" % record.extinct)
    if isinstance(record, _model.UserRecord):
        lines.append("enabled: %s" % str(record.enabled).lower())
        if record.sid:
            lines.append("sid: %s" % record.sid)
    return lines


def _text(lines):
    return "".join(printable(line) + "\n" for line in lines)
