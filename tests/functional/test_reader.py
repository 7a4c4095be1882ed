# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the reader makes of real servers: slapd with every LDAP preset, and a Samba domain controller."""

from __future__ import annotations

import base64
import gc
import time
import types
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _model
from ansible_collections.usersync.directory.plugins.module_utils._directory import (
    connection,
    detect,
    full,
    groups,
    identity,
    overrides,
    presets,
    search,
)
from ansible_collections.usersync.directory.plugins.module_utils._directory.search import ReadError
from ansible_collections.usersync.directory.plugins.module_utils._directory.source import Source
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from support.slapd import Slapd

NOTHING = _model.Digests({}, {}, {}, {})
SUFFIX = "dc=example,dc=org"
BASE = f"""\
dn: {SUFFIX}
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,{SUFFIX}
objectClass: organizationalUnit
ou: people

dn: ou=groups,{SUFFIX}
objectClass: organizationalUnit
ou: groups

"""


def entry(dn: str, *lines: str) -> str:
    """An LDIF record; each line is 'attribute: value'. slapadd wants an attribute's values together."""
    lines = tuple(sorted(lines, key=lambda line: line.partition(":")[0]))
    return "\n".join([f"dn: {dn},{SUFFIX}", *lines]) + "\n\n"


def unit(name: str, below: str = "") -> str:
    return entry(f"ou={name}{below}", "objectClass: organizationalUnit")


def person(name: str, *lines: str, below: str = "ou=people") -> str:
    return entry(f"uid={name},{below}", "objectClass: inetOrgPerson", f"cn: {name}", f"sn: {name}", *lines)


def group(name: str, *members: str, below: str = "ou=groups") -> str:
    """A groupOfNames; members without the suffix."""
    listed = [f"member: {member},{SUFFIX}" for member in members]
    return entry(f"cn={name},{below}", "objectClass: groupOfNames", *(listed or ["member: cn=nobody"]))


def settings(server, **options) -> types.SimpleNamespace:
    ldap = isinstance(server, Slapd)
    values = {
        "servers": (server.ldap_url if ldap else server.ldaps_url,), "encryption": "none" if ldap else "ldaps",
        "validate_certs": True, "ca_path": str(server.ca.cert), "client_cert": None, "client_key": None,
        "tls_server_name": None, "authentication": "simple", "login": server.admin_dn if ldap else server.login,
        "password": server.password, "keytab": None, "timeout": 30, "page_size": 500, "use_ldap": ldap,
        "ldap_parameters": {}, "distinguished_name": [], "exclude_distinguished_name": [],
        "required_entries": [], "outside_members": "add",
        "user_filter": None, "group_filter": None, "group_structure": "groups", "group_types": "all",
        "user_attributes": {}, "group_attributes": {},
    }  # fmt: skip
    return types.SimpleNamespace(**{**values, **options})


class Seen:
    """A snapshot as a person looks at it: by name."""

    def __init__(self, snapshot: _model.Snapshot, pages: int, preset: presets.Preset) -> None:
        self.snapshot, self.pages, self.preset = snapshot, pages, preset
        self._names = {key: user.name for key, user in snapshot.users.items() if user}

    @property
    def users(self) -> set[str]:
        return set(self._names.values())

    def user(self, name: str) -> _model.User:
        return next(user for user in self.snapshot.users.values() if user and user.name == name)

    @property
    def groups(self) -> set[str]:
        return {group.name for group in self.snapshot.user_groups.values()}

    def group(self, name: str) -> _model.UserGroup:
        (found,) = (each for each in self.snapshot.user_groups.values() if each.name == name)
        return found

    def members(self, name: str) -> list[str]:
        """Sorted names of the users; references that are no keys of this directory as they are."""
        return sorted(self._names.get(member, member) for member in self.group(name).members)

    def nested(self, name: str) -> list[str]:
        return sorted(self.snapshot.user_groups[key].name for key in self.group(name).user_groups)

    def unresolved(self) -> set[tuple[str, str, str]]:
        groups = self.snapshot.user_groups
        return {(groups[key].name, value, reason) for key, (value, reason) in self.snapshot.unresolved}

    def place(self, name: str) -> str | None:
        """Name of the container in which a user or a group lies."""
        parent = self.user(name).home if name in self.users else self.group(name).parent
        return parent and self.snapshot.user_groups[parent].name

    def digests(self) -> _model.Digests:
        """What a store would have of all that was read."""
        groups = self.snapshot.user_groups
        return _model.Digests(
            {key: user.digest for key, user in self.snapshot.users.items()},
            {key: each.members_digest for key, each in groups.items()},
            {},
            self.snapshot.selected,
            lambda users: {key for key, each in groups.items() if not set(users).isdisjoint(each.members)},
        )


def look(server, digests: _model.Digests = NOTHING, now: int | None = None, **options) -> Seen:
    """Read the directory once."""
    asked = settings(server, **options)
    with connection.connect(asked, lambda text: None) as session:
        preset = overrides.resolve(asked, detect.directory_type(asked, session.root_dse))
        directory = identity.identify(asked, session, preset)
        now = int(time.time()) if now is None else now
        snapshot = full.read(Source(asked, session, preset, directory, now), digests)
        return Seen(snapshot, session.pages, preset)


@contextmanager
def directory(*parts: str, **options) -> Iterator[Slapd]:
    with Slapd(ldif=BASE + "".join(parts), **options) as server:
        yield server


# --- users and groups ------------------------------------------------------------------------------------------------


def test_a_small_company():
    with directory(
        person("zoë", "mail: zoe@example.org", "displayName: Zoë Ångström", "telephoneNumber: +46 1"),
        person("bob", "mail: b@example.org", "mail: a@example.org", "uid: aaa", "roomNumber: 7", "ou: Sales"),
        group("Zürich", "uid=ZOË, OU=People", "uid=bob,ou=people"),
        entry(
            "cn=unique,ou=groups",
            "objectClass: groupOfUniqueNames",
            "description: the few",
            f"uniqueMember: uid=bob,ou=people,{SUFFIX}#'0101'B",
        ),
        entry(
            "cn=twice,ou=groups",
            "objectClass: groupOfNames",
            "objectClass: extensibleObject",
            f"member: uid=bob,ou=people,{SUFFIX}",
            f"uniqueMember: uid=bob,ou=people,{SUFFIX}",
        ),
    ) as server:
        seen = look(server)
    assert seen.users == {"zoë", "bob"}  # the uid in the DN is the name
    assert seen.user("zoë").attributes == {
        "display_name": "Zoë Ångström",
        "email": "zoe@example.org",
        "phone": "+46 1",
        "surname": "zoë",
    }
    assert seen.user("bob").attributes == {
        "display_name": "bob",
        "email": "a@example.org",
        "office": "7",
        "department": "Sales",
        "surname": "bob",
    }
    assert seen.user("bob").enabled and seen.user("bob").home is None
    assert abs(seen.user("bob").created - time.time()) < 600
    assert seen.members("Zürich") == ["bob", "zoë"]
    assert seen.members("unique") == seen.members("twice") == ["bob"]
    assert seen.group("unique").attributes == {"description": "the few"}
    assert (seen.group("unique").type, seen.group("unique").container) == ("groupOfUniqueNames", "groups")
    assert not seen.snapshot.unresolved and not seen.snapshot.warnings
    assert seen.snapshot.directory.identity.startswith("dc=example,dc=org#")


def test_added_fields_are_lists_and_standard_fields_texts():
    with directory(person("bob", "mail: b@example.org", "mail: a@example.org", "l: Basel", "cn: Robert")) as server:
        seen = look(server, user_attributes={"name": "sn", "email": "cn", "town": "l", "mails": "mail"})
    assert seen.user("bob").attributes["mails"] == ["a@example.org", "b@example.org"]
    assert seen.user("bob").attributes["town"] == ["Basel"]
    assert seen.user("bob").attributes["email"] == "Robert"


def test_nesting_survives_cycles_diamonds_and_depth():
    chain = [group(f"c{n}", f"cn=c{n + 1},ou=groups") for n in range(1000)]
    far = [group(f"f{n}", f"cn=f{n + 1},ou=far", below="ou=far") for n in range(50)]
    with directory(
        person("anna"),
        person("eve"),
        unit("far"),
        *chain,
        group("c1000", "cn=top,ou=groups"),
        *far,
        group("f50", "cn=f0,ou=far", "uid=eve,ou=people", below="ou=far"),
        group("top", "cn=left,ou=groups", "cn=right,ou=groups", "cn=c0,ou=groups"),
        group("left", "cn=bottom,ou=groups"),
        group("right", "cn=bottom,ou=groups"),
        group("bottom", "cn=top,ou=groups", "uid=anna,ou=people"),
    ) as server:
        seen = look(server, distinguished_name=[f"ou=groups,{SUFFIX}"])
        assert seen.nested("top") == ["c0", "left", "right"]
        assert seen.nested("bottom") == ["top"] and seen.members("bottom") == ["anna"]
        assert seen.nested("c1000") == ["top"]
        assert len(seen.groups) == 1005
        seen = look(server, distinguished_name=[f"cn=f0,ou=far,{SUFFIX}"])
        assert len(seen.groups) == 51 and seen.nested("f50") == ["f0"]
        assert seen.users == {"eve"}


def test_what_leads_to_no_one_is_reported_and_kept():
    with directory(
        person("anna"),
        entry("cn=device,ou=people", "objectClass: device"),
        group(
            "odd",
            "uid=gone,ou=people",
            "cn=odd,ou=groups",
            "uid=anna,ou=people",
            "cn=device,ou=people",
            "uid=x,ou=nowhere",
        ),
        entry(
            "cn=other,ou=groups",
            "objectClass: groupOfNames",
            "member: cn=someone,dc=elsewhere",
            f"member: {SUFFIX}",
            "member: ",
            "member: cn=dummy",
        ),
    ) as server:
        seen = look(server)
    assert seen.members("odd") == ["anna"] and seen.nested("odd") == []
    assert seen.members("other") == []
    missing = "does not exist or cannot be read"
    assert seen.unresolved() == {
        ("odd", f"uid=gone,ou=people,{SUFFIX}", missing),
        ("odd", f"uid=x,ou=nowhere,{SUFFIX}", missing),
        ("other", "cn=someone,dc=elsewhere", "lies in another domain"),
        ("other", "cn=dummy", "lies in another domain"),
        ("other", "", "is empty"),
    }
    assert set(seen.group("odd").kept_values) == {
        f"uid=gone,ou=people,{SUFFIX}",
        f"uid=x,ou=nowhere,{SUFFIX}",
        f"cn=device,ou=people,{SUFFIX}",
    }
    assert seen.snapshot.other_members == {"out_of_scope": 2}


# --- scope -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outside() -> Iterator[Slapd]:
    """A selected container whose group lists 600 users elsewhere."""
    names = [f"u{n}" for n in range(600)]
    with directory(
        unit("far"),
        unit("off"),
        *(person(name, below="ou=far") for name in names),
        person("strange\\2c name", below="ou=far"),
        person("straße", below="ou=far"),
        person("in"),
        person("temp", "employeeType: temp", below="ou=far"),
        group(
            "big",
            "uid=in,ou=people",
            "uid=temp,ou=far",
            "uid=strange\\, name,ou=far",
            "uid=STRAßE,ou=far",
            "uid=none,ou=far",
            *(f"uid={name},ou=far" for name in names),
        ),
        group("nested", "uid=u1,ou=far", below="ou=off"),
        group("outer", "cn=nested,ou=off"),
    ) as server:
        yield server


def test_members_elsewhere_come_in_batches(outside):
    seen = look(outside, distinguished_name=[f"ou=groups,{SUFFIX}"], user_filter="(!(employeeType=temp))")
    assert len(seen.members("big")) == 603
    assert seen.nested("outer") == ["nested"] and seen.members("nested") == ["u1"]
    assert {"strange, name", "straße", "in"} < seen.users
    assert seen.snapshot.other_members == {"out_of_scope": 1}  # temp, by the filter
    assert [value for _group, value, _reason in seen.unresolved()] == [f"uid=none,ou=far,{SUFFIX}"]
    assert f"uid=temp,ou=far,{SUFFIX}" in seen.group("big").kept_values
    assert seen.pages < 25


def test_members_elsewhere_are_left_out_when_asked_to(outside):
    seen = look(outside, distinguished_name=[f"ou=groups,{SUFFIX}", f"ou=people,{SUFFIX}"], outside_members="skip")
    assert seen.users == {"in"}
    assert seen.nested("outer") == ["nested"] and seen.members("nested") == []
    assert seen.snapshot.other_members == {"out_of_scope": 604}
    assert len(seen.unresolved()) == 1


def test_a_selected_group_selects_itself(outside):
    seen = look(outside, distinguished_name=[f"cn=nested,ou=off,{SUFFIX}"])
    assert seen.groups == {"nested"} and seen.users == {"u1"}
    assert list(seen.snapshot.selected) == [f"cn=nested,ou=off,{SUFFIX}"]


def test_exclusions_win():
    with directory(
        unit("secret", ",ou=people"),
        person("anna"),
        person("bob"),
        person("carl", below="ou=secret,ou=people"),
        group("staff", "uid=anna,ou=people", "uid=bob,ou=people", "uid=carl,ou=secret,ou=people", "cn=inner,ou=groups"),
        group("inner", "uid=anna,ou=people"),
    ) as server:
        for selected in ([], [f"cn=staff,ou=groups,{SUFFIX}"]):
            seen = look(
                server,
                distinguished_name=selected,
                group_structure="both",
                exclude_distinguished_name=[
                    f"OU=Secret, ou=people,{SUFFIX}",
                    f"uid=bob,ou=people,{SUFFIX}",
                    f"cn=inner,ou=groups,{SUFFIX}",
                ],
            )
            assert seen.users == {"anna"} and seen.members("staff") == ["anna"] and seen.nested("staff") == []
            assert "secret" not in seen.groups and "inner" not in seen.groups
            assert seen.snapshot.other_members == {"out_of_scope": 3} and not seen.snapshot.unresolved


def test_containers_become_user_groups():
    with directory(
        unit("north", ",ou=people"),
        entry("cn=desk,ou=north,ou=people", "objectClass: device"),
        person("anna"),
        person("bob", below="ou=north,ou=people"),
        person("carl", below="cn=desk,ou=north,ou=people"),
        unit("far"),
        person("dora", below="ou=far"),
        group("staff", "uid=bob,ou=north,ou=people", "uid=dora,ou=far"),
    ) as server:
        selected = [f"ou=people,{SUFFIX}", f"cn=desk,ou=north,ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}"]
        seen = look(server, distinguished_name=selected, group_structure="both")
        assert seen.groups == {"people", "north", "desk", "groups", "staff"}
        assert {name: seen.place(name) for name in ("anna", "bob", "carl", "dora", "staff", "desk", "north")} == {
            "anna": "people",
            "bob": "north",
            "carl": "desk",
            "dora": None,
            "staff": "groups",
            "desk": "north",
            "north": "people",
        }
        assert seen.members("north") == ["bob"] and seen.members("staff") == ["bob", "dora"]
        assert (seen.group("north").type, seen.group("desk").type) == ("organizational_unit", "container")

        seen = look(server, distinguished_name=selected, group_structure="organizational_units")
        assert seen.groups == {"people", "north", "desk", "groups"}
        assert seen.users == {"anna", "bob", "carl", "dora"}  # a group brings its members all the same

        seen = look(server, group_structure="organizational_units")
        assert seen.place("people") == "example" and seen.place("example") is None


def test_a_renamed_selection_is_followed():
    with directory(person("anna"), group("staff", "uid=anna,ou=people")) as server:
        selected = [f"ou=people,{SUFFIX}", f"cn=staff,ou=groups,{SUFFIX}"]
        before = look(server, distinguished_name=selected)
        server.modify(
            f"dn: cn=staff,ou=groups,{SUFFIX}\nchangetype: modrdn\nnewrdn: cn=crew\ndeleteoldrdn: 1\n\n"
            f"dn: ou=people,{SUFFIX}\nchangetype: modrdn\nnewrdn: ou=folk\ndeleteoldrdn: 1\n"
        )
        with pytest.raises(SynchronizationError, match="distinguished_name: 'ou=people.* does not exist"):
            look(server, distinguished_name=selected)
        after = look(server, before.digests(), distinguished_name=selected)
        assert after.groups == {"crew"} and list(after.snapshot.users) == list(before.snapshot.users)
        assert after.snapshot.selected == before.snapshot.selected
        assert [f"'ou=folk,{SUFFIX}'" in text for text in after.snapshot.warnings] == [True, False]


@pytest.mark.parametrize(("options", "words"), [
    ({"distinguished_name": [f"uid=anna,ou=people,{SUFFIX}"]}, "distinguished_name: .* is a user"),
    ({"distinguished_name": [f"ou=nope,{SUFFIX}"]}, "distinguished_name: .* does not exist"),
    ({"distinguished_name": ["dc=elsewhere"]}, "distinguished_name: .* naming contexts"),
    ({"exclude_distinguished_name": [f"ou=nope,{SUFFIX}"]}, "exclude_distinguished_name: .* does not exist"),
    ({"exclude_distinguished_name": ["dc=elsewhere"]}, "exclude_distinguished_name: .* naming context"),
    ({"ldap_parameters": {"user_key": "employeeNumber"}}, "no single employeeNumber"),
    ({"ldap_parameters": {"user_key": "sn"}}, "have one sn"),
])  # fmt: skip
def test_bad_options_say_what_to_do(outside, options, words):
    with directory(
        person("anna"),
        entry("uid=anne,ou=people", "objectClass: inetOrgPerson", "cn: a", "sn: anna"),
        person("bert", "sn: b"),
    ) as server:
        if "sn" in options.get("ldap_parameters", {}).values():
            options = {**options, "user_filter": "(uid=ann*)"}
        with pytest.raises(SynchronizationError, match=words):
            look(server, **options)


# --- once more -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("structure", ["groups", "organizational_units", "both"])
def test_a_second_read_finds_nothing_new(structure):
    with directory(
        person("anna"),
        person("bob"),
        group("staff", "uid=anna,ou=people", "uid=x,ou=people"),
        group("all", "cn=staff,ou=groups", "uid=bob,ou=people"),
    ) as server:
        first = look(server, group_structure=structure)
        again = look(server, first.digests(), group_structure=structure)
        assert set(again.snapshot.users.values()) == {None}
        assert {each.members for each in again.snapshot.user_groups.values()} == {None}
        assert again.groups == first.groups and not again.snapshot.lost_users
        assert [each.user_groups for each in again.snapshot.user_groups.values()] == [
            each.user_groups for each in first.snapshot.user_groups.values()
        ]

        server.modify(
            f"dn: uid=bob,ou=people,{SUFFIX}\nchangetype: modify\nreplace: mail\nmail: b@example.org\n\n"
            f"dn: cn=staff,ou=groups,{SUFFIX}\nchangetype: modify\nadd: member\n"
            f"member: uid=bob,ou=people,{SUFFIX}\n"
        )
        changed = look(server, first.digests(), group_structure=structure)
        assert changed.users == {"bob"}
        if structure != "organizational_units":
            assert len(changed.group("staff").members) == 2 and changed.group("all").members is None


def test_a_user_of_another_synchronization_has_a_body_only_where_that_has_him_elsewhere():
    with directory(person("anna"), person("bob"), person("eve")) as server:
        anna, bob, eve = (look(server).user(name) for name in ("anna", "bob", "eve"))
        others = {
            anna.key: (anna.dn, "anna", True, False),
            eve.key: ("uid=eva,ou=people," + SUFFIX, "eva", True, False),
        }
        seen = look(server, NOTHING._replace(users={anna.key: None, bob.key: b"", eve.key: None}, others=others))
        assert seen.snapshot.users[anna.key] is None and seen.snapshot.users[bob.key].digest
        assert seen.snapshot.users[eve.key].dn == eve.dn


def test_a_key_that_two_users_have_is_no_key():
    with directory(
        unit("far"),
        person("anna", "employeeNumber: 1"),
        person("eve", "employeeNumber: 1", below="ou=far"),
        group("staff", "uid=eve,ou=far"),
    ) as server:
        selected = [f"ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}"]
        with pytest.raises(ReadError, match="anna.* and 'uid=eve.* have one employeeNumber"):
            look(server, distinguished_name=selected, ldap_parameters={"user_key": "employeeNumber"})


def test_a_user_who_moves_while_the_users_are_read_is_there_once(monkeypatch):
    real = full.encoded_entries

    def twice(session, base, scope, filter, attributes, *rest, **options):
        for part in real(session, base, scope, filter, attributes, *rest, **options):
            for raw in part:
                if b"\x04\x06member1" not in raw:  # the DN is as long
                    yield [raw.replace(b"uid=anna,ou=people", b"uid=anna,ou=groups")]
                yield [raw]

    with directory(person("anna"), group("staff", "uid=anna,ou=people")) as server:
        monkeypatch.setattr(full, "encoded_entries", twice)
        seen = look(server, group_structure="both")
        assert look(server, seen.digests(), group_structure="both").group("staff").members is None
    assert len(seen.snapshot.users) == 1 and seen.user("anna").dn == f"uid=anna,ou=people,{SUFFIX}"
    assert seen.place("anna") == "people"
    assert seen.members("people") == seen.members("staff") == ["anna"] and seen.members("groups") == []


def test_of_lists_of_the_same_bytes_only_those_of_who_changed_are_gone_through(monkeypatch):
    with directory(
        *map(person, ("anna", "bob", "carl")),
        group("ab", "uid=anna,ou=people", "uid=bob,ou=people"),
        group("b", "uid=bob,ou=people"),
        group("c", "uid=carl,ou=people"),
    ) as server:
        first = look(server)
        bob, carl = first.user("bob").key, first.user("carl").key
        server.modify(f"dn: uid=bob,ou=people,{SUFFIX}\nchangetype: modify\nadd: mail\nmail: bob@example.org\n")
        dns = decoded(monkeypatch)
        again = look(server, first.digests())
        assert [dn.split(b",")[0] for dn in dns] == [b"uid=bob", b"cn=ab", b"cn=b"]
        assert {each.members for each in again.snapshot.user_groups.values()} == {None}, "they lead to the same users"

        server.modify(f"dn: uid=carl,ou=people,{SUFFIX}\nchangetype: moddn\nnewrdn: uid=cyd\ndeleteoldrdn: 1\n")
        for given in (first.user("carl").digest, None):  # None: by another synchronization
            digests = first.digests()
            digests.users.update({bob: again.user("bob").digest, carl: given})
            del dns[:]
            moved = look(server, digests)
            assert [dn.split(b",")[0] for dn in dns] == [b"uid=cyd", b"cn=c"]
            assert moved.group("c").members == [] and moved.group("ab").members is None


def test_a_list_of_names_leads_to_no_one_once_two_have_the_name():
    with directory(
        posix("anna", 10),
        posix("bob", 10),
        unit("far"),
        posix_group("crew", 99, "memberUid: bob"),
    ) as server:
        options = {"ldap_parameters": {"preset": "rfc2307"}}
        first = look(server, **options)
        server.modify(posix("bob", 10, below="ou=far"))
        again = look(server, first.digests(), **options)
        assert again.group("crew").members == [] and ("crew", "bob") in {found[:2] for found in again.unresolved()}


def test_an_entry_created_again_is_somebody_else():
    with directory(person("anna"), group("staff", "uid=anna,ou=people")) as server:
        first = look(server)
        server.modify(f"dn: uid=anna,ou=people,{SUFFIX}\nchangetype: delete\n\n" + person("anna"))
        again = look(server, first.digests())
        assert again.members("staff") == ["anna"]  # the list reads the same and means another
        assert set(again.snapshot.lost_users.values()) == {_model.GONE}


def decoded(monkeypatch) -> list[bytes]:
    """The DNs of the entries that are decoded from now on, groups with their lists."""
    dns: list[bytes] = []
    real = full.decode_entry

    def decode_entry(raw, names, without=frozenset()):
        found = real(raw, names, without)
        if not without:
            dns.append(found[0])
        return found

    for room in (full, groups):
        monkeypatch.setattr(room, "decode_entry", decode_entry)
    return dns


@pytest.mark.parametrize("preset", ["openldap", "rfc2307"])
@pytest.mark.parametrize("structure", ["groups", "both"])
def test_users_that_are_as_stored_are_known_by_their_bytes(preset, structure, monkeypatch):
    with directory(
        *(posix(name, 10, "objectClass: shadowAccount") for name in ("anna", "bob", "carl")),
        unit("far"),
        posix_group("ten", 10, "memberUid: anna", "memberUid: bob"),
        group("staff", "uid=anna,ou=people"),
    ) as server:
        options = {"group_structure": structure, "ldap_parameters": {"preset": preset}}
        first = look(server, **options)
        dns = decoded(monkeypatch)
        again = look(server, first.digests(), **options)
        assert dns == [] and set(again.snapshot.users.values()) == {None}
        assert {each.members for each in again.snapshot.user_groups.values()} == {None}
        assert [each.members_digest for each in again.snapshot.user_groups.values()] == [
            each.members_digest for each in first.snapshot.user_groups.values()
        ]

        server.modify(
            f"dn: uid=bob,ou=people,{SUFFIX}\nchangetype: modify\nreplace: gidNumber\ngidNumber: 11\n-\n"
            "add: mail\nmail: bob@example.org\n\n"
            f"dn: uid=carl,ou=people,{SUFFIX}\nchangetype: modify\nadd: shadowExpire\nshadowExpire: 9\n"
        )
        changed = look(server, first.digests(), **options)
        users = [dn for dn in dns if dn.startswith(b"uid=")]
        assert sorted(users) == [f"uid={name},ou=people,{SUFFIX}".encode() for name in ("bob", "carl")]
        assert not changed.user("carl").enabled and changed.user("bob").enabled
        if preset == "rfc2307":
            (anna,) = set(first.snapshot.users) - {changed.user("bob").key, changed.user("carl").key}
            assert changed.snapshot.user_groups[first.group("ten").key].members is None  # bob is listed as well
            server.modify(f"dn: cn=ten,ou=groups,{SUFFIX}\nchangetype: modify\ndelete: memberUid\nmemberUid: bob\n")
            assert set(look(server, first.digests(), **options).group("ten").members) == {
                anna,
                changed.user("carl").key,
            }


def test_a_member_list_of_the_same_bytes_leads_to_others():
    """Once somebody is another, gone or new, no list is taken for what it was."""
    with directory(
        person("anna"),
        person("bob"),
        group("staff", "uid=anna,ou=people", "uid=bob,ou=people"),
        group("late", "uid=carl,ou=people", "uid=bob,ou=people"),
    ) as server:
        first = look(server)
        server.modify(f"dn: uid=bob,ou=people,{SUFFIX}\nchangetype: delete\n")
        gone = look(server, first.digests())
        assert gone.group("staff").members == [first.user("anna").key]
        assert gone.group("staff").kept_values == [f"uid=bob,ou=people,{SUFFIX}"]
        server.modify(person("carl"))
        anna = first.user("anna")
        new = look(
            server,
            _model.Digests(
                {anna.key: anna.digest},
                {key: each.members_digest for key, each in gone.snapshot.user_groups.items()},
                {},
                {},
            ),
        )
        assert new.members("late") == ["carl"] and new.group("late").kept_values == [f"uid=bob,ou=people,{SUFFIX}"]


def test_a_text_that_looks_like_an_attribute_is_none(monkeypatch):
    """What is found by its name in the bytes of an entry is only believed where decoding found the same."""
    fake = base64.b64encode(b"\x04\x09gidNumber1\x04\x04\x0220" + b"\x04\x03uid1\x05\x04\x03bob").decode("ascii")
    with directory(
        posix("anna", 10, f"carLicense:: {fake}"),
        posix("bob", 20),
        posix_group("ten", 10),
        posix_group("twenty", 20, "memberUid: anna"),
    ) as server:
        # The server sends it before the real ones, or the test shows nothing.
        options = {"ldap_parameters": {"preset": "rfc2307"}, "user_attributes": {"car": "carLicense"}}
        first = look(server, **options)
        assert (first.members("ten"), first.members("twenty")) == (["anna"], ["anna", "bob"])
        dns = decoded(monkeypatch)
        again = look(server, first.digests(), **options)
        assert [dn for dn in dns if dn.startswith(b"uid=")] == [f"uid=anna,ou=people,{SUFFIX}".encode()]
        assert again.group("ten").members is None and again.group("twenty").members is None


def test_who_joins_by_a_primary_group_from_outside_is_seen_though_all_else_is_as_stored():
    with directory(unit("far"), posix("anna", 10), posix_group("ten", 10)) as server:
        options = {
            "ldap_parameters": {"preset": "rfc2307"},
            "distinguished_name": [f"ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}"],
        }
        first = look(server, **options)
        assert look(server, first.digests(), **options).group("ten").members is None
        server.modify(posix("eve", 10, below="ou=far"))
        again = look(server, first.digests(), **options)
        assert set(again.group("ten").members) == {first.user("anna").key, again.user("eve").key}


def test_large_pages_are_handed_on_while_they_come_in(monkeypatch):
    monkeypatch.setattr(search, "_PART", 5000)
    sizes = []
    real = full.encoded_entries

    def counting(*arguments, **options):
        for part in real(*arguments, **options):
            sizes.append(sum(map(len, part)))
            yield part

    monkeypatch.setattr(full, "encoded_entries", counting)
    with directory(
        *(person(f"u{number:03}", f"description: {'x' * 300}") for number in range(100)),
        group("all", *(f"uid=u{number:03},ou=people" for number in range(100))),
    ) as server:
        seen = look(server)
    assert len(seen.users) == 100 and len(seen.members("all")) == 100
    assert max(sizes) < 6000 and len(sizes) > 8


def test_the_lost_are_gone_or_out_of_scope():
    with directory(
        unit("far"),
        person("anna"),
        person("bob"),
        person("carl"),
        group("a", "uid=anna,ou=people"),
        group("b"),
    ) as server:
        options = {"distinguished_name": [f"ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}"], "group_filter": "(!(o=x))"}
        first = look(server, **options)
        server.modify(
            f"dn: uid=anna,ou=people,{SUFFIX}\nchangetype: delete\n\n"
            f"dn: uid=bob,ou=people,{SUFFIX}\nchangetype: modrdn\nnewrdn: uid=rob\ndeleteoldrdn: 1\n"
            f"newsuperior: ou=far,{SUFFIX}\n\n"
            f"dn: cn=b,ou=groups,{SUFFIX}\nchangetype: modify\nadd: o\no: x\n\n"
            f"dn: cn=a,ou=groups,{SUFFIX}\nchangetype: delete\n"
        )
        stored = first.digests()
        stored.user_groups["name:sales"] = b""
        again = look(server, stored, **options).snapshot
        assert again.lost_users == {first.user("anna").key: _model.GONE, first.user("bob").key: _model.OUT_OF_SCOPE}
        assert again.lost_user_groups == {
            first.group("a").key: _model.GONE,
            first.group("b").key: _model.OUT_OF_SCOPE,
            "name:sales": _model.GONE,
        }


# --- presets ---------------------------------------------------------------------------------------------------------


def posix(name: str, gid: int, *lines: str, below: str = "ou=people") -> str:
    return person(
        name,
        "objectClass: posixAccount",
        "uidNumber: 1",
        f"gidNumber: {gid}",
        f"homeDirectory: /{name}",
        *lines,
        below=below,
    )


def posix_group(name: str, gid: int, *lines: str, below: str = "ou=groups") -> str:
    return entry(f"cn={name},{below}", "objectClass: posixGroup", f"gidNumber: {gid}", *lines)


def test_rfc2307():
    with directory(
        unit("far"),
        posix("anna", 10, "uid: ann"),
        posix("Bob", 20),
        posix("twin", 30),
        posix("TWIN", 30, below="ou=groups"),
        posix("far", 20, below="ou=far"),
        posix("listed", 40, "shadowExpire: 1", "objectClass: shadowAccount", below="ou=far"),
        posix("temp", 40, "employeeType: temp", below="ou=far"),
        unit("off"),
        posix("double", 50, below="ou=far"),
        posix("Double", 50, below="ou=off"),
        posix_group(
            "ten",
            10,
            "memberUid: bob",
            "memberUid: listed",
            "memberUid: twin",
            "memberUid: none",
            "memberUid: temp",
            "memberUid: anna",
            "memberUid: double",
        ),
        posix_group("twenty", 20),
        posix_group("names", 99, "memberUid: ann", "memberUid: anna"),
    ) as server:
        options = {"ldap_parameters": {"preset": "rfc2307"}, "user_filter": "(!(employeeType=temp))"}
        everyone = look(server, **options)
        selected = [f"ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}"]
        seen = look(server, **options, distinguished_name=selected)
        skipped = look(server, **options, distinguished_name=selected, outside_members="skip")
    for each in (everyone, seen):
        assert each.members("ten") == ["Bob", "anna", "listed"]  # listed, by primary group, and elsewhere
        assert each.members("twenty") == ["Bob", "far"] and each.members("names") == ["anna"]
        assert not each.user("listed").enabled and each.user("far").enabled
        assert each.unresolved() == {
            ("ten", "twin", "is ambiguous: several users have this name"),
            ("ten", "double", "is ambiguous: several users have this name"),
            ("ten", "none", "does not exist or cannot be read"),
        }
        assert each.snapshot.other_members == {"out_of_scope": 1}
        assert set(each.group("ten").kept_values) == {"twin", "none", "temp", "double"}
    assert skipped.members("ten") == ["Bob", "anna"] and skipped.members("twenty") == ["Bob"]
    assert skipped.snapshot.other_members == {"out_of_scope": 3}
    assert "double" not in {user.name.lower() for user in seen.snapshot.users.values()}


def test_openldap_samba():
    def account(name: str, number: int, *lines: str) -> str:
        return posix(name, 10, "objectClass: sambaSamAccount", f"sambaSID: S-1-5-21-1-2-3-{number}", *lines)

    def mapping(name: str, gid: int, number: int) -> str:
        return posix_group(
            name, gid, "objectClass: sambaGroupMapping", f"sambaSID: S-1-5-21-1-2-3-{number}", "sambaGroupType: 2"
        )

    with directory(
        account("anna", 1000, "sambaPrimaryGroupSID: S-1-5-21-1-2-3-513", "sambaAcctFlags: [U          ]"),
        account("bob", 1001, "sambaAcctFlags: [DU         ]"),
        posix("nobody", 10),
        mapping("ten", 10, 512),
        mapping("users", 20, 513),
        entry("sambaDomainName=OLD", "objectClass: sambaDomain", "sambaSID: S-1-5-21-1-2-3"),
    ) as server:
        for selected in ([], [f"ou=groups,{SUFFIX}"]):
            seen = look(server, ldap_parameters={"preset": "openldap_samba"}, distinguished_name=selected)
            assert seen.users == {"anna", "bob"}
            assert seen.user("anna").sid == "S-1-5-21-1-2-3-1000"
            assert (seen.user("anna").enabled, seen.user("bob").enabled) == (True, False)
            assert (seen.members("users"), seen.members("ten")) == (["anna"], ["bob"])
        selected = [f"cn=ten,ou=groups,{SUFFIX}"]
        seen = look(server, ldap_parameters={"preset": "openldap_samba"}, distinguished_name=selected)
        assert seen.users == {"bob"}  # anna's gidNumber says ten, but her sambaPrimaryGroupSID goes before it


def test_open_directory():
    def account(name: str, number: int, gid: int, *lines: str) -> str:
        return posix(name, gid, "objectClass: apple-user", f"apple-generateduid: {uid(number)}", *lines)

    def apple_group(name: str, number: int, gid: int, *lines: str) -> str:
        return posix_group(name, gid, "objectClass: apple-group", f"apple-generateduid: {uid(number)}", *lines)

    def uid(number: int) -> str:
        return f"6F9619FF-8B86-D011-B42D-00C04FC9{number:04}"

    with directory(
        account("anna", 1, 10),
        account("bob", 2, 20, "authAuthority: ;DisabledUser;;ShadowHash;"),
        apple_group(
            "staff",
            3,
            20,
            f"apple-group-memberguid: {uid(1)}",
            f"apple-group-nestedgroup: {uid(4)}",
            f"apple-group-memberguid: {uid(9)}",
            "apple-group-realname: The staff",
        ),
        apple_group("inner", 4, 30, f"apple-group-nestedgroup: {uid(3)}", f"apple-group-memberguid: {uid(2)}"),
    ) as server:
        options = {"ldap_parameters": {"preset": "open_directory"}}
        for selected in ([], [f"cn=staff,ou=groups,{SUFFIX}"]):
            seen = look(server, **options, distinguished_name=selected)
            assert seen.members("staff") == ["anna", "bob"] and seen.nested("staff") == ["inner"]
            assert seen.members("inner") == ["bob"] and seen.nested("inner") == ["staff"]
            assert [value for _group, value, _reason in seen.unresolved()] == [uid(9)]
            assert seen.user("anna").key == uid(1) and not seen.user("bob").enabled
            assert seen.group("staff").attributes["display_name"] == "The staff"


def test_freeipa():
    def ipa(name: str, number: int, below: str) -> str:
        return posix(
            name,
            1,
            "objectClass: ipaObject",
            f"ipaUniqueID: id-{number}",
            "objectClass: nsOperational",
            f"nsAccountLock: {'TRUE' if name == 'bob' else 'FALSE'}",
            below=below,
        )

    def ipa_group(name: str, number: int, *members: str) -> str:
        return entry(
            f"cn={name},cn=groups,cn=accounts",
            "objectClass: ipaUserGroup",
            "objectClass: ipaObject",
            f"ipaUniqueID: id-{number}",
            *(f"member: {member},{SUFFIX}" for member in members),
        )

    def container(dn: str) -> str:
        return entry(dn, "objectClass: device", "objectClass: nsOperational", "nsUniqueId: " + dn.replace(",", "-"))

    users = "cn=users,cn=accounts"
    with directory(
        container("cn=accounts"),
        container(users),
        container("cn=groups,cn=accounts"),
        container("cn=compat"),
        container("cn=provisioning"),
        ipa("anna", 1, users),
        ipa("bob", 2, users),
        ipa("left", 3, "cn=provisioning"),
        ipa("anna", 9, "cn=compat"),
        ipa_group("staff", 4, f"uid=anna,{users}", "uid=left,cn=provisioning", "cn=inner,cn=groups,cn=accounts"),
        ipa_group("inner", 5, f"uid=bob,{users}"),
    ) as server:
        options = {"ldap_parameters": {"preset": "freeipa"}}
        stored = NOTHING._replace(users={"id-3": b""})
        for selected in ([], [f"cn=staff,cn=groups,cn=accounts,{SUFFIX}"]):
            seen = look(server, stored, **options, distinguished_name=selected)
            assert set(seen.snapshot.users) == {"id-1", "id-2"}
            assert seen.members("staff") == ["anna"] and seen.nested("staff") == ["inner"]
            assert seen.snapshot.other_members == {"out_of_scope": 1}
            assert seen.snapshot.lost_users == {"id-3": _model.OUT_OF_SCOPE}
            assert not seen.user("bob").enabled
        with pytest.raises(SynchronizationError, match="distinguished_name: 'cn=compat"):
            look(server, **options, distinguished_name=[f"cn=compat,{SUFFIX}"])
        selected = [f"{users},{SUFFIX}"]
        seen = look(server, **options, distinguished_name=selected, group_structure="organizational_units")
        assert seen.members("users") == ["anna", "bob"]
        assert seen.snapshot.selected == {selected[0]: "cn=users-cn=accounts"}


def test_389ds():
    def key(number: int) -> tuple[str, ...]:
        return "objectClass: nsOperational", f"nsUniqueId: 6f9619ff-8b86d011-b42d00c0-4fc9{number:04}"

    with directory(
        person("anna", *key(1)),
        person("bob", *key(2), "nsAccountLock: true"),
        entry(
            "cn=staff,ou=groups",
            "objectClass: groupOfUniqueNames",
            *key(3),
            f"uniqueMember: uid=anna,ou=people,{SUFFIX}",
        ),
    ) as server:
        seen = look(server, ldap_parameters={"preset": "389ds"})
    assert seen.members("staff") == ["anna"] and seen.user("anna").key == "6f9619ff-8b86d011-b42d00c0-4fc90001"
    assert (seen.user("anna").enabled, seen.user("bob").enabled) == (True, False)


def test_a_permanent_lock_of_openldap():
    with directory(
        person("anna", "pwdAccountLockedTime: 20260101000000Z"),
        person("bob", "pwdAccountLockedTime: 000001010000Z"),
        overlays=("ppolicy",),
    ) as server:
        seen = look(server)
        assert (seen.user("anna").enabled, seen.user("bob").enabled) == (True, False)


def test_expiry_changes_no_entry_and_is_seen():
    with directory(posix("anna", 1, "objectClass: shadowAccount", "shadowExpire: 20000")) as server:
        options = {"ldap_parameters": {"preset": "rfc2307"}}
        first = look(server, now=20000 * 86400 - 1, **options)
        assert first.user("anna").enabled
        assert not look(server, first.digests(), now=20000 * 86400, **options).user("anna").enabled


def test_groups_of_the_user_by_dn():
    with directory(
        unit("far"),
        person("anna", f"seeAlso: cn=STAFF,ou=groups,{SUFFIX}", f"seeAlso: cn=gone,{SUFFIX}"),
        person("dora", f"seeAlso: cn=staff,ou=groups,{SUFFIX}", below="ou=far"),
        person("emil", below="ou=far"),
        group("staff", "uid=emil,ou=far"),
    ) as server:
        options = {
            "ldap_parameters": {"user_groups": "seeAlso"},
            "distinguished_name": [f"ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}"],
        }
        assert look(server, **options).members("staff") == ["anna", "dora"]
        assert look(server, **options, outside_members="skip").members("staff") == ["anna"]


def test_groups_of_the_user_by_name():
    with directory(person("anna", "ou: Sales", "ou: IT"), person("bob", "ou: sales"), group("unseen")) as server:
        options = {"ldap_parameters": {"user_groups": "ou", "user_groups_value": "name"}}
        seen = look(server, **options)
        assert seen.groups == {"Sales", "IT"} and seen.members("Sales") == ["anna", "bob"]
        assert set(seen.snapshot.user_groups) == {"name:sales", "name:it"} and seen.group("IT").dn == ""
        again = look(server, seen.digests(), **options)
        assert {each.members for each in again.snapshot.user_groups.values()} == {None}


def test_what_was_read_is_let_go_of_without_the_collector(monkeypatch):
    """It is off in a run, and what is written then needs the room."""
    rooms = []

    class Watched(full.Reading):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            rooms.extend(weakref.ref(room) for room in (self, self.accounts, self.groups, self.lists))

    monkeypatch.setattr(full, "Reading", Watched)
    with directory(person("anna"), group("staff", "uid=anna,ou=people")) as server:
        gc.disable()
        try:
            look(server)
            assert [room() for room in rooms] == [None] * 4
        finally:
            gc.enable()


# --- which naming context --------------------------------------------------------------------------------------------


def _context(contexts: list[str], selected: list[str], default: str = "") -> str:
    root_dse = {"namingcontexts": [text.encode() for text in contexts]}
    if default:
        root_dse["defaultnamingcontext"] = [default.encode()]
    asked = types.SimpleNamespace(distinguished_name=selected)
    with mock.patch.object(identity, "search", lambda *_arguments, **_more: iter(())):  # the server finds nothing by it
        return identity.naming_context(asked, types.SimpleNamespace(root_dse=root_dse), presets.PRESETS["openldap"])


def test_the_naming_context():
    several = ["dc=a", "dc=b", "cn=monitor", "ou=x,dc=a"]
    assert _context(["dc=a", "cn=config", "o=ipaca"], []) == "dc=a"
    assert _context(several, [], default="dc=b") == "dc=b"
    assert _context(several, ["OU=y,DC=A"]) == "dc=a"
    assert _context(several, ["ou=y,ou=x,dc=a"]) == "ou=x,dc=a"
    for selected, words in (
        ([], "several naming contexts \\('dc=a', 'dc=b', 'ou=x,dc=a'\\)"),
        (["ou=y,dc=a", "dc=b"], "make one synchronization for each"),
        (["dc=c"], "none of the server's naming contexts .*: correct it$"),
        (["dc=a,dc=c", "dc=d"], "none of the server's naming contexts .*: correct it; if these are several DNs"),
        (["ou=y", "dc=a"], "contexts .*: correct it; a DN with commas is one string, not a list$"),
    ):
        with pytest.raises(SynchronizationError, match=f"distinguished_name: .*{words}"):
            _context(several, selected)


def test_the_same_directory():
    assert identity.same_directory("dc=a#1", "dc=a#1") and identity.same_directory("dc=a", "dc=a#1")
    assert not identity.same_directory("dc=a#1", "dc=a#2") and not identity.same_directory("dc=a#1", "dc=b#1")


# --- Active Directory ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def company(samba) -> str:
    """An organizational unit with people, groups, a computer, a contact and people of another domain."""
    base = samba.base_dn
    ou = f"OU=Größe,{base}"

    def account(name: str, control: int, *lines: str, below: str = ou) -> str:
        return (
            "\n".join(
                [
                    f"dn: CN={name},{below}",
                    "objectClass: user",
                    f"sAMAccountName: {name}",
                    f"userAccountControl: {control}",
                    *lines,
                ]
            )
            + "\n\n"
        )

    def ad_group(name: str, *members: str, kind: int = -2147483646) -> str:
        return (
            "\n".join(
                [
                    f"dn: CN={name},{ou}",
                    "objectClass: group",
                    f"sAMAccountName: {name}",
                    f"groupType: {kind}",
                    *(f"member: {member}" for member in members),
                ]
            )
            + "\n\n"
        )

    samba.modify(
        f"dn: {ou}\nobjectClass: organizationalUnit\n\n"
        f"dn: OU=Süd,{ou}\nobjectClass: organizationalUnit\n\n"
        f"dn: CN=Desk,{ou}\nobjectClass: container\nshowInAdvancedViewOnly: FALSE\n\n"
        f"dn: CN=Hidden,{ou}\nobjectClass: container\nshowInAdvancedViewOnly: TRUE\n\n"
        + account("Änne", 544, "displayName: Änne A", "mail: a@corp.example", "physicalDeliveryOfficeName: 12")
        + account("locked", 546) + account("expired", 544, "accountExpires: 132539328000000000")  # 2021-01-01
        + account("later", 544, "accountExpires: 9223372036854775807", below=f"OU=Süd,{ou}")
        + account("desk", 544, below=f"CN=Desk,{ou}") + account("hid", 544, below=f"CN=Hidden,{ou}")
        + account("outside", 544, below=f"CN=Users,{base}")
        + f"dn: CN=BOX,{ou}\nobjectClass: computer\nsAMAccountName: BOX$\nuserAccountControl: 4096\n\n"
        + f"dn: CN=contact,{ou}\nobjectClass: contact\n\n"
        + ad_group("inner", f"CN=locked,{ou}", f"CN=later,OU=Süd,{ou}", f"CN=outside,CN=Users,{base}")
        + ad_group("mail", f"CN=Änne,{ou}", kind=2)
        + ad_group("staff", f"CN=Änne,{ou}", f"CN=inner,{ou}", f"CN=BOX,{ou}", f"CN=contact,{ou}",
                   "<SID=S-1-5-21-9-9-9-1000>", "<SID=S-1-5-21-9-9-9-1001>",
                   f"CN=S-1-5-11,CN=ForeignSecurityPrincipals,{base}")
    )  # fmt: skip
    samba.modify(f"dn: CN=inner,{ou}\nchangetype: modify\nadd: member\nmember: CN=staff,{ou}\n\n")
    return ou


def test_active_directory(samba, company):
    foreign = NOTHING._replace(foreign_users={"S-1-5-21-9-9-9-1000": "@7"})
    seen = look(samba, foreign, distinguished_name=[company])
    assert seen.users == {"Änne", "locked", "expired", "later", "desk", "hid", "outside"}
    assert {name for name in seen.users if not seen.user(name).enabled} == {"locked", "expired"}
    person_seen = seen.user("Änne")
    assert person_seen.attributes == {"display_name": "Änne A", "email": "a@corp.example", "office": "12"}
    assert person_seen.sid.startswith(seen.snapshot.directory.identity + "-") and person_seen.home is None
    assert abs(person_seen.created - time.time()) < 600
    assert seen.groups == {"staff", "inner", "mail"}
    assert seen.members("staff") == ["@7", "Änne"] and seen.nested("staff") == ["inner"]
    assert seen.members("inner") == ["later", "locked", "outside"] and seen.nested("inner") == ["staff"]
    assert seen.snapshot.other_members == {"computers": 1, "contacts": 1, "well_known_identities": 1}
    assert {(name, reason) for name, _value, reason in seen.unresolved()} == {
        ("staff", "is a user of another domain that is not in the store")
    }
    assert (seen.group("staff").type, seen.group("mail").type) == ("security", "distribution")

    again = look(
        samba,
        foreign._replace(users=seen.digests().users, user_groups=seen.digests().user_groups),
        distinguished_name=[company],
    )
    assert set(again.snapshot.users.values()) == {None}
    assert {each.members for each in again.snapshot.user_groups.values()} == {None}


def test_active_directory_containers(samba, company):
    seen = look(samba, distinguished_name=[company], group_structure="both", group_types="security")
    assert seen.groups == {"Größe", "Süd", "Desk", "staff", "inner"}
    assert {name: seen.place(name) for name in ("Änne", "later", "desk", "hid", "outside", "Süd", "staff")} == {
        "Änne": "Größe",
        "later": "Süd",
        "desk": "Desk",
        "hid": "Größe",
        "outside": None,
        "Süd": "Größe",
        "staff": "Größe",
    }
    assert seen.members("Größe") == ["expired", "hid", "locked", "Änne"]


def test_a_primary_group_has_its_members(samba, company):
    base = samba.base_dn
    for selected in ([], [f"CN=Domain Users,CN=Users,{base}"], [company, f"CN=Domain Users,CN=Users,{base}"]):
        seen = look(samba, distinguished_name=selected)
        assert {"Änne", "outside", "Administrator"} <= set(seen.members("Domain Users"))
        assert "BOX$" not in seen.users
    assert "Domain Users" in look(samba).groups and not look(samba).snapshot.warnings


def test_a_whole_domain_has_no_unresolved_members_of_its_own(samba, company):
    seen = look(samba, exclude_distinguished_name=[company])
    assert seen.unresolved() == set()
    assert "Änne" not in seen.users and "Änne" not in seen.members("Domain Users")
    again = look(samba, seen.digests(), exclude_distinguished_name=[company])
    assert set(again.snapshot.users.values()) == {None}
    assert {each.members for each in again.snapshot.user_groups.values()} == {None}


def test_a_renamed_selection_of_active_directory_is_followed(samba, company):
    ou = f"OU=before,{company}"
    samba.modify(f"dn: {ou}\nobjectClass: organizationalUnit\n\n")
    samba.create_users(["mover", "leaver", "goner"], ou)
    first = look(samba, distinguished_name=[ou])
    samba.modify(
        f"dn: CN=leaver,{ou}\nchangetype: modrdn\nnewrdn: CN=leaver\ndeleteoldrdn: 1\n"
        f"newsuperior: {company}\n\ndn: CN=goner,{ou}\nchangetype: delete\n\n"
        f"dn: {ou}\nchangetype: modrdn\nnewrdn: OU=after\ndeleteoldrdn: 1\nnewsuperior: {company}\n"
    )
    again = look(samba, first.digests(), distinguished_name=[ou])
    assert again.users == {"mover"} and "OU=after" in again.user("mover").dn
    assert again.snapshot.lost_users == {
        first.user("leaver").key: _model.OUT_OF_SCOPE,
        first.user("goner").key: _model.GONE,
    }
    assert "OU=after" in again.snapshot.warnings[0]


def test_a_long_member_list_that_comes_in_ranges(samba, company, monkeypatch):
    """Samba gives ranges only to who asks; AD sends an empty member and its first range (MS-ADTS 3.1.1.3.1.3.3)."""
    real = groups.decode_entry

    def cut(raw, names):
        dn, found, _raw = real(raw, names)
        if len(found.get("member", ())) > 2:
            found = {**found, "member": [], "member;range=0-1": found["member"][:2]}
        return dn, found, raw

    whole = look(samba, distinguished_name=[company])
    monkeypatch.setattr(groups, "decode_entry", cut)
    in_ranges = look(samba, distinguished_name=[company])
    assert in_ranges.members("inner") == whole.members("inner") == ["later", "locked", "outside"]
    without_digests = [
        {key: group._replace(members_digest=b"") for key, group in seen.snapshot.user_groups.items()}
        for seen in (in_ranges, whole)
    ]
    assert without_digests[0] == without_digests[1]


def test_without_the_right_to_read_the_state_nothing_says_that_somebody_is_enabled(samba, company):
    samba.create_user("curious", "Passw0rd-9")
    # schemaIDGUID of userAccountControl; authenticated users may else read it.
    samba.samba_tool(
        "dsacl", "set", f"--objectdn=CN=locked,{company}", "--sddl=(OD;;RP;bf967a68-0de6-11d0-a285-00aa003049e2;;AU)"
    )
    login = {"login": "CORP\\CURIOUS", "password": "Passw0rd-9"}
    seen = look(samba, distinguished_name=[company], **login)
    assert seen.snapshot.stateless == {seen.user("locked").key: "userAccountControl"}
    assert [reason for dn, reason in seen.snapshot.not_stored if dn.startswith("CN=locked,")] == [
        "its userAccountControl cannot be read, so nothing enables it"
    ]
    assert look(samba, distinguished_name=[f"OU=Süd,{company}"], **login).users == {"later"}


def test_member_uids_mean_the_uid_whatever_users_are_called_in_the_store():
    with directory(
        posix("anna", 1, "mail: anna@example.org"),
        entry("cn=staff,ou=groups", "objectClass: posixGroup", "gidNumber: 9", "memberUid: anna"),
    ) as server:
        seen = look(server, ldap_parameters={"preset": "rfc2307"}, user_attributes={"name": "mail"})
    assert seen.users == {"anna@example.org"} and seen.members("staff") == ["anna@example.org"]


def test_a_key_that_could_be_taken_for_another_reference_is_none():
    with directory(person("anna", "employeeNumber: #All/Staff/anna"), person("bob", "employeeNumber: 1")) as server:
        seen = look(server, ldap_parameters={"user_key": "employeeNumber"})
    assert seen.users == {"bob"} and "employeeNumber is no stable key" in seen.snapshot.not_stored[0][1]
