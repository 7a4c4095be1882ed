# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Options -> settings: everything that can be judged offline is judged here, before any packet leaves.

A wrong option fails with one sentence that begins with its name and says what to do.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from typing import Any, NamedTuple

from ._credentials import check_login
from ._directory.connect.addresses import parse_server, refuse_global_catalog
from ._directory.distinguished_names import normal_dn
from ._directory.filter_text import check_filter
from ._directory.overrides import check_parameters
from ._errors import SynchronizationError
from ._limits import KINDS, check_digest, check_limit
from ._names import join_path, split_path
from ._options import BROWSING, CONNECTION, ENVIRONMENT, STORE, SYNCHRONIZATION, with_defaults
from ._printable import printable
from ._store.address import Address, File, address_of

_SYNCHRONIZING = (CONNECTION, STORE, SYNCHRONIZATION)

_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

# RFC 4512 section 2.5: an attribute's name, then options such as ';lang-fr'. No dotted number: the server would answer
# with the name.
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*(;[A-Za-z0-9-]+)*")

_LINE_BREAK = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]")  # in a value they are written '\\0A'

_PAGE_SIZE_MAX = 2**31 - 1  # RFC 2696: INTEGER (0..maxInt)
TIMEOUT_MAX = 86400  # a day, in seconds


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
    options = with_defaults(params, *_SYNCHRONIZING)  # not so for the DNs: see `_dns`
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
        distinguished_name=_one_dn(options["distinguished_name"]),
        depth=number_of("depth", options["depth"]),
        search=_search(options["search"]),
        limit=number_of("limit", options["limit"]),
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
        "keytab": readable_file("keytab", options["keytab"]),
        "authentication": options["authentication"],
        "encryption": options["encryption"],
        "validate_certs": options["validate_certs"],
        "ca_path": ca_file(options["ca_path"]),
        "client_cert": readable_file("client_cert", options["client_cert"]),
        "client_key": readable_file("client_key", options["client_key"]),
        "timeout": number_of("timeout", options["timeout"], TIMEOUT_MAX),
        "page_size": number_of("page_size", options["page_size"], _PAGE_SIZE_MAX),
        "use_ldap": options["use_ldap"],
        "ldap_parameters": _ldap_parameters(options["ldap_parameters"] or {}),
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
        "target": _judged("user_group", split_path, options["user_group"]),
        "user_extinction_grace_days": number_of("user_extinction_grace_days", grace_days, least=0),
        "name_reuse_days": number_of("name_reuse_days", options["name_reuse_days"], least=0),
        "user_attributes": _attributes("user_attributes", options["user_attributes"]),
        "group_attributes": _attributes("group_attributes", options["group_attributes"]),
    }


def _selection(options: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """Return who is in scope. Of DNs the parameters are judged, since null is none of them: see `_dns`."""
    return {
        "distinguished_name": _dns("distinguished_name", params["distinguished_name"], "synchronize the whole tree"),
        "exclude_distinguished_name": _dns(
            "exclude_distinguished_name", params["exclude_distinguished_name"], "exclude nothing"
        ),
        "required_entries": _dns("required_entries", params["required_entries"], "require none"),
        "user_filter": _filter("user_filter", options["user_filter"]),
        "group_filter": _filter("group_filter", options["group_filter"]),
    }


def brakes(options: dict[str, Any]) -> dict[str, Any]:
    """Return by what a run is refused, and what was approved."""
    return {
        "removal_limits": _limits_given(options["removal_limits"]),
        "approved_plan": _digest("approved_plan", options["approved_plan"]),
        "approved_removals": _digest("approved_removals", options["approved_removals"]),
        "fail_on": sorted(set(options["fail_on"])),
    }


def _store_and_history(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "full_every": _judged("full_every", _seconds, options["full_every"].strip()),
        "store": store_address(options["store"], options["store_password"]),
        "history_days": number_of("history_days", options["history_days"], least=0),
        "store_backups": number_of("store_backups", options["store_backups"], least=0),
        "store_timeout": number_of("store_timeout", options["store_timeout"], TIMEOUT_MAX, least=0),
        "report_limit": number_of("report_limit", options["report_limit"]),
        "report_bytes": number_of("report_bytes", options["report_bytes"]),
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


def _judged(option: str, judge: Callable[..., Any], *arguments: Any) -> Any:
    """Return what ``judge`` returns; its ValueError becomes an error that begins with the option's name."""
    try:
        return judge(*arguments)
    except ValueError as error:
        raise SynchronizationError("%s: %s" % (option, error)) from None


def _name(name: str) -> str:
    if not name or not name.strip():
        raise SynchronizationError("name: the synchronization has no name: give it one, such as 'staff'")
    return name


def _servers(options: dict[str, Any]) -> tuple[str, ...]:
    servers = options["server"] or []
    if not servers and options.get("state", "present") == "present":
        raise SynchronizationError("server: the list is empty: name at least one server of the directory")
    for server in servers:
        address = _judged("server", parse_server, server, options["encryption"], options["authentication"])
        if not options["use_ldap"]:
            _judged("server", refuse_global_catalog, address)
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


def readable_file(option: str, path: str | None) -> str | None:
    if not path:
        return None
    missing = "%s: there is no file '%s' on the node where this task runs: put it there, or correct the path" % (
        option,
        path,
    )
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a FIFO would wait for somebody who writes
            raise SynchronizationError(missing)
        with open(path, "rb"):
            pass
    except (FileNotFoundError, NotADirectoryError):
        raise SynchronizationError(missing) from None
    except OSError as error:
        raise SynchronizationError(
            "%s: the file '%s' cannot be read (%s): change the rights to it or to its directory, or set become: true"
            % (option, path, error.strerror)
        ) from None
    return path


def ca_file(path: str | None) -> str | None:
    """Return the path of a file, or of a directory with hashed names (SSL_CTX_load_verify_locations(3))."""
    return path if path and os.path.isdir(path) else readable_file("ca_path", path)


def store_address(store: str, password: str | None) -> Address:
    address = address_of(store, password)
    if isinstance(address, File):
        _check_file(address.path)
    return address


def _check_file(path: str) -> None:
    if not os.path.isabs(path):
        raise SynchronizationError("store: '%s' is no absolute path: write the path of a file from the root on" % path)
    if path.endswith("/") or os.path.isdir(path):
        raise SynchronizationError(
            "store: '%s' is a directory: write the path of a file, such as '%s'"
            % (path, os.path.join(path, "users.db"))
        )


def number_of(option: str, number: int, most: int | None = None, least: int = 1) -> int:
    if number < least or (most is not None and number > most):
        up_to = "" if most is None else " to %d" % most
        raise SynchronizationError("%s: %d is out of range: write a number from %d%s" % (option, number, least, up_to))
    return number


def _seconds(text: str) -> int:
    """Return the seconds of a time such as '24h'. Raises ValueError, with a sentence for the reader, if it is none."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text)
    if not match:
        raise ValueError(
            "'%s' is no time: write a number with m for minutes, h for hours or d for days, such as 24h" % text
        )
    return int(match.group(1)) * {"m": 60, "h": 3600, "d": 86400}[match.group(2)]


def _limits_given(value: Any) -> dict[str, str]:
    """Return the limits by their kinds. One number or percentage is that of all kinds; a kind that is None has none."""
    if not isinstance(value, dict):
        return dict.fromkeys(KINDS, _limit("removal_limits", value))
    for kind in value:
        if kind not in KINDS:
            raise SynchronizationError("removal_limits: there is no '%s': choose of %s" % (kind, ", ".join(KINDS)))
    return {kind: _limit("removal_limits.%s" % kind, limit) for kind, limit in value.items() if limit is not None}


def _limit(option: str, value: Any) -> str:
    # Ansible gives a number as it was written: as a number, or as a text.
    text = "" if isinstance(value, bool) or not isinstance(value, (int, str)) else str(value).strip()
    limit: str = _judged(option, check_limit, text or printable(value))
    return limit


def _digest(option: str, digest: str | None) -> str | None:
    return _judged(option, check_digest, option, digest.strip()) if digest else None


def _ldap_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    return {parameter: value for parameter, value in parameters.items() if value not in (None, "")}


def _dns(option: str, value: Any, effect_of_none: str) -> list[str]:
    """Return the DNs as written. ``effect_of_none`` says what an empty list does."""
    if value is None:  # only an explicit null is; a slip must not select everything, or exclude nothing
        raise SynchronizationError(
            "%s: it is null: remove the option, or write an empty list to %s" % (option, effect_of_none)
        )
    dns = [value] if isinstance(value, str) else value
    if not isinstance(dns, list):
        raise SynchronizationError("%s: %r is no DN: write a DN, or a list of DNs" % (option, value))
    for dn in dns:
        if not isinstance(dn, str):
            raise SynchronizationError("%s: %r is no DN: write each DN of the list as a string" % (option, dn))
        if not dn.strip():
            raise SynchronizationError(
                "%s: an empty string is no DN: remove it, or write an empty list to %s" % (option, effect_of_none)
            )
        if _LINE_BREAK.search(dn):
            raise SynchronizationError(
                "%s: '%s' has a line break or a tab: write the DN in one line (in YAML with '>-', and not with '|')"
                % (option, printable(dn))
            )
        _judged(option, normal_dn, dn)
    return list(dns)


def _one_dn(value: Any) -> list[str]:
    dns = [] if value is None else _dns("distinguished_name", value, "see the naming contexts")
    if len(dns) > 1:
        raise SynchronizationError(
            "distinguished_name: it is a list of %d: name one DN; a DN with commas is one string, not a list" % len(dns)
        )
    return dns


def _search(pattern: str | None) -> str | None:
    if not pattern:
        return None
    if not pattern.strip(" *"):
        raise SynchronizationError("search: '%s' matches every name: write a part of one, such as 'nurs*'" % pattern)
    return pattern


def _filter(option: str, text: str | None) -> str | None:
    if not text:
        return None
    _judged(option, check_filter, text)
    return text


def _attributes(option: str, mapping: dict[str, Any]) -> dict[str, str]:
    for field, attribute in mapping.items():
        if not isinstance(field, str) or not _FIELD.fullmatch(field):
            raise SynchronizationError(
                "%s: %r is no name of a field: use letters, digits and underscores, a letter first" % (option, field)
            )
        if not isinstance(attribute, str) or not _ATTRIBUTE.fullmatch(attribute):
            raise SynchronizationError(
                "%s: the field '%s' is given %r, which is no attribute of a directory: write its name, such as 'mail'"
                % (option, field, attribute)
            )
    return dict(mapping)


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
