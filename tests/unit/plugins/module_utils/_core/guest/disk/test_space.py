# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Free space is what the file systems themselves say is free: their own tools are asked."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import GuestError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.disk.layout import read_layout
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.disk.space import Space, free_extents

MIB = 1024 * 1024


def free(image: Path) -> list[tuple[int, int]]:
    (partition,) = read_layout(str(image)).partitions
    with Space(str(image)) as space:
        return list(free_extents(space, partition))


def made(image: Path, *command: str, size: int) -> Path:
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run([*command, str(image)], check=True, capture_output=True, timeout=60)
    return image


@pytest.mark.needs("mke2fs", "dumpe2fs")
@pytest.mark.parametrize("options", [["-t", "ext3", "-b", "1024"], ["-t", "ext4"], ["-t", "ext4", "-O", "^64bit"]])
def test_the_free_blocks_of_ext_are_those_that_dumpe2fs_lists(tmp_path: Path, options: list[str]) -> None:
    content = tmp_path / "content"
    content.mkdir()
    for number in range(40):
        (content / str(number)).write_bytes(b"x" * 5000 * number)
    image = made(tmp_path / "disk", "mke2fs", "-q", "-F", *options, "-d", str(content), size=24 * MIB)
    subprocess.run(["debugfs", "-w", "-R", "rm 17", str(image)], check=True, capture_output=True, timeout=60)
    told = subprocess.run(["dumpe2fs", str(image)], check=True, capture_output=True, text=True, timeout=60).stdout
    size = int(re.search(r"Block size: +(\d+)", told)[1])  # type: ignore[index]
    wanted: set[int] = set()
    for row in re.findall(r"^  Free blocks: (.+)$", told, re.MULTILINE):
        for part in row.split(", "):
            first, _dash, last = part.partition("-")
            wanted |= set(range(int(first), int(last or first) + 1))
    got = {block for begin, count in free(image) for block in range(begin // size, (begin + count) // size)}
    # A group without a bitmap of its own counts as free with the copy of the superblock that it may begin with.
    assert wanted <= got and len(got - wanted) < (600 if "uninit" in told.lower() else 1)


def told_by_xfs_db(image: Path) -> tuple[set[int], int]:
    """The free blocks, and the size of a block."""
    told = subprocess.run(
        ["xfs_db", "-r", "-f", "-c", "freesp -d", "-c", "sb 0", "-c", "print agblocks blocksize", str(image)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    blocks, size = (int(re.findall(rf"{name} = (\d+)", told)[0]) for name in ("agblocks", "blocksize"))
    rows = re.findall(r"^ +(\d+) +(\d+) +(\d+)$", told, re.MULTILINE)
    return {block for row in rows for block in _blocks(int(row[0]) * blocks + int(row[1]), int(row[2]))}, size


def check_xfs(image: Path) -> int:
    """The number of extents, of which xfs_db knows each block; what XFS keeps for the tree itself is in none."""
    wanted, size = told_by_xfs_db(image)
    extents = free(image)
    got = {block for begin, count in extents for block in _blocks(begin // size, count // size)}
    assert got <= wanted and len(wanted - got) < 200 and len(got) > 60000
    return len(extents)


@pytest.mark.needs("mkfs.xfs", "xfs_db")
@pytest.mark.parametrize("options", [[], ["-m", "crc=0"]])
def test_the_free_blocks_of_xfs_are_those_that_xfs_db_lists(tmp_path: Path, options: list[str]) -> None:
    check_xfs(made(tmp_path / "disk", "mkfs.xfs", "-q", "-f", *options, size=320 * MIB))


@pytest.mark.needs("root", "mkfs.xfs", "xfs_db", "mount", "/dev/loop-control")
def test_more_free_extents_than_a_block_holds_are_found(tmp_path: Path) -> None:
    image = made(tmp_path / "disk", "mkfs.xfs", "-q", "-f", "-b", "size=1024", size=320 * MIB)
    place = tmp_path / "mnt"
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    try:
        for number in range(600):
            (place / str(number)).write_bytes(bytes(1000))
        subprocess.run(["sync", "-f", str(place)], check=True)
        for number in range(0, 600, 2):
            (place / str(number)).unlink()
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert check_xfs(image) > 250


def _blocks(begin: int, count: int) -> range:
    return range(begin, begin + count)


@pytest.mark.needs("mke2fs")
def test_a_hole_is_not_read(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 39)
        file.write(b"here")
    with Space(str(image)) as space:
        parts = list(space.data(0, 1 << 40, window=MIB))
        assert [(at <= 1 << 39 < at + len(octets)) for at, octets in parts] == [True]
        assert space.any_data(0, 1 << 40) and not space.any_data(0, 1 << 38)


@pytest.mark.needs("mke2fs")
@pytest.mark.parametrize("at", [1024 + 4, 1024 + 20, 1024 + 24, 1024 + 32, 2048, 2048 + 4])
def test_free_space_that_is_not_inside_is_refused(tmp_path: Path, at: int) -> None:
    image = made(tmp_path / "disk", "mke2fs", "-q", "-F", "-t", "ext3", "-b", "1024", size=2 * MIB)
    octets = bytearray(image.read_bytes())
    octets[at : at + 4] = b"\xff\xff\xff\x7f"
    image.write_bytes(octets)
    try:
        assert all(begin >= 0 and begin + size <= 2 * MIB for begin, size in free(image))
    except GuestError as error:
        assert error.code == "disk_malformed"
