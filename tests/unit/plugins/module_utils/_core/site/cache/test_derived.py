# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of cached images: made once, known by its own digest, gated, and gone with its source."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
import time
import typing as t
from datetime import timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.disks import qemu
from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import queries
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import snapshot
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store import index
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.upkeep import NO_LIMITS

from ..conftest import IMAGE, IMAGE_2, LIST, OTHER_LIST, World
from .helpers import directory_of, done, names, same_in_check_mode

pytestmark = pytest.mark.needs("qemu-img")

DISK = os.urandom(100_000).ljust(1024 * 1024, b"\0")


def _publish(world: World, octets: bytes, stated: str | None, *, identifier: str = IMAGE, **options: t.Any) -> t.Any:
    image = world.image(identifier, octets=octets)
    if stated:
        image["hv:format"] = stated
    world.publish("1", [image])
    world.subscribe(new_images="cache", **options)
    return image


def _formats(world: World) -> dict[str, t.Any]:
    with world.open() as catalogue:
        return t.cast("dict[str, t.Any]", queries.judge(catalogue, IMAGE)["formats"])


def _codes(outcome: t.Any) -> list[str]:
    return [failure["code"] for failure in outcome.data["failures"]]


def test_what_the_subscription_wants_is_made_once(world: World) -> None:
    _publish(world, gzip.compress(DISK), "raw.gz", formats=["raw", "qcow2"])
    outcome = same_in_check_mode(world)
    assert done(outcome) == ["download", "derive", "derive"]
    made = {item["format"]: item for item in outcome.data["derived"]}
    assert Path(made["raw"]["path"]).read_bytes() == DISK
    for item in made.values():
        assert item["sha512"] == hashlib.sha512(Path(item["path"]).read_bytes()).hexdigest()
        assert Path(item["path"]).parent == directory_of(world, "derived")
    journal = (world.state / "journal.jsonl").read_bytes()
    assert not same_in_check_mode(world).changed
    assert (world.state / "journal.jsonl").read_bytes() == journal
    assert {kind: item["derived"] for kind, item in _formats(world).items()} == {"raw": True, "qcow2": True}


def test_the_rows_are_the_same_after_a_rebuild(world: World) -> None:
    _publish(world, gzip.compress(DISK), "raw.gz", formats=["raw"])
    world.sync()
    rows = world.rows()
    assert rows["derived"] and rows["scrubs"]
    index.discard(world.state / "catalogue.sqlite")
    assert world.rows() == rows


def test_a_plain_disk_is_its_own_file_in_its_format(world: World) -> None:
    _publish(world, DISK, "RAW")
    assert done(world.sync(upkeep=NO_LIMITS.with_options({"formats": ["raw", "vpc"]}))) == ["download", "derive"]
    found = _formats(world)
    assert found["raw"]["path"] == world.verdict()["path"] and not found["raw"]["derived"]
    assert found["vhd"]["path"].endswith(".vhd")


def test_nothing_derived_is_told_unless_the_verdict_allows_it(world: World) -> None:
    _publish(world, DISK, "raw", formats=["qcow2"])
    world.sync()
    world.now += timedelta(days=25)
    assert world.verdict()["code"] == "list_expired"
    assert _formats(world) == {}


def test_a_gate_without_the_catalogue_is_told_the_same(world: World) -> None:
    _publish(world, DISK, "raw", formats=["qcow2"])
    world.sync()
    with world.open() as catalogue:
        found = snapshot.load(catalogue.state)
        image = snapshot.judge(found, IMAGE, world.now)
    assert found.formats(image) == _formats(world)
    Path(_formats(world)["qcow2"]["path"]).write_bytes(b"something else")
    assert set(found.formats(image)) == {"raw"}


def test_a_derived_file_goes_with_its_source(world: World) -> None:
    _publish(world, DISK, "raw", formats=["qcow2"])
    world.sync()
    world.decide("blacklist", IMAGE)
    outcome = same_in_check_mode(world)
    assert done(outcome) == ["expire", "underive"]
    assert names(world, "derived") == []
    world.decide("approve", IMAGE)
    assert done(same_in_check_mode(world)) == ["restore", "derive"]


def test_a_derived_file_that_somebody_uses_stays_until_nobody_does(world: World) -> None:
    _publish(world, DISK, "raw", formats=["qcow2"])
    world.sync()
    world.decide("blacklist", IMAGE)
    path = Path(next(directory_of(world, "derived").glob("*.qcow2")))
    user = subprocess.Popen(["tail", "-f", str(path)], stdout=subprocess.DEVNULL)
    try:
        _until_open(user.pid, path)
        outcome = world.sync()
        assert done(outcome) == ["expire"] and any("open in a process" in text for text in outcome.warnings)
        assert path.exists() and _formats(world) == {}
    finally:
        user.kill()
        user.wait()
    assert done(world.sync()) == ["underive"]


def _until_open(pid: int, path: Path) -> None:
    for _turn in range(200):
        if any(str(path) == str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()):
            return
        time.sleep(0.02)
    raise AssertionError("it was not opened")


def test_a_format_that_nobody_wants_any_more_is_purged(world: World) -> None:
    _publish(world, DISK, "raw", formats=["qcow2", "vdi"])
    world.sync()
    world.subscribe(new_images="cache", formats=["vdi"])
    assert not same_in_check_mode(world).changed
    outcome = same_in_check_mode(world, purge_expired=timedelta(days=1))
    assert [(item["format"], item["code"]) for item in outcome.data["underived"]] == [("qcow2", "not_wanted")]


def test_a_derived_file_that_was_changed_is_made_again(world: World) -> None:
    _publish(world, DISK, "raw", formats=["qcow2"])
    world.sync()
    path = Path(_formats(world)["qcow2"]["path"])
    path.write_bytes(b"something else")
    assert set(_formats(world)) == {"raw"}
    assert done(same_in_check_mode(world)) == ["derive"]
    assert set(_formats(world)) == {"raw", "qcow2"}


def test_what_a_crash_left_without_its_line_is_removed_and_made_again(world: World) -> None:
    _publish(world, DISK, "raw", formats=["qcow2"])
    place = directory_of(world, "derived")
    (place / ".work" / "abc").mkdir(parents=True)
    (place / ".work" / "abc" / "image.raw").write_bytes(b"half")
    (place / "00112233445566778899aabbccddeeff_raw.qcow2").write_bytes(b"whole, but unheard of")
    world.sync()
    assert len(names(world, "derived")) == 1 and set(_formats(world)) == {"raw", "qcow2"}


def test_two_lists_share_what_is_made_of_the_same_octets(world: World) -> None:
    image = _publish(world, DISK, "raw", formats=["qcow2"])
    world.publish("1", [{**image, "dc:identifier": IMAGE_2}], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST, new_images="cache", formats=["qcow2"])
    assert done(world.sync()) == ["download", "download", "derive"]
    world.decide("blacklist", IMAGE)
    assert done(world.sync()) == ["expire"]


@pytest.mark.parametrize("owner", [LIST, OTHER_LIST])
def test_a_list_that_states_another_format_takes_nothing_from_the_owner(world: World, owner: str) -> None:
    image = {**world.image(octets=DISK), "hv:format": "raw"}
    other = OTHER_LIST if owner == LIST else LIST
    world.publish("1", [image], identifier=owner)
    world.subscribe(owner, new_images="cache", formats=["vdi"])
    world.publish("1", [{**image, "hv:format": "qcow2"}], identifier=other)
    world.subscribe(other, new_images="report", formats=["vdi"])
    outcome = world.sync()
    assert "derive" in done(outcome) and _codes(outcome) == ["format_mismatch"]
    assert set(_formats(world)) == {"raw", "vdi"}


def test_the_same_octets_stated_as_another_format_are_another_disk(world: World) -> None:
    _publish(world, gzip.compress(DISK), "raw.gz", formats=["raw"])
    world.sync()
    (first,) = names(world, "derived")
    world.publish("2", [{**world.image(octets=gzip.compress(DISK, mtime=1)), "hv:format": "tar.gz"}])
    world.refresh()
    assert _codes(world.sync()) == ["unpack_failed"]
    assert first not in names(world, "derived")


@pytest.mark.parametrize(
    ("stated", "code"),
    [
        (None, "format_unknown"),
        ("iso", "format_unknown"),
        ("qcow2", "backing_file"),
        ("raw", "format_mismatch"),
        ("qcow2.gz", "unpack_failed"),
        ("ova", "unpack_failed"),
    ],
)
def test_what_cannot_be_made_fails_with_its_code_and_the_image_is_there(
    world: World, stated: str | None, code: str
) -> None:
    path = world.web / "overlay"
    (world.web / "base").write_bytes(b"root:secret".ljust(65536, b"\0"))
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(world.web / "base"), "-F", "raw", str(path)]
    subprocess.run(command, check=True)
    _publish(world, path.read_bytes(), stated, formats=["vdi"])
    outcome = world.sync()
    assert (done(outcome), _codes(outcome)) == (["download"], [code])
    assert world.verdict()["allowed"]
    assert names(world, "derived") == []


def test_an_ova_with_two_disks_is_refused_and_not_unpacked_again_every_hour(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ansible_collections.hepix.vmimages.plugins.module_utils._core.disks import derive

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("one.vmdk", "two.vmdk"):
            archive.addfile(tarfile.TarInfo(name))
    _publish(world, gzip.compress(stream.getvalue()), "ova.gz", formats=["raw"])
    assert _codes(world.sync()) == ["archive_disks"]
    monkeypatch.setattr(derive, "derive", lambda *_arguments, **_options: pytest.fail("it was unpacked again"))
    assert _codes(world.sync()) == ["archive_disks"]
    assert _codes(world.sync(check=True)) == ["archive_disks"]


def test_a_bomb_is_refused_by_the_site_s_own_limit(world: World) -> None:
    _publish(world, gzip.compress(bytes(20 * 1024 * 1024)), "raw.gz", formats=["raw"])
    upkeep = NO_LIMITS.with_options({"max_unpacked": "10 MiB"})
    assert _codes(world.sync(upkeep=upkeep)) == ["unpacked_too_large"]
    assert names(world, "derived") == []
    assert _codes(world.sync()) == []


def test_without_the_converter_the_next_run_tries_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _publish(world, DISK, "raw", formats=["qcow2"])
    with monkeypatch.context() as patched:
        patched.setitem(qemu.ENVIRONMENT, "PATH", "/nonexistent")
        assert _codes(world.sync()) == ["converter_missing"]
    assert done(world.sync()) == ["derive"]


def test_a_source_that_changes_while_it_is_converted_proves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(world, DISK, "raw", formats=["qcow2"])
    real = qemu.convert

    def meddled(source: Path, *arguments: t.Any, **options: t.Any) -> None:
        real(source, *arguments, **options)
        source.write_bytes(b"not the endorsed octets".ljust(len(DISK), b"\0"))

    monkeypatch.setattr(qemu, "convert", meddled)
    assert _codes(world.sync()) == ["file_changed"]
    assert names(world, "derived") == []


def test_an_interruption_leaves_nothing_behind(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _publish(world, DISK, "raw", formats=["qcow2"])
    world.sync(upkeep=NO_LIMITS)

    def interrupt(*_arguments: t.Any, **_options: t.Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(qemu, "convert", interrupt)
    for path in directory_of(world, "derived").glob("*.qcow2"):
        path.unlink()
    with pytest.raises(KeyboardInterrupt):
        world.sync()
    assert names(world, "derived") == []
    monkeypatch.undo()
    assert done(world.sync()) == ["derive"]


def test_only_what_is_named_is_made(world: World) -> None:
    one, other = world.image(octets=DISK), world.image(IMAGE_2, octets=DISK[::-1])
    world.publish("1", [{**one, "hv:format": "raw"}, {**other, "hv:format": "raw"}])
    world.subscribe(new_images="cache", formats=["qcow2"])
    outcome = same_in_check_mode(world, images=[IMAGE_2])
    assert [item["image"] for item in outcome.data["derived"]] == [IMAGE_2]
    outcome = same_in_check_mode(world, lists=[LIST])
    assert [item["image"] for item in outcome.data["derived"]] == [IMAGE]


def test_a_format_that_is_none_is_refused(world: World) -> None:
    with pytest.raises(VmimagesError) as found:
        world.wanted(formats=["iso"])
    assert found.value.code == "subscription_invalid"
