#!/usr/bin/python
# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: user_group_changes
short_description: Return what happened to user groups, for loops with any module
version_added: 0.2.0
author:
  - usersync.directory contributors (@usersync)
description:
  - Returns who joined and left the chosen user groups of the store since the last acknowledgement, and who was
    renamed, enabled, disabled or changed. Loops with modules of any collection make it so in a service.
  - O(acknowledge) says that the loops have succeeded. What was returned does not come again then.
  - A loop may fail in the middle. What was returned and is not acknowledged is returned again, as it is by then.
    Whoever joined, and left before it was acknowledged, is returned as one who left, since a loop may have let him in.
    So nothing is lost, and nothing is skipped. The tasks in the loops must take it that what they do is done already.
  - It writes to the store only, and nowhere else. Let one play at a time work with one O(name).
requirements:
  - python >= 3.9
extends_documentation_fragment:
  - usersync.directory.store
  - usersync.directory.attributes
  - usersync.directory.attributes.action_group_store
options:
  name:
    description:
      - Under this name the store keeps what was acknowledged. Take one for each service. It cannot be that of a
        provisioning.
    type: str
    required: true
  state:
    description:
      - V(present) - Return what happened, or acknowledge it.
      - V(released) - Forget what was acknowledged. The next call returns all members, as the first one did.
    type: str
    choices: [present, released]
    default: present
  user_groups:
    description:
      - Paths of the user groups that matter. Members of nested user groups are members, too. Extinct users are none.
      - Members are those that the user group lists. Who only has the home in it is no member.
      - The members of a user group that is taken out of this list are returned as those who left it.
      - If one of them is missing or extinct in the store, the task fails. Nobody is to lose an account since a path was
        misspelled.
      - One of O(user_groups) and O(acknowledge) is needed.
    type: list
    elements: str
  acknowledge:
    description:
      - The RV(plan_digest) of what was returned last under this O(name). Just that is acknowledged, and nothing that
        happened since.
      - Any other one is an error, and nothing is acknowledged. The one that was acknowledged last is none, and neither
        is that of a result in which nothing happened.
      - In check mode it is not compared, since what a dry run returned is kept nowhere.
    type: str
  allow_empty:
    description:
      - Whether a user group of O(user_groups) may have no members. It is else an error.
    type: bool
    default: false
  user_attributes:
    description:
      - What RV(joined[].attributes) has of a user, with the field of the store for each. Local attributes of a user
        count more than those from the directory. Of several values it is the first.
      - Left out, it is C(display_name), C(given_name), C(surname), C(title), C(email) and C(phone), each from the field
        of that name.
    type: dict
  removal_limits:
    description:
      - How much may be taken away. If it is more, the task fails, in check mode, too, and nothing of it can be
        acknowledged.
      - A limit is a number such as V(50), or a percentage such as V(10%) of what is acknowledged. Write one limit for
        everything, or a dictionary with limits of the kinds below.
      - A limit that is left out is 20%, or 10 if that is more, but never more than half. A limit that is given counts
        as it is.
      - V(users) are users that are in none of the user groups any more.
      - V(user_groups) are those that are taken out of O(user_groups).
      - V(memberships) are memberships that end, in all, and by themselves in each group of 100 members and more.
      - V(attributes) are values that users lose that stay.
      - V(renames) are users and user groups that get another name.
      - V(states) are users that are enabled or disabled.
      - What was returned already, and is not acknowledged, is not counted again.
    type: raw
    default: {}
  approved_plan:
    description:
      - The RV(plan_digest) of a dry run that somebody has looked at. If this is what happened, it is returned, whatever
        O(removal_limits) says. Anything else is refused, unless nothing happened.
    type: str
  approved_removals:
    description:
      - The RV(removals_digest) of a dry run that somebody has looked at. Just this may be taken away.
    type: str
  store_timeout:
    description:
      - How many seconds to wait while a synchronization holds the store.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
    details:
      - What happened is returned, and the store is not written to.
  diff_mode:
    support: full
  idempotent:
    details:
      - What is not acknowledged is returned again.
seealso:
  - module: usersync.directory.user_synchronization
  - module: usersync.directory.scim_provisioning
    description: For services that speak SCIM, which needs no loops.
  - module: usersync.directory.user_group_info
    description: Who is in what now.
"""

EXAMPLES = r"""
# Each loop may fail: what is not acknowledged comes again.
- name: See what happened since the last acknowledgement
  usersync.directory.user_group_changes:
    name: wiki
    user_groups:
      - All/Staff/Nurses
  register: changes
  run_once: true
  delegate_to: localhost

- name: Take out who left
  ansible.builtin.debug:
    msg: "{{ item.name }} leaves {{ item.user_group }}{{ ', and has no account any more' if item.is_last else '' }}"
  loop: "{{ changes.left }}"
  loop_control:
    label: "{{ item.key }}"
  run_once: true

- name: Let in who joined
  ansible.builtin.debug:
    msg: "{{ item.name }} <{{ item.attributes.email | default('no address') }}> joins {{ item.user_group }}"
  loop: "{{ changes.joined }}"
  loop_control:
    label: "{{ item.key }}"
  run_once: true

- name: Go on from here the next time
  usersync.directory.user_group_changes:
    name: wiki
    acknowledge: "{{ changes.plan_digest }}"
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
msg:
  description:
    - One line that says how much happened. It has counts, and no names.
    - If the task fails, it says why, and what to do.
  returned: always
  type: str
  sample: "joined: 2, left: 1, renamed: 1, changed groups: 1"
changed:
  description: Whether anything happened; with O(acknowledge), whether that was not acknowledged before.
  returned: success or refusal
  type: bool
  sample: true
dry_run:
  description: Whether nothing was written.
  returned: success or refusal
  type: bool
  sample: false
began:
  description: When it was looked at, in UTC, by the clock of the node where the task ran.
  returned: success or refusal
  type: str
  sample: "2026-11-30T04:00:01Z"
joined:
  description:
    - Who joined which user group, one entry for each membership. These lists are never cut.
    - Work through them in this order, so that whoever is named is there. RV(renamed), RV(left), RV(updated),
      RV(disabled), RV(enabled), RV(joined).
  returned: success or refusal
  type: list
  elements: dict
  contains:
    key:
      description: The stable key of the user, which never changes. Of a user made by hand C(path:) and the place.
      type: str
      sample: 5f0c1f0e-7c2f-4d3f-9d8e-0a6d5c4b3a21
    name:
      description: The name now; of somebody who is in none of the user groups any more, the last one.
      type: str
      sample: zoe
    previous_names:
      description: Other names that the service may have, the one that was acknowledged first. Mostly empty.
      type: list
      elements: str
      sample: [zoey]
    enabled:
      description: Whether the user is enabled.
      type: bool
      sample: true
    attributes:
      description: What O(user_attributes) names. An attribute without a value is left out.
      type: dict
      sample: {display_name: Zoe, email: zoe@example.org}
    user_group:
      description: Path of the user group.
      type: str
      sample: All/Staff/Nurses
    is_new:
      description: Whether the user may have been in none of the user groups before.
      type: bool
      sample: true
  sample:
    - attributes: {display_name: Zoe, email: zoe@example.org}
      enabled: true
      is_new: true
      key: 5f0c1f0e-7c2f-4d3f-9d8e-0a6d5c4b3a21
      name: zoe
      previous_names: []
      user_group: All/Staff/Nurses
left:
  description:
    - Who left which user group. The entries are as in RV(joined), but for RV(joined[].is_new). In its place
      C(is_last) says that the user is in none of the user groups any more.
  returned: success or refusal
  type: list
  elements: dict
  sample:
    - attributes: {display_name: Bob}
      enabled: true
      is_last: true
      key: 0b7a3e2d-8c9b-4a0f-8e5d-1f0c7c2f4d3f
      name: bob
      previous_names: []
      user_group: All/Staff/Nurses
renamed:
  description:
    - Who has another name now. The entries have RV(joined[].key), RV(joined[].name), RV(joined[].previous_names),
      RV(joined[].enabled) and RV(joined[].attributes), and C(previous_name), the first of the names before.
    - Names are free before they are given, unless some were swapped.
  returned: success or refusal
  type: list
  elements: dict
  sample:
    - attributes: {display_name: Eve}
      enabled: true
      key: 9d8e5f0c-1f0e-4c2f-8d3f-0a6d5c4b3a21
      name: eve
      previous_name: ann
      previous_names: [ann]
enabled:
  description: Who is enabled again. The entries are as in RV(renamed), without C(previous_name).
  returned: success or refusal
  type: list
  elements: dict
  sample:
    - attributes: {display_name: Dan}
      enabled: true
      key: 4d3f9d8e-5f0c-4f0e-8c2f-0a6d5c4b3a21
      name: dan
      previous_names: []
disabled:
  description: Who is disabled since. The entries are as in RV(enabled). Whoever joins disabled is in RV(joined) only.
  returned: success or refusal
  type: list
  elements: dict
  sample:
    - attributes: {display_name: Cyd}
      enabled: false
      key: 7c2f4d3f-9d8e-4f0c-8f0e-0a6d5c4b3a21
      name: cyd
      previous_names: []
updated:
  description:
    - Of whom an attribute changed. The entries are as in RV(enabled), with the names of the attributes in
      C(changed_attributes).
  returned: success or refusal
  type: list
  elements: dict
  sample:
    - attributes: {display_name: Eve, email: eve@example.org}
      changed_attributes: [email]
      enabled: true
      key: 9d8e5f0c-1f0e-4c2f-8d3f-0a6d5c4b3a21
      name: eve
      previous_names: []
changed_groups:
  description: User groups that changed, or whose members did.
  returned: success or refusal
  type: list
  elements: dict
  contains:
    key:
      description: The stable key. Of a user group made by hand C(path:) and its path.
      type: str
      sample: 1f0e7c2f-4d3f-4d8e-8f0c-0a6d5c4b3a21
    path:
      description: Its path; the last one, if it is no longer in O(user_groups).
      type: str
      sample: All/Staff/Nurses
    previous_paths:
      description: Other paths that it had.
      type: list
      elements: str
      sample: [All/Staff/Carers]
    changes:
      description:
        - What happened to it, among V(created), V(renamed), V(deleted), V(members). The first and the third are about
          O(user_groups).
      type: list
      elements: str
      sample: [renamed, members]
summary:
  description: Counts of accounts, groups and memberships, as those of M(usersync.directory.scim_provisioning).
  returned: success or refusal
  type: dict
  sample:
    accounts:
      created: 1
      deleted: 1
      disabled: 0
      enabled: 0
      linked: 0
      renamed: 0
      total: 250
      unchanged: 249
      updated: 0
    groups:
      changed: 1
      created: 0
      deleted: 0
      linked: 0
      members: 1
      renamed: 0
      total: 12
      unchanged: 11
      updated: 0
    memberships:
      added: 1
      removed: 1
      total: 612
refused:
  description:
    - Why the task was refused. Empty when the loops may go on. A refused task fails, and has all keys of the result.
  returned: success or refusal
  type: list
  elements: dict
  contains:
    limit:
      description:
        - The kind of O(removal_limits). Else V(approved_plan), V(approved_removals), or V(user_groups) where a user
          group is missing, extinct or empty.
      type: str
      sample: users
    would_remove:
      description: How much would be taken away.
      type: int
      sample: 60
    of:
      description: Out of how much.
      type: int
      sample: 250
    option:
      description: The option that sets the limit.
      type: str
      sample: removal_limits.users
    about:
      description: Path of the user group that exceeds the limit by itself. Else null.
      type: str
      sample: All/Staff/Nurses
plan_digest:
  description:
    - A digest of what happened, for O(acknowledge) and O(approved_plan). The same in check mode. It stays the same
      until it is acknowledged, or something else happens.
  returned: success or refusal
  type: str
  sample: "users+3-1~2,user_groups+1-0~0,memberships+12-4:6f1c9d5f4f0b7a3e2d8c..."
removals_digest:
  description: A digest of what is taken away, for O(approved_removals).
  returned: success or refusal
  type: str
  sample: "users-1,user_groups-0,memberships-4,attributes-0:0b7a3e2d8c9b1a0f6e5d..."
settings:
  description: The options with their defaults, and no secret.
  returned: success or refusal
  type: dict
  sample:
    acknowledge: null
    name: wiki
    state: present
    user_groups: [All/Staff/Nurses]
diff:
  description: What happened, before and after, as text. Of much it has the beginning.
  returned: in diff mode
  type: dict
  contains:
    before:
      description: What changes as it was before.
      type: str
      sample: "account bob\n    enabled: true\n"
    after:
      description: The same after.
      type: str
      sample: "account bob\n    enabled: false\n"
"""

from ansible.module_utils.basic import AnsibleModule, env_fallback

from ..module_utils._core_dumps import forbid_core_dumps
from ..module_utils._errors import Refused, SynchronizationError
from ..module_utils._options import CHANGES, STORE, module_arguments
from ..module_utils._user_group_changes import changes_settings, user_group_changes


def main() -> None:
    forbid_core_dumps()
    arguments = module_arguments(CHANGES, STORE, environment=env_fallback)
    module = AnsibleModule(supports_check_mode=True, **arguments)
    try:
        result = user_group_changes(changes_settings(module.params), module.check_mode, module._diff)
    except Refused as refusal:
        module.fail_json(**refusal.result)
    except SynchronizationError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
