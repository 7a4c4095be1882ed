#!/usr/bin/python
# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: store_report
short_description: Make a page of what a store holds
version_added: 0.2.0
author:
  - usersync.directory contributors (@usersync)
description:
  - Writes one self-contained page of HTML. It has the tree of user groups with counts, all users by search, what the
    last runs changed as a chart, who is disabled or extinct and since when, and user groups whose name was taken.
  - The store is only read. The page needs no other file and asks nobody for anything. Its one script is for the search;
    everything that came from the directory is escaped.
  - The page has names of users. So it belongs to the user who runs the task, with mode V(0600), whatever was there.
requirements:
  - python >= 3.9
extends_documentation_fragment:
  - usersync.directory.store
  - usersync.directory.attributes.report
  - usersync.directory.attributes.action_group_store
options:
  dest:
    description:
      - Path of the page, on the node where the task runs. Its directory must exist.
    type: path
    required: true
  runs:
    description:
      - How many of the last runs to look at for the chart. It shows those that changed anything.
    type: int
    default: 200
notes:
  - A store of 100,000 users with 300,000 memberships makes a page of 6 MB, in 4 seconds of one processor and 340 MB of
    memory.
seealso:
  - module: usersync.directory.user_group_info
"""

EXAMPLES = r"""
- name: Make a page of the store
  usersync.directory.store_report:
    dest: /srv/export/users.html
  run_once: true
"""

RETURN = r"""
dest:
  description: Path of the page.
  returned: always
  type: str
  sample: /srv/export/users.html
size:
  description: How many bytes it has.
  returned: always
  type: int
  sample: 6400000
"""

import os
import stat
import tempfile

from ansible.module_utils.basic import AnsibleModule, env_fallback

from ..module_utils._core_dumps import forbid_core_dumps
from ..module_utils._errors import SynchronizationError
from ..module_utils._options import REPORTING, STORE, module_arguments
from ..module_utils._store_report import report


def main() -> None:
    forbid_core_dumps()
    module = AnsibleModule(supports_check_mode=True, **module_arguments(STORE, REPORTING, environment=env_fallback))
    dest = module.params["dest"]
    try:
        page = report(module.params["store"], module.params["runs"], module.params["store_password"]).encode("utf-8")
    except SynchronizationError as error:
        module.fail_json(msg=str(error))
    folder = os.path.dirname(os.path.abspath(dest))
    if not os.path.isdir(folder):
        module.fail_json(
            msg="dest: there is no directory '%s' on the node where this task runs: make it first" % folder
        )
    if os.path.isdir(dest):
        module.fail_json(msg="dest: '%s' is a directory: name a file in it" % dest)
    changed = page != _there(dest)
    if changed and not module.check_mode:
        try:
            _write(folder, os.path.basename(dest), page)
        except OSError as error:
            module.fail_json(
                msg="dest: '%s' cannot be written (%s): name a file that this user may write" % (dest, error)
            )
    module.exit_json(changed=changed, dest=dest, size=len(page))


def _there(path: str) -> bytes:
    """Return what is in the file, if it is one as this module writes it."""
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode) or stat.S_IMODE(found.st_mode) != 0o600 or found.st_uid != os.geteuid():
            return b""
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _write(folder: str, name: str, page: bytes) -> None:
    """Write the file whole or not at all. Nothing of what is there is kept: who made it might read it."""
    descriptor, temporary = tempfile.mkstemp(prefix="." + name, dir=folder)  # of mode 0600
    try:
        with open(descriptor, "wb") as file:
            file.write(page)
        os.replace(temporary, os.path.join(folder, name))
    except BaseException:
        os.unlink(temporary)
        raise


if __name__ == "__main__":
    main()
