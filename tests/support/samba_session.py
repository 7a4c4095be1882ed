# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that changes a domain of Samba with the rights of the system, for as long as its standard input is open.

It does what ldbmodify and "samba-tool dsacl get" do, with what these are made of; but they take longer to start than to
do it. The system's Python runs it: that one has Samba's bindings. It is given the URL of the server and its smb.conf.
A request is a line of JSON, ``[name of a function, its argument]``; so is the answer, ``[result, what went wrong]``.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import ldb
from samba.dcerpc import security
from samba.ndr import ndr_unpack
from samba.param import LoadParm
from samba.samdb import SamDB

_MODRDN = 4  # enum ldb_changetype; the bindings know it, and have no name for it
_IDLE = 300  # seconds; Samba closes a connection that was idle for 900 (MaxConnIdleTime)


def modify(domain: Any, ldif: str) -> None:
    """Change the directory, record by record until one is refused; a record without changetype is added."""
    for change, message in domain.parse_ldif(ldif.strip("\n")):
        if change == ldb.CHANGETYPE_DELETE:
            domain.delete(message.dn)
        elif change == ldb.CHANGETYPE_MODIFY:
            domain.modify(message)
        elif change == _MODRDN:
            if message.get("deleteoldrdn", idx=0) != b"1":
                raise ValueError("modrdn: only with deleteoldrdn: 1")
            above = message.get("newsuperior", idx=0)
            new = ldb.Dn(domain, message.get("newrdn", idx=0).decode())
            new.add_base(ldb.Dn(domain, above.decode()) if above else message.dn.parent())
            domain.rename(message.dn, new)
        else:
            domain.add(message)


def rights(domain: Any, dn: str) -> str:
    """The security descriptor of an entry, as SDDL."""
    (entry,) = domain.search(dn, ldb.SCOPE_BASE, attrs=["nTSecurityDescriptor"])
    descriptor = ndr_unpack(security.descriptor, entry["nTSecurityDescriptor"][0])
    return descriptor.as_sddl(security.dom_sid(domain.get_domain_sid()))


def _serve(url: str, smb_conf: str) -> None:
    settings = LoadParm()
    settings.load(smb_conf)
    domain, used = None, 0.0
    for line in sys.stdin:
        name, argument = json.loads(line)
        result, wrong = None, ""
        try:
            if domain is None or time.monotonic() - used > _IDLE:
                domain = SamDB(url, lp=settings)
                domain.set_domain_sid(domain.get_domain_sid())  # SDDL names what belongs to the domain
            result = {"modify": modify, "rights": rights}[name](domain, argument)
        except ValueError as error:
            wrong = str(error)
        except ldb.LdbError as error:
            domain, wrong = None, str(error)  # the connection may be what is wrong
        used = time.monotonic()
        print(json.dumps([result, wrong]), flush=True)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
