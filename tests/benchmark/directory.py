# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A made-up directory of any size, the same in every run: entries for slapadd, and changes for ldapmodify.

Sizes of groups have the long tail that directories have: half of them fewer than 15 members, a handful a quarter of
all users and more, 6.8 memberships a user on average.

    python directory.py openldap USERS ROUNDS FOLDER            writes load.ldif and changes-1.ldif ...
    python directory.py active_directory USERS 0 FOLDER         writes load.ldif, for ldbadd
"""

from __future__ import annotations

import json
import random
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

SUFFIX = "dc=example,dc=org"
USERS_A_GROUP = 20
MEMBERSHIPS_A_USER = 6.8
_LARGEST = 0.4  # of all users
_TAIL = 1.2  # size of the k-th largest group: proportional to k ** -_TAIL
_NESTED = 20  # one group in so many has another one in it
A_FEW = 100  # changes: of 60 users, 10 new ones, 10 who leave, and 20 lists
CHANGED = 1000  # one user, and one membership, in so many changes from round to round

_SYLLABLES = ("ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "wy", "zé")
_TITLES = ("Nurse", "Physician", "Clerk", "Engineer", "Porter", "Analyst", "Ward manager", "Pharmacist")


def group_sizes(users: int) -> list[int]:
    """How many users each group has, the largest first."""
    count = max(2, users // USERS_A_GROUP)
    low, high = 0.0, float(users * count)
    for _dummy in range(60):
        scale = (low + high) / 2
        sizes = [max(1, min(int(_LARGEST * users), int(scale * rank**-_TAIL))) for rank in range(1, count + 1)]
        low, high = (low, scale) if sum(sizes) > MEMBERSHIPS_A_USER * users else (scale, high)
    return sizes


def groups_of(users: int) -> list[list[int]]:
    """The members of each group, as numbers of users."""
    chosen = random.Random(users)
    return [chosen.sample(range(users), size) for size in group_sizes(users)]


def _name(number: int) -> str:
    """Two or three syllables, so that some names are shared."""
    text = ""
    while True:
        number, syllable = divmod(number, len(_SYLLABLES))
        text += _SYLLABLES[syllable]
        if not number:
            return text.capitalize()


def _key(kind: str, number: int) -> str:
    return str(uuid.UUID(int=random.Random(f"{kind}{number}").getrandbits(128), version=4))


def _uid(number: int) -> str:
    return f"u{number:07d}"


def _user(number: int) -> Iterator[tuple[str, str]]:
    given, surname = _name(number % 1000), _name(number // 7 % 5000)
    yield "uid", _uid(number)
    yield "cn", f"{given} {surname}"
    yield "sn", surname
    yield "givenName", given
    yield "displayName", f"{surname}, {given}"
    yield "mail", f"{_uid(number)}@example.org"
    yield "telephoneNumber", f"+49 30 {number:07d}"
    yield "title", _TITLES[number % len(_TITLES)]
    yield "departmentNumber", f"{number % 311:04d}"
    yield "employeeNumber", f"{number:08d}"


def _user_dn(number: int) -> str:
    return f"uid={_uid(number)},ou=people,{SUFFIX}"


def _group_dn(number: int) -> str:
    return f"cn=g{number:06d},ou=groups,{SUFFIX}"


def _write(out: TextIO, dn: str, *lines: str) -> None:
    out.write(f"dn: {dn}\n" + "".join(f"{line}\n" for line in lines) + "\n")


def _write_user(out: TextIO, number: int, *more: str) -> None:
    # Non-ASCII text stands as it is: slapadd and ldapmodify take UTF-8, whatever RFC 2849 says of base64.
    _write(
        out, _user_dn(number), *more, "objectClass: inetOrgPerson", *(f"{name}: {text}" for name, text in _user(number))
    )


def write_directory(out: TextIO, groups: list[list[int]], users: int) -> None:
    """Write the entries, with keys and times that slapadd would make otherwise."""
    _write(
        out,
        SUFFIX,
        "objectClass: dcObject",
        "objectClass: organization",
        "dc: example",
        "o: Example",
        f"entryUUID: {_key('suffix', 0)}",
    )
    for unit in ("people", "groups"):
        _write(out, f"ou={unit},{SUFFIX}", "objectClass: organizationalUnit", f"ou: {unit}")
    for number in range(users):
        _write_user(out, number, f"entryUUID: {_key('user', number)}", "createTimestamp: 20200101000000Z")
    for number, members in enumerate(groups):
        nested = [_group_dn((number + 1) % len(groups))] if number % _NESTED == 0 else []
        _write(
            out,
            _group_dn(number),
            "objectClass: groupOfNames",
            f"cn: g{number:06d}",
            f"description: Group {number} of {len(groups)}",
            f"entryUUID: {_key('group', number)}",
            "createTimestamp: 20200101000000Z",
            *(f"member: {dn}" for dn in nested),
            *(f"member: {_user_dn(member)}" for member in members),
        )


def write_changes(out: TextIO, groups: list[list[int]], users: int, turn: int) -> None:
    """Write what changes in one round, and change ``groups`` accordingly.

    Of the users that change, most get another value of an attribute, one in seven another name, one in seven leaves
    and one in seven is new; of the memberships, half begin and half end.
    """
    chosen = random.Random(f"{users} {turn}")
    count = max(4, users // CHANGED)
    order = list(range(users))
    random.Random(users).shuffle(order)
    touched = order[(turn - 1) * count : turn * count]
    share = max(1, count // 7)
    gone, renamed, changed = touched[:share], touched[share : 2 * share], touched[2 * share : -share]
    new = [users + turn * count + index for index in range(share)]
    joins: dict[int, list[str]] = {}
    leaves: dict[int, list[str]] = {}
    renames = {number: f"uid={_uid(number)}n,ou=people,{SUFFIX}" for number in renamed}

    untouchable = set(order[: turn * count])  # their DNs are not what they were
    sizes = [len(members) for members in groups]
    for number in chosen.choices(range(len(groups)), sizes, k=int(users * MEMBERSHIPS_A_USER / CHANGED / 2) or 1):
        members, who = groups[number], chosen.randrange(users)
        if who not in untouchable and who not in members:
            members.append(who)
            joins.setdefault(number, []).append(_user_dn(who))
        at = chosen.randrange(len(members))
        if members[at] not in untouchable and _user_dn(members[at]) not in joins.get(number, ()) and len(members) > 2:
            leaves.setdefault(number, []).append(_user_dn(members[at]))
            del members[at]
    touched_now = set(gone) | set(renamed)
    for number, members in enumerate(groups):
        for who in touched_now.intersection(members):
            leaves.setdefault(number, []).append(_user_dn(who))
            members.remove(who)
            if who in renames:
                joins.setdefault(number, []).append(renames[who])
    for who in new:
        joins.setdefault(who % len(groups), []).append(_user_dn(who))

    for who in new:
        _write_user(out, who, "changetype: add")
    for who in changed:
        title = f"{chosen.choice(_TITLES)} {turn}"
        _write(out, _user_dn(who), "changetype: modify", "replace: title", f"title: {title}", "-")
    for who in renamed:
        _write(out, _user_dn(who), "changetype: modrdn", f"newrdn: uid={_uid(who)}n", "deleteoldrdn: 1")
    for number in sorted(set(joins) | set(leaves)):
        # Joins first: a group may not be empty in between.
        lines = ["changetype: modify"]
        for verb, dns in (("add", joins.get(number, [])), ("delete", leaves.get(number, []))):
            if dns:
                lines += [f"{verb}: member", *(f"member: {dn}" for dn in dns), "-"]
        _write(out, _group_dn(number), *lines)
    for who in gone:
        _write(out, _user_dn(who), "changetype: delete")


def write_few_changes(out: TextIO, groups: list[list[int]], users: int, turn: int) -> None:
    """Write a hundred changes, and change ``groups`` accordingly.

    Users get another value of an attribute, users who are in no group leave, as many are new, and lists, each as likely
    as any other, are joined or left by somebody.
    """
    chosen = random.Random(f"few {users} {turn}")
    order = list(range(users))
    random.Random(users).shuffle(order)
    lasting = order[len(order) // 2 :]  # whom `write_changes` leaves alone
    alone = sorted(set(lasting).difference(*groups))
    leaving = alone[turn * A_FEW // 10 :][: A_FEW // 10]
    for index, who in enumerate(leaving):
        _write_user(out, 2 * users + turn * A_FEW + index, "changetype: add")
        _write(out, _user_dn(who), "changetype: delete")
    staying = sorted(set(lasting).difference(alone))
    for who in chosen.sample(staying, min(A_FEW * 6 // 10, len(staying))):
        _write(
            out, _user_dn(who), "changetype: modify", "replace: title", f"title: {chosen.choice(_TITLES)}, {turn}", "-"
        )
    stays = set(staying)
    for number in chosen.sample(range(len(groups)), min(A_FEW // 5, len(groups))):
        members, who = groups[number], chosen.choice(staying)
        leaver = next((member for member in members if member in stays), None)
        if number % 2 and leaver is not None and len(members) > 2:
            members.remove(leaver)
            verb, dn = "delete", _user_dn(leaver)
        elif who not in members:
            members.append(who)
            verb, dn = "add", _user_dn(who)
        else:
            continue
        _write(out, _group_dn(number), "changetype: modify", f"{verb}: member", f"member: {dn}", "-")


# --- Active Directory ------------------------------------------------------------------------------------------------

AD_SUFFIX = "DC=corp,DC=example"
AD_BASE = f"OU=Benchmark,{AD_SUFFIX}"


def write_active_directory(out: TextIO, groups: list[list[int]], users: int) -> None:
    """Write entries for ldbadd: users, and groups with members, one of them nested in another now and then.

    Everybody's primary group is Domain Users, as Active Directory makes them.
    """
    _write(out, AD_BASE, "objectClass: organizationalUnit")
    for number in range(users):
        given, surname = _name(number % 1000), _name(number // 7 % 5000)
        _write(
            out,
            f"CN={_uid(number)},{AD_BASE}",
            "objectClass: user",
            f"sAMAccountName: {_uid(number)}",
            f"userPrincipalName: {_uid(number)}@corp.example",
            "userAccountControl: 544",
            f"givenName: {given}",
            f"sn: {surname}",
            f"displayName: {surname}, {given}",
            f"mail: {_uid(number)}@corp.example",
            f"telephoneNumber: +49 30 {number:07d}",
            f"title: {_TITLES[number % len(_TITLES)]}",
            f"department: {number % 311:04d}",
        )
    for number, members in enumerate(groups):
        # A group that is nested comes first, since ldbadd adds one entry at a time.
        nested = [f"CN=g{number - 1:06d},{AD_BASE}"] if number % _NESTED == 1 else []
        _write(
            out,
            f"CN=g{number:06d},{AD_BASE}",
            "objectClass: group",
            f"sAMAccountName: g{number:06d}",
            f"description: Group {number} of {len(groups)}",
            *(f"member: {dn}" for dn in nested),
            *(f"member: CN={_uid(member)},{AD_BASE}" for member in members),
        )


def main(kind: str, users: int, rounds: int, folder: Path) -> None:
    groups = groups_of(users)
    with open(folder / "load.ldif", "w", encoding="utf-8") as out:
        (write_active_directory if kind == "active_directory" else write_directory)(out, groups, users)
    counts = {"users": users, "groups": len(groups), "memberships": sum(map(len, groups))}
    (folder / "counts.json").write_text(json.dumps(counts), encoding="ascii")
    for turn in range(1, rounds + 1 if kind == "openldap" else 1):
        with open(folder / f"few-{turn}.ldif", "w", encoding="utf-8") as out:
            write_few_changes(out, groups, users, turn)
        with open(folder / f"changes-{turn}.ldif", "w", encoding="utf-8") as out:
            write_changes(out, groups, users, turn)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
