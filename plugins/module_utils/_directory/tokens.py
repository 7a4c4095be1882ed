# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The forms of what member lists have, and what they lead to.

A *token* is the form in which two spellings of a value are equal: a DN in normal form, a folded name, or a stable key.
Example: `UID=Ann, OU=People` and `uid=ann,ou=people` have one token.

Somebody may come again elsewhere, since it moved while it was read. Then the token of where it was leads to it only if
it leads to nobody else. Example: ann is read as `ann` and then as `ann2`, and the nurses list `ann`. If another ann is
found, she is the nurse; if not, ann2 is.
"""

from __future__ import annotations

import re

from .._names import name_key, significant
from .distinguished_names import dn_is_within, dn_text, normal_dn
from .forms import value_text
from .outcomes import EMPTY, OTHER_DOMAIN, TOO_LONG, Outcome, malformed
from .search import LONGEST_ASKED_FOR, MISSING_OK, search
from .source import Source

# RFC 4517, 3.3.21: a uniqueMember may end in a bit string that tells reused names apart.
BIT_STRING = re.compile(rb"#'[01]*'B$")


class Tokens:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.outcomes: dict[str, Outcome] = {}  # token -> what it leads to
        self.left_behind: dict[str, str] = {}  # token of where somebody was who came again elsewhere -> its key
        # Tokens of what leads to somebody whose record will not tell so: in the next read nothing but a note that lists
        # have it tells then that it meant that one.
        self.unrecorded: set[str] = set()
        self._contexts_below: list[str] = []
        self._knows_contexts = False

    def leave_behind(self, token: str, key: str) -> None:
        """Note a token of where somebody was who came again elsewhere."""
        self.left_behind[token] = key

    def of(self, value: bytes) -> Outcome:
        """Return the token of a value; or why it can lead to no one."""
        if not value:
            return EMPTY
        if len(value) > LONGEST_ASKED_FOR:
            return TOO_LONG
        members_by = self.source.members_by
        try:
            if members_by == "name":
                return folded(value)
            if members_by == "key":
                return value_text(self.source.preset.user_key, value)
            normal = normal_dn(self.dn(value))
        except ValueError:
            return malformed({"dn": "DN"}.get(members_by, members_by))
        if not normal:
            return EMPTY
        return OTHER_DOMAIN if self._is_elsewhere(normal) else normal

    @staticmethod
    def dn(value: bytes) -> str:
        """Return the DN in a value. Raises ValueError if it is not UTF-8."""
        return dn_text(BIT_STRING.sub(b"", value))

    def text(self, value: bytes) -> str:
        """Return a value as a text that can be stored."""
        is_dn = self.source.members_by == "dn"
        return (BIT_STRING.sub(b"", value) if is_dn else value).decode("utf-8", "backslashreplace")

    def _is_elsewhere(self, normal: str) -> bool:
        return not dn_is_within(normal, self.source.context_normal) or any(
            dn_is_within(normal, context) for context in self._get_contexts_below()
        )

    def _get_contexts_below(self) -> list[str]:
        """Return the naming contexts whose DNs look as if they lay in this one: AD's child domains."""
        if not self._knows_contexts:
            self._knows_contexts = True
            session = self.source.session
            configuration = session.root_dse.get("configurationnamingcontext")
            if self.source.is_active_directory and configuration:
                base = "CN=Partitions," + dn_text(configuration[0])
                for _dn, entry, _raw in search(session, base, "one", "(objectClass=crossRef)", ("nCName",), MISSING_OK):
                    normal = normal_dn(dn_text(entry.get("ncname", [b""])[0]))
                    if normal != self.source.context_normal and dn_is_within(normal, self.source.context_normal):
                        self._contexts_below.append(normal)
        return self._contexts_below


def folded(value: bytes) -> str:
    """Return the form in which two names are compared."""
    if value.isascii():
        return significant(value.decode("ascii").lower())
    return name_key(significant(value.decode("utf-8", "surrogateescape")))


def folded_text(value: bytes) -> str:
    """Return the same as a text that can be stored, whatever the value is; as `Tokens.text` has those of lists."""
    return folded(value).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
