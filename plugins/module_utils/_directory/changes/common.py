# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What all ways of telling changes have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..._named_tuple import NamedTuple
from ..ber import ProtocolError, ServerLost
from ..distinguished_names import dn_text, normal_dn
from ..presets import Preset
from ..search import NoSuchEntry, ReadError, search
from ..stable_keys import keys_of
from ..wire import ENTRY

# More changes than this are read faster with everything else, page by page, than looked up key by key.
MANY = 5000

ENDLESS = 10_000_000  # messages in an answer, after which it is taken for one without end
NO_END = "server: it was asked for what changed and does not stop sending: name another server, or set read_mode: full"


class ReadFully(Exception):
    """Why only a read of everything will do; the text completes "everything is read, since ..."."""


def attempt(session: Any, ask: Callable[[], Any]) -> Any:
    """Return what ``ask`` returns. Raise ReadFully if the server refuses it: a full read may not meet that."""
    try:
        return ask()
    except ServerLost:
        raise
    except (ReadError, ValueError) as error:
        if session.unusable:
            raise
        raise ReadFully("what changed cannot be told (%s)" % error) from None


class ListChange(NamedTuple):
    """What came to a member list, and what left it: values as the server sends them."""

    added: set[bytes]
    removed: set[bytes]
    whole: set[bytes]  # values that came as the list itself does: then nothing tells what left it


class Changes(NamedTuple):
    """What changed. Either may say too much.

    ``changed``: stable key -> DN now, empty if what changed was asked for by the filters. ``gone``: stable keys.
    """

    changed: dict[str, str]
    gone: set[str]


class Where(NamedTuple):
    """Where changes are looked for."""

    preset: Preset
    context: str  # DN of the naming context
    roots: dict[str, str]  # what is selected: normal DN -> DN
    outside: Sequence[str]  # stable keys of those in scope who lie outside of it


def answers(session: Any, operation: bytes, asking: bytes) -> Iterator[tuple[int, bytes, dict[str, bytes]]]:
    """Yield all answers to a search with such a control; to be read to the end."""
    session.unusable = "another search is not read to its end"
    for came, answer in enumerate(session.channel.answers(session.channel.ask(operation, asking))):
        if came > ENDLESS:
            raise ProtocolError(NO_END)
        session.entries += answer[0] == ENTRY
        yield answer
    session.pages += 1
    session.unusable = ""


def look_below(session: Any, place: Where, dn: str, changed: dict[str, str]) -> None:
    """Count as changed who lies below a container that changed: where it was moved, they were, and nothing says so."""
    if normal_dn(dn) == normal_dn(place.context):  # which can move nowhere
        return
    try:
        changed.update(_keys_below(session, place, dn))
    except NoSuchEntry:
        raise ReadFully("a container was moved while it was read") from None
    if len(changed) > MANY:
        raise ReadFully("more than %d entries lie below containers that changed" % MANY)


def _keys_below(session: Any, place: Where, dn: str) -> Iterator[tuple[str, str]]:
    preset = place.preset
    tests = "(|%s%s)" % (preset.is_user, preset.is_group)
    for raw_dn, entry, _raw in search(session, dn, "sub", tests, (preset.user_key,)):
        for key in keys_of(entry, preset.user_key):
            yield key, dn_text(raw_dn)
