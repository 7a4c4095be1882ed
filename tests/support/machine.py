# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole Debian system, booted by systemd-nspawn and reached by SSH on loopback, with servers beside it. Needs root.

    python -m support.machine root               make the system's files, unless they are there
    python -m support.machine start DIRECTORY    boot a copy; DIRECTORY/facts.json says how to reach it
    python -m support.machine stop DIRECTORY     shut it down and remove everything

Beside it are a slapd, and, if USERSYNC_MACHINE_HAS in the environment is ``services``, a PostgreSQL server and a SCIM
service. The machine shares the network with the host, and what the host knows about reaching package registries. Shut
down from within, it stays off as long as DIRECTORY/off exists, and boots again when that is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import inspect
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .postgresql import PostgreSQL
from .process import Server, find_program, free_port, run
from .scim_service import ScimService, serving
from .slapd import Slapd
from .tls import CertificateAuthority

PACKAGES = "mmdebstrap debian-archive-keyring systemd-container openssh-client"
SUITE = "bookworm"
# What a minimal server has. What the role needs beyond that, it must install.
INCLUDED = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "python3",
    "python3-apt",
    "ca-certificates",
    "iproute2",
    "procps",
    "prometheus-node-exporter",
)
# What the scenarios install, fetched beforehand: installing it takes no network. apt on the machine knows of no others.
FETCHED = ("python3-venv", "cron")
# A machine that nobody stops ends by itself, after so many seconds.
LIFETIME = 3600
CACHE = Path(os.environ.get("USERSYNC_TEST_CACHE") or Path.home() / ".cache" / "usersync-tests")

READER = ("cn=reader,dc=example,dc=org", "Sedge-3-lantern-Wy58")
STORE_PASSWORD, SERVICE_TOKEN = "Loam-8-lantern-Wy58", "Teal-5-lantern-Wy58"
COMPANY = (
    f"""\
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: {READER[0]}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: {READER[1]}

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups

"""
    + "\n".join(
        f"""\
dn: uid={name},ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: {name}
cn: {name.capitalize()}
sn: {name.capitalize()}
"""
        for name in ("anna", "bert", "cleo")
    )
    + """
dn: cn=nurses,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: nurses
member: uid=anna,ou=people,dc=example,dc=org
member: uid=bert,ou=people,dc=example,dc=org
"""
)


# --- The files of the system


def make_root() -> Path:
    """Return the directory of a Debian system that was never booted, made once for each recipe."""
    how = [inspect.getsource(function) for function in (_install, _fetch, _forget_who_it_is)]
    recipe = hashlib.sha256("\n".join([SUITE, *INCLUDED, *FETCHED, *how]).encode()).hexdigest()[:12]
    root = CACHE / f"root-{SUITE}-{recipe}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "root.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            unfinished = root.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            _install(unfinished)
            _fetch(unfinished)
            _forget_who_it_is(unfinished)
            unfinished.rename(root)
    return root


def _install(root: Path) -> None:
    """Make the files of a minimal system. mmdebstrap takes half of debootstrap's time: it waits for no disk."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8") as settings:
        settings.write(_apt_settings())
        settings.flush()
        command = [find_program("mmdebstrap", PACKAGES), "--quiet", "--variant=apt", f"--include={','.join(INCLUDED)}"]
        # Nobody reads there, and each machine is a copy of it.
        command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")]
        # The settings stay, and so do the lists of packages.
        command += [f"--aptopt={settings.name}", "--skip=cleanup/apt/lists"]
        # Settings of this Python would be those of the system's, which compiles its modules when they are installed.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        run([*command, SUITE, str(root), *_mirror()], seconds=3000, env=environment)
    shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")


def _fetch(root: Path) -> None:
    """Put packages into apt's cache, and have apt know of these only: it reads its lists again and again."""
    apt = ["chroot", str(root), "apt-get", "-qq", "-o", "APT::Sandbox::User=root", "--no-install-recommends"]
    run([*apt, "--download-only", "--yes", "install", *FETCHED])
    known = {path.name.split("_")[0] for path in (root / "var/cache/apt/archives").glob("*.deb")}
    known.update(run(["chroot", str(root), "dpkg-query", "--show", "--showformat=${Package}\n"]).split())
    for listed in (root / "var/lib/apt/lists").glob("*_Packages"):
        entries = listed.read_text(encoding="utf-8").split("\n\n")
        kept = [entry for entry in entries if entry.partition("\n")[0].removeprefix("Package: ") in known]
        listed.write_text("\n\n".join(kept) + "\n", encoding="utf-8")
    for cache in (root / "var/cache/apt").glob("*.bin"):
        cache.unlink()


def _forget_who_it_is(root: Path) -> None:
    """Leave nothing that belongs to one machine: this is to become many."""
    run(["systemctl", f"--root={root}", "mask", "systemd-networkd.service", "systemd-resolved.service"])
    # All machines share the port that it would take.
    run(["systemctl", f"--root={root}", "disable", "prometheus-node-exporter.service"])
    (root / "etc/machine-id").write_text("", encoding="ascii")
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()


def _mirror() -> list[str]:
    """Where the host gets this release from; nothing, for mmdebstrap's own choice, where it is another one."""
    listed = run(["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"])
    return [line.split()[1] for line in listed.splitlines() if line.split()[0] == SUITE][:1]


def _apt_settings() -> str:
    """How the host reaches its packages: proxies, certificates, time-outs."""
    lines = run(["apt-config", "dump"]).splitlines()
    return "\n".join(line for line in lines if re.match(r'Acquire::(https?|Retries)\b.*"[^"]+";', line)) + "\n"


# --- What the host knows about registries


def pip_settings() -> tuple[str, list[Path]]:
    """Return a pip.conf that says what the host's pip is told, and the files and directories that it names."""
    lines, named = ["[global]"], []
    for line in run([sys.executable, "-m", "pip", "config", "list"]).splitlines():
        match = re.fullmatch(r"(?:global|install|:env:)\.([a-z-]+)='(.*)'", line)
        if match and match.group(1) not in ("target", "prefix", "user", "require-virtualenv", "cache-dir"):
            lines.append(f"{match.group(1)} = {match.group(2)}")
            named += [Path(word) for word in match.group(2).split() if word.startswith("/")]
            # An index in the file system refers to files beside it.
            named += [Path(word[7:]).parent for word in match.group(2).split() if word.startswith("file:///")]
    # A setting that is both in a file and in the environment is listed twice, and the latter wins.
    settings = {line.partition(" = ")[0]: line for line in lines}
    return "\n".join(settings.values()) + "\n", [path for path in dict.fromkeys(named) if path.exists()]


# --- The machine


def keep(directory: Path) -> None:
    """Run the machine and the servers beside it until told to end."""
    signal.signal(signal.SIGTERM, lambda *dummy: sys.exit())
    signal.signal(signal.SIGALRM, lambda *dummy: sys.exit("nobody stopped this machine"))
    signal.alarm(LIFETIME)
    root = directory / "root"
    run(["cp", "-a", "--reflink=auto", str(make_root()), str(root)])
    port = free_port()
    key = _prepare(root, directory, port)
    with (
        _cgroup_of_its_own(f"usersync-{port}"),
        Slapd(ldif=COMPANY, anonymous_read=True) as slapd,
        _services(slapd.ca) as services,
    ):
        (root / "etc/ssl/directory-ca.pem").write_bytes(slapd.ca.cert.read_bytes())
        client = slapd.ca.issue("synchronizer", client=True)
        machine = _boot(root, directory, port)
        try:
            write(
                directory / "facts.json",
                json.dumps(
                    {
                        "port": port,
                        "key": str(key),
                        "ldaps_url": slapd.ldaps_url,
                        "ldapi_url": slapd.ldapi_url,
                        "admin_dn": slapd.admin_dn,
                        "admin_password_file": str(slapd.directory / "password"),
                        "slapd_pid": slapd._server.process.pid,
                        "reader_dn": READER[0],
                        "reader_password": READER[1],
                        "client_cert": str(client.cert),
                        "client_key": str(client.key),
                        "spare_ports": [free_port(), free_port()],
                        "off": str(directory / "off"),
                        **services,
                    }
                ),
            )
            # Who removes the directory has no use for the machine any more.
            while (directory / "keeper.pid").exists():
                if machine.process.poll() is not None and not (directory / "off").exists():
                    machine = _boot(root, directory, port)
                time.sleep(0.2)
        finally:
            machine.stop()


@contextlib.contextmanager
def _services(ca: CertificateAuthority) -> Iterator[dict[str, str]]:
    """Yield what is known of a database for a store and of a SCIM service, if the machine is to have them."""
    if os.environ.get("USERSYNC_MACHINE_HAS") != "services":
        yield {}
        return
    service = ScimService()
    service.token = SERVICE_TOKEN
    with PostgreSQL(ca.issue("database")) as database, serving(service, ca.issue("service")) as url:
        database.run(
            f"CREATE ROLE usersync LOGIN PASSWORD '{STORE_PASSWORD}'",
            "CREATE SCHEMA usersync AUTHORIZATION usersync",
        )
        yield {
            "service_url": url,
            "service_token": SERVICE_TOKEN,
            "ca": str(ca.cert),
            "store": f"postgresql://usersync@127.0.0.1:{database.port}/postgres?sslrootcert=/etc/ssl/directory-ca.pem",
            "store_password": STORE_PASSWORD,
            "database_socket": str(database.socket),
            "database_port": str(database.port),
        }


@contextlib.contextmanager
def _cgroup_of_its_own(name: str) -> Iterator[None]:
    """Be in a cgroup of this name: systemd-nspawn makes the machine's below that of whoever starts it.

    If there were one for all machines, each systemd would find processes of the others in the cgroups of its own
    services. They have the number 0 there: signals to a service failed with "Input/output error". It may also remove a
    cgroup that another one has made in the moment before a service is put into it: starts failed now and then.
    """
    places = [place / name for place in _cgroups()]
    for place in places:
        place.mkdir(exist_ok=True)  # one that was killed leaves it
        (place / "cgroup.procs").write_text("0", encoding="ascii")  # this process: cgroups(7)
    try:
        yield
    finally:
        for place in places:
            (place.parent / "cgroup.procs").write_text("0", encoding="ascii")
            for directory, _directories, _files in os.walk(place, topdown=False):
                with contextlib.suppress(OSError):  # of a process that has not ended yet
                    os.rmdir(directory)


def _cgroups() -> Iterator[Path]:
    """The cgroups of this process in the hierarchies that systemd uses: one of its own, cgroup v2, or both."""
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _number, controllers, path = line.split(":", 2)
        for top in {"name=systemd": ["systemd"], "": ["unified", "."]}.get(controllers, []):
            place = Path("/sys/fs/cgroup", top, path.lstrip("/"))
            if (place / "cgroup.procs").exists():
                yield place
                break


def _prepare(root: Path, directory: Path, port: int) -> Path:
    """Give the system its identity: keys, the port of its SSH server, the host's ways to registries."""
    # apt's lists are as new as they have to be: the role does not fetch them again.
    os.utime(root / "var/lib/apt/lists")
    key = directory / "key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(f"{key}.pub", root / "root/.ssh/authorized_keys")
    shutil.copyfile(Path(__file__).parent / "faster/sitecustomize.py", root / "etc/python3.11/sitecustomize.py")
    settings = f"ListenAddress 127.0.0.1\nPort {port}\n"
    (root / "etc/ssh/sshd_config.d/machine.conf").write_text(settings, encoding="ascii")
    # This one alone: making one for RSA takes a hundred times as long.
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / "etc/ssh/ssh_host_ed25519_key")])
    (root / "etc/pip.conf").write_text(pip_settings()[0], encoding="utf-8")
    proxies = [item for item in os.environ.items() if re.fullmatch(r"(?i)(https?|no|all)_proxy", item[0])]
    settings = "".join(f'{name}="{value}"\n' for name, value in proxies)
    (root / "etc/environment").write_text(settings, encoding="utf-8")
    return key


def _boot(root: Path, directory: Path, port: int) -> Server:
    pip_cache = CACHE / "pip"
    pip_cache.mkdir(exist_ok=True)
    machine = Server(
        [
            find_program("systemd-nspawn", PACKAGES),
            "--quiet",
            f"--directory={root}",
            "--boot",
            "--register=no",
            "--keep-unit",
            "--console=pipe",
            f"--machine=usersync-{port}",
            "--hostname=sync",
            "--resolv-conf=copy-host",
            f"--bind={pip_cache}:/root/.cache/pip",
            *(f"--bind-ro={path}" for path in pip_settings()[1]),
        ],
        directory / "console.log",
    )
    machine.wait_until(lambda: _answers(port), 300)
    return machine


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.rename(path)


def start(directory: Path) -> None:
    """Have a process of its own keep the machine; return when it answers."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "keeper.log", "wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "support.machine", "keep", str(directory)],
            cwd=Path(__file__).resolve().parents[1],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    write(directory / "keeper.pid", str(keeper.pid))
    while not (directory / "facts.json").exists():
        if keeper.poll() is not None:
            said = (directory / "keeper.log").read_text(encoding="utf-8", errors="replace")
            sys.exit("The machine does not start:\n" + said)
        time.sleep(0.2)


def stop(directory: Path) -> None:
    """End the machine, if there is one, and remove its files."""
    try:
        pid = int((directory / "keeper.pid").read_text(encoding="ascii"))
    except FileNotFoundError:
        return
    (directory / "off").unlink(missing_ok=True)
    if f"keep\0{directory}" in _command_line(pid):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 300
        while _command_line(pid):
            if time.monotonic() > deadline:
                sys.exit(f"The machine of process {pid} does not end")
            time.sleep(0.1)
    shutil.rmtree(directory)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ""


if __name__ == "__main__":
    try:
        if sys.argv[1:] == ["root"]:
            print(make_root())
        else:
            {"keep": keep, "start": start, "stop": stop}[sys.argv[1]](Path(sys.argv[2]).resolve())
    except RuntimeError as failure:
        sys.exit(str(failure))
