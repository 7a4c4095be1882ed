# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module usersync.directory.user_group_changes as Ansible runs it: what it takes, returns and refuses.

What it returns of which history is in the unit tests, and a loop that fails in `test_examples.py`.
"""

from __future__ import annotations

import pytest
from support import stores
from support.company import Company


@pytest.fixture
def company(tmp_path):
    company = Company(tmp_path / "users.db")
    company.becomes({"Staff": ["ann", "bob", "cyd"]})
    return company


@pytest.fixture
def run(run_module, company):
    def run(check_mode=False, diff=False, **options):
        given = {"name": "wiki", "store": stores.of(company.store), **options}
        return run_module.run("user_group_changes", given, check_mode=check_mode, diff=diff).result

    return run


STAFF = ["All/Company/Staff"]


def test_it_returns_refuses_and_acknowledges(run, company):
    dry = run(check_mode=True, diff=True, user_groups=STAFF)
    first = run(diff=True, user_groups=STAFF)
    assert first["changed"] and first["msg"] == "joined: 3, changed groups: 1", first
    assert (dry["dry_run"], first["dry_run"]) == (True, False) and dry["diff"] == first["diff"]
    assert dry["plan_digest"] == first["plan_digest"] and dry.keys() == first.keys()
    done = run(acknowledge=first["plan_digest"])
    assert done["changed"] and not run(acknowledge=first["plan_digest"])["changed"]
    company.becomes({"Staff": ["ann"]})
    refused = run(user_groups=STAFF)
    assert refused["failed"] and refused["msg"].startswith("removal_limits.") and len(refused["left"]) == 2
    assert first.keys() - {"diff"} <= refused.keys()
    wrong = run(acknowledge=refused["plan_digest"])
    assert wrong["failed"] and wrong["msg"].startswith("acknowledge: ")
    approved = run(user_groups=STAFF, approved_plan=refused["plan_digest"])
    assert not approved.get("failed") and approved["left"] == refused["left"]
    assert run(acknowledge=approved["plan_digest"])["changed"] and not run(user_groups=STAFF)["changed"]


@pytest.mark.parametrize("options", [{}, {"user_groups": STAFF, "acknowledge": "users+0"}])
def test_it_is_told_what_to_do(run, options):
    result = run(**options)
    assert result["failed"] and "user_groups" in result["msg"] and "acknowledge" in result["msg"]


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    "path, option",
    [("All/Company/Else", "user_groups"), ("All/Company/Nobody", "allow_empty")],
    ids=["missing", "empty"],
)
def test_a_user_group_that_is_missing_or_empty_is_refused_with_all_keys(run, company, path, option, check_mode):
    company.becomes({"Staff": ["ann"], "Nobody": []})
    known = run(user_groups=STAFF, check_mode=check_mode)
    done = run(user_groups=[*STAFF, path], check_mode=check_mode)
    assert done["failed"] and done["msg"].startswith("user_groups: ") and path in done["msg"]
    refused = {"limit": "user_groups", "would_remove": 0, "of": 0, "option": option, "about": path}
    assert done["refused"] == [refused] and done["joined"] == [] and not done["changed"]
    assert known.keys() <= done.keys() and done["dry_run"] is check_mode
