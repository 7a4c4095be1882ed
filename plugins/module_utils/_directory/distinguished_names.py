# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE: for this collection only; may change in any release.
"""Distinguished names: taken apart, compared, and shown (RFC 4514). DNs in LDAP URLs (RFC 4516)."""

from __future__ import annotations

import re
from urllib.parse import unquote

from .._names import UNICODE, composed, without_case
from .values import OID, PAIR, SHORT_NAME, always, refuse_surrogates, shown

_TYPE = re.compile(r" *(%s|%s) *= *" % (SHORT_NAME, OID))
_HEX_VALUE = re.compile(r"#((?:[0-9A-Fa-f]{2})+) *")
_STRING_VALUE = re.compile(r'(?:[^\\,+";<>\0]|\\(?:[ "#+,;<=>\\]|[0-9A-Fa-f]{2}))*')

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
    refuse_surrogates(text)
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
    match = always(_STRING_VALUE.match(text, at))
    written = match.group()
    stripped = written.rstrip(" ")
    if len(stripped) < len(written) and (len(stripped) - len(stripped.rstrip("\\"))) % 2:
        stripped += " "  # the space was escaped
    if "\\" not in stripped:
        return stripped, match.end()
    octets = PAIR.sub(
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


def _dn_error(text: str, at: int, why: str) -> ValueError:
    return ValueError("'%s' is not a distinguished name: %s, at character %d" % (text, why, at + 1))


def _why_no_type(text: str, at: int) -> str:
    part = always(re.match(r"[^,+]*", text[at:])).group().strip()
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
_PLAIN_DN = re.compile(r"{0}={1}(?:,{0}={1})*".format(SHORT_NAME, _PLAIN_VALUE))
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
    return ",%s," % normal_context in "," + normal or bool(re.search(r" %s=" % SHORT_NAME, normal))


_FIRST_RDN = re.compile(r"(?:[^\\,]|\\.)*", re.DOTALL)
_FIRST_RDN_BYTES = re.compile(rb"(?:[^\\,]|\\.)*", re.DOTALL)


def dn_parent(text: str) -> str:
    """The DN without its first RDN, as it is written; '' when there is no more."""
    if "\\" not in text:
        return text.partition(",")[2].lstrip(" ")
    return text[always(_FIRST_RDN.match(text)).end() + 1 :].lstrip(" ")


def normal_parent(normal: str) -> str:
    """The parent of a DN in normal form, where every comma separates; empty if there is none."""
    return normal.partition(",")[2]


def fast_parent(dn: bytes) -> bytes:
    """`dn_parent` of a DN as a server wrote it."""
    if b"\\" not in dn:
        return dn[dn.find(b",") + 1 :] if b"," in dn else b""
    return dn[always(_FIRST_RDN_BYTES.match(dn)).end() + 1 :]


def rdn_value(text: str) -> str:
    """The unescaped value of the first RDN, to be shown as a name."""
    rdns = parse_dn(always(_FIRST_RDN.match(text)).group())
    if not rdns:
        return ""
    value = rdns[0][0][1]
    return value if isinstance(value, str) else "#" + value.hex()


def dn_text(raw: bytes) -> str:
    """The text of a DN that a server sent; strictly UTF-8, since a guess would name somebody else."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("the directory sent a distinguished name that is not UTF-8: %s" % shown(raw)) from None


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
