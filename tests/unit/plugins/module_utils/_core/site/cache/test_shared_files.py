# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One file of several lists: what one of them wants is not taken away for another."""

from __future__ import annotations

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists import subscribe

from ..conftest import IMAGE, LIST, OTHER_LIST, World
from .helpers import cached, done, same_in_check_mode


def test_a_file_that_one_list_wants_is_not_taken_away_by_another(world: World) -> None:
    image = cached(world)
    world.publish("1", [image], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST)
    for options in ({}, {"lists": [OTHER_LIST]}, {"images": [IMAGE]}):
        outcome = same_in_check_mode(world, **options)
        assert (outcome.changed, done(outcome)) == (False, [])
        assert world.verdict()["allowed"]


def test_a_file_that_another_list_still_endorses_outlives_its_first_list(world: World) -> None:
    image = cached(world)
    with world.open() as catalogue:
        subscribe.unsubscribe(catalogue, identifier=LIST)
    world.publish("1", [image], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST, new_images="cache")
    for _turn in range(2):
        assert not world.sync().changed
        assert world.verdict()["allowed"]


def test_a_version_that_one_list_has_left_behind_stays_for_the_list_that_has_not(world: World) -> None:
    image = cached(world)
    world.publish("1", [image], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST)
    world.publish("2", [world.image(version="2")], identifier=OTHER_LIST)
    world.refresh()
    assert not world.sync(lists=[OTHER_LIST]).changed
    assert world.verdict()["allowed"]


def test_a_list_that_names_the_image_of_another_does_not_fetch_it_for_that_list(world: World) -> None:
    image = world.image()
    world.publish("1", [image])
    world.subscribe(new_images="cache")
    world.publish("1", [image], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST, new_images="cache")
    assert done(same_in_check_mode(world, lists=[OTHER_LIST])) == []
    assert done(same_in_check_mode(world, lists=[LIST])) == ["download"]


def test_a_file_that_no_list_wants_any_more_goes_and_comes_back_once(world: World) -> None:
    image = cached(world)
    world.publish("1", [image], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST)
    world.decide("blacklist", IMAGE)
    outcome = same_in_check_mode(world)
    assert [(item["action"], item["code"], item["list"]) for item in outcome.actions] == [
        ("expire", "blacklisted", LIST)
    ]
    world.decide("approve", IMAGE)
    assert done(same_in_check_mode(world)) == ["restore"]
    assert not world.sync().changed
