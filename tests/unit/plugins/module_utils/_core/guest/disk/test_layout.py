# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layouts of real images, and of images that lie about themselves."""

from __future__ import annotations

import os
import struct
import subprocess
import typing as t
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import GuestError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.disk.filesystems import identify
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.disk.layout import read_layout
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.disk.naming import find, tag_of

MIB = 1024 * 1024

pytestmark = pytest.mark.needs("sfdisk", "mkfs.ext4", "mkswap")


def refusal(path: Path) -> str:
    with pytest.raises(GuestError) as caught:
        read_layout(str(path))
    return caught.value.code


def test_the_books_layout_is_read(disk: t.Any, make_volume: t.Any) -> None:
    image = disk(
        make_volume(kind="ext3", label="/boot", size=4 * MIB),
        make_volume(kind="swap", label="SWAP-a", size=MIB),
        make_volume(kind="ext3", label="/"),
        active=1,
    )
    layout = read_layout(str(image))
    assert layout.table == "dos"
    assert [
        (item.number, item.kind, item.active, item.filesystem.kind, item.filesystem.label)
        for item in layout.partitions
        if item.filesystem is not None
    ] == [(1, "83", True, "ext3", "/boot"), (2, "82", False, "swap", "SWAP-a"), (3, "83", False, "ext3", "/")]
    assert layout.partitions[0].start == 2048 * 512


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
def test_file_systems_are_told_apart(disk: t.Any, make_volume: t.Any, kind: str) -> None:
    identity = "0f3a1c1e-0000-4000-8000-00000000abcd"
    image = disk(make_volume(kind=kind, label="data", uuid=identity), table="gpt")
    layout = read_layout(str(image))
    found = layout.partitions[0].filesystem
    assert layout.table == "gpt" and found is not None
    assert (found.kind, found.label, found.uuid, found.dirty) == (kind, "data", identity, False)


def test_a_disk_that_is_one_file_system_has_no_table(disk: t.Any, make_volume: t.Any) -> None:
    layout = read_layout(str(disk(make_volume(), table=None)))
    assert (layout.table, [item.number for item in layout.partitions]) == (None, [0])
    assert layout.partitions[0].filesystem is not None


def test_logical_partitions_are_found_as_sfdisk_numbers_them(tmp_path: Path) -> None:
    image = tmp_path / "logical.img"
    image.write_bytes(bytes(16 * MIB))
    script = (
        "label: dos\nstart=2048,size=2048,type=83\nstart=4096,type=5\nstart=6144,size=2048\nstart=10240,size=4096\n"
    )
    subprocess.run(["sfdisk", "-q", str(image)], input=script.encode(), check=True)
    layout = read_layout(str(image))
    assert [(item.number, item.start // 512, item.size // 512) for item in layout.partitions] == [
        (1, 2048, 2048),
        (5, 6144, 2048),
        (6, 10240, 4096),
    ]


def table(*entries: tuple[int, int, int]) -> bytes:
    slots = b"".join(struct.pack("<B3xB3xII", 0, kind, start, count) for kind, start, count in entries)
    return bytes(446) + slots.ljust(64, b"\0") + b"\x55\xaa"


@pytest.mark.parametrize(
    "head",
    [
        table((0x83, 8, 16), (0x83, 16, 16)),
        table((0x83, 2048, 0xFFFFFFFF)),
        table((0x83, 0, 4)),
        table((0x05, 1, 8)) + table((0, 0, 0), (0x05, 0, 8)),
        table((0x05, 1, 8)) + bytes(512),
        table((0xEE, 1, 8)) + bytes(512),
        table((0xEE, 1, 8)) + b"EFI PART" + bytes(64) + struct.pack("<QII", 2, 0xFFFFFFFF, 128),
        table((0xEE, 1, 8)) + b"EFI PART" + bytes(64) + struct.pack("<QII", 2, 128, 0xFFFFFFF0),
    ],
)
def test_a_table_that_lies_is_refused(tmp_path: Path, head: bytes) -> None:
    image = tmp_path / "lying.img"
    image.write_bytes(head.ljust(MIB, b"\0"))
    assert refusal(image) == "disk_malformed"


@pytest.mark.parametrize("magic", [b"QFI\xfb\0\0\0\3", b"KDMV", b"vhdxfile"])
def test_an_image_that_is_not_raw_is_never_read_as_what_it_claims(tmp_path: Path, magic: bytes) -> None:
    image = tmp_path / "other.img"
    image.write_bytes(magic.ljust(MIB, b"\0"))
    assert refusal(image) == "image_format_unsupported"


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nothing") == "image_missing"
    assert refusal(Path("/dev/null")) == "image_missing"


@settings(max_examples=300, deadline=None)
@given(
    head=st.lists(
        st.one_of(
            st.binary(max_size=600),
            st.sampled_from([b"\x55\xaa", b"EFI PART", bytes(446), b"\x05", b"\x83", b"\xee", b"\x00\x00\x00\x01"]),
        ),
        max_size=8,
    ).map(b"".join)
)
def test_any_octets_are_read_or_refused(head: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    image = tmp_path_factory.getbasetemp() / "any.img"
    image.write_bytes(head[:510].ljust(510, b"\0") + b"\x55\xaa" + head[510:].ljust(8192, b"\0"))
    try:
        layout = read_layout(str(image))
    except GuestError as error:
        assert error.code in ("disk_malformed", "image_format_unsupported")
    else:
        assert all(0 <= item.start < item.start + item.size <= layout.size for item in layout.partitions)
    identify(head)


def test_partitions_are_found_by_the_names_of_their_table(disk: t.Any, make_volume: t.Any) -> None:
    image = disk(make_volume(label="a b"), make_volume(label="b"), table="gpt")
    stated = ["--part-uuid", str(image), "2", "11111111-2222-4333-8444-555555555555"]
    subprocess.run(["sfdisk", "-q", *stated], check=True, capture_output=True)
    subprocess.run(["sfdisk", "-q", "--part-label", str(image), "2", "system"], check=True, capture_output=True)
    layout = read_layout(str(image))
    for source, numbers in {
        "PARTUUID=11111111-2222-4333-8444-555555555555": [2],
        "PARTUUID=11111111-2222-4333-8444-555555555556": [],
        "PARTLABEL=system": [2],
        "/dev/disk/by-partlabel/system": [2],
        "/dev/disk/by-label/a\\x20b": [1],
        'LABEL="b"': [2],
    }.items():
        tag = tag_of(source)
        assert tag is not None and [item.number for item in find(layout, tag)] == numbers
    assert tag_of("/dev/vda1") is None


def test_partitions_of_a_dos_table_have_its_signature(disk: t.Any, make_volume: t.Any) -> None:
    image = disk(make_volume(), make_volume())
    identity = subprocess.run(["sfdisk", "--disk-id", str(image)], check=True, capture_output=True, text=True).stdout
    found = [item.uuid for item in read_layout(str(image)).partitions]
    assert found == [f"{int(identity, 16):08x}-0{number}" for number in (1, 2)]


def test_the_code_of_a_boot_sector_is_no_partition_table(disk: t.Any, make_volume: t.Any) -> None:
    image = disk(make_volume(), table=None)
    octets = bytearray(image.read_bytes())
    octets[:512] = bytes([0x90, 0x13] * 255) + b"\x55\xaa"
    image.write_bytes(octets)
    layout = read_layout(str(image))
    assert layout.table is None and layout.partitions[0].filesystem is not None


@pytest.mark.parametrize("at", [512 + 56, 1024 + 32])
def test_a_gpt_that_systems_would_not_go_by_is_refused(disk: t.Any, make_volume: t.Any, at: int) -> None:
    image = disk(make_volume(), table="gpt")
    octets = bytearray(image.read_bytes())
    octets[at] ^= 1
    image.write_bytes(octets)
    assert refusal(image) == "disk_malformed"


def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == "image_missing"
