# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE: for this collection only; may change in any release.
"""The one ancestor of what this collection raises for a person to read."""

from __future__ import annotations

from ._model import printable


class SynchronizationError(Exception):
    """Ends the run. Its text is one sentence for the reader: the option's name and what to do; never a secret.

    What a directory wrote into it cannot end its line, or speak to the terminal.
    """

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))


class Refused(SynchronizationError):
    """The run would do what a limit, or an approval, does not allow. ``result`` says what, as a dry run does."""

    def __init__(self, text: str, result: dict) -> None:
        super().__init__(text)
        self.result = result
