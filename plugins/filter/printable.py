# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: printable
short_description: A text from a directory as one harmless line
version_added: 0.2.0
author:
  - usersync.directory contributors (@usersync)
description:
  - Escapes the characters that a text may have and a line may not. These are line breaks, other control characters such
    as those that command a terminal, and characters that turn the text around. They become C(\n), C(\x1b), C(\u202e).
  - Ansible prints the label of a loop, and the message of a failed task, as they are. People write some of their
    attributes themselves, and the administrators of a unit write all that is in it.
options:
  _input:
    description:
      - A text, such as the name of a user. Anything else is made one.
    type: raw
    required: true
seealso:
  - module: usersync.directory.user_group_info
"""

EXAMPLES = r"""
- name: Look up the nurses
  usersync.directory.user_group_info:
    user_group: All/Staff/Nurses
  register: nurses

- name: Show their addresses
  ansible.builtin.debug:
    msg: "{{ item.attributes.email | default('no address') | usersync.directory.printable }}"
  loop: "{{ nurses.users }}"
  loop_control:
    label: "{{ item.name | usersync.directory.printable }}"
"""

RETURN = r"""
_value:
  description: The text, in one line.
  type: str
  sample: new\nline
"""

from ..module_utils._printable import printable


class FilterModule:
    def filters(self):
        return {"printable": printable}
