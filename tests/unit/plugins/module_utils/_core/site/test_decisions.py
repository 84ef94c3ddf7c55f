# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""For whom a decision speaks: one endorser's approval never reaches another's image."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import decisions, queries
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import snapshot
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists.subscribe import unsubscribe
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory

from .conftest import IMAGE, IMAGE_2, LIST, OTHER_LIST, World


def _decide_tag(world: World, decision: str, **options: str) -> None:
    with world.open() as catalogue:
        decisions.decide(catalogue, decision=decision, tags=["SL5"], **options)  # type: ignore[arg-type]


def _two_lists(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    _decide_tag(world, "approve")
    world.publish("1", [world.image(IMAGE_2)], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST)
    world.sync()


def test_an_approved_tag_of_one_list_approves_nothing_of_another(world: World) -> None:
    _two_lists(world)
    assert world.verdict(IMAGE)["allowed"]
    assert world.verdict(IMAGE_2)["code"] == "not_approved"


def test_a_tag_of_several_lists_is_approved_for_the_one_that_is_named(world: World) -> None:
    _two_lists(world)
    with pytest.raises(VmimagesError) as found:
        _decide_tag(world, "approve")
    assert found.value.code == "decision_invalid"
    assert LIST in found.value.detail and OTHER_LIST in found.value.detail
    _decide_tag(world, "approve", of_list=OTHER_LIST)
    world.sync()
    assert world.verdict(IMAGE)["allowed"] and world.verdict(IMAGE_2)["allowed"]


def test_a_blacklisted_tag_is_that_of_every_list(world: World) -> None:
    _two_lists(world)
    _decide_tag(world, "blacklist")
    assert world.verdict(IMAGE)["code"] == world.verdict(IMAGE_2)["code"] == "blacklisted"
    _decide_tag(world, "approve", of_list=LIST)
    assert world.verdict(IMAGE)["code"] == "allowed"


def test_an_approved_uuid_is_not_approved_in_the_list_that_takes_it_over(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    world.decide("approve", IMAGE)
    with world.open() as catalogue:
        unsubscribe(catalogue, identifier=LIST)
    world.publish("1", [world.image()], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST)
    assert world.verdict(IMAGE)["code"] == "not_approved"


def test_an_empty_tag_names_nothing(world: World) -> None:
    world.publish("1", [world.image(title="")])
    world.subscribe()
    with world.open() as catalogue, pytest.raises(VmimagesError) as found:
        decisions.decide(catalogue, decision="approve", tags=[""])
    assert found.value.code == "decision_invalid"
    with pytest.raises(VmimagesError):
        world.verdict("")


def test_a_uuid_is_no_tag_and_a_tag_no_uuid(world: World) -> None:
    world.publish("1", [world.image(), world.image(IMAGE_2, title=IMAGE)])
    world.subscribe()
    with world.open() as catalogue:
        assert [item["identifier"] for item in queries.images(catalogue, images=[IMAGE])] == [IMAGE]
        assert [item["identifier"] for item in queries.images(catalogue, tags=[IMAGE])] == [IMAGE_2]
        with pytest.raises(VmimagesError):
            queries.images(catalogue, images=["SL5"])


def test_a_decision_is_planned_on_what_stands_when_it_is_written(world: World) -> None:
    """A clear that comes in between must not leave a blacklist that was reported as standing."""
    world.publish("1", [world.image()])
    world.subscribe()
    world.decide("blacklist", IMAGE)
    with world.open() as catalogue, catalogue.writing():
        thread = threading.Thread(target=world.decide, args=("blacklist", IMAGE))
        thread.start()
        catalogue.row("SELECT 1")
    thread.join()
    world.decide("clear", IMAGE)
    assert world.decide("blacklist", IMAGE).changed
    assert world.verdict()["code"] == "blacklisted"


def test_an_approved_image_that_is_not_selected_says_so(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(select=[IMAGE_2.upper()])
    world.decide("approve", IMAGE)
    assert world.verdict()["code"] == "not_selected"
    world.subscribe(select=[IMAGE.upper()])
    world.sync()
    assert world.verdict()["allowed"]


def test_a_list_that_is_withheld_stops_its_images(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache", max_unrefreshed="2d")
    world.sync()
    (world.web / LIST).unlink()
    world.now += timedelta(days=1)
    world.refresh()
    assert world.verdict()["allowed"]
    world.now += timedelta(days=1)
    world.refresh()
    assert world.verdict()["code"] == "list_stale"
    world.sync()
    assert len(world.files("current")) == 1


def test_the_snapshot_finds_the_tag_that_the_catalogue_finds(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.now += timedelta(hours=2)
    world.publish("1", [world.image(IMAGE_2)], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST)
    world.sync()
    with world.open() as catalogue:
        unsubscribe(catalogue, identifier=OTHER_LIST)
    document = snapshot.load(StateDirectory.at(world.state))
    assert snapshot.judge(document, "SL5", world.now)["identifier"] == IMAGE
    assert world.verdict("SL5")["allowed"]


def test_a_snapshot_followed_by_harmless_lines_is_believed(world: World) -> None:
    world.publish("1", [world.image(), world.image(IMAGE_2)])
    world.subscribe(new_images="cache")
    world.sync(images=[IMAGE])
    octets = (world.state / "verdicts.json").read_bytes()
    world.sync()
    (world.state / "verdicts.json").write_bytes(octets)
    document = snapshot.load(StateDirectory.at(world.state), patience=0.0)
    assert snapshot.judge(document, IMAGE, world.now)["verdict"]["allowed"]
    assert snapshot.judge(document, IMAGE_2, world.now)["verdict"]["code"] == "not_cached"


def test_a_sync_renews_a_snapshot_after_the_crls_have_changed(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.sync()
    for path in world.pki.certificates.glob("*.r0"):
        path.unlink()
    assert not world.sync().changed
    document = snapshot.load(StateDirectory.at(world.state))
    assert document["images"][IMAGE]["verdict"]["code"] == "crl_unavailable"
