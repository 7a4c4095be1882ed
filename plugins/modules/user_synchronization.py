#!/usr/bin/python
# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: user_synchronization
short_description: Keep user groups equal to a directory
version_added: 0.1.0
author:
  - usersync.directory contributors (@usersync)
description:
  - Reads users and groups from Active Directory or an LDAP server, compares them with what the store holds from the
    runs before, and changes only what differs.
  - A run either changes everything that it says or nothing. If the directory cannot be read to the end, the store
    stays as it was.
  - The directory is only read, never written.
  - A user or group is recognised by its stable key (such as objectGUID or entryUUID), so that a rename is a rename and
    a move is a move.
  - Everything that can be judged without a server is judged before any packet leaves, in check mode, too. This includes
    the form of O(login), DNs, filters, paths, and options that contradict each other.
requirements:
  - python >= 3.9
  - ldap3 >= 2.9.1
  - pyasn1 >= 0.6.4
  - gssapi, for O(authentication=kerberos)
  - cryptography, for O(authentication=kerberos) with TLS, where the server asks for channel binding
  - dnspython, for V(srv:) in O(server)
extends_documentation_fragment:
  - usersync.directory.connection
  - usersync.directory.store
  - usersync.directory.attributes
  - usersync.directory.attributes.action_groups
options:
  name:
    description:
      - The name of the synchronization. Its next runs find by it what it owns in the store.
      - It is bound to the directory of its first run and refuses another.
    type: str
    required: true
  state:
    description:
      - What is to become of the synchronization. To ask for its end is the permission to end it, so that no limit
        applies then, and no directory is read.
      - V(present) - Synchronize. O(server) is required.
      - V(released) - End the synchronization and keep its users and user groups. They belong to none from then on, as
        if made by hand.
      - V(absent) - End the synchronization and remove its users and user groups. What another synchronization claims
        stays, and so does a user group in which something of others lies.
    type: str
    choices: [present, released, absent]
    default: present
  user_group:
    description:
      - Path of the user group in the store under which everything lands, such as V(All/Staff).
      - V(All) is the root. Inside a name, V(/) is written V(\\/) and V(\\) is written V(\\\\).
      - Changing it moves the tree.
    type: str
    default: All
  create_user_group:
    description:
      - Whether to create O(user_group), where it does not exist.
    type: bool
    default: true
  user_collision:
    description:
      - What to do with a user whose name is taken in its home by a record made by hand.
      - It never stops updates of users who were synchronized before, and never touches a record of another directory.
      - Whatever was not done is in RV(collisions).
      - V(skip) - Leave the record as it is, and the user out.
      - V(overwrite) - Replace the record, its local attributes included.
      - V(merge) - Take the record over, and keep its local attributes.
    type: str
    choices: [skip, overwrite, merge]
    default: skip
  user_extinction:
    description:
      - What to do with a user who is no longer in the directory, or no longer selected.
      - V(skip) - Keep the record as it is, marked extinct.
      - V(disable) - Keep the record, marked extinct and disabled, and end its memberships.
      - V(delete) - Remove the record.
    type: str
    choices: [skip, disable, delete]
    default: disable
  user_extinction_grace_days:
    description:
      - With O(user_extinction=delete), how many days a user stays disabled before the record is deleted. A user who
        returns in between is enabled again.
      - In a run whose clock is in doubt no grace ends, and a warning says why. Such is a clock that differs from the
        directory's by more than a day, that was set back, or after a pause that is longer than usual.
      - V(0) deletes at once.
    type: int
    default: 0
    version_added: 0.2.0
  user_group_extinction:
    description:
      - What to do with a user group whose group is no longer in the directory, or no longer selected.
      - V(skip) - Keep it and its members, marked extinct.
      - V(delete) - Remove it.
    type: str
    choices: [skip, delete]
    default: skip
  name_reuse_days:
    description:
      - How many days the name of a user or user group that is extinct, or was removed, is kept from entries of another
        container. Rights in a directory are given by container, so nobody comes to what was given to somebody else by
        taking his name.
      - An entry of the same container, such as an account that was deleted and made again, has the name in the next
        run. The container is told by its stable key, so one that was deleted and made again is another one.
      - A name that its owner gave up in the directory, by a rename or a swap, is free at once.
      - A user who must wait is left out, a user group gets a suffix, and RV(collisions) says until when. A suffix stays
        until the name of the group changes in the directory.
      - V(0) keeps no name from anybody.
    type: int
    default: 30
    version_added: 0.2.0
  distinguished_name:
    description:
      - What to synchronize, a DN or a list of DNs. Nothing else is selected.
      - A container (an organizational unit, for example) selects everything in it. A group selects itself, the groups
        nested in it, and their members.
      - An empty list selects the whole tree. An empty string is refused.
      - A DN that does not exist is an error. One that was renamed since the last run is followed, with a warning.
    type: raw
    default: []
  exclude_distinguished_name:
    description:
      - What to leave out of O(distinguished_name), a DN or a list of DNs. It wins over every way into the selection.
      - A DN that does not exist is an error, and so is a DN that is also in O(distinguished_name).
      - An excluded entry that was renamed stays excluded, with a warning that tells its new DN. If another entry has
        its DN now, both are left out.
      - The DN of a referral may be excluded as well, when a part of the directory has moved to another server.
    type: raw
    default: []
  outside_members:
    description:
      - What to do with users who lie in none of the selected containers, and are members of a synchronized group.
      - It is about users. A group that is nested in a synchronized one becomes a user group wherever it lies, since it
        may have members who are selected.
      - V(add) - Synchronize them, too.
      - V(skip) - Leave them out. A user group has those of its members who lie in a selected container.
    type: str
    choices: [add, skip]
    default: add
  scope_change:
    description:
      - Whether the first run after a change of the settings that decide who is in scope may remove those who are
        out of scope now, and may widen the scope to the whole tree.
      - Such settings are O(distinguished_name), O(exclude_distinguished_name), O(outside_members), O(user_filter),
        O(group_filter), O(group_types), O(group_structure) and most of O(ldap_parameters).
      - Without it such a run is refused, and the message says what changed. O(approved_plan) allows it, too.
    type: bool
    default: false
    version_added: 0.2.0
  user_filter:
    description:
      - An LDAP filter (RFC 4515). Only users that match it are synchronized, in addition to what the directory type
        asks for.
    type: str
  group_filter:
    description:
      - An LDAP filter (RFC 4515). Only groups that match it are synchronized, in addition to what the directory type
        asks for.
    type: str
  group_structure:
    description:
      - What becomes a user group.
      - V(groups) - The groups. All of them, and all users, lie directly under O(user_group).
      - V(organizational_units) - The containers, as they lie in each other. The home of a user is the container it lies
        in.
      - V(both) - The containers, and the groups in their containers.
    type: str
    choices: [groups, organizational_units, both]
    default: groups
  group_types:
    description:
      - Which groups of Active Directory to synchronize.
      - V(all) - Security groups and distribution groups.
      - V(security) - Security groups only.
    type: str
    choices: [all, security]
    default: all
  ignore_disabled_users:
    description:
      - Whether to leave out users whom the directory disables, unless they are stored already. A stored user whom the
        directory disables is always disabled in the store.
    type: bool
    default: false
  user_attributes:
    description:
      - Which attribute of the directory fills which field of a user. It overrides fields of the directory type, such as
        V(name), V(display_name), V(email), V(phone), V(title), V(department) and V(office), or adds to them.
      - Of several values the one in the DN of the entry counts, and else the smallest by its bytes. Example, the name
        of C(uid=ann,ou=people) with the C(uid) values C(anna) and C(ann) is C(ann).
      - A field that you add has all values.
      - A full read warns of a field for which nobody has a value.
    type: dict
    default: {}
  group_attributes:
    description:
      - Which attribute of the directory fills which field of a user group. It overrides fields of the directory type,
        such as V(name), V(description) and V(email), or adds to them.
      - Of several values the same one counts as with O(user_attributes), and the same warning comes.
    type: dict
    default: {}
  removal_limits:
    description:
      - How much a run may remove. A run that would exceed a limit is refused as a whole. It changes nothing, neither
        removals nor additions, and the task fails, in check mode, too.
      - A limit is a number such as V(50), or a percentage such as V(10%) of what the synchronization owns before the
        run that is not extinct. Write one limit for everything, or a dictionary with limits of the kinds below.
      - A limit that is left out is 20%, or 10 if that is more, but never more than half. A limit that is given counts
        as it is.
      - V(users) are users that are deleted, that become extinct, or whose records are overwritten. The end of a user
        whom an earlier run disabled as extinct does not count again.
      - V(user_groups) are user groups that are deleted or become extinct, and groups of 10 members and more whose
        member list reads empty.
      - V(memberships) are memberships that end, in all, and by themselves in each user group of 100 members and more.
      - V(attributes) are values that users and user groups lose who stay, in all, and by themselves for each field that
        10 and more of them have. So a mistyped attribute does not empty all mail addresses.
      - V(renames) are users and user groups that get another name.
      - V(states) are users that the directory enables or disables, among all that the synchronization has in scope. So
        lost rights, or a clock that is wrong, neither lock everybody out nor let everybody in. Users that become
        extinct, or return, do not count here.
      - O(approved_plan) lets one plan through, whatever the limits say.
    type: raw
    default: {}
    version_added: 0.2.0
  allow_empty:
    description:
      - Whether a read that finds no user at all, or none with a name, may go on. It is else refused, in the first run,
        too.
    type: bool
    default: false
    version_added: 0.2.0
  required_entries:
    description:
      - A DN, or a list of DNs, of entries that must be there. A read that did not come across one of them is not
        complete, and the run fails. Name a user, a group or a container that will never go away.
    type: raw
    default: []
    version_added: 0.2.0
  approved_plan:
    description:
      - The RV(plan_digest) of a dry run that somebody has looked at. The run goes on if its plan is that one, whatever
        O(removal_limits) and O(scope_change) say. Any other plan is refused, unless there is nothing to do.
    type: str
    version_added: 0.2.0
  approved_removals:
    description:
      - The RV(removals_digest) of a dry run that somebody has looked at. The run may remove just this, whatever
        O(removal_limits) and O(scope_change) say, and add whatever there is to add. A run that removes something else
        is refused.
    type: str
    version_added: 0.2.0
  fail_on:
    description:
      - What makes a run fail, and change nothing, that would else be reported only.
      - V(collisions) - There are RV(collisions).
      - V(unresolved_members) - There are RV(unresolved_members).
    type: list
    elements: str
    choices: [collisions, unresolved_members]
    default: []
    version_added: 0.2.0
  read_mode:
    description:
      - Whether a run reads everything, or only what changed since the run before. Both come to the same outcome.
      - RV(read.mode) and RV(read.reason) say what a run did, and why.
      - A run reads everything where only that leaves no doubt, whatever is set here; the first run always does.
      - V(auto) - Read only what changed where the directory can tell that, and everything at least every O(full_every).
      - V(full) - Read everything.
      - V(incremental) - As V(auto), but whatever O(full_every) says, with a warning where everything must be read, and
        with one where everything was last read a week ago or more.
    type: str
    choices: [auto, full, incremental]
    default: auto
    version_added: 0.2.0
  full_every:
    description:
      - How long after a run that read everything the next one does so at the latest, with O(read_mode=auto). A number
        with V(m) for minutes, V(h) for hours or V(d) for days.
      - It bounds how long a change may be missed that the directory does not tell, such as new access rights of the
        account, or a directory that was restored from a backup.
    type: str
    default: 24h
    version_added: 0.2.0
  create_store:
    description:
      - Whether a run makes the store where it is missing, and begins anew.
      - With V(false) that is an error, for places that are made anew for each job, such as execution environments.
        Without the store every run is a first run there, and no limit holds anything back.
    type: bool
    default: true
    version_added: 0.2.0
  history_days:
    description:
      - How many days the store keeps what runs changed. It tells who joined or left which user group, when, and by
        which run.
    type: int
    default: 365
    version_added: 0.2.0
  store_backups:
    description:
      - How many copies of the store to keep beside it. One is made before each run that removes anything, and is
        checked. It cannot be made while another program reads an earlier state of the store.
      - Where all of these are of incremental runs, which do not look through the store for damage, one more is kept,
        the last one of a run that did.
      - V(0) makes none.
    type: int
    default: 5
    version_added: 0.2.0
  store_timeout:
    description:
      - How many seconds to wait while another run holds the store.
    type: int
    default: 60
    version_added: 0.2.0
  report_limit:
    description:
      - How many entries each list of the result holds at most. The names of members of all groups together are cut at
        ten times as many, groups with few changes first.
      - Counts are never cut. RV(report_left_out) tells how many entries of which list are left out.
    type: int
    default: 1000
  report_bytes:
    description:
      - How many bytes the lists of the result and the diff have together at most. What is removed is listed first, then
        what is added. With a diff the lists have half of it, and the diff has the rest.
      - AWX and the Automation Platform drop the result of an event that is longer than 700,000 characters
        (C(MAX_EVENT_RES) of ansible-runner). A result has the settings besides, and once more as C(invocation).
    type: int
    default: 300000
    version_added: 0.2.0
notes:
  - The module runs on the managed node. That node needs ldap3, the certificates of O(ca_path), the store, and the way
    to the directory. Often it is the control node itself, with C(delegate_to=localhost).
  - Write C(run_once=true). On C(hosts=all) the task would otherwise log in once for each host, and a wrong password
    locks the account after a few attempts.
  - In check mode nothing is written, and neither file nor directory is made.
  - In the output of C(ansible-playbook) each run says in one line what it did. A run that takes longer than some
    seconds also shows how many entries it has read, by C(local) and C(ssh) connections to Linux, but not in check mode,
    with C(async) or in loops. Set the variable C(user_synchronization_progress=false) to turn both off.
  - Keep passwords in a vault. Without pipelining, Ansible puts the arguments of a module into a temporary file on the
    managed node while the task runs.
  - Text in the result that equals the password is masked by Ansible. Choose a password that is no name of a user.
seealso:
  - module: usersync.directory.directory_info
  - module: usersync.directory.user_group_info
  - module: usersync.directory.user
  - plugin: usersync.directory.user_group_members
    plugin_type: lookup
"""

EXAMPLES = r"""
# One login for the whole play. Without run_once each host would log in, and a wrong password would lock the account.
# delegate_to names the node that has ldap3, the CA certificate, the store and the way to the directory.
- name: Synchronize the users of Active Directory over LDAPS
  usersync.directory.user_synchronization:
    name: staff
    user_group: All/Staff
    server:
      - dc1.corp.example
      - dc2.corp.example
    login: CORP\SVC-SYNC
    password: "{{ vault_svc_sync_password }}"
    ca_path: /etc/ssl/certs/corp-ca.pem
    distinguished_name: OU=Staff,DC=corp,DC=example
  run_once: true
  delegate_to: localhost

- name: Synchronize the users of an OpenLDAP server with StartTLS
  usersync.directory.user_synchronization:
    name: members
    user_group: All/Members
    server: ldap://ldap.example.org
    encryption: start_tls
    use_ldap: true
    ldap_parameters:
      preset: openldap
    login: cn=reader,dc=example,dc=org
    password: "{{ vault_ldap_reader_password }}"
    distinguished_name: ou=people,dc=example,dc=org
  run_once: true
  delegate_to: localhost

# A group brings its members wherever they are, and the groups nested in it.
- name: Synchronize two groups and nothing else
  usersync.directory.user_synchronization:
    name: clinic
    user_group: All/Clinic
    server: srv:corp.example
    login: SVC-SYNC@CORP.EXAMPLE
    password: "{{ vault_svc_sync_password }}"
    distinguished_name:
      - CN=Nurses,OU=Groups,DC=corp,DC=example
      - CN=Doctors,OU=Groups,DC=corp,DC=example
    user_extinction: delete
    user_group_extinction: delete
  run_once: true
  delegate_to: localhost

# Nothing is written. The same result keys and the same digest as the run that follows.
- name: See what would change
  usersync.directory.user_synchronization:
    name: staff
    user_group: All/Staff
    server: dc1.corp.example
    login: CORP\SVC-SYNC
    password: "{{ vault_svc_sync_password }}"
    distinguished_name: OU=Staff,DC=corp,DC=example
  check_mode: true
  diff: true
  register: dry_run
  run_once: true
  delegate_to: localhost

# The second stage of a pipeline: somebody has looked at the dry run, and passes its digest on. Any other plan is
# refused.
- name: Do what was approved
  usersync.directory.user_synchronization:
    name: staff
    user_group: All/Staff
    server: dc1.corp.example
    login: CORP\SVC-SYNC
    password: "{{ vault_svc_sync_password }}"
    distinguished_name: OU=Staff,DC=corp,DC=example
    approved_plan: "{{ approved_digest }}"
  run_once: true
  delegate_to: localhost

- name: Let few go in one run, and nobody at once
  usersync.directory.user_synchronization:
    name: staff
    user_group: All/Staff
    server: dc1.corp.example
    login: CORP\SVC-SYNC
    password: "{{ vault_svc_sync_password }}"
    distinguished_name: OU=Staff,DC=corp,DC=example
    required_entries: CN=All Staff,OU=Staff,DC=corp,DC=example
    user_extinction: delete
    user_extinction_grace_days: 30
    removal_limits:
      users: 25
      memberships: 5%
  run_once: true
  delegate_to: localhost

- name: End the synchronization, and keep its users
  usersync.directory.user_synchronization:
    name: staff
    state: released
  run_once: true
  delegate_to: localhost

- name: Show the groups that would change
  ansible.builtin.debug:
    var: dry_run.changed_groups
  run_once: true

# The keytab lies on the node where the task runs. The login is written exactly as in the keytab.
- name: Synchronize with Kerberos and a keytab
  usersync.directory.user_synchronization:
    name: staff
    user_group: All/Staff
    server: dc1.corp.example
    authentication: kerberos
    login: svc-sync@CORP.EXAMPLE
    keytab: /etc/user_synchronization/svc-sync.keytab
  run_once: true
  delegate_to: sync.corp.example

- name: Make a tree of user groups out of the organizational units
  usersync.directory.user_synchronization:
    name: sites
    user_group: All/Sites
    server: dc1.corp.example
    login: CORP\SVC-SYNC
    password: "{{ vault_svc_sync_password }}"
    distinguished_name: OU=Sites,DC=corp,DC=example
    exclude_distinguished_name:
      - OU=Service Accounts,OU=Sites,DC=corp,DC=example
    group_structure: organizational_units
    ignore_disabled_users: true
    user_attributes:
      cost_center: extensionAttribute1
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
  sample: "users: 5 created, 1 extinct; user groups: 1 created; memberships: 12 added, 1 removed"
  version_added: 0.2.0
dry_run:
  description: Whether this is what would change, and nothing was written.
  returned: always
  type: bool
  sample: false
  version_added: 0.2.0
began:
  description: When the run began, in UTC, by the clock of the node where it ran.
  returned: always
  type: str
  sample: "2026-11-30T04:00:01Z"
  version_added: 0.2.0
changed_groups:
  description:
    - The user groups that changed, or in check mode would change. It is about a group's own record and its own members.
    - A renamed member, or a DN that changed while the path stayed, is no change of the group.
    - O(user_group) itself and V(All) are in none of the lists of groups.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: Its path.
      type: str
      sample: All/Staff/Nurses
    previous_path:
      description: Its path before, where that is another. Else null.
      type: str
      sample: All/Staff/Care
    dn:
      description: The DN of its entry in the directory.
      type: str
      sample: CN=Nurses,OU=Groups,DC=corp,DC=example
    changes:
      description:
        - What happened to it, among V(created), V(renamed), V(moved), V(updated), V(members), V(extinct), V(deleted).
      type: list
      elements: str
      sample: [renamed, members]
    members_added:
      description: Names of the users that became members.
      type: list
      elements: str
      sample: [zoe]
    members_removed:
      description: Names of the users that ceased to be members.
      type: list
      elements: str
      sample: [tom]
    user_groups_added:
      description: Paths of the user groups that became nested in it.
      type: list
      elements: str
      sample: [All/Staff/Trainees]
    user_groups_removed:
      description: Paths of the user groups that ceased to be nested in it.
      type: list
      elements: str
      sample: [All/Staff/Students]
    left_out:
      description: How many entries are left out of which of these four lists. Empty if all are there.
      type: dict
      sample: {members_added: 4000}
      version_added: 0.2.0
affected_groups:
  description:
    - Paths of the user groups that did not change themselves, but whose effective members, or the enabled ones among
      them, did.
  returned: always
  type: list
  elements: str
  sample: [All/Staff/Everybody]
unchanged_groups:
  description: Paths of all other user groups of this synchronization.
  returned: always
  type: list
  elements: str
  sample: [All/Staff/Doctors, All/Staff/Office]
users:
  description: What happened to users, or in check mode would happen.
  returned: always
  type: dict
  contains:
    created:
      description: Names of new users.
      type: list
      elements: str
      sample: [zoe]
    updated:
      description: Names of users of whom an attribute changed.
      type: list
      elements: str
      sample: [ada]
    renamed:
      description: Users with another name.
      type: list
      elements: dict
      contains:
        name:
          description: The name now.
          type: str
          sample: ada.berg
        previous_name:
          description: The name before.
          type: str
          sample: ada
    moved:
      description: Users with another home.
      type: list
      elements: dict
      contains:
        name:
          description: The name of the user.
          type: str
          sample: ben
        home:
          description: Path of the home now.
          type: str
          sample: All/Staff/Hamburg
        previous_home:
          description: Path of the home before.
          type: str
          sample: All/Staff/Berlin
    disabled:
      description: Names of users that became disabled.
      type: list
      elements: str
      sample: [tom]
    enabled:
      description: Names of users that became enabled.
      type: list
      elements: str
      sample: [cora]
    extinct:
      description: Names of users that became extinct and are kept.
      type: list
      elements: str
      sample: [emil]
    deleted:
      description: Names of users that were removed.
      type: list
      elements: str
      sample: [finn]
summary:
  description: Counts. They are never cut.
  returned: always
  type: dict
  contains:
    user_groups:
      description:
        - How many user groups were C(created), C(renamed), C(moved), C(updated), made C(extinct), C(deleted), how many
          changed in their C(members), and how many are C(changed), C(affected), C(unchanged) and there in C(total).
      type: dict
      sample:
        affected: 0
        changed: 1
        created: 0
        deleted: 0
        extinct: 0
        members: 1
        moved: 0
        renamed: 0
        total: 12
        unchanged: 11
        updated: 0
    users:
      description:
        - How many users were C(created), C(updated), C(renamed), C(moved), C(disabled), C(enabled), made C(extinct),
          C(deleted), C(claimed), C(released) and C(ignored), and how many are C(unchanged) and there in C(total).
      type: dict
      sample:
        claimed: 1
        created: 1
        deleted: 0
        disabled: 0
        enabled: 0
        extinct: 0
        ignored: 0
        moved: 0
        released: 0
        renamed: 0
        total: 250
        unchanged: 249
        updated: 0
    memberships:
      description:
        - How many memberships were C(added) and C(removed), and how many are C(unchanged) and there in C(total).
        - How many listed members are C(unresolved), which is the length of RV(unresolved_members). It counts values, so
          a value that keeps a membership is counted there and in C(total).
        - How many listed members are none in the store, since they are C(computers), C(contacts), C(out_of_scope), or
          C(well_known_identities) such as Authenticated Users.
      type: dict
      sample:
        added: 1
        computers: 0
        contacts: 0
        out_of_scope: 0
        removed: 0
        total: 612
        unchanged: 611
        unresolved: 0
        well_known_identities: 0
collisions:
  description: Two with one name in one place, or two users with one SID. What was not done, and why.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: V(user) or V(user_group).
      type: str
      sample: user
    name:
      description: The name that is taken.
      type: str
      sample: ann
    path:
      description: Path of the home, or of the place.
      type: str
      sample: All/Staff
    dn:
      description: The DN of the entry that lost.
      type: str
      sample: CN=Ann Ash,OU=Staff,DC=corp,DC=example
    reason:
      description: What was not done, and why.
      type: str
      sample: the name is taken
unresolved_members:
  description:
    - Values in member lists that lead to no user and no user group, and members who are left out, by a collision or
      since they have no name. They make a run fail only with O(fail_on).
    - A value that leads to no one any more keeps whom it meant, if that is stored. So one membership can be both here
      and in C(total) of RV(summary.memberships). Example, C(ann) is renamed and the list has her former DN.
    - Whom O(ignore_disabled_users) leaves out is not here, but in RV(summary.users).
  returned: always
  type: list
  elements: dict
  contains:
    user_group:
      description: Path of the user group that lists the value.
      type: str
      sample: All/Staff/Nurses
    value:
      description: The value as the directory lists it; of a member who is left out, the DN.
      type: str
      sample: CN=Gus,OU=Left,DC=corp,DC=example
    reason:
      description: Why it leads nowhere.
      type: str
      sample: does not exist or cannot be read
not_stored:
  description: Entries of the directory that cannot be stored, an entry without a name for example.
  returned: always
  type: list
  elements: dict
  contains:
    dn:
      description: The DN of the entry.
      type: str
      sample: CN=Printer,OU=Staff,DC=corp,DC=example
    reason:
      description: Why it cannot be stored.
      type: str
      sample: its sAMAccountName is blank
held:
  description:
    - What the directory seems to say and the run did not do, since nothing proves it. A value that is missing may be
      hidden from the account, and a server may lag. It is done by the run that proves it, or if O(approved_plan) is
      RV(held.plan_digest).
  returned: always
  type: dict
  version_added: 0.2.0
  contains:
    everything:
      description:
        - Why the run changed nothing at all, whatever there is to add. The server says that it has not got what the
          last run read, so it does not know yet who was revoked. Empty if that is not so.
      type: str
      sample: "dc2.corp.example:636 lags, or was restored: the last run read changes that it does not have"
    users:
      description: Users who stay as they are.
      type: list
      elements: dict
      contains:
        name:
          description: Name of the user.
          type: str
          sample: tom
        would_be:
          description: What the user would be, V(extinct), V(enabled) or V(without_sid).
          type: str
          sample: extinct
        reason:
          description: Why it is held.
          type: str
          sample: its objectClass cannot be read
    user_groups:
      description: User groups that would be extinct.
      type: list
      elements: dict
      contains:
        path:
          description: Path of the user group.
          type: str
          sample: All/Staff/Office
        reason:
          description: Why it is held.
          type: str
          sample: its objectClass cannot be read
    memberships:
      description: Memberships that would end.
      type: list
      elements: dict
      contains:
        user_group:
          description: Path of the user group.
          type: str
          sample: All/Staff/Nurses
        member:
          description: Name of the user, or path of the nested user group.
          type: str
          sample: tom
        reason:
          description: Why it is held.
          type: str
          sample: its member cannot be read
    plan_digest:
      description: What RV(plan_digest) would be if nothing were held. Empty if nothing is.
      type: str
      sample: "users+0-1~0,user_groups+0-0~0,memberships+0-2:8e2f5a0c7d1b4e6f9a3c..."
refused:
  description:
    - Why the run was refused as a whole. Empty when it may go on. A refused task fails, has all keys of the result, and
      changed nothing.
  returned: always
  type: list
  elements: dict
  contains:
    limit:
      description:
        - The limit that the run would exceed, V(users), V(user_groups), V(memberships), V(attributes), V(renames) or
          V(states).
          Else V(scope_change), V(allow_empty), V(collisions), V(unresolved_members), V(held), V(approved_plan) or
          V(approved_removals).
      type: str
      sample: memberships
    would_remove:
      description: How much it would remove. For O(fail_on), how many there are.
      type: int
      sample: 24
    of:
      description: Out of how much.
      type: int
      sample: 40
    option:
      description: The option that sets the limit.
      type: str
      sample: removal_limits.memberships
    about:
      description: Path of the user group, or name of the field, that exceeds the limit by itself. Else null.
      type: str
      sample: All/Staff/Nurses
      version_added: 0.2.0
plan_digest:
  description:
    - A digest of everything that the run changes, for O(approved_plan). The same in check mode and in the real run that
      follows, if nothing changed in between. Counts stand before it.
  returned: always
  type: str
  sample: "users+3-1~2,user_groups+1-0~0,memberships+12-4:6f1c9d5f4f0b7a3e2d8c..."
removals_digest:
  description: A digest of what the run removes, for O(approved_removals).
  returned: always
  type: str
  sample: "users-1,user_groups-0,memberships-4,attributes-0:0b7a3e2d8c9b1a0f6e5d..."
read:
  description: What was read, and from where.
  returned: always
  type: dict
  contains:
    server:
      description: The server that answered.
      type: str
      sample: dc1.corp.example:636
    directory_type:
      description: The type of the directory.
      type: str
      sample: active_directory
    mode:
      description:
        - How the directory was read. V(full) is everything, V(incremental) only what changed. V(none) where the
          synchronization ended without reading it.
        - After an incremental read, RV(not_stored), RV(unresolved_members), RV(collisions) and the counts of them speak
          of what is open, as after a full one; counts of what the store has nothing of, such as computers and ignored
          users, only of what was read.
      type: str
      sample: full
    reason:
      description: Why it was read so.
      type: str
      sample: it is the first run
      version_added: 0.2.0
    entries:
      description: How many entries it sent.
      type: int
      sample: 263
    pages:
      description: In how many pages.
      type: int
      sample: 2
    seconds:
      description: How long reading took, in seconds.
      type: float
      sample: 0.41
    not_read:
      description:
        - Referrals to other servers that were seen and not followed, each server with each DN once. Only those that may
          have a part of what is selected are named.
        - In Active Directory, C(CN=Configuration), C(DC=DomainDnsZones) and C(DC=ForestDnsZones) are left out, since
          nobody lies there.
      type: list
      elements: str
      sample: ["ldaps://eu.corp.example: DC=eu,DC=corp,DC=example"]
settings:
  description:
    - What the task does, for review. The options with their defaults, and in RV(settings.preset) what the directory
      type and O(ldap_parameters) come to. The password is not among them.
  returned: always
  type: dict
  contains:
    preset:
      description: The object classes and attributes by which users and groups are read.
      type: dict
      sample:
        group_classes: [group]
        group_key: objectGUID
        group_members: [member]
        user_key: objectGUID
        user_name: sAMAccountName
report_left_out:
  description:
    - How many entries are left out of which list, since O(report_limit) or O(report_bytes) is reached. Names of lists
      are written as here, such as C(users.created) and C(changed_groups.members_added), the latter of all groups.
    - It is empty if everything is listed. Nothing stands for what is left out in the list itself, so a playbook may
      loop over it.
  returned: always
  type: dict
  sample:
    users.created: 99000
  version_added: 0.2.0
report_truncated:
  description: Whether anything is in RV(report_left_out).
  returned: always
  type: bool
  sample: true
diff:
  description: The parts of the tree that change, before and after, as text.
  returned: in diff mode
  type: dict
  contains:
    before:
      description: Those parts before.
      type: str
      sample: |
        user group All/Staff/Nurses
            member tom
    after:
      description: Those parts after.
      type: str
      sample: |
        user group All/Staff/Nurses
            member zoe
        user zoe in All/Staff
            enabled: true
    before_header:
      description: Path of the user group in which they lie.
      type: str
      sample: All/Staff
    after_header:
      description: Path of the user group in which they lie.
      type: str
      sample: All/Staff
"""

import os

from ansible.module_utils.basic import AnsibleModule, env_fallback

from ..module_utils._core_dumps import forbid_core_dumps
from ..module_utils._errors import Refused, SynchronizationError
from ..module_utils._options import CONNECTION, STORE, SYNCHRONIZATION, module_arguments
from ..module_utils._printable import printable
from ..module_utils._progress import ENVIRONMENT, answering
from ..module_utils._settings import settings_from
from ..module_utils._synchronize import synchronize


def main() -> None:
    forbid_core_dumps()
    arguments = module_arguments(CONNECTION, STORE, SYNCHRONIZATION, environment=env_fallback)
    module = AnsibleModule(supports_check_mode=True, **arguments)

    def warn(text: str) -> None:
        module.warn(printable(text))

    try:
        settings = settings_from(module.params, warn)
        with answering(os.environ.get(ENVIRONMENT)):
            result = synchronize(settings, module.check_mode, module._diff, warn)
    except Refused as refusal:
        module.fail_json(**refusal.result)
    except SynchronizationError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
