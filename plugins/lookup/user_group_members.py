# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: user_group_members
short_description: The users in a synchronized user group
version_added: 0.2.0
author:
  - usersync.directory contributors (@usersync)
description:
  - Returns the users in a user group with their attributes, for loops that make accounts, keys or roles of them.
  - It reads a store on the control node. For a store that lies elsewhere use M(usersync.directory.user_group_info),
    which runs there and returns the same in RV(usersync.directory.user_group_info#module:users).
  - Users that are disabled or extinct are left out, unless they are asked for.
  - A path that does not exist is an error, so is an extinct user group, unless it is asked for, and so is no path at
    all. So a loop that removes whoever is not listed meets no empty list by mistake.
  - What came from the directory is never a template. A name such as V({{ password }}) stays what it is.
requirements:
  - psycopg >= 3.1, for a store in PostgreSQL
options:
  _terms:
    description:
      - Paths of user groups, such as V(All/Staff/Nurses).
    required: true
    type: list
    elements: str
  store:
    description:
      - Path of the database file that holds user groups, users and memberships, on the control node; or the URI of a
        database in PostgreSQL, as in O(usersync.directory.user_group_info#module:store).
    type: str
    default: /var/lib/user_synchronization/users.db
  store_password:
    description:
      - The password for the database that O(store) names, if it asks for one.
    type: str
    env:
      - name: USERSYNC_STORE_PASSWORD
  effective:
    description:
      - Whether the members of nested user groups are members, too. Those of an extinct user group are not.
    type: bool
    default: false
  include_disabled:
    description:
      - Whether to return users that are disabled.
    type: bool
    default: false
  include_extinct:
    description:
      - Whether to return users that are extinct, and accept a user group that is.
      - With O(usersync.directory.user_synchronization#module:user_extinction=disable) extinct users are disabled, too.
        They take O(include_disabled=true) besides.
    type: bool
    default: false
seealso:
  - module: usersync.directory.user_group_info
"""

EXAMPLES = r"""
- name: Show the nurses and their addresses, those of nested user groups included
  ansible.builtin.debug:
    msg: "{{ item.name }} <{{ item.attributes.email | default('no address') }}>"
  loop: "{{ lookup('usersync.directory.user_group_members', 'All/Staff/Nurses', effective=true,
                   store='/srv/users.db') }}"
  loop_control:
    label: "{{ item.name | usersync.directory.printable }}"

# query() returns one list of users for each path.
- name: Show the names in two user groups
  ansible.builtin.debug:
    msg: "{{ query('usersync.directory.user_group_members', 'All/Staff/Nurses', 'All/Staff/Doctors',
                   store='/srv/users.db') | flatten | map(attribute='name') | unique }}"
"""

RETURN = r"""
_raw:
  description:
    - For each path a list of users, sorted by name. With one path, C(lookup()) returns just that list.
    - Each user has what RV(usersync.directory.user_group_info#module:users) says.
  type: list
  elements: list
  sample: [[{name: ann, home: All/Staff, enabled: true}]]
"""

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display

from ..module_utils._errors import SynchronizationError
from ..module_utils._look_up import look_up


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        names = ("store", "store_password", "effective", "include_disabled", "include_extinct")
        options = {name: self.get_option(name) for name in names}
        if not terms:
            raise AnsibleLookupError("user_group_members: no path of a user group is given: write one, such as 'All'")
        try:
            return [look_up(dict(options, user_group=term, runs=0), Display().warning)["users"] for term in terms]
        except SynchronizationError as error:
            raise AnsibleLookupError(str(error)) from None
