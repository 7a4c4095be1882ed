# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must agree within the role: argument specification, defaults, the module's options, requirements, README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="comes with ansible-core")

import generate_argument_specs as generator  # noqa: E402

CHECKOUT = Path(__file__).resolve().parents[2]
ROLE = CHECKOUT / "roles" / "user_synchronization"


def read(path):
    return yaml.safe_load((ROLE / path).read_text(encoding="utf-8"))


OPTIONS = read("meta/argument_specs.yml")["argument_specs"]["main"]["options"]
JOB = OPTIONS["user_synchronization_jobs"]["options"]
WITHOUT_DEFAULT = {"user_synchronization_vault_password"}


def test_the_options_of_a_job_are_those_of_the_module():
    text = generator.SPECIFICATION.read_text(encoding="utf-8")
    assert generator.up_to_date(text) == text, "run: python tests/generate_argument_specs.py"


def test_an_option_that_the_module_gets_would_be_noticed(monkeypatch):
    text = generator.SPECIFICATION.read_text(encoding="utf-8")
    options = generator.role_options()
    monkeypatch.setattr(generator, "role_options", lambda: {**options, "brand_new": {"type": "str"}})
    assert "brand_new:" in generator.up_to_date(text)


def test_every_option_of_the_module_is_there_and_the_password_is_its_only_secret():
    assert {"server", "password", "distinguished_name", "store", "ldap_parameters"} <= set(JOB["options"]["options"])
    assert [name for name, described in JOB["options"]["options"].items() if described.get("no_log")] == ["password"]


def test_the_defaults_are_those_of_the_specification():
    specified = {name: described["default"] for name, described in OPTIONS.items() if "default" in described}
    assert read("defaults/main.yml") == specified
    assert set(OPTIONS) - set(specified) == WITHOUT_DEFAULT


def test_the_defaults_of_a_job_are_those_of_the_specification():
    specified = {name: described["default"] for name, described in JOB.items() if "default" in described}
    # With a default in the specification, Ansible would judge options that nobody gave.
    assert read("vars/main.yml")["__user_synchronization_job_defaults"] == {**specified, "options": {}}
    assert set(JOB) - set(specified) == {"name", "vault_file", "options"}


def test_secrets_are_marked():
    secret = [name for name, described in OPTIONS.items() if described.get("no_log")]
    assert secret == ["user_synchronization_vault_password"]


def test_the_python_packages_are_those_of_the_collection():
    text = (CHECKOUT / "requirements.txt").read_text(encoding="utf-8")
    always = re.findall(r"^([a-z0-9]+>=.*)$", text, re.MULTILINE)
    sometimes = re.findall(r"^# ([a-z0-9]+>=.*)$", text, re.MULTILINE)
    constants = read("vars/main.yml")
    requires = yaml.safe_load((CHECKOUT / "meta" / "runtime.yml").read_text(encoding="utf-8"))["requires_ansible"]
    assert read("defaults/main.yml")["user_synchronization_python_packages"] == ["ansible-core" + requires, *always]
    assert sometimes == [
        *constants["__user_synchronization_kerberos_python_packages"],
        *constants["__user_synchronization_dns_python_packages"],
    ]


def test_every_distribution_says_the_same_things():
    said = {path.name: set(read(path)) for path in (ROLE / "vars").glob("*.yml") if path.name != "main.yml"}
    assert set(said) == {"Debian.yml", "RedHat.yml", "RedHat-9.yml", "Ubuntu-22.yml", "unknown.yml"}
    assert len({frozenset(names) for names in said.values()}) == 1


def test_the_readme_tells_of_every_variable():
    text = (ROLE / "README.md").read_text(encoding="utf-8")
    assert [name for name in OPTIONS if f"`{name}`" not in text] == []
    assert [name for name in JOB if f"`{name}`" not in text] == []


@pytest.mark.parametrize("path", sorted((ROLE / "templates").glob("*")), ids=lambda path: path.name)
def test_templates_say_who_wrote_the_file(path):
    if "json" not in path.name:
        assert "{{ ansible_managed | comment }}" in path.read_text(encoding="utf-8")


def test_a_task_with_a_secret_hides_it_and_leaves_no_file_with_its_arguments():
    """Without pipelining Ansible puts the arguments of a module into a temporary file on the host."""
    secretive = []
    for path in sorted((ROLE / "tasks").glob("*.yml")):
        for task in tasks_in(read(path)):
            if "stdin" in task.get("ansible.builtin.command", {}):
                secretive.append(task["name"])
                assert task["no_log"] == "{{ user_synchronization_secure_logging }}", task["name"]
                assert task["vars"]["ansible_pipelining"] is True, task["name"]
    assert len(secretive) == 2


def tasks_in(tasks):
    for task in tasks:
        yield task
        for section in ("block", "rescue", "always"):
            yield from tasks_in(task.get(section, []))


@pytest.mark.parametrize("page", [ROLE / "README.md", CHECKOUT / "docs" / "scheduling.md"], ids=lambda page: page.name)
def test_the_plays_for_readers_are_what_the_role_takes(page):
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for play in [each for block in blocks for each in yaml.safe_load(block)]:
        assert play["become"] is True
        assert set(play.get("vars", {})) <= set(OPTIONS)
        for job in play.get("vars", {}).get("user_synchronization_jobs", []):
            assert set(job) <= set(JOB)
            assert set(job["options"]) <= set(JOB["options"]["options"])
            assert job["options"].get("password", "{{ vault_").startswith("{{ vault_")
