# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract of a destination, by one of dictionaries: an atomic one keeps nothing before it is told to."""

from __future__ import annotations

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._destination.contract import (
    CannotBeRead,
    ChangeMembers,
    Conflict,
    Create,
    Delete,
    Destination,
    Done,
    Gone,
    Kind,
    Linked,
    Record,
    Sought,
    Update,
)
from support.dictionary_destination import Content, DictionaryDestination

ANN = Record("ann", "key-ann", attributes={"title": "Nurse", "foreign": "stays"})


def made(destination: Destination, kind: Kind, record: Record) -> str:
    outcome = destination.apply(Create(kind, record))
    assert isinstance(outcome, Done)
    return outcome.id


@pytest.mark.parametrize("atomic", [False, True])
def test_only_an_atomic_destination_waits_for_the_commit(atomic):
    content = Content()
    destination = DictionaryDestination(content, atomic=atomic)
    made(destination, Kind.ACCOUNT, ANN)
    assert bool(content.records[Kind.ACCOUNT]) is not atomic
    destination.commit()
    assert list(content.records[Kind.ACCOUNT].values()) == [ANN]


def test_an_update_leaves_alone_what_does_not_differ():
    content = Content()
    destination = DictionaryDestination(content)
    number = made(destination, Kind.ACCOUNT, ANN)
    update = Update(
        Kind.ACCOUNT, number, Record("ann", "key-ann", attributes={"title": "Nurse"}), Record("eve", "key-ann")
    )
    assert destination.apply(update) == Done(number)
    assert content.records[Kind.ACCOUNT][number] == Record("eve", "key-ann", attributes={"foreign": "stays"})


def test_names_are_unique_and_ids_are_not_given_again():
    destination = DictionaryDestination(Content())
    number = made(destination, Kind.ACCOUNT, ANN)
    assert isinstance(destination.apply(Create(Kind.ACCOUNT, Record("ANN"))), Conflict)
    assert destination.apply(Delete(Kind.ACCOUNT, number)) == Done(number)
    assert destination.apply(Delete(Kind.ACCOUNT, number)) == Gone()
    assert made(destination, Kind.ACCOUNT, ANN) != number


def test_what_is_gone_was_asked_for():
    destination = DictionaryDestination(Content())
    ann = made(destination, Kind.ACCOUNT, ANN)
    staff = made(destination, Kind.GROUP, Record("staff"))
    destination.apply(ChangeMembers(staff, (ann,), ()))
    actual = destination.read(Linked(frozenset({ann, "account-9"}), {staff: frozenset({ann})}))
    assert actual.accounts == {ann: ANN} and actual.members == {staff: {ann}}
    assert actual.gone == {(Kind.ACCOUNT, "account-9")}


def test_one_that_does_not_list_can_be_asked_for_what_is_sought():
    destination = DictionaryDestination(Content(), lists=frozenset())
    ann = made(destination, Kind.ACCOUNT, ANN)
    sought = Sought(Kind.ACCOUNT, "another key", "Ann")
    actual = destination.read(Linked(frozenset({ann, "account-9"}), {}, [sought]))
    assert isinstance(actual.accounts, CannotBeRead) and isinstance(actual.groups, CannotBeRead)
    assert actual.gone == frozenset() and actual.found == {sought: {ann: ANN}}
