# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server may answer that is asked for what changed (RFC 4533), what attributes follow other entries, and what is
told by versions.

The server here is a socket with prepared answers. What real ones answer, tests/functional/test_incremental.py shows.
"""

from __future__ import annotations

import time
import uuid
from types import SimpleNamespace

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory import requests
from ansible_collections.usersync.directory.plugins.module_utils._directory.changes import (
    common,
    keys,
    lists,
    sweep,
    ways,
)
from ansible_collections.usersync.directory.plugins.module_utils._directory.filter_text import filter_attributes
from ansible_collections.usersync.directory.plugins.module_utils._directory.search import ReadError
from ansible_collections.usersync.directory.plugins.module_utils._mark import Reached, Selection, Synchronized
from hypothesis import given
from hypothesis import strategies as st
from support.ber import boolean, element, enumerated, integer, sequence, set_of, string
from support.clock import Clock
from support.prepared import PreparedDirectory, done, entry, intermediate, with_control

BASE = "dc=example,dc=org"
EARLIER, LATER = ["20260101000000.000000Z#000000#000#000000"], ["20260102000000.000000Z#000000#000#000000"]
ADD, MODIFY, DELETE, PRESENT = 1, 2, 3, 0
COOKIE, END_OF_DELETES, END_OF_PRESENT, IDS = 0x80, 0xA1, 0xA2, 0xA3


def number(name):
    return uuid.uuid5(uuid.NAMESPACE_OID, name)


ANN, BOB, CYD = "ann", "bob", "cyd"
TRUE = boolean(True)


def said(name, state, **attributes):
    """An entry, and what happened to it."""
    parts = enumerated(state), string(number(name).bytes)
    return with_control(entry("cn=%s,%s" % (name, BASE), **attributes), requests.SYNC_STATE, sequence(*parts))


def info(kind, *parts):
    """An intermediate message."""
    return intermediate(requests.SYNC_INFO, element(kind, *parts))


def ids(*names, deleted=False):
    members = set_of(*(string(number(name).bytes) for name in names))
    return info(IDS, *([TRUE] if deleted else []), members)


def end(deletes=False, cookie=b"rid=000,csn=later"):
    """The end of a refresh. OpenLDAP leaves the cookie out where nothing changed."""
    parts = *([string(cookie)] if cookie else []), *([TRUE] if deletes else [])
    return with_control(done(), requests.SYNC_DONE, sequence(*parts))


def reached(csn):
    return Reached(Synchronized(tuple(csn)), b"", Selection([], [], {}, [], []), [], {}, [])


def asked(*answer, known=(ANN, BOB, CYD), before=tuple(EARLIER), now=tuple(LATER)):
    server = PreparedDirectory(list(answer))
    place = common.Where(SimpleNamespace(), BASE, {}, ())
    stored = SimpleNamespace(keys=lambda: {str(number(name)) for name in known})
    found = ways.since(
        server,
        place,
        reached(before),
        Synchronized(tuple(now)),
        b"",
        stored,
    )
    names = {str(number(name)): name for name in (ANN, BOB, CYD, "dan")}
    return sorted(names[key] for key in found.changed), sorted(names[key] for key in found.gone)


def leaf(name, state=MODIFY):
    return said(name, state, hasSubordinates=["FALSE"])


def test_who_is_not_named_at_the_end_of_a_present_phase_is_gone():
    assert asked(leaf(ANN), ids(BOB), end()) == ([ANN], [CYD])
    assert asked(leaf(ANN), ids(BOB), info(END_OF_PRESENT, TRUE), end(deletes=True)) == ([ANN], [CYD])


def test_who_is_not_named_in_a_delete_phase_is_there():
    assert asked(leaf(ANN), ids(BOB, deleted=True), end(deletes=True)) == ([ANN], [BOB])
    assert asked(leaf(ANN), said(BOB, DELETE), info(END_OF_DELETES, TRUE), end(deletes=True)) == ([ANN], [BOB])
    assert asked(end(deletes=True, cookie=b"")) == ([], [])


def test_who_is_unchanged_is_not_gone():
    assert asked(said(ANN, PRESENT), ids(BOB, CYD), end()) == ([], [])


def test_an_answer_that_nobody_asked_for_takes_nobody_away():
    """A server that does not know the mark may send everything: RFC 4533, 3.3.2."""
    assert asked(*(leaf(name, ADD) for name in (ANN, BOB, CYD, "dan")), end()) == ([ANN, BOB, CYD, "dan"], [])


def test_nothing_is_asked_where_nothing_changed():
    assert asked(now=EARLIER) == ([], [])


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ([done(4096, text="sync cookie is stale")], "the server says that the mark of the last run is stale"),
        ([done(53, text="consumer state is newer than provider")], "cannot tell what changed since the last run"),
        ([leaf(ANN), done(4)], "cannot tell what changed since the last run"),
        ([done()], "did not say how its answer ends"),
        ([entry("cn=ann," + BASE), end()], "without saying what happened to an entry"),
        (
            [
                with_control(entry("cn=ann," + BASE), requests.SYNC_STATE, sequence(enumerated(ADD), string(b"1"))),
                end(),
            ],
            "an entryUUID of 1 bytes",
        ),
        (
            [
                with_control(
                    entry("cn=a\\zz," + BASE), requests.SYNC_STATE, sequence(enumerated(ADD), string(number(ANN).bytes))
                ),
                leaf(BOB),
                end(),
            ],
            "a DN that is none",
        ),
    ],
)
def test_an_answer_that_tells_nothing_for_sure_asks_for_everything(answer, why):
    with pytest.raises(common.ReadFully, match=why):
        asked(*answer)


@pytest.mark.parametrize(
    "answer",
    [
        [intermediate(requests.SYNC_INFO, b"\x99\x00"), end()],
        [
            with_control(entry("cn=ann," + BASE), requests.SYNC_STATE, b"\x04\x00"),
            end(),
        ],
        [leaf(ANN)],  # and then it hangs up
    ],
)
def test_an_answer_that_cannot_be_read_is_an_error(answer):
    with pytest.raises(ReadError):
        asked(*answer)


@pytest.mark.parametrize(
    "now",
    [
        ["20251231000000.000000Z#000000#000#000000"],  # a copy from before the mark
        ["20260102000000.000000Z#000000#001#000000"],  # another server, which knows nothing of this one
        [],
    ],
)
def test_a_server_whose_state_is_older_than_the_mark_asks_for_everything(now):
    with pytest.raises(common.ReadFully, match="older than at the last run"):
        asked(end(deletes=True), now=now)


def test_a_server_that_joins_others_is_no_other_server():
    now = [*LATER, "20260102000000.000000Z#000000#001#000000"]
    assert asked(ids(BOB, deleted=True), end(deletes=True), now=now) == ([], [BOB])


# --- Active Directory's lists ----------------------------------------------------------------------------------------

AD = SimpleNamespace(is_group="(objectClass=group)", group_key="entryUUID", group_members=("member",))


def answer(*entries, more=False, cookie=b"later", code=0):
    """What a server says to a DirSync control."""
    parts = integer(int(more)), integer(0), string(cookie)
    return [*entries, with_control(done(code), requests.DIR_SYNC, sequence(*parts))]


def changed_list(name, came=(), went=()):
    values = {
        "entryUUID": [str(number(name))],
        "instanceType": ["4"],
        "member": [],
        **({"member__1_1": came} if came else {}),
        **({"member__0_0": went} if went else {}),
    }
    return entry("cn=%s,%s" % (name, BASE), **values)


def lists_told(*answers, cookie=b"before", supported=True):
    server = PreparedDirectory(*answers)
    server.root_dse = {"supportedcontrol": [requests.DIR_SYNC.encode()] if supported else []}
    found = lists.lists_since(server, common.Where(AD, BASE, {}, ()), cookie)
    return server, found


def test_what_came_to_lists_and_what_left_them():
    server, (cookie, found) = lists_told(
        answer(changed_list(ANN, came=["a", "b"], went=["c"]), changed_list(BOB), more=True, cookie=b"between"),
        answer(changed_list(ANN, came=["c"], went=["b"])),
    )
    assert cookie == b"later"
    assert found == {str(number(ANN)): ({b"a", b"c"}, {b"b"}, set()), str(number(BOB)): (set(), set(), set())}
    assert b"before" in server.requests[0] and b"between" in server.requests[1]
    assert server.unusable == "" and server.entries == 3


def test_a_list_that_comes_as_it_is_is_not_told():
    """From a server that does not know INCREMENTAL_VALUES: nobody can see from it what left."""
    values = {"entryUUID": [str(number(ANN))], "member": ["a", "b"]}
    assert lists_told(answer(entry("cn=ann," + BASE, **values), changed_list(BOB)))[1][1].keys() == {str(number(BOB))}


def test_the_flags_fit_into_four_bytes():
    """In five, as 32 bits without a sign need, Active Directory refuses them with result 12."""
    server, _found = lists_told(answer())
    assert b"\x02\x04\x80\x00\x00\x01" in server.requests[0]


@pytest.mark.parametrize("answers", [[answer(code=50)], [answer(code=53)], [[done(12)]], [[done()]]])
def test_a_server_that_tells_nothing_of_lists_has_them_read(answers):
    assert lists_told(*answers)[1] == (b"", {})


def test_a_server_without_the_control_is_not_asked():
    server, found = lists_told(supported=False)
    assert found == (b"", {}) and server.requests == []


# --- what follows other entries --------------------------------------------------------------------------------------


def test_attributes_of_a_filter():
    assert filter_attributes("(&(|(a=1)(b;lang-de=*))(!(c>=2))(D~=x)(e=*y*)(f:2.5.13.2:=z)(:dn:2.5.13.2:=w))") == {
        "a",
        "b",
        "c",
        "d",
        "e",
        "f",
        "*",
    }


# --- versions and keys -----------------------------------------------------------------------------------------------

KEYS = [("entryUUID", "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"), ("nsUniqueId", "0a1b2c3d-4e5f6071-8293a4b5-c6d7e8f9")]


@pytest.mark.parametrize(("attribute", "key"), KEYS)
def test_a_key_is_sixteen_bytes_and_comes_back_as_it_is_spelled(attribute, key):
    assert keys.identity_of(key, attribute) == uuid.UUID(key.replace("-", "")).bytes
    assert keys.uuid_text(keys.identity_of(key, attribute), attribute) == key


@pytest.mark.parametrize(
    ("attribute", "key"),
    [
        *(
            (attribute, other)
            for attribute, key in KEYS
            for other in (key.upper(), key[:-1], key + "0", key.replace("-", ""))
        ),
        *((attribute, key) for (attribute, _own), (_other, key) in zip(KEYS, reversed(KEYS))),
        ("entryUUID", "ann"),
        ("entryUUID", ""),
    ],
)
def test_what_is_spelled_otherwise_is_another_key(attribute, key):
    assert keys.identity_of(key, attribute) is None
    with pytest.raises(common.ReadFully, match="is no UUID"):
        keys.uuid_bytes(key, attribute)


@pytest.mark.parametrize(("ago", "fresh"), [(0, True), (3599, True), (3600, False), (86400, False), (-86400, True)])
def test_a_time_is_fresh_for_an_hour_and_when_it_is_still_to_come(monkeypatch, ago, fresh):
    clock = Clock(now=1_800_000_000)
    monkeypatch.setattr(sweep, "time", clock)
    written = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(clock.now - ago)).encode("ascii")
    assert sweep._is_fresh(written) is fresh


def test_what_is_no_time_never_counts_as_old():
    assert sweep._is_fresh(b"yesterday")


# --- a sweep ---------------------------------------------------------------------------------------------------------


def place(*outside):
    return common.Where(SimpleNamespace(user_key="entryUUID"), BASE, {}, outside)


WHO = st.integers(0, 3000).map(lambda one: one.to_bytes(16, "big"))
VERSIONS = st.dictionaries(WHO, st.sampled_from([b"version1", b"version2"]), max_size=40)


@given(VERSIONS, VERSIONS, st.integers(0, 2000), st.sets(WHO, max_size=5))
def test_a_sweep_tells_what_sets_would_tell(before, now, unchanged, outside):
    """With up to two thousand between them that did not change: they are passed over by the hundred."""
    both = {number.to_bytes(16, "big"): b"version3" for number in range(1, unchanged)}
    before, now = {**before, **both}, {**now, **both}
    then, later = ({key + version for key, version in each.items()} for each in (before, now))
    told = sweep.compared(b"".join(sorted(then)), b"".join(sorted(later)), place(*map(keys.uuid_text, outside)))
    assert set(told.changed) == {keys.uuid_text(each[:16]) for each in later - then}
    assert told.gone == {keys.uuid_text(each) for each in {*before, *outside} - now.keys()}
