# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The position of the server: asked before anything else is read, and left for the next read as a mark.

What changes from then on is read twice. Example: the position is asked for, ann is renamed, ann is read. The next read
is told that ann changed, and finds nothing new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._mark import NONE_LEFT, SWEEP, Mark, Point, Reached, Synchronized, Unmarked
from .changes import sweep, ways
from .changes.common import MANY, Changes, ListChange, ReadFully, Where, attempt
from .scope import Scope
from .source import Source

# Seconds that a mark is good for. Directories forget what was deleted: Active Directory after tombstoneLifetime, which
# is two days at least (MS-ADTS 6.1.1.2.4.1.1).
LASTS = 2 * 86400


def check_mark(mark: Mark, now: int) -> None:
    """Raise ReadFully if nothing can be read since this mark. ``now``: seconds since 1970."""
    if not 0 <= now - mark.time <= LASTS:
        raise ReadFully("the last run is more than %d days ago, or the clock was set back since" % (LASTS // 86400))
    if len(mark.reached.again) + len(mark.reached.outside) + len(mark.reached.dead_ends) > MANY:
        raise ReadFully("more than %d entries must be looked at in every run" % MANY)


class Position:
    """``last`` is what the read goes on from: `Unmarked` if everything is read."""

    def __init__(self, source: Source, scope: Scope, last: Reached | Unmarked = NONE_LEFT) -> None:
        self.source, self.scope, self.last = source, scope, last
        self.point: Point | Unmarked = NONE_LEFT  # as long as it was not asked for
        self.lists = b""  # see Reached
        self.versions = b""
        self.list_changes: dict[str, ListChange] = {}  # key of a group -> what is told of its list

    def ask(self) -> None:
        """Ask for the position of the server. Raises ReadFully if changes from here on cannot be told."""
        session, before = self.source.session, self.last
        point = ways.position(session, self.where(()), before.point if isinstance(before, Reached) else None)
        if point.way == SWEEP:
            self.versions = sweep.versions(session, self.where(self._known_outside()))
        elif isinstance(before, Unmarked):  # a read of what changed goes on from one that has proven this
            sweep.prove(session, self.where(()))
        self.lists = self._ask_for_lists()
        self.point = point

    def try_to_ask(self) -> None:
        """The same; if it cannot be told, note why."""
        try:
            attempt(self.source.session, self.ask)
        except ReadFully as why:
            self.point = Unmarked(str(why))

    def _ask_for_lists(self) -> bytes:
        """Return the cookie for the next read, and note what came to lists and left them since the last one."""
        since = self.last.lists if isinstance(self.last, Reached) else b""
        if not (since or isinstance(self.last, Unmarked)):
            return b""
        from .changes.lists import lists_since  # Active Directory tells that

        cookie, self.list_changes = lists_since(self.source.session, self.where(()), since)
        return cookie

    def since_last(self, last: Reached, known: Any) -> Changes:
        """Return what changed since the last read. Raises ReadFully if that cannot be told."""
        if isinstance(self.point, Unmarked):
            raise ReadFully(self.point.why)
        where = self.where(self._known_outside())
        return ways.since(self.source.session, where, last, self.point, self.versions, known)

    def _known_outside(self) -> Sequence[str]:
        return self.last.outside if isinstance(self.last, Reached) else ()

    def where(self, outside: Sequence[str]) -> Where:
        """Return where changes are looked for."""
        source = self.source
        if source.is_active_directory and source.adds_outside:  # whom a primary group brings in, nothing else tells of
            return Where(source.preset, source.context, {source.subtree_normal: source.subtree}, ())
        return Where(source.preset, source.context, self.scope.roots, outside)

    def prove(self, keys: set[str]) -> None:
        """See that changes of these are told as well, who were not known to be in scope when the others were proven."""
        if not (isinstance(self.point, Synchronized) and keys):
            return
        session, place = self.source.session, Where(self.source.preset, self.source.context, {}, sorted(keys))
        try:
            attempt(session, lambda: sweep.prove(session, place))
        except ReadFully as why:
            self.point = Unmarked(str(why))
