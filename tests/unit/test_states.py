# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any synchronization that sees it may disable a user; only the one that writes the record may enable it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _changes, _model
from ansible_collections.usersync.directory.plugins.module_utils._plan.digests import plan_digest
from ansible_collections.usersync.directory.plugins.module_utils._plan.make import make_plan
from ansible_collections.usersync.directory.plugins.module_utils._report.affected import users_to_load
from ansible_collections.usersync.directory.plugins.module_utils._report.cut import Bounds
from ansible_collections.usersync.directory.plugins.module_utils._report.make import Looked, make_report
from ansible_collections.usersync.directory.plugins.module_utils._store import for_report
from ansible_collections.usersync.directory.plugins.module_utils._store.apply import apply as apply_plan
from ansible_collections.usersync.directory.plugins.module_utils._store.ends import end_claims
from ansible_collections.usersync.directory.plugins.module_utils._store.load import load_state
from hypothesis import given
from hypothesis import strategies as st
from support import snapshots, stored
from support.examples import examples
from support.folders import scratch_folder
from support.plans import digests, run_record
from support.snapshots import group, policies, user
from support.stores import look, open_store

pytestmark = pytest.mark.any_store

ANN = user("u1", "ann")
LOCKED = user("u1", "ann", enabled=False)
STAFF = group("g", "Staff", ["u1"])


class Stores:
    """Synchronizations of one directory in one store: 'writer' is the first, and each reads states in its own way."""

    def __init__(self, path: Path, **states: str) -> None:
        self.path, self.states = path, states

    def run(self, name: str, *people: _model.User, check_mode: bool = False) -> _changes.Plan:
        with (look if check_mode else open_store)(str(self.path)) as store:
            known = digests(store, name)
            found = snapshots.snapshot(people, [STAFF._replace(key="%s of %s" % (STAFF.key, name))])
            found = found._replace(
                users={key: self._as_read(known, key, body) for key, body in found.users.items()},
                lost_users={key: _model.GONE for key in known.users if key not in found.users},
                state_by=self.states.get(name, "nsAccountLock"),
            )
            state = load_state(store, name, ["All", name], found)
            plan = make_plan(policies(name=name), found, state, str.casefold)
            self.affected = self._affected(store, name, found, state, plan)
            if not check_mode:
                apply_plan(store, plan, run_record())
                store.commit()
        return plan

    def _as_read(self, known: _model.Digests, key: str, body: _model.User) -> _model.User | None:
        """What the reader makes of a user, given what the store has."""
        digest = known.users.get(key, b"")
        if digest is not None:
            return None if digest == body.digest else body
        _dn, _names, is_enabled, said = known.others[key]
        return body if (said if body.enabled else is_enabled or not said) else None

    def _affected(self, store: Any, name: str, *planned: Any) -> list[str]:
        found, state, plan = planned
        direct = for_report.direct_groups(store, users_to_load(plan, state, ()), name)
        return make_report(plan, found, state, Looked(direct, {}), Bounds(100, 10**6))["affected_groups"]

    def enabled(self) -> bool:
        return bool(stored.values(self.path, "SELECT enabled FROM users WHERE key = 'u1'")[0])

    def writer(self) -> str:
        (name,) = stored.values(
            self.path, "SELECT s.name FROM users u JOIN synchronizations s ON s.id = u.synchronization_id"
        )
        return name


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    stores = Stores(tmp_path / "users.db")
    for name in ("writer", "other"):
        stores.run(name, ANN)
    return stores


def test_who_sees_it_disables_whoever_writes_the_record(stores: Stores) -> None:
    """The one that writes the record does not run any more."""
    dry = stores.run("other", LOCKED, check_mode=True)
    plan = stores.run("other", LOCKED)
    assert plan_digest(plan) == plan_digest(dry)
    assert [(change.before.enabled, change.after.enabled) for change in plan.users] == [(True, False)]
    assert stores.affected == ["All/other/Staff"]
    assert not stores.enabled() and stores.writer() == "writer"
    assert stores.run("other", LOCKED).is_empty


def test_only_who_writes_the_record_enables_it(stores: Stores) -> None:
    stores.run("other", LOCKED)
    assert stores.run("other", ANN).is_empty
    assert not stores.enabled()
    stores.run("writer", ANN)
    assert stores.enabled(), "its entry is, byte for byte, the one that it read before he was locked"
    for name in ("other", "writer", "other"):
        assert stores.run(name, ANN).is_empty


def test_who_reads_the_same_attributes_does_not_wait_for_the_others(stores: Stores) -> None:
    """'other' has seen him locked, and does not run any more."""
    stores.run("other", LOCKED)
    stores.run("writer", ANN)
    assert stores.enabled()
    stores.run("other", LOCKED)
    assert not stores.enabled(), "he was locked once more"


def test_who_reads_other_attributes_does_not_undo_it_in_turns(tmp_path: Path) -> None:
    stores = Stores(tmp_path / "users.db", writer="shadowExpire", other="nsAccountLock")
    for name in ("writer", "other"):
        stores.run(name, ANN)
    stores.run("other", LOCKED)
    for _hour in range(3):
        assert stores.run("writer", ANN).is_empty
        assert stores.run("other", LOCKED).is_empty
    assert not stores.enabled()
    assert stores.run("other", ANN).is_empty
    stores.run("writer", ANN)
    assert stores.enabled()


@pytest.mark.parametrize("end", ["lost", "ended"])
def test_what_a_claim_said_ends_with_it(tmp_path: Path, end: str) -> None:
    stores = Stores(tmp_path / "users.db", writer="shadowExpire", other="nsAccountLock")
    for name in ("writer", "other"):
        stores.run(name, ANN)
    stores.run("other", LOCKED)
    stores.run("writer", ANN)
    if end == "lost":
        stores.run("other")
    else:
        with open_store(str(stores.path)) as store:
            end_claims(store, 2, [1])
            store.commit()
    assert not stores.enabled()
    stores.run("writer", ANN)
    assert stores.enabled()


def test_who_takes_a_record_over_says_what_it_sees(stores: Stores) -> None:
    stores.run("other", LOCKED)
    stores.run("writer")
    stores.run("other", LOCKED)
    assert stores.writer() == "other" and not stores.enabled()
    stores.run("other", ANN)
    assert stores.enabled()


@examples(100)
@given(
    st.lists(st.tuples(st.sampled_from(("writer", "other", "third")), st.booleans()), min_size=1, max_size=12),
    st.sampled_from(("a", "b")),
    st.sampled_from(("a", "b")),
)
def test_histories(steps: list[tuple[str, bool]], of_writer: str, of_other: str) -> None:
    """Each run sees him locked or not. The record is enabled only if the one that writes it saw so at last."""
    with scratch_folder() as folder:
        stores = Stores(folder / "users.db", writer=of_writer, other=of_other, third="c")
        stores.run("writer", ANN)
        for name in ("other", "third"):
            stores.run(name, ANN)
        for name, locked in steps:
            before = stores.enabled()
            stores.run(name, LOCKED if locked else ANN)
            after = stores.enabled()
            assert not (locked and after), "whoever sees it disables"
            assert before or not after or name == "writer", "only who writes enables"
            assert stores.run(name, LOCKED if locked else ANN).is_empty
        for name in ("other", "third", "writer"):
            stores.run(name, ANN)
        assert stores.enabled(), "where all agree, so does the record"
        for name in ("other", "third", "writer"):
            assert stores.run(name, ANN).is_empty
