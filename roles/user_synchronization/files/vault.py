# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the vault key of this host, and secrets of jobs encrypted with it. For the role, as root.

A secret comes on standard input and goes nowhere but into an encrypted file (the key: into a systemd credential, or
where systemd has none into a file that only root can read). It prints what it did, as JSON.

    vault.py CONFIG-DIRECTORY key [--check] [--renew]     the key, empty: keep the one there is, or make one
    vault.py CONFIG-DIRECTORY secrets JOB [--check]       the secrets of a job, as JSON: {name: secret}
"""

from __future__ import annotations

import argparse
import grp
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ansible.parsing.vault import AnsibleVaultError, VaultLib, VaultSecret

CREDENTIAL = "vault-key"
LABEL = "user_synchronization"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("key", "secrets"):
        command = commands.add_parser(name)
        command.add_argument("--check", action="store_true")
        if name == "key":
            command.add_argument("--renew", action="store_true")
        else:
            command.add_argument("job")
            command.add_argument("--group", required=True)
    options = parser.parse_args()
    given = sys.stdin.read()
    if options.command == "key":
        changed = keep_key(options.config, given.rstrip("\r\n"), options.renew, options.check)
    else:
        changed = keep_secrets(options.config, options.job, json.loads(given), options.group, options.check)
    print(json.dumps({"changed": changed}))
    return 0


# --- The key


def keep_key(config: Path, given: str, renew: bool, check: bool) -> bool:
    """See to it that the key is the given one, or that there is one; return whether that changes anything."""
    before = read_key(config)
    key = given or (None if renew else before) or secrets.token_urlsafe(32)
    in_place = key == before and not other_key_file(config).exists()
    if in_place or check:
        return not in_place
    # What the old key opens is encrypted anew first, so that a host never has a vault that its key cannot open.
    anew = _vaults_opened_by(config, before) if before and before != key else []
    staged = [_stage(path, encrypt(key, text), path.stat()) for path, text in anew]
    _write_key(config, key)
    for temporary, path in staged:
        os.replace(temporary, path)
    other_key_file(config).unlink(missing_ok=True)
    return True


def encrypting() -> bool:
    """Whether systemd can encrypt credentials here: systemd-creds came with version 250."""
    return shutil.which("systemd-creds") is not None


def key_file(config: Path) -> Path:
    return config / (CREDENTIAL + (".cred" if encrypting() else ""))


def other_key_file(config: Path) -> Path:
    """Where the key would be if systemd could do the other thing; an upgrade of systemd moves it."""
    return config / (CREDENTIAL + ("" if encrypting() else ".cred"))


def read_key(config: Path) -> str | None:
    """Return the key, or None where there is none, or none that this host can open."""
    encrypted, plain = config / (CREDENTIAL + ".cred"), config / CREDENTIAL
    if encrypting() and encrypted.exists():
        done = subprocess.run(
            ["systemd-creds", "decrypt", f"--name={CREDENTIAL}", str(encrypted), "-"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return done.stdout
    return plain.read_text(encoding="utf-8") if plain.exists() else None


def _write_key(config: Path, key: str) -> None:
    content = key.encode()
    if encrypting():
        done = subprocess.run(
            ["systemd-creds", "encrypt", f"--name={CREDENTIAL}", "-", "-"],
            input=content,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"systemd-creds cannot encrypt the vault key: {done.stderr.decode(errors='replace').strip()}")
        content = done.stdout
    descriptor, name = tempfile.mkstemp(dir=config)
    with open(descriptor, "wb") as file:
        file.write(content)
        os.fchmod(descriptor, 0o400)
    os.replace(name, key_file(config))


# --- Secrets of jobs


def keep_secrets(config: Path, job: str, secret: dict[str, Any], group: str, check: bool) -> bool:
    """See to it that the job's vault holds these and no others, by their names; return whether that changes anything.

    They are one text in JSON: Ansible takes what looks like a number or a date for one, even in quotes.
    """
    path = config / "jobs" / job / "vault.yml"
    content = {name: str(value).rstrip("\r\n") for name, value in secret.items()}
    text = f"---\n{LABEL}_secrets: !unsafe {_quoted(json.dumps(content, sort_keys=True))}\n"
    key = read_key(config)
    if key and path.exists() and decrypt(key, path) == text:
        return False
    if not check:
        if not key:
            sys.exit("There is no vault key to encrypt the secrets with")
        mode = os.stat(path.parent)
        temporary, path = _stage(path, encrypt(key, text), mode)
        os.chown(temporary, 0, grp.getgrnam(group).gr_gid)
        os.replace(temporary, path)
    return True


def _quoted(text: str) -> str:
    """Return text as YAML in double quotes. (What looks like a template in it is none: therefore ``!unsafe``.)"""
    plain = set(map(chr, range(ord(" "), ord("~") + 1))) - set('"\\')
    return '"%s"' % "".join(each if each in plain else "\\U%08x" % ord(each) for each in text)


def _vaults_opened_by(config: Path, key: str) -> list[tuple[Path, str]]:
    found = [(path, decrypt(key, path)) for path in sorted(config.glob("jobs/*/vault.yml"))]
    return [(path, text) for path, text in found if text is not None]


def _stage(path: Path, content: bytes, like: os.stat_result) -> tuple[str, Path]:
    """Write content beside the path, for `os.replace`, with the owner that `like` has."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with open(descriptor, "wb") as file:
        file.write(content)
        os.fchown(descriptor, like.st_uid, like.st_gid)
        os.fchmod(descriptor, 0o640)
    return name, path


def encrypt(key: str, text: str) -> bytes:
    secret = VaultSecret(key.encode())
    return VaultLib([(LABEL, secret)]).encrypt(text, secret, vault_id=LABEL)


def decrypt(key: str, path: Path) -> str | None:
    """Return what the vault holds, or None when the key does not open it."""
    try:
        return VaultLib([(LABEL, VaultSecret(key.encode()))]).decrypt(path.read_bytes()).decode()
    except AnsibleVaultError:
        return None


if __name__ == "__main__":
    sys.exit(main())
