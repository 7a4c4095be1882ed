# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What the options name: which entries are selected and excluded, wherever they lie by now.

An option has DNs, and a DN may pass to another entry. So the store remembers the stable key of each entry that an
option named. Example: `distinguished_name: ou=people` was read, then `ou=people` is renamed to `ou=staff`. It is
followed by its key, with a warning. If another `ou=people` is made, two entries may be meant: as a selection that is an
error, and both are excluded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .._errors import SynchronizationError
from .._named_tuple import NamedTuple
from .distinguished_names import dn_is_within, dn_text, normal_dn
from .filters import ANYTHING, each_once, key_attributes, one_of
from .identity import if_cut, if_several
from .notes import Notes
from .presets import Entry
from .scope import Scope
from .search import MISSING_OK, search
from .source import Source
from .stable_keys import any_of, key_reader, keys_of

SELECTED, EXCLUDED = "distinguished_name", "exclude_distinguished_name"

_Named = tuple[str, Entry]  # DN as the server spells it, and the keys of the entry


class _Meant(NamedTuple):
    """Which entries a DN in an option may mean."""

    by_dn: _Named | None  # who has the DN now
    by_key: _Named | None  # who had it in the last run, if that is another
    key: str | None  # of who had it in the last run

    def entry(self) -> _Named:
        """Return the entry that is meant, if there is only one."""
        return self.by_key or self.by_dn or ("", {})


def select(source: Source, stored: Mapping[str, str], notes: Notes) -> Scope:
    """Look up what is excluded and what is selected. ``stored``: DN as written in an option -> key in the last run.

    Raises SynchronizationError if an option has to be corrected, ReadError if a search is not complete.
    """
    names = Names(source, stored)
    scope = Scope(source)
    for written in source.settings.exclude_distinguished_name:
        _exclude(names, scope, notes, written)
    for written in source.settings.distinguished_name:
        _select(names, scope, notes, written)
    if not source.settings.distinguished_name:
        scope.selected_containers[source.context_normal] = source.context
    scope.roots = _roots(scope)
    scope.is_whole = any(dn_is_within(source.subtree_normal, normal) for normal in scope.roots)
    return scope


# --- entries that an option names ------------------------------------------------------------------------------------


class Names:
    """Looks up entries by the DNs that an option has."""

    def __init__(self, source: Source, stored: Mapping[str, str]) -> None:
        self.source, self.stored = source, stored
        self.keys = key_attributes(source.preset)

    def at(self, dn: str, filter: str = ANYTHING) -> _Named | None:
        """Return the entry at this DN if it exists and matches."""
        preset = self.source.preset
        attributes = each_once(preset.user_key, preset.group_key, preset.container_key)
        found = list(search(self.source.session, dn, "base", filter, attributes, MISSING_OK))
        return (dn_text(found[0][0]), found[0][1]) if found else None

    def keys_of(self, entry: Entry) -> list[str]:
        return keys_of(entry, *self.keys)

    def meant_by(self, written: str) -> _Meant:
        found = self.at(written)
        key = self.stored.get(written)
        if key is None or found is not None and key in self.keys_of(found[1]):
            return _Meant(found, None, key)
        return _Meant(found, self._with_key(key), key)

    def _with_key(self, key: str) -> _Named | None:
        tests = one_of(*(any_of(attribute, [key]) for attribute in self.keys))
        found = list(search(self.source.session, self.source.context, "sub", tests, self.keys))
        return (dn_text(found[0][0]), found[0][1]) if found else None

    def check_within(self, option: str, dn: str, dns: Sequence[str]) -> None:
        """Raise SynchronizationError unless the DN lies in the naming context, as it is written or as the server spells
        it. ``dns`` is all that the option has.
        """
        context = self.source.context_normal
        if dn_is_within(normal_dn(dn), context):
            return
        found = self.at(dn)
        if found is None or not dn_is_within(normal_dn(found[0]), context):
            raise SynchronizationError(
                "%s: '%s' does not lie in the naming context '%s': correct it, or make another "
                "synchronization for it%s" % (option, dn, self.source.context, if_cut(dns) or if_several(dn, [context]))
            )

    def is_elsewhere(self, dn: str) -> bool:
        """Return whether the server said that another one has what lies at this DN."""
        return any(dn_is_within(normal_dn(dn), normal_dn(place)) for place in self.source.session.referred)

    def not_there(self, option: str, dn: str) -> SynchronizationError:
        if self.is_elsewhere(dn):
            return SynchronizationError(
                "%s: '%s' lies on another server (%s): name that in server, or remove it"
                % (option, dn, " ".join(self.source.session.not_read))
            )
        return SynchronizationError(
            "%s: '%s' does not exist in the directory, or the account cannot read it: correct or remove it%s"
            % (option, dn, if_several(dn, [self.source.context_normal]))
        )


def _warn_of_another(names: Names, notes: Notes, option: str, written: str, meant: _Meant) -> None:
    """Warn if the DN is not that of the entry of the last run."""
    if meant.by_key is not None:
        notes.warnings.append("%s: '%s' is now '%s': correct it in the option" % (option, written, meant.by_key[0]))
    elif meant.by_dn is not None and meant.key and meant.key not in names.keys_of(meant.by_dn[1]):
        notes.warnings.append("%s: '%s' is another entry than in the last run" % (option, written))


# --- what is excluded ------------------------------------------------------------------------------------------------


def _exclude(names: Names, scope: Scope, notes: Notes, written: str) -> None:
    """Leave out whom the option named in the last run, whatever they are called now, and whom it names now."""
    names.check_within(EXCLUDED, written, names.source.settings.exclude_distinguished_name)
    meant = names.meant_by(written)
    if meant.by_dn is None and meant.by_key is None and not names.is_elsewhere(written):
        raise names.not_there(EXCLUDED, written)
    if meant.by_dn is not None and meant.by_key is not None:
        notes.warnings.append(
            "%s: '%s' is another entry than in the last run, and that one is now '%s': both are left out; name "
            "what you mean" % (EXCLUDED, written, meant.by_key[0])
        )
    else:
        _warn_of_another(names, notes, EXCLUDED, written, meant)
    for dn, entry in [each for each in (meant.by_dn, meant.by_key) if each is not None] or [(written, {})]:
        scope.excluded.append(normal_dn(dn))
        scope.excluded_keys.update(names.keys_of(entry))
    scope.excluded_as.update((written, key) for key in names.keys_of(meant.entry()[1])[:1])


# --- what is selected ------------------------------------------------------------------------------------------------


def _select(names: Names, scope: Scope, notes: Notes, written: str) -> None:
    """Look up one selected entry, and tell a container from a group."""
    source, preset = names.source, names.source.preset
    names.check_within(SELECTED, written, source.settings.distinguished_name)
    dn = _existing(names, notes, written)
    if normal_dn(dn) in scope.excluded:
        raise SynchronizationError(
            "distinguished_name and exclude_distinguished_name both have '%s': remove it from one of them" % dn
        )
    _check_readable(source, written, dn)
    group = names.at(dn, preset.is_group)
    if group is not None:
        _select_group(names, scope, notes, written, dn, group[1])
    elif names.at(dn, preset.is_user) is not None:
        raise SynchronizationError(
            "distinguished_name: '%s' is a user: select a container, or a group that has the user" % written
        )
    else:
        scope.selected_containers[normal_dn(dn)] = dn
        # Without a key a renamed container cannot be followed; nothing else needs it.
        entry = (names.at(dn) or ("", {}))[1]
        scope.selected.update((written, key) for key in keys_of(entry, preset.container_key)[:1])


def _select_group(names: Names, scope: Scope, notes: Notes, written: str, dn: str, entry: Entry) -> None:
    preset = names.source.preset
    key = key_reader(preset.group_key)(entry.get(preset.group_key.lower(), []))
    if not key:
        raise names.source.no_key("group_key", preset.group_key, dn)
    scope.selected[written] = scope.selected_groups[dn] = key
    if names.at(dn, preset.group_filter) is None:
        notes.warnings.append("distinguished_name: the group '%s' is left out by group_filter or group_types" % written)


def _existing(names: Names, notes: Notes, written: str) -> str:
    """Return the DN that the selected entry has now: a renamed one is followed by its stored key."""
    meant = names.meant_by(written)
    if meant.by_dn is None and meant.by_key is None:
        raise names.not_there(SELECTED, written)
    if meant.by_dn is not None and meant.by_key is not None:
        raise SynchronizationError(
            "%s: '%s' is another entry than in the last run, and that one is now '%s': name the one you mean, or "
            "rename it" % (SELECTED, written, meant.by_key[0])
        )
    _warn_of_another(names, notes, SELECTED, written, meant)
    return meant.entry()[0]


def _check_readable(source: Source, written: str, dn: str) -> None:
    normal = normal_dn(dn)
    if not dn_is_within(normal, source.subtree_normal) and not dn_is_within(source.subtree_normal, normal):
        raise SynchronizationError(
            "distinguished_name: '%s' does not lie in '%s', where this type of directory "
            "has its users and groups: correct it" % (written, source.subtree)
        )


def _roots(scope: Scope) -> dict[str, str]:
    source = scope.source
    bases: dict[str, str] = {}
    for normal, dn in scope.selected_containers.items():
        above = dn_is_within(source.subtree_normal, normal)
        bases[source.subtree_normal if above else normal] = source.subtree if above else dn
    return {
        normal: dn
        for normal, dn in sorted(bases.items())
        if not any(normal != other and dn_is_within(normal, other) for other in bases)
    }
