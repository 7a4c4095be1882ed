# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""usersync.directory.user_synchronization against an Active Directory domain (Samba), through ansible-playbook."""

from __future__ import annotations

import time

import pytest
from support.stored import members, rows

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
    past = int((time.time() - 86400 + 11644473600) * 10_000_000)  # FILETIME, MS-DTYP 2.3.3
    samba.modify(f"""\
dn: CN=boris,{unit}
changetype: modify
replace: userAccountControl
userAccountControl: 546

dn: CN=clara,{unit}
changetype: modify
replace: accountExpires
accountExpires: {past}

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


def _rid(sid):
    return int.from_bytes(sid[-4:], "little") if isinstance(sid, bytes) else int(str(sid).rpartition("-")[2])


def synchronize(domain, store_path, /, **more):
    options = {
        "name": "clinic",
        "user_group": "All/Clinic",
        "server": "localhost",
        "ca_path": str(domain.ca.cert),
        "login": "CORP\\SVC-SYNC",
        "password": SERVICE_PASSWORD,
        "distinguished_name": domain.unit,
        "store": str(store_path),
    }
    options = {option: value for option, value in dict(options, **more).items() if value is not None}
    return {"name": "Synchronize", "usersync.directory.user_synchronization": options}


@pytest.mark.versions
def test_check_look_apply_look_repeat(domain, run_playbook, tmp_path):
    store = tmp_path / "new" / "users.db"
    dry = run_playbook([synchronize(domain, store)], "--check", "--diff")
    assert dry.rc == 0, dry.output
    assert not store.parent.exists()
    real = run_playbook([synchronize(domain, store), synchronize(domain, store)])
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


def test_only_security_groups_and_enabled_newcomers(domain, run_playbook, tmp_path):
    store = tmp_path / "users.db"
    result = run_playbook([synchronize(domain, store, group_types="security", ignore_disabled_users=True)]).results[0]
    assert [entry["path"] for entry in result["changed_groups"]] == [
        "All/Clinic/Clinic staff",
        "All/Clinic/Nurses",
        "All/Clinic/Trainees",
    ]
    assert result["users"]["created"] == ["anna", "dora", "olaf"]
    assert result["summary"]["users"]["ignored"] == 2


def test_a_selected_group_brings_its_members(domain, run_playbook, tmp_path):
    groups = ["CN=Clinic staff,%s" % domain.unit, "CN=Trainees,%s" % domain.unit]
    store = tmp_path / "users.db"
    result = run_playbook([synchronize(domain, store, distinguished_name=groups)]).results[0]
    assert [entry["path"] for entry in result["changed_groups"]] == [
        "All/Clinic/Clinic staff",
        "All/Clinic/Nurses",
        "All/Clinic/Trainees",
    ]
    assert result["users"]["created"] == ["anna", "boris", "dora", "olaf"]


def test_containers(domain, run_playbook, tmp_path):
    result = run_playbook([synchronize(domain, tmp_path / "users.db", group_structure="both")]).results[0]
    assert [entry["path"] for entry in result["changed_groups"]] == [
        "All/Clinic/Clinic",
        "All/Clinic/Clinic/Clinic staff",
        "All/Clinic/Clinic/Letters",
        "All/Clinic/Clinic/Trainees",
        "All/Clinic/Clinic/Wards",
        "All/Clinic/Clinic/Wards/Nurses",
    ]


def test_a_renamed_selection_is_followed(domain, run_playbook, tmp_path):
    store = tmp_path / "users.db"
    old, new = "OU=Wards,%s" % domain.unit, "OU=Stations,%s" % domain.unit
    task = synchronize(domain, store, distinguished_name=old)
    assert run_playbook([task]).rc == 0
    rename = "dn: %s\nchangetype: modrdn\nnewrdn: %s\ndeleteoldrdn: 1\n"
    domain.modify(rename % (old, "OU=Stations"))
    try:
        run = run_playbook([task])
    finally:
        domain.modify(rename % (new, "OU=Wards"))
    assert run.rc == 0, run.output
    assert run.results[0]["changed"] is False
    assert "OU=Stations" in " ".join(map(str, run.results[0]["warnings"]))


def test_an_account_expires_without_its_entry_changing(domain, run_playbook, tmp_path):
    store = tmp_path / "users.db"
    soon = int((time.time() + 20 + 11644473600) * 10_000_000)
    change = "dn: CN=anna,%s\nchangetype: modify\nreplace: accountExpires\naccountExpires: %d\n"
    domain.modify(change % (domain.unit, soon))
    try:
        first = run_playbook([synchronize(domain, store)]).results[0]
        assert first["users"]["disabled"] == [] and ("anna", 1) in rows(store, "SELECT name, enabled FROM users")
        time.sleep(max(0, soon / 10_000_000 - 11644473600 - time.time()) + 1)
        second = run_playbook([synchronize(domain, store)]).results[0]
    finally:
        domain.modify(change % (domain.unit, 0))
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
def test_ways_to_connect(domain, run_playbook, tmp_path, more):
    run = run_playbook([synchronize(domain, tmp_path / "users.db", **more)])
    assert run.rc == 0, run.output
    assert run.results[0]["summary"]["users"]["total"] == 5


def test_kerberos_with_a_keytab_and_with_a_password(domain, run_playbook, tmp_path):
    keytab = tmp_path / "sync.keytab"
    principal = domain.export_keytab("SVC-SYNC", keytab)
    environment = {"KRB5_CONFIG": str(domain.krb5_config)}
    run = run_playbook(
        [
            synchronize(
                domain,
                tmp_path / "users.db",
                authentication="kerberos",
                login=principal,
                password=None,
                keytab=str(keytab),
            ),
            synchronize(domain, tmp_path / "users.db", authentication="kerberos", login=principal),
            dict(
                synchronize(
                    domain,
                    tmp_path / "users.db",
                    authentication="kerberos",
                    login=principal,
                    password="Wrong-Moss-5-kettle",
                ),
                ignore_errors=True,
            ),
        ],
        environment=environment,
    )
    assert run.rc == 0, run.output
    first, second, wrong = run.results
    assert first["summary"]["users"]["total"] == 5 and second["changed"] is False
    assert "login" in wrong["msg"] and "Wrong-Moss" not in run.output
    assert not list(tmp_path.rglob("krb5cc*"))


def test_refused_logins_are_put_in_words(domain, run_playbook, tmp_path):
    domain.create_user("SVC-OLD", "Bramble-3-sluice-Pk18")
    domain.samba_tool("user", "disable", "SVC-OLD")
    cases = [
        ({"password": "Wrong-Moss-6-kettle"}, "52e"),
        ({"login": "CORP\\SVC-OLD", "password": "Bramble-3-sluice-Pk18"}, "533"),
        ({"login": "CORP\\svc-sync"}, "use 'CORP\\SVC-SYNC'"),
        ({"login": "SVC-SYNC"}, "login"),
        ({"server": "ldap://localhost", "encryption": "none"}, "encryption"),
    ]
    store = tmp_path / "users.db"
    run = run_playbook([dict(synchronize(domain, store, **more), ignore_errors=True) for more, _said in cases])
    for (more, said), result in zip(cases, run.results):
        print(result["msg"])
        assert said in result["msg"], (more, result["msg"])
    assert not store.exists()
