# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in for community.general.keycloak_user: it takes the same options, and does the same with a file.

The options are those of the module's documentation in community.general 11.4.2 that have to do with users, groups and
the login. The file is at ``auth_keycloak_url``: ``users`` {name: user} with ``groups``, ``calls`` so far, and at which
call it ``fails_at``, before or after it is done (``does_it_anyway``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

STATES = {"choices": ["present", "absent"], "default": "present"}


def main() -> None:
    module = AnsibleModule(
        {
            "auth_keycloak_url": {"required": True, "aliases": ["url"]},
            "auth_realm": {},
            "auth_username": {},
            "auth_password": {"no_log": True, "aliases": ["password"]},
            "auth_client_id": {"default": "admin-cli"},
            "validate_certs": {"type": "bool", "default": True},
            "realm": {"default": "master"},
            "username": {"required": True},
            "email": {},
            "enabled": {"type": "bool"},
            "first_name": {"aliases": ["firstName"]},
            "last_name": {"aliases": ["lastName"]},
            "groups": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"name": {}, "state": STATES},
            },
            "state": STATES,
        },
        required_one_of=[["token", "auth_realm", "auth_username", "auth_password"]],
        required_together=[["auth_realm", "auth_username", "auth_password"]],
        supports_check_mode=True,
    )
    path = Path(module.params["auth_keycloak_url"].removeprefix("file://"))
    realm = json.loads(path.read_text(encoding="utf-8"))
    before = json.dumps(realm["users"], sort_keys=True)
    realm["calls"] += 1
    fails = realm["calls"] == realm["fails_at"]
    if not fails or realm["does_it_anyway"]:
        _apply(realm["users"], module.params)
    if not module.check_mode:
        path.write_text(json.dumps(realm), encoding="utf-8")
    if fails:
        module.fail_json(msg="Could not reach Keycloak")
    module.exit_json(changed=json.dumps(realm["users"], sort_keys=True) != before)


def _apply(users: dict[str, Any], said: dict[str, Any]) -> None:
    name = said["username"].lower()  # as Keycloak keeps it
    if said["state"] == "absent":
        users.pop(name, None)
        return
    user = users.setdefault(name, {"groups": []})
    user.update({each: said[each] for each in ("email", "enabled", "last_name") if said[each] is not None})
    groups = set(user["groups"])
    for each in said["groups"]:
        (groups.add if each["state"] == "present" else groups.discard)(each["name"])
    user["groups"] = sorted(groups)


if __name__ == "__main__":
    main()
