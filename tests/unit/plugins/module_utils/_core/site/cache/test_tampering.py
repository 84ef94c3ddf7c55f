# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong octets are never allowed, whichever way they go."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache import moves
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer import atomic

from ..conftest import IMAGE, World
from .helpers import WRONG, cached, directory_of, done, name_of


def test_a_tampered_file_is_not_trusted_after_a_blacklist_and_a_new_approval(world: World) -> None:
    image = cached(world)
    (directory_of(world, "current") / name_of(image)).write_bytes(WRONG)
    world.decide("blacklist", IMAGE)
    world.sync()
    world.decide("approve", IMAGE)
    outcome = world.sync()
    assert done(outcome) == ["read", "download"]
    assert world.files("current") == [world.octets[image["sl:checksum:sha512"]]]
    assert world.verdict()["allowed"]


def test_a_file_that_was_tampered_with_in_place_and_size_is_not_trusted(world: World) -> None:
    image = cached(world)
    path = directory_of(world, "current") / name_of(image)
    known = path.stat()
    path.write_bytes(b"x" * known.st_size)
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))
    world.decide("blacklist", IMAGE)
    world.sync()
    world.decide("approve", IMAGE)
    assert done(world.sync()) == ["read", "download"]


def test_a_file_that_was_tampered_with_while_it_was_expired_is_not_trusted(world: World) -> None:
    image = cached(world)
    world.decide("blacklist", IMAGE)
    world.sync()
    (directory_of(world, "expired") / name_of(image)).write_bytes(WRONG)
    world.decide("approve", IMAGE)
    assert done(world.sync()) == ["read", "download"]
    assert world.files("current") == [world.octets[image["sl:checksum:sha512"]]]


def test_a_file_that_was_truncated_while_its_list_had_expired_is_not_trusted(world: World) -> None:
    image = cached(world, days=1)
    world.now += timedelta(days=2)
    (directory_of(world, "current") / name_of(image)).write_bytes(b"short")
    world.sync()
    world.publish("2", [image])
    world.refresh()
    assert done(world.sync()) == ["read", "download"]
    assert world.files("current") == [world.octets[image["sl:checksum:sha512"]]]


def test_a_file_that_was_planted_before_the_approval_is_not_trusted(world: World) -> None:
    image = world.image()
    world.publish("1", [image])
    world.subscribe()
    (directory_of(world, "current") / name_of(image)).write_bytes(WRONG)
    world.sync()
    world.decide("approve", IMAGE)
    assert world.verdict()["code"] == "not_cached"
    world.sync()
    assert world.files("current") == [world.octets[image["sl:checksum:sha512"]]]


def test_a_move_that_a_crash_left_without_its_line_proves_nothing(world: World) -> None:
    image = cached(world)
    world.decide("blacklist", IMAGE)
    current = directory_of(world, "current") / name_of(image)
    current.rename(directory_of(world, "expired") / current.name)
    assert [item["code"] for item in world.sync().data["moved"]] == ["blacklisted"]
    world.decide("approve", IMAGE)
    outcome = world.sync()
    assert done(outcome) == ["read"]
    assert [item["name"] for item in outcome.data["restored"]] == [name_of(image)]
    assert world.verdict()["allowed"]


def test_octets_that_slip_in_during_the_rename_prove_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    cached(world)
    rename = atomic.replace

    def tampered(source: Path, target: Path) -> None:
        source.write_bytes(WRONG)
        rename(source, target)

    world.decide("blacklist", IMAGE)
    with monkeypatch.context() as patch:
        patch.setattr(moves, "replace", tampered)
        world.sync()
    world.decide("approve", IMAGE)
    assert done(world.sync()) == ["read", "download"]


def test_octets_that_slip_in_while_a_file_comes_back_are_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    image = cached(world)
    rename = atomic.replace

    def tampered(source: Path, target: Path) -> None:
        if source.parent.name == "expired" and source.name == name_of(image):
            source.write_bytes(WRONG)
        rename(source, target)

    world.decide("blacklist", IMAGE)
    world.sync()
    world.decide("approve", IMAGE)
    monkeypatch.setattr(moves, "replace", tampered)
    world.sync()
    assert world.files("current") == [world.octets[image["sl:checksum:sha512"]]]
    assert world.verdict()["allowed"]


def test_octets_that_slip_in_after_the_download_are_not_admitted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    rename = atomic.replace

    def tampered(source: Path, target: Path) -> None:
        source.write_bytes(WRONG)
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(moves, "replace", tampered)
        outcome = world.sync()
    assert [failure["code"] for failure in outcome.data["failures"]] == ["file_changed"]
    assert not world.verdict()["allowed"]
    world.sync()
    assert world.verdict()["allowed"]


def test_a_record_of_other_octets_proves_nothing(world: World) -> None:
    """Two images whose digests begin alike have one file name."""
    first = world.image()
    digest = first["sl:checksum:sha512"][:16] + hashlib.sha512(b"other").hexdigest()[16:]
    world.publish("1", [first])
    world.subscribe(new_images="cache")
    world.sync()
    world.publish("2", [{**first, "sl:checksum:sha512": digest}])
    world.refresh()
    outcome = world.sync()
    assert [failure["code"] for failure in outcome.data["failures"]] == ["checksum_mismatch"]
    assert world.files("current") == []


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_an_admitted_image_may_be_read_by_everyone(world: World, umask: int) -> None:
    former = os.umask(umask)
    try:
        image = cached(world)
        path = directory_of(world, "current") / name_of(image)
        assert path.stat().st_mode & 0o777 == 0o644
        path.chmod(0o600)
        world.sync()
        assert path.stat().st_mode & 0o777 == 0o644
        assert not world.sync(check=True).actions
    finally:
        os.umask(former)
