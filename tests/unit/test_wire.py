# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decoder and encoder against pyasn1 with ldap3's ASN.1 of RFC 4511, and against bytes that are not LDAP."""

from __future__ import annotations

import io
import socket
import string as string_module
import time
from types import SimpleNamespace

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory import ber, filter_text, requests, wire
from hypothesis import given
from hypothesis import strategies as st
from ldap3.operation.search import compile_filter, parse_filter
from ldap3.protocol import rfc2696, rfc4511
from pyasn1.codec.ber import decoder, encoder
from support import prepared
from support.ber import element, sequence, set_of, string
from support.clock import Clock
from support.examples import examples

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUE = st.one_of(st.binary(max_size=20), st.binary(min_size=120, max_size=300))
# From a regular expression they would take three times as long.
NAME = st.builds(
    "{}{}{}".format,
    st.sampled_from(string_module.ascii_letters),
    st.text(string_module.ascii_letters + string_module.digits + "-", max_size=10),
    st.sampled_from(["", ";range=0-1499"]),
)
ATTRIBUTES = st.dictionaries(NAME.map(str.lower), st.lists(VALUE, max_size=4), max_size=5)


def entry_operation(dn, attributes):
    entry = rfc4511.SearchResultEntry()
    entry["object"] = dn
    listed = rfc4511.PartialAttributeList()
    for position, (name, its_values) in enumerate(attributes.items()):
        attribute = rfc4511.PartialAttribute()
        attribute["type"] = name.swapcase()
        vals = rfc4511.Vals()
        for place, value in enumerate(its_values):
            vals.setComponentByPosition(place, value)
        attribute["vals"] = vals
        listed.setComponentByPosition(position, attribute)
    entry["attributes"] = listed
    return rfc4511.ProtocolOp().setComponentByName("searchResEntry", entry)


def message(message_id, operation, cookie=None):
    whole = rfc4511.LDAPMessage()
    whole["messageID"] = message_id
    whole["protocolOp"] = operation
    if cookie is not None:
        value = rfc2696.RealSearchControlValue()
        value["size"], value["cookie"] = 0, cookie
        control = rfc4511.Control()
        control["controlType"], control["criticality"], control["controlValue"] = (
            requests.PAGED_RESULTS,
            False,
            encoder.encode(value),
        )
        controls = rfc4511.Controls()
        controls.setComponentByPosition(0, control)
        whole["controls"] = controls
    return encoder.encode(whole)


def done_operation(code=0, text="", referrals=(), matched=""):
    result = rfc4511.SearchResultDone()
    result["resultCode"], result["matchedDN"], result["diagnosticMessage"] = code, matched, text
    if referrals:
        urls = rfc4511.Referral()
        for position, url in enumerate(referrals):
            urls.setComponentByPosition(position, url)
        result["referral"] = urls
    return rfc4511.ProtocolOp().setComponentByName("searchResDone", result)


def as_microsoft_writes_it(data):
    """The same BER with each constructed length in four bytes, as AD does."""
    rewritten, at = b"", 0
    while at < len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size > 127:
            size, at = int.from_bytes(data[at : at + size - 128], "big"), at + size - 128
        content = data[at : at + size]
        at += size
        if tag & 0x20:
            content = as_microsoft_writes_it(content)
            rewritten += bytes([tag, 0x84]) + len(content).to_bytes(4, "big") + content
        else:
            rewritten += element(tag, content)
    return rewritten


class Pieces:
    """A socket that gives what it holds in pieces of one size, then ends."""

    def __init__(self, data, size=1 << 20):
        self.data, self.size, self.sent = data, size, b""

    def settimeout(self, seconds):
        pass

    def sendall(self, data):
        self.sent += data

    def recv(self, size):
        piece = self.data[: min(size, self.size)]
        self.data = self.data[len(piece) :]
        return piece


@given(TEXT, ATTRIBUTES)
def test_an_entry_is_decoded_as_it_was_encoded(dn, attributes):
    raw = encoder.encode(entry_operation(dn, attributes))
    names = {}
    for written in (raw, as_microsoft_writes_it(raw), raw):  # the last time by names that it has learned
        assert wire.decode_entry(written, names) == (dn.encode(), attributes, written)
        assert wire.entry_dn(written) == dn.encode()


@given(TEXT, ATTRIBUTES, st.data())
def test_long_attributes_can_be_passed_over_and_all_else_is_there(dn, attributes, data):
    raw = encoder.encode(entry_operation(dn, attributes))
    left_out = data.draw(st.sets(st.sampled_from(sorted(attributes)))) if attributes else set()
    names = {}
    for written in (raw, as_microsoft_writes_it(raw), raw):
        found = wire.decode_entry(written, names, frozenset(map(wire.attribute_header, left_out)))[1]
        for name in attributes:
            assert found.get(name) == attributes[name] or name in left_out and name not in found
        assert found.keys() <= attributes.keys()


def test_an_attribute_that_comes_twice_loses_nothing():
    part = sequence(string("cn"), set_of(string("a")))
    other = sequence(string("CN"), set_of(string("b")))
    raw = element(0x64, string("cn=a"), sequence(part, other))
    names = {}
    assert wire.decode_entry(raw, names)[1] == wire.decode_entry(raw, names)[1] == {"cn": [b"a", b"b"]}


def test_values_are_found_behind_the_header_of_their_attribute():
    many = [b"%03d" % number for number in range(60)]
    raw = encoder.encode(entry_operation("cn=a", {"cn": [b"a"], "uid": [b"b", b"c" * 200], "n": many, "none": []}))
    for written in (raw, as_microsoft_writes_it(raw)):
        found = wire.decode_entry(written, {})[1]
        for name in ("CN", "UID", "N", "NONE"):  # as the entry spells them
            assert wire.find_values(written, wire.attribute_header(name)) == found[name.lower()]
        assert wire.find_values(written, wire.attribute_header("cn")) is None


@pytest.mark.parametrize("at", [0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 16, 17, 18, 19, 21, 22])
def test_an_entry_with_one_wrong_tag_or_length_is_refused(at):
    raw = bytes.fromhex("6417 0404636e3d61 300f 300d 0402636e 3107 040161 04026263")
    assert wire.decode_entry(raw, {}) == (b"cn=a", {"cn": [b"a", b"bc"]}, raw)
    for wrong in (raw[at] - 1, raw[at] + 1):
        with pytest.raises(ber.ProtocolError):
            wire.decode_entry(raw[:at] + bytes([wrong]) + raw[at + 1 :], {})


@pytest.mark.parametrize("at", [0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 16, 17, 18, 19])
def test_one_wrong_tag_or_length_is_seen_where_the_attribute_is_known(at):
    raw = bytes.fromhex("6414 0404636e3d61 300c 300a 0402636e 3104 04026263")
    names = {}
    assert wire.decode_entry(raw, names) == wire.decode_entry(raw, names) == (b"cn=a", {"cn": [b"bc"]}, raw)
    for wrong in (raw[at] - 1, raw[at] + 1):
        with pytest.raises(ber.ProtocolError):
            wire.decode_entry(raw[:at] + bytes([wrong]) + raw[at + 1 :], names)


@examples(30)
@given(TEXT, ATTRIBUTES.filter(bool), st.booleans())
def test_a_truncated_entry_is_refused_at_every_byte(dn, attributes, microsoft):
    raw = encoder.encode(entry_operation(dn, attributes))
    if microsoft:
        raw = as_microsoft_writes_it(raw)
    names = {}
    wire.decode_entry(raw, names)
    for size in range(len(raw)):
        for known in ({}, names):
            with pytest.raises(ber.ProtocolError):
                wire.decode_entry(raw[:size], known)


@examples(300)
@given(TEXT, ATTRIBUTES, st.data())
def test_a_damaged_entry_is_refused_or_another_entry(dn, attributes, data):
    raw = bytearray(encoder.encode(entry_operation(dn, attributes)))
    for _change in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(raw)
    names = {}
    wire.decode_entry(encoder.encode(entry_operation(dn, attributes)), names)
    assert decoded(damaged, names) == decoded(damaged, {})  # whether its attributes are known or not
    try:
        wire.entry_dn(damaged)
    except ber.ProtocolError:
        pass


def decoded(raw, names):
    """What becomes of an entry, or None if it is refused."""
    try:
        return wire.decode_entry(raw, names)
    except ber.ProtocolError:
        return None


@examples(300)
@given(st.binary(max_size=80), st.integers(1, 80))
def test_arbitrary_bytes_end_in_a_read_error(data, size):
    for start in (b"", b"\x30", b"\x30\x30\x02\x01\x05\x64", b"\x30\x20\x02\x01\x05\x65", b"\x30\x20\x02\x01\x00\x78"):
        with pytest.raises(ber.ReadError):
            wire.Channel(Pieces(start + data, size), 1).page(5)
    for function in (
        lambda: wire.decode_entry(data, {}),
        lambda: requests.paged_cookie(data),
        lambda: wire.decode_result(data, 0, len(data), {}),
        lambda: wire._decode_controls(data, 0, len(data)),
    ):
        try:
            function()
        except ber.ProtocolError:
            pass


@given(
    st.lists(st.tuples(TEXT, ATTRIBUTES), max_size=4),
    st.integers(1, 700),
    st.binary(max_size=10),
    st.booleans(),
    st.sampled_from([1, 127, 128, 70000]),
)
def test_a_page_comes_whole_in_pieces_of_any_size(entries, size, cookie, microsoft, message_id):
    reference = rfc4511.SearchResultReference()
    reference.setComponentByPosition(0, "ldap://other.example/dc=other")
    data = b"".join(message(message_id, entry_operation(*each)) for each in entries)
    data += message(message_id, rfc4511.ProtocolOp().setComponentByName("searchResRef", reference))
    data += message(message_id, done_operation(matched="dc=x", text="well"), cookie)
    if microsoft:
        data = as_microsoft_writes_it(data)
    page = wire.Channel(Pieces(data, size), 1).page(message_id)
    assert [wire.decode_entry(raw, {})[:2] for raw in page.entries] == [
        (dn.encode(), attributes) for dn, attributes in entries
    ]
    assert page.references == ["ldap://other.example/dc=other"]
    assert (page.result.code, page.result.matched_dn, page.result.message, page.result.referrals) == (
        0,
        "dc=x",
        "well",
        [],
    )
    assert requests.paged_cookie(page.result.controls[requests.PAGED_RESULTS]) == cookie


def test_a_page_cut_at_any_byte_is_no_page():
    data = message(5, entry_operation("cn=a", {"cn": [b"a"]})) + message(5, done_operation(), b"")
    for size in range(len(data)):
        with pytest.raises(ber.ReadError, match="closed the connection before its answer was complete"):
            wire.Channel(Pieces(data[:size]), 1).page(5)


@pytest.mark.parametrize("code", [0, 4, 76, 112, 4096, 16654, -1])
def test_result_codes_nobody_has_heard_of(code):
    data = prepared.message(5, prepared.done(code, text="said\0"))
    result = wire.Channel(Pieces(data), 1).page(5).result
    assert (result.code, result.message) == (code, "said")


def test_referrals_of_a_result():
    page = wire.Channel(Pieces(message(5, done_operation(10, "", ["ldap://a/", "ldap://b/"]))), 1).page(5)
    assert page.result.referrals == ["ldap://a/", "ldap://b/"]
    assert str(page.result) == "referral (10)"


def test_a_notice_of_disconnection_says_why():
    notice = prepared.disconnection(52, "going down")
    with pytest.raises(ber.ReadError, match=r"server: it ended the connection \(unavailable \(52\): going down"):
        wire.Channel(Pieces(notice), 1).page(5)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (message(6, entry_operation("cn=a", {})), r"a request \(message id 6\) that is not outstanding"),
        (message(0, entry_operation("cn=a", {})), r"a request \(message id 0\) that is not outstanding"),
        (b"\x30\x0c\x02\x01\x05\x78\x07\x0a\x01\x00\x04\x00\x04\x00", "an operation that is no answer"),
        (b"HTTP/1.1 400 Bad Request\r\n", "something that is not LDAP"),
        (b"\x30\x80\x02\x01\x05\x00\x00", "indefinite length"),
        (
            b"\x30\x84\x40\x00\x00\x00",
            "an LDAP message of 1073741824 bytes, and at most 268435456 are accepted: run again",
        ),
    ],
)
def test_what_is_no_answer(data, why):
    with pytest.raises(ber.ProtocolError, match=why):
        wire.Channel(Pieces(data), 1).page(5)


def test_a_long_message_costs_its_length_once():
    """To join all that has come at each of its 7,500 pieces would take the processor half a minute."""
    entry = prepared.entry("cn=a", member=["x" * 1000] * 30000)
    data = io.BytesIO(prepared.message(5, entry) + prepared.message(5, prepared.done()))
    pieces = SimpleNamespace(settimeout=lambda seconds: None, recv=lambda size: data.read(min(size, 4096)))
    started = time.thread_time()
    page = wire.Channel(pieces, 1).page(5)
    assert wire.decode_entry(page.entries[0], {})[1]["member"] == [b"x" * 1000] * 30000
    assert time.thread_time() - started < 5


FILTERS = [
    "(cn=a)",
    "(!(cn=a b))",
    "(&(a=1)(|(b>=2)(c<=3)(d~=4))(e=*))",
    "(cn=a*b*c*d)",
    "(cn=*b)",
    "(cn=b*)",
    "(userAccountControl:1.2.840.113556.1.4.803:=2)",
    "(o:dn:2.4.6:=x)",
    "(o:dn:=x)",
    r"(bin=\00\ff\28)",
    "(cn=ü)",
]


@pytest.mark.parametrize("text", FILTERS)
def test_a_filter_is_encoded_as_ldap3_encodes_it(text):
    expected = encoder.encode(compile_filter(parse_filter(text, None, False, True, None, False).elements[0]))
    # RFC 4511, 5.1 wants FF for TRUE; pyasn1 writes 01.
    assert requests.encode_filter(filter_text.parse_filter(text)) == expected.replace(b"\x84\1\1", b"\x84\1\xff")


# pyasn1 cannot read what it writes for '!', '&' and '|' with ldap3's definitions.
@given(
    TEXT,
    st.sampled_from(sorted(requests.SCOPES)),
    st.sampled_from([text for text in FILTERS if text[1] not in "!&|"]),
    st.lists(NAME, max_size=5),
    st.binary(max_size=300),
    st.integers(0, 2**31 - 1),
)
def test_a_request_is_what_pyasn1_reads(base, scope, text, attributes, cookie, size):
    sent = Pieces(b"")
    channel = wire.Channel(sent, 1)
    operation = requests.search_operation(base, scope, text, attributes)
    message_id = channel.ask(operation, requests.paged_control(size, cookie))
    read, rest = decoder.decode(sent.sent, asn1Spec=rfc4511.LDAPMessage())
    request = read["protocolOp"]["searchRequest"]
    assert rest == b""
    assert int(read["messageID"]) == message_id
    assert (bytes(request["baseObject"]), int(request["scope"])) == (base.encode(), requests.SCOPES[scope])
    assert (
        int(request["derefAliases"]),
        int(request["sizeLimit"]),
        int(request["timeLimit"]),
        bool(request["typesOnly"]),
    ) == (0, 0, 0, False)
    assert [str(name) for name in request["attributes"]] == attributes
    control = read["controls"][0]
    assert (bytes(control["controlType"]).decode(), bool(control["criticality"])) == (requests.PAGED_RESULTS, True)
    value = decoder.decode(bytes(control["controlValue"]), asn1Spec=rfc2696.RealSearchControlValue())[0]
    assert (int(value["size"]), bytes(value["cookie"])) == (size, cookie)


def test_a_silent_server_ends_the_read():
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(ber.ReadError, match="timeout: the server sent nothing for 0.1 s"):
        wire.Channel(ours, 0.1).page(5)


class Trickling:
    """A socket to which one piece after the other comes, each so many seconds after the one before.

    No time passes but that of its clock.
    """

    def __init__(self, clock, pieces, seconds):
        self.clock, self.timeout = clock, None
        self.coming = [(number * seconds, piece) for number, piece in enumerate(pieces)]

    def settimeout(self, seconds):
        self.timeout = seconds

    def recv(self, size):
        at, piece = self.coming[0]
        assert len(piece) <= size
        if at > self.clock.now + self.timeout:
            self.clock.now += self.timeout
            raise socket.timeout
        self.clock.now = max(at, self.clock.now)
        del self.coming[0]
        return piece


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(wire, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("timeout", "deadline", "said"),
    [(50, 30, "did not answer in full in time"), (30, None, "sent next to nothing for 30 s")],
)
def test_a_server_that_trickles_is_given_up(clock, timeout, deadline, said):
    data = message(5, entry_operation("cn=a", {"cn": [b"x" * 500]}))
    channel = wire.Channel(Trickling(clock, [bytes([octet]) for octet in data], 2), timeout)
    channel.set_deadline(deadline)
    with pytest.raises(ber.ServerLost, match=said):
        channel.page(5)
    assert 30 <= clock.now < 40, "each part of the message may take as long"


def test_a_long_message_may_take_longer_than_the_timeout_while_it_comes(clock):
    data = message(5, entry_operation("cn=a", {"cn": [b"x" * 400000]})) + message(5, done_operation())
    pieces = [data[at : at + 60000] for at in range(0, len(data), 60000)]
    assert len(wire.Channel(Trickling(clock, pieces, 14), 30).page(5).entries) == 1
    assert clock.now == 14 * (len(pieces) - 1) > 2 * 30
