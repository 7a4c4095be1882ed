# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE: for this collection only; may change in any release.
"""The forms of a login, judged before any packet leaves: a wrong form that is sent counts as a failed logon."""

from __future__ import annotations

import re

from ._directory.distinguished_names import parse_dn
from ._errors import SynchronizationError

_AD_FORMS = r"'DOMAIN\USERNAME' or 'USERNAME@FULL.DOMAIN', in capitals"
_LONGEST_NETBIOS_NAME = 15
_NOT_IN_NETBIOS_NAME = '\\/:*?"<>|'  # Microsoft, "Naming conventions in Active Directory"
_NOT_IN_SAM_ACCOUNT_NAME = '"/\\[]:;|=,+*?<>'  # Microsoft's schema, SAM-Account-Name

# What the escapes of a YAML double-quoted text leave behind (YAML 1.2.2, 5.7), and the letter they swallowed.
_SWALLOWED = {
    "\0": "0",
    "\a": "a",
    "\b": "b",
    "\t": "t",
    "\n": "n",
    "\v": "v",
    "\f": "f",
    "\r": "r",
    "\x1b": "e",
    "\x85": "N",
    "\xa0": "_",
    "\u2028": "L",
    "\u2029": "P",
}


class LoginError(SynchronizationError, ValueError):
    """The login, password or keytab cannot be right, whatever the directory says."""


def check_login(
    login: str | None,
    password: str | None,
    authentication: str,
    use_ldap: bool,
    normalize_login: bool | None,
    keytab: str | None,
) -> str | None:
    """The login to bind with; None when the authentication needs none. Raises LoginError.

    ``normalize_login``: whether a login in the wrong case is capitalized; None: only ``user@full.domain``.
    """
    if authentication in ("anonymous", "external"):
        for option, value in (("login", login), ("password", password), ("keytab", keytab)):
            if value is not None:
                raise LoginError(
                    "%s: it is given, but authentication: %s uses none: remove it, or choose another "
                    "authentication" % (option, authentication)
                )
        return None
    login = _paired(login, password, authentication, keytab)
    _check_characters(login)
    if authentication == "kerberos":
        return _check_principal(login)
    return _check_bind_dn(login) if use_ldap else _check_ad_login(login, normalize_login)


def _paired(login: str | None, password: str | None, authentication: str, keytab: str | None) -> str:
    """Return the login, if there is one, and what proves that it is ours."""
    if keytab is not None and authentication != "kerberos":
        raise LoginError("keytab: it goes only with authentication: kerberos: choose that, or remove keytab")
    if keytab is not None and password is not None:
        raise LoginError("password: it is given together with keytab: remove one of them")
    if login is None and password is None and keytab is None:
        raise LoginError(
            "login: it is missing with authentication: %s, and so is a %s: give both"
            % (authentication, "password or keytab" if authentication == "kerberos" else "password")
        )
    if login == "" and not password and keytab is None:
        raise LoginError("login: it is empty, and so is the password: give both")
    if not login:
        raise LoginError(
            "login: it is %s, but a %s is given: give both"
            % ("missing" if login is None else "empty", "password" if keytab is None else "keytab")
        )
    if password is None and keytab is None:
        raise LoginError(
            "password: is missing for the login '%s'%s"
            % (login, ", and so is a keytab: give one of them" if authentication == "kerberos" else ": give it")
        )
    if password == "" or keytab == "":
        raise LoginError(
            "%s: it is empty, which a directory would take for an anonymous bind: give it"
            % ("password" if password == "" else "keytab")
        )
    return login


def _check_characters(login: str) -> None:
    """Refuse what no login contains, and say where it comes from when YAML's double quotes swallowed a backslash."""
    if login != login.strip(" "):
        raise LoginError("login: it begins or ends with a space: remove it")
    for char in login:
        if char in _SWALLOWED:
            raise LoginError(
                r"login: it contains the character U+%04X, which '\%s' means in YAML double quotes: "
                r"write it in single quotes, with one backslash, '%s'"
                % (ord(char), _SWALLOWED[char], _unswallowed(login))
            )
        if not char.isprintable():
            raise LoginError("login: it contains the character U+%04X, which no login has: remove it" % ord(char))


def _unswallowed(login: str) -> str:
    return "".join("\\" + _SWALLOWED[char] if char in _SWALLOWED else char for char in login)


def _check_principal(login: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", login):
        raise LoginError(
            "login: '%s' is no Kerberos principal: write USERNAME@REALM, such as SVC-SYNC@CORP.EXAMPLE" % login
        )
    return login


def _check_bind_dn(login: str) -> str:
    if "=" not in login and ("\\" in login or "@" in login):
        raise LoginError(
            "login: '%s' is the form for Active Directory: with use_ldap write a bind DN such as "
            "cn=sync,dc=example,dc=org, or leave use_ldap out" % login
        )
    try:
        parse_dn(login)
    except ValueError as error:
        raise LoginError("login: %s: with use_ldap write a bind DN such as cn=sync,dc=example,dc=org" % error) from None
    return login


def _check_ad_login(login: str, normalize_login: bool | None) -> str:
    if _is_dn(login):
        raise LoginError(
            "login: '%s' is a DN: for Active Directory write %s (a bind DN goes with use_ldap)" % (login, _AD_FORMS)
        )
    if "\\" in login:
        _check_down_level_name(login)
    elif "@" in login:
        _check_user_principal_name(login)
    else:
        raise LoginError("login: '%s' names no domain: write %s" % (login, _AD_FORMS))
    capitals = _in_capitals(login)
    if login == capitals:
        return login
    if normalize_login is None:
        normalize_login = "\\" not in login
    if not normalize_login:
        raise LoginError("login: '%s' is not in capitals: use '%s', or set normalize_login: true" % (login, capitals))
    return capitals


def _is_dn(login: str) -> bool:
    try:
        return bool(parse_dn(login))
    except ValueError:
        return False


def _check_down_level_name(login: str) -> None:
    domain, dummy, user = login.partition("\\")
    user = user.lstrip("\\")
    if login.count("\\") > 1:
        if "\\" in user:
            raise LoginError(r"login: '%s' has more than one backslash: write 'DOMAIN\USERNAME'" % login)
        raise LoginError(
            r"login: '%s' has %d backslashes, and only YAML double quotes need two of them: "
            r"write '%s\%s'" % (login, login.count("\\"), domain, user)
        )
    if not domain or not user:
        raise LoginError(
            r"login: '%s' has no %s: write 'DOMAIN\USERNAME'" % (login, "username" if domain else "domain")
        )
    if len(domain) > _LONGEST_NETBIOS_NAME:
        raise LoginError(
            "login: '%s' has a NetBIOS domain of %d characters, and at most %d are possible: with the "
            "full name of the domain write '%s@FULL.DOMAIN'" % (login, len(domain), _LONGEST_NETBIOS_NAME, user)
        )
    if domain.startswith("."):
        raise LoginError("login: '%s' begins with a dot, which no NetBIOS domain does: correct it" % login)
    for char in domain:
        if char in _NOT_IN_NETBIOS_NAME:
            raise LoginError("login: '%s' has a '%s' in its NetBIOS domain, which none has: correct it" % (login, char))
    for char in user:
        if char in _NOT_IN_SAM_ACCOUNT_NAME:
            raise LoginError(
                "login: '%s' has a '%s' in its username, which no sAMAccountName has: correct it" % (login, char)
            )


def _check_user_principal_name(login: str) -> None:
    user, _at, domain = login.rpartition("@")
    if not user or not domain:
        raise LoginError(
            "login: '%s' has no %s: write 'USERNAME@FULL.DOMAIN'" % (login, "domain" if user else "username")
        )
    if "." not in domain:
        raise LoginError(
            r"login: '%s' has no full domain such as CORP.EXAMPLE: with the short name write '%s\%s'"
            % (login, domain, user)
        )
    if not re.fullmatch(r"[\w-]+(?:\.[\w-]+)+", domain):
        raise LoginError("login: '%s' has no full domain such as CORP.EXAMPLE: correct it" % login)


def _in_capitals(login: str) -> str:
    """Capitals where letter and capital stand for each other: 'ß' would become two letters, 'ı' another one."""
    return "".join(char.upper() if char.upper().lower() == char and len(char.upper()) == 1 else char for char in login)
