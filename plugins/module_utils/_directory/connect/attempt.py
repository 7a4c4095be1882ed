# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""One attempt to use one server, and why it may fail.

ldap3 is imported late, so that what can be judged without it is judged without it.
"""

from __future__ import annotations

import os
import ssl
import sys
import time
from typing import Any

from ..._errors import SynchronizationError
from ..._named_tuple import NamedTuple
from .addresses import ServerAddress


class ConnectError(SynchronizationError):
    """No usable connection; begins with the option that can change that."""


class NextServer(ConnectError):
    """Another server may do better. A refused login never is one: it counts towards a lock-out on all of them."""


class TimedOut(NextServer):
    """No answer in time."""


def missing_library(option: str, purpose: str, library: str) -> ConnectError:
    command = "%s -m pip install %s" % (sys.executable, library)
    if os.path.exists("/etc/debian_version"):
        if sys.prefix == "/usr":  # pip refuses to install there (PEP 668)
            command = "apt-get install python3-%s" % library
        elif library == "gssapi":  # PyPI has its source only
            command = "apt-get install gcc libkrb5-dev python3-dev && " + command
    return ConnectError(
        "%s: %s needs the Python library %s: install it on the node where this task runs, by '%s'"
        % (option, purpose, library, command)
    )


class Deadline(NamedTuple):
    """Until when, by time.monotonic, something may go on, and how many seconds that is from its beginning."""

    at: float
    seconds: float

    def left(self) -> float:
        return max(self.at - time.monotonic(), 0.01)  # never 0, which a socket would take for "do not wait at all"


def share(until: float, among: int) -> Deadline:
    """The time that one of so many servers may take, so that one that hangs leaves some for the next."""
    seconds = max((until - time.monotonic()) / among, 0.01)
    return Deadline(time.monotonic() + seconds, seconds)


class Attempt(NamedTuple):
    """What it takes to use one server."""

    address: ServerAddress
    settings: Any  # see `read_from_first`
    context: ssl.SSLContext | None  # None: without TLS
    deadline: Deadline


def import_ldap3() -> Any:
    try:
        import ldap3
        import ldap3.utils.log
    except ImportError as error:
        if error.name != "ldap3":
            raise ConnectError(
                "ldap3: it does not work with what is beside it on the node where this task runs (%s): install a pyasn1"
                " that it can use, by '%s -m pip install \"pyasn1>=0.6.4,<0.7\"'" % (error, sys.executable)
            ) from None
        raise missing_library("ldap3", "reading a directory", "ldap3") from None
    ldap3.utils.log.set_library_log_hide_sensitive_data(True)  # else a connection's repr shows its password
    return ldap3


def timed_out(attempt: Attempt) -> TimedOut:
    return TimedOut(
        "timeout: %s did not answer within %g seconds: check the way to the server, or raise timeout"
        % (attempt.address, round(attempt.deadline.seconds, 1))
    )
