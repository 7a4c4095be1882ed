# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What is selected and what is excluded, and where an entry lies.

Selected are containers, with all that lies in them, and groups. *Roots* are the bases that are searched: the selected
containers, no one inside another. Whoever lies in none of them can be in scope all the same, if a group in scope lists
it.

Example: `ou=people` and the group `cn=all,ou=groups` are selected, and the group lists `uid=ann,ou=people` and
`uid=eve,ou=temps`. The only root is `ou=people`. Eve is in scope and lies outside; unless `outside_members: skip`.

What is selected is looked up at the beginning of a read (`selection.py`), and does not change after that.
"""

from __future__ import annotations

from .._mark import Selection
from .._model import Place
from .distinguished_names import dn_is_within, dn_text, normal_dn, normal_parent
from .outcomes import Outcome
from .source import Source

AT_TOP = None  # the home of who lies in no container that is a user group


class Scope:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.excluded: list[str] = []  # normal DNs of subtrees
        self.excluded_keys: set[str] = set()  # of the excluded entries themselves, which may be users or groups
        self.excluded_as: dict[str, str] = {}  # DN as written in the option -> stable key
        self.selected: dict[str, str] = {}  # DN as written in the option -> stable key
        self.selected_containers: dict[str, str] = {}  # normal DN -> DN, nested ones too
        self.selected_groups: dict[str, str] = {}  # DN -> stable key
        self.roots: dict[str, str] = {}  # normal DN -> DN
        self.is_whole = False  # the roots cover all there is
        self.nodes: dict[str, str] = {}  # containers that are user groups: normal DN -> key
        self.places: dict[bytes, tuple[str | None, bool]] = {}  # DN as read -> (home, excluded) of what is below it
        # Whether it matters where in the roots an entry lies.
        self.needs_places = source.containers_are_groups or bool(source.settings.exclude_distinguished_name)

    def is_excluded(self, normal: str) -> bool:
        """Return whether an option leaves out what lies at this DN in normal form."""
        return any(dn_is_within(normal, excluded) for excluded in self.excluded)

    def is_left_out(self, normal: str) -> bool:
        """Return whether nothing that lies at this DN in normal form is in scope."""
        return self.is_excluded(normal) or not dn_is_within(normal, self.source.subtree_normal)

    def has(self, normal: str) -> bool:
        """Return whether this DN in normal form lies in a selected container."""
        return any(dn_is_within(normal, root) for root in self.roots)

    def home(self, normal: str) -> str | None:
        """Return the key of the nearest container, from this DN upwards, that is a node."""
        while normal:
            key = self.nodes.get(normal)
            if key:
                return key
            normal = normal_parent(normal)
        return AT_TOP

    def place(self, parent: bytes) -> tuple[str | None, bool]:
        """Return (home, excluded) of the entries directly below a DN as read."""
        try:
            normal = normal_dn(dn_text(parent))
            place = self.home(normal), self.is_left_out(normal)
        except ValueError:  # then what lies there has no DN either: see `Accounts.add`
            place = AT_TOP, False
        self.places[parent] = place
        return place

    def as_place(self) -> Place:
        """Return where all in scope lies, for the snapshot."""
        return Place(
            tuple(self.roots),
            tuple(self.excluded),
            frozenset(self.excluded_keys),
            self.source.subtree_normal,
            self.source.adds_outside,
        )

    def as_selection(self) -> Selection:
        """Return what is selected and excluded, as it lies now, for the mark."""
        return Selection(
            containers=sorted(self.roots),
            groups=sorted(map(normal_dn, self.selected_groups)),
            keys=self.selected,
            excluded=sorted(self.excluded),
            excluded_keys=sorted(self.excluded_keys),
        )


class Outside:
    """Who is in scope though it lies outside the selected containers."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.keys: set[str] = set()

    def note(self, outcome: Outcome, normal: str) -> Outcome:
        """Note whom a listed value led to, who lies at this DN in normal form; and return it."""
        if isinstance(outcome, str) and not self.scope.has(normal):
            self.keys.add(outcome)
        return outcome
