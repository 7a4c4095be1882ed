# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What the option ``server`` names: hosts, URLs, sockets, and domains whose servers are in DNS."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import unquote

_PORTS = {"ldap": 389, "ldaps": 636}


class ServerAddress:
    """One server, or with scheme 'srv' a domain whose DNS names servers."""

    def __init__(self, scheme: str, host: str, port: int) -> None:
        self.scheme = scheme  # 'ldap', 'ldaps', 'ldapi' or 'srv'
        self.host = host  # for 'ldapi' the path of the socket, for 'srv' the domain
        self.port = port  # 0 for 'ldapi' and 'srv'

    def __str__(self) -> str:
        if not self.port:
            return "%s:%s%s" % (self.scheme, "//" if self.scheme == "ldapi" else "", self.host)
        return "%s:%d" % ("[%s]" % self.host if ":" in self.host else self.host, self.port)


def parse_server(text: str, encryption: str, authentication: str = "simple") -> ServerAddress:
    """The address in one item of the option `server`; ValueError when it is none or contradicts the encryption."""
    text = text.strip()
    if not text.lower().startswith("ldapi:"):
        _refuse_several(text)
    if text.lower().startswith("srv:"):
        return ServerAddress("srv", _host(text[4:].strip("."), text), 0)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _host_and_port("ldaps" if encryption == "ldaps" else "ldap", text, text)
    scheme = scheme.lower()
    if scheme == "ldapi":
        return _ldapi(rest, text, encryption, authentication)
    if scheme not in _PORTS:
        raise ValueError(
            "'%s' is not a server: write a host, host:port, or a URL that begins with ldap://, ldaps:// "
            "or ldapi://" % text
        )
    if (scheme == "ldaps") != (encryption == "ldaps"):
        raise ValueError(
            "'%s' contradicts encryption: %s: %s"
            % (
                text,
                encryption,
                (
                    "write ldaps:// or choose encryption: start_tls"
                    if scheme == "ldap"
                    else "write ldap:// or choose encryption: ldaps"
                ),
            )
        )
    return _host_and_port(scheme, rest, text)


def _refuse_several(text: str) -> None:
    servers = [part for part in re.split(r"[\s,;]+", text) if part]
    if len(servers) > 1 and "=" not in text:  # else it is a URL with a DN
        raise ValueError(
            "'%s' names several servers: write a list of them, [%s]"
            % (text, ", ".join('"%s"' % server for server in servers))
        )


def _host_and_port(scheme: str, text: str, whole: str) -> ServerAddress:
    text, dummy, path = text.partition("/")
    if path:
        raise ValueError(
            "'%s' has '/%s' behind the host: remove it (a DN goes into distinguished_name)" % (whole, path)
        )
    match = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::([0-9]{1,5}))?", text)
    if not match:
        raise ValueError("'%s' is not a server: write host:port, and an IPv6 address in brackets, [::1]:636" % whole)
    port = int(match.group(3)) if match.group(3) else _PORTS[scheme]
    if not 0 < port < 65536:
        raise ValueError("'%s' has no valid port: write a number from 1 to 65535" % whole)
    host = _host(match.group(2), whole) if match.group(1) is None else _in_brackets(match.group(1), whole)
    return ServerAddress(scheme, host, port)


def _in_brackets(address: str, whole: str) -> str:
    """An IPv6 address (RFC 3986, 3.2.2). ldap3 knows none with a zone, and no certificate is for one."""
    if "%" in address:
        raise ValueError(
            "'%s' has a zone, '%s', which is not supported: write a host, or an address without a zone"
            % (whole, address[address.index("%") :])
        )
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        raise ValueError(
            "'%s' has '%s' in brackets, which is no IPv6 address: write such as [::1]:636" % (whole, address)
        ) from None
    return address


def _host(host: str, whole: str) -> str:
    if not host:
        raise ValueError("'%s' names no host: write a host, host:port, or a URL" % whole)
    wrong = re.search(r"[^\w.-]", host)
    if wrong:
        raise ValueError(
            "'%s' has a '%s', which no host has: write a host, host:port, or a URL (a DN goes into "
            "distinguished_name)" % (whole, wrong.group())
        )
    if not all(0 < len(part) < 64 for part in host.removesuffix(".").split(".")):  # RFC 1035, 2.3.4
        raise ValueError("'%s' is no name of a host, whose parts have 1 to 63 characters: correct it" % whole)
    return host


def _ldapi(rest: str, text: str, encryption: str, authentication: str) -> ServerAddress:
    if authentication != "external" and encryption != "none":
        raise ValueError(
            "'%s' contradicts encryption: %s: a local socket needs authentication: external or "
            "encryption: none" % (text, encryption)
        )
    path = unquote(rest)
    if not path.startswith("/") or path == "/":
        raise ValueError("'%s' names no socket: write its path, such as ldapi://%%2Frun%%2Fslapd%%2Fldapi" % text)
    return ServerAddress("ldapi", path, 0)


# MS-ADTS 1.1, glossary: it has all entries of the forest, and of each only the attributes that are marked for it. So
# accountExpires, title and department are missing there, and who has expired would look enabled.
GLOBAL_CATALOG = {3268: 389, 3269: 636}  # its ports, and those of the whole domain
WHY_NOT_GLOBAL_CATALOG = "which has only a part of each entry, without when an account expires"


def refuse_global_catalog(address: ServerAddress) -> None:
    """Raise ValueError if a server of an Active Directory is asked for as Global Catalog."""
    if address.port in GLOBAL_CATALOG:
        raise ValueError(
            "port %d of '%s' is the Global Catalog, %s: write port %d"
            % (address.port, address.host, WHY_NOT_GLOBAL_CATALOG, GLOBAL_CATALOG[address.port])
        )
