# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to a PostgreSQL server, which can be cut at any moment."""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from .postgresql import PostgreSQL
from .process import ClosedAtExit

BEFORE, AFTER = "before", "after"  # it reaches the server


class Proxy(ClosedAtExit):
    """Hands on what is sent to a server, and what it answers, as a context manager.

    The first connection is watched: what is sent is counted in pieces, each of which ends with a message that the
    server acts on. ``happens`` is called with the number of the piece and BEFORE or AFTER it is handed on; if it
    returns true, both ends are closed. All later connections are left in peace.
    """

    def __init__(self, server: PostgreSQL, happens: Callable[[int, str], bool]) -> None:
        self._server, self._happens = server, happens
        self._folder = Path(tempfile.mkdtemp(prefix="proxy-"))
        self._socket = socket.socket(socket.AF_UNIX)
        self.pieces = 0

    @property
    def uri(self) -> str:
        """As that of the server."""
        return f"postgresql://postgres@/postgres?host={self._folder}&port={self._server.port}"

    def start(self) -> None:
        """Listen."""
        self._socket.bind(str(self._folder / f".s.PGSQL.{self._server.port}"))
        self._socket.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self) -> None:
        is_watched = True
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._socket.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(str(self._server.socket / f".s.PGSQL.{self._server.port}"))
                except OSError:  # it is down
                    client.close()
                    continue
                there = self._watch if is_watched else _hand_on
                threading.Thread(target=there, args=(client, server), daemon=True).start()
                threading.Thread(target=_hand_on, args=(server, client), daemon=True).start()
                is_watched = False

    def _watch(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for piece in _pieces(client):
                self.pieces += 1
                if self._happens(self.pieces, BEFORE):
                    break
                server.sendall(piece)
                if self._happens(self.pieces, AFTER):
                    break
        _cut(client, server)


# Query, Sync, CopyDone and Terminate: https://www.postgresql.org/docs/current/protocol-message-formats.html
_ACTED_ON = b"QScX"


def _pieces(client: socket.socket) -> Iterator[bytes]:
    """What is sent, in the same pieces however it comes in: what is sent at once may come as one or as two."""
    with client.makefile("rb") as sent:
        kind, piece = b"", b""  # the first message has no type
        while True:
            length = sent.read(4)
            if len(length) < 4:
                return
            piece += kind + length + sent.read(int.from_bytes(length, "big") - 4)
            if not kind or kind in _ACTED_ON:
                yield piece
                piece = b""
            kind = sent.read(1)
            if not kind:
                return


def _hand_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            piece = source.recv(65536)
            if not piece:
                break
            target.sendall(piece)
    _cut(source, target)


def _cut(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.shutdown(socket.SHUT_RDWR)
