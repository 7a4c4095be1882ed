# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a store in PostgreSQL makes of the statements that all stores share, and of rows."""

from __future__ import annotations

from ansible_collections.usersync.directory.plugins.module_utils._store import postgresql_words
from hypothesis import given
from hypothesis import strategies as st


KINDS = [st.integers(), st.text(), st.none(), st.binary(max_size=3), st.floats(allow_nan=False)]
COLUMNS = st.lists(st.sampled_from([*KINDS, st.one_of(KINDS)]), min_size=1, max_size=4)


@given(COLUMNS.flatmap(lambda columns: st.lists(st.tuples(*columns), min_size=1)))
def test_lines_of_copy_are_those_of_each_value(rows):
    each = ["\t".join(postgresql_words._WRITTEN[type(value)](value) for value in row) + "\n" for row in rows]
    assert "".join(postgresql_words.lines(iter(rows))) == "".join(each)
