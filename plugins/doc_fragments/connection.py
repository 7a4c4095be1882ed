# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the connection options: the twin of CONNECTION in ``plugins/module_utils/_options.py``."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  server:
    description:
      - The servers of the directory, tried in this order until one can be used. After a refused login no other is
        tried.
      - A server that is lost while it is read, or answers that it is busy or unavailable, is left for the next one in
        the list, and reading begins anew there.
      - Each is a host, a host and port (V(dc1.example.com:636)), an V(ldap://), V(ldaps://) or V(ldapi://) URL, or
        V(srv:example.com), which looks up the servers of that domain in DNS (SRV records), honours their priorities and
        weights, and needs the Python library dnspython.
      - The Global Catalog of Active Directory (ports 3268 and 3269) is refused, and not used if V(srv:example.com)
        leads to it. It has only a part of each entry, without when an account expires.
      - DNS answers can be forged. Of V(srv:example.com) a server is used if its name lies in that domain, such as
        V(dc1.example.com). Another one is used only if its certificate is valid for O(tls_server_name), otherwise a
        warning names it. If there is no other, the run ends.
      - V(ldap://) goes with O(encryption=start_tls) or O(encryption=none), V(ldaps://) with O(encryption=ldaps), and
        V(ldapi://) with O(authentication=external) or O(encryption=none).
    type: list
    elements: str
  tls_server_name:
    description:
      - The name expected in the server's certificate, where O(server) is an address or another name. With
        O(authentication=kerberos) it is also the name of the server in the ticket.
    type: str
  login:
    description:
      - The account that reads the directory. It needs no more than the right to read.
      - With O(authentication=simple) on Active Directory it is V(DOMAIN\\USERNAME) or V(USERNAME@FULL.DOMAIN), in
        capitals.
      - With O(authentication=simple) and O(use_ldap=true) it is a DN, such as V(cn=reader,dc=example,dc=com).
      - With O(authentication=kerberos) it is a principal, such as V(SVC-SYNC@EXAMPLE.COM). With O(keytab) it is written
        exactly as it is in the keytab.
      - With O(authentication=anonymous) and O(authentication=external) there is none.
      - In YAML, write a login with a backslash without quotes or in single quotes. In double quotes a backslash is
        written twice.
      - If the task leaves it out, it is the environment variable E(USERSYNC_LOGIN) of the module, if that is set. With
        O(authentication=anonymous) and O(authentication=external) the variable is not looked at.
    type: str
  password:
    description:
      - The password of O(login).
      - It is used in memory and in the bind request. It is not in the store, the result, the diff or an error message.
      - Ansible masks every text of a result that equals the password, and the part of a longer text that does. With a
        password that is a name in the directory that person's name is missing from the result; the store, the counts
        and the digests are right all the same.
      - If the task leaves it out, it is the environment variable E(USERSYNC_PASSWORD) of the module, if that is set.
        With O(keytab), O(authentication=anonymous) and O(authentication=external) the variable is not looked at.
    type: str
  keytab:
    description:
      - Path of a keytab on the node where the task runs. It takes the place of O(password) with
        O(authentication=kerberos).
    type: path
  normalize_login:
    description:
      - Whether to accept an Active Directory login in the wrong case, and capitalize it. It is never sent in another
        case than in capitals.
      - Left out, C(username@full.domain) is capitalized, since many write it in lower case, and C(domain\\username) is
        refused, with the right form in the message.
      - V(true) capitalizes both forms, and V(false) refuses both.
    type: bool
  authentication:
    description:
      - How the task proves to the server who it is.
      - V(simple) - With O(login) and O(password).
      - V(kerberos) - With a Kerberos ticket for O(login), obtained with O(password) or O(keytab). Needs the Python
        library gssapi.
      - V(anonymous) - Not at all. The server must allow it.
      - V(external) - With the client certificate O(client_cert), or on V(ldapi://) with the user that runs the task.
    type: str
    choices: [simple, kerberos, anonymous, external]
    default: simple
  encryption:
    description:
      - How the connection is encrypted.
      - V(ldaps) - TLS from the first byte, on port 636 unless O(server) names another.
      - V(start_tls) - TLS on port 389 before anything else is sent. A server that refuses it is not used.
      - V(none) - No encryption, on port 389. A password travels in clear text, and anybody on the way can change what
        is read, such as add himself to a group. A warning says so. It is fine on V(ldapi://), which is no network.
    type: str
    choices: [ldaps, start_tls, none]
    default: ldaps
  validate_certs:
    description:
      - Whether the server's certificate and the name in it must be valid.
      - Without it, anyone on the way can read the password and answer in the place of the directory.
    type: bool
    default: true
  ca_path:
    description:
      - Path of a file in PEM format with the certificates to trust, or of a directory of such files with hashed names,
        on the node where the task runs.
      - Left out, what that node trusts is trusted.
    type: path
  client_cert:
    description:
      - Path of a file in PEM format with the client certificate, on the node where the task runs. It may hold the key,
        too.
    type: path
  client_key:
    description:
      - Path of a file in PEM format with the key of O(client_cert), on the node where the task runs.
    type: path
  timeout:
    description:
      - How many seconds to wait until a server is found that can be used, all of O(server) together. The time that is
        left is shared among those that were not tried yet, so that one that hangs leaves some for the next.
      - While reading it is how long the server may send nothing, or next to nothing.
    type: int
    default: 30
  page_size:
    description:
      - How many entries to ask for at a time. A server may return fewer. One that has no paged results is asked for all
        at once.
    type: int
    default: 1000
  use_ldap:
    description:
      - Whether to use LDAP instead of Active Directory.
    type: bool
    default: false
  ldap_parameters:
    description:
      - What users and groups look like in a directory that is no Active Directory. It goes with O(use_ldap=true).
      - O(ldap_parameters.preset) chooses a set of parameters. Each of the others overrides one of them.
      - One that is null counts as left out, as in a default of several jobs.
    type: dict
    suboptions:
      preset:
        description:
          - The type of the directory. Left out, it is found by asking the server (its root DSE).
          - V(openldap) - Users are C(inetOrgPerson), groups are C(groupOfNames) or C(groupOfUniqueNames).
          - V(rfc2307) - Users are C(posixAccount), groups are C(posixGroup) with C(memberUid).
          - V(openldap_samba) - Users are C(sambaSamAccount), groups are C(sambaGroupMapping) with C(memberUid).
          - V(open_directory) - Apple Open Directory.
          - V(freeipa) - FreeIPA and Red Hat Identity Management.
          - V(389ds) - 389 Directory Server. Users are C(inetOrgPerson), groups are C(groupOfNames) or
            C(groupOfUniqueNames).
          - V(opendj) - OpenDJ, ForgeRock and Ping DS, and Oracle Unified Directory. It was read on generated entries
            only, and so were those that follow.
          - V(lldap) - LLDAP.
          - V(edirectory) - NetIQ eDirectory. The stable key is its C(GUID), in hexadecimal.
          - V(univention) - Univention Corporate Server, by its OpenLDAP. It is never found by itself.
          - V(apacheds) - Apache Directory Server.
        type: str
        choices: [openldap, rfc2307, openldap_samba, open_directory, freeipa, 389ds, opendj, lldap, edirectory,
                  univention, apacheds]
      user_class:
        description:
          - The object class of users, or a list of object classes. Who has one of them is a user.
        type: raw
      group_class:
        description:
          - The object class of groups, or a list of object classes, such as V(groupOfNames) and V(groupOfURLs). An
            entry that has one of them is a group.
        type: raw
      user_key:
        description:
          - The attribute that never changes while a user lives, such as V(entryUUID). Users are recognised by it after
            they were renamed or moved.
        type: str
      group_key:
        description:
          - The attribute that never changes while a group lives, such as V(entryUUID).
        type: str
      group_members:
        description:
          - The attribute of a group that lists its members, such as V(member), or a list of such attributes.
        type: raw
      member_value:
        description:
          - What O(ldap_parameters.group_members) holds. The preset says so, unless this does.
          - V(dn) - The DN of a member.
          - V(name) - The name of a user.
          - V(key) - The stable key of a member.
        type: str
        choices: [dn, name, key]
      user_groups:
        description:
          - The attribute of a user that lists its groups, such as V(memberOf), where groups do not list their members.
        type: str
      user_groups_value:
        description:
          - What O(ldap_parameters.user_groups) holds, V(dn) unless this says otherwise.
          - V(dn) - The DN of a group.
          - V(name) - The name of a group. The groups need no entries of their own.
        type: str
        choices: [dn, name]
"""
