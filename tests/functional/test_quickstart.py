# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the quickstart shows is true, and it leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

AFTER_THE_CHANGES = """\
   changed     All/Clinic/Büro           - tomas.dvorak
   changed     All/Clinic/Night Shift    + maria.munoz
   changed     All/Clinic/Nurses         + zoe.lindqvist
   affected    All/Clinic/Key Holders    (through a user group nested in it)
   affected    All/Clinic/Medical Staff  (through a user group nested in it)
   unchanged   All/Clinic/Doctors
   unchanged   All/Clinic/Reception
   created     user zoe.lindqvist
   updated     user anna.weiss
   renamed     user anna.koenig -> anna.weiss
   disabled    user tomas.dvorak
   extinct     user tomas.dvorak
   unresolved  All/Clinic/Büro lists uid=walter.frei: """


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short name: ansible-core 2.21 makes a socket there, and its path has limits (unix(7))."""
    with tempfile.TemporaryDirectory(prefix="q-") as directory:
        yield Path(directory)


def test_the_quickstart_shows_what_happened_and_leaves_nothing(place: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(place), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, str(CHECKOUT / "docs" / "quickstart" / "demo.py")],
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "\033" not in done.stdout
    dry, real, again, after = done.stdout.split("docs/quickstart/playbook.yml\n")[1:]
    assert "+user group All/Clinic/Büro\n" in dry
    assert "Would create 7 user groups and 12 users, and add 18 memberships." in dry
    assert "   created     All/Clinic/Key Holders    + juergen.weiss, All/Clinic/Night Shift\n" in real
    assert again.lstrip("\n").split("\n\n")[0] == "   unchanged   7 user groups, 12 users, 18 memberships"
    assert after.lstrip("\n").startswith(AFTER_THE_CHANGES)
    for word, part in (("user group", dry), ("unresolved", real), ("affected", after), ("extinct", after)):
        assert f"\n   {word}: " in part, "it is explained where it appears first"
    assert "usersync.directory.report -e report_store" in after and "docs/scheduling.md" in after
    assert "server: [dc1.corp.example, dc2.corp.example]" in after
    assert list(place.iterdir()) == []
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if bytes(place) in contents(path)]


def test_the_quickstart_says_what_it_is_without_doing_anything(tmp_path: Path) -> None:
    copy = tmp_path / "quickstart"
    copy.write_bytes((CHECKOUT / "quickstart").read_bytes())
    for argument, status in (("--help", 0), ("-h", 0), ("--frobnicate", 2)):
        done = subprocess.run(
            ["bash", str(copy), argument], capture_output=True, text=True, encoding="utf-8", timeout=60, check=False
        )
        assert done.returncode == status and "Show in a minute what" in done.stdout + done.stderr
    assert "it takes no '--frobnicate'" in done.stderr and list(tmp_path.iterdir()) == [copy]


def test_the_summary_shows_no_name_that_a_terminal_obeys(run_playbook: Callable[..., Any]) -> None:
    name = "a\x1b[2J\nn"
    path = "All/" + name
    run = {
        "changed": True,
        "summary": {"user_groups": {}, "users": {}, "memberships": {}},
        "changed_groups": [
            {
                "path": path,
                "changes": ["created"],
                "members_added": [name],
                "members_removed": [name],
                "user_groups_added": [path],
                "user_groups_removed": [path],
            }
        ],
        "affected_groups": [path],
        "unchanged_groups": [path],
        "users": {"created": [name], "renamed": [{"previous_name": name, "name": name}]},
        "unresolved_members": [{"user_group": path, "value": name, "reason": name}],
    }
    template = str(CHECKOUT / "docs" / "quickstart" / "summary.j2")
    show = {"ansible.builtin.debug": {"msg": "{{ lookup('ansible.builtin.template', template) }}"}}
    done = run_playbook([show], vars={"run": run, "template": template})
    assert done.rc == 0, done.output
    lines = done.results[0]["msg"].splitlines()
    assert len(lines) == 6 and all(map(str.isprintable, lines)), lines
    assert sum(line.count(r"a\x1b[2J\nn") for line in lines) == 13


def contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # the process has ended since
        return b""
