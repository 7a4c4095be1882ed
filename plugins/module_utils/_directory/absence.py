# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Absence is proven: what it means that a value is missing, and how a server proves that it is.

A server leaves out what the account may not read, and does not say so. A value that is missing is absent, or it is
hidden. If a run would remove or enable somebody because a value is missing, the server must prove that it is absent.
What it does not prove is *held*: the store keeps what it has, and the result says why. All reading goes through this,
of everything and of what changed: the questions come from the plan. A run that removes and enables nobody asks nothing.

Example: `uid=ann` was locked by `pwdAccountLockedTime`, and that does not come any more. Either she was unlocked, or
the account lost the right to read it. OpenLDAP finds her by `(!(pwdAccountLockedTime=*))` in the first case only.

What is missing if the run would do this:

enable a user       each attribute of `Preset.state` that he has not
take away a SID     `Preset.sid` of the user. If it is there: the entry of its domain, by which it counts
end a membership    the member in the group's list (`group_members`), or the group in the user's (`user_groups`); and
                    the attribute of a primary group, the user's or the group's (`primary_group`)
lose who is there   what the filter asks for. Outside the selected containers, where only a membership brings anybody
                    into scope: each membership
lose who is gone    the entry itself

How OpenLDAP and 389 Directory Server prove it (`ByFilter`). RFC 4511, 4.5.1.7 evaluates a filter with three values:
what the account may not search is Undefined, and so is its contrary, and then the entry is not found. OpenLDAP does
that for each value that is asked for (slapd.access(5), `val=`), 389 Directory Server for each attribute. Other servers
are asked in the same way, and believed.

an attribute        `(!(attribute=*))` finds the entry; or the server's schema does not have the attribute
a member in a list  `(!(member=DN))` finds the group
a primary group     as an attribute if one of the two is missing; else the two differ
a filter            its contrary finds the entry
a SID's domain      nothing proves it
the entry           nothing proves it: `removal_limits` are the brake

How Active Directory and Samba prove it (`ByPresence`). They take what is hidden for what does not exist, in filters,
too (MS-ADTS 3.1.1.4.3; seen with Samba 4.17). But some attributes every entry has (`EVERY`): if one is missing, it is
hidden. There are no rights on single values: a list that shows one shows all. What neither tells is held.

an attribute        if every entry has it, it must come; else it counts as absent, and nothing proves that
a member in a list  the list shows others. If it reads empty: no entry names the group in `memberOf`, and the member's
                    `memberOf` shows other groups, or its `tokenGroups` shows that this one is not among them
a primary group     both attributes come and differ; or `tokenGroups`
a filter            the attributes in it that every entry has come
the entry           no list names it: lists forget who is deleted
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from .._model import Removal, Snapshot, StoredState
from .presets import Preset
from .proofs.by_filter import ByFilter, told_of
from .proofs.by_presence import ByPresence
from .proofs.common import GROUP, USER, Dns, Proofs, is_container, is_read
from .proofs.lost_entries import LostEntries
from .proofs.questions import Questions, no_dns
from .search import ReadError, batches
from .source import Source
from .stable_keys import any_of

_ACTIVE_DIRECTORY = b"1.2.840.113556.1.4.800"  # LDAP_CAP_ACTIVE_DIRECTORY_OID, MS-ADTS 3.1.1.3.4.3.1


def unproven(
    source: Source, snapshot: Snapshot, state: StoredState, removals: Iterable[Removal], dns: Dns = no_dns
) -> dict[Removal, str]:
    """Return which of these removals the directory does not prove, and why.

    ``dns`` tells of stable keys of users the DNs that this synchronization has stored. Raises ReadError if a search
    fails.
    """
    asked: dict[str, list[Removal]] = {}
    for removal in sorted(removals):
        asked.setdefault(removal[0], []).append(removal)
    if not asked:
        return {}
    preset, questions = source.preset, Questions(source, snapshot, dns)
    proofs = proofs_of(questions)
    enabled = [key for _kind, key in asked.get("enabled", ())]
    without_sid = [key for _kind, key in asked.get("sid", ())]
    held: dict[Removal, str] = {}
    held.update((("enabled", key), why) for key, why in proofs.stateless(enabled, snapshot).items())
    held.update((("sid", key), why) for key, why in proofs.lacking(USER, without_sid, (preset.sid or "",)).items())
    held.update((("sid", key), why) for key, why in _still_with_sid(questions, preset, without_sid, state).items())
    lost = LostEntries(proofs, snapshot, state)
    lost.look(USER, [key for _kind, key in asked.get("user", ())])
    lost.look(GROUP, [key for _kind, key in asked.get("user_group", ())])
    pairs = {pair for kind in ("member", "nested") for pair in asked.get(kind, ()) if is_read(pair, snapshot, state)}
    unlisted = proofs.listed(pairs | lost.pairs(), _dns_of_groups(snapshot, state))
    held.update((pair, why) for pair, why in unlisted.items() if pair in pairs)
    held.update(lost.held(unlisted))
    return held


def with_unread_lists(source: Source, snapshot: Snapshot, state: StoredState) -> Snapshot:
    """Return the snapshot with a note on each group whose list reads empty, has none in the store, and may be hidden:
    nobody is removed by that, but those in it do not come in. It is looked at in each run until the list can be read.
    """
    lists = [
        key
        for key, group in snapshot.user_groups.items()
        if group.members == []
        and not (group.user_groups or group.kept_values or state.members.get(key) or state.nestings.get(key))
        and not (key.startswith("name:") or is_container(key, snapshot))
    ]
    if not lists or not source.preset.group_members:
        return snapshot
    unread = proofs_of(Questions(source, snapshot)).lacking(GROUP, lists, source.preset.group_members)
    groups = {key: snapshot.user_groups[key]._replace(members_digest=b"") for key in unread}
    notes = [(groups[key].dn, why + ", so nothing tells who is in it") for key, why in unread.items()]
    return snapshot._replace(
        user_groups={**snapshot.user_groups, **groups}, not_stored=[*snapshot.not_stored, *sorted(notes)]
    )


def with_unread_states(source: Source, snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with a warning of each attribute of `Preset.state` that cannot be read of any user.

    Nobody is enabled by that, but nobody is disabled either, and no plan asks for it. A full read asks if there is a
    user of whom the server tells whether it has the attribute. It begins with any one, by its key, and with the schema:
    both are quick, and a search through all users is not.
    """
    session, preset, questions = source.session, source.preset, Questions(source, snapshot)
    proofs = proofs_of(questions)
    if not snapshot.complete or not snapshot.users or not isinstance(proofs, ByFilter):
        return snapshot  # in Active Directory each user who lacks what all have is in `not_stored`
    anyone, by_filter = next(iter(snapshot.users)), proofs

    def is_told_of_one(attribute: str) -> bool:
        return bool(questions.found(USER, [anyone], told_of(attribute)))

    def is_in_schema(attribute: str) -> bool:
        return bool(by_filter.in_schema([attribute]))

    def is_told_of_any(attribute: str) -> bool:
        return questions.finds_any("(&%s%s)" % (preset.user_filter, told_of(attribute)))

    def holds(ask: Callable[[str], bool], attribute: str) -> bool:
        try:
            return ask(attribute)
        except ReadError:  # a server may refuse a search, such as one without an index, and the question only helps
            if session.unusable:
                raise
            return True

    warnings = [
        "%s: the %s of no user can be read, so who is disabled by it stays enabled: give the account the right to "
        "read it" % (session.account_option, each)
        for each in preset.state
        if not holds(is_told_of_one, each) and holds(is_in_schema, each) and not holds(is_told_of_any, each)
    ]
    return snapshot._replace(warnings=[*snapshot.warnings, *warnings])


def _still_with_sid(questions: Questions, preset: Preset, users: Sequence[str], state: StoredState) -> dict[str, str]:
    """Return who has the stored SID in the directory. It counted, and its domain is not seen any more."""
    if preset.sid is None or preset.directory_type == "active_directory":  # which says itself what its SID is
        return {}
    why = "its %s is there, but the entry of its domain cannot be read" % preset.sid
    found: dict[str, str] = {}
    for batch in batches(users):
        sids = [state.users[key].record.sid or "" for key in batch]
        found.update(dict.fromkeys(questions.found(USER, batch, any_of(preset.sid, sids)), why))
    return found


def _dns_of_groups(snapshot: Snapshot, state: StoredState) -> dict[str, str]:
    dns = {key: record.dn for key, record in state.user_groups.items()}
    dns.update((key, group.dn) for key, group in snapshot.user_groups.items())
    return dns


def proofs_of(questions: Questions) -> Proofs:
    """Return how this server proves absence: by what it is, and not by what it is read as."""
    is_ad = _ACTIVE_DIRECTORY in questions.session.root_dse.get("supportedcapabilities", ())
    return ByPresence(questions) if is_ad else ByFilter(questions)
