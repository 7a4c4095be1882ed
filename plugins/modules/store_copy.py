#!/usr/bin/python
# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: store_copy
short_description: Copy a store to another place
version_added: 0.2.0
author:
  - usersync.directory contributors (@usersync)
description:
  - Copies a store from a file into a database, from a database into a file, or from one of these to another. All is
    copied, history included, and the next run goes on where the last one was.
  - What is copied to must have nothing in it. If it is equal already, nothing is done.
  - Stop the runs that write to the store, or what they write after the copy has begun is not in it. A run that writes
    while the store is read makes it fail.
requirements:
  - python >= 3.9
extends_documentation_fragment:
  - usersync.directory.store
  - usersync.directory.attributes
  - usersync.directory.attributes.action_group_store
options:
  to:
    description:
      - Where the copy is to be, as in O(store).
    type: str
    required: true
  to_password:
    description:
      - The password for the database that O(to) names, if it asks for one.
    type: str
  store_timeout:
    description:
      - How many seconds to wait while a run holds the store that is copied to.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
seealso:
  - module: usersync.directory.user_synchronization
"""

EXAMPLES = r"""
- name: Move a store into a database
  usersync.directory.store_copy:
    store: /srv/users.db
    to: postgresql://usersync@db.example.org/directory
    to_password: "{{ vault_usersync_password }}"

- name: Move it back
  usersync.directory.store_copy:
    store: postgresql://usersync@db.example.org/directory
    store_password: "{{ vault_usersync_password }}"
    to: /srv/users-again.db
"""

RETURN = r"""
counts:
  description: How many of each the store has that was copied.
  returned: success
  type: dict
  contains:
    user_groups:
      description: User groups, extinct ones included.
      type: int
      sample: 12
    users:
      description: Users, extinct ones included.
      type: int
      sample: 250
    memberships:
      description: Users in user groups.
      type: int
      sample: 612
    runs:
      description: Runs that the history has.
      type: int
      sample: 5
"""

from ansible.module_utils.basic import AnsibleModule, env_fallback

from ..module_utils._copy_store import copy_store
from ..module_utils._core_dumps import forbid_core_dumps
from ..module_utils._errors import SynchronizationError
from ..module_utils._options import COPYING, STORE, module_arguments


def main() -> None:
    forbid_core_dumps()
    module = AnsibleModule(supports_check_mode=True, **module_arguments(STORE, COPYING, environment=env_fallback))
    try:
        result = copy_store(module.params, module.check_mode)
    except SynchronizationError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
