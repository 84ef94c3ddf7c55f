# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other checksums that an endorser states: every known one has to match before a file lies in `current`."""

from __future__ import annotations

import hashlib
import typing as t

from ..conftest import IMAGE, World

OCTETS = b"an image" * 1000
RIGHT = {f"sl:checksum:{name}": hashlib.new(name, OCTETS).hexdigest() for name in ("md5", "sha1", "sha256")}
WRONG = {"sl:checksum:sha256": hashlib.sha256(b"other").hexdigest()}


def _publish(world: World, version: str, checksums: t.Mapping[str, str]) -> None:
    world.publish(version, [{**world.image(octets=OCTETS, version=version), **checksums}])


def _codes(outcome: t.Any) -> list[str]:
    return [failure["code"] for failure in outcome.data["failures"]]


def test_a_wrong_checksum_beside_the_right_sha512_keeps_the_file_out(world: World) -> None:
    _publish(world, "1", {**RIGHT, **WRONG})
    world.subscribe(new_images="cache")
    outcome = world.sync()
    assert (outcome.changed, _codes(outcome)) == (False, ["checksum_mismatch"])
    assert "sha256" in outcome.data["failures"][0]["detail"]
    assert (world.files("current"), world.files("downloading")) == ([], [])
    assert world.verdict()["code"] == "not_cached"


def test_right_unknown_and_empty_checksums_let_the_file_in_and_a_reading_finds_them_right(world: World) -> None:
    upper = {"sl:checksum:sha384": hashlib.sha384(OCTETS).hexdigest().upper()}
    _publish(world, "1", {**RIGHT, **upper, "sl:checksum:sha224": "", "sl:checksum:crc32": "whatever"})
    world.subscribe(new_images="cache")
    assert _codes(world.sync()) == []
    assert world.files("current") == [OCTETS]
    assert not world.sync(verify=True).changed


def test_a_file_that_is_there_is_read_with_the_stated_checksums(world: World) -> None:
    """What the list of the same version states since the file came counts when the file is read again."""
    world.publish("1", [world.image(octets=OCTETS)])
    world.subscribe(new_images="cache")
    world.sync()
    world.publish("2", [{**world.image(octets=OCTETS), **WRONG}])
    world.refresh()
    outcome = world.sync(verify=True)
    assert _codes(outcome) == ["checksum_mismatch"]
    assert world.files("current") == []
    assert not world.verdict(IMAGE)["allowed"]
