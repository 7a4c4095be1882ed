# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The attributes of a record: a dictionary of fields, or the JSON text that the store keeps of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Union

Fields = dict[str, Union[str, list[str]]]  # field -> text, or a sorted list of texts for the fields that users add


Attributes = Mapping[str, Union[str, list[str]]]  # the same, as a dictionary or encoded


_decode = json.JSONDecoder().raw_decode  # json.loads() looks for blanks around it, which takes as long again


_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


class EncodedAttributes(Attributes):
    """Attributes as one JSON text, as the store keeps them.

    There are as many as users, and mostly they are carried along and compared: one text each takes a third of the
    memory of a dictionary with its texts, and of the time to go through them all.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def of(cls, fields: Fields) -> EncodedAttributes:
        return cls(_encode(fields))

    def fields(self) -> Fields:
        fields: Fields = _decode(self.text)[0]
        return fields

    def __getitem__(self, field: str) -> str | list[str]:
        return self.fields()[field]

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields())

    def __len__(self) -> int:
        return len(self.fields())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, EncodedAttributes):
            return self.text == other.text or self.fields() == other.fields()
        return self.fields() == other

    def __repr__(self) -> str:
        return repr(self.fields())


def fields_of(attributes: Attributes) -> Fields:
    """Return attributes as a dictionary."""
    return attributes.fields() if isinstance(attributes, EncodedAttributes) else dict(attributes)


def text_of(attributes: Attributes) -> str:
    """Return attributes as JSON."""
    return attributes.text if isinstance(attributes, EncodedAttributes) else _encode(attributes)
