# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""One server -> what it says, and why everything was read, or only what changed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from . import _clock
from ._clock import Clock
from ._directory.changes import clock as clock_there
from ._directory.changes.common import ReadFully
from ._directory.changes.ways import why_never
from ._directory.connection import Session
from ._directory.detect import directory_type
from ._directory.identity import identify, naming_context, same_directory
from ._directory.overrides import resolve
from ._directory.position import check_mark
from ._directory.presets import Preset
from ._directory.source import Source
from ._directory.standing import standing
from ._errors import SynchronizationError
from ._mark import Circumstances, Mark, Reached, Unmarked
from ._model import Directory, LastRun, Snapshot, Standing
from ._named_tuple import NamedTuple
from ._settings import Settings
from ._store import for_reader, runs
from ._store.contract import Store

# Digests of another generation are not comparable: count up when what they cover changes.
_DIGEST_GENERATION = 7

FIRST = "it is the first run"


class Read(NamedTuple):
    """What one server says, and what the run knows of it."""

    source: Source
    snapshot: Snapshot
    reason: str  # why everything was read, or what it went on from
    mark: Mark | Unmarked  # for the next run
    standing: Standing  # which server it is, and how far it is
    clock: Clock
    salt: bytes  # fingerprint of the settings under which digests are comparable
    known: for_reader.Known

    def again(self, session: Session, store: Store) -> Read:
        """Return the same by another connection to the same server, and of a store that was opened since."""
        source = Source(self.source.settings, session, self.source.preset, self.source.directory, self.clock.later)
        return self._replace(source=source, known=for_reader.Known(store, self.source.settings.name, self.salt))

    def about(self, seconds: float) -> dict[str, Any]:
        """Return `read` of the result."""
        session, snapshot = self.source.session, self.snapshot
        not_read: list[str] = []
        if session.not_read:
            from ._directory.lost import not_followed  # few directories have parts elsewhere

            not_read = not_followed(session.not_read, snapshot.place, self.source.context_normal)
        return {
            "server": session.server,
            "directory_type": self.source.directory.directory_type,
            "mode": "full" if snapshot.is_full else "incremental",
            "reason": self.reason,
            "entries": session.entries,
            "pages": session.pages,
            "seconds": round(seconds, 3),
            "not_read": not_read,
        }


def read_from(session: Session, settings: Settings, store: Store, last: LastRun, now: int) -> Read:
    """Read from one server. ``last`` is what the last run left; ``now`` is the time by the clock of this computer.

    Raises SynchronizationError, of which ReadError is one.
    """
    preset = resolve(settings, directory_type(settings, session.root_dse))
    context = naming_context(settings, session, preset)
    mark = runs.mark(store, settings.name)
    server = standing(session, context, mark)
    clock = _believed(session, runs.last_times(store, settings.name), last.believed, now, context)
    salt = _salt(settings, preset)
    known = for_reader.Known(store, settings.name, salt)
    bound = runs.directory_of(store, settings.name)
    directory = _bound_directory(settings, store, bound, identify(settings, session, preset))
    source = Source(settings, session, preset, directory, clock.later)
    under = _circumstances(settings, salt, session, directory)
    never = why_never(session, preset, settings) if settings.read_mode != "full" else ""
    snapshot: Snapshot | None = None
    try:
        went_on_from = _to_go_on_from(settings, bound, never, mark, under, now)
        from ._directory import changed  # each script brings rooms that the other does not need

        snapshot = changed.read(source, known, went_on_from)
        reason, read_fully = "the last run left a mark", went_on_from.read_fully
    except ReadFully as why:
        reason, read_fully = str(why), now
    if snapshot is None:  # outside of the above, which would keep what was read until then
        marking = settings.read_mode != "full" and not never
        from ._directory import full

        snapshot = full.read(source, for_reader.digests(known), marking)
    reached = snapshot.reached
    left = Mark(reached, under, read_fully, now) if isinstance(reached, Reached) else reached
    return Read(source, snapshot, reason, left, server, clock, salt, known)


def _believed(session: Session, times: list[int], before: int | None, now: int, context: str) -> Clock:
    """Return the time of the run. The directory is asked when it last changed only if this seems to be long ago.

    ``before`` is the time of the last run whose clock was believed, if that of the last one was not: a clock that stays
    wrong is not made right by that, where the directory tells.
    """
    time_there = clock_there.time_of(session)
    trusted = times if before is None else [before, *times[1:]]
    last_change = None
    if time_there is None and (_clock.is_long(now, times) or _clock.is_long(now, trusted)):
        last_change = clock_there.last_change(session, context)
    clock = _clock.judged(now, times, time_there, last_change)
    if clock.doubt or last_change is None:
        return clock
    return _clock.judged(now, trusted, time_there, last_change)


def _to_go_on_from(
    settings: Settings, bound: str | None, never: str, mark: Mark | Unmarked, under: Circumstances, now: int
) -> Mark:
    """Return the mark that the run goes on from. Raise ReadFully, which says why, if reading what changed will not do.

    ``never`` says why it never does, if so. ``bound`` is the identity of the directory, None before the first run.
    """
    if bound is None:
        raise ReadFully(FIRST)
    if settings.read_mode == "full":
        raise ReadFully("read_mode: full")
    if never:
        raise ReadFully(never)
    if isinstance(mark, Unmarked):
        raise ReadFully(mark.why)
    check_mark(mark, now)
    differing = mark.under.differing(under)
    if differing:
        raise ReadFully("another %s than at the last run" % " and ".join(differing))
    if settings.read_mode == "auto" and now - mark.read_fully >= settings.full_every:
        raise ReadFully("full_every: everything was last read %d minutes ago" % ((now - mark.read_fully) // 60))
    return mark


def _circumstances(settings: Settings, salt: bytes, session: Session, directory: Directory) -> Circumstances:
    scope = [
        settings.distinguished_name,
        settings.exclude_distinguished_name,
        settings.outside_members,
        settings.group_structure,
        settings.ignore_disabled_users,
        settings.user_collision,
    ]
    return Circumstances(
        directory=directory.identity,
        server=session.server,
        mapping=salt.hex(),
        scope=fingerprint(scope).hex(),
        account=fingerprint([settings.authentication, settings.login]).hex(),
    )


def _bound_directory(settings: Settings, store: Store, bound: str | None, directory: Directory) -> Directory:
    """Return the directory under the identity the store knows it by; a synchronization stays with its first one."""
    if bound is not None and not same_directory(bound, directory.identity):
        raise SynchronizationError(
            "name: the synchronization '%s' belongs to the directory %s, and server leads to %s: "
            "correct server, or give this synchronization a name of its own"
            % (settings.name, bound, directory.identity)
        )
    known = [bound] if bound else runs.directories(store)
    same = [identity for identity in known if same_directory(identity, directory.identity)]
    return directory._replace(identity=same[0]) if same else directory


def _salt(settings: Settings, preset: Preset) -> bytes:
    """Return the fingerprint of everything but the entries that decides what a stored record looks like."""
    return fingerprint([_DIGEST_GENERATION, preset, settings.target, settings.group_structure])


def fingerprint(plain: Any) -> bytes:
    """Return the SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(plain, default=str, sort_keys=True).encode("utf-8")).digest()
