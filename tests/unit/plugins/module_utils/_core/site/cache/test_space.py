# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quota and free space: what does not fit is refused before it begins; expired files make room, if nobody uses them."""

from __future__ import annotations

import os
import subprocess
import typing as t
from datetime import timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache.room import in_use, space
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.upkeep import NO_LIMITS, Upkeep

from ..conftest import IMAGE, IMAGE_2, World
from .helpers import directory_of, done, mounted, name_of, names, same_in_check_mode

MEBI = 1024 * 1024


def _upkeep(**options: t.Any) -> Upkeep:
    return NO_LIMITS.with_options(options)


def _two(world: World) -> tuple[t.Any, t.Any]:
    one, two = (world.image(identifier, octets=os.urandom(MEBI)) for identifier in (IMAGE, IMAGE_2))
    world.publish("1", [one, two])
    world.subscribe(new_images="cache")
    return one, two


def test_what_does_not_fit_into_the_quota_is_not_begun(world: World) -> None:
    _two(world)
    asked: list[str] = []
    outcome = same_in_check_mode(
        world, upkeep=_upkeep(quota="1500 KiB"), progress=lambda name, _d, _t: asked.append(name)
    )
    (failure,) = outcome.data["failures"]
    assert (failure["code"], done(outcome)) == ("quota_exceeded", ["download"])
    assert 500 * 1024 < failure["context"]["missing"] < 700 * 1024
    assert "KiB are missing" in failure["detail"]
    assert len(set(asked)) == 1
    assert done(world.sync(upkeep=_upkeep(quota="3 MiB"))) == ["download"]


def test_a_file_that_grows_while_it_is_counted_is_counted_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with world.open() as catalogue:
        room = space.Room(catalogue.state, _upkeep(quota="2500 KiB"))
    room.promise("first", MEBI)
    part = world.state / "cache" / "downloading" / ".first.part"
    look = space._allocated

    def looked(entry: os.DirEntry[str]) -> int:
        found = look(entry)
        part.write_bytes(os.urandom(MEBI))
        return found

    part.touch()
    monkeypatch.setattr(space, "_allocated", looked)
    room.promise("second", MEBI)


@pytest.mark.needs("root", "mount")
def test_what_has_to_stay_free_stays_free(world: World) -> None:
    with world.open():
        pass
    with mounted(world.state / "cache", "-t", "tmpfs", "-o", "size=4m", "tmpfs"):
        with world.open():
            pass
        _two(world)
        outcome = same_in_check_mode(world, upkeep=_upkeep(min_free="2500 KiB"))
        assert [failure["code"] for failure in outcome.data["failures"]] == ["space_short"]
        assert len(names(world, "current")) == 1
        found = os.statvfs(world.state / "cache")
        assert found.f_bavail * found.f_frsize >= 2500 * 1024
        assert done(same_in_check_mode(world, upkeep=_upkeep(min_free="1 MiB"))) == ["download"]


@pytest.mark.needs("root", "mount", "qemu-img")
def test_making_a_disk_ends_where_there_is_no_room(world: World) -> None:
    import gzip

    with world.open():
        pass
    with mounted(world.state / "cache", "-t", "tmpfs", "-o", "size=64m", "tmpfs"):
        with world.open():
            pass
        octets = gzip.compress(b"abcdefgh" * (6 * MEBI))
        world.publish("1", [{**world.image(octets=octets), "hv:format": "raw.gz"}])
        world.subscribe(new_images="cache", formats=["raw"])
        outcome = world.sync(upkeep=_upkeep(min_free="40 MiB"))
        assert [failure["code"] for failure in outcome.data["failures"]] == ["space_short"]
        assert names(world, "derived") == []
        assert done(world.sync(upkeep=_upkeep(min_free="1 MiB"))) == ["derive"]


def _expired(world: World, count: int) -> list[str]:
    """So many versions of an image, all but the last of them in `expired`, the oldest first; their file names."""
    found = []
    world.publish("1", [image := world.image(octets=os.urandom(MEBI))])
    world.subscribe(new_images="cache")
    for version in range(2, count + 2):
        world.sync()
        found.append(name_of(image))
        world.now += timedelta(days=1)
        world.publish(str(version), [image := world.image(version=str(version), octets=os.urandom(MEBI))], days=40)
        world.refresh()
    world.sync()
    return found


def test_expired_files_make_room_the_oldest_first(world: World) -> None:
    old = _expired(world, 3)
    world.publish("9", [world.image(version="9", octets=os.urandom(MEBI))], days=40)
    world.refresh()
    outcome = same_in_check_mode(world, upkeep=_upkeep(quota="4500 KiB"))
    assert done(outcome) == ["expire", "download", "purge"]
    assert [item["name"] for item in outcome.data["purged"]] == old[:1]
    assert not same_in_check_mode(world, upkeep=_upkeep(quota="4500 KiB")).changed


def test_an_update_replaces_what_it_is_the_update_of_where_there_is_no_other_room(world: World) -> None:
    old = _expired(world, 1)
    assert names(world, "expired") == old
    world.publish("9", [world.image(version="9", octets=os.urandom(MEBI))], days=40)
    world.refresh()
    outcome = same_in_check_mode(world, upkeep=_upkeep(quota="1200 KiB"))
    assert len(outcome.data["purged"]) == 2 and done(outcome).count("download") == 1


def test_what_is_kept_for_a_time_makes_no_room_before(world: World) -> None:
    _expired(world, 1)
    world.publish("9", [world.image(version="9", octets=os.urandom(MEBI))], days=40)
    world.refresh()
    outcome = same_in_check_mode(world, upkeep=_upkeep(quota="2500 KiB", keep_expired="3d"))
    assert [failure["code"] for failure in outcome.data["failures"]] == ["quota_exceeded"]
    assert outcome.data["purged"] == []
    world.now += timedelta(days=4)
    outcome = same_in_check_mode(world, upkeep=_upkeep(quota="2500 KiB", keep_expired="3d"))
    assert sorted(set(done(outcome))) == ["download", "purge"]


def test_nothing_goes_where_it_would_not_be_enough(world: World) -> None:
    _expired(world, 2)
    world.publish("9", [world.image(version="9", octets=os.urandom(5 * MEBI))], days=40)
    world.refresh()
    outcome = same_in_check_mode(world, upkeep=_upkeep(quota="4 MiB"))
    assert (done(outcome), len(outcome.data["failures"])) == (["expire"], 1)


def test_a_pinned_file_is_not_deleted_by_age_nor_for_room(world: World) -> None:
    (old,) = _expired(world, 1)
    state = StateDirectory.at(world.state)
    in_use.pin(state, old, "domain-17", now=world.now, until=world.now + timedelta(days=100))
    outcome = same_in_check_mode(world, purge_expired=timedelta(0))
    assert done(outcome) == [] and names(world, "expired") == [old]
    world.publish("9", [world.image(version="9", octets=os.urandom(MEBI))], days=40)
    world.refresh()
    assert len(same_in_check_mode(world, upkeep=_upkeep(quota="1200 KiB")).data["failures"]) == 1
    assert old in names(world, "expired")
    assert in_use.unpin(state, old, "domain-17") and not in_use.unpin(state, old, "domain-17")
    assert old in [item["name"] for item in same_in_check_mode(world, purge_expired=timedelta(0)).data["purged"]]


def test_a_pin_that_comes_during_a_long_run_counts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (old,) = _expired(world, 1)
    world.publish("9", [world.image(version="9", octets=os.urandom(MEBI))], days=40)
    world.refresh()
    monkeypatch.setattr(in_use, "LASTS", 0.0)

    def pin(_name: str, _done: int, _total: int) -> None:
        in_use.pin(StateDirectory.at(world.state), old, "domain-17", now=world.now)

    outcome = world.sync(purge_expired=timedelta(0), progress=pin)
    assert "download" in done(outcome) and old in names(world, "expired")
    assert any("pinned by domain-17" in warning for warning in outcome.warnings)


def test_a_pin_ends_with_its_time_and_one_that_cannot_be_read_does_not(world: World) -> None:
    state = StateDirectory.at(world.state)
    with world.open():
        pass
    in_use.pin(state, "a", "node1", now=world.now, until=world.now + timedelta(hours=1))
    in_use.pin(state, "a", "node2", now=world.now)
    (state.in_use / "b@node1").write_bytes(b"{")
    assert in_use.pinned(state, world.now) == {"a": ["node1", "node2"], "b": ["node1"]}
    assert in_use.pinned(state, world.now + timedelta(hours=1)) == {"a": ["node2"], "b": ["node1"]}


@pytest.mark.parametrize(
    ("name", "holder"), [("a", "../x"), ("../a", "x"), ("a", ""), ("", "x"), ("a@b", "x"), ("a", ".x")]
)
def test_a_pin_has_a_plain_name(world: World, name: str, holder: str) -> None:
    with pytest.raises(VmimagesError) as found:
        in_use.pin(StateDirectory.at(world.state), name, holder, now=world.now)
    assert found.value.code == "option_invalid"


def test_an_open_file_is_not_deleted(world: World) -> None:
    (old,) = _expired(world, 1)
    path = directory_of(world, "expired") / old
    with subprocess.Popen(["sh", "-c", 'exec 3<"$0"; echo; read _line', str(path)], stdin=-1, stdout=-1) as user:
        t.cast("t.IO[bytes]", user.stdout).readline()
        outcome = same_in_check_mode(world, purge_expired=timedelta(0))
        assert done(outcome) == []
        assert any("open in a process" in warning for warning in world.sync(purge_expired=timedelta(0)).warnings)
        t.cast("t.IO[bytes]", user.stdin).close()
    assert done(same_in_check_mode(world, purge_expired=timedelta(0))) == ["purge"]


@pytest.mark.needs("root", "losetup")
def test_what_a_loop_device_shows_is_not_deleted(world: World) -> None:
    (old,) = _expired(world, 1)
    path = directory_of(world, "expired") / old
    command = ["losetup", "--find", "--show", "--read-only", str(path)]
    device = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        assert done(world.sync(purge_expired=timedelta(0))) == []
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
    assert done(world.sync(purge_expired=timedelta(0))) == ["purge"]
    assert not Path(path).exists()
