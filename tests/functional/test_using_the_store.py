# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""usersync.directory.user_group_info, usersync.directory.user and the lookup user_group_members, as a user meets them.

What the store holds is looked at with plain SQL.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support.slapd import Slapd
from support.stored import change, rows

STAFF = "ou=Staff,dc=example,dc=org"
TEMPLATE = "{{ lookup('ansible.builtin.pipe', 'touch /tmp/usersync-template-ran') }}{% if 1 %}"

COMPANY = f"""\
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: {STAFF}
objectClass: organizationalUnit
ou: Staff

dn: uid=agnes,{STAFF}
objectClass: inetOrgPerson
uid: agnes
cn: Agnès Müller
sn: Müller
mail: agnes@example.org
description: {TEMPLATE}

dn: uid=bert,{STAFF}
objectClass: inetOrgPerson
uid: bert
cn: Bert
sn: Bert

dn: uid=carla,{STAFF}
objectClass: inetOrgPerson
uid: carla
cn: Carla
sn: Carla

dn: uid=dora,{STAFF}
objectClass: inetOrgPerson
uid: dora
cn: Dora
sn: Dora

dn: cn=Nurses,{STAFF}
objectClass: groupOfNames
cn: Nurses
description: On the wards
member: uid=agnes,{STAFF}
member: uid=dora,{STAFF}

dn: cn=Night,{STAFF}
objectClass: groupOfNames
cn: Night
member: uid=bert,{STAFF}

dn: cn=Alone,{STAFF}
objectClass: groupOfNames
cn: Alone
member: uid=carla,{STAFF}

dn: cn=Everybody,{STAFF}
objectClass: groupOfNames
cn: Everybody
member: cn=Nurses,{STAFF}
member: cn=Night,{STAFF}
"""


@pytest.fixture(scope="module")
def company():
    with Slapd(ldif=COMPANY) as server:
        yield server


def synchronize(directory, store, /, **more):
    options = {
        "name": "staff",
        "user_group": "All/Staff",
        "server": directory.ldaps_url,
        "ca_path": str(directory.ca.cert),
        "use_ldap": True,
        "login": directory.admin_dn,
        "password": directory.password,
        "distinguished_name": STAFF,
        "store": str(store),
        **more,
    }
    return {"name": "Synchronize", "usersync.directory.user_synchronization": options}


def look_up(store, register="r", /, **more):
    return {
        "name": "Look up",
        "usersync.directory.user_group_info": {"store": str(store), **more},
        "register": register,
    }


def keep(store, name="zoe", user_group="All/Staff", /, **more):
    return {
        "name": "Keep",
        "usersync.directory.user": {"store": str(store), "name": name, "user_group": user_group, **more},
    }


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
def made(company, collections_path, tmp_path_factory):
    """A store, synchronized twice: carla and the group Alone have left, dora is disabled, olga was made by hand."""
    path = tmp_path_factory.mktemp("store") / "users.db"
    here = Path(__file__).parent
    leave = f"dn: uid=carla,{STAFF}\nchangetype: delete\n\ndn: cn=Alone,{STAFF}\nchangetype: delete\n"
    for ldif in ("", leave):
        if ldif:
            company.modify(ldif)
        playbook = path.with_name("playbook.json")
        playbook.write_text(
            json.dumps(
                [
                    {
                        "hosts": "localhost",
                        "gather_facts": False,
                        "tasks": [synchronize(company, path), keep(path, "olga", sid="S-1-5-7")],
                    }
                ]
            )
        )
        subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                "-i",
                "localhost,",
                "-c",
                "local",
                "-e",
                "ansible_python_interpreter=" + sys.executable,
                str(playbook),
            ],
            check=True,
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": str(collections_path),
                "LC_ALL": "C.UTF-8",
                "ANSIBLE_CONFIG": str(here / "none.cfg"),
            },
            stdout=subprocess.DEVNULL,
        )
        playbook.unlink()
    change(path, "UPDATE users SET enabled = 0 WHERE name = 'dora'")  # as shadowExpire or a lock would
    return path


def names(result):
    return [user["name"] for user in result["users"]]


# --- user_group_info -------------------------------------------------------------------------------------------------


@pytest.mark.versions
def test_by_path_by_synchronization_and_by_user(made, run_playbook):
    before = traces(made.parent)
    run = run_playbook(
        [
            look_up(made),
            look_up(made, user_group="all/staff/NURSES"),
            look_up(made, user_group="All/Staff/Everybody", effective=True),
            look_up(made, user_group="All/Staff/Everybody"),
            look_up(made, user_group="All/Staff/Everybody", effective=True, include_disabled=True),
            look_up(made, user="AGNES"),
            look_up(made, user="agnes", effective=True),
            look_up(made, synchronization="staff"),
            look_up(made, user="carla"),
            look_up(made, user="carla", include_extinct=True, include_disabled=True),
            look_up(made, user_group="All/Staff/Alone", include_extinct=True),
        ],
        "--check",
    )
    assert run.rc == 0, run.output
    all_, nurses, everybody, own, disabled, agnes, around, staff, carla, extinct, alone = run.results
    assert all(result["changed"] is False for result in run.results)
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


def test_the_last_runs_with_their_counts(made, run_playbook):
    all_, last, none = run_playbook(
        [look_up(made), look_up(made, synchronization="staff", runs=1), look_up(made, runs=0)]
    ).results
    assert [run["summary"]["users"]["extinct"] for run in all_["runs"]] == [1, 0], "the newest first"
    assert all_["runs"][1]["summary"]["users"]["created"] == 4 and all_["runs"][1]["synchronization"] == "staff"
    assert last["runs"] == all_["runs"][:1] and none["runs"] == []


def test_the_history_of_a_user_and_of_a_user_group(company, run_playbook, tmp_path):
    store = tmp_path / "users.db"

    def run_after(ldif, **more):
        company.modify(ldif)
        run = run_playbook(
            [
                synchronize(
                    company,
                    store,
                    user_extinction="delete",
                    user_group_extinction="delete",
                    removal_limits={"user_groups": "100%", "users": "100%"},
                    **more,
                )
            ]
        )
        assert run.rc == 0, run.output

    leave = "dn: cn=%s,%s\nchangetype: modify\ndelete: member\nmember: uid=%s,%s\n"
    join = leave.replace("delete: member", "add: member")
    run_after(
        f"dn: uid=kim,{STAFF}\nobjectClass: inetOrgPerson\nuid: kim\ncn: Kim\nsn: Kim\n\n"
        f"dn: cn=Short,{STAFF}\nobjectClass: groupOfNames\ncn: Short\nmember: uid=kim,{STAFF}\n"
    )
    run_after(join % ("Night", STAFF, "kim", STAFF))
    run_after(
        leave % ("Night", STAFF, "kim", STAFF)
        + f"\ndn: uid=kim,{STAFF}\nchangetype: modify\nreplace: mail\nmail: kim@example.org\n"
    )
    run_after(f"dn: cn=Short,{STAFF}\nchangetype: delete\n\ndn: uid=kim,{STAFF}\nchangetype: delete\n")

    run = run_playbook(
        [
            look_up(store, user="KIM", history=99),
            look_up(store, user_group="All/Staff/Night", history=99),
            look_up(store, user_group="all/staff/short", history=99, include_extinct=True),
            look_up(store, user="kim", user_group="All/Staff/Night", history=99),
            look_up(store, user="kim", history=1),
            look_up(store, user="kim"),
            failing(look_up(store, user_group="All/Staff/Short", history=99)),
            failing(look_up(store, history=1)),
        ]
    )
    kim, night, short, both, newest, none, removed, nobody = run.results
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


def test_nobody_takes_a_wrong_name_for_an_empty_group(made, run_playbook):
    wrong = [
        ({"user_group": "All/Staff/Nuses"}, "user_group: the store has no user group 'All/Staff/Nuses'"),
        ({"user_group": "Staff/Nurses"}, "user_group: the path 'Staff/Nurses' does not begin at the root"),
        ({"user_group": "All/Staff/Alone"}, "user_group: 'All/Staff/Alone' is extinct (gone)"),
        ({"synchronization": "stuff"}, "synchronization: the store has none named 'stuff': it has 'staff'"),
        ({"store": str(made.with_name("none.db"))}, "store: there is no file"),
        ({"store": str(made.parent)}, "store: "),
        ({"store": __file__}, "store: "),
        ({"runs": -1}, "runs: -1 is out of range"),
    ]
    run = run_playbook([failing(look_up(made, **options)) for options, _beginning in wrong])
    for (options, beginning), result in zip(wrong, run.results):
        assert result.get("msg", "").startswith(beginning), (options, result)
    assert len(run.results) == len(wrong) and "Traceback" not in run.output
    assert not made.with_name("none.db").exists()


def test_while_a_run_writes_the_state_before_it_is_read(made, run_playbook, tmp_path):
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
            store._run("PRAGMA cache_size = 1")  # so that it writes before the end
            store._run("DELETE FROM memberships")
            store._run("UPDATE users SET name = 'x' || name, attributes = hex(randomblob(200000))")
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
        run = run_playbook(
            [
                look_up(store, user_group="All/Staff/Everybody", effective=True),
                message(
                    "{{ lookup('usersync.directory.user_group_members', 'All/Staff/Nurses', store='%s')"
                    " | map(attribute='name') }}" % store
                ),
            ]
        )
        assert run.rc == 0, run.output
        assert names(run.results[0]) == ["agnes", "bert"] and run.results[1]["msg"] == ["agnes"]
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
            message("{{ %s | length }}" % members("'All/Staff/Alone'", store + ", include_extinct=true")),
            failing(message("{{ %s }}" % members("'All/Staff/Aalone'", store))),
            failing(message("{{ %s }}" % members("'All'", "store='/nowhere/users.db'"))),
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
    assert results[5]["msg"] == 0
    assert "the store has no user group 'All/Staff/Aalone'" in results[6]["msg"]
    assert "there is no file '/nowhere/users.db'" in results[7]["msg"]
    assert results[8]["msg"] == ["agnes", "dora"]


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
            look_up(made, "info", user="agnes"),
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
def test_a_user_made_by_hand(run_playbook, tmp_path):
    store = tmp_path / "new" / "users.db"
    made_by_hand = keep(
        store,
        attributes={"email": "zoe@example.org", "phones": ["2", "1", "2"], "floor": 3},
        local_attributes={"badge": "7"},
        sid="S-1-5-21-1-2-3-1000",
    )
    dry = run_playbook([made_by_hand], "--check", "--diff")
    assert dry.rc == 0 and dry.results[0]["changed"] is True, dry.output
    assert not store.parent.exists(), "a dry run leaves no trace"
    assert '+        "badge": "7"' in dry.output or "+    badge: '7'" in dry.output, dry.output
    run = run_playbook([made_by_hand, made_by_hand])
    first, second = run.results
    assert first["changed"] is True and second["changed"] is False and "diff" not in first
    assert first["user"] == second["user"] == dry.results[0]["user"]
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
    changes = keep(store, "ZOE", "all/staff", attributes={"email": None}, local_attributes={"keys": ["b", "a"]}, sid="")
    dry = run_playbook([changes, keep(store, state="absent")], "--check")
    assert [result["changed"] for result in dry.results] == [True, True] and traces(store.parent) == before
    run = run_playbook([changes, changes, keep(store, state="absent"), keep(store, state="absent")])
    assert [result["changed"] for result in run.results] == [True, False, True, False]
    assert run.results[0]["user"]["attributes"] == {"floor": "3", "phones": ["1", "2"]}
    assert run.results[0]["user"]["local_attributes"] == {"badge": "7", "keys": ["a", "b"]}
    assert run.results[0]["user"]["sid"] is None and run.results[0]["user"]["name"] == "zoe"
    assert rows(store, "SELECT * FROM users") == []


def test_local_attributes_of_any_user_survive_a_run(company, run_playbook, tmp_path):
    store = tmp_path / "users.db"
    run = run_playbook(
        [
            synchronize(company, store),
            keep(store, "agnes", local_attributes={"badge": "7"}),
            synchronize(company, store),
            keep(store, "agnes", local_attributes={"badge": "7"}),
            look_up(store, user="agnes"),
            failing(keep(store, "agnes", attributes={"email": "x"})),
            failing(keep(store, "agnes", sid="S-1-1")),
            failing(keep(store, "agnes", state="absent")),
        ]
    )
    assert [result["changed"] for result in run.results[1:4]] == [True, False, False]
    assert run.results[4]["users"][0]["local_attributes"] == {"badge": "7"}
    assert run.results[4]["users"][0]["attributes"]["email"] == "agnes@example.org"
    for result, option in zip(run.results[5:], ("attributes", "sid", "name")):
        assert result["msg"].startswith("%s: 'All/Staff/agnes' comes from a directory" % option), result


def test_bad_input(run_playbook, tmp_path):
    store = tmp_path / "users.db"
    wrong = [
        (keep(store, " "), "name: the user has no name"),
        (keep(store, "zoe", "Staff"), "user_group: the path 'Staff' does not begin at the root"),
        (keep(store, "zoe", "All/None", create_user_group=False), "user_group: there is no user group 'All/None'"),
        (keep(store, attributes={"9x": "1"}), "attributes: '9x' is no name of a field"),
        (keep(store, local_attributes={"x": {"y": "z"}}), "local_attributes: the field 'x' is given {'y': 'z'}"),
        (keep(store, local_attributes={"x": True}), "local_attributes: the field 'x' is given True"),
        (keep(tmp_path), "store: "),
    ]
    run = run_playbook([failing(task) for task, _beginning in wrong])
    for (task, beginning), result in zip(wrong, run.results):
        assert result.get("msg", "").startswith(beginning), (task, result)
    assert not store.exists()
    run = run_playbook([keep(store, sid="S-1-9"), failing(keep(store, "ann", sid="s-1-9"))])
    assert run.results[1]["msg"] == "sid: 'All/Staff/zoe' has it: no two users have one SID"
    assert rows(store, "SELECT name FROM users") == [("zoe",)]
