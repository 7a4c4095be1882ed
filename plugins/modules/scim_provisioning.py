#!/usr/bin/python
# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: scim_provisioning
short_description: Keep the accounts and groups of a SCIM service equal to user groups of the store
version_added: 0.2.0
author:
  - usersync.directory contributors (@usersync)
description:
  - Whoever is in one of the chosen user groups of the store has an account in the service, and is a member of the same
    groups there. Whoever leaves loses both.
  - The service speaks SCIM 2.0 (RFC 7643, RFC 7644). It is asked for what it has, and what it says is believed only if
    it fits together. What cannot be read is as the last run wrote it, and nothing is created again or removed only
    because it was not seen.
  - It changes only what it has created, or taken over as O(collision) allows. Other accounts, groups and members stay.
  - A SCIM service has no transactions. Each change is kept in the store as it is made, so a run that ends early, or is
    killed, is continued by the next one, and nothing is created twice.
  - It writes to the service and to the store. Run a synchronization before it, so that the store is up to date.
requirements:
  - python >= 3.9
extends_documentation_fragment:
  - usersync.directory.store
  - usersync.directory.attributes
  - usersync.directory.attributes.action_group_store
options:
  name:
    description:
      - The name of the provisioning. Under it the store keeps what is linked to what in the service, and it belongs to
        one service. Two provisionings to one service do not know of each other.
    type: str
    required: true
  state:
    description:
      - V(present) - Keep the service equal to the store.
      - V(released) - End the provisioning. All accounts and groups stay in the service as they are, and the store
        forgets that they are linked. The service is not asked.
      - V(absent) - End the provisioning. All its memberships end, and its accounts depart, as O(departure) says; then
        it is as V(released). Asking for this is the permission, so no limits hold.
    type: str
    choices: [present, released, absent]
    default: present
  user_groups:
    description:
      - Paths of the user groups that are to be in the service, each as a group, with its members.
      - Members of nested user groups are members, too. Disabled users are disabled accounts, and extinct users have
        none.
      - Members are those that the user group lists. Who only has the home in it, or is in one that lies below it in the
        tree, is no member.
      - If one of them is missing or extinct in the store, the run fails and changes nothing. Nobody is to lose an
        account since a path was misspelled.
    type: list
    elements: str
  allow_empty:
    description:
      - Whether a user group of O(user_groups) may have no members. It is else an error.
    type: bool
    default: false
  user_attributes:
    description:
      - What is written to an account, as attributes of SCIM with the field of the store for each. Local attributes of a
        user count more than those from the directory. Of several values the first is written.
      - An attribute is called as in SCIM, such as V(title), V(name.givenName), or V(emails[work]) for the value of that
        type. One of an extension has the schema before it, such as
        V(urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department).
      - C(userName) is the field C(name), unless it is here. A user without a value for it is not provisioned.
        C(externalId), which is the stable key, and C(active) are always written.
      - Left out, it is C(displayName), C(name.givenName), C(name.familyName), C(title), C(emails[work]) from C(email),
        and C(phoneNumbers[work]) from C(phone).
      - An attribute that is taken out of this list is removed from the accounts that have it from here.
    type: dict
  group_name:
    description:
      - What a group is called in the service.
      - V(name) - As the user group. Two of one name do not both get it, see RV(collisions).
      - V(path) - As the path of the user group.
    type: str
    choices: [name, path]
    default: name
  nested_groups:
    description:
      - What becomes of user groups that are members.
      - V(flatten) - Their members are members, and they themselves are there only if they are in O(user_groups).
      - V(nest) - They are groups in the service, and members of the group. A service must be able to do that.
    type: str
    choices: [flatten, nest]
    default: flatten
  collision:
    description:
      - What becomes of a user or user group if somebody is in the service already with the same C(externalId), or the
        same name without regard to case, and is not linked.
      - V(refuse) - The user is not provisioned, and is in RV(collisions).
      - V(link_by_external_id) - Whoever has the same C(externalId) is taken over. Attributes that are not written stay.
      - V(link_by_name) - Whoever has the same C(externalId), or else the same name, is taken over. Who can choose a
        name in the service so gets the rights of somebody else, so look at a dry run first.
      - Whatever is chosen, if the id of an account leads to nothing, its user is disabled in the store, and one other
        account has the same C(externalId), that one is linked and disabled.
    type: str
    choices: [refuse, link_by_external_id, link_by_name]
    default: refuse
  departure:
    description:
      - What becomes of an account that is no longer wanted. Its memberships in linked groups end in any case.
      - V(disable) - It is disabled. If the user returns, it is enabled again.
      - V(delete) - It is deleted, and so are groups that are no longer wanted. In some services that is for ever.
      - V(keep) - It stays as it is, enabled.
      - A group that is no longer wanted stays without members, unless it is deleted.
    type: str
    choices: [disable, delete, keep]
    default: disable
  foreign_members:
    description:
      - What becomes of members of a linked group that are not linked. They are in RV(foreign) in any case.
    type: str
    choices: [keep, remove]
    default: keep
  drift:
    description:
      - What becomes of what somebody changed in the service, which is in RV(drift) in any case.
      - V(restore) - It is made as it is wanted. An account that was deleted there is created again.
      - V(report) - It stays until what is wanted changes. An account that was deleted there is not created again.
    type: str
    choices: [restore, report]
    default: restore
  removal_limits:
    description:
      - How much a run may take away. A run that would exceed a limit is refused as a whole, changes nothing, and the
        task fails, in check mode, too.
      - A limit is a number such as V(50), or a percentage such as V(10%) of what is linked before the run. Write one
        limit for everything, or a dictionary with limits of the kinds below.
      - A limit that is left out is 20%, or 10 if that is more, but never more than half. A limit that is given counts
        as it is.
      - V(users) are accounts that depart, or that are created again after somebody deleted them.
      - V(user_groups) are groups of which that is so.
      - V(memberships) are memberships that end, in all, and by themselves in each group of 100 members and more.
      - V(attributes) are values that accounts lose that stay.
      - V(renames) are accounts and groups that get another name.
      - V(states) are accounts that are enabled or disabled since the store says so.
      - What was allowed and is left, since a run ended early, is not counted again.
      - O(approved_plan) lets one plan through, whatever the limits say.
    type: raw
    default: {}
  approved_plan:
    description:
      - The RV(plan_digest) of a dry run that somebody has looked at. The run goes on if its plan is that one, or the
        rest of it, whatever O(removal_limits) says. Any other plan is refused, unless there is nothing to do.
    type: str
  approved_removals:
    description:
      - The RV(removals_digest) of a dry run that somebody has looked at. The run may take away just this, or the rest
        of it, and add whatever there is to add.
    type: str
  fail_on:
    description:
      - What makes a run fail, and change nothing, that would else be reported only.
      - V(collisions) - There are RV(collisions).
    type: list
    elements: str
    choices: [collisions]
    default: []
  store_timeout:
    description:
      - How many seconds to wait while a synchronization holds the store. This is so for each change that is kept.
    type: int
    default: 60
  report_limit:
    description:
      - How many entries a list of the result has at most. Names of members of all groups together are ten times that.
    type: int
    default: 1000
  report_bytes:
    description:
      - How many bytes the lists of the result have together, at most.
    type: int
    default: 300000
  url:
    description:
      - The address below which the service has C(/Users) and C(/Groups), such as V(https://scim.example.com/v2). It is
        V(https://), but on the loopback interface.
      - No redirect is followed, and nothing is sent to any other host, but to a proxy that the environment names
        (C(https_proxy), C(no_proxy)).
      - Required unless O(state=released).
    type: str
  token:
    description:
      - The bearer token by which the service knows who asks.
      - One of O(token), O(username) and O(client_cert) is needed.
    type: str
  username:
    description:
      - A name for a service that wants a name and a password (HTTP Basic).
    type: str
  password:
    description:
      - The password of O(username).
    type: str
  validate_certs:
    description:
      - Whether the certificate of the service must be right. Without that anybody on the way gets the token.
    type: bool
    default: true
  ca_path:
    description:
      - A file, or a directory with hashed names, of the certificates by which that of the service is verified. Left
        out, these are those of the system.
    type: path
  client_cert:
    description:
      - A file with a certificate in PEM format by which the service knows who asks, and its key unless O(client_key)
        has it.
    type: path
  client_key:
    description:
      - A file with the key of O(client_cert), in PEM format, not encrypted.
    type: path
  timeout:
    description:
      - How many seconds one request may take.
    type: int
    default: 30
  time_limit:
    description:
      - After how many seconds the run ends, between two changes. RV(left) says how much is left, and the next run goes
        on. A service that asks to wait for longer ends it, too.
    type: int
  request_limit:
    description:
      - After how many requests the run ends, as with O(time_limit).
      - Reading counts, too. A run that reaches a limit while it reads has changed nothing, and fails.
    type: int
  service:
    description:
      - What is known of the service and is not as the RFC has it. V(rfc) takes the service as it says itself.
    type: str
    choices:
      - authentik
      - aws_identity_center
      - databricks
      - entra
      - github
      - gitlab
      - google
      - grafana
      - keycloak
      - rfc
      - slack
      - snowflake
    default: rfc
  service_parameters:
    description:
      - Single facts about the service. They count more than O(service), and than what the service says.
    type: dict
    suboptions:
      kinds:
        description:
          - What it has.
        type: list
        elements: str
        choices: [accounts, groups]
      lists:
        description:
          - What it lists completely.
        type: list
        elements: str
        choices: [accounts, groups]
      paging:
        description:
          - How it gives a long list. V(index) is by C(startIndex), V(cursor) by C(cursor) (RFC 9865), V(whole) in one
            answer.
        type: str
        choices: [index, cursor, whole]
      page_size:
        description:
          - How many are asked for at once.
        type: int
      members:
        description:
          - Where it shows the members of a group. V(singly) is where one group is asked for.
        type: str
        choices: [in_lists, singly, never]
      patches:
        description:
          - Whether it knows C(PATCH). It is else C(PUT).
        type: bool
      puts:
        description:
          - Whether it knows C(PUT) of a group.
        type: bool
      filters:
        description:
          - By which attributes a filter with C(eq) finds something, such as V(userName).
        type: list
        elements: str
      largest_change:
        description:
          - How many members one request may add or remove.
        type: int
      removes_by_value:
        description:
          - Whether members are removed by C(path) C(members) with a C(value), as Entra does, instead of as RFC 7644 has
            it.
        type: bool
      nests:
        description:
          - Whether a group can be a member of a group.
        type: bool
      deletes:
        description:
          - Whether O(departure=delete) may delete. It is else as V(disable).
        type: bool
      later_in_500:
        description:
          - A text in an answer with status 500 that means that it is to be asked later.
        type: str
      writes_per_minute:
        description:
          - How many creations, changes and deletions it lets through in a minute. A run that has sent so many waits,
            and RV(requests) says for how long. Without it, a run waits where the service asks for it.
        type: int
attributes:
  check_mode:
    support: full
    details:
      - The service is read, and neither it nor the store is written to.
  diff_mode:
    support: full
seealso:
  - module: usersync.directory.user_synchronization
  - module: usersync.directory.user_group_info
  - name: RFC 7644
    description: The protocol.
    link: https://www.rfc-editor.org/rfc/rfc7644
"""

EXAMPLES = r"""
- name: See what would change in the service
  usersync.directory.scim_provisioning:
    name: wiki
    user_groups:
      - All/Staff/Nurses
    url: https://wiki.example.com/scim/v2
    token: "{{ vault_wiki_scim_token }}"
  check_mode: true
  diff: true
  run_once: true
  delegate_to: localhost

# The first run creates the accounts. Whoever is there already by the same name is taken over.
- name: Keep accounts and groups of the service equal to two user groups
  usersync.directory.scim_provisioning:
    name: wiki
    user_groups:
      - All/Staff/Nurses
      - All/Staff/Doctors
    url: https://wiki.example.com/scim/v2
    token: "{{ vault_wiki_scim_token }}"
    collision: link_by_name
    removal_limits:
      users: 25
  run_once: true
  delegate_to: localhost

# A service that lets few changes through in a minute. Each round ends after ten minutes and shows how much is left.
- name: Go on until nothing is left
  usersync.directory.scim_provisioning:
    name: chat
    user_groups:
      - All/Staff/Nurses
    url: https://api.slack.com/scim/v2
    token: "{{ vault_slack_scim_token }}"
    service: slack
    time_limit: 600
  register: result
  until: result.left == 0
  retries: 50
  delay: 1
  run_once: true
  delegate_to: localhost

- name: Accounts are called by their mail addresses, and have a department
  usersync.directory.scim_provisioning:
    name: aws
    user_groups:
      - All/Staff/Nurses
    url: https://scim.eu-central-1.amazonaws.com/a1b2c3/scim/v2
    token: "{{ vault_aws_scim_token }}"
    service: aws_identity_center
    user_attributes:
      userName: email
      displayName: display_name
      name.givenName: given_name
      name.familyName: surname
      emails[work]: email
      urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department: department
  run_once: true
  delegate_to: localhost

- name: End it, and disable all its accounts
  usersync.directory.scim_provisioning:
    name: wiki
    state: absent
    url: https://wiki.example.com/scim/v2
    token: "{{ vault_wiki_scim_token }}"
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
msg:
  description:
    - One line that says what was done, or in check mode would be done. It has counts, and no names.
    - If the task fails, it says why, and what to do.
  returned: always
  type: str
  sample: "accounts: 5 created, 1 disabled; groups: 1 created; memberships: 12 added, 1 removed"
dry_run:
  description: Whether this is what would change, and nothing was written.
  returned: success or refusal
  type: bool
  sample: false
began:
  description: When the run began, in UTC, by the clock of the node where it ran.
  returned: success or refusal
  type: str
  sample: "2026-11-30T04:00:01Z"
accounts:
  description: What happened to accounts, or in check mode would happen.
  returned: success or refusal
  type: dict
  contains:
    created:
      description: Names of new accounts.
      type: list
      elements: str
      sample: [zoe]
    linked:
      description: Names of accounts that were there and are taken over.
      type: list
      elements: str
      sample: [cyd]
    updated:
      description: Names of accounts of which an attribute changed.
      type: list
      elements: str
      sample: [ann]
    renamed:
      description: Accounts with another name.
      type: list
      elements: dict
      sample:
        - {name: eve, previous_name: ann}
      contains:
        name:
          description: The name now.
          type: str
          sample: eve
        previous_name:
          description: The name before.
          type: str
          sample: ann
    disabled:
      description: Names of accounts that became disabled, since their user left or is disabled.
      type: list
      elements: str
      sample: [bob]
    enabled:
      description: Names of accounts that became enabled.
      type: list
      elements: str
      sample: [dan]
    deleted:
      description: Names of accounts that were deleted.
      type: list
      elements: str
      sample: [bob]
  sample:
    created: [zoe]
    deleted: []
    disabled: [bob]
    enabled: []
    linked: []
    renamed: []
    updated: [ann]
changed_groups:
  description: The groups of the service that changed, or in check mode would change, or whose members do.
  returned: success or refusal
  type: list
  elements: dict
  contains:
    name:
      description: Its name in the service.
      type: str
      sample: Nurses
    previous_name:
      description: Its name before, where that is another. Else null.
      type: str
      sample: Carers
    path:
      description: Path of the user group. Null if it is no longer in O(user_groups).
      type: str
      sample: All/Staff/Nurses
    changes:
      description:
        - What happened to it, among V(created), V(linked), V(updated), V(renamed), V(deleted), V(members).
      type: list
      elements: str
      sample: [members]
    members_removed:
      description: Names of the accounts that ceased to be members.
      type: list
      elements: str
      sample: [bob]
    user_groups_removed:
      description: Names of the groups that ceased to be members.
      type: list
      elements: str
      sample: [Trainees]
    members_added:
      description: Names of the accounts that became members.
      type: list
      elements: str
      sample: [zoe]
    user_groups_added:
      description: Names of the groups that became members.
      type: list
      elements: str
      sample: [Trainees]
    left_out:
      description: How many entries are left out of which of these four lists. Empty if all are there.
      type: dict
      sample: {members_added: 4000}
unchanged_groups:
  description: Names of all other groups of this provisioning.
  returned: success or refusal
  type: list
  elements: str
  sample: [Doctors]
summary:
  description: Counts. They are never cut.
  returned: success or refusal
  type: dict
  contains:
    accounts:
      description:
        - How many accounts were C(created), C(linked), C(updated), C(renamed), C(disabled), C(enabled), C(deleted), and
          how many that are wanted are C(unchanged) and there in C(total).
      type: dict
      sample: {created: 1, disabled: 1, total: 250, unchanged: 248, updated: 1}
    groups:
      description:
        - How many groups were C(created), C(linked), C(updated), C(renamed), C(deleted), how many changed in their
          C(members), and how many are C(changed), C(unchanged) and there in C(total).
      type: dict
      sample: {changed: 1, members: 1, total: 12, unchanged: 11}
    memberships:
      description: How many memberships were C(added) and C(removed), and how many are there in C(total).
      type: dict
      sample: {added: 1, removed: 1, total: 612}
  sample:
    accounts:
      created: 1
      deleted: 0
      disabled: 1
      enabled: 0
      linked: 0
      renamed: 0
      total: 250
      unchanged: 248
      updated: 1
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
collisions:
  description: Who is not provisioned, or not renamed, since the name or the C(externalId) is taken.
  returned: success or refusal
  type: list
  elements: dict
  contains:
    kind:
      description: V(account) or V(group).
      type: str
      sample: account
    name:
      description: The name that is wanted.
      type: str
      sample: ann
    reason:
      description: Why it is not done.
      type: str
      sample: "'Ann' has its name, and is not linked"
drift:
  description: What somebody changed in the service since the last run wrote it.
  returned: success or refusal
  type: list
  elements: dict
  contains:
    kind:
      description: V(account) or V(group).
      type: str
      sample: account
    name:
      description: The name as it was written.
      type: str
      sample: ann
    what:
      description: V(name), V(external_id), V(state), V(members), V(gone), or V(attributes.) and an attribute.
      type: str
      sample: attributes.title
    written:
      description: What was written. Of a member that somebody removed, the stable key.
      type: str
      sample: Nurse
    there:
      description: What is there. Of a member that somebody added, the stable key.
      type: str
      sample: Boss
foreign:
  description: What is in the service and not linked, where that can be read. It stays.
  returned: success or refusal
  type: list
  elements: dict
  contains:
    kind:
      description: V(account) or V(group).
      type: str
      sample: account
    id:
      description: Its id in the service.
      type: str
      sample: 2819c223-7f76-453a-919d-413861904646
    name:
      description: Its name in the service; empty if it is not known.
      type: str
      sample: admin
    member_of:
      description: The linked group of which it is a member. Null for itself.
      type: str
      sample: Nurses
not_provisioned:
  description:
    - Who could not be made as wanted, and why. The next run tries it again.
    - If the service refuses a change, such as that of a protected account, the run goes on with all others. At its end
      the task fails, has all keys of the result, and names whom it is about.
    - A creation without an answer is no failure, since the next run looks for it.
  returned: success or refusal
  type: list
  elements: dict
  contains:
    kind:
      description: V(account) or V(group).
      type: str
      sample: account
    name:
      description: Its name.
      type: str
      sample: ann
    reason:
      description: Why.
      type: str
      sample: "400 Bad Request: emails is required"
refused:
  description:
    - Why the run was refused as a whole. Empty when it may go on. A refused task fails, has all keys of the result, and
      changed nothing.
  returned: success or refusal
  type: list
  elements: dict
  contains:
    limit:
      description:
        - The limit that the run would exceed, a kind of O(removal_limits). Else V(collisions), V(approved_plan),
          V(approved_removals), or V(user_groups) where a user group is missing, extinct or empty.
      type: str
      sample: users
    would_remove:
      description: How much it would take away.
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
      description: Name of the group that exceeds the limit by itself, or path of the user group. Else null.
      type: str
      sample: Nurses
left:
  description:
    - How many steps of the plan were not tried, since a limit was reached or the service wants to be asked later. The
      next run goes on with them. In check mode it is 0.
  returned: success or refusal
  type: int
  sample: 0
plan_digest:
  description:
    - A digest of everything that the run changes, for O(approved_plan). The same in check mode and in the real run that
      follows, if nothing changed in between. Counts stand before it.
  returned: success or refusal
  type: str
  sample: "users+3-1~2,user_groups+1-0~0,memberships+12-4:6f1c9d5f4f0b7a3e2d8c..."
removals_digest:
  description: A digest of what the run takes away, for O(approved_removals).
  returned: success or refusal
  type: str
  sample: "users-1,user_groups-0,memberships-4,attributes-0:0b7a3e2d8c9b1a0f6e5d..."
requests:
  description: What was asked of the service.
  returned: success or refusal
  type: dict
  contains:
    count:
      description: How many requests were sent.
      type: int
      sample: 12
    retried:
      description: How many of them were sent again, since no answer came or the service put them off.
      type: int
      sample: 0
    seconds_waited:
      description: How long the run waited, since the service asked for that.
      type: float
      sample: 0.0
  sample:
    count: 12
    retried: 0
    seconds_waited: 0.0
settings:
  description: What the task does, for review. The options with their defaults, and no secret.
  returned: success or refusal
  type: dict
  contains:
    service:
      description: What O(service) and O(service_parameters) come to.
      type: dict
      sample: {deletes: true, largest_change: 100, members: in_lists, page_size: 100, writes_per_minute: 180}
report_left_out:
  description: How many entries are left out of which list, since O(report_limit) or O(report_bytes) is reached.
  returned: success or refusal
  type: dict
  sample:
    accounts.created: 99000
report_truncated:
  description: Whether anything is in RV(report_left_out).
  returned: success or refusal
  type: bool
  sample: false
diff:
  description: What changes in the service, before and after, as text.
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
from ..module_utils._errors import Failed, SynchronizationError
from ..module_utils._options import PROVISIONING, SCIM, STORE, module_arguments
from ..module_utils._printable import printable
from ..module_utils._provisioning_settings import provisioning_settings
from ..module_utils._scim_provisioning import provision_to_scim


def main() -> None:
    forbid_core_dumps()
    arguments = module_arguments(PROVISIONING, SCIM)
    # Of what the environment gives, a password for the directory is not one for the service.
    arguments["argument_spec"].update(module_arguments(STORE, environment=env_fallback)["argument_spec"])
    module = AnsibleModule(supports_check_mode=True, **arguments)

    def warn(text: str) -> None:
        module.warn(printable(text))

    try:
        settings = provisioning_settings(module.params)
        result = provision_to_scim(settings, module.check_mode, module._diff, warn)
    except Failed as failure:
        module.fail_json(**failure.result)
    except SynchronizationError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
