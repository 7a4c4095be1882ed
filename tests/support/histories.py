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

# Strategies are made once, and what is drawn in vain is left out: to make them of what was drawn takes three times as
# long as to draw.
_user_keys, _group_keys = (st.sets(st.sampled_from(keys)) for keys in (USER_KEYS, GROUP_KEYS))
_users = st.fixed_dictionaries(
    {
        "name": st.sampled_from(NAMES),
        "home": st.sampled_from(CONTAINERS),
        "enabled": st.booleans(),
        "created": st.integers(0, 3),
        "sid": st.sampled_from((None, None, "S-1", "S-2")),
        "attributes": st.sampled_from(({}, {"email": "x@example.com"})),
    }
)
_groups = st.fixed_dictionaries(
    {
        "name": st.sampled_from(NAMES),
        "members": _user_keys,
        "created": st.integers(0, 3),
        "parent": st.sampled_from(CONTAINERS),
        "user_groups": _group_keys,
    }
)


@st.composite
def directories(draw: Any) -> Directory:
    """Users and groups, with many collisions. The containers g0 and g1 lie directly below the target."""
    user_keys, group_keys = draw(_user_keys), draw(_group_keys)

    def existing(container: str | None) -> str | None:
        return container if container in group_keys else None

    def a_user(key: str, home: str | None, **more: Any) -> _model.User:
        return user(key, home=existing(home), **more)

    def a_group(
        key: str, members: set[str], parent: str | None, user_groups: set[str], **more: Any
    ) -> _model.UserGroup:
        return group(
            key,
            members=sorted(members & user_keys),
            parent=None if key in CONTAINERS else existing(parent),
            user_groups=sorted(user_groups & group_keys),
            **more,
        )

    return (
        [a_user(key, **draw(_users)) for key in sorted(user_keys)],
        [a_group(key, **draw(_groups)) for key in sorted(group_keys)],
    )


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


_sids = st.sampled_from((None, "S-1"))
_records_made_by_hand = st.sets(st.sampled_from(("ann", "bob", "cleo")))
_runs = st.lists(
    st.tuples(
        directories(),
        policies(ignore_disabled_users=st.booleans()),
        st.sampled_from((_model.GONE, _model.OUT_OF_SCOPE)),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@st.composite
def histories(draw: Any) -> tuple[ModelStore, list[tuple[Directory, dict[str, Any], str, bool]]]:
    """A store with some records made by hand, and what one to four runs find.

    Of each run: the directory, the policies, why those are lost that are missing, and whether what the store has the
    digest of is left out of the snapshot.
    """
    store = ModelStore()
    for name in sorted(draw(_records_made_by_hand)):
        store.add_by_hand(name, sid=draw(_sids) if name == "ann" else None)
    return store, draw(_runs)
