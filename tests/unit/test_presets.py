# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
from pathlib import Path

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory import (
    detect,
    fields,
    filters,
    forms,
    overrides,
    presets,
    stable_keys,
    state,
    uses,
)
from ansible_collections.usersync.directory.plugins.module_utils._directory.filter_text import check_filter
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError

DAY = 86400
NOW = 20000 * DAY


def settings(**options):
    values = {
        "use_ldap": True, "ldap_parameters": {}, "user_filter": None, "group_filter": None, "group_types": "all",
        "user_attributes": {}, "group_attributes": {},
    }  # fmt: skip
    return types.SimpleNamespace(**{**values, **options})


# --- the table -------------------------------------------------------------------------------------------------------


def test_every_preset_is_whole():
    assert set(presets.LDAP_PRESETS) == {
        "openldap", "rfc2307", "openldap_samba", "open_directory", "freeipa", "389ds", "opendj", "lldap", "edirectory",
        "univention", "apacheds",
    }  # fmt: skip
    for name, preset in presets.PRESETS.items():
        assert name == preset.directory_type
        for text in (preset.is_user, preset.is_group, preset.is_container, preset.user_filter, preset.group_filter):
            check_filter(text)
        assert bool(preset.state) == (name != "lldap") and preset.group_members
        assert state.user_state(preset, {}, NOW) == (True, [])
        assert {"display_name", "email", "phone", "title", "department", "office"} <= set(preset.user_fields)
        assert {"description", "email"} <= set(preset.group_fields)


# --- what each attribute is for --------------------------------------------------------------------------------------

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "ldap.md"


def shown(who):
    """Which presets, for the reader; nothing where it is each of them."""
    if who == tuple(presets.PRESETS):
        return ""
    if who == presets.LDAP_PRESETS:
        return " (all others)"
    return " (%s)" % ", ".join("Active Directory" if name == "active_directory" else "`%s`" % name for name in who)


def attributes_for(use):
    """The attributes of all presets, those together that the same presets read."""
    readers = {}
    for name, preset in presets.PRESETS.items():
        for attribute in uses.attributes_by_use(preset).get(use, ()):
            readers.setdefault(attribute, []).append(name)
    together = {}
    for attribute, who in readers.items():
        together.setdefault(tuple(who), []).append("`%s`" % attribute)
    return "; ".join(", ".join(names) + shown(who) for who, names in together.items())


def table():
    """The table of docs/ldap.md."""
    lines = [
        "| it tells | attributes | kind | a value that cannot be understood | no value that can be read |",
        "|---|---|---|---|---|",
    ]
    for use, described in uses.USES.items():
        cells = (described.tells, attributes_for(use), described.kind, described.malformed, described.unread)
        lines.append("| %s |" % " | ".join(cells))
    return "\n".join(lines) + "\n"


def test_the_documentation_says_what_each_attribute_is_for():
    assert table() in DOCUMENTATION.read_text(encoding="utf-8"), table()


@pytest.mark.parametrize("name", presets.PRESETS)
def test_each_attribute_that_is_asked_for_has_a_use(name):
    preset = presets.PRESETS[name]
    names = (*filters.user_attributes(preset), *filters.group_attributes(preset))
    asked_for = {attribute.lower() for attribute in names}
    known = {each.lower() for names in uses.attributes_by_use(preset).values() for each in names}
    # The kind of an entry, which its filter has decided; and what is read of containers, whose keys are among these.
    assert asked_for - {"objectclass"} <= known
    assert known - asked_for <= {"objectclass", preset.container_key.lower()}


# --- detection -------------------------------------------------------------------------------------------------------

OPENLDAP = {"objectclass": [b"top", b"OpenLDAProotDSE"]}
ACTIVE_DIRECTORY = {"supportedcapabilities": [b"1.2.840.113556.1.4.1670", b"1.2.840.113556.1.4.800"]}
DS389 = {"vendorname": [b"389 Project"], "vendorversion": [b"389-Directory/2.4.5 B2024.017.0000"]}


@pytest.mark.parametrize(("root_dse", "expected"), [
    (ACTIVE_DIRECTORY, "active_directory"),
    (OPENLDAP, "openldap"),
    (DS389, "389ds"),
    ({**DS389, "supportedextension": [b"2.16.840.1.113730.3.8.10.1"]}, "freeipa"),
    ({**DS389, "supportedextension": [b"2.16.840.1.113730.3.5.3"]}, "389ds"),
    ({**OPENLDAP, "vendorname": [b"Apple Inc."]}, "open_directory"),
    ({"objectclass": [b"top", b"ds-root-dse"], "vendorname": [b"Open Identity Platform Community"]}, "opendj"),
    ({"vendorname": [b"ForgeRock AS."], "vendorversion": [b"OpenDJ 2.6.0"]}, "opendj"),
    ({"vendorname": [b"Oracle Corporation"], "vendorversion": [b"Oracle Unified Directory 12.2.1.4.0"]}, "opendj"),
    ({"vendorname": [b"LLDAP"], "vendorversion": [b"lldap_0.6.1"], "supportedcontrol": []}, "lldap"),
    ({"vendorname": [b"NetIQ Corporation"], "vendorversion": [b"LDAP Agent for NetIQ eDirectory 9.2"]}, "edirectory"),
    ({"vendorname": [b"Apache Software Foundation"], "vendorversion": [b"2.0.0.AM26"]}, "apacheds"),
])  # fmt: skip
def test_the_server_says_what_it_is(root_dse, expected):
    assert detect.detect(root_dse) == expected
    if expected != "active_directory":
        assert detect.directory_type(settings(), root_dse) == expected


def test_use_ldap_and_the_server_must_agree():
    assert detect.directory_type(settings(use_ldap=False), ACTIVE_DIRECTORY) == "active_directory"
    assert detect.directory_type(settings(ldap_parameters={"preset": "rfc2307"}), OPENLDAP) == "rfc2307"
    for root_dse in ({}, OPENLDAP):
        with pytest.raises(SynchronizationError, match="use_ldap: true"):
            detect.directory_type(settings(use_ldap=False), root_dse)
    with pytest.raises(SynchronizationError, match="use_ldap: false"):
        detect.directory_type(settings(), ACTIVE_DIRECTORY)
    with pytest.raises(SynchronizationError, match="ldap_parameters.preset: .*openldap, rfc2307, .*389ds"):
        detect.directory_type(settings(), {"vendorname": [b"Somebody"]})


# --- overrides -------------------------------------------------------------------------------------------------------


def test_overrides():
    preset = overrides.resolve(
        settings(
            ldap_parameters={
                "user_class": "account",
                "group_class": "role",
                "user_key": "employeeNumber",
                "group_members": ["roleOccupant", "owner"],
                "member_value": "name",
                "user_groups": None,
            },
            user_filter="(mail=*)",
            group_filter="(cn=a*)",
            user_attributes={"email": "mailAlias", "name": "cn", "town": "l"},
            group_attributes={"name": "o"},
        ),
        "openldap",
    )
    assert preset.user_filter == "(&(objectClass=account)(mail=*))" and preset.is_user == "(objectClass=account)"
    assert preset.group_filter == "(&(objectClass=role)(cn=a*))" and preset.group_classes == ("role",)
    assert (preset.user_key, preset.group_key, preset.container_key) == ("employeeNumber", "entryUUID", "entryUUID")
    assert (preset.group_members, preset.member_value) == (("roleOccupant", "owner"), "name")
    assert (preset.user_name, preset.group_name) == ("cn", "o")
    assert preset.user_fields["email"] == ("mailAlias",) and "town" not in preset.user_fields
    assert preset.user_lists == {"town": "l"} and preset.group_lists == {}


def test_several_classes():
    parameters = {"user_class": ["account", "account"], "group_class": ["groupOfNames", "groupOfURLs", "groupOfNames"]}
    preset = overrides.resolve(settings(ldap_parameters=parameters, group_filter="(cn=a*)"), "openldap")
    assert preset.is_user == preset.user_filter == "(objectClass=account)"
    assert preset.is_group == "(|(objectClass=groupOfNames)(objectClass=groupOfURLs))"
    assert preset.group_filter == "(&(|(objectClass=groupOfNames)(objectClass=groupOfURLs))(cn=a*))"
    assert preset.group_classes == ("groupOfNames", "groupOfURLs")


def test_members_by_the_user():
    preset = overrides.resolve(settings(ldap_parameters={"user_groups": "memberOf"}), "389ds")
    assert (preset.user_groups, preset.user_groups_value, preset.group_members) == ("memberOf", "dn", ())


def test_security_groups_only():
    preset = overrides.resolve(settings(use_ldap=False, group_types="security"), "active_directory")
    assert preset.group_filter == "(&(objectClass=group)(groupType:1.2.840.113556.1.4.803:=2147483648))"


@pytest.mark.parametrize(("parameters", "options", "words"), [
    ({"preset": "novell"}, {}, "ldap_parameters.preset: .*openldap"),
    ({"user_groups_value": "dn"}, {}, "user_groups_value: .*user_groups"),
    ({"user_groups": "memberOf", "group_members": "member"}, {}, "ldap_parameters.group_members: .*user_groups"),
    ({"user_groups": "memberOf", "member_value": "dn"}, {}, "ldap_parameters.member_value: .*user_groups"),
    ({"user_groups": "ou", "user_groups_value": "name", "group_class": "x"}, {}, "group_class: .*groups_value"),
    ({"user_groups": "ou", "user_groups_value": "name"}, {"group_filter": "(a=b)"}, "^group_filter: .*groups_value"),
    ({"group_members": []}, {}, "ldap_parameters.group_members"),
    ({"group_members": ["member", 3]}, {}, "ldap_parameters.group_members"),
    ({"group_members": "a)(b=*"}, {}, "ldap_parameters.group_members"),
    ({"user_class": "a)(b=*"}, {}, "ldap_parameters.user_class"),
    ({"user_class": []}, {}, "ldap_parameters.user_class"),
    ({"group_class": ["groupOfNames", "a)(b=*"]}, {}, "^ldap_parameters.group_class: .* list of object classes"),
    ({"group_class": ["groupOfNames", None]}, {}, "^ldap_parameters.group_class"),
    ({"group_class": {"groupOfNames": 1}}, {}, "^ldap_parameters.group_class"),
    ({"group_class": ["groupOfNames", ["x"]]}, {}, "^ldap_parameters.group_class"),
    ({"user_key": "no key"}, {}, "ldap_parameters.user_key"),
    ({"member_value": "sid"}, {}, "ldap_parameters.member_value: .*dn, name, key"),
])  # fmt: skip
def test_contradictions_are_named(parameters, options, words):
    with pytest.raises(SynchronizationError, match=words):
        overrides.check_parameters(settings(ldap_parameters=parameters, **options))


def test_a_wrong_filter_names_its_option():
    with pytest.raises(SynchronizationError, match="^group_filter: "):
        overrides.resolve(settings(group_filter="(a=b"), "openldap")


# --- state -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("preset", "attribute", "value", "enabled"), [
    ("active_directory", "useraccountcontrol", "512", True),
    ("active_directory", "useraccountcontrol", "514", False),
    ("active_directory", "useraccountcontrol", "66050", False),
    ("active_directory", "accountexpires", "0", True),
    ("active_directory", "accountexpires", "9223372036854775807", True),
    ("active_directory", "accountexpires", str((11644473600 + NOW) * 10**7), False),
    ("active_directory", "accountexpires", str((11644473600 + NOW + 1) * 10**7), True),
    ("freeipa", "nsaccountlock", "TRUE", False),
    ("389ds", "nsaccountlock", "true", False),
    ("389ds", "nsaccountlock", "FALSE", True),
    ("openldap", "pwdaccountlockedtime", "000001010000Z", False),
    ("openldap", "pwdaccountlockedtime", "20200101000000Z", True),
    ("openldap_samba", "sambaacctflags", "[DU         ]", False),
    ("openldap_samba", "sambaacctflags", "[U          ]", True),
    ("rfc2307", "shadowexpire", "-1", True),
    ("rfc2307", "shadowexpire", "0", False),  # chage -E 0 locks an account
    ("rfc2307", "shadowexpire", "20000", False),
    ("rfc2307", "shadowexpire", "20001", True),
    ("open_directory", "authauthority", ";DisabledUser;;ShadowHash;", False),
    ("open_directory", "authauthority", ";ApplePasswordServer;0x1", True),
    ("opendj", "ds-pwp-account-disabled", "true", False),
    ("opendj", "ds-pwp-account-disabled", "false", True),
    ("opendj", "ds-pwp-account-expiration-time", "20241004000000Z", False),
    ("opendj", "ds-pwp-account-expiration-time", "20241004000001Z", True),
    ("edirectory", "logindisabled", "TRUE", False),
    ("edirectory", "logindisabled", "FALSE", True),
    ("edirectory", "loginexpirationtime", "20241003235959Z", False),
    ("univention", "krb5kdcflags", "254", False),
    ("univention", "krb5kdcflags", "126", True),
    ("univention", "shadowexpire", "1", False),
    ("univention", "sambaacctflags", "[UD         ]", False),
    ("apacheds", "pwdaccountlockedtime", "000001010000Z", False),
])  # fmt: skip
def test_state(preset, attribute, value, enabled):
    assert state.user_state(presets.PRESETS[preset], {attribute: [value.encode()]}, NOW) == (enabled, [])


@pytest.mark.parametrize(("preset", "attribute", "value", "expires"), [
    ("active_directory", "accountexpires", str((11644473600 + NOW + 5) * 10**7), NOW + 5),
    ("active_directory", "accountexpires", "0", None),
    ("rfc2307", "shadowexpire", "20001", NOW + DAY),
    ("rfc2307", "shadowexpire", "-1", None),
    ("rfc2307", "shadowexpire", "x", None),
    ("opendj", "ds-pwp-account-expiration-time", "20241004000007Z", NOW + 7),
    ("edirectory", "loginexpirationtime", "20241004000000Z", None),
    ("edirectory", "loginexpirationtime", "20250101000000Z", 1735689600),
])  # fmt: skip
def test_when_time_alone_disables(preset, attribute, value, expires):
    entry = {attribute: [value.encode()]}
    assert state.state_expires(presets.PRESETS[preset], entry, NOW) == expires
    lasting = value in ("0", "-1")
    assert state.state_is_lasting(presets.PRESETS[preset], entry) == lasting


# --- values ----------------------------------------------------------------------------------------------------------


def test_the_value_in_the_dn_is_the_name_else_the_smallest():
    for values in ([b"bob", b"aaa"], [b"aaa", b"bob"]):
        assert fields.name_reader("uid")({"uid": values}, "uid=bob,dc=x") == ("bob", None)
        assert fields.name_reader("uid")({"uid": values}, "cn=bob,dc=x") == ("aaa", None)
        assert fields.name_reader("uid")({"uid": values}, "cn=x+UID=BOB,dc=x") == ("bob", None)


@pytest.mark.parametrize(("entry", "why"), [
    ({}, "has no uid"), ({"uid": [b" "]}, "blank"), ({"uid": [b"\xff"]}, "not UTF-8"),
])  # fmt: skip
def test_a_name_that_cannot_be_used(entry, why):
    name, reason = fields.name_reader("uid")(entry, "cn=x")
    assert name is None and why in reason


def test_fields():
    sources = {"department": ("departmentNumber", "ou"), "email": ("mail",), "title": ("title",)}
    entry = {"ou": [b"b", b"a"], "mail": [b"\xff"], "l": ["Ö".encode(), b"A"], "badge": [b"\xff\xd8"]}
    found, problems = fields.field_reader(sources, {"towns": "l", "badge": "badge"})(entry, "uid=x")
    assert found == {"department": "a", "towns": ["A", "Ö"]}
    assert problems == {
        "email": "its mail is not UTF-8: the field 'email' stays as it is",
        "badge": "its badge is not UTF-8: the field 'badge' stays as it is",
    }


def test_fields_of_entries_that_have_other_attributes():
    read = fields.field_reader({"department": ("departmentNumber", "ou"), "title": ("title",)}, {})
    for _again in range(2):
        assert read({"ou": [b"b"], "title": [b"t"]}, "uid=x") == ({"department": "b", "title": "t"}, {})
        assert read({"ou": [b"b"]}, "uid=x") == ({"department": "b"}, {})
        assert read({"ou": [b"b"], "departmentnumber": [b"1"]}, "uid=x") == ({"department": "1"}, {})
        assert read({"ou": [b"b"], "departmentnumber": []}, "uid=x") == ({"department": "b"}, {})
        assert read({"departmentnumber": [], "ou": [b"c"]}, "uid=x") == ({"department": "c"}, {})
        assert read({"uid": [b"x"]}, "uid=x") == ({}, {})
    for number in range(3 * fields._KINDS_OF_ENTRIES):
        assert read({"a%d" % number: [b"x"], "ou": [b"b"]}, "uid=x") == ({"department": "b"}, {})


def test_a_guid_is_text_and_is_asked_for_as_bytes():
    raw = bytes(range(16))
    text = forms.value_text("objectGUID", raw)
    assert text == "03020100-0504-0706-0809-0a0b0c0d0e0f"
    assert stable_keys.key_value("objectGUID", text) == raw and stable_keys.key_value("entryUUID", text) == text


@pytest.mark.parametrize(("attribute", "value", "text"), [
    ("GUID", bytes(range(16)), "0x000102030405060708090a0b0c0d0e0f"),
    ("GUID", "\u00e9".encode() * 8, "0x" + "c3a9" * 8),  # also if it is UTF-8
    ("guid", b"6f9619ff8b86d011b42d00c04fc964ff", "6f9619ff8b86d011b42d00c04fc964ff"),  # a text, as elsewhere
    ("guid", b"6f9619ff8b86d011", "6f9619ff8b86d011"),
    ("mS-DS-ConsistencyGuid", bytes(range(16)), "03020100-0504-0706-0809-0a0b0c0d0e0f"),
    ("objectSid", bytes.fromhex("010100000000000512000000"), "S-1-5-18"),
])  # fmt: skip
def test_binary_keys_are_text_by_their_attribute_and_asked_for_as_they_are(attribute, value, text):
    assert forms.value_text(attribute, value) == text
    assert stable_keys.key_value(attribute, text) == value
    assert stable_keys.key_reader(attribute)([value]) == text
    assert stable_keys.key_reader("GUID")([b"0x" + b"0" * 32]) == ""  # it would be asked for as bytes
    other = stable_keys.key_value(attribute, "not \u00e4 key")  # of another attribute
    assert other in ("not \u00e4 key", "not \u00e4 key".encode())


@pytest.mark.parametrize(("attribute", "value", "text"), [
    ("GUID", bytes(range(16)), "0x000102030405060708090a0b0c0d0e0f"),
    ("jpegPhoto", b"\xff\xd8\xff", "/9j/"),
    ("thumbnailPhoto", b"https://x.org/ann", "https://x.org/ann"),
    ("userCertificate;binary", b"0\x82", "MII="),
    ("whatever;binary", b"abc", "YWJj"),
    ("logonHours", b"\0" * 3, "AAAA"),
])  # fmt: skip
def test_binary_values_are_fields_and_pictures_are_no_keys(attribute, value, text):
    assert stable_keys.key_reader(attribute)([value]) == (text if attribute == "GUID" else "")
    assert stable_keys.key_value(attribute, "text") in ("text", b"text")
    sources = {"field": (attribute,)}
    assert fields.field_reader(sources, {"all": attribute})({attribute.lower(): [value]}, "uid=x") == (
        {"field": text, "all": [text]},
        {},
    )
