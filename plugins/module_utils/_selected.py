# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What the first run of a synchronization warns of: a selection that is likely not what was meant. Pure.

Nothing is wrong with such a selection, so later runs do not repeat it.
"""

from __future__ import annotations

from ._model import Snapshot, User

# MS-DTYP 2.4.2.4: the accounts that a domain is made with, such as Administrator (500), Guest (501) and krbtgt (502),
# have relative identifiers below this one. It is the first that a domain gives to others.
_FIRST_OF_OTHERS = 1000


def warnings(snapshot: Snapshot, group_structure: str) -> list[str]:
    """Return the warnings about what was read in full. ``group_structure`` is the option."""
    if not snapshot.is_full:
        return []
    return [*_no_user_group(snapshot, group_structure), *_whole_domain(snapshot)]


def _no_user_group(snapshot: Snapshot, group_structure: str) -> list[str]:
    """Example: ann and bob lie in ou=people, their groups in ou=groups, and only ou=people is selected."""
    if snapshot.user_groups or not snapshot.users or group_structure == "organizational_units":
        return []
    return [
        "distinguished_name: users were read (%d), and no user group, so that nobody is a member of any: name the "
        "container of the groups, too, and see group_filter and group_structure" % len(snapshot.users)
    ]


def _whole_domain(snapshot: Snapshot) -> list[str]:
    if not snapshot.whole_tree or snapshot.directory.directory_type != "active_directory":
        return []
    built_in = sorted(
        user.name or user.dn for user in snapshot.users.values() if user is not None and _is_built_in(user)
    )
    among = "; built in: %s" % ", ".join(built_in) if built_in else ""
    return [
        "distinguished_name: the whole domain is selected (users: %d, user groups: %d%s): name the containers that are "
        "meant, or leave some out with exclude_distinguished_name"
        % (len(snapshot.users), len(snapshot.user_groups), among)
    ]


def _is_built_in(user: User) -> bool:
    number = (user.sid or "").rpartition("-")[2]
    return number.isdigit() and int(number) < _FIRST_OF_OTHERS
