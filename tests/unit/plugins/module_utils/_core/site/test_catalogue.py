# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue: the index is derived, shared state is seen by all, decisions and snapshots do not get lost."""

from __future__ import annotations

import errno
import json
import os
import pwd
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.main import main
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import decisions, queries
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import snapshot
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store import index
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory

from .conftest import IMAGE, IMAGE_2, LIST, World

BLACKLISTED = {
    "target_type": "image",
    "target": IMAGE,
    "decision": "blacklist",
    "reason": "",
    "author": "sam",
    "until": None,
}


def _history(world: World) -> None:
    """A bit of everything: three versions, a refusal, decisions, files in both places."""
    world.register({"name": "erin", "pairs": [{"dn": world.pki.endorser.dn, "ca": world.pki.endorser.ca}]})
    image = world.image()
    older = world.publish("1", [image, world.image(IMAGE_2)])
    world.subscribe(new_images="cache")
    world.sync()
    world.publish("2", [world.image(version="2")])
    world.refresh()
    world.sync()
    world.serve(older)
    world.refresh()
    world.rebaseline(older)
    world.decide("blacklist", IMAGE, reason="CVE")
    world.decide("clear", IMAGE)
    world.declare({"name": "ancient", "decision": "blacklist", "match": {"older_than": "900d"}, "except": [IMAGE]})
    world.decide("run_anyway", IMAGE, until=world.now + timedelta(days=3))


def test_a_rebuilt_index_has_the_same_rows(world: World) -> None:
    _history(world)
    rows = world.rows()
    assert all(rows[table] for table in index.DERIVED if table not in ("members", "derived", "installed"))
    index.discard(world.state / "catalogue.sqlite")
    assert world.rows() == rows
    with world.open() as catalogue:
        catalogue.rebuild()
    assert world.rows() == rows


@pytest.mark.parametrize("damage", [b"", b"this is no database, whatever its name says"])
def test_a_damaged_index_is_made_anew(world: World, damage: bytes) -> None:
    _history(world)
    rows = world.rows()
    index.discard(world.state / "catalogue.sqlite")
    (world.state / "catalogue.sqlite").write_bytes(damage)
    assert world.rows() == rows


@pytest.mark.parametrize("with_index", [True, False])
@pytest.mark.parametrize("damage", ["cut", "last line", "emptied", "deleted"])
def test_a_journal_that_lost_what_was_known_is_refused(world: World, damage: str, with_index: bool) -> None:
    _history(world)
    journal = world.state / "journal.jsonl"
    octets = journal.read_bytes()
    lines = octets.splitlines(keepends=True)
    last = lines[-1].replace(b'"by":"sam"', b'"by":"eve"')
    found = {"cut": lines[:-1], "last line": [*lines[:-1], last], "emptied": []}
    journal.unlink() if damage == "deleted" else journal.write_bytes(b"".join(found[damage]))
    if not with_index:
        index.discard(world.state / "catalogue.sqlite")
    for work in (world.rows, world.refresh, world.sync, lambda: world.decide("blacklist", IMAGE), world.subscribe):
        with pytest.raises(VmimagesError) as refused:
            work()
        assert refused.value.code == "journal_damaged"
    journal.write_bytes(octets)
    assert world.rows()["decisions"]


@pytest.mark.parametrize("journal", ["emptied", "deleted"])
def test_messages_without_a_journal_are_no_new_site(world: World, journal: str) -> None:
    _history(world)
    index.discard(world.state / "catalogue.sqlite")
    (world.state / "verdicts.json").unlink()
    (world.state / "journal.jsonl").unlink()
    if journal == "emptied":
        (world.state / "journal.jsonl").touch()
    for create, dry in ((True, False), (True, True), (False, False)):
        with pytest.raises(VmimagesError) as found, Catalogue.open(world.state, create=create, dry=dry):
            pass
        assert found.value.code == "journal_damaged"


@pytest.mark.parametrize("line", [0, 4])
def test_a_line_changed_before_the_last_is_found_when_it_is_read(world: World, line: int) -> None:
    _history(world)
    journal = world.state / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b'"by":"sam"', b'"by":"eve"')
    journal.write_bytes(b"".join(lines))
    with world.open() as catalogue, pytest.raises(VmimagesError) as found:
        catalogue.rebuild()
    assert found.value.code == "journal_damaged"
    assert main(["audit", "--state-dir", str(world.state)]) == 1
    assert main(["rebuild", "--accept-journal", "--state-dir", str(world.state)]) == 1
    index.discard(world.state / "catalogue.sqlite")
    with pytest.raises(VmimagesError) as found:
        world.rows()
    assert found.value.code == "journal_damaged"


@pytest.mark.parametrize("with_index", [True, False])
def test_the_administrator_accepts_a_shorter_journal(world: World, with_index: bool) -> None:
    _history(world)
    state = str(world.state)
    journal = world.state / "journal.jsonl"
    kept = b"".join(journal.read_bytes().splitlines(keepends=True)[:-1])
    journal.write_bytes(kept)
    if not with_index:
        index.discard(world.state / "catalogue.sqlite")
    assert main(["rebuild", "--state-dir", state]) == 1
    assert main(["rebuild", "--accept-journal", "--state-dir", state]) == 0
    octets = journal.read_bytes()
    assert octets.startswith(kept)
    assert json.loads(octets[len(kept) :])["event"] == "journal_accepted"
    assert world.rows()["decisions"] == []
    assert main(["audit", "--state-dir", state]) == 0
    assert main(["rebuild", "--accept-journal", "--state-dir", state]) == 0
    assert journal.read_bytes() == octets
    index.discard(world.state / "catalogue.sqlite")
    assert world.rows()["decisions"] == []


def test_an_audit_counts_what_is_good_and_names_what_is_not(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    _history(world)
    arguments = ["audit", "--json", "--state-dir", str(world.state)]
    assert main(arguments) == 0
    good = json.loads(capfd.readouterr().out)
    lines = (world.state / "journal.jsonl").read_bytes().splitlines(keepends=True)
    assert good == {"lines": len(lines), "messages": 2, "unnamed": 0, "problems": []}
    folder = world.state / "messages" / LIST
    changed = min(folder.iterdir())
    changed.write_bytes(changed.read_bytes() + b"\n")
    (folder / "x.smime").touch()
    (world.state / "journal.jsonl").write_bytes(b"".join([*lines[:3], *lines[4:-1]]))
    assert main(arguments) == 1
    found = json.loads(capfd.readouterr().out)
    assert (found["lines"], found["unnamed"] >= 1) == (len(lines) - 3, True)
    codes = [problem["code"] for problem in found["problems"]]
    assert sorted(set(codes)) == ["archive_damaged", "journal_damaged"]
    assert any("Line 4 " in problem["detail"] for problem in found["problems"])
    assert main(["audit", "--state-dir", str(world.state)]) == 1
    assert "archive_damaged" in capfd.readouterr().err


def test_a_line_that_its_writer_takes_back_was_seen_by_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that comes between the line and the disk's refusal of it waits."""
    world.publish("1", [world.image()])
    world.subscribe(allow_private=True)
    rows = world.rows()
    fsync = os.fsync
    codes: list[str] = []

    def failing(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name != "journal.jsonl":
            fsync(descriptor)
            return
        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(VmimagesError) as waited, world.open():
            pass
        codes.append(waited.value.code)
        raise OSError(errno.ENOSPC, "No space left on device")

    with world.open() as catalogue, catalogue.writing() as writer:
        monkeypatch.setattr(os, "fsync", failing)
        monkeypatch.setattr(index, "PATIENCE", 0.1)
        with pytest.raises(VmimagesError) as found:
            writer.commit(("decided", BLACKLISTED))
    assert (codes, found.value.code) == (["state_busy"], "disk_full")
    assert world.rows() == rows


def test_what_the_index_cannot_take_in_is_not_written(world: World) -> None:
    """Nobody could read a line after it."""
    world.publish("1", [world.image()])
    world.subscribe(allow_private=True)
    journal = (world.state / "journal.jsonl").read_bytes()
    rows = world.rows()
    with world.open() as catalogue, catalogue.writing() as writer, pytest.raises(KeyError):
        writer.commit(("decided", BLACKLISTED), ("decided", {"target_type": "image"}))
    assert (world.state / "journal.jsonl").read_bytes() == journal
    assert world.rows() == rows
    with world.open() as catalogue, catalogue.writing() as writer:
        writer.commit(("decided", BLACKLISTED))
        assert [row["decision"] for row in catalogue.rows("SELECT decision FROM decisions")] == ["blacklist"]


def test_a_newer_index_is_refused(world: World) -> None:
    _history(world)
    with sqlite3.connect(world.state / "catalogue.sqlite") as connection:
        connection.execute(f"PRAGMA user_version = {index.SCHEMA + 1}")
    connection.close()
    with pytest.raises(VmimagesError) as found, world.open():
        pass
    assert found.value.code == "state_newer"


def test_a_changed_journal_line_stops_everything(world: World) -> None:
    _history(world)
    journal = world.state / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"reason":"CVE"', b'"reason":"xxx"'))
    index.discard(world.state / "catalogue.sqlite")
    with pytest.raises(VmimagesError) as found, world.open():
        pass
    assert found.value.code == "journal_damaged"


def test_a_changed_message_stops_the_rebuild(world: World) -> None:
    _history(world)
    message = next((world.state / "messages" / LIST).iterdir())
    message.write_bytes(message.read_bytes() + b"\n")
    index.discard(world.state / "catalogue.sqlite")
    with pytest.raises(VmimagesError) as found, world.open():
        pass
    assert found.value.code == "archive_damaged"


def test_two_front_ends_see_each_other(world: World, tmp_path: Path) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    with world.open(index_path=tmp_path / "second.sqlite") as second:
        world.decide("approve", IMAGE)
        second.catch_up()
        assert [item["decision"] for item in queries.judge(second, IMAGE)["decisions"]] == ["approve"]
        decisions.decide(second, decision="blacklist", images=[IMAGE])
    assert world.verdict()["code"] == "blacklisted"


def test_no_state_is_told(tmp_path: Path) -> None:
    with pytest.raises(VmimagesError) as found, Catalogue.open(tmp_path / "nothing"):
        pass
    assert found.value.code == "state_missing"


def test_an_unwritable_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VmimagesError) as found, Catalogue.open(tmp_path / "file" / "state", create=True):
        pass
    assert found.value.code == "not_writable"


@pytest.mark.needs("root")
def test_root_writes_as_the_owner_and_others_are_refused(world: World, tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.getuid() and str(path) != "/":
            path.chmod(path.stat().st_mode | 0o055)
    world.state.mkdir()
    os.chown(world.state, nobody.pw_uid, nobody.pw_gid)
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.sync()
    assert os.geteuid() == 0
    owners = {path.stat().st_uid for path in world.state.rglob("*")}
    assert owners == {nobody.pw_uid}
    os.seteuid(pwd.getpwnam("daemon").pw_uid)
    try:
        with pytest.raises(VmimagesError) as found, world.open():
            pass
    finally:
        os.seteuid(0)
    assert found.value.code == "state_owner"


def test_a_decision_that_stands_is_not_written_again(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    assert world.decide("approve", IMAGE, reason="tested").changed
    assert not world.decide("approve", IMAGE, reason="tested", author="somebody else").changed
    assert world.decide("approve", IMAGE, reason="tested again").changed
    assert world.decide("clear", IMAGE).changed
    assert not world.decide("clear", IMAGE).changed


def test_a_decision_about_a_tag_speaks_of_all_its_images(world: World) -> None:
    world.publish("1", [world.image(), world.image(IMAGE_2)])
    world.subscribe()
    with world.open() as catalogue:
        decisions.decide(catalogue, decision="approve", tags=["SL5"])
    world.sync()
    assert world.verdict(IMAGE)["allowed"] and world.verdict(IMAGE_2)["allowed"]


def test_check_mode_decides_nothing(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    assert world.decide("approve", IMAGE, check=True).changed
    assert world.verdict()["code"] == "not_approved"


def _snapshot(world: World, name: str = IMAGE, later: timedelta = timedelta()) -> str:
    document = snapshot.load(StateDirectory.at(world.state), patience=0.0)
    return str(snapshot.judge(document, name, world.now + later)["verdict"]["code"])


def test_the_snapshot_follows_every_change(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    assert _snapshot(world) == "not_approved"
    world.decide("approve", IMAGE)
    assert _snapshot(world) == "not_cached"
    world.sync()
    assert _snapshot(world) == _snapshot(world, "SL5") == "allowed"
    world.decide("blacklist", IMAGE)
    assert _snapshot(world) == "blacklisted"


def test_a_snapshot_is_not_believed_past_its_time(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.sync()
    with pytest.raises(VmimagesError) as found:
        _snapshot(world, later=timedelta(days=21))
    assert found.value.code == "snapshot_stale"


def test_a_snapshot_older_than_the_journal_is_not_believed(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.sync()
    octets = (world.state / "verdicts.json").read_bytes()
    world.decide("blacklist", IMAGE)
    (world.state / "verdicts.json").write_bytes(octets)
    with pytest.raises(VmimagesError) as found:
        _snapshot(world)
    assert found.value.code == "snapshot_stale"
    assert not world.decide("blacklist", IMAGE).changed
    assert _snapshot(world) == "blacklisted"


def test_a_snapshot_notices_a_changed_file(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.sync()
    Path(world.verdict()["path"]).write_bytes(b"x")
    with pytest.raises(VmimagesError) as found:
        _snapshot(world)
    assert found.value.code == "file_changed"


def test_a_standing_judgement_needs_no_cryptography(world: World) -> None:
    """What a gate pays for: a verdict whose certification path was judged before imports no library."""
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.sync()
    script = (
        "import json, sys; from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import queries\n"
        "from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue\n"
        "with Catalogue.open(sys.argv[1]) as catalogue: found = queries.judge(catalogue, sys.argv[2])\n"
        "print(json.dumps([found['verdict']['code'], sorted({'cryptography', 'requests'} & set(sys.modules))]))"
    )
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", script, world.state, IMAGE],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout) == ["allowed", []]


def test_no_question_about_one_image_looks_through_all_of_them(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    asked: list[str] = []
    with world.open() as catalogue:
        digest = catalogue.rows("SELECT sha512 FROM images")[0]["sha512"]
        catalogue.connection.set_trace_callback(asked.append)
        for name in (IMAGE, "SL5", digest):
            queries.judge(catalogue, name)
        decisions.decide(catalogue, decision="blacklist", images=[IMAGE], tags=["SL5"])
        catalogue.connection.set_trace_callback(None)
        plans = [
            (statement, step["detail"])
            for statement in asked
            if statement.startswith(("SELECT", "INSERT OR REPLACE INTO touched"))
            for step in catalogue.rows(f"EXPLAIN QUERY PLAN {statement}")
        ]
    assert any("images_by_sha512" in detail for _statement, detail in plans)
    assert [item for item in plans if item[1].startswith(("SCAN images", "SCAN owners", "SCAN versions"))] == []
