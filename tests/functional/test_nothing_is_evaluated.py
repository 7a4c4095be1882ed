# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that are templates stay names, by every way through which a play can get them.

From ansible-core 2.19 on, Ansible evaluates only what a playbook says. Before, it evaluates whatever looks like a
template and is not marked as unsafe: results of modules and lookups are, and what a template makes of them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import tree
from support.misbehaving import MisbehavingDirectory

pytestmark = pytest.mark.versions

ROLE = Path(__file__).resolve().parents[2] / "roles" / "user_synchronization"

STAFF = "OU=Staff," + tree.DOMAIN
TOUCH = "lookup('ansible.builtin.pipe', 'touch \"$WITNESS\"')"
NAMES = (
    "{{ %s }}" % TOUCH,
    "{%% set x = %s %%}" % TOUCH,
    "!unsafe {{ %s }}" % TOUCH,
    "%%}{{ %s }}{%%" % TOUCH,
    TOUCH,  # what a condition would evaluate
    "{{ nothing_of_this_name }}",
    "{{ 1 / 0 }}",
    "{# gone #}",
    "#jinja2: variable_start_string: '['",
)
COLLECTION = "usersync.directory."


@pytest.fixture
def options(tmp_path):
    """What a task has that synchronizes units, users and groups of these names."""
    domain = tree.ActiveDirectory()
    domain.unit("Staff")
    for number, name in enumerate(NAMES):
        escaped = "".join("\\%02x" % octet for octet in name.encode())
        unit = "OU=%s,%s" % (escaped, STAFF)
        domain.move(domain.unit("o%d" % number, STAFF), unit)
        about = {"sAMAccountName": name, "cn": name, "description": name, "displayName": name, "mail": name}
        domain.move(domain.user("u%d" % number, STAFF, **about), "CN=u%s,%s" % (escaped, unit))
        domain.move(
            domain.group(
                "g%d" % number, STAFF, "CN=u%s,%s" % (escaped, unit), "CN=nobody{{ 1 / 0 }}," + STAFF, **about
            ),
            "CN=g%s,%s" % (escaped, unit),
        )
    with MisbehavingDirectory(domain) as server:
        yield {
            "name": "staff",
            "user_group": "All/Staff",
            **server.in_clear(),
            "group_structure": "both",
            "distinguished_name": STAFF,
            "store": str(tmp_path / "users.db"),
        }


def show(text, **more):
    return {"ansible.builtin.debug": {"msg": text}, **more}


def write(content, path, **more):
    return {"ansible.builtin.copy": {"content": content, "dest": str(path), "mode": "0600"}, **more}


@pytest.mark.before_2_19
def test_in_a_play(options, run_playbook, tmp_path):
    store = options["store"]
    (tmp_path / "page.j2").write_text("{{ names | join('\n') }}\n{{ page }}\n{{ kept }}\n{{ described['kept'] }}\n")
    (tmp_path / "included.json").write_text(json.dumps([show("{{ who }} {{ whose }}"), show("{{ vars.who }}")]))
    look = "lookup('usersync.directory.user_group_members', 'All/Staff', store='%s', effective=true)" % store
    synchronize = {COLLECTION + "user_synchronization": options}
    run = run_playbook(
        [
            {**synchronize, "register": "dry", "check_mode": True},
            {**synchronize, "register": "outcome"},
            {**synchronize, "register": "again"},
            {
                COLLECTION + "directory_info": {
                    **{option: options[option] for option in ("server", "encryption", "login", "password")},
                    "distinguished_name": STAFF,
                    "depth": 3,
                },
                "register": "found",
            },
            {COLLECTION + "user_group_info": {"store": store, "runs": 5}, "register": "info"},
            {COLLECTION + "user_group_info": {"store": store, "user": "{{ info.users[0].name }}"}, "register": "one"},
            *(show("{{ %s }}" % name) for name in ("outcome", "dry", "found", "info", "one")),
            *({"ansible.builtin.debug": {"var": name}} for name in ("outcome", "found.entries", "info", "table")),
            # what a template makes of them, by variables of the play, and kept
            show("{{ names }} {{ joined }} {{ table }} {{ page }}"),
            {"ansible.builtin.set_fact": {"kept": "{{ names[0] ~ '!' }}", "all_kept": "{{ names }}", "pages": pages()}},
            {
                "ansible.builtin.set_fact": {
                    "described": {"kept": "{{ kept }}", "group": "{{ info.user_groups[0].path }}"}
                }
            },
            {"ansible.builtin.set_fact": {"fact": "{{ described.kept }} {{ pages.csv }}"}},
            show("{{ kept }} {{ all_kept }} {{ described }} {{ fact }} {{ pages }}"),
            show("{{ lookup('ansible.builtin.vars', 'kept') }} {{ hostvars['localhost'].kept }} {{ vars['kept'] }}"),
            # loops, and tasks that are included
            show(
                "{{ item.name }} {{ item.attributes }}",
                loop="{{ %s }}" % look,
                loop_control={"label": "{{ item.name }}"},
            ),
            show("{{ item }}", with_items="{{ names }}"),
            show("{{ item.key }}", with_dict="{{ table }}"),
            {"ansible.builtin.set_fact": {"looked": "{{ %s }}" % look}},
            show("{{ looked | map(attribute='name') | map('usersync.directory.printable') | list }}"),
            {
                "ansible.builtin.include_tasks": str(tmp_path / "included.json"),
                "vars": {"who": "{{ item.name }}", "whose": "{{ item.home }}"},
                "loop": "{{ info.users }}",
                "loop_control": {"label": "{{ item.name | usersync.directory.printable }}"},
            },
            # other modules, conditions, errors
            *(write("{{ pages.%s }}" % form, tmp_path / form) for form in ("markdown", "html", "csv")),
            write("{{ names | join('\n') }}", tmp_path / "names"),
            {
                "ansible.builtin.template": {
                    "src": str(tmp_path / "page.j2"),
                    "dest": str(tmp_path / "made"),
                    "mode": "0600",
                }
            },
            show("{{ lookup('ansible.builtin.template', '%s') }}" % (tmp_path / "page.j2")),
            show("yes", when="info.users[0].name in names and kept != names[1]"),
            {"ansible.builtin.command": {"argv": ["echo", "{{ item }}"]}, "loop": "{{ names }}", "register": "echoed"},
            {
                "ansible.builtin.assert": {
                    "that": "echoed.results | map(attribute='stdout') | list != names",
                    "fail_msg": "{{ kept }}",
                },
                "ignore_errors": True,
            },
            {"ansible.builtin.fail": {"msg": "{{ joined }}"}, "ignore_errors": True, "register": "failed"},
            show("{{ failed.msg }}"),
            {
                COLLECTION + "user_group_info": {"store": store, "user_group": "{{ kept }}"},
                "ignore_errors": True,
                "register": "no",
            },
            show("{{ no.msg }}"),
            {
                COLLECTION + "user": {
                    "store": store,
                    "name": "by hand {{ item.name }}",
                    "user_group": "{{ item.home }}",
                    "local_attributes": {"badge": "{{ item.attributes.description }}"},
                },
                "loop": "{{ info.users }}",
                "register": "by_hand",
            },
            show("{{ by_hand }}"),
        ],
        "--diff",
        env={"WITNESS": str(tmp_path / "witness")},
        vars={
            "people": "{{ info.users }}",
            "names": "{{ people | map(attribute='name') | list }}",
            "joined": "{{ names | join(', ') }}",
            "table": "{{ dict(names | zip(names)) }}",
            "page": "{{ outcome | usersync.directory.summary_markdown }}",
        },
    )
    assert not (tmp_path / "witness").exists(), "something of the directory was evaluated"
    assert run.rc == 0, run.output
    assert (tmp_path / "names").read_text().split("\n") == sorted(NAMES)
    for name in NAMES:
        assert name in (tmp_path / "csv").read_text().replace('""', '"'), name
        assert name in (tmp_path / "made").read_text(), name
        assert name.replace("'", "&#39;").replace('"', "&#34;") in (tmp_path / "html").read_text(), name


def pages():
    return {
        "markdown": "{{ outcome | usersync.directory.summary_markdown }}",
        "html": "{{ outcome | usersync.directory.summary_html }}",
        "csv": "{{ info.users | usersync.directory.to_csv({'Name': 'name', 'Mail': 'email'}) }}",
    }


@pytest.mark.before_2_19
@pytest.mark.parametrize("playbook", ["browse", "synchronize"])
def test_in_a_playbook_of_the_collection(options, run_playbook, tmp_path, playbook):
    variables = tmp_path / "variables.json"
    variables.write_text(json.dumps({"user_synchronization_options": options, "browse_depth": 3}))
    run = run_playbook(COLLECTION + playbook, "-e", "@%s" % variables, env={"WITNESS": str(tmp_path / "witness")})
    assert run.rc == 0, run.output
    assert not (tmp_path / "witness").exists(), "something of the directory was evaluated"
    for name in NAMES:
        assert json.dumps(name)[1:-1] in run.output, name


def test_in_a_job_of_the_role(run_playbook, tmp_path):
    """What the role writes for a run gives the module the options of the job, as they were given."""
    template = "{{ 1 / 0 }}{% raw %}"
    given = {
        "name": "staff",
        "server": ["[::1]:636", "dc1.corp.example"],
        "distinguished_name": [STAFF, "OU={{ 7 * 7 }},DC=corp,DC=example"],
        "exclude_distinguished_name": "OU=\\c3\\a4\U0001f469\u2028\x85\x7f,DC=corp,DC=example",
        "user_filter": "(!(description=%s))" % template,
        "user_attributes": {"nick": "info", "deep": "[x]"},
        "removal_limits": {"users": 3, "memberships": "7%"},
        "ldap_parameters": {},
        "use_ldap": True,
    }
    password = '["%s", "\u2028"]' % template
    (tmp_path / "given").write_text(json.dumps(given))
    secrets = json.dumps({"password": password})
    (tmp_path / "vault.yml").write_text("user_synchronization_secrets: !unsafe %s\n" % json.dumps(secrets))
    made = run_playbook(
        [
            {
                "ansible.builtin.template": {
                    "src": str(ROLE / "templates" / (name + ".j2")),
                    "dest": str(tmp_path / name),
                }
            }
            for name in ("playbook.yml", "variables.yml")
        ],
        vars_files=[str(ROLE / "defaults" / "main.yml")],
        vars={
            "__user_synchronization_options": "{{ lookup('ansible.builtin.file', '%s') | from_json }}"
            % (tmp_path / "given"),
            "__user_synchronization_name": "staff",
            "__user_synchronization_secret": True,
            "__user_synchronization_job": {},
            "__user_synchronization_expressions": {"password": "(user_synchronization_secrets | from_json).password"},
            "__user_synchronization_provisioning": [],
        },
    )
    assert made.rc == 0, made.output
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(playbook.read_text().replace(COLLECTION + "user_synchronization:", "ansible.builtin.set_fact:"))
    run = run_playbook(str(playbook))
    assert run.rc == 0, run.output
    assert run.results[0]["ansible_facts"] == {**given, "password": password}
