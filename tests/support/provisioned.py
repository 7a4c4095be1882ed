# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A company whose user groups are provisioned to the SCIM service of the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._destination import http_client
from ansible_collections.usersync.directory.plugins.module_utils._errors import Failed, SynchronizationError
from ansible_collections.usersync.directory.plugins.module_utils._options import (
    PROVISIONING,
    SCIM,
    STORE,
    module_arguments,
)
from ansible_collections.usersync.directory.plugins.module_utils._provisioning_settings import provisioning_settings
from ansible_collections.usersync.directory.plugins.module_utils._scim_provisioning import provision_to_scim

from . import stores
from .company import Company
from .modules import Modules
from .scim_service import TOKEN, ScimService, serving

_DEFAULTS = {
    option: described.get("default")
    for option, described in module_arguments(PROVISIONING, SCIM, STORE)["argument_spec"].items()
}


@contextmanager
def served() -> Iterator[ScimService]:
    """Yield a service that answers at its ``url``."""
    service = ScimService()
    with serving(service) as url:
        service.url = url
        yield service


def options(company: Company, service: ScimService, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of scim_provisioning for the user groups Staff and Night."""
    return {
        "name": "wiki",
        "user_groups": ["All/Company/Staff", "All/Company/Night"],
        "url": service.url,
        "token": TOKEN,
        "store": stores.of(company.store),
        **more,
    }


def user(service: ScimService, name: str) -> dict[str, Any]:
    """Return the account of this name, as the service has it."""
    return next(each for each in service.users.values() if each["userName"] == name)


def members(service: ScimService, name: str) -> set[str]:
    """Return the names of the accounts in the group of this name."""
    number = next(number for number, each in service.groups.items() if each["displayName"] == name)
    return {service.users[each]["userName"] for each in service.members(number) if each in service.users}


def is_reported(result: Mapping[str, Any], name: str) -> bool:
    """Tell whether a run failed, or says that somebody is not provisioned."""
    return bool(result.get("failed")) or name in [each["name"] for each in result["not_provisioned"]]


def bob_leaves(company: Company) -> None:
    """Bob is in no user group any more; ann is in both."""
    company.becomes({"Staff": ["ann"], "Night": ["ann"]}, {"bob": {}})


def asking(modules: Modules, company: Company, service: ScimService, **always: Any) -> Callable[..., dict[str, Any]]:
    """Return what runs scim_provisioning for the user groups Staff and Night, and gives its result."""

    def run(check_mode: bool = False, diff: bool = False, **more: Any) -> dict[str, Any]:
        given = options(company, service, {**always, **more})
        result = modules.run("scim_provisioning", given, check_mode=check_mode, diff=diff).result
        assert "\n" not in result["msg"]
        return {key: value for key, value in result.items() if key not in ("invocation", "warnings")}

    return run


def directly(company: Company, service: ScimService, **always: Any) -> Callable[..., dict[str, Any]]:
    """Return what runs it in this process, and gives its result."""

    def run(check_mode: bool = False, **more: Any) -> dict[str, Any]:
        given = {**_DEFAULTS, **options(company, service, {**always, **more})}
        try:
            return provision_to_scim(provisioning_settings(given), check_mode, False, lambda _text: None)
        except Failed as failure:
            return {**failure.result, "failed": True}
        except SynchronizationError as error:
            return {"failed": True, "msg": str(error)}

    return run


def without_waiting(
    company: Company, service: ScimService, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """As `directly`, without the waiting for a service that has nobody to wait for."""
    monkeypatch.setattr(http_client, "_FIRST_WAIT", 0.0)
    return directly(company, service, removal_limits="100%", timeout=60)
