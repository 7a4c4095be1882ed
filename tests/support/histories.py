# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random directories, and random histories of them, for hypothesis: few names and keys, so that much collides."""

from __future__ import annotations

from typing import Any

from ansible_collections.usersync.directory.plugins.module_utils import _model
from hypothesis import strategies as st

from .model_store import ModelStore
from .snapshots import group, user

NAMES = ("ann", "Bob", "BOB", "cleo", "dörte", "DÖRTE")
USER_KEYS = tuple("u%d" % number for number in range(6))
GROUP_KEYS = tuple("g%d" % number for number in range(4))
CONTAINERS = (None, "g0", "g1")

Directory = tuple[list[_model.User], list[_model.UserGroup]]


@st.composite
def directories(draw: Any) -> Directory:
    """Users and groups, with many collisions. The containers g0 and g1 lie directly below the target."""
    group_keys = draw(st.sets(st.sampled_from(GROUP_KEYS)))
    homes = [home for home in CONTAINERS if home is None or home in group_keys]
    users = [
        user(
            key,
            draw(st.sampled_from(NAMES)),
            home=draw(st.sampled_from(homes)),
            enabled=draw(st.booleans()),
            created=draw(st.integers(0, 3)),
            sid=draw(st.sampled_from((None, None, "S-1", "S-2"))),
            attributes=draw(st.sampled_from(({}, {"email": "x@example.com"}))),
        )
        for key in sorted(draw(st.sets(st.sampled_from(USER_KEYS))))
    ]
    groups = [
        group(
            key,
            draw(st.sampled_from(NAMES)),
            sorted(draw(st.sets(st.sampled_from([u.key for u in users])))) if users else (),
            created=draw(st.integers(0, 3)),
            parent=None if key in CONTAINERS else draw(st.sampled_from(homes)),
            user_groups=sorted(draw(st.sets(st.sampled_from(sorted(group_keys))))),
        )
        for key in sorted(group_keys)
    ]
    return users, groups


def policies(
    user_collision: tuple[str, ...] = ("skip", "overwrite", "merge"), **more: Any
) -> st.SearchStrategy[dict[str, Any]]:
    """Policies that bear on what a plan removes; `more` are strategies of other ones."""
    return st.fixed_dictionaries(
        {
            "user_collision": st.sampled_from(user_collision),
            "user_extinction": st.sampled_from(("skip", "disable", "delete")),
            "user_group_extinction": st.sampled_from(("skip", "delete")),
            **more,
        }
    )


@st.composite
def histories(draw: Any) -> tuple[ModelStore, list[tuple[Directory, dict[str, Any], str, bool]]]:
    """A store with some records made by hand, and what one to four runs find.

    Of each run: the directory, the policies, why those are lost that are missing, and whether what the store has the
    digest of is left out of the snapshot.
    """
    store = ModelStore()
    for name in sorted(draw(st.sets(st.sampled_from(("ann", "bob", "cleo"))))):
        store.add_by_hand(name, sid=draw(st.sampled_from((None, "S-1"))) if name == "ann" else None)
    run = st.tuples(
        directories(),
        policies(ignore_disabled_users=st.booleans()),
        st.sampled_from((_model.GONE, _model.OUT_OF_SCOPE)),
        st.booleans(),
    )
    return store, draw(st.lists(run, min_size=1, max_size=4))
