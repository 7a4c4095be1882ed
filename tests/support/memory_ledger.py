# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a store keeps of a provisioning, in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ansible_collections.usersync.directory.plugins.module_utils._destination.contract import Record
from ansible_collections.usersync.directory.plugins.module_utils._provisioning.model import Link, Ref


class MemoryLedger:
    def __init__(self) -> None:
        self._links: dict[Ref, Link] = {}
        self._intents: dict[Ref, Record] = {}
        self._allowed: frozenset[str] = frozenset()

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """All of the calls inside count, or none does."""
        before = self._links, self._intents
        self._links, self._intents = dict(self._links), dict(self._intents)
        try:
            yield
        except BaseException:
            self._links, self._intents = before
            raise

    def links(self) -> dict[Ref, Link]:
        return dict(self._links)

    def intents(self) -> dict[Ref, Record]:
        return dict(self._intents)

    def intend(self, ref: Ref, record: Record) -> None:
        self._intents[ref] = record

    def not_created(self, ref: Ref) -> None:
        self._intents.pop(ref, None)

    def link(self, ref: Ref, link: Link) -> None:
        self._links[ref] = link
        self._intents.pop(ref, None)

    def forget(self, ref: Ref) -> None:
        self._links.pop(ref, None)
        self._intents.pop(ref, None)

    def allowed(self) -> frozenset[str]:
        return self._allowed

    def allow(self, what: frozenset[str]) -> None:
        self._allowed = what
