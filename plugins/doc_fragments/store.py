# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the store options: the twin of STORE in ``plugins/module_utils/_options.py``."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
requirements:
  - psycopg >= 3.1, for a store in PostgreSQL
options:
  store:
    description:
      - Path of the database file that holds user groups, users and memberships, on the node where the task runs.
      - Or the URI of a database in PostgreSQL that holds them, such as V(postgresql://usersync@db.example.org/directory),
        with what libpq takes in one. Its schema is V(usersync), unless the URI ends in C(?schema=) and another name.
      - A URI has no password in it, that is an error. O(store_password) has it, if one is needed.
      - Where nothing else is said, the certificate of the database server must be right (C(sslmode=verify-full)), on
        every way to it but a Unix socket. A database takes psycopg on the node where the task runs.
      - A file that is missing is made with mode V(0600), in a directory made with mode V(0700). The mode and owner
        of an existing file are kept.
      - A link is followed unless others than the user who runs the task can write the directory that it lies in. For a
        store in a directory of another user, run the task as that user.
    type: str
    default: /var/lib/user_synchronization/users.db
  store_password:
    description:
      - The password for the database that O(store) names, if it asks for one.
      - Left out, it is the value of the environment variable C(USERSYNC_STORE_PASSWORD), if there is one.
    type: str
    version_added: 0.2.0
"""
