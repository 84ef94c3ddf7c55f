# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many images: time in proportion, and what changes during a long run is heeded."""

from __future__ import annotations

import functools
import hashlib
import typing as t
import uuid
from datetime import timedelta

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache import sync as cache
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache.work import Limits
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists import subscribe

from ..conftest import IMAGE_2, LIST, OTHER_LIST, World


def _images(world: World, count: int) -> list[dict[str, t.Any]]:
    content = b"x" * 100
    (world.web / "one.img").write_bytes(content)
    digest = hashlib.sha512(content).hexdigest()
    return [
        {
            "dc:identifier": str(uuid.uuid4()),
            "dc:title": f"image {number}",
            "hv:version": "1",
            "hv:uri": f"{world.base}/one.img",
            "hv:size": len(content),
            "sl:checksum:sha512": digest,
        }
        for number in range(count)
    ]


def test_the_first_sync_takes_time_in_proportion_to_the_images(world: World) -> None:
    """Counted, since time depends on the machine: instructions of the index for each image, of fifteen and of sixty."""
    shares = []
    for number, identifier in ((15, LIST), (60, OTHER_LIST)):
        images = _images(world, number)
        world.publish("1", images, identifier=identifier)
        world.subscribe(identifier)
        world.decide("approve", *(image["dc:identifier"] for image in images))
        with world.open() as catalogue:
            ticks: list[None] = []
            catalogue.connection.set_progress_handler(functools.partial(ticks.append, None), 100)
            assert len(cache.sync(catalogue, lists=[identifier]).data["downloaded"]) == number
        shares.append(len(ticks) / number)
    assert shares[1] <= shares[0] * 1.5


def test_the_anchors_are_looked_at_a_few_times_and_not_for_every_image(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import anchor_files

    world.publish("1", _images(world, 20))
    world.subscribe(new_images="cache")
    real, asked = anchor_files.fingerprint, []

    def counted(path: str) -> str:
        asked.append(path)
        return real(path)

    monkeypatch.setattr(anchor_files, "fingerprint", counted)
    assert len(world.sync().data["downloaded"]) == 20
    assert len(asked) < 10


def test_a_revocation_during_a_long_run_is_heeded(world: World) -> None:
    world.publish("1", [world.image(), world.image(IMAGE_2)])
    world.subscribe(new_images="cache")

    def revoke(_name: str, _done: int, _total: int) -> None:
        if not revoked:
            revoked.append(True)
            world.pki.revoke(world.pki.endorser.certificate)
            world.now += timedelta(seconds=6)

    revoked: list[bool] = []
    outcome = world.sync(limits=Limits(parallel=1), progress=revoke)
    assert {item["code"] for item in outcome.data["unwanted"]} == {"revoked"}
    assert world.files("current") == []


def test_the_end_of_a_subscription_during_a_long_run_is_heeded(world: World) -> None:
    world.publish("1", [world.image(), world.image(IMAGE_2)])
    world.subscribe(new_images="cache")

    def unsubscribe(_name: str, _done: int, _total: int) -> None:
        if not ended:
            ended.append(True)
            with world.open() as catalogue:
                subscribe.unsubscribe(catalogue, identifier=LIST)

    ended: list[bool] = []
    outcome = world.sync(limits=Limits(parallel=1), progress=unsubscribe)
    assert [item["code"] for item in outcome.data["unwanted"]] == ["unsubscribed", "unsubscribed"]
    assert world.files("current") == []
