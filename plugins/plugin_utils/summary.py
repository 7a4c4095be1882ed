# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What a page for people says of a result, whatever form it has: see as_html, as_markdown.

It is one of user_synchronization, or one of scim_provisioning or user_group_changes, which `read` puts into the words
of the former.

All that comes from the result is made printable here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..module_utils._names import ROOT, join_path, split_path
from ..module_utils._printable import printable

_OF_PROVISIONING = {
    "accounts": ("created", "linked", "updated", "renamed", "disabled", "enabled", "deleted", "unchanged"),
    "groups": ("created", "linked", "updated", "renamed", "members", "deleted", "unchanged"),
}
VERBS = {
    **_OF_PROVISIONING,
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


class Members(NamedTuple):
    """Who joins or leaves a user group."""

    names: list[str]
    left_out: int  # how many more there are


class Node(NamedTuple):
    """A user group in the tree."""

    name: str
    kind: str  # for the colour: created, ended, moved, changed, affected, unchanged; empty where it only holds others
    notes: list[str]  # what happened to it
    was: str  # its path before, where that is another
    added: Members
    removed: Members
    children: list[Node]

    @property
    def loses(self) -> bool:
        """Whether it ends, or loses members."""
        return self.kind == "ended" or bool(self.removed.names or self.removed.left_out)


class Losing(NamedTuple):
    """A user group that ends, or loses members."""

    path: str
    kind: str
    ends: str  # how; empty if it stays
    members: Members


class Listed(NamedTuple):
    """Users to whom the same happened."""

    verb: str
    lines: list[str]
    left_out: int


class Section(NamedTuple):
    """A list of what needs somebody's attention."""

    title: str
    rows: list[tuple[str, ...]]  # the first ones are values of the directory, the last says why
    left_out: int


def read(result: Any) -> Mapping[str, Any]:
    """Return the result, that of another module in the words of a synchronization.

    Raises ValueError, with a sentence for the reader, for what is a result of none of them.
    """
    if not isinstance(result, Mapping) or not ("summary" in result or "msg" in result):
        raise ValueError(
            "this is no result of usersync.directory.user_synchronization, scim_provisioning or user_group_changes: "
            "register its result, and give that to the filter"
        )
    if "joined" in result:
        return _changes(result)
    return _provisioning(result) if "accounts" in result else result


def _provisioning(result: Mapping[str, Any]) -> dict[str, Any]:
    """Groups of a service lie in no tree: they are shown below the root."""
    groups = [
        {**each, "path": _below_root(each["name"]), "previous_path": each["previous_name"]}
        for each in result["changed_groups"]
    ]
    left_out = {
        name.replace("accounts.", "users."): number for name, number in result.get("report_left_out", {}).items()
    }
    return {
        **result,
        "users": result["accounts"],
        "changed_groups": groups,
        "unchanged_groups": [_below_root(name) for name in result["unchanged_groups"]],
        "collisions": [{**each, "path": each["kind"]} for each in result["collisions"]],
        "report_left_out": left_out,
    }


def _changes(result: Mapping[str, Any]) -> dict[str, Any]:
    """Who joined or left one user group after the other is shown with each of them."""

    def members(of: str, path: str) -> list[str]:
        return [each["name"] for each in result[of] if each["user_group"] == path]

    def users(of: str, which: str = "") -> list[str]:
        return sorted({each["name"] for each in result[of] if not which or each[which]})

    groups = [
        {
            **each,
            "previous_path": next(iter(each["previous_paths"]), None),
            "members_added": members("joined", each["path"]),
            "members_removed": members("left", each["path"]),
            "user_groups_added": [],
            "user_groups_removed": [],
        }
        for each in result["changed_groups"]
    ]
    listed: dict[str, list[Any]] = {"created": users("joined", "is_new"), "deleted": users("left", "is_last")}
    listed.update((verb, users(verb)) for verb in ("disabled", "enabled", "updated"))
    return {**result, "users": {**listed, "renamed": result["renamed"]}, "changed_groups": groups}


def _below_root(name: str) -> str:
    return join_path(ROOT, name if name.strip() else "(no name)")


# --- the head --------------------------------------------------------------------------------------------------------


def name(result: Any) -> str:
    """Return the name of the synchronization; empty if the result, of a task that failed early, does not have it."""
    given = result.get("settings") or (result.get("invocation") or {}).get("module_args") or {}
    return printable(given.get("name") or "")


def noun(result: Any) -> str:
    """Return what the name is that of."""
    if "joined" in result:
        return "Changes of user groups for"
    return "Provisioning" if "accounts" in result else "Synchronization"


def title(result: Any) -> str:
    return ("%s %s" % (noun(result), name(result))).strip()


def mode(result: Any) -> tuple[str, str]:
    """Return (what it is for the colour, in words): whether this was done, is only a dry run, or did not happen."""
    if "summary" not in result:
        return "not", "Failed"
    if result.get("refused"):
        return "not", "Refused"
    if result.get("failed"):
        return "done", "Done in part"
    return ("dry", "Dry run") if result.get("dry_run") else ("done", "Done")


def headline(result: Any) -> str:
    kind, _words = mode(result)
    if kind == "not":
        return "Nothing was changed." + (" This is a dry run." if result.get("dry_run") else "")
    if not result.get("changed"):
        return "Nothing was changed." if result.get("failed") else "Nothing to change."
    if "joined" in result:
        return "This happened:"
    return "These changes would be made:" if kind == "dry" else "These changes were made:"


def complaint(result: Any) -> str:
    """Return why not all was done; empty if it was: then ``msg`` has counts, which the page has anyway."""
    was_done = "summary" in result and not result.get("refused") and not result.get("failed")
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
    """Return (what, value) of when, where, and by which digest it can be approved."""
    read = result.get("read") or {}
    found = [("When", result["began"])] if result.get("began") else []
    if read.get("server"):
        found += [
            ("Server", read["server"]),
            (
                "Read",
                "%s entries (%s) in %s s" % (read.get("entries"), read.get("directory_type"), read.get("seconds")),
            ),
        ]
    found += [
        (what, result[key])
        for key, what in (("plan_digest", "Digest of the plan"), ("removals_digest", "Digest of its removals"))
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


def left_out(result: Any, what: str) -> int:
    """Return how many entries of a list the result leaves out."""
    return int((result.get("report_left_out") or {}).get(what, 0))


# --- users, and what was not done ------------------------------------------------------------------------------------

_REMOVED = ("deleted", "extinct", "disabled")


def users_removed(result: Any) -> list[Listed]:
    return _users(result, _REMOVED)


def users_else(result: Any) -> list[Listed]:
    return _users(result, [verb for verb in result.get("users", ()) if verb not in _REMOVED])


def _users(result: Any, verbs: Iterable[str]) -> list[Listed]:
    found = []
    for verb in verbs:
        lines = [printable(_user(entry, verb)) for entry in result.get("users", {}).get(verb, ())]
        if lines or left_out(result, "users." + verb):
            found.append(Listed(verb, lines, left_out(result, "users." + verb)))
    return found


def _user(entry: Any, verb: str) -> Any:
    if verb == "renamed":
        return "%s, before %s" % (entry["name"], entry["previous_name"])
    if verb == "moved":
        return "%s to %s, before in %s" % (entry["name"], entry["home"], entry["previous_home"])
    return entry


Rows = list[tuple[Any, ...]]


def sections(result: Any) -> list[Section]:
    """Return what was not done, and why; and what was not read."""
    found: list[tuple[str, list[str], Rows]] = [
        (
            "Held: not done, since nothing proves it",
            ["held.users", "held.user_groups", "held.memberships"],
            _held(result.get("held") or {}),
        ),
        ("Collisions", ["collisions"], _rows(result, "collisions", "name", "path", "reason")),
        (
            "Unresolved members: listed, and none is found",
            ["unresolved_members"],
            _rows(result, "unresolved_members", "value", "user_group", "reason"),
        ),
        ("Not provisioned", ["not_provisioned"], _rows(result, "not_provisioned", "name", "kind", "reason")),
        ("Drift: somebody else changed it there", ["drift"], _drift(result)),
        ("Foreign: there, and not linked", ["foreign"], _foreign(result)),
        ("Not stored", ["not_stored"], _rows(result, "not_stored", "dn", "reason")),
        (
            "Not read, since it lies on other servers",
            [],
            [(each, "not followed") for each in (result.get("read") or {}).get("not_read", ())],
        ),
    ]
    counted = [(title, rows, sum(left_out(result, each) for each in lists)) for title, lists, rows in found]
    return [Section(title, [tuple(map(printable, row)) for row in rows], more) for title, rows, more in counted if rows]


def _rows(result: Any, what: str, *fields: str) -> Rows:
    return [tuple(each[field] for field in fields) for each in result.get(what, ())]


def _held(held: Any) -> Rows:
    return [
        *([("all of it", "not done", held["everything"])] if held.get("everything") else []),
        *_rows(held, "users", "name", "would_be", "reason"),
        *((each["path"], "extinct", each["reason"]) for each in held.get("user_groups", ())),
        *_rows(held, "memberships", "member", "user_group", "reason"),
    ]


def _drift(result: Any) -> Rows:
    return [
        (each["name"], each["what"], "was written as '%s', is '%s'" % (each["written"], each["there"]))
        for each in result.get("drift", ())
    ]


def _foreign(result: Any) -> Rows:
    return [
        (each["name"] or each["id"], each["kind"], "in %s" % each["member_of"] if each["member_of"] else "stays")
        for each in result.get("foreign", ())
    ]


# --- user groups -----------------------------------------------------------------------------------------------------


_DEEPEST = 50  # levels


def tree(found: Iterable[tuple[str, Node]]) -> list[Node]:
    """Return the user groups, each with its path, as they lie in each other: those that end, too, where they were."""
    roots: list[Node] = []
    for path, node in sorted(found, key=lambda pair: [name.casefold() for name in split_path(pair[0])]):
        names = split_path(path)
        if len(names) > _DEEPEST:  # nobody could see it, and who draws it goes down level by level
            names = [*names[:_DEEPEST], "/".join(names[_DEEPEST:])]
            node = node._replace(name=printable(names[-1]))
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
    level.append(Node(printable(name), "", [], "", _NOBODY, _NOBODY, []))
    return level[-1]


_NOBODY = Members([], 0)

_KINDS = (("deleted", "ended"), ("extinct", "ended"), ("created", "created"), ("renamed", "moved"), ("moved", "moved"))


def nodes(result: Any) -> list[tuple[str, Node]]:
    """Return the paths of the user groups, and what happened to each."""
    found = [(entry["path"], _changed(entry)) for entry in result.get("changed_groups", ())]
    for kind in ("affected", "unchanged"):
        for path in result.get(kind + "_groups", ()):
            found.append((path, Node(printable(split_path(path)[-1]), kind, [kind], "", _NOBODY, _NOBODY, [])))
    return found


def _changed(entry: Any) -> Node:
    changes = list(entry["changes"])
    return Node(
        name=printable(split_path(entry["path"])[-1]),
        kind=next((kind for verb, kind in _KINDS if verb in changes), "changed"),
        notes=changes,
        was=printable(entry.get("previous_path") or ""),
        added=_members(entry, "added"),
        removed=_members(entry, "removed"),
        children=[],
    )


def _members(entry: Any, what: str) -> Members:
    lists = ("members_" + what, "user_groups_" + what)
    names = [printable(name) for each in lists for name in entry[each]]
    return Members(names, sum((entry.get("left_out") or {}).get(each, 0) for each in lists))


def losing(result: Any) -> list[Losing]:
    """Return the user groups that end or lose members; those that end are the first ones."""
    found = [
        Losing(
            printable(entry["path"]),
            _changed(entry).kind,
            ", ".join(verb for verb in entry["changes"] if verb in ("deleted", "extinct")),
            _members(entry, "removed"),
        )
        for entry in result.get("changed_groups", ())
    ]
    kept = [each for each in found if each.ends or each.members.names or each.members.left_out]
    return sorted(kept, key=lambda each: not each.ends)


def groups_left_out(result: Any) -> int:
    """Return how many user groups are missing in the tree of all."""
    return sum(left_out(result, what + "_groups") for what in ("changed", "affected", "unchanged"))
