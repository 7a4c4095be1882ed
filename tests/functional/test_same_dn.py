# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two DNs that are one to us are one to OpenLDAP: its own answer to each, in all letters that make it difficult."""

from __future__ import annotations

import base64
import unicodedata
from contextlib import contextmanager

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _options, _settings
from ansible_collections.usersync.directory.plugins.module_utils._directory import connection
from ansible_collections.usersync.directory.plugins.module_utils._directory.distinguished_names import normal_dn
from ansible_collections.usersync.directory.plugins.module_utils._directory.filter_text import escape_filter
from ansible_collections.usersync.directory.plugins.module_utils._directory.search import finds_any
from support.escaping import escape_dn_value
from support.lab import BASE, PEOPLE, ROOT, unit
from support.slapd import Slapd

FORMS = ("NFC", "NFD", "NFKC", "NFKD")
RANDOM_DNS = 400


def respelled(text):
    """What may be another spelling of a text, and may be another text."""
    changes = (str.lower, str.upper, str.casefold, str.swapcase, str.title)
    found = {change(text) for change in changes} | in_forms(text)
    found |= {text.replace(" ", "  "), "\u00a0".join(text.split(" ")), "\t".join(text.split(" ")), " %s " % text}
    return sorted({each for one in found for each in (one, one.lower(), one.upper())} - {text})


def difficult_letters():
    numbers = [number for number in range(0xA0, 0x10500) if not 0xAC00 <= number < 0xE000]
    letters = map(chr, numbers + list(range(0xAC00, 0xD7A4, 97)))  # Hangul's syllables are all made alike
    return [letter for letter in letters if len({letter, letter.lower(), letter.upper(), *in_forms(letter)}) > 1]


def in_forms(text):
    return {unicodedata.normalize(form, text) for form in FORMS}


def difficult_texts(chance):
    some = difficult_letters()
    for letter in some:
        yield "x%sx" % letter
    for _each in range(RANDOM_DNS):
        yield "".join(
            chance.choice(["a", " ", "\u0301", "\u0327", chance.choice(some)]) for _at in range(chance.randint(1, 6))
        )


def dn_of(text):
    return "ou=%s,%s" % (escape_dn_value(text), BASE)


def pairs(chance):
    """Two texts whose DNs are one to us, each pair once."""
    for text in dict.fromkeys(difficult_texts(chance)):
        try:
            normal = normal_dn(dn_of(text))
            yield from ((text, other) for other in respelled(text) if normal_dn(dn_of(other)) == normal)
        except ValueError:
            continue


@contextmanager
def seen_by_openldap(known):
    """A connection to a server with a user for each text, and the numbers in their names."""
    listed = {text: number for number, text in enumerate(dict.fromkeys(text for text, _other in known))}
    lines = [ROOT, unit("people")]
    for text, number in listed.items():
        lines.append(
            "dn: uid=u%d,%s\nobjectClass: inetOrgPerson\nuid: u%d\ncn: x\nsn: x\nseeAlso:: %s\n\n"
            % (number, PEOPLE, number, base64.b64encode(dn_of(text).encode()).decode())
        )
    with Slapd(ldif="".join(lines)) as server:
        specification = _options.module_arguments(_options.CONNECTION, _options.BROWSING)["argument_spec"]
        options = {option: described.get("default") for option, described in specification.items()}
        options.update(server=[server.ldapi_url], encryption="none", use_ldap=True, authentication="external")
        with connection.connect(_settings.browse_settings_from(options, pytest.fail), pytest.fail) as session:
            yield session, listed


def test_what_is_one_dn_to_us_is_one_to_openldap(chance):
    known = list(pairs(chance))
    with seen_by_openldap(known) as (session, listed):
        wrong = [
            (text, other)
            for text, other in known
            if not finds_any(
                session, PEOPLE, "one", "(&(uid=u%d)(seeAlso=%s))" % (listed[text], escape_filter(dn_of(other)))
            )
        ]
    assert wrong == []
