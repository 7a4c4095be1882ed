# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each playbook in docs/examples does what it says, against a real OpenLDAP server: for real, and once more. Those that
act on other systems are attacked: by who is in the directory, and by who left.

"pipeline_options.yml" is read by the two stages of the pipeline.
"""

from __future__ import annotations

import base64
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.postgresql import PostgreSQL
from support.slapd import Slapd
from support.stored import rows
from support.wiki import serving

CHECKOUT = Path(__file__).resolve().parents[2]
EXAMPLES = CHECKOUT / "docs" / "examples"
READER = "Teasel-6-gantry-Hw92"
STORE = "Sorrel-8-cornice-Lb37"


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


def encoded(**attributes):
    """Lines of LDIF for values of any characters."""
    return "".join(
        "%s:: %s\n" % (name, base64.b64encode(value.encode()).decode()) for name, value in attributes.items()
    )


def hire(server, name, *groups, cn=None, **attributes):
    """Add somebody, whose name may be anything, and make him a member of groups."""
    dn = "cn=%s,ou=People,dc=example,dc=org" % (cn or name)
    about = encoded(uid=name, sn="Somebody", **attributes)
    server.modify(f"dn: {dn}\nobjectClass: inetOrgPerson\ncn: {cn or name}\n{about}")
    for group in groups:
        server.modify(f"dn: cn={group},ou=Groups,dc=example,dc=org\nchangetype: modify\nadd: member\nmember: {dn}\n")
    return dn


def found(server, name, *groups, cn="found"):
    """Add a group, whose name may be anything."""
    members = "".join("member: %s\n" % dn for dn in groups)
    server.modify(
        f"dn: description={cn},ou=Groups,dc=example,dc=org\nobjectClass: groupOfNames\n"
        f"description: {cn}\n{encoded(cn=name)}{members}"
    )


@pytest.fixture
def directory():
    with Slapd(ldif=company()) as server:
        yield server


@pytest.fixture
def example(directory, run_playbook, tmp_path):
    """Run an example with the test's server in the place of the one that it names."""

    def run(name, *arguments, env=None, **more):
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
        done = run_playbook(str(EXAMPLES / name), "-e", "@%s" % variables, *arguments, env=env)
        assert READER not in done.output and "[WARNING]" not in done.output, done.output
        assert done.output.replace("\n", "").isprintable(), "a terminal is shown what it must not obey"
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


def test_local_attributes_are_kept(example, directory, tmp_path):
    hire(directory, "z\x1b]0;oe\x9b\u202e", cn="zoe", displayName="Zoe\x1b[2J\n{{ 7 * 7 }}")
    run = example("local_attributes.yml")
    assert run.rc == 0, run.output
    said = [item["msg"] for item in run.results[-1]["results"]]
    people = ["Ann Ártemis: 1001", "Bob: Builder: 1002", "Cleo: none", "Not the system's: none"]
    assert said == [*people, r"Zoe\x1b[2J\n{{ 7 * 7 }}: none"]
    statement = "SELECT name, local_attributes, key IS NOT NULL FROM users WHERE name NOT LIKE 'z%'"
    assert rows(tmp_path / "users.db", statement) == [
        ("ann", '{"badge":"1001"}', 1),
        ("bob", '{"badge":"1002"}', 1),
        ("cleo", "{}", 1),
        ("root", "{}", 1),
    ]
    assert nothing_changed(example("local_attributes.yml"))


def test_csv_export(example, directory, tmp_path):
    phone = {"telephoneNumber": "+49 30 1234-5", "mail": "@SUM(A1)"}
    hire(directory, "\t=1+1", "Nurses", cn="zoe", displayName="=HYPERLINK(A1)\n=2;=3", **phone)
    assert example("pipeline_apply.yml", approved_plan=plan_of(example, tmp_path)).rc == 0
    file = tmp_path / "export.csv"
    run = example("csv_export.yml", export_file=str(file))
    assert run.rc == 0, run.output
    with open(file, newline="", encoding="utf-8") as table:
        assert list(csv.reader(table, delimiter=";")) == [
            ["Login", "Name", "E-mail", "Phone", "Groups"],
            ["\t'=1+1", "'=HYPERLINK(A1)\n'=2;'=3", "'@SUM(A1)", phone["telephoneNumber"], "All/Staff/Nurses"],
            ["ann", "Ann Ártemis", "ann@example.org", "", "All/Staff/Administrators,All/Staff/Nurses"],
            ["cleo", "Cleo", "cleo@example.org", "", "All/Staff/Nurses"],
        ]
    assert file.read_bytes().count(b"\r\n") == 4
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
    late = example("pipeline_apply.yml", artifacts=str(artifacts))
    assert late.rc != 0 and late.results[0]["refused"] and not store.exists(), "the plan is another one"

    plan_of(example, tmp_path)
    with open(artifacts / "approve.yml", "a", encoding="utf-8") as approval:
        approval.write("synchronization_options: {name: another}\nstore: /nowhere\n")
    applied = example("pipeline_apply.yml", artifacts=str(artifacts))
    assert applied.rc == 0 and store.exists(), applied.output
    for name in ("Administrators", "Nurses", "Doctors"):  # more than a limit allows
        directory.modify(f"dn: cn={name},ou=Groups,dc=example,dc=org\nchangetype: delete\n")
    plan_of(example, tmp_path)
    assert "Refused." in (artifacts / "summary.md").read_text()
    applied = example("pipeline_apply.yml", artifacts=str(artifacts))
    assert applied.rc == 0, applied.output
    assert sorted(applied.results[0]["changed_groups"][number]["path"] for number in range(3)) == [
        "All/Staff/Administrators",
        "All/Staff/Doctors",
        "All/Staff/Nurses",
    ]


@pytest.fixture
def node(example):
    """A job of AWX: what its credentials put into the environment, and what a survey or the node before it says."""
    both = {"USERSYNC_LOGIN": "cn=reader,dc=example,dc=org", "USERSYNC_PASSWORD": READER}
    return lambda credentials=both, **answers: example("awx.yml", env=credentials, **answers)


def handed_on(run):
    """What AWX gives the nodes behind that of this run."""
    assert run.rc == 0, run.output
    return run.results[-1]["ansible_stats"]["data"]


def test_a_workflow_of_awx(node, directory, tmp_path):
    """Its nodes: a dry run, which hands on a digest, and after the approval the run itself."""
    store = tmp_path / "users.db"
    first = handed_on(node(dry_run="true"))
    assert not store.exists()
    assert node(approved_plan="").rc == 0, "a survey whose answer was left out"
    hire(directory, "dora", "Nurses")
    plan = handed_on(node(dry_run="true", store_must_exist=True))
    hire(directory, "emil", "Nurses")
    late = node(dry_run="false", **plan, store_must_exist=True)
    assert late.rc != 0 and "> `approved_plan: the run would do something else" in late.output, late.output
    plan = handed_on(node(dry_run="true", store_must_exist=True))
    lost = node(dry_run="false", **{**plan, "approved_plan": ""}, store_must_exist=True)
    assert lost.rc != 0 and "approved_plan: it is empty" in lost.output, "a survey of the workflow has overridden it"
    applied = node(dry_run="false", **plan, store_must_exist=True)
    assert applied.rc == 0 and plan != first, applied.output
    (digest,) = (run["plan_digest"] for run in applied.results if "plan_digest" in run)
    assert digest == plan["approved_plan"]
    store.unlink()
    lost = node(dry_run="false", store_must_exist=True)
    assert lost.rc != 0 and "create_store: there is no file" in lost.output and not store.exists()


@pytest.mark.parametrize("answer", ["", "maybe", "True"])
def test_nobody_changes_anything_by_another_answer_than_no(node, answer, tmp_path):
    assert "approved_plan" in handed_on(node(dry_run=answer))
    assert not (tmp_path / "users.db").exists()


@pytest.mark.parametrize(
    ("credentials", "message"),
    [
        ({}, "login: it is missing with authentication: simple, and so is a password"),
        ({"USERSYNC_LOGIN": "", "USERSYNC_PASSWORD": ""}, "login: it is empty, and so is the password"),
    ],
)
def test_a_job_without_its_credential_says_so(node, credentials, message):
    run = node(credentials=credentials)
    assert run.rc != 0 and message in run.output, run.output


def test_an_execution_environment(collections_path, tmp_path):
    """The page's command has an image made of what the definition says, and all that the collection needs is found.

    No image is made here: what would make it says what it was told.
    """
    page = (EXAMPLES.parent / "awx.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^ansible-builder .*", page, re.MULTILINE)
    assert f"#   {command}\n" in (EXAMPLES / "execution-environment.yml").read_text(encoding="utf-8")
    shutil.copytree(EXAMPLES, tmp_path / "docs" / "examples")
    program = Path(sys.executable).with_name("ansible-builder")
    podman = tmp_path / "bin" / "podman"
    podman.parent.mkdir()
    podman.write_text('#!/bin/sh\necho "podman $*"\n', encoding="ascii")
    podman.chmod(0o755)
    path = os.pathsep.join([str(podman.parent), str(program.parent), os.environ["PATH"]])
    built = subprocess.run(
        command.split(), cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    assert "-t usersync-ee" in built.stdout, built.stdout
    made = (tmp_path / "context" / "Containerfile").read_text(encoding="utf-8")
    assert "quay.io/ansible/awx-ee" in made and "galaxy" in made
    found = subprocess.run(
        [str(program), "introspect", str(collections_path)], capture_output=True, text=True, check=True
    ).stdout
    for package in ("ldap3>=2.9.1", "gssapi", "psycopg[binary]>=3.1", "krb5-devel"):
        assert package in found, found


@pytest.fixture
def wiki():
    with serving(READER) as wiki:
        yield wiki


def test_changes_for_a_loop_that_fails(example, directory, wiki):
    """Wherever it fails: in the end the service is as the store, although that changed meanwhile."""

    def play(fails_at=0, does_it_anyway=False):
        wiki.requests, wiki.fails_at, wiki.does_it_anyway = 0, fails_at, does_it_anyway
        return example(
            "changes.yml",
            api="http://127.0.0.1:%d" % wiki.server_port,
            vault_wiki_token=READER,
            env={"no_proxy": "*"},
        )

    def is_as_the_directory():
        names = {key: account["name"] for key, account in wiki.accounts.items()}
        return sorted((group, names[key]) for group, key in wiki.members)

    def store_is_up_to_date():
        run = example("two_groups.yml")
        assert run.rc == 0, run.output

    store_is_up_to_date()
    assert play(fails_at=4).rc != 0 and len(wiki.members) == 2, "one of three is no member"
    assert play().rc == 0 and wiki.requests == 6, "all of it comes again"
    assert is_as_the_directory() == [("Doctors", "bob"), ("Nurses", "ann"), ("Nurses", "cleo")]
    assert all(each["enabled"] is True for each in wiki.accounts.values())
    assert play().rc == 0 and wiki.requests == 0

    name = "z{{ 7 * 7 }}"
    zoe = hire(directory, name, "Nurses", cn="zoe")
    directory.modify(
        "dn: uid=bob,ou=People,dc=example,dc=org\nchangetype: modify\nreplace: mail\nmail: b@example.org\n"
    )
    store_is_up_to_date()
    assert play(fails_at=3).rc != 0 and ("Nurses", name) not in is_as_the_directory()
    assert play(fails_at=3, does_it_anyway=True).rc != 0 and ("Nurses", name) in is_as_the_directory()
    directory.modify(f"dn: cn=Nurses,ou=Groups,dc=example,dc=org\nchangetype: modify\ndelete: member\nmember: {zoe}\n")
    store_is_up_to_date()
    assert play().rc == 0
    assert is_as_the_directory() == [("Doctors", "bob"), ("Nurses", "ann"), ("Nurses", "cleo")]
    assert sorted(each["name"] for each in wiki.accounts.values()) == ["ann", "bob", "cleo"]
    assert {each["name"]: each["email"] for each in wiki.accounts.values()}["bob"] == "b@example.org"
    assert nothing_changed(play()) and wiki.requests == 0


@pytest.fixture
def keycloak(tmp_path, ansible_settings):
    """A collection in which the module for Keycloak is the one of the tests, and the file that it changes."""
    modules = tmp_path / "more" / "ansible_collections" / "community" / "general" / "plugins" / "modules"
    modules.mkdir(parents=True)
    shutil.copy(CHECKOUT / "tests" / "support" / "keycloak_user.py", modules)
    realm = tmp_path / "realm.json"
    realm.write_text(json.dumps({"users": {}, "calls": 0, "fails_at": 0, "does_it_anyway": False}), encoding="utf-8")
    return realm, "%s:%s" % (tmp_path / "more", ansible_settings["ANSIBLE_COLLECTIONS_PATH"])


def test_users_of_keycloak(directory, example, run_playbook, keycloak, tmp_path):
    """Wherever a loop fails, nothing is lost, and nothing is skipped."""
    realm, collections = keycloak
    more = {"keycloak": "file://%s" % realm, "vault_keycloak_password": STORE, "store": str(tmp_path / "users.db")}

    def play(fails_at=0, does_it_anyway=False):
        said = {**json.loads(realm.read_text()), "calls": 0, "fails_at": fails_at, "does_it_anyway": does_it_anyway}
        realm.write_text(json.dumps(said))
        done = run_playbook(
            str(EXAMPLES / "keycloak_users.yml"),
            "-e",
            json.dumps(more),
            env={"ANSIBLE_COLLECTIONS_PATH": collections},
            as_program=True,
        )
        assert STORE not in done.output and READER not in done.output
        said = json.loads(realm.read_text())
        return done, said["calls"], sorted((each["last_name"], each["groups"]) for each in said["users"].values())

    assert example("two_groups.yml").rc == 0
    done, calls, there = play(fails_at=2)
    assert done.rc != 0 and calls == 3 and len(there) == 2, "the loop goes to its end, and the play does not"
    done, calls, there = play()
    everybody = [("Ann Ártemis", ["Nurses"]), ("Bob: Builder", ["Doctors"]), ("Cleo", ["Nurses"])]
    assert done.rc == 0 and calls == 3 and there == everybody, "all of it comes again"
    assert play()[1] == 0, "and then nothing does"

    zoe = hire(directory, "zoe", "Nurses", cn="zoe")
    leave(directory, "Nurses", "ann")
    directory.modify(
        "dn: cn=Doctors,ou=Groups,dc=example,dc=org\nchangetype: modify\nadd: member\n"
        "member: uid=ann,ou=People,dc=example,dc=org\n"
    )
    assert example("two_groups.yml", "-e", json.dumps({"removal_limits": "100%"})).rc == 0
    done, _calls, there = play(fails_at=3, does_it_anyway=True)
    assert done.rc != 0 and any("zoe" in name for name, _groups in there), "zoe is let in, and nobody is told"
    directory.modify(f"dn: cn=Nurses,ou=Groups,dc=example,dc=org\nchangetype: modify\ndelete: member\nmember: {zoe}\n")
    assert example("two_groups.yml").rc == 0
    done, _calls, there = play()
    assert done.rc == 0 and there == [("Ann Ártemis", ["Doctors"]), *everybody[1:]]
    assert play()[1] == 0


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


def test_fleet(directory, example, ca, tmp_path):
    """With the inventory as it is, but for the servers and the people's suffixes."""
    inventory = (EXAMPLES / "fleet_inventory.yml").read_text(encoding="utf-8")
    with ExitStack() as stack:
        south = stack.enter_context(Slapd("dc=south,dc=example", company("dc=south,dc=example", "-s"), ca=directory.ca))
        database = stack.enter_context(PostgreSQL(ca.issue("postgresql")))
        database.run(f"CREATE ROLE usersync SUPERUSER LOGIN PASSWORD '{STORE}'")
        for name, server in (("berlin", directory), ("lisbon", south)):
            inventory = inventory.replace(f"ldap.{name}.example.org", server.ldaps_url)
            inventory = inventory.replace(f"dc={name},dc=example,dc=org", server.suffix)
        (tmp_path / "inventory.yml").write_text(inventory.replace("/etc/ssl/certs/ca-certificates.crt", str(ca.cert)))
        more = {
            "store": f"postgresql://usersync@localhost:{database.port}/postgres?sslrootcert={ca.cert}",
            "vault_usersync_password": STORE,
            "vault_reader_passwords": {"berlin": READER, "lisbon": READER},
        }
        done = example("fleet.yml", "-i", str(tmp_path / "inventory.yml"), **more)
        assert done.rc == 0 and STORE not in done.output, done.output
        homes = database.rows("SELECT home, count(*) FROM usersync.view_users GROUP BY home ORDER BY home")
        assert homes == [["All/Berlin", "4"], ["All/Lisbon", "4"]]
        again = example("fleet.yml", "-i", str(tmp_path / "inventory.yml"), "-l", "lisbon", **more)
        assert nothing_changed(again) and "berlin" not in again.output


# --- Linux accounts --------------------------------------------------------------------------------------------------

PLACES = ("etc", "var/spool", "var/log", "var/mail", "var/lib/systemd")


class Linux:
    """This machine, with what accounts are made of in copies that nobody else sees. It runs the example."""

    def __init__(self, directory, collections_path, tmp_path):
        self.root = tmp_path / "root"
        self.homes = self.root / "home"
        for place in PLACES:
            (self.root / place).mkdir(parents=True)
        shutil.copytree("/etc", self.root / "etc", symlinks=True, ignore_dangling_symlinks=True, dirs_exist_ok=True)
        self.homes.mkdir()
        self._variables = tmp_path / "variables.json"
        self._variables.write_text(
            json.dumps(
                {
                    "server": directory.ldaps_url,
                    "ca_path": str(directory.ca.cert),
                    "vault_ldap_reader_password": READER,
                    "store": str(tmp_path / "users.db"),
                    "home_base": str(self.homes),
                    "left_base": str(self.homes / ".left"),
                    "ansible_python_interpreter": sys.executable,
                }
            )
        )
        (tmp_path / "none.cfg").touch()
        self._environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(collections_path),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CONFIG": str(tmp_path / "none.cfg"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_PIPELINING": "true",
            "LC_ALL": "C.UTF-8",
        }

    def play(self, *arguments):
        before = {name: Path("/etc", name).read_bytes() for name in ("passwd", "group", "shadow")}
        mount = " && ".join('mount --bind "$0/%s" /%s' % (place, place) for place in PLACES)
        program = Path(sys.executable).with_name("ansible-playbook")
        command = [str(program), "-i", "localhost,", "-c", "local", "-e", "@%s" % self._variables, *arguments]
        done = subprocess.run(
            [
                *("unshare", "--mount", "sh", "-c", mount + ' && exec "$@"', str(self.root)),
                *command,
                str(EXAMPLES / "linux_accounts.yml"),
            ],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=500,
        )
        assert before == {name: Path("/etc", name).read_bytes() for name in before}, "this machine's own accounts"
        assert READER not in done.stdout and "[WARNING]" not in done.stdout, done.stdout
        assert done.stdout.replace("\n", "").isprintable(), "a terminal is shown what it must not obey"
        return done

    def lines(self, name):
        text = (self.root / "etc" / name).read_text(encoding="utf-8")
        return {line.split(":")[0]: line.split(":") for line in text.splitlines()}

    def write(self, path, text, owner, mode=0o600):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        os.chown(file, owner, -1)
        file.chmod(mode)
        return file


@pytest.fixture
def linux(directory, collections_path, tmp_path):
    return Linux(directory, collections_path, tmp_path)


@contextmanager
def running(program, *, uid, euid=None):
    """A process of another user, that ends with this one at the latest."""
    rights = [f"--ruid={uid}", f"--euid={euid or uid}", "--clear-groups", "--regid=65534", "--pdeathsig=KILL"]
    process = subprocess.Popen(["setpriv", *rights, *program], stdin=subprocess.PIPE)
    reaper = threading.Thread(target=process.wait)  # or it would be there as a zombie
    reaper.start()
    try:
        yield process
    finally:
        process.kill()
        process.stdin.close()
        reaper.join()


# No Python, since another user may not be able to read what it is made of; no shell, since that takes the one number of
# its user for both.
STUBBORN = ["env", "--ignore-signal=HUP,TERM", "sleep", "600"]
# It waits until its user is barred. From then on it is another process all the time, that kills whoever else runs as
# this user. It goes on for a minute at most, and whatever happens, no more than 20 processes of this user can be there
# (RLIMIT_NPROC), nor any that is dead and not collected.
RESTLESS = """
import ctypes, os, resource, sys, time
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER, prctl(2): orphans are collected here
end = time.monotonic() + 60
directory = os.open(sys.argv[2], os.O_RDONLY)
def accounts():
    return os.stat("shadow", dir_fd=directory).st_ino, os.stat("shadow", dir_fd=directory).st_mtime_ns
if os.fork() == 0:
    resource.setrlimit(resource.RLIMIT_NPROC, (20, 20))
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(*[int(sys.argv[1])] * 3)
    before = accounts()
    print("ready", flush=True)
    while accounts() == before and time.monotonic() < end:
        time.sleep(0.01)
    print("begun", flush=True)
    while time.monotonic() < end:
        try:
            if os.fork():
                os._exit(0)
            os.kill(-1, 9)
        except OSError:  # as many as there may be, or nobody else
            pass
    os._exit(0)
while True:
    try:
        os.wait()
    except ChildProcessError:
        sys.exit()
"""


@contextmanager
def restless(uid, etc):
    """Gives the process: it still goes on, or not, and what it says."""
    process = subprocess.Popen([sys.executable, "-c", RESTLESS, str(uid), str(etc)], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.wait(90)
        process.stdout.close()


HOSTILE_NAMES = [
    *("docker", "sudo", "nobody", "from-directory", "postgres", "root\n", "eve\nroot:x:0:0::/:/bin/sh"),
    *("-rf", "..", "../etc", "x:0:0", "e\x1b]0;ve", "Über", "u\u202eser", "long" * 9, "{{ 7 * 7 }}", "a b", "$(id)"),
]


def number_of(server, name):
    """The number that the account of somebody is to have, by the stable key."""
    (entry,) = server.search("(uid=%s)" % name, "entryUUID").values()
    digest = subprocess.run(["sha256sum"], input=entry["entryUUID"][0], text=True, capture_output=True, check=True)
    return int("20" + re.sub("[a-f]", "", digest.stdout.split()[0])[:8])


def test_linux_accounts(linux, directory):
    system = linux.lines("passwd"), linux.lines("group")
    for number, name in enumerate(HOSTILE_NAMES):
        hire(directory, name, "Administrators", cn="hostile %d" % number)
    hire(directory, "mallory", "Administrators", displayName="Mallory,pri=-20\nroot::0:0::/:/bin/sh\x1b[2J" + "y" * 500)

    first = linux.play()
    assert first.returncode == 0, first.stdout
    accounts = linux.lines("passwd")
    assert set(accounts) - set(system[0]) == {"ann", "bob", "mallory"}
    assert accounts["ann"][4] == "Ann Ártemis" and accounts["bob"][4] == "Bob  Builder"
    assert not re.search("[,=]", accounts["mallory"][4]) and len(accounts["mallory"][4]) <= 80
    assert all(accounts[name] == line for name, line in system[0].items()), "nobody else's account is touched"
    groups = linux.lines("group")
    gid = groups.pop("from-directory")[2]
    assert groups == system[1], "no group is made, and none gets members"
    for name in ("ann", "bob", "mallory"):
        assert accounts[name][2:4] == [str(number_of(directory, name)), gid]
        assert (linux.homes / name).stat().st_uid == number_of(directory, name)
    for name in ("root", "docker", "sudo", "nobody", "from-directory", r"root\n", "-rf", r"e\x1b]0;ve", "$(id)"):
        assert "(item=%s)" % name in first.stdout, name
    again = linux.play()
    assert again.returncode == 0 and "changed=0 " in again.stdout, again.stdout

    # Bob leaves, and does what he can to stay. Another ann comes in the place of ann. Frank and zoe come, but somebody
    # has the number of zoe's account.
    leave(directory, "Administrators", "bob")
    old_ann, bob = number_of(directory, "ann"), number_of(directory, "bob")
    directory.modify("dn: uid=ann,ou=People,dc=example,dc=org\nchangetype: delete\n")
    leave(directory, "Administrators", "ann")
    for name in ("ann", "frank", "zoe"):
        hire(directory, name, "Administrators")
    with open(linux.root / "etc/passwd", "a", encoding="utf-8") as passwd:
        passwd.write("stranger:x:%d:100::/:/bin/sh\n" % number_of(directory, "zoe"))
        passwd.write("colleague:x:1001:%s::/:/bin/sh\n" % gid)
    remains = [
        linux.write("var/spool/cron/crontabs/bob", "* * * * * id\n", bob),
        linux.write("var/spool/cron/atjobs/a00001", "id\n", bob),
        linux.write("var/spool/at/a00001", "id\n", bob),
        linux.write("var/lib/systemd/linger/bob", "", 0),
    ]
    others = [linux.write("var/spool/cron/crontabs/mallory", "* * * * * id\n", number_of(directory, "mallory"))]
    others += [linux.write("var/spool/mail/bob", "kept\n", bob)]
    keys = linux.write("home/ann/.ssh/authorized_keys", "ssh-ed25519 AAAA\n", old_ann)
    with ExitStack() as stack:
        of_bob = [
            stack.enter_context(running(STUBBORN, uid=bob)),
            stack.enter_context(running(STUBBORN, uid=2000000000, euid=bob)),
        ]
        of_mallory = stack.enter_context(running(STUBBORN, uid=number_of(directory, "mallory")))
        dry = linux.play("--check")
        assert (
            dry.returncode == 0 and "bob" in linux.lines("passwd") and of_bob[0].poll() is None and remains[0].exists()
        ), dry.stdout

        stack.enter_context(running(STUBBORN, uid=bob))
        done = linux.play()
        assert done.returncode != 0 and "Not done: zoe. " in done.stdout, done.stdout
        assert subprocess.run(["pgrep", "-u", str(bob)], check=False).returncode == 1
        assert [process.poll() for process in of_bob] == [-9, -9] and of_mallory.poll() is None
    accounts = linux.lines("passwd")
    made = {"ann", "frank", "mallory"}
    assert set(accounts) - set(system[0]) == made | {"stranger", "colleague"}, "who is stuck keeps nobody out or in"
    assert not [path for path in remains if path.exists()] and all(path.exists() for path in others)
    assert accounts["ann"][2] == str(number_of(directory, "ann")) != str(old_ann)
    assert not keys.exists() and (linux.homes / "ann").stat().st_uid == number_of(directory, "ann")
    left = linux.homes / ".left"
    assert left.stat().st_mode & 0o7777 == 0o700 and left.stat().st_uid == 0
    assert {path.name for path in left.iterdir()} == {"ann-%d" % old_ann, "bob-%d" % bob}, "files are kept"

    directory.modify("dn: cn=Administrators,ou=Groups,dc=example,dc=org\nchangetype: delete\n")
    done = linux.play()
    assert done.returncode != 0 and set(linux.lines("passwd")) >= made, "a group that is gone takes no account away"


def test_a_linux_account_of_somebody_who_does_not_hold_still(linux, directory):
    assert linux.play().returncode == 0
    bob = number_of(directory, "bob")
    leave(directory, "Administrators", "bob")
    with restless(bob, linux.root / "etc") as process:
        done = linux.play()
        assert done.returncode == 0, done.stdout
        assert process.poll() is not None and process.stdout.read() == b"begun\n"
    assert "bob" not in linux.lines("passwd")


# --- PostgreSQL ------------------------------------------------------------------------------------------------------

TRAP = """\
CREATE FUNCTION public.format(text, text) RETURNS text LANGUAGE plpgsql AS
$$BEGIN ALTER ROLE trapper SUPERUSER; RETURN pg_catalog.format($1, $2); END$$;
CREATE FUNCTION public.format(text, text, text) RETURNS text LANGUAGE plpgsql AS
$$BEGIN ALTER ROLE trapper SUPERUSER; RETURN pg_catalog.format($1, $2, $3); END$$;
CREATE FUNCTION public.lower(name) RETURNS text LANGUAGE plpgsql AS
$$BEGIN ALTER ROLE trapper SUPERUSER; RETURN pg_catalog.lower($1::text); END$$;
CREATE TABLE public.leavers AS SELECT oid, rolname AS role, true AS rolcanlogin FROM pg_roles;
"""


def roles(server):
    """Name, and whether it may log in, of all roles that are not the system's."""
    return {
        name: login == "t"
        for name, login in server.rows(
            "SELECT to_json(rolname::text), rolcanlogin FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'"
        )
    }


def grants(server):
    return {
        tuple(row)
        for row in server.rows(
            "SELECT to_json(g.rolname::text), to_json(u.rolname::text) FROM pg_auth_members m"
            " JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles u ON u.oid = m.member WHERE g.rolname !~ '^pg_'"
        )
    }


def quoted(names):
    return {json.dumps(name, ensure_ascii=False) for name in names}


def test_postgresql_roles(example, directory):
    with PostgreSQL() as server:
        where = {"pghost": str(server.socket), "pgport": server.port}
        mine = {"root": False, "bystander": False, "Hidden": False, "trapper": True, "group_office": False}
        server.rows('CREATE ROLE root SUPERUSER; CREATE ROLE bystander IN ROLE root; CREATE ROLE "Hidden"')
        server.rows("CREATE ROLE trapper LOGIN; CREATE ROLE group_office; GRANT CREATE ON SCHEMA public TO trapper")
        with server.session("trapper") as trapper:
            assert trapper.ask(TRAP) == ""
        mallory = hire(directory, "mallory", "Nurses")
        hostile = ["public", "none", "pg_monitor", "current_user", "group_Nurses", "bystander", "hidden", "x" * 64]
        harmless = ["a\"b'c;d", "e\nf%I\\", "Über", "{{ 7 * 7 }}", ":wanted", "g\x1bh"]
        for number, name in enumerate(hostile + harmless):
            hire(directory, name, "Doctors", cn="hostile %d" % number)
        for number, name in enumerate(["ann", "public", "pg_monitor", "none", 'O\'Hara "x"; DROP', "y" * 58]):
            found(directory, name, mallory, cn="hostile %d" % number)

        run = example("postgresql_roles.yml", **where)
        assert run.rc == 0, run.output
        assert "mallory" not in str([result["cmd"] for result in run.results if "cmd" in result]), (
            "an argument has an end"
        )
        groups = ["Administrators", "Doctors", "Nurses", "ann", "public", "pg_monitor", "none", 'O\'Hara "x"; DROP']
        users = ["ann", "bob", "cleo", "mallory", *harmless]
        theirs = {"group_" + name: False for name in groups} | dict.fromkeys(users, True)
        assert roles(server) == {json.dumps(name, ensure_ascii=False): login for name, login in (mine | theirs).items()}
        of_mallory = {group for group, user in grants(server) if user == '"mallory"'}
        assert of_mallory == quoted("group_" + name for name in groups[2:]), "and not of ann"
        assert ('"root"', '"bystander"') in grants(server) and not [
            user for _group, user in grants(server) if user == '"root"'
        ]
        assert server.rows("SELECT rolname FROM pg_roles WHERE rolsuper ORDER BY 1") == [["postgres"], ["root"]]
        for name in hostile:
            assert "left out: user %s, " % json.dumps(name).replace('"', '\\"') in run.output, name
        assert nothing_changed(example("postgresql_roles.yml", **where))

        # Cleo is gone, bob is no administrator any more, another ann comes in the place of ann. They are logged in, and
        # do what they can to stay. Zoe and zed come, but something else is at work on a role of zed's name.
        server.rows('CREATE TABLE secret (); GRANT SELECT ON secret TO "group_Administrators"')
        server.rows("GRANT ann TO mallory")  # until version 14, ann can do that herself
        server.rows('REVOKE "group_Nurses" FROM cleo')  # as by a run that was cut off then
        sessions = {name: server.session(name) for name in ("ann", "bob", "cleo", "mallory", "Über", "postgres")}
        with ExitStack() as stack:
            ann, bob, cleo, mallory, stays, other = map(stack.enter_context, sessions.values())
            assert mallory.ask("SET ROLE ann") == "" == ann.ask("SELECT")
            assert bob.ask('SET ROLE "group_Administrators"; SELECT * FROM secret') == ""
            assert cleo.ask("BEGIN; ALTER ROLE cleo PASSWORD 'x'") == "", "and holds what NOLOGIN waits for"
            assert other.ask("BEGIN; CREATE ROLE zed") == ""
            for name, group in (
                ("bob", "Administrators"),
                ("ann", "Administrators"),
                ("ann", "Nurses"),
                ("cleo", "Nurses"),
            ):
                leave(directory, group, name)
            for name in ("ann", "cleo"):
                directory.modify(f"dn: uid={name},ou=People,dc=example,dc=org\nchangetype: delete\n")
            for name in ("ann", "zed", "zoe"):
                hire(directory, name, "Nurses")
            run = example("postgresql_roles.yml", **where)
            assert run.rc != 0 and "CREATE ROLE zed" in run.results[-1]["msg"], run.output
            assert (
                "ann" not in run.results[-1]["msg"] and stays.ask("SELECT 1") == "1\n" and other.ask("ROLLBACK") == ""
            )
            for who in (ann, bob, cleo, mallory):
                assert "terminating connection due to administrator command" in who.ask("SELECT 1")
        assert 'left out: user \\"ann\\", a role that was not made for it has this name' in run.output
        theirs.update(ann=False, cleo=False, zoe=True)
        assert roles(server) == {json.dumps(name, ensure_ascii=False): login for name, login in (mine | theirs).items()}
        assert {user for _group, user in grants(server)} & {'"ann"', '"cleo"'} == set(), (
            "nor is the new ann the old one"
        )
        assert {group for group, user in grants(server) if user == '"bob"'} == {'"group_Doctors"'}
        assert {group for group, user in grants(server) if user == '"mallory"'} == of_mallory, "and not ann"
        assert ('"group_Nurses"', '"zoe"') in grants(server)

        # What the playbook's own options do not bring about.
        entries = {"users": [["max", "1"], ["Max", "2"], ["no key", None]], "groups": []}
        said = subprocess.run(
            ["psql", "-X", "-q", "-A", "-t", "-f", EXAMPLES / "postgresql_roles.sql", "-U", "postgres", "postgres"],
            env={**os.environ, "PGHOST": where["pghost"], "PGPORT": str(where["pgport"])},
            input=json.dumps(entries),
            capture_output=True,
            text=True,
            check=True,
        )
        assert [line for line in said.stdout.splitlines() if line.startswith("left out")] == [
            'left out: user "Max", several have this name',
            'left out: user "max", several have this name',
            'left out: user "no key", it has no stable key',
        ]
        assert not any(roles(server)[json.dumps(name, ensure_ascii=False)] for name in users), "all of them have left"
