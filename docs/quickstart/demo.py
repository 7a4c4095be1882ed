# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the quickstart shows: a throwaway OpenLDAP server, and four runs of playbook.yml against it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
sys.path.insert(0, str(CHECKOUT / "tests"))

from support import slapd  # noqa: E402

BOLD, PLAIN = ("\033[1m", "\033[0m") if sys.stdout.isatty() and "NO_COLOR" not in os.environ else ("", "")


def main() -> None:
    """Show it all, and leave nothing: whatever is made lies in one temporary directory, the server's data included."""
    with tempfile.TemporaryDirectory(prefix="quickstart-") as directory:
        tempfile.tempdir = directory
        demonstrate(Path(directory))
    heading("The server is stopped and everything removed. Now your own directory: save this as staff.yml")
    print((HERE / "active_directory.yml").read_text(encoding="utf-8"))
    heading("and start with a dry run:")
    print("   .venv/bin/ansible-galaxy collection install .\n   .venv/bin/ansible-playbook --check --diff staff.yml")


def demonstrate(directory: Path) -> None:
    password = secrets.token_urlsafe()
    company = (HERE / "company.ldif").read_text(encoding="utf-8").replace("$password", password)
    with slapd.Slapd("dc=clinic,dc=example", company, password=secrets.token_urlsafe()) as server:
        heading(f"A directory: OpenLDAP on {server.ldaps_url}, with a clinic of twelve people in it")
        environment = prepare(
            directory,
            {
                "server": server.ldaps_url,
                "ca_path": str(server.ca.cert),
                "password": password,
                "store": str(directory / "users.db"),
                "ansible_python_interpreter": sys.executable,
            },
        )

        heading("1. A dry run: what would change? Nothing is written.")
        run_playbook(directory, environment, "--check", "--diff")

        heading("2. For real.")
        run_playbook(directory, environment)

        heading("3. The same again: nothing is left to do.")
        run_playbook(directory, environment)

        heading("4. The directory changes, and the same task brings the changes over, and nothing else.")
        print(
            "   Zoë Lindqvist joins as a nurse. Tomáš Dvořák leaves. María Muñoz joins the night shift.\n"
            "   Anna König of the reception is Anna Weiß since her wedding.\n"
        )
        server.modify((HERE / "changes.ldif").read_text(encoding="utf-8"))
        run_playbook(directory, environment)


def heading(text: str) -> None:
    print(f"\n{BOLD}{text}{PLAIN}", flush=True)


def prepare(directory: Path, variables: dict[str, str]) -> dict[str, str]:
    """Prepare for ansible-playbook, none of the reader's own Ansible settings included; return the environment."""
    collection = directory / "collections/ansible_collections/usersync/directory"
    collection.parent.mkdir(parents=True)
    collection.symlink_to(CHECKOUT)
    (directory / "ansible.cfg").touch()
    (directory / "variables.json").touch(0o600)
    (directory / "variables.json").write_text(json.dumps(variables), encoding="utf-8")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "ANSIBLE_CONFIG": str(directory / "ansible.cfg"),
        "ANSIBLE_HOME": str(directory),
        "ANSIBLE_REMOTE_TMP": str(directory / "tmp"),
        "ANSIBLE_COLLECTIONS_PATH": str(directory / "collections"),
        "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback"),
        "ANSIBLE_STDOUT_CALLBACK": "brief",
        # The password goes to the module through a pipe, not through a file.
        "ANSIBLE_PIPELINING": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(directory),
    }


def run_playbook(directory: Path, environment: dict[str, str], *arguments: str) -> None:
    print("  ", " ".join(["$ ansible-playbook", *arguments, "docs/quickstart/playbook.yml\n"]), flush=True)
    command = [
        sys.executable,
        "-m",
        "ansible",
        "playbook",
        "--inventory",
        "localhost,",
        "--extra-vars",
        f"@{directory / 'variables.json'}",
        *arguments,
        str(HERE / "playbook.yml"),
    ]
    process = subprocess.Popen(command, env=environment)
    try:
        failed = process.wait()
    except BaseException:
        # It ends by itself in a moment. To kill it would leave its workers running.
        process.wait()
        raise
    if failed:
        raise RuntimeError("this run failed. Please report what it says above.")


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: sys.exit(128 + received))
    try:
        main()
    except RuntimeError as error:
        sys.exit(f"quickstart: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
