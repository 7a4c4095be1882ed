# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Members by what the users themselves say: their lists of groups, and their primary groups."""

from __future__ import annotations

from .._model import AS_STORED, UserGroup
from .._names import significant
from .distinguished_names import dn_is_within, dn_text, normal_dn
from .fields import name_problem
from .filters import below_parents
from .forms import value_text
from .groups import Group, key_of_name
from .members import Seen
from .naming import Naming
from .notes import Notes
from .outsiders import add_users_with, anybody
from .presets import Entry
from .scope import AT_TOP, Outside
from .search import LONGEST_ASKED_FOR, MISSING_OK, search


class ByUsers:
    def __init__(self, notes: Notes, outside: Outside, seen: Seen, naming: Naming) -> None:
        self.source, self.notes, self.outside, self.seen, self.naming = seen.source, notes, outside, seen, naming
        self.known_by, self.groups = seen.accounts.known_by, seen.groups
        self.dangling: dict[str, list[str]] = {}  # see Snapshot

    # --- primary groups

    def bring_in_by_primary_group(self) -> None:
        """Bring in the users outside the selected containers whose primary group is in scope."""
        for rule, (user_attribute, _of_group) in enumerate(self.source.preset.primary_group):
            before = [attribute.lower() for attribute, _of_group in self.source.preset.primary_group[:rule]]

            def is_by_this_rule(entry: Entry, before: list[str] = before) -> bool:
                return not any(attribute in entry for attribute in before)

            values = sorted(self.groups.primary_values(rule))
            add_users_with(self.seen, self.outside, user_attribute, values, is_by_this_rule)
            self.naming.name_users()

    # --- lists of groups

    def make_lists(self) -> None:
        """Make the member lists from the users' lists of groups."""
        if not self.source.preset.user_groups:
            return
        if self.source.names_are_groups:
            self._make_groups_of_names()
            return
        dns = [group.record.dn.encode("utf-8") for group in self.groups.found.values()]
        add_users_with(self.seen, self.outside, self.source.preset.user_groups, dns, anybody)
        self.naming.name_users()
        missing: dict[str, dict[str, list[str]]] = {}
        for value, keys in self.known_by.user_side.items():
            normal = _normal(value)
            key = self.groups.tokens.outcomes.get(normal)
            if not normal:
                why = "the value %.60r is no DN; users that have it: %d" % (value, len(keys))
                self.notes.not_stored.append((self.source.preset.user_groups, why))
            elif isinstance(key, str):
                self.groups.found[key].add_users(keys)
            elif dn_is_within(normal, self.source.context_normal):
                missing.setdefault(normal, {})[dn_text(value)] = keys
        self._note_dangling(missing)

    def _note_dangling(self, missing: dict[str, dict[str, list[str]]]) -> None:
        """Tell groups that do not exist from those that are not in scope.

        ``missing``: normal DN -> DN as it is listed, in each of its spellings -> users.
        """
        session = self.source.session
        for base, tests in below_parents({normal: next(iter(users_of)) for normal, users_of in missing.items()}):
            for raw_dn, _entry, _raw in search(session, base, "one", tests, ("objectClass",), MISSING_OK):
                missing.pop(normal_dn(dn_text(raw_dn)), None)
        for users_of in missing.values():
            self.dangling.update(users_of)
            count = len({key for keys in users_of.values() for key in keys})
            self.notes.not_stored.append(
                (min(users_of), "it does not exist or cannot be read; users that list it as a group: %d" % count)
            )

    def _make_groups_of_names(self) -> None:
        attribute = self.source.preset.user_groups or ""
        for value, keys in sorted(self.known_by.user_side.items()):
            try:
                name = value_text(attribute, value)
            except ValueError:
                self.notes.not_stored.append((attribute, "the name %r of a group is not UTF-8" % value))
                continue
            problem = name_problem(name, attribute)
            if problem and name.strip():
                self.notes.not_stored.append((name, problem))
            elif not problem:
                name = significant(name)
                key = key_of_name(name)
                if key not in self.groups.found:
                    self.groups.found[key] = Group(
                        _group_of_name(key, name), [None] * len(self.source.preset.primary_group)
                    )
                self.groups.found[key].add_users(keys)


def _normal(value: bytes) -> str:
    """Return a DN in normal form; empty if it is none."""
    try:
        return normal_dn(dn_text(value)) if len(value) <= LONGEST_ASKED_FOR else ""
    except ValueError:
        return ""


def _group_of_name(key: str, name: str) -> UserGroup:
    return UserGroup(
        key=key,
        dn="",
        name=name,
        parent=AT_TOP,
        created=0,
        type="group",
        container="",
        attributes={},
        members=AS_STORED,
        user_groups=[],
        kept_values=[],
        members_digest=b"",
    )
