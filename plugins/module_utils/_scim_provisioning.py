# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""One run of a provisioning to a SCIM service: options -> result."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from . import _clock, _limits
from ._destination.http_client import Client, Requests
from ._destination.scim.destination import ScimDestination
from ._errors import Failed, Refused, sentence
from ._limits import Refusal
from ._look_up import looking
from ._named_tuple import NamedTuple
from ._provision import Provisioned, Task, provision
from ._provisioning.carry_out import CarriedOut
from ._provisioning.model import Links, Plan, Wanted, does_something
from ._provisioning.report import Looked, in_one_line, make_report, not_made
from ._provisioning.wanted import NoSuchUserGroup, wanted
from ._provisioning_settings import ProvisioningSettings, public_settings
from ._report.cut import Bounds
from ._store import ledger, lookups
from ._store.contract import Store
from ._store.ledger import Kept, StoreLedger

_NOTHING = Wanted({}, {})


class _Run(NamedTuple):
    """One run: what is asked, and what it goes by."""

    settings: ProvisioningSettings
    wanted: Wanted
    kept: Kept
    destination: str  # which it is: its address
    journal: StoreLedger
    check_mode: bool
    diff_mode: bool
    warn: Callable[[str], None]


def provision_to_scim(
    settings: ProvisioningSettings, check_mode: bool, diff_mode: bool, warn: Callable[[str], None]
) -> dict[str, Any]:
    """Make a SCIM service equal to what the store says, or in check mode say what that would change.

    Raises Refused, with the result, if a limit does not allow it, Failed, with the result, if the service did not make
    all changes, and SynchronizationError, with a sentence for the reader. What was done by then is kept.
    """
    wants, kept = looking(settings.store, lambda store: _read(store, settings))
    destination, began = settings.client.url.rstrip("/"), int(time.time())
    if settings.state == "released":
        destination = kept.destination
    told = {"began": _clock.in_utc(began), "dry_run": check_mode}
    journal = StoreLedger(settings.store, settings.store_timeout, settings.name, destination, kept)
    if isinstance(wants, Refusal):
        raise Refused({**_nothing(settings, journal, wants.why), "refused": [wants.entry], **told})
    run = _Run(settings, wants, kept, destination, journal, check_mode, diff_mode, warn)
    try:
        with contextlib.closing(journal):
            return {**(_provision(run)[0] if settings.state == "present" else _end(run)), **told}
    except Failed as failure:
        failure.result.update(told)
        raise


def _read(store: Store, settings: ProvisioningSettings) -> tuple[Wanted | Refusal, Kept]:
    wants: Wanted | Refusal = _NOTHING
    if settings.state == "present":
        try:  # first: what is looked up takes much memory, which is free again for what is kept
            wants = wanted(lookups.look_up(store, lookups.EVERYTHING), settings.choice)
        except NoSuchUserGroup as error:
            wants = error.refusal
    return wants, ledger.kept(store, settings.name)


def _provision(run: _Run) -> tuple[dict[str, Any], bool]:
    """Return the result, and whether nothing is left of what was to be done."""
    settings, before = run.settings, run.journal.links()
    task = Task(settings.name, run.destination, run.wanted, settings.policies, settings, True)
    with _client(settings) as client:
        service = ScimDestination(client, settings.service, _attributes(settings, before))
        done = provision(task, service, run.journal, run.check_mode)
        result = _result(settings, done, Looked(run.wanted, before), run.diff_mode, client.requests)
    if done.refused:
        raise Refused({**result, "msg": sentence(_limits.message(done.refused))})
    if done.carried_out is not None:
        _warn_of(done.carried_out, run.warn)
        if done.carried_out.failed:
            raise Failed({**result, "msg": sentence(not_made(done.carried_out.failed, result["msg"]))})
    unanswered = done.carried_out.unanswered if done.carried_out else ()
    return result, not (result["left"] or done.plan.left_out or unanswered)


def _end(run: _Run) -> dict[str, Any]:
    """End the provisioning: all accounts depart before they are released, or stay as they are."""
    settings, journal = run.settings, run.journal
    if not run.kept.number:
        return _nothing(settings, journal, "there is no provisioning of this name")
    if settings.state == "released":
        result = _nothing(settings, journal, "")
        done_with = True
        released = "%d accounts and groups are released, and stay as they are" % len(journal.links())
        result.update(changed=True, msg=released)
    else:
        result, done_with = _provision(run)
        result["changed"] = True
    if done_with and not run.check_mode:
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
    return set(settings.choice.user_attributes).union(*(link.written.attributes for link in links.values()))


def _result(
    settings: ProvisioningSettings, done: Provisioned, looked: Looked, diff_mode: bool, requests: Requests
) -> dict[str, Any]:
    carried_out = done.carried_out or CarriedOut(tuple(filter(does_something, done.plan.steps)), (), 0, "")
    refused = [each.entry for each in done.refused]
    bounds = Bounds(settings.report_limit, settings.report_bytes, diff_mode)
    failed, left, why = (*carried_out.failed, *carried_out.unanswered), carried_out.left, carried_out.why
    report = make_report(done.plan, carried_out.done, failed, looked, bounds, refused)
    return {
        **report,
        "msg": sentence(in_one_line(done.plan, report["summary"], len(failed), left, why)),
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
    looked = Looked(_NOTHING, journal.links())
    done = Provisioned(Plan(()), "", "", [], None)
    return {**_result(settings, done, looked, False, Requests(0, 0, 0.0)), "msg": msg}


def _warn_of(done: CarriedOut, warn: Callable[[str], None]) -> None:
    if done.unanswered:
        warn(
            "the service gave no answer to %d creations that not_provisioned names: the next run looks for them"
            % len(done.unanswered)
        )
    if done.left:
        warn("the run ended with %d steps left (%s): run it again to go on" % (done.left, done.why))
