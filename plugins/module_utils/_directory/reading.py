# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The rooms of a read, furnished: what a read of everything and a read of what changed have in common.

They differ in where the entries come from, in who is known that was not read, and in what it means that somebody is not
where it was read. Each room is a file, and knows only rooms that stand before it here. So none leads back to itself:
what was read is let go of as soon as the snapshot is made, though the garbage collector is off in a run.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

from .._errors import sentence
from .._mark import NONE_LEFT, Reached, Unmarked
from .._model import Digests, Snapshot, UserGroup
from .accounts import Accounts
from .groups import Groups
from .lookups import LookUps
from .members import Lists, Seen, Surprise, Unread, Values
from .missing import Missing
from .notes import Notes
from .owners import Owners
from .position import Position
from .records import Records
from .scope import Outside
from .search import ReadError
from .selection import select
from .sids import Sids
from .source import Source
from .state import state_by
from .tokens import Tokens
from .units import Units


class Reading:
    """``stored`` is what the store has; ``shared`` are the keys that several entries have."""

    def __init__(
        self,
        source: Source,
        stored: Digests,
        unread: Unread,
        on_surprise: Surprise,
        last: Reached | Unmarked = NONE_LEFT,
        shared: Set[str] = frozenset(),
    ) -> None:
        self.source, self.stored, self.unread = source, stored, unread
        self.notes = Notes()
        self.scope = select(source, stored.selected, self.notes)
        self.outside = Outside(self.scope)
        self.position = Position(source, self.scope, last)
        self.owners = Owners(source, stored, self.notes, shared)
        self.sids = Sids(source, self.notes)
        self.sids.find_domains()
        self.units = Units(source, self.scope, stored.group_dns)
        records = Records(source, self.notes, self.sids, self.units)
        self.accounts = Accounts(source, self.scope, stored, self.notes, self.owners, records)
        self.tokens = Tokens(source)
        self.groups = Groups(self.accounts, self.tokens)
        self.lookups = LookUps(source)
        self.seen = Seen(self.owners, self.accounts, self.groups, self.tokens, on_surprise)
        self.values = Values(self.scope, self.accounts, self.groups, self.tokens, self.lookups, self.seen)
        self.lists = Lists(stored, self.notes, self.values, unread)
        self.missing = Missing(self.scope, self.seen, self.values, unread.is_listed)

    def is_user_group(self, key: str) -> bool:
        """Return whether this is the key of a user group in scope."""
        return key in self.groups.found or self.unread.is_user_group(key)

    def is_in_scope(self, key: str) -> bool:
        """Return whether the read came across a user, a group, or a selected entry with this key, or knows it."""
        return (
            key in self.accounts.users
            or key in self.groups.found
            or key in self.scope.nodes.values()
            or key in self.scope.selected.values()
            or self.unread.is_in_scope(key)
        )

    def reached(self) -> Reached | Unmarked:
        """Return up to where the directory was read, and what the next read must know beside."""
        position = self.position
        if isinstance(position.point, Unmarked):
            return position.point
        return Reached(
            point=position.point,
            lists=position.lists,
            selection=self.scope.as_selection(),
            again=sorted(self.notes.look_again),
            dead_ends=self.lists.dead_ends,
            outside=sorted(self.outside.keys),
            versions=position.versions,
        )

    def snapshot(
        self,
        user_groups: dict[str, UserGroup],
        lost_users: dict[str, str],
        lost_user_groups: dict[str, str],
        reached: Reached | Unmarked,
        **more: Any,
    ) -> Snapshot:
        """Return what was read; ``more`` is what only one of the two reads has to say."""
        return Snapshot(
            directory=self.source.directory,
            users=self.accounts.users,
            user_groups=user_groups,
            lost_users=lost_users,
            lost_user_groups=lost_user_groups,
            unresolved=self.lists.unresolved,
            not_stored=self.notes.not_stored,
            other_members=self.lists.other_members,
            selected={**self.scope.excluded_as, **self.scope.selected},
            warnings=[sentence(warning) for warning in self.notes.warnings],
            listed_as=self.lists.listed_as,
            foreign_sids=self.sids.foreign,
            unclear=self.notes.unclear,
            whole_tree=self.scope.is_whole,
            reached=reached,
            units=self.units.keys(),
            state_by=state_by(self.source.preset),
            place=self.scope.as_place(),
            stateless=self.accounts.stateless,
            **more,
        )


def complete_or_error(read: Callable[[], Snapshot]) -> Snapshot:
    """Return what ``read`` returns. Raise ReadError if the directory sent something that cannot be read."""
    try:
        return read()
    except ValueError as error:
        raise ReadError(
            "server: the read is not complete, since the directory sent something that cannot be read "
            "(%s): correct it there" % error
        ) from None
