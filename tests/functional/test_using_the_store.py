# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""usersync.directory.user_group_info, usersync.directory.user and the lookup user_group_members, as a user meets them.

What the store holds is looked at with plain SQL.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _look_up
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from support.folders import out_of_reach
from support.lab import BASE, ROOT, deleted, dn_of, entry, group, modified, over_tls, person, unit
from support.slapd import Slapd
from support.stored import change, rows

STAFF = "ou=Staff," + BASE
NURSES, NIGHT = "cn=Nurses," + STAFF, "cn=Night," + STAFF
TEMPLATE = "{{ lookup('ansible.builtin.pipe', 'touch /tmp/usersync-template-ran') }}{% if 1 %}"

AGNES = ("displayName: Agnès Müller", "mail: agnes@example.org", "description: " + TEMPLATE)
COMPANY = "".join(
    [
        ROOT,
        unit("Staff"),
        person("agnes", *AGNES, below=STAFF),
        *(person(name, below=STAFF) for name in ("bert", "carla", "dora")),
        entry(
            NURSES,
            "objectClass: groupOfNames",
            "cn: Nurses",
            "description: On the wards",
            *("member: " + dn_of(name, STAFF) for name in ("agnes", "dora")),
        ),
        group("Night", dn_of("bert", STAFF), below=STAFF),
        group("Alone", dn_of("carla", STAFF), below=STAFF),
        group("Everybody", NURSES, NIGHT, below=STAFF),
    ]
)


@pytest.fixture(scope="module")
def company():
    with Slapd(ldif=COMPANY) as server:
        yield server


@pytest.fixture(scope="module")
def synchronize(company, run_module):
    def run(store, /, **more):
        options = over_tls(company, store, **{"distinguished_name": STAFF, **more})
        return run_module("user_synchronization", options)

    return run


@pytest.fixture(scope="module")
def look_up(run_module):
    """One look at a store, ``look_up(store, option=...)``; the result."""
    return lambda store, /, **more: run_module("user_group_info", {"store": str(store), **more}, check_mode=True)


def kept(store, name="zoe", user_group="All/Staff", /, **more):
    """The options of usersync.directory.user."""
    return {"store": str(store), "name": name, "user_group": user_group, **more}


@pytest.fixture(scope="module")
def keep(run_module):
    """Write one user by hand, ``keep(store, name, user_group, option=...)``; the result."""
    return lambda *which, check_mode=False, **more: run_module("user", kept(*which, **more), check_mode=check_mode)


def message(text):
    return {"name": "Show", "ansible.builtin.debug": {"msg": text}}


def failing(task):
    return dict(task, ignore_errors=True)


def traces(directory):
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_size, path.stat().st_ino)
        for path in sorted(directory.rglob("*"))
    }


@pytest.fixture(scope="module")
def made(company, synchronize, keep, tmp_path_factory):
    """A store, synchronized twice: carla and the group Alone have left, dora is disabled, olga was made by hand."""
    path = tmp_path_factory.mktemp("store") / "users.db"
    synchronize(path)
    keep(path, "olga", sid="S-1-5-7")
    company.modify(deleted(dn_of("carla", STAFF)) + deleted("cn=Alone," + STAFF))
    synchronize(path)
    change(path, "UPDATE users SET enabled = 0 WHERE name = 'dora'")  # as shadowExpire or a lock would
    return path


def names(result):
    return [user["name"] for user in result["users"]]


# --- user_group_info -------------------------------------------------------------------------------------------------


@pytest.mark.versions
def test_a_play_that_looks_up_leaves_no_trace(made, run_playbook):
    before = traces(made.parent)
    task = {"usersync.directory.user_group_info": {"store": str(made), "user_group": "all/staff/NURSES"}}
    run = run_playbook([task], "--check", "--diff")
    assert run.rc == 0, run.output
    (nurses,) = run.results
    assert nurses["changed"] is False and names(nurses) == ["agnes"]
    assert traces(made.parent) == before


def test_a_home_is_told_from_a_user_group_without_members(made, look_up, run_playbook):
    only_home = "user_group: 'All/staff' has no members. It is the home of users (5), and a home is no membership: "
    for effective in (False, True):
        found = look_up(made, user_group="All/staff", effective=effective)
        assert found["users"] == [] and found["warnings"][0].startswith(only_home)
    for more in ({"user_group": "All/Staff/Everybody"}, {"user_group": "All/Staff", "user": "agnes"}, {}):
        assert "warnings" not in look_up(made, **more)
    looked = run_playbook([message("{{ %s }}" % members("'All/staff'", "store='%s'" % made))])
    assert looked.results[0]["msg"] == [] and only_home in " ".join(looked.output.split()), looked.output


def test_by_path_by_synchronization_and_by_user(made, look_up):
    before = traces(made.parent)
    all_, nurses, everybody, own, disabled, agnes, around, staff, carla, extinct, alone = results = [
        look_up(made, **options)
        for options in (
            {},
            {"user_group": "all/staff/NURSES"},
            {"user_group": "All/Staff/Everybody", "effective": True},
            {"user_group": "All/Staff/Everybody"},
            {"user_group": "All/Staff/Everybody", "effective": True, "include_disabled": True},
            {"user": "AGNES"},
            {"user": "agnes", "effective": True},
            {"synchronization": "staff"},
            {"user": "carla"},
            {"user": "carla", "include_extinct": True, "include_disabled": True},
            {"user_group": "All/Staff/Alone", "include_extinct": True},
        )
    ]
    assert all(result["changed"] is False for result in results)
    assert traces(made.parent) == before, "looking leaves no trace"

    assert [group["path"] for group in all_["user_groups"]] == [
        "All",
        "All/Staff",
        "All/Staff/Everybody",
        "All/Staff/Night",
        "All/Staff/Nurses",
    ]
    assert names(all_) == ["agnes", "bert", "olga"], "who is disabled or extinct is left out"
    (group,) = nurses["user_groups"]
    assert (group["path"], group["members"], group["user_groups"]) == ("All/Staff/Nurses", ["agnes"], [])
    assert (group["synchronization"], group["dn"]) == ("staff", "cn=Nurses,%s" % STAFF)
    assert group["attributes"] == {"description": "On the wards"} and group["extinct"] is None and group["key"]
    assert names(nurses) == ["agnes"] and nurses["users"][0]["attributes"]["display_name"] == "Agnès Müller"

    assert everybody["user_groups"][0]["members"] == names(everybody) == ["agnes", "bert"]
    assert everybody["user_groups"][0]["user_groups"] == ["All/Staff/Night", "All/Staff/Nurses"]
    assert own["users"] == own["user_groups"][0]["members"] == []
    assert names(disabled) == ["agnes", "bert", "dora"] and disabled["users"][2]["enabled"] is False

    assert [group["path"] for group in agnes["user_groups"]] == agnes["users"][0]["user_groups"] == ["All/Staff/Nurses"]
    assert around["users"][0]["user_groups"] == ["All/Staff/Everybody", "All/Staff/Nurses"]
    assert around["users"][0]["synchronizations"] == ["staff"] and around["users"][0]["home"] == "All/Staff"
    assert names(staff) == ["agnes", "bert"] and [group["path"] for group in staff["user_groups"]] == [
        "All/Staff/Everybody",
        "All/Staff/Night",
        "All/Staff/Nurses",
    ]

    assert carla["users"] == []
    (user,) = extinct["users"]
    assert (user["extinct"], user["enabled"], user["user_groups"]) == ("gone", False, [])
    assert user["extinct_since"].endswith("Z") and user["key"]
    assert alone["user_groups"][0]["extinct"] == "gone"


def test_the_last_runs_with_their_counts(made, look_up):
    all_, last, none = (
        look_up(made, **options) for options in ({}, {"synchronization": "staff", "runs": 1}, {"runs": 0})
    )
    assert [run["summary"]["users"]["extinct"] for run in all_["runs"]] == [1, 0], "the newest first"
    assert all_["runs"][1]["summary"]["users"]["created"] == 4 and all_["runs"][1]["synchronization"] == "staff"
    assert last["runs"] == all_["runs"][:1] and none["runs"] == []


def test_the_history_of_a_user_and_of_a_user_group(company, synchronize, look_up, run_module, tmp_path):
    store, kim = tmp_path / "users.db", dn_of("kim", STAFF)
    for ldif in (
        person("kim", below=STAFF) + group("Short", kim, below=STAFF),
        modified(NIGHT, "add", "member", kim),
        modified(NIGHT, "delete", "member", kim) + modified(kim, "replace", "mail", "kim@example.org"),
        deleted("cn=Short," + STAFF) + deleted(kim),
    ):
        company.modify(ldif)
        limits = {"user_groups": "100%", "users": "100%"}
        synchronize(store, user_extinction="delete", user_group_extinction="delete", removal_limits=limits)

    kim, night, short, both, newest, none = (
        look_up(store, **options)
        for options in (
            {"user": "KIM", "history": 99},
            {"user_group": "All/Staff/Night", "history": 99},
            {"user_group": "all/staff/short", "history": 99, "include_extinct": True},
            {"user": "kim", "user_group": "All/Staff/Night", "history": 99},
            {"user": "kim", "history": 1},
            {"user": "kim"},
        )
    )
    removed, nobody = (
        run_module.fails("user_group_info", {"store": str(store), **options})
        for options in ({"user_group": "All/Staff/Short", "history": 99}, {"history": 1})
    )
    assert [(each["event"], each["path"], each["member"]) for each in kim["history"]] == [
        ("deleted", "All/Staff/kim", None),
        ("member_removed", "All/Staff/Short", "kim"),
        ("member_removed", "All/Staff/Night", "kim"),
        ("changed", "All/Staff/kim", None),
        ("member_added", "All/Staff/Night", "kim"),
        ("member_added", "All/Staff/Short", "kim"),
    ]
    change = kim["history"][3]
    assert (change["before"], change["after"]) == (
        {"attributes": {"email": None}},
        {"attributes": {"email": "kim@example.org"}},
    )
    assert change["synchronization"] == "staff" and change["time"].endswith("Z")
    assert kim["history"][0]["before"]["attributes"]["email"] == "kim@example.org" and kim["users"] == []
    assert [(each["event"], each["member"]) for each in night["history"]] == [
        ("member_removed", "kim"),
        ("member_added", "kim"),
        ("member_added", "bert"),
        ("created", None),
    ]
    assert [(each["event"], each["member"]) for each in short["history"]] == [
        ("deleted", None),
        ("member_removed", "kim"),
        ("member_added", "kim"),
    ]
    assert short["user_groups"] == short["users"] == []
    assert [each["event"] for each in both["history"]] == ["member_removed", "member_added"]
    assert newest["history"] == kim["history"][:1] and none["history"] == []
    assert removed["msg"].startswith("user_group: the store has no user group 'All/Staff/Short'")
    assert nobody["msg"] == "history: it is that of a user or a user group: name one in user or user_group"


@pytest.mark.parametrize(
    ("wrong", "beginning"),
    [
        ({"user_group": "All/Staff/Nuses"}, "user_group: the store has no user group 'All/Staff/Nuses'"),
        ({"user_group": "Staff/Nurses"}, "user_group: the path 'Staff/Nurses' does not begin at the root"),
        ({"user_group": "All/Staff/Alone"}, "user_group: 'All/Staff/Alone' is extinct (gone)"),
        ({"synchronization": "stuff"}, "synchronization: the store has none named 'stuff': it has 'staff'"),
        ({"store": "none.db"}, "store: there is no file"),
        ({"store": "."}, "store: "),
        ({"store": __file__}, "store: "),
        ({"runs": -1}, "runs: -1 is out of range"),
    ],
)
def test_nobody_takes_a_wrong_name_for_an_empty_group(made, run_module, wrong, beginning):
    if "store" in wrong:
        wrong = {"store": str(made.parent / wrong["store"])}
    ran = run_module.run("user_group_info", {"store": str(made), **wrong})
    assert ran.result["failed"] and ran.result["msg"].startswith(beginning)
    assert "Traceback" not in ran.output
    assert not made.with_name("none.db").exists()


def test_a_store_that_this_user_may_not_see_is_not_missing():
    """The first sentence is about rights, and not about a path that would have to be corrected."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        store = Path(directory, "users.db")
        store.touch()
        with out_of_reach(store.parent), pytest.raises(SynchronizationError) as error:
            _look_up.look_up({"store": str(store)}, pytest.fail)
    assert str(error.value) == (
        "store: '%s' cannot be read (Permission denied): name a file that this user may read, or set become: true"
        % store
    )


def test_while_a_run_writes_the_state_before_it_is_read(made, look_up, run_playbook, tmp_path):
    store = tmp_path / "users.db"
    store.write_bytes(made.read_bytes())
    writer = textwrap.dedent("""
        import sys, types
        for name, path in (("ansible_collections", []), ("ansible_collections.usersync", []),
                           ("ansible_collections.usersync.directory", [sys.argv[1]])):
            package = sys.modules[name] = types.ModuleType(name)
            package.__path__ = path
        from ansible_collections.usersync.directory.plugins.module_utils._store.sqlite import open_store
        with open_store(sys.argv[2]) as store:
            store.run("PRAGMA cache_size = 1")  # so that it writes before the end
            store.run("DELETE FROM memberships")
            store.run("UPDATE users SET name = 'x' || name, attributes = hex(randomblob(200000))")
            print("writing", flush=True)
            sys.stdin.readline()
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", writer, str(Path(__file__).resolve().parents[2]), str(store)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "writing\n"
        assert os.path.getsize(str(store) + "-wal") > 100_000
        before = traces(tmp_path)
        assert names(look_up(store, user_group="All/Staff/Everybody", effective=True)) == ["agnes", "bert"]
        looked = members("'All/Staff/Nurses'", "store='%s'" % store)
        run = run_playbook([message("{{ %s | map(attribute='name') }}" % looked)])
        assert run.rc == 0, run.output
        assert run.results[0]["msg"] == ["agnes"]
        assert {path: trace for path, trace in traces(tmp_path).items() if path in before} == before
    finally:
        process.stdin.close()
        process.wait()


# --- the lookup ------------------------------------------------------------------------------------------------------


def members(terms, options=""):
    return "lookup('usersync.directory.user_group_members', %s%s)" % (terms, options and ", " + options)


@pytest.mark.versions
def test_the_lookup_gives_users_for_loops(made, run_playbook):
    store = "store='%s'" % made
    run = run_playbook(
        [
            message("{{ %s | map(attribute='name') }}" % members("'All/Staff/Everybody'", store + ", effective=true")),
            message("{{ %s }}" % members("'All/Staff/Everybody'", store)),
            {
                "name": "Loop over one",
                "ansible.builtin.debug": {"msg": "{{ item.name }} {{ item.attributes.email }}"},
                "loop": "{{ %s }}" % members("'All/Staff/Nurses'", store),
            },
            message(
                "{{ %s | flatten | map(attribute='name') }}"
                % members("'All/Staff/Nurses', 'All/Staff/Night'", store).replace("lookup(", "query(")
            ),
            failing(message("{{ %s }}" % members("'All/Staff/Alone'", store))),
            message("{{ %s | length > 0 }}" % members("'All/Staff/Alone'", store + ", include_extinct=true")),
            failing(message("{{ %s }}" % members("'All/Staff/Aalone'", store))),
            failing(message("{{ %s }}" % members("'All'", "store='/nowhere/users.db'"))),
            failing(message("{{ lookup('usersync.directory.user_group_members', %s) }}" % store)),
            message(
                "{{ %s | map(attribute='name') }}" % members("'All/Staff/Nurses'", store + ", include_disabled=true")
            ),
        ]
    )
    results = run.results
    assert results[0]["msg"] == ["agnes", "bert"] and results[1]["msg"] == []
    assert [item["msg"] for item in results[2]["results"]] == ["agnes agnes@example.org"], "one member is a list, too"
    assert results[3]["msg"] == ["agnes", "bert"]
    assert "'All/Staff/Alone' is extinct (gone)" in results[4]["msg"], results[4]
    assert results[5]["msg"] is False
    assert "the store has no user group 'All/Staff/Aalone'" in results[6]["msg"]
    assert "there is no file '/nowhere/users.db'" in results[7]["msg"]
    assert "no path of a user group is given: write one, such as 'All'" in results[8]["msg"]
    assert results[9]["msg"] == ["agnes", "dora"]


@pytest.mark.versions
def test_what_came_from_the_directory_is_never_a_template(made, run_playbook, tmp_path):
    witness = Path("/tmp/usersync-template-ran")
    witness.unlink(missing_ok=True)
    looked = members("'All/Staff/Nurses'", "store='%s'" % made)
    run = run_playbook(
        [
            {
                "name": "Loop",
                "ansible.builtin.debug": {"msg": "{{ item.attributes.description }}"},
                "loop": "{{ %s }}" % looked,
            },
            {"name": "Keep", "ansible.builtin.set_fact": {"kept": "{{ %s }}" % looked}},
            message("{{ kept[0].attributes.description ~ '!' }}"),
            {
                "name": "Write",
                "ansible.builtin.copy": {
                    "content": "{{ kept[0].attributes.description }}",
                    "dest": str(tmp_path / "written"),
                    "mode": "0600",
                },
            },
            {
                "name": "Look up",
                "usersync.directory.user_group_info": {"store": str(made), "user": "agnes"},
                "register": "info",
            },
            message("{{ info.users[0].attributes.description }}"),
        ]
    )
    assert run.rc == 0, run.output
    assert run.results[0]["results"][0]["msg"] == TEMPLATE
    assert run.results[2]["msg"] == TEMPLATE + "!"
    assert (tmp_path / "written").read_text() == TEMPLATE
    assert run.results[5]["msg"] == TEMPLATE
    assert not witness.exists()


# --- user ------------------------------------------------------------------------------------------------------------


@pytest.mark.versions
def test_a_user_made_by_hand_in_a_play(run_playbook, tmp_path):
    store = tmp_path / "new" / "users.db"
    task = {"usersync.directory.user": kept(store, **ZOE)}
    dry = run_playbook([task], "--check", "--diff")
    assert dry.rc == 0 and dry.results[0]["changed"] is True, dry.output
    assert not store.parent.exists(), "a dry run leaves no trace"
    assert '+        "badge": "7"' in dry.output or "+    badge: '7'" in dry.output, dry.output
    run = run_playbook([task])
    (real,) = run.results
    assert real["changed"] is True and "diff" not in real
    assert real["user"] == dry.results[0]["user"]


ZOE = {
    "attributes": {"email": "zoe@example.org", "phones": ["2", "1", "2"], "floor": 3},
    "local_attributes": {"badge": "7"},
    "sid": "S-1-5-21-1-2-3-1000",
}


def test_a_user_made_by_hand(keep, tmp_path):
    store = tmp_path / "new" / "users.db"
    dry = keep(store, check_mode=True, **ZOE)
    assert dry["changed"] is True and not store.parent.exists(), "a dry run leaves no trace"
    first, second = (keep(store, **ZOE) for _again in range(2))
    assert first["changed"] is True and second["changed"] is False and "diff" not in first
    assert first["user"] == second["user"] == dry["user"]
    columns = "name, attributes, local_attributes, sid, key, directory_id"
    assert rows(store, "SELECT %s FROM users" % columns) == [
        (
            "zoe",
            '{"email":"zoe@example.org","floor":"3","phones":["1","2"]}',
            '{"badge":"7"}',
            "S-1-5-21-1-2-3-1000",
            None,
            None,
        )
    ]

    before = traces(store.parent)
    changes = {"attributes": {"email": None}, "local_attributes": {"keys": ["b", "a"]}, "sid": ""}
    assert keep(store, "ZOE", "all/staff", check_mode=True, **changes)["changed"] is True
    assert keep(store, state="absent", check_mode=True)["changed"] is True and traces(store.parent) == before
    first, second = (keep(store, "ZOE", "all/staff", **changes) for _again in range(2))
    assert [result["changed"] for result in (first, second)] == [True, False]
    assert first["user"]["attributes"] == {"floor": "3", "phones": ["1", "2"]}
    assert first["user"]["local_attributes"] == {"badge": "7", "keys": ["a", "b"]}
    assert first["user"]["sid"] is None and first["user"]["name"] == "zoe"
    assert [keep(store, state="absent")["changed"] for _again in range(2)] == [True, False]
    assert rows(store, "SELECT * FROM users") == []


def test_local_attributes_of_any_user_survive_a_run(synchronize, keep, look_up, run_module, tmp_path):
    store = tmp_path / "users.db"
    synchronize(store)
    assert keep(store, "agnes", local_attributes={"badge": "7"})["changed"] is True
    assert synchronize(store)["changed"] is False
    assert keep(store, "agnes", local_attributes={"badge": "7"})["changed"] is False
    (agnes,) = look_up(store, user="agnes")["users"]
    assert agnes["local_attributes"] == {"badge": "7"}
    assert agnes["attributes"]["email"] == "agnes@example.org"
    for more, option in (
        ({"attributes": {"email": "x"}}, "attributes"),
        ({"sid": "S-1-1"}, "sid"),
        ({"state": "absent"}, "name"),
    ):
        result = run_module.fails("user", kept(store, "agnes", **more))
        assert result["msg"].startswith("%s: 'All/Staff/agnes' comes from a directory" % option), result


@pytest.mark.parametrize(
    ("which", "more", "beginning"),
    [
        ((" ",), {}, "name: the user has no name"),
        (("zoe", "Staff"), {}, "user_group: the path 'Staff' does not begin at the root"),
        (("zoe", "All/None"), {"create_user_group": False}, "user_group: there is no user group 'All/None'"),
        ((), {"attributes": {"9x": "1"}}, "attributes: '9x' is no name of a field"),
        ((), {"local_attributes": {"x": {"y": "z"}}}, "local_attributes: the field 'x' is given {'y': 'z'}"),
        ((), {"local_attributes": {"x": True}}, "local_attributes: the field 'x' is given True"),
    ],
)
def test_bad_input(run_module, tmp_path, which, more, beginning):
    store = tmp_path / "users.db"
    assert run_module.fails("user", kept(store, *which, **more))["msg"].startswith(beginning)
    assert not store.exists()


def test_a_folder_is_no_store(run_module, tmp_path):
    assert run_module.fails("user", kept(tmp_path))["msg"].startswith("store: ")


def test_no_two_users_have_one_sid(run_module, keep, tmp_path):
    store = tmp_path / "users.db"
    keep(store, sid="S-1-9")
    refused = run_module.fails("user", kept(store, "ann", sid="s-1-9"))
    assert refused["msg"] == "sid: 'All/Staff/zoe' has it: no two users have one SID"
    assert rows(store, "SELECT name FROM users") == [("zoe",)]
