# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""A service that speaks SCIM 2.0, as a destination (see `contract.py`). It is not atomic."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from ..contract import (
    Actual,
    CannotBeRead,
    Capabilities,
    Change,
    ChangeMembers,
    Conflict,
    Create,
    Delete,
    DestinationError,
    Done,
    Gone,
    Kind,
    Later,
    LimitReached,
    Linked,
    Outcome,
    Read,
    Record,
    Rejected,
    Sought,
    State,
    Unknown,
    Update,
)
from ..http_client import OURS, Answer, AnswerLost, Client, NoAnswer, NotSent, PutOff
from . import listing, resources
from .discovery import discovered
from .lookups import LookUps
from .members import members_of
from .resources import PATHS, Resource, path_of
from .services import Members, Service

T = TypeVar("T")


class ScimDestination:
    """One service. ``attributes`` are those that accounts are written with: no others are read."""

    def __init__(self, client: Client, service: Service, attributes: Collection[str]) -> None:
        self._client, self._attributes = client, attributes
        self._about = discovered(client, service)
        self._shows_active = False  # of anybody
        self._is_taken = False  # something that was sent for the change that is made now
        self._members_seen: dict[str, frozenset[str]] = {}  # id of a group -> who was believed to be in it

    def capabilities(self) -> Capabilities:
        """Return what it can do."""
        about = self._about
        return Capabilities(
            about.service.lists & about.service.kinds,
            about.service.kinds,
            shows_members=about.service.members is not Members.NEVER,
            filters=bool(about.service.filters),
            deletes=about.service.deletes,
            nests=about.service.nests,
            largest_change=about.service.largest_change,
        )

    def commit(self) -> None:
        """Keep what was applied: the service has done so."""

    # --- reading ---

    def read(self, linked: Linked) -> Actual:
        """Return what the service has."""
        gone: set[tuple[Kind, str]] = set()
        # Of each account only the record is kept, which takes a fraction of the memory.
        accounts = _named(Kind.ACCOUNT, self._listed(Kind.ACCOUNT, linked.accounts, gone, self._account))
        groups = self._listed(Kind.GROUP, linked.groups.keys(), gone, _whole)
        known = {Kind.ACCOUNT: linked.accounts, Kind.GROUP: linked.groups.keys()}
        look_up = LookUps(self._client, self._about.service, known)
        unread = {Kind.ACCOUNT: isinstance(accounts, CannotBeRead), Kind.GROUP: isinstance(groups, CannotBeRead)}
        found: dict[Sought, Read[dict[str, Resource]]] = {
            sought: look_up.found(sought) for sought in linked.sought if unread[sought.kind]
        }
        nested: dict[str, frozenset[str]] = {}
        unlisted = {kind for kind in self._about.service.kinds if unread[kind]}
        doubted = sorted(place for place in linked.doubted if place[0] in unlisted)
        there = self._looked_at(doubted, found, gone)
        return Actual(
            accounts,
            self._records(Kind.GROUP, groups),
            self._members(groups, linked.groups, gone, nested),
            frozenset(gone),
            {sought: self._records(sought.kind, found[sought]) for sought in linked.sought if unread[sought.kind]},
            nested,
            there,
        )

    def _looked_at(
        self,
        doubted: Iterable[tuple[Kind, str]],
        found: Mapping[Sought, Read[dict[str, Resource]]],
        gone: set[tuple[Kind, str]],
    ) -> frozenset[tuple[Kind, str]]:
        """Return which ids lead to something: asked for, or found by a filter; ``gone`` gets those that do not."""
        seen = {(sought.kind, number) for sought, each in found.items() if isinstance(each, dict) for number in each}
        there: set[tuple[Kind, str]] = set()
        for kind, number in doubted:
            status = self._client.send("GET", path_of(kind, number)).status
            if status == 200 or (kind, number) in seen:
                there.add((kind, number))
            elif status in _GONE:
                gone.add((kind, number))
        return frozenset(there)

    def _listed(
        self, kind: Kind, linked: Collection[str], gone: set[tuple[Kind, str]], kept: Callable[[Resource], T]
    ) -> Read[dict[str, T]]:
        """Return what is ``kept`` of all that there are.

        Who is linked and not among them is asked for; ``gone`` gets those that are.
        """
        about = self._about
        if kind not in about.service.kinds:
            return CannotBeRead("the service has no %ss" % kind.value)
        if kind not in about.service.lists:
            return CannotBeRead("the service does not list its %ss" % kind.value)
        found = listing.whole(self._client, PATHS[kind], about.paging, about.page_size, kept)
        if isinstance(found, CannotBeRead):
            return found
        for number in sorted(set(linked) - found.keys()):
            answer = self._client.send("GET", path_of(kind, number))
            if answer.status in _GONE:
                gone.add((kind, number))
            else:  # it is there, or nobody knows
                return CannotBeRead(
                    "the list %s is not believed: '%s' is not in it, and asked for it, the service answers %d"
                    % (PATHS[kind], number, answer.status)
                )
        return found

    def _records(self, kind: Kind, found: Read[dict[str, Resource]]) -> Read[Mapping[str, Record]]:
        if isinstance(found, CannotBeRead):
            return found
        records = {number: resources.record_of(kind, each, self._attributes) for number, each in found.items()}
        return _named(kind, records)

    def _account(self, resource: Resource) -> Record | None:
        self._shows_active = self._shows_active or resources.shows_active(resource)
        return resources.record_of(Kind.ACCOUNT, resource, self._attributes)

    def _members(
        self,
        groups: Read[dict[str, Resource]],
        linked: Mapping[str, frozenset[str]],
        gone: Collection[tuple[Kind, str]],
        nested: dict[str, frozenset[str]],
    ) -> dict[str, Read[frozenset[str]]]:
        if isinstance(groups, CannotBeRead):
            return dict.fromkeys(linked, groups)
        there = {number: groups[number] for number in linked if number in groups and (Kind.GROUP, number) not in gone}
        members = members_of(there, linked, self._about.service.members, self._one_group, nested)
        if not self._about.patches:
            self._members_seen = {number: each for number, each in members.items() if isinstance(each, frozenset)}
        return members

    def _one_group(self, number: str) -> Resource | None:
        """Return a group that is asked for by itself; None if there is no answer that can be used."""
        answer = self._client.send("GET", path_of(Kind.GROUP, number))
        return answer.data if answer.status == 200 and isinstance(answer.data, dict) else None

    # --- changing ---

    def apply(self, change: Change) -> Outcome:
        """Make a change. Only a creation is never repeated if its answer is lost: all else is the same twice.

        What a service says of one account ends no run: others may have left, and are to lose theirs.
        """
        before, self._is_taken = self._client.writes_unanswered, False
        outcome = self._applied(change)
        is_unanswered = self._client.writes_unanswered > before
        if isinstance(outcome, Gone) and isinstance(change, Delete) and is_unanswered:
            return Done(change.id)  # an earlier try did it
        if isinstance(outcome, Later):
            return outcome._replace(may_be_done=is_unanswered or self._is_taken)
        return Unknown(outcome.why) if is_unanswered and isinstance(outcome, (Conflict, Rejected)) else outcome

    def _applied(self, change: Change) -> Outcome:
        try:
            if isinstance(change, Create):
                return self._create(change)
            if isinstance(change, Delete):
                return self._delete(change)
            if isinstance(change, Update):
                return self._update(change)
            return self._change_members(change)
        except AnswerLost as error:
            return Unknown(str(error), is_lost=True)
        except NoAnswer as error:
            return Unknown(str(error))
        except PutOff as error:
            return Later(error.seconds, str(error), True)
        except (NotSent, LimitReached) as error:
            return Later(0, str(error))

    def _send(self, method: str, path: str, body: Resource | None = None, **more: Any) -> Answer:
        """Send what changes something. What is taken may be done, whatever comes of the looks at it afterwards."""
        answer = self._client.send(method, path, body=body, **more)
        self._is_taken = self._is_taken or _is_taken(answer)
        return answer

    def _create(self, change: Create) -> Outcome:
        kind, record = change
        answer = self._send("POST", PATHS[kind], resources.resource_of(kind, record), repeatable=False)
        if not _is_taken(answer):
            return self._not_done(answer, kind)
        body = answer.data if isinstance(answer.data, dict) else {}
        where = answer.headers.get("location", "").rstrip("/").rpartition("/")[2]
        number = resources.id_of({"id": body.get("id") or where})
        if number is None:
            return Unknown("the service answers %d and says no id" % answer.status)
        if resources.NAME[kind] in body and not resources.is_named(kind, body, record.name):
            return Unknown("the service answers with another name than it was asked to create")
        if record.state is State.DISABLED and resources.state_of(body) is not State.DISABLED and kind is Kind.ACCOUNT:
            try:
                disabled = self._update(Update(kind, number, record._replace(state=State.ENABLED), record))
            except DestinationError as error:
                return Unknown("the account was created, and not disabled: %s" % error)
            if not isinstance(disabled, Done):
                return Unknown("the account was created, and not disabled")
        return Done(number, resources.shown(kind, body, record) if body else {})

    def _delete(self, change: Delete) -> Outcome:
        if not self._about.service.deletes:
            return Rejected("this service deletes for ever, or not at all (option deletes of service)")
        answer = self._send("DELETE", path_of(change.kind, change.id))
        if answer.status not in _GONE and not _is_taken(answer):
            return self._not_done(answer, change.kind, change.id)
        # A service that deletes nobody has no such path, either, and answers 404.
        there = self._client.send("GET", path_of(change.kind, change.id))
        if there.status in _GONE:
            return Done(change.id) if _is_taken(answer) else Gone()
        if there.status != 200 or not isinstance(there.data, dict):
            return Unknown("whether it is deleted cannot be seen (%s)" % self._client.said(there))
        is_disabled = change.kind is Kind.ACCOUNT and resources.state_of(there.data) is State.DISABLED
        if is_disabled and not change.was_disabled:
            return Done(change.id)  # some keep it so
        return Rejected("the service answers %d, and it is there as before" % answer.status)

    def _update(self, change: Update) -> Outcome:
        kind, number, before, after, known = change
        operations = resources.operations(kind, before, after)
        if not operations:
            return Done(number)
        if self._about.patches:
            answer = self._send("PATCH", path_of(kind, number), resources.patch(operations))
        else:
            there = self._client.send("GET", path_of(kind, number))
            if there.status != 200 or not isinstance(there.data, dict):
                return self._not_done(there, kind, number)
            if kind is Kind.GROUP:
                members = self._members_to_put(there, number, known)
                if members is None or known - members.keys():  # a name can wait until all are seen
                    return Rejected(_WOULD_END)
            answer = self._put(kind, number, there, resources.merged(kind, there.data, before, after))
        return self._checked(change, answer) if _is_taken(answer) else self._not_done(answer, kind, number)

    def _checked(self, change: Update, answer: Answer) -> Outcome:
        """Return what came of an update that the service says it made.

        If the answer does not show it, it is looked at: that somebody cannot log in, and what no list will show. Where
        nobody's state is ever shown, the answer alone has to do.
        """
        kind, number, before, after, _known = change
        body = answer.data
        is_shown = isinstance(body, dict) and resources.NAME[kind] in body
        ends = before.state is not after.state and after.state is State.DISABLED
        if ends and not (is_shown and resources.state_of(body) is not State.UNTOLD):
            there = self._client.send("GET", path_of(kind, number))
            body = there.data
            if there.status != 200 or not isinstance(body, dict) or resources.NAME[kind] not in body:
                return Unknown("whether it is disabled cannot be seen (%s)" % self._client.said(there))
            shows = self._shows_active or resources.shows_active(body)
            if shows and resources.state_of(body) is State.UNTOLD:
                return Rejected("the service answers %d, and does not say that the account is disabled" % answer.status)
        elif not is_shown and kind not in self._about.service.lists:
            body = self._client.send("GET", path_of(kind, number)).data
        if not isinstance(body, dict) or resources.NAME[kind] not in body:
            return Done(number)
        if before.name != after.name and not resources.is_named(kind, body, after.name):
            return Rejected("the service answers %d, and the name is as before" % answer.status)
        state = resources.state_of(body)
        if kind is Kind.ACCOUNT and before.state is not after.state and state not in (after.state, State.UNTOLD):
            return Rejected("the service answers %d, and the account is as %s as before" % (answer.status, state.value))
        shown = resources.shown(kind, body, after)
        as_before = sorted(name for name, text in shown.items() if text == before.attributes.get(name, ""))
        if as_before:
            return Rejected("the service answers %d, and %s is as before" % (answer.status, ", ".join(as_before)))
        return Done(number, shown)

    def _change_members(self, change: ChangeMembers) -> Outcome:
        path = path_of(Kind.GROUP, change.group)
        if self._about.patches:
            by_value = self._about.service.removes_by_value
            operations = resources.member_operations(change.added, change.removed, by_value)
            answer = self._send("PATCH", path, resources.patch(operations))
        else:
            there = self._client.send("GET", path)
            if there.status != 200 or not isinstance(there.data, dict):
                return self._not_done(there, Kind.GROUP, change.group)
            members = self._members_to_put(there, change.group, change.known, change.removed)
            if members is None:
                return Rejected(_WOULD_END)
            stay = [each for number, each in members.items() if number not in {*change.added, *change.removed}]
            wanted = [*stay, *({"value": each} for each in change.added)]
            answer = self._put(Kind.GROUP, change.group, there, {**there.data, "members": wanted})
        if not _is_taken(answer):
            return self._not_done(answer, Kind.GROUP, change.group)
        outcome = _members_checked(change, answer)
        if isinstance(outcome, Done) and change.group in self._members_seen:
            seen = self._members_seen[change.group]
            self._members_seen[change.group] = seen.difference(change.removed).union(change.added)
        return outcome

    def _members_to_put(
        self, there: Answer, number: str, known: frozenset[str], removed: Collection[str] = ()
    ) -> dict[str, Resource] | None:
        """Return the members that a PUT of a group would replace, by id; None if there may be others.

        If this run has read who is in it, these are to be shown still; else those that we put into it. So whoever was
        taken out by others, as the reading has seen, is in the way of nobody.
        """
        members = there.data.get("members")
        members = [] if members is None else members
        if self._about.service.members is Members.NEVER or not self._about.service.puts or not _are_members(members):
            return None
        shown = {each["value"]: each for each in members}
        expected = self._members_seen.get(number, known)
        shows_none = not shown and number not in self._members_seen and bool(known)
        return None if shows_none or expected.difference(shown, removed) else shown

    def _put(self, kind: Kind, number: str, there: Answer, body: Resource) -> Answer:
        """Replace a resource, if it is still as it was read, where the service can tell."""
        if OURS in json.dumps(body):  # it would be written there
            raise NoAnswer("url: the service shows a secret of ours in what it has, which a PUT would replace")
        tag = there.headers.get("etag")
        headers = {"If-Match": tag} if tag and not tag.startswith("W/") else {}
        return self._send("PUT", path_of(kind, number), body, headers=headers)

    def _not_done(self, answer: Answer, of: Kind, number: str = "") -> Outcome:
        said = self._client.said(answer)
        kind = answer.data.get("scimType") if isinstance(answer.data, dict) else None
        if answer.status == 409 or answer.status == 400 and kind == "uniqueness":
            return Conflict(said)
        if answer.status in _GONE and number and self._client.send("GET", path_of(of, number)).status in _GONE:
            return Gone()
        if answer.status >= 500 and answer.status != 501:
            return Unknown(said)
        return Rejected(said)


_GONE = (404, 410)  # RFC 9110, 15.5.5 and 15.5.11
_WOULD_END = "the service has no PATCH, and does not show the members that a PUT would end"


def _is_taken(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def _whole(resource: Resource) -> Resource:
    return resource


def _named(kind: Kind, records: Read[dict[str, Record | None]]) -> Read[Mapping[str, Record]]:
    """Return the records, if all have a name."""
    if isinstance(records, CannotBeRead):
        return records
    found = {number: record for number, record in records.items() if record is not None}
    if len(found) < len(records):
        nameless = min(records.keys() - found.keys())
        return CannotBeRead("'%s' in %s has no %s" % (nameless, PATHS[kind], resources.NAME[kind]))
    return found


def _are_members(said: object) -> bool:
    """Tell whether all that a group shows as its members can be told apart."""
    return isinstance(said, list) and all(
        isinstance(each, dict) and isinstance(each.get("value"), str) for each in said
    )


def _members_checked(change: ChangeMembers, answer: Answer) -> Outcome:
    """Return what came of a change of members, by what the answer shows of them, if it does.

    That it shows none tells nothing: services that hide members answer so, whoever is in the group.
    """
    shown = answer.data.get("members") if isinstance(answer.data, dict) else None
    if isinstance(shown, list) and shown:
        values = [each.get("value") for each in shown if isinstance(each, dict)]
        there = {value for value in values if isinstance(value, str)}
        kept = there.intersection(change.removed)
        if kept:
            return Rejected("the service answers %d, and %d members are still there" % (answer.status, len(kept)))
        if not there.issuperset(change.added) and len(there) < len(change.added):
            return Rejected("the service answers %d, and shows %d members only" % (answer.status, len(there)))
    return Done(change.group)
