# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Records as SCIM has them (RFC 7643), and what is sent to change them (RFC 7644, 3.5). Pure.

An attribute is called as `user_attributes` calls it: ``title``, ``name.givenName``, ``emails[work]`` for the value of
that type, or with a schema before it, ``urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ..._names import name_key
from ..contract import Kind, Record, State
from ..http_client import OURS

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"

Resource = dict[str, Any]
Operation = dict[str, Any]

NAME = {Kind.ACCOUNT: "userName", Kind.GROUP: "displayName"}
PATHS = {Kind.ACCOUNT: "/Users", Kind.GROUP: "/Groups"}
_SCHEMA = {Kind.ACCOUNT: USER, Kind.GROUP: GROUP}
_TYPED = re.compile(r"([A-Za-z][\w$-]*)\[([^\]\"\\]+)\]")


def path_of(kind: Kind, number: str) -> str:
    """Return the path of a resource below the address of the service."""
    # A part "." or ".." is taken out of a path on the way (RFC 3986, 5.2.4).
    part = number.replace(".", "%2E") if number in (".", "..") else quote(number, safe="")
    return "%s/%s" % (PATHS[kind], part)


def id_of(resource: Resource) -> str | None:
    """Return the id; None if there is none that can be kept: a secret of ours is no id."""
    number = resource.get("id")
    return number if isinstance(number, str) and number and OURS not in number else None


def equals(attribute: str, value: str) -> str:
    """Return a filter. A value in it is a text as JSON has it (RFC 7644, 3.4.2.2)."""
    return "%s eq %s" % (attribute, json.dumps(value, ensure_ascii=False))


# --- a record as a resource ------------------------------------------------------------------------------------------


def resource_of(kind: Kind, record: Record) -> Resource:
    """Return what is sent to create it."""
    made: Resource = {"schemas": [_SCHEMA[kind]], NAME[kind]: record.name}
    if record.external_id:
        made["externalId"] = record.external_id
    if kind is Kind.ACCOUNT:
        made["active"] = record.state is not State.DISABLED
    for attribute, text in sorted(record.attributes.items()):
        _put(made, attribute, text)
    return made


def merged(kind: Kind, resource: Resource, before: Record, after: Record) -> Resource:
    """Return a resource as it is with what differs between two records, and all else as it was: for PUT."""
    made: Resource = json.loads(json.dumps(resource))
    for attribute, text in _differences(kind, before, after):
        _put(made, attribute, text)
    # Some services take whom they are not told of for active.
    is_told = before.state is after.state and state_of(resource) is not State.UNTOLD
    if kind is Kind.ACCOUNT and not is_told and after.state is not State.UNTOLD:
        made["active"] = after.state is not State.DISABLED
    return made


def _put(resource: Resource, attribute: str, text: str) -> None:
    """Write a text where its attribute is; with an empty one take it away."""
    schema, name = _split(attribute)
    if schema:
        said = resource.get("schemas")
        schemas = said if isinstance(said, list) else []
        resource["schemas"] = schemas if schema in schemas else [*schemas, schema]
        resource = _part(resource, schema)
    typed = _TYPED.fullmatch(name)
    if typed:
        others = [each for each in _entries(resource, typed[1]) if each.get("type") != typed[2]]
        resource[typed[1]] = [*others, {"value": text, "type": typed[2]}] if text else others
        return
    *above, last = name.split(".")
    for each in above:
        resource = _part(resource, each)
    if text:
        resource[last] = text
    else:
        resource.pop(last, None)


def _part(resource: Resource, name: str) -> Resource:
    """Return the part of this name, which is made if there is none, or something else."""
    if not isinstance(resource.get(name), dict):
        resource[name] = {}
    part: Resource = resource[name]
    return part


# --- a resource as a record ------------------------------------------------------------------------------------------


def record_of(kind: Kind, resource: Resource, attributes: Collection[str]) -> Record | None:
    """Return what a resource says, of attributes only these. None if it has no name."""
    name = resource.get(NAME[kind])
    if not isinstance(name, str) or not name:
        return None
    key = resource.get("externalId")
    found = {attribute: _get(resource, attribute) for attribute in attributes}
    return Record(
        name,
        key if isinstance(key, str) else "",
        state_of(resource) if kind is Kind.ACCOUNT else State.ENABLED,
        {attribute: text for attribute, text in found.items() if text},
    )


def state_of(resource: Resource) -> State:
    """Return whether a user can log in. Some services write a boolean as a text."""
    said = str(resource.get("active", "")).lower()
    return {"true": State.ENABLED, "false": State.DISABLED}.get(said, State.UNTOLD)


def shows_active(resource: Resource) -> bool:
    """Tell whether anything is said of it, understood or not (RFC 7643, 2.5: null is as left out)."""
    return resource.get("active") is not None


def _get(resource: Resource, attribute: str) -> str:
    schema, name = _split(attribute)
    value: Any = resource.get(schema) if schema else resource
    typed = _TYPED.fullmatch(name)
    if typed:
        entries = _entries(value, typed[1]) if isinstance(value, dict) else []
        value = next((each.get("value") for each in entries if each.get("type") == typed[2]), None)
    else:
        for each in name.split("."):
            value = value.get(each) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def _entries(resource: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = resource.get(name)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _split(attribute: str) -> tuple[str, str]:
    """Return the schema that stands before a name, empty if none does, and the name."""
    if not attribute.lower().startswith("urn:"):
        return "", attribute
    schema, _colon, name = attribute.rpartition(":")
    return schema, name


def shown(kind: Kind, resource: Resource, written: Record) -> dict[str, str]:
    """Return what a service made of attributes, where that is not what was written."""
    there = {attribute: _get(resource, attribute) for attribute in written.attributes}
    return {attribute: text for attribute, text in there.items() if text != written.attributes[attribute]}


def is_named(kind: Kind, resource: Resource, name: str) -> bool:
    """Tell whether a resource has this name, without case."""
    there = resource.get(NAME[kind])
    return isinstance(there, str) and name_key(there) == name_key(name)


# --- PATCH -----------------------------------------------------------------------------------------------------------


def patch(operations: Sequence[Operation]) -> Resource:
    """Return the body of a PATCH."""
    return {"schemas": [PATCH], "Operations": list(operations)}


def operations(kind: Kind, before: Record, after: Record) -> list[Operation]:
    """Return what changes one record into another one."""
    found = [
        _operation(attribute, text, attribute in before.attributes)
        for attribute, text in _differences(kind, before, after)
    ]
    if kind is Kind.ACCOUNT and before.state is not after.state:
        found.append({"op": "replace", "path": "active", "value": after.state is not State.DISABLED})
    return found


def _differences(kind: Kind, before: Record, after: Record) -> Iterator[tuple[str, str]]:
    """Yield attributes and their new texts, empty where there is none any more."""
    if before.name != after.name:
        yield NAME[kind], after.name
    if before.external_id != after.external_id:
        yield "externalId", after.external_id
    for attribute in sorted(before.attributes.keys() | after.attributes.keys()):
        text = after.attributes.get(attribute, "")
        if before.attributes.get(attribute, "") != text:
            yield attribute, text


def _operation(attribute: str, text: str, was_there: bool) -> Operation:
    schema, name = _split(attribute)
    typed = _TYPED.fullmatch(name)
    before = schema + ":" if schema else ""
    if not typed:
        path = before + name
        return {"op": "replace", "path": path, "value": text} if text else {"op": "remove", "path": path}
    entry = '%s%s[type eq "%s"]' % (before, typed[1], typed[2])
    if not text:
        return {"op": "remove", "path": entry}
    if was_there:
        return {"op": "replace", "path": entry + ".value", "value": text}
    return {"op": "add", "path": before + typed[1], "value": [{"value": text, "type": typed[2]}]}


def member_operations(added: Sequence[str], removed: Sequence[str], by_value: bool) -> list[Operation]:
    """Return what changes the members of a group. Nothing here says who else is in it."""
    found: list[Operation] = []
    if removed and by_value:
        found.append({"op": "remove", "path": "members", "value": [{"value": each} for each in removed]})
    elif removed:
        found += [{"op": "remove", "path": "members[%s]" % equals("value", each)} for each in removed]
    if added:
        found.append({"op": "add", "path": "members", "value": [{"value": each} for each in added]})
    return found
