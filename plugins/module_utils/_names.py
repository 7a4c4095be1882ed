# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Names and paths: when two names are one, and how the path of a user group is written.

Servers compare names by RFC 4518. `ann` and `ANN` are one name, and so are an ö of one letter and an ö of two.
A path is the names from the root down to a user group: `All/Staff/Nurses`.
"""

from __future__ import annotations

import unicodedata

ROOT = "All"  # the root of the tree of user groups


# What servers compare by (RFC 4518, 2.2): letters that came later have no case to them, and are composed of nothing.
UNICODE = unicodedata.ucd_3_2_0


class _LowerCase(dict[int, int]):
    """Number of a character -> that of its lower case, found out when it is asked for."""

    def __missing__(self, number: int) -> int:
        lower = chr(number).lower()
        known = UNICODE.category(chr(number)) in ("Lu", "Lt") and len(lower) == 1 and UNICODE.category(lower) == "Ll"
        self[number] = found = ord(lower) if known else number
        return found


_LOWER_CASE = _LowerCase()


def without_case(text: str) -> str:
    """Fold letter by letter, as directories do: to them 'Maße' and 'Masse' are two names, unlike to `str.casefold`.

    What only a capital has in common stays apart: 'ı' and 'i' have 'I', and 'ς' and 'σ' have 'Σ'.
    """
    return text.translate(_LOWER_CASE)


# OpenLDAP's tables leave the first two of these compatibility ideographs as they are; the others are composed otherwise
# since Unicode 4 (its corrigendum 4).
_AS_THEY_ARE = "\uf900\uf901\U0002f868\U0002f874\U0002f91f\U0002f95f\U0002f9bf"


def composed(text: str) -> str:
    """Return the text in NFC, if it has no letter that servers do not know."""
    unknown = any(UNICODE.category(letter) == "Cn" or letter in _AS_THEY_ARE for letter in text)
    return text if unknown else UNICODE.normalize("NFC", text)


def name_key(name: str) -> str:
    """Return the form in which two names are compared: NFC without case, letter by letter.

    Two names that are one here are one to OpenLDAP. So weiß and weiss are two, as they are there. Active Directory
    takes more for one (MS-ADTS 3.1.1.2.2.4.13), so that no two of its names differ by that alone.
    """
    return name.lower() if name.isascii() else composed(without_case(name))


def significant(name: str) -> str:
    """Return a name without the blanks that do not matter to servers (RFC 4518, 2.6.1): `ann ` is `ann`."""
    return " ".join(filter(None, name.split(" "))) if "  " in name or " " in (name[:1], name[-1:]) else name


def extinct_names(name: str, reference: str) -> tuple[str, ...]:
    """Return the names that an extinct record may have, the one it has first: a newcomer takes that from it."""
    return name, "%s (extinct)" % name, "%s (extinct %s)" % (name, reference)


def join_path(parent: str, name: str) -> str:
    """Return the path of the user group ``name`` in the user group at the path ``parent``."""
    return "%s/%s" % (parent, name.replace("\\", "\\\\").replace("/", "\\/"))


def split_path(path: str) -> list[str]:
    r"""Return the names in a path such as ``All/Staff/Nurses``.

    In a path ``/`` inside a name is written ``\\/``, and ``\\`` is ``\\\\``.

    Raises ValueError, with a sentence for the reader, if a part is empty, an escape is unknown, or the path does not
    begin at the root.
    """
    names, name, escaped = [], [], False
    for character in path:
        if escaped:
            if character not in "/\\":
                raise ValueError(
                    "the path '%s' has '\\%s', which is no escape: write '\\/' for a slash inside a name "
                    "and '\\\\' for a backslash" % (path, character)
                )
            name.append(character)
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "/":
            names.append("".join(name))
            name = []
        else:
            name.append(character)
    if escaped:
        raise ValueError("the path '%s' ends in a single backslash: write '\\\\' for a backslash" % path)
    names.append("".join(name))
    if not all(part.strip() for part in names):
        raise ValueError(
            "the path '%s' has an empty part: write names between single slashes, as in 'All/Staff'" % path
        )
    if name_key(names[0]) != name_key(ROOT):
        raise ValueError("the path '%s' does not begin at the root: write '%s/%s'" % (path, ROOT, path))
    return [ROOT] + names[1:]


def path_reference(path: str) -> str:
    """Return the reference of a user group that this synchronization does not own."""
    return "path:" + path
