# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rights in an OpenLDAP server that are taken away and given back while it runs, and no entry of anybody changes."""

from __future__ import annotations

import os

from .lab import BASE
from .slapd import Slapd

_BELOW = "ou=rights," + BASE
_NOBODY = "cn=nobody," + BASE
# Who comes by SASL EXTERNAL over ldapi, as slapd calls him.
READER = "gidNumber=%d+uidNumber=%d,cn=peercred,cn=external,cn=auth" % (os.getgid(), os.getuid())


def settings(rules: dict[str, str]) -> str:
    """The lines of slapd.conf(5) by which each rule hides something from who is in the group of its name.

    :param rules: name -> what slapd.access(5) allows after "access to": ``attrs=member``.
    """
    return "\n".join(
        'access to %s by group.exact="cn=%s,%s" none by * break' % (what, name, _BELOW) for name, what in rules.items()
    )


def entries(rules: dict[str, str]) -> str:
    """The groups that the rules go by, in LDIF."""
    groups = (
        "dn: cn=%s,%s\nobjectClass: groupOfNames\ncn: %s\nmember: %s\n\n" % (name, _BELOW, name, _NOBODY)
        for name in rules
    )
    return "dn: %s\nobjectClass: organizationalUnit\nou: rights\n\n" % _BELOW + "".join(groups)


class Rights:
    """What hides and shows by such rules."""

    def __init__(self, server: Slapd) -> None:
        self._server = server

    def hide(self, name: str) -> None:
        """Take the right away."""
        self._become("cn=%s,%s" % (name, _BELOW), READER)

    def show(self, name: str) -> None:
        """Give the right back."""
        self._become("cn=%s,%s" % (name, _BELOW), _NOBODY)

    def _become(self, group: str, member: str) -> None:
        self._server.modify("dn: %s\nchangetype: modify\nreplace: member\nmember: %s\n\n" % (group, member))
