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
    heading("The server is stopped and everything removed. Now your own directory: save this as synchronize.yml")
    print((HERE / "active_directory.yml").read_text(encoding="utf-8"))
    heading("Install the collection, and start with a dry run:")
    print(
        "   .venv/bin/ansible-galaxy collection install .\n   .venv/bin/ansible-playbook --check --diff synchronize.yml"
    )
    heading("Then for real, and look into the store: as a page, and one user group as data.")
    print(
        "   .venv/bin/ansible-playbook synchronize.yml\n"
        "   .venv/bin/ansible-playbook usersync.directory.report -e report_store=$PWD/users.db"
        " -e report_dest=$PWD/users.html\n"
        "   .venv/bin/ansible localhost -m usersync.directory.user_group_info"
        ' -a "user_group=All/Staff store=$PWD/users.db"'
    )
    heading("What next")
    print(
        "   docs/using.md       hand the user groups on to other plays, to Linux accounts, to a CSV file\n"
        "   docs/dry-runs.md    have somebody approve what a run would change\n"
        "   docs/scheduling.md  run it every hour, with a role that also keeps the password"
    )


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
                "user_synchronization_progress": "false",
            },
        )

        heading("1. A dry run: what would change? Nothing is written.")
        run_playbook(directory, environment, "--check", "--diff")

        explain(
            "user group: made of a group of the directory. It has a path, and lies in All/Clinic.",
            "membership: that a user, or another user group, is in a user group.",
        )

        heading("2. For real.")
        run_playbook(directory, environment)
        explain("unresolved: listed as a member, and the directory has no such entry. It holds nothing else up.")

        heading("3. The same again: nothing is left to do.")
        run_playbook(directory, environment)

        heading("4. The directory changes, and the same task brings the changes over, and nothing else.")
        print(
            "   Zoë Lindqvist joins as a nurse. Tomáš Dvořák leaves. María Muñoz joins the night shift.\n"
            "   Anna König of the reception is Anna Weiß since her wedding.\n"
        )
        server.modify((HERE / "changes.ldif").read_text(encoding="utf-8"))
        run_playbook(directory, environment)
        explain(
            "affected: nobody joined or left it itself, but a user group nested in it, so others are in it now.",
            "extinct: no longer in the directory. The record is kept, disabled and in no user group, and whoever comes",
            "back is the same user.",
        )


def heading(text: str) -> None:
    print(f"\n{BOLD}{text}{PLAIN}", flush=True)


def explain(*lines: str) -> None:
    """Say what the words mean that appeared for the first time."""
    print("\n".join(["", *("   " + line for line in lines)]), flush=True)


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
