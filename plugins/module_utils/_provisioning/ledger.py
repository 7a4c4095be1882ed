# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What a store keeps of one provisioning. Each call is kept when it returns, but for those of an atomic destination."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from .._destination.contract import Record
from .model import Link, Ref


class Ledger(Protocol):
    """Links, and a journal: what was being created when a run ended.

    All else is the same if it is done twice, and the link tells that it was not done, or may have been (`in_doubt.py`).
    """

    def at_once(self) -> AbstractContextManager[None]:
        """Make one of all calls inside: they are kept when it is left, all or none."""

    def links(self) -> dict[Ref, Link]:
        """Return what we are linked to."""

    def intents(self) -> dict[Ref, Record]:
        """Return what was being created, and may be there."""

    def intend(self, ref: Ref, record: Record) -> None:
        """Keep that something is about to be created."""

    def not_created(self, ref: Ref) -> None:
        """Keep that nothing came of it."""

    def link(self, ref: Ref, link: Link) -> None:
        """Keep a link, in place of what there was of it; it is no longer being created."""

    def forget(self, ref: Ref) -> None:
        """Forget a link, and that it was being created."""

    def allowed(self) -> frozenset[str]:
        """Return what the last plan that was judged may do (`limits.allowed_by`); empty if nothing of it is left."""

    def allow(self, what: frozenset[str]) -> None:
        """Keep what a plan may do, in place of what there was, and that this run does it: no other one."""
