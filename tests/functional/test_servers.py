# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test servers are what the other tests believe them to be."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess

import pytest
from support.tls import LOOPBACK_NAMES, CertificateAuthority


def handshake(port: int, ca: CertificateAuthority, name: str) -> None:
    context = ssl.create_default_context(cafile=str(ca.cert))
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        context.wrap_socket(connection, server_hostname=name).close()


def ldap(program: str, *arguments: str, ca: CertificateAuthority) -> str:
    done = subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LDAPTLS_CACERT": str(ca.cert)},
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", LOOPBACK_NAMES)
def test_slapd_presents_a_certificate_that_verifies(slapd, name):
    handshake(slapd.tls_port, slapd.ca, name)


def test_slapd_binds_over_each_transport(slapd):
    login = ["-x", "-D", slapd.admin_dn, "-w", slapd.password]
    for transport in (["-H", slapd.ldap_url], ["-ZZ", "-H", slapd.ldap_url], ["-H", slapd.ldaps_url]):
        assert ldap("ldapwhoami", *login, *transport, ca=slapd.ca) == f"dn:{slapd.admin_dn}\n"
    assert "cn=peercred" in ldap("ldapwhoami", "-Q", "-Y", "EXTERNAL", "-H", slapd.ldapi_url, ca=slapd.ca)


def test_slapd_takes_changes_and_shows_them(slapd):
    slapd.modify("dn: ou=seen,dc=example,dc=org\nobjectClass: organizationalUnit\nou: seen\ndescription: Ünïcode\n")
    assert slapd.search("(ou=seen)")["ou=seen,dc=example,dc=org"]["description"] == ["Ünïcode"]
    slapd.modify("dn: ou=seen,dc=example,dc=org\nchangetype: delete\n")
    assert slapd.search("(ou=seen)") == {}


@pytest.mark.parametrize("name", LOOPBACK_NAMES)
def test_dirsrv_presents_a_certificate_that_verifies(dirsrv, name):
    handshake(dirsrv.tls_port, dirsrv.ca, name)


def test_dirsrv_binds_over_each_transport(dirsrv):
    login = ["-x", "-D", dirsrv.admin_dn, "-w", dirsrv.password]
    for transport in (["-H", dirsrv.ldap_url], ["-ZZ", "-H", dirsrv.ldap_url], ["-H", dirsrv.ldaps_url]):
        assert ldap("ldapwhoami", *login, *transport, ca=dirsrv.ca) == "dn: cn=directory manager\n"


def test_dirsrv_keeps_its_data_when_it_is_stopped(dirsrv):
    dirsrv.modify("dn: ou=seen,dc=example,dc=org\nobjectClass: organizationalUnit\ndescription: Ünïcode\n")
    dirsrv.stop()
    dirsrv.start()
    assert dirsrv.search("(ou=seen)")["ou=seen,dc=example,dc=org"]["description"] == ["Ünïcode"]
    dirsrv.modify("dn: ou=seen,dc=example,dc=org\nchangetype: delete\n")
    assert dirsrv.search("(ou=seen)") == {}


@pytest.mark.parametrize("name", ["dc1.corp.example", *LOOPBACK_NAMES])
def test_samba_presents_a_certificate_that_verifies(samba, name):
    handshake(636, samba.ca, name)


def test_samba_takes_a_simple_bind_over_tls_only(samba):
    search = ["-x", "-LLL", "-D", samba.login, "-w", samba.password, "-b", samba.base_dn, "-s", "base", "dc"]
    # Not as localhost: the OpenLDAP programs replace that by the machine's own name when they verify.
    for transport in (["-ZZ", "-H", "ldap://127.0.0.1"], ["-H", "ldaps://127.0.0.1"]):
        assert "dc: corp" in ldap("ldapsearch", *transport, *search, ca=samba.ca)
    assert "Transport encryption required" in ldap("ldapsearch", "-H", samba.ldap_url, *search, ca=samba.ca)


def test_samba_says_what_it_refuses(samba):
    dn = "CN=refused,CN=Users,%s" % samba.base_dn
    with pytest.raises(RuntimeError, match="Samba refused it: .*No such"):
        samba.modify("dn: %s\nchangetype: modify\nreplace: description\ndescription: x\n" % dn)
    with pytest.raises(RuntimeError, match="Samba refused it: modrdn"):
        samba.modify("dn: %s\nchangetype: modrdn\nnewrdn: CN=x\ndeleteoldrdn: 0\n" % dn)
    samba.modify("dn: %s\nobjectClass: container\n" % dn)
    samba.modify("dn: %s\nchangetype: modrdn\nnewrdn: CN=renamed\ndeleteoldrdn: 1\n" % dn)
    (found,) = samba.search("(cn=renamed)")
    samba.modify("dn: %s\nchangetype: delete\n" % found)
    assert not samba.search("(cn=renamed)")


def test_samba_gives_tickets_for_its_ldap_service(samba, tmp_path):
    samba.create_user("ticket-holder", "Brisk-2-walnut-Kj19")
    principal = samba.export_keytab("ticket-holder", tmp_path / "keytab")
    env = {**os.environ, "KRB5_CONFIG": str(samba.krb5_config), "KRB5CCNAME": f"FILE:{tmp_path}/tickets"}
    for command in (["kinit", "-k", "-t", str(tmp_path / "keytab"), principal], ["kvno", "ldap/localhost"]):
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "ldap/localhost@CORP.EXAMPLE" in done.stdout


def test_certificates_that_must_not_verify(slapd, tmp_path):
    """The server is the same; an unknown authority and another name are refused."""
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer|self.signed"):
        handshake(slapd.tls_port, CertificateAuthority(tmp_path / "other"), "localhost")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(slapd.tls_port, slapd.ca, "other.example")


@pytest.mark.versions
def test_a_playbook_runs_and_its_results_are_recorded(run_playbook):
    done = run_playbook([{"ansible.builtin.command": "echo {{ word }}", "check_mode": False}], vars={"word": "hello"})
    assert done.rc == 0, done.output
    assert [each["stdout"] for each in done.results] == ["hello"]
