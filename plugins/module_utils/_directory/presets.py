# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.


"""What each type of directory calls things: object classes, attributes, stable keys and filters, in one table.

Everything that reads takes a `Preset`: the table's line, with what the options say instead (`overrides.py`). A new
preset is one more line here. If the server tells what it is, it is found in `detect.py`; if an attribute of its own
disables users, that is said in `state.py`.
"""

from __future__ import annotations

from typing import Any

from .._named_tuple import NamedTuple

Entry = dict[str, list[bytes]]  # attribute name in lower case -> raw values


class Preset(NamedTuple):
    """How to read one type of directory. Filters are RFC 4515; attributes are spelled as a server documents them."""

    directory_type: str
    is_user: str  # filter: what is a user at all
    is_group: str
    is_container: str  # filter: what becomes a user group, the selected containers aside
    user_filter: str  # filter: which users are wanted
    group_filter: str
    group_classes: tuple[str, ...]
    user_key: str  # attribute that never changes while the entry lives
    group_key: str
    container_key: str
    user_name: str
    listed_name: str  # attribute of the user that `member_value` 'name' refers to, however users are named in the store
    group_name: str
    created: str
    sid: str | None
    group_members: tuple[str, ...]  # attributes of the group that list its members
    member_value: str  # what stands in them: 'dn', 'name' or 'key'
    primary_group: tuple[tuple[str, str], ...]  # attribute of the user = attribute of the group; the first one counts
    user_groups: str | None  # attribute of the user that lists its groups, instead of group_members
    user_groups_value: str | None  # 'dn' or 'name'
    state: tuple[str, ...]  # attributes that may say that a user is disabled
    user_fields: dict[str, tuple[str, ...]]  # field -> attributes, the first that has a value counts
    group_fields: dict[str, tuple[str, ...]]
    user_lists: dict[str, str]  # fields that an option added: all values of the attribute
    group_lists: dict[str, str]
    subtree: str  # where all entries lie, relative to the naming context; nothing else is ever read


def any_class(classes: tuple[str, ...]) -> str:
    """Return the filter that matches the entries with any of these object classes."""
    tests = "".join("(objectClass=%s)" % name for name in classes)
    return tests if len(classes) == 1 else "(|%s)" % tests


# --- what lines have in common ---------------------------------------------------------------------------------------


def _users(is_user: str) -> dict[str, Any]:
    return {"is_user": is_user, "user_filter": is_user}


def _groups(*classes: str) -> dict[str, Any]:
    return {"is_group": any_class(classes), "group_filter": any_class(classes), "group_classes": classes}


def _keys(entries: str, containers: str) -> dict[str, Any]:
    return {"user_key": entries, "group_key": entries, "container_key": containers}


def _names(users: str, groups: str) -> dict[str, Any]:
    return {"user_name": users, "listed_name": users, "group_name": groups}


_GROUPS_OF_NAMES = ("groupOfNames", "groupOfUniqueNames")
_GID = ("gidNumber", "gidNumber")

_LDAP_USER_FIELDS: dict[str, tuple[str, ...]] = {
    "display_name": ("displayName", "cn"),
    "given_name": ("givenName",),
    "surname": ("sn",),
    "email": ("mail",),
    "phone": ("telephoneNumber",),
    "mobile": ("mobile",),
    "title": ("title",),
    "department": ("departmentNumber", "ou"),
    "company": ("o",),
    "office": ("physicalDeliveryOfficeName", "roomNumber"),
    "employee_number": ("employeeNumber",),
    "description": ("description",),
}
_LDAP_GROUP_FIELDS: dict[str, tuple[str, ...]] = {"description": ("description",), "email": ("mail",)}

# What most LDAP servers have in common. A line says what is other.
_LDAP = Preset(
    directory_type="",
    **_users("(objectClass=inetOrgPerson)"),
    **_groups(*_GROUPS_OF_NAMES),
    # Whose names are `ou`, `o`, `l` and `c` in a DN (RFC 4519, 3).
    is_container=any_class(("organizationalUnit", "organization", "locality", "country")),
    **_keys("entryUUID", "entryUUID"),
    **_names("uid", "cn"),
    created="createTimestamp",
    sid=None,
    group_members=("member", "uniqueMember"),
    member_value="dn",
    primary_group=(),
    user_groups=None,
    user_groups_value=None,
    state=(),
    user_fields=_LDAP_USER_FIELDS,
    group_fields=_LDAP_GROUP_FIELDS,
    user_lists={},
    group_lists={},
    subtree="",
)


# --- the table -------------------------------------------------------------------------------------------------------

# objectClass=user alone would match computers, too. Of what is left, who has this bit is an account by which another
# domain trusts this one (UF_INTERDOMAINTRUST_ACCOUNT, MS-ADTS 2.2.16).
TRUST_ACCOUNT = 0x800
_AD_USER = (
    "(&(objectCategory=person)(objectClass=user)(!(userAccountControl:1.2.840.113556.1.4.803:=%d)))" % TRUST_ACCOUNT
)

_ACTIVE_DIRECTORY = Preset(
    directory_type="active_directory",
    is_user=_AD_USER,
    is_group="(objectClass=group)",
    # What the administrative tools hide is no place for people: CN=System, CN=Program Data, ...
    is_container="(|(objectClass=organizationalUnit)(&(|(objectClass=container)(objectClass=builtinDomain)"
    "(objectClass=domainDNS))(!(showInAdvancedViewOnly=TRUE))))",
    user_filter=_AD_USER,
    group_filter="(objectClass=group)",
    group_classes=("group",),
    user_key="objectGUID",
    group_key="objectGUID",
    container_key="objectGUID",
    user_name="sAMAccountName",
    listed_name="sAMAccountName",
    group_name="sAMAccountName",
    created="whenCreated",
    sid="objectSid",
    group_members=("member",),
    member_value="dn",
    # The group's SID is the domain's SID and this number (MS-ADA3 2.120).
    primary_group=(("primaryGroupID", "objectSid"),),
    user_groups=None,
    user_groups_value=None,
    state=("userAccountControl", "accountExpires"),
    user_fields={
        "display_name": ("displayName",),
        "given_name": ("givenName",),
        "surname": ("sn",),
        "email": ("mail",),
        "phone": ("telephoneNumber",),
        "mobile": ("mobile",),
        "title": ("title",),
        "department": ("department",),
        "company": ("company",),
        "office": ("physicalDeliveryOfficeName",),
        "employee_number": ("employeeNumber",),
        "description": ("description",),
        "user_principal_name": ("userPrincipalName",),
    },
    group_fields={"display_name": ("displayName",), "description": ("description",), "email": ("mail",)},
    user_lists={},
    group_lists={},
    subtree="",
)

_LINES = (
    _ACTIVE_DIRECTORY,
    _LDAP._replace(directory_type="openldap", state=("pwdAccountLockedTime", "shadowExpire")),
    _LDAP._replace(
        directory_type="rfc2307",
        **_users("(objectClass=posixAccount)"),
        **_groups("posixGroup"),
        group_members=("memberUid",),
        member_value="name",
        primary_group=(_GID,),
        state=("pwdAccountLockedTime", "nsAccountLock", "shadowExpire"),
    ),
    _LDAP._replace(
        directory_type="openldap_samba",
        **_users("(objectClass=sambaSamAccount)"),
        **_groups("sambaGroupMapping"),
        group_members=("memberUid",),
        member_value="name",
        primary_group=(("sambaPrimaryGroupSID", "sambaSID"), _GID),
        sid="sambaSID",
        state=("sambaAcctFlags", "pwdAccountLockedTime", "shadowExpire"),
    ),
    _LDAP._replace(
        directory_type="open_directory",
        **_users("(objectClass=apple-user)"),
        **_groups("apple-group"),
        **_keys("apple-generateduid", "entryUUID"),
        group_members=("apple-group-memberguid", "apple-group-nestedgroup"),
        member_value="key",
        primary_group=(_GID,),
        state=("authAuthority",),
        group_fields={**_LDAP_GROUP_FIELDS, "display_name": ("apple-group-realname",)},
    ),
    # cn=compat repeats every user and group, cn=provisioning keeps deleted ones: both lie beside cn=accounts.
    _LDAP._replace(
        directory_type="freeipa",
        **_users("(objectClass=posixAccount)"),
        **_groups("ipaUserGroup"),
        **_keys("ipaUniqueID", "nsUniqueId"),
        group_members=("member",),
        state=("nsAccountLock",),
        subtree="cn=accounts",
    ),
    _LDAP._replace(directory_type="389ds", **_keys("nsUniqueId", "nsUniqueId"), state=("nsAccountLock",)),
    # The following are from what their makers publish, and were never read from such a server.
    #
    # OpenDJ, ForgeRock and Ping DS, Oracle Unified Directory, all made of OpenDS. Source: the schema reference of
    # PingDS, ds-pwp-account-disabled and ds-pwp-account-expiration-time; groups as OpenDJ's manual has static ones.
    _LDAP._replace(
        directory_type="opendj",
        **_groups(*_GROUPS_OF_NAMES, "groupOfEntries"),
        state=("ds-pwp-account-disabled", "ds-pwp-account-expiration-time"),
    ),
    # Source: its LDAP server (crates/ldap), where groups have both classes, and member says the same as uniqueMember.
    # It knows no disabled users.
    _LDAP._replace(directory_type="lldap", **_groups("groupOfUniqueNames", "groupOfNames"), group_members=("member",)),
    # Source: the schema reference of NetIQ eDirectory, "Login Disabled", "Login Expiration Time", "GUID"; and its LDAP
    # names, where User is inetOrgPerson, and Group is groupOfNames. People log in by their cn.
    _LDAP._replace(
        directory_type="edirectory",
        **_groups("groupOfNames"),
        **_keys("GUID", "GUID"),
        **_names("cn", "cn"),
        group_members=("member",),
        state=("loginDisabled", "loginExpirationTime"),
    ),
    # Source: the modules users/user and groups/group of Univention Directory Manager. Computers are POSIX accounts,
    # too, so only the type of the object tells who is a user.
    _LDAP._replace(
        directory_type="univention",
        **_users("(univentionObjectType=users/user)"),
        **_groups("univentionGroup"),
        group_members=("uniqueMember",),
        user_fields={**_LDAP_USER_FIELDS, "email": ("mailPrimaryAddress", "mail")},
        group_fields={**_LDAP_GROUP_FIELDS, "email": ("mailPrimaryAddress",)},
        state=("sambaAcctFlags", "shadowExpire", "krb5KDCFlags", "pwdAccountLockedTime"),
    ),
    # Source: its schemas inetorgperson, core and pwdpolicy (draft-behera-ldap-password-policy-10, 5.3.3).
    _LDAP._replace(directory_type="apacheds", state=("pwdAccountLockedTime",)),
)
PRESETS = {preset.directory_type: preset for preset in _LINES}
LDAP_PRESETS = tuple(name for name in PRESETS if name != "active_directory")
