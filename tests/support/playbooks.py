# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks, by forks of one ansible-playbook: see `support.forks`.

Ansible reads its settings when it is loaded, so they are the same for all runs of one process. Only its temporary
directories are those of each run. What Ansible makes of a module and of all that it imports, to send it to a host, is
kept for the next run: that is a third of the time of a short playbook. The list of what became of plugins of old is
read once: that is a tenth of a second.
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .forks import Forks, serve


def playbooks(env: Mapping[str, str]) -> Forks:
    """The process that runs playbooks with this environment."""
    return Forks("from support import playbooks; playbooks.load()", env=env, at_most=600)


# --- in the process that forks


def load() -> None:
    """Load what ansible-playbook loads, and serve."""
    import ansible.cli.playbook
    import ansible.executor.playbook_executor
    import ansible.executor.task_executor
    import ansible.plugins.strategy.linear
    from ansible.utils.collection_loader import _collection_finder

    became = Path(ansible.__file__).parent / "config" / "ansible_builtin_runtime.yml"
    _collection_finder._meta_yml_to_dict = functools.cache(_collection_finder._meta_yml_to_dict)
    _collection_finder._meta_yml_to_dict(became.read_bytes(), ("ansible.builtin", "runtime.yml"))
    with tempfile.TemporaryDirectory(prefix="to-send-") as to_send:
        serve(functools.partial(_run, to_send))


def _run(to_send: str, arguments: list[str], env: dict[str, str], directory: str, output: str) -> Any:
    import ansible.constants
    from ansible.cli.playbook import main

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor in (1, 2):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), descriptor)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(env)
    os.makedirs(env["ANSIBLE_LOCAL_TEMP"], exist_ok=True)
    temporary = tempfile.mkdtemp(prefix="ansible-", dir=env["ANSIBLE_LOCAL_TEMP"])
    os.symlink(to_send, os.path.join(temporary, "ansiballz_cache"))
    ansible.constants.DEFAULT_LOCAL_TMP = temporary
    sys.argv = ["ansible-playbook", *arguments]
    return main()
