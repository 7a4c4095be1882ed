# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PyPI's scim2-server: a SCIM service that nobody here wrote, strict about RFC 7643 and RFC 7644."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .process import free_port

TOKEN = "scim2-s3rver-token"


@contextlib.contextmanager
def scim2_server(directory: Path, *arguments: str) -> Iterator[str]:
    """Yield its address."""
    program = Path(sys.executable).with_name("scim2-server")
    if not program.exists():
        pytest.skip("scim2-server is not installed: tests/requirements-functional.txt")
    port = free_port()
    with (
        open(directory / "log", "wb") as log,
        subprocess.Popen(
            [str(program), "--port", str(port), "--bearer-token", TOKEN, *arguments], stdout=log, stderr=log
        ) as process,
    ):
        try:
            url = "http://127.0.0.1:%d" % port
            while ask(url, "/ServiceProviderConfig") is None:
                assert process.poll() is None, (directory / "log").read_text()
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()


def ask(url: str, path: str, method: str = "GET", body: Any = None, token: str = TOKEN) -> Any:
    """Ask without our client. None if there is no answer, or it is an error."""
    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/scim+json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"{}")
    except OSError:
        return None
