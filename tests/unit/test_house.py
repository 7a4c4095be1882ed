# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the house (docs/architecture.md): who may import whom, and what must agree with what."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import sysconfig
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.on_one_python

CHECKOUT = Path(__file__).resolve().parents[2]
PLUGINS = CHECKOUT / "plugins"
MODULE_UTILS = PLUGINS / "module_utils"
MODULES = sorted((PLUGINS / "modules").glob("*.py"))
PREFIX = "ansible_collections.usersync.directory."
ALL_MODULE_UTILS = sorted(MODULE_UTILS.rglob("*.py"))
TESTS = CHECKOUT / "tests"


def _python_files(path: Path) -> list[Path]:
    return list(path.rglob("*.py")) if path.is_dir() else [path] if path.suffix == ".py" else []


# Beside these, tests/output has what other sessions make and take away meanwhile.
ALL_TESTS = sorted(path for folder in TESTS.iterdir() if folder.name != "output" for path in _python_files(folder))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def imports(path: Path) -> set[str]:
    """What a file imports at run time, anywhere in it: dotted names, those of this collection from ``plugins.`` on."""
    found = set()
    package = path.relative_to(CHECKOUT).with_suffix("").parts[:-1]

    def visit(statements: list[ast.stmt]) -> None:
        for node in statements:
            if isinstance(node, ast.Import):
                found.update(alias.name.replace(PREFIX, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else ()
                module = ".".join([*base, *filter(None, [node.module])]).replace(PREFIX, "")
                # `from .. import _model` names a module, `from .._model import User` something in one: both are listed.
                found.add(module)
                found.update(f"{module}.{alias.name}" for alias in node.names)
            elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
                visit(getattr(node, "body", []))
            for handler in [*getattr(node, "handlers", []), *getattr(node, "cases", [])]:
                visit(handler.body)
            visit(getattr(node, "orelse", []))
            visit(getattr(node, "finalbody", []))

    visit(parsed(path).body)
    return found


def breaking(paths: list[Path], is_forbidden) -> list[str]:
    return [
        f"{path.relative_to(CHECKOUT)} imports {name}"
        for path in paths
        for name in sorted(imports(path))
        if is_forbidden(name)
    ]


def under(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def is_of_python(name: str) -> bool:
    """Whether a module comes with Python. (sys.stdlib_module_names came with 3.10.)"""
    top = name.partition(".")[0]
    if top in sys.builtin_module_names:
        return True
    found = importlib.util.find_spec(top)
    if found is None:
        return False
    origin = found.origin or ""
    return origin == "frozen" or (
        Path(origin).is_relative_to(sysconfig.get_path("stdlib")) and "site-packages" not in origin
    )


def below(folder: str) -> list[Path]:
    return sorted((MODULE_UTILS / folder).rglob("*.py"))


def section(path: Path, variable: str) -> str:
    """The text that a plugin assigns to DOCUMENTATION, or a doc fragment's class to it."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == variable:
            return ast.literal_eval(node.value)
    raise LookupError(f"{path} has no {variable}")


# What everybody may import.
PLAIN_DATA = ("_named_tuple", "_names", "_attributes", "_graph", "_model", "_changes", "_mark")


def test_modules_know_neither_ldap_nor_sql():
    assert MODULES
    assert breaking(MODULES, lambda name: under(name, "ldap3", "pyasn1", "gssapi", "sqlite3")) == []


def test_directory_and_store_do_not_know_each_other():
    assert below("_directory")
    assert below("_store")
    assert breaking(below("_directory"), lambda name: under(name, "plugins.module_utils._store", "sqlite3")) == []
    assert breaking(below("_store"), lambda name: under(name, "plugins.module_utils._directory", "ldap3")) == []


def test_a_destination_knows_neither_a_store_nor_a_directory():
    assert below("_destination")
    others = ("_store", "_directory", "_provisioning", "_plan", "_changes.Plan")
    theirs = [f"plugins.module_utils.{name}" for name in others]
    assert breaking(below("_destination"), lambda name: under(name, *theirs, "sqlite3", "ldap3")) == []
    contract = MODULE_UTILS / "_destination" / "contract.py"
    assert breaking([contract], lambda name: "_destination" in name or under(name, "http", "urllib", "json")) == []


def test_a_provisioning_is_planned_by_what_is_pure():
    """It knows of destinations what the contract says. Only `carry_out.py` asks one, and a ledger."""
    allowed = (*PLAIN_DATA, "_destination.contract", "_errors", "_limits", "_printable", "_provisioning", "_report.cut")
    theirs = [f"plugins.module_utils.{name}" for name in allowed]

    def is_forbidden(name: str) -> bool:
        if is_of_python(name) or name in ("plugins.module_utils", "plugins.module_utils._destination"):
            return under(name, "socket", "http", "time", "random", "sqlite3")
        return not under(name, *theirs)

    paths = below("_provisioning")
    assert {path.stem for path in paths} >= {"carry_out", "digests", "ledger", "limits", "plan", "wanted"}
    assert breaking(paths, is_forbidden) == []
    pure = [path for path in paths if path.stem not in ("carry_out", "ledger")]
    asking = [f"plugins.module_utils._provisioning.{name}" for name in ("carry_out", "ledger")]
    assert breaking(pure, lambda name: under(name, *asking)) == []


def test_what_destinations_need_comes_with_python():
    def is_forbidden(name: str) -> bool:
        return not (is_of_python(name) or under(name, "plugins.module_utils"))

    assert breaking([*below("_destination"), MODULE_UTILS / "_tls.py"], is_forbidden) == []


# What only the embedded store needs.
SQLITE = tuple(path.stem for path in below("_store") if path.stem.startswith("sqlite"))
POSTGRESQL = [path for path in below("_store") if path.stem.startswith("postgresql")]
OF_ANY_STORE = ("address", "opening")  # which know what there is
SHARED = [path for path in below("_store") if path.stem not in (*SQLITE, *OF_ANY_STORE) and path not in POSTGRESQL]


def test_what_all_stores_share_does_not_know_sqlite():
    assert {path.stem for path in SHARED} >= {"apply", "by_hand", "contract", "history", "load", "lookups"}
    theirs = [f"plugins.module_utils._store.{name}" for name in (*SQLITE, *(path.stem for path in POSTGRESQL))]
    assert breaking(SHARED, lambda name: under(name, "sqlite3", "psycopg", *theirs)) == []


def test_the_stores_do_not_know_each_other():
    assert len(POSTGRESQL) > 3
    embedded = [f"plugins.module_utils._store.{name}" for name in SQLITE]
    assert breaking(POSTGRESQL, lambda name: under(name, "sqlite3", *embedded)) == []
    assert (
        breaking([MODULE_UTILS / "_store" / f"{name}.py" for name in SQLITE], lambda name: "postgresql" in name) == []
    )


# What databases that speak PostgreSQL's protocol lack, or do otherwise.
NOT_PORTABLE = re.compile(
    r"\bDEFERR|advisory|SERIAL\b|\bAS IDENTITY\b|\bnextval\b|\bSEQUENCE\b|\bTRIGGER\b|\bTEMP(?:ORARY)?\b"
    r"|\bLOCK TABLE\b|\bLISTEN\b|\bEXTENSION\b|\bplpgsql\b|\bMERGE\b|\bctid\b|\bSKIP LOCKED\b|\bCREATE TYPE\b"
    r"|\bjsonb?\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("path", SHARED + POSTGRESQL, ids=lambda path: path.stem)
def test_statements_for_postgresql_are_portable(path):
    verbs = re.compile(r"\b(?:CREATE|SELECT|INSERT|UPDATE|DELETE|ALTER|COPY)\b")
    assert [text for text in texts(path) if verbs.search(text) and NOT_PORTABLE.search(text)] == []


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE a (b bigint REFERENCES c DEFERRABLE INITIALLY DEFERRED)",
        "SELECT pg_advisory_xact_lock(1)",
        "CREATE TABLE a (id bigserial PRIMARY KEY, n SERIAL)",
        "CREATE TEMP TABLE wanted (id bigint)",
        "SELECT nextval('a')",
    ],
)
def test_what_is_not_portable_is_found(statement):
    assert NOT_PORTABLE.search(statement)


# Written otherwise: INSERT ... ON CONFLICT, a parameter by its name, `column IS NULL OR column <> ?`, `flag = 1`; and a
# condition on nothing is left out.
ONLY_SQLITE = re.compile(
    r"\bOR (?:IGNORE|REPLACE)\b|\bPRAGMA\b|\?[0-9]|\bIS (?:NOT )?[?:]|\bCOLLATE\b|\bGLOB\b|\browid\b|\btotal\("
    r"|(?:\?|:\w+) IS (?:NOT )?NULL\b"
    r"|\bNOT (?:changed|checked|enabled|adopted|made_as_target)\b"
    r"|(?:WHERE|AND|OR|WHEN) (?:\w\.)?(?::\w+|changed|checked|enabled|adopted|made_as_target)(?= *(?:AND|OR|THEN|\)|$))"
)


def texts(path: Path) -> list[str]:
    """The texts of a file that are no docstring, with what is put together of several taken apart."""
    return [
        node.value
        for statement in ast.walk(parsed(path))
        if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for node in ast.iter_child_nodes(statement)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


@pytest.mark.parametrize("path", SHARED, ids=lambda path: path.stem)
def test_statements_that_all_stores_share_are_written_in_what_databases_have_in_common(path):
    """`_store/contract.py` says what a store of another database puts into its own words; nothing else is to differ."""
    assert [text for text in texts(path) if ONLY_SQLITE.search(text)] == []


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT OR IGNORE INTO leaving SELECT 1",
        "PRAGMA cache_size = 1",
        "UPDATE users SET name = ?1",
        "SELECT 1 FROM users WHERE synchronization_id IS NOT ?",
        "SELECT 1 FROM users WHERE synchronization_id IS :me",
        "SELECT 1 FROM users WHERE (? IS NULL OR name_key = ?)",
        "SELECT 1 FROM users WHERE sid = ? COLLATE NOCASE",
        "DELETE FROM runs WHERE NOT changed",
        "SELECT 1 FROM users u WHERE u.id = 1 AND u.enabled AND u.extinct IS NULL",
        "SELECT time FROM runs WHERE checked ORDER BY id",
        "SELECT CASE WHEN :same THEN 1 END",
    ],
)
def test_what_only_sqlite_understands_is_found(statement):
    assert ONLY_SQLITE.search(statement)


@pytest.mark.parametrize("path", below("_store"), ids=lambda path: path.stem)
def test_a_store_has_no_large_functions_and_classes(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 45, node.name
        if isinstance(node, ast.ClassDef):
            assert node.end_lineno - node.lineno < 400, node.name
            methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
            assert len(methods) < 22, node.name


@pytest.mark.parametrize("name", ["_limits.py", "_plan", "_report", "_selected.py"])
def test_the_pure_parts_import_only_plain_data_and_what_makes_text_printable(name):
    paths = _python_files(MODULE_UTILS / name)
    assert paths

    def is_forbidden(imported: str) -> bool:
        if is_of_python(imported) or imported == "plugins.module_utils":
            return False
        allowed = (*PLAIN_DATA, "_printable", *([name] if name in ("_plan", "_report") else []))
        return not under(imported, *(f"plugins.module_utils.{each}" for each in allowed))

    assert breaking(paths, is_forbidden) == []


def test_what_is_held_is_decided_by_plain_data():
    allowed = [f"plugins.module_utils.{name}" for name in (*PLAIN_DATA, "_limits")]

    def is_forbidden(name: str) -> bool:
        return not (is_of_python(name) or name == "plugins.module_utils" or under(name, *allowed))

    assert breaking([MODULE_UTILS / "_hold.py"], is_forbidden) == []


def test_module_utils_do_not_know_ansible_module():
    assert breaking(ALL_MODULE_UTILS, lambda name: under(name, "ansible.module_utils.basic")) == []


# --- the rooms of a read

SCRIPTS = ("full", "changed")
# The rooms that only one of the scripts has.
OF_FULL = ("containers", "naming")
OF_CHANGED = ("anywhere", "as_stored", "by_key", "by_others", "candidates", "concerned", "primary_groups", "told")


def test_the_ways_to_read_do_not_know_each_other_and_the_rooms_do_not_know_them():
    def of_directory(path: Path) -> set[str]:
        names = [name.split("._directory.", 1)[1] for name in imports(path) if "._directory." in name]
        return {name.partition(".")[0] for name in names}

    knows = {path.stem: of_directory(path) for path in below("_directory")}
    assert {*SCRIPTS, *OF_FULL, *OF_CHANGED} <= knows.keys()
    assert [name for name in knows if knows[name].intersection(SCRIPTS)] == []
    assert knows["full"].isdisjoint(OF_CHANGED) and knows["changed"].isdisjoint(OF_FULL)
    assert not any(knows["reading"].intersection(rooms) for rooms in (OF_FULL, OF_CHANGED))


def _attributes(room: ast.ClassDef) -> set[str]:
    return {
        node.attr
        for node in ast.walk(room)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }


def test_the_rooms_are_small():
    rooms = [
        (path, node)
        for path in below("_directory")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
    ]
    assert len(rooms) > 40
    assert [(path.name, room.name) for path, room in rooms if room.end_lineno - room.lineno > 400] == []
    assert [(path.name, room.name) for path, room in rooms if len(_attributes(room)) > 20] == []


# They run for each value of each entry, so their steps are written out.
HOT = ("decode_entry", "_decode_attribute")


def _lines(function: ast.FunctionDef) -> int:
    """Without its docstring."""
    documented = ast.get_docstring(function) is not None
    return function.end_lineno - (function.body[0].end_lineno if documented else function.lineno)


def _parameters(function: ast.FunctionDef) -> int:
    names = [each.arg for each in (*function.args.args, *function.args.kwonlyargs)]
    return len(names) - (names[:1] == ["self"])


def test_what_is_in_the_rooms_is_small():
    functions = [
        (path, node)
        for path in below("_directory")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef) and node.name not in HOT
    ]
    assert len(functions) > 400
    assert [(path.name, each.name) for path, each in functions if _lines(each) > 45] == []
    assert [path.name for path in below("_directory") if path.read_text(encoding="utf-8").count("\n") > 500] == []


def test_no_function_takes_many_values():
    functions = [
        (path, node)
        for path in ALL_MODULE_UTILS
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(functions) > 1500
    assert [(path.name, each.name) for path, each in functions if _parameters(each) > 6] == []


# What few runs need is imported in the function that needs it: a module is compiled anew in each run, from an archive.
LATE = {
    *("_directory.full", "_directory.by_users", "_directory.lost", "_directory.proofs.asking", "_report.diff"),
    *(
        "_directory.changes.usn",
        "_directory.changes.lists",
        "_directory.connect.kerberos",
        "_directory.connect.dns_srv",
    ),
    *("_store.write_plan", "_store.lookups", "_store.events", "_store.postgresql"),
    *("_store.sqlite_backups", "_store.sqlite_damage"),
}


def _first_imports(path: Path) -> set[Path]:
    """The files under module_utils that a file imports as soon as it is imported itself."""
    late = {
        id(node)
        for function in ast.walk(parsed(path))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
    }
    checking = {
        id(node)
        for test in ast.walk(parsed(path))
        if isinstance(test, ast.If) and "TYPE_CHECKING" in ast.unparse(test.test)
        for statement in test.body
        for node in ast.walk(statement)
    }
    found: set[Path] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.level and id(node) not in late | checking:
            base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            found.update(base / f"{alias.name}.py" for alias in node.names)
            found.add(base.with_suffix(".py"))
    return {each for each in found if each.exists()}


def test_a_run_that_has_nothing_to_do_imports_nothing_more():
    files = {name: MODULE_UTILS.joinpath(*name.split(".")).with_suffix(".py") for name in LATE}
    assert [name for name, path in files.items() if not path.exists()] == []
    # `_read` imports the second: it is the script of a read of what changed.
    left, reached = [MODULE_UTILS / "_synchronize.py", MODULE_UTILS / "_directory" / "changed.py"], set()
    while left:
        path = left.pop()
        if path not in reached:
            reached.add(path)
            left.extend(_first_imports(path))
    assert len(reached) > 100
    assert {name for name, path in files.items() if path in reached} == set()


def test_named_tuples_are_made_the_fast_way():
    others = [path for path in ALL_MODULE_UTILS if path.name != "_named_tuple.py"]
    assert breaking(others, lambda name: name in ("typing.NamedTuple", "collections.namedtuple", "dataclasses")) == []


def test_module_utils_are_marked_private():
    unmarked = [str(path) for path in ALL_MODULE_UTILS if "\n# PRIVATE:" not in path.read_text(encoding="utf-8")]
    assert unmarked == []


def test_action_groups_are_those_that_the_documentation_says():
    runtime = (CHECKOUT / "meta" / "runtime.yml").read_text(encoding="utf-8")
    for group in ("connection", "store"):
        block = re.search(rf"^  {group}:\n((?:    .*\n?)+)", runtime, re.MULTILINE)
        members = set(re.findall(r"^    - (\w+)$", block.group(1), re.MULTILINE))
        extending = {
            path.stem
            for path in MODULES
            if re.search(rf"^\s*- usersync\.directory\.{group}$", section(path, "DOCUMENTATION"), re.MULTILINE)
        }
        assert members == extending, f"action group {group}"


def test_every_module_has_a_functional_test():
    tests = "".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "tests" / "functional").glob("test_*.py"))
    assert [path.stem for path in MODULES if f"usersync.directory.{path.stem}" not in tests] == []


def _releases() -> list[tuple[int, ...]]:
    """The releases that the changelog knows."""
    changelog = (CHECKOUT / "changelogs" / "changelog.yaml").read_text(encoding="utf-8")
    return sorted(map(_version, re.findall(r"^  (\d+\.\d+\.\d+):$", changelog, re.MULTILINE)))


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def test_the_version_is_that_of_the_newest_release():
    galaxy = (CHECKOUT / "galaxy.yml").read_text(encoding="utf-8")
    assert _version(re.search(r"^version: (\S+)$", galaxy, re.MULTILINE).group(1)) == _releases()[-1]


def test_what_was_added_came_with_a_release_or_comes_with_the_next():
    major, minor, _patch = _releases()[-1]
    known = {*_releases(), (major, minor + 1, 0), (major + 1, 0, 0)}
    documented = [*PLUGINS.rglob("*.py"), *CHECKOUT.glob("roles/*/meta/argument_specs.yml")]
    added = [
        (path.name, version)
        for path in documented
        for version in re.findall(r"^ *version_added: (\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert len(added) > 20
    assert [each for each in added if _version(each[1]) not in known] == []


DOCUMENTED = sorted(path for kind in ("modules", "lookup", "filter") for path in (PLUGINS / kind).glob("*.py"))


@pytest.mark.parametrize("path", DOCUMENTED, ids=lambda path: path.stem)
def test_every_module_and_plugin_says_what_to_see_beside_it_and_since_when_it_is_there(path):
    said = section(path, "DOCUMENTATION")
    assert re.search(r"^version_added: ", said, re.MULTILINE)
    assert re.search(r"^seealso:\n  - ", said, re.MULTILINE)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_module_says_on_what_platform_it_runs_and_what_modes_it_has(path):
    fragments = re.findall(
        r"^  - usersync\.directory\.attributes(?:\.(\w+))?$", section(path, "DOCUMENTATION"), re.MULTILINE
    )
    given = next(fragment for fragment in fragments if not fragment.startswith("action_group"))
    for node in ast.walk(parsed(PLUGINS / "doc_fragments" / "attributes.py")):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == (given.upper() or "DOCUMENTATION"):
            said = ast.literal_eval(node.value)
    assert all(f"\n  {attribute}:\n" in said for attribute in ("check_mode", "diff_mode", "idempotent", "platform"))


def test_the_page_about_playbooks_has_all_of_them_and_their_variables():
    page = (CHECKOUT / "docs" / "playbooks.md").read_text(encoding="utf-8")
    playbooks = sorted((CHECKOUT / "playbooks").glob("*.yml"))
    assert playbooks
    for playbook in playbooks:
        head = playbook.read_text(encoding="utf-8").partition("\n- ")[0]
        variables = re.findall(r"^#   (\w+)  ", head, re.MULTILINE)
        assert f"$ ansible-playbook usersync.directory.{playbook.stem} " in page
        assert variables and [name for name in variables if f"`{name}`" not in page] == []


def test_no_sanity_test_is_ignored():
    ignoring = [path.name for path in (CHECKOUT / "tests" / "sanity").glob("ignore-*.txt") if path.read_text().strip()]
    assert ignoring == []


def test_the_oldest_release_of_ansible_core_is_said_once_for_all():
    texts = {name: (CHECKOUT / name).read_text(encoding="utf-8") for name in ("meta/runtime.yml", "noxfile.py")}
    oldest = re.search(r"requires_ansible: '>=(\d+\.\d+)\.0'", texts["meta/runtime.yml"]).group(1)
    assert f'OLDEST, NEWEST = "{oldest}"' in texts["noxfile.py"]
    for page in ("README.md", "roles/user_synchronization/README.md"):
        said = re.findall(r"ansible-core (\d+\.\d+)", (CHECKOUT / page).read_text(encoding="utf-8"))
        assert said[:1] == [oldest], page
    about = (CHECKOUT / "roles/user_synchronization/meta/main.yml").read_text(encoding="utf-8")
    assert f"min_ansible_version: {oldest}.0\n" in about


# --- the tests themselves


def test_no_test_imports_another():
    """What several share is in tests/support."""
    assert len(ALL_TESTS) > 50
    assert breaking(ALL_TESTS, lambda name: name.rpartition(".")[2].startswith("test_")) == []


def test_what_is_left_to_chance_comes_of_the_seed():
    """The generator is that of tests/seeds.py, which can be had again. What needs a port or a race is in support."""
    drawing = [
        f"{path.relative_to(TESTS)}: {ast.unparse(node)}"
        for path in ALL_TESTS
        if path.parts[len(TESTS.parts)] in ("unit", "functional") and path.name != "test_seeds.py"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        and re.match(r"random\.|os\.urandom|secrets\.|uuid\.uuid4", ast.unparse(node.func))
    ]
    assert drawing == []


def test_only_its_own_tests_know_the_private_parts_of_the_wire():
    """What takes its bytes from there would be wrong in the same way: tests/support/ber.py makes them."""
    using = {
        path.name
        for path in ALL_TESTS
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and ast.unparse(node.value).rpartition(".")[2] == "wire"
    }
    assert using <= {"test_wire.py", "test_bounds.py"}
    assert breaking(ALL_TESTS, lambda name: "_directory.wire._" in name) == []


def test_only_one_place_of_the_tests_opens_a_store_with_sqlite():
    """Apart from the tests of SQLite's files: so that the others can be run on another store."""
    opening = {
        str(path.relative_to(TESTS)) for path in ALL_TESTS if any(under(name, "sqlite3") for name in imports(path))
    }
    assert opening == {
        "support/stored.py",
        "functional/test_crashes.py",
        "unit/test_backups.py",
        "unit/test_damage.py",
        "unit/test_earlier_versions.py",
        "unit/test_sqlite_file.py",
        "unit/test_sqlite_links.py",
    }
