# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Options -> settings: everything that can be judged offline is judged here, before any packet leaves.

A wrong option fails with one sentence that begins with its name and says what to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from . import _judge
from ._credentials import check_login
from ._directory.connect.addresses import parse_server, refuse_global_catalog
from ._directory.distinguished_names import normal_dn
from ._directory.overrides import check_parameters
from ._errors import SynchronizationError
from ._named_tuple import NamedTuple
from ._names import join_path, split_path
from ._options import BROWSING, CONNECTION, ENVIRONMENT, STORE, SYNCHRONIZATION, with_defaults
from ._store.address import Address

_SYNCHRONIZING = (CONNECTION, STORE, SYNCHRONIZATION)

_PAGE_SIZE_MAX = 2**31 - 1  # RFC 2696: INTEGER (0..maxInt)


class Settings(NamedTuple):
    """What a run is asked to do: the options, judged, with their defaults."""

    name: str
    state: str
    target: list[str]  # the names in the path user_group, the root first
    create_user_group: bool
    user_collision: str
    user_extinction: str
    user_extinction_grace_days: int
    user_group_extinction: str
    name_reuse_days: int
    servers: tuple[str, ...]  # as written, in the order in which they are tried
    tls_server_name: str | None
    login: str | None  # as it goes into the bind request, capitalized where normalize_login did so
    password: str | None
    keytab: str | None
    authentication: str
    encryption: str
    validate_certs: bool
    ca_path: str | None
    client_cert: str | None
    client_key: str | None
    timeout: int  # seconds
    page_size: int
    use_ldap: bool
    ldap_parameters: dict[str, Any]  # those that were given
    distinguished_name: list[str]
    exclude_distinguished_name: list[str]
    outside_members: str
    scope_change: bool
    user_filter: str | None
    group_filter: str | None
    group_structure: str
    group_types: str
    ignore_disabled_users: bool
    user_attributes: dict[str, str]
    group_attributes: dict[str, str]
    removal_limits: dict[str, str]  # kind -> number or percentage, as written; those that were given
    allow_empty: bool
    required_entries: list[str]
    approved_plan: str | None
    approved_removals: str | None
    fail_on: list[str]
    read_mode: str
    full_every: int  # seconds
    store: Address
    create_store: bool
    history_days: int
    store_backups: int
    store_timeout: int  # seconds
    report_limit: int
    report_bytes: int

    def __repr__(self) -> str:
        return _without_password(self)


def _without_password(settings: Any) -> str:
    values = [(field, value) for field, value in settings._asdict().items() if field != "password"]
    return "%s(%s)" % (type(settings).__name__, ", ".join("%s=%r" % pair for pair in values))


def settings_from(params: dict[str, Any], warn: Callable[[str], None]) -> Settings:
    """Return the settings that the module's parameters ask for.

    ``params`` are as AnsibleModule leaves them: every option is there, and an explicit null is None, also where the
    option has a default. ``warn`` is called with a sentence for an option that has no effect.

    Raises SynchronizationError.
    """
    options = with_defaults(params, *_SYNCHRONIZING)  # not so for the DNs: see `_judge.dns`
    if options["state"] != "present":
        params = options = _without_directory(options)
    settings = Settings(
        **_as_given(options),
        **_ours(options),
        **_connection(options),
        **_selection(options, params),
        **brakes(options),
        **_store_and_history(options),
    )
    _judge_together(settings)
    if settings.user_extinction_grace_days and settings.user_extinction != "delete":
        warn("user_extinction_grace_days has no effect with user_extinction: %s" % settings.user_extinction)
    _warn_of_no_effect(settings, warn)
    return settings


def public_settings(settings: Settings, preset: Any = None) -> dict[str, Any]:
    """Return the effective settings for the result: by option name, no secret among them.

    ``preset`` is what the directory type and the single parameters come to (a NamedTuple), once that is known.
    """
    public = settings._asdict()
    del public["password"]
    path = settings.target[0]
    for name in settings.target[1:]:
        path = join_path(path, name)
    public["user_group"] = path
    public["store"] = settings.store.shown
    del public["target"]
    public["server"] = list(public.pop("servers"))
    public["full_every"] = _time(settings.full_every)
    if settings.state != "present":
        return {option: public[option] for option in _OF_THE_STORE}
    public["preset"] = _plain(preset._asdict()) if preset is not None else None
    return public


def _time(seconds: int) -> str:
    unit, size = next((unit, size) for unit, size in (("d", 86400), ("h", 3600), ("m", 60)) if seconds % size == 0)
    return "24h" if seconds == 86400 else "%d%s" % (seconds // size, unit)


def _plain(value: Any) -> Any:
    """Return the value in the types that JSON knows."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(item) for item in value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return str(value)


class BrowseSettings(NamedTuple):
    """What to show of a directory: the options, judged, with their defaults."""

    servers: tuple[str, ...]
    tls_server_name: str | None
    login: str | None
    password: str | None
    keytab: str | None
    authentication: str
    encryption: str
    validate_certs: bool
    ca_path: str | None
    client_cert: str | None
    client_key: str | None
    timeout: int  # seconds
    page_size: int
    use_ldap: bool
    ldap_parameters: dict[str, Any]
    distinguished_name: list[str]  # one DN, or none
    depth: int
    search: str | None
    limit: int
    # What a synchronization may ask for beyond the preset: nothing is left out here.
    user_filter: None = None
    group_filter: None = None
    group_types: str = "all"
    user_attributes: dict[str, str] = {}
    group_attributes: dict[str, str] = {}

    def __repr__(self) -> str:
        return _without_password(self)


def browse_settings_from(params: dict[str, Any], warn: Callable[[str], None]) -> BrowseSettings:
    """Return the settings that the parameters of ``directory_info`` ask for: see `settings_from`.

    Raises SynchronizationError.
    """
    options = with_defaults(params, CONNECTION, BROWSING)
    settings = BrowseSettings(
        **_connection(options),
        distinguished_name=_judge.one_dn(options["distinguished_name"]),
        depth=_judge.number_of("depth", options["depth"]),
        search=_judge.search(options["search"]),
        limit=_judge.number_of("limit", options["limit"]),
    )
    _judge_connection(settings)
    _warn_of_no_effect(settings, warn)
    return settings


# --- one option at a time --------------------------------------------------------------------------------------------


def _connection(options: dict[str, Any]) -> dict[str, Any]:
    """Return what the options of the connection come to: by the name of the setting."""
    login, password = _account(options)
    return {
        "servers": _servers(options),
        "tls_server_name": options["tls_server_name"] or None,
        "login": login,
        "password": password or None,
        "keytab": _judge.readable_file("keytab", options["keytab"]),
        "authentication": options["authentication"],
        "encryption": options["encryption"],
        "validate_certs": options["validate_certs"],
        "ca_path": _judge.ca_file(options["ca_path"]),
        "client_cert": _judge.readable_file("client_cert", options["client_cert"]),
        "client_key": _judge.readable_file("client_key", options["client_key"]),
        "timeout": _judge.number_of("timeout", options["timeout"], _judge.TIMEOUT_MAX),
        "page_size": _judge.number_of("page_size", options["page_size"], _PAGE_SIZE_MAX),
        "use_ldap": options["use_ldap"],
        "ldap_parameters": _judge.given_only(options["ldap_parameters"] or {}),
    }


_AS_GIVEN = (
    "state",
    "create_user_group",
    "user_collision",
    "user_extinction",
    "user_group_extinction",
    "outside_members",
    "scope_change",
    "group_structure",
    "group_types",
    "ignore_disabled_users",
    "allow_empty",
    "read_mode",
    "create_store",
)


def _as_given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that the argument specification has judged."""
    return {option: options[option] for option in _AS_GIVEN}


def _ours(options: dict[str, Any]) -> dict[str, Any]:
    """Return what is said of the synchronization's own records."""
    grace_days = options["user_extinction_grace_days"]
    return {
        "name": _name(options["name"]),
        "target": _judge.judged("user_group", split_path, options["user_group"]),
        "user_extinction_grace_days": _judge.number_of("user_extinction_grace_days", grace_days, least=0),
        "name_reuse_days": _judge.number_of("name_reuse_days", options["name_reuse_days"], least=0),
        "user_attributes": _judge.attributes("user_attributes", options["user_attributes"]),
        "group_attributes": _judge.attributes("group_attributes", options["group_attributes"]),
    }


def _selection(options: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """Return who is in scope. Of DNs the parameters are judged, since null is none of them: see `_judge.dns`."""
    return {
        "distinguished_name": _judge.dns(
            "distinguished_name", params["distinguished_name"], "synchronize the whole tree"
        ),
        "exclude_distinguished_name": _judge.dns(
            "exclude_distinguished_name", params["exclude_distinguished_name"], "exclude nothing"
        ),
        "required_entries": _judge.dns("required_entries", params["required_entries"], "require none"),
        "user_filter": _judge.ldap_filter("user_filter", options["user_filter"]),
        "group_filter": _judge.ldap_filter("group_filter", options["group_filter"]),
    }


def brakes(options: dict[str, Any]) -> dict[str, Any]:
    """Return by what a run is refused, and what was approved."""
    return {
        "removal_limits": _judge.limits_given(options["removal_limits"]),
        "approved_plan": _judge.digest("approved_plan", options["approved_plan"]),
        "approved_removals": _judge.digest("approved_removals", options["approved_removals"]),
        "fail_on": sorted(set(options["fail_on"])),
    }


def _store_and_history(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "full_every": _judge.judged("full_every", _judge.seconds, options["full_every"].strip()),
        "store": _judge.store_address(options["store"], options["store_password"]),
        "history_days": _judge.number_of("history_days", options["history_days"], least=0),
        "store_backups": _judge.number_of("store_backups", options["store_backups"], least=0),
        "store_timeout": _judge.number_of("store_timeout", options["store_timeout"], _judge.TIMEOUT_MAX, least=0),
        "report_limit": _judge.number_of("report_limit", options["report_limit"]),
        "report_bytes": _judge.number_of("report_bytes", options["report_bytes"]),
    }


# What matters where no directory is read, since a synchronization ends.
_OF_THE_STORE = (
    "name",
    "state",
    "user_group",
    "store",
    "create_store",
    "store_timeout",
    "store_backups",
    "history_days",
    "report_limit",
    "report_bytes",
)


def _without_directory(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with the defaults for all that is about the directory: what is not used is not judged."""
    unused = {"authentication": "anonymous"}  # which asks for no login
    return {**with_defaults({}, *_SYNCHRONIZING), **unused, **{option: options[option] for option in _OF_THE_STORE}}


def _name(name: str) -> str:
    if not name or not name.strip():
        raise SynchronizationError("name: the synchronization has no name: give it one, such as 'staff'")
    return name


def _servers(options: dict[str, Any]) -> tuple[str, ...]:
    servers = options["server"] or []
    if not servers and options.get("state", "present") == "present":
        raise SynchronizationError("server: the list is empty: name at least one server of the directory")
    for server in servers:
        address = _judge.judged("server", parse_server, server, options["encryption"], options["authentication"])
        if not options["use_ldap"]:
            _judge.judged("server", refuse_global_catalog, address)
    return tuple(servers)


def _account(options: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return login and password."""
    login, password = options["login"], options["password"]
    if options["authentication"] in ("anonymous", "external"):
        # Nothing is asked for there, so that an empty text is as good as none. Elsewhere an empty password is an error.
        login, password = _of_task("login", login) or None, _of_task("password", password) or None
    elif options["keytab"]:
        password = _of_task("password", password)
    login = check_login(
        login,
        password,
        options["authentication"],
        options["use_ldap"],
        options["normalize_login"],
        options["keytab"] or None,
    )
    return login, password


def _of_task(option: str, value: str | None) -> str | None:
    """Return the value of an option, None if the environment gives it: that is for the tasks that need it."""
    return None if value == os.environ.get(ENVIRONMENT[option]) else value


# --- options that contradict each other ------------------------------------------------------------------------------


def _judge_together(settings: Settings) -> None:
    excluded = {normal_dn(dn) for dn in settings.exclude_distinguished_name}
    for dn in settings.distinguished_name:
        if normal_dn(dn) in excluded:
            raise SynchronizationError(
                "distinguished_name and exclude_distinguished_name both have '%s': remove it from one of them" % dn
            )
    if settings.group_types != "all" and settings.use_ldap:
        raise SynchronizationError(
            "group_types: only Active Directory knows security groups: remove group_types, or set use_ldap: false"
        )
    _judge_connection(settings)


def _judge_connection(settings: Any) -> None:
    if settings.client_key and not settings.client_cert:
        raise SynchronizationError("client_key: a key without its certificate: give client_cert, too")
    _judge_external(settings)
    if settings.ldap_parameters and not settings.use_ldap:
        raise SynchronizationError("ldap_parameters: they go with use_ldap: true: set it, or remove ldap_parameters")
    check_parameters(settings)


def _judge_external(settings: Any) -> None:
    """With EXTERNAL (RFC 4422, appendix A) something below LDAP tells the server who asks: TLS, or a local socket."""
    if settings.authentication != "external" or settings.client_cert and settings.encryption != "none":
        return
    for server in settings.servers:
        if parse_server(server, settings.encryption, settings.authentication).scheme != "ldapi":
            raise SynchronizationError(
                "authentication: external proves nothing to the server '%s': give client_cert with encryption: ldaps "
                "or start_tls, or name a local server, ldapi://PATH" % server
            )


def _warn_of_no_effect(settings: Any, warn: Callable[[str], None]) -> None:
    if settings.encryption == "none":
        for option in ("tls_server_name", "ca_path", "client_cert"):
            if getattr(settings, option):
                warn("%s has no effect with encryption: none" % option)
