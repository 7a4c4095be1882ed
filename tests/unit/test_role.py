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

pytestmark = pytest.mark.versions

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


def test_every_option_of_the_module_is_there_and_its_secrets_are_those_that_the_vault_keeps():
    options = JOB["options"]["options"]
    assert {"server", "password", "distinguished_name", "store", "ldap_parameters"} <= set(options)
    secret = [name for name, described in options.items() if described.get("no_log")]
    assert secret == read("vars/main.yml")["__user_synchronization_secret_options"]["synchronization"]


def test_every_option_of_a_provisioning_is_there_but_the_store_which_is_that_of_the_job():
    options = JOB["provisioning"]["options"]
    assert {"name", "url", "user_groups", "removal_limits", "service_parameters", "vault_variable"} <= set(options)
    assert not {"store", "store_password"} & set(options)
    secret = [name for name, described in options.items() if described.get("no_log")]
    assert secret == read("vars/main.yml")["__user_synchronization_secret_options"]["provisioning"]


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
    sometimes = re.findall(r"^# ([a-z0-9\[\]]+>=.*)$", text, re.MULTILINE)
    constants = read("vars/main.yml")
    requires = yaml.safe_load((CHECKOUT / "meta" / "runtime.yml").read_text(encoding="utf-8"))["requires_ansible"]
    assert read("defaults/main.yml")["user_synchronization_python_packages"] == ["ansible-core" + requires, *always]
    assert sometimes == [
        *constants["__user_synchronization_kerberos_python_packages"],
        *constants["__user_synchronization_dns_python_packages"],
        *constants["__user_synchronization_postgresql_python_packages"],
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
            given = task.get("ansible.builtin.command", {}).get("stdin", "")
            if given and "'places.py'" not in given and "__user_synchronization_wanted" not in given:
                secretive.append(task["name"])
                assert task["no_log"] == "{{ user_synchronization_secure_logging }}", task["name"]
                assert task["vars"]["ansible_pipelining"] is True, task["name"]
    assert len(secretive) == 2


def test_what_a_task_registers_has_a_name_of_its_own():
    """What is registered stands before variables of the role, for the rest of the play."""
    registered = [
        task["register"]
        for path in sorted((ROLE / "tasks").glob("*.yml"))
        for task in tasks_in(read(path))
        if "register" in task
    ]
    given = {name for path in (ROLE / "vars").glob("*.yml") for name in read(path)} | {*OPTIONS}
    assert registered and [name for name in registered if name in given] == []
    assert [name for name in registered if not name.startswith("__user_synchronization_")] == []


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


# --- Names


PATTERNS = read("vars/main.yml")["__user_synchronization_patterns"]
GOOD_NAMES = {
    "job": ["staff", "clinic_2", "0-a", "s" * 64],
    "user": ["user_synchronization", "_sync", "Sync.2"],
    "directory": ["/srv", "/srv/données/x/", "/var/lib/user_synchronization", "/a.b/c..d/~e@f+g:h,i=j"],
    "file": ["/srv/users.db", "/srv/..users.db"],
    "database": ["postgresql://", "postgres://sync@db.example.org:5432/directory?schema=staff", "POSTGRESQL:///x"],
    "variable": ["vault_password", "_x2"],
    "version": ["0.2.0", "1.0.0-rc.1"],
    "word": ["controller", "0.2.0", "https://example.org/x.tar.gz", "git+https://example.org/x,main"],
}
BAD_NAMES = {
    "job": ["", "Staff", "staff/../x", "-staff", ".staff", "staff.x", "sta ff", "ſtaff", "s" * 65, "staff%i"],
    "user": ["", "root", "-sync", "2sync", "sync$", "sync:x", "sy nc", "sync/x", "s" * 33],
    "directory": [
        "",
        "srv",
        "/srv/../etc",
        "/..",
        "/srv/.",
        "/srv x",
        "/srv%i",
        '/srv"',
        "/srv'",
        "/srv$x",
        "/srv;x",
        "//srv",
    ],
    "file": ["", "/", "/srv/", "/srv/../users.db", "users.db", "/srv/users.db\\"],
    "database": ["", "postgresql:/x", "/srv/postgresql://x", "mysql://x", "postgresql://x/a b", "postgresql://x/ä"],
    "variable": ["", "a-b", "2a", "a b", "a }}{{ b", "none", "ansible_host", "user_synchronization_secrets"],
    "version": ["0.2", "v0.2.0", "0.2.0 x", "0.2.0/x"],
    "word": ["", "--force", "a b"],
}


def fits(text, pattern):
    """As the test `match` of Ansible does, for which an end of a line is an end."""
    return re.match(pattern, text) is not None


@pytest.mark.parametrize("kind", PATTERNS)
def test_a_name_becomes_a_part_of_a_path_or_a_unit_only_if_it_is_one(kind):
    assert [name for name in GOOD_NAMES[kind] if not fits(name, PATTERNS[kind])] == []
    for end in ("\n", "\n\n", "\x1b", "\x9b", "\u202e", "\u2028", "\0", "\t", " "):
        hostile = BAD_NAMES[kind] + [name[:20] + end for name in GOOD_NAMES[kind]]
        assert [name for name in hostile if fits(name, PATTERNS[kind])] == []


def test_every_pattern_of_the_role_goes_to_the_end():
    """`$` lets a line break follow: a job whose name ended in one got a table that cron ignores."""
    assert set(PATTERNS) == set(GOOD_NAMES) == set(BAD_NAMES)
    for path in [*(ROLE / "tasks").glob("*.yml"), ROLE / "vars" / "main.yml"]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"""(match|search|regex)\w*'?[(,] *['"][^'"]*\$['"]""", text), path.name
    for path in [*(ROLE / "files").glob("*.py"), *(CHECKOUT / "plugins" / "plugin_utils").glob("*.py")]:
        calls = re.findall(r"""re\.(?:match|search|compile)\((.*)""", path.read_text(encoding="utf-8"))
        assert [call for call in calls if re.search(r"""\$["']""", call) and "MULTILINE" not in call] == [], path.name


# --- Directories that the service user writes


WRITTEN = (
    "user_synchronization_state_directory",
    "user_synchronization_log_directory",
    "user_synchronization_metrics_directory",
)


def test_no_task_of_root_works_where_the_service_user_writes():
    """But by files/places.py, which says how that is safe."""
    for path in sorted((ROLE / "tasks").glob("*.yml")):
        for task in tasks_in(read(path)):
            if "ansible.builtin.include_tasks" in task or "ansible.builtin.assert" in task:
                continue
            text = str({key: value for key, value in task.items() if key.startswith("ansible.builtin.")})
            named = [name for name in (*WRITTEN, "options.store") if name in text]
            # The user's home is only written down, not made.
            assert not named or (
                "ansible.builtin.user" in task and task["ansible.builtin.user"]["create_home"] is False
            ), task


def test_a_job_of_any_name_has_room_for_the_sockets_of_ansible():
    """Python's multiprocessing makes them in TMPDIR: unix(7) has 107 characters for a path."""
    core = pytest.importorskip("ansible.plugins.filter.core", reason="comes with ansible-core")
    environment = pytest.importorskip("jinja2").Environment()
    environment.filters["hash"] = core.get_hash
    name = environment.from_string(read("vars/main.yml")["__user_synchronization_runtime"])
    directory = "/run/" + name.render(__user_synchronization_name="s" * 64)
    assert len(directory + "/pymp-12345678/listener-12345678") <= 107


LACKING = "python3-apt must be installed to use check mode. If run normally this module can auto-install it."


@pytest.mark.parametrize(
    ("check_mode", "result", "fails"),
    [
        (True, {"failed": True, "msg": LACKING}, False),
        (False, {"failed": True, "msg": LACKING}, True),
        (True, {"failed": True, "msg": "No package matching 'python3-venv' is available"}, True),
        (True, {"failed": False}, False),
    ],
    ids=["a bare host, dry", "a bare host", "dry, with another error", "all is well"],
)
def test_a_dry_run_goes_on_on_a_host_that_ansible_cannot_ask_for_packages_yet(check_mode, result, fails):
    core = pytest.importorskip("ansible.plugins.test.core", reason="comes with ansible-core")
    environment = pytest.importorskip("jinja2").Environment()
    environment.tests.update(failed=core.failed)
    task = next(task for task in read("tasks/install.yml") if "ansible.builtin.apt" in task)
    facts = {"ansible_check_mode": check_mode, task["register"]: result}
    assert all(environment.compile_expression(condition)(**facts) for condition in task["failed_when"]) == fails


def test_a_service_leaves_no_core_dump():
    assert "\nLimitCORE=0\n" in (ROLE / "templates" / "job.service.j2").read_text(encoding="utf-8")


def test_the_end_of_a_job_takes_nothing_from_others_of_the_same_user():
    """With RemoveIPC, Ansible came upon a semaphore that was gone in the moment in which it was made."""
    assert "\nRemoveIPC=" not in (ROLE / "templates" / "job.service.j2").read_text(encoding="utf-8")
