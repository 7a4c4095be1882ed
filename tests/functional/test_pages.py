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
    from ansible_collections.usersync.directory.plugins.plugin_utils import summary

    path = tmp_path_factory.mktemp("page") / "summary.html"
    path.write_text(summary.html(refused), encoding="utf-8")
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
    assert browser.run("return document.scripts.length") == 0
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


# --- playbooks that have full names ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def company():
    with Slapd(ldif=COMPANY) as server:
        yield server


@pytest.fixture
def play(company, collections_path, tmp_path, run_playbook):
    """Run a playbook of the collection by its full name."""
    options = {
        "name": "staff",
        "user_group": "All/Staff",
        "server": [company.ldaps_url],
        "ca_path": str(company.ca.cert),
        "use_ldap": True,
        "login": company.admin_dn,
        "password": "{{ vault_password }}",
        "distinguished_name": lab.PEOPLE,
        "store": str(tmp_path / "users.db"),
    }
    variables = tmp_path / "variables.json"

    def run(name, *arguments, **more):
        variables.write_text(
            json.dumps({"user_synchronization_options": options, "vault_password": company.password, **more})
        )
        return run_playbook("usersync.directory.%s" % name, "-e", "@%s" % variables, *arguments)

    return run


@pytest.mark.versions
def test_browse(play, company):
    company.modify(lab.unit("turned \u202e around"))
    run = play("browse", browse_depth=1)
    assert run.rc == 0, run.output
    assert r"turned \\u202e around (organizational_unit)" in run.output and "\u202e" not in run.output
    assert '"people (organizational_unit, more below)  ou=people,dc=example,dc=org"' in run.output
    run = play("browse", browse_distinguished_name=lab.BASE, browse_depth=2)
    assert '"    Nurses (group)  cn=Nurses,ou=people,dc=example,dc=org"' in run.output, run.output
    run = play("browse", browse_search="nurs*")
    assert '"Nurses (group)  cn=Nurses,ou=people,dc=example,dc=org"' in run.output
    assert "people (organizational_unit" not in run.output
    assert "[WARNING]" not in run.output and company.password not in run.output


@pytest.mark.versions
def test_dry_run_and_synchronize(play, company, tmp_path):
    store = tmp_path / "users.db"
    dry = play("dry_run")
    assert dry.rc == 0 and not store.exists(), dry.output
    digest = re.search(r"Digest of the plan: `([^`]+)`", dry.output).group(1)
    for line in ('"+     Nurses (created, members)"', '"+       p00"', "Users: 31 created", "does not exist or cannot"):
        assert line in dry.output, line
    real = play("synchronize")
    assert real.rc == 0 and digest in real.output and store.exists(), real.output
    assert "Nothing to change." in play("synchronize").output
    company.modify(CHANGES)
    for name in ("dry_run", "synchronize"):
        refused = play(name)
        assert refused.rc != 0 and "Refused. Nothing was changed." in refused.output, refused.output
        assert "removal_limits" in refused.output and '"-       p29"' not in refused.output
    digest = re.search(r"Digest of the plan: `([^`]+)`", refused.output).group(1)
    approved = play("synchronize", user_synchronization_approved_plan=digest)
    assert approved.rc == 0 and "Users: 1 created" not in approved.output, approved.output
    assert "[WARNING]" not in approved.output and company.password not in approved.output
    nowhere = {"name": "staff", "server": ["127.0.0.1:1"], "login": "EXAMPLE\\ADMIN", "password": "Unused-5-lantern"}
    failed = play("dry_run", user_synchronization_options=nowhere)
    assert failed.rc != 0 and "Failed. Nothing was changed." in failed.output, failed.output
    assert "server: 127.0.0.1:1 cannot be used" in failed.output and "Traceback" not in failed.output


def test_the_playbooks_are_found_where_they_are_installed(collections_path):
    for name in sorted(path.stem for path in (CHECKOUT / "playbooks").glob("*.yml")):
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                "--syntax-check",
                "-i",
                "localhost,",
                "usersync.directory." + name,
            ],
            env={"ANSIBLE_COLLECTIONS_PATH": str(collections_path), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
