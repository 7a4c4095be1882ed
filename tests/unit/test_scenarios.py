# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is taken for a scenario of the role that has passed, and what its machines keep.

The scenarios themselves are in extensions/molecule.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import zipfile
import zipimport
from pathlib import Path

import pytest
from support import machine, scenarios
from support.scenarios import SECRET_END, Outcome, complaints

FASTER = Path(scenarios.__file__).parent / "faster"
PUT = "<127.0.0.1> PUT /root/.ansible/tmp/x TO /root/.ansible/tmp/AnsiballZ_command.py\n"
KEY = "TASK [usersync.directory.user_synchronization : Keep the vault key, sealed to the host] ***\n"
PASSWORD = (
    "TASK [usersync.directory.user_synchronization : Encrypt with the key of the host the password of job staff] ***\n"
)
OTHER = "TASK [usersync.directory.user_synchronization : Write the units of job staff] ***\n"
DONE = "changed: [sync] => {\n}\n\n"
GOOD = OTHER + PUT + DONE + KEY + DONE + PASSWORD + DONE + OTHER + PUT + DONE


def wrong(log=GOOD, status=0, proof="systemd", name="systemd"):
    return complaints(name, Outcome(status, log, proof))


def test_a_scenario_that_reached_its_end_on_a_machine_has_passed():
    assert wrong() == []


def test_molecule_said_that_it_failed():
    log = (
        OTHER
        + DONE
        + OTHER
        + "task path: /x.yml\n<127.0.0.1> EXEC /bin/sh\nfatal: [sync]: FAILED! => {}\n\nPLAY RECAP\n"
    )
    [said] = wrong(log, status=2)
    assert said == f"Molecule ended with 2.\n{OTHER}fatal: [sync]: FAILED! => {{}}"


def test_molecule_failed_without_a_task():
    [said] = wrong("INFO     a\nCRITICAL b\n", status=1)
    assert said == "Molecule ended with 1.\nCRITICAL b"


def test_it_did_not_reach_its_end():
    assert len(wrong(proof="")) == 1


def test_it_reached_no_machine():
    assert len(wrong(GOOD + "skipping: no hosts matched\n")) == 1


def test_a_secret_was_printed():
    assert len(wrong(GOOD + f'"stdin": "Fen-2-{SECRET_END}"\n')) == 1


def test_a_task_with_a_secret_copied_a_file():
    assert len(wrong(GOOD + KEY + PUT + DONE)) == 1
    assert len(wrong(GOOD + PASSWORD + PUT + PUT + DONE)) == 2
    assert len(wrong(KEY + PUT + DONE, name="none", proof="none")) == 1


def test_nothing_is_proven_where_no_task_copies_a_file():
    assert len(wrong(KEY + DONE + OTHER + DONE)) == 1


def test_nothing_is_proven_without_a_task_with_a_secret():
    assert len(wrong(OTHER + PUT + DONE)) == 1
    assert wrong(OTHER + PUT + DONE, name="none", proof="none") == []


# --- What a machine keeps


@pytest.mark.on_one_python
@pytest.mark.parametrize(("user", "compilations"), [(0, 2), (1000, 4)], ids=["root", "another user"])
def test_source_in_zip_files_is_compiled_once_and_kept_by_root_only(tmp_path, monkeypatch, user, compilations):
    monkeypatch.setattr(zipimport, "_compile_source", zipimport._compile_source)  # afterwards it is what it was
    sitecustomize = importlib.import_module("support.faster.sitecustomize")
    compiled, compile_source = [], sitecustomize._compile
    monkeypatch.setattr(sitecustomize, "_compile", lambda *what: compiled.append(what) or compile_source(*what))
    monkeypatch.setattr(sitecustomize, "KEPT", str(tmp_path / "kept"))
    monkeypatch.setattr(zipimport, "_compile_source", sitecustomize.compiled)
    monkeypatch.setattr(os, "getuid", lambda: user)
    for number, source in enumerate(["answer = 1", "answer = 2"] * 2):
        path = tmp_path / f"{number}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("example.py", source)
        code = zipimport.zipimporter(str(path)).get_code("example")
        assert code.co_consts[0] == 1 + number % 2
    assert len(compiled) == compilations


# --- What Ansible does once for a scenario


@pytest.fixture
def ansible_once(monkeypatch):
    pytest.importorskip("ansible", reason="comes with ansible-core")
    monkeypatch.syspath_prepend(str(FASTER))
    return importlib.import_module("ansible_once")


@pytest.mark.on_one_python
def test_a_template_is_compiled_once_for_each_setting(ansible_once, monkeypatch, tmp_path):
    import jinja2

    compiled, compile_it = [], ansible_once._compile
    monkeypatch.setattr(
        ansible_once, "_compile", lambda *what, **how: compiled.append(what) or compile_it(*what, **how)
    )
    ordinary, trimming = jinja2.Environment(), jinja2.Environment(trim_blocks=True)
    for _process in range(2):  # another one has nothing in memory, and finds the file
        compile_once = ansible_once.keeping(tmp_path)
        for _time in range(2):
            for environment, expected in ((ordinary, "\na"), (trimming, "a")):
                code = compile_once(environment, "{% if 1 %}\n{{ x }}{% endif %}")
                assert jinja2.Template.from_code(environment, code, {}).render(x="a") == expected
    assert len(compiled) == 2
    with pytest.raises(jinja2.TemplateSyntaxError):
        compile_once(ordinary, "{{")
    for computed in ("{{ 3 | number }}", "{% if 1 is odd_today %}{{ x }}{% endif %}"):
        for found in (1, 2):
            ordinary.filters["number"] = ordinary.tests["odd_today"] = lambda _value, found=found: found
            code = ansible_once.keeping(tmp_path)(ordinary, computed)
            assert str(found) == jinja2.Template.from_code(ordinary, code, {}).render(x=found), "no result is kept"
    assert compile_once(ordinary, "{{ x }}", raw=True).startswith("from jinja2"), "source, and nothing to keep"


@pytest.mark.on_one_python
def test_a_playbook_leaves_to_the_next_what_it_compiled_and_packed(ansible_once, tmp_path):
    (tmp_path / "playbook.yml").write_text(PLAYBOOK, encoding="ascii")
    program = scenarios.with_version(tmp_path / "bin", str(Path(sys.executable).parent))
    environment = {
        **os.environ,
        "PYTHONPATH": str(FASTER),
        "USERSYNC_TESTS_KEEP_COMPILED": str(tmp_path / "zip"),
        "USERSYNC_TESTS_KEEP_FOR_ANSIBLE": str(tmp_path / "once"),
    }
    said = subprocess.run(
        [program, "playbook.yml"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0 and "ok=2" in said.stdout, said
    if ansible_once.LEFT_ALONE:
        assert not (tmp_path / "once").exists()
    else:
        assert [path.name for path in (tmp_path / "once/packed").iterdir()] == ["ansible.modules.stat-ZIP_DEFLATED"]
        assert list((tmp_path / "once/compiled").iterdir())
    assert subprocess.check_output([program, "--version"], env={}) == b"ansible-playbook\n"


PLAYBOOK = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - stat: {path: "{{ playbook_dir | upper | lower }}"}
    - assert: {that: playbook_dir is search('/')}
"""


# --- The machines


def cgroups():
    return Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()


@pytest.mark.on_one_python
def test_each_machine_has_a_cgroup_of_its_own():
    if os.geteuid() != 0:
        pytest.skip("is run as root")
    before, name = cgroups(), "usersync-test-%d" % os.getpid()
    with machine._cgroup_of_its_own(name):
        within = set(cgroups()) - set(before)
        assert within and all(each.endswith("/" + name) for each in within)
        places = list(machine._cgroups())
        assert places and all(place.name == name for place in places)
        (places[0] / "payload").mkdir()  # as systemd-nspawn does
    assert cgroups() == before
    assert not [place for place in places if place.exists()]
