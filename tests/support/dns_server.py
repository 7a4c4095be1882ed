# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A DNS server for SRV records, over UDP on the loopback interface; dnspython reads and builds the messages."""

from __future__ import annotations

import socket
import threading

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset

from .process import ClosedAtExit


class DnsServer(ClosedAtExit):
    """Answers for the names that it is given, and says of all others that they do not exist.

    :param records: name -> SRV records as text, 'priority weight port target'; None: no answer at all.
    """

    def __init__(self, records: dict[str, list[str] | None]) -> None:
        self.records = {name.rstrip(".").lower(): values for name, values in records.items()}
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join(5)
        self._socket.close()

    def resolver(self) -> dns.resolver.Resolver:
        """A resolver that asks only this server; for `dns.resolver.default_resolver`."""
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], self._socket.getsockname()[1]
        return resolver

    def _serve(self) -> None:
        while not self._stopped.is_set():
            try:
                data, client = self._socket.recvfrom(4096)
            except socket.timeout:
                continue
            query = dns.message.from_wire(data)
            name = query.question[0].name.to_text(omit_final_dot=True).lower()
            self.asked.append(name)
            values = self.records.get(name, [])
            if values is None:
                continue
            answer = dns.message.make_response(query)
            answer.flags |= dns.flags.AA
            if values:
                answer.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "SRV", *values))
            elif name not in self.records:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            self._socket.sendto(answer.to_wire(), client)
