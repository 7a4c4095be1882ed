# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every task on every page, and in the documentation of the modules and plugins, runs: against a real Active Directory
(Samba) or a real OpenLDAP server, which stand in for the hosts that the pages name.

A page is one playbook here, and so is a module's documentation: what a task needs, an earlier one of its page has made.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from support import lab, scim_service
from support.postgresql import PostgreSQL
from support.slapd import Slapd

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
PLUGINS = sorted(
    path for kind in ("modules", "lookup", "filter") for path in (CHECKOUT / "plugins" / kind).glob("*.py")
)
# Their plays set up hosts. Here it is seen that the role takes what they give it; that it works, its own tests see.
ABOUT_THE_ROLE = [page for page in PAGES if page.name in ("scheduling.md", "operating.md")]

READER, SERVICE, STORE = "Bracken-3-pulley-Kt58", "Thistle-9-quarry-Bd53", "Sorrel-4-gantry-Wm27"

DIRECTORY = "".join(
    [
        lab.ROOT,
        "dn: cn=reader,%s\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: reader\n" % lab.BASE,
        "userPassword: %s\n\n" % READER,
        *(lab.unit(name) for name in ("people", "groups", "clinic", "posix")),
        lab.unit("trainees", f"ou=clinic,{lab.BASE}"),
        *(
            lab.person(name, f"mail: {name}@example.org", "departmentNumber: Wards")
            for name in ("ann", "bob", "cleo", "dora", "emil", "finn", "gina", "hans", "ines", "jana")
        ),
        lab.person("kim", "mail: kim@example.org", below=f"ou=clinic,{lab.BASE}"),
        lab.person("tina", "mail: tina@example.org", below=f"ou=trainees,ou=clinic,{lab.BASE}"),
        *(
            lab.group(name, *map(lab.dn_of, members)).replace(lab.PEOPLE, f"ou=groups,{lab.BASE}", 1)
            for name, members in (("Nurses", ("ann", "bob")), ("Doctors", ("cleo",)))
        ),
        lab.posix("olga", 1001, f"ou=posix,{lab.BASE}", "loginShell: /bin/bash"),
        f"dn: cn=staff,ou=posix,{lab.BASE}\nobjectClass: posixGroup\ncn: staff\ngidNumber: 1\nmemberUid: olga\n\n",
    ]
)


@pytest.fixture(scope="module")
def openldap():
    with Slapd(ldif=DIRECTORY) as server:
        yield server


@pytest.fixture(scope="module")
def domain(samba):
    """What the pages say of corp.example."""
    base = samba.base_dn
    for unit in (
        "OU=Staff,%s",
        "OU=Groups,%s",
        "OU=Trainees,OU=Staff,%s",
        "OU=Sites,%s",
        "OU=Service Accounts,OU=Sites,%s",
    ):
        samba.modify("dn: %s\nobjectClass: organizationalUnit\n" % (unit % base))
    samba.create_users(["ada", "ben", "cora"], "OU=Staff,%s" % base)
    samba.create_users(["tom"], "OU=Trainees,OU=Staff,%s" % base)
    samba.create_users(["site.one"], "OU=Sites,%s" % base)
    for group, members in (
        ("Nurses,OU=Groups", ("ada", "ben")),
        ("Doctors,OU=Groups", ("cora",)),
        ("All Staff,OU=Staff", ("ada", "ben", "cora")),
    ):
        name = "The %s" % group.partition(",")[0]  # other tests have groups of the same names
        samba.modify(
            "dn: CN=%s,%s\nobjectClass: group\nsAMAccountName: %s\n" % (group, base, name)
            + "".join("member: CN=%s,OU=Staff,%s\n" % (member, base) for member in members)
        )
    if not samba.search("(sAMAccountName=SVC-SYNC)", "cn"):
        samba.create_user("SVC-SYNC", SERVICE)
    return samba


@pytest.fixture(scope="module")
def postgresql(ca):
    with PostgreSQL(ca.issue("postgresql")) as server:
        server.run(f"CREATE ROLE usersync LOGIN PASSWORD '{STORE}'", "CREATE DATABASE directory OWNER usersync")
        yield server


@pytest.fixture
def database(request, ca, postgresql):
    """A URI in the place of that of a store in PostgreSQL: of a schema for this test alone."""
    schema = re.sub(r"\W", "_", request.node.name.lower())[:40]
    return f"postgresql://usersync@localhost:{postgresql.port}/directory?sslrootcert={ca.cert}&schema={schema}"


@pytest.fixture
def scim():
    """The address of a SCIM service."""
    with scim_service.serving(scim_service.ScimService()) as url:
        yield url


@pytest.fixture(scope="module")
def keytab(domain, tmp_path_factory):
    """A keytab of the account that pages name, and the principal it is for."""
    path = tmp_path_factory.mktemp("keytab") / "svc-sync.keytab"
    return path, domain.export_keytab("SVC-SYNC", path)


@pytest.fixture
def stand_in(request, openldap, domain, keytab, tmp_path):
    """Put the test's servers and files in the place of those that a text names."""
    keytab, principal = keytab

    def replace(text):
        text = text.replace("svc-sync@CORP.EXAMPLE", principal)
        if "postgresql://usersync@" in text:
            database = request.getfixturevalue("database")  # and what names another one is in another schema
            text = re.sub(r"postgresql://usersync@db[\w.,]+/(\w+)", lambda named: database + named[1], text)
        text = re.sub(r"https://\S+/scim/v2", lambda _found: request.getfixturevalue("scim"), text)
        for old, new in (
            ("srv:corp.example", "localhost"),
            ("dc1.corp.example", "localhost"),
            ("dc2.corp.example", "localhost"),
            ("sync.corp.example", "localhost"),
            ("ldap://ldap.example.org", openldap.ldap_url),
            ("ldap.example.org", "127.0.0.1:%d" % openldap.tls_port),
            ("/etc/ssl/certs/corp-ca.pem", str(domain.ca.cert)),
            ("/etc/ssl/certs/ldap-ca.pem", str(openldap.ca.cert)),
            ("/etc/user_synchronization/svc-sync.keytab", str(keytab)),
            ("/srv/users.db", str(tmp_path / "users.db")),
            ("/srv/users-again.db", str(tmp_path / "users-again.db")),
            ("/srv/export/", "%s/" % tmp_path),
            ("dest: summary.", "dest: %s/summary." % tmp_path),
        ):
            text = text.replace(old, new)
        return text

    return replace


@pytest.fixture
def play(stand_in, openldap, domain, run_playbook, tmp_path):
    """Run pieces of YAML as one playbook: tasks, plays, and options for a playbook with a full name."""
    variables = tmp_path / "variables.json"
    variables.write_text(
        json.dumps(
            {
                "vault_ldap_reader_password": READER,
                "vault_svc_sync_password": SERVICE,
                "vault_usersync_password": STORE,
                **{"vault_%s_scim_token" % name: scim_service.TOKEN for name in ("aws", "slack", "wiki")},
                "approved_digest": "{{ dry_run.plan_digest }}",
            }
        )
    )

    def run(texts):
        plays = []
        for text in map(stand_in, texts):
            block = yaml.safe_load(text)
            if isinstance(block, dict):
                assert set(block) == {"user_synchronization_options"}
                block["user_synchronization_options"]["store"] = str(tmp_path / "users.db")
                options = tmp_path / "options.json"
                options.write_text(json.dumps(block))
                done = run_playbook("usersync.directory.dry_run", "-e", "@%s" % variables, "-e", "@%s" % options)
                assert done.rc == 0, done.output
            elif "hosts" in block[0]:
                plays += block
            else:
                plays.append({"hosts": "localhost", "gather_facts": False, "tasks": block})
        if not plays:
            return
        for each in plays:
            each["module_defaults"] = {"group/usersync.directory.store": {"store": str(tmp_path / "users.db")}}
            for task in each["tasks"]:
                trust(task)
        playbook = tmp_path / "page.json"
        playbook.write_text(json.dumps(plays))
        env = {"KRB5_CONFIG": str(domain.krb5_config), "no_proxy": "*"}
        done = run_playbook(str(playbook), "-e", "@%s" % variables, env=env)
        assert done.rc == 0, done.output
        assert not any(secret in done.output for secret in (READER, SERVICE, STORE, scim_service.TOKEN))

    def trust(task):
        """What a node trusts by itself, as far as an example counts on that."""
        for options in task.values():
            if isinstance(options, dict) and "server" in options:
                options.setdefault("ca_path", str((openldap if options.get("use_ldap") else domain).ca.cert))

    return run


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Where the store is kept that `PREPARED` makes."""
    return tmp_path_factory.mktemp("filled") / "users.db"


@pytest.fixture
def fill(play, filled, tmp_path):
    """Have a store as pages speak of one that is there."""

    def copy():
        if filled.exists():
            shutil.copy(filled, tmp_path / "users.db")
        else:
            play([PREPARED])
            shutil.copy(tmp_path / "users.db", filled)

    return copy


def blocks(page, language):
    return re.findall(r"^```%s\n(.*?)^```" % language, page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "yaml") and page not in ABOUT_THE_ROLE], ids=lambda page: page.stem
)
def test_what_a_page_shows_runs(page, play, fill):
    texts = blocks(page, "yaml")
    if page.stem in ("using", "postgresql", "scim", "changes"):
        fill()
    if "approved_digest" in texts[0]:  # of a dry run that somebody has seen
        dry_run = yaml.safe_load(texts[0])[0]
        del dry_run["usersync.directory.user_synchronization"]["approved_plan"]
        texts.insert(0, yaml.safe_dump([dict(dry_run, check_mode=True, register="dry_run")]))
    play(texts)


def test_the_role_takes_what_the_pages_about_it_give_it(run_playbook):
    specification = CHECKOUT / "roles" / "user_synchronization" / "meta" / "argument_specs.yml"
    arguments = yaml.safe_load(specification.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
    texts = [re.sub(r'"\{\{.*?\}\}"', "text", text) for page in ABOUT_THE_ROLE for text in blocks(page, "yaml")]
    plays = [play for text in texts for play in yaml.safe_load(text) if isinstance(play, dict) and "roles" in play]
    assert len(plays) > 3
    run = run_playbook(
        [
            {
                "name": play["name"],
                "ansible.builtin.validate_argument_spec": {
                    "argument_spec": arguments,
                    "provided_arguments": play.get("vars", {}),
                },
            }
            for play in plays
        ]
    )
    assert run.rc == 0 and len(run.results) == len(plays), run.output


def examples(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXAMPLES":
            return ast.literal_eval(node.value)
    raise AssertionError("%s has no examples" % path)


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.stem)
def test_what_the_documentation_of_a_plugin_shows_runs(path, play, fill):
    text = examples(path)
    if "user_synchronization:" not in text:  # of the store they speak as of one that is there
        fill()
    play([text])


PREPARED = f"""
- name: Have users and user groups
  usersync.directory.user_synchronization:
    name: staff
    user_group: All/Staff
    server: ldap.example.org
    use_ldap: true
    login: cn=reader,{lab.BASE}
    password: "{{{{ vault_ldap_reader_password }}}}"
    distinguished_name: ["ou=people,{lab.BASE}", "ou=groups,{lab.BASE}"]
- name: Have users of the domain, too
  usersync.directory.user:
    name: agnes
    user_group: All/Staff
"""


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "console")], ids=lambda page: page.stem)
def test_what_a_page_has_people_type_is_there(page):
    for command in re.findall(r"^[$#] (.*)", "\n".join(blocks(page, "console")), re.MULTILINE):
        for path in re.findall(r"(?<![\w/])(?:docs|tests|\./)[\w./-]*", command):
            assert (CHECKOUT / path).exists(), command
        for playbook in re.findall(r"usersync\.directory\.(\w+)", command):
            if command.startswith("ansible-playbook"):
                assert (CHECKOUT / "playbooks" / (playbook + ".yml")).exists(), command
            elif command.startswith("ansible-doc"):
                assert any(path.stem == playbook for path in PLUGINS), command


def test_the_messages_of_the_page_on_troubleshooting_are_those_of_the_code():
    code = " ".join(
        re.sub(r'"\s*\n\s*"', "", path.read_text(encoding="utf-8")) for path in (CHECKOUT / "plugins").rglob("*.py")
    )
    page = (CHECKOUT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    messages = [
        message for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for message in re.findall(r"`([^`]+)`", row)
    ]
    assert len(messages) > 40
    assert [message for message in messages if message not in code] == []
