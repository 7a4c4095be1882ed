# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What a reader is told of who is stored: digests for a read of everything, answers by key for a read of changes."""

from __future__ import annotations

from collections.abc import Iterable

from .. import _model
from .contract import Row, Store
from .counts import count_users
from .forms import from_json
from .references import foreign_reference, tree_before
from .statements import UNKNOWN, first, has

# Of a user u: NULL where another synchronization writes it, no bytes where it is to be compared. See Digests.
_DIGEST = (
    "CASE WHEN u.synchronization_id = :me THEN CASE WHEN :same = 1 THEN u.digest ELSE x'' END"
    " WHEN EXISTS (SELECT 1 FROM claims w WHERE w.user_id = u.id"
    "              AND w.synchronization_id = u.synchronization_id) THEN NULL ELSE x'' END"
)
_NAMES = "u.name || char(31) || u.known_as"  # KNOWN_AS
_STATES = "u.enabled, CASE WHEN c.disabled IS NULL THEN 0 ELSE 1 END"  # of a record, and as a claim c on it says
_OWN_DN = "CASE WHEN u.synchronization_id = :me THEN u.dn ELSE '' END"
_BY_OTHERS = "(u.synchronization_id IS NULL OR u.synchronization_id <> :me)"

Other = tuple[str, str, bool, bool]  # see Digests.others


def digests(known: Known) -> _model.Digests:
    """Return what the reader may leave out."""
    store, me, same = known.store, known.me, known.same
    users: dict[str, bytes | None] = dict(
        store.rows(
            "SELECT u.key, " + _DIGEST + " FROM claims c CROSS JOIN users u"
            " WHERE c.synchronization_id = :me AND u.id = c.user_id AND u.extinct IS NULL",
            {"me": me, "same": same},
        )
    )
    groups = store.rows(
        "SELECT key, CASE WHEN :same = 1 THEN digest ELSE x'' END, CASE WHEN unit = '' THEN '' ELSE dn END"
        " FROM user_groups WHERE synchronization_id = :me AND extinct IS NULL",
        {"me": me, "same": same},
    )
    return _model.Digests(
        users=users,
        user_groups={key: digest for key, digest, _dn in groups},
        group_dns={key: dn for key, _digest, dn in groups if dn},
        foreign_users=known.foreign_users(),
        others=_written_by_others(store, me) if None in users.values() else {},
        selected=known.selected,
        listing=lambda keys: {group for dummy, group in known.listing(keys)},
        dns=known.dns,
    )


def _written_by_others(store: Store, me: int) -> dict[str, Other]:
    """Return what `Digests.others` has."""
    return {
        key: (dn, names, bool(enabled), bool(said_disabled))
        for key, dn, names, enabled, said_disabled in store.rows(
            "SELECT u.key, u.dn, " + _NAMES + ", " + _STATES + " FROM claims c CROSS JOIN users u"
            " WHERE c.synchronization_id = :me AND u.id = c.user_id AND " + _BY_OTHERS,
            {"me": me},
        )
    }


class Known:
    """Who is stored, for a reader that reads only what changed: answers by key, and nothing that takes a look at all.

    Users are those that the synchronization claims, user groups those that it owns, and none of them is extinct. A DN
    is that of the last run, and is empty where another synchronization writes the user: it may have followed him
    since, or not yet.

    ``salt`` is the fingerprint of the settings under which digests are comparable. Where the stored one differs,
    everything must be compared.
    """

    def __init__(self, store: Store, synchronization: str, salt: bytes) -> None:
        self.store = store
        row = first(
            store, "SELECT id, directory_id, salt, selected FROM synchronizations WHERE name = ?", (synchronization,)
        )
        self.me, self._directory, stored_salt, selected = row or (UNKNOWN, UNKNOWN, b"", "{}")
        self.same = int(stored_salt == salt)  # 1 if stored digests are comparable
        self.selected: dict[str, str] = from_json(selected)

    # --- by key ---

    def users(self, keys: Iterable[str]) -> dict[str, tuple[bytes | None, str, Other]]:
        """Return {stable key: (digest as in Digests, DN, and what Digests.others has)}."""
        self._want_users(keys)
        return {
            key: (digest, own_dn, (dn, names, bool(enabled), bool(said_disabled)))
            for key, digest, dn, names, own_dn, enabled, said_disabled in self.store.rows(
                "SELECT u.key, "
                + ", ".join((_DIGEST, "u.dn", _NAMES, _OWN_DN, _STATES))
                + " FROM wanted_keys w CROSS JOIN users u CROSS JOIN claims c"
                " WHERE u.directory_id = w.directory_id AND u.key = w.key AND u.extinct IS NULL"
                " AND c.synchronization_id = :me AND c.user_id = u.id",
                {"me": self.me, "same": self.same},
            )
        }

    def dns(self, keys: Iterable[str]) -> dict[str, str]:
        """Return {stable key: DN as stored} of users, whoever writes them, and of user groups."""
        keys = list(keys)
        self._want_users(keys)
        users = self.store.rows(
            "SELECT u.key, u.dn FROM wanted_keys w CROSS JOIN users u CROSS JOIN claims c"
            " WHERE u.directory_id = w.directory_id AND u.key = w.key"
            " AND c.synchronization_id = ? AND c.user_id = u.id",
            (self.me,),
        )
        self._want_groups(keys)
        groups = self.store.rows("SELECT g.key, g.dn FROM wanted_groups w CROSS JOIN user_groups g WHERE g.id = w.id")
        return dict(users + groups)

    def own_dns(self, keys: Iterable[str]) -> dict[str, str]:
        """Return {stable key: DN as stored} of users; empty where another synchronization writes the user."""
        return {key: dn for key, (_digest, dn, _other) in self.users(keys).items()}

    # --- who must be looked at, and how many there are ---

    def extinct(self, before: int | None, user_groups: bool) -> set[str]:
        """Return who is extinct and this synchronization's to delete: users since that time or longer, if it is given,
        and user groups.
        """
        rows = self.store.rows(
            "SELECT key FROM users WHERE synchronization_id = ? AND extinct IS NOT NULL AND extinct_since <= ?",
            (self.me, before),
        )
        if user_groups:
            rows += self.store.rows(
                "SELECT key FROM user_groups WHERE synchronization_id = ? AND extinct IS NOT NULL", (self.me,)
            )
        return {key for (key,) in rows}

    def to_look_at(self, now: int) -> set[str]:
        """Return the users that must be compared whatever changed: since nothing says what they are compared with,
        since their time has come (``now``, in seconds since 1970), or since the claim of who wrote them has ended.
        """
        store, here = self.store, {"me": self.me, "now": now}
        rows = store.rows(
            "SELECT key FROM users WHERE synchronization_id = :me AND digest = x''"
            " AND extinct IS NULL AND key IS NOT NULL",
            here,
        )
        rows += store.rows(
            "SELECT key FROM users WHERE expires <= :now AND synchronization_id = :me"
            " AND extinct IS NULL AND key IS NOT NULL",
            here,
        )
        rows += store.rows(  # whom another one writes, and has not disabled yet
            "SELECT u.key FROM users u CROSS JOIN claims c WHERE u.expires <= :now AND " + _BY_OTHERS + " AND"
            " u.enabled = 1 AND u.extinct IS NULL AND c.synchronization_id = :me AND c.user_id = u.id",
            here,
        )
        if self._others_may_have_left():
            rows += store.rows(
                "SELECT u.key FROM claims c CROSS JOIN users u WHERE c.synchronization_id = :me AND u.id = c.user_id"
                " AND " + _BY_OTHERS + " AND u.extinct IS NULL AND NOT EXISTS ("
                "     SELECT 1 FROM claims o WHERE o.user_id = u.id"
                "     AND o.synchronization_id = u.synchronization_id)",
                here,
            )
        return {key for (key,) in rows}

    def _others_may_have_left(self) -> bool:
        """Tell whether another synchronization of the directory may have ended claims since, or has ended itself."""
        return has(
            self.store,
            "SELECT 1 FROM synchronizations WHERE id <> ? AND directory_id = ?",
            (self.me, self._directory),
        ) or has(
            self.store,
            "SELECT 1 FROM users WHERE synchronization_id IS NULL AND digest = x'' AND +directory_id = ? LIMIT 1",
            (self._directory,),
        )  # one that has ended leaves them so

    def keys(self) -> set[str]:
        """Return the stable keys of all users and user groups."""
        rows = self.store.rows(
            "SELECT u.key FROM claims c CROSS JOIN users u WHERE c.synchronization_id = ?"
            " AND u.id = c.user_id AND u.extinct IS NULL",
            (self.me,),
        )
        rows += self.store.rows(
            "SELECT key FROM user_groups WHERE synchronization_id = ? AND extinct IS NULL", (self.me,)
        )
        return {key for (key,) in rows}

    def count_users(self) -> int:
        """Return how many users there are."""
        return count_users(self.store, self.me)

    def foreign_users(self) -> dict[str, str]:
        """Return {SID: reference} of stored users of other directories: see Digests.

        A SID that begins with the SID of a domain is one of that domain's users, whoever else writes it to himself.
        """
        domains = {identity for (identity,) in self.store.rows("SELECT identity FROM directories")}
        rows = self.store.rows(
            "SELECT u.sid, d.identity, u.key FROM directories d CROSS JOIN users u"
            " WHERE d.id <> ? AND u.directory_id = d.id AND u.sid IS NOT NULL ORDER BY u.extinct IS NULL, u.id DESC",
            (self._directory,),
        )
        return {
            sid: foreign_reference(identity, key)
            for sid, identity, key in rows
            if identity == _model.domain_of(sid) or _model.domain_of(sid) not in domains
        }

    # --- who is in what ---

    def user_groups(self) -> dict[str, tuple[bytes, str]]:
        """Return {stable key: (digest, DN)} of all user groups."""
        return {
            key: (group.digest if self.same else b"", group.dn)
            for key, group in tree_before(self.store, self.me).owned_groups().items()
            if group.extinct is None
        }

    def people(self, keys: Iterable[str]) -> list[Row]:
        """Return (key, DN) of all users who are members of these user groups: each once, however many have him."""
        self._want_groups(keys)
        self.store.run("DELETE FROM wanted_ids")
        self.store.run(
            "INSERT INTO wanted_ids SELECT DISTINCT m.user_id"
            " FROM wanted_groups w CROSS JOIN memberships m WHERE m.user_group_id = w.id"
        )
        return self.store.rows(
            "SELECT u.key, " + _OWN_DN + " FROM wanted_ids w CROSS JOIN users u CROSS JOIN claims c WHERE u.id = w.id"
            " AND u.directory_id = :directory AND u.extinct IS NULL"
            " AND c.synchronization_id = :me AND c.user_id = u.id",
            {"me": self.me, "directory": self._directory},
        )

    def members(self, keys: Iterable[str]) -> list[Row]:
        """Return (key of the user group, key of the user, DN of the user) of all members of these user groups."""
        self._want_groups(keys)
        return self.store.rows(
            "SELECT g.key, u.key, "
            + _OWN_DN
            + " FROM wanted_groups w CROSS JOIN user_groups g CROSS JOIN memberships m CROSS JOIN users u"
            " CROSS JOIN claims c"
            " WHERE g.id = w.id AND m.user_group_id = w.id AND u.id = m.user_id AND u.directory_id = :directory"
            " AND u.extinct IS NULL AND c.synchronization_id = :me AND c.user_id = u.id",
            {"me": self.me, "directory": self._directory},
        )

    def nested(self, keys: Iterable[str]) -> list[Row]:
        """Return (key of the user group, key of a user group in it) for these user groups."""
        self._want_groups(keys)
        return self.store.rows(
            "SELECT g.key, n.key FROM wanted_groups w CROSS JOIN user_groups g CROSS JOIN nestings c"
            " CROSS JOIN user_groups n WHERE g.id = w.id AND c.user_group_id = w.id AND n.id = c.nested_id"
            " AND n.synchronization_id = ?",
            (self.me,),
        )

    def listing(self, keys: Iterable[str]) -> list[Row]:
        """Return (key of the user, key of a user group that has it as a member) for these users."""
        self._want_users(keys)
        return self.store.rows(
            "SELECT u.key, g.key FROM wanted_keys w CROSS JOIN users u CROSS JOIN memberships m"
            " CROSS JOIN user_groups g WHERE u.directory_id = w.directory_id AND u.key = w.key AND m.user_id = u.id"
            " AND g.id = m.user_group_id AND g.synchronization_id = ? AND g.extinct IS NULL",
            (self.me,),
        )

    def nesting(self, keys: Iterable[str]) -> list[Row]:
        """Return (key of the user group, key of a user group that it is nested in) for these user groups."""
        self._want_groups(keys)
        return self.store.rows(
            "SELECT n.key, g.key FROM wanted_groups w CROSS JOIN nestings c CROSS JOIN user_groups g"
            " CROSS JOIN user_groups n WHERE c.nested_id = w.id AND n.id = w.id AND g.id = c.user_group_id"
            " AND g.synchronization_id = ? AND g.extinct IS NULL",
            (self.me,),
        )

    def _want_users(self, keys: Iterable[str]) -> None:
        self.store.want("wanted_keys", ((key, self._directory, key) for key in keys))

    def _want_groups(self, keys: Iterable[str]) -> None:
        self.store.want("wanted_keys", ((key, self.me, key) for key in keys))
        self.store.run("DELETE FROM wanted_groups")
        self.store.run(
            "INSERT INTO wanted_groups SELECT g.id FROM wanted_keys w CROSS JOIN user_groups g"
            " WHERE g.synchronization_id = w.directory_id AND g.key = w.key"
        )
