# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins: which are accepted, and the exact sentence for each that is not."""

from __future__ import annotations

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._credentials import LoginError, check_login
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from hypothesis import given
from hypothesis import strategies as st

AD_FORMS = r"'DOMAIN\USERNAME' or 'USERNAME@FULL.DOMAIN', in capitals"


def check(login, password="secret", authentication="simple", use_ldap=False, normalize_login=False, keytab=None):
    return check_login(login, password, authentication, use_ldap, normalize_login, keytab)


@pytest.mark.parametrize(
    "login",
    [
        "CORP\\SVC-SYNC",
        "SVC-SYNC@CORP.EXAMPLE",
        "CORP\\ŠVÉDOVÁ",
        "CORP\\STRAßE",
        "CORP\\田中",
        "CORP\\ADMIN@CORP.EXAMPLE",
        "ABCDEFGHIJKLMNO\\X",
        "A.B@SUB.CORP.EXAMPLE",
        "CORP\\JOHN DOE",
        "4711\\1",
    ],
)
def test_active_directory_logins(login):
    assert check(login) == login
    assert check(login, normalize_login=True) == login


@pytest.mark.parametrize(
    ("login", "normal"),
    [
        ("corp\\svc-sync", "CORP\\SVC-SYNC"),
        ("CORP\\svc", "CORP\\SVC"),
        ("Svc@corp.example", "SVC@CORP.EXAMPLE"),
        ("corp\\straße", "CORP\\STRAßE"),
        ("corp\\ıſ", "CORP\\ıſ"),
        ("corp\\jürgen", "CORP\\JÜRGEN"),
    ],
)
def test_the_wrong_case(login, normal):
    with pytest.raises(LoginError) as error:
        check(login)
    said = "login: '%s' is not in capitals: use '%s', or set normalize_login: true" % (login, normal)
    assert str(error.value) == said
    assert check(login, normalize_login=True) == normal
    assert check(normal) == normal


@pytest.mark.parametrize(
    ("login", "message"),
    [
        ("SVC-SYNC", "login: 'SVC-SYNC' names no domain: write " + AD_FORMS),
        (
            "CN=sync,DC=corp,DC=example",
            "login: 'CN=sync,DC=corp,DC=example' is a DN: for Active Directory write %s (a bind DN goes with use_ldap)"
            % AD_FORMS,
        ),
        (
            r"CORP\\SVC",
            r"login: 'CORP\\SVC' has 2 backslashes, and only YAML double quotes need two of them: write 'CORP\SVC'",
        ),
        (r"A\B\C", r"login: 'A\B\C' has more than one backslash: write 'DOMAIN\USERNAME'"),
        ("\\SVC", r"login: '\SVC' has no domain: write 'DOMAIN\USERNAME'"),
        ("CORP\\", r"login: 'CORP\' has no username: write 'DOMAIN\USERNAME'"),
        ("@CORP.EXAMPLE", "login: '@CORP.EXAMPLE' has no username: write 'USERNAME@FULL.DOMAIN'"),
        ("SVC@", "login: 'SVC@' has no domain: write 'USERNAME@FULL.DOMAIN'"),
        (
            "SVC@CORP",
            r"login: 'SVC@CORP' has no full domain such as CORP.EXAMPLE: with the short name write 'CORP\SVC'",
        ),
        ("SVC@CORP..EXAMPLE", "login: 'SVC@CORP..EXAMPLE' has no full domain such as CORP.EXAMPLE: correct it"),
        (
            "ABCDEFGHIJKLMNOP\\SVC",
            (
                "login: 'ABCDEFGHIJKLMNOP\\SVC' has a NetBIOS domain of 16 characters, and at most 15 are possible: "
                "with the full name of the domain write 'SVC@FULL.DOMAIN'"
            ),
        ),
        (".CORP\\SVC", r"login: '.CORP\SVC' begins with a dot, which no NetBIOS domain does: correct it"),
        (" CORP\\SVC", "login: it begins or ends with a space: remove it"),
        ("CORP\\SVC\x7f", "login: it contains the character U+007F, which no login has: remove it"),
        *[
            (
                "CO%sRP\\SVC" % char,
                "login: 'CO%sRP\\SVC' has a '%s' in its NetBIOS domain, which none has: correct it" % (char, char),
            )
            for char in '/:*?"<>|'
        ],
        *[
            (
                "CORP\\S%sVC" % char,
                "login: 'CORP\\S%sVC' has a '%s' in its username, which no sAMAccountName has: correct it"
                % (char, char),
            )
            for char in '"/[]:;|=,+*?<>'
        ],
    ],
)
def test_what_is_no_active_directory_login(login, message):
    for normalize_login in (False, True):
        with pytest.raises(LoginError) as error:
            check(login, normalize_login=normalize_login)
        assert str(error.value) == message


def test_only_the_form_with_the_full_domain_is_capitalized_if_nothing_else_is_asked_for():
    assert check("svc-sync@corp.example", normalize_login=None) == "SVC-SYNC@CORP.EXAMPLE"
    with pytest.raises(LoginError, match="is not in capitals: use 'CORP.SVC-SYNC', or set normalize_login: true"):
        check("corp\\svc-sync", normalize_login=None)


# What YAML makes of "CORP\test" and the like.
@pytest.mark.parametrize(
    ("login", "number", "letter"),
    [
        ("CORP\test", "U+0009", "t"),
        ("CORP\name", "U+000A", "n"),
        ("CORP\admin", "U+0007", "a"),
        ("CORP\backup", "U+0008", "b"),
        ("CORP\root", "U+000D", "r"),
        ("CORP\x1bva", "U+001B", "e"),
        ("CORP\000", "U+0000", "0"),
        ("CORP\x85ils", "U+0085", "N"),
        ("CORP\u2028ars", "U+2028", "L"),
        ("CORP\u2029eter", "U+2029", "P"),
        ("CORP\xa0x", "U+00A0", "_"),
    ],
)
def test_a_backslash_that_yaml_swallowed(login, number, letter):
    with pytest.raises(LoginError) as error:
        check(login)
    assert str(error.value) == (
        r"login: it contains the character %s, which '\%s' means in YAML double quotes: "
        r"write it in single quotes, with one backslash, 'CORP\%s'" % (number, letter, letter + login[5:])
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            dict(login=None, password=None),
            "login: it is missing with authentication: simple, and so is a password: give both",
        ),
        (
            dict(login=None, password=None, authentication="kerberos"),
            "login: it is missing with authentication: kerberos, and so is a password or keytab: give both",
        ),
        (dict(login=None), "login: it is missing, but a password is given: give both"),
        (dict(login=""), "login: it is empty, but a password is given: give both"),
        (dict(login="", password=""), "login: it is empty, and so is the password: give both"),
        (dict(login="", password=None), "login: it is empty, and so is the password: give both"),
        (
            dict(login=None, password=None, keytab="/k", authentication="kerberos"),
            "login: it is missing, but a keytab is given: give both",
        ),
        (dict(login="CORP\\SVC", password=None), r"password: is missing for the login 'CORP\SVC': give it"),
        (
            dict(login="SVC@CORP.EXAMPLE", password=None, authentication="kerberos"),
            "password: is missing for the login 'SVC@CORP.EXAMPLE', and so is a keytab: give one of them",
        ),
        (
            dict(login="CORP\\SVC", password=""),
            "password: it is empty, which a directory would take for an anonymous bind: give it",
        ),
        (
            dict(login="CORP\\SVC", keytab="/k", password=None),
            "keytab: it goes only with authentication: kerberos: choose that, or remove keytab",
        ),
        (
            dict(login="SVC@CORP.EXAMPLE", keytab="/k", authentication="kerberos"),
            "password: it is given together with keytab: remove one of them",
        ),
        (
            dict(login="x", password=None, authentication="anonymous"),
            "login: it is given, but authentication: anonymous uses none: remove it, or choose another authentication",
        ),
        (
            dict(login=None, authentication="anonymous"),
            (
                "password: it is given, but authentication: anonymous uses none: "
                "remove it, or choose another authentication"
            ),
        ),
        (
            dict(login=None, authentication="external"),
            (
                "password: it is given, but authentication: external uses none: "
                "remove it, or choose another authentication"
            ),
        ),
        (
            dict(login=None, password=None, keytab="/k", authentication="external"),
            "keytab: it is given, but authentication: external uses none: remove it, or choose another authentication",
        ),
        (
            dict(login="CORP\\SVC", authentication="kerberos"),
            r"login: 'CORP\SVC' is no Kerberos principal: write USERNAME@REALM, such as SVC-SYNC@CORP.EXAMPLE",
        ),
        (
            dict(login="svc", authentication="kerberos"),
            "login: 'svc' is no Kerberos principal: write USERNAME@REALM, such as SVC-SYNC@CORP.EXAMPLE",
        ),
        (
            dict(login="CORP\\SVC", use_ldap=True),
            (
                r"login: 'CORP\SVC' is the form for Active Directory: with use_ldap write "
                "a bind DN such as cn=sync,dc=example,dc=org, or leave use_ldap out"
            ),
        ),
        (
            dict(login="SVC@CORP.EXAMPLE", use_ldap=True),
            (
                "login: 'SVC@CORP.EXAMPLE' is the form for Active Directory: with use_ldap write "
                "a bind DN such as cn=sync,dc=example,dc=org, or leave use_ldap out"
            ),
        ),
        (
            dict(login="sync", use_ldap=True),
            (
                "login: 'sync' is not a distinguished name: "
                "'sync' has no '=' (a ',' that belongs to a value is written '\\,'), at character 1: "
                "with use_ldap write a bind DN such as cn=sync,dc=example,dc=org"
            ),
        ),
    ],
)
def test_what_does_not_go_together(arguments, message):
    with pytest.raises(LoginError) as error:
        check(**arguments)
    assert str(error.value) == message
    assert isinstance(error.value, SynchronizationError)


@pytest.mark.parametrize(
    "arguments",
    [
        dict(login="cn=sync,dc=example,dc=org", use_ldap=True),
        dict(login="uid=a\\2Cb@x,dc=example", use_ldap=True),
        dict(login="svc/host.example@CORP.EXAMPLE", password=None, keytab="/k", authentication="kerberos"),
        dict(login="svc@CORP.EXAMPLE", authentication="kerberos", use_ldap=True),
    ],
)
def test_other_logins_come_back_as_they_are(arguments):
    assert check(**arguments) == arguments["login"]


@pytest.mark.parametrize("authentication", ["anonymous", "external"])
def test_no_login_where_none_is_used(authentication):
    assert check(None, None, authentication) is None


# Microsoft's schema, SAM-Account-Name.
@given(st.text(st.sampled_from("AB1 -_.@#$%&(){}~!^`'ÄÜ\"/[]:;|=,+*?<>\\"), min_size=1, max_size=6))
def test_only_what_may_be_a_sam_account_name_is_sent(user):
    try:
        sent = check("CORP\\" + user)
    except LoginError:
        return
    assert sent == "CORP\\" + user and not set(user).intersection('"/\\[]:;|=,+*?<>')


@given(st.text(max_size=20), st.booleans(), st.booleans())
def test_the_password_is_in_no_message(login, use_ldap, normalize_login):
    try:
        check(login, "Kelp-7-ratchet", use_ldap=use_ldap, normalize_login=normalize_login)
    except LoginError as error:
        assert "Kelp" not in str(error)
