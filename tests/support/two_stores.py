# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two stores of one directory: what an incremental run leaves and says must be what a full one leaves and says."""

from __future__ import annotations

import json
from contextlib import contextmanager
from time import monotonic
from time import time as seconds_since_1970

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._store import for_reader

from . import stored
from .lab import Lab

LIMITS = 999999


def held_by(path):
    """What a store holds, by names that do not depend on row ids."""
    return {
        "users": stored.rows(
            path,
            "SELECT u.key, u.name, u.name_key, g.key, u.enabled, u.sid, u.extinct, u.dn, u.known_as,"
            " u.attributes, u.adopted, u.expires FROM users u JOIN user_groups g ON g.id = u.home_id",
        ),
        "claims": stored.rows(
            path,
            "SELECT s.name, u.key FROM claims c JOIN users u ON u.id = c.user_id"
            " JOIN synchronizations s ON s.id = c.synchronization_id",
        ),
        "user_groups": stored.rows(
            path,
            "SELECT s.name, g.key, g.name, g.name_key, p.key, p.name, g.extinct, g.attributes, g.dn"
            " FROM user_groups g LEFT JOIN user_groups p ON p.id = g.parent_id"
            " LEFT JOIN synchronizations s ON s.id = g.synchronization_id",
        ),
        "memberships": stored.rows(
            path,
            "SELECT s.name, g.key, u.key, u.name, m.listed_as FROM memberships m"
            " JOIN user_groups g ON g.id = m.user_group_id JOIN users u ON u.id = m.user_id"
            " LEFT JOIN synchronizations s ON s.id = g.synchronization_id",
        ),
        "nestings": stored.rows(
            path,
            "SELECT s.name, g.key, n.key, m.listed_as FROM nestings m JOIN user_groups g"
            " ON g.id = m.user_group_id JOIN user_groups n ON n.id = m.nested_id"
            " LEFT JOIN synchronizations s ON s.id = g.synchronization_id",
        ),
    }


# What the store has nothing of, an incremental run counts among what it read.
COUNTS_OF_WHAT_WAS_READ = {
    "memberships": ("computers", "contacts", "out_of_scope", "well_known_identities"),
    "users": ("ignored",),
}


# What two runs that say the same may say otherwise.
OF_THE_RUN = ("read", "settings", "began", "dry_run")


def said_by(result):
    said = json.loads(json.dumps({key: value for key, value in result.items() if key not in OF_THE_RUN}))
    for part, counts in COUNTS_OF_WHAT_WAS_READ.items():
        for count in counts:
            said["summary"][part].pop(count)
    said["not_stored"].sort(key=repr)
    said["unresolved_members"].sort(key=repr)
    return said


def must_be_equal(one, other):
    """Fail with what is in only one of two results, or of two stores."""
    found = differences(one, other)
    if found:
        pytest.fail("\n".join(found))


def differences(one, other):
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            "%s: %s" % (key, text)
            for key in sorted(one.keys() | other.keys())
            for text in differences(one.get(key), other.get(key))
        ]
    if isinstance(one, list) and isinstance(other, list):
        return [
            "%s has %s" % (who, item)
            for who, mine, theirs in (("incremental", one, other), ("full", other, one))
            for item in mine
            if item not in theirs
        ]
    return [] if one == other else ["incremental says %r, full %r" % (one, other)]


@contextmanager
def nothing_known():
    """Have a full run compare all that it reads, as if it had never read it."""
    digests = for_reader.digests

    def with_another_salt(known):
        known.same = 0
        return digests(known)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(for_reader, "digests", with_another_salt)
        yield


class Pair:
    """Two stores of one directory: one is kept by incremental runs, and by full ones that leave out what they know. The
    other one is kept by full runs that go through everything.

    :param jobs: the options of each synchronization.
    """

    def __init__(self, server, folder, *jobs):
        always = {"removal_limits": LIMITS, "allow_empty": True, "scope_change": True, "store_backups": 0}
        self.jobs = [{**always, **job} for job in jobs]
        self.incremental = Lab(server, folder / "incremental.db")
        self.full = Lab(server, folder / "full.db")
        self.modes: list[str] = []
        self.reasons: list[str] = []

    def step(self, without_mark=False):
        """A run of each, and a dry one before: what they say and what they leave is equal."""
        if without_mark:
            self.incremental.change("DELETE FROM marks")
        for job in self.jobs:
            before = self._bytes()
            dry = self.incremental.once(True, read_mode="incremental", **job)
            assert self._bytes() == before, "a dry run left a trace"
            incremental = self.incremental.once(read_mode="incremental", **job)
            with nothing_known():
                full = self.full.once(read_mode="full", **job)
            self.modes.append(incremental["read"]["mode"])
            self.reasons.append(incremental["read"]["reason"])
            assert full["read"]["mode"] == "full"
            must_be_equal(held_by(self.incremental.store), held_by(self.full.store))
            must_be_equal(said_by(incremental), said_by(full))
            must_be_equal(said_by(dry), said_by(full))

    def _bytes(self):
        return self.incremental.store.read_bytes() if self.incremental.store.exists() else b""


class Clock:
    """Stands in for the module `time` where runs ask what time it is, so that both see the same."""

    monotonic = staticmethod(monotonic)

    def __init__(self):
        self.now = int(seconds_since_1970())

    def time(self):
        return self.now
