# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the store options: the twin of STORE in ``plugins/module_utils/_options.py``."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  store:
    description:
      - Path of the database file that holds user groups, users and memberships, on the node where the task runs.
      - Where it is missing, a run makes it with mode V(0600), in a directory made with mode V(0700). The mode and owner
        of an existing file are kept.
      - A link is followed unless others than the user who runs the task can write the directory that it lies in. For a
        store in a directory of another user, run the task as that user.
    type: path
    default: /var/lib/user_synchronization/users.db
"""
