# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists that change while they are read in ranges take nobody away, and answers without end come to an end."""

from __future__ import annotations

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory import search
from ansible_collections.usersync.directory.plugins.module_utils._errors import SynchronizationError
from support import misbehaving, tree
from support.lab import Lab, synchronize
from support.misbehaving import MisbehavingDirectory

STAFF = "OU=Staff," + tree.DOMAIN
CREW = "CN=Crew," + STAFF
NAMES = ["user%d" % number for number in range(8)]
NO_LIMITS = {"removal_limits": dict.fromkeys(("users", "user_groups", "memberships", "attributes", "renames"), "100%")}


def dn_of(name):
    return "CN=%s,%s" % (name, STAFF)


@pytest.fixture
def domain():
    domain = tree.Controller()
    domain.unit("Staff")
    domain.group("Crew", STAFF, *(domain.user(name, STAFF) for name in NAMES))
    return domain


@pytest.fixture
def lab(domain, tmp_path):
    with MisbehavingDirectory(domain, max_values=3) as server:
        server.modify = server.ldapi_url = None

        class OfController(Lab):
            def once(self, check_mode=False, **more):
                self.warnings = []
                usual = {
                    "name": "staff",
                    "user_group": "All/Staff",
                    **server.in_clear(),
                    "store": str(self.store),
                    **NO_LIMITS,
                }
                return synchronize(check_mode, self.warnings, **{**usual, **more})

        yield OfController(server, tmp_path / "users.db")


def is_range(request):
    return any("member;range=" in name for name in request.attributes)


def leaves(domain, *names):
    """Somebody leaves the list right after the answer."""
    gone = {dn_of(name).encode() for name in names}
    return misbehaving.changes(
        lambda: domain.set(CREW, "member", *(value for value in domain[CREW]["member"] if value not in gone))
    )


def members(lab):
    return [name for _group, name in lab.members()]


@pytest.mark.parametrize("mode", ["full", "auto"])
@pytest.mark.parametrize("first", [1, 2, 3, 4, 5])
def test_nobody_is_skipped_who_is_still_there(lab, domain, mode, first):
    """Finding RG: somebody of an earlier range leaves, and the one who moves up into it is in no range."""
    lab.once(read_mode=mode)
    domain.set(CREW, "member", *map(dn_of, NAMES[:7]))
    lab.server.fail(is_range, leaves(domain, "user0"), first=first, times=1)
    result = lab.once(read_mode=mode)
    assert set(members(lab)) >= set(NAMES[1:7])
    assert result["read"]["mode"] == {"full": "full", "auto": "incremental"}[mode]
    lab.server.behave()
    lab.once(read_mode=mode)
    assert members(lab) == NAMES[1:7], "and who left is out"


def test_somebody_joins_and_somebody_leaves(lab, domain):
    lab.once()
    domain.user("new", STAFF)

    def change():
        listed = [value for value in domain[CREW]["member"] if value != dn_of("user1").encode()]
        domain.set(CREW, "member", dn_of("new"), *listed)

    lab.server.fail(is_range, misbehaving.changes(change), first=2, times=1)
    lab.once(read_mode="full")
    assert set(members(lab)) >= {"user0", *NAMES[2:]}


def test_a_list_that_becomes_short_while_it_is_read(lab, domain):
    lab.once()
    domain.set(CREW, "member", *map(dn_of, NAMES[:7]))
    lab.server.fail(is_range, leaves(domain, *NAMES[:5]), first=1, times=1)
    lab.once(read_mode="full")
    lab.server.behave()
    lab.once(read_mode="full")
    assert members(lab) == NAMES[5:7]


def test_a_list_that_becomes_empty_while_it_is_read(lab, domain):
    lab.once()
    lab.server.fail(is_range, leaves(domain, *NAMES), first=1, times=1)
    lab.once(read_mode="full")
    assert members(lab) in ([], NAMES)


def test_a_list_that_changes_each_time_ends_the_run(lab, domain):
    lab.once()
    lab.server.fail(
        is_range,
        misbehaving.changes(lambda: domain.set(CREW, "member", *reversed(domain[CREW]["member"][1:]), dn_of("x"))),
    )
    before = lab.contents()
    with pytest.raises(SynchronizationError) as error:
        lab.once(read_mode="full")
    assert str(error.value).startswith("server: the values of member of '<GUID=")
    assert "since they changed in each of 6 reads: run again" in str(error.value)
    assert lab.contents() == before
    assert len([request for request in lab.server.of_kind("search") if is_range(request)]) < 30


def test_a_first_run_with_a_list_that_changes(lab, domain):
    domain.user("new", STAFF)
    lab.server.fail(
        is_range,
        misbehaving.changes(lambda: domain.set(CREW, "member", dn_of("new"), *domain[CREW]["member"])),
        first=1,
        times=1,
    )
    lab.once()
    assert members(lab) == ["new", *NAMES]


def test_a_list_that_is_as_stored_is_read_once(lab, domain):
    """Also one with somebody who is no user; and one that changed is read twice."""
    domain.add("CN=pc,%s" % STAFF, {"objectClass": ["computer"], "objectGUID": tree.key("pc").bytes_le})
    domain.set(CREW, "member", *map(dn_of, NAMES), "CN=pc,%s" % STAFF)
    ranges = []
    for _run in range(3):
        lab.server.behave()
        lab.once(read_mode="full")
        ranges.append(sum(map(is_range, lab.server.of_kind("search"))))
    assert ranges == [2, 2, 2]
    domain.set(CREW, "member", *map(dn_of, NAMES[:7]))
    lab.server.behave()
    lab.once(read_mode="full")
    assert sum(map(is_range, lab.server.of_kind("search"))) == 5
    assert members(lab) == NAMES[:7]


# --- answers without end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("empty", "what"), [(True, "31 empty pages in a row"), (False, "301 entries")])
def test_pages_without_end(lab, monkeypatch, empty, what):
    lab.once()
    before = lab.contents()
    monkeypatch.setattr(search, "_MOST_ENTRIES", 300)
    monkeypatch.setattr(search, "_MOST_EMPTY_PAGES", 30)
    lab.server.fail(lambda request: request.page_size is not None, misbehaving.pages_without_end(empty))
    with pytest.raises(SynchronizationError) as error:
        lab.once(read_mode="full")
    assert str(error.value) == (
        "server: the read does not come to an end, after %s: run again, or name another server" % what
    )
    assert lab.contents() == before


LONG = "what a server says " * 20_000


@pytest.mark.parametrize(
    "fails",
    [
        lambda request: request.kind == "bind",
        lambda request: request.kind == "search" and not request.base,
        lambda request: request.page_size is not None,
    ],
    ids=["bind", "root DSE", "read"],
)
@pytest.mark.parametrize("code", [8, 10, 49, 51, 53, 80])
def test_what_a_server_says_is_cut(lab, fails, code):
    lab.server.fail(fails, misbehaving.ends_with(code, LONG, [LONG] if code == 10 else ()))
    with pytest.raises(SynchronizationError) as error:
        lab.once()
    assert len(str(error.value)) < 1500
    assert ("what a server says" in str(error.value)) == ("..." in str(error.value))
    assert not str(error.value).endswith("..."), "the end says what to do"
