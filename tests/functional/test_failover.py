# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several servers: which one is used, which one is never asked, and how long that takes."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from contextlib import ExitStack

import dns.resolver
import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _settings
from ansible_collections.usersync.directory.plugins.module_utils._directory.connect.attempt import Deadline
from ansible_collections.usersync.directory.plugins.module_utils._directory.connect.dns_srv import look_up
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from support import misbehaving, tree
from support.dns_server import DnsServer
from support.lab import synchronize
from support.misbehaving import LOGIN, PASSWORD, MisbehavingDirectory
from support.process import free_port
from support.stored import values

OU = "OU=Staff," + tree.DOMAIN


@pytest.fixture
def replicas(ca):
    """Start so many servers of one domain, each with a tree of its own."""
    with ExitStack() as stack:

        def start(count, **more):
            found = []
            for _number in range(count):
                domain = tree.ActiveDirectory()
                users = [domain.user("user%d" % number, domain.unit("Staff")) for number in range(7)]
                domain.group("Nurses", OU, *users[:5])
                found.append(stack.enter_context(MisbehavingDirectory(domain, ca=ca, max_page=3, **more)))
            return found

        yield start


@pytest.fixture
def run(tmp_path, ca):
    def run_with(*servers, **more):
        options = {
            "name": "staff",
            "user_group": "All/Staff",
            "server": list(servers),
            "ca_path": str(ca.cert),
            "login": LOGIN,
            "password": PASSWORD,
            "distinguished_name": OU,
            "timeout": 60,
            "store": str(run_with.store),
            **more,
        }
        return synchronize(False, [], **options)

    run_with.store = tmp_path / "users.db"
    return run_with


def is_bind(request):
    return request.kind == "bind"


def is_page_of_users(request):
    return request.page_size is not None and "objectCategory=person" in request.filter


# The time that servers share in tests that have to wait until some of it is over, in seconds. The smallest part that a
# server gets is enough for a login on a machine that does much else.
SHORT = 6


def unused():
    return "127.0.0.1:%d" % free_port()


def names(store):
    return set(values(store, "SELECT name FROM users"))


# --- before one is used ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        misbehaving.stalls,
        misbehaving.hangs_up,
        misbehaving.resets,
        misbehaving.ends_with(51),
        misbehaving.ends_with(52),
        misbehaving.says_goodbye,
        misbehaving.ends_with(10, referrals=["ldap://127.0.0.1:1/"]),
    ],
)
def test_a_server_that_cannot_be_used_leaves_the_work_to_the_next(replicas, run, fault):
    first, second = replicas(2)
    first.fail(is_bind, fault)
    result = run(first.ldaps_url, second.ldaps_url, timeout=SHORT)
    assert result["read"]["server"] == "127.0.0.1:%d" % second.tls_port
    assert len(names(run.store)) == 7 and len(first.of_kind("search")) == 0


def test_a_certificate_that_does_not_verify_leads_to_the_next_and_gets_no_password(replicas, run, ca):
    first, second = replicas(2)
    first.present(ca.expired())
    result = run(first.ldaps_url, unused(), second.ldaps_url)
    assert result["read"]["server"] == "127.0.0.1:%d" % second.tls_port
    assert first.received == []


def test_refused_start_tls_leads_to_the_next_and_gets_no_password(replicas, run):
    first, second = replicas(2)
    first.fail(lambda request: request.kind == "start_tls", misbehaving.ends_with(52, "no TLS today"))
    result = run(first.ldap_url, second.ldap_url, encryption="start_tls")
    assert result["read"]["server"] == "127.0.0.1:%d" % second.port
    assert first.of_kind("bind") == [] and second.of_kind("bind")[0].encrypted


def test_a_refused_login_is_tried_nowhere_else(replicas, run):
    first, second = replicas(2)
    with pytest.raises(SynchronizationError, match="^login: .* refused the login"):
        run(unused(), first.ldaps_url, second.ldaps_url, password="Wrong-Moss-9-kettle")
    assert len(first.of_kind("bind")) == 1 and second.connections == 0
    assert not run.store.exists()


def test_a_login_referred_elsewhere_goes_nowhere(replicas, run):
    """A server that says "ask him" could name anybody who would like to have the password."""
    first, collector = replicas(2)
    first.fail(is_bind, misbehaving.ends_with(10, referrals=[collector.ldap_url, collector.ldaps_url]))
    with pytest.raises(SynchronizationError, match="^server: .* refers the login to another server, which is not foll"):
        run(first.ldaps_url)
    assert collector.connections == 0


def test_one_time_is_shared_by_all(replicas, run):
    """Two servers hang, and what is left is enough for the third. The whole takes no longer than `timeout`."""
    first, second, third = replicas(3)
    for hanging in (first, second):
        hanging.fail(lambda request: True, misbehaving.stalls)
    servers = first.ldaps_url, second.ldaps_url, third.ldaps_url
    started = time.monotonic()
    assert run(*servers, timeout=SHORT)["read"]["server"].endswith(":%d" % third.tls_port)
    assert time.monotonic() - started > 0.6 * SHORT  # two thirds, but for what was over before
    third.fail(lambda request: True, misbehaving.stalls)
    started = time.monotonic()
    with pytest.raises(SynchronizationError) as error:
        run(*servers, timeout=SHORT)
    assert time.monotonic() - started > 0.95 * SHORT
    said = str(error.value)
    assert said.startswith("server: none of 3 servers can be used: timeout: 127.0.0.1:%d did not" % first.tls_port)
    # By what it allowed each, not by what a busy machine made of it.
    shares = [float(share) for share in re.findall(r"did not answer within ([0-9.]+) seconds", said)]
    assert len(shares) == 3 and all(0 < share <= SHORT / 3 for share in shares) and "raise timeout" in said


def test_a_server_that_trickles_during_login_does_not_take_the_time_of_the_next(replicas, run):
    """It would go on for longer than all the time there is."""
    first, second = replicas(2)
    first.fail(is_bind, misbehaving.trickles(0.5))
    result = run(first.ldap_url, second.ldap_url, encryption="none", timeout=SHORT)
    assert result["read"]["server"].endswith(":%d" % second.port)


def test_a_handshake_that_never_ends_does_not_take_the_time_of_the_next(replicas, run):
    """Each byte would begin a socket's own timeout anew."""
    first, second = replicas(2)
    first._encrypt = lambda line: misbehaving.trickles(0.1)(line, None, [b"\x16\x03\x03\x40\x00" + bytes(200)])
    result = run(first.ldaps_url, second.ldaps_url, timeout=SHORT)
    assert result["read"]["server"].endswith(":%d" % second.tls_port)


# --- lost in the middle ----------------------------------------------------------------------------------------------

LOSSES = {
    "hangs up": misbehaving.hangs_up,
    "hangs up within a message": misbehaving.hangs_up_within_a_message,
    "resets": misbehaving.resets,
    "says goodbye": misbehaving.says_goodbye,
    "stalls": misbehaving.stalls,
    "busy": misbehaving.ends_with(51, "too busy"),
    "unavailable": misbehaving.ends_with(52, "going down"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_server_lost_in_the_middle_is_left_and_the_read_begins_anew(replicas, run, loss):
    """The second one has another state: nothing of what the first one said may be left."""
    first, second = replicas(2)
    for name in ("user0", "user1"):
        second.tree.remove("CN=%s,%s" % (name, OU))
    second.tree.set("CN=Nurses," + OU, "member", "CN=user4," + OU)
    second.tree.user("late", OU)
    first.fail(is_page_of_users, LOSSES[loss], first=3)
    result = run(first.ldaps_url, second.ldaps_url, timeout=SHORT / 2 if loss == "stalls" else 60)
    assert result["read"]["server"] == "127.0.0.1:%d" % second.tls_port
    assert result["read"]["entries"] < 20
    assert names(run.store) == {"user2", "user3", "user4", "user5", "user6", "late"}
    assert result["changed_groups"][0]["members_added"] == ["user4"]
    pages = [request.cookie for request in second.of_kind("search") if is_page_of_users(request)]
    assert pages[0] == b"" and len(first.of_kind("bind")) == 1


def test_when_the_last_one_is_lost_too_the_error_names_all(replicas, run):
    first, second = replicas(2)
    run(first.ldaps_url)
    first.fail(is_page_of_users, misbehaving.hangs_up, first=2)
    second.fail(is_page_of_users, misbehaving.ends_with(51, "too busy"), first=2)
    with pytest.raises(SynchronizationError) as error:
        run(first.ldaps_url, unused(), second.ldaps_url)
    said = str(error.value)
    assert said.startswith("server: none of 3 servers can be used: server: 127.0.0.1:%d was lost" % first.tls_port)
    assert "Connection refused" in said and "127.0.0.1:%d was lost while" % second.tls_port in said
    assert "busy (51): too busy" in said and "\n" not in said and PASSWORD not in said
    assert len(names(run.store)) == 7


@pytest.mark.parametrize(
    "fault",
    [
        misbehaving.ends_with(4),
        misbehaving.ends_with(3),
        misbehaving.ends_with(11),
        misbehaving.ends_with(50),
        misbehaving.breaks_the_encoding,
        misbehaving.repeats_its_cookie(empty=True),
        misbehaving.loses_the_control,
    ],
)
def test_limits_rights_and_nonsense_are_no_reason_to_ask_another(replicas, run, fault):
    """What one server does not give, another one of the same domain may give in part: that would hide what is wrong."""
    first, second = replicas(2)
    first.fail(is_page_of_users, fault, first=2)
    with pytest.raises(SynchronizationError):
        run(first.ldaps_url, second.ldaps_url)
    assert second.connections == 0


def test_each_server_must_be_of_the_same_directory(replicas, run):
    first, second = replicas(2)
    run(first.ldaps_url)
    second.tree.set(tree.DOMAIN, "objectSid", tree.sid(21, 1, 2, 3))
    first.fail(is_page_of_users, misbehaving.hangs_up)
    with pytest.raises(SynchronizationError, match="^name: the synchronization 'staff' belongs to the directory S-1-5"):
        run(first.ldaps_url, second.ldaps_url)
    assert len(names(run.store)) == 7


def test_a_login_that_the_second_refuses_ends_it(replicas, run):
    first, second, third = replicas(3)
    first.fail(is_page_of_users, misbehaving.hangs_up)
    second.logins = {}
    with pytest.raises(SynchronizationError, match="^login: "):
        run(first.ldaps_url, second.ldaps_url, third.ldaps_url)
    assert third.connections == 0


# --- srv:DOMAIN ------------------------------------------------------------------------------------------------------


@pytest.fixture
def domain_name_system(monkeypatch):
    with ExitStack() as stack:

        def start(**records):
            server = stack.enter_context(
                DnsServer({"_ldap._tcp.%s.example" % name: values for name, values in records.items()})
            )
            monkeypatch.setattr(dns.resolver, "default_resolver", server.resolver())
            return server

        yield start


def looked_up(domain, encryption="ldaps", use_ldap=True):
    settings = _settings.Settings(**dict.fromkeys(_settings.Settings._fields))
    settings = settings._replace(encryption=encryption, use_ldap=use_ldap)
    deadline = Deadline(time.monotonic() + 60, 60)
    return [str(each) for each in look_up(domain, settings, deadline, pytest.fail)]


def test_srv_records_come_by_priority_and_weight(domain_name_system):
    server = domain_name_system(
        corp=[
            "10 1 389 late.corp.example.",
            "0 0 3268 seldom.corp.example.",
            "0 10 389 rare.corp.example.",
            "0 30 389 common.corp.example.",
            "0 60 1636 often.corp.example.",
        ]
    )
    runs = 600
    orders = [looked_up("corp.example") for _run in range(runs)]
    assert set(server.asked) == {"_ldap._tcp.corp.example"}
    assert {order[4] for order in orders} == {"late.corp.example:636"}  # whatever its weight
    first = Counter(order[0] for order in orders)
    # By weight (RFC 2782), within four standard deviations: 600 p (1 - p) is at most 150.
    for host, share in (
        ("often.corp.example:1636", 0.6),
        ("common.corp.example:636", 0.3),
        ("rare.corp.example:636", 0.1),
    ):
        assert abs(first[host] - runs * share) < 4 * (runs * share * (1 - share)) ** 0.5, first
    assert first["seldom.corp.example:3269"] < 5  # "a very small chance of being selected"
    # Among those that are left the weights count again: 30 to 10 behind 'often'.
    behind = Counter(order[1] for order in orders if order[0] == "often.corp.example:1636")
    common, rare = behind["common.corp.example:636"], behind["rare.corp.example:636"]
    share = common / (common + rare)
    assert abs(share - 0.75) < 4 * (0.75 * 0.25 / sum(behind.values())) ** 0.5


def test_srv_leads_to_servers_in_their_order(domain_name_system, replicas, run):
    first, second = replicas(2)
    domain_name_system(
        corp=[
            "0 5 %s localhost." % unused().rpartition(":")[2],
            "1 5 %d localhost." % first.tls_port,
            "2 5 %d localhost." % second.tls_port,
        ]
    )
    asked = {"tls_server_name": "localhost"}  # which lies outside of the domain: see test_trust_reading.py
    assert run("srv:corp.example", **asked)["read"]["server"] == "localhost:%d" % first.tls_port
    first.fail(is_page_of_users, misbehaving.hangs_up)
    assert run("srv:corp.example", **asked)["read"]["server"] == "localhost:%d" % second.tls_port


@pytest.mark.parametrize(("encryption", "port"), [("ldaps", 636), ("start_tls", 389)])
def test_the_global_catalog_is_no_server_of_an_active_directory(domain_name_system, encryption, port):
    """It has only a part of each entry (MS-ADTS 1.1), without accountExpires: whoever has expired looks enabled."""
    domain_name_system(
        corp=["0 0 3268 gc.corp.example.", "1 0 389 dc.corp.example.", "2 0 3269 gc.corp.example."],
        other=["0 0 3268 elsewhere.example."],
    )
    assert looked_up("corp.example", encryption, use_ldap=False) == ["dc.corp.example:%d" % port]
    assert len(looked_up("corp.example", encryption, use_ldap=True)) == 3  # where these ports mean nothing


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ({}, "server: srv:corp.example is not found in DNS (The DNS query name does not exist: "),
        ({"corp": []}, "server: srv:corp.example is not found in DNS (The DNS response does not contain an answer"),
        ({"corp": ["0 0 389 ."]}, "server: srv:corp.example offers no LDAP, as DNS says: name its servers"),
        (
            {"corp": ["0 0 3268 gc.corp.example."]},
            "server: srv:corp.example leads to the Global Catalog alone ('gc.corp.example:3268'), which has only a "
            "part of each entry, without when an account expires: name a domain controller itself",
        ),
        ({"corp": None}, "server: srv:corp.example is not found in DNS (The resolution lifetime expired after "),
    ],
)
def test_a_domain_without_servers(domain_name_system, replicas, run, records, words):
    domain_name_system(**records)
    timeout = SHORT if None in records.values() else 60
    with pytest.raises(SynchronizationError) as error:
        run("srv:corp.example", timeout=timeout)
    assert str(error.value).startswith(words) and "\n" not in str(error.value)
    (server,) = replicas(1)  # and it does not keep the next one from being used
    result = run("srv:corp.example", server.ldaps_url, timeout=timeout)
    assert result["read"]["server"] == "127.0.0.1:%d" % server.tls_port


def test_without_dnspython_its_name_is_said(monkeypatch, run):
    monkeypatch.setitem(sys.modules, "dns", None)
    with pytest.raises(SynchronizationError, match="^server: srv:corp.example needs the Python library dnspython: "):
        run("srv:corp.example")
