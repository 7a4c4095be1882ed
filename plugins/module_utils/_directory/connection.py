# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""A bound connection with the first server that can be used; reading is `search` and `wire`.

How one is reached, encrypted and logged in to is in `connect/`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from .ber import ProtocolError, ReadError, ServerLost
from .connect import tls
from .connect.addresses import parse_server
from .connect.attempt import Attempt, ConnectError, NextServer, import_ldap3, share
from .connect.login import check_bind
from .connect.opening import ask, close, open_connection
from .search import MISSING_OK, search
from .wire import Channel

T = TypeVar("T")


class Session:
    """A bound connection and what was read over it. Use it as a context manager, or close it."""

    def __init__(self, connection: Any, server: str, timeout: int, page_size: int, account_option: str) -> None:
        self.connection = connection
        self.socket = connection.socket
        self.channel = Channel(connection.socket, timeout)
        self.server = server
        self.page_size = page_size
        self.account_option = account_option  # which one says who reads
        self.root_dse: dict[str, list[bytes]] = {}
        self.entries = 0
        self.pages = 0
        self.not_read: list[str] = []
        self.referred: dict[str, str] = {}
        self.unusable = ""  # why no search may begin now
        self.paged, self.unpaged = False, ""  # see `search`
        self.names: dict[bytes, str] = {}
        self.asked: set[str] = set()
        self.types: list[set[str]] | None = None
        self.glued: dict[str, list[bytes]] | None = None
        self.nameless: dict[bytes, dict[str, list[bytes]]] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Say goodbye and close the socket; whatever goes wrong there does not matter any more."""
        close(self.connection)


def connect(settings: Any, warn: Callable[[str], None]) -> Session:
    """A bound session with the first server that can be used: the settings and errors of `read_from_first`."""
    failures: list[str] = []
    for session in _sessions(settings, warn, failures):
        return session
    raise _none_left(failures)


def read_from_first(settings: Any, warn: Callable[[str], None], read: Callable[[Session], T]) -> T:
    """What `read` returns for a bound session with the first server that can be used, and is not lost while it is read.

    With the next server `read` begins anew: what one server said is never put together with what another one says.

    :param settings: servers, encryption, validate_certs, ca_path, client_cert, client_key, tls_server_name,
        authentication, login (as `check_login` gives it), password, keytab, timeout (seconds until a usable server is
        found, and for each part of an answer) and page_size.
    :param warn: called with a sentence for each setting that is not safe.
    :raises ConnectError: names the option; no further server is tried when a login was refused.
    :raises ServerLost: when the only server was lost. What else `read` raises is not about one server, and ends it.
    """
    failures: list[str] = []
    lost = None
    for session in _sessions(settings, warn, failures):
        try:
            with session:
                return read(session)
        except ServerLost as failure:
            lost = failure
            failures.append("server: %s was lost while it was read (%s)" % (session.server, failure))
    if lost and len(failures) == 1:
        raise lost
    raise _none_left(failures)


def _sessions(settings: Any, warn: Callable[[str], None], failures: list[str]) -> Iterator[Session]:
    """Bound sessions with one usable server after the other; why others cannot be used is added to `failures`."""
    import_ldap3()
    try:
        addresses = [parse_server(text, settings.encryption, settings.authentication) for text in settings.servers]
    except ValueError as error:
        raise ConnectError("server: %s" % error) from None
    warn_about(settings, warn)
    context = None if settings.encryption == "none" else tls.make_context(settings)
    credentials = None
    if settings.authentication == "kerberos":
        from .connect import kerberos  # what only some settings need is loaded with them: every run pays for the rest

        credentials = kerberos.credentials(settings)
    until = time.monotonic() + settings.timeout
    while addresses:
        deadline = share(until, len(addresses))
        address = addresses.pop(0)
        try:
            if address.scheme == "srv":
                from .connect.dns_srv import look_up

                addresses[:0] = look_up(address.host, settings, deadline, warn)
                continue
            session = _connect_to(Attempt(address, settings, context, deadline), credentials)
        except NextServer as failure:
            failures.append(str(failure))
            continue
        yield session
        until = time.monotonic() + settings.timeout  # that one was lost: the search for a usable one begins anew


def _none_left(failures: list[str]) -> ConnectError:
    if len(failures) == 1:
        return ConnectError(failures[0])
    return ConnectError("server: none of %d servers can be used: %s" % (len(failures), "; ".join(failures)))


def warn_about(settings: Any, warn: Callable[[str], None]) -> None:
    """Warn of what makes the connection unsafe."""
    remote = [server for server in settings.servers if not server.strip().lower().startswith("ldapi:")]
    if not remote:
        return
    secret = settings.authentication == "simple" and settings.password is not None
    if settings.encryption == "none":
        warn(
            "encryption: none %slets anybody on the way change what is read, such as add himself to a group; "
            "choose ldaps or start_tls." % ("sends the password in clear text, and " if secret else "")
        )
    elif not settings.validate_certs:
        warn(
            "validate_certs: false lets anybody on the way pose as the directory%s."
            % (" and read the password" if secret else "")
        )


def _connect_to(attempt: Attempt, credentials: Any) -> Session:
    """Return a bound session. ``credentials`` are those of Kerberos, None for another authentication."""
    settings, connection = attempt.settings, open_connection(attempt)
    try:
        if credentials is not None:
            from .connect import kerberos

            kerberos.bind(connection, attempt, credentials)
        else:
            ask(connection, attempt, lambda: connection.bind(read_server_info=False))
            check_bind(connection.result, attempt)
        _forget_secrets(connection)
        account_option = "login" if settings.login else "authentication"
        session = Session(connection, str(attempt.address), settings.timeout, settings.page_size, account_option)
        session.root_dse = _read_root_dse(session, attempt)
    except BaseException:
        close(connection)
        raise
    return session


def _forget_secrets(connection: Any) -> None:
    """ldap3 keeps the password, and the bind requests with it."""
    connection.password = connection.request = None
    connection.strategy._outstanding.clear()


def _read_root_dse(session: Session, attempt: Attempt) -> dict[str, list[bytes]]:
    """What the server says of itself; nothing, if it may be hidden, since the options say what it would tell."""
    session.channel.set_deadline(attempt.deadline.at)
    try:
        entries = list(search(session, "", "base", "(objectClass=*)", ("*", "+"), MISSING_OK))
    except ReadError as error:
        if isinstance(error, (ProtocolError, ServerLost)) or not _is_told(attempt.settings):
            raise NextServer(
                "server: %s does not say what it is (%s): check host and port, or name another server"
                % (session.server, error)
            ) from None
        entries = []
    session.channel.set_deadline(None)
    session.names.clear()
    session.asked.clear()
    session.entries = session.pages = 0  # these count what was read of the directory
    return entries[0][1] if entries else {}


def _is_told(settings: Any) -> bool:
    """Whether the options say what a root DSE is asked for: what the server is, and which trees it has."""
    return bool(settings.use_ldap and settings.ldap_parameters.get("preset") and settings.distinguished_name)
