# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: summary_html
short_description: The result of a synchronization as HTML
version_added: 0.2.0
author:
  - usersync.directory contributors (@usersync)
description:
  - Makes one self-contained page of what happened, or in check mode would happen. On top it says whether this is a dry
    run or was done, when, by which server, and the digest to approve. What is removed comes first, then the tree of
    user groups with what changes in colour, what happened to users, collisions, and members that could not be resolved.
  - It needs no other file, is readable on a phone, and follows the light or dark colours of the reader. Its one script
    is for the search; without scripts all else is there.
  - Everything that came from the directory is escaped, and the page forbids any other script.
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

- name: Keep a page of it as an artifact of the pipeline
  ansible.builtin.copy:
    content: "{{ synchronization | usersync.directory.summary_html }}"
    dest: summary.html
    mode: "0600"
  check_mode: false
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
_value:
  description: The page.
  type: str
  sample: "<!DOCTYPE html>…"
"""

from ansible.errors import AnsibleFilterError

from ..plugin_utils import as_html


def summary_html(result):
    try:
        return as_html.html(result)
    except ValueError as error:
        raise AnsibleFilterError("summary_html: %s" % error) from None


class FilterModule:
    def filters(self):
        return {"summary_html": summary_html}
