# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""One run of a provisioning to a SCIM service: options -> result."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from . import _clock, _limits
from ._destination.client import Client, Requests
from ._destination.contract import Kind
from ._destination.scim.destination import ScimDestination
from ._errors import Refused, sentence
from ._look_up import looking
from ._provision import Provisioned, provision
from ._provisioning.carry_out import CarriedOut
from ._provisioning.model import Links, Plan, Ref, Wanted, does_something
from ._provisioning.report import Known, in_one_line, make_report
from ._provisioning.wanted import wanted
from ._provisioning_settings import ProvisioningSettings, public_settings
from ._report.cut import Bounds
from ._store import ledger, lookups
from ._store.contract import Store
from ._store.ledger import Kept, StoreLedger

_NOTHING = Wanted({}, {})


class _Stored(NamedTuple):
    """What the store says, at one moment."""

    wanted: Wanted
    paths: dict[Ref, str]  # of the user groups that are wanted
    kept: Kept


def provision_to_scim(
    settings: ProvisioningSettings, check_mode: bool, diff_mode: bool, warn: Callable[[str], None]
) -> dict[str, Any]:
    """Make a SCIM service equal to what the store says, or in check mode say what that would change.

    Raises Refused, with the result, if a limit does not allow it, and SynchronizationError, with a sentence for the
    reader. What was done by then is kept.
    """
    stored = looking(settings.store, lambda store: _read(store, settings))
    identity, began = settings.client.url.rstrip("/"), int(time.time())
    if settings.state == "released":
        identity = stored.kept.destination
    journal = StoreLedger(settings.store, settings.store_timeout, settings.name, identity, stored.kept)
    told = {"began": _clock.in_utc(began), "dry_run": check_mode}
    try:
        with contextlib.closing(journal):
            does = _run if settings.state == "present" else _end
            return {**does(settings, stored, journal, identity, check_mode, diff_mode, warn), **told}
    except Refused as refusal:
        raise Refused({**refusal.result, **told}) from None


def _read(store: Store, settings: ProvisioningSettings) -> _Stored:
    kept = ledger.kept(store, settings.name)
    if settings.state != "present":
        return _Stored(_NOTHING, {}, kept)
    found = lookups.look_up(store, lookups.EVERYTHING)
    wants = wanted(
        found,
        settings.user_groups,
        settings.user_attributes,
        settings.name_attribute,
        settings.group_name,
        settings.nests,
        settings.allow_empty,
    )
    by_key = {group["key"] or "path:" + group["path"]: group["path"] for group in found["user_groups"]}
    paths = {ref: by_key[ref.key] for ref in wants.records if ref.kind is Kind.GROUP}
    return _Stored(wants, paths, kept)


def _run(
    settings: ProvisioningSettings,
    stored: _Stored,
    journal: StoreLedger,
    identity: str,
    check_mode: bool,
    diff_mode: bool,
    warn: Callable[[str], None],
) -> dict[str, Any]:
    before = journal.links()
    with _client(settings) as client:
        service = ScimDestination(client, settings.service, _attributes(settings, before))
        done = provision(
            settings.name, identity, stored.wanted, service, journal, settings.policies, settings, check_mode
        )
        result = _result(settings, done, Known(stored.wanted, before, stored.paths), diff_mode, client.requests)
    if done.refused:
        raise Refused({**result, "msg": sentence(_limits.message(done.refused))})
    if done.carried_out is not None:
        _warn_of(done.carried_out, warn)
    return result


def _end(
    settings: ProvisioningSettings,
    stored: _Stored,
    journal: StoreLedger,
    identity: str,
    check_mode: bool,
    diff_mode: bool,
    warn: Callable[[str], None],
) -> dict[str, Any]:
    """End the provisioning: all accounts depart before they are released, or stay as they are."""
    if not stored.kept.number:
        return _nothing(settings, journal, "there is no provisioning of this name")
    if settings.state == "released":
        result = _nothing(settings, journal, "")
        released = "%d accounts and groups are released, and stay as they are" % len(journal.links())
        result.update(changed=True, msg=released)
    else:
        result = _run(settings, stored, journal, identity, check_mode, diff_mode, warn)
        result["changed"] = True
    done_with = not result["left"] and not (settings.state == "absent" and result["not_provisioned"])
    if done_with and not check_mode:
        journal.release()
    return result


@contextlib.contextmanager
def _client(settings: ProvisioningSettings) -> Iterator[Client]:
    client = Client(settings.client)
    try:
        yield client
    finally:
        client.close()


def _attributes(settings: ProvisioningSettings, links: Links) -> set[str]:
    """Return the attributes that are read: those that are written, and those that were."""
    return set(settings.user_attributes).union(*(link.written.attributes for link in links.values()))


def _result(
    settings: ProvisioningSettings, done: Provisioned, known: Known, diff_mode: bool, requests: Requests
) -> dict[str, Any]:
    carried_out = done.carried_out or CarriedOut(tuple(filter(does_something, done.plan.steps)), (), 0, "")
    refused = [each.entry for each in done.refused]
    bounds = Bounds(settings.report_limit, settings.report_bytes, diff_mode)
    report = make_report(done.plan, carried_out.done, carried_out.failed, known, bounds, refused)
    failed, left, why = len(carried_out.failed), carried_out.left, carried_out.why
    return {
        **report,
        "msg": sentence(in_one_line(done.plan, report["summary"], failed, left, why)),
        "changed": bool(carried_out.done) and not refused,
        "left": left,
        "plan_digest": done.plan_digest,
        "removals_digest": done.removals_digest,
        "requests": _requests(requests),
        "settings": public_settings(settings),
    }


def _requests(requests: Requests) -> dict[str, Any]:
    return {"count": requests.sent, "retried": requests.retried, "seconds_waited": round(requests.waited, 3)}


def _nothing(settings: ProvisioningSettings, journal: StoreLedger, msg: str) -> dict[str, Any]:
    """Return the result of a run that asks the service for nothing."""
    known = Known(_NOTHING, journal.links(), {})
    done = Provisioned(Plan(()), "", "", [], None)
    return {**_result(settings, done, known, False, Requests(0, 0, 0.0)), "msg": msg}


def _warn_of(done: CarriedOut, warn: Callable[[str], None]) -> None:
    if done.failed:
        warn(
            "the service did not make %d changes, of which not_provisioned says why: the next run tries them again"
            % len(done.failed)
        )
    if done.left:
        warn("the run ended with %d steps left (%s): run it again to go on" % (done.left, done.why))
