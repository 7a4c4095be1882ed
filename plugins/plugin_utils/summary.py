# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The result of user_synchronization as a page for people: Markdown and HTML.

What stands in a result came from a directory, where others write: names that look like markup stay names. In Markdown
they stand in code, where nothing is interpreted; in HTML Jinja escapes them, and the page forbids scripts besides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from jinja2 import Environment

from ..module_utils._model import split_path
from ..module_utils._printable import printable

VERBS = {
    "user_groups": ("created", "renamed", "moved", "updated", "members", "extinct", "deleted", "affected", "unchanged"),
    "users": (
        "created",
        "updated",
        "renamed",
        "moved",
        "disabled",
        "enabled",
        "extinct",
        "deleted",
        "claimed",
        "released",
        "ignored",
        "unchanged",
    ),
    "memberships": ("added", "removed", "unresolved", "unchanged"),
}
_SAID = {"members": "with other members"}  # what a count is called, where its key says too little


class Node(NamedTuple):
    """A user group in the tree."""

    name: str
    kind: str  # for the colour: created, ended, moved, changed, affected, unchanged; empty where it only holds others
    notes: list[str]  # what happened to it
    was: str  # its path before, where that is another
    added: list[str]
    removed: list[str]
    children: list[Node]


class Section(NamedTuple):
    """A list of what needs somebody's attention."""

    title: str
    rows: list[tuple[str, ...]]  # the first ones are values of the directory, the last says why


def check(result: Any) -> None:
    """Raise ValueError, with a sentence for the reader, for what is no result of user_synchronization."""
    if not isinstance(result, Mapping) or not ("summary" in result or "msg" in result):
        raise ValueError(
            "this is no result of usersync.directory.user_synchronization: register its result, and give "
            "that to the filter"
        )


# --- what is to be said ----------------------------------------------------------------------------------------------


def title(result: Any) -> str:
    return "Synchronization %s" % printable(result.get("settings", {}).get("name", ""))


def headline(result: Any) -> str:
    if result.get("refused"):
        return "Refused. Nothing was changed."
    if "summary" not in result:
        return "Failed. Nothing was changed."
    return "These changes:" if result.get("changed") else "Nothing to change."


def complaint(result: Any) -> str:
    """Return why nothing was done; empty if it was: then ``msg`` has counts, which the page has anyway."""
    was_done = "summary" in result and not result.get("refused")
    return "" if was_done else printable(result.get("msg") or "")


def counts(result: Any) -> Iterator[tuple[str, list[tuple[int, str]], int]]:
    """Yield (what, [(how many, verb)], total), without zeros."""
    for what, verbs in VERBS.items():
        numbers = result.get("summary", {}).get(what)
        if numbers is not None:
            yield (
                what.replace("_", " "),
                [(numbers[verb], _SAID.get(verb, verb)) for verb in verbs if numbers.get(verb)],
                numbers.get("total", 0),
            )


def facts(result: Any) -> list[tuple[str, str]]:
    """Return (what, value) of what the page is about."""
    read = result.get("read") or {}
    found = []
    if read:
        found.append(
            (
                "Read",
                "%s entries of %s (%s) in %s s"
                % (read.get("entries"), read.get("server"), read.get("directory_type"), read.get("seconds")),
            )
        )
    found += [
        (name, result[key])
        for key, name in (("plan_digest", "Digest of the plan"), ("removals_digest", "Digest of its removals"))
        if result.get(key)
    ]
    return [(what, printable(value)) for what, value in found]


def refusals(result: Any) -> list[str]:
    return [
        printable(
            "%s%s: %s of %s, see %s"
            % (
                each.get("limit"),
                " in %s" % each["about"] if each.get("about") else "",
                each.get("would_remove"),
                each.get("of"),
                each.get("option"),
            )
        )
        for each in result.get("refused") or []
    ]


def user_lists(result: Any) -> list[tuple[str, list[str]]]:
    """Return (verb, users) of what happened to users."""
    found = []
    for verb, entries in result.get("users", {}).items():
        lines = []
        for entry in entries:
            if verb == "renamed":
                entry = "%s, before %s" % (entry["name"], entry["previous_name"])
            elif verb == "moved":
                entry = "%s to %s, before in %s" % (entry["name"], entry["home"], entry["previous_home"])
            lines.append(printable(entry))
        if lines:
            found.append((verb, lines))
    return found


def sections(result: Any) -> list[Section]:
    """Return what was not done, and why; and what was not read."""
    held = result.get("held") or {}
    found = [
        Section(
            "Held: not done, since nothing proves it",
            [
                *([("all of it", "not done", held["everything"])] if held.get("everything") else []),
                *((each["name"], each["would_be"], each["reason"]) for each in held.get("users", ())),
                *((each["path"], "extinct", each["reason"]) for each in held.get("user_groups", ())),
                *((each["member"], each["user_group"], each["reason"]) for each in held.get("memberships", ())),
            ],
        ),
        Section("Collisions", [(each["name"], each["path"], each["reason"]) for each in result.get("collisions", ())]),
        Section(
            "Unresolved members",
            [(each["value"], each["user_group"], each["reason"]) for each in result.get("unresolved_members", ())],
        ),
        Section("Not stored", [(each["dn"], each["reason"]) for each in result.get("not_stored", ())]),
        Section(
            "Not read, since it lies on other servers",
            [(each, "not followed") for each in (result.get("read") or {}).get("not_read", ())],
        ),
    ]
    return [Section(name, [tuple(map(printable, row)) for row in rows]) for name, rows in found if rows]


def tree(result: Any) -> list[Node]:
    """Return the user groups as they lie in each other: those that end, too, where they were."""
    roots: list[Node] = []
    for path, node in sorted(_nodes(result), key=lambda pair: [name.casefold() for name in split_path(pair[0])]):
        names = split_path(path)
        level = roots
        for name in names[:-1]:
            level = _holder(level, name).children
        same = [each for each in level if each.name == node.name and not each.kind]
        if same:
            level.remove(same[0])
            node = node._replace(children=same[0].children)
        level.append(node)
    return roots


def _holder(level: list[Node], name: str) -> Node:
    for node in level:
        if node.name == printable(name):
            return node
    level.append(Node(printable(name), "", [], "", [], [], []))
    return level[-1]


_KINDS = (("deleted", "ended"), ("extinct", "ended"), ("created", "created"), ("renamed", "moved"), ("moved", "moved"))


def _nodes(result: Any) -> Iterator[tuple[str, Node]]:
    for entry in result.get("changed_groups", ()):
        changes = list(entry["changes"])
        yield (
            entry["path"],
            Node(
                name=printable(split_path(entry["path"])[-1]),
                kind=next((kind for verb, kind in _KINDS if verb in changes), "changed"),
                notes=changes,
                was=printable(entry.get("previous_path") or ""),
                added=[printable(name) for name in entry["members_added"] + entry["user_groups_added"]],
                removed=[printable(name) for name in entry["members_removed"] + entry["user_groups_removed"]],
                children=[],
            ),
        )
    for kind in ("affected", "unchanged"):
        for path in result.get(kind + "_groups", ()):
            yield path, Node(printable(split_path(path)[-1]), kind, [kind], "", [], [], [])


# --- Markdown --------------------------------------------------------------------------------------------------------

_MOST_NAMES = 20  # of one list


def markdown(result: Any) -> str:
    """Return the page as Markdown (CommonMark), for a comment on a merge request or a chat."""
    check(result)
    lines = ["## Synchronization %s" % _code(result.get("settings", {}).get("name", "")), "", headline(result), ""]
    if complaint(result):
        lines += ["> %s" % _code(complaint(result)), ""]
    lines += ["- **%s**" % _code(refusal) for refusal in refusals(result)]
    for what, numbers, total in counts(result):
        said = ", ".join("%d %s" % number for number in numbers)
        lines.append("- %s: %s%d in total" % (what.capitalize(), said + ", " if said else "", total))
    lines += ["- %s: %s" % (what, _code(value)) for what, value in facts(result)]
    drawn = [line for node in tree(result) for line in _draw(node, 0)]
    if drawn:
        fence = _fence("\n".join(drawn), 3)
        lines += ["", fence + "diff", *drawn, fence]
    for verb, names in user_lists(result):
        lines += ["", "**Users %s:** %s" % (verb, ", ".join(map(_code, _first(names))))]
    for section in sections(result):
        lines += ["", "**%s**" % section.title, ""]
        lines += [
            "- %s: %s" % (" in ".join(map(_code, row[:-1])), _code(row[-1])) for row in section.rows[:_MOST_NAMES]
        ]
        if len(section.rows) > _MOST_NAMES:
            lines.append("- and %d more" % (len(section.rows) - _MOST_NAMES))
    if result.get("report_truncated"):
        lines += ["", "The lists are cut at report_limit, the counts are not."]
    return "\n".join(lines) + "\n"


def _first(names: list[str]) -> list[str]:
    """Return the first names, and how many more there are: a comment often may have no more than 65,536 bytes."""
    more = len(names) - _MOST_NAMES
    return names if more <= 0 else [*names[:_MOST_NAMES], "and %d more" % more]


def _code(text: Any) -> str:
    """Return the text as a code span (CommonMark 6.1), in which nothing is markup and nobody is mentioned."""
    text = printable(text)
    fence = _fence(text, 1)
    if not text.strip() or text.startswith("`") or text.endswith("`") or text != text.strip():
        text = " %s " % text
    return fence + text + fence


def _fence(text: str, least: int) -> str:
    return "`" * max([least] + [len(run) + 1 for run in re.findall("`+", text)])


_MARKS = {"created": "+", "ended": "-", "moved": "!", "changed": "!"}  # what a diff has, and colours


def _draw(node: Node, depth: int) -> Iterator[str]:
    said = ", ".join(node.notes) + (", before %s" % node.was if node.was else "")
    yield "%s %s%s%s" % (_MARKS.get(node.kind, " "), "  " * depth, node.name, " (%s)" % said if said else "")
    for mark, names in (("+", node.added), ("-", node.removed)):
        for name in _first(names):
            yield "%s %s%s" % (mark, "  " * (depth + 1), name)
    for child in node.children:
        yield from _draw(child, depth + 1)


# --- HTML ------------------------------------------------------------------------------------------------------------

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>{{ title }}</title>
<style>
:root { --ink: #1c2430; --soft: #5b6675; --paper: #fff; --panel: #f4f6f8; --line: #d8dee5; --created: #17692f;
  --created-paper: #e3f5e8; --ended: #a8201a; --ended-paper: #fce9e8; --moved: #1d4fa3; --moved-paper: #e6eefb;
  --changed: #7a4b00; --changed-paper: #fdf1d8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --soft: #9aa5b4; --paper: #14181e; --panel: #1d232b; --line: #343c47; --created: #7fdc98;
    --created-paper: #12301c; --ended: #ff9d97; --ended-paper: #3a1715; --moved: #9dc1ff; --moved-paper: #16263f;
    --changed: #f2c46d; --changed-paper: #332508; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.1rem; margin: 1.6rem 0 .5rem; }
p { margin: .3rem 0; } code { font-size: .85em; }
.headline { font-size: 1.15rem; color: var(--soft); margin-bottom: 1rem; }
.refused { border-left: .35rem solid var(--ended); background: var(--ended-paper); padding: .6rem .9rem;
  margin: .8rem 0; }
.refused p { font-weight: 600; } .refused ul { margin: .3rem 0; padding-left: 1.2rem; }
.counts { display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); gap: .7rem; }
.counts section { background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .9rem; }
.counts h2 { margin: 0; font-size: 1rem; } .counts ul { list-style: none; margin: .2rem 0 0; padding: 0; }
.counts li { display: grid; grid-template-columns: minmax(2.6em, max-content) 1fr; column-gap: .6em; }
.counts li.none { color: var(--soft); }
.tree, .tree ul { list-style: none; margin: 0; padding: 0; }
.tree ul { margin-left: .55rem; padding-left: .8rem; border-left: 1px solid var(--line); }
.tree li { margin: .25rem 0; }
.name { border-radius: .3rem; padding: .05rem .4rem; font-weight: 600; }
.created > .name, .added { color: var(--created); } .created > .name { background: var(--created-paper); }
.ended > .name, .removed { color: var(--ended); } .ended > .name { background: var(--ended-paper); }
.ended > .name { text-decoration: line-through; }
.moved > .name { color: var(--moved); background: var(--moved-paper); }
.changed > .name { color: var(--changed); background: var(--changed-paper); }
.affected > .name { border: 1px dashed var(--changed); font-weight: 400; }
.unchanged > .name, .holder > .name { color: var(--soft); font-weight: 400; }
.note { color: var(--soft); font-size: .85rem; }
.members { margin: .1rem 0 .1rem .4rem; }
summary { cursor: pointer; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .9rem; margin: 1rem 0; }
dt { color: var(--soft); } dd { margin: 0; }
.rows { list-style: none; margin: 0; padding: 0; } .rows li { border-top: 1px solid var(--line); padding: .3rem 0; }
.rows div + div { color: var(--soft); font-size: .9rem; }
@media (max-width: 34rem) { dl { display: block; } dd { margin-bottom: .4rem; } }
</style>
</head>
<body>
{%- macro people(names, sign, class) %}
{%- if names %}
<div class="members {{ class }}">
{%- if names | length > 12 %}<details><summary>{{ sign }} {{ names | length }} members</summary>{% endif %}
{%- for name in names %}{{ sign }}&nbsp;<bdi>{{ name }}</bdi>{{ ", " if not loop.last }}{% endfor %}
{%- if names | length > 12 %}</details>{% endif %}
</div>
{%- endif %}
{%- endmacro %}
{%- macro branch(nodes) %}
{%- for node in nodes %}
<li class="{{ node.kind or 'holder' }}"><span class="name"><bdi>{{ node.name }}</bdi></span>
{%- if node.notes %} <span class="note">{{ node.notes | join(", ") }}
{%- if node.was %}, before <bdi>{{ node.was }}</bdi>{% endif %}</span>{% endif %}
{{- people(node.added, "+", "added") }}{{ people(node.removed, "\N{MINUS SIGN}", "removed") }}
{%- if node.children %}<ul>{{ branch(node.children) }}</ul>{% endif %}</li>
{%- endfor %}
{%- endmacro %}
<header>
<h1><bdi>{{ title }}</bdi></h1>
<p class="headline">{{ headline }}</p>
</header>
<main>
{%- if message or refusals %}
<section class="refused" role="alert">
{%- if message %}<p><bdi>{{ message }}</bdi></p>{% endif %}
{%- if refusals %}<ul>{% for refusal in refusals %}<li><bdi>{{ refusal }}</bdi></li>{% endfor %}</ul>{% endif %}
</section>
{%- endif %}
{%- if counts %}
<div class="counts">
{%- for what, numbers, total in counts %}
<section><h2>{{ what | capitalize }}</h2><ul>
{%- for number, verb in numbers %}<li><b>{{ number }}</b> {{ verb }}</li>{% endfor %}
<li class="none"><b>{{ total }}</b> in total</li></ul></section>
{%- endfor %}
</div>
{%- endif %}
{%- if tree %}
<h2>User groups</h2>
<ul class="tree">{{ branch(tree) }}</ul>
{%- endif %}
{%- if users %}
<h2>Users</h2>
{%- for verb, names in users %}
<details{{ " open" if names | length <= 12 }}><summary>{{ names | length }} {{ verb }}</summary>
{%- for name in names %}<bdi>{{ name }}</bdi>{{ ", " if not loop.last }}{% endfor %}</details>
{%- endfor %}
{%- endif %}
{%- for section in sections %}
<h2>{{ section.title }}</h2>
<ul class="rows">{% for row in section.rows %}<li>{% for cell in row %}<div><bdi>{{ cell }}</bdi></div>{% endfor %}</li>
{% endfor %}</ul>
{%- endfor %}
{%- if facts or truncated %}
<h2>About this page</h2>
<dl>{% for what, value in facts %}<dt>{{ what }}</dt><dd><code><bdi>{{ value }}</bdi></code></dd>{% endfor %}</dl>
{%- if truncated %}
<p class="note">The lists are cut at report_limit, the counts are not.</p>
{%- endif %}
{%- endif %}
</main>
</body>
</html>
"""


def html(result: Any) -> str:
    """Return one page of HTML that needs nothing else: no script, no other file."""
    check(result)
    values: dict[str, Any] = {
        "title": title(result),
        "headline": headline(result),
        "message": complaint(result),
        "refusals": refusals(result),
        "counts": list(counts(result)),
        "tree": tree(result),
        "users": user_lists(result),
        "sections": sections(result),
        "facts": facts(result),
        "truncated": bool(result.get("report_truncated")),
    }
    return Environment(autoescape=True).from_string(_PAGE).render(values)
