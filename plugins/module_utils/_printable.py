# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The one printable form of all that goes to a terminal or a log.

The role installs this file beside its programs, so it imports nothing.
"""

from __future__ import annotations


def printable(text: object) -> str:
    r"""Return the text as one line that a terminal shows as it is. What it could obey is written as an escape sequence.

    That is every character that `str.isprintable` refuses: control characters (C0, and C1 such as U+009B), those that
    turn text around (U+202A to U+202E, U+2066 to U+2069), line and paragraph separators, and surrogates.
    Example: "ann\x1b[2J" comes out with a backslash, "x1b" and "[2J".
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in str(text)
    )


def printable_data(value: object) -> object:
    """Return a copy of plain data in which all texts are printable: of what JSON can hold, keys included."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): printable_data(each) for key, each in value.items()}
    if isinstance(value, list):
        return [printable_data(each) for each in value]
    return value
