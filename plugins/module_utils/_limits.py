# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Plan + policies -> refuse or go on. Pure.

A refusal is about the whole run: it changes nothing at all then. Approving a plan, or its removals, satisfies limits on
what it removes, and a change of scope. It never makes a doubtful read a complete one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from . import _changes, _model
from ._changes import Effect, Fate, Plan, UserChange, UserGroupChange
from ._model import Snapshot, StoredState, path_of
from ._named_tuple import NamedTuple

KINDS = ("users", "user_groups", "memberships", "attributes", "renames", "states")
NO_REMOVALS = ("renames", "states")  # what approved_removals does not cover

# From this size on something is looked at by itself, too: a list that reads empty, the members of one group, the values
# of one field.
_EMPTIED_FROM, ONE_GROUP_FROM, _ONE_FIELD_FROM = 10, 100, 10

# Settings by which it is decided who is in scope: option -> whether another value may also end memberships, or lose
# everybody at once, while nobody left.
SCOPE_SETTINGS = {
    "distinguished_name": False,
    "exclude_distinguished_name": False,
    "outside_members": False,
    "user_filter": False,
    "group_filter": False,
    "group_structure": False,
    "ldap_parameters.user_key": True,
    "ldap_parameters.group_key": True,
    "ldap_parameters.group_members": True,
    "ldap_parameters.member_value": True,
    "ldap_parameters.user_groups": True,
    "ldap_parameters.user_groups_value": True,
}


class Refusal(NamedTuple):
    """Why the run is refused as a whole."""

    limit: str  # a kind of removal_limits, or 'scope_change', 'allow_empty', 'approved_plan', ...
    would_remove: int
    of: int
    option: str  # the one that could allow it
    about: str | None  # path of the user group, or name of the field, where it is about one
    why: str  # for the reader

    @property
    def entry(self) -> dict[str, Any]:
        """What the result has of it. Why is in the message."""
        return {field: value for field, value in self._asdict().items() if field != "why"}


class Owned(NamedTuple):
    """How much the synchronization owns before the run that is not extinct."""

    users: int
    user_groups: int
    memberships: int
    values: dict[tuple[str, str], int]  # (kind of record, field) -> records with a value; empty where none is lost
    claimed_users: int = 0  # all that it has in scope, also those that another synchronization writes


# --- limits ----------------------------------------------------------------------------------------------------------


def check_limit(text: str) -> str:
    """Return the limit as written. Raises ValueError, with a sentence for the reader, if it is none."""
    if not re.fullmatch(r"[0-9]{1,9}|(?:[0-9]{1,2}|100)%", text):
        raise ValueError("'%s' is no limit: write a number such as 50, or a percentage such as 10%%" % text)
    return text


def most(limit: str | None, of: int) -> int:
    """Return how many of ``of`` may go: as the limit says, else 20 %, or 10 if that is more, but at most half."""
    if limit is None:
        return min(max(of // 5, 10), of // 2)
    return of * int(limit[:-1]) // 100 if limit.endswith("%") else int(limit)


class Count(NamedTuple):
    """How much of a kind the plan does."""

    kind: str  # of removal_limits
    number: int
    of: int  # what is owned before the run; and what is counted and not owned, so that 100 % lets everything through
    what: str  # for the reader: 'end %d of %d memberships'
    about: str | None = None  # see Refusal


def _exceeded(plan: Plan, state: StoredState, owned: Owned, limits: Mapping[str, str]) -> list[Refusal]:
    """Return a refusal for each limit that the plan exceeds."""
    there = plan.users_there
    counts = (
        _users_that_end(there, state, owned),
        _user_groups_that_end(plan, state, owned),
        *_memberships_that_end(plan, state, owned),
        *_values_that_are_lost(plan, state, owned),
        _records_that_are_renamed(there, plan.user_groups, state, owned),
        _users_that_are_switched(there, state, owned),
    )
    return over(counts, limits)


def over(counts: Iterable[Count], limits: Mapping[str, str]) -> list[Refusal]:
    """Return a refusal for each count that is more than its limit lets through."""
    return [_over(each, limits) for each in counts if each.number > most(limits.get(each.kind), each.of)]


def _over(each: Count, limits: Mapping[str, str]) -> Refusal:
    option = "removal_limits.%s" % each.kind
    what, allowed = each.what % (each.number, each.of), most(limits.get(each.kind), each.of)
    why = "%s: the run would %s, and at most %d may go" % (option, what, allowed)
    return Refusal(each.kind, each.number, each.of, option, each.about, why)


def _users_that_end(there: Sequence[UserChange], state: StoredState, owned: Owned) -> Count:
    ending = [change for change in there if change.removes and not change.was_announced]
    of = owned.users + sum(not _is_written(change.reference, state) for change in ending)
    return Count("users", len(ending), of, "remove, disable or overwrite %d of %d users")


def _user_groups_that_end(plan: Plan, state: StoredState, owned: Owned) -> Count:
    ending = len(_ending_groups(plan, state))
    return Count("user_groups", ending, owned.user_groups, "remove or empty %d of %d user groups")


def _memberships_that_end(plan: Plan, state: StoredState, owned: Owned) -> Iterator[Count]:
    """Yield those of all user groups together, and those of each large one."""
    groups = state.user_groups
    removed = {
        change.key: _removed(change)
        for change in plan.memberships
        if not (change.key in groups and groups[change.key].extinct)
    }
    yield Count("memberships", sum(removed.values()), owned.memberships, "end %d of %d memberships")
    for key, count in sorted(removed.items()):
        size = max(_size(state, key), count)
        if size >= ONE_GROUP_FROM:
            path = path_of(key, groups)
            what = "end %%d of %%d memberships in '%s'" % path.replace("%", "%%")
            yield Count("memberships", count, size, what, path)


def _values_that_are_lost(plan: Plan, state: StoredState, owned: Owned) -> Iterator[Count]:
    """Yield those of all fields together, and those of each field that many records have."""
    is_owned = {"user": _is_written, "user_group": _is_there}
    losses: Counter[tuple[str, str]] = Counter()
    values = Counter(owned.values)
    for loss in _changes.losses(plan):
        losses[loss.kind, loss.field] += 1
        values[loss.kind, loss.field] += not is_owned[loss.kind](loss.reference, state)
    yield Count("attributes", sum(losses.values()), sum(values.values()), "empty %d of %d values")
    for (kind, field), count in sorted(losses.items()):
        of = values[kind, field]
        if of >= _ONE_FIELD_FROM:
            what = "empty the field %s of %%d out of %%d %ss" % (field, kind.replace("_", " "))
            yield Count("attributes", count, of, what, field)


def _records_that_are_renamed(
    there: Sequence[UserChange], user_groups: Sequence[UserGroupChange], state: StoredState, owned: Owned
) -> Count:
    users = [change.reference for change in there if _is_renamed(change)]
    groups = [change.key for change in user_groups if _is_renamed(change)]
    of = owned.users + owned.user_groups
    of += sum(not _is_written(reference, state) for reference in users)
    of += sum(not _is_there(key, state) for key in groups)
    return Count("renames", len(users) + len(groups), of, "rename %d of %d users and user groups")


def _users_that_are_switched(there: Sequence[UserChange], state: StoredState, owned: Owned) -> Count:
    switched = [change.reference for change in there if _is_switched(change)]
    of = owned.claimed_users + sum(not _is_claimed(reference, state) for reference in switched)
    return Count("states", len(switched), of, "enable or disable %d of %d users, as the directory says")


def _is_claimed(reference: str, state: StoredState) -> bool:
    """Tell whether a user is among `Owned.claimed_users`."""
    stored = state.users.get(reference)
    return stored is not None and stored.record.claimed and not stored.record.extinct


def _is_written(reference: str, state: StoredState) -> bool:
    """Tell whether a user is among `Owned.users`."""
    return _is_claimed(reference, state) and state.users[reference].is_written_here


def _is_there(key: str, state: StoredState) -> bool:
    """Tell whether a user group is among `Owned.user_groups`."""
    return key in state.user_groups and not state.user_groups[key].extinct


def _removed(change: _changes.MembershipChange) -> int:
    return len(change.users_removed) + len(change.user_groups_removed)


def _size(state: StoredState, key: str) -> int:
    """Return how many members the stored user group has."""
    users = state.sizes.get(key, len(state.members.get(key, ())))
    return users + len(state.nestings.get(key, ()))


def _ending_groups(plan: Plan, state: StoredState) -> set[str]:
    """Return the user groups that end, become extinct, or of many members keep none."""
    ending = {
        change.key
        for change in plan.user_groups
        if change.fate is Fate.EXTINCT or change.fate is Fate.DELETED and not change.was_announced
    }
    for change in plan.memberships:
        removed = _removed(change)
        emptied = removed == _size(state, change.key) and not change.users_added and not change.user_groups_added
        if removed >= _EMPTIED_FROM and emptied and not state.user_groups[change.key].extinct:
            ending.add(change.key)
    return ending


def _is_switched(change: UserChange) -> bool:
    """Tell whether the directory enables or disables the user. Who becomes extinct, or returns, counts elsewhere."""
    return change.fate is Fate.STAYS and not change.effects.isdisjoint({Effect.ENABLED, Effect.DISABLED})


def _is_renamed(change: UserChange | UserGroupChange) -> bool:
    """Tell whether the directory renames it. Who takes over a record, or gives its name up as extinct, does so here."""
    return change.fate in (Fate.STAYS, Fate.BACK) and Effect.RENAMED in change.effects


# --- scope -----------------------------------------------------------------------------------------------------------


Scope = Mapping[str, Any]  # the settings that decide who is in scope, and whether the whole tree is selected


def _scope_refusal(
    plan: Plan, snapshot: Snapshot, owned: Owned, before: Scope | None, after: Scope, removals_approved: bool
) -> list[Refusal]:
    """Return a refusal where the scope settings changed and that would end something, or widen to the whole tree."""
    if before is None:
        return []
    changed = [option for option in SCOPE_SETTINGS if before.get(option) != after.get(option)]
    # That everything is selected may come about without a setting, where a container was moved above all.
    widened = after["whole_tree"] and not before["whole_tree"]
    if not changed and not widened:
        return []
    ending = 0 if removals_approved else _ending_by_scope(plan, snapshot, changed)
    if not ending and not widened:
        return []
    of = owned.users + owned.user_groups + owned.memberships
    settings = [
        "%s was %s and is %s" % (option, _shown(before.get(option)), _shown(after.get(option))) for option in changed
    ]
    why = "scope_change: the settings that say who is in scope changed since the last run (%s)" % (
        "; ".join(settings) or "a selected container holds the whole tree now"
    )
    if widened:
        why += ", and now the whole tree is selected"
    if ending:
        why += ", by which the run would remove %d of %d users, user groups and their memberships" % (ending, of)
    return [Refusal("scope_change", ending, of, "scope_change", None, why)]


def _ending_by_scope(plan: Plan, snapshot: Snapshot, changed: list[str]) -> int:
    """Return how much may end because of the options that changed."""
    lost = [*snapshot.lost_users.values(), *snapshot.lost_user_groups.values()]
    if any(SCOPE_SETTINGS[option] for option in changed):
        return len(lost) + sum(map(_removed, plan.memberships))
    return lost.count(_model.OUT_OF_SCOPE)


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join("'%s'" % item for item in value) or "empty"
    return "not set" if value is None else "'%s'" % value


# --- approval --------------------------------------------------------------------------------------------------------

_PLAN_DIGEST = re.compile(
    r"users\+([0-9]+)-([0-9]+)~([0-9]+),user_groups\+([0-9]+)-([0-9]+)~([0-9]+),"
    r"memberships\+([0-9]+)-([0-9]+):[0-9a-f]{64}"
)
_REMOVALS_DIGEST = re.compile(
    r"users-([0-9]+),user_groups-([0-9]+),memberships-([0-9]+),attributes-([0-9]+)"
    r":[0-9a-f]{64}"
)
_DIGESTS = {
    "approved_plan": (
        _PLAN_DIGEST,
        "plan_digest",
        (
            "users created",
            "users removed",
            "users changed",
            "user groups created",
            "user groups removed",
            "user groups changed",
            "memberships added",
            "memberships removed",
        ),
    ),
    "approved_removals": (
        _REMOVALS_DIGEST,
        "removals_digest",
        ("users removed", "user groups removed", "memberships removed", "values emptied"),
    ),
}


def check_digest(option: str, text: str) -> str:
    """Return the digest as given. Raises ValueError, with a sentence for the reader, if it is none."""
    pattern, key, _counted = _DIGESTS[option]
    if not pattern.fullmatch(text):
        raise ValueError("'%s' is no such digest: give the %s of a dry run as it is" % (text, key))
    return text


def _difference(option: str, approved: str, actual: str) -> str:
    """Return in what two digests differ, by the counts in them."""
    pattern, _key, counted = _DIGESTS[option]
    pairs = zip(counted, _counts_in(pattern, approved), _counts_in(pattern, actual))
    differing = ["%s: %s instead of %s" % (what, now, then) for what, then, now in pairs if then != now]
    return ", ".join(differing) or "as many changes, but others"


def _counts_in(pattern: re.Pattern[str], digest: str) -> tuple[str, ...]:
    found = pattern.fullmatch(digest)
    if found is None:
        raise AssertionError(digest)  # it is one of ours, or was checked
    return found.groups()


def removes_nothing(digest: str) -> bool:
    """Tell whether the digest of a plan's removals is that of none."""
    return not any(map(int, _counts_in(_REMOVALS_DIGEST, digest)))


def not_approved(settings: Any, digests: tuple[str, str]) -> list[Refusal]:
    """Return a refusal for each of the two digests that was approved and is not that of the plan."""
    found = []
    for option, actual in zip(_DIGESTS, digests):
        approved = getattr(settings, option)
        if not approved or approved == actual or option == "approved_removals" and removes_nothing(actual):
            continue
        why = "%s: the run would do something else than what was approved (%s)"
        found.append(Refusal(option, 0, 0, option, None, why % (option, _difference(option, approved, actual))))
    return found


# --- all together ----------------------------------------------------------------------------------------------------


class Judged(NamedTuple):
    """A run that is to be judged before anything is written."""

    plan: Plan
    unheld: Plan  # the same without what is held: by it a change of scope is judged, since removals only wait
    snapshot: Snapshot
    state: StoredState
    owned: Owned
    last_scope: Scope | None  # scope settings of the last applied run; None before the first
    scope: Scope  # those of this run
    digests: tuple[str, str]  # of the plan, and of what it removes


def refusals(run: Judged, settings: Any) -> list[Refusal]:
    """Return why the run may not go on; empty if it may.

    ``settings`` has removal_limits, allow_empty, scope_change, fail_on, approved_plan and approved_removals.
    """
    found = _empty_read(run, settings) + _to_fail_on(run.plan, settings)
    if run.plan.is_empty and run.unheld.is_empty:
        return found
    wrong = not_approved(settings, run.digests)
    if wrong or settings.approved_plan:
        return found + wrong
    removals_approved = bool(settings.approved_removals)
    if not settings.scope_change:
        found += _scope_refusal(run.unheld, run.snapshot, run.owned, run.last_scope, run.scope, removals_approved)
    return found + [
        refusal
        for refusal in _exceeded(run.plan, run.state, run.owned, settings.removal_limits)
        if not removals_approved or refusal.limit in NO_REMOVALS
    ]


def _empty_read(run: Judged, settings: Any) -> list[Refusal]:
    why = _why_empty(run.snapshot, run.state) if run.snapshot.is_full and not settings.allow_empty else ""
    if not why:
        return []
    removed = sum(change.removes for change in run.plan.users)
    return [Refusal("allow_empty", removed, run.owned.users, "allow_empty", None, "allow_empty: " + why)]


def _to_fail_on(plan: Plan, settings: Any) -> list[Refusal]:
    counts = {"collisions": len(plan.collisions), "unresolved_members": len(plan.unresolved)}
    what = {"collisions": "collisions", "unresolved_members": "members that cannot be resolved"}
    return [
        Refusal(kind, count, count, "fail_on", None, "fail_on: there are %d %s" % (count, what[kind]))
        for kind, count in counts.items()
        if kind in settings.fail_on and count
    ]


def _why_empty(snapshot: Snapshot, state: StoredState) -> str:
    """Return why there is nobody to store, beside whom policies leave out; empty where there is somebody."""
    users = snapshot.users
    if not users:
        return "the read found no user at all"
    if any(user is None or user.name or key in state.users for key, user in users.items()):
        return ""
    return (
        "none of the %d users that were read has a name (not_stored says why, user_attributes.name by what attribute)"
        % len(users)
    )


_TOLD = 5  # refusals whose reasons the message has: the result has all

_TOO_FEW_RIGHTS = "give the account the right to read it, or look at a dry run, and approve its held.plan_digest"
_WHAT_TO_DO = {
    "allow_empty": "correct what is selected, or the account's rights; set allow_empty: true if nobody is to be there",
    "fail_on": "correct them in the directory, or leave them out of fail_on",
    "approved_plan": "look at a dry run, and approve its plan_digest, or held.plan_digest if nothing is to be held",
    "approved_removals": "look at a dry run, and approve its removals_digest",
    "login": _TOO_FEW_RIGHTS,
    "authentication": _TOO_FEW_RIGHTS,
}


def message(found: list[Refusal]) -> str:
    """Return one sentence that says why the run is refused, and what to do."""
    why = "; ".join(refusal.why for refusal in found[:_TOLD])
    if len(found) > _TOLD:
        why += "; and %d more" % (len(found) - _TOLD)
    options = list(dict.fromkeys(refusal.option for refusal in found))
    advice = [_WHAT_TO_DO[option] for option in options if option in _WHAT_TO_DO]
    others = [option for option in options if option not in _WHAT_TO_DO]
    if others:
        removals_only = not any(refusal.limit in NO_REMOVALS for refusal in found)
        advice.append(
            "look at a dry run, then approve its plan_digest with approved_plan%s, or change %s; until then whoever "
            "left keeps what they had"
            % (
                ", or its removals_digest with approved_removals" if removals_only else "",
                " and ".join(others),
            )
        )
    return "%s: nothing was changed; %s" % (why, "; ".join(advice))
