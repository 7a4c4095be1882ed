# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our base of named tuples makes the same classes as that of Python."""

from __future__ import annotations

import pickle
import typing

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._named_tuple import NamedTuple

if typing.TYPE_CHECKING:
    from decimal import Decimal  # which nobody has at run time


class Theirs(typing.NamedTuple):
    """A user."""

    name: str
    groups: Decimal
    enabled: bool = True
    sid: str | None = None

    NOBODY = "nobody"

    @property
    def is_nobody(self) -> bool:
        return self.name == self.NOBODY

    def __str__(self) -> str:
        return "user %s" % self.name


class Ours(NamedTuple):
    """A user."""

    name: str
    groups: Decimal
    enabled: bool = True
    sid: str | None = None

    NOBODY = "nobody"

    @property
    def is_nobody(self) -> bool:
        return self.name == self.NOBODY

    def __str__(self) -> str:
        return "user %s" % self.name


def test_it_is_the_same_tuple():
    ours, theirs = Ours("ann", ["staff"], sid="S-1"), Theirs("ann", ["staff"], sid="S-1")
    assert ours == theirs == ("ann", ["staff"], True, "S-1")
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert str(ours) == str(theirs) == "user ann"
    assert ours._replace(name="nobody").is_nobody
    assert ours._asdict() == theirs._asdict()
    assert pickle.loads(pickle.dumps(ours)) == ours


@pytest.mark.parametrize(
    "attribute", ["_fields", "_field_defaults", "__module__", "__doc__", "__match_args__", "__slots__"]
)
def test_it_is_the_same_class(attribute):
    assert getattr(Ours, attribute, None) == getattr(Theirs, attribute, None)


def test_the_annotations_stay_as_they_are_written():
    assert Ours.__annotations__["groups"] == "Decimal"


@pytest.mark.parametrize("values", [(), ("ann",), ("ann", [], True, None, "more")])
def test_it_takes_the_same_values(values):
    for each in (Ours, Theirs):
        with pytest.raises(TypeError):
            each(*values)
