# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other clients that read what the collection reads, page by page, and keep nothing.

    python readers.py python_ldap | ldap3 JOB

JOB is a JSON file with url, ca, login, password and requests, as `collection.py requests` prints them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def python_ldap(job: dict) -> int:
    import ldap
    from ldap.controls import SimplePagedResultsControl

    connection = ldap.initialize(job["url"])
    if job["ca"]:
        connection.set_option(ldap.OPT_X_TLS_CACERTFILE, job["ca"])
        connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
    connection.simple_bind_s(job["login"], job["password"])
    count = 0
    for request in job["requests"]:
        control = SimplePagedResultsControl(True, size=request["page_size"], cookie="")
        while True:
            number = connection.search_ext(
                request["base"], ldap.SCOPE_SUBTREE, request["filter"], request["attributes"], serverctrls=[control]
            )
            _kind, entries, _number, controls = connection.result3(number)
            count += sum(1 for dn, _attributes in entries if dn)
            cookies = [each.cookie for each in controls if each.controlType == SimplePagedResultsControl.controlType]
            if not cookies[0]:
                break
            control.cookie = cookies[0]
    return count


def ldap3(job: dict) -> int:
    import ssl

    import ldap3

    tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=job["ca"]) if job["ca"] else None
    server = ldap3.Server(job["url"], get_info=ldap3.NONE, tls=tls)
    connection = ldap3.Connection(
        server, job["login"], job["password"], check_names=False, auto_bind=True, auto_referrals=False
    )
    count = 0
    for request in job["requests"]:
        for entry in connection.extend.standard.paged_search(
            request["base"],
            request["filter"],
            attributes=request["attributes"],
            paged_size=request["page_size"],
            generator=True,
        ):
            count += entry["type"] == "searchResEntry"
    return count


def main(name: str, job_file: str) -> None:
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    count = {"python_ldap": python_ldap, "ldap3": ldap3}[name](job)
    expected = sum(request["entries"] for request in job["requests"])
    if count != expected:
        sys.exit(f"{name} read {count} entries, expected {expected}")


if __name__ == "__main__":
    main(*sys.argv[1:])
