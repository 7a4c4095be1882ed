# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Where a store is: the path of a file, or the URI of a database in PostgreSQL. Text in, plain data out."""

from __future__ import annotations

import os
import re
from typing import Union
from urllib.parse import parse_qsl, quote, unquote, urlencode

from .._named_tuple import NamedTuple
from .contract import StoreError

SCHEMA = "usersync"  # unless the URI names another one

# RFC 3986, 3; libpq knows both (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS).
_SCHEME = re.compile(r"postgres(?:ql)?://", re.IGNORECASE)
_NAME_OF_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
# PostgreSQL 18 has more of them than 15.
_SECRETS = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
# As libpq reads it: a user, and then a password up to the first @ or slash, whatever is in it.
_WITH_PASSWORD = re.compile(r"[^/@]*:[^/@]*@")
_SHOWN = ("host", "service")  # where else than in the URI's authority a server is named
_PASSWORD = "take it out, and give it in store_password"


class File(NamedTuple):
    """A store in a file of SQLite."""

    path: str

    @property
    def shown(self) -> str:
        """What people see of it."""
        return self.path

    @property
    def noun(self) -> str:
        """The same with what it is."""
        return "file '%s'" % self.path


class Database(NamedTuple):
    """A store in a database of PostgreSQL."""

    uri: str  # for libpq: without what only the collection knows
    schema: str
    password: str | None
    shown: str  # for people

    @property
    def noun(self) -> str:
        """The same with what it is."""
        return "store in %s" % self.shown

    def __repr__(self) -> str:
        return "Database(%s)" % self.shown


Address = Union[File, Database]


def is_database(store: str) -> bool:
    """Tell whether the option names a database."""
    return bool(_SCHEME.match(store))


def address_of(store: str, password: str | None = None) -> Address:
    """Return where the store is. ``password`` is that of the database, if it asks for one.

    Raises StoreError, with a sentence for the reader, in which there is no password.
    """
    if not is_database(store):
        return File(os.path.expanduser(os.path.expandvars(store)))
    rest = _SCHEME.sub("", store, count=1)
    is_with_password = _WITH_PASSWORD.match(rest)
    rest, _mark, query = rest.partition("?")
    authority, slash, database = rest.partition("/")
    user, at, hosts = authority.rpartition("@")
    if is_with_password or ":" in user:  # the latter, too, where the user's name has an @ in it
        raise StoreError("store: the URI has a password in it: %s" % _PASSWORD)
    if "#" in store or "/" in database or at and not user:
        raise StoreError(
            "store: it is no URI of a database: write postgresql://user@host/database, and %23 for a # and %2F for a"
            " slash in a name"
        )
    parameters, schema = _parameters(query)
    uri = "postgresql://%s%s%s%s%s" % (user, at, hosts, slash, database)
    seen = [item for item in parameters if item[0] in _SHOWN] + ([("schema", schema)] if schema != SCHEMA else [])
    shown = uri + ("?" + urlencode(seen, quote_via=quote) if seen else "")
    if parameters:
        uri += "?" + urlencode(parameters, quote_via=quote)
    return Database(uri, schema, password or None, shown)


def _parameters(query: str) -> tuple[list[tuple[str, str]], str]:
    """Return what of the query is for libpq, and the name of the schema."""
    # A plus is no blank in libpq's URIs.
    given = [(unquote(name), value) for name, value in parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)]
    if any(name in _SECRETS for name, _value in given):
        raise StoreError("store: the URI has a password in it: %s" % _PASSWORD)
    schema = next((value for name, value in given if name == "schema"), SCHEMA)
    if not _NAME_OF_SCHEMA.fullmatch(schema) or schema.startswith("pg_"):
        raise StoreError(
            "store: the schema '%s' will not do: write one with small letters, digits and underscores" % schema
        )
    return [(name, value) for name, value in given if name != "schema"], schema
