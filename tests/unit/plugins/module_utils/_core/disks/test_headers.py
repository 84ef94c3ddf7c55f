# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The headers of disks: what is whole by itself is known, and what would make a program open other files is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.disks.headers import Disk, inspect

from .conftest import DISK, code_of, make, qemu_img

pytestmark = pytest.mark.needs("qemu-img")

SECRET = b"root:a secret of this host"


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("raw", ()),
        ("qcow2", ()),
        ("qcow2", ("-o", "compat=0.10")),
        ("qcow2", ("-c", "-o", "compression_type=zstd,extended_l2=on")),
        ("vmdk", ()),
        ("vmdk", ("-o", "subformat=streamOptimized")),
        ("vdi", ()),
        ("vdi", ("-o", "static=on")),
        ("vhd", ("-o", "force_size=on")),
        ("vhd", ("-o", "subformat=fixed,force_size=on")),
    ],
)
def test_a_whole_disk_is_known_with_its_size(tmp_path: Path, kind: str, options: tuple[str, ...]) -> None:
    assert inspect(make(tmp_path, kind, *options), kind) == Disk(kind, len(DISK))


@pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vdi", "vhd"])
def test_a_format_that_is_stated_wrongly_is_refused(tmp_path: Path, kind: str) -> None:
    path = make(tmp_path, kind)
    assert code_of(lambda: inspect(path, "raw")) == "format_mismatch"
    assert code_of(lambda: inspect(tmp_path / "disk.raw", kind)) == "format_mismatch"


@pytest.mark.parametrize("kind", ["qed", "vhdx", "parallels"])
def test_what_programs_take_for_another_format_is_not_raw(tmp_path: Path, kind: str) -> None:
    raw, path = tmp_path / "disk.raw", tmp_path / f"disk.{kind}"
    raw.write_bytes(DISK)
    qemu_img("convert", "-f", "raw", "-O", kind, raw, path)
    assert code_of(lambda: inspect(path, "raw")) == "format_mismatch"


@pytest.mark.parametrize("kind", ["qcow2", "vmdk"])
def test_a_backing_file_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "base").mkdir()
    base = make(tmp_path / "base", kind)
    path = tmp_path / "overlay"
    qemu_img("create", "-f", kind, "-b", base, "-F", kind, path)
    assert code_of(lambda: inspect(path, kind)) == "backing_file"


def test_a_file_of_this_host_as_backing_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shadow").write_bytes(SECRET.ljust(4096, b"\0"))
    path = tmp_path / "image.qcow2"
    qemu_img("create", "-f", "qcow2", "-b", tmp_path / "shadow", "-F", "raw", path)
    assert code_of(lambda: inspect(path, "qcow2")) == "backing_file"


def test_a_data_file_is_refused_by_its_flag_and_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={tmp_path}/data,data_file_raw=on", path, "1M")
    assert code_of(lambda: inspect(path, "qcow2")) == "external_file"
    octets = bytearray(path.read_bytes())
    octets[79] &= ~4  # the incompatible feature, so that only the header extension is left
    path.write_bytes(octets)
    assert code_of(lambda: inspect(path, "qcow2")) == "external_file"


def test_an_encrypted_disk_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    secret = ("--object", "secret,id=s,data=abc")
    options = "encrypt.format=aes,encrypt.key-secret=s"
    qemu_img("create", "-f", "qcow2", *secret, "-o", options, path, "1M")
    assert code_of(lambda: inspect(path, "qcow2")) == "disk_unsupported"


@pytest.mark.parametrize("flag", [2, 1 << 40])
def test_a_corrupt_disk_and_one_of_the_future_are_refused(tmp_path: Path, flag: int) -> None:
    path = make(tmp_path, "qcow2")
    octets = bytearray(path.read_bytes())
    octets[72:80] = struct.pack(">Q", flag)
    path.write_bytes(octets)
    assert code_of(lambda: inspect(path, "qcow2")) == ("disk_damaged" if flag == 2 else "disk_unsupported")


@pytest.mark.parametrize("subformat", ["monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"])
def test_a_descriptor_with_external_extents_is_refused(tmp_path: Path, subformat: str) -> None:
    path = make(tmp_path, "vmdk", "-o", f"subformat={subformat}")
    assert code_of(lambda: inspect(path, "vmdk")) == "external_file"
    assert code_of(lambda: inspect(path, "raw")) == "format_mismatch"


def test_a_descriptor_behind_comments_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "disk.vmdk"
    path.write_text('#\n\n# harmless\nversion=1\ncreateType="monolithicFlat"\nRW 8 FLAT "/etc/shadow" 0\n')
    assert code_of(lambda: inspect(path, "vmdk")) == "external_file"
    assert code_of(lambda: inspect(path, "raw")) == "format_mismatch"


def _rewritten(tmp_path: Path, old: bytes, new: bytes, *options: str) -> Path:
    path = make(tmp_path, "vmdk", *options)
    octets = path.read_bytes()
    assert octets.count(old) == 1
    at = octets.index(old)
    path.write_bytes(octets[:at] + new + octets[at + len(new) :])
    return path


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'SPARSE "disk.vmdk"', b'FLAT "/etc/shadow"'), (b"RW 6144 SPARSE", b"RW\v+614\vFLAT ")],
)
def test_an_extent_inside_the_descriptor_that_lies_elsewhere_is_refused(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = _rewritten(tmp_path, old, new)
    assert code_of(lambda: inspect(path, "vmdk")) == "external_file"


def test_a_header_that_leaves_all_to_the_descriptor_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path, "vmdk")
    octets = bytearray(path.read_bytes())
    octets[12:20] = bytes(8)
    path.write_bytes(octets)
    assert code_of(lambda: inspect(path, "vmdk")) == "external_file"


def test_a_parent_is_refused_wherever_a_program_looks_for_it(tmp_path: Path) -> None:
    path = _rewritten(tmp_path, b"parentCID=ffffffff", b"parentCID=12345678")
    assert code_of(lambda: inspect(path, "vmdk")) == "backing_file"


def test_the_header_at_the_end_of_a_stream_counts(tmp_path: Path) -> None:
    path = make(tmp_path, "vmdk", "-o", "subformat=streamOptimized")
    octets = bytearray(path.read_bytes())
    octets[56:64] = b"\xff" * 8  # the grain directory is at the end, says the header at the beginning
    footer = bytearray(octets[:512])
    footer[12:20] = struct.pack("<Q", 1 << 40)
    path.write_bytes(octets + bytes(512) + footer + bytes(512))
    assert code_of(lambda: inspect(path, "vmdk")) == "disk_damaged"
    footer[12:20] = bytes(8)
    path.write_bytes(octets + bytes(512) + footer + bytes(512))
    assert code_of(lambda: inspect(path, "vmdk")) == "external_file"


def test_a_stream_that_does_not_end_with_a_sector_is_refused(tmp_path: Path) -> None:
    """QEMU looks for the header before the next sector, and so in another place than this file's end says."""
    path = make(tmp_path, "vmdk", "-o", "subformat=streamOptimized")
    octets = bytearray(path.read_bytes())
    octets[56:64] = b"\xff" * 8
    footer = bytearray(octets[:512])
    path.write_bytes(octets + bytes(512) + footer + bytes(512))
    inspect(path, "vmdk")
    path.write_bytes(octets + bytes(600) + footer + bytes(512))
    assert code_of(lambda: inspect(path, "vmdk")) == "disk_damaged"


def test_differences_to_another_image_are_refused(tmp_path: Path) -> None:
    vdi = make(tmp_path, "vdi")
    octets = bytearray(vdi.read_bytes())
    octets[0x4C] = 4
    vdi.write_bytes(octets)
    assert code_of(lambda: inspect(vdi, "vdi")) == "backing_file"
    octets[0x4C], octets[0x1A8] = 1, 7
    vdi.write_bytes(octets)
    assert code_of(lambda: inspect(vdi, "vdi")) == "backing_file"
    vhd = make(tmp_path, "vhd")
    for at in (0, len(vhd.read_bytes()) - 512):
        octets = bytearray(vhd.read_bytes())
        octets[at + 63] = 4
        (tmp_path / "one.vhd").write_bytes(octets)
        assert code_of(lambda: inspect(tmp_path / "one.vhd", "vhd")) == "backing_file"


@pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vdi"])
def test_every_cut_of_a_header_is_a_refusal(tmp_path: Path, kind: str) -> None:
    octets = make(tmp_path, kind).read_bytes()
    path = tmp_path / "cut"
    for length in (0, 3, 4, 8, 40, 71, 72, 76, *((0x44, 0x171) if kind == "vdi" else ())):
        path.write_bytes(octets[:length])
        assert code_of(lambda: inspect(path, kind)) in ("disk_damaged", "format_mismatch")


def test_a_link_and_a_directory_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(make(tmp_path, "raw"))
    assert code_of(lambda: inspect(tmp_path / "link", "raw")) == "not_readable"
    assert code_of(lambda: inspect(tmp_path, "raw")) == "not_readable"
