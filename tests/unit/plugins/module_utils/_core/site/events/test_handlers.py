# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Handlers: what they are told, with which environment, and what their failures mean for others."""

from __future__ import annotations

import json
import os
import signal
import typing as t
from datetime import timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import SiteError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.events import happenings
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import snapshot
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store import journal
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import locked

from ..conftest import IMAGE, IMAGE_2, LIST, World
from .conftest import Stage, events_of

NEW, NEW_2 = f"SubscriptionImageNew {IMAGE}", f"SubscriptionImageNew {IMAGE_2}"
AVAILABLE = [f"AvailablePrefix {IMAGE}", f"AvailablePostfix {IMAGE}"]
AVAILABLE_2 = [f"AvailablePrefix {IMAGE_2}", f"AvailablePostfix {IMAGE_2}"]
EXPIRE = [f"ExpirePrefix {IMAGE}", f"ExpirePostfix {IMAGE}"]

#: Written for vmcatcher, from the names that its documentation gives: copies images into a store, and removes them.
VMCATCHER_HANDLER = """#!/bin/sh
set -eu
store={store}
case "$VMCATCHER_EVENT_TYPE" in
    AvailablePostfix)
        [ "$(sha512sum <"$VMCATCHER_EVENT_FILENAME" | cut -d' ' -f1)" = "$VMCATCHER_EVENT_SL_CHECKSUM_SHA512" ]
        [ "$(stat -c %s "$VMCATCHER_EVENT_FILENAME")" = "$VMCATCHER_EVENT_HV_SIZE" ]
        cp "$VMCATCHER_EVENT_FILENAME" "$store/$VMCATCHER_EVENT_DC_IDENTIFIER.image"
        echo "$VMCATCHER_EVENT_DC_TITLE/$VMCATCHER_EVENT_HV_VERSION/$VMCATCHER_EVENT_HV_HYPERVISOR" \\
            >"$store/$VMCATCHER_EVENT_DC_IDENTIFIER.name"
        ;;
    ExpirePrefix)
        [ "$(dirname "$VMCATCHER_EVENT_FILENAME")" = "$VMCATCHER_CACHE_DIR_EXPIRE" ]
        rm -f "$store/$VMCATCHER_EVENT_DC_IDENTIFIER.image" "$store/$VMCATCHER_EVENT_DC_IDENTIFIER.name"
        ;;
    ProcessPrefix | ProcessPostfix | AvailablePrefix | ExpirePostfix | SubscriptionImageNew) ;;
    *)
        echo "$0: cannot handle $VMCATCHER_EVENT_TYPE" >&2
        exit 2
        ;;
esac
"""

IMAGE_VARIABLES = {
    *("DC_IDENTIFIER", "DC_TITLE", "DC_DESCRIPTION", "HV_HYPERVISOR", "HV_SIZE", "HV_URI", "HV_VERSION", "HV_FORMAT"),
    *("SL_ARCH", "SL_CHECKSUM_SHA512", "SL_COMMENTS", "SL_OS", "SL_OSVERSION"),
    *("FILENAME", "IL_DC_IDENTIFIER", "AD_MPURI", "VO", "UUID_SESSION", "TYPE"),
}


def _cached(world: World, *images: t.Any) -> None:
    world.publish("1", images or [world.image()])
    world.subscribe(new_images="cache")
    world.sync()


def _withdrawn(world: World) -> None:
    world.publish("2", [])
    world.refresh()
    world.sync()


def test_a_handler_written_for_vmcatcher_runs_unchanged(stage: Stage, tmp_path: Path) -> None:
    world, store = stage.world, tmp_path / "store"
    store.mkdir()
    stage.handler("opennebula", VMCATCHER_HANDLER.format(store=store))
    image = {**world.image(), "hv:hypervisor": "kvm,xen", "dc:title": 'SL5 "$(reboot)"; `x`'}
    _cached(world, image)
    assert stage.dispatch().data["failures"] == []
    assert (store / f"{IMAGE}.image").read_bytes() == world.octets[image["sl:checksum:sha512"]]
    assert (store / f"{IMAGE}.name").read_text() == 'SL5 "$(reboot)"; `x`/1/kvm,xen\n'
    _withdrawn(world)
    assert stage.dispatch().data["failures"] == []
    assert list(store.iterdir()) == []


def test_a_handler_is_given_vmcatchers_environment_and_nothing_else(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "x")
    world = stage.world
    log = stage.recorder()
    stated = {
        "dc:description": "Zwölf\nZeilen",
        "hv:hypervisor": "kvm",
        "hv:format": "qcow2",
        "sl:arch": "x86_64",
        "sl:os": "Linux",
        "sl:osversion": "SL 5.5",
        "sl:comments": "none",
        "ad:mpuri": "https://appdb.example.org/1",
    }
    image = {**world.image(), **stated}
    world.publish("1", [image], **{"ad:vo": "vo.example.org"})
    world.subscribe(new_images="cache")
    world.sync()
    stage.dispatch()
    calls = [json.loads(line)["environment"] for line in log.read_text().splitlines()]
    expected = {"PATH", "LC_CTYPE"} | {f"VMCATCHER_EVENT_{name}" for name in IMAGE_VARIABLES}
    expected |= {f"VMCATCHER_CACHE_DIR_{name}" for name in ("CACHE", "DOWNLOAD", "EXPIRE")}
    for call in calls:
        # The interpreter of the recorder may set LC_CTYPE itself.
        assert set(call) | {"LC_CTYPE"} == expected
    assert {call["VMCATCHER_EVENT_UUID_SESSION"] for call in calls} == {calls[0]["VMCATCHER_EVENT_UUID_SESSION"]}
    told = {call["VMCATCHER_EVENT_TYPE"]: call for call in calls}["AvailablePostfix"]
    current = world.state / "cache" / "current"
    assert {name: told[f"VMCATCHER_EVENT_{name}"] for name in IMAGE_VARIABLES if name != "UUID_SESSION"} == {
        "TYPE": "AvailablePostfix",
        "DC_IDENTIFIER": IMAGE,
        "DC_TITLE": "SL5",
        "DC_DESCRIPTION": "Zwölf\nZeilen",
        "HV_HYPERVISOR": "kvm",
        "HV_SIZE": "3000",
        "HV_URI": image["hv:uri"],
        "HV_VERSION": "1",
        "HV_FORMAT": "qcow2",
        "SL_ARCH": "x86_64",
        "SL_CHECKSUM_SHA512": image["sl:checksum:sha512"],
        "SL_COMMENTS": "none",
        "SL_OS": "Linux",
        "SL_OSVERSION": "SL 5.5",
        "FILENAME": str(next(path for path in current.iterdir() if path.name.startswith(IMAGE))),
        "IL_DC_IDENTIFIER": LIST,
        "AD_MPURI": "https://appdb.example.org/1",
        "VO": "vo.example.org",
    }
    assert told["VMCATCHER_CACHE_DIR_CACHE"] == str(current)
    assert told["VMCATCHER_CACHE_DIR_DOWNLOAD"] == str(world.state / "cache" / "downloading")
    assert told["VMCATCHER_CACHE_DIR_EXPIRE"] == str(world.state / "cache" / "expired")


def test_the_whole_event_is_on_standard_input(stage: Stage) -> None:
    world = stage.world
    log = stage.recorder()
    image = {**world.image(), "x:unknown": ["kept"]}
    _cached(world, image)
    stage.dispatch()
    documents = [json.loads(json.loads(line)["input"]) for line in log.read_text().splitlines()]
    assert [item["event"] for item in documents] == [
        "ProcessPrefix",
        "SubscriptionImageNew",
        "AvailablePrefix",
        "AvailablePostfix",
        "ProcessPostfix",
    ]
    assert documents[0]["image"] is None and documents[0]["site"] == "example-site"
    told = documents[3]
    assert told["image"]["metadata"] == image
    assert told["list"] == {"identifier": LIST, "version": "1", "title": "Test list", "uri": world.uri()}
    assert Path(told["file"]).read_bytes() == world.octets[image["sl:checksum:sha512"]]
    assert (told["handler"], told["attempt"], told["format"]) == ("recorder", 1, 1)


def test_events_are_told_once_in_the_journals_order(stage: Stage) -> None:
    log = stage.logging("log")
    _cached(stage.world, stage.world.image(), stage.world.image(IMAGE_2))
    stage.dispatch()
    told = events_of(log)
    assert told[:2] == [NEW, NEW_2]
    assert sorted(told[2:]) == sorted([*AVAILABLE, *AVAILABLE_2])
    assert told.index(AVAILABLE[1]) == told.index(AVAILABLE[0]) + 1
    assert not stage.dispatch().changed
    stage.world.publish("2", [stage.world.image(version="2"), stage.world.image(IMAGE_2, version="2")])
    stage.world.refresh()
    stage.dispatch()
    assert events_of(log) == told
    stage.world.sync()
    stage.dispatch()
    later = events_of(log)[len(told) :]
    assert sorted(later[:4]) == sorted([*EXPIRE, f"ExpirePrefix {IMAGE_2}", f"ExpirePostfix {IMAGE_2}"])
    assert sorted(later[4:]) == sorted([*AVAILABLE, *AVAILABLE_2])


def test_results_are_journaled_and_the_snapshot_knows_them(stage: Stage) -> None:
    stage.shell("talker", "echo heard; yes | head -c 100000; echo the end")
    _cached(stage.world)
    stage.dispatch()
    handled = stage.journal("handled")
    assert [item["event"] for item in handled][2:4] == ["AvailablePrefix", "AvailablePostfix"]
    assert all(item["handler"] == "talker" and item["status"] == 0 and item["attempt"] == 1 for item in handled)
    assert all(item["output"].endswith("the end\n") and len(item["output"]) <= 2048 for item in handled)
    with stage.world.open() as catalogue:
        assert snapshot.load(catalogue.state, patience=0.0)
        assert len(list(journal.read(catalogue.state.journal, after=journal.Head()))) == catalogue.head().sequence
    assert stage.world.verdict()["allowed"]


def test_an_image_that_expired_before_it_was_told_is_not_announced(stage: Stage) -> None:
    log = stage.logging("log")
    stage.dispatch()
    _cached(stage.world)
    _withdrawn(stage.world)
    stage.dispatch()
    assert events_of(log) == [NEW, *EXPIRE]


def test_a_new_handler_hears_of_what_there_is(stage: Stage) -> None:
    world = stage.world
    old, kept = world.image(), world.image(IMAGE_2)
    _cached(world, old, kept)
    world.publish("2", [kept])
    world.refresh()
    world.sync()
    world.sync(purge_expired=timedelta(0))
    log = stage.logging("log")
    stage.dispatch()
    assert events_of(log) == [NEW_2, *AVAILABLE_2]


def test_a_file_that_is_damaged_or_lost_has_expired(stage: Stage) -> None:
    world = stage.world
    log = stage.logging("log")
    _cached(world)
    stage.dispatch()
    log.unlink()
    file = next(path for path in (world.state / "cache" / "current").iterdir() if path.name.startswith(IMAGE))
    file.write_bytes(b"x" * 3000)
    world.sync()
    stage.dispatch()
    assert events_of(log) == [*EXPIRE, *AVAILABLE]
    log.unlink()
    file.unlink()
    _withdrawn(world)
    stage.dispatch()
    assert events_of(log) == EXPIRE


def test_a_handler_that_hangs_is_killed_with_its_children_and_tried_again(stage: Stage, tmp_path: Path) -> None:
    world, stage.timeout, stage.attempts = stage.world, 2, 2
    pids = tmp_path / "pids"
    stage.shell(
        "10-hangs",
        f"case $VMCATCHER_EVENT_TYPE-$VMCATCHER_EVENT_DC_IDENTIFIER in AvailablePostfix-{IMAGE}) ;; *) exit 0;; esac",
        "trap '' TERM",
        "sleep 600 &",
        f"echo $! $$ >>{pids}",
        "wait",
        "sleep 600",
    )
    behind = stage.logging("10-hangs-not")
    other = stage.logging("20-works")
    _cached(world, world.image(), world.image(IMAGE_2))
    outcome = stage.dispatch()
    for pid in pids.read_text().split():
        assert not _alive(int(pid))
    assert len(events_of(other)) == len(events_of(behind)) == 6
    failure = stage.journal("handler_failed")
    assert [(item["event"], item["image"], item["timed_out"]) for item in failure] == [
        ("AvailablePostfix", IMAGE, True)
    ]
    assert outcome.data["failures"][0]["code"] == "handler_failed"
    done = {(item["handler"], item["event"], item["image"]) for item in stage.journal("handled")}
    assert ("10-hangs", "AvailablePostfix", IMAGE_2) in done and ("10-hangs", "ProcessPostfix", None) in done
    assert not stage.dispatch().changed
    world.now += timedelta(minutes=2)
    assert stage.dispatch().data["waiting"] == []
    assert [item["attempt"] for item in stage.journal("handler_failed")] == [1, 2]
    world.now += timedelta(days=2)
    assert not stage.dispatch().changed


def test_a_handler_that_always_hangs_costs_a_run_a_few_timeouts(stage: Stage) -> None:
    world, stage.timeout = stage.world, 2
    stage.shell("hangs", "exec sleep 600")
    log = stage.logging("works")
    _cached(world, world.image(), world.image(IMAGE_2))
    outcome = stage.dispatch()
    assert len(events_of(log)) == 6
    assert len(outcome.data["failures"]) == 3


def test_a_failure_holds_back_what_follows_for_the_same_image_only(stage: Stage, tmp_path: Path) -> None:
    world = stage.world
    broken = tmp_path / "broken"
    broken.touch()
    log = stage.logging(
        "picky",
        f'[ "$VMCATCHER_EVENT_TYPE $VMCATCHER_EVENT_DC_IDENTIFIER" = "{AVAILABLE[1]}" ] && [ -e {broken} ] && exit 7',
    )
    _cached(world, world.image(), world.image(IMAGE_2))
    outcome = stage.dispatch()
    assert sorted(events_of(log)) == sorted([NEW, NEW_2, AVAILABLE[0], *AVAILABLE_2])
    assert [item["status"] for item in stage.journal("handler_failed")] == [7]
    assert "attempt 1" in outcome.data["failures"][0]["detail"]
    log.unlink()
    image = world.image(version="2")
    world.publish("2", [image])
    world.refresh()
    world.sync()
    stage.dispatch()
    assert events_of(log) == [f"ExpirePrefix {IMAGE_2}", f"ExpirePostfix {IMAGE_2}"]
    log.unlink()
    broken.unlink()
    world.now += timedelta(minutes=2)
    stage.dispatch()
    assert events_of(log) == [*EXPIRE, *AVAILABLE]


def test_the_delay_grows_and_the_attempts_end(stage: Stage) -> None:
    world = stage.world
    stage.attempts = 4
    stage.shell("fails", '[ "$VMCATCHER_EVENT_TYPE" != SubscriptionImageNew ]')
    world.publish("1", [world.image()])
    world.subscribe()
    for minutes in (0, 0, 1, 4, 5, 24, 25, 1000):
        world.now += timedelta(minutes=minutes)
        stage.dispatch()
    failed = stage.journal("handler_failed")
    assert [item["attempt"] for item in failed] == [1, 2, 3, 4]
    assert [item["retry"] is None for item in failed] == [False, False, False, True]


def test_a_handler_may_leave_a_job_behind_and_need_not_name_its_shell(stage: Stage, tmp_path: Path) -> None:
    world = stage.world
    pids = tmp_path / "pids"
    stage.handler("no-first-line", f"sleep 60 &\necho $! >>{pids}\n")
    _cached(world)
    assert stage.dispatch().data["failures"] == []
    left = [int(pid) for pid in pids.read_text().split()]
    assert len(left) == 5 and all(_alive(pid) for pid in left)
    for pid in left:
        os.kill(pid, signal.SIGKILL)


def test_what_cannot_be_started_is_a_failure(stage: Stage) -> None:
    stage.handler("lost", "#!/no/such/interpreter\n")
    _cached(stage.world)
    outcome = stage.dispatch()
    assert {item["status"] for item in stage.journal("handler_failed")} == {None}
    assert outcome.data["failures"][0]["context"]["output"] == "No such file or directory"


def test_no_lock_is_held_and_no_snapshot_is_stale_while_a_handler_runs(stage: Stage) -> None:
    world = stage.world
    seen = stage.directory.parent / "seen"
    stage.shell(
        "looks",
        f"flock -n {world.state}/lock true || echo locked >>{seen}",
        f"size=$(stat -c %s {world.state}/journal.jsonl)",
        f'grep -q "\\"size\\": $size" {world.state}/verdicts.json || echo stale >>{seen}',
        f"echo looked >>{seen}",
    )
    _cached(world, world.image(), world.image(IMAGE_2))
    stage.dispatch()
    assert set(seen.read_text().split()) == {"looked"}


def test_one_dispatcher_works_at_a_time(stage: Stage) -> None:
    log = stage.logging("log")
    _cached(stage.world)
    (stage.world.state / "events").mkdir()
    with locked(stage.world.state / "events" / "lock"), pytest.raises(SiteError) as caught:
        stage.dispatch(patience=0.0)
    assert caught.value.code == "state_busy" and not log.exists()


@pytest.mark.parametrize("what", ["directory", "way"])
def test_a_directory_that_others_may_change_is_refused(stage: Stage, what: str) -> None:
    log = stage.logging("log")
    _cached(stage.world)
    changed = stage.directory if what == "directory" else stage.directory.parent
    changed.chmod(0o777)
    try:
        with pytest.raises(SiteError) as caught:
            stage.dispatch()
    finally:
        changed.chmod(0o755)
    assert caught.value.code == "handlers_unsafe" and not log.exists()


def test_a_handler_that_others_may_change_is_refused_and_the_rest_works(stage: Stage) -> None:
    bad, good = stage.logging("bad"), stage.logging("good")
    stage.logging("bad~")
    (stage.directory / "bad").chmod(0o775)
    stage.handler("README", "no handler", mode=0o664)
    _cached(stage.world)
    outcome = stage.dispatch()
    assert [(item["handler"], item["code"]) for item in outcome.data["failures"]] == [("bad", "handlers_unsafe")]
    assert events_of(good) == [NEW, *AVAILABLE] and not bad.exists()


def test_a_directory_that_is_not_there_is_told(stage: Stage) -> None:
    _cached(stage.world)
    stage.directory.rmdir()
    with pytest.raises(SiteError) as caught:
        stage.dispatch()
    assert caught.value.code == "not_readable"


def test_a_damaged_cursor_tells_again_what_still_matters(stage: Stage) -> None:
    log = stage.logging("log")
    _cached(stage.world)
    stage.dispatch()
    (stage.world.state / "events" / "cursor.json").write_text('{"format": 1, "receivers": {"x": 7}}')
    stage.dispatch()
    assert events_of(log) == [NEW, *AVAILABLE] * 2


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return status != "Z"


def test_a_cache_that_is_lost_as_a_whole_reads_the_journal_once(stage: Stage) -> None:
    """Once for each of 10,000 files, in a journal of 100,000 lines, takes a quarter of an hour."""
    happenings._gathered.cache_clear()
    world = stage.world
    world.publish("1", [world.image(), world.image(IMAGE_2)])
    world.subscribe(new_images="cache")
    world.sync()
    for path in (world.state / "cache" / "current").glob("*_1_*"):
        path.unlink()
    world.publish("2", [])
    world.refresh()
    world.sync()
    with world.open() as catalogue:
        lines = [one for one in journal.read(catalogue.state.journal, after=journal.Head()) if one.event == "lost"]
        told = [happenings.happenings(catalogue, line, happenings.FOR_HANDLERS) for line in lines]
    assert [(one.kind, one.code) for (one,) in told] == [("expire", "file_changed")] * 2
    assert happenings._gathered.cache_info().misses == 1
