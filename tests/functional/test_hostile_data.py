# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in a directory is data: it is kept as it is or reported by its DN, and nothing of it breaks out."""

from __future__ import annotations

import json
import time

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from support import stored, tree
from support.lab import synchronize
from support.misbehaving import LOGIN, PASSWORD, MisbehavingDirectory
from support.slapd import Slapd

STAFF = "OU=Staff," + tree.DOMAIN

# As they stand in attributes; in a DN they are escaped.
NAMES = (
    "new\nline",
    "tab\there",
    "carriage\rreturn",
    "\x1b[31mred\x1b[0m",
    "bell\a",
    "c1\x9b31m",
    "right\u202eleft",
    "\u2066isolate",
    "zero\u200bwidth",
    "\ufeffmark",
    "line\u2028separator",
    "{{ 7 * 7 }}",
    "{% for x in y %}",
    "{{ lookup('pipe', 'id') }}",
    "!unsafe x",
    "quote'single",
    'quote"double',
    "Robert'); DROP TABLE users;--",
    "' OR 1=1 --",
    "%s%n%(x)s",
    "slash/es",
    "back\\slash",
    "$(id)`id`",
    "-rf",
    "\U0001f469\u200d\U0001f692",
    "A\u030angstro\u0308m",
    "all",
    "x" * 1000000,
)


def escaped(value):
    """A value as it is written in a DN."""
    return "".join("\\%02x" % octet for octet in value.encode("utf-8"))


class Lab:
    def __init__(self, server, store):
        self.server, self.store = server, store

    def run(self, check_mode=False, **more):
        options = {
            "name": "staff",
            "user_group": "All/Staff",
            "server": [self.server.ldap_url],
            "encryption": "none",
            "login": LOGIN,
            "password": PASSWORD,
            "distinguished_name": STAFF,
            "store": str(self.store),
            **more,
        }
        self.warnings = []
        return synchronize(check_mode, self.warnings, **options)

    def thrice(self, **more):
        """A dry run, a real one that says the same, and one that has nothing to do."""
        dry, real = self.run(True, **more), self.run(**more)
        for key in set(dry) - {"read", "dry_run", "began"}:
            assert dry[key] == real[key], key
        assert not self.run(True, **more)["changed"]
        return real

    def rows(self, statement):
        return stored.rows(self.store, statement)


@pytest.fixture
def domain():
    domain = tree.ActiveDirectory()
    domain.unit("Staff")
    return domain


@pytest.fixture
def lab(domain, tmp_path):
    with MisbehavingDirectory(domain, max_page=1000, max_values=1500) as server:
        yield Lab(server, tmp_path / "users.db")


def add_hostile(domain, names=NAMES):
    """For each name a user, a group with this user, and an organizational unit with nobody in it."""
    for number, name in enumerate(names):
        named = {"sAMAccountName": name, "cn": name}
        rdn = escaped(name) if len(name) < 100 else "long%d" % number
        user = domain.user("u%d" % number, STAFF, description=name, displayName=name, **named)
        domain.move(user, "CN=u%s,%s" % (rdn, STAFF))
        group = domain.group("g%d" % number, STAFF, "CN=u%s,%s" % (rdn, STAFF), description=name, **named)
        domain.move(group, "CN=g%s,%s" % (rdn, STAFF))
        unit = domain.unit("o%d" % number, STAFF)
        domain.move(unit, "OU=%s,%s" % (rdn, STAFF))


@pytest.mark.parametrize("structure", ["groups", "both"])
def test_what_is_odd_is_kept_as_it_is(lab, domain, structure):
    add_hostile(domain)
    result = lab.thrice(group_structure=structure)
    assert result["not_stored"] == []
    stored = dict(lab.rows("SELECT name, attributes FROM users"))
    assert set(stored) == set(NAMES)
    for name, attributes in stored.items():
        assert json.loads(attributes)["description"] == name
    described = "SELECT name FROM user_groups WHERE json_extract(attributes, '$.description') IS NOT NULL"
    groups = {name for (name,) in lab.rows(described)}
    # Where units and groups lie together, a group that has the name of a unit gets a suffix.
    assert len(groups) == len(NAMES) and (structure == "both" or groups == set(NAMES))
    assert lab.rows("SELECT count(*) FROM memberships")[0][0] >= len(NAMES)
    diff = result["diff"]["before"] + result["diff"]["after"]
    assert all(line.isprintable() for line in diff.split("\n"))
    assert lab.rows("PRAGMA integrity_check") == [("ok",)]


def test_what_is_no_text_is_reported_by_its_dn(lab, domain):
    good = domain.user("anna", STAFF)
    raw = {
        "latin": b"M\xfcller",
        "half": b"\xe2\x82",
        "surrogate": b"\xed\xa0\x80x",
        "utf16": b"\xff\xfea\0",
        "nul": b"a\0b",
        "blank": b"  ",
        "empty": b"",
    }
    for name, value in raw.items():
        domain.user(name, STAFF, sAMAccountName=value)
        domain.group("g" + name, STAFF, good, sAMAccountName=value)
        domain.user("d" + name, STAFF, description=value)
    result = lab.thrice()
    reported = {entry["dn"]: entry["reason"] for entry in result["not_stored"]}
    for name in raw:
        assert "sAMAccountName" in reported["CN=%s,%s" % (name, STAFF)]
        assert "sAMAccountName" in reported["CN=g%s,%s" % (name, STAFF)]
    for name in ("latin", "half", "surrogate", "utf16"):
        assert reported["CN=d%s,%s" % (name, STAFF)].endswith("the field 'description' stays as it is")
    names = {name for (name,) in lab.rows("SELECT name FROM users")}
    assert names == {"anna"} | {"d" + name for name in raw}
    assert not any("\0" in text for row in lab.rows("SELECT name, dn, attributes FROM users") for text in row)
    assert any("not_stored" in warning for warning in lab.warnings)


def test_a_dn_that_is_no_utf8_is_told(lab, domain):
    domain.user("anna", STAFF)
    lab.run()
    domain.move(domain.user("odd", STAFF), "CN=\udcff\udcfe," + STAFF)
    result = lab.run()
    assert [entry["dn"] for entry in result["not_stored"]] == ["CN=\\xff\\xfe," + STAFF]
    assert lab.rows("SELECT name FROM users") == [("anna",)]


def test_errors_and_warnings_are_one_line_each(lab, domain):
    domain.user("anna", STAFF)
    evil = "CN=evil\nchanged: [localhost]\x1b[2J\u202e," + STAFF
    domain.move(domain.user("evil", STAFF), evil)
    with pytest.raises(SynchronizationError) as error:
        lab.run(distinguished_name=[evil])
    assert "'CN=evil\\nchanged" in str(error.value) and str(error.value).isprintable()
    domain.set(evil, "userAccountControl")
    assert all(entry["reason"].isprintable() for entry in lab.run()["not_stored"])
    domain.remove(evil)
    lab.run()
    moved = "OU=Staff\n\x1b[2J," + tree.DOMAIN
    domain.move(STAFF, moved)
    domain.move("CN=anna," + STAFF, "CN=anna," + moved)
    lab.run()
    assert len(lab.warnings) >= 2 and all(warning.isprintable() for warning in lab.warnings)


def test_the_terminal_of_a_person(domain, run_playbook, tmp_path):
    """ansible-playbook --diff, as it is printed: no control characters of the directory, and nothing is evaluated."""
    add_hostile(domain, NAMES[:-1])
    domain.user("nul", STAFF, sAMAccountName=b"a\0b")
    with MisbehavingDirectory(domain) as server:
        done = run_playbook(
            [
                {
                    "usersync.directory.user_synchronization": {
                        "name": "staff",
                        "user_group": "All/Staff",
                        **server.in_clear(),
                        "distinguished_name": STAFF,
                        "store": str(tmp_path / "users.db"),
                    },
                    "register": "outcome",
                },
                {"ansible.builtin.debug": {"msg": "{{ outcome.users.created | join(', ') }}"}},
            ],
            "--diff",
        )
    assert done.rc == 0, done.output
    diff = done.output[done.output.index("--- before") : done.output.index("changed: [localhost]")]
    assert [line for line in diff.split("\n") if not line.isprintable()] == []
    assert "+user {{ 7 * 7 }} in All/Staff" in diff and "+user new\\nline in All/Staff" in diff
    assert "{{ 7 * 7 }}" in done.results[1]["msg"] and "49" not in done.results[1]["msg"]
    assert "uid=" not in done.output
    assert set(done.results[0]["users"]["created"]) == set(NAMES[:-1])
    assert [entry["dn"] for entry in done.results[0]["not_stored"]] == ["CN=nul," + STAFF]


def test_values_of_megabytes(lab, domain):
    big = "ü" * 8000000
    anna = domain.user("anna", STAFF, description=big, info=[("%d" % number) * 100000 for number in range(50)])
    domain.group("Nurses", STAFF, anna, description=big)
    lab.thrice(user_attributes={"info": "info"})
    attributes = json.loads(lab.rows("SELECT attributes FROM users")[0][0])
    assert attributes["description"] == big and len(attributes["info"]) == 50


def test_a_thousand_levels_of_groups(lab, domain):
    """In a chain, and the last holds the first: who is in the last one is in all."""
    count = 1000
    dns = ["CN=g%04d,%s" % (number, STAFF) for number in range(count)]
    for number in range(count):
        domain.group("g%04d" % number, STAFF, dns[(number + 1) % count])
    domain.set(dns[-1], "member", dns[0], domain.user("anna", STAFF))
    result = lab.thrice()
    assert result["summary"]["memberships"]["added"] == count + 1
    domain.set(dns[-1], "member", dns[0])
    result = lab.run()
    assert len(result["affected_groups"]) == count - 1 and result["changed_groups"][0]["members_removed"] == ["anna"]


def test_a_thousand_levels_of_units(lab, domain):
    """Their DNs have up to 8,000 characters, and so have the paths of the user groups."""
    count, below = 1000, STAFF
    for _level in range(count):
        below = domain.unit("u", below)
    anna = domain.user("anna", below)
    domain.group("Nurses", below, anna)
    started = time.process_time()  # of the processor: what else the machine does is no matter
    result = lab.thrice(group_structure="both", report_limit=5000, report_bytes=10**8)
    assert time.process_time() - started < 60
    assert result["summary"]["user_groups"]["created"] == count + 2
    assert "All/Staff/Staff" + "/u" * count + "/Nurses" in [entry["path"] for entry in result["changed_groups"]]
    domain.move(anna, "CN=anna," + STAFF)
    assert lab.run(group_structure="both")["users"]["moved"][0]["home"] == "All/Staff/Staff"


def test_a_container_that_comes_twice_ends_the_read(lab, domain):
    """It moved while it was read. Two that are each other's parents would have no place in a tree, and no path."""
    one, other = domain.unit("one", STAFF), domain.unit("other", STAFF)
    domain.add("OU=other," + one, domain[other])
    domain.add("OU=one," + other, domain[one])
    with pytest.raises(SynchronizationError, match="came with one objectGUID: run again, since a container may have"):
        lab.run(group_structure="both")
    assert not lab.store.exists()


def test_dns_that_differ_in_case_spaces_and_escapes_only(lab, domain):
    """Each member list spells the one user in its own way; a list with all spellings has one member."""
    domain.move(domain.user("jack", STAFF), "CN=Jack \\22O\\22\\, Ü. #1\\+1," + STAFF)
    spellings = [
        "CN=Jack \\22O\\22\\, Ü. #1\\+1," + STAFF,
        'cn=jack \\"o\\"\\2C ü. \\#1\\+1,ou=staff,dc=CORP,dc=Example',
        "CN = JACK   \\22O\\22\\, \\c3\\9c.  \\231\\2b1 , OU=STAFF , DC=corp,DC=example",
        "2.5.4.3=#"
        + b"\x0c".hex()
        + "%02x" % len('Jack "O", Ü. #1+1'.encode())
        + 'Jack "O", Ü. #1+1'.encode().hex()
        + ","
        + STAFF,
    ]
    for number, spelling in enumerate(spellings):
        domain.group("g%d" % number, STAFF, spelling)
    domain.group("all", STAFF, *spellings)
    result = lab.thrice(distinguished_name=" ou = STAFF ,dc=Corp, DC=example ")
    assert result["unresolved_members"] == []
    assert result["summary"]["memberships"]["added"] == len(spellings) + 1
    for number in range(len(spellings)):  # spelled otherwise: nothing has changed
        domain.set("CN=g%d,%s" % (number, STAFF), "member", spellings[number - 1])
    assert not lab.run()["changed"]
    with pytest.raises(SynchronizationError, match="distinguished_name and exclude_distinguished_name both have"):
        lab.run(exclude_distinguished_name="OU=staff,  DC=corp,dc=EXAMPLE")


def test_a_group_of_a_hundred_thousand(tmp_path, pytestconfig):
    """On a real OpenLDAP: all come, and one leaves. Without --thorough it is a group of twenty thousand."""
    count, suffix = 100_000 if pytestconfig.getoption("--thorough") else 20_000, "dc=example,dc=org"
    users = "\n".join(
        "dn: uid=u%d,%s\nobjectClass: inetOrgPerson\nuid: u%d\ncn: u%d\nsn: u\n" % (number, suffix, number, number)
        for number in range(count)
    )
    members = "".join("member: uid=u%d,%s\n" % (number, suffix) for number in range(count))
    ldif = "dn: %s\nobjectClass: domain\ndc: example\n\n%s\ndn: cn=All,%s\nobjectClass: groupOfNames\ncn: All\n%s" % (
        suffix,
        users,
        suffix,
        members,
    )
    more = {
        "use_ldap": True,
        "distinguished_name": suffix,
        "authentication": "external",
        "login": None,
        "password": None,
        "report_bytes": 10**6,
    }
    with Slapd(suffix, ldif) as server:
        lab = Lab(server, tmp_path / "users.db")
        result = lab.run(server=[server.ldapi_url], **more)
        assert result["summary"]["memberships"]["added"] == count and result["report_truncated"]
        assert len(result["changed_groups"][0]["members_added"]) == 10000  # ten times report_limit
        server.modify("dn: cn=All,%s\nchangetype: modify\ndelete: member\nmember: uid=u77,%s\n" % (suffix, suffix))
        result = lab.run(server=[server.ldapi_url], **more)
        assert result["changed_groups"][0]["members_removed"] == ["u77"]
        assert result["summary"]["memberships"]["removed"] == 1 and not result["report_truncated"]
        assert lab.rows("SELECT count(*) FROM memberships") == [(count - 1,)]


def test_a_list_of_a_hundred_thousand_in_ranges(lab, domain):
    """As AD gives it: 67 ranges. Nine tenths of the values are of another domain, and are kept out without a search."""
    users = [domain.user("u%d" % number, STAFF) for number in range(2000)]
    others = ["CN=u%d,DC=other,DC=example" % number for number in range(98000)]
    domain.group("All", STAFF, *others[:50000], *users, *others[50000:])
    result = lab.run(report_bytes=10**7)
    assert result["summary"]["memberships"]["added"] == 2000
    assert result["summary"]["memberships"]["unresolved"] == 98000
    assert len(result["unresolved_members"]) == 1000 and result["report_truncated"]
    ranges = [request for request in lab.server.received if any(";range=" in name for name in request.attributes)]
    assert len(ranges) == 66
    assert len(lab.server.of_kind("search")) < 66 + 20
