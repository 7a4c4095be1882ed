# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The value of one option: judged, and in the form in which a run uses it.

Each function takes the value, before it the option's name where several options are judged alike. What is wrong is a
SynchronizationError: one sentence that begins with the option's name and says what to do.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from typing import Any

from ._directory.distinguished_names import normal_dn
from ._directory.filter_text import check_filter
from ._errors import SynchronizationError
from ._limits import KINDS, check_digest, check_limit
from ._printable import printable
from ._store.address import Address, File, address_of

_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

# RFC 4512 section 2.5: an attribute's name, then options such as ';lang-fr'. No dotted number: the server would answer
# with the name.
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*(;[A-Za-z0-9-]+)*")

_LINE_BREAK = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]")  # in a value they are written '\\0A'

TIMEOUT_MAX = 86400  # a day, in seconds


def judged(option: str, judge: Callable[..., Any], *arguments: Any) -> Any:
    """Return what ``judge`` returns; its ValueError becomes an error that begins with the option's name."""
    try:
        return judge(*arguments)
    except ValueError as error:
        raise SynchronizationError("%s: %s" % (option, error)) from None


def readable_file(option: str, path: str | None) -> str | None:
    if not path:
        return None
    missing = "%s: there is no file '%s' on the node where this task runs: put it there, or correct the path" % (
        option,
        path,
    )
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a FIFO would wait for somebody who writes
            raise SynchronizationError(missing)
        with open(path, "rb"):
            pass
    except (FileNotFoundError, NotADirectoryError):
        raise SynchronizationError(missing) from None
    except OSError as error:
        raise SynchronizationError(
            "%s: the file '%s' cannot be read (%s): change the rights to it or to its directory, or set become: true"
            % (option, path, error.strerror)
        ) from None
    return path


def ca_file(path: str | None) -> str | None:
    """Return the path of a file, or of a directory with hashed names (SSL_CTX_load_verify_locations(3))."""
    return path if path and os.path.isdir(path) else readable_file("ca_path", path)


def store_address(store: str, password: str | None) -> Address:
    address = address_of(store, password)
    if isinstance(address, File):
        _check_file(address.path)
    return address


def _check_file(path: str) -> None:
    if not os.path.isabs(path):
        raise SynchronizationError("store: '%s' is no absolute path: write the path of a file from the root on" % path)
    if path.endswith("/") or os.path.isdir(path):
        raise SynchronizationError(
            "store: '%s' is a directory: write the path of a file, such as '%s'"
            % (path, os.path.join(path, "users.db"))
        )


def number_of(option: str, number: int, most: int | None = None, least: int = 1) -> int:
    if number < least or (most is not None and number > most):
        up_to = "" if most is None else " to %d" % most
        raise SynchronizationError("%s: %d is out of range: write a number from %d%s" % (option, number, least, up_to))
    return number


def seconds(text: str) -> int:
    """Return the seconds of a time such as '24h'. Raises ValueError, with a sentence for the reader, if it is none."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text)
    if not match:
        raise ValueError(
            "'%s' is no time: write a number with m for minutes, h for hours or d for days, such as 24h" % text
        )
    return int(match.group(1)) * {"m": 60, "h": 3600, "d": 86400}[match.group(2)]


def limits_given(value: Any) -> dict[str, str]:
    """Return the limits by their kinds. One number or percentage is that of all kinds; a kind that is None has none."""
    if not isinstance(value, dict):
        return dict.fromkeys(KINDS, _limit("removal_limits", value))
    for kind in value:
        if kind not in KINDS:
            raise SynchronizationError("removal_limits: there is no '%s': choose of %s" % (kind, ", ".join(KINDS)))
    return {kind: _limit("removal_limits.%s" % kind, limit) for kind, limit in value.items() if limit is not None}


def _limit(option: str, value: Any) -> str:
    # Ansible gives a number as it was written: as a number, or as a text.
    text = "" if isinstance(value, bool) or not isinstance(value, (int, str)) else str(value).strip()
    limit: str = judged(option, check_limit, text or printable(value))
    return limit


def digest(option: str, text: str | None) -> str | None:
    return judged(option, check_digest, option, text.strip()) if text else None


def given_only(parameters: dict[str, Any]) -> dict[str, Any]:
    return {parameter: value for parameter, value in parameters.items() if value not in (None, "")}


def dns(option: str, value: Any, effect_of_none: str) -> list[str]:
    """Return the DNs as written. ``effect_of_none`` says what an empty list does."""
    if value is None:  # only an explicit null is; a slip must not select everything, or exclude nothing
        raise SynchronizationError(
            "%s: it is null: remove the option, or write an empty list to %s" % (option, effect_of_none)
        )
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list):
        raise SynchronizationError("%s: %r is no DN: write a DN, or a list of DNs" % (option, value))
    for dn in listed:
        if not isinstance(dn, str):
            raise SynchronizationError("%s: %r is no DN: write each DN of the list as a string" % (option, dn))
        if not dn.strip():
            raise SynchronizationError(
                "%s: an empty string is no DN: remove it, or write an empty list to %s" % (option, effect_of_none)
            )
        if _LINE_BREAK.search(dn):
            raise SynchronizationError(
                "%s: '%s' has a line break or a tab: write the DN in one line (in YAML with '>-', and not with '|')"
                % (option, printable(dn))
            )
        judged(option, normal_dn, dn)
    return list(listed)


def one_dn(value: Any) -> list[str]:
    found = [] if value is None else dns("distinguished_name", value, "see the naming contexts")
    if len(found) > 1:
        raise SynchronizationError(
            "distinguished_name: it is a list of %d: name one DN; a DN with commas is one string, not a list"
            % len(found)
        )
    return found


def search(pattern: str | None) -> str | None:
    if not pattern:
        return None
    if not pattern.strip(" *"):
        raise SynchronizationError("search: '%s' matches every name: write a part of one, such as 'nurs*'" % pattern)
    return pattern


def ldap_filter(option: str, text: str | None) -> str | None:
    if not text:
        return None
    judged(option, check_filter, text)
    return text


def attributes(option: str, mapping: dict[str, Any]) -> dict[str, str]:
    for field, attribute in mapping.items():
        if not isinstance(field, str) or not _FIELD.fullmatch(field):
            raise SynchronizationError(
                "%s: %r is no name of a field: use letters, digits and underscores, a letter first" % (option, field)
            )
        if not isinstance(attribute, str) or not _ATTRIBUTE.fullmatch(attribute):
            raise SynchronizationError(
                "%s: the field '%s' is given %r, which is no attribute of a directory: write its name, such as 'mail'"
                % (option, field, attribute)
            )
    return dict(mapping)
