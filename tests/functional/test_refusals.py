# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that would remove too much, against a real directory: they are refused as a whole, say why, and can be approved.

`Lab.refused` sees to it that the dry run and the real one say the same and that the store stays as it was, by a dump of
its tables.
"""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._errors import Refused, SynchronizationError
from support.lab import BASE, PEOPLE, ROOT, Lab, dn_of, group, person, renamed, unit
from support.process import run
from support.slapd import Slapd

CHECKOUT = Path(__file__).resolve().parents[2]
GUESTS = "ou=guests,%s" % BASE
NAMES = ["user%02d" % number for number in range(40)]


@pytest.fixture
def company(tmp_path):
    """40 people, 38 of them in a large group, 12 with a mail address, and one in another container."""
    entries = [
        person(name, *(["mail: %s@example.org" % name] if number < 12 else [])) for number, name in enumerate(NAMES)
    ]
    with Slapd(
        ldif=ROOT
        + unit("people")
        + unit("guests")
        + "".join(entries)
        + person("guest", below=GUESTS)
        + group("Large", *map(dn_of, NAMES[:38]))
        + group("Small", dn_of(NAMES[39]))
        + group("Mixed", dn_of("guest", GUESTS), dn_of(NAMES[0]))
    ) as server:
        yield Lab(server, tmp_path / "users.db")


def removed(names):
    return "".join("dn: %s\nchangetype: delete\n\n" % dn_of(name) for name in names)


def out_of_the_list(group, names):
    return "dn: cn=%s,%s\nchangetype: modify\ndelete: member\n%s\n" % (
        group,
        PEOPLE,
        "".join("member: %s\n" % dn_of(name) for name in names),
    )


def users(company, which="extinct IS NULL"):
    return [name for (name,) in company.rows("SELECT name FROM users WHERE %s" % which)]


def test_too_many_leave(company):
    memberships = {"memberships": "100%"}
    company.run()
    company.modify(removed(NAMES[:11]) + person("new"))
    message, result = company.refused(removal_limits=memberships)
    assert message.startswith(
        "removal_limits.users: the run would remove, disable or overwrite 11 of 41 users, and at "
        "most 10 may go: nothing was changed; look at a dry run, then approve its plan_digest"
    )
    assert result["refused"] == [
        {"limit": "users", "would_remove": 11, "of": 41, "option": "removal_limits.users", "about": None}
    ]
    assert len(result["users"]["extinct"]) == 11 and result["users"]["created"] == ["new"]
    assert "new" not in users(company), "no addition either"
    with pytest.raises(Refused):
        company.once(removal_limits={**memberships, "users": "26%"})
    company.run(removal_limits={**memberships, "users": "27%"})
    assert "new" in users(company) and len(users(company)) == 31


def test_a_plan_that_somebody_has_seen(company):
    company.run()
    company.modify(removed(NAMES[:20]))
    approved = company.refused()[1]["plan_digest"]
    company.modify(person("new"))
    message, result = company.refused(approved_plan=approved)
    assert message.startswith(
        "approved_plan: the run would do something else than what was approved "
        "(users created: 1 instead of 0): nothing was changed; look at a dry run"
    )
    assert [each["limit"] for each in result["refused"]] == ["approved_plan"]
    assert result["plan_digest"] != approved
    company.run(approved_plan=result["plan_digest"])
    again = company.once(approved_plan=result["plan_digest"])
    assert not again["changed"] and not again["refused"], "what is done is done"
    assert len(users(company)) == 22


def test_removals_that_somebody_has_seen(company):
    company.run()
    company.modify(removed(NAMES[:20]))
    approved = company.refused()[1]["removals_digest"]
    company.modify(person("new"))
    company.run(approved_removals=approved)
    assert len(users(company)) == 22
    company.modify(removed([NAMES[20]]))
    assert "approved_removals: the run would do something else" in company.refused(approved_removals=approved)[0]


def test_groups_and_memberships(company):
    company.run()
    company.modify(out_of_the_list("Large", NAMES[1:38]))
    message, result = company.refused()
    assert "removal_limits.memberships: the run would end 37 of 41 memberships" in message
    company.modify("dn: cn=Large,%s\nchangetype: delete\n" % PEOPLE)
    company.refused(removal_limits={"user_groups": "0", "memberships": "100%"})
    company.run(removal_limits={"user_groups": "1", "memberships": "100%"})


def test_a_group_whose_members_cannot_be_seen_any_more(tmp_path):
    """A lost right reads like an empty list. In Active Directory and with posixGroup nothing forbids one."""
    nobody = "dn: cn=posix,%s\nobjectClass: posixGroup\ncn: posix\ngidNumber: 5\n%s\n" % (
        PEOPLE,
        "".join("memberUid: p%d\n" % number for number in range(10)),
    )
    people = "".join(
        "dn: uid=p%d,%s\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\nuid: p%d\ncn: p\nsn: p\n"
        "uidNumber: %d\ngidNumber: 9\nhomeDirectory: /\n\n" % (number, PEOPLE, number, number)
        for number in range(10)
    )
    with Slapd(ldif=ROOT + unit("people") + people + nobody) as server:
        company = Lab(server, tmp_path / "users.db")
        chosen = {
            "ldap_parameters": {"preset": "rfc2307"},
            "removal_limits": {"memberships": "100%", "user_groups": "0"},
        }
        company.run(**chosen)
        server.modify("dn: cn=posix,%s\nchangetype: modify\ndelete: memberUid\n" % PEOPLE)
        message, result = company.refused(**chosen)
        assert "removal_limits.user_groups: the run would remove or empty 1 of 1 user groups" in message
        assert len(company.members()) == 10


def test_a_mistyped_attribute(company):
    company.run()
    message, result = company.refused(user_attributes={"email": "mial"})
    assert "removal_limits.attributes: the run would empty the field email of 12 out of 12 users" in message
    assert result["refused"][-1]["about"] == "email"
    assert len(users(company, "attributes LIKE '%@example.org%'")) == 12


def test_another_attribute_for_names(company):
    company.modify(
        "".join(
            "dn: %s\nchangetype: modify\nadd: employeeNumber\nemployeeNumber: %d\n\n" % (dn_of(name), n)
            for n, name in enumerate(NAMES)
        )
    )
    company.run()
    message, result = company.refused(user_attributes={"name": "employeeNumber"})
    assert "removal_limits.renames: the run would rename 40 of 44 users and user groups" in message
    company.run(user_attributes={"name": "employeeNumber"}, removal_limits={"renames": "40"})


@pytest.mark.parametrize("run_before", [False, True])
def test_a_read_without_users(company, run_before):
    if run_before:
        company.run()
    nobody = {"user_filter": "(title=nobody)"}
    message, result = company.refused(
        **nobody,
        scope_change=True,
        removal_limits="100%",
    )
    assert message.startswith("allow_empty: the read found no user at all: nothing was changed; correct what is ")
    assert not any(company.store.parent.iterdir()) or run_before
    company.refused(**nobody, scope_change=True, approved_plan=result["plan_digest"])
    company.run(**nobody, scope_change=True, allow_empty=True, approved_plan=result["plan_digest"])


def test_entries_that_must_be_there(company):
    needed = [dn_of(NAMES[0]).upper(), "cn=Large,%s" % PEOPLE, PEOPLE]
    company.run(required_entries=needed)
    before = company.contents()
    for change, words in (
        ({"exclude_distinguished_name": [dn_of(NAMES[0])]}, "did not come across 'UID=USER00"),
        ({"group_filter": "(cn=Small)"}, "did not come across 'cn=Large"),
        ({"required_entries": "uid=nobody,%s" % PEOPLE}, "'uid=nobody,%s' does not exist in the directory" % PEOPLE),
        ({"required_entries": "dc=elsewhere"}, "does not lie in the naming context"),
    ):
        for check_mode in (True, False):
            with pytest.raises(SynchronizationError, match="^required_entries: .*" + words):
                company.once(check_mode, **{"required_entries": needed, "scope_change": True, **change})
    assert company.contents() == before


def test_what_must_not_happen(company):
    company.modify("dn: cn=Small,%s\nchangetype: modify\nadd: member\nmember: %s\n" % (PEOPLE, dn_of("nobody")))
    message, result = company.refused(fail_on=["unresolved_members", "collisions"])
    assert message == (
        "fail_on: there are 1 members that cannot be resolved: nothing was changed; correct them in the "
        "directory, or leave them out of fail_on"
    )
    company.run(fail_on=["collisions"])


# --- scope -----------------------------------------------------------------------------------------------------------


def test_a_change_of_scope(company):
    company.run()
    excluded = {"exclude_distinguished_name": [GUESTS]}
    message, result = company.refused(**excluded)
    assert "exclude_distinguished_name was empty and is 'ou=guests,dc=example,dc=org'" in message
    assert [each["limit"] for each in result["refused"]] == ["scope_change"]
    approved = result["plan_digest"]
    company.run(**excluded, approved_plan=approved)
    assert "guest" not in users(company)
    company.run()
    company.run(**excluded, scope_change=True)
    assert "guest" not in users(company)


@pytest.mark.parametrize(
    "before, after, words",
    [
        ({}, {"user_filter": "(!(uid=guest))"}, r"user_filter was '\(objectClass=inetOrgPerson\)' and is '\(&"),
        ({}, {"group_filter": "(!(cn=Small))"}, r"group_filter was .* and is '\(&"),
        (
            {"distinguished_name": [PEOPLE]},
            {"distinguished_name": [PEOPLE], "outside_members": "skip"},
            "outside_members was 'add' and is 'skip'",
        ),
        ({"group_structure": "both"}, {"group_structure": "groups"}, "group_structure was 'both' and is 'groups'"),
        (
            {"ldap_parameters": {}},
            {"ldap_parameters": {"group_members": "owner"}},
            "ldap_parameters.group_members was 'member', 'uniqueMember' and is 'owner'",
        ),
        (
            {"distinguished_name": [PEOPLE, GUESTS]},
            {"distinguished_name": [PEOPLE], "outside_members": "skip"},
            "distinguished_name was 'ou=guests,dc=example,dc=org', 'ou=people,dc=example,dc=org' and is",
        ),
    ],
)
def test_settings_that_put_somebody_out_of_scope(company, before, after, words):
    company.run(**before)
    message, dummy = company.refused(**after)
    assert re.search(
        "^scope_change: the settings that say who is in scope changed since the last run .*" + words, message
    )


def test_spelling_is_no_change_of_scope(company):
    company.run(distinguished_name=[PEOPLE, GUESTS])
    company.modify(removed(NAMES[:1]))
    result = company.run(distinguished_name=[GUESTS.upper(), "OU=People, " + BASE])
    assert result["users"]["extinct"] == NAMES[:1]


def test_widening_to_the_whole_tree(company):
    company.run(distinguished_name=[GUESTS])
    for whole in ([], [BASE]):
        message, result = company.refused(distinguished_name=whole)
        assert "and now the whole tree is selected" in message and "distinguished_name was 'ou=guests" in message
    company.run(distinguished_name=[GUESTS, PEOPLE])
    company.run(distinguished_name=[], scope_change=True)


def test_out_of_scope_without_a_change_of_settings_is_an_ordinary_leave(company):
    company.run(distinguished_name=[PEOPLE])
    company.modify(
        "dn: %s\nchangetype: modrdn\nnewrdn: uid=%s\ndeleteoldrdn: 0\nnewsuperior: %s\n"
        % (dn_of(NAMES[39]), NAMES[39], GUESTS)
        + "\n"
        + out_of_the_list("Small", []).replace("delete: member\n", "replace: member\nmember: %s\n" % dn_of(NAMES[38]))
    )
    result = company.run(distinguished_name=[PEOPLE], outside_members="add")
    assert result["users"]["extinct"] == [NAMES[39]]
    assert company.rows("SELECT extinct FROM users WHERE name = '%s'" % NAMES[39]) == [("out_of_scope",)]


# --- another server --------------------------------------------------------------------------------------------------


@pytest.fixture
def replicas(company):
    """The company's server, and another with the same entries and keys, as a replica has them."""
    company.server.stop()
    entries = run([company.server._program, "-Tcat", "-f", str(company.server._config)])
    company.server.start()
    with Slapd(ldif=entries) as other:
        yield company, other


def names_held(result):
    return [each["name"] for each in result["held"]["users"]]


def test_removals_seen_on_another_server_are_held_for_one_run(replicas):
    company, other = replicas
    company.run()
    gone = removed(NAMES[:1]) + out_of_the_list("Large", NAMES[1:2])
    other.modify(gone + person("new"))
    there = {"server": [other.ldapi_url]}

    dry, real = company.once(True, **there), company.once(**there)
    why = real["held"]["users"][0]["reason"]
    assert (
        dry["held"]
        == real["held"]
        == {
            "users": [{"name": NAMES[0], "would_be": "extinct", "reason": why}],
            "user_groups": [],
            "memberships": [{"user_group": "All/Staff/Large", "member": NAMES[1], "reason": why}],
            "everything": "",
            "plan_digest": real["held"]["plan_digest"],
        }
    )
    assert why.endswith("which may lag") and other.ldapi_url.partition("//")[0] in why
    assert any(warning.startswith("held: 2 changes") and why in warning for warning in company.warnings)
    assert real["users"]["created"] == ["new"] and real["users"]["extinct"] == []
    assert ("Large", NAMES[1]) in company.members() and NAMES[0] in users(company)

    result = company.run(**there)
    assert result["users"]["extinct"] == NAMES[:1] and result["held"]["users"] == []
    assert ("Large", NAMES[1]) not in company.members() and NAMES[0] not in users(company)


def test_two_servers_that_agree(replicas):
    """Asked in turn, each run sees another server than the last: what both say is not held for ever."""
    company, other = replicas
    company.run()
    for server in (company.server, other):
        server.modify(removed(NAMES[:1]))
    assert names_held(company.once(server=[other.ldapi_url])) == NAMES[:1]
    assert company.once()["users"]["extinct"] == NAMES[:1]


def test_a_replica_that_lagged(replicas):
    company, other = replicas
    company.run()
    company.modify(person("late"))  # does not reach the other yet
    company.run()
    assert names_held(company.once(server=[other.ldapi_url])) == ["late"]
    result = company.once()
    assert not result["changed"] and "late" in users(company), "nobody was lost, and nobody is held any more"


def test_an_approved_plan_holds_on_every_server(replicas):
    company, other = replicas
    company.run()
    for server in (company.server, other):
        server.modify(removed(NAMES[:1]))
    approved = company.once(True)["plan_digest"]
    result = company.once(server=[other.ldapi_url], approved_plan=approved)
    assert result["users"]["extinct"] == NAMES[:1], "two servers and a person agree"


# --- leaving ---------------------------------------------------------------------------------------------------------


def test_a_user_who_is_deleted_after_a_grace(company):
    grace = {"user_extinction": "delete", "user_extinction_grace_days": 30}
    company.run(**grace)
    company.modify(removed(NAMES[:2]))
    assert company.run(**grace)["users"]["disabled"] == NAMES[:2]
    (since,) = set(company.rows("SELECT extinct_since FROM users WHERE extinct = 'gone'"))
    assert abs(since[0] - time.time()) < 600

    company.modify(person(NAMES[0]))  # with another key: somebody else of that name
    result = company.run(**grace)
    assert result["users"]["created"] == [NAMES[0]] and result["users"]["deleted"] == []

    company.change("UPDATE users SET extinct_since = extinct_since - 30 * 86400")
    result = company.run(**grace, removal_limits={"users": "0"})
    assert sorted(result["users"]["deleted"]) == ["user00 (extinct)", "user01"], "announced, so no limit counts it"


def test_a_user_who_returns_within_the_grace(company):
    grace = {"user_extinction": "delete", "user_extinction_grace_days": 30, "scope_change": True}
    company.run(**grace)
    result = company.run(**grace, exclude_distinguished_name=[dn_of(NAMES[0])])
    assert result["users"]["disabled"] == NAMES[:1] and ("Large", NAMES[0]) not in company.members()
    result = company.run(**grace)
    assert result["users"]["enabled"] == NAMES[:1] and ("Large", NAMES[0]) in company.members()
    assert company.rows("SELECT extinct_since FROM users WHERE name = '%s'" % NAMES[0]) == [(None,)]


@pytest.mark.parametrize("state", ["released", "absent"])
def test_the_end_of_a_synchronization(company, state):
    company.run()
    company.change("UPDATE users SET local_attributes = '{\"desk\":\"4\"}' WHERE name = 'guest'")
    members = company.members()
    company.server.stop()  # no directory is read
    ended = {"state": state, "server": None, "authentication": "simple", "distinguished_name": None}
    result = company.run(**ended)
    assert result["changed"] and result["read"]["mode"] == "none"
    assert company.rows("SELECT count(*) FROM synchronizations") == [(0,)]
    assert company.rows("SELECT count(*) FROM claims") == [(0,)]
    if state == "absent":
        assert len(result["users"]["deleted"]) == 41 and result["summary"]["user_groups"]["deleted"] == 3
        assert company.rows("SELECT count(*) FROM users") == [(0,)]
        assert company.rows("SELECT name FROM user_groups") == [("All",)], "the one that was made for it is gone, too"
        assert len(company.rows("SELECT * FROM past_memberships")) == len(members)
    else:
        assert result["summary"]["users"]["released"] == 41 and result["summary"]["users"]["deleted"] == 0
        assert company.members() == members
        assert company.rows(
            "SELECT count(*) FROM users WHERE directory_id IS NULL AND key IS NULL AND enabled = 1"
            " AND synchronization_id IS NULL"
        ) == [(41,)]
        assert company.rows("SELECT count(*) FROM user_groups WHERE key IS NULL AND synchronization_id IS NULL") == [
            (5,)
        ]
    assert company.rows("SELECT synchronization, mode FROM runs") == [("staff", "full"), ("staff", "none")]
    assert len(list(company.store.parent.glob("*.backup-*"))) == 1
    assert not company.once(**ended)["changed"], "nothing is left to end"


def test_the_end_of_what_never_was(company, tmp_path):
    for state in ("released", "absent"):
        result = company.once(state=state, server=None)
        assert not result["changed"] and not company.store.exists()


def test_what_others_claim_stays(company):
    company.run()
    company.run(name="other", user_group="All/Other")
    members = company.members()
    assert len(members) == 2 * 41
    company.run(state="absent")
    assert len(users(company)) == 41 and company.members() == sorted(members[::2])
    assert not company.once(True, name="other", user_group="All/Other")["users"]["created"]
    company.run(name="other", user_group="All/Other")
    assert set(company.rows("SELECT s.name FROM users u JOIN synchronizations s ON s.id = u.synchronization_id")) == {
        ("other",)
    }


def test_users_of_a_released_synchronization_are_met_like_records_made_by_hand(company):
    company.run()
    company.run(state="released")
    assert len(company.run()["collisions"]) == 44
    result = company.run(user_collision="merge")
    assert result["summary"]["users"]["updated"] == 41


# --- undo ------------------------------------------------------------------------------------------------------------


def test_a_copy_is_restored_as_the_documentation_says(company, tmp_path):
    company.run()
    before = company.contents()
    company.modify(removed(NAMES[:1]))
    company.run(user_extinction="delete")
    assert NAMES[0] not in users(company)
    (copy,) = company.store.parent.glob("users.db.backup-*")
    page = (CHECKOUT / "docs" / "reliability.md").read_text(encoding="utf-8")
    (script,) = re.findall("```sh\n(.*?)```", page, re.DOTALL)
    subprocess.run(
        [
            "sh",
            "-e",
            "-c",
            script.replace("/var/lib/user_synchronization", str(company.store.parent)).replace(
                "20261125T093000.000000Z", copy.name.partition("-")[2]
            ),
        ],
        check=True,
    )
    assert company.contents() == before
    assert company.run(user_extinction="delete")["users"]["deleted"] == NAMES[:1], "and the store goes on from there"


def test_a_run_that_removes_nothing_makes_no_copy(company):
    company.run()
    company.modify(person("new") + renamed(dn_of(NAMES[3]), "uid=renamed"))
    company.run()
    assert not list(company.store.parent.glob("*.backup-*"))


# --- as a user meets it ----------------------------------------------------------------------------------------------


def test_a_refused_task(company, run_playbook, run_module):
    server = company.server
    options = {
        "name": "staff",
        "user_group": "All/Staff",
        "server": server.ldapi_url,
        "encryption": "none",
        "use_ldap": True,
        "authentication": "external",
        "store": str(company.store),
    }
    run_module("user_synchronization", options)
    before = company.contents()
    company.modify(removed(NAMES[:30]))
    task = {"usersync.directory.user_synchronization": options, "register": "r"}
    dry, real = run_playbook([task], "--check", "--diff"), run_playbook([task])
    assert dry.rc == real.rc == 2
    assert "Traceback" not in dry.output + real.output
    for ran in (dry, real):
        (result,) = ran.results
        assert not result["changed"]
        assert result["msg"].startswith("removal_limits.users: the run would remove, disable or overwrite 30 of 41 ")
        assert result["refused"][0]["would_remove"] == 30
    assert dry.results[0]["plan_digest"] == real.results[0]["plan_digest"]
    assert company.contents() == before
    options["approved_plan"] = dry.results[0]["plan_digest"]
    for changed in (True, False):
        result = run_module("user_synchronization", options)
        assert result["changed"] is changed
    assert result["refused"] == []
