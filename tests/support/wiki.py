# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service of docs/examples/changes.yml: accounts and members, by HTTP or HTTPS."""

from __future__ import annotations

import contextlib
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from typing import Any

from .tls import KeyPair


class Wiki(http.server.ThreadingHTTPServer):
    """It fails once, at the request that a test chooses.

    :ivar accounts: key of a user -> what was put there.
    :ivar members: {(name of a group, key of a user)}, as a dictionary.
    """

    def __init__(self, token: str, certificate: KeyPair | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.token = token
        self.accounts: dict[Any, Any] = {}
        self.members: dict[Any, Any] = {}
        self.requests = self.fails_at = 0
        self.does_it_anyway = False
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.cert, certificate.key)
            self.socket = context.wrap_socket(self.socket, server_side=True)


class _Answering(http.server.BaseHTTPRequestHandler):
    server: Wiki

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests += 1
        self.send_response(self._done(body))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _done(self, body: bytes) -> int:
        wiki = self.server
        if self.headers["Authorization"] != "Bearer " + wiki.token:
            return 401
        fails = wiki.requests == wiki.fails_at
        if fails and not wiki.does_it_anyway:
            return 500
        _empty, kind, *names = self.path.removeprefix("/api").split("/")
        where, what = (wiki.accounts, names[0]) if kind == "accounts" else (wiki.members, (names[0], names[2]))
        if self.command == "DELETE":
            return 404 if where.pop(what, None) is None else 204
        where[what] = json.loads(body) if body else True
        return 500 if fails else 204

    do_PUT = do_DELETE = _answer

    def log_message(self, *_arguments: object) -> None:
        pass


@contextlib.contextmanager
def serving(token: str, certificate: KeyPair | None = None) -> Iterator[Wiki]:
    """A wiki that takes this token; with a certificate, by HTTPS."""
    with Wiki(token, certificate) as wiki:
        thread = threading.Thread(target=wiki.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield wiki
        finally:
            wiki.shutdown()
            thread.join()
