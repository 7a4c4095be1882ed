# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print which files and directories are as they are wanted; the tasks of the role leave these alone.

    as_wanted.py < WANTED        a list in JSON; so is what is printed, of paths

Ansible would look at each of them by a program of its own, and with two dozen of them that is most of a play in which
nothing changes. What is not printed, for whatever reason, is seen to by its task as ever.
"""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import stat
import sys
from typing import Any


def is_as_wanted(wanted: dict[str, Any]) -> bool:
    """Whether this is so.

    ``state`` is file, directory or absent. What is there has ``owner``, ``group``, ``mode``, and a file ``sha256``.
    """
    path, state = wanted["path"], wanted["state"]
    if state == "absent":
        return not os.path.lexists(path)
    try:
        found = os.lstat(path)
        owner, group = pwd.getpwnam(wanted["owner"]).pw_uid, grp.getgrnam(wanted["group"]).gr_gid
    except (OSError, KeyError):
        return False
    is_kind = stat.S_ISDIR if state == "directory" else stat.S_ISREG
    return (
        is_kind(found.st_mode)
        and (found.st_uid, found.st_gid) == (owner, group)
        and stat.S_IMODE(found.st_mode) == int(wanted["mode"], 8)
        and (state == "directory" or digest(path) == wanted["sha256"])
    )


def digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


if __name__ == "__main__":
    print(json.dumps([each["path"] for each in json.load(sys.stdin) if is_as_wanted(each)]))
