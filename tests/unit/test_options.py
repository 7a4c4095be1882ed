# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options as the code knows them are the options as the documentation tells them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _changes, _model
from ansible_collections.usersync.directory.plugins.module_utils._destination.scim.services import (
    SERVICES,
    Members,
    Paging,
    Service,
)
from ansible_collections.usersync.directory.plugins.module_utils._directory import presets
from ansible_collections.usersync.directory.plugins.module_utils._options import (
    BROWSING,
    CHANGES,
    CONNECTION,
    LOOKING_UP,
    PROVISIONING,
    REPORTING,
    SCIM,
    STORE,
    SYNCHRONIZATION,
    USER,
    module_arguments,
)
from ansible_collections.usersync.directory.plugins.module_utils._report.cut import Bounds
from ansible_collections.usersync.directory.plugins.module_utils._report.make import Looked, make_report

yaml = pytest.importorskip("yaml", reason="comes with ansible-core")

pytestmark = pytest.mark.versions

CHECKOUT = Path(__file__).resolve().parents[2]
MODULE = CHECKOUT / "plugins" / "modules" / "user_synchronization.py"
PLUGINS = [path for kind in ("modules", "lookup", "filter") for path in (CHECKOUT / "plugins" / kind).glob("*.py")]
FRAGMENTS = CHECKOUT / "plugins" / "doc_fragments"
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]

# What a person can write in a task, in the order of the documentation. A name that disappears breaks somebody's task.
OWN_OPTIONS = [
    "name",
    "state",
    "user_group",
    "create_user_group",
    "user_collision",
    "user_extinction",
    "user_extinction_grace_days",
    "user_group_extinction",
    "name_reuse_days",
    "distinguished_name",
    "exclude_distinguished_name",
    "outside_members",
    "scope_change",
    "user_filter",
    "group_filter",
    "group_structure",
    "group_types",
    "ignore_disabled_users",
    "user_attributes",
    "group_attributes",
    "removal_limits",
    "allow_empty",
    "required_entries",
    "approved_plan",
    "approved_removals",
    "fail_on",
    "read_mode",
    "full_every",
    "create_store",
    "history_days",
    "store_backups",
    "store_timeout",
    "report_limit",
    "report_bytes",
]
CONNECTION_OPTIONS = [
    "server",
    "tls_server_name",
    "login",
    "password",
    "keytab",
    "normalize_login",
    "authentication",
    "encryption",
    "validate_certs",
    "ca_path",
    "client_cert",
    "client_key",
    "timeout",
    "page_size",
    "use_ldap",
    "ldap_parameters",
]
RESULTS = [
    "msg",
    "dry_run",
    "began",
    "changed_groups",
    "affected_groups",
    "unchanged_groups",
    "users",
    "summary",
    "collisions",
    "unresolved_members",
    "not_stored",
    "held",
    "refused",
    "plan_digest",
    "removals_digest",
    "read",
    "settings",
    "report_left_out",
    "report_truncated",
    "diff",
]


def with_choices(specification, path=()):
    """The options that may be left out, and have choices: as paths of names."""
    for option, described in specification.items():
        yield from with_choices(described.get("options", {}), (*path, option))
        if "choices" in described and described["type"] == "str" and "default" not in described:
            yield (*path, option), described["choices"][0]


def judged(specification, path, value):
    """What Ansible says of a task that gives this option so; nothing where it is right."""
    given = {path[-1]: value}
    for option in reversed(path[:-1]):
        given = {option: given}
    required = {"name": "x", "user_group": "All"}
    needed = {option: required.get(option, "x") for option in specification if specification[option].get("required")}
    return validator(specification).validate({**needed, **given}).error_messages


def validator(specification):
    return pytest.importorskip("ansible.module_utils.common.arg_spec").ArgumentSpecValidator(specification)


@pytest.mark.parametrize("family", [CONNECTION, STORE, SYNCHRONIZATION, BROWSING, LOOKING_UP, USER])
def test_null_leaves_out_what_has_choices_and_no_default(family):
    """`preset: null` in a job's defaults stands for "not given", and another choice is still refused."""
    specification = family["argument_spec"]
    for path, choice in with_choices(specification):
        assert judged(specification, path, None) == judged(specification, path, choice) == []
        assert "value of %s must be one of" % path[-1] in judged(specification, path, "another")[0]
    if family is CONNECTION:
        assert ("ldap_parameters", "preset") in dict(with_choices(specification))


def test_null_leaves_it_out_in_a_job_of_the_role_as_well():
    specs = yaml.safe_load(
        (CHECKOUT / "roles/user_synchronization/meta/argument_specs.yml").read_text(encoding="utf-8")
    )
    jobs = specs["argument_specs"]["main"]["options"]["user_synchronization_jobs"]["options"]["options"]["options"]
    for path, choice in with_choices({"ldap_parameters": jobs["ldap_parameters"]}):
        specification = {"ldap_parameters": jobs["ldap_parameters"]}
        assert judged(specification, path, None) == judged(specification, path, choice) == []
        assert "value of %s must be one of" % path[-1] in judged(specification, path, "another")[0]


def yaml_in(path: Path, variable: str):
    """The YAML in a string constant of a Python file, read without importing it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [variable]:
            return yaml.safe_load(ast.literal_eval(node.value))
    raise AssertionError("%s has no %s" % (path, variable))


def specified(specification):
    """What of an argument specification a reader of the documentation sees."""
    return {
        option: {
            "type": described["type"],
            "elements": described.get("elements"),
            "required": described.get("required", False),
            "default": described.get("default"),
            "choices": described.get("choices"),
            "options": specified(described.get("options", {})),
        }
        for option, described in specification.items()
    }


def documented(options):
    return {
        option: {
            "type": described["type"],
            "elements": described.get("elements"),
            "required": described.get("required", False),
            "default": described.get("default"),
            "choices": list(described["choices"]) if "choices" in described else None,
            "options": documented(described.get("suboptions", {})),
        }
        for option, described in options.items()
    }


@pytest.mark.parametrize(
    "family, path",
    [
        (CONNECTION, FRAGMENTS / "connection.py"),
        (STORE, FRAGMENTS / "store.py"),
        (SYNCHRONIZATION, MODULE),
        (BROWSING, MODULE.with_name("directory_info.py")),
        (LOOKING_UP, MODULE.with_name("user_group_info.py")),
        (REPORTING, MODULE.with_name("store_report.py")),
        (USER, MODULE.with_name("user.py")),
        (module_arguments(PROVISIONING, SCIM), MODULE.with_name("scim_provisioning.py")),
        (CHANGES, MODULE.with_name("user_group_changes.py")),
    ],
    ids=[
        "connection",
        "store",
        "synchronization",
        "browsing",
        "looking up",
        "reporting",
        "user",
        "provisioning",
        "changes",
    ],
)
def test_a_family_is_documented_as_it_is(family, path):
    options = yaml_in(path, "DOCUMENTATION")["options"]
    assert documented(options) == specified(family["argument_spec"])
    assert list(options) == list(family["argument_spec"]), "in the same order"


def test_the_options_have_their_names():
    assert list(CONNECTION["argument_spec"]) == CONNECTION_OPTIONS
    assert list(STORE["argument_spec"]) == ["store", "store_password"]
    assert list(SYNCHRONIZATION["argument_spec"]) == OWN_OPTIONS


def test_the_families_together():
    arguments = module_arguments(CONNECTION, STORE, SYNCHRONIZATION)
    assert set(arguments["argument_spec"]) == {*CONNECTION_OPTIONS, "store", "store_password", *OWN_OPTIONS}
    assert arguments["required_if"] == [("state", "present", ("server",))]


def all_options(specification):
    for option, described in specification.items():
        yield option, described
        yield from all_options(described.get("options", {}))


def test_the_passwords_are_the_only_secrets_and_nothing_is_left_to_a_guess():
    options = list(all_options(module_arguments(CONNECTION, STORE, SYNCHRONIZATION)["argument_spec"]))
    assert [option for option, described in options if described.get("no_log")] == ["password", "store_password"]
    for option, described in options:
        if re.search("pass|secret|token|key", option):
            assert "no_log" in described, option


def test_the_secrets_of_a_provisioning_are_the_only_ones():
    options = list(all_options(module_arguments(PROVISIONING, SCIM)["argument_spec"]))
    assert [option for option, described in options if described.get("no_log")] == ["token", "password"]


def test_the_services_that_can_be_chosen_are_those_that_are_known():
    assert SCIM["argument_spec"]["service"]["choices"] == sorted(SERVICES)
    parameters = SCIM["argument_spec"]["service_parameters"]["options"]
    assert parameters.keys() == set(Service._fields) - {"source"}
    assert parameters["paging"]["choices"] == [each.value for each in Paging]
    assert parameters["members"]["choices"] == [each.value for each in Members]


def test_the_presets_that_can_be_chosen_are_those_that_there_are():
    parameters = CONNECTION["argument_spec"]["ldap_parameters"]["options"]
    assert tuple(parameters["preset"]["choices"]) == presets.LDAP_PRESETS


def test_the_module_takes_the_options_of_its_action_groups():
    groups = yaml.safe_load((CHECKOUT / "meta" / "runtime.yml").read_text(encoding="utf-8"))["action_groups"]
    documentation = yaml_in(MODULE, "DOCUMENTATION")
    membership = yaml_in(FRAGMENTS / "attributes.py", "ACTION_GROUPS")["attributes"]["action_group"]["membership"]
    for group in groups:
        assert "user_synchronization" in groups[group]
        assert "usersync.directory." + group in documentation["extends_documentation_fragment"]
        assert "usersync.directory." + group in membership


def nothing_happened():
    """A report of a run in which nothing happens."""
    directory = _model.Directory("dc=example,dc=org", "openldap")
    snapshot = _model.Snapshot(directory, *[{}] * 4, [], [], {}, {}, [])
    empty = dict.fromkeys(_model.StoredState._fields, {})
    state = _model.StoredState(**{**empty, "target": "All", "target_missing": False, "membership_count": 0})
    plan = _changes.Plan(**{**dict.fromkeys(_changes.Plan._fields, []), "directory": directory, "ignored": 0})
    return make_report(plan, snapshot, state, Looked({}, {}), Bounds(10, 1000, with_diff=True))


def test_every_result_is_documented():
    results = yaml_in(MODULE, "RETURN")
    assert list(results) == RESULTS
    report = nothing_happened()
    assert set(report) < set(results)
    for result, described in results.items():
        assert described["returned"] == ("in diff mode" if result == "diff" else "always")
    assert set(report["users"]) == set(results["users"]["contains"])
    assert set(report["diff"]) == set(results["diff"]["contains"])
    for counted, counts in report["summary"].items():
        assert set(counts) == set(results["summary"]["contains"][counted]["sample"])
        text = " ".join(results["summary"]["contains"][counted]["description"])
        assert set(counts) == set(re.findall(r"C\((\w+)\)", text))


TYPES = {"str": str, "bool": bool, "int": int, "float": float, "list": list, "dict": dict}


def results_in(described, below):
    """Each value that a result has, with the names that lead to it."""
    for name, value in described.items():
        yield from results_in(value.get("contains", {}), (*below, name))
        yield (*below, name), value


@pytest.mark.parametrize("path", sorted(PLUGINS), ids=lambda path: path.stem)
def test_every_result_has_a_sample_of_its_type(path):
    for names, value in results_in(yaml_in(path, "RETURN"), ()):
        if "contains" in value:
            continue
        sample = value.get("sample")
        # What may be anything is not looked at.
        assert isinstance(sample, TYPES.get(value["type"], object)) and sample not in (None, [], {}, ""), names
        assert (
            value["type"] != "list"
            or value["elements"] not in TYPES
            or all(isinstance(item, TYPES[value["elements"]]) for item in sample)
        ), names


def test_what_two_modules_return_of_the_same_is_shown_in_the_same_form():
    """A sample is what a reader goes by: who writes a test or a filter for it must not meet another form."""
    of_run, looked_up = (
        yaml_in(MODULE.with_name(name + ".py"), "RETURN") for name in ("user_synchronization", "user_group_info")
    )
    of_past, of_users = looked_up["runs"]["contains"], looked_up["users"]["contains"]
    for past, now in (
        (of_past["server"], of_run["read"]["contains"]["server"]),
        (of_past["reason"], of_run["read"]["contains"]["reason"]),
        (of_past["mode"], of_run["read"]["contains"]["mode"]),
    ):
        assert past["sample"] == now["sample"]
    for digest in (of_past["plan_digest"], of_run["plan_digest"]):
        form = r"users\+\d+-\d+~\d+,user_groups\+\d+-\d+~\d+,memberships\+\d+-\d+:[0-9a-f]+\.\.\."
        assert re.fullmatch(form, digest["sample"])
    by_hand = yaml_in(MODULE.with_name("user.py"), "RETURN")["user"]["sample"]
    assert set(by_hand) == set(of_users) and by_hand["user_groups"] == []


@pytest.mark.parametrize("path", sorted(PLUGINS), ids=lambda path: path.stem)
def test_what_takes_a_store_says_what_a_database_takes(path):
    """The library of PostgreSQL stands beside the options of the store, where all who have them get it."""
    documentation = yaml_in(path, "DOCUMENTATION")
    inherits = "usersync.directory.store" in documentation.get("extends_documentation_fragment", [])
    required = documentation.get("requirements", [])
    if inherits:
        required = required + yaml_in(FRAGMENTS / "store.py", "DOCUMENTATION")["requirements"]
    assert len([each for each in required if each.startswith("psycopg ")]) == (
        inherits or "store" in documentation["options"]
    )


def tasks_for_readers():
    """All tasks that somebody may copy: from the module's documentation and from the pages."""
    yield from yaml_in(MODULE, "EXAMPLES")
    for page in PAGES:
        for block in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for item in yaml.safe_load(block):
                if isinstance(item, dict) and "roles" not in item:  # else it is a file of variables, or sets up a host
                    yield from item.get("tasks", [item])


def test_the_examples_log_in_once_and_show_no_password():
    synchronizations = 0
    for task in tasks_for_readers():
        assert task["run_once"] is True
        options = task.get("usersync.directory.user_synchronization")
        if options:
            synchronizations += 1
            assert set(options) <= {*CONNECTION_OPTIONS, "store", "store_password", *OWN_OPTIONS}
            assert options.get("password", "{{ vault_").startswith("{{ vault_")
    assert synchronizations > 6


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert link.startswith("https://") or (page.parent / link).exists(), link
