# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What PostgreSQL calls otherwise than the statements that all stores share: see `contract.py`. Text in, text out.

Names of tables are qualified, so that nothing depends on ``search_path``. What a query is about is no table here, but
arrays that are sent along: ``unnest`` makes rows of them. So nothing is made on the server for a query, and a dry run
can be one that may only read.

Portable on purpose, to databases that speak PostgreSQL's protocol: no deferrable constraint, no advisory lock, no
sequence, no trigger, no temporary table.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from .._named_tuple import NamedTuple
from .contract import Parameters, Row

TABLES = (
    "allowed",
    "claims",
    "directories",
    "intents",
    "kept_names",
    "link_members",
    "links",
    "marks",
    "memberships",
    "nestings",
    "past_links",
    "past_memberships",
    "past_records",
    "provisionings",
    "runs",
    "synchronizations",
    "user_groups",
    "users",
)

# What a query is about -> its columns and their types, and whether a row is in it once.
WANTED: dict[str, tuple[tuple[str, str], ...]] = {
    "wanted_keys": (("reference", "text"), ("directory_id", "bigint"), ("key", "text")),
    "wanted_places": (("reference", "text"), ("home_id", "bigint"), ("name_key", "text")),
    "wanted_sids": (("sid", "text"),),
    "wanted_ids": (("id", "bigint"),),
    "wanted_groups": (("id", "bigint"),),
    "leaving": (("user_group_id", "bigint"), ("member_id", "bigint")),
}

_WITH_IDS = "directories|links|provisionings|runs|synchronizations|user_groups|users"

_TABLE = re.compile(r"\b(FROM|JOIN|INTO|UPDATE) (%s)\b" % "|".join(TABLES))
_WANTED = re.compile(r"\b(FROM|JOIN) (%s)\b(?: ([a-z])\b)?" % "|".join(WANTED))
_INTO_WANTED = re.compile(r"INSERT INTO (%s) (SELECT .*?)(?: ON CONFLICT DO NOTHING)?" % "|".join(WANTED), re.DOTALL)
_OUT_OF_WANTED = re.compile(r"DELETE FROM (%s)" % "|".join(WANTED))
_WITHOUT_ID = re.compile(r"INSERT INTO (%s) \((?!id\b)(.*?)\) VALUES \((.*)\)(.*)" % _WITH_IDS, re.DOTALL)
_PARAMETER = re.compile(r"\?|(?<!:):([a-z]+)\b")
_OTHER_WORDS = (
    (re.compile(r"\bx''"), "''::bytea"),
    (re.compile(r"\bchar\(31\)"), "chr(31)"),
    (re.compile(r"\binstr\("), "strpos("),
    (re.compile(r"\bgroup_concat\(([\w.]+)\)"), r"string_agg(\1::text, ',')"),
)


# An entry of an index has 2,700 bytes at most, and a name in a directory may be longer. So what is looked up by
# an index is how a text begins.
BEGINNING = "left(%s, 255)"
_IN_INDEXES = "name_key|key|sid|member_key|user_group_key"
_LOOKED_UP = re.compile(r"\b(AND|WHERE) ((?:\w\.)?(?:%s)) = (\w\.\w+|%%\(\w+\)s)" % _IN_INDEXES)


class Words(NamedTuple):
    """A statement in PostgreSQL's words."""

    text: str  # with parameters as psycopg writes them, by name
    wanted: tuple[str, ...]  # which tables of WANTED are sent along


class IntoWanted(NamedTuple):
    """A statement that fills a table of WANTED: with what this query finds, beside what it has."""

    table: str
    query: str


def quoted(name: str) -> str:
    """Return a name that may stand in a statement whatever it is."""
    return '"%s"' % name.replace('"', '""')


@functools.cache
def into_wanted(statement: str) -> IntoWanted | None:
    """Return what the statement says, if it fills or empties a table of WANTED; with an empty query where it empties
    it.
    """
    fills = _INTO_WANTED.fullmatch(statement)
    if fills:
        return IntoWanted(*fills.groups())
    empties = _OUT_OF_WANTED.fullmatch(statement)
    return IntoWanted(empties.group(1), "") if empties else None


@functools.cache
def words(statement: str, schema: str) -> Words:
    """Return a statement in PostgreSQL's words; its tables are those of the schema."""
    text = _with_id(statement).replace("%", "%%")
    for pattern, word in _OTHER_WORDS:
        text = pattern.sub(word, text)
    numbers = iter(range(text.count("?")))
    text = _PARAMETER.sub(lambda found: "%%(%s)s" % (found.group(1) or "_%d" % next(numbers)), text)
    text = _LOOKED_UP.sub(
        lambda found: (
            "%s %s = %s AND %s = %s" % (found[1], BEGINNING % found[2], BEGINNING % found[3], found[2], found[3])
        ),
        text,
    )
    text = _TABLE.sub(r"\1 %s.\2" % quoted(schema), text)
    wanted = tuple(dict.fromkeys(found.group(2) for found in _WANTED.finditer(text)))
    return Words(_WANTED.sub(_sent_along, text), wanted)


def _with_id(statement: str) -> str:
    """Have an INSERT of one row give it the id that the contract asks for: no sequence does."""
    return _WITHOUT_ID.sub(
        r"INSERT INTO \1 (id, \2) VALUES ((SELECT coalesce(max(id), 0) + 1 FROM \1), \3)\4", statement
    )


def _sent_along(found: re.Match[str]) -> str:
    word, table, alias = found.groups()
    columns = WANTED[table]
    arrays = ", ".join("%%(%s_%s)s::%s[]" % (table, name, kind) for name, kind in columns)
    return "%s unnest(%s) AS %s (%s)" % (word, arrays, alias or table, ", ".join(name for name, _kind in columns))


def arguments(said: Words, parameters: Parameters, wanted: dict[str, list[Row]]) -> dict[str, Any]:
    """Return the parameters of a statement by name, those that are sent along with it, too."""
    if isinstance(parameters, Sequence):
        found = {"_%d" % number: value for number, value in enumerate(parameters)}
    else:
        found = dict(parameters)
    for table in said.wanted:
        columns = list(zip(*wanted[table])) or [()] * len(WANTED[table])
        for (name, _kind), values in zip(WANTED[table], columns):
            found["%s_%s" % (table, name)] = list(values)
    return found


# --- what the server need not be asked -------------------------------------------------------------------------------

_IN_PARENTHESES = re.compile(r"\([^()]*\)")
_ARM = re.compile(r"\s*SELECT\b.*? FROM (%s)\b.*" % "|".join(WANTED), re.DOTALL)
_OF_ALL_ROWS = re.compile(r"\b(?:count|max|min|sum|group_concat)\b")


@functools.cache
def begins_with(statement: str) -> tuple[str, ...]:
    """Return the tables of WANTED that the query goes through first, one for each of its parts (UNION): if they are
    empty, it finds nothing. Empty if it may find something even so.
    """
    text, before = statement, ""
    while text != before:
        text, before = _IN_PARENTHESES.sub("", text), text
    arms = [_ARM.fullmatch(arm) for arm in re.split(r"\bUNION(?: ALL)?\b", text)]
    if not all(arms) or _OF_ALL_ROWS.search(text) and "GROUP BY" not in text:
        return ()
    return tuple(arm.group(1) for arm in arms if arm)


# --- what a statement writes -----------------------------------------------------------------------------------------

_WRITES = re.compile(r"(INSERT INTO|UPDATE|DELETE FROM) (\w+)")


@functools.cache
def written_by(statement: str) -> tuple[str, str]:
    """Return by what verb the statement writes, and into which table; empty if it does not write."""
    found = _WRITES.match(statement)
    return (found[1].partition(" ")[0], found[2]) if found else ("", "")


def is_for_others(statement: str) -> bool:
    """Tell whether what the statement writes may change what others plan. What a run leaves does not, if nothing else
    has changed: its record, its mark, and what its next run goes by, but for the user group of its synchronization.
    """
    verb, table = written_by(statement)
    return table not in ("runs", "marks") and not (
        (verb, table) == ("UPDATE", "synchronizations") and "target_id" not in statement
    )


# --- many rows with one statement ------------------------------------------------------------------------------------

_INSERT = re.compile(r"INSERT INTO (\w+) \(([\w, ]+)\) VALUES \([?, ]+\)")
_CHANGE = re.compile(r"(?:DELETE FROM|UPDATE) (\w+)(.*?) WHERE (\w+ = \?(?: AND \w+ = \?)*)(.*)", re.DOTALL)
_KINDS: dict[type, str] = {int: "bigint", float: "double precision", str: "text", bytes: "bytea", bool: "bigint"}


def as_insert(statement: str) -> tuple[str, list[str]] | None:
    """Return the table and the columns of a statement that inserts a row and nothing else; None if it is another."""
    found = _INSERT.fullmatch(statement)
    return (found.group(1), found.group(2).split(", ")) if found else None


def for_many(statement: str, rows: Sequence[Any], schema: str) -> tuple[str, dict[str, Any]] | None:
    """Return one statement, and its parameters, that does what the given one does for each of the rows; None where it
    is not known to do the same.

    It is the same where each row is about another row of the table: then the order does not matter. Besides, foreign
    keys are looked at where it ends, so that parents and children can go together.
    """
    found = _CHANGE.fullmatch(statement)
    if not found or not isinstance(rows[0], Sequence) or "SELECT" in statement:
        return None
    table, changes, keys, more = found.groups()
    first, last = changes.count("?"), changes.count("?") + keys.count("?")
    if len({tuple(row[first:last]) for row in rows}) < len(rows):
        return None
    columns = list(zip(*rows))
    kinds = [next((_KINDS[type(value)] for value in column if value is not None), None) for column in columns]
    sent = {"p%d" % at: kind for at, kind in enumerate(kinds) if kind}
    values = iter(["v.p%d" % at if kind else "NULL" for at, kind in enumerate(kinds)])
    keys = keys.replace(table + ".", "").replace(" AND ", " AND t.")
    whole = (
        "DELETE FROM %s AS t USING {0} WHERE t.%s%s" % (table, keys, more)
        if statement.startswith("DELETE")
        else "UPDATE %s AS t%s FROM {0} WHERE t.%s%s" % (table, changes, keys, more)
    )
    text = words(re.sub(r"\?", lambda _mark: next(values), whole), schema).text
    arrays = ", ".join("%%(%s)s::%s[]" % item for item in sent.items())
    return (
        text.replace("{0}", "unnest(%s) AS v (%s)" % (arrays, ", ".join(sent))),
        {name: list(columns[int(name[1:])]) for name in sent},
    )


# --- lines of COPY ---------------------------------------------------------------------------------------------------

# https://www.postgresql.org/docs/current/sql-copy.html, "Text Format"
_ESCAPED = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_TO_ESCAPE = re.compile(r"[\\\n\r\t]").search


def _text(value: str) -> str:
    return value.translate(_ESCAPED) if _TO_ESCAPE(value) else value


def _octets(value: bytes) -> str:
    return "\\\\x" + value.hex()


_WRITTEN: dict[type, Callable[[Any], str]] = {
    int: str,
    float: repr,
    str: _text,
    bytes: _octets,
    None.__class__: lambda dummy: "\\N",
}


def lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield rows as lines for COPY, many at once: where not all are whole numbers, by columns, most of which are of one
    type.
    """
    rows = iter(rows)
    for block in iter(lambda: list(itertools.islice(rows, _LINES)), []):
        if set(map(type, itertools.chain.from_iterable(block))) == {int}:
            numbers = "%d\t" * (len(block[0]) - 1) + "%d\n"
            yield "".join([numbers % row for row in block])
        else:
            yield "\n".join(map("\t".join, zip(*map(_column, zip(*block))))) + "\n"


def _column(values: Sequence[Any]) -> Iterable[str]:
    kinds = set(map(type, values))
    if kinds == {str} and not _TO_ESCAPE("".join(values)):
        return values
    if len(kinds) == 1:
        return map(_WRITTEN[kinds.pop()], values)
    return [_WRITTEN[value.__class__](value) for value in values]


_LINES = 2000
