# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A company whose user groups are provisioned to the SCIM service of the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from . import stores
from .company import Company
from .modules import Modules
from .scim_service import TOKEN, ScimService, serving


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
