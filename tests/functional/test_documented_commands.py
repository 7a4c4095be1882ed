# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a page has people type is typed, as it stands there, on a Debian system that was never used.

A page writes a file by a block of code after a line that ends with its name: "Write `synchronize.yml`:". Commands with
``$`` are those of an ordinary user, commands with ``#`` are root's. The servers have the names that the pages use.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from support import lab, tree
from support.misbehaving import MisbehavingDirectory
from support.person import Person, answering_at, booted
from support.slapd import Slapd
from support.tls import CertificateAuthority
from support.wiki import serving

CHECKOUT = Path(__file__).resolve().parents[2]
READER, SERVICE, VAULT = "Yarrow-4-bobbin-Lq27", "Clover-8-anvil-Rz61", "Fescue-2-trellis-Np94"
NAMES = ("ldap.example.org", "dc1.corp.example", "dc2.corp.example")
# What a file holds that people make with ansible-vault, by the page's name for it.
SECRETS = "".join(
    [
        f"---\nvault_svc_sync_password: {SERVICE}\n",
        *(f"vault_{name}_password: {READER}\n" for name in ("ldap_reader", "north", "south")),
        f"vault_wiki_token: {READER}\n",
    ]
)
# How a person answers what programs ask.
ANSWERS = {"Vault password": VAULT, "New Vault password": VAULT, "Confirm New Vault password": VAULT}

OPENLDAP = "".join(
    [
        lab.ROOT,
        "dn: cn=reader,%s\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: reader\n" % lab.BASE,
        "userPassword: %s\n\n" % READER,
        lab.unit("people"),
        lab.unit("groups"),
        *(lab.person(name, f"mail: {name}@example.org") for name in ("ann", "bob", "eva.stone")),
        *(
            lab.group(name, *map(lab.dn_of, members), below="ou=groups,%s" % lab.BASE)
            for name, members in (
                ("Nurses", ("ann",)),
                ("Doctors", ("bob",)),
                ("Administrators", ("ann", "eva.stone")),
            )
        ),
    ]
)


def active_directory():
    """The domain that the pages call corp.example."""
    domain = tree.ActiveDirectory()
    for unit in ("Staff", "Groups"):
        domain.unit(unit)
    staff = [domain.user(name, "OU=Staff," + tree.DOMAIN) for name in ("ada", "ben")]
    domain.group("Nurses", "OU=Groups," + tree.DOMAIN, staff[0])
    domain.group("Doctors", "OU=Groups," + tree.DOMAIN, staff[1])
    return domain


def steps(page):
    """What a page has people do, in its order: ``("type", command)``, or the name of a file and what stands in it."""
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    found = []
    for before, language, block in re.findall(r"([^\n]*)\n\n```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        named = re.search(r"`([\w./-]+)`[^`]*:$", before)
        if language == "console":
            found += [("type", command) for command in re.findall(r"^[$#] .*", block, re.MULTILINE)]
        elif named:
            found.append((named.group(1), block))
    return found


class World(NamedTuple):
    """A machine with two accounts, beside two servers."""

    root: Path
    """Its files, as this machine sees them."""
    anna: Person
    """An ordinary user, who has Ansible."""
    superuser: Person
    ca: CertificateAuthority
    """Whom programs on the machine trust."""

    def write(self, path, text, mode=0o644):
        """Write a file of anna's; `path` is absolute on the machine."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)
        subprocess.run(["chown", "-R", "1000:1000", str(self.root / "home/anna")], check=True)

    def gives_address(self, names, number):
        """Have these names lead to an address of the loopback interface that is this process's alone; return it."""
        address = "127.%d.%d.%d" % (number, *divmod(os.getpid() % 65536, 256))
        with open(self.root / "etc/hosts", "a", encoding="ascii") as hosts:
            hosts.write(f"{address} {names}\n")
        return address


@pytest.fixture(scope="module")
def world():
    ca = CertificateAuthority(tempfile.mkdtemp(prefix="documented-"))
    certificate = ca.issue("server", ("localhost", "127.0.0.1", *NAMES))
    directory = Path(tempfile.mkdtemp(prefix="commands-", dir="/var/tmp"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, ca.directory)
        slapd = stack.enter_context(Slapd(ldif=OPENLDAP, ca=ca, certificate=certificate))
        domain = stack.enter_context(
            MisbehavingDirectory(active_directory(), ca=ca, certificate=certificate, logins={"CORP\\SVC-SYNC": SERVICE})
        )
        facts = stack.enter_context(booted(directory / "machine"))
        root = directory / "machine" / "root"
        world = World(
            root,
            Person(facts, "anna", "~/directory", ANSWERS),
            Person(facts, "root", "/home/anna/directory", ANSWERS),
            ca,
        )
        prepare(world)
        certificates = root / "etc/ssl/certs"
        for name in ("corp-ca.pem", "ldap-ca.pem"):
            shutil.copy(ca.cert, certificates / name)
        # The host's bundle may be mounted there, for pip.
        bundle = "/etc/ssl/certs/ca-certificates.crt"
        more = f"cat {bundle} /etc/ssl/certs/ldap-ca.pem > /root/bundle && mount --bind /root/bundle {bundle}"
        world.superuser.types(more, at="/")
        # The ports are those that pages speak of.
        for number, names, server in ((101, NAMES[0], slapd), (102, " ".join(NAMES[1:]), domain)):
            stack.enter_context(answering_at(world.gives_address(names, number), server.tls_port, 636))
        yield world
    shutil.rmtree(directory, ignore_errors=True)


def prepare(world):
    """Have anna with an Ansible of her own, and the checkout."""
    world.superuser.types(
        "useradd --create-home --shell /bin/bash --uid 1000 anna && cp -a /root/.ssh /home/anna/"
        " && apt-get -qq install -y --no-install-recommends python3-venv > /dev/null",
        at="/",
    )
    listed = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], cwd=CHECKOUT, capture_output=True, check=True
    ).stdout
    packed = subprocess.run(
        ["tar", "-c", "--null", "-T", "-"], cwd=CHECKOUT, input=listed, capture_output=True, check=True
    )
    target = world.root / "home/anna/directory"
    target.mkdir()
    subprocess.run(["tar", "-x", "-C", str(target)], input=packed.stdout, check=True)
    world.write("/home/anna/.profile", "PATH=$HOME/ansible/bin:$PATH\nexport EDITOR=$HOME/editor\n")
    (world.root / "root/.profile").write_text(
        "PATH=/home/anna/ansible/bin:$PATH\nexport ANSIBLE_COLLECTIONS_PATH=/home/anna/.ansible/collections\n",
        encoding="ascii",
    )
    world.write("/home/anna/editor", '#!/bin/sh\ncat > "$1" <<end\n%send\n' % SECRETS, 0o700)
    core = importlib.metadata.version("ansible-core")
    world.anna.types(f"python3 -m venv ansible && ansible/bin/pip install --quiet ansible-core=={core}", at="~")


def do(world, page):
    """Do what a page says; what each command printed."""
    printed = {}
    for what, text in steps(page):
        if what == "type":
            who, command = world.anna if text.startswith("$") else world.superuser, text[2:]
            if command not in ELSEWHERE:
                printed.setdefault(command, []).append(who.types(command))
        else:
            world.write("/home/anna/directory/" + what, text)
    return printed


# Tested by a session of their own.
ELSEWHERE = ("./quickstart", "tests/run")


@pytest.fixture(scope="module")
def readme(world):
    """README is what one begins with: what its commands printed."""
    printed = do(world, "README.md")
    # It ends with the file for OpenLDAP in the place of the other.
    for more in (" --check --diff", ""):
        printed["OpenLDAP" + more] = [world.anna.types("ansible-playbook synchronize.yml --ask-vault-pass" + more)]
    world.anna.types("rm -r group_vars users.db")
    return printed


def test_the_readme(readme):
    for name in ("ansible-playbook synchronize.yml --ask-vault-pass", "OpenLDAP"):
        assert "+user " in readme[name + " --check --diff"][0] and "changed=1" in readme[name][0]


@pytest.mark.usefixtures("readme")
def test_getting_started(world):
    printed = do(world, "docs/getting-started.md")
    assert "CN=Nurses,OU=Groups,DC=corp,DC=example" in printed["ansible-playbook look.yml --ask-vault-pass"][0]
    looked = printed["ansible-playbook synchronize.yml --ask-vault-pass --check --diff"][0]
    first, again = printed["ansible-playbook synchronize.yml --ask-vault-pass"]
    assert "+user ada in All/Clinic" in looked and "changed=1" in first and "changed=0" in again
    world.anna.types("rm -r group_vars users.db")


@pytest.mark.usefixtures("readme")
def test_active_directory(world):
    printed = do(world, "docs/active-directory.md")
    browsed, dry, real = (
        printed["ansible-playbook usersync.directory.%s -e @staff.yml -e @vault.yml --ask-vault-pass" % name][0]
        for name in ("browse", "dry_run", "synchronize")
    )
    assert "Nurses (group)  CN=Nurses,OU=Groups,DC=corp,DC=example" in browsed
    assert "Users: 2 created" in dry and "Users: 2 created" in real and "User groups: 2 created" in real
    world.anna.types("rm staff.yml vault.yml ~/users.db")


@pytest.mark.apart
@pytest.mark.usefixtures("readme")
def test_dry_runs(world):
    printed = do(world, "docs/dry-runs.md")
    dry, real = (
        printed["ansible-playbook usersync.directory.%s -e @staff.yml -e @vault.yml --ask-vault-pass" % name][0]
        for name in ("dry_run", "synchronize")
    )
    digest = re.search(r"Digest of the plan: `([^`]+)`", dry).group(1)
    assert digest in real and "Users: 3 created" in real
    assert (world.root / "home/anna/directory/artifacts/summary.html").exists()
    browsed = next(iter(do(world, "docs/playbooks.md").values()))
    assert "ou=people" in browsed[0]
    assert (world.root / "home/anna/directory/users.html").exists()


NOT_TYPED = {"pipeline_options", "execution-environment", "fleet", "fleet_inventory"}
IN_ANOTHER_PAGE = {"pipeline_dry_run", "pipeline_apply"}
OF_ANOTHER_COLLECTION = {"keycloak_users"}  # test_examples.py runs it, with a module of the tests in its place
AFTER_OTHERS = {"changes", "csv_export"}  # which look up what these have stored
OF_ROOT = {"linux_accounts"}
OF_POSTGRES = {"postgresql_roles"}


def commands_of(example):
    """What the first lines of an example say to type."""
    head = "\n".join(line for line in example.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
    return re.findall(r"^#   (ansible-playbook .*)$", re.sub(r"\\\n#\s*", "", head), re.MULTILINE)


@pytest.fixture
def two_domains(world):
    """The servers of north.example and south.example."""
    with ExitStack() as stack:
        for number, name in enumerate(("north", "south"), 103):
            host, suffix = f"ldap.{name}.example", f"dc={name},dc=example"
            ldif = OPENLDAP.replace(lab.BASE, suffix).replace("dc: example", f"dc: {name}")
            slapd = stack.enter_context(Slapd(suffix, ldif, ca=world.ca, certificate=world.ca.issue(name, (host,))))
            stack.enter_context(answering_at(world.gives_address(host, number), slapd.tls_port, 636))
        yield


@pytest.fixture
def wiki(world):
    """The service at wiki.example.com."""
    name = "wiki.example.com"
    certificate = world.ca.issue("wiki", (name,))
    with serving(READER, certificate) as wiki, answering_at(world.gives_address(name, 105), wiki.server_port, 443):
        yield wiki


@pytest.fixture
def postgres(world):
    """The superuser of a PostgreSQL that was installed just now, who has the checkout, too."""
    # apt on the machine knows of the packages only that were fetched for it. There are no directories for manuals, and
    # /etc/localtime is the host's.
    world.superuser.types(
        "rm -r /var/lib/apt/lists && apt-get -qq update && mkdir -p /usr/share/man/man1 /usr/share/man/man7"
        " && umount /etc/localtime"
        " && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends postgresql > /dev/null"
        # The machine shares the host's network, where another server may have the port.
        " && pg_conftool set listen_addresses '' && pg_conftool set port 5432 && systemctl restart postgresql@15-main",
        at="/",
    )
    home = "/var/lib/postgresql"
    world.superuser.types(
        f"cp -a /root/.ssh /root/.profile /home/anna/editor /home/anna/directory {home}"
        f" && rm -f {home}/directory/*.db {home}/directory/vault.yml"
        f" && echo 'export EDITOR=$HOME/editor' >> {home}/.profile && chown -R postgres: {home}"
        " && chmod -R o+rX /home/anna/.ansible",
        at="/",
    )
    person = Person(world.superuser.facts, "postgres", "~/directory", ANSWERS)
    person.types("ansible-vault create vault.yml")
    return person


@pytest.mark.apart
@pytest.mark.usefixtures("readme", "two_domains")
def test_examples(world, postgres, wiki):
    world.anna.types("test -e vault.yml || ansible-vault create vault.yml")
    examples = sorted((CHECKOUT / "docs" / "examples").glob("*.yml"))
    typed = {example.stem: commands_of(example) for example in examples}
    assert {name for name, commands in typed.items() if not commands} == NOT_TYPED
    credential = f"export USERSYNC_LOGIN=cn=reader,{lab.BASE} USERSYNC_PASSWORD={READER} && "
    typed["awx"] = [credential + command for command in typed["awx"]]
    typed["changes"] = ["export no_proxy='*' && " + command for command in typed["changes"]]
    typed_here = set(typed) - NOT_TYPED - IN_ANOTHER_PAGE - OF_ANOTHER_COLLECTION
    printed = {}
    for name in sorted(typed_here, key=lambda name: (name in AFTER_OTHERS, name)):
        who = world.superuser if name in OF_ROOT else postgres if name in OF_POSTGRES else world.anna
        printed[name] = [who.types(command) for command in typed[name]]
    assert "ann" in (world.root / "home/anna/directory/users.csv").read_text(encoding="utf-8")
    dry, real = printed["linux_accounts"]
    assert "changed=1 " in dry and "Make accounts" in real
    accounts = (world.root / "etc/passwd").read_text(encoding="utf-8")
    assert "\neva.stone:" in accounts
    assert "All/North, All/South" in printed["several_domains"][0]
    assert "left out" not in printed["postgresql_roles"][0]
    assert sorted(account["name"] for account in wiki.accounts.values()) == ["ann", "bob"]
    assert sorted(group for group, _key in wiki.members) == ["Doctors", "Nurses"]
    assert (
        postgres.types("psql -P pager=off -Atc 'SELECT pg_has_role($$ann$$, $$group_Nurses$$, $$member$$)' postgres")
        == "t\n"
    )


@pytest.mark.apart
@pytest.mark.usefixtures("readme")
def test_postgresql(world):
    do(world, "docs/postgresql.md")
    assert "psycopg" in world.anna.types("python3 -c 'import psycopg; print(psycopg)'")


# What those type who work on the collection: some of it takes an hour, and some of it is what runs this test.
OF_DEVELOPERS = {"CONTRIBUTING.md", "docs/testing.md", "docs/benchmarks.md", "docs/reliability.md"}


def commands_in(page):
    return {text for what, text in steps(page) if what == "type"}


def test_every_page_with_commands_is_typed():
    pages = [
        path.relative_to(CHECKOUT).as_posix()
        for where in ("*.md", "docs/*.md", "roles/*/*.md")
        for path in CHECKOUT.glob(where)
    ]
    here = Path(__file__).read_text(encoding="utf-8")
    typed = set(re.findall(r'do\(world, "([^"]+)"\)', here))
    assert typed | OF_DEVELOPERS == {page for page in pages if commands_in(page)}
    assert commands_in("docs/docsite/index.md") <= set().union(*map(commands_in, typed))


SSH = """\
Host sync.corp.example
    HostName 127.0.0.1
    Port %s
    User root
    StrictHostKeyChecking no
    LogLevel ERROR
"""


@pytest.mark.apart
@pytest.mark.usefixtures("readme")
def test_scheduling_and_operating(world):
    """The host sync.corp.example is the machine itself, which anna reaches as root: sudo has nothing to do."""
    key = world.anna.facts["key"]
    world.write("/home/anna/.ssh/config", SSH % world.anna.facts["port"], 0o600)
    world.write("/home/anna/.ssh/id_ed25519", Path(key).read_text(encoding="ascii"), 0o600)
    world.write("/home/anna/inventory", "[sync]\nsync.corp.example ansible_user=root\n")
    profile = (world.root / "home/anna/.profile").read_text(encoding="utf-8")
    world.write("/home/anna/.profile", profile + "export ANSIBLE_INVENTORY=$HOME/inventory\n")
    (world.root / "usr/local/bin/sudo").write_text('#!/bin/sh\nexec "$@"\n', encoding="ascii")
    (world.root / "usr/local/bin/sudo").chmod(0o755)
    shutil.copy(world.root / "etc/ssl/certs/corp-ca.pem", world.root / "home/anna/directory/corp-ca.pem")
    printed = do(world, "docs/scheduling.md")
    assert "staff: succeeded in" in printed["ssh sync.corp.example sudo user_synchronization status"][0]
    assert "user_synchronization-staff.timer" in " ".join(printed.popitem()[1])
    again = world.anna.types("ansible-playbook sync.yml --ask-vault-pass")
    assert "changed=0 " in again, "as the page says"
    do(world, "docs/operating.md")
