# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store in PostgreSQL that others write to meanwhile, with older tables, or with settings of the role's own."""

from __future__ import annotations

import threading

import psycopg
import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _synchronize
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from ansible_collections.usersync.directory.plugins.module_utils._store import (
    address,
    opening,
    postgresql,
    postgresql_schema,
)
from support.lab import PEOPLE, ROOT, Lab, dn_of, group, modified, person, unit
from support.postgresql import PostgreSQL
from support.proxy import AFTER, BEFORE, Proxy
from support.slapd import Slapd

COMPANY = ROOT + unit("people") + person("ann") + person("bob") + group("nurses", dn_of("ann"), dn_of("bob"))


@pytest.fixture(scope="module")
def server():
    with PostgreSQL() as server:
        yield server


@pytest.fixture
def directory():
    with Slapd(ldif=COMPANY) as server:
        yield server


@pytest.fixture
def lab(server, directory, request):
    return Lab(directory, "%s&schema=t%d" % (server.uri, abs(hash(request.node.nodeid)) % 10**9))


def test_a_first_run_that_the_same_directory_overtakes_reads_again(lab, directory, reads):
    """Else bob, whom another synchronization of this directory has seen leave, would be a member again."""
    other = {"name": "other", "user_group": "All/Other", "removal_limits": "100%"}
    lab.once(read_mode="full", **other)
    happening, seen = reads
    seen.clear()

    def bob_leaves():
        directory.modify(modified("cn=nurses," + PEOPLE, "delete", "member", dn_of("bob")))
        lab.once(**other)

    happening[:] = [bob_leaves]
    lab.once()
    assert ("nurses", "bob") not in lab.members()
    assert len(seen) == 3, "that of the other one lies between"


@pytest.mark.parametrize("state", ["released", "absent"])
def test_an_end_that_others_overtake_locks_at_last(lab, monkeypatch, state):
    lab.once()
    load, said = _synchronize.load_state, []

    def loaded(store, *more):
        try:
            with opening.open_store(address.address_of(lab.store), wait=1) as other:
                other.begin_writing()
                other.run("UPDATE users SET attributes = attributes WHERE name = 'ann'")
                other.commit()
            said.append("written")
        except SynchronizationError as error:
            said.append(str(error).partition(":")[0])
        return load(store, *more)

    monkeypatch.setattr(_synchronize, "load_state", loaded)
    lab.once(state=state)
    assert said == ["written"] * 3 + ["store_timeout"]


def of_version_7(lab):
    """Take from the tables what later versions have."""
    lab.change("ALTER TABLE link_members DROP COLUMN in_doubt")
    for column in ("last_change", "claims", "memberships", "nestings"):
        lab.change("ALTER TABLE store DROP COLUMN %s" % column)
    lab.change("UPDATE store SET version = 7")


def test_an_older_collection_that_has_begun_notices_an_upgrade(lab):
    """It compares the generation."""
    lab.once()
    of_version_7(lab)
    before = lab.rows("SELECT generation FROM store")
    with opening.open_store(address.address_of(lab.store)):
        assert lab.rows("SELECT generation, version FROM store") == [(before[0][0] + 1, postgresql_schema.VERSION)]


def test_an_upgrade_waits_as_long_as_it_may(lab):
    lab.once()
    of_version_7(lab)
    with psycopg.connect(lab.store.partition("&schema")[0]) as holder:
        holder.execute("SELECT 1 FROM %s.store FOR UPDATE" % lab.store.rpartition("=")[2])
        with pytest.raises(SynchronizationError, match="^store_timeout: "):
            lab.once(store_timeout=1)


def test_hosts_that_upgrade_at_once_all_go_on(lab):
    lab.once()
    of_version_7(lab)
    barrier, said = threading.Barrier(3), []

    def opens():
        barrier.wait()
        try:
            with opening.open_store(address.address_of(lab.store)) as store:
                said.append(store.rows("SELECT name FROM synchronizations"))
        except SynchronizationError as error:
            said.append(str(error))

    threads = [threading.Thread(target=opens) for _each in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == [[("staff",)]] * 3


def test_an_upgrade_that_finds_a_newer_version_is_none(lab, monkeypatch):
    lab.once()
    of_version_7(lab)
    make_ready, newer = postgresql._make_ready, postgresql_schema.VERSION + 1

    def after_another(*all):
        lab.change("UPDATE store SET version = %d" % newer)
        return make_ready(*all)

    monkeypatch.setattr(postgresql, "_make_ready", after_another)
    with pytest.raises(SynchronizationError, match="has schema version %d" % newer):
        lab.once()


def test_who_does_not_own_the_tables_is_told_who_upgrades_them(lab):
    lab.once()
    of_version_7(lab)
    schema = lab.store.rpartition("=")[2]
    lab.change("CREATE ROLE second_writer LOGIN")
    lab.change("GRANT USAGE, CREATE ON SCHEMA %s TO second_writer" % schema)
    lab.change("GRANT ALL ON ALL TABLES IN SCHEMA %s TO second_writer" % schema)
    with pytest.raises(SynchronizationError, match="only who owns its tables brings it to"):
        Lab(lab.server, lab.store.replace("postgres@", "second_writer@")).once()


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_an_encoding_of_the_client_changes_nothing(lab, directory, monkeypatch, encoding):
    directory.modify(modified(dn_of("ann"), "replace", "sn", "Łukasz"))
    monkeypatch.setenv("PGCLIENTENCODING", encoding)
    lab.once(user_attributes={"surname": "sn"})
    assert not lab.once(True, user_attributes={"surname": "sn"})["changed"]
    monkeypatch.delenv("PGCLIENTENCODING")
    assert any("Łukasz" in text for (text,) in lab.rows("SELECT attributes FROM users"))


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_who_waits_for_the_lock_goes_on_whatever_the_isolation_of_the_role(lab, server, level):
    lab.once()
    server.run("ALTER ROLE postgres SET default_transaction_isolation = '%s'" % level)
    try:
        with opening.open_store(address.address_of(lab.store)) as store:
            assert store.rows("SELECT current_setting('transaction_isolation')") == [("read committed",)]
    finally:
        server.run("ALTER ROLE postgres RESET default_transaction_isolation")


def test_what_is_written_beside_a_run_is_not_said_to_be_nothing_if_it_is_there(lab, server):
    """The connection is cut at each message, before the server has it, and when it has answered."""
    lab.once()
    schema = lab.store.rpartition("=")[2]

    def writes(proxy, key):
        try:
            with opening.open_store(address.address_of(f"{proxy.uri}&schema={schema}")) as store, store.aside():
                values = ("wiki", 1, "linked", "account", key, "bob", "1", "")
                store.run(
                    "INSERT INTO past_links (provisioning, time, event, kind, key, name, destination_id, group_name)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    values,
                )
        except SynchronizationError as error:
            return str(error)
        return "done"

    with Proxy(server, lambda *at: False) as proxy:
        assert writes(proxy, "undisturbed") == "done"
    unknown = 0
    for cut in ((piece, when) for piece in range(1, proxy.pieces + 1) for when in (BEFORE, AFTER)):
        with Proxy(server, lambda *at, cut=cut: at == cut) as cutting:
            said = writes(cutting, str(cut))
        is_there = bool(lab.rows("SELECT 1 FROM past_links WHERE key = ?", str(cut)))
        if "all that it wrote is there, or nothing" in said:
            unknown += 1
        else:
            assert is_there == (said == "done"), (cut, said)
    assert unknown, "the answer to COMMIT was lost"
