# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names do not pass to another unit: whatever two administrators do, neither comes to what the other one had."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.usersync.directory.plugins.module_utils import _changes, _model, _names
from ansible_collections.usersync.directory.plugins.module_utils._plan.make import make_plan, plan_absence
from ansible_collections.usersync.directory.plugins.module_utils._store.apply import apply as apply_plan
from ansible_collections.usersync.directory.plugins.module_utils._store.load import load_state
from hypothesis import given
from hypothesis import strategies as st
from support import snapshots
from support.administrators import DAY, Entry, Watch, World, actions, bodies
from support.examples import examples
from support.model_store import ModelStore
from support.plans import digests, run_record
from support.snapshots import group, policies, user
from support.stored import rows
from support.stores import look, open_store

pytestmark = pytest.mark.any_store

IT, SALES = "OU=it,DC=x", "OU=sales,DC=x"
DAYS = 30

# --- laws ------------------------------------------------------------------------------------------------------------

chosen_policies = st.fixed_dictionaries(
    {
        "user_collision": st.sampled_from(("skip", "merge")),
        "user_extinction": st.sampled_from(("skip", "disable", "delete")),
        "user_extinction_grace_days": st.sampled_from((0, 0, 10)),
        "user_group_extinction": st.sampled_from(("skip", "delete")),
    }
)
reasons = st.sampled_from((_model.GONE, _model.OUT_OF_SCOPE))


def histories(synchronizations: tuple[str, ...]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Runs, each after what was done since the one before: (days, actions, synchronization, reason, policies)."""
    return st.lists(
        st.tuples(
            st.sampled_from((0, 0, 1, 9, DAYS)),
            st.lists(actions(synchronizations), max_size=4),
            st.sampled_from(synchronizations),
            reasons,
            chosen_policies,
        ),
        min_size=2,
        max_size=12,
    )


def holders_in(store: ModelStore) -> dict[tuple[str, str], tuple[str, bool]]:
    found: dict[tuple[str, str], tuple[str, bool]] = {}
    for kind, records in (("user", store.users), ("user_group", store.groups)):
        for key, record in records.items():
            if key[0] != "#":
                found[kind, _names.name_key(record.name)] = key, bool(record.extinct)
    return found


@examples(400)
@given(histories(("staff",)), st.booleans())
def test_a_path_does_not_come_to_the_other_administrator(history: list[tuple[Any, ...]], by_hand: bool) -> None:
    world, store, watch = World(), ModelStore(), Watch(DAYS)
    ever: dict[str, Entry] = {}
    if by_hand:
        store.add_by_hand("Admins")
    for days, done, synchronization, reason, chosen in history:
        store.now += days * DAY
        for action in done:
            world.do(action)
        seen = world.seen_by(synchronization)
        ever.update(seen)
        plan = store.run(*bodies(seen.values()), reason=reason, **chosen)
        watch.look(store.now, holders_in(store), seen, ever)
        for collision in plan.collisions:
            assert collision.reason.startswith("the name "), collision
        assert store.plan(*bodies(seen.values()), reason=reason, **chosen).is_empty


@examples(200)
@given(histories(("staff",)), st.integers(0, 20), chosen_policies)
def test_what_is_made_again_in_its_unit_is_there_in_the_next_run(
    history: list[tuple[Any, ...]], number: int, last: dict[str, Any]
) -> None:
    world, store = World(), ModelStore()
    for days, done, synchronization, reason, chosen in history:
        store.now += days * DAY
        for action in done:
            world.do(action)
        store.run(*bodies(world.seen_by(synchronization).values()), reason=reason, **chosen)
    before = {entry.key for entry in world.entries.values()}
    key = world.make_again(number)
    if key is None:
        return
    (gone,) = before - set(world.entries) or {""}
    entry = world.entries[key]
    records: Any = store.users if entry.kind == "user" else store.groups
    had = records.get(gone)
    namesakes = [
        each
        for each in world.entries.values()
        if each.kind == entry.kind and _names.name_key(each.name) == _names.name_key(entry.name)
    ]
    as_read = had is not None and had.unit == "key of OU=%s,DC=x" % entry.container
    if not as_read or _names.name_key(had.name) != _names.name_key(entry.name) or len(namesakes) > 1:
        return
    store.run(*bodies(world.seen_by("staff").values()), **last)
    records = store.users if entry.kind == "user" else store.groups
    assert records[key].name == entry.name and not records[key].extinct


class _Stores:
    """Two synchronizations of one directory in an SQLite store: 'staff' in All/Staff, and 'more' there or elsewhere."""

    def __init__(self, path: Path, together: bool) -> None:
        self.path, self.now = path, 1000
        self.targets = {"staff": ["All", "Staff"], "more": ["All", "Staff" if together else "More"]}

    def run(self, name: str, entries: Iterable[Entry], reason: str, **chosen: Any) -> _changes.Plan:
        with open_store(str(self.path)) as store:
            plan = self._plan(store, name, entries, reason, chosen)
            apply_plan(store, plan, run_record(time=self.now))
            store.commit()
        with look(str(self.path)) as store:
            again = self._plan(store, name, entries, reason, chosen)
            assert again.is_empty, again
        return plan

    def _plan(self, store: Any, name: str, entries: Iterable[Entry], reason: str, chosen: Any) -> _changes.Plan:
        people, groups = bodies(entries)
        known = digests(store, name)
        found = snapshots.snapshot(people, [each._replace(key=name + each.key) for each in groups])
        found = found._replace(
            users={key: None if known.users.get(key, b"") is None else body for key, body in found.users.items()},
            lost_users={key: reason for key in known.users if key not in found.users},
            lost_user_groups={key: reason for key in known.user_groups if key not in found.user_groups},
        )
        state = load_state(store, name, self.targets[name], found)
        return make_plan(policies(name=name, **chosen), found, state, str.casefold, _model.Times(self.now, self.now))

    def holders(self) -> dict[tuple[str, str], tuple[str, bool]]:
        found = {}
        for kind, home, name, key, extinct in rows(
            self.path,
            "SELECT 'user', g.name, u.name_key, u.key, u.extinct FROM users u JOIN user_groups g ON g.id = u.home_id"
            " UNION ALL SELECT 'user_group', p.name, g.name_key, g.key, g.extinct FROM user_groups g"
            " JOIN user_groups p ON p.id = g.parent_id WHERE g.key IS NOT NULL",
        ):
            for synchronization in self.targets:  # both have a user group for each group
                key = key[len(synchronization) :] if key.startswith(synchronization) else key
            found[kind, "%s/%s" % (home, name)] = key, extinct is not None
        return found


@examples(120)
@given(histories(("staff", "more")), st.booleans())
def test_nor_in_a_store_of_two_synchronizations(history: list[tuple[Any, ...]], together: bool) -> None:
    world, watch = World(), Watch(DAYS)
    ever: dict[str, Entry] = {}
    with tempfile.TemporaryDirectory() as folder:
        stores = _Stores(Path(folder) / "users.db", together)
        for days, done, synchronization, reason, chosen in history:
            stores.now += days * DAY
            for action in done:
                world.do(action)
            seen = world.seen_by(synchronization)
            ever.update(seen)
            stores.run(synchronization, seen.values(), reason, **chosen)
            watch.look(stores.now, stores.holders(), seen, ever)


# --- cases -----------------------------------------------------------------------------------------------------------


def name_of(store: ModelStore, key: str) -> str:
    return store.groups[key].name


def admins(key: str, where: str, name: str = "Admins", **more: Any) -> _model.UserGroup:
    return group(key, name, unit_dn=where, container=where[3:].partition(",")[0], **more)


@pytest.mark.parametrize("policy", ["skip", "delete"])
@pytest.mark.parametrize("reason", [_model.GONE, _model.OUT_OF_SCOPE])
def test_a_group_that_is_missing_for_a_while_keeps_its_path(policy: str, reason: str) -> None:
    """Deleted, hidden, filtered, or out of scope: the other one keeps the suffix that it was given."""
    store = ModelStore()
    first, other = admins("g1", IT), admins("g2", SALES)
    store.run([], [first, other])
    assert (name_of(store, "g1"), name_of(store, "g2")) == ("Admins", "Admins (sales)")
    chosen = {"user_group_extinction": policy}
    for _run in range(3):
        plan = store.run([], [other], reason=reason, **chosen)
        assert name_of(store, "g2") == "Admins (sales)"
        assert [each.reason for each in plan.collisions] == [
            "the name is kept until 1970-01-31 00:16 UTC for an entry of another container that had it,"
            " it is called 'Admins (sales)'"
        ]
        store.now += DAY
    store.run([], [first, other], **chosen)
    assert (name_of(store, "g1"), name_of(store, "g2")) == ("Admins", "Admins (sales)")
    store.run([], [other], **chosen)
    store.now += 31 * DAY
    plan = store.run([], [other], **chosen)
    assert name_of(store, "g2") == "Admins (sales)", "it stays until its own name changes"
    assert [each.reason for each in plan.collisions] == [
        "the name was taken, and it gets it when its own name changes in the directory, it is called 'Admins (sales)'"
    ]
    store.run([], [admins("g2", SALES, "Sellers")], **chosen)
    store.run([], [other], **chosen)
    assert name_of(store, "g2") == "Admins"


def test_a_group_that_is_renamed_and_renamed_back_has_its_path_again() -> None:
    store = ModelStore()
    other = admins("g2", SALES)
    store.run([], [admins("g1", IT), other])
    store.run([], [admins("g1", IT, "Operators"), other])
    assert (name_of(store, "g1"), name_of(store, "g2")) == ("Operators", "Admins (sales)")
    store.run([], [admins("g1", IT), other])
    assert (name_of(store, "g1"), name_of(store, "g2")) == ("Admins", "Admins (sales)")


def test_a_rename_in_the_directory_takes_effect_at_once() -> None:
    store = ModelStore()
    store.run([], [admins("g1", IT), admins("g2", SALES, "Sellers")])
    store.run([], [admins("g1", IT, "Sellers"), admins("g2", SALES)])
    assert (name_of(store, "g1"), name_of(store, "g2")) == ("Sellers", "Admins")


@pytest.mark.parametrize("policy", ["skip", "disable", "delete"])
def test_an_account_of_another_unit_waits_and_one_of_its_unit_does_not(policy: str) -> None:
    store = ModelStore()
    store.run([user("u1", "ann", unit_dn=IT)])
    plan = store.run([user("u2", "ann", unit_dn=SALES)], user_extinction=policy)
    assert "u2" not in store.users
    assert [each.reason for each in plan.collisions] == [
        "the name is kept until 1970-01-31 00:16 UTC for an entry of another container that had it"
    ]
    assert plan.again == {"u2"}, "it is looked at in every incremental run"
    store.run([user("u2", "ann", unit_dn=SALES), user("u3", "ann", unit_dn=IT)], user_extinction=policy)
    assert store.users["u3"].name == "ann" and "u2" not in store.users
    store.run([user("u2", "ann", unit_dn=SALES)], user_extinction=policy)
    store.now += 30 * DAY - 1
    store.run([user("u2", "ann", unit_dn=SALES)], user_extinction=policy)
    assert "u2" not in store.users, "the days count from the end of the last one who had it"
    store.now += 1
    store.run([user("u2", "ann", unit_dn=SALES)], user_extinction=policy)
    assert store.users["u2"].name == "ann"


def test_nobody_waits_for_no_days() -> None:
    store = ModelStore()
    store.run([user("u1", "ann", unit_dn=IT)], [admins("g1", IT)])
    store.run([user("u2", "ann", unit_dn=SALES)], [admins("g2", SALES)], name_reuse_days=0)
    assert store.users["u2"].name == "ann" and name_of(store, "g2") == "Admins"


def test_who_is_renamed_waits_too_and_keeps_the_name_it_has() -> None:
    store = ModelStore()
    store.run([user("u1", "ann", unit_dn=IT), user("u2", "bob", unit_dn=SALES)])
    plan = store.run([user("u2", "ann", unit_dn=SALES)], user_extinction="delete")
    assert store.users["u2"].name == "bob"
    assert plan.collisions[0].reason.endswith("that had it, it keeps its place")
    store.now += 30 * DAY
    store.run([user("u2", "ann", unit_dn=SALES)], user_extinction="delete")
    assert store.users["u2"].name == "ann"


def test_who_returns_elsewhere_is_still_who_it_was() -> None:
    store = ModelStore()
    store.run([user("u1", "ann", unit_dn=IT)])
    store.run([], user_extinction="delete")
    store.run([user("u1", "ann", unit_dn=SALES)])
    assert store.users["u1"].name == "ann"


def test_a_record_that_is_given_back_is_kept_from_other_units_too() -> None:
    """Else a newcomer of the same name would take over the record, and the local attributes, that ann had."""
    store = ModelStore()
    store.add_by_hand("ann")
    more = {"user_collision": "merge", "user_extinction": "delete"}
    store.run([user("u1", "ann", unit_dn=IT)], **more)
    for _run in range(2):
        store.run([user("u2", "ann", unit_dn=SALES, sid="S-1")], **more)
        assert list(store.users) == ["#All/ann"]
    store.run([user("u3", "ann", unit_dn=IT)], **more)
    assert list(store.users) == ["u3"] and store.adopted == {"u3"}


def test_nor_does_who_has_its_sid_come_to_it() -> None:
    store = ModelStore()
    store.add_by_hand("ann")
    more = {"user_collision": "merge", "user_extinction": "delete"}
    store.run([user("u1", "ann", unit_dn=IT, sid="S-1")], **more)
    store.run([user("u2", "bob", unit_dn=SALES, sid="S-1")], **more)
    assert list(store.users) == ["#All/ann"]


def test_a_name_that_an_extinct_record_had_meanwhile_passes_to_nobody_either() -> None:
    """'ann' of another entry of its unit makes it 'ann (extinct)': somebody may call himself that."""
    store = ModelStore()
    store.run([user("u1", "ann", unit_dn=IT)], [admins("g1", IT)], user_extinction="skip")
    other = user("u2", "ann", unit_dn=IT), admins("g2", IT)
    store.run([other[0]], [other[1]], user_extinction="skip")
    assert store.users["u1"].name == "ann (extinct)" and name_of(store, "g1") == "Admins (extinct)"
    mallory = user("u3", "ann (extinct)", unit_dn=SALES), admins("g3", SALES, "Admins (extinct)")
    again = user("u1", "ann", unit_dn=IT), admins("g1", IT)
    given_up = user("u2", "ann2", unit_dn=IT), admins("g2", IT, "Admins2")
    for entries in ((again, other), (again, given_up, mallory), (again, given_up, mallory)):
        store.run([person for person, _group in entries], [group for _person, group in entries])
        assert "u3" not in store.users
        assert not entries[2:] or name_of(store, "g3") == "Admins (extinct) (sales)"
    assert store.users["u1"].name == "ann"


def test_an_unknown_container_is_that_of_nobody() -> None:
    store = ModelStore()
    store.run([user("u1", "ann", unit_dn="")])
    store.run([user("u2", "ann", unit_dn="")])
    assert store.users["u1"].unit == "" and "u2" not in store.users


def test_a_user_whom_another_synchronization_takes_over_leaves_no_name_to_others(tmp_path: Path) -> None:
    """'staff' loses ann, whom 'more' has too and takes to its home: All/Staff/ann is nobody's from then on."""
    stores = _Stores(tmp_path / "users.db", together=False)
    ann = Entry("u1", "user", "it", "it1", "ann", 1)
    mallory = Entry("u2", "user", "sales", "sales1", "ann", 2)
    stores.run("staff", [ann], _model.GONE)
    stores.run("more", [ann], _model.GONE)
    stores.run("staff", [mallory], _model.OUT_OF_SCOPE)
    stores.run("more", [ann], _model.GONE)
    assert stores.holders() == {("user", "More/ann"): ("u1", False)}
    stores.run("staff", [mallory], _model.OUT_OF_SCOPE)
    assert stores.holders() == {("user", "More/ann"): ("u1", False)}
    stores.now += 30 * DAY
    stores.run("staff", [mallory], _model.OUT_OF_SCOPE)
    assert stores.holders()["user", "Staff/ann"] == ("u2", False)


def test_names_are_kept_where_the_tree_goes(tmp_path: Path) -> None:
    stores = _Stores(tmp_path / "users.db", together=False)
    entries = [Entry("u1", "user", "it", "it1", "ann", 1), Entry("g1", "user_group", "it", "it1", "Admins", 1)]
    others = [
        Entry("u2", "user", "sales", "sales1", "ann", 2),
        Entry("g2", "user_group", "sales", "sales1", "Admins", 2),
    ]
    delete = {"user_extinction": "delete", "user_group_extinction": "delete"}
    stores.run("staff", entries, _model.GONE)
    stores.run("staff", [], _model.GONE, **delete)
    stores.targets["staff"] = ["All", "Company"]
    for _run in range(2):
        stores.run("staff", others, _model.GONE, **delete)
        assert stores.holders() == {("user_group", "Company/admins (sales)"): ("g2", False)}


def test_what_ends_with_the_synchronization_is_kept_from_nobody(tmp_path: Path) -> None:
    stores = _Stores(tmp_path / "users.db", together=True)
    stores.run("staff", [Entry("u1", "user", "it", "it1", "ann", 1)], _model.GONE)
    with open_store(str(stores.path)) as store:
        found = snapshots.snapshot(lost_users={"u1": _model.OUT_OF_SCOPE})
        state = load_state(store, "staff", ["All", "Staff"], found)
        plan = plan_absence(policies(), found, state, str.casefold)
        apply_plan(store, plan, run_record(time=stores.now))
        store.commit()
    stores.run("more", [Entry("u2", "user", "sales", "sales1", "ann", 2)], _model.GONE)
    assert stores.holders() == {("user", "Staff/ann"): ("u2", False)}
