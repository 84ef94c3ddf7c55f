# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache: what enters `current`, what leaves it, and that no wrong octet ever lies there."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache.work import Limits

from .conftest import IMAGE, IMAGE_2, LIST, World


def _cached(world: World) -> bytes:
    """Publish, subscribe, approve and cache one image; its octets."""
    image = world.image()
    world.publish("1", [image])
    world.subscribe()
    world.decide("approve", IMAGE)
    world.sync()
    return world.octets[image["sl:checksum:sha512"]]


def test_an_approved_image_is_cached_and_allowed(world: World) -> None:
    octets = _cached(world)
    found = world.verdict()
    assert (found["allowed"], found["code"]) == (True, "allowed")
    assert world.files("current") == [octets]
    assert world.files("downloading") == []


def test_an_image_that_nobody_approved_is_not_cached(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    assert not world.sync().changed
    assert world.files("current") == []


def test_the_second_run_does_nothing(world: World) -> None:
    _cached(world)
    journal = (world.state / "journal.jsonl").read_bytes()
    snapshot = (world.state / "verdicts.json").read_bytes()
    outcome = world.sync()
    assert not outcome.changed and outcome.actions == ()
    assert (world.state / "journal.jsonl").read_bytes() == journal
    assert (world.state / "verdicts.json").read_bytes() == snapshot


def test_check_mode_plans_the_same_and_writes_nothing(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    world.decide("approve", IMAGE)
    planned = world.sync(check=True)
    assert world.files("current") == []
    done = world.sync()
    assert (planned.changed, planned.before, planned.after) == (done.changed, done.before, done.after)


def test_a_new_version_replaces_the_old_one(world: World) -> None:
    old = _cached(world)
    image = world.image(version="2")
    world.publish("2", [image])
    world.refresh()
    assert world.verdict()["code"] == "not_cached"
    world.sync()
    assert world.files("current") == [world.octets[image["sl:checksum:sha512"]]]
    assert world.files("expired") == [old]
    assert world.verdict()["allowed"]


def test_withdrawal_moves_the_file_and_its_return_brings_it_back(world: World) -> None:
    octets = _cached(world)
    image = json.loads(json.dumps(world.image(octets=octets)))
    world.publish("2", [])
    world.refresh()
    assert world.verdict()["code"] == "withdrawn"
    outcome = world.sync()
    assert [(action["action"], action["code"]) for action in outcome.actions] == [("expire", "withdrawn")]
    assert (world.files("current"), world.files("expired")) == ([], [octets])
    world.publish("3", [image])
    world.refresh()
    for path in world.web.glob("*.img"):
        path.unlink()
    assert [action["action"] for action in world.sync().actions] == ["restore"]
    assert (world.files("current"), world.files("expired")) == ([octets], [])
    assert world.verdict()["allowed"]


def test_an_expired_list_expires_its_images_without_network(world: World) -> None:
    _cached(world)
    (world.web / LIST).unlink()
    world.now += timedelta(days=25)
    assert world.verdict()["code"] == "list_expired"
    world.sync()
    assert world.files("current") == []
    world.decide("run_anyway", IMAGE, reason="a user needs it")
    world.sync()
    found = world.verdict()
    assert (found["allowed"], found["code"]) == (True, "run_anyway")


def test_a_revoked_signer_ends_the_images_without_network(world: World) -> None:
    _cached(world)
    (world.web / LIST).unlink()
    world.pki.revoke(world.pki.endorser.certificate)
    assert world.verdict()["code"] == "revoked"
    world.decide("run_anyway", IMAGE)
    assert world.verdict()["code"] == "revoked"
    world.sync()
    assert world.files("current") == []


def test_a_missing_crl_refuses_but_leaves_the_file(world: World) -> None:
    octets = _cached(world)
    crls = {path: path.read_bytes() for path in world.pki.certificates.glob("*.r0")}
    for path in crls:
        path.unlink()
    assert world.verdict()["code"] == "crl_unavailable"
    world.sync()
    assert world.files("current") == [octets]
    for path, content in crls.items():
        path.write_bytes(content)
    assert world.verdict()["allowed"]


def test_a_blacklisted_image_leaves_the_cache(world: World) -> None:
    _cached(world)
    world.decide("blacklist", IMAGE, reason="CVE")
    assert world.verdict()["code"] == "blacklisted"
    world.sync()
    assert world.files("current") == []


def test_only_the_selected_images_are_cached(world: World) -> None:
    world.publish("1", [world.image(), world.image(IMAGE_2, title="other")])
    world.subscribe(new_images="approve", select=["other"])
    world.sync()
    assert len(world.files("current")) == 1
    assert world.verdict(IMAGE_2)["allowed"]
    assert world.verdict(IMAGE)["code"] == "not_selected"


@pytest.mark.parametrize("size, code", [(2999, "size_mismatch"), (3001, "size_mismatch"), (3000, "checksum_mismatch")])
def test_other_octets_than_the_endorsed_never_enter(world: World, size: int, code: str) -> None:
    image = world.image()
    world.publish("1", [image])
    world.subscribe(new_images="cache")
    next(world.web.glob("*.img")).write_bytes(b"x" * size)
    outcome = world.sync()
    assert not outcome.changed
    assert [failure["code"] for failure in outcome.data["failures"]] == [code]
    assert world.files("current") == world.files("downloading") == []


def test_one_failure_stops_no_other_image(world: World) -> None:
    world.publish("1", [world.image(), world.image(IMAGE_2)])
    world.subscribe(new_images="cache")
    next(world.web.glob(f"{IMAGE}*.img")).unlink()
    outcome = world.sync()
    assert outcome.changed
    assert [failure["image"] for failure in outcome.data["failures"]] == [IMAGE]
    assert world.verdict(IMAGE_2)["allowed"]


def test_the_verdict_is_asked_again_before_and_after_each_download(world: World) -> None:
    """Two images, one at a time: the decision that falls during the first download spares the second its octets."""
    world.publish("1", [world.image(), world.image(IMAGE_2)])
    world.subscribe(new_images="cache")
    asked: list[str] = []

    def blacklist_all(name: str, _done: int, _total: int) -> None:
        if not asked:
            world.decide("blacklist", IMAGE)
            world.decide("blacklist", IMAGE_2)
        asked.append(name)

    outcome = world.sync(limits=Limits(parallel=1), progress=blacklist_all)
    assert not outcome.changed
    assert len(set(asked)) == 1
    assert [item["code"] for item in outcome.data["unwanted"]] == ["blacklisted", "blacklisted"]
    assert world.files("current") == world.files("downloading") == []


def test_an_interruption_ends_the_download(world: World) -> None:
    image = world.image(octets=b"x" * 3_000_000)
    world.publish("1", [image])
    world.subscribe(new_images="cache")

    def interrupt(_name: str, _done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.sync(progress=interrupt)
    assert world.files("current") == []
    assert 0 < len(world.files("downloading")[0]) < 3_000_000
    assert world.sync().changed
    assert world.files("downloading") == []


def test_a_changed_file_is_not_allowed_and_a_flipped_bit_is_fetched_again(world: World) -> None:
    octets = _cached(world)
    path = next(path for path in (world.state / "cache" / "current").iterdir() if path.name.startswith(IMAGE))
    path.write_bytes(bytes([octets[0] ^ 1]) + octets[1:])
    assert world.verdict()["code"] == "file_changed"
    outcome = world.sync()
    assert [action["action"] for action in outcome.actions] == ["read", "download"]
    assert world.files("current") == [octets]
    assert hashlib.sha512(world.files("expired")[0]).digest() != hashlib.sha512(octets).digest()
    assert world.verdict()["allowed"]


def test_a_touched_file_is_read_and_kept(world: World) -> None:
    _cached(world)
    path = next(path for path in (world.state / "cache" / "current").iterdir() if path.name.startswith(IMAGE))
    path.touch()
    for image in world.web.glob("*.img"):
        image.unlink()
    assert world.verdict()["code"] == "file_changed"
    assert world.sync().data["failures"] == []
    assert world.verdict()["allowed"]


def test_a_deleted_file_is_fetched_again(world: World) -> None:
    octets = _cached(world)
    next(path for path in (world.state / "cache" / "current").iterdir() if path.name.startswith(IMAGE)).unlink()
    assert world.verdict()["code"] == "not_cached"
    world.sync()
    assert world.files("current") == [octets]


def test_expired_files_are_purged_after_their_grace(world: World) -> None:
    _cached(world)
    world.publish("2", [])
    world.refresh()
    world.sync()
    world.now += timedelta(days=2)
    assert not world.sync(purge_expired=timedelta(days=3)).changed
    assert world.sync(purge_expired=timedelta(days=1)).changed
    assert world.files("expired") == []


def test_a_file_of_somebody_else_is_left_alone_and_told(world: World) -> None:
    _cached(world)
    stranger = world.state / "cache" / "current" / "notes.txt"
    stranger.write_text("mine")
    assert "notes.txt" in world.sync().warnings[0]
    assert stranger.read_text() == "mine"


def test_an_unknown_image_is_refused(world: World) -> None:
    _cached(world)
    for ask in (lambda: world.verdict("nothing"), lambda: world.decide("approve", OTHER_IMAGE)):
        with pytest.raises(VmimagesError) as found:
            ask()
        assert found.value.code == "unknown_image"


OTHER_IMAGE = "688dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"


def test_a_tag_means_the_latest_dated_endorsed_image(world: World) -> None:
    first, second = world.image(), world.image(IMAGE_2)
    world.publish("1", [first])
    world.subscribe(new_images="cache")
    world.now += timedelta(hours=2)
    world.publish("2", [first, second])
    world.refresh()
    world.sync()
    assert IMAGE_2 in world.verdict("SL5")["path"]
    world.now += timedelta(hours=2)
    world.publish("3", [first])
    world.refresh()
    assert IMAGE in world.verdict("SL5")["path"]


def test_the_directories_say_what_they_hold(world: World) -> None:
    _cached(world)
    document = json.loads((world.state / "cache" / "current" / "catalogue.json").read_text())
    assert [(entry["identifier"], entry["state"]) for entry in document["images"]] == [(IMAGE, "current")]
    assert json.loads((world.state / "cache" / "downloading" / "catalogue.json").read_text())["images"] == []
