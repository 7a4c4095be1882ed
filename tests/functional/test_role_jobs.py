# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs as the role writes them, run by the program that it installs.

What a booted system does is in extensions/molecule.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from support import provisioned, scim_service
from support.role_programs import FILES, SHARED, load

pytestmark = pytest.mark.usefixtures("no_proxy")

ROLE = FILES.parent
KEY = "Fen-2-wicket-Rd38"
# What looks like a template in a secret is none.
TOKENS = {"wiki": "Sedge-{{ 3 }}-wicket-Rd38", "chat": "Rush-6-wicket-Rd38"}
BASE = "ou=role-jobs,dc=example,dc=org"
NURSES = f"cn=nurses,ou=groups,{BASE}"
SECRETS = {"password", "store_password", "token"}
GIVEN = b"user_synchronization_environment=north"
PEOPLE = [f"joiner{number:02d}" for number in range(30)]


# --- The role's part


class Host:
    """A directory in which everything is that the role would have put on a host, and what it makes of jobs."""

    def __init__(self, directory, run_playbook, collections_path):
        self.directory, self._run_playbook = directory, run_playbook
        self.programs = directory / "programs"
        shutil.copytree(FILES, self.programs)
        (self.programs / "callback").mkdir()
        shutil.copy(FILES / "record.py", self.programs / "callback")
        for name in ("_core_dumps.py", "_printable.py"):
            shutil.copy(SHARED / name, self.programs)
        for name in ("config", "state/status", "state/metrics", "log", "credentials"):
            (directory / name).mkdir(parents=True)
        (directory / "credentials/vault-key").write_text(KEY, encoding="ascii")
        self._collections = str(collections_path)

    def _play(self, tasks, jobs, **more):
        given = {
            **more,
            "role_path": str(ROLE),
            "user_synchronization_jobs": jobs,
            "user_synchronization_scheduler": "none",
            "user_synchronization_vault_password": KEY,
            "user_synchronization_directory": str(self.programs),
            "user_synchronization_config_directory": str(self.directory / "config"),
            "user_synchronization_state_directory": str(self.directory / "state"),
            "user_synchronization_log_directory": str(self.directory / "log"),
            "__user_synchronization_collection_directory": self._collections,
            "__user_synchronization_venv": sys.prefix,
        }
        (self.directory / "given.json").write_text(json.dumps(given), encoding="utf-8")
        files = [ROLE / "defaults/main.yml", ROLE / "vars/main.yml", self.directory / "given.json"]
        return self._run_playbook(tasks, vars_files=list(map(str, files)))

    def _each(self, jobs, tasks):
        return [{**task, "vars": {"__user_synchronization_name": job["name"]}} for job in jobs for task in tasks]

    def set_up(self, *jobs, **more):
        """Judge the jobs and write their files, as the role does; return their secrets, by job."""
        judge = {"ansible.builtin.include_tasks": str(ROLE / "tasks/preflight_job.yml")}
        template = {
            "ansible.builtin.template": {
                "src": str(ROLE / "templates/{{ item | basename }}.j2"),
                "dest": "{{ item }}",
            },
            "loop": "{{ __user_synchronization_job_files + [user_synchronization_config_directory ~ '/ansible.cfg'] }}",
        }
        secrets = {"ansible.builtin.set_fact": {"secrets": "{{ __user_synchronization_secrets | to_json }}"}}
        for job in jobs:
            (self.directory / "config/jobs" / job["name"]).mkdir(parents=True, exist_ok=True)
        done = self._play(self._each(jobs, [judge, template, secrets]), jobs, **more)
        assert done.rc == 0, done.output
        found = [
            json.loads(each["ansible_facts"]["secrets"])
            for each in done.results
            if "secrets" in each.get("ansible_facts", {})
        ]
        return dict(zip([job["name"] for job in jobs], found))

    def refusal(self, job):
        """Why the role does not take a job."""
        done = self._play(
            self._each([job], [{"ansible.builtin.include_tasks": str(ROLE / "tasks/preflight_job.yml")}]), [job]
        )
        assert done.rc != 0, done.output
        return done.results[-1]["msg"], done.output

    def job_file(self, job, name):
        return (self.directory / "config/jobs" / job / name).read_text(encoding="utf-8")


@pytest.fixture
def host(tmp_path, run_playbook, collections_path):
    return Host(tmp_path / "host", run_playbook, collections_path)


# --- The program's part


@pytest.fixture
def program(host, monkeypatch):
    """The program as the user of the runs calls it. What a run leaves to signals is put back."""
    program = load("user_synchronization")
    monkeypatch.setattr(program, "PROGRAMS", host.programs)
    runtime = tempfile.TemporaryDirectory(prefix="role-")  # the directory of a test may be too long for a socket
    monkeypatch.setenv("RUNTIME_DIRECTORY", runtime.name)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(host.directory / "credentials"))
    told_to_end = signal.getsignal(signal.SIGTERM)
    with runtime:
        yield program
    signal.signal(signal.SIGTERM, told_to_end)


@pytest.fixture
def keep(host, monkeypatch):
    """Encrypt secrets as the role does."""
    vault = load("vault")
    monkeypatch.setattr(vault, "encrypting", lambda: False)
    vault.keep_key(host.directory / "config", KEY, renew=False, check=False)
    group = grp.getgrgid(os.getgid()).gr_name
    return lambda job, secrets: vault.keep_secrets(host.directory / "config", job, secrets, group, check=False)


@pytest.fixture
def people(slapd):
    """Thirty-two people and a group of two of them, in the directory."""
    names = ["ann", "bob", *PEOPLE]
    users = [
        f"dn: uid={name},ou=people,{BASE}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\nsn: {name}\n"
        for name in names
    ]
    units = [f"dn: {dn}\nobjectClass: organizationalUnit\n" for dn in (BASE, f"ou=people,{BASE}", f"ou=groups,{BASE}")]
    nurses = [f"dn: {NURSES}\nobjectClass: groupOfNames\ncn: nurses\n" + _members(["ann", "bob"])]
    slapd.modify("\n".join([*units, *users, *nurses]))
    return slapd


def _members(names):
    return "".join(f"member: uid={name},ou=people,{BASE}\n" for name in names)


def becomes(slapd, names):
    slapd.modify(f"dn: {NURSES}\nchangetype: modify\nreplace: member\n" + _members(names))


def accounts(service):
    return {each["userName"]: each["active"] for each in service.users.values()}


def in_a_play(text):
    """The text as a person writes it who wants no template."""
    return text.replace("{{", "{{ '{{' }}")


def looks_at_processes(seen, secrets):
    """At the first request of a provisioning: what each process was started with."""

    def fault(_request, answer):
        for process in () if seen else filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):  # it has ended
                text = b"".join(Path("/proc", process, name).read_bytes() for name in ("cmdline", "environ"))
                secret = any(each.encode() in text for each in secrets)
                seen.append(text if secret else b"what is given" if GIVEN in text else b"nothing")
        return answer

    return fault


def text_of(directory):
    """Everything in the files below the directory, but for the programs."""
    files = [path for name in ("config", "state", "log") for path in (directory / name).rglob("*") if path.is_file()]
    return b"\n".join(path.read_bytes() for path in files)


def test_from_the_directory_to_two_services(host, program, keep, people, capfd):
    with provisioned.served() as wiki, provisioned.served() as chat:
        services = {"wiki": wiki, "chat": chat}
        for name, service in services.items():
            service.token = TOKENS[name]
        always = {"user_groups": ["All/Staff/nurses"], "removal_limits": "100%"}
        job = {
            "name": "staff",
            "time_limit": 300,
            "options": {
                "user_group": "All/Staff",
                "server": people.ldaps_url,
                "use_ldap": True,
                "ca_path": str(people.ca.cert),
                "login": people.admin_dn,
                "password": people.password,
                "distinguished_name": [f"ou=people,{BASE}", f"ou=groups,{BASE}"],
                "removal_limits": "100%",
            },
            "provisioning": [
                {
                    **always,
                    "name": "wiki",
                    "url": wiki.url,
                    "token": in_a_play(TOKENS["wiki"]),
                    "removal_limits": {"users": 1},
                },
                {**always, "name": "chat", "url": chat.url, "token": TOKENS["chat"], "request_limit": 25},
            ],
        }
        kept = host.set_up(job)["staff"]
        assert list(kept.values()) == [people.password, TOKENS["wiki"], TOKENS["chat"]]
        assert keep("staff", kept) is True
        settings = program.Settings(
            "nobody",
            *(str(host.directory / each) for each in ("config", "state", "log")),
            sys.prefix,
            dict([GIVEN.decode().split("=")]),
        )
        given = json.loads(host.job_file("staff", "job.json"))

        def run():
            capfd.readouterr()
            rc = program.run(settings, "staff", given, wait=False, aloud=True)
            record = program.read_status(settings, "staff")
            assert rc == (record["outcome"] != "succeeded")
            assert capfd.readouterr().out.endswith(program.sentence(record) + "\n")
            return record, [each["outcome"] for each in record["provisioning"]]

        # A dry run before the first run: nobody is in the store yet, which is no reason to fail.
        assert program.call_ansible(settings, "staff", dry=True) == 0, capfd.readouterr().out
        assert accounts(wiki) == accounts(chat) == {}

        seen = []
        wiki.fault = looks_at_processes(seen, list(TOKENS.values()))
        record, outcomes = run()
        wiki.fault = scim_service.behave
        assert set(seen) == {b"nothing", b"what is given"}
        assert outcomes == ["succeeded", "succeeded"]
        assert re.fullmatch(
            "users: .*; memberships: 2 added. wiki: accounts: 2 created; .* chat: accounts: 2 created; .*",
            record["message"],
        )
        assert accounts(wiki) == accounts(chat) == {"ann": True, "bob": True}

        # One service cannot be used: bob loses his account in the other one.
        becomes(people, ["ann"])
        wiki.fault = scim_service.says(401)
        record, outcomes = run()
        assert outcomes == ["failed", "succeeded"]
        assert record["outcome"] == "failed" and record["message"].startswith("wiki: ")
        assert (accounts(wiki), accounts(chat)) == ({"ann": True, "bob": True}, {"ann": True, "bob": False})
        wiki.fault = scim_service.behave

        # A limit refuses one, and the other has more to do than its limit of requests lets it: it is continued.
        becomes(people, PEOPLE)
        record, outcomes = run()
        assert outcomes == ["refused", "succeeded"]
        assert record["outcome"] == "refused" and record["message"].startswith("wiki: ")
        assert accounts(wiki) == {"ann": True, "bob": True}
        left = record["provisioning"][1]["left"]
        assert left > 0 and "left: %d" % left in record["provisioning"][1]["message"]
        metrics = (host.directory / "state/metrics/user_synchronization_staff.prom").read_text(encoding="utf-8")
        assert 'user_synchronization_provisioning_left{name="staff",provisioning="chat"} %d\n' % left in metrics

        assert [
            secret for secret in (people.password, *TOKENS.values()) if secret.encode() in text_of(host.directory)
        ] == []


def test_secrets_in_a_vault_file_are_named_by_their_variables(host, tmp_path):
    from ansible.parsing.vault import VaultLib, VaultSecret

    held = dict.fromkeys(("reader", "database", "token", "basic"), "Moss-4")
    secret = VaultSecret(KEY.encode())
    vault_file = tmp_path / "vault.yml"
    vault_file.write_bytes(VaultLib([("x", secret)]).encrypt(json.dumps(held), secret, vault_id="x"))
    given = {
        **job(store="postgresql://usersync@db.example.org/directory"),
        "vault_file": str(vault_file),
        "vault_variable": "reader",
        "vault_store_variable": "database",
        "provisioning": [
            {"name": "shop", "client_cert": "/etc/shop.pem"},
            {"name": "wiki", "vault_variable": "token"},
            {"name": "chat", "username": "ann", "vault_variable": "basic"},
        ],
    }
    assert host.set_up(given, user_synchronization_report=True) == {"staff": {}}
    tasks = yaml.safe_load(host.job_file("staff", "playbook.yml"))[0]["tasks"]
    said = [next(value for name, value in task.items() if name.startswith("usersync.")) for task in tasks[:-1]]
    store = {"store_password": "{{ database | string }}"}
    expected = [{"password": "{{ reader | string }}", **store}, store]
    expected += [store, {"token": "{{ token | string }}", **store}, {"password": "{{ basic | string }}", **store}]
    assert [{name: each[name] for name in sorted(SECRETS & set(each))} for each in said] == expected
    options, provisioning = re.findall(
        r"^  ([\[{].*?)^  [\]}]$", host.job_file("staff", "variables.yml"), re.DOTALL | re.MULTILINE
    )
    assert '"vault_variable"' not in options + provisioning
    assert provisioning.count('"store": "postgresql://usersync@db.example.org/directory"') == 3

    given["provisioning"][1]["vault_variable"] = "tolken"
    said, _output = host.refusal(given)
    assert "vault_file: user_synchronization_vault_password does not open" in said and "tolken" in said


def test_a_secret_has_the_name_of_its_service_wherever_that_stands(host):
    """A run between two tasks of a play, with the new list and the old vault, sends no token to another service."""
    wiki, chat = (
        {"name": name, "url": f"https://{name}.example.org", "token": in_a_play(TOKENS[name])} for name in TOKENS
    )
    before = host.set_up({**job(), "provisioning": [wiki]})["staff"]
    after = host.set_up({**job(), "provisioning": [chat, wiki]})["staff"]
    assert before.items() < after.items()
    moved = host.set_up({**job(), "provisioning": [{**wiki, "url": "https://other.example.org"}]})["staff"]
    assert moved.keys().isdisjoint(before), "an address of somebody else is another service"


# --- Jobs that the role does not take


def job(**options):
    return {"name": "staff", "options": {"server": "ldap.example.org", "login": "x", **options}}


def test_a_login_in_an_address_is_refused_and_not_printed(host):
    for url in ("https://ann:Moss-4@wiki.example.org", "ann:Moss-4?@wiki.example.org"):
        said, output = host.refusal({**job(), "provisioning": [{"name": "wiki", "url": url}]})
        assert said.startswith("provisioning: a url of job staff has a login in it: take it out")
        assert "Moss-4" not in output
    for uri in (
        "postgresql://ann:Moss-4@db.example.org/x",
        "postgresql://ann:?Moss-4@db.example.org/x",
        "postgresql://ann@corp:4Moss-4@db.example.org/x",
        "postgres://ann@db/x?sslmode=require&p%61ssword=Moss-4",
    ):
        said, output = host.refusal(job(store=uri))
        assert said.startswith("options.store: the URI of job staff has a password in it: take it out")
        assert "Moss-4" not in output


@pytest.mark.parametrize(
    "given, because",
    [
        (job(store="mysql://db/x"), "options.store: it will not do in job staff: write an absolute path"),
        ({**job(), "provisioning": [{"name": "wiki"}, {"name": "wiki"}]}, "provisioning: two have the same name"),
        ({**job(), "vault_file": "x.yml", "vault_variable": "a b"}, "vault_variable: 'a b' will not do in job staff"),
        (
            {**job(), "vault_file": "x.yml", "provisioning": [{"name": "wiki", "token": "Moss-4"}]},
            "vault_file: job staff has a password or a token in its options, too",
        ),
        (
            {**job(), "vault_file": "x.yml", "vault_variable": "user_synchronization_secrets"},
            "vault_variable: 'user_synchronization_secrets' will not do in job staff",
        ),
        (
            {**job(), "provisioning": [{"name": "wiki", "vault_variable": "token"}]},
            "vault_file: job staff names a variable of a vault file, and no file",
        ),
    ],
    ids=["no store", "one name", "no variable", "a token beside a vault file", "a name that is taken", "no vault file"],
)
def test_what_the_role_refuses(host, given, because):
    assert host.refusal(given)[0].startswith(because)
