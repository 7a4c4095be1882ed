# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a result in a real browser, and the playbooks that have full names, against a real OpenLDAP server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import lab
from support.browser import Browser
from support.slapd import Slapd

CHECKOUT = Path(__file__).resolve().parents[2]

SCRIPT = "<script>document.title = 'taken'</script>"
MANY = ["p%02d" % number for number in range(30)]
COMPANY = "".join(
    [
        lab.ROOT,
        lab.unit("people"),
        *map(lab.person, MANY),
        lab.person("zoe", "mail: zoe@example.org"),
        lab.group("Nurses", *map(lab.dn_of, MANY)),
        lab.group("Doctors", lab.dn_of("p01"), "uid=nobody,%s" % lab.PEOPLE),
        lab.group("Everybody", "cn=Nurses,%s" % lab.PEOPLE),
        lab.group("Reception", lab.dn_of("p02")),
    ]
)
ESCAPED = "cn=\\<script\\>document.title \\= 'taken'\\</script\\>"
CHANGES = "".join(
    [
        "dn: cn=Nurses,%s\nchangetype: modify\nreplace: member\n" % lab.PEOPLE,
        "member: %s\nmember: %s\n\n" % (lab.dn_of("zoe"), lab.dn_of("p00")),
        lab.renamed("cn=Doctors,%s" % lab.PEOPLE, "cn=Physicians"),
        lab.group(SCRIPT, lab.dn_of("zoe")).replace("dn: cn=" + SCRIPT, "dn: " + ESCAPED),
    ]
)


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """The result of a run that is refused: most nurses leave, a group with a nasty name comes, one is renamed."""
    with Slapd(ldif=COMPANY) as server:
        laboratory = lab.Lab(server, tmp_path_factory.mktemp("refused") / "users.db")
        laboratory.run(group_structure="both")
        server.modify(CHANGES)
        _message, result = laboratory.refused(group_structure="both")
        return dict(result, msg=_message)


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(refused, tmp_path_factory):
    from ansible_collections.usersync.directory.plugins.plugin_utils import as_html

    path = tmp_path_factory.mktemp("page") / "summary.html"
    path.write_text(as_html.html(refused), encoding="utf-8")
    return path


COLOURS = """
    const seen = {};
    for (const name of document.querySelectorAll('.tree .name')) {
        const style = getComputedStyle(name);
        seen[name.parentElement.className] = [style.color, style.backgroundColor];
    }
    seen.page = [getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor];
    return seen;
"""


def luminance(colour):
    """Relative luminance (WCAG 2.2)."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_is_readable(browser, page, width, dark, tmp_path):
    browser.open(page, width=width, dark=dark)
    assert browser.run("return document.documentElement.scrollWidth") <= width, "nothing sticks out"
    assert browser.run("return document.title") == "Synchronization staff", "no script of a name has run"
    assert browser.run("return document.scripts.length") == 1, "that of the search"
    assert browser.run("return parseFloat(getComputedStyle(document.body).fontSize)") >= 16
    colours = browser.run(COLOURS)
    paper = colours["page"][1]
    assert (luminance(paper) < 0.1) == dark
    assert {"created", "moved", "changed", "affected", "unchanged"} <= set(colours)
    for kind, (ink, background) in colours.items():
        on = paper if background == "rgba(0, 0, 0, 0)" else background
        assert contrast(ink, on) >= 4.5, (kind, ink, on)
    assert len({colours[kind][0] for kind in ("created", "moved", "changed", "unchanged")}) == 4
    picture = tmp_path / "page.png"
    browser.picture(picture)
    assert picture.stat().st_size > 20_000
    print(picture)


def test_the_page_says_what_the_result_says(browser, page, refused):
    browser.open(page, width=1200)
    text = browser.run("return document.body.innerText")
    for expected in (
        "Refused. Nothing was changed.",
        refused["msg"],
        refused["plan_digest"],
        refused["removals_digest"],
        "zoe",
        SCRIPT,
        "uid=nobody,%s" % lab.PEOPLE,
        "does not exist or cannot be read",
        "before All/Staff/example/people/Doctors",
        "\u2212 29 members",
    ):
        assert expected in text, expected
    assert "p29" not in text, "a long list is folded"
    browser.run("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert "p29" in browser.run("return document.body.innerText")


SEARCH = """
    const box = document.getElementById('search'), done = arguments[arguments.length - 1];
    box.value = %s;
    box.dispatchEvent(new Event('input'));
    const began = performance.now();
    const shown = () => Array.from(document.querySelectorAll('.tree li')).filter(each => each.offsetParent);
    return new Promise(resolve => setTimeout(() => resolve({
        found: document.getElementById('found').textContent,
        shown: shown().map(each => each.querySelector('.name').textContent),
        box: getComputedStyle(box.closest('.search')).display,
        milliseconds: performance.now() - began,
    }), 1000));
"""


def test_five_thousand_user_groups_can_be_searched(browser, refused, tmp_path):
    from ansible_collections.usersync.directory.plugins.plugin_utils import as_html

    groups = ["All/Staff/Unit %02d/Group %04d" % (number // 100, number) for number in range(5000)]
    large = tmp_path / "large.html"
    large.write_text(as_html.html(dict(refused, unchanged_groups=groups)), encoding="utf-8")
    browser.open(large, width=1200)
    assert len(browser.run("return document.querySelectorAll('.tree li:not([hidden])')")) > 5000
    found = browser.run(SEARCH % "'group 4321'")
    assert found["found"] == "1 found" and found["box"] == "block"
    assert found["shown"] == ["All", "Staff", "Unit 43", "Group 4321"], "with what it lies in"
    assert found["milliseconds"] < 3000
    assert browser.run(SEARCH % "'p29'")["shown"][-1] == "Nurses", "a member who leaves"
    assert browser.run(SEARCH % "'nobody has this'")["shown"] == []
    assert len(browser.run(SEARCH % "''")["shown"]) > 5000


# --- playbooks that have full names ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def company():
    with Slapd(ldif=COMPANY) as server:
        yield server


@pytest.fixture
def options(company, tmp_path):
    return {
        **lab.over_tls(company, tmp_path / "users.db", distinguished_name=lab.PEOPLE),
        "password": "{{ vault_password }}",
    }


@pytest.fixture
def play(company, options, tmp_path, run_playbook):
    """Run a playbook of the collection by its full name."""
    variables = tmp_path / "variables.json"

    def run(name, *arguments, **more):
        variables.write_text(
            json.dumps({"user_synchronization_options": options, "vault_password": company.password, **more})
        )
        return run_playbook(name, "-e", "@%s" % variables, *arguments)

    return run


def full_name(playbook):
    return "usersync.directory." + playbook


@pytest.mark.versions
def test_browse(play, company, tmp_path):
    company.modify(lab.unit("turned \u202e around"))
    playbook = tmp_path / "browse.json"
    wanted = (
        {"browse_depth": 1},
        {"browse_distinguished_name": lab.BASE, "browse_depth": 2},
        {"browse_search": "nurs*"},
        {"browse_search": "nobody has this name"},
    )
    plays = [{"ansible.builtin.import_playbook": full_name("browse"), "vars": more} for more in wanted]
    playbook.write_text(json.dumps(plays))
    run = play(str(playbook))
    assert run.rc == 0, run.output
    top, tree, found, nothing = run.output.split("PLAY [Browse a directory]")[1:]
    assert r"turned \\u202e around (organizational_unit)" in top and "\u202e" not in run.output
    assert '"people (organizational_unit, more below)  ou=people,dc=example,dc=org"' in top
    assert '"    Nurses (group)  cn=Nurses,ou=people,dc=example,dc=org"' in tree, tree
    assert '"Nurses (group)  cn=Nurses,ou=people,dc=example,dc=org"' in found
    assert "people (organizational_unit" not in found
    assert '"Nothing is there that can be selected: no user, group or container. ' in nothing
    assert run.output.count("Nothing is there") == 1
    assert "[WARNING]" not in run.output and company.password not in run.output


@pytest.mark.versions
@pytest.mark.parametrize("name", ["browse", "dry_run", "synchronize", "report"])
def test_a_playbook_without_its_file_of_variables_says_so(run_playbook, name):
    run = run_playbook(full_name(name))
    missing = "report_dest: it is" if name == "report" else "user_synchronization_options: they are"
    assert run.rc != 0 and missing + " missing: " in run.output, run.output


def digest_in(output):
    return re.search(r"Digest of the plan: `([^`]+)`", output).group(1)


@pytest.mark.versions
def test_dry_run_and_synchronize(play, tmp_path):
    store = tmp_path / "users.db"
    dry = play(full_name("dry_run"))
    assert dry.rc == 0 and not store.exists(), dry.output
    for line in ('"+     Nurses (created, members)"', '"+       p00"', "Users: 31 created", "does not exist or cannot"):
        assert line in dry.output, line
    real = play(full_name("synchronize"))
    assert real.rc == 0 and digest_in(dry.output) in real.output and store.exists(), real.output


FIND = """
    const box = document.getElementById('search');
    box.value = 'p07';
    box.dispatchEvent(new Event('input'));
    return new Promise(resolve => setTimeout(() => resolve([
        document.getElementById('found').textContent, document.querySelector('#hits li').innerText]), 1000));
"""


@pytest.mark.versions
def test_a_page_of_the_store(play, run_module, options, company, browser, tmp_path):
    """By the playbook, and by its task, usersync.directory.store_report."""
    page = tmp_path / "page.html"
    before = play(full_name("report"), report_dest=str(page))
    assert before.rc != 0 and "store: there is no file" in before.output and not page.exists()
    run_module("user_synchronization", dict(options, password=company.password))
    dry = play(full_name("report"), "--check", report_dest=str(page))
    assert dry.rc == 0 and dry.results[0]["changed"] and not page.exists(), dry.output
    made = play(full_name("report"), report_dest=str(page))
    assert made.rc == 0 and made.results[0]["changed"], made.output
    assert page.stat().st_mode & 0o777 == 0o600 and page.stat().st_size == made.results[0]["size"]
    again = run_module("store_report", {"store": options["store"], "dest": str(page)})
    assert not again["changed"], "the same store makes the same page"
    page.chmod(0o644)
    assert run_module("store_report", {"store": options["store"], "dest": str(page)})["changed"]
    assert page.stat().st_mode & 0o777 == 0o600 and [each.name for each in tmp_path.glob(".page*")] == []
    for dest, said in ((tmp_path, "is a directory"), (tmp_path / "no" / "page", "there is no directory")):
        failed = run_module.run("store_report", {"store": options["store"], "dest": str(dest)}).result
        assert failed["failed"] and said in failed["msg"]
    for width in (390, 1280):
        browser.open(page, width=width)
        assert browser.run("return document.documentElement.scrollWidth") <= width, "nothing sticks out"
    found, first = browser.run(FIND)
    assert found == "1 users, 0 user groups" and first.startswith("p07") and "All/Staff/Nurses" in first


def test_a_playbook_that_is_refused_and_then_approved(play, run_module, options, tmp_path):
    with Slapd(ldif=COMPANY) as company:
        options.update(lab.over_tls(company, tmp_path / "users.db"))
        run_module("user_synchronization", options)
        assert "Nothing to change." in play(full_name("synchronize")).output
        company.modify(CHANGES)
        for name in ("dry_run", "synchronize"):
            refused = play(full_name(name))
            assert refused.rc != 0 and "Refused. Nothing was changed." in refused.output, refused.output
            assert "removal_limits" in refused.output and '"-       p29"' not in refused.output
        digest = digest_in(refused.output)
        approved = play(full_name("synchronize"), user_synchronization_approved_plan=digest)
        assert approved.rc == 0 and "Users: 1 created" not in approved.output, approved.output
        assert "[WARNING]" not in approved.output and company.password not in approved.output


def test_a_playbook_that_fails(play):
    nowhere = {"name": "staff", "server": ["127.0.0.1:1"], "login": "EXAMPLE\\ADMIN", "password": "Unused-5-lantern"}
    failed = play(full_name("dry_run"), user_synchronization_options=nowhere)
    assert failed.rc != 0 and "Failed. Nothing was changed." in failed.output, failed.output
    assert "server: 127.0.0.1:1 cannot be used" in failed.output and "Traceback" not in failed.output


def test_the_playbooks_are_found_where_they_are_installed(collections_path):
    names = sorted(path.stem for path in (CHECKOUT / "playbooks").glob("*.yml"))
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "--syntax-check",
            "-i",
            "localhost,",
            *map(full_name, names),
        ],
        env={"ANSIBLE_COLLECTIONS_PATH": str(collections_path), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\nplaybook: ") == len(names) > 2, done.stdout
