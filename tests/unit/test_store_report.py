# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a store: what a person must find there, and that names from a directory stay names."""

from __future__ import annotations

import html.parser
import json

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _page, _store_report
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from support import plans

NASTY = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "a & b",
    "\"'><b>",
    "x\u202ey",
    "{{ 7 * 7 }}",
    "%s %(x)s",
]


class Page(html.parser.HTMLParser):
    """The elements that there are, the text of each script, and all other text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.attributes, self.scripts, self.texts, self.inside = [], [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        (self.scripts if self.inside == "script" else self.texts).append(data)

    @property
    def text(self):
        return " ".join("".join(self.texts).split())

    @property
    def data(self):
        return json.loads(self.scripts[0])


def user(name, home="All/Staff", **more):
    return {
        "name": name,
        "home": home,
        "user_groups": [],
        "enabled": True,
        "extinct": None,
        "extinct_since": None,
        "attributes": {},
        **more,
    }


def group(path, **more):
    return {
        "path": path,
        "name": path.rpartition("/")[2],
        "dn": None,
        "members": [],
        "user_groups": [],
        "extinct": None,
        "extinct_since": None,
        **more,
    }


def run(time, changed=True, **counts):
    return {"time": time, "synchronization": "staff", "changed": changed, "summary": {"users": counts}}


def made(users=(), groups=(), runs=(), since=()):
    return _store_report.page("/srv/users.db", {"users": users, "user_groups": groups, "runs": runs}, dict(since))


def test_it_says_who_is_where_and_who_is_out_since_when():
    text = made(
        [
            user("ann", user_groups=["All/Staff/Nurses"], attributes={"display_name": "Ann Bell"}),
            user("bob", enabled=False),
            user("cid", enabled=False, extinct="gone", extinct_since="2026-03-01T06:00:12Z"),
        ],
        [
            group("All"),
            group("All/Staff"),
            group("All/Staff/Nurses", members=["ann"], dn="CN=Nurses,OU=east"),
            group("All/Staff/Nurses (west)", dn="CN=Nurses,OU=west", user_groups=["All/Staff/Nurses"]),
            group("All/Staff/Old", extinct="out_of_scope", extinct_since="2026-02-01T00:00:00Z"),
        ],
        [run("2026-03-02T00:00:00Z", changed=False), run("2026-03-01T06:00:12Z", created=3, extinct=1)],
        {("bob", "All/Staff"): "2026-01-05T00:00:00Z"},
    )
    page = Page(text)
    for expected in (
        "1 enabled1 disabled1 extinct3 in total",
        "Last run2026-03-02T00:00:00Z",
        "Last run that changed anything2026-03-01T06:00:12Z",
        "cidextinct (gone) since 2026-03-01T06:00:12Z, All/Staff",
        "bobdisabled since 2026-01-05T00:00:00Z, All/Staff",
        "All/Staff/Oldextinct (out_of_scope) since 2026-02-01T00:00:00Z",
        "2026-03-01T06:00:12Z staff: 3 added, 1 removed",
        "Nurses 1 members",
        "Nurses (west) 0 members, 1 user groups nested",
        "Collisions: user groups whose name was taken1All/Staff/Nurses (west)in the directory CN=Nurses,OU=west",
        "Staff 0 members, home of 3 users",
    ):
        assert expected in page.text, expected
    assert page.data["users"][0] == ["ann", "Ann Bell", 0, 0, [1]]
    assert page.data["paths"] == ["All/Staff", "All/Staff/Nurses"]
    assert [row[3] for row in page.data["users"]] == [0, 1, 2]
    assert page.elements.count("svg") == 1 and page.elements.count("g") == 1, "a run that changed nothing has no bar"


def test_the_tree_is_well_formed_at_any_depth():
    class Balanced(html.parser.HTMLParser):
        stack: list = []

        def handle_starttag(self, tag, attrs):
            if tag in ("ul", "li", "div"):
                self.stack.append(tag)

        def handle_endtag(self, tag):
            if tag in ("ul", "li", "div"):
                assert self.stack.pop() == tag

    paths = ["All", "All/a", "All/a/b", "All/a/b/c", "All/d", "All/d/e", "All/f"]
    deep = ["All" + "/u" * level for level in range(1, 1000)]
    for each in ([], ["All"], paths, ["All", *deep], ["All", *deep, "All/v"]):
        parser = Balanced()
        parser.feed(made(groups=[group(path) for path in each]))
        assert parser.stack == []


@pytest.mark.parametrize("value", NASTY, ids=repr)
def test_names_stay_names(value):
    path = "All/" + value.replace("\\", "\\\\").replace("/", "\\/")
    text = made(
        [user(value, path, user_groups=[path], enabled=False, attributes={"display_name": value, "x": value})],
        [group("All"), group(path, extinct="gone", extinct_since=value, dn=value)],
        [dict(run(value, created=1), synchronization=value)],
        {(value, path): value},
    )
    page, harmless = Page(text), Page(made([user("a")], [group("All")], [run("b", created=1)]))
    assert page.elements.count("script") == 2 and set(page.elements) <= {
        *harmless.elements,
        "bdi",
        "details",
        "summary",
        "div",
    }
    assert page.scripts[1] == _store_report._SCRIPT and _page.hash_of(_store_report._SCRIPT) in text
    assert not [name for name, _value in page.attributes if name.startswith("on") or name in ("src", "href")]
    assert page.data["users"][0][0] == page.data["users"][0][1] == _store_report.printable(value)
    assert page.text.count(_store_report.printable(value)) >= 5


def test_a_page_of_a_real_store_says_since_when_somebody_is_disabled(tmp_path):
    store = tmp_path / "users.db"
    ann, bob = plans.user_record("ann"), plans.user_record("bob")
    users = {"a": ann, "b": bob}
    plans.apply(store, plans.make_plan(users=plans.user_changes({}, users), target_missing=True), time=86400, counts={})
    off = {"a": ann._replace(enabled=False), "b": bob}
    plans.apply(store, plans.make_plan(users=plans.user_changes(users, off)), time=3 * 86400, counts={})
    page = Page(_store_report.report(str(store), 10))
    assert "anndisabled since 1970-01-04T00:00:00Z, All/Company" in page.text
    assert "bob" not in page.text.partition("Disabled or extinct")[2].partition("User groups")[0]
    with pytest.raises(SynchronizationError, match="^store: there is no file"):
        _store_report.report(str(tmp_path / "none.db"), 10)
