# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The options of a provisioning, judged."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ._destination import http_client
from ._destination.contract import Kind
from ._destination.scim import services
from ._destination.scim.resources import USER
from ._destination.scim.services import Members, Paging, Service
from ._errors import SynchronizationError
from ._judge import TIMEOUT_MAX, ca_file, number_of, readable_file, store_address
from ._named_tuple import NamedTuple
from ._names import split_path
from ._options import PROVISIONING, SCIM, STORE, with_defaults
from ._provisioning.model import Collision, Departure, Policies
from ._provisioning.wanted import USER_ATTRIBUTES, Choice
from ._settings import brakes
from ._store.address import Address

_KIND = {"accounts": Kind.ACCOUNT, "groups": Kind.GROUP}
_NAME = "userName"

# A name, one part of it, or the value of a type; with a schema before it.
_ATTRIBUTE = re.compile(r"(urn:[A-Za-z0-9:._-]+:)?[A-Za-z][\w$-]*(\.[A-Za-z][\w$-]*)*(\[[^\]\"\\]+\])?")
_OURS = ("active", "externalid", "groups", "id", "members", "meta", "password", "schemas")


class ProvisioningSettings(NamedTuple):
    """What a run is asked to do: the options, judged, with their defaults."""

    name: str
    state: str
    choice: Choice
    policies: Policies
    removal_limits: dict[str, str]
    approved_plan: str | None
    approved_removals: str | None
    fail_on: list[str]
    store: Address
    store_timeout: int  # seconds
    report_limit: int
    report_bytes: int
    client: http_client.Settings
    service: Service

    def __repr__(self) -> str:
        return "ProvisioningSettings(%r)" % self.name  # there are secrets among the others


def provisioning_settings(params: Mapping[str, Any]) -> ProvisioningSettings:
    """Return the settings that the module's parameters ask for. Raises SynchronizationError."""
    options = with_defaults(params, PROVISIONING, SCIM, STORE)
    if not options["name"].strip():
        raise SynchronizationError("name: the provisioning has no name: give it one, such as 'wiki'")
    attributes = _attributes(options["user_attributes"])
    service = _service(options["service"], options["service_parameters"] or {})
    nests = options["nested_groups"] == "nest"
    if nests and not service.nests:
        raise SynchronizationError(
            "nested_groups: the service '%s' has no groups in groups: write flatten, or set nests: true in "
            "service_parameters if it has" % options["service"]
        )
    judged: dict[str, Any] = brakes(options)
    if options["state"] != "present":  # asking for it is the permission
        judged.update(
            removal_limits=dict.fromkeys(_ALL, "100%"), fail_on=[], approved_plan=None, approved_removals=None
        )
    return ProvisioningSettings(
        name=options["name"],
        state=options["state"],
        choice=Choice(
            user_group_paths(options["user_groups"] or (), options["state"]),
            {attribute: field for attribute, field in attributes.items() if attribute != _NAME},
            attributes[_NAME],
            options["group_name"],
            nests,
            options["allow_empty"],
        ),
        policies=Policies(
            Collision(options["collision"]),
            Departure(options["departure"]),
            options["foreign_members"] == "remove",
            options["drift"] == "restore",
        ),
        store=store_address(options["store"], options["store_password"]),
        store_timeout=number_of("store_timeout", options["store_timeout"], TIMEOUT_MAX, least=0),
        report_limit=number_of("report_limit", options["report_limit"]),
        report_bytes=number_of("report_bytes", options["report_bytes"]),
        client=_client(options, service),
        service=service,
        **judged,
    )


_ALL = ("users", "user_groups", "memberships", "attributes", "renames", "states")


def user_group_paths(paths: Sequence[str], state: str) -> tuple[str, ...]:
    """Return the paths, each once. Raises SynchronizationError if one is none, or there is none where one is needed."""
    if state == "present" and not paths:
        raise SynchronizationError("user_groups: the list is empty: name the user groups, or end it by state: absent")
    for path in paths:
        try:
            split_path(path)
        except ValueError as error:
            raise SynchronizationError("user_groups: %s" % error) from None
    return tuple(dict.fromkeys(paths))


def check_field(attribute: str, field: object) -> None:
    """Raise SynchronizationError if what an attribute is given is no name of a field of the store."""
    if not isinstance(field, str) or not field:
        raise SynchronizationError(
            "user_attributes: '%s' is given %r, which is no field of the store: write one such as email"
            % (attribute, field)
        )


def _attributes(given: Mapping[str, Any] | None) -> dict[str, str]:
    attributes = {_NAME: "name", **USER_ATTRIBUTES} if given is None else {_NAME: "name", **given}
    for attribute, field in attributes.items():
        if not isinstance(attribute, str) or not _ATTRIBUTE.fullmatch(attribute) or _is_ours(attribute):
            raise SynchronizationError(
                "user_attributes: %r is no attribute that can be set: write one such as title, name.givenName or "
                "emails[work]" % (attribute,)
            )
        check_field(attribute, field)
    return attributes


def _is_ours(attribute: str) -> bool:
    """Tell whether an attribute is written by us, or by nobody. It is the same in any case (RFC 7643, 2.1)."""
    name = attribute.lower()
    if name.startswith(USER.lower() + ":"):
        name = name[len(USER) + 1 :]
    first = re.split(r"[.\[]", name)[0]
    return first in _OURS or first == _NAME.lower() and attribute != _NAME


def _service(name: str, parameters: Mapping[str, Any]) -> Service:
    given = {parameter: value for parameter, value in parameters.items() if value not in (None, "")}
    for number in ("page_size", "largest_change", "writes_per_minute"):
        if number in given:
            number_of("service_parameters: " + number, given[number])
    for parameter, made in (("paging", Paging), ("members", Members)):
        if parameter in given:
            given[parameter] = made(given[parameter])
    for parameter in ("kinds", "lists"):
        if parameter in given:
            given[parameter] = frozenset(_KIND[each] for each in given[parameter])
    if "filters" in given:
        given["filters"] = frozenset(given["filters"])
    try:
        return services.service(name, **given)
    except ValueError as error:
        raise SynchronizationError(str(error)) from None


def _client(options: Mapping[str, Any], service: Service) -> http_client.Settings:
    if options["token"] and options["username"]:
        raise SynchronizationError("token: there is username, too: give the one or the other")
    if options["username"] and not options["password"]:
        raise SynchronizationError("password: it is missing or empty: give that of username")
    if options["state"] != "released" and not (options["token"] or options["username"] or options["client_cert"]):
        raise SynchronizationError(
            "token: no service lets anybody in: give token, username and password, or client_cert"
        )
    limits: dict[str, Any] = {
        limit: None if options[limit] is None else number_of(limit, options[limit])
        for limit in ("time_limit", "request_limit")
    }
    return http_client.Settings(
        url="" if options["state"] == "released" else options["url"] or "",
        token=options["token"] or None,
        username=options["username"] or None,
        password=options["password"] or None,
        validate_certs=options["validate_certs"],
        ca_path=ca_file(options["ca_path"]),
        client_cert=readable_file("client_cert", options["client_cert"]),
        client_key=readable_file("client_key", options["client_key"]),
        timeout=float(number_of("timeout", options["timeout"], TIMEOUT_MAX)),
        writes_per_minute=service.writes_per_minute,
        later_in_500=service.later_in_500,
        **limits,
    )


def public_settings(settings: ProvisioningSettings) -> dict[str, Any]:
    """Return the effective settings for the result: by option name, no secret among them."""
    choice, policies, spoken_to = settings.choice, settings.policies, settings.client
    service = settings.service
    named = {kind: name for name, kind in _KIND.items()}
    return {
        "name": settings.name,
        "state": settings.state,
        "user_groups": list(choice.user_groups),
        "allow_empty": choice.allow_empty,
        "user_attributes": {_NAME: choice.name_attribute, **choice.user_attributes},
        "group_name": choice.group_name,
        "nested_groups": "nest" if choice.nests else "flatten",
        "collision": policies.collision.value,
        "departure": policies.departure.value,
        "foreign_members": "remove" if policies.removes_foreign_members else "keep",
        "drift": "restore" if policies.restores_drift else "report",
        "removal_limits": settings.removal_limits,
        "approved_plan": settings.approved_plan,
        "approved_removals": settings.approved_removals,
        "fail_on": settings.fail_on,
        "store": settings.store.shown,
        "store_timeout": settings.store_timeout,
        "report_limit": settings.report_limit,
        "report_bytes": settings.report_bytes,
        "url": spoken_to.url,
        "username": spoken_to.username,
        "validate_certs": spoken_to.validate_certs,
        "ca_path": spoken_to.ca_path,
        "client_cert": spoken_to.client_cert,
        "client_key": spoken_to.client_key,
        "timeout": int(spoken_to.timeout),
        "time_limit": spoken_to.time_limit,
        "request_limit": spoken_to.request_limit,
        "service": {
            **{field: getattr(service, field) for field in ("page_size", "patches", "puts", "largest_change")},
            **{field: getattr(service, field) for field in ("removes_by_value", "nests", "deletes", "later_in_500")},
            "writes_per_minute": service.writes_per_minute,
            "kinds": sorted(named[kind] for kind in service.kinds),
            "lists": sorted(named[kind] for kind in service.lists),
            "filters": sorted(service.filters),
            "paging": service.paging.value if service.paging else None,
            "members": service.members.value,
        },
    }
