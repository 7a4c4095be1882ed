#!/usr/bin/python
# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: directory_info
short_description: Browse a directory, and test the connection to it
version_added: 0.2.0
author:
  - usersync.directory contributors (@usersync)
description:
  - Shows what lies in Active Directory or an LDAP server, to find out what to write in
    O(usersync.directory.user_synchronization#module:distinguished_name).
  - Without O(distinguished_name) and O(search) it tells what the server is, and which trees it has. That is also the
    test whether connection, certificate and login are right.
  - It takes the same options of the connection as M(usersync.directory.user_synchronization).
  - It changes nothing, neither in the directory nor anywhere else.
requirements:
  - python >= 3.9
  - ldap3 >= 2.9.1
  - pyasn1 >= 0.6.4
  - gssapi, for O(authentication=kerberos)
  - cryptography, for O(authentication=kerberos) with TLS, where the server asks for channel binding
  - dnspython, for V(srv:) in O(server)
extends_documentation_fragment:
  - usersync.directory.connection
  - usersync.directory.attributes.info
  - usersync.directory.attributes.action_group_connection
options:
  distinguished_name:
    description:
      - The DN whose children to show. Left out, there are no RV(entries), unless O(search) finds some.
      - With O(search) it is where to search. Left out, it is searched everywhere.
    type: raw
  depth:
    description:
      - How many levels below O(distinguished_name) to show.
    type: int
    default: 1
  search:
    description:
      - A name, in which V(*) stands for anything, such as V(nurs*). It finds groups and containers on all levels.
      - Names are compared as the directory does it, mostly without case.
    type: str
  limit:
    description:
      - How many entries to return at most. With more there is RV(truncated=true).
      - The upper levels come first, and in each container the containers, then the groups, then the users, each sorted
        by name. So a container of 100,000 users is no obstacle.
    type: int
    default: 1000
notes:
  - The module runs on the managed node, like M(usersync.directory.user_synchronization). Run it on the node that is to
    synchronize, and the test tells about the way from there.
  - Write C(run_once=true). On C(hosts=all) the task would otherwise log in once for each host, and a wrong password
    locks the account after a few attempts.
seealso:
  - module: usersync.directory.user_synchronization
"""

EXAMPLES = r"""
- name: Test the connection, and see what the server has
  usersync.directory.directory_info:
    server: dc1.corp.example
    ca_path: /etc/ssl/certs/corp-ca.pem
    login: CORP\SVC-SYNC
    password: "{{ vault_svc_sync_password }}"
  run_once: true
  delegate_to: localhost
  register: directory

- name: Show the two upper levels of the domain
  usersync.directory.directory_info:
    server: dc1.corp.example
    ca_path: /etc/ssl/certs/corp-ca.pem
    login: CORP\SVC-SYNC
    password: "{{ vault_svc_sync_password }}"
    distinguished_name: "{{ directory.default_naming_context }}"
    depth: 2
  run_once: true
  delegate_to: localhost

- name: Find groups and containers by name
  usersync.directory.directory_info:
    server: ldap.example.org
    use_ldap: true
    login: cn=reader,dc=example,dc=org
    password: "{{ vault_ldap_reader_password }}"
    search: nurs*
  run_once: true
  delegate_to: localhost
  register: found

- name: Show their DNs
  ansible.builtin.debug:
    msg: "{{ found.entries | map(attribute='dn') }}"
  run_once: true
"""

RETURN = r"""
directory_type:
  description: The type of the directory, the one of O(ldap_parameters.preset) if that is given.
  returned: always
  type: str
  sample: active_directory
naming_contexts:
  description: DNs of the trees that the server has, the default one first.
  returned: always
  type: list
  elements: str
  sample: ["DC=corp,DC=example", "CN=Configuration,DC=corp,DC=example"]
default_naming_context:
  description: The one that a synchronization reads that names no DN. Null, where such a synchronization must name one.
  returned: always
  type: str
  sample: DC=corp,DC=example
supports:
  description: What the server says that it supports.
  returned: always
  type: dict
  contains:
    paged_results:
      description: Paged results (RFC 2696). Without them everything is read in one answer, which must meet no limit.
      type: bool
      sample: true
    start_tls:
      description: StartTLS, for O(encryption=start_tls). It is known to a server that has a certificate.
      type: bool
      sample: true
    sasl_mechanisms:
      description: Ways to log in besides O(authentication=simple). C(GSSAPI) is Kerberos, C(EXTERNAL) a certificate.
      type: list
      elements: str
      sample: [EXTERNAL, GSSAPI]
    dirsync:
      description: The changes since the last time, as Active Directory tells them.
      type: bool
      sample: false
    syncrepl:
      description: The changes since the last time, as OpenLDAP tells them (RFC 4533).
      type: bool
      sample: true
not_read:
  description:
    - Referrals to other servers that were seen and are not followed, among them child domains.
    - A synchronization does not read what lies there. Give those servers a synchronization of their own.
  returned: always
  type: list
  elements: str
  sample: ["ldap://sub.corp.example/DC=sub,DC=corp,DC=example"]
entries:
  description:
    - What lies below O(distinguished_name), each entry behind its parent, or what O(search) found.
    - Entries that are no container, group or user are left out, and so is what the tools of Active Directory hide.
  returned: always
  type: list
  elements: dict
  contains:
    dn:
      description: The DN, as O(usersync.directory.user_synchronization#module:distinguished_name) takes it.
      type: str
      sample: CN=Nurses,OU=Groups,DC=corp,DC=example
    name:
      description: The name.
      type: str
      sample: Nurses
    type:
      description: V(organizational_unit), V(container), V(group) or V(user).
      type: str
      sample: group
    has_children:
      description: Whether containers, groups or users lie in it. It is not about the members of a group.
      type: bool
      sample: true
    level:
      description: How many levels it lies below O(distinguished_name). With O(search) it is 1.
      type: int
      sample: 1
truncated:
  description: Whether there are more RV(entries) than O(limit).
  returned: always
  type: bool
  sample: false
server:
  description: The server that answered.
  returned: always
  type: str
  sample: dc1.corp.example:636
"""

from ansible.module_utils.basic import AnsibleModule, env_fallback

from ..module_utils._core_dumps import forbid_core_dumps
from ..module_utils._directory.browse import browse
from ..module_utils._errors import SynchronizationError
from ..module_utils._options import BROWSING, CONNECTION, module_arguments
from ..module_utils._printable import printable
from ..module_utils._settings import browse_settings_from


def main() -> None:
    forbid_core_dumps()
    arguments = module_arguments(CONNECTION, BROWSING, environment=env_fallback)
    module = AnsibleModule(supports_check_mode=True, **arguments)

    def warn(text: str) -> None:
        module.warn(printable(text))

    try:
        result = browse(browse_settings_from(module.params, warn), warn)
    except SynchronizationError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
