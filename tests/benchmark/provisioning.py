# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure a provisioning of many users and groups to a SCIM service on loopback, run by run.

``provisioning.py --users 100000 --groups 5000 [--store DIRECTORY]`` prints a line for each run: requests, seconds,
the seconds of a core that the run took by itself and that of the service, and its peak memory. The service is a process
of its own, with all that it has in memory, and says nothing wrong. Each run is a process of its own, too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import conftest  # noqa: F401 # pylint: disable=unused-import
from ansible_collections.usersync.directory.plugins.module_utils._options import (
    PROVISIONING,
    SCIM,
    STORE,
    module_arguments,
)
from ansible_collections.usersync.directory.plugins.module_utils._provisioning_settings import (
    provisioning_settings,
)
from ansible_collections.usersync.directory.plugins.module_utils._scim_provisioning import (
    provision_to_scim,
)
from support.company import Company

TOKEN = "benchmark-scim-token"
PAGE = 200  # resources, as many services have it


# --- the service -----------------------------------------------------------------------------------------------------


class Service(BaseHTTPRequestHandler):
    """Users and groups by their ids. It looks up nothing: a run that needs filters is not what is measured."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    kinds: dict[str, dict[str, Any]] = {"Users": {}, "Groups": {}}
    order: dict[str, list[str]] = {"Users": [], "Groups": []}

    def _serve(self) -> None:
        url = urlsplit(self.path)
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind, _slash, number = url.path.strip("/").partition("/")
        status, body = self._answer(kind, number, dict(parse_qsl(url.query)), json.loads(text) if text else {})
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = _serve

    def _answer(self, kind: str, number: str, query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        there = self.kinds.get(kind)
        if kind == "ServiceProviderConfig":
            return 200, {"patch": {"supported": True}, "filter": {"supported": True, "maxResults": PAGE}}
        if there is None:
            return 404, {}
        if self.command == "POST":
            number = "%s-%d" % (kind, len(there))
            there[number] = {**body, "id": number}
            self.order[kind].append(number)
            return 201, there[number]
        if self.command == "PATCH":
            for operation in body["Operations"]:
                _patch(there[number], operation)
            return 204, None
        if number:
            return 200, _shown(there[number])
        start, count = int(query.get("startIndex", 1)), min(int(query.get("count", PAGE)), PAGE)
        page = [_shown(there[each]) for each in self.order[kind][start - 1 : start - 1 + count]]
        return 200, {"totalResults": len(there), "startIndex": start, "Resources": page}

    def log_message(self, *_arguments: object) -> None:
        pass


def _patch(resource: dict[str, Any], operation: dict[str, Any]) -> None:
    path = operation["path"]
    if path.startswith("members"):
        members = resource.setdefault("members", {})
        if operation["op"] == "add":
            members.update((each["value"], None) for each in operation["value"])
        else:
            members.pop(path.split('"')[1])
    else:
        resource[path] = operation["value"]


def _shown(resource: dict[str, Any]) -> dict[str, Any]:
    members = resource.get("members")
    return resource if members is None else {**resource, "members": [{"value": each} for each in members]}


def _serve(ready: Any) -> None:
    server = HTTPServer(("127.0.0.1", 0), Service)
    ready.send(server.server_port)
    server.serve_forever()


@contextlib.contextmanager
def serving() -> Iterator[tuple[str, int]]:
    """Yield the address of a service, and the id of its process."""
    receives, sends = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=_serve, args=(sends,), daemon=True)
    process.start()
    try:
        yield "http://127.0.0.1:%d" % receives.recv(), process.pid or 0
    finally:
        process.terminate()
        process.join()


# --- the runs --------------------------------------------------------------------------------------------------------


def people_of(users: int, groups: int) -> dict[str, list[str]]:
    """Each user is in three groups; the first one also has a tenth of all users."""
    found: dict[str, list[str]] = {"g%05d" % number: [] for number in range(groups)}
    for number in range(users):
        for one in range(3):
            found["g%05d" % ((number * 7 + one * 13) % groups)].append("u%06d" % number)
    found["g00000"] = sorted({*found["g00000"], *("u%06d" % number for number in range(0, users, 10))})
    return {group: sorted(set(names)) for group, names in found.items()}


def measured(work: Callable[[], dict[str, Any]], service: int) -> dict[str, Any]:
    """Do it in a process of its own, which has nothing of this one's memory, and return what it took."""
    receives, sends = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_measure, args=(work, sends))
    before, began = _cpu(service), time.monotonic()
    process.start()
    result: dict[str, Any] = receives.recv()
    process.join()
    return {"seconds": time.monotonic() - began, "service": _cpu(service) - before, **result}


def _measure(work: Callable[[], dict[str, Any]], sends: Any) -> None:
    result = work()
    used = resource.getrusage(resource.RUSAGE_SELF)
    sends.send({**result, "cpu": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss / 1024})


def _cpu(process: int) -> float:
    fields = Path("/proc/%d/stat" % process).read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def provision(store: Path, url: str, groups: list[str], **more: Any) -> dict[str, Any]:
    specification = module_arguments(PROVISIONING, SCIM, STORE)["argument_spec"]
    given = {option: described.get("default") for option, described in specification.items()}
    given.update(name="p", user_groups=groups, url=url, token=TOKEN, store=str(store), removal_limits="100%", **more)
    result = provision_to_scim(provisioning_settings(given), False, False, lambda _text: None)
    return {"requests": result["requests"]["count"], "msg": result["msg"][:90]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--groups", type=int, default=50)
    parser.add_argument("--store", help="a directory for the store, so that it lies on the disk that is meant")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.store) as directory, serving() as (url, service):
        company = Company(Path(directory) / "users.db")
        groups = people_of(arguments.users, arguments.groups)
        company.becomes(groups)
        paths = ["All/Company/" + each for each in groups]

        def show(what: str, comes_to: str, **more: Any) -> None:
            took = measured(partial(provision, company.store, url, paths, **more), service)
            print(
                "%-34s %7d requests %8.1f s %8.1f s of a core, %6.1f of the service's, %5.0f MB  %s"
                % (what, *(took[each] for each in ("requests", "seconds", "cpu", "service", "memory", "msg"))),
                flush=True,
            )
            assert took["msg"].startswith(comes_to), took["msg"]

        show("the first run", "accounts: %d created" % arguments.users)
        show("nothing to do", "nothing to do")
        show("nothing to do, and no lists", "nothing to do", service_parameters={"lists": [], "members": "never"})
        left = groups["g00000"][:1]
        groups["g00000"] = groups["g00000"][1:]
        company.becomes(groups, {left[0]: {}})
        show("one of %d leaves a group" % (len(groups["g00000"]) + 1), "memberships: 1 removed")
        groups["g00000"] = sorted([*groups["g00000"], *left])
        company.becomes(groups)
        show("one joins a group of %d" % (len(groups["g00000"]) - 1), "memberships: 1 added")


if __name__ == "__main__":
    main()
