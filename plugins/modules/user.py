#!/usr/bin/python
# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: user
short_description: Keep users made by hand, and local attributes of any user
version_added: 0.2.0
author:
  - usersync.directory contributors (@usersync)
description:
  - Makes, changes and removes users in a store that come from no directory.
  - Gives local attributes to any user. Synchronizations leave local attributes alone.
  - A user made by hand that a synchronization meets, by its name in its home or by its SID, is a collision. What
    happens then is the matter of O(usersync.directory.user_synchronization#module:user_collision).
requirements:
  - python >= 3.9
extends_documentation_fragment:
  - usersync.directory.store
  - usersync.directory.attributes
  - usersync.directory.attributes.action_group_store
options:
  name:
    description:
      - The name of the user, compared without case.
    type: str
    required: true
  user_group:
    description:
      - Path of the user group that is the user's home, such as V(All/Staff).
      - A name and a home are one user. The same name in another home is another one.
    type: str
    required: true
  create_user_group:
    description:
      - Whether to create O(user_group) for a new user, where it does not exist.
    type: bool
    default: true
  state:
    description:
      - V(present) makes the user if there is none.
      - V(absent) removes a user made by hand, and its memberships. A user that comes from a directory is not removed,
        that is an error.
    type: str
    choices: [present, absent]
    default: present
  attributes:
    description:
      - Fields of a user made by hand, and their values, each a text or a list of texts. Fields that are not named stay
        as they are, and a field given V(null) is removed.
      - Those of a user that comes from a directory are what the directory says, and cannot be given here.
    type: dict
  local_attributes:
    description:
      - Local attributes, and their values, in the same way. Any user may have them, one of a directory too.
    type: dict
  sid:
    description:
      - The SID of a user made by hand. An empty text removes it.
    type: str
notes:
  - The store is held like by a run. While one works on it, this waits for up to a minute.
seealso:
  - module: usersync.directory.user_group_info
"""

EXAMPLES = r"""
- name: Keep a user who is in no directory
  usersync.directory.user:
    name: night.watch
    user_group: All/Staff
    attributes:
      display_name: Night watch
      email: watch@example.org

- name: Remember the badge of a user who comes from the directory
  usersync.directory.user:
    name: agnes
    user_group: All/Staff
    local_attributes:
      badge: "1234"
      keys: [front door, pharmacy]

- name: Take a local attribute away
  usersync.directory.user:
    name: agnes
    user_group: All/Staff
    local_attributes:
      badge: null

- name: Remove a user made by hand
  usersync.directory.user:
    name: night.watch
    user_group: All/Staff
    state: absent
"""

RETURN = r"""
user:
  description:
    - The user, as in RV(usersync.directory.user_group_info#module:users), but C(user_groups) is always empty. Null, if
      there is none.
  returned: always
  type: dict
  sample:
    attributes: {display_name: Night watch, email: watch@example.org}
    dn: null
    enabled: true
    extinct: null
    extinct_since: null
    home: All/Staff
    key: null
    local_attributes: {badge: "1001"}
    name: night.watch
    sid: null
    synchronizations: []
    user_groups: []
diff:
  description: What of the user is kept by hand.
  returned: in diff mode
  type: dict
  contains:
    before:
      description: What it was before. Empty, if the user was not there.
      type: dict
      sample: {attributes: {display_name: Night watch}, local_attributes: {}, sid: null}
    after:
      description: What it is afterwards. Empty, if the user is not there any more.
      type: dict
      sample: {attributes: {display_name: Night watch}, local_attributes: {badge: "1001"}, sid: null}
    before_header:
      description: Path of the user.
      type: str
      sample: All/Staff/night.watch
    after_header:
      description: Path of the user.
      type: str
      sample: All/Staff/night.watch
"""

from ansible.module_utils.basic import AnsibleModule, env_fallback

from ..module_utils._core_dumps import forbid_core_dumps
from ..module_utils._errors import SynchronizationError
from ..module_utils._options import STORE, USER, module_arguments
from ..module_utils._user import set_user


def main() -> None:
    forbid_core_dumps()
    module = AnsibleModule(supports_check_mode=True, **module_arguments(STORE, USER, environment=env_fallback))
    try:
        result = set_user(module.params, module.check_mode)
    except SynchronizationError as error:
        module.fail_json(msg=str(error))
    if not module._diff:
        del result["diff"]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
