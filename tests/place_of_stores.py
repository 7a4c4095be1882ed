# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plugin of pytest: where the stores of tests are, in files or in a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

_MARK = "any_store"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--store",
        choices=["sqlite", "postgresql"],
        default="sqlite",
        help="where the stores of tests are that are about any store (default: %(default)s)",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Load no file that has none of the tests that are asked for: most have none."""
    if config.getoption("markexpr") != _MARK or collection_path.suffix != ".py":
        return None
    return _MARK not in collection_path.read_text(encoding="utf-8") or None


@pytest.fixture(scope="session", autouse=True)
def _place_of_stores(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have the stores of tests in a server, if that is asked for."""
    if request.config.getoption("--store") == "sqlite":
        yield
        return
    from support import stores
    from support.postgresql import PostgreSQL

    with PostgreSQL() as server:
        stores.use(server)
        yield
        stores.leave()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    yield
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    if folder and item.config.getoption("--store") != "sqlite":
        from support import stores

        stores.forget(folder)
