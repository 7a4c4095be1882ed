# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.


"""The name and the fields of an entry."""

from __future__ import annotations

from collections.abc import Callable

from .._attributes import Fields
from .._names import name_key, significant
from .distinguished_names import parse_dn
from .forms import text_of
from .presets import Entry


def _one_value(attribute: str, values: list[bytes], dn: str) -> bytes:
    """Return the value that stands in the DN, else the smallest: values are a set, their order says nothing."""
    if len(values) == 1:
        return values[0]
    for kind, in_dn in parse_dn(dn)[0]:
        if kind.lower() == attribute.lower() and isinstance(in_dn, str):
            same = [value for value in values if name_key(value.decode("utf-8", "replace")) == name_key(in_dn)]
            if same:
                return min(same)
    return min(values)


def only_with_options(entry: Entry, attribute: str) -> str:
    """Return the names under which an attribute came that has options and no value without one; '' if it has none.

    They are subtypes of it (RFC 4512, 2.5.2): a server that is asked for the attribute sends them, and finds the entry
    by them. Here they are not values of the attribute.
    """
    prefix = attribute.lower() + ";"
    return ", ".join(
        sorted(name for name in entry if name.startswith(prefix) and not name.startswith(prefix + "range="))
    )


NOT_READ = "its %s comes as %s alone, and values with an option are not read"


def name_reader(attribute: str) -> Callable[[Entry, str], tuple[str | None, str | None]]:
    """Return the function that returns (name, None) of an entry, given its DN as well; or (None, why there is none)."""
    in_lower_case, to_text = attribute.lower(), text_of(attribute)

    def read(entry: Entry, dn: str) -> tuple[str | None, str | None]:
        values = entry.get(in_lower_case)
        if not values:
            other = only_with_options(entry, attribute)
            return None, NOT_READ % (attribute, other) if other else "it has no %s that can be read" % attribute
        try:
            name = to_text(values[0] if len(values) == 1 else _one_value(attribute, values, dn))
        except ValueError:
            return None, "its %s is not UTF-8" % attribute
        problem = name_problem(name, attribute)
        return (None, problem) if problem else (significant(name), None)

    return read


def name_problem(name: str, attribute: str) -> str | None:
    """Return why the text cannot be a name in the store; None if it can."""
    if not name.strip():
        return "its %s is blank" % attribute
    if "\0" in name:  # where SQL functions and other programs take a text to end
        return "its %s has a NUL character" % attribute
    return None


_NO_TEXT = "its %s is not UTF-8: the field '%s' stays as it is"
# Where a text may come from: the attribute in lower case, as it is written, and what makes text of its values.
_Source = tuple[str, str, Callable[[bytes], str]]
_Field = tuple[str, "list[_Source]"]

_KINDS_OF_ENTRIES = 1000  # by the attributes that they have: so many are remembered


def field_reader(
    fields: dict[str, tuple[str, ...]], lists: dict[str, str]
) -> Callable[[Entry, str], tuple[Fields, dict[str, str]]]:
    """Return the function that returns the fields of an entry, given its DN as well, and for each field whose value is
    no text, why there is none: it stays as it is stored.
    """
    # What is asked for many times for each entry is asked once. Of the dozens of attributes that fields may come from,
    # an entry has a few, and most entries have the same.
    all_first_of = [
        (field, [(attribute.lower(), attribute, text_of(attribute)) for attribute in attributes])
        for field, attributes in sorted(fields.items())
    ]  # as JSON will want them
    all_of = [(field, attribute.lower(), attribute, text_of(attribute)) for field, attribute in lists.items()]
    by_attributes: dict[tuple[str, ...], list[_Field]] = {}

    def that_it_may_have(entry: Entry) -> list[_Field]:
        if len(by_attributes) >= _KINDS_OF_ENTRIES:
            by_attributes.clear()
        found = by_attributes[tuple(entry)] = _that_have_sources(all_first_of, entry)
        return found

    def read(entry: Entry, dn: str) -> tuple[Fields, dict[str, str]]:
        found: Fields = {}
        problems: dict[str, str] = {}
        first_of = by_attributes.get(tuple(entry))
        for field, attributes in that_it_may_have(entry) if first_of is None else first_of:
            for name, attribute, to_text in attributes:
                values = entry[name]
                if values:
                    try:
                        text = to_text(_one_value(attribute, values, dn) if len(values) > 1 else values[0])
                    except ValueError:
                        problems[field] = _NO_TEXT % (attribute, field)
                    else:
                        if text:
                            found[field] = text
                    break
        for field, name, attribute, to_text in all_of:
            listed = entry.get(name)
            if listed:
                try:
                    found[field] = sorted(set(map(to_text, listed)))
                except ValueError:
                    problems[field] = _NO_TEXT % (attribute, field)
        return found, problems

    return read


def _that_have_sources(fields: list[_Field], entry: Entry) -> list[_Field]:
    """Return the fields that an entry may have, each with those of its sources that the entry has."""
    first_of = [(field, [source for source in sources if source[0] in entry]) for field, sources in fields]
    return [(field, sources) for field, sources in first_of if sources]
