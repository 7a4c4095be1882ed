# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""``srv:DOMAIN``: the servers of a domain, as DNS names them (RFC 2782)."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

from .addresses import GLOBAL_CATALOG, WHY_NOT_GLOBAL_CATALOG, ServerAddress
from .attempt import Deadline, NextServer, missing_library

_SRV_PORTS_WITH_TLS = {389: 636, 3268: 3269}  # MS-ADTS 6.3.6.1: the records name the ports without TLS


def look_up(domain: str, settings: Any, deadline: Deadline, warn: Callable[[str], None]) -> list[ServerAddress]:
    """The servers in a domain's SRV records, by priority, and at random by weight within one (RFC 2782).

    Nobody has signed the answer, so a name in it proves nothing (RFC 7525, 6.1). A target is taken if
    it lies in the domain that was asked for, as dc1.corp.example in corp.example. Another one is taken only if the
    certificate must be for `tls_server_name`, which the answer cannot change.
    """
    try:
        import dns.exception
        import dns.name
        import dns.resolver
    except ImportError:
        raise missing_library("server", "srv:%s" % domain, "dnspython") from None
    try:
        asked = dns.name.from_text(domain)  # its ASCII form, if it is an internationalized one (RFC 5891)
        records = list(dns.resolver.resolve("_ldap._tcp.%s" % domain, "SRV", lifetime=deadline.left()))
    except dns.exception.DNSException as error:
        raise NextServer(
            "server: srv:%s is not found in DNS (%s): correct the domain, or name its servers" % (domain, error)
        ) from None
    records = [record for record in records if record.target.to_text() != "."]  # "." means: not offered
    if not records:
        raise NextServer("server: srv:%s offers no LDAP, as DNS says: name its servers" % domain)
    if not settings.use_ldap:
        records = _without_global_catalog(domain, records)
    certified = settings.tls_server_name and settings.validate_certs and settings.encryption != "none"
    usable = [
        record
        for record in records
        if _SRV_TARGET.fullmatch(_target(record)) and (certified or record.target.is_subdomain(asked))
    ]
    if len(usable) < len(records):
        _refuse_targets(domain, [record for record in records if record not in usable], settings, usable, warn)
    # Drawing by weight without replacement: the largest of random ** (1 / weight) comes first.
    usable.sort(key=lambda record: (record.priority, -(random.random() ** (1 / (record.weight or 0.01)))))
    scheme = "ldaps" if settings.encryption == "ldaps" else "ldap"
    return [
        ServerAddress(
            scheme,
            _target(record),
            _SRV_PORTS_WITH_TLS.get(record.port, record.port) if scheme == "ldaps" else record.port,
        )
        for record in usable
    ]


def _without_global_catalog(domain: str, records: list[Any]) -> list[Any]:
    whole = [record for record in records if record.port not in GLOBAL_CATALOG]
    if not whole:
        raise NextServer(
            "server: srv:%s leads to the Global Catalog alone ('%s:%d'), %s: name a domain controller itself"
            % (domain, _target(records[0]), records[0].port, WHY_NOT_GLOBAL_CATALOG)
        )
    return whole


_SRV_TARGET = re.compile(r"[A-Za-z0-9_.-]+")  # dnspython writes any other octet with a backslash
_TARGETS_SHOWN = 5


def _target(record: Any) -> str:
    name: str = record.target.to_text(omit_final_dot=True)
    return name


def _refuse_targets(
    domain: str, refused: list[Any], settings: Any, usable: list[Any], warn: Callable[[str], None]
) -> None:
    """Say which names in the answer are not used; an error, if there are no others."""
    names = ", ".join("'%s'" % _target(record) for record in refused[:_TARGETS_SHOWN])
    more = ", ..." if len(refused) > _TARGETS_SHOWN else ""
    other_way = "" if settings.encryption == "none" else ", or give in tls_server_name what its certificate is for"
    text = (
        "server: srv:%s leads to %s%s, which does not lie in that domain and is not used, since DNS answers can be "
        "forged: name the server itself%s" % (domain, names, more, other_way)
    )
    if not usable:
        raise NextServer(text)
    warn(text)
