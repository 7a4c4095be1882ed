# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""How far a run is, for the action plugin that asks now and then.

The run answers on a Unix socket in Linux's abstract namespace (unix(7)): it has a name and no file, so nothing is left
whatever ends the run. Everybody on the host may ask who finds the name. The answer is a word and a count, never a name
of anybody. Whatever fails here is not told, and is no matter for the run.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

ENVIRONMENT = "USER_SYNCHRONIZATION_PROGRESS"  # the variable that has the name of the socket, if anybody wants to know
_NAME = re.compile("[0-9a-f]{32}")
_PAUSE = 0.1  # seconds between two answers: to ask all the time costs the run little

# What the run is doing -> what is counted. The action plugin says it in these words.
STEPS = {
    "connect": "connects to the directory",
    "read": "{:,} entries read",
    "compare": "{:,} entries read, compares them with the store",
    "write": "writes {:,} changes",
}


class Progress:
    """What a run is doing."""

    def __init__(self) -> None:
        self._step: tuple[str, Callable[[], int]] = ("connect", lambda: 0)

    def step(self, word: str, count: Callable[[], int]) -> None:
        """Note what is done from now on: one of STEPS, and how much of it is done, to be asked from another thread."""
        self._step = word, count

    def answer(self) -> str:
        """Return the word and the count."""
        word, count = self._step
        return "%s %d" % (word, count())


PROGRESS = Progress()  # of the run: a process has one


@contextlib.contextmanager
def answering(name: str | None) -> Iterator[None]:
    """Answer, as long as this is entered, whoever asks at the socket of this name; nobody without a fitting name."""
    listening = _listen(name) if name and _NAME.fullmatch(name) else None
    if listening is None:
        yield
        return
    threading.Thread(target=_answer, args=(listening,), daemon=True).start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)  # ends accept(), which close() does not
        listening.close()


def _listen(name: str) -> socket.socket | None:
    try:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError:
        return None
    try:
        listening.bind("\0" + name)
        listening.listen(1)
    except (OSError, ValueError):  # another system than Linux, or somebody took the name
        listening.close()
        return None
    return listening


def _answer(listening: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            asking, _address = listening.accept()
            with asking, contextlib.suppress(Exception):
                asking.settimeout(_PAUSE)
                asking.sendall(PROGRESS.answer().encode("ascii"))
            time.sleep(_PAUSE)
