# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The way of the data.

options -> directory -> snapshot, store -> stored state, both -> plan -> limits -> apply -> report
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

from . import _changes, _clock, _hold, _limits, _model, _names, _warnings
from ._changes import Plan
from ._clock import Clock
from ._directory import absence, connection, standing
from ._directory.distinguished_names import normal_dn
from ._directory.presets import Preset
from ._errors import Refused, SynchronizationError, sentence
from ._mark import NONE_LEFT, Mark, Unmarked
from ._model import Conclusion, Keeping, LastRun, Leaves, RunRecord, Snapshot, StoredState
from ._named_tuple import NamedTuple
from ._plan.conclusions import conclusions
from ._plan.digests import plan_digest, removals_digest
from ._plan.make import WrongTarget, make_plan, plan_absence, plan_release, without_changes, without_notes
from ._progress import PROGRESS
from ._read import Read, fingerprint, read_from
from ._report.affected import members_to_load, users_to_load
from ._report.counts import in_one_line
from ._report.cut import Bounds
from ._report.lists import names_to_load
from ._report.make import Looked, Objections, make_report
from ._settings import Settings, public_settings
from ._store import counts, for_reader, for_report, history, opening, runs
from ._store.apply import apply
from ._store.contract import NoStore, Store, WrittenMeanwhile
from ._store.load import load_state
from ._store.references import has_user_group


def synchronize(settings: Settings, check_mode: bool, diff_mode: bool, warn: Callable[[str], None]) -> dict[str, Any]:
    """Make the store equal to the directory, or in check mode say what that would change; return the result.

    In check mode the store is only looked at, and all else is the same: that is why the result is the same, too.

    Raises SynchronizationError, with a sentence for the reader and the store as it was; Refused, which has the result
    as well, where the run would do more than it may.
    """
    last_read = _LastRead()
    with _without_collector():
        for tries_left in range(_TRIES - 1, -1, -1):
            said: list[str] = []
            try:
                return _try_to_synchronize(settings, check_mode, diff_mode, said.append, last_read)
            except WrittenMeanwhile:
                if not tries_left:
                    raise
                said.clear()
            finally:
                for text in said:
                    warn(text)
    raise AssertionError


_TRIES = 10  # where others write to the same store all the time
_OVERTAKEN = 3  # tries with the same read, after which nobody else writes while it is planned from once more
_BY_SAME_DIRECTORY = "store: it changed, by another run of the same directory: run it again"


class _LastRead:
    """What was read by a try after which another run had written: worth as much as before, where that run was about
    another directory. Everything else is looked up and planned anew.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Make room."""
        self._found: Read | None = None
        self._of: Any = None
        self._tries = 0

    @property
    def directory(self) -> str | None:
        """The identity of the directory; None before it was read."""
        return self._found.snapshot.directory.identity if self._found else None

    @property
    def is_overtaken(self) -> bool:
        """Whether it was planned from often enough, and others have written each time."""
        return self._tries >= _OVERTAKEN

    def none_is_needed(self) -> None:
        """Count a try of a run that reads nothing."""
        self._tries += 1

    def or_else(self, of: Any, read: Callable[[], Read]) -> Read:
        """Return the same as before, if it is ``of`` the same; else what ``read`` returns.

        Raises WrittenMeanwhile where the store is held, and the directory would be read: others would wait for that.
        """
        if self._found is None or self._of != of or _lists_others(self._found.snapshot):
            if self.is_overtaken:
                self.forget()
                raise WrittenMeanwhile(_BY_SAME_DIRECTORY)
            self._found, self._of, self._tries = read(), of, 0
        self._tries += 1
        return self._found


def _lists_others(snapshot: Snapshot) -> bool:
    """Tell whether anybody of another directory is a member: he may be gone from the store since."""
    lists = (group.members for group in snapshot.user_groups.values() if group.members is not None)
    return any(member[:1] == "@" for members in lists for member in members)


def _try_to_synchronize(
    settings: Settings, check_mode: bool, diff_mode: bool, warn: Callable[[str], None], last_read: _LastRead
) -> dict[str, Any]:
    """Do what `synchronize` does. Raises WrittenMeanwhile if another run wrote to the store before this one could."""
    now, started = int(time.time()), time.monotonic()
    with _open_store(settings, check_mode) as store:
        if last_read.is_overtaken and not check_mode:
            store.begin_writing()
        directory = last_read.directory
        before = runs.of_same_directory(store, settings.name, directory)
        run = _Run(settings, store, warn, now, started, last_read, directory, before)
        planned = _plan_synchronization(run) if settings.state == "present" else _plan_leaving(run)
        applies = not (check_mode or planned.refusals or planned.is_nothing or planned.holds.everything)
        removes = planned.plan.leaving or not _limits.removes_nothing(planned.digests[1])
        if removes and _is_older(runs.last_whole_check(store), _A_DAY, now):
            store.checks.begin(whole=True)
        with store.backing_up(settings.store_backups if applies and removes else 0) as be_ready:
            result = dict(_result(run, planned, diff_mode), dry_run=check_mode)
            if planned.refusals:
                store.checks.end()  # for damage may be why so much is to be removed
                raise Refused(result)
            if applies:
                plan, record = planned.plan, _record(run, planned, result)
                store.begin_writing()
                _compare(run)
                changes = len(plan.users) + len(plan.user_groups) + len(plan.memberships)
                PROGRESS.step("write", lambda: changes)
                del planned  # what was read makes room for what is written
                last_read.forget()
                apply(store, plan, record)
            be_ready()  # the copy is there, and the store was looked through
            if applies:
                store.commit()
    return result


def _compare(run: _Run) -> None:
    """Raise WrittenMeanwhile if another run of the same directory has ended since this one began: what it has left is
    what this one judges by, even if it changed nothing (`Store.commit`).
    """
    if runs.of_same_directory(run.store, run.settings.name, run.directory_before) != run.runs_before:
        raise WrittenMeanwhile(_BY_SAME_DIRECTORY)


def _open_store(settings: Settings, check_mode: bool) -> Store:
    must_exist = not settings.create_store
    try:
        if check_mode:
            return opening.look(settings.store, for_dry_run=True, must_exist=must_exist)
        return opening.open_store(settings.store, settings.store_timeout, must_exist)
    except NoStore:
        raise SynchronizationError(
            "create_store: there is no %s, and none is to be made: correct store, bring back what lay there, or "
            "leave create_store out for the first run" % settings.store.noun
        ) from None


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Keep the garbage collector from looking for cycles where there are none: everything here is plain data.

    It would go through all records again and again while they come in; a first run spends a fifth of its time on it.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class _Run(NamedTuple):
    """One execution of a synchronization."""

    settings: Settings
    store: Store
    warn: Callable[[str], None]
    now: int  # seconds since 1970
    started: float  # by `time.monotonic`
    last_read: _LastRead
    directory_before: str | None  # which one was read, if a try before this one has read
    runs_before: tuple[int | None, int]  # see `runs.of_same_directory`


class _Planned(NamedTuple):
    """What a run is going to do, and what it knows by then."""

    plan: Plan
    snapshot: Snapshot
    state: StoredState
    refusals: list[_limits.Refusal]
    digests: tuple[str, str]  # of the plan, of its removals
    about: dict[str, Any]  # `read` of the result
    read: Read | None = None  # None: no directory was read, since the synchronization ends
    scope: dict[str, Any] | None = None
    holds: _hold.Holds = _hold.NONE
    is_nothing: bool = False  # there is no such synchronization to end


# --- a run that reads the directory ----------------------------------------------------------------------------------


def _plan_synchronization(run: _Run) -> _Planned:
    settings, store = run.settings, run.store
    if not settings.create_user_group and not has_user_group(store, settings.target):
        raise SynchronizationError(
            "user_group: there is no user group '%s' in the store: create it, or set create_user_group: true"
            % public_settings(settings)["user_group"]
        )
    last = runs.last_run(store, settings.name)
    planned, read, unheld = connection.read_from_first(
        settings, run.warn, lambda session: _read_and_plan(run, session, last)
    )
    for warning in _warnings.warnings(settings, store, read, planned.holds, last, run.now):
        run.warn(warning)
    scope = _scope(settings, read.source.preset, planned.snapshot)
    owned = _owned(settings, store, read.source.preset, planned.snapshot, planned.state, unheld)
    digests = planned.digests
    if planned.holds.everything:  # an approved plan is compared with what the server says, since nothing else could be
        digests = planned.holds.plan_digest, digests[1]
    judged = _limits.Judged(planned.plan, unheld, planned.snapshot, planned.state, owned, last.scope, scope, digests)
    refusals = _limits.refusals(judged, settings)
    return planned._replace(refusals=refusals + planned.refusals, scope=scope)


def _read_and_plan(run: _Run, session: connection.Session, last: LastRun) -> tuple[_Planned, Read, Plan]:
    """Read from one server, plan, and have it prove what the plan would remove or enable. Return what is planned, what
    was read, and the plan without what is held.
    """
    settings, store = run.settings, run.store
    PROGRESS.step("read", lambda: session.entries)
    read = run.last_read.or_else(
        (session.server, run.runs_before),
        lambda: read_from(session, settings, store, last, run.now),
    )
    PROGRESS.step("compare", lambda: session.entries)
    about = read.about(time.monotonic() - run.started)
    if read.source.session is not session:
        read = read.again(session, store)
    whole = _is_older(runs.last_whole_check(store), _A_WEEK, run.now)
    if whole or read.snapshot.is_full:
        store.checks.begin(whole)  # it is waited for before anything is committed
    state = load_state(store, settings.name, settings.target, read.snapshot)
    snapshot = absence.with_unread_lists(read.source, read.snapshot, state)
    snapshot = absence.with_unread_states(read.source, snapshot)
    unheld = plan = _make_plan(settings, snapshot, state, read.clock)
    found = conclusions(plan, snapshot, state)
    unproven = absence.unproven(read.source, snapshot, state, found, read.known.own_dns)
    digests = plan_digest(plan), removals_digest(plan)
    doubts = _standing_doubts(read, store, last, found)
    holds = _hold.decide(settings, _hold.Unheld(found, unproven, *digests, plan.is_empty), doubts, last, state)
    if holds.everything:
        plan = without_changes(plan, frozenset(holds.reasons))
    elif holds.reasons:
        plan = _make_plan(settings, snapshot, state, read.clock, frozenset(holds.reasons))
    if doubts.by_this is not None and not doubts.by_this.passes and plan.is_empty:
        plan = without_notes(plan)
    # What it only takes back is held even so: the next run, of which this server is the measure, does that.
    believed = settings.approved_plan == digests[0] and not unheld.is_empty
    if plan is not unheld:
        digests = plan_digest(plan), removals_digest(plan)
    holds = holds._replace(
        standing=standing.remembered(last.standing, read.standing, believed), believed=_time_believed(read.clock, last)
    )
    refusals = _hold.refusals(settings, holds, found, last, session.account_option, digests[0])
    read = read._replace(snapshot=snapshot)
    return _Planned(plan, snapshot, state, refusals, digests, about, read, holds=holds), read, unheld


def _time_believed(clock: Clock, last: LastRun) -> int | None:
    """Return the time of the last run before this one whose clock was believed; None if that of this run is."""
    if not clock.doubt:
        return None
    return clock.last if last.believed is None else last.believed


def _standing_doubts(read: Read, store: Store, last: LastRun, found: Collection[Conclusion]) -> _hold.Doubts:
    """Return why the server may be behind. ``found``: what would be taken away or enabled."""
    identity, name = read.source.directory.identity, read.source.session.server
    by_each = {
        number: standing.doubt(left, read.standing, name) for number, left in runs.last_runs(store, identity).items()
    }
    enabled = [key for kind, key, *_rest in found if kind == "enabled"] if any(by_each.values()) else []
    seen_out_by = history.seen_out_by(store, identity, enabled) if enabled else {}
    return _hold.Doubts(standing.doubt(last, read.standing, name), by_each, seen_out_by)


_A_DAY, _A_WEEK = 86400, 7 * 86400  # seconds


def _is_older(then: int | None, seconds: int, now: int) -> bool:
    """Tell whether it was longer ago, or is still to come by a clock that was set back; None was never."""
    return then is None or not 0 <= now - then < seconds


def _make_plan(
    settings: Settings, snapshot: Snapshot, state: StoredState, clock: Clock, held: frozenset[Conclusion] = frozenset()
) -> Plan:
    try:
        return make_plan(settings, snapshot, state, _same_value, clock.times, held)
    except WrongTarget as error:  # another one is for the store to explain: a value in it may be damaged
        raise SynchronizationError(str(error)) from None


def _scope(settings: Settings, preset: Preset, snapshot: Snapshot) -> dict[str, Any]:
    """Return the settings that decide who is in scope, as the next run compares them."""
    return {
        "whole_tree": snapshot.whole_tree,
        "distinguished_name": sorted(map(normal_dn, settings.distinguished_name)),
        "exclude_distinguished_name": sorted(map(normal_dn, settings.exclude_distinguished_name)),
        "outside_members": settings.outside_members,
        "user_filter": preset.user_filter,
        "group_filter": preset.group_filter,
        "group_structure": settings.group_structure,
        **{
            "ldap_parameters." + parameter: getattr(preset, parameter)
            for parameter in ("user_key", "group_key", "member_value", "user_groups", "user_groups_value")
        },
        "ldap_parameters.group_members": list(preset.group_members),
    }


def _owned(
    settings: Settings, store: Store, preset: Preset, snapshot: Snapshot, state: StoredState, plan: Plan
) -> _limits.Owned:
    """Return how much is owned; counted only where it is asked for, for that takes a look at each record."""
    if plan.is_empty and not (snapshot.is_full and not snapshot.users):
        return _limits.Owned(0, 0, 0, {})
    users, claimed_users, user_groups = counts.count_owned(store, settings.name)
    mapped = {
        "user": [*preset.user_fields, *preset.user_lists],
        "user_group": [*preset.group_fields, *preset.group_lists],
    }
    lost: dict[str, set[str]] = {}
    for loss in _changes.losses(plan):
        lost.setdefault(loss.kind, set(mapped[loss.kind])).add(loss.field)
    values_owned: dict[tuple[str, str], int] = {}
    for kind, fields in lost.items():
        values_owned.update(counts.count_values(store, settings.name, kind, fields))
    return _limits.Owned(
        users=users,
        user_groups=user_groups,
        memberships=state.membership_count - state.extinct_membership_count,
        values=values_owned,
        claimed_users=claimed_users,
    )


def _same_value(value: str) -> str:
    """Return the form in which two values of a member list are compared: DNs have many spellings (RFC 4514)."""
    try:
        return normal_dn(value)
    except ValueError:
        return _names.name_key(value)


# --- a run that ends the synchronization -----------------------------------------------------------------------------


def _plan_leaving(run: _Run) -> _Planned:
    """Plan the end of the synchronization, without the directory: to leave is the permission, so no limit applies."""
    settings, store = run.settings, run.store
    run.last_read.none_is_needed()
    identity = runs.directory_of(store, settings.name)
    digests = for_reader.digests(for_reader.Known(store, settings.name, b""))
    snapshot = _model.Snapshot(
        _model.Directory(identity or "", ""),
        {},
        {},
        dict.fromkeys(digests.users, _model.OUT_OF_SCOPE),
        dict.fromkeys(digests.user_groups, _model.OUT_OF_SCOPE),
        [],
        [],
        {},
        {},
        [],
    )
    target = runs.target_of(store, settings.name) or settings.target
    store.checks.begin(whole=False)
    state = load_state(store, settings.name, target, snapshot)
    if identity is None:
        plan = plan_release(settings.name, snapshot.directory, state)._replace(leaving="")
    elif settings.state == "absent":
        plan = plan_absence(settings, snapshot, state, _same_value)
    else:
        plan = plan_release(settings.name, snapshot.directory, state)
    about = {
        "server": "",
        "directory_type": "",
        "mode": "none",
        "reason": "",
        "entries": 0,
        "pages": 0,
        "seconds": 0.0,
        "not_read": [],
    }
    return _Planned(
        plan, snapshot, state, [], (plan_digest(plan), removals_digest(plan)), about, is_nothing=identity is None
    )


# --- what a run says, and leaves -------------------------------------------------------------------------------------


def _result(run: _Run, planned: _Planned, diff_mode: bool) -> dict[str, Any]:
    settings, plan, snapshot, state = run.settings, planned.plan, planned.snapshot, planned.state
    report = make_report(
        plan,
        snapshot,
        state,
        _look_up(run, plan, state),
        Bounds(settings.report_limit, settings.report_bytes, diff_mode),
        Objections(planned.holds.reasons, [refusal.entry for refusal in planned.refusals]),
    )
    report["held"].update(everything=planned.holds.everything, plan_digest=planned.holds.plan_digest)
    return dict(
        report,
        msg=_message(planned, report["summary"]),
        changed=not plan.is_empty and not planned.refusals,
        began=_clock.in_utc(run.now),
        read=planned.about,
        settings=public_settings(settings, planned.read.source.preset if planned.read else None),
        plan_digest=planned.digests[0],
        removals_digest=planned.digests[1],
    )


def _message(planned: _Planned, summary: dict[str, dict[str, int]]) -> str:
    if planned.refusals:
        return sentence(_limits.message(planned.refusals))
    return sentence(in_one_line(planned.plan, summary, planned.holds.everything))


def _look_up(run: _Run, plan: Plan, state: StoredState) -> Looked:
    store, name = run.store, run.settings.name
    nested = for_report.direct_members(store, members_to_load(plan, state), name)
    users = users_to_load(plan, state, nested)
    names = for_report.names(store, names_to_load(plan, state), name)
    return Looked(for_report.direct_groups(store, users, name), names)


def _record(run: _Run, planned: _Planned, result: dict[str, Any]) -> RunRecord:
    """Return what the store is told of the run."""
    settings, read, clock = run.settings, planned.read, planned.read.clock if planned.read else Clock(run.now, run.now)
    lasting = {
        option: value
        for option, value in result["settings"].items()
        if option not in ("approved_plan", "approved_removals", "report_bytes", "report_limit", "store")
    }
    return RunRecord(
        time=run.now,
        seconds=round(time.monotonic() - run.started, 3),
        server=planned.about["server"],
        mode=planned.about["mode"],
        reason=planned.about["reason"],
        changed=result["changed"],
        counts=result["summary"],
        plan_digest=planned.digests[0],
        settings=result["settings"],
        settings_digest=fingerprint(lasting).hex(),
        leaves=Leaves(
            salt=read.salt if read else b"",
            selected=planned.snapshot.selected,
            scope=planned.scope,
            mark=_mark_to_leave(planned),
            held=planned.holds.for_one_run,
            reasons=planned.holds.reasons,
            standing=planned.holds.standing,
            believed=planned.holds.believed,
        ),
        keeping=Keeping(
            now=clock.later,
            forgets=not clock.doubt,
            history_days=settings.history_days,
            name_reuse_days=settings.name_reuse_days,
        ),
    )


def _mark_to_leave(planned: _Planned) -> Mark | Unmarked:
    """Return up to where the directory is read, once the plan is applied."""
    mark = planned.read.mark if planned.read else NONE_LEFT
    if planned.holds.doubted:  # what is in doubt must be seen once more
        return NONE_LEFT
    if isinstance(mark, Unmarked):
        return mark
    return mark.with_again(planned.plan.again.union(conclusion[1] for conclusion in planned.holds.reasons))
