# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.


"""Whether a user is enabled: by each attribute that may disable somebody, and when time alone will do so."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from .presets import TRUST_ACCOUNT, Entry, Preset
from .values import filetime_seconds, generalized_time_seconds, integer


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
    return any(int(value) & TRUST_ACCOUNT for value in attributes.get("useraccountcontrol", ()) if value.isdigit())


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
