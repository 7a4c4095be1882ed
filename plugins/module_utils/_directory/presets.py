# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What each type of directory calls things: object classes, attributes, stable keys and filters, in one table.

Everything that reads takes a `Preset`, the table's line with the options' overrides applied; nothing else knows the
name of an attribute. Entries are dicts: attribute name in lower case -> list of raw values.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Optional

from .._errors import SynchronizationError
from .._model import Fields, name_key, significant
from .values import (
    check_filter,
    escape_filter,
    filetime_seconds,
    generalized_time_seconds,
    guid_bytes,
    guid_text,
    integer,
    parse_dn,
    sid_bytes,
    sid_text,
)

Entry = dict[str, list[bytes]]
_Form = tuple[Callable[[bytes], str], Optional[Callable[[str], bytes]]]


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


# --- the table -------------------------------------------------------------------------------------------------------


def _any_class(classes: tuple[str, ...]) -> str:
    tests = "".join("(objectClass=%s)" % name for name in classes)
    return tests if len(classes) == 1 else "(|%s)" % tests


_LDAP_USER_FIELDS = {
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
_LDAP_GROUP_FIELDS = {"description": ("description",), "email": ("mail",)}
# Whose names are `ou`, `o`, `l` and `c` in a DN (RFC 4519, 3).
_CONTAINERS = _any_class(("organizationalUnit", "organization", "locality", "country"))


def _ldap_preset(
    directory_type: str,
    user_class: str,
    group_classes: tuple[str, ...],
    members: tuple[str, ...],
    member_value: str = "dn",
    key: str = "entryUUID",
    container_key: str = "entryUUID",
    primary_group: tuple[tuple[str, str], ...] = (),
    state: tuple[str, ...] = (),
    sid: str | None = None,
    group_fields: dict[str, tuple[str, ...]] | None = None,
    subtree: str = "",
    user_fields: dict[str, tuple[str, ...]] | None = None,
    user_name: str = "uid",
    is_user: str = "",
) -> Preset:
    is_user, is_group = is_user or _any_class((user_class,)), _any_class(group_classes)
    return Preset(
        directory_type=directory_type,
        is_user=is_user,
        is_group=is_group,
        is_container=_CONTAINERS,
        user_filter=is_user,
        group_filter=is_group,
        group_classes=group_classes,
        user_key=key,
        group_key=key,
        container_key=container_key,
        user_name=user_name,
        listed_name=user_name,
        group_name="cn",
        created="createTimestamp",
        sid=sid,
        group_members=members,
        member_value=member_value,
        primary_group=primary_group,
        user_groups=None,
        user_groups_value=None,
        state=state,
        user_fields={**_LDAP_USER_FIELDS, **(user_fields or {})},
        group_fields={**_LDAP_GROUP_FIELDS, **(group_fields or {})},
        user_lists={},
        group_lists={},
        subtree=subtree,
    )


# objectClass=user alone would match computers, too. Of what is left, who has this bit is an account by which another
# domain trusts this one (UF_INTERDOMAIN_TRUST_ACCOUNT, MS-ADTS 2.2.16).
_TRUST_ACCOUNT = 0x800
_AD_USER = (
    "(&(objectCategory=person)(objectClass=user)(!(userAccountControl:1.2.840.113556.1.4.803:=%d)))" % _TRUST_ACCOUNT
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

_GROUPS_OF_NAMES = ("groupOfNames", "groupOfUniqueNames")
_GID = ("gidNumber", "gidNumber")

PRESETS = {
    preset.directory_type: preset
    for preset in (
        _ACTIVE_DIRECTORY,
        _ldap_preset(
            "openldap",
            "inetOrgPerson",
            _GROUPS_OF_NAMES,
            ("member", "uniqueMember"),
            state=("pwdAccountLockedTime", "shadowExpire"),
        ),
        _ldap_preset(
            "rfc2307",
            "posixAccount",
            ("posixGroup",),
            ("memberUid",),
            "name",
            primary_group=(_GID,),
            state=("pwdAccountLockedTime", "nsAccountLock", "shadowExpire"),
        ),
        _ldap_preset(
            "openldap_samba",
            "sambaSamAccount",
            ("sambaGroupMapping",),
            ("memberUid",),
            "name",
            primary_group=(("sambaPrimaryGroupSID", "sambaSID"), _GID),
            sid="sambaSID",
            state=("sambaAcctFlags", "pwdAccountLockedTime", "shadowExpire"),
        ),
        _ldap_preset(
            "open_directory",
            "apple-user",
            ("apple-group",),
            ("apple-group-memberguid", "apple-group-nestedgroup"),
            "key",
            "apple-generateduid",
            primary_group=(_GID,),
            state=("authAuthority",),
            group_fields={"display_name": ("apple-group-realname",)},
        ),
        # cn=compat repeats every user and group, cn=provisioning keeps deleted ones: both lie beside cn=accounts.
        _ldap_preset(
            "freeipa",
            "posixAccount",
            ("ipaUserGroup",),
            ("member",),
            key="ipaUniqueID",
            container_key="nsUniqueId",
            state=("nsAccountLock",),
            subtree="cn=accounts",
        ),
        _ldap_preset(
            "389ds",
            "inetOrgPerson",
            _GROUPS_OF_NAMES,
            ("member", "uniqueMember"),
            key="nsUniqueId",
            container_key="nsUniqueId",
            state=("nsAccountLock",),
        ),
        # The following are from what their makers publish, and were never read from such a server.
        #
        # OpenDJ, ForgeRock and Ping DS, Oracle Unified Directory, all made of OpenDS. Source: the schema reference of
        # PingDS, ds-pwp-account-disabled and ds-pwp-account-expiration-time; groups as OpenDJ's manual has static ones.
        _ldap_preset(
            "opendj",
            "inetOrgPerson",
            (*_GROUPS_OF_NAMES, "groupOfEntries"),
            ("member", "uniqueMember"),
            state=("ds-pwp-account-disabled", "ds-pwp-account-expiration-time"),
        ),
        # Source: its LDAP server (crates/ldap), where groups have both classes, and member says the same as
        # uniqueMember. It knows no disabled users.
        _ldap_preset("lldap", "inetOrgPerson", ("groupOfUniqueNames", "groupOfNames"), ("member",)),
        # Source: the schema reference of NetIQ eDirectory, "Login Disabled", "Login Expiration Time", "GUID"; and its
        # LDAP names, where User is inetOrgPerson, and Group is groupOfNames. People log in by their cn.
        _ldap_preset(
            "edirectory",
            "inetOrgPerson",
            ("groupOfNames",),
            ("member",),
            key="GUID",
            container_key="GUID",
            user_name="cn",
            state=("loginDisabled", "loginExpirationTime"),
        ),
        # Source: the modules users/user and groups/group of Univention Directory Manager. Computers are POSIX accounts,
        # too, so only the type of the object tells who is a user.
        _ldap_preset(
            "univention",
            "posixAccount",
            ("univentionGroup",),
            ("uniqueMember",),
            is_user="(univentionObjectType=users/user)",
            user_fields={"email": ("mailPrimaryAddress", "mail")},
            group_fields={"email": ("mailPrimaryAddress",)},
            state=("sambaAcctFlags", "shadowExpire", "krb5KDCFlags", "pwdAccountLockedTime"),
        ),
        # Source: its schemas inetorgperson, core and pwdpolicy (draft-behera-ldap-password-policy-10, 5.3.3).
        _ldap_preset(
            "apacheds",
            "inetOrgPerson",
            _GROUPS_OF_NAMES,
            ("member", "uniqueMember"),
            state=("pwdAccountLockedTime",),
        ),
    )
}
LDAP_PRESETS = tuple(name for name in PRESETS if name != "active_directory")


# --- what each attribute is for --------------------------------------------------------------------------------------

# A value that only helps never ends a read, and nobody is told of it. A value that decides does, or what it would
# decide is held: that stays as it is stored, and the value is told of.
HELPS, DECIDES = "helps", "decides"


class Use(NamedTuple):
    """What a kind of attribute is for. What becomes of a value is for the documentation."""

    tells: str
    kind: str  # HELPS or DECIDES
    malformed: str  # what becomes of it if the value cannot be understood
    unread: str  # and if there is none, and nothing proves that there is none


USES = {
    "key": Use(
        "whose entry it is",
        DECIDES,
        "the entry is that of who was at its DN in the last run; a newcomer is left out",
        "the read ends",
    ),
    "name": Use("the name", DECIDES, "it stays; a newcomer is left out", "it stays; a newcomer is left out"),
    "listed_name": Use(
        "by what name lists know a user", DECIDES, "no list leads to the user by it", "the memberships stay"
    ),
    "members": Use("the members of a group", DECIDES, "it leads to nobody; whom it meant stays", "the members stay"),
    "primary_group": Use(
        "the primary group of a user", DECIDES, "it leads to no group, as another value does", "the membership stays"
    ),
    "sid": Use("the SID", DECIDES, "it stays; if it is a group's, all stay whose primary group that is", "it stays"),
    "state": Use(
        "whether a user is enabled",
        DECIDES,
        "that stays; a newcomer is disabled",
        "nobody is enabled by that; a newcomer is disabled",
    ),
    "field": Use("a field", DECIDES, "it stays", "it becomes empty, as far as `removal_limits` lets it"),
    "created": Use("who came first, of two who want one name", HELPS, "it counts as the oldest", "the same"),
    "type": Use("with what suffix a group goes that loses its name", HELPS, "with another one", "the same"),
}


def attributes_by_use(preset: Preset) -> dict[str, tuple[str, ...]]:
    """Return the attributes that are read, by the names in `USES`; those of users and of groups, each once."""

    def each_once(*names: str | None) -> tuple[str, ...]:
        return tuple({name.lower(): name for name in names if name}.values())

    def of_fields(*several: dict[str, tuple[str, ...]]) -> list[str]:
        return [name for fields in several for names in fields.values() for name in names]

    by_use = {
        "key": each_once(preset.user_key, preset.group_key, preset.container_key),
        "name": each_once(preset.user_name, preset.group_name),
        "listed_name": each_once(preset.listed_name if preset.member_value == "name" else None),
        "members": each_once(*preset.group_members, preset.user_groups),
        "primary_group": each_once(*(name for pair in preset.primary_group for name in pair)),
        "sid": each_once(preset.sid),
        "state": each_once(*preset.state),
        "field": each_once(
            *of_fields(preset.user_fields, preset.group_fields),
            *preset.user_lists.values(),
            *preset.group_lists.values(),
        ),
        "created": each_once(preset.created),
        "type": each_once("groupType" if preset.directory_type == "active_directory" else "objectClass"),
    }
    return {use: names for use, names in by_use.items() if names}


# --- which type of directory this is ---------------------------------------------------------------------------------


# What vendorName and vendorVersion have of what is said nowhere else.
_VENDORS = (
    ("opendj", "opendj"),
    ("forgerock", "opendj"),
    ("oracle unified directory", "opendj"),
    ("lldap", "lldap"),
    ("edirectory", "edirectory"),
    ("apache software foundation", "apacheds"),
)


def detect(root_dse: Entry) -> str:
    """Return the directory type that a root DSE speaks of, or raise SynchronizationError."""
    said = {name: [value.decode("utf-8", "replace").lower() for value in values] for name, values in root_dse.items()}
    vendor = " ".join(said.get("vendorname", []) + said.get("vendorversion", []))
    if "1.2.840.113556.1.4.800" in said.get("supportedcapabilities", []):  # MS-ADTS 3.1.1.3.4.3.1
        return "active_directory"
    if "389 project" in vendor or "389-directory" in vendor:
        extensions = said.get("supportedextension", [])
        return "freeipa" if any(oid.startswith("2.16.840.1.113730.3.8.10.") for oid in extensions) else "389ds"
    if "apple" in vendor:  # before OpenLDAP, which it is made of
        return "open_directory"
    if "openldaprootdse" in said.get("objectclass", []):
        return "openldap"
    if "ds-root-dse" in said.get("objectclass", []):
        return "opendj"
    for sign, found in _VENDORS:
        if sign in vendor:
            return found
    raise SynchronizationError(
        "ldap_parameters.preset: the server does not tell what it is: set it to one of %s" % ", ".join(LDAP_PRESETS)
    )


def directory_type(settings: Any, root_dse: Entry) -> str:
    """Return the directory type to read as: what the options say, checked against what the server says.

    Raises SynchronizationError when `use_ldap` and the server contradict each other.
    """
    if not settings.use_ldap:
        try:
            detected = detect(root_dse)
        except SynchronizationError:
            detected = "unknown"
        if detected != "active_directory":
            raise SynchronizationError(
                "use_ldap: the server is no Active Directory (it looks like: %s): set use_ldap: true" % detected
            )
        return detected
    named = (settings.ldap_parameters or {}).get("preset")
    if named:
        return named
    detected = detect(root_dse)
    if detected == "active_directory":
        raise SynchronizationError(
            "use_ldap: the server is an Active Directory: set use_ldap: false, or name a preset in ldap_parameters"
        )
    return detected


# --- the options' overrides ------------------------------------------------------------------------------------------

# RFC 4512, 2.5 and 1.4: attribute descriptions, and names of object classes. They become part of a filter. No attribute
# by number: the server would answer with its name.
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*(;[A-Za-z0-9-]+)*")
_OBJECT_CLASS = re.compile(r"[A-Za-z][A-Za-z0-9-]*|\d+(\.\d+)+")


def check_parameters(settings: Any) -> None:
    """Raise SynchronizationError for what is wrong with `ldap_parameters` whatever the server is."""
    parameters = settings.ldap_parameters or {}
    given = {name for name, value in parameters.items() if value is not None}
    if parameters.get("preset") not in (None,) + LDAP_PRESETS:
        raise SynchronizationError(
            "ldap_parameters.preset: there is no preset '%s': set it to one of %s"
            % (parameters["preset"], ", ".join(LDAP_PRESETS))
        )
    for name, choices in (("member_value", ("dn", "name", "key")), ("user_groups_value", ("dn", "name"))):
        if parameters.get(name) not in (None,) + choices:
            raise SynchronizationError(
                "ldap_parameters.%s: there is no '%s': set it to one of %s"
                % (name, parameters[name], ", ".join(choices))
            )
    for name in sorted({"user_class", "group_class"} & given):
        if not all(isinstance(each, str) and _OBJECT_CLASS.fullmatch(each) for each in _listed(parameters[name])):
            raise SynchronizationError(
                "ldap_parameters.%s: %r is neither an object class nor a list of object classes: write a name such as "
                "'groupOfNames'" % (name, parameters[name])
            )
    for name in ("user_key", "group_key", "user_groups"):
        _check_name(parameters, name, _ATTRIBUTE, "attribute")
    if "group_members" in given:
        members = parameters["group_members"]
        if not all(map(_is_attribute, _listed(members))):
            raise SynchronizationError(
                "ldap_parameters.group_members: %r is neither an attribute nor a list of "
                "attributes: write a name such as 'member'" % (members,)
            )
    if "user_groups_value" in given and "user_groups" not in given:
        raise SynchronizationError(
            "ldap_parameters.user_groups_value: it says what stands in "
            "ldap_parameters.user_groups, which is missing: give that, or remove this"
        )
    for name in ("group_members", "member_value"):
        if {"user_groups", name} <= given:
            raise SynchronizationError(
                "ldap_parameters.%s: this and ldap_parameters.user_groups are two ways to find "
                "the members of a group: remove one of them" % name
            )
    if parameters.get("user_groups_value") == "name":
        options = {"ldap_parameters." + name for name in given & {"group_class", "group_key"}}
        options |= {name for name in ("group_filter", "group_attributes") if getattr(settings, name)}
        for name in sorted(options):
            raise SynchronizationError(
                "%s: it has nothing to act on with ldap_parameters.user_groups_value: name, "
                "where groups have no entries: remove one of them" % name
            )


def _listed(value: Any) -> tuple:
    """Return what an option has that takes a name or a list of names, each once; what is none of these for neither."""
    several = value if isinstance(value, (list, tuple)) and value else [value]
    return tuple(dict.fromkeys(several)) if all(isinstance(each, str) for each in several) else tuple(several)


def _is_attribute(name: Any) -> bool:
    return isinstance(name, str) and bool(_ATTRIBUTE.fullmatch(name))


def _check_name(parameters: dict, option: str, pattern: Any, what: str) -> None:
    value = parameters.get(option)
    if value is not None and not (isinstance(value, str) and pattern.fullmatch(value)):
        raise SynchronizationError("ldap_parameters.%s: %r is no name of an %s: correct it" % (option, value, what))


def resolve(settings: Any, type_of_directory: str) -> Preset:
    """Return the preset of that type with the options' overrides applied.

    `settings` has ldap_parameters, user_filter, group_filter, group_types, user_attributes and group_attributes.
    Raises SynchronizationError for parameters that are wrong or contradict each other.
    """
    check_parameters(settings)
    preset = PRESETS[type_of_directory]
    given = {name: value for name, value in (settings.ldap_parameters or {}).items() if value is not None}
    changes: dict[str, Any] = {name: given[name] for name in ("user_key", "group_key", "member_value") if name in given}
    if "user_class" in given:
        changes["is_user"] = _any_class(_listed(given["user_class"]))
    if "group_class" in given:
        changes["group_classes"] = _listed(given["group_class"])
        changes["is_group"] = _any_class(changes["group_classes"])
    if "group_members" in given:
        changes["group_members"] = _listed(given["group_members"])
    if "user_groups" in given:
        changes.update(
            user_groups=given["user_groups"], user_groups_value=given.get("user_groups_value", "dn"), group_members=()
        )
    preset = preset._replace(**changes)
    user_name, user_fields, user_lists = _fields(settings.user_attributes, preset.user_name, preset.user_fields)
    group_name, group_fields, group_lists = _fields(settings.group_attributes, preset.group_name, preset.group_fields)
    # groupType is a signed number whose highest bit marks security groups (MS-ADA1 2.289); bit filters are decimal.
    security = "(groupType:1.2.840.113556.1.4.803:=2147483648)" if settings.group_types == "security" else None
    return preset._replace(
        user_filter=_all_of("user_filter", preset.is_user, settings.user_filter),
        group_filter=_all_of("group_filter", preset.is_group, settings.group_filter, security),
        user_name=user_name,
        user_fields=user_fields,
        user_lists=user_lists,
        group_name=group_name,
        group_fields=group_fields,
        group_lists=group_lists,
    )


def _all_of(option: str, *filters: str | None) -> str:
    given = [text.strip() for text in filters if text]
    for text in given:
        try:
            check_filter(text)
        except ValueError as error:
            raise SynchronizationError("%s: %s" % (option, error)) from None
    return given[0] if len(given) == 1 else "(&%s)" % "".join(given)


def _fields(mapping: dict | None, name: str, fields: dict) -> tuple[str, dict, dict]:
    """Return the attribute of the name, the fields of the preset, and the fields that the option adds."""
    mapping = dict(mapping or {})
    name = mapping.pop("name", name)
    standard = {field: (mapping.pop(field),) if field in mapping else fields[field] for field in fields}
    return name, standard, mapping


# --- state -----------------------------------------------------------------------------------------------------------


def _account_control_disables(value: bytes, now: int) -> bool:
    return integer(value) & 2 != 0  # ADS_UF_ACCOUNTDISABLE, MS-ADTS 2.2.16


def _account_expired(value: bytes, now: int) -> bool:
    if value == b"0" or value == b"9223372036854775807":  # both mean never, and nearly everybody has one of them
        return False
    expires = filetime_seconds(value)
    return expires is not None and expires <= now


def _account_lock_disables(value: bytes, now: int) -> bool:
    return value.lower() == b"true"


def _locked_for_good(value: bytes, now: int) -> bool:
    # Any other time is a lock-out that ends by itself (slapo-ppolicy(5)).
    return value == b"000001010000Z"


def _samba_flags_disable(value: bytes, now: int) -> bool:
    return b"D" in value  # '[DU         ]'


def _shadow_expired(value: bytes, now: int) -> bool:
    # Days since 1970; a negative number is never. shadow(5) warns of 0; for pam_unix it is a day long gone, and
    # 'chage -E 0' is how accounts are locked.
    expires = integer(value)
    return 0 <= expires <= now // 86400


def _authority_disables(value: bytes, now: int) -> bool:
    return b";disableduser;" in value.lower()


def _time_is_over(value: bytes, now: int) -> bool:
    return generalized_time_seconds(value) <= now


def _kerberos_invalid(value: bytes, now: int) -> bool:
    return integer(value) & 128 != 0  # HDBFlags of Heimdal, "invalid": the eighth bit


# Spelled as in the table -> as in an entry, and whether a value of it disables the user.
_STATE: dict[str, tuple[str, Callable[[bytes, int], bool]]] = {
    attribute: (attribute.lower(), disables)
    for attribute, disables in (
        ("userAccountControl", _account_control_disables),
        ("accountExpires", _account_expired),
        ("nsAccountLock", _account_lock_disables),
        ("pwdAccountLockedTime", _locked_for_good),
        ("sambaAcctFlags", _samba_flags_disable),
        ("shadowExpire", _shadow_expired),
        ("authAuthority", _authority_disables),
        ("ds-pwp-account-disabled", _account_lock_disables),
        ("ds-pwp-account-expiration-time", _time_is_over),
        ("loginDisabled", _account_lock_disables),
        ("loginExpirationTime", _time_is_over),
        ("krb5KDCFlags", _kerberos_invalid),
    )
}


def user_state(preset: Preset, attributes: Entry, now: int) -> tuple[bool, list[str]]:
    """Return whether the directory says that the user is enabled, and which attributes that decide it are malformed.

    One value that disables is enough, whatever the others are. If none does and one is malformed, nothing says that
    the user is enabled: what is stored stays. `now` is in seconds since 1970.
    """
    malformed: list[str] = []
    for attribute in preset.state:
        name, disables = _STATE[attribute]
        for value in attributes.get(name, ()):
            try:
                if disables(value, now):
                    return False, []
            except ValueError:
                if attribute not in malformed:
                    malformed.append(attribute)
    return True, malformed


def state_by(preset: Preset) -> str:
    """Return by what it is told whether a user is enabled: who reads the same attributes cannot disagree for long."""
    return " ".join(sorted(preset.state)) or "nothing"


def is_trust_account(attributes: Entry) -> bool:
    """Return whether the entry stands for another domain of Active Directory, by its userAccountControl."""
    return any(int(value) & _TRUST_ACCOUNT for value in attributes.get("useraccountcontrol", ()) if value.isdigit())


def _shadow_expires(value: bytes) -> int | None:
    days = integer(value)
    return days * 86400 if days >= 0 else None


# These disable a user when their time has come, in seconds since 1970: before all times or after all times the answer
# may be another.
_EXPIRING: dict[str, Callable[[bytes], int | None]] = {
    "accountExpires": filetime_seconds,
    "shadowExpire": _shadow_expires,
    "ds-pwp-account-expiration-time": generalized_time_seconds,
    "loginExpirationTime": generalized_time_seconds,
}
_BEFORE_ALL, _AFTER_ALL = 0, 1 << 63


def state_is_lasting(preset: Preset, attributes: Entry) -> bool:
    """Return whether a user stays enabled, or disabled, as long as the entry is as it is: nothing in it expires."""
    for attribute in preset.state:
        if attribute in _EXPIRING:
            name, disables = _STATE[attribute]
            try:
                for value in attributes.get(name, ()):
                    if disables(value, _BEFORE_ALL) != disables(value, _AFTER_ALL):
                        return False
            except ValueError:  # which is looked at in every run
                return False
    return True


def state_expires(preset: Preset, attributes: Entry, now: int) -> int | None:
    """Return when time alone will disable a user who is enabled, in seconds since 1970; None where it will not."""
    times: list[int | None] = []
    for attribute in preset.state:
        name, disables = _STATE[attribute]
        for value in attributes.get(name, ()) if attribute in _EXPIRING else ():
            with contextlib.suppress(ValueError):
                if not disables(value, now):
                    times.append(_EXPIRING[attribute](value))
    return min((time for time in times if time is not None and time < _AFTER_ALL), default=None)


# --- values ----------------------------------------------------------------------------------------------------------


def _base64_text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _text_or_base64(value: bytes) -> str:
    """No picture and no certificate is UTF-8: JPEG begins with FF D8, PNG with 89, DER with 30 82 or 30 81. What is
    UTF-8 is a text that somebody keeps there.
    """
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return _base64_text(value)


_HEXADECIMAL = re.compile(r"0x[0-9a-f]{32}")


def _edirectory_guid_text(value: bytes) -> str:
    """Hexadecimal, since tools do not agree on the order of the bytes. Other servers have a text by this name."""
    if len(value) == 16 and not (value.isascii() and value.decode("ascii").isprintable()):
        return "0x" + value.hex()
    text = value.decode("utf-8")
    if _HEXADECIMAL.fullmatch(text):
        raise ValueError("'%s' stands for bytes" % text)
    return text


def _edirectory_guid_bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:]) if _HEXADECIMAL.fullmatch(text) else text.encode("utf-8")


# What makes text of a value that is none, and a value of that text: None if it is no key. Nothing in an answer tells
# what is binary, so it is decided by the attribute.
_GUID: _Form = (guid_text, guid_bytes)
_SID: _Form = (sid_text, sid_bytes)
_BASE64: _Form = (_base64_text, None)
_PICTURE: _Form = (_text_or_base64, None)

_FORMS: dict[str, _Form] = {
    **dict.fromkeys(("objectguid", "ms-ds-consistencyguid", "msexchmailboxguid"), _GUID),  # MS-ADA2, MS-ADA3
    **dict.fromkeys(("objectsid", "sidhistory"), _SID),
    "guid": (_edirectory_guid_text, _edirectory_guid_bytes),
    **dict.fromkeys(("logonhours", "ntsecuritydescriptor"), _BASE64),
    **dict.fromkeys(
        (
            "audio",  # RFC 2798 and 4524
            "cacertificate",  # RFC 4523
            "jpegphoto",
            "photo",
            "thumbnaillogo",
            "thumbnailphoto",
            "usercertificate",
            "userpkcs12",
            "usersmimecertificate",
        ),
        _PICTURE,
    ),
}


@functools.lru_cache(maxsize=1000)
def _form(attribute: str) -> _Form | None:
    name, *options = attribute.lower().split(";")
    return _FORMS.get(name) or (_BASE64 if "binary" in options else None)  # RFC 4522


def text_of(attribute: str) -> Callable[[bytes], str]:
    """Return the function that makes text of the attribute's values: a GUID or a SID in its usual spelling, other
    binary values in base64 or hexadecimal, else UTF-8.

    It is strict, and raises ValueError.
    """
    form = _form(attribute)
    return form[0] if form else bytes.decode


def value_text(attribute: str, value: bytes) -> str:
    return text_of(attribute)(value)


_LONGEST_KEY = 1000  # bytes: two hundred of them are asked for at once
# References that are no stable keys begin so (see _model); a GUID never does, an attribute that an option names might.
_NO_KEY_BEGINS_WITH = ("@", "#", "path:", "name:")


def key_reader(attribute: str) -> Callable[[list[bytes]], str]:
    """Return the function that returns the stable key of an entry, given the attribute's values: the only one, if it is
    a text that can be a key. Else, an empty text.
    """
    to_text, form = text_of(attribute), _form(attribute)
    if form and not form[1]:
        return lambda values: ""

    def read(values: list[bytes]) -> str:
        if len(values) != 1 or len(values[0]) > _LONGEST_KEY:
            return ""
        try:
            key = to_text(values[0])
        except ValueError:
            return ""
        return "" if key.startswith(_NO_KEY_BEGINS_WITH) or "\0" in key or not key.strip() else key

    return read


def key_value(attribute: str, key: str) -> str | bytes:
    """Return what to ask a server for, to find the entry with this stable key. Of another attribute's key, the text:
    it is nobody's.
    """
    form = _form(attribute)
    if form and form[1]:
        with contextlib.suppress(ValueError):
            return form[1](key)
    return key


def any_of(attribute: str, keys: Iterable[str]) -> str:
    """Return the filter that matches the entries with one of these stable keys."""
    return "(|%s)" % "".join("(%s=%s)" % (attribute, escape_filter(key_value(attribute, key))) for key in keys)


def keys_of(entry: Entry, *attributes: str) -> list[str]:
    """Return what may be the stable key of an entry, whatever it turns out to be; a value that is none is left out."""
    found = []
    for attribute in attributes:
        for value in entry.get(attribute.lower(), ()):
            try:
                found.append(value_text(attribute, value))
            except ValueError:
                continue
    return found


def _one_value(attribute: str, values: list[bytes], dn: str) -> bytes:
    """Return the value that stands in the DN, else the smallest: values are a set, their order says nothing."""
    if len(values) == 1:
        return values[0]
    for kind, in_dn in parse_dn(dn)[0]:
        if kind.lower() == attribute.lower() and isinstance(in_dn, str):
            same = [value for value in values if name_key(value.decode("utf-8", "replace")) == name_key(in_dn)]
            if same:
                return min(same)
    return min(values)


def only_with_options(entry: Entry, attribute: str) -> str:
    """Return the names under which an attribute came that has options and no value without one; '' if it has none.

    They are subtypes of it (RFC 4512, 2.5.2): a server that is asked for the attribute sends them, and finds the entry
    by them. Here they are not values of the attribute.
    """
    prefix = attribute.lower() + ";"
    return ", ".join(
        sorted(name for name in entry if name.startswith(prefix) and not name.startswith(prefix + "range="))
    )


NOT_READ = "its %s comes as %s alone, and values with an option are not read"


def name_reader(attribute: str) -> Callable[[Entry, str], tuple[str | None, str | None]]:
    """Return the function that returns (name, None) of an entry, given its DN as well; or (None, why there is none)."""
    in_lower_case, to_text = attribute.lower(), text_of(attribute)

    def read(entry: Entry, dn: str) -> tuple[str | None, str | None]:
        values = entry.get(in_lower_case)
        if not values:
            other = only_with_options(entry, attribute)
            return None, NOT_READ % (attribute, other) if other else "it has no %s that can be read" % attribute
        try:
            name = to_text(values[0] if len(values) == 1 else _one_value(attribute, values, dn))
        except ValueError:
            return None, "its %s is not UTF-8" % attribute
        problem = name_problem(name, attribute)
        return (None, problem) if problem else (significant(name), None)

    return read


def name_problem(name: str, attribute: str) -> str | None:
    """Return why the text cannot be a name in the store; None if it can."""
    if not name.strip():
        return "its %s is blank" % attribute
    if "\0" in name:  # where SQL functions and other programs take a text to end
        return "its %s has a NUL character" % attribute
    return None


_NO_TEXT = "its %s is not UTF-8: the field '%s' stays as it is"
_KINDS_OF_ENTRIES = 1000  # by the attributes that they have: so many are remembered


def field_reader(
    fields: dict[str, tuple[str, ...]], lists: dict[str, str]
) -> Callable[[Entry, str], tuple[Fields, dict[str, str]]]:
    """Return the function that returns the fields of an entry, given its DN as well, and for each field whose value is
    no text, why there is none: it stays as it is stored.
    """
    # What is asked for many times for each entry is asked once. Of the dozens of attributes that fields may come from,
    # an entry has a few, and most entries have the same.
    all_first_of = [
        (field, [(attribute.lower(), attribute, text_of(attribute)) for attribute in attributes])
        for field, attributes in sorted(fields.items())
    ]  # as JSON will want them
    all_of = [(field, attribute.lower(), attribute, text_of(attribute)) for field, attribute in lists.items()]
    by_attributes: dict[tuple[str, ...], list] = {}

    def that_it_may_have(entry: Entry) -> list:
        if len(by_attributes) >= _KINDS_OF_ENTRIES:
            by_attributes.clear()
        first_of = [(field, [source for source in sources if source[0] in entry]) for field, sources in all_first_of]
        found = by_attributes[tuple(entry)] = [(field, sources) for field, sources in first_of if sources]
        return found

    def read(entry: Entry, dn: str) -> tuple[Fields, dict[str, str]]:
        found: Fields = {}
        problems: dict[str, str] = {}
        first_of = by_attributes.get(tuple(entry))
        for field, attributes in that_it_may_have(entry) if first_of is None else first_of:
            for name, attribute, to_text in attributes:
                values = entry[name]
                if values:
                    try:
                        text = to_text(_one_value(attribute, values, dn) if len(values) > 1 else values[0])
                    except ValueError:
                        problems[field] = _NO_TEXT % (attribute, field)
                    else:
                        if text:
                            found[field] = text
                    break
        for field, name, attribute, to_text in all_of:
            values = entry.get(name)
            if values:
                try:
                    found[field] = sorted(set(map(to_text, values)))
                except ValueError:
                    problems[field] = _NO_TEXT % (attribute, field)
        return found, problems

    return read
