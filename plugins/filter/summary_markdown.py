# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: summary_markdown
short_description: The result of a synchronization as Markdown
version_added: 0.2.0
author:
  - usersync.directory contributors (@usersync)
description:
  - Makes a page of what happened, or in check mode would happen. The counts, who is removed, the tree of user groups
    that change with who left and who joined, what else happened to users, and what needs attention.
  - It has at most 60,000 bytes, which fit into a comment on a merge request. Long lists are cut, and what is removed
    comes first. User groups that stay as they are are counted only.
  - For a comment on a merge request, a chat or a mail. Everything that came from the directory stands in code, where
    nothing is markup and nobody is mentioned.
options:
  _input:
    description:
      - A result of M(usersync.directory.user_synchronization), M(usersync.directory.scim_provisioning) or
        M(usersync.directory.user_group_changes), of a dry run, a run or a refused run.
    type: dict
    required: true
seealso:
  - module: usersync.directory.user_synchronization
  - module: usersync.directory.scim_provisioning
  - module: usersync.directory.user_group_changes
"""

EXAMPLES = r"""
- name: Synchronize, or see what that would change
  usersync.directory.user_synchronization:
    name: staff
    user_group: All/Staff
    server: dc1.corp.example
    login: CORP\SVC-SYNC
    password: "{{ vault_svc_sync_password }}"
    distinguished_name: OU=Staff,DC=corp,DC=example
  run_once: true
  delegate_to: localhost
  register: synchronization

- name: Write it down for the merge request
  ansible.builtin.copy:
    content: "{{ synchronization | usersync.directory.summary_markdown }}"
    dest: summary.md
    mode: "0600"
  check_mode: false
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
_value:
  description: The page.
  type: str
  sample: "## Synchronization `staff`…"
"""

from ansible.errors import AnsibleFilterError

from ..plugin_utils import as_markdown


def summary_markdown(result):
    try:
        return as_markdown.markdown(result)
    except ValueError as error:
        raise AnsibleFilterError("summary_markdown: %s" % error) from None


class FilterModule:
    def filters(self):
        return {"summary_markdown": summary_markdown}
