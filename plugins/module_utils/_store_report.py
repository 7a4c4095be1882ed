# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""A store as one page of HTML: the tree with its counts, what the last runs changed, who is out, and users by search.

It is made on the node where the store lies, of what look-ups say, without a template engine: a managed node needs none.
All that comes from the store goes through `_text`, or into data that no browser takes for anything else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from . import _page
from ._look_up import look_up
from ._names import split_path
from ._printable import printable

Record = Mapping[str, Any]  # a user, a user group or a run, as look-ups return it

_MOST_ROWS = 1000  # of a list on the page
_MOST_ASKED = 100  # disabled users for whom the history is asked since when
_MOST_WITHOUT_SCRIPTS = 500  # users that are listed where the search does not run
_DEEPEST = 50  # levels of the tree


def report(store: str, runs: int, password: str | None = None) -> str:
    """Return the page of the store, a path or a URI. Raises SynchronizationError, with a sentence for the reader."""
    everybody = {"store": store, "store_password": password, "include_disabled": True, "include_extinct": True}
    found = look_up({**everybody, "runs": runs}, _no_warning)
    disabled = [user for user in found["users"] if not user["enabled"] and not user["extinct"]]
    since = {
        (user["name"], user["home"]): _disabled_since(
            user, look_up({**everybody, "user": user["name"], "history": 20}, _no_warning)
        )
        for user in disabled[:_MOST_ASKED]
    }
    return page(store, found, since)


def page(store: str, found: Mapping[str, Sequence[Record]], disabled_since: Mapping[tuple[str, str], str]) -> str:
    """Return the page. ``disabled_since``: name and home of a user -> time; empty where nothing tells."""
    users, groups, runs = found["users"], found["user_groups"], found["runs"]
    body = [
        _head(store, users, groups, runs),
        _page.SEARCH,
        '<div id="hits" hidden><h2>Users found</h2><ul class="rows"></ul></div>',
        _chart(runs),
        _out(users, groups, disabled_since),
        _collisions(groups),
        _tree(users, groups),
        _users(users),
    ]
    return _page.frame("What the store holds", "".join(body), _SCRIPT)


def _no_warning(dummy: str) -> None:
    """Warn nobody: a look-up warns of what a person asked for, and here is everything."""


def _disabled_since(user: Record, told: Mapping[str, Sequence[Record]]) -> str:
    """Return when a run disabled the user, or made him disabled."""
    for event in told["history"]:  # the newest first
        before, after = event["before"] or {}, event["after"] or {}
        if event["event"] == "changed" and before.get("enabled") and after.get("enabled") is False:
            return str(event["time"])
        if event["event"] == "created":
            return str(event["time"])
    return ""


def _text(value: object) -> str:
    return "<bdi>%s</bdi>" % escape(printable(value))


def _plain(value: Any) -> str:
    """Return the value of a field as text: it may have several, or none."""
    return printable(", ".join(map(str, value)) if isinstance(value, list) else value or "")


def _number(count: int) -> str:
    return format(count, ",")


# --- the head --------------------------------------------------------------------------------------------------------


def _head(store: str, users: Sequence[Record], groups: Sequence[Record], runs: Sequence[Record]) -> str:
    last = runs[0]["time"] if runs else "no run yet"
    changed = next((run["time"] for run in runs if run["changed"]), last)
    facts = (("Store", store), ("Last run", last), ("Last run that changed anything", changed))
    extinct = sum(1 for user in users if user["extinct"])
    disabled = sum(1 for user in users if not user["enabled"] and not user["extinct"])
    enabled = len(users) - extinct - disabled
    extinct_groups = sum(1 for group in groups if group["extinct"])
    memberships = sum(len(group["members"]) + len(group["user_groups"]) for group in groups)
    cards = [
        _card("Users", len(users), [(enabled, "enabled"), (disabled, "disabled"), (extinct, "extinct")]),
        _card("User groups", len(groups), [(extinct_groups, "extinct")]),
        _card("Memberships", memberships, []),
    ]
    return (
        '<header><h1>What the store holds</h1><dl>%s</dl></header><main><div class="counts">%s</div>'
        '<p class="note">Extinct is who is no longer in the directory, or no longer selected, and is kept.</p>'
    ) % ("".join("<dt>%s</dt><dd>%s</dd>" % (what, _text(value)) for what, value in facts), "".join(cards))


def _card(title: str, total: int, counts: Sequence[tuple[int, str]]) -> str:
    rows = ["<li><b>%s</b> %s</li>" % (_number(count), word) for count, word in counts if count]
    return '<section><h2>%s</h2><ul>%s<li class="none"><b>%s</b> in total</li></ul></section>' % (
        title,
        "".join(rows),
        _number(total),
    )


# --- what the last runs changed --------------------------------------------------------------------------------------

_ADDED = (("users", "created"), ("users", "enabled"), ("memberships", "added"), ("user_groups", "created"))
_REMOVED = (
    ("users", "deleted"),
    ("users", "extinct"),
    ("users", "disabled"),
    ("memberships", "removed"),
    ("user_groups", "deleted"),
    ("user_groups", "extinct"),
)
_HEIGHT, _BAR = 60, 14  # of one direction, and how wide: pixels


def _count(run: Record, of: Iterable[tuple[str, str]]) -> int:
    return sum(int(run["summary"].get(kind, {}).get(verb, 0)) for kind, verb in of)


def _chart(runs: Sequence[Record]) -> str:
    """Return bars of what each run added, upwards, and removed, downwards. The heights are those of the logarithm: a
    first run is a thousand times what follows.
    """
    changed = [run for run in reversed(runs) if run["changed"]]
    if not changed:
        return ""
    bars, rows = [], []
    tallest = max(_height(_count(run, each)) for run in changed for each in (_ADDED, _REMOVED)) or 1
    for at, run in enumerate(changed):
        added, removed = _count(run, _ADDED), _count(run, _REMOVED)
        said = "%s %s: %s added, %s removed" % (run["time"], run["synchronization"], _number(added), _number(removed))
        up, down = (round(_HEIGHT * _height(count) / tallest) for count in (added, removed))
        bars.append(
            '<g><title>%s</title><rect x="%d" y="0" width="%d" height="%d" fill="transparent"/>'
            '<rect x="%d" y="%d" width="%d" height="%d" fill="var(--created)"/>'
            '<rect x="%d" y="%d" width="%d" height="%d" fill="var(--ended)"/></g>'
            % (
                escape(printable(said)),
                *(at * _BAR, _BAR, 2 * _HEIGHT),
                *(at * _BAR + 2, _HEIGHT - up, _BAR - 4, up),
                *(at * _BAR + 2, _HEIGHT, _BAR - 4, down),
            )
        )
        rows.append("<li>%s</li>" % _text(said))
    width = _BAR * len(changed)
    return (
        '<h2>What the last runs changed</h2><svg role="img" aria-label="Bars of what each run added and removed"'
        ' viewBox="0 0 %d %d" style="width:100%%;max-width:%dpx;height:auto"><line x1="0" y1="%d" x2="%d" y2="%d"'
        ' stroke="var(--line)"/>%s</svg><p class="note">Upwards what a run added, downwards what it removed, on a'
        ' logarithmic scale, up to %s.</p><details><summary>%s runs</summary><ul class="rows">%s</ul></details>'
    ) % (
        *(width, 2 * _HEIGHT, 2 * width, _HEIGHT, width, _HEIGHT),
        "".join(bars),
        _number(max(_count(run, each) for run in changed for each in (_ADDED, _REMOVED))),
        _number(len(changed)),
        "".join(reversed(rows)),
    )


def _height(count: int) -> int:
    """Return a measure of a count that grows by one each time the count doubles."""
    return count.bit_length()


# --- who is out, and what lost its name ------------------------------------------------------------------------------


def _out(users: Sequence[Record], groups: Sequence[Record], disabled_since: Mapping[tuple[str, str], str]) -> str:
    rows = [
        (user["extinct_since"] or "", user["name"], user["home"], "extinct (%s)" % user["extinct"])
        for user in users
        if user["extinct"]
    ]
    rows += [
        (disabled_since.get((user["name"], user["home"]), ""), user["name"], user["home"], "disabled")
        for user in users
        if not user["enabled"] and not user["extinct"]
    ]
    rows += [
        (group["extinct_since"] or "", group["path"], "user group", "extinct (%s)" % group["extinct"])
        for group in groups
        if group["extinct"]
    ]
    rows.sort(key=lambda row: row[0], reverse=True)
    items = [
        "<li><div>%s</div><div>%s since %s, %s</div></li>"
        % (_text(name), _text(state), _text(since or "a run that is forgotten"), _text(where))
        for since, name, where, state in rows
    ]
    return _section("Disabled or extinct", items)


def _collisions(groups: Sequence[Record]) -> str:
    """Return the user groups that have a suffix, since another one had their name."""
    items = [
        "<li><div>%s</div><div>in the directory %s</div></li>" % (_text(group["path"]), _text(group["dn"]))
        for group in groups
        if group["dn"] and _has_suffix(group["name"], group["dn"])
    ]
    return _section("Collisions: user groups whose name was taken", items)


def _has_suffix(name: str, dn: str) -> bool:
    """Tell whether the name is that of the entry, and more in parentheses: `Nurses (east)` of `CN=Nurses,OU=east`."""
    return name.endswith(")") and ("=%s," % name.rpartition(" (")[0]).casefold() in (dn + ",").casefold()


def _section(title: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    return '<h2>%s</h2><details%s><summary>%s</summary><ul class="rows">%s</ul>%s</details>' % (
        title,
        " open" if len(items) <= 12 else "",
        _number(len(items)),
        "".join(items[:_MOST_ROWS]),
        _more(len(items) - _MOST_ROWS),
    )


def _more(count: int) -> str:
    return '<span class="note">\N{HORIZONTAL ELLIPSIS} and %s more</span>' % _number(count) if count > 0 else ""


# --- the tree, and users ---------------------------------------------------------------------------------------------


def _tree(users: Sequence[Record], groups: Sequence[Record]) -> str:
    """Return the user groups as they lie in each other. They come each before those below it."""
    at_home: dict[str, int] = {}
    for user in users:
        at_home[user["home"]] = at_home.get(user["home"], 0) + 1
    parts, depth = [], 0
    for group in groups:
        names = split_path(group["path"])
        level = min(len(names), _DEEPEST)
        parts.append("<ul>" * (level - depth) if level > depth else "</li>" + "</ul></li>" * (depth - level))
        counts = [
            "%s members" % _number(len(group["members"])),
            *(["%s user groups nested" % _number(len(group["user_groups"]))] if group["user_groups"] else []),
            *(["home of %s users" % _number(at_home[group["path"]])] if group["path"] in at_home else []),
            *(["extinct since %s" % group["extinct_since"]] if group["extinct"] else []),
        ]
        parts.append(
            '<li class="%s"><span class="name">%s</span> <span class="note">%s</span>'
            % ("ended" if group["extinct"] else "holder", _text(names[-1]), escape(", ".join(counts)))
        )
        depth = level
    parts.append("</li>" + "</ul></li>" * (depth - 1) + "</ul>" if depth else "")
    return '<h2>User groups</h2><div class="tree">%s</div>' % "".join(parts)


def _users(users: Sequence[Record]) -> str:
    """Return the users as data for the search, and some of them where that does not run."""
    numbers: dict[str, int] = {}
    rows = [
        [
            printable(user["name"]),
            _plain(user["attributes"].get("display_name")),
            numbers.setdefault(user["home"], len(numbers)),
            0 if user["enabled"] and not user["extinct"] else 2 if user["extinct"] else 1,
            [numbers.setdefault(path, len(numbers)) for path in user["user_groups"]],
        ]
        for user in users
    ]
    data = json.dumps(
        {"paths": list(map(printable, numbers)), "users": rows}, separators=(",", ":"), ensure_ascii=False
    )
    names = "".join("<li>%s</li>" % _text(user["name"]) for user in users[:_MOST_WITHOUT_SCRIPTS])
    return (
        '<noscript><h2>Users</h2><ul class="names">%s</ul>%s</noscript></main>'
        '<script type="application/json" id="data">%s</script>'
    ) % (names, _more(len(users) - _MOST_WITHOUT_SCRIPTS), _inert(data))


def _inert(data: str) -> str:
    """Return JSON in which nothing ends or begins an element (https://html.spec.whatwg.org/, 4.12.1.3)."""
    return data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


# Finds users and user groups that have all words. Names go into the page as text, never as markup.
_SCRIPT = """
const box = document.getElementById("search"), told = document.getElementById("found");
const hits = document.getElementById("hits"), most = 200, states = ["", "disabled", "extinct"];
const items = Array.from(document.querySelectorAll(".tree li"));
const own = (item) => Array.from(item.childNodes).filter((part) => part.tagName !== "UL")
  .map((part) => part.textContent).join(" ").toLowerCase();
let data = null, texts = [], itemTexts = [], waiting = 0;
function row(user) {
  const item = document.createElement("li"), name = document.createElement("div");
  const where = document.createElement("div");
  name.textContent = user[0] + (user[1] ? ", " + user[1] : "") + (user[3] ? " (" + states[user[3]] + ")" : "");
  where.textContent = "home " + data.paths[user[2]] + (user[4].length ? "; in " +
    user[4].map((path) => data.paths[path]).join(", ") : "");
  item.append(name, where);
  return item;
}
function look() {
  const words = box.value.toLowerCase().split(/\\s+/).filter(Boolean), holders = new Set();
  if (!data) {
    data = JSON.parse(document.getElementById("data").textContent);
    texts = data.users.map((user) => (user[0] + " " + user[1] + " " + states[user[3]]).toLowerCase());
    itemTexts = items.map(own);
  }
  const found = [];
  let users = 0, groups = 0;
  if (words.length) for (let at = 0; at < texts.length; at++)
    if (words.every((word) => texts[at].includes(word)) && ++users <= most) found.push(row(data.users[at]));
  hits.hidden = !users;
  hits.lastElementChild.replaceChildren(...found);
  for (let at = items.length - 1; at >= 0; at--) {
    const hit = words.every((word) => itemTexts[at].includes(word)), kept = hit || holders.has(items[at]);
    groups += hit;
    if (kept) holders.add(items[at].parentElement.closest("li"));
    items[at].hidden = !kept;
  }
  told.textContent = words.length ? users.toLocaleString("en") + " users" +
    (users > most ? " (the first " + most + " are shown)" : "") + ", " +
    groups.toLocaleString("en") + " user groups" : "";
}
box.closest(".search").hidden = false;
box.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(look, 150); });
"""
