# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""usersync.directory.user_synchronization as a user meets it, against a real OpenLDAP server.

What is about Ansible goes through ansible-playbook, all else through the module as a program.

What the store holds is looked at with plain SQL, what the directory holds with ldapsearch.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from pathlib import Path

import pytest
from support.lab import BASE, ROOT, deleted, dn_of, group, modified, moved, over_tls, person, renamed, unit
from support.modules import shown
from support.slapd import Slapd
from support.stored import homes, members, nestings, rows, values

STAFF, GUESTS = "ou=Staff," + BASE, "ou=Guests," + BASE
NIGHT, NURSES = "cn=Night," + STAFF, "cn=Nurses," + STAFF

COMPANY = "".join(
    [
        ROOT,
        unit("Staff"),
        unit("Guests"),
        person("agnes", "displayName: Agnès Müller", "mail: agnes@example.org", "title: Head nurse", below=STAFF),
        person("bert", below=STAFF),
        person("carla", below=STAFF),
        person("gast", below=GUESTS),
        group("Nurses", dn_of("agnes", STAFF), dn_of("gast", GUESTS), dn_of("nobody", STAFF), below=STAFF),
        group("Night", dn_of("bert", STAFF), below=STAFF),
        group("All staff", NURSES, NIGHT, below=STAFF),
    ]
)


@pytest.fixture
def company():
    with Slapd(ldif=COMPANY) as server:
        yield server


@pytest.fixture(scope="module")
def lasting_company():
    """For tests that change nothing in the directory."""
    with Slapd(ldif=COMPANY) as server:
        yield server


def options(directory, store, /, **more):
    return over_tls(directory, store, **{"distinguished_name": STAFF, **more})


@pytest.fixture
def synchronize(run_module):
    """One run of the module, ``synchronize(directory, store, option=...)``; its result."""

    def run(directory, store, /, *, check_mode=False, diff=False, **more):
        given = options(directory, store, **more)
        return run_module("user_synchronization", given, check_mode=check_mode, diff=diff)

    return run


def everything(directory):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(directory.rglob("*"))}


RESULT_KEYS = {
    "msg",
    "changed",
    "changed_groups",
    "affected_groups",
    "unchanged_groups",
    "users",
    "summary",
    "collisions",
    "unresolved_members",
    "not_stored",
    "refused",
    "plan_digest",
    "removals_digest",
    "read",
    "settings",
    "report_left_out",
    "report_truncated",
    "dry_run",
    "began",
}


@pytest.mark.versions
def test_check_look_apply_look_repeat(company, run_playbook, run_module, tmp_path):
    store = tmp_path / "state" / "users.db"
    task = {"usersync.directory.user_synchronization": options(company, store), "register": "r"}

    dry = run_playbook([task], "--check", "--diff")
    assert dry.rc == 0, dry.output
    dry_result = dry.results[0]
    assert set(dry_result).issuperset(RESULT_KEYS)
    assert not store.parent.exists(), "a dry run leaves no file and no directory"
    assert dry_result["msg"].startswith("users: ") and "memberships: " in dry_result["msg"]
    assert "+user group All/Staff/Nurses" in dry.output and "+    member agnes" in dry.output

    real = run_playbook([task])
    assert real.rc == 0, real.output
    result = real.results[0]
    assert set(result).issuperset(RESULT_KEYS) and "diff" not in result
    assert result["plan_digest"] == dry_result["plan_digest"]
    for key in RESULT_KEYS - {"read", "dry_run", "began"}:
        assert result[key] == dry_result[key], key
    assert dry_result["dry_run"] is True and result["dry_run"] is False
    assert result["changed"] is True
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.parent.stat().st_mode) == 0o700
    assert os.listdir(store.parent) == ["users.db"]
    assert members(store) == [("Night", "bert"), ("Nurses", "agnes"), ("Nurses", "gast")]
    assert nestings(store) == [("All staff", "Night"), ("All staff", "Nurses")]
    assert values(store, "SELECT name FROM users") == ["agnes", "bert", "carla", "gast"]
    assert [
        (entry["path"], entry["members_added"], entry["user_groups_added"]) for entry in result["changed_groups"]
    ] == [
        ("All/Staff/All staff", [], ["All/Staff/Night", "All/Staff/Nurses"]),
        ("All/Staff/Night", ["bert"], []),
        ("All/Staff/Nurses", ["agnes", "gast"], []),
    ]
    assert result["unresolved_members"] == [
        {
            "user_group": "All/Staff/Nurses",
            "value": "uid=nobody,ou=Staff,dc=example,dc=org",
            "reason": "does not exist or cannot be read",
        }
    ]
    assert company.password not in real.output + dry.output + repr(result)

    before = everything(store.parent)
    for _again in range(2):
        run_module("user_synchronization", options(company, store), check_mode=True)
    assert everything(store.parent) == before, "looking leaves no trace"
    again = run_module("user_synchronization", options(company, store))
    assert again["changed"] is False and again["changed_groups"] == []
    assert again["unchanged_groups"] == ["All/Staff/All staff", "All/Staff/Night", "All/Staff/Nurses"]


def test_exactly_what_changed_is_reported(company, synchronize, tmp_path):
    store = tmp_path / "users.db"
    synchronize(company, store)
    company.modify(
        modified(NIGHT, "add", "member", dn_of("carla", STAFF))
        + renamed(dn_of("bert", STAFF), "uid=albert")
        + modified(NIGHT, "delete", "member", dn_of("bert", STAFF))
        + modified(NIGHT, "add", "member", dn_of("albert", STAFF))
    )
    dry = synchronize(company, store, check_mode=True, diff=True)
    result = synchronize(company, store)
    assert result["plan_digest"] == dry["plan_digest"]
    assert [
        (entry["path"], entry["changes"], entry["members_added"], entry["members_removed"])
        for entry in result["changed_groups"]
    ] == [("All/Staff/Night", ["members"], ["carla"], [])]
    assert result["affected_groups"] == ["All/Staff/All staff"], "carla is among its effective members now"
    assert result["unchanged_groups"] == ["All/Staff/Nurses"]
    assert result["users"]["renamed"] == [{"name": "albert", "previous_name": "bert"}]
    assert members(store) == [("Night", "albert"), ("Night", "carla"), ("Nurses", "agnes"), ("Nurses", "gast")]
    assert "+    member carla" in shown(dry) and "agnes" not in shown(dry)


def test_who_leaves_is_disabled_and_leaves_the_groups(company, synchronize, tmp_path):
    store = tmp_path / "users.db"
    synchronize(company, store)
    company.modify(deleted(dn_of("agnes", STAFF)))
    result = synchronize(company, store)
    assert result["users"]["extinct"] == result["users"]["disabled"] == ["agnes"]
    assert result["changed_groups"][0]["members_removed"] == ["agnes"]
    assert rows(store, "SELECT name, enabled, extinct FROM users WHERE NOT enabled") == [("agnes", 0, "gone")]

    company.modify(moved(dn_of("carla", STAFF), "uid=carla", GUESTS))
    result = synchronize(company, store, user_extinction="delete")
    assert result["users"]["deleted"] == ["agnes", "carla"], "whom the earlier policy left, the new one removes"
    assert values(store, "SELECT name FROM users") == ["bert", "gast"]


def test_names_swapped_in_one_run(company, synchronize, tmp_path):
    store = tmp_path / "users.db"
    synchronize(company, store)
    keys = dict(rows(store, "SELECT name, key FROM users"))
    for old, new in (("agnes", "x"), ("bert", "agnes"), ("x", "bert")):
        company.modify(renamed(dn_of(old, STAFF), "uid=" + new))
    result = synchronize(company, store)
    assert [entry["name"] for entry in result["users"]["renamed"]] == ["agnes", "bert"]
    swapped = dict(rows(store, "SELECT name, key FROM users"))
    assert (swapped["agnes"], swapped["bert"]) == (keys["bert"], keys["agnes"])


def test_containers_become_user_groups(lasting_company, synchronize, tmp_path):
    units, both = (
        synchronize(lasting_company, tmp_path / structure, group_structure=structure)
        for structure in ("organizational_units", "both")
    )
    assert [entry["path"] for entry in units["changed_groups"]] == ["All/Staff/Staff"]
    assert units["changed_groups"][0]["members_added"] == ["agnes", "bert", "carla"]
    assert [entry["path"] for entry in both["changed_groups"]] == [
        "All/Staff/Staff",
        "All/Staff/Staff/All staff",
        "All/Staff/Staff/Night",
        "All/Staff/Staff/Nurses",
    ]
    assert homes(tmp_path / "both") == [(name, "Staff") for name in ("agnes", "bert", "carla", "gast")]


def test_changing_the_target_moves_the_tree(lasting_company, synchronize, tmp_path):
    store = tmp_path / "users.db"
    synchronize(lasting_company, store)
    second = synchronize(lasting_company, store, user_group="All/People/Here")
    assert {tuple(entry["changes"]) for entry in second["changed_groups"]} == {("moved",)}
    assert second["changed_groups"][0]["previous_path"] == "All/Staff/All staff"
    assert len(second["users"]["moved"]) == 4
    assert second["summary"]["memberships"]["added"] == second["summary"]["memberships"]["removed"] == 0
    assert values(store, "SELECT name FROM user_groups") == [
        "All",
        "All staff",
        "Here",
        "Night",
        "Nurses",
        "People",
    ], "the empty old target is gone"


def test_two_synchronizations_share_a_user(company, synchronize, tmp_path):
    store = tmp_path / "users.db"
    guests = {"name": "guests", "user_group": "All/Guests", "distinguished_name": GUESTS}
    synchronize(company, store)
    second, third = synchronize(company, store, **guests), synchronize(company, store)
    assert second["users"]["created"] == [] and second["summary"]["users"]["claimed"] == 1
    assert third["changed"] is False
    company.modify(modified(NURSES, "delete", "member", dn_of("gast", GUESTS)))
    result = synchronize(company, store)
    assert result["users"]["extinct"] == [], "the other synchronization still has him"
    assert result["changed_groups"][0]["members_removed"] == ["gast"]
    assert rows(store, "SELECT name, enabled, extinct FROM users WHERE name = 'gast'") == [("gast", 1, None)]
    result = synchronize(company, store, **guests)
    assert result["users"]["moved"] == [{"name": "gast", "home": "All/Guests", "previous_home": "All/Staff"}]


# --- bad input -------------------------------------------------------------------------------------------------------

BAD_INPUT = [
    ({"distinguished_name": "ou=Staff,dc=example,dc=org,"}, "distinguished_name"),
    ({"distinguished_name": ["ou=Staf,dc=example,dc=org"]}, "distinguished_name"),
    ({"exclude_distinguished_name": "ou=None,dc=example,dc=org"}, "exclude_distinguished_name"),
    ({"distinguished_name": ""}, "distinguished_name"),
    ({"distinguished_name": ["ou=Staff,dc=example,dc=org", ""]}, "distinguished_name"),
    ({"distinguished_name": "dc=other,dc=org"}, "distinguished_name"),
    ({"user_filter": "(mail=*"}, "user_filter"),
    ({"user_filter": "(mail=\\zz)"}, "user_filter"),
    ({"ldap_parameters": {"preset": "novell"}}, "ldap_parameters"),
    ({"user_group": "All//Staff"}, "user_group"),
    ({"user_group": "Staff"}, "user_group"),
    ({"encryption": "start_tls"}, "encryption"),
    ({"server": "ldaps://127.0.0.1:1"}, "server"),
    ({"ca_path": None}, "ca_path"),
    ({"login": "EXAMPLE\\ADMIN"}, "login"),
    ({"password": None}, "password"),
    ({"password": ""}, "password"),
    ({"password": "Wrong-Moss-4-kettle"}, "password"),
    ({"authentication": "anonymous"}, "login"),
    ({"use_ldap": False, "login": "EXAMPLE\\ADMIN"}, "use_ldap"),
    ({"store": "/nowhere"}, "store"),
    ({"create_user_group": False, "user_group": "All/Absent"}, "create_user_group"),
]


@pytest.mark.parametrize(("wrong", "option"), BAD_INPUT)
def test_bad_input_fails_with_a_sentence_and_leaves_the_store(
    lasting_company, run_module, first_store, tmp_path, wrong, option
):
    store = tmp_path / "users.db"
    store.write_bytes(first_store.read_bytes())
    wrong = dict(wrong, store=str(tmp_path)) if wrong.get("store") else wrong
    ran = run_module.run("user_synchronization", options(lasting_company, store, **wrong))
    assert ran.result["failed"]
    message = ran.result["msg"]
    print(message)
    assert option in message
    assert "Traceback" not in ran.output
    assert "\n" not in message and lasting_company.password not in message
    assert store.read_bytes() == first_store.read_bytes()


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_store_that_is_not_to_be_made(lasting_company, run_module, first_store, tmp_path, check_mode):
    given = {**options(lasting_company, tmp_path / "users.db"), "create_store": False}
    refused = run_module.fails("user_synchronization", given, check_mode=check_mode)["msg"]
    assert refused.startswith("create_store: there is no file '%s'" % given["store"])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "users.db").write_bytes(first_store.read_bytes())
    assert not run_module("user_synchronization", given, check_mode=check_mode)["changed"]


@pytest.fixture(scope="module")
def first_store(lasting_company, run_module, tmp_path_factory):
    """The store as the first run leaves it."""
    store = tmp_path_factory.mktemp("first") / "users.db"
    run_module("user_synchronization", options(lasting_company, store))
    return store


@pytest.mark.versions
def test_a_task_fails_and_the_play_can_go_on(lasting_company, run_playbook, tmp_path):
    """As a module's failure comes to a play."""
    tasks = [
        {
            "usersync.directory.user_synchronization": options(lasting_company, tmp_path / "users.db", **wrong),
            "ignore_errors": True,
        }
        for wrong, _option in (BAD_INPUT[0], BAD_INPUT[8])
    ]
    run = run_playbook(tasks)
    assert run.rc == 0 and "ignored=2 " in run.output, "each has failed"
    first, second = run.results
    assert first["msg"].startswith("distinguished_name: ") and "found in ldap_parameters" in second["msg"]
    assert "Traceback" not in run.output and "Traceback" not in repr(run.results)


def test_another_directory_under_the_same_name_is_refused(lasting_company, synchronize, run_module, tmp_path):
    store = tmp_path / "users.db"
    synchronize(lasting_company, store)
    with Slapd(ldif=COMPANY) as twin:
        second = run_module.fails("user_synchronization", options(twin, store))
    assert second["msg"].startswith("name: the synchronization 'staff' belongs to")
    assert len(rows(store, "SELECT * FROM runs")) == 1


def test_no_encryption_goes_only_when_written_out_and_warns(lasting_company, run_module, tmp_path):
    plain = options(lasting_company, tmp_path / "users.db", server=lasting_company.ldap_url, ca_path=None)
    refused = run_module.fails("user_synchronization", plain)
    assert "encryption" in refused["msg"]
    result = run_module("user_synchronization", {**plain, "encryption": "none"})
    assert "encryption: none" in " ".join(str(warning) for warning in result["warnings"])


@pytest.mark.versions
@pytest.mark.parametrize("encryption", ("start_tls", "ldaps"))
def test_start_tls_and_ldaps_verify_an_address(lasting_company, synchronize, tmp_path, encryption):
    url = lasting_company.ldap_url if encryption == "start_tls" else lasting_company.ldaps_url
    synchronize(lasting_company, tmp_path / "users.db", server=url, encryption=encryption)


def test_external_over_ldapi(lasting_company, synchronize, tmp_path):
    result = synchronize(
        lasting_company,
        tmp_path / "users.db",
        server=lasting_company.ldapi_url,
        encryption="none",
        authentication="external",
        login=None,
        password=None,
        ca_path=None,
    )
    assert result["summary"]["users"]["total"] == 4


def test_the_report_is_cut_and_the_counts_are_not(lasting_company, synchronize, tmp_path):
    result = synchronize(lasting_company, tmp_path / "users.db", report_limit=1)
    assert result["report_truncated"] is True
    assert len(result["changed_groups"]) == len(result["users"]["created"]) == 1
    assert result["summary"]["users"]["created"] == 4 and result["summary"]["user_groups"]["created"] == 3


def wake_once_it_is_shown(server, printed):
    """Wake the server once the run says that it connects; at the latest after four minutes."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not (printed.exists() and "connects to" in printed.read_text("utf-8")):
        time.sleep(0.2)
    server.wake()


@pytest.mark.versions
def test_a_long_run_shows_how_far_it_is_and_every_run_what_it_did(run_playbook, tmp_path):
    """The server sleeps until it is shown that the run waits for it. In check mode only the outcome is told."""
    with Slapd(ldif=COMPANY) as server:
        task = {"usersync.directory.user_synchronization": options(server, tmp_path / "users.db", timeout=300)}
        server.sleep()
        waking = threading.Thread(target=wake_once_it_is_shown, args=(server, tmp_path / "printed"))
        waking.start()
        run = run_playbook([task])
        waking.join()
        assert run.rc == 0, run.output
        shown = re.findall("^user_synchronization: (.*)$", run.output, re.MULTILINE)
        assert "... connects to the directory" in shown and shown[-1] == "staff: " + run.results[0]["msg"]
        assert len(shown) <= 3 and "agnes" not in "".join(shown)
        dry = run_playbook([task], "--check")
        shown = re.findall("^user_synchronization: (.*)$", dry.output, re.MULTILINE)
        assert shown == ["staff: dry run: nothing to do"]


@pytest.mark.versions
def test_the_secret_is_nowhere(lasting_company, run_playbook, tmp_path):
    task = {"usersync.directory.user_synchronization": options(lasting_company, tmp_path / "users.db")}
    run = run_playbook([task], "-vvvv", "--diff", as_program=True)
    assert run.rc == 0, run.output
    assert lasting_company.password not in run.output
    for path in Path(tmp_path).rglob("*"):
        if path.is_file() and path.name != "playbook.json":
            assert lasting_company.password.encode() not in path.read_bytes(), path
