# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A provisioning whose process is killed at any instant: what comes of it is what one undisturbed run makes."""

from __future__ import annotations

import os
import signal
import time

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._options import (
    PROVISIONING,
    SCIM,
    STORE,
    module_arguments,
)
from ansible_collections.usersync.directory.plugins.module_utils._provisioning_settings import provisioning_settings
from ansible_collections.usersync.directory.plugins.module_utils._scim_provisioning import provision_to_scim
from support import stored, stores
from support.company import Company
from support.scim_service import TOKEN, ScimService, serving

pytestmark = pytest.mark.usefixtures("no_proxy")

DEFAULTS = {
    option: described.get("default")
    for option, described in module_arguments(PROVISIONING, SCIM, STORE)["argument_spec"].items()
}
FIRST = {"Staff": [f"p{number:02d}" for number in range(24)], "Night": ["p01", "p02", "p03"]}
# Some leave, some join, some are called otherwise, two swap their names.
THEN = {"Staff": [f"p{number:02d}" for number in range(8, 30)], "Night": ["p09", "p29"]}
NAMES = {"p10": {"name": "p11"}, "p11": {"name": "p10"}, "p12": {"name": "twelve"}}


def provision(company, url):
    given = {
        "name": "wiki",
        "user_groups": ["All/Company/Staff", "All/Company/Night"],
        "url": url,
        "token": TOKEN,
        "store": stores.of(company.store),
        "departure": "delete",
        "removal_limits": "100%",
    }
    return provision_to_scim(provisioning_settings({**DEFAULTS, **given}), False, False, lambda _text: None)


def killed_after(company, service, url, requests, seconds):
    """Run it in a process of its own, and kill that so many seconds after so many requests. Return whether it was."""
    before = len(service.requests)
    child = os.fork()
    if not child:
        try:
            provision(company, url)
        finally:
            os._exit(0)
    while len(service.requests) < before + requests and not has_ended(child):
        time.sleep(0.0005)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def has_ended(child):
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def seen(service):
    names = {number: each["userName"] for number, each in service.users.items()}
    people = sorted((each["userName"], each["externalId"], each["active"]) for each in service.users.values())
    members = {each["displayName"]: sorted(map(names.get, service.members(id))) for id, each in service.groups.items()}
    return people, members


def test_killed_at_any_instant(tmp_path, chance, request):
    kills = 100 if request.config.getoption("--thorough") else 8
    undisturbed, disturbed = ScimService(), ScimService()
    one, other = Company(tmp_path / "one" / "users.db"), Company(tmp_path / "other" / "users.db")
    with serving(undisturbed) as straight, serving(disturbed) as url:
        for groups, people in ((FIRST, {}), (THEN, NAMES)):
            for company in (one, other):
                company.becomes(groups, people)
            before = len(undisturbed.requests)
            provision(one, straight)
            half = (len(undisturbed.requests) - before) // 2  # however fast it is, the first kill finds it at work
            instants = [(chance.randrange(half), chance.uniform(0, 0.005)) for _kill in range(kills)]
            were = sum(killed_after(other, disturbed, url, *instant) for instant in instants)
            assert were, "none was killed"
            result = provision(other, url)
            assert not result["left"] and not result["not_provisioned"] and not result["collisions"]
            assert seen(disturbed) == seen(undisturbed)
            assert not provision(other, url)["changed"]
    assert disturbed.given == undisturbed.given, "nothing was created twice"
    deleted = {each.path.rpartition("/")[2] for each in disturbed.asked("deletion")}
    columns = "SELECT DISTINCT destination_id FROM past_links WHERE event = 'ended'"
    assert deleted == {number for (number,) in stored.rows(other.store, columns)}, "and the history has each"
    assert stored.rows(other.store, "SELECT * FROM intents") == []
