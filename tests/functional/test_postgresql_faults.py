# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that loses its database: the store is as before or as after, and whoever is left says which."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._store import address, opening
from ansible_collections.usersync.directory.plugins.module_utils._store.apply import apply as apply_plan
from ansible_collections.usersync.directory.plugins.module_utils._store.contract import StoreError, WrittenMeanwhile
from ansible_collections.usersync.directory.plugins.module_utils._store.load import load_state
from support import snapshots, stored
from support.plans import (
    group_changes,
    group_record,
    make_plan,
    membership_change,
    run_record,
    user_changes,
    user_record,
)
from support.postgresql import PostgreSQL
from support.proxy import AFTER, BEFORE, Proxy

USERS = {"u%d" % number: user_record("user%d" % number) for number in range(30)}
GROUPS = {"g%d" % number: group_record("group%d" % number) for number in range(3)}
FIRST = make_plan(
    group_changes({}, GROUPS), user_changes({}, USERS), [membership_change(key, added=USERS) for key in GROUPS]
)
# Some are gone, some are new, two swap their names, and all leave a group.
NOW = {key: record for key, record in USERS.items() if key not in ("u3", "u4")}
NOW.update(
    u0=user_record("user1"), u1=user_record("user0"), v0=user_record("new"), u9=user_record("user9", enabled=False)
)
SECOND = make_plan(
    users=user_changes(USERS, NOW),
    memberships=[
        membership_change("g0", added=["v0"], removed=["u3", "u4"]),
        membership_change("g1", removed=sorted(USERS)),
        membership_change("g2", removed=["u3", "u4"]),
    ],
)


@pytest.fixture(scope="module")
def server():
    with PostgreSQL() as server:
        yield server


@pytest.fixture
def uri(server, request):
    """A store in which the first plan was applied."""
    schema = "s%d" % (abs(hash(request.node.nodeid)) % 10**9)
    uri = f"{server.uri}&schema={schema}"
    run(uri, FIRST)
    return uri


def run(uri, plan):
    """As a run: look up, then apply and commit."""
    with opening.open_store(address.address_of(uri), 20) as store:
        load_state(store, "staff", ["All", "Company"], snapshots.snapshot())
        apply_plan(store, plan, run_record())
        store.commit()


def contents(uri):
    assert stored.problems(uri) == []
    return stored.dump(uri)


@pytest.fixture
def outcomes(server, uri):
    """What the store is before and after the second plan, and in how many pieces that is sent."""
    before = contents(uri)
    with Proxy(server, lambda piece, when: False) as proxy:
        run(through(proxy, uri), SECOND)
    return before, contents(uri), proxy.pieces


def through(proxy, uri):
    return f"{proxy.uri}&schema={uri.rpartition('=')[2]}"


def as_it_was(server, uri):
    """Have the store as it was after the first plan."""
    server.run(f"DROP SCHEMA {uri.rpartition('=')[2]} CASCADE")
    run(uri, FIRST)


def moments(pieces, step, end=8):
    """Some of the pieces that a run sends, and all of the last ones: before each of them, and after it."""
    numbers = [*range(1, pieces - end, step), *range(pieces - end, pieces + 1)]
    return [(number, when) for number in numbers for when in (BEFORE, AFTER)]


def test_a_connection_that_is_cut_at_any_moment(server, uri, outcomes):
    before, after, pieces = outcomes
    as_it_was(server, uri)
    seen = set()
    for moment in moments(pieces, 3):
        with Proxy(server, lambda *at: at == moment) as proxy:  # noqa: B023
            try:
                run(through(proxy, uri), SECOND)
                said = "done"
            except StoreError as error:
                said = str(error)
        came_to = contents(uri)
        assert came_to in (before, after)
        assert (came_to == after) == (said == "done"), (moment, said)
        if moment[0] > pieces // 2:
            assert said == "done" or "nothing was written" in said, (moment, said)
        seen.add((moment[1], said == "done"))
        if came_to == after:
            as_it_was(server, uri)
    assert seen >= {(BEFORE, False), (AFTER, False), (AFTER, True)}, "the answer to COMMIT was lost, and found out"


@pytest.mark.parametrize("victim", ["run", "server"])
def test_a_run_or_a_server_that_is_killed_at_any_moment(server, uri, outcomes, victim):
    before, after, pieces = outcomes
    as_it_was(server, uri)
    seen = set()
    for moment in moments(pieces, 5) if victim == "run" else moments(pieces, 35, 3):
        said = _killed(server, uri, victim, moment)
        came_to = contents(uri)
        assert came_to in (before, after), moment
        if said != -signal.SIGKILL:
            assert (came_to == after) == (said == 0), moment
        seen.add(came_to == after)
        if came_to == after:
            as_it_was(server, uri)
    assert seen == {True, False}


def _killed(server, uri, victim, moment):
    """The exit status of a run: 0 if it says that it is done, 1 if it says why it is not."""
    child: list[int] = []
    is_over = threading.Event()

    def happens(*at):
        if at != moment:
            return False
        if victim == "run":
            os.kill(child[0], signal.SIGKILL)
        else:
            server.crash()
            server.start_again()
        is_over.set()
        return victim == "run"

    with Proxy(server, happens) as proxy:
        child.append(os.fork())
        if not child[0]:
            _run_in_child(through(proxy, uri))
        # It stays a zombie until the moment is over: it may have ended by itself, and its number is nobody else's.
        os.waitid(os.P_PID, child[0], os.WEXITED | os.WNOWAIT)
        assert is_over.wait(60)
        _pid, status = os.waitpid(child[0], 0)
    said = os.waitstatus_to_exitcode(status)
    assert said in (0, 1, -signal.SIGKILL)
    return said


def _run_in_child(uri):
    try:
        run(uri, SECOND)
        os._exit(0)
    except StoreError:
        os._exit(1)
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
        os._exit(2)


def test_what_only_a_lost_server_has_is_not_taken_for_written(server, uri, outcomes):
    """COMMIT waits for a standby, and the server crashes: it alone has what was written then. A standby that took its
    place would not. So the run is not done before a standby has it.
    """
    before, after, _pieces = outcomes
    as_it_was(server, uri)
    assert contents(uri) == before
    waits = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    with ThreadPoolExecutor(1) as pool:
        server.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
        try:
            ended = pool.submit(run, uri, SECOND)
            wait_until(lambda: ended.done() or server.rows(waits))
            server.crash()
            server.start_again()
            wait_until(lambda: ended.done() or server.rows(waits))
            assert not ended.done()
        finally:
            server.run("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
        ended.result(60)
    assert contents(uri) == after


def wait_until(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_what_is_to_be_repeated_begins_again(uri, state):
    """Other databases than PostgreSQL find conflicts that a lock has not prevented."""
    before = contents(uri)
    with pytest.raises(WrittenMeanwhile), opening.open_store(address.address_of(uri)) as store:
        store.run("UPDATE users SET name = ? WHERE id = 1", ("x",))
        store.run("DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '%s'; END $$" % state)
    assert contents(uri) == before


def test_another_run_that_writes_meanwhile_is_noticed(uri):
    where = address.address_of(uri)
    with pytest.raises(WrittenMeanwhile), opening.open_store(where) as store:
        assert load_state(store, "staff", ["All", "Company"], snapshots.snapshot()).user_groups
        run(uri, SECOND)
        before = contents(uri)
        apply_plan(store, FIRST, run_record())
    assert contents(uri) == before
    with pytest.raises(WrittenMeanwhile), opening.look(where) as store:
        load_state(store, "staff", ["All", "Company"], snapshots.snapshot())
        run(uri, make_plan(memberships=[membership_change("g1", added=["u5"])]))


def test_another_run_that_changes_nothing_makes_nobody_begin_again(uri):
    where = address.address_of(uri)
    with opening.look(where) as looked, opening.open_store(where) as store:
        for each in (looked, store):
            assert load_state(each, "staff", ["All", "Company"], snapshots.snapshot()).user_groups
        run(uri, make_plan())
        apply_plan(store, make_plan(), run_record())
        store.commit()
    assert stored.values(uri, "SELECT count(*) FROM runs") == [3]


def test_whether_a_run_that_changes_nothing_was_committed_is_found_out(server, uri):
    with Proxy(server, lambda *at: False) as proxy:
        run(through(proxy, uri), make_plan())
    seen = set()
    for moment in moments(proxy.pieces, proxy.pieces, 4)[2:]:
        runs = stored.values(uri, "SELECT count(*) FROM runs")[0]
        with Proxy(server, lambda *at: at == moment) as proxy:  # noqa: B023
            try:
                run(through(proxy, uri), make_plan())
                said = "done"
            except StoreError as error:
                said = str(error)
        added = stored.values(uri, "SELECT count(*) FROM runs")[0] - runs
        assert (added, said == "done") in ((1, True), (0, False)), (moment, said)
        seen.add((moment[1], said == "done"))
    assert seen >= {(BEFORE, False), (AFTER, False), (AFTER, True)}


def test_members_are_counted_as_they_come_and_go(uri):
    kept = "SELECT claims, memberships, nestings FROM store"
    counted = ", ".join(f"(SELECT count(*) FROM {table})" for table in ("claims", "memberships", "nestings"))
    run(uri, SECOND)
    assert stored.rows(uri, kept) == stored.rows(uri, "SELECT " + counted) == [(29, 57, 0)]
    stored.change(uri, "UPDATE store SET claims = NULL, memberships = NULL, nestings = NULL")
    with opening.open_store(address.address_of(uri)) as store:
        assert store.count("memberships") == 57
        apply_plan(store, make_plan(memberships=[membership_change("g1", added=["u5", "u6"])]), run_record())
        assert store.count("memberships") == 59
        store.commit()
    assert stored.rows(uri, kept) == [(None, 59, None)]


def test_a_server_that_has_lost_runs_and_counts_them_anew_is_noticed(server, uri):
    """As after a failover without synchronous replication: the generation is the same, and another run came to it."""
    another = "UPDATE %s.store SET last_change = last_change || 'another'" % uri.rpartition("=")[2]
    where = address.address_of(uri)
    for opened in (opening.open_store, opening.look):
        with pytest.raises(WrittenMeanwhile), opened(where) as store:
            load_state(store, "staff", ["All", "Company"], snapshots.snapshot())
            server.run(another)
            if opened is opening.open_store:
                store.begin_writing()


def test_who_holds_the_store_is_waited_for_and_said(uri):
    where = address.address_of(uri)
    with opening.open_store(where) as holder:
        holder.begin_writing()
        by_this = r"^store_timeout: .*held by another run \(process %d@" % os.getpid()
        with pytest.raises(StoreError, match=by_this), opening.open_store(where, 0) as store:
            store.begin_writing()
        started = time.monotonic()
        threading.Timer(0.5, holder.close).start()
        with opening.open_store(where, 20) as store:
            store.begin_writing()
        assert time.monotonic() - started > 0.3


def test_a_dry_run_writes_nothing(uri):
    dry = opening.look(address.address_of(uri), for_dry_run=True)
    with dry as store, pytest.raises(StoreError, match="read-only"):
        apply_plan(store, SECOND, run_record())
