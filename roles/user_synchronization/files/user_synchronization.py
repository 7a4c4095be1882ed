# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a job: what systemd, cron and people call.

A run is one call of ansible-playbook on the job's playbook, as the unprivileged user, with the job's lock held: a
synchronization, and the provisionings that follow it. What comes of it: a line to read and a line of JSON in the
journal, the last result in a file, metrics, and the whole output in a log. Started as root (by cron or by a person), it
fetches the vault key and has everything else done by a process without root's rights.

The user of the runs is trusted with the runs and nothing else. In a directory that this user writes, root follows no
link and opens nothing but regular files of this user. What comes from there is shown in a printable form only.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import datetime
import fcntl
import grp
import itertools
import json
import math
import os
import pwd
import random
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import syslog
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

PROGRAMS = Path(__file__).resolve().parent
sys.path.append(str(PROGRAMS))  # python -I leaves it out

from _core_dumps import forbid_core_dumps  # noqa: E402
from _printable import printable, printable_data  # noqa: E402

IDENTIFIER = "user_synchronization"
CREDENTIAL = "vault-key"  # also the name that is sealed into an encrypted credential

LOG_SIZE = 1024 * 1024  # bytes; a log that has grown beyond is put aside before the next run
LOGS_KEPT = 5
PIECE = 65536  # bytes that are read at once
STATUS_SIZE = 1024 * 1024  # bytes; a status that is longer is none of ours
# Who is told to end gets this long, in seconds, before it is killed: a run is one transaction, killed or not.
GRACE = 10

# How a run ended, besides by the exit status of ansible-playbook, which is less.
TIME_IS_UP = 256
TOLD_TO_END = 257

OUTCOMES = ("succeeded", "failed", "refused")
NOT_DONE = "not_done"  # of a provisioning that did not come to an end, or was not begun

Result = dict[str, Any]  # of a module; empty if it did not get so far


class Settings(NamedTuple):
    """Where things are on this host; written by the role into ``settings.json`` beside this program."""

    user: str
    config_directory: str
    state_directory: str
    log_directory: str
    venv: str
    environment: dict[str, str] = {}  # what runs get beside what they need, such as the way to a proxy

    def job_directory(self, job: str) -> Path:
        return Path(self.config_directory, "jobs", job)

    def status_file(self, job: str) -> Path:
        return Path(self.state_directory, "status", job + ".json")

    def metrics_file(self, job: str) -> Path:
        return Path(self.state_directory, "metrics", f"user_synchronization_{job}.prom")

    def log_file(self, job: str) -> Path:
        return Path(self.log_directory, job + ".log")


class Failure(Exception):
    """What a person has to be told; the message is one sentence."""


class ToldToEnd(Exception):
    """This process got the signal SIGTERM."""


# --- What a person calls


def main(arguments: list[str]) -> int:
    forbid_core_dumps()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        settings = Settings(**json.loads((PROGRAMS / "settings.json").read_text(encoding="utf-8")))
        if options.command == "status":
            return show_status(settings, options.job)
        job_file = settings.job_directory(options.job) / "job.json"
        try:
            job = json.loads(job_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise Failure(f"{options.job}: there is no such job: see 'user_synchronization status'") from None
        if os.geteuid() == 0:
            return run_as_root(settings, options, job)
        if options.command == "check":
            return call_ansible(settings, options.job, dry=True)
        return run(settings, options.job, job, options.wait, options.aloud)
    except PermissionError as error:
        print(f"{IDENTIFIER}: {printable(error.filename)}: not allowed: run it as root", file=sys.stderr)
    except Failure as error:
        print(f"{IDENTIFIER}: {printable(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 1


def job_name(text: str) -> str:
    """Return the text if it can be the name of a job. It becomes a part of paths."""
    if not re.fullmatch("[a-z0-9][a-z0-9_-]{0,63}", text):
        raise argparse.ArgumentTypeError("a job has lower-case letters, digits, hyphens and underscores in its name")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=IDENTIFIER, description="Run user synchronizations on this host.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    running = commands.add_parser("run", help="run a job now")
    running.add_argument("job", type=job_name)
    # How cron calls it: wait the random delay, call the failure command, and after a boot run only what was missed.
    running.add_argument("--scheduled", action="store_true", help=argparse.SUPPRESS)
    running.add_argument("--missed", action="store_true", help=argparse.SUPPRESS)
    # How the role calls it: a run under way may have begun with what the job was before.
    running.add_argument("--wait", action="store_true", help=argparse.SUPPRESS)
    # How root calls it for a person: say how far it is, and the outcome, too.
    running.add_argument("--aloud", action="store_true", help=argparse.SUPPRESS)
    checking = commands.add_parser("check", help="show what a run would change, and change nothing")
    checking.add_argument("job", type=job_name)
    checking.set_defaults(scheduled=False, missed=False, wait=False)
    showing = commands.add_parser("status", help="show how the last runs ended")
    showing.add_argument("job", type=job_name, nargs="?")
    return parser


def show_status(settings: Settings, job: str | None) -> int:
    """Print the last result of one job, or a line for each; return 1 when one of them is no success."""
    jobs = [job] if job else sorted(path.parent.name for path in settings.job_directory("").glob("*/job.json"))
    bad = 0
    for each in jobs:
        try:
            record = read_status(settings, each)
        except Failure as failure:
            print(f"{each}: {printable(failure)}")
            bad = 1
            continue
        bad |= record.get("outcome") != "succeeded"
        if not record:
            print(f"{each}: has not run yet")
        elif job:
            print(json.dumps(record, indent=2, ensure_ascii=False))
        else:
            print(f"{record['finished']} {sentence(record)}")
    return bad


# --- As root: the key, and less rights


def run_as_root(settings: Settings, options: argparse.Namespace, job: dict[str, Any]) -> int:
    """Do the same as the unprivileged user, with the vault key on its standard input."""
    if options.missed and not missed(job.get("cron"), last_start(settings, options.job), datetime.datetime.now()):
        return 0
    if options.scheduled:
        time.sleep(random.uniform(0, job["random_delay"]))
    command = [sys.executable, "-I", __file__, options.command, options.job] + ["--wait"] * options.wait
    aloud = options.command == "run" and not options.scheduled
    if aloud:
        command.append("--aloud")
    # A run ends itself; this is for the case that it cannot. Who waits for another run waits as long as that may take.
    time_limit = (job["time_limit"] + 60) * (2 if options.wait else 1)
    with runtime_directory(settings.user) as runtime:
        try:
            done = as_user(settings.user, command, runtime, vault_key(settings) if job["secret"] else "", time_limit)
        except Failure as error:
            tell(f"{options.job}: failed: {error}", priority=syslog.LOG_ERR, aloud=aloud)
            done = 1
        if done and options.scheduled and (PROGRAMS / "on_failure").exists():
            failed = [str(PROGRAMS / "on_failure"), options.job, str(settings.status_file(options.job))]
            as_user(settings.user, failed, runtime, "", 60)
    return done


def vault_key(settings: Settings) -> str:
    """Return the key that opens the vaults. Only root can."""
    encrypted, plain = (Path(settings.config_directory, CREDENTIAL + suffix) for suffix in (".cred", ""))
    if not encrypted.exists():
        return plain.read_text(encoding="utf-8")
    done = subprocess.run(
        ["systemd-creds", "decrypt", f"--name={CREDENTIAL}", str(encrypted), "-"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failure(f"{encrypted}: cannot be opened on this host: run the play again: {done.stderr.strip()}")
    return done.stdout


def as_user(user: str, command: list[str], runtime: Path, text: str, time_limit: float) -> int:
    """Run a command with the rights of the user and nothing of root's; return its exit status.

    It gets neither root's environment nor root's terminal: a process with that terminal could type on it (TIOCSTI,
    ioctl_tty(2)). It leads a session of its own, reads ``text`` and prints into a pipe. What it prints is shown while
    it runs, in a printable form. Whoever ends this process (Ctrl-C, SIGTERM, a terminal that is closed) ends the
    command, and so does the end of ``time_limit``, in seconds.
    """
    account = pwd.getpwnam(user)
    process = start(
        command,
        env={"RUNTIME_DIRECTORY": str(runtime), **_environment(runtime)},
        stdin=subprocess.PIPE,
        cwd="/",
        umask=0o077,
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[each.gr_gid for each in grp.getgrall() if user in each.gr_mem],
    )
    show = Lines(sys.stdout)
    try:
        with told_by(signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
                pipe.write(text.encode())
            attend(process, show, time_limit)
    except (ToldToEnd, TimeoutError) as reason:
        process.terminate()
        try:
            attend(process, show, 3 * GRACE)
        except TimeoutError:
            process.kill()
            process.wait()
        if isinstance(reason, TimeoutError):
            limit = f"{time_limit:.0f} seconds"
            raise Failure(f"time_limit: it was ended, since it had not ended by itself after {limit}") from None
    return process.wait()


@contextlib.contextmanager
def runtime_directory(user: str) -> Iterator[Path]:
    """A directory in memory, as systemd gives one to a service: gone with the run."""
    account = pwd.getpwnam(user)
    # Made in a directory of root's, where nobody else can put anything in its place.
    directory = tempfile.mkdtemp(prefix=IDENTIFIER + "-", dir="/run")
    try:
        os.chown(directory, account.pw_uid, account.pw_gid)
        yield Path(directory)
    finally:
        # What is in it is the user's, so the user removes it. The directory itself is left to root.
        subprocess.run(
            ["rm", "-rf", "--", directory],
            cwd="/",
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        with contextlib.suppress(OSError):  # a process that the run left behind may have written to it again
            os.rmdir(directory)


def last_start(settings: Settings, job: str) -> datetime.datetime:
    """When the job ran last, or was installed, in local time."""
    started = last_record(settings, job).get("started")
    if started:
        return datetime.datetime.fromtimestamp(_epoch(started))
    return datetime.datetime.fromtimestamp((settings.job_directory(job) / "job.json").stat().st_mtime)


def missed(cron: str | None, since: datetime.datetime, now: datetime.datetime) -> bool:
    """Whether the five fields of ``cron`` name a time after ``since``, up to ``now`` (crontab(5)).

    The minute of ``now`` counts: a cron that starts with the host waits for the next one.
    """
    if not cron:
        return False
    minutes, hours, days, months, weekdays = (_numbers(*each) for each in zip(cron.lower().split(), _RANGES))
    fields = cron.split()
    either = not (fields[2].startswith("*") or fields[4].startswith("*"))
    # Looking back further than this is pointless: every expression that ever fits does so in four years.
    day = max(since.date(), (now - datetime.timedelta(days=1500)).date())
    while day <= now.date():
        fits = [day.day in days, day.isoweekday() % 7 in weekdays or (7 in weekdays and day.isoweekday() == 7)]
        if day.month in months and (any(fits) if either else all(fits)):
            for hour in sorted(hours):
                for minute in sorted(minutes):
                    moment = datetime.datetime.combine(day, datetime.time(hour, minute))
                    if since < moment <= now:
                        return True
        day += datetime.timedelta(days=1)
    return False


_RANGES = [
    (0, 59, ""),
    (0, 23, ""),
    (1, 31, ""),
    (1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"),
    (0, 7, "sunmontuewedthufrisat"),
]


def _numbers(text: str, limits: tuple[int, int, str]) -> set[int]:
    low, high, names = limits
    text = re.sub("[a-z]{3}", lambda name: str(names.index(name.group()) // 3 + low), text)
    numbers: set[int] = set()
    for item in text.split(","):
        span, dummy, step = item.partition("/")
        first, dummy, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        numbers.update(range(int(first), int(last or first) + 1, int(step or 1)))
    return numbers


# --- As the unprivileged user: one run


def run(settings: Settings, job: str, given: dict[str, Any], wait: bool, aloud: bool) -> int:
    """Run the job and tell of it; return 0 when it succeeded, or when another run is under way and not waited for.

    ``given``: what the role says of the job, in its ``job.json``.
    """
    time_limit: int = given["time_limit"]
    with lock(settings.job_directory(job), wait) as held:
        if not held:
            tell(f"{job}: not started, since a run of it is under way", aloud=aloud)
            return 0
        before = last_record(settings, job)
        result_file = _runtime() / "result.json"
        result_file.unlink(missing_ok=True)
        start = time.time()
        with open_log(settings.log_file(job)) as log:
            log.write(f"\n=== {_utc(start)} {job}\n")
            log.flush()
            shown = Progress(log, lambda said: tell(f"{job}: {said}", aloud=aloud))
            rc = call_ansible(settings, job, output=shown, result_file=result_file, time_limit=time_limit)
        said = _end_of(settings.log_file(job))
        result, provisioned = read_results(result_file, given.get("provisioning", []))
        result_file.unlink(missing_ok=True)
        record = make_record(job, Ended(rc, said, start, time.time(), time_limit), result, before, provisioned)
        write_atomically(settings.status_file(job), json.dumps(record, ensure_ascii=False, sort_keys=True) + "\n")
        write_atomically(settings.metrics_file(job), metrics(record))
    failed, left = record["outcome"] != "succeeded", any(each["left"] for each in record["provisioning"])
    priority = syslog.LOG_ERR if failed else syslog.LOG_WARNING if left else syslog.LOG_INFO
    tell(sentence(record), json.dumps(record, ensure_ascii=False, sort_keys=True), priority=priority, aloud=aloud)
    return int(failed)


def read_results(path: Path, names: Sequence[str]) -> tuple[Result, list[tuple[str, Result]]]:
    """Return what the callback left: the result of the synchronization, and that of each provisioning by its name."""
    found: dict[int, Result] = {}
    for line in path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []:
        with contextlib.suppress(ValueError):  # one that was cut off, with the next one behind it
            number, result = json.loads(line)
            found[number] = result
    return found.get(0, {}), [(name, found.get(number, {})) for number, name in enumerate(names, 1)]


def call_ansible(
    settings: Settings,
    job: str,
    *,
    dry: bool = False,
    output: TextIO | Progress | None = None,
    result_file: Path | None = None,
    time_limit: float = math.inf,
) -> int:
    """Run the job's playbook; return the exit status of ansible-playbook, or TIME_IS_UP, or TOLD_TO_END."""
    directory, runtime = settings.job_directory(job), _runtime()
    environment = {
        **settings.environment,
        **_environment(runtime),
        "PATH": f"{settings.venv}/bin:/usr/local/bin:/usr/bin:/bin",
        "ANSIBLE_CONFIG": f"{settings.config_directory}/ansible.cfg",
        "ANSIBLE_HOME": str(runtime / "ansible"),
    }
    if result_file:
        environment["USER_SYNCHRONIZATION_RESULT"] = str(result_file)
    playbook = str(directory / "playbook.yml")
    command = [sys.executable, "-I", str(PROGRAMS / "ansible-playbook"), "--inventory=localhost,", "--diff", playbook]
    if dry:
        command.append("--check")
    if (directory / "vault.yml").exists():
        command += ["--vault-id", f"{IDENTIFIER}@{PROGRAMS}/vault-key-client"]
    process = start(command, cwd=directory, env=environment, stdin=_key_reader())
    try:
        with told_by(signal.SIGTERM):
            attend(process, Lines(output or sys.stdout), time_limit)
    except ToldToEnd:
        _end(process)
        return TOLD_TO_END
    except TimeoutError:
        _end(process)
        return TIME_IS_UP
    return process.wait()


def _key_reader() -> Any:
    """What vault-key-client reads the key from, through the standard input that ansible-playbook passes on to it."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and Path(credentials, CREDENTIAL).exists():
        return open(Path(credentials, CREDENTIAL), "rb")  # the child's
    return sys.stdin


def _end(process: subprocess.Popen) -> None:
    # ansible-playbook leads a group of its own; its workers and the module belong to it.
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
            return


def _runtime() -> Path:
    """A directory of this run in memory: systemd makes it, or the root that called."""
    directory = os.environ.get("RUNTIME_DIRECTORY")
    if not directory:
        raise Failure("this needs the rights of root, which it drops: run it as root")
    return Path(directory)


def _environment(runtime: Path) -> dict[str, str]:
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(runtime), "TMPDIR": str(runtime)}


@contextlib.contextmanager
def lock(directory: Path, wait: bool = False) -> Iterator[bool]:
    """Hold the job, whoever runs it; false when somebody else does and this is not to wait for them.

    The lock is on the directory: no file is left.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


# --- Processes, and what they print


def start(command: list[str], **how: Any) -> subprocess.Popen:
    """Start a process that leads a session of its own and prints into a pipe: see `attend`."""
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, **how)


@contextlib.contextmanager
def told_by(*signals: signal.Signals) -> Iterator[None]:
    """Have the signals raise ToldToEnd. Afterwards they do nothing: what is left to do is short."""

    def raise_it(*dummy: object) -> None:
        ignore()
        raise ToldToEnd

    def ignore() -> None:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)

    for number in signals:
        signal.signal(number, raise_it)
    try:
        yield
    finally:
        ignore()


class Lines:
    """Writes what a process prints, each line in its printable form."""

    def __init__(self, target: TextIO | Progress) -> None:
        self._target = target
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._rest = ""

    def write(self, read: bytes) -> None:
        """Write the lines that are complete by now. No bytes mean the end."""
        *lines, rest = (self._rest + self._decoder.decode(read, final=not read)).split("\n")
        if rest and (not read or len(rest) > PIECE):
            lines, rest = [*lines, rest], ""
        self._rest = rest
        with contextlib.suppress(OSError):  # if nobody reads it any more, the process is to end nevertheless
            self._target.write("".join(printable(line) + "\n" for line in lines))
            self._target.flush()


class Progress:
    """A log that tells of the lines in which the collection's action plugin says how far the run is."""

    _BEGINNING = "user_synchronization: ... "

    def __init__(self, log: TextIO, say: Callable[[str], None]) -> None:
        self._log, self._say = log, say

    def write(self, text: str) -> None:
        self._log.write(text)
        for line in text.split("\n"):
            if line.startswith(self._BEGINNING):
                self._say(line[len(self._BEGINNING) :])

    def flush(self) -> None:
        self._log.flush()


def attend(process: subprocess.Popen, lines: Lines, time_limit: float) -> None:
    """Pass on what the process prints until it has ended. It is for the caller to wait for its exit status.

    What it started may live on and print for ever: that is waited for no longer than GRACE.

    Raises TimeoutError when ``time_limit``, in seconds, is over.
    """
    end = time.monotonic() + time_limit
    while not _has_ended(process):
        if time.monotonic() > end:
            raise TimeoutError
        if not _pass_on(process, lines):
            time.sleep(0.02)  # it may have closed its end of the pipe
    end = time.monotonic() + GRACE
    while time.monotonic() < end and _pass_on(process, lines):
        pass
    lines.write(b"")


def _has_ended(process: subprocess.Popen) -> bool:
    """Whether the process has ended. Popen.poll() would leave its lock held if ToldToEnd came out of it."""
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _pass_on(process: subprocess.Popen, lines: Lines) -> bool:
    """Pass on what the process printed within the last moment; return whether that was anything."""
    read = process.stdout.read1(PIECE) if select.select([process.stdout], [], [], 0.2)[0] else b""
    if read:
        lines.write(read)
    return bool(read)


# --- What comes of a run


class Ended(NamedTuple):
    """How ansible-playbook ended."""

    rc: int  # its exit status, or TIME_IS_UP, or TOLD_TO_END
    said: str  # the end of what it printed
    start: float  # in seconds since 1970
    end: float
    time_limit: int  # seconds


def make_record(
    job: str,
    ended: Ended,
    result: Result,
    before: dict[str, Any],
    provisioned: Sequence[tuple[str, Result]] = (),
) -> dict[str, Any]:
    """Return what is known of a run, in plain data: counts and reasons, no names of users.

    ``result`` is that of the synchronization. ``before`` is the record of the run before: the counters go on from it.
    """
    start, end = ended.start, ended.end
    provisionings = [_of_provisioning(name, each, end, before) for name, each in provisioned]
    outcome, message = _ending(ended, result, provisionings)
    record = {
        "job": job,
        "outcome": outcome,
        "message": message,
        "started": _utc(start),
        "finished": _utc(end),
        "seconds": round(end - start, 3),
        "last_success": _utc(end) if outcome == "succeeded" else before.get("last_success"),
        "changed": any([bool(result.get("changed")), *(each["changed"] for each in provisionings)]),
        "summary": result.get("summary") or {},
        "refused": _refused(result),
        "warnings": _warnings(result),
        "collisions": len(result.get("collisions") or []),
        "unresolved_members": len(result.get("unresolved_members") or []),
        "held": _held(result.get("held") or {}),
        "plan_digest": result.get("plan_digest"),
        "removals_digest": result.get("removals_digest"),
        "server": (result.get("read") or {}).get("server"),
        "provisioning": provisionings,
    }
    counted = before.get("runs") or {}
    record["runs"] = {each: counted.get(each, 0) + (each == outcome) for each in OUTCOMES}
    return printable_data(record)


def _ending(ended: Ended, result: Result, provisionings: Sequence[dict[str, Any]]) -> tuple[str, str | None]:
    """Return how a run ended, and why, or what it did."""
    rc = ended.rc
    if rc == TIME_IS_UP:
        return "failed", f"time_limit: the run was ended after {ended.time_limit} seconds: raise it"
    if rc == TOLD_TO_END:
        return "failed", "the run was told to end before it was done: run it again"
    why = _error_in(ended.said) or f"ansible-playbook ended with {rc}"
    if result.get("failed"):
        return "refused" if result.get("refused") else "failed", _sentences(("", result.get("msg") or why))
    bad = [each for each in provisionings if each["outcome"] in ("failed", "refused")]
    if bad:
        outcome = "failed" if any(each["outcome"] == "failed" for each in bad) else "refused"
        return outcome, _sentences(*((each["name"], each["message"] or why) for each in bad))
    if rc:
        return "failed", _sentences(("", why))
    return "succeeded", _sentences(
        ("", result.get("msg")), *((each["name"], each["message"]) for each in provisionings)
    )


def _of_provisioning(name: str, result: Result, end: float, before: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of a provisioning, likewise. Nobody knows how far one came that has no result."""
    refused = _refused(result)
    outcome = "refused" if refused else "failed" if result.get("failed") else "succeeded" if result else NOT_DONE
    known = [each["last_success"] for each in before.get("provisioning", ()) if each["name"] == printable(name)]
    return {
        "name": name,
        "outcome": outcome,
        "message": _sentences(("", result.get("msg"))),
        "last_success": _utc(end) if outcome == "succeeded" else next(iter(known), None),
        "changed": bool(result.get("changed")),
        "summary": result.get("summary") or {},
        "refused": refused,
        "warnings": _warnings(result),
        "left": result.get("left") or 0,
        **{each: len(result.get(each) or []) for each in ("collisions", "drift", "foreign", "not_provisioned")},
        "plan_digest": result.get("plan_digest"),
        "removals_digest": result.get("removals_digest"),
        "requests": (result.get("requests") or {}).get("count"),
    }


def _refused(result: Result) -> list[dict[str, Any]]:
    shown = ("limit", "about", "would_remove", "of", "option")
    return [{key: each.get(key) for key in shown} for each in result.get("refused") or []]


def _warnings(result: Result) -> list[str]:
    return [str(each) for each in result.get("warnings") or []]


def _sentences(*parts: tuple[str, str | None]) -> str | None:
    """Return what is told, in one line, each with the name of the provisioning that it is about; None if nothing is."""
    told = [(f"{name}: " if name else "") + " ".join(str(text).split()) for name, text in parts if text]
    return ". ".join([*(each.rstrip(".") for each in told[:-1]), *told[-1:]]) or None


def _held(held: dict[str, Any]) -> int:
    """Return how many changes are held: one at least where nothing is done, though there may be only some to add."""
    return max(sum(len(each) for each in held.values() if isinstance(each, list)), bool(held.get("everything")))


def sentence(record: dict[str, Any]) -> str:
    """Return one line about a run that a person can read."""
    took = f" in {record['seconds']:.1f} s" if record["outcome"] == "succeeded" else ""
    said = f": {record['message']}" if record["message"] else ""  # an earlier version noted none of a success
    return f"{record['job']}: {record['outcome']}{took}{said}"


def metrics(record: dict[str, Any]) -> str:
    """Return the record as the textfile collector of Prometheus's node exporter reads it."""
    lines = []
    for metric, kind, description, samples in itertools.chain(_of_run(record), _of_provisionings(record)):
        lines.append(f"# HELP user_synchronization_{metric} {description}")
        lines.append(f"# TYPE user_synchronization_{metric} {kind}")
        lines.extend(
            f'user_synchronization_{metric}{{name="{record["job"]}"{labels}}} {value}' for labels, value in samples
        )
    return "\n".join(lines) + "\n"


# Name, type, description, and samples: further labels and the value.
Family = tuple[str, str, str, list[tuple[str, Any]]]


def _of_run(record: dict[str, Any]) -> Iterator[Family]:
    yield ("last_run_timestamp_seconds", "gauge", "When the last run ended.", [("", _epoch(record["finished"]))])
    if record["last_success"]:
        yield (
            "last_success_timestamp_seconds",
            "gauge",
            "When the last run that succeeded ended.",
            [("", _epoch(record["last_success"]))],
        )
    yield (
        "last_run_success",
        "gauge",
        "Whether the last run succeeded.",
        [("", int(record["outcome"] == "succeeded"))],
    )
    yield ("last_run_duration_seconds", "gauge", "How long the last run took.", [("", record["seconds"])])
    yield (
        "last_run_objects",
        "gauge",
        "What the last run counted, by kind and by what became of it.",
        [
            (f',kind="{kind}",count="{count}"', number)
            for kind, counts in sorted(record["summary"].items())
            for count, number in sorted(counts.items())
        ],
    )
    yield (
        "runs_total",
        "counter",
        "Runs, by how they ended; a limit that was exceeded makes a refused run.",
        [(f',outcome="{outcome}"', record["runs"][outcome]) for outcome in OUTCOMES],
    )


def _of_provisionings(record: dict[str, Any]) -> Iterator[Family]:
    provisionings = [(f',provisioning="{_label(each["name"])}"', each) for each in record["provisioning"]]
    if not provisionings:
        return
    yield (
        "provisioning_last_success_timestamp_seconds",
        "gauge",
        "When the last run ended in which the provisioning succeeded.",
        [(label, _epoch(each["last_success"])) for label, each in provisionings if each["last_success"]],
    )
    yield (
        "provisioning_last_run_success",
        "gauge",
        "Whether the provisioning succeeded in the last run.",
        [(label, int(each["outcome"] == "succeeded")) for label, each in provisionings],
    )
    yield (
        "provisioning_left",
        "gauge",
        "How many steps the last run has left to the next one.",
        [(label, each["left"]) for label, each in provisionings],
    )
    yield (
        "provisioning_last_run_objects",
        "gauge",
        "What the last run counted in the service, by kind and by what became of it.",
        [
            (f'{label},kind="{kind}",count="{count}"', number)
            for label, each in provisionings
            for kind, counts in sorted(each["summary"].items())
            for count, number in sorted(counts.items())
        ],
    )


def _label(text: str) -> str:
    """Return the text as the value of a label, in the text-based format of Prometheus."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def last_record(settings: Settings, job: str) -> dict[str, Any]:
    """Return the record of the last run, or an empty one if there is none, or none that can be read."""
    try:
        return read_status(settings, job)
    except Failure:
        return {}


def read_status(settings: Settings, job: str) -> dict[str, Any]:
    """Return the record of the last run, in printable form, or an empty one if there is none.

    Raises Failure if what lies in its place is none. The user of the runs can put anything there.
    """
    path = settings.status_file(job)
    try:
        record = json.loads(_read_regular_file(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        record = None
    if not _is_record(record):
        raise Failure(f"'{path}' is no status file: remove it, and run the job")
    return {**printable_data(record), "job": job}


def _read_regular_file(path: Path) -> bytes:
    """Return what is in the file of a directory in the state directory.

    No link is followed, and nothing is waited for. Raises OSError if that is not possible, or the file is too long.
    """
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        owner = os.fstat(directory).st_uid
        descriptor = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=directory)
    finally:
        os.close(directory)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != owner:
            raise OSError(f"{path} is no regular file of the owner of its directory")
        content = file.read(STATUS_SIZE + 1)
    if len(content) > STATUS_SIZE:
        raise OSError(f"{path} is too long")
    return content


_MOMENT = "[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"


def _is_record(value: Any) -> bool:
    """Whether the value has the form that `make_record` gives it, as far as it is used."""
    try:
        return (
            value["outcome"] in OUTCOMES
            and all(_is_moment(value[each]) for each in ("started", "finished"))
            and (value["last_success"] is None or _is_moment(value["last_success"]))
            and 0 <= value["seconds"] < 10**9
            and all(isinstance(value["runs"][each], int) for each in OUTCOMES)
            and all(isinstance(number, int) for counts in value["summary"].values() for number in counts.values())
            and all(map(_is_of_provisioning, value.get("provisioning", [])))  # an earlier version wrote none
        )
    except (AttributeError, KeyError, TypeError):
        return False


def _is_of_provisioning(value: Any) -> bool:
    return isinstance(value["name"], str) and (value["last_success"] is None or _is_moment(value["last_success"]))


def _is_moment(text: Any) -> bool:
    try:
        return bool(re.fullmatch(_MOMENT, text)) and _epoch(text) > 0
    except (TypeError, ValueError):
        return False


def tell(text: str, data: str | None = None, *, priority: int = syslog.LOG_INFO, aloud: bool = False) -> None:
    """Say lines where they are found: in the journal, or in the system's log and, if ``aloud``, on standard output."""
    lines = [printable(line) for line in ([text] + ([data] if data else []))]
    if "JOURNAL_STREAM" in os.environ:
        # systemd takes the priority off again (sd-daemon(3)).
        print("\n".join(f"<{priority}>{line}" for line in lines), flush=True)
        return
    syslog.openlog(IDENTIFIER, syslog.LOG_PID, syslog.LOG_DAEMON)
    for line in lines:
        syslog.syslog(priority, line)
    if aloud:
        print(lines[0], flush=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a file that others may read, whole or not at all."""
    descriptor, name = tempfile.mkstemp(prefix="." + path.name, dir=path.parent)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(descriptor, 0o644)
    os.replace(name, path)


def open_log(path: Path) -> Any:
    """Open a log at its end; one that has grown too large is put aside first."""
    if path.exists() and path.stat().st_size > LOG_SIZE:
        for number in range(LOGS_KEPT, 1, -1):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{path}.{number - 1}", f"{path}.{number}")
        shutil.move(path, f"{path}.1")
    return open(path, "a", encoding="utf-8")


def _end_of(path: Path) -> str:
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 20000))
        return file.read().decode("utf-8", "replace").rpartition("\n=== ")[2]


def _error_in(said: str) -> str | None:
    """What ansible-playbook gave as the reason when it came to no result of the module."""
    found = re.search(r"^\[?ERROR\]?[:!] (.+)$", said, re.MULTILINE)
    return found.group(1) if found else None


def _utc(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _epoch(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
