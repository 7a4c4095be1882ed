# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A user group that is nested in another one and becomes extinct gives its members to nobody, whatever lists say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._look_up import look_up
from support.lab import BASE, PEOPLE, ROOT, Lab, dn_of, group, person, unit
from support.slapd import Slapd

CHILD = "cn=Child,%s" % PEOPLE
ENTRIES = [
    person("ann"),
    person("bob"),
    group("Parent", dn_of("ann"), CHILD),
    group("Child", dn_of("bob")),
]


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Lab]:
    with Slapd(ldif=ROOT + unit("people") + unit("old") + "".join(ENTRIES)) as server:
        company = Lab(server, tmp_path / "users.db")
        company.run()
        assert effective(company) == ["ann", "bob"]
        yield company


def effective(company: Lab) -> list[str]:
    found = look_up({"store": str(company.store), "user_group": "All/Staff/Parent", "effective": True}, pytest.fail)
    return found["user_groups"][0]["members"]


@pytest.mark.parametrize("policy", ["skip", "delete"])
def test_deleted_while_its_dn_dangles(company: Lab, policy: str) -> None:
    company.modify("dn: %s\nchangetype: delete\n\n" % CHILD)
    result = company.run(user_group_extinction=policy, removal_limits={"memberships": "100%"})
    changed = {each["path"]: each["changes"] for each in result["changed_groups"]}
    if policy == "skip":
        assert changed == {"All/Staff/Child": ["extinct"]}
        assert result["affected_groups"] == ["All/Staff/Parent"]
    else:
        assert changed == {"All/Staff/Child": ["deleted", "members"], "All/Staff/Parent": ["members"]}
    assert [each["value"] for each in result["unresolved_members"]] == [CHILD], "the list has it still"
    assert effective(company) == ["ann"]


@pytest.mark.parametrize(
    "leave", [{"group_filter": "(!(cn=Child))"}, {"exclude_distinguished_name": CHILD}], ids=["filter", "excluded"]
)
def test_out_of_scope(company: Lab, leave: dict[str, str]) -> None:
    result = company.run(scope_change=True, **leave)
    assert [(each["path"], each["changes"]) for each in result["changed_groups"]] == [("All/Staff/Child", ["extinct"])]
    assert result["affected_groups"] == ["All/Staff/Parent"]
    assert effective(company) == ["ann"]
    assert company.members() == [("Child", "bob"), ("Parent", "ann")], "it keeps its own"
    back = company.run(scope_change=True)
    assert back["affected_groups"] == ["All/Staff/Parent"] and effective(company) == ["ann", "bob"]


def test_who_left_meanwhile_does_not_come_back_with_it(company: Lab) -> None:
    company.run(scope_change=True, group_filter="(!(cn=Child))")
    company.modify("dn: %s\nchangetype: modify\nreplace: member\nmember: %s\n\n" % (CHILD, dn_of("ann")))
    company.run(scope_change=True, group_filter="(!(cn=Child))")
    assert effective(company) == ["ann"]
    company.run(scope_change=True)
    assert company.members() == [("Child", "ann"), ("Parent", "ann")]


def test_moved_out_of_what_is_selected(company: Lab) -> None:
    """Nested in a group that is selected it stays in scope, wherever it lies: so the nesting is what must end."""
    company.run(scope_change=True, distinguished_name=PEOPLE)
    company.modify(
        "dn: %s\nchangetype: modrdn\nnewrdn: cn=Child\ndeleteoldrdn: 1\nnewsuperior: ou=old,%s\n\n" % (CHILD, BASE)
    )
    result = company.run(distinguished_name=PEOPLE)
    assert result["affected_groups"] == ["All/Staff/Parent"]
    assert effective(company) == ["ann"]
