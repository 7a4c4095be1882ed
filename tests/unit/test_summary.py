# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages and tables of results: what a person must find there, and that names from a directory stay names."""

from __future__ import annotations

import csv
import html.parser
import io
import time

import pytest

pytest.importorskip("ansible", reason="comes with ansible-core")

from ansible.errors import AnsibleFilterError
from ansible_collections.usersync.directory.plugins.filter import printable, summary_html, summary_markdown, to_csv
from ansible_collections.usersync.directory.plugins.module_utils import _page
from ansible_collections.usersync.directory.plugins.plugin_utils import as_html, as_markdown, summary

pytestmark = pytest.mark.versions

NASTY = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a & b",
    "&lt;b&gt;",
    "\"'><b>",
    "{{ 7 * 7 }}",
    "`tick`",
    "``two``",
    "**bold**",
    "[link](https://evil.example)",
    "@everybody",
    "| table |",
    "# heading",
    "```",
    "line\nbreak",
    "tab\tstop",
    "turned \u202e around",
    " blank ",
    "",
]


def group(path, *changes, **more):
    return {
        "path": path,
        "previous_path": None,
        "dn": "cn=x",
        "changes": list(changes),
        "members_added": [],
        "members_removed": [],
        "user_groups_added": [],
        "user_groups_removed": [],
        **more,
    }


def result(**more):
    return {
        "changed": True,
        "settings": {"name": "staff"},
        "summary": {
            "user_groups": {"created": 1, "total": 5},
            "users": {"created": 0, "total": 3},
            "memberships": {"added": 7, "removed": 0, "total": 9},
        },
        "changed_groups": [],
        "affected_groups": [],
        "unchanged_groups": [],
        "users": {},
        "collisions": [],
        "unresolved_members": [],
        "not_stored": [],
        "refused": [],
        "report_truncated": False,
        "plan_digest": "d" * 64,
        "removals_digest": "e" * 64,
        "read": {"server": "dc1:636", "directory_type": "openldap", "entries": 12, "seconds": 0.1, "not_read": []},
        **more,
    }


class Page(html.parser.HTMLParser):
    """The text that a reader sees, and the elements that there are."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.elements, self.attributes, self.hidden = [], [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs
        self.hidden += tag in ("style", "script")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("style", "script")

    def handle_data(self, data):
        if not self.hidden:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join("".join(self.texts).split())


def in_code(markdown):
    """What is left of Markdown without code: there, markup is interpreted."""
    lines, fence = [], None
    for line in markdown.splitlines():
        if fence is None and line.startswith("```"):
            fence = line.rstrip("abcdefghijklmnopqrstuvwxyz")
        elif fence is not None:
            fence = None if line == fence else fence
        else:
            lines.append(line)
    text, at, kept = "\n".join(lines), 0, []
    while at < len(text):
        if text[at] != "`":
            kept.append(text[at])
            at += 1
            continue
        size = len(text[at:]) - len(text[at:].lstrip("`"))
        end = at + size
        while True:  # CommonMark 6.1: closed by a run of the same length
            end = text.index("`" * size, end)
            run = len(text[end:]) - len(text[end:].lstrip("`"))
            if run == size:
                break
            end += run
        at = end + size
    return "".join(kept)


def everywhere(value):
    """A result with the value wherever the directory, or whoever fills it, has a say."""
    name = value or "x"
    path = "All/Staff/" + (name if name.strip() else "x").replace("\\", "\\\\").replace("/", "\\/")
    return result(
        msg=value,
        settings={"name": value},
        changed_groups=[
            group(
                path,
                "renamed",
                "members",
                previous_path=path + "2",
                members_added=[value],
                members_removed=[value] * 30,
                user_groups_added=[path],
            )
        ],
        affected_groups=[path + "3"],
        unchanged_groups=[path + "4/" + path[10:]],
        users={
            "created": [value],
            "renamed": [{"name": value, "previous_name": value}],
            "moved": [{"name": value, "home": path, "previous_home": path}],
        },
        collisions=[{"kind": "user", "name": value, "path": path, "dn": value, "reason": value}],
        unresolved_members=[{"user_group": path, "value": value, "reason": "does not exist"}],
        not_stored=[{"dn": value, "reason": value}],
        held={
            "everything": value,
            "users": [{"name": value, "would_be": "enabled", "reason": value}],
            "user_groups": [{"path": path, "reason": value}],
            "memberships": [{"user_group": path, "member": value, "reason": value}],
            "plan_digest": "",
        },
        refused=[{"limit": "users", "would_remove": 3, "of": 4, "option": "removal_limits.users"}],
        read={"server": value, "directory_type": "openldap", "entries": 1, "seconds": 0, "not_read": [value]},
    )


ELEMENTS = set(Page(as_html.html(everywhere("harmless"))).elements)


@pytest.mark.parametrize("value", NASTY, ids=repr)
def test_names_stay_names(value):
    text = as_html.html(everywhere(value))
    shown = Page(text)
    assert set(shown.elements) <= ELEMENTS and shown.elements.count("script") == 1
    assert f"<script>{_page.SEARCH_LISTS}</script>" in text
    assert f"script-src '{_page.hash_of(_page.SEARCH_LISTS)}'\"" in text
    assert not [name for name, _value in shown.attributes if name.startswith("on") or name in ("src", "href")]
    assert shown.text.count(" ".join(summary.printable(value).split())) >= 8
    assert "49" not in shown.text

    markdown = as_markdown.markdown(everywhere(value))
    assert summary.printable(value) in markdown
    assert set(in_code(markdown)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:()*#>-_\n…")
    assert "@" not in in_code(markdown) and "**bold" not in in_code(markdown)


def test_that_nothing_is_done_is_told_though_there_is_only_some_to_add():
    held = {"everything": "dc2 lags", "users": [], "user_groups": [], "memberships": [], "plan_digest": "x"}
    assert "dc2 lags" in as_markdown.markdown(result(held=held)) and "dc2 lags" in as_html.html(result(held=held))


def test_the_tree_shows_who_joined_and_left_where_it_happened():
    told = result(
        changed_groups=[
            group("All/Staff/Nurses", "members", members_added=["zoe"], members_removed=["kim"]),
            group("All/Staff/Wards/East", "created", user_groups_added=["All/Staff/Nurses"]),
            group("All/Staff/Physicians", "renamed", previous_path="All/Staff/Doctors"),
            group("All/Staff/a\\/b", "deleted"),
        ],
        affected_groups=["All/Staff"],
        unchanged_groups=["All/Staff/Wards"],
    )
    assert (
        as_markdown.markdown(told).partition("```diff\n")[2].partition("```")[0]
        == """\
  All
    Staff (affected)
-     a/b (deleted)
!     Nurses (members)
-       kim
+       zoe
!     Physicians (renamed, before All/Staff/Doctors)
      Wards
+       East (created)
+         All/Staff/Nurses
"""
    )
    text = Page(as_html.html(told)).text
    assert "Nurses members \u2212 kim + zoe Physicians renamed, before All/Staff/Doctors" in text
    for kind in ("created", "ended", "moved", "changed", "affected", "unchanged", "holder"):
        assert '<li class="%s">' % kind in as_html.html(told), kind


def test_counts_digests_refusals_and_what_was_cut():
    told = result(
        msg="removal_limits.users: the run would remove 3 of 4 users",
        report_truncated=True,
        refused=[
            {"limit": "users", "would_remove": 3, "of": 4, "option": "removal_limits.users", "about": None},
            {"limit": "memberships", "would_remove": 1, "of": 2, "option": "x", "about": "All/Staff"},
        ],
    )
    for text in (as_markdown.markdown(told), Page(as_html.html(told)).text):
        for expected in (
            "Refused. Nothing was changed.",
            "removal_limits.users: the run would remove 3 of 4 users",
            "users: 3 of 4, see removal_limits.users",
            "memberships in All/Staff: 1 of 2, see x",
            "7 added",
            "d" * 64,
            "e" * 64,
            "cut at report_limit",
        ):
            assert expected in text, expected
        assert "0 removed" not in text
    assert "Nothing to change." in as_markdown.markdown(result(changed=False))
    done = result(msg="memberships: 7 added")
    assert "> " not in as_markdown.markdown(done) and 'role="alert"' not in as_html.html(done), "it is no complaint"
    failed = {"msg": "login: refused", "failed": True}
    assert "Failed. Nothing was changed." in as_markdown.markdown(failed) and "login: refused" in as_html.html(failed)


def test_long_lists_are_cut_in_a_comment_and_folded_on_a_page():
    names = ["p%03d" % number for number in range(300)]
    told = result(
        changed_groups=[group("All/Staff/Nurses", "members", members_removed=names)], users={"disabled": names}
    )
    markdown = as_markdown.markdown(told)
    assert markdown.count("and 280 more") == 2 and "p019" in markdown and "p020" not in markdown
    text = as_html.html(told)
    assert text.count("<details") == 3 and "p299" in text and "<details open" not in text


def test_the_head_says_whether_it_was_done_when_where_and_what_to_approve():
    for more, words in (
        ({"dry_run": True}, "Dry run. These changes would be made:"),
        ({"dry_run": True, "changed": False}, "Dry run. Nothing to change."),
        ({"dry_run": False}, "Done. These changes were made:"),
        ({"dry_run": True, "refused": [{"limit": "users"}]}, "Refused. Nothing was changed. This is a dry run."),
    ):
        told = result(began="2026-11-30T04:00:01Z", **more)
        for text in (as_markdown.markdown(told), Page(as_html.html(told)).text):
            head = text[: text.index("in total")]
            assert words in head, words
        head = Page(as_html.html(told)).text.partition("in total")[0]
        for expected in ("When2026-11-30T04:00:01Z", "Serverdc1:636", "Digest of the plan" + "d" * 64):
            assert expected in head


def test_a_failure_before_the_read_has_a_name_if_anybody_knows_it():
    failed = {"msg": "login: refused", "failed": True}
    assert as_markdown.markdown(failed).startswith("## Synchronization\n")
    named = dict(failed, invocation={"module_args": {"name": "staff"}})
    assert as_markdown.markdown(named).startswith("## Synchronization `staff`\n")


def test_what_is_removed_comes_first():
    told = result(
        changed_groups=[
            group("All/Staff/A", "created", members_added=["zoe"]),
            group("All/Staff/B", "members", members_removed=["kim"]),
            group("All/Staff/C", "extinct"),
        ],
        users={"created": ["zoe"], "deleted": ["lea"], "disabled": ["max"]},
    )
    markdown = as_markdown.markdown(told)
    assert markdown.index("lea") < markdown.index("max") < markdown.index("zoe")
    text = Page(as_html.html(told)).text
    at = [text.index(each) for each in ("What is removed", "lea", "max", "All/Staff/C extinct", "All/Staff/B", "zoe")]
    assert at == sorted(at)


def test_every_cut_says_how_much_more_there_is():
    told = result(
        changed_groups=[group("All/A", "members", members_removed=["kim"], left_out={"members_removed": 4000})],
        users={"deleted": ["lea"], "created": []},
        collisions=[{"kind": "user", "name": "x", "path": "All", "dn": "", "reason": "y"}],
        report_truncated=True,
        report_left_out={
            "changed_groups": 5000,
            "changed_groups.members_removed": 4000,
            "users.deleted": 6000,
            "users.created": 7000,
            "collisions": 8000,
        },
    )
    for text in (as_markdown.markdown(told), Page(as_html.html(told)).text):
        for count in ("4,000", "5,000", "6,000", "7,000", "8,000"):
            assert "… and %s more" % count in text, count


THOUSAND = range(1000)
DEEP = "All" + "/u" * 1000
LARGE = {
    "user groups with long paths": {"changed_groups": [group("%s/%d" % (DEEP, at), "extinct") for at in THOUSAND]},
    "members": {
        "changed_groups": [group("All/%d" % at, "members", members_added=["\u00fc" * 64] * 10) for at in THOUSAND]
    },
    "names": {
        "users": {verb: ["x" * 256 for _at in THOUSAND] for verb in ("created", "deleted", "extinct", "enabled")}
    },
    "odd values": {"unresolved_members": [{"user_group": DEEP, "value": "`" * 999, "reason": "y"} for _at in THOUSAND]},
    "unchanged groups": {"changed": False, "unchanged_groups": ["All/%d" % at for at in range(5000)]},
}


@pytest.mark.on_one_python
@pytest.mark.parametrize("more", LARGE.values(), ids=LARGE)
def test_a_comment_on_a_merge_request_has_room_for_any_result(more):
    began = time.process_time()
    markdown = as_markdown.markdown(result(**more, refused=[{"limit": "x" * 5000}] * 1000, msg="y" * 100_000))
    assert len(markdown.encode()) <= 60_000 and "d" * 64 in markdown
    assert time.process_time() - began < 5


def test_nothing_to_change_is_said_on_a_screen():
    told = result(changed=False, unchanged_groups=["All/Staff/%d" % number for number in range(1000)])
    assert len(as_markdown.markdown(told).splitlines()) < 24


@pytest.mark.parametrize("filter", [summary_html.summary_html, summary_markdown.summary_markdown])
@pytest.mark.parametrize("given", [None, "text", [], {}, {"changed": True}])
def test_what_is_no_result(filter, given):
    with pytest.raises(AnsibleFilterError, match="this is no result of usersync.directory.user_synchronization"):
        filter(given)


# --- CSV -------------------------------------------------------------------------------------------------------------

USER = {
    "name": "ann;b",
    "home": "All/Staff",
    "enabled": True,
    "user_groups": ["All/a", "All/b"],
    "sid": None,
    "attributes": {"email": 'a"b', "badge": "0", "name": "no"},
    "local_attributes": {"badge": "7"},
}


def test_csv_has_the_columns_and_what_they_say():
    columns = {
        "Login; name": "name",
        "E-mail": "email",
        "Badge": "badge",
        "On": "enabled",
        "Groups": "user_groups",
        "SID": "sid",
        "None": "none",
    }
    text = to_csv.to_csv([USER], columns, delimiter=";")
    assert text.endswith("\r\n")
    assert list(csv.reader(io.StringIO(text), delimiter=";")) == [
        list(columns),
        ["ann;b", 'a"b', "7", "true", "All/a,All/b", "", ""],
    ]
    assert to_csv.to_csv([USER], {"x": "home"}, heading=False) == "All/Staff\r\n"


@pytest.mark.parametrize(
    "value, written",
    [
        ("=1+1", "'=1+1"),
        (" =1+1", " '=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("\uff1d1", "'\uff1d1"),
        ("\t=1", "\t'=1"),
        ("Ann\r\n=1", "Ann\r\n'=1"),
        ("Ann;=1,=2|=3", "Ann;'=1,'=2|'=3"),
        (';"=1', ";\"'=1"),
        ("+49 30 1234-5", "+49 30 1234-5"),
        (["+49 (0)30/1", "+50"], "+49 (0)30/1,+50"),
        (["Ann", "=1"], "Ann,'=1"),
        ("-7", "-7"),
        ("-", "-"),
        ("a=b@c-d+e", "a=b@c-d+e"),
        ("{{ 7 * 7 }}", "{{ 7 * 7 }}"),
    ],
    ids=repr,
)
def test_what_people_write_about_themselves_is_no_formula(value, written):
    user = {"name": "ann", "attributes": {"title": value}}
    for delimiter in ",;\t":
        table = list(csv.reader(io.StringIO(to_csv.to_csv([user], {"T": "title"}, delimiter)), delimiter=delimiter))
        assert table == [["T"], [written]]
    kept = to_csv.to_csv([user], {"T": "title"}, heading=False, formulas="keep")
    assert list(csv.reader(io.StringIO(kept))) == [[",".join(value) if isinstance(value, list) else value]]


def test_long_values_cost_no_more_than_their_length():
    started = time.process_time()
    for value in ("\n" * 10**6, " " * 10**6, "+1 " * 10**6, "\n+1" * 10**6, ' "' * 10**6):
        to_csv.to_csv([{"title": value}], {"T": "title"})
    assert time.process_time() - started < 20, "a square of that takes hours"


@pytest.mark.parametrize(
    "arguments, beginning",
    [
        (([USER], {"a": "b"}, ",", True, "no"), "to_csv: formulas"),
        (("text", {"a": "b"}), "to_csv: the input"),
        ((["text"], {"a": "b"}), "to_csv: the input"),
        (([USER], {}), "to_csv: columns"),
        (([USER], ["name"]), "to_csv: columns"),
        (([USER], {"a": "b"}, ""), "to_csv: delimiter"),
        (([USER], {"a": "b"}, "\n"), "to_csv: delimiter"),
    ],
)
def test_what_makes_no_csv(arguments, beginning):
    with pytest.raises(AnsibleFilterError, match=beginning):
        to_csv.to_csv(*arguments)


# --- Lines -----------------------------------------------------------------------------------------------------------


def test_a_text_becomes_one_harmless_line():
    escape = printable.FilterModule().filters()["printable"]
    assert (
        escape("Ann \u00c1rtemis, \u0905\u0928\u0940\u0924\u093e") == "Ann \u00c1rtemis, \u0905\u0928\u0940\u0924\u093e"
    )
    assert escape("a\nb\x1b[2J\x9b\u202e\u2028\x00") == r"a\nb\x1b[2J\x9b\u202e\u2028\x00"
    assert escape(None) == "None" and escape(7) == "7"


def provisioned(name="Staff", **more):
    """A result of scim_provisioning in which each list has something, with this name."""
    changed = {
        **group(None, "renamed", "members"),
        "name": name,
        "previous_name": "Team",
        "members_removed": [name],
        "left_out": {},
    }
    said = {"kind": "account", "name": name, "reason": "taken"}
    empty = dict.fromkeys(("created", "linked", "updated", "enabled", "disabled", "deleted"), [])
    return {
        "msg": "accounts: 1 created",
        "changed": True,
        "dry_run": False,
        "settings": {"name": "wiki"},
        "summary": {
            "accounts": {"created": 7, "total": 9},
            "groups": {"renamed": 1, "members": 1, "total": 1},
            "memberships": {"removed": 1, "total": 4},
        },
        "accounts": {**empty, "disabled": [name], "renamed": [{"name": name, "previous_name": "eve"}]},
        "changed_groups": [changed],
        "unchanged_groups": ["Night"],
        "collisions": [said],
        "not_provisioned": [said],
        "drift": [{"kind": "account", "name": name, "what": "state", "written": "enabled", "there": "disabled"}],
        "foreign": [{"kind": "account", "id": "1", "name": name, "member_of": None}],
        "report_left_out": {"accounts.disabled": 3},
        "report_truncated": True,
        **more,
    }


def test_a_provisioning_is_shown_too():
    for text in (as_html.html(provisioned()), as_markdown.markdown(provisioned())):
        for part in ("Provisioning", "wiki", "Staff", "Team", "Not provisioned", "Drift", "Foreign", "3 more"):
            assert part in text, part


@pytest.mark.parametrize("name", NASTY)
def test_names_in_a_provisioning_stay_names(name):
    page = as_html.html(provisioned(name))
    assert "<script>alert" not in page and "<img src" not in page and "<b>&gt;" not in page
    assert "\u202e" not in page and "\u202e" not in as_markdown.markdown(provisioned(name))


def happened(name="Staff", **more):
    """A result of user_group_changes in which each list has something, with this name."""
    entry = {"key": "k", "name": name, "previous_names": ["eve"], "enabled": True, "attributes": {}}
    inside = {**entry, "user_group": "All/Staff/Night"}
    return {
        "msg": "joined: 1",
        "changed": True,
        "dry_run": False,
        "settings": {"name": "wiki"},
        "summary": provisioned()["summary"],
        "joined": [{**inside, "is_new": True}],
        "left": [{**inside, "is_last": True}, {**inside, "name": "zed", "is_last": False}],
        "renamed": [{**entry, "previous_name": "eve"}],
        "enabled": [entry],
        "disabled": [{**entry, "name": "dan"}],
        "updated": [{**entry, "changed_attributes": ["email"]}],
        "changed_groups": [
            {
                "key": "g",
                "path": "All/Staff/Night",
                "previous_paths": ["All/Staff/Late"],
                "changes": ["renamed", "members"],
            }
        ],
        "refused": [],
        "plan_digest": "users+1-1:abc",
        **more,
    }


def test_changes_for_loops_are_shown_too():
    shown = summary.read(happened())
    assert shown["users"]["created"] == ["Staff"] and shown["users"]["deleted"] == ["Staff"]
    for text in (as_html.html(happened()), as_markdown.markdown(happened())):
        for part in ("Changes of user groups for", "This happened", "Night", "Late", "zed", "dan", "before eve"):
            assert part in text, part


@pytest.mark.parametrize("name", NASTY)
def test_names_in_changes_for_loops_stay_names(name):
    page = as_html.html(happened(name))
    assert "<script>alert" not in page and "<img src" not in page and "<b>&gt;" not in page
    assert "\u202e" not in page and "\u202e" not in as_markdown.markdown(happened(name))


def test_a_provisioning_of_which_a_part_was_refused_says_so():
    result = provisioned(failed=True, msg="url: the service did not change account 'ann' as asked")
    for text in (as_html.html(result), as_markdown.markdown(result)):
        assert "Done in part" in text and "did not change account" in text and "These changes were made" in text
