# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshot is not behind for long, and runs do not wait for each other in vain."""

from __future__ import annotations

import contextlib
import threading
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache import sync as cache
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache import verdicts
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache.work import Limits
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import snapshot
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory, locked

from ..conftest import IMAGE, IMAGE_2, World
from .helpers import cached, directory_of, done, is_behind, name_of, names


def test_the_moves_are_in_the_snapshot_before_the_downloads_begin(world: World) -> None:
    cached(world)
    world.publish("2", [world.image(IMAGE_2)])
    world.refresh()
    world.decide("approve", IMAGE_2)
    seen: list[bool] = []

    def look(_name: str, _done: int, _total: int) -> None:
        seen.append(is_behind(world))

    assert [item["image"] for item in world.sync(progress=look).data["moved"]] == [IMAGE]
    assert seen and not any(seen)


def test_a_sync_that_finds_another_one_downloading_has_moved_and_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = cached(world)
    world.publish("2", [world.image(IMAGE_2)])
    world.refresh()
    world.decide("approve", IMAGE_2)
    waited: list[list[str]] = []

    @contextlib.contextmanager
    def impatient(path: Path, **_options: t.Any) -> t.Iterator[None]:
        waited.append(names(world, "expired"))
        assert not is_behind(world)
        with locked(path, patience=0.1):
            yield

    monkeypatch.setattr(cache, "locked", impatient)
    with locked(world.state / "cache" / "lock"), pytest.raises(VmimagesError) as found:
        world.sync()
    assert found.value.code == "state_busy"
    assert waited == [[name_of(image)]]
    assert not is_behind(world)


def test_an_idle_sync_does_not_wait_for_a_download(world: World) -> None:
    cached(world)
    partial = directory_of(world, "downloading") / "somebodys-download"
    partial.write_bytes(b"half")
    with locked(world.state / "cache" / "lock"):
        assert not world.sync().changed
    assert partial.read_bytes() == b"half"
    world.sync()
    assert names(world, "downloading") == []


def test_the_snapshot_follows_while_a_long_download_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish("1", [world.image(), world.image(IMAGE_2)])
    world.subscribe(new_images="cache")
    monkeypatch.setattr(verdicts, "INTERVAL", 0.2)
    first: list[str] = []
    allowed: list[bool] = []

    def progress(name: str, _done: int, _total: int) -> None:
        """The second image waits until the snapshot allows the first, or half a minute."""
        if not first:
            first.append(name)
        if name != first[0] and not allowed:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and not allowed:
                (image,) = snapshot.load(StateDirectory.at(world.state)).find("identifier", first[0][:36])
                allowed.extend([True] if image["verdict"]["allowed"] else [])
                time.sleep(0.05)

    world.sync(limits=Limits(parallel=1), progress=progress)
    assert allowed == [True]


def test_an_interrupted_run_leaves_a_snapshot_that_is_not_behind(world: World) -> None:
    world.publish("1", [world.image(), world.image(IMAGE_2)])
    world.subscribe(new_images="cache")

    def interrupt(name: str, _done: int, _total: int) -> None:
        if len(names(world, "current")) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.sync(limits=Limits(parallel=1), progress=interrupt)
    assert not is_behind(world)
    images = snapshot.load(StateDirectory.at(world.state)).images()
    assert sum(image["verdict"]["allowed"] for image in images) == 1


def test_a_run_that_waited_does_not_download_what_the_other_one_did(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    held, outcomes = threading.Event(), []

    def hold(_name: str, _done: int, _total: int) -> None:
        if not held.is_set():
            held.set()
            time.sleep(0.5)

    first = threading.Thread(target=lambda: outcomes.append(world.sync(progress=hold)))
    first.start()
    assert held.wait(10)
    assert done(world.sync()) == []
    first.join()
    assert done(outcomes[0]) == ["download"]
