# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scrubs: what was not read for long is read, what was read is not, and a bit that flipped at rest is found."""

from __future__ import annotations

import ctypes
import mmap
import os
import time
import typing as t
from datetime import timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache import scrub
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import locked
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.upkeep import NO_LIMITS

from ..conftest import IMAGE, IMAGE_2, World
from .helpers import cached, directory_of, done, name_of, names, same_in_check_mode

MONTH = timedelta(days=30)


def _read(world: World, **options: t.Any) -> list[str]:
    """The files that a scrub reads."""
    found: dict[str, None] = {}
    world.sync(progress=lambda name, _done, _total: found.setdefault(name), **{"scrub": "only", **options})
    return sorted(found)


def _flip(world: World, path: Path) -> None:
    """Change a bit on the disk, without a trace in what stat tells: the record of the journal is made to fit."""
    with path.open("r+b") as stream:
        stream.seek(100)
        octet = stream.read(1)[0]
        stream.seek(100)
        stream.write(bytes([octet ^ 1]))
    found = path.stat()
    with world.open() as catalogue:
        for table in ("files", "derived"):
            catalogue.note(
                f"UPDATE {table} SET mtime_ns = ?, ctime_ns = ? WHERE name = ?",
                found.st_mtime_ns,
                found.st_ctime_ns,
                path.name,
            )


def _long_list(world: World) -> t.Any:
    image = world.image()
    world.publish("1", [image], days=300)
    world.subscribe(new_images="cache")
    world.sync()
    world.pki.write_crls(300)
    return image


def test_a_file_is_read_when_its_interval_has_passed_and_not_before(world: World) -> None:
    image = _long_list(world)
    assert _read(world) == []
    world.now += timedelta(days=29)
    assert _read(world) == []
    world.now += timedelta(days=1)
    assert _read(world, scrub="no") == []
    assert _read(world) == [name_of(image)]
    assert _read(world) == []
    world.now += MONTH
    assert _read(world, scrub="also") == [name_of(image)]


def test_a_scrub_that_finds_all_well_is_no_change(world: World) -> None:
    _long_list(world)
    world.now += MONTH
    outcome = same_in_check_mode(world, scrub="only")
    assert (done(outcome), outcome.changed) == (["read"], False)
    assert same_in_check_mode(world, scrub="only").actions == ()


def test_a_file_that_came_back_unread_is_as_old_as_its_last_reading(world: World) -> None:
    image = _long_list(world)
    world.now += timedelta(days=20)
    world.decide("blacklist", IMAGE)
    world.sync()
    world.decide("approve", IMAGE)
    assert done(world.sync()) == ["restore"]
    world.now += timedelta(days=10)
    assert _read(world) == [name_of(image)]


def test_a_flipped_bit_is_found_put_aside_and_fetched_again(world: World) -> None:
    image = _long_list(world)
    path = directory_of(world, "current") / name_of(image)
    _flip(world, path)
    assert not world.sync().changed and world.verdict()["allowed"]
    world.now += MONTH
    outcome = same_in_check_mode(world, scrub="only")
    assert done(outcome) == ["read", "download"]
    assert names(world, "expired") == [f"{path.name}.damaged"]
    assert path.read_bytes() == world.octets[image["sl:checksum:sha512"]]
    assert world.verdict()["allowed"]


@pytest.mark.needs("qemu-img")
def test_a_flipped_bit_in_a_derived_file_is_found_and_it_is_made_again(world: World) -> None:
    octets = os.urandom(300_000)
    world.publish("1", [{**world.image(octets=octets), "hv:format": "raw"}], days=300)
    world.subscribe(new_images="cache", formats=["qcow2"])
    world.sync()
    world.pki.write_crls(300)
    path = next(directory_of(world, "derived").glob("*.qcow2"))
    good = path.read_bytes()
    _flip(world, path)
    world.now += MONTH
    outcome = same_in_check_mode(world, scrub="only")
    assert done(outcome) == ["underive", "derive", "read"] and outcome.changed
    assert path.read_bytes() == good
    assert same_in_check_mode(world, scrub="only").actions == ()


def test_a_scrub_does_nothing_else(world: World) -> None:
    image = world.image()
    world.publish("1", [image, world.image(IMAGE_2)], days=300)
    world.subscribe()
    world.pki.write_crls(300)
    world.decide("approve", IMAGE)
    world.sync()
    world.decide("approve", IMAGE_2)
    world.now += MONTH
    assert done(same_in_check_mode(world, scrub="only")) == ["read"]
    assert done(same_in_check_mode(world, scrub="also")) == ["download"]


def test_downloads_go_on_while_a_scrub_reads(world: World) -> None:
    _long_list(world)
    world.now += MONTH
    partial = directory_of(world, "downloading") / f"{IMAGE_2}_1_0123456789abcdef"
    with locked(world.state / "cache" / "lock"):
        partial.write_bytes(b"half of another image")
        assert done(world.sync(scrub="only")) == ["read"]
    assert partial.exists()


def test_a_file_that_expires_while_it_is_read_is_no_failure(world: World) -> None:
    image = _long_list(world)
    world.now += MONTH

    def expire(_name: str, _done: int, _total: int) -> None:
        if not moved:
            moved.append(True)
            world.decide("blacklist", IMAGE)
            world.sync()

    moved: list[bool] = []
    outcome = world.sync(scrub="only", progress=expire)
    assert outcome.data["failures"] == [] and names(world, "expired") == [name_of(image)]


def test_a_scrub_keeps_to_its_rate() -> None:
    clock, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    pace = scrub.Pace(1000, clock=lambda: clock[0], sleep=sleep)
    for _turn in range(40):
        pace.took(250)
    assert 8.5 <= sum(slept) <= 10
    free = scrub.Pace(None, clock=lambda: clock[0], sleep=sleep)
    before = list(slept)
    free.took(10**12)
    assert slept == before


def test_the_site_s_rate_is_heeded(world: World) -> None:
    image = world.image(octets=os.urandom(1_000_000))
    world.publish("1", [image], days=300)
    world.subscribe(new_images="cache")
    world.sync()
    started = time.monotonic()
    world.sync(verify=True, upkeep=NO_LIMITS.with_options({"scrub_rate": "1 MB"}))
    assert time.monotonic() - started > 0.4


def test_what_was_read_leaves_the_page_cache_to_others(world: World) -> None:
    image = cached(world)
    path = directory_of(world, "current") / name_of(image)
    path.read_bytes()
    os.sync()
    assert _resident(path) > 0
    world.sync(verify=True)
    assert _resident(path) == 0


def _resident(path: Path) -> int:
    """How many pages of the file are in memory."""
    size = path.stat().st_size
    pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    numbers = (ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *numbers]
    library.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    with path.open("rb") as stream:
        address = library.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, stream.fileno(), 0)
    vector = ctypes.create_string_buffer(pages)
    assert library.mincore(address, size, vector) == 0
    library.munmap(address, size)
    return sum(octet & 1 for octet in vector.raw[:pages])
