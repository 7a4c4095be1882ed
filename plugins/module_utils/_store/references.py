# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The tree of user groups, and how a synchronization refers to user groups and users: see `_model`.

Example: to the synchronization that owns it, a user group is its stable key; to all others it is ``path:All/Staff``. A
user of this directory is its stable key, one of another directory ``@`` with that directory and its stable key there,
and one who was made by hand is ``#All/Staff/ann``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from .. import _attributes, _model, _names
from .._named_tuple import NamedTuple
from .._names import name_key
from .contract import Row, Store

# --- user groups -----------------------------------------------------------------------------------------------------


class Group(NamedTuple):
    """A row of the table of user groups."""

    id: int
    parent: int | None  # None: it is the root
    name: str
    name_key: str
    synchronization: int | None  # id of the one that owns it; None: it was made by hand, or for a target
    key: str | None
    extinct: str | None
    attributes: str
    dn: str
    digest: bytes
    unit: str
    own_name: str
    extinct_since: int | None

    @property
    def place(self) -> int:
        """The id of the user group that it lies in. Raises ValueError for the root, which no synchronization owns."""
        if self.parent is None:
            raise ValueError("the root lies in no user group")
        return self.parent


def is_tree(parents: Mapping[Any, Any]) -> bool:
    """Tell whether each way upwards ends: at a parent that is None. ``parents`` are {id: id of the parent}."""
    sound: set[Any] = {None}
    for number in parents:
        way: set[Any] = set()
        while number not in sound:
            if number in way or number not in parents:
                return False
            way.add(number)
            number = parents[number]
        sound |= way
    return True


class Tree:
    """Where the user groups are at one moment, and how one synchronization refers to them."""

    def __init__(self, rows: Iterable[Row], synchronization: int) -> None:
        self.groups = {group.id: group for group in map(Group._make, rows)}
        if not is_tree({group.id: group.parent for group in self.groups.values()}):
            raise ValueError("a user group lies in itself")
        self.places = {(group.parent, group.name_key): group.id for group in self.groups.values()}
        owned = {group.key: group.id for group in self.groups.values() if group.synchronization == synchronization}
        self.owned = cast("dict[str, int]", owned)  # stable key -> id: who is owned has a key
        self._paths: dict[int, str] = {}
        self._references = {number: key for key, number in self.owned.items()}

    def path(self, number: int) -> str:
        """Return the path of a user group."""
        above: list[Group] = []  # not by recursion: a tree may be deeper than that goes
        here: int | None = number
        while here is not None and here not in self._paths:
            above.append(self.groups[here])
            here = self.groups[here].parent
        path = None if here is None else self._paths[here]
        for group in reversed(above):
            path = self._paths[group.id] = group.name if path is None else _names.join_path(path, group.name)
        return self._paths[number]

    def path_in(self, reference: str, name: str) -> str:
        """Return the path of what has this name in the user group that the reference is of."""
        prefix = _names.path_reference("")
        home = self.path(self.owned[reference]) if reference in self.owned else reference[len(prefix) :]
        return _names.join_path(home, name)

    def reference(self, number: int) -> str:
        """Return how the synchronization refers to a user group."""
        if number not in self._references:
            self._references[number] = _names.path_reference(self.path(number))
        return self._references[number]

    def owned_groups(self) -> dict[str, Group]:
        """Return {stable key: row} of the user groups that the synchronization owns."""
        return {key: self.groups[number] for key, number in self.owned.items()}

    def records(self) -> dict[str, _model.UserGroupRecord]:
        """Return {stable key: record} of them."""
        return {
            key: _model.UserGroupRecord(
                group.name,
                self.reference(group.place),
                group.extinct,
                _attributes.EncodedAttributes(group.attributes),
                group.dn,
                group.unit,
                group.own_name,
            )
            for key, group in self.owned_groups().items()
        }

    def find(self, names: list[str]) -> list[int]:
        """Return the ids of the user groups along the path, as far as they exist."""
        found: list[int] = []
        for name in names:
            number = self.places.get((found[-1] if found else None, name_key(name)))
            if number is None:
                break
            found.append(number)
        return found

    def at(self, names: list[str]) -> int | None:
        """Return the id of the user group at the path; None if there is none."""
        found = self.find(names)
        return found[-1] if len(found) == len(names) else None

    def referred_to(self, reference: str) -> int | None:
        """Return the id of the user group; None if there is none."""
        if reference in self.owned:
            return self.owned[reference]
        prefix = _names.path_reference("")
        if not reference.startswith(prefix):
            return None
        return self.at(_names.split_path(reference[len(prefix) :]))


def tree_now(store: Store, synchronization: int = 0) -> Tree:
    """Return the tree as it is now, and as the synchronization with this id refers to it."""
    rows = store.rows(
        "SELECT id, parent_id, name, name_key, synchronization_id, key, extinct, attributes, dn,"
        " digest, unit, own_name, extinct_since FROM user_groups"
    )
    return Tree(rows, synchronization)


def tree_before(store: Store, synchronization: int) -> Tree:
    """Return the tree as it is while nothing is written, which is asked for several times in a run.

    Who writes user groups clears `Store.trees`.
    """
    if synchronization not in store.trees:
        store.trees[synchronization] = tree_now(store, synchronization)
    return store.trees[synchronization]


def has_user_group(store: Store, path: list[str]) -> bool:
    """Tell whether there is a user group at the path, given as names."""
    return tree_now(store).at(path) is not None


# --- users -----------------------------------------------------------------------------------------------------------


def foreign_reference(identity: str, key: str) -> str:
    """Return the reference of a user of another directory."""
    return "@" + _names.join_path(_names.join_path("", identity)[1:], key)


def _foreign_parts(reference: str) -> tuple[str, str]:
    """Return the identity of the directory, and the stable key."""
    _root, identity, key = _names.split_path(_names.ROOT + "/" + reference[1:])
    return identity, key


def user_ids(store: Store, references: Iterable[str], directory: int, tree: Tree) -> dict[str, int]:
    """Return {reference: id} of those users that are stored."""
    by_key, by_place, foreign = [], [], []
    for reference in references:
        if reference[:1] == "#":
            names = _names.split_path(reference[1:])
            by_place.append((reference, tree.at(names[:-1]), name_key(names[-1])))
        elif reference[:1] == "@":
            foreign.append(reference)
        else:
            by_key.append((reference, directory, reference))
    if foreign:
        identities: dict[str, int] = dict(store.rows("SELECT identity, id FROM directories"))
        for reference in foreign:
            identity, key = _foreign_parts(reference)
            by_key.append((reference, identities.get(identity, 0), key))
    store.want("wanted_keys", by_key)
    store.want("wanted_places", by_place)
    return dict(
        store.rows(
            "SELECT w.reference, u.id FROM wanted_keys w CROSS JOIN users u"
            " WHERE u.directory_id = w.directory_id AND u.key = w.key"
            " UNION ALL SELECT w.reference, u.id FROM wanted_places w CROSS JOIN users u"
            " WHERE u.home_id = w.home_id AND u.name_key = w.name_key AND u.directory_id IS NULL"
        )
    )


def of_wanted_ids(store: Store, directory: int, tree: Tree) -> dict[int, str]:
    """Return {id: reference} of the users in wanted_ids."""

    def reference(of_directory: int | None, identity: str, key: str, home: int, name: str) -> str:
        if of_directory is None:
            return "#" + _names.join_path(tree.path(home), name)
        return key if of_directory == directory else foreign_reference(identity, key)

    return {
        number: reference(*row)
        for number, *row in store.rows(
            "SELECT u.id, u.directory_id, d.identity, u.key, u.home_id, u.name FROM wanted_ids w CROSS JOIN users u"
            " LEFT JOIN directories d ON d.id = u.directory_id WHERE u.id = w.id"
        )
    }


def of_users(store: Store, users: set[int], directory: int, tree: Tree, many: bool) -> dict[int, str]:
    """Return {id: reference} of the users; ``many``: they may be a large part of all."""
    found: dict[int, str] = {}
    if users and many:  # all of the directory are faster to get, by an index, than to ask for one by one
        found.update(store.rows("SELECT id, key FROM users WHERE directory_id = ?", (directory,)))
    store.want("wanted_ids", ((number,) for number in users.difference(found)))
    found.update(of_wanted_ids(store, directory, tree))
    return found
