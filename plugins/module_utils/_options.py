# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The options of the modules as data, in families that several modules share.

A family is a dict of keyword arguments for AnsibleModule, so that an option and the rules about it travel together.
What a rule cannot say with a remedy (a login without a password, a scheme that contradicts ``encryption``) is judged in
``_settings.py``. Each family has its twin of the same name in ``plugins/doc_fragments``: keep them in step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

# ansible-test asks for an explicit no_log wherever a name sounds like a secret; a path or the name of an attribute is
# none, and hiding it would also hide every equal text in the result.
_NOT_SECRET = {"no_log": False}


class _OrNull(list[str]):
    """The choices of an option that may be left out, which null does as well: Ansible would refuse it."""

    def __contains__(self, choice: object) -> bool:
        return choice is None or super().__contains__(choice)


# Options that the environment of the module gives, where a task does not: for what hands on secrets in no other way.
ENVIRONMENT = {
    "login": "USERSYNC_LOGIN",
    "password": "USERSYNC_PASSWORD",
    "store_password": "USERSYNC_STORE_PASSWORD",
}

CONNECTION = {
    "argument_spec": {
        "server": {"type": "list", "elements": "str"},
        "tls_server_name": {"type": "str"},
        "login": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "keytab": {"type": "path", **_NOT_SECRET},
        "normalize_login": {"type": "bool"},
        "authentication": {
            "type": "str",
            "choices": ["simple", "kerberos", "anonymous", "external"],
            "default": "simple",
        },
        "encryption": {"type": "str", "choices": ["ldaps", "start_tls", "none"], "default": "ldaps"},
        "validate_certs": {"type": "bool", "default": True},
        "ca_path": {"type": "path"},
        "client_cert": {"type": "path"},
        "client_key": {"type": "path", **_NOT_SECRET},
        "timeout": {"type": "int", "default": 30},
        "page_size": {"type": "int", "default": 1000},
        "use_ldap": {"type": "bool", "default": False},
        "ldap_parameters": {
            "type": "dict",
            "options": {
                "preset": {
                    "type": "str",
                    "choices": _OrNull(
                        [
                            "openldap",
                            "rfc2307",
                            "openldap_samba",
                            "open_directory",
                            "freeipa",
                            "389ds",
                            "opendj",
                            "lldap",
                            "edirectory",
                            "univention",
                            "apacheds",
                        ]
                    ),
                },
                "user_class": {"type": "raw"},  # one object class, or a list of object classes
                "group_class": {"type": "raw"},
                "user_key": {"type": "str", **_NOT_SECRET},
                "group_key": {"type": "str", **_NOT_SECRET},
                "group_members": {"type": "raw"},  # one attribute, or a list of attributes
                "member_value": {"type": "str", "choices": _OrNull(["dn", "name", "key"])},
                "user_groups": {"type": "str"},
                "user_groups_value": {"type": "str", "choices": _OrNull(["dn", "name"])},
            },
        },
    },
}

STORE = {
    "argument_spec": {
        "store": {"type": "str", "default": "/var/lib/user_synchronization/users.db"},  # a path would spoil a URI
        "store_password": {"type": "str", "no_log": True},
    },
}

# The DNs are raw, since Ansible would cut a single DN into a list at its commas.
SYNCHRONIZATION = {
    "argument_spec": {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "released", "absent"], "default": "present"},
        "user_group": {"type": "str", "default": "All"},  # not a path: that would expand ~ and $
        "create_user_group": {"type": "bool", "default": True},
        "user_collision": {"type": "str", "choices": ["skip", "overwrite", "merge"], "default": "skip"},
        "user_extinction": {"type": "str", "choices": ["skip", "disable", "delete"], "default": "disable"},
        "user_extinction_grace_days": {"type": "int", "default": 0},
        "user_group_extinction": {"type": "str", "choices": ["skip", "delete"], "default": "skip"},
        "name_reuse_days": {"type": "int", "default": 30},
        "distinguished_name": {"type": "raw", "default": []},
        "exclude_distinguished_name": {"type": "raw", "default": []},
        "outside_members": {"type": "str", "choices": ["add", "skip"], "default": "add"},
        "scope_change": {"type": "bool", "default": False},
        "user_filter": {"type": "str"},
        "group_filter": {"type": "str"},
        "group_structure": {
            "type": "str",
            "choices": ["groups", "organizational_units", "both"],
            "default": "groups",
        },
        "group_types": {"type": "str", "choices": ["all", "security"], "default": "all"},
        "ignore_disabled_users": {"type": "bool", "default": False},
        "user_attributes": {"type": "dict", "default": {}},
        "group_attributes": {"type": "dict", "default": {}},
        # A limit for all kinds, or a dictionary: so Ansible cannot check it.
        "removal_limits": {"type": "raw", "default": {}},
        "allow_empty": {"type": "bool", "default": False},
        "required_entries": {"type": "raw", "default": []},
        "approved_plan": {"type": "str"},
        "approved_removals": {"type": "str"},
        "fail_on": {
            "type": "list",
            "elements": "str",
            "choices": ["collisions", "unresolved_members"],
            "default": [],
        },
        "read_mode": {"type": "str", "choices": ["auto", "full", "incremental"], "default": "auto"},
        "full_every": {"type": "str", "default": "24h"},
        "create_store": {"type": "bool", "default": True},
        "history_days": {"type": "int", "default": 365},
        "store_backups": {"type": "int", "default": 5},
        "store_timeout": {"type": "int", "default": 60},
        "report_limit": {"type": "int", "default": 1000},
        "report_bytes": {"type": "int", "default": 300000},
    },
    "required_if": [("state", "present", ("server",))],
}

REPORTING = {
    "argument_spec": {
        "dest": {"type": "path", "required": True},
        "runs": {"type": "int", "default": 200},
    },
}

BROWSING = {
    "argument_spec": {
        "distinguished_name": {"type": "raw"},
        "depth": {"type": "int", "default": 1},
        "search": {"type": "str"},
        "limit": {"type": "int", "default": 1000},
    },
}

LOOKING_UP = {
    "argument_spec": {
        "user_group": {"type": "str"},
        "synchronization": {"type": "str"},
        "user": {"type": "str"},
        "effective": {"type": "bool", "default": False},
        "include_disabled": {"type": "bool", "default": False},
        "include_extinct": {"type": "bool", "default": False},
        "runs": {"type": "int", "default": 10},
        "history": {"type": "int", "default": 0},
    },
}

COPYING = {
    "argument_spec": {
        "to": {"type": "str", "required": True},
        "to_password": {"type": "str", "no_log": True},
        "store_timeout": {"type": "int", "default": 60},
    },
}

_KINDS = {"type": "list", "elements": "str", "choices": ["accounts", "groups"]}

PROVISIONING = {
    "argument_spec": {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "released", "absent"], "default": "present"},
        "user_groups": {"type": "list", "elements": "str"},
        "allow_empty": {"type": "bool", "default": False},
        "user_attributes": {"type": "dict"},
        "group_name": {"type": "str", "choices": ["name", "path"], "default": "name"},
        "nested_groups": {"type": "str", "choices": ["flatten", "nest"], "default": "flatten"},
        "collision": {
            "type": "str",
            "choices": ["refuse", "link_by_external_id", "link_by_name"],
            "default": "refuse",
        },
        "departure": {"type": "str", "choices": ["disable", "delete", "keep"], "default": "disable"},
        "foreign_members": {"type": "str", "choices": ["keep", "remove"], "default": "keep"},
        "drift": {"type": "str", "choices": ["restore", "report"], "default": "restore"},
        "removal_limits": {"type": "raw", "default": {}},
        "approved_plan": {"type": "str"},
        "approved_removals": {"type": "str"},
        "fail_on": {"type": "list", "elements": "str", "choices": ["collisions"], "default": []},
        "store_timeout": {"type": "int", "default": 60},
        "report_limit": {"type": "int", "default": 1000},
        "report_bytes": {"type": "int", "default": 300000},
    },
    "required_if": [("state", "present", ("user_groups",))],
}

CHANGES = {
    "argument_spec": {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "released"], "default": "present"},
        "user_groups": {"type": "list", "elements": "str"},
        "acknowledge": {"type": "str"},
        "allow_empty": {"type": "bool", "default": False},
        "user_attributes": {"type": "dict"},
        "removal_limits": {"type": "raw", "default": {}},
        "approved_plan": {"type": "str"},
        "approved_removals": {"type": "str"},
        "store_timeout": {"type": "int", "default": 60},
    },
    "required_if": [("state", "present", ("user_groups", "acknowledge"), True)],
    "mutually_exclusive": [("user_groups", "acknowledge")],
}

SCIM = {
    "argument_spec": {
        "url": {"type": "str"},
        "token": {"type": "str", "no_log": True},
        "username": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "validate_certs": {"type": "bool", "default": True},
        "ca_path": {"type": "path"},
        "client_cert": {"type": "path"},
        "client_key": {"type": "path", **_NOT_SECRET},
        "timeout": {"type": "int", "default": 30},
        "time_limit": {"type": "int"},
        "request_limit": {"type": "int"},
        "service": {
            "type": "str",
            "choices": [
                "authentik",
                "aws_identity_center",
                "databricks",
                "entra",
                "github",
                "gitlab",
                "google",
                "grafana",
                "keycloak",
                "rfc",
                "slack",
                "snowflake",
            ],
            "default": "rfc",
        },
        "service_parameters": {
            "type": "dict",
            "options": {
                "kinds": _KINDS,
                "lists": _KINDS,
                "paging": {"type": "str", "choices": _OrNull(["index", "cursor", "whole"])},
                "page_size": {"type": "int"},
                "members": {"type": "str", "choices": _OrNull(["in_lists", "singly", "never"])},
                "patches": {"type": "bool"},
                "puts": {"type": "bool"},
                "filters": {"type": "list", "elements": "str"},
                "largest_change": {"type": "int"},
                "removes_by_value": {"type": "bool"},
                "nests": {"type": "bool"},
                "deletes": {"type": "bool"},
                "later_in_500": {"type": "str"},
                "writes_per_minute": {"type": "int"},
            },
        },
    },
    "required_if": [("state", "present", ("url",)), ("state", "absent", ("url",))],
}

USER = {
    "argument_spec": {
        "name": {"type": "str", "required": True},
        "user_group": {"type": "str", "required": True},
        "create_user_group": {"type": "bool", "default": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "attributes": {"type": "dict"},
        "local_attributes": {"type": "dict"},
        "sid": {"type": "str"},
    },
}


def module_arguments(*families: dict[str, Any], environment: Callable[..., Any] | None = None) -> dict[str, Any]:
    """Return the keyword arguments for AnsibleModule that the families ask for together.

    ``environment`` is Ansible's ``env_fallback``, for a module that is to take `ENVIRONMENT` into account.
    """
    arguments: dict[str, Any] = {}
    for family in families:
        for keyword, value in family.items():
            if keyword == "argument_spec":
                arguments[keyword] = {**arguments.get(keyword, {}), **value}
            else:
                arguments[keyword] = arguments.get(keyword, []) + value
    for option, variable in ENVIRONMENT.items() if environment else ():
        described = arguments["argument_spec"].get(option)
        if described:
            arguments["argument_spec"][option] = {**described, "fallback": (environment, [variable])}
    return arguments


def with_defaults(params: Mapping[str, Any], *families: dict[str, Any]) -> dict[str, Any]:
    """Return the families' parameters with the default in the place of None: a null is as good as no option."""
    specification = module_arguments(*families)["argument_spec"]
    return {
        option: described.get("default") if params.get(option) is None else params[option]
        for option, described in specification.items()
    }
