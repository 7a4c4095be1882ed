# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE: for this collection only; may change in any release.
"""What the bytes and texts of a directory mean: keys, numbers and times.

Pure functions on the standard library. Wrong input raises ValueError with one sentence that says what is wrong and
where; the caller puts the name of the option in front of it. Positions count characters from 1.
"""

from __future__ import annotations

import datetime
import functools
import re
import uuid
from typing import TypeVar

# RFC 4512, 1.4: a short name or a dotted number.
SHORT_NAME = r"[A-Za-z][A-Za-z0-9-]*"
OID = r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+"
PAIR = re.compile(rb"\\(?:([0-9A-Fa-f]{2})|(.))")  # a backslash, and what it escapes


AnyText = TypeVar("AnyText", str, bytes)


def always(match: re.Match[AnyText] | None) -> re.Match[AnyText]:
    """Return the match of a pattern that matches every text, the empty one too."""
    if match is None:
        raise ValueError("a pattern that matches every text matched none")
    return match


# --- keys -----------------------------------------------------------------------------------------------------------


def guid_text(raw: bytes) -> str:
    """Text of an objectGUID, lower case with dashes. Its first three fields are little-endian (MS-DTYP 2.3.4.2)."""
    digits = raw.hex()
    if len(digits) != 32:
        raise ValueError("a GUID has 16 bytes, not %d" % len(raw))
    # Slices, since uuid.UUID costs five times as much and this runs once per entry.
    return (
        digits[6:8]
        + digits[4:6]
        + digits[2:4]
        + digits[:2]
        + "-"
        + digits[10:12]
        + digits[8:10]
        + "-"
        + digits[14:16]
        + digits[12:14]
        + "-"
        + digits[16:20]
        + "-"
        + digits[20:]
    )


def guid_bytes(text: str) -> bytes:
    """The 16 bytes of an objectGUID from its text; upper case and braces are accepted."""
    if not re.fullmatch(r"\{?[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}?", text):
        raise ValueError("'%s' is not a GUID, such as 6f9619ff-8b86-d011-b42d-00c04fc964ff" % text)
    return uuid.UUID(text).bytes_le


def sid_text(raw: bytes) -> str:
    """Text of an objectSid (MS-DTYP 2.4.2.1): big-endian authority, then little-endian sub-authorities."""
    if len(raw) < 8 or raw[0] != 1 or raw[1] > 15 or len(raw) != 8 + 4 * raw[1]:
        raise ValueError("these %d bytes are not a SID" % len(raw))
    authority = int.from_bytes(raw[2:8], "big")
    parts = ["S-1", str(authority) if authority < 1 << 32 else "0x%012x" % authority]
    parts += [str(int.from_bytes(raw[at : at + 4], "little")) for at in range(8, len(raw), 4)]
    return "-".join(parts)


def sid_bytes(text: str) -> bytes:
    """The bytes of a SID from its text, `S-1-5-21-...`."""
    match = re.fullmatch(r"[Ss]-1-(0[xX][0-9A-Fa-f]{12}|[0-9]{1,10})((?:-[0-9]{1,10}){0,15})", text)
    if not match:
        raise ValueError("'%s' is not a SID, such as S-1-5-21-1004336348-1177238915-682003330-512" % text)
    subs = [int(part) for part in match.group(2).split("-")[1:]]
    authority = int(match.group(1), 0) if match.group(1)[:2] in ("0x", "0X") else int(match.group(1))
    if any(part >= 1 << 32 for part in subs):
        raise ValueError("'%s' is not a SID: a part of it does not fit into 32 bits" % text)
    return bytes((1, len(subs))) + authority.to_bytes(6, "big") + b"".join(part.to_bytes(4, "little") for part in subs)


# --- numbers --------------------------------------------------------------------------------------------------------


def integer(raw: bytes) -> int:
    """An INTEGER (RFC 4517, 3.3.16) of at most 20 digits: more would be a time, a flag or a number of nothing."""
    if not re.fullmatch(rb"-?[0-9]{1,20}", raw):
        raise ValueError("%s is not such a number" % shown(raw))
    return int(raw)


# --- times ----------------------------------------------------------------------------------------------------------

_FILETIME_AT_1970 = 116444736000000000
_FILETIME_NEVER = 0x7FFFFFFFFFFFFFFF


def filetime_seconds(raw: bytes) -> int | None:
    """Seconds since 1970 of a FILETIME as LDAP writes it, decimal 100 ns steps since 1601; rounded down.

    None is "never": accountExpires uses 0 and 0x7FFFFFFFFFFFFFFF alike (MS-ADA1 2.1).
    """
    try:
        steps = integer(raw)
    except ValueError:
        raise ValueError("%s is not a FILETIME" % shown(raw)) from None
    return None if steps == 0 or steps >= _FILETIME_NEVER else (steps - _FILETIME_AT_1970) // 10000000


_GENERALIZED_TIME = re.compile(
    rb"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})(?:([0-9]{2})([0-9]{2})?)?(?:[.,]([0-9]+))?(?:Z|([+-])([0-9]{2})([0-9]{2})?)"
)
# As servers write nearly all of them; with a year that Python's calendar has.
_USUAL_TIME = re.compile(rb"((?:19|20)[0-9]{6})([01][0-9]|2[0-3])([0-5][0-9])([0-5][0-9])(?:\.0)?Z")
_DAY_OF_1970 = datetime.date(1970, 1, 1).toordinal()
_DAYS_IN_400_YEARS = 146097


@functools.lru_cache(maxsize=10000)
def _day_seconds(day: bytes) -> int | None:
    """Seconds since 1970 of the beginning of a day, written as YYYYMMDD; None where there is no such day."""
    try:
        return (datetime.date(int(day[:4]), int(day[4:6]), int(day[6:])).toordinal() - _DAY_OF_1970) * 86400
    except ValueError:
        return None


def generalized_time_seconds(raw: bytes) -> int:
    """Seconds since 1970 of a GeneralizedTime (RFC 4517, 3.3.13), rounded down.

    Minutes and seconds may be missing, and a fraction belongs to the last unit given. The year 0000 is accepted, since
    ppolicy writes 000001010000Z for an account that is locked for good.
    """
    usual = _USUAL_TIME.fullmatch(raw)
    if usual:
        day, hour, minute, second = usual.groups()
        start = _day_seconds(day)
        if start is not None:
            return start + int(hour) * 3600 + int(minute) * 60 + int(second)
    match = _GENERALIZED_TIME.fullmatch(raw)
    if not match:
        raise ValueError("%s is not a time such as 20260131235959Z" % shown(raw))
    written_year, month, day, *clock, fraction, sign, offset_hours, offset_minutes = match.groups()
    year, hours, minutes, seconds = int(written_year), *(int(number or 0) for number in clock)
    away, away_minutes = int(offset_hours or 0), int(offset_minutes or 0)
    if hours > 23 or minutes > 59 or seconds > 60 or away > 23 or away_minutes > 59:
        raise ValueError("%s is not a time: it is out of range" % shown(raw))
    try:
        # Python's calendar begins with year 1, and repeats every 400 years.
        days = datetime.date(year or 400, int(month), int(day)).toordinal() - (0 if year else _DAYS_IN_400_YEARS)
    except ValueError:
        raise ValueError("%s is not a time: there is no such day" % shown(raw)) from None
    unit = 1 if clock[2] else 60 if clock[1] else 3600
    digits = (fraction or b"0")[:9]
    whole: int = 10 ** len(digits)
    offset = (away * 3600 + away_minutes * 60) * (-1 if sign == b"-" else 1)
    return (days - _DAY_OF_1970) * 86400 + hours * 3600 + minutes * 60 + seconds + int(digits) * unit // whole - offset


def shown(raw: bytes) -> str:
    """Return the beginning of bytes as they are shown in a message."""
    return "'%s'" % raw[:60].decode("ascii", "backslashreplace")


def refuse_surrogates(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("character %d is not Unicode text; write the value in UTF-8" % (error.start + 1)) from None
