# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict by UUID, tag, SHA-512 and file, from the catalogue and from the snapshot."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import typing as t
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import install, queries
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import asked, recorded, snapshot

from .conftest import IMAGE, IMAGE_2, LIST, OTHER_LIST, World

OCTETS = b"these are the octets" * 99
SHA512 = hashlib.sha512(OCTETS).hexdigest()

Ask = Callable[..., dict[str, t.Any]]


def _by_catalogue(world: World, name: object, *, read: bool = False) -> dict[str, t.Any]:
    text = str(name)
    with world.open() as catalogue:
        if asked.kind_of(text) != asked.PATH:
            return queries.judge(catalogue, text)
        with asked.candidate(text, read=read) as file:
            return queries.judge(catalogue, text, file=file)


def _by_snapshot(world: World, name: object, *, read: bool = False) -> dict[str, t.Any]:
    text = str(name)
    with world.open() as catalogue:
        document = snapshot.load(catalogue.state)
    if asked.kind_of(text) != asked.PATH:
        return recorded.judge(document, text, world.now)
    with asked.candidate(text, read=read) as file:
        return recorded.judge(document, text, world.now, file=file)


@pytest.fixture(params=[_by_catalogue, _by_snapshot], ids=["catalogue", "snapshot"])
def ask(request: pytest.FixtureRequest) -> Ask:
    return t.cast(Ask, request.param)


@pytest.fixture
def cached(world: World) -> Path:
    """One approved image in the cache; returns its file."""
    world.publish("1", [world.image(octets=OCTETS), world.image(IMAGE_2, title="other")])
    world.subscribe()
    world.decide("approve", IMAGE)
    world.sync()
    return Path(world.verdict()["path"])


def test_names_are_told_apart() -> None:
    assert asked.kind_of(IMAGE.upper()) == asked.IMAGE
    assert asked.kind_of("SL5") == asked.TAG
    assert asked.kind_of("https://appdb.example.org/store/image") == asked.TAG
    assert asked.kind_of(SHA512.upper()) == asked.SHA512
    assert asked.kind_of("./worker.img") == asked.kind_of("/srv/worker.img") == asked.kind_of("a/b") == asked.PATH


def test_a_file_of_the_cache_is_judged_as_its_image_is(world: World, cached: Path, ask: Ask) -> None:
    answer = ask(world, cached)
    assert (answer["identifier"], answer["verdict"]["path"]) == (IMAGE, str(cached))
    assert answer["verdict"]["allowed"] is True
    world.decide("blacklist", IMAGE)
    assert ask(world, cached)["verdict"]["code"] == "blacklisted"


def test_a_symbolic_link_leads_to_the_file_itself(world: World, cached: Path, ask: Ask, tmp_path: Path) -> None:
    link = tmp_path / "disk.img"
    link.symlink_to(cached)
    answer = ask(world, link)
    assert (answer["verdict"]["allowed"], answer["verdict"]["path"]) == (True, str(cached))


def test_a_hard_link_is_the_file_once_it_was_read_again(world: World, cached: Path, ask: Ask, tmp_path: Path) -> None:
    link = tmp_path / "disk.img"
    link.hardlink_to(cached)
    world.sync(verify=True)
    answer = ask(world, link)
    assert (answer["verdict"]["allowed"], answer["verdict"]["path"]) == (True, str(link))


def test_a_hard_link_that_was_made_since_is_a_changed_file(world: World, cached: Path, tmp_path: Path) -> None:
    link = tmp_path / "disk.img"
    link.hardlink_to(cached)
    assert _by_catalogue(world, link)["verdict"]["code"] == "file_changed"
    assert _by_catalogue(world, link, read=True)["verdict"]["allowed"] is True


def test_a_copy_is_refused_unless_its_octets_are_read(world: World, cached: Path, ask: Ask, tmp_path: Path) -> None:
    copy = shutil.copy2(cached, tmp_path / "copy.img")
    with pytest.raises(VmimagesError) as caught:
        ask(world, copy)
    assert caught.value.code == "file_unknown"
    assert "--hash" in caught.value.remedy
    answer = ask(world, copy, read=True)
    assert (answer["verdict"]["allowed"], answer["verdict"]["path"]) == (True, str(copy))


def test_a_copy_with_one_other_octet_is_no_image(world: World, cached: Path, ask: Ask, tmp_path: Path) -> None:
    copy = tmp_path / "copy.img"
    copy.write_bytes(b"X" + cached.read_bytes()[1:])
    os.utime(copy, ns=(cached.stat().st_atime_ns, cached.stat().st_mtime_ns))
    with pytest.raises(VmimagesError) as caught:
        ask(world, copy, read=True)
    assert caught.value.code == "unknown_image"


def test_a_changed_file_in_the_cache_may_not_run(world: World, cached: Path) -> None:
    cached.write_bytes(OCTETS.upper())
    assert _by_catalogue(world, cached)["verdict"]["code"] == "file_changed"
    assert _by_catalogue(world, cached, read=True)["verdict"]["code"] == "file_changed"
    with pytest.raises(VmimagesError) as caught:
        _by_snapshot(world, cached)
    assert caught.value.code == "file_changed"


def test_a_file_that_was_replaced_in_the_cache_may_not_run(world: World, cached: Path) -> None:
    cached.unlink()
    cached.write_bytes(OCTETS.upper())
    assert _by_catalogue(world, cached)["verdict"]["code"] == "file_changed"
    with pytest.raises(VmimagesError) as caught:
        _by_snapshot(world, cached)
    assert caught.value.code == "file_changed"


def test_a_file_that_left_the_cache_is_judged_and_may_not_run(world: World, cached: Path) -> None:
    world.publish("2", [world.image(version="2")])
    world.refresh()
    world.sync()
    (expired,) = [path for path in (world.state / "cache" / "expired").iterdir() if path.name == cached.name]
    answer = _by_catalogue(world, expired)
    assert (answer["version"], answer["verdict"]["code"]) == ("1", "withdrawn")
    assert "version 1" in answer["verdict"]["reasons"][0]["text"]


@pytest.mark.parametrize("name", ["no/such/file", "/etc"])
def test_what_is_no_file_is_refused(world: World, cached: Path, name: str) -> None:
    with pytest.raises(VmimagesError) as caught:
        _by_catalogue(world, name)
    assert caught.value.code in ("not_found", "not_readable")


def test_a_digest_means_the_image_with_these_octets(world: World, cached: Path, ask: Ask) -> None:
    answer = ask(world, SHA512.upper())
    assert (answer["identifier"], answer["verdict"]["path"]) == (IMAGE, str(cached))
    assert [one["list"] for one in answer["holders"]] == [LIST]
    with pytest.raises(VmimagesError) as caught:
        ask(world, "0" * 128)
    assert caught.value.code == "unknown_image"


def test_two_lists_with_the_same_octets_are_both_named(world: World, cached: Path, ask: Ask) -> None:
    other = "688dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"
    world.publish("1", [world.image(other, octets=OCTETS, title="theirs")], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST)
    answer = ask(world, SHA512)
    assert {(one["list"], one["identifier"]) for one in answer["holders"]} == {(LIST, IMAGE), (OTHER_LIST, other)}
    world.publish("2", [], identifier=LIST)
    world.refresh()
    answer = ask(world, SHA512)
    assert (answer["identifier"], answer["verdict"]["code"]) == (other, "not_approved")
    assert [one["endorsed"] for one in answer["holders"]] == [True, False]


def test_of_several_images_of_a_tag_the_latest_dated_endorsed_one_is_meant(world: World, ask: Ask) -> None:
    third = "788dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"
    early, late = world.image(IMAGE), world.image(IMAGE_2)
    world.publish("1", [early])
    world.subscribe()
    world.now += timedelta(days=1)
    world.publish("2", [late, early])
    world.refresh()
    assert ask(world, "SL5")["identifier"] == IMAGE_2
    world.now += timedelta(days=1)
    world.publish("3", [world.image(third), late, early])
    world.refresh()
    assert ask(world, "SL5")["identifier"] == third
    world.now += timedelta(days=1)
    world.publish("4", [early, late])
    world.refresh()
    # The third is the latest dated one still, but no longer endorsed.
    assert ask(world, "SL5")["identifier"] == IMAGE_2


def test_a_file_made_of_the_image_is_judged_as_it_is(world: World, ask: Ask, tmp_path: Path) -> None:
    packed = {**world.image(octets=gzip.compress(OCTETS, mtime=0)), "hv:format": "raw.gz"}
    world.publish("1", [packed])
    world.subscribe(new_images="cache", formats=["raw"])
    world.sync()
    (made,) = (world.state / "cache" / "derived").glob("*.raw")
    link = tmp_path / "disk.raw"
    link.symlink_to(made)
    answer = ask(world, link)
    assert (answer["identifier"], answer["verdict"]["allowed"], answer["verdict"]["path"]) == (IMAGE, True, str(made))
    copy = shutil.copy(made, tmp_path / "copy.raw")
    assert ask(world, copy, read=True)["verdict"]["path"] == str(copy)
    made.chmod(0o644)
    with made.open("r+b") as stream:
        stream.write(b"X")
    try:
        assert ask(world, made)["verdict"]["code"] == "file_changed"
    except VmimagesError as error:
        assert error.code == "file_changed"


def test_an_installed_file_is_judged_as_its_image_is(world: World, cached: Path, tmp_path: Path) -> None:
    target = tmp_path / "images" / "worker.img"
    target.parent.mkdir()
    install.install(world.open, install.Wanted(image=IMAGE, path=target, method="copy"))
    answer = _by_catalogue(world, target)
    assert (answer["identifier"], answer["verdict"]["path"]) == (IMAGE, str(target))
    assert answer["verdict"]["allowed"] is True
    world.decide("blacklist", IMAGE)
    assert _by_catalogue(world, target)["verdict"]["code"] == "blacklisted"
    world.decide("approve", IMAGE)
    with target.open("r+b") as stream:
        stream.write(b"X")
    assert _by_catalogue(world, target, read=True)["verdict"]["code"] == "file_changed"
