# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attributes that the modules have in common."""

from __future__ import annotations


class ModuleDocFragment:
    # What a module that changes the store supports.
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and tell what it would change without changing it.
    support: full
  diff_mode:
    description: Returns details on what has changed, or in check mode would change, in diff mode.
    support: full
  idempotent:
    description: Run again with the same options, and with nothing changed in between, it changes nothing.
    support: full
  platform:
    description: The systems of managed nodes on which it runs.
    platforms: posix
    support: full
"""

    # What a module that only looks supports.
    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode. It changes nothing, so check mode makes no difference.
    support: full
  diff_mode:
    description: Returns details on what has changed in diff mode. It changes nothing, so there are none.
    support: none
  idempotent:
    description: Run again with the same options, and with nothing changed in between, it returns the same.
    support: full
  platform:
    description: The systems of managed nodes on which it runs.
    platforms: posix
    support: full
"""

    # What a module that writes a page supports.
    REPORT = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and tell whether the page would be another one, without writing it.
    support: full
  diff_mode:
    description: Returns details on what has changed in diff mode.
    support: none
  idempotent:
    description: Run again with the same options, and with no run in between, it changes nothing.
    support: full
  platform:
    description: The systems of managed nodes on which it runs.
    platforms: posix
    support: full
"""

    # Members of both action groups.
    ACTION_GROUPS = r"""
options: {}
attributes:
  action_group:
    description:
      - Use C(group/usersync.directory.connection) in C(module_defaults) to set the options of the connection for all
        modules that read a directory, and C(group/usersync.directory.store) to set O(store) for all that work on a
        store.
    support: full
    membership:
      - usersync.directory.connection
      - usersync.directory.store
"""

    ACTION_GROUP_CONNECTION = r"""
options: {}
attributes:
  action_group:
    description:
      - Use C(group/usersync.directory.connection) in C(module_defaults) to set the options of the connection for all
        modules that read a directory.
    support: full
    membership:
      - usersync.directory.connection
"""

    ACTION_GROUP_STORE = r"""
options: {}
attributes:
  action_group:
    description:
      - Use C(group/usersync.directory.store) in C(module_defaults) to set O(store) for all modules that work on a
        store.
    support: full
    membership:
      - usersync.directory.store
"""
