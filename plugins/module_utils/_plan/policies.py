# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What of a synchronization's settings the planner goes by."""

from __future__ import annotations

from typing import Protocol

from .._named_tuple import NamedTuple


class Policies(Protocol):
    """The settings of a synchronization, or what has as much of them. The options of these names say what they mean."""

    @property
    def name(self) -> str:
        """Of the synchronization."""

    @property
    def user_collision(self) -> str:
        """``skip``, ``overwrite`` or ``merge``."""

    @property
    def user_extinction(self) -> str:
        """``skip``, ``disable`` or ``delete``."""

    @property
    def user_extinction_grace_days(self) -> int:
        """Days."""

    @property
    def user_group_extinction(self) -> str:
        """``skip`` or ``delete``."""

    @property
    def ignore_disabled_users(self) -> bool:
        """Whether they are left out."""

    @property
    def name_reuse_days(self) -> int:
        """Days."""


class PoliciesOfAnEnd(NamedTuple):
    """By which all is removed at once that a synchronization had alone."""

    name: str
    user_collision: str
    ignore_disabled_users: bool
    name_reuse_days: int
    user_extinction: str = "delete"
    user_extinction_grace_days: int = 0
    user_group_extinction: str = "delete"
