# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.


"""Values as text: a GUID or a SID in its usual spelling, other binary values in base64 or hexadecimal, else UTF-8.

Nothing in an answer tells what is binary, so it is decided by the attribute.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Callable
from typing import Optional

from .values import guid_bytes, guid_text, sid_bytes, sid_text

_Form = tuple[Callable[[bytes], str], Optional[Callable[[str], bytes]]]


def _base64_text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _text_or_base64(value: bytes) -> str:
    """No picture and no certificate is UTF-8: JPEG begins with FF D8, PNG with 89, DER with 30 82 or 30 81. What is
    UTF-8 is a text that somebody keeps there.
    """
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return _base64_text(value)


_HEXADECIMAL = re.compile(r"0x[0-9a-f]{32}")


def _edirectory_guid_text(value: bytes) -> str:
    """Hexadecimal, since tools do not agree on the order of the bytes. Other servers have a text by this name."""
    if len(value) == 16 and not (value.isascii() and value.decode("ascii").isprintable()):
        return "0x" + value.hex()
    text = value.decode("utf-8")
    if _HEXADECIMAL.fullmatch(text):
        raise ValueError("'%s' stands for bytes" % text)
    return text


def _edirectory_guid_bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:]) if _HEXADECIMAL.fullmatch(text) else text.encode("utf-8")


# What makes text of a value that is none, and a value of that text: None if it is no key.
_GUID: _Form = (guid_text, guid_bytes)
_SID: _Form = (sid_text, sid_bytes)
_BASE64: _Form = (_base64_text, None)
_PICTURE: _Form = (_text_or_base64, None)

_FORMS: dict[str, _Form] = {
    **dict.fromkeys(("objectguid", "ms-ds-consistencyguid", "msexchmailboxguid"), _GUID),  # MS-ADA2, MS-ADA3
    **dict.fromkeys(("objectsid", "sidhistory"), _SID),
    "guid": (_edirectory_guid_text, _edirectory_guid_bytes),
    **dict.fromkeys(("logonhours", "ntsecuritydescriptor"), _BASE64),
    **dict.fromkeys(
        (
            "audio",  # RFC 2798 and 4524
            "cacertificate",  # RFC 4523
            "jpegphoto",
            "photo",
            "thumbnaillogo",
            "thumbnailphoto",
            "usercertificate",
            "userpkcs12",
            "usersmimecertificate",
        ),
        _PICTURE,
    ),
}


@functools.lru_cache(maxsize=1000)
def form_of(attribute: str) -> _Form | None:
    name, *options = attribute.lower().split(";")
    return _FORMS.get(name) or (_BASE64 if "binary" in options else None)  # RFC 4522


def text_of(attribute: str) -> Callable[[bytes], str]:
    """Return the function that makes text of the attribute's values: a GUID or a SID in its usual spelling, other
    binary values in base64 or hexadecimal, else UTF-8.

    It is strict, and raises ValueError.
    """
    form = form_of(attribute)
    return form[0] if form else bytes.decode


def value_text(attribute: str, value: bytes) -> str:
    return text_of(attribute)(value)
