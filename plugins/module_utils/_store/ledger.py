# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What a store keeps of a provisioning: see `Ledger` in `_provisioning/ledger.py`.

It is read at once, from one moment. Each call that writes is a transaction: nothing is held while a service is asked,
so a synchronization does not wait for a provisioning that takes hours. The first one says who writes from now on: two
runs of one provisioning do not work side by side. A run that was killed holds nothing: its process is not there.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterable, Iterator

from .._destination.contract import Kind, Record, State
from .._named_tuple import NamedTuple
from .._provisioning.model import Link, Ref
from . import opening
from .address import Address, Database
from .contract import Store, StoreError
from .forms import from_json, to_json
from .ledger_forms import record_from_text, record_to_text, shown_from_text
from .statements import first

_SILENT_FOR = 1800  # seconds: who wrote nothing for so long on another host is thought to be gone
_NOBODY = ""


class Kept(NamedTuple):
    """All that is kept of a provisioning."""

    number: int  # its id in the store; 0 if there is none yet
    destination: str
    run: str
    links: dict[Ref, Link]
    numbers: dict[Ref, int]  # of links, in the store
    intents: dict[Ref, Record]
    allowed: frozenset[str]
    told: str  # what user_group_changes returned, as text


NOTHING = Kept(0, "", "", {}, {}, {}, frozenset(), "")


# --- read ------------------------------------------------------------------------------------------------------------


def kept(store: Store, name: str) -> Kept:
    """Return what the store keeps of the provisioning of this name."""
    row = first(store, "SELECT id, destination, run, told FROM provisionings WHERE name = ?", (name,))
    if row is None:
        return NOTHING
    number, destination, run, told = row
    links, numbers = {}, {}
    for link, kind, key, there, written, shown, departed, gone in store.rows(
        "SELECT id, kind, key, destination_id, written, shown, departed, gone FROM links WHERE provisioning_id = ?",
        (number,),
    ):
        ref = Ref(Kind(kind), key)
        record, own_way = record_from_text(written), shown_from_text(shown)
        links[ref] = Link(there, record, own_way, departed=bool(departed), gone=bool(gone))
        numbers[ref] = link
    members = _members_of(store, number, links)
    for ref, link in numbers.items():
        sure, coming, leaving = (frozenset(members.get((link, each), ())) for each in (_SURE, _COMING, _LEAVING))
        if sure or coming or leaving:
            links[ref] = links[ref]._replace(members=sure | leaving, in_doubt=coming | leaving)
    intents = {
        Ref(Kind(kind), key): record_from_text(record)
        for kind, key, record in store.rows(
            "SELECT kind, key, record FROM intents WHERE provisioning_id = ?", (number,)
        )
    }
    allowed = store.rows("SELECT removal FROM allowed WHERE provisioning_id = ?", (number,))
    return Kept(number, destination, run, links, numbers, intents, frozenset(text for (text,) in allowed), told)


def _members_of(store: Store, number: int, links: Iterable[Ref]) -> dict[tuple[int, int], list[Ref]]:
    """Return {(link, doubt): members}, the same objects as in ``links``: there are more memberships than users."""
    refs = {(ref.kind.value, ref.key): ref for ref in links}
    members: dict[tuple[int, int], list[Ref]] = {}
    for link, kind, key, in_doubt in store.rows(
        "SELECT m.link_id, m.kind, m.key, m.in_doubt FROM links l CROSS JOIN link_members m"
        " WHERE l.provisioning_id = ? AND m.link_id = l.id",
        (number,),
    ):
        members.setdefault((link, in_doubt), []).append(refs.get((kind, key)) or Ref(Kind(kind), key))
    return members


# --- written ---------------------------------------------------------------------------------------------------------


class StoreLedger:
    """The ledger of one run of a provisioning. Leave it by `close`."""

    def __init__(self, address: Address, wait: int, name: str, destination: str, before: Kept) -> None:
        """``before`` is what was read; ``wait``: for how many seconds, while a synchronization holds the store."""
        if before.number and before.destination != destination:
            raise StoreError(
                "url: the provisioning '%s' belongs to '%s': give this one another name, or end that one by state: "
                "released" % (name, before.destination)
            )
        self._address, self._wait = address, wait
        self._name, self._destination = name, destination
        self._before, self._number = before, before.number
        self._links, self._intents, self._allowed = dict(before.links), dict(before.intents), before.allowed
        self._told = before.told
        self._numbers = dict(before.numbers)
        self._run = uuid.uuid4().hex
        self._holds = False
        self._store: Store | None = None
        self._inside: Store | None = None  # of `at_once`

    # --- what is kept ---

    def links(self) -> dict[Ref, Link]:
        return dict(self._links)

    def intents(self) -> dict[Ref, Record]:
        return dict(self._intents)

    def allowed(self) -> frozenset[str]:
        return self._allowed

    def told(self) -> str:
        return self._told

    # --- calls that write ---

    def intend(self, ref: Ref, record: Record) -> None:
        with self._writing() as store:
            self._end_intent(store, ref)
            store.run(
                "INSERT INTO intents (provisioning_id, kind, key, record) VALUES (?, ?, ?, ?)",
                (self._number, ref.kind.value, ref.key, record_to_text(record)),
            )
        self._intents[ref] = record

    def not_created(self, ref: Ref) -> None:
        with self._writing() as store:
            self._end_intent(store, ref)
        self._intents.pop(ref, None)

    def link(self, ref: Ref, link: Link) -> None:
        before = self._links.get(ref)
        with self._writing() as store:
            if ref in self._intents:
                self._end_intent(store, ref)
            self._write_link(store, ref, link)
            self._write_members(store, ref, link, before or _NO_LINK)
            if before and _is_in(before) and not _is_in(link):
                self._note(store, _end_of(link), ref, before)
        self._links[ref] = link
        self._intents.pop(ref, None)

    def forget(self, ref: Ref) -> None:
        with self._writing() as store:
            self._end_intent(store, ref)
            if ref in self._links:
                self._note(store, "ended", ref, self._links[ref])
                number = self._numbers.pop(ref)
                store.run("DELETE FROM link_members WHERE link_id = ?", (number,))
                store.run("DELETE FROM links WHERE id = ?", (number,))
        self._links.pop(ref, None)
        self._intents.pop(ref, None)

    def allow(self, what: frozenset[str]) -> None:
        if what == self._allowed and self._holds:
            return
        with self._writing() as store:
            store.run("DELETE FROM allowed WHERE provisioning_id = ?", (self._number,))
            store.insert("allowed", ("provisioning_id", "removal"), [(self._number, text) for text in sorted(what)])
        self._allowed = what

    def tell(self, what: str) -> None:
        """Keep what user_group_changes returns, in place of what there was."""
        if what == self._told:
            return
        with self._writing() as store:
            store.run("UPDATE provisionings SET told = ? WHERE id = ?", (what, self._number))
        self._told = what

    def release(self) -> None:
        """Forget all that is kept but what ended: what is there stays there, and nobody is linked to it."""
        with self._writing() as store:
            for ref in sorted(self._links):
                self._note(store, "released", ref, self._links[ref])
            store.run(
                "DELETE FROM link_members WHERE link_id IN (SELECT id FROM links WHERE provisioning_id = ?)",
                (self._number,),
            )
            for table in ("links", "intents", "allowed"):
                store.run("DELETE FROM %s WHERE provisioning_id = ?" % table, (self._number,))
            store.run("DELETE FROM provisionings WHERE id = ?", (self._number,))
        self._links, self._numbers, self._intents, self._allowed, self._told = {}, {}, {}, frozenset(), ""
        self._number, self._holds = 0, False

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Make one transaction of all calls inside. If it raises, this ledger is of no use any more."""
        with self._writing() as store:
            self._inside = store
            try:
                yield
            finally:
                self._inside = None

    def close(self) -> None:
        """Say that this run writes no more."""
        try:
            if self._holds:
                with self._writing() as store:
                    store.run("UPDATE provisionings SET holder = ? WHERE id = ?", (_NOBODY, self._number))
                self._holds = False
        finally:
            if self._store is not None:
                self._store.close()
                self._store = None

    # --- one transaction ---

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Store]:
        if self._inside is not None:
            yield self._inside
            return
        with self._opened() as store, store.aside():
            now = int(time.time())
            if self._holds:
                found = store.run(
                    "UPDATE provisionings SET seen = ? WHERE id = ? AND run = ?", (now, self._number, self._run)
                )
                if not found:
                    raise StoreError(
                        "name: another run of the provisioning '%s' has begun, or it was ended: this one stops"
                        % self._name
                    )
                yield store
            else:
                self._begin(store, now)
                yield store
        self._holds = True

    def _opened(self) -> contextlib.AbstractContextManager[Store]:
        """A database stays connected; a file is held only while it is written, so that a synchronization gets it."""
        if not isinstance(self._address, Database):
            return opening.open_store(self._address, self._wait)
        if self._store is None:
            self._store = opening.open_store(self._address, self._wait)
        return contextlib.nullcontext(self._store)

    def _begin(self, store: Store, now: int) -> None:
        row = first(store, "SELECT id, run, holder, seen FROM provisionings WHERE name = ?", (self._name,))
        number, run, holder, seen = row or (0, "", _NOBODY, 0)
        if _is_at_work(holder, seen, now):
            raise StoreError("name: another run of the provisioning '%s' is at work: wait for its end" % self._name)
        if (number, run) != (self._before.number, self._before.run):
            raise StoreError("name: another run of the provisioning '%s' came between: run it again" % self._name)
        values = (self._run, _this_process(), now)
        if number:
            store.run("UPDATE provisionings SET run = ?, holder = ?, seen = ? WHERE id = ?", (*values, number))
        else:
            number = store.add(
                "INSERT INTO provisionings (name, destination, run, holder, seen, told) VALUES (?, ?, ?, ?, ?, ?)",
                (self._name, self._destination, *values, self._told),
            )
        self._number = number

    # --- statements ---

    def _end_intent(self, store: Store, ref: Ref) -> None:
        store.run(
            "DELETE FROM intents WHERE provisioning_id = ? AND kind = ? AND key = ?",
            (self._number, ref.kind.value, ref.key),
        )

    def _write_link(self, store: Store, ref: Ref, link: Link) -> None:
        values = (link.id, record_to_text(link.written), to_json(dict(link.shown)), int(link.departed), int(link.gone))
        if ref in self._numbers:
            store.run(
                "UPDATE links SET destination_id = ?, written = ?, shown = ?, departed = ?, gone = ? WHERE id = ?",
                (*values, self._numbers[ref]),
            )
            return
        self._numbers[ref] = store.add(
            "INSERT INTO links (provisioning_id, kind, key, destination_id, written, shown, departed, gone)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (self._number, ref.kind.value, ref.key, *values),
        )

    def _write_members(self, store: Store, ref: Ref, link: Link, before: Link) -> None:
        """Write what differs: a group of 10,000 members costs its changes."""
        number = self._numbers[ref]
        changed = sorted((before.members ^ link.members) | (before.in_doubt ^ link.in_doubt))
        store.many(
            "DELETE FROM link_members WHERE link_id = ? AND kind = ? AND key = ?",
            [(number, each.kind.value, each.key) for each in changed if _is_inside(before, each)],
        )
        added = [
            (number, each.kind.value, each.key, _doubt_of(link, each)) for each in changed if _is_inside(link, each)
        ]
        if added:
            store.insert("link_members", ("link_id", "kind", "key", "in_doubt"), added)
        for each in changed:
            if each in before.members and not _is_inside(link, each) and each in self._links:
                self._note(store, "member_removed", each, self._links[each], link.written.name)

    def _note(self, store: Store, event: str, ref: Ref, link: Link, group: str = "") -> None:
        store.run(
            "INSERT INTO past_links (provisioning, time, event, kind, key, name, destination_id, group_name)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (self._name, int(time.time()), event, ref.kind.value, ref.key, link.written.name, link.id, group),
        )


# --- who is in which group: link_members.in_doubt ---------------------------------------------------------------------

_SURE = 0  # a member
_COMING = 1  # who was being added when a run ended
_LEAVING = 2  # who was being removed, or has been added again since
_NO_LINK = Link("", Record(""))


def _is_inside(link: Link, ref: Ref) -> bool:
    """Tell whether it is a member, or may be one."""
    return ref in link.members or ref in link.in_doubt


def _doubt_of(link: Link, ref: Ref) -> int:
    if ref not in link.in_doubt:
        return _SURE
    return _LEAVING if ref in link.members else _COMING


def _end_of(link: Link) -> str:
    """Return what the history says of somebody who is not in any more."""
    if not link.departed:
        return "gone"
    return "disabled" if link.written.state is State.DISABLED else "departed"


def _is_in(link: Link) -> bool:
    """Tell whether somebody is there by it, and may log in as far as we are concerned."""
    return not link.departed and not link.gone


# --- who writes ------------------------------------------------------------------------------------------------------


def _this_process() -> str:
    """Return where this process runs, and which it is: in this form nobody else is called."""
    return to_json({"where": _where(), "process": os.getpid(), "since": _since(os.getpid())})


def _where() -> str:
    """Return what tells this system, since it was started, and its processes from all others."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as boot:
            return "%s %s" % (boot.read().strip(), os.readlink("/proc/self/ns/pid"))
    except OSError:
        return ""


def _since(process: int) -> str:
    """Return when a process was started, by the clock of the system; empty if there is none."""
    try:
        with open("/proc/%d/stat" % process, encoding="utf-8", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[19]  # proc(5): starttime
    except (OSError, IndexError):
        return ""


def _is_at_work(holder: str, seen: int, now: int) -> bool:
    """Tell whether a run writes. Of a process on another host, only what it wrote tells."""
    if holder == _NOBODY:
        return False
    said = from_json(holder)
    if said["where"] and said["where"] == _where():
        return bool(_since(said["process"]) == said["since"])
    return now - seen < _SILENT_FOR
