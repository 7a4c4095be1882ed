# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The result of user_synchronization as Markdown (CommonMark), for a merge request, a chat or a terminal.

What stands in a result came from a directory, where others write: names stand in code, where nothing is interpreted.
What is removed comes first, since a comment has room for so many bytes only. User groups that stay as they are are
counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from ..module_utils._printable import printable
from . import summary

MOST_BYTES = 60_000  # a comment on GitHub may have 65,536 characters
_MOST_NAMES = 20  # of one list
_MOST_LINES = 300  # of the tree
_LONGEST = 400  # characters of one value, such as a path


def markdown(result: Any) -> str:
    """Return the page as Markdown, of at most MOST_BYTES in UTF-8. Raises ValueError for what is no result."""
    result = summary.read(result)
    blocks = [_head(result), *map(_users, summary.users_removed(result))]
    blocks += [_tree(result), *map(_users, summary.users_else(result)), *map(_section, summary.sections(result))]
    end = []
    if result.get("report_truncated"):
        end = ["", "The lists are cut at report_limit and report_bytes, the counts are not."]
    lines: list[str] = []
    room = MOST_BYTES - _size(end) - 200
    for number, block in enumerate(blocks):
        room -= _size(block)
        if room < 0:
            lines += ["", "%s and %d more lists, for which there is no room here." % (_DOTS, len(blocks) - number)]
            break
        lines += block
    return "\n".join(lines + end) + "\n"


_DOTS = "\N{HORIZONTAL ELLIPSIS}"


def _size(lines: Iterable[str]) -> int:
    return sum(len(line.encode("utf-8")) + 1 for line in lines)


def _head(result: Any) -> list[str]:
    name = summary.name(result)
    lines = ["## %s%s" % (summary.noun(result), " " + _code(name) if name else ""), ""]
    lines += ["%s. %s" % (summary.mode(result)[1], summary.headline(result)), ""]
    if summary.complaint(result):
        lines += ["> %s" % _code(summary.complaint(result), 10 * _LONGEST), ""]
    lines += ["- **%s**" % _code(refusal) for refusal in summary.refusals(result)[:_MOST_NAMES]]
    for what, numbers, total in summary.counts(result):
        said = ", ".join("%d %s" % number for number in numbers)
        lines.append("- %s: %s%d in total" % (what.capitalize(), said + ", " if said else "", total))
    return lines + ["- %s: %s" % (what, _code(value)) for what, value in summary.facts(result)]


def _users(listed: summary.Listed) -> list[str]:
    names = ", ".join([*map(_code, listed.lines[:_MOST_NAMES]), *_more(listed.lines, listed.left_out)])
    return ["", "**Users %s:** %s" % (listed.verb, names)]


def _more(lines: list[Any], left_out: int, most: int = _MOST_NAMES) -> list[str]:
    """Return what stands at the cut, if there is one."""
    count = max(0, len(lines) - most) + left_out
    return ["%s and %s more" % (_DOTS, format(count, ","))] if count else []


def _section(section: summary.Section) -> list[str]:
    rows = ["- %s: %s" % (" in ".join(map(_code, row[:-1])), _code(row[-1])) for row in section.rows[:_MOST_NAMES]]
    more = ["- " + each for each in _more(section.rows, section.left_out)]
    return ["", "**%s**" % section.title, "", *rows, *more]


def _code(value: Any, longest: int = _LONGEST) -> str:
    """Return the text as a code span (CommonMark 6.1), in which nothing is markup and nobody is mentioned."""
    text = _short(value, longest)
    fence = _fence(text, 1)
    if not text.strip() or text.startswith("`") or text.endswith("`") or text != text.strip():
        text = " %s " % text
    return fence + text + fence


def _short(value: Any, longest: int = _LONGEST) -> str:
    text = printable(value)
    return text if len(text) <= longest else text[: longest // 2] + _DOTS + text[-longest // 2 :]


def _fence(text: str, least: int) -> str:
    return "`" * max([least] + [len(run) + 1 for run in re.findall("`+", text)])


# --- the tree --------------------------------------------------------------------------------------------------------

_MARKS = {"created": "+", "ended": "-", "moved": "!", "changed": "!"}  # what a diff has, and colours


def _tree(result: Any) -> list[str]:
    """Return the user groups that change or are affected, and what they lie in. Who loses something is drawn first."""
    nodes = [each for each in summary.nodes(result) if each[1].kind != "unchanged"]
    nodes.sort(key=lambda each: not each[1].loses)
    count = min(len(nodes), _MOST_LINES)
    drawn = list(_draw(summary.tree(nodes[:count])))
    while len(drawn) > _MOST_LINES or _size(drawn) > MOST_BYTES // 2:
        count //= 2
        drawn = list(_draw(summary.tree(nodes[:count])))
    more = len(nodes) - count + summary.left_out(result, "changed_groups") + summary.left_out(result, "affected_groups")
    if more:
        drawn.append("  %s and %s more" % (_DOTS, format(more, ",")))
    if not drawn:
        return []
    fence = _fence("\n".join(drawn), 3)
    return ["", fence + "diff", *drawn, fence]


def _draw(nodes: Iterable[summary.Node], depth: int = 0) -> Iterator[str]:
    for node in nodes:
        said = ", ".join(node.notes) + (", before %s" % _short(node.was) if node.was else "")
        note = " (%s)" % said if said else ""
        yield "%s %s%s%s" % (_MARKS.get(node.kind, " "), "  " * depth, _short(node.name), note)
        for mark, members in (("-", node.removed), ("+", node.added)):
            for name in [*members.names[:_MOST_NAMES], *_more(members.names, members.left_out)]:
                yield "%s %s%s" % (mark, "  " * (depth + 1), _short(name))
        yield from _draw(node.children, depth + 1)
