# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The parts of the tree that change, before and after, as text.

It is written from the plan: comparing two whole trees as text takes minutes where they are large.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from .. import _attributes
from .._changes import Plan, UserChange
from .._model import StoredState, UserGroupRecord, UserRecord, path_of
from .._named_tuple import NamedTuple
from .._printable import printable
from .changes import UserGroups, is_removal, record_of
from .cut import and_more, size_of
from .lists import ListedGroup


class _Part(NamedTuple):
    """What is said of one record, before and after."""

    removes: bool
    before: list[str]
    after: list[str]


def diff(
    plan: Plan, listed: Sequence[ListedGroup], state: StoredState, groups: UserGroups, entries: int, size: int
) -> dict[str, str]:
    """Return before and after as text: only the parts of the tree that change, each under the same heading.

    It is of the user groups that are listed, and of so many users, those that lose something first. ``size``: of how
    many bytes it may be.
    """
    users = sorted(plan.users, key=lambda change: (not is_removal(change), record_of(change).name))[:entries]
    parts = list(_groups(plan, listed, state, groups))
    parts += [_user(change, state, groups) for change in sorted(users, key=lambda change: record_of(change).name)]
    shown = _that_fit(parts, size)
    before = [line for part in shown for line in part.before]
    after = [line for part in shown for line in part.after]
    missing = len({change.key for change in plan.user_groups + plan.memberships}) + len(plan.users) - len(shown)
    if missing:
        before.append(and_more(missing))
        after.append(and_more(missing))
    return {"before": _text(before), "after": _text(after), "before_header": plan.target, "after_header": plan.target}


def _that_fit(parts: Sequence[_Part], size: int) -> list[_Part]:
    """Return the parts that there is room for, in their order; those that remove something are taken first."""
    chosen = []
    for number in sorted(range(len(parts)), key=lambda number: not parts[number].removes):
        size -= sum(map(size_of, parts[number].before + parts[number].after))
        if size < 0:
            break
        chosen.append(number)
    return [parts[number] for number in sorted(chosen)]


def _groups(plan: Plan, listed: Sequence[ListedGroup], state: StoredState, groups: UserGroups) -> Iterator[_Part]:
    records = {change.key: change for change in plan.user_groups}
    for group, entry in listed:
        part = _Part(group.is_removal, [], [])
        headings = "user group %s" % (group.previous_path or group.path), "user group %s" % group.path
        if group.key in records:
            _write(part, headings, records[group.key].before, records[group.key].after)
        else:
            part.before.append(headings[0])
            part.after.append(headings[1])
        part.before.extend(_members(entry, "removed"))
        part.after.extend(_members(entry, "added"))
        yield part


def _members(entry: dict[str, Any], what: str) -> Iterator[str]:
    for kind, line in (("members_", "    member %s"), ("user_groups_", "    member user group %s")):
        for name in entry[kind + what]:
            yield line % name
        if kind + what in entry["left_out"]:
            yield "    " + and_more(entry["left_out"][kind + what])


def _user(change: UserChange, state: StoredState, groups: UserGroups) -> _Part:
    part = _Part(is_removal(change), [], [])
    headings = _heading(change.before, state.user_groups), _heading(change.after, groups)
    _write(part, headings, change.before, change.after)
    return part


def _heading(record: UserRecord | None, groups: UserGroups) -> str:
    return "" if record is None else "user %s in %s" % (record.name, path_of(record.home, groups))


Record = TypeVar("Record", UserRecord, UserGroupRecord)


def _write(part: _Part, headings: tuple[str, str], old: Record | None, new: Record | None) -> None:
    """Write what differs below the headings. A record that is not there has none."""
    old_fields = [] if old is None else _fields(old)
    new_fields = [] if new is None else _fields(new)
    if old is not None:
        part.before.append(headings[0])
        part.before.extend("    " + line for line in old_fields if line not in new_fields)
    if new is not None:
        part.after.append(headings[1])
        part.after.extend("    " + line for line in new_fields if line not in old_fields)


def _fields(record: UserRecord | UserGroupRecord) -> list[str]:
    lines = ["%s: %s" % (field, value) for field, value in sorted(_attributes.fields_of(record.attributes).items())]
    if record.extinct:
        lines.append("extinct: %s" % record.extinct)
    if isinstance(record, UserRecord):
        lines.append("enabled: %s" % str(record.enabled).lower())
        if record.sid:
            lines.append("sid: %s" % record.sid)
    return lines


def _text(lines: Iterable[str]) -> str:
    return "".join(printable(line) + "\n" for line in lines)
