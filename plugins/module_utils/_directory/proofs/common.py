# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What the two ways in which servers prove absence have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from ..._model import Conclusion, Snapshot, StoredState
from ..distinguished_names import normal_dn
from ..presets import Entry, Preset

USER, GROUP = "user", "user_group"

# What every user and every group of Active Directory has (MS-SAMR 3.1.1.8, MS-ADSC).
EVERY = {
    USER: (
        "objectClass",
        "objectCategory",
        "sAMAccountName",
        "userAccountControl",
        "accountExpires",
        "primaryGroupID",
        "objectSid",
    ),
    GROUP: ("objectClass", "objectCategory", "sAMAccountName", "groupType", "objectSid"),
}

NOT_FOUND = "nobody is found by its key any more"
TOO_MANY = "too much had to be asked for one by one: the next run goes on"
HIDDEN = "its %s cannot be read"

Pair = Conclusion  # ('member' or 'nested', key of the user group, reference of the member)
ByKey = dict[str, tuple[str, Entry]]  # stable key -> DN, entry
Dns = Callable[[Iterable[str]], Mapping[str, str]]  # stable keys of users -> DNs


def no_dns(_keys: Iterable[str]) -> dict[str, str]:
    """Tell of nobody where it is stored."""
    return {}


class Proofs(Protocol):
    """How a server proves absence."""

    def stateless(self, users: Sequence[str], snapshot: Snapshot) -> dict[str, str]:
        """Return of which of these users, who seem to be enabled, nothing proves it, and why."""

    def lacking(self, kind: str, keys: Sequence[str], attributes: Sequence[str]) -> dict[str, str]:
        """Return which of these entries may have one of these attributes that did not come, and why."""

    def listed(self, pairs: set[Pair], dns: dict[str, str]) -> dict[Pair, str]:
        """Return which of these memberships may be there still, and why. ``dns``: keys of user groups -> DNs."""

    def not_matching(self, kind: str, keys: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Return which of these entries match their filter (key -> DN), and of which nothing tells (key -> why)."""

    def still_named(self, gone: dict[str, str]) -> dict[str, str]:
        """Return which of these, whom nobody finds, are there all the same, and why. ``gone``: key -> DN."""


def always_there(preset: Preset) -> tuple[str, ...]:
    """Return the attributes of `Preset.state` that every user of such a directory has."""
    every = EVERY[USER] if preset.directory_type == "active_directory" else ()
    return tuple(attribute for attribute in preset.state if attribute in every)


def is_read(pair: Pair, snapshot: Snapshot, state: StoredState) -> bool:
    """Return whether the membership is one that a list says: not that of a container, of a record made by hand, which
    somebody takes over, or of somebody whom an earlier run has seen to be gone.
    """
    _kind, group, member = pair
    stored = state.users.get(member)
    is_extinct = stored is not None and bool(stored.record.extinct)
    return not is_container(group, snapshot) and member[:1] != "#" and not is_extinct


def is_container(key: str, snapshot: Snapshot) -> bool:
    group = snapshot.user_groups.get(key)
    return group is not None and group.type in ("organizational_unit", "container")


def normal_stored(dn: str) -> str | None:
    """Return the normal form of a stored DN; None if it is none, as in a store that is damaged: it is nobody's."""
    try:
        return normal_dn(dn)
    except ValueError:
        return None
