# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose entry it is, whose own key does not tell."""

from __future__ import annotations

from types import SimpleNamespace

from ansible_collections.usersync.directory.plugins.module_utils._directory.notes import Notes
from ansible_collections.usersync.directory.plugins.module_utils._directory.outcomes import NAMELESS
from ansible_collections.usersync.directory.plugins.module_utils._directory.owners import NOBODY, Owners
from ansible_collections.usersync.directory.plugins.module_utils._model import Digests

ANN, BOB = b"uid=ann,dc=x", b"uid=bob,dc=x"


def owners(dns, users=("ann",), user_groups=()):
    """As after a run that stored these users and user groups; ``dns`` tells of stable keys where they were."""
    stored = Digests(dict.fromkeys(users, b""), dict.fromkeys(user_groups, b""), {}, {}, dns=dns)
    return Owners(SimpleNamespace(), stored, Notes(), frozenset())


def test_an_entry_is_that_of_who_was_there():
    known = owners(lambda _keys: {"ann": "UID=Ann, DC=x"})
    assert known.stored_at(ANN, {"ann"}) == "ann"
    assert known.stored_at(ANN, {"bob"}) == known.stored_at(BOB, {"ann"}) == NOBODY


def test_who_was_there_may_have_a_dn_that_is_none():
    assert owners(lambda _keys: {"ann": "no DN"}).stored_at(ANN, {"ann"}) == NOBODY


def test_a_key_that_a_user_and_a_user_group_have_is_asked_for_once():
    """A user took the key of a user group whose removal is held. A store may be asked for a user group once only."""
    asked = []

    def dns(keys):
        asked.extend(keys)
        return {}

    assert owners(dns, users=("ann", "both"), user_groups=("both", "nurses")).stored_at(ANN, {"ann"}) == NOBODY
    assert asked == ["ann", "both", "nurses"]


def test_an_entry_of_nobody_leaves_those_as_they_are_whose_keys_it_has():
    known = owners(lambda _keys: {})
    assert known.note(ANN, {"uid": [b"a", b"b"]}, NOBODY, "why", "uid") is NAMELESS
    assert known.note(ANN, {}, NOBODY, "said already") is NAMELESS
    assert known.note(BOB, {"uid": [b"c"]}, "bob", "why", "uid") == "bob"
    assert known.as_they_are == {"a", "b"} and known.named == {ANN: NOBODY, BOB: "bob"}
    assert [dn for dn, _why in known.notes.not_stored] == ["uid=ann,dc=x", "uid=bob,dc=x"]
