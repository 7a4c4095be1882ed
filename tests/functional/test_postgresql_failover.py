# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster whose servers take each other's place while several hosts synchronize: no run is lost, and none is there
twice.
"""

from __future__ import annotations

import collections
import itertools
import multiprocessing
import os
import traceback
from typing import NamedTuple

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from ansible_collections.usersync.directory.plugins.module_utils._store import postgresql, postgresql_commit
from support import stored
from support.lab import PEOPLE, ROOT, Lab, dn_of, group, person, unit
from support.postgresql_cluster import Cluster
from support.slapd import Slapd

pytestmark = pytest.mark.apart

COMPANY = (
    ROOT
    + unit("people")
    + "".join(map(person, ("ann", "bob", "cleo")))
    + group("nurses", dn_of("ann"), dn_of("bob"))
    + group("staff", "cn=nurses," + PEOPLE, dn_of("cleo"))
)
HOSTS = 3
WITHIN = 180  # seconds for whatever is waited for


# What becomes of the server that is written to, and when: as the COMMIT of one run waits for its answer, while one run
# is held before its COMMIT, or at any moment.
KINDS = [
    ("crashes", "unanswered"),
    ("hands_over", "any"),
    ("crashes", "held"),
    ("hands_over", "held"),
    ("crashes", "any"),
]


def pytest_generate_tests(metafunc):
    kinds = list(itertools.islice(itertools.cycle(KINDS), metafunc.config.getoption("--failovers")))
    names = [f"{number}-{what}-{moment}" for number, (what, moment) in enumerate(kinds, 1)]
    metafunc.parametrize(("what", "moment"), kinds, ids=names)


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def directory():
    with Slapd(ldif=COMPANY) as server:
        yield server


def test_no_run_is_lost_and_none_is_there_twice(cluster, directory, request, what, moment):
    store = f"{cluster.uri}&schema=s{request.node.callspec.id.partition('-')[0]}"
    hosts = Hosts(directory, store, moment == "held")
    before = cluster.primary()
    try:
        hosts.wait_until_each("done")
        hosts.hold.set()
        hosts.wait_for("held" if moment == "held" else "commits")
        if what == "crashes":
            cluster.crash(unanswered=moment == "unanswered")
        else:
            cluster.hand_over()
        hosts.resume.set()
        hosts.wait_until_each("done")
    finally:
        hosts.stop()
    assert cluster.primary() not in ("", before)
    written = stored.rows(store, "SELECT synchronization, count(*) FROM runs GROUP BY synchronization")
    assert written == sorted((name, 1) for name in hosts.names("done"))
    assert stored.problems(store) == []
    assert not [said for said in hosts.said if "cannot be asked" in said], "what came of each run is known"
    if moment != "any":
        assert hosts.seen["asked" if moment == "unanswered" else "failed"]
    counted = {kind: len(hosts.seen[kind]) for kind in ("done", "failed", "asked")}
    print(", ".join(f"{number} {kind}" for kind, number in counted.items()), *sorted(set(hosts.said)), sep="\n  ")


class Event(NamedTuple):
    """What a host tells."""

    host: int
    kind: str  # a run "commits", or is "held" before it does; "asked", since it had no answer; is "done" or "failed"
    name: str  # of its synchronization: each run has one of its own
    said: str


class Hosts:
    """Processes that synchronize without a pause, each as one of several hosts."""

    def __init__(self, directory, store, held):
        context = multiprocessing.get_context("fork")
        self.hold, self.resume, self._stop = context.Event(), context.Event(), context.Event()
        self._events = context.Queue()
        self.seen: dict[str, list[Event]] = collections.defaultdict(list)
        self._processes = [
            context.Process(target=self._work, args=(number, directory, store, held and number == 0))
            for number in range(HOSTS)
        ]
        for process in self._processes:
            process.start()

    def names(self, kind):
        return [event.name for event in self.seen[kind]]

    @property
    def said(self):
        return [event.said for event in self.seen["failed"]]

    # --- in the process of the test ---

    def wait_for(self, kind):
        """Wait until a host tells this."""
        while self._next().kind != kind:
            pass

    def wait_until_each(self, kind):
        """Wait until each host has told this once more."""
        waited_for = set(range(HOSTS))
        while waited_for:
            event = self._next()
            if event.kind == kind:
                waited_for.discard(event.host)

    def stop(self):
        """Let each host end its run, and hear of it."""
        self._stop.set()
        self.resume.set()
        ended = 0
        while ended < HOSTS:
            ended += self._next().kind == "ended"
        for process in self._processes:
            process.join()

    def _next(self):
        event = self._events.get(timeout=WITHIN)
        self.seen[event.kind].append(event)
        return event

    # --- in the process of a host ---

    def _work(self, host, directory, store, is_held):
        committing, finding_out = postgresql.PostgresStore.commit, postgresql_commit.find_out
        lab = Lab(directory, store)
        told = Event(host, "", "", "")

        def commit(opened):
            """Tell of it, and wait here, in the transaction, if one is to be held."""
            holds = is_held and self.hold.is_set() and not self.resume.is_set()
            self._events.put(told._replace(kind="held" if holds else "commits"))
            if holds:
                self.resume.wait(WITHIN)
            committing(opened)

        def find_out(*arguments):
            self._events.put(told._replace(kind="asked"))
            finding_out(*arguments)

        postgresql.PostgresStore.commit, postgresql_commit.find_out = commit, find_out
        try:
            for turn in itertools.count():
                told = told._replace(name=f"job{host}-{turn}")
                if self._stop.is_set():
                    break
                self._run(lab, told)
        except BaseException:
            traceback.print_exc()
        self._events.put(told._replace(kind="ended"))
        self._events.close()
        self._events.join_thread()
        os._exit(0)

    def _run(self, lab, told):
        try:
            lab.once(name=told.name, user_group=f"All/{told.name}")
            self._events.put(told._replace(kind="done"))
        except SynchronizationError as error:
            self._events.put(told._replace(kind="failed", said=str(error)))
            self._stop.wait(0.1)
