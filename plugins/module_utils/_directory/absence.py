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

from collections.abc import Iterable

from .._model import Conclusion, Snapshot, StoredState
from .proofs.common import Dns, is_container, no_dns
from .source import Source

# Most runs take nothing away, and ask nothing. So what asks is imported when there is a question.


def unproven(
    source: Source, snapshot: Snapshot, state: StoredState, conclusions: Iterable[Conclusion], dns: Dns = no_dns
) -> dict[Conclusion, str]:
    """Return which of these conclusions the directory does not prove, and why.

    ``dns`` tells of stable keys of users the DNs that this synchronization has stored. Raises ReadError if a search
    fails.
    """
    asked: dict[str, list[Conclusion]] = {}
    for conclusion in sorted(conclusions):
        asked.setdefault(conclusion[0], []).append(conclusion)
    if not asked:
        return {}
    from .proofs import asking

    return asking.unproven(source, snapshot, state, asked, dns)


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
    from .proofs import asking

    return asking.with_unread_lists(source, snapshot, lists)


def with_unread_states(source: Source, snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with a warning of each attribute of `Preset.state` that cannot be read of any user.

    Nobody is enabled by that, but nobody is disabled either, and no plan asks for it. A full read asks if there is a
    user of whom the server tells whether it has the attribute.
    """
    if not snapshot.is_full or not snapshot.users:
        return snapshot
    from .proofs import asking

    return asking.with_unread_states(source, snapshot)
