# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The container in which an entry lies, by whose key names are kept: see `KeptNames` in `_plan/places.py`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping

from .._model import UNIT_AS_STORED
from .changes.common import ReadFully, attempt
from .distinguished_names import dn_parent, dn_text, normal_dn
from .filters import ANYTHING, below_parents
from .scope import Scope
from .search import MISSING_OK, search
from .source import Source
from .stable_keys import keys_of


class Units:
    """``stored``: user groups whose container is known: stable key -> DN."""

    def __init__(self, source: Source, scope: Scope, stored: Mapping[str, str]) -> None:
        self.source, self.scope, self.stored = source, scope, stored
        self.dns: dict[str, str] = {}  # of containers: one text for all who lie in one

    def dn_above(self, dn: str) -> str:
        """Return the DN of the container in which the entry at this DN lies."""
        above = dn_parent(dn)
        return self.dns.setdefault(above, above)

    def dn_above_group(self, key: str, dn: str) -> str:
        """Leave it out if the group is where it was: all groups are read, and most are as stored."""
        return UNIT_AS_STORED if self.stored.get(key) == dn else self.dn_above(dn)

    def keys(self) -> dict[str, str]:
        """Return {DN of a container: its stable key}; its DN in normal form if that cannot be read.

        Not knowing a container makes nobody lose anything: it is another one than any that is known.
        """
        normal_forms = {dn: normal_dn(dn) for dn in self.dns}
        keys = {normal: self.scope.nodes[normal] for normal in normal_forms.values() if normal in self.scope.nodes}
        missing = {normal: dn for dn, normal in normal_forms.items() if normal not in keys}
        top = missing.pop(self.source.context_normal, "")
        places = [(base, "one", tests) for base, tests in below_parents(missing)]
        places += [(top, "base", ANYTHING)] if top else []
        for place in places:
            with contextlib.suppress(ReadFully):  # the account may not look there
                attempt(self.source.session, functools.partial(self._ask, keys, *place))
        return {dn: keys.get(normal) or "dn:" + normal for dn, normal in normal_forms.items()}

    def _ask(self, keys: dict[str, str], base: str, scope: str, tests: str) -> None:
        """Add to ``keys`` those of these containers: normal DN -> key."""
        attribute = self.source.preset.container_key
        for dn, entry, _raw in search(self.source.session, base, scope, tests, (attribute,), MISSING_OK):
            keys.update((normal_dn(dn_text(dn)), key) for key in keys_of(entry, attribute)[:1])
