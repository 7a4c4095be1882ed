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
from typing import Any

from .. import _graph
from .._destination.contract import Kind, Record, State
from .._errors import SynchronizationError
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


def wanted(
    found: Found,
    chosen: Sequence[str],
    user_attributes: Mapping[str, str],
    name_attribute: str = "name",
    group_name: str = "name",
    nests: bool = False,
    allow_empty: bool = False,
) -> Wanted:
    """Return what the user groups with these paths result in.

    ``name_attribute`` is the field that becomes the account's name, ``group_name`` is 'name' or 'path'. Raises
    SynchronizationError if a chosen user group is missing or extinct, or empty without ``allow_empty``: nobody is to
    lose an account since a path was misspelled, or since a user group was deleted.
    """
    groups = {str(group["path"]): group for group in found["user_groups"]}
    nested = {path: list(group["user_groups"]) for path, group in groups.items()}
    passing = _graph.passing(nested, {path for path, group in groups.items() if group["extinct"]})
    listed = _listed(found["users"])
    concerned = _graph.reach(chosen, passing) if nests else chosen
    for path in chosen:
        _check(path, groups)
        if not allow_empty and not _members(path, passing, listed):
            raise SynchronizationError(
                "user_groups: '%s' has no members (a home is no membership), and nobody loses an account by that: name "
                "the user groups that list them, or take it out of user_groups or set allow_empty: true, if they are to"
                % path
            )
    left_out: list[LeftOut] = []
    records: dict[Ref, Record] = {}
    members: dict[Ref, frozenset[Ref]] = {}
    places: dict[Ref, str] = {}
    users = {str(user["home"]) + "\0" + str(user["name"]): user for user in found["users"] if not user["extinct"]}
    for path in sorted(concerned):
        group = groups[path]
        ref = Ref(Kind.GROUP, group["key"] or "path:" + path)
        if ref in records:
            first = next(each for each in sorted(concerned) if _group_ref(groups[each]) == ref)
            raise SynchronizationError(
                "user_groups: '%s' and '%s' have one stable key in two synchronizations, and would be one group: "
                "provision them under two names" % (first, path)
            )
        records[ref] = Record(path if group_name == "path" else group["name"], ref.key)
        inside = set(listed.get(path, ())) if nests else _members(path, passing, listed)
        refs = {_ref(users[place]) for place in inside}
        if nests:
            refs.update(_group_ref(groups[each]) for each in passing.get(path, ()))
        members[ref] = frozenset(refs)
        for place in sorted(inside):
            ref = _ref(users[place])
            if places.setdefault(ref, place) != place:
                raise SynchronizationError(
                    "user_groups: '%s' and '%s' have one stable key in two directories, and would be one account: "
                    "provision them under two names" % tuple(each.replace("\0", "/") for each in (places[ref], place))
                )
            record = _record(users[place], ref.key, user_attributes, name_attribute)
            if record.name:
                records[ref] = record
            elif ref not in {each.ref for each in left_out}:
                why = "the user has no value in the field %s, which is to be the name of the account" % name_attribute
                left_out.append(LeftOut(ref, str(users[place]["name"]), why))
    nameless = {each.ref for each in left_out}
    return Wanted(records, {ref: inside - nameless for ref, inside in members.items()}, tuple(left_out))


def _listed(users: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return {path: the places of the users whom the user group lists}."""
    listed: dict[str, list[str]] = {}
    for user in users:
        if not user["extinct"]:
            for path in user["user_groups"]:
                listed.setdefault(path, []).append(str(user["home"]) + "\0" + str(user["name"]))
    return listed


def _members(path: str, passing: Mapping[str, list[str]], listed: Mapping[str, list[str]]) -> set[str]:
    return {place for group in _graph.reach([path], passing) for place in listed.get(group, ())}


def _check(path: str, groups: Mapping[str, Mapping[str, Any]]) -> None:
    if path not in groups:
        raise SynchronizationError(
            "user_groups: the store has no user group '%s': correct the path, or run the synchronization that makes it"
            % path
        )
    if groups[path]["extinct"]:
        raise SynchronizationError(
            "user_groups: '%s' is extinct (%s), and nobody loses an account by that: take it out of user_groups if "
            "they are to" % (path, groups[path]["extinct"])
        )


def _ref(user: Mapping[str, Any]) -> Ref:
    return Ref(Kind.ACCOUNT, user["key"] or "path:%s/%s" % (user["home"], user["name"]))


def _group_ref(group: Mapping[str, Any]) -> Ref:
    return Ref(Kind.GROUP, group["key"] or "path:%s" % group["path"])


def _record(user: Mapping[str, Any], key: str, attributes: Mapping[str, str], name_attribute: str) -> Record:
    fields = {**user["attributes"], **user["local_attributes"], "name": user["name"]}
    texts = {attribute: _text(fields.get(field)) for attribute, field in attributes.items()}
    return Record(
        _text(fields.get(name_attribute)),
        key,
        State.ENABLED if user["enabled"] else State.DISABLED,
        {attribute: text for attribute, text in texts.items() if text},
    )


def _text(value: object) -> str:
    """Return the text of a field; of several the first one."""
    if isinstance(value, (list, tuple)):
        value = value[0] if value else ""
    return str(value) if value is not None else ""
