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

CHECKOUT = Path(__file__).resolve().parents[2]
READER, SERVICE, VAULT = "Yarrow-4-bobbin-Lq27", "Clover-8-anvil-Rz61", "Fescue-2-trellis-Np94"
NAMES = ("ldap.example.org", "dc1.corp.example", "dc2.corp.example")
# What a file holds that people make with ansible-vault, by the page's name for it.
SECRETS = f"---\nvault_svc_sync_password: {SERVICE}\nvault_ldap_reader_password: {READER}\n"
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

    def write(self, path, text, mode=0o644):
        """Write a file of anna's; `path` is absolute on the machine."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)
        subprocess.run(["chown", "-R", "1000:1000", str(self.root / "home/anna")], check=True)


@pytest.fixture(scope="module")
def world():
    ca = CertificateAuthority(tempfile.mkdtemp(prefix="documented-"))
    certificate = ca.issue("server", ("localhost", "127.0.0.1", *NAMES))
    # The ports are those that pages speak of; the addresses are those of this process alone.
    addresses = ["127.%d.%d.%d" % (number, *divmod(os.getpid() % 65536, 256)) for number in (101, 102)]
    directory = Path(tempfile.mkdtemp(prefix="commands-", dir="/var/tmp"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, ca.directory)
        slapd = stack.enter_context(Slapd(ldif=OPENLDAP, ca=ca, certificate=certificate))
        domain = stack.enter_context(
            MisbehavingDirectory(active_directory(), ca=ca, certificate=certificate, logins={"CORP\\SVC-SYNC": SERVICE})
        )
        for address, server in zip(addresses, (slapd, domain)):
            stack.enter_context(answering_at(address, server.tls_port, 636))
        facts = stack.enter_context(booted(directory / "machine"))
        root = directory / "machine" / "root"
        with open(root / "etc/hosts", "a", encoding="ascii") as hosts:
            hosts.write("%s ldap.example.org\n%s dc1.corp.example dc2.corp.example\n" % tuple(addresses))
        world = World(
            root,
            Person(facts, "anna", "~/directory", ANSWERS),
            Person(facts, "root", "/home/anna/directory", ANSWERS),
        )
        prepare(world)
        certificates = root / "etc/ssl/certs"
        for name in ("corp-ca.pem", "ldap-ca.pem"):
            shutil.copy(ca.cert, certificates / name)
        # The host's bundle may be mounted there, for pip.
        bundle = "/etc/ssl/certs/ca-certificates.crt"
        more = f"cat {bundle} /etc/ssl/certs/ldap-ca.pem > /root/bundle && mount --bind /root/bundle {bundle}"
        world.superuser.types(more, at="/")
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
    looked = printed["ansible-playbook synchronize.yml --ask-vault-pass --check --diff"][0]
    first, again = printed["ansible-playbook synchronize.yml --ask-vault-pass"]
    assert "+user ada in All/Clinic" in looked and "changed=1" in first and "changed=0" in again
    world.anna.types("rm -r group_vars users.db")


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


# Their servers are not here: test_examples.py has them.
NEED_OTHERS = {"several_domains", "postgresql_roles"}
NOT_TYPED = {"pipeline_options", "execution-environment"}
IN_ANOTHER_PAGE = {"pipeline_dry_run", "pipeline_apply"}
OF_ROOT = {"linux_accounts"}


def commands_of(example):
    """What the first lines of an example say to type."""
    head = "\n".join(line for line in example.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
    return re.findall(r"^#   (ansible-playbook .*)$", re.sub(r"\\\n#\s*", "", head), re.MULTILINE)


@pytest.mark.apart
@pytest.mark.usefixtures("readme")
def test_examples(world):
    world.anna.types("test -e vault.yml || ansible-vault create vault.yml")
    examples = sorted((CHECKOUT / "docs" / "examples").glob("*.yml"))
    typed = {example.stem: commands_of(example) for example in examples}
    assert {name for name, commands in typed.items() if not commands} == NOT_TYPED
    credential = f"export USERSYNC_LOGIN=cn=reader,{lab.BASE} USERSYNC_PASSWORD={READER} && "
    typed["awx"] = [credential + command for command in typed["awx"]]
    printed = {}
    for name in ("two_groups", "awx", "local_attributes", "csv_export", "linux_accounts"):
        who = world.superuser if name in OF_ROOT else world.anna
        printed[name] = [who.types(command) for command in typed.pop(name)]
    assert set(typed) == NEED_OTHERS | NOT_TYPED | IN_ANOTHER_PAGE
    assert "ann" in (world.root / "home/anna/directory/users.csv").read_text(encoding="utf-8")
    dry, real = printed["linux_accounts"]
    assert "changed=1 " in dry and "Make accounts" in real
    accounts = (world.root / "etc/passwd").read_text(encoding="utf-8")
    assert "\neva.stone:" in accounts


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
    key = world.anna._facts["key"]
    world.write("/home/anna/.ssh/config", SSH % world.anna._facts["port"], 0o600)
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
