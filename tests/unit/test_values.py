# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, times, distinguished names and filters: what the bytes mean, and that nothing is lost on the way and back."""

from __future__ import annotations

import unicodedata
import uuid

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory import (
    distinguished_names,
    filter_text,
    values,
)
from hypothesis import example, given
from hypothesis import strategies as st
from support.escaping import escape_dn_value

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
TYPE = st.sampled_from(["CN", "cn", "Ou", "dc", "1.2.3", "2.5.4.3", "x-y"])


@given(st.binary(min_size=16, max_size=16))
def test_guid_is_that_of_the_standard_library_and_comes_back(raw):
    assert values.guid_text(raw) == str(uuid.UUID(bytes_le=raw))
    assert values.guid_bytes(values.guid_text(raw)) == raw
    assert values.guid_bytes("{%s}" % values.guid_text(raw).upper()) == raw


def test_guid_of_microsofts_own_example():
    assert values.guid_bytes("6F9619FF-8B86-D011-B42D-00C04FC964FF").hex() == "ff19966f868b11d0b42d00c04fc964ff"


@pytest.mark.parametrize(
    "wrong", ["", "6f9619ff", "urn:uuid:6f9619ff-8b86-d011-b42d-00c04fc964ff", "6f9619ff8b86d011b42d00c04fc964ff"]
)
def test_what_is_no_guid_is_refused(wrong):
    with pytest.raises(ValueError, match="is not a GUID"):
        values.guid_bytes(wrong)


def test_guid_of_another_length_is_refused():
    with pytest.raises(ValueError, match="a GUID has 16 bytes, not 15"):
        values.guid_text(b"\0" * 15)


@given(st.integers(0, 2**48 - 1), st.lists(st.integers(0, 2**32 - 1), max_size=15))
def test_sid_comes_back(authority, parts):
    raw = bytes([1, len(parts)]) + authority.to_bytes(6, "big") + b"".join(p.to_bytes(4, "little") for p in parts)
    assert values.sid_bytes(values.sid_text(raw)) == raw


def test_sid_of_a_domain():
    raw = bytes.fromhex("010500000000000515000000a065cf7e784b9b5fe77c8770091c0100")
    assert values.sid_text(raw) == "S-1-5-21-2127521184-1604012920-1887927527-72713"
    assert values.sid_text(bytes([1, 0]) + (1 << 32).to_bytes(6, "big")) == "S-1-0x000100000000"


@pytest.mark.parametrize("wrong", [b"", b"\1\1\0\0\0\0\0\5", b"\2\0\0\0\0\0\0\5", b"\1\0\0\0\0\0\0\5\0"])
def test_bytes_that_are_no_sid_are_refused(wrong):
    with pytest.raises(ValueError, match="are not a SID"):
        values.sid_text(wrong)


@pytest.mark.parametrize("wrong", ["", "S-1", "S-1-5-4294967296", "S-2-5", "S-1-5-21-x", "S-1-99999999999"])
def test_text_that_is_no_sid_is_refused(wrong):
    with pytest.raises(ValueError, match="is not a SID"):
        values.sid_bytes(wrong)


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        (b"0", None),
        (b"9223372036854775807", None),
        (b"116444736000000000", 0),
        (b"116444736000000001", 0),
        (b"116444735999999999", -1),
        (b"133801632000000000", 1735689600),  # 2025-01-01T00:00:00Z
    ],
)
def test_filetime(raw, seconds):
    assert values.filetime_seconds(raw) == seconds


@pytest.mark.parametrize("wrong", [b"", b"12x", b" 1", b"1.5"])
def test_what_is_no_filetime_is_refused(wrong):
    with pytest.raises(ValueError, match="is not a FILETIME"):
        values.filetime_seconds(wrong)


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        (b"19700101000000Z", 0),
        (b"20260101000000.0Z", 1767225600),  # as AD writes it
        (b"2026010100Z", 1767225600),
        (b"202601010000Z", 1767225600),
        (b"20260101020000+0200", 1767225600),
        (b"20251231190000-05", 1767225600),
        (b"2026010100.5Z", 1767225600 + 1800),
        (b"202601010000,25Z", 1767225600 + 15),
        (b"20260101000000.999999999999Z", 1767225600),
        (b"20161231235960Z", 1483228800),  # a leap second
        (b"20240229000000Z", 1709164800),
        (b"000001010000Z", -62167219200),  # ppolicy: locked for good
        (b"99991231235959Z", 253402300799),
    ],
)
def test_generalized_time(raw, seconds):
    assert values.generalized_time_seconds(raw) == seconds


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"20260101000000",
        b"20260230000000Z",
        b"20261301000000Z",
        b"20260101240000Z",
        b"20260101006000Z",
        b"20260101000061Z",
        b"2026-01-01T00:00:00Z",
        b"20260101000000+2400",
        b"20260101000000Z\n",
        "２０260101000000Z".encode(),
    ],
)
def test_what_is_no_time_is_refused(wrong):
    with pytest.raises(ValueError, match="is not a time"):
        values.generalized_time_seconds(wrong)


# --- distinguished names


# The examples of RFC 4514, 4, and what ldap3's own parser gets wrong.
@pytest.mark.parametrize(
    ("text", "rdns"),
    [
        ("", []),
        ("  ", []),
        ("UID=jsmith,DC=example,DC=net", [[("UID", "jsmith")], [("DC", "example")], [("DC", "net")]]),
        ("OU=Sales+CN=J.  Smith,DC=net", [[("OU", "Sales"), ("CN", "J.  Smith")], [("DC", "net")]]),
        (r"CN=James \"Jim\" Smith\, III,DC=net", [[("CN", 'James "Jim" Smith, III')], [("DC", "net")]]),
        (r"CN=Before\0dAfter,DC=net", [[("CN", "Before\rAfter")], [("DC", "net")]]),
        ("1.3.6.1.4.1.1466.0=#04024869", [[("1.3.6.1.4.1.1466.0", "Hi")]]),
        (r"CN=Lu\C4\8Di\C4\87", [[("CN", "Lučić")]]),
        ("CN=Lučić", [[("CN", "Lučić")]]),
        (" cn = a b , dc = c ", [[("cn", "a b")], [("dc", "c")]]),
        (r"cn=\ a\ ,dc=c", [[("cn", " a ")], [("dc", "c")]]),
        (r"cn=a\\ ,dc=c", [[("cn", "a\\")], [("dc", "c")]]),
        (r"cn=\23x#y=z", [[("cn", "#x#y=z")]]),
        ("cn=", [[("cn", "")]]),
        ("cn=,dc=x", [[("cn", "")], [("dc", "x")]]),
        ("cn=#0C0548656c6c6f , dc=x", [[("cn", "Hello")], [("dc", "x")]]),
        ("cn=#0101FF", [[("cn", b"\x01\x01\xff")]]),
        (r"cn=\FFx", [[("cn", b"\x04\x02\xffx")]]),
        ("cn=#0402FF78", [[("cn", b"\x04\x02\xffx")]]),
        ("cn=#048102FF78", [[("cn", b"\x04\x02\xffx")]]),
        ("cn=#0480", [[("cn", b"\x04\x80")]]),
        (r"CN=old\0ADEL:6f9619ff,CN=Deleted Objects", [[("CN", "old\nDEL:6f9619ff")], [("CN", "Deleted Objects")]]),
    ],
)
def test_parse_dn(text, rdns):
    assert distinguished_names.parse_dn(text) == rdns


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "Staff",
            (
                "'Staff' is not a distinguished name: 'Staff' has no '=' "
                "(a ',' that belongs to a value is written '\\,'), at character 1"
            ),
        ),
        ("cn=Doe, John,dc=x", "'John' has no '=' (a ',' that belongs to a value is written '\\,'), at character 8"),
        ("cn=a,,dc=x", "a part is empty, at character 6"),
        ("cn=a,", "a part is empty, at character 6"),
        (",cn=a", "it begins with a separator, at character 1"),
        ("c n=a", "'c n' is not an attribute type, at character 1"),
        ("01.2=a", "'01.2' is not an attribute type, at character 1"),
        ("cn=a;dc=x", "';' in a value is written '\\;', and several DNs are a list, at character 5"),
        ('cn="a"', "'\"' in a value is written '\\\"', at character 4"),
        ("cn=a\\", "a backslash needs one of ' \"#+,;<=>\\' or two hexadecimal digits after it, at character 5"),
        ("cn=\\x", "a backslash needs one of ' \"#+,;<=>\\' or two hexadecimal digits after it, at character 4"),
        (
            "cn=#4",
            (
                "after '#' a value is written in pairs of hexadecimal digits "
                "(a '#' that belongs to the value is written '\\#'), at character 4"
            ),
        ),
        ("cn=a\0", "a NUL character is written '\\00', at character 5"),
        ("cn=\udcff", "character 4 is not Unicode text"),
    ],
)
def test_what_is_no_dn_is_refused_with_the_place(text, why):
    with pytest.raises(ValueError) as error:
        distinguished_names.parse_dn(text)
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("dn", "several"),
    [
        ("ou=a,dc=ex,dc=org", False),
        ("ou=a,dc=ex,dc=org,dc=ex,dc=org", True),
        ("ou=a,dc=ex,dc=org, ou=b,dc=ex,dc=org", True),
        ("dc=ex,dc=org,ou=b,dc=other", True),
        ("ou=a,dc=ex,dc=org ou=b,dc=ex,dc=org", True),
        ("ou=a b,dc=ex,dc=org", False),
        ("ou=a,dc=ex,dc=organic,dc=ex,dc=org", False),
    ],
)
def test_several_dns_in_one_string(dn, several):
    assert distinguished_names.looks_like_several(distinguished_names.normal_dn(dn), "dc=ex,dc=org") is several


@given(st.lists(st.lists(st.tuples(TYPE, TEXT), min_size=1, max_size=3), min_size=1, max_size=4))
def test_an_escaped_dn_comes_back(rdns):
    text = ",".join("+".join("%s=%s" % (kind, escape_dn_value(value)) for kind, value in rdn) for rdn in rdns)
    assert distinguished_names.parse_dn(text) == rdns


def in_capitals(text):
    """In capitals, where these are of this letter alone, and as old as what servers compare by."""
    return "".join(letter.upper() if has_a_capital(letter) else letter for letter in text)


def has_a_capital(letter):
    upper, old = letter.upper(), unicodedata.ucd_3_2_0
    return upper.lower() == letter and len(upper) == 1 and (old.category(letter), old.category(upper)) == ("Ll", "Lu")


def test_letters_that_directories_tell_apart():
    assert distinguished_names.normal_dn("cn=Maße,dc=x") != distinguished_names.normal_dn("cn=Masse,dc=x")
    assert (
        distinguished_names.normal_dn("cn=ΟΔΟΣ,dc=x")
        == distinguished_names.normal_dn("CN=οδοσ,DC=X")
        != distinguished_names.normal_dn("CN=οδος,DC=X")
    )
    assert len({distinguished_names.normal_dn("cn=%s" % name) for name in ("isi", "ISI", "\u0131s\u0131", "iſi")}) == 3
    assert (
        distinguished_names.normal_dn("cn=a\tb")
        != distinguished_names.normal_dn("cn=a b")
        != distinguished_names.normal_dn("cn=a\u00a0b")
    )


@given(st.lists(st.lists(st.tuples(TYPE, TEXT), min_size=1, max_size=3), min_size=1, max_size=4))
@example([[("CN", "ΑΙΣ ß")]])
def test_normal_form_is_stable_and_knows_no_case_or_order(rdns):
    def written(escape, change=str):
        return ",".join(
            "+".join("%s=%s" % (change(kind), escape(change(value))) for kind, value in rdn) for rdn in rdns
        )

    def in_hexadecimal(value):
        return "".join("\\%02X" % octet for octet in value.encode())

    normal = distinguished_names.normal_dn(written(escape_dn_value))
    assert distinguished_names.normal_dn(normal) == normal
    assert distinguished_names.normal_dn(written(in_hexadecimal)) == normal
    assert distinguished_names.normal_dn(written(escape_dn_value, in_capitals)) == normal
    for rdn in rdns:
        rdn.reverse()
    assert distinguished_names.normal_dn(written(escape_dn_value)) == normal
    # A comma is always a separator there.
    assert [distinguished_names.normal_dn(part) for part in normal.split(",")] == normal.split(",")


@given(st.text(st.sampled_from('a\u01f0ÀA\u0300\u0338ßİK\u2126 \t\x1c\u00a0\u3000,=+#\\"<;\0c'), max_size=20))
def test_the_short_way_to_a_normal_form_gives_the_same(value):
    text = "cn=%s,dc=x" % value
    try:
        rdns = distinguished_names.parse_dn(text)
    except ValueError:
        with pytest.raises(ValueError):
            distinguished_names.normal_dn(text)
        return
    whole = ",".join("+".join(sorted(distinguished_names._normal_pair(*pair) for pair in rdn)) for rdn in rdns)
    assert distinguished_names.normal_dn(text) == whole


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CN=Jörg  Müller,DC=X", "cn=jo\u0308rg mu\u0308ller,dc=x"),
        (r"cn=a\,b,dc=x", r"CN=A\2Cb , DC=x"),
        ("2.5.4.3=#0C0141,dc=x", "cn=a,dc=x"),
        (r"cn=\ a\ ,dc=x", "cn=a,dc=x"),
        ("ou=s+cn=j", "CN=J+OU=S"),
    ],
)
def test_spellings_of_one_dn(one, other):
    assert distinguished_names.normal_dn(one) == distinguished_names.normal_dn(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"cn=a\,ou=x", "cn=a,ou=x"),
        (r"cn=\#0141", "cn=#0C0141"),
        ("cn=a b", "cn=ab"),
        ("cn=Jörg", "cn=Jorg"),
        (r"cn=\#0101ff", "cn=#0101FF"),
    ],
)
def test_different_dns(one, other):
    assert distinguished_names.normal_dn(one) != distinguished_names.normal_dn(other)


def test_within_and_parents():
    normal = distinguished_names.normal_dn
    assert distinguished_names.dn_is_within(normal("CN=a,OU=Staff,DC=x"), normal("ou=staff,dc=X"))
    assert distinguished_names.dn_is_within(normal("OU=Staff,DC=x"), normal("ou=staff,dc=X"))
    assert distinguished_names.dn_is_within(normal("OU=Staff,DC=x"), "")
    assert not distinguished_names.dn_is_within(normal("ou=mystaff,dc=x"), normal("ou=staff,dc=x"))
    assert not distinguished_names.dn_is_within(normal(r"cn=a\,ou=staff"), normal("ou=staff"))
    assert not distinguished_names.dn_is_within(normal("dc=x"), normal("ou=staff,dc=x"))
    assert distinguished_names.dn_parent(r"CN=Doe\, J\\,OU=Staff, DC=x") == "OU=Staff, DC=x"
    assert distinguished_names.dn_parent("CN=a, OU=Staff") == "OU=Staff"
    assert distinguished_names.dn_parent("dc=x") == ""
    assert distinguished_names.rdn_value(r"CN=Doe\, J+UID=1,OU=Staff") == "Doe, J"
    assert distinguished_names.rdn_value("cn=#0101FF") == "#0101ff"


@given(st.lists(st.tuples(st.just("cn"), TEXT), min_size=1, max_size=4))
def test_parent_of_what_a_server_wrote(pairs):
    parts = ["%s=%s" % (kind, escape_dn_value(value)) for kind, value in pairs]
    text, parent = ",".join(parts), ",".join(parts[1:])
    assert distinguished_names.dn_parent(text) == parent
    assert distinguished_names.fast_parent(text.encode()) == parent.encode()
    assert distinguished_names.rdn_value(text) == pairs[0][1]


def test_a_dn_that_is_not_utf_8_is_refused():
    assert distinguished_names.dn_text("cn=é".encode()) == "cn=é"
    with pytest.raises(ValueError, match=r"not UTF-8: 'cn=\\xe9'"):
        distinguished_names.dn_text(b"cn=\xe9")


@given(st.text(max_size=30), st.binary(max_size=20))
def test_nothing_but_value_error(text, raw):
    for function, argument in [
        (distinguished_names.parse_dn, text),
        (distinguished_names.normal_dn, "cn=" + text),
        (filter_text.parse_filter, text),
        (filter_text.parse_filter, "(cn=%s)" % text),
        (values.sid_bytes, text),
        (values.guid_bytes, text),
        (values.sid_text, raw),
        (values.guid_text, raw),
        (values.filetime_seconds, raw),
        (values.generalized_time_seconds, raw),
        (distinguished_names.dn_text, raw),
    ]:
        try:
            function(argument)
        except ValueError:
            pass


# --- filters


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("(cn=Babs Jensen)", ("=", "cn", b"Babs Jensen")),
        ("(!(cn=Tim Howes))", ("!", ("=", "cn", b"Tim Howes"))),
        (
            "(&(objectClass=Person)(|(sn=Jensen)(cn=Babs J*)))",
            ("&", [("=", "objectClass", b"Person"), ("|", [("=", "sn", b"Jensen"), ("*", "cn", b"Babs J", [], b"")])]),
        ),
        ("(o=univ*of*mich*)", ("*", "o", b"univ", [b"of", b"mich"], b"")),
        ("(o=**x)", ("*", "o", b"", [], b"x")),
        ("(seeAlso=)", ("=", "seeAlso", b"")),
        ("(cn:caseExactMatch:=Fred Flintstone)", (":=", "caseExactMatch", "cn", b"Fred Flintstone", False)),
        ("(cn:=Betty Rubble)", (":=", None, "cn", b"Betty Rubble", False)),
        ("(sn:dn:2.4.6.8.10:=Barney Rubble)", (":=", "2.4.6.8.10", "sn", b"Barney Rubble", True)),
        ("(o:dn:=Ace Industry)", (":=", None, "o", b"Ace Industry", True)),
        ("(:1.2.3:=Wilma Flintstone)", (":=", "1.2.3", None, b"Wilma Flintstone", False)),
        ("(:DN:2.4.6.8.10:=Dino)", (":=", "2.4.6.8.10", None, b"Dino", True)),
        (
            r"(o=Parens R Us \28for all your parenthetical needs\29)",
            ("=", "o", b"Parens R Us (for all your parenthetical needs)"),
        ),
        (r"(bin=\00\00\00\04)", ("=", "bin", b"\0\0\0\4")),
        (r"(sn=Lu\c4\8di\c4\87)", ("=", "sn", "Lučić".encode())),
        ("(sn=Lučić)", ("=", "sn", "Lučić".encode())),
        ("(cn=*)", ("=*", "cn")),
        ("(cn;lang-de=x)", ("=", "cn;lang-de", b"x")),
        ("(1.2.3>=5)", (">=", "1.2.3", b"5")),
        ("(a<=5)", ("<=", "a", b"5")),
        ("(a~=x=y)", ("~=", "a", b"x=y")),
        (" (& (a=1)\n   (b= 2 ) ) ", ("&", [("=", "a", b"1"), ("=", "b", b" 2 ")])),
    ],
)
def test_parse_filter(text, tree):
    assert filter_text.parse_filter(text) == tree


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the filter is empty; write one such as (objectClass=*)"),
        (" \n", "the filter is empty"),
        ("cn=x", "'cn=x' is not an LDAP filter: a '(' is missing, at character 1"),
        ("(cn=x", "this '(' is never closed, at character 1"),
        ("(&(a=1)(b=2)", "this '(' is never closed, at character 1"),
        ("(cn=x))", "there is more after the filter's last ')', at character 7"),
        ("(a=1)(b=2)", "there is more after the filter's last ')', at character 6"),
        ("()", "here an attribute and one of = >= <= ~= := are expected, at character 2"),
        ("(cn)", "here an attribute and one of = >= <= ~= := are expected, at character 2"),
        ("(=x)", "here an attribute and one of = >= <= ~= := are expected, at character 2"),
        ("(c n=x)", "here an attribute and one of = >= <= ~= := are expected, at character 2"),
        ("(:=x)", "here an attribute and one of = >= <= ~= := are expected, at character 2"),
        ("(&)", "'&' needs at least one filter in parentheses, at character 1"),
        ("(|a=1)", "'|' needs at least one filter in parentheses, at character 1"),
        ("(!(a=1)(b=2))", "'!' takes exactly one filter in parentheses, at character 1"),
        (r"(cn=\zz)", "a backslash needs two hexadecimal digits after it ('\\5c' is a backslash), at character 5"),
        (r"(cn=a\)", "a backslash needs two hexadecimal digits after it ('\\5c' is a backslash), at character 6"),
        ("(cn=a(b)", "'(' in a value is written '\\28', at character 6"),
        ("(cn>=a*)", "'*' in a value is written '\\2a', at character 7"),
        ("(cn=a\0)", "'NUL' in a value is written '\\00', at character 6"),
        ("(&(a=1)x)", "a ')' is missing, at character 8"),
        ("(!" * 101 + "(a=1)" + ")" * 101, "it is nested more than 100 levels deep"),
    ],
)
def test_what_is_no_filter_is_refused_with_the_place(text, why):
    with pytest.raises(ValueError) as error:
        filter_text.check_filter(text)
    assert why in str(error.value)


@given(TEXT, st.binary(max_size=12))
def test_an_escaped_value_comes_back(text, raw):
    assert filter_text.parse_filter("(cn=%s)" % filter_text.escape_filter(text)) == ("=", "cn", text.encode())
    assert filter_text.parse_filter("(cn=%s)" % filter_text.escape_filter(raw)) == ("=", "cn", raw)
