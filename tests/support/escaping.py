# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values as they are written in DNs."""

from __future__ import annotations

import re


def escape_dn_value(value: str) -> str:
    """A value as RFC 4514, 2.4 writes it in a DN."""
    escaped = re.sub(r'([",+;<>\\])', r"\\\1", value).replace("\0", "\\00")
    if escaped.startswith(("#", " ")):
        escaped = "\\" + escaped
    if escaped.endswith(" ") and value != " ":
        escaped = escaped[:-1] + "\\ "
    return escaped
