# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connecting to a real OpenLDAP server and reading it to the end, or not at all."""

from __future__ import annotations

import base64
import os
import ssl
import threading
from types import SimpleNamespace

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory import ber, connection, requests, search
from ansible_collections.usersync.directory.tests.support import tree
from ansible_collections.usersync.directory.tests.support.misbehaving import MisbehavingDirectory
from ansible_collections.usersync.directory.tests.support.slapd import Slapd
from ansible_collections.usersync.directory.tests.support.tls import CertificateAuthority

SUFFIX = "dc=example,dc=org"
USERS = 620


def company():
    entries = ["dn: %s\nobjectClass: domain\ndc: example\n" % SUFFIX]
    entries += [
        "dn: uid=u%d,%s\nobjectClass: inetOrgPerson\nuid: u%d\ncn: Zoë %d\nsn: %d\nuserPassword: pw\n"
        % (n, SUFFIX, n, n, n)
        for n in range(USERS)
    ]
    members = "".join("member: uid=u%d,%s\n" % (n % USERS, SUFFIX) for n in range(USERS))
    entries.append("dn: cn=all,%s\nobjectClass: groupOfNames\ncn: all\n%s" % (SUFFIX, members))
    entries.append(
        "dn: ou=away,%s\nobjectClass: referral\nobjectClass: extensibleObject\nou: away\n"
        "ref: ldap://other.example/ou=away\n" % SUFFIX
    )
    return "\n".join(entries)


@pytest.fixture(scope="module")
def server():
    with Slapd(SUFFIX, company(), size_limit=500) as running:
        yield running


@pytest.fixture
def options(server):
    def build(**more):
        known = dict(
            servers=(server.ldaps_url,),
            encryption="ldaps",
            validate_certs=True,
            ca_path=str(server.ca.cert),
            client_cert=None,
            client_key=None,
            tls_server_name=None,
            authentication="simple",
            login=server.admin_dn,
            password=server.password,
            keytab=None,
            timeout=60,
            use_ldap=True,
            page_size=100,
        )
        return SimpleNamespace(**{**known, **more})

    return build


@pytest.fixture
def connect(options):
    sessions = []

    def open_session(**more):
        sessions.append(connection.connect(options(**more), sessions_warnings.append))
        return sessions[-1]

    sessions_warnings = open_session.warnings = []
    yield open_session
    for session in sessions:
        session.close()


def test_every_page_of_a_search(server, connect):
    session = connect()
    entries = {
        dn.decode(): attributes
        for dn, attributes, _raw in search.search(
            session, SUFFIX, "sub", "(objectClass=inetOrgPerson)", ("uid", "cn", "entryUUID")
        )
    }
    expected = server.search("(objectClass=inetOrgPerson)", "uid", "cn", "entryUUID")
    assert entries == {
        dn: {name.lower(): [value.encode() for value in values] for name, values in attributes.items()}
        for dn, attributes in expected.items()
    }
    assert (session.entries, session.pages) == (USERS, 7)
    assert session.not_read == ["ldap://other.example/ou=away??sub"]


def test_searches_of_other_scopes(connect):
    session = connect()
    assert [dn for dn, _a, _r in search.search(session, SUFFIX, "base", "(objectClass=*)", ("1.1",))] == [
        SUFFIX.encode()
    ]
    assert (
        len(list(search.search(session, SUFFIX, "one", "(objectClass=groupOfNames)", ("cn",), search.How(page_size=1))))
        == 1
    )
    ((_dn, group, _raw),) = search.search(session, "cn=all," + SUFFIX, "base", "(member=*)", ("member",))
    assert len(group["member"]) == USERS
    assert session.not_read == ["ldap://other.example/ou=away??base"]


def test_a_size_limit_ends_the_read_with_advice(connect):
    session = connect(login="uid=u0," + SUFFIX, password="pw")
    with pytest.raises(ber.ReadError) as error:
        list(search.search(session, SUFFIX, "sub", "(objectClass=*)", ("cn",)))
    assert (
        "it ended after 500 entries (sizeLimitExceeded (4)): "
        "ask the administrator of the directory for a higher limit" in str(error.value)
    )
    assert len(list(search.search(session, SUFFIX, "sub", "(uid=u1*)", ("cn",)))) == 111


def test_a_base_that_does_not_exist(connect):
    session = connect()
    with pytest.raises(search.NoSuchEntry, match="^login: the read is not complete, since 'ou=gone,.*' does not exist"):
        list(search.search(session, "ou=gone," + SUFFIX, "sub", "(cn=*)", ("cn",)))
    assert list(search.search(session, "ou=gone," + SUFFIX, "sub", "(cn=*)", ("cn",), search.MISSING_OK)) == []
    with pytest.raises(
        ber.ReadError,
        match="^server: the read of 'ou=away,.*' is not complete, .*ldap://other.example/.*: name that server",
    ):
        list(search.search(session, "ou=away," + SUFFIX, "sub", "(cn=*)", ("cn",)))


def test_a_server_that_dies_in_the_middle_of_a_read():
    with Slapd(SUFFIX, company()) as mortal:
        settings = SimpleNamespace(
            servers=(mortal.ldaps_url,),
            encryption="ldaps",
            validate_certs=True,
            ca_path=str(mortal.ca.cert),
            client_cert=None,
            client_key=None,
            tls_server_name=None,
            authentication="simple",
            login=mortal.admin_dn,
            password=mortal.password,
            keytab=None,
            timeout=60,
            use_ldap=True,
            page_size=10,
        )
        with connection.connect(settings, lambda text: None) as session:
            entries = search.search(session, SUFFIX, "sub", "(objectClass=*)", ("cn",))
            next(entries)
            mortal.stop()
            with pytest.raises(ber.ReadError):
                list(entries)
            with pytest.raises(RuntimeError):
                search.search(session, SUFFIX, "sub", "(objectClass=*)", ("cn",))


def test_what_the_server_says_of_itself(server, connect):
    root = connect().root_dse
    assert root["namingcontexts"] == [SUFFIX.encode()]
    assert requests.PAGED_RESULTS.encode() in root["supportedcontrol"]
    assert b"OpenLDAProotDSE" in root["objectclass"]


def test_a_session_shows_no_password(server, connect):
    session = connect()
    inside = session.connection
    for shown in (
        repr(session),
        str(inside),
        repr(inside),
        repr(vars(inside)),
        repr(vars(inside.strategy)),
        repr(vars(inside.server)),
    ):
        assert server.password not in shown


# --- encryption and names


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("encryption", ["ldaps", "start_tls"])
def test_certificates_with_names_and_addresses(server, connect, host, encryption):
    port = server.tls_port if encryption == "ldaps" else server.port
    session = connect(servers=("%s:%d" % (host, port),), encryption=encryption)
    assert session.server == "%s:%d" % (host, port)
    assert session.socket.version() in ("TLSv1.2", "TLSv1.3")
    assert connect.warnings == []


@pytest.mark.parametrize("encryption", ["ldaps", "start_tls"])
@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"tls_server_name": "other.example"},
            (
                "tls_server_name: the certificate of %s is not for 'other.example', but for localhost, 127.0.0.1, "
                "0:0:0:0:0:0:0:1: connect by a name in it, or give that name in tls_server_name"
            ),
        ),
        ({"ca_path": None}, "ca_path: the certificate of %s is not signed by a trusted authority "),
    ],
)
def test_certificates_that_do_not_fit(server, options, encryption, more, said):
    address = "127.0.0.1:%d" % (server.tls_port if encryption == "ldaps" else server.port)
    with pytest.raises(connection.ConnectError) as error:
        connection.connect(options(servers=(address,), encryption=encryption, **more), lambda text: None)
    assert str(error.value).startswith(said % address)


@pytest.fixture(scope="module")
def presenting(server):
    """A server in this process, whose TLS can be told what to present and to demand."""
    with MisbehavingDirectory(tree.OpenLDAP(), ca=server.ca, logins={}) as running:
        yield running


def test_who_issued_a_certificate_that_nobody_here_trusts(server, presenting, options):
    """So it is where the server does not send the intermediate certificate."""
    presenting.present(server.ca.issue("server"))
    with pytest.raises(connection.ConnectError) as error:
        connection.connect(options(servers=(presenting.ldaps_url,), ca_path=None), lambda text: None)
    assert str(error.value) == (
        "ca_path: the certificate of 127.0.0.1:%d is not signed by a trusted authority (unable to get local issuer "
        "certificate): give the certificate of 'Throwaway test CA', which issued it, in ca_path, and if that is an "
        "intermediate one, those of the authorities above it, too" % presenting.tls_port
    )


def test_a_certificate_that_has_only_a_common_name(server, presenting, options):
    presenting.present(server.ca.issue("dc1.corp", ()))
    with pytest.raises(
        connection.ConnectError, match="is not for '127.0.0.1', but for dc1.corp: connect by a name in it"
    ):
        connection.connect(options(servers=(presenting.ldaps_url,)), lambda text: None)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_demands_a_client_certificate(server, presenting, options, tmp_path, version):
    """TLS 1.3 has the alert come with the first answer, and earlier ones end the handshake with it."""
    presenting.present(server.ca.issue("server"), server.ca, version)

    def refusal(**more):
        with pytest.raises(connection.ConnectError) as error:
            connection.connect(options(servers=(presenting.ldaps_url,), **more), lambda text: None)
        return str(error.value)

    address = "127.0.0.1:%d" % presenting.tls_port
    said = refusal()
    assert said in (
        "client_cert: %s demands a client certificate (certificate required): give one that it trusts" % address,
        "client_cert: %s ended TLS (handshake failure): give a client certificate if it demands one, or check how TLS "
        "is set up there" % address,
    )
    pair = CertificateAuthority(tmp_path).issue("reader", client=True)
    said = refusal(client_cert=str(pair.cert), client_key=str(pair.key))
    assert said == "client_cert: %s refused the client certificate (unknown ca): give one that it trusts" % address


def test_another_name_and_an_expired_certificate(server):
    settings = dict(
        encryption="ldaps",
        validate_certs=True,
        ca_path=str(server.ca.cert),
        client_cert=None,
        client_key=None,
        authentication="anonymous",
        login=None,
        password=None,
        keytab=None,
        timeout=60,
        use_ldap=True,
        page_size=100,
    )
    with Slapd(SUFFIX, ca=server.ca, certificate=server.ca.wrong_name()) as other:
        connection.connect(
            SimpleNamespace(servers=(other.ldaps_url,), tls_server_name="other.example", **settings), None
        ).close()
        with pytest.raises(
            connection.ConnectError, match="is not for '127.0.0.1', but for other.example: connect by a name in it"
        ):
            connection.connect(SimpleNamespace(servers=(other.ldaps_url,), tls_server_name=None, **settings), None)
    with (
        Slapd(SUFFIX, ca=server.ca, certificate=server.ca.expired()) as other,
        pytest.raises(
            connection.ConnectError, match="server: the certificate of .* has expired: have it renewed there"
        ),
    ):
        connection.connect(SimpleNamespace(servers=(other.ldaps_url,), tls_server_name=None, **settings), None)


def test_openldap_that_demands_a_client_certificate(options, tmp_path):
    """It closes the connection, without a word."""
    with Slapd(SUFFIX) as other:
        other.configure(lambda text: text.replace("TLSVerifyClient try", "TLSVerifyClient demand"))
        pair = CertificateAuthority(tmp_path).issue("reader", client=True)
        address = "127.0.0.1:%d" % other.tls_port
        for more, said in (
            ({}, "server: %s closed the connection before it answered the login: give client_cert if it demands a"),
            (
                {"client_cert": str(pair.cert), "client_key": str(pair.key)},
                "client_cert: %s closed the connection when it had the client certificate: give one that it trusts",
            ),
        ):
            known = {"servers": (other.ldaps_url,), "ca_path": str(other.ca.cert), **more}
            with pytest.raises(connection.ConnectError) as error:
                connection.connect(options(**known), lambda text: None)
            assert str(error.value).startswith(said % address)


def test_a_directory_of_authorities(server, connect, tmp_path):
    (tmp_path / "ca.pem").write_bytes(server.ca.cert.read_bytes())
    assert os.spawnlp(os.P_WAIT, "openssl", "openssl", "rehash", str(tmp_path)) == 0
    connect(ca_path=str(tmp_path))


def test_a_directory_of_authorities_without_hashed_names(server, options, tmp_path):
    (tmp_path / "ca.pem").write_bytes(server.ca.cert.read_bytes())
    with pytest.raises(connection.ConnectError) as error:
        connection.connect(options(ca_path=str(tmp_path)), lambda text: None)
    assert str(error.value) == (
        "ca_path: the directory '%s' has no certificate by a name that OpenSSL looks for, such as 4a6481c9.0: run "
        "'openssl rehash %s', or name a file" % (tmp_path, tmp_path)
    )


def test_what_is_not_safe_is_said(server, connect):
    assert connect(validate_certs=False, ca_path=None).server
    assert connect.warnings == [
        "validate_certs: false lets anybody on the way pose as the directory and read the password."
    ]
    connect.warnings.clear()
    assert connect(servers=(server.ldap_url,), encryption="none").server
    assert connect.warnings == [
        "encryption: none sends the password in clear text, and lets anybody on the way change what is read, such as "
        "add himself to a group; choose ldaps or start_tls."
    ]


def test_a_server_without_start_tls_is_not_used(options):
    with Slapd(SUFFIX) as plain:
        plain.stop()
        config = plain.directory / "slapd.conf"
        config.write_text("".join(line for line in config.read_text().splitlines(True) if not line.startswith("TLS")))
        plain.ldaps_url = "ldap://127.0.0.1:%d" % plain.tls_port
        plain.start()
        with pytest.raises(connection.ConnectError, match="encryption: 127.0.0.1:%d refuses StartTLS" % plain.port):
            connection.connect(options(servers=(plain.ldap_url,), encryption="start_tls"), lambda text: None)


def test_start_tls_where_tls_is_from_the_first_byte(server, options):
    address = "127.0.0.1:%d" % server.tls_port
    with pytest.raises(connection.ConnectError) as error:
        connection.connect(options(servers=(address,), encryption="start_tls"), lambda text: None)
    assert str(error.value) == (
        "encryption: %s does not answer StartTLS: a port with TLS from the first byte needs encryption: ldaps" % address
    )


# --- logins


def test_a_wrong_password_goes_to_no_other_server(server, options):
    asked = []
    with Slapd(SUFFIX, ca=server.ca) as other:
        with pytest.raises(connection.ConnectError) as error:
            connection.connect(options(servers=(server.ldaps_url, other.ldaps_url), password="wrong"), asked.append)
        address = "127.0.0.1:%d" % server.tls_port
        assert str(error.value) == (
            "login: %s refused the login '%s', since the login or the password is wrong (invalidCredentials (49)): "
            "correct login or password" % (address, server.admin_dn)
        )
        # The other one would have let us in.
        with pytest.raises(connection.ConnectError, match=r"127.0.0.1:1 cannot be used \(Connection refused\)"):
            connection.connect(options(servers=("127.0.0.1:1",), password=other.password), asked.append)
        connection.connect(
            options(servers=("127.0.0.1:1", other.ldaps_url), password=other.password), asked.append
        ).close()


def test_a_password_goes_out_as_it_is(server, connect):
    password = "\u00a0Ångström\ufb01 \u00ad"  # SASLprep would make another one of it
    server.modify(
        "dn: uid=odd,%s\nobjectClass: inetOrgPerson\nuid: odd\ncn: odd\nsn: odd\nuserPassword:: %s\n"
        % (SUFFIX, base64.b64encode(password.encode()).decode())
    )
    try:
        assert connect(login="uid=odd," + SUFFIX, password=password).server
    finally:
        server.modify("dn: uid=odd,%s\nchangetype: delete\n" % SUFFIX)


def test_external_by_the_local_socket_and_by_certificate(server, connect):
    session = connect(servers=(server.ldapi_url,), authentication="external", login=None, password=None)
    assert len(list(search.search(session, SUFFIX, "base", "(objectClass=*)", ("1.1",)))) == 1
    pair = server.ca.issue("reader", client=True)
    session = connect(
        authentication="external", login=None, password=None, client_cert=str(pair.cert), client_key=str(pair.key)
    )
    assert len(list(search.search(session, SUFFIX, "base", "(objectClass=*)", ("1.1",)))) == 1


def test_anonymous_may_connect_but_not_read(connect):
    session = connect(authentication="anonymous", login=None, password=None)
    with pytest.raises(ber.ReadError, match="^authentication: the read of .* is not complete"):
        list(search.search(session, SUFFIX, "sub", "(objectClass=*)", ("cn",)))


def test_nothing_is_left_running(server, connect):
    connect()
    assert [
        thread
        for thread in threading.enumerate()
        if isinstance(thread, threading.Timer) and not thread.finished.is_set()
    ] == []
