# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What is to change: the plan, the changes in it, and what each does to its record.

The planner makes them. Limits, report and executor read them, and none of them decides anew what a change does.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from ._attributes import Attributes, fields_of
from ._model import Conclusion, Directory, KeptName, Unresolved, UserGroupRecord, UserRecord
from ._named_tuple import NamedTuple


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

    ``held`` are conclusions that the plan leaves out: nothing proves them, or only a server that may lag has shown them
    so far. ``leaving`` tells that the synchronization itself ends, and what becomes of its records: 'released' or
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
    held: frozenset[Conclusion] = frozenset()
    leaving: str = ""
    again: frozenset[str] = frozenset()  # whom the next read must look at, since somebody else has what they want
    # Stable key of the group, and what it lists that is no member: what could not be resolved, and who is left out.
    unresolved: Sequence[tuple[str, Unresolved]] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the plan changes nothing that anybody could see in the store."""
        return not (self.target_missing or self.user_groups or self.users or self.memberships or self.leaving)

    @property
    def is_blank(self) -> bool:
        """Whether it has nothing for the records of the store, not even a note."""
        return self.is_empty and not any(self.notes._replace(state_by=""))

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
