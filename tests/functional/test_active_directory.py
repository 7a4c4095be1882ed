# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""usersync.directory.user_synchronization against an Active Directory domain (Samba)."""

from __future__ import annotations

import os
import time

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _synchronize
from support import lab
from support.postgresql import PostgreSQL
from support.process import run
from support.stored import members, rows
from support.two_stores import Clock

SERVICE_PASSWORD = "Thistle-9-quarry-Bd53"


@pytest.fixture(scope="module")
def domain(samba):
    """An organizational unit of people and groups, and a service account that may only read."""
    unit = "OU=Clinic,%s" % samba.base_dn
    for container in (unit, "OU=Wards,%s" % unit):
        samba.modify("dn: %s\nobjectClass: organizationalUnit\n" % container)
    samba.create_user("SVC-SYNC", SERVICE_PASSWORD)
    samba.create_users(["anna", "boris", "clara", "dora"], unit)
    samba.create_users(["olaf"], "CN=Users,%s" % samba.base_dn)
    samba.modify(f"""\
dn: CN=boris,{unit}
changetype: modify
replace: userAccountControl
userAccountControl: 546

{expiring("CN=clara," + unit, time.time() - 86400)}
dn: CN=anna,{unit}
changetype: modify
replace: displayName
displayName: Anna Černá
-
replace: mail
mail: anna@corp.example

dn: CN=Nurses,OU=Wards,{unit}
objectClass: group
sAMAccountName: Nurses
description: On the wards
member: CN=anna,{unit}
member: CN=olaf,CN=Users,{samba.base_dn}

dn: CN=Clinic staff,{unit}
objectClass: group
sAMAccountName: Clinic staff
member: CN=Nurses,OU=Wards,{unit}
member: CN=boris,{unit}

dn: CN=Letters,{unit}
objectClass: group
sAMAccountName: Letters
groupType: 2
member: CN=clara,{unit}

dn: CN=Trainees,{unit}
objectClass: group
sAMAccountName: Trainees
member: CN=dora,{unit}
""")
    group_sid = samba.search("(cn=Trainees)", "objectSid", base=unit)
    samba.unit = unit
    samba.trainees_rid = _rid(next(iter(group_sid.values()))["objectSid"][0])
    # dora's primary group: Active Directory then takes her out of its member list (MS-SAMR 3.1.1.8.2).
    samba.modify(
        f"dn: CN=dora,{unit}\nchangetype: modify\nreplace: primaryGroupID\nprimaryGroupID: {samba.trainees_rid}\n"
    )
    return samba


def expiring(dn, when):
    """Have an account expire; `when` in seconds since 1970 (FILETIME, MS-DTYP 2.3.3)."""
    return lab.modified(dn, "replace", "accountExpires", int((when + 11644473600) * 10_000_000))


def _rid(sid):
    return int.from_bytes(sid[-4:], "little") if isinstance(sid, bytes) else int(str(sid).rpartition("-")[2])


def options(domain, store, /, **more):
    return {
        "name": "clinic",
        "user_group": "All/Clinic",
        "server": "localhost",
        "ca_path": str(domain.ca.cert),
        "login": "CORP\\SVC-SYNC",
        "password": SERVICE_PASSWORD,
        "distinguished_name": domain.unit,
        "store": str(store),
        **more,
    }


@pytest.fixture
def synchronize(domain, run_module, tmp_path):
    """One run of the module, ``synchronize(option=...)``, into one store; its result."""
    return lambda **more: run_module("user_synchronization", options(domain, tmp_path / "users.db", **more))


def test_check_look_apply_look_repeat(domain, run_playbook, tmp_path):
    store = tmp_path / "new" / "users.db"
    task = {"usersync.directory.user_synchronization": options(domain, store)}
    dry = run_playbook([task], "--check", "--diff")
    assert dry.rc == 0, dry.output
    assert not store.parent.exists()
    real = run_playbook([task, task])
    assert real.rc == 0, real.output
    first, second = real.results
    assert first["plan_digest"] == dry.results[0]["plan_digest"]
    assert first["read"]["directory_type"] == "active_directory"
    assert second["changed"] is False and len(second["unchanged_groups"]) == 4
    assert members(store) == [
        ("Clinic staff", "boris"),
        ("Letters", "clara"),
        ("Nurses", "anna"),
        ("Nurses", "olaf"),
        ("Trainees", "dora"),
    ], "olaf comes with his group from outside, dora by her primary group"
    assert rows(store, "SELECT name, enabled FROM users") == [
        ("anna", 1),
        ("boris", 0),
        ("clara", 0),
        ("dora", 1),
        ("olaf", 1),
    ]
    sid = domain.search("(cn=anna)", "objectSid")["CN=anna,%s" % domain.unit]["objectSid"][0]
    assert _rid(rows(store, "SELECT sid FROM users WHERE name = 'anna'")[0][0]) == _rid(sid)
    assert SERVICE_PASSWORD not in dry.output + real.output


def test_only_security_groups_and_enabled_newcomers(synchronize):
    result = synchronize(group_types="security", ignore_disabled_users=True)
    assert [entry["path"] for entry in result["changed_groups"]] == [
        "All/Clinic/Clinic staff",
        "All/Clinic/Nurses",
        "All/Clinic/Trainees",
    ]
    assert result["users"]["created"] == ["anna", "dora", "olaf"]
    assert result["summary"]["users"]["ignored"] == 2


def test_a_selected_group_brings_its_members(domain, synchronize):
    groups = ["CN=Clinic staff,%s" % domain.unit, "CN=Trainees,%s" % domain.unit]
    result = synchronize(distinguished_name=groups)
    assert [entry["path"] for entry in result["changed_groups"]] == [
        "All/Clinic/Clinic staff",
        "All/Clinic/Nurses",
        "All/Clinic/Trainees",
    ]
    assert result["users"]["created"] == ["anna", "boris", "dora", "olaf"]


def test_containers(synchronize):
    result = synchronize(group_structure="both")
    assert [entry["path"] for entry in result["changed_groups"]] == [
        "All/Clinic/Clinic",
        "All/Clinic/Clinic/Clinic staff",
        "All/Clinic/Clinic/Letters",
        "All/Clinic/Clinic/Trainees",
        "All/Clinic/Clinic/Wards",
        "All/Clinic/Clinic/Wards/Nurses",
    ]


def test_a_renamed_selection_is_followed(domain, synchronize):
    old, new = "OU=Wards,%s" % domain.unit, "OU=Stations,%s" % domain.unit
    synchronize(distinguished_name=old)
    domain.modify(lab.renamed(old, "OU=Stations"))
    try:
        result = synchronize(distinguished_name=old)
    finally:
        domain.modify(lab.renamed(new, "OU=Wards"))
    assert result["changed"] is False
    assert "OU=Stations" in " ".join(map(str, result["warnings"]))


def test_an_account_expires_without_its_entry_changing(domain, monkeypatch, tmp_path):
    store, clock = tmp_path / "users.db", Clock()
    monkeypatch.setattr(_synchronize, "time", clock)

    def synchronize():
        return lab.synchronize(
            False, [], **options(domain, store, server=["localhost"], distinguished_name=[domain.unit])
        )

    domain.modify(expiring("CN=anna," + domain.unit, clock.now + 3600))
    try:
        first = synchronize()
        assert first["users"]["disabled"] == [] and ("anna", 1) in rows(store, "SELECT name, enabled FROM users")
        clock.now += 3601
        second = synchronize()
    finally:
        domain.modify(lab.modified("CN=anna," + domain.unit, "replace", "accountExpires", 0))
    assert second["users"]["disabled"] == ["anna"]
    assert second["affected_groups"] == ["All/Clinic/Clinic staff", "All/Clinic/Nurses"]


@pytest.mark.parametrize(
    "more",
    [
        {"login": "SVC-SYNC@CORP.EXAMPLE"},
        {"login": "corp\\svc-sync", "normalize_login": True},
        {"server": "ldap://localhost", "encryption": "start_tls"},
        {"server": "127.0.0.1"},
        {"server": ["ldaps://127.0.0.1:1", "ldaps://localhost"]},
        {"server": "127.0.0.1", "tls_server_name": "dc1.corp.example"},
    ],
    ids=lambda more: " ".join(map(str, more.values())),
)
def test_ways_to_connect(synchronize, more):
    assert synchronize(**more)["summary"]["users"]["total"] == 5


def test_kerberos_with_a_keytab_and_with_a_password(domain, run_module, tmp_path):
    keytab = tmp_path / "sync.keytab"
    principal = domain.export_keytab("SVC-SYNC", keytab)
    environment = {"KRB5_CONFIG": str(domain.krb5_config)}
    kerberos = options(domain, tmp_path / "users.db", authentication="kerberos", login=principal)
    by_keytab = {**kerberos, "password": None, "keytab": str(keytab)}
    first, second = (run_module("user_synchronization", how, env=environment) for how in (by_keytab, kerberos))
    assert first["summary"]["users"]["total"] == 5 and second["changed"] is False
    wrong = run_module.run("user_synchronization", {**kerberos, "password": "Wrong-Moss-5-kettle"}, env=environment)
    assert wrong.result["failed"] and "login" in wrong.result["msg"] and "Wrong-Moss" not in wrong.output
    assert not list(tmp_path.rglob("krb5cc*"))


def test_a_store_in_postgresql_by_a_ticket(domain, ca, run_module, tmp_path):
    """The ticket is the password, and encrypts the connection in the place of TLS."""
    for name, service in (("SVC-STORE", "postgres/localhost"), ("SVC-RUN", "")):
        dn = domain.create_user(name, SERVICE_PASSWORD)
        if service:
            domain.modify(lab.modified(dn, "add", "servicePrincipalName", service))
    of_server, of_run = tmp_path / "server.keytab", tmp_path / "run.keytab"
    domain.export_keytab("postgres/localhost", of_server)
    principal = domain.export_keytab("SVC-RUN", of_run)
    environment = {"KRB5_CONFIG": str(domain.krb5_config), "KRB5CCNAME": f"FILE:{tmp_path}/ticket"}
    with PostgreSQL(ca.issue("postgresql")) as server:
        server.run('CREATE ROLE "SVC-RUN" LOGIN', 'GRANT CREATE ON DATABASE postgres TO "SVC-RUN"')
        line = "hostgssenc all all 127.0.0.1/32 gss include_realm=0"
        server.admit(line, "krb_server_keyfile", of_server)
        store = f"postgresql://SVC-RUN@localhost:{server.port}/postgres"
        asked = options(domain, store)
        refused = run_module.fails("user_synchronization", asked, env=environment)["msg"]
        assert refused.startswith("store: ") and "cannot be reached" in refused
        run(["kinit", "-k", "-t", str(of_run), principal], env={**os.environ, **environment})
        assert run_module("user_synchronization", asked, env=environment)["changed"]
        assert not run_module("user_synchronization", asked, env=environment, check_mode=True)["changed"]
        assert server.rows("SELECT count(*) FROM usersync.runs") == [["1"]]


OLD_PASSWORD = "Bramble-3-sluice-Pk18"


@pytest.fixture(scope="module")
def _disabled_account(domain):
    dn = domain.create_user("SVC-OLD", OLD_PASSWORD)
    domain.modify(lab.modified(dn, "replace", "userAccountControl", 514))


@pytest.mark.usefixtures("_disabled_account")
@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"password": "Wrong-Moss-6-kettle"}, "52e"),
        ({"login": "CORP\\SVC-OLD", "password": OLD_PASSWORD}, "533"),
        ({"login": "CORP\\svc-sync"}, "use 'CORP\\SVC-SYNC'"),
        ({"login": "SVC-SYNC"}, "login"),
        ({"server": "ldap://localhost", "encryption": "none"}, "encryption"),
    ],
)
def test_refused_logins_are_put_in_words(domain, run_module, tmp_path, more, said):
    store = tmp_path / "users.db"
    assert said in run_module.fails("user_synchronization", options(domain, store, **more))["msg"]
    assert not store.exists()
