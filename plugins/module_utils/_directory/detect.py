# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.


"""Which type of directory this is: as what it is read."""

from __future__ import annotations

from typing import Any

from .._errors import SynchronizationError
from .presets import LDAP_PRESETS, Entry

# What vendorName and vendorVersion have of what is said nowhere else.
_VENDORS = (
    ("opendj", "opendj"),
    ("forgerock", "opendj"),
    ("oracle unified directory", "opendj"),
    ("lldap", "lldap"),
    ("edirectory", "edirectory"),
    ("apache software foundation", "apacheds"),
)


def detect(root_dse: Entry) -> str:
    """Return the directory type that a root DSE speaks of, or raise SynchronizationError."""
    said = {name: [value.decode("utf-8", "replace").lower() for value in values] for name, values in root_dse.items()}
    vendor = " ".join(said.get("vendorname", []) + said.get("vendorversion", []))
    if "1.2.840.113556.1.4.800" in said.get("supportedcapabilities", []):  # MS-ADTS 3.1.1.3.4.3.1
        return "active_directory"
    if "389 project" in vendor or "389-directory" in vendor:
        extensions = said.get("supportedextension", [])
        return "freeipa" if any(oid.startswith("2.16.840.1.113730.3.8.10.") for oid in extensions) else "389ds"
    if "apple" in vendor:  # before OpenLDAP, which it is made of
        return "open_directory"
    if "openldaprootdse" in said.get("objectclass", []):
        return "openldap"
    if "ds-root-dse" in said.get("objectclass", []):
        return "opendj"
    for sign, found in _VENDORS:
        if sign in vendor:
            return found
    raise SynchronizationError(
        "ldap_parameters.preset: the server does not tell what it is: set it to one of %s" % ", ".join(LDAP_PRESETS)
    )


def directory_type(settings: Any, root_dse: Entry) -> str:
    """Return the directory type to read as: what the options say, checked against what the server says.

    Raises SynchronizationError when `use_ldap` and the server contradict each other.
    """
    if not settings.use_ldap:
        try:
            detected = detect(root_dse)
        except SynchronizationError:
            detected = "unknown"
        if detected != "active_directory":
            raise SynchronizationError(
                "use_ldap: the server is no Active Directory (it looks like: %s): set use_ldap: true" % detected
            )
        return detected
    named: str = (settings.ldap_parameters or {}).get("preset") or ""
    if named:
        return named
    detected = detect(root_dse)
    if detected == "active_directory":
        raise SynchronizationError(
            "use_ldap: the server is an Active Directory: set use_ldap: false, or name a preset in ldap_parameters"
        )
    return detected
