# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What is asked once all was read: whether the read saw what it must see, and whether it was read as it was meant."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection

from .changes.common import ReadFully, attempt
from .distinguished_names import dn_text
from .filters import ANYTHING, all_of, one_of
from .groups import Groups
from .identity import if_several
from .notes import Notes
from .owners import Owners, SharedKeys
from .scope import Scope
from .search import ReadError, batches, finds_any, search
from .selection import Names
from .stable_keys import any_of, key_reader

_REQUIRED = "required_entries"


def check_required(scope: Scope, is_seen: Callable[[str], bool]) -> None:
    """Refuse a read that did not see an entry that must be there: raise ReadError. Of a container that is no user
    group, being there will do.
    """
    source = scope.source
    names = Names(source, {})
    for dn in source.settings.required_entries:
        names.check_within(_REQUIRED, dn, source.settings.required_entries)
        found = names.at(dn, ANYTHING)
        if found is None:
            raise ReadError(
                "%s: the read is not complete, since '%s' does not exist in the directory, or the "
                "account cannot read it: look what happened to it, or remove it from the option%s"
                % (_REQUIRED, dn, if_several(dn, [source.context_normal]))
            )
        if any(map(is_seen, names.keys_of(found[1]))):
            continue
        if names.at(dn, one_of(source.preset.is_user, source.preset.is_group)) is not None:
            raise ReadError(
                "%s: the read is not complete, since it did not come across '%s', which exists: select "
                "it, or remove it from the option" % (_REQUIRED, dn)
            )


def check_unique(owners: Owners, parameter: str, attribute: str, filter: str, keys: Collection[str]) -> None:
    """Look whether those that came twice are each one entry: one that moves while it is read comes twice, and two
    entries with one key are no key at all.

    In a first run the option is wrong: ReadError. Later, one of them has taken the other one's key: SharedKeys.
    """
    read_key, shared = key_reader(attribute), set()
    source = owners.source
    for batch in batches(sorted(keys)):
        dns: dict[str, bytes] = {}
        tests = all_of(filter, any_of(attribute, batch))
        for dn, entry, _raw in list(search(source.session, source.context, "sub", tests, (attribute,))):
            key = read_key(entry.get(attribute.lower(), []))
            if key and dns.setdefault(key, dn) != dn:
                if owners.is_first_run():
                    raise ReadError(
                        "ldap_parameters.%s: '%s' and '%s' have one %s, so it is no stable key: name "
                        "another attribute" % (parameter, dn_text(dns[key]), dn_text(dn), attribute)
                    )
                shared.add(key)
    if shared - owners.shared:
        raise SharedKeys(frozenset(shared))


def hint_at_parameters(scope: Scope, owners: Owners, notes: Notes, groups: Groups) -> None:
    """Warn if nothing was found that is read so, and something is there that is read otherwise.

    No other preset is taken by itself: an entry more or less might then change it, and all groups would be others.
    """
    source, preset, users = scope.source, scope.source.preset, groups.accounts.users
    if source.is_active_directory:
        return
    if owners.named and not users:
        notes.warnings.append(
            "ldap_parameters.user_key: nobody has a %s that is a text, so it is no stable key: name another "
            "attribute" % preset.user_key
        )
    given = source.settings.ldap_parameters or {}
    if given.get("preset"):
        return
    found = []
    if not users and "user_class" not in given and _has_others(scope, "posixAccount", preset.is_user):
        found.append("posixAccount")
    says_groups = {"group_class", "user_groups"}.intersection(given)
    if not groups.found and source.groups_are_groups and not says_groups:
        found += ["posixGroup"] if _has_others(scope, "posixGroup", preset.is_group) else []
    if found:
        notes.warnings.append(
            "ldap_parameters.preset: it was found to be %s, by which nothing was read where entries of %s lie: "
            "name one that reads these, such as rfc2307, or %s to leave them"
            % (preset.directory_type, " and ".join(found), preset.directory_type)
        )


def _has_others(scope: Scope, name: str, those_read: str) -> bool:
    """Return whether entries of a class lie where was read, that the preset is not about."""
    session, tests = scope.source.session, "(&(objectClass=%s)(!%s))" % (name, those_read)
    with contextlib.suppress(ReadFully):  # the account may not look there
        for base in scope.roots.values():
            if attempt(session, functools.partial(finds_any, session, base, "sub", tests)):
                return True
    return False
