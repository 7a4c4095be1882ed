# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Active Directory domain controller, made of Samba: LDAP, LDAPS, StartTLS and a KDC on loopback."""

from __future__ import annotations

import base64
import fcntl
import json
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from .process import LOCKS, ClosedAtExit, Entry, Server, find_program, parse_ldif, run
from .tls import CertificateAuthority, KeyPair, usual_authority

PACKAGES = "samba samba-ad-dc samba-ad-provision winbind ldb-tools ldap-utils krb5-user"
REALM, NETBIOS_DOMAIN = "CORP.EXAMPLE", "CORP"
BASE_DN = "DC=corp,DC=example"
HOST_NAME = "dc1.corp.example"
# Long and odd on purpose: Ansible masks a password wherever it appears in a result.
ADMIN_PASSWORD = "Plinth-4-osprey-Xz86"

# The system's: the only one that has Samba's bindings.
_PYTHON = "/usr/bin/python3"
# Samba takes no other ports for these: LDAP, LDAPS and Kerberos.
_PORTS = (389, 636, 88)
_LOCK = LOCKS / "usersync-samba.lock"

_SMB_CONF = """\
[global]
  netbios name = DC1
  realm = {realm}
  workgroup = {domain}
  server role = active directory domain controller
  server services = ldap, cldap, kdc
  interfaces = lo
  bind interfaces only = yes
  private dir = {directory}/private
  state directory = {directory}/state
  cache directory = {directory}/cache
  lock directory = {directory}/state
  pid directory = {directory}
  ncalrpc dir = {directory}/ncalrpc
  tls cafile = {ca}
  tls certfile = {cert}
  tls keyfile = {key}
  # Simple binds over TLS only, Kerberos over TLS too: "yes" refuses the latter before Samba 4.20.
  ldap server require strong auth = allow_sasl_over_tls
  # Access control lists in a database: extended attributes ask for rights that a container may lack.
  vfs objects = dfs_samba4 acl_xattr xattr_tdb
  xattr_tdb:file = {directory}/xattr.tdb
  ldb:nosync = true
[sysvol]
  path = {directory}/state/sysvol
[netlogon]
  path = {directory}/state/sysvol/{dns_domain}/scripts
"""

# The service is asked for as ldap/localhost, a name that resolves to loopback on every machine.
_KRB5_CONF = """\
[libdefaults]
  default_realm = {realm}
  dns_lookup_realm = false
  dns_lookup_kdc = false
  dns_canonicalize_hostname = false
  rdns = false
[realms]
  {realm} = {{
    kdc = 127.0.0.1
  }}
[domain_realm]
  localhost = {realm}
"""

# MS-ADTS 3.1.1.3.1.5.2 and MS-SAMR 2.2.4.1; -0x8000000000000000 is never.
_NO_RULES_FOR_PASSWORDS = f"""\
dn: {BASE_DN}
changetype: modify
replace: pwdProperties
pwdProperties: 0
-
replace: minPwdLength
minPwdLength: 0
-
replace: minPwdAge
minPwdAge: 0
-
replace: maxPwdAge
maxPwdAge: -9223372036854775808
-
replace: pwdHistoryLength
pwdHistoryLength: 0

"""
_SERVICE = f"""\
dn: CN=DC1,OU=Domain Controllers,{BASE_DN}
changetype: modify
add: servicePrincipalName
servicePrincipalName: ldap/localhost

"""


class SambaDC(ClosedAtExit):
    """The domain controller of CORP.EXAMPLE, freshly provisioned, as a context manager. Needs root.

    It answers on ``ldap_url`` (StartTLS) and ``ldaps_url``; ``ca.cert`` verifies its certificate, which is for
    dc1.corp.example, localhost, 127.0.0.1 and ::1. ``krb5_config`` is for KRB5_CONFIG; Kerberos needs the server
    to be addressed as ``localhost``. The domain asks nothing of passwords and never expires them.

    Samba's ports cannot be chosen, so there is one at a time: another process that starts one waits for this to end.

    :param ca: the certificate authority, when not the usual one.
    :param certificate: the server's certificate, when not the one described.
    """

    def __init__(self, *, ca: CertificateAuthority | None = None, certificate: KeyPair | None = None) -> None:
        for program in ("samba", "samba-tool", "ldbmodify", "ldapsearch"):
            find_program(program, PACKAGES)
        self.directory = Path(tempfile.mkdtemp(prefix="samba-"))
        self.base_dn, self.realm, self.netbios_domain = BASE_DN, REALM, NETBIOS_DOMAIN
        self.login, self.password = f"{NETBIOS_DOMAIN}\\ADMINISTRATOR", ADMIN_PASSWORD
        self.host_name = HOST_NAME
        self.ldap_url, self.ldaps_url = "ldap://localhost", "ldaps://localhost"
        self.krb5_config = self.directory / "krb5.conf"
        self._smb_conf = self.directory / "smb.conf"
        self.ca, self._certificate = ca or usual_authority(), certificate
        # A socket that is root's. Who says there who he is has his own rights, and who does not those of the system.
        self._ldapi_url = "ldapi://" + quote(f"{self.directory}/private/ldap_priv/ldapi", safe="")
        self._server: Server | None = None
        self._session: _Session | None = None
        self._lock: IO[str] | None = None

    def start(self) -> None:
        """Wait for another test's Samba to end, provision the domain, start it and wait until it answers."""
        self._lock = open(_LOCK, "w", encoding="ascii")  # noqa: SIM115 - held until close
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for port in _PORTS:
            _refuse_taken(port)
        self._provision()
        self._server = Server(
            [find_program("samba", PACKAGES), "-i", "-M", "single", "-s", str(self._smb_conf), "--debug-stdout"],
            self.directory / "log",
            # If this process is killed, the next one waits until Samba has ended, too.
            keeps=self._lock,
        )
        self._server.wait_until(self._answers, 60)

    def close(self) -> None:
        """Stop the server and remove everything."""
        if self._session:
            self._session.close()
        if self._server:
            self._server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
        if self._lock:
            self._lock.close()

    def modify(self, ldif: str) -> None:
        """Change the directory with the rights of the system; a record without changetype is added.

        :raises RuntimeError: if one is refused; those before it are changed.
        """
        self._ask("modify", ldif)

    def rights(self, dn: str) -> str:
        """The security descriptor of an entry, as SDDL (MS-DTYP 2.5.1)."""
        return str(self._ask("rights", dn))

    def _ask(self, what: str, argument: str) -> Any:
        if not self._session:
            self._session = _Session(self._ldapi_url, self._smb_conf)
        return self._session.ask(what, argument)

    def add(self, ldif: Path) -> None:
        """Add many entries with the rights of the system, by ldbadd: all in one transaction."""
        run(["ldbadd", "-H", f"{self.directory}/private/sam.ldb", f"--configfile={self._smb_conf}", str(ldif)])

    def search(
        self, search_filter: str = "(objectClass=*)", *attributes: str, base: str = BASE_DN, scope: str = "sub"
    ) -> dict[str, Entry]:
        """Read as the administrator, by ldapsearch; independent of what the collection reads with.

        :return: attributes by DN; each attribute is a list of values, bytes where they are not UTF-8.
        """
        command = ["ldapsearch", "-LLL", "-o", "ldif-wrap=no", "-x", "-H", self._ldapi_url, "-s", scope, "-b", base]
        return parse_ldif(run([*command, "-D", self.login, "-w", self.password, search_filter, *attributes]))

    def samba_tool(self, *arguments: str) -> str:
        """Run samba-tool(8) on this domain; return what it printed."""
        return run([find_program("samba-tool", PACKAGES), *arguments, "-s", str(self._smb_conf)])

    def create_user(self, name: str, password: str, container: str = "CN=Users") -> str:
        """Create an enabled user who can log in; return the DN. `container` is relative to the domain."""
        dn = f"CN={name},{container},{BASE_DN}"
        # 512: a normal account, MS-ADTS 2.2.16. A password is quoted UTF-16, MS-ADTS 3.1.1.3.1.5.1.
        quoted = base64.b64encode(f'"{password}"'.encode("utf-16-le")).decode("ascii")
        self.modify(
            f"dn: {dn}\nobjectClass: user\nsAMAccountName: {name}\nuserPrincipalName: {name}@{REALM.lower()}\n"
            f"userAccountControl: 512\nunicodePwd:: {quoted}\n"
        )
        return dn

    def create_users(self, names: list[str], container: str) -> None:
        """Create many enabled users, without passwords, directly in `container` (a whole DN)."""
        # 544: a normal account (0x200) that needs no password (0x20), MS-ADTS 2.2.16.
        self.modify(
            "\n".join(
                f"dn: CN={name},{container}\nobjectClass: user\nsAMAccountName: {name}\nuserAccountControl: 544\n"
                for name in names
            )
        )

    def export_keytab(self, user: str, path: Path) -> str:
        """Write the keys of `user` to a keytab file; return the principal it is for."""
        principal = f"{user}@{REALM}"
        self.samba_tool("domain", "exportkeytab", str(path), f"--principal={principal}")
        return principal

    def _provision(self) -> None:
        certificate = self._certificate or self.ca.issue("samba", (HOST_NAME, "localhost", "127.0.0.1", "::1"))
        settings = _SMB_CONF.format(
            realm=REALM,
            domain=NETBIOS_DOMAIN,
            dns_domain=REALM.lower(),
            directory=self.directory,
            ca=self.ca.cert,
            cert=certificate.cert,
            key=certificate.key,
        )
        options = [
            "vfs objects=dfs_samba4 acl_xattr xattr_tdb",
            f"xattr_tdb:file={self.directory}/xattr.tdb",
            "interfaces=lo",
            "bind interfaces only=yes",
            "ldb:nosync=true",
        ]
        run(
            [
                find_program("samba-tool", PACKAGES),
                "domain",
                "provision",
                f"--realm={REALM}",
                f"--domain={NETBIOS_DOMAIN}",
                "--server-role=dc",
                "--host-name=dc1",
                "--host-ip=127.0.0.1",
                "--dns-backend=NONE",
                f"--adminpass={ADMIN_PASSWORD}",
                f"--targetdir={self.directory}",
                *(f"--option={option}" for option in options),
            ]
        )
        self._smb_conf.write_text(settings, encoding="utf-8")
        self.krb5_config.write_text(_KRB5_CONF.format(realm=REALM), encoding="utf-8")
        # By itself: the server does not run yet.
        database = f"{self.directory}/private/sam.ldb"
        run(["ldbmodify", "-H", database, f"--configfile={self._smb_conf}"], text=_NO_RULES_FOR_PASSWORDS + _SERVICE)

    def _answers(self) -> bool:
        try:
            self.search(base="", scope="base")
            for port in _PORTS:
                socket.create_connection(("127.0.0.1", port), 5).close()
        except (RuntimeError, OSError):
            return False
        return True


class _Session:
    """A program that stays connected to the server: see `samba_session.py`."""

    def __init__(self, url: str, smb_conf: Path) -> None:
        program = Path(__file__).with_name("samba_session.py")
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", _PYTHON, "-I", str(program), url, str(smb_conf)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def ask(self, what: str, argument: str) -> Any:
        assert self._process.stdin and self._process.stdout
        print(json.dumps([what, argument]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"samba_session.py ended with {self._process.wait()}, and said why on standard error")
        result, wrong = json.loads(answer)
        if wrong:
            raise RuntimeError(f"Samba refused it: {wrong}")
        return result

    def close(self) -> None:
        self._process.communicate()


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise RuntimeError(
                f"Samba needs port {port} of 127.0.0.1: {error.strerror}. Run as root, and stop what listens there "
                "(a packaged slapd or samba-ad-dc, for example, by systemctl stop)."
            ) from error
