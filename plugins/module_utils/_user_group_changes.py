# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""One call of user_group_changes: options -> result.

::

    store ──> wanted ─┐
    acknowledged ─────┼──> changes ──> limits ──> keep what is told ──> result
    told ─────────────┘    (pure)      (pure)

An acknowledgement makes of what is told what is acknowledged. Both are kept in the ledger of a provisioning, whose
links are what is acknowledged, and which has no destination that is asked.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from . import _clock, _limits
from ._errors import Refused, SynchronizationError, sentence
from ._judge import TIMEOUT_MAX, number_of, store_address
from ._limits import Refusal
from ._look_up import looking
from ._named_tuple import NamedTuple
from ._options import CHANGES, STORE, with_defaults
from ._provisioning import digests, limits
from ._provisioning.changes import (
    LISTS,
    Told,
    acknowledged,
    changes_since,
    digest_of,
    lists_of,
    may_be_there,
    plan_of,
    told_in,
    told_of,
    told_to_text,
)
from ._provisioning.model import Plan, Wanted
from ._provisioning.report import Looked, make_report
from ._provisioning.wanted import USER_ATTRIBUTES, Choice, NoSuchUserGroup, wanted
from ._provisioning_settings import check_field, user_group_paths
from ._report.cut import Bounds
from ._settings import brakes
from ._store import ledger, lookups
from ._store.address import Address
from ._store.contract import Store
from ._store.ledger import Kept, StoreLedger

_NO_DESTINATION = "user_group_changes"  # in the place of a service's address
_BOUNDS = Bounds(1000, 300000)  # of the diff: what happened is never cut


class ChangesSettings(NamedTuple):
    """What a call is asked: the options, judged, with their defaults."""

    name: str
    state: str
    user_groups: tuple[str, ...]
    acknowledge: str | None
    allow_empty: bool
    user_attributes: dict[str, str]  # what it is called in the result -> field of the store
    removal_limits: dict[str, str]
    approved_plan: str | None
    approved_removals: str | None
    fail_on: list[str]
    store: Address
    store_timeout: int  # seconds


def changes_settings(params: Mapping[str, Any]) -> ChangesSettings:
    """Return the settings that the module's parameters ask for. Raises SynchronizationError."""
    options = with_defaults(params, CHANGES, STORE)
    if not options["name"].strip():
        raise SynchronizationError("name: it is empty: give one, such as 'wiki'")
    if options["acknowledge"] == "":
        raise SynchronizationError("acknowledge: it is empty: give the plan_digest of what was returned")
    looks = options["state"] == "present" and options["acknowledge"] is None
    return ChangesSettings(
        name=options["name"],
        state=options["state"],
        user_groups=user_group_paths(options["user_groups"] or (), "present" if looks else "released"),
        acknowledge=options["acknowledge"],
        allow_empty=options["allow_empty"],
        user_attributes=_attributes(options["user_attributes"]),
        store=store_address(options["store"], options["store_password"]),
        store_timeout=number_of("store_timeout", options["store_timeout"], TIMEOUT_MAX, least=0),
        **brakes({**options, "fail_on": ()}),
    )


def _attributes(given: Mapping[str, Any] | None) -> dict[str, str]:
    if given is None:
        return {field: field for field in USER_ATTRIBUTES.values()}
    for attribute, field in given.items():
        check_field(attribute, field)
    return {str(attribute): field for attribute, field in given.items()}


def user_group_changes(settings: ChangesSettings, check_mode: bool, diff_mode: bool) -> dict[str, Any]:
    """Return what happened to user groups, or acknowledge what was returned.

    Raises Refused, with the result, if a limit does not allow it, and SynchronizationError, with a sentence for the
    reader.
    """
    wants, kept = looking(settings.store, lambda store: _read(store, settings))
    if kept.number and kept.destination != _NO_DESTINATION:
        raise SynchronizationError(
            "name: '%s' is the name of a provisioning to '%s': take another one" % (settings.name, kept.destination)
        )
    told = {"began": _clock.in_utc(int(time.time())), "dry_run": check_mode}
    if isinstance(wants, Refusal):
        raise Refused({**_result(settings, wants.why, False, ("", "")), "refused": [wants.entry], **told})
    journal = StoreLedger(settings.store, settings.store_timeout, settings.name, _NO_DESTINATION, kept)
    try:
        with contextlib.closing(journal):
            if settings.state == "released":
                return {**_release(settings, journal, bool(kept.number), check_mode), **told}
            if settings.acknowledge is not None:
                return {**_acknowledge(settings, settings.acknowledge, journal, check_mode), **told}
            return {**_look(settings, wants, journal, check_mode, diff_mode), **told}
    except Refused as refusal:
        raise Refused({**refusal.result, **told}) from None


def _read(store: Store, settings: ChangesSettings) -> tuple[Wanted | Refusal, Kept]:
    kept = ledger.kept(store, settings.name)
    told_in(kept.told)  # where it fails, the store is looked through for damage
    if not settings.user_groups:
        return Wanted({}, {}), kept
    found = lookups.look_up(store, lookups.EVERYTHING)
    choice = Choice(settings.user_groups, settings.user_attributes, group_name="path", allow_empty=settings.allow_empty)
    try:
        return wanted(found, choice), kept
    except NoSuchUserGroup as error:
        return error.refusal, kept


def _look(
    settings: ChangesSettings, wants: Wanted, journal: StoreLedger, check_mode: bool, diff_mode: bool
) -> dict[str, Any]:
    links, allowed, told = journal.links(), journal.allowed(), told_in(journal.told())
    changes = changes_since(wants, links, told)
    plan = plan_of(changes)
    both = digest_of(plan, settings.name, told), digests.removals_digest(plan, settings.name, _NO_DESTINATION)
    there = may_be_there(links, told, plan)
    refused = limits.refusals(plan, there, settings, both, allowed)
    report = make_report(
        plan,
        plan.steps,
        (),
        Looked(wants, links),
        _BOUNDS._replace(with_diff=diff_mode),
        [each.entry for each in refused],
    )
    lists = lists_of(changes, wants)
    result = _result(settings, in_one_line(lists), bool(changes) and not refused, both)
    result.update(lists)
    result.update((key, report[key]) for key in ("summary", "refused", "diff") if key in report)
    if refused:
        raise Refused({**result, "msg": sentence(_limits.message(refused))})
    if changes and not check_mode:
        may, says = limits.still_allowed(allowed, plan, there, both), told_to_text(told_of(changes, both[0], told))
        if (may, says) != (allowed, journal.told()):
            with journal.at_once():
                journal.allow(may)
                journal.tell(says)
    return result


def _acknowledge(settings: ChangesSettings, digest: str, journal: StoreLedger, check_mode: bool) -> dict[str, Any]:
    told = told_in(journal.told())
    both = digest, ""
    if digest in (told.acknowledged, digests.plan_digest(Plan(()), settings.name, told.acknowledged)):
        return _result(settings, "it is acknowledged", False, both)
    if check_mode:  # what a dry run returned is kept nowhere
        return _result(settings, "it would be acknowledged, if it is what was returned last", True, both)
    if digest != told.digest:
        raise SynchronizationError(
            "acknowledge: this is not what was returned last under the name '%s', and nothing is acknowledged: call it "
            "again without acknowledge, work through what it returns, and acknowledge the plan_digest of that"
            % settings.name
        )
    moved = acknowledged(journal.links(), told)
    with journal.at_once():
        for ref, link in moved.items():
            if link is not None:
                journal.link(ref, link)
        for ref, link in moved.items():
            if link is None:
                journal.forget(ref)
        journal.allow(frozenset())
        journal.tell(told_to_text(Told(acknowledged=digest)))
    return _result(settings, "it is acknowledged", True, both)


def _release(settings: ChangesSettings, journal: StoreLedger, is_there: bool, check_mode: bool) -> dict[str, Any]:
    if is_there and not check_mode:
        journal.release()
    msg = "all that was acknowledged is forgotten" if is_there else "nothing was returned under this name"
    return _result(settings, msg, is_there, ("", ""))


def in_one_line(lists: Mapping[str, list[dict[str, Any]]]) -> str:
    """Return one line that says how much happened. It has no names."""
    told = ["%s: %d" % (each.replace("_", " "), len(lists[each])) for each in (*LISTS, "changed_groups") if lists[each]]
    return ", ".join(told) or "nothing happened"


def _result(settings: ChangesSettings, msg: str, changed: bool, both: tuple[str, str]) -> dict[str, Any]:
    """Return a result of nothing that happened."""
    shown = {option: value for option, value in settings._asdict().items() if option != "fail_on"}
    nothing = make_report(Plan(()), (), (), Looked(Wanted({}, {}), {}), _BOUNDS, [])
    return {
        "msg": sentence(msg),
        "changed": changed,
        **{each: [] for each in (*LISTS, "changed_groups")},
        "summary": nothing["summary"],
        "refused": [],
        "plan_digest": both[0],
        "removals_digest": both[1],
        "settings": {**shown, "user_groups": list(settings.user_groups), "store": settings.store.shown},
    }
