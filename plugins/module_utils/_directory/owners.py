# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Whose entry it is.

An entry is that of whom its stable key names, if it has one key, that can be one, and that no other entry has. Any
other entry is that of who was at its DN in the last run, whatever key it has now: so nobody loses or keeps anything by
what he writes into his own key. Example: eve writes bob's key into her entry. Hers is still eve's, and his is bob's,
since that is where they were.

If nobody was there, it is left out, and whose keys it has may have moved there: what is stored of them stays. Example:
ann's entry is renamed, and has two keys now. She stays as she is.

An entry that is a user and a user group is what it was in the last run; a new one is a user.

Such entries are *nameless* until all others were read: only then it is known who is where (`naming.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Set

from .._model import Digests
from .distinguished_names import dn_text, normal_dn
from .notes import Notes
from .outcomes import NAMELESS, Outcome
from .presets import Entry
from .source import Source
from .stable_keys import keys_of

NOBODY = ""  # the key of whose entry it is, if it is nobody's who is stored

# Why an entry is not stored as it is.
NO_DN = "its DN is none"
NO_KEY = "its %s is no stable key"
ANOTHERS_KEY = "its %s is that of another entry as well"
TAKEN_FOR = ": it is taken for who was there in the last run"
LEFT_OUT = ": it is left out, and whom it may mean stays as stored"
BOTH = "it is a %s, and not a %s as well"


class SharedKeys(Exception):
    """Keys that several entries have, where something is stored: what was read is worth nothing, and is read again."""

    def __init__(self, keys: frozenset[str]) -> None:
        super().__init__()
        self.keys = keys


class Owners:
    """``shared`` are the keys that several entries have."""

    def __init__(self, source: Source, stored: Digests, notes: Notes, shared: Set[str]) -> None:
        self.source, self.stored, self.notes, self.shared = source, stored, notes, shared
        self.named: dict[bytes, str] = {}  # DN of such an entry -> whose it is, or NOBODY
        self.as_they_are: set[str] = set()  # keys that such an entry of nobody has
        self._stored_at: dict[str, list[str]] = {}  # normal DN -> keys of who was there in the last run
        self._was_loaded = False

    def note(self, dn: bytes, entry: Entry, key: str, why: str, *attributes: str) -> Outcome:
        """Note whose entry it is, whose own key does not tell. ``attributes`` are those of its keys."""
        if dn not in self.named:
            self.named[dn] = key
            self.notes.not_stored.append((_shown(dn), why + (TAKEN_FOR if key else LEFT_OUT)))
            if not key:
                self.as_they_are.update(keys_of(entry, *attributes))
        return key or NAMELESS

    def stored_at(self, dn: bytes, among: Container[str]) -> str:
        """Return the key of who was at the DN in the last run, of these; NOBODY if none of them was."""
        if not self._was_loaded:
            self._was_loaded = True
            keys = dict.fromkeys([*self.stored.users, *self.stored.user_groups])  # one may be that of both
            for key, its_dn in self.stored.dns(keys).items():
                with contextlib.suppress(ValueError):
                    self._stored_at.setdefault(normal_dn(its_dn), []).append(key)
        return next((key for key in self._stored_at.get(normal_dn(dn_text(dn)), ()) if key in among), NOBODY)

    def is_first_run(self) -> bool:
        """Return whether nothing is stored, so that there is nobody who might leave."""
        return not self.stored.users and not self.stored.user_groups

    def why_no_mark(self) -> str:
        """Return why the next read must see all such entries again; empty if there are none."""
        return "'%s' has no stable key of its own" % _shown(min(self.named)) if self.named else ""


def _shown(dn: bytes) -> str:
    return dn.decode("utf-8", "backslashreplace")
