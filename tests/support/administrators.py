# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two administrators of different units of one directory, what they do in it, and a watch on whose a path is.

The watch knows nothing of plans and stores: it is told who has which path after a run, and what that run saw.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ansible_collections.usersync.directory.plugins.module_utils import _model, _names
from hypothesis import strategies as st

from .snapshots import group, user

DAY = 86400
ADMINISTRATORS = ("it", "sales")
KINDS = ("user", "user_group")
# Names that a suffix, or extinction, may make of others are among them.
NAMES = ("Admins", "admins", "Ops", "Admins (it)", "Admins (sales)", "Admins (extinct)", "Ops (extinct)")


class Entry(NamedTuple):
    """An entry of the directory. Each administrator has two containers, '<name>1' and '<name>2'."""

    key: str
    kind: str
    administrator: str
    container: str
    name: str
    created: int
    hidden: frozenset[str] = frozenset()  # the synchronizations that do not see it


class World:
    """The directory: what the administrators do with it, each in containers of their own."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.made = 0

    def do(self, action: tuple[Any, ...]) -> None:
        what, *details = action
        getattr(self, what)(*details)

    def create(self, administrator: str, kind: str, name: str, container: int) -> str:
        self.made += 1
        key = "%s%d" % (kind[0] + kind[-1], self.made)
        self.entries[key] = Entry(key, kind, administrator, "%s%d" % (administrator, container), name, self.made)
        return key

    def _any(self, number: int) -> Entry | None:
        keys = sorted(self.entries)
        return self.entries[keys[number % len(keys)]] if keys else None

    def _change(self, number: int, **fields: Any) -> None:
        entry = self._any(number)
        if entry is not None:
            self.entries[entry.key] = entry._replace(**fields)

    def delete(self, number: int) -> None:
        entry = self._any(number)
        if entry is not None:
            del self.entries[entry.key]

    def make_again(self, number: int) -> str | None:
        """Delete it, and make another one of its name in its container."""
        entry = self._any(number)
        if entry is None:
            return None
        self.delete(number)
        return self.create(entry.administrator, entry.kind, entry.name, int(entry.container[-1]))

    def rename(self, number: int, name: str) -> None:
        self._change(number, name=name)

    def swap(self, number: int, other: int) -> None:
        one, two = self._any(number), self._any(other)
        if one is not None and two is not None and one.kind == two.kind:
            self._change(number, name=two.name)
            self._change(other, name=one.name)

    def move(self, number: int) -> None:
        """To the other container of its administrator."""
        entry = self._any(number)
        if entry is not None:
            self._change(number, container=entry.container[:-1] + ("1" if entry.container[-1] == "2" else "2"))

    def hide(self, number: int, synchronization: str) -> None:
        """By rights, a filter, or the scope: it is there, and the synchronization does not see it."""
        entry = self._any(number)
        if entry is not None:
            self._change(number, hidden=entry.hidden | {synchronization})

    def show(self, number: int, synchronization: str) -> None:
        entry = self._any(number)
        if entry is not None:
            self._change(number, hidden=entry.hidden - {synchronization})

    def hide_all(self, administrator: str, kind: str, synchronization: str) -> None:
        """By a filter or the scope: all of one kind in the containers of one administrator."""
        for key, entry in self.entries.items():
            if (entry.administrator, entry.kind) == (administrator, kind):
                self.entries[key] = entry._replace(hidden=entry.hidden | {synchronization})

    def show_all(self, synchronization: str) -> None:
        for key, entry in self.entries.items():
            self.entries[key] = entry._replace(hidden=entry.hidden - {synchronization})

    def seen_by(self, synchronization: str) -> dict[str, Entry]:
        return {key: entry for key, entry in self.entries.items() if synchronization not in entry.hidden}


def bodies(entries: Iterable[Entry]) -> tuple[list[_model.User], list[_model.UserGroup]]:
    """What a reader makes of the entries: the stable key of a container is 'key of ' and its DN."""
    users, groups = [], []
    for entry in entries:
        common: dict[str, Any] = {"created": entry.created, "unit_dn": "OU=%s,DC=x" % entry.container}
        if entry.kind == "user":
            users.append(user(entry.key, entry.name, **common))
        else:
            groups.append(group(entry.key, entry.name, container=entry.administrator, **common))
    return users, groups


class _Had(NamedTuple):
    key: str
    administrator: str
    name: str  # its own, in the directory, when it came to the path
    lost: int | None = None  # when it was first seen to be no more, or extinct
    gave_up: bool = False  # it left the path for a name that it was given in the directory


class Watch:
    """Sees that a path never comes to mean an object of the other administrator, but by a rename that the first one's
    own object made, or after so many days.
    """

    def __init__(self, days: int) -> None:
        self.days = days
        self.had: dict[tuple[str, str], _Had] = {}

    def look(
        self,
        now: int,
        holders: dict[tuple[str, str], tuple[str, bool]],
        seen: dict[str, Entry],
        world: dict[str, Entry],
    ) -> None:
        """After a run.

        :param now: seconds since 1970.
        :param holders: (kind, path, names without case) -> key of who has it, and whether that is extinct.
        :param seen: the entries that the run read, by key.
        :param world: all entries that there ever were, by key.
        """
        for path, had in self.had.items():
            key, extinct = holders.get(path, ("", True))
            if key == had.key and not extinct:
                continue
            if key != had.key and had.key in seen:
                renamed = _names.name_key(seen[had.key].name) != _names.name_key(had.name)
                had = had._replace(gave_up=had.gave_up or renamed)
            self.had[path] = had._replace(lost=now if had.lost is None else had.lost)
        for path, (key, extinct) in holders.items():
            entry, had = world[key], self.had.get(path)
            if had is not None and had.key == key:
                self.had[path] = had if extinct else had._replace(lost=None, gave_up=False)
                continue
            if had is not None and had.administrator != entry.administrator and not had.gave_up:
                assert had.lost is not None and now - had.lost >= self.days * DAY, (
                    "%s '%s' of %s passed to %s of %s" % (*path, had, key, entry)
                )
            self.had[path] = _Had(key, entry.administrator, entry.name, now if extinct else None)


# --- what they do, at random -----------------------------------------------------------------------------------------

_numbers = st.integers(0, 20)


def actions(synchronizations: tuple[str, ...] = ("staff",)) -> st.SearchStrategy[tuple[Any, ...]]:
    """Something that an administrator does, or that happens to what is seen of the directory."""
    who, kind, name = st.sampled_from(ADMINISTRATORS), st.sampled_from(KINDS), st.sampled_from(NAMES)
    synchronization = st.sampled_from(synchronizations)
    create = st.tuples(st.just("create"), who, kind, name, st.integers(1, 2))
    return st.one_of(
        create,
        create,
        st.tuples(st.just("delete"), _numbers),
        st.tuples(st.just("make_again"), _numbers),
        st.tuples(st.just("rename"), _numbers, name),
        st.tuples(st.just("swap"), _numbers, _numbers),
        st.tuples(st.just("move"), _numbers),
        st.tuples(st.just("hide"), _numbers, synchronization),
        st.tuples(st.just("show"), _numbers, synchronization),
        st.tuples(st.just("hide_all"), who, kind, synchronization),
        st.tuples(st.just("show_all"), synchronization),
    )
