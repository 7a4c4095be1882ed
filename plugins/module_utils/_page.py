# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The frame of a self-contained page of HTML: it needs no other file, and is readable on a phone and in the dark.

What stands in a page came from a directory, where others write: whoever makes the body escapes it. Besides, the page
allows no script but those that it names by their hashes (https://www.w3.org/TR/CSP3/#external-hash), and no request to
anywhere. Without scripts all but the search is there.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape

# Shows those items of lists that have all words, and what they lie in.
SEARCH_LISTS = """
const box = document.getElementById("search"), told = document.getElementById("found");
const all = Array.from(document.querySelectorAll(".tree li, .rows li, .names li"));
const folds = Array.from(document.getElementsByTagName("details")).map((each) => [each, each.open]);
const own = (item) => Array.from(item.childNodes).filter((part) => part.tagName !== "UL")
  .map((part) => part.textContent).join(" ").toLowerCase();
let texts = null, waiting = 0;
function look() {
  const words = box.value.toLowerCase().split(/\\s+/).filter(Boolean), holders = new Set();
  texts = texts || all.map(own);
  let count = 0;
  for (let at = all.length - 1; at >= 0; at--) {
    const hit = words.every((word) => texts[at].includes(word)), kept = hit || holders.has(all[at]);
    count += hit;
    if (kept) holders.add(all[at].parentElement.closest("li"));
    all[at].hidden = !kept;
  }
  for (const [each, open] of folds) each.open = words.length > 0 || open;
  told.textContent = words.length ? count + " found" : "";
}
if (all.length > 12) {
  box.closest(".search").hidden = false;
  box.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(look, 150); });
}
"""
_FRAME = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; script-src '%(hash)s'">
<meta name="color-scheme" content="light dark">
<title>%(title)s</title>
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
[hidden] { display: none !important; }
.members { margin: .1rem 0 .1rem .4rem; }
summary { cursor: pointer; }
.search { position: sticky; top: 0; background: var(--paper); padding: .5rem 0; margin: .5rem 0; z-index: 1; }
.search input { font: inherit; width: min(22rem, 60vw); padding: .25rem .5rem; color: var(--ink);
  background: var(--panel); border: 1px solid var(--line); border-radius: .3rem; }
.search output { color: var(--soft); margin-left: .6rem; }
.names { list-style: none; margin: .2rem 0; padding: 0; columns: 14rem; } .names li { break-inside: avoid; }
.mode { display: inline-block; border-radius: .3rem; padding: .05rem .5rem; font-weight: 600; }
.mode.dry { color: var(--moved); background: var(--moved-paper); }
.mode.done { color: var(--created); background: var(--created-paper); }
.mode.not { color: var(--ended); background: var(--ended-paper); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .9rem; margin: 1rem 0; }
dt { color: var(--soft); } dd { margin: 0; }
.rows { list-style: none; margin: 0; padding: 0; } .rows li { border-top: 1px solid var(--line); padding: .3rem 0; }
.rows div + div { color: var(--soft); font-size: .9rem; }
@media (max-width: 34rem) { dl { display: block; } dd { margin-bottom: .4rem; } }
</style>
</head>
<body>
%(body)s
<script>%(script)s</script>
</body>
</html>
"""

# Where the words to search for are written. The script shows it.
SEARCH = """\
<div class="search" role="search" hidden><label>Search <input id="search" type="search" autocomplete="off"></label>
<output id="found"></output></div>
"""


def hash_of(script: str) -> str:
    """Return what a content security policy calls a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def frame(title: str, body: str, script: str = SEARCH_LISTS) -> str:
    """Return a page of this title, which is text, and of this body, which is HTML. Nothing of data is in the script."""
    return _FRAME % {"title": escape(title), "body": body, "script": script, "hash": hash_of(script)}
