# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The words of this collection as plain data: what a directory said, what the store holds, what a run leaves.

Data flows one way: the store's *digests* go to the reader, the reader's *snapshot* and the *stored state* go to the
planner, and the *plan* (`_changes.py`) goes to the executor and the report. Nothing here knows LDAP, SQL or Ansible.

References. A user group is referred to by its stable key where this synchronization owns it, and by ``path:`` and its
path where it does not (the target group, groups made by hand, groups of others). A user is referred to by its stable
key where it is of this directory, by ``@`` and a text of the store's choosing where it is of another directory, and by
``#`` and a text of the store's choosing where it was made by hand. References are what changes are written in, so that
a plan means the same on every host and for every store file.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Set
from typing import Any, Callable

from ._attributes import Attributes
from ._mark import NONE_LEFT, Mark, Reached, Unmarked
from ._named_tuple import NamedTuple
from ._names import join_path

GONE = "gone"  # nowhere in the directory
OUT_OF_SCOPE = "out_of_scope"  # in the directory, but no longer selected

NO_DIGEST = b""  # of what is to be compared in the next run in any case
NO_UNIT = ""  # the unit of a record is not known

# The store has it, as it is: in the place of a record, or of a member list, that need not be written out.
AS_STORED = None
UNIT_AS_STORED = ""  # the same in the place of `unit_dn`


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
    unit_dn: str = ""  # DN of the container in which the entry lies; empty: UNIT_AS_STORED


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
    members: list[str] | None  # references of users, no one twice; None: AS_STORED
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
    """What the directory said in one read: of everything, or of all that may have changed.

    In the latter case (``is_full`` is false) whoever is not in it, and is not lost either, is as stored.
    """

    directory: Directory
    users: dict[str, User | None]  # by stable key; None: AS_STORED
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
    is_full: bool = True
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
    is_written_here: bool  # this synchronization writes the record: it gave it, or the giver's claim has ended
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


class Times(NamedTuple):
    """The time of a run, in seconds since 1970. There are two of it if the clock is in doubt: see `_clock`."""

    earlier: int  # by this it is judged whether something has lasted long enough
    later: int  # since then, what ends in this run is gone


NO_TIME = Times(0, 0)  # where nothing has to last


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
    user_count: int = 0  # users that it claims and that are not extinct; only where the snapshot is not full
    groups_extinct_since: dict[str, int] = {}  # extinct owned groups: stable key -> seconds since 1970
    # ('user' or 'user_group', reference of a user group, name_key) -> who had the name there: where the snapshot has
    # users who want it, and for all user groups directly below the target and in owned groups.
    kept_names: dict[tuple[str, str, str], KeptName] = {}


# What a run concludes from something that is not there (any more), and the directory is asked to prove: ('user', key),
# ('user_group', key), ('member', key of the group, reference of the user), ('nested', key of the group, key of the one
# in it), ('enabled', key of the user) or ('sid', key of the user). It is known by this from one run to the next.
Conclusion = tuple[str, ...]


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
    held: frozenset[Conclusion]  # conclusions that it saw and held back for one run, since its server may lag
    standing: Standing = Standing()
    believed: int | None = None  # if its clock was not believed: the time of the last run before whose clock was


class Leaves(NamedTuple):
    """What an applied run leaves for the next one of its synchronization to go by."""

    salt: bytes  # fingerprint of the settings under which its digests are comparable
    selected: dict[str, str]  # see Snapshot
    scope: dict[str, Any] | None  # see LastRun
    mark: Mark | Unmarked  # NONE_LEFT is not kept
    held: frozenset[Conclusion]  # see LastRun
    reasons: Mapping[Conclusion, str]  # why the run held what it held, for whoever looks
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


def domain_of(sid: str) -> str:
    """Return the SID of the domain that a SID belongs to (MS-DTYP 2.4.2): all but its last number."""
    return sid.rpartition("-")[0]
