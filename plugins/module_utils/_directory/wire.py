# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE: for this collection only; may change in any release.
"""The hot path: search requests to bytes, and bytes on a bound connection's socket to entries.

LDAP messages (RFC 4511) in BER with definite lengths. ldap3 builds a tuple per BER element and decodes each value
twice; walking an entry with integer offsets and slicing raw values costs a tenth of that. Bytes that are not LDAP
raise ProtocolError and nothing else.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .._errors import SynchronizationError, quoted
from .filter_text import Tree, parse_filter

Entry = tuple[bytes, dict[str, list[bytes]], bytes]

SCOPES = {"base": 0, "one": 1, "sub": 2}
PAGED_RESULTS = "1.2.840.113556.1.4.319"  # RFC 2696

# A message may be large, since a list of a million members is one value after the other in one message. But few bytes
# can be many values or parts, of which each takes some fifty bytes of memory, and ten times that of a short one.
_LARGEST_MESSAGE = 256 * 1024 * 1024
MOST_VALUES = 5_000_000  # of one attribute, in one message
MOST_PARTS = 100_000  # of a message, or of a part of it, that is no entry
MOST_NAMES = 10_000  # of attributes, in all entries of a session
_RECEIVE = 64 * 1024
_RECEIVE_AT_MOST = 1024 * 1024

# Tags of RFC 4511, 4.
ENTRY, DONE, REFERENCE, INTERMEDIATE = 0x64, 0x65, 0x73, 0x79
_INTEGER, _OCTETS, _ENUMERATED, _SEQUENCE, _SET, _CONTROLS = 0x02, 0x04, 0x0A, 0x30, 0x31, 0xA0
_ENTRY, _DONE, _REFERENCE, _EXTENDED, _INTERMEDIATE = ENTRY, DONE, REFERENCE, 0x78, INTERMEDIATE

# RFC 4511, 4.1.9
_RESULT_NAMES = {
    0: "success",
    1: "operationsError",
    2: "protocolError",
    3: "timeLimitExceeded",
    4: "sizeLimitExceeded",
    7: "authMethodNotSupported",
    8: "strongerAuthRequired",
    10: "referral",
    11: "adminLimitExceeded",
    12: "unavailableCriticalExtension",
    13: "confidentialityRequired",
    14: "saslBindInProgress",
    16: "noSuchAttribute",
    18: "inappropriateMatching",
    21: "invalidAttributeSyntax",
    32: "noSuchObject",
    34: "invalidDNSyntax",
    48: "inappropriateAuthentication",
    49: "invalidCredentials",
    50: "insufficientAccessRights",
    51: "busy",
    52: "unavailable",
    53: "unwillingToPerform",
    80: "other",
}


class ReadError(SynchronizationError):
    """What was read is not complete, whatever has come so far."""


class ServerLost(ReadError):
    """The server went away while it was read, or cannot go on now: reading may begin anew with another one."""


class ProtocolError(ReadError):
    """The server sent bytes that are not LDAP, or not an answer to what was asked."""


@dataclass(frozen=True)
class Result:
    """An LDAPResult (RFC 4511, 4.1.9) with the controls of its message."""

    code: int
    matched_dn: str
    message: str
    referrals: list[str]
    controls: dict[str, bytes]

    def __str__(self) -> str:
        name = _RESULT_NAMES.get(self.code, "result")
        return "%s (%d)%s" % (name, self.code, ": " + self.message if self.message else "")


# --- requests -------------------------------------------------------------------------------------------------------


def _element(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 128 + len(length))) + length + content


def _integer(value: int, tag: int = _INTEGER) -> bytes:
    return _element(tag, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _string(value: str | bytes, tag: int = _OCTETS) -> bytes:
    return _element(tag, value.encode("utf-8") if isinstance(value, str) else value)


_TRUE, _FALSE = b"\x01\x01\xff", b"\x01\x01\x00"
_ASSERTIONS = {"=": 0xA3, ">=": 0xA5, "<=": 0xA6, "~=": 0xA8}


def encode_filter(tree: Tree) -> bytes:
    """The Filter of RFC 4511, 4.5.1.7 from what `parse_filter` gives."""
    kind = tree[0]
    if kind in ("&", "|"):
        return _element(0xA0 if kind == "&" else 0xA1, *[encode_filter(each) for each in tree[1]])
    if kind == "!":
        return _element(0xA2, encode_filter(tree[1]))
    if kind == "=*":
        return _string(tree[1], 0x87)
    if kind == "*":
        _kind, attribute, initial, anywhere, final = tree
        parts = [_string(initial, 0x80)] if initial else []
        parts += [_string(part, 0x81) for part in anywhere]
        parts += [_string(final, 0x82)] if final else []
        return _element(0xA4, _string(attribute), _element(_SEQUENCE, *parts))
    if kind == ":=":
        _kind, rule, attribute, value, dn_attributes = tree
        return _element(
            0xA9,
            _string(rule, 0x81) if rule else b"",
            _string(attribute, 0x82) if attribute else b"",
            _string(value, 0x83),
            _element(0x84, b"\xff") if dn_attributes else b"",
        )
    return _element(_ASSERTIONS[kind], _string(tree[1]), _string(tree[2]))


def search_operation(base: str, scope: str, filter_text: str, attributes: Sequence[str], at_most: int = 0) -> bytes:
    """A SearchRequest (RFC 4511, 4.5.1): aliases never dereferenced, values wanted.

    :param at_most: how many entries to ask for; 0 asks for no limit.
    """
    return _element(
        0x63,
        _string(base),
        _integer(SCOPES[scope], _ENUMERATED),
        _integer(0, _ENUMERATED),
        _integer(at_most),
        _integer(0),
        _FALSE,
        encode_filter(parse_filter(filter_text)),
        _element(_SEQUENCE, *[_string(name) for name in attributes]),
    )


def paged_control(size: int, cookie: bytes) -> bytes:
    """A critical paged results control (RFC 2696, 2)."""
    return _element(
        _SEQUENCE, _string(PAGED_RESULTS), _TRUE, _string(_element(_SEQUENCE, _integer(size), _string(cookie)))
    )


def paged_cookie(value: bytes) -> bytes:
    """The cookie in a server's paged results control."""
    try:
        ((tag, start, end),) = _elements(value, 0, len(value))
        (_tag, _start, _end), (cookie_tag, cookie_start, cookie_end) = _elements(value, start, end)
    except ValueError:
        raise ProtocolError("server: it sent a paged results control that cannot be read") from None
    if tag != _SEQUENCE or cookie_tag != _OCTETS:
        raise ProtocolError("server: it sent a paged results control that cannot be read")
    return value[cookie_start:cookie_end]


# RFC 4533, 2: the controls and the message of content synchronization.
SYNC_REQUEST, SYNC_STATE, SYNC_DONE, SYNC_INFO = ("1.3.6.1.4.1.4203.1.9.1.%d" % number for number in (1, 2, 3, 4))
SHOW_DELETED = "1.2.840.113556.1.4.417"  # MS-ADTS 3.1.1.3.4.1.14
SHOW_RECYCLED = "1.2.840.113556.1.4.2064"  # also what is recycled, MS-ADTS 3.1.1.3.4.1.26
DIR_SYNC = "1.2.840.113556.1.4.841"  # MS-ADTS 3.1.1.3.4.1.3
_REFRESH_ONLY = 1
# LDAP_DIRSYNC_OBJECT_SECURITY: what the account may read, and no special right. LDAP_DIRSYNC_INCREMENTAL_VALUES: of a
# list only what came to it and left. Together they fit into four bytes, as Active Directory wants them.
_DIR_SYNC_FLAGS = 0x1 - 0x80000000
_BOOLEAN = 0x01


def control(oid: str, value: bytes | None = None) -> bytes:
    """A critical control (RFC 4511, 4.1.11)."""
    return _element(_SEQUENCE, _string(oid), _TRUE, b"" if value is None else _string(value))


def sync_control(cookie: bytes) -> bytes:
    """A critical sync request control (RFC 4533, 2.2) for what changed since the cookie, and no more."""
    return control(SYNC_REQUEST, _element(_SEQUENCE, _integer(_REFRESH_ONLY, _ENUMERATED), _string(cookie)))


def dir_sync_control(cookie: bytes) -> bytes:
    """A critical DirSync control for what changed since the cookie; an empty one is the beginning of time."""
    return control(
        DIR_SYNC, _element(_SEQUENCE, _integer(_DIR_SYNC_FLAGS), _integer(_RECEIVE_AT_MOST), _string(cookie))
    )


def dir_sync_answer(value: bytes) -> tuple[bool, bytes]:
    """(whether there is more, cookie) in a server's DirSync control."""
    ((tag, start, end),) = _only(value)
    parts = _elements(value, start, end)
    if tag != _SEQUENCE or [part[0] for part in parts] != [_INTEGER, _INTEGER, _OCTETS]:
        raise ProtocolError("server: it sent a DirSync control that cannot be read")
    return any(value[parts[0][1] : parts[0][2]]), value[parts[2][1] : parts[2][2]]


def sync_state(value: bytes) -> tuple[int, bytes]:
    """(state, entryUUID) of a sync state control (RFC 4533, 2.3); state 3 is "delete"."""
    ((tag, start, end),) = _only(value)
    parts = _elements(value, start, end)
    if tag != _SEQUENCE or [part[0] for part in parts[:2]] != [_ENUMERATED, _OCTETS]:
        raise ProtocolError("server: it sent a sync state control that cannot be read")
    return int.from_bytes(value[parts[0][1] : parts[0][2]], "big"), value[parts[1][1] : parts[1][2]]


def sync_done(value: bytes) -> tuple[bytes, bool]:
    """(cookie, refreshDeletes) of a sync done control (RFC 4533, 2.4): both may be left out, so told by their tags."""
    ((tag, start, end),) = _only(value)
    if tag != _SEQUENCE:
        raise ProtocolError("server: it sent a sync done control that cannot be read")
    return _cookie_and_flag(value, start, end, False)


def sync_info(operation: bytes) -> tuple[str, bool, list[bytes]]:
    """What an intermediate response says of a synchronization (RFC 4533, 2.5): (kind, its flag, UUIDs).

    The kind is 'cookie', 'delete' or 'present' (the end of a phase; the flag tells whether the refresh is done), or
    'ids' (the flag tells that they are deleted ones); '' for a message about something else.
    """
    ((_tag, start, end),) = _only(operation)
    name = value = b""
    for tag, first, last in _elements(operation, start, end):
        if tag == 0x80:
            name = operation[first:last]
        elif tag == 0x81:
            value = operation[first:last]
    if name != SYNC_INFO.encode("ascii"):
        return "", False, []
    ((tag, start, end),) = _only(value)
    kind = {0x80: "cookie", 0xA1: "delete", 0xA2: "present", 0xA3: "ids"}.get(tag)
    if kind is None:
        raise ProtocolError("server: it sent a sync info message that cannot be read")
    if kind == "cookie":
        return kind, False, []
    _cookie, flag = _cookie_and_flag(value, start, end, kind != "ids")
    sets = [part for part in _elements(value, start, end) if part[0] == _SET]
    return (
        kind,
        flag,
        [value[first:last] for _set, at, stop in sets for _tag, first, last in _elements(value, at, stop)],
    )


def _only(data: bytes) -> list[tuple[int, int, int]]:
    elements = _elements(data, 0, len(data))
    if len(elements) != 1:
        raise ProtocolError(_NOT_BER)
    return elements


def _cookie_and_flag(data: bytes, at: int, end: int, flag: bool) -> tuple[bytes, bool]:
    cookie = b""
    for tag, first, last in _elements(data, at, end):
        if tag == _OCTETS:
            cookie = data[first:last]
        elif tag == _BOOLEAN:
            flag = any(data[first:last])
    return cookie, flag


# --- answers --------------------------------------------------------------------------------------------------------

_TRY = "run again, or name another server"
_NOT_BER = "server: it sent an LDAP message that cannot be read: " + _TRY


def _long_length(data: bytes, at: int, first: int) -> tuple[int, int]:
    """The length whose first byte is above 127, and where the content begins."""
    if first == 128:
        raise ProtocolError("server: it sent an LDAP message of indefinite length, which RFC 4511, 5.1 forbids")
    content = at + first - 128
    return int.from_bytes(data[at:content], "big"), content


def _elements(data: bytes, at: int, end: int) -> list[tuple[int, int, int]]:
    """(tag, start, end) of the contents of the BER elements that fill data[at:end]."""
    found = []
    while at < end:
        if at + 2 > end:
            raise ProtocolError(_NOT_BER)
        tag, size = data[at], data[at + 1]
        at += 2
        if size > 127:
            size, at = _long_length(data, at, size)
        if at + size > end:
            raise ProtocolError(_NOT_BER)
        found.append((tag, at, at + size))
        if len(found) > MOST_PARTS:
            raise ProtocolError("server: it sent an LDAP message of more than %d parts: %s" % (MOST_PARTS, _TRY))
        at += size
    return found


_COMMON_NAME = b"\x55\x04\x03"  # 2.5.4.3


def issuer_name(der: bytes) -> str:
    """The common name of who issued a certificate in DER (RFC 5280, 4.1), or else all that its name has; '' if nothing.

    It is for a message: what is no certificate has none.
    """
    try:
        ((_tag, at, end),) = _elements(der, 0, len(der))
        _tag, at, end = _elements(der, at, end)[0]
        _serial, _algorithm, issuer = [each for each in _elements(der, at, end) if each[0] != 0xA0][:3]
        found = []
        for _set, at, end in _elements(der, *issuer[1:]):
            for _pair, first, last in _elements(der, at, end):
                (_kind, *kind), (_type, *value) = _elements(der, first, last)
                found.append((der[slice(*kind)], der[slice(*value)].decode("utf-8", "replace")))
    except (ProtocolError, ValueError, IndexError):
        return ""
    return ", ".join([text for kind, text in found if kind == _COMMON_NAME] or [text for _kind, text in found])


def decode_entry(raw: bytes, names: dict[bytes, str], without: frozenset[bytes] = frozenset()) -> Entry:
    """(DN, values by attribute name in lower case with its options, raw) of a SearchResultEntry.

    :param raw: the protocolOp with its tag and length. It comes back so that a digest can be made of it.
    :param names: a cache, filled here, of attribute names as the server writes them.
    :param without: headers (see `attribute_header`) of attributes whose values, if there are many, are passed over.

    No offset is checked by itself: offsets only grow, every inner end must meet its outer end exactly, and what runs
    over the last byte raises IndexError. A tag that is not the expected one ends the walk.

    It runs for every value of every entry, therefore the steps are written out instead of called.
    """
    try:
        size, at = raw[1], 2
        if size > 127:
            size, at = _long_length(raw, at, size)
        end = at + size
        if raw[0] != 0x64 or end != len(raw) or raw[at] != 0x04:
            raise ProtocolError(_NOT_BER)
        size = raw[at + 1]
        at += 2
        if size > 127:
            size, at = _long_length(raw, at, size)
        dn = raw[at : at + size]
        at += size
        if raw[at] != 0x30:
            raise ProtocolError(_NOT_BER)
        size = raw[at + 1]
        at += 2
        if size > 127:
            size, at = _long_length(raw, at, size)
        if at + size != end:
            raise ProtocolError(_NOT_BER)
        attributes: dict[str, list[bytes]] = {}
        while at < end:
            if raw[at] != 0x30:
                raise ProtocolError(_NOT_BER)
            # Nearly all attributes have one short value, and a name that has come before, with the tags around it.
            size = raw[at + 1]
            place = at + 4 + raw[at + 3]
            key = names.get(raw[at + 2 : place + 1])
            if key is not None and size < 128:
                stop, start = at + 2 + size, place + 4
                if (
                    start <= stop
                    and start + raw[start - 1] == stop
                    and raw[start - 2] == 0x04
                    and raw[start - 3] == stop - start + 2
                    and key not in attributes
                ):
                    attributes[key] = [raw[start:stop]]
                    at = stop
                    continue
            at = _decode_attribute(raw, at, names, attributes, without)
        if at != end:
            raise ProtocolError(_NOT_BER)
    except IndexError:
        raise ProtocolError(_NOT_BER) from None
    return dn, attributes, raw


def _decode_attribute(
    raw: bytes, at: int, names: dict[bytes, str], attributes: dict[str, list[bytes]], without: frozenset[bytes]
) -> int:
    """Add the PartialAttribute at `at` to the attributes, whatever it looks like; return where it ends."""
    size = raw[at + 1]
    at += 2
    if size > 127:
        size, at = _long_length(raw, at, size)
    stop = at + size
    start = at
    if raw[at] != 0x04:
        raise ProtocolError(_NOT_BER)
    size = raw[at + 1]
    at += 2
    if size > 127:
        size, at = _long_length(raw, at, size)
    name = raw[at : at + size]
    at += size
    if raw[at] != 0x31:
        raise ProtocolError(_NOT_BER)
    header = raw[start : at + 1]
    size = raw[at + 1]
    at += 2
    if size > 127:
        size, at = _long_length(raw, at, size)
    if at + size != stop:
        raise ProtocolError(_NOT_BER)
    if header in without:
        return stop
    if stop - at > 2 * MOST_VALUES:
        _refuse_too_many(raw, at, stop)
    values: list[bytes] = []
    take = values.append
    while at < stop:
        if raw[at] != 0x04:
            raise ProtocolError(_NOT_BER)
        size = raw[at + 1]
        at += 2
        if size > 127:
            size, at = _long_length(raw, at, size)
        start = at
        at += size
        take(raw[start:at])
    if at != stop:
        raise ProtocolError(_NOT_BER)
    key = names.get(header) or _learn_name(name, header, names)
    if key in attributes:
        attributes[key] += values
    else:
        attributes[key] = values
    return at


def _refuse_too_many(raw: bytes, at: int, stop: int) -> None:
    """Count the values, before there is an object for each."""
    count = 0
    while at < stop:
        size = raw[at + 1]
        at += 2
        if size > 127:
            size, at = _long_length(raw, at, size)
        at += size
        count += 1
        if count > MOST_VALUES:
            raise ProtocolError(
                "server: it sent an attribute with more than %d values in one message: %s" % (MOST_VALUES, _TRY)
            )


def entry_dn(raw: bytes) -> bytes:
    """The DN of a SearchResultEntry, of which nothing else is looked at."""
    try:
        size, at = raw[1], 2
        if size > 127:
            size, at = _long_length(raw, at, size)
        size = raw[at + 1]
        at += 2
        if size > 127:
            size, at = _long_length(raw, at, size)
    except IndexError:
        raise ProtocolError(_NOT_BER) from None
    return raw[at : at + size]


def attribute_header(name: str) -> bytes:
    """What stands before the values of an attribute that the server calls by this name."""
    return _string(name) + b"\x31"


def find_values(raw: bytes, header: bytes) -> list[bytes] | None:
    """The values behind the first place in an entry that looks like `attribute_header`; None without one.

    A text in the entry may look like that, too. So this is only for bytes of which it is known that it finds in them
    what `decode_entry` does.
    """
    at = raw.find(header)
    if at < 0:
        return None
    at += len(header)
    size = raw[at]
    at += 1
    if size > 127:
        size, at = _long_length(raw, at, size)
    stop = at + size
    values = []
    while at < stop:
        size = raw[at + 1]
        at += 2
        if size > 127:
            size, at = _long_length(raw, at, size)
        values.append(raw[at : at + size])
        at += size
    return values


def _learn_name(name: bytes, header: bytes, names: dict[bytes, str]) -> str:
    try:
        key = name.decode("ascii").lower()
    except UnicodeDecodeError:
        raise ProtocolError("server: it sent an attribute name that is not ASCII") from None
    if len(names) < MOST_NAMES:
        names[header] = key
    elif ";" not in key:  # options anybody may make up who writes his own entry, such as `mail;lang-x-1`
        raise ProtocolError("server: it sent attributes by more than %d names: %s" % (MOST_NAMES, _TRY))
    return key


_LONGEST_TEXT = 8000  # bytes of a diagnostic message that are looked at: more is not quoted


def decode_result(data: bytes, at: int, end: int, controls: dict[str, bytes]) -> Result:
    """The LDAPResult that fills data[at:end]; what may follow it in the operation is left alone."""
    elements = _elements(data, at, end)
    if [tag for tag, _start, _end in elements[:3]] != [_ENUMERATED, _OCTETS, _OCTETS]:
        raise ProtocolError(_NOT_BER)
    code, matched, message = (data[start:stop] for _tag, start, stop in elements[:3])
    if not 1 <= len(code) <= 8:
        raise ProtocolError(_NOT_BER)
    referrals = [url for tag, start, stop in elements[3:] if tag == 0xA3 for url in _strings(data, start, stop)]
    # AD ends its message with a NUL.
    return Result(
        int.from_bytes(code, "big", signed=True),
        matched.decode("utf-8", "replace"),
        quoted(message[:_LONGEST_TEXT].decode("utf-8", "replace").strip("\0 \r\n")),
        referrals,
        controls,
    )


def decode_done(operation: bytes, controls: dict[str, bytes]) -> Result:
    """The result in a SearchResultDone, as `Channel.answers` gives it."""
    ((_tag, start, end),) = _only(operation)
    return decode_result(operation, start, end, controls)


def _strings(data: bytes, at: int, end: int) -> list[str]:
    return [data[start:stop].decode("utf-8", "replace") for _tag, start, stop in _elements(data, at, end)]


def _decode_controls(data: bytes, at: int, end: int) -> dict[str, bytes]:
    """Values by OID of the controls of a message (RFC 4511, 4.1.11)."""
    controls = {}
    for tag, start, stop in _elements(data, at, end):
        parts = _elements(data, start, stop) if tag == _SEQUENCE else []
        if not parts or parts[0][0] != _OCTETS:
            raise ProtocolError(_NOT_BER)
        oid = data[parts[0][1] : parts[0][2]].decode("ascii", "replace")
        controls[oid] = b"".join(data[part[1] : part[2]] for part in parts[1:] if part[0] == _OCTETS)
    return controls


class Page(NamedTuple):
    """What came between a search request and its SearchResultDone, or a part of it."""

    entries: list[bytes]
    references: list[str]
    result: Result | None  # None: there is more to come


class Channel:
    """LDAP messages over a bound connection's socket, one search at a time.

    :param timeout: seconds in which the next 64 KiB must come, or what is missing of a message if that is less.
    :param largest: bytes that one message may have.
    """

    def __init__(self, connected: socket.socket, timeout: float, largest: int = _LARGEST_MESSAGE) -> None:
        self._deadline: float | None = None
        self._socket, self._timeout, self._largest = connected, timeout, largest
        self._data, self._at = b"", 0
        self._last_id = 99  # the bind has used low ones
        connected.settimeout(timeout)

    def set_deadline(self, deadline: float | None) -> None:
        """Until when, by time.monotonic, reading may go on; None is for ever."""
        self._deadline = deadline

    def ask(self, operation: bytes, *controls: bytes) -> int:
        """Send a request; its message id."""
        self._last_id += 1
        message = _element(
            _SEQUENCE, _integer(self._last_id), operation, _element(_CONTROLS, *controls) if controls else b""
        )
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(message)
        except OSError as error:
            raise ServerLost("server: the connection broke while a search was sent (%s): run again" % error) from None
        return self._last_id

    def page(self, message_id: int, at_most: int = _LARGEST_MESSAGE) -> Page:
        """Read up to the SearchResultDone of a search; entries stay encoded.

        :param at_most: bytes after which it returns what has come so far, without a result; call it again for the rest.
        """
        entries: list[bytes] = []
        references: list[str] = []
        expected = _integer(message_id)
        room = at_most
        while room > 0:
            data, at, end = self._message()
            room -= end - at
            operation = at + len(expected)
            if not data.startswith(expected, at):
                self._refuse_message(data, at, end)
            try:
                tag, size, start = data[operation], data[operation + 1], operation + 2
            except IndexError:
                raise ProtocolError(_NOT_BER) from None
            if size > 127:
                size, start = _long_length(data, start, size)
            stop = start + size
            if stop > end:
                raise ProtocolError(_NOT_BER)
            if tag == _ENTRY:
                entries.append(data[operation:stop])
            elif tag == _DONE:
                controls = {}
                for control_tag, first, last in _elements(data, stop, end):
                    if control_tag == _CONTROLS:
                        controls = _decode_controls(data, first, last)
                return Page(entries, references, decode_result(data, start, stop, controls))
            elif tag == _REFERENCE:
                references += _strings(data, start, stop)
            elif tag != _INTERMEDIATE:  # RFC 4511, 4.13: an intermediate one not asked for is ignored
                raise ProtocolError("server: it answered a search with an operation that is no answer to it")
        return Page(entries, references, None)

    def answers(self, message_id: int) -> Iterator[tuple[int, bytes, dict[str, bytes]]]:
        """(tag, operation, controls) of each answer to a search up to its SearchResultDone, which is the last.

        For answers whose controls matter, entry by entry; `page` is the fast way.
        """
        expected = _integer(message_id)
        tag = 0
        while tag != _DONE:
            data, at, end = self._message()
            if not data.startswith(expected, at):
                self._refuse_message(data, at, end)
            elements = _elements(data, at + len(expected), end)
            if not elements:
                raise ProtocolError(_NOT_BER)
            tag, _start, stop = elements[0]
            if tag not in (_ENTRY, _DONE, _REFERENCE, _INTERMEDIATE):
                raise ProtocolError("server: it answered a search with an operation that is no answer to it")
            controls: dict[str, bytes] = {}
            for control_tag, first, last in elements[1:]:
                if control_tag == _CONTROLS:
                    controls = _decode_controls(data, first, last)
            yield tag, data[at + len(expected) : stop], controls

    def _refuse_message(self, data: bytes, at: int, end: int) -> None:
        """Say why a message that does not carry the id of the search ends the read."""
        elements = _elements(data, at, end)
        if len(elements) < 2 or elements[0][0] != _INTEGER:
            raise ProtocolError(_NOT_BER)
        message_id = int.from_bytes(data[elements[0][1] : elements[0][2]][:8], "big", signed=True)
        tag, start, stop = elements[1]
        if message_id == 0 and tag == _EXTENDED:  # RFC 4511, 4.4.1: Notice of Disconnection
            raise ServerLost("server: it ended the connection (%s): run again" % decode_result(data, start, stop, {}))
        raise ProtocolError("server: it answered a request (message id %d) that is not outstanding" % message_id)

    def _message(self) -> tuple[bytes, int, int]:
        """(data, start, end) of the next message's content, received in full."""
        data, at = self._data, self._at
        while True:
            have = len(data) - at
            need = 2
            if have >= 2:
                if data[at] != _SEQUENCE:
                    raise ProtocolError("server: it sent something that is not LDAP")
                size, start = data[at + 1], at + 2
                if size > 127:
                    need = size - 126
                    size, start = _long_length(data, start, size)
                if have >= need:
                    if size > self._largest:
                        raise ProtocolError(
                            "server: it sent an LDAP message of %d bytes, and at most %d are accepted: %s"
                            % (size, self._largest, _TRY)
                        )
                    end = start + size
                    need = end - at
                    if have >= need:
                        # What is used up is let go of: it may be a quarter of a gigabyte.
                        self._data, self._at = (data, end) if end < len(data) else (b"", 0)
                        return data, start, end
            data, at = self._receive(need)

    def _receive(self, need: int) -> tuple[bytes, int]:
        """Receive until `need` bytes are there; what is used up is dropped. Joined once, so cost stays linear."""
        parts = [self._data[self._at :]]
        have = enough = len(parts[0])
        while have < need:
            if have >= enough:
                due, began, enough = time.monotonic() + self._timeout, have, min(need, have + _RECEIVE)
            parts.append(self._receive_part(min(max(need - have, _RECEIVE), _RECEIVE_AT_MOST), due, have > began))
            have += len(parts[-1])
        self._data, self._at = b"".join(parts), 0
        return self._data, self._at

    def _receive_part(self, size: int, due: float, trickles: bool) -> bytes:
        left = (due if self._deadline is None else min(due, self._deadline)) - time.monotonic()
        try:
            if left <= 0:
                raise socket.timeout
            self._socket.settimeout(left)
            part = self._socket.recv(size)
        except socket.timeout:
            if self._deadline is not None:
                raise ServerLost("timeout: the server did not answer in full in time: raise it") from None
            raise ServerLost(
                "timeout: the server sent %s for %g seconds: raise it, if the server needs longer"
                % ("next to nothing" if trickles else "nothing", self._timeout)
            ) from None
        except OSError as error:
            raise ServerLost("server: the connection broke while it was read (%s): run again" % error) from None
        if not part:
            raise ServerLost("server: it closed the connection before its answer was complete: run again")
        return part
