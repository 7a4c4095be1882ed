# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store in PostgreSQL, from the options of a task on: what it asks for, who may do what, and many hosts at once."""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
from pathlib import Path

import psycopg
import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _look_up, _synchronize
from ansible_collections.usersync.directory.plugins.module_utils._errors import Refused, SynchronizationError
from ansible_collections.usersync.directory.plugins.module_utils._store import (
    address,
    opening,
    postgresql,
    postgresql_schema,
    postgresql_server,
    postgresql_words,
    transfer,
)
from support import plans, stored
from support.lab import PEOPLE, ROOT, Lab, deleted, dn_of, group, modified, person, unit
from support.plans import group_changes, group_record, membership_change, user_changes, user_record
from support.postgresql import PostgreSQL
from support.process import free_port
from support.slapd import Slapd
from support.tls import CertificateAuthority

PASSWORD = "canary-Plum-92-canal"  # of the role that writes; nowhere else
COMPANY = (
    ROOT
    + unit("people")
    + "".join(person(name, "mail: %s@example.org" % name) for name in ("ann", "bob", "cleo"))
    + group("nurses", dn_of("ann"), dn_of("bob"))
    + group("staff", "cn=nurses," + PEOPLE, dn_of("cleo"))
)


@pytest.fixture(scope="module")
def server(ca):
    with PostgreSQL(ca.issue("postgresql")) as server:
        server.run(
            f"CREATE ROLE writer LOGIN PASSWORD '{PASSWORD}'",
            "CREATE ROLE reader LOGIN",
            "CREATE ROLE stranger LOGIN",
            "CREATE DATABASE people",
            "GRANT CREATE ON DATABASE people TO writer",
        )
        yield server


@pytest.fixture(scope="module")
def directory():
    with Slapd(ldif=COMPANY) as server:
        yield server


@pytest.fixture
def schema(request):
    return "t%d" % (abs(hash(request.node.nodeid)) % 10**9)


@pytest.fixture
def uri(server, schema):
    """A store of the test's own, for the role that writes."""
    return as_role(server, "writer", schema)


def as_role(server, role, schema):
    return f"postgresql://{role}@/people?host={server.socket}&port={server.port}&schema={schema}"


@pytest.fixture
def lab(directory, uri):
    return Lab(directory, uri)


# --- the same store --------------------------------------------------------------------------------------------------


def test_a_store_in_postgresql_says_what_one_in_sqlite_says(directory, uri, tmp_path):
    labs = [Lab(directory, tmp_path / "users.db"), Lab(directory, uri)]

    def both(**more):
        results = [lab.run(**more) for lab in labs]
        for key in set(results[0]) - {"read", "settings", "began"}:
            assert results[0][key] == results[1][key], key
        for lab in labs:
            assert stored.problems(lab.store) == []
        assert labs[0].members() == labs[1].members()
        assert labs[0].nestings() == labs[1].nestings()
        return results[1]

    assert both()["summary"]["users"]["created"] == 3
    directory.modify(modified("cn=nurses," + PEOPLE, "add", "member", dn_of("cleo")))
    assert both()["plan_digest"]
    directory.modify(modified("cn=nurses," + PEOPLE, "delete", "member", dn_of("cleo")))
    both(removal_limits="100%")
    assert both(read_mode="full")["changed"] is False
    both(state="released")


# --- the way to it ---------------------------------------------------------------------------------------------------


def options(directory, store, **more):
    return {
        "name": "staff",
        "user_group": "All/Staff",
        "server": [directory.ldapi_url],
        "encryption": "none",
        "use_ldap": True,
        "authentication": "external",
        "store": store,
        **more,
    }


def test_every_module_takes_a_uri_and_the_password_is_nowhere(directory, server, ca, schema, run_module, run_playbook):
    store = f"postgresql://writer@localhost:{server.port}/people?sslrootcert={ca.cert}&schema={schema}"
    secret = {"store": store, "store_password": PASSWORD}
    told = [
        run_module.run("user_synchronization", options(directory, **secret), diff=True),
        run_module.run("user_synchronization", options(directory, store), env={"USERSYNC_STORE_PASSWORD": PASSWORD}),
        run_module.run("user", {"name": "zoe", "user_group": "All/Staff", **secret}),
        run_module.run("user_group_info", {"runs": 5, **secret}),
        run_module.run("user_synchronization", options(directory, store), check_mode=True),  # without it
    ]
    results = [each.result for each in told]
    assert [bool(each.get("failed")) for each in results] == [False, False, False, False, True], results
    assert [each["changed"] for each in results[:4]] == [True, False, True, False]
    assert {user["name"] for user in results[3]["users"]} == {"ann", "bob", "cleo", "zoe"}
    assert results[4]["msg"].startswith("store: postgresql://writer@localhost")
    looked_up = run_playbook(
        [
            {
                "debug": {
                    "msg": "{{ query('usersync.directory.user_group_members', 'All/Staff/nurses', store=store)"
                    " | flatten | map(attribute='name') }}"
                },
                "vars": {"store": store},
            }
        ],
        "-vvv",
        env={"USERSYNC_STORE_PASSWORD": PASSWORD},
    )
    assert looked_up.results[-1]["msg"] == ["ann", "bob"]
    held = "\n".join(stored.dump(as_role(server, "writer", schema)))
    written = server.socket.with_suffix(".log").read_text()
    for text in (*(each.output for each in told), looked_up.output, held, written):
        assert PASSWORD not in text


@pytest.mark.parametrize(
    ("host", "parameters", "why"),
    [
        ("localhost", "", "root certificate file"),
        ("localhost", "sslrootcert={ca}", ""),
        ("127.0.0.1", "sslrootcert={ca}", ""),
        ("localhost", "sslrootcert={other}", "certificate verify failed"),
        ("localhost", "sslmode=require", ""),
        ("localhost", "sslmode=disable", "rejects connection"),
    ],
)
def test_the_certificate_is_verified_unless_something_else_is_said(
    server, ca, directory, schema, run_module, tmp_path, host, parameters, why
):
    other = CertificateAuthority(tmp_path / "other").cert if "other" in parameters else ""
    said = parameters.format(ca=ca.cert, other=other)
    store = f"postgresql://writer@{host}:{server.port}/people?{said}&schema={schema}"
    given = options(directory, store, store_password=PASSWORD)
    home = {"HOME": str(tmp_path)}
    if not why:
        assert run_module("user_synchronization", given, env=home)["changed"]
    else:
        message = run_module.fails("user_synchronization", given, env=home)["msg"]
        assert message.startswith("store: ") and why in message
        assert PASSWORD not in message


def test_a_certificate_for_another_host_is_refused(ca, directory, run_module):
    with PostgreSQL(ca.wrong_name("postgresql-elsewhere")) as elsewhere:
        given = options(directory, f"postgresql://postgres@localhost:{elsewhere.port}/postgres?sslrootcert={ca.cert}")
        assert "does not match host name" in run_module.fails("user_synchronization", given)["msg"]


@pytest.fixture
def home(tmp_path):
    """A home of nobody: what libpq looks for there is missing, unless the test puts it there."""
    return {"HOME": str(tmp_path)}


def comes_in(run_module, directory, store, env):
    """Whether a run comes to write, and the next one to look, without a password of ours."""
    given = options(directory, store)
    return (
        run_module("user_synchronization", given, env=env)["changed"]
        and not run_module("user_synchronization", given, env=env, check_mode=True)["changed"]
    )


@pytest.mark.parametrize("named_by", ["the environment", "the URI"])
def test_a_password_file(server, ca, directory, schema, run_module, tmp_path, home, named_by):
    file = tmp_path / ".pgpass"
    file.touch(0o600)
    file.write_text(f"localhost:{server.port}:people:writer:{PASSWORD}\n")
    store = f"postgresql://writer@localhost:{server.port}/people?sslrootcert={ca.cert}&schema={schema}"
    if named_by == "the URI":
        file = file.rename(tmp_path / "elsewhere")
        store += f"&passfile={file}"
    assert comes_in(run_module, directory, store, home)


def test_a_service(server, ca, directory, schema, run_module, tmp_path, home):
    """All is in its file, and what the URI says goes before it."""
    lines = [
        "[people]",
        "host=localhost",
        f"port={server.port}",
        "dbname=people",
        "user=nobody",
        f"password={PASSWORD}",
    ]
    (tmp_path / ".pg_service.conf").write_text("\n".join([*lines, f"sslrootcert={ca.cert}", ""]))
    store = f"postgresql://writer@/?service=people&schema={schema}"
    assert comes_in(run_module, directory, store, home)
    given = options(directory, store.replace("=people", "=nowhere"))
    message = run_module.fails("user_synchronization", given, env=home)["msg"]
    assert "?service=nowhere" in message and 'service "nowhere" not found' in message
    (tmp_path / ".pg_service.conf").write_text("\n".join([*lines, "sslmode=disable", ""]))
    assert "rejects connection" in run_module.fails("user_synchronization", options(directory, store), env=home)["msg"]


def test_a_certificate_of_the_client(server, ca, directory, schema, run_module, home):
    server.run("CREATE ROLE certified LOGIN", "GRANT CREATE ON DATABASE people TO certified")
    server.admit("hostssl all certified 127.0.0.1/32 cert", "ssl_ca_file", ca.cert)
    store = f"postgresql://certified@localhost:{server.port}/people?sslrootcert={ca.cert}&schema={schema}"
    mine, other = (ca.issue(name, client=True) for name in ("certified", "somebody"))
    assert comes_in(run_module, directory, f"{store}&sslcert={mine.cert}&sslkey={mine.key}", home)
    for parameters, why in (
        (f"&sslcert={other.cert}&sslkey={other.key}", "certificate authentication failed"),
        ("", "requires a valid client certificate"),
    ):
        message = run_module.fails("user_synchronization", options(directory, store + parameters), env=home)["msg"]
        assert why in message


def test_several_hosts(server, ca, directory, schema, run_module, home):
    """One is down, and one can only be read: a run finds the one that it can write to."""
    with PostgreSQL(ca.issue("postgresql")) as follower:
        follower.run(
            f"CREATE ROLE writer LOGIN PASSWORD '{PASSWORD}'",
            "CREATE DATABASE people",
            "ALTER ROLE writer SET default_transaction_read_only = on",
        )
        hosts = f"localhost:{free_port()},localhost:{follower.port},localhost:{server.port}"
        store = f"postgresql://writer@{hosts}/people?sslrootcert={ca.cert}&schema={schema}"
        given = options(directory, store, store_password=PASSWORD)
        assert run_module("user_synchronization", given, env=home)["changed"]


def test_without_psycopg_the_message_says_how_to_get_it(lab, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SynchronizationError, match=r"^store: .*python3 -m pip install 'psycopg\[binary\]"):
        lab.once()


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_server_that_is_not_there(directory, check_mode):
    with pytest.raises(SynchronizationError, match="^store: .* cannot be reached"):
        Lab(directory, "postgresql://ann@/people?host=/nowhere").once(check_mode)


@pytest.mark.parametrize(
    ("database", "password", "remedy"),
    [
        ("people?sslrootcert={ca}", None, "give store_password"),
        ("people?sslrootcert={ca}", "another", "correct store_password, or the URI"),
        ("peolpe?sslrootcert={ca}", PASSWORD, "correct store_password, or the URI"),
        ("people", PASSWORD, "name the authority of its certificate in the URI"),
        ("people?sslrootcert={other}", PASSWORD, "name the authority of its certificate in the URI"),
        ("people?sslmode=disable", PASSWORD, "correct the URI, or start it"),
    ],
    ids=["no-password", "another-password", "no-such-database", "no-authority", "another-authority", "no-tls"],
)
def test_a_server_that_lets_nobody_in_says_what_to_correct(
    server, ca, directory, tmp_path, run_module, database, password, remedy
):
    other = CertificateAuthority(tmp_path / "other")
    store = f"postgresql://writer@localhost:{server.port}/" + database.format(ca=ca.cert, other=other.cert)
    given = options(directory, store, store_password=password)
    message = run_module.fails("user_synchronization", given, env={"HOME": str(tmp_path)})["msg"]
    assert re.fullmatch(r"store: \S+ cannot be reached \(.*\): " + remedy + ".*", message), message


def test_a_store_that_must_be_there_is_opened_by_one_connection(lab, monkeypatch):
    connections = []
    connect = postgresql_server.connect

    def noting(*given, **more):
        connections.append(connect(*given, **more))
        return connections[-1]

    monkeypatch.setattr(postgresql_server, "connect", noting)
    for check_mode in (True, False):
        with pytest.raises(SynchronizationError, match="^create_store: there is no store in postgresql://"):
            lab.once(check_mode, create_store=False)
        with pytest.raises(SynchronizationError, match="^store: there is no store in postgresql://"):
            _look_up.looking(address.address_of(lab.store), plans.look_up)
    assert opening.is_missing(address.address_of(lab.store))
    lab.once()
    connections.clear()
    for check_mode in (True, False):
        lab.once(check_mode, create_store=False)
    assert _look_up.looking(address.address_of(lab.store), plans.look_up)["users"]
    assert len(connections) == 3 and all(connection.closed for connection in connections)


# --- who may do what -------------------------------------------------------------------------------------------------


def test_who_may_not_make_the_tables_is_told_what_to_have_run(directory, server, schema):
    stranger = Lab(directory, as_role(server, "stranger", schema))
    with pytest.raises(SynchronizationError) as refused:
        stranger.once()
    message = str(refused.value)
    statements = message.partition("have an administrator run ")[2].rpartition(" there")[0]
    assert statements.startswith("CREATE SCHEMA")
    in_database(server, statements)
    assert stranger.once()["changed"]


def in_database(server, statements):
    with psycopg.connect(as_role(server, "postgres", "x").partition("&schema")[0], autocommit=True) as connection:
        connection.execute(statements)


def test_who_may_only_read_looks_up_and_tries_dry_and_cannot_write(lab, server, schema, directory):
    lab.once()
    reader = Lab(directory, as_role(server, "reader", schema))
    with pytest.raises(SynchronizationError, match="permission denied"):
        reader.once(True)
    in_database(
        server, f"GRANT USAGE ON SCHEMA {schema} TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader"
    )
    before = lab.contents(), lab.rows("SELECT generation FROM store")
    assert reader.once(True)["changed"] is False
    with opening.look(address.address_of(reader.store)) as store:
        assert len(plans.look_up(store)["users"]) == 3
    with pytest.raises(SynchronizationError, match="permission denied"):
        reader.once()
    assert (lab.contents(), lab.rows("SELECT generation FROM store")) == before


def test_a_dry_run_makes_nothing(lab):
    assert lab.once(True)["changed"]
    assert opening.is_missing(address.address_of(lab.store))


def test_a_store_of_a_newer_version_is_refused_and_of_an_older_one_brought_up(lab, monkeypatch):
    lab.once()
    lab.change("UPDATE store SET version = 99")
    for check_mode in (True, False):
        with pytest.raises(SynchronizationError, match="schema version 99"):
            lab.once(check_mode)
    tables = "provisionings, links, link_members, intents, allowed, past_links"
    for statement in (
        "DROP VIEW view_provisioning_history",
        f"DROP TABLE {tables}",
        "ALTER TABLE store DROP COLUMN last_change",
        *(f"ALTER TABLE store DROP COLUMN {table}" for table in ("claims", "memberships", "nestings")),
        "UPDATE store SET version = 5",
    ):
        lab.change(statement)
    monkeypatch.setitem(postgresql_schema.UPGRADES, 5, ("ALTER TABLE {0}.runs ADD COLUMN remark {1}",))
    with pytest.raises(SynchronizationError, match="the next run brings it to %d" % postgresql_schema.VERSION):
        lab.once(True)
    assert lab.once()["changed"] is False
    assert lab.rows("SELECT version, memberships IS NULL FROM store") == [(postgresql_schema.VERSION, False)]
    assert stored.problems(lab.store) == []
    assert lab.rows("SELECT * FROM view_provisioning_history") == []
    assert lab.rows("SELECT remark FROM runs WHERE id = 1") == [(None,)]


def test_members_of_a_store_of_version_8_are_in_no_doubt(lab):
    lab.once()
    lab.change("ALTER TABLE link_members DROP COLUMN in_doubt")
    lab.change("INSERT INTO link_members (link_id, kind, key) VALUES (2, 'account', 'u1')")
    lab.change("UPDATE store SET version = 8")
    lab.once()
    assert lab.rows("SELECT link_id, kind, key, in_doubt FROM link_members") == [(2, "account", "u1", 0)]


# --- many hosts ------------------------------------------------------------------------------------------------------


def test_two_hosts_that_run_one_synchronization_at_once(lab, directory):
    results = at_once(*[(directory, lab.store, {}) for _number in range(3)])
    assert sorted(result["changed"] for result in results) == [False, False, True]
    assert stored.problems(lab.store) == []
    assert len(lab.rows("SELECT id FROM runs")) == 3


def test_different_synchronizations_of_one_store_at_once(lab, directory):
    others = [{"name": "job%d" % number, "user_group": "All/Job%d" % number} for number in range(4)]
    results = at_once(*[(directory, lab.store, other) for other in others])
    assert [result["changed"] for result in results] == [True] * 4
    assert stored.problems(lab.store) == []
    assert len(lab.rows("SELECT user_id FROM claims")) == 12
    assert not lab.once(True, **others[0])["changed"]


def at_once(*runs):
    """What processes of their own come to, each a run."""
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(len(runs)), context.Queue()
    processes = [context.Process(target=_run, args=(barrier, queue, number, *run)) for number, run in enumerate(runs)]
    for process in processes:
        process.start()
    results = dict(queue.get(timeout=120) for _process in processes)
    for process in processes:
        process.join()
    return [results[number] for number in range(len(runs))]


def _run(barrier, queue, number, directory, store, more):
    try:
        barrier.wait()
        queue.put((number, Lab(directory, store).once(**more)))
    except BaseException as error:
        queue.put((number, {"changed": repr(error)}))
        os._exit(1)


def test_who_wrote_meanwhile_about_another_directory_does_not_make_a_run_read_again(lab, reads):
    with Slapd(ldif=COMPANY) as another:
        other = Lab(another, lab.store)
        happening, seen = reads
        happening[:] = [lambda: None, lambda: other.once(name="other", user_group="All/Other")]
        lab.once()
        seen.clear()
        happening[:] = [lambda: other.once(name="other", user_group="All/Other")]
        assert lab.once(read_mode="full")["changed"] is False
        assert len(seen) == 2, "one read of each"
    assert stored.problems(lab.store) == []


def test_who_changed_nothing_meanwhile_does_not_make_others_plan_again(lab, reads, monkeypatch):
    plans_made: list = []
    make_plan = _synchronize.make_plan
    monkeypatch.setattr(_synchronize, "make_plan", lambda *all: plans_made.append(all[0].name) or make_plan(*all))
    with Slapd(ldif=COMPANY) as another:
        other = Lab(another, lab.store)
        other.once(name="other", user_group="All/Other")
        lab.once()
        happening, _seen = reads
        plans_made.clear()
        happening[:] = [lambda: other.once(name="other", user_group="All/Other")]
        lab.once()
        assert plans_made == ["other", "staff"]
        assert lab.rows("SELECT count(*) FROM runs") == [(4,)]


def test_who_moved_its_user_group_meanwhile_does(lab, reads):
    with Slapd(ldif=COMPANY) as another:
        other = Lab(another, lab.store)
        other.once(name="other", user_group="All/Other")
        lab.once()
        happening, seen = reads
        seen.clear()
        before = lab.rows("SELECT last_change FROM store")
        happening[:] = [lambda: other.once(name="other", user_group="All")]
        lab.once()
        assert lab.rows("SELECT last_change FROM store") != before


@pytest.mark.parametrize("changes_something", [True, False])
def test_who_wrote_meanwhile_about_the_same_directory_does(lab, reads, changes_something):
    happening, seen = reads
    lab.once()
    if not changes_something:
        lab.once(name="other", user_group="All/Other")
    seen.clear()
    happening[:] = [lambda: lab.once(name="other", user_group="All/Other")]
    assert lab.once(read_mode="full")["changed"] is False
    assert len(seen) == 3, "and one of the other"


def test_who_is_overtaken_again_and_again_plans_while_nobody_writes(lab, reads, monkeypatch):
    with Slapd(ldif=COMPANY) as another:
        other = Lab(another, lab.store)
        _happening, seen = reads
        came_to: list = []
        load = _synchronize.load_state

        def overtaken(store, name, *more):
            if name == "staff":
                try:
                    where = "All/Other%d" % len(came_to)
                    came_to.append(other.once(name="other", user_group=where, read_mode="full", store_timeout=1))
                except SynchronizationError as error:
                    came_to.append(error)
            return load(store, name, *more)

        monkeypatch.setattr(_synchronize, "load_state", overtaken)
        assert lab.once()["changed"]
    *written, kept_out = came_to
    assert len(written) == 3 and "held by another run" in str(kept_out)
    assert len(seen) == 5, "four reads of the other one, and one of this one"
    assert stored.problems(lab.store) == []


def test_limits_are_judged_again(lab, directory, reads):
    """The other run has made a limit of what is removed: this one is refused, by what it has planned last."""
    happening, _seen = reads
    lab.once()
    directory.modify(deleted(dn_of("bob")))
    try:
        happening[:] = [lambda: lab.once(name="other", user_group="All/Other", removal_limits="100%")]
        with pytest.raises(Refused, match="removal_limits"):
            lab.once(removal_limits=0)
    finally:
        directory.modify(person("bob", "mail: bob@example.org"))


def test_who_writes_all_the_time_does_not_keep_a_run_for_ever(lab, reads):
    happening, _seen = reads
    lab.once()

    def write():
        lab.once(name="other", user_group="All/Other", read_mode="full")

    happening[:] = [each for _try in range(30) for each in (write, lambda: None)]
    with pytest.raises(SynchronizationError, match="changed, by another run"):
        lab.once(read_mode="full")


@pytest.mark.parametrize("check_mode", [True, False])
def test_no_transaction_is_open_while_a_directory_is_read(lab, server, reads, check_mode):
    happening, _seen = reads
    lab.once()
    open_now = []
    happening[:] = [
        lambda: open_now.extend(
            server.rows("SELECT state FROM pg_stat_activity WHERE application_name LIKE 'usersync.directory %'")
        )
    ]
    lab.once(check_mode)
    assert open_now == [["idle"]]


def test_what_the_server_is_not_asked_it_would_answer_so(lab, directory, monkeypatch):
    begins_with, rows, not_asked = postgresql_words.begins_with, postgresql.PostgresStore.rows, set()

    def asked_all_the_same(store, statement, parameters=()):
        first, found = begins_with(statement), rows(store, statement, parameters)
        if first and not any(store._wanted[table] for table in first):
            assert found == [], statement
            not_asked.add(statement)
        return found

    monkeypatch.setattr(postgresql_words, "begins_with", lambda statement: ())
    monkeypatch.setattr(postgresql.PostgresStore, "rows", asked_all_the_same)
    lab.once()
    lab.once()
    directory.modify(deleted(dn_of("bob")))
    try:
        lab.once(removal_limits="100%")
    finally:
        directory.modify(person("bob", "mail: bob@example.org"))
    lab.once(state="absent")
    assert len(not_asked) > 10


# --- from one place to another ---------------------------------------------------------------------------------------


def test_a_store_moves_into_a_database_and_back_without_a_loss(directory, uri, tmp_path, run_module, run_playbook):
    here, back = Lab(directory, tmp_path / "users.db"), Lab(directory, tmp_path / "back.db")
    here.once(group_structure="both")
    run_module("user", {"name": "zoe", "user_group": "All/Staff", "sid": "S-1-5", "store": str(here.store)})
    here.once(name="other", user_group="All/Other", removal_limits="100%")
    here.once(name="other", user_group="All/Elsewhere", distinguished_name=["cn=staff," + PEOPLE], scope_change=True)
    copy = {"store": str(here.store), "to": uri}
    dry = run_module("store_copy", copy, check_mode=True)
    assert dry["changed"] and opening.is_missing(address.address_of(uri))
    done = run_module("store_copy", copy)
    assert done["counts"] == dry["counts"] and done["counts"]["users"] == 4 and done["counts"]["runs"] == 3
    assert not run_module("store_copy", copy)["changed"]
    moves_back = {"usersync.directory.store_copy": {"store": uri, "to": str(back.store)}}
    assert run_playbook([moves_back]).results[0]["counts"] == done["counts"]
    assert all_of(back.store) == all_of(here.store) == all_of(uri)
    moved, modes = Lab(directory, uri), []
    for name, target in (("staff", "All/Staff"), ("other", "All/Elsewhere")):
        scope = {"distinguished_name": ["cn=staff," + PEOPLE]} if name == "other" else {"group_structure": "both"}
        results = [lab.once(True, name=name, user_group=target, **scope) for lab in (here, moved)]
        assert not results[1]["changed"]
        assert results[0]["read"]["mode"] == results[1]["read"]["mode"]
        modes.append(results[1]["read"]["mode"])
    assert "incremental" in modes
    run_module("user", {"name": "eve", "user_group": "All/Staff", "store": uri})
    assert "to: there is something else" in run_module.fails("store_copy", copy)["msg"]
    assert "store: there is no file" in run_module.fails("store_copy", {**copy, "store": "/nowhere"})["msg"]


def all_of(store):
    return {
        table: sorted(stored.rows(store, "SELECT %s FROM %s" % (", ".join(columns), table)), key=repr)
        for table, columns in transfer.TABLES.items()
    }


def test_what_is_copied_is_all_that_there_is(uri, tmp_path):
    plans.apply(tmp_path / "users.db")
    plans.apply(uri)
    in_file = stored.rows(
        tmp_path / "users.db",
        "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'",
    )
    in_database = stored.rows(
        uri,
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = ?"
        " AND table_name NOT IN ('store', 'writes') AND table_name NOT LIKE 'view%'",
        address.address_of(uri).schema,
    )
    assert in_file == in_database == sorted((table, name) for table, names in transfer.TABLES.items() for name in names)


def test_effective_members_are_planned_for_as_many_as_there_are(server, uri, schema):
    """Or else all are compiled for, sorted on the disk, and looked up one by one: it took two seconds more."""
    groups = {"g%d" % number: group_record("group%d" % number) for number in range(200)}
    users = {"u%d" % number: user_record("user%d" % number) for number in range(500)}
    memberships = [
        membership_change(
            "g%d" % number,
            added=["u%d" % (user % 500) for user in range(number, number + 20)],
            groups_added=["g%d" % (number + 1)] if number < 100 else [],
        )
        for number in range(200)
    ]
    plans.apply(uri, plans.make_plan(group_changes({}, groups), user_changes({}, users), memberships))
    in_database(server, f"ANALYZE {schema}.memberships; ANALYZE {schema}.nestings; ANALYZE {schema}.user_groups")
    [[plan]] = stored.values(uri, "EXPLAIN (FORMAT JSON) SELECT * FROM view_effective_members")
    members = len(stored.rows(uri, "SELECT * FROM view_effective_members"))
    assert members > 4000
    assert members / 5 < plan["Plan"]["Plan Rows"] < 5 * members


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_gives_each_role_what_it_needs_and_no_more(server, directory):
    text = (Path(__file__).resolve().parents[2] / "docs" / "postgresql.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sql\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    *as_administrator, query = blocks
    assert len(as_administrator) == 4 and "as wiki" in query

    def role(name):
        return f"postgresql://{name}@/directory?host={server.socket}&port={server.port}"

    def ask(name, *statements):
        with psycopg.connect(role(name), autocommit=True) as connection:
            return [connection.execute(each) for each in statements][-1].fetchall()

    first, schema, reader, application = as_administrator
    server.run(*[each for each in first.split(";\n") if each])
    for each in [schema, reader]:
        ask("postgres", *each.split(";\n")[:-1], "SELECT 1")
    writer, looking = Lab(directory, role("usersync")), Lab(directory, role("usersync_reader"))
    writer.once()
    assert looking.once(True)["changed"] is False
    with opening.look(address.address_of(looking.store)) as store:
        assert len(plans.look_up(store)["users"]) == 3
    ask("postgres", *application.split(";\n")[:-1], "SELECT 1")
    here = query.replace("Nurses", "nurses")
    assert sorted(ask("wiki", here)) == [("ann", "ann@example.org"), ("bob", "bob@example.org")]
    for name, statement in (
        ("wiki", "SELECT * FROM usersync.users"),
        ("wiki", "SELECT * FROM usersync.view_runs"),
        ("usersync_reader", "DELETE FROM usersync.users"),
        ("usersync_reader", "CREATE TABLE usersync.x (y int)"),
        ("usersync", "CREATE SCHEMA another"),
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ask(name, statement)
