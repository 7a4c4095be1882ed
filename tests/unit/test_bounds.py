# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server may send at most: each bound ends a read with a sentence, before it costs memory or time."""

from __future__ import annotations

import io
import tracemalloc
from types import SimpleNamespace

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _errors
from ansible_collections.usersync.directory.plugins.module_utils._directory import (
    ber,
    distinguished_names,
    ranges,
    search,
    wire,
)
from support.ber import element, sequence, set_of, string
from support.prepared import PreparedDirectory, disconnection, done, entry, message, reference

MEGABYTE = 1024 * 1024


def channel(data):
    buffer = io.BytesIO(data)
    return wire.Channel(SimpleNamespace(settimeout=lambda seconds: None, recv=buffer.read), 1)


def entry_of(*attributes):
    """An entry with attributes whose values are encoded: (name, what stands in the set)."""
    return element(
        0x64, string("cn=a"), sequence(*(sequence(string(name), element(0x31, values)) for name, values in attributes))
    )


# --- one message -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (entry_of(("member", string("x") * MEGABYTE)), "an attribute with more than 100000 values"),
        (entry_of(("member", string("") * MEGABYTE)), "an attribute with more than 100000 values"),
        (entry_of(*(("a%d" % number, b"") for number in range(100_000))), "attributes by more than 10000 names"),
        (element(0x73, string("") * MEGABYTE), "an LDAP message of more than 100000 parts"),
    ],
    ids=["short values", "empty values", "names", "references"],
)
def test_a_message_of_many_small_parts(monkeypatch, operation, said):
    """Each part would be an object, of fifty bytes and more."""
    monkeypatch.setattr(wire, "MOST_VALUES", 100_000)
    data = message(100, operation) + message(100, done())
    tracemalloc.start()
    try:
        with pytest.raises(ber.ProtocolError) as error:
            for raw in channel(data).page(100).entries:
                wire.decode_entry(raw, {})
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(error.value).startswith("server: it sent " + said), error.value
    assert used < 3 * len(data) + 200 * ber.MOST_PARTS, used


def test_a_long_list_costs_little_more_than_its_bytes():
    """A million members of OpenLDAP come in one message."""
    listed = [b"uid=user%06d,ou=people,dc=example,dc=org" % number for number in range(30_000)]
    data = message(100, entry("cn=a", member=listed)) + message(100, done())
    size = len(data)
    tracemalloc.start()
    try:
        reading = channel(data)
        (raw,) = reading.page(100, 1).entries
        received = tracemalloc.get_traced_memory()[0]
        found = wire.decode_entry(raw, {})[1]["member"]
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == listed
    assert received < 1.1 * size, "as it came, and no buffer beside it"
    assert peak < 4 * size and held < 3.5 * size, (peak / size, held / size)


def test_a_value_too_many(monkeypatch):
    monkeypatch.setattr(wire, "MOST_VALUES", 3)
    assert len(wire.decode_entry(entry("cn=a", member=["", "", ""]), {})[1]["member"]) == 3
    with pytest.raises(ber.ProtocolError, match="with more than 3 values in one message: run again, or name another"):
        wire.decode_entry(entry("cn=a", member=["", "", "", ""]), {})
    with pytest.raises(ber.ProtocolError):
        wire.decode_entry(element(0x64, string("cn=a"), sequence(sequence(string("a"), set_of(string("x") * 9)))), {})


# --- one search ------------------------------------------------------------------------------------------------------


def pages(*answers):
    return PreparedDirectory(*([*entries, done(0, b"%d" % number)] for number, entries in enumerate(answers)))


def read(server):
    return [dn for dn, _attributes, _raw in search.search(server, "dc=a", "sub", "(cn=*)", ("*",))]


def test_pages_without_end(monkeypatch):
    monkeypatch.setattr(search, "_MOST_ENTRIES", 5)
    with pytest.raises(ber.ProtocolError) as error:
        read(pages(*([entry("cn=%d" % number)] for number in range(9))))
    assert str(error.value) == (
        "server: the read does not come to an end, after 6 entries: run again, or name another server"
    )


def test_empty_pages_without_end(monkeypatch):
    monkeypatch.setattr(search, "_MOST_EMPTY_PAGES", 3)
    server = pages([entry("cn=0")], [], [], [entry("cn=1")], [], [], [], [])
    with pytest.raises(ber.ProtocolError, match="does not come to an end, after 4 empty pages in a row: run again"):
        read(server)
    server = pages([entry("cn=0")], [], [], [], [entry("cn=1")], [], [])
    server.answers.append([done(0, "")])
    assert read(server) == [b"cn=0", b"cn=1"]


def test_references_without_end(monkeypatch):
    monkeypatch.setattr(search, "_TOO_MANY", 3)
    urls = [reference("ldap://host%d/" % number) for number in range(4)]
    with pytest.raises(ber.ProtocolError, match="^server: it refers to more than 3 other servers: name another"):
        read(PreparedDirectory([*urls, done(0, "")]))
    server = PreparedDirectory([*urls[:3], *urls[:3], done(0, "")])
    assert read(server) == [] and len(server.not_read) == 3


def test_ranges_without_end(monkeypatch):
    monkeypatch.setattr(ranges, "_MOST_VALUES", 5)
    answers = ([entry("cn=g", **{"member__%d_%d" % (at, at): [str(at)]}), done()] for at in range(1, 9))
    with pytest.raises(ber.ReadError, match="since it does not stop sending, after 6 of them: run again"):
        ranges.read_ranges(PreparedDirectory(*answers), "cn=g", "member", [b"0"], "0-0")


# --- what a server says ----------------------------------------------------------------------------------------------

LONG = "said " * 100_000


def test_a_long_diagnostic_message_is_cut():
    result = channel(message(100, done(51, text=LONG))).page(100).result
    assert result.message == LONG[:1000] + "..."
    server = PreparedDirectory([done(51, text=LONG)])
    with pytest.raises(ber.ReadError) as error:
        read(server)
    assert len(str(error.value)) < 1300
    assert str(error.value).endswith("...): run again later, or name another server")


def test_a_long_goodbye_is_cut():
    with pytest.raises(ber.ServerLost) as error:
        channel(disconnection(52, LONG)).page(100)
    assert len(str(error.value)) < 1200 and str(error.value).endswith("...): run again")


def test_long_referrals_are_cut():
    url = "ldap://192.0.2.1/ou=%s,dc=a" % ("x" * 5000)
    server = PreparedDirectory([done(10, referral=url)])
    with pytest.raises(ber.ReadError) as error:
        read(server)
    assert len(str(error.value)) < 1300 and str(error.value).endswith("...): name that server")
    server = PreparedDirectory([reference(url), done(0, "")])
    assert read(server) == [] and server.not_read == [url[:1000] + "..."]
    assert distinguished_names.url_dn(server.not_read[0]) is None, "what is cut off may be what matters"
    assert distinguished_names.url_dn("ldap://192.0.2.1/ou=x,dc=a") == "ou=x,dc=a"


def test_of_a_message_that_is_too_long_the_end_is_kept():
    said = str(_errors.SynchronizationError("server: '%s' is wrong: correct it" % (LONG + "\x1b" * 100)))
    assert said.startswith("server: 'said said") and said.endswith("' is wrong: correct it")
    assert " [...] " in said and len(said) < 6100
    assert len(str(_errors.SynchronizationError("\x1b" * 5000))) < 6100
    short = "server: '%s' is wrong" % ("x" * 5000)
    assert str(_errors.SynchronizationError(short)) == short
