# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Use cases 3.1 to 3.7 of the working group's book (chapter 5, site actions), on real signed lists and a real cache."""

from __future__ import annotations

import typing as t

from .conftest import IMAGE, IMAGE_2, LIST, OTHER_LIST, World
from .events.conftest import Stage, stage

__all__ = ["stage"]

SITE_IMAGE = "688dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"


def _pair(signer: t.Any) -> dict[str, str]:
    return {"dn": signer.dn, "ca": signer.ca}


def _supported(world: World) -> None:
    """A site that subscribes to a VO's list of two images, approves both, and has them in its cache."""
    old = {**world.image(), "sl:os": "SL5", "ad:vo": "xyz"}
    world.publish("1", [old, {**world.image(IMAGE_2, title="SL6"), "sl:os": "SL6", "ad:vo": "xyz"}])
    world.subscribe()
    world.decide("approve", IMAGE, IMAGE_2)
    world.sync()
    assert world.verdict(IMAGE)["allowed"] and world.verdict(IMAGE_2)["allowed"]


def test_3_1_a_site_uses_an_image_of_its_own_for_local_users(world: World) -> None:
    local = world.pki.issue("Local Endorser", 100)
    world.publish("1", [world.image(SITE_IMAGE, title="local")], identifier=OTHER_LIST, signer=local)
    world.subscribe(OTHER_LIST, endorsers=[_pair(local)])
    assert world.verdict(SITE_IMAGE)["code"] == "not_approved"
    world.decide("approve", endorsers=[_pair(local)], reason="our own")
    world.subscribe(OTHER_LIST, endorsers=[_pair(local)], select=["local"])
    world.sync()
    assert world.verdict(SITE_IMAGE)["allowed"]


def test_3_2_a_site_shares_an_image_and_others_approve_it_or_not(world: World) -> None:
    sharing = world.pki.issue("Endorser of Site B", 100)
    world.register({"name": "site B", "pairs": [_pair(sharing)]})
    world.publish("1", [world.image()], signer=sharing)
    world.subscribe(endorsers=[{"name": "site B"}])
    world.declare({"name": "of site B", "decision": "approve", "match": {"endorser": "site b", "size_max": "1 GiB"}})
    # The remote endorser adds an image, which the regular poll picks up; a local rule approves it.
    shared = world.image(SITE_IMAGE, title="shared")
    world.publish("2", [shared, {**world.image(IMAGE_2), "sl:os": "SL5"}], signer=sharing)
    world.declare(
        {"name": "of site B", "decision": "approve", "match": {"endorser": "site b", "title": "sha*"}},
    )
    assert world.refresh().data["lists"][0]["new_images"] == sorted([SITE_IMAGE, IMAGE_2])
    world.sync()
    assert world.verdict(SITE_IMAGE)["allowed"]
    assert world.verdict(IMAGE_2)["code"] == "not_approved"


def test_3_3_an_image_of_a_trusted_endorser_runs_where_the_policy_allows_it(world: World) -> None:
    world.declare({"name": "trusted", "decision": "approve", "match": {"list": LIST}})
    world.publish("1", [world.image()])
    world.subscribe()
    world.sync()
    assert world.verdict()["allowed"]


def test_3_4_an_image_of_a_trusted_endorser_does_not_run_where_the_policy_forbids_it(world: World) -> None:
    world.declare({"name": "no VO xyz", "decision": "blacklist", "match": {"vo": "xyz"}, "reason": "not supported"})
    world.publish("1", [{**world.image(), "ad:vo": "XYZ"}])
    world.subscribe(new_images="cache")
    world.sync()
    assert world.verdict()["code"] == "blacklisted" and world.files("current") == []
    assert "not supported" in world.verdict()["reasons"][0]["text"]


def test_3_5_a_site_stops_images_by_their_metadata_and_the_endorser_is_informed(stage: Stage) -> None:
    world = stage.world
    _supported(world)
    log = stage.logging("log")
    stage.dispatch()
    told = world.declare({"name": "hole", "decision": "blacklist", "match": {"os": "SL5"}, "reason": "CVE-2026-1"})
    assert told.data["rules"][0]["images"] == [IMAGE]
    assert world.verdict(IMAGE)["code"] == "blacklisted" and world.verdict(IMAGE_2)["allowed"]
    world.sync()
    assert len(world.files("current")) == 1
    stage.dispatch()
    assert f"ExpirePostfix {IMAGE}" in log.read_text()
    (message,) = (world.state / "outbox").glob("*.eml")
    text = message.read_text()
    assert "To: e@example.org" in text and "CVE-2026-1" in text and IMAGE in text and IMAGE_2 not in text
    # The endorser revokes the image: its end is the endorser's word then, and the rule can go.
    world.publish("2", [{**world.image(IMAGE_2, title="SL6"), "sl:os": "SL6"}])
    world.refresh()
    world.declare()
    assert world.verdict(IMAGE)["code"] == "withdrawn"


def test_3_6_a_site_stops_all_images_of_an_endorser(world: World) -> None:
    _supported(world)
    world.decide("blacklist", endorsers=[_pair(world.pki.endorser)], reason="no longer trusted")
    # No network is needed for that, neither at the verdict nor in the cache.
    (world.web / LIST).unlink()
    assert world.verdict(IMAGE)["code"] == world.verdict(IMAGE_2)["code"] == "blacklisted"
    world.sync()
    assert world.files("current") == []
    # And so with their next list.
    world.publish("2", [world.image(SITE_IMAGE, title="new")])
    world.refresh()
    assert world.verdict(SITE_IMAGE)["code"] == "blacklisted"


def test_3_7_a_new_image_is_made_available_at_the_next_poll_or_not(world: World) -> None:
    _supported(world)
    new = world.image(SITE_IMAGE, title="new")
    world.publish("2", [world.image(), world.image(IMAGE_2, title="SL6"), new])
    report = world.refresh().data["lists"][0]
    assert report["new_images"] == [SITE_IMAGE]
    world.sync()
    assert world.verdict(SITE_IMAGE)["code"] == "not_approved"
    world.decide("approve", SITE_IMAGE, reason="tested")
    world.sync()
    assert world.verdict(SITE_IMAGE)["allowed"]
