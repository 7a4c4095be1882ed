# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a store is, by the option `store`."""

from __future__ import annotations

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._store.address import Database, File, address_of
from ansible_collections.usersync.directory.plugins.module_utils._store.contract import StoreError

SECRET = "kiwi-4711-store"


def test_a_path_is_a_file(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    assert address_of("/srv/users.db") == File("/srv/users.db")
    assert address_of("~/users.db") == File("/home/ann/users.db")
    assert address_of("$HOME/users.db", SECRET) == File("/home/ann/users.db")
    assert address_of("postgres.db") == File("postgres.db")


@pytest.mark.parametrize(
    ("store", "uri", "schema", "shown"),
    [
        ("postgresql://ann@db/users", "postgresql://ann@db/users", "usersync", "postgresql://ann@db/users"),
        ("postgres://db", "postgresql://db", "usersync", "postgresql://db"),
        ("PostgreSQL://db/", "postgresql://db/", "usersync", "postgresql://db/"),
        (
            "postgresql://ann@a:5433,b/users?sslmode=require",
            "postgresql://ann@a:5433,b/users?sslmode=require",
            "usersync",
            "postgresql://ann@a:5433,b/users",
        ),
        (
            "postgresql://ann@db/users?schema=staff&sslrootcert=%2Fetc%2Fca+1.pem",
            "postgresql://ann@db/users?sslrootcert=%2Fetc%2Fca%2B1.pem",
            "staff",
            "postgresql://ann@db/users?schema=staff",
        ),
        ("postgresql:///?service=users", "postgresql:///?service=users", "usersync", "postgresql:///?service=users"),
        ("postgresql://[2001:db8::1]/u", "postgresql://[2001:db8::1]/u", "usersync", "postgresql://[2001:db8::1]/u"),
        (
            "postgresql://a%40b@/u?host=%2Frun%2Fpg",
            "postgresql://a%40b@/u?host=%2Frun%2Fpg",
            "usersync",
            "postgresql://a%40b@/u?host=%2Frun%2Fpg",
        ),
    ],
)
def test_a_uri_is_a_database(store, uri, schema, shown):
    found = address_of(store, SECRET)
    assert found == Database(uri, schema, SECRET, shown)
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    "store",
    [
        f"postgresql://ann:{SECRET}@db/users",
        f"postgresql://:{SECRET}@db/users",
        f"postgresql://ann:?{SECRET}@db/users",
        f"postgresql://ann@corp:{SECRET}@db/users",
        f"postgresql://ann@corp:4{SECRET}@db/users",
        f"postgresql://db/users?oauth_client_secret={SECRET}",
        f"postgresql://ann@db/users?password={SECRET}",
        f"postgresql://ann@db/users?%70assword={SECRET}",
        f"postgresql://ann@db/users?sslmode=require&sslpassword={SECRET}",
        f"postgresql://ann:{SECRET}@x@db/users",
    ],
)
def test_a_uri_with_a_password_is_refused_with_the_way_to_do_it(store):
    with pytest.raises(StoreError, match="store_password") as refused:
        address_of(store)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "store",
    [
        "postgresql://db/a/b",
        "postgresql://db/a#b",
        "postgresql://@db/a",
        "postgresql://db/a?schema=",
        "postgresql://db/a?schema=pg_temp",
        "postgresql://db/a?schema=A",
        'postgresql://db/a?schema=a";drop',
    ],
)
def test_what_is_no_uri_of_a_store_is_refused(store):
    with pytest.raises(StoreError, match="^store: .*: ?.*write"):
        address_of(store)
