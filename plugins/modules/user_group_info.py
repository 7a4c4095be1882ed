#!/usr/bin/python
# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: user_group_info
short_description: Look up synchronized user groups and users
version_added: 0.2.0
author:
  - usersync.directory contributors (@usersync)
description:
  - Returns what a store holds, in a form for loops. User groups, users, who is in what, and the last runs.
  - O(user_group), O(synchronization) and O(user) narrow the answer together. Without any of them it is about all.
  - The store is only read. No file is made or touched, and a run that writes at the same time is not disturbed; what is
    returned is the state before that run, or after it.
requirements:
  - python >= 3.9
extends_documentation_fragment:
  - usersync.directory.store
  - usersync.directory.attributes.info
  - usersync.directory.attributes.action_group_store
options:
  user_group:
    description:
      - Path of a user group, such as V(All/Staff/Nurses). RV(user_groups) has only this one, and RV(users) its members.
      - A path that does not exist is an error, so that a wrong path is not taken for a group without members. So is
        that of an extinct user group, unless O(include_extinct=true).
    type: str
  synchronization:
    description:
      - The name of a synchronization. RV(user_groups) has those that belong to it, RV(users) those that it has in
        scope, and RV(runs) its own.
    type: str
  user:
    description:
      - The name of a user, compared without case. RV(users) has those of that name, and RV(user_groups) those in which
        they are.
    type: str
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
      - Whether to return users and user groups that are extinct.
      - With O(usersync.directory.user_synchronization#module:user_extinction=disable) extinct users are disabled, too.
        They take O(include_disabled=true) besides.
    type: bool
    default: false
  runs:
    description:
      - How many of the last runs to return.
    type: int
    default: 10
  history:
    description:
      - How much of the history of O(user_group), or of O(user), to return. With both, it is that of their memberships.
      - With O(include_extinct=true) a user group that was removed is no error, as long as its history is known.
    type: int
    default: 0
notes:
  - The module runs on the managed node, where O(store) lies. For a store on the control node there is the lookup
    P(usersync.directory.user_group_members#lookup), too.
seealso:
  - plugin: usersync.directory.user_group_members
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Look up the nurses, those of nested user groups included
  usersync.directory.user_group_info:
    user_group: All/Staff/Nurses
    effective: true
  register: nurses

- name: Show their addresses
  ansible.builtin.debug:
    msg: "{{ item.name }} <{{ item.attributes.email | default('no address') }}>"
  loop: "{{ nurses.users }}"
  loop_control:
    label: "{{ item.name | usersync.directory.printable }}"

- name: Look up in which user groups a user is, also by nesting
  usersync.directory.user_group_info:
    user: agnes
    effective: true
  register: agnes

- name: Show their paths
  ansible.builtin.debug:
    msg: "{{ agnes.user_groups | map(attribute='path') }}"

- name: Look up who joined or left a user group lately, and when
  usersync.directory.user_group_info:
    user_group: All/Staff/Nurses
    history: 20
  register: changes

- name: Show it
  ansible.builtin.debug:
    msg: "{{ item.time }} {{ item.event }} {{ item.member or item.after }}"
  loop: "{{ changes.history }}"
  loop_control:
    label: "{{ item.time }}"

- name: Look up the last run of a synchronization
  usersync.directory.user_group_info:
    synchronization: staff
    runs: 1
  register: staff

- name: Fail if it is older than a day
  ansible.builtin.assert:
    that: (now(utc=true) - (staff.runs[0].time | to_datetime('%Y-%m-%dT%H:%M:%SZ'))).total_seconds() < 86400
"""

RETURN = r"""
user_groups:
  description: User groups, each before those below it.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: Its path.
      type: str
      sample: All/Staff/Nurses
    name:
      description: Its name, the last part of its path.
      type: str
      sample: Nurses
    dn:
      description: The DN of its entry in the directory. Null, where it was not made by a synchronization.
      type: str
      sample: CN=Nurses,OU=Groups,DC=corp,DC=example
    key:
      description: Its stable key in the directory. Null, where it was not made by a synchronization.
      type: str
      sample: 5f0c6f0e-8f0b-4c7e-9b43-0f8e5d1c2a3b
    synchronization:
      description: The name of the synchronization to which it belongs, or null.
      type: str
      sample: staff
    attributes:
      description: Its fields.
      type: dict
      sample: {description: On the wards}
    members:
      description: Names of the users in it, sorted. With O(effective=true) also of those in nested user groups.
      type: list
      elements: str
      sample: [agnes, bert]
    user_groups:
      description: Paths of the user groups nested in it.
      type: list
      elements: str
      sample: [All/Staff/Night]
    extinct:
      description: V(gone), V(out_of_scope), or null if it is not extinct.
      type: str
      sample: gone
    extinct_since:
      description: When it became extinct, in UTC, or null.
      type: str
      sample: "2026-11-22T12:00:03Z"
users:
  description: Users, sorted by name.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The name.
      type: str
      sample: agnes
    home:
      description: Path of the user group in which the record sits.
      type: str
      sample: All/Staff
    user_groups:
      description:
        - Paths of the user groups of which the user is a member. With O(effective=true) also of those in which such a
          user group is nested.
      type: list
      elements: str
      sample: [All/Staff/Nurses]
    enabled:
      description: Whether the user is enabled.
      type: bool
      sample: true
    extinct:
      description: V(gone), V(out_of_scope), or null if the user is not extinct.
      type: str
      sample: out_of_scope
    extinct_since:
      description: When the user became extinct, in UTC, or null.
      type: str
      sample: "2026-03-01T06:00:12Z"
    attributes:
      description: The fields that come from the directory, or were given by hand where the user was made by hand.
      type: dict
      sample: {display_name: Agnès Müller, email: agnes@example.org}
    local_attributes:
      description: The fields that were given by hand, see M(usersync.directory.user).
      type: dict
      sample: {badge: "1001"}
    sid:
      description: The SID, or null.
      type: str
      sample: S-1-5-21-1004336348-1177238915-682003330-1104
    key:
      description: The stable key in the directory. Null, where the user was made by hand.
      type: str
      sample: 7d1b9a54-2c3e-4f60-8a9d-1b2c3d4e5f60
    dn:
      description: The DN of the entry in the directory. Null, where the user was made by hand.
      type: str
      sample: CN=Agnes,OU=Staff,DC=corp,DC=example
    synchronizations:
      description: Names of the synchronizations that have the user in scope.
      type: list
      elements: str
      sample: [staff]
runs:
  description: The last runs that were applied, the newest first.
  returned: always
  type: list
  elements: dict
  contains:
    synchronization:
      description: The name of the synchronization.
      type: str
      sample: staff
    time:
      description: When it began, in UTC.
      type: str
      sample: "2026-03-01T06:00:12Z"
    seconds:
      description: How long it took, in seconds.
      type: float
      sample: 1.2
    server:
      description: The server that it read.
      type: str
      sample: dc1.corp.example:636
    mode:
      description: How the directory was read.
      type: str
      sample: full
    reason:
      description: Why it was read so.
      type: str
      sample: it is the first run
    changed:
      description: Whether it changed anything.
      type: bool
      sample: true
    summary:
      description: Its counts, as in RV(usersync.directory.user_synchronization#module:summary).
      type: dict
      sample: {users: {created: 3}, user_groups: {created: 2}, memberships: {added: 4}}
    plan_digest:
      description: The digest of what it changed.
      type: str
      sample: "users+3-0~0,user_groups+2-0~0,memberships+4-0:9d2c7a1e5b3f8c6d0e4a..."
history:
  description:
    - What runs did to the user group or the user, the newest first. How far it goes back is the matter of
      O(usersync.directory.user_synchronization#module:history_days).
    - Local attributes, and what M(usersync.directory.user) does, are no part of it.
  returned: always
  type: list
  elements: dict
  contains:
    time:
      description: When the run began, in UTC.
      type: str
      sample: "2026-03-01T06:00:12Z"
    synchronization:
      description: The name of the synchronization.
      type: str
      sample: staff
    event:
      description: V(created), V(changed), V(member_added), V(member_removed) or V(deleted).
      type: str
      sample: member_added
    path:
      description: Path of the user group, as it was then. For what happened to a user itself, its path.
      type: str
      sample: All/Staff/Nurses
    member:
      description: Who joined or left, the name of a user or the path of a user group. Null for other events.
      type: str
      sample: zoe
    before:
      description: Of what changed, how it was before. Null, where nothing was changed.
      type: dict
      sample: {name: Nurses}
    after:
      description: Of what changed, how it was afterwards. Null, where nothing was changed.
      type: dict
      sample: {name: Ward nurses}
"""

from ansible.module_utils.basic import AnsibleModule, env_fallback

from ..module_utils._core_dumps import forbid_core_dumps
from ..module_utils._errors import SynchronizationError
from ..module_utils._look_up import look_up
from ..module_utils._options import LOOKING_UP, STORE, module_arguments


def main() -> None:
    forbid_core_dumps()
    module = AnsibleModule(supports_check_mode=True, **module_arguments(STORE, LOOKING_UP, environment=env_fallback))
    try:
        result = look_up(module.params, module.warn)
    except SynchronizationError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
