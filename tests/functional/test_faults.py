# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault at every stage of a read: the store stays as it was, the error is clear, and the next run is right.

Each cell of the matrix begins with the same store. Then people and groups leave the directory, and with the policies
`delete` whatever a faulty read leaves out would be deleted. The matrix is printed at the end of the tests.
"""

from __future__ import annotations

import functools
import re
import shutil
from typing import Any, NamedTuple

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory.presets import PRESETS
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from support import misbehaving, stored, tree
from support.lab import synchronize
from support.misbehaving import LOGIN, PASSWORD, MisbehavingDirectory, ends_with, sends_instead
from support.tls import CertificateAuthority

STAFF, AWAY = "OU=Staff," + tree.DOMAIN, "OU=Away," + tree.DOMAIN
USERS = PRESETS["active_directory"].is_user
GROUPS = "(objectClass=group)"

# --- the stages ------------------------------------------------------------------------------------------------------

STAGES = {
    "bind": lambda request: request.kind == "bind",
    "root DSE": lambda request: request.kind == "search" and not request.base,
    "users": lambda request: request.page_size is not None and request.filter == USERS,
    "groups": lambda request: request.page_size is not None and request.filter == GROUPS,
    "ranges": lambda request: any(";range=" in name for name in request.attributes),
    "outside": lambda request: request.scope == 1 and USERS in request.filter,
    "lost": lambda request: request.scope == 2 and "objectGUID=" in request.filter,
}
SEARCHES = ("root DSE", "users", "groups", "ranges", "outside", "lost")
PAGED = ("users", "groups", "outside", "lost")
# Where there are several requests in a stage, a fault begins with the second, so that a part has been read.
FIRST = {"users": 2, "groups": 2, "ranges": 2, "outside": 2, "lost": 2}


class Fault(NamedTuple):
    does: Any
    stages: Any = tuple(STAGES)
    right: Any = ()  # the stages at which the run comes out right
    timeout: float = 60


SLOW = 0.25  # what has no end of its own ends by this time, in seconds

FAULTS = {
    "none: MaxPageSize and MaxValRange": Fault(misbehaving.behave, right=tuple(STAGES)),
    "success, and nothing was found": Fault(misbehaving.finds_nothing, ("users", "groups", "ranges", "outside")),
    "invalidCredentials": Fault(ends_with(49, "data 52e, v4563"), ("bind",)),
    "sizeLimitExceeded": Fault(ends_with(4)),
    "timeLimitExceeded": Fault(ends_with(3)),
    "adminLimitExceeded": Fault(ends_with(11, "lookthrough")),
    "busy": Fault(ends_with(51)),
    "unavailable": Fault(ends_with(52)),
    "insufficientAccessRights": Fault(ends_with(50)),
    "unwillingToPerform": Fault(ends_with(53)),
    "other": Fault(ends_with(80)),
    "noSuchObject": Fault(ends_with(32), SEARCHES),
    "referral": Fault("referral"),
    "references among the entries": Fault(
        misbehaving.sends_references("ldap://192.0.2.1/dc=other"), SEARCHES, right=SEARCHES
    ),
    "each entry twice": Fault(misbehaving.sends_twice, PAGED, right=PAGED),
    "the cookie's place is lost": Fault(ends_with(12, "00000057"), PAGED),
    # The same is asked for without pages then, and MaxPageSize cuts that where more was found than a page has.
    "no paged results control": Fault(misbehaving.loses_the_control, PAGED, right=("lost",)),
    "one cookie, one page for ever": Fault(misbehaving.repeats_its_cookie(empty=False), PAGED),
    "one cookie, empty pages for ever": Fault(misbehaving.repeats_its_cookie(empty=True), PAGED),
    "hangs up between messages": Fault(misbehaving.hangs_up),
    "hangs up within a message": Fault(misbehaving.hangs_up_within_a_message),
    "resets the connection": Fault(misbehaving.resets),
    "notice of disconnection": Fault(misbehaving.says_goodbye),
    "stalls": Fault(misbehaving.stalls, timeout=SLOW),
    "trickles, a byte at a time": Fault(misbehaving.trickles(0), right=tuple(STAGES)),
    "trickles without end": Fault(misbehaving.trickles(0.1), timeout=SLOW),
    "broken BER": Fault(misbehaving.breaks_the_encoding, timeout=SLOW),
    "BER of indefinite length": Fault(sends_instead(b"\x30\x80\x02\x01\x65"), timeout=SLOW),
    "a message of 2 GiB": Fault(sends_instead(b"\x30\x84\x7f\xff\xff\xff\x02\x01\x65"), timeout=SLOW),
    "entries without end": Fault(misbehaving.sends_without_end, SEARCHES),
    "no LDAP at all": Fault(sends_instead(b"HTTP/1.1 400 Bad Request\r\n\r\n"), timeout=SLOW),
    "an answer to another request": Fault(misbehaving.answers_another_request, timeout=SLOW),
}


# --- the directory before and after ----------------------------------------------------------------------------------


def company(domain=None):
    domain = domain or tree.ActiveDirectory()
    domain.unit("Staff")
    domain.unit("Away")
    names = ("anna", "bert", "carl", "dora", "emil", "finn", "gina", "nina", "olaf")
    staff = [domain.user(name, STAFF) for name in names]
    away = [domain.user(name, AWAY) for name in ("tim", "ute", "vera", "will", "yann")]
    night = domain.group("Night", AWAY, away[2])
    domain.group("Nurses", STAFF, *staff, *away[:2])
    domain.group("Doctors", STAFF, staff[0], night, away[3])
    for number in range(4):
        domain.group("Small%d" % number, STAFF, staff[number])
    return domain


def change(domain):
    """People leave, move away and lose memberships; so do groups. yann, who was not stored, joins a group."""
    for name in ("bert", "carl", "dora", "emil"):
        domain.remove("CN=%s,%s" % (name, STAFF))
    domain.move("CN=finn," + STAFF, "CN=finn," + AWAY)
    domain.remove("CN=Small3," + STAFF)
    kept = [
        value
        for value in domain["CN=Nurses," + STAFF]["member"]
        if not value.startswith((b"CN=bert", b"CN=carl", b"CN=dora", b"CN=emil", b"CN=finn"))
    ]
    domain.set("CN=Nurses," + STAFF, "member", *kept, "CN=yann," + AWAY)
    domain.set("CN=anna," + STAFF, "mail", "anna@new.example")
    domain.user("zoe", STAFF)


AFTER = {
    "users": {"anna", "gina", "nina", "olaf", "tim", "ute", "vera", "will", "yann", "zoe"},
    "Nurses": {"anna", "gina", "nina", "olaf", "tim", "ute", "yann"},
    "Doctors": {"anna", "will"},
    "Night": {"vera"},
    "groups": {"Nurses", "Doctors", "Night", "Small0", "Small1", "Small2"},
}


class Lab:
    """One server, and one store that begins each test as the first run left it."""

    def __init__(self, server, store, ca):
        self.server, self.store, self.ca = server, store, ca
        self.warnings = []

    def run(self, check_mode=False, timeout=60, **more):
        # Without limits: they would keep a run from removing what a faulty read leaves out.
        options = {
            "name": "staff",
            "user_group": "All/Staff",
            "server": [self.server.ldap_url],
            "encryption": "none",
            "login": LOGIN,
            "password": PASSWORD,
            "distinguished_name": STAFF,
            "user_extinction": "delete",
            "user_group_extinction": "delete",
            "page_size": 2,
            "store": str(self.store),
            "scope_change": True,
            "allow_empty": True,
            "removal_limits": "100%",
            **more,
        }
        return synchronize(check_mode, self.warnings, timeout, **options)

    def dump(self):
        return stored.dump(self.store)

    def content(self):
        content = {
            "users": set(stored.values(self.store, "SELECT name FROM users")),
            "groups": set(stored.values(self.store, "SELECT name FROM user_groups WHERE key IS NOT NULL")),
        }
        for group, user in stored.members(self.store):
            content.setdefault(group, set()).add(user)
        return {name: content.get(name) for name in AFTER}

    def files(self):
        return sorted(path.name for path in self.store.parent.iterdir())


@pytest.fixture(scope="module")
def first_store(tmp_path_factory):
    """The store as the first run leaves it."""
    store = tmp_path_factory.mktemp("first") / "users.db"
    with MisbehavingDirectory(company(), max_page=2, max_values=2) as server:
        Lab(server, store, None).run()
    return store


@pytest.fixture
def lab(first_store, tmp_path, ca):
    domain = company()
    store = tmp_path / "users.db"
    shutil.copy(first_store, store)
    stored.change(store, "UPDATE runs SET server = ''")  # else removals on another server wait for a run
    change(domain)
    with MisbehavingDirectory(domain, ca=ca, max_page=2, max_values=2) as server:
        yield Lab(server, store, ca)


def refused(lab, timeout=60, **more):
    """Run dry and for real, and check that neither did anything but say one sentence; the option that it names."""
    before, files = lab.dump(), lab.files()
    said = []
    for check_mode in (True, False):
        with pytest.raises(SynchronizationError) as error:
            lab.run(check_mode, timeout, **more)
        said.append(str(error.value))
        assert lab.dump() == before
        assert lab.files() == files
    for text in said:
        assert re.match(r"[a-z_]+(\.[a-z_]+)?(, [a-z_.]+)*: ", text), text
        assert "\n" not in text and "Traceback" not in text and "Error(" not in text and PASSWORD not in text
    check_secrets(lab)
    return said[1].partition(":")[0]


def check_secrets(lab):
    assert PASSWORD not in repr(lab.warnings)
    for path in lab.store.parent.iterdir():
        assert PASSWORD.encode() not in path.read_bytes(), path


def good(lab, **more):
    lab.run(**more)
    assert lab.content() == AFTER
    assert not lab.run(check_mode=True, **more)["changed"]


def until_met(hit, first, timeout, attempt):
    """What comes of an attempt that met the fault: with a short timeout, or a longer one if the machine is too busy.

    :param hit: a list of the requests that it would take; `first` of them are needed.
    :param attempt: a function of the timeout. It raises an AssertionError if the run came out right.
    """
    while True:
        hit.clear()
        outcome = attempt(timeout)
        if len(hit) >= first:
            return outcome
        assert timeout < 100, "the fault was never met"
        timeout *= 4


# --- the matrix ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "stage"), [(name, stage) for name, fault in FAULTS.items() for stage in STAGES if stage in fault.stages]
)
def test_a_fault_takes_nothing_from_anybody(lab, cell, name, stage):
    fault = FAULTS[name]
    with MisbehavingDirectory(company()) as collector, cell(name, stage) as happened:
        does = fault.does
        if does == "referral":
            does = ends_with(10, referrals=["ldap://127.0.0.1:%d/%s" % (collector.port, tree.DOMAIN)])
        hit = []

        def fits(request):
            if STAGES[stage](request):
                hit.append(request)
                return True
            return False

        lab.server.fail(fits, does, FIRST.get(stage, 1))
        if stage in fault.right:
            good(lab)
            happened.append("right")
            assert len(hit) >= FIRST.get(stage, 1), "the fault was never met"
        else:
            attempt = functools.partial(refused, lab)
            happened.append(until_met(hit, FIRST.get(stage, 1), fault.timeout, attempt))
        assert collector.connections == 0
        lab.server.behave()
        good(lab)


# --- TLS -------------------------------------------------------------------------------------------------------------

CERTIFICATES = {
    "expired certificate": (lambda ca, tmp_path: ca.expired(), "server", "has expired"),
    "certificate of another host": (
        lambda ca, tmp_path: ca.wrong_name(),
        "tls_server_name",
        "is not for '127.0.0.1', but for other.example",
    ),
    "certificate of an unknown authority": (
        lambda ca, tmp_path: CertificateAuthority(tmp_path / "other").issue("x"),
        "ca_path",
        "trusted authority",
    ),
    "self-signed certificate": (
        lambda ca, tmp_path: misbehaving.KeyPair(*_own(CertificateAuthority(tmp_path / "self"))),
        "ca_path",
        "self",
    ),
}


def _own(authority):
    return authority.cert, authority.key


@pytest.mark.parametrize("encryption", ["ldaps", "start_tls"])
@pytest.mark.parametrize("name", CERTIFICATES)
def test_a_certificate_that_must_not_be_trusted(lab, cell, tmp_path_factory, name, encryption):
    make, option, words = CERTIFICATES[name]
    with cell(name, "TLS") as happened:
        url = lab.server.ldaps_url if encryption == "ldaps" else lab.server.ldap_url
        more = {"server": [url], "encryption": encryption, "ca_path": str(lab.ca.cert)}
        lab.server.present(make(lab.ca, tmp_path_factory.mktemp("pki")))
        with pytest.raises(SynchronizationError, match=words):
            lab.run(**more)
        happened.append(refused(lab, **more))
        assert happened == [option]
        assert lab.server.of_kind("bind") == []
        lab.server.present(lab.ca.issue("good"))
        good(lab, **more)


@pytest.mark.parametrize(
    ("name", "fault", "timeout"),
    [
        ("StartTLS refused after it was announced", ends_with(52, "TLS is not set up"), 60),
        ("StartTLS answered with a referral", ends_with(10, referrals=["ldap://127.0.0.1:1/"]), 60),
        ("hangs up within a message", misbehaving.hangs_up_within_a_message, 60),
        ("stalls", misbehaving.stalls, SLOW),
        ("trickles without end", misbehaving.trickles(0.1), SLOW),
        ("no LDAP at all", sends_instead(b"HTTP/1.1 400 Bad Request\r\n\r\n"), SLOW),
    ],
)
def test_start_tls_that_fails_gets_no_password(lab, cell, name, fault, timeout):
    with cell(name, "TLS") as happened:
        more = {"encryption": "start_tls", "ca_path": str(lab.ca.cert)}
        hit = []
        lab.server.fail(lambda request: request.kind == "start_tls" and not hit.append(request), fault)
        happened.append(until_met(hit, 1, timeout, functools.partial(refused, lab, **more)))
        assert lab.server.of_kind("bind") == []
        lab.server.behave()
        good(lab, **more)


# --- a directory that changes while it is read -----------------------------------------------------------------------


def moved_ahead(domain):
    domain.unit("Z", STAFF)
    domain.move("CN=anna," + STAFF, "CN=anna,OU=Z," + STAFF)


def group_moved_ahead(domain):
    domain.unit("Z", STAFF)
    domain.move("CN=Doctors," + STAFF, "CN=Doctors,OU=Z," + STAFF)
    domain.move("CN=Nurses," + STAFF, "CN=Nurses,OU=Z," + STAFF)


def moved_behind(domain):
    domain.add("CN=A," + STAFF, {"objectClass": ["top", "container"], "objectGUID": tree.key("A").bytes_le})
    domain.move("CN=olaf," + STAFF, "CN=olaf,CN=A," + STAFF)


CHANGES = {
    # name: (the change, whether the run comes out right)
    "a user moves, comes twice": (moved_ahead, True),
    "a user moves, does not come": (moved_behind, False),
    "a user is deleted": (lambda domain: domain.remove("CN=olaf," + STAFF), True),
    "a user is renamed": (lambda domain: domain.move("CN=gina," + STAFF, "CN=gabi," + STAFF), True),
    "a group moves, comes twice": (group_moved_ahead, True),
    "a group is renamed": (lambda domain: domain.move("CN=Nurses," + STAFF, "CN=Zebras," + STAFF), True),
}


@pytest.mark.parametrize("stage", ["users", "groups", "ranges"])
@pytest.mark.parametrize("name", CHANGES)
def test_a_directory_that_changes_between_two_answers(lab, cell, name, stage):
    """Right means: as if it had happened before, or after. Who is still there loses neither record nor membership."""
    what, right = CHANGES[name]
    changed = []
    with cell(name, stage) as happened:
        lab.server.fail(
            STAGES[stage], misbehaving.changes(lambda: changed or changed.append(what(lab.server.tree))), times=1
        )
        if stage == "users" and not right:
            before = lab.dump()
            with pytest.raises(SynchronizationError, match="'CN=olaf,CN=A,.*' did not come although it is selected"):
                lab.run()
            assert lab.dump() == before
            happened.append("server")
        else:
            lab.run()
            happened.append("right")
        content = lab.content()
        assert changed
        for who in {"anna", "gina", "nina"} | ({"olaf"} if "deleted" not in name else set()):
            assert who in content["users"] and who in content["Nurses"]
        lab.server.behave()
        lab.run()
        assert not lab.run(check_mode=True)["changed"]
        assert {"anna", "gina", "nina"} <= lab.content()["users"]


def test_a_long_list_whose_group_moves_while_it_is_read_is_there_once(tmp_path):
    domain, moved = tree.ActiveDirectory(), []
    domain.unit("Staff")
    users = [domain.user("user%d" % number, STAFF) for number in range(5)]
    for name in ("Everybody", "Others", "Third"):
        domain.group(name, STAFF, *users)

    def move():
        domain.unit("Z", STAFF)
        moved.append(domain.move("CN=Everybody," + STAFF, "CN=Everybody,OU=Z," + STAFF))

    with MisbehavingDirectory(domain, max_page=2, max_values=2) as server:
        server.fail(STAGES["groups"], misbehaving.changes(lambda: moved or move()), times=1)
        summary = Lab(server, tmp_path / "users.db", None).run()["summary"]
    assert moved and summary["memberships"]["added"] == 15


# --- what a result code cannot say -----------------------------------------------------------------------------------


def test_openldap_counts_all_pages_together(tmp_path, ca):
    directory = tree.OpenLDAP()
    people = directory.unit("people")
    for number in range(9):
        directory.user("user%d" % number, people)
    more = {"use_ldap": True, "distinguished_name": people, "login": "cn=reader," + tree.SUFFIX}
    with MisbehavingDirectory(directory, logins={more["login"]: PASSWORD}) as server:
        lab = Lab(server, tmp_path / "users.db", ca)
        lab.run(**more)
        server.size_limit = 5  # the pages have 2
        assert refused(lab, **more) == "login"
        server.size_limit = None
        assert not lab.run(**more)["changed"]


def test_a_search_that_ends_too_early_with_success_is_found_out(lab):
    """Nothing in LDAP tells it from the truth. But who is missing is looked up, and is found where all was read."""
    lab.server.fail(STAGES["users"], misbehaving.finds_nothing, first=2)
    with pytest.raises(SynchronizationError, match="did not come although it is selected: run again"):
        lab.run()
    assert refused(lab) == "server"
    lab.server.behave()
    good(lab)


def test_the_real_limits_of_active_directory(tmp_path):
    """MaxPageSize 1000 and MaxValRange 1500: more users than a page has, and more members than two ranges have."""
    domain = tree.ActiveDirectory()
    domain.unit("Staff")
    users = [domain.user("user%04d" % number, STAFF) for number in range(3200)]
    domain.group("Everybody", STAFF, *users)
    with MisbehavingDirectory(domain, max_page=1000, max_values=1500) as server:
        lab = Lab(server, tmp_path / "users.db", None)
        result = lab.run(page_size=5000)
        assert result["summary"]["users"]["created"] == result["summary"]["memberships"]["added"] == 3200
        assert len([request for request in server.received if STAGES["ranges"](request)]) == 2


# --- incremental reads -----------------------------------------------------------------------------------------------

BY_NUMBER, BY_SWEEP = "by uSNChanged", "by a sweep of keys"
STAGES_OF_CHANGES = {
    # name: (how changes are told, the requests)
    "position": (BY_NUMBER, lambda request: "highestCommittedUSN" in request.attributes),
    "invocation": (BY_NUMBER, lambda request: "invocationId" in request.attributes),
    "changes": (BY_NUMBER, lambda request: request.filter.startswith("(uSNChanged>=")),
    "deleted": (BY_NUMBER, lambda request: request.page_size is not None and request.shows_deleted),
    "sweep": (BY_SWEEP, lambda request: "uSNChanged" in request.attributes),
    "by key": (
        BY_NUMBER,
        lambda request: (
            request.scope == 2
            and "objectGUID=" in request.filter
            and ("objectClass=user" in request.filter or "objectClass=group" in request.filter)
        ),
    ),
    "lists": (BY_NUMBER, lambda request: "(member=" in request.filter),
    "long lists": (BY_NUMBER, STAGES["ranges"]),
    "members": (BY_NUMBER, STAGES["outside"]),
    "who left": (BY_NUMBER, lambda request: request.scope == 2 and request.filter.startswith("(|(|(objectGUID=")),
}
FIRST_OF_CHANGES = {"changes": 2, "deleted": 2, "sweep": 2, "by key": 2, "long lists": 2}
PAGED_OF_CHANGES = ("changes", "deleted", "sweep", "by key", "lists", "members")
# What takes no time, or not for ever, makes no other difference.
FAULTS_OF_CHANGES = {
    name: fault
    for name, fault in FAULTS.items()
    if name
    not in ("invalidCredentials", "BER of indefinite length", "a message of 2 GiB", "trickles, a byte at a time")
}


@pytest.fixture(scope="module")
def marked_stores(tmp_path_factory):
    """By how changes are told: the store as the first run leaves it, with a mark, and the name of the server."""
    stores = {}
    for way in (BY_NUMBER, BY_SWEEP):
        store = tmp_path_factory.mktemp("marked") / "users.db"
        with MisbehavingDirectory(company(tree.Controller(way == BY_NUMBER)), max_page=2, max_values=2) as server:
            Lab(server, store, None).run()
            stores[way] = store, server.port
    return stores


@pytest.fixture
def marked(marked_stores, tmp_path, ca):
    """A function: a lab with a mark, whose directory has changed since. It is still the same server."""
    servers = []

    def begin(way):
        store, port = marked_stores[way]
        shutil.copy(store, tmp_path / "users.db")
        domain = company(tree.Controller(way == BY_NUMBER))
        change(domain)
        servers.append(MisbehavingDirectory(domain, ca=ca, max_page=2, max_values=2))
        server = servers[0].__enter__()
        names = "127.0.0.1:%d" % port, "127.0.0.1:%d" % server.port
        stored.change(tmp_path / "users.db", "UPDATE runs SET server = replace(server, ?, ?)", *names)
        stored.change(tmp_path / "users.db", "UPDATE marks SET mark = replace(mark, ?, ?)", *names)
        return Lab(server, tmp_path / "users.db", ca)

    yield begin
    for server in servers:
        server.__exit__(None, None, None)


@pytest.mark.parametrize("way", [BY_NUMBER, BY_SWEEP])
def test_an_incremental_read_comes_out_right(marked, way):
    lab = marked(way)
    result = lab.run()
    assert result["read"]["mode"] == "incremental", result["read"]
    assert lab.content() == AFTER
    assert not [request for request in lab.server.received if STAGES["users"](request) or STAGES["groups"](request)]
    full = lab.run(check_mode=True, read_mode="full")
    assert not full["changed"], full["diff"]


def pytest_generate_tests(metafunc):
    """Without --thorough a third of the cells, so that each fault and each stage is met some times."""
    if "marked" in metafunc.fixturenames and "stage" in metafunc.fixturenames:
        every = metafunc.config.getoption("--thorough")
        metafunc.parametrize(
            ("name", "stage"),
            [
                (name, stage)
                for row, (name, fault) in enumerate(FAULTS_OF_CHANGES.items())
                for column, stage in enumerate(STAGES_OF_CHANGES)
                if (every or (row + column) % 3 == 0) and (fault.stages != PAGED or stage in PAGED_OF_CHANGES)
            ],
        )


def test_a_fault_of_an_incremental_read_takes_nothing_from_anybody(marked, cell, name, stage):
    """It comes out right, by reading everything if need be, or fails with one sentence and the store as it was."""
    fault, (way, requests) = FAULTS_OF_CHANGES[name], STAGES_OF_CHANGES[stage]
    lab, hit = marked(way), []

    def fits(request):
        if requests(request):
            hit.append(request)
        return requests(request)

    with MisbehavingDirectory(company()) as collector, cell(name, stage) as happened:
        does = fault.does
        if does == "referral":
            does = ends_with(10, referrals=["ldap://127.0.0.1:%d/%s" % (collector.port, tree.DOMAIN)])
        lied = does is misbehaving.finds_nothing or (name, stage) == ("noSuchObject", "members")
        lab.server.fail(fits, does, FIRST_OF_CHANGES.get(stage, 1))
        before, first = lab.dump(), FIRST_OF_CHANGES.get(stage, 1)

        def attempt(timeout):
            """The result, if it came out right."""
            try:
                result = lab.run(timeout=timeout)
            except SynchronizationError:
                assert lab.dump() == before
                return None
            assert len(hit) >= first, "the fault was never met"
            return result

        result = until_met(hit, first, fault.timeout, attempt)
        if result:
            came_out(lab, result, happened, lied)
        else:
            happened.append(until_met(hit, first, fault.timeout, functools.partial(refused, lab)))
        assert collector.connections == 0
        lab.server.behave()
        good(lab, read_mode="full")


def came_out(lab, result, happened, lied):
    content = lab.content()
    happened.append("right" if result["read"]["mode"] == "incremental" else "full")
    if content != AFTER:  # then the server has hidden who is new: nobody can know, and nobody may be lost
        assert lied and happened == ["right"]
        happened[:] = ["unseen"]
        for name, there in AFTER.items():
            assert there - (content[name] or set()) <= {"yann", "zoe"}, name
    else:
        lab.server.behave()
        assert not lab.run(check_mode=True, read_mode="full")["changed"]
