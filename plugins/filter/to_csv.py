# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: to_csv
short_description: Users as CSV, with chosen columns
version_added: 0.2.0
author:
  - usersync.directory contributors (@usersync)
description:
  - Writes users as a table (RFC 4180), for programs that import users from a file.
  - A value with the delimiter, a quote or a line break in it is quoted.
  - People write some of their attributes themselves, and a spreadsheet takes a value that begins with V(=), V(+), V(-)
    or V(@) for a formula. See O(formulas).
positional: columns
options:
  _input:
    description:
      - Users, as M(usersync.directory.user_group_info) returns them.
    type: list
    elements: dict
    required: true
  columns:
    description:
      - The heading of each column, and the field that fills it. In their order.
      - A field is one of RV(usersync.directory.user_group_info#module:users), such as C(name), C(home) or C(enabled),
        else one of the local attributes of the user, else one of its attributes. Where a user has no such field, the
        value is empty.
    type: dict
    required: true
  delimiter:
    description:
      - What stands between two values, one character.
    type: str
    default: ","
  heading:
    description:
      - Whether to write the headings.
    type: bool
    default: true
  formulas:
    description:
      - V(text) puts an apostrophe before what a spreadsheet would take for a formula, as in C('=1+1), so that it shows
        the text. This is done at the beginning of a value, and behind each character in it that a spreadsheet with
        other settings takes for a delimiter. Numbers, also those of telephones such as C(+49 30 1234-5), stay as they
        are.
      - V(keep) changes no value. It is for programs that compute nothing.
    type: str
    choices: [text, keep]
    default: text
seealso:
  - module: usersync.directory.user_group_info
"""

EXAMPLES = r"""
- name: Look up the nurses
  usersync.directory.user_group_info:
    user_group: All/Staff/Nurses
    effective: true
  register: nurses

- name: Write them into a file
  ansible.builtin.copy:
    content: "{{ nurses.users | usersync.directory.to_csv(columns, delimiter=';') }}"
    dest: /srv/export/nurses.csv
    mode: "0640"
  vars:
    columns:
      Login: name
      E-mail: email
      Groups: user_groups
"""

RETURN = r"""
_value:
  description: The table, with a line break (CR LF) after each line. Several values in one are separated by commas.
  type: str
  sample: "\"Login\";\"Name\"\r\n\"ann\";\"Ann\"\r\n"
"""

import csv
import io
import re
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

# The place before a formula: where a cell may begin, before a sign, also in its wide form (East Asia), unless a number
# follows that goes to where the cell may end.
_FORMULA = re.compile(
    r"((?:^|[,;|\t\r\n])[ \"]*)(?![+-][\d ()./-]*(?:[,;|\t\r\n]|\Z))(?=[=+@\uff1d\uff0b\uff0d\uff20-])"
)


def to_csv(users, columns, delimiter=",", heading=True, formulas="text"):
    if not isinstance(users, (list, tuple)) or not all(isinstance(user, Mapping) for user in users):
        raise AnsibleFilterError("to_csv: the input is no list of users: give it 'users' of user_group_info")
    if not isinstance(columns, Mapping) or not columns:
        raise AnsibleFilterError(
            "to_csv: columns: write the heading of each column and its field, such as {'E-mail': 'email'}"
        )
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n':
        raise AnsibleFilterError(
            "to_csv: delimiter: %r is not one character that can stand between values: write one "
            "such as ';'" % (delimiter,)
        )
    if formulas not in ("text", "keep"):
        raise AnsibleFilterError("to_csv: formulas: %r is none: write text or keep" % (formulas,))
    table = io.StringIO()
    writer = csv.writer(table, delimiter=str(delimiter))
    if heading:
        writer.writerow(columns)
    written = _text if formulas == "keep" else lambda value: _FORMULA.sub(r"\1'", _text(value))
    writer.writerows([written(_value(user, field)) for field in columns.values()] for user in users)
    return table.getvalue()


def _value(user, field):
    for fields in (user, user.get("local_attributes") or {}, user.get("attributes") or {}):
        if field in fields:
            return fields[field]
    return None


def _text(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


class FilterModule:
    def filters(self):
        return {"to_csv": to_csv}
