# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store that is damaged: runs, dry runs and look-ups say so, and nobody loses a membership by it.

What is found in which store is tested in tests/unit/test_damage.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _look_up
from ansible_collections.usersync.directory.plugins.module_utils._errors import Refused, SynchronizationError
from ansible_collections.usersync.directory.plugins.module_utils._store import sqlite_file
from ansible_collections.usersync.directory.plugins.module_utils._store.sqlite import look
from support import stored
from support.folders import scratch_folder, trace
from support.lab import ROOT, Lab, deleted, dn_of, group, modified, person, unit
from support.slapd import Slapd
from support.spoilt import with_turned_bits
from support.two_stores import LIMITS, Clock

DAY = 86400
NAMES = ["user%d" % number for number in range(30)]
GROUP0 = "cn=group0,ou=people,dc=example,dc=org"
WITHOUT_LIMITS = {"removal_limits": LIMITS, "user_extinction": "delete", "user_group_extinction": "delete"}


@pytest.fixture
def company(clock: Clock, tmp_path: Path) -> Iterator[Lab]:
    """After a first run."""
    people = "".join(person(name, "mail: %s@example.org" % name) for name in NAMES)
    groups = "".join(group("group%d" % number, *map(dn_of, NAMES[number::5])) for number in range(5))
    with Slapd(ldif=ROOT + unit("people") + people + groups, overlays=("syncprov",)) as server:
        company = Lab(server, tmp_path / "users.db")
        company.once(**WITHOUT_LIMITS, **INCREMENTAL)
        yield company


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The checks that there were: whether of the whole store."""
    begun: list[bool] = []
    check = sqlite_file.check

    def noted(connection: Any, path: str, whole: bool) -> None:
        begun.append(whole)
        check(connection, path, whole)

    monkeypatch.setattr(sqlite_file, "check", noted)
    return begun


INCREMENTAL, FULL, ABSENT = {"read_mode": "incremental"}, {"read_mode": "full"}, {"state": "absent"}


@pytest.mark.parametrize(
    ("days", "somebody_leaves", "options", "expected"),
    [
        (0, False, INCREMENTAL, []),
        (0, False, FULL, [False]),
        (0, True, INCREMENTAL, []),
        (0, True, FULL, [False]),
        (0, False, ABSENT, [False]),
        (1, False, INCREMENTAL, []),
        (1, True, INCREMENTAL, [True]),
        (1, False, FULL, [False]),
        (1, True, FULL, [False, True]),
        (1, False, ABSENT, [False, True]),
        (7, False, INCREMENTAL, [True]),
        (7, True, INCREMENTAL, [True]),
        (7, False, FULL, [True]),
        (-1, False, INCREMENTAL, [True]),
    ],
)
def test_when_a_store_is_looked_through(
    company: Lab,
    clock: Clock,
    checks: list[bool],
    days: int,
    somebody_leaves: bool,
    options: dict[str, str],
    expected: list[bool],
) -> None:
    """Its tables by each full run; its indexes, too (True), once a week, and once a day before something is removed."""
    clock.now += min(days, 1) * DAY
    for _day in range(1, days):  # a mark is good for two days
        assert company.once(**INCREMENTAL)["read"]["mode"] == "incremental"
        clock.now += DAY
    if somebody_leaves:
        company.modify(modified(GROUP0, "delete", "member", dn_of("user0")))
    checks.clear()
    before = trace(company.store)
    company.once(True, **WITHOUT_LIMITS, **options)
    assert sorted(checks) == expected and trace(company.store) == before
    checks.clear()
    company.once(**WITHOUT_LIMITS, **options)
    assert sorted(checks) == expected
    if options != ABSENT:
        checks.clear()
        company.once(**INCREMENTAL)
        assert True not in checks, "it is noted"


@pytest.mark.parametrize("options", [INCREMENTAL, FULL], ids=["incremental", "full"])
def test_what_fails_with_a_sound_store_is_what_it_is(company: Lab, options: dict[str, str]) -> None:
    company.modify(deleted(dn_of("user7")) + person("new"))
    company.once(**WITHOUT_LIMITS, **options)
    with pytest.raises(KeyError, match="a fault of ours"), look(str(company.store)):
        raise KeyError("a fault of ours")


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_refusal_does_not_hide_damage(company: Lab, clock: Clock, checks: list[bool], check_mode: bool) -> None:
    """It may be why so much is to be removed."""
    clock.now += DAY
    company.modify("".join(map(deleted, map(dn_of, NAMES[:20]))))
    with pytest.raises(Refused):
        company.once(check_mode, **INCREMENTAL)
    assert checks == [True]


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_trigger_that_says_something_else(company: Lab, check_mode: bool) -> None:
    """A dry run says what keeps a run from writing."""
    content = company.store.read_bytes()
    company.store.write_bytes(content.replace(b"WHERE user_id = old.id", b"WHERE user_id!= old.id"))
    with pytest.raises(SynchronizationError, match="its tables are not those of a store"):
        company.once(check_mode, **INCREMENTAL)


@pytest.mark.parametrize("options", [INCREMENTAL, FULL], ids=["incremental", "full"])
@pytest.mark.parametrize("_part", range(3))
def test_bits_that_turned(company: Lab, clock: Clock, chance: Any, options: dict[str, str], _part: int) -> None:
    """Runs and look-ups go well or say what is wrong, and leave no trace then. Who is in a group is still in it
    after the next run that looks through the whole store.
    """
    company.modify(modified(GROUP0, "delete", "member", dn_of("user0")) + person("new"))
    company.modify(modified(GROUP0, "add", "member", dn_of("new")) + deleted(dn_of("user7")))
    good, before_that = company.store.read_bytes(), stored.members_by_key(company.store)
    company.once(**WITHOUT_LIMITS)
    expected = stored.members_by_key(company.store)
    now, outcomes = clock.now, []
    last: dict[str, Any] = {}
    for _store in range(25):
        with scratch_folder() as folder:
            spoilt = Lab(company.server, folder / "users.db")
            spoilt.store.write_bytes(with_turned_bits(good, chance))
            for work in (look_up, lambda lab: lab.once(True, **WITHOUT_LIMITS, **options)):
                before = trace(folder)
                outcomes.append(goes_well(work, spoilt))
                assert trace(folder) == before
            outcomes.append(goes_well(lambda lab: lab.once(**WITHOUT_LIMITS, **options), spoilt))
            clock.now = now + 7 * DAY
            if goes_well(lambda lab: last.update(lab.once(**WITHOUT_LIMITS)), spoilt):
                there = stored.members_by_key(spoilt.store)
                # What is noted of the server may say that it lags now, and then all is held; or that it is another one
                # that may lag, and then who should go is held.
                held = last["held"]
                assert there == expected or held["plan_digest"] and (there > expected or there == before_that)
            clock.now = now
    assert set(outcomes) == {True, False}


def goes_well(work: Callable[[Lab], Any], lab: Lab) -> bool:
    before = trace(lab.store.parent)
    try:
        work(lab)
    except SynchronizationError as error:
        assert re.match("(store|user_group|name|synchronization): ", str(error)) or isinstance(error, Refused), error
        assert contents(trace(lab.store.parent)) == contents(before)
        return False
    return True


def contents(found: dict[str, tuple[Any, ...]]) -> dict[str, bytes]:
    return {name: facts[-1] for name, facts in found.items()}


def look_up(lab: Lab) -> None:
    everything = {"store": str(lab.store), "effective": True, "include_extinct": True, "include_disabled": True}
    _look_up.look_up(everything, pytest.fail)
    _look_up.look_up({**everything, "user": "user3", "history": 50}, pytest.fail)
    _look_up.look_up({**everything, "user_group": "All/Staff/group3", "history": 50}, pytest.fail)
