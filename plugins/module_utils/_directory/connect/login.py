# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What the answer to a bind means."""

from __future__ import annotations

import re
from typing import Any

from ..._errors import quoted
from .attempt import Attempt, ConnectError, NextServer

# The "data" in AD's message for code 49: what it means, and what to do; "" where login or password is to be corrected.
_CHANGE_THERE = "have that changed in the directory, or use another account"
_SUB_CODES = {
    "525": ("there is no such user", ""),
    "52e": ("the password is wrong, or there is no such user", ""),
    "530": ("the account may not log on at this time", _CHANGE_THERE),
    "531": ("the account may not log on from this computer", _CHANGE_THERE),
    "532": ("the password has expired", _CHANGE_THERE),
    "533": ("the account is disabled", _CHANGE_THERE),
    "701": ("the account has expired", _CHANGE_THERE),
    "773": ("the password must be changed first", _CHANGE_THERE),
    "775": ("the account is locked", _CHANGE_THERE),
    "80090346": (
        "the channel binding of TLS is missing or wrong",
        "install the Python library cryptography, and connect where nothing on the way decrypts",
    ),
}


# Codes (RFC 4511, appendix A.2) -> the sentence about the server, how it was asked and what it answered.
_NOT_ALLOWED = (
    "authentication: %(address)s does not allow authentication: %(authentication)s (%(answer)s): choose another one"
)
_WANTS_STRONGER = (
    "encryption: %(address)s wants a stronger protection than encryption: %(encryption)s with authentication: "
    "%(authentication)s (%(answer)s): choose ldaps or start_tls"
)
_NOT_AVAILABLE = "server: %(address)s is not available now (%(answer)s): run again later, or name another server"
_REFUSALS = {
    7: _NOT_ALLOWED,
    8: _WANTS_STRONGER,
    13: _WANTS_STRONGER,
    48: _NOT_ALLOWED,
    53: "login: %(address)s is not willing to accept this login (%(answer)s): use another one",
}
_OTHER_REFUSAL = "login: %(address)s did not accept the login (%(answer)s): correct it, or look into the server's log"
_OF_THIS_SERVER = {
    10: (
        "server: %(address)s refers the login to another server, which is not followed (%(referred)s): name that server"
    ),
    51: _NOT_AVAILABLE,
    52: _NOT_AVAILABLE,
}
_INVALID_CREDENTIALS, _INVALID_DN = 49, 34


def check_bind(result: dict[str, Any] | None, attempt: Attempt) -> None:
    """Raise ConnectError, as what a bind's result means, unless it is success."""
    address, settings = attempt.address, attempt.settings
    if not result:
        raise NextServer(
            "server: %s closed the connection instead of answering the bind: run again, or name another "
            "server" % address
        )
    code, said = result["result"], quoted((result.get("message") or "").strip("\0 \r\n"))
    if code == 0:
        return
    answer = "%s (%d)%s" % (result.get("description") or "result", code, ": " + said if said else "")
    if code == _INVALID_CREDENTIALS:
        raise _refused_login(attempt, said, answer)
    if code == _INVALID_DN and not settings.use_ldap:  # only Active Directory takes other names (MS-ADTS 5.1.1.1.1)
        raise ConnectError(
            "use_ldap: %s takes only a DN as login, so it is no Active Directory (%s): set "
            "use_ldap: true" % (address, answer)
        )
    words = {
        "address": address,
        "authentication": settings.authentication,
        "encryption": settings.encryption,
        "answer": answer,
        "referred": quoted(" ".join(result.get("referrals") or ())) or answer,
    }
    if code in _OF_THIS_SERVER:
        raise NextServer(_OF_THIS_SERVER[code] % words)
    raise ConnectError(_REFUSALS.get(code, _OTHER_REFUSAL) % words)


def _refused_login(attempt: Attempt, said: str, answer: str) -> ConnectError:
    address, settings = attempt.address, attempt.settings
    if settings.authentication in ("external", "anonymous"):
        return ConnectError(
            "authentication: %s knows nobody by authentication: %s (%s): choose another one"
            % (address, settings.authentication, answer)
        )
    secret = "keytab" if settings.keytab else "password"
    data = re.search(r"\bdata ([0-9a-fA-F]+)", said)
    code_of_ad = data.group(1) if data else ""
    is_known = code_of_ad.lower() in _SUB_CODES
    why, remedy = _SUB_CODES.get(code_of_ad.lower(), ("the login or the %s is wrong" % secret, ""))
    return ConnectError(
        "login: %s refused the login '%s', since %s (%s): %s"
        % (address, settings.login, why, code_of_ad if is_known else answer, remedy or "correct login or %s" % secret)
    )
