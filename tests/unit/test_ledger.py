# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a store keeps of a provisioning: what is read back is what was written, and one run writes at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._destination.contract import Kind, Record, State
from ansible_collections.usersync.directory.plugins.module_utils._provisioning.model import Link, Ref
from ansible_collections.usersync.directory.plugins.module_utils._store import address, ledger
from ansible_collections.usersync.directory.plugins.module_utils._store.contract import StoreError
from hypothesis import given
from hypothesis import strategies as st
from support import stores
from support.examples import examples
from support.folders import scratch_folder
from support.memory_ledger import MemoryLedger
from support.stored import rows

pytestmark = pytest.mark.any_store

ANN, BOB, STAFF = Ref(Kind.ACCOUNT, "u1"), Ref(Kind.ACCOUNT, "u2"), Ref(Kind.GROUP, "g1")
URL = "https://scim.example/v2"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "users.db"
    with stores.open_store(path) as store:
        store.commit()
    return path


def read(path, name="p"):
    with stores.look(path) as store:
        return ledger.kept(store, name)


def opened(path, name="p", url=URL):
    return ledger.StoreLedger(address.address_of(stores.of(path)), 10, name, url, read(path, name))


def link(name, *members, number="1", **more):
    return Link(
        number, Record(name, "key " + name, State.DISABLED, {"title": "Ä\n"}), members=frozenset(members), **more
    )


# --- laws ------------------------------------------------------------------------------------------------------------

refs = st.sampled_from([ANN, BOB, STAFF, Ref(Kind.GROUP, "u1"), Ref(Kind.ACCOUNT, "k" * 4000)])
records = st.builds(
    Record,
    st.sampled_from(["ann", "Ann", "weiß"]),
    st.sampled_from(["", "u1"]),
    st.sampled_from(State),
    st.dictionaries(st.sampled_from(["title", "emails[work]"]), st.sampled_from(["a", "\\ '\"\n"])),
)
links = st.builds(
    Link,
    st.sampled_from(["1", "2"]),
    records,
    st.dictionaries(st.just("title"), st.just("A")),
    st.frozensets(refs),
    st.booleans(),
    st.booleans(),
    st.frozensets(refs),
)
calls = st.one_of(
    st.tuples(st.just("intend"), refs, records),
    st.tuples(st.just("link"), refs, links),
    st.tuples(st.just("not_created"), refs),
    st.tuples(st.just("forget"), refs),
    st.tuples(st.just("allow"), st.frozensets(st.sampled_from(["a", "b" * 4000]))),
    st.tuples(st.just("close")),
)


@examples(25)
@given(st.lists(calls, max_size=10))
def test_it_is_what_was_written(said):
    with scratch_folder() as folder:
        path = folder / "users.db"
        with stores.open_store(path) as store:
            store.commit()
        memory, stored, other = MemoryLedger(), opened(path), opened(path, "other")
        other.link(ANN, link("ann", BOB))
        for name, *arguments in said:
            if name == "close":
                stored.close()
                stored = opened(path)
            else:
                getattr(memory, name)(*arguments)
                getattr(stored, name)(*arguments)
        stored.close()
        other.close()
        kept = read(path)
        assert (kept.links, kept.intents, kept.allowed) == (memory.links(), memory.intents(), memory.allowed())
        assert read(path, "other").links == {ANN: link("ann", BOB)}, "no other one is touched"


# --- one rule each ---------------------------------------------------------------------------------------------------


def history(path):
    return rows(
        path,
        "SELECT event, kind, key, name, group_name FROM past_links WHERE provisioning = 'p'",
    )


def test_the_history_has_every_removal(path):
    run = opened(path)
    run.link(ANN, link("ann"))
    run.link(BOB, link("bob", number="2"))
    run.link(STAFF, link("staff", ANN, BOB, number="3"))
    assert history(path) == []
    run.link(STAFF, link("staff", BOB, number="3"))
    run.link(ANN, link("ann", departed=True))
    run.link(ANN, link("ann", departed=True))
    run.link(BOB, link("bob", number="2", gone=True))
    run.forget(BOB)
    run.release()
    run.close()
    assert history(path) == [
        ("disabled", "account", "u1", "ann", ""),
        ("ended", "account", "u2", "bob", ""),
        ("gone", "account", "u2", "bob", ""),
        ("member_removed", "account", "u1", "ann", "staff"),
        ("released", "account", "u1", "ann", ""),
        ("released", "group", "g1", "staff", ""),
    ]
    assert read(path) == ledger.NOTHING


def test_the_history_says_disabled_only_of_who_is(path):
    run = opened(path)
    run.link(ANN, link("ann")._replace(written=Record("ann", "key ann")))
    run.link(ANN, link("ann", departed=True)._replace(written=Record("ann", "key ann")))
    run.close()
    assert history(path) == [("departed", "account", "u1", "ann", "")]


def test_other_programs_see_who_is_linked_and_what_ended(path):
    run = opened(path)
    run.link(ANN, link("ann"))
    run.link(STAFF, link("staff", ANN, number="3"))
    run.link(STAFF, link("staff", number="3"))
    run.close()
    columns = "provisioning, destination, kind, key, event, destination_id, group_name"
    assert rows(path, f"SELECT {columns} FROM view_provisioning_history") == [
        ("p", URL, "account", "u1", "linked", "1", ""),
        ("p", URL, "account", "u1", "member_removed", "1", "staff"),
        ("p", URL, "group", "g1", "linked", "3", ""),
    ]


def test_a_second_run_waits_for_the_end_of_the_first(path):
    first, second = opened(path), opened(path)
    first.link(ANN, link("ann"))
    with pytest.raises(StoreError, match="^name: .* is at work"):
        second.link(BOB, link("bob"))
    first.close()
    with pytest.raises(StoreError, match="^name: .* came between"):
        second.link(BOB, link("bob"))
    third = opened(path)
    third.link(BOB, link("bob", number="2"))
    third.close()
    assert read(path).links.keys() == {ANN, BOB}


def test_a_run_that_was_killed_holds_nothing(path):
    run = opened(path)
    run.link(ANN, link("ann"))
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    change_holder(path, process=int(ended.stdout))
    again = opened(path)
    again.link(BOB, link("bob", number="2"))
    with pytest.raises(StoreError, match="^name: another run .* this one stops"):
        run.link(ANN, link("anna"))
    assert read(path).links[ANN].written.name == "ann", "and nothing of it is written"


@pytest.mark.parametrize("silent, works", [(60, True), (1900, False)])
def test_what_runs_on_another_host_is_told_by_when_it_wrote(path, silent, works, monkeypatch):
    run = opened(path)
    run.link(ANN, link("ann"))
    change_holder(path, where="elsewhere")
    now = ledger.time.time()
    monkeypatch.setattr(ledger.time, "time", lambda: now + silent)
    other = opened(path)
    if works:
        with pytest.raises(StoreError, match="is at work"):
            other.link(ANN, link("anna"))
    else:
        other.link(ANN, link("anna"))


def change_holder(path, **changes):
    with stores.open_store(path) as store:
        ((holder,),) = store.rows("SELECT holder FROM provisionings")
        said = json.loads(holder)
        assert said["process"] == os.getpid()
        store.run("UPDATE provisionings SET holder = ?", (json.dumps({**said, **changes}),))
        store.commit()


def test_a_provisioning_is_bound_to_its_destination(path):
    run = opened(path)
    run.link(ANN, link("ann"))
    run.close()
    with pytest.raises(StoreError, match="^url: .* belongs to"):
        opened(path, url="https://other.example")


def test_a_synchronization_is_not_disturbed(path):
    """Its look-ups, and what it writes then, are from one moment, though a provisioning writes between."""
    run = opened(path)
    run.link(ANN, link("ann"))
    before = rows(path, "SELECT count(*) FROM user_groups")
    if stores.of(path) != str(path):  # a file is held from beginning to end
        with stores.open_store(path) as store:
            store.rows("SELECT count(*) FROM user_groups")
            run.link(BOB, link("bob", number="2"))
            store.begin_writing()
            store.commit()
    run.close()
    assert rows(path, "SELECT count(*) FROM user_groups") == before
