# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE: for this collection only; may change in any release.
"""What the bytes and texts of a directory mean: keys, times, distinguished names and filters.

Pure functions on the standard library. Wrong input raises ValueError with one sentence that says what is wrong and
where; the caller puts the name of the option in front of it. Positions count characters from 1.
"""

from __future__ import annotations

import datetime
import functools
import re
import uuid
from urllib.parse import unquote

from .._model import UNICODE, composed, without_case

# RFC 4512, 1.4: a short name or a dotted number.
_SHORT_NAME = r"[A-Za-z][A-Za-z0-9-]*"
_OID = r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+"


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
        raise ValueError("%s is not such a number" % _shown(raw))
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
        raise ValueError("%s is not a FILETIME" % _shown(raw)) from None
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
    match = _USUAL_TIME.fullmatch(raw)
    start = _day_seconds(match.group(1)) if match else None
    if start is not None:
        _day, hour, minute, second = match.groups()
        return start + int(hour) * 3600 + int(minute) * 60 + int(second)
    match = _GENERALIZED_TIME.fullmatch(raw)
    if not match:
        raise ValueError("%s is not a time such as 20260131235959Z" % _shown(raw))
    year, month, day, hour, minute, second, fraction, sign, offset_hours, offset_minutes = match.groups()
    year, hour, minutes, seconds = int(year), int(hour), int(minute or 0), int(second or 0)
    away, away_minutes = int(offset_hours or 0), int(offset_minutes or 0)
    if hour > 23 or minutes > 59 or seconds > 60 or away > 23 or away_minutes > 59:
        raise ValueError("%s is not a time: it is out of range" % _shown(raw))
    try:
        # Python's calendar begins with year 1, and repeats every 400 years.
        days = datetime.date(year or 400, int(month), int(day)).toordinal() - (0 if year else _DAYS_IN_400_YEARS)
    except ValueError:
        raise ValueError("%s is not a time: there is no such day" % _shown(raw)) from None
    unit = 1 if second else 60 if minute else 3600
    digits = (fraction or b"0")[:9]
    offset = (away * 3600 + away_minutes * 60) * (-1 if sign == b"-" else 1)
    return (
        (days - _DAY_OF_1970) * 86400
        + hour * 3600
        + minutes * 60
        + seconds
        + int(digits) * unit // 10 ** len(digits)
        - offset
    )


def _shown(raw: bytes) -> str:
    return "'%s'" % raw[:60].decode("ascii", "backslashreplace")


# --- distinguished names --------------------------------------------------------------------------------------------

# RFC 4514, 3; spaces around separators as RFC 2253, 4 asks readers to accept them.
_TYPE = re.compile(r" *(%s|%s) *= *" % (_SHORT_NAME, _OID))
_HEX_VALUE = re.compile(r"#((?:[0-9A-Fa-f]{2})+) *")
_STRING_VALUE = re.compile(r'(?:[^\\,+";<>\0]|\\(?:[ "#+,;<=>\\]|[0-9A-Fa-f]{2}))*')
_PAIR = re.compile(rb"\\(?:([0-9A-Fa-f]{2})|(.))")

# The types RFC 4514, 3 names, by their numbers.
_NAME_OF_OID = {
    "2.5.4.3": "cn",
    "2.5.4.7": "l",
    "2.5.4.8": "st",
    "2.5.4.10": "o",
    "2.5.4.11": "ou",
    "2.5.4.6": "c",
    "2.5.4.9": "street",
    "0.9.2342.19200300.100.1.25": "dc",
    "0.9.2342.19200300.100.1.1": "uid",
}


def parse_dn(text: str) -> list[list[tuple[str, str | bytes]]]:
    """The RDNs of an RFC 4514 distinguished name, each a list of (type as written, value).

    A value is the unescaped text; only a value that is no text is bytes, its BER encoding. The empty DN gives [].
    """
    _refuse_surrogates(text)
    if not text.strip(" "):
        return []
    rdns: list[list[tuple[str, str | bytes]]] = [[]]
    at = 0
    while True:
        start = at
        match = _TYPE.match(text, at)
        if not match:
            raise _dn_error(text, start, _why_no_type(text, start))
        value, at = _dn_value(text, match.end())
        rdns[-1].append((match.group(1), value))
        if at == len(text):
            return rdns
        if text[at] == ",":
            rdns.append([])
        elif text[at] != "+":
            raise _dn_error(text, at, _why_not_here(text, at))
        at += 1


def _dn_value(text: str, at: int) -> tuple[str | bytes, int]:
    """The value that begins at `at`, and where it ends."""
    if text.startswith("#", at):
        match = _HEX_VALUE.match(text, at)
        if not match:
            raise _dn_error(
                text,
                at,
                "after '#' a value is written in pairs of hexadecimal digits "
                "(a '#' that belongs to the value is written '\\#')",
            )
        octets = bytes.fromhex(match.group(1))
        content = _string_in_ber(octets)
        if content is None:
            return octets, match.end()
        return _text_or_ber(content), match.end()
    match = _STRING_VALUE.match(text, at)
    written = match.group()
    stripped = written.rstrip(" ")
    if len(stripped) < len(written) and (len(stripped) - len(stripped.rstrip("\\"))) % 2:
        stripped += " "  # the space was escaped
    if "\\" not in stripped:
        return stripped, match.end()
    octets = _PAIR.sub(
        lambda pair: bytes.fromhex(pair.group(1).decode()) if pair.group(1) else pair.group(2), stripped.encode("utf-8")
    )
    return _text_or_ber(octets), match.end()


def _text_or_ber(octets: bytes) -> str | bytes:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        size = len(octets)
        length = bytes((size,)) if size < 128 else bytes((0x84,)) + size.to_bytes(4, "big")
        return b"\x04" + length + octets


def _string_in_ber(octets: bytes) -> bytes | None:
    """The content of an OCTET, UTF8, Numeric, Printable or IA5String; None when it is anything else."""
    if len(octets) < 2 or octets[0] not in (0x04, 0x0C, 0x12, 0x13, 0x16):
        return None
    length, start = octets[1], 2
    if length > 127:
        start += length - 128
        length = int.from_bytes(octets[2:start], "big") if start > 2 else -1
    return octets[start:] if len(octets) - start == length else None


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("character %d is not Unicode text; write the value in UTF-8" % (error.start + 1)) from None


def _dn_error(text: str, at: int, why: str) -> ValueError:
    return ValueError("'%s' is not a distinguished name: %s, at character %d" % (text, why, at + 1))


def _why_no_type(text: str, at: int) -> str:
    part = re.match(r"[^,+]*", text[at:]).group().strip()
    if not part:
        return "a part is empty" if at else "it begins with a separator"
    if "=" not in part:
        return "'%s' has no '=' (a ',' that belongs to a value is written '\\,')" % part
    return "'%s' is not an attribute type" % part.partition("=")[0].strip()


def _why_not_here(text: str, at: int) -> str:
    if text[at] == "\\":
        return "a backslash needs one of ' \"#+,;<=>\\' or two hexadecimal digits after it"
    if text[at] == "\0":
        return "a NUL character is written '\\00'"
    several = ", and several DNs are a list" if text[at] == ";" else ""
    return "'%s' in a value is written '\\%s'%s" % (text[at], text[at], several)


# What needs no unescaping and no folding of spaces: the normal form is then the folded text.
_PLAIN_VALUE = r'[^\s\\,+";<>#\0]+(?: [^\s\\,+";<>#\0]+)*'
_PLAIN_DN = re.compile(r"{0}={1}(?:,{0}={1})*".format(_SHORT_NAME, _PLAIN_VALUE))
_PLAIN_DN_BYTES = re.compile(rb"[A-Za-z]+=[A-Za-z0-9 ._-]+(?:,[A-Za-z]+=[A-Za-z0-9 ._-]+)*")
_ESCAPED_IN_NORMAL_FORM = {ord(char): "\\%02x" % ord(char) for char in '\0",+;<>\\'}


def normal_dn(text: str) -> str:
    """The one form in which two spellings of a DN are equal.

    Two DNs that are one here are one to OpenLDAP, but not the other way round: what else it takes for one, such as
    'ﬁ' and 'fi', it must be asked.

    Types in lower case (numbers by their names), values in Unicode NFC without case, runs of spaces folded to one and
    removed at the ends, multi-valued RDNs sorted, and one way of escaping: hexadecimal pairs. So a comma in a normal
    form is always a separator, and an ancestor's normal form is a suffix.
    """
    if _PLAIN_DN.fullmatch(text):
        if text.isascii():
            return text.lower()
        folded = without_case(text)
        if UNICODE.is_normalized("NFC", text) and UNICODE.is_normalized("NFC", folded):
            return folded
    return ",".join("+".join(sorted(_normal_pair(*pair) for pair in rdn)) for rdn in parse_dn(text))


def _normal_pair(kind: str, value: str | bytes) -> str:
    kind = _NAME_OF_OID.get(kind, kind.lower())
    if isinstance(value, bytes):
        return "%s=#%s" % (kind, value.hex())
    value = composed(without_case(value))
    value = " ".join(filter(None, value.split(" "))).translate(_ESCAPED_IN_NORMAL_FORM)
    return "%s=%s" % (kind, "\\23" + value[1:] if value.startswith("#") else value)


def dn_is_within(normal: str, normal_ancestor: str) -> bool:
    """Whether a DN is the ancestor itself or lies below it; both in normal form."""
    return not normal_ancestor or normal == normal_ancestor or normal.endswith("," + normal_ancestor)


def looks_like_several(normal: str, normal_context: str) -> bool:
    """Whether a DN in normal form may be two in one string, with a comma or a space between them, of this context."""
    return ",%s," % normal_context in "," + normal or bool(re.search(r" %s=" % _SHORT_NAME, normal))


_FIRST_RDN = re.compile(r"(?:[^\\,]|\\.)*", re.DOTALL)
_FIRST_RDN_BYTES = re.compile(rb"(?:[^\\,]|\\.)*", re.DOTALL)


def dn_parent(text: str) -> str:
    """The DN without its first RDN, as it is written; '' when there is no more."""
    if "\\" not in text:
        return text.partition(",")[2].lstrip(" ")
    return text[_FIRST_RDN.match(text).end() + 1 :].lstrip(" ")


def normal_parent(normal: str) -> str:
    """The parent of a DN in normal form, where every comma separates; empty if there is none."""
    return normal.partition(",")[2]


def fast_parent(dn: bytes) -> bytes:
    """`dn_parent` of a DN as a server wrote it."""
    if b"\\" not in dn:
        return dn[dn.find(b",") + 1 :] if b"," in dn else b""
    return dn[_FIRST_RDN_BYTES.match(dn).end() + 1 :]


def rdn_value(text: str) -> str:
    """The unescaped value of the first RDN, to be shown as a name."""
    rdns = parse_dn(_FIRST_RDN.match(text).group())
    if not rdns:
        return ""
    value = rdns[0][0][1]
    return value if isinstance(value, str) else "#" + value.hex()


def escape_dn_value(value: str) -> str:
    """A value as RFC 4514, 2.4 writes it in a DN."""
    escaped = re.sub(r'([",+;<>\\])', r"\\\1", value).replace("\0", "\\00")
    if escaped.startswith(("#", " ")):
        escaped = "\\" + escaped
    if escaped.endswith(" ") and value != " ":
        escaped = escaped[:-1] + "\\ "
    return escaped


def dn_text(raw: bytes) -> str:
    """The text of a DN that a server sent; strictly UTF-8, since a guess would name somebody else."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("the directory sent a distinguished name that is not UTF-8: %s" % _shown(raw)) from None


def is_dn(raw: bytes) -> bool:
    """Whether this, which a server sent as a distinguished name, is one."""
    if _PLAIN_DN_BYTES.fullmatch(raw):
        return True
    try:
        normal_dn(dn_text(raw))
    except ValueError:
        return False
    return True


# --- LDAP URLs ------------------------------------------------------------------------------------------------------

_LONGEST_URL = 1000  # characters: of a longer one only that much is kept (`quoted` in _errors.py)
_URL = re.compile(r"([a-z]+)://([^/?]*)(?:/([^?]*))?(?:[?].*)?", re.IGNORECASE | re.DOTALL)


def url_dn(url: str) -> str | None:
    """The DN in an LDAP URL (RFC 4516, 2), in normal form; None if there is none that can be read whole."""
    match = _URL.fullmatch(url) if len(url) <= _LONGEST_URL else None
    if not match or not match.group(3):
        return None
    try:
        return normal_dn(unquote(match.group(3), errors="strict")) or None
    except ValueError:
        return None


def url_server(url: str) -> str:
    """Scheme, host and port of an LDAP URL in lower case; the whole text if it is no such URL."""
    match = _URL.fullmatch(url)
    return "%s://%s" % (match.group(1).lower(), match.group(2).lower()) if match else url


# --- filters --------------------------------------------------------------------------------------------------------

# RFC 4515, 3. Its valueencoding leaves out NUL, parentheses, '*' and a backslash without two hexadecimal digits.
_FILTER_VALUE = re.compile(r"(?:[^\0()*\\]|\\[0-9A-Fa-f]{2})*")
_DESCRIPTION = r"(?:%s|%s)(?:;[A-Za-z0-9-]+)*" % (_SHORT_NAME, _OID)
_FILTER_TEST = re.compile(r"(%s)([~<>]?=)" % _DESCRIPTION)
_FILTER_EXTENSIBLE = re.compile(r"(%s)?(:[dD][nN])?(?::(%s|%s))?:=" % (_DESCRIPTION, _SHORT_NAME, _OID))
_WHITE_SPACE = re.compile(r"\s*")
_DEEPEST_FILTER = 100


def parse_filter(text: str) -> tuple:
    """The tree of an RFC 4515 filter, in the order of RFC 4511, 4.5.1.7; values are bytes.

    ('&', filters), ('|', filters), ('!', filter), ('=' | '>=' | '<=' | '~=', attribute, value), ('=*', attribute),
    ('*', attribute, initial, [any, ...], final), (':=', rule, attribute, value, dn_attributes).

    White space around parentheses is accepted: folding a YAML text over several lines leaves it there.
    """
    _refuse_surrogates(text)
    at = _WHITE_SPACE.match(text).end()
    if at == len(text):
        raise ValueError("the filter is empty; write one such as (objectClass=*)")
    tree, at = _filter(text, at, 1)
    at = _WHITE_SPACE.match(text, at).end()
    if at < len(text):
        raise _filter_error(text, at, "there is more after the filter's last ')'")
    return tree


def filter_attributes(text: str) -> set[str]:
    """The attributes that an RFC 4515 filter asks about, in lower case and without options.

    Of an extensible match without one nothing can be told: it stands for '*'.
    """
    found, trees = set(), [parse_filter(text)]
    while trees:
        kind, *rest = trees.pop()
        if kind in ("&", "|"):
            trees += rest[0]
        elif kind == "!":
            trees += rest
        else:
            found.add((rest[1] if kind == ":=" else rest[0]) or "*")
    return {name.lower().partition(";")[0] for name in found}


def check_filter(text: str) -> None:
    """Refuse what is not an RFC 4515 filter."""
    parse_filter(text)


def negated(text: str) -> str:
    """The RFC 4515 filter that matches where this one is False, which is not everywhere where it does not match.

    '!' stands before single tests only, by De Morgan's laws: 389 Directory Server judges access within "not or" wrongly
    (its issue 6307).
    """
    return _normal_filter(parse_filter(text), True)


def _normal_filter(tree: tuple, negate: bool) -> str:
    """The text of a filter, or of its contrary, with '!' before single tests only."""
    kind = tree[0]
    if kind == "!":
        return _normal_filter(tree[1], not negate)
    if kind in ("&", "|"):
        other = {"&": "|", "|": "&"}[kind]
        return "(%s%s)" % (other if negate else kind, "".join(_normal_filter(each, negate) for each in tree[1]))
    return "(!%s)" % _test_text(tree) if negate else _test_text(tree)


def _test_text(tree: tuple) -> str:
    """The text of a single test as `parse_filter` gives it."""
    kind = tree[0]
    if kind == "=*":
        return "(%s=*)" % tree[1]
    if kind == "*":
        return "(%s=%s)" % (tree[1], "*".join(map(escape_filter, [tree[2], *tree[3], tree[4]])))
    if kind == ":=":
        _kind, rule, attribute, value, dn_attributes = tree
        parts = (attribute or "", ":dn" if dn_attributes else "", ":" + rule if rule else "", escape_filter(value))
        return "(%s%s%s:=%s)" % parts
    return "(%s%s%s)" % (tree[1], kind, escape_filter(tree[2]))


def _filter(text: str, at: int, depth: int) -> tuple[tuple, int]:
    if not text.startswith("(", at):
        raise _filter_error(text, at, "a '(' is missing")
    if depth > _DEEPEST_FILTER:
        raise _filter_error(text, at, "it is nested more than %d levels deep" % _DEEPEST_FILTER)
    opened = at
    at = _WHITE_SPACE.match(text, at + 1).end()
    kind = text[at : at + 1]
    if kind and kind in "&|!":
        filters = []
        at = _WHITE_SPACE.match(text, at + 1).end()
        while text.startswith("(", at):
            tree, at = _filter(text, at, depth + 1)
            filters.append(tree)
            at = _WHITE_SPACE.match(text, at).end()
        if kind == "!" and len(filters) != 1:
            raise _filter_error(text, opened, "'!' takes exactly one filter in parentheses")
        if not filters:
            raise _filter_error(text, opened, "'%s' needs at least one filter in parentheses" % kind)
        tree = (kind, filters[0] if kind == "!" else filters)
    else:
        tree, at = _filter_item(text, at)
    if at == len(text):
        raise _filter_error(text, opened, "this '(' is never closed")
    if text[at] != ")":
        raise _filter_error(text, at, _why_not_in_filter(text, at))
    return tree, at + 1


def _filter_item(text: str, at: int) -> tuple[tuple, int]:
    match = _FILTER_TEST.match(text, at)
    if match:
        attribute, test = match.groups()
        parts, at = _filter_values(text, match.end(), test == "=")
        if len(parts) == 1:
            return (test, attribute, parts[0]), at
        if not any(parts):
            return ("=*", attribute), at
        return ("*", attribute, parts[0], [part for part in parts[1:-1] if part], parts[-1]), at
    match = _FILTER_EXTENSIBLE.match(text, at)
    if match and (match.group(1) or match.group(3)):
        attribute, dn_attributes, rule = match.groups()
        parts, at = _filter_values(text, match.end(), False)
        return (":=", rule, attribute, parts[0], bool(dn_attributes)), at
    raise _filter_error(text, at, "here an attribute and one of = >= <= ~= := are expected")


def _filter_values(text: str, at: int, stars: bool) -> tuple[list[bytes], int]:
    """The values between '*' (only one unless `stars`), and where they end."""
    values = []
    while True:
        match = _FILTER_VALUE.match(text, at)
        values.append(_PAIR.sub(lambda pair: bytes.fromhex(pair.group(1).decode()), match.group().encode("utf-8")))
        at = match.end()
        if not stars or not text.startswith("*", at):
            return values, at
        at += 1


def _filter_error(text: str, at: int, why: str) -> ValueError:
    return ValueError("'%s' is not an LDAP filter: %s, at character %d" % (text, why, at + 1))


def _why_not_in_filter(text: str, at: int) -> str:
    if text[at] == "\\":
        return "a backslash needs two hexadecimal digits after it ('\\5c' is a backslash)"
    if text[at] in "(*\0":
        return "'%s' in a value is written '\\%02x'" % (text[at].replace("\0", "NUL"), ord(text[at]))
    return "a ')' is missing"


_ESCAPED_IN_FILTER = {ord(char): "\\%02x" % ord(char) for char in "\0()*\\"}


def escape_filter(value: str | bytes) -> str:
    """A value as RFC 4515 writes it in a filter; of bytes every one is escaped."""
    if isinstance(value, bytes):
        return "".join("\\%02x" % octet for octet in value)
    return value.translate(_ESCAPED_IN_FILTER)
