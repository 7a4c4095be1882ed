# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless Chromium that opens local pages, by the WebDriver protocol (W3C) that its chromedriver speaks."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from .process import ClosedAtExit, Server, find_program, free_port

PACKAGES = "chromium chromium-driver fonts-dejavu-core"
# It has no sandbox as root, and is to ask nobody anything.
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Browser(ClosedAtExit):
    """One browser, as a context manager. `width` in CSS pixels makes it a phone."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="browser-"))
        self._server: Server | None = None
        self._session = ""
        self._url = f"http://127.0.0.1:{free_port()}"

    def start(self) -> None:
        program = find_program("chromium", PACKAGES)
        port = self._url.rpartition(":")[2]
        self._server = Server([find_program("chromedriver", PACKAGES), f"--port={port}"], self.directory / "log")
        self._server.wait_until(self._answers, 30)
        options = {"binary": program, "args": [*_ARGUMENTS, f"--user-data-dir={self.directory / 'profile'}"]}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        self._session = self._call("session", wanted)["sessionId"]

    def close(self) -> None:
        if self._session:
            self._call(f"session/{self._session}", method="DELETE")
        if self._server:
            self._server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def open(self, page: Path | str, *, width: int, dark: bool = False) -> None:
        """Open a page, a local file or a URL, in a window that wide (CSS pixels), in light or dark colours."""
        self.resize(width)
        self._devtools(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )
        self._call(f"session/{self._session}/url", {"url": page if isinstance(page, str) else page.as_uri()})

    def resize(self, width: int) -> None:
        """Make the window that wide (CSS pixels), with the page that is open in it."""
        self._devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )

    def run(self, script: str) -> Any:
        """What a script returns that is run in the page."""
        return self._call(f"session/{self._session}/execute/sync", {"script": script, "args": []})

    def picture(self, path: Path) -> None:
        """Write the whole page to a PNG file."""
        shot = self._devtools("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _devtools(self, command: str, **parameters: Any) -> Any:
        return self._call(f"session/{self._session}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _answers(self) -> bool:
        try:
            return bool(self._call("status")["ready"])
        except OSError:
            return False

    def _call(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self._url}/{path}", data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return json.load(answer)["value"]
