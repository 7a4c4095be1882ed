# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real OpenLDAP server with its own configuration, ports and directory, gone when it is closed."""

from __future__ import annotations

import shutil
import signal
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from .process import ClosedAtExit, Entry, Server, find_program, free_port, parse_ldif, run
from .tls import CertificateAuthority, KeyPair, usual_authority

PACKAGES = "slapd ldap-utils"
# Long and odd on purpose: Ansible masks a password wherever it appears in a result.
ADMIN_PASSWORD = "Kelp-7-ratchet-Vq41"

_SYSTEM_SCHEMAS = ("core", "cosine", "inetorgperson", "nis")
_OWN_SCHEMAS = Path(__file__).parent / "schema"
_APPARMOR = Path("/sys/module/apparmor/parameters/enabled")


class Slapd(ClosedAtExit):
    """One slapd with one mdb database, as a context manager.

    It answers on ``ldap_url`` (also StartTLS), ``ldaps_url`` and ``ldapi_url``; ``ca.cert`` verifies its certificate.
    ``admin_dn`` with ``password`` may do everything and has no limits. Other users may read; SASL EXTERNAL works
    over ldapi and with a client certificate of ``ca``.

    :param suffix: DN of the database.
    :param ldif: text or file with entries to load before the start, by slapadd (operational attributes allowed).
    :param overlays: name of each overlay, its own settings on the lines that follow: ``"ppolicy"``, ``"memberof"``.
    :param size_limit: entries that one search, paged or not, may return to anyone but the administrator.
    :param anonymous_read: whether reading needs no bind.
    :param ca: the certificate authority, when not the usual one.
    :param certificate: the server's certificate, when not one for localhost, 127.0.0.1 and ::1.
    :param settings: further lines for the database section of slapd.conf(5).
    :param subordinate: DN and overlays of another database, which is glued below this one (`subordinate` in
        slapd.conf(5)).
    :param password: the administrator's.
    """

    def __init__(
        self,
        suffix: str = "dc=example,dc=org",
        ldif: str | Path | None = None,
        *,
        overlays: tuple[str, ...] = (),
        size_limit: int | None = None,
        anonymous_read: bool = False,
        ca: CertificateAuthority | None = None,
        certificate: KeyPair | None = None,
        settings: str = "",
        subordinate: tuple[str, tuple[str, ...]] | None = None,
        password: str = ADMIN_PASSWORD,
    ) -> None:
        self._program = find_program("slapd", PACKAGES)
        find_program("ldapsearch", PACKAGES)
        self.directory = Path(tempfile.mkdtemp(prefix="slapd-"))
        if _APPARMOR.exists() and _APPARMOR.read_text(encoding="ascii").startswith("Y"):
            # Ubuntu confines /usr/sbin/slapd to its packaged directories, by the path of the program.
            self._program = shutil.copy(self._program, self.directory / "slapd")
        self.suffix, self.admin_dn, self.password = suffix, f"cn=admin,{suffix}", password
        self.port, self.tls_port = free_port(), free_port()
        self.ldap_url = f"ldap://127.0.0.1:{self.port}"
        self.ldaps_url = f"ldaps://127.0.0.1:{self.tls_port}"
        self.ldapi_url = "ldapi://" + quote(str(self.directory / "ldapi"), safe="")
        self.ca = ca or usual_authority()
        self._password_file = self.directory / "password"
        self._password_file.write_text(password, encoding="utf-8")
        for database in ("db", "subordinate"):
            (self.directory / database).mkdir()
        self._config = self.directory / "slapd.conf"
        self._config.write_text(
            _config(
                self,
                overlays,
                size_limit,
                anonymous_read,
                certificate or self.ca.issue("server"),
                settings,
                subordinate,
            ),
            encoding="utf-8",
        )
        self._ldif = ldif
        self._server: Server | None = None

    def start(self) -> None:
        """Load what is to be loaded, start the server and wait until it answers."""
        if self._ldif is not None:
            self._load(self._ldif)
            self._ldif = None
        urls = f"{self.ldap_url} {self.ldaps_url} {self.ldapi_url}"
        # -d 0 keeps it in the foreground.
        self._server = Server([self._program, "-f", str(self._config), "-h", urls, "-d", "0"], self.directory / "log")
        self._server.wait_until(self._answers, 30)

    def stop(self) -> None:
        """Stop the server; its data stays for another `start`."""
        if self._server:
            self._server.stop()
            self._server = None

    def sleep(self) -> None:
        """Have it answer nobody until it is to `wake`. It still accepts connections."""
        assert self._server
        self._server.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        assert self._server
        self._server.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop the server and remove everything."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def configure(self, change: Callable[[str], str]) -> None:
        """Start again with another configuration, on the same data: indexes that are new in it are not built."""
        self.stop()
        text = self._config.read_text(encoding="utf-8")
        assert change(text) != text, "nothing changed"
        self._config.write_text(change(text), encoding="utf-8")
        self.start()

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
        return ["-x", "-H", self.ldapi_url, "-D", self.admin_dn, "-y", str(self._password_file)]

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(self.directory / "ldapi")):
                return False  # known at less cost than by a program
        try:
            self.search(base="", scope="base")
        except RuntimeError:
            return False
        return True

    def _load(self, ldif: str | Path) -> None:
        if isinstance(ldif, str):
            path = self.directory / "load.ldif"
            path.write_text(ldif, encoding="utf-8")
        else:
            path = ldif
        run([self._program, "-Tadd", "-q", "-f", str(self._config), "-l", str(path)])


def _config(
    server: Slapd,
    overlays: tuple[str, ...],
    size_limit: int | None,
    anonymous_read: bool,
    certificate: KeyPair,
    settings: str,
    subordinate: tuple[str, tuple[str, ...]] | None,
) -> str:
    lines = [f"include /etc/ldap/schema/{name}.schema" for name in _SYSTEM_SCHEMAS]
    lines += [f'include "{path}"' for path in sorted(_OWN_SCHEMAS.glob("*.schema"))]
    lines += ["modulepath /usr/lib/ldap", "moduleload back_mdb"]
    everywhere = [*overlays, *(subordinate[1] if subordinate else ())]
    lines += [f"moduleload {name}" for name in dict.fromkeys(each.split()[0] for each in everywhere) if name != "glue"]
    lines += [
        f'pidfile "{server.directory}/pid"',
        f'TLSCACertificateFile "{server.ca.cert}"',
        f'TLSCertificateFile "{certificate.cert}"',
        f'TLSCertificateKeyFile "{certificate.key}"',
        "TLSVerifyClient try",
        *(_subordinate(server, *subordinate) if subordinate else ()),
        "database mdb",
        f'suffix "{server.suffix}"',
        f'rootdn "{server.admin_dn}"',
        f"rootpw {server.password}",
        f'directory "{server.directory}/db"',
        # A sparse file: a bound, not a cost.
        f"maxsize {8 * 1024**3}",
        "envflags nosync",
        "index objectClass,uid,cn,member,uniqueMember,memberUid,gidNumber,entryUUID,entryCSN eq",
        f"sizelimit {'unlimited' if size_limit is None else size_limit}",
        settings,  # access rules among them come first, and the first that fits counts
        "access to attrs=userPassword by anonymous auth by * none",
        f"access to * by users read by anonymous {'read' if anonymous_read else 'auth'}",
    ]
    lines += [f"overlay {overlay}" for overlay in overlays]
    return "\n".join(lines) + "\n"


def _subordinate(server: Slapd, suffix: str, overlays: tuple[str, ...]) -> list[str]:
    """The lines of a database that comes before the one above it, as slapd.conf(5) asks for."""
    return [
        "database mdb",
        f'suffix "{suffix}"',
        "subordinate",
        f'rootdn "{server.admin_dn}"',
        f'directory "{server.directory}/subordinate"',
        f"maxsize {1024**3}",
        "envflags nosync",
        "index objectClass,entryUUID,entryCSN eq",
        "access to * by users read by anonymous auth",
        *(f"overlay {overlay}" for overlay in overlays),
    ]
