# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers as they are written, libraries that are missing, servers that do not answer, and logins that are refused.

What a real server with certificates says is in tests/functional/test_reading.py.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import ldap3
import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory import connection
from ansible_collections.usersync.directory.plugins.module_utils._directory.connect import attempt
from ansible_collections.usersync.directory.plugins.module_utils._directory.connect.addresses import (
    ServerAddress,
    parse_server,
)
from ansible_collections.usersync.directory.plugins.module_utils._directory.connect.attempt import (
    Attempt,
    Deadline,
    NextServer,
)
from ansible_collections.usersync.directory.plugins.module_utils._directory.connect.login import check_bind
from hypothesis import given
from hypothesis import strategies as st

CHECKOUT = Path(__file__).resolve().parents[2]


def options(*servers, **more):
    known = dict(
        servers=servers,
        encryption="ldaps",
        validate_certs=True,
        ca_path=None,
        client_cert=None,
        client_key=None,
        tls_server_name=None,
        authentication="simple",
        login="CORP\\SVC",
        password="Kelp-7",
        keytab=None,
        timeout=1,
        use_ldap=False,
        page_size=1000,
    )
    return SimpleNamespace(**{**known, **more})


def refusal(*servers, **more):
    """The sentence with which connecting fails."""
    with pytest.raises(connection.ConnectError) as error:
        connection.connect(options(*servers, **more), lambda text: None)
    assert "Kelp" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "encryption", "address", "shown"),
    [
        ("dc1.example", "ldaps", ("ldaps", "dc1.example", 636), "dc1.example:636"),
        (" dc1.example ", "start_tls", ("ldap", "dc1.example", 389), "dc1.example:389"),
        ("dc1.example:3269", "ldaps", ("ldaps", "dc1.example", 3269), "dc1.example:3269"),
        ("192.0.2.1", "none", ("ldap", "192.0.2.1", 389), "192.0.2.1:389"),
        ("[2001:db8::1]", "ldaps", ("ldaps", "2001:db8::1", 636), "[2001:db8::1]:636"),
        ("[::1]:1636", "ldaps", ("ldaps", "::1", 1636), "[::1]:1636"),
        ("[::ffff:192.0.2.1]", "none", ("ldap", "::ffff:192.0.2.1", 389), "[::ffff:192.0.2.1]:389"),
        ("dc1.example.", "ldaps", ("ldaps", "dc1.example.", 636), "dc1.example.:636"),
        ("ldaps://dc1.example", "ldaps", ("ldaps", "dc1.example", 636), "dc1.example:636"),
        ("LDAP://dc1.example:1389/", "start_tls", ("ldap", "dc1.example", 1389), "dc1.example:1389"),
        ("ldap://[::1]/", "none", ("ldap", "::1", 389), "[::1]:389"),
        ("ldapi://%2Frun%2Fslapd%2Fldapi", "none", ("ldapi", "/run/slapd/ldapi", 0), "ldapi:///run/slapd/ldapi"),
        ("ldapi:///run/ldapi", "none", ("ldapi", "/run/ldapi", 0), "ldapi:///run/ldapi"),
        ("srv:corp.example.", "ldaps", ("srv", "corp.example", 0), "srv:corp.example"),
    ],
)
def test_servers(text, encryption, address, shown):
    parsed = parse_server(text, encryption)
    assert (parsed.scheme, parsed.host, parsed.port) == address
    assert str(parsed) == shown


def test_a_local_socket_goes_with_external():
    assert parse_server("ldapi:///run/ldapi", "ldaps", "external").host == "/run/ldapi"


@pytest.mark.parametrize(
    ("text", "encryption", "why"),
    [
        (
            "ldap://dc1",
            "ldaps",
            "'ldap://dc1' contradicts encryption: ldaps: write ldaps:// or choose encryption: start_tls",
        ),
        (
            "ldaps://dc1",
            "start_tls",
            "'ldaps://dc1' contradicts encryption: start_tls: write ldap:// or choose encryption: ldaps",
        ),
        (
            "ldaps://dc1",
            "none",
            "'ldaps://dc1' contradicts encryption: none: write ldap:// or choose encryption: ldaps",
        ),
        (
            "ldapi:///run/ldapi",
            "ldaps",
            (
                "'ldapi:///run/ldapi' contradicts encryption: ldaps: "
                "a local socket needs authentication: external or encryption: none"
            ),
        ),
        ("ldapi:///", "none", "'ldapi:///' names no socket: write its path, such as ldapi://%2Frun%2Fslapd%2Fldapi"),
        (
            "http://dc1",
            "ldaps",
            (
                "'http://dc1' is not a server: "
                "write a host, host:port, or a URL that begins with ldap://, ldaps:// or ldapi://"
            ),
        ),
        ("", "ldaps", "'' names no host: write a host, host:port, or a URL"),
        ("srv:", "ldaps", "'srv:' names no host: write a host, host:port, or a URL"),
        (":636", "ldaps", "':636' names no host: write a host, host:port, or a URL"),
        ("::1", "ldaps", "'::1' is not a server: write host:port, and an IPv6 address in brackets, [::1]:636"),
        (
            "dc1:ldaps",
            "ldaps",
            "'dc1:ldaps' is not a server: write host:port, and an IPv6 address in brackets, [::1]:636",
        ),
        (
            "[fe80::1%eth0]",
            "ldaps",
            "'[fe80::1%eth0]' has a zone, '%eth0', which is not supported: write a host, or an address without a zone",
        ),
        (
            "ldap://[::1%lo]:389",
            "none",
            (
                "'ldap://[::1%lo]:389' has a zone, '%lo', which is not supported: "
                "write a host, or an address without a zone"
            ),
        ),
        ("[1:2]:636", "ldaps", "'[1:2]:636' has '1:2' in brackets, which is no IPv6 address: write such as [::1]:636"),
        (
            "[::ffff:1.2.3.4.5]",
            "ldaps",
            (
                "'[::ffff:1.2.3.4.5]' has '::ffff:1.2.3.4.5' in brackets, which is no IPv6 address: "
                "write such as [::1]:636"
            ),
        ),
        ("[dc1]", "ldaps", "'[dc1]' has 'dc1' in brackets, which is no IPv6 address: write such as [::1]:636"),
        ("[]", "ldaps", "'[]' has '' in brackets, which is no IPv6 address: write such as [::1]:636"),
        (
            "dc1..corp",
            "none",
            "'dc1..corp' is no name of a host, whose parts have 1 to 63 characters: correct it",
        ),
        (
            "srv:%s.corp" % ("a" * 64),
            "none",
            "'srv:%s.corp' is no name of a host, whose parts have 1 to 63 characters: correct it" % ("a" * 64),
        ),
        ("dc1:0", "ldaps", "'dc1:0' has no valid port: write a number from 1 to 65535"),
        ("dc1:65536", "ldaps", "'dc1:65536' has no valid port: write a number from 1 to 65535"),
        (
            "ldap://dc1/dc=corp",
            "none",
            "'ldap://dc1/dc=corp' has '/dc=corp' behind the host: remove it (a DN goes into distinguished_name)",
        ),
        (
            "ldaps://dc1:636/OU=Staff,DC=corp",
            "ldaps",
            (
                "'ldaps://dc1:636/OU=Staff,DC=corp' has '/OU=Staff,DC=corp' behind the host: "
                "remove it (a DN goes into distinguished_name)"
            ),
        ),
        (
            "OU=Staff,DC=corp",
            "ldaps",
            (
                "'OU=Staff,DC=corp' has a '=', which no host has: write a host, host:port, or a URL "
                "(a DN goes into distinguished_name)"
            ),
        ),
        ("dc1,dc2", "ldaps", '\'dc1,dc2\' names several servers: write a list of them, ["dc1", "dc2"]'),
        (
            "ldap://dc1:389 ldap://dc2:389",
            "none",
            (
                "'ldap://dc1:389 ldap://dc2:389' names several servers: "
                'write a list of them, ["ldap://dc1:389", "ldap://dc2:389"]'
            ),
        ),
        (
            "dc1;[::1]:636",
            "ldaps",
            '\'dc1;[::1]:636\' names several servers: write a list of them, ["dc1", "[::1]:636"]',
        ),
    ],
)
def test_what_is_no_server(text, encryption, why):
    with pytest.raises(ValueError) as error:
        parse_server(text, encryption)
    assert str(error.value) == why
    assert refusal(text, encryption=encryption) == "server: " + why


ADDRESSES = st.ip_addresses(v=6).map(str) | st.from_regex(r"[0-9a-f:.]{1,20}(%[a-z0-9.-]{0,5})?", fullmatch=True)


@given(ADDRESSES, st.sampled_from(["", ":1", ":636"]), st.sampled_from(["", "ldap://"]))
def test_what_is_taken_for_an_address_is_one_that_ldap3_connects_to(text, port, scheme):
    """ldap3 takes '1:2' for host 1 and port 2, and raises what is no sentence for what it does not know."""
    try:
        parsed = parse_server("%s[%s]%s" % (scheme, text, port), "none")
    except ValueError:
        return
    server = ldap3.Server(parsed.host, port=parsed.port, get_info=ldap3.NONE)
    assert (server.host, server.port) == (parsed.host, parsed.port)
    assert ipaddress.IPv6Address(parsed.host) == ipaddress.IPv6Address(text)


def test_nothing_needs_ldap3_until_a_server_is_asked():
    code = (
        "import sys, runpy; runpy.run_path('tests/conftest.py')\n"
        "sys.modules.update(dict.fromkeys(['ldap3', 'gssapi', 'dns']))\n"
        "from ansible_collections.usersync.directory.plugins.module_utils._directory import connection, search\n"
        "try: connection.connect(None, print)\n"
        "except connection.ConnectError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=True)
    assert done.stdout == (
        "ldap3: reading a directory needs the Python library ldap3: "
        "install it on the node where this task runs, by '%s'\n" % how_to_install("ldap3")
    )


def how_to_install(library):
    is_debian = Path("/etc/debian_version").exists()
    if is_debian and sys.prefix == "/usr":
        return f"apt-get install python3-{library}"
    compiled = is_debian and library == "gssapi"
    return COMPILER * compiled + f"{sys.executable} -m pip install {library}"


COMPILER = "apt-get install gcc libkrb5-dev python3-dev && "


@pytest.mark.parametrize(
    ("library", "prefix", "is_debian", "command"),
    [
        ("ldap3", "/usr", True, "apt-get install python3-ldap3"),
        ("ldap3", "/usr", False, "/usr/bin/python3 -m pip install ldap3"),
        ("ldap3", "/opt/venv", True, "/usr/bin/python3 -m pip install ldap3"),
        ("gssapi", "/usr", True, "apt-get install python3-gssapi"),
        ("gssapi", "/opt/venv", True, COMPILER + "/usr/bin/python3 -m pip install gssapi"),
        ("gssapi", "/opt/venv", False, "/usr/bin/python3 -m pip install gssapi"),
    ],
)
def test_what_is_missing_is_told_with_the_command_that_installs_it(monkeypatch, library, prefix, is_debian, command):
    monkeypatch.setattr(sys, "prefix", prefix)
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    monkeypatch.setattr(os.path, "exists", lambda path: is_debian)
    assert str(attempt.missing_library("it", "it", library)).endswith(", by '%s'" % command)


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        ("import ldap3.nothing_else", "ldap3: it does not work with what is beside it"),
        (
            "from sys import tagMap",
            "(cannot import name 'tagMap' from 'sys' (unknown location)): install a pyasn1 that",
        ),
        ("raise ModuleNotFoundError('none', name='ldap3')", "needs the Python library ldap3: install it"),
    ],
)
def test_a_library_that_is_there_and_does_not_work_is_not_called_missing(monkeypatch, tmp_path, breaks, said):
    (tmp_path / "ldap3.py").write_text(breaks, encoding="ascii")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "ldap3"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(attempt.ConnectError) as raised:
        attempt.import_ldap3()
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("blocked", "more", "said"),
    [
        ("dns", {}, "server: srv:corp.example needs the Python library dnspython"),
        ("gssapi", {"authentication": "kerberos"}, "authentication: kerberos needs the Python library gssapi"),
    ],
)
def test_an_optional_library_is_named(monkeypatch, blocked, more, said):
    monkeypatch.setitem(sys.modules, blocked, None)
    assert refusal("srv:corp.example", **more) == (
        "%s: install it on the node where this task runs, by '%s'" % (said, how_to_install(said.split()[-1]))
    )


def test_a_port_nobody_listens_on(monkeypatch):
    def resolve(host, *more):
        if host == "nowhere.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return really_resolve(host, *more)

    really_resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    nobody = (
        "server: 127.0.0.1:%d cannot be used (Connection refused): check host and port, or that the server runs" % port
    )
    assert refusal("127.0.0.1:%d" % port) == nobody
    assert refusal("127.0.0.1:%d" % port, "nowhere.invalid") == (
        "server: none of 2 servers can be used: %s; "
        "server: the host name 'nowhere.invalid' is not known on the node where this task runs: correct it, or have "
        "the node ask a name server that knows it" % nobody
    )


@contextlib.contextmanager
def listening(behaviour):
    """A port where each connection is left to `behaviour`."""
    stop = threading.Event()

    def serve():
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                behaviour(client, stop)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield "127.0.0.1:%d" % listener.getsockname()[1]
        finally:
            stop.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


PATIENCE = 60  # seconds until these servers give up: a run is to give up long before


def silent(client, stop):
    stop.wait(PATIENCE)


def trickling(client, stop):
    client.recv(100)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        for octet in b"\x30\x84\0\0\0\xff\x02\x01\x01" + b"\x61" * 100:
            client.send(bytes([octet]))
            if stop.wait(0.1):
                return


@pytest.mark.parametrize("behaviour", [silent, trickling])
@pytest.mark.parametrize("encryption", ["ldaps", "start_tls", "none"])
def test_a_server_that_does_not_answer_in_time(behaviour, encryption):
    with listening(behaviour) as server:
        started = time.monotonic()
        said = refusal(server, encryption=encryption, timeout=0.3)
        assert time.monotonic() - started < PATIENCE / 2
    if behaviour is silent or encryption != "ldaps":  # the trickled bytes are not TLS, which is seen at once
        assert said == (
            "timeout: %s did not answer within 0.3 seconds: check the way to the server, or raise timeout" % server
        )


NO_START_TLS = "encryption: %s does not answer StartTLS: a port with TLS from the first byte needs encryption: ldaps"


def test_a_server_that_hangs_up():
    with listening(lambda client, stop: None) as server:
        assert (
            refusal(server)
            == "encryption: %s does not answer with TLS: a port without TLS needs encryption: start_tls" % server
        )
        assert refusal(server, encryption="none").startswith("server: %s cannot be used (" % server)
        assert refusal(server, encryption="start_tls") == NO_START_TLS % server


def test_a_server_that_speaks_no_ldap():
    with listening(lambda client, stop: client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        assert refusal(server, encryption="none").startswith("server: %s cannot be used" % server)
        assert refusal(server, encryption="start_tls") == NO_START_TLS % server
        assert (
            refusal(server)
            == "encryption: %s does not answer with TLS: a port without TLS needs encryption: start_tls" % server
        )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"ca_path": "/nowhere"},
            (
                "ca_path: '/nowhere' cannot be read as certificates in PEM format (No such file or directory): "
                "correct the path or the file"
            ),
        ),
        ({"ca_path": __file__}, "ca_path: '%s' cannot be read as certificates in PEM format (" % __file__),
        (
            {"client_cert": "/nowhere"},
            "client_cert: '/nowhere' cannot be read as a certificate with its key in PEM format, not encrypted (",
        ),
        (
            {"client_cert": __file__, "client_key": __file__},
            "client_cert: '%s' with client_key '%s' cannot be read" % (__file__, __file__),
        ),
    ],
)
def test_options_that_do_not_work(more, said):
    assert refusal("127.0.0.1:1", **more).startswith(said)


AD = "80090308: LdapErr: DSID-0C09050F, comment: AcceptSecurityContext error, data %s, v4563\0"


def answered(result, **more):
    """What is raised if a server answers a bind so."""
    check_bind(result, Attempt(ServerAddress("ldaps", "dc1", 636), options(**more), None, Deadline(1e12, 5)))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("525", "there is no such user"),
        ("52e", "the password is wrong, or there is no such user"),
        ("530", "the account may not log on at this time"),
        ("531", "the account may not log on from this computer"),
        ("532", "the password has expired"),
        ("533", "the account is disabled"),
        ("701", "the account has expired"),
        ("773", "the password must be changed first"),
        ("775", "the account is locked"),
    ],
)
def test_sub_codes_of_active_directory(code, words):
    with pytest.raises(connection.ConnectError) as error:
        answered({"result": 49, "message": AD % code, "description": "invalidCredentials"})
    remedy = (
        "correct login or password"
        if code in ("525", "52e")
        else "have that changed in the directory, or use another account"
    )
    assert str(error.value) == r"login: dc1:636 refused the login 'CORP\SVC', since %s (%s): %s" % (words, code, remedy)
    assert not isinstance(error.value, NextServer)


def test_the_sub_code_of_channel_binding():
    with pytest.raises(connection.ConnectError, match=r"^login: .*channel binding .* \(80090346\): .*cryptography"):
        answered({"result": 49, "message": AD % "80090346", "description": "x"}, keytab="/k")


@pytest.mark.parametrize(
    ("code", "begin", "next_server"),
    [
        (
            8,
            (
                "encryption: dc1:636 wants a stronger protection than encryption: ldaps with authentication: simple "
                "(d (8): m): "
            ),
            False,
        ),
        (13, "encryption: ", False),
        (7, "authentication: dc1:636 does not allow authentication: simple (d (7): m): choose another one", False),
        (48, "authentication: dc1:636 does not allow", False),
        (
            49,
            (
                r"login: dc1:636 refused the login 'CORP\SVC', since the login or the password is wrong (d (49): m): "
                "correct login or password"
            ),
            False,
        ),
        (53, "login: dc1:636 is not willing to accept this login (d (53): m): use another one", False),
        (34, "use_ldap: dc1:636 takes only a DN as login, so it is no Active Directory (d (34): m): set", False),
        (51, "server: dc1:636 is not available now (d (51): m): run again later", True),
        (52, "server: dc1:636 is not available now (d (52): m): run again later", True),
    ],
)
def test_other_answers_to_a_bind(code, begin, next_server):
    with pytest.raises(connection.ConnectError) as error:
        answered({"result": code, "message": "m", "description": "d"})
    assert str(error.value).startswith(begin)
    assert isinstance(error.value, NextServer) == next_server


def test_a_bind_dn_that_the_server_cannot_read():
    with pytest.raises(connection.ConnectError) as error:
        answered({"result": 34, "message": "m", "description": "d"}, use_ldap=True)
    assert str(error.value) == (
        "login: dc1:636 did not accept the login (d (34): m): correct it, or look into the server's log"
    )
