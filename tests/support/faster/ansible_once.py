# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible does once for the scenarios of the role, and not once for each task.

Ansible forks for each task. Each fork loads all filters and tests, and compiles all templates that the task uses,
such as those of the inventory: that is half of its time. And each playbook packs anew what it sends to hosts.

- Filters and tests are loaded before the first fork.
- What Jinja compiles of templates is kept while a scenario lasts, by the template and the settings of its environment.
  Jinja calls a filter or a test when it compiles, if it is given constants: ``'/path' is exists``. Such a template is
  compiled anew each time.
- What is packed of modules is kept for the next playbook, by the name of the module: its source must stay as it is.

From 2.19 on, where templates are another matter, Ansible is left alone.
"""

from __future__ import annotations

import hashlib
import marshal
import os
from pathlib import Path
from types import CodeType
from typing import Any

from ansible import constants
from ansible.plugins import loader
from ansible.release import __version__
from jinja2 import Environment, nodes

# What the code of a template depends on beside its source.
SETTINGS = (
    "block_start_string",
    "block_end_string",
    "variable_start_string",
    "variable_end_string",
    "comment_start_string",
    "comment_end_string",
    "line_statement_prefix",
    "line_comment_prefix",
    "trim_blocks",
    "lstrip_blocks",
    "newline_sequence",
    "keep_trailing_newline",
    "optimized",
    "sandboxed",
    "is_async",
    "autoescape",
)
LEFT_ALONE = __version__.split(".")[:2] >= ["2", "19"]
_compile = Environment.compile


def prepare(directory: str) -> None:
    """Load and keep all this, in this directory. No two playbooks may use it at the same time."""
    if LEFT_ALONE or Environment.compile is not _compile:
        return
    packed, compiled = Path(directory, "packed"), Path(directory, "compiled")
    for place in (packed, compiled):
        place.mkdir(parents=True, exist_ok=True)
    os.symlink(packed, os.path.join(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache"))
    for plugins, any_one in ((loader.filter_loader, "default"), (loader.test_loader, "search")):
        plugins.get(any_one)  # loads all
    Environment.compile = keeping(compiled)


def keeping(directory: Path) -> Any:
    """What Jinja is to do to compile a template: look for what any process has kept there, else compile and keep it."""
    known: dict[tuple[str, ...], CodeType] = {}

    def compile_once(environment: Environment, source: Any, *arguments: Any, **others: Any) -> Any:
        if arguments or others or not isinstance(source, str):
            return _compile(environment, source, *arguments, **others)
        settings = [str(getattr(environment, name)) for name in SETTINGS]
        kind = f"{type(environment).__module__}.{type(environment).__qualname__}"
        key = (str.__str__(source), kind, str(environment.finalize), *environment.extensions, *settings)
        if key not in known:
            path = directory / hashlib.sha256(repr(key).encode("utf-8", "surrogatepass")).hexdigest()
            code = _kept(path)
            if code is None:
                code = _compile(environment, source)
                if computes(environment, source):
                    return code
                _keep(path, code)
            known[key] = code
        return known[key]

    return compile_once


def computes(environment: Environment, source: str) -> bool:
    """Whether the code of a template has the result of a filter or a test in it."""
    for node in environment.parse(source).find_all((nodes.Filter, nodes.Test)):
        try:
            node.as_const(nodes.EvalContext(environment))
        except nodes.Impossible:
            continue
        return True
    return False


def _kept(path: Path) -> CodeType | None:
    try:
        with open(path, "rb") as file:
            return marshal.load(file)
    except FileNotFoundError:
        return None


def _keep(path: Path, code: CodeType) -> None:
    new = path.with_name(f"{path.name}.{os.getpid()}")
    with open(new, "wb") as file:
        marshal.dump(code, file)
    new.rename(path)
