# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What changed -> a snapshot of all that may be other than stored, which makes the plan that a full read would make.

An entry that did not change can still come to mean something else, and only by a way that is followed here:

- A member list says DNs. Whom it leads to is another matter as soon as somebody comes to have that DN, or has it no
  longer: so all lists are read that say the old or the new DN of anybody who came, went, was renamed or moved.
- The store knows who was in a list. Who leaves one and lies outside the selected containers is in scope only as long as
  another list, or a primary group, has him.
- Who has to wait for a name is looked at again in every read, and so is what a listed value led to that led to no one
  (`again` and `open` in the mark).

Nobody is lost because a list of changes says so: who is missing is looked up by key, in the whole directory, as after
a full read. Where a change reaches further, ReadFully says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .._errors import sentence
from .._model import GONE, Digests, Directory, Mark, Snapshot, Unresolved, UserGroup
from . import changes
from .changes import MANY, ReadFully
from .connection import Session
from .filters import all_of, below_parents, tests_of
from .presets import Entry, Preset, any_of, keys_of, state_by
from .reader import (
    _AMBIGUOUS,
    _BOTH,
    _GROUPS_A_PAGE,
    _NAMELESS,
    _NO_KEY,
    _OUT_OF_SCOPE,
    _UNKNOWN,
    Found,
    Outcome,
    Reading,
    _Group,
    complete_or_error,
)
from .search import batches, finds_any, search
from .values import dn_text, normal_dn

# More values than this are not told one by one.
_MANY_VALUES = 200

_NOT_BY_KEY = "the server does not find '%s' by its key"

# Who left is looked up once more, by key, and yet: what would hurt is done by a read that has seen everything.
MANY_LOST = 200

# Seconds that a mark is good for. Directories forget what was deleted: Active Directory after tombstoneLifetime, which
# is two days at least (MS-ADTS 6.1.1.2.4.1.1).
LASTS = 2 * 86400


def read(
    settings: Any, session: Session, preset: Preset, directory: Directory, known: Any, mark: Mark, now: int
) -> Snapshot:
    """Read what changed since the mark, and what that concerns. See `reader.read`.

    ``known`` answers who is stored: see `Known` in `_store/sqlite.py`. Raises ReadFully where only a read of everything
    can tell the outcome, or what is wrong.
    """
    reading = _PartialReading(settings, session, preset, directory, known, mark, now)
    return changes.attempt(session, lambda: complete_or_error(reading.snapshot))


class _PartialReading(Reading):
    def __init__(self, settings, session, preset, directory, known, mark: Mark, now: int) -> None:
        stored = known.user_groups()
        digests = Digests(
            {},
            {key: digest for key, (digest, _dn) in stored.items()},
            known.foreign_users(),
            known.selected,
            others={},
            dns=known.dns,
            group_dns={key: dn for key, (_digest, dn) in stored.items()},
        )
        super().__init__(settings, session, preset, directory, digests, now, True)
        self.known, self.before = known, mark
        self.concerned = None
        self.stored_groups: dict[str, str] = {key: dn for key, (_digest, dn) in stored.items()}
        self.stored_users: dict[str, str] = {}  # key -> DN (see Known), of those that were looked at
        self.changed: dict[str, str] = {}  # key -> DN now: see Changes
        self.list_changes: dict[str, changes.ListChange] = {}  # key of a group -> what is told of its list
        self.unread: set[str] = set()  # keys of groups of which that will do
        self.joined: dict[str, list[str]] = {}  # key of such a group -> keys of users who are new in it
        self.left: dict[str, list[str]] = {}
        self.read_as_users: set[str] = set()  # keys of users who are user groups as well
        self.looked: set[str] = set()  # keys that were asked for: nothing of them is as stored until it is read
        self.moved: set[str] = set()  # keys of those who are not where the store has them
        # Key of a group -> stored members, key -> DN: where it matters who leaves a list.
        self.lists: dict[str, dict[str, str]] = {}
        self.waiting: dict[str, Found] = {}  # users outside the selected containers: in scope if anybody lists them

    def snapshot(self) -> Snapshot:
        self._exclude()
        self._select()
        self._find_domains()
        self.position = self._asked_position()
        if self._selection() != self.before.said["selection"]:
            raise ReadFully("what is selected or excluded lies elsewhere than at the last run")
        if not self.stored_groups.keys() >= set(self.selected_groups.values()):
            raise ReadFully("a selected group is none in the store")
        users, groups = self._look()
        lists = self._lists_to_read(users, groups)
        self._take_users(users)
        self._follow_list_changes(lists)
        self._take_lists(lists)
        self._follow_members()
        self._add_primary_members()
        user_groups = self._finished_groups()
        self._check_nesting(user_groups)
        self._settle_outside(user_groups)
        joined = {**self._joined(), **self.joined}
        for member in set().union(*(record.members or () for record in user_groups.values())):
            if member[:1] not in "@#":
                self.users.setdefault(member, None)
        self._keep_open()
        self._prove_outside(self.outside.difference(self.before.said["outside"]))
        self._check_required()
        return self._snapshot(user_groups, joined)

    def _snapshot(self, user_groups: dict[str, UserGroup], joined: dict[str, list[str]]) -> Snapshot:
        if self.named or self.nameless_users or self.nameless_groups or self.session.nameless:
            raise ReadFully("an entry has no stable key of its own")
        lost_users = self._lost_users(self.stored_users)
        lost_user_groups = self._lost_user_groups(self.looked.intersection(self.stored_groups), user_groups)
        if len(lost_users) + len(lost_user_groups) > MANY_LOST:
            raise ReadFully(
                "more than %d users and user groups left: only a read of everything removes so many" % MANY_LOST
            )
        if lost_users and not self.users and len(lost_users) >= self.known.count_users():
            raise ReadFully("nobody seems to be left")
        for key, reason in {**lost_users, **lost_user_groups}.items():
            if reason == GONE and key in self.changed:
                raise ReadFully(_NOT_BY_KEY % key)
        self.outside.update(
            key for key in self.before.said["outside"] if key not in lost_users and key not in lost_user_groups
        )
        return Snapshot(
            directory=self.directory,
            users=self.users,
            user_groups=user_groups,
            lost_users=lost_users,
            lost_user_groups=lost_user_groups,
            unresolved=self.unresolved,
            not_stored=self.not_stored,
            other_members=self.other_members,
            selected={**self.excluded_as, **self.selected},
            warnings=[sentence(warning) for warning in self.warnings],
            whole_tree=self.whole,
            complete=False,
            listed_as=self.listed_as,
            foreign_sids=self.foreign_sids,
            unclear=self.unclear,
            joined=joined,
            left=self.left,
            mark=self._position_as_mark(),
            units=self._units(),
            state_by=state_by(self.preset),
            place=self._place_of_all(),
            stateless=self.stateless,
        )

    # --- whom to look at

    def _position_before(self) -> dict[str, Any]:
        return self.before.said

    def _prove_changes(self) -> None:
        """The read of everything that this one goes on from has."""

    def _known_outside(self) -> Sequence[str]:
        return self.before.said["outside"]

    def _look(self) -> tuple[dict[str, Found], dict[str, Found]]:
        """Read all that may be other than stored; return the users and the groups among it that match the filters."""
        found = changes.since(
            self.session,
            self._where(self._known_outside()),
            self.before.said,
            self.position,
            self.before.versions,
            self.versions,
            self.known,
        )
        self.changed = found.changed
        self.looked = set(found.changed) | found.gone | set(self.before.said["again"])
        self.looked |= self.known.to_look_at(self.now)
        # Who could not be seen may be seen again, and nothing says so: who is to be deleted is looked at once more.
        settings = self.settings
        ends = self.now - settings.user_extinction_grace_days * 86400 if settings.user_extinction == "delete" else None
        self.looked |= self.known.extinct(ends, settings.user_group_extinction == "delete")
        self.looked.update(self.list_changes.keys() & self.stored_groups.keys())  # which is not told again
        self.looked.update(key for key, digest in self.digests.user_groups.items() if not digest)
        self._look_at_what_is_open()
        if len(self.looked) > 2 * MANY:
            raise ReadFully("more than %d entries changed, or wait for somebody else's name" % MANY)
        self._know(self.looked)
        preset = self.preset
        users = self._fetch(self.looked, preset.user_key, preset.user_filter, self.user_attributes)
        groups = self._fetch_groups(self.looked)
        self._settle_what_is_both(users, groups)
        self._check_not_found({key: dn for key, dn in found.changed.items() if key not in users and key not in groups})
        return users, groups

    def _settle_what_is_both(self, users: dict[str, Found], groups: dict[str, Found]) -> None:
        """See `Reading`: an entry that is a user and a user group is what it was, and a new one is a user."""
        for key in users.keys() & groups.keys():
            dn = users[key][0]
            if groups[key][0] != dn:
                raise ReadFully("two entries have one stable key")
            is_group = key in self.stored_groups and key not in self.stored_users
            if is_group:
                del users[key]
            else:
                del groups[key]
                self.read_as_users.add(key)
            if not self._is_left_out(normal_dn(dn_text(dn))):
                kinds = ("user group", "user") if is_group else ("user", "user group")
                self.not_stored.append((dn_text(dn), _BOTH % kinds))
                self.again.add(key)

    def _name_users(self) -> dict[bytes, Outcome]:
        return {}  # see `_snapshot`

    def _name_groups(self) -> dict[bytes, Outcome]:
        return {}

    def _look_at_what_is_open(self) -> None:
        """Look at the lists with a value that leads to somebody else than before.

        Where his entry changed so that he is a user or a group now, he has come: see `_lists_to_read`.
        """
        before = self.before.said["open"]
        there: dict[str, str] = {}
        for base, tests in below_parents(
            {token: next(iter(lists.values()))[0] for token, (_key, lists) in before.items()}
        ):
            for dn, entry, _raw in search(self.session, base, "one", tests, (self.preset.user_key,), missing_ok=True):
                there.update((normal_dn(dn_text(dn)), key) for key in keys_of(entry, self.preset.user_key))
        for token, (key, lists) in before.items():
            if there.get(token, "") != key:
                self.looked.update(lists)

    def _with_open_values(self) -> set[str]:
        return {group for _key, lists in self.before.said["open"].values() for group in lists}

    def _keep_open(self) -> None:
        """Keep what is open of lists that were not read."""
        for token, (key, lists) in self.before.said["open"].items():
            for group, (text, reported) in lists.items():
                if group in self.stored_groups and group not in self.looked and group not in self.groups:
                    self.open.setdefault(token, (key, {}))[1][group] = (text, reported)
                    if reported:
                        self.unresolved.append((group, Unresolved(text, _UNKNOWN.reason)))

    # An equality index that was added, and not built, answers with nothing for what was there before (OpenLDAP,
    # slapindex(8); 389 Directory Server, db2index): so what is not found by key is looked for by DN as well.

    def _check_not_found(self, changed: dict[str, str]) -> None:
        """Refuse to believe that of what changed somebody is no user and no group, if he is found to be one by DN.

        ``changed``: stable key -> DN, empty where what changed was asked for by the filters.
        """
        if "" in changed.values():
            raise ReadFully(_NOT_BY_KEY % min(key for key, dn in changed.items() if not dn))
        either = "(|%s%s)" % (self.preset.user_filter, self.preset.group_filter)
        dns = {normal_dn(dn): dn for dn in changed.values()}
        dns.pop(self.context_normal, None)
        for base, tests in below_parents(dns):
            for dn, entry, _raw in search(
                self.session, base, "one", all_of(either, tests), (self.preset.user_key,), missing_ok=True
            ):
                if changed.keys() & set(keys_of(entry, self.preset.user_key)) and not self._is_left_out(
                    normal_dn(dn_text(dn))
                ):
                    raise ReadFully(_NOT_BY_KEY % dn_text(dn))

    def _know(self, keys: Iterable[str]) -> None:
        """Learn what the store has of these users."""
        for key, (digest, dn, other) in self.known.users(keys).items():
            self.digests.users[key] = digest
            self.stored_users[key] = dn
            if digest is None:
                self.digests.others[key] = other

    def _fetch(self, keys: Iterable[str], attribute: str, filter: str, attributes: Sequence[str]) -> dict[str, Found]:
        """Return the entries with these keys that match, wherever they are: key -> entry."""
        found: dict[str, Found] = {}
        twice = ""
        size = min(_GROUPS_A_PAGE, self.session.page_size) if filter == self.preset.group_filter else None
        for batch in batches(sorted(keys)):
            for each in search(
                self.session, self.subtree, "sub", all_of(filter, any_of(attribute, batch)), attributes, page_size=size
            ):
                key = self._key_of(attribute, each)
                if not key:
                    continue
                twice = twice or (key if key in found and found[key][0] != each[0] else "")
                found[key] = each
        if twice:
            raise ReadFully("the stable key '%s' came with two DNs" % twice)
        return found

    # --- lists of which is told, value by value, what came to them and what left them

    def _ask_for_lists(self) -> bytes:
        cookie = bytes.fromhex(self.before.said.get("lists", ""))
        if cookie:
            cookie, self.list_changes = changes.lists_since(self.session, self._where(()), cookie)
        return cookie

    def _fetch_groups(self, keys: set[str]) -> dict[str, Found]:
        """Return the groups with these keys: without their lists those whose lists need not be read.

        That is so where the list is stored as it was read, and the group is where it was.
        """
        preset = self.preset
        again = {*self.before.said["again"], *self._with_open_values()}
        told = {
            key
            for key in keys.intersection(self.list_changes)
            if self.digests.user_groups.get(key) and key not in again and len(preset.group_members) == 1
        }
        lists = {name.lower() for name in preset.group_members}
        without = (
            self._fetch(
                told,
                preset.group_key,
                preset.group_filter,
                [name for name in self.group_attributes if name.lower() not in lists],
            )
            if told
            else {}
        )
        self.unread = {key for key, found in without.items() if dn_text(found[0]) == self.stored_groups[key]}
        groups = self._fetch(keys - self.unread, preset.group_key, preset.group_filter, self.group_attributes)
        return {**groups, **{key: without[key] for key in self.unread}}

    def _follow_list_changes(self, lists: dict[str, Found]) -> None:
        """Turn what came to lists, and what left them, into users; where that cannot be told, read the list."""
        self.unread &= lists.keys()
        confirmed = [key for key in self.unread if self._confirms(key, lists[key], self.list_changes[key])]
        added = {value for key in confirmed for value in self.list_changes[key].added}
        self._resolve(added.difference(self.outcomes))
        keys_at = self._keys_at({value for key in confirmed for value in self.list_changes[key].removed})
        for key in confirmed:
            change = self.list_changes[key]
            joined = [who for who in map(self.outcomes.__getitem__, change.added) if isinstance(who, str)]
            left = [keys_at.get(value, "") for value in change.removed]
            if (
                len(joined) == len(change.added)
                and all(who in self.users for who in joined)
                and all(left)
                and not self.stored_groups.keys() & set(left)
            ):
                self.joined[key], self.left[key] = joined, left
        told_nothing = self.unread - self.joined.keys()
        self.unread -= told_nothing
        for key in told_nothing:
            self.groups.pop(key, None)
            del lists[key]
        lists.update(self._fetch(told_nothing, self.preset.group_key, self.preset.group_filter, self.group_attributes))
        if not told_nothing <= lists.keys():
            raise ReadFully("a user group vanished while it was read")

    def _keys_at(self, values: Iterable[bytes]) -> dict[bytes, str]:
        """Return the stable keys of who is there now: DN -> key."""
        tokens = {value: self._token(value) for value in values}
        dns = {token: dn_text(value) for value, token in tokens.items() if isinstance(token, str)}
        keys: dict[str, str] = {}
        for base, tests in below_parents(dns):
            for dn, entry, _raw in search(self.session, base, "one", tests, (self.preset.user_key,), missing_ok=True):
                keys.update((normal_dn(dn_text(dn)), key) for key in keys_of(entry, self.preset.user_key))
        return {value: keys[token] for value, token in tokens.items() if token in keys}

    def _confirms(self, key: str, found: Found, change: changes.ListChange) -> bool:
        """Return whether the server finds the group as one whose list has all that came and nothing that left.

        It must find it, so one that finds nothing confirms nothing. A group that is somebody's primary one has members
        who are not in its list.
        """
        for of_user, of_group in self.preset.primary_group:
            value = self._primary_value(of_group, found[1])
            if value is not None and finds_any(
                self.session, self.subtree, "sub", all_of(self.preset.user_filter, tests_of(of_user, [value]))
            ):
                return False
        if len(change.added) + len(change.removed) > _MANY_VALUES:
            return False
        (attribute,) = self.preset.group_members
        return finds_any(
            self.session,
            self.subtree,
            "sub",
            all_of(
                any_of(self.preset.group_key, [key]),
                tests_of(attribute, sorted(change.added)),
                *("(!%s)" % tests_of(attribute, [value]) for value in sorted(change.removed)),
            ),
        )

    def _list_members(self, group: _Group, raw: bytes) -> None:
        if group.record.key in self.unread:
            group.as_stored = True
        else:
            super()._list_members(group, raw)

    def _finished_groups(self) -> dict[str, UserGroup]:
        finished = super()._finished_groups()
        nested: dict[str, list[str]] = {key: [] for key in self.unread}
        for key, child in self.known.nested(self.unread):
            nested[key].append(child)
        finished.update((key, finished[key]._replace(user_groups=nested[key])) for key in self.unread)
        return finished

    # --- what lists are concerned

    def _lists_to_read(self, users: dict[str, Found], groups: dict[str, Found]) -> dict[str, Found]:
        """Return the groups in scope that changed, or whose lists may lead to others than before: key -> entry."""
        concerned: set[str] = set()  # DNs
        for stored, found in ((self.stored_users, users), (self.stored_groups, groups)):
            for key in self.looked:
                before = stored.get(key)
                now = dn_text(found[key][0]) if key in found else None
                if before != now:
                    concerned.update(dn for dn in (before, now) if dn)
                    self.moved.update([key] if key in stored else ())
        lists = {key: found for key, found in groups.items() if self._holds(key, found)}
        for batch in batches(sorted(dn.encode("utf-8") for dn in concerned)):
            tests = "(|%s)" % "".join(tests_of(attribute, batch) for attribute in self.preset.group_members)
            for one in list(
                search(
                    self.session,
                    self.subtree,
                    "sub",
                    all_of(self.preset.group_filter, tests),
                    self.group_attributes,
                    page_size=min(_GROUPS_A_PAGE, self.session.page_size),
                )
            ):
                key = self._key_of(self.preset.group_key, one)
                if not key or key in self.read_as_users:
                    continue
                if (key not in lists or key in self.unread) and self._holds(key, one):
                    lists[key] = one
                    self.unread.discard(key)
        listing = {key for _member, key in self.known.nesting(self.moved)}
        # Who comes back, whose memberships may have been kept (user_extinction: skip) though lists let go of him.
        coming = [key for key in users if key not in self.stored_users]
        listing.update(key for _member, key in self.known.listing(coming))
        if not self.ad:  # whose lists follow who moves, and let go of who is deleted
            listing.update(key for _member, key in self.known.listing(self.moved))
        unread = {key for key in listing if key in self.unread or key not in lists and key not in self.looked}
        more = self._fetch(unread, self.preset.group_key, self.preset.group_filter, self.group_attributes)
        lists.update((key, found) for key, found in more.items() if self._holds(key, found))
        self.unread.difference_update(more)
        for key in listing.difference(lists, self.looked):  # stored, and there no longer, though nothing said so
            raise ReadFully("the user group with the stable key '%s' is not there any more" % key)
        return lists

    def _holds(self, key: str, found: Found) -> bool:
        """Return whether the group is in scope: by where it lies, or since it was and neither moved."""
        dn = dn_text(found[0])
        return self._lies_within(normal_dn(dn)) or self.stored_groups.get(key) == dn

    # --- users and lists

    def _take_users(self, users: dict[str, Found]) -> None:
        for key, found in users.items():
            normal = normal_dn(dn_text(found[0]))
            if self._lies_within(normal):
                self._add_user(*found)
            elif self.add_outside and not self._is_left_out(normal):
                self.waiting[key] = found

    def _take_lists(self, lists: dict[str, Found]) -> None:
        gone = [key for key in self.looked if key in self.stored_groups and key not in lists]
        for user, dn in self.known.people(lists):
            if dn and user not in self.looked:
                self.by_value.setdefault(dn.encode("utf-8"), user)
        if self.add_outside and not self.whole:
            for group, user, dn in self.known.members([*lists, *gone]):
                self.lists.setdefault(group, {})[user] = dn
        if lists:
            self.by_token.update(
                (normal_dn(dn), key) for key, dn in self.stored_groups.items() if key not in self.looked
            )
        for key, found in lists.items():
            if key not in self.looked and self.stored_groups.get(key, dn_text(found[0])) != dn_text(found[0]):
                self._moved(found[0], key)
            self._add_group(*found)
        self._read_ranges()

    def _moved(self, dn: bytes, _token: str) -> None:
        """Nothing said that whoever is found here has moved: so he did after that was asked, and what was read of lists
        may be older, or newer.
        """
        raise ReadFully("'%s' moved while what changed was read" % dn_text(dn))

    def _spelled_otherwise(self, tokens: set[str]) -> dict[str, Outcome]:
        """Leave it to the server: few values are not known here, and many users are."""
        return {}

    def _find_users(self, pending: dict[str, list[bytes]]) -> dict[str, Outcome]:
        """Find the users who are listed and are not among the changed ones, nor stored as members of what was read."""
        found: dict[str, Outcome] = {}
        attribute = self.preset.user_key
        wanted = {token: values for token, values in pending.items() if self.add_outside or self._lies_within(token)}
        for matches in self._look_up(wanted, self.preset.user_filter, self.user_attributes, [attribute]):
            self._know([key for entries in matches.values() for each in entries for key in keys_of(each[1], attribute)])
            for token, entries in matches.items():
                entries = [each for each in entries if not self._is_left_out(normal_dn(dn_text(each[0])))]
                if len({each[0] for each in entries}) > 1:
                    found[token] = _AMBIGUOUS
                elif entries:
                    known = self._known(attribute, self.users, entries[0], token)
                    found[token] = known or self._note_outside(self._add_found(entries[0], token), token)
                else:
                    found[token] = _OUT_OF_SCOPE
        return found

    def _add_found(self, found: Found, normal: str) -> Outcome:
        """Take a user into scope who is listed, and of whom nothing says that he changed.

        So he has been there before: where the store has him, or outside of what is selected, or left out as a disabled
        newcomer. Else he came or moved after the read began, and what other lists say of him was read before that. Who
        lies outside and was told to have changed is in `waiting`: the lists that concern him were read after he was.
        """
        key = self._add_user(*found)
        if isinstance(key, str):
            body = self.users[key]
            if key in self.stored_users:
                is_where_he_was_read = key in self.waiting and self.waiting[key][0] == found[0]
                changed = self.stored_users[key] not in ("", dn_text(found[0])) and not is_where_he_was_read
            else:
                changed = (
                    key not in self.looked
                    and self._lies_within(normal)
                    and body is not None
                    and (body.enabled or not self.settings.ignore_disabled_users)
                )
            if changed:
                raise ReadFully("'%s' came or moved while what changed was read" % dn_text(found[0]))
        return key

    def _find_groups(self, pending: dict[str, list[bytes]]) -> dict[str, Outcome]:
        found: dict[str, Outcome] = {}
        attribute = self.preset.group_key
        for matches in self._look_up(pending, self.preset.group_filter, self.group_attributes, [attribute]):
            for token, entries in matches.items():
                key = self._key_of(attribute, entries[0])
                if not key:
                    found[token] = _NAMELESS
                elif key in self.groups or key in self.stored_groups and key not in self.looked:
                    dn = self.groups[key].record.dn if key in self.groups else self.stored_groups[key]
                    if self.members_by == "dn" and normal_dn(dn) != token:
                        self._moved(entries[0][0], token)
                    found[token] = key
                elif self._lies_within(token):
                    found[token] = self._add_group(*entries[0])
                else:
                    self.comes_in = token
                    found[token] = _OUT_OF_SCOPE
        return found

    comes_in = ""  # a group outside the selected containers that is in scope from now on

    def _is_named(self, key: str, normal: str, entry: Entry) -> bool:
        """Of lists that were not read, the store knows whom they have."""
        return super()._is_named(key, normal, entry) or any(
            group not in self.groups and group not in self.looked for _user, group in self.known.listing([key])
        )

    def _is_group(self, key: str) -> bool:
        return key in self.groups or key in self.stored_groups and key not in self.looked

    def _is_seen(self, key: str) -> bool:
        if super()._is_seen(key):
            return True
        if key in self.looked:
            return False
        return key in self.stored_groups or key in self.known.users([key])

    # --- scope that depends on others

    def _check_nesting(self, user_groups: dict[str, UserGroup]) -> None:
        """Groups outside the selected containers are in scope by being nested: that may end far from where it began."""
        if self.comes_in:
            raise ReadFully("a user group outside the selected containers came into scope ('%s')" % self.comes_in)
        selected = set(map(normal_dn, self.selected_groups))
        outside = {
            key
            for key, dn in self.stored_groups.items()
            if not self.whole and not self._lies_within(normal_dn(dn)) and normal_dn(dn) not in selected
        }
        if not outside:
            return
        if self.moved & outside:
            raise ReadFully("a user group outside the selected containers moved")
        before: dict[str, set[str]] = {}
        gone = [key for key in self.looked if key in self.stored_groups and key not in user_groups]
        for key, nested in self.known.nested([*user_groups, *gone]):
            if nested in outside:
                before.setdefault(key, set()).add(nested)
        for key in [*user_groups, *gone]:
            now = outside.intersection(user_groups[key].user_groups) if key in user_groups else set()
            if now != before.get(key, set()):
                raise ReadFully("a user group outside the selected containers came into scope or left it")

    def _settle_outside(self, user_groups: dict[str, UserGroup]) -> None:
        """Bring in the users outside the selected containers whom any list, or their primary group, has; the others
        are out of scope.
        """
        if self.whole or not self.add_outside:
            return
        listed = {
            user
            for key, record in user_groups.items()
            for user in (
                self.lists.get(key, {}).keys() - set(self.left.get(key, ()))
                if record.members is None
                else record.members
            )
        }
        leaving = {
            user: dn
            for stored in self.lists.values()
            for user, dn in stored.items()
            if user not in listed
            and user not in self.looked
            and user not in self.users
            and not self._lies_within(normal_dn(dn))
        }
        self._know(leaving)
        waiting = {key: found for key, found in self.waiting.items() if key not in self.users}
        # Lists that were not read are as stored; who moved has none such. An extinct user may be in them, but is not
        # in scope by that.
        elsewhere = {
            user
            for user, group in self.known.listing([*leaving, *self.stored_users.keys() & waiting.keys()])
            if user not in self.moved and group not in self.groups and group not in self.looked
        }
        unlisted = [key for key in [*leaving, *waiting] if key not in elsewhere]
        waiting.update(
            self._fetch(
                [key for key in unlisted if key in leaving],
                self.preset.user_key,
                self.preset.user_filter,
                self.user_attributes,
            )
        )
        primary = self._groups_of_primary(
            {
                found[1][attribute][0]
                for found in waiting.values()
                for _rule, attribute in self.primary_of_user
                if attribute in found[1]
            }
        )
        for key in leaving:
            if key in elsewhere:  # as stored
                self.users.setdefault(key, None)
        for key, found in waiting.items():
            values = [found[1][attribute][0] for _rule, attribute in self.primary_of_user if attribute in found[1]]
            normal = normal_dn(dn_text(found[0]))
            in_scope = (
                key in elsewhere
                or key in listed
                or self._lies_within(normal)
                or any(self._is_group(primary.get(value, "")) for value in values)
            )
            if in_scope and not self._is_left_out(normal):
                self._note_outside(self._add_user(*found), normal)

    # --- Active Directory's primary groups

    def _add_primary_members(self) -> None:
        """Complete the lists that were read by those whose primary group they are of; users who changed are there."""
        for rule, (attribute, _of_group) in enumerate(self.preset.primary_group):
            new = [
                group.primary[rule]
                for key, group in self.groups.items()
                if group.primary[rule] is not None and key not in self.stored_groups
            ]
            self._add_outside(attribute, sorted(new), lambda entry: True)
            for group in self.groups.values():
                value = group.primary[rule]
                if value is None:
                    continue
                found = list(
                    search(
                        self.session,
                        self.subtree,
                        "sub",
                        all_of(self.preset.user_filter, tests_of(attribute, [value])),
                        (self.preset.user_key,),
                    )
                )
                keys = list(filter(None, (self._key_of(self.preset.user_key, one) for one in found)))
                for key in keys if self.add_outside else ():  # who changed, and is in scope by this
                    if key in self.waiting and key not in self.users:
                        self._note_outside(self._add_user(*self.waiting[key]), normal_dn(dn_text(self.waiting[key][0])))
                others = [key for key in keys if key not in self.users and key not in self.looked]
                stored = self.known.users(others)
                self.primary[rule].setdefault(value, []).extend(key for key in others if key in stored)

    def _groups_of_primary(self, values: Iterable[bytes]) -> dict[bytes, str]:
        """Return {primaryGroupID: stable key of the group}."""
        found: dict[bytes, str] = {}
        for batch in batches(sorted(value for value in values if value.isdigit() and len(value) <= 10)):
            tests = "(|%s)" % "".join(
                "(objectSid=%s-%s)" % (self.directory.identity, value.decode("ascii")) for value in batch
            )
            for one in search(self.session, self.context, "sub", tests, (self.preset.group_key, "objectSid")):
                value, key = self._primary_value("objectSid", one[1]), self._key_of(self.preset.group_key, one)
                if value is not None and key:
                    found[value] = key
        return found

    def _key_of(self, attribute: str, found: Found) -> str:
        """Return the stable key of an entry; empty if it has none that can be one, which a read of everything tells."""
        key = self._key("user_key", attribute, found[1], dn_text(found[0]))
        if not key:
            self._name(found[0], found[1], "", _NO_KEY % attribute, attribute)
        return key

    def _joined(self) -> dict[str, list[str]]:
        """Return those who changed, by their primary groups that were not read: they may be new there."""
        if not self.preset.primary_group:
            return {}
        changed = {
            value: [key for key in keys if self.users.get(key) is not None] for value, keys in self.primary[0].items()
        }
        changed = {value: keys for value, keys in changed.items() if keys}
        groups = self._groups_of_primary(changed)
        return {
            groups[value]: sorted(keys)
            for value, keys in changed.items()
            if value in groups
            and groups[value] in self.stored_groups
            and groups[value] not in self.groups
            and groups[value] not in self.looked
        }


def why_not(mark: Mark | None, now: int) -> str:
    """Return why nothing can be read since this mark; empty where it can be tried. ``now``: seconds since 1970."""
    if mark is None:
        return "the last run left no mark"
    if "none" in mark.said:
        return mark.said["none"]
    if not 0 <= now - mark.said["time"] <= LASTS:
        return "the last run is more than %d days ago, or the clock was set back since" % (LASTS // 86400)
    if len(mark.said["again"]) + len(mark.said["outside"]) + len(mark.said["open"]) > MANY:
        return "more than %d entries must be looked at in every run" % MANY
    return ""
