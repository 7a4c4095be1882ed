# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The words of this collection as plain data: what a directory said, what the store holds, what is to change.

Data flows one way: the store's *digests* go to the reader, the reader's *snapshot* and the *stored state* go to the
planner, and the *plan* goes to the executor and the report. Nothing here knows LDAP, SQL or Ansible.

References. A user group is referred to by its stable key where this synchronization owns it, and by ``path:`` and its
path where it does not (the target group, groups made by hand, groups of others). A user is referred to by its stable
key where it is of this directory, by ``@`` and a text of the store's choosing where it is of another directory, and by
``#`` and a text of the store's choosing where it was made by hand. References are what changes are written in, so that
a plan means the same on every host and for every store file.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from enum import Enum
from typing import Any, Callable, NamedTuple, TypeVar, Union

from ._mark import NONE_LEFT, Mark, Reached, Unmarked

ROOT = "All"  # the root of the tree of user groups

GONE = "gone"  # nowhere in the directory
OUT_OF_SCOPE = "out_of_scope"  # in the directory, but no longer selected

NO_DIGEST = b""  # of what is to be compared in the next run in any case
NO_UNIT = ""  # the unit of a record is not known

Fields = dict[str, Union[str, list[str]]]  # field -> text, or a sorted list of texts for the fields that users add
Attributes = Mapping[str, Union[str, list[str]]]  # the same, as a dictionary or encoded

_decode = json.JSONDecoder().raw_decode  # json.loads() looks for blanks around it, which takes as long again
_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


class EncodedAttributes(Attributes):
    """Attributes as one JSON text, as the store keeps them.

    There are as many as users, and mostly they are carried along and compared: one text each takes a third of the
    memory of a dictionary with its texts, and of the time to go through them all.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def of(cls, fields: Fields) -> EncodedAttributes:
        return cls(_encode(fields))

    def fields(self) -> Fields:
        fields: Fields = _decode(self.text)[0]
        return fields

    def __getitem__(self, field: str) -> str | list[str]:
        return self.fields()[field]

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields())

    def __len__(self) -> int:
        return len(self.fields())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, EncodedAttributes):
            return self.text == other.text or self.fields() == other.fields()
        return self.fields() == other

    def __repr__(self) -> str:
        return repr(self.fields())


def fields_of(attributes: Attributes) -> Fields:
    """Return attributes as a dictionary."""
    return attributes.fields() if isinstance(attributes, EncodedAttributes) else dict(attributes)


def text_of(attributes: Attributes) -> str:
    """Return attributes as JSON."""
    return attributes.text if isinstance(attributes, EncodedAttributes) else _encode(attributes)


# --- names and paths -------------------------------------------------------------------------------------------------


# What servers compare by (RFC 4518, 2.2): letters that came later have no case to them, and are composed of nothing.
UNICODE = unicodedata.ucd_3_2_0


class _LowerCase(dict[int, int]):
    """Number of a character -> that of its lower case, found out when it is asked for."""

    def __missing__(self, number: int) -> int:
        lower = chr(number).lower()
        known = UNICODE.category(chr(number)) in ("Lu", "Lt") and len(lower) == 1 and UNICODE.category(lower) == "Ll"
        self[number] = found = ord(lower) if known else number
        return found


_LOWER_CASE = _LowerCase()


def without_case(text: str) -> str:
    """Fold letter by letter, as directories do: to them 'Maße' and 'Masse' are two names, unlike to `str.casefold`.

    What only a capital has in common stays apart: 'ı' and 'i' have 'I', and 'ς' and 'σ' have 'Σ'.
    """
    return text.translate(_LOWER_CASE)


# OpenLDAP's tables leave the first two of these compatibility ideographs as they are; the others are composed otherwise
# since Unicode 4 (its corrigendum 4).
_AS_THEY_ARE = "\uf900\uf901\U0002f868\U0002f874\U0002f91f\U0002f95f\U0002f9bf"


def composed(text: str) -> str:
    """Return the text in NFC, if it has no letter that servers do not know."""
    unknown = any(UNICODE.category(letter) == "Cn" or letter in _AS_THEY_ARE for letter in text)
    return text if unknown else UNICODE.normalize("NFC", text)


def name_key(name: str) -> str:
    """Return the form in which two names are compared: NFC without case, letter by letter.

    Two names that are one here are one to OpenLDAP. So weiß and weiss are two, as they are there. Active Directory
    takes more for one (MS-ADTS 3.1.1.2.2.4.13), so that no two of its names differ by that alone.
    """
    return name.lower() if name.isascii() else composed(without_case(name))


def significant(name: str) -> str:
    """Return a name without the blanks that do not matter to servers (RFC 4518, 2.6.1): `ann ` is `ann`."""
    return " ".join(filter(None, name.split(" "))) if "  " in name or " " in (name[:1], name[-1:]) else name


def extinct_names(name: str, reference: str) -> tuple[str, ...]:
    """Return the names that an extinct record may have, the one it has first: a newcomer takes that from it."""
    return name, "%s (extinct)" % name, "%s (extinct %s)" % (name, reference)


def join_path(parent: str, name: str) -> str:
    """Return the path of the user group ``name`` in the user group at the path ``parent``."""
    return "%s/%s" % (parent, name.replace("\\", "\\\\").replace("/", "\\/"))


def split_path(path: str) -> list[str]:
    r"""Return the names in a path such as ``All/Staff/Nurses``.

    In a path ``/`` inside a name is written ``\\/``, and ``\\`` is ``\\\\``.

    Raises ValueError, with a sentence for the reader, if a part is empty, an escape is unknown, or the path does not
    begin at the root.
    """
    names, name, escaped = [], [], False
    for character in path:
        if escaped:
            if character not in "/\\":
                raise ValueError(
                    "the path '%s' has '\\%s', which is no escape: write '\\/' for a slash inside a name "
                    "and '\\\\' for a backslash" % (path, character)
                )
            name.append(character)
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "/":
            names.append("".join(name))
            name = []
        else:
            name.append(character)
    if escaped:
        raise ValueError("the path '%s' ends in a single backslash: write '\\\\' for a backslash" % path)
    names.append("".join(name))
    if not all(part.strip() for part in names):
        raise ValueError(
            "the path '%s' has an empty part: write names between single slashes, as in 'All/Staff'" % path
        )
    if name_key(names[0]) != name_key(ROOT):
        raise ValueError("the path '%s' does not begin at the root: write '%s/%s'" % (path, ROOT, path))
    return [ROOT] + names[1:]


def path_reference(path: str) -> str:
    """Return the reference of a user group that this synchronization does not own."""
    return "path:" + path


# --- what the directory said -----------------------------------------------------------------------------------------


class Directory(NamedTuple):
    """The source. ``identity`` is the domain SID, or the suffix and its stable key."""

    identity: str
    directory_type: str


class User(NamedTuple):
    """A user entry in scope, as read."""

    key: str  # stable key
    dn: str
    name: str | None  # None: the entry has no usable name
    home: str | None  # stable key of the container that is its home; None: the synchronization's user group
    enabled: bool
    created: int  # seconds since 1970; 0 where the directory does not say
    sid: str | None
    attributes: Attributes
    digest: bytes  # of the entry as read, of enabled and of home; empty: compare in the next run in any case
    known_as: str = ""  # names by which member lists may know it besides its DN, name and key: joined by KNOWN_AS
    expires: int | None = None  # seconds since 1970, when time alone will disable it; None: never, or it has
    unit_dn: str = ""  # DN of the container in which the entry lies; empty: as stored


KNOWN_AS = "\x1f"  # joins several values that a member list may have for one user


class Unresolved(NamedTuple):
    """A value in a member list that leads to no user and no user group in scope."""

    value: str  # as listed
    reason: str  # for the reader: 'does not exist', 'in another domain', ...


class UserGroup(NamedTuple):
    """An entry in scope that becomes a user group, as read: a group, or a container."""

    key: str  # stable key
    dn: str
    name: str | None
    parent: str | None  # stable key of the container it lies in; None: the synchronization's user group
    created: int
    type: str  # 'security', 'distribution', 'container', ... : for the suffix of a loser
    container: str  # name of the container it lies in: for the suffix of a loser
    attributes: Attributes
    members: list[str] | None  # references of users, no one twice; None: they are as stored
    user_groups: list[str]  # stable keys of the groups nested in it, no one twice
    kept_values: list[str]  # values still listed that lead to no one in scope: their stored memberships stay
    members_digest: bytes
    unit_dn: str = ""  # see User


class Place(NamedTuple):
    """Where the entries in scope lie. DNs are in normal form."""

    roots: tuple[str, ...]  # what was read: the selected containers, no one inside another
    excluded: tuple[str, ...]  # subtrees
    excluded_keys: frozenset[str]  # stable keys of the excluded entries
    subtree: str  # where all entries lie
    outside_too: bool  # whether members of groups in scope are in scope, wherever they lie


NO_PLACE = Place((), (), frozenset(), "", False)  # nothing was selected, since nothing was read


class Snapshot(NamedTuple):
    """What the directory said in one complete read: of everything, or of all that may have changed.

    In the latter case (``complete`` is false) whoever is not in it, and is not lost either, is as stored.
    """

    directory: Directory
    users: dict[str, User | None]  # by stable key; None: it is as stored
    user_groups: dict[str, UserGroup]  # by stable key
    lost_users: dict[str, str]  # stored and not extinct, but not in scope now: stable key -> GONE or OUT_OF_SCOPE
    lost_user_groups: dict[str, str]
    unresolved: list[tuple[str, Unresolved]]  # stable key of the group, and what it lists
    not_stored: list[tuple[str, str]]  # DN, and why the entry cannot be stored
    other_members: dict[str, int]  # members that are no users: 'computers', 'contacts', 'out_of_scope', ... -> count
    # Selected or excluded DN, as written in the options -> stable key: a renamed one is found again.
    selected: dict[str, str]
    warnings: list[str]
    # (stable key of a group, member reference) -> values that the list has for whoever is recorded elsewhere, or by
    # other names, since he moved while he was read.
    listed_as: dict[tuple[str, str], list[str]] = {}
    dangling: dict[str, list[str]] = {}  # group that users list and that does not exist -> keys of these users
    whole_tree: bool = False  # everything was selected that the directory has
    complete: bool = True
    foreign_sids: Set[str] = frozenset()  # users who have a SID of another domain, which does not count
    # Stable key -> what of the record stays as it is stored, since the directory has a malformed value: 'enabled',
    # 'sid', 'members' (none is removed), 'attributes.' and a field; 'all' of it, memberships too, where nothing tells
    # which entry is its own. Then a user is None in ``users``, and a user group is not in ``user_groups``.
    unclear: Mapping[str, Set[str]] = {}
    joined: dict[str, list[str]] = {}  # user group whose list was not read -> users who are among its members now
    left: dict[str, list[str]] = {}  # likewise: users who are not
    reached: Reached | Unmarked = NONE_LEFT  # up to where the directory was read
    state_by: str = ""  # by what it is told whether a user is enabled: another text, where by other attributes
    units: dict[str, str] = {}  # User.unit_dn and UserGroup.unit_dn -> stable key of that container
    place: Place = NO_PLACE
    # DN of an entry whose own stable key does not tell whose it is -> key of whose it is; empty: nobody's who is stored
    named: dict[bytes, str] = {}
    stateless: dict[str, str] = {}  # user -> attribute that every user has, and that did not come: see absence.py


# --- what the store holds --------------------------------------------------------------------------------------------


def _no_dns(_keys: Iterable[str]) -> dict[str, str]:
    return {}


class Digests(NamedTuple):
    """What the reader may leave out, since the store has it already.

    A user's digest is None where another synchronization writes the record (it is claimed, there is nothing to
    compare), and empty where it must be compared in any case.
    """

    users: dict[str, bytes | None]  # claimed by this synchronization: stable key -> User.digest as stored
    user_groups: dict[str, bytes]  # owned by this synchronization, not extinct: stable key -> members_digest
    foreign_users: dict[str, str]  # SID -> reference: stored users of other directories
    selected: dict[str, str]  # Snapshot.selected of the last applied run
    # Stable keys of users -> those of the owned user groups that have any of them as a member. None: it cannot be told.
    listing: Callable[[Iterable[str]], set[str]] | None = None
    # Users of digest None: stable key -> DN and names as stored, whether the record is enabled, and whether this
    # synchronization last said that the directory disables the user.
    others: dict[str, tuple[str, str, bool, bool]] = {}
    dns: Callable[[Iterable[str]], dict[str, str]] = _no_dns  # stable keys of users and user groups -> DNs as stored
    group_dns: dict[str, str] = {}  # user groups whose container is known: stable key -> DN as stored


class UserRecord(NamedTuple):
    """A user as the store holds it, or is to hold it. Fields after ``attributes`` are no part of what users see."""

    name: str
    home: str  # reference of a user group
    enabled: bool
    sid: str | None
    extinct: str | None  # None, GONE or OUT_OF_SCOPE
    attributes: Attributes
    dn: str
    claimed: bool  # by this synchronization
    known_as: str = ""  # see User
    unit: str = ""  # stable key of the container in which the entry lies; empty: not known

    def differs(self, other: UserRecord) -> bool:
        """Tell whether users would see a difference: not that of a DN, or of another way to list a member."""
        return self._replace(dn=other.dn, known_as=other.known_as, unit=other.unit) != other


class StoredUser(NamedTuple):
    reference: str  # see above: stable key, '@...' or '#...'
    record: UserRecord
    given: bool  # this synchronization writes the record: it gave it, or the giver's claim has ended
    other_claims: int  # of other synchronizations
    adopted: bool  # made by hand once, then merged: released on extinction, not deleted
    extinct_since: int | None = None  # seconds since 1970; where extinction disabled the record, since when that is so
    taken_over: bool = False  # another synchronization wrote the record until now, or writes it
    # Another synchronization that has the user in scope, and tells states by other attributes, last saw it disabled.
    disabled_by_others: bool = False
    said_disabled: bool = False  # another synchronization writes the record, and this one last saw the user disabled
    # Ids of other synchronizations that last saw the user disabled, or saw that he was gone or out of scope.
    seen_out_by: tuple[int, ...] = ()


class UserGroupRecord(NamedTuple):
    name: str
    parent: str  # reference of a user group
    extinct: str | None
    attributes: Attributes
    dn: str
    unit: str = ""  # see UserRecord
    own_name: str = ""  # as the directory had it when the group got its name here; empty: not known

    def differs(self, other: UserGroupRecord) -> bool:
        """Tell whether users would see a difference."""
        return self._replace(dn=other.dn, unit=other.unit, own_name=other.own_name) != other


class KeptName(NamedTuple):
    """Whose name a place had, where that record is no more: others do not come to it at once (`_plan/places.py`)."""

    reference: str  # of the record that had it
    unit: str  # see UserRecord; empty where it was of another directory
    since: int  # seconds since 1970


# Members of one user group: reference -> the values that a member list may know it by: first the value that it was last
# listed as while it led to no one (empty if it never was), then its DN, name and key. Empty as a whole where the
# snapshot keeps no values of that group, so that nobody loads them.
Members = dict[str, tuple[str, ...]]


class StoredState(NamedTuple):
    """What the planner needs to know of the store: all owned groups, and the users that may be concerned.

    ``users`` holds every record that the snapshot has a body for (by stable key, this directory), every lost one, every
    extinct one that this synchronization gave, and whoever sits where one of the bodies wants to sit or has its SID.
    """

    target: str  # path of the synchronization's user group, spelled as stored where it exists
    target_missing: bool
    user_groups: dict[str, UserGroupRecord]  # owned by this synchronization, extinct ones too: by stable key
    nestings: dict[str, Members]  # nested groups of owned groups, all of them: by stable key
    neighbours: dict[tuple[str, str], str]  # (parent reference, name_key) -> path: groups not owned, where ours may lie
    occupied: dict[
        str, frozenset[str]
    ]  # owned groups, lost or extinct, that hold what this synchronization does not own:
    # stable key -> references of the users; '' stands for a user group
    users: dict[str, StoredUser]  # by reference
    members: dict[str, Members]  # users in groups whose member lists the snapshot gives, and in lost or extinct groups
    memberships: dict[str, list[str]]  # user reference -> owned groups that list it; of lost and of extinct users
    sizes: dict[str, int] = {}  # how many users there are in the groups of whose users ``members`` may not have all
    membership_count: int = 0  # own members of owned groups, users and user groups
    extinct_membership_count: int = 0  # those among them whose group is extinct
    user_count: int = 0  # users that it claims and that are not extinct; only where the snapshot is not complete
    groups_extinct_since: dict[str, int] = {}  # extinct owned groups: stable key -> seconds since 1970
    # ('user' or 'user_group', reference of a user group, name_key) -> who had the name there: where the snapshot has
    # users who want it, and for all user groups directly below the target and in owned groups.
    kept_names: dict[tuple[str, str, str], KeptName] = {}


# What takes somebody away, or lets somebody in again, because something is not there (any more): ('user', key),
# ('user_group', key), ('member', key of the group, reference of the user), ('nested', key of the group, key of the one
# in it), ('enabled', key of the user) or ('sid', key of the user). It is known by this from one run to the next.
Removal = tuple[str, ...]


class Standing(NamedTuple):
    """Which server it is that was read, and how far it was: see `_directory/standing.py`."""

    server: str = ""  # what it says it is; empty: it does not say
    reached: dict[str, str] = {}  # by writer of changes -> the number of the last change that the server has


class Doubt(NamedTuple):
    """Why a server is not to be believed if something is not there."""

    why: str  # for the reader
    passes: bool  # whether a second run that sees the same is believed


class LastRun(NamedTuple):
    """What the last applied run of a synchronization leaves for the next one to judge by."""

    server: str  # as it was addressed
    scope: dict[str, Any] | None  # the settings that decided who was in scope; None: not known
    held: frozenset[Removal]  # removals that it saw and held back for one run, since its server may lag
    standing: Standing = Standing()
    believed: int | None = None  # if its clock was not believed: the time of the last run before whose clock was


class Leaves(NamedTuple):
    """What an applied run leaves for the next one of its synchronization to go by."""

    salt: bytes  # fingerprint of the settings under which its digests are comparable
    selected: dict[str, str]  # see Snapshot
    scope: dict[str, Any] | None  # see LastRun
    mark: Mark | Unmarked | None  # None: none is kept
    held: frozenset[Removal]  # see LastRun
    reasons: Mapping[Removal, str]  # why the run held what it held, for whoever looks
    standing: Standing
    believed: int | None  # see LastRun


class Keeping(NamedTuple):
    """What time records are dated by, and for how long they are kept."""

    now: int  # seconds since 1970: the time of the run, or a later one if its clock is not believed
    forgets: bool  # whether anything is too old by that time: nothing is if the clock is not believed
    history_days: int
    name_reuse_days: int


class RunRecord(NamedTuple):
    """What the store is told of a run that applies a plan."""

    time: int  # when it began by the clock, seconds since 1970
    seconds: float  # how long it took
    server: str  # as it was addressed; empty: none was read
    mode: str  # 'full', 'incremental' or 'none'
    reason: str  # why it read so
    changed: bool
    counts: dict[str, Any]  # `summary` of the result
    plan_digest: str
    settings: dict[str, Any]  # as the result has them: without secrets
    settings_digest: str  # of those that last from one run to the next
    leaves: Leaves
    keeping: Keeping


def node_of(key: str | None, snapshot: Snapshot, stored: Container[str]) -> str | None:
    """Return the key of the nearest container, from this one upwards, that has a name and so is a user group.

    None if there is none. ``stored`` has the keys of the user groups that are stored, whose names are known.
    """
    while key in snapshot.user_groups and not (snapshot.user_groups[key].name or key in stored):
        key = snapshot.user_groups[key].parent
    return key if key in snapshot.user_groups else None


def path_of(reference: str, groups: dict[str, UserGroupRecord]) -> str:
    """Return the path of a user group, owned or not."""
    names = []
    while reference in groups:
        names.append(groups[reference].name)
        reference = groups[reference].parent
    path = reference[len("path:") :]
    for name in reversed(names):
        path = join_path(path, name)
    return path


# --- who is in what by nesting ---------------------------------------------------------------------------------------

Node = TypeVar("Node", bound=Hashable)


def passing(nestings: Mapping[Node, Iterable[Node]], extinct: Container[Node]) -> dict[Node, list[Node]]:
    """Return {user group: the user groups nested in it that pass their members on to it}.

    An extinct user group keeps its members, and passes them on to nobody: nobody can leave it any more.
    """
    return {group: [each for each in nested if each not in extinct] for group, nested in nestings.items()}


def turned(edges: Mapping[Node, Iterable[Node]]) -> dict[Node, list[Node]]:
    """Return the edges the other way round."""
    back: dict[Node, list[Node]] = {}
    for source, targets in edges.items():
        for target in targets:
            back.setdefault(target, []).append(source)
    return back


def reach(start: Iterable[Node], edges: Mapping[Node, Iterable[Node]]) -> set[Node]:
    """Return ``start`` and all that can be reached from it; cycles and diamonds are fine."""
    found: set[Node] = set()
    todo = list(start)
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo.extend(edges.get(node, ()))
    return found


def reach_of_each(
    start: Iterable[Node], edges: Mapping[Node, Iterable[Node]], bits: Mapping[Node, int]
) -> dict[Node, int]:
    """Return {node: the bits of all that can be reached from it, itself included}, for ``start`` and all it leads to.

    Each edge is looked at once, whatever rings there are (Tarjan, "Depth-first search and linear graph algorithms",
    1972). ``bits`` has a number with one bit for each node that is asked for.
    """
    seen: dict[Node, int] = {}  # node -> when it was seen
    first: dict[Node, int] = {}  # node -> the first seen that it leads to, of those whose ring is not closed
    ring: list[Node] = []  # seen, and it is not known yet which are one ring
    masks: dict[Node, int] = {}
    gathered: dict[Node, int] = {}

    def see(node: Node) -> tuple[Node, Iterator[Node]]:
        seen[node] = first[node] = len(seen)
        gathered[node] = bits.get(node, 0)
        ring.append(node)
        return node, iter(edges.get(node, ()))

    for begin in start:
        walk = [] if begin in seen else [see(begin)]
        while walk:
            node, targets = walk[-1]
            for target in targets:
                if target not in seen:
                    walk.append(see(target))
                    break
                if target in masks:
                    gathered[node] |= masks[target]
                else:
                    first[node] = min(first[node], seen[target])
            else:
                walk.pop()
                if first[node] == seen[node]:
                    _close_ring(node, ring, gathered, masks)
                if walk:
                    above = walk[-1][0]
                    gathered[above] |= masks.get(node, 0)
                    first[above] = first[above] if node in masks else min(first[above], first[node])
    return masks


def _close_ring(node: Node, ring: list[Node], gathered: dict[Node, int], masks: dict[Node, int]) -> None:
    """Give all that were seen from ``node`` on what they have gathered together."""
    members: list[Node] = []
    mask = 0
    while not members or members[-1] != node:
        members.append(ring.pop())
        mask |= gathered.pop(members[-1])
    masks.update(dict.fromkeys(members, mask))


def bits_in(mask: int) -> list[int]:
    """Return the places of the bits that are set, the lowest first."""
    digits = bin(mask)
    if digits.count("1") * 16 > len(digits):
        return [place for place, digit in enumerate(reversed(digits)) if digit == "1"]
    places = []
    while mask:  # a large number with few of them takes no look at each place
        lowest = mask & -mask
        places.append(lowest.bit_length() - 1)
        mask ^= lowest
    return places


def domain_of(sid: str) -> str:
    """Return the SID of the domain that a SID belongs to (MS-DTYP 2.4.2): all but its last number."""
    return sid.rpartition("-")[0]


# --- what is to change -----------------------------------------------------------------------------------------------


class Fate(str, Enum):
    """What becomes of a record: one of these. `_plan/fates.py` decides it, and all others go by it."""

    CREATED = "created"
    MERGED = "merged"  # it was made by hand, and keeps its local attributes
    OVERWRITTEN = "overwritten"  # it was made by hand, and loses them
    STAYS = "stays"
    BACK = "back"  # it was extinct
    EXTINCT = "extinct"  # from now on
    STAYS_EXTINCT = "stays_extinct"
    RELEASED = "released"  # it belongs to none from now on
    DELETED = "deleted"


_CREATED = Fate.CREATED  # looked up once for a hundred thousand changes


class Effect(str, Enum):
    """What else a change does to a record: any of these. A new record has none of them but SHOWN."""

    RENAMED = "renamed"
    MOVED = "moved"
    UPDATED = "updated"  # for those who look at it, apart from its name, its place and its state
    ENABLED = "enabled"
    DISABLED = "disabled"
    SHOWN = "shown"  # look-ups leave out who is extinct or disabled: so they did, and do no more
    HIDDEN = "hidden"  # or did not, and do
    SID_LOST = "sid_lost"
    CLAIMED = "claimed"
    UNCLAIMED = "unclaimed"


class UserChange(NamedTuple):
    """A user record before and after; ``before`` is None where it is created, ``after`` where it ends.

    ``adopts`` names a record made by hand that this user takes over, and ``before`` is that record.
    """

    reference: str
    before: UserRecord | None
    after: UserRecord | None
    adopts: str | None
    fate: Fate
    effects: frozenset[Effect]

    @property
    def removes(self) -> bool:
        """Whether the user ends, becomes extinct, is disabled as extinct, is overwritten, or belongs to none."""
        return self.fate in _REMOVING or self.fate is Fate.STAYS_EXTINCT and Effect.DISABLED in self.effects

    @property
    def was_announced(self) -> bool:
        """Whether an earlier run has disabled the record as extinct, so that its end is no news."""
        return self.before is not None and self.before.extinct is not None and not self.before.enabled


_REMOVING = frozenset({Fate.EXTINCT, Fate.OVERWRITTEN, Fate.RELEASED, Fate.DELETED})


class UserGroupChange(NamedTuple):
    key: str
    before: UserGroupRecord | None
    after: UserGroupRecord | None
    fate: Fate
    effects: frozenset[Effect]

    @property
    def was_announced(self) -> bool:
        """Whether the user group became extinct in an earlier run, so that its end is no news."""
        return self.before is not None and self.before.extinct is not None


class Loss(NamedTuple):
    """A field that has a value no more, on a record that stays."""

    kind: str  # 'user' or 'user_group'
    reference: str
    field: str


class MembershipChange(NamedTuple):
    """Own members of one user group: references, sorted."""

    key: str
    users_added: list[str]
    users_removed: list[str]
    user_groups_added: list[str]
    user_groups_removed: list[str]


class Collision(NamedTuple):
    kind: str  # 'user' or 'user_group'
    name: str
    path: str  # of the home, or of the place
    dn: str
    reason: str  # what was not done and why, for the reader


class Notes(NamedTuple):
    """What a run leaves with the records for the next one. Nobody who looks at the store sees it, and a plan that has
    nothing else changes nothing: it is written only if the run is applied.
    """

    user_digests: dict[str, bytes]  # reference -> digest; empty: compare in any case
    user_dns: dict[str, tuple[str, str, str]]  # reference -> DN, known_as, unit
    group_digests: dict[str, bytes]
    group_dns: dict[str, tuple[str, str, str]]  # stable key -> DN, unit, own_name
    listed_as: dict[tuple[str, str], str]  # (group key, member reference) -> values it is listed as: joined by KNOWN_AS
    user_expires: dict[str, int | None] = {}  # reference -> see User
    also_listed_as: dict[tuple[str, str], list[str]] = {}  # likewise, beside those that are stored
    # Users whom another synchronization writes -> whether this one sees that the directory disables them.
    said_disabled: dict[str, bool] = {}
    state_by: str = ""  # see Snapshot
    # As StoredState.kept_names. None: who has the name now is who it is kept for from then on.
    kept_names: dict[tuple[str, str, str], KeptName | None] = {}


class Plan(NamedTuple):
    """The ordered list of changes that makes the store equal to the snapshot, under the policies.

    ``held`` are removals that the plan leaves out: nothing proves them, or only a server that may lag has shown them so
    far. ``leaving`` tells that the synchronization itself ends, and what becomes of its records: 'released' or
    'absent'.
    """

    directory: Directory
    synchronization: str
    target: str
    target_missing: bool
    user_groups: list[UserGroupChange]
    users: list[UserChange]
    memberships: list[MembershipChange]
    collisions: list[Collision]
    notes: Notes
    ignored: int = 0  # disabled newcomers that ignore_disabled_users keeps out
    held: frozenset[Removal] = frozenset()
    leaving: str = ""
    again: frozenset[str] = frozenset()  # whom the next read must look at, since somebody else has what they want
    # Stable key of the group, and what it lists that is no member: what could not be resolved, and who is left out.
    unresolved: Sequence[tuple[str, Unresolved]] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the plan changes nothing that anybody could see in the store."""
        return not (self.target_missing or self.user_groups or self.users or self.memberships or self.leaving)

    @property
    def users_there(self) -> list[UserChange]:
        """The changes of users who are stored: of all others nothing can be taken, and a first run has only such."""
        return [change for change in self.users if change.fate is not _CREATED]


def losses(plan: Plan) -> list[Loss]:
    """Return the values that records lose which stay."""
    found: list[Loss] = []
    for user in plan.users_there:
        if user.before and user.after and user.fate in _STAYING and Effect.UPDATED in user.effects:
            found += _losses("user", user.reference, user.before.attributes, user.after.attributes)
    for group in plan.user_groups:
        if group.before and group.after and group.fate in _STAYING and Effect.UPDATED in group.effects:
            found += _losses("user_group", group.key, group.before.attributes, group.after.attributes)
    return found


_STAYING = frozenset({Fate.STAYS, Fate.BACK, Fate.RELEASED})


def _losses(kind: str, reference: str, before: Attributes, after: Attributes) -> list[Loss]:
    if before == after:
        return []
    staying = fields_of(after)
    return [Loss(kind, reference, field) for field in sorted(before) if not staying.get(field)]
