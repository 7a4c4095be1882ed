# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of Sphinx for the documentation site: see `build`."""

from __future__ import annotations

import re
from typing import Any

project = "usersync.directory"
author = "usersync.directory contributors"
copyright = "2026 usersync.directory contributors"

extensions = ["myst_parser", "sphinx_antsibull_ext"]
root_doc = "index"
exclude_patterns = ["collections/environment_variables.rst", "docs/docsite/index.md"]
nitpicky = True
highlight_language = "YAML+Jinja"

myst_heading_anchors = 3

# The test machines reach no other host. That links into the site and the repository hold, Sphinx itself checks.
linkcheck_ignore = ["https?://"]

html_theme = "furo"
html_title = "usersync.directory"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_copyright = False


def setup(app: Any) -> None:
    """Called by Sphinx: leave out the tables of contents that antsibull-docs writes. Furo has one beside each page."""
    app.connect("source-read", _without_contents)


def _without_contents(dummy_app: Any, name: str, source: list[str]) -> None:
    if name.startswith("collections/"):
        source[0] = re.sub(r"^\.\. contents::\n(?:[ \t]+\S.*\n)*", "", source[0], flags=re.MULTILINE)
