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
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from . import _clock, _hold, _limits, _model, _report, _selected
from ._directory import absence, changed, connection, detect, distinguished_names, full, lost, overrides, standing
from ._directory.changes import clock as clock_there
from ._directory.changes.common import ReadFully
from ._directory.changes.ways import why_never
from ._directory.identity import identify, naming_context, same_directory
from ._errors import Refused, SynchronizationError, sentence
from ._mark import NONE_LEFT, Circumstances, Mark, Reached, Unmarked
from ._plan.digests import plan_digest, removals_digest
from ._plan.make import WrongTarget, make_plan, plan_absence, plan_release, without_changes, without_notes
from ._plan.removals import removals
from ._settings import Settings, public_settings
from ._store import counts, for_reader, for_report, history, runs, sqlite
from ._store.apply import apply
from ._store.load import load_state
from ._store.references import has_user_group

# Digests of another generation are not comparable: count up when what they cover changes.
_DIGEST_GENERATION = 7


def synchronize(settings: Settings, check_mode: bool, diff_mode: bool, warn: Callable[[str], None]) -> dict[str, Any]:
    """Make the store equal to the directory, or in check mode say what that would change; return the result.

    In check mode the store is only looked at, and all else is the same: that is why the result is the same, too.

    Raises SynchronizationError, with a sentence for the reader and the store as it was; Refused, which has the result
    as well, where the run would do more than it may.
    """
    now, started = int(time.time()), time.monotonic()
    if not settings.create_store and sqlite.is_missing(settings.store):
        raise SynchronizationError(
            "create_store: there is no file '%s', and none is to be made: correct store, bring back what lay there, or "
            "leave create_store out for the first run" % settings.store
        )
    if check_mode:
        sqlite.check_writable(settings.store)
    opened = (
        sqlite.look(settings.store, for_dry_run=True)
        if check_mode
        else sqlite.open_store(settings.store, settings.store_timeout)
    )
    with _without_collector(), opened as store:
        plan_run = _plan_synchronization if settings.state == "present" else _plan_leaving
        planned = plan_run(settings, store, now, started, warn)
        applies = not (check_mode or planned.refusals or planned.is_nothing or planned.holds.everything)
        removes = planned.plan.leaving or not _limits.removes_nothing(planned.digests[1])
        if removes and _is_older(runs.last_whole_check(store), _A_DAY, now):
            store.checks.begin(whole=True)
        with store.backing_up(settings.store_backups if applies and removes else 0) as be_ready:
            result = _result(settings, store, planned, diff_mode)
            if planned.refusals:
                store.checks.end()  # for damage may be why so much is to be removed
                raise Refused(result)
            if applies:
                plan, record = planned.plan, _record(settings, planned, result, now, started)
                del planned  # what was read makes room for what is written
                apply(store, plan, record)
            be_ready()  # the copy is there, and the store was looked through
            if applies:
                store.commit()
    return result


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


class _Planned(NamedTuple):
    """What a run is going to do, and what it knows by then."""

    plan: _model.Plan
    snapshot: _model.Snapshot
    state: _model.StoredState
    refusals: list[_limits.Refusal]
    digests: tuple[str, str]  # of the plan, of its removals
    read: dict[str, Any]
    preset: Any = None
    salt: bytes = b""
    mark: Mark | Unmarked = NONE_LEFT
    scope: dict[str, Any] | None = None
    clock: _clock.Clock | None = None
    holds: _hold.Holds = _hold.NONE
    is_nothing: bool = False  # there is no such synchronization to end


# --- a run that reads the directory ----------------------------------------------------------------------------------


def _plan_synchronization(settings, store, now, started, warn) -> _Planned:
    if not settings.create_user_group and not has_user_group(store, settings.target):
        raise SynchronizationError(
            "user_group: there is no user group '%s' in the store: create it, or set create_user_group: true"
            % public_settings(settings)["user_group"]
        )
    last = runs.last_run(store, settings.name)
    planned, unheld = connection.read_from_first(
        settings, warn, lambda session: _read_and_plan(settings, store, session, last, now, started)
    )
    snapshot, read, preset = planned.snapshot, planned.read, planned.preset
    if settings.read_mode == "incremental" and snapshot.complete and read["reason"] != _FIRST:
        warn("read_mode: everything was read, since %s" % read["reason"])
    clock = planned.clock
    if clock.doubt:
        warn(
            "clock: the clock of this computer is not believed (%s): in this run nobody's grace ends, no name passes "
            "on, and no history is removed; correct the clock if it is wrong" % clock.doubt
        )
    doubts = (
        _doubts(settings, store, snapshot) + _long_not_read(settings, planned.mark, now) + _hold.warning(planned.holds)
    )
    selected = [] if last.server else _selected.warnings(snapshot, settings.group_structure)
    for warning in snapshot.warnings + doubts + selected:
        warn(warning)
    scope = _scope(settings, preset, snapshot)
    owned = _owned(settings, store, preset, snapshot, planned.state, unheld)
    digests = planned.digests
    if planned.holds.everything:  # an approved plan is compared with what the server says, since nothing else could be
        digests = planned.holds.plan_digest, digests[1]
    refusals = _limits.refusals(
        planned.plan, unheld, snapshot, planned.state, settings, owned, (last.scope, scope), digests
    )
    return planned._replace(refusals=refusals + planned.refusals, scope=scope)


def _read_and_plan(settings, store, session, last, now, started):
    """Read from one server, plan, and have it prove what the plan would remove or enable. Return what is planned,
    and the plan without what is held.
    """
    preset = overrides.resolve(settings, detect.directory_type(settings, session.root_dse))
    context = naming_context(settings, session, preset)
    mark = runs.mark(store, settings.name) or NONE_LEFT
    server = standing.standing(session, context, mark)
    clock = _believed(session, runs.last_times(store, settings.name), last.believed, now, context)
    salt = _salt(settings, preset)
    known = for_reader.Known(store, settings.name, salt)
    snapshot, left, read = _read(settings, store, session, preset, context, known, salt, now, clock, started, mark)
    whole = _is_older(runs.last_whole_check(store), _A_WEEK, now)
    if whole or snapshot.complete:
        store.checks.begin(whole)  # it is waited for before anything is committed
    state = load_state(store, settings.name, settings.target, snapshot)
    snapshot = absence.with_unread_lists(session, settings, preset, context, snapshot, state)
    snapshot = absence.with_unread_states(session, settings, preset, context, snapshot)
    unheld = plan = _make_plan(settings, snapshot, state, clock)
    found = removals(plan, snapshot, state)
    unproven = absence.unproven(session, settings, preset, context, snapshot, state, found, known.own_dns)
    digests = plan_digest(plan), removals_digest(plan)
    doubts = _standing_doubts(store, session, server, last, snapshot.directory.identity, found)
    holds = _hold.decide(settings, _hold.Unheld(found, unproven, *digests, plan.is_empty), doubts, last, state)
    if holds.everything:
        plan = without_changes(plan, frozenset(holds.reasons))
    elif holds.reasons:
        plan = _make_plan(settings, snapshot, state, clock, frozenset(holds.reasons))
    if doubts.by_this is not None and not doubts.by_this.passes and plan.is_empty:
        plan = without_notes(plan)
    # What it only takes back is held even so: the next run, of which this server is the measure, does that.
    believed = settings.approved_plan == digests[0] and not unheld.is_empty
    if plan is not unheld:
        digests = plan_digest(plan), removals_digest(plan)
    before = clock.last if last.believed is None else last.believed
    holds = holds._replace(
        standing=standing.remembered(last.standing, server, believed), believed=before if clock.doubt else None
    )
    refusals = _hold.refusals(settings, holds, found, last, session.account_option, digests[0])
    planned = _Planned(
        plan, snapshot, state, refusals, digests, read, preset, salt, mark=left, clock=clock, holds=holds
    )
    return planned, unheld


def _standing_doubts(store, session, server, last, identity, found) -> _hold.Doubts:
    """Return why the server, of this standing, may be behind. ``found``: what would be taken away or enabled."""
    by_each = {
        number: standing.doubt(left, server, session.server) for number, left in runs.last_runs(store, identity).items()
    }
    enabled = [key for kind, key, *_rest in found if kind == "enabled"] if any(by_each.values()) else []
    seen_out_by = history.seen_out_by(store, identity, enabled) if enabled else {}
    return _hold.Doubts(standing.doubt(last, server, session.server), by_each, seen_out_by)


def _read(settings, store, session, preset, context, known, salt, now, clock, started, mark):
    """Return what one server says: (snapshot, mark for the next run, `read` of the result)."""
    bound = runs.directory_of(store, settings.name)
    directory = _bound_directory(settings, store, bound, identify(settings, session, preset))
    circumstances = _circumstances(settings, salt, session, directory)
    never = ""
    if settings.read_mode != "full":
        never = why_never(session, preset, settings)
    try:
        last = _to_go_on_from(settings, bound, never, mark, circumstances, now)
        snapshot = changed.read(settings, session, preset, directory, known, last, clock.later)
        reason, read_fully = "the last run left a mark", last.read_fully
    except ReadFully as why:
        snapshot, reason, read_fully = None, str(why), now
    if snapshot is None:  # outside of the above, which would keep what was read until then
        digests, marking = for_reader.digests(known), settings.read_mode != "full" and not never
        snapshot = full.read(settings, session, preset, directory, digests, clock.later, marking)
    reached = snapshot.reached
    left = Mark(reached, circumstances, read_fully, now) if isinstance(reached, Reached) else reached
    return snapshot, left, _about_read(session, context, directory, snapshot, reason, time.monotonic() - started)


def _believed(session, times, before, now, context) -> _clock.Clock:
    """Return the time of the run. The directory is asked when it last changed only if this seems to be long ago.

    ``before`` is the time of the last run whose clock was believed, if that of the last one was not: a clock that stays
    wrong is not made right by that, where the directory tells.
    """
    time_there = clock_there.time_of(session)
    trusted = times if before is None else [before, *times[1:]]
    changed = None
    if time_there is None and (_clock.is_long(now, times) or _clock.is_long(now, trusted)):
        changed = clock_there.last_change(session, context)
    clock = _clock.judged(now, times, time_there, changed)
    if clock.doubt or changed is None:
        return clock
    return _clock.judged(now, trusted, time_there, changed)


_FIRST = "it is the first run"


def _to_go_on_from(settings, bound, never, mark, circumstances, now) -> Mark:
    """Return the mark that the run goes on from. Raise ReadFully, which says why, if reading what changed will not do.

    ``never`` says why it never does, if so. ``bound`` is the identity of the directory, None before the first run.
    """
    if bound is None:
        raise ReadFully(_FIRST)
    if settings.read_mode == "full":
        raise ReadFully("read_mode: full")
    if never:
        raise ReadFully(never)
    if isinstance(mark, Unmarked):
        raise ReadFully(mark.why)
    changed.check_mark(mark, now)
    differing = mark.under.differing(circumstances)
    if differing:
        raise ReadFully("another %s than at the last run" % " and ".join(differing))
    if settings.read_mode == "auto" and now - mark.read_fully >= settings.full_every:
        raise ReadFully("full_every: everything was last read %d minutes ago" % ((now - mark.read_fully) // 60))
    return mark


def _circumstances(settings, salt, session, directory) -> Circumstances:
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
        scope=_fingerprint(scope).hexdigest(),
        account=_fingerprint([settings.authentication, settings.login]).hexdigest(),
    )


def _bound_directory(settings, store, bound, directory):
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


def _salt(settings, preset):
    """Return the fingerprint of everything but the entries that decides what a stored record looks like."""
    return _fingerprint([_DIGEST_GENERATION, preset, settings.target, settings.group_structure]).digest()


def _fingerprint(plain):
    return hashlib.sha256(json.dumps(plain, default=str, sort_keys=True).encode("utf-8"))


def _doubts(settings, store, snapshot):
    """Return warnings of what is no error and seldom meant."""
    doubts = []
    if snapshot.not_stored:
        doubts.append(
            "not_stored: %d times an entry, or a part of it, could not be stored: see there which and why"
            % len(snapshot.not_stored)
        )
    for option, mapping, kind, records in (
        ("user_attributes", settings.user_attributes, "user", snapshot.users),
        ("group_attributes", settings.group_attributes, "user_group", snapshot.user_groups),
    ):
        if snapshot.complete and records:
            doubts += [
                "%s: no %s has a value for '%s' (%s): correct the attribute, or give the account the right to read it"
                % (option, kind.replace("_", " "), field, mapping[field])
                for field in _that_nobody_has(settings, store, kind, mapping.keys() - {"name"}, records)
            ]
    return doubts


def _that_nobody_has(settings, store, kind, fields, records):
    """Return those of the fields in which no record has a value, by what was read, and by the store of the others."""
    bodies = [record for record in records.values() if record is not None]
    missing = sorted(field for field in fields if not any(field in body.attributes for body in bodies))
    if len(bodies) == len(records):
        return missing
    empty = counts.empty_fields(store, settings.name, kind, missing)
    return [field for field in missing if field in empty]


_A_DAY, _A_WEEK = 86400, 7 * 86400  # seconds


def _is_older(then: int | None, seconds: int, now: int) -> bool:
    """Tell whether it was longer ago, or is still to come by a clock that was set back; None was never."""
    return then is None or not 0 <= now - then < seconds


def _long_not_read(settings, mark, now):
    """Return a warning if nothing but changes was read for long, which is what read_mode: incremental asks for."""
    if settings.read_mode != "incremental" or isinstance(mark, Unmarked):
        return []
    days = (now - mark.read_fully) // 86400
    if days * 86400 < _A_WEEK:
        return []
    return [
        "read_mode: everything was last read %d days ago, and some changes only that shows, such as lost rights: set "
        "read_mode: auto, or run once with read_mode: full" % days
    ]


def _make_plan(settings, snapshot, state, clock, held=frozenset()):
    try:
        return make_plan(settings, snapshot, state, _same_value, clock.earlier, held, clock.later)
    except WrongTarget as error:  # another one is for the store to explain: a value in it may be damaged
        raise SynchronizationError(str(error)) from None


def _scope(settings, preset, snapshot):
    """Return the settings that decide who is in scope, as the next run compares them."""
    return {
        "whole_tree": snapshot.whole_tree,
        "distinguished_name": sorted(map(distinguished_names.normal_dn, settings.distinguished_name)),
        "exclude_distinguished_name": sorted(map(distinguished_names.normal_dn, settings.exclude_distinguished_name)),
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


def _owned(settings, store, preset, snapshot, state, plan):
    """Return how much is owned; counted only where it is asked for, for that takes a look at each record."""
    if plan.is_empty and not (snapshot.complete and not snapshot.users):
        return _limits.Owned(0, 0, 0, {})
    users, claimed_users, user_groups = counts.count_owned(store, settings.name)
    mapped = {
        "user": [*preset.user_fields, *preset.user_lists],
        "user_group": [*preset.group_fields, *preset.group_lists],
    }
    lost: dict[str, set] = {}
    for loss in _model.losses(plan):
        lost.setdefault(loss.kind, set(mapped[loss.kind])).add(loss.field)
    values_owned: dict = {}
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
        return distinguished_names.normal_dn(value)
    except ValueError:
        return _model.name_key(value)


def _about_read(session, context, directory, snapshot, reason, seconds):
    return {
        "server": session.server,
        "directory_type": directory.directory_type,
        "mode": "full" if snapshot.complete else "incremental",
        "reason": reason,
        "entries": session.entries,
        "pages": session.pages,
        "seconds": round(seconds, 3),
        "not_read": lost.not_followed(session.not_read, snapshot.place, distinguished_names.normal_dn(context)),
    }


# --- a run that ends the synchronization -----------------------------------------------------------------------------


def _plan_leaving(settings, store, dummy_now, dummy_started, dummy_warn) -> _Planned:
    """Plan the end of the synchronization, without the directory: to leave is the permission, so no limit applies."""
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
    read = {
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
        plan, snapshot, state, [], (plan_digest(plan), removals_digest(plan)), read, is_nothing=identity is None
    )


# --- what a run says, and leaves -------------------------------------------------------------------------------------


def _result(settings, store, planned, diff_mode):
    plan, snapshot, state = planned.plan, planned.snapshot, planned.state
    report = _report.make_report(
        plan,
        snapshot,
        state,
        _look_up(settings, store, plan, state),
        settings.report_limit,
        diff_mode,
        planned.holds.reasons,
    )
    report["held"].update(everything=planned.holds.everything, plan_digest=planned.holds.plan_digest)
    refused = [refusal._asdict() for refusal in planned.refusals[: settings.report_limit]]
    for refusal in refused:
        del refusal["why"]
    report["report_truncated"] = report["report_truncated"] or len(refused) < len(planned.refusals)
    return dict(
        report,
        msg=_message(planned, report["summary"]),
        changed=not plan.is_empty and not refused,
        refused=refused,
        read=planned.read,
        settings=public_settings(settings, planned.preset),
        plan_digest=planned.digests[0],
        removals_digest=planned.digests[1],
    )


def _message(planned: _Planned, summary: dict[str, dict[str, int]]) -> str:
    if planned.refusals:
        return sentence(_limits.message(planned.refusals))
    return sentence(_report.in_one_line(planned.plan, summary, planned.holds.everything))


def _look_up(settings, store, plan, state):
    nested = for_report.direct_members(store, _report.members_to_load(plan, state), settings.name)
    users = _report.users_to_load(plan, state, nested)
    names = for_report.names(store, _report.names_to_load(plan, state), settings.name)
    return _report.Looked(for_report.direct_groups(store, users, settings.name), names)


def _record(settings, planned, result, now, started) -> _model.RunRecord:
    """Return what the store is told of the run."""
    lasting = {
        option: value
        for option, value in result["settings"].items()
        if option not in ("approved_plan", "approved_removals", "report_limit", "store")
    }
    return _model.RunRecord(
        time=now,
        seconds=round(time.monotonic() - started, 3),
        server=planned.read["server"],
        mode=planned.read["mode"],
        reason=planned.read["reason"],
        changed=result["changed"],
        counts=result["summary"],
        plan_digest=planned.digests[0],
        settings=result["settings"],
        settings_digest=_fingerprint(lasting).hexdigest(),
        leaves=_model.Leaves(
            salt=planned.salt,
            selected=planned.snapshot.selected,
            scope=planned.scope,
            mark=_mark(planned),
            held=planned.holds.for_one_run,
            reasons=planned.holds.reasons,
            standing=planned.holds.standing,
            believed=planned.holds.believed,
        ),
        keeping=_model.Keeping(
            now=planned.clock.later if planned.clock else now,
            forgets=not (planned.clock and planned.clock.doubt),
            history_days=settings.history_days,
            name_reuse_days=settings.name_reuse_days,
        ),
    )


def _mark(planned) -> Mark | Unmarked | None:
    """Return up to where the directory is read, once the plan is applied; None where no mark is to be left."""
    mark = planned.mark
    if mark == NONE_LEFT or planned.holds.doubted:  # which must be seen once more
        return None
    if isinstance(mark, Unmarked):
        return mark
    return mark.with_again(planned.plan.again.union(removal[1] for removal in planned.holds.reasons))
