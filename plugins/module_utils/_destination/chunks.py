# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""A body that comes in chunks (RFC 9112, 7.1), read with a bound.

Python's http.client takes a chunk of the size -1, and reads without end then.
"""

from __future__ import annotations

import http.client
import re
from typing import BinaryIO

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r?\n")
_ENDS = (b"\r\n", b"\n")
_LONGEST_LINE = 4096  # bytes
_TRAILERS_AT_MOST = 100


class NotChunked(http.client.HTTPException):
    """What came is no such body. Its text says what is wrong."""


def read(file: BinaryIO, most: int) -> bytes:
    """Return the body, and no more than one byte above ``most`` of it.

    Raises OSError, NotChunked, and IncompleteRead if it is cut off.
    """
    body = bytearray()
    while len(body) <= most:
        line = file.readline(_LONGEST_LINE)
        size = _SIZE.fullmatch(line)
        if not line:
            raise http.client.IncompleteRead(bytes(body))
        if size is None:
            raise NotChunked("the size of a chunk is none")
        length = int(size[1], 16)
        if not length:
            _pass_trailers(file)
            return bytes(body)
        part = file.read(min(length, most + 1 - len(body)))
        body += part
        if len(body) > most:
            break
        if len(part) < length:
            raise http.client.IncompleteRead(bytes(body))
        if file.readline(2) not in _ENDS:
            raise NotChunked("a chunk is longer than its size")
    return bytes(body)


def _pass_trailers(file: BinaryIO) -> None:
    for _number in range(_TRAILERS_AT_MOST):
        if file.readline(_LONGEST_LINE) in (b"", *_ENDS):
            return
    raise NotChunked("there is no end to what follows the last chunk")
