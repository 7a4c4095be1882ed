# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a play of the role leaves alone since it is as it should be, by roles/.../files/as_wanted.py."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import subprocess
import sys

import pytest
from support.role_programs import FILES

OWNER, GROUP = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name


def as_wanted(*wanted):
    """As the role calls it: the program as an argument, the list on standard input."""
    program = (FILES / "as_wanted.py").read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], input=json.dumps(wanted), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def file(path, content=b"x", **more):
    digest = hashlib.sha256(content).hexdigest()
    wanted = {"path": str(path), "state": "file", "owner": OWNER, "group": GROUP, "mode": "0640", "sha256": digest}
    return {**wanted, **more}


@pytest.fixture
def there(tmp_path):
    path = tmp_path / "there"
    path.write_bytes(b"x")
    path.chmod(0o640)
    return path


def test_what_is_as_it_should_be_is_told(there, tmp_path):
    tmp_path.chmod(0o750)
    directory = {**file(tmp_path), "state": "directory", "mode": "0750"}
    gone = {"path": str(tmp_path / "gone"), "state": "absent"}
    assert as_wanted(file(there), directory, gone) == [str(there), str(tmp_path), str(tmp_path / "gone")]


@pytest.mark.parametrize(
    "more",
    [
        {"mode": "0644"},
        {"owner": "nobody"},
        {"group": "nogroup-of-this-name"},
        {"owner": "nobody-of-this-name"},
        {"sha256": "00"},
        {"state": "directory"},
        {"state": "absent"},
    ],
    ids=repr,
)
def test_what_differs_is_not_told(there, more):
    assert as_wanted(file(there, **more)) == []


def test_a_link_is_not_taken_for_what_it_leads_to(there, tmp_path):
    link, loose = tmp_path / "link", tmp_path / "loose"
    link.symlink_to(there)
    loose.symlink_to(tmp_path / "nowhere")
    gone = {"path": str(loose), "state": "absent"}
    assert as_wanted(file(link), file(tmp_path / "missing"), gone) == []
