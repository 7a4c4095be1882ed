# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throwaway certificate authority for test servers, made with the openssl program."""

from __future__ import annotations

import atexit
import functools
import ipaddress
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

_NEW_KEY = ("-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


class KeyPair(NamedTuple):
    """Paths of a PEM certificate and its unencrypted PEM key."""

    cert: Path
    key: Path


@functools.cache
def usual_authority() -> CertificateAuthority:
    """The authority of every server that is given no other: its keys are made once in a process, and go with it."""
    directory = tempfile.mkdtemp(prefix="usual-authority-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return CertificateAuthority(directory)


class CertificateAuthority:
    """A CA in a directory of its own. ``ca.cert`` is what ``ca_path`` takes."""

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.cert, self.key = self.directory / "ca.pem", self.directory / "ca.key"
        self._issued: dict[str, tuple[object, KeyPair]] = {}  # by name: how, and what
        if not self.cert.exists():
            _openssl(
                "req",
                "-x509",
                *_NEW_KEY,
                "-days",
                "30",
                "-subj",
                "/CN=Throwaway test CA",
                "-addext",
                "basicConstraints=critical,CA:TRUE",
                "-addext",
                "keyUsage=critical,keyCertSign,cRLSign",
                "-keyout",
                str(self.key),
                "-out",
                str(self.cert),
            )

    def issue(
        self, name: str, names: tuple[str, ...] = LOOPBACK_NAMES, *, days: int = 30, client: bool = False
    ) -> KeyPair:
        """A certificate whose subject alternative names are `names`. One that was issued is given again.

        :param name: file name and common name; issuing it otherwise replaces the first.
        :param names: host names and IP addresses; pass other names for a certificate that does not fit its server, and
            none for one that has only its common name.
        :param days: validity from now; 0 or less gives a certificate that has expired.
        :param client: for client authentication (SASL EXTERNAL); the subject is then just ``CN=name``.
        """
        how, pair = self._issued.get(name, (None, None))
        if how != (names, days, client):
            pair = self._issue(name, names, days, client)
            self._issued[name] = (names, days, client), pair
        return pair

    def _issue(self, name: str, names: tuple[str, ...], days: int, client: bool) -> KeyPair:
        pair = KeyPair(self.directory / f"{name}.pem", self.directory / f"{name}.key")
        request, extensions = self.directory / f"{name}.csr", self.directory / f"{name}.ext"
        lines = [
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature",
            "extendedKeyUsage=" + ("clientAuth" if client else "serverAuth"),
            "authorityKeyIdentifier=keyid",
        ]
        if names and not client:
            lines.append("subjectAltName=" + ",".join(_alternative_name(each) for each in names))
        extensions.write_text("\n".join(lines) + "\n", encoding="utf-8")
        _openssl("req", "-new", *_NEW_KEY, "-subj", f"/CN={name}", "-keyout", str(pair.key), "-out", str(request))
        _openssl(
            "x509",
            "-req",
            "-in",
            str(request),
            "-extfile",
            str(extensions),
            "-CA",
            str(self.cert),
            "-CAkey",
            str(self.key),
            "-CAcreateserial",
            "-days",
            str(days),
            "-out",
            str(pair.cert),
        )
        request.unlink()
        extensions.unlink()
        pair.key.chmod(0o600)
        return pair

    def expired(self, name: str = "expired", names: tuple[str, ...] = LOOPBACK_NAMES) -> KeyPair:
        """A certificate with the right names that ended yesterday."""
        return self.issue(name, names, days=-1)

    def wrong_name(self, name: str = "wrong-name") -> KeyPair:
        """A valid certificate for another host."""
        return self.issue(name, ("other.example",))


def _alternative_name(name: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")
