# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clock of this computer is wrong for one run: 400 days ahead, or set back. The directory's is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _model, _synchronize
from support import tree
from support.lab import ROOT, Lab, dn_of, person, synchronize, unit
from support.misbehaving import LOGIN, PASSWORD, MisbehavingDirectory
from support.slapd import Slapd
from support.tls import CertificateAuthority
from support.two_stores import Clock

DAY = 86400
GRACE: dict[str, Any] = {"user_extinction": "delete", "user_extinction_grace_days": 30, "history_days": 60}
NAMES = ["user%02d" % number for number in range(40)]
LEAVERS = NAMES[:16]


@pytest.fixture
def company(tmp_path: Path, clock: Clock) -> Iterator[Lab]:
    with Slapd(ldif=ROOT + unit("people") + "".join(map(person, NAMES)), overlays=("syncprov",)) as server:
        company = Lab(server, tmp_path / "users.db")
        company.once(**GRACE)
        company.modify("".join("dn: %s\nchangetype: delete\n\n" % dn_of(name) for name in LEAVERS))
        company.once(**GRACE, removal_limits={"users": "100%"})
        clock.now += 3600
        company.once(**GRACE)
        yield company


def in_grace(company: Lab) -> int:
    return company.rows("SELECT count(*) FROM users WHERE extinct IS NOT NULL")[0][0]


def in_history(company: Lab) -> int:
    return company.rows("SELECT count(*) FROM past_records")[0][0]


@pytest.mark.parametrize("days", [-400, 400])
@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_nobody_is_deleted(company: Lab, clock: Clock, days: int, mode: str) -> None:
    right, history = clock.now, in_history(company)
    assert in_grace(company) == len(LEAVERS) and history
    clock.now = right + days * DAY
    result = company.once(**GRACE, read_mode=mode)
    assert not result["changed"] and in_grace(company) == len(LEAVERS) and in_history(company) == history
    assert [warning for warning in company.warnings if warning.startswith("clock: the clock of this computer is not")]
    clock.now = right + 3600
    company.once(**GRACE, read_mode=mode)
    told = any(warning.startswith("clock:") for warning in company.warnings)
    assert told == (days > 0), "it jumped back; forwards it only seems so, for the directory has changed meanwhile"
    assert in_grace(company) == len(LEAVERS) and in_history(company) == history
    clock.now += 3600
    company.once(**GRACE, read_mode=mode)
    assert not any(warning.startswith("clock:") for warning in company.warnings)
    assert in_grace(company) == len(LEAVERS)


def test_who_leaves_meanwhile_has_the_whole_grace(company: Lab, clock: Clock) -> None:
    right = clock.now
    clock.now = right - 400 * DAY
    company.modify("dn: %s\nchangetype: delete\n\n" % dn_of(NAMES[20]))
    company.once(**GRACE)
    for hour in (1, 2):
        clock.now = right + hour * 3600
        company.once(**GRACE)
    assert in_grace(company) == len(LEAVERS) + 1


def test_a_run_that_holds_something_as_well(company: Lab, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is planned once more, by the same time."""
    monkeypatch.setattr(_synchronize.standing, "doubt", lambda *_of: _model.Doubt("it may lag", True))
    company.modify("dn: %s\nchangetype: delete\n\n" % dn_of(NAMES[20]))
    clock.now += 400 * DAY
    result = company.once(**GRACE)
    assert [held["name"] for held in result["held"]["users"]] == [NAMES[20]] and in_grace(company) == len(LEAVERS)


def test_a_grace_ends_after_runs_every_week(company: Lab, clock: Clock) -> None:
    for _week in range(5):
        clock.now += 7 * DAY
        company.once(**GRACE)
        assert not company.warnings
    assert in_grace(company) == 0


def test_after_a_long_pause_the_directory_tells_the_time(company: Lab, clock: Clock) -> None:
    """Its contextCSN is of real time: so the clock is set back here, and the pause lies before that."""
    now = clock.now
    company.change("UPDATE runs SET time = time - 60 * 86400")
    company.change("UPDATE users SET extinct_since = extinct_since - 60 * 86400 WHERE extinct IS NOT NULL")
    clock.now = now
    company.once(**GRACE)
    assert not company.warnings and in_grace(company) == 0


def test_an_expired_user_is_not_let_in_by_a_clock_that_was_set_back(company: Lab, clock: Clock) -> None:
    yesterday = clock.now // DAY - 1
    company.modify(
        "dn: %s\nchangetype: modify\nadd: objectClass\nobjectClass: shadowAccount\n-\nadd: shadowExpire\n"
        "shadowExpire: %d\n\n" % (dn_of(NAMES[20]), yesterday)
    )
    assert company.once(**GRACE)["users"]["disabled"] == [NAMES[20]]
    clock.now -= 30 * DAY
    assert company.once(**GRACE, read_mode="full")["users"]["enabled"] == []


def test_active_directory_says_what_time_it_is(ca: CertificateAuthority, clock: Clock, tmp_path: Path) -> None:
    domain = tree.ActiveDirectory()
    domain.unit("Staff")
    for name in NAMES[:4]:
        domain.user(name, "OU=Staff," + tree.DOMAIN)
    domain.root_dse["currenttime"] = [b"20260301120000.0Z"]
    with MisbehavingDirectory(domain, ca=ca) as server:
        for now, told in ((1772366400, False), (1772366400 + 2 * DAY, True)):
            clock.now = now
            warnings: list[str] = []
            synchronize(
                False,
                warnings,
                name="staff",
                user_group="All/Staff",
                server=[server.ldaps_url],
                ca_path=str(ca.cert),
                login=LOGIN,
                password=PASSWORD,
                store=str(tmp_path / "users.db"),
            )
            found = [warning for warning in warnings if warning.startswith("clock:")]
            assert bool(found) == told, warnings
    assert "it says 2026-03-03 12:00 UTC, and the directory says 2026-03-01 12:00 UTC" in found[0]
