# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the documentation site in a browser, as wide as a desktop and as wide as a phone.

    python -m support.site DIRECTORY    the site's files; its server is on loopback, and ends with the program

It complains of pages with error boxes, broken images, no title or no heading, and of pages that stick out to the side;
and of a search that finds nothing, and a start page that does not lead anywhere.
"""

from __future__ import annotations

import functools
import http.server
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from .browser import Browser

WIDTHS = (1280, 390)  # CSS pixels
# What the start page has to offer.
LEADS = ("What it does in one picture", "Install", "First run", "By task")

_LOOK = r"""
    const wrong = [];
    for (const box of document.querySelectorAll('.error, .system-message, .problematic'))
        wrong.push('an error box: ' + box.textContent.trim().slice(0, 100));
    if ((document.querySelector('article') || document.body).textContent.includes('ERROR:'))
        wrong.push('an error');
    // The theme says some in its style sheet only.
    for (const each of document.body.querySelectorAll('*'))
        if (getComputedStyle(each, '::before').content.includes('ERROR'))
            wrong.push('an error box of the theme: ' + each.tagName + ' ' + each.className);
    for (const image of document.images)
        if (!image.complete || !image.naturalWidth) wrong.push('a broken image: ' + image.getAttribute('src'));
    if (document.documentElement.scrollWidth > WIDTH)
        wrong.push('it sticks out: ' + document.documentElement.scrollWidth + ' of ' + WIDTH);
    if (!document.title.trim() || document.title.startsWith('<')) wrong.push('no title');
    const isMade = /(search|genindex)\.html/.test(location.pathname);
    if (document.querySelectorAll('h1').length != 1 && !isMade) wrong.push('not one heading at the top');
    return wrong;
"""


def complaints(site: Path, browser: Browser, url: str) -> Iterator[str]:
    """What is wrong with the site that is served at the URL."""
    pages = sorted(str(path.relative_to(site)) for path in site.rglob("*.html") if "_static" not in path.parts)
    if "index.html" not in pages:
        yield "index.html: there is none at the top"
    for page in pages:
        browser.open(url + page, width=min(WIDTHS))
        for width in sorted(WIDTHS):
            browser.resize(width)
            yield from (
                f"{page} at {width} pixels: {wrong}" for wrong in browser.run(_LOOK.replace("WIDTH", str(width)))
            )
    browser.open(url + "index.html", width=WIDTHS[0])
    text = browser.run("return document.body.innerText")
    yield from (f"index.html: no '{lead}'" for lead in LEADS if lead not in text)
    for wanted in ("removal_limits", "collision", "approved"):
        if not _finds(browser, url + "search.html?q=" + wanted):
            yield f"search.html: nothing is found for '{wanted}'"


def _finds(browser: Browser, url: str) -> bool:
    """Whether a search comes to results. It loads its index first."""
    browser.open(url, width=WIDTHS[0])
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if browser.run("return document.querySelectorAll('#search-results li a').length"):
            return True
        time.sleep(0.1)
    return False


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *dummy: object) -> None:
        pass


def main(site: Path) -> int:
    """Look at the site; return 1 if something is wrong with it."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Browser() as browser:
            found = list(complaints(site, browser, "http://127.0.0.1:%d/" % server.server_address[1]))
        server.shutdown()
    print("\n".join(found) or "The site is fine.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
