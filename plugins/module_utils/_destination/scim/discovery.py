# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What a service says of itself: ServiceProviderConfig, ResourceTypes and Schemas (RFC 7644, 4; RFC 9865, 4)."""

from __future__ import annotations

from typing import Any

from ..._named_tuple import NamedTuple
from ..contract import Kind
from ..http_client import Client
from .resources import GROUP
from .services import Members, Paging, Service

_OF_TYPE = {"User": Kind.ACCOUNT, "Group": Kind.GROUP}


class About(NamedTuple):
    """How a service is spoken to: what is known of it, and what it says."""

    service: Service
    paging: Paging
    page_size: int
    patches: bool


def discovered(client: Client, service: Service) -> About:
    """Ask a service what it can do. Where it does not say so, it is as the RFC has it, or as is known of it."""
    config = _asked(client, "/ServiceProviderConfig")
    pages = _part(config, "pagination")
    paging = service.paging or _paging(pages)
    largest = pages.get("maxPageSize") or _part(config, "filter").get("maxResults")
    size = min(service.page_size, largest) if isinstance(largest, int) and largest > 0 else service.page_size
    patches = service.patches
    if patches is None:
        patches = _part(config, "patch").get("supported", True) is not False
    if _part(config, "filter").get("supported") is False:
        service = service._replace(filters=frozenset())
    service = service._replace(kinds=service.kinds & _kinds(client))
    if service.members is not Members.NEVER and _hides_members(client):
        service = service._replace(members=Members.NEVER)
    return About(service, paging, size, patches)


def _paging(pages: dict[str, Any]) -> Paging:
    """Return how to page. By index if both are possible: then a total tells whether all came."""
    return Paging.CURSOR if pages.get("cursor") is True and pages.get("index") is not True else Paging.INDEX


def _kinds(client: Client) -> frozenset[Kind]:
    """Return what the service has. One that does not list its types has both."""
    types = _asked(client, "/ResourceTypes").get("Resources")
    names = [each.get("name") for each in types if isinstance(each, dict)] if isinstance(types, list) else []
    found = frozenset(kind for name, kind in _OF_TYPE.items() if name in names)
    return found or frozenset(Kind)


def _hides_members(client: Client) -> bool:
    """Tell whether the service's schema says that it never shows who is in a group."""
    schemas = _asked(client, "/Schemas").get("Resources")
    for schema in schemas if isinstance(schemas, list) else ():
        if isinstance(schema, dict) and schema.get("id") == GROUP:
            attributes = schema.get("attributes")
            for each in attributes if isinstance(attributes, list) else ():
                if isinstance(each, dict) and each.get("name") == "members":
                    return each.get("returned") == "never"
    return False


def _asked(client: Client, path: str) -> dict[str, Any]:
    answer = client.send("GET", path)
    return answer.data if answer.status == 200 and isinstance(answer.data, dict) else {}


def _part(config: dict[str, Any], name: str) -> dict[str, Any]:
    part = config.get(name)
    return part if isinstance(part, dict) else {}
