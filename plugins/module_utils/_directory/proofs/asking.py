# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

# PRIVATE: for this collection only; may change in any release.

"""What a server is asked about what is missing, whichever way it proves that. When, and why, `absence.py` says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..._model import Conclusion, Snapshot, StoredState
from ..presets import Preset
from ..search import ReadError, batches
from ..source import Source
from ..stable_keys import any_of
from .by_filter import ByFilter, told_of
from .by_presence import ByPresence
from .common import GROUP, USER, Dns, Proofs, is_read
from .lost_entries import LostEntries
from .questions import Questions

_ACTIVE_DIRECTORY = b"1.2.840.113556.1.4.800"  # LDAP_CAP_ACTIVE_DIRECTORY_OID, MS-ADTS 3.1.1.3.4.3.1


def proofs_of(questions: Questions) -> Proofs:
    """Return how this server proves absence: by what it is, and not by what it is read as."""
    is_ad = _ACTIVE_DIRECTORY in questions.session.root_dse.get("supportedcapabilities", ())
    return ByPresence(questions) if is_ad else ByFilter(questions)


def unproven(
    source: Source, snapshot: Snapshot, state: StoredState, asked: Mapping[str, Sequence[Conclusion]], dns: Dns
) -> dict[Conclusion, str]:
    """Return which of these conclusions, by their kind, the server does not prove, and why."""
    preset, questions = source.preset, Questions(source, snapshot, dns)
    proofs = proofs_of(questions)
    enabled = [key for _kind, key in asked.get("enabled", ())]
    without_sid = [key for _kind, key in asked.get("sid", ())]
    held: dict[Conclusion, str] = {}
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


def with_unread_lists(source: Source, snapshot: Snapshot, lists: Sequence[str]) -> Snapshot:
    """Return the snapshot with a note on each of these groups whose list may be hidden."""
    unread = proofs_of(Questions(source, snapshot)).lacking(GROUP, lists, source.preset.group_members)
    groups = {key: snapshot.user_groups[key]._replace(members_digest=b"") for key in unread}
    notes = [(groups[key].dn, why + ", so nothing tells who is in it") for key, why in unread.items()]
    return snapshot._replace(
        user_groups={**snapshot.user_groups, **groups}, not_stored=[*snapshot.not_stored, *sorted(notes)]
    )


def with_unread_states(source: Source, snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with a warning of each attribute of `Preset.state` that cannot be read of any user.

    It begins with any one, by its key, and with the schema: both are quick, and a search through all users is not.
    """
    session, preset, questions = source.session, source.preset, Questions(source, snapshot)
    by_filter = proofs_of(questions)
    if not isinstance(by_filter, ByFilter):
        return snapshot  # in Active Directory each user who lacks what all have is in `not_stored`
    anyone, filters = next(iter(snapshot.users)), by_filter

    def is_told_of_one(attribute: str) -> bool:
        return bool(questions.found(USER, [anyone], told_of(attribute)))

    def is_in_schema(attribute: str) -> bool:
        return bool(filters.in_schema([attribute]))

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
