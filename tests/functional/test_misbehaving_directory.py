# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory that misbehaves on purpose behaves well when it is not told to: OpenLDAP's own programs say so."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest
import sansldap
from support import misbehaving, tree
from support.misbehaving import LOGIN, PASSWORD, MisbehavingDirectory
from support.process import parse_ldif

OU = "OU=Staff," + tree.DOMAIN


@pytest.fixture
def domain():
    domain = tree.ActiveDirectory()
    domain.unit("Staff")
    users = [domain.user("user%02d" % number, OU) for number in range(12)]
    domain.group("Nurses", OU, *users[:9])
    return domain


@pytest.fixture
def server(domain, ca):
    with MisbehavingDirectory(domain, ca=ca, max_page=5, max_values=4) as running:
        yield running


def ldapsearch(server, ca, *arguments, url=None, password=PASSWORD):
    done = subprocess.run(
        [
            "ldapsearch",
            "-LLL",
            "-o",
            "ldif-wrap=no",
            "-x",
            "-D",
            LOGIN,
            "-w",
            password,
            "-H",
            url or server.ldap_url,
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "LDAPTLS_CACERT": str(ca.cert)},
    )
    return (
        done.returncode,
        parse_ldif("\n".join(line for line in done.stdout.splitlines() if not line.startswith("#") and ":" in line)),
        done.stderr,
    )


def test_it_is_read_by_pages(server, ca):
    code, entries, _said = ldapsearch(server, ca, "-b", OU, "-E", "pr=3/noprompt", "(objectClass=user)", "cn")
    assert code == 0 and len(entries) == 12
    assert entries["CN=user00," + OU] == {"cn": ["user00"]}
    assert [request.page_size for request in server.of_kind("search")] == [3] * 4
    code, entries, said = ldapsearch(server, ca, "-b", OU, "(objectClass=user)", "cn")
    assert code == 4 and len(entries) == 5 and "Size limit exceeded" in said


@pytest.mark.parametrize(
    ("test", "found"),
    [
        ("(&(objectCategory=person)(objectClass=USER))", 12),
        ("(!(objectClass=user))", 2),
        ("(|(cn=user01)(cn=USER02)(cn=nobody))", 2),
        ("(cn=u*r1*)", 2),
        ("(&(cn=*1)(mail=*))", 2),
        ("(primaryGroupID>=513)", 12),
        ("(primaryGroupID<=512)", 0),
        ("(groupType:1.2.840.113556.1.4.803:=2147483648)", 1),
        ("(member=cn=user03 , ou=staff,dc=corp,DC=example)", 1),
        ("(&(objectClass=user)(!(showInAdvancedViewOnly=TRUE)))", 12),
    ],
)
def test_filters_are_evaluated(server, ca, test, found):
    code, entries, said = ldapsearch(server, ca, "-b", OU, "-E", "pr=5/noprompt", test, "1.1")
    assert (code, len(entries)) == (0, found), said


def test_scopes_and_what_does_not_exist(server, ca):
    for scope, found in (("base", 1), ("one", 1), ("sub", 3)):
        test = "(|(objectClass=domain)(objectClass=organizationalUnit)(cn=user00))"
        code, entries, _said = ldapsearch(server, ca, "-b", tree.DOMAIN, "-s", scope, test, "1.1")
        assert (code, len(entries)) == (0, found)
    assert ldapsearch(server, ca, "-b", "OU=None," + tree.DOMAIN)[0] == 32
    guid = "<GUID=%s>" % tree.key("group Nurses")
    assert list(ldapsearch(server, ca, "-b", guid, "-s", "base")[1]) == ["CN=Nurses," + OU]


def test_long_attributes_come_in_ranges(server, ca):
    nurses = "CN=Nurses," + OU
    code, entries, _said = ldapsearch(server, ca, "-b", nurses, "-s", "base", "(objectClass=*)", "member")
    assert list(entries[nurses]) == ["member;range=0-3"]
    _code, entries, _said = ldapsearch(server, ca, "-b", nurses, "-s", "base", "(objectClass=*)", "member;range=8-*")
    assert entries[nurses] == {"member;range=8-*": ["CN=user08," + OU]}


def test_it_looks_like_active_directory_and_like_openldap(server, ca):
    _code, entries, _said = ldapsearch(server, ca, "-b", "", "-s", "base")
    assert entries[""]["defaultnamingcontext"] == [tree.DOMAIN]
    openldap = tree.OpenLDAP()
    people = openldap.unit("people")
    openldap.group("Nurses", people, openldap.user("ann", people))
    with MisbehavingDirectory(openldap, logins={LOGIN: PASSWORD}, size_limit=3) as server:
        code, entries, _said = ldapsearch(server, ca, "-b", tree.SUFFIX, "-E", "pr=2/noprompt", "(objectClass=*)", "+")
        assert code == 4 and len(entries) == 3  # on the total, as OpenLDAP's size.prtotal does
        code, entries, _said = ldapsearch(server, ca, "-b", people, "(uid=ANN)", "uid", "entryUUID")
        assert entries["uid=ann," + people] == {"uid": ["ann"], "entryuuid": [str(tree.key("user ann"))]}


def test_tls_on_its_own_port_and_after_start_tls(server, ca):
    search = ["-b", OU, "-s", "base"]
    assert ldapsearch(server, ca, *search, url=server.ldaps_url)[0] == 0
    assert ldapsearch(server, ca, *search, "-ZZ")[0] == 0
    assert [request.encrypted for request in server.of_kind("bind")] == [True, True]
    server.present(ca.expired())
    assert ldapsearch(server, ca, *search, url=server.ldaps_url)[0] == 255


def test_who_may_not_log_in_is_refused_and_reads_nothing(server, ca):
    code, _entries, said = ldapsearch(server, ca, "-b", OU, password="wrong")
    assert code == 49 and "data 52e" in said
    assert ldapsearch(server, ca, "-b", OU, "-D", "", password="")[0] == 1  # anonymous: no bind at all


def test_it_remembers_what_came_and_a_write_fails_the_test(domain):
    with pytest.raises(AssertionError, match="more than reading"), MisbehavingDirectory(domain) as server:
        ldif = "dn: OU=Staff,%s\nchangetype: delete\n" % tree.DOMAIN
        subprocess.run(
            ["ldapmodify", "-x", "-D", LOGIN, "-w", PASSWORD, "-H", server.ldap_url],
            input=ldif,
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert [(bind.login, bind.password) for bind in server.of_kind("bind")] == [(LOGIN, PASSWORD)]
    assert len(domain) == 15


def test_faults_begin_and_end_where_they_are_told(server, ca):
    pages = ["-b", OU, "-E", "pr=3/noprompt", "(objectClass=user)", "1.1"]
    server.fail(
        lambda request: request.kind == "search" and request.page_size,
        misbehaving.ends_with(51, "busy now"),
        first=2,
        times=1,
    )
    code, entries, said = ldapsearch(server, ca, *pages)
    assert code == 51 and "busy now" in said and len(entries) == 3 + 2  # a page, and half of the next one's messages
    assert ldapsearch(server, ca, *pages)[0] == 51  # on the next connection it is counted anew
    server.behave()
    assert len(ldapsearch(server, ca, *pages)[1]) == 12
    server.behave()
    assert server.received == [] and server.connections == 0


def test_an_entry_that_moves_between_two_pages_comes_twice_or_not_at_all(server, domain, ca):
    pages = ["-b", tree.DOMAIN, "-E", "pr=3/noprompt", "(objectClass=user)", "1.1"]
    early, late = domain.unit("A"), domain.unit("Z")
    server.fail(
        lambda request: request.page_size,
        times=1,
        fault=misbehaving.changes(lambda: domain.move("CN=user00," + OU, "CN=user00," + late)),
    )
    assert len(ldapsearch(server, ca, *pages)[1]) == 13
    server.behave()
    server.fail(
        lambda request: request.page_size,
        times=1,
        fault=misbehaving.changes(lambda: domain.move("CN=user11," + OU, "CN=user11," + early)),
    )
    assert len(ldapsearch(server, ca, *pages)[1]) == 11


def test_it_ends_with_the_test_even_while_it_stalls(domain):
    with MisbehavingDirectory(domain) as server, socket.create_connection(("127.0.0.1", server.port), 5) as client:
        server.fail(lambda request: True, misbehaving.stalls)
        session = sansldap.LDAPClient()
        session.bind_simple(LOGIN, PASSWORD)
        client.sendall(session.data_to_send())
        assert len(client.recv(100)) > 3
