# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check mode is the run: what it foretells is what is done, purges included."""

from __future__ import annotations

from datetime import timedelta

from ..conftest import IMAGE, IMAGE_2, LIST, OTHER_LIST, World
from .helpers import WRONG, cached, directory_of, done, name_of, names, same_in_check_mode


def test_check_mode_reads_what_is_not_proven(world: World) -> None:
    image = cached(world)
    path = directory_of(world, "current") / name_of(image)
    path.touch()
    assert done(same_in_check_mode(world)) == ["read"]
    path.write_bytes(WRONG)
    outcome = same_in_check_mode(world)
    assert done(outcome) == ["read", "download"]
    assert (outcome.before, outcome.after) == ({path.name: "damaged"}, {path.name: "current"})


def test_check_mode_reads_an_expired_file_that_is_not_proven(world: World) -> None:
    image = cached(world)
    world.decide("blacklist", IMAGE)
    world.sync()
    (directory_of(world, "expired") / name_of(image)).touch()
    world.decide("approve", IMAGE)
    outcome = same_in_check_mode(world)
    assert (outcome.before, outcome.after) == ({name_of(image): "expired"}, {name_of(image): "current"})


def test_check_mode_plans_the_purge_of_what_will_have_moved(world: World) -> None:
    image = cached(world)
    world.decide("blacklist", IMAGE)
    outcome = same_in_check_mode(world, purge_expired=timedelta(0))
    assert done(outcome) == ["expire", "purge"]
    assert (outcome.before, outcome.after) == ({name_of(image): "current"}, {name_of(image): "absent"})


def test_check_mode_does_not_purge_what_will_be_back(world: World) -> None:
    cached(world)
    world.decide("blacklist", IMAGE)
    world.sync()
    world.now += timedelta(days=2)
    world.decide("approve", IMAGE)
    assert done(same_in_check_mode(world, purge_expired=timedelta(days=1))) == ["restore"]


def test_check_mode_tells_of_a_file_that_is_gone(world: World) -> None:
    image = cached(world)
    (directory_of(world, "current") / name_of(image)).unlink()
    world.decide("blacklist", IMAGE)
    outcome = same_in_check_mode(world, purge_expired=timedelta(0))
    assert outcome.after == {name_of(image): "absent"}


# The purge


def test_a_purge_keeps_to_the_images_and_lists_that_are_named(world: World) -> None:
    world.publish("1", [world.image(), world.image(IMAGE_2)])
    world.subscribe(new_images="cache")
    world.publish("1", [], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST)
    world.sync()
    world.decide("blacklist", IMAGE)
    world.decide("blacklist", IMAGE_2)
    world.sync()
    world.now += timedelta(days=2)
    grace = timedelta(days=1)
    assert not same_in_check_mode(world, lists=[OTHER_LIST], purge_expired=grace).changed
    outcome = same_in_check_mode(world, images=[IMAGE], purge_expired=grace)
    assert [(item["action"], item["image"]) for item in outcome.actions] == [("purge", IMAGE)]
    outcome = same_in_check_mode(world, lists=[LIST], purge_expired=grace)
    assert [(item["action"], item["image"]) for item in outcome.actions] == [("purge", IMAGE_2)]


def test_evidence_that_a_crash_left_without_its_line_is_purged_in_time(world: World) -> None:
    image = cached(world)
    current = directory_of(world, "current") / name_of(image)
    current.rename(directory_of(world, "expired") / f"{current.name}.damaged")
    (directory_of(world, "expired") / "notes.damaged").write_text("somebody else's")
    world.sync()
    grace = timedelta(days=1)
    assert not world.sync(purge_expired=grace).changed
    world.now += timedelta(days=2)
    assert done(same_in_check_mode(world, purge_expired=grace)) == ["purge"]
    assert names(world, "expired") == ["notes.damaged"]
    assert world.verdict()["allowed"]
