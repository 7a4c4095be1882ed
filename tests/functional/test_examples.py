# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each playbook in docs/examples does what it says, against a real OpenLDAP server: for real, and once more.

"pipeline_options.yml" is read by the two stages of the pipeline.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.postgresql import PostgreSQL
from support.slapd import Slapd
from support.stored import rows

CHECKOUT = Path(__file__).resolve().parents[2]
EXAMPLES = CHECKOUT / "docs" / "examples"
READER = "Teasel-6-gantry-Hw92"


def company(suffix="dc=example,dc=org", mark=""):
    """People, and who is in which group; `mark` tells two companies apart."""
    people = {"ann": "Ann Ártemis", "bob": "Bob: Builder", "cleo": "Cleo", "root": "Not the system's"}
    lines = [
        f"dn: {suffix}",
        "objectClass: dcObject",
        "objectClass: organization",
        f"dc: {suffix[3:].partition(',')[0]}",
        "o: Example",
        "",
        f"dn: cn=reader,{suffix}",
        "objectClass: organizationalRole",
        "objectClass: simpleSecurityObject",
        "cn: reader",
        f"userPassword: {READER}",
        "",
    ]
    for unit in ("People", "Groups"):
        lines += [f"dn: ou={unit},{suffix}", "objectClass: organizationalUnit", f"ou: {unit}", ""]
    for name, full in people.items():
        lines += [
            f"dn: uid={name}{mark},ou=People,{suffix}",
            "objectClass: inetOrgPerson",
            f"uid: {name}{mark}",
            f"cn: {full}",
            f"sn: {full}",
            f"mail: {name}@example.org",
            "",
        ]
    for group, names in {
        "Administrators": ("ann", "bob", "root"),
        "Nurses": ("ann", "cleo"),
        "Doctors": ("bob",),
        "Office": ("root",),
    }.items():
        lines += [
            f"dn: cn={group},ou=Groups,{suffix}",
            "objectClass: groupOfNames",
            f"cn: {group}",
            *(f"member: uid={name}{mark},ou=People,{suffix}" for name in names),
            "",
        ]
    return "\n".join(lines)


@pytest.fixture
def directory():
    with Slapd(ldif=company()) as server:
        yield server


@pytest.fixture
def example(directory, run_playbook, tmp_path):
    """Run an example with the test's server in the place of the one that it names."""

    def run(name, *arguments, **more):
        variables = tmp_path / "variables.json"
        variables.write_text(
            json.dumps(
                {
                    "server": directory.ldaps_url,
                    "ca_path": str(directory.ca.cert),
                    "vault_ldap_reader_password": READER,
                    "store": str(tmp_path / "users.db"),
                    **more,
                }
            )
        )
        done = run_playbook(str(EXAMPLES / name), "-e", "@%s" % variables, *arguments)
        assert READER not in done.output and "[WARNING]" not in done.output, done.output
        return done

    return run


def leave(server, group, name):
    server.modify(
        f"dn: cn={group},ou=Groups,dc=example,dc=org\nchangetype: modify\ndelete: member\n"
        f"member: uid={name},ou=People,dc=example,dc=org\n"
    )


def nothing_changed(run):
    return run.rc == 0 and re.search(r"changed=0 ", run.output) is not None


def test_every_example_is_tested():
    tested = Path(__file__).read_text(encoding="utf-8")
    untested = {path.name for path in EXAMPLES.glob("*.yml") if '"%s"' % path.name not in tested}
    assert untested == set()


def test_two_groups(example, tmp_path):
    dry = example("two_groups.yml", "--check", "--diff")
    assert dry.rc == 0 and "+user group All/Clinic/Nurses" in dry.output, dry.output
    assert not (tmp_path / "users.db").exists()
    run = example("two_groups.yml")
    assert run.rc == 0 and run.results[1]["msg"] == ["All/Clinic/Doctors", "All/Clinic/Nurses"]
    assert nothing_changed(example("two_groups.yml"))
    assert rows(tmp_path / "users.db", "SELECT name FROM users") == [("ann",), ("bob",), ("cleo",)]


def test_local_attributes_are_kept(example, tmp_path):
    run = example("local_attributes.yml")
    assert run.rc == 0, run.output
    said = [item["msg"] for item in run.results[-1]["results"]]
    assert said == ["Ann Ártemis: 1001", "Bob: Builder: 1002", "Cleo: none", "Not the system's: none"]
    assert rows(tmp_path / "users.db", "SELECT name, local_attributes, key IS NOT NULL FROM users") == [
        ("ann", '{"badge":"1001"}', 1),
        ("bob", '{"badge":"1002"}', 1),
        ("cleo", "{}", 1),
        ("root", "{}", 1),
    ]
    assert nothing_changed(example("local_attributes.yml"))


def test_csv_export(example, directory, tmp_path):
    assert example("pipeline_apply.yml", approved_plan=plan_of(example, tmp_path)).rc == 0
    file = tmp_path / "export.csv"
    run = example("csv_export.yml", export_file=str(file))
    assert run.rc == 0, run.output
    with open(file, newline="", encoding="utf-8") as table:
        assert list(csv.reader(table, delimiter=";")) == [
            ["Login", "Name", "E-mail", "Phone", "Groups"],
            ["ann", "Ann Ártemis", "ann@example.org", "", "All/Staff/Administrators,All/Staff/Nurses"],
            ["cleo", "Cleo", "cleo@example.org", "", "All/Staff/Nurses"],
        ]
    assert file.read_bytes().count(b"\r\n") == 3
    assert nothing_changed(example("csv_export.yml", export_file=str(file)))


def plan_of(example, tmp_path):
    run = example("pipeline_dry_run.yml", artifacts=str(tmp_path / "artifacts"))
    assert run.rc == 0, run.output
    return re.search(r"approved_plan: (\S+)", (tmp_path / "artifacts" / "approve.yml").read_text()).group(1)


def test_a_pipeline_in_two_stages(example, directory, tmp_path):
    artifacts, store = tmp_path / "artifacts", tmp_path / "users.db"
    digest = plan_of(example, tmp_path)
    assert not store.exists()
    assert "All/Staff" not in (artifacts / "approve.yml").read_text()
    assert "<title>Synchronization staff</title>" in (artifacts / "summary.html").read_text()
    assert digest in (artifacts / "summary.md").read_text()

    directory.modify(
        "dn: cn=Late,ou=Groups,dc=example,dc=org\nobjectClass: groupOfNames\ncn: Late\n"
        "member: uid=ann,ou=People,dc=example,dc=org\n"
    )
    late = example("pipeline_apply.yml", "-e", "@%s" % (artifacts / "approve.yml"))
    assert late.rc != 0 and late.results[0]["refused"] and not store.exists(), "the plan is another one"

    plan_of(example, tmp_path)
    applied = example("pipeline_apply.yml", "-e", "@%s" % (artifacts / "approve.yml"))
    assert applied.rc == 0 and store.exists(), applied.output
    for name in ("Administrators", "Nurses", "Doctors"):  # more than a limit allows
        directory.modify(f"dn: cn={name},ou=Groups,dc=example,dc=org\nchangetype: delete\n")
    plan_of(example, tmp_path)
    assert "Refused." in (artifacts / "summary.md").read_text()
    applied = example("pipeline_apply.yml", "-e", "@%s" % (artifacts / "approve.yml"))
    assert applied.rc == 0, applied.output
    assert sorted(applied.results[0]["changed_groups"][number]["path"] for number in range(3)) == [
        "All/Staff/Administrators",
        "All/Staff/Doctors",
        "All/Staff/Nurses",
    ]


def test_several_domains(directory, example, tmp_path):
    with Slapd("dc=south,dc=example", company("dc=south,dc=example", "-s"), ca=directory.ca) as south:
        domains = [
            {
                "name": "north",
                "server": directory.ldaps_url,
                "distinguished_name": "dc=example,dc=org",
                "login": "cn=reader,dc=example,dc=org",
                "password": READER,
            },
            {
                "name": "south",
                "server": south.ldaps_url,
                "distinguished_name": "dc=south,dc=example",
                "login": "cn=reader,dc=south,dc=example",
                "password": READER,
            },
        ]
        run = example("several_domains.yml", "-vvv", domains=domains)
        assert run.rc == 0, run.output
        assert run.results[-1]["msg"] == "8 users, All/North, All/South"
        assert nothing_changed(example("several_domains.yml", domains=domains))
        domains[1]["login"] = "cn=nobody,dc=south,dc=example"
        assert example("several_domains.yml", domains=domains).rc != 0, "and shows no password"


# --- Linux accounts --------------------------------------------------------------------------------------------------


@pytest.fixture
def linux(directory, collections_path, tmp_path):
    """Run the example where /etc is a copy that nobody else sees. What this machine has is not touched."""
    etc, homes = tmp_path / "etc", tmp_path / "homes"
    shutil.copytree("/etc", etc, symlinks=True, ignore_dangling_symlinks=True)
    homes.mkdir()
    (etc / "none.cfg").touch()
    variables = tmp_path / "variables.json"
    variables.write_text(
        json.dumps(
            {
                "server": directory.ldaps_url,
                "ca_path": str(directory.ca.cert),
                "vault_ldap_reader_password": READER,
                "store": str(tmp_path / "users.db"),
                "home_base": str(homes),
                "ansible_python_interpreter": sys.executable,
            }
        )
    )
    before = {name: Path("/etc", name).read_bytes() for name in ("passwd", "group", "shadow")}

    def run(*arguments):
        done = subprocess.run(
            [
                "unshare",
                "--mount",
                "sh",
                "-ec",
                'mount --bind "$1" /etc; shift; exec "$@"',
                "sh",
                str(etc),
                str(Path(sys.executable).with_name("ansible-playbook")),
                "-i",
                "localhost,",
                "-c",
                "local",
                "-e",
                "@%s" % variables,
                *arguments,
                str(EXAMPLES / "linux_accounts.yml"),
            ],
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": str(collections_path),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_CONFIG": str(etc / "none.cfg"),
                "ANSIBLE_LOCALHOST_WARNING": "false",
                "LC_ALL": "C.UTF-8",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert before == {name: Path("/etc", name).read_bytes() for name in before}, "this machine's own accounts"
        return done

    run.accounts = lambda: {
        line.split(":")[0]: line.split(":") for line in (etc / "passwd").read_text(encoding="utf-8").splitlines()
    }
    run.homes = homes
    return run


def test_linux_accounts(linux, directory):
    system = linux.accounts()
    dry = linux("--check")
    assert dry.returncode != 0 and "store: there is no file" in dry.stdout, "before the first run nothing is there"
    done = linux()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No account for root" in done.stdout
    accounts = linux.accounts()
    assert set(accounts) - set(system) == {"ann", "bob"}
    assert accounts["root"] == system["root"] and accounts["ann"][4] == "Ann Ártemis"
    assert accounts["bob"][4] == "Bob  Builder" and (linux.homes / "bob").is_dir()
    again = linux()
    assert again.returncode == 0 and "changed=0 " in again.stdout, again.stdout

    leave(directory, "Administrators", "bob")
    dry = linux("--check")
    assert "bob" in linux.accounts() and dry.returncode == 0
    done = linux()
    assert done.returncode == 0, done.stdout
    assert set(linux.accounts()) - set(system) == {"ann"} and set(system) <= set(linux.accounts())
    assert (linux.homes / "bob").is_dir(), "files are kept"

    directory.modify("dn: cn=Administrators,ou=Groups,dc=example,dc=org\nchangetype: delete\n")
    done = linux()
    assert done.returncode != 0 and "ann" in linux.accounts(), "a group that is gone takes no account away"


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


def test_postgresql_roles(example, directory):
    with PostgreSQL() as server:
        where = {"pghost": str(server.socket), "pgport": server.port}
        server.rows("CREATE ROLE root SUPERUSER")
        server.rows("CREATE ROLE bystander IN ROLE root")
        directory.modify(
            'dn: cn=O\'Hara \\"x\\"\\; DROP,ou=Groups,dc=example,dc=org\nobjectClass: groupOfNames\n'
            'cn: O\'Hara "x"; DROP\nmember: uid=ann,ou=People,dc=example,dc=org\n'
        )
        run = example("postgresql_roles.yml", **where)
        assert run.rc == 0, run.output

        def state():
            roles = server.rows(
                "SELECT rolname, rolcanlogin, rolsuper FROM pg_roles WHERE rolname !~ '^pg_'"
                " AND rolname <> 'postgres' ORDER BY 1"
            )
            members = server.rows(
                "SELECT g.rolname, u.rolname FROM pg_auth_members m"
                " JOIN pg_roles g ON g.oid = m.roleid"
                " JOIN pg_roles u ON u.oid = m.member WHERE g.rolname !~ '^pg_'"
                " AND g.rolname <> 'from_directory' ORDER BY 1, 2"
            )
            return roles, members

        roles, members = state()
        assert roles == [
            ["Administrators", "f", "f"],
            ["Doctors", "f", "f"],
            ["Nurses", "f", "f"],
            ['O\'Hara "x"; DROP', "f", "f"],
            ["Office", "f", "f"],
            ["ann", "t", "f"],
            ["bob", "t", "f"],
            ["bystander", "f", "f"],
            ["cleo", "t", "f"],
            ["from_directory", "f", "f"],
            ["root", "f", "t"],
        ]
        assert members == [
            ["Administrators", "ann"],
            ["Administrators", "bob"],
            ["Doctors", "bob"],
            ["Nurses", "ann"],
            ["Nurses", "cleo"],
            ['O\'Hara "x"; DROP', "ann"],
            ["root", "bystander"],
        ]
        assert nothing_changed(example("postgresql_roles.yml", **where))

        leave(directory, "Administrators", "bob")
        directory.modify("dn: uid=cleo,ou=People,dc=example,dc=org\nchangetype: delete\n")
        leave(directory, "Nurses", "cleo")
        assert example("postgresql_roles.yml", **where).rc == 0
        roles, members = state()
        assert ["cleo", "f", "f"] in roles and ["bob", "t", "f"] in roles and ["root", "f", "t"] in roles
        assert members == [
            ["Administrators", "ann"],
            ["Doctors", "bob"],
            ["Nurses", "ann"],
            ['O\'Hara "x"; DROP', "ann"],
            ["root", "bystander"],
        ]
