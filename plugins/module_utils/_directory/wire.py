# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE: for this collection only; may change in any release.
"""The hot path: bytes on a bound connection's socket to entries. What is asked is made into bytes in `requests.py`.

LDAP messages (RFC 4511) are BER with definite lengths (`ber.py`). ldap3 builds a tuple per BER element and decodes
each value twice; walking an entry with integer offsets and slicing raw values costs a tenth of that. Bytes that are
not LDAP raise ProtocolError and nothing else.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

from .._errors import quoted
from .._named_tuple import NamedTuple
from .ber import (
    ENUMERATED,
    INTEGER,
    NOT_BER,
    OCTETS,
    SEQUENCE,
    TRY_AGAIN,
    ProtocolError,
    ServerLost,
    element,
    elements,
    encoded_integer,
    encoded_string,
    long_length,
    only_element,
)

Entry = tuple[bytes, dict[str, list[bytes]], bytes]

# A message may be large, since a list of a million members is one value after the other in one message. But few bytes
# can be many values or parts, of which each takes some fifty bytes of memory, and ten times that of a short one.
_LARGEST_MESSAGE = 256 * 1024 * 1024
MOST_VALUES = 5_000_000  # of one attribute, in one message
MOST_NAMES = 10_000  # of attributes, in all entries of a session
_RECEIVE = 64 * 1024
_RECEIVE_AT_MOST = 1024 * 1024

# Tags of RFC 4511, 4.
ENTRY, DONE, REFERENCE, INTERMEDIATE = 0x64, 0x65, 0x73, 0x79
_CONTROLS = 0xA0
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


class Result:
    """An LDAPResult (RFC 4511, 4.1.9) with the controls of its message."""

    def __init__(
        self, code: int, matched_dn: str, message: str, referrals: list[str], controls: dict[str, bytes]
    ) -> None:
        self.code, self.matched_dn, self.message = code, matched_dn, message
        self.referrals, self.controls = referrals, controls

    def __str__(self) -> str:
        name = _RESULT_NAMES.get(self.code, "result")
        return "%s (%d)%s" % (name, self.code, ": " + self.message if self.message else "")


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
            size, at = long_length(raw, at, size)
        end = at + size
        if raw[0] != 0x64 or end != len(raw) or raw[at] != 0x04:
            raise ProtocolError(NOT_BER)
        size = raw[at + 1]
        at += 2
        if size > 127:
            size, at = long_length(raw, at, size)
        dn = raw[at : at + size]
        at += size
        if raw[at] != 0x30:
            raise ProtocolError(NOT_BER)
        size = raw[at + 1]
        at += 2
        if size > 127:
            size, at = long_length(raw, at, size)
        if at + size != end:
            raise ProtocolError(NOT_BER)
        attributes: dict[str, list[bytes]] = {}
        while at < end:
            if raw[at] != 0x30:
                raise ProtocolError(NOT_BER)
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
            raise ProtocolError(NOT_BER)
    except IndexError:
        raise ProtocolError(NOT_BER) from None
    return dn, attributes, raw


def _decode_attribute(
    raw: bytes, at: int, names: dict[bytes, str], attributes: dict[str, list[bytes]], without: frozenset[bytes]
) -> int:
    """Add the PartialAttribute at `at` to the attributes, whatever it looks like; return where it ends."""
    size = raw[at + 1]
    at += 2
    if size > 127:
        size, at = long_length(raw, at, size)
    stop = at + size
    start = at
    if raw[at] != 0x04:
        raise ProtocolError(NOT_BER)
    size = raw[at + 1]
    at += 2
    if size > 127:
        size, at = long_length(raw, at, size)
    name = raw[at : at + size]
    at += size
    if raw[at] != 0x31:
        raise ProtocolError(NOT_BER)
    header = raw[start : at + 1]
    size = raw[at + 1]
    at += 2
    if size > 127:
        size, at = long_length(raw, at, size)
    if at + size != stop:
        raise ProtocolError(NOT_BER)
    if header in without:
        return stop
    if stop - at > 2 * MOST_VALUES:
        _refuse_too_many(raw, at, stop)
    values: list[bytes] = []
    take = values.append
    while at < stop:
        if raw[at] != 0x04:
            raise ProtocolError(NOT_BER)
        size = raw[at + 1]
        at += 2
        if size > 127:
            size, at = long_length(raw, at, size)
        start = at
        at += size
        take(raw[start:at])
    if at != stop:
        raise ProtocolError(NOT_BER)
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
            size, at = long_length(raw, at, size)
        at += size
        count += 1
        if count > MOST_VALUES:
            raise ProtocolError(
                "server: it sent an attribute with more than %d values in one message: %s" % (MOST_VALUES, TRY_AGAIN)
            )


def entry_dn(raw: bytes) -> bytes:
    """The DN of a SearchResultEntry, of which nothing else is looked at."""
    try:
        size, at = raw[1], 2
        if size > 127:
            size, at = long_length(raw, at, size)
        size = raw[at + 1]
        at += 2
        if size > 127:
            size, at = long_length(raw, at, size)
    except IndexError:
        raise ProtocolError(NOT_BER) from None
    return raw[at : at + size]


def attribute_header(name: str) -> bytes:
    """What stands before the values of an attribute that the server calls by this name."""
    return encoded_string(name) + b"\x31"


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
        size, at = long_length(raw, at, size)
    stop = at + size
    values = []
    while at < stop:
        size = raw[at + 1]
        at += 2
        if size > 127:
            size, at = long_length(raw, at, size)
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
        raise ProtocolError("server: it sent attributes by more than %d names: %s" % (MOST_NAMES, TRY_AGAIN))
    return key


_LONGEST_TEXT = 8000  # bytes of a diagnostic message that are looked at: more is not quoted


def decode_result(data: bytes, at: int, end: int, controls: dict[str, bytes]) -> Result:
    """The LDAPResult that fills data[at:end]; what may follow it in the operation is left alone."""
    found = elements(data, at, end)
    if [tag for tag, _start, _end in found[:3]] != [ENUMERATED, OCTETS, OCTETS]:
        raise ProtocolError(NOT_BER)
    code, matched, message = (data[start:stop] for _tag, start, stop in found[:3])
    if not 1 <= len(code) <= 8:
        raise ProtocolError(NOT_BER)
    referrals = [url for tag, start, stop in found[3:] if tag == 0xA3 for url in _strings(data, start, stop)]
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
    _tag, start, end = only_element(operation)
    return decode_result(operation, start, end, controls)


def _strings(data: bytes, at: int, end: int) -> list[str]:
    return [data[start:stop].decode("utf-8", "replace") for _tag, start, stop in elements(data, at, end)]


def _decode_controls(data: bytes, at: int, end: int) -> dict[str, bytes]:
    """Values by OID of the controls of a message (RFC 4511, 4.1.11)."""
    controls = {}
    for tag, start, stop in elements(data, at, end):
        parts = elements(data, start, stop) if tag == SEQUENCE else []
        if not parts or parts[0][0] != OCTETS:
            raise ProtocolError(NOT_BER)
        oid = data[parts[0][1] : parts[0][2]].decode("ascii", "replace")
        controls[oid] = b"".join(data[part[1] : part[2]] for part in parts[1:] if part[0] == OCTETS)
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
        message = element(
            SEQUENCE, encoded_integer(self._last_id), operation, element(_CONTROLS, *controls) if controls else b""
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
        expected = encoded_integer(message_id)
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
                raise ProtocolError(NOT_BER) from None
            if size > 127:
                size, start = long_length(data, start, size)
            stop = start + size
            if stop > end:
                raise ProtocolError(NOT_BER)
            if tag == _ENTRY:
                entries.append(data[operation:stop])
            elif tag == _DONE:
                controls = {}
                for control_tag, first, last in elements(data, stop, end):
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
        expected = encoded_integer(message_id)
        tag = 0
        while tag != _DONE:
            data, at, end = self._message()
            if not data.startswith(expected, at):
                self._refuse_message(data, at, end)
            found = elements(data, at + len(expected), end)
            if not found:
                raise ProtocolError(NOT_BER)
            tag, _start, stop = found[0]
            if tag not in (_ENTRY, _DONE, _REFERENCE, _INTERMEDIATE):
                raise ProtocolError("server: it answered a search with an operation that is no answer to it")
            controls: dict[str, bytes] = {}
            for control_tag, first, last in found[1:]:
                if control_tag == _CONTROLS:
                    controls = _decode_controls(data, first, last)
            yield tag, data[at + len(expected) : stop], controls

    def _refuse_message(self, data: bytes, at: int, end: int) -> None:
        """Say why a message that does not carry the id of the search ends the read."""
        found = elements(data, at, end)
        if len(found) < 2 or found[0][0] != INTEGER:
            raise ProtocolError(NOT_BER)
        message_id = int.from_bytes(data[found[0][1] : found[0][2]][:8], "big", signed=True)
        tag, start, stop = found[1]
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
                if data[at] != SEQUENCE:
                    raise ProtocolError("server: it sent something that is not LDAP")
                size, start = data[at + 1], at + 2
                if size > 127:
                    need = size - 126
                    size, start = long_length(data, start, size)
                if have >= need:
                    if size > self._largest:
                        raise ProtocolError(
                            "server: it sent an LDAP message of %d bytes, and at most %d are accepted: %s"
                            % (size, self._largest, TRY_AGAIN)
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
