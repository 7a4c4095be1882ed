# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two synchronizations have a user in scope, and only one that does not write the record sees that he is locked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _synchronize
from ansible_collections.usersync.directory.plugins.module_utils._look_up import look_up
from support.lab import ROOT, Lab, dn_of, group, person, unit
from support.slapd import Slapd
from support.two_stores import Clock

OTHER = {"name": "other", "user_group": "All/Other"}


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Lab]:
    people = [person(name) for name in ("ann", "bob", "cleo")]
    entries = ROOT + unit("people") + "".join(people) + group("Staff", dn_of("ann"), dn_of("bob"))
    with Slapd(ldif=entries, overlays=("syncprov", "ppolicy")) as server:
        company = Lab(server, tmp_path / "users.db")
        company.run()
        company.run(**OTHER)
        yield company


def lock(company: Lab, locked: bool) -> None:
    how = "add: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z" if locked else "delete: pwdAccountLockedTime"
    company.modify("dn: %s\nchangetype: modify\n%s\n\n" % (dn_of("ann"), how))


def members(company: Lab, home: str) -> list[str]:
    options = {"store": str(company.store), "user_group": "All/%s/Staff" % home}
    return look_up(options, pytest.fail)["user_groups"][0]["members"]


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_whoever_sees_it_disables_and_who_writes_enables(company: Lab, mode: str) -> None:
    more: dict[str, Any] = {"read_mode": mode}
    lock(company, True)
    result = company.run(**OTHER, **more)
    assert result["read"]["mode"] == mode
    assert result["users"]["disabled"] == ["ann"] and result["affected_groups"] == ["All/Other/Staff"]
    assert members(company, "Staff") == members(company, "Other") == ["bob"]
    for _hour in range(2):
        assert not company.run(**more)["changed"] and not company.run(**OTHER, **more)["changed"]
    lock(company, False)
    assert not company.run(**OTHER, **more)["changed"], "it does not write the record"
    result = company.run(**more)
    assert result["users"]["enabled"] == ["ann"] and result["affected_groups"] == ["All/Staff/Staff"]
    assert members(company, "Other") == ["ann", "bob"]
    for _hour in range(2):
        assert not company.run(**OTHER, **more)["changed"] and not company.run(**more)["changed"]


def test_the_limit_holds_for_whom_others_write_too(company: Lab) -> None:
    lock(company, True)
    message, _result = company.refused(**OTHER, removal_limits={"states": "0"})
    assert "removal_limits.states: the run would enable or disable 1 of 3 users, as the directory says" in message
    assert company.rows("SELECT count(*) FROM users WHERE NOT enabled") == [(0,)]


def test_whose_time_has_come_is_seen_by_who_does_not_write_the_record(
    company: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time changes no entry, and the one that writes the record does not run any more."""
    clock = Clock()
    monkeypatch.setattr(_synchronize, "time", clock)
    tomorrow = clock.now // 86400 + 1
    company.modify(
        "dn: %s\nchangetype: modify\nadd: objectClass\nobjectClass: shadowAccount\n-\n"
        "add: shadowExpire\nshadowExpire: %d\n\n" % (dn_of("ann"), tomorrow)
    )
    company.run()
    company.run(**OTHER)
    clock.now = tomorrow * 86400 + 1
    for expected in (["ann"], []):
        result = company.once(**OTHER, read_mode="incremental")
        assert (result["read"]["mode"], result["users"]["disabled"]) == ("incremental", expected)
    assert not company.run()["changed"], "who writes it sees the same"
