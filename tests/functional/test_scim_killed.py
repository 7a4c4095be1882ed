# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A provisioning whose process is killed at any instant: what comes of it is what one undisturbed run makes.

``--thorough`` kills 201 runs of thousands of changes instead of 21 of some hundreds.
"""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from support import provisioned, stored
from support.company import Company

pytestmark = pytest.mark.usefixtures("no_proxy")


def everybody(size, turn):
    """Who is in which user group, and how some are called, before the first run and before each later one.

    A fifth leaves each time, and another fifth comes, or comes back. Two swap their names, and one has another one.
    """
    people = ["p%04d" % number for number in range(size)]
    gone = {name for number, name in enumerate(people) if number % 5 == turn}
    staff = [name for name in people if name not in gone]
    groups = {"Staff": staff, "Night": staff[turn::3]}
    groups.update(("Team%02d" % team, staff[team * 20 + turn * 3 : team * 20 + 20]) for team in range(size // 25))
    names = {} if turn != 1 else {"p0010": "p0012", "p0012": "p0010", "p0013": "thirteen"}
    return groups, {name: {"name": names.get(name, name), "attributes": {"title": str(turn)}} for name in people}


def killed_after(run, service, writes, seconds):
    """Run it in a process of its own, and kill that so many seconds after so many writes. Return whether it was."""
    reached, left = threading.Event(), [writes]

    def counting(request, answer):
        left[0] -= request.method != "GET"
        if left[0] < 0:
            reached.set()
        return answer

    service.fault = counting
    child = os.fork()
    if not child:
        try:
            run()
        finally:
            os._exit(0)
    while not reached.wait(0.005) and not has_ended(child):
        pass
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def has_ended(child):
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def seen(service):
    names = {number: each["externalId"] for number, each in service.users.items()}
    people = sorted(
        (each["userName"], each["externalId"], each["active"], each["title"]) for each in service.users.values()
    )
    members = {each["displayName"]: sorted(map(names.get, service.members(id))) for id, each in service.groups.items()}
    return people, members


def ended(company):
    """What the history has of it: whose membership ended, and whose account, each once or more."""
    columns = "SELECT DISTINCT event, key, group_name FROM past_links WHERE event IN ('member_removed', 'ended')"
    return set(stored.rows(company.store, columns))


def test_killed_at_any_instant(tmp_path, chance, request):
    kills, size = (67, 1000) if request.config.getoption("--thorough") else (7, 60)
    one, other = Company(tmp_path / "one" / "users.db"), Company(tmp_path / "other" / "users.db")
    with provisioned.served() as undisturbed, provisioned.served() as disturbed:
        straight, run = provisioned.directly(one, undisturbed), provisioned.directly(other, disturbed)
        changes = killed = 0
        for turn, departure in enumerate(["disable", "disable", "delete"]):
            groups, people = everybody(size, turn)
            options = {"user_groups": ["All/Company/" + each for each in groups], "departure": departure}
            options.update(removal_limits="100%", allow_empty=True)
            for company in (one, other):
                company.becomes(groups, people)
            before = len(undisturbed.requests)
            assert not straight(**options).get("failed")
            writes = sum(each.method != "GET" for each in undisturbed.requests[before:])
            changes += writes
            for _kill in range(kills):
                instant = chance.randrange(1 + writes // kills), chance.uniform(0, 0.005)
                killed += killed_after(lambda options=options: run(**options), disturbed, *instant)
            result = run(**options)
            assert not result.get("failed") and not result["left"], result["msg"]
            assert not result["not_provisioned"] and not result["collisions"] and not result["drift"], result
            assert seen(disturbed) == seen(undisturbed)
            assert not run(**options)["changed"]
    print(f"{changes} changes, {killed} kills")
    assert killed > 2 * kills, "most runs are at work when they are killed"
    assert disturbed.given == undisturbed.given, "nothing was created twice"
    assert ended(other) == ended(one), "the history has each removal"
    left = stored.rows(other.store, "SELECT key FROM intents UNION SELECT key FROM link_members WHERE in_doubt > 0")
    assert left == []
