# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad options are told from good ones before any packet leaves, by a sentence that names the option and the remedy."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory.overrides import resolve
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from ansible_collections.usersync.directory.plugins.module_utils._limits import KINDS
from ansible_collections.usersync.directory.plugins.module_utils._options import (
    BROWSING,
    CONNECTION,
    STORE,
    SYNCHRONIZATION,
    module_arguments,
)
from ansible_collections.usersync.directory.plugins.module_utils._settings import (
    browse_settings_from,
    public_settings,
    settings_from,
)
from support.folders import out_of_reach

PASSWORD = "correct horse, 4 staples"
SPECIFICATION = module_arguments(CONNECTION, STORE, SYNCHRONIZATION)["argument_spec"]
AD = {"name": "staff", "server": ["dc1.corp.example"], "login": "CORP\\SVC-SYNC", "password": PASSWORD}
LDAP = {
    "name": "members",
    "server": ["ldap.example.org"],
    "login": "cn=reader,dc=example,dc=org",
    "password": PASSWORD,
    "use_ldap": True,
}


def params(base, **changes):
    """Parameters as AnsibleModule leaves them."""
    left_out = {option: described.get("default") for option, described in SPECIFICATION.items()}
    assert set(base) | set(changes) <= set(left_out)
    return {**left_out, **base, **changes}


def no_warning(sentence):
    raise AssertionError(sentence)


def settings(base=None, **changes):
    return settings_from(params(base or AD, **changes), no_warning)


# --- what is wrong ---------------------------------------------------------------------------------------------------

LIST_OF_NOTHING = (
    "distinguished_name: an empty string is no DN: remove it, or write an empty list to synchronize the whole tree"
)

WRONG = {
    "no name": (
        AD,
        {"name": " "},
        "name: the synchronization has no name: give it one, such as 'staff'",
    ),
    "a path with an empty part": (
        AD,
        {"user_group": "All//Nurses"},
        "user_group: the path 'All//Nurses' has an empty part: write names between single slashes, as in 'All/Staff'",
    ),
    "an empty path": (
        AD,
        {"user_group": ""},
        "user_group: the path '' has an empty part: write names between single slashes, as in 'All/Staff'",
    ),
    "a path beside the root": (
        AD,
        {"user_group": "Staff"},
        "user_group: the path 'Staff' does not begin at the root: write 'All/Staff'",
    ),
    "a path with a bad escape": (
        AD,
        {"user_group": "All/a\\b"},
        (
            "user_group: the path 'All/a\\b' has '\\b', which is no escape: write '\\/' for a slash inside a "
            "name and '\\\\' for a backslash"
        ),
    ),
    "no server": (
        AD,
        {"server": []},
        "server: the list is empty: name at least one server of the directory",
    ),
    "a server that is null": (
        AD,
        {"server": None},
        "server: the list is empty: name at least one server of the directory",
    ),
    "a server that is a DN": (
        AD,
        {"server": ["dc1.corp.example", "DC=corp,DC=example"]},
        (
            "server: 'DC=corp,DC=example' has a '=', which no host has: write a host, host:port, or a URL (a DN goes "
            "into distinguished_name)"
        ),
    ),
    "a scheme that contradicts the encryption": (
        AD,
        {"server": ["ldap://dc1.corp.example"]},
        (
            "server: 'ldap://dc1.corp.example' contradicts encryption: ldaps: write ldaps:// or choose encryption: "
            "start_tls"
        ),
    ),
    "the Global Catalog": (
        AD,
        {"server": ["dc1.corp.example", "dc2.corp.example:3269"]},
        (
            "server: port 3269 of 'dc2.corp.example' is the Global Catalog, which has only a part of each entry, "
            "without when an account expires: write port 636"
        ),
    ),
    "the Global Catalog without TLS": (
        AD,
        {"server": ["ldap://dc1.corp.example:3268"], "encryption": "start_tls"},
        (
            "server: port 3268 of 'dc1.corp.example' is the Global Catalog, which has only a part of each entry, "
            "without when an account expires: write port 389"
        ),
    ),
    "a local socket with a password and TLS": (
        LDAP,
        {"server": ["ldapi://%2Frun%2Fldapi"], "encryption": "start_tls"},
        (
            "server: 'ldapi://%2Frun%2Fldapi' contradicts encryption: start_tls: a local socket needs "
            "authentication: external or encryption: none"
        ),
    ),
    "a proof that nothing gives": (
        LDAP,
        {"login": None, "password": None, "authentication": "external", "server": ["ldapi://%2Frun%2Fldapi", "h"]},
        (
            "authentication: external proves nothing to the server 'h': give client_cert with encryption: ldaps or "
            "start_tls, or name a local server, ldapi://PATH"
        ),
    ),
    "a login in the wrong case": (
        AD,
        {"login": "corp\\svc-sync"},
        "login: 'corp\\svc-sync' is not in capitals: use 'CORP\\SVC-SYNC', or set normalize_login: true",
    ),
    "a login without a password": (
        LDAP,
        {"password": None},
        "password: is missing for the login 'cn=reader,dc=example,dc=org': give it",
    ),
    "an empty password": (
        AD,
        {"password": ""},
        "password: it is empty, which a directory would take for an anonymous bind: give it",
    ),
    "a password for nothing": (
        AD,
        {"login": None, "authentication": "anonymous"},
        "password: it is given, but authentication: anonymous uses none: remove it, or choose another authentication",
    ),
    "a login of Active Directory for LDAP": (
        LDAP,
        {"login": "CORP\\SVC-SYNC"},
        (
            "login: 'CORP\\SVC-SYNC' is the form for Active Directory: with use_ldap write a bind DN such as "
            "cn=sync,dc=example,dc=org, or leave use_ldap out"
        ),
    ),
    "an empty string for a DN": (
        AD,
        {"distinguished_name": ""},
        LIST_OF_NOTHING,
    ),
    "an empty string among DNs": (
        AD,
        {"distinguished_name": ["DC=corp,DC=example", " "]},
        LIST_OF_NOTHING,
    ),
    "an empty string to exclude": (
        AD,
        {"exclude_distinguished_name": [""]},
        "exclude_distinguished_name: an empty string is no DN: remove it, or write an empty list to exclude nothing",
    ),
    "a null among DNs": (
        AD,
        {"distinguished_name": [None]},
        "distinguished_name: None is no DN: write each DN of the list as a string",
    ),
    "a DN in two lines": (
        AD,
        {"required_entries": ["OU=Staff,\nDC=corp,DC=example"]},
        "required_entries: 'OU=Staff,\\nDC=corp,DC=example' has a line break or a tab: write the DN in one line "
        "(in YAML with '>-', and not with '|')",
    ),
    "a DN with a line break behind it": (
        AD,
        {"exclude_distinguished_name": "OU=Staff,DC=corp,DC=example\n"},
        "exclude_distinguished_name: 'OU=Staff,DC=corp,DC=example\\n' has a line break or a tab: write the DN in one "
        "line (in YAML with '>-', and not with '|')",
    ),
    "a number for a DN": (
        AD,
        {"distinguished_name": 7},
        "distinguished_name: 7 is no DN: write a DN, or a list of DNs",
    ),
    "a mapping for a DN": (
        AD,
        {"exclude_distinguished_name": {"OU": "x"}},
        "exclude_distinguished_name: {'OU': 'x'} is no DN: write a DN, or a list of DNs",
    ),
    "the same DN selected and excluded": (
        AD,
        {
            "distinguished_name": "OU=Staff,DC=corp,DC=example",
            "exclude_distinguished_name": ["ou=staff, dc=corp, dc=example"],
        },
        (
            "distinguished_name and exclude_distinguished_name both have 'OU=Staff,DC=corp,DC=example': "
            "remove it from one of them"
        ),
    ),
    "security groups of LDAP": (
        LDAP,
        {"group_types": "security"},
        "group_types: only Active Directory knows security groups: remove group_types, or set use_ldap: false",
    ),
    "LDAP parameters without LDAP": (
        AD,
        {"ldap_parameters": {"preset": "openldap"}},
        "ldap_parameters: they go with use_ldap: true: set it, or remove ldap_parameters",
    ),
    "LDAP parameters that contradict each other": (
        LDAP,
        {"ldap_parameters": {"user_groups_value": "dn"}},
        (
            "ldap_parameters.user_groups_value: it says what stands in ldap_parameters.user_groups, which is "
            "missing: give that, or remove this"
        ),
    ),
    "a field with a dash": (
        AD,
        {"user_attributes": {"cost-center": "department"}},
        "user_attributes: 'cost-center' is no name of a field: use letters, digits and underscores, a letter first",
    ),
    "an attribute with a space": (
        AD,
        {"group_attributes": {"owner": "managed by"}},
        (
            "group_attributes: the field 'owner' is given 'managed by', which is no attribute of a "
            "directory: write its name, such as 'mail'"
        ),
    ),
    "an attribute that is a range": (
        AD,
        {"user_attributes": {"groups": "memberOf;range=0-9"}},
        (
            "user_attributes: the field 'groups' is given 'memberOf;range=0-9', which is no attribute of a "
            "directory: write its name, such as 'mail'"
        ),
    ),
    "an attribute that is null": (
        AD,
        {"user_attributes": {"email": None}},
        (
            "user_attributes: the field 'email' is given None, which is no attribute of a directory: write "
            "its name, such as 'mail'"
        ),
    ),
    "no time at all": (
        AD,
        {"timeout": 0},
        "timeout: 0 is out of range: write a number from 1 to 86400",
    ),
    "a page of nothing": (
        AD,
        {"page_size": 0},
        "page_size: 0 is out of range: write a number from 1 to 2147483647",
    ),
    "a page larger than the protocol knows": (
        AD,
        {"page_size": 2147483648},
        "page_size: 2147483648 is out of range: write a number from 1 to 2147483647",
    ),
    "a report of nothing": (
        AD,
        {"report_limit": -1},
        "report_limit: -1 is out of range: write a number from 1",
    ),
    "a store beside the root": (
        AD,
        {"store": "users.db"},
        "store: 'users.db' is no absolute path: write the path of a file from the root on",
    ),
    "a store without a path": (
        AD,
        {"store": ""},
        "store: '' is no absolute path: write the path of a file from the root on",
    ),
    "a store that is a directory": (
        AD,
        {"store": "/usr"},
        "store: '/usr' is a directory: write the path of a file, such as '/usr/users.db'",
    ),
    "a store that would be a directory": (
        AD,
        {"store": "/nowhere/"},
        "store: '/nowhere/' is a directory: write the path of a file, such as '/nowhere/users.db'",
    ),
    "no CA": (
        AD,
        {"ca_path": "/nowhere/ca.pem"},
        (
            "ca_path: there is no file '/nowhere/ca.pem' on the node where this task runs: put it there, or "
            "correct the path"
        ),
    ),
    "a key without its certificate": (
        AD,
        {"client_key": __file__},
        "client_key: a key without its certificate: give client_cert, too",
    ),
}


@pytest.mark.parametrize("base, changes, sentence", WRONG.values(), ids=WRONG)
def test_wrong_options(base, changes, sentence):
    with pytest.raises(SynchronizationError) as error:
        settings(base, **changes)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    "changes, beginning",
    [
        ({"distinguished_name": "Staff"}, "distinguished_name: 'Staff' is not a distinguished name: "),
        (
            {"distinguished_name": ["OU=a,DC=b;OU=c,DC=b"]},
            "distinguished_name: 'OU=a,DC=b;OU=c,DC=b' is not a distinguished name: ",
        ),
        (
            {"exclude_distinguished_name": ["OU=a,,DC=b"]},
            "exclude_distinguished_name: 'OU=a,,DC=b' is not a distinguished name: ",
        ),
        ({"user_filter": "(mail=*"}, "user_filter: '(mail=*' is not an LDAP filter: "),
        ({"group_filter": "cn=x"}, "group_filter: 'cn=x' is not an LDAP filter: "),
        ({"user_filter": "(cn=\\zz)"}, "user_filter: '(cn=\\zz)' is not an LDAP filter: "),
    ],
)
def test_what_the_grammars_refuse_comes_with_the_name_of_the_option(changes, beginning):
    with pytest.raises(SynchronizationError) as error:
        settings(**changes)
    assert str(error.value).startswith(beginning)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("option", ["client_cert", "client_key", "keytab"])
def test_files_are_on_the_node(option, tmp_path):
    base = AD
    if option == "keytab":
        base = {**AD, "authentication": "kerberos", "login": "svc-sync@CORP.EXAMPLE", "password": None}
    with pytest.raises(SynchronizationError) as error:
        settings(base, **{option: str(tmp_path)})
    assert str(error.value).startswith("%s: there is no file '%s' on the node" % (option, tmp_path))


def test_files_can_be_read():
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o755)
        path = Path(directory, "ca.pem")
        path.touch()
        with out_of_reach(path), pytest.raises(SynchronizationError) as error:
            settings(ca_path=str(path))
    assert str(error.value) == (
        "ca_path: the file '%s' cannot be read (Permission denied): change the rights to it or to its directory, or "
        "set become: true" % path
    )


def test_a_file_in_a_directory_that_cannot_be_searched_is_not_missing():
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        path = Path(directory, "ca.pem")
        path.touch()
        with out_of_reach(path.parent), pytest.raises(SynchronizationError) as error:
            settings(ca_path=str(path))
    assert str(error.value).startswith("ca_path: the file '%s' cannot be read (Permission denied): " % path)


def test_nobody_waits_for_a_fifo(tmp_path):
    os.mkfifo(tmp_path / "ca.pem")
    with pytest.raises(SynchronizationError, match="ca_path: there is no file"):
        settings(ca_path=str(tmp_path / "ca.pem"))


# --- what is right ---------------------------------------------------------------------------------------------------


def test_a_task_with_the_bare_necessities():
    found = settings()
    assert found.name == "staff"
    assert found.target == ["All"]
    assert found.servers == ("dc1.corp.example",)
    assert (found.login, found.password) == ("CORP\\SVC-SYNC", PASSWORD)
    assert (found.encryption, found.validate_certs, found.timeout, found.page_size) == ("ldaps", True, 30, 1000)
    assert found.distinguished_name == [] and found.exclude_distinguished_name == []
    assert (found.user_collision, found.user_extinction, found.user_group_extinction) == ("skip", "disable", "skip")
    assert found.store.shown == "/var/lib/user_synchronization/users.db"


@pytest.mark.parametrize(
    ("written", "limits"),
    [
        ({}, {}),
        ({"users": 25, "memberships": " 5% ", "states": None}, {"users": "25", "memberships": "5%"}),
        (7, dict.fromkeys(KINDS, "7")),
        ("7", dict.fromkeys(KINDS, "7")),
        ("10%", dict.fromkeys(KINDS, "10%")),
        (0, dict.fromkeys(KINDS, "0")),
    ],
)
def test_limits_of_some_kinds_or_one_for_all(written, limits):
    assert settings(removal_limits=written).removal_limits == limits


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("a lot", "removal_limits: 'a lot' is no limit: write a number such as 50, or a percentage such as 10%"),
        ("", "removal_limits: '' is no limit: write a number such as 50, or a percentage such as 10%"),
        (True, "removal_limits: 'True' is no limit: write a number such as 50, or a percentage such as 10%"),
        (-1, "removal_limits: '-1' is no limit: write a number such as 50, or a percentage such as 10%"),
        (["10%"], "removal_limits: '['10%']' is no limit: write a number such as 50, or a percentage such as 10%"),
        (
            {"users": "101%"},
            "removal_limits.users: '101%' is no limit: write a number such as 50, or a percentage such as 10%",
        ),
        (
            {"users": {}},
            "removal_limits.users: '{}' is no limit: write a number such as 50, or a percentage such as 10%",
        ),
        (
            {"user": 1},
            "removal_limits: there is no 'user': choose of users, user_groups, memberships, attributes, renames, "
            "states",
        ),
    ],
)
def test_what_is_no_limit(written, message):
    with pytest.raises(SynchronizationError) as error:
        settings(removal_limits=written)
    assert str(error.value) == message


def test_an_explicit_null_is_as_good_as_leaving_an_option_out():
    dns = {"distinguished_name": [], "exclude_distinguished_name": [], "required_entries": []}
    nothing = dict.fromkeys(set(SPECIFICATION) - set(AD) - set(dns))
    assert settings_from({**AD, **nothing, **dns}, no_warning) == settings()


@pytest.mark.parametrize("option", ["distinguished_name", "exclude_distinguished_name"])
def test_null_is_no_list_of_dns(option):
    """'distinguished_name:' with nothing behind it is a slip, and would select everything."""
    with pytest.raises(SynchronizationError, match=option + ": it is null: remove the option, or write an empty list"):
        settings(**{option: None})


def test_an_empty_text_is_as_good_as_leaving_an_option_out():
    options = ("tls_server_name", "keytab", "ca_path", "client_cert", "client_key", "user_filter", "group_filter")
    assert settings(**dict.fromkeys(options, "")) == settings()
    anonymous = settings(login="", password="", authentication="anonymous")
    assert (anonymous.login, anonymous.password) == (None, None)
    parameters = dict.fromkeys(SPECIFICATION["ldap_parameters"]["options"], "")
    assert settings(ldap_parameters=parameters).ldap_parameters == {}


def test_what_the_environment_gives_is_for_tasks_that_need_it(monkeypatch, tmp_path):
    """A task may use a keytab, or log in as nobody, in a job whose environment has a credential for others."""
    monkeypatch.setenv("USERSYNC_LOGIN", "CORP\\OTHER")
    monkeypatch.setenv("USERSYNC_PASSWORD", PASSWORD)
    given = {"login": "CORP\\OTHER", "password": PASSWORD}
    anonymous = settings({**AD, **given}, authentication="anonymous")
    assert (anonymous.login, anonymous.password) == (None, None)
    keytab = tmp_path / "keytab"
    keytab.touch()
    kerberos = {"authentication": "kerberos", "login": "sync@CORP.EXAMPLE", "keytab": str(keytab)}
    assert settings({**AD, **given}, **kerberos).password is None
    for wrong in (
        {"authentication": "anonymous", "login": "CORP\\SVC-SYNC"},
        {**kerberos, "password": "of the task"},
        {"authentication": "anonymous", "login": None, "password": "of the task"},
    ):
        with pytest.raises(SynchronizationError, match="^(login|password): it is given"):
            settings({**AD, **given}, **wrong)


def test_a_dn_is_a_list_of_one():
    dn = "CN=Nurses\\, ICU,OU=Groups,DC=corp,DC=example"
    assert settings(distinguished_name=dn).distinguished_name == [dn]
    assert settings(distinguished_name=[dn]) == settings(distinguished_name=dn)


def test_a_path_is_its_names():
    assert settings(user_group="all/Staff\\/Crew/Zoë").target == ["All", "Staff/Crew", "Zoë"]


def test_a_login_is_capitalized_where_that_was_asked_for():
    assert settings(login="corp\\svc-sync", normalize_login=True).login == "CORP\\SVC-SYNC"


def test_attributes_may_have_options_and_are_no_numbers():
    mapping = {"name": "userPrincipalName", "title_fr": "title;lang-fr"}
    assert settings(user_attributes=mapping).user_attributes == mapping
    with pytest.raises(SynchronizationError, match="user_attributes: the field 'badge' is given"):
        settings(user_attributes={"badge": "1.2.840.113556.1.4.35"})


def test_a_certificate_may_hold_its_key():
    assert settings(client_cert=__file__).client_key is None


def test_certificates_to_trust_may_be_a_directory(tmp_path):
    assert settings(ca_path=str(tmp_path)).ca_path == str(tmp_path)


def test_a_socket_or_a_certificate_tells_who_asks():
    external = {"name": "members", "use_ldap": True, "authentication": "external"}
    assert settings({**external, "server": ["ldapi://%2Frun%2Fldapi"]}).login is None
    assert settings({**external, "server": ["ldap.example.org"], "client_cert": __file__}).client_cert == __file__


def test_options_that_have_no_effect_are_told():
    told = []
    settings_from(params(AD, encryption="none", server=["ldap://dc1"], ca_path=__file__), told.append)
    assert told == ["ca_path has no effect with encryption: none"]


# --- what others see -------------------------------------------------------------------------------------------------


def test_the_settings_for_the_result_are_the_options_without_the_secret():
    public = public_settings(settings(user_group="All/a\\/b", distinguished_name="DC=corp,DC=example"))
    assert set(public) == set(SPECIFICATION) - {"password", "store_password", "normalize_login"} | {"preset"}
    assert public["user_group"] == "All/a\\/b"
    assert public["server"] == ["dc1.corp.example"]
    assert public["distinguished_name"] == ["DC=corp,DC=example"]
    assert public["preset"] is None


def test_the_settings_for_the_result_tell_what_the_preset_comes_to():
    found = settings(
        LDAP,
        ldap_parameters={"preset": "openldap", "group_members": ["member"]},
        user_attributes={"badge": "employeeNumber"},
    )
    public = json.loads(json.dumps(public_settings(found, resolve(found, "openldap"))))
    assert public["ldap_parameters"] == {"preset": "openldap", "group_members": ["member"]}
    assert public["preset"]["group_members"] == ["member"]
    assert public["preset"]["user_key"] == "entryUUID"
    assert public["preset"]["user_lists"] == {"badge": "employeeNumber"}


def test_the_password_shows_in_nothing_that_is_printed():
    found = settings()
    for shown in (
        repr(found),
        str(found),
        "%s" % (found,),
        repr([found]),
        f"{found}",
        json.dumps(public_settings(found)),
    ):
        assert PASSWORD not in shown
        assert "dc1.corp.example" in shown


# --- browsing --------------------------------------------------------------------------------------------------------


def browse_settings(**changes):
    specification = module_arguments(CONNECTION, BROWSING)["argument_spec"]
    left_out = {option: described.get("default") for option, described in specification.items()}
    connection = {option: value for option, value in LDAP.items() if option != "name"}
    return browse_settings_from({**left_out, **connection, **changes}, no_warning)


def test_browsing_takes_the_same_connection():
    browsing, synchronizing = browse_settings(), settings(LDAP)
    for field in set(browsing._fields) & set(synchronizing._fields) - {"distinguished_name"}:
        assert getattr(browsing, field) == getattr(synchronizing, field), field
    assert set(CONNECTION["argument_spec"]) - {"server", "normalize_login"} <= set(browsing._fields)
    assert PASSWORD not in repr(browsing)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        (
            {"distinguished_name": ["dc=example", "dc=org"]},
            "distinguished_name: it is a list of 2: name one DN; a DN with commas is one string, not a list",
        ),
        ({"search": " * "}, "search: ' * ' matches every name: write a part of one, such as 'nurs*'"),
        ({"depth": 0}, "depth: 0 is out of range: write a number from 1"),
        ({"limit": -1}, "limit: -1 is out of range: write a number from 1"),
        ({"client_key": __file__}, "client_key: a key without its certificate: give client_cert, too"),
        (
            {"ldap_parameters": {"preset": "openldap"}, "use_ldap": False, "login": "CORP\\ME"},
            "ldap_parameters: they go with use_ldap: true: set it, or remove ldap_parameters",
        ),
    ],
)
def test_wrong_options_for_browsing(changes, sentence):
    with pytest.raises(SynchronizationError) as caught:
        browse_settings(**changes)
    assert str(caught.value) == sentence
