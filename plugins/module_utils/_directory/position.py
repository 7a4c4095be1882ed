# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Where the server stands: asked before anything else is read, and left for the next read as a mark.

What changes from then on is read twice. Example: the position is asked for, ann is renamed, ann is read. The next read
is told that ann changed, and finds nothing new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._model import Mark
from .changes import lists, sweep, ways
from .changes.common import SWEEP, SYNCREPL, Changes, ReadFully, Where, attempt
from .scope import Scope
from .source import Source

NO_MARK = Mark({})  # what a read of everything goes on from


def mark_without(why: str) -> Mark:
    """Return the mark that only says why nothing can be read since it."""
    return Mark({"none": why})


class Position:
    """``last`` is the mark that the read goes on from: NO_MARK if everything is read."""

    def __init__(self, source: Source, scope: Scope, last: Mark = NO_MARK) -> None:
        self.source, self.scope, self.last = source, scope, last
        self.said: dict[str, Any] = {}  # see ways.position; empty: it is not known
        self.why_unknown = ""  # empty also if it was not asked for
        self.versions = b""
        self.list_changes: dict[str, lists.ListChange] = {}  # key of a group -> what is told of its list

    def ask(self) -> None:
        """Ask where the server stands. Raises ReadFully if changes from here on cannot be told."""
        session, is_first = self.source.session, self.last is NO_MARK
        said = ways.position(session, self.where(()), None if is_first else self.last.said)
        if said["way"] == SWEEP:
            self.versions = sweep.versions(session, self.where(self._known_outside()))
        elif is_first:  # a read of what changed goes on from one that has proven this
            sweep.prove(session, self.where(()))
        self.said = dict(said, lists=self._ask_for_lists().hex())

    def try_to_ask(self) -> None:
        """The same; if it cannot be told, note why."""
        try:
            attempt(self.source.session, self.ask)
        except ReadFully as why:
            self.why_unknown = str(why)

    def _ask_for_lists(self) -> bytes:
        """Return the cookie for the next read, and note what came to lists and left them since the last one."""
        if self.last is NO_MARK:
            return lists.lists_since(self.source.session, self.where(()), b"")[0]
        cookie = bytes.fromhex(self.last.said.get("lists", ""))
        if cookie:
            cookie, self.list_changes = lists.lists_since(self.source.session, self.where(()), cookie)
        return cookie

    def since_last(self, known: Any) -> Changes:
        """Return what changed since the last read. Raises ReadFully if that cannot be told."""
        return ways.since(
            self.source.session,
            self.where(self._known_outside()),
            self.last.said,
            self.said,
            self.last.versions,
            self.versions,
            known,
        )

    def _known_outside(self) -> Sequence[str]:
        known: Sequence[str] = self.last.said.get("outside", ())
        return known

    def where(self, outside: Sequence[str]) -> Where:
        """Return where changes are looked for."""
        source = self.source
        if source.is_active_directory and source.adds_outside:  # whom a primary group brings in, nothing else tells of
            return Where(source.preset, source.context, {source.subtree_normal: source.subtree}, ())
        return Where(source.preset, source.context, self.scope.roots, outside)

    def prove(self, keys: set[str]) -> None:
        """See that changes of these are told as well, who were not known to be in scope when the others were proven."""
        if self.said.get("way") != SYNCREPL or not keys:
            return
        session, place = self.source.session, Where(self.source.preset, self.source.context, {}, sorted(keys))
        try:
            attempt(session, lambda: sweep.prove(session, place))
        except ReadFully as why:
            self.said, self.why_unknown = {}, str(why)

    def as_mark(self, **more: Any) -> Mark | None:
        """Return the mark for the next read, with what it must know beside; None if none was asked for."""
        if self.said:
            return Mark(dict(self.said, selection=self.scope.as_said(), **more), self.versions)
        return mark_without(self.why_unknown) if self.why_unknown else None
