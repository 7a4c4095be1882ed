# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tree of entries in memory that can be searched, and trees that look like Active Directory and like OpenLDAP.

It knows nothing of the collection: DNs and filters are compared by code of its own.
"""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from typing import Union

import sansldap

Entry = dict[str, list[bytes]]
Value = Union[str, bytes, int]

DOMAIN = "DC=corp,DC=example"
DOMAIN_SID = (21, 1004336348, 1177238915, 682003330)
SUFFIX = "dc=example,dc=org"

# Attributes that an LDAP server sends only when they are asked for by name or by '+' (RFC 4512, 3.4).
_OPERATIONAL = {"entryuuid", "createtimestamp", "modifytimestamp"}
_BINARY = {"guid", "objectguid", "objectsid"}
_DNS = {"member", "uniquemember", "memberof", "seealso"}
_AND, _OR = "1.2.840.113556.1.4.803", "1.2.840.113556.1.4.804"  # MS-ADTS 3.1.1.3.4.4


# --- distinguished names and filters ---------------------------------------------------------------------------------


@cache
def rdns(dn: str) -> tuple[str, ...]:
    """The RDNs of a DN, the outermost first, in one spelling: without escapes and case, and with single spaces."""
    parts = re.findall(r"(?:[^\\,]|\\.)+", dn, re.DOTALL)
    return tuple(_plain(part) for part in reversed(parts))


def _plain(rdn: str) -> str:
    kind, _equals, value = rdn.strip(" ").partition("=")
    octets = re.sub(
        rb"\\([0-9A-Fa-f]{2}|.)",
        lambda pair: bytes.fromhex(pair[1].decode()) if len(pair[1]) == 2 else pair[1],
        value.encode("utf-8", "surrogateescape"),
        flags=re.DOTALL,
    )
    text = octets.decode("utf-8", "surrogateescape")
    return "%s=%s" % (kind.strip().lower(), " ".join(text.split()).lower())


def matches(entry: Entry, test: sansldap.LDAPFilter) -> bool:
    """Whether an entry matches a filter (RFC 4511, 4.5.1.7)."""
    if isinstance(test, sansldap.FilterAnd):
        return all(matches(entry, part) for part in test.filters)
    if isinstance(test, sansldap.FilterOr):
        return any(matches(entry, part) for part in test.filters)
    if isinstance(test, sansldap.FilterNot):
        return not matches(entry, test.filter)
    attribute = test.attribute.lower()
    values = entry.get(attribute, [])
    if isinstance(test, sansldap.FilterPresent):
        return bool(values)
    if isinstance(test, sansldap.FilterSubstrings):
        return any(_has_substrings(value.lower(), test) for value in values)
    if isinstance(test, sansldap.FilterExtensibleMatch) and test.rule in (_AND, _OR):
        wanted = int(test.value)
        found = [int(value) & wanted for value in values if re.fullmatch(rb"-?[0-9]{1,20}", value)]
        return any(bits == wanted if test.rule == _AND else bits for bits in found)
    normal = _normal(attribute)
    compare = _COMPARISONS[type(test)]
    wanted = normal(test.value)
    return any(compare(each, wanted) for each in map(normal, values) if type(each) is type(wanted))


_COMPARISONS: dict[type, Callable] = {
    sansldap.FilterEquality: lambda value, wanted: value == wanted,
    sansldap.FilterGreaterOrEqual: lambda value, wanted: value >= wanted,
    sansldap.FilterLessOrEqual: lambda value, wanted: value <= wanted,
}


def _normal(attribute: str) -> Callable[[bytes], object]:
    if attribute in _BINARY:
        return bytes
    if attribute in _DNS:
        return lambda value: rdns(value.decode("utf-8", "surrogateescape"))
    if attribute == "objectcategory":  # a DN that may be asked for by the name of the class, MS-ADTS 3.1.1.3.1.3.5
        return lambda value: value.lower().partition(b",")[0].replace(b"cn=", b"")
    return lambda value: int(value) if re.fullmatch(rb"-?[0-9]{1,18}", value) else value.lower()


def _has_substrings(value: bytes, test: sansldap.FilterSubstrings) -> bool:
    initial, final = (test.initial or b"").lower(), (test.final or b"").lower()
    pattern = b".*".join(re.escape(part.lower()) for part in (initial, *test.any, final))
    return re.fullmatch(pattern, value, re.DOTALL) is not None


# --- the tree --------------------------------------------------------------------------------------------------------


class Tree:
    """Entries by DN. A search goes through them in the order of their DNs, as one by a name index does: an entry that
    is moved while it is read may come twice, or not at all.

    :param suffix: the naming context; its entry is not made.
    :param root_dse: what the root DSE says.
    """

    def __init__(self, suffix: str, root_dse: dict[str, Value | list[Value]]) -> None:
        self.suffix = suffix
        self.root_dse = _entry(root_dse)
        self.version = 0  # counts the changes
        self._entries: dict[tuple[str, ...], tuple[str, Entry]] = {}
        self._hidden: set[tuple[str, ...]] = set()  # places that are there only for those who ask for them

    def add(self, dn: str, attributes: dict[str, Value | list[Value]]) -> str:
        """Add an entry, or replace it; its DN."""
        self._entries[rdns(dn)] = dn, _entry(attributes)
        self.version += 1
        return dn

    def remove(self, dn: str) -> None:
        del self._entries[rdns(dn)]
        self.version += 1

    def move(self, dn: str, new_dn: str) -> None:
        """Give an entry another DN. Values elsewhere that name it stay as they are."""
        self._entries[rdns(new_dn)] = new_dn, self._entries.pop(rdns(dn))[1]
        self.version += 1

    def set(self, dn: str, attribute: str, *values: Value) -> None:
        """Replace the values of an attribute; without values, remove it."""
        entry = self._entries[rdns(dn)][1]
        entry.pop(attribute.lower(), None)
        if values:
            entry.update(_entry({attribute: list(values)}))
        self.version += 1

    def __getitem__(self, dn: str) -> Entry:
        return self._entries[rdns(dn)][1]

    def __len__(self) -> int:
        return len(self._entries)

    def find(
        self, base: str, scope: int, test: sansldap.LDAPFilter, hidden: bool = False
    ) -> list[tuple[tuple[str, ...], str, Entry]]:
        """(place in the order, DN, entry) of all that match. :raises KeyError: when there is no such base."""
        start = self._base(base)
        if start in self._hidden and not hidden:
            self._missing(base)
        found = (
            (place, dn, entry)
            for place, (dn, entry) in self._below(start)
            if (hidden or place not in self._hidden)
            and len(place) - len(start) in (range(1), range(1, 2), range(1000000))[scope]
            and matches(entry, test)
        )
        return sorted(found, key=lambda each: each[0])

    def _base(self, base: str) -> tuple[str, ...]:
        guid = re.fullmatch(r"<GUID=([0-9a-f-]{36})>", base)  # MS-ADTS 3.1.1.3.1.2.4
        if guid:
            wanted = [uuid.UUID(guid[1]).bytes_le]
            return next(
                (place for place, (_dn, entry) in self._entries.items() if entry.get("objectguid") == wanted), None
            ) or self._missing(base)
        return rdns(base) if rdns(base) in self._entries else self._missing(base)

    def _missing(self, base: str) -> tuple[str, ...]:
        raise KeyError(base)

    def _below(self, start: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], tuple[str, Entry]]]:
        return (each for each in self._entries.items() if each[0][: len(start)] == start)


def select(entry: Entry, names: list[str], most_values: int | None = None) -> list[tuple[str, list[bytes]]]:
    """What a server sends of an entry that is asked for these attributes (RFC 4511, 4.5.1.8).

    :param most_values: AD's MaxValRange: of an attribute with more values the attribute comes without any, and with a
        first range beside it (MS-ADTS 3.1.1.3.1.3.3).
    """
    wanted = {name.lower() for name in names if ";range=" not in name}
    sent: list[tuple[str, list[bytes]]] = []
    for name, values in entry.items():
        everything = "+" if name in _OPERATIONAL else "*"
        if name in wanted or everything in wanted or not names:
            cut = most_values is not None and len(values) > most_values
            sent.append((name, [] if cut else values))
            if cut:
                sent.append(_range(name, values, 0, most_values))
    for asked in names:
        match = re.fullmatch(r"([^;]+);range=([0-9]+)-(?:[0-9]+|\*)", asked)
        if match and match[1].lower() in entry:
            sent.append(_range(match[1], entry[match[1].lower()], int(match[2]), most_values or 1000000))
    return sent


def _range(name: str, values: list[bytes], low: int, most: int) -> tuple[str, list[bytes]]:
    part = values[low : low + most]
    last = "*" if low + len(part) >= len(values) else str(low + len(part) - 1)
    return "%s;range=%d-%s" % (name, low, last), part


def _entry(attributes: dict[str, Value | list[Value]]) -> Entry:
    return {
        name.lower(): [_octets(value) for value in (values if isinstance(values, list) else [values])]
        for name, values in attributes.items()
    }


def _octets(value: Value) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")


# --- Active Directory ------------------------------------------------------------------------------------------------


def sid(*numbers: int) -> bytes:
    """The bytes of the SID S-1-5-... (MS-DTYP 2.4.2.2)."""
    return bytes((1, len(numbers), 0, 0, 0, 0, 0, 5)) + struct.pack("<%dL" % len(numbers), *numbers)


def key(name: str) -> uuid.UUID:
    """The stable key that the entry of this name gets here."""
    return uuid.uuid5(uuid.NAMESPACE_OID, name)


class ActiveDirectory(Tree):
    """A domain: `DOMAIN`, with the organizational units that are made in it."""

    def __init__(self) -> None:
        super().__init__(
            DOMAIN,
            {
                "defaultNamingContext": DOMAIN,
                "namingContexts": [DOMAIN, "CN=Configuration," + DOMAIN],
                "configurationNamingContext": "CN=Configuration," + DOMAIN,
                "supportedCapabilities": ["1.2.840.113556.1.4.800", "1.2.840.113556.1.4.1670"],
                "supportedControl": ["1.2.840.113556.1.4.319"],
                "supportedExtension": ["1.3.6.1.4.1.1466.20037"],
                "supportedLDAPVersion": "3",
            },
        )
        self._number = 1100
        self.add(
            DOMAIN,
            {"objectClass": ["top", "domain", "domainDNS"], "objectSid": sid(*DOMAIN_SID), **self._about(DOMAIN)},
        )

    def unit(self, name: str, below: str = DOMAIN) -> str:
        return self.add(
            "OU=%s,%s" % (name, below),
            {"objectClass": ["top", "organizationalUnit"], "ou": name, **self._about("OU=%s,%s" % (name, below))},
        )

    def user(self, name: str, below: str, **more: Value | list[Value]) -> str:
        """A user whose CN and sAMAccountName are `name`; its primary group is Domain Users."""
        return self.add(
            "CN=%s,%s" % (name, below),
            {
                "objectClass": ["top", "person", "organizationalPerson", "user"],
                "objectCategory": "CN=Person,CN=Schema,CN=Configuration," + DOMAIN,
                "cn": name,
                "sAMAccountName": name,
                "displayName": name.title(),
                "mail": name + "@corp.example",
                "userAccountControl": 512,
                "accountExpires": 0,
                "primaryGroupID": 513,
                "objectSid": self._new_sid(),
                **self._about("user " + name),
                **more,
            },
        )

    def group(self, name: str, below: str, *members: str, **more: Value | list[Value]) -> str:
        """A global security group."""
        return self.add(
            "CN=%s,%s" % (name, below),
            {
                "objectClass": ["top", "group"],
                "objectCategory": "CN=Group,CN=Schema,CN=Configuration," + DOMAIN,
                "cn": name,
                "sAMAccountName": name,
                "groupType": -2147483646,
                "objectSid": self._new_sid(),
                **({"member": list(members)} if members else {}),
                **self._about("group " + name),
                **more,
            },
        )

    def remove(self, dn: str) -> None:
        """Remove an entry. Lists forget it (MS-ADTS 3.1.1.5.5.1.1)."""
        super().remove(dn)
        gone = rdns(dn)
        for _dn, entry in self._entries.values():
            if "member" in entry:
                entry["member"] = [each for each in entry["member"] if _normal("member")(each) != gone]
                if not entry["member"]:
                    del entry["member"]

    def _about(self, name: str) -> dict[str, Value | list[Value]]:
        return {"objectGUID": key(name).bytes_le, "whenCreated": "20240101000000.0Z"}

    def _new_sid(self) -> bytes:
        self._number += 1
        return sid(*DOMAIN_SID, self._number)


class Controller(ActiveDirectory):
    """A domain as one of its controllers has it: it counts what changes, and keeps who was deleted.

    :param shows_deleted: whether the account may see these.
    """

    _SETTINGS = "CN=NTDS Settings,CN=DC1,CN=Configuration," + DOMAIN
    _DELETED = "CN=Deleted Objects," + DOMAIN

    def __init__(self, shows_deleted: bool = True) -> None:
        self.usn = 12000
        super().__init__()
        self.root_dse["dsservicename"] = [self._SETTINGS.encode()]
        self.root_dse["supportedcontrol"] += [b"1.2.840.113556.1.4.417", b"1.2.840.113556.1.4.2064"]
        self.add(
            self._SETTINGS,
            {"objectClass": ["top", "nTDSDSA"], "invocationId": key("a life").bytes, **self._about("settings")},
        )
        if shows_deleted:
            self.add(
                self._DELETED, {"objectClass": ["top", "container"], "isDeleted": "TRUE", **self._about("deleted")}
            )
            self._hidden.add(rdns(self._DELETED))
            self.remove(
                self.add(
                    "CN=who was there before," + DOMAIN,
                    {"objectClass": ["top", "user"], **self._about("who was there before")},
                )
            )

    def be_restored(self, usn: int) -> None:
        """Be what a restore leaves: another life, whose count begins earlier."""
        self.set(self._SETTINGS, "invocationId", key("another life").bytes)
        self.count_from(usn)

    def count_from(self, usn: int) -> None:
        self.usn = usn
        self.root_dse["highestcommittedusn"] = [b"%d" % usn]

    def add(self, dn: str, attributes: dict[str, Value | list[Value]]) -> str:
        return self._count(super().add(dn, attributes))

    def move(self, dn: str, new_dn: str) -> None:
        super().move(dn, new_dn)
        self._count(new_dn)

    def set(self, dn: str, attribute: str, *values: Value) -> None:
        super().set(dn, attribute, *values)
        self._count(dn)

    def remove(self, dn: str) -> None:
        guid = self[dn]["objectguid"]
        super().remove(dn)
        if rdns(self._DELETED) in self._hidden:
            left = self.add(
                "CN=%s,%s" % (uuid.UUID(bytes_le=guid[0]), self._DELETED),
                {"objectClass": ["top"], "isDeleted": "TRUE", "objectGUID": guid[0]},
            )
            self._hidden.add(rdns(left))

    def _count(self, dn: str) -> str:
        self.count_from(self.usn + 1)
        self[dn]["usnchanged"] = [b"%d" % self.usn]
        return dn


# --- OpenLDAP --------------------------------------------------------------------------------------------------------


class OpenLDAP(Tree):
    """A directory below `SUFFIX`, with what is made in it."""

    def __init__(self) -> None:
        super().__init__(
            SUFFIX,
            {
                "objectClass": ["top", "OpenLDAProotDSE"],
                "namingContexts": SUFFIX,
                "supportedControl": ["1.2.840.113556.1.4.319"],
                "supportedExtension": ["1.3.6.1.4.1.1466.20037"],
                "supportedLDAPVersion": "3",
            },
        )
        self.add(
            SUFFIX,
            {
                "objectClass": ["top", "dcObject", "organization"],
                "dc": "example",
                "o": "Example",
                **self._about(SUFFIX),
            },
        )

    def unit(self, name: str, below: str = SUFFIX) -> str:
        return self.add(
            "ou=%s,%s" % (name, below),
            {"objectClass": ["organizationalUnit"], "ou": name, **self._about("ou=%s,%s" % (name, below))},
        )

    def user(self, name: str, below: str, **more: Value | list[Value]) -> str:
        """An inetOrgPerson whose uid and cn are `name`."""
        return self.add(
            "uid=%s,%s" % (name, below),
            {
                "objectClass": ["inetOrgPerson"],
                "uid": name,
                "cn": name,
                "sn": name,
                "mail": name + "@example.org",
                **self._about("user " + name),
                **more,
            },
        )

    def group(self, name: str, below: str, *members: str, **more: Value | list[Value]) -> str:
        """A groupOfNames."""
        return self.add(
            "cn=%s,%s" % (name, below),
            {
                "objectClass": ["groupOfNames"],
                "cn": name,
                "member": list(members),
                **self._about("group " + name),
                **more,
            },
        )

    def _about(self, name: str) -> dict[str, Value | list[Value]]:
        return {"entryUUID": str(key(name)), "createTimestamp": "20240101000000Z"}
