# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.


"""Stable keys: read from entries, and asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

from .filter_text import escape_filter
from .forms import form_of, text_of, value_text
from .presets import Entry

_LONGEST_KEY = 1000  # bytes: two hundred of them are asked for at once
# References that are no stable keys begin so (see _model); a GUID never does, an attribute that an option names might.
_NO_KEY_BEGINS_WITH = ("@", "#", "path:", "name:")


def key_reader(attribute: str) -> Callable[[list[bytes]], str]:
    """Return the function that returns the stable key of an entry, given the attribute's values: the only one, if it is
    a text that can be a key. Else, an empty text.
    """
    to_text, form = text_of(attribute), form_of(attribute)
    if form and not form[1]:
        return lambda values: ""

    def read(values: list[bytes]) -> str:
        if len(values) != 1 or len(values[0]) > _LONGEST_KEY:
            return ""
        try:
            key = to_text(values[0])
        except ValueError:
            return ""
        return "" if key.startswith(_NO_KEY_BEGINS_WITH) or "\0" in key or not key.strip() else key

    return read


def key_value(attribute: str, key: str) -> str | bytes:
    """Return what to ask a server for, to find the entry with this stable key. Of another attribute's key, the text:
    it is nobody's.
    """
    form = form_of(attribute)
    if form and form[1]:
        with contextlib.suppress(ValueError):
            return form[1](key)
    return key


def any_of(attribute: str, keys: Iterable[str]) -> str:
    """Return the filter that matches the entries with one of these stable keys."""
    return "(|%s)" % "".join("(%s=%s)" % (attribute, escape_filter(key_value(attribute, key))) for key in keys)


def keys_of(entry: Entry, *attributes: str) -> list[str]:
    """Return what may be the stable key of an entry, whatever it turns out to be; a value that is none is left out."""
    found = []
    for attribute in attributes:
        for value in entry.get(attribute.lower(), ()):
            try:
                found.append(value_text(attribute, value))
            except ValueError:
                continue
    return found
