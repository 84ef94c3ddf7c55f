# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Odd things where files belong are put aside or left alone, and told."""

from __future__ import annotations

import os
import typing as t
from datetime import timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError

from ..conftest import IMAGE, World
from .helpers import WRONG, cached, directory_of, done, mounted, name_of, names, same_in_check_mode


def test_a_directory_among_the_downloads_is_left_alone_and_told(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    found = directory_of(world, "downloading") / "lost+found"
    found.mkdir()
    outcome = same_in_check_mode(world)
    assert [warning for warning in outcome.warnings if str(found) in warning] == list(outcome.warnings) != []
    assert found.is_dir()
    assert world.verdict()["allowed"]
    journal = (world.state / "journal.jsonl").read_bytes()
    assert not world.sync().changed
    assert (world.state / "journal.jsonl").read_bytes() == journal


def _directory(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("mine")


@pytest.mark.parametrize("make", [_directory, lambda path: path.symlink_to("/etc/passwd"), os.mkfifo])
@pytest.mark.parametrize("place", ["current", "expired"])
def test_what_is_no_file_is_put_aside_and_purged(world: World, place: str, make: t.Callable[[Path], None]) -> None:
    image = world.image()
    world.publish("1", [image])
    world.subscribe(new_images="cache")
    make(directory_of(world, place) / name_of(image))
    outcome = same_in_check_mode(world)
    assert done(outcome) == ["read", "download"]
    assert outcome.data["failures"] == []
    assert world.verdict()["allowed"]
    assert names(world, "expired") == [f"{name_of(image)}.damaged"]
    assert Path("/etc/passwd").is_file()
    world.now += timedelta(days=2)
    assert done(same_in_check_mode(world, purge_expired=timedelta(days=1))) == ["purge"]
    assert names(world, "expired") == []


def test_a_directory_in_place_of_an_unwanted_image_is_put_aside(world: World) -> None:
    image = cached(world)
    path = directory_of(world, "current") / name_of(image)
    path.unlink()
    _directory(path)
    (directory_of(world, "expired") / f"{path.name}.damaged").write_bytes(WRONG)
    world.decide("blacklist", IMAGE)
    outcome = same_in_check_mode(world)
    assert [item["name"] for item in outcome.data["damaged"]] == [f"{path.name}.damaged.2"]
    assert not path.exists()


def test_a_directory_where_an_image_expires_to_gives_way(world: World) -> None:
    image = cached(world)
    _directory(directory_of(world, "expired") / name_of(image))
    world.decide("blacklist", IMAGE)
    outcome = same_in_check_mode(world)
    assert outcome.data["failures"] == []
    assert names(world, "expired") == [name_of(image), f"{name_of(image)}.damaged"]


@pytest.mark.needs("root", "mount")
@pytest.mark.parametrize(("place", "tmpfs"), [("current", True), ("downloading", True), ("downloading", False)])
def test_a_cache_on_several_file_systems_is_refused_before_anything_is_downloaded(
    world: World, place: str, tmpfs: bool
) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    path = directory_of(world, place)
    arguments = ("-t", "tmpfs", "tmpfs") if tmpfs else ("--bind", str(path))
    for image in world.web.glob("*.img"):
        image.unlink()
    with mounted(path, *arguments):
        for check in (True, False):
            with pytest.raises(VmimagesError) as found:
                world.sync(check=check)
            assert found.value.code == "cache_split"
            assert str(path) in found.value.detail
