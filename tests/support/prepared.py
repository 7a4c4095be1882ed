# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory that is a socket with prepared answers: for what no server does that is asked nicely.

The answers are LDAP messages, made of bytes here (RFC 4511): nothing of the collection's code takes part.
"""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.usersync.directory.plugins.module_utils._directory import wire

from . import messages
from .ber import element, string
from .messages import disconnection, message, with_control

__all__ = [
    "PreparedDirectory",
    "disconnection",
    "done",
    "entry",
    "intermediate",
    "message",
    "reference",
    "with_control",
]


def entry(dn: str, **attributes: Iterable[str | bytes]) -> bytes:
    """A SearchResultEntry (RFC 4511, 4.5.2).

    In the name of an attribute ``__0_1`` stands for ``;range=0-1``, and ``__2_all`` for ``;range=2-*``
    (MS-ADTS 3.1.1.3.1.3.3).
    """

    def written(name: str) -> str:
        return name.replace("__", ";range=").replace("_", "-").replace("-all", "-*")

    return messages.entry(dn, ((written(name), values) for name, values in attributes.items()))


def done(code: int = 0, cookie: str | bytes | None = None, text: str = "", referral: str | None = None) -> bytes:
    """A SearchResultDone (RFC 4511, 4.5.2).

    :param code: the result code.
    :param cookie: that of the paged results control; None leaves the control out.
    :param text: the diagnostic message.
    :param referral: a URL.
    """
    operation = messages.result(messages.SEARCH, code, text, [referral] if referral else [])
    return operation if cookie is None else messages.with_cookie(operation, cookie)


def reference(url: str) -> bytes:
    """A SearchResultReference (RFC 4511, 4.5.3)."""
    return messages.reference(url)


def intermediate(oid: str, value: bytes) -> bytes:
    """An IntermediateResponse (RFC 4511, 4.13)."""
    return element(0x79, string(oid, 0x80), string(value, 0x81))


class PreparedDirectory:
    """A connection whose server answers the n-th request with the n-th answer, then closes it.

    An answer is a list of operations, which get the message id of the request, or of whole messages. It stands both for
    what `connection.connect` returns and for the socket beneath.
    """

    def __init__(self, *answers: list[bytes]) -> None:
        self.answers, self.data = list(answers), b""
        self.requests: list[bytes] = []  # as they came
        self.page_size, self.entries, self.pages = 1000, 0, 0
        self.not_read: list[str] = []
        self.referred: dict[str, str] = {}
        self.unusable, self.account_option = "", "login"
        self.paged, self.unpaged = False, ""
        self.names: dict = {}
        self.root_dse: dict = {}
        self.types: list | None = None
        self.glued: dict | None = None
        self.asked = {"*"}
        self.channel = wire.Channel(self, 1)

    def settimeout(self, seconds: float) -> None:
        pass

    def sendall(self, data: bytes) -> None:
        message_id = 100 + len(self.requests)
        self.requests.append(data)
        if self.answers:
            self.data += b"".join(
                each if each[0] == 0x30 else message(message_id, each) for each in self.answers.pop(0)
            )

    def recv(self, size: int) -> bytes:
        piece, self.data = self.data[:size], self.data[size:]
        return piece
