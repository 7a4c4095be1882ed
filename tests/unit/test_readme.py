# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""README has what Red Hat's template for collections asks for, and the links of all pages lead to something."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.on_one_python

CHECKOUT = Path(__file__).resolve().parents[2]
README = CHECKOUT / "README.md"
PAGES = [*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md"), *CHECKOUT.glob("roles/*/README.md")]
OURS = "https://github.com/usersync/directory/blob/main/"


def links(page: Path) -> list[str]:
    """Where the page leads, code left out."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(page: Path) -> set[str]:
    """What a link may name behind ``#``: headings, as GitHub and the site write them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_sections_of_the_template_are_there_in_its_order():
    sections = re.findall(r"^## (.+)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert sections == [
        "Description",
        "Requirements",
        "Installation",
        "Use cases",
        "Testing",
        "Support",
        "Release notes and roadmap",
        "Related information",
        "License information",
    ]


def test_the_two_commands_are_seen_at_once():
    top = README.read_text(encoding="utf-8").partition("\n## ")[0]
    assert re.findall(r"^\$ (.*)$", top, re.MULTILINE) == ["./quickstart", "tests/run"]


def test_the_links_of_the_readme_are_absolute():
    """Galaxy and Automation Hub show it where nothing lies beside it."""
    assert [link for link in links(README) if not link.startswith("https://")] == []


def test_the_readme_has_nobody_install_ansible_by_pip():
    """Certification forbids it: on Automation Platform an execution environment brings ansible-core."""
    assert re.findall(r"pip install [^`\n]*\bansible.*", README.read_text(encoding="utf-8")) == []


def required(name: str) -> list[str]:
    """The packages that a file of requirements names."""
    lines = (CHECKOUT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_an_execution_environment_has_no_upper_bounds():
    """Certification forbids them: collections share it. Nor is ansible-core a requirement."""
    lines = required("meta/ee-requirements.txt")
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9]+(\[[a-z]+\])?>=[0-9.]+", line)] == []
    assert [line for line in lines if line.startswith("ansible")] == []


def test_an_execution_environment_has_all_that_any_option_needs():
    """Nobody adds a package there while a job runs. In requirements.txt what only some need is a comment."""
    text = (CHECKOUT / "requirements.txt").read_text(encoding="utf-8")
    wanted = re.findall(r"^(?:# )?([a-z0-9]+\S*>=[0-9.]+)(?:,<\S+)?$", text, re.MULTILINE)
    assert required("meta/ee-requirements.txt") == wanted


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_links_lead_to_something(page):
    broken = []
    for link in links(page):
        place, _mark, anchor = link.partition("#")
        if place.startswith(OURS):
            target = CHECKOUT / place[len(OURS) :]
        elif re.match(r"[a-z]+:", place):
            continue
        else:
            target = page.parent / place if place else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []
