# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What is asked for: the filters that are sent, and the attributes.

Filters are made of values as they were read or written. A normal form is for comparing, and may be none that a server
matches.

An entry is found by its DN as one below its parent: one search finds many siblings, and by an index. Example: of
`uid=ann,ou=people` and `uid=bob,ou=people` it is `(|(uid=ann)(uid=bob))`, one level below `ou=people`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from .distinguished_names import dn_parent, normal_parent, parse_dn
from .filter_text import escape_filter
from .presets import Preset
from .search import batches

ANYTHING = "(objectClass=*)"
NOT_READ = ""  # in place of a filter: entries of that kind are not read
NO_ATTRIBUTES = ("1.1",)  # RFC 4511, 4.5.1.8


# --- filters ---------------------------------------------------------------------------------------------------------


def all_of(*filters: str) -> str:
    """Return the filter that matches what all of these match."""
    return "(&%s)" % "".join(filters)


def one_of(*filters: str) -> str:
    """Return the filter that matches what any of these matches."""
    return "(|%s)" % "".join(filters)


def tests_of(attribute: str, values: Iterable[bytes]) -> str:
    """Return the tests for values as read, one after the other."""
    return "".join("(%s=%s)" % (attribute, _escaped(value)) for value in values)


def _escaped(value: bytes) -> str:
    try:
        return escape_filter(value.decode("utf-8"))
    except UnicodeDecodeError:
        return escape_filter(value)


def below_parents(dns: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (base, filter) of the one-level searches that find entries by DN. ``dns``: normal DN -> DN as written."""
    by_parent: dict[str, list[str]] = {}
    for normal, dn in dns.items():
        by_parent.setdefault(normal_parent(normal), []).append(dn)
    for _normal, siblings in sorted(by_parent.items()):
        for batch in batches(siblings):
            yield dn_parent(batch[0]), one_of(*map(_rdn_test, batch))


def _rdn_test(dn: str) -> str:
    parts = ["(%s=%s)" % (kind, escape_filter(value)) for kind, value in parse_dn(dn)[0]]
    return parts[0] if len(parts) == 1 else all_of(*parts)


# --- attributes ------------------------------------------------------------------------------------------------------


def each_once(*names: str | None) -> tuple[str, ...]:
    """Return the names that are given, each once, whatever its case."""
    return tuple({name.lower(): name for name in names if name}.values())


def _of_fields(fields: Mapping[str, Sequence[str]], lists: Mapping[str, str]) -> list[str]:
    return [*lists.values(), *(attribute for several in fields.values() for attribute in several)]


def user_attributes(preset: Preset) -> tuple[str, ...]:
    """Return what is read of users."""
    return each_once(
        preset.user_key,
        preset.user_name,
        preset.listed_name,
        preset.created,
        preset.sid,
        preset.user_groups,
        *preset.state,
        *(of_user for of_user, _of_group in preset.primary_group),
        *_of_fields(preset.user_fields, preset.user_lists),
    )


def group_attributes(preset: Preset) -> tuple[str, ...]:
    """Return what is read of groups."""
    return each_once(
        "objectClass",
        preset.group_key,
        preset.group_name,
        preset.created,
        "groupType" if preset.directory_type == "active_directory" else None,
        *preset.group_members,
        *(of_group for _of_user, of_group in preset.primary_group),
        *_of_fields(preset.group_fields, preset.group_lists),
    )


def container_attributes(preset: Preset) -> tuple[str, ...]:
    """Return what is read of containers that become user groups."""
    return each_once(
        "objectClass", preset.container_key, preset.created, *_of_fields(preset.group_fields, preset.group_lists)
    )


def attributes_that_list(preset: Preset) -> tuple[str, ...]:
    """Return by what member lists may know a user, its DN aside, and by what a user names its groups."""
    known_by = {"name": preset.listed_name, "key": preset.user_key}.get(members_by(preset))
    return each_once(known_by, preset.user_groups, *(of_user for of_user, _of_group in preset.primary_group))


def attributes_that_select(preset: Preset, keys: Sequence[str]) -> tuple[str, ...]:
    """Return by what it is told who a lost entry is, and whether it is selected. ``keys``: attributes of the key."""
    known_by = preset.listed_name if members_by(preset) == "name" else None
    return each_once(*keys, known_by, preset.user_groups, *(of_user for of_user, _of_group in preset.primary_group))


def key_attributes(preset: Preset) -> tuple[str, ...]:
    """Return the attributes that may have the key of an entry, that first which nobody can choose for himself."""
    return each_once(preset.container_key, preset.group_key, preset.user_key)


def members_by(preset: Preset) -> str:
    """Return what member lists have: 'dn', 'name' or 'key'; empty if users list their groups instead."""
    return "" if preset.user_groups else preset.member_value
