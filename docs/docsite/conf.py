# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of Sphinx for the documentation site: see `build`."""

from __future__ import annotations

project = "usersync.directory"
author = "usersync.directory contributors"
copyright = "2026 usersync.directory contributors"

extensions = ["myst_parser", "sphinx_antsibull_ext"]
root_doc = "docs/docsite/index"
exclude_patterns = ["collections/environment_variables.rst"]
nitpicky = True
highlight_language = "YAML+Jinja"

myst_heading_anchors = 3

# The test machines reach no other host. That links into the site and the repository hold, Sphinx itself checks.
linkcheck_ignore = ["https?://"]

html_theme = "furo"
html_title = "usersync.directory"
html_static_path: list[str] = []
html_show_copyright = False
