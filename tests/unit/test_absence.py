# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters that prove absence, and what is always there. What servers answer is in functional/test_absence.py."""

from __future__ import annotations

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory import presets
from ansible_collections.usersync.directory.plugins.module_utils._directory.filter_text import negated, parse_filter
from ansible_collections.usersync.directory.plugins.module_utils._directory.proofs.common import always_there
from hypothesis import given
from hypothesis import strategies as st

TRUE, UNDEFINED, FALSE = 1, 0, -1  # as numbers: "and" is the least, "or" the most, "not" the opposite (Kleene)

LEAVES = st.sampled_from(["(a=1)", "(b=*)", "(c=x*y*z)", "(d>=3)", r"(e=\28\00)", "(f:dn:1.2.3:=q)", "(:caseMatch:=ü)"])
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from("&|"), st.lists(inner, min_size=1, max_size=3)).map(
            lambda parts: "(%s%s)" % (parts[0], "".join(parts[1]))
        ),
        inner.map("(!{})".format),
    ),
    max_leaves=8,
)


def value_of(tree, leaves):
    kind = tree[0]
    if kind == "&":
        return min(value_of(each, leaves) for each in tree[1])
    if kind == "|":
        return max(value_of(each, leaves) for each in tree[1])
    if kind == "!":
        return -value_of(tree[1], leaves)
    return leaves[repr(tree)]


@given(FILTERS, st.data())
def test_the_contrary_of_a_filter(text, data):
    """True where it is False, False where it is True, Undefined where it is that; "not" stands before tests only."""
    contrary = negated(text)
    leaves = {repr(tree): data.draw(st.sampled_from((TRUE, UNDEFINED, FALSE))) for tree in _leaves(parse_filter(text))}
    assert value_of(parse_filter(contrary), leaves) == -value_of(parse_filter(text), leaves)
    assert not [inner for inner in _negations(parse_filter(contrary)) if inner[0] in ("&", "|", "!")]


def _leaves(tree):
    if tree[0] in ("&", "|"):
        return [leaf for each in tree[1] for leaf in _leaves(each)]
    return _leaves(tree[1]) if tree[0] == "!" else [tree]


def _negations(tree):
    if tree[0] in ("&", "|"):
        return [inner for each in tree[1] for inner in _negations(each)]
    return [tree[1]] if tree[0] == "!" else []


@pytest.mark.parametrize(
    ("text", "contrary"),
    [
        ("(objectClass=person)", "(!(objectClass=\\70\\65\\72\\73\\6f\\6e))"),
        ("(&(a=*)(!(b=*)))", "(|(!(a=*))(b=*))"),
        ("(!(|(a=*)(b=*)))", "(|(a=*)(b=*))"),
    ],
)
def test_contraries(text, contrary):
    assert negated(text) == contrary


def test_what_every_user_has():
    """By presets: a state that is missing there is hidden."""
    found = {name: always_there(preset) for name, preset in presets.PRESETS.items()}
    assert found.pop("active_directory") == ("userAccountControl", "accountExpires")
    assert set(found.values()) == {()}
