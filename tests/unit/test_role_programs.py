# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that the role installs. What only a booted system can show is in extensions/molecule."""

from __future__ import annotations

import fcntl
import grp
import io
import json
import os
import re
import tarfile
import threading
from datetime import datetime, timedelta

import pytest
from support.role_programs import CHECKOUT, load

pytestmark = pytest.mark.versions

program = load("user_synchronization")
packer = load("pack")

RESULT = {
    "msg": "users: 1 created; memberships: 1 added, 2 removed; collisions: 1; held: 2",
    "changed": True,
    "changed_groups": [{"path": "All/Staff/Nurses", "members_added": ["zoe"]}],
    "users": {"created": ["zoe"]},
    "summary": {
        "users": {"created": 1, "deleted": 0, "total": 4},
        "user_groups": {"created": 0, "total": 1},
        "memberships": {"added": 1, "removed": 2, "total": 3},
    },
    "collisions": [{"name": "zoe"}],
    "unresolved_members": [],
    "held": {"users": ["zoe"], "user_groups": [], "memberships": [{"user_group": "All/Staff", "member": "zoe"}]},
    "refused": [],
    "plan_digest": "aa",
    "removals_digest": "bb",
    "read": {"server": "dc1:636"},
    "warnings": ["A warning."],
}
REFUSED = {
    **RESULT,
    "changed": False,
    "failed": True,
    "msg": "removal_limits: 300 of 900 users\nwould be removed: approve the plan",
    "refused": [
        {
            "limit": "users",
            "about": None,
            "would_remove": 300,
            "of": 900,
            "option": "removal_limits.users",
            "users": ["zoe"],
        }
    ],
}


PROVISIONED = {
    "msg": "accounts: 5 created, 1 disabled",
    "changed": True,
    "summary": {"accounts": {"created": 5, "disabled": 1, "total": 9}, "memberships": {"added": 7}},
    "accounts": {"created": ["zoe"], "disabled": ["zoe"]},
    "collisions": [{"kind": "account", "name": "zoe"}],
    "drift": [],
    "foreign": [{"name": "zoe"}, {"name": "zoe"}],
    "not_provisioned": [],
    "refused": [],
    "left": 0,
    "plan_digest": "cc",
    "removals_digest": "dd",
    "requests": {"count": 12, "retried": 0, "seconds_waited": 0.0},
}
NOT_PROVISIONED = {
    **PROVISIONED,
    "failed": True,
    "changed": False,
    "refused": REFUSED["refused"],
    "msg": "users: too many.",
}
UNREACHABLE = {"failed": True, "msg": "url: nobody\nanswers: see to the service."}


def record(rc=0, result=None, said="", before=None, provisioned=()):
    result = RESULT if result is None else result
    return program.make_record("staff", program.Ended(rc, said, 1000.0, 1002.5, 60), result, before or {}, provisioned)


# --- What is told of a run


def test_a_run_that_succeeds():
    told = record()
    assert told["outcome"] == "succeeded"
    assert told["message"] == RESULT["msg"]
    assert told["changed"] is True
    assert (told["started"], told["finished"], told["seconds"]) == ("1970-01-01T00:16:40Z", "1970-01-01T00:16:42Z", 2.5)
    assert told["last_success"] == told["finished"]
    assert (told["collisions"], told["held"]) == (1, 2)
    assert program.sentence(told) == "staff: succeeded in 2.5 s: " + RESULT["msg"]
    assert program.sentence({**told, "message": None}) == "staff: succeeded in 2.5 s", "of an earlier version"


def test_a_run_by_a_server_that_is_behind_holds_something_though_there_is_only_some_to_add():
    nothing = {"users": [], "user_groups": [], "memberships": [], "plan_digest": ""}
    held = [record(result={**RESULT, "held": {**nothing, "everything": why}})["held"] for why in ("", "dc2 lags")]
    assert held == [0, 1]


def test_a_refused_run_is_a_failure_that_says_so():
    told = record(rc=2, result=REFUSED, before=record())
    assert told["outcome"] == "refused"
    assert told["changed"] is False
    limit = {"limit": "users", "about": None, "would_remove": 300, "of": 900, "option": "removal_limits.users"}
    assert told["refused"] == [limit]
    assert told["last_success"] == "1970-01-01T00:16:42Z"
    assert told["plan_digest"] == "aa"
    assert program.sentence(told) == (
        "staff: refused: removal_limits: 300 of 900 users would be removed: approve the plan"
    )


def test_a_run_that_fails_in_the_module():
    told = record(rc=2, result={"failed": True, "msg": "login: the server refused it: check it."})
    assert program.sentence(told) == "staff: failed: login: the server refused it: check it."
    assert told["last_success"] is None


def test_a_run_that_does_not_get_as_far_as_the_module():
    reason = "Decryption failed (no vault secrets were found that could decrypt)."
    said = f"=== x\n\nPLAY [Run job staff]\n[ERROR]: {reason}\n"
    assert record(rc=4, result={}, said=said)["message"] == reason
    assert record(rc=4, result={}, said="Killed")["message"] == "ansible-playbook ended with 4"
    assert record(rc=4, result={"failed": True})["message"] == "ansible-playbook ended with 4"
    assert provisioned({"failed": True}, rc=2)["message"] == "wiki: ansible-playbook ended with 2"


def test_a_run_that_took_too_long():
    told = record(rc=program.TIME_IS_UP, result={})
    assert told["message"] == "time_limit: the run was ended after 60 seconds: raise it"


def test_a_run_that_was_told_to_end():
    assert record(rc=program.TOLD_TO_END, result={})["message"].startswith("the run was told to end")
    # The signal SIGHUP, for example, is no time that is up.
    assert record(rc=-1, result={})["message"] == "ansible-playbook ended with -1"


def provisioned(*results, rc=0, **more):
    return record(rc, provisioned=list(zip(("wiki", "chat"), results)), **more)


def test_a_run_with_provisionings_tells_of_each():
    told = provisioned(
        PROVISIONED, {**PROVISIONED, "msg": "nothing to do", "changed": False}, result={"msg": "nothing to do"}
    )
    assert program.sentence(told) == (
        "staff: succeeded in 2.5 s: nothing to do. wiki: accounts: 5 created, 1 disabled. chat: nothing to do"
    )
    assert (told["outcome"], told["changed"]) == ("succeeded", True)
    wiki, chat = told["provisioning"]
    assert (wiki["name"], wiki["outcome"], wiki["message"]) == ("wiki", "succeeded", PROVISIONED["msg"])
    assert [wiki[each] for each in ("collisions", "drift", "foreign", "not_provisioned", "left", "requests")] == [
        *(1, 0, 2, 0, 0, 12)
    ]
    assert (wiki["plan_digest"], wiki["removals_digest"]) == ("cc", "dd")
    assert wiki["last_success"] == chat["last_success"] == told["finished"]
    assert chat["changed"] is False


def test_a_provisioning_that_fails_makes_the_job_fail_with_its_sentence():
    before = provisioned(PROVISIONED, PROVISIONED)
    told = provisioned(UNREACHABLE, PROVISIONED, rc=2, before={**before, "provisioning": before["provisioning"][:1]})
    assert program.sentence(told) == "staff: failed: wiki: url: nobody answers: see to the service."
    assert [each["outcome"] for each in told["provisioning"]] == ["failed", "succeeded"]
    assert told["changed"] is True, "the synchronization did"
    assert told["provisioning"][0]["last_success"] == before["finished"]
    assert told["last_success"] == before["finished"]


def test_a_provisioning_that_a_limit_refuses_makes_a_refused_job():
    told = provisioned(NOT_PROVISIONED, PROVISIONED, rc=2)
    assert program.sentence(told) == "staff: refused: wiki: users: too many."
    assert told["provisioning"][0]["refused"][0]["would_remove"] == 300
    assert told["refused"] == [], "that is for the synchronization"
    both = provisioned(NOT_PROVISIONED, UNREACHABLE, rc=2)
    assert program.sentence(both) == (
        "staff: failed: wiki: users: too many. chat: url: nobody answers: see to the service."
    )


def test_a_provisioning_with_work_left_has_succeeded_and_says_so():
    told = provisioned(
        {**PROVISIONED, "left": 3, "msg": "accounts: 1 created; left: 3, since request_limit is reached"}
    )
    assert told["outcome"] == "succeeded"
    assert "wiki: accounts: 1 created; left: 3" in program.sentence(told)
    assert 'user_synchronization_provisioning_left{name="staff",provisioning="wiki"} 3' in program.metrics(told)


def test_a_provisioning_waits_for_a_synchronization_that_succeeds():
    told = provisioned({}, {}, rc=2, result=REFUSED, before=provisioned(PROVISIONED, PROVISIONED))
    assert told["outcome"] == "refused" and told["message"].startswith("removal_limits: 300 of 900")
    assert {each["outcome"] for each in told["provisioning"]} == {"not_done"}
    assert all(each["last_success"] for each in told["provisioning"])


def test_a_run_that_ends_within_a_provisioning_says_which_ones_are_not_done():
    told = provisioned(PROVISIONED, {}, rc=program.TIME_IS_UP)
    assert told["message"].startswith("time_limit:")
    assert [each["outcome"] for each in told["provisioning"]] == ["succeeded", "not_done"]
    assert told["summary"] == RESULT["summary"]


@pytest.mark.parametrize(
    "lines, synchronized, wiki, chat",
    [
        ("", {}, {}, {}),
        ('[0, {"msg": "a"}]\n[1, {"msg": "b"}]\n', {"msg": "a"}, {"msg": "b"}, {}),
        ('[0, {"msg": "a"}]\n[2, {"msg": "c"}]\n', {"msg": "a"}, {}, {"msg": "c"}),
        ('[0, {"msg": "a"}]\n[1, {"ms[2, {"msg": "c"}]\n', {"msg": "a"}, {}, {}),
        ('[0, {"msg": "a"}]\n[1, {"msg": "b"', {"msg": "a"}, {}, {}),
    ],
)
def test_a_result_that_could_not_be_written_is_taken_for_no_other(tmp_path, lines, synchronized, wiki, chat):
    path = tmp_path / "result.json"
    assert program.read_results(path, ["wiki"]) == ({}, [("wiki", {})])
    path.write_text(lines, encoding="utf-8")
    assert program.read_results(path, ["wiki", "chat"]) == (synchronized, [("wiki", wiki), ("chat", chat)])
    assert program.read_results(path, []) == (synchronized, [])


@pytest.mark.parametrize("result", [RESULT, REFUSED])
def test_nobody_is_named(result):
    told = record(
        2 if result.get("failed") else 0, result, provisioned=[("wiki", PROVISIONED), ("chat", NOT_PROVISIONED)]
    )
    assert "zoe" not in json.dumps(told) + program.sentence(told) + program.metrics(told)


def test_runs_are_counted_by_how_they_ended():
    told = {}
    for rc, result in ((0, RESULT), (0, RESULT), (2, REFUSED), (program.TIME_IS_UP, {})):
        told = record(rc=rc, result=result, before=told)
    assert told["runs"] == {"succeeded": 2, "refused": 1, "failed": 1}


def test_metrics_are_in_the_format_of_prometheus():
    lines = program.metrics(provisioned(PROVISIONED, rc=2, result=REFUSED, before=record())).splitlines()
    samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    for line in samples:
        assert re.fullmatch(r'[a-z_]+\{name="staff"(,[a-z]+="[a-z_]+")*\}', line)
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert families == [line.split()[2] for line in lines if line.startswith("# HELP")]
    assert len(families) == len(set(families))
    assert {line.split("{")[0] for line in samples} == set(families)
    assert samples['user_synchronization_last_run_success{name="staff"}'] == "0"
    assert samples['user_synchronization_last_success_timestamp_seconds{name="staff"}'] == "1002"
    assert samples['user_synchronization_runs_total{name="staff",outcome="refused"}'] == "1"
    assert samples['user_synchronization_last_run_objects{name="staff",kind="memberships",count="removed"}'] == "2"
    of_wiki = '{name="staff",provisioning="wiki"'
    assert samples["user_synchronization_provisioning_last_run_success" + of_wiki + "}"] == "1"
    assert samples["user_synchronization_provisioning_last_success_timestamp_seconds" + of_wiki + "}"] == "1002"
    disabled = "user_synchronization_provisioning_last_run_objects" + of_wiki + ',kind="accounts",count="disabled"}'
    assert samples[disabled] == "1"


def test_the_name_of_a_provisioning_ends_no_label():
    told = record(provisioned=[('a"b\\c', PROVISIONED)])
    assert '{name="staff",provisioning="a\\"b\\\\c"} 1' in program.metrics(told)


def test_what_is_told_is_one_line_whatever_it_holds():
    assert "\n" not in program.sentence(record(rc=2, result=REFUSED))


# --- Catching up


NOON = datetime(2027, 3, 10, 12, 0, 30)  # a Wednesday


@pytest.mark.parametrize(
    "cron, since, expected",
    [
        ("0 * * * *", timedelta(seconds=20), False),  # the run of this minute
        ("0 * * * *", timedelta(minutes=2), True),  # a cron that starts in a minute leaves it out
        ("30 * * * *", timedelta(minutes=20), False),
        ("0 4 * * *", timedelta(hours=7), False),
        ("0 4 * * *", timedelta(hours=9), True),
        ("0 4 * * mon", timedelta(days=1), False),
        ("0 4 * * mon", timedelta(days=3), True),
        ("0 4 * * 7", timedelta(days=2), False),
        ("0 4 * * 7", timedelta(days=4), True),
        ("0 4 9 * 5", timedelta(days=2), True),  # either day is enough
        ("0 4 */31 * 2", timedelta(days=2), False),  # both must fit, since one begins with a star
        ("5-59/7 * * * *", timedelta(minutes=3), False),
        ("5-59/7 * * * *", timedelta(minutes=7), True),
        ("0 0 29 2 *", timedelta(days=365), False),
        ("0 0 29 2 *", timedelta(days=1200), True),
        ("0 4 * * *", timedelta(days=5000), True),
        ("0 4 * * *", timedelta(days=-1), False),  # the clock was wrong
        (None, timedelta(days=9), False),
    ],
)
def test_a_time_was_missed(cron, since, expected):
    assert program.missed(cron, NOON - since, NOON) is expected


# --- One run at a time, and its log


def test_a_job_is_held_by_one(tmp_path):
    with program.lock(tmp_path) as first, program.lock(tmp_path) as second:
        assert (first, second) == (True, False)
    with program.lock(tmp_path) as third:
        assert third is True
    assert list(tmp_path.iterdir()) == []


def test_who_waits_has_the_job_after_the_other(tmp_path, monkeypatch):
    order, asks, really_lock = [], threading.Event(), fcntl.flock

    def wait():
        with program.lock(tmp_path, wait=True) as held:
            order.append(held)

    def lock(descriptor, operation):
        if not operation & fcntl.LOCK_NB:
            asks.set()
        try:
            really_lock(descriptor, operation)
        finally:
            asks.set()

    waiting = threading.Thread(target=wait)
    with program.lock(tmp_path):
        monkeypatch.setattr(fcntl, "flock", lock)
        waiting.start()
        assert asks.wait(60)
        order.append("the other")
    waiting.join()
    assert order == ["the other", True]


def test_a_log_that_has_grown_is_put_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "LOG_SIZE", 10)
    path = tmp_path / "staff.log"
    for number in range(12):
        with program.open_log(path) as log:
            log.write("run %d, and more than the limit\n" % number)
    assert path.read_text(encoding="utf-8").startswith("run 11,")
    aside = ["staff.log.%d" % each for each in range(1, 6)]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["staff.log", *aside]
    assert (tmp_path / "staff.log.1").read_text(encoding="utf-8").startswith("run 10,")


def test_a_status_is_whole_or_as_before_and_readable_for_a_monitor(tmp_path):
    path = tmp_path / "staff.json"
    program.write_atomically(path, "{}\n")
    assert (path.stat().st_mode & 0o777, os.listdir(tmp_path)) == (0o644, ["staff.json"])


# --- The key and the passwords


@pytest.fixture
def vault(monkeypatch, tmp_path):
    """vault.py on a host whose systemd cannot encrypt, and a directory with two jobs."""
    pytest.importorskip("ansible.parsing.vault", reason="comes with ansible-core")
    if os.geteuid() != 0:
        pytest.skip("gives files to root")
    module = load("vault")
    monkeypatch.setattr(module, "encrypting", lambda: False)
    for job in ("staff", "clinic"):
        (tmp_path / "jobs" / job).mkdir(parents=True)
    return module


GROUP = grp.getgrgid(os.getgid()).gr_name


def passwords(vault, config, key):
    """The jobs whose vault the key opens, and what it finds."""
    found = {path.parent.name: vault.decrypt(key, path) for path in config.glob("jobs/*/vault.yml")}
    return {job: text for job, text in found.items() if text}


def test_a_key_is_made_once_and_only_root_can_read_it(vault, tmp_path):
    assert vault.keep_key(tmp_path, "", renew=False, check=True) is True
    assert not (tmp_path / "vault-key").exists()
    assert vault.keep_key(tmp_path, "", renew=False, check=False) is True
    key = vault.read_key(tmp_path)
    assert len(key) >= 32
    assert vault.keep_key(tmp_path, "", renew=False, check=False) is False
    assert vault.read_key(tmp_path) == key
    assert (tmp_path / "vault-key").stat().st_mode & 0o777 == 0o400


def test_a_password_is_kept_and_stays_as_it_is(vault, tmp_path):
    vault.keep_key(tmp_path, "Fen-2-wicket", renew=False, check=False)
    path = tmp_path / "jobs" / "staff" / "vault.yml"
    assert vault.keep_secrets(tmp_path, "staff", {"password": "Sedge-3-wicket"}, GROUP, check=True) is True
    assert not path.exists()
    assert vault.keep_secrets(tmp_path, "staff", {"password": "Sedge-3-wicket"}, GROUP, check=False) is True
    before = path.read_bytes()
    assert before.startswith(b"$ANSIBLE_VAULT;1.2;AES256;user_synchronization\n")
    assert vault.keep_secrets(tmp_path, "staff", {"password": "Sedge-3-wicket"}, GROUP, check=False) is False
    assert path.read_bytes() == before
    assert vault.keep_secrets(tmp_path, "staff", {"password": "Rush-6-wicket"}, GROUP, check=False) is True
    assert [each.name for each in path.parent.iterdir()] == ["vault.yml"]
    assert path.stat().st_mode & 0o777 == 0o640
    assert "Sedge" not in str(passwords(vault, tmp_path, "Fen-2-wicket"))


@pytest.mark.parametrize(
    "password",
    [
        "a{{b}}c",
        "{% raw",
        'it\'s "quoted"',
        "ä€𝄞\u2028\x85\t",
        "back\\slash: #no comment",
        " yes ",
        "010",
        "null",
        "2027-03-10",
        "<<",
    ],
)
def test_a_password_arrives_as_it_was_given(vault, tmp_path, password):
    from ansible.parsing.dataloader import DataLoader

    vault.keep_key(tmp_path, "Fen-2-wicket", renew=False, check=False)
    vault.keep_secrets(tmp_path, "staff", {"password": password}, GROUP, check=False)
    text = passwords(vault, tmp_path, "Fen-2-wicket")["staff"]
    (held,) = DataLoader().load(text).values()
    assert json.loads(held) == {"password": password}
    assert "!unsafe" in text


def test_a_vault_has_the_secrets_that_it_is_given_and_no_others(vault, tmp_path):
    from ansible.parsing.dataloader import DataLoader

    vault.keep_key(tmp_path, "Fen-2-wicket", renew=False, check=False)
    for given in (
        {"password": "Sedge-3-wicket\n", "store": "12"},
        {"token": "Rush-6-wicket", "password": "Sedge-3-wicket"},
    ):
        assert vault.keep_secrets(tmp_path, "staff", given, GROUP, check=False) is True
        assert vault.keep_secrets(tmp_path, "staff", given, GROUP, check=False) is False
        (held,) = DataLoader().load(passwords(vault, tmp_path, "Fen-2-wicket")["staff"]).values()
        assert json.loads(held) == {name: secret.strip() for name, secret in given.items()}


@pytest.mark.parametrize("given, renew", [("Bog-9-wicket", False), ("", True)])
def test_after_a_rotation_the_old_key_opens_nothing(vault, tmp_path, given, renew):
    vault.keep_key(tmp_path, "Fen-2-wicket", renew=False, check=False)
    for job in ("staff", "clinic"):
        vault.keep_secrets(tmp_path, job, {"password": "Sedge-3-" + job}, GROUP, check=False)
    assert vault.keep_key(tmp_path, given, renew, check=True) is True
    assert set(passwords(vault, tmp_path, "Fen-2-wicket")) == {"staff", "clinic"}
    assert vault.keep_key(tmp_path, given, renew, check=False) is True
    key = vault.read_key(tmp_path)
    assert key != "Fen-2-wicket"
    assert passwords(vault, tmp_path, "Fen-2-wicket") == {}
    found = passwords(vault, tmp_path, key)
    assert set(found) == {"staff", "clinic"}
    assert all("Sedge-3-" + job in text for job, text in found.items())
    files = sorted(each.name for each in tmp_path.rglob("*") if each.is_file())
    assert files == ["vault-key", "vault.yml", "vault.yml"]
    # The same password is no change now.
    assert vault.keep_secrets(tmp_path, "staff", {"password": "Sedge-3-staff"}, GROUP, check=False) is False


def test_a_vault_of_somebody_else_is_left_alone(vault, tmp_path):
    vault.keep_key(tmp_path, "Fen-2-wicket", renew=False, check=False)
    foreign = tmp_path / "jobs" / "clinic" / "vault.yml"
    foreign.write_bytes(vault.encrypt("Somebody-8-wicket", "other: 1\n"))
    before = foreign.read_bytes()
    vault.keep_key(tmp_path, "Bog-9-wicket", renew=False, check=False)
    assert foreign.read_bytes() == before


def test_a_key_that_cannot_be_opened_is_replaced_and_so_is_what_it_protected(vault, tmp_path):
    """A host that was copied, or whose TPM was cleared: nothing can be read, everything is given anew."""
    vault.keep_key(tmp_path, "", renew=False, check=False)
    vault.keep_secrets(tmp_path, "staff", {"password": "Sedge-3-wicket"}, GROUP, check=False)
    (tmp_path / "vault-key").unlink()
    assert vault.keep_key(tmp_path, "", renew=False, check=False) is True
    assert vault.keep_secrets(tmp_path, "staff", {"password": "Sedge-3-wicket"}, GROUP, check=False) is True
    assert "Sedge-3-wicket" in passwords(vault, tmp_path, vault.read_key(tmp_path))["staff"]


# --- The copy of the collection


def test_a_pack_has_the_plugins_and_is_the_same_each_time(tmp_path):
    packed, digest = packer.pack(CHECKOUT)
    assert (packed, digest) == packer.pack(CHECKOUT)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        names = archive.getnames()
    prefix = "ansible_collections/usersync/directory/"
    assert prefix + "plugins/modules/user_synchronization.py" in names
    assert prefix + "meta/runtime.yml" in names
    assert prefix + "LICENSE" in names
    assert [name for name in names if "__pycache__" in name or not name.startswith(prefix)] == []
    modules = {str(path.relative_to(CHECKOUT)) for path in CHECKOUT.glob("plugins/**/*.py")}
    assert modules <= {name[len(prefix) :] for name in names}
