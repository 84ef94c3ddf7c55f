# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the site's own list says of each image: all that its endorser says, and never longer than that holds."""

from __future__ import annotations

import hashlib
import typing as t
from datetime import timedelta

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import SiteError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import relay
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import to_text

LIST = "4e186b44-2c64-40ea-97d5-e9e5c0bce059"
OTHER_LIST = "5e186b44-2c64-40ea-97d5-e9e5c0bce059"
IMAGE = "488dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"
IMAGE_2 = "588dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"
BASE = "https://cache.example.org/images"
EXPIRES = "dc:date:expires"


def relayed(world: t.Any, **options: t.Any) -> t.Any:
    with world.open() as catalogue:
        return relay.relay(catalogue, base_uri=BASE, **options)


def cached(world: t.Any, *images: t.Any, **options: t.Any) -> None:
    """A subscribed list of these images, all approved and cached."""
    world.publish("1", images, **options)
    world.subscribe(new_images="cache")
    assert world.sync().data["failures"] == []


def test_an_image_is_at_the_cache_and_otherwise_as_endorsed(world: t.Any) -> None:
    described = {
        **world.image(version="1.4-2", octets=b"relayed"),
        "sl:checksum:sha256": hashlib.sha256(b"relayed").hexdigest(),
        "sl:arch": "aarch64",
        "ad:mpuri": "https://appdb.example.org/store/vo/image/1",
        "hv:ram_minimum": 1073741824,
        "hv:format": "qcow2",
    }
    cached(world, described)
    (image,) = relayed(world).images
    (path,) = [path for path in (world.state / "cache" / "current").iterdir() if path.name.startswith(IMAGE)]
    assert image.uri == f"{BASE}/{path.name}"
    assert (image.identifier, image.list_id, image.version) == (IMAGE, LIST, "1.4-2")
    assert (image.size, image.sha512) == (described["hv:size"], described["sl:checksum:sha512"])
    kept = ("dc:title", "sl:checksum:sha256", "sl:arch", "ad:mpuri", "hv:ram_minimum", "hv:format")
    assert {key: image.metadata[key] for key in kept} == {key: described[key] for key in kept}
    assert set(image.metadata) == {*kept, EXPIRES}


def test_the_base_address_may_end_in_a_slash(world: t.Any) -> None:
    cached(world, world.image())
    with world.open() as catalogue:
        (image,) = relay.relay(catalogue, base_uri=f"{BASE}/").images
    assert image.uri.startswith(f"{BASE}/{IMAGE}_")


@pytest.mark.parametrize(
    ("own", "of_list", "first"),
    [(timedelta(days=2), 20, "own"), (timedelta(days=30), 3, "list"), (None, 3, "list"), (None, 4000, "proof")],
)
def test_an_image_ends_with_the_first_end_of_its_endorsement(
    world: t.Any, own: timedelta | None, of_list: int, first: str
) -> None:
    image = world.image()
    if own is not None:
        image[EXPIRES] = to_text(world.now + own)
    cached(world, image, days=of_list)
    (found,) = relayed(world).images
    ends = {"list": to_text(world.now + timedelta(days=of_list)), "proof": world.verdict()["good_until"]}
    ends["own"] = to_text(world.now + own) if own is not None else "9999"
    assert found.metadata[EXPIRES] == ends[first] == min(ends.values())


def test_what_the_site_lets_run_anyway_does_not_end_where_it_has_ended(world: t.Any) -> None:
    image = {**world.image(), EXPIRES: to_text(world.now + timedelta(days=1))}
    cached(world, image)
    world.now += timedelta(days=2)
    assert relayed(world).images == ()
    world.decide("run_anyway", IMAGE)
    (found,) = relayed(world).images
    assert found.metadata[EXPIRES] == world.verdict()["good_until"] > to_text(world.now)


def test_only_what_may_run_is_relayed_and_the_rest_is_told(world: t.Any) -> None:
    cached(world, world.image(), world.image(IMAGE_2, title="other"))
    assert [image.identifier for image in relayed(world).images] == [IMAGE, IMAGE_2]
    world.decide("blacklist", IMAGE)
    found = relayed(world)
    assert [image.identifier for image in found.images] == [IMAGE_2]
    assert [(known.image_id, known.verdict.code) for known in found.left_out] == [(IMAGE, "blacklisted")]


def test_a_changed_file_is_not_relayed(world: t.Any) -> None:
    cached(world, world.image())
    (path,) = [path for path in (world.state / "cache" / "current").iterdir() if path.name.startswith(IMAGE)]
    path.unlink()
    path.write_bytes(b"other octets")
    found = relayed(world)
    assert found.images == ()
    assert [known.verdict.code for known in found.left_out] == ["file_changed"]


def test_an_image_that_is_not_cached_yet_is_not_relayed(world: t.Any) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    assert relayed(world) == relay.Relay((), ())


def test_it_can_be_restricted_to_lists_and_images(world: t.Any) -> None:
    cached(world, world.image())
    world.publish("1", [world.image(IMAGE_2, title="other")], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST, new_images="cache")
    world.sync()

    def names(**options: t.Any) -> list[str]:
        return [image.identifier for image in relayed(world, **options).images]

    assert names() == [IMAGE, IMAGE_2]
    assert names(lists=[OTHER_LIST]) == [IMAGE_2]
    assert names(images=["SL5"]) == names(images=[IMAGE]) == [IMAGE]
    assert names(lists=[OTHER_LIST], images=[IMAGE]) == [IMAGE, IMAGE_2]
    with pytest.raises(SiteError) as refusal:
        relayed(world, lists=["6e186b44-2c64-40ea-97d5-e9e5c0bce059"])
    assert refusal.value.code == "unknown_list"
    with pytest.raises(SiteError) as refusal:
        relayed(world, images=["nothing"])
    assert refusal.value.code == "unknown_image"
