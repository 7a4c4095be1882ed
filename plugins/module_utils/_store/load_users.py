# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Which users the planner is told of, and what: those in the snapshot, those who are lost or extinct, and whoever is in
the way of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .. import _attributes, _model, _names
from .._named_tuple import NamedTuple
from .._names import name_key
from . import kept_names
from .references import of_wanted_ids
from .statements import has

if TYPE_CHECKING:
    from .load import Loading


# --- who may be concerned --------------------------------------------------------------------------------------------


def want_users(loading: Loading) -> kept_names.Kept:
    """Put into wanted_ids who may be concerned: by stable key, by place, by SID; and who is extinct. Return the names
    that are kept where somebody wants them.
    """
    store, snapshot, tree = loading.store, loading.snapshot, loading.tree
    bodies = {key: user for key, user in snapshot.users.items() if user is not None}
    if not has(store, "SELECT 1 FROM users LIMIT 1") and not has(store, "SELECT 1 FROM kept_names LIMIT 1"):
        bodies = {}
    homes = {
        key: tree.owned.get(_model.node_of(user.home, snapshot, tree.owned) or "", loading.target)
        for key, user in bodies.items()
    }
    store.want("wanted_keys", ((key, loading.directory, key) for keys in (bodies, snapshot.lost_users) for key in keys))
    store.want("wanted_places", ((key, homes[key], name_key(user.name)) for key, user in bodies.items() if user.name))
    kept = kept_names.of_users_in_wanted_places(loading)
    store.want("wanted_sids", ((user.sid,) for user in bodies.values() if user.sid))
    store.run("DELETE FROM wanted_ids")
    store.run(
        "INSERT INTO wanted_ids"
        " SELECT u.id FROM wanted_keys w CROSS JOIN users u WHERE u.directory_id = w.directory_id AND u.key = w.key"
        " UNION SELECT u.id FROM wanted_places w CROSS JOIN users u"
        "       WHERE u.home_id = w.home_id AND u.name_key = w.name_key"
        " UNION SELECT u.id FROM wanted_sids w CROSS JOIN users u WHERE u.sid = w.sid"
        " UNION SELECT id FROM users WHERE synchronization_id = ? AND extinct IS NOT NULL",
        (loading.me,),
    )
    _want_sitters(loading, {key: homes[key] for key, user in bodies.items() if not user.name})
    return kept


Place = tuple[str, int, str]  # reference, id of the home, name_key


def _want_sitters(loading: Loading, nameless: Mapping[str, int]) -> None:
    """Add to wanted_ids who sits where a user without a name may come to sit, or an extinct one who gives his up.

    Who is found may be extinct, too, and have to move on: it goes on until nobody new is found. ``nameless``: {user
    without a name: id of its home}.
    """
    store = loading.store
    places = _stored_names(loading, nameless) if nameless else []
    store.want("wanted_keys", ((key, loading.directory, key) for key in loading.snapshot.lost_users))
    seen: set[int] = set()
    while True:
        extinct = [
            row
            for row in store.rows(
                "SELECT u.id, u.home_id, u.name, u.key FROM wanted_ids w CROSS JOIN users u WHERE u.id = w.id"
                " AND u.key IS NOT NULL"
                " AND (u.extinct IS NOT NULL OR u.key IN (SELECT key FROM wanted_keys))"
            )
            if row[0] not in seen
        ]
        seen.update(row[0] for row in extinct)
        places += [
            (key, place, name_key(value))
            for dummy, home, name, key in extinct
            for place in (home, loading.target)
            for value in _names.extinct_names(name, key)
        ]
        if not places:
            return
        store.want("wanted_places", places)
        store.run(
            "INSERT INTO wanted_ids SELECT u.id FROM wanted_places w CROSS JOIN users u"
            " WHERE u.home_id = w.home_id AND u.name_key = w.name_key ON CONFLICT DO NOTHING"
        )
        places = []


def _stored_names(loading: Loading, nameless: Mapping[str, int]) -> list[Place]:
    """Return where these come to sit, if they are stored: they keep the names that they have."""
    return [
        (key, nameless[key], name)
        for key, name in loading.store.rows(
            "SELECT u.key, u.name_key FROM wanted_ids w CROSS JOIN users u WHERE u.id = w.id AND u.directory_id = ?",
            (loading.directory,),
        )
        if key in nameless
    ]


# --- what is told of them --------------------------------------------------------------------------------------------


_NOBODY: frozenset[int] = frozenset()


class _Claims(NamedTuple):
    """Who claims the users in wanted_ids, and what the claims say: by id of the user."""

    by: dict[int, set[int]]  # -> ids of the synchronizations
    disabled_by_others: set[int]  # by other attributes than those of the snapshot
    said_disabled: set[int]  # by this synchronization
    seen_out_by: dict[int, list[int]]  # -> ids of other synchronizations that say so


def _claims_on_wanted_users(loading: Loading) -> _Claims:
    found = _Claims({}, set(), set(), {})
    for user, synchronization, disabled in loading.store.rows(
        "SELECT c.user_id, c.synchronization_id, c.disabled FROM wanted_ids w CROSS JOIN claims c"
        " WHERE c.user_id = w.id"
    ):
        found.by.setdefault(user, set()).add(synchronization)
        if disabled is None:
            continue
        if synchronization == loading.me:
            found.said_disabled.add(user)
            continue
        found.seen_out_by.setdefault(user, []).append(synchronization)
        if disabled != loading.snapshot.state_by:
            found.disabled_by_others.add(user)
    return found


def wanted_users(loading: Loading) -> tuple[dict[str, _model.StoredUser], dict[str, int]]:
    """Return the users in wanted_ids, and {reference: id} of them."""
    me, tree, snapshot = loading.me, loading.tree, loading.snapshot
    claims = _claims_on_wanted_users(loading)
    references = of_wanted_ids(loading.store, loading.directory, tree)
    users = {}
    for (
        number,
        writer,
        adopted,
        since,
        home,
        name,
        enabled,
        sid,
        extinct,
        text,
        dn,
        known_as,
        unit,
    ) in loading.store.rows(
        "SELECT u.id, u.synchronization_id, u.adopted, u.extinct_since, u.home_id, u.name, u.enabled, u.sid,"
        " u.extinct, u.attributes, u.dn, u.known_as, u.unit FROM wanted_ids w CROSS JOIN users u WHERE u.id = w.id"
    ):
        reference, claimed_by = references[number], claims.by.get(number, _NOBODY)
        seen_out_by = claims.seen_out_by.get(number, [])
        if extinct and writer not in (None, me):
            seen_out_by.append(writer)
        attributes, is_claimed = _attributes.EncodedAttributes(text), me in claimed_by
        users[reference] = _model.StoredUser(
            reference,
            _model.UserRecord(
                name, tree.reference(home), bool(enabled), sid, extinct, attributes, dn, is_claimed, known_as, unit
            ),
            # A record whose giver has no claim on it belongs to the next who claims it: now, or by this snapshot.
            is_written_here=writer == me or (is_claimed or reference in snapshot.users) and writer not in claimed_by,
            other_claims=len(claimed_by - {me}),
            adopted=bool(adopted),
            extinct_since=since,
            taken_over=writer != me and reference[:1] not in "@#",
            disabled_by_others=number in claims.disabled_by_others,
            said_disabled=number in claims.said_disabled,
            seen_out_by=tuple(sorted(seen_out_by)),
        )
    return users, {reference: number for number, reference in references.items()}
