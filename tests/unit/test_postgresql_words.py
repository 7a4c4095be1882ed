# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a store in PostgreSQL makes of the statements that all stores share, and of rows."""

from __future__ import annotations

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._store import postgresql_words
from ansible_collections.usersync.directory.plugins.module_utils._store.postgresql_commit import Written
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    "statement, first",
    [
        ("SELECT id FROM wanted_ids", ("wanted_ids",)),
        ("SELECT DISTINCT m.user_id FROM wanted_groups w CROSS JOIN memberships m", ("wanted_groups",)),
        (
            "SELECT w.id, (SELECT group_concat(m.user_id) FROM memberships m WHERE m.user_group_id = w.id)"
            " FROM wanted_groups w",
            ("wanted_groups",),
        ),
        (
            "SELECT u.id FROM wanted_keys w CROSS JOIN users u UNION ALL SELECT u.id FROM wanted_places w, users u",
            ("wanted_keys", "wanted_places"),
        ),
        ("SELECT w.id, count(*) FROM wanted_groups w CROSS JOIN memberships m GROUP BY w.id", ("wanted_groups",)),
        # What finds something even if these are empty.
        ("SELECT count(*) FROM wanted_ids", ()),
        ("SELECT max(id) FROM wanted_ids", ()),
        ("SELECT (SELECT count(*) FROM wanted_ids) + (SELECT count(*) FROM users)", ()),
        ("SELECT u.id FROM wanted_sids w CROSS JOIN users u UNION SELECT id FROM users", ()),
        ("SELECT id FROM users WHERE id NOT IN (SELECT id FROM wanted_ids)", ()),
        ("SELECT u.id FROM users u LEFT JOIN wanted_ids w ON w.id = u.id", ()),
        ("DELETE FROM claims WHERE user_id IN (SELECT id FROM wanted_ids)", ()),
    ],
)
def test_by_what_tables_a_query_can_be_known_to_find_nothing(statement, first):
    assert postgresql_words.begins_with(statement) == first


@pytest.mark.parametrize(
    "statement, is_for_others",
    [
        ("UPDATE users SET name = ?", True),
        ("INSERT INTO synchronizations (name, target_id) VALUES (?, ?)", True),
        ("UPDATE synchronizations SET target_id = ? WHERE id = ?", True),
        ("DELETE FROM synchronizations WHERE id = ?", True),
        ("INSERT INTO past_records (run_id) VALUES (?)", True),
        ("something else", True),
        ("UPDATE synchronizations SET salt = ?, held = ? WHERE id = ?", False),
        ("INSERT INTO runs (id) VALUES (?)", False),
        ("UPDATE marks SET mark = ?", False),
    ],
)
def test_what_others_have_to_begin_again_for(statement, is_for_others):
    written = Written()
    written.note(statement, 0)
    assert "last_change" not in written.commit("s", "token", {})
    written.note(statement, 1)
    assert ("last_change" in written.commit("s", "token", {})) == is_for_others


def test_rows_are_counted_as_they_come_and_go():
    written = Written()
    written.note("INSERT INTO memberships (user_id) VALUES (?)", 5)
    written.note("UPDATE memberships SET listed_as = ?", 3)
    written.note("DELETE FROM memberships WHERE user_id = ?", 2)
    said = written.commit('"s"', "token", {"claims": None, "memberships": 10, "nestings": 0})
    assert 'UPDATE "s".store SET generation = generation + 1, memberships = 13, nestings = 0' in said
    assert "claims" not in said


KINDS = [st.integers(), st.text(), st.none(), st.binary(max_size=3), st.floats(allow_nan=False)]
COLUMNS = st.lists(st.sampled_from([*KINDS, st.one_of(KINDS)]), min_size=1, max_size=4)


@given(COLUMNS.flatmap(lambda columns: st.lists(st.tuples(*columns), min_size=1)))
def test_lines_of_copy_are_those_of_each_value(rows):
    each = ["\t".join(postgresql_words._WRITTEN[type(value)](value) for value in row) + "\n" for row in rows]
    assert "".join(postgresql_words.lines(iter(rows))) == "".join(each)
