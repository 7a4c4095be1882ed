# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real 389 Directory Server with its own configuration, ports and directory, gone when it is closed."""

from __future__ import annotations

import base64
import getpass
import hashlib
import re
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote

from .process import START, ClosedAtExit, Entry, Server, find_program, free_port, parse_ldif, run
from .slapd import ADMIN_PASSWORD
from .tls import usual_authority

PACKAGES = "389-ds-base libnss3-tools ldap-utils"

_DATA, _ETC = Path("/usr/share/dirsrv/data"), Path("/etc/dirsrv")
_FOLDERS = ("config", "db", "home", "ldif", "bak", "lock", "run", "log", "tmp")


class DirectoryServer(ClosedAtExit):
    """One ns-slapd with one database, as a context manager.

    It answers on ``ldap_url`` (also StartTLS), ``ldaps_url`` and ``ldapi_url``; ``ca.cert`` verifies its certificate.
    ``admin_dn`` with ``password`` may do everything and has no limits, and so may who comes by SASL EXTERNAL over ldapi
    as the user that runs the test. Other users may read everything but passwords.

    It is made of the package's own templates: dscreate(8) knows only the system's folders, and asks systemd.

    :param suffix: DN of the database.
    :param ldif: entries to load after the start; the suffix is there.
    :param plugins: names of plugins that are off unless named here, such as ``USN`` or ``MemberOf Plugin``.
    :param settings: further attributes of cn=config.
    :param schema: attribute types and object classes beside the packaged ones, as in cn=schema.
    """

    def __init__(
        self,
        suffix: str = "dc=example,dc=org",
        ldif: str = "",
        *,
        plugins: tuple[str, ...] = (),
        settings: dict[str, str] | None = None,
        schema: str = "",
    ) -> None:
        self._program = find_program("ns-slapd", PACKAGES)
        for name in ("ldapsearch", "certutil"):
            find_program(name, PACKAGES)
        self.directory = Path(tempfile.mkdtemp(prefix="dirsrv-"))
        self.suffix, self.admin_dn, self.password = suffix, "cn=Directory Manager", ADMIN_PASSWORD
        self.port, self.tls_port = free_port(), free_port()
        self.ldap_url = f"ldap://127.0.0.1:{self.port}"
        self.ldaps_url = f"ldaps://127.0.0.1:{self.tls_port}"
        self.ldapi_url = "ldapi://" + quote(str(self.directory / "ldapi"), safe="")
        self.ca = usual_authority()
        self._server: Server | None = None
        for name in _FOLDERS:
            (self.directory / name).mkdir()
        self._config = self.directory / "config"
        # Where else it lies is read only after the schema is.
        shutil.copytree(_ETC / "schema", self._config / "schema")
        with open(self._config / "schema" / "99user.ldif", "a", encoding="utf-8") as file:
            file.write(schema)
        for name in ("slapd-collations.conf", "certmap.conf"):
            shutil.copy(_ETC / "config" / name, self._config)
        self._make_certificates()
        (self._config / "dse.ldif").write_text(self._made_of_template(settings or {}, plugins), encoding="utf-8")
        self._new_entries: str | None = _database(suffix, self.directory) + ldif

    def start(self) -> None:
        """Start the server, wait until it answers, and load what is to be loaded."""
        # -d 0 keeps it in the foreground. Without a file for its number it takes /dev/null, which nobody else may write
        # to then.
        self._server = Server(
            [self._program, "-D", str(self._config), "-i", str(self.directory / "run" / "pid"), "-d", "0"],
            self.directory / "output",
        )
        self._server.wait_until(self.answers, START)
        if self._new_entries is not None:
            self.modify(self._new_entries)
            self._new_entries = None

    def stop(self) -> None:
        """Stop the server; its data stays for another `start`."""
        if self._server:
            self._server.stop()
            self._server = None

    def close(self) -> None:
        """Stop the server and remove everything."""
        if self._server:
            self._server.process.kill()  # it would take seconds to write down what is removed now
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def modify(self, ldif: str) -> None:
        """Change the directory as its administrator, by ldapmodify; a record without changetype is added."""
        run(["ldapmodify", "-a", *self._as_admin()], text=ldif)

    def search(
        self, search_filter: str = "(objectClass=*)", *attributes: str, base: str | None = None, scope: str = "sub"
    ) -> dict[str, Entry]:
        """Read as the administrator, by ldapsearch; independent of what the collection reads with.

        :param attributes: names, ``+`` for the operational ones; all user attributes when left out.
        :return: attributes by DN; each attribute is a list of values.
        """
        command = ["ldapsearch", "-LLL", "-o", "ldif-wrap=no", *self._as_admin(), "-s", scope]
        return parse_ldif(run([*command, "-b", self.suffix if base is None else base, search_filter, *attributes]))

    def _as_admin(self) -> list[str]:
        return ["-Q", "-Y", "EXTERNAL", "-H", self.ldapi_url]

    def answers(self) -> bool:
        """Whether it runs."""
        try:
            self.search(base="", scope="base")
        except RuntimeError:
            return False
        return True

    def _make_certificates(self) -> None:
        """Give it what it keeps certificates in, a database of NSS."""
        pair = self.ca.issue("server")
        database, bundle = f"sql:{self._config}", str(self.directory / "tls.p12")
        run(["certutil", "-N", "-d", database, "--empty-password"])
        run(["certutil", "-A", "-d", database, "-n", "CA", "-t", "CT,,", "-a", "-i", str(self.ca.cert)])
        run(
            [
                "openssl",
                "pkcs12",
                "-export",
                "-name",
                "Server-Cert",
                "-in",
                str(pair.cert),
                "-inkey",
                str(pair.key),
                "-out",
                bundle,
                "-passout",
                "pass:",
            ]
        )
        run(["pk12util", "-i", bundle, "-d", database, "-W", ""])

    def _made_of_template(self, settings: dict[str, str], plugins: tuple[str, ...]) -> str:
        here = self.directory
        values = {
            **{f"{name}_dir": str(here / name) for name in _FOLDERS},
            "schema_dir": str(self._config / "schema"),
            "cert_dir": str(self._config),
            "inst_dir": str(here),
            "db_home_dir": str(here / "home"),
            "db_lib": "bdb",
            "fqdn": "localhost",
            "ds_port": str(self.port),
            "ds_user": getpass.getuser(),
            "rootdn": self.admin_dn,
            "ds_passwd": _hashed(self.password),
            "ds_suffix": self.suffix,
            "ldapi_enabled": "on",
            "ldapi": str(here / "ldapi"),
            "ldapi_autobind": "on",
        }
        template = (_DATA / "template-dse.ldif").read_text(encoding="utf-8")
        text = re.sub("%([a-z_]+)%", lambda found: values[found[1]], template)
        for plugin in plugins:
            text = re.sub(r"(?i)(dn: cn=%s,(?:.+\n)*nsslapd-pluginenabled:) off" % re.escape(plugin), r"\1 on", text)
        more = {
            "nsslapd-listenhost": "127.0.0.1",
            "nsslapd-security": "on",
            "nsslapd-securelistenhost": "127.0.0.1",
            "nsslapd-secureport": str(self.tls_port),
            **settings,
        }
        return text.replace("\n\n", "".join(f"\n{name}: {value}" for name, value in more.items()) + "\n\n", 1)


def _hashed(password: str) -> str:
    """As the server wants it: it would refuse to start with one in clear text."""
    salt = b"salt-of-tests"
    digest = hashlib.sha512(password.encode("utf-8") + salt).digest()
    return "{SSHA512}" + base64.b64encode(digest + salt).decode("ascii")


def _database(suffix: str, directory: Path) -> str:
    """A database, what leads to it, and its first entry."""
    kind, name = suffix.partition(",")[0].split("=")
    database = "cn=userroot,cn=ldbm database,cn=plugins,cn=config"
    return f"""\
dn: {database}
objectClass: extensibleObject
objectClass: nsBackendInstance
nsslapd-suffix: {suffix}
nsslapd-directory: {directory}/db/userroot

dn: cn="{suffix}",cn=mapping tree,cn=config
objectClass: extensibleObject
objectClass: nsMappingTree
nsslapd-state: backend
nsslapd-backend: userroot

dn: {suffix}
objectClass: domain
{kind}: {name}
aci: (targetattr!="userPassword || aci")(version 3.0; acl "users read"; allow (read, search, compare)
  userdn="ldap:///all";)

"""
