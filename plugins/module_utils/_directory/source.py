# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The directory that is read, and how: what does not change while it is read."""

from __future__ import annotations

from typing import Any

from .._model import Directory
from .connection import Session
from .distinguished_names import normal_dn
from .filters import group_attributes, members_by, user_attributes
from .identity import naming_context
from .presets import Entry, Preset
from .search import ReadError
from .stable_keys import key_reader


class Source:
    """One directory, and how it is read.

    ``settings`` has distinguished_name, exclude_distinguished_name, outside_members, group_structure, ldap_parameters
    and required_entries; ``now`` is in seconds since 1970.
    """

    def __init__(self, settings: Any, session: Session, preset: Preset, directory: Directory, now: int) -> None:
        self.settings, self.session, self.preset, self.directory, self.now = settings, session, preset, directory, now
        self.context = naming_context(settings, session, preset)
        self.context_normal = normal_dn(self.context)
        self.subtree = "%s,%s" % (preset.subtree, self.context) if preset.subtree else self.context
        self.subtree_normal = normal_dn(self.subtree)
        self.is_active_directory = preset.directory_type == "active_directory"
        self.containers_are_groups = settings.group_structure in ("organizational_units", "both")
        self.groups_are_groups = settings.group_structure in ("groups", "both")
        self.names_are_groups = preset.user_groups_value == "name"
        self.adds_outside = settings.outside_members == "add"  # members who lie outside the selected containers
        self.members_by = members_by(preset)
        self.user_attributes = user_attributes(preset)
        self.group_attributes = group_attributes(preset)

    # --- stable keys

    def key_in(self, parameter: str, attribute: str, entry: Entry, dn: str) -> str:
        """Return the stable key of an entry; empty if it has values of which none can be that.

        ``parameter`` is the one of ldap_parameters that names the attribute, empty if none does. Raises ReadError if
        there is no value: one may be hidden.
        """
        values = entry.get(attribute.lower())
        if not values:
            raise self.no_key(parameter, attribute, dn)
        return key_reader(attribute)(values)

    def no_key(self, parameter: str, attribute: str, dn: str) -> ReadError:
        option, other = self.session.account_option, ""
        if parameter and not self.is_active_directory:
            option, other = "ldap_parameters.%s" % parameter, ", or name another attribute"
        return ReadError(
            "%s: the read is not complete, since '%s' has no single %s that the account can read and that "
            "can be a key: give the account the right to read it%s" % (option, dn, attribute, other)
        )
