# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE: for this collection only; may change in any release.
"""The one ancestor of what this collection raises for a person to read."""

from __future__ import annotations

from typing import Any

from ._printable import printable

_LONGEST_QUOTE = 1000  # characters
_LONGEST_SENTENCE, _LONGEST_END = 6000, 1000


def quoted(text: str) -> str:
    """Return what a server said as a message may quote it: its first thousand characters."""
    return text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "..."


def sentence(text: str) -> str:
    """Return a message for a person: what a directory wrote into it cannot end its line, or speak to the terminal.

    Of a message that is too long for a person the middle is left out. Its end says what to do.
    """
    return _without_middle(printable(_without_middle(text)))


def _without_middle(text: str) -> str:
    if len(text) <= _LONGEST_SENTENCE:
        return text
    return "%s [...] %s" % (text[: _LONGEST_SENTENCE - _LONGEST_END], text[-_LONGEST_END:])


class SynchronizationError(Exception):
    """Ends the run. Its text is one `sentence` for the reader: the option's name and what to do; never a secret."""

    def __init__(self, text: str) -> None:
        super().__init__(sentence(text))


class Failed(SynchronizationError):
    """The run has a result, and is no success. ``result`` is as in a success, and ``msg`` in it says why."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(result["msg"])
        self.result = result


class Refused(Failed):
    """The run would do what a limit, or an approval, does not allow. ``result`` says what, as a dry run does."""
