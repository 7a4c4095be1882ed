# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records as SCIM has them: what is written can be read, and a change changes nothing else."""

from __future__ import annotations

import copy
import json

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._destination.contract import Kind, Record, State
from ansible_collections.usersync.directory.plugins.module_utils._destination.scim import resources, services
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples
from support.scim_service import _patch

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
ATTRIBUTES = ("displayName", "name.givenName", "name.familyName", "emails[work]", "emails[home]", "title")
texts = st.text(min_size=1, max_size=8)
records = st.builds(
    Record,
    texts,
    st.just("key"),
    st.sampled_from([State.ENABLED, State.DISABLED]),
    st.dictionaries(st.sampled_from([*ATTRIBUTES, ENTERPRISE + ":department"]), texts),
)
FOREIGN = {"nickName": "stays", "phoneNumbers": [{"type": "work", "value": "1"}], "meta": {"version": "W/1"}}


@examples(200)
@given(records)
def test_what_is_written_can_be_read(record):
    resource = json.loads(json.dumps(resources.resource_of(Kind.ACCOUNT, record)))
    assert resources.record_of(Kind.ACCOUNT, resource, [*ATTRIBUTES, ENTERPRISE + ":department"]) == record
    assert resources.shown(Kind.ACCOUNT, resource, record) == {}


@examples(200)
@given(records, records)
def test_a_put_changes_what_differs_and_nothing_else(before, after):
    resource = {**resources.resource_of(Kind.ACCOUNT, before), **copy.deepcopy(FOREIGN)}
    merged = resources.merged(Kind.ACCOUNT, resource, before, after)
    assert resources.record_of(Kind.ACCOUNT, merged, [*ATTRIBUTES, ENTERPRISE + ":department"]) == after
    assert {name: merged[name] for name in FOREIGN} == FOREIGN


@examples(200)
@given(records, records)
def test_a_patch_changes_what_differs_and_nothing_else(before, after):
    """By the service of tests/support, which knows no schemas before names."""
    before, after = (
        record._replace(attributes={name: text for name, text in record.attributes.items() if name in ATTRIBUTES})
        for record in (before, after)
    )
    resource = {**resources.resource_of(Kind.ACCOUNT, before), **copy.deepcopy(FOREIGN)}
    for operation in resources.operations(Kind.ACCOUNT, before, after):
        _patch(resource, operation)
    assert resources.record_of(Kind.ACCOUNT, resource, ATTRIBUTES) == after
    assert {name: resource[name] for name in FOREIGN} == FOREIGN
    assert resources.operations(Kind.ACCOUNT, after, after) == []


@pytest.mark.parametrize(
    "value, text",
    [
        ("ann", 'userName eq "ann"'),
        ('a" or userName pr or userName eq "', 'userName eq "a\\" or userName pr or userName eq \\""'),
        ("back\\slash", 'userName eq "back\\\\slash"'),
        ("Zoë\n", 'userName eq "Zoë\\n"'),
    ],
)
def test_a_value_in_a_filter_cannot_end_it(value, text):
    assert resources.equals("userName", value) == text


@pytest.mark.parametrize(
    "said, state",
    [
        (True, State.ENABLED),
        (False, State.DISABLED),
        ("False", State.DISABLED),
        ("true", State.ENABLED),
        (None, State.UNTOLD),
        (0, State.UNTOLD),
    ],
)
def test_a_state_that_is_not_told_is_none(said, state):
    assert resources.state_of({"active": said}) is state
    assert resources.state_of({}) is State.UNTOLD


def test_members_are_changed_one_by_one_and_the_list_is_never_replaced():
    found = resources.member_operations(["a"], ['b"c'], by_value=False)
    assert found == [
        {"op": "remove", "path": 'members[value eq "b\\"c"]'},
        {"op": "add", "path": "members", "value": [{"value": "a"}]},
    ]
    assert resources.member_operations([], ["b"], by_value=True) == [
        {"op": "remove", "path": "members", "value": [{"value": "b"}]}
    ]


def test_every_service_has_a_source_and_options_count_more():
    wanted = "rfc aws_identity_center github gitlab slack databricks snowflake entra google keycloak authentik grafana"
    assert services.SERVICES.keys() == set(wanted.split())
    assert all("https://" in each.source for name, each in services.SERVICES.items() if name != "rfc")
    assert services.service("slack", largest_change=5).largest_change == 5
    with pytest.raises(ValueError, match="^service: 'slac' is not known: choose one of authentik, "):
        services.service("slac")
    with pytest.raises(ValueError, match="^service: there is no option chunk"):
        services.service("slack", chunk=5)
