# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What proves that a read is complete, against servers that do what no test server does when asked nicely.

The server here is a socket with prepared answers. That real servers are read right, tests/functional/test_reading.py
shows.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory import ber, ranges, requests
from ansible_collections.usersync.directory.plugins.module_utils._directory import search as search_module
from support.prepared import PreparedDirectory, disconnection, done, entry, message, reference

read_ranges, ranged, search = ranges.read_ranges, ranges.ranged, search_module.search


def read(server, scope="sub", **how):
    return [
        dn.decode()
        for dn, attributes, raw in search(server, "dc=x", scope, "(cn=*)", ("cn",), search_module.How(**how))
    ]


def test_pages_are_read_to_the_empty_cookie():
    server = PreparedDirectory(
        [entry("cn=1"), entry("cn=2"), done(0, "a")],
        [reference("ldap://other.example/dc=other"), done(0, "b")],
        [entry("cn=3"), done(0, "")],
    )
    assert read(server) == ["cn=1", "cn=2", "cn=3"]
    assert (server.entries, server.pages, server.not_read) == (3, 3, ["ldap://other.example/dc=other"])
    assert read(PreparedDirectory([done(0, "")])) == []


def test_the_next_page_is_asked_for_before_this_one_is_given():
    server = PreparedDirectory([entry("cn=1"), done(0, "a")], [entry("cn=2"), done(0, "")])
    entries = search(server, "dc=x", "sub", "(cn=*)", ("cn",))
    assert next(entries)[0] == b"cn=1"
    assert len(server.requests) == 2
    assert b"\x04\x01a" in server.requests[1]


def test_base_searches_are_not_paged():
    server = PreparedDirectory([entry("dc=x"), done()])
    assert read(server, "base") == ["dc=x"]
    assert requests.PAGED_RESULTS.encode() not in server.requests[0]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            [[entry("cn=1"), done(4, "")]],
            (
                "login: the read of 'dc=x' is not complete, it ended after 1 entries (sizeLimitExceeded (4)): ask the "
                "administrator of the directory for a higher limit for this account (in OpenLDAP size.pr and "
                "size.prtotal count, in 389 Directory Server nsPagedSizeLimit, or a lower page_size)"
            ),
        ),
        (
            [[entry("cn=1"), done(0, "a")], [entry("cn=2"), done(3)]],
            "it ended after 2 entries (timeLimitExceeded (3)): ask the administrator",
        ),
        (
            [[done(11, text="lookthrough")], [entry("cn=1"), done(4)]],
            "it ended after 0 entries (adminLimitExceeded (11): lookthrough): lower it, or ask the administrator",
        ),
        (
            [[entry("cn=1"), done(0, "a")], [done(12, text="00000057")]],
            (
                "(unavailableCriticalExtension (12): 00000057): run again, since it lost its place in paged results, "
                "or name one that supports them"
            ),
        ),
        ([[done(50)]], "(insufficientAccessRights (50)): give the account the right to read there"),
        ([[done(51)]], "(busy (51)): run again later, or name another server"),
        ([[done(4096)]], "it ended after 0 entries (result (4096)): run again, and look into the server's log"),
        (
            [[done(10, referral="ldap://b.example/dc=x")]],
            (
                "server: the read of 'dc=x' is not complete, since the server refers to another one, which is not "
                "followed (ldap://b.example/dc=x): name that server"
            ),
        ),
        (
            [[done(32)]],
            (
                "login: the read is not complete, since 'dc=x' does not exist in the directory, or the account "
                "cannot read it: give the account the right to read it"
            ),
        ),
        (
            [[entry("cn=1"), done(0, "a")], [entry("cn=2"), done(0)]],
            (
                "server: nothing proves that the read is complete, since the server left the paged results control out "
                "of its answer: name another server"
            ),
        ),
        ([[entry("cn=1"), done(0, "a")], [done(0, "a")]], "the server repeats a page without end"),
        (
            [[entry("cn=1"), done(0, "a")], [entry("cn=2"), done(0, "b")], [entry("cn=1"), done(0, "c")]],
            "the server repeats a page without end",
        ),
        ([[entry("cn=" + "x" * 1000)] * 20000], "entries and does not stop sending: name another server"),
        ([[entry("cn=1")]], "server: it closed the connection before its answer was complete: run again"),
        ([[entry("cn=1"), done(0, "a")]], "server: it closed the connection before its answer was complete: run again"),
        ([[message(7, entry("cn=1"))]], "a request (message id 7) that is not outstanding"),
        (
            [[disconnection(52)]],
            "server: it ended the connection (unavailable (52)): run again",
        ),
    ],
)
def test_a_read_that_is_not_complete(answers, message):
    with pytest.raises(ber.ReadError) as error:
        read(PreparedDirectory(*answers))
    assert message in str(error.value)


@pytest.mark.parametrize("account_option", ["login", "authentication"])
@pytest.mark.parametrize(
    ("code", "option"),
    [
        (1, "authentication"),
        (3, ""),
        (4, ""),
        (11, "page_size"),
        (12, "server"),
        (32, ""),
        (34, "distinguished_name"),
        (48, "authentication"),
        (50, ""),
        (51, "server"),
        (80, "server"),
    ],
)
def test_an_error_begins_with_the_option_that_can_change_it(code, option, account_option):
    server = PreparedDirectory([done(code)], [done(code)])  # without pages, too
    server.account_option = account_option
    with pytest.raises(ber.ReadError, match="^%s: the read .*is not complete, " % (option or account_option)):
        read(server)


def test_a_base_that_does_not_exist():
    with pytest.raises(search_module.NoSuchEntry):
        read(PreparedDirectory([done(32)]))
    assert read(PreparedDirectory([done(32)]), missing_ok=True) == []
    with pytest.raises(ber.ReadError):  # it did exist a page ago
        read(PreparedDirectory([entry("cn=1"), done(0, "a")], [done(32)]), missing_ok=True)


# --- servers that do no pages

PAGED = requests.PAGED_RESULTS.encode()


def asked_for_pages(server):
    return [PAGED in request for request in server.requests]


@pytest.mark.parametrize("controls", [[], [b"1.2.840.113556.1.4.473"]])
def test_a_server_that_does_not_list_paged_results_is_asked_for_all(controls):
    entries = [entry("cn=%d" % number) for number in range(1500)]
    server = PreparedDirectory([*entries, done()], [done(4)])
    server.root_dse = {"supportedcontrol": controls}
    assert len(read(server)) == 1500
    with pytest.raises(ber.ReadError) as error:
        read(server)
    assert str(error.value) == (
        "login: the read of 'dc=x' is not complete, it ended after 0 entries (sizeLimitExceeded (4)), and the server "
        "gives no pages, since its root DSE does not list them: ask the administrator of the directory for no limit on "
        "the number of entries for this account, or for paged results (RFC 2696)"
    )
    assert asked_for_pages(server) == [False, False]


@pytest.mark.parametrize("first", [[done(code, text="no pages")] for code in (2, 11, 12, 53)])
def test_a_server_that_refuses_pages_is_asked_for_all(first):
    server = PreparedDirectory(first, [entry("cn=1"), entry("cn=2"), done()], [entry("cn=3"), done()])
    server.root_dse = {"supportedcontrol": [PAGED]}
    assert (read(server), read(server)) == (["cn=1", "cn=2"], ["cn=3"])
    assert asked_for_pages(server) == [True, False, False] and server.entries == 3


def test_a_refusal_after_entries_is_none():
    with pytest.raises(ber.ReadError, match="it ended after 1 entries .adminLimitExceeded"):
        read(PreparedDirectory([entry("cn=1"), done(11)], [entry("cn=1"), done()]))


@pytest.mark.parametrize("root_dse", [{}, {"supportedcontrol": [PAGED]}], ids=["hidden", "listed"])
def test_an_answer_without_the_control_is_no_page_and_no_proof(root_dse):
    """It is asked for all once more, and what came before is let go of."""
    server = PreparedDirectory([entry("cn=1"), done()], [entry("cn=1"), entry("cn=2"), done()], [done(4)])
    server.root_dse = root_dse
    assert read(server) == ["cn=1", "cn=2"] and server.entries == 2
    with pytest.raises(ber.ReadError, match="since it left the paged results control out of its answer: ask the adm"):
        read(server)
    assert asked_for_pages(server) == [True, False, False]


def test_a_server_that_has_given_pages_is_asked_for_pages_again():
    server = PreparedDirectory(
        [entry("cn=1"), done(0, "")], [entry("cn=2"), done()], [entry("cn=2"), done()], [entry("cn=3"), done(0, "")]
    )
    assert (read(server), read(server), read(server)) == (["cn=1"], ["cn=2"], ["cn=3"])
    assert asked_for_pages(server) == [True, True, False, True]


def test_what_was_handed_on_is_not_asked_for_again(monkeypatch):
    monkeypatch.setattr(search_module, "_PART", 10)
    server = PreparedDirectory([entry("cn=1"), done(0, "")], [entry("cn=2"), done()], [entry("cn=2"), done()])
    assert read(server) == ["cn=1"]
    with pytest.raises(ber.ProtocolError, match="nothing proves that the read is complete"):
        read(server)
    server = PreparedDirectory([entry("cn=1"), done()], [entry("cn=1"), entry("cn=2"), done()])
    assert read(server) == ["cn=1", "cn=2"]
    three = [entry("cn=1"), entry("cn=2"), entry("cn=3")]
    assert read(PreparedDirectory([*three, done(0, "")])) == ["cn=1", "cn=2", "cn=3"]
    with pytest.raises(ber.ProtocolError, match="nothing proves that the read is complete"):
        read(PreparedDirectory([*three, done()], [*three, done()]))


def test_a_base_that_is_gone_without_pages():
    for code in (10, 32, 34):
        server = PreparedDirectory([done(53)], [done(code)])
        assert read(server, missing_ok=True) == []
    with pytest.raises(search_module.NoSuchEntry):
        read(PreparedDirectory([done(53)], [done(32)]))


def test_one_search_at_a_time():
    server = PreparedDirectory([entry("cn=1"), done(0, "a")], [entry("cn=2"), done(0, "")], [done(0, "")])
    entries = search(server, "dc=x", "sub", "(cn=*)", ("cn",))
    next(entries)
    with pytest.raises(RuntimeError, match="another search is not read to its end"):
        search(server, "dc=x", "base", "(cn=*)", ("cn",))
    assert [dn for dn, _attributes, _raw in entries] == [b"cn=2"]
    assert read(server) == []


def test_a_search_may_follow_one_that_the_server_ended():
    server = PreparedDirectory([done(32)], [entry("cn=1"), done(0, "")])
    with pytest.raises(ber.ReadError):
        read(server)
    assert read(server) == ["cn=1"]


# --- ranges


def test_the_range_beside_an_empty_attribute():
    attributes = {"member": [], "member;range=0-1": [b"a", b"b"], "memberof": [b"x"]}
    assert ranged(attributes, "member") == ([b"a", b"b"], "0-1")
    assert ranged(attributes, "Member") == ([b"a", b"b"], "0-1")
    assert ranged({"member": [b"a"]}, "member") is None


@pytest.mark.parametrize("code", [10, 32, 34])
@pytest.mark.parametrize("part", [1, search_module._PART])
@pytest.mark.parametrize("how", ["paged", "in one piece"])
def test_a_base_that_is_missing_has_nothing_below(monkeypatch, code, part, how):
    """An answer that breaks off by the code for a missing base is no complete one, nor one without entries."""
    monkeypatch.setattr(search_module, "_PART", part)
    server = PreparedDirectory([entry("cn=1"), entry("cn=2"), entry("cn=3"), done(code, "")])
    server.paged, server.unpaged = how == "paged", "" if how == "paged" else "its root DSE does not list them"
    with pytest.raises(ber.ReadError):
        read(server, missing_ok=True)


def test_a_limit_that_no_entry_comes_before_says_nothing_of_entries():
    def finds_any(*answer):
        return search_module.finds_any(PreparedDirectory([*answer]), "dc=x", "sub", "(cn=*)")

    assert finds_any(entry("cn=1"), done(4)) and not finds_any(done(0)) and not finds_any(done(32))
    with pytest.raises(ber.ReadError, match="sizeLimitExceeded"):
        finds_any(done(4))


def test_ranges_are_read_to_the_end():
    server = PreparedDirectory(
        [entry("cn=g", member=[], member__2_3="cd"), done()], [entry("cn=g", member__4_all="e"), done()]
    )
    assert read_ranges(server, "<GUID=1>", "member", [b"a", b"b"], "0-1") == [b"a", b"b", b"c", b"d", b"e"]
    assert b"member;range=2-*" in server.requests[0]
    assert b"member;range=4-*" in server.requests[1]
    assert b"<GUID=1>" in server.requests[1]
    assert read_ranges(PreparedDirectory(), "cn=g", "member", [b"a"], "0-*") == [b"a"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([entry("cn=g", member__3_all="d"), done()], "the server sent the range '3-*' where one from 2 on was due"),
        ([entry("cn=g", member__1_all="bc"), done()], "the server sent the range '1-*' where one from 2 on was due"),
        ([entry("cn=g", member__2_5="cd"), done()], "the server sent 2 values in the range '2-5'"),
        ([entry("cn=g", member__2_1=""), done()], "the server sent 0 values in the range '2-1'"),
        ([entry("cn=g", member__2_all="ca"), done()], "a value came twice"),
        ([entry("cn=g", member=[]), done()], "the server did not send the values from 2 on: run again"),
        ([done()], "the server did not send the values from 2 on: run again"),
        ([done(32)], "'cn=g' does not exist in the directory"),
        ([entry("cn=g", member__2_all="c"), done(4)], "sizeLimitExceeded"),
        ([entry("cn=g", member__2_all="c")], "closed the connection"),
    ],
)
def test_ranges_with_a_gap_are_worth_nothing(answer, message):
    with pytest.raises(ber.ReadError) as error:
        read_ranges(PreparedDirectory(answer), "cn=g", "member", [b"a", b"b"], "0-1")
    assert message in str(error.value)


@pytest.mark.parametrize("first", ["1-1", "0-5", "x", "0-", "*-*", "0-1\n"])
def test_a_first_range_that_is_none(first):
    with pytest.raises(ber.ReadError, match="values of member of 'cn=g' are not complete"):
        read_ranges(SimpleNamespace(), "cn=g", "member", [b"a"], first)
