# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real small file system that fills, and one that becomes read-only, under a download."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import subprocess
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache.sync import sync
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue

from .conftest import HURRIED, Site

pytestmark = pytest.mark.needs("root", "mke2fs", "losetup")

SIZE = 16 * 1024 * 1024
OCTETS = random.Random(9).randbytes(6_000_000)


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.fixture(params=["ext4", "tmpfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> t.Iterator[Path]:
    """Where a file system of 16 MiB is mounted."""
    place, image = tmp_path / "disk", tmp_path / "disk.img"
    place.mkdir()
    if request.param == "ext4":
        image.touch()
        with image.open("r+b") as stream:
            stream.truncate(SIZE)
        run("mke2fs", "-q", "-t", "ext4", "-m", "0", image)
        run("mount", "-o", "loop", image, place)
    else:
        run("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", place)
    yield place
    run("umount", "-l", place)


@pytest.fixture
def server(misbehaving: t.Any) -> t.Iterator[t.Any]:
    with misbehaving.Misbehaving(OCTETS) as found:
        yield found


@pytest.fixture
def small(site: Site, disk: Path, server: t.Any) -> Site:
    """A site with its state on the small file system."""
    small = dataclasses.replace(site, state=disk / "state")
    small.publish(OCTETS, server.uri())
    return small


def fill(disk: Path) -> Path:
    """Leave next to nothing."""
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as stream:
        while stream.write(bytes(65536)):
            pass
    with ballast.open("r+b") as stream:
        stream.truncate(ballast.stat().st_size - 1_000_000)
    return ballast


def test_a_full_disk_is_told_before_an_octet_comes(small: Site, disk: Path) -> None:
    ballast = fill(disk)
    assert small.refused()["code"] == "disk_full"
    ballast.unlink()
    small.completed(OCTETS)


def test_a_disk_that_fills_meanwhile(small: Site, disk: Path, server: t.Any) -> None:
    """A part is there; then somebody else takes the room; the part is gone on with when there is room again."""
    server.cut = lambda: 2_000_000
    small.refused()
    server.cut = None
    ballast = fill(disk)
    assert small.refused()["code"] == "disk_full"
    ballast.unlink()
    assert small.completed(OCTETS)["resumed_from"] == 2_000_000


def test_a_disk_without_any_room_keeps_the_part(small: Site, disk: Path, server: t.Any) -> None:
    """Not even the record can be written again."""
    ballast = disk / "ballast"

    def fault(handler: t.Any) -> None:
        handler.answer(200, OCTETS[:300_000], {"Content-Length": str(len(OCTETS))})
        until = time.monotonic() + 5
        while not list((small.state / "cache" / "downloading").glob("*.resume")) and time.monotonic() < until:
            time.sleep(0.02)
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as stream:
            while stream.write(bytes(4096)):
                pass
        handler.wfile.write(OCTETS[300_000:2_000_000])
        handler.close_connection = True

    server.fault = fault
    with Catalogue.open(small.state) as catalogue, contextlib.suppress(VmimagesError):
        sync(catalogue, limits=HURRIED)
    ballast.unlink()
    server.fault = None
    assert small.completed(OCTETS)["resumed_from"] > 0


def test_room_is_set_aside_while_it_is_needed_and_no_longer(small: Site, disk: Path, server: t.Any) -> None:
    """Others cannot take it from a running download; a broken one keeps what it has and no more."""
    before = _free(disk)
    taken = []

    def fault(handler: t.Any) -> None:
        handler.answer(200, OCTETS[:100_000], {"Content-Length": str(len(OCTETS))})
        until = time.monotonic() + 5
        while before - _free(disk) < len(OCTETS) and time.monotonic() < until:
            time.sleep(0.01)
        taken.append(before - _free(disk))
        handler.wfile.write(OCTETS[100_000:2_000_000])
        handler.close_connection = True

    server.fault = fault
    small.refused()
    assert taken[0] >= len(OCTETS)
    assert 2_000_000 <= before - _free(disk) < 2_500_000


def test_a_disk_that_becomes_read_only_meanwhile(small: Site, disk: Path, server: t.Any) -> None:
    server.cut = lambda: 2_000_000
    small.refused()
    server.cut = None
    run("mount", "-o", "remount,ro", disk)
    with pytest.raises(VmimagesError) as caught:
        small.sync(HURRIED)
    assert caught.value.code == "not_writable"
    run("mount", "-o", "remount,rw", disk)
    assert small.completed(OCTETS)["resumed_from"] == 2_000_000


def _free(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize
