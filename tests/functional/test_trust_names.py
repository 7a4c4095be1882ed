# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A name that nobody has signed gets no password: SRV records, Kerberos' canonical names, connections in clear text."""

from __future__ import annotations

from contextlib import ExitStack
from types import SimpleNamespace

import dns.resolver
import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory import connection
from ansible_collections.usersync.directory.plugins.module_utils._directory.connect.attempt import (
    ConnectError,
    Deadline,
)
from ansible_collections.usersync.directory.plugins.module_utils._directory.connect.dns_srv import look_up
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from support import tree
from support.dns_server import DnsServer
from support.lab import ROOT, Lab, dn_of, group, person, synchronize, unit
from support.misbehaving import LOGIN, PASSWORD, MisbehavingDirectory
from support.slapd import Slapd

OU = "OU=Staff," + tree.DOMAIN


@pytest.fixture
def server(ca):
    """A server that anybody may hold: its certificate is of a trusted authority, for its own name, localhost."""
    domain = tree.ActiveDirectory()
    domain.user("ann", domain.unit("Staff"))
    with MisbehavingDirectory(domain, ca=ca) as running:
        yield running


@pytest.fixture
def names(monkeypatch):
    """What DNS answers: domain -> SRV records."""
    with ExitStack() as stack:

        def answer(**records):
            server = stack.enter_context(
                DnsServer({"_ldap._tcp." + domain.replace("_", "."): found for domain, found in records.items()})
            )
            monkeypatch.setattr(dns.resolver, "default_resolver", server.resolver())

        yield answer


@pytest.fixture
def run(tmp_path, ca):
    def run_with(*servers, **more):
        run_with.warnings = []
        options = {
            "name": "staff",
            "server": list(servers),
            "ca_path": str(ca.cert),
            "login": LOGIN,
            "password": PASSWORD,
            "distinguished_name": OU,
            "user_group": "All/Staff",
            "timeout": 5,
            "store": str(tmp_path / "users.db"),
            **more,
        }
        return synchronize(False, run_with.warnings, **options)

    return run_with


# --- SRV records -----------------------------------------------------------------------------------------------------


def test_a_forged_answer_gets_no_password(names, server, run):
    """Finding T1: the certificate is valid, and for the name that DNS gave. It proves nothing."""
    names(corp_example=["0 0 %d localhost." % server.tls_port])
    with pytest.raises(SynchronizationError) as error:
        run("srv:corp.example")
    assert str(error.value) == (
        "server: srv:corp.example leads to 'localhost', which does not lie in that domain and is not used, since DNS "
        "answers can be forged: name the server itself, or give in tls_server_name what its certificate is for"
    )
    assert server.connections == 0


def test_tls_server_name_says_what_the_certificate_must_be_for(names, server, run, ca):
    names(corp_example=["0 0 %d localhost." % server.tls_port])
    assert run("srv:corp.example", tls_server_name="localhost")["users"]["created"] == ["ann"]
    assert [each for each in run.warnings if not each.startswith("distinguished_name:")] == []
    server.behave()
    with pytest.raises(
        SynchronizationError, match="^tls_server_name: the certificate of localhost:.* is not for 'corp"
    ):
        run("srv:corp.example", tls_server_name="corp.example")
    assert not server.of_kind("bind")
    server.present(ca.issue("domain", ("corp.example",)))  # as Active Directory's certificates have the domain, too
    assert not run("srv:corp.example", tls_server_name="corp.example")["changed"]


@pytest.mark.parametrize(
    "more",
    [
        {"encryption": "none"},
        {"encryption": "none", "tls_server_name": "localhost"},
        {"encryption": "ldaps", "validate_certs": False},
        {"encryption": "ldaps", "validate_certs": False, "tls_server_name": "localhost"},
        {"encryption": "start_tls"},
        {"encryption": "none", "authentication": "anonymous", "login": None, "password": None},
    ],
    ids=str,
)
def test_where_no_certificate_is_looked_at_only_the_domain_counts(names, server, run, more):
    port = server.tls_port if more["encryption"] == "ldaps" else server.port
    names(corp_example=["0 0 %d localhost." % port])
    with pytest.raises(
        SynchronizationError, match="^server: srv:corp.example leads to 'localhost', which does not lie"
    ):
        run("srv:corp.example", **more)
    assert server.connections == 0


def test_a_server_in_the_domain_is_used_and_the_others_are_told(names, server, run):
    names(localhost=["0 0 %d dc1.evil.example." % server.tls_port, "1 0 %d LOCALHOST." % server.tls_port])
    assert run("srv:localhost")["users"]["created"] == ["ann"]
    warning = run.warnings[0]
    assert warning.startswith("server: srv:localhost leads to 'dc1.evil.example', which does not lie in that domain")


def looked_up(domain, **more):
    """Whom a look-up leads to, and whether others were told of."""
    told = []
    settings = SimpleNamespace(
        **{"encryption": "ldaps", "validate_certs": True, "tls_server_name": None, "use_ldap": False, **more}
    )
    try:
        found = look_up(domain, settings, Deadline(1e12, 5), told.append)
    except ConnectError as error:
        return [], str(error)
    return [address.host for address in found], "".join(told)


@pytest.mark.parametrize(
    ("target", "taken"),
    [
        ("dc1.corp.example.", True),
        ("DC1.Corp.EXAMPLE.", True),
        ("dc1.site.corp.example.", True),
        ("corp.example.", True),
        ("evilcorp.example.", False),  # a suffix of letters, not of labels
        ("corp.example.evil.example.", False),
        ("example.", False),
        ("xn--corp-.example.", False),
        ("10.0.0.5.", False),
        (r"dc1\.corp.example.", False),  # one label with a dot in it, in the domain 'example'
        (r"a\.b.corp.example.", False),
        (r"dc1\000.corp.example.", False),
        (r"dc1\032x.corp.example.", False),
    ],
)
@pytest.mark.parametrize("asked", ["corp.example", "CORP.Example."])
def test_what_lies_in_a_domain(names, target, taken, asked):
    names(corp_example=["0 0 389 " + target])
    found, said = looked_up(asked.strip("."))
    assert bool(found) is taken and bool(said) is not taken


def test_an_internationalized_domain(names):
    names(**{"xn--bcher-kva_example": ["0 0 389 dc1.xn--bcher-kva.example.", "0 0 389 dc1.xn--bcher-kvb.example."]})
    for asked in ("bücher.example", "BÜCHER.example", "xn--bcher-kva.example"):
        found, said = looked_up(asked)
        assert found == ["dc1.xn--bcher-kva.example"] and "'dc1.xn--bcher-kvb.example'" in said


def test_a_target_that_is_no_host_is_not_used_whatever_the_certificate(names):
    names(corp_example=[r"0 0 389 a\047b.corp.example.", "0 0 389 ok.evil.example."])
    found, said = looked_up("corp.example", tls_server_name="dc1.corp.example")
    assert found == ["ok.evil.example"] and r"a\047b" in said or "a/b" in said


def test_many_names_are_not_all_told(names):
    names(corp_example=["0 0 389 dc%d.evil.example." % number for number in range(9)])
    found, said = looked_up("corp.example")
    assert not found and said.count("evil.example") == 5 and "..., which does not lie" in said


def test_an_alias_of_the_records_leads_nowhere_else(names):
    """However the answer came about, the names in it are compared with what was asked for."""
    names(corp_example=["0 0 389 dc1.evil.example."], evil_example=["0 0 389 dc1.evil.example."])
    assert looked_up("corp.example")[0] == [] and looked_up("evil.example")[0] == ["dc1.evil.example"]


# --- what is said of connections in clear text -----------------------------------------------------------------------

_CHANGED = "lets anybody on the way change what is read, such as add himself to a group; choose ldaps or start_tls."


@pytest.mark.parametrize(
    ("more", "warning"),
    [
        ({"encryption": "none"}, "encryption: none sends the password in clear text, and " + _CHANGED),
        ({"encryption": "none", "authentication": "kerberos"}, "encryption: none " + _CHANGED),
        ({"encryption": "none", "authentication": "anonymous", "password": None}, "encryption: none " + _CHANGED),
        (
            {"validate_certs": False},
            "validate_certs: false lets anybody on the way pose as the directory and read the password.",
        ),
        (
            {"validate_certs": False, "authentication": "kerberos"},
            "validate_certs: false lets anybody on the way pose as the directory.",
        ),
        ({}, None),
        ({"encryption": "none", "servers": ("ldapi:///run/slapd/ldapi",)}, None),
        ({"encryption": "none", "servers": ("LDAPI:///run/slapd/ldapi",), "authentication": "external"}, None),
        (
            {"encryption": "none", "servers": ("ldapi:///run/slapd/ldapi", "ldap://dc1"), "authentication": "kerberos"},
            "encryption: none " + _CHANGED,
        ),
    ],
)
def test_what_can_be_changed_on_the_way_is_said(more, warning):
    """Finding T2."""
    told = []
    usual = {
        "servers": ("dc1",),
        "encryption": "ldaps",
        "validate_certs": True,
        "password": "Slate-7-plover-Vy30",
        "authentication": "simple",
    }
    connection.warn_about(SimpleNamespace(**{**usual, **more}), told.append)
    assert told == ([warning] if warning else [])


def test_a_local_socket_is_no_way_for_anybody(tmp_path):
    people = unit("people") + person("ann") + group("nurses", dn_of("ann"))
    with Slapd(ldif=ROOT + people, anonymous_read=True) as server:
        lab = Lab(server, tmp_path / "users.db")
        lab.once()
        assert lab.warnings == []
        lab.once(server=[server.ldap_url], authentication="anonymous")
        assert lab.warnings == ["encryption: none " + _CHANGED]


# --- Kerberos --------------------------------------------------------------------------------------------------------


def test_the_name_in_a_ticket_does_not_come_from_dns(samba, run, tmp_path, monkeypatch):
    """A library that is free to (dns_canonicalize_hostname, rdns) asks DNS what 127.0.0.1 is called: localhost.

    The realm knows localhost, and not 127.0.0.1: whoever answers such questions would choose the server.
    """
    config = samba.krb5_config.read_text(encoding="utf-8")
    asking = config.replace("rdns = false", "rdns = true").replace(
        "dns_canonicalize_hostname = false", "dns_canonicalize_hostname = true"
    )
    assert asking.count("= true") == 2
    (tmp_path / "krb5.conf").write_text(asking, encoding="utf-8")
    monkeypatch.setenv("KRB5_CONFIG", str(tmp_path / "krb5.conf"))
    login = {
        "authentication": "kerberos",
        "login": "Administrator@CORP.EXAMPLE",
        "password": samba.password,
        "ca_path": str(samba.ca.cert),
        "distinguished_name": "CN=Users,%s" % samba.base_dn,
        # Groups there list users of other tests, who may be unreadable.
        "outside_members": "skip",
    }
    with pytest.raises(SynchronizationError) as error:
        run("127.0.0.1", **login)
    assert str(error.value).startswith(
        "login: Kerberos gives no ticket to 'Administrator@CORP.EXAMPLE', since the realm"
    )
    assert str(error.value).endswith("give its full host name in server or tls_server_name")
    assert "Administrator" in run("127.0.0.1", tls_server_name="localhost", **login)["users"]["created"]
    for name in ("localhost", "LOCALHOST"):
        assert not run(name, **login)["changed"]
