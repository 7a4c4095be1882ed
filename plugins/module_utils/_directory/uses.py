# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.


"""What each attribute that is read is for, and what becomes of a value that is malformed or missing."""

from __future__ import annotations

from .._named_tuple import NamedTuple
from .presets import Preset

# A value that only helps never ends a read, and nobody is told of it. A value that decides does, or what it would
# decide is held: that stays as it is stored, and the value is told of.
HELPS, DECIDES = "helps", "decides"


class Use(NamedTuple):
    """What a kind of attribute is for. What becomes of a value is for the documentation."""

    tells: str
    kind: str  # HELPS or DECIDES
    malformed: str  # what becomes of it if the value cannot be understood
    unread: str  # and if there is none, and nothing proves that there is none


USES = {
    "key": Use(
        "whose entry it is",
        DECIDES,
        "the entry is that of who was at its DN in the last run; a newcomer is left out",
        "the read ends",
    ),
    "name": Use("the name", DECIDES, "it stays; a newcomer is left out", "it stays; a newcomer is left out"),
    "listed_name": Use(
        "by what name lists know a user", DECIDES, "no list leads to the user by it", "the memberships stay"
    ),
    "members": Use("the members of a group", DECIDES, "it leads to nobody; whom it meant stays", "the members stay"),
    "primary_group": Use(
        "the primary group of a user", DECIDES, "it leads to no group, as another value does", "the membership stays"
    ),
    "sid": Use("the SID", DECIDES, "it stays; if it is a group's, all stay whose primary group that is", "it stays"),
    "state": Use(
        "whether a user is enabled",
        DECIDES,
        "that stays; a newcomer is disabled",
        "nobody is enabled by that; a newcomer is disabled",
    ),
    "field": Use("a field", DECIDES, "it stays", "it becomes empty, as far as `removal_limits` lets it"),
    "created": Use("who came first, of two who want one name", HELPS, "it counts as the oldest", "the same"),
    "type": Use("with what suffix a group goes that loses its name", HELPS, "with another one", "the same"),
}


def attributes_by_use(preset: Preset) -> dict[str, tuple[str, ...]]:
    """Return the attributes that are read, by the names in `USES`; those of users and of groups, each once."""

    def each_once(*names: str | None) -> tuple[str, ...]:
        return tuple({name.lower(): name for name in names if name}.values())

    def of_fields(*several: dict[str, tuple[str, ...]]) -> list[str]:
        return [name for fields in several for names in fields.values() for name in names]

    by_use = {
        "key": each_once(preset.user_key, preset.group_key, preset.container_key),
        "name": each_once(preset.user_name, preset.group_name),
        "listed_name": each_once(preset.listed_name if preset.member_value == "name" else None),
        "members": each_once(*preset.group_members, preset.user_groups),
        "primary_group": each_once(*(name for pair in preset.primary_group for name in pair)),
        "sid": each_once(preset.sid),
        "state": each_once(*preset.state),
        "field": each_once(
            *of_fields(preset.user_fields, preset.group_fields),
            *preset.user_lists.values(),
            *preset.group_lists.values(),
        ),
        "created": each_once(preset.created),
        "type": each_once("groupType" if preset.directory_type == "active_directory" else "objectClass"),
    }
    return {use: names for use, names in by_use.items() if names}
