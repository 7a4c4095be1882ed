# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a mark: lost, replayed, old, of another server or directory; and what must not be read by one.

Whatever a run decides to read, it comes to what a run comes to that reads everything: `went` compares the two.
"""

from __future__ import annotations

import shutil

import pytest
from ansible_collections.usersync.directory.plugins.module_utils._directory.changes import lists
from ansible_collections.usersync.directory.plugins.module_utils._errors import Refused
from support import misbehaving, stored, tree
from support.lab import (
    BASE,
    PEOPLE,
    ROOT,
    Lab,
    deleted,
    dn_of,
    entry,
    group,
    modified,
    person,
    renamed,
    synchronize,
    unit,
)
from support.misbehaving import MisbehavingDirectory
from support.process import run
from support.slapd import Slapd
from support.two_stores import LIMITS, Clock, held_by, must_be_equal, said_by

LEFT = "the last run left a mark"
READER, READER_PASSWORD = "uid=reader," + BASE, "Gravel-6-lantern-Tb93"
ALWAYS = {"removal_limits": LIMITS, "allow_empty": True, "store_backups": 0}
OTHERS = "ou=others," + BASE
WAYS = {"syncrepl": ("syncprov",), "sweep": ()}
PEOPLE_THERE = (
    unit("people")
    + unit("others")
    + "".join(map(person, ("ann", "bob", "cyd", "dan")))
    + group("nurses", *map(dn_of, ("ann", "bob", "cyd")))
    + group("doctors", dn_of("ann"))
    + person("reader", "userPassword: " + READER_PASSWORD, below=BASE)
)


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


@pytest.fixture
def slapd(way):
    with Slapd(ldif=ROOT + PEOPLE_THERE, overlays=WAYS[way]) as server:
        yield server


@pytest.fixture
def lab(slapd, tmp_path):
    """With a mark, and changes since: one of each kind."""
    lab = Lab(slapd, tmp_path / "users.db")
    lab.once(**ALWAYS)
    lab.modify(deleted(dn_of("bob")) + modified("cn=nurses," + PEOPLE, "delete", "member", dn_of("bob"), dn_of("cyd")))
    return lab


def went(lab, **more):
    """A run, beside one that reads everything into a copy of the store; how it read, and why."""
    copy = type(lab)(lab.server, lab.store.with_name("copy.db"))
    shutil.copy(lab.store, copy.store)
    options = {**ALWAYS, **more}
    full = copy.once(**{**options, "read_mode": "full"})
    result = lab.once(**options)
    must_be_equal(held_by(lab.store), held_by(copy.store))
    must_be_equal(said_by(result), said_by(full))
    return result["read"]["mode"], result["read"]["reason"]


def marks(lab):
    return lab.rows("SELECT mark, versions FROM marks")


def put_back(lab, kept):
    lab.change("DELETE FROM marks")
    stored.change_many(lab.store, "INSERT INTO marks SELECT id, ?, ? FROM synchronizations", kept)


# --- marks -----------------------------------------------------------------------------------------------------------


def test_a_mark_is_good_for_what_changed(lab):
    assert went(lab) == ("incremental", LEFT)
    assert lab.members() == [("doctors", "ann"), ("nurses", "ann")]
    assert went(lab) == ("incremental", LEFT)


def test_without_a_mark_everything_is_read(lab):
    put_back(lab, [])
    assert went(lab) == ("full", "the last run left no mark")
    assert went(lab) == ("incremental", LEFT)


def test_a_mark_that_is_replayed_takes_nothing_away(lab):
    earlier = marks(lab)
    lab.once(**ALWAYS)
    lab.modify(person("bob") + modified("cn=nurses," + PEOPLE, "add", "member", dn_of("bob")))
    lab.once(**ALWAYS)
    put_back(lab, earlier)
    assert went(lab) == ("incremental", LEFT)
    assert ("nurses", "bob") in lab.members()


def test_a_mark_of_another_directory_is_none(lab, tmp_path, way):
    with Slapd(ldif=ROOT + PEOPLE_THERE, overlays=WAYS[way]) as other:
        others = Lab(other, tmp_path / "others.db")
        others.once(**ALWAYS)
        put_back(lab, marks(others))
    mode, reason = went(lab)
    assert mode == "full" and reason.startswith("another directory")


@pytest.mark.parametrize(("days", "reads"), [(1, "incremental"), (3, "full"), (-1, "full")])
def test_a_mark_ages_and_a_clock_may_be_set_back(lab, monkeypatch, days, reads):
    clock = Clock()
    monkeypatch.setattr("%s.time" % synchronize.__globals__["_synchronize"].__name__, clock)
    clock.now += days * 86400
    mode, reason = went(lab, full_every="30d")
    assert mode == reads
    assert reads == "incremental" or "or the clock was set back" in reason


def test_everything_is_read_every_so_often(lab, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("%s.time" % synchronize.__globals__["_synchronize"].__name__, clock)
    clock.now += 3600
    assert went(lab, full_every="61m")[0] == "incremental"
    clock.now += 60
    mode, reason = went(lab, full_every="61m")
    assert mode == "full" and reason == "full_every: everything was last read 61 minutes ago"
    clock.now += 7200
    assert went(lab, full_every="1h", read_mode="incremental")[0] == "incremental"


def test_that_everything_was_last_read_long_ago_is_said(lab, monkeypatch):
    """Finding R30: 60 days of read_mode: incremental."""
    clock = Clock()
    monkeypatch.setattr("%s.time" % synchronize.__globals__["_synchronize"].__name__, clock)
    asked = {**ALWAYS, "read_mode": "incremental"}
    for days in range(9):
        assert lab.once(**asked)["read"]["mode"] == "incremental"
        assert lab.warnings == (
            []
            if days < 7
            else [
                "read_mode: everything was last read %d days ago, and some changes only that shows, such as lost "
                "rights: set read_mode: auto, or run once with read_mode: full" % days
            ]
        )
        clock.now += 86400
    lab.once(**{**asked, "read_mode": "full"})
    assert lab.once(**asked)["read"]["reason"] == "the last run left no mark"
    assert lab.once(**asked)["read"]["mode"] == "incremental" and lab.warnings == []


@pytest.mark.parametrize(
    ("what", "settings"),
    [
        ("mapping", {"user_attributes": {"desk": "roomNumber"}}),
        ("scope", {"exclude_distinguished_name": [OTHERS]}),
        ("server and account", {"authentication": "simple", "login": READER, "password": READER_PASSWORD}),
    ],
)
def test_other_settings_ask_for_everything(lab, what, settings):
    lab.once(**ALWAYS)  # else what another server does not show is held
    more = {**settings, "scope_change": True}
    if "login" in settings:
        more["server"] = [lab.server.ldap_url]
    assert went(lab, **more) == ("full", "another %s than at the last run" % what)
    assert went(lab, **more) == ("incremental", LEFT)


def test_a_server_that_was_restored_takes_nothing_away(lab, slapd, tmp_path, way):
    """A copy of its database from before the mark. By a sweep nothing but what differs counts."""
    slapd.stop()
    run(["cp", "-r", "--sparse=always", str(slapd.directory / "db"), str(tmp_path / "db")])
    slapd.start()
    lab.modify(person("eve"))
    assert went(lab)[0] == "incremental"
    slapd.stop()
    shutil.rmtree(slapd.directory / "db")
    (tmp_path / "db").rename(slapd.directory / "db")
    slapd.start()
    mode, reason = went(lab)
    assert mode == "incremental" if way == "sweep" else "it was restored" in reason
    # Only a server that says how far it is can be told from one from which she was deleted.
    kept = [] if way == "sweep" else [("eve",)]
    assert lab.rows("SELECT name FROM users WHERE extinct IS NULL") == [
        ("ann",),
        ("cyd",),
        ("dan",),
        *kept,
        ("reader",),
    ]


def test_a_dry_run_and_a_refused_one_leave_the_mark_as_it_was(lab):
    before = marks(lab)
    lab.once(True, **ALWAYS)
    with pytest.raises(Refused):
        lab.once(**{**ALWAYS, "removal_limits": {"users": "0"}})
    assert marks(lab) == before
    assert went(lab) == ("incremental", LEFT)


# --- what a run judges by --------------------------------------------------------------------------------------------


def test_an_approved_plan_is_the_same_by_any_read(lab):
    full = lab.once(True, read_mode="full", **ALWAYS)
    result = lab.once(read_mode="incremental", approved_plan=full["plan_digest"], removal_limits={"users": "0"})
    assert result["read"]["mode"] == "incremental" and result["plan_digest"] == full["plan_digest"]


def test_required_entries_are_looked_for(lab):
    assert went(lab, required_entries=[dn_of("dan"), "cn=doctors," + PEOPLE, PEOPLE])[0] == "incremental"
    lab.modify(deleted(dn_of("dan")))
    for mode in ("incremental", "full"):
        with pytest.raises(Exception, match="^required_entries: .*uid=dan"):
            lab.once(read_mode=mode, required_entries=[dn_of("dan")], **ALWAYS)


def test_removals_that_were_held_are_seen_again(lab, way):
    simple = {"authentication": "simple", "login": READER, "password": READER_PASSWORD}
    held = lab.once(server=[lab.server.ldap_url], **simple, **ALWAYS)["held"]["memberships"]
    if way == "syncrepl":  # the server says that it has all that the other one had
        assert not held and ("nurses", "cyd") not in lab.members()
        return
    assert held and ("nurses", "cyd") in lab.members()
    assert went(lab, server=[lab.server.ldap_url], **simple) == ("full", "the last run left no mark")
    assert ("nurses", "cyd") not in lab.members()


def test_lists_with_a_placeholder_are_read_when_it_comes_to_be_somebody(slapd, tmp_path, way):
    """A groupOfNames must have a member; an empty one has somebody who does not exist, or is no person."""
    lab = Lab(slapd, tmp_path / "users.db")
    names = ["g%02d" % number for number in range(30)]
    slapd.modify("".join(group(name, dn_of("nobody"), OTHERS) for name in names))
    lab.once(**ALWAYS)
    result = lab.once(**ALWAYS)
    assert result["read"]["mode"] == "incremental" and result["summary"]["memberships"]["unresolved"] == 30
    assert way == "sweep" or result["read"]["entries"] < 10
    slapd.modify(person("nobody"))
    assert went(lab) == ("incremental", LEFT)
    assert sorted(name for name, user in lab.members() if user == "nobody") == names
    slapd.modify(deleted(dn_of("nobody")))
    assert went(lab, user_extinction="delete")[0] == "incremental"
    slapd.modify(deleted(OTHERS))
    assert went(lab) == ("incremental", LEFT)


@pytest.mark.parametrize(
    "selected", [[PEOPLE], ["cn=nurses," + PEOPLE, "cn=doctors," + PEOPLE]], ids=["unit", "groups"]
)
def test_a_member_outside_of_what_is_selected_is_renamed(slapd, tmp_path, selected):
    """Timeline:

    before  others/eve                 nurses [ann bob cyd eve]    doctors [ann eve]
    then    eve is called eva          nurses [ann bob cyd eva]    doctors [ann eva]
    step    incremental
    then    eva is called evi          nurses [ann bob cyd eva]    doctors [ann evi]
    step    incremental
    """
    lab, options = Lab(slapd, tmp_path / "users.db"), {"distinguished_name": selected}
    lists, eve = ("cn=nurses," + PEOPLE, "cn=doctors," + PEOPLE), dn_of("eve", OTHERS)
    slapd.modify(person("eve", below=OTHERS) + "".join(modified(each, "add", "member", eve) for each in lists))
    lab.once(**options, **ALWAYS)
    eva, evi = dn_of("eva", OTHERS), dn_of("evi", OTHERS)
    slapd.modify(renamed(eve, "uid=eva"))
    slapd.modify(
        "".join(modified(each, "delete", "member", eve) + modified(each, "add", "member", eva) for each in lists)
    )
    assert went(lab, **options) == ("incremental", LEFT)
    assert [group for group, user in lab.members() if user == "eva"] == ["doctors", "nurses"]
    slapd.modify(renamed(eva, "uid=evi"))
    slapd.modify(modified(lists[1], "delete", "member", eva) + modified(lists[1], "add", "member", evi))
    assert went(lab, **options) == ("incremental", LEFT)
    assert [group for group, user in lab.members() if user == "evi"] == ["doctors", "nurses"]
    slapd.modify(renamed(dn_of("ann"), "uid=anna"))
    assert went(lab, **options)[0] == "incremental"


def test_members_who_are_left_out_are_told_in_each_run(slapd, tmp_path):
    """Timeline:

    before  a second ann, and one who has no name    nurses [.. both]
    step    they are unresolved
    then    bob gets a title
    step    incremental; so they are
    then    the second ann gets a name of her own
    step    incremental; she is a nurse
    """
    nameless = "cn=nobody," + OTHERS
    slapd.modify(person("ann", below=OTHERS) + entry(nameless, "objectClass: inetOrgPerson", "cn: nobody", "sn: x"))
    slapd.modify(modified("cn=nurses," + PEOPLE, "add", "member", dn_of("ann", OTHERS), nameless))
    lab = Lab(slapd, tmp_path / "users.db")
    left_out = {
        dn_of("ann", OTHERS): "is left out: the name is taken",
        nameless: "is left out: it has no name that can be stored",
    }

    def told():
        return {each["value"]: each["reason"] for each in lab.once(True, **ALWAYS)["unresolved_members"]}

    lab.once(**ALWAYS)
    slapd.modify(modified(dn_of("bob"), "replace", "title", "x"))
    assert told() == left_out
    assert went(lab) == ("incremental", LEFT)
    assert told() == left_out
    slapd.modify(renamed(dn_of("ann", OTHERS), "uid=anna"))
    slapd.modify(
        modified("cn=nurses," + PEOPLE, "delete", "member", dn_of("ann", OTHERS))
        + modified("cn=nurses," + PEOPLE, "add", "member", dn_of("anna", OTHERS))
    )
    assert went(lab) == ("incremental", LEFT)
    assert ("nurses", "anna") in lab.members() and list(told()) == [nameless]


# --- databases that are glued together -------------------------------------------------------------------------------

SUB = "ou=sub," + BASE
SYNCPROV, REMEMBERING = "syncprov", "syncprov\nsyncprov-sessionlog 100"
# Overlays of the upper database and of the lower one; by which way changes are told.
GLUED = {
    "each for itself": ((SYNCPROV,), (SYNCPROV,), "sweep"),
    "only the upper one remembers deletions": ((REMEMBERING,), (SYNCPROV,), "sweep"),
    "only the lower one remembers deletions": ((SYNCPROV,), (REMEMBERING,), "sweep"),
    "the lower one tells nothing": ((SYNCPROV,), (), "sweep"),
    "the upper one tells of both": (("glue", SYNCPROV), (), "syncrepl"),
}


@pytest.mark.parametrize(("upper", "lower", "told_by"), GLUED.values(), ids=GLUED)
def test_what_changes_in_a_glued_database_is_seen(tmp_path, upper, lower, told_by):
    """Finding 5. Timeline, with sub/ann and sub/bob in the lower database, and people/zoe in the upper one:

    then    sub/ann gets a title                      step
    then    zoe gets one                              step
    then    sub/bob gets one, then zoe                step
    then    sub/ann is deleted                        step
    then    sub/bob is deleted, then zoe gets another step
    """
    ann, bob = dn_of("ann", SUB), dn_of("bob", SUB)
    people = unit("people") + person("zoe") + unit("sub") + person("ann", below=SUB) + person("bob", below=SUB)
    with Slapd(ldif=ROOT + people, overlays=upper, subordinate=(SUB, lower)) as server:
        lab, sees_all = Lab(server, tmp_path / "users.db"), {"user_extinction": "delete"}
        lab.once(**ALWAYS, **sees_all)
        assert lab.rows("SELECT json_extract(mark, '$.way') FROM marks") == [(told_by,)]
        for changes in (
            [modified(ann, "replace", "title", "a")],
            [modified(dn_of("zoe"), "replace", "title", "b")],
            [modified(bob, "replace", "title", "c"), modified(dn_of("zoe"), "replace", "title", "c")],
            [deleted(ann)],
            [deleted(bob), modified(dn_of("zoe"), "replace", "title", "d")],
        ):
            # One request after the other: if slapd 2.5 still has a change of the lower one at hand, the contextCSN of
            # the upper one does not follow its own, and the run reads everything.
            for change in changes:
                server.modify(change)
            assert went(lab, **sees_all) == ("incremental", LEFT)
        assert lab.rows("SELECT name, attributes ->> 'title' FROM users") == [("zoe", "d")]


def test_a_database_that_is_glued_to_one_that_is_synchronized_already(tmp_path):
    """Nothing says so; what it tells of is newer than it says that anything is."""
    with Slapd(ldif=ROOT + unit("people") + person("zoe"), overlays=("syncprov",)) as server:
        lab = Lab(server, tmp_path / "users.db")
        lab.once(**ALWAYS)
        with Slapd(overlays=("syncprov",), subordinate=(SUB, ("syncprov",))) as pattern:
            text = pattern._config.read_text().replace(str(pattern.directory), str(server.directory))
            text = text.replace(pattern.ca.directory.as_posix(), server.ca.directory.as_posix())
        server.configure(lambda _before: text)
        server.modify(unit("sub") + person("ann", below=SUB))
        mode, reason = went(lab)
        assert mode == "full" and reason.endswith("its databases may be glued together")
        assert went(lab) == ("incremental", LEFT)


# --- what must be read in full ---------------------------------------------------------------------------------------


def test_who_may_not_see_versions_reads_everything(tmp_path, way):
    hidden = "access to attrs=entryCSN by dn.exact=%s none by * read" % READER
    with Slapd(ldif=ROOT + PEOPLE_THERE, overlays=WAYS[way], settings=hidden) as server:
        lab = Lab(server, tmp_path / "users.db")
        login = {"server": [server.ldap_url], "authentication": "simple", "login": READER, "password": READER_PASSWORD}
        lab.once(**login, **ALWAYS)
        lab.modify(deleted(dn_of("bob")))
        mode, reason = went(lab, **login)
        assert mode == "full" and "entryCSN" in reason and reason.endswith("cannot be read")


def test_who_may_not_see_versions_outside_reads_everything(tmp_path, way):
    hidden = "access to dn.subtree=%s attrs=entryCSN by dn.exact=%s none by * read" % (OTHERS, READER)
    there = PEOPLE_THERE + person("out", below=OTHERS) + group("club", dn_of("out", OTHERS))
    with Slapd(ldif=ROOT + there, overlays=WAYS[way], settings=hidden) as server:
        lab = Lab(server, tmp_path / "users.db")
        options = {
            "server": [server.ldap_url],
            "authentication": "simple",
            "login": READER,
            "password": READER_PASSWORD,
            "distinguished_name": [PEOPLE],
        }
        lab.once(**options, **ALWAYS)
        lab.modify(modified(dn_of("out", OTHERS), "replace", "mail", "new@x.org"))
        mode, reason = went(lab, **options)
        assert mode == "full" and "entryCSN" in reason


@pytest.mark.parametrize("name", ["memberOf", "1.2.840.113556.1.2.102"])
def test_a_filter_by_a_back_link_reads_everything(tmp_path, way, name):
    """The overlay memberof changes entries, and says nothing of it."""
    with Slapd(ldif=ROOT, overlays=("memberof", *WAYS[way])) as server:
        server.modify(PEOPLE_THERE)
        lab = Lab(server, tmp_path / "users.db")
        options = {"user_filter": "(%s=cn=nurses,%s)" % (name, PEOPLE), "read_mode": "incremental"}
        lab.once(**options, **ALWAYS)
        lab.modify(modified("cn=nurses," + PEOPLE, "delete", "member", dn_of("ann")))
        mode, reason = went(lab, **options)
        assert mode == "full" and reason.startswith(name.lower() + " (in a filter or mapped)")
        assert lab.warnings == ["read_mode: everything was read, since " + reason]
        assert ("doctors", "ann") not in lab.members()


def test_a_selected_group_that_begins_to_match(slapd, tmp_path):
    lab = Lab(slapd, tmp_path / "users.db")
    slapd.modify(person("eve", below=OTHERS) + group("club", dn_of("eve", OTHERS), below=OTHERS))
    options = {"distinguished_name": [PEOPLE, "cn=club," + OTHERS], "group_filter": "(!(description=closed))"}
    slapd.modify(modified("cn=club," + OTHERS, "replace", "description", "closed"))
    lab.once(**options, **ALWAYS)
    assert went(lab, **options) == ("full", "a selected group is none in the store")
    slapd.modify(modified("cn=club," + OTHERS, "replace", "description", "open"))
    went(lab, **options)
    assert ("club", "eve") in lab.members()
    assert went(lab, **options) == ("incremental", LEFT)


# --- Active Directory, as nobody can make a real one behave ----------------------------------------------------------

STAFF = "OU=Staff," + tree.DOMAIN


@pytest.fixture
def domain():
    domain = tree.Controller()
    domain.unit("Staff")
    staff = [domain.user(name, STAFF) for name in ("anna", "bert", "carl")]
    domain.group("Nurses", STAFF, *staff)
    return domain


class AsMisbehaving(Lab):
    def once(self, check_mode=False, **more):
        self.warnings = []
        return synchronize(
            check_mode,
            self.warnings,
            **{
                "name": "staff",
                "user_group": "All/Staff",
                **self.server.in_clear(),
                "store": str(self.store),
                "user_extinction": "delete",
                **more,
            },
        )


@pytest.fixture
def controller(domain, tmp_path):
    with MisbehavingDirectory(domain) as server:
        server.modify = None
        lab = AsMisbehaving(server, tmp_path / "users.db")
        lab.once(**ALWAYS)
        domain.remove("CN=bert," + STAFF)
        domain.set("CN=Nurses," + STAFF, "member", "CN=anna," + STAFF, "CN=carl," + STAFF)
        yield lab


def test_a_restored_controller_is_read_in_full(controller, domain):
    domain.be_restored(500)
    mode, reason = went(controller)
    assert mode == "full" and "invocationId" in reason
    assert ("Nurses", "bert") in controller.members(), "held, since a restored controller lacks what came later"
    went(controller)
    assert controller.members() == [("Nurses", "anna"), ("Nurses", "carl")]


def test_a_controller_whose_numbers_went_back_is_read_in_full(controller, domain):
    domain.count_from(500)
    mode, reason = went(controller)
    assert mode == "full" and "highestCommittedUSN" in reason


def test_a_tombstone_without_a_key_asks_for_everything(controller, domain):
    deleted = [dn for dn, entry in domain._entries.values() if entry.get("isdeleted")]
    del domain[deleted[-1]]["objectguid"]
    mode, reason = went(controller)
    assert mode == "full" and reason == "the objectGUID of somebody who was deleted cannot be read"


def test_a_server_that_finds_nobody_by_key_takes_nobody_away(controller, domain):
    controller.once(**ALWAYS)
    domain.set("CN=anna," + STAFF, "mail", "new@corp.example")
    controller.server.fail(lambda request: "objectGUID=" in request.filter, misbehaving.finds_nothing)
    mode, reason = went(controller)
    assert mode == "full" and "does not find" in reason
    assert controller.members() == [("Nurses", "anna"), ("Nurses", "carl")]


def test_who_is_deleted_and_still_there_is_not_removed(controller, domain):
    """It names somebody among the deleted, and has no index by which to find him."""
    emil = domain.user("emil", STAFF)
    controller.once(**ALWAYS)
    domain.add(
        "CN=a lie," + domain._DELETED,
        {"objectClass": ["top"], "isDeleted": "TRUE", "objectGUID": domain[emil]["objectguid"]},
    )
    domain._hidden.add(tree.rdns("CN=a lie," + domain._DELETED))
    controller.server.fail(lambda request: "objectGUID=" in request.filter, misbehaving.finds_nothing)
    mode, reason = went(controller)
    assert mode == "full" and "'CN=emil" in reason
    assert ("emil",) in controller.rows("SELECT name FROM users")


def test_who_moves_while_what_changed_is_read(controller, domain):
    """He was told unchanged; then a list names him where the store does not have him."""
    domain.unit("Away")
    controller.once(**ALWAYS)
    domain.set("CN=Nurses," + STAFF, "member", "CN=anna," + STAFF, "CN=carl," + STAFF, "CN=dora," + STAFF)

    def moves(line, request, answer):
        if "CN=carl," + STAFF in [dn for dn, _entry in domain._entries.values()]:
            domain.move("CN=carl," + STAFF, "CN=dora," + STAFF)
            domain.set("CN=dora," + STAFF, "cn", "dora")
        misbehaving.behave(line, request, answer)

    controller.server.fail(lambda request: request.filter.startswith("(uSNChanged"), moves)
    read = controller.once(**ALWAYS)["read"]
    assert read["mode"] == "full" and "came or moved while" in read["reason"]
    controller.server.behave()
    went(controller)
    assert ("Nurses", "carl") in controller.members()


def test_limits_judge_an_incremental_read_as_a_full_one(controller, domain):
    """Active Directory takes who is deleted out of lists, and does not count that as a change of the list."""
    names = ["u%03d" % number for number in range(120)]
    domain.group("All", STAFF, *(domain.user(name, STAFF) for name in names))
    controller.once(**ALWAYS)
    for name in names[:30]:
        domain.remove("CN=%s,%s" % (name, STAFF))
    found = []
    for mode in ("incremental", "full"):
        with pytest.raises(Refused) as refused:
            controller.once(read_mode=mode)
        found.append(refused.value.result)
        assert found[-1]["read"]["mode"] == mode
    assert ["All/Staff/All"] == [refusal["about"] for refusal in found[0]["refused"] if refusal["about"]]
    must_be_equal(said_by(found[0]), said_by(found[1]))


@pytest.mark.parametrize(
    ("added", "removed"),
    [
        ((), ("carl",)),  # who is still there
        (("dora",), ()),  # who is not
        (("dora",), ("carl",)),
        (("nobody",), ()),
        ((), ("nobody",)),
        (("Staff",), ()),
    ],
)
def test_a_lie_about_a_list_changes_nothing(controller, domain, monkeypatch, added, removed):
    """Nothing is believed of a list that the server does not confirm of the list as it is."""
    domain.user("dora", STAFF)
    nurses = "CN=Nurses," + STAFF

    def lists_since(_session, _place, cookie):
        dns = [{("CN=%s,%s" % (name, STAFF)).encode() for name in names} for names in (added, removed)]
        return b"cookie", {str(tree.key("group Nurses")): lists.ListChange(*dns, set())} if cookie else {}

    monkeypatch.setattr(lists, "lists_since", lists_since)
    controller.once(read_mode="full", **ALWAYS)
    controller.once(**ALWAYS)
    assert "63" in marks(controller)[0][0]
    domain.set(nurses, "description", "changed")
    assert went(controller) == ("incremental", LEFT)
    assert controller.members() == [("Nurses", "anna"), ("Nurses", "carl")]


def test_a_lie_about_somebody_outside_brings_nobody_in(controller, domain, monkeypatch):
    domain.unit("Away")
    dora = domain.user("dora", "OU=Away," + tree.DOMAIN)
    told = {str(tree.key("group Nurses")): lists.ListChange({dora.encode()}, set(), set())}
    monkeypatch.setattr(lists, "lists_since", lambda _session, _place, cookie: (b"cookie", told if cookie else {}))
    scope = {"distinguished_name": [STAFF], "scope_change": True}
    controller.once(read_mode="full", **scope, **ALWAYS)
    controller.once(**scope, **ALWAYS)
    domain.set("CN=Nurses," + STAFF, "description", "changed")
    assert went(controller, **scope) == ("incremental", LEFT)


def test_a_list_is_read_if_what_is_told_of_it_is_not_confirmed(controller, domain, monkeypatch):
    """It is told that dora came and anna left; anna is still there."""
    anna, carl, dora = ("CN=%s,%s" % (name, STAFF) for name in ("anna", "carl", "dora"))
    domain.user("dora", STAFF)
    told = {str(tree.key("group Nurses")): lists.ListChange({dora.encode()}, {anna.encode()}, set())}
    monkeypatch.setattr(lists, "lists_since", lambda _session, _place, cookie: (b"cookie", told if cookie else {}))
    controller.once(read_mode="full", **ALWAYS)
    controller.once(**ALWAYS)
    domain.set("CN=Nurses," + STAFF, "member", anna, carl, dora)
    assert went(controller) == ("incremental", LEFT)
    assert controller.members() == [("Nurses", "anna"), ("Nurses", "carl"), ("Nurses", "dora")]


def test_what_is_told_of_a_list_is_done_where_the_server_confirms_it(controller, domain, monkeypatch):
    dora, carl = "CN=dora," + STAFF, "CN=carl," + STAFF
    domain.user("dora", STAFF)
    told = {str(tree.key("group Nurses")): lists.ListChange({dora.encode()}, {carl.encode()}, set())}
    monkeypatch.setattr(lists, "lists_since", lambda _session, _place, cookie: (b"cookie", told if cookie else {}))
    controller.once(read_mode="full", **ALWAYS)
    controller.once(**ALWAYS)
    domain.set("CN=Nurses," + STAFF, "member", "CN=anna," + STAFF, dora)
    controller.server.behave()
    controller.once(**ALWAYS)
    assert controller.members() == [("Nurses", "anna"), ("Nurses", "dora")]
    assert not [request for request in controller.server.received if "member" in request.attributes]
    assert went(controller, read_mode="full") == ("full", "read_mode: full")
