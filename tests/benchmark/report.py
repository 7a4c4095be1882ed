# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables and a plot of what `measure.py` measured.

python report.py RESULT.json              prints the tables
python report.py RESULT.json FOLDER       and puts them and the plot into FOLDER/benchmarks.md and benchmarks.svg
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LABELS = {
    "ldapsearch": "`ldapsearch`, to a file",
    "python_ldap": "python-ldap",
    "ldap3": "ldap3, `paged_search`",
    "ldap_search": "`community.general.ldap_search`, in a playbook",
    "decode": "**this collection**: every entry read and decoded",
    "read": "**this collection**: reading only, to a snapshot",
    "first_run": "**this collection**: first run, everything written",
    "nothing_to_do": "**this collection**: run with nothing to do",
    "marking": "**this collection**: run with nothing to do that leaves a first mark",
    "changed": "**this collection**: run with 0.1 % changed",
    "incremental_nothing": "**this collection**: incremental run with nothing to do",
    "swept_nothing": "**this collection**: incremental run with nothing to do, by a sweep",
    "incremental_few": "**this collection**: incremental run with 100 changes",
    "incremental_changed": "**this collection**: incremental run with 0.1 % changed",
    "playbook": "**this collection**: in a playbook, nothing to do",
}


# --- tables ----------------------------------------------------------------------------------------------------------


def table(series: dict[str, Any]) -> str:
    lines = [
        "| who reads what | seconds (median) | from – to | × `ldapsearch` | peak memory |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, label in LABELS.items():
        row = series["rows"].get(name)
        if row:
            lines.append(
                "| {} | {:.2f} | {:.2f} – {:.2f} | {:.2f} | {:.0f} MB |".format(
                    label, row["seconds"], *row["spread"], row["ratio"], row["peak_mb"]
                )
            )
    return "\n".join(lines)


def heading(series: dict[str, Any]) -> str:
    rounds = "one round" if series["rounds"] == 1 else f"{series['rounds']} rounds"
    return (
        f"{series['users']:,} users, {series['groups']:,} groups, {series['memberships']:,} memberships, "
        f"{rounds} in turns"
    )


def growth_table(many: list[dict[str, Any]]) -> str:
    names = [name for name in LABELS if any(name in series["rows"] for series in many)]
    lines = [
        "| microseconds a user | " + " | ".join(f"{series['users']:,} users" for series in many) + " |",
        "|---|" + "--:|" * len(many),
    ]
    for name in names:
        cells = (
            f"{series['rows'][name]['seconds'] / series['users'] * 1e6:.1f}" if name in series["rows"] else ""
            for series in many
        )
        lines.append(f"| {LABELS[name]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def targets(result: dict[str, Any]) -> Iterator[tuple[str, float, float, str]]:
    """What the collection promises itself: (what, at most, measured, unit)."""
    by_users = {series["users"]: series["rows"] for series in result["openldap"]}
    rows = by_users.get(100_000)
    if rows:
        for name, limit in (
            ("decode", 1.2),
            ("read", 1.2),
            ("nothing_to_do", 1.6),
            ("changed", 1.7),
            ("first_run", 4.5),
        ):
            yield f"{LABELS[name].split(': ')[1]}, × `ldapsearch`", limit, rows[name]["ratio"], ""
        for name in ("decode", "read"):
            yield (
                f"{LABELS[name].split(': ')[1]}, × python-ldap",
                1.0,
                rows[name]["seconds"] / rows["python_ldap"]["seconds"],
                "",
            )
        full = rows["nothing_to_do"].get("engine_seconds")
        for name, limit in (("incremental_nothing", 0.05), ("incremental_few", 0.15)):
            if full and name in rows:
                yield (
                    f"{LABELS[name].split(': ')[1]}, × full run with nothing to do, once all is imported",
                    limit,
                    rows[name]["engine_seconds"] / full,
                    "",
                )
        yield "run with nothing to do, peak memory", 160, rows["nothing_to_do"]["peak_mb"], " MB"
        yield (
            "in a playbook, nothing to do, × `ldap_search`",
            0.25,
            rows["playbook"]["seconds"] / rows["ldap_search"]["seconds"],
            "",
        )
    if {10_000, 1_000_000} <= set(by_users):
        for name in ("first_run", "nothing_to_do"):
            few, many = by_users[10_000][name], by_users[1_000_000][name]
            what = LABELS[name].split(": ")[1]
            yield f"{what}: time a user at 1,000,000 × at 10,000", 1.3, many["seconds"] / few["seconds"] / 100, ""
            yield f"{what}: peak memory at 1,000,000 users", 1074, many["peak_mb"], " MB"


def targets_table(result: dict[str, Any]) -> str:
    lines = ["| | at most | measured | |", "|---|--:|--:|---|"]
    for what, limit, measured, unit in targets(result):
        outcome = "met" if measured <= limit else "**missed**"
        lines.append(f"| {what} | {limit:g}{unit} | {measured:.{0 if unit else 2}f}{unit} | {outcome} |")
    return "\n".join(lines)


def tables(result: dict[str, Any]) -> str:
    about = result["machine"]
    machine = (
        f"Measured on {about['cores']} cores of {about['cpu']} with {about['memory_gb']} GB of memory, "
        f"{about['system']}, Linux {about['kernel']}, Python {about['python']} ({about['python_build']}), "
        f"SQLite {about['sqlite']}, OpenLDAP {about['openldap']} (server and `ldapsearch`), ansible-core "
        f"{about['ansible-core']}, ldap3 {about['ldap3']}, python-ldap {about['python-ldap']}. "
        "All measurements are in [benchmarks.json](benchmarks.json)."
    )
    parts = [machine]
    if any(True for _target in targets(result)):
        parts += ["### Targets", targets_table(result)]
    for series in result["openldap"]:
        parts += [f"### OpenLDAP: {series['users']:,} users", heading(series) + ".", table(series)]
    if len(result["openldap"]) > 1:
        parts += ["### Growth", "![Seconds over the number of users](benchmarks.svg)", growth_table(result["openldap"])]
    if result["active_directory"]:
        series = result["active_directory"]
        parts += [f"### Active Directory (Samba): {series['users']:,} users", heading(series) + ".", table(series)]
    parts += of_stores(result)
    return "\n\n".join(parts)


# --- stores in PostgreSQL -------------------------------------------------------------------------------------------

# row -> what is compared, at most what: a ratio of the whole time, or more seconds once all is imported.
_STORES = {
    "first_run": ("seconds", "× the file's", 1.3),
    "nothing_to_do": ("seconds", "× the file's", 1.2),
    "incremental_nothing": ("engine_seconds", "s more than the file's, once all is imported", 0.05),
    "incremental_few": ("engine_seconds", "s more than the file's, once all is imported", 0.05),
}


def stores_table(rows: dict[str, Any]) -> str:
    lines = [
        "| | seconds in a file | in PostgreSQL | of a processor: file | PostgreSQL | and its server | peak memory |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name in _STORES:
        file, database = rows[name]["sqlite"], rows[name]["postgresql"]
        seconds = f"{file['seconds']:.2f} | {database['seconds']:.2f}"
        cpu = f"{file['cpu_seconds']:.2f} | {database['cpu_seconds']:.2f} | {database['server_cpu_seconds']:.2f}"
        memory = f"{file['peak_mb']:.0f} and {database['peak_mb']:.0f} MB"
        lines.append(f"| {LABELS[name].partition(': ')[2]} | {seconds} | {cpu} | {memory} |")
    return "\n".join(lines)


def stores_targets(stores: dict[str, Any]) -> str:
    lines = [
        "| a store in PostgreSQL | at most | measured | | by time of processors, the server's too |",
        "|---|--:|--:|---|--:|",
    ]
    for name, (what, noun, limit) in _STORES.items():
        file, database = (stores["rows"][name][place] for place in ("sqlite", "postgresql"))
        is_ratio, by_processors = limit > 1, ""
        measured = database[what] / file[what] if is_ratio else database[what] - file[what]
        if is_ratio:
            processors = (database["cpu_seconds"] + database["server_cpu_seconds"]) / file["cpu_seconds"]
            by_processors = f"{processors:.2f}"
        lines.append(_target(LABELS[name].partition(": ")[2], noun, limit, measured) + f" {by_processors} |")
    for place, noun in (("postgresql", "in PostgreSQL"), ("sqlite", "in a file")):
        seconds = stores["rows"]["effective_members"][place]["seconds"]
        lines.append(
            _target(f"all effective members, {stores['effective']:,} pairs", f"{noun}, s", 1.0, seconds) + " |"
        )
    return "\n".join(lines)


def _target(what: str, noun: str, limit: float, measured: float) -> str:
    shown = round(measured, 2) + 0.0  # which is never "-0.00"
    return f"| {what}, {noun} | {limit:g} | {shown:.2f} | {'met' if measured <= limit else '**missed**'} |"


def fleet_table(fleet: dict[str, Any]) -> str:
    lines = [
        "| | all, seconds | a run, seconds | slowest | longest wait for others | tries, at most | peak memory |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, phase in fleet["phases"].items():
        lines.append(
            "| {} | {:.1f} | {:.1f} | {:.1f} | {:.1f} | {} | {:.0f} MB |".format(
                LABELS[name].partition(": ")[2],
                phase["seconds"],
                phase["runs"]["seconds"],
                phase["slowest"],
                phase["longest_wait"],
                phase["tries"],
                phase["peak_mb"],
            )
        )
    return "\n".join(lines)


def of_stores(result: dict[str, Any]) -> Iterator[str]:
    """The part of the page that `stores.py` measures."""
    if "stores" in result:
        stores = result["stores"]
        yield f"### A store in PostgreSQL: {stores['users']:,} users"
        yield f"{heading(stores)}. PostgreSQL {stores['postgresql']}, psycopg {result['machine_of_stores']['psycopg']}."
        yield stores_targets(stores)
        yield stores_table(stores["rows"])
    if "fleet" in result:
        fleet = result["fleet"]
        yield "### One store for {directories} directories".format(**fleet)
        yield (
            "{directories} directories of {users_each:,} users each: {users:,} users and {memberships:,} memberships "
            "in all, {database_mb:,} MB in the database. {writers} processes at once, each one directory after another."
        ).format(**fleet)
        yield fleet_table(fleet)


# --- the plot --------------------------------------------------------------------------------------------------------

_COLOURS = {
    "ldapsearch": "#000000",
    "python_ldap": "#7f7f7f",
    "ldap3": "#8c564b",
    "ldap_search": "#d62728",
    "read": "#2ca02c",
    "first_run": "#ff7f0e",
    "nothing_to_do": "#1f77b4",
    "changed": "#17becf",
    "marking": "#aec7e8",
    "incremental_few": "#98df8a",
    "incremental_changed": "#bcbd22",
    "incremental_nothing": "#e377c2",
    "playbook": "#9467bd",
}


def plot(many: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "benchmarks", "svg.fonttype": "none"})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5.5))
    for name, colour in _COLOURS.items():
        points = [(series["users"], series["rows"][name]["seconds"]) for series in many if name in series["rows"]]
        if points:
            label = re.sub(r"[`*]", "", LABELS[name]).replace("this collection: ", "")
            ours = LABELS[name].startswith("**")
            axes.plot(*zip(*points), "o-" if ours else "x--", color=colour, label=label, markersize=5)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="users",
        ylabel="seconds",
        title="Reading and synchronizing an OpenLDAP server",
    )
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


# --- into the documentation ------------------------------------------------------------------------------------------

_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"


def main(result_file: Path, folder: Path | None = None) -> None:
    result = json.loads(result_file.read_text(encoding="utf-8"))
    text = tables(result)
    print(text)
    if folder is None:
        return
    plot(result["openldap"], folder / "benchmarks.svg")
    page = folder / "benchmarks.md"
    before = page.read_text(encoding="utf-8") if page.exists() else f"# Benchmarks\n\n{_BEGIN}\n{_END}\n"
    head, _begin, rest = before.partition(_BEGIN)
    page.write_text(f"{head}{_BEGIN}\n\n{text}\n\n{_END}{rest.partition(_END)[2]}", encoding="utf-8")
    if result_file.resolve() != (folder / "benchmarks.json").resolve():
        shutil.copyfile(result_file, folder / "benchmarks.json")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
