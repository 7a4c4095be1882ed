# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What the store says of the chosen user groups -> accounts, groups and members. Pure.

What is taken is plain data as the store's look-ups give it: user groups with the paths of those nested in them, and
users with the paths of the user groups that list them. Members of nested user groups are members, unless the
destination nests itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from .. import _graph
from .._destination.contract import Kind, Record, State
from .._errors import SynchronizationError
from .._limits import Refusal
from .._named_tuple import NamedTuple
from .._names import path_reference
from .model import LeftOut, Ref, Wanted

# Attribute of SCIM -> field of the store; the user's name, key and state are always written.
USER_ATTRIBUTES = {
    "displayName": "display_name",
    "emails[work]": "email",
    "name.familyName": "surname",
    "name.givenName": "given_name",
    "phoneNumbers[work]": "phone",
    "title": "title",
}

Found = Mapping[str, Sequence[Mapping[str, Any]]]  # user_groups and users
Place = tuple[str, str]  # home and name of a user


class NoSuchUserGroup(SynchronizationError):
    """A chosen user group is missing, extinct or empty: the run is refused."""

    def __init__(self, option: str, path: str, why: str) -> None:
        """``option``: the one that could allow it."""
        super().__init__("user_groups: " + why)
        self.refusal = Refusal("user_groups", 0, 0, option, path, str(self))


class Choice(NamedTuple):
    """Which user groups are provisioned, and as what."""

    user_groups: Sequence[str]  # their paths
    user_attributes: Mapping[str, str]  # attribute of the destination -> field of the store
    name_attribute: str = "name"  # the field that becomes the account's name
    group_name: str = "name"  # 'name' or 'path'
    nests: bool = False  # user groups that are nested become groups themselves
    allow_empty: bool = False


def wanted(found: Found, choice: Choice) -> Wanted:
    """Return what the chosen user groups result in.

    Raises NoSuchUserGroup if one of them is missing or extinct, or empty without ``allow_empty``: nobody is to lose an
    account since a path was misspelled, or since a user group was deleted. Raises another SynchronizationError for two
    that would be one at the destination.
    """
    there = _There(found)
    for path in choice.user_groups:
        _check(path, there, choice.allow_empty)
    paths = sorted(_graph.reach(choice.user_groups, there.passing) if choice.nests else choice.user_groups)
    inside = {path: sorted(there.listed.get(path, ()) if choice.nests else there.members(path)) for path in paths}
    groups = _each_once(((_group_ref(there.groups[path]), path) for path in paths), "synchronizations", "group")
    people = _each_once(
        ((_ref(there.users[place]), place) for path in paths for place in inside[path]), "directories", "account"
    )
    records = {ref: Record(_name_of(there.groups[path], choice), ref.key) for ref, path in groups.items()}
    left_out = []
    for ref, place in people.items():
        record = _record(there.users[place], ref.key, choice)
        if record.name:
            records[ref] = record
        else:
            why = "the user has no value in the field %s, which is to be the name of the account"
            left_out.append(LeftOut(ref, place[1], why % choice.name_attribute))
    nameless = {each.ref for each in left_out}
    members = {
        ref: frozenset(_ref(there.users[place]) for place in inside[path]) - nameless for ref, path in groups.items()
    }
    if choice.nests:
        for ref, path in groups.items():
            members[ref] = members[ref].union(_group_ref(there.groups[each]) for each in there.passing.get(path, ()))
    return Wanted(records, members, tuple(left_out), groups)


class _There:
    """What the store has. Who is extinct is nowhere, and an extinct user group passes nobody on."""

    def __init__(self, found: Found) -> None:
        self.groups = {str(group["path"]): group for group in found["user_groups"]}
        nested = {path: list(group["user_groups"]) for path, group in self.groups.items()}
        self.passing = _graph.passing(nested, {path for path, group in self.groups.items() if group["extinct"]})
        self.users = {(str(user["home"]), str(user["name"])): user for user in found["users"] if not user["extinct"]}
        self.listed: dict[str, list[Place]] = {}  # user group -> users whom it lists
        for place, user in self.users.items():
            for path in user["user_groups"]:
                self.listed.setdefault(path, []).append(place)

    def members(self, path: str) -> set[Place]:
        """Return the members, those of nested user groups, too."""
        return {place for group in _graph.reach([path], self.passing) for place in self.listed.get(group, ())}


Where = TypeVar("Where", str, Place)


def _each_once(found: Iterable[tuple[Ref, Where]], of_two: str, one: str) -> dict[Ref, Where]:
    """Return where each is. Raises SynchronizationError for two that would be one at the destination."""
    at: dict[Ref, Where] = {}
    for ref, where in found:
        if at.setdefault(ref, where) != where:
            raise SynchronizationError(
                "user_groups: '%s' and '%s' have one stable key in two %s, and would be one %s: provision them under "
                "two names" % (_shown(at[ref]), _shown(where), of_two, one)
            )
    return at


def _shown(where: str | Place) -> str:
    return where if isinstance(where, str) else "/".join(where)


def _check(path: str, there: _There, allow_empty: bool) -> None:
    if path not in there.groups:
        why = "the store has no user group '%s': correct the path, or run the synchronization that makes it" % path
        raise NoSuchUserGroup("user_groups", path, why)
    if there.groups[path]["extinct"]:
        why = "'%s' is extinct (%s), and nobody loses an account by that: take it out of user_groups if they are to" % (
            path,
            there.groups[path]["extinct"],
        )
        raise NoSuchUserGroup("user_groups", path, why)
    if not allow_empty and not there.members(path):
        why = (
            "'%s' has no members (a home is no membership), and nobody loses an account by that: name the user groups "
            "that list them, or take it out of user_groups or set allow_empty: true, if they are to" % path
        )
        raise NoSuchUserGroup("allow_empty", path, why)


def _ref(user: Mapping[str, Any]) -> Ref:
    return Ref(Kind.ACCOUNT, user["key"] or path_reference("%s/%s" % (user["home"], user["name"])))


def _group_ref(group: Mapping[str, Any]) -> Ref:
    return Ref(Kind.GROUP, group["key"] or path_reference(group["path"]))


def _name_of(group: Mapping[str, Any], choice: Choice) -> str:
    return str(group["path"] if choice.group_name == "path" else group["name"])


def _record(user: Mapping[str, Any], key: str, choice: Choice) -> Record:
    fields = {**user["attributes"], **user["local_attributes"], "name": user["name"]}
    texts = {attribute: _text(fields.get(field)) for attribute, field in choice.user_attributes.items()}
    return Record(
        _text(fields.get(choice.name_attribute)),
        key,
        State.ENABLED if user["enabled"] else State.DISABLED,
        {attribute: text for attribute, text in texts.items() if text},
    )


def _text(value: object) -> str:
    """Return the text of a field; of several the first one."""
    if isinstance(value, (list, tuple)):
        value = value[0] if value else ""
    return str(value) if value is not None else ""
