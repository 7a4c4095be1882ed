# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.


"""The preset of a type of directory, with what the options say instead."""

from __future__ import annotations

import re
from typing import Any

from .._errors import SynchronizationError
from .filter_text import check_filter
from .presets import LDAP_PRESETS, PRESETS, Preset, any_class

# RFC 4512, 2.5 and 1.4: attribute descriptions, and names of object classes. They become part of a filter. No attribute
# by number: the server would answer with its name.
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*(;[A-Za-z0-9-]+)*")
_OBJECT_CLASS = re.compile(r"[A-Za-z][A-Za-z0-9-]*|\d+(\.\d+)+")


def check_parameters(settings: Any) -> None:
    """Raise SynchronizationError for what is wrong with `ldap_parameters` whatever the server is."""
    given = _given(settings)
    _check_choices(given)
    _check_names(given)
    _check_together(given, settings)


def _given(settings: Any) -> dict[str, Any]:
    return {name: value for name, value in (settings.ldap_parameters or {}).items() if value is not None}


_CHOICES = (("preset", LDAP_PRESETS), ("member_value", ("dn", "name", "key")), ("user_groups_value", ("dn", "name")))


def _check_choices(given: dict[str, Any]) -> None:
    for name, choices in _CHOICES:
        if name in given and given[name] not in choices:
            what = "preset " if name == "preset" else ""
            raise SynchronizationError(
                "ldap_parameters.%s: there is no %s'%s': set it to one of %s"
                % (name, what, given[name], ", ".join(choices))
            )


def _check_names(given: dict[str, Any]) -> None:
    for name in ("group_class", "user_class"):
        if name in given and not all(
            isinstance(each, str) and _OBJECT_CLASS.fullmatch(each) for each in _listed(given[name])
        ):
            raise SynchronizationError(
                "ldap_parameters.%s: %r is neither an object class nor a list of object classes: write a name such as "
                "'groupOfNames'" % (name, given[name])
            )
    for name in ("user_key", "group_key", "user_groups"):
        if name in given and not _is_attribute(given[name]):
            raise SynchronizationError(
                "ldap_parameters.%s: %r is no name of an attribute: correct it" % (name, given[name])
            )
    members = given.get("group_members", "member")
    if not all(map(_is_attribute, _listed(members))):
        raise SynchronizationError(
            "ldap_parameters.group_members: %r is neither an attribute nor a list of "
            "attributes: write a name such as 'member'" % (members,)
        )


def _check_together(given: dict[str, Any], settings: Any) -> None:
    if "user_groups_value" in given and "user_groups" not in given:
        raise SynchronizationError(
            "ldap_parameters.user_groups_value: it says what stands in "
            "ldap_parameters.user_groups, which is missing: give that, or remove this"
        )
    for name in ("group_members", "member_value"):
        if "user_groups" in given and name in given:
            raise SynchronizationError(
                "ldap_parameters.%s: this and ldap_parameters.user_groups are two ways to find "
                "the members of a group: remove one of them" % name
            )
    if given.get("user_groups_value") == "name":
        options = {"ldap_parameters." + name for name in ("group_class", "group_key") if name in given}
        options |= {name for name in ("group_filter", "group_attributes") if getattr(settings, name)}
        for name in sorted(options):
            raise SynchronizationError(
                "%s: it has nothing to act on with ldap_parameters.user_groups_value: name, "
                "where groups have no entries: remove one of them" % name
            )


def _listed(value: Any) -> tuple[Any, ...]:
    """Return what an option has that takes a name or a list of names, each once; what is none of these for neither."""
    several = value if isinstance(value, (list, tuple)) and value else [value]
    return tuple(dict.fromkeys(several)) if all(isinstance(each, str) for each in several) else tuple(several)


def _is_attribute(name: Any) -> bool:
    return isinstance(name, str) and bool(_ATTRIBUTE.fullmatch(name))


def resolve(settings: Any, type_of_directory: str) -> Preset:
    """Return the preset of that type with the options' overrides applied.

    `settings` has ldap_parameters, user_filter, group_filter, group_types, user_attributes and group_attributes.
    Raises SynchronizationError for parameters that are wrong or contradict each other.
    """
    check_parameters(settings)
    preset = _with_parameters(PRESETS[type_of_directory], _given(settings))
    user_name, user_fields, user_lists = _fields(settings.user_attributes, preset.user_name, preset.user_fields)
    group_name, group_fields, group_lists = _fields(settings.group_attributes, preset.group_name, preset.group_fields)
    # groupType is a signed number whose highest bit marks security groups (MS-ADA1 2.289); bit filters are decimal.
    security = "(groupType:1.2.840.113556.1.4.803:=2147483648)" if settings.group_types == "security" else None
    return preset._replace(
        user_filter=_all_of("user_filter", preset.is_user, settings.user_filter),
        group_filter=_all_of("group_filter", preset.is_group, settings.group_filter, security),
        user_name=user_name,
        user_fields=user_fields,
        user_lists=user_lists,
        group_name=group_name,
        group_fields=group_fields,
        group_lists=group_lists,
    )


def _with_parameters(preset: Preset, given: dict[str, Any]) -> Preset:
    changes: dict[str, Any] = {name: given[name] for name in ("user_key", "group_key", "member_value") if name in given}
    if "user_class" in given:
        changes["is_user"] = any_class(_listed(given["user_class"]))
    if "group_class" in given:
        changes["group_classes"] = _listed(given["group_class"])
        changes["is_group"] = any_class(changes["group_classes"])
    if "group_members" in given:
        changes["group_members"] = _listed(given["group_members"])
    if "user_groups" in given:
        changes.update(
            user_groups=given["user_groups"], user_groups_value=given.get("user_groups_value", "dn"), group_members=()
        )
    return preset._replace(**changes)


def _all_of(option: str, *filters: str | None) -> str:
    given = [text.strip() for text in filters if text]
    for text in given:
        try:
            check_filter(text)
        except ValueError as error:
            raise SynchronizationError("%s: %s" % (option, error)) from None
    return given[0] if len(given) == 1 else "(&%s)" % "".join(given)


Sources = dict[str, "tuple[str, ...]"]  # field -> attributes, the first that has a value counts


def _fields(mapping: dict[str, str] | None, name: str, fields: Sources) -> tuple[str, Sources, dict[str, str]]:
    """Return the attribute of the name, the fields of the preset, and the fields that the option adds."""
    added = dict(mapping or {})
    name = added.pop("name", name)
    standard = {field: (added.pop(field),) if field in added else fields[field] for field in fields}
    return name, standard, added
