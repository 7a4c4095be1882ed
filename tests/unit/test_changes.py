# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changed since a mark: what can be told of it without a server."""

from __future__ import annotations

import time
import uuid

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory import changes

KEYS = [("entryUUID", "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"), ("nsUniqueId", "0a1b2c3d-4e5f6071-8293a4b5-c6d7e8f9")]


@pytest.mark.parametrize(("attribute", "key"), KEYS)
def test_a_key_is_sixteen_bytes_and_comes_back_as_it_is_spelled(attribute, key):
    assert changes._identity(key, attribute) == uuid.UUID(key.replace("-", "")).bytes
    assert changes._uuid_text(changes._identity(key, attribute), attribute) == key


@pytest.mark.parametrize(("attribute", "key"), [
    *((attribute, other) for attribute, key in KEYS for other in (key.upper(), key[:-1], key + "0", key.replace("-", ""))),
    *((attribute, key) for (attribute, _own), (_other, key) in zip(KEYS, reversed(KEYS))),
    ("entryUUID", "ann"), ("entryUUID", ""),
])
def test_what_is_spelled_otherwise_is_another_key(attribute, key):
    assert changes._identity(key, attribute) is None
    with pytest.raises(changes.ReadFully, match="is no UUID"):
        changes._uuid_bytes(key, attribute)


@pytest.mark.parametrize(("ago", "fresh"), [(0, True), (3590, True), (3610, False), (86400, False), (-86400, True)])
def test_a_time_is_fresh_for_an_hour_and_when_it_is_still_to_come(ago, fresh):
    written = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() - ago)).encode("ascii")
    assert changes._is_fresh(written) is fresh


def test_what_is_no_time_never_counts_as_old():
    assert changes._is_fresh(b"yesterday")
