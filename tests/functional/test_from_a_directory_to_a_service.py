# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All of the way: who joins, changes and leaves in a directory does so in a service that nobody here wrote."""

from __future__ import annotations

import pytest
from support.lab import deleted, dn_of, group, modified, over_tls, person, renamed, unit
from support.scim2_server import TOKEN, ask, scim2_server

pytestmark = pytest.mark.usefixtures("no_proxy")

PASSWORD = "Bramble-3-lantern-Qx82"


@pytest.fixture
def service(tmp_path):
    with scim2_server(tmp_path) as url:
        yield url


@pytest.fixture
def both(run_module, service, tmp_path):
    """Synchronize, and provision two user groups; the result of the latter, whose second run has nothing to do."""

    def run(synchronization, night):
        read = run_module.run("user_synchronization", synchronization).result
        assert not read.get("failed"), read["msg"]
        below = synchronization["user_group"]
        options = {
            "name": "wiki",
            "user_groups": [below + "/S-Staff", below + "/" + night],
            "url": service,
            "token": TOKEN,
            "store": synchronization["store"],
            "removal_limits": "100%",
        }
        done, again = (run_module.run("scim_provisioning", options).result for _number in range(2))
        assert not done.get("failed") and not done["not_provisioned"], done["msg"]
        assert not again["changed"], again["msg"]
        return done

    return run


def accounts(service):
    return {each["userName"]: each for each in ask(service, "/Users")["Resources"]}


def groups(service):
    names = {each["id"]: name for name, each in accounts(service).items()}
    return {
        each["displayName"]: sorted(names[one["value"]] for one in each.get("members", ()))
        for each in ask(service, "/Groups")["Resources"]
    }


def others_act(service):
    """Somebody else makes an account, puts it into a group, and disables ann."""
    schema, patch = "urn:ietf:params:scim:schemas:core:2.0:User", "urn:ietf:params:scim:api:messages:2.0:PatchOp"
    foreign = ask(service, "/Users", "POST", {"schemas": [schema], "userName": "foreign"})["id"]
    staff = next(each["id"] for each in ask(service, "/Groups")["Resources"] if each["displayName"] == "S-Staff")
    for path, operation in (
        ("/Groups/" + staff, {"op": "add", "path": "members", "value": [{"value": foreign}]}),
        ("/Users/" + accounts(service)["s-ann"]["id"], {"op": "replace", "path": "active", "value": False}),
    ):
        ask(service, path, "PATCH", {"schemas": [patch], "Operations": [operation]})


def test_from_openldap(slapd, both, service, tmp_path):
    base = "ou=Wards,dc=example,dc=org"
    night = "cn=S-Night," + base
    slapd.modify(unit("Wards", "dc=example,dc=org") + "".join(person(name, below=base) for name in NAMES))
    slapd.modify(group("S-Night", dn_of("s-carl", base), below=base))
    slapd.modify(group("S-Staff", *(dn_of(name, base) for name in ("s-ann", "s-bob")), night, below=base))
    synchronization = over_tls(slapd, tmp_path / "users.db", distinguished_name=base, removal_limits="100%")

    first = both(synchronization, "S-Night")
    assert groups(service) == {"S-Staff": ["s-ann", "s-bob", "s-carl"], "S-Night": ["s-carl"]}
    assert first["accounts"]["created"] == ["s-ann", "s-bob", "s-carl"], "dora is in none"
    others_act(service)

    staff = "cn=S-Staff," + base
    slapd.modify(modified(night, "add", "member", dn_of("s-dora", base)) + renamed(night, "cn=S-Late"))
    slapd.modify(modified(dn_of("s-ann", base), "replace", "mail", "eve@corp.example"))
    slapd.modify(renamed(dn_of("s-ann", base), "uid=s-eve") + deleted(dn_of("s-bob", base)))
    listed = (dn_of("s-eve", base), "cn=S-Late," + base)
    slapd.modify(modified(staff, "replace", "member", *listed))
    then = both(synchronization, "S-Late")
    assert groups(service) == {"S-Staff": ["foreign", "s-carl", "s-dora", "s-eve"], "S-Late": ["s-carl", "s-dora"]}
    assert {name: each.get("active", True) for name, each in accounts(service).items()} == {
        "s-eve": True,
        "s-bob": False,
        "s-carl": True,
        "s-dora": True,
        "foreign": True,
    }
    assert accounts(service)["s-eve"]["emails"][0]["value"] == "eve@corp.example"
    assert then["accounts"]["renamed"] == [{"name": "s-eve", "previous_name": "s-ann"}]
    assert [(each["name"], each["what"]) for each in then["drift"]] == [("s-ann", "state")]
    assert {(each["kind"], each["member_of"]) for each in then["foreign"]} == {
        ("account", None),
        ("account", "S-Staff"),
    }


# No other test of the domain may have these: its names are those of all of it.
NAMES = ("s-ann", "s-bob", "s-carl", "s-dora")


def test_from_active_directory(samba, both, service, tmp_path):
    base = "OU=Service,%s" % samba.base_dn
    night, staff = "CN=S-Night," + base, "CN=S-Staff," + base
    samba.modify("dn: %s\nobjectClass: organizationalUnit\n" % base)
    samba.create_user("SVC-SCIM", PASSWORD)
    samba.create_users(list(NAMES), base)
    samba.modify(f"""\
dn: {night}
objectClass: group
sAMAccountName: S-Night
member: CN=s-carl,{base}

dn: {staff}
objectClass: group
sAMAccountName: S-Staff
member: CN=s-ann,{base}
member: CN=s-bob,{base}
member: {night}
""")
    synchronization = {
        "name": "wards",
        "user_group": "All/Wards",
        "server": "localhost",
        "ca_path": str(samba.ca.cert),
        "login": "CORP\\SVC-SCIM",
        "password": PASSWORD,
        "distinguished_name": base,
        "store": str(tmp_path / "users.db"),
        "removal_limits": "100%",
    }
    both(synchronization, "S-Night")
    assert groups(service) == {"S-Staff": ["s-ann", "s-bob", "s-carl"], "S-Night": ["s-carl"]}
    others_act(service)

    # Carl is disabled, and the server itself follows a rename.
    samba.modify(
        modified("CN=s-ann," + base, "replace", "sAMAccountName", "s-eve")
        + modified("CN=s-carl," + base, "replace", "userAccountControl", 514)
        + modified(night, "add", "member", "CN=s-dora," + base)
        + modified(night, "replace", "sAMAccountName", "S-Late")
        + deleted("CN=s-bob," + base)
    )
    then = both(synchronization, "S-Late")
    assert groups(service) == {"S-Staff": ["foreign", "s-carl", "s-dora", "s-eve"], "S-Late": ["s-carl", "s-dora"]}
    assert {name: each.get("active", True) for name, each in accounts(service).items()} == {
        "s-eve": True,
        "s-bob": False,
        "s-carl": False,
        "s-dora": True,
        "foreign": True,
    }
    assert then["accounts"]["renamed"] == [{"name": "s-eve", "previous_name": "s-ann"}]
    assert then["accounts"]["disabled"] == ["s-bob", "s-carl"]
    assert [(each["name"], each["what"]) for each in then["drift"]] == [("s-ann", "state")]
